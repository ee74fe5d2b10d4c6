/* From a shot to a figure: what every view shares (titles, captions, colours, checks) and the choice of a
 * view.
 *
 * A figure says in words what a screen shows in its context line: layer, head, method, scale, pooling, range,
 * sinks, size of a cell, model and prompt by hash. Views are in export_map.c and export_views.c, recipes in
 * export_recipe.c, numbers in export_data.c. */
#include "export_int.h"
#include "views.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const ui_shot_name[UI_N_SHOTS + 1] = { "map",   "heads",  "compare",  "text",
                                                   "pages", "recall", "timeline", NULL };

void ui_shot_default(struct ui_shot *s, const struct sac_trace *t, enum ui_shot_view view, int lane)
{
    struct sac_trace_info info;
    sac_trace_info(t, &info);
    memset(s, 0, sizeof *s);
    s->view = view;
    s->map = UI_MAP_VIRIDIS;
    s->at.a = lane;
    s->at.row = s->at.key = info.n_prompt - 1;
    s->at.similar_to = -1;
    s->at.overlay = lane > 0 ? UI_OVER_MISSES : UI_OVER_NONE;
    s->at.metric = lane > 0 ? UI_M_MASS : UI_M_ENTROPY;
    s->at.fold = 1;
    s->at.shade = UI_SHADE_A;
    s->at.linked = true;
}

bool ui_shot_of(struct ui_shot *s, const struct ui_state *st)
{
    static const int view[UI_N_SCREENS] = { -1, UI_SHOT_HEADS, UI_SHOT_MAP, UI_SHOT_COMPARE, UI_SHOT_TEXT,
                                            UI_SHOT_PAGES, -1 };
    if (!st->trace || st->at.screen >= UI_N_SCREENS || view[st->at.screen] < 0) return false;
    memset(s, 0, sizeof *s);
    s->view = (enum ui_shot_view)view[st->at.screen];
    s->at = st->at;
    if (st->at.screen == UI_SCREEN_MAP || st->at.screen == UI_SCREEN_COMPARE) {      /* what is shown, no more */
        struct ui_window *w = &s->at.win[st->at.screen];
        if (w->q1 <= w->q0) *w = uv_window(st, st->at.screen, st->at.a);
        if (st->at.screen == UI_SCREEN_COMPARE) {
            int n = sac_trace_n_rows(st->trace, st->at.b, st->at.layer);
            if (w->q1 > n && w->q0 < n) w->q1 = n;
            if (w->k1 > n && w->k0 < n) w->k1 = n;
        }
    }
    s->map = ui_look_map(&st->look);
    s->dark = st->look.theme != UI_THEME_LIGHT;
    return true;
}

/* ---- checks ---- */

static bool shows_head(const struct ui_shot *s)
{
    return s->view != UI_SHOT_HEADS && s->view != UI_SHOT_PAGES;
}

