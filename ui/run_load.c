/* The loader: opens the model, makes the prompt, prepares and starts the job, away from the UI thread. */
#include "base.h"
#include "run.h"
#include "view_run.h"
#include "work.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const ui_load_stage[] = { "starting", "opening the model", "making the prompt", "reading tokens",
                                      "starting the run", "opening the trace" };

static enum sac_code load_prompt(struct ui_run *r, struct sac_tokens *tok, char **text, size_t *at,
                                 struct ui_loaded *d)
{
    const struct ui_job_want *w = &r->todo;
    const char *user = w->prompt;
    enum sac_code rc = SAC_OK;
    atomic_store(&r->stage, 2);
    if (!user) {
        d->sample = calloc(1, sizeof *d->sample);
        if (!d->sample) return sac_fail(&d->err, SAC_ENOMEM, "out of memory");
        rc = sac_sample_make(d->sample, d->model, w->task, (enum sac_style)w->style, w->length, w->seed,
                             w->sample, *w->task_file ? w->task_file : NULL, &d->err);
        if (rc) {
            free(d->sample);
            d->sample = NULL;
            return rc;
        }
        user = d->sample->prompt;
    }
    if (atomic_load(&r->cancel)) return sac_fail(&d->err, SAC_ECANCEL, "stopped");
    atomic_store(&r->stage, 3);
    if (!w->raw) return sac_chat_tokenize(d->model, NULL, user, tok, text, at, &d->err);
    *at = 0;
    *text = strdup(user);
    if (!*text) return sac_fail(&d->err, SAC_ENOMEM, "out of memory");
    return sac_tokenize(d->model, user, strlen(user), SAC_TOK_BOS | SAC_TOK_SPECIAL, tok, &d->err);
}

static void load_job(struct ui_run *r, struct ui_loaded *d)
{
    const struct ui_job_want *w = &r->todo;
    double t0 = ui_clock();
    if (!d->model) {
        struct sac_model_opts mo = { .threads = w->threads,
                                     .nice = 5,
                                     .kv = (enum sac_kv_type)w->kv,
                                     .strict = w->strict };
        atomic_store(&r->stage, 1);
        if (sac_model_open(&d->model, w->model, &mo, &d->err) != SAC_OK) return;
        d->model_s = ui_clock() - t0;
    }
    if (atomic_load(&r->cancel)) {
        sac_fail(&d->err, SAC_ECANCEL, "stopped before the run began");
        return;
    }
    t0 = ui_clock();
    struct sac_tokens tok = { 0 };
    char *text = NULL;
    size_t at = 0;
    enum sac_code rc = load_prompt(r, &tok, &text, &at, d);
    d->prompt_s = ui_clock() - t0;
    if (!rc && !atomic_load(&r->cancel)) {
        struct sac_job_opts jo = { .max_tokens = w->max_tokens,
                                   .sampling = { w->temperature, w->top_p, w->seed },
                                   .nice = 5,
                                   .maps = true,
                                   .seed = w->seed,
                                   .earlier = r->earlier,
                                   .notify = r->notify,
                                   .notify_ctx = r->ctx };
        atomic_store(&r->stage, 4);
        rc = sac_job_new(&d->job, d->model, text, &tok, d->sample, at, &jo, &d->err);
        for (int i = 0; !rc && i < w->n_spec; i++) {
            struct sac_err e = { 0 };
            if (sac_job_add_lane(d->job, w->spec[i], &e) >= 0) continue;
            size_t n = strlen(d->refused);
            snprintf(d->refused + n, sizeof d->refused - n, "%s%s", n ? "\n" : "", e.msg);
        }
        if (!rc) {
            d->trace = sac_job_trace(d->job);
            sac_trace_retain(d->trace);
            sac_job_start(d->job, &d->err);
        }
    } else if (!rc) {
        sac_fail(&d->err, SAC_ECANCEL, "stopped before the run began");
    }
    sac_tokens_free(&tok);
    free(text);
}

static void *load_main(void *ctx)
{
    struct ui_run *r = ctx;
    struct ui_loaded *d = &r->done;
    if (r->old_job) sac_job_free(r->old_job);           /* stops and waits */
    if (r->old_sample) sac_sample_free(r->old_sample), free(r->old_sample);
    r->old_job = NULL;
    r->old_sample = NULL;
    if (r->old_model) sac_model_close(r->old_model);
    r->old_model = NULL;
    if (*r->todo.trace) {
        atomic_store(&r->stage, 5);
        if (!r->trace_open)
            sac_fail(&d->err, SAC_ENOTSUP, "%s: recorded runs cannot be opened here", r->todo.trace);
        else r->trace_open(&d->trace, r->todo.trace, &d->err);
    } else {
        load_job(r, d);
    }
    if (r->earlier) sac_trace_release(r->earlier);
    r->earlier = NULL;
    atomic_store(&r->finished, true);
    r->notify(r->ctx);
    return NULL;
}

