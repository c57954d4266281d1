/*
 * Scores the same rows by the contender that is linked: a line per row with the bits of its score and the instructions it took, then the stack. The board's
 * counter and the emulator's -icount shift=10 make counts exact; see firmware-example/src/meter.rs.
 */
#include <stdio.h>
#include <string.h>

#include "contender.h"
#include "rows.h"

#define COUNTER (*(volatile uint32_t *)0x40028018u)
#define PRESCALER (*(volatile uint32_t *)0x4002801Cu)
#define PAINTED_WORDS 4096u
#define PAINT 0xA5A5A5A5u

typedef float (*scorer)(const struct row *);

static float nothing(const struct row *row)
{
    return row->numbers[0];
}

/* Called by pointers the compiler cannot see through, so that nothing moves across the readings. */
__attribute__((noinline))
static uint32_t count(scorer volatile *score, const struct row *row, float *result)
{
    scorer call = *score;
    uint32_t from = COUNTER;
    float found = call(row);
    uint32_t ticks = COUNTER - from;
    *result = found;
    return (uint32_t)(((uint64_t)ticks * 5 + 64) / 128);
}

__attribute__((noinline))
static unsigned stack_bytes(scorer volatile *score, const struct row *row)
{
    volatile uint32_t *top, *word;
    __asm__ volatile("mov %0, sp" : "=r"(top));
    for (word = top - PAINTED_WORDS; word < top; word++)
        *word = PAINT;
    (void)(*score)(row);
    for (word = top - PAINTED_WORDS; word < top && *word == PAINT; word++)
        ;
    return (unsigned)(top - word) * 4;
}

int main(void)
{
    scorer volatile empty = nothing, score = contender_score;
    unsigned stack = 0, i;
    float result;
    uint32_t bits, overhead;
    PRESCALER = 0;
    if (contender_start() != 0) {
        printf("the contender could not start\n");
        return 1;
    }
    /* What a call that returns at once takes, but for its own two instructions. */
    overhead = count(&empty, rows, &result) - 2;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t instructions = count(&score, &rows[i], &result) - overhead;
        unsigned bytes = stack_bytes(&score, &rows[i]);
        stack = bytes > stack ? bytes : stack;
        memcpy(&bits, &result, sizeof bits);
        printf("%08lx %lu\n", (unsigned long)bits, (unsigned long)instructions);
    }
    printf("stack %u\n", stack);
    return 0;
}
