/* Rows of one head pooled over keys, a strip of rows at a time: what map tiles and overviews are made of.
 *
 * A strip is up to 64 rows, side by side in vectors: keys pass by one after another, and a column's largest
 * score and sum of exponentials are kept for each row apart. So nothing as long as a row is ever stored, no
 * sum crosses a vector, any key can be left out, and queries alone have to be packed. Weights are exponentials
 * over a shift: the row's log-sum-exp where it is known, else a score near the largest so far. When a strip
 * ends the rows' sums are known, and `scale` turns pooled exponentials into weights. */
#ifndef TRACE_POOLED_H
#define TRACE_POOLED_H

#include "trace/trace_int.h"

#include "kernels.h"
#include <math.h>

enum { POOLED_ROWS = 64, POOLED_STRETCH = 96 };

struct pooled {
    /* set before pooled_open */
    const struct sac_trace *t;
    const struct layer_rec *r;
    int lane, layer;
    int k0, k1, columns;        /* keys k0 .. k1-1 in at most k1-k0 columns: floor(i*N/P) .. */
    enum sac_sinks sinks;
    bool sparse;                /* weights over the keys read alone */
    bool lost;                  /* also the weight that is not read, and how many keys are */
    bool sums, tops;            /* which of the two are wanted */
    const uint16_t *coarse;     /* keys of all KV heads by pooled_coarse, or NULL: f32 as recorded */

    /* a strip, after pooled_rows; of column c in row r of it at (c + 2) * POOLED_ROWS + r: */
    int row0, rows;
    float *scale;               /* [POOLED_ROWS]: weight = scale * exponential */
    float *sum, *top;           /* exponentials added up; the largest weight */
    float *miss, *kept;         /* those of keys not read; keys read by some rows alone */
    int *kept_all;              /* [slots] keys that every row reads */
    bool listed;                /* false: every row reads all keys it sees; the last three are not there */

    int slots, *bound;          /* slot s ends before key bound[s]; 0: hidden sinks, 1 and last: outside */
    int lanes, used;            /* rows rounded up to whole vectors; slots touched */
    bool fixed, known;          /* the shift need not be looked after; it is the exact log-sum-exp */
    float *shift;               /* [POOLED_ROWS] in units of log2 */
    void *panel;                /* packed queries */
    uint16_t *gather;           /* keys of a stretch that do not lie together */
    float *few;                 /* 16 queries before they are packed */
    float *score;               /* [POOLED_STRETCH][POOLED_ROWS] */
    uint64_t *see;              /* [keys] bit r: row r of the strip reads the key */
    int see0;
    struct sac_rows one;        /* the keys of a generated row */
};

/* The prompt's keys in bf16, made once for all threads: for products of bf16 on whole tiles, where the CPU has them
 * and an error of half a percent does not matter. NULL: no such products, or out of memory. */
uint16_t *pooled_coarse(const struct sac_trace *t, const struct layer_rec *r);

bool pooled_open(struct pooled *p);       /* false: out of memory; close it all the same */
void pooled_close(struct pooled *p);
/* Rows row0 .. row0+rows-1 of a query head, as many as pooled_strip says at most. */
void pooled_rows(struct pooled *p, int head, int row0, int rows);
/* How many rows from row0 on, of at most `rows`, make a strip. */
int pooled_strip(const struct pooled *p, int head, int row0, int rows);

static inline size_t pooled_at(int column) { return ((size_t)column + 2) * POOLED_ROWS; }

/* The largest weight of rows a .. b-1 in a column, at least `top`. */
static inline float pooled_top(const struct pooled *p, int column, int a, int b, float top)
{
    return fmaxf(top, k_ops()->max(p->top + pooled_at(column) + a, b - a));
}
#endif
