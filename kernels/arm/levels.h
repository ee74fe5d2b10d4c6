/* What the arm files offer each other and their table filler. */
#ifndef KERNELS_LEVELS_H
#define KERNELS_LEVELS_H

#include "twins.h"

extern const struct k_attn attn_neon;

float k_dot_neon(const float *a, const float *b, int n);
void k_rms_norm_neon(const float *x, const float *w, int n, float eps, float *y);
void k_silu_mul_neon(const float *gate, const float *up, int n, float *y);
void k_gelu_mul_neon(const float *gate, const float *up, int n, float *y);
void k_add_neon(float *y, const float *x, int n);
float k_exp_sum_neon(float *x, int n, float max);
float k_max_neon(const float *x, int n);
void k_cols_max_neon(const float *x, size_t ld, int keys, int n, float *top);
void k_cols_exp2_neon(const float *x, size_t ld, int keys, int n, const float *shift, float *sum);
void k_to_f16_neon(const float *x, int n, uint16_t *y);
void k_from_f16_neon(const uint16_t *x, int n, float *y);
void k_to_bf16_neon(const float *x, int n, uint16_t *y);
void k_from_bf16_neon(const uint16_t *x, int n, float *y);
void k_score_f32_neon(const float *q, const float *k, int dim, int n, float scale, float *out);
void k_score_f16_neon(const float *q, const uint16_t *k, int dim, int n, float scale, float *out);
void k_score_bf16_neon(const float *q, const uint16_t *k, int dim, int n, float scale, float *out);
void k_scores_neon(enum k_type type, const float *q, int heads, const void *k, int dim, int n, float scale,
                   float *out, size_t stride);
void k_values_neon(enum k_type type, const float *w, size_t stride, int heads, const void *v, int dim, int n,
                   float *out);
int k_unpack_neon(enum k_type type, const void *row, int n, int8_t *q, float *d, float *m, bool *has_m);
void k_dequant_neon(enum k_type type, const void *row, int n, float *out);
void k_pack_f32_neon(const float *w, size_t ldw, int n, void *dst);
extern const struct k_int8 int8_neon;
extern const struct k_float_gemm f32_neon;
#endif
