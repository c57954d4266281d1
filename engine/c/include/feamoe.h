/*
 * The feamoe engine for C99 and C++: loads a model file, scores and explains records. Made by cbindgen from engine/c/src: do not edit.
 *
 *     static feamoe_model model;
 *     static feamoe_record record;
 *     feamoe_score score;
 *     feamoe_model_load(&model, sizeof model, blob, blob_bytes);        // blob: at a multiple of 4
 *     feamoe_record_init(&record, sizeof record, &model);               // every value missing
 *     feamoe_record_set_number(&record, 0, 39.0f);
 *     feamoe_record_score(&record, &score, NULL, 0);
 *
 * All memory is yours; nothing is allocated, no function has state of its own, none panics. Every function that can fail returns a feamoe_status; what it would
 * have written is then as it was. Null and misaligned pointers, memory of another size than this header's and memory that was never loaded (or was moved since)
 * are errors, not undefined behaviour. What C must keep: pointers point to memory of their type; strings end with a NUL; the blob stays as it is and where
 * it is, while its model is used, and the model while its records are; load a model anew only when you init its records anew. A loaded model
 * may be used by many threads, a record by one at a time.
 */

#ifndef FEAMOE_H
#define FEAMOE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Most features of a model. To raise it, raise it in engine/c/src/lib.rs and write feamoe.h anew.
#define FEAMOE_FEATURES 32

// Most experts of a model, an even number; raised in the same way.
#define FEAMOE_EXPERTS 16

// What a feamoe_model takes, in units of 8 bytes.
#define FEAMOE_MODEL_WORDS ((4 * FEAMOE_FEATURES) + 40)

// What a feamoe_record takes, in units of 8 bytes.
#define FEAMOE_RECORD_WORDS (((17 * FEAMOE_FEATURES) / 8) + 12)

// The code of a level that training had not seen.
#define FEAMOE_UNSEEN 65535

// What became of a call.
typedef enum feamoe_status {
    // Done.
    FEAMOE_STATUS_OK = 0,
    // A pointer is null.
    FEAMOE_STATUS_NULL_POINTER = 1,
    // A pointer is not aligned for what it points to.
    FEAMOE_STATUS_MISALIGNED = 2,
    // The memory has another size than the library's: it was compiled with another feamoe.h.
    FEAMOE_STATUS_WRONG_SIZE = 3,
    // The memory holds no loaded model or no record of one; or it was moved.
    FEAMOE_STATUS_NOT_INITIALISED = 4,
    // The array is shorter than what it is to hold.
    FEAMOE_STATUS_TOO_SHORT = 5,
    // A name is not UTF-8.
    FEAMOE_STATUS_NOT_UTF8 = 6,
    // The file is shorter or longer than it says, or larger than the format allows.
    FEAMOE_STATUS_BLOB_WRONG_LENGTH = 10,
    // Not a feamoe model.
    FEAMOE_STATUS_BLOB_WRONG_MAGIC = 11,
    // Of a format version, or with sections, that this library does not know.
    FEAMOE_STATUS_BLOB_UNSUPPORTED = 12,
    // The checksum does not match.
    FEAMOE_STATUS_BLOB_DAMAGED = 13,
    // The blob is not at a multiple of 4 in memory.
    FEAMOE_STATUS_BLOB_MISALIGNED = 14,
    // The model has more features than FEAMOE_FEATURES.
    FEAMOE_STATUS_BLOB_TOO_MANY_FEATURES = 15,
    // The model has more experts than FEAMOE_EXPERTS.
    FEAMOE_STATUS_BLOB_TOO_MANY_EXPERTS = 16,
    // The checksum is right, but what it covers is no model that this library can use.
    FEAMOE_STATUS_BLOB_INVALID = 17,
    // The model has no such feature.
    FEAMOE_STATUS_UNKNOWN_FEATURE = 20,
    // The feature has no such level.
    FEAMOE_STATUS_UNKNOWN_LEVEL = 21,
    // The blob has no names.
    FEAMOE_STATUS_NAMES_STRIPPED = 22,
    // A number was given for a category.
    FEAMOE_STATUS_NOT_A_NUMBER = 23,
    // A level was given for a number.
    FEAMOE_STATUS_NOT_A_CATEGORY = 24,
    // The code is past the feature's levels.
    FEAMOE_STATUS_LEVEL_OUT_OF_RANGE = 25,
    // The record belongs to another model than the one that is loaded now.
    FEAMOE_STATUS_OTHER_MODEL = 26,
    // None of those above: the engine is newer than this interface.
    FEAMOE_STATUS_UNKNOWN = 99,
} feamoe_status;

