/* Map: queries down, keys across, one head of one lane.
 *
 * The picture comes from a tile that a worker computes exactly for the window and the pixels on screen; until
 * it arrives the overview of the run stands in and the title says ~. Beside it the cursor's row: exact
 * weights, rank, kept, forced or missed, and the keys the query reads most. Below, what happens to every key
 * column. */
#include "lines.h"
#include "views.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* map: cells of the picture; strips: lines below it; max, lost: columns of the strips beside it. */
struct boxes {
    struct uv_cols c;
    struct ui_rect map;
    int strips, max, lost;
};

static struct boxes layout(const struct ui_state *st, struct ui_rect r)
{
    struct boxes x = { .c = uv_layout(r, 36, 24, r.h >= 28 ? 4 : 0) };
    if (!st->at.topk && !st->at.why && r.w < 100) {
        x.c.main.w += x.c.side.w;
        x.c.side.w = 0;
    }
    struct ui_rect in = { x.c.main.x + 1, x.c.main.y + 1, x.c.main.w - 2, x.c.main.h - 2 };
    x.strips = in.h >= 16 ? 3 : in.h >= 10 ? 2 : in.h >= 7 ? 1 : 0;
    x.max = in.w >= 60 ? 3 : 0;
    x.lost = in.w >= 40 ? 4 : 0;
    x.map = (struct ui_rect){ in.x + 6, in.y + 1, in.w - 6, in.h - 1 - x.strips };
    x.map.w -= (x.max ? x.max + 1 : 0) + (x.lost ? x.lost + 1 : 0);
    if (st->at.overlay == UI_OVER_LISTS && x.map.h > 4) { /* a line and a column of ticks */
        x.map.w--;
        x.map.y++;
        x.map.h--;
    }
    return x;
}

static struct ui_rect pixels(const struct ui_state *st, const struct boxes *x)
{
    return (struct ui_rect){ 0, 0, x->map.w, x->map.h * ui_pic_rows(&st->look) };
}

/* ---- strips under the map and beside it ---- */

/* Pixels that touch the diagonal: nearly every token reads itself and its neighbours, which would drown what
 * a strip is to show. */
static bool on_diagonal(const struct uv_map *m, int i, int j)
{
    return m->win.k0 + ui_bin_hi(i, m->win.k1 - m->win.k0, m->w) >
           m->win.q0 + ui_bin_lo(j, m->win.q1 - m->win.q0, m->h);
}

/* Beside the map, for the queries of each line: the largest weight off the diagonal and the sinks, and the
 * dense mass that is not read. */
static void row_strips(const struct ui_state *st, struct cell_buf *b, const struct boxes *x,
                       const struct uv_map *m)
{
    int per = ui_pic_rows(&st->look), at = x->map.x + x->map.w + 1 + (st->at.overlay == UI_OVER_LISTS);
    if (x->max) uv_at(st, b, at, x->map.y - 1, x->max, UI_DIM, "max");
    if (x->lost) uv_at(st, b, at + (x->max ? x->max + 1 : 0), x->map.y - 1, x->lost, UI_DIM, "lost");
    for (int line = 0; line < x->map.h; line++) {
        float top[3] = { NAN, NAN, NAN };
        double lost = 0;
        for (int j = line * per; j < (line + 1) * per; j++)
            for (int i = 0; i < m->w; i++) {
                size_t p = (size_t)j * (size_t)m->w + (size_t)i;
                if (m->missed && !isnan(m->missed[p])) lost += (double)m->missed[p] / per;
                bool sink = i == 0 && m->win.k0 < 4 && m->w > 1;
                if (isnan(m->t[p]) || sink || on_diagonal(m, i, j)) continue;
                if (isnan(top[0]) || m->t[p] > top[0]) top[0] = top[1] = top[2] = m->t[p];
            }
        if (x->max) ui_strip(&st->look, b, at, x->map.y + line, x->max, top, st->at.scale == UI_SCALE_LIFT);
        if (!x->lost || lost < 0.005) continue;
        char32_t bar[8];
        ui_bar(lost < 0.04 ? 0.04 : lost, x->lost, st->look.ascii, bar);
        for (int k = 0; k < x->lost; k++)
            if (bar[k] != U'.' && bar[k] != U' ')
                cells_put(b, at + (x->max ? x->max + 1 : 0) + k, x->map.y + line, bar[k],
                          uv_style(st, UI_MISSED));
    }
}

