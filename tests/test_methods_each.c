/* What must hold of every method, at the smallest, default and largest value of each parameter, on prompts
 * shorter than any window, page or tile, with ragged ends and with groups of 1, 4, 7 and 8 heads: rows are
 * valid, causal and never empty; a budget that covers everything is dense attention; the same run twice, and
 * eviction on more threads, is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/pool.h"
#include "kernels.h"
#include "methods/methods.h"
#include "methods_sim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the problem ---- */

static float uniform(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 16777216.0f;
}

void problem_make(struct problem *p, int n, int steps, int n_heads, int n_kv_heads, int dim, unsigned seed)
{
    *p = (struct problem){ n, steps, n_heads, n_kv_heads, dim, .layer = 1, .n_layers = 4 };
    size_t rows = (size_t)(n + steps) * (size_t)dim, table = (size_t)(n + steps + 40) * (size_t)(dim / 2);
    p->q = malloc(sizeof *p->q * rows * (size_t)n_heads);
    p->k = malloc(sizeof *p->k * rows * (size_t)n_kv_heads);
    p->v = malloc(sizeof *p->v * rows * (size_t)n_kv_heads);
    p->cos = malloc(sizeof *p->cos * (table + 1));
    p->sin = malloc(sizeof *p->sin * (table + 1));
    for (size_t i = 0; i < rows * (size_t)n_heads; i++) p->q[i] = 3 * uniform(&seed) - 1.5f;
    for (size_t i = 0; i < rows * (size_t)n_kv_heads; i++) p->k[i] = 3 * uniform(&seed) - 1.5f;
    for (size_t i = 0; i < rows * (size_t)n_kv_heads; i++) p->v[i] = uniform(&seed);
    for (size_t i = 0; i < table; i++) {
        float angle =
            (float)(i / (size_t)(dim / 2)) * powf(100.0f, -(float)(i % (size_t)(dim / 2)) / (float)(dim / 2));
        p->cos[i] = cosf(angle);
        p->sin[i] = sinf(angle);
    }
}

void problem_free(struct problem *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->cos);
    free(p->sin);
}

struct sac_prefill_in problem_in(const struct problem *p)
{
    size_t stride = (size_t)(p->n + p->steps) * (size_t)p->dim;
    return (struct sac_prefill_in){ .layer = p->layer,
                                    .n_layers = p->n_layers,
                                    .n = p->n,
                                    .n_heads = p->n_heads,
                                    .n_kv_heads = p->n_kv_heads,
                                    .head_dim = p->dim,
                                    .scale = 1 / sqrtf((float)p->dim),
                                    .window = p->window,
                                    .q = p->q,
                                    .k = p->k,
                                    .v = p->v,
                                    .q_stride = stride,
                                    .k_stride = stride,
                                    .rope_cos = p->cos,
                                    .rope_sin = p->sin,
                                    .rope_dim = p->dim,
                                    .rope_positions = p->n + p->steps + 40,
                                    .seed = 43 };
}

struct sac_shape problem_shape(const struct problem *p)
{
    return (struct sac_shape){ .n_layers = p->n_layers, .n_heads = p->n_heads, .n_kv_heads = p->n_kv_heads,
                               .head_dim = p->dim, .n_embd = p->n_heads * p->dim, .max_ctx = 4096 };
}

/* ---- acting out ---- */

static void mix(struct outcome *o, int v) { o->hash = (o->hash ^ (uint64_t)(unsigned)v) * 1099511628211u; }

