/* Commands that mean the same on every screen, and the default keys. */
#include "base.h"
#include "config.h"
#include "export.h"
#include "keys.h"
#include "whatif.h"

#include <stdlib.h>
#include <string.h>

static const struct ui_view *view(const struct ui_state *st)
{
    return ui_view_of(st->at.screen);
}

/* ---- moving ---- */

static bool moved(struct ui_state *st, enum ui_move m, int n)
{
    if (!view(st)->move) return true;
    return view(st)->move(st, m, n);
}

static bool cmd_move_by(struct ui_state *st, const char *arg, int n)
{
    static const char *const dirs[] = { "left", "right", "up", "down" };
    for (int i = 0; i < 4; i++) {
        size_t len = strlen(dirs[i]);
        if (strncmp(arg, dirs[i], len) != 0) continue;
        if (arg[len] == ' ') n = atoi(arg + len);
        return moved(st, (enum ui_move)i, n < 1 ? 1 : n);
    }
    return ui_say(st, UI_SAY_BAD, "move: expected left, right, up or down"), false;
}

static bool cmd_move(struct ui_state *st, const char *arg) { return cmd_move_by(st, arg, 1); }
static bool cmd_move_10(struct ui_state *st, const char *arg) { return cmd_move_by(st, arg, 10); }
static bool cmd_top(struct ui_state *st, const char *arg) { return (void)arg, moved(st, UI_TOP, 1); }
static bool cmd_bottom(struct ui_state *st, const char *arg) { return (void)arg, moved(st, UI_BOTTOM, 1); }
static bool cmd_line_start(struct ui_state *st, const char *arg)
{
    return (void)arg, moved(st, UI_LINE_START, 1);
}
static bool cmd_line_end(struct ui_state *st, const char *arg)
{
    return (void)arg, moved(st, UI_LINE_END, 1);
}
static bool cmd_half_down(struct ui_state *st, const char *arg)
{
    return (void)arg, moved(st, UI_HALF_DOWN, 1);
}
static bool cmd_half_up(struct ui_state *st, const char *arg) { return (void)arg, moved(st, UI_HALF_UP, 1); }
static bool cmd_page_down(struct ui_state *st, const char *arg)
{
    return (void)arg, moved(st, UI_PAGE_DOWN, 1);
}
static bool cmd_page_up(struct ui_state *st, const char *arg) { return (void)arg, moved(st, UI_PAGE_UP, 1); }

static bool cmd_screen(struct ui_state *st, const char *arg)
{
    for (int s = 0; s < UI_N_SCREENS; s++)
        if (!strcmp(arg, ui_view_of((enum ui_screen)s)->name) || (arg[0] == '1' + s && !arg[1])) {
            st->at.screen = (enum ui_screen)s;
            return true;
        }
    return ui_say(st, UI_SAY_BAD, "screens: run, heads, map, compare, text, pages, tasks"), false;
}

static bool pane_step(struct ui_state *st, int by)
{
    int n = view(st)->n_panes;
    int *p = &st->at.pane[st->at.screen];
    if (n > 1) *p = ((*p + by) % n + n) % n;
    return true;
}

static bool cmd_pane_next(struct ui_state *st, const char *arg) { return (void)arg, pane_step(st, 1); }
static bool cmd_pane_prev(struct ui_state *st, const char *arg) { return (void)arg, pane_step(st, -1); }

static bool cmd_open(struct ui_state *st, const char *arg)
{
    (void)arg;
    return !view(st)->open || view(st)->open(st);
}

static bool cmd_toggle(struct ui_state *st, const char *arg)
{
    (void)arg;
    return !view(st)->toggle || view(st)->toggle(st);
}

static bool cmd_back(struct ui_state *st, const char *arg)
{
    (void)arg;
    if (!ui_back_step(st)) ui_say(st, UI_SAY_INFO, "this is where you began");
    return true;
}

static bool cmd_cancel(struct ui_state *st, const char *arg)
{
    (void)arg;
    st->app->say[0] = 0;
    if (ui_whatif_on(st)) return memset(st->at.whatif, 0, sizeof st->at.whatif), true;
    if (view(st)->cancel) view(st)->cancel(st);
    return true;
}

