/* Text: the prompt and the answer as text, shaded by the attention of one query.
 *
 * Background is lift (weight times visible keys) in steps of four, underline is what the method reads,
 * brackets are gold, '-' in the gutter counts missed keys. Stretches nobody reads are folded. Below,
 * densities along the prompt for both methods; beside it the stretches read most and the next-token tables;
 * at the foot where the query looks in every layer. */
#include "lines.h"
#include "views.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOLD_MARGIN = 12, FOLD_SHORTEST = 48, MAX_FOLDED = 1 << 20, LABEL = 15 };

struct boxes { struct uv_cols c; struct ui_rect text; int strips; };

static struct boxes layout(const struct ui_state *st, struct ui_rect r)
{
    int n = st->trace ? st->info.shape.n_layers : 0, foot = r.h >= 32 ? 10 : 0;
    if (foot && n > 0 && n <= 16) /* no more lines than the layers take, two of them a line from nine on */
        foot = 2 + (n <= 8 ? n : ui_pic_rows(&st->look) == 2 ? (n + 1) / 2 : 8);
    struct boxes x = { .c = uv_layout(r, 34, 0, foot) };
    if (x.c.side2.w) {
        x.c.main.w += x.c.side2.w - 20;
        x.c.side.x += x.c.side2.w - 20;
        x.c.side.w += 20;
        x.c.side2.w = 0;
    }
    int h = x.c.main.h - 2;
    x.strips = h >= 16 ? (x.c.side.w ? (h >= 20 ? 6 : 4) : 8) : h >= 10 ? 3 : 0;
    x.text = (struct ui_rect){ x.c.main.x + 1, x.c.main.y + 1, x.c.main.w - 2, h - x.strips };
    return x;
}

/* ---- the laid-out text ---- */

/* Layout of this frame; kept between frames while what it depends on stays (drawing changes nothing else). */
static struct {
    const void *text, *row;
    int width, wrap, query, lane, layer, head;
    uint64_t generation;
    double fold;
    struct ui_text_lines lines;
    unsigned char *folded;
    float *lift;
    int n;
} cache;

static const struct ui_row *shade_row(const struct ui_state *st)
{
    enum ui_req_state rs;
    int lane = st->at.shade == UI_SHADE_B && st->at.b >= 0 && st->at.b < st->n_lanes ? st->at.b : st->at.a;
    return uv_row(st, lane, st->at.layer, ui_head_arg(st), st->at.row, &rs);
}

static bool lay_out(const struct ui_state *st, const struct ui_text *x, const struct ui_row *row, int width)
{
    if (cache.text == x && cache.row == row && cache.lane == x->lane && cache.layer == st->at.layer &&
        cache.head == ui_head_arg(st) && cache.generation == st->generation && cache.width == width &&
        cache.wrap == st->at.wrap && cache.query == st->at.row && !(cache.fold < st->at.fold) &&
        !(cache.fold > st->at.fold) && cache.n == x->n)
        return cache.lines.n > 0;
    free(cache.folded);
    free(cache.lift);
    cache.folded = calloc((size_t)x->n + 1, 1);
    cache.lift = calloc((size_t)x->n + 1, sizeof *cache.lift);
    if (!cache.folded || !cache.lift) return false;
    for (int i = 0; row && i < x->n && i < row->n_keys; i++) cache.lift[i] = row->w[i] * (float)row->n_keys;
    struct ui_tok *keep = malloc(((size_t)x->n + 1) * sizeof *keep);
    if (!keep) return false;
    memcpy(keep, x->tok, (size_t)x->n * sizeof *keep);
    if (st->at.row >= 0 && st->at.row < x->n) keep[st->at.row].keep = true;
    ui_text_fold(keep, cache.lift, x->n, row ? st->at.fold : 0, FOLD_MARGIN, FOLD_SHORTEST, cache.folded);
    bool ok = ui_text_layout(keep, cache.lift, x->n, cache.folded, width, st->at.wrap,
                             x->n > x->n_prompt ? x->n_prompt : -1, 20, &cache.lines);
    free(keep);
    cache.text = x;
    cache.row = row;
    cache.width = width;
    cache.wrap = st->at.wrap;
    cache.query = st->at.row;
    cache.lane = x->lane;
    cache.layer = st->at.layer;
    cache.head = ui_head_arg(st);
    cache.generation = st->generation;
    cache.fold = st->at.fold;
    cache.n = x->n;
    return ok && cache.lines.n > 0;
}

/* Five steps at most, one per factor of four above uniform, so that text stays legible. */
static int shade_level(double lift)
{
    if (!(lift >= 1)) return 0;
    int l = 1 + (int)floor(log(lift) / log(4));
    return l > 5 ? 5 : l;
}

