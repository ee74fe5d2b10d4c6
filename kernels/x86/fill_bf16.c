/* What AVX512_BF16 brings to the table. */
#include "levels.h"

void level_bf16(struct k_ops *ops)
{
    ops->bf16 = gemm_bf16;
    ops->attn_fast = attn_bf16;
}
