/* Methods and prompt of the Run screen as commands: tick, parameters, budget, task, length, run. */
#include "run.h"
#include "base.h"
#include "whatif.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool row_set(struct ui_state *st, int row, const char *given, struct sac_err *err)
{
    struct ui_run *r = st->run;
    struct sac_spec spec;
    char text[200];
    snprintf(text, sizeof text, "%s", given);       /* may be the row's own */
    if (sac_spec_parse(&spec, text, err) != SAC_OK) return false;
    if (r->model) {
        /* What only the length of the prompt decides is checked again when the lane is added. */
        int n = st->trace && !r->edited ? st->info.n_prompt : r->want.length;
        if (sac_spec_resolve(&spec, &sac_model_info(r->model)->shape, n, err) != SAC_OK) return false;
    }
    struct ui_method_row *m = &r->row[row];
    bool prefill = sac_spec_prefill(&spec) != NULL, evict = sac_spec_evict(&spec) != NULL,
         decode = sac_spec_decode(&spec) != NULL;
    snprintf(m->spec, sizeof m->spec, "%s", text);
    snprintf(m->name, sizeof m->name, "%.*s", (int)strcspn(text, ":"), text);
    if (spec.n > 1) snprintf(m->name, sizeof m->name, "%s+%s", spec.part[0].m->name, spec.part[1].m->name);
    sac_spec_params(&spec, m->params, sizeof m->params);
    snprintf(m->phase, sizeof m->phase, "%s", prefill && (evict || decode) ? "both" : prefill ? "prefill"
             : evict && decode ? "kv+dec" : evict ? "kv" : decode ? "decode" : "both");
    m->sparsity = spec.part[0].sparsity;
    m->oracle = spec.part[0].m->oracle;
    m->lane = -1;
    return true;
}

bool ui_row_set(struct ui_state *st, int row, const char *spec)
{
    struct sac_err err = { 0 };
    if (row_set(st, row, spec, &err)) return true;
    ui_say(st, UI_SAY_BAD, "%s", err.msg);
    return false;
}

/* The rows again, now that the model is known; what does not suit it says so when it is run. */
void ui_rows_resolve(struct ui_state *st)
{
    struct sac_err err = { 0 };
    for (int i = 0; i < st->run->n_rows; i++) row_set(st, i, st->run->row[i].spec, &err);
}

int ui_row_add(struct ui_state *st, const char *spec, bool on)
{
    struct ui_run *r = st->run;
    if (r->n_rows == UI_MAX_ROWS)
        return ui_say(st, UI_SAY_BAD, "the list is full: at most %d methods", UI_MAX_ROWS), -1;
    int i = r->n_rows;
    r->row[i] = (struct ui_method_row){ .lane = -1 };
    if (!ui_row_set(st, i, spec)) return -1;
    r->row[i].on = on;
    r->n_rows++;
    return i;
}

/* ---- running ---- */

int ui_run_add(struct ui_state *st, const char *spec)
{
    struct ui_run *r = st->run;
    struct sac_err err = { 0 };
    if (!r->job) {
        ui_say(st, UI_SAY_BAD,
               st->info.recorded ? "a recorded run has no model behind it: start saccade with the model"
                                 : "nothing has run yet: press r");
        return -1;
    }
    int lane = sac_job_add_lane(r->job, spec, &err);
    if (lane < 0) return ui_say(st, UI_SAY_BAD, "%s", err.msg), -1;
    if (sac_job_start(r->job, &err) != SAC_OK) ui_say(st, UI_SAY_BAD, "%s", err.msg);
    return lane;
}

bool ui_run_more(struct ui_state *st)
{
    struct ui_run *r = st->run;
    if (!r->job || r->edited || r->load == UI_LOAD_BUSY) return ui_run_start(st);
    int added = 0;
    for (int i = 0; i < r->n_rows; i++) {
        struct ui_method_row *m = &r->row[i];
        bool again =
            m->lane >= 0 && m->lane < st->n_lanes &&
            (st->lane[m->lane].state == SAC_LANE_STOPPED || st->lane[m->lane].state == SAC_LANE_FAILED);
        if (!m->on || (m->lane >= 0 && !again)) continue;
        if (!strcmp(m->spec, "dense")) {
            if (again) return ui_run_start(st);
            continue;
        }
        int lane = ui_run_add(st, m->spec);
        if (lane < 0) return false;
        m->lane = lane;
        added++;
    }
    if (!added) ui_say(st, UI_SAY_INFO, "every ticked method has run: R runs everything again");
    else ui_say(st, UI_SAY_OK, "%d method%s queued", added, added == 1 ? "" : "s");
    return true;
}

