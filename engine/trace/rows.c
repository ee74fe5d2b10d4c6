/* Rows of a trace: which keys were read, and the exact weights of a row from its recorded q and k. */
#include "trace/trace_int.h"

#include "kernels.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct layer_rec *trace_layer(const struct sac_trace *t, int lane, int layer)
{
    struct lane_rec *l = trace_lane_rec(t, lane);
    if (!l || !l->layer || layer < 0 || layer >= t->info.shape.n_layers) return NULL;
    const struct layer_rec *r = &l->layer[layer];
    return atomic_load_explicit(&r->ready, memory_order_acquire) ? r : NULL;
}

const struct layer_rec *trace_layer_full(const struct sac_trace *t, int lane, int layer)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    if (r && atomic_load_explicit(&r->absent, memory_order_acquire) && t->load_layer)
        t->load_layer(t, lane, layer);
    return r;
}

int rec_rows(const struct sac_trace *t, const struct layer_rec *r)
{
    return t->info.n_prompt + atomic_load_explicit(&r->n_dec, memory_order_acquire);
}

int sac_trace_n_rows(const struct sac_trace *t, int lane, int layer)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    return r ? rec_rows(t, r) : 0;
}

const float *rec_q(const struct sac_trace *t, const struct layer_rec *r, int head, int row)
{
    const struct sac_shape *s = &t->info.shape;
    size_t d = (size_t)s->head_dim, n = (size_t)t->info.n_prompt;
    if (row < t->info.n_prompt) return (const float *)r->q->data + ((size_t)head * n + (size_t)row) * d;
    size_t g = (size_t)(row - t->info.n_prompt);
    return r->q_dec + (g * (size_t)s->n_heads + (size_t)head) * d;
}

const float *rec_k(const struct sac_trace *t, const struct layer_rec *r, int kv_head, int pos, bool values)
{
    const struct sac_shape *s = &t->info.shape;
    size_t d = (size_t)s->head_dim, n = (size_t)t->info.n_prompt;
    const struct blob *b = values ? r->v : r->k;
    if (pos < t->info.n_prompt) return (const float *)b->data + ((size_t)kv_head * n + (size_t)pos) * d;
    size_t g = (size_t)(pos - t->info.n_prompt);
    return (values ? r->v_dec : r->k_dec) + (g * (size_t)s->n_kv_heads + (size_t)kv_head) * d;
}

int rec_first_key(const struct sac_trace *t, int layer, int row)
{
    int w = t->window[layer];
    return w > 0 && row - w + 1 > 0 ? row - w + 1 : 0;
}

void rec_scores(const struct sac_trace *t, const struct layer_rec *r, int layer, int head, int row, int lo,
                int hi, float *out)
{
    const struct sac_shape *s = &t->info.shape;
    int kv = head / (s->n_heads / s->n_kv_heads), n = t->info.n_prompt;
    float scale = (float)t->scale[layer], cap = (float)t->softcap[layer];
    const float *q = rec_q(t, r, head, row);
    int split = hi < n ? hi : n, at = lo;
    if (at < split) {
        k_ops()->score_f32(q, rec_k(t, r, kv, at, false), s->head_dim, split - at, scale, out);
        at = split;
    }
    for (; at < hi; at++)   /* generated keys of the heads lie between each other */
        k_ops()->score_f32(q, rec_k(t, r, kv, at, false), s->head_dim, 1, scale, out + (at - lo));
    if (cap > 0)
        for (int i = 0; i < hi - lo; i++) out[i] = cap * tanhf(out[i] / cap);
}

bool sac_trace_weights(const struct sac_trace *t, int lane, int layer, int head, int row, float *out)
{
    const struct layer_rec *r = trace_layer_full(t, lane, layer);
    if (!r || row < 0 || row >= rec_rows(t, r) || !r->q || !r->k) return false;
    int first = rec_first_key(t, layer, row), n = row + 1 - first;
    memset(out, 0, (size_t)first * sizeof *out);
    rec_scores(t, r, layer, head, row, first, row + 1, out + first);
    float sum = k_ops()->exp_sum(out + first, n, k_ops()->max(out + first, n));
    float inv = 1.0f / sum;
    for (int i = first; i <= row; i++) out[i] *= inv;
    return true;
}

