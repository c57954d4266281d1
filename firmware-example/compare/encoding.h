/* Standardised numbers and one-hot categories: what a model of dense columns needs. Sizes and tables are generated. */
#ifndef ENCODING_H
#define ENCODING_H

#include <math.h>
#include <string.h>

#include "contender.h"
#include "encoding_tables.h"

static void encode(const struct row *row, float columns[COLUMNS])
{
    unsigned i;
    memset(columns, 0, COLUMNS * sizeof *columns);
    for (i = 0; i < NUMBERS; i++) {
        float x = row->numbers[i];
        x = x > lows[i] ? x : lows[i];
        x = x < highs[i] ? x : highs[i];
        columns[i] = ((is_log1p[i] ? log1pf(x) : x) - centres[i]) * scales[i];
    }
    for (i = 0; i < CATEGORIES; i++) {
        unsigned code = row->codes[i] == MISSING ? levels[i] : row->codes[i];
        columns[first_columns[i] + code] = 1.0f;
    }
}

#endif
