/* Inside of the base: what the event loop, the commands and the chrome share and views need not see. */
#ifndef UI_BASE_H
#define UI_BASE_H

#include "app.h"

struct json_t;

/* How a session began, after options and settings: for the recipe of a screen. */
struct ui_began {
    char task[160];
    char *prompt; /* malloc'ed, NULL: the task makes it */
    int length, max_tokens, threads, samples;
    enum ui_screen screen;
};

enum { UI_INPUT_MAX = 1024, UI_HISTORY = 200, UI_LOG_MAX = 500 };
enum ui_mode { UI_MODE_NORMAL, UI_MODE_PROMPT, UI_MODE_HELP, UI_MODE_QUIT, UI_MODE_PICK, UI_MODE_EXPORT,
              UI_MODE_MEASURES };

/* A line of input with a cursor; bytes are UTF-8. */
struct ui_input { char text[UI_INPUT_MAX]; int len, at; };

struct ui_app {
    const struct ui_app_opts *opts;
    bool quit, dirty, repaint, mouse, headless;
    int exit_code;
    int wake[2];                    /* pipe: workers -> UI thread */
    double wake_at;                 /* next timed frame, 0: none */
    double last_stop;               /* time of the last Ctrl-C */

    enum ui_mode mode;
    int pending;                    /* a key that waits for another: 'g', '\'' or '"' */
    char prompt_kind;               /* ':' or '/' */
    struct ui_input input;
    int complete_at; char complete_from[UI_INPUT_MAX];   /* Tab goes round from here; -1 none */
    char *history[UI_HISTORY]; int n_history, history_at;
    int help_cur, help_scroll;
    int pick_cur;                   /* lane chooser */
    int measure_cur, measure_scroll, measure_lane;   /* table of measures: row, first line, first column */
    bool pick_b;

    bool quiet;                     /* a config file is read: what is said is collected, not logged */
    char say[400]; enum ui_say say_kind; double say_at;
    char *log[UI_LOG_MAX]; int n_log;
    FILE *session;                  /* commands as they are run */
    bool in_script;
    struct ui_began began;
    char *record; /* commands that a picture of the screen needs, one a line */
    size_t n_record, record_cap;
    struct json_t *pins;  /* numbers of lanes that a recipe keeps, NULL none */
    bool still, restored; /* a picture is drawn; the recipe's state was put back */

    struct ui_where undo[UI_BACK], back[UI_BACK], mark[UI_MARKS];
    int n_undo, at_undo, n_back;
    bool have_mark[UI_MARKS];
    const struct ui_cmd *last_quiet;

    struct cell_buf buf;
    char copy[74994];               /* waiting to be sent to the terminal's clipboard */
    bool has_copy;
    struct ui_shots *shots;
    struct ui_player *player;       /* a script being played on screen, NULL none */
    int export_what, export_format, export_row;      /* the export dialog */
    bool want_editor, want_suspend;
    bool plain_out;
    double play_at;
};

/* commands_base.c */
extern const struct ui_cmd ui_base_cmds[];
extern const int ui_n_base_cmds;
extern const struct ui_bind ui_base_binds[];
extern const int ui_n_base_binds;

/* undo.c */
void ui_undo_save(struct ui_state *st, const struct ui_where *before);
bool ui_undo_step(struct ui_state *st, int dir);
bool ui_back_step(struct ui_state *st);

/* input.c: the ':' and '/' prompts */
void ui_prompt_open(struct ui_state *st, char kind, const char *text);
void ui_prompt_key(struct ui_state *st, int key);
void ui_prompt_paste(struct ui_state *st, const char *text, size_t len);
void ui_history_load(struct ui_state *st, FILE *f);
void ui_prompt_draw(const struct ui_state *st, struct cell_buf *b, int *cx, int *cy);

/* help.c */
void ui_help_open(struct ui_state *st);
void ui_help_key(struct ui_state *st, int key);
void ui_help_draw(const struct ui_state *st, struct cell_buf *b);

/* measures.c: the table of everything measured */
bool ui_measures_open(struct ui_state *st);
void ui_measures_key(struct ui_state *st, int key);
void ui_measures_draw(const struct ui_state *st, struct cell_buf *b);

/* chrome.c */
void ui_frame(struct ui_state *st, struct cell_buf *b, int *cx, int *cy);
/* A framed box in the middle of the screen; returns its inside. */
struct ui_rect ui_centre(const struct ui_state *st, struct cell_buf *b, int w, int h, const char *title);
bool ui_chrome_click(struct ui_state *st, int x, int y);

