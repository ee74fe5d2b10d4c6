/* Prompt text with shading: the background of a token says how much it is attended to, an underline that it
 * is kept, brackets that it is gold, a dash in the margin and bold type that it was missed.
 *
 * A paragraph is set as a whole, so that letters join across tokens and scripts that run from right to left
 * do so: a token may then stand in two places of a line, and each has its background. Lines end at blanks. */
#include "figure_canvas.h"

#include <stdlib.h>
#include <string.h>

enum { MARGIN = 22, GUTTER = 16, SIZE = 12, LINE = 21, BRACKET = 5 };

/* Tokens t0 .. t1-1 up to the end of a line of the prompt. */
struct para {
    int t0, t1;
    struct text_set set;
    int *token;            /* [set.n] of each character */
    float *before, *after; /* [set.n] room for brackets, in units */
};

struct line {
    int para, lo, hi;
    double width;
};

struct prose {
    const struct figure_prose *p;
    double width;
    struct para *para;
    int n_paras;
    struct line *line;
    int n_lines, cap;
};

/* Brackets belong to the first and the last token of a gold span. */
static bool opens(const struct figure_prose *p, int i)
{
    return p->token[i].gold && (i == 0 || !p->token[i - 1].gold);
}
static bool closes(const struct figure_prose *p, int i)
{
    return p->token[i].gold && (i + 1 == p->n || !p->token[i + 1].gold);
}

static int style_of(const struct figure_token *t)
{
    return (t->missed || t->query ? TEXT_BOLD : 0) | (t->fold ? TEXT_ITALIC : 0);
}

/* ---- setting ---- */

static bool para_set(struct para *a, const struct figure_prose *p)
{
    size_t len = 0, at = 0;
    for (int i = a->t0; i < a->t1; i++) len += strlen(p->token[i].text);
    char *text = malloc(len + 1);
    unsigned char *style = malloc(len + 1);
    int *of = malloc((len + 1) * sizeof *of);
    bool ok = text && style && of;
    for (int i = a->t0; ok && i < a->t1; i++) {
        size_t n = strlen(p->token[i].text);
        memcpy(text + at, p->token[i].text, n);
        memset(style + at, style_of(&p->token[i]), n);
        for (size_t k = 0; k < n; k++) of[at + k] = i;
        at += n;
    }
    ok = ok && text_make(&a->set, text, len, style, 0, true);
    size_t n = ok ? (size_t)a->set.n + 1 : 1;
    a->token = malloc(n * sizeof *a->token);
    a->before = calloc(n, sizeof *a->before);
    a->after = calloc(n, sizeof *a->after);
    ok = ok && a->token && a->before && a->after;
    for (int i = 0; ok && i < a->set.n; i++) a->token[i] = of[a->set.at[i]];
    for (int i = 0; ok && i < a->set.n; i++) {
        bool first = i == 0 || a->token[i - 1] != a->token[i];
        bool last = i + 1 == a->set.n || a->token[i + 1] != a->token[i];
        bool blank = a->set.ch[i] == ' ' && !last; /* the blank before a word stays outside */
        if (first && opens(p, a->token[i])) a->before[i + blank] = BRACKET;
        if (last && closes(p, a->token[i])) a->after[i] = BRACKET;
    }
    free(text);
    free(style);
    free(of);
    return ok;
}

static bool add_line(struct prose *a, int para, int lo, int hi, double width)
{
    if (a->n_lines == a->cap) {
        int cap = a->cap * 2 + 64;
        struct line *l = realloc(a->line, (size_t)cap * sizeof *l);
        if (!l) return false;
        a->line = l;
        a->cap = cap;
    }
    a->line[a->n_lines++] = (struct line){ para, lo, hi, width };
    return true;
}

static double char_width(const struct para *a, int i)
{
    return (double)a->set.adv[i] * SIZE + (double)a->before[i] + (double)a->after[i];
}

/* Where a line that is too long at character i ends: at the last place for it, else between two tokens, else
 * right there. */
static int line_end(const struct para *a, int lo, int i)
{
    for (int k = i; k > lo; k--)
        if (text_may_break(&a->set, k)) return k;
    for (int k = i; k > lo; k--)
        if (a->token[k] != a->token[k - 1]) return k;
    return i > lo ? i : lo + 1;
}