float sac_trace_lse(const struct sac_trace *t, int lane, int layer, int head, int row)
{
    const struct layer_rec *r = trace_layer_full(t, lane, layer);
    if (!r || row < 0 || row >= rec_rows(t, r) || !r->q || !r->k) return NAN;
    int first = rec_first_key(t, layer, row), n = row + 1 - first;
    float *s = malloc((size_t)n * sizeof *s);
    if (!s) return NAN;
    rec_scores(t, r, layer, head, row, first, row + 1, s);
    float max = k_ops()->max(s, n);
    float lse = max + logf(k_ops()->exp_sum(s, n, max));
    free(s);
    return lse;
}

/* ---- which keys ---- */

static void add_clipped(struct sac_rows *out, int lo, int hi, int first, int row)
{
    if (lo < first) lo = first;
    if (hi > row + 1) hi = row + 1;
    sac_rows_add(out, lo, hi);
}

/* Decode rows whose list was not stored: what eviction kept, and everything generated since. */
static void implied_rows(const struct sac_trace *t, const struct layer_rec *r, int layer, int kv, int row,
                         struct sac_rows *out)
{
    int first = rec_first_key(t, layer, row), n = t->info.n_prompt;
    if (!r->kept) {
        add_clipped(out, 0, row + 1, first, row);
        return;
    }
    for (int i = 0; i < r->kept_n[kv]; i++) add_clipped(out, r->kept[kv][i], r->kept[kv][i] + 1, first, row);
    add_clipped(out, n, row + 1, first, row);
}

bool sac_trace_rows(const struct sac_trace *t, int lane, int layer, int head, int row, struct sac_rows *out)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    out->n = 0;
    if (!r || row < 0 || row >= rec_rows(t, r)) return false;
    const struct sac_shape *s = &t->info.shape;
    int group = s->n_heads / s->n_kv_heads, kv = head / group;
    if (row < t->info.n_prompt) {
        if (r->plans) sac_plan_row(&r->plans->plan[head], row, t->window[layer], out);
        else add_clipped(out, 0, row + 1, rec_first_key(t, layer, row), row);
        return true;
    }
    const struct step_rows *st = r->steps[row - t->info.n_prompt];
    if (!st) {
        implied_rows(t, r, layer, kv, row, out);
        return true;
    }
    int u = st->n_units == s->n_heads ? head : kv;
    for (int i = st->at[u]; i < st->at[u + 1]; i++) sac_rows_add(out, st->run[i].lo, st->run[i].hi);
    return true;
}

/* Columns and diagonals of one row merged: keys v <= row, and row - o for offsets o <= row. */
static void requested_row(const struct sac_plan *p, int row, int first, struct sac_rows *out)
{
    int i = 0, j = p->n_slash - 1;
    while (j >= 0 && p->slash[j] > row) j--;
    for (;;) {
        int v = i < p->n_vertical && p->vertical[i] <= row ? p->vertical[i] : row + 1;
        int o = j >= 0 ? row - p->slash[j] : row + 1;
        int key = v < o ? v : o;
        if (key > row) return;
        if (v == key) i++;
        if (o == key) j--;
        add_clipped(out, key, key + 1, first, row);
    }
}

bool sac_trace_requested(const struct sac_trace *t, int lane, int layer, int head, int row,
                         struct sac_rows *out)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    if (r && row >= 0 && row < t->info.n_prompt && r->plans) {
        const struct sac_plan *p = &r->plans->plan[head];
        if (p->n_vertical + p->n_slash > 0) {
            out->n = 0;
            requested_row(p, row, rec_first_key(t, layer, row), out);
            return true;
        }
    }
    return sac_trace_rows(t, lane, layer, head, row, out);
}

