/* Drawing into cells: clipping, text with wide and combining characters, frames, bars, half blocks.
 *
 * Characters with combining marks are interned in one small table, so that a cell stays sixteen bytes and two
 * equal cells compare equal; only the UI thread draws. When the table is full, marks are left out. */
#include "cells.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { N_CLUSTERS = 4096, MAX_MARKS = 4 };
static char32_t cluster[N_CLUSTERS][MAX_MARKS + 1];
static int n_clusters;

/* ---- buffers ---- */

bool cells_init(struct cell_buf *b, int w, int h)
{
    *b = (struct cell_buf){ 0 };
    return cells_resize(b, w, h);
}

void cells_free(struct cell_buf *b)
{
    free(b->cell);
    *b = (struct cell_buf){ 0 };
}

bool cells_resize(struct cell_buf *b, int w, int h)
{
    if (w < 1 || h < 1 || w > 4096 || h > 4096) w = h = 0;
    if (w != b->w || h != b->h || !b->cell) {
        free(b->cell);
        b->cell = w ? malloc((size_t)w * (size_t)h * sizeof *b->cell) : NULL;
        b->w = b->cell ? w : 0;
        b->h = b->cell ? h : 0;
    }
    cells_clear(b);
    return b->cell != NULL;
}

void cells_clear(struct cell_buf *b)
{
    const struct cell blank = { U' ', CELL_DEFAULT, CELL_DEFAULT, 0 };
    for (int i = 0; i < b->w * b->h; i++) b->cell[i] = blank;
    b->clip = (struct ui_rect){ 0, 0, b->w, b->h };
}

struct ui_rect cells_clip(struct cell_buf *b, struct ui_rect r)
{
    struct ui_rect old = b->clip;
    int x0 = r.x > 0 ? r.x : 0, y0 = r.y > 0 ? r.y : 0;
    int x1 = r.x + r.w < b->w ? r.x + r.w : b->w, y1 = r.y + r.h < b->h ? r.y + r.h : b->h;
    b->clip = (struct ui_rect){ x0, y0, x1 > x0 ? x1 - x0 : 0, y1 > y0 ? y1 - y0 : 0 };
    return old;
}

const struct cell *cells_at(const struct cell_buf *b, int x, int y)
{
    return x < 0 || y < 0 || x >= b->w || y >= b->h ? NULL : &b->cell[y * b->w + x];
}

static struct cell *slot(struct cell_buf *b, int x, int y)
{
    const struct ui_rect *c = &b->clip;
    if (x < c->x || y < c->y || x >= c->x + c->w || y >= c->y + c->h) return NULL;
    return &b->cell[y * b->w + x];
}

/* ---- characters ---- */

int cell_width(char32_t ch)
{
    if (ch >= CELL_CLUSTER) return cell_width(cluster[(ch - CELL_CLUSTER) % N_CLUSTERS][0]);
    if (ch >= 0x20 && ch < 0x7f) return 1;
    if (ch < 0xa0) return -1;
    if (ch == 0xad) return -1;                                   /* soft hyphen: terminals differ */
    if ((ch >= 0x200b && ch <= 0x200f) || (ch >= 0x202a && ch <= 0x202e) || (ch >= 0x2060 && ch <= 0x206f))
        return -1;                                               /* direction marks would move neighbours */
    if (!utf8proc_codepoint_valid((utf8proc_int32_t)ch)) return -1;
    switch (utf8proc_category((utf8proc_int32_t)ch)) {
    case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_ME: return 0;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN: case UTF8PROC_CATEGORY_ZL: case UTF8PROC_CATEGORY_ZP: return -1;
    default: break;
    }
    int w = utf8proc_charwidth((utf8proc_int32_t)ch);
    return w == 2 ? 2 : 1;
}

/* What is shown in place of what cannot be printed. */
static char32_t visible(char32_t ch)
{
    if (ch == '\n') return 0x21b5;
    if (ch == '\t') return 0x2192;
    if (ch == '\r') return 0x2190;
    if (ch == 0x1b) return 0x241b;
    if (ch < 0x20) return 0x2400 + ch;
    if (ch == 0x7f) return 0x2421;
    return 0xfffd;
}

