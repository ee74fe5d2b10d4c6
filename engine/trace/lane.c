/* Running one lane: prefill (its own, or the shared dense one), eviction, decode, and what is recorded. */
#include "trace/job_int.h"

#include "model/model_int.h"
#include <math.h>
#ifdef __linux__
#include <malloc.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool stopped(const struct sac_job *j)
{
    return atomic_load_explicit(&j->cancel, memory_order_relaxed);
}

static void set_state(struct lane_run *r, enum sac_lane_state state)
{
    struct sac_lane *p = trace_lane_edit(r->j->trace, r->lane);
    p->state = state;
    trace_lane_done(r->j->trace);
}

/* ---- prefill ---- */

static struct plans *adopt_plans(struct prefill_layer *pl, int heads)
{
    if (!pl->plan) return NULL;
    struct plans *p = calloc(1, sizeof *p + (size_t)heads * sizeof p->plan[0]);
    if (!p) return NULL;
    atomic_init(&p->refs, 1);
    p->n = heads;
    memcpy(p->plan, pl->plan, (size_t)heads * sizeof p->plan[0]);
    for (int h = 0; h < heads; h++) sac_plan_fold(&p->plan[h]);
    pl->took_plan = true;
    return p;
}

/* Room for what a layer records; record_layer keeps it. */
static void *layer_room(void *ctx, size_t bytes)
{
    struct lane_run *r = ctx;
    r->room = blob_room(bytes, r->spill);
    return r->room ? r->room->data : NULL;
}

static void leave_room(void *ctx, void *block)
{
    struct lane_run *r = ctx;
    (void)block;
    blob_drop(r->room);
    r->room = NULL;
}

static void record_layer(struct lane_run *r, struct prefill_layer *pl)
{
    const struct sac_shape *s = &r->j->m->hp.shape;
    struct layer_rec *rec = &r->rec->layer[pl->layer];
    size_t row = (size_t)pl->n * (size_t)s->head_dim * sizeof(float);
    pl->took_block = true;
    rec->q = blob_part(r->room, pl->q, row * (size_t)s->n_heads);
    rec->k = blob_part(r->room, pl->k, row * (size_t)s->n_kv_heads);
    rec->v = blob_part(r->room, pl->v, row * (size_t)s->n_kv_heads);
    if (pl->lse) rec->lse = blob_part(r->room, pl->lse, (size_t)s->n_heads * (size_t)pl->n * sizeof(float));
    leave_room(r, NULL);               /* its parts hold it */
    rec->plans = adopt_plans(pl, s->n_heads);
    if (!rec->q || !rec->k || !rec->v || (pl->plan && !rec->plans)) {
        r->out_of_memory = true;
        return;
    }
    atomic_store_explicit(&rec->ready, true, memory_order_release);
}

/* Does a lane's recording outgrow memory? It goes to a mapped file then. */
static bool spills(const struct sac_job *j)
{
    struct sac_forecast f;
    sac_model_forecast(j->m, j->n, 1, 1, 0, true, &f);
    return j->opts.spill || blob_spill_wanted((double)f.trace);
}

/* Without a recording, the last rows of q stay for methods that evict after the shared prefill. */
static void keep_tail(struct lane_run *r, const struct prefill_layer *pl)
{
    struct sac_job *j = r->j;
    const struct sac_shape *s = &j->m->hp.shape;
    size_t d = (size_t)s->head_dim, rows = (size_t)(j->n < QUERY_TAIL ? j->n : QUERY_TAIL);
    j->tail_n = (int)rows;
    if (!j->tail) j->tail = calloc((size_t)s->n_layers, sizeof *j->tail);
    if (!j->tail) return;
    float *q = j->tail[pl->layer];
    if (!q) q = j->tail[pl->layer] = malloc((size_t)s->n_heads * rows * d * sizeof *q);
    for (int h = 0; q && h < s->n_heads; h++)
        memcpy(q + (size_t)h * rows * d, pl->q + ((size_t)h * (size_t)pl->n + (size_t)pl->n - rows) * d,
               rows * d * sizeof *q);
}

static void keep_mass(struct sac_job *j, const struct prefill_layer *pl)
{
    size_t n = (size_t)j->m->hp.shape.n_kv_heads * (size_t)pl->n;
    if (!j->mass) j->mass = calloc((size_t)j->m->hp.shape.n_layers, sizeof *j->mass);
    if (!j->mass) return;                        /* the method will compute it itself */
    if (!j->mass[pl->layer]) j->mass[pl->layer] = malloc(n * sizeof(float));
    if (j->mass[pl->layer]) memcpy(j->mass[pl->layer], pl->in->mass, n * sizeof(float));
}

