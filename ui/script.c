/* Sessions without a person: --plain, which reads commands and answers in short lines, and scripts that run
 * into a cell buffer and leave its last frame. Both use the same table of commands as the screens. */
#include "base.h"
#include "export_screen.h"
#include "run.h"
#include "whatif.h"
#include "work.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETTLE_S = 600 };

static void frame(struct ui_state *st)
{
    int cx, cy;
    st->now = st->app->headless ? st->now + 1 : ui_clock(); /* a fake clock: frames do not depend on speed */
    ui_frame(st, &st->app->buf, &cx, &cy);
}

static bool stopped(const struct ui_state *st)
{
    const atomic_bool *stop = st->app->opts->stop;
    return stop && atomic_load(stop);
}

/* Until nothing runs and every view has what it asked for. False: a signal or too long. */
static bool settle(struct ui_state *st)
{
    double end = ui_clock() + SETTLE_S;
    for (int quiet = 0; quiet < 2;) {
        frame(st);
        if (ui_clock() > end || stopped(st)) return false;
        if (ui_run_busy(st) || ui_tasks_busy(st) || ui_shots_busy(st)) {
            struct pollfd p = { st->app->wake[0], POLLIN, 0 };
            char b[256];
            if (poll(&p, 1, 20) > 0)
                while (read(p.fd, b, sizeof b) > 0) {}
            quiet = 0;
            continue;
        }
        ui_work_wait(st->work, 60);
        quiet = ui_work_idle(st->work) ? quiet + 1 : 0;
    }
    return true;
}

/* ---- plain ---- */

static const char *state_name(const struct sac_lane *x)
{
    static const char *const name[] = { "queued", "prefill", "answering", "measuring",
                                        "done",   "stopped", "failed" };
    return name[x->state];
}

/* A text of any length as one line. What it holds is for the reader, not for the terminal. */
static void one_line(const char *label, const char *text)
{
    printf("%s ", label);
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '\n') fputs("\\n", stdout);
        else if ((c < 32 && c != '\t') || c == 127) printf("\\x%02x", c);
        else putchar(c);
    }
    putchar('\n');
}

static void plain_lanes(const struct ui_state *st)
{
    if (*st->info.task)
        printf("task %s length %d sample %d tokens %d\n", st->info.task, st->info.length, st->info.sample,
               st->info.n_prompt);
    else printf("prompt tokens %d\n", st->info.n_prompt);
    if (st->info.cut) puts("recorded, cut short: methods, layers and steps after the cut are missing");
    if (*st->info.gold) one_line("gold", st->info.gold);
    for (int l = 0; l < st->n_lanes; l++) {
        const struct sac_lane *x = &st->lane[l];
        printf("lane %d %s%s %s", l, x->spec, x->intervention ? " INTERVENTION" : "", state_name(x));
        if (x->score == x->score) printf(" score %.2f", x->score);
        if (x->recall.mass == x->recall.mass) printf(" mass recall %.3f", x->recall.mass);
        if (x->state == SAC_LANE_FAILED) printf(" reason %s", x->error);
        putchar('\n');
        one_line("  answer", x->answer);
    }
}

/* answers: false where they were just printed with the lanes */
static void plain_view(struct ui_state *st, bool answers)
{
    static char text[16384];
    const struct ui_view *v = ui_view_of(st->at.screen);
    if (!settle(st)) return;
    text[0] = 0;
    if (v->plain) {
        v->plain(st, text, sizeof text);
    } else {
        if (v->context) v->context(st, text, sizeof text, 200);
        printf("%s: %s\n", v->name, text);
        text[0] = 0;
        if (v->copy && (answers || st->at.screen != UI_SCREEN_RUN)) v->copy(st, text, sizeof text);
    }
    if (*text) printf("%s%s", text, text[strlen(text) - 1] == '\n' ? "" : "\n");
    ui_whatif_plain(st, text, sizeof text);
    fputs(text, stdout);
    if (v->status && !v->plain) {
        text[0] = 0;
        v->status(st, text, sizeof text);
        if (*text) printf("%s\n", text);
    }
}

static void plain_help(const struct ui_state *st)
{
    for (int i = 0; i < ui_n_cmds(); i++) {
        const struct ui_cmd *c = ui_cmd_at(i);
        if (c->ctx & UI_CTX(st->at.screen)) printf("%s %s: %s\n", c->name, c->args, c->help);
    }
}

