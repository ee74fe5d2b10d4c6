/* Scores of keys into scores of units: pages, blocks. */
#include "methods.h"

/* Sum x[n] over units of `size` in place; returns how many units. */
int units_sum(float *x, int n, int size)
{
    if (size == 1) return n;
    int m = (n + size - 1) / size;
    for (int u = 0; u < m; u++) {
        float sum = 0;
        for (int j = u * size; j < imin((u + 1) * size, n); j++) sum += x[j];
        x[u] = sum;
    }
    return m;
}

double range_sum(const float *x, int lo, int hi)
{
    double sum = 0;
    for (int j = lo; j < hi; j++) sum += (double)x[j];
    return sum;
}
