/* Decode: one token through all layers, reading the slots the method selects. */
#include "model/session_int.h"

#include <assert.h>
#include <string.h>

bool decode_prepare(struct session *s)
{
    const struct sac_shape *sh = &s->hp->shape;
    struct decode_work *w = &s->work;
    struct sac_arena *a = &s->arena;
    size_t d = (size_t)sh->head_dim, heads = (size_t)sh->n_heads, kvs = (size_t)sh->n_kv_heads;
    size_t cap = (size_t)s->max_tokens / 2 + 2;
    w->x = sac_arena_floats(a, (size_t)sh->n_embd);
    w->xn = sac_arena_floats(a, (size_t)sh->n_embd);
    w->tmp = sac_arena_floats(a, (size_t)sh->n_embd);
    w->q = sac_arena_floats(a, heads * d);
    w->att = sac_arena_floats(a, heads * d);
    w->k = sac_arena_floats(a, kvs * d);
    w->v = sac_arena_floats(a, kvs * d);
    w->gate = sac_arena_floats(a, (size_t)sh->n_ff);
    w->up = sac_arena_floats(a, (size_t)sh->n_ff);
    w->rows = sac_arena_alloc(a, 2 * heads * sizeof *w->rows);
    w->runs = sac_arena_alloc(a, 2 * heads * cap * sizeof *w->runs);
    w->cache = sac_arena_alloc(a, kvs * sizeof *w->cache);
    w->n_slots = sac_arena_alloc(a, kvs * sizeof *w->n_slots);
    w->drop = sac_arena_alloc(a, kvs * sizeof *w->drop);
    w->slot_pos = sac_arena_alloc(a, kvs * sizeof *w->slot_pos);
    w->seen = sac_arena_alloc(a, ((size_t)s->max_tokens / 64 + 1) * sizeof *w->seen);
    bool ok = w->x && w->xn && w->tmp && w->q && w->att && w->k && w->v && w->gate && w->up && w->rows &&
              w->runs && w->cache && w->n_slots && w->drop && w->slot_pos && w->seen;
    if (ok && s->part && s->part->m->observe) {
        w->weights = sac_arena_alloc(a, heads * sizeof *w->weights);
        w->weight = sac_arena_floats(a, heads * (size_t)s->max_tokens);
        ok = w->weights && w->weight;
        for (size_t h = 0; ok && h < heads; h++) w->weights[h] = w->weight + h * (size_t)s->max_tokens;
    }
    if (!ok) return false;
    w->abs = w->rows + heads;
    for (size_t i = 0; i < 2 * heads; i++)
        w->rows[i] = (struct sac_rows){ w->runs + i * cap, 0, (int)cap };
    s->work_ready = true;
    return true;
}

/* ---- what a method may ask ---- */

/* Scores of `heads` query heads from `head` on, which share a KV head. */
static void score_heads(const struct sac_decode_in *in, int head, int heads, int lo, int hi, float *out,
                        size_t stride)
{
    const struct session *s = in->cache;
    size_t d = (size_t)in->head_dim;
    const struct kv_head *h = kv_at(s, in->layer, head / (in->n_heads / in->n_kv_heads));
    static const enum k_type stored[] = { [SAC_KV_F32] = K_F32, [SAC_KV_F16] = K_F16, [SAC_KV_BF16] = K_BF16 };
    k_ops()->scores(stored[s->kv_type], in->q + (size_t)head * d, heads,
                    (const char *)h->k + (size_t)lo * d * s->kv_size, (int)d, hi - lo, in->scale, out, stride);
    for (int i = 0; i < heads && in->softcap > 0; i++)
        k_ops()->softcap(out + (size_t)i * stride, hi - lo, in->softcap);
}

static void score_slots(const struct sac_decode_in *in, int head, int lo, int hi, float *out)
{
    score_heads(in, head, 1, lo, hi, out, 0);
}

static void score_group(const struct sac_decode_in *in, int kv_head, int lo, int hi, float *out, size_t stride)
{
    int group = in->n_heads / in->n_kv_heads;
    score_heads(in, kv_head * group, group, lo, hi, out, stride);
}

struct select_job { struct session *s; struct sac_decode_in in; int group; bool per_head; };

