/* Matrix products on the pool: which path a matrix takes, and how work is handed out.
 *
 * Three paths. Integers, for quantised weights: activations are rounded once for all matrices that share
 * them; Q8_0 panels are multiplied as they are, planes of the other types too for a few rows of x and opened
 * panel by panel for many. bf16, for F16 and BF16 weights where the CPU has the products. f32 for everything
 * else and for strict models: panels are dequantised on the way. Where the CPU multiplies bf16 on whole tiles
 * (AMX), a few rows of x or more take that way instead with all types but F32: quantised panels are widened
 * to bf16, block by block. linear_pack.c has the repacking.
 *
 * A unit of work is some panels of 16 weight rows against all rows of x: no two threads read the same weight
 * and every output is summed by one thread in one order, whatever the thread count. */
#include "model/linear_int.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512, FEW = 4, K_BLOCK = 256, WIDE_BLOCK = 2048 };

static size_t up(size_t n) { return (n + LINEAR_ALIGN - 1) / LINEAR_ALIGN * LINEAR_ALIGN; }

/* ---- products ---- */

struct product {
    struct sac_pool *p;
    const struct linear_job *job;
    int n_jobs, m, per_unit;        /* panels of a unit */
    const float *x;
    size_t ldx;
    int cols;
    char *xq;                       /* [m] rows of quantised x */
    float *xd, *xs;
    uint16_t *xb;                   /* [m][cols] bf16 */
    int first[8];                   /* first unit of each job */
    bool wide;                      /* bf16 tiles for all jobs that are not f32 */
    atomic_bool failed;
};

static struct k_xrow x_row(const struct product *c, int r)
{
    size_t n = (size_t)c->cols, i = (size_t)r;
    return (struct k_xrow){ c->xq + i * n * (size_t)k_ops()->int8.x_elem, c->xd + i * (n / 32),
                            c->xs + i * (n / 16) };
}

/* Copy a tile that reaches over the last row of the weights. */
static void copy_part(const float *tile, int cols, int rows, float *y, size_t ldy)
{
    for (int r = 0; r < rows; r++) memcpy(y + (size_t)r * ldy, tile + r * K_PANEL, (size_t)cols * sizeof *y);
}

/* n panels from `panel` on, of one matrix, against the rows from r0 on. */
static void tiles_int8(const struct product *c, const struct linear_job *j, const struct k_panel *w,
                       int panel, int n, int r0)
{
    const struct k_int8 *k = &k_ops()->int8;
    struct k_xrow x[K_INT_MR];
    float part[K_INT_MR * K_PANEL];
    int rows = c->m - r0 < k->rows ? c->m - r0 : k->rows, p = 0, whole = j->w->rows / K_PANEL - panel;
    for (int r = 0; r < rows; r++) x[r] = x_row(c, r0 + r);
    float *y = j->y + (size_t)r0 * j->ldy + (size_t)panel * K_PANEL;
    if (whole > n) whole = n;
    for (; k->tile4 && rows >= FEW && p + K_NP <= whole; p += K_NP)
        k->tile4(w + p, c->cols, x, rows, y + p * K_PANEL, j->ldy);
    for (; p < whole; p++) k->tile(w + p, c->cols, x, rows, y + p * K_PANEL, j->ldy);
    if (p == n) return;
    k->tile(w + p, c->cols, x, rows, part, K_PANEL);
    copy_part(part, j->w->rows - (panel + p) * K_PANEL, rows, y + p * K_PANEL, j->ldy);
}

/* The rows of the next tile: 512 of them fill the second cache, and each is too short for the hardware to see
 * it coming. */
static void ask_for_rows(const struct product *c, int r0)
{
    enum { LINE = 64 };
    int end = r0 + k_ops()->int8.rows < c->m ? r0 + k_ops()->int8.rows : c->m;
    size_t row = (size_t)c->cols * (size_t)k_ops()->int8.x_elem;
    for (const char *x = c->xq + (size_t)r0 * row; x < c->xq + (size_t)end * row; x += LINE)
        __builtin_prefetch(x, 0, 2);
}

