/* Several rows of a head at once, for measures: a key or a value that is read once meets all rows that see it.
 * A measure asks for one row at a time and finds it here. */
#include "trace/trace_int.h"

#include "kernels.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool scored_init(struct scored *s, int n_keys, int dim)
{
    s->stride = (size_t)n_keys + 1;
    s->x = malloc(SCORED_ROWS * s->stride * sizeof *s->x);
    s->q = malloc(SCORED_ROWS * (size_t)dim * sizeof *s->q);
    s->out = malloc(SCORED_ROWS * (size_t)dim * sizeof *s->out);
    s->n = 0;
    return s->x && s->q && s->out;
}

void scored_free(struct scored *s)
{
    free(s->x);
    free(s->q);
    free(s->out);
    memset(s, 0, sizeof *s);
}

void scored_rows(struct scored *s, const struct sac_trace *t, const struct layer_rec *r, int layer, int head,
                 const int *row, int n)
{
    const struct sac_shape *sh = &t->info.shape;
    int dim = sh->head_dim, prompt = t->info.n_prompt, at = rec_first_key(t, layer, row[0]);
    s->n = 0;
    s->weighed = s->has_out = false;
    if (!s->x || t->window[layer] > 0 || (size_t)row[n - 1] + 1 > s->stride) return;
    for (int i = 0; i < n; i++) {
        s->row[i] = row[i];
        memcpy(s->q + (size_t)i * (size_t)dim, rec_q(t, r, head, row[i]), (size_t)dim * sizeof *s->q);
    }
    const float *k = rec_k(t, r, head / (sh->n_heads / sh->n_kv_heads), 0, false);
    for (int i = 0; i < n; i++) {                   /* the keys that rows i and later see, and none before */
        int end = row[i] < prompt ? row[i] + 1 : prompt;
        if (end <= at) continue;
        k_ops()->scores(K_F32, s->q + (size_t)i * (size_t)dim, n - i, k + (size_t)at * (size_t)dim, dim,
                        end - at, (float)t->scale[layer], scored_row(s, i) + at, s->stride);
        at = end;
    }
    float cap = (float)t->softcap[layer];
    for (int i = 0; i < n; i++) {
        if (cap > 0) k_ops()->softcap(scored_row(s, i), row[i] < prompt ? row[i] + 1 : prompt, cap);
        if (row[i] >= prompt)
            rec_scores(t, r, layer, head, row[i], prompt, row[i] + 1, scored_row(s, i) + prompt);
    }
    s->r = r;
    s->head = head;
    s->n = n;
}

void weigh(float *w, float *x, int n, double *lse, float *dot)
{
    memcpy(x, w, (size_t)n * sizeof *x);
    float max = k_ops()->max(w, n), sum = k_ops()->exp_sum(w, n, max), inv = 1.0f / sum;
    for (int i = 0; i < n; i++) w[i] *= inv;
    *lse = (double)max + log((double)sum);
    *dot = k_ops()->dot(w, x, n);
}

void scored_weigh(struct scored *s, float *room)
{
    for (int i = 0; i < s->n; i++) weigh(scored_row(s, i), room, s->row[i] + 1, &s->lse[i], &s->dot[i]);
    s->weighed = true;
}

void scored_outputs(struct scored *s, const struct sac_trace *t)
{
    const struct sac_shape *sh = &t->info.shape;
    int dim = sh->head_dim, prompt = t->info.n_prompt, kv = s->head / (sh->n_heads / sh->n_kv_heads), at = 0;
    const float *v = rec_k(t, s->r, kv, 0, true);
    memset(s->out, 0, (size_t)s->n * (size_t)dim * sizeof *s->out);
    for (int i = 0; i < s->n; i++) {              /* the values that rows i and later see, and none before */
        float *out = s->out + (size_t)i * (size_t)dim;
        int end = s->row[i] < prompt ? s->row[i] + 1 : prompt;
        if (end > at)
            k_ops()->values(K_F32, scored_row(s, i) + at, s->stride, s->n - i, v + (size_t)at * (size_t)dim,
                            dim, end - at, out);
        at = end > at ? end : at;
        if (s->row[i] >= prompt)
            add_values(t, s->r, kv, scored_row(s, i) + prompt, prompt, s->row[i] + 1 - prompt, out);
    }
    s->has_out = true;
}

int scored_at(const struct scored *s, const struct layer_rec *r, int head, int row)
{
    for (int i = 0; i < s->n; i++)
        if (s->row[i] == row && s->r == r && s->head == head) return i;
    return -1;
}
