/* The inside of a trace: append-only records that the run fills and readers follow.
 *
 * Rules that make reading safe while a run goes on: arrays have their final size when they are published and
 * never move; counters (`ready`, `n_dec`, `n_tokens`, `n_lanes`) are stored with release after the data and
 * loaded with acquire before it; everything in `pub` is copied under the trace's mutex. */
#ifndef TRACE_INT_H
#define TRACE_INT_H

#include <pthread.h>
#include <saccade/method.h>
#include <saccade/trace.h>
#include <stdatomic.h>

enum { TRACE_MAX_LANES = 64, TRACE_TOP = 5 };

/* A shared, read-only array: lanes that take over the dense prefill share its q, k and v. */
struct blob { atomic_int refs; size_t bytes; void *data; void (*release)(struct blob *b); void *owner; };
struct blob *blob_take(void *data, size_t bytes); /* adopts malloc'ed data; NULL: out of memory, data freed */
struct blob *blob_share(struct blob *b);              /* NULL stays NULL */
/* Room that is filled later; spill: in a mapped file without a name, which the system can page out (in memory
 * where no folder takes one). */
struct blob *blob_room(size_t bytes, bool spill);
struct blob *blob_part(struct blob *whole, void *data, size_t bytes);   /* keeps the whole as long as it lives */
bool blob_spill_wanted(double bytes);                 /* more than half of the memory that is free, or tests */
void blob_drop(struct blob *b);

/* Plans of one layer, [n_heads]. */
struct plans { atomic_int refs; int n; struct sac_plan plan[]; };

/* What one decode step read at one layer, in positions: unit u has run[at[u]] .. run[at[u+1]-1]. Units are
 * query heads or KV heads. */
struct step_rows { int n_units; int *at; struct sac_run *run; };

struct layer_rec {
    atomic_bool ready;                     /* prefill part is complete */
    struct blob *q, *k, *v;                /* f32 [n_heads][n_prompt][D], [n_kv_heads][n_prompt][D] */
    struct blob *lse;                      /* f32 [n_heads][n_prompt], over the keys read in the run */
    _Atomic(struct blob *) overview;        /* f32 [2][n_heads][grid][grid]: max, mass; NULL: none yet */
    int grid;                              /* of it */
    struct plans *plans;                   /* NULL: dense prefill */
    int *kept_n; int **kept;               /* [n_kv_heads] positions kept after prefill; NULL: everything */
    float *q_dec, *k_dec, *v_dec;          /* [max_new][n_heads][D], [max_new][n_kv_heads][D] */
    struct step_rows **steps;              /* [max_new]; NULL entries: what kept and the past imply */
    atomic_int n_dec;                      /* decode rows recorded */
    atomic_bool absent;                    /* a recorded layer whose q, k, v still lie in the file */
    atomic_bool measured;
    struct sac_recall *recall[2];          /* [n_heads]: prefill, decode */
    struct sac_density *density[2];
    double layer_err[2];                   /* after the output projection; valid once measured */
    float *outputs[2];                     /* [ERROR_ROWS][n_heads][2][D] of heads, while a lane is measured */
    pthread_mutex_t lock;                  /* guards dense_lse */
    float **dense_lse; /* [n_heads] lazily: exact f32 log-sum-exp of prompt rows over all keys */
};

struct lane_rec {
    struct sac_lane pub;                   /* guarded by trace.lock */
    struct sac_spec spec;                  /* resolved */
    bool has_spec;
    struct layer_rec *layer;               /* [n_layers]; NULL with no_trace */
    int max_new;
    int *token;                            /* [max_new] generated */
    int *next_id; float *next_p;           /* [max_new][TRACE_TOP] */
    float *step_kl;                        /* [max_new], NAN */
    atomic_int n_tokens;
    struct sac_span force; int force_layer, force_kv;
};

struct sac_trace {
    atomic_int refs;
    pthread_mutex_t lock;
    atomic_ullong generation;
    struct sac_trace_info info;            /* strings owned below; n_lanes filled on reading */
    char *text, *task, *gold;
    int *ids;                              /* [n_prompt] */
    struct sac_span *spans;                /* [n_prompt] bytes of text */
    struct sac_span *gold_span; int *gold_item;
    double *scale, *softcap; int *window;  /* [n_layers] attention as it was computed */
    const struct sac_model *model;         /* token texts; NULL for a recorded trace */
    int n_pieces;
    int *piece_id;
    char **piece;
    int *piece_len; /* token texts of a recorded trace, ids sorted */
    struct lane_rec *lane[TRACE_MAX_LANES];
    atomic_int n_lanes;
    void (*notify)(void *ctx); void *notify_ctx;
    void (*close_file)(void *file); void *file;   /* a mapped recording behind the blobs */
    void (*load_layer)(const struct sac_trace *t, int lane, int layer); /* reads q, k, v of an absent layer */
    bool strict, f32_lse;                  /* f32 throughout; at least the run's lse come from f32 products */
};

/* An empty trace with room for n_prompt tokens; strings copied. NULL: out of memory. */
struct sac_trace *trace_new(const struct sac_trace_info *info, const int *ids, const struct sac_span *spans);
/* A lane in state queued. record: room for q, k, v of max_new decode steps. -1: full or out of memory. */
int trace_add_lane(struct sac_trace *t, const struct sac_spec *spec, int max_new, bool record);
void trace_changed(struct sac_trace *t);
/* Change the public part of a lane under the lock and tell readers. */
struct sac_lane *trace_lane_edit(struct sac_trace *t, int lane);
void trace_lane_done(struct sac_trace *t);
void plans_drop(struct plans *p);

