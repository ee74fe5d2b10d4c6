/* Running tasks x methods x samples, and the way from a wrong score to the head and the key that were lost.
 */
#include "tasks.h"
#include "base.h"
#include "run.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct ui_tasks *ui_tasks_new(struct ui_state *st)
{
    struct ui_tasks *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    pthread_mutex_init(&t->mu, NULL);
    t->notify = ui_notify;
    t->ctx = st->app;
    t->n_samples = 5;
    int n;
    const struct sac_task *const *all = sac_tasks(&n);
    for (int i = 0; i < n && t->n_tasks < UI_T_TASKS; i++) {
        if (all[i]->needs_file) continue;
        snprintf(t->task[t->n_tasks], sizeof t->task[0], "%s", all[i]->name);
        snprintf(t->metric[t->n_tasks++], sizeof t->metric[0], "%s", all[i]->metric);
    }
    return t;
}

static void join(struct ui_tasks *t)
{
    pthread_mutex_lock(&t->mu);
    bool finished = t->finished;
    t->finished = false;
    pthread_mutex_unlock(&t->mu);
    if (finished) pthread_join(t->thread, NULL);
}

void ui_tasks_stop(struct ui_state *st)
{
    struct ui_tasks *t = st->tasks;
    if (!t) return;
    t->waiting = false;
    atomic_store(&t->cancel, true);
    pthread_mutex_lock(&t->mu);
    if (t->job) sac_job_stop(t->job);
    pthread_mutex_unlock(&t->mu);
}

void ui_tasks_free(struct ui_tasks *t)
{
    if (!t) return;
    atomic_store(&t->cancel, true);
    pthread_mutex_lock(&t->mu);
    if (t->job) sac_job_stop(t->job);
    bool alive = t->running || t->finished;
    pthread_mutex_unlock(&t->mu);
    if (alive) pthread_join(t->thread, NULL);
    pthread_mutex_destroy(&t->mu);
    free(t);
}

bool ui_tasks_busy(const struct ui_state *st)
{
    struct ui_tasks *t = st->tasks;
    if (!t) return false;
    pthread_mutex_lock(&t->mu);
    bool busy = t->running;
    pthread_mutex_unlock(&t->mu);
    return busy;
}

struct ui_t_cell ui_tasks_cell(struct ui_tasks *t, int task, int method, int sample)
{
    pthread_mutex_lock(&t->mu);
    struct ui_t_cell c = t->cell[task][method][sample];
    pthread_mutex_unlock(&t->mu);
    return c;
}

double ui_tasks_score(struct ui_tasks *t, int task, int method, int *n_done, int *n_right, int *n_parsed,
                      double *mass)
{
    int done = 0, right = 0, parsed = 0, n_mass = 0;
    double sum = 0, m = 0;
    pthread_mutex_lock(&t->mu);
    for (int s = 0; s < t->n_samples; s++) {
        const struct ui_t_cell *c = &t->cell[task][method][s];
        if (c->state != UI_T_DONE) continue;
        done++;
        sum += c->score;
        right += c->score >= 0.999;
        parsed += c->parsed;
        if (c->mass == c->mass) m += c->mass, n_mass++;
    }
    pthread_mutex_unlock(&t->mu);
    if (n_done) *n_done = done;
    if (n_right) *n_right = right;
    if (n_parsed) *n_parsed = parsed;
    if (mass) *mass = n_mass ? m / n_mass : (double)NAN;
    return done ? sum / done : (double)NAN;
}

/* ---- the thread ---- */

