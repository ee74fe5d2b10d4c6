/* Line plots, scatter plots and bar charts with error bars, on linear or logarithmic axes.
 *
 * Series differ by colour, by the shape of their marks and by dashes. Ticks are 1, 2 or 5 times a power of
 * ten; on a logarithmic axis decades, with 2 and 5 between them where fewer than three decades show. */
#include "figure_canvas.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MARGIN = 22, PLOT_H = 320, PLOT_W = 560, MAX_TICKS = 40, WIDE = 9 };

struct range { double lo, hi; bool log; };
struct box { double x, y, w, h; struct range rx, ry; };

static double frac(const struct range *r, double v)
{
    if (r->log) return v > 0 ? (log10(v) - log10(r->lo)) / (log10(r->hi) - log10(r->lo)) : (double)NAN;
    return (v - r->lo) / (r->hi - r->lo);
}
static double at_x(const struct box *b, double v) { return b->x + b->w * frac(&b->rx, v); }
static double at_y(const struct box *b, double v) { return b->y + b->h * (1 - frac(&b->ry, v)); }
static double x_of(const struct figure_series *s, int i) { return s->x ? s->x[i] : i; }

static void widen(struct range *r, double v)
{
    if (isnan(v) || isinf(v) || (r->log && v <= 0)) return;
    if (v < r->lo) r->lo = v;
    if (v > r->hi) r->hi = v;
}

static double step_of(double span, int most)
{
    double p = pow(10, floor(log10(span / most)));
    static const double m[] = { 1, 2, 5, 10 };
    for (int i = 0; i < 4; i++)
        if (span / (p * m[i]) <= most) return p * m[i];
    return p * 10;
}

/* Settle a range from data: some air, zero included where it is near. */
static void settle(struct range *r, bool zero)
{
    if (r->lo > r->hi) *r = (struct range){ r->log ? 1 : 0, r->log ? 10 : 1, r->log };
    if (r->log) {
        if (r->hi / r->lo < 1.5) r->lo /= 2, r->hi *= 2;
        else {
            double pad = pow(r->hi / r->lo, 0.04);
            r->lo /= pad;
            r->hi *= pad;
        }
        return;
    }
    if (zero && r->lo > 0 && r->lo < r->hi * 0.6) r->lo = 0;
    double span = r->hi - r->lo;
    if (!(span > 0)) span = fabs(r->hi) > 0 ? fabs(r->hi) : 1;
    if (r->lo < 0 || r->lo > 0) r->lo -= span * 0.05;
    r->hi += span * 0.05;
}

static int ticks_of(const struct range *r, int most, double *out)
{
    int n = 0;
    if (r->log) {
        double decades = log10(r->hi / r->lo);
        static const double m[] = { 1, 2, 5 };
        int per = decades < 3 ? 3 : 1, skip = decades > most ? (int)ceil(decades / most) : 1;
        for (int e = (int)floor(log10(r->lo)); n < MAX_TICKS && pow(10, e) <= r->hi; e++)
            for (int i = 0; i < per && n < MAX_TICKS; i++) {
                double v = m[i] * pow(10, e);
                if (v >= r->lo * .9999 && v <= r->hi * 1.0001 && e % skip == 0) out[n++] = v;
            }
        return n;
    }
    double step = step_of(r->hi - r->lo, most);
    for (double k = ceil(r->lo / step - 1e-9); n < MAX_TICKS && k * step <= r->hi + step * 1e-9; k++) {
        out[n] = k * step;
        if (fabs(out[n]) < step * 1e-9) out[n] = 0;
        n++;
    }
    return n;
}

static void number(double v, char *buf, size_t cap)
{
    double a = fabs(v);
    if (a >= 1e6 || (a > 0 && a < 1e-3)) snprintf(buf, cap, "%.0e", v);
    else if (a >= 10000 && fmod(a, 100) < 1e-9)
        snprintf(buf, cap, "%gk", v / 1000);
    else snprintf(buf, cap, "%g", v);
}

