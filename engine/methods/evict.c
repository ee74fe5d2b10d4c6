/* What methods that shrink the cache after the prompt share: running their two stages, importance of keys from
 * the last rows, and turning scores into kept positions. */
#include "methods.h"

#include "base/pool.h"
#include "kernels.h"

#include <stdatomic.h>
#include <string.h>

/* ---- the two stages ---- */

struct weighing {
    struct sac_prefill_in in;
    const struct sac_part *part;
    int threads;
    float *weight;                  /* [n_heads][n] */
    struct sac_arena *scratch;      /* [threads] */
    atomic_bool failed;
};

static void weigh_heads(void *ctx, int lo, int hi, int thread)
{
    struct weighing *w = ctx;
    struct sac_arena *scratch = &w->scratch[thread];
    for (int i = lo; i < hi; i++) {
        int h = shared_turn(&w->in, w->threads, i);
        struct sac_arena_mark mark = sac_arena_mark(scratch);
        float *out = w->weight + (size_t)h * (size_t)w->in.n;
        if (!w->part->m->weigh(&w->in, w->part->opts.bytes, h, out, scratch)) atomic_store(&w->failed, true);
        sac_arena_rewind(scratch, mark);
        shared_done(w->in.shared, h / in_group(&w->in));
    }
}

/* weight[n_heads][n], NULL: out of memory. */
static float *weigh(struct sac_pool *pool, const struct sac_prefill_in *in, const struct sac_part *part,
                    struct sac_arena *a)
{
    struct weighing w = { .in = *in, .part = part, .threads = pool ? pool_threads(pool) : 1 };
    w.weight = sac_arena_floats(a, (size_t)in->n_heads * (size_t)in->n);
    w.scratch = sac_arena_alloc(a, sizeof *w.scratch * (size_t)w.threads);
    if (!w.weight || !w.scratch) return NULL;
    struct sac_shared *shared = w.in.shared = shared_new(in);  /* NULL: every head packs its own */
    if (pool) pool_run(pool, in->n_heads, 1, weigh_heads, &w);
    else weigh_heads(&w, 0, in->n_heads, 0);
    shared_free(shared);
    for (int t = 0; t < w.threads; t++) sac_arena_free(&w.scratch[t]);
    return atomic_load(&w.failed) ? NULL : w.weight;
}

bool evict_layer(struct sac_pool *pool, const struct sac_prefill_in *in, const struct sac_part *part,
                 struct sac_kept *kept, struct sac_arena *scratch)
{
    float *weight = part->m->weigh ? weigh(pool, in, part, scratch) : NULL;
    if (part->m->weigh && !weight) return false;
    return part->m->evict(in, part->opts.bytes, weight, kept, scratch);
}

/* ---- votes ---- */

struct group_sum { enum group_reduce how; float *row; };

static void add_block(void *ctx, int row0, int m, const float *e, size_t ld, const float *inv)
{
    struct group_sum *s = ctx;
    if (s->how == GROUP_MEAN_SUM) k_ops()->add_rows(s->row, e, ld, inv, m, row0 + m);
    for (int r = 0; s->how == GROUP_MAX_MAX && r < m; r++)
        for (int j = 0; j <= row0 + r; j++) {
            float p = e[(size_t)r * ld + (size_t)j] * inv[r];
            s->row[j] = s->row[j] > p ? s->row[j] : p;
        }
}

bool evict_votes(const struct sac_prefill_in *in, int head, int window, enum group_reduce how, float *vote,
                 struct sac_arena *a)
{
    int rows = in_last_rows(in, window), first = in->n - rows;
    struct sac_arena_mark mark = sac_arena_mark(a);
    struct panels panels;
    if (!scores_pack(in, head / in_group(in), rows, &panels, a)) return false;
    bool done = false;
    if (how == GROUP_MEAN_SUM && strips_fit(in, &panels)) {
        float *by_offset = sac_arena_floats(a, (size_t)in->n);
        if (!by_offset || !strips_add(in, head, first, rows, &panels, vote, by_offset, &done, a)) return false;
    }
    if (!done) {
        struct group_sum s = { how, vote };
        memset(vote, 0, sizeof *vote * (size_t)in->n);
        if (!scores_each_block(in, head, first, rows, &panels, add_block, &s, a)) return false;
    }
    sac_arena_rewind(a, mark);
    return true;
}

void evict_group(const struct sac_prefill_in *in, int kv_head, enum group_reduce how, const float *weight,
                 float *vote)
{
    int n = in->n, group = in_group(in);
    weight += (size_t)(kv_head * group) * (size_t)n;
    memcpy(vote, weight, sizeof *vote * (size_t)n);
    for (int g = 1; g < group; g++) {
        weight += n;
        if (how == GROUP_MEAN_SUM) k_ops()->add(vote, weight, n);
        for (int j = 0; how == GROUP_MAX_MAX && j < n; j++) vote[j] = vote[j] > weight[j] ? vote[j] : weight[j];
    }
    for (int j = 0; how == GROUP_MEAN_SUM && j < n; j++) vote[j] /= (float)group;
}

/* ---- choices ---- */

bool evict_keep(struct sac_kept *kept, const float *score, int n, int cap, struct sac_arena *a)
{
    kept->score = NULL;
    kept->pos = sac_arena_alloc(a, sizeof *kept->pos * (size_t)imax(imin(cap, n), 1));
    if (!kept->pos) return false;
    kept->n = topk(score, n, cap, kept->pos);
    return true;
}

bool evict_keep_all(struct sac_kept *kept, int n, struct sac_arena *a)
{
    kept->score = NULL;
    kept->n = n;
    kept->pos = sac_arena_alloc(a, sizeof *kept->pos * (size_t)imax(n, 1));
    for (int j = 0; kept->pos && j < n; j++) kept->pos[j] = j;
    return kept->pos != NULL;
}

bool ada_allocate(float *score, int n, int heads, int capacity, int floor, struct sac_kept *kept,
                  struct sac_arena *a)
{
    size_t all = (size_t)n * (size_t)heads;
    int *idx = sac_arena_alloc(a, sizeof *idx * all);
    if (!idx) return false;
    for (int h = 0; h < heads; h++) {            /* a head's floor ranks above everything else */
        float *s = score + (size_t)h * (size_t)n;
        int m = topk(s, n, floor, idx);
        for (int i = 0; i < m; i++) s[idx[i]] = INFINITY;
    }
    int total = topk(score, (int)all, (int)imin(capacity, n) * heads, idx);
    for (int h = 0, i = 0; h < heads; h++) {
        int first = i;
        while (i < total && idx[i] / n == h) i++;
        kept[h] = (struct sac_kept){ .n = i - first, .pos = idx + first };
        for (int j = first; j < i; j++) idx[j] -= h * n;
    }
    return true;
}