static void take_lane(struct ui_tasks *t, struct sac_trace *trace, int task, int method, int sample, int lane)
{
    struct sac_lane *l = malloc(sizeof *l);
    if (!l) return;
    sac_trace_lane(trace, lane, l);
    pthread_mutex_lock(&t->mu);
    struct ui_t_cell *c = &t->cell[task][method][sample];
    if (!*t->title[method] || !strcmp(t->title[method], t->method[method]))
        snprintf(t->title[method], sizeof t->title[0], "%s", l->title);
    bool was = c->state == UI_T_DONE;
    c->state = l->state == SAC_LANE_DONE      ? UI_T_DONE
               : l->state == SAC_LANE_FAILED  ? UI_T_FAILED
               : l->state == SAC_LANE_STOPPED ? UI_T_STOPPED
               : l->state == SAC_LANE_QUEUED  ? UI_T_QUEUED
                                              : UI_T_RUNNING;
    c->score = l->score;
    c->parsed = l->parsed;
    c->mass = l->recall.mass;
    c->evidence = l->recall.evidence;
    c->seconds = l->prefill_s + l->decode_s;
    c->steps = l->n_steps;
    c->first_diff = l->first_diff;
    snprintf(c->stop, sizeof c->stop, "%s", l->stop);
    snprintf(c->answer, sizeof c->answer, "%.599s", c->state == UI_T_FAILED ? l->error : l->answer);
    if (c->state == UI_T_DONE && !was) t->done++;
    pthread_mutex_unlock(&t->mu);
    free(l);
}

static void poll_lanes(struct ui_tasks *t, struct sac_trace *trace, int task, int sample, const int *lane)
{
    for (int m = 0; m < t->n_methods; m++)
        if (lane[m] >= 0) take_lane(t, trace, task, m, sample, lane[m]);
    t->notify(t->ctx);
}

static void fail_sample(struct ui_tasks *t, int task, int sample, const char *msg)
{
    pthread_mutex_lock(&t->mu);
    for (int m = 0; m < t->n_methods; m++) {
        t->cell[task][m][sample].state = UI_T_FAILED;
        snprintf(t->cell[task][m][sample].answer, sizeof t->cell[0][0][0].answer, "%s", msg);
    }
    snprintf(t->error, sizeof t->error, "%s", msg);
    pthread_mutex_unlock(&t->mu);
}

static void run_sample(struct ui_tasks *t, int task, int sample)
{
    struct sac_err err = { 0 };
    struct sac_sample s = { 0 };
    struct sac_tokens tok = { 0 };
    struct sac_job *job = NULL;
    char *text = NULL;
    size_t at = 0;
    int lane[UI_T_METHODS];
    enum sac_code rc =
        sac_sample_make(&s, t->model, t->task[task], SAC_STYLE_AUTO, t->length, t->seed, sample, NULL, &err);
    if (rc) {
        fail_sample(t, task, sample, err.msg);
        return;
    }
    pthread_mutex_lock(&t->mu);
    snprintf(t->gold[task][sample], sizeof t->gold[0][0], "%s", s.gold ? s.gold : "");
    pthread_mutex_unlock(&t->mu);
    rc = sac_chat_tokenize(t->model, NULL, s.prompt, &tok, &text, &at, &err);
    struct sac_job_opts jo = {
        .max_tokens = 64, .no_kl = true, .nice = 5, .seed = t->seed, .notify = t->notify, .notify_ctx = t->ctx
    };
    if (!rc) rc = sac_job_new(&job, t->model, text, &tok, &s, at, &jo, &err);
    if (rc) {
        fail_sample(t, task, sample, err.msg);
    } else {
        struct sac_trace *trace = sac_job_trace(job);
        for (int m = 0; m < t->n_methods; m++) {
            struct sac_err e = { 0 };
            lane[m] = !strcmp(t->method[m], "dense") ? 0 : sac_job_add_lane(job, t->method[m], &e);
            if (lane[m] >= 0) continue;
            pthread_mutex_lock(&t->mu);
            t->cell[task][m][sample].state = UI_T_FAILED;
            snprintf(t->cell[task][m][sample].answer, sizeof t->cell[0][0][0].answer, "%s", e.msg);
            pthread_mutex_unlock(&t->mu);
        }
        pthread_mutex_lock(&t->mu);
        t->job = job;
        pthread_mutex_unlock(&t->mu);
        if (!atomic_load(&t->cancel)) sac_job_start(job, &err);
        while (sac_job_running(job)) {
            struct timespec ts = { 0, 50 * 1000 * 1000 };
            nanosleep(&ts, NULL);
            poll_lanes(t, trace, task, sample, lane);
        }
        sac_job_wait(job);
        poll_lanes(t, trace, task, sample, lane);
        pthread_mutex_lock(&t->mu);
        t->job = NULL;
        pthread_mutex_unlock(&t->mu);
        sac_job_free(job);
    }
    sac_tokens_free(&tok);
    free(text);
    sac_sample_free(&s);
}

