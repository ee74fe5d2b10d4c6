/* Prompt text with shading: the background of a token says how much it is attended to, an underline that it
 * is kept, brackets that it is gold, a dash in the margin and bold type that it was missed. */
#include "figure_canvas.h"

#include <stdlib.h>
#include <string.h>

enum { MARGIN = 22, GUTTER = 16, SIZE = 12, LINE = 21 };

struct spot { float x, w; int line, skip; };      /* skip: bytes of a space that ended the line before */

struct prose { const struct figure_prose *p; struct spot *spot; double width; int lines; };

/* Brackets belong to the first and the last token of a gold span. */
static bool opens(const struct figure_prose *p, int i)
{
    return p->token[i].gold && (i == 0 || !p->token[i - 1].gold);
}
static bool closes(const struct figure_prose *p, int i)
{
    return p->token[i].gold && (i + 1 == p->n || !p->token[i + 1].gold);
}

static int flags_of(const struct figure_token *t)
{
    return (t->missed || t->query ? CT_BOLD : 0) | (t->fold ? CT_ITALIC : 0);
}

static void lay_out(struct canvas *c, struct prose *a)
{
    const struct figure_prose *p = a->p;
    double x = 0;
    int line = 0;
    for (int i = 0; i < p->n; i++) {
        const struct figure_token *t = &p->token[i];
        double w = canvas_text_width(c, SIZE, flags_of(t), t->text);
        double extra = (opens(p, i) ? 5 : 0) + (closes(p, i) ? 5 : 0);
        if (t->fold && x > 0) x = 0, line++;
        bool wraps = x > 0 && x + w + extra > a->width, space = t->text[0] == ' ' && t->text[1];
        if (wraps) x = 0, line++;
        if (wraps && space) w = canvas_text_width(c, SIZE, flags_of(t), t->text + 1);
        a->spot[i] = (struct spot){ (float)(x + (opens(p, i) ? 5 : 0)), (float)w, line, wraps && space };
        x += w + extra;
        if (t->newline || t->fold) x = 0, line++;
    }
    a->lines = line + (x > 0);
}

static void draw_token(struct canvas *c, const struct prose *a, int i, double x0, double y0)
{
    const struct figure_theme *th = canvas_theme(c);
    const struct figure_token *t = &a->p->token[i];
    const struct spot *s = &a->spot[i];
    double x = x0 + (double)s->x, y = y0 + s->line * LINE, base = y + LINE - 7;
    uint32_t fg = t->fold ? th->muted : t->bg == FIGURE_EMPTY ? th->fg : figure_contrast(t->bg);
    if (t->bg != FIGURE_EMPTY && !t->fold) canvas_fill(c, x, y + 1, (double)s->w, LINE - 4, t->bg);
    canvas_text(c, x, base, SIZE, flags_of(t), fg, t->text + s->skip);
    if (t->kept) canvas_fill(c, x, base + 2.5, (double)s->w, 1.2, t->bg == FIGURE_EMPTY ? th->accent : fg);
    if (t->query) canvas_frame(c, x, y + 1, (double)s->w, LINE - 4, 1, th->accent);
    if (opens(a->p, i)) canvas_text(c, x - 5, base, SIZE, CT_BOLD, th->gold, "[");
    if (closes(a->p, i)) canvas_text(c, x + (double)s->w, base, SIZE, CT_BOLD, th->gold, "]");
    if (t->missed) canvas_text(c, x0 - 10, base, SIZE, CT_BOLD, th->warn, "\u2013");
    if (t->generated) canvas_fill(c, x0 - GUTTER, y + 1, 2, LINE - 4, th->accent);
}

enum sac_code figure_draw_prose(const struct figure_prose *p, const struct figure_style *s,
                                enum figure_format f, const struct figure_meta *meta,
                                struct figure_bytes *out, struct sac_err *err)
{
    struct canvas *c = canvas_new(f, s);
    struct prose a = { .p = p, .spot = malloc(((size_t)p->n + 1) * sizeof *a.spot) };
    *out = (struct figure_bytes){ NULL, 0 };
    if (!c || !a.spot) {
        canvas_free(c);
        free(a.spot);
        return sac_fail(err, SAC_ENOMEM, "out of memory while drawing a figure");
    }
    double bar = figure_scale_width(c, &p->scale);
    double text_w = s && s->width > 0 ? s->width - 2 * MARGIN : 760;
    a.width = text_w - bar - GUTTER;
    lay_out(c, &a);
    double head = figure_head_height(c, &p->text, text_w),
           keys = figure_keys_height(c, p->key, p->n_keys, text_w);
    double foot = figure_foot_height(c, &p->text, text_w), h = a.lines * LINE;
    if (p->scale.title && h < 140) h = 140;
    canvas_page(c, text_w + 2 * MARGIN, MARGIN + head + h + 6 + keys + foot + MARGIN);
    figure_head_draw(c, &p->text, MARGIN, MARGIN - 4, text_w);
    for (int i = 0; i < p->n; i++) draw_token(c, &a, i, MARGIN + GUTTER, MARGIN + head);
    figure_scale_draw(c, &p->scale, MARGIN + text_w - bar, MARGIN + head, h < 220 ? h : 220);
    figure_keys_draw(c, p->key, p->n_keys, MARGIN, MARGIN + head + h + 6, text_w);
    figure_foot_draw(c, &p->text, MARGIN, MARGIN + head + h + 6 + keys, text_w);
    enum sac_code rc = canvas_finish(c, meta, out, err);
    canvas_free(c);
    free(a.spot);
    return rc;
}
