/* Decode attention over stored keys and values, AVX2: the query heads of a group share one pass.
 *
 * Scores: eight sums of eight lanes are kept at once, heads times keys, so that each key is widened to f32
 * once for all heads; a tree of interleaving adds turns the eight vectors into one vector of sums. More sums
 * would leave no registers for keys and queries, fewer would wait for each other. Values: eight vectors of
 * outputs stay in registers while BLOCK keys pass by, which then lie in the first-level cache for the columns
 * and heads that follow. Both do little enough for a key that memory decides, so they ask for the lines of
 * coming keys themselves. */
#include "avx2.h"
#include "levels.h"

enum { SUMS = 8, WIDTH = 8, BLOCK = 16 /* keys */, AHEAD = 8192 /* bytes */ };

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

/* Into the second-level cache: the first can wait for no more than some 24 lines, which at the 180 ns that
 * memory takes are 9 GB/s. */
INLINE void fetch(const void *base, size_t from, size_t bytes)
{
    for (size_t b = 0; b < bytes; b += 64) _mm_prefetch((const char *)base + from + b, _MM_HINT_T1);
}

/* The totals of 8 vectors as the lanes of one. */
INLINE __m256 sums_256(__m256 *s)
{
    UNROLL for (int i = 0; i < 4; i++)
        s[i] = _mm256_add_ps(_mm256_unpacklo_ps(s[2 * i], s[2 * i + 1]),
                             _mm256_unpackhi_ps(s[2 * i], s[2 * i + 1]));
    UNROLL for (int i = 0; i < 2; i++) {
        __m256d a = _mm256_castps_pd(s[2 * i]), b = _mm256_castps_pd(s[2 * i + 1]);
        s[i] = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)),
                             _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
    }
    return _mm256_add_ps(_mm256_permute2f128_ps(s[0], s[1], 0x20), _mm256_permute2f128_ps(s[0], s[1], 0x31));
}

/* J sums of head h, which lie in lanes h*J .. */
INLINE void store_sums(float *out, __m256 s, int J, int h)
{
    __m128 half = h * J < 4 ? _mm256_castps256_ps128(s) : _mm256_extractf128_ps(s, 1);
    if (J == 8) _mm256_storeu_ps(out, s);
    else if (J == 4) _mm_storeu_ps(out, half);
    else if (h * J % 4 == 0) _mm_storel_pi((__m64 *)out, half);
    else _mm_storeh_pi((__m64 *)out, half);
}

/* Scores of J keys from k + at for H heads; H*J is at most SUMS. */
INLINE __m256 score_keys(const float *q, int H, int J, const void *k, size_t at, int dim, load_fn load)
{
    __m256 s[SUMS];
    UNROLL for (int i = 0; i < SUMS; i++) s[i] = _mm256_setzero_ps();
    _Pragma("GCC unroll 2") for (int d = 0; d < dim; d += WIDTH)
        UNROLL for (int j = 0; j < J; j++) {
            __m256 key = load(k, at + (size_t)(j * dim + d));
            UNROLL for (int h = 0; h < H; h++)
                s[h * J + j] = _mm256_fmadd_ps(_mm256_loadu_ps(q + h * dim + d), key, s[h * J + j]);
        }
    return sums_256(s);
}

/* n keys; those AHEAD bytes on are asked for while they are before `end`, counted from k. */
INLINE void scores(const float *q, int H, int J, const void *k, int dim, int n, float scale, float *out,
                   size_t stride, size_t size, load_fn load, size_t end)
{
    const __m256 z = _mm256_set1_ps(scale);
    size_t row = (size_t)dim * size, turn = (size_t)J * row, ahead = turn > AHEAD ? turn : AHEAD;
    int i = 0;
    for (; i + J <= n; i += J) {
        size_t at = (size_t)i * row;
        if (at + ahead + turn <= end) fetch(k, at + ahead, turn);
        __m256 s = _mm256_mul_ps(z, score_keys(q, H, J, k, (size_t)i * (size_t)dim, dim, load));
        UNROLL for (int h = 0; h < H; h++) store_sums(out + (size_t)h * stride + i, s, J, h);
    }
    for (; i < n; i++) {
        float sum[SUMS];
        _mm256_storeu_ps(sum,
                         _mm256_mul_ps(z, score_keys(q, H, 1, k, (size_t)i * (size_t)dim, dim, load)));
        for (int h = 0; h < H; h++) out[(size_t)h * stride + i] = sum[h];
    }
}

/* out[h][0 .. 8*C-1] += sum over keys of w[h][stride] * v[key], columns of H heads; v and out stand at the
 * first column. ask: the rows AHEAD bytes on are asked for as well, while they are before `end`. */
