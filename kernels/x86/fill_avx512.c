/* What AVX-512 (F, BW, DQ, VL) brings to the table. */
#include "levels.h"

void level_avx512(struct k_ops *ops)
{
    ops->fold = k_fold_avx512;
    ops->f32 = f32_avx512;
    ops->attn = ops->attn_fast = attn_avx512;
}