enum sac_code ui_shot_check(struct ui_shot *s, const struct sac_trace *t, struct sac_err *err)
{
    struct sac_trace_info i;
    sac_trace_info(t, &i);
    struct ui_where *at = &s->at;
    if (at->a < 0 || at->a >= i.n_lanes || at->b < 0 || at->b >= i.n_lanes)
        return sac_fail(err, SAC_EARG, "there is no lane %d: this run has %d",
                        at->a >= i.n_lanes ? at->a : at->b, i.n_lanes);
    if (shows_head(s) && (at->layer < 0 || at->layer >= i.shape.n_layers))
        return sac_fail(err, SAC_EARG, "layer %d: the model has layers 0 to %d", at->layer,
                        i.shape.n_layers - 1);
    if (shows_head(s) && (at->head < 0 || at->head >= i.shape.n_heads))
        return sac_fail(err, SAC_EARG, "head %d: the model has heads 0 to %d", at->head, i.shape.n_heads - 1);
    if (s->layer_hi > i.shape.n_layers || s->layer_lo < 0)
        return sac_fail(err, SAC_EARG, "layers %d-%d: the model has layers 0 to %d", s->layer_lo,
                        s->layer_hi - 1, i.shape.n_layers - 1);
    if (s->head_hi > i.shape.n_heads || s->head_lo < 0)
        return sac_fail(err, SAC_EARG, "heads %d-%d: the model has heads 0 to %d", s->head_lo, s->head_hi - 1,
                        i.shape.n_heads - 1);
    int rows = sac_trace_n_rows(t, at->a, shows_head(s) ? at->layer : 0);
    if (rows <= 0)
        return sac_fail(err, SAC_EARG, "lane %d holds no attention yet: the run recorded none", at->a);
    for (int k = 0; k < UI_N_SCREENS; k++) {
        struct ui_window *w = &at->win[k];
        if (!w->q1) continue;
        if (w->q0 < 0 || w->k0 < 0 || w->q1 > rows || w->k1 > rows || w->q0 >= w->q1 || w->k0 >= w->k1)
            return sac_fail(err, SAC_EARG, "window %d-%d x %d-%d: rows and keys run from 0 to %d", w->q0,
                            w->q1 - 1, w->k0, w->k1 - 1, rows - 1);
    }
    if (at->row < 0 || at->row >= rows) at->row = i.n_prompt - 1;
    struct sac_lane l;
    sac_trace_lane(t, at->a, &l);
    if (at->step >= l.n_steps) at->step = l.n_steps - 1;
    if (at->step < 0) at->step = 0;
    return SAC_OK;
}

/* ---- shared parts ---- */

bool shot_stopped(const struct shot_ctx *c)
{
    return c->cancel && atomic_load_explicit(c->cancel, memory_order_relaxed);
}

enum sac_code shot_failed(const struct shot_ctx *c, struct sac_err *err, const char *what)
{
    if (shot_stopped(c)) return sac_fail(err, SAC_ECANCEL, "stopped before the figure was drawn");
    if (shows_head(c->s) && isnan(sac_trace_lse(c->t, c->s->at.a, c->s->at.layer, c->s->at.head, 0)))
        return sac_fail(err, SAC_EARG, "layer %d: its queries and keys are not in this recording",
                        c->s->at.layer);
    return sac_fail(err, SAC_ENOMEM, "%s could not be computed: not recorded in this run, or out of memory",
                    what);
}

/* A method that acts in decode alone shows the rows of the answer: its prompt rows are dense. */
struct ui_window shot_window(const struct shot_ctx *c, int lane)
{
    struct ui_window w = c->s->at.win[c->s->view == UI_SHOT_COMPARE ? UI_SCREEN_COMPARE : UI_SCREEN_MAP];
    const struct ui_where *at = &c->s->at;
    int n = c->info.n_prompt, rows = sac_trace_n_rows(c->t, lane, at->layer), other = rows;
    if (w.q1) return w;
    if (c->s->view == UI_SHOT_COMPARE)
        other = sac_trace_n_rows(c->t, at->a == lane ? at->b : at->a, at->layer);
    if (other < rows) rows = other;
    if (at->a > 0 && rows > n + 1 && !sac_trace_plan(c->t, at->a, at->layer, at->head))
        return (struct ui_window){ n - 1, rows, 0, rows };
    return (struct ui_window){ 0, n, 0, n };
}

bool shot_wide(int nq, int nk) { return nq * 3 < nk && nq > 0; }

void shot_cells(int nq, int nk, int most, int *h, int *w)
{
    double per = (nq > nk ? nq : nk) / (double)most;
    if (per < 1) per = 1;
    *w = (int)ceil(nk / per - 1e-9);
    *h = shot_wide(nq, nk) ? (nq < most ? nq : most) : (int)ceil(nq / per - 1e-9);
}

int shot_row(const struct shot_ctx *c, int lane)
{
    int rows = sac_trace_n_rows(c->t, lane, c->s->at.layer);
    return c->s->at.row < rows ? c->s->at.row : rows - 1;
}

void shot_ramp(struct shot_ctx *c)
{
    bool turn = c->s->map == UI_MAP_GREY && !c->s->dark;
    for (int i = 0; i < RAMP; i++) {
        double t = i / (RAMP - 1.0);
        c->ramp[i] = ui_map_rgb(c->s->map, turn ? 1 - t : t);
    }
}

