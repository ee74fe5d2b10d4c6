/* Pictures of numbers on cells; see heat_draw.h. */
#include "heat_draw.h"

#include "lines.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ui_pic_rows(const struct ui_look *l)
{
    return l->tier >= UI_TIER_256 && !l->ascii ? 2 : 1;
}

void ui_pic_scale(const struct ui_heat *heat, const float *v, int h, int w, int q0, int q1, float *out)
{
    if (heat->scale == UI_SCALE_RANK) {
        ui_heat_ranks(v, h, w, out);
        return;
    }
    for (int y = 0; y < h; y++) {
        int q = q0 + (ui_bin_lo(y, q1 - q0, h) + ui_bin_hi(y, q1 - q0, h)) / 2;
        for (int x = 0; x < w; x++) {
            size_t i = (size_t)y * (size_t)w + (size_t)x;
            out[i] = (float)ui_heat_t(heat, (double)v[i], q + 1);
        }
    }
}

/* ---- pixels ---- */

struct paint {
    const struct ui_look *l;
    const struct ui_pic *p;
    uint32_t ground, loss, edge, mark;
};

static uint32_t value_colour(const struct ui_look *l, double t, bool lift)
{
    bool light = l->theme == UI_THEME_LIGHT;
    if (lift) return ui_div_t(l->tier, 2 * t - 1, light);
    if (light && ui_look_map(l) == UI_MAP_GREY) t = 1 - t;      /* nothing looks like the paper */
    return ui_map_t(ui_look_map(l), l->tier, t);
}

static size_t px(const struct ui_pic *p, int x, int y)
{
    return (size_t)y * (size_t)p->w + (size_t)x;
}

static bool is_kept(const struct ui_pic *p, int x, int y)
{
    return !p->kept || p->kept[px(p, x, y)] > 0;
}

/* A pixel where something kept begins or ends. */
static bool is_edge(const struct ui_pic *p, int x, int y)
{
    if (!p->kept || !is_kept(p, x, y)) return false;
    return (x > 0 && !is_kept(p, x - 1, y)) || (x + 1 < p->w && !is_kept(p, x + 1, y))
           || (y > 0 && !is_kept(p, x, y - 1)) || (y + 1 < p->h && !is_kept(p, x, y + 1));
}

static bool is_missed(const struct ui_pic *p, int x, int y)
{
    return p->overlay == UI_OVER_MISSES && p->missed && p->missed[px(p, x, y)] > 0.01f;
}

/* On the border of the selected rectangle. */
static bool is_selected(const struct ui_pic *p, int x, int y)
{
    if (p->sx < 0 || p->cx < 0) return false;
    int x0 = p->sx < p->cx ? p->sx : p->cx, x1 = p->sx < p->cx ? p->cx : p->sx;
    int y0 = p->sy < p->cy ? p->sy : p->cy, y1 = p->sy < p->cy ? p->cy : p->sy;
    if (x < x0 || x > x1 || y < y0 || y > y1) return false;
    return x == x0 || x == x1 || y == y0 || y == y1;
}

static uint32_t pixel(const struct paint *a, int x, int y)
{
    const struct ui_pic *p = a->p;
    enum ui_tier tier = a->l->tier;
    double t = (double)p->t[px(p, x, y)];
    uint32_t c = CELL_DEFAULT;
    if (!isnan(t)) {
        c = p->diff ? ui_div_t(tier, t, a->l->theme == UI_THEME_LIGHT) : value_colour(a->l, t, p->lift);
        if (p->overlay == UI_OVER_MASK && !is_kept(p, x, y)) c = ui_colour_mix(tier, c, a->ground, 0.65);
        if (p->overlay == UI_OVER_BLOCKS && p->block_px >= 3 && is_edge(p, x, y)) c = a->edge;
        if (is_missed(p, x, y)) c = a->loss;
    }
    if (is_selected(p, x, y)) return a->mark;
    if (x == p->cx && y == p->cy) return c == CELL_DEFAULT ? a->mark : ui_contrast(tier, c);
    if (p->cross && c != CELL_DEFAULT && (x == p->cx || y == p->cy))
        c = ui_colour_mix(tier, c, ui_colour_rgb(ui_contrast(tier, c)), 0.22);
    return c;
}

