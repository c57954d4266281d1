/* All that the interface offers, as a program would use it; prints the bits of what the engine computes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "feamoe.h"
#include "demo.h"
/* The same model with weights of 16 and of 8 bits, signed as versions 1 and 2 of the line "demo". */
#include "narrow.h"
#include "narrower.h"

static int failures;

#define EXPECT(call, expected)                                                                                         \
    do {                                                                                                               \
        int found = (int)(call);                                                                                       \
        if (found != (int)(expected)) {                                                                                \
            printf("line %d: %s gave %d (%s)\n", __LINE__, #call, found, feamoe_message(found));                        \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)
#define EXPECT_OK(call) EXPECT(call, FEAMOE_STATUS_OK)
#define EXPECT_TRUE(condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("line %d: not so: %s\n", __LINE__, #condition);                                                     \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

static feamoe_model model;
static feamoe_record record, other;
static feamoe_integer_model narrow;
static feamoe_integer_record narrow_record;
static feamoe_workspace workspace;
static feamoe_recourse recourse;
static feamoe_monitor monitor;
static feamoe_update update;
static uint8_t state[FEAMOE_STATE_BYTES], status_bytes[FEAMOE_STATUS_BYTES];

static unsigned long bits(float number)
{
    uint32_t word;
    memcpy(&word, &number, sizeof word);
    return word;
}

static feamoe_value number(float x)
{
    feamoe_value value;
    value.kind = FEAMOE_VALUE_KIND_NUMBER;
    value.number = x;
    value.level = 0;
    return value;
}

static feamoe_value level(uint16_t code)
{
    feamoe_value value;
    value.kind = FEAMOE_VALUE_KIND_LEVEL;
    value.number = 0.0f;
    value.level = code;
    return value;
}

/* The first row of demo.csv, with a lower credit score: declined. */
static void fill(feamoe_value *values)
{
    values[DEMO_FEATURE_AGE] = number(31.0f);
    values[DEMO_FEATURE_INCOME] = number(22410.0f);
    values[DEMO_FEATURE_LOAN_AMOUNT] = number(35400.0f);
    values[DEMO_FEATURE_CREDIT_SCORE] = number(560.0f);
    values[DEMO_FEATURE_YEARS_EMPLOYED] = number(14.0f);
    values[DEMO_FEATURE_DEPENDANTS] = number(3.0f);
    values[DEMO_FEATURE_SEX] = level(DEMO_LEVEL_SEX_FEMALE);
    values[DEMO_FEATURE_EMPLOYMENT] = level(DEMO_LEVEL_EMPLOYMENT_SALARIED);
    values[DEMO_FEATURE_PURPOSE] = level(DEMO_LEVEL_PURPOSE_CAR);
    values[DEMO_FEATURE_REGION] = level(DEMO_LEVEL_REGION_WEST);
}

static bool count_down(void *context, uint64_t done)
{
    int *left = (int *)context;
    (void)done;
    return --*left > 0;
}

static void set_all(void)
{
    feamoe_value values[DEMO_FEATURES];
    feamoe_score score, again;
    uint32_t kind;
    int index;
    fill(values);
    kind = values[DEMO_FEATURES - 1].kind;
    EXPECT_OK(feamoe_record_set_all(&record, values, DEMO_FEATURES));
    EXPECT_OK(feamoe_record_score(&record, &score, NULL, 0));
    EXPECT_TRUE(!score.missing && !score.unseen);
    EXPECT_OK(feamoe_record_init(&other, sizeof other, &model));
    EXPECT_OK(feamoe_record_set_number(&other, DEMO_FEATURE_AGE, 31.0f));
    EXPECT_OK(feamoe_record_set_number(&other, DEMO_FEATURE_INCOME, 22410.0f));
    EXPECT_OK(feamoe_record_set_number(&other, DEMO_FEATURE_LOAN_AMOUNT, 35400.0f));
    EXPECT_OK(feamoe_record_set_number(&other, DEMO_FEATURE_CREDIT_SCORE, 560.0f));
    EXPECT_OK(feamoe_record_set_number(&other, DEMO_FEATURE_YEARS_EMPLOYED, 14.0f));
    EXPECT_OK(feamoe_record_set_number(&other, DEMO_FEATURE_DEPENDANTS, 3.0f));
    EXPECT_OK(feamoe_record_set_category(&other, DEMO_FEATURE_SEX, "Female"));
    EXPECT_OK(feamoe_record_set_category(&other, DEMO_FEATURE_EMPLOYMENT, "salaried"));
    EXPECT_OK(feamoe_record_set_level(&other, DEMO_FEATURE_PURPOSE, DEMO_LEVEL_PURPOSE_CAR));
    EXPECT_OK(feamoe_record_set_level(&other, DEMO_FEATURE_REGION, DEMO_LEVEL_REGION_WEST));
    EXPECT_OK(feamoe_record_score(&other, &again, NULL, 0));
    EXPECT_TRUE(bits(score.probability) == bits(again.probability));

    /* Nothing of the record before is scored after an error. */
    for (index = 0; index < 4; index++) {
        values[DEMO_FEATURES - 1].kind = kind;
        EXPECT_OK(feamoe_record_set_all(&other, values, DEMO_FEATURES));
        EXPECT_OK(feamoe_record_score(&other, &again, NULL, 0));
        EXPECT_TRUE(!again.missing);
        values[DEMO_FEATURES - 1].kind = index == 3 ? 3 : kind;
        EXPECT(feamoe_record_set_all(&other, index == 0 ? NULL : values, DEMO_FEATURES + (index == 1) - (index == 2)),
               index == 0 ? FEAMOE_STATUS_NULL_POINTER : index == 3 ? FEAMOE_STATUS_NO_SUCH_CHOICE : FEAMOE_STATUS_WRONG_COUNT);
        EXPECT_OK(feamoe_record_score(&other, &again, NULL, 0));
        EXPECT_TRUE(again.missing);
    }
    /* Missing is missing, whichever way. */
    EXPECT_OK(feamoe_record_init(&other, sizeof other, &model));
}

static void exact(void)
{
    const feamoe_record *background[FEAMOE_BACKGROUND + 1];
    float values[DEMO_FEATURES];
    feamoe_attribution why;
    int left, i;
    float sum;
    for (i = 0; i <= FEAMOE_BACKGROUND; i++)
        background[i] = &other;
    EXPECT(feamoe_record_exact(&record, background, FEAMOE_BACKGROUND + 1, FEAMOE_SPACE_PROBABILITY, &workspace,
                               sizeof workspace, NULL, NULL, &why, values, DEMO_FEATURES),
           FEAMOE_STATUS_BACKGROUND_FULL);
    EXPECT(feamoe_record_exact(&record, background, 0, FEAMOE_SPACE_PROBABILITY, &workspace, sizeof workspace, NULL, NULL,
                               &why, values, DEMO_FEATURES),
           FEAMOE_STATUS_BACKGROUND_EMPTY);
    EXPECT(feamoe_record_exact(&record, background, 1, 2, &workspace, sizeof workspace, NULL, NULL, &why, values,
                               DEMO_FEATURES),
           FEAMOE_STATUS_NO_SUCH_CHOICE);
    EXPECT(feamoe_record_exact(&record, background, 1, FEAMOE_SPACE_LOG_ODDS, &workspace, sizeof workspace - 8, NULL,
                               NULL, &why, values, DEMO_FEATURES),
           FEAMOE_STATUS_WRONG_SIZE);
    EXPECT(feamoe_record_exact(&record, NULL, 1, FEAMOE_SPACE_LOG_ODDS, &workspace, sizeof workspace, NULL, NULL, &why,
                               values, DEMO_FEATURES),
           FEAMOE_STATUS_NULL_POINTER);
    background[1] = NULL;
    EXPECT(feamoe_record_exact(&record, background, 2, FEAMOE_SPACE_LOG_ODDS, &workspace, sizeof workspace, NULL, NULL,
                               &why, values, DEMO_FEATURES),
           FEAMOE_STATUS_NULL_POINTER);
    background[1] = &other;
    left = 1;
    EXPECT(feamoe_record_exact(&record, background, 2, FEAMOE_SPACE_PROBABILITY, &workspace, sizeof workspace, count_down,
                               &left, &why, values, DEMO_FEATURES),
           FEAMOE_STATUS_STOPPED);
    left = 100;
    EXPECT_OK(feamoe_record_exact(&record, background, 2, FEAMOE_SPACE_PROBABILITY, &workspace, sizeof workspace,
                                  count_down, &left, &why, values, DEMO_FEATURES));
    sum = why.base_value + why.residual;
    for (i = 0; i < DEMO_FEATURES; i++)
        sum += values[i];
    EXPECT_TRUE(left < 100);
    EXPECT_TRUE(fabsf(sum - why.output) < 1e-5f);
    EXPECT_TRUE(why.gate_share > 0.0f && why.gate_share <= 1.0f);
    for (i = 0; i < DEMO_FEATURES; i++)
        printf("exact %d %08lx\n", i, bits(values[i]));
}

static void find_recourse(void)
{
    feamoe_rule rules[DEMO_FEATURES];
    feamoe_change changes[DEMO_FEATURES];
    feamoe_answer answer;
    feamoe_value values[DEMO_FEATURES];
    feamoe_score score;
    int i, left = 1;
    EXPECT_OK(feamoe_record_score(&record, &score, NULL, 0));
    EXPECT_TRUE(!score.decision);
    for (i = 0; i < DEMO_FEATURES; i++) {
        rules[i].direction = FEAMOE_DIRECTION_FIXED;
        rules[i].low = -INFINITY;
        rules[i].high = INFINITY;
        rules[i].step = 0.0f;
        rules[i].cost = 1.0f;
    }
    EXPECT_OK(feamoe_record_recourse(&record, rules, DEMO_FEATURES, &recourse, sizeof recourse, NULL, NULL, &answer,
                                     changes, DEMO_FEATURES));
    EXPECT_TRUE(!answer.found && bits(answer.probability) == bits(score.probability));
    EXPECT(feamoe_record_recourse(&record, rules, DEMO_FEATURES - 1, &recourse, sizeof recourse, NULL, NULL, &answer,
                                  changes, DEMO_FEATURES),
           FEAMOE_STATUS_TOO_SHORT);
    EXPECT(feamoe_record_recourse(&record, NULL, 0, &recourse, sizeof recourse, NULL, NULL, &answer, changes, 1),
           FEAMOE_STATUS_TOO_SHORT);
    rules[1].direction = 4;
    EXPECT(feamoe_record_recourse(&record, rules, DEMO_FEATURES, &recourse, sizeof recourse, NULL, NULL, &answer, changes,
                                  DEMO_FEATURES),
           FEAMOE_STATUS_NO_SUCH_CHOICE);
    rules[1].direction = FEAMOE_DIRECTION_ANY;
    rules[1].cost = 0.0f;
    EXPECT(feamoe_record_recourse(&record, rules, DEMO_FEATURES, &recourse, sizeof recourse, NULL, NULL, &answer, changes,
                                  DEMO_FEATURES),
           FEAMOE_STATUS_RULE_INVALID);
    EXPECT_OK(feamoe_record_recourse(&record, NULL, 0, &recourse, sizeof recourse, count_down, &left, &answer, changes,
                                     DEMO_FEATURES));
    EXPECT_TRUE(answer.stopped);
    EXPECT(feamoe_record_recourse_few(&record, NULL, 0, 1.0f, &recourse, sizeof recourse, NULL, NULL, &answer, changes,
                                      DEMO_FEATURES),
           FEAMOE_STATUS_RULE_INVALID);
    EXPECT_OK(feamoe_record_recourse_few(&record, NULL, 0, 0.125f, &recourse, sizeof recourse, NULL, NULL, &answer,
                                         changes, DEMO_FEATURES));
    EXPECT_TRUE(answer.found && answer.probability >= DEMO_THRESHOLD + 0.125f);

    EXPECT_OK(feamoe_record_recourse(&record, NULL, 0, &recourse, sizeof recourse, NULL, NULL, &answer, changes,
                                     DEMO_FEATURES));
    EXPECT_TRUE(answer.found && !answer.stopped && answer.distance > 0.0f);
    fill(values);
    for (i = 0; i < DEMO_FEATURES; i++)
        if (changes[i].kind == FEAMOE_CHANGE_KIND_NUMBER)
            values[i] = number(changes[i].number);
        else if (changes[i].kind == FEAMOE_CHANGE_KIND_LEVEL)
            values[i] = level(changes[i].level);
    EXPECT_OK(feamoe_record_set_all(&other, values, DEMO_FEATURES));
    EXPECT_OK(feamoe_record_score(&other, &score, NULL, 0));
    EXPECT_TRUE(score.decision && bits(score.probability) == bits(answer.probability));
    printf("recourse %08lx %08lx\n", bits(answer.distance), bits(answer.probability));
}

/* The statuses of a sender, as bytes for the test to read: without a MAC, and with one. */
static void send(size_t plain)
{
    static const uint8_t key[FEAMOE_KEY_BYTES] = "thirty-two bytes of this device";
    feamoe_sender sender = { "pump-7", 9 };
    size_t written = 0, i;
    EXPECT(feamoe_monitor_status_from(&monitor, NULL, status_bytes, sizeof status_bytes, &written),
           FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_monitor_status_authenticated(&monitor, &sender, NULL, status_bytes, sizeof status_bytes, &written),
           FEAMOE_STATUS_NULL_POINTER);
    EXPECT_OK(feamoe_monitor_status_from(&monitor, &sender, status_bytes, sizeof status_bytes, &written));
    EXPECT_TRUE(written == plain + 24);
    EXPECT(feamoe_monitor_status_authenticated(&monitor, &sender, key, status_bytes, written, &written),
           FEAMOE_STATUS_TOO_SHORT);
    EXPECT_OK(feamoe_monitor_status_authenticated(&monitor, &sender, key, status_bytes, sizeof status_bytes, &written));
    EXPECT_TRUE(written == plain + 40);
    printf("status ");
    for (i = 0; i < written; i++)
        printf("%02x", status_bytes[i]);
    printf("\n");
}

static void watch(void)
{
    feamoe_token token;
    feamoe_group group;
    feamoe_score score;
    size_t written = 0;
    float gap;
    EXPECT(feamoe_monitor_observe(&monitor, &record, 0.5f, 0, NULL), FEAMOE_STATUS_NOT_INITIALISED);
    EXPECT(feamoe_monitor_start(&monitor, sizeof monitor - 8, &model, 0), FEAMOE_STATUS_WRONG_SIZE);
    EXPECT_OK(feamoe_monitor_start(&monitor, sizeof monitor, &model, 0));
    EXPECT_OK(feamoe_record_score(&record, &score, NULL, 0));
    EXPECT(feamoe_monitor_observe(&monitor, &record, score.probability, FEAMOE_GROUPS, &token),
           FEAMOE_STATUS_GROUP_OUT_OF_RANGE);
    EXPECT(feamoe_monitor_observe(&monitor, &record, 2.0f, 0, &token), FEAMOE_STATUS_NOT_A_PROBABILITY);
    EXPECT_OK(feamoe_monitor_observe(&monitor, &record, score.probability, 1, &token));
    EXPECT_OK(feamoe_monitor_distance(&monitor, &token, 1.5f));
    EXPECT(feamoe_monitor_distance(&monitor, &token, -1.0f), FEAMOE_STATUS_NOT_A_DISTANCE);
    EXPECT_OK(feamoe_monitor_label(&monitor, &token, true));
    EXPECT_OK(feamoe_record_score(&other, &score, NULL, 0));
    EXPECT_OK(feamoe_monitor_observe(&monitor, &other, score.probability, 0, &token));
    EXPECT(feamoe_monitor_distance(&monitor, &token, 1.0f), FEAMOE_STATUS_NOT_DECLINED);
    EXPECT_OK(feamoe_monitor_observe(&monitor, &other, score.probability, FEAMOE_NO_GROUP, NULL));
    EXPECT_OK(feamoe_monitor_gap(&monitor, 1, FEAMOE_MEASURE_SPD, &gap));
    EXPECT_TRUE(gap == -1.0f);
    EXPECT(feamoe_monitor_gap(&monitor, 1, 7, &gap), FEAMOE_STATUS_NO_SUCH_CHOICE);
    EXPECT_OK(feamoe_monitor_group(&monitor, 1, &group));
    EXPECT_TRUE(group.rows == 1 && group.favourable == 0 && group.labelled == 1);

    EXPECT(feamoe_monitor_store(&monitor, state, 10, &written), FEAMOE_STATUS_TOO_SHORT);
    EXPECT_OK(feamoe_monitor_store(&monitor, state, sizeof state, &written));
    EXPECT_OK(feamoe_monitor_start(&monitor, sizeof monitor, &model, 0));
    EXPECT(feamoe_monitor_restore(&monitor, &model, state, written - 1), FEAMOE_STATUS_STATE_INVALID);
    EXPECT_OK(feamoe_monitor_group(&monitor, 1, &group));
    EXPECT_TRUE(group.rows == 0);
    EXPECT_OK(feamoe_monitor_restore(&monitor, &model, state, written));
    EXPECT_OK(feamoe_monitor_group(&monitor, 1, &group));
    EXPECT_TRUE(group.rows == 1);
    EXPECT_OK(feamoe_monitor_status(&monitor, status_bytes, sizeof status_bytes, &written));
    EXPECT_TRUE(memcmp(status_bytes, "FEMO", 2) == 0 && written > 50);
    send(written);
    EXPECT_OK(feamoe_monitor_reset(&monitor, 0));
    EXPECT_OK(feamoe_monitor_group(&monitor, 1, &group));
    EXPECT_TRUE(group.rows == 0);
    memset(&token, 0xff, sizeof token);
    EXPECT(feamoe_monitor_label(&monitor, &token, true), FEAMOE_STATUS_TOKEN_INVALID);
}

static void integers(void)
{
    feamoe_value values[NARROW_FEATURES];
    int32_t why[NARROW_FEATURES], sum;
    uint32_t gate[NARROW_EXPERTS], all = 0;
    feamoe_integer_attribution attribution;
    feamoe_integer_score score;
    feamoe_group group;
    feamoe_token token;
    feamoe_info info;
    size_t index = 0, written, i;
    EXPECT(feamoe_integer_model_load(&narrow, sizeof narrow, demo_blob, DEMO_BLOB_BYTES), FEAMOE_STATUS_BLOB_OTHER_WEIGHTS);
    EXPECT(feamoe_model_load(&model, sizeof model, narrow_blob, NARROW_BLOB_BYTES), FEAMOE_STATUS_BLOB_OTHER_WEIGHTS);
    EXPECT_OK(feamoe_model_load(&model, sizeof model, demo_blob, DEMO_BLOB_BYTES));
    EXPECT_OK(feamoe_integer_model_load(&narrow, sizeof narrow, narrow_blob, NARROW_BLOB_BYTES));
    EXPECT_OK(feamoe_integer_model_info(&narrow, &info));
    EXPECT_TRUE(info.crc32 == NARROW_CRC32 && info.features == NARROW_FEATURES);
    EXPECT_OK(feamoe_integer_model_feature_index(&narrow, "income", &index));
    EXPECT_TRUE(index == NARROW_FEATURE_INCOME);
    EXPECT_OK(feamoe_integer_record_init(&narrow_record, sizeof narrow_record, &narrow));
    fill(values);
    EXPECT_OK(feamoe_integer_record_set_all(&narrow_record, values, NARROW_FEATURES));
    EXPECT_OK(feamoe_integer_record_set_fixed(&narrow_record, NARROW_FEATURE_INCOME, 44820, 1));
    EXPECT_OK(feamoe_integer_record_set_category(&narrow_record, NARROW_FEATURE_SEX, "Female"));
    EXPECT_OK(feamoe_integer_record_score(&narrow_record, &score, gate, NARROW_EXPERTS));
    for (i = 0; i < NARROW_EXPERTS; i++)
        all += gate[i];
    EXPECT_TRUE(all == 65536 && !score.missing);
    EXPECT_OK(feamoe_integer_record_frozen(&narrow_record, &attribution, why, NARROW_FEATURES));
    sum = attribution.base_value;
    for (i = 0; i < NARROW_FEATURES; i++)
        sum += why[i];
    EXPECT_TRUE(sum == attribution.output && attribution.score.probability == score.probability);
    printf("integer %08lx\n", (unsigned long)score.probability);

    EXPECT_OK(feamoe_integer_monitor_start(&monitor, sizeof monitor, &narrow, 0));
    EXPECT_OK(feamoe_integer_monitor_observe(&monitor, &narrow_record, score.probability, 2, &token));
    EXPECT_OK(feamoe_monitor_label(&monitor, &token, false));
    EXPECT_OK(feamoe_monitor_store(&monitor, state, sizeof state, &written));
    EXPECT(feamoe_monitor_restore(&monitor, &model, state, written), FEAMOE_STATUS_OTHER_MODEL);
    EXPECT_OK(feamoe_integer_monitor_restore(&monitor, &narrow, state, written));
    EXPECT_OK(feamoe_monitor_group(&monitor, 2, &group));
    EXPECT_TRUE(group.rows == 1 && group.labelled == 1);
}

/* Two slots of flash, and words that can still be written before the supply fails. */
#define SLOT_BYTES 65536
#define MARK_WORDS (FEAMOE_WORD < 32 ? 32 / FEAMOE_WORD : 1)
static union { uint64_t align; uint8_t bytes[SLOT_BYTES]; } flash[2];
static union { uint64_t align; uint8_t bytes[SLOT_BYTES]; } forged;
static long power;

static bool take(size_t slot, const feamoe_step *step)
{
    uint32_t at, i;
    if (step->kind == FEAMOE_STEP_KIND_NONE)
        return true;
    EXPECT_TRUE(step->from % FEAMOE_WORD == 0 && step->to % FEAMOE_WORD == 0 && step->to <= SLOT_BYTES);
    for (at = step->from; at < step->to; at += FEAMOE_WORD) {
        if (power-- <= 0)
            return false;
        for (i = at; i < at + FEAMOE_WORD; i++) {
            /* A mark that a cut may have torn is written again, by the same bytes. */
            if (step->kind == FEAMOE_STEP_KIND_WRITE)
                EXPECT_TRUE(flash[slot].bytes[i] == 0xff || flash[slot].bytes[i] == step->bytes[i - step->from]);
            flash[slot].bytes[i] = step->kind == FEAMOE_STEP_KIND_ERASE ? 0xff : step->bytes[i - step->from];
        }
    }
    return true;
}

/* Of the private key of 32 bytes 1: another device has its own. */
static const uint8_t keys[] = {
    0x8a, 0x88, 0xe3, 0xdd, 0x74, 0x09, 0xf1, 0x95, 0xfd, 0x52, 0xdb, 0x2d, 0x3c, 0xba, 0x5d, 0x72,
    0xca, 0x67, 0x09, 0xbf, 0x1d, 0x94, 0x12, 0x1b, 0xf3, 0x74, 0x88, 0x01, 0xb4, 0x0f, 0x6f, 0x5c
};
static uint8_t other_key[32];
/* Whose models the device takes. */
static feamoe_verify verify = feamoe_verify_anyone;
static feamoe_signers signers;

static feamoe_status start(feamoe_chosen *chosen)
{
    feamoe_status status = feamoe_integer_slots_choose(flash[0].bytes, SLOT_BYTES, flash[1].bytes, SLOT_BYTES, verify,
                                                       &signers, &narrow, sizeof narrow, chosen);
    if (status == FEAMOE_STATUS_OK)
        EXPECT_TRUE(take(chosen->slot, &chosen->begin[0]) && take(chosen->slot, &chosen->begin[1]));
    return status;
}

static bool confirm(const feamoe_chosen *chosen)
{
    return take(chosen->slot, &chosen->confirm[0]) && take(chosen->slot, &chosen->confirm[1]);
}

/* Returns whether the supply lasted; the model is to be refused as expected. */
static bool write_refused(feamoe_target target, const unsigned char *blob, size_t bytes, feamoe_status expected)
{
    feamoe_step step, last[2];
    const uint8_t *piece;
    size_t at, length;
    EXPECT_OK(feamoe_update_begin(&update, sizeof update, target, SLOT_BYTES, 0xff, (uint32_t)bytes, last));
    if (!take(target.slot, &last[0]) || !take(target.slot, &last[1]))
        return false;
    for (at = 0; at < bytes; at += 1000) {
        piece = blob + at;
        length = bytes - at < 1000 ? bytes - at : 1000;
        do {
            EXPECT_OK(feamoe_update_next(&update, &piece, &length, &step));
            if (!take(target.slot, &step))
                return false;
        } while (step.kind != FEAMOE_STEP_KIND_NONE);
        EXPECT_TRUE(length == 0);
    }
    EXPECT_OK(feamoe_update_end(&update, &step));
    if (!take(target.slot, &step))
        return false;
    EXPECT(feamoe_integer_update_check(&update, flash[target.slot].bytes, SLOT_BYTES, verify, &signers, last), expected);
    return expected != FEAMOE_STATUS_OK || (take(target.slot, &last[0]) && take(target.slot, &last[1]));
}

static bool write_model(feamoe_target target, const unsigned char *blob, size_t bytes)
{
    return write_refused(target, blob, bytes, FEAMOE_STATUS_OK);
}

static uint32_t in_use(void)
{
    feamoe_info info;
    EXPECT_OK(feamoe_integer_model_info(&narrow, &info));
    return info.crc32;
}

static void updates(void)
{
    feamoe_chosen chosen;
    feamoe_step step, first[2];
    long cut;
    bool whole;
    int kept = 0;
    memset(flash, 0xff, sizeof flash);
    power = 1000000;
    EXPECT(start(&chosen), FEAMOE_STATUS_NO_MODEL);
    /* With a library of another capacity there is nothing to update. */
    if (failures != 0)
        return;
    EXPECT_TRUE(chosen.passed_over[0] == FEAMOE_STATUS_SLOT_EMPTY && chosen.passed_over[1] == FEAMOE_STATUS_SLOT_EMPTY);
    EXPECT(feamoe_update_end(&update, &step), FEAMOE_STATUS_NOT_INITIALISED);
    EXPECT_TRUE(write_model(chosen.target, narrow_blob, NARROW_BLOB_BYTES));
    EXPECT_OK(start(&chosen));
    EXPECT_TRUE(in_use() == NARROW_CRC32 && chosen.on_trial && chosen.can_update);
    EXPECT_TRUE(confirm(&chosen));
    EXPECT_OK(start(&chosen));
    EXPECT_TRUE(!chosen.on_trial && chosen.can_update);

    /* The supply fails on the way: the model before stays in use. */
    for (cut = 0; power = cut, !write_model(chosen.target, narrower_blob, NARROWER_BLOB_BYTES); cut += 97) {
        power = 1000000;
        EXPECT_OK(start(&chosen));
        EXPECT_TRUE(in_use() == NARROW_CRC32 && !chosen.on_trial);
    }
    EXPECT_TRUE(cut > SLOT_BYTES / FEAMOE_WORD);
    power = 1000000;
    EXPECT_OK(start(&chosen));
    EXPECT_TRUE(in_use() == NARROWER_CRC32 && chosen.on_trial && !chosen.can_update);
    /* A reset without confirm goes back. */
    EXPECT_OK(start(&chosen));
    EXPECT_TRUE(in_use() == NARROW_CRC32 && !chosen.on_trial);
    EXPECT_TRUE(chosen.passed_over[0] == 0 && chosen.passed_over[1] == FEAMOE_STATUS_NOT_CONFIRMED);
    /* The supply fails anywhere in confirming it: a program that asks for on_trial alone has a model
       that can be updated, the new one from the last word of the first mark on. */
    for (cut = 0; cut <= 8; cut++) {
        EXPECT_TRUE(write_model(chosen.target, narrower_blob, NARROWER_BLOB_BYTES));
        EXPECT_OK(start(&chosen));
        power = cut;
        whole = confirm(&chosen);
        power = 1000000;
        EXPECT_OK(start(&chosen));
        EXPECT_TRUE(!chosen.on_trial && chosen.can_update);
        EXPECT_TRUE(!whole || in_use() == NARROWER_CRC32);
        EXPECT_TRUE(cut < MARK_WORDS || in_use() == NARROWER_CRC32);
        kept += in_use() == NARROWER_CRC32;
        if (in_use() == NARROWER_CRC32) {
            EXPECT_TRUE(write_model(chosen.target, narrow_blob, NARROW_BLOB_BYTES));
            EXPECT_OK(start(&chosen));
            EXPECT_TRUE(confirm(&chosen));
            EXPECT_OK(start(&chosen));
        }
        EXPECT_TRUE(in_use() == NARROW_CRC32);
    }
    EXPECT_TRUE(kept > 0);

    EXPECT(feamoe_update_begin(&update, sizeof update, chosen.target, 100, 0xff, NARROW_BLOB_BYTES, first),
           FEAMOE_STATUS_SLOT_TOO_SHORT);
    EXPECT_OK(feamoe_update_begin(&update, sizeof update, chosen.target, SLOT_BYTES, 0xff, NARROW_BLOB_BYTES, first));
    EXPECT(feamoe_update_end(&update, &step), FEAMOE_STATUS_INCOMPLETE);
}

/* Mends the checksum: the CRC-32 of gzip, of what stands before it and after it. */
static void seal_forged(void)
{
    uint32_t crc = 0xffffffff;
    size_t i;
    int bit;
    for (i = 0; i < NARROWER_BLOB_BYTES; i++) {
        if (i >= 12 && i < 16)
            continue;
        crc ^= forged.bytes[i];
        for (bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
    }
    for (i = 0; i < 4; i++)
        forged.bytes[12 + i] = (uint8_t)(~crc >> 8 * i);
}

/* A model with one bit changed. */
static void forge(size_t at)
{
    memcpy(forged.bytes, narrower_blob, NARROWER_BLOB_BYTES);
    seal_forged();
    EXPECT_TRUE(memcmp(forged.bytes, narrower_blob, NARROWER_BLOB_BYTES) == 0);
    forged.bytes[at] ^= 1;
    seal_forged();
}

static int undecided(const void *context, const uint8_t *blob, size_t blob_bytes, uint32_t least, uint32_t *version)
{
    (void)context, (void)blob, (void)blob_bytes, (void)least, (void)version;
    return -1;
}

/* Keys, lines and versions; a counter of the hardware that only counts up. */
static void trust(void)
{
    feamoe_chosen chosen;
    feamoe_step last[2];
    static const struct { const char *line; const uint8_t *key; uint32_t least; feamoe_status expected; } refused[] = {
        { "demo", other_key, 0, FEAMOE_STATUS_OTHER_KEY },
        { "demo", keys, 3, FEAMOE_STATUS_OLDER_VERSION },
        { "other", keys, 0, FEAMOE_STATUS_OTHER_LINE }
    };
    uint32_t counter = 0, version = 0;
    size_t i;
    if (failures != 0)
        return;
    memset(flash, 0xff, sizeof flash);
    power = 10000000;
    verify = feamoe_verify_signed;
    memset(&signers, 0, sizeof signers);
    EXPECT(verify(NULL, narrow_blob, NARROW_BLOB_BYTES, 0, &version), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(verify(&signers, narrow_blob, NARROW_BLOB_BYTES, 0, &version), FEAMOE_STATUS_NULL_POINTER);
    signers.keys = keys;
    signers.key_count = 1;
    EXPECT(verify(&signers, narrow_blob, NARROW_BLOB_BYTES, 0, &version), FEAMOE_STATUS_NULL_POINTER);
    signers.line = "demo";
    EXPECT(verify(&signers, narrow_blob, NARROW_BLOB_BYTES, 0, NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(verify(&signers, narrow_blob, 0, 0, &version), FEAMOE_STATUS_NOT_SIGNED);
    EXPECT(verify(&signers, demo_blob, DEMO_BLOB_BYTES, 0, &version), FEAMOE_STATUS_NOT_SIGNED);
    EXPECT(verify(&signers, narrower_blob, NARROWER_BLOB_BYTES, 3, &version), FEAMOE_STATUS_OLDER_VERSION);
    EXPECT_TRUE(version == 0);
    EXPECT_OK(verify(&signers, narrower_blob, NARROWER_BLOB_BYTES, 2, &version));
    EXPECT_TRUE(version == 2);
    signers.schema_sha256 = other_key;
    EXPECT(verify(&signers, narrower_blob, NARROWER_BLOB_BYTES, 2, &version), FEAMOE_STATUS_OTHER_SCHEMA);
    signers.schema_sha256 = NULL;

    EXPECT(start(&chosen), FEAMOE_STATUS_NO_MODEL);
    EXPECT_TRUE(write_model(chosen.target, narrow_blob, NARROW_BLOB_BYTES));
    EXPECT_OK(start(&chosen));
    EXPECT_TRUE(confirm(&chosen));
    EXPECT_OK(start(&chosen));
    EXPECT_TRUE(chosen.model_version == 1 && chosen.target.least_version == 1 && !chosen.on_trial);
    for (i = 0; i < sizeof refused / sizeof *refused; i++) {
        signers.line = refused[i].line;
        signers.keys = refused[i].key;
        signers.least_version = refused[i].least;
        write_refused(chosen.target, narrower_blob, NARROWER_BLOB_BYTES, refused[i].expected);
        /* Nor is the model in use taken. */
        EXPECT(start(&chosen), FEAMOE_STATUS_NO_MODEL);
        EXPECT_TRUE(chosen.passed_over[0] == (int)refused[i].expected);
        signers.line = "demo";
        signers.keys = keys;
        signers.least_version = 0;
        EXPECT_OK(start(&chosen));
    }
    /* Changed on its way, without and with a right checksum: the signature is of the bytes before. */
    forge(NARROWER_BLOB_BYTES - 5);
    write_refused(chosen.target, forged.bytes, NARROWER_BLOB_BYTES, FEAMOE_STATUS_WRONG_SIGNATURE);
    forge(NARROWER_BLOB_BYTES / 2);
    write_refused(chosen.target, forged.bytes, NARROWER_BLOB_BYTES, FEAMOE_STATUS_WRONG_SIGNATURE);
    forged.bytes[NARROWER_BLOB_BYTES / 2] ^= 2;
    write_refused(chosen.target, forged.bytes, NARROWER_BLOB_BYTES, FEAMOE_STATUS_BLOB_DAMAGED);
    /* A line that no line can be. */
    for (i = NARROWER_BLOB_BYTES - 4; i > 0 && memcmp(narrower_blob + i, "demo", 4) != 0; i--)
        ;
    memcpy(forged.bytes, narrower_blob, NARROWER_BLOB_BYTES);
    forged.bytes[i] = 'D';
    seal_forged();
    write_refused(chosen.target, forged.bytes, NARROWER_BLOB_BYTES, FEAMOE_STATUS_SIGNATURE_INVALID);
    /* Mistakes of the caller are reported as such, by each slot, and take no model. */
    signers.line = NULL;
    write_refused(chosen.target, narrower_blob, NARROWER_BLOB_BYTES, FEAMOE_STATUS_NULL_POINTER);
    EXPECT(start(&chosen), FEAMOE_STATUS_NO_MODEL);
    EXPECT_TRUE(chosen.passed_over[0] == FEAMOE_STATUS_NULL_POINTER);
    signers.line = "demo";
    verify = NULL;
    EXPECT(start(&chosen), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_integer_update_check(&update, flash[1].bytes, SLOT_BYTES, verify, &signers, last),
           FEAMOE_STATUS_NULL_POINTER);
    verify = undecided;
    EXPECT(start(&chosen), FEAMOE_STATUS_NO_MODEL);
    EXPECT_TRUE(chosen.passed_over[0] == FEAMOE_STATUS_UNKNOWN);
    verify = feamoe_verify_signed;
    EXPECT_OK(start(&chosen));
    EXPECT_TRUE(write_model(chosen.target, narrower_blob, NARROWER_BLOB_BYTES));
    EXPECT_OK(start(&chosen));
    EXPECT_TRUE(chosen.model_version == 2 && confirm(&chosen));
    counter = chosen.model_version;
    signers.least_version = counter;
    EXPECT_OK(start(&chosen));
    EXPECT_TRUE(!chosen.on_trial && chosen.passed_over[0] == 0);
    write_refused(chosen.target, narrow_blob, NARROW_BLOB_BYTES, FEAMOE_STATUS_OLDER_VERSION);
    /* Anyone's, of any version. */
    verify = feamoe_verify_anyone;
    EXPECT(verify(NULL, narrow_blob, NARROW_BLOB_BYTES, 0, NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT_TRUE(write_model(chosen.target, narrow_blob, NARROW_BLOB_BYTES));
    EXPECT_OK(start(&chosen));
    EXPECT_TRUE(in_use() == NARROW_CRC32 && chosen.model_version == 0);
}

static size_t read_file(const char *path, uint8_t *bytes, size_t capacity)
{
    FILE *file = fopen(path, "rb");
    size_t length = 0;
    EXPECT_TRUE(file != NULL);
    if (file != NULL) {
        length = fread(bytes, 1, capacity, file);
        fclose(file);
    }
    return length;
}

static void deltas(void)
{
    static union { uint64_t align; uint8_t bytes[2048]; } old, delta, expected;
    static uint8_t out[DEMO_BLOB_BYTES];
    size_t old_bytes = read_file(GOLDEN "/v1-i16.feamoe", old.bytes, sizeof old.bytes);
    size_t delta_bytes = read_file(GOLDEN "/delta-v2.delta", delta.bytes, sizeof delta.bytes);
    size_t expected_bytes = read_file(GOLDEN "/delta-v2.feamoe", expected.bytes, sizeof expected.bytes);
    size_t written = 0;
    EXPECT_OK(feamoe_delta_apply(old.bytes, old_bytes, delta.bytes, delta_bytes, out, sizeof out, &written));
    EXPECT_TRUE(written == expected_bytes && written > 0 && memcmp(out, expected.bytes, written) == 0);
    EXPECT(feamoe_delta_apply(old.bytes, old_bytes, delta.bytes, delta_bytes, out, expected_bytes - 1, &written),
           FEAMOE_STATUS_DELTA_REFUSED);
    delta.bytes[delta_bytes / 2] ^= 1;
    EXPECT(feamoe_delta_apply(old.bytes, old_bytes, delta.bytes, delta_bytes, out, sizeof out, &written),
           FEAMOE_STATUS_DELTA_REFUSED);
    EXPECT(feamoe_delta_apply(demo_blob, DEMO_BLOB_BYTES, narrow_blob, NARROW_BLOB_BYTES, out, sizeof out, &written),
           FEAMOE_STATUS_DELTA_REFUSED);
}

int main(void)
{
    EXPECT_TRUE(strlen(feamoe_version()) >= 5);
    EXPECT_OK(feamoe_model_load(&model, sizeof model, demo_blob, DEMO_BLOB_BYTES));
    EXPECT_OK(feamoe_record_init(&record, sizeof record, &model));
    EXPECT_OK(feamoe_record_init(&other, sizeof other, &model));
    set_all();
    exact();
    find_recourse();
    watch();
    integers();
    updates();
    trust();
    deltas();
    return failures != 0;
}
