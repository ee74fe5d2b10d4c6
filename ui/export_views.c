/* The other views as figures: heads, thumbnails of all heads, pages, shaded text, recall along the queries.
 */
#include "export_int.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* ---- heads ---- */

struct labels { char (*text)[40]; const char **at; };

static bool labels_make(struct labels *l, int n, const char *fmt_letter, int lo)
{
    l->text = calloc((size_t)n + 1, sizeof *l->text);
    l->at = calloc((size_t)n + 1, sizeof *l->at);
    for (int i = 0; l->text && l->at && i < n; i++) {
        snprintf(l->text[i], sizeof l->text[i], "%s%d", fmt_letter, lo + i);
        l->at[i] = l->text[i];
    }
    return l->text && l->at;
}

static void labels_free(struct labels *l)
{
    free(l->text);
    free(l->at);
}

struct part { int l0, l1, h0, h1, group; };    /* the layers and heads shown */

static struct part part_of(const struct shot_ctx *c)
{
    const struct ui_shot *s = c->s;
    struct part p = { s->layer_lo, s->layer_hi ? s->layer_hi : c->info.shape.n_layers, s->head_lo,
                      s->head_hi ? s->head_hi : c->info.shape.n_heads, 0 };
    int per = c->info.shape.n_heads / c->info.shape.n_kv_heads;
    if (per > 1 && p.h0 % per == 0 && p.h1 - p.h0 > per) p.group = per;
    return p;
}

static void metric_text(enum ui_metric m, double v, char *buf, size_t cap)
{
    if (isnan(v)) snprintf(buf, cap, "–");
    else if (m == UI_M_ENTROPY) snprintf(buf, cap, "%.1f", v);
    else snprintf(buf, cap, "%.2f", v);
}

static void metric_scale(struct shot_ctx *c, const struct ui_metric_info *mi)
{
    c->n_ticks = 0;
    for (int i = 0; i <= 4; i++) {
        snprintf(c->tick_text[i], sizeof c->tick_text[i], "%.3g", mi->lo + (mi->hi - mi->lo) * i / 4);
        c->tick[i] = c->tick_text[i];
        c->tick_t[i] = i / 4.0;
    }
    c->n_ticks = 5;
}

static enum sac_code grid_draw(struct shot_ctx *c, struct figure_grid *g, const struct part *p,
                               struct figure_bytes *out, struct sac_err *err)
{
    struct labels row = { NULL, NULL }, col = { NULL, NULL }, kv = { NULL, NULL };
    enum sac_code rc = SAC_OK;
    g->rows = p->l1 - p->l0;
    g->cols = p->h1 - p->h0;
    g->group = p->group;
    if (!labels_make(&row, g->rows, "L", p->l0) || !labels_make(&col, g->cols, "H", p->h0) ||
        !labels_make(&kv, p->group ? g->cols / p->group + 1 : 1, "KV head ", p->group ? p->h0 / p->group : 0))
        rc = shot_failed(c, err, "this figure");
    g->row_label = row.at;
    g->col_label = col.at;
    g->group_label = kv.at;
    g->text = (struct figure_text){ c->title, c->subtitle, c->caption };
    if (!rc) rc = figure_draw_grid(g, &c->style, c->format, &c->meta, out, err);
    labels_free(&row);
    labels_free(&col);
    labels_free(&kv);
    return rc;
}