int cell_decode(const char *s, size_t len, char32_t *ch)
{
    utf8proc_int32_t c;
    if (!len) return *ch = 0, 1;
    utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)(len < 4 ? len : 4), &c);
    if (n < 1 || c < 0) return *ch = 0xfffd, 1;
    *ch = (char32_t)c;
    return (int)n;
}

int cell_encode(char32_t ch, char out[4])
{
    return (int)utf8proc_encode_char((utf8proc_int32_t)ch, (utf8proc_uint8_t *)out);
}

int cell_glyph(char32_t ch, char32_t out[5])
{
    if (ch < CELL_CLUSTER) return out[0] = ch, 1;
    const char32_t *c = cluster[(ch - CELL_CLUSTER) % N_CLUSTERS];
    int n = 0;
    while (n <= MAX_MARKS && c[n]) out[n] = c[n], n++;
    return n;
}

/* The cluster of `ch` with one more mark; ch itself when there is no room. */
static char32_t with_mark(char32_t ch, char32_t mark)
{
    char32_t want[MAX_MARKS + 1] = { 0 };
    int n = cell_glyph(ch, want);
    if (n > MAX_MARKS || !ch) return ch;
    want[n] = mark;
    for (int i = 0; i < n_clusters; i++)
        if (!memcmp(cluster[i], want, sizeof want)) return CELL_CLUSTER + (char32_t)i;
    if (n_clusters == N_CLUSTERS) return ch;
    memcpy(cluster[n_clusters], want, sizeof want);
    return CELL_CLUSTER + (char32_t)n_clusters++;
}

int cells_text_width(const char *s, size_t len)
{
    int w = 0;
    for (size_t i = 0; i < len;) {
        char32_t ch;
        i += (size_t)cell_decode(s + i, len - i, &ch);
        int cw = cell_width(ch);
        w += cw < 0 ? 1 : cw;
    }
    return w;
}

size_t cells_text_cut(const char *s, size_t len, int w)
{
    size_t i = 0;
    while (i < len) {
        char32_t ch;
        int n = cell_decode(s + i, len - i, &ch), cw = cell_width(ch);
        w -= cw < 0 ? 1 : cw;
        if (w < 0) break;
        i += (size_t)n;
    }
    return i;
}

char cell_ascii(char32_t ch)
{
    static const struct { char32_t lo, hi; const char *as;
    } map[] = {
        { 0x2500, 0x2501, "-=" },
        { 0x2502, 0x2503, "||" },
        { 0x250c, 0x254b, NULL },
        { 0x2580, 0x2580, "\"" },
        { 0x2581, 0x2588, "..:-=+*#" },
        { 0x2589, 0x258f, "####+=-" },
        { 0x2590, 0x2590, "#" },
        { 0x2591, 0x2593, ".+#" },
        { 0x2190, 0x2193, "<^>v" },
        { 0x21b5, 0x21b5, "/" },
        { 0xb7, 0xb7, "." },
        { 0xd7, 0xd7, "x" },
        { 0x2013, 0x2014, "--" },
        { 0x2018, 0x2019, "''" },
        { 0x201c, 0x201d, "\"\"" },
        { 0x2022, 0x2022, "*" },
        { 0x2026, 0x2026, "~" },
        { 0x2713, 0x2713, "+" },
        { 0x2717, 0x2717, "x" },
        { 0x25b2, 0x25b2, "^" },
        { 0x25b6, 0x25b6, ">" },
        { 0x25b8, 0x25b8, ">" },
        { 0x25bc, 0x25bc, "v" },
        { 0x25c0, 0x25c0, "<" },
        { 0x25c6, 0x25c6, "X" },
        { 0x25cf, 0x25cf, "o" },
        { 0x2423, 0x2423, "_" },
        { 0x2212, 0x2212, "-" },
        { 0x2264, 0x2265, "<>" },
        { 0xa0, 0xa0, " " },
        { 0x203a, 0x203a, ">" },
    };
    if (ch >= CELL_CLUSTER) ch = cluster[(ch - CELL_CLUSTER) % N_CLUSTERS][0];
    if (ch < 0x80) return (char)ch;
    if (ch >= 0x2596 && ch <= 0x259f) return '#';
    if (ch == 0x2800) return ' ';
    if (ch > 0x2800 && ch < 0x2900) return '*';
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (ch >= map[i].lo && ch <= map[i].hi) return map[i].as ? map[i].as[ch - map[i].lo] : '+';
    return '?';
}