static void column_strips(const struct ui_state *st, struct cell_buf *b, const struct boxes *x,
                          const struct uv_map *m)
{
    float top[512], kept[512];
    int w = m->w < 512 ? m->w : 512, y = x->map.y + x->map.h;
    for (int i = 0; i < w; i++) {
        float sum = 0;
        int n = 0;
        top[i] = NAN;
        for (int j = 0; j < m->h; j++) {
            size_t at = (size_t)j * (size_t)m->w + (size_t)i;
            if (isnan(m->t[at])) continue;
            if (!on_diagonal(m, i, j) && (isnan(top[i]) || m->t[at] > top[i])) top[i] = m->t[at];
            if (m->kept) sum += m->kept[at];
            n++;
        }
        kept[i] = n && m->kept ? sum / (float)n : NAN;
    }
    /* Where prefill is dense every row keeps every key; then the strip speaks of the query at the cursor. */
    const struct sac_lane *la = &st->lane[st->at.a];
    enum ui_req_state rs;
    bool one = la->prefill.kernel > 0.9999 && la->decode.kernel < 0.9999;
    const struct ui_row *row =
        one ? uv_row(st, st->at.a, st->at.layer, ui_head_arg(st), st->at.row, &rs) : NULL;
    for (int i = 0; row && row->have_rows && i < w; i++) {
        int lo = m->win.k0 + ui_bin_lo(i, m->win.k1 - m->win.k0, w),
            hi = m->win.k0 + ui_bin_hi(i, m->win.k1 - m->win.k0, w);
        int n = 0, in = 0;
        for (int k = lo; k < hi && k < row->n_keys; k++, n++) in += row->flag[k] & UI_KEY_KEPT;
        kept[i] = n ? (float)in / (float)n : NAN;
    }
    struct ui_style dim = uv_style(st, UI_DIM);
    if (x->strips >= 3) {
        cells_text(b, x->map.x - 6, y, 6, "keys>", dim);
        ui_strip(&st->look, b, x->map.x, y++, w, top, st->at.scale == UI_SCALE_LIFT);
    }
    if (x->strips >= 2) {
        cells_text(b, x->map.x - 6, y, 6, row ? "read>" : "kept>", dim);
        for (int i = 0; i < w; i++)
            if (!isnan(kept[i]))
                cells_put(b, x->map.x + i, y,
                          kept[i] <= 0 ? U'.' : ui_spark_glyph((double)kept[i], st->look.ascii),
                          uv_style(st, kept[i] <= 0 ? UI_DIM : UI_KEPT));
        y++;
    }
    if (x->strips >= 1 && st->info.n_spans) {
        cells_text(b, x->map.x - 6, y, 6, "gold>", dim);
        ui_gold_line(&st->look, b, x->map.x, y, w, m->win.k0, m->win.k1, &st->info);
    }
}

/* Columns and diagonals that a method chose as such: ticks below the ruler, where a column stands, at the
 * left edge, where a diagonal comes in, and at the right edge, where it leaves. */
static void head_ticks(const struct ui_state *st, struct cell_buf *b, const struct boxes *x,
                       const struct uv_map *m, int head)
{
    const struct sac_plan *p = sac_trace_plan(st->trace, st->at.a, st->at.layer, head);
    struct ui_style s = uv_style(st, UI_KEPT);
    const struct ui_window *w = &m->win;
    int rows = w->q1 - w->q0, keys = w->k1 - w->k0;
    char32_t down = st->look.ascii ? U'|' : 0x2502, slash = st->look.ascii ? U'\\' : 0x2572;
    if (!p) return;
    for (int i = 0; i < p->n_vertical; i++)
        if (p->vertical[i] >= w->k0 && p->vertical[i] < w->k1)
            cells_put(b, x->map.x + ui_bin_of(p->vertical[i] - w->k0, keys, m->w), x->map.y - 1, down, s);
    for (int i = 0; i < p->n_slash; i++) {
        int in = w->k0 + p->slash[i] - w->q0, out = w->k1 - 1 + p->slash[i] - w->q0;
        if (in >= 0 && in < rows)
            cells_put(b, x->map.x - 1, x->map.y + ui_bin_of(in, rows, x->map.h), slash, s);
        if (out >= 0 && out < rows)
            cells_put(b, x->map.x + m->w, x->map.y + ui_bin_of(out, rows, x->map.h), slash, s);
    }
}

static void list_ticks(const struct ui_state *st, struct cell_buf *b, const struct boxes *x,
                       const struct uv_map *m)
{
    int per = st->info.shape.n_heads / (st->info.shape.n_kv_heads > 0 ? st->info.shape.n_kv_heads : 1);
    int h0 = st->at.group ? ui_kv_head(st) * per : st->at.head, n = st->at.group ? per : 1;
    for (int h = h0; h < h0 + n; h++) head_ticks(st, b, x, m, h);
}

/* Where the text searched for stands, on the ruler. */
static void hit_ticks(const struct ui_state *st, struct cell_buf *b, const struct boxes *x,
                      const struct uv_map *m)
{
    int pos[512], n = uv_hits(st, st->at.a, pos, 512);
    const struct ui_window *w = &m->win;
    for (int i = 0; i < n; i++) {
        if (pos[i] < w->k0 || pos[i] >= w->k1) continue;
        int at = x->map.x + ui_bin_of(pos[i] - w->k0, w->k1 - w->k0, m->w), y = x->map.y - 1;
        char32_t on = b->cell[(size_t)y * (size_t)b->w + (size_t)at].ch;
        if (on == U' ' || !on) /* the numbers stay */
            cells_put(b, at, y, st->look.ascii ? U'*' : 0x2022, uv_style(st, UI_MATCH));
    }
}

/* ---- side panes ---- */

