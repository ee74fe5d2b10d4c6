/* Merging symbols: always the pair of lowest rank, leftmost among equals.
 *
 * Words are short, so the usual case scans an array of pair ranks. Long stretches (a megabyte of one letter)
 * keep offers, which are dropped when they turn out stale: in a heap, or, where they are millions, in a list
 * for each rank, since a merge hardly ever makes a pair of lower rank than its own. */
#include "text/tok_int.h"

#include <stdlib.h>

enum { SMALL = 48, MANY = 1 << 14 };
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

/* ---- offers of a long stretch ---- */

/* Lists of offers by rank, in the order of their positions, and a heap of the ranks that have any. Offers of
 * a rank that is not above the one in work go to `urgent`, which is asked first. */
struct list {
    int32_t head, tail;
    bool mixed;
};
struct listed {
    uint32_t left, mid, hi;
    int32_t next;
};

struct queue {
    struct heap urgent, ranks;
    struct list *list; /* [ranks]; NULL: everything is urgent */
    struct listed *item;
    size_t n_item, cap_item;
    int64_t now; /* rank in work, -1: none */
};

static bool append(struct queue *q, uint32_t rank, struct listed x)
{
    struct list *l = &q->list[rank];
    if (q->n_item == q->cap_item) {
        size_t cap = q->cap_item * 2 + 4096;
        struct listed *item = cap > INT32_MAX ? NULL : realloc(q->item, cap * sizeof *item);
        if (!item) return false;
        q->item = item;
        q->cap_item = cap;
    }
    int32_t at = (int32_t)q->n_item++;
    q->item[at] = x;
    if (l->head < 0) {
        *l = (struct list){ at, at, false };
        return push(&q->ranks, (struct offer){ rank, 0, 0 });
    }
    if (q->item[l->tail].left > x.left) l->mixed = true;
    q->item[l->tail].next = at;
    l->tail = at;
    return true;
}

/* A list whose offers came in mixed order goes through the heap. */
static bool take_mixed(struct queue *q, uint32_t rank)
{
    struct list *l = &q->list[rank];
    for (int32_t at = l->head; at >= 0; at = q->item[at].next) {
        const struct listed *x = &q->item[at];
        if (!push(&q->urgent, (struct offer){ (uint64_t)rank << 32 | x->left, x->mid, x->hi })) return false;
    }
    l->head = -1;
    return true;
}

/* The next offer: 1, 0 when there is none, -1 out of memory. */
static int next_offer(struct queue *q, struct offer *out)
{
    for (;;) {
        struct list *l = q->now >= 0 ? &q->list[q->now] : NULL;
        const struct listed *x = l && l->head >= 0 ? &q->item[l->head] : NULL;
        uint64_t key = x ? (uint64_t)q->now << 32 | x->left : UINT64_MAX;
        if (q->urgent.n && q->urgent.o[0].key < key) {
            *out = pop(&q->urgent);
            return 1;
        }
        if (x) {
            *out = (struct offer){ key, x->mid, x->hi };
            l->head = x->next;
            return 1;
        }
        if (!q->ranks.n) return 0;
        q->now = (int64_t)pop(&q->ranks).key;
        if (q->list[q->now].mixed && !take_mixed(q, (uint32_t)q->now)) return -1;
    }
}

static bool offer_pair(const struct tokenizer *t, const char *s, const struct symbol *sym, int left,
                       struct queue *q)
{
    int right = left < 0 ? -1 : sym[left].next, id;
    if (right < 0) return true;
    uint32_t rank = rank_of(t, s, &sym[left], &sym[right], &id);
    if (rank == NO_RANK) return true;
    if (q->list && (int64_t)rank > q->now)
        return append(q, rank, (struct listed){ (uint32_t)left, sym[left].hi, sym[right].hi, -1 });
    return push(&q->urgent,
                (struct offer){ (uint64_t)rank << 32 | (uint32_t)left, sym[left].hi, sym[right].hi });
}

static bool merge_long(const struct tokenizer *t, const char *s, struct symbol *sym, int n, struct queue *q)
{
    struct offer o;
    int got = 1;
    for (int i = 0; i + 1 < n; i++)
        if (!offer_pair(t, s, sym, i, q)) return false;
    while ((got = next_offer(q, &o)) > 0) {
        int left = (int)(uint32_t)o.key, id = -1;
        const struct symbol *l = &sym[left];
        if (l->hi != o.mid || l->hi == l->lo || l->next < 0 || sym[l->next].hi != o.hi) continue; /* stale */
        rank_of(t, s, l, &sym[l->next], &id);
        join(sym, left, id);
        if (!offer_pair(t, s, sym, sym[left].prev, q) || !offer_pair(t, s, sym, left, q)) return false;
    }
    return got == 0;
}

bool merge_symbols(const struct tokenizer *t, const char *s, struct symbol *sym, int n)
{
    if (n <= SMALL) {
        merge_small(t, s, sym, n);
        return true;
    }
    struct queue q = { .now = -1 };
    bool ok = true;
    if (n >= MANY) {
        q.list = malloc(t->n_ranks * sizeof *q.list);
        for (size_t i = 0; q.list && i < t->n_ranks; i++) q.list[i] = (struct list){ -1, -1, false };
        ok = q.list != NULL;
    }
    ok = ok && merge_long(t, s, sym, n, &q);
    free(q.urgent.o);
    free(q.ranks.o);
    free(q.list);
    free(q.item);
    return ok;
}
