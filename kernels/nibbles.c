/* Scalar twin of products with keys of 4 bits: it defines the layout and the result.
 *
 * Sixteen keys lie together: byte (c, i, j) of [dim/8][16][4] holds channel 8c + j of key i in its low half
 * and channel 8c + 4 + j in its high half, so that a vector of words has four channels of every key; then
 * the 16 steps between levels and the 16 lowest values, as floats. Sums of integers are exact: versions
 * differ in the rounding of the last two products alone. */
#include "twins.h"

size_t k_nibbles_bytes(int dim) { return (size_t)((dim + 7) / 8) * 64 + 2 * K_GROUP * sizeof(float); }

void k_nibbles_put(const float *key, int dim, int i, void *group)
{
    float lo = key[0], hi = key[0];
    for (int d = 1; d < dim; d++) {
        lo = key[d] < lo ? key[d] : lo;
        hi = key[d] > hi ? key[d] : hi;
    }
    float step = (hi - lo) / 15.0f, inv = step > 0 ? 1.0f / step : 0;
    uint8_t *byte = group;
    float *tail = (float *)(void *)(byte + (size_t)((dim + 7) / 8) * 64);
    for (int d = 0; d < dim; d++) {
        uint8_t *b = byte + d / 8 * 64 + i * 4 + d % 4;
        unsigned level = (unsigned)((key[d] - lo) * inv + 0.5f);
        *b = (uint8_t)(d % 8 < 4 ? (*b & 0xf0u) | level : (*b & 0x0fu) | level << 4);
    }
    tail[i] = step;
    tail[K_GROUP + i] = lo;
}

void nibbles_c(const struct k_nibble_query *q, int heads, const void *groups, const int *at, int n, int dim,
               float *out, size_t stride)
{
    int chunks = (dim + 7) / 8;
    for (int g = 0; g < n; g++) {
        const uint8_t *byte = (const uint8_t *)groups + (size_t)at[g] * k_nibbles_bytes(dim);
        const float *tail = (const float *)(const void *)(byte + (size_t)chunks * 64);
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < K_GROUP; i++) {
                int sum = 0;
                for (int c = 0; c < chunks; c++)
                    for (int j = 0; j < 4; j++) {
                        int b = byte[c * 64 + i * 4 + j];
                        sum += q[h].q[8 * c + j] * (b & 15) + q[h].q[8 * c + 4 + j] * (b >> 4);
                    }
                out[(size_t)h * stride + (size_t)g * K_GROUP + (size_t)i] =
                    q[h].scale * tail[i] * (float)sum + q[h].shift * tail[K_GROUP + i];
            }
    }
}
