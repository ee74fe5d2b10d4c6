/* Exact attention probabilities of a few rows, in f32: what estimating methods look at.
 *
 * Rows go in small groups so that keys are read from memory once per group, and keys in blocks that stay in
 * the first-level cache while the group's rows pass over them. Nothing of size rows x keys is kept: a row's
 * probabilities are handed on as soon as they are known. */
#include "methods.h"

#include "kernels.h"

#include <string.h>

enum { ROW_GROUP = 8, KEY_BLOCK = 64 };

int in_last_rows(const struct sac_prefill_in *in, int w)
{
    return imin(w, in->n - in->q_row0);
}

static void cap_scores(float *s, int n, float cap)
{
    for (int i = 0; i < n; i++) s[i] = cap * tanhf(s[i] / cap);
}

void scores_rows(const struct sac_prefill_in *in, int head, int row0, int m, int n, float *out, size_t ld)
{
    const struct k_ops *ops = k_ops();
    int dim = in->head_dim, kv = head / in_group(in);
    for (int j = 0; j < n; j += KEY_BLOCK) {
        int len = imin(KEY_BLOCK, n - j);
        for (int r = 0; r < m; r++) {
            float *o = out + (size_t)r * ld + j;
            ops->score_f32(in_query(in, head, row0 + r), in_key(in, kv, j), dim, len, in->scale, o);
            if (in->softcap > 0) cap_scores(o, len, in->softcap);
        }
    }
}

static void softmax(float *x, int n)
{
    const struct k_ops *ops = k_ops();
    float inv = 1.0f / ops->exp_sum(x, n, ops->max(x, n));
    for (int i = 0; i < n; i++) x[i] *= inv;
}

void scores_softmax(const struct sac_prefill_in *in, int row, float *score)
{
    int first = in->window > 0 ? imax(row + 1 - in->window, 0) : 0;
    memset(score, 0, sizeof *score * (size_t)first);
    softmax(score + first, row + 1 - first);
}

bool scores_each_row(const struct sac_prefill_in *in, int head, int first, int count, const int *rows,
                     scores_row_fn *fn, void *ctx, struct sac_arena *a)
{
    struct sac_arena_mark mark = sac_arena_mark(a);
    size_t ld = (size_t)in->n;
    float *buf = sac_arena_floats(a, ROW_GROUP * ld);
    if (!buf) return false;
    int step = rows ? 1 : ROW_GROUP;
    for (int i = 0; i < count; i += step) {
        int row0 = rows ? rows[i] : first + i, m = imin(step, count - i);
        scores_rows(in, head, row0, m, row0 + m, buf, ld);
        for (int r = 0; r < m; r++) {
            scores_softmax(in, row0 + r, buf + (size_t)r * ld);
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
