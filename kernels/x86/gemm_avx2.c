/* Products with packed weights, AVX2.
 *
 * Integers: weights stay 8 bits in memory and are widened when loaded; activations have 16 bits, since
 * vpmaddwd multiplies 16-bit pairs at 1.9 times the rate of f32 and the rounding of activations then costs
 * nothing (3e-5). |sum| of a block is below 32 * 127 * 32767 < 2^31. A tile is 4 rows of x times 16 rows of
 * weights: 8 integer accumulators stay in registers (6 rows need all sixteen and spill), float ones in the
 * first-level cache, touched once a block. */
#include "avx2.h"
#include "levels.h"

#include <string.h>

static void quant_avx2(const float *x, int n, void *q, float *d, float *s)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256i ones = _mm256_set1_epi16(1);
    for (int b = 0; b < n; b += 32) {
        __m256 v[4], top = _mm256_setzero_ps();
        UNROLL for (int j = 0; j < 4; j++) {
            v[j] = _mm256_loadu_ps(x + b + 8 * j);
            top = _mm256_max_ps(top, _mm256_andnot_ps(sign, v[j]));
        }
        float t = max_256(top), inv = t > 0 ? 32767.0f / t : 0.0f;
        d[b / 32] = t / 32767.0f;
        UNROLL for (int h = 0; h < 2; h++) {
            __m256i lo = _mm256_cvtps_epi32(_mm256_mul_ps(v[2 * h], _mm256_set1_ps(inv)));
            __m256i hi = _mm256_cvtps_epi32(_mm256_mul_ps(v[2 * h + 1], _mm256_set1_ps(inv)));
            __m256i p = _mm256_permute4x64_epi64(_mm256_packs_epi32(lo, hi), 0xd8);
            _mm256_storeu_si256((__m256i *)((int16_t *)q + b + 16 * h), p);
            __m256i sum = _mm256_madd_epi16(p, ones);
            __m128i t4 = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
            t4 = _mm_add_epi32(t4, _mm_shuffle_epi32(t4, 0x4e));
            t4 = _mm_add_epi32(t4, _mm_shuffle_epi32(t4, 0xb1));
            s[b / 16 + h] = d[b / 32] * (float)_mm_cvtsi128_si32(t4);
        }
    }
}

/* 16 rows of 16 bytes as 16-bit pairs, transposed. */
void k_pack_int8_avx2(const int8_t *q, int n, int8_t *dst)
{
    for (int i = 0; i < n; i += 16) {
        __m128i a[16], b[16];
        UNROLL for (int r = 0; r < 16; r++) a[r] =
            _mm_loadu_si128((const __m128i *)(q + (size_t)r * (size_t)n + i));
        for (int half = 0; half < 2; half++) {   /* eight rows: 8 x 8 pairs */
            __m128i *x = a + 8 * half, *y = b + 8 * half;
            UNROLL for (int r = 0; r < 4; r++) {
                y[2 * r] = _mm_unpacklo_epi16(x[2 * r], x[2 * r + 1]);
                y[2 * r + 1] = _mm_unpackhi_epi16(x[2 * r], x[2 * r + 1]);
            }
            __m128i z[8];
            UNROLL for (int r = 0; r < 2; r++) {
                z[4 * r] = _mm_unpacklo_epi32(y[4 * r], y[4 * r + 2]);
                z[4 * r + 1] = _mm_unpackhi_epi32(y[4 * r], y[4 * r + 2]);
                z[4 * r + 2] = _mm_unpacklo_epi32(y[4 * r + 1], y[4 * r + 3]);
                z[4 * r + 3] = _mm_unpackhi_epi32(y[4 * r + 1], y[4 * r + 3]);
            }
            UNROLL for (int p = 0; p < 4; p++) {
                int8_t *out = dst + (size_t)(i / 2 + 2 * p) * 2 * K_PANEL + 16 * half;
                _mm_storeu_si128((__m128i *)out, _mm_unpacklo_epi64(z[p], z[4 + p]));
                _mm_storeu_si128((__m128i *)(out + 2 * K_PANEL), _mm_unpackhi_epi64(z[p], z[4 + p]));
            }
        }
    }
}

INLINE __m256 scales(const struct k_panel *w, size_t at)
{
    return w->d ? _mm256_loadu_ps(w->d + at)
                : _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(w->d16 + at)));
}

INLINE __m256i widen(const int8_t *q) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)q)); }

INLINE __m256i pair_of(const int16_t *x)
{
    int v;
    memcpy(&v, x, sizeof v);
    return _mm256_set1_epi32(v);
}

/* Sums are typed as what they hold: with __m256i, gcc copies them at every step until some live on the stack,
 * and their store and reload halve the speed. */
