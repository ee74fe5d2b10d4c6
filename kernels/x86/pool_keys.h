/* Keys handed to the kernels of a pooled map, six at a time while there are as many: the same at both levels.
 * The file that includes this has keys_6, keys_4, keys_2 and keys_1 for keys that all rows see, and see_panel for
 * R keys that some rows of a panel see. */
#ifndef X86_POOL_KEYS_H
#define X86_POOL_KEYS_H

/* Panels whose rows see none of the keys are left out. */
#define SEEN(R)                                                                                              \
    static __attribute__((noinline)) void seen_##R(const struct k_pool *p, const float *key,                 \
                                                   const uint64_t *lost, const uint64_t *seen)               \
    {                                                                                                        \
        uint64_t any = 0;                                                                                    \
        for (int r = 0; r < R; r++) any |= seen[r];                                                          \
        for (int j = 0; j < p->panels; j++, any >>= K_PANEL)                                                 \
            if (any & 0xffff) see_panel(p, key, lost, seen, j, R);                                           \
    }
SEEN(6)
SEEN(1)

static inline void pool_keys(const struct k_pool *p, const float *key, int n, const uint64_t *lost,
                             const uint64_t *seen)
{
    typedef void kernel(const struct k_pool *, const float *, const uint64_t *);
    static kernel *const keys[] = { keys_1, keys_2, keys_4, keys_6 };
    static const int many[] = { 1, 2, 4, 6 };
    size_t dim = (size_t)p->dim;
    for (int i = 0, r; seen && i < n; i += r) {
        const uint64_t *off = lost ? lost + i : NULL;
        r = n - i >= 6 ? 6 : 1;
        if (r == 6) seen_6(p, key + (size_t)i * dim, off, seen + i);
        else seen_1(p, key + (size_t)i * dim, off, seen + i);
    }
    for (int k = 3; !seen && n > 0; k--)
        for (; n >= many[k]; n -= many[k], key += (size_t)many[k] * dim) {
            keys[k](p, key, lost);
            if (lost) lost += many[k];
        }
}

#endif
