/* Exact attention probabilities of some rows, in f32: what estimating methods look at.
 *
 * Many rows go through the matrix kernels: keys are packed once, rows are taken in groups whose scores fit
 * the second-level cache. Nothing of size rows x keys is kept: a row's probabilities are handed on as soon as
 * they are known. A few scattered rows skip the packing. */
#include "methods.h"

#include "kernels.h"

#include <string.h>

int in_last_rows(const struct sac_prefill_in *in, int w)
{
    return imin(w, in->n - in->q_row0);
}

/* ---- products with many rows ---- */

size_t panels_width(int n) { return ((size_t)n + K_PANEL - 1) / K_PANEL * K_PANEL; }

bool panels_pack(struct panels *p, const float *rows, int dim, int n, struct sac_arena *a)
{
    *p = (struct panels){ dim, (dim + 1) / 2 * 2, n, NULL };
    size_t pad = (size_t)p->pad, d = (size_t)dim;
    float *edge = sac_arena_floats(a, K_PANEL * pad);
    p->data = sac_arena_floats(a, panels_width(n) * pad);
    if (!edge || !p->data) return false;
    for (int j = 0; j < n; j += K_PANEL) {
        const float *from = rows + (size_t)j * d;
        size_t ld = d;
        if (n - j < K_PANEL || p->pad != dim) {      /* the last panel, or an odd size: a padded copy */
            memset(edge, 0, sizeof *edge * K_PANEL * pad);
            for (int r = 0; r < imin(K_PANEL, n - j); r++)
                memcpy(edge + (size_t)r * pad, from + (size_t)r * d, sizeof *edge * d);
            from = edge;
            ld = pad;
        }
        k_ops()->f32.pack(from, ld, p->pad, p->data + (size_t)j * pad);
    }
    return true;
}

void panels_score(const struct panels *p, const float *x, int m, int n, float *out, size_t ld)
{
    const struct k_ops *ops = k_ops();
    int panels = (n + K_PANEL - 1) / K_PANEL;
    size_t pad = (size_t)p->pad;
    for (int j = 0; j < panels; j += K_NP)
        for (int r = 0; r < m; r += K_MR) {
            const void *rows[K_MR];
            int count = imin(K_MR, m - r);
            for (int i = 0; i < count; i++) rows[i] = x + (size_t)(r + i) * pad;
            ops->f32.tile(p->data + (size_t)j * K_PANEL * pad, K_PANEL * pad, imin(K_NP, panels - j), p->pad,
                          rows, count, out + (size_t)r * ld + (size_t)j * K_PANEL, ld, false);
        }
}

/* ---- rows of attention ---- */

bool scores_pack(const struct sac_prefill_in *in, int kv_head, int rows, struct panels *out,
                 struct sac_arena *a)
{
    *out = (struct panels){ 0 };
    return rows < PANEL_ROWS || panels_pack(out, in_key(in, kv_head, 0), in->head_dim, in->n, a);
}

static void softmax(float *x, int n)
{
    const struct k_ops *ops = k_ops();
    float inv = 1.0f / ops->exp_sum(x, n, ops->max(x, n));
    for (int i = 0; i < n; i++) x[i] *= inv;
}

/* Scores of one row into probabilities over the keys it sees; the others get 0. */
static void finish_row(const struct sac_prefill_in *in, int row, float *score)
{
    int first = in->window > 0 ? imax(row + 1 - in->window, 0) : 0;
    memset(score, 0, sizeof *score * (size_t)first);
    for (int j = first; in->softcap > 0 && j <= row; j++)
        score[j] = in->softcap * tanhf(score[j] / in->softcap);
    softmax(score + first, row + 1 - first);
}

bool scores_each_row(const struct sac_prefill_in *in, int head, int first, int count, const int *rows,
                     const struct panels *panels, scores_row_fn *fn, void *ctx, struct sac_arena *a)
{
    struct sac_arena_mark mark = sac_arena_mark(a);
    bool packed = panels && panels->data && !rows;
    size_t ld = panels_width(in->n), dim = (size_t)in->head_dim, pad = packed ? (size_t)panels->pad : dim;
    int kv = head / in_group(in);
    float *buf = sac_arena_floats(a, PANEL_ROWS * ld), *x = sac_arena_alloc(a, sizeof *x * PANEL_ROWS * pad);
    if (!buf || !x) return false;
    for (int i = 0; i < count; i += packed ? PANEL_ROWS : 1) {
        int row0 = rows ? rows[i] : first + i, m = packed ? imin(PANEL_ROWS, count - i) : 1;
        if (packed) {
            for (int r = 0; r < m; r++)
                for (size_t d = 0; d < dim; d++)
                    x[(size_t)r * pad + d] = in->scale * in_query(in, head, row0 + r)[d];
            panels_score(panels, x, m, row0 + m, buf, ld);
        } else {
            k_ops()->score_f32(in_query(in, head, row0), in_key(in, kv, 0), in->head_dim, row0 + 1, in->scale,
                               buf);
        }
        for (int r = 0; r < m; r++) {
            finish_row(in, row0 + r, buf + (size_t)r * ld);
            fn(ctx, row0 + r, buf + (size_t)r * ld);
        }
    }
    sac_arena_rewind(a, mark);
    return true;
}

void scores_decode(const struct sac_decode_in *in, int head, int n, float *p)
{
    in->score(in, head, 0, n, p);
    softmax(p, n);
}

void pool_mean(const float *rows, int dim, int lo, int hi, int over, float *out)
{
    memset(out, 0, sizeof *out * (size_t)dim);
    for (int r = lo; r < hi; r++) {
        const float *x = rows + (size_t)r * (size_t)dim;
        for (int d = 0; d < dim; d++) out[d] += x[d];
    }
    float inv = 1.0f / (float)over;
    for (int d = 0; d < dim; d++) out[d] *= inv;
}

void pool_average(const float *x, int n, int width, float *out)
{
    /* A running sum in double: exact enough that equal windows stay equal. */
    int half = width / 2;
    double sum = 0;
    for (int j = 0; j < imin(half, n); j++) sum += (double)x[j];
    for (int j = 0; j < n; j++) {
        if (j + half < n) sum += (double)x[j + half];
        if (j - half - 1 >= 0) sum -= (double)x[j - half - 1];
        out[j] = (float)(sum / width);
    }
}

void force_ends(float *score, int n, int sink, int local)
{
    for (int j = 0; j < imin(sink, n); j++) score[j] = INFINITY;
    for (int j = imax(n - local, 0); j < n; j++) score[j] = INFINITY;
}
