/* Heat maps, rulers, strips and scales on cells.
 *
 * A picture is an array of t values that heat.h made from attention; here they become half blocks (two pixels
 * a cell) in 24-bit and 256 colours, or shades and ASCII steps (one pixel a cell) below. Marks never hide a
 * value by a glyph, except in mono, and never speak by colour alone. */
#ifndef UI_HEAT_DRAW_H
#define UI_HEAT_DRAW_H

#include "app.h"

/* Pixel rows in a line of cells: 2 with half blocks, 1 with shades. */
int ui_pic_rows(const struct ui_look *l);

struct ui_pic {
    int w, h;                        /* pixels; h a multiple of ui_pic_rows */
    const float *t;                  /* [h][w] 0..1, diff: -1..1, NAN: empty */
    bool diff;
    bool lift;                       /* t 0.5 is uniform: diverging colours */
    const float *kept, *missed;      /* [h][w] or NULL: see struct sac_tile */
    enum ui_overlay overlay;
    double block_px;                 /* pixels of a block side: outlines from 3 on */
    int cx, cy;                      /* cursor pixel, -1 none */
    int sx, sy;                      /* other corner of a selection, -1 none */
    bool cross;                      /* faint lines through the cursor */
    bool frame; /* the selection is a window to be shown as [ ] where colours are missing */
};
void ui_pic_draw(const struct ui_look *l, struct cell_buf *b, int x, int y, const struct ui_pic *p);

/* Tile values as t of the scale; q0, q1: rows of the tile, for lift. out [h][w]. */
void ui_pic_scale(const struct ui_heat *heat, const float *v, int h, int w, int q0, int q1, float *out);

/* Key ruler over w columns that show lo..hi-1; mark: position with a pointer, -1 none. */
void ui_ruler(const struct ui_look *l, struct cell_buf *b, int x, int y, int w, int lo, int hi, int mark);
/* Query labels down `lines` lines, right-aligned in `cols`. */
void ui_ruler_down(const struct ui_look *l, struct cell_buf *b, int x, int y, int cols, int lines, int lo,
                   int hi, int mark);
/* One line of values t in 0..1 as map colours (lift: diverging), or shades. */
void ui_strip(const struct ui_look *l, struct cell_buf *b, int x, int y, int w, const float *t, bool lift);
/* One line of spark heights in a role's colour. */
void ui_spark_line(const struct ui_look *l, struct cell_buf *b, int x, int y, int w, const float *v, int n,
                   enum ui_role role);
/* '^' under each column that holds gold; item numbers where there is room. keys lo..hi-1. */
void ui_gold_line(const struct ui_look *l, struct cell_buf *b, int x, int y, int w, int lo, int hi,
                  const struct sac_trace_info *info);
/* A vertical colour scale with labels of the heat; returns lines used. */
int ui_scale_legend(const struct ui_look *l, struct cell_buf *b, int x, int y, int h,
                    const struct ui_heat *heat);
/* A line plot with 0..1 at the left. Values in 0..1, NAN breaks. */
void ui_plot_draw(const struct ui_look *l, struct cell_buf *b, struct ui_rect r, const float *v, int n,
                  double lo, double hi, enum ui_role role);
#endif