static void act_plan(const struct problem *p, const struct sac_part *part, const char *what,
                     struct outcome *o)
{
    struct sac_prefill_in in = problem_in(p);
    struct sac_arena a = { 0 };
    struct sac_rows rows = { malloc(sizeof(struct sac_run) * (size_t)(p->n + 2)), 0, p->n + 2 };
    for (int h = 0; h < p->n_heads; h++) {
        struct sac_plan plan;
        struct sac_arena_mark mark = sac_arena_mark(&a);
        if (!part->m->plan(&in, part->opts.bytes, h, &plan, &a)) fail_msg("%s: plan failed", what);
        sac_arena_rewind(&a, mark);
        if (plan.n_rows != p->n || (long)plan.n_tiles * plan.tile < p->n)
            fail_msg("%s: rows without a tile", what);
        for (int r = 0; r < p->n; r++) {
            sac_plan_row(&plan, r, 0, &rows);
            if (!sac_rows_valid(&rows, r + 1))
                fail_msg("%s: head %d row %d of %d is empty or wrong", what, h, r, p->n);
            o->dense &= sac_rows_count(&rows) == r + 1;
            for (int i = 0; i < rows.n; i++) {
                mix(o, rows.run[i].lo);
                mix(o, rows.run[i].hi);
            }
        }
        struct sac_density d = sac_plan_density(&plan);
        if (!(d.pattern > 0 && d.pattern <= d.kernel + 1e-9 && d.kernel <= 1 + 1e-9 &&
              d.kernel <= d.work + 1e-9))
            fail_msg("%s: densities %g %g %g", what, d.pattern, d.kernel, d.work);
        sac_plan_free(&plan);
    }
    free(rows.run);
    sac_arena_free(&a);
}

struct cache { float *k; int *pos, n; };

struct sim {
    const struct problem *p;
    const struct sac_part *part;
    const char *what;
    struct cache *kv;
    void *state;
    struct sac_rows rows;
    float *weight;
    double read;
};

static void score_slots(const struct sac_decode_in *in, int head, int lo, int hi, float *out)
{
    const struct cache *c = (const struct cache *)in->cache + head / (in->n_heads / in->n_kv_heads);
    for (int s = lo; s < hi; s++) {
        float dot = 0;
        for (int d = 0; d < in->head_dim; d++)
            dot += in->q[head * in->head_dim + d] * c->k[s * in->head_dim + d];
        out[s - lo] = in->scale * dot;
    }
}

static void push(struct sim *s, int kv, int pos)
{
    const struct problem *p = s->p;
    struct cache *c = &s->kv[kv];
    memcpy(c->k + c->n * p->dim, p->k + (size_t)(kv * (p->n + p->steps) + pos) * (size_t)p->dim,
           sizeof *c->k * (size_t)p->dim);
    c->pos[c->n++] = pos;
}

static void observe(struct sim *s, const struct sac_decode_in *in, int head)
{
    int at = 0;
    float sum = 0;
    for (int i = 0; i < s->rows.n; i++) {
        in->score(in, head, s->rows.run[i].lo, s->rows.run[i].hi, s->weight + at);
        at += s->rows.run[i].hi - s->rows.run[i].lo;
    }
    for (int i = 0; i < at; i++) sum += s->weight[i] = expf(s->weight[i]);
    for (int i = 0; i < at; i++) s->weight[i] /= sum;
    s->part->m->observe(s->state, in, head, &s->rows, s->weight);
}

