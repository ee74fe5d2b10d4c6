/* What the f32 and the bf16 attention tiles share on AVX-512: exp2, masks and the softmax of one row.
 *
 * Everything is inlined with constant row and group counts, so that the scores of six rows stay in registers
 * from the first product to the probabilities. */
#ifndef KERNELS_ATTN512_H
#define KERNELS_ATTN512_H

#include "kernels.h"

#include <immintrin.h>
#include <math.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* 16 vectors of 16 words become their transpose: four rounds of interleaving. */
INLINE void transpose_words_512(__m512i *a)
{
    __m512i b[16];
    UNROLL for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    UNROLL for (int i = 0; i < 4; i++) {   /* rows 4j + i hold column 4*lane + i of vectors 4j .. 4j+3 */
        __m512i lo = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x44),
                hi = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xee);
        __m512i lo2 = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x44),
                hi2 = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xee);
        b[i] = _mm512_shuffle_i32x4(lo, lo2, 0x88);
        b[i + 4] = _mm512_shuffle_i32x4(lo, lo2, 0xdd);
        b[i + 8] = _mm512_shuffle_i32x4(hi, hi2, 0x88);
        b[i + 12] = _mm512_shuffle_i32x4(hi, hi2, 0xdd);
    }
    UNROLL for (int i = 0; i < 16; i++) a[i] = b[i];
}

/* 2^x for x <= 0, relative error 2e-7; 0 for x below -126 and for -inf: a result that would be a denormal
 * number is never made, for each vector with one took some 90 ns, and every masked key gave one. */
INLINE __m512 exp2_512(__m512 x)
{
    __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.0f), _CMP_GE_OQ);
    __m512 n = _mm512_roundscale_ps(x, 8), f = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(1.327647198e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.675541334e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.550713274e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.402211972e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.931469671e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.000000072f));
    return _mm512_maskz_scalef_ps(normal, p, n);
}

/* cap * tanh(s / cap) in units of log2. tanh(y) = 1 - 2 / (1 + e^2y), on |y| so that e^-2y never overflows.
 */
INLINE __m512 softcap_512(__m512 s, float cap)
{
    __m512 y = _mm512_mul_ps(s, _mm512_set1_ps(1.0f / cap)), a = _mm512_abs_ps(y);
    __m512 e = exp2_512(_mm512_mul_ps(a, _mm512_set1_ps(-2.8853901f)));
    __m512 one = _mm512_set1_ps(1.0f);
    __m512 big = _mm512_div_ps(_mm512_sub_ps(one, e), _mm512_add_ps(one, e));
    __m512 y2 = _mm512_mul_ps(y, y);          /* below 1/16 the difference cancels: y - y^3/3 + 2y^5/15 */
    __m512 small = _mm512_fmadd_ps(y2, _mm512_set1_ps(2.0f / 15.0f), _mm512_set1_ps(-1.0f / 3.0f));
    small = _mm512_fmadd_ps(_mm512_mul_ps(small, y2), a, a);
    __mmask16 tiny = _mm512_cmp_ps_mask(a, _mm512_set1_ps(0.0625f), _CMP_LT_OQ);
    __m512 t = _mm512_mask_mov_ps(big, tiny, small);
    __m512i sign = _mm512_and_epi32(_mm512_castps_si512(y), _mm512_set1_epi32((int)0x80000000u));
    t = _mm512_castsi512_ps(_mm512_or_epi32(_mm512_castps_si512(t), sign));
    return _mm512_mul_ps(t, _mm512_set1_ps(cap * 1.44269504f));
}

INLINE __m512 mask_512(__m512 s, const int32_t *pos, int row, int window)
{
    __m512i p = _mm512_loadu_si512(pos);
    __mmask16 ok = _mm512_cmple_epi32_mask(p, _mm512_set1_epi32(row));
    if (window > 0) ok &= _mm512_cmpgt_epi32_mask(p, _mm512_set1_epi32(row - window));
    return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), ok, s);
}

