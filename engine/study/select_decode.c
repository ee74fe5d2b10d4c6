/* The last tokens of a file as decode steps: each is appended to the cache, then its query selects. The cache
 * is a plain array per KV head, so this doubles as the reference that tests compare the session's decode
 * with. */
#include "study/select_int.h"

#include "kernels.h"
#include "methods/methods.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct cache { float *k, *v; int *pos, n; };

struct decode {
    struct select_run *r;
    const struct sac_part *part;         /* NULL: reads everything that was kept */
    struct sac_arena arena;
    void *state;
    struct cache *kv;                    /* [n_kv_heads] */
    int *n_slots;                        /* [n_kv_heads] */
    const int **slot_pos;                /* [n_kv_heads] */
    float *q, *out, *weight;             /* [n_heads][dim] of this step; [steps][n_heads][dim]; [n] */
    struct sac_rows rows;
    int *list; size_t n_list, cap_list;  /* (step, head, lo, hi) */
    int *pages, n_pages;                 /* [steps][n_heads][n_pages], quest */
    double *read;                        /* [n_heads] sums over steps */
};

static void score_slots(const struct sac_decode_in *in, int head, int lo, int hi, float *out)
{
    const struct cache *c = (const struct cache *)in->cache + head / (in->n_heads / in->n_kv_heads);
    size_t d = (size_t)in->head_dim;
    k_ops()->score_f32(in->q + (size_t)head * d, c->k + (size_t)lo * d, in->head_dim, hi - lo, in->scale,
                       out);
}

static void push(struct decode *d, int kv, int pos)
{
    const struct select_run *r = d->r;
    struct cache *c = &d->kv[kv];
    size_t dim = (size_t)r->dim, from = ((size_t)kv * (size_t)r->n + (size_t)pos) * dim;
    memcpy(c->k + (size_t)c->n * dim, r->k + from, sizeof *c->k * dim);
    memcpy(c->v + (size_t)c->n * dim, r->v + from, sizeof *c->v * dim);
    c->pos[c->n++] = pos;
}

static void remove_slot(struct cache *c, size_t dim, int slot)
{
    size_t at = (size_t)slot * dim, rest = (size_t)(c->n - slot - 1);
    memmove(c->k + at, c->k + at + dim, sizeof *c->k * dim * rest);
    memmove(c->v + at, c->v + at + dim, sizeof *c->v * dim * rest);
    memmove(c->pos + slot, c->pos + slot + 1, sizeof *c->pos * rest);
    c->n--;
}

/* Softmax over the rows just chosen, weights in order of slots, and the output of one head. */
static void attend(struct decode *d, const struct sac_decode_in *in, int head, const struct sac_rows *rows,
                   float *out)
{
    const struct cache *c = &d->kv[head / (in->n_heads / in->n_kv_heads)];
    size_t dim = (size_t)in->head_dim;
    int n = 0;
    for (int i = 0; i < rows->n; i++) {
        in->score(in, head, rows->run[i].lo, rows->run[i].hi, d->weight + n);
        n += rows->run[i].hi - rows->run[i].lo;
    }
    float inv = 1.0f / k_ops()->exp_sum(d->weight, n, k_ops()->max(d->weight, n));
    memset(out, 0, sizeof *out * dim);
    for (int i = 0, at = 0; i < rows->n; i++)
        for (int s = rows->run[i].lo; s < rows->run[i].hi; s++, at++) {
            d->weight[at] *= inv;
            for (size_t e = 0; e < dim; e++) out[e] += d->weight[at] * c->v[(size_t)s * dim + e];
        }
}

static bool list_add(struct decode *d, int step, int head, int lo, int hi)
{
    if (d->n_list + 4 > d->cap_list) {
        size_t cap = d->cap_list ? 2 * d->cap_list : 1024;
        int *list = realloc(d->list, cap * sizeof *list);
        if (!list) return false;
        d->list = list;
        d->cap_list = cap;
    }
    const int v[4] = { step, head, lo, hi };
    memcpy(d->list + d->n_list, v, sizeof v);
    d->n_list += 4;
    return true;
}

