/* The scalar twins and the functions by which each CPU level improves the table. Internal to kernels/. */
#ifndef KERNELS_TWINS_H
#define KERNELS_TWINS_H

#include "kernels.h"

void dequant_row_c(enum k_type type, const void *row, int n, float *out);

float dot_c(const float *a, const float *b, int n);
void rms_norm_c(const float *x, const float *w, int n, float eps, float *y);
void silu_mul_c(const float *gate, const float *up, int n, float *y);
void gelu_mul_c(const float *gate, const float *up, int n, float *y);
void add_c(float *y, const float *x, int n);
void rotate_c(const float *cos, const float *sin, int half, float *x);
void score_f32_c(const float *q, const float *k, int dim, int n, float scale, float *out);
void score_f16_c(const float *q, const uint16_t *k, int dim, int n, float scale, float *out);
void score_bf16_c(const float *q, const uint16_t *k, int dim, int n, float scale, float *out);
float exp_sum_c(float *x, int n, float max);
void add_rows_c(float *y, const float *x, size_t ldx, const float *w, int rows, int n);
float max_c(const float *x, int n);
void softcap_c(float *x, int n, float cap);
void cols_max_c(const float *x, size_t ld, int keys, int n, float *top);
void cols_exp2_c(const float *x, size_t ld, int keys, int n, const float *shift, float *sum);
void pool_c(const struct k_pool *p, const float *key, int n, const uint64_t *lost, const uint64_t *seen);
void fold_c(const uint16_t *p, const float *w, int rows, int n, float *out);
int readers_c(const uint8_t *reader, int n, int *idx, uint8_t *kept);
void keep_c(float *x, int n, const uint8_t *reader, unsigned bit);
int above_c(const float *x, int n, float t, int *idx);
int part_c(const float *x, int n, float t, float *more, float *rest, double *sum);
int best_c(const float *x, int n, int k, int *idx);
void nibbles_c(const struct k_nibble_query *q, int heads, const void *groups, const int *at, int n, int dim,
               float *out, size_t stride);
void to_f16_c(const float *x, int n, uint16_t *y);
void from_f16_c(const uint16_t *x, int n, float *y);
void to_bf16_c(const float *x, int n, uint16_t *y);
void from_bf16_c(const uint16_t *x, int n, float *y);

void scores_c(enum k_type type, const float *q, int heads, const void *k, int dim, int n, float scale,
              float *out, size_t stride);
void values_c(enum k_type type, const float *w, size_t stride, int heads, const void *v, int dim, int n,
              float *out);
void attn_pack_q_c(const float *q, int dim, int dim_pad, float scale, void *dst);
void attn_pack_group_c(const float *const *k, const float *const *v, int n, int dim, int dim_pad, void *kdst,
                       void *vdst);
void attn_step_c(const struct k_attn_tile *t, const struct k_attn_group *g, int n_groups);
void attn_step_rows_c(const struct k_attn_tile *t, const struct k_attn_rows *rows,
                      const struct k_attn_group *g, int n_groups);
void attn_finish_c(const struct k_attn_tile *t, int dim, float *out, size_t ldo, float *lse2);
int unpack_c(enum k_type type, const void *row, int n, int8_t *q, float *d, float *m, bool *has_m);
void quant_c(const float *x, int n, void *q, float *d, float *s);
void pack_int8_c(const int8_t *q, int n, int8_t *dst);
void tile_int8_c(const struct k_panel *w, int n, const struct k_xrow *x, int rows, float *y, size_t ldy);
float dot_int8_c(const int8_t *q, const float *d, const float *m, int sub, int n, const struct k_xrow *x);
void convert_f32_c(const float *x, int n, void *dst);
void pack_f32_c(const float *w, size_t ldw, int n, void *dst);
void tile_f32_c(const void *w, size_t pstride, int panels, int n, const void *const *x, int rows, float *y,
                size_t ldy, bool acc);
float words_row_c(const float *x, int n, int16_t *q);
void words_pack_c(const int16_t *q, int n, int16_t *dst);
void tile_words_c(const int16_t *w, const float *ws, int panels, int n, const int16_t *x, const float *xs,
                  int rows, float *y, size_t ldy);

/* Each sets the entries that its level does better than what the table holds. */
void level_avx2(struct k_ops *ops);
void level_avx512(struct k_ops *ops);
void level_vnni(struct k_ops *ops);
void level_bf16(struct k_ops *ops);
void level_amx(struct k_ops *ops);
void level_neon(struct k_ops *ops);
#endif