/* ---- putting ---- */

/* Half of a wide character that is about to be overwritten leaves a blank for its other half. */
static void split_wide(struct cell_buf *b, int x, int y)
{
    struct cell *row = b->cell + y * b->w;
    if (row[x].ch == 0 && x > 0) row[x - 1].ch = U' ';
    else if (x + 1 < b->w && row[x + 1].ch == 0) row[x + 1].ch = U' ';
}

static void set(struct cell *c, char32_t ch, struct ui_style s)
{
    uint32_t bg = s.bg == CELL_KEEP ? c->bg : s.bg;
    *c = (struct cell){ ch, s.fg, bg, s.attr };
}

int cells_put(struct cell_buf *b, int x, int y, char32_t ch, struct ui_style s)
{
    int w = cell_width(ch);
    if (w < 0) ch = visible(ch), w = 1;
    if (b->ascii && ch >= 0x80) {
        ch = w == 0 ? 0 : (char32_t)cell_ascii(ch);
        if (!ch) return 0;
        if (w == 2) cells_put(b, x + 1, y, U' ', s);
        struct cell *c = slot(b, x, y);
        if (c) split_wide(b, x, y), set(c, ch, s);
        return w;
    }
    if (w == 0) {                       /* a mark joins the character before it */
        int px = x - 1;
        if (px > 0 && slot(b, px, y) && cells_at(b, px, y)->ch == 0) px--;
        struct cell *c = slot(b, px, y);
        if (c) c->ch = with_mark(c->ch, ch);
        return 0;
    }
    struct cell *c = slot(b, x, y), *right = w == 2 ? slot(b, x + 1, y) : NULL;
    if (w == 2 && !(c && right)) {      /* a wide character cut by the edge */
        if (c) split_wide(b, x, y), set(c, U' ', s);
        if (w == 2 && (right = slot(b, x + 1, y))) split_wide(b, x + 1, y), set(right, U' ', s);
        return w;
    }
    if (!c) return w;
    split_wide(b, x, y);
    if (right) split_wide(b, x + 1, y);
    set(c, ch, s);
    if (right) set(right, 0, s);
    return w;
}

int cells_textn(struct cell_buf *b, int x, int y, int w, const char *s, size_t len, struct ui_style st)
{
    int used = 0, room = w < 0 ? b->clip.x + b->clip.w - x : w;
    for (size_t i = 0; i < len;) {
        char32_t ch;
        int n = cell_decode(s + i, len - i, &ch), cw = cell_width(ch);
        if (cw < 0) cw = 1;
        if (used + cw > room) break;
        cells_put(b, x + used, y, ch, st);
        used += cw;
        i += (size_t)n;
    }
    return used;
}

int cells_text(struct cell_buf *b, int x, int y, int w, const char *s, struct ui_style st)
{
    return cells_textn(b, x, y, w, s, strlen(s), st);
}