static int slot_after(const struct kv_head *h, int pos)   /* first slot at position >= pos */
{
    if (!h->pos) return pos < h->n ? pos : h->n;
    int lo = 0, hi = h->n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (h->pos[mid] < pos) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* Keep of `rows` only slots >= first; in place. */
static void clip_rows(struct sac_rows *rows, int first)
{
    int n = 0;
    for (int i = 0; i < rows->n; i++) {
        struct sac_run r = rows->run[i];
        if (r.hi <= first) continue;
        if (r.lo < first) r.lo = first;
        rows->run[n++] = r;
    }
    rows->n = n;
}

/* Insert slots lo .. hi-1 into a sorted list (interventions only: rare, so a simple rebuild). */
static void insert_rows(struct sac_rows *rows, int lo, int hi)
{
    int n = 0, i = 0;
    while (i < rows->n && rows->run[i].hi < lo) n++, i++;
    int first = i;
    while (i < rows->n && rows->run[i].lo <= hi) {
        if (rows->run[i].lo < lo) lo = rows->run[i].lo;
        if (rows->run[i].hi > hi) hi = rows->run[i].hi;
        i++;
    }
    if (i == first && rows->n == rows->cap) return;
    memmove(rows->run + first + 1, rows->run + i, (size_t)(rows->n - i) * sizeof *rows->run);
    rows->run[first] = (struct sac_run){ lo, hi };
    rows->n = n + 1 + (rows->n - i);
}

static void select_units(void *ctx, int lo, int hi, int thread)
{
    struct select_job *job = ctx;
    struct session *s = job->s;
    int window = window_of(s->hp, job->in.layer);
    (void)thread;
    for (int u = lo; u < hi; u++) {
        int head = job->per_head ? u : u * job->group, kv = head / job->group;
        struct sac_rows *rows = &s->work.rows[u];
        const struct kv_head *h = kv_at(s, job->in.layer, kv);
        rows->n = 0;
        if (s->part && s->part->m->select && !sac_spec_layer_dense(s->spec, job->in.layer))
            s->part->m->select(s->state, &job->in, head, rows);
        else sac_rows_add(rows, 0, h->n);
        if (window > 0) clip_rows(rows, slot_after(h, job->in.pos - window + 1));
        if (force_applies(s->force, s->force_layer, job->in.layer) &&
            (s->force_kv < 0 || s->force_kv == kv)) {
            int a = slot_after(h, s->force.lo), b = slot_after(h, s->force.hi);
            if (b > a) insert_rows(rows, a, b);
        }
    }
}

static void prepare_groups(void *ctx, int lo, int hi, int thread)
{
    struct select_job *job = ctx;
    struct session *s = job->s;
    (void)thread;
    for (int kv = lo; kv < hi; kv++) s->part->m->prepare(s->state, &job->in, kv);
}

static void select_groups(void *ctx, int lo, int hi, int thread)
{
    const struct select_job *job = ctx;
    int units = job->per_head ? job->group : 1;
    prepare_groups(ctx, lo, hi, thread);
    select_units(ctx, lo * units, hi * units, thread);
}

/* A KV head and its query heads stay with one thread, unless there are more threads than KV heads. */
static void select_all(struct sac_pool *pool, struct select_job *job, bool prepares)
{
    int kvs = job->in.n_kv_heads, units = job->per_head ? job->in.n_heads : kvs;
    if (prepares && (kvs >= pool_threads(pool) || !job->per_head)) {
        pool_run(pool, kvs, 1, select_groups, job);
        return;
    }
    if (prepares) pool_run(pool, kvs, 1, prepare_groups, job);
    pool_run(pool, units, 1, select_units, job);
}

/* The same rows as positions in the text. */
static void to_positions(const struct kv_head *h, const struct sac_rows *slots, struct sac_rows *out)
{
    out->n = 0;
    for (int i = 0; i < slots->n; i++) {
        if (!h->pos) {
            sac_rows_add(out, slots->run[i].lo, slots->run[i].hi);
            continue;
        }
        for (int j = slots->run[i].lo; j < slots->run[i].hi; j++) sac_rows_add(out, h->pos[j], h->pos[j] + 1);
    }
}

/* Slots that any of n lists reads. */
static int union_count(const struct sac_rows *rows, int n, int slots, uint64_t *seen)
{
    int words = (slots + 63) / 64, count = 0;
    memset(seen, 0, (size_t)words * sizeof *seen);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < rows[i].n; j++) {
            struct sac_run r = rows[i].run[j];
            int a = r.lo / 64, b = (r.hi - 1) / 64;
            uint64_t from = ~(uint64_t)0 << r.lo % 64, to = ~(uint64_t)0 >> (63 - (r.hi - 1) % 64);
            if (a == b) {
                seen[a] |= from & to;
                continue;
            }
            seen[a] |= from;
            for (int w = a + 1; w < b; w++) seen[w] = ~(uint64_t)0;
            seen[b] |= to;
        }
    for (int w = 0; w < words; w++) count += __builtin_popcountll(seen[w]);
    return count;
}

