/* What AVX2 with FMA and F16C brings to the table. */
#include "levels.h"

void level_avx2(struct k_ops *ops)
{
    ops->fold = k_fold_avx2;
    ops->attn = ops->attn_fast = attn_avx2;
}
