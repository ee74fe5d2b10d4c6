/* What the views show, computed from a trace in a worker.
 *
 * Each function reads a trace (safe from any thread), looks at cancel often and returns one malloc'ed block
 * that nothing changes afterwards, or NULL when it was cancelled, when memory ran out or when the trace does
 * not hold what was asked for yet. free() releases a result. Views draw from results only, so key presses
 * never wait for arithmetic. Nothing here knows of cells. */
#ifndef UI_VDATA_H
#define UI_VDATA_H

#include "textlay.h"

#include <saccade/trace.h>

/* ---- heads ---- */
enum ui_metric { UI_M_MASS, UI_M_SET, UI_M_REGRET, UI_M_ENTROPY, UI_M_SINK, UI_M_LOCAL, UI_M_GOLD,
                 UI_M_SPARSITY, UI_M_ERROR, UI_N_METRICS };
struct ui_metric_info {
    const char *name, *title, *help;   /* name: in commands and filters */
    double lo, hi;                     /* range of the colour scale */
    int good;                          /* +1 high is good, -1 low is good, 0 neither: decides "worst first" */
};
extern const struct ui_metric_info ui_metric_info[UI_N_METRICS];
int ui_metric_find(const char *name);  /* -1: none */

struct ui_head { struct sac_recall r; struct sac_density d; bool known; };
struct ui_heads {
    int n_layers, n_heads, n_kv_heads;
    int n_known;                       /* heads measured so far */
    bool decode;                       /* answer rows; otherwise a sample of prefill rows */
    struct ui_head head[];             /* [n_layers][n_heads] */
};
struct ui_heads *ui_heads_compute(struct sac_trace *t, int lane, const atomic_bool *cancel);
double ui_head_metric(const struct ui_head *h, enum ui_metric m);   /* NAN: not measured or undefined */
/* "retrieval-like", "sink", "local", "broad", "mixed": a rule of thumb from the measures. */
const char *ui_head_pattern(const struct ui_head *h);
/* Up to n heads whose measures are nearest to `of` (index), nearest first, itself left out. */
int ui_heads_similar(const struct ui_heads *hs, int of, int n, int *out);
/* Order heads: by layer, or worst first in metric m, those that match filter only ("" all). order gets the
 * indices; returns how many; on a mistake in the filter -1 and a sentence in err. */
int ui_heads_order(const struct ui_heads *hs, enum ui_metric m, bool worst_first, const char *filter,
                   int *order, char *err, size_t cap);
/* True when a filter can be read; otherwise a sentence in err. */
bool ui_heads_filter_ok(const char *filter, char *err, size_t cap);
/* Mean, median, worst head and heads past the alarm line of a metric. */
struct ui_heads_sum { int n, worst, n_bad; double mean, median, worst_value, bad_line; };
struct ui_heads_sum ui_heads_summary(const struct ui_heads *hs, enum ui_metric m);

/* ---- one row ---- */
enum { UI_KEY_KEPT = 1, UI_KEY_FORCED = 2, UI_KEY_GOLD = 4 };
enum { UI_ROW_TOP = 128 };
struct ui_row {
    int lane, layer, head, row;        /* head -1-g: mean of KV group g, kept when any of its heads keeps */
    int n_keys, n_kept, n_forced, n_requested;
    int h0, n_heads; /* the query heads it stands for: one, or those of the group */
    bool have_recall, have_rows;
    bool shared;         /* all of them read the same keys */
    struct sac_recall r; /* of the head; of a group the mean over its heads */
    double mass_low;     /* mass recall of the head of the group that has least, */
    int low_head;        /* and which one that is */
    int n_top;
    struct sac_top top[UI_ROW_TOP];
    float *w;                          /* [n_keys] exact dense weights */
    unsigned char *flag;               /* [n_keys] UI_KEY_ bits */
    unsigned char *readers;            /* [n_keys] heads that read it */
};
struct ui_row *ui_row_compute(struct sac_trace *t, int lane, int layer, int head, int row,
                              const atomic_bool *cancel);
int ui_row_rank(const struct ui_row *r, int key);       /* 1: the largest weight */

/* ---- why a key is read or not ---- */
enum { UI_WHY_BUDGETS = 5, UI_WHY_HEADS = 16 };
struct ui_key_why {
    int lane, layer, row, key;
    int head; /* the head that is spoken of: of a group the one with the largest weight on the key */
    /* Of a group: its heads, at most UI_WHY_HEADS of them, their weight on the key and whether each reads it.
     */
    int h0, n_heads;
    float weight[UI_WHY_HEADS];
    bool head_reads[UI_WHY_HEADS];
    bool shared;                     /* the heads of the group read the same keys */
    bool acts;                       /* the method leaves something out at this row */
    bool read;
    int keys; /* keys read */
    /* The smallest budget that reads the key: keys it reads, as a multiple of the present one, in words; 0
     * when none was found. */
    int keys_needed;
    double factor_needed;
    char spec_needed[200];
    int n_budgets;
    struct {
        double factor;
        int keys;
        float mass;
        bool read;
    } budget[UI_WHY_BUDGETS];
};
struct ui_key_why *ui_key_why_compute(struct sac_trace *t, int lane, int layer, int head, int row, int key,
                                      const atomic_bool *cancel);