static void draw_shades(const struct ui_look *l, struct cell_buf *b, int x0, int y0, const struct ui_pic *p)
{
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            double t = (double)p->t[px(p, x, y)];
            struct ui_style s = ui_style(l, UI_TEXT);
            char32_t ch = U' ';
            if (p->diff && !isnan(t)) {
                ch = t > 0.05 ? U'+' : t < -0.05 ? U'-' : U' ';
                s = ui_style(l, fabs(t) > 0.5 ? UI_STRONG : UI_TEXT);
            } else if (!isnan(t)) {
                /* Blank is what has no value: not read, or not visible. */
                ch = ui_shade_glyph(t, l->ascii);
                if (ch == U' ') ch = l->ascii ? U'.' : 0xB7, s = ui_style(l, UI_DIM);
                if (p->overlay == UI_OVER_MASK && !is_kept(p, x, y)) ch = U' ';
                if (p->overlay == UI_OVER_BLOCKS && p->block_px >= 3 && is_edge(p, x, y))
                    s.attr |= CELL_UNDERLINE;
                if (is_missed(p, x, y)) { ch = U'-'; s = ui_style(l, UI_MISSED); }
            }
            if (is_selected(p, x, y)) {
                int left = p->sx < p->cx ? p->sx : p->cx, right = p->sx < p->cx ? p->cx : p->sx;
                if (p->frame) ch = x == left ? U'[' : x == right ? U']' : ch;
                else if (ch == U' ') ch = U'+';
                s = ui_style(l, UI_MATCH);
            }
            if (x == p->cx && y == p->cy && !p->frame) { ch = U'X'; s = ui_style(l, UI_CURSOR); }
            cells_put(b, x0 + x, y0 + y, ch, s);
        }
}

void ui_pic_draw(const struct ui_look *l, struct cell_buf *b, int x0, int y0, const struct ui_pic *p)
{
    if (ui_pic_rows(l) == 1) { draw_shades(l, b, x0, y0, p); return; }
    bool light = l->theme == UI_THEME_LIGHT;
    struct paint a = { l, p, light ? 0xffffffu : 0x101010u, ui_cat(UI_CAT_VERMILLION, l->tier),
                       ui_cat(UI_CAT_SKY, l->tier), ui_colour(l->tier, light ? 0x202020u : 0xf0f0f0u) };
    for (int y = 0; y + 1 < p->h; y += 2)
        for (int x = 0; x < p->w; x++)
            cells_half(b, x0 + x, y0 + y / 2, pixel(&a, x, y), pixel(&a, x, y + 1));
}

/* ---- rulers ---- */

void ui_ruler(const struct ui_look *l, struct cell_buf *b, int x, int y, int w, int lo, int hi, int mark)
{
    struct ui_tick tick[40];
    struct ui_style s = ui_style(l, UI_DIM);
    int max = w / 8 + 1, n = ui_ticks(lo, hi, max > 40 ? 40 : max, tick), free_at = 0;
    int m = mark >= lo && mark < hi ? ui_bin_of(mark - lo, hi - lo, w) : -9;
    for (int i = 0; i < n; i++) {
        int at = ui_bin_of(tick[i].at - lo, hi - lo, w), len = (int)strlen(tick[i].label);
        if (at < free_at || at + len > w || (m >= at - 1 && m <= at + len)) continue;
        cells_text(b, x + at, y, w - at, tick[i].label, s);
        free_at = at + len + 1;
    }
    if (m >= 0) cells_put(b, x + m, y, l->ascii ? U'v' : 0x25BC, ui_style(l, UI_QUERY));
}

void ui_ruler_down(const struct ui_look *l, struct cell_buf *b, int x, int y, int cols, int lines, int lo,
                   int hi, int mark)
{
    struct ui_tick tick[40];
    int max = lines / 3 + 1, n = ui_ticks(lo, hi, max > 40 ? 40 : max, tick), free_at = 0;
    /* The line that holds the pixel: rounding to lines at once may differ by one. */
    int per = ui_pic_rows(l),
        m = mark >= lo && mark < hi ? ui_bin_of(mark - lo, hi - lo, lines * per) / per : -1;
    for (int i = 0; i < n; i++) {
        int at = ui_bin_of(tick[i].at - lo, hi - lo, lines * per) / per;
        if (at < free_at || at == m) continue;
        cells_right(b, x + cols - 1, y + at, cols - 1, tick[i].label, ui_style(l, UI_DIM));
        free_at = at + 1;
    }
    if (m < 0) return;
    char label[16];
    snprintf(label, sizeof label, "%d", mark); /* as it is, where the digits have room */
    if ((int)strlen(label) > cols - 1) ui_pos_label(mark, label, sizeof label);
    cells_right(b, x + cols - 1, y + m, cols - 1, label, ui_style(l, UI_QUERY));
    cells_put(b, x + cols - 1, y + m, l->ascii ? U'>' : 0x25B6, ui_style(l, UI_QUERY));
}

/* ---- strips ---- */

