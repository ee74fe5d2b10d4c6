/* Heads: every query head of the model in one grid, coloured by one of nine measures.
 *
 * Columns are query heads, bracketed by the KV head they share; rows are layers. Sorted or filtered the grid
 * becomes a list with all measures. The side shows the head under the cursor in numbers and as two small
 * maps, and how the measure spreads over all heads. Enter opens the head in Map. */
#include "lines.h"
#include "views.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADS = 8192, MAX_CELL = 20 };

static enum ui_metric metric(const struct ui_state *st)
{
    int m = st->at.metric;
    return m >= 0 && m < UI_N_METRICS ? (enum ui_metric)m : UI_M_MASS;
}

static int index_of(const struct ui_state *st)
{
    return st->at.layer * st->info.shape.n_heads + st->at.head;
}

static bool listed(const struct ui_state *st)
{
    return st->at.worst_first || st->at.filter[0] || st->at.similar_to >= 0;
}

/* The list shown, in order; -1 with a sentence when the filter is wrong. */
static int order(const struct ui_state *st, const struct ui_heads *hs, int *out, char *err, size_t cap)
{
    err[0] = 0;
    if (hs->n_layers * hs->n_heads > MAX_HEADS) return 0;
    if (st->at.similar_to >= 0) {
        out[0] = st->at.similar_to;
        return 1 + ui_heads_similar(hs, st->at.similar_to, 40, out + 1);
    }
    return ui_heads_order(hs, metric(st), st->at.worst_first, st->at.filter, out, err, cap);
}

/* A value as a cell shows it: shares as per cent, bits with a decimal. */
static void cell_text(double v, enum ui_metric m, char *buf, size_t cap)
{
    if (isnan(v)) snprintf(buf, cap, "-");
    else if (m == UI_M_ENTROPY) snprintf(buf, cap, "%.1f", v);
    else snprintf(buf, cap, "%.0f", 100 * v);
}

static double shade_of(double v, enum ui_metric m)
{
    const struct ui_metric_info *i = &ui_metric_info[m];
    double t = (v - i->lo) / (i->hi - i->lo);
    /* Recall lives between 0.4 and 1: a root of the distance from 1 spreads what matters. */
    if (i->good > 0) t = 1 - sqrt(1 - (t < 0 ? 0 : t > 1 ? 1 : t));
    return t < 0 ? 0 : t > 1 ? 1 : t;
}

static void draw_cell(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, int tall,
                      const struct ui_head *h, int index)
{
    enum ui_metric m = metric(st);
    double v = ui_head_metric(h, m), t = isnan(v) ? (double)NAN : shade_of(v, m);
    bool cursor = index == index_of(st), mark = index < (int)sizeof st->marked && st->marked[index];
    char text[16];
    cell_text(v, m, text, sizeof text);
    int len = (int)strlen(text), gap = w > 3 ? 1 : 0, inner = w - gap;
    int pad = len > 3 || inner < 3 ? (inner - len + 1) / 2 : (inner - 3) / 2 + 3 - len; /* right-aligned */
    struct ui_style s = uv_style(st, UI_TEXT);
    if (ui_pic_rows(&st->look) == 2 && !isnan(t)) {
        s = ui_style_on(&st->look, ui_map_t(ui_look_map(&st->look), st->look.tier, t));
        cells_fill(b, (struct ui_rect){ x, y - (tall - 1) / 2, inner, tall }, U' ', s);
    } else if (!isnan(t) && inner >= len + 2) {
        char32_t g = ui_shade_glyph(1 - t, true);     /* more ink where less is left */
        cells_fill(b, (struct ui_rect){ x, y, inner, 1 }, g, uv_style(st, UI_DIM));
        cells_put(b, x + pad - 1, y, U' ', s);
        cells_put(b, x + pad + len, y, U' ', s);
    }
    if (isnan(v)) s = uv_style(st, UI_DIM);
    if (cursor) s.attr |= CELL_BOLD;
    cells_text(b, x + pad, y, inner - pad, text, s);
    if (mark && pad > 0) cells_put(b, x, y, st->look.ascii ? U'o' : 0x25C6, s);
    if (!cursor) return;
    struct ui_style c = uv_style(st, UI_CURSOR);
    c.attr |= CELL_BOLD;
    cells_put(b, x + (pad > 0 ? pad - 1 : 0), y, U'[', c);
    cells_text(b, x + pad, y, inner - pad, text, c);
    if (pad + len < w) cells_put(b, x + pad + len, y, U']', c);
}

/* The part of n items that shows `at` in `room` places. */
static int first_shown(int n, int room, int at)
{
    if (n <= room) return 0;
    int first = at - room / 2;
    return first < 0 ? 0 : first > n - room ? n - room : first;
}