static bool break_lines(struct prose *p, int index)
{
    const struct para *a = &p->para[index];
    int n = a->set.n, lo = 0;
    double x = 0;
    for (int i = 0; i < n; i++) {
        if (x + char_width(a, i) <= p->width || i == lo) {
            x += char_width(a, i);
            continue;
        }
        int end = line_end(a, lo, i);
        for (x = 0, i = lo; i < end; i++) x += char_width(a, i);
        if (!add_line(p, index, lo, end, x)) return false;
        lo = a->set.ch[end] == ' ' && end + 1 < n ? end + 1 : end; /* the blank between lines */
        i = lo - 1;
        x = 0;
    }
    return add_line(p, index, lo, n, x);
}

static bool lay_out(struct prose *a)
{
    const struct figure_prose *p = a->p;
    a->para = calloc((size_t)p->n + 1, sizeof *a->para);
    if (!a->para) return false;
    for (int i = 0; i < p->n;) {
        int j = i;
        while (j < p->n && !p->token[j].newline && !p->token[j].fold) j++;
        if (j == i || (j < p->n && p->token[j].newline)) j++;
        a->para[a->n_paras] = (struct para){ .t0 = i, .t1 = j };
        if (!para_set(&a->para[a->n_paras++], p) || !break_lines(a, a->n_paras - 1)) return false;
        i = j;
    }
    return true;
}

static void prose_free(struct prose *a)
{
    for (int i = 0; i < a->n_paras; i++) {
        text_free(&a->para[i].set);
        free(a->para[i].token);
        free(a->para[i].before);
        free(a->para[i].after);
    }
    free(a->para);
    free(a->line);
}

/* ---- drawing ---- */

/* A line with every character in its place. */
struct placed {
    struct text_piece *piece;
    int n;
    double *gx, *cx, *cw;
};

static bool placed_open(struct placed *l, const struct text_set *t)
{
    size_t n = (size_t)t->n + 1;
    *l = (struct placed){ malloc(((size_t)t->n_runs * 2 + 2) * sizeof *l->piece), 0,
                          malloc(((size_t)t->n_glyphs + 1) * sizeof(double)), calloc(n, sizeof(double)),
                          calloc(n, sizeof(double)) };
    return l->piece && l->gx && l->cx && l->cw;
}

static void placed_close(struct placed *l)
{
    free(l->piece);
    free(l->gx);
    free(l->cx);
    free(l->cw);
}

/* Part of one token in one piece: characters lo .. hi-1 from x0 to x1. */
struct part {
    int token, lo, hi;
    double x0, x1;
    bool back;
};

/* The next part of a piece from character i on, in logical order. */
static struct part part_at(const struct para *a, const struct placed *l, const struct text_piece *p, int i)
{
    struct part k = { a->token[i], i, i, l->cx[i], l->cx[i] + l->cw[i], a->set.run[p->run].level % 2 == 1 };
    for (; k.hi < p->hi && a->token[k.hi] == k.token; k.hi++) {
        if (l->cw[k.hi] <= 0) continue;
        bool none = k.x1 <= k.x0;
        k.x0 = none || l->cx[k.hi] < k.x0 ? l->cx[k.hi] : k.x0;
        k.x1 = none || l->cx[k.hi] + l->cw[k.hi] > k.x1 ? l->cx[k.hi] + l->cw[k.hi] : k.x1;
    }
    return k;
}

enum pass { PASS_GROUND, PASS_LETTERS, PASS_MARKS, N_PASSES };

