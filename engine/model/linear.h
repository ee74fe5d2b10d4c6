/* Matrix products with weights in any storage type, on the pool. */
#ifndef MODEL_LINEAR_H
#define MODEL_LINEAR_H

#include "base/pool.h"
#include "kernels.h"

/* Repack what profits from it (int8 for Q8_0 with VNNI, bf16 ...). Called once per matrix at load, memory
 * is malloc'ed and owned by the matrix. strict: keep f32 activations. false: out of memory. */
bool linear_prepare(struct k_mat *w, bool strict);
void linear_release(struct k_mat *w);
size_t linear_packed_bytes(const struct k_mat *w);

/* y[m][w->rows] (row stride ldy) = x[m][w->cols] (row stride ldx) * W^T + bias (NULL: none). The fast path
 * is chosen by m and by the type of w. `groups` of matrices that share x are cheaper through linear_many. */
void linear(struct sac_pool *p, const struct k_mat *w, const float *x, size_t ldx, int m, float *y,
            size_t ldy, const float *bias);

struct linear_job { const struct k_mat *w; float *y; size_t ldy; const float *bias; };
/* Several matrices with the same input: activations are converted once. */
void linear_many(struct sac_pool *p, const struct linear_job *job, int n_jobs, const float *x, size_t ldx,
                 int m);
#endif
