/* Products with keys of 4 bits by VNNI: a word of a vector is four channels of one of 16 keys, multiplied
 * with the same four of the query, so no sum crosses lanes. Groups of keys lie apart and are asked for
 * early. */
#include "attn512.h"
#include "levels.h"

enum { AHEAD = 12 /* groups */ };

INLINE void group_heads(const struct k_nibble_query *q, int H, const uint8_t *byte, int chunks, float *out,
                        size_t stride)
{
    const __m512i low = _mm512_set1_epi8(15);
    __m512i s[2][4];
    UNROLL for (int h = 0; h < H; h++) s[0][h] = s[1][h] = _mm512_setzero_si512();
    for (int c = 0; c < chunks; c++) {
        __m512i b = _mm512_loadu_si512(byte + c * 64), lo = _mm512_and_si512(b, low),
                hi = _mm512_and_si512(_mm512_srli_epi16(b, 4), low);
        UNROLL for (int h = 0; h < H; h++) {
            const int32_t *w = (const int32_t *)(const void *)(q[h].q + 8 * c);
            s[0][h] = _mm512_dpbusd_epi32(s[0][h], lo, _mm512_set1_epi32(w[0]));
            s[1][h] = _mm512_dpbusd_epi32(s[1][h], hi, _mm512_set1_epi32(w[1]));
        }
    }
    const float *tail = (const float *)(const void *)(byte + chunks * 64);
    __m512 step = _mm512_loadu_ps(tail), base = _mm512_loadu_ps(tail + K_GROUP);
    UNROLL for (int h = 0; h < H; h++) {
        __m512 x = _mm512_cvtepi32_ps(_mm512_add_epi32(s[0][h], s[1][h]));
        x = _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(q[h].scale), step), x);
        _mm512_storeu_ps(out + (size_t)h * stride, _mm512_fmadd_ps(_mm512_set1_ps(q[h].shift), base, x));
    }
}

void k_nibbles_vnni(const struct k_nibble_query *q, int heads, const void *groups, const int *at, int n,
                    int dim, float *out, size_t stride)
{
    int chunks = (dim + 7) / 8;
    size_t bytes = k_nibbles_bytes(dim);
    for (int g = 0; g < n; g++, out += K_GROUP) {
        const uint8_t *byte = (const uint8_t *)groups + (size_t)at[g] * bytes;
        if (g + AHEAD < n) {
            const char *next = (const char *)groups + (size_t)at[g + AHEAD] * bytes;
            for (size_t i = 0; i < bytes; i += 64) _mm_prefetch(next + i, _MM_HINT_T1);
        }
        int h = 0;
        for (; h + 4 <= heads; h += 4) group_heads(q + h, 4, byte, chunks, out + (size_t)h * stride, stride);
        for (; h < heads; h++) group_heads(q + h, 1, byte, chunks, out + (size_t)h * stride, stride);
    }
}