/* Does this lane, or one that waits for its dense prefill, ask for sums of attention? */
static bool mass_wanted(struct lane_run *r)
{
    struct sac_job *j = r->j;
    bool wanted = sac_spec_wants_mass(&r->rec->spec);
    pthread_mutex_lock(&j->lock);
    for (int i = 0; i < j->n_queue && !wanted; i++)
        wanted = sac_spec_wants_mass(&j->trace->lane[j->queue[i]]->spec);
    pthread_mutex_unlock(&j->lock);
    return wanted;
}

static void prefill_progress(struct lane_run *r, int done)
{
    double elapsed = seconds() - r->layer_t0;
    int layers = r->j->m->hp.shape.n_layers;
    struct sac_lane *p = trace_lane_edit(r->j->trace, r->lane);
    p->prefill_layer = done;
    p->progress = 0.7 * done / layers;
    p->eta_s = elapsed / done * (layers - done);
    trace_lane_done(r->j->trace);
}

static void on_layer(void *ctx, struct prefill_layer *pl)
{
    struct lane_run *r = ctx;
    const struct sac_part *evict = sac_spec_evict(&r->rec->spec);
    bool shares = !sac_spec_prefill(&r->rec->spec);
    if (evict && !shares) {
        struct sac_arena scratch = { 0 };
        if (!keep_layer(r, pl->in, &scratch)) r->out_of_memory = true;
        sac_arena_free(&scratch);
    }
    if (shares && pl->in->mass) keep_mass(r->j, pl);
    if (r->rec->layer) record_layer(r, pl);
    else if (shares) keep_tail(r, pl);
    prefill_progress(r, pl->layer + 1);
}

/* ---- the beginning of the prompt, where an earlier run had it too ---- */

enum { LEAST_PREFIX = 64 };   /* copying less is not worth it */

static bool earlier_layer(void *ctx, int layer, const float **q, const float **k, const float **v,
                          const float **lse)
{
    const struct layer_rec *r = trace_layer(ctx, 0, layer);
    if (!r || !r->q || !r->k || !r->v || !r->lse) return false;
    *q = r->q->data;
    *k = r->k->data;
    *v = r->v->data;
    *lse = r->lse->data;
    return true;
}

/* Tokens that the earlier run's dense lane has in common with this prompt, all of its layers complete. */
static struct prefill_prefix common_prefix(const struct sac_job *j)
{
    struct sac_trace *t = j->earlier;
    struct prefill_prefix none = { 0 };
    const struct lane_rec *from = t ? trace_lane_rec(t, 0) : NULL;
    const float *p[4];
    if (!from || !from->layer || !from->has_spec || t->model != j->m || t->strict != j->trace->strict ||
        sac_spec_prefill(&from->spec) || from->force.hi > from->force.lo)
        return none;
    for (int l = 0; l < t->info.shape.n_layers; l++)
        if (!earlier_layer(t, l, &p[0], &p[1], &p[2], &p[3])) return none;
    int n = 0, max = t->info.n_prompt < j->n ? t->info.n_prompt : j->n;
    while (n < max && t->ids[n] == j->trace->ids[n]) n++;
    if (n == j->n) n--;                  /* the last row says what follows */
    if (n < LEAST_PREFIX) return none;
    return (struct prefill_prefix){ n, (size_t)t->info.n_prompt, earlier_layer, t };
}

static enum sac_code run_prefill(struct lane_run *r, struct session *s)
{
    struct sac_job *j = r->j;
    set_state(r, SAC_LANE_PREFILL);
    r->layer_t0 = seconds();
    struct prefill_args a = { .ids = j->trace->ids,
                              .n = j->n,
                              .spec = sac_spec_prefill(&r->rec->spec) ? &r->rec->spec : NULL,
                              .force = r->rec->force,
                              .force_layer = r->rec->force_layer,
                              .force_kv = r->rec->force_kv,
                              .want_lse = r->rec->layer != NULL,
                              .want_mass = mass_wanted(r),
                              .seed = j->opts.seed,
                              .layer_done = on_layer,
                              .ctx = r,
                              .cancel = &j->cancel };
    if (r->rec->layer) {
        a.room = layer_room;
        a.leave = leave_room;
        r->spill = spills(j);
    }
    if (!a.spec && r->rec->layer && a.force.hi <= a.force.lo) a.prefix = common_prefix(j);
    enum sac_code rc = session_prefill(s, &a, &r->err);
    if (!a.spec && rc == SAC_OK) {
        if (j->earlier) sac_trace_release(j->earlier);
        j->earlier = NULL;
    }
    if (rc == SAC_OK && r->out_of_memory)
        rc = sac_fail(&r->err, SAC_ENOMEM,
                      "out of memory while recording; run with fewer methods or a shorter prompt");
    struct sac_lane *p = trace_lane_edit(j->trace, r->lane);
    p->prefill_s = a.total_s;
    p->select_s = a.select_s;
    p->attend_s = a.attend_s;
    p->reused = a.prefix.n;
    p->prefill_tok_s = a.total_s > 0 ? (j->n - a.prefix.n) / a.total_s : 0;
    trace_lane_done(j->trace);
    return rc;
}

