/* emlearn's perceptron, from encoded columns. */
#include "encoding.h"
#include "perceptron.h"

int contender_start(void)
{
    return 0;
}

float contender_score(const struct row *row)
{
    float columns[COLUMNS], p[2];
    encode(row, columns);
    return eml_net_predict_proba(&perceptron, columns, COLUMNS, p, 2) == EmlOk ? p[1] : -1.0f;
}
