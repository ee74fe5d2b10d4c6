/* Operations on f32 vectors where 512 bits help: norms, activations, sums, exponentials summed over keys.
 * Tails are loaded under a mask. */
#include "attn512.h"
#include "levels.h"

INLINE __mmask16 tail(int n) { return (__mmask16)((1u << n) - 1); }

float k_dot_avx512(const float *a, const float *b, int n)
{
    __m512 s[4];
    UNROLL for (int j = 0; j < 4; j++) s[j] = _mm512_setzero_ps();
    int i = 0;
    for (; i + 64 <= n; i += 64)
        UNROLL for (int j = 0; j < 4; j++) s[j] =
            _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16 * j), _mm512_loadu_ps(b + i + 16 * j), s[j]);
    for (; i + 16 <= n; i += 16) s[0] = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s[0]);
    if (i < n) {
        __mmask16 m = tail(n - i);
        s[1] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i), s[1]);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

void k_rms_norm_avx512(const float *x, const float *w, int n, float eps, float *y)
{
    __m512 z = _mm512_set1_ps(1.0f / sqrtf(k_dot_avx512(x, x, n) / (float)n + eps));
    int i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i,
                         _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), z), _mm512_loadu_ps(w + i)));
    if (i < n) {
        __mmask16 m = tail(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), z);
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, w + i)));
    }
}

/* 2^x for x <= 127, relative error 2e-7; 0 for x <= -127 and for -inf, without denormal numbers on the way.
 */
INLINE __m512 exp2_wide(__m512 x)
{
    x = _mm512_max_ps(x, _mm512_set1_ps(-127.0f));
    __m512 n = _mm512_roundscale_ps(x, 8), f = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(1.327647198e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.675541334e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.550713274e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.402211972e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.931469671e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.000000072f));
    __m512i e = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23);
    return _mm512_mul_ps(p, _mm512_castsi512_ps(e));
}

/* g / (1 + e^-g) * u; the quotient by an approximation and one step of Newton (1e-7). */
INLINE __m512 silu(__m512 g, __m512 u)
{
    __m512 t = _mm512_min_ps(_mm512_mul_ps(g, _mm512_set1_ps(-1.44269504f)), _mm512_set1_ps(125.0f));
    __m512 d = _mm512_add_ps(_mm512_set1_ps(1.0f), exp2_wide(t)), r = _mm512_rcp14_ps(d);
    r = _mm512_mul_ps(r, _mm512_fnmadd_ps(d, r, _mm512_set1_ps(2.0f)));
    return _mm512_mul_ps(_mm512_mul_ps(g, r), u);
}

void k_silu_mul_avx512(const float *gate, const float *up, int n, float *y)
{
    int i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i, silu(_mm512_loadu_ps(gate + i), _mm512_loadu_ps(up + i)));
    if (i < n) {
        __mmask16 m = tail(n - i);
        _mm512_mask_storeu_ps(y + i, m,
                              silu(_mm512_maskz_loadu_ps(m, gate + i), _mm512_maskz_loadu_ps(m, up + i)));
    }
}

void k_add_avx512(float *y, const float *x, int n)
{
    int i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i, _mm512_add_ps(_mm512_loadu_ps(y + i), _mm512_loadu_ps(x + i)));
    if (i < n) {
        __mmask16 m = tail(n - i);
        _mm512_mask_storeu_ps(
            y + i, m, _mm512_add_ps(_mm512_maskz_loadu_ps(m, y + i), _mm512_maskz_loadu_ps(m, x + i)));
    }
}

void k_add_rows_avx512(float *y, const float *x, size_t ldx, const float *w, int rows, int n)
{
    int i = 0;
    for (; i + 64 <= n; i += 64) {
        __m512 s[4];
        UNROLL for (int j = 0; j < 4; j++) s[j] = _mm512_loadu_ps(y + i + 16 * j);
        const float *at = x + i;
        for (int r = 0; r < rows; r++, at += ldx) {
            __m512 f = _mm512_set1_ps(w[r]);
            UNROLL for (int j = 0; j < 4; j++) s[j] = _mm512_fmadd_ps(f, _mm512_loadu_ps(at + 16 * j), s[j]);
        }
        UNROLL for (int j = 0; j < 4; j++) _mm512_storeu_ps(y + i + 16 * j, s[j]);
    }
    for (; i < n; i += 16) {
        __mmask16 m = n - i < 16 ? tail(n - i) : 0xffff;
        __m512 s = _mm512_maskz_loadu_ps(m, y + i);
        for (int r = 0; r < rows; r++)
            s = _mm512_fmadd_ps(_mm512_set1_ps(w[r]), _mm512_maskz_loadu_ps(m, x + (size_t)r * ldx + i), s);
        _mm512_mask_storeu_ps(y + i, m, s);
    }
}