/* ---- what is looked at ---- */

static bool have_trace(struct ui_state *st)
{
    if (st->trace) return true;
    ui_say(st, UI_SAY_BAD, "nothing has run yet: press 1, then r");
    return false;
}

/* Steps end at the last one; a number that names none is a mistake, in a script above all. */
static bool there_is(struct ui_state *st, const char *what, const char *arg, int last)
{
    char *end;
    long n = strtol(arg, &end, 10);
    if (*arg == '+' || *arg == '-' || end == arg || *end || n <= last) return true;
    ui_say(st, UI_SAY_BAD, "there is no %s %ld: they are 0 to %d", what, n, last);
    return false;
}

static bool cmd_layer(struct ui_state *st, const char *arg)
{
    return have_trace(st) && there_is(st, "layer", arg, st->info.shape.n_layers - 1) &&
           ui_arg_int(st, arg, st->at.layer, 0, st->info.shape.n_layers - 1, &st->at.layer);
}

static bool cmd_head(struct ui_state *st, const char *arg)
{
    if (!have_trace(st) || !there_is(st, "head", arg, st->info.shape.n_heads - 1) ||
        !ui_arg_int(st, arg, st->at.head, 0, st->info.shape.n_heads - 1, &st->at.head))
        return false;
    st->at.group = false;
    return true;
}

static bool cmd_group(struct ui_state *st, const char *arg)
{
    if (!have_trace(st)) return false;
    const struct sac_shape *s = &st->info.shape;
    int g = s->n_heads / s->n_kv_heads, kv = ui_kv_head(st);
    if (!strcmp(arg, "off")) return st->at.group = false, true;
    if (!ui_arg_int(st, st->at.group || (*arg != '+' && *arg != '-') ? arg : "+0", kv, 0, s->n_kv_heads - 1,
                    &kv))
        return false;
    st->at.group = true;     /* the first step shows the group of the head, later ones move on */
    st->at.head = kv * g + st->at.head % g;
    return true;
}

static bool cmd_step(struct ui_state *st, const char *arg)
{
    if (!have_trace(st)) return false;
    int n = ui_n_steps(st, st->at.a), nb = ui_n_steps(st, st->at.b);
    if (nb > n) n = nb;
    if (n < 1) return ui_say(st, UI_SAY_INFO, "no token has been generated yet"), true;
    if (!there_is(st, "step", arg, n - 1) || !ui_arg_int(st, arg, st->at.step, 0, n - 1, &st->at.step))
        return false;
    st->at.row = ui_step_row(st, st->at.step);
    return true;
}

static bool cmd_row(struct ui_state *st, const char *arg)
{
    int hi = ui_n_rows(st, st->at.a) - 1;
    if (!have_trace(st) || !there_is(st, "row", arg, hi) ||
        !ui_arg_int(st, arg, st->at.row, 0, hi < 0 ? 0 : hi, &st->at.row)) return false;
    int step = st->at.row - (st->info.n_prompt - 1);
    st->at.step = step < 0 ? -1 : step;
    return true;
}

static bool cmd_key(struct ui_state *st, const char *arg)
{
    int hi = ui_n_rows(st, st->at.a) - 1;
    return have_trace(st) && ui_arg_int(st, arg, st->at.key, 0, hi < 0 ? 0 : hi, &st->at.key);
}

static bool cmd_event(struct ui_state *st, const char *arg)
{
    int by = 1;
    if (!have_trace(st) || !ui_arg_int(st, arg, 0, -1, 1, &by)) return false;
    return !view(st)->event || view(st)->event(st, by);
}

/* A lane by its number, or the first whose title, method or spec begins so. */
static int find_lane(const struct ui_state *st, const char *arg)
{
    char *end;
    long v = strtol(arg, &end, 10);
    if (end > arg && !*end) return v >= 0 && v < st->n_lanes ? (int)v : -1;
    for (int pass = 0; pass < 2; pass++)
        for (int l = 0; l < st->n_lanes; l++) {
            const struct sac_lane *x = &st->lane[l];
            size_t n = pass ? strlen(arg) : 300;
            if (!strncmp(x->spec, arg, n) || !strncmp(x->method, arg, n) || !strncmp(x->title, arg, n))
                return l;
        }
    return -1;
}

