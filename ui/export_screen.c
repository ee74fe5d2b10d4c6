/* Writing a picture of a whole screen, and the recipe inside it; see export_screen.h. */
#include "export_screen.h"
#include "run.h"
#include "tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- how the session began, and what was done since ---- */

void ui_screen_began(struct ui_state *st)
{
    struct ui_app *a = st->app;
    const struct ui_job_want *w = &st->run->want;
    free(a->began.prompt);
    a->began = (struct ui_began){ .length = w->length,
                                  .max_tokens = w->max_tokens,
                                  .threads = w->threads,
                                  .samples = st->tasks->n_samples,
                                  .screen = st->at.screen,
                                  .prompt = w->prompt ? strdup(w->prompt) : NULL };
    snprintf(a->began.task, sizeof a->began.task, "%s", w->task);
}

static void append(struct ui_app *a, const char *s, size_t n)
{
    if (a->n_record + n + 1 > a->record_cap) {
        size_t cap = (a->n_record + n) * 2 + 1024;
        char *p = realloc(a->record, cap);
        if (!p) return;
        a->record = p;
        a->record_cap = cap;
    }
    memcpy(a->record + a->n_record, s, n);
    a->n_record += n;
    a->record[a->n_record] = 0;
}

/* Does a command change more than what is looked at? That alone is kept with the next one that does. */
static bool matters(const struct ui_cmd *c)
{
    static const char *const views[] = { "toggle", "open", "budget", "find", "find-next", "find-prev" },
                             *const others[] = { "snapshot",     "export",       "save-trace",  "copy",
                                                 "copy-command", "sample-json",  "suspend",     "redraw",
                                                 "quit",         "back-or-quit", "edit-prompt", "command",
                                                 "help",         "prefix-g",     "pane-next",   "pane-prev",
                                                 "back",         "undo",         "redo",        "mark",
                                                 "goto-mark",    "method-pick",  "measures",    "colormap",
                                                 "theme",        "log" };
    bool view = c->flags & UI_CMD_VIEW;
    const char *const *list = view ? views : others;
    size_t n = view ? sizeof views / sizeof *views : sizeof others / sizeof *others;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(c->name, list[i])) return view;
    return !view;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void ui_record(struct ui_state *st, const struct ui_cmd *c, const char *arg)
{
    struct ui_app *a = st->app;
    struct ui_where base;
    if (a->headless || st->plain || !matters(c)) return;
    ui_where_default(&base);
    json_t *o = ui_where_json(&st->at, &base);
    char *text = json_dumps(o, JSON_COMPACT);
    if (text) append(a, "#@ ", 3), append(a, text, strlen(text)), append(a, "\n", 1);
    free(text);
    json_decref(o);
    if (!strcmp(c->name, "open-trace")) arg = base_of(arg);
    append(a, c->name, strlen(c->name));
    if (*arg) append(a, " ", 1), append(a, arg, strlen(arg));
    append(a, "\n", 1);
}

void ui_record_prompt(struct ui_state *st, const char *text)
{
    struct ui_app *a = st->app;
    if (a->headless || st->plain) return;
    append(a, "prompt ", 7);
    for (const char *p = text; *p; p++) append(a, *p == '\n' ? "\x1e" : p, 1);
    append(a, "\n", 1);
}

/* A script as given, paths to recordings without their folders. */
static char *without_folders(const char *script)
{
    static const char word[] = "open-trace ";
    char *out = malloc(strlen(script) + 1), *w = out;
    for (const char *p = script; out && *p;) {
        size_t n = strcspn(p, "\n"), skip = 0;
        if (n > sizeof word && !strncmp(p, word, sizeof word - 1)) {
            size_t last = n;
            while (last > sizeof word - 1 && p[last - 1] != '/') last--;
            memcpy(w, word, sizeof word - 1);
            w += sizeof word - 1;
            skip = last;
        }
        n += p[n] == '\n';
        memcpy(w, p + skip, n - skip);
        w += n - skip;
        p += n;
    }
    if (out) *w = 0;
    return out;
}

/* ---- the recipe ---- */

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *hash_json(uint64_t h)
{
    char s[20];
    snprintf(s, sizeof s, "%016llx", (unsigned long long)h);
    return json_string(s);
}

