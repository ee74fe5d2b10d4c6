/* Matrix products on the pool.
 *
 * Work is split over rows of the weights, so that no two threads read the same weight and every output is
 * summed by one thread: results do not depend on the thread count. */
#include "model/linear.h"

#include <stdlib.h>

enum { ROWS_PER_RANGE = 16 };

struct product {
    struct sac_pool *p;
    const struct linear_job *job;
    const float *x;
    size_t ldx;
    int m;
};

static void dot_rows(void *ctx, int lo, int hi, int thread)
{
    const struct product *c = ctx;
    const struct k_mat *w = c->job->w;
    float *row = pool_scratch(c->p, thread, (size_t)w->cols * sizeof *row);
    for (int r = lo; r < hi; r++) {
        const char *src = (const char *)w->data + (size_t)r * w->row_bytes;
        float bias = c->job->bias ? c->job->bias[r] : 0.0f;
        if (row) k_ops()->dequant(w->type, src, w->cols, row);
        for (int i = 0; i < c->m; i++)
            c->job->y[(size_t)i * c->job->ldy + (size_t)r] =
                row ? k_ops()->dot(row, c->x + (size_t)i * c->ldx, w->cols) + bias : 0.0f;
    }
}

bool linear_prepare(struct k_mat *w, bool strict)
{
    (void)strict;
    w->packed = NULL;
    return true;
}

void linear_release(struct k_mat *w) { w->packed = NULL; }

size_t linear_packed_bytes(const struct k_mat *w)
{
    (void)w;
    return 0;
}

void linear_many(struct sac_pool *p, const struct linear_job *job, int n_jobs, const float *x, size_t ldx, int m)
{
    for (int j = 0; j < n_jobs; j++) {
        struct product c = { p, &job[j], x, ldx, m };
        pool_run(p, job[j].w->rows, ROWS_PER_RANGE, dot_rows, &c);
    }
}

void linear(struct sac_pool *p, const struct k_mat *w, const float *x, size_t ldx, int m, float *y, size_t ldy,
            const float *bias)
{
    linear_many(p, &(struct linear_job){ w, y, ldy, bias }, 1, x, ldx, m);
}
