/* A screen as plain data: W x H cells that views fill and back ends show.
 *
 * Views never call a terminal library. They write characters, colours and attributes here; every call clips
 * to the buffer (and to cells_clip), so a view can draw at any size. The curses back end, the text and ANSI
 * dumps, the PNG of a screen and the golden tests all read the same cells. Widths are those of the Unicode
 * tables, not of the locale, so that a frame is the same on every machine.
 *
 * Colours are plain numbers: 0xRRGGBB, or CELL_INDEX(i) for entry i of the 256-colour palette, or
 * CELL_DEFAULT for what the terminal uses. Views get them from palette.h and theme.h, which know the tier. */
#ifndef UI_CELLS_H
#define UI_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <uchar.h>

enum { CELL_BOLD = 1, CELL_ITALIC = 2, CELL_UNDERLINE = 4, CELL_REVERSE = 8, CELL_DIM = 16 };
#define CELL_DEFAULT 0xff000000u
#define CELL_INDEX(i) (0x01000000u | (uint32_t)(i))
#define CELL_IS_INDEX(c) (((c) & 0xff000000u) == 0x01000000u)

/* ch 0: the right half of a wide character. Values from CELL_CLUSTER on name a character with combining
 * marks. */
#define CELL_CLUSTER 0x80000000u
struct cell { char32_t ch; uint32_t fg, bg; uint16_t attr; };
struct ui_style { uint32_t fg, bg; uint16_t attr; };
struct ui_rect { int x, y, w, h; };

struct cell_buf {
    int w, h;
    bool ascii;               /* boxes, bars and marks are drawn with ASCII characters */
    struct ui_rect clip;
    struct cell *cell;        /* [h][w] */
};

/* False when out of memory; the buffer is then empty and drawing does nothing. */
bool cells_init(struct cell_buf *b, int w, int h);
void cells_free(struct cell_buf *b);
bool cells_resize(struct cell_buf *b, int w, int h);         /* clears */
void cells_clear(struct cell_buf *b);                        /* spaces in default colours, clip = all */
/* Restrict drawing to r (within the buffer); returns the clip before, to be put back. */
struct ui_rect cells_clip(struct cell_buf *b, struct ui_rect r);
const struct cell *cells_at(const struct cell_buf *b, int x, int y);   /* NULL outside */

/* One character; returns the columns it takes (0 for a mark or outside, 1 or 2). A control character becomes
 * a visible mark. bg == CELL_KEEP keeps the background that is there. */
#define CELL_KEEP 0xfe000000u
int cells_put(struct cell_buf *b, int x, int y, char32_t ch, struct ui_style s);
/* UTF-8 text up to `w` columns (w < 0: to the edge); control characters and invalid bytes become visible
 * marks, combining marks join the character before. Returns the columns used. */
int cells_text(struct cell_buf *b, int x, int y, int w, const char *s, struct ui_style st);
int cells_textn(struct cell_buf *b, int x, int y, int w, const char *s, size_t len, struct ui_style st);
/* printf form, up to 1023 bytes. */
int cells_printf(struct cell_buf *b, int x, int y, int w, struct ui_style st, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* As cells_text, but the last column shows … (~ in ASCII) when the text does not fit. */
int cells_fit(struct cell_buf *b, int x, int y, int w, const char *s, struct ui_style st);
int cells_right(struct cell_buf *b, int x_end, int y, int w, const char *s, struct ui_style st);
/* Change colours only. */
void cells_paint(struct cell_buf *b, struct ui_rect r, struct ui_style s);
void cells_fill(struct cell_buf *b, struct ui_rect r, char32_t ch, struct ui_style s);
void cells_hline(struct cell_buf *b, int x, int y, int w, struct ui_style s);
void cells_vline(struct cell_buf *b, int x, int y, int h, struct ui_style s);
/* A frame with a title in its upper border; heavy: the pane that has the keyboard. Returns the inside. */
struct ui_rect cells_box(struct cell_buf *b, struct ui_rect r, const char *title, bool heavy,
                         struct ui_style line, struct ui_style text);
/* A horizontal bar filled to share f (0..1, NAN: empty) of w columns; `rest` styles the empty part. */
void cells_bar(struct cell_buf *b, int x, int y, int w, double f, struct ui_style s, struct ui_style rest);
/* Two pixels, one above the other; a colour of CELL_DEFAULT is an empty pixel. */
void cells_half(struct cell_buf *b, int x, int y, uint32_t top, uint32_t bottom);

/* ---- characters ---- */
/* Columns of a character: 0 marks, 1, or 2; -1 for what must not be printed (controls, surrogates ...). */
int cell_width(char32_t ch);
/* Columns a text takes when drawn. */
int cells_text_width(const char *s, size_t len);
/* Bytes of s that fit in w columns. */
size_t cells_text_cut(const char *s, size_t len, int w);
/* Decode one character; returns bytes read (at least 1). Invalid bytes give U+FFFD. */
int cell_decode(const char *s, size_t len, char32_t *ch);
int cell_encode(char32_t ch, char out[4]);
/* The character and its combining marks; returns how many (at most 5). */
int cell_glyph(char32_t ch, char32_t out[5]);
/* The nearest ASCII character for boxes, blocks, arrows; '?' for others. */
char cell_ascii(char32_t ch);

/* ---- dumps ---- */
/* Characters only, trailing blanks removed, one line per row. */
void cells_dump_text(const struct cell_buf *b, FILE *f);
/* With colours and attributes as SGR sequences, for terminals and for ANSI snapshots. */
void cells_dump_ansi(const struct cell_buf *b, FILE *f);
/* One letter per cell for its style, with a legend: what golden tests of colours compare. */
void cells_dump_styles(const struct cell_buf *b, FILE *f);
#endif