static void *tasks_main(void *ctx)
{
    struct ui_tasks *t = ctx;
    for (int s = 0; s < t->n_samples; s++)
        for (int i = 0; i < t->n_tasks; i++)
            if (t->again[i] && !atomic_load(&t->cancel)) run_sample(t, i, s);
    pthread_mutex_lock(&t->mu);
    t->running = false;
    t->finished = true;
    for (int i = 0; i < t->n_tasks; i++)
        for (int m = 0; m < t->n_methods; m++)
            for (int s = 0; s < t->n_samples; s++)
                if (t->cell[i][m][s].state == UI_T_QUEUED || t->cell[i][m][s].state == UI_T_RUNNING)
                    t->cell[i][m][s].state = UI_T_STOPPED;
    pthread_mutex_unlock(&t->mu);
    t->notify(t->ctx);
    return NULL;
}

/* ---- the UI thread's side ---- */

/* The columns are the ticked methods; when they changed, old scores do not belong to them. */
static bool set_columns(struct ui_state *st)
{
    struct ui_tasks *t = st->tasks;
    const struct ui_run *r = st->run;
    char now[UI_T_METHODS][200] = { "dense" };
    int n = 1;
    for (int i = 0; i < r->n_rows && n < UI_T_METHODS; i++)
        if (r->row[i].on && strcmp(r->row[i].spec, "dense") != 0) memcpy(now[n++], r->row[i].spec, 200);
    bool same = n == t->n_methods && t->length == r->want.length && t->seed == r->want.seed;
    for (int i = 0; same && i < n; i++) same = !strcmp(now[i], t->method[i]);
    if (same) return true;
    memset(t->cell, 0, sizeof t->cell);
    t->n_methods = n;
    memset(t->title, 0, sizeof t->title);
    memcpy(t->method, now, sizeof t->method);
    for (int i = 0; i < n; i++) snprintf(t->title[i], sizeof t->title[0], "%.39s", now[i]);
    t->length = r->want.length;
    t->seed = r->want.seed;
    return false;
}

bool ui_tasks_start(struct ui_state *st, int task)
{
    struct ui_tasks *t = st->tasks;
    if (ui_tasks_busy(st)) return ui_say(st, UI_SAY_INFO, "samples are running: Ctrl-C stops them"), true;
    if (ui_run_busy(st)) {      /* one at a time: both want all cores */
        t->waiting = true;
        t->waiting_task = task;
        return ui_say(st, UI_SAY_INFO, "samples begin when the run of screen 1 is done"), true;
    }
    t->waiting = false;
    if (!st->run->model)
        return ui_say(st, UI_SAY_BAD, "no model is open: start saccade with one, and press r on screen 1"),
               false;
    join(t);
    pthread_mutex_lock(&t->mu);
    set_columns(st);
    t->total = t->done = 0;
    *t->error = 0;
    for (int i = 0; i < t->n_tasks; i++) {
        t->again[i] = task < 0 || i == task;
        for (int m = 0; t->again[i] && m < t->n_methods; m++)
            for (int s = 0; s < t->n_samples; s++)
                t->cell[i][m][s] = (struct ui_t_cell){ .state = UI_T_QUEUED, .first_diff = -1 }, t->total++;
    }
    t->model = st->run->model;
    t->began = st->now;
    atomic_store(&t->cancel, false);
    t->running = true;
    pthread_mutex_unlock(&t->mu);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(&t->thread, NULL, tasks_main, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!rc) return true;
    pthread_mutex_lock(&t->mu);
    t->running = false;
    pthread_mutex_unlock(&t->mu);
    return ui_say(st, UI_SAY_BAD, "cannot start a thread: the system is out of resources"), false;
}

