/* What the machine gives for reading what a method's decode steps read, and nothing else: a loop over the
 * lists of real steps that asks for rows ahead and adds up their words, on all threads, in the session's own
 * cache. Beside it the same loop reads all of the dense cache. What attention takes beyond the first can be
 * gained by better kernels, what the first takes beyond its share of the second cannot.
 *
 * Lists are read one step late: then another step has read weights and lists of its own in between, as in a
 * run, and caches of the processor hold what they would hold there. All is read twice and counts the second
 * time, for the same reason. */
#include "model/model_int.h"
#include "model/session_int.h"
#include "study/bench_int.h"

#include <stdlib.h>
#include <string.h>

/* What was read of the cache of one KV head. */
struct list { const int *slot; int n; bool all; };

/* Of all layers and KV heads. */
struct lists {
    struct sac_shape shape;
    struct list *list;             /* [n_layers][n_kv_heads] */
    int *slots;                    /* [the same][cap] */
    char *seen;                    /* [cap] */
    size_t cap;
};

static bool lists_new(struct lists *x, const struct session *s)
{
    size_t cells = (size_t)s->hp->shape.n_layers * (size_t)s->hp->shape.n_kv_heads;
    *x = (struct lists){ .shape = s->hp->shape, .cap = (size_t)s->max_tokens };
    x->list = calloc(cells, sizeof *x->list);
    x->slots = malloc(cells * x->cap * sizeof *x->slots);
    x->seen = malloc(x->cap);
    return x->list && x->slots && x->seen;
}

static void lists_free(struct lists *x)
{
    free(x->list);
    free(x->slots);
    free(x->seen);
}

/* The heads of a group share what they read. */
static void keep_lists(void *ctx, const struct decode_layer *dl)
{
    struct lists *x = ctx;
    int kvs = x->shape.n_kv_heads, units = dl->n_units / kvs;
    for (int g = 0; g < kvs; g++) {
        size_t cell = (size_t)dl->layer * (size_t)kvs + (size_t)g;
        int *slot = x->slots + cell * x->cap, n = 0;
        x->list[cell] = (struct list){ slot, 0, !dl->slots };
        if (!dl->slots) continue;
        memset(x->seen, 0, x->cap);
        for (int u = g * units; u < (g + 1) * units; u++)
            for (int i = 0; i < dl->slots[u].n; i++) {
                struct sac_run r = dl->slots[u].run[i];
                memset(x->seen + r.lo, 1, (size_t)(r.hi - r.lo));
            }
        for (int i = 0; i < (int)x->cap; i++)
            if (x->seen[i]) slot[n++] = i;
        x->list[cell].n = n;
    }
}

struct reading {
    const struct session *s;
    const struct lists *lists;     /* NULL: all */
    const int *every;              /* 0, 1, 2 .. */
    int parts;                     /* of a list of keys or values, one after the other */
    size_t row;                    /* bytes */
    uint64_t sink[256];
};

static struct list list_of(const struct reading *r, int cell)
{
    if (r->lists && !r->lists->list[cell].all) return r->lists->list[cell];
    return (struct list){ .slot = r->every, .n = r->s->kv[cell].n };
}

static void ask(const char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 2);
}

static uint64_t words_of(const char *p, size_t bytes)
{
    uint64_t w[4], sum[4] = { 0 };
    for (size_t i = 0; i + sizeof w <= bytes; i += sizeof w) {
        memcpy(w, p + i, sizeof w);
        for (int j = 0; j < 4; j++) sum[j] += w[j];
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

static void read_parts(void *ctx, int lo, int hi, int thread)
{
    enum { AHEAD = 8192 };         /* bytes, as attention has it */
    struct reading *r = ctx;
    int most = (int)(AHEAD / r->row) + 1;
    uint64_t sum = 0;
    for (int u = lo; u < hi; u++) {
        int cell = u / r->parts / 2, part = u % r->parts;
        const char *base = u / r->parts % 2 ? r->s->kv[cell].v : r->s->kv[cell].k;
        struct list l = list_of(r, cell);
        int from = (int)((long)l.n * part / r->parts), to = (int)((long)l.n * (part + 1) / r->parts);
        int early = to - from < most ? to - from : most;
        for (int i = 0; i < early; i++) ask(base + (size_t)l.slot[from + i] * r->row, r->row);
        for (int i = from; i < to; i++) {
            if (i + most < to) ask(base + (size_t)l.slot[i + most] * r->row, r->row);
            sum += words_of(base + (size_t)l.slot[i] * r->row, r->row);
        }
    }
    r->sink[thread % 256] += sum;
}

static double pass(struct reading *r)
{
    enum { UNITS = 16 };           /* of a thread, so that none waits long for another */
    int cells = r->s->hp->shape.n_layers * r->s->hp->shape.n_kv_heads, t = pool_threads(r->s->m->pool);
    r->parts = (UNITS * t + 2 * cells - 1) / (2 * cells);
    double t0 = clock_seconds();
    pool_run(r->s->m->pool, 2 * cells * r->parts, 1, read_parts, r);
    return clock_seconds() - t0;
}

/* Bytes that a pass reads. */
static double pass_bytes(const struct reading *r)
{
    double rows = 0;
    for (int i = 0; i < r->s->hp->shape.n_layers * r->s->hp->shape.n_kv_heads; i++)
        rows += 2.0 * list_of(r, i).n;
    return rows * (double)r->row;
}

bool bare_reads(struct session *base, struct session *s, const int *ids, int n_ids, struct bare *out,
                struct sac_err *err)
{
    struct lists lists[2] = { { .cap = 0 }, { .cap = 0 } };
    bool ok = lists_new(&lists[0], s) && lists_new(&lists[1], s);
    size_t n = (size_t)(base->max_tokens > s->max_tokens ? base->max_tokens : s->max_tokens);
    int *every = malloc(n * sizeof *every);
    double listed[BARE_STEPS], all[BARE_STEPS];
    for (size_t i = 0; every && i < n; i++) every[i] = (int)i;
    if (!ok || !every) ok = !sac_fail(err, SAC_ENOMEM, "no memory for the lists of decode steps");
    struct reading one = { .s = s, .every = every, .row = (size_t)s->hp->shape.head_dim * s->kv_size };
    struct reading whole = one;
    whole.s = base;
    out->share = 0;
    for (int i = -1; ok && i < BARE_STEPS; i++) {
        struct decode_sink sink = { keep_lists, &lists[i & 1] };
        ok = session_decode(s, ids[(i + 1) % n_ids], &sink, err) == SAC_OK;
        if (i < 0 || !ok) continue;
        one.lists = &lists[~i & 1];
        listed[i] = pass(&one);
        out->share += pass_bytes(&one) / pass_bytes(&whole) / BARE_STEPS;
        pass(&whole);
        all[i] = pass(&whole);
    }
    out->listed_s = ok ? bench_median(listed, BARE_STEPS) : 0;
    out->all_s = ok ? bench_median(all, BARE_STEPS) : 0;
    lists_free(&lists[0]);
    lists_free(&lists[1]);
    free(every);
    return ok;
}
