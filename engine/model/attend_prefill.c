/* Prefill attention over plans: packing, units of work, threads.
 *
 * All keys of a KV head are packed once, in groups of 16, and shared by every tile of every query head that
 * reads them. A unit is one head and some rows: a tile of the plan, or several where tiles are small. Rows of
 * many keys come first, so the threads end together. Nothing depends on which thread runs a unit. */
#include "model/attend_int.h"

#include <math.h>
#include <string.h>

enum { UNIT_ROWS = 64, PANELS = 16 };

static bool cancelled(const struct attend_prefill *a)
{
    return a->cancel && atomic_load_explicit(a->cancel, memory_order_relaxed);
}

static void pack_groups(void *ctx, int lo, int hi, int thread)
{
    struct attend_pass *p = ctx;
    const struct attend_prefill *a = p->a;
    (void)thread;
    for (int u = lo; u < hi; u++) {
        int kv = u / p->n_groups, key = u % p->n_groups * K_GROUP, n = min_int(K_GROUP, a->n - key);
        const float *k[K_GROUP], *v[K_GROUP];
        for (int i = 0; i < K_GROUP; i++) {
            size_t at = (size_t)kv * a->k_stride + (size_t)(key + (i < n ? i : 0)) * (size_t)a->head_dim;
            k[i] = a->k + at;
            v[i] = a->v + at;
        }
        size_t at = (size_t)u * p->group_bytes;
        p->k->pack_group(k, v, n, a->head_dim, p->dim, p->kp + at, p->vp + at);
        for (int i = 0; p->rows && i < n; i++)
            p->k->narrow(k[i], v[i], a->head_dim, p->dim, attend_row(p, kv, key + i));
    }
}

/* Whether tiles read many keys that are no part of whole groups; the last of each head speaks for all. Tiles
 * of one row have ways of their own. */
static bool scattered(const struct attend_prefill *a)
{
    size_t runs = 0, keys = 0;
    for (int h = 0; a->plan && h < a->n_heads; h++) {
        const struct sac_plan *plan = &a->plan[h];
        if (plan->tile == 1 || !plan->n_tiles) continue;
        size_t from = plan->at[plan->n_tiles - 1], to = plan->at[plan->n_tiles];
        runs += to - from;
        for (size_t i = from; i < to; i++) keys += (size_t)(plan->run[i].hi - plan->run[i].lo);
    }
    return runs * K_GROUP > keys;
}

/* How many rows to take from `row` on: several tiles of the plan, or an even part of one that is too large for the
 * kernel. */
static int take_rows(const struct attend_pass *p, const struct sac_plan *plan, int row, int end)
{
    int most = min_int(p->tile_rows, end - row);
    if (!plan) return most;
    int left = min_int((row / plan->tile + 1) * plan->tile, end) - row; /* of the tile that row is in */
    if (left > most) {
        int parts = (left + p->tile_rows - 1) / p->tile_rows;
        return min_int((left / parts + K_GROUP - 1) / K_GROUP * K_GROUP, most);
    }
    return left + (most - left) / plan->tile * plan->tile;
}

static void run_unit(struct attend_pass *p, struct attend_work *w, int head, int unit)
{
    const struct attend_prefill *a = p->a;
    const struct sac_plan *plan = a->plan ? &a->plan[head] : NULL;
    int row = unit * p->unit_rows, end = min_int(row + p->unit_rows, a->n);
    while (row < end && !cancelled(a)) {
        int panel = plan && plan->tile == 1 ? min_int(p->own_rows, end - row) : 0;
        if (panel && attend_rows(p, w, head, row, panel, plan)) {
            row += panel;
            continue;
        }
        for (int to = panel ? row + panel : end; row < to && !cancelled(a);) {
            int rows = take_rows(p, plan, row, to), after = row + rows < end ? row + rows : row - p->unit_rows;
            w->next_row = after + rows <= a->n ? max_int(after, -1) : -1;
            attend_tile(p, w, head, row, rows, plan);
            row += rows;
        }
    }
}

static void run_units(void *ctx, int lo, int hi, int thread)
{
    struct attend_pass *p = ctx;
    char *mem = pool_scratch(p->pool, thread, attend_work_bytes(p));
    if (!mem) {
        atomic_store(&p->failed, true);
        return;
    }
    struct attend_work w;
    attend_work_init(p, &w, mem, thread);
    /* Dense heads of a group share keys, row after row; a sparse head shares them with its own rows. Either
     * way long rows come first. */
    int heads = p->a->n_heads, wanted = p->n_units - p->a->row0 / p->unit_rows;
    for (int u = lo; u < hi && !cancelled(p->a); u++) {
        int head = p->a->plan ? u / wanted : u % heads, unit = p->a->plan ? u % wanted : u / heads;
        run_unit(p, &w, head, p->n_units - 1 - unit);
    }
    atomic_fetch_add(&p->cells, w.n_cells);
}

