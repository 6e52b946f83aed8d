#include "pipeline/outputs.h"

double ldnq_square_difference(const struct ldnq_tensor *y, const struct ldnq_tensor *t)
{
    const float *a = y->data, *b = t ? t->data : NULL;
    double sum = 0;
    for (size_t i = 0, n = ldnq_tensor_count(y); i < n; i++) {
        const double d = (double)a[i] - (b ? (double)b[i] : 0);
        sum += d * d;
    }
    return sum;
}