/* Lines of a cell: more when there is room for all layers. */
static int tall(int rows, int n_layers)
{
    int n = n_layers > 0 ? rows / n_layers : 1;
    return n < 1 ? 1 : n > 5 ? 5 : n;
}

static void grid_head(const struct ui_state *st, struct cell_buf *b, struct ui_rect in, int x0, int w, int h0,
                      int n)
{
    const struct sac_shape *s = &st->info.shape;
    int per = s->n_heads / (s->n_kv_heads > 0 ? s->n_kv_heads : 1);
    struct ui_style line = uv_style(st, UI_LINE);
    for (int i = 0; i < n; i++) {
        int h = h0 + i;
        uv_at(st, b, x0 + i * w + (w > 4 ? (w - 1) / 2 - 1 : 0), in.y + 1, w,
              h == st->at.head ? UI_STRONG : UI_DIM, w > 3 ? "H%d" : "%d", h);
    }
    for (int g = h0 / per; g * per < h0 + n; g++) {
        int a = g * per > h0 ? g * per : h0, z = (g + 1) * per < h0 + n ? (g + 1) * per : h0 + n;
        int x = x0 + (a - h0) * w, len = (z - a) * w - 1;
        cells_hline(b, x, in.y, len, line);
        char label[24];
        int k = snprintf(label, sizeof label, len > 14 ? " KV head %d " : "kv%d", g);
        if (k <= len) cells_text(b, x + (len - k) / 2, in.y, len, label, uv_style(st, UI_DIM));
    }
}

/* What the colours mean: a few values on their own colour. Returns the columns used. */
static int legend(const struct ui_state *st, struct cell_buf *b, int x, int y, int w)
{
    static const double part[2][5] = { { 0, .25, .5, .75, 1 }, { .4, .6, .8, .9, 1 } };
    enum ui_metric m = metric(st);
    const struct ui_metric_info *info = &ui_metric_info[m];
    if (ui_pic_rows(&st->look) < 2) return uv_at(st, b, x, y, w, UI_DIM, "more ink = lower");
    int at = uv_at(st, b, x, y, w, UI_DIM, "%s ", info->title);
    for (int i = 0; i < 5 && at + 5 <= w; i++) {
        double v = info->lo + part[info->good > 0][i] * (info->hi - info->lo);
        char text[16];
        cell_text(v, m, text, sizeof text);
        struct ui_style s =
            ui_style_on(&st->look, ui_map_t(ui_look_map(&st->look), st->look.tier, shade_of(v, m)));
        cells_fill(b, (struct ui_rect){ x + at, y, 5, 1 }, U' ', s);
        cells_right(b, x + at + 4, y, 4, text, s);
        at += 5;
    }
    return at + uv_at(st, b, x + at, y, w - at, UI_DIM, m == UI_M_ENTROPY ? " bits" : " %%");
}

static void draw_grid(const struct ui_state *st, struct cell_buf *b, struct ui_rect in,
                      const struct ui_heads *hs)
{
    int w = (in.w - 5) / (hs->n_heads > 0 ? hs->n_heads : 1);
    w = w > MAX_CELL ? MAX_CELL : w < 4 ? 4 : w;
    int cols = (in.w - 5) / w < hs->n_heads ? (in.w - 5) / w : hs->n_heads, rows = in.h - 2;
    if (rows > 1 && in.h > hs->n_layers + 3) rows--;
    if (cols < 1 || rows < 1) return;
    int h0 = first_shown(hs->n_heads, cols, st->at.head), l0 = first_shown(hs->n_layers, rows, st->at.layer);
    int step = tall(rows, hs->n_layers);
    grid_head(st, b, in, in.x + 5, w, h0, cols);
    for (int i = 0; i < rows && l0 + i < hs->n_layers; i++) {
        int l = l0 + i, window, y = in.y + 2 + i * step + (step - 1) / 2;
        bool local = sac_trace_layer_windowed(st->trace, l, &window);
        uv_at(st, b, in.x, y, 5, l == st->at.layer ? UI_STRONG : UI_DIM, "%cL%d", local ? 'w' : ' ', l);
        for (int j = 0; j < cols; j++)
            draw_cell(st, b, in.x + 5 + j * w, y, w, step, &hs->head[l * hs->n_heads + h0 + j],
                      l * hs->n_heads + h0 + j);
    }
    int used = 2 + step * (hs->n_layers - l0 < rows ? hs->n_layers - l0 : rows);
    bool windowed = false;
    for (int l = 0, window; l < hs->n_layers; l++)
        windowed = windowed || sac_trace_layer_windowed(st->trace, l, &window);
    if (in.h <= used) return;
    int x = in.x + 1 + legend(st, b, in.x + 1, in.y + in.h - 1, in.w - 1);
    uv_at(st, b, x, in.y + in.h - 1, in.x + in.w - x, UI_DIM, "  [ ] cursor%s%s",
          windowed ? "  w sliding window" : "",
          cols < hs->n_heads || rows < hs->n_layers ? "  scrolls with the cursor" : "");
}

