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
    PIECE = 16,                     /* slots of one, read together; the kernels take 4, 8 or 16 */
    LONG = 256,                     /* slots of one that is read whole */
    AHEAD = 8192,                   /* bytes, as the kernels have it */
    BLOCK = 1024                    /* bytes that are copied together */
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
    int stretch;                    /* chunks that a thread takes at a time */
    atomic_int taken;               /* chunks */
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

static enum k_type stored(enum sac_kv_type t)
{
    return t == SAC_KV_F32 ? K_F32 : t == SAC_KV_F16 ? K_F16 : K_BF16;
}

static int min_int(int a, int b) { return a < b ? a : b; }

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

/* A span for each stretch of n slots. Where slots were picked one by one nothing says where one ends, so no
 * branch depends on that; stretches are gone through by eight. */
static void find_spans(const int *slot, int n, int from, struct slots *out)
{
    int spans = 0;
    for (int i = 0, last = -2; i < n;) {
        if (i + 8 <= n && slot[i + 7] == last + 8) {
            i += 8;
            last += 8;
            continue;
        }
        for (int end = i + 8 < n ? i + 8 : n; i < end; last = slot[i++]) {
            out->span[spans] = (struct span){ from + slot[i], 0, i };
            spans += slot[i] != last + 1;
        }
    }
    out->span[spans].at = n;
    for (int i = 0; i < spans; i++) out->span[i].n = out->span[i + 1].at - out->span[i].at;
    out->n = n;
    out->n_spans = spans;
}

/* Slots from .. to-1 of the cache that any of the lists has. */
static void of_lists(const struct sac_rows *list, int n_lists, int from, int to, struct slots *out)
{
    uint8_t reader[MOST] = { 0 };
    int slot[MOST];
    for (int h = 0; h < n_lists; h++)
        for (int i = first_run_past(&list[h], from); i < list[h].n && list[h].run[i].lo < to; i++) {
            int lo = list[h].run[i].lo, hi = list[h].run[i].hi;
            lo = lo > from ? lo - from : 0;
            hi = (hi < to ? hi : to) - from;
            do reader[lo] |= (uint8_t)(1u << h);
            while (++lo < hi);
        }
    find_spans(slot, k_ops()->readers(reader, to - from, slot, out->reader), from, out);
}

/* Keys or values of a chunk in the order in which they are read. They are asked for AHEAD bytes early, and
 * where they end those of the next stream are, so that memory works while a softmax or a list is made. */
struct stream {
    const char *base;
    size_t row;                     /* bytes */
    const struct span *sp;
    int n_spans, n;                 /* n: slots */
    int asked, asked_in;            /* spans, and slots of the one after them */
    struct stream *next;            /* or NULL */
};

/* Asks for the slots before `until` of the chunk, into the second-level cache (see there). A core waits when it
 * asks for more lines than it can wait for, so pieces are small and each asks for as much as it reads. Of a
 * long span the kernels ask for all but the first part themselves. */
static void ask(struct stream *t, int until)
{
    enum { LINE = 64 };
    for (; t->asked < t->n_spans; t->asked++, t->asked_in = 0) {
        const struct span *sp = &t->sp[t->asked];
        int end = sp->n > LONG ? min_int(sp->n, (int)(AHEAD / t->row)) : sp->n,
            to = min_int(until - sp->at, end);
        const char *from = t->base + (size_t)sp->slot * t->row;
        for (size_t i = (size_t)t->asked_in * t->row; to > 0 && i < (size_t)to * t->row; i += LINE)
            __builtin_prefetch(from + i, 0, 2);
        if (to < end) {
            if (to > t->asked_in) t->asked_in = to;
            break;
        }
    }
    if (until > t->n && t->next) ask(t->next, until - t->n);
}

/* Spans of few slots are copied one after the other, a block at a time: a kernel has too little to do for
 * each by itself. Others are read where they lie, long ones whole. */
struct piece { const void *at; int from, n; };
struct pieces {
    struct stream *t;
    char *mem;                      /* NULL: nothing is copied */
    int j, done, from;              /* span, slots of it that are done, slots before */
};

