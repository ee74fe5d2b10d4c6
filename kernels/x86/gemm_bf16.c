/* Products of bf16 with packed weights and f32 sums: 6 rows of x times 4 panels of pairs. */
#include "attn512.h"
#include "levels.h"

static void convert_bf16(const float *x, int n, void *dst)
{
    uint16_t *out = dst;
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = (__mmask16)(n - i >= 16 ? 0xffff : (1u << (n - i)) - 1);
        __m256i h = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(m, x + i));
        _mm256_mask_storeu_epi16(out + i, m, h);
    }
}

static void pack_bf16(const float *w, size_t ldw, int n, void *dst)
{
    uint16_t *out = dst, row[32];
    for (int r = 0; r < K_PANEL; r++)
        for (int i = 0; i < n; i += 32) {
            int len = n - i < 32 ? n - i : 32;
            convert_bf16(w + (size_t)r * ldw + i, len, row);
            for (int j = 0; j < len; j++) out[(((i + j) / 2) * K_PANEL + r) * 2 + j % 2] = row[j];
        }
}

INLINE void tile(const uint16_t *w, size_t pstride, int n, const void *const *x, int R, int P, float *y,
                 size_t ldy, bool acc)
{
    __m512 a[K_MR][K_NP];
    const uint32_t *xr[K_MR];
    UNROLL for (int r = 0; r < R; r++) {
        xr[r] = x[r];
        UNROLL for (int p = 0; p < P; p++)
            a[r][p] = acc ? _mm512_loadu_ps(y + (size_t)r * ldy + p * K_PANEL) : _mm512_setzero_ps();
    }
    for (int i = 0; i < n / 2; i++, w += 2 * K_PANEL) {
        __m512bh b[K_NP];
        UNROLL for (int p = 0; p < P; p++) b[p] = (__m512bh)_mm512_loadu_si512(w + (size_t)p * pstride);
        UNROLL for (int r = 0; r < R; r++) {
            __m512bh v = (__m512bh)_mm512_set1_epi32((int)xr[r][i]);
            UNROLL for (int p = 0; p < P; p++) a[r][p] = _mm512_dpbf16_ps(a[r][p], v, b[p]);
        }
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int p = 0; p < P; p++) _mm512_storeu_ps(y + (size_t)r * ldy + p * K_PANEL, a[r][p]);
}

INLINE void rows_of(const uint16_t *w, size_t pstride, int n, const void *const *x, int rows, int P, float *y,
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

static void tile_bf16(const void *w, size_t pstride, int panels, int n, const void *const *x, int rows,
                      float *y, size_t ldy, bool acc)
{
    const uint16_t *wp = w;
    for (; panels >= 4; panels -= 4, wp += 4 * pstride, y += 4 * K_PANEL)
        rows_of(wp, pstride, n, x, rows, 4, y, ldy, acc);
    for (; panels > 0; panels--, wp += pstride, y += K_PANEL)
        rows_of(wp, pstride, n, x, rows, 1, y, ldy, acc);
}

const struct k_float_gemm gemm_bf16 = {
    .name = "bf16", .elem = 2, .convert = convert_bf16, .pack = pack_bf16, .tile = tile_bf16,
};
