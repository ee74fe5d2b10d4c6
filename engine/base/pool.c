/* The worker pool: ranges of one job at a time, handed out from an atomic counter.
 *
 * The caller works as thread 0. Workers join a job while it is open and are not waited for when they come
 * too late, so a machine that is busy elsewhere costs their help, never a stall. Between jobs a worker looks
 * out for the next one for some tens of microseconds (a decoded token is some fifty jobs of 20 us each), then
 * sleeps. Each thread has scratch memory that lives as long as the pool. */
#include "base/pool.h"

#include "base/pages.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#if defined __linux__
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

typedef void (*range_fn)(void *ctx, int lo, int hi, int thread);

/* `state` is generation << 16 | workers that joined << 1 | open. Whoever joins does so by compare-and-swap
 * on the whole word, so nobody can join a job that has been closed. */
struct sac_pool {
    int n_threads, nice;
    _Atomic uint64_t state;
    atomic_int next, left, sleepers;
    atomic_bool quit;
    int n, grain;
    range_fn fn;
    void *ctx;
    pthread_mutex_t caller, lock;
    pthread_cond_t wake;
    pthread_t *thread;          /* [n_threads - 1] */
    struct scratch { void *mem; size_t bytes; } *scratch;   /* [n_threads + 1] */
};

struct worker { struct sac_pool *p; int id; };

enum { SPINS = 1500, SPINS_PER_YIELD = 64 };

static void relax(int i)
{
    if (i % SPINS_PER_YIELD == SPINS_PER_YIELD - 1) {
        sched_yield();
        return;
    }
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

static void work(struct sac_pool *p, int id)
{
    for (;;) {
        int lo = atomic_fetch_add_explicit(&p->next, p->grain, memory_order_relaxed);
        if (lo >= p->n) return;
        p->fn(p->ctx, lo, lo + p->grain < p->n ? lo + p->grain : p->n, id);
    }
}

static bool news(struct sac_pool *p, uint64_t seen)
{
    uint64_t s = atomic_load(&p->state);
    return atomic_load(&p->quit) || ((s & 1) && s >> 16 != seen);
}

static void wait_for_job(struct sac_pool *p, uint64_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (news(p, seen)) return;
        relax(i);
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (!news(p, seen)) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

void pool_nice(int nice)
{
#if defined __linux__
    if (nice > 0) setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), nice);
#else
    (void)nice;   /* elsewhere a priority is the whole process's */
#endif
}

static void *worker_main(void *arg)
{
    struct worker w = *(struct worker *)arg;
    struct sac_pool *p = w.p;
    free(arg);
    pool_nice(p->nice);
    uint64_t seen = 0;
    for (;;) {
        wait_for_job(p, seen);
        if (atomic_load(&p->quit)) return NULL;
        uint64_t s = atomic_load(&p->state);
        if (!(s & 1) || s >> 16 == seen) continue;
        if (!atomic_compare_exchange_strong(&p->state, &s, s + 2)) continue;
        seen = s >> 16;
        work(p, w.id);
        atomic_fetch_add_explicit(&p->left, 1, memory_order_release);
    }
}

static bool start_workers(struct sac_pool *p, int n)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);   /* inherited: signals go to the threads of the program */
    for (int i = 1; i < n; i++) {
        struct worker *w = malloc(sizeof *w);
        if (w) *w = (struct worker){ p, i };
        if (!w || pthread_create(&p->thread[i - 1], NULL, worker_main, w)) {
            free(w);
            break;
        }
        p->n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return p->n_threads == n;
}

struct sac_pool *pool_new(int n_threads, int nice)
{
    if (n_threads < 1) n_threads = 1;
    if (n_threads > 1024) n_threads = 1024;
    struct sac_pool *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->n_threads = 1;
    p->nice = nice;
    p->thread = calloc((size_t)n_threads, sizeof *p->thread);
    p->scratch = calloc((size_t)n_threads + 1, sizeof *p->scratch);
    pthread_mutex_init(&p->caller, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    if (!p->thread || !p->scratch || !start_workers(p, n_threads)) {
        pool_free(p);
        return NULL;
    }
    return p;
}

void pool_free(struct sac_pool *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->quit, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 1; i < p->n_threads; i++) pthread_join(p->thread[i - 1], NULL);
    for (int i = 0; p->scratch && i <= p->n_threads; i++) free(p->scratch[i].mem);
    pthread_mutex_destroy(&p->caller);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    free(p->thread);
    free(p->scratch);
    free(p);
}

int pool_threads(const struct sac_pool *p) { return p->n_threads; }

void *pool_scratch(struct sac_pool *p, int thread, size_t bytes)
{
    struct scratch *s = &p->scratch[thread < 0 ? p->n_threads : thread];
    if (s->bytes >= bytes) return s->mem;
    free(s->mem);
    size_t want = (bytes + bytes / 8 + 4095) / 4096 * 4096;
    s->mem = pages_alloc(want);
    s->bytes = s->mem ? want : 0;
    return s->mem;
}

void pool_run(struct sac_pool *p, int n, int grain, range_fn fn, void *ctx)
{
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    pthread_mutex_lock(&p->caller);
    if (p->n_threads == 1 || n <= grain) {
        fn(ctx, 0, n, 0);
        pthread_mutex_unlock(&p->caller);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    p->grain = grain;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->left, 0, memory_order_relaxed);
    uint64_t gen = (atomic_load(&p->state) >> 16) + 1;
    atomic_store(&p->state, gen << 16 | 1);
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
    work(p, 0);
    int joined = (int)(atomic_fetch_and(&p->state, ~(uint64_t)1) >> 1 & 0x7fff);
    for (int i = 0; atomic_load_explicit(&p->left, memory_order_acquire) != joined; i++) relax(i);
    pthread_mutex_unlock(&p->caller);
}