void ui_strip(const struct ui_look *l, struct cell_buf *b, int x, int y, int w, const float *t, bool lift)
{
    for (int i = 0; i < w; i++) {
        if (isnan(t[i])) continue;
        if (ui_pic_rows(l) == 2) {
            struct ui_style s = { CELL_DEFAULT, value_colour(l, (double)t[i], lift), 0 };
            cells_put(b, x + i, y, U' ', s);
        } else {
            cells_put(b, x + i, y, ui_shade_glyph((double)t[i], l->ascii), ui_style(l, UI_TEXT));
        }
    }
}

void ui_spark_line(const struct ui_look *l, struct cell_buf *b, int x, int y, int w, const float *v, int n,
                   enum ui_role role)
{
    char32_t g[512];
    if (w > 512) w = 512;
    ui_spark(v, n, w, l->ascii, g);
    for (int i = 0; i < w; i++) cells_put(b, x + i, y, g[i], ui_style(l, role));
}

void ui_gold_line(const struct ui_look *l, struct cell_buf *b, int x, int y, int w, int lo, int hi,
                  const struct sac_trace_info *info)
{
    struct ui_style s = ui_style(l, UI_GOLD);
    for (int i = 0; i < info->n_spans; i++) {
        int a = info->span[i].lo, z = info->span[i].hi;
        if (z <= lo || a >= hi || z <= a) continue;
        int x0 = ui_bin_of((a > lo ? a : lo) - lo, hi - lo, w),
            x1 = ui_bin_of((z < hi ? z : hi) - 1 - lo, hi - lo, w);
        for (int c = x0; c <= x1; c++) cells_put(b, x + c, y, U'^', s);
        if (x1 + 1 < w && x1 - x0 < 6 && info->span_item)
            cells_put(b, x + x1 + 1, y, U'1' + (char32_t)(info->span_item[i] % 9), ui_style(l, UI_DIM));
    }
}

int ui_scale_legend(const struct ui_look *l, struct cell_buf *b, int x, int y, int h,
                    const struct ui_heat *heat)
{
    static const char *const lift[] = {
        "4096x", "512x", "64x", "8x", "1x", "1/8", "1/64", "1/512", "1/4096"
    };
    char label[24];
    int full = heat->scale == UI_SCALE_LOG
                   ? ui_pic_rows(l) < 2 && !l->ascii ? 5 : (int)(heat->hi - heat->lo) + 1
               : heat->scale == UI_SCALE_LIFT ? 9
                                              : 7,
        n = h < full ? h : full;
    for (int i = 0; i < n; i++) {
        double t = n > 1 ? 1 - (double)i / (n - 1) : 1;
        if (heat->scale == UI_SCALE_LIFT) t = 1 - i / 8.0;
        if (heat->scale == UI_SCALE_LOG) {
            double e = heat->lo + (heat->hi - heat->lo) * t;
            if (e > -3.05)
                snprintf(label, sizeof label, "%.2g", pow(10, e));
            else
                snprintf(label, sizeof label, "1e%.0f", e);
        } else if (heat->scale == UI_SCALE_LIFT) {
            snprintf(label, sizeof label, "%s", lift[i]);
        } else {
            double v = heat->scale == UI_SCALE_ROOT ? t * t * heat->hi : t * heat->hi;
            snprintf(label, sizeof label, "%.3g", v);
        }
        float ft[2] = { (float)t, (float)t };
        ui_strip(l, b, x, y + i, 2, ft, heat->scale == UI_SCALE_LIFT);
        if (t <= 0 && ui_pic_rows(l) < 2)
            cells_text(b, x, y + i, 2, l->ascii ? ".." : "\u00B7\u00B7", ui_style(l, UI_DIM));
        cells_text(b, x + 3, y + i, 8, label, ui_style(l, UI_DIM));
    }
    return n;
}

void ui_plot_draw(const struct ui_look *l, struct cell_buf *b, struct ui_rect r, const float *v, int n,
                  double lo, double hi, enum ui_role role)
{
    char label[16];
    int w = r.w - 5;
    if (w < 4 || r.h < 1) return;
    size_t cells = (size_t)w * (size_t)r.h;
    char32_t *g = malloc(cells * sizeof *g);
    if (!g) return;
    ui_plot(v, n, lo, hi, w, r.h, l->ascii, g);
    for (size_t i = 0; i < cells; i++) /* what is empty stays as it is: lines may lie over each other */
        if (g[i] != 0x2800 && g[i] != U' ')
            cells_put(b, r.x + 5 + (int)(i % (size_t)w), r.y + (int)(i / (size_t)w), g[i], ui_style(l, role));
    free(g);
    snprintf(label, sizeof label, "%.3g", hi);
    cells_right(b, r.x + 4, r.y, 4, label, ui_style(l, UI_DIM));
    if (r.h < 2) return;
    snprintf(label, sizeof label, "%.3g", lo);
    cells_right(b, r.x + 4, r.y + r.h - 1, 4, label, ui_style(l, UI_DIM));
}
