/* Attention tiles with f32 products, AVX-512: 6 rows x 64 keys keep 24 accumulators in registers.
 *
 * K is packed transposed by groups of 16 keys, V lies row by row; both products then have the same inner loop
 * of 4 loads, 6 broadcasts and 24 multiply-adds. */
#include "attn512.h"
#include "levels.h"

#include <string.h>

/* c[R][NC*16] += p[R][16*G] x V[16*G][dim], columns col .. */
INLINE void pv(const struct k_attn_tile *t, const struct k_attn_group *g, float *const *o, const float *p,
               int R, int G, int col, int NC)
{
    __m512 x[6][4];
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < NC; j++) x[r][j] = _mm512_loadu_ps(o[r] + col + j * 16);
    for (int c = 0; c < G; c++) {
        const float *v = (const float *)g[c].v + col, *pc = p + c * K_GROUP;
        for (int i = 0; i < K_GROUP; i++, v += t->dim) {
            __m512 b[4];
            UNROLL for (int j = 0; j < NC; j++) b[j] = _mm512_loadu_ps(v + j * 16);
            UNROLL for (int r = 0; r < R; r++) {
                __m512 y = _mm512_set1_ps(pc[r * K_STEP_KEYS + i]);
                UNROLL for (int j = 0; j < NC; j++) x[r][j] = _mm512_fmadd_ps(y, b[j], x[r][j]);
            }
        }
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int j = 0; j < NC; j++) _mm512_storeu_ps(o[r] + col + j * 16, x[r][j]);
}

enum { MAX_DIM = 256 };

/* Below 2^-21 they count as nothing: f16 has no normal numbers there. */
INLINE void keep_row(uint16_t *to, const float *p, int G)
{
    UNROLL for (int c = 0; c < G; c++) {
        __m512 x = _mm512_mul_ps(_mm512_loadu_ps(p + c * K_GROUP), _mm512_set1_ps(K_KEPT));
        __mmask16 on = _mm512_cmp_ps_mask(x, _mm512_set1_ps(0x1p-14f), _CMP_GE_OQ);
        __m256i h = _mm512_cvtps_ph(_mm512_maskz_mov_ps(on, x), _MM_FROUND_TO_NEAREST_INT);
        _mm256_storeu_si256((__m256i *)(void *)(to + c * K_GROUP), h);
    }
}

INLINE void block_f32(const struct k_attn_tile *t, const struct k_attn_group *g,
                      const struct k_attn_rows *list, int r0, int R, int G)
{
    __m512 x[6][4];
    float p[6 * K_STEP_KEYS] __attribute__((aligned(64)));
    float own[6][MAX_DIM] __attribute__((aligned(64)));
    const float *q[6], *k[4];
    float *o[6];
    UNROLL for (int r = 0; r < R; r++) {
        size_t at = (size_t)row_at(list, r0 + r) * (size_t)t->dim;
        q[r] = (const float *)t->q + at;
        o[r] = t->o + at;
    }
    if (list) { /* at a fixed distance again: six addresses besides those of keys are too many for registers */
        for (int d = 0; d < t->dim; d += 16)
            UNROLL for (int r = 0; r < R; r++) _mm512_store_ps(own[r] + d, _mm512_loadu_ps(q[r] + d));
        UNROLL for (int r = 0; r < R; r++) q[r] = own[r];
    }
    UNROLL for (int c = 0; c < G; c++) k[c] = g[c].k;
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int c = 0; c < G; c++) x[r][c] = _mm512_setzero_ps();
    for (int d = 0; d < t->dim; d++) {
        __m512 b[4];
        UNROLL for (int c = 0; c < G; c++) b[c] = _mm512_loadu_ps(k[c] + d * K_GROUP);
        UNROLL for (int r = 0; r < R; r++) {
            __m512 y = _mm512_set1_ps(q[r][d]);
            UNROLL for (int c = 0; c < G; c++) x[r][c] = _mm512_fmadd_ps(y, b[c], x[r][c]);
        }
    }
    bool open = open_512(t, g, list, G);
    UNROLL for (int r = 0; r < R; r++) {
        softmax_row_512(t, g, row_at(list, r0 + r), x[r], G, open, see_at(list, r0 + r));
        UNROLL for (int c = 0; c < G; c++) _mm512_store_ps(p + r * K_STEP_KEYS + c * K_GROUP, x[r][c]);
    }
    if (t->p)
        UNROLL for (int r = 0; r < R; r++)
            keep_row(t->p + (r0 + r) * K_STEP_KEYS, p + r * K_STEP_KEYS, G);
    int col = 0;
    for (; col + 64 <= t->dim; col += 64) pv(t, g, o, p, R, G, col, 4);
    if (col + 32 <= t->dim) { pv(t, g, o, p, R, G, col, 2); col += 32; }
    if (col < t->dim) pv(t, g, o, p, R, G, col, 1);
}

