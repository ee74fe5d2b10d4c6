/* Words of scripts that need setting, in a grid of cells; see figure_cells.h.
 *
 * A terminal has one letter a cell, in the order of typing. A stretch of text in which a letter of such a
 * script stands, up to two blanks or a line of a frame, is set as a paragraph; its cells move to where their
 * letters stand, colours with them, and letters that share a glyph are drawn over the cells of all of them.
 * Text without such letters stays as it is. */
#include "figure_cells.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MARKS = 4 };

static bool needs_setting(char32_t c)
{
    static const struct {
        char32_t lo, hi;
    } range[] = {
        { 0x590, 0x109f },  { 0x1700, 0x1cff },   { 0xa800, 0xabff },   { 0xfb1d, 0xfdff },
        { 0xfe70, 0xfeff }, { 0x10800, 0x11fff }, { 0x1e800, 0x1efff },
    };
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (c >= range[i].lo && c <= range[i].hi) return true;
    return false;
}

/* Letters of these join: between them there must be no gap. */
static bool joins(char32_t c)
{
    return (c >= 0x600 && c <= 0x8ff) || (c >= 0x900 && c <= 0xdff) || (c >= 0xfb50 && c <= 0xfdff) ||
           (c >= 0xfe70 && c <= 0xfeff);
}

int cell_cols(const struct figure_cell *row, int x, int w) { return x + 1 < w && row[x + 1].ch == 0 ? 2 : 1; }

/* Frames, blocks and braille end a stretch, and so does the first of two blanks. */
static bool ends(const struct figure_cell *row, int x, int w)
{
    return (row[x].ch >= 0x2500 && row[x].ch <= 0x28ff) ||
           (row[x].ch == ' ' && (x + 1 == w || row[x + 1].ch == ' '));
}

/* ---- a stretch as text ---- */

struct stretch {
    char *text;
    unsigned char *style;
    int *cell;
    size_t len;
}; /* cell: of each byte */

static void put(struct stretch *s, char32_t c, int style, int x)
{
    int n = text_put(s->text + s->len, c);
    for (int i = 0; i < n; i++) s->style[s->len] = (unsigned char)style, s->cell[s->len++] = x;
}

static bool stretch_open(struct stretch *s, const struct figure_cell *row, const char32_t (*mark)[MARKS],
                         int x0, int x1)
{
    size_t most = (size_t)(x1 - x0) * (MARKS + 1) * 4 + 1;
    *s = (struct stretch){ malloc(most), malloc(most), malloc(most * sizeof(int)), 0 };
    if (!s->text || !s->style || !s->cell) return false;
    for (int x = x0; x < x1; x++) {
        if (!row[x].ch) continue;
        int style = TEXT_MONO | ((row[x].attr & FIGURE_BOLD) ? TEXT_BOLD : 0) |
                    ((row[x].attr & FIGURE_ITALIC) ? TEXT_ITALIC : 0);
        put(s, row[x].ch, style, x);
        for (int k = 0; mark && k < MARKS && mark[x][k]; k++) put(s, mark[x][k], style, x);
    }
    return true;
}

static void stretch_close(struct stretch *s)
{
    free(s->text);
    free(s->style);
    free(s->cell);
}

static bool add_unit(struct cell_words *w, struct cell_unit u)
{
    if (w->n_units == w->cap_units) {
        int cap = w->cap_units * 2 + 64;
        struct cell_unit *p = realloc(w->unit, (size_t)cap * sizeof *p);
        if (!p) return false;
        w->unit = p;
        w->cap_units = cap;
    }
    w->unit[w->n_units++] = u;
    return true;
}

static bool add_set(struct cell_words *w, struct text_set t)
{
    if (w->n_sets == w->cap_sets) {
        int cap = w->cap_sets * 2 + 16;
        struct text_set *p = realloc(w->set, (size_t)cap * sizeof *p);
        if (!p) return text_free(&t), false;
        w->set = p;
        w->cap_sets = cap;
    }
    w->set[w->n_sets++] = t;
    return true;
}

/* ---- where its cells stand ---- */

/* start[i]: both a cell and a glyph begin with character i, so that a unit may. */
static void find_starts(const struct text_set *t, const int *cell, bool *start)
{
    memset(start, 0, ((size_t)t->n + 1) * sizeof *start);
    for (int g = 0; g < t->n_glyphs; g++) {
        int i = t->glyph[g].ch;
        start[i] = i == 0 || cell[t->at[i]] != cell[t->at[i - 1]];
    }
    start[t->n] = true;
}

/* The cells of characters lo .. hi-1 from column *x on, the last one first where the text runs back. */
static bool place_unit(struct cell_words *w, const struct figure_cell *row, int width, int *from,
                       const struct text_piece *p, int lo, int hi, const int *cell, int *x, int y)
{
    const struct text_set *t = &w->set[w->n_sets - 1];
    bool back = t->run[p->run].level & 1, join = false;
    int a = cell[t->at[lo]], b = cell[t->at[hi - 1]], x0 = *x;
    bool blank = a == b && row[a].ch == ' ';
    for (int i = 0; i <= b - a; i++) {
        int k = back ? b - i : a + i;
        if (!row[k].ch) continue;
        join |= joins(row[k].ch);
        for (int n = 0; n < cell_cols(row, k, width); n++) from[(*x)++] = blank || n ? k + n : -1 - k;
    }
    return blank || add_unit(w, (struct cell_unit){ w->n_sets - 1, x0, y, *x - x0, lo, hi, *p, join });
}