/* The lane looks at the prompt exactly as the shared prefill did: share its recording. */
static void share_recording(struct lane_run *r)
{
    struct sac_job *j = r->j;
    const struct lane_rec *from = j->trace->lane[j->base_lane];
    if (!r->rec->layer || !from->layer || r->rec == from) return;
    for (int l = 0; l < j->m->hp.shape.n_layers; l++) {
        const struct layer_rec *b = &from->layer[l];
        struct layer_rec *rec = &r->rec->layer[l];
        rec->q = blob_share(b->q);
        rec->k = blob_share(b->k);
        rec->v = blob_share(b->v);
        rec->lse = blob_share(b->lse);
        atomic_store_explicit(&rec->ready, true, memory_order_release);
    }
    struct sac_lane base, *p;
    sac_trace_lane(j->trace, j->base_lane, &base);
    p = trace_lane_edit(j->trace, r->lane);
    p->shared_prefill = true;
    p->prefill_layer = base.prefill_layer;
    p->prefill_s = base.prefill_s;
    p->prefill_tok_s = base.prefill_tok_s;
    p->attend_s = base.attend_s;
    trace_lane_done(j->trace);
}

/* Does a lane that waits share the dense prefill? */
static bool base_wanted(struct sac_job *j)
{
    bool wanted = false;
    pthread_mutex_lock(&j->lock);
    for (int i = 0; i < j->n_queue; i++)
        wanted = wanted || !sac_spec_prefill(&j->trace->lane[j->queue[i]]->spec);
    pthread_mutex_unlock(&j->lock);
    return wanted;
}

/* What was freed goes back to the system: blocks of a few megabytes would stay with the allocator. */
static void give_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

/* The shared prefill is not needed any more, or can be had again; `heir`: a fork of it that goes on, or NULL. */
static void drop_base(struct sac_job *j, struct session *heir)
{
    if (heir) session_leave(j->base, heir);
    else session_free(j->base);
    j->base = NULL;
    for (int l = 0; j->tail && l < j->m->hp.shape.n_layers; l++) free(j->tail[l]);
    for (int l = 0; j->mass && l < j->m->hp.shape.n_layers; l++) free(j->mass[l]);
    free(j->tail);
    free(j->mass);
    j->tail = j->mass = NULL;
    if (heir) model_drop_spare(j->m); /* else the next lane takes it up, or the job ends */
    give_back();
}

/* Between a lane's fork and its first token: what it was forked from goes, where nothing will fork again. */
static void leave_prefill(struct lane_run *r)
{
    struct sac_job *j = r->j;
    bool again = !j->opts.no_kl && sac_spec_decode(&r->rec->spec);     /* teach.c might */
    if (again || r->dec == r->own || r->dec == j->base) return;
    if (r->own) {
        session_leave(r->own, r->dec);
        r->own = NULL;
        model_drop_spare(j->m);
        give_back();
    } else if (!base_wanted(j)) {
        drop_base(j, r->dec);
    }
}

/* The keys and values of the dense prefill as they were, from its recording. False: none was made. */
static bool restore_base(struct sac_job *j, struct session *s)
{
    size_t stride = (size_t)j->n * (size_t)j->m->hp.shape.head_dim;
    for (int l = 0; l < j->m->hp.shape.n_layers; l++) {
        const struct layer_rec *rec = trace_layer(j->trace, j->base_lane, l);
        if (!rec || !rec->k || !rec->v) return false;
        session_restore(s, l, rec->k->data, rec->v->data, stride, j->n);
    }
    return true;
}

