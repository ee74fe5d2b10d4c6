/* A job: its worker thread, the queue of lanes, and the measuring that follows when all have answered. */
#include "trace/job_int.h"

#include "kernels.h"
#include "model/model_int.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DENSE_LOGP_MAX = 64 << 20 };   /* bytes kept of the dense distributions, the reference of KL */

/* ---- gold spans: bytes of the user text -> tokens of the prompt ---- */

static int first_token_after(const struct sac_span *span, int n,
                             int byte) /* first token that ends after byte */
{
    int lo = 0, hi = n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (span[mid].hi <= byte) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static int gold_spans(const struct sac_tokens *tok, const struct sac_sample *s, size_t at,
                      struct sac_span *out, int *item)
{
    int n = 0;
    for (int i = 0; i < s->n_evidence; i++) {
        int lo = s->evidence[i].lo + (int)at, hi = s->evidence[i].hi + (int)at;
        int a = first_token_after(tok->span, tok->n, lo), b = a;
        while (b < tok->n && tok->span[b].lo < hi) b++;
        if (b <= a) continue;
        int k = n++;
        while (k > 0 && out[k - 1].lo > a) out[k] = out[k - 1], item[k] = item[k - 1], k--;
        out[k] = (struct sac_span){ a, b };
        item[k] = s->evidence_item ? s->evidence_item[i] : i;
    }
    return n;
}

static uint64_t text_hash(const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
    return h;
}

static struct sac_trace *make_trace(struct sac_model *m, const char *text, const struct sac_tokens *tok,
                                    const struct sac_sample *s, size_t at, uint64_t seed)
{
    const struct sac_model_info *mi = sac_model_info(m);
    struct sac_trace_info info = { .shape = mi->shape,
                                   .model_hash = mi->hash,
                                   .n_prompt = tok->n,
                                   .text = text,
                                   .text_len = strlen(text),
                                   .task = s ? s->spec : "",
                                   .gold = s ? s->gold : "",
                                   .seed = seed,
                                   .threads = pool_threads(m->pool) };
    info.prompt_hash = text_hash(text, info.text_len);
    snprintf(info.model, sizeof info.model, "%s", mi->name);
    snprintf(info.arch, sizeof info.arch, "%s", mi->arch);
    snprintf(info.file_type, sizeof info.file_type, "%s", mi->file_type);
    size_t n_ev = s ? (size_t)s->n_evidence : 0;
    struct sac_span *span = calloc(n_ev + 1, sizeof *span);
    int *item = calloc(n_ev + 1, sizeof *item);
    struct sac_trace *t = NULL;
    if (span && item) {
        if (s) {
            info.length = s->length;
            info.sample = s->index;
            info.seed = s->seed;
            info.n_spans = gold_spans(tok, s, at, span, item);
            info.span = span;
            info.span_item = item;
        }
        t = trace_new(&info, tok->id, tok->span);
    }
    free(span);
    free(item);
    if (!t) return NULL;
    t->model = m;
    t->strict = m->opts.strict;
    t->f32_lse = t->strict || k_ops()->attn_fast.elem == sizeof(float);
    for (int l = 0; l < mi->shape.n_layers; l++) {
        t->scale[l] = m->hp.attn_scale;
        t->softcap[l] = m->hp.attn_softcap;
        t->window[l] = m->hp.windowed && m->hp.windowed[l] ? m->hp.window : 0;
    }
    return t;
}

static void gold_tokens(struct sac_job *j)
{
    struct sac_tokens tok = { 0 };
    if (!j->sample || !j->sample->gold || !*j->sample->gold || j->opts.no_kl) return;
    if (sac_tokenize(j->m, j->sample->gold, strlen(j->sample->gold), 0, &tok, NULL) != SAC_OK) return;
    j->gold_id = malloc((size_t)(tok.n + 1) * sizeof *j->gold_id);
    if (j->gold_id) {
        memcpy(j->gold_id, tok.id, (size_t)tok.n * sizeof *tok.id);
        j->n_gold = tok.n;
    }
    sac_tokens_free(&tok);
}

enum sac_code sac_job_new(struct sac_job **out, struct sac_model *m, const char *text,
                          const struct sac_tokens *tokens, const struct sac_sample *sample, size_t sample_at,
                          const struct sac_job_opts *opts, struct sac_err *err)
{
    *out = NULL;
    const struct sac_shape *s = &m->hp.shape;
    if (tokens->n < 1) return sac_fail(err, SAC_EARG, "the prompt is empty: give at least one token");
    if (tokens->n + opts->max_tokens > s->max_ctx)
        return sac_fail(
            err, SAC_EARG,
            "the prompt has %d tokens and %d more may follow, but %s was made for %d; shorten the prompt "
            "or lower --max-tokens",
            tokens->n, opts->max_tokens, m->info.name, s->max_ctx);
    struct sac_job *j = calloc(1, sizeof *j);
    if (!j) return sac_fail(err, SAC_ENOMEM, "out of memory");
    j->m = m;
    j->sample = sample;
    j->opts = *opts;
    j->n = tokens->n;
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->wake, NULL);
    pthread_cond_init(&j->idle, NULL);
    size_t row = (size_t)s->n_vocab * sizeof(float);
    j->trace = make_trace(m, text, tokens, sample, sample_at, opts->seed);
    j->base_logits = malloc(row);
    j->dense_cap =
        (int)(DENSE_LOGP_MAX / row) < opts->max_tokens ? (int)(DENSE_LOGP_MAX / row) : opts->max_tokens;
    if (!opts->no_kl && !opts->no_reference) j->dense_logp = malloc((size_t)(j->dense_cap + 1) * row);
    if (!j->trace || !j->base_logits) {
        sac_job_free(j);
        return sac_fail(err, SAC_ENOMEM, "out of memory for a run of %d tokens", tokens->n);
    }
    j->earlier = opts->earlier;
    if (j->earlier) sac_trace_retain(j->earlier);
    j->trace->notify = opts->notify;
    j->trace->notify_ctx = opts->notify_ctx;
    gold_tokens(j);
    if (!opts->no_reference && sac_job_add_lane(j, "dense", err) < 0) {
        sac_job_free(j);
        return SAC_ENOMEM;
    }
    *out = j;
    return SAC_OK;
}

