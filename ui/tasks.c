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

void ui_tasks_order(const struct ui_state *st, int *out)
{
    struct ui_tasks *t = st->tasks;
    for (int i = 0; i < t->n_samples; i++) out[i] = i;
    if (!st->at.worst_first || !t->n_methods) return;
    for (int i = 1; i < t->n_samples; i++)
        for (int k = i; k > 0; k--) {
            struct ui_t_cell a = ui_tasks_cell(t, st->at.task, st->at.cell, out[k]),
                             b = ui_tasks_cell(t, st->at.task, st->at.cell, out[k - 1]);
            double sa = a.state == UI_T_DONE ? a.score : 2, sb = b.state == UI_T_DONE ? b.score : 2;
            if (!(sa < sb)) break;
            int x = out[k];
            out[k] = out[k - 1];
            out[k - 1] = x;
        }
}

int ui_tasks_shown(const struct ui_state *st, int i)
{
    int idx[UI_T_SAMPLES];
    ui_tasks_order(st, idx);
    return idx[i < 0 || i >= st->tasks->n_samples ? 0 : i];
}

struct ui_t_sum ui_tasks_sum(struct ui_tasks *t, int method)
{
    struct ui_t_sum s = { 0 };
    int n_mass = 0, n_spars = 0, n_rate = 0;
    pthread_mutex_lock(&t->mu);
    for (int i = 0; i < t->n_tasks; i++)
        for (int k = 0; k < t->n_samples; k++) {
            const struct ui_t_cell *c = &t->cell[i][method][k];
            if (c->state != UI_T_DONE) continue;
            s.done++;
            s.parsed += c->parsed;
            s.tokens += c->steps;
            if (c->mass == c->mass) s.mass += c->mass, n_mass++;
            if (c->sparsity == c->sparsity) s.sparsity += c->sparsity, n_spars++;
            if (c->decode_tok_s > 0)
                s.prefill_tok_s += c->prefill_tok_s, s.decode_tok_s += c->decode_tok_s, n_rate++;
        }
    pthread_mutex_unlock(&t->mu);
    s.mass = n_mass ? s.mass / n_mass : (double)NAN;
    s.sparsity = n_spars ? s.sparsity / n_spars : (double)NAN;
    s.tokens = s.done ? s.tokens / s.done : (double)NAN;
    s.prefill_tok_s = n_rate ? s.prefill_tok_s / n_rate : (double)NAN;
    s.decode_tok_s = n_rate ? s.decode_tok_s / n_rate : (double)NAN;
    return s;
}

bool ui_tasks_loops(const char *answer)
{
    size_t n = strlen(answer);
    for (size_t len = 4; 3 * len <= n; len++) {
        const char *tail = answer + n - len;
        if (!memcmp(tail - len, tail, len) && !memcmp(tail - 2 * len, tail, len)) return true;
    }
    return false;
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
    if (l->state == SAC_LANE_PREFILL)
        snprintf(t->now, sizeof t->now, "%.39s: prefill, layer %d", l->title, l->prefill_layer);
    else if (l->state == SAC_LANE_DECODE)
        snprintf(t->now, sizeof t->now, "%.39s: answering, token %d", l->title, l->n_steps);
    else if (l->state == SAC_LANE_MEASURE) snprintf(t->now, sizeof t->now, "%.39s: measuring", l->title);
    c->score = l->score;
    c->parsed = l->parsed;
    c->mass = l->recall.mass;
    c->evidence = l->recall.evidence;
    c->seconds = l->prefill_s + l->decode_s;
    c->steps = l->n_steps;
    c->first_diff = l->first_diff;
    c->prefill_tok_s = l->prefill_tok_s;
    c->decode_tok_s = l->decode_tok_s;
    c->sparsity = 1 - (l->decode.read < 0.999 ? l->decode.read : l->prefill.kernel);
    snprintf(c->stop, sizeof c->stop, "%s", l->stop);
    snprintf(c->answer, sizeof c->answer, "%.599s", c->state == UI_T_FAILED ? l->error : l->answer);
    if (c->state == UI_T_DONE && !was) {
        t->done++;
        c->loops = ui_tasks_loops(c->answer);
    }
    pthread_mutex_unlock(&t->mu);
    free(l);
}

static void poll_lanes(struct ui_tasks *t, struct sac_trace *trace, int task, int sample, const int *lane)
{
    for (int m = 0; m < t->n_methods; m++)
        if (lane[m] >= 0) take_lane(t, trace, task, m, sample, lane[m]);
    t->notify(t->ctx);
}

/* What became of the evidence, while the recording of the sample is there. */
static void take_why(struct ui_tasks *t, struct sac_trace *trace, int task, int sample, const int *lane)
{
    for (int m = 1; m < t->n_methods; m++) {
        struct ui_why why;
        if (lane[m] < 0 || ui_tasks_cell(t, task, m, sample).state != UI_T_DONE ||
            !ui_why_compute(trace, lane[m], &t->cancel, &why))
            continue;
        pthread_mutex_lock(&t->mu);
        t->cell[task][m][sample].why = why;
        t->cell[task][m][sample].has_why = true;
        pthread_mutex_unlock(&t->mu);
    }
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
        t->now_task = task;
        t->now_sample = sample;
        *t->now = 0;
        pthread_mutex_unlock(&t->mu);
        if (!atomic_load(&t->cancel)) sac_job_start(job, &err);
        while (sac_job_running(job)) {
            struct timespec ts = { 0, 50 * 1000 * 1000 };
            nanosleep(&ts, NULL);
            poll_lanes(t, trace, task, sample, lane);
        }
        sac_job_wait(job);
        poll_lanes(t, trace, task, sample, lane);
        take_why(t, trace, task, sample, lane);
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
    bool first = t->n_methods == 0;
    set_columns(st);
    if (first && t->n_methods > 1 && st->at.cell == 0) st->at.cell = 1; /* dense has nothing to explain */
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

/* Run a sample by itself, with dense and one method, recorded. */
static bool run_traced(struct ui_state *st, int task, int method, int sample)
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
    snprintf(r->only, sizeof r->only, "%s", t->method[method]); /* the ticks stay: they are the columns */
    if (!ui_run_start(st)) return false;
    t->follow = true;
    snprintf(t->follow_spec, sizeof t->follow_spec, "%s", t->method[method]);
    return true;
}