static enum sac_code ensure_base(struct lane_run *r)
{
    struct sac_job *j = r->j;
    if (j->base) {
        share_recording(r);
        return SAC_OK;
    }
    struct session *s = session_new(j->m, j->n + j->opts.max_tokens, j->m->opts.kv, &r->err);
    if (!s) return SAC_ENOMEM;
    if (j->base_known && restore_base(j, s)) {
        j->base = s;
        share_recording(r);
        return SAC_OK;
    }
    enum sac_code rc = run_prefill(r, s);
    if (rc != SAC_OK) {
        session_free(s);
        return rc;
    }
    j->base = s;
    j->base_lane = r->lane;
    j->base_known = true;
    memcpy(j->base_logits, session_logits(s), (size_t)j->m->hp.shape.n_vocab * sizeof(float));
    return SAC_OK;
}

static enum sac_code prepare(struct lane_run *r)
{
    struct sac_job *j = r->j;
    size_t v = (size_t)j->m->hp.shape.n_vocab;
    enum sac_code rc;
    if (sac_spec_prefill(&r->rec->spec)) {
        r->own = session_new(j->m, j->n + j->opts.max_tokens, j->m->opts.kv, &r->err);
        rc = r->own ? run_prefill(r, r->own) : SAC_ENOMEM;
        if (rc == SAC_OK) memcpy(r->prompt_logits, session_logits(r->own), v * sizeof(float));
    } else {
        rc = ensure_base(r);
        if (rc == SAC_OK) memcpy(r->prompt_logits, j->base_logits, v * sizeof(float));
        double t0 = seconds();
        if (rc == SAC_OK && !keep_from_base(r))
            rc = sac_fail(&r->err, SAC_ENOMEM, "out of memory while evicting");
        if (rc == SAC_OK && r->kept) {
            struct sac_lane *p = trace_lane_edit(j->trace, r->lane);
            p->select_s += seconds() - t0;
            trace_lane_done(j->trace);
        }
    }
    if (rc == SAC_OK && !keep_publish(r)) rc = sac_fail(&r->err, SAC_ENOMEM, "out of memory while recording");
    return rc;
}

bool lane_wants_fork(const struct lane_run *r)
{
    return r->kept || sac_spec_decode(&r->rec->spec) || r->rec->force.hi > r->rec->force.lo ||
           (!r->own && r->lane != r->j->base_lane);
}

struct session *lane_fork(struct lane_run *r, int max_new, struct sac_err *err)
{
    struct fork_args a = { .n = r->j->n, .max_new = max_new, .kept = r->kept, .spec = &r->rec->spec,
                           .force = r->rec->force, .force_layer = r->rec->force_layer,
                           .force_kv = r->rec->force_kv, .seed = r->j->opts.seed };
    const struct session *from = r->own ? r->own : r->j->base;
    return from ? session_fork(from, &a, err) : NULL;
}

/* ---- decode ---- */

static void record_step(void *ctx, const struct decode_layer *dl)
{
    struct lane_run *r = ctx;
    const struct sac_shape *s = &r->j->m->hp.shape;
    struct layer_rec *rec = &r->rec->layer[dl->layer];
    int at = dl->pos - r->j->n;
    size_t d = (size_t)s->head_dim, qw = (size_t)s->n_heads * d, kw = (size_t)s->n_kv_heads * d;
    if (at < 0 || at >= r->rec->max_new) return;
    memcpy(rec->q_dec + (size_t)at * qw, dl->q, qw * sizeof(float));
    memcpy(rec->k_dec + (size_t)at * kw, dl->k, kw * sizeof(float));
    memcpy(rec->v_dec + (size_t)at * kw, dl->v, kw * sizeof(float));
    if (dl->rows) {
        int total = 0;
        for (int u = 0; u < dl->n_units; u++) total += dl->rows[u].n;
        struct step_rows *st = calloc(1, sizeof *st);
        int *off = malloc(((size_t)dl->n_units + 1) * sizeof *off);
        struct sac_run *run = malloc((size_t)(total ? total : 1) * sizeof *run);
        if (!st || !off || !run) {
            free(st);
            free(off);
            free(run);
            r->out_of_memory = true;
            return;
        }
        off[0] = 0;
        for (int u = 0; u < dl->n_units; u++) {
            memcpy(run + off[u], dl->rows[u].run, (size_t)dl->rows[u].n * sizeof *run);
            off[u + 1] = off[u] + dl->rows[u].n;
        }
        *st = (struct step_rows){ dl->n_units, off, run };
        rec->steps[at] = st;
    }
    atomic_store_explicit(&rec->n_dec, at + 1, memory_order_release);
}

