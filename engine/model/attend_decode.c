/* Decode attention: one query row per head over the cache slots it reads.
 *
 * Bytes decide here: the heads of a group share one pass over the keys and values of their KV head, also
 * where each has a list of its own: then what any of them reads is brought in once, and scores of slots that
 * a head does not read become -inf. The slots are cut into chunks of fixed size, so any number of threads
 * finds work and the result does not depend on it; chunks leave a maximum, a sum and an unnormalised output
 * for each head, which are merged by their log-sum-exps. */
#include "model/attend.h"

#include "kernels.h"

#include <math.h>
#include <string.h>

enum {
    LISTED = 512,                   /* slots of a chunk, counted along a list */
    RANGE = 1024,                   /* of one that goes through the cache and picks what any list has */
    MOST = RANGE,
    TOGETHER = 8,                   /* heads that share such a chunk, at most: bits of a byte */
    FEW = 4,                        /* slots of a span */
    AHEAD = 8192                    /* bytes, as the kernels have it */
};

/* Units: KV heads, or query heads where each goes through rows of its own. */
struct step {
    struct sac_pool *p;
    const struct attend_decode *a;
    bool joint;                     /* units are KV heads, and each head has a list */
    int n_units, heads;             /* heads of a unit */
    int chunk, n_chunks;            /* slots of one; of all units */
    float *out;                     /* [n_chunks][heads][dim] */
    float *max, *sum;               /* of a unit: [heads][its chunks] */
};

/* What a chunk leaves: outputs of the heads one after the other, their maxima and sums `stride` apart. */
struct part { float *out, *max, *sum; size_t stride; };

static struct sac_rows unit_rows(const struct step *c, int unit, int kv, struct sac_run *all)
{
    if (c->a->rows && !c->joint) return c->a->rows[unit];
    *all = (struct sac_run){ 0, c->a->kv[kv].n };
    return (struct sac_rows){ all, c->a->kv[kv].n > 0, 1 };
}

static int unit_kv(const struct step *c, int unit)
{
    return unit * c->heads / (c->a->n_heads / c->a->n_kv_heads);
}

static int unit_slots(const struct step *c, int unit)
{
    struct sac_run all;
    struct sac_rows r = unit_rows(c, unit, unit_kv(c, unit), &all);
    return sac_rows_count(&r);
}

static const void *slot_at(const struct attend_cache *c, const void *base, int slot, int dim)
{
    size_t size = c->type == SAC_KV_F32 ? sizeof(float) : sizeof(uint16_t);
    return (const char *)base + (size_t)slot * (size_t)dim * size;
}

static enum k_type stored(enum sac_kv_type t)
{
    return t == SAC_KV_F32 ? K_F32 : t == SAC_KV_F16 ? K_F16 : K_BF16;
}

/* A stretch of slots, and where it stands among those of the chunk. */
struct span { int slot, n, at; };

/* The slots of a chunk. */
struct slots {
    int n, n_spans;
    struct span span[MOST + 1];     /* pages or single slots lie apart: each is asked for early */
    uint8_t reader[MOST];           /* a bit for each head that reads the slot */
};

/* Slots from .. to-1 of a list, counted along its runs. */
static void along_list(const struct sac_rows *r, int from, int to, struct slots *out)
{
    int seen = 0;
    out->n = to - from;
    out->n_spans = 0;
    for (int i = 0; i < r->n && seen < to; i++) {
        int len = r->run[i].hi - r->run[i].lo, lo = from > seen ? from - seen : 0,
            hi = to - seen < len ? to - seen : len;
        if (lo < hi)
            out->span[out->n_spans++] = (struct span){ r->run[i].lo + lo, hi - lo, seen + lo - from };
        seen += len;
    }
}

static int first_run_past(const struct sac_rows *r, int slot)
{
    int lo = 0, hi = r->n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (r->run[mid].hi <= slot) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* Slots from .. to-1 of the cache that any of the lists has. Where slots are picked one by one nothing says
 * what comes next, so the inner loop does not branch on it. */
static void of_lists(const struct sac_rows *list, int n_lists, int from, int to, struct slots *out)
{
    uint8_t reader[MOST + sizeof(uint64_t)] = { 0 };
    int n = 0, spans = 0, before = 0;
    for (int h = 0; h < n_lists; h++)
        for (int i = first_run_past(&list[h], from); i < list[h].n && list[h].run[i].lo < to; i++) {
            int lo = list[h].run[i].lo, hi = list[h].run[i].hi;
            lo = lo > from ? lo - from : 0;
            hi = (hi < to ? hi : to) - from;
            do reader[lo] |= (uint8_t)(1u << h);
            while (++lo < hi);
        }
    for (int s = 0; s < to - from; s += (int)sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, reader + s, sizeof word);
        if (!word) {
            before = 0;
            continue;
        }
        for (int i = s; i < s + (int)sizeof word; i++) {
            int is = reader[i] != 0;
            out->span[spans] = (struct span){ from + i, 0, n };
            out->reader[n] = reader[i];
            spans += is & !before;
            n += is;
            before = is;
        }
    }
    out->span[spans].at = n;
    for (int i = 0; i < spans; i++) out->span[i].n = out->span[i + 1].at - out->span[i].at;
    out->n = n;
    out->n_spans = spans;
}

