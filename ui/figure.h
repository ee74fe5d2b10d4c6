/* Figures for papers, slides and snapshots: one drawing path, three formats.
 *
 * A figure is described by plain data (cells as colours, ticks as strings, text already composed), drawn once
 * through Cairo onto an image, SVG or PDF surface, and handed back as bytes with the recipe inside. Nothing
 * here knows of traces: export.h turns a trace and a view into these structs.
 *
 * Lengths are units of the page; `scale` device pixels make one unit in a PNG. Matrix cells are filled
 * rectangles aligned to whole pixels, never a smoothed bitmap; in SVG and PDF neighbouring cells of one
 * colour are one rectangle. The same description gives the same bytes on the same version. */
#ifndef UI_FIGURE_H
#define UI_FIGURE_H

#include <saccade/err.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uchar.h>

enum figure_format { FIGURE_PNG, FIGURE_SVG, FIGURE_PDF };
/* From the ending of a file name; false when it is none of .png .svg .pdf. */
bool figure_format_of(const char *path, enum figure_format *out);

/* What the file says about itself. Strings may be NULL; UTF-8. */
struct figure_meta {
    const char *title, *description;   /* one human line each */
    const char *comment;               /* JSON: everything needed to make the picture again */
    const char *command;               /* the command line that makes it */
    const char *prompt;                /* a prompt that no task makes; NULL otherwise */
};

struct figure_style {
    bool dark;
    double scale;        /* device pixels per unit of a PNG; 0: 2 */
    double width;        /* units; 0: what the figure likes */
};

struct figure_bytes { unsigned char *data; size_t n; };   /* malloc'ed */
void figure_bytes_free(struct figure_bytes *b);

#define FIGURE_EMPTY 0xff000000u    /* a cell that shows the pane's background: no causal pair there */
#define FIGURE_RGB(r, g, b) (((uint32_t)(r) << 16) | ((uint32_t)(g) << 8) | (uint32_t)(b))

/* Title, the line under it, and the caption at the foot; NULL or "": left out. */
struct figure_text { const char *title, *subtitle, *caption; };

/* Legend entries. Every mark differs by shape as well as by colour. */
enum figure_mark { FIGURE_SWATCH, FIGURE_BAR, FIGURE_OUTLINE, FIGURE_TICK, FIGURE_UNDERLINE, FIGURE_BRACKET,
                   FIGURE_LINE, FIGURE_HATCH };
struct figure_key { enum figure_mark mark; uint32_t rgb; const char *label; };

/* A colour scale beside the pane. */
struct figure_scale {
    const char *title;                 /* NULL: no colour bar */
    int n_colours; const uint32_t *colour;      /* low to high */
    int n_ticks; const double *tick_t; const char *const *tick;   /* t in 0..1 */
};

/* An axis over lo .. hi-1 (tokens, pages, layers ...). labels: one string per value, shown when there is room
 * for each; otherwise numbered ticks. */
struct figure_axis {
    int lo, hi;
    const char *title;
    const char *const *label;          /* [hi - lo] or NULL */
    bool plain;                        /* numbers as they are, no "1.2k" */
    const char *number_title;          /* the title where labels have no room, NULL: the same */
    bool numbered;                     /* labels are followed by their value */
};

/* A narrow band of w cells along the key axis, below the pane. height[i] in 0..1 draws bars (split: the lower
 * part of the bar in rgb2); NULL draws filled cells of `cell`. */
struct figure_strip {
    const char *label;
    const uint32_t *cell;              /* [w] or NULL */
    const float *height, *lower;       /* [w] or NULL */
    uint32_t rgb, rgb2;
};

/* In cells of the pane. Without fill the outline; a rectangle without width or height is a line. */
struct figure_rect { double x0, y0, x1, y1; uint32_t rgb; bool fill; };

struct figure_pane {
    const char *title;                 /* above the pane, NULL: none */
    int h, w;
    const uint32_t *cell;              /* [h][w] 0xRRGGBB or FIGURE_EMPTY */
    struct figure_axis y, x;
    int n_strips; const struct figure_strip *strip;
    int n_rects; const struct figure_rect *rect;        /* outlines over the cells */
    const float *side;                 /* [h] in 0..1 drawn as bars at the right, NULL: none */
    const char *side_title;
    bool free_aspect;                  /* cells need not be square (pages, timelines) */
};

/* One or more panes side by side with shared scale and legend: map, compare, difference, pages. */
struct figure_map {
    struct figure_text text;
    int n_panes; const struct figure_pane *pane;
    struct figure_scale scale, scale2; /* a second bar where a pane has a scale of its own */
    int n_keys; const struct figure_key *key;
    double pane_size;                  /* units of the pane's width; 0: chosen */
};

/* Layers x heads: one coloured cell with a number each, or one thumbnail each. */
struct figure_grid {
    struct figure_text text;
    int rows, cols, group;             /* group > 1: columns are bracketed in KV groups of this size */
    const char *const *row_label, *const *col_label, *const *group_label;
    const uint32_t *cell;              /* [rows][cols] */
    const char *const *cell_text;      /* [rows][cols] or NULL */
    const uint32_t *const *thumb; int thumb_px;   /* [rows][cols] pictures of [thumb_px][thumb_px], or NULL */
    struct figure_scale scale;
    int n_keys; const struct figure_key *key;
};