static struct ui_style shade_style(const struct ui_state *st, int level, bool diff, double sign)
{
    struct ui_style s = uv_style(st, UI_TEXT);
    if (!level) return s;
    if (st->look.tier >= UI_TIER_256) {
        uint32_t bg = diff ? ui_div_t(st->look.tier, sign * level / 5.0, st->look.theme == UI_THEME_LIGHT)
                           : ui_map_t(ui_look_map(&st->look), st->look.tier, level / 5.0 * 0.9);
        return ui_style_on(&st->look, bg);
    }
    if (level >= 2) s.attr |= CELL_BOLD;
    if (level >= 4) s.attr |= CELL_REVERSE;
    return s;
}

/* Tokens where the text searched for begins, of this frame. */
static int hit[2048], n_hits;

static bool is_hit(int i)
{
    int lo = 0, hi = n_hits;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (hit[mid] < i) lo = mid + 1; else hi = mid;
    }
    return lo < n_hits && hit[lo] == i;
}

static void draw_token(const struct ui_state *st, struct cell_buf *b, int x, int y, int room,
                       const struct ui_text *tx, const struct ui_row *row, const struct ui_row *other, int i)
{
    double lift = row && i < row->n_keys ? (double)cache.lift[i] : 0, sign = 1;
    bool diff = st->at.shade == UI_SHADE_DIFF;
    if (diff && other && i < other->n_keys && row && i < row->n_keys) {
        double d = ((double)row->w[i] - (double)other->w[i]) * row->n_keys;
        sign = d < 0 ? -1 : 1;
        lift = fabs(d);
    }
    struct ui_style s = st->at.shade == UI_SHADE_NONE ? uv_style(st, UI_TEXT)
                                                      : shade_style(st, shade_level(lift), diff, sign);
    if (row && i < row->n_keys && row->have_rows) {
        if (row->flag[i] & UI_KEY_KEPT) s.attr |= CELL_UNDERLINE;
        else if (lift >= 20) s.attr |= CELL_BOLD;
    }
    if (row && i >= row->n_keys) s = uv_style(st, UI_DIM);
    if (is_hit(i)) s = uv_style(st, UI_MATCH);
    if (i == st->at.row) s = uv_style(st, UI_QUERY);
    if (i == st->at.key) s = uv_style(st, UI_CURSOR);
    cells_textn(b, x, y, room, tx->bytes + tx->at[i], (size_t)(tx->at[i + 1] - tx->at[i]), s);
}

static void draw_line(const struct ui_state *st, struct cell_buf *b, struct ui_rect t, int y,
                      const struct ui_text *x, const struct ui_row *row, const struct ui_row *other,
                      const struct ui_text_line *l)
{
    if (l->kind == UI_LINE_RULE) {
        cells_hline(b, t.x, y, t.w, uv_style(st, UI_LINE));
        uv_at(st, b, t.x + 7, y, t.w - 7, UI_DIM, " answer of %s ", ui_lane_name(st, st->at.a));
        return;
    }
    if (l->kind == UI_LINE_FOLD) {
        bool cur = st->at.key >= l->lo && st->at.key < l->hi;
        char notable[48] = "";
        if (l->notable) snprintf(notable, sizeof notable, " (%d of them above 20 x uniform)", l->notable);
        uv_at(st, b, t.x + 7, y, t.w - 7, cur ? UI_CURSOR : UI_DIM, "%s %d tokens folded%s%s %s",
              st->look.ascii ? "..." : "\u22ef", l->hi - l->lo, notable, cur ? ", Enter unfolds" : "",
              st->look.ascii ? "..." : "\u22ef");
        return;
    }
    int missed = 0, at = t.x + 8, end = t.x + t.w, from = l->lo, k = from;
    for (int i = l->lo; i < l->hi; i++)
        missed +=
            row && row->have_rows && i < row->n_keys && !(row->flag[i] & UI_KEY_KEPT) && cache.lift[i] >= 20;
    uv_at(st, b, t.x, y, 6, UI_DIM, "%6d", l->lo);
    if (missed) cells_put(b, t.x + 6, y, U'-', uv_style(st, UI_MISSED));
    if (!st->at.wrap && st->at.key >= l->lo && st->at.key < l->hi) { /* a long line follows the cursor */
        int cols = 0;
        for (int i = from; i <= st->at.key; i++) cols += x->tok[i].cols;
        while (cols > t.w - 14 && from < st->at.key) cols -= x->tok[from++].cols;
    }
    char32_t more = st->look.ascii ? U'~' : 0x2026;
    if (from > l->lo) cells_put(b, at++, y, more, uv_style(st, UI_DIM));
    for (k = from; k < l->hi && at < end; k++) {
        int g = ui_gold_at(st, k), before = k > 0 ? ui_gold_at(st, k - 1) : -1;
        if (g >= 0 && g != before && at < end) cells_put(b, at++, y, U'[', uv_style(st, UI_GOLD));
        draw_token(st, b, at, y, end - at, x, row, other, k);
        at += x->tok[k].cols;
        if (g >= 0 && ui_gold_at(st, k + 1) != g && at < end)
            cells_put(b, at++, y, U']', uv_style(st, UI_GOLD));
    }
    if (k < l->hi) cells_put(b, end - 1, y, more, uv_style(st, UI_DIM));
}