enum sac_code shot_heads(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err)
{
    enum ui_metric m =
        (enum ui_metric)(c->s->at.metric >= 0 && c->s->at.metric < UI_N_METRICS ? c->s->at.metric : 0);
    const struct ui_metric_info *mi = &ui_metric_info[m];
    struct ui_heads *hs = ui_heads_compute(c->t, c->s->at.a, c->cancel);
    if (!hs || !hs->n_known) {
        free(hs);
        return shot_failed(c, err, "the measures of the heads");
    }
    struct part p = part_of(c);
    size_t n = (size_t)(p.l1 - p.l0) * (size_t)(p.h1 - p.h0);
    uint32_t *cell = malloc(n * sizeof *cell);
    char (*text)[8] = malloc(n * sizeof *text);
    const char **at = malloc(n * sizeof *at);
    enum sac_code rc = SAC_OK;
    if (!cell || !text || !at) rc = shot_failed(c, err, "this figure");
    for (int l = p.l0, i = 0; !rc && l < p.l1; l++)
        for (int h = p.h0; h < p.h1; h++, i++) {
            double v = ui_head_metric(&hs->head[l * hs->n_heads + h], m);
            cell[i] = shot_colour(c, isnan(v) ? v : (v - mi->lo) / (mi->hi - mi->lo));
            metric_text(m, v, text[i], sizeof text[i]);
            at[i] = text[i];
        }
    if (!rc) {
        char name[80], source[200], words[300] = "";
        struct ui_heads_sum sum = ui_heads_summary(hs, m);
        shot_lane_title(&c->a, name, sizeof name);
        snprintf(c->title, sizeof c->title, "%s, every head: %s",
                 !strcmp(name, "dense") ? "Dense attention" : name, mi->title);
        snprintf(c->subtitle, sizeof c->subtitle, "%s · mean over %s", shot_source(c, source, sizeof source),
                 hs->decode ? "the rows of the answer" : "a sample of the prompt's rows");
        if (sum.n > 0)
            snprintf(words, sizeof words, "%c%s. Mean %.3g, median %.3g.",
                     toupper((unsigned char)mi->help[0]), mi->help + 1, sum.mean, sum.median);
        shot_caption(c, words);
        metric_scale(c, mi);
        struct figure_grid g = { .cell = cell, .cell_text = at };
        shot_scale(c, &g.scale, mi->title);
        rc = grid_draw(c, &g, &p, out, err);
    }
    free(cell);
    free(text);
    free(at);
    free(hs);
    return rc;
}

enum { THUMB = 48 };

static uint32_t *thumb_of(struct shot_ctx *c, int layer, int head, const struct ui_heat *heat)
{
    int n = c->info.n_prompt, px = n < THUMB ? n : THUMB;
    struct sac_tile want = { .lane = c->s->at.a,
                             .layer = layer,
                             .head = head,
                             .q1 = n,
                             .k1 = n,
                             .w = px,
                             .h = px,
                             .pool = c->s->at.pool,
                             .sinks = c->s->at.sinks,
                             .sparse = c->s->at.a > 0 };
    struct ui_tile *t = ui_tile_compute(c->t, &want, c->cancel); /* a figure is the same whenever it is made */
    uint32_t *rgb = t ? malloc((size_t)THUMB * THUMB * sizeof *rgb) : NULL;
    for (int y = 0; rgb && y < THUMB; y++)
        for (int x = 0; x < THUMB; x++) {
            double v = (double)t->t.value[(y * px / THUMB) * px + x * px / THUMB];
            bool unread = c->s->at.a > 0 && !(v > 0) && !isnan(v);
            rgb[y * THUMB + x] = unread ? shot_unread(c) : shot_colour(c, ui_heat_t(heat, v, n));
        }
    free(t);
    return rgb;
}

