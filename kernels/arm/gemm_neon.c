/* Products with packed weights, NEON.
 *
 * Integers: weights stay 8 bits in memory and are widened when loaded; activations have 16 bits, so that
 * their rounding costs nothing (3e-5) and smlal takes a broadcast lane of them. |sum| of a block is below
 * 32 * 128 * 32767 < 2^31. Panels lie as [cols][16]: one load is one input of all sixteen rows. A tile is
 * 4 rows of x times a panel: 16 integer sums in registers, float ones in the first-level cache, touched once
 * a block. It needs no more than the first NEON of 64 bits: no dot-product instructions. */
#include "neon.h"
#include "levels.h"

#include <string.h>

enum { INT_ROWS = 4 };

static void quant_neon(const float *x, int n, void *q, float *d, float *s)
{
    for (int b = 0; b < n; b += 32) {
        float32x4_t v[8], top = vdupq_n_f32(0.0f);
        UNROLL for (int j = 0; j < 8; j++) {
            v[j] = vld1q_f32(x + b + 4 * j);
            top = vmaxq_f32(top, vabsq_f32(v[j]));
        }
        float t = vmaxvq_f32(top), inv = t > 0 ? 32767.0f / t : 0.0f;
        d[b / 32] = t / 32767.0f;
        UNROLL for (int h = 0; h < 2; h++) {
            int32x4_t sum = vdupq_n_s32(0);
            UNROLL for (int j = 4 * h; j < 4 * h + 4; j++) {
                int32x4_t i = vcvtnq_s32_f32(vmulq_n_f32(v[j], inv));
                sum = vaddq_s32(sum, i);
                vst1_s16((int16_t *)q + b + 4 * j, vqmovn_s32(i));
            }
            s[b / 16 + h] = d[b / 32] * (float)vaddvq_s32(sum);
        }
    }
}

/* 16 rows of n bytes, transposed eight inputs at a time. */
static void pack_int8_neon(const int8_t *q, int n, int8_t *dst)
{
    for (int i = 0; i < n; i += 8)
        for (int r = 0; r < K_PANEL; r += 8) {
            int8x8_t a[8];
            UNROLL for (int j = 0; j < 8; j++) a[j] = vld1_s8(q + (size_t)(r + j) * (size_t)n + i);
            int16x4_t b[8];
            UNROLL for (int j = 0; j < 8; j += 2) {
                int8x8x2_t t = vtrn_s8(a[j], a[j + 1]);
                b[j] = vreinterpret_s16_s8(t.val[0]);
                b[j + 1] = vreinterpret_s16_s8(t.val[1]);
            }
            int32x2_t c[8];
            UNROLL for (int j = 0; j < 8; j += 4) UNROLL for (int k = 0; k < 2; k++) {
                int16x4x2_t t = vtrn_s16(b[j + k], b[j + 2 + k]);
                c[j + k] = vreinterpret_s32_s16(t.val[0]);
                c[j + 2 + k] = vreinterpret_s32_s16(t.val[1]);
            }
            UNROLL for (int k = 0; k < 4; k++) {
                int32x2x2_t t = vtrn_s32(c[k], c[4 + k]);
                vst1_s8(dst + (size_t)(i + k) * K_PANEL + r, vreinterpret_s8_s32(t.val[0]));
                vst1_s8(dst + (size_t)(i + k + 4) * K_PANEL + r, vreinterpret_s8_s32(t.val[1]));
            }
        }
}

INLINE float32x4_t scales(const struct k_panel *w, size_t at)
{
    return w->d ? vld1q_f32(w->d + at) : vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(w->d16 + at)));
}

/* a[4] += one input of the panel, of 16 bytes, times lane `lane` of x; a lane is a constant of the
 * instruction. */
