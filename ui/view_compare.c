/* Compare: two lanes side by side, one cursor, one colour scale.
 *
 * A on the left is the method looked at, B on the right what it is compared with. Both panes show what the
 * lane really gives weight to: its weights over the keys it reads. d shows the difference instead, \ puts B
 * in place of A for a blink, which is also how narrow terminals compare. Below: recall along the queries,
 * keys that B gives weight to and A does not read, and both answers with the first differing token. */
#include "lines.h"
#include "views.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* map: picture of pane A; left, under: columns of labels before it, lines below it in the pane. */
struct boxes {
    struct ui_rect a, b, recall, keys, text, map;
    int n_maps, left, under;
};

static bool one_pane(const struct ui_state *st, struct ui_rect r)
{
    return r.w < 80 || st->at.diff != UI_DIFF_OFF || st->at.blink;
}

static struct boxes layout(const struct ui_state *st, struct ui_rect r)
{
    struct boxes x = { .n_maps = one_pane(st, r) ? 1 : 2 };
    int text = r.h >= 26 ? 4 : 0,
        low = r.h >= 40                ? 10
              : r.h >= 26              ? 8
              : r.h >= 20 && r.w < 100 ? 7
              : r.h >= 16              ? 6
                                       : 0,
        h = r.h - text - low;
    x.a = (struct ui_rect){ r.x, r.y, x.n_maps == 2 ? r.w / 2 : r.w, h };
    if (x.n_maps == 2) x.b = (struct ui_rect){ r.x + r.w / 2, r.y, r.w - r.w / 2, h };
    if (low && r.w >= 100) {
        x.recall = (struct ui_rect){ r.x, r.y + h, r.w / 2, low };
        x.keys = (struct ui_rect){ r.x + r.w / 2, r.y + h, r.w - r.w / 2, low };
    } else if (low) {
        x.keys = (struct ui_rect){ r.x, r.y + h, r.w, low };
    }
    if (text) x.text = (struct ui_rect){ r.x, r.y + h + low, r.w, text };
    x.left = r.w >= 100 || x.n_maps == 1 ? 6 : 0;
    x.under = h >= 13 ? 2 : 1;
    x.map = (struct ui_rect){ x.a.x + 1 + x.left, x.a.y + 2, x.a.w - 2 - x.left, h - 3 - x.under };
    return x;
}

static bool has(const struct ui_state *st, int lane)
{
    return st->trace && lane >= 0 && lane < st->n_lanes;
}

/* Weights as the lane uses them, unless dense ones were asked for. */
static struct ui_state with_sparse(const struct ui_state *st, int lane)
{
    struct ui_state s = *st;
    s.at.sparse = !st->at.sparse && lane > 0;
    return s;
}

static struct ui_window window(const struct ui_state *st)
{
    return uv_window(st, UI_SCREEN_COMPARE, st->at.a);
}

static bool get_maps(const struct ui_state *st, const struct boxes *x, struct uv_map *a, struct uv_map *b,
                     enum ui_req_state *ra, enum ui_req_state *rb)
{
    struct ui_window w = window(st);
    struct ui_state sa = with_sparse(st, st->at.a), sb = with_sparse(st, st->at.b);
    int pw = x->map.w, ph = x->map.h * ui_pic_rows(&st->look);
    *a = uv_map_get(&sa, 0, st->at.a, &w, pw, ph, ra);
    if (has(st, st->at.b)) *b = uv_map_get(&sb, 1, st->at.b, &w, pw, ph, rb);
    bool differ = a->heat.lo != b->heat.lo || a->heat.hi != b->heat.hi;
    if (a->have && b->have && differ) { /* one range for both */
        struct ui_heat h = a->heat;
        h.lo = fmin(h.lo, b->heat.lo);
        h.hi = fmax(h.hi, b->heat.hi);
        uv_map_rescale(a, h);
        uv_map_rescale(b, h);
    }
    return a->have && b->have;
}

/* ---- panes ---- */