static json_t *view_json(const struct ui_state *st, const struct cell_buf *b)
{
    const struct ui_look *k = &st->look;
    return json_pack("{s:s, s:s, s:[i,i], s:s, s:b, s:s, s:s, s:b}", "name", "screen", "screen",
                     ui_view_of(st->at.screen)->name, "size", b->w, b->h, "color", ui_tier_name[k->tier],
                     "ascii", k->ascii, "theme", ui_theme_name[k->theme], "colormap", ui_map_name[k->map],
                     "own_map", k->own_map);
}

static json_t *model_json(const struct ui_state *st)
{
    const struct sac_trace_info *i = &st->info;
    const struct sac_model_info *m = st->run->model ? sac_model_info(st->run->model) : NULL;
    const char *file = st->app->opts->model ? base_of(st->app->opts->model) : "";
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "file", file, "name",
                     st->trace ? i->model
                     : m       ? m->name
                               : "",
                     "arch",
                     st->trace ? i->arch
                     : m       ? m->arch
                               : "",
                     "type",
                     st->trace ? i->file_type
                     : m       ? m->file_type
                               : "",
                     "hash",
                     hash_json(st->trace ? i->model_hash
                               : m       ? m->hash
                                         : 0));
}

static json_t *prompt_json(const struct ui_state *st)
{
    const struct ui_job_want *w = &st->run->want;
    const struct ui_began *b = &st->app->began;
    json_t *o = json_object();
    json_object_set_new(o, "hash", hash_json(st->trace ? st->info.prompt_hash : 0));
    json_object_set_new(o, "tokens", json_integer(st->trace ? st->info.n_prompt : 0));
    if (!b->prompt) {
        json_object_set_new(o, "task", json_string(b->task));
        json_object_set_new(o, "length", json_integer(b->length));
        json_object_set_new(o, "sample", json_integer(st->app->opts->sample));
        json_object_set_new(o, "style", json_string(ui_style_arg[w->style]));
        if (*w->task_file) json_object_set_new(o, "file", json_string(base_of(w->task_file)));
    } else if (w->raw)
        json_object_set_new(o, "raw", json_true());
    json_object_set_new(o, "seed", json_integer((json_int_t)st->app->opts->seed));
    return o;
}

static json_t *run_json(const struct ui_state *st)
{
    const struct ui_app_opts *o = st->app->opts;
    const struct ui_job_want *w = &st->run->want;
    json_t *run = json_object(), *list = json_array();
    for (int i = 0; i < o->n_methods; i++) json_array_append_new(list, json_string(o->method[i]));
    json_object_set_new(run, "methods", list);
    json_object_set_new(run, "max_tokens", json_integer(st->app->began.max_tokens));
    int threads = st->app->began.threads;
    if (!threads && st->run->model) threads = sac_model_info(st->run->model)->n_threads;
    json_object_set_new(run, "threads", json_integer(threads));
    json_object_set_new(run, "kv", json_string(ui_kv_arg[w->kv]));
    if (w->strict) json_object_set_new(run, "strict", json_true());
    if (w->temperature > 0) json_object_set_new(run, "temperature", json_real(w->temperature));
    if (w->temperature > 0) json_object_set_new(run, "top_p", json_real(w->top_p));
    return run;
}

static json_t *session_json(const struct ui_state *st)
{
    const struct ui_app *a = st->app;
    const struct ui_app_opts *o = a->opts;
    json_t *s = json_object();
    char *script = a->headless ? without_folders(o->script ? o->script : "") : NULL;
    json_object_set_new(s, "script", json_boolean(a->headless));
    if (o->no_run) json_object_set_new(s, "no_run", json_true());
    json_object_set_new(s, "screen", json_string(ui_view_of(a->began.screen)->name));
    if (a->headless && o->pace > 0) json_object_set_new(s, "pace", json_real(o->pace));
    if (o->trace) json_object_set_new(s, "recording", json_string(base_of(o->trace)));
    json_object_set_new(s, "samples", json_integer(a->began.samples));
    json_object_set_new(s, "commands", json_string(script ? script : a->record ? a->record : ""));
    free(script);
    return s;
}

