/* Maps as figures: one head's attention with what a method reads, and two lanes side by side.
 *
 * Cells come from exact tiles, never from the overview. Where a method is shown, cells it does not read keep
 * a third of their colour, and cells whose missed mass is more than a hundredth of a row are drawn in the
 * loss colour. The strips below say the same for each key over all rows of the window. */
#include "export_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAMES = 96, NAME_BYTES = 96, STRIP_ROWS = 96, N_STRIPS = 5, LOSS_PARTS = 100 };

struct shown {                       /* one pane in the making */
    struct ui_window win;
    struct ui_tile *tile;
    uint32_t *cell, *key_max, *gold, *columns, *diagonals;
    float *kept, *forced;
    struct figure_strip strip[N_STRIPS];
    int n_strips;
    char *names; const char **y_name, **x_name;
    struct figure_rect *rect; int n_rects;
    char title[360];
};

static void shown_free(struct shown *p)
{
    free(p->tile);
    free(p->cell);
    free(p->key_max);
    free(p->gold);
    free(p->columns);
    free(p->diagonals);
    free(p->kept);
    free(p->forced);
    free(p->names);
    free(p->y_name);
    free(p->x_name);
    free(p->rect);
}

static int head_arg(const struct shot_ctx *c)
{
    int per = c->info.shape.n_heads / c->info.shape.n_kv_heads;
    return c->s->at.group ? -1 - c->s->at.head / per : c->s->at.head;
}

static bool compute_tile(struct shot_ctx *c, struct shown *p, int lane, bool sparse)
{
    int cells = c->s->cells > 0 ? c->s->cells : SHOT_CELLS, nq = p->win.q1 - p->win.q0,
        nk = p->win.k1 - p->win.k0;
    static float want;               /* any non-NULL pointer asks for the array */
    struct sac_tile t = { .lane = lane, .layer = c->s->at.layer, .head = head_arg(c), .q0 = p->win.q0,
                          .q1 = p->win.q1, .k0 = p->win.k0, .k1 = p->win.k1, .pool = c->s->at.pool,
                          .sinks = c->s->at.sinks, .sparse = sparse };
    shot_cells(nq, nk, cells, &t.h, &t.w);
    t.kept = t.missed = lane > 0 ? &want : NULL;
    p->tile = ui_tile_compute(c->t, &t, c->cancel);
    return p->tile != NULL;
}

/* ---- labels ---- */

static const char **names_of(struct shot_ctx *c, int lane, int lo, int hi, char **pool)
{
    const char **out = calloc((size_t)(hi - lo), sizeof *out);
    for (int i = lo; out && i < hi; i++) {
        out[i - lo] = *pool;
        c->cut_letters |= ui_token_name(c->t, lane, i, *pool, NAME_BYTES);
        if ((*pool)[0] == ' ' && !(*pool)[1]) strcpy(*pool, "\u2423"); /* a blank alone is nothing to read */
        *pool += strlen(*pool) + 1;
    }
    return out;
}

static bool add_names(struct shot_ctx *c, struct shown *p, int lane)
{
    int nq = p->win.q1 - p->win.q0, nk = p->win.k1 - p->win.k0;
    if (nq > MAX_NAMES && nk > MAX_NAMES) return true;
    char *pool = p->names = malloc((size_t)(nq + nk) * NAME_BYTES + 1);
    if (!pool) return false;
    if (nq <= MAX_NAMES) p->y_name = names_of(c, lane, p->win.q0, p->win.q1, &pool);
    if (nk <= MAX_NAMES) p->x_name = names_of(c, lane, p->win.k0, p->win.k1, &pool);
    return true;
}

/* ---- strips ---- */

