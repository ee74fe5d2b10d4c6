/* Bump allocation in blocks; rewinding keeps the newest block so that a loop stops allocating. */
#include <saccade/arena.h>

#include "base/pages.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, BLOCK_MIN = 1 << 20 };

struct sac_arena_block {
    struct sac_arena_block *older;
    size_t at, cap;
    alignas(ALIGN) unsigned char bytes[];
};

static struct sac_arena_block *block_new(size_t bytes)
{
    size_t cap = bytes < BLOCK_MIN ? BLOCK_MIN : bytes;
    if (cap > SIZE_MAX - sizeof(struct sac_arena_block) - ALIGN) return NULL;
    size_t total = (sizeof(struct sac_arena_block) + cap + ALIGN - 1) / ALIGN * ALIGN;
    struct sac_arena_block *b = pages_alloc(total);
    if (!b) return NULL;
    b->older = NULL;
    b->at = 0;
    b->cap = cap;
    return b;
}

static void *take(struct sac_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX - ALIGN) return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (a->limit && (a->used > a->limit || bytes > a->limit - a->used)) return NULL;
    if (!a->block || bytes > a->block->cap - a->block->at) {
        struct sac_arena_block *b = block_new(bytes);
        if (!b) return NULL;
        b->older = a->block;
        a->block = b;
    }
    void *p = a->block->bytes + a->block->at;
    a->block->at += bytes;
    a->used += bytes;
    return p;
}

void *sac_arena_alloc(struct sac_arena *a, size_t bytes)
{
    void *p = take(a, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

float *sac_arena_floats(struct sac_arena *a, size_t n)
{
    return n > SIZE_MAX / sizeof(float) ? NULL : take(a, n * sizeof(float));
}

char *sac_arena_strdup(struct sac_arena *a, const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = take(a, n);
    return p ? memcpy(p, s, n) : NULL;
}

struct sac_arena_mark sac_arena_mark(const struct sac_arena *a)
{
    return (struct sac_arena_mark){ a->block, a->block ? a->block->at : 0, a->used };
}

void sac_arena_rewind(struct sac_arena *a, struct sac_arena_mark mark)
{
    /* A mark of the empty arena keeps one block: the next round starts in it. */
    while (a->block && a->block != mark.block && (mark.block || a->block->older)) {
        struct sac_arena_block *older = a->block->older;
        free(a->block);
        a->block = older;
    }
    if (a->block) a->block->at = a->block == mark.block ? mark.at : 0;
    a->used = mark.used;
}

void sac_arena_free(struct sac_arena *a)
{
    while (a->block) {
        struct sac_arena_block *older = a->block->older;
        free(a->block);
        a->block = older;
    }
    a->used = 0;
}