static bool set_lane(struct ui_state *st, const char *arg, int *lane)
{
    if (!have_trace(st)) return false;
    int l = find_lane(st, arg);
    if (l < 0) return ui_say(st, UI_SAY_BAD, "%s has not run: tick it on the Run screen, then r", arg), false;
    *lane = l;
    return true;
}

static bool cmd_method(struct ui_state *st, const char *arg) { return set_lane(st, arg, &st->at.a); }
static bool cmd_method_b(struct ui_state *st, const char *arg) { return set_lane(st, arg, &st->at.b); }

static bool cmd_method_pick(struct ui_state *st, const char *arg)
{
    if (!have_trace(st)) return false;
    st->app->pick_b = !strcmp(arg, "b");
    st->app->pick_cur = st->app->pick_b ? st->at.b : st->at.a;
    st->app->mode = UI_MODE_PICK;
    return true;
}

static bool cmd_method_step(struct ui_state *st, const char *arg)
{
    int by = 1;
    if (!have_trace(st) || !ui_arg_int(st, *arg ? arg : "+1", 0, -1, 1, &by)) return false;
    st->at.a = (st->at.a + by + st->n_lanes) % st->n_lanes;
    return true;
}

static bool cmd_swap(struct ui_state *st, const char *arg)
{
    (void)arg;
    int a = st->at.a;
    st->at.a = st->at.b;
    st->at.b = a;
    return true;
}

/* "L14H5", "@5120" and "span 2" go everywhere; other text is the view's. */
static bool find_go(struct ui_state *st, const char *text)
{
    int layer, head, at = 0;
    if (!st->trace) return false;
    if (sscanf(text, "L%d H%d%n", &layer, &head, &at) == 2 && !text[at]) {
        if (layer < 0 || layer >= st->info.shape.n_layers || head < 0 || head >= st->info.shape.n_heads)
            return false;
        st->at.layer = layer;
        st->at.head = head;
        st->at.group = false;
        return true;
    }
    if (text[0] == '@') {
        int n = ui_n_rows(st, st->at.a);
        char *end;
        long v = strtol(text + 1, &end, 10);
        if (end == text + 1 || *end || v < 0 || v >= n) return false;
        if (st->at.screen == UI_SCREEN_TEXT) st->at.row = (int)v;
        st->at.key = (int)v;
        return true;
    }
    return false;
}

static bool find_dir(struct ui_state *st, int dir)
{
    if (!*st->search) return ui_say(st, UI_SAY_INFO, "nothing to find: / asks"), true;
    if (!have_trace(st)) return false;
    if (find_go(st, st->search)) return true;
    if (view(st)->find && view(st)->find(st, st->search, dir)) return true;
    ui_say(st, UI_SAY_BAD, "%s was not found", st->search);
    return false;
}

static bool cmd_find(struct ui_state *st, const char *arg)
{
    if (!*arg) return ui_prompt_open(st, '/', ""), true;
    snprintf(st->search, sizeof st->search, "%s", arg);
    return find_dir(st, 0);
}

static bool cmd_find_next(struct ui_state *st, const char *arg) { return (void)arg, find_dir(st, 1); }
static bool cmd_find_prev(struct ui_state *st, const char *arg) { return (void)arg, find_dir(st, -1); }

static bool cmd_goto(struct ui_state *st, const char *arg)
{
    char text[32];
    snprintf(text, sizeof text, "@%s", arg + (*arg == '@'));
    if (!have_trace(st)) return false;
    if (find_go(st, text)) return true;
    return ui_say(st, UI_SAY_BAD, "goto: expected a position below %d", ui_n_rows(st, st->at.a)), false;
}

/* ---- work ---- */

static bool cmd_stop(struct ui_state *st, const char *arg)
{
    (void)arg;
    bool busy = ui_run_busy(st) || ui_tasks_busy(st);
    ui_run_stop(st);
    ui_tasks_stop(st);
    ui_say(st, UI_SAY_INFO,
           busy ? "stopping: what has been computed is kept" : "nothing runs; Ctrl-C twice or Q quits");
    return true;
}

