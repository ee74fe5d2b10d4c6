/* What methods that shrink the cache after the prompt share: importance of keys from the last rows, and
 * turning scores into kept positions. */
#include "methods.h"

#include "kernels.h"

#include <string.h>

struct group_sum { enum group_reduce how; float *row; };

static void add_block(void *ctx, int row0, int m, const float *e, size_t ld, const float *inv)
{
    struct group_sum *s = ctx;
    if (s->how == GROUP_MEAN_SUM) k_ops()->add_rows(s->row, e, ld, inv, m, row0 + m);
    for (int r = 0; s->how == GROUP_MAX_MAX && r < m; r++)
        for (int j = 0; j <= row0 + r; j++) {
            float p = e[(size_t)r * ld + (size_t)j] * inv[r];
            s->row[j] = s->row[j] > p ? s->row[j] : p;
        }
}

bool evict_importance(const struct sac_prefill_in *in, int kv_head, int window, enum group_reduce how,
                      float *importance, struct sac_arena *a)
{
    int group = in_group(in), rows = in_last_rows(in, window);
    memset(importance, 0, sizeof *importance * (size_t)in->n);
    struct group_sum s = { how, importance };
    struct sac_arena_mark mark = sac_arena_mark(a);
    struct panels panels;
    if (!scores_pack(in, kv_head, rows, &panels, a)) return false;
    bool strips = how == GROUP_MEAN_SUM && strips_fit(in, &panels);
    float *by_key = strips ? sac_arena_floats(a, 2 * (size_t)in->n) : NULL;
    if (strips && !by_key) return false;
    for (int g = 0; g < group; g++) {
        int head = kv_head * group + g, first = in->n - rows;
        bool done = false;
        if (strips &&
            !strips_add(in, head, first, rows, &panels, by_key, by_key + in->n, &done, a))
            return false;
        if (done) k_ops()->add(importance, by_key, in->n);
        else if (!scores_each_block(in, head, first, rows, &panels, add_block, &s, a)) return false;
    }
    sac_arena_rewind(a, mark);
    if (how == GROUP_MEAN_SUM)
        for (int j = 0; j < in->n; j++) importance[j] /= (float)group;
    return true;
}

bool evict_keep(struct sac_kept *kept, const float *score, int n, int cap, struct sac_arena *a)
{
    kept->score = NULL;
    kept->pos = sac_arena_alloc(a, sizeof *kept->pos * (size_t)imax(imin(cap, n), 1));
    if (!kept->pos) return false;
    kept->n = topk(score, n, cap, kept->pos);
    return true;
}

bool evict_keep_all(struct sac_kept *kept, int n, struct sac_arena *a)
{
    kept->score = NULL;
    kept->n = n;
    kept->pos = sac_arena_alloc(a, sizeof *kept->pos * (size_t)imax(n, 1));
    for (int j = 0; kept->pos && j < n; j++) kept->pos[j] = j;
    return kept->pos != NULL;
}

bool ada_allocate(float *score, int n, int heads, int capacity, int floor, struct sac_kept *kept,
                  struct sac_arena *a)
{
    size_t all = (size_t)n * (size_t)heads;
    int *idx = sac_arena_alloc(a, sizeof *idx * all);
    if (!idx) return false;
    for (int h = 0; h < heads; h++) {            /* a head's floor ranks above everything else */
        float *s = score + (size_t)h * (size_t)n;
        int m = topk(s, n, floor, idx);
        for (int i = 0; i < m; i++) s[idx[i]] = INFINITY;
    }
    int total = topk(score, (int)all, (int)imin(capacity, n) * heads, idx);
    for (int h = 0, i = 0; h < heads; h++) {
        int first = i;
        while (i < total && idx[i] / n == h) i++;
        kept[h] = (struct sac_kept){ .n = i - first, .pos = idx + first };
        for (int j = first; j < i; j++) idx[j] -= h * n;
    }
    return true;
}