/* events.c */
void ui_key(struct ui_state *st, int key);
void ui_paste(struct ui_state *st, const char *text, size_t len);
void ui_mouse(struct ui_state *st, int x, int y, enum ui_click what);

/* state.c */
void ui_state_init(struct ui_state *st, struct ui_app *app);
void ui_where_default(struct ui_where *w);
void ui_state_refresh(struct ui_state *st);           /* read the trace for this frame, settle the view */
void ui_state_set_trace(struct ui_state *st, struct sac_trace *t);   /* retains; NULL: none */
void ui_state_free(struct ui_state *st);
void ui_draw(struct ui_state *st, struct cell_buf *b, int *cx, int *cy);
double ui_clock(void);
void ui_notify(void *app);                            /* wakes the UI thread; from any thread */

/* config.c */
void ui_config_read(struct ui_state *st, const char *path);
bool ui_config_set(struct ui_state *st, const char *name, const char *value);
bool ui_config_choice(int i, const char **name, const char **values, const char **help);
void ui_config_get(const struct ui_state *st, const char *name, char *buf, size_t cap);
bool ui_xdg(const char *kind, const char *file, bool create, char *out, size_t cap);

/* tier.c */
struct ui_env { const char *term, *colorterm, *no_color; bool utf8, remote; };
struct ui_env ui_env_read(void);
/* The tier to try and whether ASCII only; why: a sentence for doctor. wish: --color. */
enum ui_tier ui_tier_decide(const struct ui_env *e, const char *wish, char *why, size_t cap);

/* script.c */
int ui_plain_run(struct ui_state *st, struct sac_err *err);
int ui_headless_run(struct ui_state *st, struct sac_err *err);

/* run.c */
struct ui_run *ui_run_new(struct ui_state *st);
void ui_run_free(struct ui_run *r);
void ui_run_poll(struct ui_state *st);                /* take over what the loader finished */
bool ui_run_busy(const struct ui_state *st);          /* loading or running */
void ui_run_stop(struct ui_state *st);
void ui_run_edited(struct ui_state *st, char *text);  /* the prompt from $EDITOR; takes text */
char *ui_run_prompt(const struct ui_state *st);       /* malloc'ed text to edit */

/* shot.c: pictures and data of what is shown, written by a thread of its own */
struct ui_shots *ui_shots_new(struct ui_app *a);
void ui_shots_free(struct ui_shots *s);              /* waits for the one being written; accepts NULL */
void ui_shots_poll(struct ui_state *st);
bool ui_shots_busy(const struct ui_state *st);
void ui_export_key(struct ui_state *st, int key);
void ui_export_dialog(const struct ui_state *st, struct cell_buf *b);
extern const struct ui_cmd ui_shot_cmds[];
extern const int ui_n_shot_cmds;

/* export_screen.c: what a picture of the screen needs to be made again */
void ui_screen_began(struct ui_state *st); /* options and settings are read: the session begins */
void ui_record(struct ui_state *st, const struct ui_cmd *c, const char *arg); /* a command will run */
void ui_record_prompt(struct ui_state *st, const char *text);                 /* a prompt from the editor */

/* player.c: scripts played on screen (replay, tour, open), and asciicasts of headless ones */
/* Before drawing: runs what is due; the lines at the foot that the caption takes from the view. */
int ui_player_room(struct ui_state *st, const struct cell_buf *b);
void ui_player_frame(struct ui_state *st, struct cell_buf *b);   /* after drawing: the caption */
bool ui_player_key(struct ui_state *st, int key);                /* true: the key was the player's */
void ui_player_free(struct ui_player *p);
void ui_player_line(struct ui_state *st, const char *line);      /* headless: about to run this line */
bool ui_player_cast(struct ui_state *st,
                    struct sac_err *err); /* headless: a frame of the asciicast, if one is made */
/* Writes what was collected to opts->cast; a whole file or none. */
bool ui_player_cast_write(struct ui_state *st, struct sac_err *err);

/* search.c: the smallest budget that still answers */
bool ui_search_start(struct ui_state *st, const char *spec);
void ui_search_poll(struct ui_state *st);
bool ui_search_has(const struct ui_state *st, int lane); /* is this lane one of its trials? */
/* Its name and the budgets tried so far, in one line; false: nothing was searched for in this run. */
bool ui_search_text(const struct ui_state *st, char *name, size_t name_cap, char *buf, size_t cap);

/* tasks.c */
struct ui_tasks *ui_tasks_new(struct ui_state *st);
void ui_tasks_free(struct ui_tasks *t);
bool ui_tasks_busy(const struct ui_state *st);
void ui_tasks_stop(struct ui_state *st);
void ui_tasks_poll(struct ui_state *st);
#endif
