/* What a selection does to a layer's output: all heads together, after the output projection.
 *
 * Errors of heads can cancel in that sum or add up, so it says more about the next layer's input than the
 * heads' own errors do. A few rows a layer are enough for a mean; each is the lane's own q, k and v with and
 * without the keys that were not read. */
#include "trace/job_int.h"

#include "model/linear.h"
#include "model/model_int.h"
#include <math.h>
#include <stdlib.h>

enum { ROWS = 4 };

struct layer_rows { float *all, *kept, *w, *y; struct sac_rows rows; };

/* Concatenated head outputs of one row, dense and over the kept keys. False: the row reads everything. */
static bool outputs(const struct sac_trace *t, int lane, int layer, int row, struct layer_rows *b, int at)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    const struct sac_shape *s = &t->info.shape;
    size_t d = (size_t)s->head_dim, width = (size_t)s->n_heads * d;
    int first = rec_first_key(t, layer, row);
    bool sparse = false;
    for (int h = 0; h < s->n_heads; h++) {
        sac_trace_rows(t, lane, layer, h, row, &b->rows);
        sparse = sparse || sac_rows_count(&b->rows) < row + 1 - first;
        sac_trace_weights(t, lane, layer, h, row, b->w);
        head_outputs(t, r, h, row, b->w, first, &b->rows, b->all + (size_t)at * width + (size_t)h * d,
                     b->kept + (size_t)at * width + (size_t)h * d);
    }
    return sparse;
}

static double layer_error(struct sac_job *j, int lane, int layer, int lo, int hi, struct layer_rows *b)
{
    const struct sac_shape *s = &j->m->hp.shape;
    size_t width = (size_t)s->n_heads * (size_t)s->head_dim, d = (size_t)s->n_embd;
    const struct layer_weights *lw = &j->m->w.layer[layer];
    int n = hi - lo < ROWS ? hi - lo : ROWS;
    bool sparse = false;
    if (n <= 0) return (double)NAN;
    for (int i = 0; i < n; i++)
        sparse |= outputs(j->trace, lane, layer, lo + (int)((long long)(i + 1) * (hi - lo) / n) - 1, b, i);
    if (!sparse) return 0;
    linear(j->m->pool, lw->wo, b->all, width, n, b->y, d, NULL);
    linear(j->m->pool, lw->wo, b->kept, width, n, b->y + (size_t)n * d, d, NULL);
    double sum = 0;
    for (int i = 0; i < n; i++) sum += relative_l2(b->y + (size_t)i * d, b->y + (size_t)(n + i) * d, d);
    return sum / n;
}

void measure_layer_errors(struct sac_job *j, int lane)
{
    struct sac_trace *t = j->trace;
    const struct sac_shape *s = &t->info.shape;
    size_t width = (size_t)s->n_heads * (size_t)s->head_dim;
    int n = t->info.n_prompt, cap = n + t->lane[lane]->max_new;
    struct layer_rows b = { .all = malloc(ROWS * width * sizeof(float)),
                            .kept = malloc(ROWS * width * sizeof(float)),
                            .w = malloc(((size_t)cap + 1) * sizeof(float)),
                            .y = malloc(2 * ROWS * (size_t)s->n_embd * sizeof(float)),
                            .rows = { malloc(((size_t)cap / 2 + 2) * sizeof(struct sac_run)), 0,
                                      cap / 2 + 2 } };
    bool ok = b.all && b.kept && b.w && b.y && b.rows.run;
    for (int l = 0; l < s->n_layers; l++) {
        struct layer_rec *r = &t->lane[lane]->layer[l];
        int rows = rec_rows(t, r);
        r->layer_err[0] = ok ? layer_error(j, lane, l, 0, n, &b) : (double)NAN;
        r->layer_err[1] = ok ? layer_error(j, lane, l, n, rows, &b) : (double)NAN;
    }
    free(b.all);
    free(b.kept);
    free(b.w);
    free(b.y);
    free(b.rows.run);
}
