/* Products of f32 with packed weights, AVX-512: 6 rows of x times 4 panels keep 24 sums in registers. */
#include "attn512.h"
#include "levels.h"

INLINE void tile(const float *w, size_t pstride, int n, const void *const *x, int R, int P, float *y,
                 size_t ldy, bool acc)
{
    __m512 a[K_MR][K_NP];
    const float *xr[K_MR];
    UNROLL for (int r = 0; r < R; r++) {
        xr[r] = x[r];
        UNROLL for (int p = 0; p < P; p++)
            a[r][p] = acc ? _mm512_loadu_ps(y + (size_t)r * ldy + p * K_PANEL) : _mm512_setzero_ps();
    }
    for (int i = 0; i < n; i++, w += K_PANEL) {
        __m512 b[K_NP];
        UNROLL for (int p = 0; p < P; p++) b[p] = _mm512_loadu_ps(w + (size_t)p * pstride);
        UNROLL for (int r = 0; r < R; r++) {
            __m512 v = _mm512_set1_ps(xr[r][i]);
            UNROLL for (int p = 0; p < P; p++) a[r][p] = _mm512_fmadd_ps(v, b[p], a[r][p]);
        }
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int p = 0; p < P; p++) _mm512_storeu_ps(y + (size_t)r * ldy + p * K_PANEL, a[r][p]);
}

INLINE void rows_of(const float *w, size_t pstride, int n, const void *const *x, int rows, int P, float *y,
                    size_t ldy, bool acc)
{
    if (rows == 6) {
        tile(w, pstride, n, x, 6, P, y, ldy, acc);
        return;
    }
    if (rows >= 4) {
        tile(w, pstride, n, x, 4, P, y, ldy, acc);
        rows -= 4, x += 4, y += 4 * ldy;
    }
    for (; rows > 0; rows--, x++, y += ldy) tile(w, pstride, n, x, 1, P, y, ldy, acc);
}

static void tile_f32_avx512(const void *w, size_t pstride, int panels, int n, const void *const *x, int rows,
                            float *y, size_t ldy, bool acc)
{
    const float *wp = w;
    for (; panels >= 4; panels -= 4, wp += 4 * pstride, y += 4 * K_PANEL)
        rows_of(wp, pstride, n, x, rows, 4, y, ldy, acc);
    for (; panels > 0; panels--, wp += pstride, y += K_PANEL)
        rows_of(wp, pstride, n, x, rows, 1, y, ldy, acc);
}

const struct k_float_gemm f32_avx512 = {
    .name = "f32 avx512", .elem = sizeof(float), .convert = convert_f32_c, .pack = k_pack_f32_avx2,
    .tile = tile_f32_avx512,
};
