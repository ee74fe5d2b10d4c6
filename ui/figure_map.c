/* Heat maps: one or more panes side by side, with axes in tokens, strips, colour bar and legend.
 *
 * The key ruler is above a pane and the query labels left of it, as on the screen; the strips below say for
 * every key what happens to it over the rows shown. A cell is a whole number of device pixels wherever the
 * pane is at least as wide in pixels as in cells. */
#include "figure_canvas.h"
#include "heat.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 22, STRIP_H = 16, STRIP_GAP = 4, TICK_LEN = 4, SIDE_W = 64, GAP = 26, MAX_TICKS = 24 };

struct lay {                    /* one pane, placed */
    double cw, ch, w, h;        /* a cell, the pane */
    double left, top, right;    /* room around it */
    bool y_names, x_names;
    double strip_label;
};

/* The name of value i, at most `most` wide: a name is shortened, its number is not. The name stands apart
 * from the number, so that one that runs from right to left leaves the number where it is. */
static double name_of(struct canvas *c, const struct figure_axis *a, int i, double most, char *buf,
                      size_t cap)
{
    static const char *const apart[2] = { "\u2068", "\u2069" };
    char name[128], number[16] = "";
    snprintf(name, sizeof name, "%s", a->label[i]);
    if (a->numbered) snprintf(number, sizeof number, " %d", a->lo + i);
    double room = most - canvas_text_width(c, FG_TICK - 1, 0, number);
    double w = canvas_text_width(c, FG_TICK - 1, 0, name);
    for (size_t n = strlen(name); n && w > room; w = canvas_text_width(c, FG_TICK - 1, 0, name)) {
        n--;
        while (n && ((unsigned char)name[n] & 0xc0) == 0x80) n--;
        snprintf(name + n, sizeof name - n, "\u2026");
    }
    snprintf(buf, cap, "%s%s%s%s", a->numbered ? apart[0] : "", name, a->numbered ? apart[1] : "", number);
    return canvas_text_width(c, FG_TICK - 1, 0, buf);
}

enum { MOST_Y = 120, MOST_X = 90 }; /* units of a name left of a pane and above it */

static double names_width(struct canvas *c, const struct figure_axis *a, double most)
{
    char s[160];
    double w = 0;
    for (int i = 0; i < a->hi - a->lo; i++) w = fmax(w, name_of(c, a, i, most, s, sizeof s));
    return w;
}

/* Room for one name per value? */
static bool names_fit(const struct figure_axis *a, double extent)
{
    return a->label && a->hi > a->lo && extent / (a->hi - a->lo) >= 9;
}

static void axis_label(const struct figure_axis *a, const struct ui_tick *t, char *buf, size_t cap)
{
    if (a->plain) snprintf(buf, cap, "%d", t->at);
    else snprintf(buf, cap, "%s", t->label);
}

static double ticks_width(struct canvas *c, const struct figure_axis *a)
{
    struct ui_tick t[MAX_TICKS];
    int n = ui_ticks(a->lo, a->hi, 10, t);
    double w = 0;
    for (int i = 0; i < n; i++) {
        char s[16];
        axis_label(a, &t[i], s, sizeof s);
        w = fmax(w, canvas_text_width(c, FG_TICK, 0, s));
    }
    return w;
}