/* Is there no cap, and no key that a row does not read? */
INLINE bool open_512(const struct k_attn_tile *t, const struct k_attn_group *g,
                     const struct k_attn_rows *list, int G)
{
    bool open = t->cap <= 0 && !(list && list->see);
    UNROLL for (int c = 0; c < G; c++) open &= !g[c].pos;
    return open;
}

/* Scores v[G] of row r are capped and masked (see: a bit for each key that the row reads). */
INLINE void mask_row_512(const struct k_attn_tile *t, const struct k_attn_group *g, int r, __m512 *v, int G,
                         uint64_t see)
{
    if (t->cap > 0) UNROLL for (int c = 0; c < G; c++) v[c] = softcap_512(v[c], t->cap);
    UNROLL for (int c = 0; c < G; c++)
        if (g[c].pos) v[c] = mask_512(v[c], g[c].pos, t->row0 + r, t->window);
    if (see != ~(uint64_t)0)
        UNROLL for (int c = 0; c < G; c++)
            v[c] = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), (__mmask16)(see >> c * K_GROUP), v[c]);
}

/* The same unless they are open; m, l and o of the row follow their maximum. Returns m. */
INLINE __m512 settle_row_512(const struct k_attn_tile *t, const struct k_attn_group *g, int r, __m512 *v,
                             int G, bool open, uint64_t see)
{
    if (!open) mask_row_512(t, g, r, v, G, see);
    __m512 mx = v[0];
    UNROLL for (int c = 1; c < G; c++) mx = _mm512_max_ps(mx, v[c]);
    __m512 m = _mm512_set1_ps(t->m[r]);
    if (_mm512_cmp_ps_mask(mx, _mm512_add_ps(m, _mm512_set1_ps(K_SLACK)), _CMP_GT_OQ)) {
        float top = _mm512_reduce_max_ps(mx), *o = t->o + (size_t)r * (size_t)t->dim, *l = t->l + r * K_GROUP;
        if (t->m[r] > K_M0) { /* before the first keys there is nothing to rescale */
            __m512 z = exp2_512(_mm512_set1_ps(t->m[r] - top));
            _mm512_storeu_ps(l, _mm512_mul_ps(z, _mm512_loadu_ps(l)));
            for (int d = 0; d < t->dim; d += 16)
                _mm512_storeu_ps(o + d, _mm512_mul_ps(z, _mm512_loadu_ps(o + d)));
        }
        t->m[r] = top;
        m = _mm512_set1_ps(top);
    }
    return m;
}

/* Scores v[G] of row r become exp2(v - m), and are added to l. */
INLINE void softmax_row_512(const struct k_attn_tile *t, const struct k_attn_group *g, int r, __m512 *v,
                            int G, bool open, uint64_t see)
{
    __m512 m = settle_row_512(t, g, r, v, G, open, see);
    float *l = t->l + r * K_GROUP;
    UNROLL for (int c = 0; c < G; c++) v[c] = exp2_512(_mm512_sub_ps(v[c], m));
    __m512 add = v[0];
    UNROLL for (int c = 1; c < G; c++) add = _mm512_add_ps(add, v[c]);
    _mm512_storeu_ps(l, _mm512_add_ps(_mm512_loadu_ps(l), add));
}

/* Which row the i-th of a block is, and which keys it reads. */
INLINE int row_at(const struct k_attn_rows *list, int i) { return list ? list->row[i] : i; }
INLINE uint64_t see_at(const struct k_attn_rows *list, int i)
{
    return list && list->see ? list->see[i] : ~(uint64_t)0;
}

/* One step for all rows: six at a time, the rest as four, two and one. BLOCK(t, g, list, r, R, G) is always
 * inlined. */
#define STEP_ROWS(BLOCK, G)                                                          \
    do {                                                                             \
        int r = t->first;                                                            \
        for (; r + 6 <= t->rows; r += 6) BLOCK(t, g, NULL, r, 6, G);                 \
        if (r + 4 <= t->rows) { BLOCK(t, g, NULL, r, 4, G); r += 4; }                \
        if (r + 2 <= t->rows) { BLOCK(t, g, NULL, r, 2, G); r += 2; }                \
        if (r < t->rows) BLOCK(t, g, NULL, r, 1, G);                                 \
    } while (0)