static void draw_cursor(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                        const struct ui_row *row, const struct uv_map *m)
{
    char q[72], k[72], nx[72];
    const struct ui_where *a = &st->at;
    int y = r.y, n = uv_n(st, a->a), gold = uv_gold(st, a->key);
    uv_quote(st, a->a, a->row, q, sizeof q);
    uv_quote(st, a->a, a->key, k, sizeof k);
    if (a->row + 1 < n) uv_quote(st, a->a, a->row + 1, nx, sizeof nx);
    else snprintf(nx, sizeof nx, "end");
    uv_at(st, b, r.x, y++, r.w, UI_TEXT, "query %d %s -> next %s", a->row, q, nx);
    int used = uv_at(st, b, r.x, y, r.w, UI_TEXT, "key   %d %s", a->key, k);
    if (gold) uv_at(st, b, r.x + used + 1, y, r.w - used - 1, UI_GOLD, "[gold %d]", gold);
    y++;
    if (!row) {
        double v = (double)NAN;
        if (m->have && a->row >= m->win.q0 && a->row < m->win.q1 && a->key >= m->win.k0 && a->key < m->win.k1)
            v = (double)m->value[(size_t)ui_bin_of(a->row - m->win.q0, m->win.q1 - m->win.q0, m->h) *
                                     (size_t)m->w +
                                 (size_t)ui_bin_of(a->key - m->win.k0, m->win.k1 - m->win.k0, m->w)];
        char num[24];
        ui_fmt_weight(v, num, sizeof num);
        uv_at(st, b, r.x, y++, r.w, UI_DIM, "dense ~%s (pooled)", num);
        return;
    }
    enum ui_role role;
    char num[24], lift[24];
    double v = (double)row->w[a->key];
    int rank = ui_row_rank(row, a->key), page = sac_trace_page_size(st->trace, a->a);
    const char *word = uv_key_word(row, a->key, rank, &role);
    ui_fmt_weight(v, num, sizeof num);
    ui_fmt_lift(v * row->n_keys, lift, sizeof lift);
    uv_at(st, b, r.x, y++, r.w, UI_STRONG, "dense %s  rank %d of %d", num, rank, row->n_keys);
    used = uv_at(st, b, r.x, y, r.w, UI_TEXT, "%s: ", ui_lane_name(st, a->a));
    used += uv_at(st, b, r.x + used, y, r.w - used, role, "%s", word);
    if (page > 1) uv_at(st, b, r.x + used, y, r.w - used, UI_DIM, "  page %d", a->key / page);
    y++;
    bool wide = r.w >= 30;
    bool group = row->n_heads > 1;
    if (row->shared)
        uv_at(st, b, r.x, y++, r.w, UI_TEXT, wide ? "oracle of %d keys reads it: %s" : "oracle@%d: %s",
              row->n_kept, rank <= row->n_kept ? "yes" : "no");
    else
        uv_at(st, b, r.x, y++, r.w, UI_TEXT, wide ? "each head reads its own %.0f keys" : "%.0f keys a head",
              row->r.kept);
    uv_at(st, b, r.x, y++, r.w, UI_TEXT, "%s x the uniform weight", lift);
    if (row->have_recall) {
        if (group)
            uv_at(st, b, r.x, y++, r.w, UI_TEXT,
                  wide ? "mass recall: mean %.2f, H%d %.2f" : "mass %.2f, H%d %.2f", row->r.mass,
                  row->low_head, row->mass_low);
        else
            uv_at(st, b, r.x, y++, r.w, UI_TEXT,
                  wide ? "row mass recall %.2f, set %.2f" : "row mass %.2f set %.2f", row->r.mass,
                  row->r.set);
        uv_at(st, b, r.x, y++, r.w, UI_TEXT,
              group  ? wide ? "mean: oracle %.2f, entropy %.1f b" : "oracle %.2f H %.1f"
              : wide ? "row oracle %.2f, entropy %.1f bits"
                     : "oracle %.2f H %.1f",
              row->r.oracle, row->r.entropy);
    }
    if (r.y + r.h > y)
        uv_at(st, b, r.x, y++, r.w, UI_DIM,
              !wide         ? "reads %d, %d f"
              : row->shared ? "reads %d of %d, %d forced"
                            : "together %d of %d, %d forced",
              row->n_kept, wide ? row->n_keys : row->n_forced, row->n_forced);
    if (row->n_requested > 0 && row->n_requested != row->n_kept && r.y + r.h > y)
        uv_at(st, b, r.x, y, r.w, UI_DIM, wide ? "sparsity asked %.3f, got %.3f" : "asked %.3f is %.3f",
              1 - (double)row->n_requested / row->n_keys, 1 - (double)row->n_kept / row->n_keys);
}

/* A weight in four columns: ".148", "8e-5". */
static const char *short_weight(double v, char *buf, size_t cap)
{
    int e = v > 0 ? (int)floor(log10(v)) : 0;
    if (v >= 0.9995)
        snprintf(buf, cap, "1.00");
    else if (v >= 0.0005)
        snprintf(buf, cap, ".%03.0f", 1000 * v);
    else if (!(v > 0))
        snprintf(buf, cap, "0");
    else
        snprintf(buf, cap, "%.0fe%d", floor(v / pow(10, e) + 1e-9), e);
    return buf;
}

