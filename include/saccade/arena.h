/* Bump allocation: everything of one lifetime in one block, released at once.
 *
 * An arena either has a fixed size decided before work starts (limit > 0) or grows by blocks
 * (limit == 0). Memory is 64-byte aligned and zeroed by sac_arena_alloc. */
#ifndef SAC_ARENA_H
#define SAC_ARENA_H

#include <stddef.h>

struct sac_arena {
    struct sac_arena_block *block; /* the newest; older ones behind it */
    size_t limit, used;            /* bytes; limit 0: grows */
};

/* NULL when the limit or the machine's memory is reached. */
void *sac_arena_alloc(struct sac_arena *a, size_t bytes);
float *sac_arena_floats(struct sac_arena *a, size_t n);   /* not zeroed */
char *sac_arena_strdup(struct sac_arena *a, const char *s);

/* Forget everything allocated since the mark; blocks are kept for reuse. */
struct sac_arena_mark { struct sac_arena_block *block; size_t at, used; };
struct sac_arena_mark sac_arena_mark(const struct sac_arena *a);
void sac_arena_rewind(struct sac_arena *a, struct sac_arena_mark mark);
void sac_arena_free(struct sac_arena *a);
#endif
