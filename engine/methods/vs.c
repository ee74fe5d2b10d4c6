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

static void add_block(void *ctx, int row0, int m, const float *e, size_t ld, const float *inv)
{
    struct window_sums *s = ctx;
    k_ops()->add_rows(s->vertical, e, ld, inv, m, row0 + m);
    /* Offset o of a row is key row - o. Stored backwards, the sums walk a row in its direction; each row
     * starts one place before the last. */
    float *d = s->slash_rev + (s->n - 1 - row0);
    k_ops()->add_rows(d, e, ld + 1, inv, m, row0 + 1);
    for (int r = 1; r < m; r++)
        for (int j = 0; j < r; j++) d[j - r] += inv[r] * e[(size_t)r * ld + (size_t)j];
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
    bool done = false, fit = strips_fit(in, &panels);
    if (fit && !strips_add(in, head, n - out->rows, out->rows, &panels, out->vertical, out->slash, &done, a))
        return false;
    if (done) {
        sac_arena_rewind(a, mark);
        return true;
    }
    if (!scores_each_block(in, head, n - out->rows, out->rows, &panels, add_block, &s, a)) return false;
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

/* Columns and offsets, ascending, and how many of them lie below each position 0 .. n, so that what a range
 * covers is skipped in one step. */
struct lists {
    int n, tile;
    const int *v, *s;
    int *below_v, *below_s;         /* [n + 1] */
};

static void count_below(const int *list, int len, int n, int *below)
{
    for (int i = 0, x = 0; i <= len; i++)
        for (int end = i < len ? list[i] : n; x <= end; x++) below[x] = i;
}

/* The next range of keys of a tile of rows that ends at `end`; *left: offsets not looked at yet, the largest
 * first. */
static bool next_range(const struct lists *l, int end, int *left, int *lo, int *hi)
{
    if (*left <= 0) return false;
    *hi = imax(end - l->s[--*left], l->tile);
    *lo = *hi - l->tile;
    for (;;) {
        *left = imin(*left, l->below_s[imax(end - *hi, 0)]);
        if (*left <= 0 || end - l->s[*left - 1] > *hi + l->tile) return true;
        --*left;
        *hi += l->tile;
    }
}

static bool add_range(struct sac_plan *out, const struct lists *l, int at, int lo, int hi)
{
    for (int i = l->below_v[at]; i < l->below_v[lo]; i++)
        if (!sac_plan_add(out, l->v[i], l->v[i] + 1)) return false;
    return sac_plan_add(out, lo, hi);
}

static bool vs_tiles(struct sac_plan *out, const struct lists *l)
{
    if (!sac_plan_init(out, l->tile, l->n)) return false;
    for (int row0 = 0; row0 < l->n; row0 += l->tile) {
        int end = row0 + l->tile, left = l->below_s[imin(end, l->n)], at = 0, lo, hi;
        for (; next_range(l, end, &left, &lo, &hi); at = imin(hi, l->n))
            if (!add_range(out, l, at, lo, hi)) return false;
        if (!sac_plan_next(out)) return false;
    }
    return true;
}

/* Are the causal cells of the plan that vs_tiles would make at most `most`? The last tiles, which have most,
 * are counted first. */
static bool vs_within(const struct lists *l, double most)
{
    double cells = 0;
    for (int row0 = (l->n - 1) / l->tile * l->tile; row0 >= 0 && cells <= most; row0 -= l->tile) {
        int end = row0 + l->tile, rows = imin(end, l->n), left = l->below_s[rows], at = 0, lo, hi;
        for (; next_range(l, end, &left, &lo, &hi); at = imin(hi, l->n)) {
            /* No range begins after the tile does: every row sees the columns before it. */
            cells += (double)(rows - row0) * (l->below_v[lo] - l->below_v[at]);
            /* Rows from `all` on see the range to its end, those from `some` on a part that grows by one. */
            int all = imax(imin(hi - 1, rows), row0), some = imax(row0, lo);
            if (all > some) cells += (double)(all - some) * (some + 1 - lo + all - lo) / 2;
            cells += (double)(rows - all) * (hi - lo);
        }
    }
    return cells <= most;
}

static int *copy_list(const int *list, int n)
{
    int *out = malloc(sizeof *out * (size_t)imax(n, 1));
    return out ? memcpy(out, list, sizeof *out * (size_t)n) : NULL;
}

bool vs_plan(struct sac_plan *out, int n, int tile, const int *v, int nv, const int *s, int ns)
{
    int *below = malloc(sizeof *below * 2 * ((size_t)n + 1));
    struct lists l = { n, tile, v, s, below, below ? below + n + 1 : NULL };
    *out = (struct sac_plan){ 0 };
    if (!below) return false;
    count_below(v, nv, n, l.below_v);
    count_below(s, ns, n, l.below_s);
    bool made = vs_tiles(out, &l);
    free(below);
    if (!made) goto fail;
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

static void force(struct vs_scores *sc, const struct vs_rule *r)
{
    for (int j = 0; j < imin(r->sink, sc->n); j++) sc->vertical[j] = INFINITY;
    for (int o = 0; o < imin(r->local, sc->n); o++) sc->slash[o] = INFINITY;
}

bool vs_select(struct vs_scores *sc, const struct vs_rule *r, struct sac_plan *out, struct sac_arena *a)
{
    int n = sc->n;
    force(sc, r);
    int *v = sac_arena_alloc(a, sizeof *v * (size_t)n), *s = sac_arena_alloc(a, sizeof *s * (size_t)n);
    if (!v || !s) return false;
    int nv = topk(sc->vertical, n, r->nv, v), ns = topk(sc->slash, n, r->ns, s);
    return vs_plan(out, n, r->tile, v, nv, s, ns);
}

/* ---- the sizes that reach a target ---- */

/* Positions that are still among the best k for every k that may be asked for, ascending. */
struct contest {
    int n, n_left;
    const int *rank;
    int *left, *list, *below;
};

static bool contest_init(struct contest *c, const int *rank, int n, struct sac_arena *a)
{
    size_t ints = sizeof(int) * ((size_t)n + 1);
    *c = (struct contest){ n, n, rank, sac_arena_alloc(a, ints), sac_arena_alloc(a, ints),
                           sac_arena_alloc(a, ints) };
    if (!c->left || !c->list || !c->below) return false;
    for (int i = 0; i < n; i++) c->left[i] = i;
    return true;
}

/* The k best, ascending; returns how many. */
static int list_best(struct contest *c, int k)
{
    int count = 0;
    for (int i = 0; i < c->n_left; i++) {
        c->list[count] = c->left[i]; /* kept if it is one of them, written over if not */
        count += c->rank[c->left[i]] < k;
    }
    return count;
}

/* No more than k will be asked for. */
static void at_most(struct contest *c, int k)
{
    int count = 0;
    for (int i = 0; i < c->n_left; i++) {
        c->left[count] = c->left[i];
        count += c->rank[c->left[i]] < k;
    }
    c->n_left = count;
}

bool vs_rank(struct vs_scores *sc, const struct vs_rule *rule, bool coverage, struct vs_ranks *out,
             struct sac_arena *a)
{
    int n = sc->n;
    float *mass[2] = { sc->vertical, sc->slash };
    *out = (struct vs_ranks){ .n = n, .rule = *rule };
    for (int d = 0; coverage && d < 2; d++)
        if (!(out->sum[d] = sac_arena_floats(a, (size_t)n))) return false;
    for (int d = 0; d < 2; d++)
        if (!(out->rank[d] = sac_arena_alloc(a, sizeof(int) * (size_t)n))) return false;
    struct sac_arena_mark mark = sac_arena_mark(a);
    int *order = sac_arena_alloc(a, sizeof *order * (size_t)n),
        *tmp = sac_arena_alloc(a, sizeof *tmp * (size_t)n);
    if (!order || !tmp) return false;
    for (int d = 0; d < 2; d++) {
        double s = 0;
        int forced = imin(d ? rule->local : rule->sink, n), at = forced;
        sort_descending(mass[d], n, order, tmp);
        for (int i = 0; coverage && i < n; i++)
            out->sum[d][i] = (float)((s += (double)mass[d][order[i]]) / sc->rows);
        for (int i = 0; i < n; i++) out->rank[d][order[i]] = order[i] < forced ? order[i] : at++;
    }
    force(sc, rule);
    sac_arena_rewind(a, mark);
    return true;
}

/* How many of the largest have a share of the mass above `mid` together. */
static int covering(const float *sum, int n, double mid)
{
    int lo = 0, hi = n;
    while (lo < hi) {
        int half = (lo + hi) / 2;
        if ((double)sum[half] <= mid) lo = half + 1;
        else hi = half;
    }
    return lo;
}

bool vs_select_target(const struct vs_ranks *k, double target, enum vs_sizes how, struct sac_plan *out,
                      struct sac_arena *a)
{
    struct contest c[2];
    int n = k->n, size[2], best[2] = { 0, 0 }, least[2] = { imax(k->rule.sink, 1), k->rule.local };
    for (int d = 0; d < 2; d++)
        if (!contest_init(&c[d], k->rank[d], n, a)) return false;

    /* The largest budget whose tiles stay within the target; a budget of nothing but the forced members
     * is the floor. */
    struct lists l = { n, k->rule.tile, c[0].list, c[1].list, c[0].below, c[1].below };
    double most = target * ((double)n * (n + 1) / 2);
    bool done = false;
    for (double lo = 0, hi = 1, mid = 0; !done || hi - lo > 1e-4; mid = (lo + hi) / 2) {
        for (int d = 0; d < 2; d++) {
            bool fewer = how == (d == 0 ? VS_MORE_SLASH : VS_MORE_VERTICAL);
            int budget = how == VS_COVERAGE ? covering(k->sum[d], n, mid) : (int)(mid * n) / (fewer ? 8 : 1);
            size[d] = imax(budget, least[d]);
        }
        bool fits = !done || (size[0] == best[0] && size[1] == best[1]);
        if (!fits) {
            for (int d = 0; d < 2; d++) count_below(c[d].list, list_best(&c[d], size[d]), n, c[d].below);
            fits = vs_within(&l, most);
        }
        if (fits) {
            lo = mid;
            for (int d = 0; d < 2; d++) best[d] = size[d];
        } else {
            hi = mid;
            for (int d = 0; d < 2; d++) at_most(&c[d], size[d]);
        }
        done = true;
    }
    for (int d = 0; d < 2; d++) size[d] = list_best(&c[d], best[d]);
    return vs_plan(out, n, k->rule.tile, c[0].list, size[0], c[1].list, size[1]);
}

double vs_reach(int n, int sink, int local, int tile)
{
    int nv = imin(imax(sink, 1), n), ns = imin(local, n), *list = malloc(sizeof *list * (size_t)imax(nv, ns));
    struct sac_plan p;
    double reach = 0;
    for (int i = 0; list && i < imax(nv, ns); i++) list[i] = i;
    if (list && vs_plan(&p, n, tile, list, nv, list, ns)) {
        reach = 1 - sac_plan_density(&p).kernel;
        sac_plan_free(&p);
    }
    free(list);
    return reach;
}
