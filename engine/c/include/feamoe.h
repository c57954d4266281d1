/*
 * The feamoe engine for C99 and C++: loads a model file, scores and explains records, finds
 * recourse, monitors its decisions, installs updates. Made by cbindgen from engine/c/src: do not
 * edit.
 *
 *     static feamoe_model model;
 *     static feamoe_record record;
 *     feamoe_score score;
 *     feamoe_model_load(&model, sizeof model, blob, blob_bytes);        // blob: at a multiple of 4
 *     feamoe_record_init(&record, sizeof record, &model);               // every value missing
 *     feamoe_record_set_number(&record, 0, 39.0f);
 *     feamoe_record_score(&record, &score, NULL, 0);
 *
 * The capacity of the library is chosen when it is built, by the environment variables
 * FEAMOE_FEATURES, FEAMOE_EXPERTS, FEAMOE_BACKGROUND, FEAMOE_GROUPS and FEAMOE_WORD. Compile the
 * program with the same values (-DFEAMOE_FEATURES=64): memory of another size is refused.
 *
 * All memory is the caller's. Nothing is allocated, no function has state of its own, none panics.
 * Every function that can fail returns a feamoe_status; its outputs are then unchanged, except for
 * memory that it works in and where it says otherwise. Null and misaligned pointers, memory of
 * another size than this header's and memory that was never loaded (or was moved since) are errors,
 * not undefined behaviour.
 *
 * The caller must ensure: pointers point to memory of their type; strings end with a NUL; the blob
 * stays unchanged and in place while its model is used, and the model while its records are; a
 * model is loaded anew only when its records are initialised anew. Many threads may use a loaded
 * model; a record is used by one at a time.
 */

#ifndef FEAMOE_H
#define FEAMOE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Most features of a model.
#ifndef FEAMOE_FEATURES
#define FEAMOE_FEATURES 32
#endif

// Most experts of a model; even.
#ifndef FEAMOE_EXPERTS
#define FEAMOE_EXPERTS 16
#endif

// Most records that exact values are computed against.
#ifndef FEAMOE_BACKGROUND
#define FEAMOE_BACKGROUND 4
#endif

// Groups of a monitor, the reference first.
#ifndef FEAMOE_GROUPS
#define FEAMOE_GROUPS 3
#endif

// Bytes that the flash writes at once: a power of two, 512 at most.
#ifndef FEAMOE_WORD
#define FEAMOE_WORD 8
#endif

// What a feamoe_workspace takes, in units of 8 bytes.
#define FEAMOE_WORKSPACE_WORDS ((((158 + (10 * FEAMOE_FEATURES)) + (66 * FEAMOE_EXPERTS)) + ((4 * FEAMOE_FEATURES) * FEAMOE_EXPERTS)) + ((2 * FEAMOE_FEATURES) * FEAMOE_BACKGROUND))

// What a feamoe_model takes, in units of 8 bytes.
#define FEAMOE_MODEL_WORDS ((4 * FEAMOE_FEATURES) + 40)

// What a feamoe_integer_model takes, in units of 8 bytes.
#define FEAMOE_INTEGER_MODEL_WORDS ((6 * FEAMOE_FEATURES) + 34)

// What a feamoe_monitor takes, in units of 8 bytes.
#define FEAMOE_MONITOR_WORDS (((288 * FEAMOE_GROUPS) + (2 * FEAMOE_FEATURES)) + 92)

// Bytes that the longest status of a monitor takes, with its sender and a MAC.
#define FEAMOE_STATUS_BYTES (((90 * FEAMOE_GROUPS) + (15 * FEAMOE_FEATURES)) + 680)

// Bytes that the longest stored state of a monitor takes.
#define FEAMOE_STATE_BYTES (((2175 * FEAMOE_GROUPS) + (15 * FEAMOE_FEATURES)) + 640)

// A group that is not known.
#define FEAMOE_NO_GROUP 4294967295

// Bytes of a device id.
#define FEAMOE_DEVICE_BYTES 16

// Bytes of the secret key of a device.
#define FEAMOE_KEY_BYTES 32

// What a feamoe_token takes.
#define FEAMOE_TOKEN_BYTES 12

// What a feamoe_record takes, in units of 8 bytes; a feamoe_integer_record too.
#define FEAMOE_RECORD_WORDS (((17 * FEAMOE_FEATURES) / 8) + 12)

// The code of a level that training had not seen.
#define FEAMOE_UNSEEN 65535

// What a feamoe_recourse takes, in units of 8 bytes.
#define FEAMOE_RECOURSE_WORDS ((37 * FEAMOE_FEATURES) + 4)