static void record_top(struct lane_run *r, int step, const float *logp, int v)
{
    int *id = r->rec->next_id + step * TRACE_TOP, n = 0;
    float *p = r->rec->next_p + step * TRACE_TOP;
    for (int i = 0; i < v; i++) {
        if (n == TRACE_TOP && logp[i] <= p[n - 1]) continue;
        int at = n < TRACE_TOP ? n++ : n - 1;
        while (at > 0 && p[at - 1] < logp[i]) p[at] = p[at - 1], id[at] = id[at - 1], at--;
        p[at] = logp[i];
        id[at] = i;
    }
    for (int i = 0; i < n; i++) p[i] = expf(p[i]);
}

/* The distribution of a dense step, kept as the reference of later lanes. */
static void keep_dense(struct sac_job *j, const float *logp, int v)
{
    if (!j->dense_logp || j->dense_rows >= j->dense_cap) return;
    memcpy(j->dense_logp + (size_t)j->dense_rows * (size_t)v, logp, (size_t)v * sizeof *logp);
    j->dense_rows++;
}

/* The step of the gold answer, as long as the lane writes it. r->scratch: log-probabilities. */
static void compare_gold(struct lane_run *r, int step, int token, struct own_kl *k)
{
    const struct sac_job *j = r->j;
    if (!k->same_gold || step >= j->n_gold) return;
    k->gold_nll -= (double)r->scratch[j->gold_id[step]];
    k->gold_n++;
    k->same_gold = token == j->gold_id[step];
}

/* Against dense, step by step of the lane's own answer. */
static void compare_dense(struct lane_run *r, int step, int token, struct own_kl *k, int v)
{
    const struct sac_job *j = r->j;
    if (r->lane == 0 || step >= j->dense_rows) return;
    const float *ref = j->dense_logp + (size_t)step * (size_t)v;
    const struct lane_rec *dense = j->trace->lane[0];
    bool agree;
    double kl = step_kl(ref, r->scratch, v, &agree);
    k->free_sum += kl;
    k->free_agree += token == dense->token[step];
    k->free_n++;
    if (!k->same) return;
    r->rec->step_kl[step] = (float)kl;
    k->sum += kl;
    k->agree += agree;
    k->n++;
    k->same = token == dense->token[step];
}

static void publish_token(struct lane_run *r, int step, int token, bool stop)
{
    struct sac_job *j = r->j;
    r->rec->token[step] = token;
    atomic_store_explicit(&r->rec->n_tokens, step + 1, memory_order_release);
    const char *bytes;
    int n = sac_token_bytes(j->m, token, &bytes);
    struct sac_lane *p = trace_lane_edit(j->trace, r->lane);
    size_t len = strlen(p->answer);
    if (!stop && len + (size_t)n < sizeof p->answer) {
        memcpy(p->answer + len, bytes, (size_t)n);
        p->answer[len + (size_t)n] = 0;
    }
    p->n_steps = step + 1;
    p->progress = 0.7 + 0.3 * (step + 1) / (r->rec->max_new > 0 ? r->rec->max_new : 1);
    if (p->first_diff < 0 && r->lane > 0) {
        const struct lane_rec *dense = j->trace->lane[0];
        int have = atomic_load(&dense->n_tokens);
        if (!dense->has_spec || step >= have || dense->token[step] != token) p->first_diff = have ? step : -1;
    }
    trace_lane_done(j->trace);
}

static enum sac_code decode_loop(struct lane_run *r, const char **stop, struct own_kl *kl)
{
    struct sac_job *j = r->j;
    int v = j->m->hp.shape.n_vocab, max = r->rec->max_new;
    struct sampler sampler = { j->opts.sampling.temperature, j->opts.sampling.top_p, j->opts.sampling.seed };
    struct decode_sink sink = { record_step, r };
    *stop = "length";
    for (int step = 0; step < max; step++) {
        if (stopped(j)) return sac_fail(&r->err, SAC_ECANCEL, "stopped after %d tokens", step);
        const float *logits = step == 0 ? r->prompt_logits : session_logits(r->dec);
        int token = sample_token(&sampler, logits, v, r->scratch);
        log_softmax(logits, v, r->scratch);
        record_top(r, step, r->scratch, v);
        if (r->lane == 0) keep_dense(j, r->scratch, v);
        compare_dense(r, step, token, kl, v);
        compare_gold(r, step, token, kl);
        bool end = sac_token_is_stop(j->m, token);
        publish_token(r, step, token, end);
        if (end) {
            *stop = "eos";
            return SAC_OK;
        }
        if (step + 1 == max) break;
        enum sac_code rc = session_decode(r->dec, token, r->rec->layer ? &sink : NULL, &r->err);
        if (rc == SAC_OK && r->out_of_memory)
            rc = sac_fail(&r->err, SAC_ENOMEM, "out of memory while recording");
        if (rc != SAC_OK) return rc;
    }
    return SAC_OK;
}