static void draw_top(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                     const struct ui_row *row)
{
    bool wide = r.w >= 30, stats = r.w < 30 && r.h >= 12;
    int y = r.y, end = r.y + r.h - (stats ? 6 : wide ? 1 : r.h > 6 ? 1 : 0);
    int cur = st->at.cur[UI_SCREEN_MAP], lines = end - y - (wide ? 1 : 0),
        from = cur >= lines ? cur - lines + 1 : 0;
    bool focus = st->at.pane[UI_SCREEN_MAP] == 1;
    if (!row) { ui_empty(st, b, r, "computing the row", ""); return; }
    if (wide) uv_at(st, b, r.x, y++, r.w, UI_DIM, " rk    key  weight  sel token");
    for (int i = from; i < row->n_top && y < end; i++, y++) {
        const struct sac_top *t = &row->top[i];
        enum ui_role role;
        char num[24], text[72];
        char mark = uv_key_mark(row, t->key, &role);
        ui_token_text(st, st->at.a, t->key, text, sizeof text);
        ui_fmt_weight((double)t->weight, num, sizeof num);
        struct ui_style line = uv_style(st, focus && i == cur ? UI_CURSOR : UI_TEXT);
        if (t->key == st->at.key) line.attr |= CELL_BOLD;
        if (focus && i == cur) cells_fill(b, (struct ui_rect){ r.x, y, r.w, 1 }, U' ', line);
        int x = r.x;
        if (wide) x += cells_printf(b, x, y, r.w, line, "%3d %6d  %-7s ", i + 1, t->key, num);
        else
            x += cells_printf(b, x, y, r.w, line, "%5d %-4s ", t->key,
                              short_weight((double)t->weight, num, sizeof num));
        struct ui_style ms = uv_style(st, role);
        if (focus && i == cur) ms.bg = line.bg;
        cells_put(b, x + (wide ? 1 : 0), y, (char32_t)mark, ms);
        x += wide ? 4 : 2;
        if (row->flag[t->key] & UI_KEY_GOLD) { cells_put(b, x, y, U'[', uv_style(st, UI_GOLD)); x++; }
        cells_fit(b, x, y, r.x + r.w - x, text, line);
    }
    y = r.y + r.h - (stats ? 5 : 1);
    if (stats && row->have_recall) {
        if (row->n_heads > 1)
            uv_at(st, b, r.x, y++, r.w, UI_TEXT, "mass %.2f, H%d %.2f", row->r.mass, row->low_head,
                  row->mass_low);
        else
            uv_at(st, b, r.x, y++, r.w, UI_TEXT, "row mass %.2f set %.2f", row->r.mass, row->r.set);
        uv_at(st, b, r.x, y++, r.w, UI_TEXT, "oracle %.2f", row->r.oracle);
    } else if (stats) {
        y += 2;
    }
    if (stats) {
        uv_at(st, b, r.x, y++, r.w, UI_FORCED, "f forced");
        uv_at(st, b, r.x, y++, r.w, UI_KEPT, "* chosen");
        uv_at(st, b, r.x, y, r.w, UI_MISSED, "- missed");
    } else if (wide || r.h > 6) {
        int x = r.x;
        x += uv_at(st, b, x, y, r.w, UI_FORCED, "f forced") + 2;
        x += uv_at(st, b, x, y, r.x + r.w - x, UI_KEPT, "* chosen") + 2;
        uv_at(st, b, x, y, r.x + r.w - x, UI_MISSED, "- missed");
    }
}

static void draw_side(const struct ui_state *st, struct cell_buf *b, const struct boxes *x,
                      const struct ui_row *row, const struct uv_map *m)
{
    struct ui_rect r = x->c.side;
    if (r.w < 1) return;
    bool full = r.h >= 24 && r.w >= 30;
    if (!full) {
        if (st->at.why)
            uv_draw_why(st, b, ui_pane(st, b, r, 1, "Why (i)"), row);
        else if (st->at.topk)
            draw_top(st, b, ui_pane(st, b, r, 1, "Top keys (t)"), row);
        else draw_cursor(st, b, ui_pane(st, b, r, 1, "Cursor"), row, m);
        return;
    }
    int mini = r.h >= 40 ? 14 : 10;
    int read_out = row && row->n_requested > 0 && row->n_requested != row->n_kept ? 12 : 11;
    struct ui_rect cur = { r.x, r.y, r.w, read_out }, low = { r.x, r.y + r.h - mini, r.w, mini };
    struct ui_rect mid = { r.x, r.y + read_out, r.w, r.h - read_out - mini };
    if (st->at.why && mid.h < 16) { /* the reasons need the room of the minimap */
        mid.h += mini;
        low.h = 0;
    }
    draw_cursor(st, b, ui_pane(st, b, cur, -1, "Cursor"), row, m);
    if (st->at.why)
        uv_draw_why(st, b, ui_pane(st, b, mid, 1, "Why key %d, query %d", st->at.key, st->at.row), row);
    else if (st->at.topk)
        draw_top(st, b, ui_pane(st, b, mid, 1, "Top keys of query %d", st->at.row), row);
    else
        low = (struct ui_rect){ r.x, r.y + read_out, r.w, r.h - read_out };
    if (low.h < 4) return;
    struct ui_rect in = ui_pane(st, b, low, -1, "Minimap / colour scale");
    uv_minimap(st, b, (struct ui_rect){ in.x, in.y, in.w - 12, in.h }, st->at.a, &m->win,
               m->heat.scale == UI_SCALE_LOG ? &m->heat : NULL);
    int used = ui_scale_legend(&st->look, b, in.x + in.w - 11, in.y, in.h, &m->heat);
    if (used < in.h)
        uv_at(st, b, in.x + in.w - 11, in.y + used, 11, UI_DIM, "%s", st->at.sinks ? "sinks off" : "");
}

/* Heads of the layer as thumbnails, on wide screens. */
static void draw_heads(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    if (r.w < 20 || r.h < 8) return;
    struct ui_rect in = ui_pane(st, b, r, -1, "Heads of L%d", st->at.layer);
    int cols = in.w >= 32 ? 2 : 1, n = st->info.shape.n_heads, per = ui_pic_rows(&st->look);
    int rows = (n + cols - 1) / cols, th = in.h / (rows > 0 ? rows : 1), all = uv_n(st, st->at.a);
    if (th > 9) th = 9;
    if (th < 5) th = 5;
    int tw = in.w / cols - 1;
    if (tw > 2 * (th - 1)) tw = 2 * (th - 1);
    float t[64 * 64];
    for (int h = 0; h < n && all > 0; h++) {
        int x = in.x + (h % cols) * (in.w / cols), y = in.y + (h / cols) * th;
        if (y + th > in.y + in.h || tw < 4 || tw > 64 || (th - 1) * per > 64) break;
        uv_at(st, b, x, y, tw + 8, h == st->at.head ? UI_CURSOR : UI_DIM, "%sH%d",
              h == st->at.head ? "> " : "", h);
        if (!uv_thumb(st, st->at.a, st->at.layer, h, false, tw, (th - 1) * per, NULL, t)) continue;
        struct ui_pic p = { .w = tw, .h = (th - 1) * per, .t = t, .cx = -1, .cy = -1, .sx = -1, .sy = -1 };
        ui_pic_draw(&st->look, b, x, y + 1, &p);
    }
}

