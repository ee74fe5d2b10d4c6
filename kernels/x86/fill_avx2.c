/* What AVX2 with FMA and F16C brings to the table. */
#include "levels.h"

void level_avx2(struct k_ops *ops)
{
    ops->dequant = k_dequant_avx2;
    ops->dot = k_dot_avx2;
    ops->rms_norm = k_rms_norm_avx2;
    ops->silu_mul = k_silu_mul_avx2;
    ops->rotate = k_rotate_avx2;
    ops->gelu_mul = k_gelu_mul_avx2;
    ops->add = k_add_avx2;
    ops->exp_sum = k_exp_sum_avx2;
    ops->max = k_max_avx2;
    ops->softcap = k_softcap_avx2;
    ops->cols_max = k_cols_max_avx2;
    ops->cols_exp2 = k_cols_exp2_avx2;
    ops->pool = k_pool_avx2;
    ops->add_rows = k_add_rows_avx2;
    ops->readers = k_readers_avx2;
    ops->keep = k_keep_avx2;
    ops->above = k_above_avx2;
    ops->part = k_part_avx2;
    ops->nibbles = k_nibbles_avx2;
    ops->to_f16 = k_to_f16_avx2;
    ops->from_f16 = k_from_f16_avx2;
    ops->to_bf16 = k_to_bf16_avx2;
    ops->from_bf16 = k_from_bf16_avx2;
    ops->score_f32 = k_score_f32_avx2;
    ops->score_f16 = k_score_f16_avx2;
    ops->score_bf16 = k_score_bf16_avx2;
    ops->scores = k_scores_avx2;
    ops->values = k_values_avx2;
    ops->unpack = k_unpack_avx2;
    ops->int8 = int8_avx2;
    ops->f32 = f32_avx2;
    ops->attn = ops->attn_fast = attn_avx2;
}