static void draw_thumbs(const struct ui_state *st, struct cell_buf *b, struct ui_rect in,
                        const struct ui_heads *hs)
{
    enum { LINES = 5, MAX_W = 24 };
    int n = uv_n(st, st->at.a), per = ui_pic_rows(&st->look),
        w = (in.w - 5) / (hs->n_heads > 0 ? hs->n_heads : 1);
    w = w > MAX_W ? MAX_W : w < 9 ? 9 : w;
    int cols = (in.w - 5) / w < hs->n_heads ? (in.w - 5) / w : hs->n_heads, rows = in.h / LINES;
    if (cols < 1 || rows < 1 || n < 1) return;
    int h0 = first_shown(hs->n_heads, cols, st->at.head), l0 = first_shown(hs->n_layers, rows, st->at.layer);
    float t[MAX_W * 2 * LINES];
    for (int i = 0; i < rows && l0 + i < hs->n_layers; i++)
        for (int j = 0; j < cols; j++) {
            int l = l0 + i, h = h0 + j, x = in.x + 5 + j * w, y = in.y + i * LINES;
            bool cursor = l == st->at.layer && h == st->at.head;
            char v[16];
            cell_text(ui_head_metric(&hs->head[l * hs->n_heads + h], metric(st)), metric(st), v, sizeof v);
            if (!j) uv_at(st, b, in.x, y, 4, UI_DIM, "L%d", l);
            uv_at(st, b, x, y, w - 1, cursor ? UI_CURSOR : UI_DIM, cursor ? "[H%d %s]" : "H%d %s", h, v);
            if (!uv_thumb(st, st->at.a, l, h, false, w - 1, (LINES - 1) * per, NULL, t)) {
                uv_at(st, b, x, y + 2, w - 1, UI_DIM, "...");
                continue;
            }
            struct ui_pic p = {
                .w = w - 1, .h = (LINES - 1) * per, .t = t, .cx = -1, .cy = -1, .sx = -1, .sy = -1
            };
            ui_pic_draw(&st->look, b, x, y + 1, &p);
        }
}

static void draw_list(const struct ui_state *st, struct cell_buf *b, struct ui_rect in,
                      const struct ui_heads *hs)
{
    static int index[MAX_HEADS];     /* drawn by the UI thread alone */
    char err[240];
    int n = order(st, hs, index, err, sizeof err), y = in.y;
    if (n <= 0) {
        ui_empty(st, b, in, n < 0 ? err : "No head matches the filter.",
                 "f changes it, :filter alone clears it");
        return;
    }
    bool wide = in.w >= 70;
    uv_at(st, b, in.x, y++, in.w, UI_DIM,
          wide ? "  head    recall oracle  set regret  bits  sink local  gold sparse  pattern"
               : "  head     recall oracle  set entropy  gold sparse");
    int cur = 0, lines = in.h - 1;
    for (int i = 0; i < n; i++)
        if (index[i] == index_of(st)) cur = i;
    int first = first_shown(n, lines, cur);
    for (int i = first; i < n && i < first + lines; i++, y++) {
        const struct ui_head *h = &hs->head[index[i]];
        bool on = i == cur;
        struct ui_style s = uv_style(st, on ? UI_CURSOR : UI_TEXT);
        char name[24];
        bool mark = index[i] < (int)sizeof st->marked && st->marked[index[i]];
        snprintf(name, sizeof name, "%c%cL%d H%d", on ? '>' : ' ', mark ? 'o' : ' ', index[i] / hs->n_heads,
                 index[i] % hs->n_heads);
        if (on) cells_fill(b, (struct ui_rect){ in.x, y, in.w, 1 }, U' ', s);
        if (!h->known) { cells_printf(b, in.x, y, in.w, s, "%-10s  not measured yet", name); continue; }
        if (wide)
            cells_printf(b, in.x, y, in.w, s,
                         "%-9s  %5.2f %6.2f %4.2f %6.2f %5.1f %5.2f %5.2f %5.2f %6.2f  %s", name, h->r.mass,
                         h->r.oracle, h->r.set, h->r.oracle - h->r.mass, h->r.entropy, h->r.sink, h->r.local,
                         h->r.evidence_mass, 1 - h->d.kernel, ui_head_pattern(h));
        else
            cells_printf(b, in.x, y, in.w, s, "%-10s %5.2f %6.2f %4.2f %7.1f  %4.2f  %5.2f", name, h->r.mass,
                         h->r.oracle, h->r.set, h->r.entropy, h->r.evidence_mass, 1 - h->d.kernel);
    }
}

