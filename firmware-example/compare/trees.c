/* m2cgen's LightGBM: boosted trees as code, on the numbers and the categories' codes. TREES_FLOAT: its doubles replaced by floats. */
#include "contender.h"
#include "trees.h"

#ifdef TREES_FLOAT
typedef float real;
#else
typedef double real;
#endif

int contender_start(void)
{
    return 0;
}

float contender_score(const struct row *row)
{
    real input[NUMBERS + CATEGORIES], output[2];
    unsigned i;
    for (i = 0; i < NUMBERS; i++)
        input[i] = row->numbers[i];
    for (i = 0; i < CATEGORIES; i++)
        input[NUMBERS + i] = row->codes[i] == MISSING ? -1 : row->codes[i];
    score(input, output);
    return (float)output[1];
}
