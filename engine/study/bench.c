/* Measuring prefill and decode, dense and with methods, on a real prompt.
 *
 * The prompt is a needle task of the asked length (repeated or cut to it exactly), as methods choose by what
 * they read: on random tokens their cost would be another one. A method's densities are taken in the warm-up
 * pass, so that counting them is not timed; without one, in the first timed pass, less what counting took.
 * Decode starts from one dense prefill for each context length; eviction happens there, once for every
 * method. */
#include "methods/methods.h"
#include "model/model_int.h"
#include "model/session_int.h"
#include "study/bench_int.h"
#include <saccade/task.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_REPEATS = 15,
    WARM = 3,                      /* decoded tokens before the timed ones */
    MORE = WARM + BARE_STEPS + 1   /* that are not timed, at most */
};

struct bench {
    struct sac_model *m;
    const struct sac_bench_opts *o;
    struct probe *probe;
    struct sac_ceilings *top;
    void (*row)(void *ctx, const struct sac_bench_row *r);
    void *ctx;
    struct sac_err *err;
    /* of the pass that runs */
    const struct sac_spec *spec;          /* NULL: dense */
    struct sac_density sum;
    int n_sum;
    double sum_s;                         /* time that counting them took */
    struct sac_spec *evicting;            /* [o->n_spec] */
    struct sac_kept **kept;               /* [o->n_spec][n_layers * n_kv_heads], NULL: evicts nothing */
    double *evict_s;                      /* [o->n_spec] */
    bool failed;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

static bool stopped(const struct bench *b) { return b->o->cancel && atomic_load(b->o->cancel); }

/* ids[n] of a needle task; of arithmetic where the model's tokenizer cannot make one. */
static int *prompt_ids(struct sac_model *m, int n, uint64_t seed)
{
    int *ids = malloc((size_t)n * sizeof *ids), have = 0;
    struct sac_sample sample;
    struct sac_tokens t = { 0 };
    struct sac_err ignored = { SAC_OK, "" };
    char *text = NULL;
    size_t user_at;
    int length = n < 512 ? 512 : n;
    bool made =
        ids && sac_sample_make(&sample, m, "niah", SAC_STYLE_AUTO, length, seed, 0, NULL, &ignored) == SAC_OK;
    if (made) {
        if (sac_chat_tokenize(m, NULL, sample.prompt, &t, &text, &user_at, &ignored) == SAC_OK) have = t.n;
        sac_sample_free(&sample);
    }
    for (int i = 0; ids && i < n; i++)
        ids[i] = have ? t.id[i % have] : (int)((unsigned)i * 2654435761u % (unsigned)m->hp.shape.n_vocab);
    sac_tokens_free(&t);
    free(text);
    return ids;
}

/* Operations (two for a multiply-add) of one prefill by the unit that does them, and bytes of weights. */
struct linear_cost {
    double ops[LINEAR_INTEGERS + 1], bytes;
};

static void add_linear(struct linear_cost *c, const struct k_mat *w, int rows)
{
    if (!w || !w->data) return;
    c->ops[linear_unit(w, rows)] += 2.0 * w->rows * w->cols * rows;
    c->bytes += (double)w->row_bytes * w->rows;
}

/* Of n rows: in the last layer all of them are projected, and the last one alone goes on from there. */
static struct linear_cost linear_cost(const struct bench *b, int n)
{
    const struct sac_model *m = b->m;
    struct linear_cost c = { { 0 }, 0 };
    for (int l = 0; l < m->hp.shape.n_layers; l++) {
        const struct layer_weights *w = &m->w.layer[l];
        const struct k_mat *project[] = { w->wq, w->wk, w->wv }, *mix[] = { w->wo, w->gate, w->up, w->down };
        for (size_t i = 0; i < sizeof project / sizeof *project; i++) add_linear(&c, project[i], n);
        for (size_t i = 0; i < sizeof mix / sizeof *mix; i++)
            add_linear(&c, mix[i], l + 1 < m->hp.shape.n_layers ? n : 1);
    }
    add_linear(&c, m->w.head, 1);
    return c;
}

static enum linear_unit attend_unit(const struct bench *b)
{
    const struct k_ops *o = k_ops();
    return !b->m->opts.strict && o->attn_fast.step != o->attn.step ? LINEAR_FAST : LINEAR_F32;
}

double sac_bench_of_ceiling(const struct sac_bench_row *r, const struct sac_ceilings *top)
{
    if (r->decode) return r->gbytes_s / top->read_gbytes;
    double least = r->ops_f32 / top->f32_gflops + r->ops_fast / top->fast_gflops;
    if (r->ops_int > 0) least += r->ops_int / top->int_gops;
    return least * 1e-9 / r->seconds;
}

/* ---- prefill ---- */

static void on_layer(void *ctx, struct prefill_layer *pl)
{
    struct bench *b = ctx;
    double t0 = clock_seconds();
    for (int h = 0; pl->plan && h < b->m->hp.shape.n_heads; h++) {
        struct sac_density d = sac_plan_density(&pl->plan[h]);
        b->sum.pattern += d.pattern;
        b->sum.kernel += d.kernel;
        b->sum.work += d.work;
        b->n_sum++;
    }
    b->sum_s += clock_seconds() - t0;
}

static bool one_prefill(struct bench *b, const int *ids, int n, bool densities, struct prefill_args *out)
{
    struct session *s = session_new(b->m, n + 1, b->m->opts.kv, b->err);
    if (!s) return false;
    *out = (struct prefill_args){ .ids = ids, .n = n, .spec = b->spec, .force_layer = -1, .force_kv = -1,
                                  .seed = b->o->seed, .cancel = b->o->cancel };
    if (densities) {
        b->sum = (struct sac_density){ 0, 0, 0, 0 };
        b->n_sum = 0;
        b->sum_s = 0;
        out->layer_done = on_layer;
        out->ctx = b;
    }
    bool ok = session_prefill(s, out, b->err) == SAC_OK;
    if (densities) out->total_s -= b->sum_s;
    session_free(s);
    return ok;
}

/* One method at one length. Prefills count by their median, their attention and selection by the fastest. */
struct timed {
    const char *name;
    struct sac_spec spec;
    bool dense;
    struct sac_density density;
    double each[MAX_REPEATS], seconds, select, attend, total, least_select, least_attend, flops_attend;
    int n;
};

/* round -1: the warm-up, which is not timed. */
static bool time_once(struct bench *b, struct timed *x, const int *ids, int n, int round)
{
    struct prefill_args a;
    bool densities = round < 0 || (b->o->cold && round == 0);
    b->spec = x->dense ? NULL : &x->spec;
    if (!one_prefill(b, ids, n, densities, &a)) return false;
    int heads = b->n_sum;
    if (densities && heads)
        x->density = (struct sac_density){ b->sum.pattern / heads, b->sum.kernel / heads, b->sum.work / heads,
                                           (double)NAN };
    if (round < 0) return true;
    x->least_select = x->n ? fmin(x->least_select, a.select_s) : a.select_s;
    x->least_attend = x->n ? fmin(x->least_attend, a.attend_s) : a.attend_s;
    x->each[x->n++] = a.total_s;
    x->select += a.select_s;
    x->attend += a.attend_s;
    x->total += a.total_s;
    x->flops_attend = a.flops_attend;
    return true;
}

/* dense: at the same length, or NULL where it was not measured. */
static void prefill_row(struct bench *b, struct timed *x, int n, const struct timed *dense)
{
    x->seconds = bench_median(x->each, x->n);
    struct sac_bench_row row = {
        .tokens = n, .threads = pool_threads(b->m->pool), .seconds = x->seconds, .best_seconds = x->each[0],
        .tok_s = n / x->seconds, .ratio_to_dense = (double)NAN, .density = x->density,
        .select_share = x->select / x->total, .attend_share = x->attend / x->total,
        .select_seconds = x->least_select, .attend_seconds = x->least_attend,
        .select_to_dense = (double)NAN, .attend_to_density = (double)NAN, .evict_to_dense = (double)NAN,
        .bare_to_density = (double)NAN, .bare_share = (double)NAN,
        .gbytes_s = (double)NAN
    };
    snprintf(row.method, sizeof row.method, "%s", x->name);
    if (dense) row.ratio_to_dense = dense->seconds / x->seconds;
    if (dense && !x->dense) {
        row.select_to_dense = x->least_select / dense->least_attend;
        row.attend_to_density = x->least_attend / (row.density.work * dense->least_attend);
    }
    struct linear_cost linear = linear_cost(b, n);
    linear.ops[attend_unit(b)] += x->flops_attend;
    row.ops_f32 = linear.ops[LINEAR_F32];
    row.ops_fast = linear.ops[LINEAR_FAST];
    row.ops_int = linear.ops[LINEAR_INTEGERS];
    row.gflops = (row.ops_f32 + row.ops_fast + row.ops_int) / x->seconds * 1e-9;
    b->row(b->ctx, &row);
}

/* Dense, where asked for, and the methods that have a prefill. -1: a wrong one. */
static int list_prefills(struct bench *b, struct timed *x, int n)
{
    const struct sac_density all = { 1, 1, 1, (double)NAN };
    int count = 0;
    if (!b->o->no_reference) x[count++] = (struct timed){ .name = "dense", .dense = true, .density = all };
    for (int i = 0; i < b->o->n_spec; i++) {
        struct timed *y = &x[count];
        *y = (struct timed){ .name = b->o->spec[i], .density = all };
        if (sac_spec_parse(&y->spec, b->o->spec[i], b->err) != SAC_OK ||
            sac_spec_resolve(&y->spec, &b->m->hp.shape, n, b->err) != SAC_OK)
            return -1;
        count += sac_spec_prefill(&y->spec) != NULL;
    }
    return count;
}

/* All in turns, round by round: a machine whose speed changes while they run changes it for all of them. What
 * was measured before a failure or a stop is told. */
static bool prefills(struct bench *b, int n)
{
    int *ids = prompt_ids(b->m, n, b->o->seed);
    struct timed *x = calloc((size_t)b->o->n_spec + 1, sizeof *x);
    int count = ids && x ? list_prefills(b, x, n) : -1;
    int rounds = b->o->repeats < 1 ? 1 : b->o->repeats > MAX_REPEATS ? MAX_REPEATS : b->o->repeats;
    bool ok = count >= 0;
    for (int round = b->o->cold ? 0 : -1; ok && round < rounds; round++) {
        for (int i = 0; ok && i < count; i++) ok = time_once(b, &x[i], ids, n, round) && !stopped(b);
        ceilings_again(b->probe, b->top);
    }
    const struct timed *dense = count > 0 && x[0].dense && x[0].n ? &x[0] : NULL;
    for (int i = 0; i < count; i++)
        if (x[i].n) prefill_row(b, &x[i], n, dense);
    free(x);
    free(ids);
    return ok;
}

/* ---- decode ---- */

static void keep_timed(struct bench *b, int i, const struct sac_prefill_in *in)
{
    const struct sac_part *part = sac_spec_evict(&b->evicting[i]);
    struct sac_arena scratch = { 0 };
    bool dense = sac_spec_layer_dense(&b->evicting[i], in->layer);
    struct sac_kept *tmp = sac_arena_alloc(&scratch, (size_t)in->n_kv_heads * sizeof *tmp);
    bool ok = tmp != NULL;
    for (int g = 0; ok && dense && g < in->n_kv_heads; g++) ok = evict_keep_all(&tmp[g], in->n, &scratch);
    double t0 = clock_seconds();
    if (!ok || (!dense && !evict_layer(b->m->pool, in, part, tmp, &scratch))) b->failed = true;
    b->evict_s[i] += clock_seconds() - t0;
    for (int g = 0; !b->failed && g < in->n_kv_heads; g++) {
        struct sac_kept *to = &b->kept[i][in->layer * in->n_kv_heads + g];
        *to = (struct sac_kept){ tmp[g].n, malloc(((size_t)tmp[g].n + 1) * sizeof(int)), NULL };
        if (tmp[g].score) to->score = malloc(((size_t)tmp[g].n + 1) * sizeof(float));
        if (!to->pos || (tmp[g].score && !to->score)) b->failed = true;
        else memcpy(to->pos, tmp[g].pos, (size_t)tmp[g].n * sizeof(int));
        if (to->pos && to->score) memcpy(to->score, tmp[g].score, (size_t)tmp[g].n * sizeof(float));
    }
    sac_arena_free(&scratch);
}

static void on_evict(void *ctx, struct prefill_layer *pl)
{
    struct bench *b = ctx;
    for (int i = 0; i < b->o->n_spec; i++)
        if (b->kept[i] && !b->failed) keep_timed(b, i, pl->in);
}

/* Dense at the same context: a step and its attention alone (medians), attention of the prefill before it. */
struct dense_step {
    double total, attend, prefill_attend;
};

/* i: which method, -1 for dense. */
static bool bench_decode(struct bench *b, struct session *base, int i_spec, const int *ids,
                         struct dense_step *dense)
{
    const char *name = i_spec < 0 ? "dense" : b->o->spec[i_spec];
    const struct sac_spec *spec = i_spec < 0 ? NULL : &b->evicting[i_spec];
    const struct sac_kept *kept = i_spec < 0 ? NULL : b->kept[i_spec];
    int n = session_n(base), steps = b->o->decode;
    struct fork_args fa = { .n = n, .max_new = steps + MORE, .kept = kept, .spec = spec, .force_layer = -1,
                            .force_kv = -1, .seed = b->o->seed };
    struct session *s = session_fork(base, &fa, b->err);
    double *t = malloc(3 * (size_t)steps * sizeof *t), *choose = t ? t + steps : NULL,
           *read_s = t ? choose + steps : NULL;
    bool ok = s && t;
    struct session_stats before = { 0 }, last = { 0 };
    for (int i = -WARM; ok && i < steps; i++) {
        if (i == 0) before = session_stats(s);
        last = session_stats(s);
        double t0 = clock_seconds();
        ok = session_decode(s, ids[(i + WARM) % n], NULL, b->err) == SAC_OK && !stopped(b);
        if (i < 0) continue;
        t[i] = clock_seconds() - t0;
        choose[i] = session_stats(s).select_s - last.select_s;
        read_s[i] = session_stats(s).attend_s - last.attend_s;
    }
    struct session_stats after = ok ? session_stats(s) : last;
    struct bare bare = { 0, 0, (double)NAN };
    if (ok && spec) ok = bare_reads(base, s, ids, n, &bare, b->err);
    if (ok) {
        struct sac_bench_row row = { .decode = true,
                                     .tokens = n,
                                     .threads = pool_threads(b->m->pool),
                                     .gflops = (double)NAN,
                                     .select_to_dense = (double)NAN,
                                     .attend_to_density = (double)NAN,
                                     .bare_to_density = (double)NAN,
                                     .bare_share = bare.share,
                                     .evict_to_dense = (double)NAN };
        double total = 0;
        for (int i = 0; i < steps; i++) total += t[i];
        snprintf(row.method, sizeof row.method, "%s", name);
        row.seconds = bench_median(t, steps);
        row.best_seconds = t[0];
        row.tok_s = 1.0 / row.seconds;
        double full = after.full - before.full, read = after.read - before.read;
        double select = bench_median(choose, steps), attend = bench_median(read_s, steps);
        if (!spec) dense->total = row.seconds, dense->attend = attend;
        row.ratio_to_dense = dense->total / row.seconds;
        row.density =
            (struct sac_density){ (double)NAN, (double)NAN, (double)NAN, full > 0 ? read / full : 1.0 };
        row.select_seconds = select;
        row.attend_seconds = attend;
        row.select_share = (after.select_s - before.select_s) / total;
        row.attend_share = (after.attend_s - before.attend_s) / total;
        if (spec) row.select_to_dense = select / dense->attend;
        if (spec) row.attend_to_density = attend / (row.density.read * dense->attend);
        if (spec) row.bare_to_density = bare.listed_s / (row.density.read * bare.all_s);
        if (kept) row.evict_to_dense = b->evict_s[i_spec] / dense->prefill_attend;
        double bytes = linear_cost(b, 1).bytes + read / steps * (b->m->opts.kv == SAC_KV_F32 ? 4 : 2);
        row.gbytes_s = bytes / row.seconds * 1e-9;
        b->row(b->ctx, &row);
        ceilings_again(b->probe, b->top);
    }
    session_free(s);
    free(t);
    return ok;
}

static bool prepare_evictions(struct bench *b, int n)
{
    size_t cells = (size_t)b->m->hp.shape.n_layers * (size_t)b->m->hp.shape.n_kv_heads;
    b->evicting = calloc((size_t)b->o->n_spec + 1, sizeof *b->evicting);
    b->kept = calloc((size_t)b->o->n_spec + 1, sizeof *b->kept);
    b->evict_s = calloc((size_t)b->o->n_spec + 1, sizeof *b->evict_s);
    bool ok = b->evicting && b->kept && b->evict_s;
    for (int i = 0; ok && i < b->o->n_spec; i++) {
        ok = sac_spec_parse(&b->evicting[i], b->o->spec[i], b->err) == SAC_OK &&
             sac_spec_resolve(&b->evicting[i], &b->m->hp.shape, n, b->err) == SAC_OK;
        if (ok && sac_spec_evict(&b->evicting[i]))
            ok = (b->kept[i] = calloc(cells, sizeof **b->kept)) != NULL;
    }
    return ok;
}

static void free_evictions(struct bench *b)
{
    int cells = b->m->hp.shape.n_layers * b->m->hp.shape.n_kv_heads;
    for (int i = 0; b->kept && i < b->o->n_spec; i++) {
        for (int c = 0; b->kept[i] && c < cells; c++) {
            free(b->kept[i][c].pos);
            free(b->kept[i][c].score);
        }
        free(b->kept[i]);
    }
    free(b->kept);
    free(b->evicting);
    free(b->evict_s);
    b->kept = NULL;
    b->evicting = NULL;
    b->evict_s = NULL;
}

/* Attention of a dense prefill that nobody looks at, if it was the fastest. */
static bool attention_alone(struct bench *b, const struct prefill_args *a, double *seconds)
{
    struct prefill_args alone = *a;
    struct session *s = session_new(b->m, a->n + 1, b->m->opts.kv, b->err);
    alone.layer_done = NULL;
    bool ok = s && session_prefill(s, &alone, b->err) == SAC_OK;
    session_free(s);
    *seconds = fmin(*seconds, alone.attend_s);
    return ok;
}

static bool decodes(struct bench *b, int n)
{
    if (n < 1) n = 1;
    int *ids = prompt_ids(b->m, n, b->o->seed);
    struct session *s = ids ? session_new(b->m, n + b->o->decode + MORE, b->m->opts.kv, b->err) : NULL;
    struct prefill_args a = { .ids = ids, .n = n, .force_layer = -1, .force_kv = -1, .seed = b->o->seed,
                              .layer_done = on_evict, .ctx = b, .cancel = b->o->cancel };
    struct dense_step dense = { 0, 0, 0 };
    bool ok = s && prepare_evictions(b, n), mass = false;
    for (int i = 0; ok && i < b->o->n_spec; i++) mass |= sac_spec_wants_mass(&b->evicting[i]);
    double sums = HUGE_VAL;
    if (mass) {                     /* what it adds to attention is part of choosing: fastest of two, both */
        dense.prefill_attend = HUGE_VAL;
        ok = ok && attention_alone(b, &a, &dense.prefill_attend) &&
             attention_alone(b, &a, &dense.prefill_attend);
        a.want_mass = true;
        ok = ok && attention_alone(b, &a, &sums);
    }
    ok = ok && session_prefill(s, &a, b->err) == SAC_OK && !b->failed;
    if (!mass) dense.prefill_attend = a.attend_s;
    sums = fmin(sums, a.attend_s);
    for (int i = 0; ok && i < b->o->n_spec; i++)
        if (sac_spec_wants_mass(&b->evicting[i])) b->evict_s[i] += fmax(sums - dense.prefill_attend, 0);
    ok = ok && bench_decode(b, s, -1, ids, &dense);
    for (int i = 0; ok && i < b->o->n_spec; i++)
        if (b->kept[i] || sac_spec_decode(&b->evicting[i])) ok = bench_decode(b, s, i, ids, &dense);
    free_evictions(b);
    session_free(s);
    free(ids);
    return ok;
}

enum sac_code sac_bench(struct sac_model *m, const struct sac_bench_opts *o, struct sac_ceilings *top,
                        void (*row)(void *ctx, const struct sac_bench_row *r), void *ctx, struct sac_err *err)
{
    struct sac_err own = { SAC_OK, "" };
    *top = (struct sac_ceilings){ .cpu = k_ops()->name };
    struct bench b = { .m = m, .o = o, .top = top, .row = row, .ctx = ctx, .err = err ? err : &own };
    bool ok = true;
    /* What cannot fit is refused before a prompt is made for it. */
    for (int i = 0; ok && i < o->n_prefill; i++)
        ok = sac_model_check(m, o->prefill[i], 1, 1, 0, false, b.err) == SAC_OK;
    for (int i = 0; ok && o->decode > 0 && i < o->n_context; i++)
        ok = sac_model_check(m, o->context[i] < 1 ? 1 : o->context[i], o->decode, 1, 0, false, b.err) ==
             SAC_OK;
    ok = ok && (b.probe = ceilings_new(m, top, b.err)) != NULL;
    for (int i = 0; ok && i < o->n_prefill; i++) ok = prefills(&b, o->prefill[i]);
    for (int i = 0; ok && o->decode > 0 && i < o->n_context; i++) ok = decodes(&b, o->context[i]);
    ceilings_free(b.probe);
    if (ok) return SAC_OK;
    if (b.err->code) return b.err->code;
    return stopped(&b) ? sac_fail(b.err, SAC_ECANCEL, "stopped")
                       : sac_fail(b.err, SAC_ENOMEM, "out of memory");
}