static void lay_pane(struct canvas *c, const struct figure_map *m, const struct figure_pane *p, double want,
                     struct lay *l)
{
    double px = canvas_px(c);
    memset(l, 0, sizeof *l);
    double unit = canvas_vector(c) ? 0.5 : px, cell_px = floor(want / px / p->w + 1e-9);
    l->cw = cell_px >= 1 ? cell_px * px : want / p->w;
    l->ch = l->cw;
    if (p->free_aspect) {
        double rows = fmin(fmax(640.0 / p->h, 4), 22);
        if (p->y.label && rows < 9.5 && rows > 6) rows = 9.5;         /* room for the names of 100 rows */
        l->ch = fmax(ceil(rows / unit - 1e-9), 1) * unit;
    }
    l->w = l->cw * p->w;
    l->h = l->ch * p->h;
    l->y_names = names_fit(&p->y, l->h);
    l->x_names = names_fit(&p->x, l->w);
    l->left = (p->y.title ? 17 : 0) + TICK_LEN + 4 +
              (l->y_names ? names_width(c, &p->y, MOST_Y) : ticks_width(c, &p->y));
    for (int i = 0; i < p->n_strips; i++)
        l->strip_label = fmax(l->strip_label, canvas_text_width(c, FG_TICK, 0, p->strip[i].label) + 8);
    l->left = fmax(l->left, l->strip_label);
    l->top = (p->title ? 20 : 0) + (p->x.title ? 16 : 0) + TICK_LEN + 4 +
             (l->x_names ? names_width(c, &p->x, MOST_X) + 2 : 12);
    l->right = p->side ? SIDE_W + 8 : 0;
    (void)m;
}

static void draw_y_axis(struct canvas *c, const struct figure_pane *p, const struct lay *l, double x,
                        double y)
{
    const struct figure_theme *th = canvas_theme(c);
    const struct figure_axis *a = &p->y;
    double per = l->h / fmax(1, a->hi - a->lo), widest = 0;
    if (l->y_names) {
        for (int i = 0; i < a->hi - a->lo; i++) {
            char s[160];
            name_of(c, a, i, MOST_Y, s, sizeof s);
            widest = fmax(widest,
                          canvas_text(c, x - 5, y + (i + .5) * per + 3.2, FG_TICK - 1, CT_RIGHT, th->fg, s));
        }
    } else {
        struct ui_tick t[MAX_TICKS];
        int n = ui_ticks(a->lo, a->hi, (int)fmin(10, l->h / 26 + 1), t);
        for (int i = 0; i < n; i++) {
            char s[16];
            double ty = y + (t[i].at - a->lo + (per > 6 ? .5 : 0)) * per;
            axis_label(a, &t[i], s, sizeof s);
            canvas_line(c, x - TICK_LEN, ty, x, ty, 1, th->muted);
            widest = fmax(widest, canvas_text(c, x - TICK_LEN - 3, ty + 3.5, FG_TICK, CT_RIGHT, th->fg, s));
        }
    }
    const char *title = !l->y_names && a->number_title ? a->number_title : a->title;
    if (title)
        canvas_text_rot(c, x - TICK_LEN - widest - 11, y + l->h / 2, FG_LABEL, CT_CENTER, th->muted, 90,
                        title);
}

static void draw_x_axis(struct canvas *c, const struct figure_pane *p, const struct lay *l, double x,
                        double y)
{
    const struct figure_theme *th = canvas_theme(c);
    const struct figure_axis *a = &p->x;
    double per = l->w / fmax(1, a->hi - a->lo), up = 12;
    if (l->x_names) {
        up = names_width(c, a, MOST_X) + 2;
        for (int i = 0; i < a->hi - a->lo; i++) {
            char s[160];
            name_of(c, a, i, MOST_X, s, sizeof s);
            canvas_text_rot(c, x + (i + .5) * per + 3.2, y - 5, FG_TICK - 1, CT_LEFT, th->fg, 90, s);
        }
    } else {
        struct ui_tick t[MAX_TICKS];
        int n = ui_ticks(a->lo, a->hi, (int)fmin(10, l->w / 40 + 1), t);
        for (int i = 0; i < n; i++) {
            char s[16];
            double tx = x + (t[i].at - a->lo + (per > 6 ? .5 : 0)) * per;
            axis_label(a, &t[i], s, sizeof s);
            canvas_line(c, tx, y - TICK_LEN, tx, y, 1, th->muted);
            canvas_text(c, tx, y - TICK_LEN - 3, FG_TICK, CT_CENTER, th->fg, s);
        }
    }
    if (a->title)
        canvas_text(c, x + l->w / 2, y - TICK_LEN - up - 5, FG_LABEL, CT_CENTER, th->muted, a->title);
}

