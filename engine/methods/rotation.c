/* Position rotations, for methods that look at queries before they were rotated. */
#include "methods.h"

/* x = the rotation by (c, s) of each pair, in place; stride between elements of x. */
void rotate_pairs(const struct sac_prefill_in *in, float *x, size_t stride, const float *c, const float *s)
{
    int half = in->rope_dim / 2;
    for (int i = 0; i < half; i++) {
        float *a = x + (size_t)(in->rope_adjacent ? 2 * i : i) * stride;
        float *b = x + (size_t)(in->rope_adjacent ? 2 * i + 1 : i + half) * stride, a0 = *a, b0 = *b;
        *a = a0 * c[i] - b0 * s[i];
        *b = a0 * s[i] + b0 * c[i];
    }
}