typedef int v8si __attribute__((vector_size(32)));

/* *y += a * d * z, or = where it is the first block: sums stay in memory, so that the integers get the
 * registers. */
INLINE void add_scaled(float *y, v8si a, __m256 d, __m256 z, bool first)
{
    __m256 f = _mm256_mul_ps(_mm256_cvtepi32_ps((__m256i)a), _mm256_mul_ps(d, z));
    _mm256_storeu_ps(y, first ? f : _mm256_add_ps(_mm256_loadu_ps(y), f));
}

INLINE void tile_int8(const struct k_panel *w, int n, const struct k_xrow *x, int R, float *y, size_t ldy,
                      int sub, bool mins)
{
    const int8_t *q = w->q;
    const int16_t *xq[K_MR];
    UNROLL for (int r = 0; r < R; r++) xq[r] = x[r].q;
    for (int b = 0; b < n / sub; b++) {
        v8si a[4][2];
        UNROLL for (int r = 0; r < R; r++) a[r][0] = a[r][1] = (v8si){ 0 };
        _Pragma("GCC unroll 4") for (int i = 0; i < sub / 2; i++, q += 2 * K_PANEL) {
            __m256i w0 = widen(q), w1 = widen(q + 16);
            UNROLL for (int r = 0; r < R; r++) {
                __m256i v = pair_of(xq[r] + 2 * i);
                a[r][0] += (v8si)_mm256_madd_epi16(v, w0);
                a[r][1] += (v8si)_mm256_madd_epi16(v, w1);
            }
        }
        size_t at = (size_t)b * K_PANEL;
        __m256 d0 = scales(w, at), d1 = scales(w, at + 8);
        UNROLL for (int r = 0; r < R; r++) {
            __m256 z = _mm256_broadcast_ss(x[r].d + b * sub / 32);
            xq[r] += sub;
            add_scaled(y + (size_t)r * ldy, a[r][0], d0, z, b == 0);
            add_scaled(y + (size_t)r * ldy + 8, a[r][1], d1, z, b == 0);
        }
        if (!mins) continue;
        __m256 m0 = _mm256_loadu_ps(w->m + at), m1 = _mm256_loadu_ps(w->m + at + 8);
        UNROLL for (int r = 0; r < R; r++) {
            __m256 s = _mm256_set1_ps(sub == 16 ? x[r].s[b] : x[r].s[2 * b] + x[r].s[2 * b + 1]);
            float *yr = y + (size_t)r * ldy;
            _mm256_storeu_ps(yr, _mm256_fmadd_ps(m0, s, _mm256_loadu_ps(yr)));
            _mm256_storeu_ps(yr + 8, _mm256_fmadd_ps(m1, s, _mm256_loadu_ps(yr + 8)));
        }
    }
}

INLINE void tile_kinds(const struct k_panel *w, int n, const struct k_xrow *x, int R, float *y, size_t ldy)
{
    if (w->sub == 32 && !w->m) tile_int8(w, n, x, R, y, ldy, 32, false);
    else if (w->sub == 32) tile_int8(w, n, x, R, y, ldy, 32, true);
    else if (!w->m) tile_int8(w, n, x, R, y, ldy, 16, false);
    else tile_int8(w, n, x, R, y, ldy, 16, true);
}

static void tile_int8_avx2(const struct k_panel *w, int n, const struct k_xrow *x, int rows, float *y,
                           size_t ldy)
{
    if (rows >= 4) {
        tile_kinds(w, n, x, 4, y, ldy);
        rows -= 4, x += 4, y += 4 * ldy;
    }
    if (rows >= 2) {
        tile_kinds(w, n, x, 2, y, ldy);
        rows -= 2, x += 2, y += 2 * ldy;
    }
    for (; rows > 0; rows--, x++, y += ldy) tile_kinds(w, n, x, 1, y, ldy);
}

INLINE float dot_int8(const int8_t *q, const float *d, const float *m, int sub, int n, const struct k_xrow *x)
{
    const int16_t *xq = x->q;
    __m256 f[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
    float mins = 0.0f;
    for (int b = 0; b < n / sub; b++) {
        __m256i a =
            _mm256_madd_epi16(widen(q + b * sub), _mm256_loadu_si256((const __m256i *)(xq + b * sub)));
        if (sub == 32)
            a = _mm256_add_epi32(a,
                                 _mm256_madd_epi16(widen(q + b * sub + 16),
                                                   _mm256_loadu_si256((const __m256i *)(xq + b * sub + 16))));
        f[b % 2] =
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(a), _mm256_set1_ps(d[b] * x->d[b * sub / 32]), f[b % 2]);
        if (m) mins += m[b] * (sub == 16 ? x->s[b] : x->s[2 * b] + x->s[2 * b + 1]);
    }
    return sum_256(_mm256_add_ps(f[0], f[1])) + mins;
}