/* Bars of one height from i on, so that they are drawn as one. */
static int strip_run(const struct figure_strip *s, int i, int w)
{
    int n = 1;
    while (i + n < w && s->height[i + n] == s->height[i] && (!s->lower || s->lower[i + n] == s->lower[i]))
        n++;
    return n;
}

static void draw_strip(struct canvas *c, const struct figure_strip *s, const struct figure_pane *p,
                       const struct lay *l, double x, double y)
{
    const struct figure_theme *th = canvas_theme(c);
    canvas_fill(c, x, y, l->w, STRIP_H, th->pane);
    if (s->cell) canvas_cells(c, x, y, l->cw, STRIP_H, p->w, 1, s->cell);
    for (int i = 0; s->height && i < p->w; i += strip_run(s, i, p->w)) {
        double h = isnan(s->height[i]) ? 0 : STRIP_H * fmin(fmax((double)s->height[i], 0), 1);
        double low = s->lower && !isnan(s->lower[i]) ? STRIP_H * fmin(fmax((double)s->lower[i], 0), 1) : 0;
        if (h > 0 && h < canvas_px(c)) h = canvas_px(c);
        double w = l->cw * strip_run(s, i, p->w);
        if (h > 0) canvas_fill(c, x + i * l->cw, y + STRIP_H - h, w, h, s->rgb);
        if (low > 0) canvas_fill(c, x + i * l->cw, y + STRIP_H - low, w, low, s->rgb2);
    }
    canvas_text(c, x - 6, y + STRIP_H - 4.5, FG_TICK, CT_RIGHT, th->muted, s->label);
}

static void draw_side(struct canvas *c, const struct figure_pane *p, const struct lay *l, double x, double y)
{
    const struct figure_theme *th = canvas_theme(c);
    canvas_text(c, x, y - (p->x.title ? 21 : 6), FG_TICK, 0, th->muted, p->side_title);
    for (int i = 0; i < p->h; i++) {
        if (isnan(p->side[i])) continue;
        double v = fmin(fmax((double)p->side[i], 0), 1), bar = SIDE_W - 30;
        char s[16];
        canvas_fill(c, x, y + i * l->ch + 1, bar, l->ch - 2, th->pane);
        canvas_fill(c, x, y + i * l->ch + 1, bar * v, l->ch - 2, th->accent);
        snprintf(s, sizeof s, "%.2f", v);
        if (l->ch >= 9) canvas_text(c, x + bar + 4, y + (i + .5) * l->ch + 3.2, FG_TICK - 1, 0, th->fg, s);
    }
}

static void draw_pane(struct canvas *c, const struct figure_pane *p, const struct lay *l, double x, double y)
{
    const struct figure_theme *th = canvas_theme(c);
    x = canvas_snap(c, x);
    y = canvas_snap(c, y);
    if (p->title) canvas_text(c, x, y - l->top + 13, FG_LABEL + 1, CT_BOLD, th->fg, p->title);
    canvas_fill(c, x, y, l->w, l->h, th->pane);
    canvas_cells(c, x, y, l->cw, l->ch, p->w, p->h, p->cell);
    canvas_clip(c, x - 1, y - 1, l->w + 2, l->h + 2);
    for (int i = 0; i < p->n_rects; i++) {
        const struct figure_rect *r = &p->rect[i];
        double rx = x + r->x0 * l->cw, ry = y + r->y0 * l->ch, rw = (r->x1 - r->x0) * l->cw;
        double rh = (r->y1 - r->y0) * l->ch;
        double line = fmax(canvas_px(c), 0.8);
        if (rw <= 0 || rh <= 0)
            canvas_fill(c, rx - line / 2, ry - line / 2, rw + line, rh + line, r->rgb);
        else if (r->fill) canvas_shade(c, rx, ry, rw, rh, r->rgb, 0.25);
        else canvas_frame(c, rx, ry, rw, rh, line, r->rgb);
    }
    canvas_unclip(c);
    canvas_frame(c, x, y, l->w, l->h, canvas_px(c), th->rule);
    draw_y_axis(c, p, l, x, y);
    draw_x_axis(c, p, l, x, y);
    for (int i = 0; i < p->n_strips; i++)
        draw_strip(c, &p->strip[i], p, l, x, y + l->h + STRIP_GAP + i * (STRIP_H + STRIP_GAP));
    if (p->side) draw_side(c, p, l, x + l->w + 8, y);
}