static bool cmd_copy(struct ui_state *st, const char *arg)
{
    (void)arg;
    char text[2048] = "";
    if (view(st)->copy) view(st)->copy(st, text, sizeof text);
    if (!*text) return ui_say(st, UI_SAY_INFO, "there is nothing to copy here yet"), true;
    return ui_copy(st, text), true;
}

static bool cmd_copy_command(struct ui_state *st, const char *arg)
{
    (void)arg;
    char text[2048];
    struct ui_shot shot;
    if (!have_trace(st)) return false;
    if (!ui_shot_of(&shot, st))
        return ui_say(st, UI_SAY_INFO, "this screen is not a figure: screens 2 to 6 are"), true;
    ui_recipe_command(st->trace, &shot, text, sizeof text);
    return ui_copy(st, text), true;
}

/* ---- the program ---- */

static bool cmd_command(struct ui_state *st, const char *arg)
{
    char text[UI_INPUT_MAX];
    snprintf(text, sizeof text, "%s%s", arg, *arg ? " " : ""); /* "command filter" waits for the expression */
    return ui_prompt_open(st, ':', text), true;
}

static bool cmd_help(struct ui_state *st, const char *arg)
{
    (void)arg;
    return ui_help_open(st), true;
}

static bool cmd_undo(struct ui_state *st, const char *arg)
{
    (void)arg;
    if (!ui_undo_step(st, -1)) return ui_say(st, UI_SAY_INFO, "nothing to undo"), true;
    return ui_say(st, UI_SAY_INFO, "undone, %d more; U brings it back", st->app->at_undo), true;
}

static bool cmd_redo(struct ui_state *st, const char *arg)
{
    (void)arg;
    if (!ui_undo_step(st, 1)) return ui_say(st, UI_SAY_INFO, "nothing to redo"), true;
    return ui_say(st, UI_SAY_INFO, "done again, %d more", st->app->n_undo - st->app->at_undo), true;
}

static bool cmd_mark(struct ui_state *st, const char *arg)
{
    if (!*arg) return st->app->pending = '"', true;
    int i = (*arg | 0x20) - 'a';
    if (i < 0 || i >= UI_MARKS) return ui_say(st, UI_SAY_BAD, "marks are the letters a to z"), false;
    st->app->mark[i] = st->at;
    st->app->have_mark[i] = true;
    ui_say(st, UI_SAY_OK, "mark %c set", 'a' + i);
    return true;
}

static bool cmd_goto_mark(struct ui_state *st, const char *arg)
{
    if (!*arg) return st->app->pending = '\'', true;
    int i = (*arg | 0x20) - 'a';
    if (i < 0 || i >= UI_MARKS || !st->app->have_mark[i])
        return ui_say(st, UI_SAY_BAD, "mark %s is not set: \" and a letter set one", arg), false;
    enum ui_screen s = st->app->mark[i].screen;
    ui_go(st, s);
    st->at = st->app->mark[i];
    return true;
}

static bool cmd_g(struct ui_state *st, const char *arg)
{
    (void)arg;
    st->app->pending = 'g';
    return true;
}

static bool cmd_redraw(struct ui_state *st, const char *arg)
{
    (void)arg;
    return st->app->repaint = true;
}

static bool cmd_suspend(struct ui_state *st, const char *arg)
{
    (void)arg;
    return st->app->want_suspend = true;
}

static bool cmd_back_or_quit(struct ui_state *st, const char *arg)
{
    (void)arg;
    if (ui_back_step(st)) return true;
    if (!ui_run_busy(st) && !ui_tasks_busy(st)) return st->app->quit = true;
    st->app->mode = UI_MODE_QUIT;
    return true;
}

static bool cmd_quit(struct ui_state *st, const char *arg)
{
    (void)arg;
    return st->app->quit = true;
}

static bool cmd_set(struct ui_state *st, const char *arg)
{
    char name[40] = "", value[200] = "";
    if (sscanf(arg, "%39s %199s", name, value) < 1)
        return ui_say(st, UI_SAY_BAD, "set: expected NAME VALUE"), false;
    if (!*value) {
        ui_config_get(st, name, value, sizeof value);
        if (*value) return ui_say(st, UI_SAY_INFO, "%s is %s", name, value), true;
    }
    if (!ui_config_set(st, name, value)) return false;
    return st->app->repaint = true;
}

