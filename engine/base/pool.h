/* A pool of worker threads that runs ranges of work for one caller at a time.
 *
 * fn(ctx, lo, hi, thread) is called for disjoint ranges that cover 0 .. n-1; `thread` is 0 .. n_threads-1
 * and distinct for calls that run at the same time. Workers block every signal. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>

struct sac_pool;
struct sac_pool *pool_new(int n_threads, int nice);   /* NULL: out of memory or threads */
void pool_free(struct sac_pool *p);
int pool_threads(const struct sac_pool *p);
/* grain: smallest range handed out; ranges are taken dynamically, in ascending order. */
void pool_run(struct sac_pool *p, int n, int grain, void (*fn)(void *ctx, int lo, int hi, int thread),
              void *ctx);
/* Lowers the priority of the calling thread by `nice`, where the system can do that for one thread. */
void pool_nice(int nice);
/* Memory that lives as long as the pool and grows on demand (its content is lost then): of one thread, or
 * with thread -1 of whoever calls pool_run. 64-byte aligned. For linear and attend. NULL: out of memory. */
void *pool_scratch(struct sac_pool *p, int thread, size_t bytes);
#endif
