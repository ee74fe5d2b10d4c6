/* The inside of prefill attention, shared by attend_prefill.c (units and packing), attend_tile.c (one tile of
 * rows over its keys) and attend_rows.c (rows with lists of their own). */
#ifndef MODEL_ATTEND_INT_H
#define MODEL_ATTEND_INT_H

#include "kernels.h"
#include "model/attend.h"

/* Rows that have lists of their own meet keys together, as many at a time. */
enum { K_PANEL_ROWS = 512 };

/* Steps that the kernel runs together, where it can, and rows that meet keys together then: keys come from
 * far, and tiles are through with them sooner than the next ones arrive. */
enum { K_BATCH = 16, K_BATCH_ROWS = 192 };

/* One call of attend_prefill: keys packed by groups of K_GROUP for each KV head, shared by all tiles. */
struct attend_pass {
    struct sac_pool *pool;
    struct attend_prefill *a;
    const struct k_attn *k;
    int dim, n_groups;              /* head size padded; groups of keys */
    size_t group_bytes;             /* of K or of V */
    char *kp, *vp;                  /* [n_kv_heads][n_groups] */
    char *rows;                     /* [n_kv_heads][n] keys with their values (k->narrow), NULL: not kept */
    size_t row_bytes;               /* of a key with its value, there */
    int32_t *iota;                  /* 0, 1, 2 ... past n: positions of aligned groups */
    int n_words;                    /* of a set of groups */
    bool tiles;                     /* steps run by k->steps, not by k->step */
    int batch;                      /* how many run together */
    int tile_rows;                  /* most rows that meet keys together */
    int own_rows;                   /* most rows of a panel, 0: no head has tiles of one row */
    int unit_rows, n_units;         /* rows of a unit (a multiple of the tile), units of a head */
    int64_t *mass;                  /* [threads][n_kv_heads][n_groups * K_GROUP], NULL: not wanted */
    atomic_bool failed;
    _Atomic uint64_t cells;         /* evaluated, masked ones included */
};

/* Up to K_STEP groups of keys that make one step of the kernel. */
struct attend_keys {
    struct k_attn_step s;
    int32_t pos[K_STEP][K_GROUP];
    int base[K_STEP];               /* first key of an aligned group, -1: gathered */
    char *gk, *gv;                  /* K_STEP groups gathered for it */
};

/* Working memory of one thread. While steps wait to be run, the keys of the next one are collected and
 * fetched: `waiting` of them from keys[head] on, the one after them collects. */
struct attend_work {
    struct k_attn_tile t;
    void *q;
    struct attend_keys keys[K_BATCH + 1];
    int head, waiting;
    int n_gather;                   /* keys waiting to be gathered */
    int gather[2 * K_GROUP];        /* asked for; the first K_GROUP are packed when all places are taken */
    int lo, hi;                     /* rows of the tile that the keys being collected are for */
    uint64_t *bits;                 /* [tile_rows + 1][n_words]: whole groups that a tile reads */
    struct attend_mass *mass;       /* exponentials of the tile (attend_mass.c), NULL: not kept */
    struct attend_listed *listed;   /* rows of each step of a stretch of keys (attend_rows.c) */
    int expect;                     /* where the group after the last one begins */
    int next_row;                   /* of the tile that is likely to come next, -1: unknown */
    int head_no, asked;             /* the head; rows whose queries and outputs were asked for */
    uint64_t n_cells;
};

static inline int min_int(int a, int b) { return a < b ? a : b; }
static inline int max_int(int a, int b) { return a > b ? a : b; }

/* A key with its value, narrow. */
static inline char *attend_row(const struct attend_pass *p, int kv, int key)
{
    return p->rows + ((size_t)kv * (size_t)p->a->n + (size_t)key) * p->row_bytes;
}

size_t attend_work_bytes(const struct attend_pass *p);
size_t attend_listed_bytes(void);
void attend_work_init(const struct attend_pass *p, struct attend_work *w, char *mem, int thread);
/* Rows row0 .. row0+rows-1 of a head over the keys of its plan (NULL: all). */
void attend_tile(struct attend_pass *p, struct attend_work *w, int head, int row0, int rows,
                 const struct sac_plan *plan);
/* The same where tiles have one row. False: these rows are better off alone. */
bool attend_rows(struct attend_pass *p, struct attend_work *w, int head, int row0, int rows,
                 const struct sac_plan *plan);
/* What both begin and end with: queries packed and sums cleared; outputs and log-sum-exps. */
void attend_begin(struct attend_pass *p, struct attend_work *w, int head, int row0, int rows);
void attend_finish(struct attend_pass *p, struct attend_work *w, int head);
/* Sums of probabilities over rows: memory of a thread, counts of sums; before a step, after it, after a tile,
 * after all. */
size_t attend_mass_bytes(const struct attend_pass *p);
size_t attend_mass_sums(const struct attend_pass *p);
struct attend_mass *attend_mass_init(const struct attend_pass *p, char *mem, int thread);
void attend_mass_begin(struct attend_mass *s);
uint16_t *attend_mass_room(struct attend_mass *s);
void attend_mass_note(struct attend_mass *s, const struct attend_work *w, const struct attend_keys *k);
void attend_mass_fold(const struct attend_pass *p, struct attend_mass *s, int kv, int rows, const float *lse2);
void attend_mass_total(const struct attend_pass *p);
static inline void attend_fetch(const char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i, 0, 2);
}
#endif
