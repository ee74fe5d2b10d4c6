/* `p` and `P`: pictures and numbers of what is shown.
 *
 * Drawing may recompute a large tile, so a thread of its own does it; one at a time. The result is said in
 * the status line. A screen as text, ANSI or picture is taken from the cells that are there. */
#include "base.h"
#include "export_screen.h"
#include "keys.h"
#include "run.h"
#include "work.h"

#include <saccade/trace_file.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WHAT_VIEW, WHAT_SCREEN, WHAT_DATA, N_WHATS, WHAT_TRACE = N_WHATS };
static const char *const what_name[N_WHATS] = { "view", "screen", "data" };
static const char *const formats[N_WHATS][5] = { { "png", "svg", "pdf" },
                                                 { "png", "ans", "txt" },
                                                 { "csv", "npy", "json" } };
enum { N_FORMATS = 3 };

struct ui_shots {
    pthread_t thread;
    atomic_bool busy, finished, cancel;
    struct ui_app *app;
    struct sac_trace *trace;
    struct ui_shot shot;
    int what;
    char path[512], written[600];
    struct sac_err err;
    bool screen_later; /* a picture of the screen waits for what the view has asked for */
    int quiet;         /* frames in which nothing was being computed */
    char screen_path[512];
};

struct ui_shots *ui_shots_new(struct ui_app *a)
{
    struct ui_shots *s = calloc(1, sizeof *s);
    if (s) s->app = a;
    return s;
}

static void join(struct ui_shots *s)
{
    if (!atomic_load(&s->busy)) return;
    pthread_join(s->thread, NULL);
    sac_trace_release(s->trace);
    s->trace = NULL;
    atomic_store(&s->busy, false);
}

void ui_shots_free(struct ui_shots *s)
{
    if (!s) return;
    atomic_store(&s->cancel, true);
    join(s);
    free(s);
}

bool ui_shots_busy(const struct ui_state *st)
{
    return st->app->shots && atomic_load(&st->app->shots->busy);
}

static void *shot_main(void *ctx)
{
    struct ui_shots *s = ctx;
    if (s->what == WHAT_TRACE) {
        struct sac_trace_save save = { .cancel = &s->cancel };
        if (sac_trace_write(s->trace, s->path, &save, &s->err) == SAC_OK)
            snprintf(s->written, sizeof s->written, "%s", s->path);
    } else if (s->what == WHAT_DATA) {
        if (ui_export_data(s->trace, &s->shot, s->path, false, &s->cancel, &s->err) == SAC_OK)
            snprintf(s->written, sizeof s->written, "%s", s->path);
    } else {
        ui_export_figure(s->trace, &s->shot, *s->path ? s->path : NULL, false, s->written, sizeof s->written,
                         &s->cancel, &s->err);
    }
    atomic_store(&s->finished, true);
    ui_notify(s->app);
    return NULL;
}

static bool picture(struct ui_state *st, const char *path)
{
    char written[600];
    struct sac_err err = { 0 };
    if (ui_screen_write(st, st->app->headless ? &st->app->buf : NULL, *path ? path : NULL, false, written,
                        sizeof written, &err))
        return ui_say(st, UI_SAY_BAD, "%s", err.msg), false;
    ui_log(st, "wrote %s", written);
    return ui_say(st, UI_SAY_OK, "wrote %s", written), true;
}

/* A view that still fills is drawn when it is complete: made again, it would be. */
static void poll_screen(struct ui_state *st, struct ui_shots *s)
{
    bool done = st->n_lanes > 0; /* measuring may go on for a moment */
    for (int i = 0; i < st->n_lanes; i++) done &= st->lane[i].state >= SAC_LANE_DONE;
    bool busy = (ui_run_busy(st) && !done) || ui_tasks_busy(st);
    s->quiet = ui_work_idle(st->work) && !ui_run_busy(st) ? s->quiet + 1 : 0;
    if (s->quiet > 2 || busy) {
        s->screen_later = false;
        picture(st, s->screen_path);
    } else
        ui_wake_in(st, 0.03);
}

void ui_shots_poll(struct ui_state *st)
{
    struct ui_shots *s = st->app->shots;
    if (s && s->screen_later) poll_screen(st, s);
    if (!s || !atomic_load(&s->busy) || !atomic_load(&s->finished)) return;
    join(s);
    if (s->err.code) ui_say(st, UI_SAY_BAD, "%s", s->err.msg);
    else ui_say(st, UI_SAY_OK, "wrote %s", s->written);
    if (!s->err.code) ui_log(st, "wrote %s", s->written);
}

