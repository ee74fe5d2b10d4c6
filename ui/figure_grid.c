/* Layers x heads: a coloured cell with a number for each head, or a thumbnail of its map. */
#include "figure_canvas.h"

#include <math.h>
#include <string.h>

enum { MARGIN = 22 };

struct lay { double cw, ch, gap, left, top, thumb; };

static void draw_groups(struct canvas *c, const struct figure_grid *g, const struct lay *l, double x,
                        double y)
{
    const struct figure_theme *th = canvas_theme(c);
    for (int i = 0; g->group > 1 && i * g->group < g->cols; i++) {
        int last = (i + 1) * g->group < g->cols ? (i + 1) * g->group : g->cols;
        double x0 = x + i * g->group * l->cw + 3, x1 = x + last * l->cw - 3;
        canvas_line(c, x0, y - 20, x1, y - 20, 1, th->muted);
        canvas_line(c, x0, y - 20, x0, y - 16, 1, th->muted);
        canvas_line(c, x1, y - 20, x1, y - 16, 1, th->muted);
        if (g->group_label)
            canvas_text(c, (x0 + x1) / 2, y - 24, 10, CT_CENTER, th->muted, g->group_label[i]);
    }
}

static void draw_cells(struct canvas *c, const struct figure_grid *g, const struct lay *l, double x, double y)
{
    const struct figure_theme *th = canvas_theme(c);
    for (int r = 0; r < g->rows; r++)
        for (int k = 0; k < g->cols; k++) {
            size_t at = (size_t)r * (size_t)g->cols + (size_t)k;
            double cx = x + k * l->cw + l->gap / 2, cy = y + r * l->ch + l->gap / 2;
            double w = l->cw - l->gap, h = l->ch - l->gap;
            if (g->thumb) {
                canvas_fill(c, cx, cy, l->thumb, l->thumb, th->pane);
                if (g->thumb[at])
                    canvas_cells(c, canvas_snap(c, cx), canvas_snap(c, cy), l->thumb / g->thumb_px,
                                 l->thumb / g->thumb_px, g->thumb_px, g->thumb_px, g->thumb[at]);
                if (g->cell_text && g->cell_text[at])
                    canvas_text(c, cx + l->thumb - 2, cy + 10, 9, CT_RIGHT, th->fg, g->cell_text[at]);
                continue;
            }
            uint32_t bg = g->cell[at] == FIGURE_EMPTY ? th->pane : g->cell[at];
            canvas_fill(c, cx, cy, w, h, bg);
            if (g->cell_text && g->cell_text[at])
                canvas_text(c, cx + w / 2, cy + h / 2 + 4, FG_LABEL, CT_CENTER,
                            g->cell[at] == FIGURE_EMPTY ? th->muted : figure_contrast(bg), g->cell_text[at]);
        }
}

enum sac_code figure_draw_grid(const struct figure_grid *g, const struct figure_style *s,
                               enum figure_format f, const struct figure_meta *meta, struct figure_bytes *out,
                               struct sac_err *err)
{
    struct canvas *c = canvas_new(f, s);
    *out = (struct figure_bytes){ NULL, 0 };
    if (!c) return sac_fail(err, SAC_ENOMEM, "out of memory while drawing a figure");
    struct lay l = { .cw = 50, .ch = 25, .gap = 2, .left = 8, .top = g->group > 1 ? 40 : 22 };
    if (g->thumb) {
        double px = canvas_px(c), n = fmax(1, floor(72 / px / g->thumb_px));
        l.thumb = n * px * g->thumb_px;
        l.gap = 6;
        l.cw = l.ch = l.thumb + l.gap;
    }
    for (int r = 0; r < g->rows; r++)
        l.left = fmax(l.left, canvas_text_width(c, FG_LABEL, 0, g->row_label[r]) + 8);
    double bar = figure_scale_width(c, &g->scale), w = l.left + g->cols * l.cw + bar, h = g->rows * l.ch;
    double text_w = fmax(w, 480);
    double head = figure_head_height(c, &g->text, text_w),
           keys = figure_keys_height(c, g->key, g->n_keys, text_w);
    double foot = figure_foot_height(c, &g->text, text_w);
    canvas_page(c, text_w + 2 * MARGIN, MARGIN + head + l.top + h + keys + foot + MARGIN);
    figure_head_draw(c, &g->text, MARGIN, MARGIN - 4, text_w);
    double x = MARGIN + l.left, y = MARGIN + head + l.top;
    const struct figure_theme *th = canvas_theme(c);
    for (int r = 0; r < g->rows; r++)
        canvas_text(c, x - 6, y + (r + .5) * l.ch + 4, FG_LABEL, CT_RIGHT, th->muted, g->row_label[r]);
    for (int k = 0; k < g->cols; k++)
        canvas_text(c, x + (k + .5) * l.cw, y - 5, FG_LABEL, CT_CENTER, th->muted, g->col_label[k]);
    draw_groups(c, g, &l, x, y);
    draw_cells(c, g, &l, x, y);
    figure_scale_draw(c, &g->scale, x + g->cols * l.cw, y, fmin(h, 320));
    figure_keys_draw(c, g->key, g->n_keys, MARGIN, y + h, text_w);
    figure_foot_draw(c, &g->text, MARGIN, y + h + keys, text_w);
    enum sac_code rc = canvas_finish(c, meta, out, err);
    canvas_free(c);
    return rc;
}
