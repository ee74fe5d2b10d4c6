/* Matrix products with weights in any storage type, on the pool. */
#ifndef MODEL_LINEAR_H
#define MODEL_LINEAR_H

#include "base/pool.h"
#include "kernels.h"

/* Repack n matrices, once, at load: integer panels or planes for quantised types, bf16 ... where the CPU has
 * products with them. They share memory: release all or none. strict: keep f32 activations and the weights as
 * they are. false: out of memory. */
bool linear_prepare(struct sac_pool *p, struct k_mat *w, int n, bool strict);
void linear_release(struct k_mat *w);
size_t linear_packed_bytes(const struct k_mat *w); /* what it takes; before it is prepared: will take */

/* y[m][w->rows] (row stride ldy) = x[m][w->cols] (row stride ldx) * W^T + bias (NULL: none). The fast path
 * is chosen by m and by the type of w. `groups` of matrices that share x are cheaper through linear_many. */
void linear(struct sac_pool *p, const struct k_mat *w, const float *x, size_t ldx, int m, float *y,
            size_t ldy, const float *bias);

/* Which of the CPU's products m rows of x meet this matrix with: f32, the fastest floats, or integers. */
enum linear_unit { LINEAR_F32, LINEAR_FAST, LINEAR_INTEGERS };
enum linear_unit linear_unit(const struct k_mat *w, int m);

struct linear_job { const struct k_mat *w; float *y; size_t ldy; const float *bias; };
/* Several matrices with the same input: activations are converted once. */
void linear_many(struct sac_pool *p, const struct linear_job *job, int n_jobs, const float *x, size_t ldx,
                 int m);

/* For those who multiply by themselves (k_ops()->wide): the panels of a matrix as bf16. A quantised one is
 * widened into memory of the caller's, others are there already. */
struct linear_panels { const uint16_t *at; size_t stride; };
bool linear_wide(const struct k_mat *w);             /* it has such panels at this level, once prepared */
size_t linear_wide_bytes(const struct k_mat *w);     /* what they take, where they have to be made */
/* Of n matrices, one after the other at mem (64-byte aligned). False: out of memory. */
bool linear_widen(struct sac_pool *p, struct k_mat *const *w, int n, char *mem, struct linear_panels *out);
#endif