uint32_t shot_colour(const struct shot_ctx *c, double t)
{
    int l = ui_heat_level(t, RAMP);
    return l < 0 ? FIGURE_EMPTY : c->ramp[l];
}

uint32_t shot_unread(const struct shot_ctx *c)
{
    return ui_colour_mix(UI_TIER_RGB, figure_theme_pane(c->s->dark), c->s->dark ? 0xffffff : 0x000000, 0.13);
}

static void add_tick(struct shot_ctx *c, double t, const char *text)
{
    if (c->n_ticks == 12) return;
    c->tick_t[c->n_ticks] = t;
    snprintf(c->tick_text[c->n_ticks], sizeof c->tick_text[0], "%s", text);
    c->tick[c->n_ticks] = c->tick_text[c->n_ticks];
    c->n_ticks++;
}

void shot_ticks(struct shot_ctx *c, const struct ui_heat *h)
{
    char s[16];
    c->n_ticks = 0;
    if (h->scale == UI_SCALE_LOG) {
        for (int e = (int)ceil(h->lo); e <= (int)floor(h->hi); e++) {
            if (e <= -3 || e > 0) snprintf(s, sizeof s, "1e%d", e);
            else snprintf(s, sizeof s, "%g", pow(10, e));
            add_tick(c, (e - h->lo) / (h->hi - h->lo), s);
        }
    } else if (h->scale == UI_SCALE_LIFT) {
        static const char *const name[] = { "1/4096×", "1/64×", "uniform", "64×", "4096×" };
        for (int i = 0; i < 5; i++) add_tick(c, i / 4.0, name[i]);
    } else {
        double hi = h->scale == UI_SCALE_RANK ? 1 : h->hi;
        for (int i = 0; i <= 4; i++) {
            double v = hi * i / 4;
            snprintf(s, sizeof s, "%.3g", v);
            add_tick(c, h->scale == UI_SCALE_ROOT ? sqrt(i / 4.0) : i / 4.0, s);
        }
    }
}

void shot_scale(struct shot_ctx *c, struct figure_scale *out, const char *title)
{
    *out = (struct figure_scale){ .title = title, .n_colours = RAMP, .colour = c->ramp, .n_ticks = c->n_ticks,
                                  .tick_t = c->tick_t, .tick = c->tick };
}

void shot_lane_titles(const struct sac_lane *l, const struct sac_lane *other, char *buf, size_t cap)
{
    shot_lane_title(l, buf, cap);
    size_t n = strlen(buf);
    const char *args = strchr(l->spec, ':');
    if (!strcmp(l->title, other->title) && strcmp(l->spec, other->spec) && args && n < cap)
        snprintf(buf + n, cap - n, " (%s)", args + 1);
}

void shot_lane_title(const struct sac_lane *l, char *buf, size_t cap)
{
    const char *plus = strchr(l->spec, '+');
    if (!strcmp(l->method, "dense")) snprintf(buf, cap, "dense");
    else if (plus) snprintf(buf, cap, "%s + %.*s", l->title, (int)strcspn(plus + 1, ":+"), plus + 1);
    else snprintf(buf, cap, "%s", l->title);
}

void shot_head_title(const struct shot_ctx *c, char *buf, size_t cap)
{
    const struct ui_where *at = &c->s->at;
    int per = c->info.shape.n_heads / c->info.shape.n_kv_heads, kv = at->head / per;
    if (at->group) snprintf(buf, cap, "layer %d, mean of KV head %d's %d query heads", at->layer, kv, per);
    else snprintf(buf, cap, "layer %d head %d (KV head %d)", at->layer, at->head, kv);
}

static int grouped(int v, char *buf, size_t cap)
{
    return v >= 1000 ? snprintf(buf, cap, "%d,%03d", v / 1000, v % 1000) : snprintf(buf, cap, "%d", v);
}

const char *shot_source(const struct shot_ctx *c, char *buf, size_t cap)
{
    char n[16];
    grouped(c->info.n_prompt, n, sizeof n);
    if (*c->info.task) snprintf(buf, cap, "%s sample %d · %s tokens", c->info.task, c->info.sample, n);
    else snprintf(buf, cap, "own prompt · %s tokens", n);
    return buf;
}