/* Two lines of text around the key and the query. */
static void draw_text(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                      const struct ui_row *row)
{
    if (r.h < 3) return;
    struct ui_rect in = ui_pane(st, b, r, -1, "Text at the cursor");
    enum ui_req_state rs;
    const struct ui_text *x = uv_text(st, st->at.a, &rs);
    for (int line = 0; x && line < 2 && line < in.h; line++) {
        int mid = line ? st->at.row : st->at.key, cols = 0, lo = mid, room = (in.w - 14) / 2;
        while (lo > 0 && lo < x->n && cols + x->tok[lo - 1].cols < room) cols += x->tok[--lo].cols;
        int at =
            in.x + uv_at(st, b, in.x, in.y + line, 16, UI_DIM, "%s %6d.. ", line ? "query" : "key  ", lo);
        for (int i = lo; i < x->n && at < in.x + in.w; i++) {
            struct ui_style s =
                uv_style(st, i == mid ? (line ? UI_QUERY : UI_CURSOR)
                             : row && i < row->n_keys && (row->flag[i] & UI_KEY_GOLD) ? UI_GOLD
                                                                                      : UI_TEXT);
            if (row && i < row->n_keys && row->have_rows && (row->flag[i] & UI_KEY_KEPT))
                s.attr |= CELL_UNDERLINE;
            at += cells_textn(b, at, in.y + line, in.x + in.w - at, x->bytes + x->at[i],
                              (size_t)(x->at[i + 1] - x->at[i]), s);
        }
    }
}

/* ---- the view ---- */

/* What was done to the picture, for its title: sinks left out, and what the overlay marks. */
static void transformed(const struct ui_state *st, char *buf, size_t cap)
{
    static const char *const over[UI_N_OVERLAYS] = { "", "dim: not read", "outline: read", "",
                                                     "- missed: > 1 %" };
    const struct sac_plan *p = sac_trace_plan(st->trace, st->at.a, st->at.layer, st->at.head);
    char ticks[64];
    const char *mark = over[st->at.overlay];
    if (st->at.overlay == UI_OVER_MASK && ui_pic_rows(&st->look) < 2) mark = "blank: not read";
    if (st->at.overlay == UI_OVER_LISTS) {
        mark = ticks;
        if (p && p->n_vertical + p->n_slash > 0)
            snprintf(ticks, sizeof ticks,
                     st->body.w >= 100 ? "ticks: %d columns, %d diagonals" : "%d cols, %d diags",
                     p->n_vertical, p->n_slash);
        else
            snprintf(ticks, sizeof ticks, "no columns or diagonals here");
    }
    snprintf(buf, cap, "%s%s%s%s", st->at.sinks ? "sinks " : "",
             st->at.sinks ? ui_sinks_name[st->at.sinks] : "", st->at.sinks && *mark ? " | " : "", mark);
}

static void map_draw(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    struct boxes x = layout(st, r);
    struct ui_rect px = pixels(st, &x);
    enum ui_req_state rs = UI_REQ_NOTHING, rrs;
    struct uv_map m = { 0 };
    struct ui_window win = uv_window(st, UI_SCREEN_MAP, st->at.a);
    bool lane = st->trace && st->at.a < st->n_lanes;
    if (lane) m = uv_map_get(st, 0, st->at.a, &win, px.w, px.h, &rs);
    char more[80] = "", done[100] = "";
    if (lane) uv_lane_state(st, st->at.a, more, sizeof more);
    if (lane) transformed(st, done, sizeof done);
    struct ui_rect in =
        ui_pane(st, b, x.c.main, 0, "%s%s, queries %sx keys%s%s%s%s%s", m.approx ? "~ " : "",
                st->at.sparse ? "Sparse weights" : "Attention", done[0] ? "" : "(down) ",
                done[0] ? "" : " (across)", done[0] ? "   " : "", done, more[0] ? "  " : "", more);
    if (!m.have && uv_notice(st, b, in, st->at.a, st->at.layer, rs)) return;
    if (!m.have) { ui_empty(st, b, in, "The window is too small for a map.", "widen the terminal"); return; }
    const struct ui_row *row = uv_row(st, st->at.a, st->at.layer, ui_head_arg(st), st->at.row, &rrs);
    if (x.map.w > 0 && x.map.h > 0) {
        ui_ruler(&st->look, b, x.map.x, in.y, x.map.w, win.k0, win.k1, st->at.key);
        ui_ruler_down(&st->look, b, in.x, x.map.y, 6, x.map.h, win.q0, win.q1, st->at.row);
        uv_map_draw(st, b, x.map.x, x.map.y, st->at.a, &m);
        column_strips(st, b, &x, &m);
        row_strips(st, b, &x, &m);
        hit_ticks(st, b, &x, &m);
        if (st->at.overlay == UI_OVER_LISTS) list_ticks(st, b, &x, &m);
    }
    draw_side(st, b, &x, row, &m);
    if (!x.c.side.w && (st->at.topk || st->at.why) && st->at.pane[UI_SCREEN_MAP] == 1 &&
        r.w >= 50) { /* narrow: Tab lays it over */
        struct ui_rect over = { r.x + r.w - 30, r.y, 30, r.h };
        cells_fill(b, over, U' ', uv_style(st, UI_TEXT));
        if (st->at.why)
            uv_draw_why(st, b, ui_pane(st, b, over, 1, "Why key %d", st->at.key), row);
        else
            draw_top(st, b, ui_pane(st, b, over, 1, "Top keys of query %d", st->at.row), row);
    }
    if (x.c.side2.w) draw_heads(st, b, x.c.side2);
    if (x.c.foot.h) draw_text(st, b, x.c.foot, row);
}