enum sac_code shot_thumbs(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err)
{
    struct part p = part_of(c);
    int n = (p.l1 - p.l0) * (p.h1 - p.h0);
    struct ui_heat heat = ui_heat_default(c->s->at.scale == UI_SCALE_RANK ? UI_SCALE_LOG : c->s->at.scale);
    uint32_t **thumb = calloc((size_t)n + 1, sizeof *thumb);
    enum sac_code rc = thumb ? SAC_OK : shot_failed(c, err, "this figure");
    for (int i = 0; i < n && !rc; i++) {
        int layer = p.l0 + i / (p.h1 - p.h0), head = p.h0 + i % (p.h1 - p.h0);
        thumb[i] = thumb_of(c, layer, head, &heat);
        if (thumb[i]) continue;
        rc = !shot_stopped(c) && isnan(sac_trace_lse(c->t, c->s->at.a, layer, head, 0))
                 ? sac_fail(err, SAC_EARG,
                            "layer %d: its queries and keys are not in this recording; --layers "
                            "shows a part of the grid",
                            layer)
                 : shot_failed(c, err, "the thumbnails");
    }
    if (!rc) {
        char name[80], source[200], label[64];
        shot_lane_title(&c->a, name, sizeof name);
        ui_heat_label(&heat, label, sizeof label);
        snprintf(c->title, sizeof c->title, "%s, all heads",
                 !strcmp(name, "dense") ? "Dense attention" : name);
        snprintf(c->subtitle, sizeof c->subtitle, "%s · %s · pooled by %s · queries down, keys across",
                 shot_source(c, source, sizeof source), label, ui_pool_name[c->s->at.pool]);
        shot_caption(c, "All thumbnails share one scale.");
        shot_ticks(c, &heat);
        struct figure_grid g = { .thumb = (const uint32_t *const *)thumb, .thumb_px = THUMB };
        shot_scale(c, &g.scale, c->s->at.a > 0 ? "weight after selection" : "attention weight");
        rc = grid_draw(c, &g, &p, out, err);
    }
    for (int i = 0; thumb && i < n; i++) free(thumb[i]);
    free(thumb);
    return rc;
}

/* ---- pages ---- */

enum { PAGE_CELLS = 320 };

static enum sac_code pages_draw(struct shot_ctx *c, const struct ui_pages *p, uint32_t *cell, int w,
                                struct figure_bytes *out, struct sac_err *err)
{
    struct labels row = { NULL, NULL };
    uint32_t *gold = malloc((size_t)w * sizeof *gold);
    if (!labels_make(&row, p->n_pairs, "", 0) || !gold) {
        labels_free(&row);
        free(gold);
        return shot_failed(c, err, "this figure");
    }
    for (int i = 0; i < p->n_pairs; i++)
        snprintf(row.text[i], sizeof row.text[i], "L%d kv%d", i / p->n_kv_heads, i % p->n_kv_heads);
    for (int x = 0; x < w; x++) {
        int lo = ui_bin_lo(x, p->n_pages, w), hi = ui_bin_hi(x, p->n_pages, w);
        gold[x] = FIGURE_EMPTY;
        for (int g = lo; g < hi && g < p->n_pages; g++)
            if (p->state[g] & UI_PAGE_GOLD) gold[x] = SHOT_GOLD;
    }
    struct figure_strip strip = { .label = "gold", .cell = gold };
    struct figure_pane pane = { .h = p->n_pairs,
                                .w = w,
                                .cell = cell,
                                .y = { 0, p->n_pairs, NULL, row.at, true, NULL, false },
                                .x = { 0, p->n_pages, shot_page_axis(c, p->own_page, p->page), NULL, true,
                                       NULL, false },
                                .n_strips = c->info.n_spans > 0,
                                .strip = &strip,
                                .side = p->recall,
                                .side_title = "mass read",
                                .free_aspect = true };
    struct figure_key key[8];
    bool whole = false;
    for (int i = 0; i < p->n_pairs; i++) whole = whole || p->n_kept[i] > p->row;
    struct figure_map m = { .text = { c->title, c->subtitle, c->caption }, .n_panes = 1, .pane = &pane,
                            .n_keys = shot_page_keys(c, whole, false, key), .key = key, .pane_size = 640 };
    enum sac_code rc = figure_draw_map(&m, &c->style, c->format, &c->meta, out, err);
    labels_free(&row);
    free(gold);
    return rc;
}

