/* Pages: runs of consecutive cache slots with a box around their keys.
 *
 * The score of a page is the largest dot product any point of its box can have with the query, sum_d max(q_d
 * lo_d, q_d hi_d) = q+ . hi + q- . lo with the positive and the negative part of q. With the smallest and
 * largest value of each channel the box holds every key and the score is an upper bound (Quest). With mean
 * -+ standard deviation it becomes q.mean + |q|.deviation, which one extreme token cannot widen; with both
 * corners at the mean it is q.mean (MoBA).
 *
 * A box is one row, hi then lo, and a query becomes the row (q+, q-): one product of rows scores it, by the
 * kernel that multiplies all query heads of a group with a row that is read once. Smallest and largest values
 * of keys that the cache rounds to f16 are themselves such numbers: kept as f16 they lose nothing. */
#include "methods.h"

#include "kernels.h"

#include <string.h>

enum { PIECE = 64 };              /* channels at a time */

static size_t head_at(const struct pages *p, int layer, int kv_head)
{
    return (size_t)layer * (size_t)p->shape.n_kv_heads + (size_t)kv_head;
}

static size_t row_of(const struct pages *p)
{
    return (size_t)p->shape.head_dim * (p->scorer == PAGE_MEAN ? 1 : 2);
}

static char *box_at(const struct pages *p, int layer, int kv_head, int page)
{
    return (char *)p->box + (head_at(p, layer, kv_head) * (size_t)p->cap + (size_t)page) * row_of(p) *
                                (p->f16 ? sizeof(uint16_t) : sizeof(float));
}

bool pages_create(struct pages *p, const struct sac_env *env, int size, enum page_scorer scorer,
                  struct sac_arena *a)
{
    *p = (struct pages){ .shape = env->shape, .size = size, .scorer = scorer,
                         .f16 = scorer == PAGE_MINMAX && env->f16 };
    p->cap = (env->max_tokens + size - 1) / size;
    size_t heads = head_at(p, env->shape.n_layers, 0), n = heads * (size_t)p->cap * row_of(p);
    p->box = sac_arena_floats(a, p->f16 ? (n + 1) / 2 : n);
    p->q = sac_arena_floats(a, (size_t)env->shape.n_heads * 2 * (size_t)env->shape.head_dim);
    if (!p->box || !p->q) return false;
    if (scorer == PAGE_MINMAX) return true;
    p->sum = sac_arena_alloc(a, sizeof(double) * heads * (size_t)env->shape.head_dim);
    p->sum2 = sac_arena_alloc(a, sizeof(double) * heads * (size_t)env->shape.head_dim);
    return p->sum && p->sum2;
}

/* ---- keys arrive ---- */

static void get(const struct pages *p, const char *box, int at, int n, float *x)
{
    if (p->f16) k_ops()->from_f16((const uint16_t *)box + at, n, x);
    else memcpy(x, (const float *)box + at, (size_t)n * sizeof *x);
}

static void put(const struct pages *p, char *box, int at, int n, const float *x)
{
    if (p->f16) k_ops()->to_f16(x, n, (uint16_t *)box + at);
    else memcpy((float *)box + at, x, (size_t)n * sizeof *x);
}

/* n keys more in a page; the first of them may be the first of all. */
static void add_minmax(const struct pages *p, char *box, const float *k, int n, bool first)
{
    int dim = p->shape.head_dim;
    for (int d0 = 0; d0 < dim; d0 += PIECE) {
        int m = imin(PIECE, dim - d0);
        float lo[PIECE], hi[PIECE];
        if (first) {
            memcpy(hi, k + d0, (size_t)m * sizeof *hi);
            memcpy(lo, k + d0, (size_t)m * sizeof *lo);
        } else {
            get(p, box, d0, m, hi);
            get(p, box, dim + d0, m, lo);
        }
        for (int i = 0; i < n; i++) {
            const float *x = k + (size_t)i * (size_t)dim + d0;
            for (int d = 0; d < m; d++) {
                lo[d] = x[d] < lo[d] ? x[d] : lo[d];
                hi[d] = x[d] > hi[d] ? x[d] : hi[d];
            }
        }
        put(p, box, d0, m, hi);
        put(p, box, dim + d0, m, lo);
    }
}

static void add_mean(const struct pages *p, float *box, double *sum, double *sum2, const float *k, int count)
{
    int dim = p->shape.head_dim;
    for (int d = 0; d < dim; d++) {
        double x = (double)k[d];
        sum[d] = count == 1 ? x : sum[d] + x;
        sum2[d] = count == 1 ? x * x : sum2[d] + x * x;
        double mean = sum[d] / count, var = sum2[d] / count - mean * mean;
        if (p->scorer == PAGE_MEAN) {
            box[d] = (float)mean;
            continue;
        }
        double dev = var > 0 ? sqrt(var) : 0;
        box[d] = (float)(mean + dev);
        box[dim + d] = (float)(mean - dev);
    }
}

void pages_append(struct pages *p, int layer, int kv_head, int slot0, int n, const float *k)
{
    int dim = p->shape.head_dim;
    size_t at = head_at(p, layer, kv_head) * (size_t)dim;
    for (int i = 0, m; i < n; i += m) {
        int slot = slot0 + i, in_page = slot % p->size;
        char *box = box_at(p, layer, kv_head, slot / p->size);
        const float *key = k + (size_t)i * (size_t)dim;
        m = p->scorer == PAGE_MINMAX ? imin(p->size - in_page, n - i) : 1;
        if (p->scorer == PAGE_MINMAX) add_minmax(p, box, key, m, in_page == 0);
        else add_mean(p, (float *)box, p->sum + at, p->sum2 + at, key, in_page + 1);
    }
}

/* ---- scores ---- */

/* Adds the row (q+, q-), or q for a box that is one point. */
static void add_parts(const struct pages *p, const float *q, float *row)
{
    int dim = p->shape.head_dim;
    for (int d = 0; d < dim; d++) {
        if (p->scorer == PAGE_MEAN) {
            row[d] += q[d];
            continue;
        }
        row[d] += q[d] > 0 ? q[d] : 0;
        row[dim + d] += q[d] > 0 ? 0 : q[d];
    }
}

void pages_score(const struct pages *p, int layer, int kv_head, const float *q, int heads, bool sum, int n,
                 float *out, size_t stride)
{
    int group = p->shape.n_heads / p->shape.n_kv_heads;
    size_t dim = (size_t)p->shape.head_dim, len = row_of(p);
    float *rows = p->q + (size_t)(kv_head * group) * 2 * dim;
    memset(rows, 0, (size_t)(sum ? 1 : heads) * len * sizeof *rows);
    for (int h = 0; h < heads; h++) add_parts(p, q + (size_t)h * dim, rows + (sum ? 0 : (size_t)h * len));
    k_ops()->scores(p->f16 ? K_F16 : K_F32, rows, sum ? 1 : heads, box_at(p, layer, kv_head, 0), (int)len, n,
                    1.0f, out, stride);
}

void pages_rows(struct sac_rows *out, const int *idx, int n_idx, int size, int tail, int n)
{
    if (size == 1)
        for (int i = 0; i < n_idx; i++) rows_add_slot(out, idx[i]);
    else
        for (int i = 0; i < n_idx; i++) sac_rows_add(out, idx[i] * size, imin((idx[i] + 1) * size, n));
    sac_rows_add(out, tail, n);
}
