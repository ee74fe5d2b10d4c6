/* The state of the explorer, and what views may ask of it.
 *
 * struct ui_state is plain data that only the UI thread changes, and only in commands. What a person chose to
 * look at is struct ui_where: copied whole for undo, the back stack and marks. What is recorded is in the
 * trace; what takes long to compute comes from ui_request, which never waits. */
#ifndef UI_APP_H
#define UI_APP_H

#include "heat.h"
#include "theme.h"
#include "view.h"

#include <saccade/job.h>
#include <saccade/trace.h>
#include <stdatomic.h>

/* Part of the map: rows q0..q1-1, keys k0..k1-1; q1 == 0: all of it. */
struct ui_window { int q0, q1, k0, k1; };

enum ui_overlay { UI_OVER_NONE, UI_OVER_MASK, UI_OVER_BLOCKS, UI_OVER_LISTS, UI_OVER_MISSES, UI_N_OVERLAYS };
/* Auto: in Compare the answer rows, where the method leaves prefill dense; all rows elsewhere. */
/* Colour range of values: five decades, of which terminals with few shades show those in use; the 99.5th
 * percentile on screen; five decades everywhere. */
enum ui_range { UI_RANGE_FIXED, UI_RANGE_AUTO, UI_RANGE_FULL, UI_N_RANGES };
enum ui_rows { UI_ROWS_AUTO, UI_ROWS_ALL, UI_ROWS_ANSWERS, UI_N_ROWS };
enum ui_diff { UI_DIFF_OFF, UI_DIFF_SIGNED, UI_DIFF_ABS, UI_N_DIFFS };
enum ui_shade { UI_SHADE_A, UI_SHADE_B, UI_SHADE_DIFF, UI_SHADE_NONE, UI_N_SHADES };
enum ui_pages_mode { UI_PAGES_STEP, UI_PAGES_UNION, UI_PAGES_COUNT, UI_PAGES_FIRST, UI_N_PAGES_MODES };

/* What is looked at. No pointers: copied for undo, back and marks. Views add what they need. */
struct ui_where {
    enum ui_screen screen;
    int a, b;                       /* lanes: A is the method looked at, B the one compared with (0: dense) */
    int layer, head;                /* query head */
    bool group;                     /* mean over the KV group of head */
    int row, key, step;             /* query position, key position; decode step (see trace.h), -1: none */
    int pane[UI_N_SCREENS];         /* pane with the keyboard */
    int cur[UI_N_SCREENS], scroll[UI_N_SCREENS];     /* cursor and first line of lists */
    struct ui_window win[UI_N_SCREENS];              /* zoom */

    enum ui_scale scale;
    enum sac_pooling pool;
    enum sac_sinks sinks;
    enum ui_overlay overlay;
    enum ui_range range;
    bool topk, sparse;
    bool why;                        /* Map: why the key under the cursor is read or not, for the top keys */
    enum ui_rows rows;               /* rows of a map that is not zoomed */
    bool selecting; int sel_row, sel_key;            /* v: the other corner of the selection */
    /* Heads */
    int metric; bool worst_first, thumbs; char filter[96]; int similar_to;    /* -1: none */
    /* Compare */
    enum ui_diff diff; bool blink, linked;
    /* Text */
    enum ui_shade shade; bool wrap; double fold;
    /* Pages */
    enum ui_pages_mode pages_mode; bool pages_worst; int page, pair; bool playing;
    /* Tasks */
    int task, cell, sample; bool answer_diff;
    char whatif[160]; int whatif_lane;               /* another budget of lane A that is tried; "": none */
};

enum ui_say { UI_SAY_INFO, UI_SAY_OK, UI_SAY_BAD };
enum { UI_MAX_LANES = 32, UI_BACK = 64, UI_MARKS = 26 };

struct ui_work;      /* worker.c */
struct ui_run;       /* run_state.h: the Run screen's fields and job */
struct ui_tasks;     /* tasks_state.h */
struct ui_app;       /* app.c: what views need not see */

struct ui_state {
    struct ui_look look;
    struct ui_rect body;            /* the view's rectangle in this frame */
    double now;                     /* seconds; frozen in tests */
    bool plain;

    struct sac_trace *trace;        /* NULL before the first run */
    struct sac_trace_info info;     /* of this frame */
    uint64_t generation;
    int n_lanes;
    struct sac_lane *lane;          /* [n_lanes], of this frame */

    struct ui_where at;
    struct {
        int layer, head, row, key;
    } first;                        /* where a run opens, and whether */
    bool looked;                    /* the first look was taken, or somebody moved */
    uint8_t marked[8192];           /* heads ticked with Space: [layer * n_heads + head] */
    char search[96];

    struct ui_work *work;
    struct ui_run *run;
    struct ui_tasks *tasks;
    struct ui_app *app;
};

/* ---- long computations ---- */
/* Called in a worker; returns one malloc'ed block (released with free), or NULL when cancelled or not
 * possible yet. arg is the caller's array. Must look at cancel at least every 20 ms. */