static bool place(struct cell_words *w, const struct figure_cell *row, int width, int *from, const int *cell,
                  int x, int y)
{
    const struct text_set *t = &w->set[w->n_sets - 1];
    struct text_piece *piece = malloc(((size_t)t->n_runs * 2 + 2) * sizeof *piece);
    bool *start = malloc(((size_t)t->n + 1) * sizeof *start), ok = piece && start;
    int n = ok ? text_line(t, 0, t->n, piece) : 0;
    if (ok) find_starts(t, cell, start);
    for (int i = 0; i < n && ok; i++) {
        const struct text_piece *p = &piece[i];
        bool back = t->run[p->run].level & 1;
        start[p->lo] = true;
        for (int lo = p->lo, hi; lo < p->hi && ok && !back; lo = hi) {
            for (hi = lo + 1; hi < p->hi && !start[hi];) hi++;
            ok = place_unit(w, row, width, from, p, lo, hi, cell, &x, y);
        }
        for (int hi = p->hi, lo; hi > p->lo && ok && back; hi = lo) {
            for (lo = hi - 1; lo > p->lo && !start[lo];) lo--;
            ok = place_unit(w, row, width, from, p, lo, hi, cell, &x, y);
        }
    }
    free(piece);
    free(start);
    return ok;
}

static bool set_stretch(struct cell_words *w, const struct figure_screen *p, int y, int x0, int x1)
{
    size_t at = (size_t)y * (size_t)p->w;
    const struct figure_cell *row = p->cell + at;
    struct stretch s;
    struct text_set t = { 0 };
    while (x0 < x1 && row[x0].ch == ' ') x0++;
    while (x1 > x0 && row[x1 - 1].ch == ' ') x1--;
    bool own = needs_setting(row[x0].ch); /* a number or a label before the words keeps its place */
    bool ok = stretch_open(&s, row, p->mark ? p->mark + at : NULL, x0, x1) &&
              text_make(&t, s.text, s.len, s.style, 0, own) && add_set(w, t) &&
              place(w, row, p->w, w->from + at, s.cell, x0, y);
    stretch_close(&s);
    return ok;
}

void cell_words_free(struct cell_words *w)
{
    for (int i = 0; i < w->n_sets; i++) text_free(&w->set[i]);
    free(w->set);
    free(w->unit);
    free(w->from);
    *w = (struct cell_words){ 0 };
}

bool cell_words(struct cell_words *w, const struct figure_screen *p)
{
    *w = (struct cell_words){ .from = malloc(((size_t)p->w * (size_t)p->h + 1) * sizeof *w->from) };
    bool ok = w->from != NULL;
    for (int y = 0; y < p->h && ok; y++) {
        const struct figure_cell *row = p->cell + (size_t)y * (size_t)p->w;
        int *from = w->from + (size_t)y * (size_t)p->w;
        for (int x = 0; x < p->w; x++) from[x] = x;
        for (int x0 = 0, x1; x0 < p->w && ok; x0 = x1 + 1) {
            bool needed = false;
            for (x1 = x0; x1 < p->w && !ends(row, x1, p->w); x1++) needed |= needs_setting(row[x1].ch);
            if (needed) ok = set_stretch(w, p, y, x0, x1);
        }
    }
    if (!ok) cell_words_free(w);
    return ok;
}

/* ---- drawing ---- */

void cell_unit_draw(struct canvas *c, const struct cell_words *w, const struct cell_unit *u, double x,
                    double y, double size, double width, uint32_t rgb)
{
    const struct text_set *t = &w->set[u->set];
    double *gx = calloc((size_t)t->n_glyphs + 1, sizeof *gx), *cx = calloc((size_t)t->n + 1, sizeof *cx),
           *cw = calloc((size_t)t->n + 1, sizeof *cw), lo = 1e9, hi = -1e9;
    if (gx && cx && cw) {
        text_place(t, &u->piece, size, 0, NULL, NULL, gx, cx, cw);
        for (int i = u->lo; i < u->hi; i++)
            if (cw[i] > 0) lo = fmin(lo, cx[i]), hi = fmax(hi, cx[i] + cw[i]);
        double have = hi - lo;
        /* Letters that join fill their cells; others stand in the middle, narrowed where they are too wide.
         */
        double scale = have > width || (u->joins && have > 0.6 * width) ? width / have : 1;
        if (have > 0)
            canvas_fit(c, t, &u->piece, u->lo, u->hi, gx, x + (width - have * scale) / 2 - lo * scale, y,
                       size, scale, rgb);
    }
    free(gx);
    free(cx);
    free(cw);
}
