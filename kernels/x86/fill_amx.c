/* What AMX (tiles with bf16 products) brings to the table. */
#include "levels.h"

void level_amx(struct k_ops *ops)
{
    ops->wide = gemm_amx;
    k_attn_amx(&ops->attn_fast);
}
