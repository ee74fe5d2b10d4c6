/* Prefill: the whole prompt through one layer after the other.
 *
 * Layer by layer, because methods look at all queries and keys of a layer before they choose. Within a layer
 * the linear parts go in chunks of rows that stay in cache; attention runs once over all rows with the plans
 * of the method. The last layer's mixing is done for the last row only, unless all logits are wanted. Rows
 * that an earlier prefill had in common are copied: only their q, k and v are needed by those that follow. */
#include "model/prefill_int.h"

#include "base/pages.h"
#include "methods/methods.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Written once from end to end: on large pages the system clears them faster than it finds small ones. */
static float *floats(size_t n) { return pages_alloc(n * sizeof(float) + 64); }

/* q, k, v and lse of one layer, in one block: a sink that keeps it pays for few pages. */
static bool layer_buffers(struct work *w)
{
    const struct sac_shape *sh = &w->s->hp->shape;
    const struct prefill_args *a = w->a;
    size_t line = 16, row = (size_t)w->n * (size_t)sh->head_dim, q = (size_t)sh->n_heads * row,
           kv = (size_t)sh->n_kv_heads * row, lse = a->want_lse ? (size_t)sh->n_heads * (size_t)w->n : 0;
    if (w->block) return true;
    q = (q + line - 1) / line * line;
    kv = (kv + line - 1) / line * line;
    size_t bytes = (q + 2 * kv + lse) * sizeof(float) + 64;
    w->block = a->room ? a->room(a->ctx, bytes) : pages_alloc(bytes);
    w->q = w->block;
    w->k = w->q ? w->q + q : NULL;
    w->v = w->q ? w->k + kv : NULL;
    w->lse = w->q && lse ? w->v + kv : NULL;
    return w->block != NULL;
}

static bool work_init(struct work *w)
{
    const struct sac_shape *sh = &w->s->hp->shape;
    size_t n = (size_t)w->n, d = (size_t)sh->head_dim;
    size_t c = (size_t)w->chunk, qw = (size_t)sh->n_heads * d, kw = (size_t)sh->n_kv_heads * d;
    w->x = floats(n * (size_t)sh->n_embd);
    w->att = floats(n * qw);
    w->xn = floats(c * (size_t)(sh->n_embd > (int)qw ? sh->n_embd : (int)qw));
    w->qt = floats(c * (size_t)(sh->n_embd > (int)qw ? sh->n_embd : (int)qw));
    w->kt = floats(c * kw);
    w->vt = floats(c * kw);
    w->gate = floats(c * (size_t)sh->n_ff);
    w->up = floats(c * (size_t)sh->n_ff);
    w->mass = w->a->want_mass && !w->first ? floats((size_t)sh->n_kv_heads * n) : NULL;
    w->plan = calloc((size_t)sh->n_heads, sizeof *w->plan);
    w->scratch = calloc((size_t)pool_threads(w->s->m->pool), sizeof *w->scratch);
    return w->x && w->att && w->xn && w->qt && w->kt && w->vt && w->gate && w->up && w->plan && w->scratch &&
           layer_buffers(w);
}

static void work_free(struct work *w)
{
    float *own[] = { w->x, w->att, w->xn, w->qt, w->kt, w->vt, w->gate, w->up, w->mass };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) free(own[i]);
    if (w->block && w->a->leave) w->a->leave(w->a->ctx, w->block);
    else free(w->block);
    for (int h = 0; w->plan && h < w->s->hp->shape.n_heads; h++) sac_plan_free(&w->plan[h]);
    shared_free(w->shared);
    free(w->plan);
    for (int t = 0; w->scratch && t < pool_threads(w->s->m->pool); t++) sac_arena_free(&w->scratch[t]);
    free(w->scratch);
}

/* ---- pool callbacks ---- */

static void norm_rows(void *ctx, int lo, int hi, int thread)
{
    struct work *w = ctx;
    (void)thread;
    size_t d = (size_t)w->s->hp->shape.n_embd;
    for (int r = lo; r < hi; r++)
        k_ops()->rms_norm(w->rows_in + (size_t)r * d, w->norm, (int)d, (float)w->s->hp->norm_eps,
                          w->rows_out + (size_t)r * d);
}

/* residual += norm(out), or += out where the family has no norm after the block. */
static void residual_rows(void *ctx, int lo, int hi, int thread)
{
    struct work *w = ctx;
    (void)thread;
    size_t d = (size_t)w->s->hp->shape.n_embd;
    for (int r = lo; r < hi; r++) {
        float *y = w->rows_in + (size_t)r * d;
        if (w->norm) k_ops()->rms_norm(y, w->norm, (int)d, (float)w->s->hp->norm_eps, y);
        k_ops()->add(w->rows_out + (size_t)r * d, y, (int)d);
    }
}