static void map_context(const struct ui_state *st, char *buf, size_t cap, int w)
{
    char head[48], heat[48], keys[32], rows[32];
    int n = uv_what(st, buf, cap, w);
    if (!st->trace || st->at.a >= st->n_lanes || n < 0 || (size_t)n >= cap) return;
    struct ui_window win = uv_window(st, UI_SCREEN_MAP, st->at.a);
    struct boxes x = layout(st, st->body);
    struct ui_rect px = pixels(st, &x);
    enum ui_req_state rs;
    struct uv_map m = uv_map_get(st, 2, st->at.a, &win, px.w, px.h, &rs); /* as it is drawn: its range */
    ui_head_name(st, head, sizeof head);
    ui_heat_label(&m.heat, heat, sizeof heat);
    n += snprintf(buf + n, cap - (size_t)n, " | %s | %s | %s", head, ui_lane_name(st, st->at.a), heat);
    if (px.w < 1 || px.h < 1 || (size_t)n >= cap) return;
    double k = (double)(win.k1 - win.k0) / px.w, q = (double)(win.q1 - win.q0) / px.h;
    if (w >= 100)
        n += snprintf(buf + n, cap - (size_t)n, w >= 140 ? " | pixel: %s of %s x %s" : " | %s of %s x %s",
                      ui_pool_name[st->at.pool], uv_covers(k, "key", "keys", keys, sizeof keys),
                      uv_covers(q, "query", "queries", rows, sizeof rows));
    else
        n += snprintf(buf + n, cap - (size_t)n, " | %s of %.3gx%.3g", ui_pool_name[st->at.pool], k, q);
    if (st->plain && (size_t)n < cap) { /* what the title of the pane says on screen */
        transformed(st, heat, sizeof heat);
        if (*heat) snprintf(buf + n, cap - (size_t)n, " | %s", heat);
    }
}

/* The read-out in one line. */
static void map_readout(const struct ui_state *st, char *buf, size_t cap)
{
    char q[72], k[72], num[24];
    enum ui_req_state rs;
    enum ui_role role;
    if (!st->trace || st->at.a >= st->n_lanes || uv_n(st, st->at.a) < 1) { buf[0] = 0; return; }
    const struct ui_row *r = uv_row(st, st->at.a, st->at.layer, ui_head_arg(st), st->at.row, &rs);
    uv_quote(st, st->at.a, st->at.row, q, sizeof q);
    uv_quote(st, st->at.a, st->at.key, k, sizeof k);
    bool small = !st->plain && st->body.w < 80;
    int n =
        snprintf(buf, cap, small ? "%d %s x %d %s" : "query %d %s x key %d %s", st->at.row, q, st->at.key, k);
    if (!r || st->at.key >= r->n_keys || n < 0 || (size_t)n >= cap) return;
    int rank = ui_row_rank(r, st->at.key);
    ui_fmt_weight((double)r->w[st->at.key], num, sizeof num);
    const char *word = uv_key_word(r, st->at.key, rank, &role), *brief = strchr(word, '*') ? "* read" : word;
    snprintf(buf + n, cap - (size_t)n, "%s: %s%s rank %d, %s: %s",
             (r->flag[st->at.key] & UI_KEY_GOLD) ? " [gold]" : "",
             st->plain || st->body.w >= 100 ? "dense " : "", num, rank, ui_lane_name(st, st->at.a),
             small ? brief : word);
}

static void map_plain(const struct ui_state *st, char *buf, size_t cap)
{
    char line[400];
    enum ui_req_state rs;
    map_context(st, line, sizeof line, 120);
    int n = snprintf(buf, cap, "%s\n", line);
    map_readout(st, line, sizeof line);
    n += snprintf(buf + n, cap - (size_t)n, "%s\n", line);
    if (!st->trace || st->at.a >= st->n_lanes) return;
    const struct ui_row *r = uv_row(st, st->at.a, st->at.layer, ui_head_arg(st), st->at.row, &rs);
    for (int i = 0; r && i < r->n_top && i < 10 && (size_t)n < cap; i++) {
        enum ui_role role;
        char text[72], num[24], mark = uv_key_mark(r, r->top[i].key, &role);
        uv_quote(st, st->at.a, r->top[i].key, text, sizeof text);
        ui_fmt_weight((double)r->top[i].weight, num, sizeof num);
        n += snprintf(buf + n, cap - (size_t)n, "rank %d key %d weight %s %s %s\n", i + 1, r->top[i].key, num,
                      mark == 'f' ? "forced" : mark == '*' ? "chosen" : "missed", text);
    }
    if ((size_t)n < cap) uv_why_lines(st, r, buf + n, cap - (size_t)n);
}

static void map_settle(struct ui_state *st)
{
    uv_first_look(st);
    if (st->trace && st->at.a < st->n_lanes) uv_settle(st, UI_SCREEN_MAP, st->at.a);
}

static bool map_move(struct ui_state *st, enum ui_move m, int n)
{
    if (!st->trace || st->at.a >= st->n_lanes) return false;
    if (st->at.pane[UI_SCREEN_MAP] == 1 && st->at.topk && !st->at.why) {
        int *cur = &st->at.cur[UI_SCREEN_MAP], to = *cur;
        to += m == UI_UP ? -n : m == UI_DOWN ? n : m == UI_HALF_UP ? -5 : m == UI_HALF_DOWN ? 5 : 0;
        if (m == UI_TOP) to = 0;
        if (m == UI_BOTTOM || to >= UI_ROW_TOP) to = UI_ROW_TOP - 1;
        *cur = to < 0 ? 0 : to;
        return true;
    }
    struct boxes x = layout(st, st->body);
    return uv_map_move(st, UI_SCREEN_MAP, st->at.a, pixels(st, &x), m, n);
}

