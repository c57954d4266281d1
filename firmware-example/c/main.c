/*
 * Loads the demo's model, scores and explains three applications, and prints the f32 bits: a device and a host print the same.
 * Then takes a signed model as an update, keeps it, and reports what it watched.
 *
 * Portable C99. `make run` builds it for a Cortex-M4F and runs it in the emulator, `make host` builds it for this machine.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "feamoe.h"
/* Made from the model by `feamoe export --constants c`: indices, codes, the checksum and the model itself. */
#include "demo.h"
/* Likewise of a signed model, which comes as an update here. */
#include "signed.h"

struct application {
    float age, income, loan_amount, credit_score, years_employed, dependants;
    uint16_t sex, employment, purpose, region;
};

/* The rows of ../demo.csv. */
static const struct application applications[] = {
    { 31.0f, 22410.0f, 35400.0f, 632.0f, 14.0f, 3.0f, DEMO_LEVEL_SEX_FEMALE, DEMO_LEVEL_EMPLOYMENT_SALARIED,
      DEMO_LEVEL_PURPOSE_CAR, DEMO_LEVEL_REGION_WEST },
    { 24.0f, 16920.0f, 26800.0f, 574.0f, NAN, 1.0f, DEMO_LEVEL_SEX_MALE, DEMO_LEVEL_EMPLOYMENT_SELF_EMPLOYED,
      DEMO_LEVEL_PURPOSE_HOME, DEMO_LEVEL_REGION_EAST },
    { 30.0f, 31790.0f, 44700.0f, 665.0f, 9.0f, 1.0f, DEMO_LEVEL_SEX_MALE, DEMO_LEVEL_EMPLOYMENT_PUBLIC,
      DEMO_LEVEL_PURPOSE_HOME, DEMO_LEVEL_REGION_NORTH }
};

/* In static memory: its size is known when the program is linked. */
static feamoe_model model;
static feamoe_record record;

static feamoe_status set(const struct application *a)
{
    const struct { size_t feature; float number; } numbers[] = {
        { DEMO_FEATURE_AGE, a->age },
        { DEMO_FEATURE_INCOME, a->income },
        { DEMO_FEATURE_LOAN_AMOUNT, a->loan_amount },
        { DEMO_FEATURE_CREDIT_SCORE, a->credit_score },
        { DEMO_FEATURE_YEARS_EMPLOYED, a->years_employed },
        { DEMO_FEATURE_DEPENDANTS, a->dependants }
    };
    const struct { size_t feature; uint16_t code; } levels[] = {
        { DEMO_FEATURE_SEX, a->sex },
        { DEMO_FEATURE_EMPLOYMENT, a->employment },
        { DEMO_FEATURE_PURPOSE, a->purpose },
        { DEMO_FEATURE_REGION, a->region }
    };
    feamoe_status status = FEAMOE_STATUS_OK;
    size_t i;
    for (i = 0; i < sizeof numbers / sizeof *numbers && status == FEAMOE_STATUS_OK; i++)
        status = feamoe_record_set_number(&record, numbers[i].feature, numbers[i].number);
    for (i = 0; i < sizeof levels / sizeof *levels && status == FEAMOE_STATUS_OK; i++)
        status = feamoe_record_set_level(&record, levels[i].feature, levels[i].code);
    return status;
}

static unsigned long bits(float number)
{
    uint32_t word;
    memcpy(&word, &number, sizeof word);
    return word;
}

