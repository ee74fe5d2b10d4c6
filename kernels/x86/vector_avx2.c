/* Operations on f32 vectors, AVX2: norms, activations, sums, maxima, page bounds and conversions.
 *
 * Tails are loaded under a mask; lanes beyond the end hold zero and are never stored. */
#include "avx2.h"
#include "levels.h"

#include <math.h>
#include <string.h>

INLINE __m256i tail_mask(int n)
{
    static const int32_t on[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    return _mm256_loadu_si256((const __m256i *)(on + 8 - n));
}

INLINE __m256 load_tail(const float *x, int n) { return _mm256_maskload_ps(x, tail_mask(n)); }

float k_dot_avx2(const float *a, const float *b, int n)
{
    __m256 s[4];
    UNROLL for (int j = 0; j < 4; j++) s[j] = _mm256_setzero_ps();
    int i = 0;
    for (; i + 32 <= n; i += 32)
        UNROLL for (int j = 0; j < 4; j++)
            s[j] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8 * j), _mm256_loadu_ps(b + i + 8 * j), s[j]);
    for (; i + 8 <= n; i += 8) s[0] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s[0]);
    if (i < n) s[1] = _mm256_fmadd_ps(load_tail(a + i, n - i), load_tail(b + i, n - i), s[1]);
    return sum_256(_mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])));
}

void k_rms_norm_avx2(const float *x, const float *w, int n, float eps, float *y)
{
    float inv = 1.0f / sqrtf(k_dot_avx2(x, x, n) / (float)n + eps);
    __m256 z = _mm256_set1_ps(inv);
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i,
                         _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), z), _mm256_loadu_ps(w + i)));
    if (i < n) {
        __m256 v = _mm256_mul_ps(_mm256_mul_ps(load_tail(x + i, n - i), z), load_tail(w + i, n - i));
        _mm256_maskstore_ps(y + i, tail_mask(n - i), v);
    }
}

INLINE __m256 silu(__m256 g, __m256 u)   /* g / (1 + e^-g): the exponent is kept inside exp2_256's range */
{
    __m256 t = _mm256_min_ps(_mm256_mul_ps(g, _mm256_set1_ps(-1.44269504f)), _mm256_set1_ps(126.0f));
    return _mm256_mul_ps(_mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), exp2_256(t))), u);
}

INLINE __m256 gelu(__m256 g, __m256 u)
{
    const __m256 half = _mm256_set1_ps(0.5f), root = _mm256_set1_ps(0.79788456080286536f);
    __m256 g3 = _mm256_mul_ps(_mm256_mul_ps(g, g), g);
    __m256 t = tanh_256(_mm256_mul_ps(root, _mm256_fmadd_ps(g3, _mm256_set1_ps(0.044715f), g)));
    return _mm256_mul_ps(_mm256_mul_ps(_mm256_mul_ps(half, g), _mm256_add_ps(_mm256_set1_ps(1.0f), t)), u);
}

#define DEFINE_PAIR(NAME, F)                                                                                 \
    void NAME(const float *gate, const float *up, int n, float *y)                                           \
    {                                                                                                        \
        int i = 0;                                                                                           \
        for (; i + 8 <= n; i += 8)                                                                           \
            _mm256_storeu_ps(y + i, F(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));                  \
        if (i < n)                                                                                           \
            _mm256_maskstore_ps(y + i, tail_mask(n - i),                                                     \
                                F(load_tail(gate + i, n - i), load_tail(up + i, n - i)));                    \
    }
DEFINE_PAIR(k_silu_mul_avx2, silu)
DEFINE_PAIR(k_gelu_mul_avx2, gelu)

void k_add_avx2(float *y, const float *x, int n)
{
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    for (; i < n; i++) y[i] += x[i];
}

void k_rotate_avx2(const float *cos, const float *sin, int half, float *x)
{
    int i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + half + i), c = _mm256_loadu_ps(cos + i),
               s = _mm256_loadu_ps(sin + i);
        _mm256_storeu_ps(x + i, _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x + half + i, _mm256_add_ps(_mm256_mul_ps(a, s), _mm256_mul_ps(b, c)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = a * cos[i] - b * sin[i];
        x[half + i] = a * sin[i] + b * cos[i];
    }
}

void k_add_rows_avx2(float *y, const float *x, size_t ldx, const float *w, int rows, int n)
{
    int i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256 s[4];
        UNROLL for (int j = 0; j < 4; j++) s[j] = _mm256_loadu_ps(y + i + 8 * j);
        const float *at = x + i;
        for (int r = 0; r < rows; r++, at += ldx) {
            __m256 f = _mm256_set1_ps(w[r]);
            UNROLL for (int j = 0; j < 4; j++) s[j] = _mm256_fmadd_ps(f, _mm256_loadu_ps(at + 8 * j), s[j]);
        }
        UNROLL for (int j = 0; j < 4; j++) _mm256_storeu_ps(y + i + 8 * j, s[j]);
    }
    add_rows_c(y + i, x + i, ldx, w, rows, n - i);
}