enum sac_code shot_pages(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err)
{
    struct ui_pages *p = ui_pages_compute(c->t, c->s->at.a, c->s->at.step, false, c->cancel);
    if (!p) return shot_failed(c, err, "the pages of this step");
    int w = p->n_pages < PAGE_CELLS ? p->n_pages : PAGE_CELLS;
    uint32_t *cell = malloc((size_t)p->n_pairs * (size_t)w * sizeof *cell);
    enum sac_code rc = cell ? SAC_OK : shot_failed(c, err, "this figure");
    for (int i = 0; !rc && i < p->n_pairs; i++)
        for (int x = 0; x < w; x++)
            cell[(size_t)i * (size_t)w + (size_t)x] =
                shot_page_colour(c, p->state + (size_t)i * (size_t)p->n_pages, ui_bin_lo(x, p->n_pages, w),
                                 ui_bin_hi(x, p->n_pages, w), p->n_pages, p->n_kept[i] > p->row);
    if (!rc) {
        char name[80], source[200], seen[96];
        ui_token_name(c->t, c->s->at.a, c->info.n_prompt + p->step, seen, sizeof seen);
        shot_lane_title(&c->a, name, sizeof name);
        snprintf(c->title, sizeof c->title, "%s, what step %d reads: row %d → “%s”", name, p->step, p->row,
                 seen);
        int n = snprintf(c->subtitle, sizeof c->subtitle,
                     "%s · %d columns of %d tokens · a line for each layer and KV head",
                     shot_source(c, source, sizeof source), p->n_pages, p->page);
        if (w < p->n_pages)
            snprintf(c->subtitle + n, sizeof c->subtitle - (size_t)n, " · 1 cell = %.1f pages",
                     p->n_pages / (double)w);
        shot_caption(
            c, "Mass read: dense attention mass on what is read, mean over the query heads of the group.");
        rc = pages_draw(c, p, cell, w, out, err);
    }
    free(cell);
    free(p);
    return rc;
}

/* ---- text ---- */

enum { SHADES = 5, MAX_TOKENS = 3000, MAX_SHOWN = 1500 };

/* 0 below the uniform weight, then one step for each factor of four. */
static int shade_of(double lift)
{
    int s = lift < 1 ? 0 : 1 + (int)floor(log2(lift) / 2);
    return s > SHADES ? SHADES : s;
}

struct prose_work {
    struct ui_text *tx;
    struct ui_row *row;
    float *lift;
    unsigned char *folded;
    char *raw;                     /* the tokens' own bytes, token i from raw_at[i] on */
    int *raw_at;
    struct figure_token *tok;
    char *pool;
    int n;
};

static void prose_free(struct prose_work *w)
{
    free(w->tx);
    free(w->row);
    free(w->lift);
    free(w->folded);
    free(w->tok);
    free(w->raw);
    free(w->raw_at);
    free(w->pool);
}

static uint32_t shade_rgb(const struct shot_ctx *c, int s)
{
    static const uint32_t light[] = { 0xffffff, 0xfff3cf, 0xfedf8f, 0xfcb954, 0xf18a2b, 0xc7551a };
    static const uint32_t dark[] = { 0x14161a, 0x24334d, 0x27508a, 0x2f74bb, 0x58a4dd, 0xa5d8f7 };
    return s <= 0 ? FIGURE_EMPTY : c->s->dark ? dark[s] : light[s];
}

static int fold_line(struct prose_work *w, double fold, int from, int to, char *buf)
{
    char than[32] = "uniform";
    if (fold > 1 || fold < 1) snprintf(than, sizeof than, "%g× uniform", fold);
    struct figure_token *f = &w->tok[w->n++];
    *f = (struct figure_token){ .text = buf, .bg = FIGURE_EMPTY, .fold = true };
    return sprintf(buf, "… %d tokens, %d to %d, each below %s …", to - from, from, to - 1, than) + 1;
}

/* Where token i's text begins when a character that tokens share (bytes of one letter) goes to the token with
 * its first byte. */
