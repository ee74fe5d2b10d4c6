/* The Run screen's state: which model and prompt, which methods are ticked, and the job that runs them.
 *
 * Opening a model, making a prompt and freeing a job can take long, so a loader thread does them; the UI
 * thread takes its results over in ui_run_poll. Fields change only on the UI thread. */
#ifndef UI_RUN_H
#define UI_RUN_H

#include "app.h"

#include <pthread.h>

enum { UI_MAX_ROWS = 40 };
struct ui_method_row {
    char spec[200], name[48], params[160], phase[10];
    double sparsity;                 /* asked for; NAN: by its parameters */
    bool on, oracle;
    int lane;                        /* in the present trace, -1 none */
};

enum ui_load_state { UI_LOAD_IDLE, UI_LOAD_BUSY, UI_LOAD_FAILED };

/* What to run: plain data, copied for the loader. */
struct ui_job_want {
    char model[512], task[160], task_file[512], trace[512];
    char *prompt;                    /* own text instead of a task; malloc'ed */
    bool raw, strict;
    int length, sample, style, max_tokens, threads, kv;
    uint64_t seed;
    double temperature, top_p;
    int n_spec;
    char spec[UI_MAX_ROWS][200];
};

struct ui_loaded {                   /* what a loader leaves */
    struct sac_model *model;
    struct sac_sample *sample;       /* NULL: own prompt */
    struct sac_job *job;
    struct sac_trace *trace;         /* retained */
    double model_s, prompt_s;
    struct sac_err err;
    char refused[600];               /* methods that could not be added, with the reason */
};

struct ui_run {
    struct ui_job_want want;
    bool edited;                     /* the prompt differs from what the trace shows */
    struct ui_method_row row[UI_MAX_ROWS];
    int n_rows;

    struct sac_model *model;
    struct sac_sample *sample;
    struct sac_job *job;
    double model_s, prompt_s;
    enum ui_load_state load;
    bool was_busy;                   /* when polled last */
    bool again;                      /* asked for another run while loading */
    char only[200]; /* the next run has this method beside dense, instead of the ticked ones */
    bool reopen;                     /* the model has to be opened again: the number of threads changed */
    struct sac_model *old_model;     /* for the loader to close */
    bool all_anew;                   /* the next run takes nothing over from the one before */
    char error[400];
    enum sac_code error_code;

    /* the loader */
    pthread_t thread;
    struct ui_job_want todo;
    struct ui_loaded done;
    struct sac_job *old_job; struct sac_sample *old_sample;
    struct sac_trace *earlier;       /* retained: its beginning is taken over where the new prompt has it */
    atomic_int stage;                /* index into ui_load_stage */
    atomic_bool finished, cancel;
    void (*notify)(void *ctx);
    void *ctx;
    enum sac_code (*trace_open)(struct sac_trace **out, const char *path, struct sac_err *err);

    int said[UI_MAX_LANES];          /* state last logged of each lane */
    /* what was forced in the lanes that are interventions: "tokens 812-846 in L7 kv0" */
    struct { int lane, from; char what[80]; } forced[UI_MAX_LANES];
    int n_forced;

    /* what the screen remembers of its panes */
    int field, top_prompt, top_log, top_answers;
    struct ui_prompt_line {
        int lo, hi;
        bool gold;
    } * line; /* the prompt broken into lines of `wrapped` columns */
    int n_lines, wrapped;
    uint64_t wrapped_hash;
};
/* Byte ranges of the prompt that hold the evidence: does it have this byte? */
bool ui_gold_byte(const struct ui_state *st, int byte);
/* Verdict on a lane's answer: "ok", "0.75", "WRONG", "" while unknown. */
const char *ui_verdict(const struct sac_lane *l, char buf[8], enum ui_role *role);
/* "forced tokens 812-846 in L7 kv0: answer correct (was wrong)" of an intervention; "" while it runs. */
void ui_forced_result(const struct ui_state *st, int forced, char *buf, size_t cap);
extern const char *const ui_load_stage[];

/* Load what is wanted and run the ticked methods (a new trace). */
bool ui_run_start(struct ui_state *st);
/* Run ticked methods that have no lane yet in the present trace; starts anew when the prompt changed. */
bool ui_run_more(struct ui_state *st);
/* Add a lane to the present run; returns it, or -1 with a sentence. */
int ui_run_add(struct ui_state *st, const char *spec);
/* Rows: make the spec's shown parameters; false with a sentence. */
bool ui_row_set(struct ui_state *st, int row, const char *spec);
void ui_rows_resolve(struct ui_state *st);
int ui_row_add(struct ui_state *st, const char *spec, bool on);
/* A spec with its budget multiplied by f. False: it has none. */
bool ui_spec_scale(const char *spec, const struct sac_shape *shape, int n, double f, char *out, size_t cap);
/* A spec written from its parts: parameters that differ from their defaults. */
void ui_spec_text(const struct sac_spec *spec, char *out, size_t cap);
extern const struct ui_cmd ui_run_cmds[];
extern const int ui_n_run_cmds;
#endif
