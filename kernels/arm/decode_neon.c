/* Decode attention over stored keys and values, NEON: the query heads of a group share one pass.
 *
 * Scores go four keys at a time: each key is widened to f32 once and meets every head's query; pairwise adds
 * turn four sums of four lanes into four numbers. Values go key by key: widened once, added to every head's
 * output with that head's weight. */
#include "neon.h"
#include "levels.h"

enum { HEADS = 4 }; /* heads that share a pass: 16 sums, half of the registers */

INLINE float32x4_t load_f32(const void *base, size_t i) { return vld1q_f32((const float *)base + i); }
INLINE float32x4_t load_f16(const void *base, size_t i)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)base + i)));
}
INLINE float32x4_t load_bf16(const void *base, size_t i)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((const uint16_t *)base + i), 16));
}

typedef float32x4_t (*load_fn)(const void *base, size_t i);

/* scores of keys 0 .. n-1 for H heads: out[h][stride] */
INLINE void scores(const float *q, int H, const void *k, int dim, int n, float scale, float *out,
                   size_t stride, load_fn load)
{
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t s[HEADS][4];
        size_t at = (size_t)i * (size_t)dim;
        UNROLL for (int h = 0; h < H; h++)
            UNROLL for (int j = 0; j < 4; j++) s[h][j] = vdupq_n_f32(0.0f);
        for (int d = 0; d < dim; d += 4) {
            float32x4_t y[HEADS];
            UNROLL for (int h = 0; h < H; h++) y[h] = vld1q_f32(q + (size_t)h * (size_t)dim + d);
            UNROLL for (int j = 0; j < 4; j++) {
                float32x4_t key = load(k, at + (size_t)j * (size_t)dim + (size_t)d);
                UNROLL for (int h = 0; h < H; h++) s[h][j] = vfmaq_f32(s[h][j], y[h], key);
            }
        }
        UNROLL for (int h = 0; h < H; h++) {
            float32x4_t sum = vpaddq_f32(vpaddq_f32(s[h][0], s[h][1]), vpaddq_f32(s[h][2], s[h][3]));
            vst1q_f32(out + (size_t)h * stride + i, vmulq_n_f32(sum, scale));
        }
    }
    for (; i < n; i++)
        for (int h = 0; h < H; h++) {
            float32x4_t s = vdupq_n_f32(0.0f);
            for (int d = 0; d < dim; d += 4)
                s = vfmaq_f32(s, vld1q_f32(q + (size_t)h * (size_t)dim + d),
                              load(k, (size_t)i * (size_t)dim + (size_t)d));
            out[(size_t)h * stride + i] = scale * vaddvq_f32(s);
        }
}

/* out[h][dim] += sum over slots of w[h][stride] * v[slot], for H heads, 16 columns at a time */
INLINE void values(const float *w, size_t stride, int H, const void *v, int dim, int n, float *out,
                   load_fn load)
{
    int d = 0;
    for (; d + 16 <= dim; d += 16) {
        float32x4_t o[HEADS][4];
        UNROLL for (int h = 0; h < H; h++)
            UNROLL for (int c = 0; c < 4; c++) o[h][c] = vld1q_f32(out + h * dim + d + 4 * c);
        for (int i = 0; i < n; i++) {
            size_t at = (size_t)i * (size_t)dim + (size_t)d;
            float32x4_t a[4];
            UNROLL for (int c = 0; c < 4; c++) a[c] = load(v, at + 4 * (size_t)c);
            UNROLL for (int h = 0; h < H; h++)
                UNROLL for (int c = 0; c < 4; c++)
                    o[h][c] = vfmaq_n_f32(o[h][c], a[c], w[(size_t)h * stride + (size_t)i]);
        }
        UNROLL for (int h = 0; h < H; h++)
            UNROLL for (int c = 0; c < 4; c++) vst1q_f32(out + h * dim + d + 4 * c, o[h][c]);
    }
    for (; d < dim; d += 4)
        for (int h = 0; h < H; h++) {
            float32x4_t o = vld1q_f32(out + h * dim + d);
            for (int i = 0; i < n; i++)
                o = vfmaq_n_f32(o, load(v, (size_t)i * (size_t)dim + (size_t)d),
                                w[(size_t)h * stride + (size_t)i]);
            vst1q_f32(out + h * dim + d, o);
        }
}

#define DEFINE_TYPE(T, C)                                                                                    \
    static void scores_##T(const float *q, int heads, const void *k, int dim, int n, float scale,            \
                           float *out, size_t stride)                                                        \
    {                                                                                                        \
        for (; heads >= 4; heads -= 4, q += 4 * dim, out += 4 * stride)                                      \
            scores(q, 4, k, dim, n, scale, out, stride, load_##T);                                           \
        if (heads >= 2) {                                                                                    \
            scores(q, 2, k, dim, n, scale, out, stride, load_##T);                                           \
            heads -= 2, q += 2 * dim, out += 2 * stride;                                                     \
        }                                                                                                    \
        if (heads) scores(q, 1, k, dim, n, scale, out, stride, load_##T);                                    \
    }                                                                                                        \
    static void values_##T(const float *w, size_t stride, int heads, const void *v, int dim, int n,          \
                           float *out)                                                                       \
    {                                                                                                        \
        for (; heads >= 4; heads -= 4, w += 4 * stride, out += 4 * dim)                                      \
            values(w, stride, 4, v, dim, n, out, load_##T);                                                  \
        if (heads >= 2) {                                                                                    \
            values(w, stride, 2, v, dim, n, out, load_##T);                                                  \
            heads -= 2, w += 2 * stride, out += 2 * dim;                                                     \
        }                                                                                                    \
        if (heads) values(w, stride, 1, v, dim, n, out, load_##T);                                           \
    }                                                                                                        \
    void k_score_##T##_neon(const float *q, const C *k, int dim, int n, float scale, float *out)             \
    {                                                                                                        \
        if (dim % 4)                                                                                         \
            score_##T##_c(q, k, dim, n, scale, out);                                                         \
        else                                                                                                 \
            scores(q, 1, k, dim, n, scale, out, 0, load_##T);                                                \
    }
DEFINE_TYPE(f32, float)
DEFINE_TYPE(f16, uint16_t)
DEFINE_TYPE(bf16, uint16_t)

void k_scores_neon(enum k_type type, const float *q, int heads, const void *k, int dim, int n, float scale,
                   float *out, size_t stride)
{
    if (dim % 4) scores_c(type, q, heads, k, dim, n, scale, out, stride);
    else if (type == K_F32) scores_f32(q, heads, k, dim, n, scale, out, stride);
    else if (type == K_F16) scores_f16(q, heads, k, dim, n, scale, out, stride);
    else scores_bf16(q, heads, k, dim, n, scale, out, stride);
}

void k_values_neon(enum k_type type, const float *w, size_t stride, int heads, const void *v, int dim, int n,
                   float *out)
{
    if (dim % 4) values_c(type, w, stride, heads, v, dim, n, out);
    else if (type == K_F32) values_f32(w, stride, heads, v, dim, n, out);
    else if (type == K_F16) values_f16(w, stride, heads, v, dim, n, out);
    else values_bf16(w, stride, heads, v, dim, n, out);
}