/* ---- side ---- */

static void draw_stats(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                       const struct ui_head *h)
{
    char v[64];
    int y = r.y, end = r.y + r.h;
    if (!h->known) { uv_at(st, b, r.x, y, r.w, UI_DIM, "not measured yet"); return; }
    const struct sac_recall *c = &h->r;
    bool wide = r.w >= 30;
    /* fmt: for the wide panel; the narrow one has a line for every number. */
    const struct {
        const char *label, *fmt;
        double a, b2;
        bool narrow;
    } row[] = {
        { "mass recall", "%.2f  (oracle %.2f)", c->mass, c->oracle, true },
        { "oracle", NULL, c->oracle, 0, true },
        { "set recall", "%.2f  of top-%.0f", c->set, c->kept, true },
        { "regret", "%.2f  oracle - mass", c->oracle - c->mass, 0, false },
        { "sparsity", "%.3f  keys not read", 1 - h->d.kernel, 0, true },
        { "entropy", "%.1f bits", c->entropy, 0, true },
        { "sink share", "%.2f  first 4 tokens", c->sink, 0, true },
        { "local share", "%.2f  last 128", c->local, 0, true },
        { "gold mass", "%.2f  read %.2f", c->evidence_mass, c->evidence_mass_kept, true },
        { "gold read", NULL, c->evidence_mass_kept, 0, true },
        { "output error", "%.3f relative", c->out_err, 0, false },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row && y < end - 1; i++) {
        if (wide ? !row[i].fmt : !row[i].narrow) continue;
        if (isnan(row[i].a)) snprintf(v, sizeof v, "-");
        else {
            const char *fmt = wide ? row[i].fmt : strstr(row[i].label, "entropy") ? "%.1f bits" : "%.2f";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(v, sizeof v, fmt, row[i].a, row[i].b2);
#pragma GCC diagnostic pop
        }
        int label = wide ? 14 : 13;
        uv_at(st, b, r.x, y, label - 1, UI_DIM, "%s", row[i].label);
        uv_at(st, b, r.x + label, y++, r.w - label, UI_TEXT, "%s", v);
    }
    if (y >= end) return;
    uv_at(st, b, r.x, y, 8, UI_DIM, "pattern");
    uv_at(st, b, r.x + (wide ? 14 : 8), y, r.w - (wide ? 14 : 8), UI_TEXT, "%s", ui_head_pattern(h));
}

/* Dense weights of the head and what the method reads of them, as two small maps. */
static void draw_pair(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    int per = ui_pic_rows(&st->look), n = uv_n(st, st->at.a), two = r.w >= 20 ? 2 : 1;
    bool stack = two > 1 && r.h >= r.w * 3 / 4; /* a tall pane has them below each other, and larger */
    int across = stack ? 1 : two, lines = r.h / (stack ? 2 : 1) - 1, w = r.w / across - (across > 1);
    if (w > 2 * lines) w = 2 * lines;
    if (w > 64) w = 64;
    if (lines > w * 3 / 4) lines = w * 3 / 4; /* about square */
    if (lines < 3 || w < 4 || n < 1) return;
    float t[64 * 96];
    int h = lines * per;
    for (int i = 0; i < two; i++) {
        int x = r.x + (stack ? 0 : i * (r.w / 2)), y = r.y + (stack ? i * (r.h / 2) : 0);
        uv_at(st, b, x, y, r.w / across - 1, UI_DIM, i ? r.w >= 30 ? "%s reads" : "reads" : "dense",
              ui_lane_name(st, st->at.a));
        if (!uv_thumb(st, st->at.a, st->at.layer, ui_head_arg(st), i == 1, w, h, NULL, t)) {
            uv_at(st, b, x, y + 1, w, UI_DIM, "computing");
            continue;
        }
        struct ui_pic p = { .w = w, .h = h, .t = t, .cx = -1, .cy = -1, .sx = -1, .sy = -1 };
        ui_pic_draw(&st->look, b, x, y + 1, &p);
    }
}