#define INPUT(lane)                                                                                          \
    do {                                                                                                     \
        int8x16_t bytes = vld1q_s8(q + (lane)*K_PANEL);                                                      \
        int16x8_t w0 = vmovl_s8(vget_low_s8(bytes)), w1 = vmovl_high_s8(bytes);                              \
        UNROLL for (int r = 0; r < R; r++)                                                                   \
        {                                                                                                    \
            a[r][0] = vmlal_lane_s16(a[r][0], vget_low_s16(w0), v[r], lane);                                 \
            a[r][1] = vmlal_high_lane_s16(a[r][1], w0, v[r], lane);                                          \
            a[r][2] = vmlal_lane_s16(a[r][2], vget_low_s16(w1), v[r], lane);                                 \
            a[r][3] = vmlal_high_lane_s16(a[r][3], w1, v[r], lane);                                          \
        }                                                                                                    \
    } while (0)

INLINE void tile_int8(const struct k_panel *w, int n, const struct k_xrow *x, int R, float *y, size_t ldy,
                      int sub)
{
    const int8_t *q = w->q;
    for (int b = 0; b < n / sub; b++) {
        int32x4_t a[INT_ROWS][4];
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int c = 0; c < 4; c++) a[r][c] = vdupq_n_s32(0);
        for (int i = 0; i < sub; i += 4, q += 4 * K_PANEL) {
            int16x4_t v[INT_ROWS];
            UNROLL for (int r = 0; r < R; r++) v[r] = vld1_s16((const int16_t *)x[r].q + b * sub + i);
            INPUT(0);
            INPUT(1);
            INPUT(2);
            INPUT(3);
        }
        size_t at = (size_t)b * K_PANEL;
        UNROLL for (int c = 0; c < 4; c++) {
            float32x4_t d = scales(w, at + 4 * (size_t)c);
            float32x4_t m = w->m ? vld1q_f32(w->m + at + 4 * (size_t)c) : vdupq_n_f32(0.0f);
            UNROLL for (int r = 0; r < R; r++) {
                float *yr = y + (size_t)r * ldy + 4 * c;
                float32x4_t f = vmulq_f32(vcvtq_f32_s32(a[r][c]), vmulq_n_f32(d, x[r].d[b * sub / 32]));
                if (w->m) f = vfmaq_n_f32(f, m, sub == 16 ? x[r].s[b] : x[r].s[2 * b] + x[r].s[2 * b + 1]);
                vst1q_f32(yr, b ? vaddq_f32(vld1q_f32(yr), f) : f);
            }
        }
    }
}

INLINE void tile_subs(const struct k_panel *w, int n, const struct k_xrow *x, int R, float *y, size_t ldy)
{
    if (w->sub == 32) tile_int8(w, n, x, R, y, ldy, 32);
    else tile_int8(w, n, x, R, y, ldy, 16);
}

static void tile_int8_neon(const struct k_panel *w, int n, const struct k_xrow *x, int rows, float *y,
                           size_t ldy)
{
    for (; rows >= INT_ROWS; rows -= INT_ROWS, x += INT_ROWS, y += INT_ROWS * ldy)
        tile_subs(w, n, x, INT_ROWS, y, ldy);
    if (rows >= 2) {
        tile_subs(w, n, x, 2, y, ldy);
        rows -= 2, x += 2, y += 2 * ldy;
    }
    if (rows) tile_subs(w, n, x, 1, y, ldy);
}

