/* Attention tiles with bf16 products and f32 sums: vdpbf16ps does two multiply-adds a lane.
 *
 * Four rows are taken at a time; while products make their scores, those of the four before become weights.
 * q, k and v are rounded to bf16 when packed, weights between the two products; softmax, maxima and sums stay
 * f32. The relative error of the output is that of 8-bit mantissas, 2e-3 to 4e-3 (kernels/SPEED.md). */
#include "attn512.h"
#include "levels.h"

#include <string.h>

enum { ROWS = 4, WORDS = K_GROUP / 2 };    /* of a block; 32-bit words of the weights of a group */

/* 2^x for a result of 8 bits: relative error 8e-5; 0 below -125 and for -inf. A float of 1.5 * 2^23 added and
 * taken off rounds on units that do not multiply. */
INLINE __m512 exp2_short(__m512 x)
{
    const __m512 shift = _mm512_set1_ps(0x1.8p23f);
    __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-125.0f), _CMP_GE_OQ);
    __m512 n = _mm512_sub_ps(_mm512_add_ps(x, shift), shift), f = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(5.517166907e-2f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.426111222e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.932609855e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.999280735e-1f));
    return _mm512_maskz_scalef_ps(normal, p, n);
}

/* Up to ROWS rows between their two products: scores less the maximum, then weights. */
struct rows {
    float s[ROWS * K_STEP_KEYS] __attribute__((aligned(64)));
    uint32_t p[ROWS * K_STEP_KEYS / 2] __attribute__((aligned(64)));
    float *l[ROWS], *o[ROWS];
};

/* Vectors of scores, of R rows of G each, become weights: the i-th, or (G even) the i-th and the next. */
INLINE void weigh(struct rows *b, int i, int G)
{
    float *l = b->l[i / G];
    uint32_t *p = b->p + i * WORDS;
    __m512 x = exp2_short(_mm512_load_ps(b->s + i * K_GROUP)), sum = x;
    if (G % 2) {
        _mm256_store_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh(x));
    } else {
        __m512 y = exp2_short(_mm512_load_ps(b->s + (i + 1) * K_GROUP));
        sum = _mm512_add_ps(x, y);
        _mm512_store_si512(p, (__m512i)_mm512_cvtne2ps_pbh(y, x));
    }
    _mm512_storeu_ps(l, _mm512_add_ps(_mm512_loadu_ps(l), sum));
}

/* All from the i-th on. */
INLINE void weigh_rest(struct rows *b, int i, int R, int G)
{
    for (; i < R * G; i += 2 - G % 2) weigh(b, i, G);
}

INLINE void pv(const struct k_attn_tile *t, const struct k_attn_group *g, const struct rows *b, int R, int G,
               int col, int NC)
{
    __m512 x[ROWS][4];
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < NC; j++) x[r][j] = _mm512_loadu_ps(b->o[r] + col + j * 16);
    for (int c = 0; c < G; c++) {
        const uint32_t *v = (const uint32_t *)g[c].v + col, *p = b->p + c * WORDS;
        for (int i = 0; i < WORDS; i++, v += t->dim) {
            __m512bh w[4];
            UNROLL for (int j = 0; j < NC; j++) w[j] = (__m512bh)_mm512_loadu_si512(v + j * 16);
            UNROLL for (int r = 0; r < R; r++) {
                __m512bh y = (__m512bh)_mm512_set1_epi32((int)p[r * G * WORDS + i]);
                UNROLL for (int j = 0; j < NC; j++) x[r][j] = _mm512_dpbf16_ps(x[r][j], y, w[j]);
            }
        }
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < NC; j++) _mm512_storeu_ps(b->o[r] + col + j * 16, x[r][j]);
}

INLINE void values(const struct k_attn_tile *t, const struct k_attn_group *g, const struct rows *b, int R,
                   int G)
{
    int col = 0;
    for (; col + 64 <= t->dim; col += 64) pv(t, g, b, R, G, col, 4);
    if (col + 32 <= t->dim) { pv(t, g, b, R, G, col, 2); col += 32; }
    if (col < t->dim) pv(t, g, b, R, G, col, 1);
}