const char *shot_page_axis(struct shot_ctx *c, int own_page, int tokens)
{
    snprintf(c->axis, sizeof c->axis, "%s (%d tokens each)", own_page > 1 ? "page" : "stretch of the prompt",
             tokens);
    return c->axis;
}

void shot_cut_letters(struct shot_ctx *c)
{
    size_t n = strlen(c->subtitle);
    if (c->cut_letters)
        snprintf(c->subtitle + n, sizeof c->subtitle - n, " · label ·8F: later bytes of the letter before");
}

/* "quest:sparsity=0.9 (token_budget=400 page_size=16)", what was asked for and what it came to. */
static int lane_words(const struct sac_lane *l, char *buf, size_t cap)
{
    if (!strcmp(l->method, "dense") || !cap) return 0;
    const char *args = strchr(l->spec, ':');
    int n =
        snprintf(buf, cap, "%s%s%s%s. ", l->spec, *l->params ? " (" : "", l->params, *l->params ? ")" : "");
    if (args && !strcmp(args + 1, l->params)) n = snprintf(buf, cap, "%s. ", l->spec);
    return n < (int)cap ? n : (int)cap - 1;
}

void shot_caption(struct shot_ctx *c, const char *what)
{
    if (c->s->no_caption) return;
    size_t cap = sizeof c->caption, n = 0;
    n += (size_t)snprintf(c->caption, cap, "%s%s%s", what, *what ? " " : "",
                          c->a.intervention ? "An intervention: keys were forced by hand. " : "");
    if (c->s->view == UI_SHOT_RECALL) {
        for (int i = 1; i < c->info.n_lanes && n + 400 < cap; i++) {
            struct sac_lane l;
            sac_trace_lane(c->t, i, &l);
            if (!l.intervention) n += (size_t)lane_words(&l, c->caption + n, cap - n);
        }
    } else {
        n += (size_t)lane_words(&c->a, c->caption + n, cap - n);
        if (c->s->view == UI_SHOT_COMPARE && c->s->at.b != c->s->at.a)
            n += (size_t)lane_words(&c->b, c->caption + n, cap - n);
    }
    if (c->info.weight_error > 0.003 && n < cap)
        n += (size_t)snprintf(c->caption + n, cap - n, "From a recording, weights to %.2g %%. ",
                              100 * c->info.weight_error);
    snprintf(c->caption + n, cap - n, "Model %s (%s, %08llx), prompt %08llx, saccade %s.", c->info.model,
             c->info.file_type, (unsigned long long)(c->info.model_hash >> 32),
             (unsigned long long)(c->info.prompt_hash >> 32), SACCADE_VERSION);
}

static bool ctx_open(struct shot_ctx *c, struct sac_trace *t, const struct ui_shot *s, enum figure_format f,
                     const atomic_bool *cancel)
{
    memset(c, 0, sizeof *c);
    c->t = t;
    c->s = s;
    c->format = f;
    c->cancel = cancel;
    sac_trace_info(t, &c->info);
    sac_trace_lane(t, s->at.a, &c->a);
    sac_trace_lane(t, s->at.b, &c->b);
    c->style = (struct figure_style){ .dark = s->dark, .scale = s->px_scale, .width = s->width };
    shot_ramp(c);
    return true;
}