/* First line shown: the cursor's line stays inside, the state's scroll is kept when it can be. */
static int first_line(const struct ui_state *st, int room)
{
    int cur = ui_text_line_of(&cache.lines, st->at.key), first = st->at.scroll[UI_SCREEN_TEXT];
    if (first > cur - 1) first = cur - 1;
    if (first < cur - room + 2) first = cur - room + 2;
    if (first > cache.lines.n - room) first = cache.lines.n - room;
    return first < 0 ? 0 : first;
}

/* ---- strips and side ---- */

static void draw_density(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                         const struct ui_row *a, const struct ui_row *o)
{
    float v[512], k[512];
    int n = st->info.n_prompt, w = r.w - LABEL < 512 ? r.w - LABEL : 512, y = r.y;
    if (w < 8 || n < 1 || r.h < 1) return;
    if (r.h >= 4)
        uv_at(st, b, r.x, y++, r.w, UI_DIM,
              "along the prompt, one column = %.3g tokens: weight, log", (double)n / w);
    const struct ui_row *row[2] = { a, o };
    int lane[2] = { st->at.a, st->at.b };
    for (int i = 0; i < 2 && y < r.y + r.h - 1; i++) {
        if (!row[i] || (i && st->at.b == st->at.a)) continue;
        int m = row[i]->n_keys < n ? row[i]->n_keys : n;
        ui_bin_sums(row[i]->w, m, w * m / n, v);
        ui_bin_flags(row[i]->flag, UI_KEY_KEPT, m, w * m / n, k);
        uv_at(st, b, r.x, y, LABEL - 1, i ? UI_LANE_B : UI_LANE_A, "%s", ui_lane_name(st, lane[i]));
        struct ui_heat h = ui_heat_default(UI_SCALE_LOG);
        for (int c = 0; c < w * m / n; c++) {
            if (row[i]->have_rows && k[c] <= 0) {         /* nothing of it is read */
                cells_put(b, r.x + LABEL + c, y, U'.', uv_style(st, UI_DIM));
                continue;
            }
            float t = (float)ui_heat_t(&h, (double)v[c], row[i]->n_keys);
            ui_strip(&st->look, b, r.x + LABEL + c, y, 1, &t, false);
        }
        y++;
    }
    if (!st->info.n_spans) return;
    uv_at(st, b, r.x, y, 8, UI_GOLD, "gold");
    ui_gold_line(&st->look, b, r.x + LABEL, y, w, 0, n, &st->info);
}

static void draw_spans(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                       const struct ui_row *row)
{
    struct ui_stretch s[16];
    if (!row) { ui_empty(st, b, r, "computing", ""); return; }
    int lines = r.h - 3, n = ui_stretches(row->w, row->n_keys, 10, lines < 16 ? lines : 16, s), y = r.y;
    for (int i = 0; i < n; i++, y++) {
        char text[64], label[24];
        char32_t bar[6];
        snprintf(label, sizeof label, "%d-%d", s[i].lo, s[i].hi - 1);
        uv_at(st, b, r.x, y, 11, UI_DIM, "%-11s", label);
        ui_bar(s[i].sum, 5, st->look.ascii, bar);
        for (int k = 0; k < 5; k++)
            cells_put(b, r.x + 12 + k, y, bar[k] == U'.' ? U' ' : bar[k], uv_style(st, UI_BAR));
        int x = r.x + 18 + uv_at(st, b, r.x + 18, y, r.w - 18, UI_TEXT, "%.2f ", s[i].sum), end = r.x + r.w;
        for (int k = s[i].lo; k < s[i].hi && x < end; k++) {
            if (ui_token_text(st, row->lane, k, text, sizeof text)) continue;
            x += cells_text(b, x, y, end - x, text,
                            uv_style(st, row->flag[k] & UI_KEY_GOLD ? UI_GOLD : UI_TEXT));
        }
    }
    double gold = 0, read = 0;
    for (int k = 0; k < row->n_keys; k++)
        if (row->flag[k] & UI_KEY_GOLD) {
            gold += (double)row->w[k];
            if (row->flag[k] & UI_KEY_KEPT) read += (double)row->w[k];
        }
    y = r.y + r.h - 2;
    if (!st->info.n_spans) return;
    uv_at(st, b, r.x, y, r.w, UI_GOLD, "%-21s %.2f", "dense mass on gold", gold);
    char who[40];
    snprintf(who, sizeof who, "%.14s reads", ui_lane_name(st, row->lane));
    uv_at(st, b, r.x, y + 1, r.w, read < gold - 0.005 ? UI_MISSED : UI_GOLD, "%-21s %.2f", who, read);
}

