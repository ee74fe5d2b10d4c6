/* Attention tiles with f32 products, NEON: 6 query rows x 16 keys keep 24 accumulators in registers.
 *
 * Scores of six rows and up to 64 keys go through a 1.5 kB buffer: products of one group of 16 keys after the
 * other, then the softmax row by row, then the values, 16 columns at a time. */
#include "neon.h"
#include "levels.h"

#include <math.h>
#include <string.h>

/* x[R][4] += a[r][i] * b[i], i < n: a has stride lda, rows of b (16 floats) stride ldb. */
INLINE void mm(float32x4_t (*x)[4], const float *a, int lda, const float *b, int ldb, int n, int R)
{
    for (int i = 0; i < n; i++, b += ldb) {
        float32x4_t v[4];
        UNROLL for (int c = 0; c < 4; c++) v[c] = vld1q_f32(b + 4 * c);
        UNROLL for (int r = 0; r < R; r++) {
            float y = a[r * lda + i];
            UNROLL for (int c = 0; c < 4; c++) x[r][c] = vfmaq_n_f32(x[r][c], v[c], y);
        }
    }
}

static void mask_row(const struct k_attn_tile *t, const struct k_attn_group *g, int r, int G, float *s)
{
    int row = t->row0 + r;
    int32x4_t last = vdupq_n_s32(row), from = vdupq_n_s32(t->window > 0 ? row - t->window + 1 : INT32_MIN);
    for (int i = 0; i < G * 4; i++) {
        const int32_t *pos = g[i / 4].pos;
        if (!pos) continue;
        int32x4_t p = vld1q_s32(pos + i % 4 * 4);
        uint32x4_t no = vorrq_u32(vcgtq_s32(p, last), vcgtq_s32(from, p));
        vst1q_f32(s + i * 4, vbslq_f32(no, vdupq_n_f32(-INFINITY), vld1q_f32(s + i * 4)));
    }
}

static void cap_row(const struct k_attn_tile *t, int G, float *s)
{
    float inv = 1.0f / t->cap, out = t->cap * 1.44269504f;
    for (int i = 0; i < G * K_GROUP; i += 4)
        vst1q_f32(s + i, vmulq_n_f32(tanh_128(vmulq_n_f32(vld1q_f32(s + i), inv)), out));
}

static __attribute__((noinline)) void raise_row(const struct k_attn_tile *t, int r, float top)
{
    float *o = t->o + (size_t)r * (size_t)t->dim, *l = t->l + r * K_GROUP;
    float32x4_t z = exp2_128(vdupq_n_f32(t->m[r] - top));
    t->m[r] = top;
    for (int i = 0; i < K_GROUP; i += 4) vst1q_f32(l + i, vmulq_f32(z, vld1q_f32(l + i)));
    for (int d = 0; d < t->dim; d += 4) vst1q_f32(o + d, vmulq_f32(z, vld1q_f32(o + d)));
}

/* Scores of one row become exp2(s - m); m, l and o follow the maximum. */
INLINE void softmax_row(const struct k_attn_tile *t, const struct k_attn_group *g, int r, float *s, int G,
                        bool masked)
{
    if (t->cap > 0) cap_row(t, G, s);
    if (masked) mask_row(t, g, r, G, s);
    float32x4_t mx = vld1q_f32(s), add[4];
    for (int i = 4; i < G * K_GROUP; i += 4) mx = vmaxq_f32(mx, vld1q_f32(s + i));
    float top = vmaxvq_f32(mx);
    if (top > t->m[r]) raise_row(t, r, top);
    float32x4_t m = vdupq_n_f32(t->m[r]);
    UNROLL for (int c = 0; c < 4; c++) add[c] = vdupq_n_f32(0.0f);
    for (int i = 0; i < G * K_GROUP; i += K_GROUP) UNROLL for (int c = 0; c < 4; c++) {
            float32x4_t e = exp2_128(vsubq_f32(vld1q_f32(s + i + 4 * c), m));
            vst1q_f32(s + i + 4 * c, e);
            add[c] = vaddq_f32(add[c], e);
        }
    float *l = t->l + r * K_GROUP;
    UNROLL for (int c = 0; c < 4; c++) vst1q_f32(l + 4 * c, vaddq_f32(vld1q_f32(l + 4 * c), add[c]));
}

