/* The table of commands as one list, and running a line of it: lookup, undo, session log, completion. */
#include "base.h"
#include "config.h"
#include "run.h"
#include "tasks.h"

#include <errno.h>
#include <saccade/err.h>
#include <stdlib.h>
#include <string.h>

const char *const ui_group_name[UI_N_GROUPS] = { "MOVE", "ZOOM", "MODEL", "LOOK", "ACT", "PROGRAM" };

enum { MAX_CMDS = 256 };
static const struct ui_cmd *table[MAX_CMDS];
static int n_table;

static void add(const struct ui_cmd *c, int n)
{
    for (int i = 0; i < n && n_table < MAX_CMDS; i++) table[n_table++] = &c[i];
}

static void need_table(void)
{
    if (n_table) return;
    for (int s = 0; s < UI_N_SCREENS; s++)
        add(ui_view_of((enum ui_screen)s)->cmds, ui_view_of((enum ui_screen)s)->n_cmds);
    add(ui_tasks_cmds, ui_n_tasks_cmds);
    add(ui_run_cmds, ui_n_run_cmds);
    add(ui_shot_cmds, ui_n_shot_cmds);
    add(ui_base_cmds, ui_n_base_cmds);
}

int ui_n_cmds(void)
{
    need_table();
    return n_table;
}

const struct ui_cmd *ui_cmd_at(int i)
{
    need_table();
    return i >= 0 && i < n_table ? table[i] : NULL;
}

const struct ui_cmd *ui_cmd_find(const char *name, enum ui_screen screen)
{
    need_table();
    for (int i = 0; i < n_table; i++)
        if (table[i]->ctx & UI_CTX(screen) && !strcmp(table[i]->name, name)) return table[i];
    return NULL;
}

/* Why a word is not a command here: another screen has it, or a near name is meant. */
static void no_such(struct ui_state *st, const char *word)
{
    const char *names[MAX_CMDS];
    int n = 0;
    for (int i = 0; i < n_table; i++) {
        if (!strcmp(table[i]->name, word)) {
            for (int s = 0; s < UI_N_SCREENS; s++)
                if (table[i]->ctx & UI_CTX(s)) {
                    ui_say(st, UI_SAY_BAD, "%s works on the %s screen (%d)", word,
                           ui_view_of((enum ui_screen)s)->tab, s + 1);
                    return;
                }
        }
        if (table[i]->ctx & UI_CTX(st->at.screen)) names[n++] = table[i]->name;
    }
    const char *near = sac_nearest(word, names, n);
    if (near) ui_say(st, UI_SAY_BAD, "there is no command %s; did you mean %s?", word, near);
    else ui_say(st, UI_SAY_BAD, "there is no command %s; ? lists them", word);
}

bool ui_run_line(struct ui_state *st, const char *line)
{
    char buf[UI_INPUT_MAX], *p = buf;
    snprintf(buf, sizeof buf, "%s", line);
    while (*p == ' ' || *p == ':') p++;
    size_t n = strlen(p);
    while (n && strchr(" \t\r\n", p[n - 1])) p[--n] = 0;
    if (!*p || *p == '#') return true;
    char *arg = p + strcspn(p, " ");
    if (*arg) *arg++ = 0;
    while (*arg == ' ') arg++;

    const struct ui_cmd *c = ui_cmd_find(p, st->at.screen);
    if (!c) return no_such(st, p), false;
    struct ui_where before = st->at;
    if (st->app->session && strcmp(p, "quit") != 0) {
        fprintf(st->app->session, "%s%s%s\n", p, *arg ? " " : "", arg);
        if (fflush(st->app->session) != 0) {     /* a full disk: say so once, go on without */
            int e = errno;
            fclose(st->app->session);
            st->app->session = NULL;
            ui_say(st, UI_SAY_BAD, "the session log cannot be written (%s): it ends here", strerror(e));
        }
    }
    ui_record(st, c, arg);
    bool ok = c->run(st, arg);
    st->app->dirty = true;
    /* A run of cursor moves is one step of undo. */
    bool moved = memcmp(&before, &st->at, sizeof before) != 0;
    if (c->flags & UI_CMD_VIEW && moved && !(c->flags & UI_CMD_QUIET && st->app->last_quiet))
        ui_undo_save(st, &before);
    st->app->last_quiet = c->flags & UI_CMD_QUIET ? c : NULL;
    return ok;
}