static void pane_foot(const struct ui_state *st, struct cell_buf *b, struct ui_rect in, int lane,
                      const struct ui_row *r)
{
    int y = in.y + in.h - 1;
    if (!r) { uv_at(st, b, in.x, y, in.w, UI_DIM, "computing the row"); return; }
    int above = 0;
    for (int k = 0; k < r->n_keys; k++) above += r->w[k] * (float)r->n_keys > 1;
    char recall[24], tok[72], who[90] = "", forced[24] = "";
    ui_fmt_share(r->have_recall ? r->r.mass : (double)NAN, recall, sizeof recall);
    if (r->n_heads > 1 && r->have_recall && in.w >= 50)
        snprintf(recall, sizeof recall, "%.2f (H%d %.2f)", r->r.mass, r->low_head, r->mass_low);
    uv_quote(st, lane, r->row, tok, sizeof tok); /* lanes may have come to different tokens here */
    if (in.w >= 50) snprintf(who, sizeof who, "query %s: ", tok);
    if (in.w >= 76) snprintf(forced, sizeof forced, ", %d forced", r->n_forced);
    if (r->n_kept == r->n_keys)
        uv_at(st, b, in.x, y, in.w, UI_TEXT,
              in.w >= 44 ? "%sreads all %d keys; %d above uniform" : "%sreads all %d; %d above uniform", who,
              r->n_keys, above);
    else
        uv_at(st, b, in.x, y, in.w, UI_TEXT, "%sreads %d of %d%s; mass recall %s", who, r->n_kept, r->n_keys,
              forced, recall);
}

/* Rulers above and beside a picture, gold below it. */
static void axes(const struct ui_state *st, struct cell_buf *b, struct ui_rect in, const struct boxes *x,
                 const struct ui_window *w)
{
    ui_ruler(&st->look, b, in.x + x->left, in.y, x->map.w, w->k0, w->k1, st->at.key);
    if (x->left) ui_ruler_down(&st->look, b, in.x, in.y + 1, x->left, x->map.h, w->q0, w->q1, st->at.row);
    if (x->under < 2 || !st->info.n_spans) return;
    int y = in.y + 1 + x->map.h;
    if (x->left) uv_at(st, b, in.x, y, x->left, UI_DIM, "gold>");
    ui_gold_line(&st->look, b, in.x + x->left, y, x->map.w, w->k0, w->k1, &st->info);
}

/* Bytes of text in whole words as far as they fit. */
static size_t whole_words(const char *text, int room)
{
    size_t n = strlen(text);
    if ((int)n <= room) return n;
    n = room > 0 ? (size_t)room : 0;
    while (n > 0 && !strchr(" ,+", text[n])) n--;
    return n;
}

/* The parameters in whole words as far as they fit; where a sparsity settles them for each head and they say
 * "auto", the sparsity. */
static void settings(const struct sac_lane *l, int room, char *buf, size_t cap)
{
    const char *given = l->intervention || !strstr(l->params, "=auto") ? NULL : strchr(l->spec, ':');
    const char *all = given ? given + 1 : l->params;
    snprintf(buf, cap, "%.*s", (int)whole_words(all, room), all);
}

static void draw_map(const struct ui_state *st, struct cell_buf *b, const struct boxes *x, struct ui_rect box,
                     int pane, char name, int lane, const struct uv_map *m, enum ui_req_state rs)
{
    enum ui_req_state rrs;
    char state[200] = "";
    if (has(st, lane)) { /* the title names the lane already */
        uv_lane_state(st, lane, state, sizeof state);
        char *only = strstr(state, ": ");
        if (only) memmove(state, only + 2, strlen(only + 2) + 1);
    }
    char params[160] = "";
    if (has(st, lane))
        settings(&st->lane[lane], box.w - 14 - (int)strlen(ui_lane_name(st, lane)) - (int)strlen(state), params,
                 sizeof params);
    struct ui_rect in = ui_pane(st, b, box, pane, "%s%c  %s%s%s%s%s", m->approx ? "~ " : "", name,
                                has(st, lane) ? ui_lane_name(st, lane) : "none", params[0] ? "  " : "",
                                params, state[0] ? "  " : "", state);
    if (!m->have && uv_notice(st, b, in, lane, st->at.layer, rs)) return;
    if (!m->have) return;
    uv_map_draw(st, b, in.x + x->left, in.y + 1, lane, m);
    axes(st, b, in, x, &m->win);
    pane_foot(st, b, in, lane, uv_row(st, lane, st->at.layer, ui_head_arg(st), st->at.row, &rrs));
}

