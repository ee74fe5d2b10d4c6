/* The inside of a prefill, shared by prefill.c (its order) and prefill_rows.c (blocks of rows). */
#ifndef MODEL_PREFILL_INT_H
#define MODEL_PREFILL_INT_H

#include "model/session_int.h"

/* Buffers of one prefill; sizes follow from the prompt and are taken before work starts. */
struct work {
    struct session *s;
    struct prefill_args *a;
    int n, first;                   /* rows first .. n-1 are computed, those before are taken over */
    float *x;                       /* [n][n_embd] residual stream */
    float *att;                     /* [n][n_heads * D] */
    void *block;                    /* of the four that follow */
    float *q, *k, *v;               /* head-major, one layer */
    float *lse, *mass;
    bool by_rows;                   /* each thread takes rows of its own through the linear parts */
    int chunk;                      /* rows that the linear parts take at a time otherwise */
    float *xn, *qt, *kt, *vt, *gate, *up;   /* [chunk][...] */
    struct sac_plan *plan;
    struct sac_shared *shared;      /* of the plans of a layer */
    struct sac_arena *scratch;      /* [threads] */
    /* current step, for pool callbacks */
    const struct layer_weights *lw;
    const float *norm;
    float *rows_in, *rows_out;
    int layer, r0;
    struct sac_prefill_in in;
    const struct sac_part *part;
    atomic_bool failed;
};

static inline bool prefill_cancelled(const struct work *w)
{
    return w->a->cancel && atomic_load_explicit(w->a->cancel, memory_order_relaxed);
}

/* Projections of the tokens at pos .. pos+n-1 (rows ldq and ldk floats apart) become head-major, normed per
 * head and rotated; keys and values go to the cache as well. */
struct projected { const float *q, *k, *v; size_t ldq, ldk; };
void prefill_scatter(struct work *w, const struct projected *p, int pos, int n);

/* What mix() and project() of prefill.c do, of all rows from `first` on: for the layer that ends and for the
 * one that begins (NULL: none). False: out of memory. */
bool prefill_rows(struct work *w, const struct layer_weights *mixed, const struct layer_weights *projected);
#endif