// What a feamoe_update takes, in units of 8 bytes.
#define FEAMOE_UPDATE_WORDS ((FEAMOE_WORD / 8) + 82)

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
    // A number stands for none of the choices there are.
    FEAMOE_STATUS_NO_SUCH_CHOICE = 7,
    // There are not as many values as the model has features.
    FEAMOE_STATUS_WRONG_COUNT = 8,
    // The caller's function ended the work.
    FEAMOE_STATUS_STOPPED = 9,
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
    // The weights are integers where floats are wanted, or the other way round.
    FEAMOE_STATUS_BLOB_OTHER_WEIGHTS = 18,
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
    // There is no background record.
    FEAMOE_STATUS_BACKGROUND_EMPTY = 30,
    // There are more background records than FEAMOE_BACKGROUND.
    FEAMOE_STATUS_BACKGROUND_FULL = 31,
    // More features differ from a background record than coalitions can be counted for.
    FEAMOE_STATUS_TOO_MANY_PLAYERS = 32,
    // A rule has an empty range, or a step, cost or margin out of range.
    FEAMOE_STATUS_RULE_INVALID = 33,
    // The monitor was not started.
    FEAMOE_STATUS_NOT_STARTED = 40,
    // The group is past FEAMOE_GROUPS.
    FEAMOE_STATUS_GROUP_OUT_OF_RANGE = 41,
    // The score is not in [0, 1].
    FEAMOE_STATUS_NOT_A_PROBABILITY = 42,
    // Only a declined record has a distance to a favourable decision.
    FEAMOE_STATUS_NOT_DECLINED = 43,
    // The distance is below 0 or past 65535.
    FEAMOE_STATUS_NOT_A_DISTANCE = 44,
    // The token is damaged.
    FEAMOE_STATUS_TOKEN_INVALID = 45,
    // The state is damaged, or of another monitor.
    FEAMOE_STATUS_STATE_INVALID = 46,
    // Neither slot holds a model that this library can use.
    FEAMOE_STATUS_NO_MODEL = 50,
    // The slot is too short for the model.
    FEAMOE_STATUS_SLOT_TOO_SHORT = 51,
    // The update has not received or written all its bytes.
    FEAMOE_STATUS_INCOMPLETE = 52,
    // The slot's header is damaged.
    FEAMOE_STATUS_SLOT_INVALID = 53,
    // The delta is damaged, or made for another model, or its model does not fit.
    FEAMOE_STATUS_DELTA_REFUSED = 54,
    // The slot holds no model: erased, or writing one was cut short.
    FEAMOE_STATUS_SLOT_EMPTY = 55,
    // The model was tried and not confirmed.
    FEAMOE_STATUS_NOT_CONFIRMED = 56,
    // The model is not signed.
    FEAMOE_STATUS_NOT_SIGNED = 60,
    // The model's signature section is not one that the format allows.
    FEAMOE_STATUS_SIGNATURE_INVALID = 61,
    // The model is signed for another line of models.
    FEAMOE_STATUS_OTHER_LINE = 62,
    // The model is signed by a key that is not trusted.
    FEAMOE_STATUS_OTHER_KEY = 63,
    // The model is signed for other features, names or levels.
    FEAMOE_STATUS_OTHER_SCHEMA = 64,
    // The model is an older version than is accepted.
    FEAMOE_STATUS_OLDER_VERSION = 65,
    // The signature is not one of this model by this key.
    FEAMOE_STATUS_WRONG_SIGNATURE = 66,
    // None of those above: the engine is newer than this interface.
    FEAMOE_STATUS_UNKNOWN = 99,
} feamoe_status;

// What is proposed for a feature: the kind of a feamoe_change.
typedef enum feamoe_change_kind {
    // Leave it as it is.
    FEAMOE_CHANGE_KIND_NONE = 0,
    // Change it to a number.
    FEAMOE_CHANGE_KIND_NUMBER = 1,
    // Change it to a level.
    FEAMOE_CHANGE_KIND_LEVEL = 2,
} feamoe_change_kind;

// What a feature is: the kind of a feamoe_feature.
typedef enum feamoe_feature_kind {
    // A number.
    FEAMOE_FEATURE_KIND_NUMBER = 1,
    // A category, of levels.
    FEAMOE_FEATURE_KIND_CATEGORY = 2,
} feamoe_feature_kind;

// What the driver of the flash has to do: the kind of a feamoe_step.
typedef enum feamoe_step_kind {
    // Nothing.
    FEAMOE_STEP_KIND_NONE = 0,
    // Erase from one offset to before another.
    FEAMOE_STEP_KIND_ERASE = 1,
    // Write bytes to where was erased.
    FEAMOE_STEP_KIND_WRITE = 2,
} feamoe_step_kind;

// What a value is: the kind of a feamoe_value.
typedef enum feamoe_value_kind {
    // None.
    FEAMOE_VALUE_KIND_MISSING = 0,
    // A number; NaN is missing.
    FEAMOE_VALUE_KIND_NUMBER = 1,
    // A level, by its code.
    FEAMOE_VALUE_KIND_LEVEL = 2,
} feamoe_value_kind;

