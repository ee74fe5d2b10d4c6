/* The inside of a job, shared by job.c (thread, queue, interface), lane.c (running one lane), evict.c-like
 * preparation in keep.c, and teach.c (teacher-forced passes). */
#ifndef TRACE_JOB_INT_H
#define TRACE_JOB_INT_H

#include "model/session.h"
#include "trace/trace_int.h"
#include <saccade/job.h>

enum { QUERY_TAIL = 512 };   /* prompt rows of q kept for eviction when nothing is recorded */

struct sac_job {
    struct sac_model *m;
    struct sac_trace *trace;
    const struct sac_sample *sample;
    struct sac_job_opts opts;
    int n;                         /* prompt tokens */
    struct sac_trace *earlier;     /* retained: the dense prefill takes over what its prompt has in common */
    int *gold_id, n_gold;          /* the gold answer as tokens, for its NLL */

    pthread_t thread;
    bool started;
    pthread_mutex_t lock;          /* guards queue, n_queue, busy, quit */
    pthread_cond_t wake, idle;
    int queue[TRACE_MAX_LANES], n_queue;
    bool busy, quit;
    atomic_bool cancel, maps_stop;
    bool maps_failed;              /* out of memory for them: not tried again */

    /* the dense prefill that lanes without a prefill method share */
    struct session *base;          /* NULL: not yet, or given up as no lane that waits needs it */
    int base_lane;
    bool base_known;               /* base_lane and base_logits hold */
    float *base_logits;            /* after the prompt */
    float **mass; /* [n_layers] sums of attention over all rows, [n_kv_heads][n], where a method asked for them */
    float **tail; /* [n_layers] q of the last rows, [n_heads][tail_n][D]; only when not recording */
    int tail_n;
    /* the dense continuation, reference of KL and of the first different token */
    float *dense_logp;             /* [n][n_vocab] log-probabilities, one row a step */
    int dense_rows, dense_cap;
    double base_prefill_s;
};

/* What one lane needs while it runs. */
struct lane_run {
    struct sac_job *j;
    int lane;
    struct lane_rec *rec;
    struct session *own;           /* prefilled with its own method; NULL: shares j->base */
    struct session *dec;           /* the session that decodes; may be `own` or `base` */
    struct sac_kept *kept;         /* [n_layers][n_kv_heads], pos malloc'ed; NULL: nothing is evicted */
    float *prompt_logits, *scratch;
    double layer_t0;
    struct blob *room;             /* of the layer in work */
    bool spill;                    /* such rooms are mapped files */
    bool out_of_memory;
    struct sac_err err;
};

void lane_execute(struct sac_job *j, int lane);
/* Queue and gold helpers of job.c that lane.c needs. */
bool lane_wants_fork(const struct lane_run *r);
struct session *lane_fork(struct lane_run *r, int max_new, struct sac_err *err);

/* keep.c: what eviction keeps, computed within a prefill (one layer) or from the shared one (all). */
bool keep_layer(struct lane_run *r, const struct sac_prefill_in *in, struct sac_arena *scratch);
bool keep_from_base(struct lane_run *r);
bool keep_publish(struct lane_run *r);
void keep_free(struct lane_run *r);

/* teach.c: KL and top-1 agreement on the dense continuation, NLL of the gold answer. */
void log_softmax(const float *logits, int n, float *out);
/* KL of dense against lane at one step, nats; *same: both would write the same token. */
double step_kl(const float *dense_logp, const float *lane_logp, int n, bool *same);
/* What was noted while the lane wrote its own answer. Against dense, `n` steps up to and with the one where
 * the texts part, and all steps (free); of the gold answer, `gold_n` steps likewise. */
struct own_kl {
    double sum, free_sum, gold_nll;
    int n, agree, free_n, free_agree, gold_n;
    bool same, same_gold;
};
void teach_lane(struct lane_run *r, struct own_kl *k);

/* layer_error.c: error of each layer's attention output after the output projection, from sampled rows. */
void measure_layer_errors(struct sac_job *j, int lane);
#endif