static void find_ranges(const struct figure_plot *p, struct box *b)
{
    b->rx = (struct range){ DBL_MAX, -DBL_MAX, p->x_log };
    b->ry = (struct range){ DBL_MAX, -DBL_MAX, p->y_log };
    bool bars = false;
    for (int k = 0; k < p->n_series; k++) {
        const struct figure_series *s = &p->series[k];
        bars = bars || s->kind == FIGURE_PLOT_BARS;
        for (int i = 0; i < s->n; i++) {
            if (isnan(s->y[i])) continue;
            widen(&b->rx, x_of(s, i));
            widen(&b->ry, s->y[i]);
            if (s->err_lo) widen(&b->ry, s->err_lo[i]);
            if (s->err_hi) widen(&b->ry, s->err_hi[i]);
        }
    }
    for (int i = 0; i < p->n_hlines; i++) widen(&b->ry, p->hline[i]);
    if (bars && !p->y_log) widen(&b->ry, 0);
    settle(&b->ry, !p->y_log);
    if (p->x_tick) b->rx = (struct range){ -0.5, p->n_ticks - 0.5, false };
    else settle(&b->rx, false);
    if (p->x_lo < p->x_hi) b->rx.lo = p->x_lo, b->rx.hi = p->x_hi;
    if (p->y_lo < p->y_hi) b->ry.lo = p->y_lo, b->ry.hi = p->y_hi;
}

static uint32_t rgb_of(const struct figure_plot *p, int k)
{
    return p->series[k].rgb ? p->series[k].rgb : figure_colour(k);
}

static void draw_axes(struct canvas *c, const struct figure_plot *p, const struct box *b)
{
    const struct figure_theme *th = canvas_theme(c);
    double t[MAX_TICKS], widest = 0;
    int n = ticks_of(&b->ry, 8, t);
    for (int i = 0; i < n; i++) {
        char s[24];
        number(t[i], s, sizeof s);
        double y = canvas_snap(c, at_y(b, t[i]));
        canvas_line(c, b->x, y, b->x + b->w, y, 0.75, th->grid);
        widest = fmax(widest, canvas_text(c, b->x - 7, y + 3.5, FG_TICK, CT_RIGHT, th->fg, s));
    }
    if (p->x_tick) {
        double slot = b->w / fmax(1, p->n_ticks), need = 0;
        for (int i = 0; i < p->n_ticks; i++)
            need = fmax(need, canvas_text_width(c, FG_TICK, 0, p->x_tick[i]));
        for (int i = 0; i < p->n_ticks; i++) {
            double x = at_x(b, i);
            if (need > slot - 4)
                canvas_text_rot(c, x + 3, b->y + b->h + 10, FG_TICK, CT_RIGHT, th->fg, 35, p->x_tick[i]);
            else canvas_text(c, x, b->y + b->h + 15, FG_TICK, CT_CENTER, th->fg, p->x_tick[i]);
        }
    } else {
        n = p->n_at && p->n_at <= MAX_TICKS ? p->n_at : ticks_of(&b->rx, 9, t);
        if (n == p->n_at) memcpy(t, p->x_at, (size_t)n * sizeof *t);
        for (int i = 0; i < n; i++) {
            char s[24];
            number(t[i], s, sizeof s);
            double x = canvas_snap(c, at_x(b, t[i]));
            canvas_line(c, x, b->y, x, b->y + b->h, 0.75, th->grid);
            canvas_text(c, x, b->y + b->h + 15, FG_TICK, CT_CENTER, th->fg, s);
        }
    }
    canvas_line(c, b->x, b->y + b->h, b->x + b->w, b->y + b->h, 1.2, th->muted);
    canvas_line(c, b->x, b->y, b->x, b->y + b->h, 1.2, th->muted);
    if (p->y_title)
        canvas_text_rot(c, b->x - 14 - widest, b->y + b->h / 2, FG_LABEL, CT_CENTER, th->muted, 90,
                        p->y_title);
}

static uint32_t halfway(uint32_t a, uint32_t b) { return ((a >> 1) & 0x7f7f7f) + ((b >> 1) & 0x7f7f7f); }

static void draw_error(struct canvas *c, const struct figure_series *s, const struct box *b, int i, double x,
                       uint32_t rgb)
{
    if (!s->err_lo || !s->err_hi || isnan(s->err_lo[i]) || isnan(s->err_hi[i])) return;
    double y0 = at_y(b, s->err_lo[i]), y1 = at_y(b, s->err_hi[i]);
    canvas_line(c, x, y0, x, y1, 1.1, rgb);
    canvas_line(c, x - 3, y0, x + 3, y0, 1.1, rgb);
    canvas_line(c, x - 3, y1, x + 3, y1, 1.1, rgb);
}

