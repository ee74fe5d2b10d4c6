/* What the machine can do, measured with the program's own kernels on data that stays in the first-level
 * cache, and with a pass over more memory than any cache holds, on such pages as weights and keys have. The
 * best of several rounds: a ceiling is not an average. On a shared machine rounds of one moment may all be
 * slow, so there is one more whenever bench has finished something else. */
#include "base/pages.h"
#include "kernels.h"
#include "model/model_int.h"
#include "model/session_int.h"
#include "study/bench_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS = 128, WIDE_ROWS = 32, TILES = 4000, ROUNDS = 5 };
static const double LEAST_S = 0.15;      /* of rounds: clocks and threads take some time to get going */
enum kind { F32, FAST, INTEGERS };

struct probe {
    struct sac_pool *pool;
    const struct k_ops *ops;
    enum kind kind;
    char *mem;                 /* [threads] areas of AREA bytes; or what is read */
    size_t bytes;
    float sink[256];
};
/* An area: x, scales, weights, sums. */
static const size_t AREA = 64 * 1024, AT_SCALES = 12 * 1024, AT_WEIGHTS = 16 * 1024, AT_SUMS = 56 * 1024;
static const size_t READ_BYTES = (size_t)256 << 20, READ_STEP = (size_t)1 << 20;

static void products(void *ctx, int lo, int hi, int thread)
{
    struct probe *p = ctx;
    char *x = p->mem + (size_t)thread * AREA, *w = x + AT_WEIGHTS;
    float *scales = (float *)(x + AT_SCALES), *y = (float *)(x + AT_SUMS);
    const void *f32_rows[K_MR], *bf16_rows[K_MR];
    struct k_xrow xr[K_INT_MR];
    for (int r = 0; r < K_MR; r++) {
        f32_rows[r] = x + r * INPUTS * 4;
        bf16_rows[r] = x + r * INPUTS * 2;
    }
    for (int r = 0; r < K_INT_MR; r++) xr[r] = (struct k_xrow){ x + r * INPUTS * 2, scales, scales };
    struct k_panel panel[K_NP];
    for (int i = 0; i < K_NP; i++)
        panel[i] = (struct k_panel){ .q = (const int8_t *)w + i * INPUTS * K_PANEL, .d = scales, .sub = 32 };
    const struct k_ops *o = p->ops;
    for (int i = lo; i < hi; i++) {
        if (p->kind == INTEGERS && o->int8.tile4)
            o->int8.tile4(panel, INPUTS, xr, o->int8.rows, y, K_NP * K_PANEL);
        else if (p->kind == INTEGERS) o->int8.tile(panel, INPUTS, xr, o->int8.rows, y, K_PANEL);
        else if (p->kind == F32)
            o->f32.tile(w, INPUTS * K_PANEL, K_NP, INPUTS, f32_rows, K_MR, y, K_NP * K_PANEL, false);
        else if (o->wide.name)
            o->wide.matmul(w, INPUTS * K_PANEL, 2 * K_PANEL, INPUTS, x, INPUTS, WIDE_ROWS, y, 2 * K_PANEL,
                           false);
        else o->bf16.tile(w, INPUTS * K_PANEL, K_NP, INPUTS, bf16_rows, K_MR, y, K_NP * K_PANEL, false);
        p->sink[thread % 256] += y[0];
    }
}

/* Multiply-adds of one call. */
static double call_work(const struct k_ops *o, enum kind kind)
{
    if (kind == INTEGERS) return (double)o->int8.rows * (o->int8.tile4 ? K_NP : 1) * K_PANEL * INPUTS;
    if (kind == FAST && o->wide.name) return (double)WIDE_ROWS * 2 * K_PANEL * INPUTS;
    return (double)K_MR * K_NP * K_PANEL * INPUTS;
}

static void reading(void *ctx, int lo, int hi, int thread)
{
    struct probe *p = ctx;
    for (int i = lo; i < hi; i++) {
        const float *x = (const float *)(p->mem + (size_t)i * READ_STEP);
        p->sink[thread % 256] += p->ops->max(x, (int)(READ_STEP / sizeof *x));
    }
}

static void take_best(double *to, double rate)
{
    if (isfinite(rate) && rate > *to) *to = rate;
}

/* Seconds that it took. */
static double product_round(struct probe *p, enum kind kind, double *gops)
{
    int tiles = TILES * pool_threads(p->pool);
    p->kind = kind;
    double t = clock_seconds();
    pool_run(p->pool, tiles, TILES / 8, products, p);
    t = clock_seconds() - t;
    take_best(gops, 2e-9 * call_work(p->ops, kind) * tiles / t);
    return t;
}

static void reading_round(struct probe *p, double *gbytes)
{
    double t = clock_seconds();
    pool_run(p->pool, (int)(READ_BYTES / READ_STEP), 4, reading, p);
    take_best(gbytes, 1e-9 * (double)READ_BYTES / (clock_seconds() - t));
}

static void product_rounds(struct probe *p, enum kind kind, int rounds, double least_s, double *gops)
{
    double all = 0;
    for (int r = 0; r < rounds || all < least_s; r++) all += product_round(p, kind, gops);
}

static void measure(struct probe *p, int rounds, double least_s, struct sac_ceilings *top)
{
    product_rounds(p, F32, rounds, least_s, &top->f32_gflops);
    if (p->ops->bf16.name) product_rounds(p, FAST, rounds, least_s, &top->fast_gflops);
    else top->fast_gflops = top->f32_gflops;
    if (p->ops->int8.name) product_rounds(p, INTEGERS, rounds, least_s, &top->int_gops);
    for (int r = 0; r < rounds; r++) reading_round(p, &top->read_gbytes);
}

struct probe *ceilings_new(struct sac_model *m, struct sac_ceilings *top, struct sac_err *err)
{
    struct sac_pool *pool = m->pool;
    size_t areas = (size_t)pool_threads(pool) * AREA, bytes = areas > READ_BYTES ? areas : READ_BYTES;
    struct probe *p = calloc(1, sizeof *p);
    if (p) *p = (struct probe){ .pool = pool, .ops = k_ops(), .mem = pages_alloc(bytes) };
    if (!p || !p->mem) {
        sac_fail(err, SAC_ENOMEM, "no memory for measuring the machine (%zu MiB)", bytes >> 20);
        free(p);
        return NULL;
    }
    memset(p->mem, 0, bytes);
    *top = (struct sac_ceilings){ .threads = pool_threads(pool), .cpu = p->ops->name };
    measure(p, ROUNDS, LEAST_S, top);
    return p;
}

void ceilings_again(struct probe *p, struct sac_ceilings *top) { measure(p, 1, 0, top); }

void ceilings_free(struct probe *p)
{
    if (p) free(p->mem);
    free(p);
}