/* ---- completion ---- */

/* The i-th word of "a|b|c", or false. */
static bool choice(const char *args, int i, char *out, size_t cap)
{
    while (i-- > 0) {
        args = strchr(args, '|');
        if (!args) return false;
        args++;
    }
    snprintf(out, cap, "%.*s", (int)strcspn(args, "|]"), args + (*args == '['));
    return *out != 0;
}

/* Words a command's argument may be: its choices, settings, methods, tasks or screens. */
static bool arg_word(const struct ui_cmd *c, int i, char *out, size_t cap)
{
    if (!strcmp(c->name, "set")) {
        const char *name, *values, *help;
        return ui_config_choice(i, &name, &values, &help) && snprintf(out, cap, "%s ", name) > 0;
    }
    if (strstr(c->args, "SPEC") || strstr(c->args, "METHOD")) {
        int n;
        const struct sac_method *const *m = sac_methods(&n);
        return i < n && snprintf(out, cap, "%s", m[i]->name) > 0;
    }
    if (strstr(c->args, "TASK")) {
        int n;
        const struct sac_task *const *t = sac_tasks(&n);
        return i < n && snprintf(out, cap, "%s", t[i]->name) > 0;
    }
    return strchr(c->args, '|') && choice(c->args, i, out, cap);
}

bool ui_complete(const char *prefix, enum ui_screen screen, int i, char *out, size_t cap)
{
    need_table();
    while (*prefix == ' ' || *prefix == ':') prefix++;
    size_t n = strcspn(prefix, " ");
    if (!prefix[n]) {
        for (int k = 0; k < n_table; k++) {
            bool seen = false;
            if (!(table[k]->ctx & UI_CTX(screen)) || strncmp(table[k]->name, prefix, n) != 0) continue;
            for (int j = 0; j < k; j++)
                seen |= table[j]->ctx & UI_CTX(screen) && !strcmp(table[j]->name, table[k]->name);
            if (!seen && i-- == 0) return snprintf(out, cap, "%s", table[k]->name), true;
        }
        return false;
    }
    char word[64], name[64];
    snprintf(name, sizeof name, "%.*s", (int)n, prefix);
    const struct ui_cmd *c = ui_cmd_find(name, screen);
    const char *arg = prefix + n + strspn(prefix + n, " ");
    if (!c) return false;
    for (int k = 0; arg_word(c, k, word, sizeof word); k++)
        if (!strncmp(word, arg, strlen(arg)) && i-- == 0)
            return snprintf(out, cap, "%s %s", name, word), true;
    return false;
}

/* ---- arguments ---- */

bool ui_arg_int(struct ui_state *st, const char *arg, int now, int lo, int hi, int *out)
{
    char *end;
    long v = strtol(arg, &end, 10);
    double scale = 1;
    if (end > arg && (*end == 'k' || *end == 'K')) scale = 1024, end++;
    if (end == arg || *end)
        return ui_say(st, UI_SAY_BAD, "expected a number, found %s", *arg ? arg : "nothing"), false;
    double x = (double)v * scale + (*arg == '+' || *arg == '-' ? now : 0);
    *out = x < lo ? lo : x > hi ? hi : (int)x;
    return true;
}

bool ui_arg_choice(struct ui_state *st, const char *arg, const char *const *names, int n, int now, int *out)
{
    if (!*arg || !strcmp(arg, "next")) return *out = (now + 1) % n, true;
    if (!strcmp(arg, "prev")) return *out = (now + n - 1) % n, true;
    for (int i = 0; i < n; i++)
        if (!strcmp(arg, names[i])) return *out = i, true;
    char list[300];
    size_t at = 0;
    for (int i = 0; i < n && at < sizeof list; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", names[i]);
    ui_say(st, UI_SAY_BAD, "%s is none of: %s", arg, list);
    return false;
}