static bool cmd_colormap(struct ui_state *st, const char *arg)
{
    if (!ui_config_set(st, "colormap", *arg ? arg : "next")) return false;
    ui_say(st, UI_SAY_INFO, "colour map %s", ui_map_name[st->look.map]);
    return true;
}

static bool cmd_theme(struct ui_state *st, const char *arg)
{
    int t;
    if (!ui_arg_choice(st, arg, ui_theme_name, UI_N_THEMES, st->look.theme, &t)) return false;
    st->look.theme = (enum ui_theme)t;
    return st->app->repaint = true;
}

static bool cmd_bind(struct ui_state *st, const char *arg)
{
    char err[200];
    if (ui_keys_bind(arg, err, sizeof err)) return ui_say(st, UI_SAY_OK, "bound: %s", arg), true;
    return ui_say(st, UI_SAY_BAD, "bind: %s", err), false;
}

static bool cmd_measures(struct ui_state *st, const char *arg)
{
    (void)arg;
    return ui_measures_open(st);
}

static bool cmd_log(struct ui_state *st, const char *arg)
{
    return ui_log(st, "%s", arg), true;
}

#define ALL UI_CTX_ALL
#define VIEW UI_CMD_VIEW
#define QUIET (UI_CMD_VIEW | UI_CMD_QUIET)
#define ARROWS "left|right|up|down"
const struct ui_cmd ui_base_cmds[] = {
    { "screen", "run|heads|map|compare|text|pages|tasks", "go to a screen", UI_GROUP_MOVE, ALL, VIEW,
      cmd_screen },
    { "pane-next", "", "next pane", UI_GROUP_MOVE, ALL, 0, cmd_pane_next },
    { "pane-prev", "", "previous pane", UI_GROUP_MOVE, ALL, 0, cmd_pane_prev },
    { "move", ARROWS, "one cell or line", UI_GROUP_MOVE, ALL, QUIET, cmd_move },
    { "move-10", ARROWS, "ten cells or lines", UI_GROUP_MOVE, ALL, QUIET, cmd_move_10 },
    { "top", "", "first row", UI_GROUP_MOVE, ALL, QUIET, cmd_top },
    { "bottom", "", "last row", UI_GROUP_MOVE, ALL, QUIET, cmd_bottom },
    { "line-start", "", "first column", UI_GROUP_MOVE, ALL, QUIET, cmd_line_start },
    { "line-end", "", "last column", UI_GROUP_MOVE, ALL, QUIET, cmd_line_end },
    { "half-down", "", "half a page down", UI_GROUP_MOVE, ALL, QUIET, cmd_half_down },
    { "half-up", "", "half a page up", UI_GROUP_MOVE, ALL, QUIET, cmd_half_up },
    { "page-down", "", "a page down", UI_GROUP_MOVE, ALL, QUIET, cmd_page_down },
    { "page-up", "", "a page up", UI_GROUP_MOVE, ALL, QUIET, cmd_page_up },
    { "open", "", "drill down", UI_GROUP_MOVE, ALL, VIEW, cmd_open },
    { "back", "", "back to the view before", UI_GROUP_MOVE, ALL, 0, cmd_back },
    { "cancel", "", "close, clear the selection", UI_GROUP_MOVE, ALL, VIEW, cmd_cancel },
    { "find", "TEXT or L14H5 or @5120", "find text (or a regular expression), a head or a position",
      UI_GROUP_MOVE, ALL, VIEW, cmd_find },
    { "find-next", "", "next match", UI_GROUP_MOVE, ALL, VIEW, cmd_find_next },
    { "find-prev", "", "previous match", UI_GROUP_MOVE, ALL, VIEW, cmd_find_prev },
    { "goto", "POSITION", "go to a token", UI_GROUP_MOVE, ALL, VIEW, cmd_goto },
    { "prefix-g", "", "gg first row, g and a number: that token", UI_GROUP_MOVE, ALL, 0, cmd_g },
    { "layer", "+N|-N|N", "layer", UI_GROUP_MODEL, ALL, QUIET, cmd_layer },
    { "head", "+N|-N|N", "query head", UI_GROUP_MODEL, ALL, QUIET, cmd_head },
    { "group", "+N|-N|N|off", "KV group: the mean of its heads", UI_GROUP_MODEL, ALL, QUIET, cmd_group },
    { "step", "+N|-N|N", "decode step", UI_GROUP_MODEL, ALL, QUIET, cmd_step },
    { "row", "+N|-N|N", "query position", UI_GROUP_MODEL, ALL, QUIET, cmd_row },
    { "key", "+N|-N|N", "key position", UI_GROUP_MODEL, ALL, QUIET, cmd_key },
    { "event", "+1|-1", "next or previous gold span, missed key, differing token", UI_GROUP_MODEL, ALL, VIEW,
      cmd_event },
    { "toggle", "", "tick, play, mark", UI_GROUP_ACT, ALL, VIEW, cmd_toggle },
    { "method-pick", "[b]", "choose the method of this pane (A), or of the other (B)", UI_GROUP_MODEL, ALL, 0,
      cmd_method_pick },
    { "method", "METHOD or lane number", "method A", UI_GROUP_MODEL, ALL, VIEW, cmd_method },
    { "method-b", "METHOD or lane number", "method B", UI_GROUP_MODEL, ALL, VIEW, cmd_method_b },
    { "method-step", "+1|-1", "next or previous method", UI_GROUP_MODEL, ALL, VIEW, cmd_method_step },
    { "swap", "", "swap A and B", UI_GROUP_MODEL, ALL, VIEW, cmd_swap },
    { "measures", "", "everything measured, of all methods, in one table", UI_GROUP_MODEL, ALL, 0,
      cmd_measures },
    { "stop", "", "stop the running work, keep results", UI_GROUP_ACT, ALL, 0, cmd_stop },
    { "copy", "", "copy the read-out", UI_GROUP_ACT, ALL, 0, cmd_copy },
    { "copy-command", "", "copy the command that makes this view", UI_GROUP_ACT, ALL, 0, cmd_copy_command },
    { "colormap", "next|viridis|magma|inferno|cividis|grey", "colours of values", UI_GROUP_LOOK, ALL, 0,
      cmd_colormap },
    { "theme", "next|dark|light|contrast", "colours of the frame", UI_GROUP_LOOK, ALL, 0, cmd_theme },
    { "set", "NAME VALUE", "change a setting", UI_GROUP_APP, ALL, 0, cmd_set },
    { "bind", "SCREEN KEY = COMMAND", "bind a key", UI_GROUP_APP, ALL, 0, cmd_bind },
    { "undo", "", "undo a view change", UI_GROUP_APP, ALL, 0, cmd_undo },
    { "redo", "", "redo", UI_GROUP_APP, ALL, 0, cmd_redo },
    { "mark", "LETTER", "remember this view", UI_GROUP_APP, ALL, 0, cmd_mark },
    { "goto-mark", "LETTER", "go to a remembered view", UI_GROUP_APP, ALL, 0, cmd_goto_mark },
    { "command", "", "command prompt", UI_GROUP_APP, ALL, 0, cmd_command },
    { "help", "", "help for this screen", UI_GROUP_APP, ALL, 0, cmd_help },
    { "log", "TEXT", "write a line into the log", UI_GROUP_APP, ALL, 0, cmd_log },
    { "redraw", "", "repaint", UI_GROUP_APP, ALL, 0, cmd_redraw },
    { "suspend", "", "suspend the program", UI_GROUP_APP, ALL, 0, cmd_suspend },
    { "back-or-quit", "", "back, at the first view quit", UI_GROUP_APP, ALL, 0, cmd_back_or_quit },
    { "quit", "", "quit", UI_GROUP_APP, ALL, 0, cmd_quit },
};
const int ui_n_base_cmds = sizeof ui_base_cmds / sizeof *ui_base_cmds;