static void act_rows(void *ctx, int lo, int hi, int thread)
{
    struct work *w = ctx;
    (void)thread;
    int ff = w->s->hp->shape.n_ff;
    for (int r = lo; r < hi; r++) {
        float *g = w->gate + (size_t)r * (size_t)ff;
        const float *u = w->up + (size_t)r * (size_t)ff;
        if (w->s->hp->act == ACT_SILU) k_ops()->silu_mul(g, u, ff, g);
        else k_ops()->gelu_mul(g, u, ff, g);
    }
}

static void embed_rows(void *ctx, int lo, int hi, int thread)
{
    struct work *w = ctx;
    (void)thread;
    for (int r = w->first + lo; r < w->first + hi; r++)
        embed_token(w->s, w->a->ids[r], w->x + (size_t)r * (size_t)w->s->hp->shape.n_embd);
}

/* One head of the rows at pos .. pos+n-1. Head by head, so that what is written lies together and memory can
 * follow. */
static void place_head(const struct work *w, const float *src, size_t ld, const float *norm, int pos, int n,
                       float *dst)
{
    int d = w->s->hp->shape.head_dim;
    const struct rope_table *rope = rope_of(w->s, w->layer);
    for (int r = 0; r < n; r++, src += ld, dst += d) {
        if (norm) k_ops()->rms_norm(src, norm, d, (float)w->s->hp->norm_eps, dst);
        else memcpy(dst, src, (size_t)d * sizeof *dst);
        rope_apply(rope, pos + r, dst);
    }
}

void prefill_scatter(struct work *w, const struct projected *p, int pos, int rows)
{
    struct session *s = w->s;
    const struct sac_shape *sh = &s->hp->shape;
    size_t d = (size_t)sh->head_dim, n = (size_t)w->n;
    for (int h = 0; h < sh->n_heads; h++)
        place_head(w, p->q + (size_t)h * d, p->ldq, w->lw->q_norm, pos, rows,
                   w->q + ((size_t)h * n + (size_t)pos) * d);
    for (int g = 0; g < sh->n_kv_heads; g++) {
        float *k = w->k + ((size_t)g * n + (size_t)pos) * d, *v = w->v + ((size_t)g * n + (size_t)pos) * d;
        struct kv_head *kv = kv_at(s, w->layer, g);
        place_head(w, p->k + (size_t)g * d, p->ldk, w->lw->k_norm, pos, rows, k);
        for (int r = 0; r < rows; r++)
            memcpy(v + (size_t)r * d, p->v + (size_t)r * p->ldk + (size_t)g * d, d * sizeof *v);
        kv_store(s, kv->k, pos, k, rows);
        kv_store(s, kv->v, pos, v, rows);
    }
}

static void scatter_rows(void *ctx, int lo, int hi, int thread)
{
    struct work *w = ctx;
    const struct sac_shape *sh = &w->s->hp->shape;
    size_t qw = (size_t)(sh->n_heads * sh->head_dim), kw = (size_t)(sh->n_kv_heads * sh->head_dim);
    size_t i = (size_t)lo;
    struct projected p = { w->qt + i * qw, w->kt + i * kw, w->vt + i * kw, qw, kw };
    (void)thread;
    prefill_scatter(w, &p, w->r0 + lo, hi - lo);
}

/* The plan with the keys of an intervention added to every tile. */
static bool plan_force(struct sac_plan *p, struct sac_span force)
{
    struct sac_plan out;
    if (!sac_plan_init(&out, p->tile, p->n_rows)) return false;
    bool ok = true;
    for (int t = 0; ok && t < p->n_tiles; t++) {
        bool done = false;
        for (size_t i = p->at[t]; ok && i < p->at[t + 1]; i++) {
            if (!done && force.lo <= p->run[i].lo) ok = done = sac_plan_add(&out, force.lo, force.hi);
            if (ok) ok = sac_plan_add(&out, p->run[i].lo, p->run[i].hi);
        }
        if (ok && !done) ok = sac_plan_add(&out, force.lo, force.hi);
        if (ok) ok = sac_plan_next(&out);
    }
    if (!ok) {
        sac_plan_free(&out);
        return false;
    }
    free(p->at);
    free(p->run);
    p->at = out.at;
    p->run = out.run;
    p->n_run = out.n_run;
    p->cap_run = out.cap_run;
    p->pattern_cells = -1;
    return true;
}