INLINE void value_columns(const float *w, size_t stride, int H, int C, const void *v, size_t col, int dim,
                          int n, float *out, size_t size, load_fn load, bool ask, size_t end)
{
    __m256 o[4][8];
    size_t row = (size_t)dim * size;
    UNROLL for (int h = 0; h < H; h++)
        UNROLL for (int c = 0; c < C; c++) o[h][c] = _mm256_loadu_ps(out + h * dim + c * WIDTH);
    _Pragma("GCC unroll 2") for (int i = 0; i < n; i++)
    {
        size_t at = (size_t)i * (size_t)dim + col;
        if (ask && (size_t)i * row + AHEAD + row <= end) fetch(v, (size_t)i * row + AHEAD, row);
        UNROLL for (int c = 0; c < C; c++) {
            __m256 x = load(v, at + (size_t)(c * WIDTH));
            UNROLL for (int h = 0; h < H; h++)
                o[h][c] = _mm256_fmadd_ps(_mm256_broadcast_ss(w + (size_t)h * stride + i), x, o[h][c]);
        }
    }
    UNROLL for (int h = 0; h < H; h++)
        UNROLL for (int c = 0; c < C; c++) _mm256_storeu_ps(out + h * dim + c * WIDTH, o[h][c]);
}

/* n keys, C columns of vectors at a time, H * C at most SUMS; end 0: nothing is asked for */
INLINE void values(const float *w, size_t stride, int H, int C, const void *v, int dim, int n, float *out,
                   size_t size, load_fn load, size_t end)
{
    int d = 0;
    if (end && dim >= C * WIDTH) {
        value_columns(w, stride, H, C, v, 0, dim, n, out, size, load, true, end);
        d = C * WIDTH;
    }
    for (; d + C * WIDTH <= dim; d += C * WIDTH)
        value_columns(w, stride, H, C, v, (size_t)d, dim, n, out + d, size, load, false, 0);
    for (; d < dim; d += WIDTH)
        value_columns(w, stride, H, 1, v, (size_t)d, dim, n, out + d, size, load, false, 0);
}

#define DEFINE_TYPE(T, C)                                                                                    \
    static void some_scores_##T(const float *q, int heads, const C *k, int dim, int n, float scale,          \
                                float *out, size_t stride, size_t end)                                       \
    {                                                                                                        \
        for (; heads >= 4; heads -= 4, q += 4 * dim, out += 4 * stride, end = 0)                             \
            scores(q, 4, 2, k, dim, n, scale, out, stride, sizeof(C), load_##T, end);                        \
        if (heads == 3) scores(q, 3, 2, k, dim, n, scale, out, stride, sizeof(C), load_##T, end);            \
        if (heads == 2) scores(q, 2, 4, k, dim, n, scale, out, stride, sizeof(C), load_##T, end);            \
        if (heads == 1 && (size_t)dim * sizeof(C) <= 512)                                                    \
            scores(q, 1, 8, k, dim, n, scale, out, stride, sizeof(C), load_##T, end);                        \
        else if (heads == 1) /* rows of weights: two at a time, so that they come as one stream */          \
            scores(q, 1, 2, k, dim, n, scale, out, stride, sizeof(C), load_##T, end);                        \
    }                                                                                                        \
    static void scores_##T(const float *q, int heads, const C *k, int dim, int n, float scale, float *out,   \
                           size_t stride)                                                                    \
    {                                                                                                        \
        int block = heads > 4 ? BLOCK : n;                                                                   \
        size_t row = (size_t)dim * sizeof(C);                                                                \
        for (int i = 0; i < n; i += block)                                                                   \
            some_scores_##T(q, heads, k + (size_t)i * (size_t)dim, dim, n - i < block ? n - i : block,       \
                            scale, out + i, stride, (size_t)(n - i) * row);                                  \
    }                                                                                                        \
    static void some_values_##T(const float *w, size_t stride, int heads, const C *v, int dim, int n,        \
                                float *out, size_t end)                                                      \
    {                                                                                                        \
        for (; heads >= 4; heads -= 4, w += 4 * stride, out += 4 * dim, end = 0)                             \
            values(w, stride, 4, 2, v, dim, n, out, sizeof(C), load_##T, end);                               \
        if (heads == 3) values(w, stride, 3, 2, v, dim, n, out, sizeof(C), load_##T, end);                   \
        if (heads == 2) values(w, stride, 2, 4, v, dim, n, out, sizeof(C), load_##T, end);                   \
        if (heads == 1) values(w, stride, 1, 8, v, dim, n, out, sizeof(C), load_##T, end);                   \
    }                                                                                                        \
    static void values_##T(const float *w, size_t stride, int heads, const C *v, int dim, int n, float *out) \
    {                                                                                                        \
        size_t row = (size_t)dim * sizeof(C);                                                                \
        for (int i = 0; i < n; i += BLOCK)                                                                   \
            some_values_##T(w + i, stride, heads, v + (size_t)i * (size_t)dim, dim,                          \
                            n - i < BLOCK ? n - i : BLOCK, out, (size_t)(n - i) * row);                      \
    }                                                                                                        \
    void k_score_##T##_avx2(const float *q, const C *k, int dim, int n, float scale, float *out)             \
    {                                                                                                        \
        if (dim % 8)                                                                                         \
            score_##T##_c(q, k, dim, n, scale, out);                                                         \
        else                                                                                                 \
            scores_##T(q, 1, k, dim, n, scale, out, 0);                                                      \
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
