/* Decode attention: one query row per head over the cache slots it reads.
 *
 * Bytes decide here: the heads of a group share one pass over the keys and values of their KV head. The slots
 * are cut into chunks of fixed size, so any number of threads finds work and the result does not depend on
 * it; chunks leave a maximum, a sum and an unnormalised output for each head, which are merged by their
 * log-sum-exps. */
#include "model/attend.h"

#include "kernels.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 512, AHEAD = 2 /* spans */, FEW = 4 /* slots of a span */ };

/* Units: KV heads, or query heads where each has rows of its own. */
struct step {
    struct sac_pool *p;
    const struct attend_decode *a;
    int n_units, heads;             /* heads of a unit */
    int n_chunks;                   /* of all units */
    float *out;                     /* [n_chunks][heads][dim] */
    float *max, *sum;               /* of a unit: [heads][its chunks] */
};

/* What a chunk leaves: outputs of the heads one after the other, their maxima and sums `stride` apart. */
struct part { float *out, *max, *sum; size_t stride; };

static struct sac_rows unit_rows(const struct attend_decode *a, int unit, int kv, struct sac_run *all)
{
    if (a->rows) return a->rows[unit];
    *all = (struct sac_run){ 0, a->kv[kv].n };
    return (struct sac_rows){ all, a->kv[kv].n > 0, 1 };
}

static int unit_kv(const struct step *c, int unit)
{
    return unit * c->heads / (c->a->n_heads / c->a->n_kv_heads);
}

static int unit_slots(const struct step *c, int unit)
{
    struct sac_run all;
    struct sac_rows r = unit_rows(c->a, unit, unit_kv(c, unit), &all);
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

/* Slots from .. to-1 of a unit, counted along its runs: the next stretch of them, and where it stands. */
struct span { int slot, n, at; };
static int next_span(const struct sac_rows *r, int from, int to, int *i, int *seen, struct span *out)
{
    for (; *i < r->n; (*i)++) {
        int len = r->run[*i].hi - r->run[*i].lo, lo = from - *seen, hi = to - *seen;
        lo = lo > 0 ? lo : 0;
        hi = hi < len ? hi : len;
        if (lo < hi) *out = (struct span){ r->run[*i].lo + lo, hi - lo, *seen + lo - from };
        *seen += len;
        if (lo < hi) {
            (*i)++;
            return 1;
        }
        if (*seen >= to) break;
    }
    return 0;
}

/* The first rows of a span that is not there yet; the kernels ask for the rest themselves. */
static void fetch_span(const struct attend_cache *c, const void *base, const struct span *sp, int dim)
{
    enum { LINE = 64, MOST = 2048 };
    const char *from = slot_at(c, base, sp->slot, dim), *to = slot_at(c, base, sp->slot + sp->n, dim);
    for (size_t i = 0; i < MOST && from + i < to; i += LINE) __builtin_prefetch(from + i);
}

/* Spans of few slots, one after the other: a kernel has too little to do for each by itself. */
static void gather(const struct attend_cache *c, const void *base, const struct span *sp, int n, int dim,
                   char *to)
{
    enum { EARLY = 12, PIECE = 32 };
    for (int j = 0; j < n; j++) {
        if (j + EARLY < n) fetch_span(c, base, &sp[j + EARLY], dim);
        const char *from = slot_at(c, base, sp[j].slot, dim);
        size_t bytes = (size_t)((const char *)slot_at(c, base, sp[j].slot + sp[j].n, dim) - from), i = 0;
        for (; i + PIECE <= bytes; i += PIECE) memcpy(to + i, from + i, PIECE);
        if (i < bytes) memcpy(to + i, from + i, bytes - i);
        to += bytes;
    }
}

/* How the slots of a chunk are gone through: span by span, or as one span of copies in `mem`. */
struct walk {
    const struct attend_cache *cache;
    const struct span *sp;
    int n_spans, n, dim;
    char *mem;                      /* NULL: span by span */
};

static void walk_scores(const struct walk *w, const float *q, int heads, float scale, float *s)
{
    const struct k_ops *ops = k_ops();
    const struct attend_cache *c = w->cache;
    if (w->mem) {
        gather(c, c->k, w->sp, w->n_spans, w->dim, w->mem);
        ops->scores(stored(c->type), q, heads, w->mem, w->dim, w->n, scale, s, CHUNK);
        return;
    }
    for (int j = 0; j < w->n_spans; j++) {
        const struct span *sp = &w->sp[j];
        if (j + AHEAD < w->n_spans) fetch_span(c, c->k, sp + AHEAD, w->dim);
        ops->scores(stored(c->type), q, heads, slot_at(c, c->k, sp->slot, w->dim), w->dim, sp->n, scale,
                    s + sp->at, CHUNK);
    }
    for (int j = 0; j < w->n_spans && j < AHEAD; j++) fetch_span(c, c->v, &w->sp[j], w->dim);
}

static void walk_values(const struct walk *w, const float *s, int heads, float *out)
{
    const struct k_ops *ops = k_ops();
    const struct attend_cache *c = w->cache;
    if (w->mem) {
        gather(c, c->v, w->sp, w->n_spans, w->dim, w->mem);
        ops->values(stored(c->type), s, CHUNK, heads, w->mem, w->dim, w->n, out);
        return;
    }
    for (int j = 0; j < w->n_spans; j++) {
        const struct span *sp = &w->sp[j];
        if (j + AHEAD < w->n_spans) fetch_span(c, c->v, sp + AHEAD, w->dim);
        ops->values(stored(c->type), s + sp->at, CHUNK, heads, slot_at(c, c->v, sp->slot, w->dim), w->dim,
                    sp->n, out);
    }
}

static void one_chunk(const struct step *c, int unit, int from, int to, float *s, char *mem, struct part part)
{
    const struct attend_decode *a = c->a;
    const struct k_ops *ops = k_ops();
    int dim = a->head_dim, kv = unit_kv(c, unit), head0 = unit * c->heads, n = to - from, i = 0, seen = 0;
    struct sac_run all;
    struct sac_rows rows = unit_rows(a, unit, kv, &all);
    struct span sp[CHUNK];          /* pages or single slots lie apart: each is asked for early */
    struct walk w = { &a->kv[kv], sp, 0, n, dim, NULL };
    while (next_span(&rows, from, to, &i, &seen, &sp[w.n_spans])) w.n_spans++;
    if (w.n_spans * FEW > n) w.mem = mem;
    walk_scores(&w, a->q + (size_t)head0 * (size_t)dim, c->heads, a->scale, s);
    memset(part.out, 0, (size_t)c->heads * (size_t)dim * sizeof *part.out);
    for (int h = 0; h < c->heads; h++) {
        float *x = s + (size_t)h * CHUNK, *max = part.max + (size_t)h * part.stride;
        if (a->softcap > 0) ops->softcap(x, n, a->softcap);
        *max = ops->max(x, n);
        part.sum[(size_t)h * part.stride] = ops->exp_sum(x, n, *max);
        if (a->weight) memcpy(a->weight[head0 + h] + from, x, (size_t)n * sizeof *x);
    }
    walk_values(&w, s, c->heads, part.out);
}

static int n_chunks_of(int slots) { return (slots + CHUNK - 1) / CHUNK; }

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
    float *s = pool_scratch(c->p, thread, ((size_t)c->heads + (size_t)c->a->head_dim) * CHUNK * sizeof *s);
    int unit = 0, before = 0, slots = unit_slots(c, 0);
    for (int k = lo; k < hi && s; k++) {
        while (k - before >= n_chunks_of(slots)) {
            before += n_chunks_of(slots);
            slots = unit_slots(c, ++unit);
        }
        int from = (k - before) * CHUNK, to = from + CHUNK < slots ? from + CHUNK : slots;
        one_chunk(c, unit, from, to, s, (char *)(s + (size_t)c->heads * CHUNK),
                  part_at(c, before, n_chunks_of(slots), k - before));
    }
}

