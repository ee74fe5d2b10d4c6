/* The frame around every view: tabs, context, status, hints; panes, notices, the lane chooser; one frame
 * drawn.
 *
 * Hints and tabs are laid out by the same functions that resolve a click on them. */
#include "base.h"
#include "keys.h"
#include "run.h"
#include "tasks.h"
#include "whatif.h"
#include "work.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

static struct ui_style style(const struct ui_state *st, enum ui_role r)
{
    return ui_style(&st->look, r);
}

struct ui_rect ui_pane(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, int index,
                       const char *fmt, ...)
{
    char title[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(title, sizeof title, fmt, ap);
    va_end(ap);
    bool on = st->at.pane[st->at.screen] == index && index >= 0;
    return cells_box(b, r, title, on, style(st, on ? UI_LINE_FOCUS : UI_LINE),
                     style(st, on ? UI_STRONG : UI_TITLE));
}

void ui_empty(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, const char *what,
              const char *hint)
{
    int y = r.y + (r.h - 1) / 2 - (hint && r.h > 2);
    int w = cells_text_width(what, strlen(what)), x = r.x + (r.w - w) / 2;
    cells_fit(b, x < r.x ? r.x : x, y, w < r.w ? w : r.w, what, style(st, UI_TEXT));
    if (!hint || r.h < 2) return;
    w = cells_text_width(hint, strlen(hint));
    x = r.x + (r.w - w) / 2;
    cells_fit(b, x < r.x ? r.x : x, y + 1, w < r.w ? w : r.w, hint, style(st, UI_DIM));
}

/* ---- tabs ---- */

/* Column and width of a tab; false when it does not fit. */
static bool tab_at(const struct ui_state *st, int w, int s, int *x, int *tw, const char **name)
{
    bool shorter = w < 100;
    *x = w < 70 ? 1 : 11;
    for (int i = 0; i <= s; i++) {
        const struct ui_view *v = ui_view_of((enum ui_screen)i);
        bool on = (int)st->at.screen == i;
        *name = shorter && !on ? v->tab_short : v->tab;
        *tw = (int)strlen(*name) + 4;
        if (i < s) *x += *tw;
    }
    return *x + *tw <= w;
}

static void draw_tabs(const struct ui_state *st, struct cell_buf *b)
{
    struct ui_style mark = style(st, UI_LANE_A), name_style = style(st, UI_STRONG);
    int end = 1;
    if (b->w >= 70) {
        cells_put(b, 1, 0, b->ascii ? 'o' : 0x25c9, mark);
        cells_text(b, 3, 0, 8, "saccade", name_style);
        end = 10;
    }
    for (int s = 0; s < UI_N_SCREENS; s++) {
        int x, tw;
        const char *name;
        if (!tab_at(st, b->w, s, &x, &tw, &name)) break;
        bool on = (int)st->at.screen == s;
        struct ui_style t = style(st, on ? UI_TAB_ON : UI_TAB), k = on ? t : style(st, UI_KEYCAP);
        cells_put(b, x, 0, on && st->look.tier == UI_TIER_MONO ? '[' : ' ', t);
        cells_put(b, x + 1, 0, (char32_t)('1' + s), k);
        cells_put(b, x + 2, 0, ' ', t);
        cells_text(b, x + 3, 0, tw - 4, name, t);
        cells_put(b, x + tw - 1, 0, on && st->look.tier == UI_TIER_MONO ? ']' : ' ', t);
        end = x + tw;
    }
    char info[200] = "";
    if (st->trace) {
        const struct sac_shape *p = &st->info.shape;
        snprintf(info, sizeof info, "%s %s  %dL %dQ/%dKV", st->info.model, st->info.file_type, p->n_layers,
                 p->n_heads, p->n_kv_heads);
        if (cells_text_width(info, strlen(info)) > b->w - end - 2)
            snprintf(info, sizeof info, "%dL %dQ/%dKV", p->n_layers, p->n_heads, p->n_kv_heads);
    }
    if (cells_text_width(info, strlen(info)) <= b->w - end - 2)
        cells_right(b, b->w - 1, 0, b->w - end - 2, info, style(st, UI_DIM));
}

/* ---- hints ---- */

static int hint_at(const struct ui_state *st, int w, int i, int *x, char *key, size_t cap,
                   const struct ui_hint **out)
{
    static const struct ui_hint common[] = { { "help", "help" },
                                             { "command", "cmd" },
                                             { "back-or-quit", "quit" } };
    const struct ui_view *v = ui_view_of(st->at.screen);
    int col = 1;
    for (int k = 0;; k++) {
        int slot = k;
        const struct ui_hint *h;
        if (slot == 0) h = &common[0];
        else if (slot - 1 < v->n_hints) h = &v->hints[slot - 1];
        else if (slot - 1 - v->n_hints < 2) h = &common[slot - v->n_hints];
        else return 0;
        int code = ui_key_of(st->at.screen, h->line);
        if (!code) {
            if (k == i) return -1;
            continue;
        }
        ui_key_short(code, key, cap);
        int width = cells_text_width(key, strlen(key)) + 1 + (int)strlen(h->label);
        if (col + width > w) return 0;
        if (k == i) return *x = col, *out = h, width;
        col += width + 2;
    }
}

static void draw_hints(const struct ui_state *st, struct cell_buf *b)
{
    char key[32];
    const struct ui_hint *h;
    int x, w;
    for (int i = 0; (w = hint_at(st, b->w, i, &x, key, sizeof key, &h)) != 0; i++) {
        if (w < 0) continue;
        int used = cells_text(b, x, b->h - 1, -1, key, style(st, UI_KEYCAP));
        cells_text(b, x + used + 1, b->h - 1, -1, h->label, style(st, UI_HINT));
    }
}

bool ui_chrome_click(struct ui_state *st, int x, int y)
{
    struct cell_buf *b = &st->app->buf;
    if (y == 0)
        for (int s = 0; s < UI_N_SCREENS; s++) {
            int tx, tw;
            const char *name;
            if (tab_at(st, b->w, s, &tx, &tw, &name) && x >= tx && x < tx + tw) {
                char line[32];
                snprintf(line, sizeof line, "screen %s", ui_view_of((enum ui_screen)s)->name);
                return ui_run_line(st, line), true;
            }
        }
    if (y == b->h - 1) {
        char key[32];
        const struct ui_hint *h;
        int hx, w;
        for (int i = 0; (w = hint_at(st, b->w, i, &hx, key, sizeof key, &h)) != 0; i++)
            if (w > 0 && x >= hx && x < hx + w) return ui_run_line(st, h->line), true;
    }
    return y == 0 || y == 1 || y >= b->h - 2;
}

/* ---- status ---- */

static void time_left(double s, char *buf, size_t cap)
{
    if (!(s >= 0)) *buf = 0;
    else if (s < 60) snprintf(buf, cap, "  %.0f s left", ceil(s));
    else snprintf(buf, cap, "  %d:%02d left", (int)s / 60, (int)s % 60);
}

/* What runs now, in words: "Quest: prefill layer 7/10  3 s left". */
static bool running_text(const struct ui_state *st, char *buf, size_t cap, double *progress)
{
    static const char spin[] = "|/-\\";
    const struct ui_run *r = st->run;
    char s =
        st->plain || st->look.tier == UI_TIER_MONO || st->app->headless ? '*' : spin[(int)(st->now * 6) & 3];
    *progress = (double)NAN;
    if (r && r->load == UI_LOAD_BUSY) {
        snprintf(buf, cap, "%c %s", s, ui_load_stage[atomic_load(&st->run->stage)]);
        return true;
    }
    if (ui_tasks_busy(st)) {
        struct ui_tasks *t = st->tasks;
        pthread_mutex_lock(&t->mu);
        snprintf(buf, cap, "%c %s sample %d  %s", s, t->task[t->now_task], t->now_sample, t->now);
        *progress = t->total ? (double)t->done / t->total : (double)NAN;
        pthread_mutex_unlock(&t->mu);
        return true;
    }
    for (int l = 0; l < st->n_lanes; l++) {
        const struct sac_lane *x = &st->lane[l];
        char left[40];
        if (x->state == SAC_LANE_PREFILL || x->state == SAC_LANE_DECODE || x->state == SAC_LANE_MEASURE) {
            time_left(x->eta_s, left, sizeof left);
            *progress = x->progress;
            if (x->state == SAC_LANE_PREFILL)
                snprintf(buf, cap, "%c %s: prefill, layer %d of %d%s", s, ui_lane_name(st, l),
                         x->prefill_layer, st->info.shape.n_layers, left);
            else if (x->state == SAC_LANE_DECODE)
                snprintf(buf, cap, "%c %s: answering, token %d%s", s, ui_lane_name(st, l), x->n_steps, left);
            else snprintf(buf, cap, "%c %s: measuring%s", s, ui_lane_name(st, l), left);
            return true;
        }
    }
    return false;
}

/* What was said stays till the next key; in passing, it gives way to the view's own line after a while. */
static bool say_holds(const struct ui_state *st)
{
    enum { SAY_S = 8 };
    const struct ui_app *a = st->app;
    double left = a->say_at + SAY_S - st->now;
    if (a->say_kind == UI_SAY_BAD || a->headless || st->plain || !ui_view_of(st->at.screen)->status)
        return true;
    if (left > 0) ui_wake_in(st, left + 0.01);
    return left > 0;
}

static void draw_status(const struct ui_state *st, struct cell_buf *b)
{
    const struct ui_app *a = st->app;
    int y = b->h - 2, x = 1;
    char text[500] = "", run[200];
    double progress;
    struct ui_style s = style(st, UI_STATUS);
    if (a->pending) {
        snprintf(text, sizeof text, "%c-", a->pending);
        s = style(st, UI_KEYCAP);
    } else if (*a->say && say_holds(st)) {
        snprintf(text, sizeof text, "%s", a->say);
        s = style(st, a->say_kind == UI_SAY_BAD ? UI_BAD : a->say_kind == UI_SAY_OK ? UI_OK : UI_STATUS);
    } else if (ui_view_of(st->at.screen)->status) {
        ui_view_of(st->at.screen)->status(st, text, sizeof text);
    }
    int end = b->w - 1;
    if (running_text(st, run, sizeof run, &progress)) {
        int w = cells_text_width(run, strlen(run)), bar = b->w >= 100 && progress == progress ? 16 : 0;
        if (w > b->w / 2 && *text) w = b->w / 2;
        if (w > b->w - 2) w = b->w - 2;
        if (bar) cells_bar(b, end - bar, y, bar, progress, style(st, UI_BAR), style(st, UI_BAR_REST));
        end -= w + (bar ? bar + 1 : 0);
        cells_fit(b, end, y, w, run, style(st, UI_RUNNING));
        end -= 2;
        ui_wake_in(st, 0.15);
    }
    if (*text && end > x) cells_fit(b, x, y, end - x, text, s);
}

static void draw_context(const struct ui_state *st, struct cell_buf *b)
{
    char text[500] = "";
    const struct ui_view *v = ui_view_of(st->at.screen);
    if (v->context) v->context(st, text, sizeof text, b->w - 2);
    cells_fit(b, 1, 1, b->w - 2, text, style(st, UI_DIM));
}

/* ---- small boxes over a view ---- */

struct ui_rect ui_centre(const struct ui_state *st, struct cell_buf *b, int w, int h, const char *title)
{
    if (w > b->w - 2) w = b->w - 2;
    if (h > b->h - 2) h = b->h - 2;
    struct ui_rect box = { (b->w - w) / 2, (b->h - h) / 2, w, h };
    cells_fill(b, box, U' ', style(st, UI_TEXT));
    return cells_box(b, box, title, true, style(st, UI_LINE_FOCUS), style(st, UI_TITLE));
}

static void draw_quit(const struct ui_state *st, struct cell_buf *b)
{
    struct ui_rect r = ui_centre(st, b, 46, 5, "Quit");
    cells_text(b, r.x + 2, r.y, r.w - 3, "Work is running. Stop it and quit?", style(st, UI_TEXT));
    int x = r.x + 2;
    x += cells_text(b, x, r.y + 2, -1, "y", style(st, UI_KEYCAP)) + 1;
    x += cells_text(b, x, r.y + 2, -1, "quit", style(st, UI_HINT)) + 3;
    x += cells_text(b, x, r.y + 2, -1, "n", style(st, UI_KEYCAP)) + 1;
    cells_text(b, x, r.y + 2, -1, "stay", style(st, UI_HINT));
}

static void draw_pick(const struct ui_state *st, struct cell_buf *b)
{
    const struct ui_app *a = st->app;
    int h = st->n_lanes + 4;
    struct ui_rect r = ui_centre(st, b, 74, h, a->pick_b ? "Method B: compared with" : "Method A: looked at");
    int rows = r.h - 1, first = a->pick_cur >= rows ? a->pick_cur - rows + 1 : 0;
    for (int i = 0; i < rows && first + i < st->n_lanes; i++) {
        int l = first + i, y = r.y + i;
        bool on = l == a->pick_cur;
        struct ui_style t = style(st, on ? UI_CURSOR : UI_TEXT), d = style(st, on ? UI_CURSOR : UI_DIM);
        if (on) cells_fill(b, (struct ui_rect){ r.x, y, r.w, 1 }, U' ', t);
        cells_printf(b, r.x + 1, y, 6, t, "%2d %s", l, l == st->at.a ? "A" : l == st->at.b ? "B" : " ");
        cells_fit(b, r.x + 7, y, 24, ui_lane_name(st, l), t);
        cells_fit(b, r.x + 32, y, r.w - 33, st->lane[l].intervention ? st->lane[l].params : st->lane[l].spec,
                  d);
    }
    cells_text(b, r.x + 1, r.y + r.h - 1, r.w - 2, "j k move   Enter choose   Esc close", style(st, UI_DIM));
}

/* ---- a frame ---- */

void ui_draw(struct ui_state *st, struct cell_buf *b, int *cx, int *cy)
{
    struct ui_app *a = st->app;
    *cx = *cy = -1;
    b->ascii = st->look.ascii;
    cells_clear(b);
    if (b->w < 60 || b->h < 12) {
        char text[60];
        snprintf(text, sizeof text, "need 60x12, have %dx%d", b->w, b->h);
        int w = (int)strlen(text), x = (b->w - w) / 2;
        cells_text(b, x < 0 ? 0 : x, b->h / 2, -1, text, style(st, UI_WARN));
        /* A question nobody sees would look like a key that does nothing. */
        const char *ask = "work is going on: q leaves";
        if (a->mode == UI_MODE_QUIT && b->h > 1)
            cells_text(b, b->w > 26 ? (b->w - 26) / 2 : 0, b->h / 2 + 1, -1, ask, style(st, UI_WARN));
        return;
    }
    const struct ui_view *v = ui_view_of(st->at.screen);
    st->body = (struct ui_rect){ 0, 2, b->w, b->h - UI_MARGIN_LINES };
    if (v->settle) v->settle(st);
    draw_tabs(st, b);
    draw_context(st, b);
    struct ui_rect old = cells_clip(b, st->body);
    v->draw(st, b, st->body);
    b->clip = old;
    ui_whatif_draw(st, b);
    draw_status(st, b);
    if (a->mode == UI_MODE_PROMPT) ui_prompt_draw(st, b, cx, cy);
    else draw_hints(st, b);
    if (a->mode == UI_MODE_HELP) ui_help_draw(st, b);
    if (a->mode == UI_MODE_QUIT) draw_quit(st, b);
    if (a->mode == UI_MODE_PICK) draw_pick(st, b);
    if (a->mode == UI_MODE_EXPORT) ui_export_dialog(st, b);
    if (a->mode == UI_MODE_MEASURES) ui_measures_draw(st, b);
}

void ui_frame(struct ui_state *st, struct cell_buf *b, int *cx, int *cy)
{
    st->app->wake_at = 0;
    ui_work_frame(st->work, st->now);
    ui_state_refresh(st);
    ui_run_poll(st);
    ui_tasks_poll(st);
    ui_search_poll(st);
    ui_shots_poll(st);
    int room = ui_player_room(st, b);
    b->h -= room;
    ui_draw(st, b, cx, cy);
    b->h += room;
    ui_player_frame(st, b);
}