static void packed_int8(const struct product *c, const struct linear_job *j, int p0, int p1)
{
    const struct k_packed *k = j->w->packed;
    size_t n = (size_t)c->cols, blocks = n / 32 * K_PANEL;
    int mr = k_ops()->int8.rows;
    for (int r = 0; r < c->m; r += mr) {
        struct k_panel w[K_NP];
        ask_for_rows(c, r + mr);
        for (int p = p0, some; p < p1; p += some) {
            some = p1 - p < K_NP ? p1 - p : K_NP;
            for (int i = 0; i < some; i++)
                w[i] = (struct k_panel){ .q = packed_panel(j->w, p + i),
                                         .d16 = k->d16 + (size_t)(p + i) * blocks, .sub = 32 };
            tiles_int8(c, j, w, p, some, r);
        }
    }
}

/* Quantised weights that are not repacked: unpacked here, into panels for many rows of x or row by row. */
struct unpacked { int8_t *row, *panel; float *d, *m, *rd, *rm; };

static bool unpack_room(const struct product *c, int thread, int panels, struct unpacked *u)
{
    size_t n = (size_t)c->cols, values = up(K_PANEL * n), scales = up(K_PANEL * (n / 16) * sizeof(float));
    size_t each = values + 2 * scales;
    char *mem = pool_scratch(c->p, thread, values + 2 * up(n / 16 * sizeof(float)) + (size_t)panels * each);
    if (!mem) return false;
    u->row = (int8_t *)mem;
    u->rd = (float *)(mem + values);
    u->rm = (float *)(mem + values + up(n / 16 * sizeof(float)));
    mem += values + 2 * up(n / 16 * sizeof(float));
    u->panel = (int8_t *)mem;
    u->d = (float *)(mem + (size_t)panels * values);
    u->m = (float *)(mem + (size_t)panels * (values + scales));
    return true;
}

static struct k_panel unpack_panel(const struct product *c, const struct linear_job *j, int panel, int slot,
                                   const struct unpacked *u)
{
    size_t n = (size_t)c->cols, scales = up(K_PANEL * (n / 16) * sizeof(float)) / sizeof(float);
    int sub = 32;
    bool has_m = false;
    float *d = u->d + (size_t)slot * scales, *m = u->m + (size_t)slot * scales;
    int8_t *q = u->panel + (size_t)slot * up(K_PANEL * n);
    if (j->w->packed) {
        sub = k_ops()->int8.planes->open(j->w->type, packed_panel(j->w, panel), c->cols, 0, c->cols, q, d, m,
                                         &has_m);
        return (struct k_panel){ .q = q, .d = d, .m = has_m ? m : NULL, .sub = sub };
    }
    for (int r = 0; r < K_PANEL; r++) {
        int row = panel * K_PANEL + r;   /* rows past the end repeat the last: their outputs are dropped */
        row = row < j->w->rows ? row : j->w->rows - 1;
        sub = k_ops()->unpack(j->w->type, row_at(j->w, row), c->cols, u->row + (size_t)r * n, u->rd, u->rm,
                              &has_m);
        for (int b = 0; b < c->cols / sub; b++) {
            d[b * K_PANEL + r] = u->rd[b];
            m[b * K_PANEL + r] = has_m ? u->rm[b] : 0.0f;
        }
    }
    k_ops()->int8.pack(u->row, c->cols, q);
    return (struct k_panel){ .q = q, .d = d, .m = has_m ? m : NULL, .sub = sub };
}

/* Planes against a few rows of x. */
static void planes_int8(const struct product *c, const struct linear_job *j, int p0, int p1)
{
    float part[K_PANEL];
    for (int p = p0; p < p1; p++)
        for (int r = 0; r < c->m; r++) {
            struct k_xrow x = x_row(c, r);
            float *y = j->y + (size_t)r * j->ldy + (size_t)p * K_PANEL;
            int cols = j->w->rows - p * K_PANEL;
            k_ops()->int8.planes->dot(j->w->type, packed_panel(j->w, p), c->cols, &x,
                                      cols < K_PANEL ? part : y);
            if (cols < K_PANEL) copy_part(part, cols, 1, y, j->ldy);
        }
}

static bool unpacked_int8(const struct product *c, const struct linear_job *j, int p0, int p1, int thread)
{
    struct unpacked u;
    struct k_panel w[K_NP];
    if (!unpack_room(c, thread, c->m < FEW ? 0 : p1 - p0, &u)) return false;
    if (c->m < FEW) {
        for (int row = p0 * K_PANEL; row < p1 * K_PANEL && row < j->w->rows; row++) {
            bool has_m;
            int sub = k_ops()->unpack(j->w->type, row_at(j->w, row), c->cols, u.row, u.rd, u.rm, &has_m);
            for (int r = 0; r < c->m; r++) {
                struct k_xrow x = x_row(c, r);
                j->y[(size_t)r * j->ldy + (size_t)row] =
                    k_ops()->int8.dot(u.row, u.rd, has_m ? u.rm : NULL, sub, c->cols, &x);
            }
        }
        return true;
    }
    for (int p = p0; p < p1; p++) w[p - p0] = unpack_panel(c, j, p, p - p0, &u);
    for (int r = 0; r < c->m; r += k_ops()->int8.rows) {
        ask_for_rows(c, r + k_ops()->int8.rows);
        tiles_int8(c, j, w, p0, p1 - p0, r);
    }
    return true;
}

