/* What AVX-512 (F, BW, DQ, VL) brings to the table. */
#include "levels.h"

void level_avx512(struct k_ops *ops)
{
    ops->exp_sum = k_exp_sum_avx512;
    ops->max = k_max_avx512;
    ops->readers = k_readers_avx512;
    ops->keep = k_keep_avx512;
    ops->above = k_above_avx512;
    ops->part = k_part_avx512;
    ops->best = k_best_avx512;
    ops->score_f32 = k_score_f32_avx512;
    ops->score_f16 = k_score_f16_avx512;
    ops->score_bf16 = k_score_bf16_avx512;
    ops->scores = k_scores_avx512;
    ops->values = k_values_avx512;
    ops->cols_max = k_cols_max_avx512;
    ops->cols_exp2 = k_cols_exp2_avx512;
    ops->pool = k_pool_avx512;
    ops->dot = k_dot_avx512;
    ops->rms_norm = k_rms_norm_avx512;
    ops->silu_mul = k_silu_mul_avx512;
    ops->add = k_add_avx512;
    ops->add_rows = k_add_rows_avx512;
    ops->f32 = f32_avx512;
    ops->attn = ops->attn_fast = attn_avx512;
}