enum sac_code figure_draw_map(const struct figure_map *m, const struct figure_style *s, enum figure_format f,
                              const struct figure_meta *meta, struct figure_bytes *out, struct sac_err *err)
{
    enum { MOST = 6 };
    struct lay l[MOST];
    int n = m->n_panes < MOST ? m->n_panes : MOST;
    struct canvas *c = canvas_new(f, s);
    *out = (struct figure_bytes){ NULL, 0 };
    if (!c) return sac_fail(err, SAC_ENOMEM, "out of memory while drawing a figure");
    double want = m->pane_size > 0                   ? m->pane_size
                  : n > 1                            ? 400
                  : n == 1 && m->pane[0].free_aspect ? 640
                                                     : 512,
           top = 0, h = 0, strips = 0, width = 0;
    double bar1 = figure_scale_width(c, &m->scale), bar = bar1 + figure_scale_width(c, &m->scale2);
    if (s && s->width > 0) {     /* the pane takes what the furniture leaves */
        double rest = s->width - 2 * MARGIN - bar - (n - 1) * GAP;
        for (int i = 0; i < n; i++) {
            lay_pane(c, m, &m->pane[i], want, &l[i]);
            rest -= l[i].left + l[i].right;
        }
        want = fmax(rest / fmax(n, 1), 40);
    }
    for (int i = 0; i < n; i++) {
        lay_pane(c, m, &m->pane[i], want, &l[i]);
        top = fmax(top, l[i].top);
        h = fmax(h, l[i].h);
        strips = fmax(strips, m->pane[i].n_strips * (STRIP_H + STRIP_GAP));
        width += l[i].left + l[i].w + l[i].right + (i ? GAP : 0);
    }
    double text_w = fmax(width + bar, s && s->width > 0 ? s->width - 2 * MARGIN : 560);
    double page_w = text_w + 2 * MARGIN;
    double head = figure_head_height(c, &m->text, text_w),
           keys = figure_keys_height(c, m->key, m->n_keys, text_w);
    double foot = figure_foot_height(c, &m->text, text_w);
    canvas_page(c, page_w, MARGIN + head + top + h + strips + keys + foot + MARGIN);
    figure_head_draw(c, &m->text, MARGIN, MARGIN - 4, text_w);
    double x = MARGIN, y = MARGIN + head + top;
    for (int i = 0; i < n; i++) {
        x += l[i].left;
        draw_pane(c, &m->pane[i], &l[i], x, y);
        x += l[i].w + l[i].right + GAP;
    }
    double bar_h = fmin(h, fmax(n > 0 ? l[0].h : 0, 120));
    figure_scale_draw(c, &m->scale, x - GAP, canvas_snap(c, y), bar_h);
    figure_scale_draw(c, &m->scale2, x - GAP + bar1, canvas_snap(c, y), bar_h);
    figure_keys_draw(c, m->key, m->n_keys, MARGIN, y + h + strips, text_w);
    figure_foot_draw(c, &m->text, MARGIN, y + h + strips + keys, text_w);
    enum sac_code rc = canvas_finish(c, meta, out, err);
    canvas_free(c);
    return rc;
}