static void next_column(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, int lines,
                        int lane, int step)
{
    int id[5];
    float p[5];
    int n = lane >= 0 && lane < st->n_lanes ? sac_trace_next(st->trace, lane, step, id, p) : 0;
    uv_at(st, b, x, y, w, lane == st->at.a ? UI_LANE_A : UI_LANE_B, "%s",
          lane >= 0 && lane < st->n_lanes ? ui_lane_name(st, lane) : "-");
    for (int i = 0; i < n && i < lines - 1; i++) {
        char raw[64], text[80];
        int len = sac_trace_vocab(st->trace, id[i], raw, (int)sizeof raw);
        len = ui_text_visible(raw, len < (int)sizeof raw ? len : (int)sizeof raw, text, (int)sizeof text - 1);
        text[len] = 0;
        int used = uv_at(st, b, x, y + 1 + i, w - 6, i ? UI_TEXT : UI_STRONG, "\"%s\"", text);
        (void)used;
        uv_at(st, b, x + w - 5, y + 1 + i, 5, i ? UI_DIM : UI_STRONG, "%.2f", (double)p[i]);
    }
    if (!n) uv_at(st, b, x, y + 1, w, UI_DIM, "no step here");
}

/* Best next token of both and their distance, in one line. */
static void next_line(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    int step = st->at.step < 0 ? 0 : st->at.step, at = r.x, end = r.x + r.w;
    at += uv_at(st, b, at, r.y, r.w, UI_DIM, "next      ");
    for (int i = 0; i < 2; i++) {
        int id[5], lane = i ? st->at.b : st->at.a;
        float p[5];
        char raw[64], text[80];
        if (lane < 0 || lane >= st->n_lanes || sac_trace_next(st->trace, lane, step, id, p) < 1) continue;
        int len = sac_trace_vocab(st->trace, id[0], raw, (int)sizeof raw);
        len = ui_text_visible(raw, len < (int)sizeof raw ? len : (int)sizeof raw, text, (int)sizeof text - 1);
        text[len] = 0;
        at += uv_at(st, b, at, r.y, end - at, i ? UI_LANE_B : UI_LANE_A, "%s ", ui_lane_name(st, lane));
        at += uv_at(st, b, at, r.y, end - at, UI_TEXT, "\"%s\" %.2f   ", text, (double)p[0]);
    }
    double kl = sac_trace_step_kl(st->trace, st->at.a, step);
    if (!isnan(kl)) uv_at(st, b, at, r.y, end - at, UI_DIM, "KL %.3f nat", kl);
}

static void draw_next(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    int step = st->at.step < 0 ? 0 : st->at.step, w = r.w / 2;
    next_column(st, b, r.x, r.y, w - 1, r.h < 6 ? r.h : 6, st->at.a, step);
    next_column(st, b, r.x + w, r.y, r.w - w, r.h < 6 ? r.h : 6, st->at.b, step);
    if (r.h < 8) return;
    double kl = sac_trace_step_kl(st->trace, st->at.a, step);
    if (!isnan(kl)) uv_at(st, b, r.x, r.y + 6, r.w, UI_TEXT, "KL %.3f nat on dense's tokens", kl);
    if (r.h < 10) return;
    int n = ui_n_steps(st, st->at.a), first = st->lane[st->at.a].first_diff;
    uv_at(st, b, r.x, r.y + 7, r.w, UI_DIM, "= as dense   ! since they differ");
    int from = n <= r.w ? 0 : step - r.w / 2 < 0 ? 0 : step - r.w / 2 > n - r.w ? n - r.w : step - r.w / 2;
    for (int i = from; i < n && i - from < r.w; i++) {
        bool differs = first >= 0 && i >= first;
        enum ui_role role = i == step ? UI_CURSOR : differs ? UI_BAD : UI_DIM;
        cells_put(b, r.x + i - from, r.y + 8, differs ? U'!' : U'=', uv_style(st, role));
    }
}