/* Is this sample the run on the other screens already? */
static int traced_lane(const struct ui_state *st, int task, int method, int sample)
{
    const struct ui_tasks *t = st->tasks;
    if (!st->trace || st->info.recorded || st->run->load != UI_LOAD_IDLE ||
        strcmp(st->info.task, t->task[task]) || st->info.length != t->length || st->info.sample != sample ||
        st->info.seed != t->seed)
        return -1;
    for (int l = 0; l < st->n_lanes; l++)
        if (!st->lane[l].intervention && !strcmp(st->lane[l].spec, t->method[method]) &&
            st->lane[l].state == SAC_LANE_DONE)
            return l;
    return -1;
}

bool ui_tasks_open(struct ui_state *st, int task, int method, int sample)
{
    struct ui_tasks *t = st->tasks;
    bool there = traced_lane(st, task, method, sample) >= 0;
    if (there) {
        t->follow = true;
        snprintf(t->follow_spec, sizeof t->follow_spec, "%s", t->method[method]);
    } else if (!run_traced(st, task, method, sample)) {
        return false;
    }
    ui_go(st, UI_SCREEN_COMPARE);
    if (!there)
        ui_say(st, UI_SAY_INFO,
               "running the sample with a trace: the view follows to where the answers part");
    return true;
}

/* Where the traced run of the sample went wrong: the step, the head and the key of `why`. */
static void follow_to(struct ui_state *st, int lane, const struct ui_why *y)
{
    st->at.a = lane;
    st->at.b = 0;
    st->at.layer = y->layer;
    st->at.head = y->head;
    st->at.group = false;
    st->at.step = y->step;
    st->at.row = y->row;
    st->at.key = y->key >= 0 ? y->key : y->lo;
    ui_say(st, UI_SAY_INFO, "%s; L%d H%d loses most evidence: gold %d, tokens %d-%d%s",
           y->differs ? "answers part here" : "the same answer as dense", y->layer, y->head, y->item + 1,
           y->lo, y->hi - 1, st->at.screen == UI_SCREEN_COMPARE ? "   Enter goes down, Backspace back" : "");
}

static void poll_follow(struct ui_state *st)
{
    struct ui_tasks *t = st->tasks;
    if (!t->follow || !st->trace) return;
    if (st->run->load == UI_LOAD_FAILED) t->follow = t->force_then = false;
    if (st->run->load != UI_LOAD_IDLE) return;
    for (int l = 0; l < st->n_lanes; l++) {
        const struct sac_lane *x = &st->lane[l];
        if (strcmp(x->spec, t->follow_spec) != 0 || x->state < SAC_LANE_DONE ||
            st->lane[0].state < SAC_LANE_DONE)
            continue;
        enum ui_req_state rs;
        const struct ui_why *y = ui_request(st, ui_why_request, &l, 1, 0, &rs);
        if (!y && rs != UI_REQ_NOTHING) return;         /* comes with a later frame */
        t->follow = false;
        if (y) follow_to(st, l, y);
        else ui_say(st, UI_SAY_INFO, "this sample has no gold span to follow");
        if (y && t->force_then) ui_force(st, l, (struct sac_span){ y->lo, y->hi }, -1, -1);
        t->force_then = false;
        return;
    }
}

void ui_tasks_poll(struct ui_state *st)
{
    struct ui_tasks *t = st->tasks;
    if (!t) return;
    if (!ui_tasks_busy(st)) join(t);
    if (t->waiting && !ui_run_busy(st)) ui_tasks_start(st, t->waiting_task);
    poll_follow(st);
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
    int sample = ui_tasks_shown(st, st->at.sample);
    struct ui_t_cell c = ui_tasks_cell(t, st->at.task, st->at.cell, sample);
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
             t->task[st->at.task], t->length, (unsigned long long)t->seed, sample,
             t->method[st->at.cell], c.state == UI_T_DONE ? c.score : 0, c.parsed ? "true" : "false", c.stop,
             answer);
    return ui_copy(st, out), true;
}

/* Force the gold span that is lost most, in all layers, and answer again; runs the sample first when it is
 * not the one on the other screens. */
static bool cmd_force_gold(struct ui_state *st, const char *arg)
{
    struct ui_tasks *t = st->tasks;
    (void)arg;
    if (!t->n_methods) return ui_say(st, UI_SAY_BAD, "no sample has run yet: r runs this task"), false;
    if (!st->at.cell) return ui_say(st, UI_SAY_INFO, "dense reads everything: choose another column"), true;
    int task = st->at.task, m = st->at.cell, s = ui_tasks_shown(st, st->at.sample);
    if (traced_lane(st, task, m, s) < 0) {
        if (!run_traced(st, task, m, s)) return false;
        ui_say(st, UI_SAY_INFO, "running sample %d with a trace, then again with the lost span forced", s);
    }
    snprintf(t->follow_spec, sizeof t->follow_spec, "%s", t->method[m]);
    return t->follow = t->force_then = true;
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