DEFINE_STEP(attn_step_avx512, block_f32)
DEFINE_STEP_LISTED(attn_step_listed_avx512, block_f32)

static void attn_step_rows_avx512(const struct k_attn_tile *t, const struct k_attn_rows *list,
                                  const struct k_attn_group *g, int n_groups)
{
    if (t->dim > MAX_DIM) attn_step_rows_c(t, list, g, n_groups);
    else attn_step_listed_avx512(t, list, g, n_groups);
}

static void transpose16(const float *const *src, int n, int d, int cols, float *dst)
{
    __m512i a[16];
    __mmask16 m = (__mmask16)(cols >= 16 ? 0xffff : (1u << cols) - 1);
    for (int i = 0; i < 16; i++)
        a[i] = i < n ? _mm512_castps_si512(_mm512_maskz_loadu_ps(m, src[i] + d)) : _mm512_setzero_si512();
    transpose_words_512(a);
    for (int i = 0; i < 16; i++) _mm512_storeu_si512(dst + (d + i) * K_GROUP, a[i]);
}

static void pack_group_avx512(const float *const *k, const float *const *v, int n, int dim, int dim_pad,
                              void *kdst, void *vdst)
{
    float *vt = vdst;
    for (int d = 0; d < dim_pad; d += 16) transpose16(k, n, d, dim - d, kdst);
    for (int i = 0; i < K_GROUP; i++, vt += dim_pad) {
        if (i < n) memcpy(vt, v[i], (size_t)dim * sizeof *vt);
        size_t have = i < n ? (size_t)dim : 0;
        memset(vt + have, 0, ((size_t)dim_pad - have) * sizeof *vt);
    }
}

void k_attn_finish_avx512(const struct k_attn_tile *t, int dim, float *out, size_t ldo, float *lse2)
{
    for (int r = 0; r < t->rows; r++, out += ldo) {
        const float *o = t->o + (size_t)r * (size_t)t->dim;
        float sum = _mm512_reduce_add_ps(_mm512_loadu_ps(t->l + r * K_GROUP));
        __m512 inv = _mm512_set1_ps(sum > 0 ? 1.0f / sum : 0.0f);
        __mmask16 any = sum > 0 ? 0xffff : 0;           /* o of a row that saw no key may never have been set */
        int d = 0;
        for (; d + 16 <= dim; d += 16)
            _mm512_storeu_ps(out + d, _mm512_maskz_mul_ps(any, inv, _mm512_loadu_ps(o + d)));
        if (d < dim)
            _mm512_mask_storeu_ps(out + d, (__mmask16)((1u << (dim - d)) - 1),
                                  _mm512_maskz_mul_ps(any, inv, _mm512_loadu_ps(o + d)));
        if (lse2) lse2[r] = sum > 0 ? t->m[r] + log2f(sum) : -INFINITY;
    }
}

const struct k_attn attn_avx512 = {
    .name = "f32 avx512",
    .elem = 4,
    .pack_q = attn_pack_q_c,
    .pack_group = pack_group_avx512,
    .step = attn_step_avx512,
    .step_rows = attn_step_rows_avx512,
    .finish = k_attn_finish_avx512,
    .fold = k_fold_avx512,
};
