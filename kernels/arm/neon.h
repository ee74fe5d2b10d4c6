/* Small parts that several NEON files inline. */
#ifndef KERNELS_NEON_H
#define KERNELS_NEON_H

#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

/* 2^x for x <= 127, relative error 2e-7; 0 for x <= -127 and for -inf. */
INLINE float32x4_t exp2_128(float32x4_t x)
{
    x = vmaxq_f32(x, vdupq_n_f32(-127.0f));
    float32x4_t n = vrndnq_f32(x), f = vsubq_f32(x, n);
    float32x4_t p = vdupq_n_f32(1.327647198e-3f);
    p = vfmaq_f32(vdupq_n_f32(9.675541334e-3f), p, f);
    p = vfmaq_f32(vdupq_n_f32(5.550713274e-2f), p, f);
    p = vfmaq_f32(vdupq_n_f32(2.402211972e-1f), p, f);
    p = vfmaq_f32(vdupq_n_f32(6.931469671e-1f), p, f);
    p = vfmaq_f32(vdupq_n_f32(1.000000072f), p, f);
    int32x4_t e = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    return vmulq_f32(p, vreinterpretq_f32_s32(e));
}

/* y = tanh(x) on |x|, so that e^-2|x| never overflows; below 1/16 the difference cancels: x - x^3/3 +
 * 2x^5/15. */
INLINE float32x4_t tanh_128(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    float32x4_t a = vabsq_f32(x), e = exp2_128(vmulq_n_f32(a, -2.8853901f)), a2 = vmulq_f32(a, a);
    float32x4_t big = vdivq_f32(vsubq_f32(one, e), vaddq_f32(one, e));
    float32x4_t small = vfmaq_f32(vdupq_n_f32(-1.0f / 3.0f), a2, vdupq_n_f32(2.0f / 15.0f));
    small = vfmaq_f32(a, vmulq_f32(small, a2), a);
    float32x4_t t = vbslq_f32(vcltq_f32(a, vdupq_n_f32(0.0625f)), small, big);
    return vbslq_f32(vdupq_n_u32(0x80000000u), x, t);
}
#endif