/* Scores of R rows from r0 on. Meanwhile the rows in b, if they wait for it, get their weights, a vector for
 * every two pairs of inputs: between the products that cost is hidden, after them all would wait for it. */
INLINE void scores(const struct k_attn_tile *t, const struct k_attn_group *g, const struct k_attn_rows *list,
                   int r0, int R, int G, __m512 (*x)[4], struct rows *b, bool wait)
{
    const int pairs = t->dim / 2, vectors = 2 - G % 2;
    const uint32_t *q[ROWS], *k[4];
    int i = 0;
    UNROLL for (int r = 0; r < R; r++)
        q[r] = (const uint32_t *)t->q + (size_t)row_at(list, r0 + r) * (size_t)pairs;
    UNROLL for (int c = 0; c < G; c++) k[c] = g[c].k;
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int c = 0; c < G; c++) x[r][c] = _mm512_setzero_ps();
    for (int d = 0; d < pairs; d += 2 * vectors) {
        UNROLL for (int e = d; e < d + 2 * vectors; e++) {
            __m512bh w[4];
            UNROLL for (int c = 0; c < G; c++) w[c] = (__m512bh)_mm512_loadu_si512(k[c] + e * K_GROUP);
            UNROLL for (int r = 0; r < R; r++) {
                __m512bh y = (__m512bh)_mm512_set1_epi32((int)q[r][e]);
                UNROLL for (int c = 0; c < G; c++) x[r][c] = _mm512_dpbf16_ps(x[r][c], y, w[c]);
            }
        }
        if (wait && i < R * G) {
            weigh(b, i, G);
            i += vectors;
        }
    }
    if (wait) weigh_rest(b, i, R, G);
}

INLINE void keep_scores(const struct k_attn_tile *t, const struct k_attn_group *g,
                        const struct k_attn_rows *list, int r0, int R, int G, __m512 (*x)[4], struct rows *b)
{
    bool open = open_512(t, g, list, G);
    UNROLL for (int r = 0; r < R; r++) {
        int row = row_at(list, r0 + r);
        b->l[r] = t->l + row * K_GROUP;
        b->o[r] = t->o + (size_t)row * (size_t)t->dim;
        __m512 m = settle_row_512(t, g, row, x[r], G, open, see_at(list, r0 + r));
        UNROLL for (int c = 0; c < G; c++)
            _mm512_store_ps(b->s + (r * G + c) * K_GROUP, _mm512_sub_ps(x[r][c], m));
    }
}

INLINE void keep_weights(const struct k_attn_tile *t, int r0, int R, int G, const struct rows *b)
{
    for (int r = 0; r < R; r++)
        memcpy(t->p + (size_t)(r0 + r) * K_STEP_KEYS, b->p + r * G * WORDS,
               (size_t)(G * WORDS) * sizeof *b->p);
}

/* Rows whose scores are kept and that nothing follows. */
INLINE void last_rows(const struct k_attn_tile *t, const struct k_attn_group *g,
                      const struct k_attn_rows *list, int r0, int R, int G, struct rows *b)
{
    weigh_rest(b, 0, R, G);
    if (t->p && !list) keep_weights(t, r0, R, G, b);
    values(t, g, b, R, G);
}

INLINE void few_rows(const struct k_attn_tile *t, const struct k_attn_group *g,
                     const struct k_attn_rows *list, int r0, int R, int G, struct rows *b)
{
    __m512 x[ROWS][4];
    scores(t, g, list, r0, R, G, x, b, false);
    keep_scores(t, g, list, r0, R, G, x, b);
    last_rows(t, g, list, r0, R, G, b);
}

/* Rows first .. end-1, or entries of the list: four at a time, the weights of four while the next have their
 * scores. */
