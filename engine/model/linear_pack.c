/* Weights repacked at load, in the order the products read them; the file's pages are then not read again.
 *
 * Q8_0 becomes integer panels, the types of less than 8 bits planes (kernels/planes.h), F16 and BF16 bf16
 * panels, each where the level of the CPU has products with them; without bf16 products those two are copied
 * as they are, since files are mapped in small pages. All matrices of a model share one piece of memory on
 * large pages, and the pool's threads fill it. */
#include "model/linear_int.h"
#include "base/pages.h"
#include "file/map.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct k_packed strict_mark; /* packed == &strict_mark: f32 arithmetic, nothing repacked */

static size_t up(size_t n) { return (n + LINEAR_ALIGN - 1) / LINEAR_ALIGN * LINEAR_ALIGN; }
static bool quantised(enum k_type t) { return t != K_F32 && t != K_F16 && t != K_BF16; }

enum path path_of(const struct k_mat *w)
{
    if (w->packed == &strict_mark) return PATH_F32;
    if (w->packed) return w->packed->path;
    return quantised(w->type) && k_ops()->int8.name && w->cols % 32 == 0 ? PATH_INT8 : PATH_F32;
}

/* How a matrix will be repacked; panel 0: it stays as it is. */
static struct k_packed describe(const struct k_mat *w)
{
    const struct k_planes *planes = k_ops()->int8.planes;
    struct k_packed p = { .path = PATH_INT8, .n_panels = (w->rows + K_PANEL - 1) / K_PANEL };
    size_t cols = (size_t)w->cols;
    if (w->lookup) return p;
    if (w->type == K_Q8_0)
        p.panel = k_ops()->int8.name && w->cols % 32 == 0 ? K_PANEL * cols : 0;
    else if (quantised(w->type))
        p.panel = planes ? planes->bytes(w->type, w->cols) : 0;
    else if (w->type != K_F32 && k_ops()->bf16.name && w->cols % 2 == 0) {
        p.path = PATH_BF16;
        p.panel = K_PANEL * cols * sizeof(uint16_t);
    } else if (w->type != K_F32) {
        p.path = PATH_F32;
        p.panel = K_PANEL * w->row_bytes;
    }
    size_t scales = w->type == K_Q8_0 ? K_PANEL * (cols / 32) * sizeof(uint16_t) : 0;
    p.bytes = p.panel ? up((size_t)p.n_panels * p.panel) + up((size_t)p.n_panels * scales) : 0;
    return p;
}

enum path path_to_be(const struct k_mat *w)
{
    return !w->packed && (w->type == K_F16 || w->type == K_BF16) ? describe(w).path : path_of(w);
}

size_t linear_packed_bytes(const struct k_mat *w) { return w->packed ? w->packed->bytes : describe(w).bytes; }

static void pack_q8(const struct k_mat *w, struct k_packed *p, int panel, char *tmp)
{
    size_t n = (size_t)w->cols, blocks = n / 32;
    int8_t *q = (int8_t *)tmp;
    float *d = (float *)(tmp + K_PANEL * n), *m = d + blocks;
    uint16_t *d16 = p->d16 + (size_t)panel * blocks * K_PANEL;
    memset(d16, 0, blocks * K_PANEL * sizeof *d16);
    for (int r = 0; r < K_PANEL; r++) {
        bool has_m;
        if (panel * K_PANEL + r >= w->rows) {
            memset(q + (size_t)r * n, 0, n);
            continue;
        }
        const char *row = row_at(w, panel * K_PANEL + r);
        k_ops()->unpack(w->type, row, w->cols, q + (size_t)r * n, d, m, &has_m);
        for (size_t b = 0; b < blocks; b++) /* the scale as stored */
            memcpy(&d16[b * K_PANEL + (size_t)r], row + b * (size_t)k_type_info[K_Q8_0].bytes, sizeof *d16);
    }
    k_ops()->int8.pack(q, w->cols, (int8_t *)p->data + (size_t)panel * p->panel);
}

static void pack_bf16(const struct k_mat *w, struct k_packed *p, int panel, char *tmp)
{
    size_t n = (size_t)w->cols;
    float *rows = (float *)tmp;
    for (int r = 0; r < K_PANEL; r++) {
        if (panel * K_PANEL + r < w->rows)
            k_ops()->dequant(w->type, row_at(w, panel * K_PANEL + r), w->cols, rows + (size_t)r * n);
        else
            memset(rows + (size_t)r * n, 0, n * sizeof *rows);
    }
    k_ops()->bf16.pack(rows, n, w->cols, p->data + (size_t)panel * p->panel);
}

struct packing {
    struct sac_pool *pool;
    struct k_mat *w;
    atomic_bool failed;
};

static void pack_panels(void *ctx, int lo, int hi, int thread)
{
    struct packing *c = ctx;
    const struct k_mat *w = c->w;
    struct k_packed *p = w->packed;
    char *tmp = pool_scratch(c->pool, thread,
                             (size_t)K_PANEL * (size_t)w->cols * sizeof(float) + 2 * (size_t)w->cols);
    if (!tmp) atomic_store(&c->failed, true);
    for (int i = lo; i < hi && tmp; i++) {
        int first = i * K_PANEL, rows = w->rows - first < K_PANEL ? w->rows - first : K_PANEL;
        if (p->path == PATH_F32)
            memcpy(p->data + (size_t)i * p->panel, (const char *)w->data + (size_t)first * w->row_bytes,
                   (size_t)rows * w->row_bytes);
        else if (p->path == PATH_BF16)
            pack_bf16(w, p, i, tmp);
        else if (w->type == K_Q8_0)
            pack_q8(w, p, i, tmp);
        else
            k_ops()->int8.planes->pack(w->type, row_at(w, first), w->row_bytes, rows, w->cols,
                                       p->data + (size_t)i * p->panel);
    }
}

static bool pack_one(struct sac_pool *pool, struct k_mat *w, char *mem)
{
    struct packing c = { .pool = pool, .w = w };
    struct k_packed *p = malloc(sizeof *p);
    if (!p) return false;
    *p = describe(w);
    p->data = mem;
    if (w->type == K_Q8_0) p->d16 = (uint16_t *)(mem + up((size_t)p->n_panels * p->panel));
    w->packed = p;
    pool_run(pool, p->n_panels, 4, pack_panels, &c);
    if (w->mapped) map_idle(w->data, w->row_bytes * (size_t)w->rows);
    return !atomic_load(&c.failed);
}

bool linear_prepare(struct sac_pool *pool, struct k_mat *w, int n, bool strict)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++) {
        w[i].packed = strict ? &strict_mark : NULL;
        if (!strict) bytes += describe(&w[i]).bytes;
    }
    if (!bytes) return true;
    char *mem = pages_alloc(bytes);
    bool owned = false, ok = mem != NULL;
    for (int i = 0; ok && i < n; i++) {
        size_t own = describe(&w[i]).bytes;
        if (!own) continue;
        ok = pack_one(pool, &w[i], mem);
        if (w[i].packed && !owned) w[i].packed->own = mem, owned = true;
        mem += own;
    }
    if (!ok && !owned) free(mem);
    return ok;
}

void linear_release(struct k_mat *w)
{
    if (w->packed && w->packed != &strict_mark) {
        free(w->packed->own);
        free(w->packed);
    }
    w->packed = NULL;
}