#define RUN UI_CTX(UI_SCREEN_RUN)
const struct ui_bind ui_base_binds[] = {
    { ALL, "1", "screen run" },
    { ALL, "2", "screen heads" },
    { ALL, "3", "screen map" },
    { ALL, "4", "screen compare" },
    { ALL, "5", "screen text" },
    { ALL, "6", "screen pages" },
    { ALL, "7", "screen tasks" },
    { ALL, "Tab", "pane-next" },
    { ALL, "Shift-Tab", "pane-prev" },
    { ALL, "h", "move left" },
    { ALL, "j", "move down" },
    { ALL, "k", "move up" },
    { ALL, "l", "move right" },
    { ALL, "Left", "move left" },
    { ALL, "Down", "move down" },
    { ALL, "Up", "move up" },
    { ALL, "Right", "move right" },
    { ALL, "H", "move-10 left" },
    { ALL, "J", "move-10 down" },
    { ALL, "K", "move-10 up" },
    { ALL, "L", "move-10 right" },
    { ALL, "Shift-Left", "move-10 left" },
    { ALL, "Shift-Down", "move-10 down" },
    { ALL, "Shift-Up", "move-10 up" },
    { ALL, "Shift-Right", "move-10 right" },
    { ALL, "g", "prefix-g" },
    { ALL, "G", "bottom" },
    { ALL, "0", "line-start" },
    { ALL, "$", "line-end" },
    { ALL, "Home", "line-start" },
    { ALL, "End", "line-end" },
    { ALL, "Ctrl-D", "half-down" },
    { ALL, "Ctrl-U", "half-up" },
    { ALL, "PgDn", "page-down" },
    { ALL, "PgUp", "page-up" },
    { ALL, "Enter", "open" },
    { ALL, "Backspace", "back" },
    { ALL, "Esc", "cancel" },
    { ALL, "/", "find" },
    { ALL, "n", "find-next" },
    { ALL, "N", "find-prev" },
    { ALL, ":", "command" },
    { ALL, "Ctrl-P", "command" },
    { ALL, "?", "help" },
    { ALL, "F1", "help" },
    { ALL, "F2", "measures" },
    { ALL, "[", "layer -1" },
    { ALL, "]", "layer +1" },
    { ALL, "{", "head -1" },
    { ALL, "}", "head +1" },
    { ALL, "(", "group -1" },
    { ALL, ")", "group +1" },
    { ALL, ",", "step -1" },
    { ALL, ".", "step +1" },
    { ALL, "<", "event -1" },
    { ALL, ">", "event +1" },
    { ALL, "Space", "toggle" },
    { ALL, "m", "method-pick" },
    { ALL, "M", "method-pick b" },
    { ALL, "b", "budget *0.875" },
    { ALL, "B", "budget *1.125" },
    { ALL, "r", "run" },
    { ALL, "R", "run-all" },
    { ALL, "Ctrl-C", "stop" },
    { ALL, "y", "copy" },
    { ALL, "Y", "copy-command" },
    { ALL, "p", "snapshot" },
    { ALL, "P", "export" },
    { ALL, "u", "undo" },
    { ALL, "U", "redo" },
    { ALL, "'", "goto-mark" },
    { ALL, "\"", "mark" },
    { ALL, "Ctrl-L", "redraw" },
    { ALL, "Ctrl-Z", "suspend" },
    { ALL, "q", "back-or-quit" },
    { ALL, "Q", "quit" },
    { RUN, "e", "edit-prompt" },
    { RUN, "T", "task next" },
    { RUN, "O", "open-trace" },
    { RUN, "x", "tick none" },
    { RUN, "W", "save-trace" },
    { RUN, "+", "queue-move up" },
    { RUN, "-", "queue-move down" },
    { RUN, "Ctrl-Up", "queue-move up" },
    { RUN, "Ctrl-Down", "queue-move down" },
    { UI_CTX(UI_SCREEN_HEADS), "F", "force head" },
    { UI_CTX(UI_SCREEN_MAP) | UI_CTX(UI_SCREEN_COMPARE) | UI_CTX(UI_SCREEN_TEXT), "F", "force span" },
    { UI_CTX(UI_SCREEN_HEADS) | UI_CTX(UI_SCREEN_MAP) | UI_CTX(UI_SCREEN_COMPARE) | UI_CTX(UI_SCREEN_TEXT),
      "c", "colormap next" },
    { UI_CTX(UI_SCREEN_MAP) | UI_CTX(UI_SCREEN_COMPARE), "w", "swap" },
};
const int ui_n_base_binds = sizeof ui_base_binds / sizeof *ui_base_binds;
