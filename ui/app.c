/* The program: opening the terminal, the event loop, and putting everything away again.
 *
 * One frame is drawn when something changed, at most 30 a second (10 over ssh); input goes before drawing.
 * Workers wake the loop through a pipe. The first frame appears before the model is touched. */
#include "base.h"
#include "keys.h"
#include "run.h"
#include "screen.h"
#include "tasks.h"
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool make_pipe(struct ui_app *a)
{
    if (pipe(a->wake) != 0) return false;
    for (int i = 0; i < 2; i++) {
        fcntl(a->wake[i], F_SETFL, O_NONBLOCK);
        fcntl(a->wake[i], F_SETFD, FD_CLOEXEC);
    }
    return true;
}

static void open_session(struct ui_state *st)
{
    struct ui_app *a = st->app;
    char path[600];
    if (a->opts->log) a->session = fopen(a->opts->log, "w");
    else if (!a->headless && ui_xdg("STATE", "session.log", true, path, sizeof path))
        a->session = fopen(path, "w");
    if (a->opts->log && !a->session)
        ui_say(st, UI_SAY_BAD, "%s: cannot be written: %s", a->opts->log, strerror(errno));
    if (!a->headless && ui_xdg("STATE", "history", false, path, sizeof path)) {
        FILE *f = fopen(path, "r");
        if (f) ui_history_load(st, f), fclose(f);
    }
}

/* The prompt in an editor: a private file in the temporary folder, removed afterwards. */
static void edit_prompt(struct ui_state *st)
{
    const char *tmp = getenv("TMPDIR");
    char path[512];
    char *text = ui_run_prompt(st);
    snprintf(path, sizeof path, "%s/saccade-prompt-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    int fd = text ? mkstemp(path) : -1;
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f) {
        ui_say(st, UI_SAY_BAD, "%s: cannot be written: %s", path, strerror(errno));
        free(text);
        return;
    }
    fputs(text, f);
    fclose(f);
    free(text);
    text = NULL;
    int rc = ui_screen_edit(path);
    if (rc != 0) {
        ui_say(st, UI_SAY_BAD,
               rc < 0 ? "the editor could not be started: set EDITOR"
                      : "the editor failed: prompt unchanged");
    } else if ((f = fopen(path, "r")) != NULL) {
        struct stat sb;
        size_t n =
            fstat(fileno(f), &sb) == 0 && sb.st_size > 0 && sb.st_size < 1 << 26 ? (size_t)sb.st_size : 0;
        text = malloc(n + 1);
        if (text) {
            n = fread(text, 1, n, f);
            text[n] = 0;
            ui_record_prompt(st, text);
            ui_run_edited(st, text);
        }
        fclose(f);
    }
    unlink(path);
}

/* True: there may be more, which the library has read already and poll does not tell of. */
static bool take_input(struct ui_state *st)
{
    struct ui_app *a = st->app;
    double end = ui_clock() + 0.1;      /* a held key does not hold up frames for longer */
    while (!a->quit && ui_clock() < end) {
        struct ui_event ev = ui_screen_event();
        st->now = ui_clock();
        switch (ev.kind) {
        case UI_EVENT_NONE: return false;
        case UI_EVENT_KEY: ui_key(st, ev.key); break;
        case UI_EVENT_PASTE: ui_paste(st, ev.text, ev.len); break;
        case UI_EVENT_MOUSE: if (a->mouse) ui_mouse(st, ev.x, ev.y, ev.click); break;
        case UI_EVENT_RESIZE: a->dirty = a->repaint = true; break;
        case UI_EVENT_GONE: a->quit = true; break;
        }
        if (a->want_editor || a->want_suspend) break;
    }
    return true;
}

/* What commands asked of the terminal. */
static void serve(struct ui_state *st)
{
    struct ui_app *a = st->app;
    ui_screen_mouse(a->mouse);
    if (a->has_copy) ui_screen_copy(a->copy), a->has_copy = false;
    if (a->want_editor) {
        a->want_editor = false;
        edit_prompt(st);
        a->dirty = a->repaint = true;
    }
    if (a->want_suspend) {
        a->want_suspend = false;
        ui_screen_suspend();
        a->dirty = a->repaint = true;
    }
}