static int text_from(const struct prose_work *w, int i)
{
    int p = w->raw_at[i], end = w->raw_at[w->tx->n], lead = p - 1;
    const unsigned char *b = (const unsigned char *)w->raw;
    while (lead >= 0 && p - lead < 4 && (b[lead] & 0xc0) == 0x80) lead--;
    if (i == 0 || lead < 0 || b[lead] < 0xc2 || b[lead] > 0xf4) return p;
    int len = b[lead] < 0xe0 ? 2 : b[lead] < 0xf0 ? 3 : 4;
    if (lead + len <= p || lead + len > end) return p;
    for (int k = 1; k < len; k++)
        if ((b[lead + k] & 0xc0) != 0x80) return p;
    return lead + len;
}

static bool prose_tokens(struct shot_ctx *c, struct prose_work *w, int row, double fold)
{
    int n = row + 2 < w->tx->n ? row + 2 : w->tx->n;        /* up to the token the row predicts */
    w->tok = calloc((size_t)n + 2, sizeof *w->tok);
    w->pool = malloc((size_t)w->raw_at[w->tx->n] * 4 + (size_t)n * 96 + 1);
    if (!w->tok || !w->pool) return false;
    char *p = w->pool;
    int deepest = 0;
    for (int i = 0; i < n; i++) {
        if (w->folded[i]) {
            int j = i;
            while (j < n && w->folded[j]) j++;
            p += fold_line(w, fold, i, j, p);
            i = j - 1;
            continue;
        }
        int from = text_from(w, i), to = i + 1 < w->tx->n ? text_from(w, i + 1) : w->raw_at[i + 1];
        bool joins = from > w->raw_at[i] && to <= from && w->n > 0 && !w->tok[w->n - 1].fold;
        struct figure_token *t = &w->tok[joins ? w->n - 1 : w->n++];
        int len = to > from ? ui_text_visible(w->raw + from, to - from, p, 4 * (to - from)) : 0;
        p[len] = 0;
        if (!joins) t->text = p;
        p += len + 1;
        unsigned char flag = i <= row && i < w->row->n_keys ? w->row->flag[i] : 0;
        int s = i <= row && c->s->at.shade != UI_SHADE_NONE ? shade_of((double)w->lift[i]) : 0;
        deepest = joins && deepest > s ? deepest : s;      /* bytes of one letter: the most of them */
        t->bg = shade_rgb(c, deepest);
        t->kept |= c->s->at.a > 0 && (flag & UI_KEY_KEPT);
        t->gold |= (flag & UI_KEY_GOLD) != 0;
        t->missed |= i <= row && c->s->at.a > 0 && !(flag & UI_KEY_KEPT) && (double)w->row->w[i] > 0.01;
        t->newline |= w->tx->tok[i].newline;
        t->generated |= i >= w->tx->n_prompt;
        t->query |= i == row;
    }
    return true;
}

static bool raw_text(struct shot_ctx *c, struct prose_work *w)
{
    char one[512];
    int at = 0;
    w->raw_at = malloc(((size_t)w->tx->n + 1) * sizeof *w->raw_at);
    for (int pass = 0; w->raw_at && pass < 2; pass++, at = pass < 2 ? 0 : at) {
        if (pass && !(w->raw = malloc((size_t)w->raw_at[w->tx->n] + 1))) return false;
        for (int i = 0; i < w->tx->n; i++) {
            const char *from = one;
            int len = sac_trace_token(c->t, c->s->at.a, i, one, sizeof one);
            len = len < 0 ? 0 : len < (int)sizeof one ? len : (int)sizeof one - 1;
            struct sac_span sp =
                i < c->info.n_prompt ? sac_trace_token_span(c->t, i) : (struct sac_span){ 0, 0 };
            if (sp.hi > sp.lo && (size_t)sp.hi <= c->info.text_len)
                from = c->info.text + sp.lo, len = sp.hi - sp.lo;
            w->raw_at[i] = at;
            if (pass) memcpy(w->raw + at, from, (size_t)len);
            at += len;
        }
        w->raw_at[w->tx->n] = at;
    }
    return w->raw_at != NULL;
}

