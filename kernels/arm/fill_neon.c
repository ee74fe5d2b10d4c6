/* What NEON, which every 64-bit ARM has, brings to the table. */
#include "levels.h"

void level_neon(struct k_ops *ops)
{
    ops->dequant = k_dequant_neon;
    ops->dot = k_dot_neon;
    ops->rms_norm = k_rms_norm_neon;
    ops->silu_mul = k_silu_mul_neon;
    ops->gelu_mul = k_gelu_mul_neon;
    ops->add = k_add_neon;
    ops->exp_sum = k_exp_sum_neon;
    ops->max = k_max_neon;
    ops->cols_max = k_cols_max_neon;
    ops->cols_exp2 = k_cols_exp2_neon;
    ops->pool = NULL;
    ops->to_f16 = k_to_f16_neon;
    ops->from_f16 = k_from_f16_neon;
    ops->to_bf16 = k_to_bf16_neon;
    ops->from_bf16 = k_from_bf16_neon;
    ops->score_f32 = k_score_f32_neon;
    ops->score_f16 = k_score_f16_neon;
    ops->score_bf16 = k_score_bf16_neon;
    ops->scores = k_scores_neon;
    ops->values = k_values_neon;
    ops->unpack = k_unpack_neon;
    ops->int8 = int8_neon;
    ops->f32 = f32_neon;
    ops->attn = ops->attn_fast = attn_neon;
}
