/* A small GGUF writer for tests: entries are collected and laid out as the format asks. */
#ifndef TESTS_GGUF_WRITE_H
#define TESTS_GGUF_WRITE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gw_buf { unsigned char *p; size_t n, cap; };
struct gw { struct gw_buf kv, info, data; uint64_t n_kv, n_tensors; uint32_t version, align; };

static inline void gw_put(struct gw_buf *b, const void *p, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = (b->n + n) * 2 + 256;
        b->p = realloc(b->p, b->cap);
        if (!b->p) abort();
    }
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void gw_u32_raw(struct gw_buf *b, uint32_t v) { gw_put(b, &v, 4); }
static inline void gw_u64_raw(struct gw_buf *b, uint64_t v) { gw_put(b, &v, 8); }

static inline void gw_text_raw(struct gw_buf *b, const char *s)
{
    gw_u64_raw(b, strlen(s));
    gw_put(b, s, strlen(s));
}

static inline void gw_key(struct gw *g, const char *key, uint32_t type)
{
    gw_text_raw(&g->kv, key);
    gw_u32_raw(&g->kv, type);
    g->n_kv++;
}

static inline void gw_u32(struct gw *g, const char *key, uint32_t v)
{
    gw_key(g, key, 4);
    gw_u32_raw(&g->kv, v);
}
static inline void gw_f32(struct gw *g, const char *key, float v)
{
    gw_key(g, key, 6);
    gw_put(&g->kv, &v, 4);
}
static inline void gw_text(struct gw *g, const char *key, const char *v)
{
    gw_key(g, key, 8);
    gw_text_raw(&g->kv, v);
}

static inline void gw_bool(struct gw *g, const char *key, int v)
{
    unsigned char c = (unsigned char)v;
    gw_key(g, key, 7);
    gw_put(&g->kv, &c, 1);
}

static inline void gw_array(struct gw *g, const char *key, uint32_t elem, uint64_t n)
{
    gw_key(g, key, 9);
    gw_u32_raw(&g->kv, elem);
    gw_u64_raw(&g->kv, n);
}

static inline void gw_texts(struct gw *g, const char *key, const char *const *v, int n)
{
    gw_array(g, key, 8, (uint64_t)n);
    for (int i = 0; i < n; i++) gw_text_raw(&g->kv, v[i]);
}

/* type: the format's id. The offset follows from the order of calls. */
static inline void gw_tensor(struct gw *g, const char *name, int n_dims, const uint64_t *ne, uint32_t type,
                             const void *data, size_t bytes)
{
    static const unsigned char zeros[4096];
    size_t align = g->align ? g->align : 32;
    gw_text_raw(&g->info, name);
    gw_u32_raw(&g->info, (uint32_t)n_dims);
    for (int i = 0; i < n_dims; i++) gw_u64_raw(&g->info, ne[i]);
    gw_u32_raw(&g->info, type);
    gw_put(&g->data, zeros, (align - g->data.n % align) % align);
    gw_u64_raw(&g->info, g->data.n);
    gw_put(&g->data, data, bytes);
    g->n_tensors++;
}

/* The whole file; frees what was collected. */
static inline struct gw_buf gw_finish(struct gw *g)
{
    static const unsigned char zeros[4096];
    struct gw_buf out = { 0 };
    size_t align = g->align ? g->align : 32;
    if (g->align) gw_u32(g, "general.alignment", g->align);
    gw_put(&out, "GGUF", 4);
    gw_u32_raw(&out, g->version ? g->version : 3);
    gw_u64_raw(&out, g->n_tensors);
    gw_u64_raw(&out, g->n_kv);
    gw_put(&out, g->kv.p, g->kv.n);
    gw_put(&out, g->info.p, g->info.n);
    if (g->n_tensors) gw_put(&out, zeros, (align - out.n % align) % align);
    gw_put(&out, g->data.p, g->data.n);
    free(g->kv.p);
    free(g->info.p);
    free(g->data.p);
    memset(g, 0, sizeof *g);
    return out;
}

static inline void gw_save(const struct gw_buf *b, const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b->p, 1, b->n, f) != b->n || fclose(f)) abort();
}
#endif