void k_cols_max_avx512(const float *x, size_t ld, int keys, int n, float *top)
{
    for (int r = 0; r < n; r += 64) {
        if (r + 64 <= n) {
            __m512 m[4];
            UNROLL for (int j = 0; j < 4; j++) m[j] = _mm512_loadu_ps(top + r + 16 * j);
            const float *at = x + r;
            for (int k = 0; k < keys; k++, at += ld)
                UNROLL for (int j = 0; j < 4; j++) m[j] = _mm512_max_ps(m[j], _mm512_loadu_ps(at + 16 * j));
            UNROLL for (int j = 0; j < 4; j++) _mm512_storeu_ps(top + r + 16 * j, m[j]);
            continue;
        }
        for (int c = r; c < n; c += 16) {
            __m512 m = _mm512_loadu_ps(top + c);
            const float *at = x + c;
            for (int k = 0; k < keys; k++, at += ld) m = _mm512_max_ps(m, _mm512_loadu_ps(at));
            _mm512_storeu_ps(top + c, m);
        }
    }
}

INLINE void cols_exp2(const float *x, size_t ld, int keys, const float *shift, float *sum, int V)
{
    __m512 s[4], d[4];
    UNROLL for (int j = 0; j < V; j++) {
        s[j] = _mm512_loadu_ps(sum + 16 * j);
        d[j] = _mm512_loadu_ps(shift + 16 * j);
    }
    for (int k = 0; k < keys; k++, x += ld)
        UNROLL for (int j = 0; j < V; j++) s[j] =
            _mm512_add_ps(s[j], exp2_512(_mm512_sub_ps(_mm512_loadu_ps(x + 16 * j), d[j])));
    UNROLL for (int j = 0; j < V; j++) _mm512_storeu_ps(sum + 16 * j, s[j]);
}

void k_cols_exp2_avx512(const float *x, size_t ld, int keys, int n, const float *shift, float *sum)
{
    int r = 0;
    for (; r + 64 <= n; r += 64) cols_exp2(x + r, ld, keys, shift + r, sum + r, 4);
    for (; r < n; r += 16) cols_exp2(x + r, ld, keys, shift + r, sum + r, 1);
}

INLINE int part(const float *x, int n, float t, float *more, float *rest, double *sum, bool sums)
{
    const __m512 least = _mm512_set1_ps(t);
    __m512d all[2] = { _mm512_setzero_pd(), _mm512_setzero_pd() };
    int k = 0, i = 0;
    for (; i + 16 <= n; i += 16) {   /* stores what lies behind those found, never past i + 16 */
        __m512 v = _mm512_loadu_ps(x + i);
        __mmask16 on = _mm512_cmp_ps_mask(v, least, _CMP_GT_OQ);
        if (sums) {
            __m512 w = _mm512_maskz_mov_ps(on, v);
            all[0] = _mm512_add_pd(all[0], _mm512_cvtps_pd(_mm512_castps512_ps256(w)));
            all[1] = _mm512_add_pd(all[1], _mm512_cvtps_pd(_mm512_extractf32x8_ps(w, 1)));
        }
        _mm512_storeu_ps(more + k, _mm512_maskz_compress_ps(on, v));
        _mm512_storeu_ps(rest + (i - k), _mm512_maskz_compress_ps((__mmask16)~on, v));
        k += __builtin_popcount(on);
    }
    double last = 0;
    k += part_c(x + i, n - i, t, more + k, rest + (i - k), sums ? &last : NULL);
    if (sums) *sum = last + _mm512_reduce_add_pd(_mm512_add_pd(all[0], all[1]));
    return k;
}

int k_part_avx512(const float *x, int n, float t, float *more, float *rest, double *sum)
{
    return sum ? part(x, n, t, more, rest, sum, true) : part(x, n, t, more, rest, NULL, false);
}
