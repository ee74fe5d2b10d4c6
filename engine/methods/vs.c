/* Columns and diagonals: the pattern behind Vertical-Slash and FlexPrefill.
 *
 * A selected column j is read by every later row; a selected offset o is the diagonal j = row - o. Kernels
 * work on tiles, so the diagonals that cross a tile of rows become ranges of keys of the tile's width, which
 * start where the diagonal does, not at multiples; gaps shorter than a tile are filled. Columns outside these
 * ranges are read one by one. The conversion follows the paper's code, so that its densities are reproduced.
 */
#include "methods.h"

#include "kernels.h"

#include <stdlib.h>
#include <string.h>

struct window_sums { int n; float *vertical, *slash_rev; };

static void add_row(void *ctx, int row, const float *p)
{
    struct window_sums *s = ctx;
    /* Offset o of this row is key row - o; stored backwards, both sums walk p in the same direction. */
    float *v = s->vertical, *d = s->slash_rev + (s->n - 1 - row);
    k_ops()->add(v, p, row + 1);
    k_ops()->add(d, p, row + 1);
}

bool vs_score(const struct sac_prefill_in *in, int head, int window, struct vs_scores *out,
              struct sac_arena *a)
{
    int n = in->n;
    out->n = n;
    out->rows = in_last_rows(in, window);
    out->vertical = sac_arena_alloc(a, sizeof(float) * (size_t)n);
    out->slash = sac_arena_alloc(a, sizeof(float) * (size_t)n);
    if (!out->vertical || !out->slash) return false;
    struct window_sums s = { n, out->vertical, out->slash };
    struct sac_arena_mark mark = sac_arena_mark(a);
    struct panels panels;
    if (!scores_pack(in, head / in_group(in), out->rows, &panels, a)) return false;
    if (!scores_each_row(in, head, n - out->rows, out->rows, NULL, &panels, add_row, &s, a)) return false;
    sac_arena_rewind(a, mark);
    for (int i = 0, j = n - 1; i < j; i++, j--) {
        float t = out->slash[i];
        out->slash[i] = out->slash[j];
        out->slash[j] = t;
    }
    return true;
}

double vs_pattern_cells(int n, const int *v, int nv, const int *s, int ns)
{
    double cells = 0;
    for (int i = 0; i < nv; i++) cells += n - v[i];
    for (int i = 0; i < ns; i++) cells += n - s[i];
    /* A cell on both: row = v + s below n. For growing v, fewer s fit. */
    for (int i = 0, k = ns; i < nv; i++) {
        while (k > 0 && v[i] + s[k - 1] >= n) k--;
        cells -= k;
    }
    return cells;
}

/* Columns from *at on that lie below `until`. */
static bool add_columns(struct sac_plan *out, const int *v, int nv, int *at, int until)
{
    for (; *at < nv && v[*at] < until; (*at)++)
        if (!sac_plan_add(out, v[*at], v[*at] + 1)) return false;
    return true;
}

static bool add_range(struct sac_plan *out, const int *v, int nv, int *at, int lo, int hi)
{
    if (!add_columns(out, v, nv, at, lo) || !sac_plan_add(out, lo, hi)) return false;
    while (*at < nv && v[*at] < hi) (*at)++;
    return true;
}

static bool vs_tiles(struct sac_plan *out, int n, int tile, const int *v, int nv, const int *s, int ns)
{
    if (!sac_plan_init(out, tile, n)) return false;
    for (int row0 = 0; row0 < n; row0 += tile) {
        int end = row0 + tile, top = ns, lo = -1, hi = -1, at = 0;
        while (top > 0 && s[top - 1] >= end) top--;
        for (int i = top - 1; i >= 0; i--) {
            int e = imax(end - s[i], tile);
            if (hi < 0) {
                lo = e - tile;
                hi = e;
            } else if (e > hi + tile) {
                if (!add_range(out, v, nv, &at, lo, hi)) return false;
                lo = e - tile;
                hi = e;
            } else if (e > hi) {
                hi += tile;
            }
        }
        if (hi >= 0 && !add_range(out, v, nv, &at, lo, hi)) return false;
        if (!sac_plan_next(out)) return false;
    }
    return true;
}

