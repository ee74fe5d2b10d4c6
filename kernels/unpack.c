/* Quantised rows as integers, scales and minima, for any CPU. The loops are in unpack.h. */
#include "unpack.h"

int unpack_c(enum k_type type, const void *row, int n, int8_t *q, float *d, float *m, bool *has_m)
{
    return unpack_row(type, row, n, q, d, m, has_m);
}