static bool write_screen(struct ui_state *st, const char *path)
{
    size_t n = strlen(path);
    struct sac_err err = { 0 };
    bool ansi = n > 4 && !strcmp(path + n - 4, ".ans"), text = n > 4 && !strcmp(path + n - 4, ".txt");
    if (!ansi && !text && st->app->headless) return picture(st, path);
    if (!ansi && !text) {
        struct ui_shots *s = st->app->shots;
        s->screen_later = true;
        s->quiet = 0;
        snprintf(s->screen_path, sizeof s->screen_path, "%s", path);
        return ui_say(st, UI_SAY_INFO, "drawing ..."), true;
    }
    if (ui_write_cells(&st->app->buf, path, false, &err)) return ui_say(st, UI_SAY_BAD, "%s", err.msg), false;
    ui_log(st, "wrote %s", path);
    return ui_say(st, UI_SAY_OK, "wrote %s", path), true;
}

/* Start the thread on what s->shot or the trace says. */
static bool begin(struct ui_state *st, int what, const char *path)
{
    struct ui_shots *s = st->app->shots;
    s->what = what;
    s->err = (struct sac_err){ 0 };
    snprintf(s->path, sizeof s->path, "%s", path);
    *s->written = 0;
    s->trace = st->trace;
    sac_trace_retain(s->trace);
    atomic_store(&s->finished, false);
    atomic_store(&s->cancel, false);
    atomic_store(&s->busy, true);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(&s->thread, NULL, shot_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!rc) return ui_say(st, UI_SAY_INFO, what == WHAT_TRACE ? "writing ..." : "drawing ..."), true;
    sac_trace_release(s->trace);
    atomic_store(&s->busy, false);
    return ui_say(st, UI_SAY_BAD, "cannot start a thread: the system is out of resources"), false;
}

/* A figure of the view, or its numbers; path "": a numbered name. */
static bool write_view(struct ui_state *st, int what, const char *path)
{
    struct ui_shots *s = st->app->shots;
    bool figure = st->at.screen != UI_SCREEN_RUN && st->at.screen != UI_SCREEN_TASKS;
    if (!st->trace && figure) return ui_say(st, UI_SAY_BAD, "nothing has run yet: press 1, then r"), false;
    if (atomic_load(&s->busy))
        return ui_say(st, UI_SAY_INFO, "a figure is being written: try again in a moment"), false;
    struct ui_shot shot;
    if (!ui_shot_of(&shot, st)) {
        if (what == WHAT_DATA)
            return ui_say(st, UI_SAY_BAD, "this screen has no numbers to write: screens 2 to 6 have"), false;
        return write_screen(st, path);
    }
    const struct ui_job_want *w = &st->run->want;
    const char *slash = strrchr(w->model, '/');
    snprintf(shot.model_file, sizeof shot.model_file, "%.95s", slash ? slash + 1 : w->model);
    slash = strrchr(w->task_file, '/');
    snprintf(shot.task_file, sizeof shot.task_file, "%.95s", slash ? slash + 1 : w->task_file);
    shot.map = st->look.map;
    shot.dark = st->look.theme != UI_THEME_LIGHT;
    shot.kv = w->kv;
    shot.style = w->style;
    shot.strict = w->strict;
    shot.temperature = w->temperature;
    shot.top_p = w->top_p;
    s->shot = shot;
    return begin(st, what, path);
}

/* ---- the dialog ---- */

static void default_path(const struct ui_state *st, int what, const char *format, char *out, size_t cap)
{
    struct ui_shot shot;
    char base[300];
    if (what != WHAT_SCREEN && st->trace && ui_shot_of(&shot, st))
        ui_shot_basename(st->trace, &shot, base, sizeof base);
    else snprintf(base, sizeof base, "saccade-%s", ui_view_of(st->at.screen)->name);
    snprintf(out, cap, "%s.%s", base, format);
    for (int i = 2; i < 100; i++) {
        FILE *f = fopen(out, "r");
        if (!f) return;
        fclose(f);
        snprintf(out, cap, "%s-%d.%s", base, i, format);
    }
}

static void set_path(struct ui_state *st)
{
    struct ui_app *a = st->app;
    default_path(st, a->export_what, formats[a->export_what][a->export_format], a->input.text,
                 sizeof a->input.text);
    a->input.len = a->input.at = (int)strlen(a->input.text);
}

void ui_export_key(struct ui_state *st, int key)
{
    struct ui_app *a = st->app;
    int by = key == UI_K_RIGHT || (key == 'l' && a->export_row < 2)  ? 1
             : key == UI_K_LEFT || (key == 'h' && a->export_row < 2) ? -1
                                                                     : 0;
    a->dirty = true;
    if (key == UI_K_ESC || key == 3) {
        a->mode = UI_MODE_NORMAL;
    } else if (key == UI_K_ENTER) {
        char line[UI_INPUT_MAX + 40];
        a->mode = UI_MODE_NORMAL;
        snprintf(line, sizeof line, "export %s %s", what_name[a->export_what], a->input.text);
        ui_run_line(st, line);
    } else if (key == UI_K_UP || key == UI_K_BACKTAB || (key == 'k' && a->export_row < 2)) {
        a->export_row = (a->export_row + 2) % 3;
    } else if (key == UI_K_DOWN || key == UI_K_TAB || (key == 'j' && a->export_row < 2)) {
        a->export_row = (a->export_row + 1) % 3;
    } else if (by && a->export_row < 2) {
        int *v = a->export_row ? &a->export_format : &a->export_what, n = a->export_row ? N_FORMATS : N_WHATS;
        *v = (*v + by + n) % n;
        if (!a->export_row) a->export_format = 0;
        set_path(st);
    } else if (a->export_row == 2) {
        ui_prompt_key(st, key);
        a->mode = UI_MODE_EXPORT;
    }
}

