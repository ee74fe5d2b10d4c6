/* Attention of the last rows, summed by key and by offset, on tiles (kernels/x86/strip_amx.c).
 *
 * A row must be divided by the sum of its exponentials before it may be added to others. Keeping them until
 * that sum is known moves a megabyte through the caches for every 16 rows of a long prompt; tiles are so fast
 * that making the scores twice is cheaper. So there are two passes over the keys, a stretch that stays in the
 * second-level cache at a time for all rows: the first gives the sums, the second adds up probabilities.
 * Exponentials are taken relative to a score of the row, which some keys may exceed, but not by a hundred
 * powers of two: then the caller takes another way. Probabilities are within 3e-6 of their value, and 4e-6 of
 * the sum of terms of their score, of exact ones. */
#include "methods.h"

#include "kernels.h"

enum { STRETCH = 2048, SAMPLED = 4, ROWS = K_STRIP_ROWS };
#define LOG2E 1.44269504f

struct strips {
    const struct sac_prefill_in *in;
    const struct panels *panels;
    int head, first, count, blocks;
    uint16_t *q;                    /* [blocks] of ROWS packed rows */
    float *ref, *sum;               /* [blocks * ROWS], of 16 each */
};

/* The largest score of a row on a few keys, which often have it: the first ones and its own. */
static float sampled_top(const struct sac_prefill_in *in, int head, int row)
{
    float score[2 * SAMPLED];
    int kv = head / in_group(in), count = imin(row + 1, SAMPLED);
    const float *q = in_query(in, head, row);
    k_ops()->score_f32(q, in_key(in, kv, 0), in->head_dim, count, in->scale, score);
    k_ops()->score_f32(q, in_key(in, kv, row + 1 - count), in->head_dim, count, in->scale, score + count);
    return k_ops()->max(score, 2 * count) * LOG2E;
}

static bool prepare(struct strips *s, struct sac_arena *a)
{
    const struct sac_prefill_in *in = s->in;
    size_t pad = (size_t)s->panels->pad, dim = (size_t)in->head_dim, rows = (size_t)s->blocks * ROWS;
    s->q = sac_arena_alloc(a, sizeof *s->q * rows * 2 * pad);
    s->ref = sac_arena_floats(a, rows);
    s->sum = sac_arena_alloc(a, sizeof *s->sum * rows * K_PANEL);
    float *x = sac_arena_alloc(a, sizeof *x * ROWS * pad);
    if (!s->q || !s->ref || !s->sum || !x) return false;
    for (int b = 0; b < s->blocks; b++) {
        int m = imin(s->count - b * ROWS, ROWS), row = s->first + b * ROWS;
        float *ref = s->ref + (size_t)b * ROWS;
        for (int r = 0; r < ROWS; r++) ref[r] = r < m ? sampled_top(in, s->head, row + r) : 1e30f;
        for (int r = 0; r < m; r++)
            for (size_t d = 0; d < dim; d++)
                x[(size_t)r * pad + d] = in->scale * LOG2E * in_query(in, s->head, row + r)[d];
        k_ops()->wide.strip_pack(x, m, (int)pad, s->q + (size_t)b * ROWS * 2 * pad);
    }
    return true;
}

/* Both passes: by_key and by_offset are NULL in the first. */
static void pass(const struct strips *s, float *by_key, float *by_offset)
{
    int n = s->in->n;
    size_t pad = (size_t)s->panels->pad;
    for (int key = 0; key < n; key += STRETCH)
        for (int b = 0; b < s->blocks; b++) {
            int row = s->first + b * ROWS;
            size_t at = (size_t)b * ROWS;
            struct k_strip strip = {
                .k = (const uint16_t *)s->panels->data + (size_t)key * 2 * pad, .q = s->q + at * 2 * pad,
                .ref = s->ref + at, .dim = s->panels->pad,
                .keys = imin(imin(row + ROWS, n) - key, STRETCH), .seen = row + 1 - key,
            };
            if (strip.keys <= 0) continue;
            if (!by_key) k_ops()->wide.strip_sum(&strip, s->sum + at * K_PANEL);
            else k_ops()->wide.strip_add(&strip, by_key + key, by_offset + (n - row + key));
        }
}

/* References that make exponentials probabilities. False: a sum is out of range. */
static bool settle(const struct strips *s)
{
    for (int r = 0; r < s->count; r++) {
        double sum = range_sum(s->sum + (size_t)r * K_PANEL, 0, K_PANEL);
        if (!(sum > 0 && sum < 1e30)) return false;
        s->ref[r] += (float)log2(sum);
    }
    return true;
}

bool strips_fit(const struct sac_prefill_in *in, const struct panels *panels)
{
    return panels->data && panels->split && in->softcap <= 0 && in->window <= 0;
}

bool strips_add(const struct sac_prefill_in *in, int head, int first, int count, const struct panels *panels,
                float *vertical, float *slash, bool *in_range, struct sac_arena *a)
{
    struct strips s = { .in = in, .panels = panels, .head = head, .first = first, .count = count };
    struct sac_arena_mark mark = sac_arena_mark(a);
    int n = in->n;
    s.blocks = (count + ROWS - 1) / ROWS;
    float *by_key = sac_arena_alloc(a, sizeof *by_key * ((size_t)n + K_STRIP_EDGE)),
          *by_offset = sac_arena_alloc(a, sizeof *by_offset * ((size_t)n + ROWS + K_STRIP_EDGE));
    if (!by_key || !by_offset || !prepare(&s, a)) return false;
    pass(&s, NULL, NULL);
    *in_range = settle(&s);
    if (*in_range) {
        pass(&s, by_key, by_offset);
        for (int j = 0; j < n; j++) vertical[j] = by_key[j];
        for (int o = 0; o < n; o++) slash[o] = by_offset[ROWS + n - 1 - o];
    }
    sac_arena_rewind(a, mark);
    return true;
}