static void merge(const struct step *c, int unit, int first, int n)
{
    const struct attend_decode *a = c->a;
    const struct k_ops *ops = k_ops();
    size_t dim = (size_t)a->head_dim, row = (size_t)c->heads * dim;
    for (int h = 0; h < c->heads; h++) {
        int head = unit * c->heads + h;
        const struct part p = part_at(c, first, n, 0);
        float *out = a->out + (size_t)head * dim;
        float *z = p.max + (size_t)h * p.stride;   /* maxima, then factors */
        const float *part = p.out + (size_t)h * dim;
        memset(out, 0, dim * sizeof *out);
        if (a->lse) a->lse[head] = -INFINITY;
        if (!n) continue;
        float max = ops->max(z, n);
        ops->exp_sum(z, n, max);
        float sum = ops->dot(z, p.sum + (size_t)h * p.stride, n);
        if (a->lse) a->lse[head] = max + logf(sum);
        for (int k = 0; k < n; k++) {
            z[k] /= sum;
            for (size_t d = 0; d < dim; d++) out[d] += z[k] * part[(size_t)k * row + d];
        }
        int slots = a->weight ? unit_slots(c, unit) : 0;
        for (int k = 0; k < n && a->weight; k++) {
            float f = z[k], *w = a->weight[head] + (size_t)k * CHUNK;
            for (int i = 0; i < CHUNK && k * CHUNK + i < slots; i++) w[i] *= f;
        }
    }
}

void attend_decode(struct sac_pool *p, const struct attend_decode *a)
{
    int group = a->n_heads / a->n_kv_heads;
    bool per_head = a->rows && a->rows_per_head;
    struct step c = {
        .p = p, .a = a, .n_units = per_head ? a->n_heads : a->n_kv_heads, .heads = per_head ? 1 : group
    };
    for (int u = 0; u < c.n_units; u++) c.n_chunks += n_chunks_of(unit_slots(&c, u));
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
        int n = n_chunks_of(unit_slots(&c, u));
        merge(&c, u, first, n);
        first += n;
    }
}