static void act_step(struct sim *s, int step, struct outcome *o)
{
    const struct problem *p = s->p;
    const struct sac_method *m = s->part->m;
    int group = p->n_heads / p->n_kv_heads, n[16], dim = p->dim;
    const int *slot_pos[16];
    bool per_head = m->select && m->scope && m->scope(s->part->opts.bytes) == SAC_PER_QUERY_HEAD;
    float *q = malloc(sizeof *q * (size_t)(p->n_heads * dim));
    for (int kv = 0; kv < p->n_kv_heads; kv++) {
        push(s, kv, p->n + step);
        n[kv] = s->kv[kv].n;
        slot_pos[kv] = s->kv[kv].pos;
        if (m->append) m->append(s->state, p->layer, kv, n[kv] - 1, 1, s->kv[kv].k + (n[kv] - 1) * dim);
    }
    for (int h = 0; h < p->n_heads; h++)
        memcpy(q + h * dim, p->q + (size_t)(h * (p->n + p->steps) + p->n + step) * (size_t)dim,
               sizeof *q * (size_t)dim);
    struct sac_decode_in in = { .layer = p->layer,
                                .n_layers = p->n_layers,
                                .pos = p->n + step,
                                .n_heads = p->n_heads,
                                .n_kv_heads = p->n_kv_heads,
                                .head_dim = dim,
                                .scale = 1 / sqrtf((float)dim),
                                .q = q,
                                .n = n,
                                .slot_pos = slot_pos,
                                .score = score_slots,
                                .cache = s->kv };
    for (int h = 0; h < p->n_heads; h++) {
        int kv = h / group;
        if (per_head || h % group == 0) {
            s->rows.n = 0;
            if (m->prepare && h % group == 0) m->prepare(s->state, &in, h / group);
            if (m->select) m->select(s->state, &in, h, &s->rows);
            else sac_rows_add(&s->rows, 0, n[kv]);
        }
        if (!sac_rows_valid(&s->rows, n[kv]))
            fail_msg("%s: step %d head %d reads nothing or too much", s->what, step, h);
        o->dense &= sac_rows_count(&s->rows) == p->n + step + 1;
        s->read += (double)sac_rows_count(&s->rows) / (p->n + step + 1);
        for (int i = 0; i < s->rows.n; i++)
            for (int j = s->rows.run[i].lo; j < s->rows.run[i].hi; j++) mix(o, slot_pos[kv][j]);
        if (m->observe) observe(s, &in, h);
    }
    for (int kv = 0; m->drop && kv < p->n_kv_heads; kv++) {
        int slot = m->drop(s->state, &in, kv);
        struct cache *c = &s->kv[kv];
        if (slot < -1 || slot >= c->n) fail_msg("%s: drops slot %d of %d", s->what, slot, c->n);
        if (slot < 0) continue;
        memmove(c->k + slot * dim, c->k + (slot + 1) * dim, sizeof *c->k * (size_t)((c->n - slot - 1) * dim));
        memmove(c->pos + slot, c->pos + slot + 1, sizeof *c->pos * (size_t)(c->n - slot - 1));
        c->n--;
        if (m->dropped) m->dropped(s->state, p->layer, kv, slot);
    }
    free(q);
}

static void act_decode(const struct problem *p, const struct sac_spec *spec, const char *what,
                       struct outcome *o)
{
    const struct sac_part *evict = sac_spec_evict(spec), *part = sac_spec_decode(spec);
    struct sac_arena a = { 0 };
    struct sac_prefill_in in = problem_in(p);
    int all = p->n + p->steps;
    struct sac_kept kept[16] = { 0 };
    struct cache kv[16];
    if (evict && !evict_layer(NULL, &in, evict, kept, &a)) fail_msg("%s: evict failed", what);
    struct sim s = { p,
                     part,
                     what,
                     kv,
                     NULL,
                     { sac_arena_alloc(&a, sizeof(struct sac_run) * (size_t)(all / 2 + 1)), 0, all / 2 + 1 },
                     sac_arena_floats(&a, (size_t)all),
                     0 };
    struct sac_env env = { problem_shape(p), all, 43, false };
    if (part && part->m->create && !(s.state = part->m->create(&env, part->opts.bytes, &a)))
        fail_msg("%s: create failed", what);
    for (int h = 0; h < p->n_kv_heads; h++) {
        kv[h] = (struct cache){ malloc(sizeof(float) * (size_t)(all * p->dim)),
                                malloc(sizeof(int) * (size_t)all), 0 };
        int n = evict ? kept[h].n : p->n;
        if (evict && (n < 0 || n > p->n)) fail_msg("%s: keeps %d of %d", what, n, p->n);
        for (int i = 0; evict && i < n; i++) {
            int pos = kept[h].pos[i];
            if (pos < 0 || pos >= p->n || (i > 0 && pos <= kept[h].pos[i - 1]))
                fail_msg("%s: kept positions", what);
            mix(o, pos);
        }
        o->kept += n;
        o->dense &= n == p->n;
        for (int i = 0; i < n; i++) push(&s, h, evict ? kept[h].pos[i] : i);
        if (part && part->m->append) part->m->append(s.state, p->layer, h, 0, n, kv[h].k);
        if (part && part->m->seed && kept[h].score && part == evict)
            part->m->seed(s.state, p->layer, h, n, kept[h].score);
    }
    for (int i = 0; part && i < p->steps; i++) act_step(&s, i, o);
    o->read = p->steps ? s.read / (p->steps * p->n_heads) : 0;
    for (int h = 0; h < p->n_kv_heads; h++) {
        free(kv[h].k);
        free(kv[h].pos);
    }
    sac_arena_free(&a);
}

