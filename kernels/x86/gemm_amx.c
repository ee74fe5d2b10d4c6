/* Products of bf16 with packed weights on AMX: 32 rows of x meet 32 rows of weights in four tiles of sums.
 *
 * Panels are those of gemm_bf16.c: 16 pairs of inputs of 16 rows of weights are one tile. Quantised weights
 * are widened to such panels on the way, which costs a fifth of a cycle a value and is shared by all rows of
 * x. Rounding both sides to 8 bits of mantissa is closer to f32 than 8-bit activations are, and no scale has
 * to be applied to sums of 32. */
#include "amx.h"
#include "attn512.h"
#include "levels.h"

/* Tiles 0-3: sums of (rows a, b) x (panels c, d). 4, 5: rows of x. 6, 7: panels. */
static void shapes(int r0, int r1, int c0, int c1)
{
    struct tile_shape s;
    memset(&s, 0, sizeof s);
    s.palette = 1;
    tile_set(&s, 0, r0, 4 * c0);
    tile_set(&s, 1, r0, 4 * c1);
    tile_set(&s, 2, r1, 4 * c0);
    tile_set(&s, 3, r1, 4 * c1);
    tile_set(&s, 4, r0, 64);
    tile_set(&s, 5, r1, 64);
    tile_set(&s, 6, 16, 4 * c0);
    tile_set(&s, 7, 16, 4 * c1);
    tile_config(&s);
}

/* Panels w and w1; what the second gives lies `next` floats after what the first does. */
INLINE void block(const uint16_t *w, const uint16_t *w1, int n, const uint16_t *x, size_t ldx, float *y,
                  size_t next, size_t ldy, bool acc, bool R2, bool C2)
{
    long xs = (long)(2 * ldx), ys = (long)(4 * ldy);
    const uint16_t *x1 = x + 16 * ldx;
    float *y1 = y + 16 * ldy;
    if (acc) {
        TILE_LOAD(0, y, ys);
        if (C2) TILE_LOAD(1, y + next, ys);
        if (R2) TILE_LOAD(2, y1, ys);
        if (R2 && C2) TILE_LOAD(3, y1 + next, ys);
    } else {
        TILE_ZERO(0);
        if (C2) TILE_ZERO(1);
        if (R2) TILE_ZERO(2);
        if (R2 && C2) TILE_ZERO(3);
    }
    for (int i = 0; i < n; i += 32) {
        size_t at = (size_t)i * K_PANEL;
        TILE_LOAD(4, x + i, xs);
        TILE_LOAD(6, w + at, 64);
        TILE_DOT(0, 4, 6);
        if (C2) { TILE_LOAD(7, w1 + at, 64); TILE_DOT(1, 4, 7); }
        if (R2) { TILE_LOAD(5, x1 + i, xs); TILE_DOT(2, 5, 6); }
        if (R2 && C2) TILE_DOT(3, 5, 7);
    }
    TILE_STORE(0, y, ys);
    if (C2) TILE_STORE(1, y + next, ys);
    if (R2) TILE_STORE(2, y1, ys);
    if (R2 && C2) TILE_STORE(3, y1 + next, ys);
}

/* Rows of x in blocks of 32, which stay in the nearest cache while they meet all these columns. */
static void columns(const uint16_t *w, size_t pstride, int cols, int n, const uint16_t *x, size_t ldx, int m,
                    float *y, size_t ldy, bool acc)
{
    int last_r = 0, last_c = 0;
    for (int r = 0; r < m; r += 32) {
        int rows = m - r < 32 ? m - r : 32, r0 = rows < 16 ? rows : 16, r1 = rows > 16 ? rows - 16 : 16;
        for (int c = 0; c < cols; c += 32) {
            int width = cols - c < 32 ? cols - c : 32, c0 = width < 16 ? width : 16,
                c1 = width > 16 ? width - 16 : 16;
            const uint16_t *wc = w + (size_t)(c / K_PANEL) * pstride, *w1 = wc + pstride,
                           *xr = x + (size_t)r * ldx;
            float *yc = y + (size_t)r * ldy + c;
            if (rows != last_r || width != last_c) shapes(r0, r1, c0, c1);
            last_r = rows;
            last_c = width;
            if (rows > 16 && width > 16) block(wc, w1, n, xr, ldx, yc, 16, ldy, acc, true, true);
            else if (rows > 16) block(wc, w1, n, xr, ldx, yc, 16, ldy, acc, true, false);
            else if (width > 16) block(wc, w1, n, xr, ldx, yc, 16, ldy, acc, false, true);
            else block(wc, w1, n, xr, ldx, yc, 16, ldy, acc, false, false);
        }
    }
}