/* Float tiles of all rows of x over panels p0 .. p1-1, inputs k0 .. k0+n-1. */
static void tiles_float(const struct product *c, const struct linear_job *j, const struct k_float_gemm *g,
                        const char *w, size_t pstride, int p0, int p1, int k0, int n)
{
    float part[K_MR * K_PANEL];
    int whole = j->w->rows / K_PANEL < p1 ? j->w->rows / K_PANEL : p1;
    for (int r0 = 0; r0 < c->m; r0 += K_MR) {
        const void *x[K_MR];
        int rows = c->m - r0 < K_MR ? c->m - r0 : K_MR;
        for (int r = 0; r < rows; r++)
            x[r] = g->elem == 2 ? (const void *)(c->xb + (size_t)(r0 + r) * (size_t)c->cols + k0)
                                : (const void *)(c->x + (size_t)(r0 + r) * c->ldx + k0);
        float *y = j->y + (size_t)r0 * j->ldy;
        if (whole > p0) g->tile(w, pstride, whole - p0, n, x, rows, y + p0 * K_PANEL, j->ldy, k0 > 0);
        if (whole == p1) continue;
        int col = whole * K_PANEL, cols = j->w->rows - col;
        for (int r = 0; k0 > 0 && r < rows; r++)
            memcpy(part + r * K_PANEL, y + (size_t)r * j->ldy + col, (size_t)cols * sizeof *part);
        g->tile(w + (size_t)(whole - p0) * pstride * (size_t)g->elem, pstride, 1, n, x, rows, part, K_PANEL,
                k0 > 0);
        copy_part(part, cols, rows, y + col, j->ldy);
    }
}

/* Weights of 16 bits against a few rows of x: the same work as scores of a decoded token's keys. */
static bool half_rows(const struct product *c, const struct linear_job *j, int p0, int p1)
{
    const struct k_mat *w = j->w;
    int first = p0 * K_PANEL, end = p1 * K_PANEL < w->rows ? p1 * K_PANEL : w->rows;
    const uint16_t *rows = (const uint16_t *)(const void *)row_at(w, first);
    if ((w->type != K_F16 && w->type != K_BF16) || (uintptr_t)rows % sizeof *rows ||
        w->row_bytes != (size_t)w->cols * sizeof *rows)
        return false;
    for (int r = 0; r < c->m; r++) {
        const float *x = c->x + (size_t)r * c->ldx;
        float *y = j->y + (size_t)r * j->ldy + first;
        if (w->type == K_F16) k_ops()->score_f16(x, rows, w->cols, end - first, 1.0f, y);
        else k_ops()->score_bf16(x, rows, w->cols, end - first, 1.0f, y);
    }
    return true;
}

static bool dequant_f32(const struct product *c, const struct linear_job *j, int p0, int p1, int thread)
{
    const struct k_mat *w = j->w;
    size_t n = (size_t)c->cols, kb = n < K_BLOCK ? n : K_BLOCK;
    size_t rows_bytes = up((c->m < FEW ? n : K_PANEL * kb) * sizeof(float));
    char *mem = pool_scratch(c->p, thread, rows_bytes + (size_t)(p1 - p0) * K_PANEL * kb * sizeof(float));
    if (!mem) return false;
    float *rows = (float *)mem, *panel = (float *)(mem + rows_bytes);
    if (c->m < FEW && half_rows(c, j, p0, p1)) return true;
    if (c->m < FEW) {
        for (int row = p0 * K_PANEL; row < p1 * K_PANEL && row < w->rows; row++) {
            const float *src = rows;
            if (w->type == K_F32 && (uintptr_t)w->data % sizeof(float) == 0)
                src = (const float *)(const void *)row_at(w, row);
            else k_ops()->dequant(w->type, row_at(w, row), w->cols, rows);
            for (int r = 0; r < c->m; r++)
                j->y[(size_t)r * j->ldy + (size_t)row] =
                    k_ops()->dot(src, c->x + (size_t)r * c->ldx, w->cols);
        }
        return true;
    }
    const struct k_type_info *t = &k_type_info[w->type];
    for (int k0 = 0; k0 < c->cols; k0 += (int)kb) {
        int len = c->cols - k0 < (int)kb ? c->cols - k0 : (int)kb;
        for (int p = p0; p < p1; p++) {
            for (int r = 0; r < K_PANEL; r++) {
                int row = p * K_PANEL + r < w->rows ? p * K_PANEL + r : w->rows - 1;
                k_ops()->dequant(w->type, row_at(w, row) + (size_t)(k0 / t->block) * (size_t)t->bytes, len,
                                 rows + (size_t)r * kb);
            }
            k_ops()->f32.pack(rows, kb, len, panel + (size_t)(p - p0) * K_PANEL * kb);
        }
        tiles_float(c, j, &k_ops()->f32, (const char *)panel, K_PANEL * kb, p0, p1, k0, len);
    }
    return true;
}