/* ---- lanes ---- */

static void enqueue(struct sac_job *j, int lane)
{
    pthread_mutex_lock(&j->lock);
    if (j->n_queue == 0 && !j->busy) atomic_store(&j->cancel, false);
    j->queue[j->n_queue++] = lane;
    atomic_store(&j->maps_stop, true);
    pthread_cond_broadcast(&j->wake);
    pthread_mutex_unlock(&j->lock);
}

int sac_job_add_lane(struct sac_job *j, const char *text, struct sac_err *err)
{
    struct sac_spec spec;
    if (sac_spec_parse(&spec, text, err) != SAC_OK) return -1;
    if (sac_spec_resolve(&spec, &j->m->hp.shape, j->n, err) != SAC_OK) return -1;
    /* Sliding-window layers keep their window whole: methods act on the others, as in the paper. */
    for (int l = 0; j->m->hp.windowed && l < j->m->hp.shape.n_layers && l < 1024; l++)
        if (j->m->hp.windowed[l]) spec.dense_layers[l / 64] |= (uint64_t)1 << (l % 64);
    /* The reference is there already: asking for dense again shows it, not a second copy. */
    if (!j->opts.no_reference && !strcmp(text, "dense") && sac_trace_n_lanes(j->trace) > 0) return 0;
    int lane = trace_add_lane(j->trace, &spec, j->opts.max_tokens, !j->opts.no_trace);
    if (lane < 0) {
        sac_fail(err, SAC_ENOMEM, "no room for another lane: at most %d fit a run", TRACE_MAX_LANES);
        return -1;
    }
    enqueue(j, lane);
    return lane;
}

int sac_job_force(struct sac_job *j, int lane, struct sac_span span, int layer, int kv_head,
                  struct sac_err *err)
{
    struct lane_rec *from = trace_lane_rec(j->trace, lane);
    if (!from || !from->has_spec || span.lo < 0 || span.hi > j->n || span.hi <= span.lo) {
        sac_fail(err, SAC_EARG, "nothing to force: name a lane and prompt tokens between 0 and %d", j->n);
        return -1;
    }
    int at = trace_add_lane(j->trace, &from->spec, j->opts.max_tokens, !j->opts.no_trace);
    if (at < 0) {
        sac_fail(err, SAC_ENOMEM, "no room for another lane: at most %d fit a run", TRACE_MAX_LANES);
        return -1;
    }
    struct lane_rec *rec = j->trace->lane[at];
    rec->force = span;
    rec->force_layer = layer;
    rec->force_kv = kv_head;
    struct sac_lane *p = trace_lane_edit(j->trace, at);
    p->intervention = true;
    size_t len = strlen(p->params);
    snprintf(p->params + len, sizeof p->params - len, "%sforced tokens %d-%d", len ? " " : "", span.lo,
             span.hi - 1);
    trace_lane_done(j->trace);
    enqueue(j, at);
    return at;
}