INLINE void rows_f32(const struct k_attn_tile *t, const struct k_attn_group *g, int r0, int R, int G,
                     bool masked)
{
    float s[6 * K_STEP_KEYS] __attribute__((aligned(16)));
    const float *q = (const float *)t->q + (size_t)r0 * (size_t)t->dim;
    for (int c = 0; c < G; c++) {
        float32x4_t x[6][4];
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int j = 0; j < 4; j++) x[r][j] = vdupq_n_f32(0.0f);
        mm(x, q, t->dim, g[c].k, K_GROUP, t->dim, R);
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int j = 0; j < 4; j++) vst1q_f32(s + r * K_STEP_KEYS + c * K_GROUP + 4 * j, x[r][j]);
    }
    for (int r = 0; r < R; r++) softmax_row(t, g, r0 + r, s + r * K_STEP_KEYS, G, masked);
    for (int col = 0; col < t->dim; col += 16) {
        float32x4_t x[6][4];
        float *o = t->o + (size_t)r0 * (size_t)t->dim + col;
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int j = 0; j < 4; j++) x[r][j] = vld1q_f32(o + r * t->dim + 4 * j);
        for (int c = 0; c < G; c++)
            mm(x, s + c * K_GROUP, K_STEP_KEYS, (const float *)g[c].v + col, t->dim, K_GROUP, R);
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int j = 0; j < 4; j++) vst1q_f32(o + r * t->dim + 4 * j, x[r][j]);
    }
}

INLINE void step(const struct k_attn_tile *t, const struct k_attn_group *g, int G)
{
    bool masked = false;
    for (int c = 0; c < G; c++) masked |= g[c].pos != NULL;
    int r = t->first;
    for (; r + 6 <= t->rows; r += 6) rows_f32(t, g, r, 6, G, masked);
    if (r + 4 <= t->rows) {
        rows_f32(t, g, r, 4, G, masked);
        r += 4;
    }
    for (; r < t->rows; r++) rows_f32(t, g, r, 1, G, masked);
}

static void step1(const struct k_attn_tile *t, const struct k_attn_group *g) { step(t, g, 1); }
static void step2(const struct k_attn_tile *t, const struct k_attn_group *g) { step(t, g, 2); }
static void step3(const struct k_attn_tile *t, const struct k_attn_group *g) { step(t, g, 3); }
static void step4(const struct k_attn_tile *t, const struct k_attn_group *g) { step(t, g, 4); }

static void attn_step_neon(const struct k_attn_tile *t, const struct k_attn_group *g, int n_groups)
{
    static void (*const by_groups[])(const struct k_attn_tile *,
                                     const struct k_attn_group *) = { step1, step2, step3, step4 };
    by_groups[n_groups - 1](t, g);
}

/* 4 rows of 4 columns, transposed into a packed group. Rows from n on are zeros. */
static void transpose4(const float *const *src, int n, int d, float *dst)
{
    float32x4_t a[4];
    for (int i = 0; i < 4; i++) a[i] = i < n ? vld1q_f32(src[i] + d) : vdupq_n_f32(0.0f);
    float32x4x2_t x = vtrnq_f32(a[0], a[1]), y = vtrnq_f32(a[2], a[3]);
    vst1q_f32(dst, vcombine_f32(vget_low_f32(x.val[0]), vget_low_f32(y.val[0])));
    vst1q_f32(dst + K_GROUP, vcombine_f32(vget_low_f32(x.val[1]), vget_low_f32(y.val[1])));
    vst1q_f32(dst + 2 * K_GROUP, vcombine_f32(vget_high_f32(x.val[0]), vget_high_f32(y.val[0])));
    vst1q_f32(dst + 3 * K_GROUP, vcombine_f32(vget_high_f32(x.val[1]), vget_high_f32(y.val[1])));
}

static void pack_group_neon(const float *const *k, const float *const *v, int n, int dim, int dim_pad,
                            void *kdst, void *vdst)
{
    if (dim % 4) {
        attn_pack_group_c(k, v, n, dim, dim_pad, kdst, vdst);
        return;
    }
    float *kt = kdst, *vt = vdst;
    for (int d = 0; d < dim; d += 4)
        for (int i = 0; i < K_GROUP; i += 4) transpose4(k + i, n - i, d, kt + d * K_GROUP + i);
    memset(kt + dim * K_GROUP, 0, (size_t)(dim_pad - dim) * K_GROUP * sizeof *kt);
    for (int i = 0; i < K_GROUP; i++, vt += dim_pad) {
        size_t have = i < n ? (size_t)dim : 0;
        if (have) memcpy(vt, v[i], have * sizeof *vt);
        memset(vt + have, 0, ((size_t)dim_pad - have) * sizeof *vt);
    }
}

const struct k_attn attn_neon = {
    .name = "f32 neon",
    .elem = 4,
    .pack_q = attn_pack_q_c,
    .pack_group = pack_group_neon,
    .step = attn_step_neon,
    .finish = attn_finish_c,
};