static void draw_layers(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    struct ui_rect in = ui_pane(st, b, r, -1, "Where query %d looks, by layer (mean over heads, %s, log)",
                                st->at.row, ui_lane_name(st, st->at.a));
    enum ui_req_state rs;
    int w = in.w - 5, n = st->at.row + 1;
    if (w > 480) w = 480;
    if (n < w) w = n;
    if (w < 4) return;
    const struct ui_strips *s = uv_strips(st, st->at.a, st->at.row, w, &rs);
    if (!s) { ui_empty(st, b, in, rs == UI_REQ_NOTHING ? "not recorded" : "computing", ""); return; }
    struct ui_heat h = ui_heat_default(UI_SCALE_LOG);
    float t[2 * 480];
    /* Two layers a line where cells hold two pixels and one a line is too many; some only in the last resort.
     */
    int per = in.h < s->n_layers && ui_pic_rows(&st->look) == 2 ? 2 : 1, rows = in.h * per;
    for (int i = 0; i < in.h; i++) {
        int shown[2] = { -1, -1 };
        for (int k = 0; k < per; k++) {
            int j = i * per + k, l = rows >= s->n_layers ? j : j * (s->n_layers - 1) / (rows - 1);
            if (l < s->n_layers) shown[k] = l;
        }
        if (shown[0] < 0) break;
        bool on = shown[0] == st->at.layer || shown[1] == st->at.layer;
        if (shown[1] >= 0)
            uv_at(st, b, in.x, in.y + i, 5, on ? UI_STRONG : UI_DIM, shown[1] < 10 ? "L%d,%d" : "L%d+",
                  shown[0], shown[1]);
        else
            uv_at(st, b, in.x, in.y + i, 5, on ? UI_STRONG : UI_DIM, "L%d", shown[0]);
        for (int k = 0; k < per; k++)
            for (int c = 0; c < s->bins && c < 480; c++)
                t[k * s->bins + c] =
                    shown[k] < 0 ? NAN
                                 : (float)ui_heat_t(
                                       &h, (double)s->v[(size_t)shown[k] * (size_t)s->bins + (size_t)c], n);
        struct ui_pic p = { .w = s->bins, .h = per, .t = t, .cx = -1, .cy = -1, .sx = -1, .sy = -1 };
        if (per == 2)
            ui_pic_draw(&st->look, b, in.x + 5, in.y + i, &p);
        else
            ui_strip(&st->look, b, in.x + 5, in.y + i, s->bins, t, false);
    }
}

/* ---- the view ---- */

static void text_draw(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    struct boxes x = layout(st, r);
    enum ui_req_state rs = UI_REQ_NOTHING, rs2;
    bool lane = st->trace && st->at.a < st->n_lanes;
    const struct ui_text *tx = lane ? uv_text(st, st->at.a, &rs) : NULL;
    char more[100] = "";
    if (lane) uv_lane_state(st, st->at.a, more, sizeof more);
    struct ui_rect in = ui_pane(st, b, x.c.main, 0, "Prompt and answer%s%s", more[0] ? "  " : "", more);
    if (!tx) { uv_notice(st, b, in, st->at.a, -1, rs); return; }
    const struct ui_row *row = shade_row(st);
    const struct ui_row *a = uv_row(st, st->at.a, st->at.layer, ui_head_arg(st), st->at.row, &rs2);
    const struct ui_row *o = st->at.b >= 0 && st->at.b < st->n_lanes
                             ? uv_row(st, st->at.b, st->at.layer, ui_head_arg(st), st->at.row, &rs2) : NULL;
    if (!lay_out(st, tx, row, x.text.w - 11)) return;
    int first = first_line(st, x.text.h);
    n_hits = uv_hits(st, st->at.a, hit, 2048);
    for (int i = 0; i < x.text.h && first + i < cache.lines.n; i++)
        draw_line(st, b, x.text, x.text.y + i, tx, row, o, &cache.lines.line[first + i]);
    int y = x.text.y + x.text.h;
    if (x.strips) {
        draw_density(st, b, (struct ui_rect){ in.x, y, in.w, x.strips < 4 ? x.strips : 4 }, a, o);
        if (x.strips == 6) uv_answers(st, b, (struct ui_rect){ in.x, y + 4, in.w, 2 }, true);
        if (x.strips > 6 && row) {
            struct ui_stretch s[6];
            int n = ui_stretches(row->w, row->n_keys, 10, 6, s), at = in.x;
            at += uv_at(st, b, at, y + 4, in.w, UI_DIM, "top spans ");
            for (int i = 0; i < n && at + 15 <= in.x + in.w; i++)
                at += uv_at(st, b, at, y + 4, in.x + in.w - at, UI_TEXT, "%d-%d %.2f  ", s[i].lo, s[i].hi - 1,
                            s[i].sum);
            next_line(st, b, (struct ui_rect){ in.x, y + 5, in.w, 1 });
            uv_answers(st, b, (struct ui_rect){ in.x, y + 6, in.w, 2 }, true);
        }
    }
    if (x.c.side.w) {
        int low = x.c.side.h >= 24 ? 12 : x.c.side.h >= 16 ? 8 : 0;
        struct ui_rect up = { x.c.side.x, x.c.side.y, x.c.side.w, x.c.side.h - low };
        draw_spans(st, b, ui_pane(st, b, up, -1, "Top spans (10 tokens)"), row);
        if (low) {
            struct ui_rect dn = { up.x, up.y + up.h, up.w, low };
            draw_next(
                st, b,
                ui_pane(st, b, dn, -1, "Next token at step %d", st->at.step < 0 ? 0 : st->at.step));
        }
    }
    if (x.c.foot.h) draw_layers(st, b, x.c.foot);
}