static feamoe_status show(size_t number)
{
    float gate[DEMO_EXPERTS], frozen_values[DEMO_FEATURES], path_values[DEMO_FEATURES];
    feamoe_attribution frozen, path;
    feamoe_score score;
    feamoe_status status = feamoe_record_score(&record, &score, gate, DEMO_EXPERTS);
    size_t i;
    if (status == FEAMOE_STATUS_OK)
        status = feamoe_record_frozen(&record, &frozen, frozen_values, DEMO_FEATURES);
    if (status == FEAMOE_STATUS_OK)
        status = feamoe_record_path(&record, &path, path_values, DEMO_FEATURES);
    if (status != FEAMOE_STATUS_OK)
        return status;

    printf("\nrecord %u: p %.6f [%08lx], %s\n", (unsigned)number, (double)score.probability, bits(score.probability),
           score.decision ? "favourable" : "unfavourable");
    for (i = 0; i < DEMO_EXPERTS; i++)
        printf("  gate of expert %2u %10.6f [%08lx]\n", (unsigned)i + 1, (double)gate[i], bits(gate[i]));
    printf("  %-20s frozen, log-odds       path, probability\n", "feature");
    printf("  %-20s %+10.6f [%08lx] %+10.6f [%08lx]\n", "(base)", (double)frozen.base_value, bits(frozen.base_value),
           (double)path.base_value, bits(path.base_value));
    for (i = 0; i < DEMO_FEATURES && status == FEAMOE_STATUS_OK; i++) {
        const char *name;
        size_t length;
        status = feamoe_model_feature_name(&model, i, &name, &length);
        if (status == FEAMOE_STATUS_OK)
            printf("  %-20.*s %+10.6f [%08lx] %+10.6f [%08lx]\n", (int)length, name, (double)frozen_values[i],
                   bits(frozen_values[i]), (double)path_values[i], bits(path_values[i]));
    }
    return status;
}

/* Two slots of flash, here memory: a device has a driver that erases and writes. */
#define SLOT_BYTES 2048
static union { uint64_t align; uint8_t bytes[SLOT_BYTES]; } slots[2];
static feamoe_update update;
static feamoe_monitor monitor;
/* A counter of the hardware that only counts up, such as fuses. */
static uint32_t counter;
/* The key that signs, of a private key that anybody has: a device has its own. */
static const uint8_t keys[] = {
    0x8a, 0x88, 0xe3, 0xdd, 0x74, 0x09, 0xf1, 0x95, 0xfd, 0x52, 0xdb, 0x2d, 0x3c, 0xba, 0x5d, 0x72,
    0xca, 0x67, 0x09, 0xbf, 0x1d, 0x94, 0x12, 0x1b, 0xf3, 0x74, 0x88, 0x01, 0xb4, 0x0f, 0x6f, 0x5c
};

static void take(size_t slot, const feamoe_step *step)
{
    if (step->kind == FEAMOE_STEP_KIND_ERASE)
        memset(slots[slot].bytes + step->from, 0xff, step->to - step->from);
    else if (step->kind == FEAMOE_STEP_KIND_WRITE)
        memcpy(slots[slot].bytes + step->from, step->bytes, step->to - step->from);
}

static void take_both(size_t slot, const feamoe_step *steps)
{
    take(slot, &steps[0]);
    take(slot, &steps[1]);
}

/* Whose models the device takes: none older than its counter. */
static feamoe_signers signers(void)
{
    feamoe_signers all;
    all.keys = keys;
    all.key_count = 1;
    all.line = "golden";
    all.schema_sha256 = NULL;
    all.least_version = counter;
    return all;
}

/* Once after each reset. */
static feamoe_status start(feamoe_chosen *chosen)
{
    feamoe_signers trusted = signers();
    feamoe_status status = feamoe_slots_choose(slots[0].bytes, SLOT_BYTES, slots[1].bytes, SLOT_BYTES, feamoe_verify_signed,
                                               &trusted, &model, sizeof model, chosen);
    if (status == FEAMOE_STATUS_OK)
        take_both(chosen->slot, chosen->begin);
    if (status == FEAMOE_STATUS_OK && !chosen->on_trial && chosen->model_version > counter)
        counter = chosen->model_version;
    return status;
}

static feamoe_status install(feamoe_target target, const uint8_t *blob, size_t bytes)
{
    feamoe_signers trusted = signers();
    feamoe_step step, steps[2];
    feamoe_status status = feamoe_update_begin(&update, sizeof update, target, SLOT_BYTES, 0xff, (uint32_t)bytes, steps);
    if (status != FEAMOE_STATUS_OK)
        return status;
    take_both(target.slot, steps);
    /* All in one piece here; a device has them as they arrive. */
    do {
        status = feamoe_update_next(&update, &blob, &bytes, &step);
        take(target.slot, &step);
    } while (status == FEAMOE_STATUS_OK && step.kind != FEAMOE_STEP_KIND_NONE);
    if (status == FEAMOE_STATUS_OK)
        status = feamoe_update_end(&update, &step);
    if (status != FEAMOE_STATUS_OK)
        return status;
    take(target.slot, &step);
    status = feamoe_update_check(&update, slots[target.slot].bytes, SLOT_BYTES, feamoe_verify_signed, &trusted, steps);
    if (status == FEAMOE_STATUS_OK)
        take_both(target.slot, steps);
    return status;
}