static int *copy_list(const int *list, int n)
{
    int *out = malloc(sizeof *out * (size_t)imax(n, 1));
    return out ? memcpy(out, list, sizeof *out * (size_t)n) : NULL;
}

bool vs_plan(struct sac_plan *out, int n, int tile, const int *v, int nv, const int *s, int ns)
{
    if (!vs_tiles(out, n, tile, v, nv, s, ns)) goto fail;
    out->vertical = copy_list(v, nv);
    out->slash = copy_list(s, ns);
    if (!out->vertical || !out->slash) goto fail;
    out->n_vertical = nv;
    out->n_slash = ns;
    out->pattern_cells = vs_pattern_cells(n, v, nv, s, ns);
    return true;

fail:
    sac_plan_free(out);
    return false;
}

bool vs_select(struct vs_scores *sc, const struct vs_rule *r, struct sac_plan *out, struct sac_arena *a)
{
    int n = sc->n;
    for (int j = 0; j < imin(r->sink, n); j++) sc->vertical[j] = INFINITY;
    for (int o = 0; o < imin(r->local, n); o++) sc->slash[o] = INFINITY;
    int *v = sac_arena_alloc(a, sizeof *v * (size_t)n), *s = sac_arena_alloc(a, sizeof *s * (size_t)n);
    if (!v || !s) return false;
    int nv = topk(sc->vertical, n, r->nv, v), ns = topk(sc->slash, n, r->ns, s);
    return vs_plan(out, n, r->tile, v, nv, s, ns);
}

bool vs_select_target(struct vs_scores *sc, const struct vs_rule *rule, double target, enum vs_sizes how,
                      struct sac_plan *out, struct sac_arena *a)
{
    struct vs_rule r = *rule;
    int n = sc->n, *size[2] = { &r.nv, &r.ns };
    float *mass[2] = { sc->vertical, sc->slash };
    int *order = sac_arena_alloc(a, sizeof *order * (size_t)n),
        *tmp = sac_arena_alloc(a, sizeof *tmp * (size_t)n);
    float *sum[2] = { sac_arena_floats(a, (size_t)n), sac_arena_floats(a, (size_t)n) };
    if (!order || !tmp || !sum[0] || !sum[1]) return false;
    for (int d = 0; how == VS_COVERAGE && d < 2; d++) {
        double s = 0;
        sort_descending(mass[d], n, order, tmp);
        for (int i = 0; i < n; i++) sum[d][i] = (float)((s += (double)mass[d][order[i]]) / sc->rows);
    }

    /* The largest budget whose tiles stay within the target; a budget of nothing but the forced members
     * is the floor. */
    bool done = false;
    for (double lo = 0, hi = 1, mid = 0; !done || hi - lo > 1e-4; mid = (lo + hi) / 2) {
        int least[2] = { imax(rule->sink, 1), rule->local };
        for (int d = 0; d < 2; d++) {
            bool fewer = how == (d == 0 ? VS_MORE_SLASH : VS_MORE_VERTICAL);
            int k = (int)(mid * n) / (fewer ? 8 : 1);
            if (how == VS_COVERAGE)
                for (k = 0; k < n && (double)sum[d][k] <= mid; k++) {}
            *size[d] = imax(k, least[d]);
        }
        struct sac_plan plan;
        if (!vs_select(sc, &r, &plan, a)) {
            if (done) sac_plan_free(out);
            return false;
        }
        if (sac_plan_density(&plan).kernel <= target || !done) {
            if (done) sac_plan_free(out);
            *out = plan;
            lo = mid;
        } else {
            sac_plan_free(&plan);
            hi = mid;
        }
        done = true;
    }
    return true;
}
