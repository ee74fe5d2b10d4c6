/* `saccade select`: a method on given queries, keys and values. Owns reading them, prefill plans with their
 * outputs, and eviction; decode steps are in select_decode.c, attention itself in model/attend.c. */
#include "study/select_int.h"

#include "base/cpu.h"
#include "kernels.h"
#include "methods/methods.h"
#include "model/attend.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double select_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum sac_code select_put(struct select_run *r, enum st_dtype type, int n_dims, const int64_t *shape,
                         const void *data, const char *fmt, ...)
{
    if (!r->w) return SAC_OK;
    char name[96];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return st_add(r->w, name, type, n_dims, shape, data, r->err);
}

/* ---- input ---- */

static enum sac_code load(struct select_run *r, const struct st_file *f, const char *name, int64_t shape[3],
                          float **out)
{
    const struct st_tensor *t = st_find(f, name);
    const char *path = r->a->qkv;
    if (!t)
        return sac_fail(r->err, SAC_EFORMAT, "%s: no tensor '%s': expected q [Hq,T,D], k and v [Hkv,T,D]",
                        path, name);
    if (t->n_dims != 3)
        return sac_fail(r->err, SAC_EFORMAT,
                        "%s: tensor '%s' has %d dimensions, expected 3 (heads, tokens, head size)", path,
                        name, t->n_dims);
    size_t width = t->dtype == ST_F32 ? 4 : t->dtype == ST_F16 || t->dtype == ST_BF16 ? 2 : 0, count = 1;
    if (!width) return sac_fail(r->err, SAC_EFORMAT, "%s: tensor '%s' must be f32, f16 or bf16", path, name);
    for (int i = 0; i < 3; i++) {
        shape[i] = t->shape[i];
        if (shape[i] < 1 || shape[i] > 1 << 24)
            return sac_fail(r->err, SAC_EFORMAT, "%s: tensor '%s' has a dimension of %lld", path, name,
                            (long long)shape[i]);
        count *= (size_t)shape[i];
    }
    if (count * width > t->bytes || count > (size_t)1 << 33)
        return sac_fail(r->err, SAC_EFORMAT, "%s: tensor '%s' has %zu bytes for %zu values", path, name,
                        t->bytes, count);
    *out = malloc(count * sizeof **out);
    if (!*out)
        return sac_fail(r->err, SAC_ENOMEM, "%s: out of memory for '%s' (%zu values)", path, name, count);
    enum { PIECE = 1 << 20 };
    for (size_t at = 0; at < count; at += PIECE) {
        int m = (int)(count - at < PIECE ? count - at : PIECE);
        const unsigned char *src = (const unsigned char *)t->data + at * width;
        uint16_t *half = width == 2 ? malloc((size_t)m * sizeof *half) : NULL;   /* data may be unaligned */
        if (width == 2 && !half) return sac_fail(r->err, SAC_ENOMEM, "%s: out of memory", path);
        if (half) memcpy(half, src, (size_t)m * sizeof *half);
        if (t->dtype == ST_F32) memcpy(*out + at, src, (size_t)m * sizeof **out);
        else if (t->dtype == ST_F16) k_ops()->from_f16(half, m, *out + at);
        else k_ops()->from_bf16(half, m, *out + at);
        free(half);
    }
    for (size_t i = 0; i < count; i++)
        if (!isfinite((*out)[i]))
            return sac_fail(r->err, SAC_EFORMAT, "%s: tensor '%s' has a value that is not finite at %zu",
                            path, name, i);
    return SAC_OK;
}

static enum sac_code load_all(struct select_run *r)
{
    struct st_file f = { 0 };
    int64_t q[3] = { 0 }, k[3] = { 0 }, v[3] = { 0 };
    enum sac_code rc = st_open(&f, r->a->qkv, r->err);
    if (rc) return rc;
    if (!(rc = load(r, &f, "q", q, &r->q)) && !(rc = load(r, &f, "k", k, &r->k)))
        rc = load(r, &f, "v", v, &r->v);
    st_close(&f);
    if (rc) return rc;
    if (memcmp(k, v, sizeof k) || k[1] != q[1] || k[2] != q[2] || q[0] % k[0])
        return sac_fail(r->err, SAC_EFORMAT,
                        "%s: q [%lld,%lld,%lld] does not go with k [%lld,%lld,%lld] and v "
                        "[%lld,%lld,%lld]: expected [Hq,T,D], [Hkv,T,D] twice, Hq a multiple of Hkv",
                        r->a->qkv, (long long)q[0], (long long)q[1], (long long)q[2], (long long)k[0],
                        (long long)k[1], (long long)k[2], (long long)v[0], (long long)v[1], (long long)v[2]);
    r->n_heads = (int)q[0];
    r->n_kv_heads = (int)k[0];
    r->n = (int)q[1];
    r->dim = (int)q[2];
    return SAC_OK;
}

