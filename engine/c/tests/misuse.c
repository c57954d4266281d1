/* Everything that a caller can do wrong and a callee can see: an error code each time, and what was to be written is unchanged. */
#include <stdio.h>
#include <string.h>

#include "feamoe.h"
#include "demo.h"

static int failures;

#define EXPECT(call, expected)                                                                                         \
    do {                                                                                                               \
        int found = (int)(call);                                                                                       \
        if (found != (int)(expected)) {                                                                                \
            printf("line %d: " #call " gave %d (%s)\n", __LINE__, found, feamoe_message(found));                       \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)
#define EXPECT_OK(call) EXPECT(call, FEAMOE_STATUS_OK)
#define EXPECT_TRUE(condition) EXPECT(!(condition), 0)

/* Room for one byte more, to misalign by. */
static union { uint64_t align; unsigned char bytes[DEMO_BLOB_BYTES + 8]; } copy;
static union { feamoe_model model; unsigned char bytes[sizeof(feamoe_model) + 8]; } shifted_model;
static union { feamoe_record record; unsigned char bytes[sizeof(feamoe_record) + 8]; } shifted_record;
static feamoe_model model, other_model;
static feamoe_record record, other_record;

static feamoe_status load(const unsigned char *blob, size_t bytes)
{
    return feamoe_model_load(&model, sizeof model, blob, bytes);
}

static void loading(void)
{
    feamoe_info info;
    EXPECT(feamoe_model_info(&model, &info), FEAMOE_STATUS_NOT_INITIALISED);
    EXPECT(feamoe_record_init(&record, sizeof record, &model), FEAMOE_STATUS_NOT_INITIALISED);
    EXPECT(feamoe_record_set_number(&record, 0, 1.0f), FEAMOE_STATUS_NOT_INITIALISED);
    memset(&model, 0xa5, sizeof model);
    EXPECT(feamoe_model_info(&model, &info), FEAMOE_STATUS_NOT_INITIALISED);

    EXPECT(feamoe_model_load(NULL, sizeof model, demo_blob, DEMO_BLOB_BYTES), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(load(NULL, 0), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_model_load(&model, sizeof model - 8, demo_blob, DEMO_BLOB_BYTES), FEAMOE_STATUS_WRONG_SIZE);
    EXPECT(feamoe_model_load(&model, sizeof model + 8, demo_blob, DEMO_BLOB_BYTES), FEAMOE_STATUS_WRONG_SIZE);
    EXPECT(feamoe_model_load((feamoe_model *)(void *)(shifted_model.bytes + 1), sizeof model, demo_blob, DEMO_BLOB_BYTES),
           FEAMOE_STATUS_MISALIGNED);
    EXPECT(load(demo_blob, 0), FEAMOE_STATUS_BLOB_WRONG_LENGTH);
    EXPECT(load(demo_blob, DEMO_BLOB_BYTES - 1), FEAMOE_STATUS_BLOB_WRONG_LENGTH);
    EXPECT(load(demo_blob, (size_t)-1), FEAMOE_STATUS_BLOB_WRONG_LENGTH);
    EXPECT(load(demo_blob + 4, DEMO_BLOB_BYTES - 4), FEAMOE_STATUS_BLOB_WRONG_MAGIC);
    memcpy(copy.bytes + 1, demo_blob, DEMO_BLOB_BYTES);
    EXPECT(load(copy.bytes + 1, DEMO_BLOB_BYTES), FEAMOE_STATUS_BLOB_MISALIGNED);
    memcpy(copy.bytes, demo_blob, DEMO_BLOB_BYTES);
    EXPECT(load(copy.bytes, DEMO_BLOB_BYTES + 1), FEAMOE_STATUS_BLOB_WRONG_LENGTH);
    copy.bytes[DEMO_BLOB_BYTES - 1] ^= 1;
    EXPECT(load(copy.bytes, DEMO_BLOB_BYTES), FEAMOE_STATUS_BLOB_DAMAGED);
    copy.bytes[4] = 99;
    EXPECT(load(copy.bytes, DEMO_BLOB_BYTES), FEAMOE_STATUS_BLOB_UNSUPPORTED);

    EXPECT_OK(load(demo_blob, DEMO_BLOB_BYTES));
    EXPECT(feamoe_model_info(&model, NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT_OK(feamoe_model_info(&model, &info));
    EXPECT_TRUE(info.crc32 == DEMO_CRC32 && info.threshold == DEMO_THRESHOLD && info.features == DEMO_FEATURES);
    EXPECT_TRUE(info.experts == DEMO_EXPERTS && info.blob_bytes == DEMO_BLOB_BYTES && info.names);
    /* A model that was copied is none; one that could not be loaded anew is none either. */
    other_model = model;
    EXPECT(feamoe_model_info(&other_model, &info), FEAMOE_STATUS_NOT_INITIALISED);
    EXPECT(load(copy.bytes, DEMO_BLOB_BYTES), FEAMOE_STATUS_BLOB_UNSUPPORTED);
    EXPECT(feamoe_model_info(&model, &info), FEAMOE_STATUS_NOT_INITIALISED);
    EXPECT_OK(load(demo_blob, DEMO_BLOB_BYTES));
}

static void names(void)
{
    size_t index = 77, length = 77;
    uint16_t code = 77;
    const char *name = NULL;
    EXPECT(feamoe_model_feature_index(&model, "no such", &index), FEAMOE_STATUS_UNKNOWN_FEATURE);
    EXPECT(feamoe_model_feature_index(&model, "\xff", &index), FEAMOE_STATUS_NOT_UTF8);
    EXPECT(feamoe_model_feature_index(&model, NULL, &index), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_model_feature_index(&model, "sex", NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_model_feature_index(NULL, "sex", &index), FEAMOE_STATUS_NULL_POINTER);
    EXPECT_TRUE(index == 77);
    EXPECT_OK(feamoe_model_feature_index(&model, "region", &index));
    EXPECT_TRUE(index == DEMO_FEATURE_REGION);

    EXPECT(feamoe_model_level_code(&model, DEMO_FEATURE_AGE, "x", &code), FEAMOE_STATUS_NOT_A_CATEGORY);
    EXPECT(feamoe_model_level_code(&model, DEMO_FEATURES, "x", &code), FEAMOE_STATUS_UNKNOWN_FEATURE);
    EXPECT(feamoe_model_level_code(&model, DEMO_FEATURE_SEX, "x", &code), FEAMOE_STATUS_UNKNOWN_LEVEL);
    EXPECT(feamoe_model_level_code(&model, DEMO_FEATURE_SEX, NULL, &code), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_model_level_code(&model, DEMO_FEATURE_SEX, "Male", NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT_TRUE(code == 77);
    EXPECT_OK(feamoe_model_level_code(&model, DEMO_FEATURE_SEX, "Female", &code));
    EXPECT_TRUE(code == DEMO_LEVEL_SEX_FEMALE);

    EXPECT(feamoe_model_feature_name(&model, DEMO_FEATURES, &name, &length), FEAMOE_STATUS_UNKNOWN_FEATURE);
    EXPECT(feamoe_model_feature_name(&model, (size_t)-1, &name, &length), FEAMOE_STATUS_UNKNOWN_FEATURE);
    EXPECT(feamoe_model_feature_name(&model, 0, NULL, &length), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_model_feature_name(&model, 0, &name, NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT_TRUE(name == NULL && length == 77);
    EXPECT_OK(feamoe_model_feature_name(&model, 1, &name, &length));
    EXPECT_TRUE(length == 3 && memcmp(name, "age", 3) == 0);
}

static void schema(void)
{
    feamoe_feature feature;
    size_t length = 77, rows = 77;
    const char *name = NULL;
    memset(&feature, 0, sizeof feature);
    EXPECT(feamoe_model_feature(&model, DEMO_FEATURES, &feature), FEAMOE_STATUS_UNKNOWN_FEATURE);
    EXPECT(feamoe_model_feature(&model, 0, NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_model_feature(NULL, 0, &feature), FEAMOE_STATUS_NULL_POINTER);
    EXPECT_TRUE(feature.high == 0.0f);
    EXPECT_OK(feamoe_model_feature(&model, DEMO_FEATURE_AGE, &feature));
    EXPECT_TRUE(feature.kind == FEAMOE_FEATURE_KIND_NUMBER && feature.low < feature.high && feature.levels == 0);
    EXPECT_OK(feamoe_model_feature(&model, DEMO_FEATURE_SEX, &feature));
    EXPECT_TRUE(feature.kind == FEAMOE_FEATURE_KIND_CATEGORY && feature.levels == 2);

    EXPECT(feamoe_model_level_name(&model, DEMO_FEATURE_AGE, 0, &name, &length), FEAMOE_STATUS_NOT_A_CATEGORY);
    EXPECT(feamoe_model_level_name(&model, DEMO_FEATURE_SEX, 2, &name, &length), FEAMOE_STATUS_LEVEL_OUT_OF_RANGE);
    EXPECT(feamoe_model_level_name(&model, DEMO_FEATURE_SEX, FEAMOE_UNSEEN, &name, &length), FEAMOE_STATUS_LEVEL_OUT_OF_RANGE);
    EXPECT(feamoe_model_level_name(&model, DEMO_FEATURE_SEX, 0, NULL, &length), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_model_outcome_name(&model, &name, NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT_TRUE(name == NULL && length == 77);
    EXPECT_OK(feamoe_model_level_name(&model, DEMO_FEATURE_SEX, DEMO_LEVEL_SEX_FEMALE, &name, &length));
    EXPECT_TRUE(length == 6 && memcmp(name, "Female", 6) == 0);
    EXPECT_OK(feamoe_model_outcome_name(&model, &name, &length));
    EXPECT_TRUE(length == 3 && memcmp(name, "yes", 3) == 0);

    EXPECT(feamoe_model_background_rows(&model, NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT_OK(feamoe_model_background_rows(&model, &rows));
    EXPECT_TRUE(rows == 0);
    EXPECT_OK(feamoe_record_init(&record, sizeof record, &model));
    EXPECT(feamoe_record_set_background(&record, 0), FEAMOE_STATUS_BACKGROUND_EMPTY);
    EXPECT(feamoe_record_set_background(NULL, 0), FEAMOE_STATUS_NULL_POINTER);
}

static void records(void)
{
    float gate[DEMO_EXPERTS], values[DEMO_FEATURES];
    feamoe_score score, again;
    feamoe_attribution why;
    EXPECT(feamoe_record_init(NULL, sizeof record, &model), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_record_init(&record, sizeof record, NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_record_init(&record, sizeof record - 8, &model), FEAMOE_STATUS_WRONG_SIZE);
    EXPECT(feamoe_record_init((feamoe_record *)(void *)(shifted_record.bytes + 4), sizeof record, &model),
           sizeof(void *) > 4 ? FEAMOE_STATUS_MISALIGNED : FEAMOE_STATUS_OK);
    EXPECT_OK(feamoe_record_init(&record, sizeof record, &model));

    EXPECT(feamoe_record_set_number(NULL, DEMO_FEATURE_AGE, 1.0f), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_record_set_number(&record, DEMO_FEATURE_SEX, 1.0f), FEAMOE_STATUS_NOT_A_NUMBER);
    EXPECT(feamoe_record_set_number(&record, DEMO_FEATURES, 1.0f), FEAMOE_STATUS_UNKNOWN_FEATURE);
    EXPECT(feamoe_record_set_number(&record, (size_t)-1, 1.0f), FEAMOE_STATUS_UNKNOWN_FEATURE);
    EXPECT(feamoe_record_set_level(&record, DEMO_FEATURE_AGE, 0), FEAMOE_STATUS_NOT_A_CATEGORY);
    EXPECT(feamoe_record_set_level(&record, DEMO_FEATURE_SEX, 2), FEAMOE_STATUS_LEVEL_OUT_OF_RANGE);
    EXPECT(feamoe_record_set_category(&record, DEMO_FEATURE_SEX, NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_record_set_category(&record, DEMO_FEATURE_SEX, "\xc3"), FEAMOE_STATUS_NOT_UTF8);
    EXPECT(feamoe_record_set_category(&record, DEMO_FEATURE_AGE, "x"), FEAMOE_STATUS_NOT_A_CATEGORY);
    EXPECT(feamoe_record_set_missing(&record, DEMO_FEATURES), FEAMOE_STATUS_UNKNOWN_FEATURE);

    EXPECT_OK(feamoe_record_score(&record, &score, NULL, 0));
    EXPECT_TRUE(score.missing && !score.clamped && !score.unseen);
    EXPECT_OK(feamoe_record_set_number(&record, DEMO_FEATURE_AGE, 1e9f));
    EXPECT_OK(feamoe_record_set_category(&record, DEMO_FEATURE_SEX, "Female"));
    EXPECT_OK(feamoe_record_set_level(&record, DEMO_FEATURE_REGION, FEAMOE_UNSEEN));
    EXPECT_OK(feamoe_record_score(&record, &score, NULL, 0));
    EXPECT_TRUE(score.missing && score.clamped && score.unseen);

    /* Too short for the model: not a number of it is written. */
    memset(gate, 0, sizeof gate);
    memset(values, 0, sizeof values);
    again.probability = -1.0f;
    why.output = -1.0f;
    EXPECT(feamoe_record_score(&record, &again, gate, DEMO_EXPERTS - 1), FEAMOE_STATUS_TOO_SHORT);
    EXPECT(feamoe_record_score(&record, NULL, gate, DEMO_EXPERTS), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_record_score(NULL, &again, gate, DEMO_EXPERTS), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_record_score(&record, &again, (float *)(void *)((char *)gate + 1), DEMO_EXPERTS), FEAMOE_STATUS_MISALIGNED);
    EXPECT(feamoe_record_path(&record, &why, values, DEMO_FEATURES - 1), FEAMOE_STATUS_TOO_SHORT);
    EXPECT(feamoe_record_path(&record, &why, NULL, DEMO_FEATURES), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_record_frozen(&record, NULL, values, DEMO_FEATURES), FEAMOE_STATUS_NULL_POINTER);
    EXPECT_TRUE(again.probability == -1.0f && why.output == -1.0f && gate[0] == 0.0f && values[0] == 0.0f);
    EXPECT(feamoe_record_calibrated(&record, NULL), FEAMOE_STATUS_NULL_POINTER);
    EXPECT(feamoe_record_calibrated(NULL, values), FEAMOE_STATUS_NULL_POINTER);
    EXPECT_OK(feamoe_record_calibrated(&record, values));
    EXPECT_TRUE(values[0] >= 0.0f && values[0] <= 1.0f);
    EXPECT_OK(feamoe_record_score(&record, &again, gate, DEMO_EXPERTS));
    EXPECT_OK(feamoe_record_path(&record, &why, values, DEMO_FEATURES));
    EXPECT_TRUE(again.probability == score.probability && why.score.probability == score.probability && values[0] != 0.0f);

    /* A record that was copied is none; a model is no record; a record of a model that is no longer there is refused. */
    other_record = record;
    EXPECT(feamoe_record_score(&other_record, &again, NULL, 0), FEAMOE_STATUS_NOT_INITIALISED);
    EXPECT(feamoe_record_score((const feamoe_record *)(const void *)&model, &again, NULL, 0), FEAMOE_STATUS_NOT_INITIALISED);
    EXPECT(load(demo_blob, 1), FEAMOE_STATUS_BLOB_WRONG_LENGTH);
    EXPECT(feamoe_record_score(&record, &again, NULL, 0), FEAMOE_STATUS_NOT_INITIALISED);
    EXPECT(feamoe_record_set_missing(&record, 0), FEAMOE_STATUS_NOT_INITIALISED);
}

#ifdef OTHER_MODEL
#include "other.h"

/* Another model in the memory of the record's, and one without names. */
static void another(void)
{
    size_t index;
    uint16_t code;
    const char *name;
    feamoe_score score;
    EXPECT_OK(load(demo_blob, DEMO_BLOB_BYTES));
    EXPECT_OK(feamoe_record_init(&record, sizeof record, &model));
    EXPECT_OK(load(other_blob, OTHER_BLOB_BYTES));
    EXPECT(feamoe_record_score(&record, &score, NULL, 0), FEAMOE_STATUS_OTHER_MODEL);
    EXPECT(feamoe_model_feature_index(&model, "sex", &index), FEAMOE_STATUS_NAMES_STRIPPED);
    EXPECT(feamoe_model_level_code(&model, OTHER_FEATURE_SEX, "Male", &code), FEAMOE_STATUS_NAMES_STRIPPED);
    EXPECT(feamoe_model_feature_name(&model, 0, &name, &index), FEAMOE_STATUS_NAMES_STRIPPED);
    EXPECT_OK(feamoe_record_init(&record, sizeof record, &model));
    EXPECT(feamoe_record_set_category(&record, OTHER_FEATURE_SEX, "Male"), FEAMOE_STATUS_NAMES_STRIPPED);
    EXPECT_OK(feamoe_record_set_level(&record, OTHER_FEATURE_SEX, OTHER_LEVEL_SEX_MALE));
}
#endif

int main(void)
{
    int code;
    loading();
    names();
    schema();
    records();
#ifdef OTHER_MODEL
    another();
#endif
    for (code = -2; code < 110; code++)
        EXPECT_TRUE(strlen(feamoe_message(code)) > 3);
    return failures != 0;
}
