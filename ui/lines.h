/* Small pictures made of characters: bars, sparklines, line plots.
 *
 * Functions fill arrays of code points and know nothing of cells, colours or positions: a view puts the
 * characters where it wants them. Three glyph tiers: eighth blocks and braille, plain shades, ASCII. */
#ifndef UI_LINES_H
#define UI_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <uchar.h>

/* A horizontal bar of `w` characters filled to share f; ascii: '#' and '.'. */
void ui_bar(double f, int w, bool ascii, char32_t *out);
/* Ten heights in ASCII (" .:-=+*#%@"), eight eighth blocks otherwise; NAN is a space. v in 0..1. */
char32_t ui_spark_glyph(double v, bool ascii);
/* Values pooled (max) to w characters. */
void ui_spark(const float *v, int n, int w, bool ascii, char32_t *out);
/* Shade of t in 0..1: five shades or ten ASCII steps; NAN is a space. */
char32_t ui_shade_glyph(double t, bool ascii);

/* A line through v[0..n-1] (NAN breaks it) in w x h characters, values lo..hi from bottom to top. Braille
 * has 2w x 4h dots; ascii draws one '*' per column. Empty braille cells are U+2800. out [h][w]. */
void ui_plot(const float *v, int n, double lo, double hi, int w, int h, bool ascii, char32_t *out);

/* Quadrants UL 1, UR 2, LL 4, LR 8: 0..15 -> block character. */
char32_t ui_quadrant(int bits);
#endif