struct outcome act(const struct problem *p, const struct sac_spec *spec, const char *what)
{
    struct outcome o = { .hash = 14695981039346656037u, .dense = true };
    const struct sac_part *prefill = sac_spec_prefill(spec);
    if (prefill) act_plan(p, prefill, what, &o);
    if (sac_spec_evict(spec) || sac_spec_decode(spec)) act_decode(p, spec, what, &o);
    return o;
}

/* ---- properties ---- */

static bool run_spec(const struct problem *p, const char *text, struct outcome *out)
{
    struct sac_spec spec;
    struct sac_err err = { 0 };
    struct sac_shape s = problem_shape(p);
    char what[200];
    snprintf(what, sizeof what, "%.120s (n %d, heads %d/%d)", text, p->n, p->n_heads, p->n_kv_heads);
    if (sac_spec_parse(&spec, text, &err)) fail_msg("%s: %s", what, err.msg);
    if (sac_spec_resolve(&spec, &s, p->n, &err)) return false;
    *out = act(p, &spec, what);
    return true;
}

static const char *value_text(const struct sac_param *p, double v, char *buf, size_t cap)
{
    if (p->kind == SAC_CHOICE) snprintf(buf, cap, "%s", p->choices[(int)v]);
    else snprintf(buf, cap, "%.10g", v);
    return buf;
}

/* Short and ragged lengths, groups of 1, 4, 7, 8. */
static const struct { int n, heads, kv;
} sizes[] = {
    { 1, 1, 1 },  { 2, 4, 1 },  { 5, 8, 2 },   { 15, 2, 2 },  { 16, 7, 1 },
    { 17, 8, 1 }, { 64, 2, 1 }, { 130, 4, 1 }, { 300, 2, 2 },
};

static void every_parameter(void **state)
{
    (void)state;
    int n, runs = 0;
    const struct sac_method *const *all = sac_methods(&n);
    for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++) {
        struct problem p;
        problem_make(&p, sizes[z].n, 3, sizes[z].heads, sizes[z].kv, 8, (unsigned)z);
        for (int i = 0; i < n; i++) {
            struct outcome o, again;
            char text[120], value[32];
            assert_true(run_spec(&p, all[i]->name, &o) && run_spec(&p, all[i]->name, &again));
            if (o.hash != again.hash) fail_msg("%s: two runs differ", all[i]->name);
            for (int j = 0; j < all[i]->n_params; j++) {
                const struct sac_param *q = &all[i]->params[j];
                const double at[3] = {
                    q->min, (q->min + q->max) / 2 < 100 ? floor((q->min + q->max) / 2) : q->min + 2, q->max
                };
                for (int e = 0; e < 3; e++) {
                    if (at[e] < q->min || at[e] > q->max) continue;
                    snprintf(text, sizeof text, "%s:%s=%s", all[i]->name, q->name,
                             value_text(q, at[e], value, sizeof value));
                    runs += run_spec(&p, text, &o);
                }
            }
            if (!all[i]->budget) continue;
            for (int level = 0; level < 10; level += 3) {
                snprintf(text, sizeof text, "%s:sparsity=0.%d", all[i]->name, level);
                assert_true(run_spec(&p, text, &o));
            }
        }
        problem_free(&p);
    }
    assert_true(runs > 1500);
}