static void draw_spread(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                        const struct ui_heads *hs)
{
    enum { BINS = 7 };
    enum ui_metric m = metric(st);
    const struct ui_metric_info *info = &ui_metric_info[m];
    int count[BINS] = { 0 }, most = 1, n = hs->n_layers * hs->n_heads;
    static const double edge[BINS + 1] = { 1, .9, .8, .7, .6, .5, .4, 0 };
    for (int i = 0; i < n; i++) {
        double v = ui_head_metric(&hs->head[i], m), t = (v - info->lo) / (info->hi - info->lo);
        if (isnan(v)) continue;
        int bin = 0;
        while (bin + 1 < BINS && t < edge[bin + 1]) bin++;
        if (++count[bin] > most) most = count[bin];
    }
    int y = r.y, bins = r.h - 1 < BINS ? r.h - 1 : BINS;
    for (int i = 0; i < bins; i++, y++) {
        char label[24];
        double hi = info->lo + edge[i] * (info->hi - info->lo),
               lo = info->lo + edge[i + 1] * (info->hi - info->lo);
        if (i == BINS - 1) snprintf(label, sizeof label, "< %.3g", hi);
        else snprintf(label, sizeof label, "%.3g-%.3g", lo, hi);
        uv_at(st, b, r.x, y, 9, UI_DIM, "%s", label);
        char32_t bar[64];
        int w = r.w - 14 < 64 ? r.w - 14 : 64;
        ui_bar((double)count[i] / most, w, st->look.ascii, bar);
        for (int k = 0; k < w; k++)
            cells_put(b, r.x + 9 + k, y, bar[k] == U'.' ? U' ' : bar[k], uv_style(st, UI_BAR));
        uv_at(st, b, r.x + r.w - 4, y, 4, UI_TEXT, "%4d", count[i]);
    }
    float mean[512];
    int nl = hs->n_layers < 512 ? hs->n_layers : 512;
    for (int l = 0; l < nl; l++) {
        double sum = 0;
        int k = 0;
        for (int h = 0; h < hs->n_heads; h++) {
            double v = ui_head_metric(&hs->head[l * hs->n_heads + h], m);
            if (!isnan(v)) { sum += (v - info->lo) / (info->hi - info->lo); k++; }
        }
        mean[l] = k ? (float)(sum / k) : NAN;
    }
    uv_at(st, b, r.x, r.y + r.h - 1, 11, UI_DIM, "per layer");
    int w = r.w - 11 < nl ? r.w - 11 : nl;
    ui_spark_line(&st->look, b, r.x + 11, r.y + r.h - 1, w, mean, nl, UI_BAR);
}

static void draw_side(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                      const struct ui_heads *hs)
{
    if (r.w < 1) return;
    char name[48];
    const struct ui_head *h = &hs->head[index_of(st)];
    snprintf(name, sizeof name, "L%d H%d (kv%d)", st->at.layer, st->at.head, ui_kv_head(st));
    int top = r.h >= 20 ? 12 : r.h >= 14 ? 9 : r.h, spread = r.h >= 28 ? 10 : 0;
    draw_stats(st, b, ui_pane(st, b, (struct ui_rect){ r.x, r.y, r.w, top }, -1, "%s", name), h);
    if (r.h - top - spread >= 5) {
        struct ui_rect mid = { r.x, r.y + top, r.w, r.h - top - spread };
        draw_pair(st, b, ui_pane(st, b, mid, -1, "Weights"));
    }
    if (!spread) return;
    struct ui_rect low = { r.x, r.y + r.h - spread, r.w, spread };
    draw_spread(st, b,
                ui_pane(st, b, low, -1, "%s of %d heads", ui_metric_info[metric(st)].title, hs->n_known), hs);
}

/* ---- the view ---- */

static void heads_draw(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    enum ui_req_state rs = UI_REQ_NOTHING;
    struct uv_cols c = uv_layout(r, 36, 24, 0);
    if (c.side2.w) { c.main.w += c.side2.w; c.side.x += c.side2.w; }
    const struct ui_heads *hs = st->trace && st->at.a < st->n_lanes ? uv_heads(st, st->at.a, &rs) : NULL;
    char part[64] = "";
    int all = hs ? hs->n_layers * hs->n_heads : 0;
    if (hs && hs->n_known < all)
        snprintf(part, sizeof part, "  %d of %d layers measured",
                 hs->n_known / (hs->n_heads > 0 ? hs->n_heads : 1), hs->n_layers);
    struct ui_rect in;
    if (st->at.similar_to >= 0 && hs)
        in = ui_pane(st, b, c.main, 0, "Heads like L%d H%d, nearest first", st->at.similar_to / hs->n_heads,
                     st->at.similar_to % hs->n_heads);
    else if (listed(st))
        in = ui_pane(st, b, c.main, 0, "Heads%s%s%s%s", st->at.worst_first ? " worst first" : " by layer",
                     st->at.filter[0] ? " where " : "", st->at.filter, part);
    else
        in = ui_pane(st, b, c.main, 0, "Layer x head   %d x %d%s%s", st->info.shape.n_layers,
                     st->info.shape.n_heads, st->at.thumbs ? ": dense weights, small, and the measure" : "",
                     part);
    if (!hs || !hs->n_known) {
        uv_notice(st, b, in, st->at.a, -1, hs ? UI_REQ_NOTHING : rs);
        return;
    }
    if (listed(st)) draw_list(st, b, in, hs);
    else if (st->at.thumbs && in.h >= 5 && in.w >= 14) draw_thumbs(st, b, in, hs);
    else draw_grid(st, b, in, hs);
    if (!c.side.w && st->at.pane[UI_SCREEN_HEADS] == 1 && r.w >= 50) {     /* narrow: Tab lays it over */
        c.side = (struct ui_rect){ r.x + r.w - 26, r.y, 26, r.h };
        cells_fill(b, c.side, U' ', uv_style(st, UI_TEXT));
    }
    draw_side(st, b, c.side, hs);
}