/* Note what a head read: runs in positions, pages, read density. */
static bool note(struct decode *d, const struct sac_decode_in *in, int step, int head,
                 const struct sac_rows *rows)
{
    const struct cache *c = &d->kv[head / (in->n_heads / in->n_kv_heads)];
    int lo = -1, hi = -1, count = 0, page = 0, size = d->pages ? (int)sac_part_get(d->part, "page_size") : 1;
    int *pages =
        d->pages ? d->pages + ((size_t)step * (size_t)in->n_heads + (size_t)head) * (size_t)d->n_pages : NULL;
    for (int i = 0; i < rows->n; i++)
        for (int s = rows->run[i].lo; s < rows->run[i].hi; s++, count++) {
            if (c->pos[s] != hi) {
                if (hi > lo && !list_add(d, step, head, lo, hi)) return false;
                lo = c->pos[s];
            }
            hi = c->pos[s] + 1;
            if (pages && (page == 0 || pages[page - 1] != s / size)) pages[page++] = s / size;
        }
    double full = 2.0 * (in->pos + 1) * in->head_dim, meta = 0;
    if (d->part && d->part->m->metadata) meta = d->part->m->metadata(d->part->opts.bytes, c->n, in->head_dim);
    d->read[head] += (2.0 * count * in->head_dim + meta) / full;
    return hi <= lo || list_add(d, step, head, lo, hi);
}

static bool per_head(const struct decode *d)
{
    const struct sac_method *m = d->part ? d->part->m : NULL;
    return m && m->select && m->scope && m->scope(d->part->opts.bytes) == SAC_PER_QUERY_HEAD;
}

static bool step(struct decode *d, int s, int pos)
{
    struct select_run *r = d->r;
    const struct sac_method *m = d->part ? d->part->m : NULL;
    size_t dim = (size_t)r->dim;
    int group = r->n_heads / r->n_kv_heads;
    for (int kv = 0; kv < r->n_kv_heads; kv++) {
        struct cache *c = &d->kv[kv];
        push(d, kv, pos);
        d->n_slots[kv] = c->n;
        d->slot_pos[kv] = c->pos;
        if (m && m->append) m->append(d->state, 0, kv, c->n - 1, 1, c->k + (size_t)(c->n - 1) * dim);
    }
    for (int h = 0; h < r->n_heads; h++)
        memcpy(d->q + (size_t)h * dim, r->q + ((size_t)h * (size_t)r->n + (size_t)pos) * dim,
               sizeof *d->q * dim);
    struct sac_decode_in in = { .n_layers = 1,
                                .pos = pos,
                                .n_heads = r->n_heads,
                                .n_kv_heads = r->n_kv_heads,
                                .head_dim = r->dim,
                                .scale = 1.0f / sqrtf((float)r->dim),
                                .q = d->q,
                                .n = d->n_slots,
                                .slot_pos = d->slot_pos,
                                .score = score_slots,
                                .cache = d->kv };
    for (int h = 0; h < r->n_heads; h++) {
        if (per_head(d) || h % group == 0) {
            double t0 = select_clock();
            d->rows.n = 0;
            if (m && m->prepare && h % group == 0) m->prepare(d->state, &in, h / group);
            if (m && m->select) m->select(d->state, &in, h, &d->rows);
            else sac_rows_add(&d->rows, 0, d->n_slots[h / group]);
            r->out->select_s += select_clock() - t0;
        }
        attend(d, &in, h, &d->rows, d->out + ((size_t)s * (size_t)r->n_heads + (size_t)h) * dim);
        if (m && m->observe) m->observe(d->state, &in, h, &d->rows, d->weight);
        if (!note(d, &in, s, h, &d->rows)) return false;
    }
    for (int kv = 0; m && m->drop && kv < r->n_kv_heads; kv++) {
        int slot = m->drop(d->state, &in, kv);
        if (slot < 0) continue;
        remove_slot(&d->kv[kv], dim, slot);
        if (m->dropped) m->dropped(d->state, 0, kv, slot);
    }
    return true;
}

/* The prompt goes in: evicted where the method evicts, then handed to the decode hooks. */
static bool start(struct decode *d, int prompt)
{
    struct select_run *r = d->r;
    size_t stride = (size_t)r->n * (size_t)r->dim, heads = (size_t)r->n_kv_heads;
    const struct sac_part *evict = sac_spec_evict(&r->spec);
    const struct sac_method *m = d->part ? d->part->m : NULL;
    struct sac_prefill_in in = { .n_layers = 1,
                                 .n = prompt,
                                 .n_heads = r->n_heads,
                                 .n_kv_heads = r->n_kv_heads,
                                 .head_dim = r->dim,
                                 .scale = 1.0f / sqrtf((float)r->dim),
                                 .q = r->q,
                                 .k = r->k,
                                 .v = r->v,
                                 .q_stride = stride,
                                 .k_stride = stride,
                                 .seed = r->a->seed };
    struct sac_kept *kept = sac_arena_alloc(&d->arena, sizeof *kept * heads);
    if (!kept || (evict && !evict_layer(r->pool, &in, evict, kept, &d->arena))) return false;
    struct sac_env env = { .shape = { .n_layers = 1, .n_heads = r->n_heads, .n_kv_heads = r->n_kv_heads,
                                      .head_dim = r->dim }, .max_tokens = r->n, .seed = r->a->seed };
    if (m && m->create && !(d->state = m->create(&env, d->part->opts.bytes, &d->arena))) return false;
    for (int kv = 0; kv < r->n_kv_heads; kv++) {
        int n = evict ? kept[kv].n : prompt;
        for (int i = 0; i < n; i++) push(d, kv, evict ? kept[kv].pos[i] : i);
        if (m && m->append) m->append(d->state, 0, kv, 0, n, d->kv[kv].k);
        if (m && m->seed && evict == d->part && kept[kv].score) m->seed(d->state, 0, kv, n, kept[kv].score);
    }
    return true;
}