static const char *const shade_arg[] = { "a", "b", "difference", "none" };

static void text_context(const struct ui_state *st, char *buf, size_t cap, int w)
{
    char head[48], q[72];
    int n = uv_what(st, buf, cap, w);
    if (!st->trace || st->at.a >= st->n_lanes || n < 0 || (size_t)n >= cap) return;
    ui_head_name(st, head, sizeof head);
    uv_quote(st, st->at.a, st->at.row, q, sizeof q);
    int lane = st->at.shade == UI_SHADE_B ? st->at.b : st->at.a;
    const char *name = lane >= 0 && lane < st->n_lanes ? ui_lane_name(st, lane) : "-";
    if (st->at.shade == UI_SHADE_DIFF)
        snprintf(buf + n, cap - (size_t)n, " | %s | shade: A - B, query %d %s | underline: read by %s", head,
                 st->at.row, q, name);
    else if (st->at.shade == UI_SHADE_NONE)
        snprintf(buf + n, cap - (size_t)n, " | %s | no shading | underline: read by %s", head, name);
    else
        snprintf(buf + n, cap - (size_t)n,
                 w >= 100 ? " | %s | shade: weights of query %d %s | underline: %s reads"
                          : " | %s | query %d %s | underline: %s reads",
                 head, st->at.row, q, name);
}

static void text_status(const struct ui_state *st, char *buf, size_t cap)
{
    enum ui_req_state rs;
    enum ui_role role;
    char tok[72], num[24], lift[24];
    buf[0] = 0;
    if (!st->trace || st->at.a >= st->n_lanes) return;
    const struct ui_row *r = uv_row(st, st->at.a, st->at.layer, ui_head_arg(st), st->at.row, &rs);
    uv_quote(st, st->at.a, st->at.key, tok, sizeof tok);
    int n = snprintf(buf, cap, "token %d %s", st->at.key, tok);
    if (!r || n < 0 || (size_t)n >= cap) return;
    if (st->at.key >= r->n_keys) {
        snprintf(buf + n, cap - (size_t)n, "  after the query: not visible to it");
        return;
    }
    ui_fmt_weight((double)r->w[st->at.key], num, sizeof num);
    ui_fmt_lift((double)r->w[st->at.key] * r->n_keys, lift, sizeof lift);
    for (int more = 1; more >= 0; more--) {     /* the lift where there is room for it */
        snprintf(buf + n, cap - (size_t)n, "  weight %s%s%s%s, %s: %s%s", num, more ? " = " : "",
                 more ? lift : "", more ? " x uniform" : "", ui_lane_name(st, st->at.a),
                 uv_key_word(r, st->at.key, ui_row_rank(r, st->at.key), &role),
                 (r->flag[st->at.key] & UI_KEY_GOLD) ? "  [gold]" : "");
        if (st->plain || cells_text_width(buf, strlen(buf)) <= st->body.w - 2) return;
    }
}

static void text_plain(const struct ui_state *st, char *buf, size_t cap)
{
    char line[400];
    enum ui_req_state rs;
    struct ui_stretch s[8];
    text_context(st, line, sizeof line, 120);
    int n = snprintf(buf, cap, "%s\n", line);
    text_status(st, line, sizeof line);
    n += snprintf(buf + n, cap - (size_t)n, "%s\n", line);
    if (!st->trace || st->at.a >= st->n_lanes) return;
    const struct ui_row *r = uv_row(st, st->at.a, st->at.layer, ui_head_arg(st), st->at.row, &rs);
    int k = r ? ui_stretches(r->w, r->n_keys, 10, 8, s) : 0;
    for (int i = 0; i < k && (size_t)n + 200 < cap; i++) {
        n +=
            snprintf(buf + n, cap - (size_t)n, "span %d-%d weight %.3f text", s[i].lo, s[i].hi - 1, s[i].sum);
        for (int j = s[i].lo; j < s[i].hi && (size_t)n + 80 < cap; j++) {
            char tok[64];
            if (ui_token_text(st, st->at.a, j, tok, sizeof tok)) continue;
            n += snprintf(buf + n, cap - (size_t)n, "%s", tok);
        }
        n += snprintf(buf + n, cap - (size_t)n, "\n");
    }
}