/* Lines, points and bars. */
enum figure_plot_kind { FIGURE_PLOT_LINES, FIGURE_PLOT_POINTS, FIGURE_PLOT_BARS };
struct figure_series {
    const char *name;
    int n;
    const double *x, *y;               /* x NULL: 0, 1, ...; NAN breaks a line */
    const double *err_lo, *err_hi;     /* absolute ends of error bars, or NULL */
    uint32_t rgb;                      /* 0: the next colour of the palette */
    bool dashed, no_marks, wide;       /* wide: a pale band under the other lines */
    enum figure_plot_kind kind;
};
struct figure_plot {
    struct figure_text text;
    const char *x_title, *y_title;
    bool x_log, y_log;
    double x_lo, x_hi, y_lo, y_hi;     /* lo == hi: from the data */
    int n_series; const struct figure_series *series;
    int n_ticks; const char *const *x_tick;    /* bars and categories: names of x = 0, 1, ... */
    int n_at;
    const double *x_at; /* where x has ticks; 0: chosen */
    int n_hlines; const double *hline; const char *const *hline_label;
    double height;                     /* units of the plot area; 0: chosen */
};

/* Flowing text with shading. */
struct figure_token {
    const char *text;                  /* display form; "" allowed */
    uint32_t bg;                       /* FIGURE_EMPTY: none */
    bool kept, gold, missed, newline, generated, query;
    bool fold;                         /* a line of its own: text says what is left out */
};
struct figure_prose {
    struct figure_text text;
    int n; const struct figure_token *token;
    struct figure_scale scale;
    int n_keys; const struct figure_key *key;
};

/* A terminal screen. Block, shade, box and braille characters are drawn by rule so that they join. */
enum { FIGURE_BOLD = 1, FIGURE_ITALIC = 2, FIGURE_UNDERLINED = 4, FIGURE_REVERSE = 8, FIGURE_DIM = 16 };
struct figure_cell { char32_t ch; uint32_t fg, bg; uint16_t attr; };   /* ch 0: right half of a wide one */
struct figure_screen {
    int w, h;
    const struct figure_cell *cell;    /* [h][w] */
    const char32_t (*mark)[4];         /* [h][w] marks that combine with ch, 0 ends them; NULL: none */
};

/* Draw. The description is only read. SAC_ENOMEM when the picture does not fit in memory, SAC_EARG when it
 * has no area or is larger than 32767 pixels a side. */
enum sac_code figure_draw_map(const struct figure_map *m, const struct figure_style *s, enum figure_format f,
                              const struct figure_meta *meta, struct figure_bytes *out, struct sac_err *err);
enum sac_code figure_draw_grid(const struct figure_grid *g, const struct figure_style *s,
                               enum figure_format f, const struct figure_meta *meta, struct figure_bytes *out,
                               struct sac_err *err);
enum sac_code figure_draw_plot(const struct figure_plot *p, const struct figure_style *s,
                               enum figure_format f, const struct figure_meta *meta, struct figure_bytes *out,
                               struct sac_err *err);
enum sac_code figure_draw_prose(const struct figure_prose *p, const struct figure_style *s,
                                enum figure_format f, const struct figure_meta *meta,
                                struct figure_bytes *out, struct sac_err *err);
enum sac_code figure_draw_screen(const struct figure_screen *p, const struct figure_style *s,
                                 enum figure_format f, const struct figure_meta *meta,
                                 struct figure_bytes *out, struct sac_err *err);

/* Okabe-Ito colours in the order series take them. */
uint32_t figure_colour(int i);
/* The background of a pane and of the page: what dimmed cells fade to. */
uint32_t figure_theme_pane(bool dark);
uint32_t figure_theme_page(bool dark);
uint32_t figure_blend(uint32_t a, uint32_t b, double t);     /* a at t = 0, b at t = 1 */

/* ---- PNG files ---- */
/* The text chunks of a PNG made here (or any other). Strings malloc'ed into one block; NULL where absent. */
struct figure_png_text { char *title, *software, *description, *comment, *command, *prompt; };
enum sac_code figure_png_read(const char *path, struct figure_png_text *out, struct sac_err *err);
void figure_png_text_free(struct figure_png_text *t);
/* Frames of equal size, PNG bytes each, into one animated PNG shown `ms` milliseconds a frame. */
enum sac_code figure_apng(const struct figure_bytes *frame, int n, int ms, struct figure_bytes *out,
                          struct sac_err *err);

/* ---- writing files ---- */
/* Write to a temporary name in the same folder, sync, rename. An existing file is refused unless force. path
 * "-" is standard output. */
enum sac_code figure_write(const char *path, const void *data, size_t n, bool force, struct sac_err *err);
/* base + ext, or base-2, base-3 ... + ext: a name that is free. */
void figure_free_name(const char *base, const char *ext, char *buf, size_t cap);
#endif