INLINE void all_rows(const struct k_attn_tile *t, const struct k_attn_group *g,
                     const struct k_attn_rows *list, int first, int end, int G)
{
    struct rows b[2];
    int r = first, now = 0;
    if (r + ROWS <= end) {
        __m512 x[ROWS][4];
        scores(t, g, list, r, ROWS, G, x, NULL, false);
        keep_scores(t, g, list, r, ROWS, G, x, &b[0]);
    }
    for (; r + 2 * ROWS <= end; r += ROWS, now = !now) {
        __m512 x[ROWS][4];
        scores(t, g, list, r + ROWS, ROWS, G, x, &b[now], true);
        keep_scores(t, g, list, r + ROWS, ROWS, G, x, &b[!now]);
        if (t->p && !list) keep_weights(t, r, ROWS, G, &b[now]);
        values(t, g, &b[now], ROWS, G);
    }
    if (r + ROWS <= end) {
        last_rows(t, g, list, r, ROWS, G, &b[now]);
        r += ROWS;
    }
    if (r + 2 <= end) { few_rows(t, g, list, r, 2, G, &b[0]); r += 2; }
    if (r < end) few_rows(t, g, list, r, 1, G, &b[0]);
}

#define DEFINE_STEPS(G)                                                                                    \
    static __attribute__((noinline)) void step_##G(                                                        \
        const struct k_attn_tile *t, const struct k_attn_group *g, const struct k_attn_rows *list)         \
    {                                                                                                      \
        all_rows(t, g, list, list ? 0 : t->first, list ? list->n : t->rows, G);                            \
    }
DEFINE_STEPS(1)
DEFINE_STEPS(2)
DEFINE_STEPS(3)
DEFINE_STEPS(4)

static void attn_step_rows_bf16(const struct k_attn_tile *t, const struct k_attn_rows *list,
                                const struct k_attn_group *g, int n_groups)
{
    if (n_groups == 4) step_4(t, g, list);
    else if (n_groups == 3) step_3(t, g, list);
    else if (n_groups == 2) step_2(t, g, list);
    else step_1(t, g, list);
}

static void attn_step_bf16(const struct k_attn_tile *t, const struct k_attn_group *g, int n_groups)
{
    attn_step_rows_bf16(t, NULL, g, n_groups);
}

static void pack_q_bf16(const float *q, int dim, int dim_pad, float scale, void *dst)
{
    uint16_t *out = dst;
    __m512 z = _mm512_set1_ps(scale);
    for (int d = 0; d < dim_pad; d += 16) {
        __mmask16 m = (__mmask16)(dim - d >= 16 ? 0xffff : dim > d ? (1u << (dim - d)) - 1 : 0);
        __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, q + d), z);
        _mm256_storeu_si256((__m256i *)(out + d), (__m256i)_mm512_cvtneps_pbh(x));
    }
}

/* Pairs along the head dimension: 16 keys x 16 pairs of one 32-column strip, transposed as words. */
INLINE void pack_keys(const float *const *k, int n, int d, int dim, int dim_pad, uint32_t *dst)
{
    __m512i w[16];
    int pairs = (dim_pad - d < 32 ? dim_pad - d : 32) / 2, left = dim - d;
    __mmask16 m0 = (__mmask16)(left >= 16 ? 0xffff : left > 0 ? (1u << left) - 1 : 0);
    __mmask16 m1 = (__mmask16)(left >= 32 ? 0xffff : left > 16 ? (1u << (left - 16)) - 1 : 0);
    UNROLL for (int i = 0; i < K_GROUP; i++) {
        __m512 x0 = _mm512_setzero_ps(), x1 = x0;
        if (i < n && m0) x0 = _mm512_maskz_loadu_ps(m0, k[i] + d);
        if (i < n && m1) x1 = _mm512_maskz_loadu_ps(m1, k[i] + d + 16);
        w[i] = (__m512i)_mm512_cvtne2ps_pbh(x1, x0);
    }
    transpose_words_512(w);
    for (int p = 0; p < pairs; p++) _mm512_storeu_si512(dst + (d / 2 + p) * K_GROUP, w[p]);
}