static inline struct lane_rec *trace_lane_rec(const struct sac_trace *t, int lane)
{
    return lane >= 0 && lane < atomic_load_explicit(&t->n_lanes, memory_order_acquire) ? t->lane[lane] : NULL;
}
/* The layer of a lane once its prefill part is complete; NULL before. */
const struct layer_rec *trace_layer(const struct sac_trace *t, int lane, int layer);
/* The same with q, k, v and overview in memory: for whoever computes with them. q stays NULL when the file
 * cannot be read. */
const struct layer_rec *trace_layer_full(const struct sac_trace *t, int lane, int layer);

/* The bytes of a token, which may be part of a character: how many, and where they lie. */
int trace_vocab_bytes(const struct sac_trace *t, int id, const char **out);

/* q row and k rows as recorded: prompt or decode part. */
const float *rec_q(const struct sac_trace *t, const struct layer_rec *r, int head, int row);
const float *rec_k(const struct sac_trace *t, const struct layer_rec *r, int kv_head, int pos, bool values);
int rec_rows(const struct sac_trace *t, const struct layer_rec *r);
/* Scores of row `row` against keys lo .. hi-1 (hi <= row + 1), window not applied. */
void rec_scores(const struct sac_trace *t, const struct layer_rec *r, int layer, int head, int row, int lo,
                int hi, float *out);
int rec_first_key(const struct sac_trace *t, int layer, int row);    /* 0, or the start of the window */

/* Overviews of all heads of a layer, if it has none yet (overview.c). False: cancelled, out of memory, or q and k
 * are not there. */
bool overview_make(struct sac_trace *t, int lane, int layer, const atomic_bool *cancel);

/* ---- measures (measure.c) ---- */
void recall_unknown(struct sac_recall *r);   /* every value NAN, n_rows 0 */
/* A few rows, ascending, of one head at once (scored.c): scores of all keys they see, then weights instead. */
enum { SCORED_ROWS = 8 };
struct scored {
    const struct layer_rec *r;
    int head, n, row[SCORED_ROWS];
    size_t stride;
    float *x, *q;                          /* [SCORED_ROWS][stride], by key; queries */
    float *out;                            /* [SCORED_ROWS][D]: of the head, over all keys */
    bool weighed, has_out;                 /* x holds weights; out holds outputs */
    double lse[SCORED_ROWS];               /* of the scores, once weighed */
    float dot[SCORED_ROWS];                /* weights by scores */
};
bool scored_init(struct scored *s, int n_keys, int dim);
void scored_free(struct scored *s);
void scored_rows(struct scored *s, const struct sac_trace *t, const struct layer_rec *r, int layer, int head,
                 const int *row, int n);
/* Scores of n keys in w become weights; x: the scores, or room for them. */
void weigh(float *w, float *x, int n, double *lse, float *dot);
void scored_weigh(struct scored *s, float *room);  /* room: for the scores of a row */
void scored_outputs(struct scored *s, const struct sac_trace *t);
/* Which of the rows it is; -1: none. */
int scored_at(const struct scored *s, const struct layer_rec *r, int head, int row);
static inline float *scored_row(const struct scored *s, int i) { return s->x + (size_t)i * s->stride; }

/* Rows of which a layer's error is taken, some of those that are measured: the i-th of n from lo .. hi-1. */
enum { ERROR_ROWS = 4 };
static inline int error_row(int i, int n, int lo, int hi)
{
    return lo + (int)((long long)(i + 1) * (hi - lo) / n) - 1;
}

struct measure_scratch {
    float *w, *w2;
    float *outputs;                        /* where the outputs of the head go as well, or NULL */
    struct sac_rows rows;
    uint64_t *bucket;
    int *index, cap;
    struct scored own, dense;              /* rows of the lane, and of the dense lane */
};
bool measure_scratch_init(struct measure_scratch *m, int n_keys);
void measure_scratch_free(struct measure_scratch *m);
bool measure_row(const struct sac_trace *t, int lane, int layer, int head, int row, struct measure_scratch *m,
                 struct sac_recall *out);
/* out[head_dim] += weights w[0 .. n-1] times the values of keys at .. at+n-1. */
void add_values(const struct sac_trace *t, const struct layer_rec *r, int kv, const float *w, int at, int n,
                float *out);
/* Output of a head over all keys, then over `rows` alone with weights that sum to one again: out
 * [2][head_dim]. w: weights of keys first .. row. */
void head_outputs(const struct sac_trace *t, const struct layer_rec *r, int head, int row, const float *w,
                  int first, const struct sac_rows *rows, float *out);
double relative_l2(const float *want, const float *got, size_t n);   /* |want - got| / |want| */
/* The same for the keys in m->rows instead of those the lane read. */
bool measure_given(const struct sac_trace *t, int lane, int layer, int head, int row,
                   struct measure_scratch *m, struct sac_recall *out);
/* Recall and density of heads h0 .. h1-1 of one layer (threads may share a layer, not a head). */
void measure_heads(struct sac_trace *t, int lane, int layer, int h0, int h1, struct measure_scratch *m);
bool measure_layer_alloc(struct sac_trace *t, int lane, int layer);
void measure_layer_done(struct sac_trace *t, int lane, int layer);    /* frees what is for measuring alone */
/* Means over layers and heads into the lane's public part. */
void measure_lane(struct sac_trace *t, int lane);
#endif