static void covering_budget_is_dense(void **state)
{
    (void)state;
    static const char *const covering[] = {
        "dense",
        "vertical_slash:vertical_size=9999,slash_size=9999",
        "vertical_slash:slash_size=9999,tile=1",
        "block_sparse:top_blocks=9999",
        "flexprefill:min_budget=9999",
        "flexprefill:alpha=1",
        "snapkv:capacity=9999",
        "ada_snapkv:capacity=9999",
        "pyramidkv:capacity=9999",
        "tova:capacity=9999",
        "h2o:heavy=9999,recent=9999",
        "expected_attention:capacity=9999",
        "quest:token_budget=16000",
        "quest:token_budget=16000,share_pages=0,scorer=meanstd",
        "streaming_llm:window=9999",
        "random:token_budget=9999",
        "oracle:token_budget=9999",
        "oracle:unit=group,token_budget=9999",
        "oracle:unit=page,token_budget=9999",
        "oracle:unit=block,token_budget=9999",
        "oracle:top_p=1",
        "oracle:rows=1,top_p=1",
        "xattention:threshold=1",
        "spargeattn:tau=1",
        "spargeattn:mode=ratio,keep=1",
        "twilight:token_budget=9999,p=1",
        "duo:streaming=0",
        "duo:streaming=1,recent=9999",
        "moba:top_k=9999",
        "minference:density=1",
    };
    for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++) {
        struct problem p;
        problem_make(&p, sizes[z].n, 2, sizes[z].heads, sizes[z].kv, 8, 100 + (unsigned)z);
        for (size_t i = 0; i < sizeof covering / sizeof *covering; i++) {
            struct outcome o;
            assert_true(run_spec(&p, covering[i], &o));
            if (!o.dense)
                fail_msg("%s: %d tokens, %d/%d heads: something is left out", covering[i], p.n, p.n_heads,
                         p.n_kv_heads);
        }
        problem_free(&p);
    }
}

/* A prompt below the budget is left whole, whatever the windows and pages: the short-sequence cases of 7.3.
 */
static void short_prompts_are_whole(void **state)
{
    (void)state;
    static const char *const spec[] = { "snapkv",
                                        "ada_snapkv",
                                        "pyramidkv",
                                        "tova",
                                        "h2o",
                                        "quest",
                                        "quest:token_budget=64",
                                        "streaming_llm",
                                        "expected_attention",
                                        "oracle",
                                        "random",
                                        "moba",
                                        "duo" };
    struct problem p;
    problem_make(&p, 50, 3, 4, 2, 8, 5);
    for (size_t i = 0; i < sizeof spec / sizeof *spec; i++) {
        struct outcome o;
        assert_true(run_spec(&p, spec[i], &o));
        if (!o.dense) fail_msg("%s reads less than 50 tokens", spec[i]);
    }
    problem_free(&p);
}