/* As many columns at a time as have 256 KiB of weights, which stay in the second-level cache. */
static void matmul_amx(const void *w, size_t pstride, int cols, int n, const void *x, size_t ldx, int m,
                       float *y, size_t ldy, bool acc)
{
    enum { VALUES = 1 << 17 };
    int few = VALUES / n / 32 * 32, step = few > 64 ? few : 64;
    for (int c = 0; c < cols; c += step)
        columns((const uint16_t *)w + (size_t)(c / K_PANEL) * pstride, pstride,
                cols - c < step ? cols - c : step, n, x, ldx, m, y + c, ldy, acc);
    TILE_RELEASE();
}

enum { EACH = 32 * K_PANEL };

/* g / (1 + e^-g) * u for a result of 8 bits: 2^x by a cubic (8e-5), the quotient by its approximation (6e-5). */
INLINE __m512 silu_mul(__m512 g, __m512 u)
{
    __m512 t = _mm512_mul_ps(g, _mm512_set1_ps(-1.44269504f));
    t = _mm512_min_ps(t, _mm512_set1_ps(125.0f));
    __m512 n = _mm512_roundscale_ps(t, 8), f = _mm512_sub_ps(t, n);
    __m512 p = _mm512_set1_ps(5.517166907e-2f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.426111222e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.932609855e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.999280735e-1f));
    __m512 r = _mm512_rcp14_ps(_mm512_add_ps(_mm512_set1_ps(1.0f), _mm512_scalef_ps(p, n)));
    return _mm512_mul_ps(_mm512_mul_ps(g, r), u);
}

/* Sums of a gate panel and of an up panel, [rows][16] each, become rows of y. */
INLINE void finish_gated(float *sum, int rows, bool gelu, uint16_t *y, size_t ldy)
{
    if (gelu) k_gelu_mul_avx2(sum, sum + EACH, rows * K_PANEL, sum);
    for (int i = 0; i < rows; i++, sum += K_PANEL, y += ldy) {
        __m512 v = _mm512_load_ps(sum);
        if (!gelu) v = silu_mul(v, _mm512_load_ps(sum + EACH));
        _mm256_storeu_si256((__m256i *)y, (__m256i)_mm512_cvtneps_pbh(v));
    }
}

/* Two panels stay in the nearest cache while all rows of x meet them; what 32 rows give is finished there. */
static void gated_amx(const void *gate, const void *up, size_t pstride, int panels, int n, const void *x,
                      size_t ldx, int m, bool gelu, uint16_t *y, size_t ldy)
{
    _Alignas(64) float sum[2 * EACH]; /* [32][16] of gate, of up */
    int last = 0;
    for (int p = 0; p < panels; p++) {
        const uint16_t *g = (const uint16_t *)gate + (size_t)p * pstride,
                       *u = (const uint16_t *)up + (size_t)p * pstride, *xr = x;
        uint16_t *out = y + (size_t)p * K_PANEL;
        for (int r = 0; r < m; r += 32, xr += 32 * ldx) {
            int rows = m - r < 32 ? m - r : 32;
            if (rows != last) shapes(rows < 16 ? rows : 16, rows > 16 ? rows - 16 : 16, 16, 16);
            last = rows;
            if (rows > 16) block(g, u, n, xr, ldx, sum, EACH, K_PANEL, false, true, true);
            else block(g, u, n, xr, ldx, sum, EACH, K_PANEL, false, false, true);
            if (gelu) finish_gated(sum, rows, true, out + (size_t)r * ldy, ldy);
            else finish_gated(sum, rows, false, out + (size_t)r * ldy, ldy);
        }
    }
    TILE_RELEASE();
}

/* 16 rows of n floats as pairs: 16 words of each row, transposed. */
static void pack_rows(const float *w, size_t ldw, int n, void *dst)
{
    uint32_t *out = dst;
    for (int i = 0; i < n; i += 32, out += 16 * K_PANEL) {
        __m512i a[16];
        UNROLL for (int r = 0; r < 16; r++) {
            const float *src = w + (size_t)r * ldw + i;
            a[r] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(src + 16), _mm512_loadu_ps(src));
        }
        transpose_words_512(a);
        UNROLL for (int r = 0; r < 16; r++) _mm512_storeu_si512(out + r * K_PANEL, a[r]);
    }
}