static void count_reads(struct session *s, const struct select_job *job, bool selected)
{
    const struct sac_shape *sh = &s->hp->shape;
    int d = sh->head_dim;
    for (int g = 0; g < sh->n_kv_heads; g++) {
        int n = kv_at(s, job->in.layer, g)->n;
        const struct sac_rows *rows = &s->work.rows[job->per_head ? g * job->group : g];
        int read = !selected ? n : job->per_head ? union_count(rows, job->group, n, s->work.seen)
                                                 : sac_rows_count(rows);
        s->stats.read += 2.0 * read * d;
        if (selected && s->part && s->part->m->metadata)
            s->stats.read += s->part->m->metadata(s->part->opts.bytes, n, d);
        s->stats.full += 2.0 * (s->n + 1) * d;
    }
}

/* ---- the layer ---- */

static void project_token(struct session *s, int layer)
{
    const struct sac_shape *sh = &s->hp->shape;
    const struct layer_weights *lw = &s->m->w.layer[layer];
    struct decode_work *w = &s->work;
    int d = sh->head_dim, pos = s->n;
    float eps = (float)s->hp->norm_eps;
    k_ops()->rms_norm(w->x, lw->attn_norm, sh->n_embd, eps, w->xn);
    struct linear_job job[3] = { { lw->wq, w->q, (size_t)(sh->n_heads * d), lw->bq },
                                 { lw->wk, w->k, (size_t)(sh->n_kv_heads * d), lw->bk },
                                 { lw->wv, w->v, (size_t)(sh->n_kv_heads * d), lw->bv } };
    linear_many(s->m->pool, job, 3, w->xn, (size_t)sh->n_embd, 1);
    for (int h = 0; h < sh->n_heads; h++) {
        float *q = w->q + h * d;
        if (lw->q_norm) k_ops()->rms_norm(q, lw->q_norm, d, eps, q);
        rope_apply(rope_of(s, layer), pos, q);
    }
    const struct sac_method *m = s->part && !sac_spec_layer_dense(s->spec, layer) ? s->part->m : NULL;
    for (int g = 0; g < sh->n_kv_heads; g++) {
        float *k = w->k + g * d;
        if (lw->k_norm) k_ops()->rms_norm(k, lw->k_norm, d, eps, k);
        rope_apply(rope_of(s, layer), pos, k);
        struct kv_head *kv = kv_at(s, layer, g);
        assert(kv->n < kv->cap);
        kv_store(s, kv->k, kv->n, k, 1);
        kv_store(s, kv->v, kv->n, w->v + g * d, 1);
        if (kv->pos) kv->pos[kv->n] = pos;
        if (m && m->append) m->append(s->state, layer, g, kv->n, 1, k);
        kv->n++;
    }
}

/* The shorter side moves: sinks are few, and so is what follows a slot near the end. What a cache loses in front
 * it was given for the tokens to come, which need no more than a slot each. */
static bool front_moves(const struct kv_head *h, int slot) { return slot < h->n - slot - 1; }

struct drop_job { struct session *s; int layer; const int *slot; };   /* of each KV head, -1: none */