void ui_force(struct ui_state *st, int lane, struct sac_span span, int layer, int kv_head)
{
    struct sac_err err = { 0 };
    if (!st->run->job) {
        ui_say(st, UI_SAY_BAD, "an intervention needs a live run: start saccade with the model");
        return;
    }
    int at = sac_job_force(st->run->job, lane, span, layer, kv_head, &err);
    if (at < 0) {
        ui_say(st, UI_SAY_BAD, "%s", err.msg);
        return;
    }
    sac_job_start(st->run->job, NULL);
    char where[40] = "all layers";
    if (layer >= 0 && kv_head >= 0) snprintf(where, sizeof where, "L%d kv%d", layer, kv_head);
    else if (layer >= 0) snprintf(where, sizeof where, "L%d", layer);
    struct ui_run *r = st->run;
    if (r->n_forced < UI_MAX_LANES) {
        int i = r->n_forced++;
        r->forced[i].lane = at;
        r->forced[i].from = lane;
        if (span.lo == 0 && span.hi >= st->info.n_prompt)
            snprintf(r->forced[i].what, sizeof r->forced[i].what, "the whole prompt in %s", where);
        else if (span.hi == span.lo + 1)
            snprintf(r->forced[i].what, sizeof r->forced[i].what, "token %d in %s", span.lo, where);
        else
            snprintf(r->forced[i].what, sizeof r->forced[i].what, "tokens %d-%d in %s", span.lo, span.hi - 1,
                     where);
        ui_say(st, UI_SAY_OK, "intervention: %s of %s forced, answering again as lane %d", r->forced[i].what,
               ui_lane_name(st, lane), at);
    }
}

/* What to force: the selection, the gold span or the token under the key cursor, a range, or the whole prompt
 * for one head. */
static bool force_span(struct ui_state *st, const char *what, struct sac_span *out)
{
    int lo, hi, n = 0, key = st->at.key, gold = ui_gold_at(st, key);
    if (!strcmp(what, "head")) return *out = (struct sac_span){ 0, st->info.n_prompt }, true;
    if (sscanf(what, "%d-%d%n", &lo, &hi, &n) == 2 && !what[n] && lo >= 0 && lo <= hi &&
        hi < st->info.n_prompt)
        return *out = (struct sac_span){ lo, hi + 1 }, true;
    if (strcmp(what, "span") && strcmp(what, "key"))
        return ui_say(st, UI_SAY_BAD, "force: expected span, key, head, or tokens such as 812-846"), false;
    *out = (struct sac_span){ key, key + 1 };
    if (!strcmp(what, "span") && st->at.selecting) {
        out->lo = key < st->at.sel_key ? key : st->at.sel_key;
        out->hi = (key < st->at.sel_key ? st->at.sel_key : key) + 1;
    } else if (!strcmp(what, "span") && gold >= 0) {
        *out = st->info.span[gold];
    }
    if (out->hi > st->info.n_prompt) out->hi = st->info.n_prompt;
    if (out->hi > out->lo) return true;
    return ui_say(st, UI_SAY_BAD, "only tokens of the prompt can be forced: move the key cursor there"),
           false;
}

static bool cmd_force(struct ui_state *st, const char *arg)
{
    char what[24] = "span", scope[12] = "";
    struct sac_span span;
    sscanf(arg, "%23s %11s", what, scope);
    if (!st->n_lanes) return ui_say(st, UI_SAY_BAD, "nothing has run yet: press 1, then r"), false;
    bool head = !strcmp(what, "head");
    if (!*scope) snprintf(scope, sizeof scope, "%s", head ? "head" : "all");
    if (strcmp(scope, "head") && strcmp(scope, "layer") && strcmp(scope, "all"))
        return ui_say(st, UI_SAY_BAD, "force: the scope is head, layer or all"), false;
    if (!strcmp(st->lane[st->at.a].method, "dense"))
        return ui_say(st, UI_SAY_INFO, "dense reads everything: m chooses the method to force it in"), true;
    if (!force_span(st, what, &span)) return false;
    ui_force(st, st->at.a, span, strcmp(scope, "all") ? st->at.layer : -1,
             !strcmp(scope, "head") ? ui_kv_head(st) : -1);
    return true;
}

char *ui_run_prompt(const struct ui_state *st)
{
    const struct ui_run *r = st->run;
    if (r->want.prompt) return strdup(r->want.prompt);
    if (r->sample) return strdup(r->sample->prompt);
    return strdup("");
}