static void heads_context(const struct ui_state *st, char *buf, size_t cap, int w)
{
    enum ui_req_state rs;
    int n = uv_what(st, buf, cap, w);
    if (!st->trace || st->at.a >= st->n_lanes || n < 0 || (size_t)n >= cap) return;
    const struct ui_heads *hs = uv_heads(st, st->at.a, &rs);
    n += snprintf(buf + n, cap - (size_t)n,
                  w >= 76 ? " | %s | cell: %s%s of %s" : " | %s | %s%s", ui_lane_name(st, st->at.a),
                  ui_metric_info[metric(st)].title, metric(st) == UI_M_ENTROPY ? " (bits)" : " (%)",
                  hs && hs->decode ? "answer rows" : "prefill rows (sample)");
    const char *more[] = { ", its own q and k",
                           st->at.similar_to >= 0   ? " | nearest first"
                           : st->at.worst_first ? " | worst first"
                                                    : " | by layer" };
    for (int i = 0; i < 2 && (size_t)n < cap; i++) /* as far as there is room */
        if (w >= 100 && n + (int)strlen(more[i]) <= w) n += snprintf(buf + n, cap - (size_t)n, "%s", more[i]);
}

static void heads_status(const struct ui_state *st, char *buf, size_t cap)
{
    enum ui_req_state rs;
    buf[0] = 0;
    if (!st->trace || st->at.a >= st->n_lanes) return;
    const struct ui_heads *hs = uv_heads(st, st->at.a, &rs);
    if (!hs || !hs->n_known) return;
    const struct ui_metric_info *m = &ui_metric_info[metric(st)];
    struct ui_heads_sum s = ui_heads_summary(hs, metric(st));
    if (!s.n) { snprintf(buf, cap, "%s is not defined for this run", m->title); return; }
    char mid[32] = "";
    if (st->plain || st->body.w >= 80) snprintf(mid, sizeof mid, "  median %.2f", s.median);
    int n =
        snprintf(buf, cap, "%d heads, %s: mean %.2f%s  %s L%d H%d %.2f", s.n, m->title, s.mean, mid,
                 m->good ? "worst" : "largest", s.worst / hs->n_heads, s.worst % hs->n_heads, s.worst_value);
    if (m->good && n > 0 && (size_t)n < cap)
        snprintf(buf + n, cap - (size_t)n, "  %d %s %.2f", s.n_bad, m->good > 0 ? "below" : "above",
                 s.bad_line);
}

static void heads_plain(const struct ui_state *st, char *buf, size_t cap)
{
    enum ui_req_state rs;
    char line[400], err[240];
    static int index[MAX_HEADS];
    heads_context(st, line, sizeof line, 120);
    int n = snprintf(buf, cap, "%s\n", line);
    heads_status(st, line, sizeof line);
    n += snprintf(buf + n, cap - (size_t)n, "%s\n", line);
    const struct ui_heads *hs = st->trace && st->at.a < st->n_lanes ? uv_heads(st, st->at.a, &rs) : NULL;
    if (!hs) return;
    int m = order(st, hs, index, err, sizeof err);
    for (int i = 0; i < m && (size_t)n + 100 < cap; i++) {
        const struct ui_head *h = &hs->head[index[i]];
        if (!h->known) continue;
        n += snprintf(buf + n, cap - (size_t)n,
                      "layer %d head %d mass recall %.2f oracle %.2f set recall %.2f gold mass %.2f\n",
                      index[i] / hs->n_heads, index[i] % hs->n_heads, h->r.mass, h->r.oracle, h->r.set,
                      h->r.evidence_mass);
    }
}

static void clamp_head(struct ui_state *st, int layer, int head)
{
    const struct sac_shape *s = &st->info.shape;
    st->at.layer = layer < 0 ? 0 : layer >= s->n_layers ? s->n_layers - 1 : layer;
    st->at.head = head < 0 ? 0 : head >= s->n_heads ? s->n_heads - 1 : head;
}

