/* What every contender is: a score from the raw values of one record of Adult, by whatever encoding it needs. */
#ifndef CONTENDER_H
#define CONTENDER_H

#include <stdint.h>

#define NUMBERS 5
#define CATEGORIES 8
/* A category without a value. */
#define MISSING 0xffffu

struct row {
    float numbers[NUMBERS];
    uint16_t codes[CATEGORIES];
};

/* Prepares what is prepared once, before anything is counted; 0 where it went well. */
int contender_start(void);
/* The score, the probability of an income above 50,000. */
float contender_score(const struct row *row);

#endif
