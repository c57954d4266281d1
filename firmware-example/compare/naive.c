/* The mixture as one would write it from the paper: the gate's softmax and the experts' sigmoids over dense products with the encoded record. */
#include "encoding.h"
#include "naive_weights.h"

int contender_start(void)
{
    return 0;
}

static float product(const float *weights, const float *columns)
{
    float sum = 0.0f;
    unsigned i;
    for (i = 0; i < COLUMNS; i++)
        sum += weights[i] * columns[i];
    return sum;
}

float contender_score(const struct row *row)
{
    float columns[COLUMNS], gate[EXPERTS], largest, sum = 0.0f, p = 0.0f;
    unsigned k;
    encode(row, columns);
    for (k = 0; k < EXPERTS; k++)
        gate[k] = bias[k] + product(weights[k], columns);
    largest = gate[0];
    for (k = 1; k < EXPERTS; k++)
        largest = gate[k] > largest ? gate[k] : largest;
    for (k = 0; k < EXPERTS; k++) {
        float z = bias[EXPERTS + k] + product(weights[EXPERTS + k], columns);
        gate[k] = expf(gate[k] - largest);
        sum += gate[k];
        p += gate[k] / (1.0f + expf(-z));
    }
    return p / sum;
}