static bool heads_move(struct ui_state *st, enum ui_move m, int n)
{
    enum ui_req_state rs;
    static int index[MAX_HEADS];
    char err[240];
    if (!st->trace || st->at.a >= st->n_lanes) return false;
    int l = st->at.layer, h = st->at.head, half = st->body.h / 2;
    int dy = m == UI_UP ? -n : m == UI_DOWN ? n : m == UI_HALF_UP ? -n * half : m == UI_HALF_DOWN ? n * half
           : m == UI_PAGE_UP ? -2 * n * half : m == UI_PAGE_DOWN ? 2 * n * half : 0;
    if (listed(st)) {
        const struct ui_heads *hs = uv_heads(st, st->at.a, &rs);
        int k = hs ? order(st, hs, index, err, sizeof err) : 0, cur = 0;
        if (k < 1) return true;
        for (int i = 0; i < k; i++)
            if (index[i] == index_of(st)) cur = i;
        cur = m == UI_TOP ? 0 : m == UI_BOTTOM ? k - 1 : cur + dy;
        cur = cur < 0 ? 0 : cur >= k ? k - 1 : cur;
        clamp_head(st, index[cur] / hs->n_heads, index[cur] % hs->n_heads);
        return true;
    }
    int dx = m == UI_LEFT ? -n : m == UI_RIGHT ? n : 0;
    if (m == UI_TOP) l = 0;
    if (m == UI_BOTTOM) l = st->info.shape.n_layers - 1;
    if (m == UI_LINE_START) h = 0;
    if (m == UI_LINE_END) h = st->info.shape.n_heads - 1;
    clamp_head(st, l + dy, h + dx);
    return true;
}

static void heads_settle(struct ui_state *st)
{
    if (!st->trace) return;
    uv_first_look(st);
    clamp_head(st, st->at.layer, st->at.head);
    if (st->at.similar_to >= st->info.shape.n_layers * st->info.shape.n_heads) st->at.similar_to = -1;
}

static bool heads_open(struct ui_state *st)
{
    if (!st->trace) return false;
    st->at.group = false;
    ui_go(st, UI_SCREEN_MAP);
    return true;
}

static bool heads_toggle(struct ui_state *st)
{
    int i = index_of(st);
    if (!st->trace || i >= (int)sizeof st->marked) return false;
    st->marked[i] = !st->marked[i];
    ui_say(st, UI_SAY_INFO, "L%d H%d %s (< > go round the marked heads)", st->at.layer, st->at.head,
           st->marked[i] ? "marked" : "not marked");
    return true;
}

static bool heads_event(struct ui_state *st, int by)
{
    int n = st->info.shape.n_layers * st->info.shape.n_heads, at = index_of(st);
    if (!st->trace || n < 1 || n > (int)sizeof st->marked) return false;
    for (int k = 1; k <= n; k++) {
        int i = ((at + (by > 0 ? k : -k)) % n + n) % n;
        if (!st->marked[i]) continue;
        clamp_head(st, i / st->info.shape.n_heads, i % st->info.shape.n_heads);
        return true;
    }
    ui_say(st, UI_SAY_INFO, "no head is marked: Space marks the head under the cursor");
    return true;
}

static bool heads_cancel(struct ui_state *st)
{
    if (!st->at.filter[0] && st->at.similar_to < 0) return false;
    st->at.filter[0] = 0;
    st->at.similar_to = -1;
    return true;
}

static bool heads_find(struct ui_state *st, const char *text, int dir)
{
    int l, h;
    char end;
    (void)dir;
    if (sscanf(text, "L%dH%d%c", &l, &h, &end) == 2 || sscanf(text, "l%dh%d%c", &l, &h, &end) == 2)
        return uv_find(st, text, 0, true);
    ui_say(st, UI_SAY_BAD, "'%s': here a head is looked for, as L7H2", text);
    return false;
}

static bool heads_click(struct ui_state *st, int x, int y, enum ui_click what)
{
    if (what == UI_WHEEL_UP || what == UI_WHEEL_DOWN)
        return heads_move(st, what == UI_WHEEL_UP ? UI_UP : UI_DOWN, 1);
    if (what != UI_CLICK || !st->trace || listed(st) || st->at.thumbs) return false;
    struct uv_cols c = uv_layout(st->body, 36, 24, 0);
    if (c.side2.w) c.main.w += c.side2.w;
    const struct sac_shape *s = &st->info.shape;
    struct ui_rect in = { c.main.x + 1, c.main.y + 1, c.main.w - 2, c.main.h - 2 };
    int w = (in.w - 5) / (s->n_heads > 0 ? s->n_heads : 1), rows = in.h - 2;
    w = w > MAX_CELL ? MAX_CELL : w < 4 ? 4 : w;
    if (rows > 1 && in.h > s->n_layers + 3) rows--;
    int cols = (in.w - 5) / w < s->n_heads ? (in.w - 5) / w : s->n_heads, step = tall(rows, s->n_layers);
    if (x < in.x + 5 || y < in.y + 2 || (x - in.x - 5) / w >= cols) return false;
    clamp_head(st, first_shown(s->n_layers, rows, st->at.layer) + (y - in.y - 2) / step,
               first_shown(s->n_heads, cols, st->at.head) + (x - in.x - 5) / w);
    return true;
}