/* The same for listed rows, which are few: no more than one block of less than six. */
#define STEP_LISTED(BLOCK, G)                                                        \
    do {                                                                             \
        int r = 0, left = list->n % 6;                                               \
        for (; r + 6 <= list->n; r += 6) BLOCK(t, g, list, r, 6, G);                 \
        if (left == 5) BLOCK(t, g, list, r, 5, G);                                   \
        else if (left == 4) BLOCK(t, g, list, r, 4, G);                              \
        else if (left == 3) BLOCK(t, g, list, r, 3, G);                              \
        else if (left == 2) BLOCK(t, g, list, r, 2, G);                              \
        else if (left == 1) BLOCK(t, g, list, r, 1, G);                              \
    } while (0)

#define DEFINE_STEP(NAME, BLOCK)                                                                             \
    static                                                                                                   \
        __attribute__((noinline)) void NAME##_4(const struct k_attn_tile *t, const struct k_attn_group *g)   \
    {                                                                                                        \
        STEP_ROWS(BLOCK, 4);                                                                                 \
    }                                                                                                        \
    static                                                                                                   \
        __attribute__((noinline)) void NAME##_3(const struct k_attn_tile *t, const struct k_attn_group *g)   \
    {                                                                                                        \
        STEP_ROWS(BLOCK, 3);                                                                                 \
    }                                                                                                        \
    static                                                                                                   \
        __attribute__((noinline)) void NAME##_2(const struct k_attn_tile *t, const struct k_attn_group *g)   \
    {                                                                                                        \
        STEP_ROWS(BLOCK, 2);                                                                                 \
    }                                                                                                        \
    static                                                                                                   \
        __attribute__((noinline)) void NAME##_1(const struct k_attn_tile *t, const struct k_attn_group *g)   \
    {                                                                                                        \
        STEP_ROWS(BLOCK, 1);                                                                                 \
    }                                                                                                        \
    static void NAME(const struct k_attn_tile *t, const struct k_attn_group *g, int n_groups)                \
    {                                                                                                        \
        static void (*const by_groups[])(const struct k_attn_tile *,                                         \
                                         const struct k_attn_group *) = { NAME##_1, NAME##_2, NAME##_3,      \
                                                                          NAME##_4 };                        \
        by_groups[n_groups - 1](t, g);                                                                       \
    }

#define DEFINE_STEP_LISTED(NAME, BLOCK)                                                                      \
    static __attribute__((noinline)) void NAME##_4(                                                          \
        const struct k_attn_tile *t, const struct k_attn_rows *list, const struct k_attn_group *g)           \
    {                                                                                                        \
        STEP_LISTED(BLOCK, 4);                                                                               \
    }                                                                                                        \
    static __attribute__((noinline)) void NAME##_2(                                                          \
        const struct k_attn_tile *t, const struct k_attn_rows *list, const struct k_attn_group *g)           \
    {                                                                                                        \
        STEP_LISTED(BLOCK, 2);                                                                               \
    }                                                                                                        \
    static __attribute__((noinline)) void NAME##_1(                                                          \
        const struct k_attn_tile *t, const struct k_attn_rows *list, const struct k_attn_group *g)           \
    {                                                                                                        \
        STEP_LISTED(BLOCK, 1);                                                                               \
    }                                                                                                        \
    static void NAME(const struct k_attn_tile *t, const struct k_attn_rows *list,                            \
                     const struct k_attn_group *g, int n_groups)                                             \
    {                                                                                                        \
        if (n_groups == 4) NAME##_4(t, list, g);                                                             \
        else if (n_groups == 2) NAME##_2(t, list, g);                                                        \
        else NAME##_1(t, list, g);                                                                           \
    }
#endif
