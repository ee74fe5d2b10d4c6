/* What the x86 files offer each other and their table fillers. */
#ifndef KERNELS_LEVELS_H
#define KERNELS_LEVELS_H

#include "twins.h"

extern const struct k_attn attn_avx2, attn_avx512, attn_bf16;

float k_dot_avx2(const float *a, const float *b, int n);
void k_rms_norm_avx2(const float *x, const float *w, int n, float eps, float *y);
void k_silu_mul_avx2(const float *gate, const float *up, int n, float *y);
void k_gelu_mul_avx2(const float *gate, const float *up, int n, float *y);
void k_add_avx2(float *y, const float *x, int n);
void k_rotate_avx2(const float *cos, const float *sin, int half, float *x);
float k_exp_sum_avx2(float *x, int n, float max);
float k_max_avx2(const float *x, int n);
void k_softcap_avx2(float *x, int n, float cap);
void k_cols_max_avx2(const float *x, size_t ld, int keys, int n, float *top);
void k_cols_exp2_avx2(const float *x, size_t ld, int keys, int n, const float *shift, float *sum);
void k_cols_max_avx512(const float *x, size_t ld, int keys, int n, float *top);
void k_cols_exp2_avx512(const float *x, size_t ld, int keys, int n, const float *shift, float *sum);
void k_pool_avx2(const struct k_pool *p, const float *key, int n, const uint64_t *lost,
                 const uint64_t *seen);
void k_pool_avx512(const struct k_pool *p, const float *key, int n, const uint64_t *lost,
                   const uint64_t *seen);
void k_add_rows_avx2(float *y, const float *x, size_t ldx, const float *w, int rows, int n);
float k_dot_avx512(const float *a, const float *b, int n);
void k_rms_norm_avx512(const float *x, const float *w, int n, float eps, float *y);
void k_silu_mul_avx512(const float *gate, const float *up, int n, float *y);
void k_add_avx512(float *y, const float *x, int n);
void k_add_rows_avx512(float *y, const float *x, size_t ldx, const float *w, int rows, int n);
/* Of exponentials times K_KEPT as f16, or as bf16 */
void k_fold_avx2(const uint16_t *p, const float *w, int rows, int n, float *out);
void k_fold_avx512(const uint16_t *p, const float *w, int rows, int n, float *out);
void k_fold_bf16(const uint16_t *p, const float *w, int rows, int n, float *out);
int k_readers_avx2(const uint8_t *reader, int n, int *idx, uint8_t *kept);
int k_readers_avx512(const uint8_t *reader, int n, int *idx, uint8_t *kept);
void k_keep_avx2(float *x, int n, const uint8_t *reader, unsigned bit);
int k_above_avx2(const float *x, int n, float t, int *idx);
int k_best_avx512(const float *x, int n, int k, int *idx);
void k_keep_avx512(float *x, int n, const uint8_t *reader, unsigned bit);
int k_above_avx512(const float *x, int n, float t, int *idx);
int k_part_avx2(const float *x, int n, float t, float *more, float *rest, double *sum);
int k_part_avx512(const float *x, int n, float t, float *more, float *rest, double *sum);
void k_nibbles_avx2(const struct k_nibble_query *q, int heads, const void *groups, const int *at, int n,
                    int dim, float *out, size_t stride);
void k_nibbles_vnni(const struct k_nibble_query *q, int heads, const void *groups, const int *at, int n,
                    int dim, float *out, size_t stride);
void k_to_f16_avx2(const float *x, int n, uint16_t *y);
void k_from_f16_avx2(const uint16_t *x, int n, float *y);
void k_to_bf16_avx2(const float *x, int n, uint16_t *y);
void k_from_bf16_avx2(const uint16_t *x, int n, float *y);
void k_score_f32_avx2(const float *q, const float *k, int dim, int n, float scale, float *out);
void k_score_f16_avx2(const float *q, const uint16_t *k, int dim, int n, float scale, float *out);
void k_score_bf16_avx2(const float *q, const uint16_t *k, int dim, int n, float scale, float *out);
void k_scores_avx2(enum k_type type, const float *q, int heads, const void *k, int dim, int n, float scale,
                   float *out, size_t stride);
void k_values_avx2(enum k_type type, const float *w, size_t stride, int heads, const void *v, int dim, int n,
                   float *out);
void k_score_f32_avx512(const float *q, const float *k, int dim, int n, float scale, float *out);
void k_score_f16_avx512(const float *q, const uint16_t *k, int dim, int n, float scale, float *out);
void k_score_bf16_avx512(const float *q, const uint16_t *k, int dim, int n, float scale, float *out);
void k_scores_avx512(enum k_type type, const float *q, int heads, const void *k, int dim, int n, float scale,
                     float *out, size_t stride);
void k_values_avx512(enum k_type type, const float *w, size_t stride, int heads, const void *v, int dim,
                     int n, float *out);
float k_exp_sum_avx512(float *x, int n, float max);
float k_max_avx512(const float *x, int n);
int k_unpack_avx2(enum k_type type, const void *row, int n, int8_t *q, float *d, float *m, bool *has_m);
void k_dequant_avx2(enum k_type type, const void *row, int n, float *out);
void k_pack_f32_avx2(const float *w, size_t ldw, int n, void *dst);
extern const struct k_int8 int8_avx2, int8_vnni;
extern const struct k_words words_vnni;
extern const struct k_planes planes_avx2, planes_vnni;
void k_pack_int8_avx2(const int8_t *q, int n, int8_t *dst);
void k_pack_int8_vnni(const int8_t *q, int n, int8_t *dst);
void k_attn_finish_avx512(const struct k_attn_tile *t, int dim, float *out, size_t ldo, float *lse2);
void k_attn_amx(struct k_attn *a);   /* attn_bf16 with its products on tiles */
void k_strip_pack_amx(const float *x, int rows, int dim, uint16_t *q);
void k_strip_score_amx(const void *k, int keys, int dim, const uint16_t *q, float *out, size_t ld);
void k_strip_sum_amx(const struct k_strip *s, float *sum);
void k_strip_add_amx(const struct k_strip *s, float *by_key, float *by_offset);
extern const struct k_wide_gemm gemm_amx;
extern const struct k_float_gemm f32_avx2, f32_avx512, gemm_bf16;
#endif
