/* What the x86 files offer each other: whole families at a level. */
#ifndef KERNELS_LEVELS_H
#define KERNELS_LEVELS_H

#include "../twins.h"

extern const struct k_attn attn_avx2, attn_avx512, attn_bf16;
void k_fold_avx2(const float *e, int rows, const float *factor, float *mass, float *max);
void k_fold_avx512(const float *e, int rows, const float *factor, float *mass, float *max);
#endif