static bool allocate(struct decode *d, int steps)
{
    struct select_run *r = d->r;
    size_t n = (size_t)r->n, dim = (size_t)r->dim, heads = (size_t)r->n_heads;
    d->kv = sac_arena_alloc(&d->arena, sizeof *d->kv * (size_t)r->n_kv_heads);
    d->n_slots = sac_arena_alloc(&d->arena, sizeof *d->n_slots * (size_t)r->n_kv_heads);
    d->slot_pos = sac_arena_alloc(&d->arena, sizeof *d->slot_pos * (size_t)r->n_kv_heads);
    d->q = sac_arena_floats(&d->arena, heads * dim);
    d->out = sac_arena_floats(&d->arena, (size_t)steps * heads * dim);
    d->weight = sac_arena_floats(&d->arena, n);
    d->rows.cap = r->n / 2 + 1;
    d->rows.run = sac_arena_alloc(&d->arena, sizeof *d->rows.run * (size_t)d->rows.cap);
    d->read = sac_arena_alloc(&d->arena, sizeof *d->read * heads);
    bool ok = d->kv && d->n_slots && d->slot_pos && d->q && d->out && d->weight && d->rows.run && d->read;
    for (int kv = 0; ok && kv < r->n_kv_heads; kv++) {
        struct cache *c = &d->kv[kv];
        c->k = sac_arena_floats(&d->arena, n * dim);
        c->v = sac_arena_floats(&d->arena, n * dim);
        c->pos = sac_arena_alloc(&d->arena, sizeof *c->pos * n);
        ok = c->k && c->v && c->pos;
    }
    if (!ok || !d->part || strcmp(d->part->m->name, "quest") != 0) return ok;
    int size = (int)sac_part_get(d->part, "page_size"), all = (r->n + size - 1) / size;
    d->n_pages = (int)(sac_part_get(d->part, "token_budget") / size) + 1;
    if (d->n_pages > all) d->n_pages = all;
    size_t count = (size_t)steps * heads * (size_t)d->n_pages;
    d->pages = sac_arena_alloc(&d->arena, sizeof *d->pages * count);
    if (d->pages) memset(d->pages, 0xff, sizeof *d->pages * count);
    return d->pages != NULL;
}

static enum sac_code put_all(struct decode *d, int steps)
{
    struct select_run *r = d->r;
    const char *name = r->out->method;
    if (d->part) name = d->part->m->name;
    int64_t list[2] = { (int64_t)d->n_list / 4, 4 }, out[3] = { steps, r->n_heads, r->dim };
    int64_t pages[3] = { steps, r->n_heads, d->n_pages };
    enum sac_code rc = select_put(r, ST_I32, 2, list, d->list, "%s.rows", name);
    if (!rc) rc = select_put(r, ST_F32, 3, out, d->out, "%s.decode_out", name);
    if (!rc && d->pages) rc = select_put(r, ST_I32, 3, pages, d->pages, "%s.pages", name);
    int group = per_head(d) ? 1 : r->n_heads / r->n_kv_heads;
    r->out->n_density = r->n_heads / group;
    double nan = (double)NAN;
    for (int u = 0; u < r->out->n_density; u++)
        r->out->density[u] = (struct sac_density){ nan, nan, nan, d->read[u * group] / steps };
    return rc;
}

enum sac_code select_decode(struct select_run *r, int steps)
{
    struct decode d = { .r = r, .part = sac_spec_decode(&r->spec) };
    bool ok = allocate(&d, steps) && start(&d, r->n - steps);
    for (int s = 0; ok && s < steps; s++) ok = step(&d, s, r->n - steps + s);
    enum sac_code rc = ok ? put_all(&d, steps) : SAC_OK;
    if (!ok) rc = sac_fail(r->err, SAC_ENOMEM, "%s: out of memory for %d tokens", r->out->method, r->n);
    free(d.list);
    sac_arena_free(&d.arena);
    return rc;
}
