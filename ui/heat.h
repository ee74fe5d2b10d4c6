/* From attention values to pictures: bins, pooling, scales, ranges, axes.
 *
 * Nothing here knows of cells or terminals: the screens, the PNG and the SVG all turn a value into a number t
 * in 0..1 with the same functions, so a figure shows what the screen showed. NAN stands for "no causal pair
 * here" and stays NAN through every step. Drawing on cells is in heat_draw.h. */
#ifndef UI_HEAT_H
#define UI_HEAT_H

#include <saccade/trace.h>

/* ---- bins: pixel i of p covers i*n/p .. (i+1)*n/p-1; when p > n several pixels show one value ---- */
int ui_bin_lo(int i, int n, int p);
int ui_bin_hi(int i, int n, int p);      /* at least ui_bin_lo + 1 */
int ui_bin_of(int x, int n, int p);      /* the first pixel that shows value x */

/* ---- scales ---- */
enum ui_scale { UI_SCALE_LOG, UI_SCALE_LIFT, UI_SCALE_ROOT, UI_SCALE_LINEAR, UI_SCALE_RANK, UI_N_SCALES };
extern const char *const ui_scale_name[UI_N_SCALES];
extern const char *const ui_pool_name[SAC_N_POOLS];
extern const char *const ui_sinks_name[3];
/* By name; -1 when there is none. */
int ui_scale_find(const char *name);

/* How values become t. log: lo, hi are decades (-5, 0). root, linear: t reaches 1 at hi. lift: 0.5 is the
 * uniform weight 1/n, ends at 4096 times and 1/4096 of it. rank: of a value among those visible. */
struct ui_heat {
    enum ui_scale scale;
    double lo, hi;
};
struct ui_heat ui_heat_default(enum ui_scale scale);
/* n_keys: keys visible to the row of v, for lift and rank. NAN gives NAN. */
double ui_heat_t(const struct ui_heat *h, double v, double n_keys);
/* Signed difference in -1..1 of range; drawn with a diverging map. */
double ui_heat_diff_t(double d, double range);
/* Level of t in 0 .. levels-1: floor(t (levels-1) + 0.5). NAN gives -1. */
int ui_heat_level(double t, int levels);
/* The p-th percentile (0..100) of the finite values, 0 when there are none. */
double ui_percentile(const float *v, size_t n, double p);
/* Fill range from the visible window (":range auto"): the 99.5th percentile; log keeps five decades. */
void ui_heat_auto(struct ui_heat *h, const float *v, size_t n);
/* Log only: from the lower to the upper values of the window, in half decades and at least one and a half of
 * them: for a handful of shades. */
void ui_heat_stretch(struct ui_heat *h, const float *v, size_t n);
/* Half range of a difference map: 99.5th percentile of |d|, at least 1e-4. */
double ui_diff_range(const float *d, size_t n);
/* "log10 [1e-5, 1]", "lift 1/4096..4096", "linear 0..0.31": for titles and captions. */
int ui_heat_label(const struct ui_heat *h, char *buf, size_t cap);

/* Ranks of a whole tile for UI_SCALE_RANK: out[i] = share of the row's finite values that are smaller. */
void ui_heat_ranks(const float *v, int h, int w, float *out);

/* ---- pooling of grids (overview -> screen), NAN ignored ---- */
struct ui_grid { int h, w; const float *v; };    /* [h][w] */
/* Pixels y0..y1 x x0..x1 of `in` (fractions of the grid) pooled or spread to oh x ow. */
void ui_grid_resample(const struct ui_grid *in, double y0, double y1, double x0, double x1,
                      enum sac_pooling pool, float *out, int oh, int ow);

/* ---- axes ---- */
struct ui_tick { int at; char label[12]; };      /* at: value on the axis */
/* Ticks at 1, 2, 5 times a power of ten for values lo..hi-1, at most max; "1k" is 1,000, "1.2k" 1,200. */
int ui_ticks(int lo, int hi, int max, struct ui_tick *out);
/* "0", "950", "1.2k", "16k": a position in at most 5 characters. */
int ui_pos_label(int v, char *buf, size_t cap);

/* Numbers as the screens print them. */
int ui_fmt_weight(double v, char *buf, size_t cap);   /* "0.1834", "2.1e-5", "0" */
int ui_fmt_share(double v, char *buf, size_t cap);    /* "0.41", "1.00", "-" for NAN */
int ui_fmt_lift(double v, char *buf, size_t cap);     /* "1420", "0.3", "12" */
#endif