static bool prose_open(struct shot_ctx *c, struct prose_work *w, int row)
{
    int per = c->info.shape.n_heads / c->info.shape.n_kv_heads;
    int head = c->s->at.group ? -1 - c->s->at.head / per : c->s->at.head;
    w->tx = ui_text_compute(c->t, c->s->at.a, c->cancel);
    w->row = ui_row_compute(c->t, c->s->at.a, c->s->at.layer, head, row, c->cancel);
    if (!w->tx || !w->row || !raw_text(c, w)) return false;
    w->lift = calloc((size_t)w->tx->n + 1, sizeof *w->lift);
    w->folded = calloc((size_t)w->tx->n + 1, 1);
    if (!w->lift || !w->folded) return false;
    for (int i = 0; i < w->row->n_keys && i < w->tx->n; i++) {
        w->lift[i] = w->row->w[i] * (float)w->row->n_keys;
        if (w->row->flag[i] & UI_KEY_GOLD || i == row) w->tx->tok[i].keep = true;
    }
    /* Long prompts with much that is attended to: fold more, in steps of four, until it can be read. */
    for (double fold = c->s->at.fold;; fold *= 4) {
        ui_text_fold(w->tx->tok, w->lift, w->tx->n, fold, 12, 40, w->folded);
        int shown = 0;
        for (int i = 0; i <= row && i < w->tx->n; i++) shown += !w->folded[i];
        if (shown <= MAX_SHOWN || fold < 1 || fold > 1e5) return prose_tokens(c, w, row, fold);
    }
}

enum sac_code shot_text(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err)
{
    struct prose_work w = { .n = 0 };
    int row = shot_row(c, c->s->at.a);
    enum sac_code rc = SAC_OK;
    if (!prose_open(c, &w, row)) rc = shot_failed(c, err, "the text of this row");
    else if (w.n > MAX_TOKENS)
        rc = sac_fail(err, SAC_EARG,
                      "%d tokens would be shown: raise --fold (now %g) to leave out what is not attended "
                      "to",
                      w.n, c->s->at.fold);
    if (!rc) {
        char name[80], head[120], source[200], seen[96];
        uint32_t shade[SHADES + 1];
        ui_token_name(c->t, c->s->at.a, row + 1, seen, sizeof seen);
        shot_lane_title(&c->a, name, sizeof name);
        shot_head_title(c, head, sizeof head);
        snprintf(c->title, sizeof c->title, "What row %d reads before “%s”", row, seen);
        snprintf(c->subtitle, sizeof c->subtitle, "%s, %s · %s · shade: weight relative to uniform", name,
                 head, shot_source(c, source, sizeof source));
        shot_caption(c, "Dense attention weights of the lane's own queries and keys.");
        for (int i = 0; i <= SHADES; i++) shade[i] = i ? shade_rgb(c, i) : figure_theme_pane(c->s->dark);
        static const double tt[] = { 1 / 6.0, 2 / 6.0, 3 / 6.0, 4 / 6.0, 5 / 6.0 };
        static const char *const tl[] = { "1×", "4×", "16×", "64×", "256×" };
        struct figure_key key[5];
        int nk = 0;
        key[nk++] = (struct figure_key){ FIGURE_OUTLINE, figure_colour(0), "the query" };
        if (c->s->at.a > 0) key[nk++] = (struct figure_key){ FIGURE_UNDERLINE, figure_colour(0), "read" };
        if (c->s->at.a > 0)
            key[nk++] = (struct figure_key){ FIGURE_LINE, SHOT_LOSS, "missed: bold, over 1 %" };
        if (c->info.n_spans) key[nk++] = (struct figure_key){ FIGURE_BRACKET, SHOT_GOLD, "gold" };
        struct figure_prose p = { .text = { c->title, c->subtitle, c->caption },
                                  .n = w.n,
                                  .token = w.tok,
                                  .scale = { "relative to uniform", SHADES + 1, shade, 5, tt, tl },
                                  .n_keys = nk,
                                  .key = key };
        rc = figure_draw_prose(&p, &c->style, c->format, &c->meta, out, err);
    }
    prose_free(&w);
    return rc;
}