static void draw_bars(struct canvas *c, const struct figure_plot *p, int k, int at, int n_bars,
                      const struct box *b)
{
    const struct figure_series *s = &p->series[k];
    const struct figure_theme *th = canvas_theme(c);
    double slot = fabs(at_x(b, 1) - at_x(b, 0)) * 0.8, w = slot / n_bars;
    double base = at_y(b, b->ry.log ? b->ry.lo : fmin(fmax(0, b->ry.lo), b->ry.hi));
    for (int i = 0; i < s->n; i++) {
        if (isnan(s->y[i])) continue;
        double x = at_x(b, x_of(s, i)) - slot / 2 + at * w, y = at_y(b, s->y[i]);
        canvas_fill(c, x, fmin(y, base), w * 0.92, fabs(base - y), rgb_of(p, k));
        draw_error(c, s, b, i, x + w * .46, th->fg);
    }
}

static void draw_line(struct canvas *c, const struct figure_plot *p, int k, const struct box *b)
{
    const struct figure_series *s = &p->series[k];
    uint32_t rgb = rgb_of(p, k);
    enum { PIECE = 512 };               /* points of one stroke, so that dashes go on along the line */
    double xy[2 * PIECE];
    int m = 0;
    for (int i = 0; i <= s->n && s->kind == FIGURE_PLOT_LINES; i++) {
        double x = i < s->n ? at_x(b, x_of(s, i)) : (double)NAN,
               y = i < s->n ? at_y(b, s->y[i]) : (double)NAN;
        bool gap = isnan(x) || isnan(y);
        if (!gap) xy[2 * m] = x, xy[2 * m + 1] = y, m++;
        if (!gap && m < PIECE) continue;
        if (m > 1)
            canvas_poly(c, xy, m, s->wide ? WIDE : 1.8, s->wide ? halfway(rgb, canvas_theme(c)->page) : rgb,
                        s->dashed && !s->wide);
        if (m > 1 && !gap) xy[0] = x, xy[1] = y, m = 1;
        else m = 0;
    }
    for (int i = 0; i < s->n; i++) {
        double x = at_x(b, x_of(s, i)), y = at_y(b, s->y[i]);
        if (isnan(x) || isnan(y)) continue;
        if (!s->no_marks && s->n <= 200) canvas_dot(c, x, y, 3.2, k, rgb);
    }
}

/* Intervals lie under all lines, paler than them, and side by side where series share an x. */
static void draw_errors(struct canvas *c, const struct figure_plot *p, const struct box *b)
{
    int n = 0, at = 0;
    for (int k = 0; k < p->n_series; k++) n += p->series[k].err_lo && p->series[k].err_hi;
    for (int k = 0; k < p->n_series; k++) {
        const struct figure_series *s = &p->series[k];
        if (!s->err_lo || !s->err_hi || s->kind == FIGURE_PLOT_BARS) continue;
        double aside = (at++ - (n - 1) / 2.0) * (n > 6 ? 1.0 : 2.4);
        for (int i = 0; i < s->n; i++) {
            double x = at_x(b, x_of(s, i));
            if (!isnan(x) && !isnan(s->y[i]))
                draw_error(c, s, b, i, x + aside, halfway(rgb_of(p, k), canvas_theme(c)->page));
        }
    }
}

static double legend(struct canvas *c, const struct figure_plot *p, double x0, double y, double width,
                     bool draw)
{
    double x = x0, top = y;
    int shown = 0;
    for (int k = 0; k < p->n_series; k++) {
        const struct figure_series *s = &p->series[k];
        if (!s->name || !*s->name) continue;
        double w = 26 + canvas_text_width(c, FG_LABEL, 0, s->name) + 16;
        if (x > x0 && x + w - 16 > x0 + width) x = x0, y += 17;
        if (draw) {
            uint32_t rgb = rgb_of(p, k);
            double xy[4] = { x, y + 8, x + 20, y + 8 };
            if (s->kind == FIGURE_PLOT_BARS) canvas_fill(c, x + 4, y + 3, 12, 10, rgb);
            if (s->kind == FIGURE_PLOT_LINES)
                canvas_poly(c, xy, 2, s->wide ? WIDE : 1.8,
                            s->wide ? halfway(rgb, canvas_theme(c)->page) : rgb, s->dashed && !s->wide);
            if (s->kind != FIGURE_PLOT_BARS && !s->no_marks) canvas_dot(c, x + 10, y + 8, 3.2, k, rgb);
            canvas_text(c, x + 26, y + 12, FG_LABEL, 0, canvas_theme(c)->fg, s->name);
        }
        x += w;
        shown++;
    }
    return shown ? y + 17 - top + 6 : 0;
}