/* Rows 0 .. first-1 of a layer from the earlier prefill, into the buffers and the cache. */
struct take_over { struct work *w; const float *q, *k, *v, *lse; };

static void take_heads(void *ctx, int lo, int hi, int thread)
{
    struct take_over *t = ctx;
    struct work *w = t->w;
    const struct sac_shape *sh = &w->s->hp->shape;
    size_t d = (size_t)sh->head_dim, n = (size_t)w->n, rows = (size_t)w->first, from = w->a->prefix.stride;
    (void)thread;
    for (int h = lo; h < hi; h++) {
        memcpy(w->q + (size_t)h * n * d, t->q + (size_t)h * from * d, rows * d * sizeof(float));
        if (w->lse) memcpy(w->lse + (size_t)h * n, t->lse + (size_t)h * from, rows * sizeof(float));
        if (h >= sh->n_kv_heads) continue;
        float *k = w->k + (size_t)h * n * d, *v = w->v + (size_t)h * n * d;
        memcpy(k, t->k + (size_t)h * from * d, rows * d * sizeof(float));
        memcpy(v, t->v + (size_t)h * from * d, rows * d * sizeof(float));
        struct kv_head *kv = kv_at(w->s, w->layer, h);
        kv_store(w->s, kv->k, 0, k, w->first);
        kv_store(w->s, kv->v, 0, v, w->first);
    }
}

static bool take_prefix(struct work *w)
{
    const struct prefill_prefix *p = &w->a->prefix;
    struct take_over t = { .w = w };
    if (!w->first) return true;
    if (!p->layer(p->ctx, w->layer, &t.q, &t.k, &t.v, &t.lse) || (w->lse && !t.lse)) return false;
    pool_run(w->s->m->pool, w->s->hp->shape.n_heads, 1, take_heads, &t);
    return true;
}

static void plan_heads(void *ctx, int lo, int hi, int thread)
{
    struct work *w = ctx;
    int group = w->in.n_heads / w->in.n_kv_heads, threads = pool_threads(w->s->m->pool);
    for (int i = lo; i < hi; i++) {
        int h = shared_turn(&w->in, threads, i);
        struct sac_arena *scratch = &w->scratch[thread];
        struct sac_arena_mark mark = sac_arena_mark(scratch);
        bool ok = w->part->m->plan(&w->in, w->part->opts.bytes, h, &w->plan[h], scratch);
        if (ok && force_applies(w->a->force, w->a->force_layer, w->layer) &&
            (w->a->force_kv < 0 || w->a->force_kv == h / group))
            ok = plan_force(&w->plan[h], w->a->force);
        if (!ok) atomic_store(&w->failed, true);
        sac_arena_rewind(scratch, mark);
        shared_done(w->in.shared, h / group);
    }
}

/* ---- one layer ---- */

static void project(struct work *w)
{
    const struct sac_shape *sh = &w->s->hp->shape;
    size_t d = (size_t)sh->n_embd;
    int qw = sh->n_heads * sh->head_dim, kw = sh->n_kv_heads * sh->head_dim;
    struct sac_pool *pool = w->s->m->pool;
    for (int r0 = w->first; r0 < w->n && !prefill_cancelled(w); r0 += w->chunk) {
        int m = w->n - r0 < w->chunk ? w->n - r0 : w->chunk;
        w->r0 = r0;
        w->norm = w->lw->attn_norm;
        w->rows_in = w->x + (size_t)r0 * d;
        w->rows_out = w->xn;
        pool_run(pool, m, 32, norm_rows, w);
        struct linear_job job[3] = { { w->lw->wq, w->qt, (size_t)qw, w->lw->bq },
                                     { w->lw->wk, w->kt, (size_t)kw, w->lw->bk },
                                     { w->lw->wv, w->vt, (size_t)kw, w->lw->bv } };
        linear_many(pool, job, 3, w->xn, d, m);
        pool_run(pool, m, 16, scatter_rows, w);
    }
}