/* Share of sampled rows that read something of each key cell, and the part of it that is forced. */
static bool kept_strip(struct shot_ctx *c, struct shown *p, int lane)
{
    const struct sac_tile *t = &p->tile->t;
    int nq = t->q1 - t->q0, nk = t->k1 - t->k0, n = nq < STRIP_ROWS ? nq : STRIP_ROWS;
    int head = c->s->at.head;
    struct sac_rows rows = { .run = malloc(((size_t)t->q1 / 2 + 2) * sizeof *rows.run),
                             .cap = t->q1 / 2 + 1 };
    int *seen = calloc((size_t)t->w, sizeof *seen);
    bool ok = rows.run && seen;
    for (int i = 0; ok && i < n && !shot_stopped(c); i++) {
        int row = t->q0 + (int)((long long)(2 * i + 1) * nq / (2 * n));
        if (!sac_trace_rows(c->t, lane, t->layer, head, row, &rows)) continue;
        for (int x = 0, r = 0; x < t->w; x++) {
            int lo = t->k0 + ui_bin_lo(x, nk, t->w), hi = t->k0 + ui_bin_hi(x, nk, t->w);
            if (lo > row) break;
            seen[x]++;
            while (r < rows.n && rows.run[r].hi <= lo) r++;
            if (r >= rows.n || rows.run[r].lo >= hi) continue;
            int key = rows.run[r].lo > lo ? rows.run[r].lo : lo;
            p->kept[x] += 1;
            p->forced[x] += sac_trace_forced(c->t, lane, row, key);
        }
    }
    for (int x = 0; ok && x < t->w; x++)
        if (seen[x]) p->kept[x] /= (float)seen[x], p->forced[x] /= (float)seen[x];
    free(rows.run);
    free(seen);
    return ok;
}

/* What the rule chose, where it is lists: columns under their keys, diagonals under the key that the last row
 * reads through them. */
static bool list_strips(struct shot_ctx *c, struct shown *p, int lane)
{
    const struct sac_tile *t = &p->tile->t;
    const struct sac_plan *plan = sac_trace_plan(c->t, lane, t->layer, c->s->at.head);
    size_t w = (size_t)t->w;
    int nk = t->k1 - t->k0;
    if (!plan || (!plan->vertical && !plan->slash)) return true;
    p->columns = malloc(w * sizeof *p->columns);
    p->diagonals = malloc(w * sizeof *p->diagonals);
    if (!p->columns || !p->diagonals) return false;
    for (size_t x = 0; x < w; x++) p->columns[x] = p->diagonals[x] = FIGURE_EMPTY;
    for (int i = 0; plan->vertical && i < plan->n_vertical; i++) {
        int key = plan->vertical[i] - t->k0;
        if (key >= 0 && key < nk) p->columns[ui_bin_of(key, nk, t->w)] = SHOT_CHOSEN;
    }
    for (int i = 0; plan->slash && i < plan->n_slash; i++) {
        int key = t->q1 - 1 - plan->slash[i] - t->k0;
        if (key >= 0 && key < nk) p->diagonals[ui_bin_of(key, nk, t->w)] = SHOT_CHOSEN;
    }
    p->strip[p->n_strips++] = (struct figure_strip){ .label = "columns", .cell = p->columns };
    p->strip[p->n_strips++] = (struct figure_strip){ .label = "diagonals", .cell = p->diagonals };
    return true;
}

static bool add_strips(struct shot_ctx *c, struct shown *p, int lane, const struct ui_heat *heat)
{
    const struct sac_tile *t = &p->tile->t;
    size_t w = (size_t)t->w;
    int nk = t->k1 - t->k0;
    p->key_max = malloc(w * sizeof *p->key_max);
    p->gold = malloc(w * sizeof *p->gold);
    p->kept = calloc(w, sizeof *p->kept);
    p->forced = calloc(w, sizeof *p->forced);
    if (!p->key_max || !p->gold || !p->kept || !p->forced) return false;
    for (int x = 0; x < t->w; x++) {
        double best = (double)NAN;
        for (int y = 0; y < t->h; y++) {
            double v = (double)t->value[(size_t)y * w + (size_t)x];
            if (!isnan(v) && !(v <= best)) best = v;
        }
        p->key_max[x] = shot_colour(c, ui_heat_t(heat, best, t->q1));
        p->gold[x] = FIGURE_EMPTY;
        int lo = t->k0 + ui_bin_lo(x, nk, t->w), hi = t->k0 + ui_bin_hi(x, nk, t->w);
        for (int i = 0; i < c->info.n_spans; i++)
            if (c->info.span[i].lo < hi && c->info.span[i].hi > lo) p->gold[x] = SHOT_GOLD;
    }
    if (heat->scale != UI_SCALE_RANK)
        p->strip[p->n_strips++] = (struct figure_strip){ .label = "keys", .cell = p->key_max };
    if (lane > 0) {
        if (!kept_strip(c, p, lane)) return false;
        p->strip[p->n_strips++] = (struct figure_strip){
            .label = "read", .height = p->kept, .lower = p->forced, .rgb = SHOT_CHOSEN, .rgb2 = SHOT_FORCED
        };
    }
    if (lane > 0 && c->s->at.overlay == UI_OVER_LISTS && !list_strips(c, p, lane)) return false;
    if (c->info.n_spans) p->strip[p->n_strips++] = (struct figure_strip){ .label = "gold", .cell = p->gold };
    return true;
}