typedef void *(*ui_compute)(struct sac_trace *t, const int *arg, const atomic_bool *cancel);
enum { UI_REQ_ARGS = 16 };
enum ui_req_state { UI_REQ_QUEUED, UI_REQ_RUNNING, UI_REQ_READY, UI_REQ_NOTHING };
enum {
    UI_REQ_LIVE = 1, /* computed again when the trace has grown; the old result stays till then */
    UI_REQ_LOW = 2
}; /* after everything else (thumbnails, neighbours) */
/* The result of fn(trace, arg) if it is there, else NULL, and it is queued. A result stays valid until the
 * end of the frame. What was not asked for in the last frame is dropped from the queue or cancelled. state
 * may be NULL. UI_REQ_NOTHING: fn returned NULL (asked again when the trace has grown). */
const void *ui_request(const struct ui_state *st, ui_compute fn, const int *arg, int n, unsigned flags,
                       enum ui_req_state *state);

/* ---- for commands ---- */
/* The status line and, for UI_SAY_BAD, the log. */
void ui_say(struct ui_state *st, enum ui_say kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A line of the log on the Run screen, with the time. */
void ui_log(struct ui_state *st, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Go to a screen, putting where we are on the back stack (drill-down). */
void ui_go(struct ui_state *st, enum ui_screen s);
/* Copy text to the clipboard of the terminal (OSC 52). */
void ui_copy(struct ui_state *st, const char *text);
/* Queue an intervention: lane's method again with keys span forced (layer, kv_head -1: all). */
void ui_force(struct ui_state *st, int lane, struct sac_span span, int layer, int kv_head);
/* Ask for the next frame after `s` seconds (animations, playing). */
void ui_wake_in(const struct ui_state *st, double s);

/* ---- small readings of the state ---- */
/* Recorded rows of a lane: prompt and answer rows. 0 when there is none. */
int ui_n_rows(const struct ui_state *st, int lane);
/* Row of a decode step. */
int ui_step_row(const struct ui_state *st, int step);
int ui_n_steps(const struct ui_state *st, int lane);
/* KV head of the head looked at. */
int ui_kv_head(const struct ui_state *st);
/* The head argument of trace functions: head, or -1-g when the group is looked at. */
int ui_head_arg(const struct ui_state *st);
/* "L14 H5 (kv0)" */
void ui_head_name(const struct ui_state *st, char *buf, size_t cap);
/* Display text of a token, control characters made visible: "␣value" as " value". True: it holds only later
 * bytes of a letter, which the token before shows whole; the text is then "·" and these bytes. */
bool ui_token_text(const struct ui_state *st, int lane, int pos, char *buf, size_t cap);
/* Gold span that holds a prompt position, -1: none. */
int ui_gold_at(const struct ui_state *st, int pos);
/* Short title of a lane: "quest 1024". */
const char *ui_lane_name(const struct ui_state *st, int lane);

/* ---- chrome parts every view uses ---- */
struct ui_pane_style { struct ui_style line, title, text, dim; };
/* A pane of the current screen: its frame, heavy when pane `index` has the keyboard. Returns the inside. */
struct ui_rect ui_pane(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, int index,
                       const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* One centred sentence in a pane that has nothing to show, and what to press. */
void ui_empty(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, const char *what,
              const char *hint);

/* ---- the program ---- */
struct ui_app_opts {
    const char *model, *trace;      /* path of one of them; trace: a recorded run */
    const char *task; int length, sample; uint64_t seed;
    const char *task_file;          /* data for tasks that need one, or NULL */
    int style;                      /* enum sac_style */
    const char *prompt; bool raw;   /* NULL: the task makes it; raw: no chat template */
    const char *const *method; int n_methods;
    int max_tokens, threads, kv;    /* 0: defaults; kv: enum sac_kv_type */
    bool strict;
    double temperature, top_p;
    const char *config;             /* NULL: XDG */
    const char *color, *theme, *colormap;   /* NULL: decide */
    bool ascii, no_mouse, plain, no_run;
    const char *log;                /* session log; NULL: XDG state folder */
    const char *script, *script_name;   /* command lines to run, NULL none; the file they are from, NULL none */
    bool headless; int cols, lines; const char *dump;   /* script into a buffer, then write the last frame */
    const char *screen;             /* screen to open with */
    const char *samples;            /* folder of bundled data, NULL none */
    int n_samples;                  /* of each task on the Tasks screen; 0: the default */
    bool lenient;                   /* a line of the script that is refused does not end it */
    bool no_dump, force;            /* no frame at the end; dump and cast replace existing files */
    double pace; /* seconds between the lines of a script on screen; 0: at once, no captions */
    const char *restore; /* JSON of a screen's recipe to put back when the script is through, or NULL */
    const atomic_bool *stop;        /* headless: set by a signal; what runs ends and nothing is written */
    const char *cast;               /* headless: an asciicast of the script's frames, NULL none */
    /* Open a recorded trace file; NULL: this build cannot. */
    enum sac_code (*trace_open)(struct sac_trace **out, const char *path, struct sac_err *err);
};
/* Runs until the person quits. SAC_OK, an error code with a sentence (SAC_EARG: no terminal), or minus the
 * exit code after a signal (-143) or a failed script (-5). */
int ui_app_run(const struct ui_app_opts *opts, struct sac_err *err);
#endif