static void pack_group_bf16(const float *const *k, const float *const *v, int n, int dim, int dim_pad,
                            void *kdst, void *vdst)
{
    /* 16 values of two keys, one after the other, become 16 pairs. */
    const __m512i pairs = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    uint32_t *vt = vdst;
    for (int d = 0; d < dim_pad; d += 32) pack_keys(k, n, d, dim, dim_pad, kdst);
    for (int i = 0; i < K_GROUP; i += 2, vt += dim_pad)
        for (int d = 0; d < dim_pad; d += 16) {
            int left = dim - d;
            __mmask16 m = (__mmask16)(left >= 16 ? 0xffff : left > 0 ? (1u << left) - 1 : 0);
            __m512 a = m && i < n ? _mm512_maskz_loadu_ps(m, v[i] + d) : _mm512_setzero_ps();
            __m512 b = m && i + 1 < n ? _mm512_maskz_loadu_ps(m, v[i + 1] + d) : _mm512_setzero_ps();
            _mm512_storeu_si512(vt + d, _mm512_permutexvar_epi16(pairs, (__m512i)_mm512_cvtne2ps_pbh(b, a)));
        }
}

INLINE void narrow_row(const float *x, int dim, int dim_pad, uint16_t *dst)
{
    for (int d = 0; d < dim_pad; d += 16) {
        int left = dim - d;
        __mmask16 m = (__mmask16)(left >= 16 ? 0xffff : left > 0 ? (1u << left) - 1 : 0);
        _mm256_storeu_si256((__m256i *)(dst + d), (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(m, x + d)));
    }
}

static void narrow_bf16(const float *k, const float *v, int dim, int dim_pad, void *dst)
{
    narrow_row(k, dim, dim_pad, dst);
    narrow_row(v, dim, dim_pad, (uint16_t *)dst + dim_pad);
}

/* 32 columns, or the last 16, of a narrow row. */
INLINE __m512i narrow_at(const uint16_t *row, int d, int dim_pad)
{
    if (dim_pad - d >= 32) return _mm512_loadu_si512(row + d);
    return _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)(row + d)));
}

static void pack_narrow_bf16(const void *const *kv, int n, int dim_pad, void *kdst, void *vdst)
{
    /* 16 columns of two keys, one after the other each, become pairs: the first 16 columns, the other 16 */
    const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38,
                                         6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i high = _mm512_or_si512(low, _mm512_set1_epi16(16)), zero = _mm512_setzero_si512();
    for (int d = 0; d < dim_pad; d += 32) {
        __m512i w[16];
        int pairs = (dim_pad - d < 32 ? dim_pad - d : 32) / 2;
        UNROLL for (int i = 0; i < K_GROUP; i++) w[i] = i < n ? narrow_at(kv[i], d, dim_pad) : zero;
        transpose_words_512(w);
        for (int p = 0; p < pairs; p++) _mm512_storeu_si512((uint32_t *)kdst + (d / 2 + p) * K_GROUP, w[p]);
        for (int i = 0; i < K_GROUP; i += 2) {
            __m512i a = i < n ? narrow_at((const uint16_t *)kv[i] + dim_pad, d, dim_pad) : zero;
            __m512i b = i + 1 < n ? narrow_at((const uint16_t *)kv[i + 1] + dim_pad, d, dim_pad) : zero;
            uint32_t *to = (uint32_t *)vdst + (size_t)(i / 2) * (size_t)dim_pad + d;
            _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, low, b));
            if (pairs == 16) _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi16(a, high, b));
        }
    }
}

const struct k_attn attn_bf16 = {
    .name = "bf16",
    .elem = 2,
    .pack_q = pack_q_bf16,
    .pack_group = pack_group_bf16,
    .narrow = narrow_bf16,
    .pack_narrow = pack_narrow_bf16,
    .step = attn_step_bf16,
    .step_rows = attn_step_rows_bf16,
    .finish = k_attn_finish_avx512,
    .fold = k_fold_bf16,
};