/* ---- movement and commands ---- */

static bool text_move(struct ui_state *st, enum ui_move m, int n)
{
    enum ui_req_state rs;
    if (!st->trace || st->at.a >= st->n_lanes) return false;
    const struct ui_text *x = uv_text(st, st->at.a, &rs);
    struct boxes box = layout(st, st->body);
    if (!x || x->n < 1 || !lay_out(st, x, shade_row(st), box.text.w - 11)) return true;
    int key = st->at.key >= x->n ? x->n - 1 : st->at.key, line = ui_text_line_of(&cache.lines, key),
        to = line;
    int half = box.text.h / 2 > 0 ? box.text.h / 2 : 1;
    switch (m) {
    case UI_LEFT:       key -= n; break;
    case UI_RIGHT:      key += n; break;
    case UI_UP:         to -= n; break;
    case UI_DOWN:       to += n; break;
    case UI_HALF_UP:    to -= n * half; break;
    case UI_HALF_DOWN:  to += n * half; break;
    case UI_PAGE_UP:    to -= n * 2 * half; break;
    case UI_PAGE_DOWN:  to += n * 2 * half; break;
    case UI_TOP:        key = 0; break;
    case UI_BOTTOM:     key = x->n - 1; break;
    case UI_LINE_START: key = cache.lines.line[line].lo; break;
    case UI_LINE_END:   key = cache.lines.line[line].hi - 1; break;
    default:            return false;
    }
    if (to != line) {
        int dir = to < line ? -1 : 1;
        to = to < 0 ? 0 : to >= cache.lines.n ? cache.lines.n - 1 : to;
        while (to + dir >= 0 && to + dir < cache.lines.n &&
               cache.lines.line[to].hi == cache.lines.line[to].lo)
            to += dir;
        /* The same column of the other line, as near as its tokens allow. */
        int cols = 0, want = 0;
        for (int i = cache.lines.line[line].lo; i < key && cache.lines.line[line].kind == UI_LINE_TEXT; i++)
            want += x->tok[i].cols;
        key = cache.lines.line[to].lo;
        while (cache.lines.line[to].kind == UI_LINE_TEXT && key + 1 < cache.lines.line[to].hi &&
               cols + x->tok[key].cols <= want)
            cols += x->tok[key++].cols;
    } else if (cache.lines.line[line].kind == UI_LINE_FOLD && (m == UI_LEFT || m == UI_RIGHT)) {
        key = m == UI_LEFT ? cache.lines.line[line].lo - 1 : cache.lines.line[line].hi;
    }
    st->at.key = key < 0 ? 0 : key >= x->n ? x->n - 1 : key;
    st->at.scroll[UI_SCREEN_TEXT] = first_line(st, box.text.h);
    return true;
}

static void text_settle(struct ui_state *st)
{
    uv_first_look(st);
    if (!st->trace || st->at.a >= st->n_lanes) return;
    int n = uv_n(st, st->at.a), all = st->info.n_prompt + ui_n_steps(st, st->at.a);
    if (n > 0 && st->at.row >= n) uv_set_row(st, n - 1);
    if (st->at.row < 0) st->at.row = 0;
    if (st->at.key >= all) st->at.key = all - 1;
    if (st->at.key < 0) st->at.key = 0;
}

/* Enter unfolds a fold (all of them), elsewhere goes down to the page of the token. */
static bool text_open(struct ui_state *st)
{
    if (!st->trace || st->at.a >= st->n_lanes) return false;
    if (cache.folded && st->at.key < cache.n && cache.folded[st->at.key] && st->at.fold > 0) {
        st->at.fold = 0;
        ui_say(st, UI_SAY_INFO, "everything is shown; f folds again");
        return true;
    }
    int page = sac_trace_page_size(st->trace, st->at.a);
    st->at.page = st->at.key / (page > 1 ? page : 16);
    st->at.pair = st->at.layer * st->info.shape.n_kv_heads + ui_kv_head(st);
    ui_go(st, UI_SCREEN_PAGES);
    return true;
}

/* The token under the cursor becomes the query. */
static bool text_toggle(struct ui_state *st)
{
    if (!st->trace || st->at.a >= st->n_lanes) return false;
    if (st->at.key >= uv_n(st, st->at.a)) {
        ui_say(st, UI_SAY_INFO, "the last token has asked nothing yet");
        return true;
    }
    uv_set_row(st, st->at.key);
    return true;
}

static bool text_find(struct ui_state *st, const char *text, int dir)
{
    int pos;
    char end;
    if (text[0] == '@' && sscanf(text + 1, "%d%c", &pos, &end) == 1 && st->trace && pos >= 0
        && pos < st->info.n_prompt + ui_n_steps(st, st->at.a)) {
        st->at.key = pos;
        return true;
    }
    return uv_find(st, text, dir, false);
}

