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
    double sum[4] = { 0, 0, 0, 0 }; /* four chains of additions instead of one */
    int j = lo;
    for (; j + 4 <= hi; j += 4)
        for (int k = 0; k < 4; k++) sum[k] += (double)x[j + k];
    for (; j < hi; j++) sum[0] += (double)x[j];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}
