/* Sums over rows of the exponentials that attention left: as f16 times K_KEPT, or as bf16, the very numbers
 * that were multiplied with values. Of a pair of bf16 the second is a float already when the first is masked
 * away, and the first when it is shifted up: even and odd keys have sums of their own until the end. */
#include "attn512.h"
#include "levels.h"

void k_fold_avx512(const uint16_t *p, const float *w, int rows, int n, float *out)
{
    __m512 s[4];
    int G = n / K_GROUP;
    UNROLL for (int c = 0; c < 4; c++) s[c] = _mm512_setzero_ps();
    for (int r = 0; r < rows; r++, p += K_STEP_KEYS) {
        __m512 f = _mm512_set1_ps(w[r]);
        UNROLL for (int c = 0; c < 4; c++)
            if (c < G)
                s[c] = _mm512_fmadd_ps(
                    f, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p + c * K_GROUP))),
                    s[c]);
    }
    UNROLL for (int c = 0; c < 4; c++)
        if (c < G) _mm512_storeu_ps(out + c * K_GROUP, _mm512_mul_ps(_mm512_set1_ps(1 / K_KEPT), s[c]));
}

/* Keys 32c .. 32c+31 of a step. */
INLINE void fold_pairs(const uint16_t *p, const float *w, int rows, int C, __m512 (*s)[2])
{
    enum { AHEAD = 6 /* rows */ };
    const __m512i odd = _mm512_set1_epi32((int)0xffff0000u);
    UNROLL for (int c = 0; c < C; c++) s[c][0] = s[c][1] = _mm512_setzero_ps();
    for (int r = 0; r < rows; r++, p += K_STEP_KEYS) {
        __m512 f = _mm512_set1_ps(w[r]);
        UNROLL for (int c = 0; c < C; c++) {
            __m512i x = _mm512_loadu_si512(p + 32 * c);
            _mm_prefetch((const char *)(p + AHEAD * K_STEP_KEYS + 32 * c), _MM_HINT_T0);
            s[c][0] = _mm512_fmadd_ps(f, _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)), s[c][0]);
            s[c][1] = _mm512_fmadd_ps(f, _mm512_castsi512_ps(_mm512_and_si512(x, odd)), s[c][1]);
        }
    }
}

void k_fold_bf16(const uint16_t *p, const float *w, int rows, int n, float *out)
{
    const __m512i lo = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
                  hi = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    __m512 s[2][2];
    if (n > 32) fold_pairs(p, w, rows, 2, s);
    else fold_pairs(p, w, rows, 1, s);
    for (int i = 0; i < n; i += K_GROUP) {
        __m512 *x = s[i / 32];
        _mm512_storeu_ps(out + i, _mm512_permutex2var_ps(x[0], i % 32 ? hi : lo, x[1]));
    }
}
