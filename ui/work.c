/* The view worker.
 *
 * Requests live in a fixed table keyed by function and arguments. The UI thread alone swaps results in, at
 * the start of a frame, so a pointer handed to a view stays valid while it draws. The worker takes what the
 * newest frame asked for first; what no frame wants any more is dropped from the queue or cancelled while it
 * runs. */
#include "work.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_ENTRIES = 192, KEEP_FRAMES = 2 };
enum entry_state { FREE, QUEUED, RUNNING, DONE };

struct entry {
    enum entry_state state;
    ui_compute fn;
    int arg[UI_REQ_ARGS], n;
    unsigned flags;
    struct sac_trace *trace;      /* retained */
    uint64_t frame, order;        /* last frame that wanted it; order of asking in it */
    uint64_t generation;          /* of the trace, when computed */
    double at, took;
    void *result;                 /* shown */
    void *fresh; bool has_fresh;  /* arrived, not yet shown */
    atomic_bool cancel;
};

struct ui_work {
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t more, idle;
    bool quit;
    uint64_t frame, order;
    double now;
    void (*wake)(void *ctx);
    void *ctx;
    struct entry e[N_ENTRIES];
};

static double clock_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void entry_drop(struct entry *e)
{
    free(e->result);
    if (e->has_fresh) free(e->fresh);
    sac_trace_release(e->trace);
    e->result = e->fresh = NULL;
    e->has_fresh = false;
    e->state = FREE;
}

/* ---- the worker's side ---- */

static struct entry *next_entry(struct ui_work *w)
{
    struct entry *best = NULL;
    for (int i = 0; i < N_ENTRIES; i++) {
        struct entry *e = &w->e[i];
        if (e->state != QUEUED) continue;
        bool low = e->flags & UI_REQ_LOW, best_low = best && best->flags & UI_REQ_LOW;
        if (!best || (best_low && !low) ||
            (low == best_low &&
             (e->frame > best->frame || (e->frame == best->frame && e->order < best->order))))
            best = e;
    }
    return best;
}

static void *work_main(void *ctx)
{
    struct ui_work *w = ctx;
    pthread_mutex_lock(&w->mu);
    while (!w->quit) {
        struct entry *e = next_entry(w);
        if (!e) {
            pthread_cond_broadcast(&w->idle);
            pthread_cond_wait(&w->more, &w->mu);
            continue;
        }
        e->state = RUNNING;
        uint64_t generation = sac_trace_generation(e->trace);
        pthread_mutex_unlock(&w->mu);
        double t0 = clock_s();
        void *result =
            e->fn(e->trace, e->arg, &e->cancel); /* the entry's key does not change while it runs */
        double took = clock_s() - t0;
        pthread_mutex_lock(&w->mu);
        e->state = DONE;
        if (atomic_load(&e->cancel) && !result) {
            atomic_store(&e->cancel, false);
            /* Someone may have come back to it after it was given up: then it is computed after all. */
            if (e->frame + KEEP_FRAMES >= w->frame)
                e->state = QUEUED;
            else if (!e->result)
                entry_drop(e);
        } else {
            if (e->has_fresh) free(e->fresh);
            e->fresh = result;
            e->has_fresh = true;
            e->generation = generation;
            e->took = took;
            e->at = w->now;
            w->wake(w->ctx);
        }
    }
    pthread_mutex_unlock(&w->mu);
    return NULL;
}

/* ---- the UI's side ---- */

struct ui_work *ui_work_new(void (*wake)(void *ctx), void *ctx)
{
    struct ui_work *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->wake = wake;
    w->ctx = ctx;
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->more, NULL);
    pthread_cond_init(&w->idle, NULL);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);      /* signals are the UI thread's */
    int rc = pthread_create(&w->thread, NULL, work_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!rc) return w;
    free(w);
    return NULL;
}

void ui_work_free(struct ui_work *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->mu);
    w->quit = true;
    for (int i = 0; i < N_ENTRIES; i++) atomic_store(&w->e[i].cancel, true);
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->mu);
    pthread_join(w->thread, NULL);
    for (int i = 0; i < N_ENTRIES; i++)
        if (w->e[i].state != FREE) entry_drop(&w->e[i]);
    pthread_cond_destroy(&w->more);
    pthread_cond_destroy(&w->idle);
    pthread_mutex_destroy(&w->mu);
    free(w);
}