/* What the two ends of the diverging colours mean. */
static void diff_legend(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, double range)
{
    bool light = st->look.theme == UI_THEME_LIGHT;
    for (int side = 1; side >= -1; side -= 2) {
        if (st->look.tier >= UI_TIER_256 && !st->look.ascii)
            for (int i = 1; i <= 3; i++)
                x += cells_put(
                    b, x, y, U' ',
                    (struct ui_style){ CELL_DEFAULT, ui_div_t(st->look.tier, side * i / 3.0, light), 0 });
        x += uv_at(st, b, x, y, w, UI_TEXT, side > 0 ? " + A gives more   " : " - B gives more   ");
    }
    char num[24];
    ui_fmt_weight(range, num, sizeof num);
    uv_at(st, b, x, y, w, UI_DIM, "full colour at %s", num);
}

static void draw_diff(const struct ui_state *st, struct cell_buf *b, const struct boxes *x,
                      struct ui_rect box, struct uv_map *a, const struct uv_map *m)
{
    size_t n = (size_t)a->w * (size_t)a->h;
    struct ui_rect in =
        ui_pane(st, b, box, 0, "%s  %s - %s", st->at.diff == UI_DIFF_ABS ? "|A - B|" : "A - B",
                ui_lane_name(st, st->at.a), ui_lane_name(st, st->at.b));
    for (size_t i = 0; i < n; i++) a->t[i] = a->value[i] - m->value[i];
    double range = ui_diff_range(a->t, n);
    bool abs = st->at.diff == UI_DIFF_ABS;
    for (size_t i = 0; i < n; i++) {
        double t = ui_heat_diff_t((double)a->t[i], range);
        a->t[i] = (float)(abs ? fabs(t) : t);
    }
    struct ui_window w = a->win;
    struct ui_pic p = { .w = a->w,
                        .h = a->h,
                        .t = a->t,
                        .diff = !abs,
                        .kept = a->kept,
                        .missed = a->missed,
                        .overlay = st->at.overlay,
                        .block_px = 3,
                        .cx = ui_bin_of(st->at.key - w.k0, w.k1 - w.k0, a->w),
                        .cy = ui_bin_of(st->at.row - w.q0, w.q1 - w.q0, a->h),
                        .sx = -1,
                        .sy = -1,
                        .cross = true };
    if (st->at.key < w.k0 || st->at.key >= w.k1) p.cx = -1;
    if (st->at.row < w.q0 || st->at.row >= w.q1) p.cy = -1;
    ui_pic_draw(&st->look, b, in.x + x->left, in.y + 1, &p);
    axes(st, b, in, x, &w);
    if (abs)
        uv_at(st, b, in.x, in.y + in.h - 1, in.w, UI_DIM, "from 0 to %.2g, the 99.5th percentile", range);
    else
        diff_legend(st, b, in.x, in.y + in.h - 1, in.w, range);
}

static void draw_recall(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    if (r.h < 3) return;
    struct ui_window w = window(st);
    struct ui_rect in =
        st->at.group
            ? ui_pane(st, b, r, -1, "Mass recall of A by query: mean and least head of kv%d", ui_kv_head(st))
            : ui_pane(st, b, r, -1, "Mass recall of A along the queries, this head");
    enum ui_req_state rs;
    int n = 2 * (in.w - 5);
    n = n > 120 ? 120 : n;
    if (n > w.q1 - w.q0) n = w.q1 - w.q0;
    if (n < 2) return;
    const struct ui_along *a = uv_along(st, st->at.a, st->at.layer, ui_head_arg(st), w.q0, w.q1, n, &rs);
    if (!a) { ui_empty(st, b, in, rs == UI_REQ_NOTHING ? "not recorded" : "computing", ""); return; }
    float least = 1;
    const float *low = a->low ? a->low : a->mass;
    for (int i = 0; i < a->n; i++)
        if (low[i] < least) least = low[i];
    double lo = least > 0.95f ? 0.9 : least > 0.8f ? 0.75 : least > 0.5f ? 0.5 : 0;
    struct ui_rect plot = { in.x, in.y, in.w, in.h - (in.h > 3) };
    if (a->low) ui_plot_draw(&st->look, b, plot, a->low, a->n, lo, 1, UI_MISSED);
    ui_plot_draw(&st->look, b, plot, a->mass, a->n, lo, 1, UI_LANE_A);
    if (in.h > 3) ui_ruler(&st->look, b, in.x + 5, in.y + in.h - 1, in.w - 5, w.q0, w.q1, st->at.row);
}