static void budgets_are_kept(void **state)
{
    (void)state;
    struct problem p;
    problem_make(&p, 400, 4, 8, 2, 8, 9);
    p.layer = 0;
    static const struct {
        const char *spec;
        int kept;
        double read;
    } row[] = {
        /* tokens of both KV heads, share read */
        { "snapkv:capacity=150", 300, 0 },
        { "ada_snapkv:capacity=150", 300, 0 },
        { "tova:capacity=100", 200, 101 / 402.5 },
        { "h2o:heavy=40,recent=60", 200, 101 / 402.5 },
        { "expected_attention:capacity=77", 154, 0 },
        { "streaming_llm:window=60", 126, 64 / 402.5 },
        { "quest:token_budget=96", 800, 0 },
        { "oracle:token_budget=50", 800, 50 / 402.5 },
        { "random:token_budget=100", 800, 100 / 402.5 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct outcome o;
        assert_true(run_spec(&p, row[i].spec, &o));
        if (o.kept != row[i].kept) fail_msg("%s keeps %d, expected %d", row[i].spec, o.kept, row[i].kept);
        if (row[i].read > 0 && fabs(o.read - row[i].read) > 2e-3)
            fail_msg("%s reads %g, expected %g", row[i].spec, o.read, row[i].read);
    }
    /* The pyramid keeps its mean over layers. */
    int sum = 0;
    for (p.layer = 0; p.layer < p.n_layers; p.layer++) {
        struct outcome o;
        assert_true(run_spec(&p, "pyramidkv:capacity=150", &o));
        sum += o.kept;
    }
    assert_int_equal(sum, 150 * 2 * p.n_layers);
    problem_free(&p);
}

/* sparsity=S on prompts long enough for it: the share left out is S, within one tile, block or page. */
static void sparsity_is_reached(void **state)
{
    (void)state;
    static const struct { const char *method; double below;
    } row[] = {
        { "vertical_slash", .12 }, { "flexprefill", .12 }, { "block_sparse", .03 }, { "random", .03 },
        { "oracle", .03 },         { "xattention", .08 },  { "spargeattn", .08 },   { "minference", .15 },
    };
    struct problem p;
    problem_make(&p, 1200, 0, 1, 1, 8, 12);
    struct sac_prefill_in in = problem_in(&p);
    struct sac_shape shape = problem_shape(&p);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int level = 3; level <= 7; level += 2) {
            struct sac_spec spec;
            struct sac_arena a = { 0 };
            struct sac_plan plan;
            char text[80];
            snprintf(text, sizeof text, "%s:sparsity=0.%d", row[i].method, level);
            assert_int_equal(sac_spec_parse(&spec, text, NULL), SAC_OK);
            assert_int_equal(sac_spec_resolve(&spec, &shape, p.n, NULL), SAC_OK);
            assert_true(spec.part[0].m->plan(&in, spec.part[0].opts.bytes, 0, &plan, &a));
            double d = sac_plan_density(&plan).kernel, want = 1 - level / 10.0;
            if (d > want + 0.04 || d < want - row[i].below)
                fail_msg("%s: density %.3f, expected %.3f", text, d, want);
            sac_plan_free(&plan);
            sac_arena_free(&a);
        }
    problem_free(&p);
}

/* Eviction that sees only the last rows of q, as after a shared prefill, keeps the same tokens. */
static void tail_of_queries_suffices(void **state)
{
    (void)state;
    static const char *const spec[] = { "snapkv:capacity=140,window=40", "ada_snapkv:capacity=140,window=40",
                                        "pyramidkv:capacity=100,window=30", "tova:capacity=50",
                                        "duo:recent=20,sink=4" };
    struct problem p;
    problem_make(&p, 600, 0, 8, 2, 8, 21);
    struct sac_shape shape = problem_shape(&p);
    for (size_t i = 0; i < sizeof spec / sizeof *spec; i++) {
        struct sac_spec s;
        struct sac_arena a = { 0 };
        struct sac_kept kept[2][2];
        assert_int_equal(sac_spec_parse(&s, spec[i], NULL), SAC_OK);
        assert_int_equal(sac_spec_resolve(&s, &shape, p.n, NULL), SAC_OK);
        struct sac_prefill_in in = problem_in(&p);
        assert_true(evict_layer(NULL, &in, &s.part[0], kept[0], &a));
        in.q_row0 = p.n - 512;
        in.q += (size_t)in.q_row0 * (size_t)p.dim;     /* the same stride, later rows */
        assert_true(evict_layer(NULL, &in, &s.part[0], kept[1], &a));
        for (int kv = 0; kv < 2; kv++) {
            assert_int_equal(kept[0][kv].n, kept[1][kv].n);
            assert_memory_equal(kept[0][kv].pos, kept[1][kv].pos, sizeof(int) * (size_t)kept[0][kv].n);
        }
        sac_arena_free(&a);
    }
    problem_free(&p);
}

