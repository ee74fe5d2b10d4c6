/* Small parts that several AVX2 files inline. */
#ifndef KERNELS_AVX2_H
#define KERNELS_AVX2_H

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

/* 2^x for x <= 127, relative error 2e-7; 0 for x <= -127 and for -inf. */
INLINE __m256 exp2_256(__m256 x)
{
    x = _mm256_max_ps(x, _mm256_set1_ps(-127.0f));
    __m256 n = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = _mm256_sub_ps(x, n);
    __m256 p = _mm256_set1_ps(1.327647198e-3f);
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(9.675541334e-3f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(5.550713274e-2f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(2.402211972e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(6.931469671e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.000000072f));
    __m256i e = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(p, _mm256_castsi256_ps(e));
}

INLINE float sum_256(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE float max_256(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* y = tanh(x) on |x|, so that e^-2|x| never overflows; below 1/16 the difference cancels: x - x^3/3 +
 * 2x^5/15. */
INLINE __m256 tanh_256(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f), signs = _mm256_set1_ps(-0.0f);
    __m256 a = _mm256_andnot_ps(signs, x), e = exp2_256(_mm256_mul_ps(a, _mm256_set1_ps(-2.8853901f)));
    __m256 big = _mm256_div_ps(_mm256_sub_ps(one, e), _mm256_add_ps(one, e)), a2 = _mm256_mul_ps(a, a);
    __m256 small = _mm256_fmadd_ps(a2, _mm256_set1_ps(2.0f / 15.0f), _mm256_set1_ps(-1.0f / 3.0f));
    small = _mm256_fmadd_ps(_mm256_mul_ps(small, a2), a, a);
    __m256 t = _mm256_blendv_ps(big, small, _mm256_cmp_ps(a, _mm256_set1_ps(0.0625f), _CMP_LT_OQ));
    return _mm256_or_ps(t, _mm256_and_ps(signs, x));
}
#endif