/* ---- cells ---- */

static bool reads(const float *kept, int h, int w, int y, int x)
{
    return y >= 0 && x >= 0 && y < h && x < w && kept[(size_t)y * (size_t)w + (size_t)x] > 0;
}

static bool add_edge(struct shown *p, size_t *cap, double x0, double y0, double x1, double y1)
{
    if ((size_t)p->n_rects == *cap) {
        size_t more = *cap * 2 + 256;
        struct figure_rect *r = realloc(p->rect, more * sizeof *r);
        if (!r) return false;
        p->rect = r;
        *cap = more;
    }
    p->rect[p->n_rects++] = (struct figure_rect){ x0, y0, x1, y1, SHOT_CHOSEN, true };
    return true;
}

/* The border of what is read: a line wherever a cell that is read meets one that is not, neighbours joined.
 * Along the causal diagonal there is none: nothing is left out there. */
static bool outline(struct shown *p, const struct sac_tile *t)
{
    int h = t->h, w = t->w;
    size_t cap = 0;
    for (int pass = 0; pass < 2; pass++) {              /* horizontal lines, then vertical ones */
        int n = pass ? w : h, m = pass ? h : w;
        for (int i = 0; i <= n; i++)
            for (int j = 0, from = -1; j <= m; j++) {
                int y = pass ? j : i, x = pass ? i : j, y2 = pass ? j : i - 1, x2 = pass ? i - 1 : j;
                bool a = j < m && reads(t->kept, h, w, y, x), b = j < m && reads(t->kept, h, w, y2, x2);
                bool out =
                    a && !b && y2 >= 0 && x2 >= 0 && isnan(t->value[(size_t)y2 * (size_t)w + (size_t)x2]);
                out =
                    out || (b && !a && y < h && x < w && isnan(t->value[(size_t)y * (size_t)w + (size_t)x]));
                bool edge = a != b && !out;
                if (edge && from < 0) from = j;
                if (edge || from < 0) continue;
                if (!(pass ? add_edge(p, &cap, i, from, i, j) : add_edge(p, &cap, from, i, j, i)))
                    return false;
                from = -1;
            }
    }
    return true;
}

static bool paint(struct shot_ctx *c, struct shown *p, const struct ui_heat *heat, enum ui_overlay over)
{
    const struct sac_tile *t = &p->tile->t;
    size_t n = (size_t)t->h * (size_t)t->w;
    uint32_t page = figure_theme_pane(c->s->dark);
    float *rank = heat->scale == UI_SCALE_RANK ? malloc(n * sizeof *rank) : NULL;
    p->cell = malloc((n + 1) * sizeof *p->cell);
    if (!p->cell || (heat->scale == UI_SCALE_RANK && !rank)) {
        free(rank);
        return false;
    }
    if (rank) ui_heat_ranks(t->value, t->h, t->w, rank);
    for (int y = 0; y < t->h; y++) {
        int row = t->q0 + ui_bin_hi(y, t->q1 - t->q0, t->h);
        for (int x = 0; x < t->w; x++) {
            size_t i = (size_t)y * (size_t)t->w + (size_t)x;
            double v = (double)(rank ? rank[i] : t->value[i]);
            uint32_t rgb = shot_colour(c, ui_heat_t(heat, v, row));
            double dim = over == UI_OVER_MASK || over == UI_OVER_MISSES ? 0.65
                         : over == UI_OVER_BLOCKS                       ? 0.35
                                                                        : 0;
            if (rgb != FIGURE_EMPTY && t->kept && t->sparse && !(t->kept[i] > 0)) rgb = shot_unread(c);
            else if (rgb != FIGURE_EMPTY && t->kept && dim > 0 && !(t->kept[i] > 0))
                rgb = ui_colour_mix(UI_TIER_RGB, rgb, page, dim);
            if (rgb != FIGURE_EMPTY && t->missed && !t->sparse && over == UI_OVER_MISSES &&
                (double)t->missed[i] * LOSS_PARTS > 1)
                rgb = SHOT_LOSS;
            p->cell[i] = rgb;
        }
    }
    free(rank);
    return over != UI_OVER_BLOCKS || !t->kept || outline(p, t);
}