static void move_units(void *ctx, int lo, int hi, int thread)
{
    const struct drop_job *job = ctx;
    size_t row = (size_t)job->s->hp->shape.head_dim * job->s->kv_size;
    (void)thread;
    for (int g = lo; g < hi; g++) {
        const struct kv_head *h = kv_at(job->s, job->layer, g);
        int slot = job->slot[g];
        if (slot < 0) continue;
        size_t at = (size_t)slot * row, tail = (size_t)(h->n - slot - 1) * row;
        char *k = h->k, *v = h->v;
        if (front_moves(h, slot)) {
            memmove(k + row, k, at);
            memmove(v + row, v, at);
        } else {
            memmove(k + at, k + at + row, tail);
            memmove(v + at, v + at + row, tail);
        }
    }
}

/* Once they are moved. */
static void forget_slot(struct session *s, int layer, int kv_head, int slot)
{
    struct kv_head *h = kv_at(s, layer, kv_head);
    size_t row = (size_t)s->hp->shape.head_dim * s->kv_size;
    if (front_moves(h, slot)) {
        h->k = (char *)h->k + row;
        h->v = (char *)h->v + row;
        h->cap--;
    }
    memmove(h->pos + slot, h->pos + slot + 1, (size_t)(h->n - slot - 1) * sizeof *h->pos);
    h->n--;
}

/* What each KV head drops is settled first, since a layer may drop as one. Moving the rest is most of the work, and
 * most of that is waiting for what another core has in its cache: attend_decode leaves a head to one thread where
 * it can, and heads are handed out in the same order here. */
static void drop_slots(struct session *s, int layer, const struct sac_method *m, const struct sac_decode_in *in)
{
    int *slot = s->work.drop, kvs = in->n_kv_heads, any = 0;
    for (int g = 0; g < kvs; g++) {
        slot[g] = m->drop(s->state, in, g);
        any |= slot[g] >= 0;
    }
    if (!any) return;
    pool_run(s->m->pool, kvs, 1, move_units, &(struct drop_job){ s, layer, slot });
    for (int g = 0; g < kvs; g++) {
        if (slot[g] < 0) continue;
        forget_slot(s, layer, g, slot[g]);
        if (m->dropped) m->dropped(s->state, layer, g, slot[g]);
    }
}

static void describe_step(struct session *s, int layer, struct select_job *job)
{
    const struct sac_shape *sh = &s->hp->shape;
    struct decode_work *w = &s->work;
    for (int g = 0; g < sh->n_kv_heads; g++) {
        const struct kv_head *h = kv_at(s, layer, g);
        w->n_slots[g] = h->n;
        w->slot_pos[g] = h->pos;
        w->cache[g] = (struct attend_cache){ s->kv_type, h->k, h->v, h->n };
    }
    job->s = s;
    job->group = sh->n_heads / sh->n_kv_heads;
    job->in = (struct sac_decode_in){
        .layer = layer, .n_layers = sh->n_layers, .pos = s->n, .n_heads = sh->n_heads,
        .n_kv_heads = sh->n_kv_heads, .head_dim = sh->head_dim, .scale = (float)s->hp->attn_scale,
        .softcap = (float)s->hp->attn_softcap, .q = w->q, .n = w->n_slots, .slot_pos = w->slot_pos,
        .score = score_slots, .scores = score_group, .cache = s };
}