/* Heads are weighed on as many threads as there are: the same positions and scores, to the bit. */
static void eviction_is_the_same_on_any_threads(void **state)
{
    (void)state;
    static const struct { int n, heads, kv_heads, dim; } size[] = { { 300, 8, 2, 16 }, { 1900, 6, 3, 64 } };
    struct sac_pool *pool[] = { pool_new(1, 0), pool_new(2, 0), pool_new(3, 0) };
    int n_methods, evicting = 0;
    const struct sac_method *const *m = sac_methods(&n_methods);
    for (int i = 0; i < 2 * n_methods; i++) {
        struct problem p;
        struct sac_part part = { .m = m[i / 2] };
        struct sac_arena a = { 0 };
        struct sac_kept kept[4][3];
        if (!part.m->evict) continue;
        problem_make(&p, size[i % 2].n, 0, size[i % 2].heads, size[i % 2].kv_heads, size[i % 2].dim, 57);
        struct sac_prefill_in in = problem_in(&p);
        struct sac_shape shape = problem_shape(&p);
        opts_defaults(part.m, part.opts.bytes);
        if (part.m->budget) part.m->budget(part.opts.bytes, &shape, p.n, 0.5, NULL);
        for (int t = 0; t < 4; t++)
            if (!evict_layer(t ? pool[t - 1] : NULL, &in, &part, kept[t], &a))
                fail_msg("%s: evict failed", part.m->name);
        for (int t = 1; t < 4; t++)
            for (int kv = 0; kv < p.n_kv_heads; kv++) {
                const struct sac_kept *x = &kept[0][kv], *y = &kept[t][kv];
                bool same = x->n == y->n && !memcmp(x->pos, y->pos, sizeof *x->pos * (size_t)x->n) &&
                            !x->score == !y->score;
                if (same && x->score)
                    same = !memcmp(x->score, y->score, sizeof *x->score * (size_t)x->n);
                if (!same) fail_msg("%s keeps something else on %d threads", part.m->name, t);
            }
        evicting++;
        sac_arena_free(&a);
        problem_free(&p);
    }
    assert_true(evicting >= 2 * 8);
    for (int t = 0; t < 3; t++) pool_free(pool[t]);
}

/* With the best keys at hand, nothing real covers more attention than the oracle at the same count. */
static void oracle_is_an_upper_bound(void **state)
{
    (void)state;
    struct problem p;
    problem_make(&p, 256, 0, 1, 1, 8, 33);
    struct sac_prefill_in in = problem_in(&p);
    struct sac_shape shape = problem_shape(&p);
    static const char *const spec[2] = { "oracle:rows=1,token_budget=40",
                                         "random:rows=1,token_budget=40,local=1,sink=0" };
    double mass[2] = { 0, 0 };
    for (int i = 0; i < 2; i++) {
        struct sac_spec s;
        struct sac_arena a = { 0 };
        struct sac_plan plan;
        struct sac_run store[200];
        struct sac_rows rows = { store, 0, 200 };
        assert_int_equal(sac_spec_parse(&s, spec[i], NULL), SAC_OK);
        assert_int_equal(sac_spec_resolve(&s, &shape, p.n, NULL), SAC_OK);
        assert_true(s.part[0].m->plan(&in, s.part[0].opts.bytes, 0, &plan, &a));
        for (int r = 100; r < p.n; r++) {
            sac_plan_row(&plan, r, 0, &rows);
            assert_int_equal(sac_rows_count(&rows), 40);
            double z = 0, kept = 0;
            for (int j = 0; j <= r; j++) {
                double dot = 0;
                for (int d = 0; d < p.dim; d++)
                    dot += (double)p.q[r * p.dim + d] * (double)p.k[j * p.dim + d];
                double e = exp(dot / sqrt(p.dim));
                z += e;
                if (sac_rows_has(&rows, j)) kept += e;
            }
            mass[i] += kept / z;
        }
        sac_plan_free(&plan);
        sac_arena_free(&a);
    }
    assert_true(mass[0] > 1.5 * mass[1]);
    problem_free(&p);
}

int main(void)
{
    k_cpu_init(k_level_find(getenv("SACCADE_CPU")));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_parameter), cmocka_unit_test(covering_budget_is_dense),
        cmocka_unit_test(short_prompts_are_whole), cmocka_unit_test(budgets_are_kept),
        cmocka_unit_test(sparsity_is_reached), cmocka_unit_test(tail_of_queries_suffices),
        cmocka_unit_test(oracle_is_an_upper_bound),
        cmocka_unit_test(eviction_is_the_same_on_any_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