// Which way a feature may go.
typedef enum feamoe_direction {
    // Any.
    FEAMOE_DIRECTION_ANY = 0,
    // A number may only grow; a category may change.
    FEAMOE_DIRECTION_INCREASE = 1,
    // A number may only fall; a category may change.
    FEAMOE_DIRECTION_DECREASE = 2,
    // None: the feature stays as it is.
    FEAMOE_DIRECTION_FIXED = 3,
} feamoe_direction;

// What exact values divide.
typedef enum feamoe_space {
    // The probability.
    FEAMOE_SPACE_PROBABILITY = 0,
    // Its log-odds.
    FEAMOE_SPACE_LOG_ODDS = 1,
} feamoe_space;

// A measure of fairness; gaps are those of a group minus the reference.
typedef enum feamoe_measure {
    // Statistical parity difference; needs no labels.
    FEAMOE_MEASURE_SPD = 0,
    // Average odds difference.
    FEAMOE_MEASURE_AOD = 1,
    // Equalised odds: the larger gap of the two error rates.
    FEAMOE_MEASURE_EODDS = 2,
    // Equal opportunity difference.
    FEAMOE_MEASURE_EOPP = 3,
    // Probability burden gap; needs no labels.
    FEAMOE_MEASURE_BURDEN = 4,
    // Recourse burden gap, of the distances given.
    FEAMOE_MEASURE_RECOURSE_BURDEN = 5,
    // Disparate impact, the ratio of the selection rates: 1 where they are equal; needs no labels.
    FEAMOE_MEASURE_IMPACT = 6,
} feamoe_measure;

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

// The values of one record of a model of integer weights, opaque, in memory of yours.
typedef struct feamoe_integer_record {
    uint64_t opaque[FEAMOE_RECORD_WORDS];
} feamoe_integer_record;

// What a model of integer weights says of one record.
typedef struct feamoe_integer_score {
    // The score, in units of 2^-32.
    uint32_t probability;
    // Whether it reaches the threshold.
    bool decision;
    // Some value was missing.
    bool missing;
    // Some number was clamped to the training range.
    bool clamped;
    // Some level was not seen in training.
    bool unseen;
} feamoe_integer_score;

// Why a record got its score: base_value + the sum of the features' values + residual = output.
typedef struct feamoe_attribution {
    // The score that is explained.
    struct feamoe_score score;
    // What the values start from: that of the mean record, or the mean of the background records'.
    float base_value;
    // What they lead to.
    float output;
    // What is left between them.
    float residual;
    // Share of the path's attribution that runs through the gate, in [0, 1]; NaN for frozen, which
    // holds the gate still.
    float gate_share;
} feamoe_attribution;

// Why a record of a model of integer weights got its score, with the gate held fixed: base_value +
// the sum of the features' values = output, in log-odds, in units of 2^-16.
typedef struct feamoe_integer_attribution {
    // The score that is explained.
    struct feamoe_integer_score score;
    // What the values start from: that of the mean record.
    int32_t base_value;
    // What they lead to.
    int32_t output;
} feamoe_integer_attribution;

// What exact values are computed in, opaque, in memory of yours; it need not be initialised.
typedef struct feamoe_workspace {
    uint64_t opaque[FEAMOE_WORKSPACE_WORDS];
} feamoe_workspace;

// Called now and then with the context given and what was done so far; where it returns false, the
// work ends.
typedef bool (*feamoe_keep_going)(void *context, uint64_t done);

// A loaded model, opaque, in memory of yours.
typedef struct feamoe_model {
    uint64_t opaque[FEAMOE_MODEL_WORDS];
} feamoe_model;

// A loaded model of integer weights, for a core without floats; opaque, in memory of yours.
// `feamoe export --quantize i16` (or `i8`) makes such a file.
typedef struct feamoe_integer_model {
    uint64_t opaque[FEAMOE_INTEGER_MODEL_WORDS];
} feamoe_integer_model;

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

// Watches a model's decisions on the groups of one protected attribute, opaque, in memory of
// yours.
typedef struct feamoe_monitor {
    uint64_t opaque[FEAMOE_MONITOR_WORDS];
} feamoe_monitor;

// What a label belongs to: a score that was observed. Hand it back once, when the outcome is
// known; it may be stored meanwhile.
typedef struct feamoe_token {
    uint8_t opaque[FEAMOE_TOKEN_BYTES];
} feamoe_token;

// What was counted of a group.
typedef struct feamoe_group {
    // Decisions.
    uint64_t rows;
    // Favourable ones.
    uint64_t favourable;
    // Those whose outcome is known.
    uint64_t labelled;
    // The mean score; NaN without records.
    float score_mean;
} feamoe_group;

// Who sends a status.
typedef struct feamoe_sender {
    // The device: bytes of any meaning, zeros after them.
    uint8_t device[FEAMOE_DEVICE_BYTES];
    // Of each status of the device a larger one, over resets too: keep it where it outlives them.
    uint64_t counter;
} feamoe_sender;

// A value of a feature.
typedef struct feamoe_value {
    // One of feamoe_value_kind.
    uint32_t kind;
    // The number, where it is one.
    float number;
    // The level's code, where it is one; FEAMOE_UNSEEN for a level that training had not seen.
    uint16_t level;
} feamoe_value;

