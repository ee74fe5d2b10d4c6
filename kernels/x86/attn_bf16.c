/* Attention tiles with bf16 products and f32 sums: vdpbf16ps does two multiply-adds a lane.
 *
 * q, k and v are rounded to bf16 when packed, probabilities between the two products; softmax, maxima and
 * sums stay f32. The relative error of the output is that of 8-bit mantissas, 2e-3 to 4e-3
 * (kernels/SPEED.md). */
#include "attn512.h"
#include "levels.h"

#include <string.h>

INLINE void pv(const struct k_attn_tile *t, const struct k_attn_group *g, float *const *o, const uint32_t *p,
               int R, int G, int col, int NC)
{
    __m512 x[6][4];
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < NC; j++) x[r][j] = _mm512_loadu_ps(o[r] + col + j * 16);
    for (int c = 0; c < G; c++) {
        const uint32_t *v = (const uint32_t *)g[c].v + col, *pc = p + c * (K_GROUP / 2);
        for (int i = 0; i < K_GROUP / 2; i++, v += t->dim) {
            __m512bh b[4];
            UNROLL for (int j = 0; j < NC; j++) b[j] = (__m512bh)_mm512_loadu_si512(v + j * 16);
            UNROLL for (int r = 0; r < R; r++) {
                __m512bh y = (__m512bh)_mm512_set1_epi32((int)pc[r * (K_STEP_KEYS / 2) + i]);
                UNROLL for (int j = 0; j < NC; j++) x[r][j] = _mm512_dpbf16_ps(x[r][j], y, b[j]);
            }
        }
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < NC; j++) _mm512_storeu_ps(o[r] + col + j * 16, x[r][j]);
}

INLINE void block_bf16(const struct k_attn_tile *t, const struct k_attn_group *g,
                       const struct k_attn_rows *list, int r0, int R, int G)
{
    __m512 x[6][4];
    uint32_t p[6 * K_STEP_KEYS / 2] __attribute__((aligned(64)));
    int pairs = t->dim / 2;
    const uint32_t *q[6], *k[4];
    float *o[6];
    UNROLL for (int r = 0; r < R; r++) {
        size_t row = (size_t)row_at(list, r0 + r);
        q[r] = (const uint32_t *)t->q + row * (size_t)pairs;
        o[r] = t->o + row * (size_t)t->dim;
    }
    UNROLL for (int c = 0; c < G; c++) k[c] = g[c].k;
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int c = 0; c < G; c++) x[r][c] = _mm512_setzero_ps();
    for (int d = 0; d < pairs; d++) {
        __m512bh b[4];
        UNROLL for (int c = 0; c < G; c++) b[c] = (__m512bh)_mm512_loadu_si512(k[c] + d * K_GROUP);
        UNROLL for (int r = 0; r < R; r++) {
            __m512bh y = (__m512bh)_mm512_set1_epi32((int)q[r][d]);
            UNROLL for (int c = 0; c < G; c++) x[r][c] = _mm512_dpbf16_ps(x[r][c], y, b[c]);
        }
    }
    uint16_t *keep = list ? NULL : t->p;
    UNROLL for (int r = 0; r < R; r++) {
        softmax_row_512(t, g, row_at(list, r0 + r), x[r], G, see_at(list, r0 + r));
        UNROLL for (int c = 0; c < G; c++) {
            __m256i h = (__m256i)_mm512_cvtneps_pbh(x[r][c]);
            _mm256_store_si256((__m256i *)(p + r * (K_STEP_KEYS / 2) + c * (K_GROUP / 2)), h);
            if (keep) _mm256_store_si256((__m256i *)(void *)(keep + (r0 + r) * K_STEP_KEYS + c * K_GROUP), h);
        }
    }
    int col = 0;
    for (; col + 64 <= t->dim; col += 64) pv(t, g, o, p, R, G, col, 4);
    if (col + 32 <= t->dim) { pv(t, g, o, p, R, G, col, 2); col += 32; }
    if (col < t->dim) pv(t, g, o, p, R, G, col, 1);
}

DEFINE_STEP(attn_step_bf16, block_bf16)
DEFINE_STEP_LISTED(attn_step_rows_bf16, block_bf16)

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

const struct k_attn attn_bf16 = {
    .name = "bf16",
    .elem = 2,
    .pack_q = pack_q_bf16,
    .pack_group = pack_group_bf16,
    .step = attn_step_bf16,
    .step_rows = attn_step_rows_bf16,
    .finish = k_attn_finish_avx512,
    .fold = k_fold_bf16,
};