float k_exp_sum_avx2(float *x, int n, float max)
{
    const __m256 l2e = _mm256_set1_ps(1.44269504f), m = _mm256_set1_ps(max);
    __m256 sum = _mm256_setzero_ps();
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 e = exp2_256(_mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x + i), m), l2e));
        _mm256_storeu_ps(x + i, e);
        sum = _mm256_add_ps(sum, e);
    }
    if (i < n) {
        __m256 e = exp2_256(_mm256_mul_ps(_mm256_sub_ps(load_tail(x + i, n - i), m), l2e));
        e = _mm256_and_ps(e, _mm256_castsi256_ps(tail_mask(n - i)));
        _mm256_maskstore_ps(x + i, tail_mask(n - i), e);
        sum = _mm256_add_ps(sum, e);
    }
    return sum_256(sum);
}

float k_max_avx2(const float *x, int n)
{
    if (n < 8) return max_c(x, n);
    __m256 m = _mm256_loadu_ps(x);
    for (int i = 8; i + 8 <= n; i += 8) m = _mm256_max_ps(m, _mm256_loadu_ps(x + i));
    m = _mm256_max_ps(m, _mm256_loadu_ps(x + n - 8));   /* the last eight, some of them again */
    return max_256(m);
}

void k_softcap_avx2(float *x, int n, float cap)
{
    const __m256 c = _mm256_set1_ps(cap), inv = _mm256_set1_ps(1.0f / cap);
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_mul_ps(c, tanh_256(_mm256_mul_ps(_mm256_loadu_ps(x + i), inv))));
    if (i < n)
        _mm256_maskstore_ps(x + i, tail_mask(n - i),
                            _mm256_mul_ps(c, tanh_256(_mm256_mul_ps(load_tail(x + i, n - i), inv))));
}

void k_cols_max_avx2(const float *x, size_t ld, int keys, int n, float *top)
{
    for (int r = 0; r < n; r += 16) {
        __m256 a = _mm256_loadu_ps(top + r), b = _mm256_loadu_ps(top + r + 8);
        const float *at = x + r;
        for (int k = 0; k < keys; k++, at += ld) {
            a = _mm256_max_ps(a, _mm256_loadu_ps(at));
            b = _mm256_max_ps(b, _mm256_loadu_ps(at + 8));
        }
        _mm256_storeu_ps(top + r, a);
        _mm256_storeu_ps(top + r + 8, b);
    }
}

void k_cols_exp2_avx2(const float *x, size_t ld, int keys, int n, const float *shift, float *sum)
{
    for (int r = 0; r < n; r += 16) {
        __m256 a = _mm256_loadu_ps(sum + r), b = _mm256_loadu_ps(sum + r + 8);
        __m256 c = _mm256_loadu_ps(shift + r), d = _mm256_loadu_ps(shift + r + 8);
        const float *at = x + r;
        for (int k = 0; k < keys; k++, at += ld) {
            a = _mm256_add_ps(a, exp2_256(_mm256_sub_ps(_mm256_loadu_ps(at), c)));
            b = _mm256_add_ps(b, exp2_256(_mm256_sub_ps(_mm256_loadu_ps(at + 8), d)));
        }
        _mm256_storeu_ps(sum + r, a);
        _mm256_storeu_ps(sum + r + 8, b);
    }
}

/* Of four entries, those whose bit is set, from the first lane on. */
static const int32_t squeeze[16][4] = {
    { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, { 1, 0, 0, 0 }, { 0, 1, 0, 0 },
    { 2, 0, 0, 0 }, { 0, 2, 0, 0 }, { 1, 2, 0, 0 }, { 0, 1, 2, 0 },
    { 3, 0, 0, 0 }, { 0, 3, 0, 0 }, { 1, 3, 0, 0 }, { 0, 1, 3, 0 },
    { 2, 3, 0, 0 }, { 0, 2, 3, 0 }, { 1, 2, 3, 0 }, { 0, 1, 2, 3 }
};

INLINE __m128 squeezed(__m128 v, unsigned on)
{
    return _mm_permutevar_ps(v, _mm_loadu_si128((const __m128i *)(const void *)squeeze[on]));
}

int k_readers_avx2(const uint8_t *reader, int n, int *idx, uint8_t *kept)
{
    const __m128i low = _mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m128i at = _mm_setr_epi32(0, 1, 2, 3);
    int k = 0, i = 0;
    for (; i + 4 <= n; i += 4) {     /* stores what lies behind the k found, never past i + 4 */
        int four;
        memcpy(&four, reader + i, sizeof four);
        __m128i v = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
        __m128i none = _mm_cmpeq_epi32(v, _mm_setzero_si128());
        unsigned on = (unsigned)_mm_movemask_ps(_mm_castsi128_ps(none)) ^ 15;
        _mm_storeu_ps((float *)(void *)(idx + k), squeezed(_mm_castsi128_ps(at), on));
        four = _mm_cvtsi128_si32(
            _mm_shuffle_epi8(_mm_castps_si128(squeezed(_mm_castsi128_ps(v), on)), low));
        memcpy(kept + k, &four, sizeof four);
        k += __builtin_popcount(on);
        at = _mm_add_epi32(at, _mm_set1_epi32(4));
    }
    int more = readers_c(reader + i, n - i, idx + k, kept + k);
    for (int j = 0; j < more; j++) idx[k + j] += i;
    return k + more;
}

void k_keep_avx2(float *x, int n, const uint8_t *reader, unsigned bit)
{
    const __m256i one = _mm256_set1_epi32((int)bit);
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i r = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(reader + i)));
        __m256i off = _mm256_cmpeq_epi32(_mm256_and_si256(r, one), _mm256_setzero_si256());
        _mm256_maskstore_ps(x + i, off, _mm256_set1_ps(-INFINITY));
    }
    keep_c(x + i, n - i, reader + i, bit);
}

