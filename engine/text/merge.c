/* Merging symbols: always the pair of lowest rank, leftmost among equals.
 *
 * Words are short, so the usual case scans an array of pair ranks; long stretches (a megabyte of one letter) use
 * a heap with lazy deletion, which stays n log n. */
#include "text/tok_int.h"

#include <stdlib.h>

enum { SMALL = 48 };
#define NO_RANK UINT32_MAX

/* Rank of merging neighbours a and b, and what they become. */
static uint32_t rank_of(const struct tokenizer *t, const char *s, const struct symbol *a, const struct symbol *b,
                        int *id)
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

struct offer { uint32_t rank; int left, id; size_t mid, hi; };   /* mid, hi: what the pair was when offered */
struct heap { struct offer *o; size_t n, cap; };

static bool before(const struct offer *a, const struct offer *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

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
    for (; i > 0 && before(&x, &h->o[(i - 1) / 2]); i = (i - 1) / 2) h->o[i] = h->o[(i - 1) / 2];
    h->o[i] = x;
    return true;
}

static struct offer pop(struct heap *h)
{
    struct offer top = h->o[0], last = h->o[--h->n];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < h->n; i = c) {
        if (c + 1 < h->n && before(&h->o[c + 1], &h->o[c])) c++;
        if (!before(&h->o[c], &last)) break;
        h->o[i] = h->o[c];
    }
    h->o[i] = last;
    return top;
}

static bool offer_pair(const struct tokenizer *t, const char *s, const struct symbol *sym, int left, struct heap *h)
{
    int right = left < 0 ? -1 : sym[left].next, id;
    if (right < 0) return true;
    uint32_t rank = rank_of(t, s, &sym[left], &sym[right], &id);
    return rank == NO_RANK || push(h, (struct offer){ rank, left, id, sym[left].hi, sym[right].hi });
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
        const struct symbol *l = &sym[o.left];
        if (l->hi != o.mid || l->hi == l->lo || l->next < 0 || sym[l->next].hi != o.hi) continue;
        join(sym, o.left, o.id);
        ok = offer_pair(t, s, sym, sym[o.left].prev, &h) && offer_pair(t, s, sym, o.left, &h);
    }
    free(h.o);
    return ok;
}
