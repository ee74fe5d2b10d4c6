/* Plans made of blocks: bq query rows against blocks of bk keys, chosen from a matrix of block scores. The
 * blocks that hold a tile's own rows are always read, so that no row is left without a key. */
#include "methods.h"

#include <string.h>

bool blocks_create(struct blocks *b, int n, int bq, int bk, struct sac_arena *a)
{
    *b = (struct blocks){ .n = n, .bq = bq, .bk = bk, .nq = (n + bq - 1) / bq, .nk = (n + bk - 1) / bk };
    size_t cells = (size_t)b->nq * (size_t)b->nk;
    b->score = sac_arena_alloc(a, sizeof *b->score * cells);
    b->forced = sac_arena_alloc(a, cells);
    b->total = sac_arena_alloc(a, sizeof *b->total * (size_t)b->nq);
    b->order = sac_arena_alloc(a, sizeof *b->order * cells);
    b->idx = sac_arena_alloc(a, sizeof *b->idx * (size_t)b->nk);
    if (!b->score || !b->forced || !b->total || !b->order || !b->idx) return false;
    for (int i = 0; i < b->nq; i++)
        for (int j = i * bq / bk; j < blocks_visible(b, i); j++) blocks_force(b, i, j);
    return true;
}

int blocks_visible(const struct blocks *b, int i)
{
    return (imin((i + 1) * b->bq, b->n) + b->bk - 1) / b->bk;
}

float *blocks_row(const struct blocks *b, int i) { return b->score + (size_t)i * (size_t)b->nk; }

void blocks_force(struct blocks *b, int i, int j) { b->forced[(size_t)i * (size_t)b->nk + (size_t)j] = 1; }

void blocks_rank(struct blocks *b)
{
    for (int i = 0; i < b->nq; i++) {
        int m = blocks_visible(b, i);
        sort_descending(blocks_row(b, i), m, b->order + (size_t)i * (size_t)b->nk, b->idx);
        double sum = 0;
        for (int j = 0; j < m; j++) sum += (double)blocks_row(b, i)[j];
        b->total[i] = sum;
    }
}

/* Mark the blocks of row i that reach the share tau of its score; returns how many. */
static int cover_row(const struct blocks *b, int i, double tau, bool crossing, unsigned char *keep)
{
    int m = blocks_visible(b, i), count = 0;
    const float *score = blocks_row(b, i);
    const int *order = b->order + (size_t)i * (size_t)b->nk;
    double sum = 0, limit = tau < 1 ? tau * b->total[i] : HUGE_VAL;   /* 1: all, whatever rounding says */
    memcpy(keep, b->forced + (size_t)i * (size_t)b->nk, (size_t)m);
    for (int j = 0; j < m; j++)
        if (keep[j]) {
            count++;
            if (crossing) sum += (double)score[j];
        }
    for (int j = 0; j < m; j++) {
        int c = order[j];
        if (crossing && (keep[c] || sum >= limit)) continue;
        sum += (double)score[c];
        if (!crossing && sum > limit && j > 0) break;
        count += !keep[c];
        keep[c] = 1;
    }
    return count;
}

double blocks_reaching(const struct blocks *b, double target, bool crossing, struct sac_arena *a)
{
    unsigned char *keep = sac_arena_alloc(a, (size_t)b->nk);
    double lo = 0, hi = 1;
    for (int step = 0; keep && step < 20; step++) {
        double mid = (lo + hi) / 2, kept = 0, all = 0;
        for (int i = 0; i < b->nq; i++) {
            kept += cover_row(b, i, mid, crossing, keep);
            all += blocks_visible(b, i);
        }
        if (kept <= target * all) lo = mid;
        else hi = mid;
    }
    return lo;
}

static bool emit_row(struct sac_plan *out, const struct blocks *b, int i, const unsigned char *keep)
{
    for (int j = 0; j < blocks_visible(b, i); j++)
        if (keep[j] && !sac_plan_add(out, j * b->bk, (j + 1) * b->bk)) return false;
    return sac_plan_next(out);
}

bool blocks_cover(const struct blocks *b, double tau, bool crossing, struct sac_plan *out,
                  struct sac_arena *a)
{
    unsigned char *keep = sac_arena_alloc(a, (size_t)b->nk);
    if (!keep || !sac_plan_init(out, b->bq, b->n)) return false;
    for (int i = 0; i < b->nq; i++) {
        cover_row(b, i, tau, crossing, keep);
        if (!emit_row(out, b, i, keep)) {
            sac_plan_free(out);
            return false;
        }
    }
    return true;
}

bool blocks_top(const struct blocks *b, int count, struct sac_plan *out, struct sac_arena *a)
{
    unsigned char *keep = sac_arena_alloc(a, (size_t)b->nk);
    if (!keep || !sac_plan_init(out, b->bq, b->n)) return false;
    for (int i = 0; i < b->nq; i++) {
        int m = blocks_visible(b, i);
        const int *order = b->order + (size_t)i * (size_t)b->nk;
        memcpy(keep, b->forced + (size_t)i * (size_t)b->nk, (size_t)m);
        for (int j = 0; j < imin(count, m); j++) keep[order[j]] = 1;
        if (!emit_row(out, b, i, keep)) {
            sac_plan_free(out);
            return false;
        }
    }
    return true;
}
