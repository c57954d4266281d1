/*
 * Loads the demo's model, scores and explains three applications, and prints the f32 bits: a device and a host print the same.
 *
 * Portable C99. `make run` builds it for a Cortex-M4F and runs it in the emulator, `make host` builds it for this machine.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "feamoe.h"
/* Made from the model by `feamoe export --constants c`: indices, codes, the checksum and the model itself. */
#include "demo.h"

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
    if (status != FEAMOE_STATUS_OK)
        printf("feamoe: %s\n", feamoe_message(status));
    return status != FEAMOE_STATUS_OK;
}