// What may be done with one feature. Of a category only cost counts, and whether it is fixed.
typedef struct feamoe_rule {
    // One of feamoe_direction.
    uint32_t direction;
    // Lowest number that may be proposed; -INFINITY for that of the training range.
    float low;
    // Highest number that may be proposed; INFINITY for that of the training range.
    float high;
    // Numbers proposed are multiples of it; 0 for any number.
    float step;
    // By how much the feature's part of the distance is multiplied, 0.001 to 1000.
    float cost;
} feamoe_rule;

// What a recourse is searched in, opaque, in memory of yours; it need not be initialised.
typedef struct feamoe_recourse {
    uint64_t opaque[FEAMOE_RECOURSE_WORDS];
} feamoe_recourse;

// The nearest favourable record that was found.
typedef struct feamoe_answer {
    // Whether there is one.
    bool found;
    // Whether the search was stopped: the answer is the nearest one found until then.
    bool stopped;
    // How far it is, in standard deviations; 0 where the record is favourable as it is.
    float distance;
    // The score after the changes; without an answer, the record's own.
    float probability;
    // Evaluations of the mixture that it took.
    uint32_t evaluations;
} feamoe_answer;

// What is proposed for a feature.
typedef struct feamoe_change {
    // What it is.
    enum feamoe_change_kind kind;
    // The number, where it is one.
    float number;
    // The level's code, where it is one.
    uint16_t level;
} feamoe_change;

// What a feature is.
typedef struct feamoe_feature {
    // A number or a category.
    enum feamoe_feature_kind kind;
    // The lowest number of the training rows; 0 for a category.
    float low;
    // The highest number of the training rows; 0 for a category.
    float high;
    // The number of levels of a category; 0 for a number.
    uint32_t levels;
} feamoe_feature;

// Finds out whether a model that loads is trusted, and no version below least_version: called with
// the context given, for each model before it is used. Returns 0 and the model's version, or the
// feamoe_status of why it is not, which is reported: any other number as FEAMOE_STATUS_UNKNOWN.
// feamoe_verify_signed and feamoe_verify_anyone are two; NULL is none.
typedef int (*feamoe_verify)(const void *context,
                             const uint8_t *blob,
                             size_t blob_bytes,
                             uint32_t least_version,
                             uint32_t *model_version);

// What the driver of the flash has to do next. Offsets are in bytes from the start of the slot,
// and whole words. A step must be finished before the next one is asked for or taken.
typedef struct feamoe_step {
    // What it is.
    enum feamoe_step_kind kind;
    // The first byte.
    uint32_t from;
    // One past the last byte.
    uint32_t to;
    // The bytes to write, to - from of them; NULL where there is nothing to write.
    const uint8_t *bytes;
} feamoe_step;

// Where a model goes.
typedef struct feamoe_target {
    // The slot, 0 or 1.
    size_t slot;
    // What makes it the newest.
    uint32_t sequence;
    // Lowest version of its line that it may be.
    uint32_t least_version;
    // Where the slot is marked as failed before it is erased; 0 where it need not be.
    uint32_t failed_at;
} feamoe_target;

// The model to use, and what goes with it. Choose once after each reset: a second look would find
// a model on trial tried already, and go back to the one before.
typedef struct feamoe_chosen {
    // The slot that the model lies in, 0 or 1.
    size_t slot;
    // Whether it is on trial: take the steps `confirm` to keep it. Without that, the next start
    // goes back to the model before.
    bool on_trial;
    // Whether an update may go to `target` once the steps `begin` are taken; where not, once the
    // steps `confirm` are.
    bool can_update;
    // Which version of its line the model is, as the function that verified it reports; 0 by
    // feamoe_verify_anyone. A counter of the hardware that only counts up is advanced to it: once
    // the steps `confirm` are taken where the model is on trial, else once the steps `begin` are.
    uint32_t model_version;
    // For each slot why its model is not used: a feamoe_status, 0 for the one in use and for an
    // older one.
    int passed_over[2];
    // To take in that slot, in their order, before the model is used. Words of them may be there
    // already, for a cut can leave a mark torn: a driver of flash that takes no second write of a
    // word leaves out those that hold the same bytes.
    struct feamoe_step begin[2];
    // To take in that slot, in their order, to keep a model on trial.
    struct feamoe_step confirm[2];
    // Where the next model goes.
    struct feamoe_target target;
} feamoe_chosen;

// An update on its way into a slot, opaque, in memory of yours.
typedef struct feamoe_update {
    uint64_t opaque[FEAMOE_UPDATE_WORDS];
} feamoe_update;