enum sac_code ui_export_draw(struct sac_trace *t, const struct ui_shot *shot, enum figure_format f,
                             struct figure_bytes *out, const atomic_bool *cancel, struct sac_err *err)
{
    static enum sac_code (*const draw[UI_N_SHOTS])(struct shot_ctx *, struct figure_bytes *,
                                                   struct sac_err *) = {
        shot_map, shot_heads, shot_compare, shot_text, shot_pages, shot_recall, shot_timeline
    };
    struct ui_shot s = *shot;
    *out = (struct figure_bytes){ NULL, 0 };
    enum sac_code rc = ui_shot_check(&s, t, err);
    if (rc) return rc;
    struct shot_ctx *c = malloc(sizeof *c);
    if (!c || !ctx_open(c, t, &s, f, cancel)) {
        free(c);
        return sac_fail(err, SAC_ENOMEM, "out of memory while drawing a figure");
    }
    char command[2048];
    char *recipe = ui_recipe_json(t, &s);
    ui_recipe_command(t, &s, command, sizeof command);
    c->meta = (struct figure_meta){ .title = c->title, .description = c->subtitle, .comment = recipe,
                                    .command = command, .prompt = *c->info.task ? NULL : c->info.text };
    rc = !recipe ? sac_fail(err, SAC_ENOMEM, "out of memory while drawing a figure")
         : s.view == UI_SHOT_HEADS && s.at.thumbs ? shot_thumbs(c, out, err) : draw[s.view](c, out, err);
    free(recipe);
    free(c);
    return rc;
}

void ui_shot_basename(const struct sac_trace *t, const struct ui_shot *s, char *buf, size_t cap)
{
    struct sac_trace_info i;
    struct sac_lane l;
    sac_trace_info(t, &i);
    sac_trace_lane(t, s->at.a, &l);
    char task[48], where[48] = "";
    snprintf(task, sizeof task, "%.*s", (int)strcspn(i.task, ":"), *i.task ? i.task : "prompt");
    if (*i.task) snprintf(task + strlen(task), sizeof task - strlen(task), "%d", i.sample);
    if (shows_head(s)) snprintf(where, sizeof where, "-L%dH%d", s->at.layer, s->at.head);
    if (s->view == UI_SHOT_PAGES) snprintf(where, sizeof where, "-s%d", s->at.step);
    snprintf(buf, cap, "saccade-%s-%s-%s%s", task, l.method, ui_shot_name[s->view], where);
}

enum sac_code ui_export_figure(struct sac_trace *t, const struct ui_shot *s, const char *path, bool force,
                               char *written, size_t cap, const atomic_bool *cancel, struct sac_err *err)
{
    char base[200], name[240];
    enum figure_format f = FIGURE_PNG;
    if (path && strcmp(path, "-") && !figure_format_of(path, &f))
        return sac_fail(err, SAC_EARG, "%s: the name must end in .png, .svg or .pdf", path);
    struct figure_bytes b;
    enum sac_code rc = ui_export_draw(t, s, f, &b, cancel, err);
    if (rc) return rc;
    if (!path) {
        ui_shot_basename(t, s, base, sizeof base);
        figure_free_name(base, ".png", name, sizeof name);
        path = name;
    }
    rc = figure_write(path, b.data, b.n, force, err);
    figure_bytes_free(&b);
    if (!rc && written) snprintf(written, cap, "%s", path);
    return rc;
}

/* ---- screens ---- */

enum sac_code ui_export_screen(const struct cell_buf *b, bool dark, const struct figure_meta *meta,
                               const char *path, bool force, char *written, size_t cap, struct sac_err *err)
{
    size_t n = (size_t)b->w * (size_t)b->h;
    struct figure_cell *cell = malloc((n + 1) * sizeof *cell);
    char32_t(*mark)[4] = calloc(n + 1, sizeof *mark);
    char name[240];
    enum figure_format f = FIGURE_PNG;
    if (!cell || !mark) {
        free(cell);
        free(mark);
        return sac_fail(err, SAC_ENOMEM, "out of memory while drawing the screen");
    }
    if (path && strcmp(path, "-") && !figure_format_of(path, &f)) {
        free(cell);
        free(mark);
        return sac_fail(err, SAC_EARG, "%s: the name must end in .png, .svg or .pdf", path);
    }
    const uint32_t fg = dark ? 0xd8dbe0 : 0x1b1d21, bg = dark ? 0x14161a : 0xffffff;
    for (size_t i = 0; i < n; i++) {
        const struct cell *k = &b->cell[i];
        char32_t glyph[5] = { 0 };
        cell[i] = (struct figure_cell){ k->ch, ui_colour_rgb(k->fg), ui_colour_rgb(k->bg), k->attr };
        if (k->ch && cell_glyph(k->ch, glyph) > 0) cell[i].ch = glyph[0];
        memcpy(mark[i], glyph + 1, sizeof mark[i]);
        if (cell[i].fg == CELL_DEFAULT) cell[i].fg = fg;
        if (cell[i].bg == CELL_DEFAULT) cell[i].bg = bg;
    }
    struct figure_screen s = { b->w, b->h, cell, (const char32_t(*)[4])mark };
    struct figure_style style = { .dark = dark };
    struct figure_bytes out;
    enum sac_code rc = figure_draw_screen(&s, &style, f, meta, &out, err);
    free(cell);
    free(mark);
    if (rc) return rc;
    if (!path) {
        figure_free_name("saccade-screen", ".png", name, sizeof name);
        path = name;
    }
    rc = figure_write(path, out.data, out.n, force, err);
    figure_bytes_free(&out);
    if (!rc && written) snprintf(written, cap, "%s", path);
    return rc;
}

