/* The linear parts of a prefill where the CPU multiplies on whole tiles: a thread carries a block of rows
 * from what attention gave in one layer to rotated queries and keys of the next, all of it in its
 * second-level cache.
 *
 * Nothing of the size of the prompt is written in between: norms and the gated half of the feed-forward
 * leave bf16, which the products read, and what leaves the block is added to the residual stream inside
 * the product. Weights that are quantised are widened once for the layer, by all threads, into memory that
 * attention uses in between; so this is for models whose layers are small enough for that. Roundings are
 * those of the products in linear.c; sums with the residual stream begin with it instead of ending with it. */
#include "model/prefill_int.h"

#include <string.h>

/* Rows of a block; blocks for each thread; rows for which it is worth widening all weights. */
enum { MOST = 256, LEAST = 64, UNITS = 2, WORTH = 256 };
static const size_t PANELS_MOST = (size_t)64 << 20;

static size_t up(size_t n) { return (n + 63) / 64 * 64; }
static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Matrices in the order in which a block meets them. */
enum { WO, GATE, UP, DOWN, WQ, WK, WV, N_MATS };

struct row_blocks {
    struct work *w;
    int rows;
    const struct layer_weights *mix, *project; /* of the layer that ends, of the one that begins; or NULL */
    struct k_mat *mat[N_MATS];
    struct linear_panels p[N_MATS];
};

/* Memory of a thread: bf16 rows that a product reads, hidden ones, a row that is normed, and projections or
 * sums that have to be normed. */
struct room { uint16_t *narrow, *hidden; float *row, *q, *sums; };

static void mats_of(const struct layer_weights *w, struct k_mat **mat)
{
    struct k_mat *all[N_MATS] = { w->wo, w->gate, w->up, w->down, w->wq, w->wk, w->wv };
    memcpy(mat, all, sizeof all);
}

/* Rows of a block: enough blocks for all threads, and whole tiles. */
static int block_rows(const struct sac_model *m, int rows)
{
    int each = (rows / (m->info.n_threads * UNITS) + 31) / 32 * 32;
    return each < LEAST ? LEAST : each > MOST ? MOST : each;
}

static size_t narrow_bytes(const struct sac_shape *sh, size_t rows)
{
    return up(rows * larger((size_t)sh->n_embd, (size_t)(sh->n_heads * sh->head_dim)) * sizeof(uint16_t));
}

size_t prefill_rows_bytes(const struct sac_model *m, int n)
{
    const struct sac_shape *sh = &m->hp.shape;
    size_t rows = (size_t)block_rows(m, n), d = (size_t)sh->n_embd,
           all = (size_t)(sh->n_heads + 2 * sh->n_kv_heads) * (size_t)sh->head_dim;
    size_t project = up(rows * all * sizeof(float)),
           mix = up(rows * (size_t)sh->n_ff * sizeof(uint16_t)) + up(rows * d * sizeof(float));
    size_t all_of_it = narrow_bytes(sh, rows) + up(d * sizeof(float)) + larger(project, mix);
    return larger(all_of_it, (size_t)2 << 20); /* small pages cost these products a tenth */
}

size_t prefill_panels_bytes(const struct sac_model *m)
{
    size_t most = 0;
    for (int l = 0; l < m->hp.shape.n_layers; l++) {
        struct k_mat *mat[N_MATS];
        size_t sum = 0;
        mats_of(&m->w.layer[l], mat);
        for (int i = 0; i < N_MATS; i++) sum += linear_wide_bytes(mat[i]);
        most = larger(most, sum);
    }
    return most;
}

bool prefill_by_rows(const struct sac_model *m, int rows)
{
    if (!k_ops()->wide.gated || m->opts.strict || rows < LEAST || m->hp.shape.n_ff % K_PANEL) return false;
    for (int l = 0; l < m->hp.shape.n_layers; l++) {
        struct k_mat *mat[N_MATS];
        mats_of(&m->w.layer[l], mat);
        for (int i = 0; i < N_MATS; i++)
            if (!linear_wide(mat[i])) return false;
    }
    size_t panels = prefill_panels_bytes(m);
    return !panels || (rows >= WORTH && panels <= PANELS_MOST);
}

/* x normed, as bf16; row: room for one. */
static void norm_rows(const struct work *w, const float *x, const float *norm, int m, float *row,
                      uint16_t *out)
{
    int d = w->s->hp->shape.n_embd;
    for (int r = 0; r < m; r++, x += d, out += d) {
        k_ops()->rms_norm(x, norm, d, (float)w->s->hp->norm_eps, row);
        k_ops()->bf16.convert(row, d, out);
    }
}

static void add_bias(float *y, size_t ldy, const float *bias, int n, int m)
{
    for (int r = 0; bias && r < m; r++) k_ops()->add(y + (size_t)r * ldy, bias, n);
}

static void multiply(const struct row_blocks *b, int mat, const uint16_t *x, int m, float *y, size_t ldy,
                     bool acc)
{
    const struct k_mat *w = b->mat[mat];
    k_ops()->wide.matmul(b->p[mat].at, b->p[mat].stride, w->rows, w->cols, x, (size_t)w->cols, m, y, ldy,
                         acc);
}

