/* What the two halves of `saccade select` share: the input, and where results go. */
#ifndef STUDY_SELECT_INT_H
#define STUDY_SELECT_INT_H

#include "base/pool.h"
#include "file/tensors.h"
#include <saccade/method.h>
#include <saccade/select.h>

struct select_run {
    const struct sac_select_args *a;
    struct sac_select_result *out;
    struct sac_err *err;
    struct sac_pool *pool;
    struct st_writer *w;         /* NULL: nothing is written */
    int n, n_heads, n_kv_heads, dim;
    float *q, *k, *v;            /* [heads][n][dim] */
    struct sac_spec spec;
};

enum sac_code select_put(struct select_run *r, enum st_dtype type, int n_dims, const int64_t *shape,
                         const void *data, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* The last `steps` tokens as decode steps, in select_decode.c. */
enum sac_code select_decode(struct select_run *r, int steps);
double select_clock(void);

#endif