static void fill_pane(struct figure_pane *out, struct shown *p, const char *title, bool y_title)
{
    *out = (struct figure_pane){
        .title = title,
        .h = p->tile->t.h,
        .w = p->tile->t.w,
        .cell = p->cell,
        .y = { .lo = p->win.q0,
               .hi = p->win.q1,
               .title = y_title ? "query (token position)" : NULL,
               .label = p->y_name,
               .numbered = true },
        .x = { .lo = p->win.k0,
               .hi = p->win.k1,
               .title = "key (token position)",
               .label = p->x_name,
               .numbered = true },
        .n_strips = p->n_strips,
        .strip = p->strip,
        .n_rects = p->n_rects,
        .rect = p->rect,
        .free_aspect = shot_wide(p->win.q1 - p->win.q0, p->win.k1 - p->win.k0),
    };
}

/* ---- texts ---- */

static void subtitle(struct shot_ctx *c, const struct ui_heat *heat, const struct sac_tile *t)
{
    static const char *const pool[] = { "largest weight in a cell", "mass of a cell, mean over rows",
                                        "mean of a cell" };
    static const char *const sinks[] = { "", " · first 4 tokens hidden",
                                         " · first 4 tokens hidden, rows renormalised" };
    char label[64], source[200];
    ui_heat_label(heat, label, sizeof label);
    int pq = (t->q1 - t->q0 + t->h - 1) / t->h, pk = (t->k1 - t->k0 + t->w - 1) / t->w;
    int n = snprintf(c->subtitle, sizeof c->subtitle, "%s · %s%s", shot_source(c, source, sizeof source),
                     label, c->s->at.range == UI_RANGE_AUTO ? " (99.5th percentile)" : "");
    if (pq > 1 || pk > 1)
        snprintf(c->subtitle + n, sizeof c->subtitle - (size_t)n, " · 1 cell = %d × %d tokens, %s%s", pk, pq,
                 pool[c->s->at.pool], sinks[c->s->at.sinks]);
    else
        snprintf(c->subtitle + n, sizeof c->subtitle - (size_t)n, " · exact weights%s",
                 sinks[c->s->at.sinks]);
}

static int legend(const struct shot_ctx *c, enum ui_overlay over, bool sparse, struct figure_key *k)
{
    int n = 0;
    double dim = over == UI_OVER_MASK || over == UI_OVER_MISSES ? 0.65 : 0.35;
    if (sparse && !c->s->at.sparse && c->s->view == UI_SHOT_MAP && over != UI_OVER_NONE &&
        over != UI_OVER_LISTS)
        k[n++] =
            (struct figure_key){ FIGURE_SWATCH,
                                 ui_colour_mix(UI_TIER_RGB, c->ramp[40], figure_theme_pane(c->s->dark), dim),
                                 "dimmed: not read" };
    if (sparse && !c->s->at.sparse && over == UI_OVER_MISSES)
        k[n++] = (struct figure_key){ FIGURE_SWATCH, SHOT_LOSS, "missed: over 1 % of a row's mass" };
    if (c->s->at.sparse || c->s->view == UI_SHOT_COMPARE)
        k[n++] = (struct figure_key){ FIGURE_SWATCH, shot_unread(c), "not read" };
    if (sparse && over == UI_OVER_BLOCKS) k[n++] = (struct figure_key){ FIGURE_OUTLINE, SHOT_CHOSEN, "read" };
    if (sparse) {
        k[n++] = (struct figure_key){ FIGURE_BAR, SHOT_CHOSEN, "chosen by score" };
        k[n++] = (struct figure_key){ FIGURE_BAR, SHOT_FORCED, "forced by rule" };
    }
    if (c->info.n_spans)
        k[n++] = (struct figure_key){ FIGURE_TICK, SHOT_GOLD, "gold: tokens the answer needs" };
    return n;
}