static json_t *state_json(const struct ui_state *st)
{
    const struct ui_run *r = st->run;
    json_t *o = json_object(), *ticks = json_array(), *log = json_array();
    for (int i = 0; i < r->n_rows; i++) json_array_append_new(ticks, json_boolean(r->row[i].on));
    for (int i = 0; i < st->app->n_log; i++) json_array_append_new(log, json_string(st->app->log[i] + 9));
    json_object_set_new(o, "where", ui_where_json(&st->at, NULL));
    json_object_set_new(o, "ticked", ticks);
    json_object_set_new(o, "run_panes",
                        json_pack("[i,i,i,i]", r->field, r->top_prompt, r->top_log, r->top_answers));
    if (st->app->headless && *st->app->say)
        json_object_set_new(o, "said", json_pack("[s,i]", st->app->say, (int)st->app->say_kind));
    json_object_set_new(o, "log", log);
    return o;
}

/* The order of numbers is that of struct ui_pin. */
static json_t *measured_json(const struct ui_state *st)
{
    json_t *o = json_object(), *lanes = json_array(), *samples = json_array();
    struct ui_tasks *t = st->tasks;
    json_object_set_new(o, "load_s", number(st->run->model_s));
    json_object_set_new(o, "prompt_s", number(st->run->prompt_s));
    for (int i = 0; i < st->n_lanes; i++) {
        const struct sac_lane *l = &st->lane[i];
        const double v[] = { l->prefill_s,     l->decode_s,     l->select_s,          l->attend_s,
                             l->prefill_tok_s, l->decode_tok_s, (double)l->peak_bytes };
        json_t *a = json_array();
        json_array_append_new(a, json_string(l->spec));
        for (size_t k = 0; k < sizeof v / sizeof *v; k++) json_array_append_new(a, number(v[k]));
        json_array_append_new(lanes, a);
    }
    for (int i = 0; i < t->n_tasks; i++)
        for (int m = 0; m < t->n_methods; m++)
            for (int s = 0; s < t->n_samples; s++) {
                struct ui_t_cell c = ui_tasks_cell(t, i, m, s);
                if (c.state != UI_T_DONE) continue;
                json_array_append_new(samples, json_pack("[i,i,i,o,o,o]", i, m, s, number(c.seconds),
                                                         number(c.prefill_tok_s), number(c.decode_tok_s)));
            }
    json_object_set_new(o, "lanes", lanes);
    json_object_set_new(o, "samples", samples);
    return o;
}

/* What keeps a screen from being made again, or NULL. */
static const char *unfinished(const struct ui_state *st)
{
    if (ui_run_busy(st) || ui_tasks_busy(st)) return "it shows work in progress";
    for (int i = 0; i < st->n_lanes; i++)
        if (st->lane[i].state == SAC_LANE_STOPPED) return "a run was stopped by hand";
    return NULL;
}

static json_t *recipe(const struct ui_state *st, const struct cell_buf *b)
{
    const char *from = st->app->opts->restore;
    json_t *o = from ? json_loads(from, 0, NULL) : json_object();
    if (!from) {
        json_object_set_new(o, "schema", json_string("saccade.screen/1"));
        json_object_set_new(o, "version", json_string(SACCADE_VERSION));
        json_object_set_new(o, "view", view_json(st, b));
        json_object_set_new(o, "model", model_json(st));
        json_object_set_new(o, "prompt", prompt_json(st));
        json_object_set_new(o, "run", run_json(st));
        json_object_set_new(o, "session", session_json(st));
        json_object_set_new(o, "state", state_json(st));
        json_object_set_new(o, "measured", measured_json(st));
        if (unfinished(st)) json_object_set_new(o, "unfinished", json_string(unfinished(st)));
    }
    /* Made again, a picture has the recipe it was made from, and says what it shows now. */
    json_object_set_new(o, "version", json_string(SACCADE_VERSION));
    if (from && st->trace)
        json_object_set_new(json_object_get(o, "model"), "hash", hash_json(st->info.model_hash));
    json_object_set_new(o, "cells", hash_json(ui_cells_hash(b)));
    return o;
}

