/* The drawing surface of figures: rectangles, lines and text in page units, on an image, SVG or PDF.
 *
 * Cairo is known to figure_canvas.c alone, fonts to figure_text.c. A canvas measures text before it has a
 * size, so a figure lays itself out first, calls canvas_page once and then draws. Failures are sticky:
 * drawing on a canvas that failed does nothing, and canvas_finish reports it. */
#ifndef UI_FIGURE_CANVAS_H
#define UI_FIGURE_CANVAS_H

#include "figure.h"
#include "figure_text.h"

struct canvas;

/* Colours of the page. */
struct figure_theme { uint32_t page, pane, fg, muted, rule, grid, accent, warn, gold; };
const struct figure_theme *figure_theme(bool dark);

struct canvas *canvas_new(enum figure_format f, const struct figure_style *s);
void canvas_free(struct canvas *c);
void canvas_page(struct canvas *c, double w, double h);
/* Ends the page; the bytes with the texts of meta inside. Does not free c. */
enum sac_code canvas_finish(struct canvas *c, const struct figure_meta *meta, struct figure_bytes *out,
                            struct sac_err *err);

const struct figure_theme *canvas_theme(const struct canvas *c);
double canvas_px(const struct canvas *c);               /* one device pixel in units */
bool canvas_vector(const struct canvas *c);             /* SVG or PDF */
double canvas_snap(const struct canvas *c, double v);   /* to the nearest device pixel */

void canvas_fill(struct canvas *c, double x, double y, double w, double h, uint32_t rgb);  /* pixel-aligned */
void canvas_shade(struct canvas *c, double x, double y, double w, double h, uint32_t rgb, double alpha);
void canvas_frame(struct canvas *c, double x, double y, double w, double h, double line, uint32_t rgb);
void canvas_line(struct canvas *c, double x0, double y0, double x1, double y1, double width, uint32_t rgb);
void canvas_poly(struct canvas *c, const double *xy, int n, double width, uint32_t rgb, bool dashed);
void canvas_dot(struct canvas *c, double x, double y, double r, int shape, uint32_t rgb);  /* 0..5 shapes */
void canvas_hatch(struct canvas *c, double x, double y, double w, double h, uint32_t rgb);
/* Rows of coloured cells, [h][w]; runs of one colour become one rectangle. FIGURE_EMPTY is left as it is. */
void canvas_cells(struct canvas *c, double x, double y, double cw, double ch, int w, int h,
                  const uint32_t *cell);
void canvas_clip(struct canvas *c, double x, double y, double w, double h);
void canvas_unclip(struct canvas *c);

enum { CT_LEFT = 0, CT_CENTER = 1, CT_RIGHT = 2, CT_BOLD = 4, CT_MONO = 8, CT_ITALIC = 16 };
/* Baseline at y. Returns the width. Characters no font has are drawn as their code point. */
double canvas_text(struct canvas *c, double x, double y, double size, int flags, uint32_t rgb, const char *s);
/* Rotated by `degrees` counter-clockwise around (x, y). */
void canvas_text_rot(struct canvas *c, double x, double y, double size, int flags, uint32_t rgb,
                     double degrees, const char *s);
double canvas_text_width(struct canvas *c, double size, int flags, const char *s);
/* One character of a terminal cell with its marks, fitted into w units. */
void canvas_glyph(struct canvas *c, double x, double y, double size, int flags, uint32_t rgb, double w,
                  const char32_t *ch, int n);
/* Characters lo .. hi-1 of a piece of text that was set before; gx: where text_place put its glyphs. */
void canvas_piece(struct canvas *c, const struct text_set *t, const struct text_piece *p, int lo, int hi,
                  const double *gx, double y, double size, uint32_t rgb);
/* The same from x on, narrowed or widened by `scale`; gx from a place at 0. */
void canvas_fit(struct canvas *c, const struct text_set *t, const struct text_piece *p, int lo, int hi,
                const double *gx, double x, double y, double size, double scale, uint32_t rgb);
/* Wrapped lines from the first baseline on; draw false only measures. Returns the number of lines. */
int canvas_wrap(struct canvas *c, double x, double y, double width, double size, double line, int flags,
                uint32_t rgb, const char *s, bool draw);

/* ---- shared furniture (figure.c) ---- */
enum { FG_TITLE = 17, FG_SUB = 11, FG_LABEL = 11, FG_TICK = 10, FG_CAPTION = 10 };   /* text sizes, units */
double figure_head_height(struct canvas *c, const struct figure_text *t, double width);
double figure_head_draw(struct canvas *c, const struct figure_text *t, double x, double y, double width);
double figure_foot_height(struct canvas *c, const struct figure_text *t, double width);
void figure_foot_draw(struct canvas *c, const struct figure_text *t, double x, double y, double width);
double figure_keys_height(struct canvas *c, const struct figure_key *k, int n, double width);
void figure_keys_draw(struct canvas *c, const struct figure_key *k, int n, double x, double y, double width);
double figure_scale_width(struct canvas *c, const struct figure_scale *s);
void figure_scale_draw(struct canvas *c, const struct figure_scale *s, double x, double y, double h);
uint32_t figure_contrast(uint32_t bg);                       /* black or white, by luminance */

/* ---- figure_png.c ---- */
enum sac_code png_encode(const uint32_t *xrgb, int stride, int w, int h, const struct figure_meta *meta,
                         struct figure_bytes *out, struct sac_err *err);
#endif
