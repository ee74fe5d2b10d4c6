/* Named commands: everything a person can do, in tables.
 *
 * Keys, mouse, the ':' prompt, scripts, the session log, help and undo all go through here. A command has a
 * name, an argument, a help line and the screens it belongs to; a binding ties a key to a command line. The
 * tables of the base (commands.c) and of each view (struct ui_view) together are THE table; nothing else
 * changes state. */
#ifndef UI_COMMANDS_H
#define UI_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

struct ui_state;

enum ui_screen { UI_SCREEN_RUN, UI_SCREEN_HEADS, UI_SCREEN_MAP, UI_SCREEN_COMPARE, UI_SCREEN_TEXT,
                 UI_SCREEN_PAGES, UI_SCREEN_TASKS, UI_N_SCREENS };
#define UI_CTX(screen) (1u << (screen))
#define UI_CTX_ALL 0x7fu

enum ui_group { UI_GROUP_MOVE, UI_GROUP_ZOOM, UI_GROUP_MODEL, UI_GROUP_LOOK, UI_GROUP_ACT, UI_GROUP_APP,
                UI_N_GROUPS };
extern const char *const ui_group_name[UI_N_GROUPS];

enum {
    UI_CMD_VIEW = 1, /* changes what is shown: undoable */
    UI_CMD_QUIET = 2
}; /* cursor moves: one undo step for a run of them, not listed in the session log one by one */

struct ui_cmd {
    const char *name;         /* "scale" */
    const char *args; /* "log|lift|root|linear|rank|next": choices when it has '|', else a hint; "" none */
    const char *help;         /* "how values become colours" */
    enum ui_group group;
    unsigned ctx;             /* screens, UI_CTX_ALL */
    unsigned flags;
    /* arg: the rest of the line, never NULL, no blanks around it. False: refused; the reason was given with
     * ui_say(st, UI_SAY_BAD, ...). */
    bool (*run)(struct ui_state *st, const char *arg);
};

struct ui_bind { unsigned ctx; const char *key, *line; };   /* { UI_CTX_ALL, "[", "layer -1" } */
struct ui_hint { const char *line, *label; };               /* { "open", "open map" }; the key is looked up */

/* Run a command line ("layer +1") in the current screen; logs it, keeps undo. False with a sentence in the
 * status line when there is no such command or it refused. */
bool ui_run_line(struct ui_state *st, const char *line);

/* ---- the live table ---- */
int ui_n_cmds(void);
const struct ui_cmd *ui_cmd_at(int i);
/* A command of this name that works on a screen; NULL: none. */
const struct ui_cmd *ui_cmd_find(const char *name, enum ui_screen screen);
/* Completion: the i-th command line that continues `prefix` on a screen; false when there are fewer. */
bool ui_complete(const char *prefix, enum ui_screen screen, int i, char *out, size_t cap);

/* Parse helpers for arguments. "+1" and "-1" are relative to `now`, plain numbers absolute; clamped. False
 * with a sentence when it is not a number. */
bool ui_arg_int(struct ui_state *st, const char *arg, int now, int lo, int hi, int *out);
/* Index of a choice, or the next one for "" and "next", the one before for "prev". False with a sentence. */
bool ui_arg_choice(struct ui_state *st, const char *arg, const char *const *names, int n, int now, int *out);
#endif