static double x_labels_height(struct canvas *c, const struct figure_plot *p, double w)
{
    double need = 0;
    for (int i = 0; p->x_tick && i < p->n_ticks; i++)
        need = fmax(need, canvas_text_width(c, FG_TICK, 0, p->x_tick[i]));
    return p->x_tick && need > w / fmax(1, p->n_ticks) - 4 ? 18 + need * 0.6 : 20;
}

enum sac_code figure_draw_plot(const struct figure_plot *p, const struct figure_style *s,
                               enum figure_format f, const struct figure_meta *meta, struct figure_bytes *out,
                               struct sac_err *err)
{
    struct canvas *c = canvas_new(f, s);
    *out = (struct figure_bytes){ NULL, 0 };
    if (!c) return sac_fail(err, SAC_ENOMEM, "out of memory while drawing a figure");
    double text_w = s && s->width > 0 ? s->width - 2 * MARGIN : PLOT_W + 60;
    struct box b = { 0 };
    find_ranges(p, &b);
    double t[MAX_TICKS], yw = 0;
    int n = ticks_of(&b.ry, 8, t);
    for (int i = 0; i < n; i++) {
        char label[24];
        number(t[i], label, sizeof label);
        yw = fmax(yw, canvas_text_width(c, FG_TICK, 0, label));
    }
    double left = yw + 10 + (p->y_title ? 18 : 0), head = figure_head_height(c, &p->text, text_w);
    double keys = legend(c, p, 0, 0, text_w - left, false), foot = figure_foot_height(c, &p->text, text_w);
    b.x = MARGIN + left;
    b.y = MARGIN + head + keys;
    b.w = text_w - left;
    b.h = p->height > 0 ? p->height : PLOT_H;
    double below = x_labels_height(c, p, b.w) + (p->x_title ? 16 : 0);
    canvas_page(c, text_w + 2 * MARGIN, b.y + b.h + below + foot + MARGIN);
    const struct figure_theme *th = canvas_theme(c);
    figure_head_draw(c, &p->text, MARGIN, MARGIN - 4, text_w);
    legend(c, p, b.x, MARGIN + head - 4, b.w, true);
    draw_axes(c, p, &b);
    if (p->x_title)
        canvas_text(c, b.x + b.w / 2, b.y + b.h + below - 2, FG_LABEL, CT_CENTER, th->muted, p->x_title);
    canvas_clip(c, b.x - 6, b.y - 6, b.w + 12, b.h + 12);
    for (int i = 0; i < p->n_hlines; i++) {
        double y = at_y(&b, p->hline[i]), xy[4] = { b.x, y, b.x + b.w, y };
        canvas_poly(c, xy, 2, 1.1, th->muted, true);
        if (p->hline_label)
            canvas_text(c, b.x + b.w - 4, y - 4, FG_TICK, CT_RIGHT, th->muted, p->hline_label[i]);
    }
    draw_errors(c, p, &b);
    int bars = 0, at = 0;
    for (int k = 0; k < p->n_series; k++) bars += p->series[k].kind == FIGURE_PLOT_BARS;
    for (int k = 0; k < p->n_series; k++)
        if (p->series[k].kind == FIGURE_PLOT_BARS) draw_bars(c, p, k, at++, bars, &b);
        else draw_line(c, p, k, &b);
    canvas_unclip(c);
    figure_foot_draw(c, &p->text, MARGIN, b.y + b.h + below, text_w);
    enum sac_code rc = canvas_finish(c, meta, out, err);
    canvas_free(c);
    return rc;
}