/* The residual stream of m rows += norm(x . w + bias); sums: room for them where there is a norm. */
static void add_product(const struct row_blocks *b, int mat, const uint16_t *x, int m, const float *bias,
                        const float *norm, float *sums, float *y)
{
    int d = b->w->s->hp->shape.n_embd;
    multiply(b, mat, x, m, norm ? sums : y, (size_t)d, !norm);
    add_bias(norm ? sums : y, (size_t)d, bias, d, m);
    for (int r = 0; norm && r < m; r++, sums += d, y += d) {
        k_ops()->rms_norm(sums, norm, d, (float)b->w->s->hp->norm_eps, sums);
        k_ops()->add(y, sums, d);
    }
}

/* Rows r0 .. r0+m-1 of the residual stream through output projection and feed-forward. */
static void mix(const struct row_blocks *b, const struct room *t, int r0, int m)
{
    const struct work *w = b->w;
    const struct layer_weights *l = b->mix;
    const struct hparams *hp = w->s->hp;
    int qw = hp->shape.n_heads * hp->shape.head_dim, d = hp->shape.n_embd, ff = hp->shape.n_ff;
    const float *att = w->att + (size_t)r0 * (size_t)qw;
    float *x = w->x + (size_t)r0 * (size_t)d;
    k_ops()->bf16.convert(att, m * qw, t->narrow);
    add_product(b, WO, t->narrow, m, l->bo, l->post_attn_norm, t->sums, x);
    norm_rows(w, x, l->ffn_norm, m, t->row, t->narrow);
    k_ops()->wide.gated(b->p[GATE].at, b->p[UP].at, b->p[UP].stride, ff / K_PANEL, d, t->narrow, (size_t)d, m,
                        hp->act != ACT_SILU, t->hidden, (size_t)ff);
    add_product(b, DOWN, t->hidden, m, NULL, l->post_ffn_norm, t->sums, x);
}

static void project(const struct row_blocks *b, const struct room *t, int r0, int m)
{
    struct work *w = b->w;
    const struct layer_weights *l = b->project;
    const struct sac_shape *sh = &w->s->hp->shape;
    int qw = sh->n_heads * sh->head_dim, kw = sh->n_kv_heads * sh->head_dim;
    size_t ld = (size_t)(qw + 2 * kw);
    float *q = t->q, *k = q + qw, *v = k + kw;
    norm_rows(w, w->x + (size_t)r0 * (size_t)sh->n_embd, l->attn_norm, m, t->row, t->narrow);
    multiply(b, WQ, t->narrow, m, q, ld, false);
    multiply(b, WK, t->narrow, m, k, ld, false);
    multiply(b, WV, t->narrow, m, v, ld, false);
    add_bias(q, ld, l->bq, qw, m);
    add_bias(k, ld, l->bk, kw, m);
    add_bias(v, ld, l->bv, kw, m);
    prefill_scatter(w, &(struct projected){ q, k, v, ld, ld }, r0, m);
}

static struct room room_of(const struct work *w, int rows, char *mem)
{
    const struct sac_shape *sh = &w->s->hp->shape;
    struct room t = { .narrow = (uint16_t *)(void *)mem };
    mem += narrow_bytes(sh, (size_t)rows);
    t.row = (float *)(void *)mem;
    mem += up((size_t)sh->n_embd * sizeof *t.row);
    t.q = t.sums = (float *)(void *)mem;
    mem += up((size_t)rows * (size_t)sh->n_embd * sizeof *t.sums);
    t.hidden = (uint16_t *)(void *)mem;
    return t;
}

static void run_blocks(void *ctx, int lo, int hi, int thread)
{
    const struct row_blocks *b = ctx;
    struct work *w = b->w;
    char *mem = pool_scratch(w->s->m->pool, thread, prefill_rows_bytes(w->s->m, w->n - w->first));
    if (!mem) {
        atomic_store(&w->failed, true);
        return;
    }
    struct room t = room_of(w, b->rows, mem);
    for (int i = lo; i < hi && !prefill_cancelled(w); i++) {
        int r0 = w->first + i * b->rows, m = w->n - r0 < b->rows ? w->n - r0 : b->rows;
        if (b->mix) mix(b, &t, r0, m);
        if (b->project) project(b, &t, r0, m);
    }
}

bool prefill_rows(struct work *w, const struct layer_weights *mixed, const struct layer_weights *projected)
{
    struct sac_pool *pool = w->s->m->pool;
    struct row_blocks b = { .w = w, .rows = block_rows(w->s->m, w->n - w->first), .mix = mixed,
                            .project = projected };
    int first = mixed ? WO : WQ, end = projected ? N_MATS : WQ;
    char *mem = pool_scratch(pool, -1, prefill_panels_bytes(w->s->m) + 64);
    if (mixed) mats_of(mixed, b.mat);
    if (projected) {
        struct k_mat *next[N_MATS];
        mats_of(projected, next);
        memcpy(b.mat + WQ, next + WQ, (N_MATS - WQ) * sizeof *next);
    }
    if (!mem || !linear_widen(pool, b.mat + first, end - first, mem, b.p + first)) return false;
    pool_run(pool, (w->n - w->first + b.rows - 1) / b.rows, 1, run_blocks, &b);
    return !atomic_load(&w->failed);
}
