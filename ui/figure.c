/* What all figures share: themes, titles and captions, legends, the colour bar.
 *
 * Sizes are in page units; at the usual scale of 2 a title is 34 pixels high on a 1600 pixel wide picture,
 * which the last row of a lecture hall can read. The pictures themselves are in figure_*.c. */
#include "figure_canvas.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool figure_format_of(const char *path, enum figure_format *out)
{
    static const char *const end[] = { ".png", ".svg", ".pdf" };
    size_t n = strlen(path);
    for (int i = 0; i < 3; i++)
        if (n > 4 && !strcasecmp(path + n - 4, end[i])) {
            *out = (enum figure_format)i;
            return true;
        }
    return false;
}

const struct figure_theme *figure_theme(bool dark)
{
    static const struct figure_theme theme[2] = {
        { .page = 0xffffff,
          .pane = 0xf1f2f4,
          .fg = 0x17191d,
          .muted = 0x5a606a,
          .rule = 0xb9bec7,
          .grid = 0xe3e6ea,
          .accent = 0x0072b2,
          .warn = 0xd55e00,
          .gold = 0xa67c00 },
        { .page = 0x14161a,
          .pane = 0x1e2127,
          .fg = 0xeceef1,
          .muted = 0xa2a9b4,
          .rule = 0x4a505b,
          .grid = 0x2a2e36,
          .accent = 0x56b4e9,
          .warn = 0xff8a3d,
          .gold = 0xf0c040 },
    };
    return &theme[dark];
}

uint32_t figure_theme_pane(bool dark) { return figure_theme(dark)->pane; }
uint32_t figure_theme_page(bool dark) { return figure_theme(dark)->page; }

uint32_t figure_colour(int i)
{
    static const uint32_t c[] = { FIGURE_RGB(0, 114, 178),   FIGURE_RGB(230, 159, 0),
                                  FIGURE_RGB(0, 158, 115),   FIGURE_RGB(213, 94, 0),
                                  FIGURE_RGB(204, 121, 167), FIGURE_RGB(86, 180, 233),
                                  FIGURE_RGB(153, 153, 153), FIGURE_RGB(148, 132, 10) };
    return c[(unsigned)i % (sizeof c / sizeof *c)];
}

static double linear(uint32_t v)
{
    double s = v / 255.0;
    return s <= 0.04045 ? s / 12.92 : pow((s + 0.055) / 1.055, 2.4);
}

uint32_t figure_contrast(uint32_t bg)
{
    double y = 0.2126 * linear(bg >> 16 & 255) + 0.7152 * linear(bg >> 8 & 255) + 0.0722 * linear(bg & 255);
    return y > 0.18 ? 0x000000 : 0xffffff;
}

uint32_t figure_blend(uint32_t a, uint32_t b, double t)
{
    uint32_t out = 0;
    for (int s = 0; s < 24; s += 8) {
        double x = a >> s & 255, y = b >> s & 255;
        out |= (uint32_t)(x + (y - x) * t + 0.5) << s;
    }
    return out;
}

static bool has(const char *s) { return s && *s; }

/* ---- title, caption ---- */

double figure_head_height(struct canvas *c, const struct figure_text *t, double width)
{
    double h = 0;
    if (has(t->title)) h += 22 * canvas_wrap(c, 0, 0, width, FG_TITLE, 22, CT_BOLD, 0, t->title, false) + 2;
    if (has(t->subtitle)) h += 15 * canvas_wrap(c, 0, 0, width, FG_SUB, 15, 0, 0, t->subtitle, false);
    return h > 0 ? h + 12 : 0;
}

double figure_head_draw(struct canvas *c, const struct figure_text *t, double x, double y, double width)
{
    const struct figure_theme *th = canvas_theme(c);
    double y0 = y;
    if (has(t->title))
        y += 22 * canvas_wrap(c, x, y + 16, width, FG_TITLE, 22, CT_BOLD, th->fg, t->title, true) + 2;
    if (has(t->subtitle))
        y += 15 * canvas_wrap(c, x, y + 11, width, FG_SUB, 15, 0, th->muted, t->subtitle, true);
    return y > y0 ? y + 12 - y0 : 0;
}

double figure_foot_height(struct canvas *c, const struct figure_text *t, double width)
{
    if (!has(t->caption)) return 0;
    return 10 + 14 * canvas_wrap(c, 0, 0, width, FG_CAPTION, 14, 0, 0, t->caption, false);
}

void figure_foot_draw(struct canvas *c, const struct figure_text *t, double x, double y, double width)
{
    if (!has(t->caption)) return;
    canvas_wrap(c, x, y + 19, width, FG_CAPTION, 14, 0, canvas_theme(c)->muted, t->caption, true);
}

