/* Prefill attention over plans, row by row: the keys a plan lists for the row's tile, clipped to what the row
 * may see, scored, turned into probabilities and summed. */
#include "model/attend.h"

#include "kernels.h"

#include <math.h>
#include <string.h>

struct pass { struct sac_pool *p; struct attend_prefill *a; atomic_bool failed; };

enum { ROWS = 16 };

static void overview_row(struct attend_overview *o, int head, int n, int row, const struct sac_run *run, int n_run,
                         const float *w)
{
    size_t g = (size_t)o->grid;
    size_t at = ((size_t)head * g + (((size_t)row + 1) * g - 1) / (size_t)n) * g;
    for (int i = 0; i < n_run; i++)
        for (int key = run[i].lo; key < run[i].hi; key++, w++) {
            size_t bin = at + (((size_t)key + 1) * g - 1) / (size_t)n;
            o->mass[bin] += *w;
            if (*w > o->max[bin]) o->max[bin] = *w;
        }
}

/* Runs that the row reads: from its tile of the plan, or one run; clipped to causality and window. */
static int row_runs(const struct attend_prefill *a, int head, int row, struct sac_run *out)
{
    int first = a->window > 0 && row - a->window + 1 > 0 ? row - a->window + 1 : 0, n = 0;
    if (!a->plan) {
        out[0] = (struct sac_run){ first, row + 1 };
        return 1;
    }
    const struct sac_plan *p = &a->plan[head];
    size_t t = (size_t)(row / p->tile);
    for (size_t i = p->at[t]; i < p->at[t + 1]; i++) {
        int lo = p->run[i].lo > first ? p->run[i].lo : first;
        int hi = p->run[i].hi < row + 1 ? p->run[i].hi : row + 1;
        if (lo < hi) out[n++] = (struct sac_run){ lo, hi };
    }
    return n;
}

static void one_row(struct attend_prefill *a, int head, int row, float *s, struct sac_run *run)
{
    const struct k_ops *ops = k_ops();
    int dim = a->head_dim, n_run = row_runs(a, head, row, run), n = 0;
    size_t kv = (size_t)(head / (a->n_heads / a->n_kv_heads)) * a->k_stride;
    const float *q = a->q + (size_t)head * a->q_stride + (size_t)row * (size_t)dim;
    float *out = a->out + (size_t)row * a->ldo + (size_t)head * (size_t)dim;
    for (int i = 0; i < n_run; i++) {
        int len = run[i].hi - run[i].lo;
        ops->score_f32(q, a->k + kv + (size_t)run[i].lo * (size_t)dim, dim, len, a->scale, s + n);
        n += len;
    }
    for (int i = 0; a->softcap > 0 && i < n; i++) s[i] = a->softcap * tanhf(s[i] / a->softcap);
    float max = ops->max(s, n), sum = n ? ops->exp_sum(s, n, max) : 0.0f;
    memset(out, 0, (size_t)dim * sizeof *out);
    if (a->lse) a->lse[(size_t)head * (size_t)a->n + (size_t)row] = n ? max + logf(sum) : -INFINITY;
    if (!n) return;
    const float *w = s;
    for (int i = 0; i < n; i++) s[i] /= sum;
    for (int i = 0; i < n_run; i++)
        for (int key = run[i].lo; key < run[i].hi; key++, w++) {
            const float *v = a->v + kv + (size_t)key * (size_t)dim;
            for (int d = 0; d < dim; d++) out[d] += *w * v[d];
        }
    if (a->overview) overview_row(a->overview, head, a->n, row, run, n_run, s);
}

/* Units are (head, rows); the rows of one head's overview must not meet in two threads, so with an overview a
 * unit is a whole head. */
static void rows_unit(void *ctx, int lo, int hi, int thread)
{
    struct pass *c = ctx;
    struct attend_prefill *a = c->a;
    int per_head = a->overview ? 1 : (a->n + ROWS - 1) / ROWS, rows = a->overview ? a->n : ROWS;
    size_t n = (size_t)a->n;
    char *mem = pool_scratch(c->p, thread, n * sizeof(float) + (n / 2 + 2) * sizeof(struct sac_run) + 64);
    if (!mem) {
        atomic_store(&c->failed, true);
        return;
    }
    float *s = (float *)mem;
    struct sac_run *run = (struct sac_run *)(mem + (n * sizeof(float) + 63) / 64 * 64);
    for (int u = lo; u < hi; u++) {
        int head = u / per_head, row0 = u % per_head * rows;
        for (int row = row0; row < row0 + rows && row < a->n; row++) {
            if (a->cancel && atomic_load_explicit(a->cancel, memory_order_relaxed)) return;
            one_row(a, head, row, s, run);
        }
    }
}

bool attend_prefill(struct sac_pool *p, struct attend_prefill *a)
{
    struct pass c = { .p = p, .a = a };
    int per_head = a->overview ? 1 : (a->n + ROWS - 1) / ROWS;
    if (a->overview) {
        size_t cells = (size_t)a->n_heads * (size_t)a->overview->grid * (size_t)a->overview->grid;
        memset(a->overview->max, 0, cells * sizeof(float));
        memset(a->overview->mass, 0, cells * sizeof(float));
    }
    pool_run(p, a->n_heads * per_head, 1, rows_unit, &c);
    a->flops = 4.0 * a->head_dim * a->n_heads * ((double)a->n * (a->n + 1) / 2);
    if (a->overview)   /* mass is a mean over the rows of a bin */
        for (int h = 0; h < a->n_heads; h++)
            for (int b = 0; b < a->overview->grid; b++) {
                size_t g = (size_t)a->overview->grid, n = (size_t)a->n;
                size_t rows = ((size_t)b + 1) * n / g - (size_t)b * n / g;
                float *cell = a->overview->mass + ((size_t)h * g + (size_t)b) * g;
                for (size_t i = 0; i < g; i++) cell[i] /= (float)(rows ? rows : 1);
            }
    return !atomic_load(&c.failed) && !(a->cancel && atomic_load(a->cancel));
}