static void recall_words(const struct shot_ctx *c, int lane, char *buf, size_t cap)
{
    struct sac_recall r;
    buf[0] = 0;
    if (lane <= 0 || c->s->at.group) return;
    bool decode = false;
    if (!sac_trace_recall(c->t, lane, c->s->at.layer, c->s->at.head, false, &r) || isnan(r.mass)) return;
    struct sac_recall d;
    if (sac_trace_recall(c->t, lane, c->s->at.layer, c->s->at.head, true, &d) && !isnan(d.mass) &&
        d.mass < 0.999 && r.mass > 0.999) {
        r = d;
        decode = true;
    }
    snprintf(buf, cap,
             "The keys it reads hold %.1f %% of the attention mass of %s; the best choice of as many holds "
             "%.1f %%.",
             100 * r.mass, decode ? "the answer's rows" : "the prompt's rows", 100 * r.oracle);
}

/* ---- figures ---- */

static struct ui_heat heat_of(struct shot_ctx *c, struct shown *p, int n)
{
    struct ui_heat h = ui_heat_default(c->s->at.scale);
    if (c->s->at.range != UI_RANGE_AUTO) return h;
    size_t total = 0, at = 0;
    for (int i = 0; i < n; i++) total += (size_t)p[i].tile->t.h * (size_t)p[i].tile->t.w;
    float *all = malloc((total + 1) * sizeof *all);
    for (int i = 0; all && i < n; i++) {
        size_t m = (size_t)p[i].tile->t.h * (size_t)p[i].tile->t.w;
        memcpy(all + at, p[i].tile->t.value, m * sizeof *all);
        at += m;
    }
    if (all) ui_heat_auto(&h, all, total);
    free(all);
    return h;
}

enum sac_code shot_map(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err)
{
    struct shown p = { .win = shot_window(c, c->s->at.a) };
    char method[80], head[120], words[300];
    enum ui_overlay over = c->s->at.overlay;
    enum sac_code rc = SAC_OK;
    if (!compute_tile(c, &p, c->s->at.a, c->s->at.sparse)) rc = shot_failed(c, err, "this map");
    struct ui_heat heat = { 0 };
    if (!rc) {
        heat = heat_of(c, &p, 1);
        if (!paint(c, &p, &heat, over) || !add_strips(c, &p, c->s->at.a, &heat) ||
            !add_names(c, &p, c->s->at.a))
            rc = shot_failed(c, err, "this map");
    }
    if (!rc) {
        struct figure_key key[8];
        struct figure_pane pane;
        shot_lane_title(&c->a, method, sizeof method);
        shot_head_title(c, head, sizeof head);
        snprintf(c->title, sizeof c->title, "%s, %s", !strcmp(method, "dense") ? "Dense attention" : method,
                 head);
        subtitle(c, &heat, &p.tile->t);
        shot_cut_letters(c);
        recall_words(c, c->s->at.a, words, sizeof words);
        shot_caption(c, words);
        shot_ticks(c, &heat);
        fill_pane(&pane, &p, NULL, true);
        struct figure_map m = { .text = { c->title, c->subtitle, c->caption }, .n_panes = 1, .pane = &pane,
                                .n_keys = legend(c, over, c->s->at.a > 0, key), .key = key };
        shot_scale(c, &m.scale, c->s->at.sparse ? "weight after selection" : "dense attention weight");
        rc = figure_draw_map(&m, &c->style, c->format, &c->meta, out, err);
    }
    shown_free(&p);
    return rc;
}

/* A minus B, coloured around zero. */
static bool paint_difference(struct shot_ctx *c, const struct shown *a, const struct shown *b,
                             struct shown *d, double *range)
{
    size_t n = (size_t)a->tile->t.h * (size_t)a->tile->t.w;
    float *v = malloc((n + 1) * sizeof *v);
    d->cell = malloc((n + 1) * sizeof *d->cell);
    if (!v || !d->cell) {
        free(v);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        v[i] = a->tile->t.value[i] - b->tile->t.value[i];
        if (c->s->at.diff == UI_DIFF_ABS) v[i] = fabsf(v[i]);
    }
    *range = ui_diff_range(v, n);
    for (size_t i = 0; i < n; i++)
        d->cell[i] =
            isnan(v[i]) ? FIGURE_EMPTY : ui_div_rgb(ui_heat_diff_t((double)v[i], *range), !c->s->dark);
    free(v);
    return true;
}