void ui_run_edited(struct ui_state *st, char *text)
{
    struct ui_run *r = st->run;
    size_t n = strlen(text);
    if (n && text[n - 1] == '\n') text[--n] = 0;
    char *old = ui_run_prompt(st);
    bool same = old && !strcmp(old, text);
    free(old);
    if (same || !n) {
        free(text);
        ui_say(st, UI_SAY_INFO, n ? "prompt unchanged" : "an empty prompt is not taken");
        return;
    }
    free(r->want.prompt);
    r->want.prompt = text;
    r->edited = true;
    ui_say(st, UI_SAY_OK, "prompt of %zu bytes: r runs it", n);
}

/* ---- commands ---- */

static int row_here(const struct ui_state *st)
{
    int i = st->at.cur[UI_SCREEN_RUN];
    return i >= 0 && i < st->run->n_rows ? i : 0;
}

static bool cmd_run(struct ui_state *st, const char *arg)
{
    (void)arg;
    if (ui_whatif_on(st)) return ui_whatif_run(st);
    return ui_run_more(st);
}

static bool cmd_run_all(struct ui_state *st, const char *arg)
{
    (void)arg;
    st->run->all_anew = true;        /* timings of a whole run */
    return ui_run_start(st);
}

static bool cmd_method_set(struct ui_state *st, const char *arg)
{
    int i = row_here(st);
    if (!ui_row_set(st, i, arg)) return false;
    st->run->row[i].on = true;
    ui_say(st, UI_SAY_OK, "%s: r runs it", st->run->row[i].spec);
    return true;
}

static bool cmd_method_add(struct ui_state *st, const char *arg)
{
    if (!*arg)
        return ui_say(st, UI_SAY_BAD, "name a method, as in: method-add quest:token_budget=512"), false;
    int i = ui_row_add(st, arg, true);
    if (i < 0) return false;
    st->at.cur[UI_SCREEN_RUN] = i;
    ui_say(st, UI_SAY_OK, "%s added and ticked: r runs it", arg);
    return true;
}

static bool cmd_tick(struct ui_state *st, const char *arg)
{
    struct ui_run *r = st->run;
    if (!*arg) {
        r->row[row_here(st)].on ^= true;
        return true;
    }
    for (int i = 0; i < r->n_rows; i++)
        if (!strcmp(arg, "all") || !strcmp(arg, r->row[i].name) || !strcmp(arg, r->row[i].spec)) {
            r->row[i].on = strcmp(arg, "all") ? !r->row[i].on : true;
            if (strcmp(arg, "all") != 0) return true;
        }
    if (!strcmp(arg, "none"))
        for (int i = 0; i < r->n_rows; i++) r->row[i].on = false;
    return true;
}

/* On Run and Tasks: the ticked rows together. Elsewhere: what method A would read with another budget. */
static bool cmd_budget(struct ui_state *st, const char *arg)
{
    struct ui_run *r = st->run;
    char *end, spec[200];
    double f = strtod(arg + (*arg == '*'), &end);
    bool times = *arg == '*';
    if (end == arg + times || *end || !(f > 0) || (!times && f >= 1)) {
        ui_say(st, UI_SAY_BAD, "budget: expected *FACTOR (as *1.125), or a share of the keys such as 0.125");
        return false;
    }
    const struct sac_shape *shape = r->model ? &sac_model_info(r->model)->shape : NULL;
    int n = st->trace ? st->info.n_prompt : r->want.length, done = 0;
    if (st->at.screen != UI_SCREEN_RUN && st->at.screen != UI_SCREEN_TASKS)
        return ui_whatif_budget(st, f, times);
    for (int i = 0; i < r->n_rows; i++) {
        struct ui_method_row *m = &r->row[i];
        if (!m->on || !strcmp(m->spec, "dense")) continue;
        if (times) {
            if (!ui_spec_scale(m->spec, shape, n, f, spec, sizeof spec)) continue;
        } else {
            snprintf(spec, sizeof spec, "%s:sparsity=%g", m->name, 1 - f);
        }
        if (ui_row_set(st, i, spec)) m->on = true, done++;
    }
    if (!done) return ui_say(st, UI_SAY_BAD, "no ticked method has a budget"), false;
    ui_say(st, UI_SAY_OK, "budget of %d method%s changed: r runs them", done, done == 1 ? "" : "s");
    return true;
}

static bool changed(struct ui_state *st)
{
    st->run->edited = true;
    return true;
}

