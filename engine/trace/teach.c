/* Teacher-forced passes: what a lane predicts when it is fed given tokens instead of its own.
 *
 * KL(dense || lane) and top-1 agreement are taken on the dense continuation, the likelihood of the gold answer
 * on that. As long as a lane wrote the same tokens itself, its own run already is that pass, and what it said
 * there was noted; a second one begins where they part. The session that decoded is taken back to that place
 * where it can be; one with a decode method's state cannot, and begins again after the prompt. */
#include "trace/job_int.h"

#include "model/model_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void log_softmax(const float *logits, int n, float *out)
{
    float max = logits[0];
    for (int i = 1; i < n; i++)
        if (logits[i] > max) max = logits[i];
    double sum = 0;
    for (int i = 0; i < n; i++) sum += exp((double)logits[i] - (double)max);
    float lse = max + (float)log(sum);
    for (int i = 0; i < n; i++) out[i] = logits[i] - lse;
}

static int argmax(const float *v, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

double step_kl(const float *dense_logp, const float *lane_logp, int n, bool *same)
{
    double kl = 0;
    for (int i = 0; i < n; i++) {
        double p = exp((double)dense_logp[i]);
        if (p > 0) kl += p * ((double)dense_logp[i] - (double)lane_logp[i]);
    }
    *same = argmax(dense_logp, n) == argmax(lane_logp, n);
    return kl > 0 ? kl : 0;
}

/* A session after the prompt and the first *at tokens of the answer, which `token` shares; *at is 0 where it
 * had to begin again. */
static struct session *teach_session(struct lane_run *r, int max_new, int *at, struct session **owned)
{
    *owned = NULL;
    if (r->dec && session_truncate(r->dec, r->j->n + *at)) return r->dec;
    if (r->dec && r->dec != r->own && r->dec != r->j->base) {
        session_free(r->dec);          /* not two copies of the cache at once */
        r->dec = NULL;
    }
    *at = 0;
    return *owned = lane_fork(r, max_new, NULL);
}

/* Feeds token[at ..] up to step `steps` - 1, and tells `look` what is predicted at each step after `at`. */
static bool feed(struct lane_run *r, const int *token, int at, int steps,
                 void (*look)(struct lane_run *r, int step, void *to), void *to)
{
    struct sac_job *j = r->j;
    struct session *owned, *s;
    int begin = at, v = j->m->hp.shape.n_vocab;
    bool ok = (s = teach_session(r, steps, &begin, &owned)) != NULL;
    for (int i = begin; ok && i + 1 < steps; i++) {
        ok = !atomic_load(&j->cancel) && session_decode(s, token[i], NULL, NULL) == SAC_OK;
        if (!ok || i < at) continue;
        log_softmax(session_logits(s), v, r->scratch);
        look(r, i + 1, to);
    }
    session_free(owned);
    return ok;
}

/* Step `step` of the gold answer, whose tokens before it were fed. */
static void add_gold(struct lane_run *r, struct own_kl *k, int step)
{
    k->gold_nll -= (double)r->scratch[r->j->gold_id[step]];
    k->gold_n++;
}

static void look_dense(struct lane_run *r, int step, void *to)
{
    struct own_kl *k = to;
    const struct sac_job *j = r->j;
    int v = j->m->hp.shape.n_vocab;
    bool same;
    double kl = step_kl(j->dense_logp + (size_t)step * (size_t)v, r->scratch, v, &same);
    if (step < atomic_load(&r->rec->n_tokens)) r->rec->step_kl[step] = (float)kl;
    k->sum += kl;
    k->agree += same;
    k->n++;
    if (k->gold_n == step && step < j->n_gold &&
        !memcmp(j->gold_id, j->trace->lane[0]->token, (size_t)step * sizeof *j->gold_id))
        add_gold(r, k, step);      /* dense wrote the gold answer: one pass serves both */
}

static void teach_dense(struct lane_run *r, struct own_kl *k)
{
    const struct sac_job *j = r->j;
    if (k->n < 1 || !feed(r, j->trace->lane[0]->token, k->n - 1, j->dense_rows, look_dense, k)) return;
    struct sac_lane *pub = trace_lane_edit(j->trace, r->lane);
    pub->kl = k->sum / k->n;
    pub->top1 = (double)k->agree / k->n;
    trace_lane_done(j->trace);
}

static void look_gold(struct lane_run *r, int step, void *to) { add_gold(r, to, step); }

static void teach_gold(struct lane_run *r, struct own_kl *k)
{
    const struct sac_job *j = r->j;
    if (k->gold_n < 1) return;
    if (k->gold_n < j->n_gold && !feed(r, j->gold_id, k->gold_n - 1, j->n_gold, look_gold, k)) return;
    struct sac_lane *pub = trace_lane_edit(j->trace, r->lane);
    pub->nll_gold = k->gold_nll / j->n_gold;
    trace_lane_done(j->trace);
}

void teach_lane(struct lane_run *r, struct own_kl *k)
{
    struct sac_job *j = r->j;
    if (j->opts.no_kl || atomic_load(&j->cancel)) return;
    struct sac_lane now;
    sac_trace_lane(j->trace, r->lane, &now);
    bool dense = j->dense_rows > 0 && r->lane != 0 && isnan(now.kl),
         gold = j->n_gold > 0 && j->n_gold <= j->opts.max_tokens; /* the cache has room for no more */
    /* What parts from the lane's own answer later goes first: the other then still finds its beginning. */
    bool gold_first = k->gold_n > k->n;
    if (gold && gold_first) teach_gold(r, k);
    if (dense) teach_dense(r, k);
    if (gold && !gold_first) teach_gold(r, k);
}