/* ---- recall along the queries ---- */

enum { ALONG = 160, MAX_SERIES = 12 };

/* The method, its settings where another lane has the same method, and why a curve lies at 1. */
static void recall_name(const struct shot_ctx *c, int lane, const struct sac_lane *l, const double *y, int n,
                        char *buf, size_t cap)
{
    struct sac_lane other, same = *l;
    for (int i = 1; i < c->info.n_lanes; i++) {
        sac_trace_lane(c->t, i, &other);
        if (i != lane && !strcmp(other.title, l->title)) same = other;
    }
    shot_lane_titles(l, &same, buf, cap);
    double least = 1;
    for (int i = 0; i < n; i++)
        if (!isnan(y[i])) least = fmin(least, y[i]);
    size_t at = strlen(buf);
    if (least > 0.99999 && at < cap) snprintf(buf + at, cap - at, " (dense in these rows)");
}

enum sac_code shot_recall(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err)
{
    struct ui_along *a[MAX_SERIES] = { NULL };
    double *x[MAX_SERIES] = { NULL }, *y[MAX_SERIES] = { NULL };
    struct figure_series series[MAX_SERIES];
    char name[MAX_SERIES][240];
    int n = 0, per = c->info.shape.n_heads / c->info.shape.n_kv_heads;
    int head = c->s->at.group ? -1 - c->s->at.head / per : c->s->at.head;
    struct ui_window w = shot_window(c, c->s->at.a);
    enum sac_code rc = SAC_OK;
    for (int lane = 1; lane < c->info.n_lanes && n < MAX_SERIES && !rc; lane++) {
        struct sac_lane l;
        sac_trace_lane(c->t, lane, &l);
        if (sac_trace_n_rows(c->t, lane, c->s->at.layer) < w.q1) continue;
        int rows = w.q1 - w.q0 < ALONG ? w.q1 - w.q0 : ALONG;
        a[n] = ui_along_compute(c->t, lane, c->s->at.layer, head, w.q0, w.q1, rows, c->cancel);
        int m = a[n] ? a[n]->n : 0;
        x[n] = malloc(((size_t)m + 1) * sizeof(double));
        y[n] = malloc(((size_t)m + 1) * sizeof(double));
        if (!a[n] || !x[n] || !y[n]) rc = shot_failed(c, err, "recall along the queries");
        for (int i = 0; !rc && i < m; i++) {
            x[n][i] = ui_along_row(a[n], i);
            y[n][i] = fmin((double)a[n]->mass[i], 1);
        }
        recall_name(c, lane, &l, y[n], m, name[n], sizeof name[n]);
        series[n] = (struct figure_series){
            .name = name[n], .n = m, .x = x[n], .y = y[n], .no_marks = m > 1, .dashed = n % 2 == 1
        };
        n++;
    }
    if (!rc && n == 0)
        rc = sac_fail(err, SAC_EARG, "recall compares a method with dense attention: name one with --method");
    if (!rc) {
        char who[120], source[200];
        shot_head_title(c, who, sizeof who);
        snprintf(c->title, sizeof c->title, "Attention mass the methods read, %s", who);
        snprintf(c->subtitle, sizeof c->subtitle, "%s · share of each row's dense attention",
                 shot_source(c, source, sizeof source));
        shot_caption(c, "");
        struct figure_plot p = { .text = { c->title, c->subtitle, c->caption },
                                 .x_title = "query (token position)",
                                 .y_title = "mass recall",
                                 .n_series = n,
                                 .series = series,
                                 .y_lo = 0,
                                 .y_hi = 1.02 };
        rc = figure_draw_plot(&p, &c->style, c->format, &c->meta, out, err);
    }
    for (int i = 0; i < MAX_SERIES; i++) {
        free(a[i]);
        free(x[i]);
        free(y[i]);
    }
    return rc;
}