/* Rows r0 .. r0+m-1 of the residual stream through output projection and feed-forward. */
static void mix(struct work *w, int r0, int m)
{
    const struct sac_shape *sh = &w->s->hp->shape;
    size_t d = (size_t)sh->n_embd, qw = (size_t)sh->n_heads * (size_t)sh->head_dim, ff = (size_t)sh->n_ff;
    struct sac_pool *pool = w->s->m->pool;
    float *x = w->x + (size_t)r0 * d;
    linear(pool, w->lw->wo, w->att + (size_t)r0 * qw, qw, m, w->qt, d, w->lw->bo);
    w->norm = w->lw->post_attn_norm;
    w->rows_in = w->qt;
    w->rows_out = x;
    pool_run(pool, m, 32, residual_rows, w);
    w->norm = w->lw->ffn_norm;
    w->rows_in = x;
    w->rows_out = w->xn;
    pool_run(pool, m, 32, norm_rows, w);
    struct linear_job job[2] = { { w->lw->gate, w->gate, ff, NULL }, { w->lw->up, w->up, ff, NULL } };
    linear_many(pool, job, 2, w->xn, d, m);
    pool_run(pool, m, 16, act_rows, w);
    linear(pool, w->lw->down, w->gate, ff, m, w->qt, d, NULL);
    w->norm = w->lw->post_ffn_norm;
    w->rows_in = w->qt;
    w->rows_out = x;
    pool_run(pool, m, 32, residual_rows, w);
}

static void describe_layer(struct work *w)
{
    const struct hparams *hp = w->s->hp;
    const struct sac_shape *sh = &hp->shape;
    const struct rope_table *rope = rope_of(w->s, w->layer);
    size_t stride = (size_t)w->n * (size_t)sh->head_dim;
    w->in = (struct sac_prefill_in){
        .layer = w->layer, .n_layers = sh->n_layers, .n = w->n,
        .n_heads = sh->n_heads, .n_kv_heads = sh->n_kv_heads, .head_dim = sh->head_dim,
        .scale = (float)hp->attn_scale, .softcap = (float)hp->attn_softcap, .window = window_of(hp, w->layer),
        .q = w->q, .k = w->k, .v = w->v, .q_stride = stride, .k_stride = stride,
        .rope_cos = rope->cos, .rope_sin = rope->sin, .rope_dim = rope->dim, .rope_positions = rope->n,
        .rope_adjacent = rope->adjacent, .seed = w->a->seed,
    };
}

/* Plans, attention, and what the sink wants to know of them. False: cancelled or out of memory. */
static bool attend(struct work *w)
{
    const struct sac_shape *sh = &w->s->hp->shape;
    struct prefill_args *a = w->a;
    describe_layer(w);
    bool sparse = w->part && !sac_spec_layer_dense(a->spec, w->layer);
    double t0 = clock_seconds();
    if (sparse) {
        for (int h = 0; h < sh->n_heads; h++) sac_plan_free(&w->plan[h]);
        if (!w->shared) w->shared = shared_new(&w->in); /* NULL: every head packs its own */
        w->in.shared = w->shared;
        pool_run(w->s->m->pool, sh->n_heads, 1, plan_heads, w);
        w->in.shared = NULL;
        if (atomic_load(&w->failed)) return false;
    }
    double t1 = clock_seconds();
    a->select_s += t1 - t0;
    struct attend_prefill at = {
        .n_heads = sh->n_heads, .n_kv_heads = sh->n_kv_heads, .head_dim = sh->head_dim, .n = w->n,
        .row0 = w->first, .scale = w->in.scale, .softcap = w->in.softcap, .window = w->in.window,
        .q = w->q, .k = w->k, .v = w->v, .q_stride = w->in.q_stride, .k_stride = w->in.k_stride,
        .plan = sparse ? w->plan : NULL, .out = w->att, .ldo = (size_t)sh->n_heads * (size_t)sh->head_dim,
        .lse = w->lse, .mass = sparse ? NULL : w->mass, .strict = w->s->m->opts.strict, .cancel = a->cancel,
    };
    bool ok = attend_prefill(w->s->m->pool, &at);
    a->attend_s += clock_seconds() - t1;
    a->flops_attend += at.flops;
    if (!ok) return false;
    w->in.lse = sparse ? NULL : w->lse;
    w->in.mass = at.has_mass ? w->mass : NULL;
    if (!a->layer_done) return true;

    struct prefill_layer pl = { .layer = w->layer, .n = w->n, .q = w->q, .k = w->k, .v = w->v, .lse = w->lse,
                                .block = w->block, .plan = sparse ? w->plan : NULL, .in = &w->in };
    a->layer_done(a->ctx, &pl);
    if (pl.took_block) w->block = NULL;
    if (pl.took_plan && sparse) memset(w->plan, 0, (size_t)sh->n_heads * sizeof *w->plan);
    return w->layer + 1 == sh->n_layers || layer_buffers(w);
}