/* ---- commands ---- */

static bool cmd_metric(struct ui_state *st, const char *arg)
{
    const char *name[UI_N_METRICS];
    int i;
    for (int k = 0; k < UI_N_METRICS; k++) name[k] = ui_metric_info[k].name;
    if (!ui_arg_choice(st, arg, name, UI_N_METRICS, (int)metric(st), &i)) return false;
    st->at.metric = i;
    ui_say(st, UI_SAY_INFO, "%s: %s", ui_metric_info[i].title, ui_metric_info[i].help);
    return true;
}

static bool cmd_filter(struct ui_state *st, const char *arg)
{
    char err[240] = "";
    if (*arg && !ui_heads_filter_ok(arg, err, sizeof err)) {
        ui_say(st, UI_SAY_BAD, "%s", err);
        return false;
    }
    snprintf(st->at.filter, sizeof st->at.filter, "%s", arg);
    st->at.similar_to = -1;
    if (!*arg) ui_say(st, UI_SAY_INFO, "no filter; for example :filter recall<0.7 && layer>6");
    return true;
}

static bool cmd_sort(struct ui_state *st, const char *arg)
{
    static const char *const way[] = { "layer", "worst" };
    int i;
    if (!ui_arg_choice(st, arg, way, 2, st->at.worst_first, &i)) return false;
    st->at.worst_first = i;
    st->at.similar_to = -1;
    return true;
}

static bool cmd_thumbs(struct ui_state *st, const char *arg)
{
    static const char *const way[] = { "off", "on" };
    int i;
    if (!ui_arg_choice(st, arg, way, 2, st->at.thumbs && !listed(st), &i)) return false;
    st->at.thumbs = i;
    if (i && listed(st)) {          /* there is no room for both */
        heads_cancel(st);
        st->at.worst_first = false;
    }
    return true;
}

static bool cmd_similar(struct ui_state *st, const char *arg)
{
    (void)arg;
    st->at.similar_to = st->at.similar_to >= 0 ? -1 : index_of(st);
    return true;
}

#define HERE UI_CTX(UI_SCREEN_HEADS)
static const struct ui_cmd cmds[] = {
    { "metric", "recall|set|regret|entropy|sink|local|gold|sparsity|error|next",
      "the measure that colours the grid", UI_GROUP_LOOK, HERE, UI_CMD_VIEW, cmd_metric },
    { "sort", "layer|worst|next", "by layer, or a list with the worst head first", UI_GROUP_LOOK, HERE,
      UI_CMD_VIEW, cmd_sort },
    { "filter", "EXPRESSION", "list heads such as recall<0.7 && layer>6", UI_GROUP_LOOK, HERE, UI_CMD_VIEW,
      cmd_filter },
    { "thumbs", "off|on|next", "a small map for every head", UI_GROUP_LOOK, HERE, UI_CMD_VIEW, cmd_thumbs },
    { "similar", "", "list heads whose measures are nearest to this one", UI_GROUP_LOOK, HERE, UI_CMD_VIEW,
      cmd_similar },
};
static const struct ui_bind binds[] = {
    { HERE, "i", "metric next" }, { HERE, "S", "sort next" }, { HERE, "f", "command filter " },
    { HERE, "t", "thumbs next" }, { HERE, "~", "similar" },
};
static const struct ui_hint hints[] = {
    { "open", "open map" },          { "metric next", "measure" },    { "sort next", "sort" },
    { "command filter ", "filter" }, { "thumbs next", "thumbnails" }, { "toggle", "mark" },
    { "similar", "similar heads" },  { "method-pick", "method" },
};

const struct ui_view ui_view_heads = {
    .name = "heads",
    .tab = "Heads",
    .tab_short = "Head",
    .draw = heads_draw,
    .context = heads_context,
    .status = heads_status,
    .settle = heads_settle,
    .move = heads_move,
    .open = heads_open,
    .toggle = heads_toggle,
    .cancel = heads_cancel,
    .find = heads_find,
    .event = heads_event,
    .click = heads_click,
    .copy = heads_status,
    .plain = heads_plain,
    .n_panes = 2,
    .cmds = cmds,
    .n_cmds = (int)(sizeof cmds / sizeof *cmds),
    .binds = binds,
    .n_binds = (int)(sizeof binds / sizeof *binds),
    .hints = hints,
    .n_hints = (int)(sizeof hints / sizeof *hints),
};
