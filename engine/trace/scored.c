/* Scores of several rows of a head at once, for measures: a key that is read once meets all rows that see it.
 * A measure asks for one row at a time and finds it here. */
#include "trace/trace_int.h"

#include "kernels.h"
#include <stdlib.h>
#include <string.h>

static float *row_of(const struct scored *s, int i) { return s->x + (size_t)i * s->stride; }

bool scored_init(struct scored *s, int n_keys, int dim)
{
    s->stride = (size_t)n_keys + 1;
    s->x = malloc(SCORED_ROWS * s->stride * sizeof *s->x);
    s->q = malloc(SCORED_ROWS * (size_t)dim * sizeof *s->q);
    s->n = 0;
    return s->x && s->q;
}

void scored_free(struct scored *s)
{
    free(s->x);
    free(s->q);
    memset(s, 0, sizeof *s);
}

void scored_rows(struct scored *s, const struct sac_trace *t, const struct layer_rec *r, int layer, int head,
                 const int *row, int n)
{
    const struct sac_shape *sh = &t->info.shape;
    int dim = sh->head_dim, prompt = t->info.n_prompt, at = rec_first_key(t, layer, row[0]);
    s->n = 0;
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
                        end - at, (float)t->scale[layer], row_of(s, i) + at, s->stride);
        at = end;
    }
    float cap = (float)t->softcap[layer];
    for (int i = 0; i < n; i++) {
        if (cap > 0) k_ops()->softcap(row_of(s, i), row[i] < prompt ? row[i] + 1 : prompt, cap);
        if (row[i] >= prompt) rec_scores(t, r, layer, head, row[i], prompt, row[i] + 1, row_of(s, i) + prompt);
    }
    s->r = r;
    s->head = head;
    s->n = n;
}

void scored_get(const struct scored *s, const struct sac_trace *t, const struct layer_rec *r, int layer,
                int head, int row, int first, float *out)
{
    for (int i = 0; i < s->n; i++)
        if (s->row[i] == row && s->r == r && s->head == head) {
            memcpy(out, row_of(s, i) + first, (size_t)(row + 1 - first) * sizeof *out);
            return;
        }
    rec_scores(t, r, layer, head, row, first, row + 1, out);
}