/* How the slots of a chunk are gone through: span by span, or as one span of copies in `mem`. */
struct walk {
    const struct attend_cache *cache;
    const struct span *sp;
    int n_spans, n, dim;
    char *mem;                      /* NULL: span by span */
    int asked;                      /* spans that were asked for */
};

/* Asks for the spans that begin within AHEAD of those before span j; of a long one the first part, as the
 * kernels ask for the rest themselves. Into the second-level cache (see there). */
static void ask(struct walk *w, const void *base, int j)
{
    enum { LINE = 64 };
    const char *first = slot_at(w->cache, base, 0, w->dim), *second = slot_at(w->cache, base, 1, w->dim);
    size_t row = (size_t)(second - first);
    int most = (int)(AHEAD / row), until = (j < w->n_spans ? w->sp[j].at : w->n) + most;
    for (; w->asked < w->n_spans && w->sp[w->asked].at < until; w->asked++) {
        const struct span *sp = &w->sp[w->asked];
        const char *from = first + (size_t)sp->slot * row;
        size_t bytes = (size_t)(sp->n < most ? sp->n : most) * row;
        for (size_t i = 0; i < bytes; i += LINE) __builtin_prefetch(from + i, 0, 2);
    }
}

/* Spans of few slots, one after the other: a kernel has too little to do for each by itself. */
static void gather(struct walk *w, const void *base)
{
    enum { PIECE = 32 };
    char *to = w->mem;
    for (int j = 0; j < w->n_spans; j++) {
        const struct span *sp = &w->sp[j];
        ask(w, base, j);
        const char *from = slot_at(w->cache, base, sp->slot, w->dim);
        size_t bytes = (size_t)((const char *)slot_at(w->cache, base, sp->slot + sp->n, w->dim) - from);
        size_t i = 0;
        for (; i + PIECE <= bytes; i += PIECE) memcpy(to + i, from + i, PIECE);
        if (i < bytes) memcpy(to + i, from + i, bytes - i);
        to += bytes;
    }
}

static void walk_scores(struct walk *w, const float *q, int heads, float scale, float *s)
{
    const struct k_ops *ops = k_ops();
    const struct attend_cache *c = w->cache;
    w->asked = 0;
    if (w->mem) {
        gather(w, c->k);
        ops->scores(stored(c->type), q, heads, w->mem, w->dim, w->n, scale, s, MOST);
    }
    for (int j = 0; !w->mem && j < w->n_spans; j++) {
        const struct span *sp = &w->sp[j];
        ask(w, c->k, j);
        ops->scores(stored(c->type), q, heads, slot_at(c, c->k, sp->slot, w->dim), w->dim, sp->n, scale,
                    s + sp->at, MOST);
    }
    w->asked = 0;
    ask(w, c->v, 0);
}

static void walk_values(struct walk *w, const float *s, int heads, float *out)
{
    const struct k_ops *ops = k_ops();
    const struct attend_cache *c = w->cache;
    if (w->mem) {
        gather(w, c->v);
        ops->values(stored(c->type), s, MOST, heads, w->mem, w->dim, w->n, out);
        return;
    }
    for (int j = 0; j < w->n_spans; j++) {
        const struct span *sp = &w->sp[j];
        ask(w, c->v, j);
        ops->values(stored(c->type), s + sp->at, MOST, heads, slot_at(c, c->v, sp->slot, w->dim), w->dim,
                    sp->n, out);
    }
}

/* Scores of a head become exponentials, of which there may be none. */
static void soften(const struct step *c, float *x, const struct slots *slots, int h, struct part part)
{
    const struct k_ops *ops = k_ops();
    float *max = part.max + (size_t)h * part.stride, *sum = part.sum + (size_t)h * part.stride;
    if (c->a->softcap > 0) ops->softcap(x, slots->n, c->a->softcap);
    if (c->joint) ops->keep(x, slots->n, slots->reader, 1u << h);
    *max = ops->max(x, slots->n);
    *sum = 0;
    if (*max > -INFINITY) *sum = ops->exp_sum(x, slots->n, *max);
    else memset(x, 0, (size_t)slots->n * sizeof *x);
}

static void one_chunk(const struct step *c, int unit, int from, int to, float *s, char *mem, struct part part)
{
    const struct attend_decode *a = c->a;
    int dim = a->head_dim, kv = unit_kv(c, unit), head0 = unit * c->heads;
    struct sac_run all;
    struct sac_rows rows = unit_rows(c, unit, kv, &all);
    struct slots slots;
    if (c->joint) of_lists(a->rows + head0, c->heads, from, to, &slots);
    else along_list(&rows, from, to, &slots);
    struct walk w = { &a->kv[kv], slots.span, slots.n_spans, slots.n, dim,
                      slots.n_spans * FEW > slots.n ? mem : NULL, 0 };
    walk_scores(&w, a->q + (size_t)head0 * (size_t)dim, c->heads, a->scale, s);
    memset(part.out, 0, (size_t)c->heads * (size_t)dim * sizeof *part.out);
    for (int h = 0; h < c->heads; h++) {
        float *x = s + (size_t)h * MOST;
        soften(c, x, &slots, h, part);
        if (a->weight) memcpy(a->weight[head0 + h] + from, x, (size_t)slots.n * sizeof *x);
    }
    walk_values(&w, s, c->heads, part.out);
}

