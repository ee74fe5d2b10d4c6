/* What a selection does to a layer's output: all heads together, after the output projection.
 *
 * Errors of heads can cancel in that sum or add up, so it says more about the next layer's input than the
 * heads' own errors do. A few rows a layer are enough for a mean; each is the lane's own q, k and v with and
 * without the keys that were not read. They are among the rows that are measured, which left most of the heads'
 * outputs. */
#include "trace/job_int.h"

#include "model/linear.h"
#include "model/model_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Memory of one thread. */
struct head_work { float *w, *out; struct sac_rows rows; };

struct layer_rows {
    struct sac_job *j;
    int lane, layer, n, row[ERROR_ROWS];
    float *all, *kept;              /* [ERROR_ROWS][n_heads * D]: head outputs side by side, dense and as read */
    float *y;                       /* [2 * ERROR_ROWS][n_embd] */
    struct head_work *work;         /* [threads] */
};

/* Does some head leave out keys at this row? */
static bool sparse_row(const struct layer_rows *b, int row)
{
    const struct sac_trace *t = b->j->trace;
    struct sac_rows *rows = &b->work[0].rows;
    int first = rec_first_key(t, b->layer, row);
    for (int h = 0; h < t->info.shape.n_heads; h++) {
        sac_trace_rows(t, b->lane, b->layer, h, row, rows);
        if (sac_rows_count(rows) < row + 1 - first) return true;
    }
    return false;
}

static void head_items(void *ctx, int lo, int hi, int thread)
{
    struct layer_rows *b = ctx;
    const struct sac_trace *t = b->j->trace;
    const struct layer_rec *r = trace_layer(t, b->lane, b->layer);
    const struct sac_shape *s = &t->info.shape;
    struct head_work *w = &b->work[thread];
    size_t d = (size_t)s->head_dim, width = (size_t)s->n_heads * d;
    for (int item = lo; item < hi; item++) {
        int i = item / s->n_heads, h = item % s->n_heads, row = b->row[i];
        size_t at = (size_t)i * width + (size_t)h * d;
        const float *made = r->outputs[b->row[0] >= t->info.n_prompt];
        if (made) made += (size_t)item * 2 * d;
        if (made && !isnan(made[0])) {              /* when the row was measured */
            memcpy(b->all + at, made, d * sizeof(float));
            memcpy(b->kept + at, made + d, d * sizeof(float));
            continue;
        }
        sac_trace_rows(t, b->lane, b->layer, h, row, &w->rows);
        sac_trace_weights(t, b->lane, b->layer, h, row, w->w);
        head_outputs(t, r, h, row, w->w, rec_first_key(t, b->layer, row), &w->rows, w->out);
        memcpy(b->all + at, w->out, d * sizeof(float));
        memcpy(b->kept + at, w->out + d, d * sizeof(float));
    }
}

/* Of rows lo .. hi-1 of b->layer. */
static double layer_error(struct layer_rows *b, int lo, int hi)
{
    struct sac_job *j = b->j;
    const struct sac_shape *s = &j->m->hp.shape;
    size_t width = (size_t)s->n_heads * (size_t)s->head_dim, d = (size_t)s->n_embd;
    const struct layer_weights *lw = &j->m->w.layer[b->layer];
    bool sparse = false;
    b->n = hi - lo < ERROR_ROWS ? hi - lo : ERROR_ROWS;
    if (b->n <= 0) return (double)NAN;
    for (int i = 0; i < b->n; i++) {
        b->row[i] = error_row(i, b->n, lo, hi);
        sparse = sparse || sparse_row(b, b->row[i]);
    }
    if (!sparse) return 0;
    pool_run(j->m->pool, b->n * s->n_heads, 1, head_items, b);
    linear(j->m->pool, lw->wo, b->all, width, b->n, b->y, d, NULL);
    linear(j->m->pool, lw->wo, b->kept, width, b->n, b->y + (size_t)b->n * d, d, NULL);
    double sum = 0;
    for (int i = 0; i < b->n; i++)
        sum += relative_l2(b->y + (size_t)i * d, b->y + (size_t)(b->n + i) * d, d);
    return sum / b->n;
}

static bool work_init(struct layer_rows *b, int threads, int rows)
{
    const struct sac_shape *s = &b->j->m->hp.shape;
    size_t width = (size_t)s->n_heads * (size_t)s->head_dim;
    b->all = malloc(ERROR_ROWS * width * sizeof(float));
    b->kept = malloc(ERROR_ROWS * width * sizeof(float));
    b->y = malloc(2 * ERROR_ROWS * (size_t)s->n_embd * sizeof(float));
    b->work = calloc((size_t)threads, sizeof *b->work);
    bool ok = b->all && b->kept && b->y && b->work;
    for (int i = 0; ok && i < threads; i++) {
        struct head_work *w = &b->work[i];
        w->w = malloc(((size_t)rows + 1) * sizeof(float));
        w->out = malloc(2 * (size_t)s->head_dim * sizeof(float));
        w->rows.cap = rows / 2 + 2;
        w->rows.run = malloc((size_t)w->rows.cap * sizeof *w->rows.run);
        ok = w->w && w->out && w->rows.run;
    }
    return ok;
}

static void work_free(struct layer_rows *b, int threads)
{
    for (int i = 0; b->work && i < threads; i++) {
        free(b->work[i].w);
        free(b->work[i].out);
        free(b->work[i].rows.run);
    }
    free(b->work);
    free(b->all);
    free(b->kept);
    free(b->y);
}

void measure_layer_errors(struct sac_job *j, int lane)
{
    struct sac_trace *t = j->trace;
    int n = t->info.n_prompt, threads = pool_threads(j->m->pool);
    struct layer_rows b = { .j = j, .lane = lane };
    bool ok = work_init(&b, threads, n + t->lane[lane]->max_new);
    for (b.layer = 0; b.layer < t->info.shape.n_layers; b.layer++) {
        struct layer_rec *r = &t->lane[lane]->layer[b.layer];
        int rows = rec_rows(t, r);
        r->layer_err[0] = ok ? layer_error(&b, 0, n) : (double)NAN;
        r->layer_err[1] = ok ? layer_error(&b, n, rows) : (double)NAN;
    }
    work_free(&b, threads);
}