/* The same in one line, where there is no room for the plot. */
static void recall_line(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    enum ui_req_state rs;
    struct ui_window w = window(st);
    int label = 9, n = r.w - label < w.q1 - w.q0 ? r.w - label : w.q1 - w.q0;
    uv_at(st, b, r.x, r.y, r.w, UI_DIM, "recall A");
    if (n < 2) return;
    const struct ui_along *a = uv_along(st, st->at.a, st->at.layer, ui_head_arg(st), w.q0, w.q1, n, &rs);
    if (!a) {
        uv_at(st, b, r.x + label, r.y, r.w - label, UI_DIM,
              rs == UI_REQ_NOTHING ? "not recorded" : "computing");
        return;
    }
    ui_spark_line(&st->look, b, r.x + label, r.y, r.w - label, a->mass, a->n, UI_LANE_A);
    if (st->at.row < w.q0 || st->at.row >= w.q1) return;
    int at = ui_bin_of(st->at.row - w.q0, w.q1 - w.q0, r.w - label);
    struct ui_style here = uv_style(st, UI_QUERY);
    if (st->look.tier >= UI_TIER_256)
        here.bg = here.fg, here.fg = uv_style(st, UI_LANE_A).fg;
    else
        here.attr |= CELL_REVERSE;
    cells_paint(b, (struct ui_rect){ r.x + label + at, r.y, 1, 1 }, here);
}

/* Keys to which B gives weight and that A does not read. */
static int lost_keys(const struct ui_row *a, const struct ui_row *b, int *out, int cap)
{
    int n = 0;
    for (int i = 0; i < b->n_top && n < cap; i++) {
        int k = b->top[i].key;
        bool read_b = !b->have_rows || (b->flag[k] & UI_KEY_KEPT);
        if (read_b && k < a->n_keys && a->have_rows && !(a->flag[k] & UI_KEY_KEPT)) out[n++] = i;
    }
    return n;
}

static const struct ui_row *row_of(const struct ui_state *st, int lane)
{
    enum ui_req_state rs;
    return has(st, lane) ? uv_row(st, lane, st->at.layer, ui_head_arg(st), st->at.row, &rs) : NULL;
}

static void draw_keys(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    if (r.h < 3) return;
    struct ui_rect in = ui_pane(st, b, r, 1, "Keys that B uses and A does not (query %d)", st->at.row);
    const struct ui_row *ra = row_of(st, st->at.a), *rb = row_of(st, st->at.b);
    int key[UI_ROW_TOP], cur = st->at.cur[UI_SCREEN_COMPARE];
    if (!ra || !rb) { ui_empty(st, b, in, "computing", ""); return; }
    int n = lost_keys(ra, rb, key, UI_ROW_TOP), page = sac_trace_page_size(st->trace, st->at.a),
        answers = st->body.w < 100 && in.h >= 4 ? 2 : 0, along = answers != 0;
    int lines = in.h - answers - along, from = cur >= lines ? cur - lines + 1 : 0;
    if (!n) uv_at(st, b, in.x, in.y, in.w, UI_OK, "none of the %d largest: A reads them all", rb->n_top);
    for (int i = from; i < n && i - from < lines; i++) {
        const struct sac_top *t = &rb->top[key[i]];
        char tok[72], num[24], where[48] = "";
        uv_quote(st, st->at.b, t->key, tok, sizeof tok);
        ui_fmt_weight((double)t->weight, num, sizeof num);
        if (page > 1) snprintf(where, sizeof where, "page %d", t->key / page);
        bool on = st->at.pane[UI_SCREEN_COMPARE] == 1 && i == cur;
        struct ui_style s = uv_style(st, on ? UI_CURSOR : UI_TEXT);
        if (on) cells_fill(b, (struct ui_rect){ in.x, in.y + i - from, in.w, 1 }, U' ', s);
        int x = in.x + cells_printf(b, in.x, in.y + i - from, in.w, s, "%6d ", t->key);
        cells_put(b, x++, in.y + i - from, U'-', uv_style(st, UI_MISSED));
        x++;
        if (ui_gold_at(st, t->key) >= 0) cells_put(b, x++, in.y + i - from, U'[', uv_style(st, UI_GOLD));
        int end = in.x + in.w, column = in.x + 10 + (in.w >= 50 ? 18 : 14);
        cells_fit(b, x, in.y + i - from, column - 1 - x, tok, s);
        cells_printf(b, column, in.y + i - from, end - column, s, "B %-8s rank %-4d %s", num, key[i] + 1,
                     where);
    }
    if (along) recall_line(st, b, (struct ui_rect){ in.x, in.y + lines, in.w, 1 });
    if (answers) uv_answers(st, b, (struct ui_rect){ in.x, in.y + lines + 1, in.w, answers }, false);
}

