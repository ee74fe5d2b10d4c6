/* Settings: one table read by the config file, by :set, by completion and by help; and where files are kept.
 *
 * The config file has one `name = value` a line; # starts a comment. Files: $XDG_CONFIG_HOME/saccade/config
 * and keys, $XDG_STATE_HOME/saccade/ for the session log and the history. Nothing is written elsewhere. */
#include "config.h"
#include "keys.h"
#include "run.h"
#include "tasks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef bool (*setter)(struct ui_state *st, const char *value);
typedef void (*getter)(const struct ui_state *st, char *buf, size_t cap);

static bool on_off(struct ui_state *st, const char *value, bool *out)
{
    if (!strcmp(value, "on") || !strcmp(value, "yes") || !strcmp(value, "true")) return *out = true, true;
    if (!strcmp(value, "off") || !strcmp(value, "no") || !strcmp(value, "false")) return *out = false, true;
    return ui_say(st, UI_SAY_BAD, "expected on or off, found %s", value), false;
}

static bool set_theme(struct ui_state *st, const char *v)
{
    int i = ui_theme_find(v);
    if (i < 0) return ui_say(st, UI_SAY_BAD, "%s is no theme: dark, light, contrast", v), false;
    st->look.theme = (enum ui_theme)i;
    return true;
}

static void get_theme(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%s", ui_theme_name[st->look.theme]);
}

static bool set_map(struct ui_state *st, const char *v)
{
    int i;
    if (!ui_arg_choice(st, v, ui_map_name, UI_N_MAPS, ui_look_map(&st->look), &i)) return false;
    st->look.map = (enum ui_map)i;
    st->look.own_map = true;
    return true;
}

static void get_map(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%s", ui_map_name[ui_look_map(&st->look)]);
}

static bool set_ascii(struct ui_state *st, const char *v)
{
    return on_off(st, v, &st->look.ascii);
}

static void get_ascii(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%s", st->look.ascii ? "on" : "off");
}

static bool set_mouse(struct ui_state *st, const char *v)
{
    return on_off(st, v, &st->app->mouse);
}

static void get_mouse(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%s", st->app->mouse ? "on" : "off");
}

static bool set_scale(struct ui_state *st, const char *v)
{
    int i;
    if (!ui_arg_choice(st, v, ui_scale_name, UI_N_SCALES, st->at.scale, &i)) return false;
    st->at.scale = (enum ui_scale)i;
    return true;
}

static void get_scale(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%s", ui_scale_name[st->at.scale]);
}

static bool set_pool(struct ui_state *st, const char *v)
{
    int i;
    if (!ui_arg_choice(st, v, ui_pool_name, SAC_N_POOLS, st->at.pool, &i)) return false;
    st->at.pool = (enum sac_pooling)i;
    return true;
}

static void get_pool(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%s", ui_pool_name[st->at.pool]);
}

static bool set_wrap(struct ui_state *st, const char *v)
{
    return on_off(st, v, &st->at.wrap);
}

static void get_wrap(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%s", st->at.wrap ? "on" : "off");
}

/* What a run begins with. The command line goes before the config file; later, :set changes the next run. */
static bool starts_with(struct ui_state *st, const char *command, const char *v, bool given)
{
    if (st->app->quiet && given) return true;
    const struct ui_cmd *c = ui_cmd_find(command, UI_SCREEN_RUN);
    bool changed = st->run->edited, ok = c && c->run(st, v);
    if (st->app->quiet) st->run->edited = changed;
    return ok;
}

static bool set_task(struct ui_state *st, const char *v)
{
    const struct ui_app_opts *o = st->app->opts;
    return starts_with(st, "task", v, o->task || o->prompt);
}

static void get_task(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%s", st->run->want.task);
}

static bool set_length(struct ui_state *st, const char *v)
{
    return starts_with(st, "length", v, st->app->opts->length > 0);
}

static void get_length(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%d", st->run->want.length);
}

static bool set_max_tokens(struct ui_state *st, const char *v)
{
    return starts_with(st, "max-tokens", v, st->app->opts->max_tokens > 0);
}

static void get_max_tokens(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%d", st->run->want.max_tokens);
}

static bool set_threads(struct ui_state *st, const char *v)
{
    return starts_with(st, "threads", v, st->app->opts->threads > 0);
}

static void get_threads(const struct ui_state *st, char *b, size_t cap)
{
    if (st->run->want.threads) snprintf(b, cap, "%d", st->run->want.threads);
    else snprintf(b, cap, "all cores");
}

static bool set_samples(struct ui_state *st, const char *v)
{
    return ui_arg_int(st, v, st->tasks->n_samples, 1, UI_T_SAMPLES, &st->tasks->n_samples);
}

static void get_samples(const struct ui_state *st, char *b, size_t cap)
{
    snprintf(b, cap, "%d", st->tasks->n_samples);
}