static bool text_event(struct ui_state *st, int by)
{
    return uv_event(st, by, false);
}

static bool text_click(struct ui_state *st, int cx, int cy, enum ui_click what)
{
    enum ui_req_state rs;
    if (what == UI_WHEEL_UP || what == UI_WHEEL_DOWN)
        return text_move(st, what == UI_WHEEL_UP ? UI_UP : UI_DOWN, 3);
    if (what != UI_CLICK || !st->trace || st->at.a >= st->n_lanes) return false;
    struct boxes box = layout(st, st->body);
    const struct ui_text *x = uv_text(st, st->at.a, &rs);
    if (!x || !lay_out(st, x, shade_row(st), box.text.w - 11)) return false;
    int i = first_line(st, box.text.h) + cy - box.text.y, at = box.text.x + 8;
    if (cy < box.text.y || cy >= box.text.y + box.text.h || i >= cache.lines.n ||
        cx >= box.text.x + box.text.w)
        return false;
    const struct ui_text_line *l = &cache.lines.line[i];
    int key = l->lo;
    for (; l->kind == UI_LINE_TEXT && key + 1 < l->hi && at + x->tok[key].cols <= cx; key++)
        at += x->tok[key].cols;
    if (key < x->n) st->at.key = key;
    return true;
}

static bool cmd_shade(struct ui_state *st, const char *arg)
{
    int i;
    if (!ui_arg_choice(st, arg, shade_arg, UI_N_SHADES, (int)st->at.shade, &i)) return false;
    st->at.shade = (enum ui_shade)i;
    return true;
}

static bool cmd_wrap(struct ui_state *st, const char *arg)
{
    static const char *const way[] = { "off", "on" };
    int i;
    if (!ui_arg_choice(st, arg, way, 2, st->at.wrap, &i)) return false;
    st->at.wrap = i;
    return true;
}

static bool cmd_fold(struct ui_state *st, const char *arg)
{
    static const double level[] = { 0, 2, 5, 20, 100 };
    char *end;
    if (!*arg || !strcmp(arg, "next")) {
        size_t i = 0, n = sizeof level / sizeof *level;
        while (i < n && level[i] <= st->at.fold) i++;
        st->at.fold = level[i % n];
    } else {
        double v = strtod(arg, &end);
        if (*end || !(v >= 0)) {
            ui_say(st, UI_SAY_BAD,
                   "fold %s: a number of times the uniform weight, such as 20; 0 folds nothing", arg);
            return false;
        }
        st->at.fold = v;
    }
    if (st->at.fold > 0)
        ui_say(st, UI_SAY_INFO, "folded: stretches where no weight reaches %g x uniform", st->at.fold);
    else ui_say(st, UI_SAY_INFO, "nothing is folded");
    return true;
}

#define HERE UI_CTX(UI_SCREEN_TEXT)
static const struct ui_cmd cmds[] = {
    { "shade", "a|b|difference|none|next", "whose attention shades the text", UI_GROUP_LOOK, HERE,
      UI_CMD_VIEW, cmd_shade },
    { "wrap", "off|on|next", "wrap lines at words, or at line breaks only", UI_GROUP_LOOK, HERE, UI_CMD_VIEW,
      cmd_wrap },
    { "fold", "TIMES|next", "fold stretches below this many times the uniform weight", UI_GROUP_LOOK, HERE,
      UI_CMD_VIEW, cmd_fold },
};
static const struct ui_bind binds[] = {
    { HERE, "o", "shade next" }, { HERE, "w", "wrap next" }, { HERE, "f", "fold next" },
};
static const struct ui_hint hints[] = {
    { "find", "find" },
    { "step +1", "step" },
    { "event +1", "next gold/miss" },
    { "toggle", "make it the query" },
    { "layer +1", "layer" },
    { "head +1", "head" },
    { "shade next", "shade" },
    { "fold next", "fold" },
    { "wrap next", "wrap" },
    { "open", "page" },
};

const struct ui_view ui_view_text = {
    .name = "text",
    .tab = "Text",
    .tab_short = "Text",
    .draw = text_draw,
    .context = text_context,
    .status = text_status,
    .settle = text_settle,
    .move = text_move,
    .open = text_open,
    .toggle = text_toggle,
    .find = text_find,
    .event = text_event,
    .click = text_click,
    .copy = text_status,
    .plain = text_plain,
    .n_panes = 1,
    .cmds = cmds,
    .n_cmds = (int)(sizeof cmds / sizeof *cmds),
    .binds = binds,
    .n_binds = (int)(sizeof binds / sizeof *binds),
    .hints = hints,
    .n_hints = (int)(sizeof hints / sizeof *hints),
};
