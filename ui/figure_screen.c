/* A terminal screen as a picture, from the cell buffer.
 *
 * Letters come from a monospace font. Blocks, shades, quadrants, sextants, box lines and braille are drawn by
 * rule, so they join without gaps at any scale, whatever the font has. Words that have to be set (from right
 * to left, joined, combined) are figure_cells.c's. */
#include "figure_cells.h"

#include <math.h>
#include <string.h>

enum { CELL_W = 8, CELL_H = 16, PAD = 8, SIZE = 13 };
#define BASE 12.4 /* of a cell */

/* Arms of box characters U+2500..257F: left, right, up, down; 0 none, 1 light, 2 heavy, 3 double. */
struct arms {
    unsigned char l, r, u, d;
};

static bool box_arms(char32_t ch, struct arms *a)
{
    static const struct {
        char32_t ch;
        struct arms a;
    } table[] = {
        { 0x2500, { 1, 1, 0, 0 } }, { 0x2501, { 2, 2, 0, 0 } }, { 0x2502, { 0, 0, 1, 1 } },
        { 0x2503, { 0, 0, 2, 2 } }, { 0x250c, { 0, 1, 0, 1 } }, { 0x250f, { 0, 2, 0, 2 } },
        { 0x2510, { 1, 0, 0, 1 } }, { 0x2513, { 2, 0, 0, 2 } }, { 0x2514, { 0, 1, 1, 0 } },
        { 0x2517, { 0, 2, 2, 0 } }, { 0x2518, { 1, 0, 1, 0 } }, { 0x251b, { 2, 0, 2, 0 } },
        { 0x251c, { 0, 1, 1, 1 } }, { 0x2523, { 0, 2, 2, 2 } }, { 0x2520, { 0, 1, 2, 2 } },
        { 0x2524, { 1, 0, 1, 1 } }, { 0x252b, { 2, 0, 2, 2 } }, { 0x2528, { 1, 0, 2, 2 } },
        { 0x252c, { 1, 1, 0, 1 } }, { 0x2533, { 2, 2, 0, 2 } }, { 0x252f, { 2, 2, 0, 1 } },
        { 0x2534, { 1, 1, 1, 0 } }, { 0x253b, { 2, 2, 2, 0 } }, { 0x2537, { 2, 2, 1, 0 } },
        { 0x253c, { 1, 1, 1, 1 } }, { 0x254b, { 2, 2, 2, 2 } }, { 0x2550, { 3, 3, 0, 0 } },
        { 0x2551, { 0, 0, 3, 3 } }, { 0x256d, { 0, 1, 0, 1 } }, { 0x256e, { 1, 0, 0, 1 } },
        { 0x256f, { 1, 0, 1, 0 } }, { 0x2570, { 0, 1, 1, 0 } }, { 0x2574, { 1, 0, 0, 0 } },
        { 0x2575, { 0, 0, 1, 0 } }, { 0x2576, { 0, 1, 0, 0 } }, { 0x2577, { 0, 0, 0, 1 } },
        { 0x2578, { 2, 0, 0, 0 } }, { 0x2579, { 0, 0, 2, 0 } }, { 0x257a, { 0, 2, 0, 0 } },
        { 0x257b, { 0, 0, 0, 2 } },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].ch == ch) {
            *a = table[i].a;
            return true;
        }
    return false;
}

static void draw_arm(struct canvas *c, double x, double y, double w, double h, int kind, bool across,
                     uint32_t fg)
{
    double t = kind == 2 ? 2 : 1;
    if (kind == 0) return;
    if (kind == 3) {
        draw_arm(c, x, across ? y - 1 : y, w, h, 1, across, fg);
        draw_arm(c, across ? x : x - 1, across ? y + 1.5 : y, w, h, 1, across, fg);
        return;
    }
    if (across)
        canvas_fill(c, x, y - t / 2, w, t, fg);
    else
        canvas_fill(c, x - t / 2, y, t, h, fg);
}

static bool draw_box(struct canvas *c, double x, double y, char32_t ch, uint32_t fg)
{
    struct arms a;
    if (!box_arms(ch, &a)) return false;
    double mx = x + CELL_W / 2.0, my = y + CELL_H / 2.0, o = 0.5;
    draw_arm(c, x, my, CELL_W / 2.0 + o, 0, a.l, true, fg);
    draw_arm(c, mx - o, my, CELL_W / 2.0 + o, 0, a.r, true, fg);
    draw_arm(c, mx, y, 0, CELL_H / 2.0 + o, a.u, false, fg);
    draw_arm(c, mx, my - o, 0, CELL_H / 2.0 + o, a.d, false, fg);
    return true;
}

/* Parts of a cell as fractions of it. */
static void part(struct canvas *c, double x, double y, double x0, double y0, double x1, double y1,
                 uint32_t fg)
{
    canvas_fill(c, x + x0 * CELL_W, y + y0 * CELL_H, (x1 - x0) * CELL_W, (y1 - y0) * CELL_H, fg);
}