static bool cmd_task(struct ui_state *st, const char *arg)
{
    struct ui_run *r = st->run;
    struct sac_err err = { 0 };
    int n;
    const struct sac_task *const *t = sac_tasks(&n);
    char spec[160];
    snprintf(spec, sizeof spec, "%s", arg);
    if (!*arg || !strcmp(arg, "next")) {     /* the next task that needs no file */
        int at = 0;
        for (int i = 0; i < n; i++)
            if (!strncmp(r->want.task, t[i]->name, strlen(t[i]->name))) at = i + 1;
        for (int i = 0; i < n && t[at % n]->needs_file; i++) at++;
        snprintf(spec, sizeof spec, "%s", t[at % n]->name);
    }
    if (sac_task_check(spec, &err) != SAC_OK) return ui_say(st, UI_SAY_BAD, "%s", err.msg), false;
    snprintf(r->want.task, sizeof r->want.task, "%s", spec);
    free(r->want.prompt);
    r->want.prompt = NULL;
    ui_say(st, UI_SAY_OK, "task %s: r runs it", spec);
    return changed(st);
}

static bool set_int(struct ui_state *st, const char *arg, const char *what, int lo, int hi, int *v)
{
    int now = *v;
    if (!ui_arg_int(st, arg, now, lo, hi, v)) return false;
    ui_say(st, UI_SAY_OK, "%s %d: r runs it", what, *v);
    return changed(st);
}

static bool cmd_length(struct ui_state *st, const char *arg)
{
    const struct ui_run *r = st->run;
    int hi = r->model ? sac_model_info(r->model)->shape.max_ctx : 1 << 20;
    return set_int(st, arg, "length", 64, hi, &st->run->want.length);
}

static bool cmd_sample(struct ui_state *st, const char *arg)
{
    return set_int(st, arg, "sample", 0, 1000000, &st->run->want.sample);
}

static bool cmd_seed(struct ui_state *st, const char *arg)
{
    char *end;
    unsigned long long v = strtoull(arg, &end, 10);
    if (!*arg || *end) return ui_say(st, UI_SAY_BAD, "seed: expected a number"), false;
    st->run->want.seed = v;
    ui_say(st, UI_SAY_OK, "seed %llu: r runs it", v);
    return changed(st);
}

static bool cmd_max_tokens(struct ui_state *st, const char *arg)
{
    return set_int(st, arg, "at most this many tokens:", 1, 100000, &st->run->want.max_tokens);
}

static bool cmd_threads(struct ui_state *st, const char *arg)
{
    struct ui_run *r = st->run;
    int now = r->want.threads;
    if (st->info.recorded) return ui_say(st, UI_SAY_BAD, "a recorded run has no model behind it"), false;
    if (r->model && !now) now = sac_model_info(r->model)->n_threads;
    if (!ui_arg_int(st, arg, now, 1, 256, &now)) return false;
    r->want.threads = now;
    r->reopen = true;
    ui_say(st, UI_SAY_OK, "%d thread%s: r opens the model again and runs", now, now == 1 ? "" : "s");
    return changed(st);
}

static bool cmd_prompt(struct ui_state *st, const char *arg)
{
    char *text = strdup(arg);
    if (!text) return false;
    ui_run_edited(st, text);
    return true;
}

static bool cmd_open_trace(struct ui_state *st, const char *arg)
{
    if (!*arg) return ui_prompt_open(st, ':', "open-trace "), true;
    snprintf(st->run->want.trace, sizeof st->run->want.trace, "%s", arg);
    bool ok = ui_run_start(st);
    st->run->want.trace[0] = 0;
    return ok;
}

static bool cmd_edit_prompt(struct ui_state *st, const char *arg)
{
    (void)arg;
    st->app->want_editor = true;
    return true;
}

static bool cmd_reorder(struct ui_state *st, const char *arg)
{
    int by = 0, lane = st->run->row[row_here(st)].lane;
    if (!strcmp(arg, "up")) by = -1;
    else if (!strcmp(arg, "down")) by = 1;
    else return ui_say(st, UI_SAY_BAD, "queue-move: expected up or down"), false;
    const char *name = st->run->row[row_here(st)].name;
    if (lane < 0 || !st->run->job || sac_job_place(st->run->job, lane) < 1)
        return ui_say(st, UI_SAY_BAD, "%s does not wait in the queue", name), false;
    if (!sac_job_reorder(st->run->job, lane, by))
        return ui_say(st, UI_SAY_INFO, "%s is the %s in the queue", name, by < 0 ? "first" : "last"), false;
    ui_say(st, UI_SAY_OK, "%s is number %d in the queue", name, sac_job_place(st->run->job, lane));
    return true;
}

