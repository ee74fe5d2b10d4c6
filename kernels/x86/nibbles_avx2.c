/* Products with keys of 4 bits, AVX2: bytes times bytes in pairs (at most 2 * 15 * 127), eight of which fit
 * 16 bits; then words. */
#include "avx2.h"
#include "levels.h"

enum { AHEAD = 12 /* groups */ };

INLINE __m256 group_half(const struct k_nibble_query *q, const uint8_t *byte, int chunks, const float *tail)
{
    const __m256i low = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    for (int c = 0; c < chunks;) {
        __m256i part = _mm256_setzero_si256();
        for (int end = c + 4 < chunks ? c + 4 : chunks; c < end; c++) {
            const int32_t *w = (const int32_t *)(const void *)(q->q + 8 * c);
            __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(byte + c * 64));
            __m256i lo = _mm256_and_si256(b, low), hi = _mm256_and_si256(_mm256_srli_epi16(b, 4), low);
            part = _mm256_add_epi16(part, _mm256_maddubs_epi16(lo, _mm256_set1_epi32(w[0])));
            part = _mm256_add_epi16(part, _mm256_maddubs_epi16(hi, _mm256_set1_epi32(w[1])));
        }
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(part, one));
    }
    __m256 x = _mm256_mul_ps(_mm256_set1_ps(q->scale), _mm256_loadu_ps(tail));
    x = _mm256_mul_ps(x, _mm256_cvtepi32_ps(sum));
    return _mm256_fmadd_ps(_mm256_set1_ps(q->shift), _mm256_loadu_ps(tail + K_GROUP), x);
}

void k_nibbles_avx2(const struct k_nibble_query *q, int heads, const void *groups, const int *at, int n,
                    int dim, float *out, size_t stride)
{
    int chunks = (dim + 7) / 8;
    size_t bytes = k_nibbles_bytes(dim);
    for (int g = 0; g < n; g++, out += K_GROUP) {
        const uint8_t *byte = (const uint8_t *)groups + (size_t)at[g] * bytes;
        const float *tail = (const float *)(const void *)(byte + chunks * 64);
        if (g + AHEAD < n) {
            const char *next = (const char *)groups + (size_t)at[g + AHEAD] * bytes;
            for (size_t i = 0; i < bytes; i += 64) _mm_prefetch(next + i, _MM_HINT_T1);
        }
        for (int h = 0; h < heads; h++)
            for (int half = 0; half < 2; half++)
                _mm256_storeu_ps(out + (size_t)h * stride + 8 * half,
                                 group_half(&q[h], byte + 32 * half, chunks, tail + 8 * half));
    }
}
