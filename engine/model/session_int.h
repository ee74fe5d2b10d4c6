/* The inside of a session, shared by session.c (life, cache, fork), prefill.c and decode.c. */
#ifndef MODEL_SESSION_INT_H
#define MODEL_SESSION_INT_H

#include "model/attend.h"
#include "model/linear.h"
#include "model/model_int.h"
#include "model/rope.h"
#include "model/session.h"

/* K and V of one KV head: slot i at element i * head_dim. After eviction or drops, pos[] says which token a
 * slot holds; NULL means slot == position. */
struct kv_head { void *k, *v; int *pos; int n, cap; };

/* Working memory of one decoded token. */
struct decode_work {
    float *x, *xn, *q, *k, *v, *att, *tmp, *gate, *up, *weight;
    struct sac_rows *rows, *abs;   /* [n_heads]: slots to read, and the same as positions */
    struct sac_run *runs;
    struct attend_cache *cache;    /* [n_kv_heads] */
    int *n_slots, *drop;           /* [n_kv_heads]; the slot that a head drops, -1: none */
    const int **slot_pos;
    uint64_t *seen;                /* a bit for each slot */
    float **weights;               /* [n_heads] */
};

struct session {
    struct sac_model *m;
    const struct hparams *hp;
    enum sac_kv_type kv_type;
    size_t kv_size;                /* bytes of one element */
    int n, max_tokens;             /* tokens so far (positions), limit */
    struct kv_head *kv;            /* [n_layers][n_kv_heads] */
    char *kv_mem, *kv_next;        /* keys and values of all heads; where the next head's begin */
    size_t kv_reserved, kv_bytes;  /* bytes of it: asked for, and what is there */
    struct rope_table rope, rope_local;
    bool owns_rope;
    float *logits;
    struct sac_arena arena;        /* decode work and method state */
    struct decode_work work;
    bool work_ready;
    /* decode method */
    const struct sac_spec *spec;
    const struct sac_part *part;
    void *state;
    bool evicted;
    struct sac_span force;
    int force_layer, force_kv;
    struct session_stats stats;
};

static inline struct kv_head *kv_at(const struct session *s, int layer, int head)
{
    return &s->kv[(size_t)layer * (size_t)s->hp->shape.n_kv_heads + (size_t)head];
}

static inline const struct rope_table *rope_of(const struct session *s, int layer)
{
    return s->hp->windowed && s->hp->windowed[layer] ? &s->rope_local : &s->rope;
}

static inline int window_of(const struct hparams *hp, int layer)
{
    return hp->windowed && hp->windowed[layer] ? hp->window : 0;
}

static inline bool force_applies(struct sac_span force, int force_layer, int layer)
{
    return force.hi > force.lo && (force_layer < 0 || force_layer == layer);
}

/* Store n rows of D floats from `src` at slot `at`, in the type of the cache. */
void kv_store(const struct session *s, void *base, int at, const float *src, int n);
void kv_load(const struct session *s, const void *base, int at, float *dst, int n);
bool decode_prepare(struct session *s);

enum { PREFILL_CHUNK = 512 };      /* rows of the linear parts of a prefill in work at once, by all threads */
/* Whether each thread takes blocks of rows of its own through them instead, and the memory that is for. */
bool prefill_by_rows(const struct sac_model *m, int rows);
size_t prefill_rows_bytes(const struct sac_model *m, int rows);    /* of one thread */
size_t prefill_panels_bytes(const struct sac_model *m);            /* of the widened weights of a layer */

void embed_token(const struct session *s, int id, float *x);
/* Output head of n rows that are already normed; logits [n][ld]. */
void output_head(const struct session *s, const float *x, int n, float *logits, size_t ld);
double clock_seconds(void);
#endif