// Who may sign the models of a device, and what for: the context of feamoe_verify_signed.
typedef struct feamoe_signers {
    // The public keys that are trusted, of 32 bytes each, one after another: more than one while a
    // key is replaced by its successor. They are the last 32 bytes of a public key in DER.
    const uint8_t *keys;
    // How many.
    size_t key_count;
    // The line of models, as it was given to `feamoe sign`.
    const char *line;
    // SHA-256 of the schema that the program was written for, 32 bytes, which `feamoe inspect`
    // shows; NULL for any.
    const uint8_t *schema_sha256;
    // Lowest version that is accepted: what the program was built with, or what a counter of the
    // hardware holds, whichever is higher.
    uint32_t least_version;
} feamoe_signers;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns what a status means and what to do; a string that is always there.
const char *feamoe_message(int status);

// Returns the library's version, such as "0.1.0"; a string that is always there.
const char *feamoe_version(void);

// Scores a record. gate: NULL, or an array of gate_length, not less than the model's experts, for
// their weights, which sum to 1.
enum feamoe_status feamoe_record_score(const struct feamoe_record *record,
                                       struct feamoe_score *score,
                                       float *gate,
                                       size_t gate_length);

// Writes the calibrated probability of a record: what its chances are, where the model was made
// fair and its score decides only. That score where the model has no other.
enum feamoe_status feamoe_record_calibrated(const struct feamoe_record *record, float *probability);

// As feamoe_record_score, by integers alone; the weights of the gate in units of 2^-16, which sum
// to 65536.
enum feamoe_status feamoe_integer_record_score(const struct feamoe_integer_record *record,
                                               struct feamoe_integer_score *score,
                                               uint32_t *gate,
                                               size_t gate_length);

// Explains a record with the gate held fixed (FEAMOE, Theorem 1), in log-odds: not the Shapley
// values of the score. values: an array of values_length, not less than the model's features.
enum feamoe_status feamoe_record_frozen(const struct feamoe_record *record,
                                        struct feamoe_attribution *attribution,
                                        float *values,
                                        size_t values_length);

// As feamoe_record_frozen, by integers alone: in log-odds, in units of 2^-16.
enum feamoe_status feamoe_integer_record_frozen(const struct feamoe_integer_record *record,
                                                struct feamoe_integer_attribution *attribution,
                                                int32_t *values,
                                                size_t values_length);

// Explains a record along the path from the mean record, gate included, in probability. values: an
// array of values_length, not less than the model's features.
enum feamoe_status feamoe_record_path(const struct feamoe_record *record,
                                      struct feamoe_attribution *attribution,
                                      float *values,
                                      size_t values_length);

// Explains a record by the exact Shapley values against background records, in the space given,
// one of feamoe_space: 2^d evaluations for each, where d features differ from it. background: an
// array of background_length records of the same model, FEAMOE_BACKGROUND at most. keep_going:
// NULL, or called after each background record with the coalitions so far. workspace_bytes:
// sizeof(feamoe_workspace). values: an array of values_length, not less than the model's features.
enum feamoe_status feamoe_record_exact(const struct feamoe_record *record,
                                       const struct feamoe_record *const *background,
                                       size_t background_length,
                                       uint32_t space,
                                       struct feamoe_workspace *workspace,
                                       size_t workspace_bytes,
                                       feamoe_keep_going keep_going,
                                       void *context,
                                       struct feamoe_attribution *attribution,
                                       float *values,
                                       size_t values_length);

// Loads a model file that lies at a multiple of 4 in memory, and checks all of it; copies no
// weights. model_bytes: sizeof(feamoe_model). After an error there is no model in the memory.
enum feamoe_status feamoe_model_load(struct feamoe_model *model,
                                     size_t model_bytes,
                                     const uint8_t *blob,
                                     size_t blob_bytes);

// As feamoe_model_load, for integer weights; those of 8 bits may lie anywhere. model_bytes:
// sizeof(feamoe_integer_model).
enum feamoe_status feamoe_integer_model_load(struct feamoe_integer_model *model,
                                             size_t model_bytes,
                                             const uint8_t *blob,
                                             size_t blob_bytes);

// Describes a model.
enum feamoe_status feamoe_model_info(const struct feamoe_model *model, struct feamoe_info *info);

// As feamoe_model_info.
enum feamoe_status feamoe_integer_model_info(const struct feamoe_integer_model *model, struct feamoe_info *info);

// Finds the index of a feature by its name; takes time in the number of features.
enum feamoe_status feamoe_model_feature_index(const struct feamoe_model *model, const char *name, size_t *index);

// As feamoe_model_feature_index.
enum feamoe_status feamoe_integer_model_feature_index(const struct feamoe_integer_model *model,
                                                      const char *name,
                                                      size_t *index);

// Finds the code of a category's level by its name; takes time in the number of levels.
enum feamoe_status feamoe_model_level_code(const struct feamoe_model *model,
                                           size_t index,
                                           const char *level,
                                           uint16_t *code);

// As feamoe_model_level_code.
enum feamoe_status feamoe_integer_model_level_code(const struct feamoe_integer_model *model,
                                                   size_t index,
                                                   const char *level,
                                                   uint16_t *code);

