/* Operations on f32 vectors, NEON: norms, activations, sums, maxima, page bounds and conversions.
 *
 * NEON has no masked loads: a tail of one to three floats goes through a block of four on the stack, whose
 * other lanes hold zero. */
#include "neon.h"
#include "levels.h"

#include <math.h>
#include <string.h>

INLINE float32x4_t load_tail(const float *x, int n)
{
    float t[4] = { 0 };
    memcpy(t, x, (size_t)n * sizeof *t);
    return vld1q_f32(t);
}

INLINE void store_tail(float *y, float32x4_t v, int n)
{
    float t[4];
    vst1q_f32(t, v);
    memcpy(y, t, (size_t)n * sizeof *t);
}

float k_dot_neon(const float *a, const float *b, int n)
{
    float32x4_t s[4];
    UNROLL for (int j = 0; j < 4; j++) s[j] = vdupq_n_f32(0.0f);
    int i = 0;
    for (; i + 16 <= n; i += 16)
        UNROLL for (int j = 0; j < 4; j++)
            s[j] = vfmaq_f32(s[j], vld1q_f32(a + i + 4 * j), vld1q_f32(b + i + 4 * j));
    for (; i + 4 <= n; i += 4) s[0] = vfmaq_f32(s[0], vld1q_f32(a + i), vld1q_f32(b + i));
    if (i < n) s[1] = vfmaq_f32(s[1], load_tail(a + i, n - i), load_tail(b + i, n - i));
    return vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[1]), vaddq_f32(s[2], s[3])));
}

void k_rms_norm_neon(const float *x, const float *w, int n, float eps, float *y)
{
    float inv = 1.0f / sqrtf(k_dot_neon(x, x, n) / (float)n + eps);
    int i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), inv), vld1q_f32(w + i)));
    for (; i < n; i++) y[i] = x[i] * inv * w[i];
}

INLINE float32x4_t silu(float32x4_t g, float32x4_t u) /* g / (1 + e^-g), the exponent in exp2_128's range */
{
    float32x4_t t = vminq_f32(vmulq_n_f32(g, -1.44269504f), vdupq_n_f32(126.0f));
    return vmulq_f32(vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), exp2_128(t))), u);
}

INLINE float32x4_t gelu(float32x4_t g, float32x4_t u)
{
    float32x4_t g3 = vmulq_f32(vmulq_f32(g, g), g);
    float32x4_t t = tanh_128(vmulq_n_f32(vfmaq_n_f32(g, g3, 0.044715f), 0.79788456080286536f));
    return vmulq_f32(vmulq_f32(vmulq_n_f32(g, 0.5f), vaddq_f32(vdupq_n_f32(1.0f), t)), u);
}

#define DEFINE_PAIR(NAME, F)                                                                                 \
    void NAME(const float *gate, const float *up, int n, float *y)                                           \
    {                                                                                                        \
        int i = 0;                                                                                           \
        for (; i + 4 <= n; i += 4) vst1q_f32(y + i, F(vld1q_f32(gate + i), vld1q_f32(up + i)));              \
        if (i < n) store_tail(y + i, F(load_tail(gate + i, n - i), load_tail(up + i, n - i)), n - i);        \
    }
DEFINE_PAIR(k_silu_mul_neon, silu)
DEFINE_PAIR(k_gelu_mul_neon, gelu)

void k_add_neon(float *y, const float *x, int n)
{
    int i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vaddq_f32(vld1q_f32(y + i), vld1q_f32(x + i)));
    for (; i < n; i++) y[i] += x[i];
}

float k_exp_sum_neon(float *x, int n, float max)
{
    const float32x4_t m = vdupq_n_f32(max);
    float32x4_t sum = vdupq_n_f32(0.0f);
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t e = exp2_128(vmulq_n_f32(vsubq_f32(vld1q_f32(x + i), m), 1.44269504f));
        vst1q_f32(x + i, e);
        sum = vaddq_f32(sum, e);
    }
    float total = vaddvq_f32(sum);
    if (i < n) {
        float t[4];
        vst1q_f32(t, exp2_128(vmulq_n_f32(vsubq_f32(load_tail(x + i, n - i), m), 1.44269504f)));
        for (int j = 0; i < n; i++, j++) total += x[i] = t[j];
    }
    return total;
}

float k_max_neon(const float *x, int n)
{
    if (n < 4) return max_c(x, n);
    float32x4_t m = vld1q_f32(x);
    for (int i = 4; i + 4 <= n; i += 4) m = vmaxq_f32(m, vld1q_f32(x + i));
    return vmaxvq_f32(vmaxq_f32(m, vld1q_f32(x + n - 4))); /* the last four, some of them again */
}

void k_cols_max_neon(const float *x, size_t ld, int keys, int n, float *top)
{
    for (int r = 0; r < n; r += 16) {
        float32x4_t m[4];
        UNROLL for (int j = 0; j < 4; j++) m[j] = vld1q_f32(top + r + 4 * j);
        const float *at = x + r;
        for (int k = 0; k < keys; k++, at += ld)
            UNROLL for (int j = 0; j < 4; j++) m[j] = vmaxq_f32(m[j], vld1q_f32(at + 4 * j));
        UNROLL for (int j = 0; j < 4; j++) vst1q_f32(top + r + 4 * j, m[j]);
    }
}

void k_cols_exp2_neon(const float *x, size_t ld, int keys, int n, const float *shift, float *sum)
{
    for (int r = 0; r < n; r += 16) {
        float32x4_t s[4], d[4];
        UNROLL for (int j = 0; j < 4; j++) {
            s[j] = vld1q_f32(sum + r + 4 * j);
            d[j] = vld1q_f32(shift + r + 4 * j);
        }
        const float *at = x + r;
        for (int k = 0; k < keys; k++, at += ld)
            UNROLL for (int j = 0; j < 4; j++) s[j] =
                vaddq_f32(s[j], exp2_128(vsubq_f32(vld1q_f32(at + 4 * j), d[j])));
        UNROLL for (int j = 0; j < 4; j++) vst1q_f32(sum + r + 4 * j, s[j]);
    }
}

void k_to_f16_neon(const float *x, int n, uint16_t *y)
{
    int i = 0;
    for (; i + 4 <= n; i += 4) vst1_u16(y + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    to_f16_c(x + i, n - i, y + i);
}

void k_from_f16_neon(const uint16_t *x, int n, float *y)
{
    int i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x + i))));
    from_f16_c(x + i, n - i, y + i);
}

void k_to_bf16_neon(const float *x, int n, uint16_t *y)
{
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        uint32x4_t u = vreinterpretq_u32_f32(v), even = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
        uint32x4_t r = vaddq_u32(u, vaddq_u32(vdupq_n_u32(0x7fff), even));
        r = vbslq_u32(vceqq_f32(v, v), r, vorrq_u32(u, vdupq_n_u32(0x400000))); /* NaN stays NaN */
        vst1_u16(y + i, vshrn_n_u32(r, 16));
    }
    to_bf16_c(x + i, n - i, y + i);
}

void k_from_bf16_neon(const uint16_t *x, int n, float *y)
{
    int i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(x + i), 16)));
    from_bf16_c(x + i, n - i, y + i);
}
