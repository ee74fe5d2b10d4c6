/* Repacked weights, shared by linear_pack.c, which makes them, and linear.c, which multiplies. */
#ifndef MODEL_LINEAR_INT_H
#define MODEL_LINEAR_INT_H

#include "model/linear.h"

enum { LINEAR_ALIGN = 64 };
enum path { PATH_F32, PATH_INT8, PATH_BF16 };

/* Rows are rounded up to panels. What is added is zero or repeats the last row. */
struct k_packed {
    enum path path;
    int n_panels;
    size_t panel, bytes; /* of a panel; of all */
    char *data;          /* int8 panels, planes, or bf16 panels; PATH_F32: rows as stored */
    uint16_t *d16;       /* [panel][cols/32][16], Q8_0 only */
    void *own;           /* memory to be freed with it: that of all prepared together */
};

enum path path_of(const struct k_mat *w);
enum path path_to_be(const struct k_mat *w); /* of one that linear_prepare may not have seen yet */
/* Panels p0 .. p1-1 as bf16, inputs k0 .. k0+n-1, one after the other at dst; rows: room for K_PANEL * n. */
void linear_widen_panels(const struct k_mat *w, int p0, int p1, int k0, int n, float *rows, char *dst);

static inline const void *packed_panel(const struct k_mat *w, int panel)
{
    return w->packed->data + (size_t)panel * w->packed->panel;
}
static inline const char *row_at(const struct k_mat *w, int r)
{
    bool copied = w->packed && w->packed->path == PATH_F32 && w->packed->data;
    return (copied ? w->packed->data : (const char *)w->data) + (size_t)r * w->row_bytes;
}
#endif