static bool draw_block(struct canvas *c, double x, double y, char32_t ch, uint32_t fg, uint32_t bg)
{
    static const unsigned char quad[] = { 4, 8, 1, 13, 9, 7, 11, 2, 6, 14 }; /* 2596 .. 259F */
    if (ch == 0x2580)
        part(c, x, y, 0, 0, 1, .5, fg);
    else if (ch >= 0x2581 && ch <= 0x2588)
        part(c, x, y, 0, 1 - (ch - 0x2580) / 8.0, 1, 1, fg);
    else if (ch >= 0x2589 && ch <= 0x258f)
        part(c, x, y, 0, 0, (0x2590 - ch) / 8.0, 1, fg);
    else if (ch == 0x2590)
        part(c, x, y, .5, 0, 1, 1, fg);
    else if (ch >= 0x2591 && ch <= 0x2593)
        part(c, x, y, 0, 0, 1, 1, figure_blend(bg, fg, (ch - 0x2590) * .25));
    else if (ch == 0x2594)
        part(c, x, y, 0, 0, 1, .125, fg);
    else if (ch == 0x2595)
        part(c, x, y, .875, 0, 1, 1, fg);
    else if (ch >= 0x2596 && ch <= 0x259f) {
        int q = quad[ch - 0x2596];
        for (int i = 0; i < 4; i++)
            if (q >> i & 1)
                part(c, x, y, (i & 1) * .5, (i >> 1) * .5, (i & 1) * .5 + .5, (i >> 1) * .5 + .5, fg);
    } else
        return false;
    return true;
}

static bool draw_dots(struct canvas *c, double x, double y, char32_t ch, uint32_t fg)
{
    static const unsigned char bit[4][2] = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } };
    if (ch < 0x2800 || ch > 0x28ff) return false;
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 2; i++)
            if ((ch & 0xff) & bit[j][i])
                canvas_dot(c, x + CELL_W * (.25 + .5 * i), y + CELL_H * (.125 + .25 * j), 1.15, 0, fg);
    return true;
}

struct look {
    uint32_t fg, bg;
};

static struct look look_of(const struct figure_cell *k)
{
    struct look l = { k->fg, k->bg };
    if (k->attr & FIGURE_REVERSE) l = (struct look){ k->bg, k->fg };
    if (k->attr & FIGURE_DIM) l.fg = figure_blend(l.fg, l.bg, 0.4);
    return l;
}

static void draw_letter(struct canvas *c, double x, double y, const struct figure_cell *k,
                        const char32_t *mark, int cols)
{
    struct look l = look_of(k);
    char32_t ch[5] = { k->ch };
    int n = 1;
    while (mark && n < 5 && mark[n - 1]) ch[n] = mark[n - 1], n++;
    if (k->ch > 32 && !draw_block(c, x, y, k->ch, l.fg, l.bg) && !draw_box(c, x, y, k->ch, l.fg) &&
        !draw_dots(c, x, y, k->ch, l.fg))
        canvas_glyph(c, x, y + BASE, SIZE,
                     CT_MONO | ((k->attr & FIGURE_BOLD) ? CT_BOLD : 0) |
                         ((k->attr & FIGURE_ITALIC) ? CT_ITALIC : 0),
                     l.fg, cols * CELL_W, ch, n);
}

static void draw_row(struct canvas *c, const struct figure_screen *p, const struct cell_words *words, int y,
                     bool ground)
{
    size_t at = (size_t)y * (size_t)p->w;
    const struct figure_cell *row = p->cell + at;
    const int *from = words->from + at;
    double py = PAD + y * CELL_H;
    for (int x = 0; x < p->w; x++) {
        bool word = from[x] < 0; /* a unit draws its letters */
        int k = word ? -1 - from[x] : from[x], cols = cell_cols(row, k, p->w);
        double px = PAD + x * CELL_W;
        if (ground)
            canvas_fill(c, px, py, CELL_W, CELL_H, row[k].attr & FIGURE_REVERSE ? row[k].fg : row[k].bg);
        else if (row[k].ch && !word)
            draw_letter(c, px, py, &row[k], p->mark ? p->mark[at + (size_t)k] : NULL, cols);
        if (!ground && row[k].ch && row[k].attr & FIGURE_UNDERLINED)
            canvas_fill(c, px, py + 14, cols * CELL_W, 1, look_of(&row[k]).fg);
    }
}

static void draw_unit(struct canvas *c, const struct figure_screen *p, const struct cell_words *words,
                      const struct cell_unit *u)
{
    size_t at = (size_t)u->y * (size_t)p->w;
    int k = -1 - words->from[at + (size_t)u->x];
    cell_unit_draw(c, words, u, PAD + u->x * CELL_W, PAD + u->y * CELL_H + BASE, SIZE, u->cols * CELL_W,
                   look_of(&p->cell[at + (size_t)k]).fg);
}

enum sac_code figure_draw_screen(const struct figure_screen *p, const struct figure_style *s,
                                 enum figure_format f, const struct figure_meta *meta,
                                 struct figure_bytes *out, struct sac_err *err)
{
    struct canvas *c = canvas_new(f, s);
    struct cell_words words;
    *out = (struct figure_bytes){ NULL, 0 };
    if (!c || !cell_words(&words, p)) {
        canvas_free(c);
        return sac_fail(err, SAC_ENOMEM, "out of memory while drawing a figure");
    }
    canvas_page(c, p->w * CELL_W + 2 * PAD, p->h * CELL_H + 2 * PAD);
    if (p->w > 0 && p->h > 0)
        canvas_fill(c, 0, 0, p->w * CELL_W + 2 * PAD, p->h * CELL_H + 2 * PAD, p->cell[0].bg);
    for (int pass = 0; pass < 2; pass++) /* all backgrounds first: wide glyphs may lean over */
        for (int y = 0; y < p->h; y++) draw_row(c, p, &words, y, pass == 0);
    for (int i = 0; i < words.n_units; i++) draw_unit(c, p, &words, &words.unit[i]);
    enum sac_code rc = canvas_finish(c, meta, out, err);
    cell_words_free(&words);
    canvas_free(c);
    return rc;
}