/* The command that begins such a session: read from the recipe, so that it is the same when made again. */
static void command_of(const json_t *o, char *buf, size_t cap)
{
    json_t *p = json_object_get(o, "prompt"), *run = json_object_get(o, "run"), *v;
    const char *recording = json_string_value(json_object_get(json_object_get(o, "session"), "recording"));
    const char *file = json_string_value(json_object_get(json_object_get(o, "model"), "file"));
    const char *task = json_string_value(json_object_get(p, "task"));
    size_t n = (size_t)snprintf(buf, cap, "saccade%s%s", recording || (file && *file) ? " " : "",
                                recording ? recording
                                : file    ? file
                                          : ""),
           i;
    if (!recording && task && n < cap)
        n += (size_t)snprintf(buf + n, cap - n, " --task %s --length %d --sample %d", task,
                              (int)json_integer_value(json_object_get(p, "length")),
                              (int)json_integer_value(json_object_get(p, "sample")));
    else if (!recording && n < cap)
        n += (size_t)snprintf(buf + n, cap - n, " --prompt @PROMPT.txt");
    if (!recording && n < cap)
        n += (size_t)snprintf(buf + n, cap - n, " --seed %lld",
                              (long long)json_integer_value(json_object_get(p, "seed")));
    json_array_foreach(json_object_get(run, "methods"), i, v) if (!recording && n < cap) n +=
        (size_t)snprintf(buf + n, cap - n, " --method %s", json_string_value(v));
    if (n < cap)
        snprintf(buf + n, cap - n, " --screen %s",
                 json_string_value(json_object_get(json_object_get(o, "view"), "screen")));
}

/* ---- the picture ---- */

uint64_t ui_cells_hash(const struct cell_buf *b)
{
    uint64_t h = 1469598103934665603u;
    for (int i = 0; i < b->w * b->h; i++) {
        const struct cell *k = &b->cell[i];
        char32_t g[5] = { 0 };
        if (k->ch) cell_glyph(k->ch, g);
        const uint32_t v[] = { g[0], g[1], g[2], g[3], g[4], k->fg, k->bg, k->attr };
        for (size_t j = 0; j < sizeof v / sizeof *v; j++) h = (h ^ v[j]) * 1099511628211u;
    }
    return h;
}

/* As it is, without what a person is typing or choosing, and without what was said in passing. */
static bool draw_still(struct ui_state *st, struct cell_buf *b)
{
    struct ui_app *a = st->app;
    enum ui_mode mode = a->mode;
    char said = a->say[0];
    int cx, cy;
    if (!cells_init(b, a->buf.w, a->buf.h)) return false;
    a->mode = UI_MODE_NORMAL;
    a->say[0] = 0;
    a->still = true;
    ui_draw(st, b, &cx, &cy);
    a->still = false;
    a->say[0] = said;
    a->mode = mode;
    return true;
}

enum sac_code ui_screen_write(struct ui_state *st, const struct cell_buf *b, const char *path, bool force,
                              char *written, size_t cap, struct sac_err *err)
{
    struct cell_buf own = { 0 };
    char title[80], description[120], command[2048];
    if (!b && !draw_still(st, &own))
        return sac_fail(err, SAC_ENOMEM, "out of memory while drawing the screen");
    if (!b) b = &own;
    json_t *o = recipe(st, b);
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    enum sac_code rc = SAC_OK;
    if (!text)
        rc = sac_fail(err, SAC_ENOMEM, "out of memory while drawing the screen");
    else {
        snprintf(title, sizeof title, "saccade: the %s screen", ui_view_of(st->at.screen)->tab);
        snprintf(description, sizeof description, "a screen of the explorer, %d x %d cells", b->w, b->h);
        command_of(o, command, sizeof command);
        struct figure_meta meta = { .title = title,
                                    .description = description,
                                    .comment = text,
                                    .command = command,
                                    .prompt = st->app->began.prompt };
        rc = ui_export_screen(b, st->look.theme != UI_THEME_LIGHT, &meta, path, force, written, cap, err);
    }
    free(text);
    json_decref(o);
    cells_free(&own);
    return rc;
}