static bool wide_tiles(const struct product *c, const struct linear_job *j, int p0, int p1, int thread)
{
    size_t n = (size_t)c->cols, kb = n < WIDE_BLOCK ? n : WIDE_BLOCK;
    int width = (p1 * K_PANEL < j->w->rows ? p1 * K_PANEL : j->w->rows) - p0 * K_PANEL;
    float *y = j->y + (size_t)p0 * K_PANEL;
    if (path_of(j->w) == PATH_BF16) {
        k_ops()->wide.matmul(packed_panel(j->w, p0), K_PANEL * n, width, c->cols, c->xb, n, c->m, y, j->ldy,
                             false);
        return true;
    }
    size_t rows = up(K_PANEL * kb * sizeof(float));
    char *mem = pool_scratch(c->p, thread, rows + (size_t)(p1 - p0) * K_PANEL * kb * 2);
    for (int k0 = 0; mem && k0 < c->cols; k0 += (int)kb) {
        int len = c->cols - k0 < (int)kb ? c->cols - k0 : (int)kb;
        linear_widen_panels(j->w, p0, p1, k0, len, (float *)mem, mem + rows);
        k_ops()->wide.matmul(mem + rows, (size_t)K_PANEL * (size_t)len, width, len, c->xb + k0, n, c->m, y,
                             j->ldy, k0 > 0);
    }
    return mem != NULL;
}

static void run_units(void *ctx, int lo, int hi, int thread)
{
    struct product *c = ctx;
    for (int u = lo; u < hi; u++) {
        int i = c->n_jobs - 1;
        while (c->first[i] > u) i--;
        const struct linear_job *j = &c->job[i];
        int panels = (j->w->rows + K_PANEL - 1) / K_PANEL, p0 = (u - c->first[i]) * c->per_unit;
        int p1 = p0 + c->per_unit < panels ? p0 + c->per_unit : panels;
        enum path path = path_of(j->w);
        bool ok = true;
        if (c->wide && path != PATH_F32) ok = wide_tiles(c, j, p0, p1, thread);
        else if (path == PATH_INT8 && j->w->packed && j->w->type == K_Q8_0) packed_int8(c, j, p0, p1);
        else if (path == PATH_INT8 && j->w->packed && c->m < FEW) planes_int8(c, j, p0, p1);
        else if (path == PATH_INT8) ok = unpacked_int8(c, j, p0, p1, thread);
        else if (path == PATH_F32) ok = dequant_f32(c, j, p0, p1, thread);
        else for (int p = p0; p < p1; p += K_NP)
            tiles_float(c, j, &k_ops()->bf16, packed_panel(j->w, p), (size_t)K_PANEL * (size_t)c->cols, p,
                        p + K_NP < p1 ? p + K_NP : p1, 0, c->cols);
        if (!ok) atomic_store(&c->failed, true);
        int n = (p1 * K_PANEL < j->w->rows ? p1 * K_PANEL : j->w->rows);
        for (int r = 0; j->bias && r < c->m; r++)
            for (int col = p0 * K_PANEL; col < n; col++)
                j->y[(size_t)r * j->ldy + (size_t)col] += j->bias[col];
    }
}