// Returns the name of a feature: length bytes of UTF-8 in the blob, not ended by a NUL. Print them
// by "%.*s".
enum feamoe_status feamoe_model_feature_name(const struct feamoe_model *model,
                                             size_t index,
                                             const char **name,
                                             size_t *length);

// As feamoe_model_feature_name.
enum feamoe_status feamoe_integer_model_feature_name(const struct feamoe_integer_model *model,
                                                     size_t index,
                                                     const char **name,
                                                     size_t *length);

// Starts to watch a model; forgets all of another. since: when that is, in seconds since 1970
// where the device knows, else 0. monitor_bytes: sizeof(feamoe_monitor).
enum feamoe_status feamoe_monitor_start(struct feamoe_monitor *monitor,
                                        size_t monitor_bytes,
                                        const struct feamoe_model *model,
                                        uint64_t since);

// As feamoe_monitor_start.
enum feamoe_status feamoe_integer_monitor_start(struct feamoe_monitor *monitor,
                                                size_t monitor_bytes,
                                                const struct feamoe_integer_model *model,
                                                uint64_t since);

// Starts a new period: counts and events restart, the drift detectors continue.
enum feamoe_status feamoe_monitor_reset(struct feamoe_monitor *monitor, uint64_t since);

// Counts a score of a record: its probability, its group, 0 the reference, or FEAMOE_NO_GROUP.
// token: NULL, or where the token for the label goes.
enum feamoe_status feamoe_monitor_observe(struct feamoe_monitor *monitor,
                                          const struct feamoe_record *record,
                                          float probability,
                                          uint32_t group,
                                          struct feamoe_token *token);

// As feamoe_monitor_observe; probability in units of 2^-32, as feamoe_integer_score reports it.
enum feamoe_status feamoe_integer_monitor_observe(struct feamoe_monitor *monitor,
                                                  const struct feamoe_integer_record *record,
                                                  uint32_t probability,
                                                  uint32_t group,
                                                  struct feamoe_token *token);

// Counts the outcome of a score that was observed, in any order.
enum feamoe_status feamoe_monitor_label(struct feamoe_monitor *monitor,
                                        const struct feamoe_token *token,
                                        bool favourable);

// Counts how far a declined record is from a favourable decision, in standard deviations; NaN
// where no recourse was found.
enum feamoe_status feamoe_monitor_distance(struct feamoe_monitor *monitor,
                                           const struct feamoe_token *token,
                                           float distance);

// Returns the counts of a group.
enum feamoe_status feamoe_monitor_group(struct feamoe_monitor *monitor, uint32_t group, struct feamoe_group *counts);

// Returns the gap of a group to the reference by a measure, one of feamoe_measure; NaN where a
// rate has no records.
enum feamoe_status feamoe_monitor_gap(struct feamoe_monitor *monitor, uint32_t group, uint32_t measure, float *gap);

// Writes the status, which `feamoe monitor` reads, to an array of length bytes,
// FEAMOE_STATUS_BYTES at best; written: how many it takes.
enum feamoe_status feamoe_monitor_status(struct feamoe_monitor *monitor,
                                         uint8_t *buffer,
                                         size_t length,
                                         size_t *written);

// As feamoe_monitor_status, with the sender. Nothing shows that the sender is who it says.
enum feamoe_status feamoe_monitor_status_from(struct feamoe_monitor *monitor,
                                              const struct feamoe_sender *sender,
                                              uint8_t *buffer,
                                              size_t length,
                                              size_t *written);

// As feamoe_monitor_status_from, with a MAC by the secret key of the device, FEAMOE_KEY_BYTES
// bytes: nobody without the key can write or change it. The file that `feamoe sign --device-key`
// writes has them as two hexadecimal digits each and a line end, which the factory decodes.
enum feamoe_status feamoe_monitor_status_authenticated(struct feamoe_monitor *monitor,
                                                       const struct feamoe_sender *sender,
                                                       const uint8_t *key,
                                                       uint8_t *buffer,
                                                       size_t length,
                                                       size_t *written);

// Writes the whole state, for a reset or deep sleep, to an array of length bytes,
// FEAMOE_STATE_BYTES at best; written: how many it takes.
enum feamoe_status feamoe_monitor_store(struct feamoe_monitor *monitor,
                                        uint8_t *buffer,
                                        size_t length,
                                        size_t *written);

// Restores a state that feamoe_monitor_store wrote, to a monitor that was started with the same
// model.
enum feamoe_status feamoe_monitor_restore(struct feamoe_monitor *monitor,
                                          const struct feamoe_model *model,
                                          const uint8_t *state,
                                          size_t length);

// As feamoe_monitor_restore.
enum feamoe_status feamoe_integer_monitor_restore(struct feamoe_monitor *monitor,
                                                  const struct feamoe_integer_model *model,
                                                  const uint8_t *state,
                                                  size_t length);

// Makes a record of a model, with every value missing; also to clear it. record_bytes:
// sizeof(feamoe_record).
enum feamoe_status feamoe_record_init(struct feamoe_record *record,
                                      size_t record_bytes,
                                      const struct feamoe_model *model);

