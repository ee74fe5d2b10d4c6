/* Pages: runs of consecutive cache slots with a box around their keys.
 *
 * The score of a page is the largest dot product any point of its box can have with the query,
 * sum_d max(q_d lo_d, q_d hi_d) = q.mid + |q|.half. With the smallest and largest value of each channel the
 * box holds every key and the score is an upper bound (Quest). With mean -+ standard deviation it becomes
 * q.mean + |q|.deviation, which one extreme token cannot widen; with both corners at the mean it is q.mean
 * (MoBA). The same kernel computes all three. */
#include "methods.h"

#include "kernels.h"

static size_t head_at(const struct pages *p, int layer, int kv_head)
{
    return (size_t)layer * (size_t)p->shape.n_kv_heads + (size_t)kv_head;
}

static size_t box_at(const struct pages *p, int layer, int kv_head, int page)
{
    return (head_at(p, layer, kv_head) * (size_t)p->cap + (size_t)page) * (size_t)p->shape.head_dim;
}

bool pages_create(struct pages *p, const struct sac_env *env, int size, enum page_scorer scorer,
                  struct sac_arena *a)
{
    *p = (struct pages){ .shape = env->shape, .size = size, .scorer = scorer };
    p->cap = (env->max_tokens + size - 1) / size;
    size_t heads = head_at(p, env->shape.n_layers, 0);
    p->lo = sac_arena_floats(a, box_at(p, env->shape.n_layers, 0, 0));
    p->hi = sac_arena_floats(a, box_at(p, env->shape.n_layers, 0, 0));
    if (!p->lo || !p->hi) return false;
    if (scorer == PAGE_MINMAX) return true;
    p->sum = sac_arena_alloc(a, sizeof(double) * heads * (size_t)env->shape.head_dim);
    p->sum2 = sac_arena_alloc(a, sizeof(double) * heads * (size_t)env->shape.head_dim);
    return p->sum && p->sum2;
}

static void add_minmax(float *lo, float *hi, const float *k, int dim, bool first)
{
    for (int d = 0; d < dim; d++) {
        lo[d] = first || k[d] < lo[d] ? k[d] : lo[d];
        hi[d] = first || k[d] > hi[d] ? k[d] : hi[d];
    }
}

static void add_meanstd(float *lo, float *hi, double *sum, double *sum2, const float *k, int dim, int count,
                        double width)
{
    for (int d = 0; d < dim; d++) {
        double x = (double)k[d];
        sum[d] = count == 1 ? x : sum[d] + x;
        sum2[d] = count == 1 ? x * x : sum2[d] + x * x;
        double mean = sum[d] / count, var = sum2[d] / count - mean * mean;
        double dev = var > 0 ? width * sqrt(var) : 0;
        lo[d] = (float)(mean - dev);
        hi[d] = (float)(mean + dev);
    }
}

void pages_append(struct pages *p, int layer, int kv_head, int slot0, int n, const float *k)
{
    int dim = p->shape.head_dim;
    size_t at = head_at(p, layer, kv_head) * (size_t)dim;
    for (int i = 0; i < n; i++) {
        int slot = slot0 + i, in_page = slot % p->size;
        float *lo = p->lo + box_at(p, layer, kv_head, slot / p->size);
        float *hi = p->hi + box_at(p, layer, kv_head, slot / p->size);
        const float *key = k + (size_t)i * (size_t)dim;
        if (p->scorer == PAGE_MINMAX) add_minmax(lo, hi, key, dim, in_page == 0);
        else
            add_meanstd(lo, hi, p->sum + at, p->sum2 + at, key, dim, in_page + 1,
                        p->scorer == PAGE_MEAN ? 0 : 1);
    }
}

void pages_score(const struct pages *p, int layer, int kv_head, const float *q, int n, float *out)
{
    size_t at = box_at(p, layer, kv_head, 0);
    k_ops()->page_bound(q, p->lo + at, p->hi + at, p->shape.head_dim, n, out);
}

/* max(q lo, q hi) is q+ hi + q- lo, with the positive and the negative part of q: its sum over queries needs
 * their sums alone, and the boxes are read once. */
void pages_score_sum(const struct pages *p, int layer, int kv_head, const float *q, int count, int n,
                     float *sums, float *tmp, float *out)
{
    int dim = p->shape.head_dim;
    size_t at = box_at(p, layer, kv_head, 0);
    float *plus = sums, *minus = sums + dim;
    for (int d = 0; d < dim; d++) {
        plus[d] = minus[d] = 0;
        for (int i = 0; i < count; i++) {
            float x = q[(size_t)i * (size_t)dim + (size_t)d];
            *(x > 0 ? &plus[d] : &minus[d]) += x;
        }
    }
    k_ops()->score_f32(plus, p->hi + at, dim, n, 1.0f, out);
    k_ops()->score_f32(minus, p->lo + at, dim, n, 1.0f, tmp);
    for (int j = 0; j < n; j++) out[j] += tmp[j];
}

void pages_rows(struct sac_rows *out, const int *idx, int n_idx, int size, int tail, int n)
{
    for (int i = 0; i < n_idx; i++) sac_rows_add(out, idx[i] * size, imin((idx[i] + 1) * size, n));
    sac_rows_add(out, tail, n);
}