static void draw_answers(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    if (r.h < 4) return;
    int first = has(st, st->at.a) ? st->lane[st->at.a].first_diff : -1;
    struct ui_rect in = first >= 0 ? ui_pane(st, b, r, -1, "Answers and scores   %s differs from dense at step %d",
                                             ui_lane_name(st, st->at.a), first)
                                   : ui_pane(st, b, r, -1, "Answers and scores");
    uv_answers(st, b, in, false);
}

/* ---- the view ---- */

static void compare_draw(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    struct boxes x = layout(st, r);
    struct uv_map a = { 0 }, m = { 0 };
    enum ui_req_state ra = UI_REQ_NOTHING, rb = UI_REQ_NOTHING;
    if (!has(st, st->at.a)) {
        uv_notice(st, b, ui_pane(st, b, r, 0, "Compare"), st->at.a, -1, UI_REQ_NOTHING);
        return;
    }
    bool both = get_maps(st, &x, &a, &m, &ra, &rb);
    if (st->at.diff != UI_DIFF_OFF && both)
        draw_diff(st, b, &x, x.a, &a, &m);
    else if (x.n_maps == 1 && st->at.blink)
        draw_map(st, b, &x, x.a, 0, 'B', st->at.b, &m, rb);
    else
        draw_map(st, b, &x, x.a, 0, 'A', st->at.a, &a, ra);
    if (x.n_maps == 2) draw_map(st, b, &x, x.b, 2, 'B', st->at.b, &m, rb);
    if (x.recall.h) draw_recall(st, b, x.recall);
    if (x.keys.h && has(st, st->at.b)) draw_keys(st, b, x.keys);
    if (x.text.h) draw_answers(st, b, x.text);
}

static void compare_context(const struct ui_state *st, char *buf, size_t cap, int w)
{
    char head[48];
    int n = uv_what(st, buf, cap, w);
    if (!has(st, st->at.a) || n < 0 || (size_t)n >= cap) return;
    ui_head_name(st, head, sizeof head);
    n += snprintf(buf + n, cap - (size_t)n, " | %s | A %s  B %s", head, ui_lane_name(st, st->at.a),
                  has(st, st->at.b) ? ui_lane_name(st, st->at.b) : "-");
    if (st->at.blink && (size_t)n < cap) n += snprintf(buf + n, cap - (size_t)n, " | blink: B");
    if (st->at.sinks && (size_t)n < cap)
        n += snprintf(buf + n, cap - (size_t)n, " | sinks %s", ui_sinks_name[st->at.sinks]);
    if (w >= 100 && (size_t)n < cap)
        n += snprintf(buf + n, cap - (size_t)n, " | %s, %s | %s", ui_scale_name[st->at.scale],
                      ui_pool_name[st->at.pool], st->at.sparse ? "dense weights" : "empty: not read");
}

static void compare_status(const struct ui_state *st, char *buf, size_t cap)
{
    const struct ui_row *ra = row_of(st, st->at.a), *rb = row_of(st, st->at.b);
    buf[0] = 0;
    if (!ra || !rb) return;
    double lost = 0, gold = 0;
    int n = rb->n_keys < ra->n_keys ? rb->n_keys : ra->n_keys;
    for (int k = 0; k < n; k++)
        if (ra->have_rows && !(ra->flag[k] & UI_KEY_KEPT) &&
            (!rb->have_rows || (rb->flag[k] & UI_KEY_KEPT))) {
            lost += (double)rb->w[k];
            if (ra->flag[k] & UI_KEY_GOLD) gold += (double)rb->w[k];
        }
    char tok[72], wa[24], wb[24];
    bool wide = st->plain || st->body.w >= 100;
    int m = snprintf(buf, cap, wide ? "A misses %.1f %% of B's weight" : "A misses %.1f %% of B", 100 * lost);
    if (lost > 0.001 && st->info.n_spans && m > 0 && (size_t)m < cap)
        m += snprintf(buf + m, cap - (size_t)m, wide ? " (%.0f %% of it gold)" : " (%.0f %% gold)",
                      100 * gold / lost);
    if (st->at.key >= n || m <= 0 || (size_t)m >= cap) return;
    uv_quote(st, st->at.a, st->at.key, tok, sizeof tok);
    ui_fmt_weight((double)ra->w[st->at.key], wa, sizeof wa);
    ui_fmt_weight((double)rb->w[st->at.key], wb, sizeof wb);
    bool out = ra->have_rows && !(ra->flag[st->at.key] & UI_KEY_KEPT);
    snprintf(buf + m, cap - (size_t)m, " | key %d %s: A %s, B %s", st->at.key, tok, out ? "none" : wa, wb);
}

