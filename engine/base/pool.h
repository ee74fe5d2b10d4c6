/* A pool of worker threads that runs ranges of work for one caller at a time.
 *
 * fn(ctx, lo, hi, thread) is called for disjoint ranges that cover 0 .. n-1; `thread` is 0 .. n_threads-1
 * and distinct for calls that run at the same time. Workers block every signal. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

struct sac_pool;
struct sac_pool *pool_new(int n_threads, int nice);   /* NULL: out of memory or threads */
void pool_free(struct sac_pool *p);
int pool_threads(const struct sac_pool *p);
/* grain: smallest range handed out; ranges are taken dynamically, in ascending order. */
void pool_run(struct sac_pool *p, int n, int grain, void (*fn)(void *ctx, int lo, int hi, int thread),
              void *ctx);
#endif
