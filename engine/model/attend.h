/* The executor: attention over the keys a plan lists, for prefill tiles and for decode. Every method's
 * speed and numbers come from here; dense is the plan that covers everything. */
#ifndef MODEL_ATTEND_H
#define MODEL_ATTEND_H

#include "base/pool.h"
#include <saccade/method.h>
#include <saccade/model.h>
#include <stdatomic.h>

struct attend_prefill {
    int n_heads, n_kv_heads, head_dim, n;   /* rows and keys 0 .. n-1 */
    int row0;                               /* rows from here on are wanted; a few before may be written */
    float scale, softcap;
    int window;                             /* 0: none */
    const float *q;                         /* [n_heads][q_stride] rows of head_dim, rotated, not scaled */
    const float *k, *v;                     /* [n_kv_heads][k_stride] rows of head_dim */
    size_t q_stride, k_stride;
    const struct sac_plan *plan;            /* [n_heads]; NULL: dense */
    float *out; size_t ldo;                 /* row t at out + t*ldo, head h at + h*head_dim */
    float *lse;                             /* [n_heads][n] log-sum-exp over the keys read, or NULL */
    float *mass;                            /* [n_kv_heads][n]: what a key receives from all rows and heads, or
                                             * NULL; dense and from row 0 on */
    bool has_mass;                          /* out: the kernels of this CPU could tell */
    bool strict;                            /* f32 products; otherwise the fastest the CPU has (bf16) */
    const atomic_bool *cancel;              /* checked between tiles; NULL: never */
    double flops;                           /* out: multiply-adds done x 2, masked cells included */
};
/* Scratch memory is kept per pool thread between calls. False: out of memory or cancelled. */
bool attend_prefill(struct sac_pool *p, struct attend_prefill *a);

/* K and V of one KV head as the cache stores them: slot i at base + i*head_dim elements of `type`. */
struct attend_cache { enum sac_kv_type type; const void *k, *v; int n; };

struct attend_decode {
    int n_heads, n_kv_heads, head_dim;
    float scale, softcap;
    const float *q;                         /* [n_heads][head_dim] */
    const struct attend_cache *kv;          /* [n_kv_heads] */
    const struct sac_rows *rows;            /* NULL: all slots */
    bool rows_per_head;                     /* rows[n_heads] instead of rows[n_kv_heads] */
    float *out;                             /* [n_heads][head_dim] */
    float *lse;                             /* [n_heads] or NULL */
    float *const *weight;                   /* [n_heads] probabilities of the slots read, in order; or NULL */
};
/* Splits the context over threads and merges by log-sum-exp; the heads of a group share one pass. */
void attend_decode(struct sac_pool *p, const struct attend_decode *a);
#endif