// As feamoe_record_init. record_bytes: sizeof(feamoe_integer_record).
enum feamoe_status feamoe_integer_record_init(struct feamoe_integer_record *record,
                                              size_t record_bytes,
                                              const struct feamoe_integer_model *model);

// Sets a number; NaN makes it missing, one outside the training range is clamped to it.
enum feamoe_status feamoe_record_set_number(struct feamoe_record *record, size_t index, float number);

// As feamoe_record_set_number, from the bits of the f32 by integers alone.
enum feamoe_status feamoe_integer_record_set_number(struct feamoe_integer_record *record, size_t index, float number);

// Sets a number to raw / 2^fraction_bits, such as the reading of a converter; no float is
// involved.
enum feamoe_status feamoe_integer_record_set_fixed(struct feamoe_integer_record *record,
                                                   size_t index,
                                                   int32_t raw,
                                                   int8_t fraction_bits);

// Sets a category by its level's code; FEAMOE_UNSEEN for a level that training had not seen.
enum feamoe_status feamoe_record_set_level(struct feamoe_record *record, size_t index, uint16_t code);

// As feamoe_record_set_level.
enum feamoe_status feamoe_integer_record_set_level(struct feamoe_integer_record *record, size_t index, uint16_t code);

// Sets a category by its level's name; a name that the model does not know is a level that
// training had not seen. Takes time in the number of levels. Where an unknown name would be a
// mistake, ask feamoe_model_level_code.
enum feamoe_status feamoe_record_set_category(struct feamoe_record *record, size_t index, const char *level);

// As feamoe_record_set_category.
enum feamoe_status feamoe_integer_record_set_category(struct feamoe_integer_record *record,
                                                      size_t index,
                                                      const char *level);

// Makes a value missing.
enum feamoe_status feamoe_record_set_missing(struct feamoe_record *record, size_t index);

// As feamoe_record_set_missing.
enum feamoe_status feamoe_integer_record_set_missing(struct feamoe_integer_record *record, size_t index);

// Sets every value at once, in the order of the features; count: the model's features. After an
// error every value is missing.
enum feamoe_status feamoe_record_set_all(struct feamoe_record *record, const struct feamoe_value *values, size_t count);

// As feamoe_record_set_all.
enum feamoe_status feamoe_integer_record_set_all(struct feamoe_integer_record *record,
                                                 const struct feamoe_value *values,
                                                 size_t count);

// Finds the nearest favourable record that the rules allow. rules: NULL where every feature is
// free, or an array of rules_length, one for each feature of the model. recourse_bytes:
// sizeof(feamoe_recourse). keep_going: NULL, or called after each evaluation with their number.
// changes: an array of changes_length, not less than the model's features.
enum feamoe_status feamoe_record_recourse(const struct feamoe_record *record,
                                          const struct feamoe_rule *rules,
                                          size_t rules_length,
                                          struct feamoe_recourse *recourse,
                                          size_t recourse_bytes,
                                          feamoe_keep_going keep_going,
                                          void *context,
                                          struct feamoe_answer *answer,
                                          struct feamoe_change *changes,
                                          size_t changes_length);

// As feamoe_record_recourse, for people, as `feamoe recourse` looks for it: changes that hardly
// shorten the way are left out, and the new score passes the threshold by the margin, from 0 and
// below 1.
enum feamoe_status feamoe_record_recourse_few(const struct feamoe_record *record,
                                              const struct feamoe_rule *rules,
                                              size_t rules_length,
                                              float margin,
                                              struct feamoe_recourse *recourse,
                                              size_t recourse_bytes,
                                              feamoe_keep_going keep_going,
                                              void *context,
                                              struct feamoe_answer *answer,
                                              struct feamoe_change *changes,
                                              size_t changes_length);

// Describes a feature.
enum feamoe_status feamoe_model_feature(const struct feamoe_model *model, size_t index, struct feamoe_feature *feature);

// As feamoe_model_feature.
enum feamoe_status feamoe_integer_model_feature(const struct feamoe_integer_model *model,
                                                size_t index,
                                                struct feamoe_feature *feature);

// Returns the name of a level of a category by its code, as feamoe_model_feature_name does; takes
// time in the number of levels.
enum feamoe_status feamoe_model_level_name(const struct feamoe_model *model,
                                           size_t index,
                                           uint16_t code,
                                           const char **name,
                                           size_t *length);

// As feamoe_model_level_name.
enum feamoe_status feamoe_integer_model_level_name(const struct feamoe_integer_model *model,
                                                   size_t index,
                                                   uint16_t code,
                                                   const char **name,
                                                   size_t *length);

// Returns the name of the favourable outcome, as feamoe_model_feature_name does.
enum feamoe_status feamoe_model_outcome_name(const struct feamoe_model *model, const char **name, size_t *length);