static int n_chunks_of(const struct step *c, int slots) { return (slots + c->chunk - 1) / c->chunk; }

/* Chunk j of the n of a unit whose first chunk is `first`. */
static struct part part_at(const struct step *c, int first, int n, int j)
{
    size_t before = (size_t)first * (size_t)c->heads + (size_t)j;
    return (struct part){ c->out + (size_t)(first + j) * (size_t)c->heads * (size_t)c->a->head_dim,
                          c->max + before, c->sum + before, (size_t)n };
}

static void chunks(void *ctx, int lo, int hi, int thread)
{
    struct step *c = ctx;
    /* scores of the heads, then room for copies of keys or values */
    float *s = pool_scratch(c->p, thread, ((size_t)c->heads + (size_t)c->a->head_dim) * MOST * sizeof *s);
    int unit = 0, before = 0, slots = unit_slots(c, 0);
    for (int k = lo; k < hi && s; k++) {
        while (k - before >= n_chunks_of(c, slots)) {
            before += n_chunks_of(c, slots);
            slots = unit_slots(c, ++unit);
        }
        int from = (k - before) * c->chunk, to = from + c->chunk < slots ? from + c->chunk : slots;
        one_chunk(c, unit, from, to, s, (char *)(s + (size_t)c->heads * MOST),
                  part_at(c, before, n_chunks_of(c, slots), k - before));
    }
}

/* Weights are in the order of the list; its chunks still miss their share of the whole. */
static void scale_weights(const struct step *c, int unit, int h, const float *share, int n)
{
    float *w = c->a->weight[unit * c->heads + h];
    for (int k = 0, left = unit_slots(c, unit); k < n; k++, left -= c->chunk, w += c->chunk) {
        const float f = share[k];      /* w may be where share is, for all the compiler knows */
        const int m = left < c->chunk ? left : c->chunk;
        for (int i = 0; i < m; i++) w[i] *= f;
    }
}

static void merge(const struct step *c, int unit, int first, int n)
{
    const struct attend_decode *a = c->a;
    const struct k_ops *ops = k_ops();
    int dim = a->head_dim;
    size_t row = (size_t)c->heads * (size_t)dim;
    for (int h = 0; h < c->heads; h++) {
        int head = unit * c->heads + h;
        const struct part p = part_at(c, first, n, 0);
        float *out = a->out + (size_t)head * (size_t)dim, *z = p.max + (size_t)h * p.stride;
        float max = n ? ops->max(z, n) : -INFINITY;
        memset(out, 0, (size_t)dim * sizeof *out);
        if (a->lse) a->lse[head] = -INFINITY;
        if (max == -INFINITY) continue;            /* it reads nothing */
        ops->exp_sum(z, n, max);                   /* maxima become factors */
        float sum = ops->dot(z, p.sum + (size_t)h * p.stride, n);
        if (a->lse) a->lse[head] = max + logf(sum);
        for (int k = 0; k < n; k++) z[k] /= sum;
        ops->add_rows(out, p.out + (size_t)h * (size_t)dim, row, z, n, dim);
        if (a->weight) scale_weights(c, unit, h, z, n);
    }
}

void attend_decode(struct sac_pool *p, const struct attend_decode *a)
{
    int group = a->n_heads / a->n_kv_heads;
    bool per_head = a->rows && a->rows_per_head;
    bool joint = per_head && group > 1 && group <= TOGETHER && !a->weight;
    struct step c = { .p = p, .a = a, .joint = joint, .chunk = joint ? RANGE : LISTED };
    c.n_units = per_head && !joint ? a->n_heads : a->n_kv_heads;
    c.heads = a->n_heads / c.n_units;
    for (int u = 0; u < c.n_units; u++) c.n_chunks += n_chunks_of(&c, unit_slots(&c, u));
    size_t rows = (size_t)c.n_chunks * (size_t)c.heads;
    c.out = pool_scratch(p, -1, (rows * ((size_t)a->head_dim + 2) + 1) * sizeof *c.out);
    if (!c.out) {
        memset(a->out, 0, (size_t)a->n_heads * (size_t)a->head_dim * sizeof *a->out);
        return;
    }
    c.max = c.out + rows * (size_t)a->head_dim;
    c.sum = c.max + rows;
    pool_run(p, c.n_chunks, 1, chunks, &c);
    for (int u = 0, first = 0; u < c.n_units; u++) {
        int n = n_chunks_of(&c, unit_slots(&c, u));
        merge(&c, u, first, n);
        first += n;
    }
}