/* ---- legend ---- */

enum { KEY_H = 17, KEY_MARK = 16 };

static void mark_draw(struct canvas *c, enum figure_mark mark, uint32_t rgb, double x, double y)
{
    const struct figure_theme *th = canvas_theme(c);
    double w = 12, h = 10;
    switch (mark) {
    case FIGURE_SWATCH:
        canvas_fill(c, x, y, w, h, rgb);
        canvas_frame(c, x, y, w, h, 0.5, th->rule);
        break;
    case FIGURE_BAR:
        canvas_fill(c, x, y + h * .55, 3, h * .45, rgb);
        canvas_fill(c, x + 4, y, 3, h, rgb);
        canvas_fill(c, x + 8, y + h * .3, 3, h * .7, rgb);
        break;
    case FIGURE_OUTLINE: canvas_frame(c, x + 1, y + 1, w - 2, h - 2, 1.2, rgb); break;
    case FIGURE_TICK: canvas_fill(c, x + w / 2 - 1, y, 2, h, rgb); break;
    case FIGURE_UNDERLINE:
        canvas_text(c, x + w / 2, y + h - 2, 10, CT_CENTER, th->fg, "a");
        canvas_fill(c, x, y + h, w, 1.2, rgb);
        break;
    case FIGURE_BRACKET:
        canvas_text(c, x + w / 2, y + h - 1, 10, CT_CENTER | CT_BOLD, rgb, "[ ]");
        break;
    case FIGURE_LINE: canvas_line(c, x, y + h / 2, x + w, y + h / 2, 2, rgb); break;
    case FIGURE_HATCH:
        canvas_hatch(c, x, y, w, h, rgb);
        canvas_frame(c, x, y, w, h, 0.5, th->rule);
        break;
    }
}

static double keys_flow(struct canvas *c, const struct figure_key *k, int n, double x0, double y,
                        double width, bool draw)
{
    double x = x0, top = y;
    for (int i = 0; i < n; i++) {
        double w = KEY_MARK + 3 + canvas_text_width(c, FG_LABEL, 0, k[i].label) + 18;
        if (x > x0 && x + w - 18 > x0 + width) x = x0, y += KEY_H;
        if (draw) {
            mark_draw(c, k[i].mark, k[i].rgb, x, y + 3);
            canvas_text(c, x + KEY_MARK + 3, y + 12, FG_LABEL, 0, canvas_theme(c)->fg, k[i].label);
        }
        x += w;
    }
    return n > 0 ? y + KEY_H - top : 0;
}

double figure_keys_height(struct canvas *c, const struct figure_key *k, int n, double width)
{
    return n > 0 ? keys_flow(c, k, n, 0, 0, width, false) + 10 : 0;
}

void figure_keys_draw(struct canvas *c, const struct figure_key *k, int n, double x, double y, double width)
{
    keys_flow(c, k, n, x, y + 10, width, true);
}

/* ---- colour bar ---- */

enum { BAR_W = 14 };

double figure_scale_width(struct canvas *c, const struct figure_scale *s)
{
    if (!s->title) return 0;
    double w = 0;
    for (int i = 0; i < s->n_ticks; i++) w = fmax(w, canvas_text_width(c, FG_TICK, 0, s->tick[i]));
    return 18 + BAR_W + 7 + w + 18;
}

void figure_scale_draw(struct canvas *c, const struct figure_scale *s, double x, double y, double h)
{
    if (!s->title) return;
    const struct figure_theme *th = canvas_theme(c);
    x += 18;
    double widest = 0;
    for (int i = 0; i < s->n_colours; i++) {
        double y1 =
            y + h * (1 - i / (double)s->n_colours); /* up to the top, the next one covers it: no seams */
        canvas_fill(c, x, y, BAR_W, y1 - y, s->colour[i]);
    }
    canvas_frame(c, x, y, BAR_W, h, canvas_px(c), th->rule);
    for (int i = 0; i < s->n_ticks; i++) {
        double ty = y + h * (1 - s->tick_t[i]);
        canvas_line(c, x + BAR_W, ty, x + BAR_W + 4, ty, 1, th->muted);
        widest = fmax(widest, canvas_text(c, x + BAR_W + 7, ty + 3.5, FG_TICK, 0, th->fg, s->tick[i]));
    }
    canvas_text_rot(c, x + BAR_W + 7 + widest + 14, y + h / 2, FG_LABEL, CT_CENTER, th->muted, 90, s->title);
}
