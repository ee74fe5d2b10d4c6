/* The page timeline as a figure: what one KV head reads at every step of the answer.
 *
 * A line is a step, labelled by the token it writes; a column is a page of the method, or 16 tokens where the
 * method has no pages. The rule for "left out, though heavy" is that of the Pages screen: a page among the
 * heaviest in dense attention, as many as are read. */
#include "export_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_BIN = 16, CELLS = 320, MAX_STEPS = 512 };

struct scratch { float *w, *sum; unsigned char *kept; struct sac_run *run; float *rank; };

static int heavier(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* One step: mean weights of the group's heads, what any of them reads. False: not recorded. */
static bool one_step(struct shot_ctx *c, struct shot_timeline *t, int step, struct scratch *s)
{
    const struct sac_shape *sh = &c->info.shape;
    int per = sh->n_heads / sh->n_kv_heads, kv = c->s->at.head / per, row = c->info.n_prompt - 1 + step,
        n = row + 1;
    unsigned char *state = t->state + (size_t)step * (size_t)t->n_pages;
    float *mass = t->mass + (size_t)step * (size_t)t->n_pages;
    double read_mass = 0;
    memset(s->sum, 0, (size_t)n * sizeof *s->sum);
    memset(s->kept, 0, (size_t)n);
    for (int h = kv * per; h < (kv + 1) * per; h++) {
        struct sac_rows rows = { .run = s->run, .cap = n / 2 + 1 };
        if (shot_stopped(c) || !sac_trace_rows(c->t, c->s->at.a, c->s->at.layer, h, row, &rows) ||
            !sac_trace_weights(c->t, c->s->at.a, c->s->at.layer, h, row, s->w))
            return false;
        for (int i = 0; i < n; i++) s->sum[i] += s->w[i] / (float)per;
        for (int r = 0; r < rows.n; r++)
            for (int k = rows.run[r].lo; k < rows.run[r].hi && k < n; k++) {
                s->kept[k] = 1;
                read_mass += (double)s->w[k] / per;
            }
    }
    int n_read = 0, pages = (n + t->page - 1) / t->page;
    for (int g = 0; g < pages; g++) {
        int read = 0, forced = 0;
        for (int k = g * t->page; k < (g + 1) * t->page && k < n; k++) {
            mass[g] += s->sum[k];
            read += s->kept[k];
            forced += s->kept[k] && sac_trace_forced(c->t, c->s->at.a, row, k);
        }
        if (read) state[g] = forced * 2 >= read ? UI_PAGE_FORCED : UI_PAGE_CHOSEN;
        n_read += read > 0;
    }
    memcpy(s->rank, mass, (size_t)pages * sizeof *mass);
    qsort(s->rank, (size_t)pages, sizeof *s->rank, heavier);
    for (int g = 0; g < pages; g++)
        if (n_read > 0 && mass[g] >= s->rank[n_read - 1]) state[g] |= UI_PAGE_DENSE_TOP;
    t->recall[step] = (float)read_mass;
    int kept = 0;
    for (int k = 0; k < n; k++) kept += s->kept[k];
    t->whole[step] = kept == n;
    return true;
}

struct shot_timeline *shot_timeline_compute(struct shot_ctx *c)
{
    int rows = sac_trace_n_rows(c->t, c->s->at.a, c->s->at.layer), steps = rows - (c->info.n_prompt - 1);
    int own = sac_trace_page_size(c->t, c->s->at.a), page = own > 1 ? own : TOKEN_BIN;
    if (steps > MAX_STEPS) steps = MAX_STEPS;
    if (steps < 1) return NULL;
    int last = c->info.n_prompt - 1 + steps, pages = (last + page - 1) / page;
    size_t cells = (size_t)steps * (size_t)pages, n = (size_t)last;
    struct shot_timeline *t =
        calloc(1, sizeof *t + (cells + (size_t)steps) * sizeof(float) + cells + (size_t)steps);
    struct scratch s = { malloc(n * sizeof *s.w), malloc(n * sizeof *s.sum), malloc(n),
                         malloc((n / 2 + 1) * sizeof *s.run), malloc((size_t)pages * sizeof *s.rank) };
    bool ok = t && s.w && s.sum && s.kept && s.run && s.rank;
    if (ok) {
        *t = (struct shot_timeline){ .n_steps = steps, .n_pages = pages, .page = page, .own_page = own };
        t->mass = (float *)(void *)(t + 1);
        t->recall = t->mass + cells;
        t->whole = (bool *)(void *)(t->recall + steps);
        t->state = (unsigned char *)(t->whole + steps);
    }
    for (int i = 0; ok && i < steps; i++) ok = one_step(c, t, i, &s);
    free(s.w);
    free(s.sum);
    free(s.kept);
    free(s.run);
    free(s.rank);
    if (ok) return t;
    free(t);
    return NULL;
}

/* ---- the figure ---- */

uint32_t shot_page_colour(const struct shot_ctx *c, const unsigned char *state, int lo, int hi, int n_pages,
                          bool whole)
{
    bool forced = false, chosen = false, missed = false;
    if (lo >= n_pages) return figure_theme_page(c->s->dark);          /* not written yet */
    if (whole) return figure_blend(figure_theme_pane(c->s->dark), c->s->dark ? 0xffffff : 0x000000, 0.35);
    for (int g = lo; g < hi && g < n_pages; g++) {
        forced = forced || (state[g] & UI_PAGE_FORCED);
        chosen = chosen || (state[g] & UI_PAGE_CHOSEN);
        missed =
            missed || ((state[g] & UI_PAGE_DENSE_TOP) && !(state[g] & (UI_PAGE_FORCED | UI_PAGE_CHOSEN)));
    }
    return missed ? SHOT_LOSS : chosen ? SHOT_CHOSEN : forced ? SHOT_FORCED : FIGURE_EMPTY;
}

int shot_page_keys(const struct shot_ctx *c, bool whole, bool later, struct figure_key *k)
{
    static const unsigned char none[1] = { 0 };
    int n = 0;
    k[n++] = (struct figure_key){ FIGURE_SWATCH, SHOT_CHOSEN, "chosen by score" };
    k[n++] = (struct figure_key){ FIGURE_SWATCH, SHOT_FORCED, "forced by rule" };
    k[n++] = (struct figure_key){ FIGURE_SWATCH, SHOT_LOSS, "missed: left out, though among the heaviest" };
    k[n++] = (struct figure_key){ FIGURE_SWATCH, figure_theme_pane(c->s->dark), "left out" };
    if (whole)
        k[n++] = (struct figure_key){ FIGURE_SWATCH, shot_page_colour(c, none, 0, 1, 1, true),
                                      "dense: every key is read" };
    if (later)
        k[n++] = (struct figure_key){ FIGURE_SWATCH, figure_theme_page(c->s->dark), "not written yet" };
    if (c->info.n_spans > 0)
        k[n++] = (struct figure_key){ FIGURE_TICK, SHOT_GOLD, "gold: tokens the answer needs" };
    return n;
}

static void step_names(struct shot_ctx *c, int n, char (*text)[96], const char **name)
{
    for (int i = 0; i < n; i++) {
        char shown[64];
        c->cut_letters |= ui_token_name(c->t, c->s->at.a, c->info.n_prompt + i, shown, sizeof shown);
        snprintf(text[i], sizeof text[i], "%d → %s", i, shown);
        name[i] = text[i];
    }
}

static enum sac_code draw(struct shot_ctx *c, const struct shot_timeline *t, struct figure_bytes *out,
                          struct sac_err *err)
{
    int w = t->n_pages < CELLS ? t->n_pages : CELLS;
    uint32_t *cell = malloc((size_t)t->n_steps * (size_t)w * sizeof *cell),
             *gold = malloc((size_t)w * sizeof *gold);
    char (*text)[96] = malloc((size_t)t->n_steps * sizeof *text);
    const char **name = malloc((size_t)t->n_steps * sizeof *name);
    bool whole = false, later = false;
    enum sac_code rc = SAC_OK;
    if (!cell || !gold || !text || !name) rc = shot_failed(c, err, "this figure");
    for (int x = 0; !rc && x < w; x++) {
        int lo = ui_bin_lo(x, t->n_pages, w), hi = ui_bin_hi(x, t->n_pages, w);
        gold[x] = FIGURE_EMPTY;
        for (int i = 0; i < c->info.n_spans; i++)
            if (c->info.span[i].lo < hi * t->page && c->info.span[i].hi > lo * t->page) gold[x] = SHOT_GOLD;
        for (int y = 0; y < t->n_steps; y++) {
            int pages = (c->info.n_prompt + y + t->page - 1) / t->page;
            cell[(size_t)y * (size_t)w + (size_t)x] = shot_page_colour(
                c, t->state + (size_t)y * (size_t)t->n_pages, lo, hi, pages, t->whole[y]);
            whole = whole || t->whole[y];
            later = later || lo >= pages;
        }
    }
    if (!rc) {
        step_names(c, t->n_steps, text, name);
        shot_cut_letters(c);
        struct figure_strip strip = { .label = "gold", .cell = gold };
        struct figure_pane pane = { .h = t->n_steps,
                                    .w = w,
                                    .cell = cell,
                                    .y = { 0, t->n_steps, "step → token", name, true, "step", false },
                                    .x = { 0, t->n_pages, shot_page_axis(c, t->own_page, t->page), NULL, true,
                                           NULL, false },
                                    .n_strips = c->info.n_spans > 0,
                                    .strip = &strip,
                                    .side = t->recall,
                                    .side_title = "mass read",
                                    .free_aspect = true };
        struct figure_key key[8];
        struct figure_map m = { .text = { c->title, c->subtitle, c->caption }, .n_panes = 1, .pane = &pane,
                                .n_keys = shot_page_keys(c, whole, later, key), .key = key,
                                .pane_size = 640 };
        rc = figure_draw_map(&m, &c->style, c->format, &c->meta, out, err);
    }
    free(cell);
    free(gold);
    free(text);
    free(name);
    return rc;
}

enum sac_code shot_timeline(struct shot_ctx *c, struct figure_bytes *out, struct sac_err *err)
{
    struct shot_timeline *t = shot_timeline_compute(c);
    if (!t) return shot_failed(c, err, "the timeline");
    char name[80], source[200];
    int per = c->info.shape.n_heads / c->info.shape.n_kv_heads;
    shot_lane_title(&c->a, name, sizeof name);
    snprintf(c->title, sizeof c->title, "%s, what the answer reads: layer %d KV head %d", name,
             c->s->at.layer, c->s->at.head / per);
    snprintf(c->subtitle, sizeof c->subtitle, "%s · a line for each step · %d columns of %d tokens",
             shot_source(c, source, sizeof source), t->n_pages, t->page);
    shot_caption(c,
                 "Mass read: dense attention mass on what is read, mean over the query heads of the group.");
    enum sac_code rc = draw(c, t, out, err);
    free(t);
    return rc;
}