static void attend_token(struct session *s, int layer, const struct decode_sink *sink)
{
    const struct sac_shape *sh = &s->hp->shape;
    struct decode_work *w = &s->work;
    struct select_job job = { 0 };
    describe_step(s, layer, &job);
    const struct sac_method *m = s->part && !sac_spec_layer_dense(s->spec, layer) ? s->part->m : NULL;
    bool selects = m && m->select;
    job.per_head = selects && m->scope && m->scope(s->part->opts.bytes) == SAC_PER_QUERY_HEAD;
    bool listed = selects || window_of(s->hp, layer) > 0 || force_applies(s->force, s->force_layer, layer);
    int units = job.per_head ? sh->n_heads : sh->n_kv_heads;
    double t0 = clock_seconds();
    if (listed) {
        if (selects) select_all(s->m->pool, &job, m->prepare != NULL);
        else select_units(&job, 0, units, 0);
    }
    double t1 = clock_seconds();
    bool observes = m && m->observe;
    struct attend_decode at = { .n_heads = sh->n_heads,
                                .n_kv_heads = sh->n_kv_heads,
                                .head_dim = sh->head_dim,
                                .scale = job.in.scale,
                                .softcap = job.in.softcap,
                                .q = w->q,
                                .kv = w->cache,
                                .rows = listed ? w->rows : NULL,
                                .rows_per_head = job.per_head,
                                .out = w->att,
                                .weight = observes ? w->weights : NULL };
    attend_decode(s->m->pool, &at);
    s->stats.attend_s += clock_seconds() - t1;
    s->stats.select_s += t1 - t0;
    count_reads(s, &job, listed);

    bool drops = m && m->drop;
    if (sink && sink->layer) {
        for (int u = 0; u < units && (listed || drops); u++) {
            const struct kv_head *h = kv_at(s, layer, job.per_head ? u / job.group : u);
            struct sac_rows all = { &(struct sac_run){ 0, h->n }, 1, 1 };
            to_positions(h, listed ? &w->rows[u] : &all, &w->abs[u]);
        }
        struct decode_layer dl = { layer, s->n, w->q, w->k, w->v, listed || drops ? w->abs : NULL,
                                   listed ? w->rows : NULL, units };
        sink->layer(sink->ctx, &dl);
    }
    if (!observes && !drops) return;
    double t2 = clock_seconds();       /* choosing what to drop, and dropping it, is selection too */
    for (int h = 0; observes && h < sh->n_heads; h++) {
        struct sac_rows all = { &(struct sac_run){ 0, w->n_slots[h / job.group] }, 1, 1 };
        const struct sac_rows *rows = !listed ? &all : &w->rows[job.per_head ? h : h / job.group];
        m->observe(s->state, &job.in, h, rows, w->weights[h]);
    }
    if (drops) drop_slots(s, layer, m, &job.in);
    s->stats.select_s += clock_seconds() - t2;
}

/* x += norm(y), or x += y where the family has no norm after the block. */
static void add_normed(const struct session *s, float *y, const float *norm)
{
    int d = s->hp->shape.n_embd;
    if (norm) k_ops()->rms_norm(y, norm, d, (float)s->hp->norm_eps, y);
    k_ops()->add(s->work.x, y, d);
}

static void mix_token(struct session *s, int layer)
{
    const struct sac_shape *sh = &s->hp->shape;
    const struct layer_weights *lw = &s->m->w.layer[layer];
    struct decode_work *w = &s->work;
    size_t d = (size_t)sh->n_embd, qw = (size_t)sh->n_heads * (size_t)sh->head_dim, ff = (size_t)sh->n_ff;
    linear(s->m->pool, lw->wo, w->att, qw, 1, w->tmp, d, lw->bo);
    add_normed(s, w->tmp, lw->post_attn_norm);
    k_ops()->rms_norm(w->x, lw->ffn_norm, sh->n_embd, (float)s->hp->norm_eps, w->xn);
    struct linear_job job[2] = { { lw->gate, w->gate, ff, NULL }, { lw->up, w->up, ff, NULL } };
    linear_many(s->m->pool, job, 2, w->xn, d, 1);
    if (s->hp->act == ACT_SILU) k_ops()->silu_mul(w->gate, w->up, sh->n_ff, w->gate);
    else k_ops()->gelu_mul(w->gate, w->up, sh->n_ff, w->gate);
    linear(s->m->pool, lw->down, w->gate, ff, 1, w->tmp, d, NULL);
    add_normed(s, w->tmp, lw->post_ffn_norm);
}

enum sac_code session_decode(struct session *s, int token, const struct decode_sink *sink,
                             struct sac_err *err)
{
    const struct sac_shape *sh = &s->hp->shape;
    if (s->n >= s->max_tokens)
        return sac_fail(err, SAC_EARG, "the session holds %d tokens and is full", s->max_tokens);
    if (!s->work_ready && !decode_prepare(s)) return sac_fail(err, SAC_ENOMEM, "out of memory for decoding");
    embed_token(s, token, s->work.x);
    for (int l = 0; l < sh->n_layers; l++) {
        project_token(s, l);
        attend_token(s, l, sink);
        mix_token(s, l);
    }
    s->n++;
    s->stats.steps++;
    k_ops()->rms_norm(s->work.x, s->m->w.output_norm, sh->n_embd, (float)s->hp->norm_eps, s->work.x);
    output_head(s, s->work.x, 1, s->logits, (size_t)sh->n_vocab);
    return SAC_OK;
}