int cells_printf(struct cell_buf *b, int x, int y, int w, struct ui_style st, const char *fmt, ...)
{
    char buf[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    return cells_text(b, x, y, w, buf, st);
}

int cells_fit(struct cell_buf *b, int x, int y, int w, const char *s, struct ui_style st)
{
    size_t len = strlen(s);
    if (w < 1) return 0;
    if (cells_text_width(s, len) <= w) return cells_textn(b, x, y, w, s, len, st);
    int used = cells_textn(b, x, y, w - 1, s, len, st);
    for (; used < w - 1; used++) cells_put(b, x + used, y, U' ', st);
    cells_put(b, x + w - 1, y, 0x2026, st);
    return w;
}

int cells_right(struct cell_buf *b, int x_end, int y, int w, const char *s, struct ui_style st)
{
    int width = cells_text_width(s, strlen(s));
    if (width > w) width = w;
    return cells_fit(b, x_end - width, y, width, s, st);
}

void cells_paint(struct cell_buf *b, struct ui_rect r, struct ui_style s)
{
    for (int y = r.y; y < r.y + r.h; y++)
        for (int x = r.x; x < r.x + r.w; x++) {
            struct cell *c = slot(b, x, y);
            if (c) set(c, c->ch, s);
        }
}

void cells_fill(struct cell_buf *b, struct ui_rect r, char32_t ch, struct ui_style s)
{
    for (int y = r.y; y < r.y + r.h; y++)
        for (int x = r.x; x < r.x + r.w; x++) cells_put(b, x, y, ch, s);
}

void cells_hline(struct cell_buf *b, int x, int y, int w, struct ui_style s)
{
    for (int i = 0; i < w; i++) cells_put(b, x + i, y, 0x2500, s);
}

void cells_vline(struct cell_buf *b, int x, int y, int h, struct ui_style s)
{
    for (int i = 0; i < h; i++) cells_put(b, x, y + i, 0x2502, s);
}

struct ui_rect cells_box(struct cell_buf *b, struct ui_rect r, const char *title, bool heavy,
                         struct ui_style line, struct ui_style text)
{
    static const char32_t light[6] = { 0x2500, 0x2502, 0x250c, 0x2510, 0x2514, 0x2518 };
    static const char32_t bold[6] = { 0x2501, 0x2503, 0x250f, 0x2513, 0x2517, 0x251b };
    static const char32_t plain[6] = { '-', '|', '+', '+', '+', '+' },
                          focus[6] = { '=', '|', '+', '+', '+', '+' };
    if (r.w < 2 || r.h < 2) return (struct ui_rect){ r.x, r.y, 0, 0 };
    const char32_t *g = b->ascii ? (heavy ? focus : plain) : heavy ? bold : light;
    int x1 = r.x + r.w - 1, y1 = r.y + r.h - 1;
    for (int x = r.x + 1; x < x1; x++) cells_put(b, x, r.y, g[0], line), cells_put(b, x, y1, g[0], line);
    for (int y = r.y + 1; y < y1; y++) cells_put(b, r.x, y, g[1], line), cells_put(b, x1, y, g[1], line);
    cells_put(b, r.x, r.y, g[2], line);
    cells_put(b, x1, r.y, g[3], line);
    cells_put(b, r.x, y1, g[4], line);
    cells_put(b, x1, y1, g[5], line);
    if (title && *title && r.w > 6) {
        int used = cells_fit(b, r.x + 3, r.y, r.w - 6, title, text);
        cells_put(b, r.x + 2, r.y, U' ', text);
        cells_put(b, r.x + 3 + used, r.y, U' ', text);
    }
    return (struct ui_rect){ r.x + 1, r.y + 1, r.w - 2, r.h - 2 };
}

void cells_bar(struct cell_buf *b, int x, int y, int w, double f, struct ui_style s, struct ui_style rest)
{
    if (w < 1) return;
    if (!(f > 0)) f = 0;
    if (f > 1) f = 1;
    if (b->ascii) {
        int n = (int)floor(f * w + 0.5);
        for (int i = 0; i < w; i++) cells_put(b, x + i, y, i < n ? '#' : '.', i < n ? s : rest);
        return;
    }
    int eighths = (int)floor(f * w * 8 + 0.5);
    for (int i = 0; i < w; i++) {
        int e = eighths - 8 * i;
        struct ui_style st = e > 0 ? s : rest;
        if (e > 0 && e < 8) st.bg = rest.bg;
        cells_put(b, x + i, y,
                  e >= 8   ? 0x2588
                  : e <= 0 ? (rest.bg == CELL_DEFAULT ? 0x2591 : U' ')
                           : 0x2590 - (char32_t)e,
                  st);
    }
}

void cells_half(struct cell_buf *b, int x, int y, uint32_t top, uint32_t bottom)
{
    struct ui_style s = { top, bottom, 0 };
    if (top == bottom) {
        cells_put(b, x, y, U' ', (struct ui_style){ CELL_DEFAULT, top, 0 });
    } else if (top == CELL_DEFAULT) {       /* the empty pixel is the terminal's own background */
        cells_put(b, x, y, 0x2584, (struct ui_style){ bottom, CELL_DEFAULT, 0 });
    } else {
        cells_put(b, x, y, 0x2580, s);
    }
}