static bool cmd_preset(struct ui_state *st, const char *arg)
{
    static const struct { const char *name, *part; } presets[] = {
        { "paper", "preset=paper-0.9" }, { "quarter", "sparsity=0.75" }, { "half", "sparsity=0.5" },
        { "tenth", "sparsity=0.9" },
    };
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(arg, presets[i].name) != 0) continue;
        int done = 0;
        for (int k = 0; k < st->run->n_rows; k++) {
            struct ui_method_row *m = &st->run->row[k];
            char spec[200];
            if (!m->on || !strcmp(m->spec, "dense") || strchr(m->name, '+')) continue;
            snprintf(spec, sizeof spec, "%s:%s", m->name, presets[i].part);
            if (ui_row_set(st, k, spec)) m->on = true, done++;
        }
        ui_say(st, UI_SAY_OK, "%s set for %d methods: r runs them", presets[i].part, done);
        return true;
    }
    return ui_say(st, UI_SAY_BAD, "presets: paper, quarter, half, tenth"), false;
}

static bool cmd_budget_search(struct ui_state *st, const char *arg)
{
    return ui_search_start(st, *arg ? arg : NULL);
}

#define RUN UI_CTX(UI_SCREEN_RUN)
const struct ui_cmd ui_run_cmds[] = {
    { "run", "", "run what is ticked and has not run yet, or the budget that is tried", UI_GROUP_ACT,
      UI_CTX_ALL & ~UI_CTX(UI_SCREEN_TASKS), 0, cmd_run },
    { "run-all", "", "run everything again", UI_GROUP_ACT, UI_CTX_ALL & ~UI_CTX(UI_SCREEN_TASKS), 0,
      cmd_run_all },
    { "budget", "*FACTOR or SHARE",
      "budget of the ticked methods (Run, Tasks); elsewhere see at once what it would read", UI_GROUP_ACT,
      UI_CTX_ALL, UI_CMD_VIEW, cmd_budget },
    { "force", "span|key|head|A-B [head|layer|all]",
      "answer again with these keys read as well (an intervention)", UI_GROUP_ACT,
      UI_CTX_ALL & ~UI_CTX(UI_SCREEN_TASKS), 0, cmd_force },
    { "budget-search", "[METHOD]", "find the smallest budget that still answers (an intervention)",
      UI_GROUP_ACT, UI_CTX_ALL, 0, cmd_budget_search },
    { "preset", "paper|tenth|quarter|half", "a budget for all ticked methods", UI_GROUP_ACT, UI_CTX_ALL, 0,
      cmd_preset },
    { "tick", "[all|none|METHOD]", "tick or untick a method", UI_GROUP_ACT, UI_CTX_ALL, 0, cmd_tick },
    { "method-set", "SPEC", "parameters of the method under the cursor", UI_GROUP_ACT, RUN, 0,
      cmd_method_set },
    { "method-add", "SPEC", "add a method to the list", UI_GROUP_ACT, UI_CTX_ALL, 0, cmd_method_add },
    { "queue-move", "up|down", "move a waiting method in the queue", UI_GROUP_ACT, RUN, 0, cmd_reorder },
    { "task", "[TASK]", "the task that makes the prompt; nothing: the next one", UI_GROUP_ACT, UI_CTX_ALL, 0,
      cmd_task },
    { "length", "TOKENS", "length of the task's prompt", UI_GROUP_ACT, UI_CTX_ALL, 0, cmd_length },
    { "sample", "N", "sample of the task", UI_GROUP_ACT, RUN, 0, cmd_sample },
    { "seed", "N", "seed of the task", UI_GROUP_ACT, UI_CTX_ALL, 0, cmd_seed },
    { "max-tokens", "N", "length limit of answers", UI_GROUP_ACT, UI_CTX_ALL, 0, cmd_max_tokens },
    { "threads", "N", "threads that compute", UI_GROUP_ACT, UI_CTX_ALL, 0, cmd_threads },
    { "prompt", "TEXT", "a prompt of your own", UI_GROUP_ACT, UI_CTX_ALL, 0, cmd_prompt },
    { "edit-prompt", "", "edit the prompt in $EDITOR", UI_GROUP_ACT, UI_CTX_ALL, 0, cmd_edit_prompt },
    { "open-trace", "FILE", "open a recorded run", UI_GROUP_ACT, UI_CTX_ALL, 0, cmd_open_trace },
};
const int ui_n_run_cmds = sizeof ui_run_cmds / sizeof *ui_run_cmds;
