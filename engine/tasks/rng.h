/* Random numbers of the task generators: PCG32 seeded through SplitMix64.
 *
 * A sample must be the same on every machine and with every C library, so nothing of libc is used and every
 * draw is an integer operation. A stream is named by numbers (seed, sample, attempt) mixed one after another.
 */
#ifndef TASKS_RNG_H
#define TASKS_RNG_H

#include <assert.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_mix(uint64_t h, uint64_t x)
{
    uint64_t z = h + x * 0xD1B54A32D192ED03u + 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline uint32_t rng_u32(struct rng *r)
{
    uint64_t old = r->state;
    r->state = old * 6364136223846793005u + 1442695040888963407u;
    uint32_t x = (uint32_t)(((old >> 18) ^ old) >> 27), rot = (uint32_t)(old >> 59);
    return (x >> rot) | (x << ((32 - rot) & 31));
}

/* Uniform in lo .. hi, both included. Values that would make the remainder uneven are drawn again. */
static inline int rng_int(struct rng *r, int lo, int hi)
{
    assert(lo <= hi);
    uint32_t n = (uint32_t)hi - (uint32_t)lo + 1u;
    if (!n) return (int)rng_u32(r);
    uint32_t reject = (0u - n) % n, x;
    do x = rng_u32(r);
    while (x < reject);
    return (int)((uint32_t)lo + x % n);
}

/* Random order of n ints; of the first `take` only, where that is enough. */
static inline void rng_shuffle(struct rng *r, int *v, int n, int take)
{
    for (int i = 0; i < take && i < n - 1; i++) {
        int j = rng_int(r, i, n - 1), t = v[i];
        v[i] = v[j];
        v[j] = t;
    }
}
#endif