/* ---- prefill and eviction ---- */

static struct sac_prefill_in prefill_in(const struct select_run *r)
{
    size_t stride = (size_t)r->n * (size_t)r->dim;
    return (struct sac_prefill_in){ .n_layers = 1,
                                    .n = r->n,
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
}

struct plan_job {
    const struct sac_part *part;
    struct sac_prefill_in in;
    struct sac_plan *plan;
    struct sac_arena *scratch;   /* [threads] */
    bool *ok;                    /* [n_heads] */
};

static void plan_heads(void *ctx, int lo, int hi, int thread)
{
    struct plan_job *j = ctx;
    for (int h = lo; h < hi; h++) {
        struct sac_arena_mark mark = sac_arena_mark(&j->scratch[thread]);
        j->ok[h] = j->part->m->plan(&j->in, j->part->opts.bytes, h, &j->plan[h], &j->scratch[thread]);
        sac_arena_rewind(&j->scratch[thread], mark);
    }
}

static bool make_plans(struct select_run *r, const struct sac_part *part, struct sac_plan *plan)
{
    int threads = pool_threads(r->pool);
    struct plan_job j = { .part = part, .in = prefill_in(r), .plan = plan,
                          .scratch = calloc((size_t)threads, sizeof *j.scratch),
                          .ok = calloc((size_t)r->n_heads, sizeof *j.ok) };
    bool ok = j.scratch && j.ok;
    double t0 = select_clock();
    if (ok) pool_run(r->pool, r->n_heads, 1, plan_heads, &j);
    r->out->select_s += select_clock() - t0;
    for (int h = 0; ok && h < r->n_heads; h++) ok = j.ok[h];
    for (int t = 0; j.scratch && t < threads; t++) sac_arena_free(&j.scratch[t]);
    free(j.scratch);
    free(j.ok);
    return ok;
}

static enum sac_code put_runs(struct select_run *r, const char *name, int head, const struct sac_plan *p)
{
    int *rows = malloc(sizeof *rows * 3 * (p->n_run + 1)), at = 0;
    if (!rows) return sac_fail(r->err, SAC_ENOMEM, "out of memory for the runs of head %d", head);
    for (int t = 0; t < p->n_tiles; t++)
        for (size_t i = p->at[t]; i < p->at[t + 1]; i++) {
            rows[at++] = t;
            rows[at++] = p->run[i].lo;
            rows[at++] = p->run[i].hi < p->n_rows ? p->run[i].hi : p->n_rows;
        }
    int64_t shape[2] = { at / 3, 3 };
    enum sac_code rc = select_put(r, ST_I32, 2, shape, rows, "%s.h%d.runs", name, head);
    free(rows);
    return rc;
}

/* [tiles, top_blocks], also where a tile has fewer blocks than that. */
static enum sac_code put_blocks(struct select_run *r, const char *name, int head, const struct sac_plan *p)
{
    const struct sac_part *part = sac_spec_prefill(&r->spec);
    double top = part ? sac_part_get(part, "top_blocks") : 0;
    int wide = top > p->blocks_per_tile && top <= 65536 ? (int)top : p->blocks_per_tile;
    size_t row = (size_t)wide, have = (size_t)p->blocks_per_tile, tiles = (size_t)p->n_tiles;
    int *list = malloc(sizeof *list * (row * tiles + 1));
    if (!list) return sac_fail(r->err, SAC_ENOMEM, "out of memory for the blocks of head %d", head);
    memset(list, 0xff, sizeof *list * row * tiles);
    for (size_t t = 0; t < tiles; t++) memcpy(list + t * row, p->blocks + t * have, sizeof *list * have);
    int64_t shape[2] = { p->n_tiles, wide };
    enum sac_code rc = select_put(r, ST_I32, 2, shape, list, "%s.h%d.blocks", name, head);
    free(list);
    return rc;
}

static enum sac_code put_head(struct select_run *r, const char *name, int head, const struct sac_plan *p,
                              const float *out)
{
    enum sac_code rc = put_runs(r, name, head, p);
    int64_t nv = p->n_vertical, ns = p->n_slash;
    int64_t shape[2] = { r->n, r->dim };
    if (!rc && p->vertical) rc = select_put(r, ST_I32, 1, &nv, p->vertical, "%s.h%d.vertical", name, head);
    if (!rc && p->slash) rc = select_put(r, ST_I32, 1, &ns, p->slash, "%s.h%d.slash", name, head);
    if (!rc && p->blocks) rc = put_blocks(r, name, head, p);
    if (!rc) rc = select_put(r, ST_F32, 2, shape, out, "%s.out.h%d", name, head);
    return rc;
}

/* Densities of the plans, one for each query head; what decode reads or eviction keeps is there already, for
 * each query or KV head. */
static void merge_density(struct select_run *r, const struct sac_plan *plan)
{
    struct sac_density *d = r->out->density;
    int have = r->out->n_density, per = have ? r->n_heads / have : 1;
    for (int h = r->n_heads - 1; h >= 0; h--) {
        double read = have ? d[h / per].read : (double)NAN;
        d[h] = sac_plan_density(&plan[h]);
        d[h].read = read;
    }
    r->out->n_density = r->n_heads;
}

static enum sac_code run_prefill(struct select_run *r, const struct sac_part *part)
{
    const char *name = part ? part->m->name : "dense";
    size_t stride = (size_t)r->n * (size_t)r->dim, heads = (size_t)r->n_heads;
    struct sac_plan *plan = calloc(heads, sizeof *plan);
    float *rows = malloc(sizeof *rows * stride * heads), *one = malloc(sizeof *one * stride);
    bool ok = plan && rows && one;
    for (int h = 0; ok && !part && h < r->n_heads; h++) ok = sac_plan_dense(&plan[h], r->n);
    if (ok && part) ok = make_plans(r, part, plan);
    enum sac_code rc = SAC_OK;
    if (ok) {
        struct sac_prefill_in in = prefill_in(r);
        size_t ldo = heads * (size_t)r->dim;
        struct attend_prefill a = { .n_heads = r->n_heads,
                                    .n_kv_heads = r->n_kv_heads,
                                    .head_dim = r->dim,
                                    .n = r->n,
                                    .scale = in.scale,
                                    .q = r->q,
                                    .k = r->k,
                                    .v = r->v,
                                    .q_stride = stride,
                                    .k_stride = stride,
                                    .plan = plan,
                                    .out = rows,
                                    .ldo = ldo,
                                    .strict = true };
        double t0 = select_clock();
        ok = attend_prefill(r->pool, &a);
        r->out->attend_s += select_clock() - t0;
        for (int h = 0; ok && !rc && h < r->n_heads; h++) {
            for (size_t t = 0; t < (size_t)r->n; t++)
                memcpy(one + t * (size_t)r->dim, rows + t * ldo + (size_t)h * (size_t)r->dim,
                       sizeof *one * (size_t)r->dim);
            rc = put_head(r, name, h, &plan[h], one);
        }
        merge_density(r, plan);
    }
    for (size_t h = 0; plan && h < heads; h++) sac_plan_free(&plan[h]);
    free(plan);
    free(rows);
    free(one);
    return ok ? rc
              : sac_fail(r->err, SAC_ENOMEM, "%s: out of memory for %d heads of %d tokens", name, r->n_heads,
                         r->n);
}

static enum sac_code run_evict(struct select_run *r, const struct sac_part *part)
{
    struct sac_arena scratch = { 0 };
    size_t n = (size_t)r->n, heads = (size_t)r->n_kv_heads;
    struct sac_kept *kept = calloc(heads, sizeof *kept);
    uint8_t *mask = calloc(heads, n);
    struct sac_prefill_in in = prefill_in(r);
    double t0 = select_clock();
    bool ok = kept && mask && evict_layer(r->pool, &in, part, kept, &scratch);
    r->out->select_s += select_clock() - t0;
    enum sac_code rc = SAC_OK;
    if (ok) {
        for (size_t h = 0; h < heads; h++) {
            for (int i = 0; i < kept[h].n; i++) mask[h * n + (size_t)kept[h].pos[i]] = 1;
            double nan = (double)NAN, share = (double)kept[h].n / r->n;
            r->out->density[h] = (struct sac_density){ nan, nan, nan, share };
        }
        r->out->n_density = r->n_kv_heads;
        int64_t shape[2] = { r->n_kv_heads, r->n };
        rc = select_put(r, ST_U8, 2, shape, mask, "%s.kept", part->m->name);
    }
    free(kept);
    free(mask);
    sac_arena_free(&scratch);
    return ok ? rc : sac_fail(r->err, SAC_ENOMEM, "%s: out of memory for %d tokens", part->m->name, r->n);
}

/* ---- the whole ---- */

static enum sac_code put_density(struct select_run *r)
{
    int n = r->out->n_density;
    float *d = malloc(sizeof *d * 4 * (size_t)(n + 1));
    if (!d) return sac_fail(r->err, SAC_ENOMEM, "out of memory");
    for (int h = 0; h < n; h++) {
        const struct sac_density *x = &r->out->density[h];
        const double v[4] = { x->pattern, x->kernel, x->work, x->read };
        for (int i = 0; i < 4; i++) d[4 * h + i] = (float)v[i];
    }
    int64_t shape[2] = { n, 4 };
    enum sac_code rc = select_put(r, ST_F32, 2, shape, d, "%s.density", r->out->method);
    free(d);
    return rc;
}

/* Check everything that can be refused, before the output file is touched. */
static enum sac_code settle(struct select_run *r)
{
    struct sac_shape s = { .n_layers = 1,
                           .n_heads = r->n_heads,
                           .n_kv_heads = r->n_kv_heads,
                           .head_dim = r->dim,
                           .n_embd = r->n_heads * r->dim,
                           .max_ctx = r->n };
    bool acts = sac_spec_decode(&r->spec) || sac_spec_evict(&r->spec);
    if (r->a->decode_last >= r->n)
        return sac_fail(r->err, SAC_EARG,
                        "--decode-last %d: the file has %d tokens and at least one must come "
                        "before: use %d",
                        r->a->decode_last, r->n, r->n - 1);
    if (r->a->decode_last && !acts)
        return sac_fail(r->err, SAC_EARG, "--decode-last: %s does not act in decode", r->spec.text);
    enum sac_code rc = sac_spec_resolve(&r->spec, &s, r->n, r->err);
    if (rc) return rc;
    snprintf(r->out->method, sizeof r->out->method, "%s", r->spec.part[0].m->name);
    sac_spec_params(&r->spec, r->out->params, sizeof r->out->params);
    snprintf(r->out->note, sizeof r->out->note, "%s", r->spec.note);
    r->out->n = r->n;
    r->out->n_heads = r->n_heads;
    r->out->n_kv_heads = r->n_kv_heads;
    r->out->head_dim = r->dim;
    r->out->density = calloc((size_t)r->n_heads, sizeof *r->out->density);
    return r->out->density ? SAC_OK : sac_fail(r->err, SAC_ENOMEM, "out of memory");
}

static enum sac_code run_all(struct select_run *r)
{
    const struct sac_part *prefill = sac_spec_prefill(&r->spec), *evict = sac_spec_evict(&r->spec);
    const struct sac_part *decode = sac_spec_decode(&r->spec);
    int steps = r->a->decode_last ? r->a->decode_last : !prefill && !evict && decode ? 8 : 0;
    if (steps >= r->n) steps = r->n - 1;
    r->out->steps = steps;
    /* Where a method acts in several phases, `read` is that of decode rather than the share kept. */
    enum sac_code rc = evict ? run_evict(r, evict) : SAC_OK;
    if (!rc && steps > 0) rc = select_decode(r, steps);
    if (!rc && (prefill || (!evict && !decode))) rc = run_prefill(r, prefill);
    return rc ? rc : put_density(r);
}

enum sac_code sac_select_run(const struct sac_select_args *a, struct sac_select_result *out,
                             struct sac_err *err)
{
    struct select_run r = { .a = a, .out = out, .err = err };
    memset(out, 0, sizeof *out);
    enum sac_code rc = cpu_choose(err);
    if (!rc) rc = sac_spec_parse(&r.spec, a->spec, err);
    if (!rc) rc = load_all(&r);
    if (!rc) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        r.pool = pool_new(a->threads ? a->threads : cores > 0 ? (int)cores : 1, 0);
        if (!r.pool) rc = sac_fail(err, SAC_ENOMEM, "cannot start threads");
    }
    if (!rc) rc = settle(&r);
    if (!rc && a->out) rc = st_create(&r.w, a->out, a->force, err);
    if (!rc) rc = run_all(&r);
    if (r.w) {
        enum sac_code done = st_finish(r.w, err);
        if (rc) remove(a->out);                    /* incomplete */
        else rc = done;
    }
    if (r.pool) pool_free(r.pool);
    free(r.q);
    free(r.k);
    free(r.v);
    if (rc) sac_select_free(out);
    return rc;
}

void sac_select_free(struct sac_select_result *r)
{
    free(r->density);
    r->density = NULL;
    r->n_density = 0;
}