static bool map_open(struct ui_state *st)
{
    enum ui_req_state rs;
    if (!st->trace || st->at.a >= st->n_lanes) return false;
    if (st->at.pane[UI_SCREEN_MAP] == 1 && st->at.topk && !st->at.why) {
        const struct ui_row *r = uv_row(st, st->at.a, st->at.layer, ui_head_arg(st), st->at.row, &rs);
        if (!r || st->at.cur[UI_SCREEN_MAP] >= r->n_top) return true;
        st->at.key = r->top[st->at.cur[UI_SCREEN_MAP]].key;
        uv_settle(st, UI_SCREEN_MAP, st->at.a);
        return true;
    }
    ui_go(st, UI_SCREEN_TEXT);
    return true;
}

static bool map_cancel(struct ui_state *st)
{
    if (!st->at.selecting) return false;
    st->at.selecting = false;
    return true;
}

static bool map_find(struct ui_state *st, const char *text, int dir)
{
    bool ok = uv_find(st, text, dir, true);
    map_settle(st);
    return ok;
}

static bool map_event(struct ui_state *st, int by)
{
    bool ok = uv_event(st, by, true);
    map_settle(st);
    return ok;
}

static bool map_click(struct ui_state *st, int cx, int cy, enum ui_click what)
{
    if (!st->trace || st->at.a >= st->n_lanes) return false;
    struct boxes x = layout(st, st->body);
    struct ui_window w = uv_window(st, UI_SCREEN_MAP, st->at.a);
    bool inside = cx >= x.map.x && cx < x.map.x + x.map.w && cy >= x.map.y && cy < x.map.y + x.map.h;
    if (!inside || w.q1 <= w.q0) return false;
    if (what == UI_WHEEL_UP || what == UI_WHEEL_DOWN) {
        uv_zoom(st, UI_SCREEN_MAP, st->at.a, what == UI_WHEEL_UP ? 0.5 : 2);
        return true;
    }
    if (what == UI_RELEASE) return false;
    if (what == UI_DRAG && !st->at.selecting) {
        st->at.selecting = true;
        st->at.sel_row = st->at.row;
        st->at.sel_key = st->at.key;
    }
    uv_set_row(st, w.q0 + ui_bin_lo(cy - x.map.y, w.q1 - w.q0, x.map.h));
    st->at.key = w.k0 + ui_bin_lo(cx - x.map.x, w.k1 - w.k0, x.map.w);
    st->at.pane[UI_SCREEN_MAP] = 0;
    map_settle(st);
    return true;
}

/* ---- commands ---- */

static enum ui_screen zoomed(const struct ui_state *st)
{
    return st->at.screen == UI_SCREEN_COMPARE ? UI_SCREEN_COMPARE : UI_SCREEN_MAP;
}

static bool cmd_zoom(struct ui_state *st, const char *arg)
{
    static const char *const way[] = { "in", "out" };
    int i;
    if (!ui_arg_choice(st, arg, way, 2, 1, &i) || !st->trace) return false;
    uv_zoom(st, zoomed(st), st->at.a, i ? 2 : 0.5);
    return true;
}

/* Fit; when it fits already, go between all rows and the answer rows. */
static bool cmd_fit(struct ui_state *st, const char *arg)
{
    (void)arg;
    struct ui_window *w = &st->at.win[zoomed(st)];
    if (w->q1 <= w->q0 && st->trace && st->at.a < st->n_lanes) {
        bool all = uv_window(st, zoomed(st), st->at.a).q0 == 0;
        st->at.rows = all ? UI_ROWS_ANSWERS : UI_ROWS_ALL;
        if (all && st->at.row < st->info.n_prompt - 1) uv_set_row(st, uv_n(st, st->at.a) - 1);
        ui_say(st, UI_SAY_INFO,
               all ? "answer rows only; = shows all rows" : "all rows; = shows the answer rows");
    }
    *w = (struct ui_window){ 0 };
    return true;
}

static bool cmd_select(struct ui_state *st, const char *arg)
{
    (void)arg;
    st->at.selecting = !st->at.selecting;
    st->at.sel_row = st->at.row;
    st->at.sel_key = st->at.key;
    if (st->at.selecting) ui_say(st, UI_SAY_INFO, "move to the other corner, z zooms to the selection");
    return true;
}

static bool cmd_zoom_selection(struct ui_state *st, const char *arg)
{
    (void)arg;
    if (!st->at.selecting) {
        ui_say(st, UI_SAY_BAD, "nothing is selected: v starts a selection at the cursor");
        return false;
    }
    int q0 = st->at.row < st->at.sel_row ? st->at.row : st->at.sel_row;
    int q1 = st->at.row < st->at.sel_row ? st->at.sel_row : st->at.row;
    int k0 = st->at.key < st->at.sel_key ? st->at.key : st->at.sel_key;
    int k1 = st->at.key < st->at.sel_key ? st->at.sel_key : st->at.key;
    if (q1 - q0 < 3) q1 = q0 + 3;
    if (k1 - k0 < 3) k1 = k0 + 3;
    st->at.win[zoomed(st)] = (struct ui_window){ q0, q1 + 1, k0, k1 + 1 };
    st->at.selecting = false;
    uv_settle(st, zoomed(st), st->at.a);
    return true;
}

#define CHOICE(fn, names, count, field, type) \
    static bool fn(struct ui_state *st, const char *arg) \
    { \
        int i; \
        if (!ui_arg_choice(st, arg, names, count, (int)st->at.field, &i)) return false; \
        st->at.field = (type)i; \
        return true; \
    }