static void loop(struct ui_state *st)
{
    struct ui_app *a = st->app;
    double frame_s = getenv("SSH_TTY") ? 0.1 : 1.0 / 30, drawn = 0;
    bool more = true;      /* keys typed before the terminal was ours */
    a->dirty = true;
    while (!a->quit) {
        st->now = ui_clock();
        if (a->wake_at && st->now >= a->wake_at) a->dirty = true;
        if (a->dirty && st->now - drawn >= frame_s) {
            int w, h, cx, cy;
            a->dirty = false;
            ui_screen_size(&w, &h);
            if (w != a->buf.w || h != a->buf.h) cells_resize(&a->buf, w, h);
            ui_frame(st, &a->buf, &cx, &cy);
            ui_screen_show(&a->buf, cx, cy, a->repaint);
            a->repaint = false;
            drawn = ui_clock();
            if (ui_run_busy(st) || ui_tasks_busy(st)) ui_wake_in(st, 0.15);
        }
        double next = a->dirty ? drawn + frame_s : a->wake_at;
        int ms = -1;
        if (next > 0) ms = (int)((next - ui_clock()) * 1000) + 1;
        if ((next > 0 && ms < 0) || more) ms = 0;
        int woken = ui_screen_wait(a->wake[0], ms);
        if (woken) a->dirty = true;
        if (ui_screen_signal()) {
            a->exit_code = 128 + ui_screen_signal();
            break;
        }
        more = take_input(st);
        serve(st);
    }
}

static bool opens_first(struct ui_state *st, const char *name, struct sac_err *err)
{
    for (int s = 0; name && s < UI_N_SCREENS; s++)
        if (!strcmp(name, ui_view_of((enum ui_screen)s)->name))
            return st->at.screen = (enum ui_screen)s, true;
    if (!name) return true;
    sac_fail(err, SAC_EARG, "%s is no screen: run, heads, map, compare, text, pages, tasks", name);
    return false;
}

static int run_screen(struct ui_state *st, struct sac_err *err)
{
    struct ui_app *a = st->app;
    const struct ui_app_opts *o = a->opts;
    char why[160], note[300];
    struct ui_env env = ui_env_read();
    st->look.tier = ui_tier_decide(&env, o->color, why, sizeof why);
    st->look.ascii |= o->ascii || !env.utf8;
    int light = o->theme && strcmp(o->theme, "auto") != 0 ? -1 : ui_screen_light();
    if (light == 1) st->look.theme = UI_THEME_LIGHT;
    ui_config_read(st, o->config);
    if (o->theme && strcmp(o->theme, "auto") != 0 && !ui_config_set(st, "theme", o->theme))
        return sac_fail(err, SAC_EARG, "%s", a->say);
    if (o->colormap && !ui_config_set(st, "colormap", o->colormap))
        return sac_fail(err, SAC_EARG, "%s", a->say);
    if (o->no_mouse) a->mouse = false;
    enum sac_code rc = ui_screen_open(&st->look.tier, a->mouse, note, sizeof note, err);
    if (rc) return rc;
    if (*note) ui_log(st, "%s", note);
    ui_log(st, "colours: %s (%s)%s", ui_tier_name[st->look.tier], why,
           st->look.ascii ? ", ASCII characters" : "");
    ui_screen_began(st);
    if (!o->no_run) ui_run_start(st);
    loop(st);
    ui_run_stop(st);
    ui_tasks_stop(st);
    ui_screen_close();
    return SAC_OK;
}

int ui_app_run(const struct ui_app_opts *opts, struct sac_err *err)
{
    struct ui_state *st = calloc(1, sizeof *st);
    struct ui_app *a = calloc(1, sizeof *a);
    int rc = SAC_OK;
    if (!st || !a || !make_pipe(a)) {
        free(st);
        free(a);
        return sac_fail(err, SAC_ENOMEM, "out of memory");
    }
    a->opts = opts;
    a->mouse = true;
    a->headless = opts->headless;
    ui_state_init(st, a);
    st->plain = opts->plain;
    st->now = ui_clock();
    st->work = ui_work_new(ui_notify, a);
    st->run = ui_run_new(st);
    st->tasks = ui_tasks_new(st);
    a->shots = ui_shots_new(a);
    if (!st->work || !st->run || !st->tasks || !a->shots) rc = sac_fail(err, SAC_ENOMEM, "out of memory");
    else if (!opens_first(st, opts->screen, err)) rc = SAC_EARG;
    else if (opts->n_samples > UI_T_SAMPLES)
        rc = sac_fail(err, SAC_EARG, "%d samples: at most %d", opts->n_samples, UI_T_SAMPLES);
    else {
        if (opts->n_samples > 0) st->tasks->n_samples = opts->n_samples;
        open_session(st);
        if (opts->headless) rc = ui_headless_run(st, err);
        else if (opts->plain) rc = ui_plain_run(st, err);
        else rc = run_screen(st, err);
    }
    int code = a->exit_code;
    ui_state_free(st);
    free(st);
    free(a);
    return rc ? rc : code ? -code : SAC_OK;
}