static float dot_int8_avx2(const int8_t *q, const float *d, const float *m, int sub, int n,
                           const struct k_xrow *x)
{
    return sub == 32 ? dot_int8(q, d, m, 32, n, x) : dot_int8(q, d, m, 16, n, x);
}

/* ---- f32 ---- */

void k_pack_f32_avx2(const float *w, size_t ldw, int n, void *dst)
{
    float *out = dst;
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int half = 0; half < 2; half++) {
            __m256 a[8], b[8];
            UNROLL for (int r = 0; r < 8; r++) a[r] = _mm256_loadu_ps(w + (size_t)(8 * half + r) * ldw + i);
            UNROLL for (int r = 0; r < 8; r += 2) {
                b[r] = _mm256_unpacklo_ps(a[r], a[r + 1]);
                b[r + 1] = _mm256_unpackhi_ps(a[r], a[r + 1]);
            }
            UNROLL for (int r = 0; r < 8; r += 4) {
                a[r] = _mm256_shuffle_ps(b[r], b[r + 2], 0x44);
                a[r + 1] = _mm256_shuffle_ps(b[r], b[r + 2], 0xee);
                a[r + 2] = _mm256_shuffle_ps(b[r + 1], b[r + 3], 0x44);
                a[r + 3] = _mm256_shuffle_ps(b[r + 1], b[r + 3], 0xee);
            }
            UNROLL for (int j = 0; j < 4; j++) {
                _mm256_storeu_ps(out + (i + j) * K_PANEL + 8 * half,
                                 _mm256_permute2f128_ps(a[j], a[j + 4], 0x20));
                _mm256_storeu_ps(out + (i + j + 4) * K_PANEL + 8 * half,
                                 _mm256_permute2f128_ps(a[j], a[j + 4], 0x31));
            }
        }
    for (; i < n; i++)
        for (int r = 0; r < K_PANEL; r++) out[i * K_PANEL + r] = w[(size_t)r * ldw + (size_t)i];
}

INLINE void tile_f32(const float *w, int n, const void *const *x, int R, float *y, size_t ldy, bool acc)
{
    __m256 a[K_MR][2];
    const float *xr[K_MR];
    UNROLL for (int r = 0; r < R; r++) {
        xr[r] = x[r];
        a[r][0] = acc ? _mm256_loadu_ps(y + (size_t)r * ldy) : _mm256_setzero_ps();
        a[r][1] = acc ? _mm256_loadu_ps(y + (size_t)r * ldy + 8) : _mm256_setzero_ps();
    }
    for (int i = 0; i < n; i++, w += K_PANEL) {
        __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + 8);
        UNROLL for (int r = 0; r < R; r++) {
            __m256 v = _mm256_broadcast_ss(xr[r] + i);
            a[r][0] = _mm256_fmadd_ps(v, w0, a[r][0]);
            a[r][1] = _mm256_fmadd_ps(v, w1, a[r][1]);
        }
    }
    UNROLL for (int r = 0; r < R; r++) {
        _mm256_storeu_ps(y + (size_t)r * ldy, a[r][0]);
        _mm256_storeu_ps(y + (size_t)r * ldy + 8, a[r][1]);
    }
}

static void tile_f32_avx2(const void *w, size_t pstride, int panels, int n, const void *const *x, int rows,
                          float *y, size_t ldy, bool acc)
{
    for (int p = 0; p < panels; p++) {
        const float *wp = (const float *)w + (size_t)p * pstride;
        float *yp = y + p * K_PANEL;
        int r = 0;
        if (rows == 6) {
            tile_f32(wp, n, x, 6, yp, ldy, acc);
            continue;
        }
        if (rows >= 4) {
            tile_f32(wp, n, x, 4, yp, ldy, acc);
            r = 4;
        }
        for (; r < rows; r++) tile_f32(wp, n, x + r, 1, yp + (size_t)r * ldy, ldy, acc);
    }
}

const struct k_int8 int8_avx2 = {
    .name = "int16 avx2",
    .rows = 4,
    .x_elem = sizeof(int16_t),
    .x_max = 32767,
    .quant = quant_avx2,
    .pack = k_pack_int8_avx2,
    .tile = tile_int8_avx2,
    .dot = dot_int8_avx2,
    .planes = &planes_avx2,
};
const struct k_float_gemm f32_avx2 = {
    .name = "f32 avx2",
    .elem = sizeof(float),
    .convert = convert_f32_c,
    .pack = k_pack_f32_avx2,
    .tile = tile_f32_avx2,
};