int k_above_avx2(const float *x, int n, float t, int *idx)
{
    const __m128 least = _mm_set1_ps(t);
    __m128i at = _mm_setr_epi32(0, 1, 2, 3);
    int k = 0, i = 0;
    for (; i + 4 <= n; i += 4) {     /* stores what lies behind the k found, never past i + 4 */
        unsigned on = (unsigned)_mm_movemask_ps(_mm_cmp_ps(_mm_loadu_ps(x + i), least, _CMP_GT_OQ));
        _mm_storeu_ps((float *)(void *)(idx + k), squeezed(_mm_castsi128_ps(at), on));
        k += __builtin_popcount(on);
        at = _mm_add_epi32(at, _mm_set1_epi32(4));
    }
    for (; i < n; i++)
        if (x[i] > t) idx[k++] = i;
    return k;
}

INLINE int part(const float *x, int n, float t, float *more, float *rest, double *sum, bool sums)
{
    const __m128 least = _mm_set1_ps(t);
    __m256d all = _mm256_setzero_pd();
    int k = 0, i = 0;
    for (; i + 4 <= n; i += 4) {
        __m128 v = _mm_loadu_ps(x + i), is = _mm_cmp_ps(v, least, _CMP_GT_OQ);
        unsigned on = (unsigned)_mm_movemask_ps(is);
        if (sums) all = _mm256_add_pd(all, _mm256_cvtps_pd(_mm_and_ps(is, v)));
        _mm_storeu_ps(more + k, squeezed(v, on));
        _mm_storeu_ps(rest + (i - k), squeezed(v, on ^ 15));
        k += __builtin_popcount(on);
    }
    double last = 0, lane[4];
    k += part_c(x + i, n - i, t, more + k, rest + (i - k), sums ? &last : NULL);
    _mm256_storeu_pd(lane, all);
    if (sums) *sum = last + (lane[0] + lane[1]) + (lane[2] + lane[3]);
    return k;
}

int k_part_avx2(const float *x, int n, float t, float *more, float *rest, double *sum)
{
    return sum ? part(x, n, t, more, rest, sum, true) : part(x, n, t, more, rest, NULL, false);
}

void k_to_f16_avx2(const float *x, int n, uint16_t *y)
{
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(y + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    to_f16_c(x + i, n - i, y + i);
}

void k_from_f16_avx2(const uint16_t *x, int n, float *y)
{
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + i))));
    from_f16_c(x + i, n - i, y + i);
}

void k_to_bf16_avx2(const float *x, int n, uint16_t *y)
{
    int i = 0;
    const __m256i bias = _mm256_set1_epi32(0x7fff), one = _mm256_set1_epi32(1),
                  quiet = _mm256_set1_epi32(0x400000);
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        __m256i u = _mm256_castps_si256(v), even = _mm256_and_si256(_mm256_srli_epi32(u, 16), one);
        __m256i r = _mm256_add_epi32(u, _mm256_add_epi32(bias, even));
        __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
        r = _mm256_srli_epi32(_mm256_blendv_epi8(r, _mm256_or_si256(u, quiet), nan), 16);
        __m128i h = _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
        _mm_storeu_si128((__m128i *)(y + i), h);
    }
    to_bf16_c(x + i, n - i, y + i);
}

void k_from_bf16_avx2(const uint16_t *x, int n, float *y)
{
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i w = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(x + i))), 16);
        _mm256_storeu_ps(y + i, _mm256_castsi256_ps(w));
    }
    from_bf16_c(x + i, n - i, y + i);
}