static void enter_layer(struct work *w, int layer)
{
    w->layer = layer;
    w->lw = &w->s->m->w.layer[layer];
}

/* From what attention gave to the queries, keys and values of the next layer, which is entered. */
static bool next_layer(struct work *w)
{
    struct prefill_args *a = w->a;
    const struct layer_weights *done = w->lw, *next = NULL;
    bool last = w->layer + 1 == w->s->hp->shape.n_layers, one = last && !a->all_logits && !a->hidden;
    bool blocks = w->by_rows && !one;
    for (int r0 = one ? w->n - 1 : w->first; !blocks && r0 < w->n && !prefill_cancelled(w); r0 += w->chunk)
        mix(w, r0, w->n - r0 < w->chunk ? w->n - r0 : w->chunk);
    if (!last) enter_layer(w, w->layer + 1), next = w->lw;
    if (blocks && !prefill_rows(w, done, next)) return false;
    if (!last && a->hidden) a->hidden(a->ctx, w->layer, w->x, w->n);
    if (!last && !blocks) project(w);
    return true;
}

static bool run_layers(struct work *w)
{
    const struct sac_shape *sh = &w->s->hp->shape;
    struct prefill_args *a = w->a;
    pool_run(w->s->m->pool, w->n - w->first, 64, embed_rows, w);
    enter_layer(w, 0);
    if (a->hidden) a->hidden(a->ctx, 0, w->x, w->n);
    if (!w->by_rows) project(w);
    else if (!prefill_rows(w, NULL, w->lw)) return false;
    for (int l = 0; l < sh->n_layers; l++) {
        if (prefill_cancelled(w) || !take_prefix(w) || !attend(w)) return false;
        for (int g = 0; g < sh->n_kv_heads; g++) kv_at(w->s, l, g)->n = w->n;
        if (!next_layer(w) || prefill_cancelled(w)) return false;
    }
    return true;
}

/* Final norm and output head: of the last row, or of all of them. */
static void finish(struct work *w)
{
    const struct sac_shape *sh = &w->s->hp->shape;
    size_t d = (size_t)sh->n_embd, v = (size_t)sh->n_vocab;
    struct prefill_args *a = w->a;
    int r0 = a->all_logits || a->hidden ? 0 : w->n - 1;
    w->norm = w->s->m->w.output_norm;
    w->rows_in = w->rows_out = w->x + (size_t)r0 * d;
    pool_run(w->s->m->pool, w->n - r0, 32, norm_rows, w);
    if (a->hidden) a->hidden(a->ctx, sh->n_layers, w->x, w->n);
    if (a->all_logits) {
        output_head(w->s, w->x, w->n, a->all_logits, v);
        memcpy(w->s->logits, a->all_logits + (size_t)(w->n - 1) * v, v * sizeof(float));
    } else {
        output_head(w->s, w->x + (size_t)(w->n - 1) * d, 1, w->s->logits, v);
    }
}

enum sac_code session_prefill(struct session *s, struct prefill_args *a, struct sac_err *err)
{
    struct work w = { .s = s, .a = a, .n = a->n };
    w.part = a->spec ? sac_spec_prefill(a->spec) : NULL;
    double t0 = clock_seconds();
    a->select_s = a->attend_s = a->flops_attend = 0;
    enum sac_code rc = SAC_OK;
    if (a->prefix.n > 0 && !w.part && !a->hidden && !a->all_logits)
        w.first = a->prefix.n < a->n ? a->prefix.n : a->n - 1;
    if (a->n < 1 || a->n > s->max_tokens)
        return sac_fail(err, SAC_EARG, "a prompt of %d tokens does not fit a session of %d", a->n,
                        s->max_tokens);
    w.by_rows = prefill_by_rows(s->m, a->n - w.first);
    w.chunk = w.by_rows ? 1 : a->n < PREFILL_CHUNK ? a->n : PREFILL_CHUNK;
    if (!work_init(&w))
        rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory for a prefill of %d tokens; try a shorter prompt",
                      s->m->info.name, a->n);
    else if (!run_layers(&w))
        rc = prefill_cancelled(&w)
                 ? sac_fail(err, SAC_ECANCEL, "stopped during prefill at layer %d", w.layer)
                 : sac_fail(err, SAC_ENOMEM, "out of memory at layer %d", w.layer);
    else {
        finish(&w);
        s->n = a->n;
    }
    work_free(&w);
    a->total_s = clock_seconds() - t0;
    return rc;
}