/* 32 floats as hi + lo. */
INLINE void halves(const float *x, __m512i *hi, __m512i *lo)
{
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
    *hi = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    __m512i wa = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(*hi)), 16),
            wb = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(*hi, 1)), 16);
    *lo = (__m512i)_mm512_cvtne2ps_pbh(_mm512_sub_ps(b, _mm512_castsi512_ps(wb)),
                                       _mm512_sub_ps(a, _mm512_castsi512_ps(wa)));
}

static void split_panel(const float *w, size_t ldw, int n, void *hi, void *lo)
{
    uint32_t *out_hi = hi, *out_lo = lo;
    for (int i = 0; i < n; i += 32, out_hi += 16 * K_PANEL, out_lo += 16 * K_PANEL) {
        __m512i a[16], b[16];
        UNROLL for (int r = 0; r < 16; r++) halves(w + (size_t)r * ldw + i, &a[r], &b[r]);
        transpose_words_512(a);
        transpose_words_512(b);
        UNROLL for (int r = 0; r < 16; r++)
        {
            _mm512_storeu_si512(out_hi + r * K_PANEL, a[r]);
            _mm512_storeu_si512(out_lo + r * K_PANEL, b[r]);
        }
    }
}

static void split_row(const float *x, int n, uint16_t *hi, uint16_t *lo)
{
    for (int i = 0; i < n; i += 32) {
        __m512i a, b;
        halves(x + i, &a, &b);
        _mm512_storeu_si512(hi + i, a);
        _mm512_storeu_si512(lo + i, b);
    }
}

/* A panel as int8_vnni packs it ([n/4][16][4], 128 added) becomes pairs of bf16: inputs k0 .. k0+n-1. */
INLINE void widen_panel(const struct k_panel *w, int k0, int n, void *dst, int sub)
{
    const __m512i low = _mm512_set1_epi32(255);
    const __m512i pairs = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    uint16_t *out = dst;
    for (int b = k0; b < k0 + n; b += sub) {
        size_t at = (size_t)(b / sub) * K_PANEL;
        __m512 d = w->d ? _mm512_loadu_ps(w->d + at)
                        : _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(w->d16 + at)));
        __m512 off = _mm512_mul_ps(d, _mm512_set1_ps(-128.0f));
        if (w->m) off = _mm512_add_ps(off, _mm512_loadu_ps(w->m + at));
        UNROLL for (int i = 0; i < sub; i += 4, out += 4 * K_PANEL)
        {
            __m512i v = _mm512_loadu_si512(w->q + (size_t)(b + i) * K_PANEL);
            __m512 f[4];
            f[0] = _mm512_cvtepi32_ps(_mm512_and_si512(v, low));
            f[1] = _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(v, 8), low));
            f[2] = _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(v, 16), low));
            f[3] = _mm512_cvtepi32_ps(_mm512_srli_epi32(v, 24));
            UNROLL for (int j = 0; j < 4; j++) f[j] = _mm512_fmadd_ps(f[j], d, off);
            __m512i lo = (__m512i)_mm512_cvtne2ps_pbh(f[1], f[0]),
                    hi = (__m512i)_mm512_cvtne2ps_pbh(f[3], f[2]);
            _mm512_storeu_si512(out, _mm512_permutexvar_epi16(pairs, lo));
            _mm512_storeu_si512(out + 2 * K_PANEL, _mm512_permutexvar_epi16(pairs, hi));
        }
    }
}

static void widen_amx(const struct k_panel *w, int k0, int n, void *dst)
{
    if (w->sub == 16)
        widen_panel(w, k0, n, dst, 16);
    else
        widen_panel(w, k0, n, dst, 32);
}

const struct k_wide_gemm gemm_amx = {
    .name = "bf16 amx",
    .pack = pack_rows,
    .split = split_panel,
    .split_row = split_row,
    .widen = widen_amx,
    .matmul = matmul_amx,
    .strip_pack = k_strip_pack_amx,
    .strip_score = k_strip_score_amx,
    .strip_sum = k_strip_sum_amx,
    .strip_add = k_strip_add_amx,
    .gated = gated_amx,
};