static void want_copy(struct ui_job_want *to, const struct ui_job_want *from)
{
    free(to->prompt);
    *to = *from;
    to->prompt = from->prompt ? strdup(from->prompt) : NULL;
}

/* Nothing may look at a run whose model goes away: the worker's results and the trace go first. */
static void close_model(struct ui_state *st)
{
    struct ui_run *r = st->run;
    if (r->earlier) sac_trace_release(r->earlier);
    r->earlier = NULL;
    ui_work_free(st->work);
    st->work = ui_work_new(ui_notify, st->app);
    ui_state_set_trace(st, NULL);
    ui_state_refresh(st);
    r->old_model = r->model;
    r->model = NULL;
    r->done.model = NULL;
}

bool ui_run_start(struct ui_state *st)
{
    struct ui_run *r = st->run;
    if (r->load == UI_LOAD_BUSY) {
        r->again = true;
        atomic_store(&r->cancel, true);
        return true;
    }
    if (ui_tasks_busy(st)) {
        ui_say(st, UI_SAY_BAD, "the Tasks screen is running samples: stop them first (Ctrl-C there)");
        return false;
    }
    if (r->reopen && ui_shots_busy(st)) {
        ui_say(st, UI_SAY_BAD, "a file is being written from this run: try again in a moment");
        return false;
    }
    want_copy(&r->todo, &r->want);
    r->todo.n_spec = 0;
    for (int i = 0; i < r->n_rows && !*r->only; i++)
        if (r->row[i].on && strcmp(r->row[i].spec, "dense") != 0)
            memcpy(r->todo.spec[r->todo.n_spec++], r->row[i].spec, sizeof r->todo.spec[0]);
    if (*r->only && strcmp(r->only, "dense") != 0)
        memcpy(r->todo.spec[r->todo.n_spec++], r->only, sizeof r->only);
    r->only[0] = 0;
    r->done = (struct ui_loaded){ .model = r->model };
    r->old_job = r->job;
    r->old_sample = r->sample;
    r->job = NULL;
    r->sample = NULL;
    r->earlier = r->old_job && !r->all_anew ? st->trace : NULL;
    if (r->earlier) sac_trace_retain(r->earlier);
    r->all_anew = false;
    if (r->reopen && r->model) close_model(st);
    r->reopen = false;
    r->again = false;
    r->error[0] = 0;
    atomic_store(&r->finished, false);
    atomic_store(&r->cancel, false);
    atomic_store(&r->stage, 0);
    if (r->old_job) sac_job_stop(r->old_job);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(&r->thread, NULL, load_main, r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    r->load = rc ? UI_LOAD_FAILED : UI_LOAD_BUSY;
    if (rc && r->earlier) sac_trace_release(r->earlier), r->earlier = NULL;
    if (rc) ui_say(st, UI_SAY_BAD, "cannot start a thread: the system is out of resources");
    return !rc;
}

static void log_lines(struct ui_state *st, const char *text)
{
    while (*text) {
        int n = (int)strcspn(text, "\n");
        ui_log(st, "%.*s", n, text);
        text += n + (text[n] == '\n');
    }
}

static void lanes_changed(struct ui_state *st)
{
    struct ui_run *r = st->run;
    for (int i = 0; i < r->n_rows; i++) {
        r->row[i].lane = -1;
        for (int l = st->n_lanes - 1; l >= 0; l--)
            if (!st->lane[l].intervention && !strcmp(st->lane[l].spec, r->row[i].spec)) r->row[i].lane = l;
    }
}

/* The list of methods as a recording has them: its lanes ticked, with their settings. */
static void rows_of_recording(struct ui_state *st)
{
    struct ui_run *r = st->run;
    int n = sac_trace_n_lanes(st->trace);
    for (int i = 0; i < r->n_rows; i++) r->row[i].on = !strcmp(r->row[i].spec, "dense");
    for (int k = 1; k < n; k++) {
        struct sac_lane l;
        int i = 0;
        sac_trace_lane(st->trace, k, &l);
        if (l.intervention || !strcmp(l.method, "dense")) continue;
        while (i < r->n_rows && (r->row[i].on || strcmp(r->row[i].name, l.method) != 0)) i++;
        if (i == r->n_rows) i = ui_row_add(st, l.spec, true);
        else if (ui_row_set(st, i, l.spec)) r->row[i].on = true;
        /* In the order of the answers below, after dense. */
        for (int to = k < r->n_rows ? k : r->n_rows - 1; i > to; i--) {
            struct ui_method_row row = r->row[i - 1];
            r->row[i - 1] = r->row[i];
            r->row[i] = row;
        }
    }
}

static void take_over(struct ui_state *st)
{
    struct ui_run *r = st->run;
    struct ui_loaded *d = &r->done;
    pthread_join(r->thread, NULL);
    r->load = UI_LOAD_IDLE;
    if (d->model && !r->model) {
        const struct sac_model_info *mi = sac_model_info(d->model);
        r->model = d->model;
        r->model_s = d->model_s;
        ui_log(st, "%s opened in %.2f s (%.1f MB, %s)", mi->name, d->model_s, (double)mi->weight_bytes / 1e6,
               mi->file_type);
        ui_rows_resolve(st);
    }
    r->job = d->job;
    r->sample = d->sample;
    r->prompt_s = d->prompt_s;
    /* A stop that came after the loader had looked for one for the last time. */
    if (r->job && atomic_load(&r->cancel)) sac_job_stop(r->job);
    if (d->trace) {
        ui_state_set_trace(st, d->trace);
        sac_trace_release(d->trace);
        memset(r->said, 0, sizeof r->said);
        r->n_forced = 0;
        r->edited = false;
        if (st->info.recorded) rows_of_recording(st);
        else ui_log(st, "prompt of %d tokens ready in %.2f s", st->info.n_prompt, d->prompt_s);
    }
    if (*d->refused) {
        int first = (int)strcspn(d->refused, "\n");
        ui_say(st, UI_SAY_BAD, "%.*s", first, d->refused);
        if (d->refused[first]) log_lines(st, d->refused + first + 1);
    }
    if (d->err.code && !(d->err.code == SAC_ECANCEL && r->again)) {
        snprintf(r->error, sizeof r->error, "%s", d->err.msg);
        r->error_code = d->err.code;
        r->load = UI_LOAD_FAILED;
        ui_say(st, UI_SAY_BAD, "%s", d->err.msg);
    }
    memset(d, 0, sizeof *d);
    if (r->again) ui_run_start(st);
}

static const char *in_words(double score, char buf[24])
{
    if (score >= 0.999) return "correct";
    if (score <= 0.001) return "wrong";
    snprintf(buf, 24, "%.2f right", score);
    return buf;
}

void ui_forced_result(const struct ui_state *st, int forced, char *buf, size_t cap)
{
    const struct ui_run *r = st->run;
    int lane = r->forced[forced].lane, from = r->forced[forced].from;
    char a[24], b[24];
    *buf = 0;
    if (lane >= st->n_lanes || from >= st->n_lanes || st->lane[lane].state != SAC_LANE_DONE) return;
    const struct sac_lane *x = &st->lane[lane], *was = &st->lane[from];
    if (x->score == x->score)
        snprintf(buf, cap, "forced %s: answer %s (was %s)", r->forced[forced].what, in_words(x->score, a),
                 in_words(was->score, b));
    else
        snprintf(buf, cap, "forced %s: the answer is %s", r->forced[forced].what,
                 strcmp(x->answer, was->answer) ? "another" : "the same");
}

/* Lines of the log when a lane changes its state. */
static void log_lanes(struct ui_state *st)
{
    struct ui_run *r = st->run;
    for (int l = 0; l < st->n_lanes && l < UI_MAX_LANES; l++) {
        const struct sac_lane *x = &st->lane[l];
        if (r->said[l] == (int)x->state + 1) continue;
        bool first = r->said[l] == 0;
        r->said[l] = (int)x->state + 1;
        char score[80] = "";
        if (x->score == x->score)
            snprintf(score, sizeof score, ": score %.2f%s", x->score,
                     x->parsed ? "" : ", answer not in the asked form");
        if (x->state == SAC_LANE_DONE && x->reused)
            ui_log(st, "%s: the first %d of %d prompt tokens were taken over from the run before", x->title,
                   x->reused, st->info.n_prompt);
        for (int i = 0; i < r->n_forced && x->state == SAC_LANE_DONE; i++) {
            char result[240];
            if (r->forced[i].lane != l) continue;
            ui_forced_result(st, i, result, sizeof result);
            ui_log(st, "intervention on %s: %s", x->title, result);
            ui_say(st, x->score >= 0.999 ? UI_SAY_OK : UI_SAY_INFO, "%s", result);
        }
        if (x->state == SAC_LANE_DONE && !x->intervention)
            ui_log(st, "%s done in %.2f s%s", x->title, (x->shared_prefill ? 0 : x->prefill_s) + x->decode_s,
                   score);
        else if (x->state == SAC_LANE_FAILED) ui_say(st, UI_SAY_BAD, "%s failed: %s", x->title, x->error);
        else if (x->state == SAC_LANE_STOPPED) ui_log(st, "%s stopped: what it has is kept", x->title);
        else if (x->state == SAC_LANE_PREFILL && !first) ui_log(st, "%s: prefill", x->title);
    }
}

/* When a run is over and nobody has looked around yet, the method looked at is one that did worse than dense.
 * As a command, so that a replay of the session shows the same. */
static void look_at_worse(struct ui_state *st)
{
    struct ui_run *r = st->run;
    bool over = r->job && st->n_lanes > 1;
    for (int l = 0; l < st->n_lanes; l++) over = over && st->lane[l].state >= SAC_LANE_DONE;
    bool ended = over && r->was_busy;
    r->was_busy = !over;
    struct ui_where *w = &st->at;
    if (!ended || st->app->headless || st->plain || st->app->opts->script || st->looked ||
        w->screen != UI_SCREEN_RUN || w->a != 1)
        return;
    int worse = ui_run_worse(st);
    if (worse <= 1) return;
    char line[24];
    snprintf(line, sizeof line, "method %d", worse);
    ui_run_line(st, line);
    st->app->say[0] = 0;
}

void ui_run_poll(struct ui_state *st)
{
    struct ui_run *r = st->run;
    if (r->load == UI_LOAD_BUSY && atomic_load(&r->finished)) take_over(st);
    lanes_changed(st);
    log_lanes(st);
    look_at_worse(st);
}

bool ui_run_busy(const struct ui_state *st)
{
    const struct ui_run *r = st->run;
    return r->load == UI_LOAD_BUSY || (r->job && sac_job_running(r->job));
}

void ui_run_stop(struct ui_state *st)
{
    struct ui_run *r = st->run;
    r->again = false;
    atomic_store(&r->cancel, true);
    if (r->job) sac_job_stop(r->job);
}

struct ui_run *ui_run_new(struct ui_state *st)
{
    const struct ui_app_opts *o = st->app->opts;
    struct ui_run *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    st->run = r;
    r->notify = ui_notify;
    r->ctx = st->app;
    r->trace_open = o->trace_open;
    struct ui_job_want *w = &r->want;
    snprintf(w->model, sizeof w->model, "%s", o->model ? o->model : "");
    snprintf(w->trace, sizeof w->trace, "%s", o->trace ? o->trace : "");
    snprintf(w->task, sizeof w->task, "%s", o->task ? o->task : "niah");
    snprintf(w->task_file, sizeof w->task_file, "%s", o->task_file ? o->task_file : "");
    w->prompt = o->prompt ? strdup(o->prompt) : NULL;
    w->raw = o->raw;
    w->strict = o->strict;
    w->length = o->length ? o->length : 4096;
    w->sample = o->sample;
    w->style = o->style;
    w->max_tokens = o->max_tokens ? o->max_tokens : 64;
    w->threads = o->threads;
    w->kv = o->kv;
    w->seed = o->seed;
    w->temperature = o->temperature;
    w->top_p = o->top_p;
    static const char *const def[] = { "vertical_slash", "snapkv", "quest" };
    bool given = o->n_methods > 0;
    ui_row_add(st, "dense", true);
    for (int i = 0; i < (given ? o->n_methods : 3); i++) ui_row_add(st, given ? o->method[i] : def[i], true);
    int n;
    const struct sac_method *const *m = sac_methods(&n);
    for (int i = 0; i < n; i++) {
        bool have = false;
        for (int k = 0; k < r->n_rows; k++) have |= !strcmp(r->row[k].name, m[i]->name);
        if (!have) ui_row_add(st, m[i]->name, false);
    }
    return r;
}

void ui_run_free(struct ui_run *r)
{
    if (!r) return;
    if (r->load == UI_LOAD_BUSY) {
        atomic_store(&r->cancel, true);
        pthread_join(r->thread, NULL);
        struct ui_loaded *d = &r->done;
        r->job = d->job;
        r->sample = d->sample;
        r->model = d->model;
        if (d->trace) sac_trace_release(d->trace);
    }
    if (r->job) sac_job_free(r->job);
    if (r->sample) sac_sample_free(r->sample), free(r->sample);
    free(r->want.prompt);
    free(r->todo.prompt);
    free(r->line);
    sac_model_close(r->model);      /* traces must be released before */
    free(r);
}
