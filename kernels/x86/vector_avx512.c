/* Operations on f32 vectors where 512 bits help: exponentials pooled by pieces. */
#include "attn512.h"
#include "levels.h"

void k_exp_pool_avx512(const float *x, float max, const int *end, int pieces, const float *skip, float *sum,
                       float *top, float *lost)
{
    const __m512 l2e = _mm512_set1_ps(1.44269504f), m = _mm512_set1_ps(max);
    for (int p = 0, i = 0; p < pieces; p++) {
        __m512 all = _mm512_setzero_ps(), part = all, most = all;
        for (; i + 16 <= end[p]; i += 16) {
            __m512 e = exp2_512(_mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + i), m), l2e));
            all = _mm512_add_ps(all, e);
            most = _mm512_max_ps(most, e);
            if (skip) part = _mm512_fmadd_ps(e, _mm512_loadu_ps(skip + i), part);
        }
        if (i < end[p]) {
            __mmask16 on = (__mmask16)((1u << (end[p] - i)) - 1);
            __m512 e = exp2_512(_mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(on, x + i), m), l2e));
            e = _mm512_maskz_mov_ps(on, e);
            all = _mm512_add_ps(all, e);
            most = _mm512_max_ps(most, e);
            if (skip) part = _mm512_fmadd_ps(e, _mm512_maskz_loadu_ps(on, skip + i), part);
            i = end[p];
        }
        float t = _mm512_reduce_max_ps(most);
        sum[p] += _mm512_reduce_add_ps(all);
        top[p] = t > top[p] ? t : top[p];
        if (skip) lost[p] += _mm512_reduce_add_ps(part);
    }
}