// A loaded model, opaque, in memory of yours.
typedef struct feamoe_model {
    uint64_t opaque[FEAMOE_MODEL_WORDS];
} feamoe_model;

// What is in a model.
typedef struct feamoe_info {
    // The file's checksum, which names the model.
    uint32_t crc32;
    // A record is decided favourably when its probability is not below.
    float threshold;
    // Number of features.
    size_t features;
    // Number of experts.
    size_t experts;
    // Length of the file.
    size_t blob_bytes;
    // Whether the file has the names of features and levels.
    bool names;
} feamoe_info;

// The values of one record, opaque, in memory of yours.
typedef struct feamoe_record {
    uint64_t opaque[FEAMOE_RECORD_WORDS];
} feamoe_record;

// What a model says of one record.
typedef struct feamoe_score {
    // The score, in [0, 1].
    float probability;
    // Whether it reaches the threshold.
    bool decision;
    // Some value was missing.
    bool missing;
    // Some number was clamped to the training range.
    bool clamped;
    // Some level was not seen in training.
    bool unseen;
} feamoe_score;

// Why a record got its score: base_value + the sum of the features' values + residual = output.
typedef struct feamoe_attribution {
    // The score that is explained.
    struct feamoe_score score;
    // What the values start from: that of the mean record.
    float base_value;
    // What they lead to.
    float output;
    // What is left between them.
    float residual;
    // Share of the attribution that runs through the gate, in [0, 1]; NaN for frozen, which holds the gate still.
    float gate_share;
} feamoe_attribution;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns what a status means and what to do; a string that is always there.
const char *feamoe_message(int status);

// Loads a model file that lies at a multiple of 4 in memory, and checks all of it; copies no weights. model_bytes: sizeof(feamoe_model). After an error
// there is no model in the memory.
enum feamoe_status feamoe_model_load(struct feamoe_model *model,
                                     size_t model_bytes,
                                     const uint8_t *blob,
                                     size_t blob_bytes);

// Tells what is in a model.
enum feamoe_status feamoe_model_info(const struct feamoe_model *model, struct feamoe_info *info);

// Finds the index of a feature by its name; takes time in the number of features.
enum feamoe_status feamoe_model_feature_index(const struct feamoe_model *model, const char *name, size_t *index);

// Finds the code of a category's level by its name; takes time in the number of levels.
enum feamoe_status feamoe_model_level_code(const struct feamoe_model *model,
                                           size_t index,
                                           const char *level,
                                           uint16_t *code);

// Tells the name of a feature: length bytes of UTF-8 in the blob, not ended by a NUL. Print them by "%.*s".
enum feamoe_status feamoe_model_feature_name(const struct feamoe_model *model,
                                             size_t index,
                                             const char **name,
                                             size_t *length);

// Makes a record of a model, with every value missing; also to clear it. record_bytes: sizeof(feamoe_record).
enum feamoe_status feamoe_record_init(struct feamoe_record *record,
                                      size_t record_bytes,
                                      const struct feamoe_model *model);

// Sets a number; NaN makes it missing, one outside the training range is clamped to it.
enum feamoe_status feamoe_record_set_number(struct feamoe_record *record, size_t index, float number);

// Sets a category by its level's code; FEAMOE_UNSEEN for a level that training had not seen.
enum feamoe_status feamoe_record_set_level(struct feamoe_record *record, size_t index, uint16_t code);

// Sets a category by its level's name; a name that the model does not know is a level that training had not seen. Takes time in the number of levels.
enum feamoe_status feamoe_record_set_category(struct feamoe_record *record,
                                              size_t index,
                                              const char *level);

// Makes a value missing.
enum feamoe_status feamoe_record_set_missing(struct feamoe_record *record, size_t index);

// Scores a record. gate: NULL, or an array of gate_length, not less than the model's experts, for their weights, which sum to 1.
enum feamoe_status feamoe_record_score(const struct feamoe_record *record,
                                       struct feamoe_score *score,
                                       float *gate,
                                       size_t gate_length);

// Explains a record with the gate held still (FEAMOE, Theorem 1), in log-odds: not the Shapley values of the score. values: an array of values_length, not
// less than the model's features.
enum feamoe_status feamoe_record_frozen(const struct feamoe_record *record,
                                        struct feamoe_attribution *attribution,
                                        float *values,
                                        size_t values_length);

// Explains a record along the path from the mean record, gate included, in probability. values: an array of values_length, not less than the model's
// features.
enum feamoe_status feamoe_record_path(const struct feamoe_record *record,
                                      struct feamoe_attribution *attribution,
                                      float *values,
                                      size_t values_length);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FEAMOE_H */