bool sac_trace_forced(const struct sac_trace *t, int lane, int row, int key)
{
    struct lane_rec *l = trace_lane_rec(t, lane);
    if (!l || !l->has_spec) return false;
    int n = t->info.n_prompt;
    const struct sac_part *part;
    if (row < n) {
        part = sac_spec_prefill(&l->spec);
    } else {
        part = sac_spec_decode(&l->spec);
        if (!part) {
            part = sac_spec_evict(&l->spec);
            if (part && key >= n) return true;    /* generated tokens are never evicted */
        }
    }
    return part && part->m->forced && part->m->forced(part->opts.bytes, n, row, key);
}

const struct sac_plan *sac_trace_plan(const struct sac_trace *t, int lane, int layer, int head)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    return r && r->plans ? &r->plans->plan[head] : NULL;
}

int sac_trace_kept(const struct sac_trace *t, int lane, int layer, int kv_head)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    return r && r->kept ? r->kept_n[kv_head] : -1;
}

static int heavier(const void *a, const void *b)
{
    const struct sac_top *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return (x->key > y->key) - (x->key < y->key);
}

int sac_trace_top(const struct sac_trace *t, int lane, int layer, int head, int row, int k,
                  struct sac_top *out)
{
    if (k <= 0 || row < 0) return 0;
    size_t n = (size_t)row + 1;
    float *w = malloc(n * sizeof *w);
    struct sac_run *run = malloc((n / 2 + 1) * sizeof *run);
    struct sac_rows rows = { run, 0, (int)(n / 2 + 1) };
    int got = 0;
    if (w && run && sac_trace_weights(t, lane, layer, head, row, w)) {
        /* A sorted list of the k best so far; most keys fail the first comparison. */
        for (int i = 0; i <= row; i++) {
            if (got == k && w[i] <= out[got - 1].weight) continue;
            int at = got < k ? got++ : got - 1;
            while (at > 0 && out[at - 1].weight < w[i]) out[at] = out[at - 1], at--;
            out[at] = (struct sac_top){ .key = i, .weight = w[i] };
        }
        qsort(out, (size_t)got, sizeof *out, heavier);
        sac_trace_rows(t, lane, layer, head, row, &rows);
        for (int i = 0; i < got; i++) {
            out[i].rank = i + 1;
            out[i].kept = sac_rows_has(&rows, out[i].key);
            out[i].forced = out[i].kept && sac_trace_forced(t, lane, row, out[i].key);
        }
    }
    free(w);
    free(run);
    return got;
}

bool sac_trace_qkv(const struct sac_trace *t, int lane, int layer, float **q, float **k, float **v, int *n)
{
    const struct layer_rec *r = trace_layer_full(t, lane, layer);
    *q = *k = *v = NULL;
    if (!r || !r->q || !r->k || !r->v) return false;
    const struct sac_shape *s = &t->info.shape;
    int rows = rec_rows(t, r);
    size_t d = (size_t)s->head_dim, len = (size_t)rows * d;
    *q = malloc((size_t)s->n_heads * len * sizeof **q);
    *k = malloc((size_t)s->n_kv_heads * len * sizeof **k);
    *v = malloc((size_t)s->n_kv_heads * len * sizeof **v);
    if (!*q || !*k || !*v) {
        free(*q);
        free(*k);
        free(*v);
        *q = *k = *v = NULL;
        return false;
    }
    for (int h = 0; h < s->n_heads; h++)
        for (int i = 0; i < rows; i++)
            memcpy(*q + ((size_t)h * (size_t)rows + (size_t)i) * d, rec_q(t, r, h, i), d * sizeof(float));
    for (int g = 0; g < s->n_kv_heads; g++)
        for (int i = 0; i < rows; i++) {
            size_t at = ((size_t)g * (size_t)rows + (size_t)i) * d;
            memcpy(*k + at, rec_k(t, r, g, i, false), d * sizeof(float));
            memcpy(*v + at, rec_k(t, r, g, i, true), d * sizeof(float));
        }
    *n = rows;
    return true;
}
