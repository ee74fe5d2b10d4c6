/* What the files of the export share. */
#ifndef UI_EXPORT_INT_H
#define UI_EXPORT_INT_H

#include "export.h"
#include "vdata.h"

enum { SHOT_CELLS = 256, RAMP = 64 };
/* What happens to a key, one colour each in every view. */
#define SHOT_LOSS 0xd55e00u
#define SHOT_FORCED 0x56b4e9u
#define SHOT_CHOSEN 0xe69f00u
#define SHOT_GOLD 0xc79a00u

/* Everything a figure's texts need, read once. */
struct shot_ctx {
    struct sac_trace *t;
    const struct ui_shot *s;
    struct sac_trace_info info;
    struct sac_lane a, b;
    const atomic_bool *cancel;
    struct figure_style style;
    enum figure_format format;
    struct figure_meta meta;
    char title[480], subtitle[480], caption[3000];
    uint32_t ramp[RAMP];           /* of the colour map, turned so that low is near the page */
    double tick_t[12]; char tick_text[12][16]; const char *tick[12]; int n_ticks;
    char axis[48];
    bool cut_letters;              /* a label shows bytes of a letter */
};
/* Says in the subtitle what such labels are. */
void shot_cut_letters(struct shot_ctx *c);
void shot_ramp(struct shot_ctx *c);
void shot_ticks(struct shot_ctx *c, const struct ui_heat *h);
uint32_t shot_colour(const struct shot_ctx *c, double t);      /* NAN: FIGURE_EMPTY */
uint32_t shot_unread(const struct shot_ctx *c);                /* a cell that a method does not read */
void shot_scale(struct shot_ctx *c, struct figure_scale *out, const char *title);
void shot_caption(struct shot_ctx *c, const char *what);
/* "Quest", "dense", "Vertical-Slash + Quest" */
void shot_lane_title(const struct sac_lane *l, char *buf, size_t cap);
/* The same, with the settings where two lanes shown together are one method. */
void shot_lane_titles(const struct sac_lane *l, const struct sac_lane *other, char *buf, size_t cap);
void shot_head_title(const struct shot_ctx *c, char *buf, size_t cap);
const char *shot_source(const struct shot_ctx *c, char *buf, size_t cap); /* "niah sample 3 · 8,051 tokens" */
bool shot_stopped(const struct shot_ctx *c);
enum sac_code shot_failed(const struct shot_ctx *c, struct sac_err *err, const char *what);
struct ui_window shot_window(const struct shot_ctx *c, int lane);
/* Cells of a window: the same tokens per cell on both axes, unless it is so wide that rows get cells of their
 * own. */
bool shot_wide(int nq, int nk);
void shot_cells(int nq, int nk, int most, int *h, int *w);
int shot_row(const struct shot_ctx *c, int lane);              /* the query row looked at */

/* What one KV head read at every step: [n_steps][n_pages] states (UI_PAGE_ bits) and dense mass, in one
 * block. */
struct shot_timeline {
    int n_steps, n_pages, page, own_page;
    unsigned char *state;
    float *mass, *recall;
    bool *whole;                   /* [n_steps] every key was read: dense attention */
};
/* The colour of a cell of pages lo .. hi-1 (the page that matters most), of which the row has n_pages; whole:
 * the row reads everything. */
uint32_t shot_page_colour(const struct shot_ctx *c, const unsigned char *state, int lo, int hi, int n_pages,
                          bool whole);
/* "page (16 tokens each)": the title of an axis over pages, kept in c. */
const char *shot_page_axis(struct shot_ctx *c, int own_page, int tokens);
/* The legend of pages: at most 7 keys. */
int shot_page_keys(const struct shot_ctx *c, bool whole, bool later, struct figure_key *k);
struct shot_timeline *shot_timeline_compute(struct shot_ctx *c);

enum sac_code shot_map(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err);
enum sac_code shot_compare(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err);
enum sac_code shot_heads(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err);
enum sac_code shot_thumbs(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err);
enum sac_code shot_pages(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err);
enum sac_code shot_text(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err);
enum sac_code shot_timeline(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err);
enum sac_code shot_recall(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err);
#endif