enum sac_code ui_write_cells(const struct cell_buf *b, const char *path, bool force, struct sac_err *err)
{
    static const struct { const char *end; void (*dump)(const struct cell_buf *, FILE *); } kind[] = {
        { ".ans", cells_dump_ansi }, { ".asc", cells_dump_ansi }, { ".styles", cells_dump_styles },
        { "", cells_dump_text } };
    char *text = NULL;
    size_t n = strlen(path), len = 0, i = 0, k;
    FILE *f = open_memstream(&text, &len);
    if (!f) return sac_fail(err, SAC_ENOMEM, "out of memory while writing the screen");
    while ((k = strlen(kind[i].end)) > n || strcmp(path + n - k, kind[i].end) != 0) i++;
    kind[i].dump(b, f);
    enum sac_code rc = fclose(f) ? sac_fail(err, SAC_ENOMEM, "out of memory while writing the screen")
                                 : figure_write(path, text, len, force, err);
    free(text);
    return rc;
}

/* ---- steps ---- */

static enum sac_code write_frame(const char *path, int i, const struct figure_bytes *b, bool force,
                                 struct sac_err *err)
{
    char name[4096];
    size_t stem = strlen(path) - 4;
    snprintf(name, sizeof name, "%.*s-%04d%s", (int)stem, path, i, path + stem);
    return figure_write(name, b->data, b->n, force, err);
}

enum sac_code ui_export_steps(struct sac_trace *t, const struct ui_shot *s, int lo, int hi, const char *path,
                              bool animate, int ms, bool force, const atomic_bool *cancel,
                              struct sac_err *err)
{
    enum figure_format f;
    struct sac_trace_info info;
    struct sac_lane l;
    sac_trace_info(t, &info);
    sac_trace_lane(t, s->at.a, &l);
    if (!figure_format_of(path, &f) || (animate && f != FIGURE_PNG))
        return sac_fail(err, SAC_EARG, "%s: frames end in .png, .svg or .pdf, an animation in .png", path);
    if (lo < 0 || hi >= l.n_steps || lo > hi)
        return sac_fail(err, SAC_EARG, "steps %d-%d: this lane has steps 0 to %d", lo, hi, l.n_steps - 1);
    int n = hi - lo + 1;
    struct figure_bytes *frame = calloc((size_t)n, sizeof *frame), all = { NULL, 0 };
    enum sac_code rc = frame ? SAC_OK : sac_fail(err, SAC_ENOMEM, "out of memory for %d frames", n);
    for (int i = 0; i < n && !rc; i++) {
        struct ui_shot one = *s;
        one.at.step = lo + i;
        one.at.row = info.n_prompt - 1 + lo + i;
        rc = ui_export_draw(t, &one, f, &frame[i], cancel, err);
        if (!rc && !animate) rc = write_frame(path, lo + i, &frame[i], force, err);
        if (!animate) figure_bytes_free(&frame[i]);
    }
    if (!rc && animate) rc = figure_apng(frame, n, ms, &all, err);
    if (!rc && animate) rc = figure_write(path, all.data, all.n, force, err);
    for (int i = 0; frame && i < n; i++) figure_bytes_free(&frame[i]);
    figure_bytes_free(&all);
    free(frame);
    return rc;
}