static void draw_part(struct canvas *c, const struct prose *all, const struct para *a, const struct placed *l,
                      const struct text_piece *p, const struct part *k, double y, enum pass pass)
{
    const struct figure_theme *th = canvas_theme(c);
    const struct figure_token *t = &all->p->token[k->token];
    double base = y + LINE - 7, w = k->x1 - k->x0;
    uint32_t fg = t->fold ? th->muted : t->bg == FIGURE_EMPTY ? th->fg : figure_contrast(t->bg);
    if (pass == PASS_LETTERS) canvas_piece(c, &a->set, p, k->lo, k->hi, l->gx, base, SIZE, fg);
    if (w <= 0) return;
    if (pass == PASS_GROUND && t->bg != FIGURE_EMPTY && !t->fold)
        canvas_fill(c, k->x0, y + 1, w, LINE - 4, t->bg);
    if (pass != PASS_MARKS) return;
    if (t->kept) canvas_fill(c, k->x0, base + 2.5, w, 1.2, t->bg == FIGURE_EMPTY ? th->accent : fg);
    if (t->query) canvas_frame(c, k->x0, y + 1, w, LINE - 4, 1, th->accent);
    for (int i = k->lo; i < k->hi; i++) {
        const float *left = k->back ? a->after : a->before, *right = k->back ? a->before : a->after;
        if (left[i] > 0) canvas_text(c, l->cx[i] - BRACKET, base, SIZE, CT_BOLD, th->gold, "[");
        if (right[i] > 0) canvas_text(c, l->cx[i] + l->cw[i], base, SIZE, CT_BOLD, th->gold, "]");
    }
}

static bool draw_line(struct canvas *c, const struct prose *all, const struct line *line, double x0, double y)
{
    const struct figure_theme *th = canvas_theme(c);
    const struct para *a = &all->para[line->para];
    struct placed l;
    bool ok = placed_open(&l, &a->set);
    double x = x0 + (a->set.rtl ? all->width - line->width : 0);
    bool missed = false, generated = false;
    l.n = ok ? text_line(&a->set, line->lo, line->hi, l.piece) : 0;
    for (int i = 0; i < l.n; i++)
        x = text_place(&a->set, &l.piece[i], SIZE, x, a->before, a->after, l.gx, l.cx, l.cw);
    for (enum pass pass = 0; pass < N_PASSES; pass++)
        for (int i = 0; i < l.n; i++)
            for (int at = l.piece[i].lo; at < l.piece[i].hi;) {
                struct part k = part_at(a, &l, &l.piece[i], at);
                draw_part(c, all, a, &l, &l.piece[i], &k, y, pass);
                missed |= all->p->token[k.token].missed;
                generated |= all->p->token[k.token].generated;
                at = k.hi;
            }
    if (missed) canvas_text(c, x0 - 10, y + LINE - 7, SIZE, CT_BOLD, th->warn, "\u2013");
    if (generated) canvas_fill(c, x0 - GUTTER, y + 1, 2, LINE - 4, th->accent);
    placed_close(&l);
    return ok;
}

enum sac_code figure_draw_prose(const struct figure_prose *p, const struct figure_style *s,
                                enum figure_format f, const struct figure_meta *meta,
                                struct figure_bytes *out, struct sac_err *err)
{
    struct canvas *c = canvas_new(f, s);
    struct prose a = { .p = p };
    *out = (struct figure_bytes){ NULL, 0 };
    if (!c) return sac_fail(err, SAC_ENOMEM, "out of memory while drawing a figure");
    double bar = figure_scale_width(c, &p->scale);
    double text_w = s && s->width > 0 ? s->width - 2 * MARGIN : 760;
    a.width = text_w - bar - GUTTER;
    bool ok = lay_out(&a);
    double head = figure_head_height(c, &p->text, text_w),
           keys = figure_keys_height(c, p->key, p->n_keys, text_w);
    double foot = figure_foot_height(c, &p->text, text_w), h = a.n_lines * LINE;
    if (p->scale.title && h < 140) h = 140;
    canvas_page(c, text_w + 2 * MARGIN, MARGIN + head + h + 6 + keys + foot + MARGIN);
    figure_head_draw(c, &p->text, MARGIN, MARGIN - 4, text_w);
    for (int i = 0; ok && i < a.n_lines; i++)
        ok = draw_line(c, &a, &a.line[i], MARGIN + GUTTER, MARGIN + head + i * LINE);
    figure_scale_draw(c, &p->scale, MARGIN + text_w - bar, MARGIN + head, h < 220 ? h : 220);
    figure_keys_draw(c, p->key, p->n_keys, MARGIN, MARGIN + head + h + 6, text_w);
    figure_foot_draw(c, &p->text, MARGIN, MARGIN + head + h + 6 + keys, text_w);
    enum sac_code rc = ok ? canvas_finish(c, meta, out, err)
                          : sac_fail(err, SAC_ENOMEM, "out of memory while drawing a figure");
    canvas_free(c);
    prose_free(&a);
    return rc;
}
