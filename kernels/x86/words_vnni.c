/* Products of long rows as 16-bit integers: vpdpwssd does two multiply-adds a lane, twice what floats do.
 *
 * Sums of a part of the inputs are exact and fit 32 bits, as the lengths of both rows are bounded; sums of
 * parts are floats. Parts are outside, so that those of four panels stay in the nearest cache while they meet
 * all rows of x. */
#include "attn512.h"
#include "levels.h"

enum { PAIRS = K_WORD_PART / 2 };
typedef int v16si __attribute__((vector_size(64)));   /* see gemm_avx2.c: typed sums stay in registers */

static float words_row_vnni(const float *x, int n, int16_t *q)
{
    const float longest = 46330, largest = 32767;
    float most = 0, top = 0;
    for (int b = 0; b < n; b += K_WORD_PART) {
        __m512 sum = _mm512_setzero_ps(), mx = sum;
        UNROLL for (int i = 0; i < K_WORD_PART; i += 16) {
            __m512 v = _mm512_loadu_ps(x + b + i);
            sum = _mm512_fmadd_ps(v, v, sum);
            mx = _mm512_max_ps(mx, _mm512_abs_ps(v));
        }
        most = fmaxf(most, _mm512_reduce_add_ps(sum));
        top = fmaxf(top, _mm512_reduce_max_ps(mx));
    }
    float scale = fmaxf(sqrtf(most) / longest, top / largest);
    __m512 inv = _mm512_set1_ps(scale > 0 ? 1 / scale : 0);
    for (int i = 0; i < n; i += 16) {
        __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), inv));
        _mm256_storeu_si256((__m256i *)(void *)(q + i), _mm512_cvtsepi32_epi16(v));
    }
    return scale;
}

static void words_pack_vnni(const int16_t *q, int n, int16_t *dst)
{
    for (int i = 0; i < n; i += 32, dst += 32 * K_PANEL) {
        __m512i a[K_PANEL];
        UNROLL for (int r = 0; r < K_PANEL; r++) a[r] = _mm512_loadu_si512(q + (size_t)r * (size_t)n + i);
        transpose_words_512(a);
        UNROLL for (int r = 0; r < K_PANEL; r++) _mm512_storeu_si512(dst + r * 2 * K_PANEL, a[r]);
    }
}

/* A part of the inputs of R rows and P panels. */
INLINE void part(const int16_t *w, const int16_t *x, int n, int R, int P, float *y, size_t ldy, bool first)
{
    v16si a[K_MR][K_NP];
    const int32_t *xr[K_MR];
    UNROLL for (int r = 0; r < R; r++) {
        xr[r] = (const int32_t *)(const void *)(x + (size_t)r * (size_t)n);
        UNROLL for (int p = 0; p < P; p++) a[r][p] = (v16si){ 0 };
    }
    _Pragma("GCC unroll 1") for (int i = 0; i < PAIRS; i++, w += 2 * K_PANEL) {
        __m512i b[K_NP];
        UNROLL for (int p = 0; p < P; p++) b[p] = _mm512_loadu_si512(w + (size_t)(p * K_PANEL) * (size_t)n);
        UNROLL for (int r = 0; r < R; r++) {
            __m512i v = _mm512_set1_epi32(xr[r][i]);
            UNROLL for (int p = 0; p < P; p++)
                a[r][p] = (v16si)_mm512_dpwssd_epi32((__m512i)a[r][p], v, b[p]);
        }
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int p = 0; p < P; p++) {
            float *to = y + (size_t)r * ldy + p * K_PANEL;
            __m512 sum = _mm512_cvtepi32_ps((__m512i)a[r][p]);
            _mm512_storeu_ps(to, first ? sum : _mm512_add_ps(sum, _mm512_loadu_ps(to)));
        }
}

INLINE void parts(const int16_t *w, int n, const int16_t *x, int rows, int P, float *y, size_t ldy)
{
    for (int k = 0; k < n; k += K_WORD_PART) {
        const int16_t *wk = w + (size_t)k * K_PANEL, *xk = x + k;
        int r = 0;
        for (; r + 6 <= rows; r += 6)
            part(wk, xk + (size_t)r * (size_t)n, n, 6, P, y + (size_t)r * ldy, ldy, !k);
        for (; r + 2 <= rows; r += 2)
            part(wk, xk + (size_t)r * (size_t)n, n, 2, P, y + (size_t)r * ldy, ldy, !k);
        if (r < rows) part(wk, xk + (size_t)r * (size_t)n, n, 1, P, y + (size_t)r * ldy, ldy, !k);
    }
}

static void scale_rows(const float *ws, const float *xs, int rows, int cols, float *y, size_t ldy)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c += K_PANEL) {
            __m512 s = _mm512_mul_ps(_mm512_set1_ps(xs[r]), _mm512_loadu_ps(ws + c));
            float *to = y + (size_t)r * ldy + c;
            _mm512_storeu_ps(to, _mm512_mul_ps(s, _mm512_loadu_ps(to)));
        }
}

static void tile_words_vnni(const int16_t *w, const float *ws, int panels, int n, const int16_t *x,
                            const float *xs, int rows, float *y, size_t ldy)
{
    size_t panel = K_PANEL * (size_t)n;
    int p = 0;
    for (; p + 4 <= panels; p += 4) parts(w + (size_t)p * panel, n, x, rows, 4, y + p * K_PANEL, ldy);
    for (; p < panels; p++) parts(w + (size_t)p * panel, n, x, rows, 1, y + p * K_PANEL, ldy);
    scale_rows(ws, xs, rows, panels * K_PANEL, y, ldy);
}

const struct k_words words_vnni = {
    .name = "int16 vnni", .row = words_row_vnni, .pack = words_pack_vnni, .tile = tile_words_vnni,
};