/* The bar of the third pane; what it names lives in *bar. */
struct diff_bar { uint32_t rgb[RAMP + 1]; double t[5]; char text[5][16]; const char *tick[5]; };

static void diff_scale(const struct shot_ctx *c, double range, struct diff_bar *bar, struct figure_scale *out)
{
    bool both = c->s->at.diff == UI_DIFF_SIGNED;
    double lo = both ? -1 : 0;
    for (int i = 0; i <= RAMP; i++) bar->rgb[i] = ui_div_rgb(lo + (1 - lo) * i / RAMP, !c->s->dark);
    for (int i = 0; i < 5; i++) {
        double v = (lo + (1 - lo) * i / 4) * range;
        bar->t[i] = i / 4.0;
        snprintf(bar->text[i], sizeof bar->text[i], both && v > 0 ? "+%.2g" : "%.2g", v);
        bar->tick[i] = bar->text[i];
    }
    *out = (struct figure_scale){ both ? "difference: + more under the method" : "absolute difference",
                                  RAMP + 1,
                                  bar->rgb,
                                  5,
                                  bar->t,
                                  bar->tick };
}

enum sac_code shot_compare(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err)
{
    int lane[2] = { c->s->at.b, c->s->at.a };      /* the reference on the left */
    const struct sac_lane *l[2] = { &c->b, &c->a };
    struct shown p[3] = { { .win = shot_window(c, lane[0]) },
                          { .win = shot_window(c, lane[1]) },
                          { .n_strips = 0 } };
    struct figure_pane pane[3];
    struct figure_key key[10];
    char name[2][160], head[120], words[300];
    bool diff = c->s->at.diff != UI_DIFF_OFF;
    enum ui_overlay over = c->s->at.overlay;
    enum sac_code rc = SAC_OK;
    for (int i = 0; i < 2 && !rc; i++)
        if (!compute_tile(c, &p[i], lane[i], lane[i] > 0)) rc = shot_failed(c, err, "this comparison");
    struct ui_heat heat = { 0 };
    if (!rc) heat = heat_of(c, p, 2);
    for (int i = 0; i < 2 && !rc; i++)
        if (!paint(c, &p[i], &heat, over == UI_OVER_BLOCKS ? over : UI_OVER_NONE) ||
            !add_strips(c, &p[i], lane[i], &heat))
            rc = shot_failed(c, err, "this comparison");
    double range = 0;
    if (!rc && diff && !paint_difference(c, &p[1], &p[0], &p[2], &range))
        rc = shot_failed(c, err, "this comparison");
    if (!rc) {
        for (int i = 0; i < 2; i++) {
            shot_lane_titles(l[i], l[1 - i], name[i], sizeof name[i]);
            snprintf(p[i].title, sizeof p[i].title, "%s", name[i]);
            fill_pane(&pane[i], &p[i], p[i].title, i == 0);
        }
        if (diff) {
            snprintf(p[2].title, sizeof p[2].title, "%s%s − %s%s", c->s->at.diff == UI_DIFF_ABS ? "|" : "",
                     name[1], name[0], c->s->at.diff == UI_DIFF_ABS ? "|" : "");
            pane[2] = pane[1];
            pane[2].title = p[2].title;
            pane[2].cell = p[2].cell;
            pane[2].n_strips = pane[2].n_rects = 0;
        }
        shot_head_title(c, head, sizeof head);
        snprintf(c->title, sizeof c->title, "%s against %s, %s", name[1], name[0], head);
        subtitle(c, &heat, &p[0].tile->t);
        recall_words(c, c->s->at.a, words, sizeof words);
        shot_caption(c, words);
        shot_ticks(c, &heat);
        int n = legend(c, over == UI_OVER_BLOCKS ? over : UI_OVER_NONE, true, key);
        struct figure_map m = { .text = { c->title, c->subtitle, c->caption },
                                .n_panes = diff ? 3 : 2,
                                .pane = pane,
                                .n_keys = n,
                                .key = key };
        shot_scale(c, &m.scale, "attention weight, sparse rows sum to 1");
        struct diff_bar bar;
        if (diff) diff_scale(c, range, &bar, &m.scale2);
        rc = figure_draw_map(&m, &c->style, c->format, &c->meta, out, err);
    }
    for (int i = 0; i < 3; i++) shown_free(&p[i]);
    return rc;
}