/* Rows with lists of their own that meet keys together: as many as leave panels to share out, 0: none. */
static int own_rows(const struct attend_prefill *a)
{
    bool own = false;
    for (int h = 0; a->plan && h < a->n_heads; h++) own |= a->plan[h].tile == 1;
    return own ? max_int(min_int(a->n / PANELS / UNIT_ROWS * UNIT_ROWS, K_PANEL_ROWS), UNIT_ROWS) : 0;
}

static int common_divisor(int a, int b) { return b ? common_divisor(b, a % b) : a; }

/* Rows of a unit: a multiple of every head's tile that is not too small to be worth handing out. */
static int unit_rows(const struct attend_pass *p)
{
    const struct attend_prefill *a = p->a;
    if (!a->plan) return p->tile_rows;
    int rows = 1, least = max_int(p->own_rows, UNIT_ROWS);
    if (p->tile_rows > K_TILE_ROWS) least = max_int(least, p->tile_rows);
    for (int h = 0; h < a->n_heads && rows < a->n; h++)
        rows = rows / common_divisor(rows, a->plan[h].tile) * a->plan[h].tile;
    return rows >= least ? rows : (least + rows - 1) / rows * rows;
}

/* Fewer where a prompt would not make enough units of as many. */
static int batch_rows(const struct attend_pass *p)
{
    enum { UNITS = 4 };
    int units = p->a->n_heads * p->a->n / K_BATCH_ROWS;
    return units >= UNITS * pool_threads(p->pool) ? K_BATCH_ROWS : K_TILE_ROWS;
}

static size_t align64(size_t n) { return (n + 63) / 64 * 64; }

static bool prepare(struct attend_pass *p)
{
    struct attend_prefill *a = p->a;
    p->k = a->strict ? &k_ops()->attn : &k_ops()->attn_fast;
    p->dim = (a->head_dim + K_GROUP - 1) / K_GROUP * K_GROUP;
    p->n_groups = (a->n + K_GROUP - 1) / K_GROUP;
    p->group_bytes = (size_t)p->dim * K_GROUP * p->k->elem;
    p->tiles = p->k->steps && p->dim % 32 == 0 && p->dim <= K_STEPS_DIM;
    a->has_mass = a->mass && p->k->fold && !a->plan && !a->row0;
    p->batch = p->tiles && !a->has_mass ? K_BATCH : 1;     /* sums are taken after each step */
    p->tile_rows = p->batch > 1 ? batch_rows(p) : K_TILE_ROWS;
    p->n_words = (p->n_groups + 63) / 64;
    p->own_rows = own_rows(a);
    p->unit_rows = unit_rows(p);
    p->n_units = (a->n + p->unit_rows - 1) / p->unit_rows;
    size_t keys = ((size_t)p->n_groups + 1) * K_GROUP;
    size_t packed = align64((size_t)a->n_kv_heads * (size_t)p->n_groups * p->group_bytes);
    p->row_bytes = 2 * (size_t)p->dim * p->k->elem;
    bool narrow = p->k->narrow && scattered(a);
    size_t rows = narrow ? (size_t)a->n_kv_heads * (size_t)a->n * p->row_bytes : 0;
    size_t pos = align64(keys * sizeof(int32_t)), sums = attend_mass_sums(p) * (size_t)pool_threads(p->pool);
    char *mem = pool_scratch(p->pool, -1, 2 * packed + rows + pos + (a->has_mass ? sums * sizeof *p->mass : 0));
    if (!mem) return false;
    if (a->has_mass) {
        p->mass = (int64_t *)(mem + 2 * packed + rows + pos);
        memset(p->mass, 0, sums * sizeof *p->mass);
    }
    p->kp = mem;
    p->vp = mem + packed;
    p->rows = narrow ? mem + 2 * packed : NULL;
    p->iota = (int32_t *)(mem + 2 * packed + rows);
    for (size_t i = 0; i < keys; i++) p->iota[i] = (int32_t)i;
    return true;
}

bool attend_prefill(struct sac_pool *pool, struct attend_prefill *a)
{
    struct attend_pass p = { .pool = pool, .a = a };
    a->flops = 0;
    if (a->n <= 0) return true;
    if (!prepare(&p)) return false;
    pool_run(pool, a->n_kv_heads * p.n_groups, 16, pack_groups, &p);
    /* Units go from the last row up, so rows that are not wanted are at the end of the list. */
    pool_run(pool, a->n_heads * (p.n_units - a->row0 / p.unit_rows), 1, run_units, &p);
    if (a->has_mass) attend_mass_total(&p);
    a->flops = 4.0 * p.dim * (double)atomic_load(&p.cells);
    return !atomic_load(&p.failed) && !cancelled(a);
}