int ui_plain_run(struct ui_state *st, struct sac_err *err)
{
    struct ui_app *a = st->app;
    char line[UI_INPUT_MAX];
    (void)err;
    bool asks = isatty(STDIN_FILENO), told = false;     /* told: the last thing printed were the lanes */
    st->look = (struct ui_look){ .tier = UI_TIER_MONO, .ascii = true, .map = UI_MAP_GREY };
    a->plain_out = true;
    cells_resize(&a->buf, 80, 24);
    ui_config_read(st, a->opts->config);
    st->look.tier = UI_TIER_MONO;
    if (!a->opts->no_run && (a->opts->model || a->opts->trace)) {
        printf("saccade %s, plain. Commands are the same as behind ':'; help lists them, quit leaves.\n",
               SACCADE_VERSION);
        ui_run_start(st);
        settle(st);
        if (*st->run->error) printf("error %s\n", st->run->error);
        plain_lanes(st);
        told = true;
    }
    while (!a->quit) {
        if (asks) {
            printf("%s> ", ui_view_of(st->at.screen)->name);
        }
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin)) break;
        line[strcspn(line, "\r\n")] = 0;
        a->say[0] = 0;
        if (!strcmp(line, "help") || !strcmp(line, "?")) {
            plain_help(st);
            told = false;
            continue;
        }
        if (!strcmp(line, "lanes")) {
            plain_lanes(st);
            told = true;
            continue;
        }
        bool ok = ui_run_line(st, line);
        bool busy = ui_run_busy(st);
        a->mode = UI_MODE_NORMAL;
        a->has_copy = a->want_editor = a->want_suspend = false;
        if (a->quit) break;
        if (*a->say) printf("%s%s\n", ok ? "" : "error ", a->say);
        a->say[0] = 0;
        if (busy) {
            settle(st);
            plain_lanes(st);
        } else if (ok) {
            plain_view(st, !told);
        }
        told = busy;
    }
    return SAC_OK;
}

/* ---- headless ---- */

static int dump(struct ui_state *st, struct sac_err *err)
{
    const struct ui_app_opts *o = st->app->opts;
    const char *path = o->dump ? o->dump : "-";
    enum figure_format picture;
    if (o->no_dump) return SAC_OK;
    if (!figure_format_of(path, &picture)) return ui_write_cells(&st->app->buf, path, o->force, err);
    return ui_screen_write(st, &st->app->buf, path, o->force, NULL, 0, err);
}

/* The frame goes out and the asciicast is closed, also when a line was refused. */
static int finish(struct ui_state *st, struct sac_err *err)
{
    char why[300];
    if (st->app->opts->restore) {
        ui_screen_restore(st);
        settle(st);
    }
    int rc = dump(st, err);
    if (!rc && st->app->opts->restore && !ui_screen_same(st, &st->app->buf, why, sizeof why)) {
        fprintf(stderr, "saccade: the screen differs from the figure: %s\n", why);
        st->app->exit_code = 5;
    }
    if (!rc && !ui_player_cast_write(st, err)) rc = err->code;
    return rc;
}

int ui_headless_run(struct ui_state *st, struct sac_err *err)
{
    struct ui_app *a = st->app;
    const struct ui_app_opts *o = a->opts;
    char why[160];
    struct ui_env env = { "xterm-256color", "truecolor", NULL, true, false };
    st->look.tier = ui_tier_decide(&env, o->color, why, sizeof why);
    st->look.ascii = o->ascii;
    st->now = 0;
    if (o->theme && !ui_config_set(st, "theme", o->theme)) return sac_fail(err, SAC_EARG, "%s", a->say);
    if (o->colormap && !ui_config_set(st, "colormap", o->colormap))
        return sac_fail(err, SAC_EARG, "%s", a->say);
    if (o->config) ui_config_read(st, o->config);
    if (!cells_resize(&a->buf, o->cols ? o->cols : 120, o->lines ? o->lines : 40))
        return sac_fail(err, SAC_EARG, "a screen of %d x %d cannot be drawn", o->cols, o->lines);
    ui_screen_began(st);
    if (!o->no_run) ui_run_start(st);
    bool ok = settle(st);
    if (*st->run->error) {
        enum sac_code code = st->run->error_code ? st->run->error_code : SAC_EIO;
        return sac_fail(err, code, "%s", st->run->error);
    }
    const char *p = o->script ? o->script : "";
    for (int no = 1; ok && *p && !a->quit; no++) {
        char line[UI_INPUT_MAX];
        size_t n = strcspn(p, "\n");
        const char *from = p;
        snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : sizeof line - 1), p);
        p += n + (p[n] == '\n');
        a->say[0] = 0;
        ui_player_line(st, line);
        if (!ui_script_line(st, from, n) && !o->lenient) {
            char said[sizeof a->say];
            snprintf(said, sizeof said, "%s", a->say);
            if (!settle(st) && stopped(st)) break;
            int rc = finish(st, err);
            if (rc || o->restore) return rc; /* a picture of a refused line is made again from it */
            /* without a file the lines are made of the command's options: their numbers say nothing */
            if (o->script_name) fprintf(stderr, "saccade: %s: line %d: ", o->script_name, no);
            else fprintf(stderr, "saccade: ");
            fprintf(stderr, "%.60s: %s\n", line, said);
            a->exit_code = 5;
            return SAC_OK;
        }
        ok = settle(st);
        if (ok && !ui_player_cast(st, err)) return err->code;
    }
    if (stopped(st)) return sac_fail(err, SAC_ECANCEL, "stopped before the screen was complete; nothing was written");
    if (!ok) return sac_fail(err, SAC_EIO, "the script did not come to rest within %d s", SETTLE_S);
    return finish(st, err);
}