static void compare_plain(const struct ui_state *st, char *buf, size_t cap)
{
    char line[500];
    int key[UI_ROW_TOP];
    compare_context(st, line, sizeof line, 120);
    int n = snprintf(buf, cap, "%s\n", line);
    compare_status(st, line, sizeof line);
    n += snprintf(buf + n, cap - (size_t)n, "%s\n", line);
    const struct ui_row *ra = row_of(st, st->at.a), *rb = row_of(st, st->at.b);
    int m = ra && rb ? lost_keys(ra, rb, key, 10) : 0;
    for (int i = 0; i < m && (size_t)n + 120 < cap; i++) {
        char tok[72];
        uv_quote(st, st->at.b, rb->top[key[i]].key, tok, sizeof tok);
        n += snprintf(buf + n, cap - (size_t)n, "lost key %d %s weight %.4f rank %d\n", rb->top[key[i]].key,
                      tok, (double)rb->top[key[i]].weight, key[i] + 1);
    }
}

static void compare_settle(struct ui_state *st)
{
    uv_first_look(st);
    if (has(st, st->at.a)) uv_settle(st, UI_SCREEN_COMPARE, st->at.a);
}

static bool compare_move(struct ui_state *st, enum ui_move m, int n)
{
    if (!has(st, st->at.a)) return false;
    if (st->at.pane[UI_SCREEN_COMPARE] == 1) {
        int *cur = &st->at.cur[UI_SCREEN_COMPARE], to = *cur, key[UI_ROW_TOP];
        const struct ui_row *ra = row_of(st, st->at.a), *rb = row_of(st, st->at.b);
        int k = ra && rb ? lost_keys(ra, rb, key, UI_ROW_TOP) : 0;
        to += m == UI_UP ? -n : m == UI_DOWN ? n : 0;
        if (m == UI_TOP) to = 0;
        if (m == UI_BOTTOM || to >= k) to = k - 1;
        *cur = to < 0 ? 0 : to;
        return true;
    }
    struct boxes x = layout(st, st->body);
    struct ui_rect px = { 0, 0, x.map.w, x.map.h * ui_pic_rows(&st->look) };
    return uv_map_move(st, UI_SCREEN_COMPARE, st->at.a, px, m, n);
}

static bool compare_open(struct ui_state *st)
{
    int key[UI_ROW_TOP], cur = st->at.cur[UI_SCREEN_COMPARE];
    if (!has(st, st->at.a)) return false;
    const struct ui_row *ra = row_of(st, st->at.a), *rb = row_of(st, st->at.b);
    if (st->at.pane[UI_SCREEN_COMPARE] == 1 && ra && rb && cur < lost_keys(ra, rb, key, UI_ROW_TOP))
        st->at.key = rb->top[key[cur]].key;
    ui_go(st, UI_SCREEN_MAP);
    return true;
}

static bool compare_cancel(struct ui_state *st)
{
    bool any = st->at.selecting || st->at.blink || st->at.diff != UI_DIFF_OFF;
    st->at.selecting = st->at.blink = false;
    st->at.diff = UI_DIFF_OFF;
    return any;
}

static bool compare_find(struct ui_state *st, const char *text, int dir)
{
    bool ok = uv_find(st, text, dir, true);
    compare_settle(st);
    return ok;
}