bool sac_job_reorder(struct sac_job *j, int lane, int by)
{
    bool moved = false;
    pthread_mutex_lock(&j->lock);
    for (int i = 0; i < j->n_queue && !moved; i++) {
        int to = i + (by < 0 ? -1 : 1);
        if (j->queue[i] != lane || to < 0 || to >= j->n_queue) continue;
        j->queue[i] = j->queue[to];
        j->queue[to] = lane;
        moved = true;
    }
    pthread_mutex_unlock(&j->lock);
    return moved;
}

int sac_job_place(const struct sac_job *j, int lane)
{
    struct sac_job *w = (struct sac_job *)(uintptr_t)j;
    int place = 0;
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->n_queue; i++)
        if (w->queue[i] == lane) place = i + 1;
    pthread_mutex_unlock(&w->lock);
    return place;
}

/* ---- measuring ---- */

struct measure_job { struct sac_job *j; int lane; atomic_bool failed; };

static void measure_items(void *ctx, int lo, int hi, int thread)
{
    struct measure_job *mj = ctx;
    struct sac_trace *t = mj->j->trace;
    int heads = t->info.shape.n_heads;
    struct measure_scratch m = { 0 };
    (void)thread;
    int keys = t->info.n_prompt + t->lane[mj->lane]->max_new, dim = t->info.shape.head_dim;
    if (!measure_scratch_init(&m, keys) || !scored_init(&m.own, keys, dim) ||
        !scored_init(&m.dense, keys, dim)) {
        atomic_store(&mj->failed, true);
    } else {
        for (int i = lo; i < hi && !atomic_load_explicit(&mj->j->cancel, memory_order_relaxed); i++)
            measure_heads(t, mj->lane, i / heads, i % heads, i % heads + 1, &m);
    }
    measure_scratch_free(&m);
}

/* Recall and densities of a finished lane. False: cancelled or out of memory. */
static bool measure_one(struct sac_job *j, int lane)
{
    struct sac_trace *t = j->trace;
    const struct sac_shape *s = &t->info.shape;
    for (int l = 0; l < s->n_layers; l++)
        if (!trace_layer(t, lane, l) || !measure_layer_alloc(t, lane, l)) return false;
    struct measure_job mj = { .j = j, .lane = lane };
    pool_run(j->m->pool, s->n_layers * s->n_heads, s->n_heads, measure_items, &mj);
    bool ok = !atomic_load(&mj.failed) && !atomic_load(&j->cancel);
    if (ok) measure_layer_errors(j, lane);
    for (int l = 0; l < s->n_layers; l++) measure_layer_done(t, lane, l);
    if (!ok) return false;
    for (int l = 0; l < s->n_layers; l++)
        atomic_store_explicit(&t->lane[lane]->layer[l].measured, true, memory_order_release);
    measure_lane(t, lane);
    return true;
}

static int unmeasured(const struct sac_job *j)
{
    if (j->opts.no_trace) return -1;
    for (int i = 0; i < sac_trace_n_lanes(j->trace); i++) {
        struct sac_lane p;
        sac_trace_lane(j->trace, i, &p);
        if (p.state == SAC_LANE_DONE && !atomic_load(&j->trace->lane[i]->layer[0].measured)) return i;
    }
    return -1;
}

/* ---- the worker ---- */

static int take_lane(struct sac_job *j)
{
    pthread_mutex_lock(&j->lock);
    int lane = -1;
    if (j->n_queue > 0) {
        lane = j->queue[0];
        memmove(j->queue, j->queue + 1, (size_t)--j->n_queue * sizeof *j->queue);
    }
    pthread_mutex_unlock(&j->lock);
    return lane;
}

/* A layer that is recorded and has no overviews yet. */
static bool next_map(const struct sac_job *j, int *lane, int *layer)
{
    int grid;
    const float *max, *mass;
    if (!j->opts.maps || j->maps_failed) return false;
    for (*lane = 0; *lane < sac_trace_n_lanes(j->trace); ++*lane)
        for (*layer = 0; *layer < j->m->hp.shape.n_layers; ++*layer)
            if (trace_layer(j->trace, *lane, *layer) &&
                !sac_trace_overview(j->trace, *lane, *layer, 0, &grid, &max, &mass))
                return true;
    return false;
}