// As feamoe_model_outcome_name.
enum feamoe_status feamoe_integer_model_outcome_name(const struct feamoe_integer_model *model,
                                                     const char **name,
                                                     size_t *length);

// Returns the number of background records that a model carries.
enum feamoe_status feamoe_model_background_rows(const struct feamoe_model *model, size_t *rows);

// Sets every value of a record to those of a background record that its model carries, counted
// from 0. The order of these records was drawn, so that any number of the first ones is a sample.
// FEAMOE_STATUS_BACKGROUND_EMPTY past the last one.
enum feamoe_status feamoe_record_set_background(struct feamoe_record *record, size_t row);

// Takes any model that loads, of any version: for a device whose flash nobody else writes to; a
// feamoe_verify. context is not read.
int feamoe_verify_anyone(const void *context,
                         const uint8_t *blob,
                         size_t blob_bytes,
                         uint32_t least_version,
                         uint32_t *model_version);

// Verifies a signed model by the Ed25519 keys of a feamoe_signers, which context points to; a
// feamoe_verify. What it takes, see engine/costs.md, is linked only where it is named, by a linker
// that leaves out what is not used (--gc-sections).
int feamoe_verify_signed(const void *context,
                         const uint8_t *blob,
                         size_t blob_bytes,
                         uint32_t least_version,
                         uint32_t *model_version);

// Loads the newest model of two slots, each given with all its bytes, as they lie in flash, at
// multiples of 4, that loads and that verify takes, which is called with verify_context.
// model_bytes: sizeof(feamoe_model). FEAMOE_STATUS_NO_MODEL where neither slot holds one: then
// chosen->passed_over says why, chosen->target where to write one.
enum feamoe_status feamoe_slots_choose(const uint8_t *first,
                                       size_t first_bytes,
                                       const uint8_t *second,
                                       size_t second_bytes,
                                       feamoe_verify verify,
                                       const void *verify_context,
                                       struct feamoe_model *model,
                                       size_t model_bytes,
                                       struct feamoe_chosen *chosen);

// As feamoe_slots_choose, for integer weights. model_bytes: sizeof(feamoe_integer_model).
enum feamoe_status feamoe_integer_slots_choose(const uint8_t *first,
                                               size_t first_bytes,
                                               const uint8_t *second,
                                               size_t second_bytes,
                                               feamoe_verify verify,
                                               const void *verify_context,
                                               struct feamoe_integer_model *model,
                                               size_t model_bytes,
                                               struct feamoe_chosen *chosen);

// Starts an update by a model of blob_bytes into a slot of slot_bytes, a whole number of the
// flash's erase units; erased: the byte that it erases to. update_bytes: sizeof(feamoe_update).
// steps: an array of two, to take in their order: to mark what failed in the slot, where that is
// needed, and to erase it. An update that is refused has cost the model of that slot, never the
// one in use: where strangers can send updates, find out first who sends.
enum feamoe_status feamoe_update_begin(struct feamoe_update *update,
                                       size_t update_bytes,
                                       struct feamoe_target target,
                                       uint32_t slot_bytes,
                                       uint8_t erased,
                                       uint32_t blob_bytes,
                                       struct feamoe_step *steps);

// Takes bytes off the front of a piece of the model, *length bytes at *piece, and reports the step
// that writes them, once they make whole words. Take each step before the next call; call until
// the step is FEAMOE_STEP_KIND_NONE: then the next piece can come.
enum feamoe_status feamoe_update_next(struct feamoe_update *update,
                                      const uint8_t **piece,
                                      size_t *length,
                                      struct feamoe_step *step);

// Returns the step that writes the end of the model, padded to a word; FEAMOE_STEP_KIND_NONE where
// it is written already.
enum feamoe_status feamoe_update_end(struct feamoe_update *update, struct feamoe_step *step);

// Loads the model from the slot, given with all its bytes as they lie in flash, has it verified as
// feamoe_slots_choose does, and reports the last two steps, to take in their order: to write the
// header, and the mark that seals it. After both the slot holds a model on trial, which the next
// start chooses. An error is why the model is refused. steps: an array of two.
enum feamoe_status feamoe_update_check(struct feamoe_update *update,
                                       const uint8_t *slot,
                                       size_t slot_bytes,
                                       feamoe_verify verify,
                                       const void *verify_context,
                                       struct feamoe_step *steps);

// As feamoe_update_check, for integer weights.
enum feamoe_status feamoe_integer_update_check(struct feamoe_update *update,
                                               const uint8_t *slot,
                                               size_t slot_bytes,
                                               feamoe_verify verify,
                                               const void *verify_context,
                                               struct feamoe_step *steps);

// Builds a model from an older one and what `feamoe export --delta` wrote, in an array of
// out_bytes; written: how many bytes it takes.
enum feamoe_status feamoe_delta_apply(const uint8_t *old,
                                      size_t old_bytes,
                                      const uint8_t *delta,
                                      size_t delta_bytes,
                                      uint8_t *out,
                                      size_t out_bytes,
                                      size_t *written);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FEAMOE_H */