static const struct setting {
    const char *name, *values, *help;
    setter set;
    getter get;
} settings[] = {
    { "theme", "dark|light|contrast", "colours of the frame and the marks", set_theme, get_theme },
    { "colormap", "viridis|magma|inferno|cividis|grey", "colours of values", set_map, get_map },
    { "ascii", "on|off", "draw with ASCII characters only", set_ascii, get_ascii },
    { "mouse", "on|off", "take the mouse (Shift leaves it to the terminal)", set_mouse, get_mouse },
    { "scale", "log|lift|root|linear|rank", "how values become colours", set_scale, get_scale },
    { "pool", "max|mass|mean", "how many values become one pixel", set_pool, get_pool },
    { "wrap", "on|off", "break lines of the Text screen at its edge", set_wrap, get_wrap },
    { "task", "niah|vt|cwe|story_retrieval|story_multihop|story_filtering", "the task a run begins with",
      set_task, get_task },
    { "length", "TOKENS", "length of its prompt", set_length, get_length },
    { "max-tokens", "N", "length limit of answers", set_max_tokens, get_max_tokens },
    { "threads", "N", "threads that compute", set_threads, get_threads },
    { "samples", "N", "samples of each task on the Tasks screen", set_samples, get_samples },
};
enum { N_SETTINGS = sizeof settings / sizeof *settings };

bool ui_config_choice(int i, const char **name, const char **values, const char **help)
{
    if (i < 0 || i >= N_SETTINGS) return false;
    *name = settings[i].name;
    *values = settings[i].values;
    *help = settings[i].help;
    return true;
}

void ui_config_get(const struct ui_state *st, const char *name, char *buf, size_t cap)
{
    *buf = 0;
    for (int i = 0; i < N_SETTINGS; i++)
        if (!strcmp(settings[i].name, name)) settings[i].get(st, buf, cap);
}

bool ui_config_set(struct ui_state *st, const char *name, const char *value)
{
    const char *names[N_SETTINGS];
    for (int i = 0; i < N_SETTINGS; i++) {
        names[i] = settings[i].name;
        if (!strcmp(settings[i].name, name)) return settings[i].set(st, value);
    }
    const char *near = sac_nearest(name, names, N_SETTINGS);
    if (near)
        ui_say(st, UI_SAY_BAD, "there is no setting %s; did you mean %s?", name, near);
    else
        ui_say(st, UI_SAY_BAD, "there is no setting %s; :set and Tab list them", name);
    return false;
}

/* ---- files ---- */

static bool make_folders(char *path)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            int rc = mkdir(path, 0700);
            *p = '/';
            if (rc && errno != EEXIST) return false;
        }
    return true;
}

bool ui_xdg(const char *kind, const char *file, bool create, char *out, size_t cap)
{
    char var[40];
    snprintf(var, sizeof var, "XDG_%s_HOME", kind);
    const char *base = getenv(var), *home = getenv("HOME");
    int n;
    if (base && *base == '/') n = snprintf(out, cap, "%s/saccade/%s", base, file);
    else if (home && *home)
        n = snprintf(out, cap, "%s/%s/saccade/%s", home, strcmp(kind, "CONFIG") ? ".local/state" : ".config",
                     file);
    else return false;
    return n > 0 && (size_t)n < cap && (!create || make_folders(out));
}

/* Lines that are not understood: each in the log, the first also in the status line with how many there are.
 */
struct trouble { struct ui_state *st; int n; char first[1200]; };

static void report(void *ctx, const char *msg)
{
    struct trouble *t = ctx;
    ui_log(t->st, "%s", msg);
    if (t->n++ == 0) snprintf(t->first, sizeof t->first, "%s", msg);
}

static void read_settings(struct ui_state *st, FILE *f, struct trouble *t)
{
    char line[300], msg[1200];
    struct ui_app *a = st->app;
    a->quiet = true;
    for (int no = 1; fgets(line, sizeof line, f); no++) {
        char name[40], value[200];
        line[strcspn(line, "#\r\n")] = 0;
        if (!line[strspn(line, " \t")]) continue;
        a->say[0] = 0;
        if (sscanf(line, " %39[^= \t] = %199s", name, value) == 2 && ui_config_set(st, name, value)) continue;
        snprintf(msg, sizeof msg, "config: line %d: %s", no, *a->say ? a->say : "expected NAME = VALUE");
        report(t, msg);
    }
    a->quiet = false;
    a->say[0] = 0;
}

void ui_config_read(struct ui_state *st, const char *given)
{
    char path[600];
    struct trouble t = { .st = st };
    bool have = given ? snprintf(path, sizeof path, "%s", given) > 0
                      : ui_xdg("CONFIG", "config", false, path, sizeof path);
    FILE *f = have ? fopen(path, "r") : NULL;
    if (!f && given) ui_say(st, UI_SAY_BAD, "%s: cannot be read: %s", given, strerror(errno));
    if (f) {
        read_settings(st, f, &t);
        fclose(f);
    }
    f = ui_xdg("CONFIG", "keys", false, path, sizeof path) ? fopen(path, "r") : NULL;
    if (f) {
        ui_keys_load(f, "keys", report, &t);
        fclose(f);
    }
    if (!t.n) return;
    st->app->quiet = true;       /* the log has it already */
    if (t.n == 1) ui_say(st, UI_SAY_BAD, "%s", t.first);
    else ui_say(st, UI_SAY_BAD, "%d lines are not understood (see the log): %s", t.n, t.first);
    st->app->quiet = false;
}
