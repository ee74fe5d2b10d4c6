/* What the machine can do, measured with the program's own kernels on data that stays in the first-level
 * cache, and with a pass over more memory than any cache holds. The best of several rounds: a ceiling is not
 * an average. */
#include "kernels.h"
#include "model/model_int.h"
#include "model/session_int.h"
#include <saccade/bench.h>

#include <stdlib.h>
#include <string.h>

enum { INPUTS = 256, TILES = 4000, ROUNDS = 5 };

struct probe {
    const struct k_ops *ops;
    int kind;                  /* 0: f32, 1: bf16, 2: integers */
    char *mem;                 /* [threads] areas of AREA bytes; or what is read */
    size_t bytes;
    float sink[256];
};
static const size_t AREA = 64 * 1024;
static const size_t READ_BYTES = (size_t)256 << 20, READ_STEP = (size_t)1 << 20;

static void products(void *ctx, int lo, int hi, int thread)
{
    struct probe *p = ctx;
    char *mem = p->mem + (size_t)thread * AREA;
    float y[K_INT_MR * K_PANEL];
    float *x = (float *)mem, *xd = (float *)(mem + 24 * 1024), *w = (float *)(mem + 28 * 1024);
    const void *rows[K_MR];
    struct k_xrow xr[K_INT_MR];
    for (int r = 0; r < K_MR; r++) rows[r] = x + r * INPUTS;
    for (int r = 0; r < K_INT_MR; r++) xr[r] = (struct k_xrow){ (const char *)x + r * INPUTS * 2, xd, xd };
    struct k_panel panel = { .q = (const int8_t *)w, .d = xd, .sub = 32 };
    for (int i = lo; i < hi; i++) {
        if (p->kind == 2) p->ops->int8.tile(&panel, INPUTS, xr, p->ops->int8.rows, y, K_PANEL);
        else if (p->kind == 1) p->ops->bf16.tile(w, 0, 1, INPUTS, rows, K_MR, y, K_PANEL, false);
        else p->ops->f32.tile(w, 0, 1, INPUTS, rows, K_MR, y, K_PANEL, false);
        p->sink[thread % 256] += y[0];
    }
}

static void reading(void *ctx, int lo, int hi, int thread)
{
    struct probe *p = ctx;
    for (int i = lo; i < hi; i++) {
        const float *x = (const float *)(p->mem + (size_t)i * READ_STEP);
        p->sink[thread % 256] += p->ops->max(x, (int)(READ_STEP / sizeof *x));
    }
}

static double product_rate(struct sac_pool *pool, struct probe *p, int kind)
{
    double best = 0, work = 2.0 * (kind == 2 ? p->ops->int8.rows : K_MR) * K_PANEL * INPUTS * TILES *
                            pool_threads(pool);
    p->kind = kind;
    for (int r = 0; r < ROUNDS; r++) {
        double t = clock_seconds();
        pool_run(pool, TILES * pool_threads(pool), TILES / 8, products, p);
        t = clock_seconds() - t;
        if (t > 0 && work / t > best) best = work / t;
    }
    return best * 1e-9;
}

enum sac_code sac_bench_ceilings(struct sac_model *m, struct sac_ceilings *out, struct sac_err *err)
{
    struct sac_pool *pool = m->pool;
    size_t areas = (size_t)pool_threads(pool) * AREA, bytes = areas > READ_BYTES ? areas : READ_BYTES;
    struct probe p = { .ops = k_ops(), .mem = aligned_alloc(64, bytes) };
    if (!p.mem)
        return sac_fail(err, SAC_ENOMEM, "no memory for measuring the machine (%zu MiB)", bytes >> 20);
    memset(p.mem, 0, bytes);
    *out = (struct sac_ceilings){ .threads = pool_threads(pool), .cpu = p.ops->name };
    out->f32_gflops = product_rate(pool, &p, 0);
    out->fast_gflops = p.ops->bf16.name ? product_rate(pool, &p, 1) : out->f32_gflops;
    out->int_gops = p.ops->int8.name ? product_rate(pool, &p, 2) : 0;
    for (int r = 0; r < ROUNDS; r++) {
        double t = clock_seconds();
        pool_run(pool, (int)(READ_BYTES / READ_STEP), 4, reading, &p);
        t = clock_seconds() - t;
        if (t > 0 && (double)READ_BYTES / t * 1e-9 > out->read_gbytes)
            out->read_gbytes = (double)READ_BYTES / t * 1e-9;
    }
    free(p.mem);
    return SAC_OK;
}
