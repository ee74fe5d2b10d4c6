/* The Tasks screen's state: tasks x methods x samples, filled by a thread that runs one job after another. */
#ifndef UI_TASKS_H
#define UI_TASKS_H

#include "app.h"
#include "why.h"

#include <pthread.h>

enum { UI_T_TASKS = 16, UI_T_METHODS = 12, UI_T_SAMPLES = 32 };
enum ui_t_state { UI_T_NONE, UI_T_QUEUED, UI_T_RUNNING, UI_T_DONE, UI_T_FAILED, UI_T_STOPPED };

struct ui_t_cell {                    /* one sample of one task under one method */
    enum ui_t_state state;
    double score, mass, evidence, sparsity, seconds, prefill_tok_s, decode_tok_s;
    bool parsed, loops;               /* in the asked form; ends in a text that repeats */
    int steps, first_diff;
    char stop[16], answer[600];
    bool has_why;
    struct ui_why why;                /* what became of the evidence, from the run of the sample */
};

struct ui_tasks {
    /* set on the UI thread while nothing runs */
    int n_tasks, n_methods, n_samples, length;
    uint64_t seed;
    char task[UI_T_TASKS][64], method[UI_T_METHODS][200], title[UI_T_METHODS][40], metric[UI_T_TASKS][24];
    bool again[UI_T_TASKS];           /* tasks this run is about */

    pthread_mutex_t mu;               /* guards what follows */
    struct ui_t_cell cell[UI_T_TASKS][UI_T_METHODS][UI_T_SAMPLES];
    char gold[UI_T_TASKS][UI_T_SAMPLES][400];
    char error[400];
    int done, total;
    int now_task, now_sample;         /* running now */
    char now[80];                     /* "Quest: prefill, layer 4 of 10" */
    bool running, finished;
    struct sac_job *job;              /* running now */
    double began;

    pthread_t thread;
    atomic_bool cancel;
    struct sac_model *model;
    void (*notify)(void *ctx);
    void *ctx;

    bool waiting; int waiting_task;   /* start when the run of screen 1 is done */

    /* drill-down: where to go when the traced run of a sample has answered */
    bool follow, force_then;          /* force_then: stay here, force the lost span and answer again */
    char follow_spec[200];
};

/* What a column says over all tasks that have run: means, NAN without any. */
struct ui_t_sum { int done, parsed; double mass, sparsity, tokens, prefill_tok_s, decode_tok_s; };
struct ui_t_sum ui_tasks_sum(struct ui_tasks *t, int method);
/* Does an answer end in a piece of text that comes three times or more? */
bool ui_tasks_loops(const char *answer);

/* Mean over the samples that are done; counts may be NULL. NAN: none. */
double ui_tasks_score(struct ui_tasks *t, int task, int method, int *n_done, int *n_right, int *n_parsed,
                      double *mass);
struct ui_t_cell ui_tasks_cell(struct ui_tasks *t, int task, int method, int sample);
/* Run one task (or all, -1) with the ticked methods. */
bool ui_tasks_start(struct ui_state *st, int task);
/* Sample numbers in the order shown: [n_samples]. */
void ui_tasks_order(const struct ui_state *st, int *out);
/* The sample on line i of the list, which may be sorted. */
int ui_tasks_shown(const struct ui_state *st, int i);
/* Look into a sample: run it with a trace, then go to where it went wrong. */
bool ui_tasks_open(struct ui_state *st, int task, int method, int sample);
extern const struct ui_cmd ui_tasks_cmds[];
extern const int ui_n_tasks_cmds;
#endif
