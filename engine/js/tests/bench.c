/* Times feamoe_record_score: prints nanoseconds of CPU for each score, and the sum of the bits of the
 * probabilities, which another engine must find too.
 *
 *     bench MODEL VALUES RECORDS ROUNDS
 *
 * VALUES: RECORDS times a feamoe_value for each feature of the model, as they lie in memory. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "feamoe.h"

static void *whole(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) exit(2);
    *bytes = (size_t)ftell(file);
    rewind(file);
    void *memory = malloc(*bytes);
    if (memory == NULL || fread(memory, 1, *bytes, file) != *bytes) exit(2);
    fclose(file);
    return memory;
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    size_t blob_bytes, values_bytes;
    const uint8_t *blob = whole(arguments[1], &blob_bytes);
    const feamoe_value *values = whole(arguments[2], &values_bytes);
    const size_t records = (size_t)atol(arguments[3]);
    const long rounds = atol(arguments[4]);
    const size_t features = values_bytes / sizeof(feamoe_value) / records;
    static feamoe_model model;
    if (feamoe_model_load(&model, sizeof model, blob, blob_bytes) != FEAMOE_STATUS_OK) return 2;
    feamoe_record *all = malloc(records * sizeof *all);
    if (all == NULL) return 2;
    for (size_t row = 0; row < records; row++) {
        if (feamoe_record_init(&all[row], sizeof *all, &model) != FEAMOE_STATUS_OK) return 2;
        if (feamoe_record_set_all(&all[row], values + row * features, features) != FEAMOE_STATUS_OK) return 2;
    }
    feamoe_score score;
    uint32_t sum = 0;
    const clock_t start = clock();
    for (long round = 0; round < rounds; round++) {
        for (size_t row = 0; row < records; row++) {
            if (feamoe_record_score(&all[row], &score, NULL, 0) != FEAMOE_STATUS_OK) return 2;
            uint32_t bits;
            memcpy(&bits, &score.probability, sizeof bits);
            sum += bits;
        }
    }
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("%.3f %u\n", seconds * 1e9 / (double)rounds / (double)records, (unsigned)sum);
    return 0;
}