/* Overviews of one layer, without the job's lock: given up when a lane is queued. */
static void make_map(struct sac_job *j, int lane, int layer)
{
    atomic_store(&j->maps_stop, false);
    pthread_mutex_unlock(&j->lock);
    bool ok = overview_make(j->trace, lane, layer, &j->maps_stop);
    trace_changed(j->trace);
    pthread_mutex_lock(&j->lock);
    if (!ok && !atomic_load(&j->maps_stop)) j->maps_failed = true;
}

static bool wait_for_work(struct sac_job *j)
{
    int lane, layer;
    pthread_mutex_lock(&j->lock);
    if (j->n_queue == 0) model_drop_spare(j->m); /* while it waits, others may want the memory */
    j->busy = false;
    pthread_cond_broadcast(&j->idle);
    trace_changed(j->trace);
    while (!j->quit && j->n_queue == 0) {
        if (next_map(j, &lane, &layer)) make_map(j, lane, layer);
        else pthread_cond_wait(&j->wake, &j->lock);
    }
    bool go = !j->quit;
    j->busy = go;
    if (go) atomic_store(&j->cancel, false);
    pthread_mutex_unlock(&j->lock);
    return go;
}

static void *worker(void *arg)
{
    struct sac_job *j = arg;
    pool_nice(j->opts.nice);
    do {
        for (;;) {
            int lane = take_lane(j);
            if (lane >= 0) {
                pthread_mutex_lock(&j->m->turn);      /* jobs on one model take turns */
                lane_execute(j, lane);
                pthread_mutex_unlock(&j->m->turn);
                continue;
            }
            /* Answers first: lanes are measured when none is waiting. */
            lane = atomic_load(&j->cancel) ? -1 : unmeasured(j);
            if (lane < 0) break;
            pthread_mutex_lock(&j->m->turn);
            bool ok = measure_one(j, lane);
            pthread_mutex_unlock(&j->m->turn);
            if (!ok) break;
        }
    } while (wait_for_work(j));
    return NULL;
}

enum sac_code sac_job_start(struct sac_job *j, struct sac_err *err)
{
    if (j->started) return SAC_OK;
    sigset_t all, old;
    sigfillset(&all);
    j->busy = true;
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(&j->thread, NULL, worker, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        j->busy = false;
        return sac_fail(err, SAC_ENOMEM, "cannot start a worker thread: %s", strerror(rc));
    }
    j->started = true;
    return SAC_OK;
}

void sac_job_stop(struct sac_job *j)
{
    pthread_mutex_lock(&j->lock);
    atomic_store(&j->cancel, true);
    int n = j->n_queue, lanes[TRACE_MAX_LANES];
    memcpy(lanes, j->queue, (size_t)n * sizeof *lanes);
    j->n_queue = 0;
    pthread_mutex_unlock(&j->lock);
    for (int i = 0; i < n; i++) {
        struct sac_lane *p = trace_lane_edit(j->trace, lanes[i]);
        p->state = SAC_LANE_STOPPED;
        trace_lane_done(j->trace);
    }
}

bool sac_job_running(const struct sac_job *j)
{
    struct sac_job *w = (struct sac_job *)(uintptr_t)j;
    pthread_mutex_lock(&w->lock);
    bool busy = w->busy || (w->started && w->n_queue > 0);
    pthread_mutex_unlock(&w->lock);
    return busy;
}

void sac_job_wait(struct sac_job *j)
{
    if (!j->started) return;
    pthread_mutex_lock(&j->lock);
    while (j->busy || j->n_queue > 0) pthread_cond_wait(&j->idle, &j->lock);
    pthread_mutex_unlock(&j->lock);
}

struct sac_trace *sac_job_trace(struct sac_job *j) { return j->trace; }

void sac_job_free(struct sac_job *j)
{
    if (!j) return;
    if (j->started) {
        sac_job_stop(j);
        pthread_mutex_lock(&j->lock);
        j->quit = true;
        atomic_store(&j->maps_stop, true);
        pthread_cond_broadcast(&j->wake);
        pthread_mutex_unlock(&j->lock);
        pthread_join(j->thread, NULL);
    }
    if (j->trace) j->trace->notify = NULL;
    session_free(j->base);
    model_drop_spare(j->m);
    for (int l = 0; j->tail && l < j->m->hp.shape.n_layers; l++) free(j->tail[l]);
    for (int l = 0; j->mass && l < j->m->hp.shape.n_layers; l++) free(j->mass[l]);
    free(j->tail);
    free(j->mass);
    free(j->base_logits);
    free(j->dense_logp);
    free(j->gold_id);
    if (j->earlier) sac_trace_release(j->earlier);
    sac_trace_release(j->trace);
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->wake);
    pthread_cond_destroy(&j->idle);
    free(j);
}
