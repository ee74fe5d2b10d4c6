/* Merging symbols: always the pair of lowest rank, leftmost among equals.
 *
 * Words are short, so the usual case scans an array of pair ranks; long stretches (a megabyte of one letter)
 * use a heap with lazy deletion, which stays n log n. */
#include "text/tok_int.h"

#include <stdlib.h>

enum { SMALL = 48 };
#define NO_RANK UINT32_MAX

/* Rank of merging neighbours a and b, and what they become. */
static uint32_t rank_of(const struct tokenizer *t, const char *s, const struct symbol *a,
                        const struct symbol *b, int *id)
{
    if (t->algorithm == TOK_SPM) {
        *id = vocab_lookup(t, s + a->lo, b->hi - a->lo);
        return *id < 0 ? NO_RANK : t->tok[*id].rank;
    }
    const struct tok_pair *p = pairs_find(t, a->id, b->id);
    if (!p) return NO_RANK;
    *id = p->id;
    return p->rank;
}

static void join(struct symbol *sym, int left, int id)
{
    int right = sym[left].next;
    sym[left].id = id;
    sym[left].hi = sym[right].hi;
    sym[left].next = sym[right].next;
    if (sym[right].next >= 0) sym[sym[right].next].prev = left;
    sym[right].lo = sym[right].hi = 0;   /* gone */
}

static void merge_small(const struct tokenizer *t, const char *s, struct symbol *sym, int n)
{
    uint32_t rank[SMALL];
    int id[SMALL], at[SMALL];   /* at[i]: symbol; rank[i]: of merging it with the next one */
    for (int i = 0; i < n; i++) at[i] = i;
    for (int i = 0; i + 1 < n; i++) rank[i] = rank_of(t, s, &sym[i], &sym[i + 1], &id[i]);
    while (n > 1) {
        int best = 0;
        for (int i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_RANK) break;
        join(sym, at[best], id[best]);
        for (int i = best + 1; i + 1 < n; i++) {
            at[i] = at[i + 1];
            rank[i] = rank[i + 1];
            id[i] = id[i + 1];
        }
        n--;
        if (best + 1 < n) rank[best] = rank_of(t, s, &sym[at[best]], &sym[at[best + 1]], &id[best]);
        if (best > 0) rank[best - 1] = rank_of(t, s, &sym[at[best - 1]], &sym[at[best]], &id[best - 1]);
    }
}

/* ---- the heap ---- */

/* 16 bytes, four children to a node: a stretch of a million letters makes millions of offers. */
struct offer { uint64_t key; uint32_t mid, hi; };   /* key: rank << 32 | left; mid, hi: what the pair was */
struct heap { struct offer *o; size_t n, cap; };

static bool push(struct heap *h, struct offer x)
{
    if (h->n == h->cap) {
        size_t cap = h->cap * 2 + 64;
        struct offer *o = realloc(h->o, cap * sizeof *o);
        if (!o) return false;
        h->o = o;
        h->cap = cap;
    }
    size_t i = h->n++;
    for (; i > 0 && x.key < h->o[(i - 1) / 4].key; i = (i - 1) / 4) h->o[i] = h->o[(i - 1) / 4];
    h->o[i] = x;
    return true;
}

static struct offer pop(struct heap *h)
{
    struct offer top = h->o[0], last = h->o[--h->n];
    size_t i = 0;
    for (size_t c; (c = 4 * i + 1) < h->n; i = c) {
        size_t end = c + 4 < h->n ? c + 4 : h->n;
        for (size_t k = c + 1; k < end; k++)
            if (h->o[k].key < h->o[c].key) c = k;
        if (h->o[c].key >= last.key) break;
        h->o[i] = h->o[c];
    }
    h->o[i] = last;
    return top;
}

static bool offer_pair(const struct tokenizer *t, const char *s, const struct symbol *sym, int left,
                       struct heap *h)
{
    int right = left < 0 ? -1 : sym[left].next, id;
    if (right < 0) return true;
    uint32_t rank = rank_of(t, s, &sym[left], &sym[right], &id);
    if (rank == NO_RANK) return true;
    return push(h, (struct offer){ (uint64_t)rank << 32 | (uint32_t)left, sym[left].hi, sym[right].hi });
}

bool merge_symbols(const struct tokenizer *t, const char *s, struct symbol *sym, int n)
{
    if (n <= SMALL) {
        merge_small(t, s, sym, n);
        return true;
    }
    struct heap h = { 0 };
    bool ok = true;
    for (int i = 0; i + 1 < n && ok; i++) ok = offer_pair(t, s, sym, i, &h);
    while (h.n && ok) {
        struct offer o = pop(&h);
        int left = (int)(uint32_t)o.key, id = -1;
        const struct symbol *l = &sym[left];
        if (l->hi != o.mid || l->hi == l->lo || l->next < 0 || sym[l->next].hi != o.hi) continue; /* stale */
        rank_of(t, s, l, &sym[l->next], &id);
        join(sym, left, id);
        ok = offer_pair(t, s, sym, sym[left].prev, &h) && offer_pair(t, s, sym, left, &h);
    }
    free(h.o);
    return ok;
}
