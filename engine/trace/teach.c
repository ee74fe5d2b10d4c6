/* Teacher-forced passes: what a lane predicts when it is fed given tokens instead of its own.
 *
 * KL(dense || lane) and top-1 agreement are taken on the dense continuation. As long as a lane wrote the same
 * tokens as dense, its own run already is that pass; a second one is needed only after they part. */
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

static void teach_dense(struct lane_run *r)
{
    struct sac_job *j = r->j;
    int v = j->m->hp.shape.n_vocab, steps = j->dense_rows, agree = 0;
    const struct lane_rec *dense = j->trace->lane[0];
    double sum = 0;
    struct session *s = lane_fork(r, steps, NULL);
    if (!s) return;
    for (int i = 0; i < steps; i++) {
        if (atomic_load(&j->cancel)) {
            session_free(s);
            return;
        }
        bool same;
        log_softmax(i == 0 ? r->prompt_logits : session_logits(s), v, r->scratch);
        double kl = step_kl(j->dense_logp + (size_t)i * (size_t)v, r->scratch, v, &same);
        if (i < atomic_load(&r->rec->n_tokens)) r->rec->step_kl[i] = (float)kl;
        sum += kl;
        agree += same;
        if (i + 1 < steps && session_decode(s, dense->token[i], NULL, NULL) != SAC_OK) break;
    }
    session_free(s);
    if (!steps) return;
    struct sac_lane *pub = trace_lane_edit(j->trace, r->lane);
    pub->kl = sum / steps;
    pub->top1 = (double)agree / steps;
    trace_lane_done(j->trace);
}

static void teach_gold(struct lane_run *r)
{
    struct sac_job *j = r->j;
    int v = j->m->hp.shape.n_vocab;
    double nll = 0;
    struct session *s = lane_fork(r, j->n_gold, NULL);
    if (!s) return;
    bool ok = true;
    for (int i = 0; ok && i < j->n_gold && !atomic_load(&j->cancel); i++) {
        log_softmax(i == 0 ? r->prompt_logits : session_logits(s), v, r->scratch);
        nll -= (double)r->scratch[j->gold_id[i]];
        if (i + 1 < j->n_gold) ok = session_decode(s, j->gold_id[i], NULL, NULL) == SAC_OK;
    }
    session_free(s);
    if (!ok || atomic_load(&j->cancel)) return;
    struct sac_lane *pub = trace_lane_edit(j->trace, r->lane);
    pub->nll_gold = nll / j->n_gold;
    trace_lane_done(j->trace);
}

void teach_lane(struct lane_run *r)
{
    struct sac_job *j = r->j;
    if (j->opts.no_kl || atomic_load(&j->cancel)) return;
    struct sac_lane now;
    sac_trace_lane(j->trace, r->lane, &now);
    if (j->dense_rows > 0 && r->lane != 0 && isnan(now.kl)) teach_dense(r);
    if (j->n_gold > 0 && j->n_gold <= j->opts.max_tokens) teach_gold(r); /* the cache has room for no more */
}