/* An update, tried and kept; one that was changed on its way; a status that its owner can trust. */
static feamoe_status field(void)
{
    static const uint8_t key[FEAMOE_KEY_BYTES] = "a device has secrets of its own";
    static uint8_t changed[SIGNED_BLOB_BYTES], report[FEAMOE_STATUS_BYTES];
    feamoe_sender sender = { "device-1", 1 };
    feamoe_chosen chosen;
    feamoe_status status;
    feamoe_score score;
    size_t written = 0;
    memset(slots, 0xff, sizeof slots);
    status = start(&chosen);
    if (status != FEAMOE_STATUS_NO_MODEL)
        return status;
    memcpy(changed, signed_blob, sizeof changed);
    changed[sizeof changed - 1] ^= 1;
    printf("\nchanged on its way: %s\n", feamoe_message(install(chosen.target, changed, sizeof changed)));
    status = install(chosen.target, signed_blob, SIGNED_BLOB_BYTES);
    if (status == FEAMOE_STATUS_OK)
        status = start(&chosen);
    if (status != FEAMOE_STATUS_OK)
        return status;
    printf("version %u in slot %u, %s\n", (unsigned)chosen.model_version, (unsigned)chosen.slot,
           chosen.on_trial ? "on trial" : "kept");
    take_both(chosen.slot, chosen.confirm);
    status = start(&chosen);
    if (status == FEAMOE_STATUS_OK)
        printf("version %u, %s, counter %u\n", (unsigned)chosen.model_version, chosen.on_trial ? "on trial" : "kept",
               (unsigned)counter);
    if (status == FEAMOE_STATUS_OK)
        status = feamoe_record_init(&record, sizeof record, &model);
    if (status == FEAMOE_STATUS_OK)
        status = feamoe_record_score(&record, &score, NULL, 0);
    if (status == FEAMOE_STATUS_OK)
        status = feamoe_monitor_start(&monitor, sizeof monitor, &model, 0);
    if (status == FEAMOE_STATUS_OK)
        status = feamoe_monitor_observe(&monitor, &record, score.probability, 0, NULL);
    if (status == FEAMOE_STATUS_OK)
        status = feamoe_monitor_status_authenticated(&monitor, &sender, key, report, sizeof report, &written);
    if (status == FEAMOE_STATUS_OK)
        printf("status %u of %s: %u bytes\n", (unsigned)sender.counter, (const char *)sender.device, (unsigned)written);
    return status;
}

int main(void)
{
    feamoe_info info;
    size_t i;
    feamoe_status status = feamoe_model_load(&model, sizeof model, demo_blob, DEMO_BLOB_BYTES);
    if (status == FEAMOE_STATUS_OK)
        status = feamoe_model_info(&model, &info);
    if (status == FEAMOE_STATUS_OK && info.crc32 != DEMO_CRC32) {
        printf("the model is not the one whose constants were compiled in\n");
        return 1;
    }
    if (status == FEAMOE_STATUS_OK) {
        printf("model %08lx: %u features, %u experts, %u bytes\n", (unsigned long)info.crc32, (unsigned)info.features,
               (unsigned)info.experts, (unsigned)info.blob_bytes);
        status = feamoe_record_init(&record, sizeof record, &model);
    }
    for (i = 0; i < sizeof applications / sizeof *applications && status == FEAMOE_STATUS_OK; i++) {
        status = set(&applications[i]);
        if (status == FEAMOE_STATUS_OK)
            status = show(i + 1);
    }
    if (status == FEAMOE_STATUS_OK)
        status = field();
    if (status != FEAMOE_STATUS_OK)
        printf("feamoe: %s\n", feamoe_message(status));
    return status != FEAMOE_STATUS_OK;
}
