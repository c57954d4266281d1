/* Our engine through its C interface. */
#include "contender.h"
#include "feamoe.h"
#include "adult.h"

static feamoe_model model;
static feamoe_record record;

static const size_t numbers[NUMBERS] = {
    ADULT_FEATURE_AGE, ADULT_FEATURE_EDUCATION_NUM, ADULT_FEATURE_CAPITAL_GAIN, ADULT_FEATURE_CAPITAL_LOSS,
    ADULT_FEATURE_HOURS_PER_WEEK
};
static const size_t categories[CATEGORIES] = {
    ADULT_FEATURE_WORKCLASS, ADULT_FEATURE_EDUCATION, ADULT_FEATURE_MARITAL_STATUS, ADULT_FEATURE_OCCUPATION,
    ADULT_FEATURE_RELATIONSHIP, ADULT_FEATURE_RACE, ADULT_FEATURE_SEX, ADULT_FEATURE_NATIVE_COUNTRY
};

int contender_start(void)
{
    return feamoe_model_load(&model, sizeof model, adult_blob, ADULT_BLOB_BYTES) != FEAMOE_STATUS_OK ||
           feamoe_record_init(&record, sizeof record, &model) != FEAMOE_STATUS_OK;
}

float contender_score(const struct row *row)
{
    feamoe_score score;
    unsigned i;
    for (i = 0; i < NUMBERS; i++)
        feamoe_record_set_number(&record, numbers[i], row->numbers[i]);
    for (i = 0; i < CATEGORIES; i++)
        if (row->codes[i] == MISSING)
            feamoe_record_set_missing(&record, categories[i]);
        else
            feamoe_record_set_level(&record, categories[i], row->codes[i]);
    return feamoe_record_score(&record, &score, NULL, 0) == FEAMOE_STATUS_OK ? score.probability : -1.0f;
}
