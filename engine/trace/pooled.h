/* Rows of one head pooled over keys, a block of rows at a time: what map tiles and overviews are made of.
 *
 * Keys are pooled into columns as they are scored, stretch by stretch, so nothing as long as a row is ever
 * stored. Weights are exponentials over a shift: the row's log-sum-exp where it is known, else the largest
 * score so far. When a row ends its sum is known, and `scale` turns its pooled exponentials into weights. */
#ifndef TRACE_POOLED_H
#define TRACE_POOLED_H

#include "trace/trace_int.h"

enum { POOLED_ROWS = 192, POOLED_STRETCH = 256 };

struct pooled {
    /* set before pooled_open */
    const struct sac_trace *t;
    const struct layer_rec *r;
    int lane, layer;
    int k0, k1, columns;        /* keys k0 .. k1-1 in at most k1-k0 columns: floor(i*N/P) .. */
    enum sac_sinks sinks;
    bool sparse;                /* weights over the keys read alone */
    bool lost;                  /* also the weight that is not read, and how many keys are */
    bool coarse;                /* products in bf16 where the CPU is fast at them */

    /* a block, after pooled_rows */
    int row0, rows;
    float *scale;               /* [POOLED_ROWS] */
    float *sum, *top;           /* [POOLED_ROWS][slots]: column c at slot c + 2 */
    float *miss, *kept;         /* the same; NULL where everything is read (or not asked for) */

    int slots, *bound;          /* slot s ends before key bound[s]; 0: hidden sinks, 1 and last: outside */
    float *shift, *mass;        /* [POOLED_ROWS] */
    void *q, *panel, *tail;     /* packed queries; a stretch of keys; what is left of one, padded */
    float *score;               /* [some rows][POOLED_STRETCH], or one row with generated keys */
    float *skip;                /* [keys of it] 1 where a key is not read, for the rows of one plan tile */
    int *reads;                 /* [keys of it + 1] keys read before it */
    int skip_tile, skip_at;     /* the plan tile and stretch that skip is of */
    struct sac_rows one;        /* the keys of a generated row */
};

bool pooled_open(struct pooled *p);       /* false: out of memory; close it all the same */
void pooled_close(struct pooled *p);
/* Rows row0 .. row0+rows-1 of a query head (at most POOLED_ROWS of the prompt, or one generated row). */
void pooled_rows(struct pooled *p, int head, int row0, int rows);
/* How many rows from row0 on, of at most `rows`, make a block. */
int pooled_block(const struct pooled *p, int row0, int rows);

static inline float *pooled_at(const struct pooled *p, float *of, int row)   /* columns of a row of the block */
{
    return of + (size_t)(row - p->row0) * (size_t)p->slots + 2;
}
#endif