static void publish_decode(struct lane_run *r, double decode_s, int fed, const char *stop,
                           const struct own_kl *kl)
{
    struct sac_job *j = r->j;
    struct session_stats st = session_stats(r->dec);
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    struct sac_score score = { (double)NAN, false };
    struct sac_lane now;
    sac_trace_lane(j->trace, r->lane, &now);
    if (j->sample) score = sac_sample_score(j->sample, now.answer);
    struct sac_lane *p = trace_lane_edit(j->trace, r->lane);
    p->decode_s = decode_s;
    p->decode_tok_s = decode_s > 0 && fed > 0 ? fed / decode_s : 0;
    p->select_s += st.select_s;
    p->attend_s += st.attend_s;
    p->decode.read = st.full > 0 ? st.read / st.full : (double)NAN;
    p->kv_bytes = session_kv_bytes(r->dec);
    p->kv_full_bytes = (size_t)session_n(r->dec) * j->m->info.kv_bytes_per_token;
#ifdef __APPLE__
    p->peak_bytes = (size_t)use.ru_maxrss;   /* bytes there, kilobytes elsewhere */
#else
    p->peak_bytes = (size_t)use.ru_maxrss * 1024;
#endif
    p->score = score.value;
    p->parsed = score.parsed;
    snprintf(p->stop, sizeof p->stop, "%s", stop);
    if (r->lane > 0 && kl->n > 0 && kl->same && kl->n == j->dense_rows) {
        p->kl = kl->sum / kl->n;
        p->top1 = (double)kl->agree / kl->n;
    }
    if (kl->free_n > 0) {
        p->kl_free = kl->free_sum / kl->free_n;
        p->top1_free = (double)kl->free_agree / kl->free_n;
    }
    p->eta_s = 0;
    p->progress = 1;
    trace_lane_done(j->trace);
}

static enum sac_code decode(struct lane_run *r, struct own_kl *kl)
{
    struct sac_job *j = r->j;
    set_state(r, SAC_LANE_DECODE);
    r->dec = lane_wants_fork(r) ? lane_fork(r, r->rec->max_new, &r->err) : r->own ? r->own : j->base;
    if (!r->dec) return SAC_ENOMEM;
    leave_prefill(r);
    const char *stop;
    double t0 = seconds();
    enum sac_code rc = decode_loop(r, &stop, kl);
    double t1 = seconds();
    if (rc == SAC_ECANCEL) stop = "stopped";
    publish_decode(r, t1 - t0, session_n(r->dec) - j->n, stop, kl);
    return rc;
}

void lane_execute(struct sac_job *j, int lane)
{
    struct lane_run r = { .j = j, .lane = lane, .rec = j->trace->lane[lane] };
    size_t v = (size_t)j->m->hp.shape.n_vocab;
    struct own_kl kl = { .same = true, .same_gold = true };
    r.prompt_logits = malloc(v * sizeof(float));
    r.scratch = malloc(v * sizeof(float));
    enum sac_code rc =
        r.prompt_logits && r.scratch ? prepare(&r) : sac_fail(&r.err, SAC_ENOMEM, "out of memory");
    if (rc == SAC_OK) rc = decode(&r, &kl);
    if (rc == SAC_OK) teach_lane(&r, &kl);
    if (r.dec && r.dec != r.own && r.dec != j->base) session_free(r.dec);
    else if (r.dec) session_truncate(r.dec, j->n);
    if (j->base && !base_wanted(j)) drop_base(j, NULL);
    struct sac_lane *p = trace_lane_edit(j->trace, lane);
    p->state = rc == SAC_OK ? SAC_LANE_DONE : rc == SAC_ECANCEL ? SAC_LANE_STOPPED : SAC_LANE_FAILED;
    if (rc != SAC_OK) snprintf(p->error, sizeof p->error, "%s", r.err.msg);
    trace_lane_done(j->trace);
    session_free(r.own);
    keep_free(&r);
    free(r.prompt_logits);
    free(r.scratch);
}