void ui_export_dialog(const struct ui_state *st, struct cell_buf *b)
{
    const struct ui_app *a = st->app;
    struct ui_style text = ui_style(&st->look, UI_TEXT), dim = ui_style(&st->look, UI_DIM),
                    cur = ui_style(&st->look, UI_CURSOR);
    struct ui_rect r = ui_centre(st, b, 66, 8, "Export");
    static const char *const label[3] = { "what", "format", "file" };
    for (int i = 0; i < 3; i++) {
        bool on = a->export_row == i;
        if (on) cells_fill(b, (struct ui_rect){ r.x, r.y + i, r.w, 1 }, U' ', cur);
        cells_text(b, r.x + 1, r.y + i, 8, label[i], on ? cur : dim);
        int x = r.x + 10;
        if (i == 2) cells_fit(b, x, r.y + 2, r.w - 11, a->input.text, on ? cur : text);
        for (int k = 0; i < 2 && k < 3; k++) {
            bool chosen = k == (i ? a->export_format : a->export_what);
            x += cells_printf(b, x, r.y + i, -1, on ? cur : text, "(%c) %s", chosen ? '*' : ' ',
                              i ? formats[a->export_what][k] : what_name[k]) +
                 3;
        }
    }
    cells_fit(b, r.x + 1, r.y + 4, r.w - 2,
              "A figure holds its recipe: saccade open FILE leads back here", dim);
    cells_fit(b, r.x + 1, r.y + 5, r.w - 2, "j k field   h l choose   Enter write   Esc close", dim);
}

/* ---- commands ---- */

/* Where a screen is made again, nothing else is written again. */
static bool only_shown(struct ui_state *st, const char *path)
{
    if (!st->app->opts->restore || !st->app->headless) return false;
    ui_say(st, UI_SAY_OK, "wrote %s", path);
    return true;
}

static bool cmd_snapshot(struct ui_state *st, const char *arg)
{
    if (only_shown(st, arg)) return true;
    return write_view(st, WHAT_VIEW, arg);
}

static bool cmd_export(struct ui_state *st, const char *arg)
{
    struct ui_app *a = st->app;
    char what[16] = "", path[480] = "";
    if (!*arg) {
        a->mode = UI_MODE_EXPORT;
        a->export_row = a->export_what = a->export_format = 0;
        a->prompt_kind = '>';
        a->complete_at = -1;
        set_path(st);
        return true;
    }
    sscanf(arg, "%15s %479[^\n]", what, path);
    for (int i = 0; i < N_WHATS; i++) {
        if (strcmp(what, what_name[i]) != 0) continue;
        if (!*path) default_path(st, i, formats[i][0], path, sizeof path);
        if (only_shown(st, path)) return true;
        return i == WHAT_SCREEN ? write_screen(st, path) : write_view(st, i, path);
    }
    return ui_say(st, UI_SAY_BAD, "export: expected view, screen or data, and a file"), false;
}

/* The run so far as a file that opens anywhere without the model. */
static bool cmd_save_trace(struct ui_state *st, const char *arg)
{
    char path[480];
    if (only_shown(st, arg)) return true;
    if (!st->trace) return ui_say(st, UI_SAY_BAD, "nothing has run yet: press 1, then r"), false;
    if (atomic_load(&st->app->shots->busy))
        return ui_say(st, UI_SAY_INFO, "a file is being written: try again in a moment"), false;
    if (*arg) {
        snprintf(path, sizeof path, "%s", arg);
    } else {
        const char *task = *st->info.task ? st->info.task : "prompt";
        for (int i = 1; i < 1000; i++) {
            snprintf(path, sizeof path, i > 1 ? "saccade-%.*s-%d-%d.trace" : "saccade-%.*s-%d.trace",
                     (int)strcspn(task, ":"), task, st->info.n_prompt, i);
            if (access(path, F_OK) != 0) break;
        }
    }
    return begin(st, WHAT_TRACE, path);
}

const struct ui_cmd ui_shot_cmds[] = {
    { "save-trace", "[FILE]", "write the run as a file that opens without the model", UI_GROUP_ACT,
      UI_CTX_ALL, 0, cmd_save_trace },
    { "snapshot", "[FILE]", "a picture of this view (.png .svg .pdf)", UI_GROUP_ACT, UI_CTX_ALL, 0,
      cmd_snapshot },
    { "export", "view|screen|data [FILE]", "write the view, the screen or the numbers", UI_GROUP_ACT,
      UI_CTX_ALL, 0, cmd_export },
};
const int ui_n_shot_cmds = sizeof ui_shot_cmds / sizeof *ui_shot_cmds;