bool ui_tasks_open(struct ui_state *st, int task, int method, int sample)
{
    struct ui_tasks *t = st->tasks;
    struct ui_run *r = st->run;
    if (ui_tasks_busy(st))
        return ui_say(st, UI_SAY_BAD, "samples are running: Ctrl-C stops them, then Enter looks into one"),
               false;
    snprintf(r->want.task, sizeof r->want.task, "%s", t->task[task]);
    free(r->want.prompt);
    r->want.prompt = NULL;
    r->want.sample = sample;
    r->want.length = t->length;
    r->want.seed = t->seed;
    for (int i = 0; i < r->n_rows; i++)
        r->row[i].on = !strcmp(r->row[i].spec, "dense") || !strcmp(r->row[i].spec, t->method[method]);
    if (!ui_run_start(st)) return false;
    t->follow = true;
    snprintf(t->follow_spec, sizeof t->follow_spec, "%s", t->method[method]);
    ui_go(st, UI_SCREEN_COMPARE);
    ui_say(st, UI_SAY_INFO, "running the sample with a trace: the view follows to where the answers part");
    return true;
}

/* The head that loses most of the dense mass on the evidence. */
static void worst_head(struct ui_state *st, int lane)
{
    double worst = 0;
    for (int l = 0; l < st->info.shape.n_layers; l++)
        for (int h = 0; h < st->info.shape.n_heads; h++) {
            struct sac_recall r;
            if (!sac_trace_recall(st->trace, lane, l, h, true, &r) &&
                !sac_trace_recall(st->trace, lane, l, h, false, &r))
                continue;
            double loss =
                r.evidence_mass == r.evidence_mass ? r.evidence_mass - r.evidence_mass_kept : 1 - r.mass;
            if (loss > worst) worst = loss, st->at.layer = l, st->at.head = h, st->at.group = false;
        }
}

void ui_tasks_poll(struct ui_state *st)
{
    struct ui_tasks *t = st->tasks;
    if (!t) return;
    if (!ui_tasks_busy(st)) join(t);
    if (t->waiting && !ui_run_busy(st)) ui_tasks_start(st, t->waiting_task);
    if (!t->follow || !st->trace || st->run->load == UI_LOAD_BUSY) return;
    for (int l = 0; l < st->n_lanes; l++) {
        const struct sac_lane *x = &st->lane[l];
        if (strcmp(x->spec, t->follow_spec) != 0 || x->state < SAC_LANE_DONE ||
            st->lane[0].state < SAC_LANE_DONE)
            continue;
        t->follow = false;
        st->at.a = l;
        st->at.b = 0;
        st->at.step = x->first_diff >= 0 ? x->first_diff : 0;
        st->at.row = ui_step_row(st, st->at.step);
        worst_head(st, l);
        if (st->info.n_spans) st->at.key = st->info.span[0].lo;
        if (x->first_diff >= 0)
            ui_say(st, UI_SAY_INFO,
                   "answers part at step %d; shown: the head that loses most evidence, L%d H%d",
                   x->first_diff, st->at.layer, st->at.head);
        else
            ui_say(st, UI_SAY_INFO,
                   "both give the same answer; shown: the head that loses most evidence, L%d H%d",
                   st->at.layer, st->at.head);
        return;
    }
}

/* ---- commands ---- */

static bool cmd_run_task(struct ui_state *st, const char *arg)
{
    (void)arg;
    return ui_tasks_start(st, st->at.task);
}

static bool cmd_run_tasks(struct ui_state *st, const char *arg)
{
    (void)arg;
    return ui_tasks_start(st, -1);
}

static bool cmd_samples(struct ui_state *st, const char *arg)
{
    struct ui_tasks *t = st->tasks;
    if (ui_tasks_busy(st)) return ui_say(st, UI_SAY_BAD, "samples are running: Ctrl-C stops them"), false;
    return ui_arg_int(st, arg, t->n_samples, 1, UI_T_SAMPLES, &t->n_samples);
}