static int at_once(const struct pieces *w, size_t bytes)
{
    int n = (int)(bytes / w->t->row);
    return n > 1 ? n : 1;
}

/* Slots that are read where they lie. */
static int in_place(const struct pieces *w)
{
    int n = w->t->sp[w->j].n;
    return n > LONG ? n : min_int(n - w->done, PIECE);
}

/* Past the slots that will have been asked for when the next piece is there. */
static int asked_then(const struct pieces *w)
{
    return w->from + (w->mem ? at_once(w, BLOCK) : in_place(w)) + at_once(w, AHEAD);
}

static void copy_rows(char *to, const char *from, size_t bytes)
{
    enum { PART = 32 };
    size_t i = 0;
    for (; i + PART <= bytes; i += PART) memcpy(to + i, from + i, PART);
    if (i < bytes) memcpy(to + i, from + i, bytes - i);
}

static bool next_piece(struct pieces *w, struct piece *out)
{
    struct stream *t = w->t;
    int n = 0;
    if (w->j == t->n_spans) return false;
    ask(t, asked_then(w));
    if (!w->mem) {
        const struct span *sp = &t->sp[w->j];
        n = in_place(w);
        *out = (struct piece){ t->base + (size_t)(sp->slot + w->done) * t->row, w->from, n };
        w->from += n;
        w->done += n;
        if (w->done == sp->n) w->j++, w->done = 0;
        return true;
    }
    for (int most = at_once(w, BLOCK); n < most && w->j < t->n_spans;) {
        const struct span *sp = &t->sp[w->j];
        int take = sp->n - w->done < most - n ? sp->n - w->done : most - n;
        copy_rows(w->mem + (size_t)n * t->row, t->base + (size_t)(sp->slot + w->done) * t->row,
                  (size_t)take * t->row);
        n += take;
        w->done += take;
        if (w->done == sp->n) w->j++, w->done = 0;
    }
    *out = (struct piece){ w->mem, w->from, n };
    w->from += n;
    return true;
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

/* A chunk, from when its slots are known. */
struct chunk {
    int unit;
    int from;                       /* in the list, or in the cache */
    struct part part;
    struct slots slots;
    struct stream k, v;
};

static void begin_chunk(const struct step *c, struct chunk *x, int unit, int from, int to, struct part part)
{
    const struct attend_decode *a = c->a;
    int kv = unit_kv(c, unit);
    const struct attend_cache *cache = &a->kv[kv];
    x->unit = unit;
    x->from = from;
    x->part = part;
    struct sac_run all;
    struct sac_rows rows = unit_rows(c, unit, kv, &all);
    if (c->joint) of_lists(a->rows + unit * c->heads, c->heads, from, to, &x->slots);
    else along_list(&rows, from, to, &x->slots);
    size_t row = (size_t)a->head_dim * (cache->type == SAC_KV_F32 ? sizeof(float) : sizeof(uint16_t));
    x->k = (struct stream){ cache->k, row, x->slots.span, x->slots.n_spans, x->slots.n, 0, 0, &x->v };
    x->v = x->k;
    x->v.base = cache->v;
    x->v.next = NULL;
}

static int n_chunks_of(const struct step *c, int slots) { return (slots + c->chunk - 1) / c->chunk; }

/* Chunk j of the n of a unit whose first chunk is `first`. */
static struct part part_at(const struct step *c, int first, int n, int j)
{
    size_t before = (size_t)first * (size_t)c->heads + (size_t)j;
    return (struct part){ c->out + (size_t)(first + j) * (size_t)c->heads * (size_t)c->a->head_dim,
                          c->max + before, c->sum + before, (size_t)n };
}

/* Where a chunk is found from its number, as long as numbers ascend. */
struct finder { int unit, before, slots; };

static void find_chunk(const struct step *c, struct finder *f, int k, struct chunk *x)
{
    while (k - f->before >= n_chunks_of(c, f->slots)) {
        f->before += n_chunks_of(c, f->slots);
        f->slots = unit_slots(c, ++f->unit);
    }
    int from = (k - f->before) * c->chunk, to = from + c->chunk < f->slots ? from + c->chunk : f->slots;
    begin_chunk(c, x, f->unit, from, to, part_at(c, f->before, n_chunks_of(c, f->slots), k - f->before));
}

/* One thread goes through chunks: this one and the one after it, which is taken when what is asked for early
 * reaches past the end of this one. */
struct worker {
    struct step *c;
    struct finder finder;
    struct chunk mem[2], *now, *next;
    bool more;                      /* there is a next one */
    int at, end;                    /* of the stretch that was taken */
    float *s;                       /* scores of the heads, `heads` times MOST */
    char *copies;
};

static void take_next(struct worker *w)
{
    struct step *c = w->c;
    if (w->at == w->end) {
        w->at = atomic_fetch_add_explicit(&c->taken, c->stretch, memory_order_relaxed);
        w->end = w->at + c->stretch;
    }
    int k = w->at++;
    w->more = k < c->n_chunks;
    if (w->more) find_chunk(c, &w->finder, k, w->next);
}

static void do_chunk(struct worker *w)
{
    const struct k_ops *ops = k_ops();
    const struct step *c = w->c;
    const struct attend_decode *a = c->a;
    struct chunk *x = w->now;
    int dim = a->head_dim, head0 = x->unit * c->heads, n = x->slots.n;
    enum k_type type = stored(a->kv[unit_kv(c, x->unit)].type);
    char *mem = x->slots.n_spans * FEW > n ? w->copies : NULL;
    struct pieces keys = { .t = &x->k, .mem = mem }, values = { .t = &x->v, .mem = mem };
    struct piece p;
    while (next_piece(&keys, &p))
        ops->scores(type, a->q + (size_t)head0 * (size_t)dim, c->heads, p.at, dim, p.n, a->scale,
                    w->s + p.from, MOST);
    memset(x->part.out, 0, (size_t)c->heads * (size_t)dim * sizeof *x->part.out);
    for (int h = 0; h < c->heads; h++) {
        float *y = w->s + (size_t)h * MOST;
        soften(c, y, &x->slots, h, x->part);
        if (a->weight) memcpy(a->weight[head0 + h] + x->from, y, (size_t)n * sizeof *y);
    }
    bool taken = false;
    do {
        if (!taken && (values.j == x->v.n_spans || asked_then(&values) > n)) {
            taken = true;
            take_next(w);
            if (w->more) x->v.next = &w->next->k;
        }
        if (next_piece(&values, &p))
            ops->values(type, w->s + p.from, MOST, c->heads, p.at, dim, p.n, x->part.out);
    } while (values.j < x->v.n_spans);
}

static void chunks(void *ctx, int lo, int hi, int thread)
{
    (void)lo;
    (void)hi;
    struct step *c = ctx;
    struct worker w = { .c = c, .finder = { 0, 0, unit_slots(c, 0) } };
    size_t row = (size_t)c->a->head_dim * sizeof(float), scores = (size_t)c->heads * MOST;
    w.s = pool_scratch(c->p, thread, scores * sizeof *w.s + (row > BLOCK ? row : BLOCK));
    if (!w.s) return;
    w.copies = (char *)(w.s + scores);
    w.next = &w.mem[0];
    for (take_next(&w); w.more; do_chunk(&w)) {
        w.now = w.next;
        w.next = w.now == w.mem ? w.mem + 1 : w.mem;
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
    struct step c = { .p = p, .a = a, .stretch = 1, .joint = joint, .chunk = joint ? RANGE : LISTED };
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
    int threads = pool_threads(p);
    /* Where weights are asked for something may be dropped next: then a head stays in one core's cache. */
    bool whole = a->weight && a->n_kv_heads % threads == 0;
    if (whole && c.n_chunks > c.n_units) c.stretch = c.n_chunks / c.n_units;
    pool_run(p, c.n_chunks < threads ? c.n_chunks : threads, 1, chunks, &c);
    for (int u = 0, first = 0; u < c.n_units; u++) {
        int n = n_chunks_of(&c, unit_slots(&c, u));
        merge(&c, u, first, n);
        first += n;
    }
}
