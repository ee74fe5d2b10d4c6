/* One prompt through several lanes: the run that everything else looks at.
 *
 * A job owns a worker thread. Lane 0 is dense unless the reference is switched off; lanes whose method
 * only acts after prefill share the dense prefill. Whatever has been computed is in the job's trace at
 * once, and stays there when the job is stopped. Several jobs on one model take turns, lane by lane. */
#ifndef SAC_JOB_H
#define SAC_JOB_H

#include <saccade/model.h>
#include <saccade/task.h>

struct sac_trace;

struct sac_sampling { double temperature, top_p; uint64_t seed; };   /* temperature 0: greedy */

struct sac_job_opts {
    int max_tokens;
    struct sac_sampling sampling;
    bool no_reference;         /* do not compute dense first */
    bool no_trace;             /* answers and timings only: no q, k, recall */
    bool no_kl;                /* skip the teacher-forced pass */
    bool maps;                 /* make overviews of all heads once nothing else is left to do; does not count
                                  as running */
    bool spill;                /* recorded arrays go to a file without a name in $TMPDIR (/var/tmp) that is mapped; done
                                  unasked where one lane's would take half of the free memory */
    int nice;                  /* > 0: worker threads give way to other work */
    uint64_t seed;             /* of randomised methods */
    /* An earlier run of the same model: where its prompt begins with the same tokens, the dense prefill
     * takes over its keys and values and computes the rest. Retained till then. NULL: none. */
    struct sac_trace *earlier;
    void (*notify)(void *ctx); /* something changed; called from worker threads, must not block */
    void *notify_ctx;
};

struct sac_job;
/* The prompt's text and tokens are copied. sample may be NULL (no gold answer); it is not owned and must
 * outlive the job. sample_at: byte offset of sample->prompt in text. */
enum sac_code sac_job_new(struct sac_job **out, struct sac_model *m, const char *text,
                          const struct sac_tokens *tokens, const struct sac_sample *sample, size_t sample_at,
                          const struct sac_job_opts *opts, struct sac_err *err);
/* Queue a lane; returns its index or -1. May be called while the job runs. */
int sac_job_add_lane(struct sac_job *j, const char *spec, struct sac_err *err);
enum sac_code sac_job_start(struct sac_job *j, struct sac_err *err);   /* returns at once */
void sac_job_stop(struct sac_job *j);     /* stop the lane that runs and those queued; keep results */
bool sac_job_running(const struct sac_job *j);
void sac_job_wait(struct sac_job *j);
void sac_job_free(struct sac_job *j);     /* stops, waits, frees; the trace lives on while retained */
struct sac_trace *sac_job_trace(struct sac_job *j);
/* Move a queued lane one place up (-1) or down (+1). False when it is not queued. */
bool sac_job_reorder(struct sac_job *j, int lane, int by);
/* Place of a lane in the queue, 1 for the next to run; 0: it does not wait. */
int sac_job_place(const struct sac_job *j, int lane);

/* Interventions (labelled as such everywhere, never mixed into scores): queue a lane that runs `lane`'s
 * method again with key positions [span.lo, span.hi) forced into what layer/kv_head reads (-1: all). */
int sac_job_force(struct sac_job *j, int lane, struct sac_span span, int layer, int kv_head,
                  struct sac_err *err);
#endif