static bool cmd_answer_diff(struct ui_state *st, const char *arg)
{
    (void)arg;
    st->at.answer_diff = !st->at.answer_diff;
    return true;
}

static bool cmd_sort(struct ui_state *st, const char *arg)
{
    (void)arg;
    st->at.worst_first = !st->at.worst_first;
    return true;
}

static bool cmd_sample_json(struct ui_state *st, const char *arg)
{
    struct ui_tasks *t = st->tasks;
    (void)arg;
    if (!t->n_methods) return ui_say(st, UI_SAY_INFO, "no sample has run yet: r runs this task"), true;
    struct ui_t_cell c = ui_tasks_cell(t, st->at.task, st->at.cell, st->at.sample);
    char out[2048], answer[1300];
    size_t n = 0;
    for (const char *p = c.answer; *p && n + 8 < sizeof answer; p++) {
        if (*p == '"' || *p == '\\') answer[n++] = '\\', answer[n++] = *p;
        else if ((unsigned char)*p < 32) n += (size_t)snprintf(answer + n, 8, "\\u%04x", (unsigned char)*p);
        else answer[n++] = *p;
    }
    answer[n] = 0;
    snprintf(out, sizeof out,
             "{\"task\": \"%s\", \"length\": %d, \"seed\": %llu, \"sample\": %d, \"method\": \"%s\", "
             "\"score\": %g, "
             "\"parsed\": %s, \"stop\": \"%s\", \"answer\": \"%s\"}",
             t->task[st->at.task], t->length, (unsigned long long)t->seed, st->at.sample,
             t->method[st->at.cell], c.state == UI_T_DONE ? c.score : 0, c.parsed ? "true" : "false", c.stop,
             answer);
    return ui_copy(st, out), true;
}

/* Force each gold span of the sample in all layers and answer again. */
static bool cmd_force_gold(struct ui_state *st, const char *arg)
{
    (void)arg;
    if (!st->trace || !st->info.n_spans)
        return ui_say(st, UI_SAY_BAD, "look into a sample first (Enter), then F forces its gold spans"),
               false;
    struct sac_span all = { st->info.span[0].lo, st->info.span[0].hi };
    int best = 0;
    double worst = -1;
    for (int i = 0; i < st->info.n_spans; i++) {      /* the span whose loss is largest at this head */
        struct sac_rows rows = { malloc(sizeof(struct sac_run) * (size_t)(st->at.row + 2)), 0,
                                 st->at.row + 2 };
        if (!rows.run) break;
        int missed = 0;
        if (sac_trace_rows(st->trace, st->at.a, st->at.layer, st->at.head, st->at.row, &rows))
            for (int k = st->info.span[i].lo; k < st->info.span[i].hi; k++) missed += !sac_rows_has(&rows, k);
        if (missed > worst) worst = missed, best = i;
        free(rows.run);
    }
    all = st->info.span[best];
    ui_force(st, st->at.a, all, -1, -1);
    return true;
}

#define TASKS UI_CTX(UI_SCREEN_TASKS)
const struct ui_cmd ui_tasks_cmds[] = {
    { "run", "", "run this task with the ticked methods", UI_GROUP_ACT, TASKS, 0, cmd_run_task },
    { "run-all", "", "run all tasks", UI_GROUP_ACT, TASKS, 0, cmd_run_tasks },
    { "samples", "N", "samples of each task", UI_GROUP_ACT, TASKS, 0, cmd_samples },
    { "answer-diff", "", "mark where answers differ from dense", UI_GROUP_LOOK, TASKS, UI_CMD_VIEW,
      cmd_answer_diff },
    { "sort", "", "worst samples first", UI_GROUP_LOOK, TASKS, UI_CMD_VIEW, cmd_sort },
    { "force", "", "force the gold span that is lost most, and answer again", UI_GROUP_ACT, TASKS, 0,
      cmd_force_gold },
    { "sample-json", "", "copy the sample as JSON", UI_GROUP_ACT, TASKS, 0, cmd_sample_json },
};
const int ui_n_tasks_cmds = sizeof ui_tasks_cmds / sizeof *ui_tasks_cmds;
