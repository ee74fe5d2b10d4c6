/* The k largest of some hundred numbers, for the many short rows of block scores.
 *
 * Of the largest numbers of each of 16 V columns, the k-th bounds the k-th of all from below, and few others
 * lie above it: what does is put aside and ranked by comparing each with all. */
#include "attn512.h"
#include "levels.h"

enum { COLUMNS = 8, LEFT = 16 };            /* vectors of columns, of numbers put aside, at most */

INLINE __mmask16 lanes(int n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

/* Lanes of the vectors x[0 .. v-1], n numbers in them, with fewer than k numbers before them: larger ones, or
 * equal ones further to the front. */
INLINE void rank_below(const __m512 *x, int v, int n, int k, __mmask16 *keep)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512i before[LEFT];
    float value[LEFT * 16];
    UNROLL for (int i = 0; i < v; i++)
    {
        before[i] = _mm512_setzero_si512();
        _mm512_storeu_ps(value + 16 * i, x[i]);
    }
    UNROLL for (int w = 0; w < v; w++)                       /* numbers of x[w] before all others */
        for (int j = 0, end = n - 16 * w < 16 ? n - 16 * w : 16; j < end; j++) {
            __m512 b = _mm512_set1_ps(value[16 * w + j]);
            UNROLL for (int i = 0; i < v; i++)
            {
                __mmask16 m = i > w ? _mm512_cmp_ps_mask(b, x[i], _CMP_GE_OQ)
                                    : _mm512_cmp_ps_mask(b, x[i], _CMP_GT_OQ);
                if (i == w) m |= _mm512_cmp_ps_mask(b, x[i], _CMP_EQ_OQ) & (__mmask16)(0xfffeu << j);
                before[i] = _mm512_mask_add_epi32(before[i], m, before[i], one);
            }
        }
    UNROLL for (int i = 0; i < v; i++)
        keep[i] = _mm512_cmplt_epi32_mask(before[i], _mm512_set1_epi32(k)) & lanes(n - 16 * i);
}

static void ranked_below(const __m512 *x, int v, int n, int k, __mmask16 *keep)
{
    if (v == 1) rank_below(x, 1, n, k, keep);
    else if (v == 2) rank_below(x, 2, n, k, keep);
    else if (v == 3) rank_below(x, 3, n, k, keep);
    else rank_below(x, v, n, k, keep);
}

/* The k-th largest of the largest of 16 v columns. */
static float kth_column(const float *x, int n, int k, int v)
{
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __m512 top[COLUMNS], least = _mm512_set1_ps(INFINITY);
    __mmask16 keep[LEFT];
    for (int i = 0; i < COLUMNS; i++) top[i] = none;
    for (int at = 0; at < n; at += 16 * v)
        for (int i = 0; i < v; i++) {
            __mmask16 m = lanes(n - at - 16 * i);
            top[i] = _mm512_max_ps(_mm512_mask_loadu_ps(none, m, x + at + 16 * i), top[i]);
        }
    ranked_below(top, v, 16 * v, k, keep);
    for (int i = 0; i < v; i++) least = _mm512_mask_min_ps(least, keep[i], least, top[i]);
    return _mm512_reduce_min_ps(least);
}

int k_best_avx512(const float *x, int n, int k, int *idx)
{
    int v = (k + k / 3 + 15) / 16, m = 0, out = 0;
    bool all = n <= 64;
    if (k <= 0 || k >= n || (!all && (v > COLUMNS || 32 * v > n))) return -1;
    float t = all ? -INFINITY : kth_column(x, n, k, v), left[LEFT * 16 + 16];
    int at[LEFT * 16 + 16];
    __m512i pos = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int i = 0; i < n && m <= LEFT * 16; i += 16, pos = _mm512_add_epi32(pos, _mm512_set1_epi32(16))) {
        __m512 y = _mm512_maskz_loadu_ps(lanes(n - i), x + i);
        __mmask16 in = _mm512_mask_cmp_ps_mask(lanes(n - i), y, _mm512_set1_ps(t), _CMP_GE_OQ);
        if (!in) continue;
        _mm512_storeu_ps(left + m, _mm512_maskz_compress_ps(in, y));
        _mm512_storeu_si512(at + m, _mm512_maskz_compress_epi32(in, pos));
        m += __builtin_popcount(in);
    }
    if (m < k || m > LEFT * 16) return -1;      /* numbers that are none, or many equal ones */
    __m512 y[LEFT];
    __mmask16 keep[LEFT];
    int w = (m + 15) / 16;
    for (int i = 0; i < w; i++)
        y[i] = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), lanes(m - 16 * i), left + 16 * i);
    ranked_below(y, w, m, k, keep);
    for (int i = 0; i < w; i++) {
        _mm512_mask_compressstoreu_epi32(idx + out, keep[i], _mm512_loadu_si512(at + 16 * i));
        out += __builtin_popcount(keep[i]);
    }
    return out;
}