static const char *const sinks_arg[] = { "show", "hide", "renormalise" };
static const char *const overlay_arg[] = { "none", "mask", "blocks", "lists", "misses" };
static const char *const range_arg[] = { "fixed", "auto", "full" };
static const char *const off_on[] = { "off", "on" };
static const char *const rows_arg[] = { "auto", "all", "answers" };
static const char *const weights_arg[] = { "dense", "sparse" };
CHOICE(cmd_scale, ui_scale_name, UI_N_SCALES, scale, enum ui_scale)
CHOICE(cmd_pool, ui_pool_name, SAC_N_POOLS, pool, enum sac_pooling)
CHOICE(cmd_sinks, sinks_arg, 3, sinks, enum sac_sinks)
CHOICE(cmd_overlay, overlay_arg, UI_N_OVERLAYS, overlay, enum ui_overlay)
CHOICE(cmd_range, range_arg, UI_N_RANGES, range, enum ui_range)
CHOICE(cmd_topk, off_on, 2, topk, bool)
CHOICE(cmd_weights, weights_arg, 2, sparse, bool)
CHOICE(cmd_why, off_on, 2, why, bool)
CHOICE(cmd_rows, rows_arg, UI_N_ROWS, rows, enum ui_rows)

#define BOTH (UI_CTX(UI_SCREEN_MAP) | UI_CTX(UI_SCREEN_COMPARE))
static const struct ui_cmd cmds[] = {
    { "zoom", "in|out", "zoom at the cursor", UI_GROUP_ZOOM, BOTH, UI_CMD_VIEW, cmd_zoom },
    { "fit", "", "show the whole map; again: answer rows only", UI_GROUP_ZOOM, BOTH, UI_CMD_VIEW, cmd_fit },
    { "rows", "auto|all|answers|next", "rows of the map when it is not zoomed", UI_GROUP_ZOOM, BOTH,
      UI_CMD_VIEW, cmd_rows },
    { "select", "", "start or drop a selection at the cursor", UI_GROUP_ZOOM, BOTH, UI_CMD_VIEW, cmd_select },
    { "zoom-selection", "", "zoom to the selection", UI_GROUP_ZOOM, BOTH, UI_CMD_VIEW, cmd_zoom_selection },
    { "scale", "log|lift|root|linear|rank|next", "how a weight becomes a colour", UI_GROUP_LOOK, BOTH,
      UI_CMD_VIEW, cmd_scale },
    { "pool", "max|mass|mean|next", "how many weights become one pixel", UI_GROUP_LOOK, BOTH, UI_CMD_VIEW,
      cmd_pool },
    { "sinks", "show|hide|renormalise|next", "the first 4 tokens: show, leave out, or rescale the rest",
      UI_GROUP_LOOK, BOTH, UI_CMD_VIEW, cmd_sinks },
    { "overlay", "none|mask|blocks|lists|misses|next", "mark what the method reads on the map", UI_GROUP_LOOK,
      BOTH, UI_CMD_VIEW, cmd_overlay },
    { "range", "fixed|auto|full|next",
      "colour range: fixed, the 99.5th percentile on screen, or five decades with few shades too",
      UI_GROUP_LOOK, BOTH, UI_CMD_VIEW, cmd_range },
    { "weights", "dense|sparse|next", "dense weights, or those over the kept keys only", UI_GROUP_LOOK, BOTH,
      UI_CMD_VIEW, cmd_weights },
    { "topk", "off|on|next", "list the keys a query reads most", UI_GROUP_LOOK, UI_CTX(UI_SCREEN_MAP),
      UI_CMD_VIEW, cmd_topk },
    { "why", "off|on|next", "why the key under the cursor is read or not, and what other budgets read",
      UI_GROUP_LOOK, UI_CTX(UI_SCREEN_MAP), UI_CMD_VIEW, cmd_why },
};
static const struct ui_bind binds[] = {
    { BOTH, "+", "zoom in" },
    { BOTH, "-", "zoom out" },
    { BOTH, "=", "fit" },
    { BOTH, "v", "select" },
    { BOTH, "z", "zoom-selection" },
    { BOTH, "s", "scale next" },
    { BOTH, "a", "pool next" },
    { BOTH, "x", "sinks next" },
    { BOTH, "o", "overlay next" },
    { BOTH, "e", "weights next" },
    { UI_CTX(UI_SCREEN_MAP), "t", "topk next" },
    { UI_CTX(UI_SCREEN_MAP), "i", "why next" },
};
static const struct ui_hint hints[] = {
    { "layer +1", "layer" },   { "head +1", "head" },
    { "zoom in", "zoom" },     { "fit", "fit" },
    { "scale next", "scale" }, { "overlay next", "overlay" },
    { "step +1", "step" },     { "pool next", "pool" },
    { "sinks next", "sinks" }, { "topk next", "top keys" },
    { "why next", "why" },     { "event +1", "next gold/miss" },
    { "open", "text" },
};

const struct ui_view ui_view_map = {
    .name = "map",
    .tab = "Map",
    .tab_short = "Map",
    .draw = map_draw,
    .context = map_context,
    .status = map_readout,
    .settle = map_settle,
    .move = map_move,
    .open = map_open,
    .cancel = map_cancel,
    .find = map_find,
    .event = map_event,
    .click = map_click,
    .copy = map_readout,
    .plain = map_plain,
    .n_panes = 2,
    .cmds = cmds,
    .n_cmds = (int)(sizeof cmds / sizeof *cmds),
    .binds = binds,
    .n_binds = (int)(sizeof binds / sizeof *binds),
    .hints = hints,
    .n_hints = (int)(sizeof hints / sizeof *hints),
};
