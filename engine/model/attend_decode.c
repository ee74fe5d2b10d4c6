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

enum { CHUNK = 512 };

/* Units: KV heads, or query heads where each has rows of its own. */
struct step {
    struct sac_pool *p;
    const struct attend_decode *a;
    int n_units, heads;             /* heads of a unit */
    int n_chunks;                   /* of all units */
    float *part;                    /* [n_chunks][heads][dim + 2]: output, maximum, sum */
};

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

static void one_chunk(const struct step *c, int unit, int from, int to, float *s, float *part)
{
    const struct attend_decode *a = c->a;
    const struct k_ops *ops = k_ops();
    int dim = a->head_dim, kv = unit_kv(c, unit), head0 = unit * c->heads, n = to - from, i = 0, seen = 0;
    const struct attend_cache *cache = &a->kv[kv];
    enum k_type type = stored(cache->type);
    struct sac_run all;
    struct sac_rows rows = unit_rows(a, unit, kv, &all);
    struct span sp;
    while (next_span(&rows, from, to, &i, &seen, &sp))
        ops->scores(type, a->q + (size_t)head0 * (size_t)dim, c->heads,
                    slot_at(cache, cache->k, sp.slot, dim), dim, sp.n, a->scale, s + sp.at, CHUNK);
    memset(part, 0, (size_t)c->heads * (size_t)dim * sizeof *part);
    float *max = part + (size_t)c->heads * (size_t)dim, *sum = max + c->heads;
    for (int h = 0; h < c->heads; h++) {
        float *w = s + (size_t)h * CHUNK;
        for (int j = 0; a->softcap > 0 && j < n; j++) w[j] = a->softcap * tanhf(w[j] / a->softcap);
        max[h] = ops->max(w, n);
        sum[h] = ops->exp_sum(w, n, max[h]);
        if (a->weight) memcpy(a->weight[head0 + h] + from, w, (size_t)n * sizeof *w);
    }
    i = seen = 0;
    while (next_span(&rows, from, to, &i, &seen, &sp))
        ops->values(type, s + sp.at, CHUNK, c->heads, slot_at(cache, cache->v, sp.slot, dim), dim, sp.n,
                    part);
}

static size_t part_floats(const struct step *c) { return (size_t)c->heads * ((size_t)c->a->head_dim + 2); }

static void chunks(void *ctx, int lo, int hi, int thread)
{
    struct step *c = ctx;
    float *s = pool_scratch(c->p, thread, (size_t)c->heads * CHUNK * sizeof *s);
    int unit = 0, before = 0, slots = unit_slots(c, 0);
    for (int k = lo; k < hi && s; k++) {
        while (k - before >= (slots + CHUNK - 1) / CHUNK) {
            before += (slots + CHUNK - 1) / CHUNK;
            slots = unit_slots(c, ++unit);
        }
        int from = (k - before) * CHUNK, to = from + CHUNK < slots ? from + CHUNK : slots;
        one_chunk(c, unit, from, to, s, c->part + (size_t)k * part_floats(c));
    }
}

static void merge(const struct step *c, int unit, int first, int n)
{
    const struct attend_decode *a = c->a;
    int dim = a->head_dim;
    for (int h = 0; h < c->heads; h++) {
        int head = unit * c->heads + h;
        float *out = a->out + (size_t)head * (size_t)dim, max = -INFINITY, sum = 0.0f;
        size_t at_max = (size_t)c->heads * (size_t)dim + (size_t)h, at_sum = at_max + (size_t)c->heads;
        const float *part = c->part + (size_t)first * part_floats(c);
        for (int k = 0; k < n; k++) max = fmaxf(max, part[(size_t)k * part_floats(c) + at_max]);
        memset(out, 0, (size_t)dim * sizeof *out);
        for (int k = 0; k < n; k++, part += part_floats(c)) {
            float z = expf(part[at_max] - max);
            sum += z * part[at_sum];
            for (int d = 0; d < dim; d++) out[d] += z * part[(size_t)h * (size_t)dim + (size_t)d];
        }
        for (int d = 0; d < dim && n; d++) out[d] /= sum;
        if (a->lse) a->lse[head] = n ? max + logf(sum) : -INFINITY;
        int slots = a->weight ? unit_slots(c, unit) : 0;
        part = c->part + (size_t)first * part_floats(c);
        for (int i = 0; i < slots; i += CHUNK, part += part_floats(c)) {
            float z = expf(part[at_max] - max) / sum;
            for (int j = i; j < slots && j < i + CHUNK; j++) a->weight[head][j] *= z;
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
    for (int u = 0; u < c.n_units; u++) c.n_chunks += (unit_slots(&c, u) + CHUNK - 1) / CHUNK;
    c.part = pool_scratch(p, -1, ((size_t)c.n_chunks * part_floats(&c) + 1) * sizeof *c.part);
    if (!c.part) {
        memset(a->out, 0, (size_t)a->n_heads * (size_t)a->head_dim * sizeof *a->out);
        return;
    }
    pool_run(p, c.n_chunks, 1, chunks, &c);
    for (int u = 0, first = 0; u < c.n_units; u++) {
        int n = (unit_slots(&c, u) + CHUNK - 1) / CHUNK;
        merge(&c, u, first, n);
        first += n;
    }
}