static float dot_int8_neon(const int8_t *q, const float *d, const float *m, int sub, int n,
                           const struct k_xrow *x)
{
    const int16_t *xq = x->q;
    float32x4_t f = vdupq_n_f32(0.0f);
    float mins = 0.0f;
    for (int b = 0; b < n / sub; b++) {
        int32x4_t a = vdupq_n_s32(0), c = vdupq_n_s32(0);
        for (int i = b * sub; i < (b + 1) * sub; i += 16) {
            int8x16_t bytes = vld1q_s8(q + i);
            int16x8_t w0 = vmovl_s8(vget_low_s8(bytes)), w1 = vmovl_high_s8(bytes);
            int16x8_t x0 = vld1q_s16(xq + i), x1 = vld1q_s16(xq + i + 8);
            a = vmlal_s16(a, vget_low_s16(w0), vget_low_s16(x0));
            c = vmlal_high_s16(c, w0, x0);
            a = vmlal_s16(a, vget_low_s16(w1), vget_low_s16(x1));
            c = vmlal_high_s16(c, w1, x1);
        }
        f = vfmaq_n_f32(f, vcvtq_f32_s32(vaddq_s32(a, c)), d[b] * x->d[b * sub / 32]);
        if (m) mins += m[b] * (sub == 16 ? x->s[b] : x->s[2 * b] + x->s[2 * b + 1]);
    }
    return vaddvq_f32(f) + mins;
}

/* ---- f32 ---- */

void k_pack_f32_neon(const float *w, size_t ldw, int n, void *dst)
{
    float *out = dst;
    int i = 0;
    for (; i + 4 <= n; i += 4)
        for (int r = 0; r < K_PANEL; r += 4) {
            const float *from = w + (size_t)r * ldw + i;
            float32x4x2_t x = vtrnq_f32(vld1q_f32(from), vld1q_f32(from + ldw));
            float32x4x2_t y = vtrnq_f32(vld1q_f32(from + 2 * ldw), vld1q_f32(from + 3 * ldw));
            float *to = out + i * K_PANEL + r;
            vst1q_f32(to, vcombine_f32(vget_low_f32(x.val[0]), vget_low_f32(y.val[0])));
            vst1q_f32(to + K_PANEL, vcombine_f32(vget_low_f32(x.val[1]), vget_low_f32(y.val[1])));
            vst1q_f32(to + 2 * K_PANEL, vcombine_f32(vget_high_f32(x.val[0]), vget_high_f32(y.val[0])));
            vst1q_f32(to + 3 * K_PANEL, vcombine_f32(vget_high_f32(x.val[1]), vget_high_f32(y.val[1])));
        }
    for (; i < n; i++)
        for (int r = 0; r < K_PANEL; r++) out[i * K_PANEL + r] = w[(size_t)r * ldw + (size_t)i];
}

INLINE void tile_f32(const float *w, int n, const void *const *x, int R, float *y, size_t ldy, bool acc)
{
    float32x4_t a[K_MR][4];
    const float *xr[K_MR];
    UNROLL for (int r = 0; r < R; r++) {
        xr[r] = x[r];
        UNROLL for (int c = 0; c < 4; c++)
            a[r][c] = acc ? vld1q_f32(y + (size_t)r * ldy + 4 * c) : vdupq_n_f32(0.0f);
    }
    for (int i = 0; i < n; i++, w += K_PANEL) {
        float32x4_t v[4];
        UNROLL for (int c = 0; c < 4; c++) v[c] = vld1q_f32(w + 4 * c);
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int c = 0; c < 4; c++) a[r][c] = vfmaq_n_f32(a[r][c], v[c], xr[r][i]);
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int c = 0; c < 4; c++) vst1q_f32(y + (size_t)r * ldy + 4 * c, a[r][c]);
}

static void tile_f32_neon(const void *w, size_t pstride, int panels, int n, const void *const *x, int rows,
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

const struct k_int8 int8_neon = {
    .name = "int16 neon",
    .rows = INT_ROWS,
    .x_elem = sizeof(int16_t),
    .x_max = 32767,
    .quant = quant_neon,
    .pack = pack_int8_neon,
    .tile = tile_int8_neon,
    .dot = dot_int8_neon,
};
const struct k_float_gemm f32_neon = {
    .name = "f32 neon",
    .elem = sizeof(float),
    .convert = convert_f32_c,
    .pack = k_pack_f32_neon,
    .tile = tile_f32_neon,
};
