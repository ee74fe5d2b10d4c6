/* Text set for drawing: which font and glyphs each character gets, and in which order they stand on a line.
 *
 * One call sets a paragraph: FriBidi decides what runs from right to left, fontconfig which font has each
 * letter with its marks, HarfBuzz how letters join, combine and reorder. Lengths are in ems, so a paragraph
 * is measured and drawn at any size. Lines are cut from it afterwards, between any two characters; a glyph
 * that stands for several characters (a ligature, a conjunct) lends each of them an equal part of its width.
 *
 * Nothing here draws: figure_canvas.c does, with the faces of text_pattern. Safe from any thread. */
#ifndef UI_FIGURE_TEXT_H
#define UI_FIGURE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uchar.h>

enum { TEXT_BOLD = 1, TEXT_MONO = 2, TEXT_ITALIC = 4, TEXT_STYLES = 8 };

struct text_glyph {
    uint32_t id;
    float dx, dy, adv;
    int ch;
}; /* ch: the first character it stands for */
/* Characters lo .. hi-1 of one font and direction. Glyphs g0 .. g1-1 are in the order they stand in: of a run
 * with an odd level the last character comes first. */
struct text_run {
    int lo, hi, g0, g1, font;
    unsigned char style, level;
};

struct text_set {
    int n;
    char32_t *ch; /* [n] characters; what no font has is spelled out, as in \u{1F600} */
    int *at;      /* [n + 1] byte of the source each comes from */
    float *adv;   /* [n] width */
    int n_runs;
    struct text_run *run; /* in logical order */
    int n_glyphs;
    struct text_glyph *glyph;
    bool rtl; /* the paragraph runs from right to left */
};

/* Set len bytes of UTF-8 (broken bytes become U+FFFD, control characters blanks). style: one byte of TEXT_
 * bits for each byte of s, or NULL: all in `all`. auto_base: the first strong letter decides the direction of
 * the paragraph; otherwise it is left to right. False when out of memory; t is then empty. */
bool text_make(struct text_set *t, const char *s, size_t len, const unsigned char *style, int all,
               bool auto_base);
void text_free(struct text_set *t);

/* A stretch of one run as it stands on a line. */
struct text_piece {
    int run, lo, hi;
    unsigned char level;
};
/* The pieces of a line that holds characters lo .. hi-1, from left to right; out: room for n_runs + 2. Blanks
 * at the end of the line stand at its end whatever surrounds them. */
int text_line(const struct text_set *t, int lo, int hi, struct text_piece *out);

/* Place a piece from x on: gx[g] for each of its glyphs, cx[i] and cw[i] the extent of each character (by
 * index into t->glyph and t->ch; any may be NULL). before, after: room beside a character, in the direction
 * of reading, or NULL. size: units of an em. Returns where the next piece begins. */
double text_place(const struct text_set *t, const struct text_piece *p, double size, double x,
                  const float *before, const float *after, double *gx, double *cx, double *cw);
/* Width of the whole as one line, in ems. */
double text_width(const struct text_set *t);
/* May a line end before character i: at a blank, or between ideographs? */
bool text_may_break(const struct text_set *t, int i);

/* The fontconfig pattern to make a face from; the caller destroys it. NULL when out of memory. */
struct _FcPattern *text_pattern(int style, int font);

/* The file a font is in; false when there is none. */
bool text_font_file(int style, int font, char *buf, size_t cap);

/* Decode one character of valid or broken UTF-8, end exclusive; broken bytes give U+FFFD. */
char32_t text_next(const char **s, const char *end);
int text_put(char *out, char32_t c); /* encode; returns 1 to 4 bytes */
/* Does any font of this style have it? */
bool text_has(int style, char32_t c);
#endif