static void convert_rows(void *ctx, int lo, int hi, int thread)
{
    struct product *c = ctx;
    (void)thread;
    size_t n = (size_t)c->cols;
    for (int r = lo; r < hi; r++) {
        const float *x = c->x + (size_t)r * c->ldx;
        size_t i = (size_t)r;
        if (c->xq)
            k_ops()->int8.quant(x, c->cols, c->xq + i * n * (size_t)k_ops()->int8.x_elem,
                                c->xd + i * (n / 32), c->xs + i * (n / 16));
        if (c->xb) k_ops()->bf16.convert(x, c->cols, c->xb + i * n);
    }
}

/* Rounded activations, for the paths that want them, in the scratch of the pool's caller. */
static bool convert(struct product *c)
{
    bool ints = false, bf16 = false;
    size_t n = (size_t)c->cols, m = (size_t)c->m;
    for (int j = 0; j < c->n_jobs; j++) {
        enum path path = path_of(c->job[j].w);
        ints |= path == PATH_INT8 && !c->wide;
        bf16 |= path == PATH_BF16 || (path == PATH_INT8 && c->wide);
    }
    if (!ints && !bf16) return true;
    size_t q = ints ? up(m * n * (size_t)k_ops()->int8.x_elem) : 0,
           d = ints ? up(m * (n / 32) * sizeof(float)) : 0;
    size_t s = ints ? up(m * (n / 16) * sizeof(float)) : 0, b = bf16 ? up(m * n * 2) : 0;
    char *mem = pool_scratch(c->p, -1, q + d + s + b);
    if (!mem) return false;
    if (ints) {
        c->xq = mem;
        c->xd = (float *)(mem + q);
        c->xs = (float *)(mem + q + d);
    }
    if (bf16) c->xb = (uint16_t *)(mem + q + d + s);
    if (m < 4) convert_rows(c, 0, c->m, 0);
    else pool_run(c->p, c->m, 8, convert_rows, c);
    return true;
}

static void run_chunk(struct product *c)
{
    int units = 0;
    if (!convert(c)) return;
    for (int j = 0; j < c->n_jobs; j++) {
        int panels = (c->job[j].w->rows + K_PANEL - 1) / K_PANEL;
        c->first[j] = units;
        units += (panels + c->per_unit - 1) / c->per_unit;
    }
    pool_run(c->p, units, 1, run_units, c);
}

/* Panels of a unit of work for few rows of x. Starting on a unit costs what START bytes cost to read, while the
 * end of the job waits for half a unit: the sum is least when each thread gets the root of its bytes over
 * START in units. */
static int few_panels(const struct sac_pool *p, const struct linear_job *job, int n_jobs)
{
    const double START = 50e3;
    int panels = 0, threads = pool_threads(p);
    for (int j = 0; j < n_jobs; j++) panels += (job[j].w->rows + K_PANEL - 1) / K_PANEL;
    double bytes = (double)panels * K_PANEL * (double)job->w->row_bytes / threads;
    int units = threads * (int)(sqrt(bytes / START) + 1);
    return (panels + units - 1) / units;
}

static bool wide(int m, int cols) { return k_ops()->wide.name && m >= FEW && cols % 32 == 0; }

enum linear_unit linear_unit(const struct k_mat *w, int m)
{
    enum path path = path_of(w);
    if (path == PATH_F32) return LINEAR_F32;
    return path == PATH_INT8 && !wide(m, w->cols) ? LINEAR_INTEGERS : LINEAR_FAST;
}

void linear_many(struct sac_pool *p, const struct linear_job *job, int n_jobs, const float *x, size_t ldx,
                 int m)
{
    struct linear_job part[8];
    for (int j0 = 0; j0 < n_jobs; j0 += 8) {
        int n = n_jobs - j0 < 8 ? n_jobs - j0 : 8;
        for (int r = 0; r < m; r += CHUNK) {
            for (int j = 0; j < n; j++) {
                part[j] = job[j0 + j];
                part[j].y += (size_t)r * part[j].ldy;
            }
            struct product c = { .p = p, .job = part, .n_jobs = n, .m = m - r < CHUNK ? m - r : CHUNK,
                                 .x = x + (size_t)r * ldx, .ldx = ldx, .cols = part[0].w->cols };
            c.per_unit = c.m < FEW ? few_panels(p, part, n) : K_NP;
            c.wide = wide(c.m, c.cols);
            run_chunk(&c);
        }
    }
}

void linear(struct sac_pool *p, const struct k_mat *w, const float *x, size_t ldx, int m, float *y,
            size_t ldy, const float *bias)
{
    linear_many(p, &(struct linear_job){ w, y, ldy, bias }, 1, x, ldx, m);
}
