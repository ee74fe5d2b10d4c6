/* Decode attention over stored keys and values, AVX2: the query heads of a group share one pass.
 *
 * Scores go four keys at a time: each key is widened to f32 once and meets every head's query; four sums of
 * eight lanes become four numbers by three horizontal adds. Values go key by key: widened once, added to
 * every head's output with that head's weight. Both passes run at the speed of memory for groups of four
 * heads. */
#include "avx2.h"
#include "levels.h"

enum { HEADS = 4 };   /* heads that share a pass */

INLINE __m256 load_f32(const void *base, size_t i) { return _mm256_loadu_ps((const float *)base + i); }
INLINE __m256 load_f16(const void *base, size_t i)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)base + i)));
}
INLINE __m256 load_bf16(const void *base, size_t i)
{
    __m128i h = _mm_loadu_si128((const __m128i *)((const uint16_t *)base + i));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

typedef __m256 (*load_fn)(const void *base, size_t i);

/* Four sums of eight lanes: the totals in four lanes. */
INLINE __m128 sum4(const __m256 *s)
{
    __m256 a = _mm256_hadd_ps(s[0], s[1]), b = _mm256_hadd_ps(s[2], s[3]), c = _mm256_hadd_ps(a, b);
    return _mm_add_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps(c, 1));
}

/* scores of keys 0 .. n-1 for H heads: out[h][stride] */
INLINE void scores(const float *q, int H, const void *k, int dim, int n, float scale, float *out,
                   size_t stride, load_fn load)
{
    const __m128 z = _mm_set1_ps(scale);
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        __m256 s[HEADS][4];
        size_t at = (size_t)i * (size_t)dim;
        UNROLL for (int h = 0; h < H; h++)
            UNROLL for (int j = 0; j < 4; j++) s[h][j] = _mm256_setzero_ps();
        for (int d = 0; d < dim; d += 8) {
            UNROLL for (int j = 0; j < 4; j++) {
                __m256 key = load(k, at + (size_t)j * (size_t)dim + (size_t)d);
                UNROLL for (int h = 0; h < H; h++)
                    s[h][j] = _mm256_fmadd_ps(_mm256_loadu_ps(q + (size_t)h * (size_t)dim + d), key, s[h][j]);
            }
        }
        UNROLL for (int h = 0; h < H; h++)
            _mm_storeu_ps(out + (size_t)h * stride + i, _mm_mul_ps(z, sum4(s[h])));
    }
    for (; i < n; i++)
        for (int h = 0; h < H; h++) {
            __m256 s = _mm256_setzero_ps();
            for (int d = 0; d < dim; d += 8)
                s = _mm256_fmadd_ps(_mm256_loadu_ps(q + (size_t)h * (size_t)dim + d),
                                    load(k, (size_t)i * (size_t)dim + (size_t)d), s);
            out[(size_t)h * stride + i] = scale * sum_256(s);
        }
}

/* out[h][dim] += sum over slots of w[h][stride] * v[slot], for H heads, 16 columns at a time */
INLINE void values(const float *w, size_t stride, int H, const void *v, int dim, int n, float *out,
                   load_fn load)
{
    int d = 0;
    for (; d + 16 <= dim; d += 16) {
        __m256 o[HEADS][2];
        UNROLL for (int h = 0; h < H; h++)
            UNROLL for (int c = 0; c < 2; c++) o[h][c] = _mm256_loadu_ps(out + h * dim + d + 8 * c);
        for (int i = 0; i < n; i++) {
            size_t at = (size_t)i * (size_t)dim + (size_t)d;
            __m256 a = load(v, at), b = load(v, at + 8);
            UNROLL for (int h = 0; h < H; h++) {
                __m256 y = _mm256_broadcast_ss(w + (size_t)h * stride + i);
                o[h][0] = _mm256_fmadd_ps(y, a, o[h][0]);
                o[h][1] = _mm256_fmadd_ps(y, b, o[h][1]);
            }
        }
        UNROLL for (int h = 0; h < H; h++)
            UNROLL for (int c = 0; c < 2; c++) _mm256_storeu_ps(out + h * dim + d + 8 * c, o[h][c]);
    }
    for (; d < dim; d += 8)
        for (int h = 0; h < H; h++) {
            __m256 o = _mm256_loadu_ps(out + h * dim + d);
            for (int i = 0; i < n; i++)
                o = _mm256_fmadd_ps(_mm256_broadcast_ss(w + (size_t)h * stride + i),
                                    load(v, (size_t)i * (size_t)dim + (size_t)d), o);
            _mm256_storeu_ps(out + h * dim + d, o);
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
    void k_score_##T##_avx2(const float *q, const C *k, int dim, int n, float scale, float *out)             \
    {                                                                                                        \
        if (dim % 8)                                                                                         \
            score_##T##_c(q, k, dim, n, scale, out);                                                         \
        else                                                                                                 \
            scores(q, 1, k, dim, n, scale, out, 0, load_##T);                                                \
    }
DEFINE_TYPE(f32, float)
DEFINE_TYPE(f16, uint16_t)
DEFINE_TYPE(bf16, uint16_t)

void k_scores_avx2(enum k_type type, const float *q, int heads, const void *k, int dim, int n, float scale,
                   float *out, size_t stride)
{
    if (dim % 8) scores_c(type, q, heads, k, dim, n, scale, out, stride);
    else if (type == K_F32) scores_f32(q, heads, k, dim, n, scale, out, stride);
    else if (type == K_F16) scores_f16(q, heads, k, dim, n, scale, out, stride);
    else scores_bf16(q, heads, k, dim, n, scale, out, stride);
}

void k_values_avx2(enum k_type type, const float *w, size_t stride, int heads, const void *v, int dim, int n,
                   float *out)
{
    if (dim % 8) values_c(type, w, stride, heads, v, dim, n, out);
    else if (type == K_F32) values_f32(w, stride, heads, v, dim, n, out);
    else if (type == K_F16) values_f16(w, stride, heads, v, dim, n, out);
    else values_bf16(w, stride, heads, v, dim, n, out);
}
