/* Decode attention over stored keys and values, AVX-512: the query heads of a group share one pass.
 *
 * Scores: sixteen sums of sixteen lanes are kept at once, heads times keys, so that each key is widened to
 * f32 once for all heads and each query chunk is loaded once for all keys; a tree of interleaving adds turns
 * the sixteen vectors into one vector of sums. Values: 64 columns of every head stay in registers while the
 * keys pass by. Both passes do little enough for a key that memory decides, so they ask for the lines of
 * coming keys themselves. */
#include "attn512.h"
#include "levels.h"

enum { SUMS = 16, WIDTH = 16, AHEAD = 8192 /* bytes */ };

INLINE __m512 load_f32(const void *base, size_t i) { return _mm512_loadu_ps((const float *)base + i); }
INLINE __m512 load_f16(const void *base, size_t i)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)((const uint16_t *)base + i)));
}
INLINE __m512 load_bf16(const void *base, size_t i)
{
    __m256i h = _mm256_loadu_si256((const __m256i *)((const uint16_t *)base + i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

typedef __m512 (*load_fn)(const void *base, size_t i);

/* Into the second-level cache: the first can wait for no more than some 24 lines, which at the 180 ns that
 * memory takes are 9 GB/s. */
INLINE void fetch(const void *base, size_t from, size_t bytes)
{
    for (size_t b = 0; b < bytes; b += 64) _mm_prefetch((const char *)base + from + b, _MM_HINT_T1);
}

/* The totals of 16 vectors as the lanes of one. */
INLINE __m512 sums_512(__m512 *s)
{
    UNROLL for (int i = 0; i < 8; i++)
        s[i] = _mm512_add_ps(_mm512_unpacklo_ps(s[2 * i], s[2 * i + 1]),
                             _mm512_unpackhi_ps(s[2 * i], s[2 * i + 1]));
    UNROLL for (int i = 0; i < 4; i++) {
        __m512d a = _mm512_castps_pd(s[2 * i]), b = _mm512_castps_pd(s[2 * i + 1]);
        s[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    UNROLL for (int i = 0; i < 2; i++)
        s[i] = _mm512_add_ps(_mm512_shuffle_f32x4(s[2 * i], s[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(s[2 * i], s[2 * i + 1], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(s[0], s[1], 0x88), _mm512_shuffle_f32x4(s[0], s[1], 0xdd));
}

/* J sums of head h, which lie in lanes h*J .. */
INLINE void store_sums(float *out, __m512 s, int J, int h)
{
    if (J == 16) _mm512_storeu_ps(out, s);
    else if (J == 8)
        _mm256_storeu_ps(out, h ? _mm512_extractf32x8_ps(s, 1) : _mm512_castps512_ps256(s));
    else if (h == 0) _mm_storeu_ps(out, _mm512_castps512_ps128(s));
    else if (h == 1) _mm_storeu_ps(out, _mm512_extractf32x4_ps(s, 1));
    else if (h == 2) _mm_storeu_ps(out, _mm512_extractf32x4_ps(s, 2));
    else _mm_storeu_ps(out, _mm512_extractf32x4_ps(s, 3));
}

/* Scores of J keys from k + at for H heads; H*J is at most SUMS. */
INLINE __m512 score_keys(const float *q, int H, int J, const void *k, size_t at, int dim, load_fn load)
{
    __m512 s[SUMS];
    UNROLL for (int i = 0; i < SUMS; i++) s[i] = _mm512_setzero_ps();
    for (int d = 0; d < dim; d += WIDTH)
        UNROLL for (int j = 0; j < J; j++) {
            __m512 key = load(k, at + (size_t)(j * dim + d));
            UNROLL for (int h = 0; h < H; h++)
                s[h * J + j] = _mm512_fmadd_ps(_mm512_loadu_ps(q + h * dim + d), key, s[h * J + j]);
        }
    return sums_512(s);
}

INLINE void scores(const float *q, int H, int J, const void *k, int dim, int n, float scale, float *out,
                   size_t stride, size_t size, load_fn load)
{
    const __m512 z = _mm512_set1_ps(scale);
    size_t row = (size_t)dim * size, turn = (size_t)J * row, end = (size_t)n * row;
    int i = 0;
    for (; i + J <= n; i += J) {
        size_t at = (size_t)i * row;
        if (at + AHEAD + turn <= end) fetch(k, at + AHEAD, turn);
        __m512 s = _mm512_mul_ps(z, score_keys(q, H, J, k, (size_t)i * (size_t)dim, dim, load));
        UNROLL for (int h = 0; h < H; h++) store_sums(out + (size_t)h * stride + i, s, J, h);
    }
    for (; i < n; i++) {
        __m512 s[SUMS];
        UNROLL for (int h = 0; h < SUMS; h++) s[h] = _mm512_setzero_ps();
        for (int d = 0; d < dim; d += WIDTH) {
            __m512 key = load(k, (size_t)i * (size_t)dim + (size_t)d);
            UNROLL for (int h = 0; h < H; h++)
                s[h] = _mm512_fmadd_ps(_mm512_loadu_ps(q + h * dim + d), key, s[h]);
        }
        float sum[SUMS];
        _mm512_storeu_ps(sum, _mm512_mul_ps(z, sums_512(s)));
        for (int h = 0; h < H; h++) out[(size_t)h * stride + i] = sum[h];
    }
}

/* out[h][0 .. 16*C-1] += sum over keys of w[h][stride] * v[key], columns of H heads; v and out stand at the
 * first column. */
INLINE void value_columns(const float *w, size_t stride, int H, int C, const void *v, size_t col, int dim,
                          int n, float *out, size_t size, load_fn load)
{
    __m512 o[4][4];
    size_t row = (size_t)dim * size, ahead = AHEAD / row;
    UNROLL for (int h = 0; h < H; h++)
        UNROLL for (int c = 0; c < C; c++) o[h][c] = _mm512_loadu_ps(out + h * dim + c * WIDTH);
    for (int i = 0; i < n; i++) {
        size_t at = (size_t)i * (size_t)dim + col;
        if ((size_t)i + ahead < (size_t)n)
            fetch(v, ((size_t)i + ahead) * row + col * size, (size_t)(C * WIDTH) * size);
        UNROLL for (int c = 0; c < C; c++) {
            __m512 x = load(v, at + (size_t)(c * WIDTH));
            UNROLL for (int h = 0; h < H; h++)
                o[h][c] = _mm512_fmadd_ps(_mm512_set1_ps(w[(size_t)h * stride + (size_t)i]), x, o[h][c]);
        }
    }
    UNROLL for (int h = 0; h < H; h++)
        UNROLL for (int c = 0; c < C; c++) _mm512_storeu_ps(out + h * dim + c * WIDTH, o[h][c]);
}

INLINE void values(const float *w, size_t stride, int H, const void *v, int dim, int n, float *out,
                   size_t size, load_fn load)
{
    int d = 0;
    for (; d + 4 * WIDTH <= dim; d += 4 * WIDTH)
        value_columns(w, stride, H, 4, v, (size_t)d, dim, n, out + d, size, load);
    if (d + 2 * WIDTH <= dim) {
        value_columns(w, stride, H, 2, v, (size_t)d, dim, n, out + d, size, load);
        d += 2 * WIDTH;
    }
    if (d < dim) value_columns(w, stride, H, 1, v, (size_t)d, dim, n, out + d, size, load);
}

#define DEFINE_TYPE(T, C)                                                                                    \
    static void scores_##T(const float *q, int heads, const void *k, int dim, int n, float scale,            \
                           float *out, size_t stride)                                                        \
    {                                                                                                        \
        for (; heads >= 4; heads -= 4, q += 4 * dim, out += 4 * stride)                                      \
            scores(q, 4, 4, k, dim, n, scale, out, stride, sizeof(C), load_##T);                             \
        if (heads == 3) scores(q, 3, 4, k, dim, n, scale, out, stride, sizeof(C), load_##T);                 \
        if (heads == 2) scores(q, 2, 8, k, dim, n, scale, out, stride, sizeof(C), load_##T);                 \
        if (heads == 1) scores(q, 1, 16, k, dim, n, scale, out, stride, sizeof(C), load_##T);                \
    }                                                                                                        \
    static void values_##T(const float *w, size_t stride, int heads, const void *v, int dim, int n,          \
                           float *out)                                                                       \
    {                                                                                                        \
        for (; heads >= 4; heads -= 4, w += 4 * stride, out += 4 * dim)                                      \
            values(w, stride, 4, v, dim, n, out, sizeof(C), load_##T);                                       \
        if (heads == 3) values(w, stride, 3, v, dim, n, out, sizeof(C), load_##T);                           \
        if (heads == 2) values(w, stride, 2, v, dim, n, out, sizeof(C), load_##T);                           \
        if (heads == 1) values(w, stride, 1, v, dim, n, out, sizeof(C), load_##T);                           \
    }                                                                                                        \
    void k_score_##T##_avx512(const float *q, const C *k, int dim, int n, float scale, float *out)           \
    {                                                                                                        \
        if (dim % WIDTH) k_score_##T##_avx2(q, k, dim, n, scale, out);                                       \
        else scores_##T(q, 1, k, dim, n, scale, out, 0);                                                     \
    }
DEFINE_TYPE(f32, float)
DEFINE_TYPE(f16, uint16_t)
DEFINE_TYPE(bf16, uint16_t)

void k_scores_avx512(enum k_type type, const float *q, int heads, const void *k, int dim, int n, float scale,
                     float *out, size_t stride)
{
    if (dim % WIDTH) k_scores_avx2(type, q, heads, k, dim, n, scale, out, stride);
    else if (type == K_F32) scores_f32(q, heads, k, dim, n, scale, out, stride);
    else if (type == K_F16) scores_f16(q, heads, k, dim, n, scale, out, stride);
    else scores_bf16(q, heads, k, dim, n, scale, out, stride);
}

void k_values_avx512(enum k_type type, const float *w, size_t stride, int heads, const void *v, int dim,
                     int n, float *out)
{
    if (dim % WIDTH) k_values_avx2(type, w, stride, heads, v, dim, n, out);
    else if (type == K_F32) values_f32(w, stride, heads, v, dim, n, out);
    else if (type == K_F16) values_f16(w, stride, heads, v, dim, n, out);
    else values_bf16(w, stride, heads, v, dim, n, out);
}

/* ---- the softmax between them ---- */

INLINE __mmask16 first_lanes(int n) { return (__mmask16)(n >= WIDTH ? 0xffff : (1u << n) - 1); }

float k_exp_sum_avx512(float *x, int n, float max)
{
    const __m512 l2e = _mm512_set1_ps(1.44269504f), m = _mm512_set1_ps(max);
    __m512 sum = _mm512_setzero_ps();
    for (int i = 0; i < n; i += WIDTH) {
        __mmask16 in = first_lanes(n - i);
        __m512 e = exp2_512(_mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(in, x + i), m), l2e));
        _mm512_mask_storeu_ps(x + i, in, e);
        sum = _mm512_mask_add_ps(sum, in, sum, e);
    }
    return _mm512_reduce_add_ps(sum);
}

float k_max_avx512(const float *x, int n)
{
    __m512 m[2] = { _mm512_set1_ps(-INFINITY), _mm512_set1_ps(-INFINITY) };
    int i = 0;
    for (; i + 2 * WIDTH <= n; i += 2 * WIDTH)
        UNROLL for (int j = 0; j < 2; j++) m[j] = _mm512_max_ps(m[j], _mm512_loadu_ps(x + i + j * WIDTH));
    for (; i < n; i += WIDTH) {
        __mmask16 in = first_lanes(n - i);
        m[0] = _mm512_mask_max_ps(m[0], in, m[0], _mm512_maskz_loadu_ps(in, x + i));
    }
    return _mm512_reduce_max_ps(_mm512_max_ps(m[0], m[1]));
}

int k_readers_avx512(const uint8_t *reader, int n, int *idx, uint8_t *kept)
{
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int k = 0, i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {   /* stores what lies behind the k found, never past i + 16 */
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(reader + i));
        __mmask16 on = _mm_test_epi8_mask(v, v);
        __m512i some = _mm512_maskz_compress_epi32(on, _mm512_cvtepu8_epi32(v));
        _mm512_storeu_si512(idx + k, _mm512_maskz_compress_epi32(on, at));
        _mm_storeu_si128((__m128i *)(void *)(kept + k), _mm512_cvtepi32_epi8(some));
        k += __builtin_popcount(on);
        at = _mm512_add_epi32(at, _mm512_set1_epi32(WIDTH));
    }
    for (; i < n; i++)
        if (reader[i]) {
            idx[k] = i;
            kept[k++] = reader[i];
        }
    return k;
}

void k_keep_avx512(float *x, int n, const uint8_t *reader, unsigned bit)
{
    const __m512 none = _mm512_set1_ps(-INFINITY);
    const __m128i one = _mm_set1_epi8((char)bit);
    for (int i = 0; i < n; i += WIDTH) {
        __mmask16 in = first_lanes(n - i);
        __mmask16 off = _mm_mask_testn_epi8_mask(in, _mm_maskz_loadu_epi8(in, reader + i), one);
        _mm512_mask_storeu_ps(x + i, off, none);
    }
}

int k_above_avx512(const float *x, int n, float t, int *idx)
{
    const __m512 least = _mm512_set1_ps(t);
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int k = 0, i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {   /* stores what lies behind the k found, never past i + 16 */
        __mmask16 on = _mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), least, _CMP_GT_OQ);
        _mm512_storeu_si512(idx + k, _mm512_maskz_compress_epi32(on, at));
        k += __builtin_popcount(on);
        at = _mm512_add_epi32(at, _mm512_set1_epi32(WIDTH));
    }
    for (; i < n; i++)
        if (x[i] > t) idx[k++] = i;
    return k;
}