void ui_work_frame(struct ui_work *w, double now)
{
    if (!w) return;
    pthread_mutex_lock(&w->mu);
    w->frame++;
    w->order = 0;
    w->now = now;
    for (int i = 0; i < N_ENTRIES; i++) {
        struct entry *e = &w->e[i];
        if (e->has_fresh) {
            /* A result that is not there yet does not take the place of an older one. */
            if (e->fresh || !(e->flags & UI_REQ_LIVE)) free(e->result), e->result = e->fresh;
            e->fresh = NULL;
            e->has_fresh = false;
        }
        bool wanted = e->frame + KEEP_FRAMES >= w->frame;
        if (e->state == QUEUED && !wanted) {
            e->state = DONE;
            if (!e->result) entry_drop(e);
        }
        if (e->state == RUNNING && !wanted) atomic_store(&e->cancel, true);
    }
    pthread_mutex_unlock(&w->mu);
}

static struct entry *find(struct ui_work *w, struct sac_trace *t, ui_compute fn, const int *arg, int n)
{
    struct entry *spare = NULL;
    for (int i = 0; i < N_ENTRIES; i++) {
        struct entry *e = &w->e[i];
        if (e->state != FREE && e->trace == t && e->fn == fn && e->n == n &&
            !memcmp(e->arg, arg, (size_t)n * sizeof *arg))
            return e;
        if (e->state == FREE) {
            if (!spare || spare->state != FREE) spare = e;
        } else if (e->state == DONE && e->frame + 1 < w->frame &&
                   (!spare || (spare->state != FREE && e->frame < spare->frame))) {
            spare = e;
        }
    }
    if (!spare) return NULL;
    if (spare->state != FREE) entry_drop(spare);
    memset(spare, 0, sizeof *spare);
    spare->state = QUEUED;
    spare->fn = fn;
    spare->n = n;
    memcpy(spare->arg, arg, (size_t)n * sizeof *arg);
    spare->trace = t;
    sac_trace_retain(t);
    pthread_cond_signal(&w->more);
    return spare;
}

const void *ui_request(const struct ui_state *st, ui_compute fn, const int *arg, int n, unsigned flags,
                       enum ui_req_state *state)
{
    struct ui_work *w = st->work;
    enum ui_req_state dummy;
    if (!state) state = &dummy;
    *state = UI_REQ_QUEUED;
    assert(n <= UI_REQ_ARGS);
    if (!w || !st->trace) return NULL;
    pthread_mutex_lock(&w->mu);
    struct entry *e = find(w, st->trace, fn, arg, n);
    const void *result = NULL;
    if (e) {
        e->flags = flags;
        e->frame = w->frame;
        e->order = w->order++;
        bool grown = e->state == DONE && e->generation != st->generation;
        bool due = w->now - e->at >= (e->took * 3 > 0.2 ? e->took * 3 : 0.2);
        if (grown && due && !e->has_fresh && (flags & UI_REQ_LIVE || !e->result)) {
            e->state = QUEUED;
            pthread_cond_signal(&w->more);
        }
        result = e->result;
        *state = e->state == RUNNING ? UI_REQ_RUNNING : e->state == QUEUED ? UI_REQ_QUEUED
               : result ? UI_REQ_READY : UI_REQ_NOTHING;
        if (result) *state = UI_REQ_READY;
    }
    pthread_mutex_unlock(&w->mu);
    return result;
}

bool ui_work_idle(struct ui_work *w)
{
    bool idle = true;
    pthread_mutex_lock(&w->mu);
    for (int i = 0; i < N_ENTRIES; i++)
        if (w->e[i].state == QUEUED || w->e[i].state == RUNNING || w->e[i].has_fresh) idle = false;
    pthread_mutex_unlock(&w->mu);
    return idle;
}

bool ui_work_wait(struct ui_work *w, double s)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += (time_t)s;
    bool ok = true;
    pthread_mutex_lock(&w->mu);
    for (;;) {
        bool busy = false;
        for (int i = 0; i < N_ENTRIES; i++) busy |= w->e[i].state == QUEUED || w->e[i].state == RUNNING;
        if (!busy || !ok) break;
        if (pthread_cond_timedwait(&w->idle, &w->mu, &ts) == ETIMEDOUT) ok = false;
    }
    pthread_mutex_unlock(&w->mu);
    return ok;
}
