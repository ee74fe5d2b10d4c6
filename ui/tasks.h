/* The Tasks screen's state: tasks x methods x samples, filled by a thread that runs one job after another. */
#ifndef UI_TASKS_H
#define UI_TASKS_H

#include "app.h"

#include <pthread.h>

enum { UI_T_TASKS = 16, UI_T_METHODS = 12, UI_T_SAMPLES = 32 };
enum ui_t_state { UI_T_NONE, UI_T_QUEUED, UI_T_RUNNING, UI_T_DONE, UI_T_FAILED, UI_T_STOPPED };

struct ui_t_cell {                    /* one sample of one task under one method */
    enum ui_t_state state;
    double score, mass, evidence, seconds;
    bool parsed;
    int steps, first_diff;
    char stop[16], answer[600];
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
    bool follow; char follow_spec[200];
    uint64_t follow_hash;
};

/* Mean over the samples that are done; counts may be NULL. NAN: none. */
double ui_tasks_score(struct ui_tasks *t, int task, int method, int *n_done, int *n_right, int *n_parsed,
                      double *mass);
struct ui_t_cell ui_tasks_cell(struct ui_tasks *t, int task, int method, int sample);
/* Run one task (or all, -1) with the ticked methods. */
bool ui_tasks_start(struct ui_state *st, int task);
/* Look into a sample: run it with a trace, then go to where it went wrong. */
bool ui_tasks_open(struct ui_state *st, int task, int method, int sample);
extern const struct ui_cmd ui_tasks_cmds[];
extern const int ui_n_tasks_cmds;
#endif
