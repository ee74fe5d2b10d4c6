/* Quantised weights widened to panels of bf16, for products on whole tiles: a few of them inside a product
 * (linear.c), or all of a layer for those who carry rows through it (prefill_rows.c). */
#include "model/linear_int.h"

#include <stdatomic.h>

void linear_widen_panels(const struct k_mat *w, int p0, int p1, int k0, int n, float *rows, char *dst)
{
    const struct k_type_info *t = &k_type_info[w->type];
    size_t cols = (size_t)w->cols, blocks = cols / 32 * K_PANEL;
    for (int p = p0; p < p1; p++, dst += (size_t)n * K_PANEL * 2) {
        if (w->packed && w->type == K_Q8_0) {
            struct k_panel panel = { .q = packed_panel(w, p),
                                     .d16 = w->packed->d16 + (size_t)p * blocks,
                                     .sub = 32 };
            k_ops()->wide.widen(&panel, k0, n, dst);
            continue;
        }
        if (w->packed) { /* rows: the panel opened, then its scales and minima */
            float *d = rows + (size_t)n * K_PANEL / sizeof *d, *m = d + (size_t)n;
            bool has_m;
            int sub = k_ops()->int8.planes->open(w->type, packed_panel(w, p), w->cols, k0, n, (int8_t *)rows,
                                                 d, m, &has_m);
            k_ops()->wide.widen(
                &(struct k_panel){ .q = (int8_t *)rows, .d = d, .m = has_m ? m : NULL, .sub = sub }, 0, n,
                dst);
            continue;
        }
        for (int r = 0; r < K_PANEL; r++) {
            int row = p * K_PANEL + r < w->rows ? p * K_PANEL + r : w->rows - 1;
            k_ops()->dequant(w->type, row_at(w, row) + (size_t)(k0 / t->block) * (size_t)t->bytes, n,
                             rows + (size_t)r * (size_t)n);
        }
        k_ops()->wide.pack(rows, (size_t)n, n, dst);
    }
}

bool linear_wide(const struct k_mat *w)
{
    return k_ops()->wide.name && w->cols % 32 == 0 && path_to_be(w) != PATH_F32;
}

size_t linear_wide_bytes(const struct k_mat *w)
{
    size_t panels = (size_t)((w->rows + K_PANEL - 1) / K_PANEL);
    return path_to_be(w) == PATH_BF16 ? 0 : panels * K_PANEL * (size_t)w->cols * sizeof(uint16_t);
}

struct widening {
    struct sac_pool *pool;
    const struct k_mat *w;
    char *dst;
    atomic_bool failed;
};

static void widen_some(void *ctx, int lo, int hi, int thread)
{
    struct widening *c = ctx;
    size_t panel = (size_t)K_PANEL * (size_t)c->w->cols;
    float *rows = pool_scratch(c->pool, thread, panel * sizeof *rows);
    if (rows) linear_widen_panels(c->w, lo, hi, 0, c->w->cols, rows, c->dst + (size_t)lo * panel * 2);
    else atomic_store(&c->failed, true);
}

bool linear_widen(struct sac_pool *p, struct k_mat *const *w, int n, char *mem, struct linear_panels *out)
{
    struct widening c = { .pool = p };
    for (int i = 0; i < n; i++) {
        size_t bytes = linear_wide_bytes(w[i]);
        out[i].stride = (size_t)K_PANEL * (size_t)w[i]->cols;
        out[i].at = bytes ? (const uint16_t *)(const void *)mem : packed_panel(w[i], 0);
        c.w = w[i];
        c.dst = mem;
        if (bytes) pool_run(p, (w[i]->rows + K_PANEL - 1) / K_PANEL, 4, widen_some, &c);
        mem += bytes;
    }
    return !atomic_load(&c.failed);
}