/* The first differing token comes first here, then gold and missed keys. */
static bool compare_event(struct ui_state *st, int by)
{
    int first = has(st, st->at.a) ? st->lane[st->at.a].first_diff : -1;
    int row = first >= 0 ? ui_step_row(st, first) : -1;
    if (row >= 0 && st->at.row != row && by > 0 && row < uv_n(st, st->at.a)) {
        uv_set_row(st, row);
        ui_say(st, UI_SAY_INFO, "first differing token: step %d", first);
        return true;
    }
    bool ok = uv_event(st, by, true);
    compare_settle(st);
    return ok;
}

static bool compare_click(struct ui_state *st, int cx, int cy, enum ui_click what)
{
    if (!has(st, st->at.a)) return false;
    struct boxes x = layout(st, st->body);
    struct ui_window w = window(st);
    struct ui_rect m = x.map;
    if (x.n_maps == 2 && cx >= x.b.x) m.x = x.b.x + 1 + x.left;
    if (cx < m.x || cx >= m.x + m.w || cy < m.y || cy >= m.y + m.h || w.q1 <= w.q0) return false;
    if (what == UI_WHEEL_UP || what == UI_WHEEL_DOWN) {
        uv_zoom(st, UI_SCREEN_COMPARE, st->at.a, what == UI_WHEEL_UP ? 0.5 : 2);
        return true;
    }
    if (what == UI_RELEASE) return false;
    if (what == UI_DRAG && !st->at.selecting) {
        st->at.selecting = true;
        st->at.sel_row = st->at.row;
        st->at.sel_key = st->at.key;
    }
    uv_set_row(st, w.q0 + ui_bin_lo(cy - m.y, w.q1 - w.q0, m.h));
    st->at.key = w.k0 + ui_bin_lo(cx - m.x, w.k1 - w.k0, m.w);
    compare_settle(st);
    return true;
}

static bool cmd_diff(struct ui_state *st, const char *arg)
{
    static const char *const way[] = { "off", "signed", "absolute" };
    int i;
    if (!ui_arg_choice(st, arg, way, UI_N_DIFFS, (int)st->at.diff, &i)) return false;
    if (i && !has(st, st->at.b)) {
        ui_say(st, UI_SAY_BAD, "no method B to subtract: M chooses one");
        return false;
    }
    st->at.diff = (enum ui_diff)i;
    return true;
}

static bool cmd_blink(struct ui_state *st, const char *arg)
{
    (void)arg;
    if (!has(st, st->at.b)) {
        ui_say(st, UI_SAY_BAD, "no method B to show: M chooses one");
        return false;
    }
    st->at.blink = !st->at.blink;
    return true;
}

#define HERE UI_CTX(UI_SCREEN_COMPARE)
static const struct ui_cmd cmds[] = {
    { "diff", "off|signed|absolute|next", "difference A - B instead of the two maps", UI_GROUP_LOOK, HERE,
      UI_CMD_VIEW, cmd_diff },
    { "blink", "", "show B in the place of A, and back", UI_GROUP_LOOK, HERE, UI_CMD_VIEW, cmd_blink },
};
static const struct ui_bind binds[] = {
    { HERE, "d", "diff next" }, { HERE, "\\", "blink" }, { HERE, "w", "swap" },
};
static const struct ui_hint hints[] = {
    { "method-pick", "method A" }, { "method-pick b", "B" }, { "diff next", "difference" },
    { "blink", "blink" },          { "swap", "swap" },       { "layer +1", "layer" },
    { "head +1", "head" },         { "step +1", "step" },    { "event +1", "first difference" },
    { "scale next", "scale" },     { "zoom in", "zoom" },    { "open", "map" },
};

const struct ui_view ui_view_compare = {
    .name = "compare",
    .tab = "Compare",
    .tab_short = "Comp",
    .draw = compare_draw,
    .context = compare_context,
    .status = compare_status,
    .settle = compare_settle,
    .move = compare_move,
    .open = compare_open,
    .cancel = compare_cancel,
    .find = compare_find,
    .event = compare_event,
    .click = compare_click,
    .copy = compare_status,
    .plain = compare_plain,
    .n_panes = 2,
    .cmds = cmds,
    .n_cmds = (int)(sizeof cmds / sizeof *cmds),
    .binds = binds,
    .n_binds = (int)(sizeof binds / sizeof *binds),
    .hints = hints,
    .n_hints = (int)(sizeof hints / sizeof *hints),
};