/* ---- where to look first ---- */
struct ui_focus {
    int layer, head, row, key;
    bool lost; /* where the answer went wrong and most gold is not read; else where most gold is read. Without
                  gold: where most is left out */
};
/* NULL: no answer yet, no head that reads gold, or, where nothing is known to be gold, none that leaves
 * anything out. */
struct ui_focus *ui_focus_compute(struct sac_trace *t, int lane, const atomic_bool *cancel);

/* ---- tiles ---- */
struct ui_tile { struct sac_tile t; float v[]; };       /* value, kept, missed behind each other */
struct ui_tile *ui_tile_compute(struct sac_trace *t, const struct sac_tile *want, const atomic_bool *cancel);
/* The same picture from the overview of the run, at once: approximate. NULL when there is none. */
struct ui_tile *ui_tile_overview(struct sac_trace *t, const struct sac_tile *want);

/* ---- recall along the queries ---- */
/* n rows evenly over q0..q1-1. Of a group: the mean over its heads, and low the least of them; of one head
 * low is NULL. */
struct ui_along {
    int lane, layer, head, q0, q1, n, n_heads;
    const float *low;
    float mass[];
};
int ui_along_row(const struct ui_along *a, int i);
struct ui_along *ui_along_compute(struct sac_trace *t, int lane, int layer, int head, int q0, int q1, int n,
                                  const atomic_bool *cancel);

/* ---- text ---- */
struct ui_text {
    int lane, n, n_prompt;             /* n: prompt and generated tokens */
    struct ui_tok *tok;                /* [n] */
    int *at;                           /* [n + 1] offsets into bytes */
    char *bytes;                       /* display text: valid UTF-8, line breaks as U+21B5 */
};
struct ui_text *ui_text_compute(struct sac_trace *t, int lane, const atomic_bool *cancel);
/* Display form of token text: control characters made visible. Returns bytes written (no terminator needed).
 */
int ui_text_visible(const char *s, int len, char *out, int cap);
/* Tokens as labels (tokens.c). The letters that begin in a token, whole, at most cap bytes; returns how many.
 * rest: none begins in it, and these are its own bytes. */
int ui_token_letters(const struct sac_trace *t, int lane, int pos, char *buf, int cap, bool *rest);
/* The same as display text; of a token that holds only later bytes of a letter "·8F", and true. */
bool ui_token_name(const struct sac_trace *t, int lane, int pos, char *buf, size_t cap);
/* The `k` stretches of `size` keys with the largest sums, disjoint, best first. Returns how many. */
struct ui_stretch { int lo, hi; double sum; };
int ui_stretches(const float *w, int n, int size, int k, struct ui_stretch *out);
/* Sum, and share of keys with a flag bit, per bin of the keys 0..n-1. */
void ui_bin_sums(const float *w, int n, int bins, float *out);
void ui_bin_flags(const unsigned char *flag, unsigned char bit, int n, int bins, float *out);
/* Attention of one row in every layer, mean over heads, mass per bin: [n_layers][bins]. */
struct ui_strips { int lane, row, n_layers, bins; float v[]; };
struct ui_strips *ui_strips_compute(struct sac_trace *t, int lane, int row, int bins,
                                    const atomic_bool *cancel);

/* ---- pages ---- */
enum { UI_PAGE_FORCED = 1, UI_PAGE_CHOSEN = 2, UI_PAGE_PART = 4, UI_PAGE_DENSE_TOP = 8, UI_PAGE_GOLD = 16 };
struct ui_pages {
    int lane, step, row;
    int page, n_pages, n_pairs, n_kv_heads, n_steps; /* page: tokens of a column; n_steps: steps looked at */
    int own_page;                      /* page size of the method, 1 token methods, 0 reads all */
    unsigned char *state;              /* [n_pairs][n_pages] UI_PAGE_ bits at this step */
    float *mass;                       /* [n_pairs][n_pages] dense mass, mean over the group's heads */
    unsigned short *count, *first; /* [n_pairs][n_pages] steps that kept it, first of them + 1 (0: none) */
    float *recall;                     /* [n_pairs] mass of what is read */
    int *n_kept;                       /* [n_pairs] keys read */
    int *kept_cache;                   /* [n_pairs] keys in the cache after prefill, -1 all */
};
/* all_steps: fill count and first for steps 0..step too. */
struct ui_pages *ui_pages_compute(struct sac_trace *t, int lane, int step, bool all_steps,
                                  const atomic_bool *cancel);
/* One page of one pair over the steps, and why it was left out: Quest's bound recomputed from q and k. */
struct ui_page_steps {
    int lane, layer, kv_head, page, size, n;
    double bound, cut, best; /* at `step`: upper bound, lowest bound kept, true best key; NAN unknown */
    int bound_rank, best_rank, n_pages, n_sel;
    struct { short rank; bool kept, dense_top; float mass; } step[];
};
struct ui_page_steps *ui_page_steps_compute(struct sac_trace *t, int lane, int layer, int kv_head, int page,
                                            int size, int step, const atomic_bool *cancel);
#endif
