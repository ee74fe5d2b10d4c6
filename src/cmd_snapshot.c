/* saccade snapshot: a figure, or the numbers behind it, of any view.
 *
 * The run comes from a model and a prompt, from a recorded trace, or (--again) from the recipe inside a
 * figure made before. The options below describe a struct ui_shot; drawing and recipes are in ui/export*.c.
 */
#include "cli.h"
#include "commands.h"
#include "figure_source.h"
#include "json_out.h"
#include "offline.h"

#include "export.h"
#include "vdata.h"
#include <saccade/trace_file.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct opts {
    struct setup_args a;
    const char *again, *out, *screen, *size, *window, *layers, *heads, *steps, *range, *metric, *theme,
        *against;
    int view, layer, head, row, step, scale, pool, sinks, overlay, diff, map, cells, lane, ms;
    int theme_no, screen_no; /* chosen by number, -1 not at all */
    double pixels, width, fold;
    int exit_code; /* of a screen made again */
    bool group, sparse, all_heads, force, json, no_caption, animate, dark, exact;
};

static const char *const screens[] = { "run", "heads", "map", "compare", "text", "pages", "tasks", NULL };
static const char *const themes[] = { "light", "dark", NULL };

/* "A-B" or "A"; hi becomes exclusive. */
static bool range_of(const char *text, int *lo, int *hi)
{
    char *end;
    long a = strtol(text, &end, 10), b = a;
    if (end == text || a < 0) return false;
    if (*end == '-') {
        const char *from = end + 1;
        b = strtol(from, &end, 10);
        if (end == from) return false;
    }
    if (*end || b < a || b > 1 << 30) return false;
    *lo = (int)a;
    *hi = (int)b + 1;
    return true;
}

static bool window_of(const char *text, struct ui_window *w)
{
    char first[64];
    const char *sep = strpbrk(text, ",x");
    if (!sep || sep - text >= (long)sizeof first) return false;
    memcpy(first, text, (size_t)(sep - text));
    first[sep - text] = 0;
    return range_of(first, &w->q0, &w->q1) && range_of(sep + 1, &w->k0, &w->k1);
}

/* ---- the shot ---- */

static enum sac_code parse_metric(const char *name, struct ui_shot *s, struct sac_err *err)
{
    const char *names[UI_N_METRICS];
    if (!name) return SAC_OK;
    for (int i = 0; i < UI_N_METRICS; i++) names[i] = ui_metric_info[i].name;
    s->at.metric = ui_metric_find(name);
    if (s->at.metric >= 0) return SAC_OK;
    const char *near = sac_nearest(name, names, UI_N_METRICS);
    return sac_fail(err, SAC_EARG, "no measure is called %s%s%s%s", name, near ? "; did you mean " : "",
                    near ? near : "", near ? "?" : "");
}

/* Ranges given as text; said before the run starts. */
static enum sac_code parse_ranges(const struct opts *o, struct ui_shot *s, struct sac_err *err)
{
    struct ui_window w = { 0, 0, 0, 0 };
    if (o->window && !window_of(o->window, &w))
        return sac_fail(err, SAC_EARG, "--window %s: give queries and keys, such as 900-1000,0-400",
                        o->window);
    s->at.win[UI_SCREEN_MAP] = s->at.win[UI_SCREEN_COMPARE] = w;
    if (o->layers && !range_of(o->layers, &s->layer_lo, &s->layer_hi))
        return sac_fail(err, SAC_EARG, "--layers %s: give a layer or a range, such as 0-9", o->layers);
    if (o->heads && !range_of(o->heads, &s->head_lo, &s->head_hi))
        return sac_fail(err, SAC_EARG, "--heads %s: give a head or a range, such as 0-7", o->heads);
    if (o->range && strcmp(o->range, "auto") && strcmp(o->range, "fixed"))
        return sac_fail(err, SAC_EARG, "--range %s: auto or fixed", o->range);
    return parse_metric(o->metric, s, err);
}

/* The first method; for pages and timelines the first that acts on the answer. */
static int first_lane(const struct sac_trace *t, enum ui_shot_view view)
{
    struct sac_lane l;
    int n = sac_trace_n_lanes(t);
    for (int i = 1; i < n && (view == UI_SHOT_PAGES || view == UI_SHOT_TIMELINE); i++) {
        sac_trace_lane(t, i, &l);
        if (l.decode.read < 0.999 || l.decode.pattern < 0.999) return i;
    }
    return n > 1 ? 1 : 0;
}

/* Layer, head, row and step. */
static enum sac_code set_place(const struct opts *o, const struct sac_trace *t, int lane, struct ui_shot *s,
                               struct sac_err *err)
{
    struct sac_trace_info i;
    struct sac_lane l;
    sac_trace_info(t, &i);
    sac_trace_lane(t, lane, &l);
    int last_step = l.n_steps > 1 ? l.n_steps - 1 : 0, last_row = i.n_prompt - 1 + last_step;
    if (o->row > last_row)
        return sac_fail(err, SAC_EARG, "--row %d: this lane has rows 0 to %d", o->row, last_row);
    if (o->step > last_step)
        return sac_fail(err, SAC_EARG, "--step %d: this lane has steps 0 to %d", o->step, last_step);
    s->at.layer = o->layer;
    s->at.head = o->head;
    if (o->row >= 0) s->at.row = s->at.key = o->row;
    s->at.step = o->step;
    if (o->step < 0) /* step 0 is the last row of the prompt: most methods read all of it there */
        s->at.step = l.n_steps > 1 ? 1 : 0;
    return SAC_OK;
}

/* How values become colours, and the size of the figure. */
static void set_look(const struct opts *o, struct ui_shot *s)
{
    s->at.group = o->group;
    s->at.scale = (enum ui_scale)o->scale;
    s->at.pool = (enum sac_pooling)o->pool;
    s->at.sinks = (enum sac_sinks)o->sinks;
    if (o->overlay >= 0) s->at.overlay = (enum ui_overlay)o->overlay;
    s->at.diff = (enum ui_diff)o->diff;
    s->at.sparse = o->sparse;
    s->at.range = o->range && !strcmp(o->range, "auto") ? UI_RANGE_AUTO : UI_RANGE_FIXED;
    s->at.thumbs = o->all_heads;
    s->at.fold = o->fold;
    s->map = (enum ui_map)o->map;
    s->dark = o->dark;
    s->no_caption = o->no_caption;
    s->px_scale = o->pixels;
    s->width = o->width;
    s->cells = o->cells;
}

static enum sac_code make_shot(const struct opts *o, const struct sac_trace *t, struct ui_shot *s,
                               struct sac_err *err)
{
    int n = sac_trace_n_lanes(t), a = o->lane >= 0 ? o->lane : first_lane(t, (enum ui_shot_view)o->view);
    if (a >= n) return sac_fail(err, SAC_EARG, "--lane %d: this run has lanes 0 to %d", a, n - 1);
    ui_shot_default(s, t, (enum ui_shot_view)o->view, a);
    if (o->view == UI_SHOT_COMPARE) {
        if (n < 2)
            return sac_fail(err, SAC_EARG,
                            "compare shows a method against dense attention: name one with --method");
        s->at.b = o->lane < 0 && n > 2 ? 2 : 0;
    }
    enum sac_code rc = parse_ranges(o, s, err);
    if (!rc) rc = set_place(o, t, a, s, err);
    if (!rc) set_look(o, s);
    return rc;
}

/* Figures name files without their folders. A model's folder may end in '/'. */
static const char *base_name(const char *path)
{
    if (!path) return "";
    const char *slash = strrchr(path, '/');
    while (slash && !slash[1] && slash > path) {
        const char *before = slash - 1;
        while (before > path && *before != '/') before--;
        slash = *before == '/' ? before : NULL;
    }
    return slash ? slash + 1 : path;
}

static void note_run(const struct setup_args *a, struct ui_shot *s)
{
    snprintf(s->model_file, sizeof s->model_file, "%.95s", base_name(a->model));
    snprintf(s->task_file, sizeof s->task_file, "%.95s", base_name(a->file));
    s->no_special = a->no_special && a->raw;
    s->kv = a->kv;
    s->style = a->style;
    s->strict = a->strict;
    s->temperature = a->temperature;
    s->top_p = a->top_p;
}

/* ---- output ---- */

struct result { json_t *files; int n; };

static void report(struct result *r, const struct opts *o, const char *path)
{
    if (strcmp(path, "-") && !o->json) printf("%s\n", path);
    json_array_append_new(r->files, json_string(path));
    r->n++;
}

static bool ends(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n > k && !strcmp(s + n - k, end);
}

static enum sac_code write_one(const struct opts *o, struct sac_trace *t, const struct ui_shot *s,
                               const char *path, struct result *r, struct sac_err *err)
{
    char written[4096];
    enum sac_code rc;
    if (path && ends(path, ".safetensors")) {
        rc = sac_trace_export_layer(t, s->at.a, s->at.layer, path, o->force, err);
        if (!rc) report(r, o, path);
        return rc;
    }
    if (path && ui_is_data_path(path)) {
        rc = ui_export_data(t, s, path, o->force, &cli_stop, err);
        if (!rc) report(r, o, path);
        return rc;
    }
    rc = ui_export_figure(t, s, path, o->force, written, sizeof written, &cli_stop, err);
    if (!rc) report(r, o, written);
    return rc;
}

/* One file for each layer and head of the ranges: FIG-L0H0.png ... */
static enum sac_code write_batch(const struct opts *o, struct sac_trace *t, const struct ui_shot *shot,
                                 struct result *r, struct sac_err *err)
{
    struct sac_trace_info i;
    sac_trace_info(t, &i);
    struct ui_shot s = *shot;
    int l0 = s.layer_hi ? s.layer_lo : o->layer, l1 = s.layer_hi ? s.layer_hi : o->layer + 1;
    int h0 = s.head_hi ? s.head_lo : o->head, h1 = s.head_hi ? s.head_hi : o->head + 1;
    if (l1 > i.shape.n_layers || h1 > i.shape.n_heads)
        return sac_fail(err, SAC_EARG, "the model has layers 0 to %d and heads 0 to %d", i.shape.n_layers - 1,
                        i.shape.n_heads - 1);
    s.layer_lo = s.layer_hi = s.head_lo = s.head_hi = 0;
    const char *path = o->out ? o->out : "saccade.png", *dot = strrchr(path, '.');
    for (int k = 0; k < (l1 - l0) * (h1 - h0); k++) {
        char name[4096];
        s.at.layer = l0 + k / (h1 - h0);
        s.at.head = h0 + k % (h1 - h0);
        snprintf(name, sizeof name, "%.*s-L%dH%d%s", dot ? (int)(dot - path) : (int)strlen(path), path,
                 s.at.layer, s.at.head, dot ? dot : ".png");
        enum sac_code rc = atomic_load(&cli_stop) ? sac_fail(err, SAC_ECANCEL, "stopped after %d files", k)
                                                  : write_one(o, t, &s, name, r, err);
        if (rc) return rc;
    }
    return SAC_OK;
}

static enum sac_code write_steps(const struct opts *o, struct sac_trace *t, const struct ui_shot *s,
                                 struct result *r, struct sac_err *err)
{
    int lo, hi;
    if (!range_of(o->steps, &lo, &hi))
        return sac_fail(err, SAC_EARG, "--steps %s: give a range, such as 0-63", o->steps);
    if (s->view != UI_SHOT_PAGES && s->view != UI_SHOT_TEXT)
        return sac_fail(err, SAC_EARG, "--steps shows decode steps of the views pages and text; this is %s",
                        ui_shot_name[s->view]);
    const char *path = o->out ? o->out : "saccade-steps.png";
    enum sac_code rc = ui_export_steps(t, s, lo, hi - 1, path, o->animate, o->ms, o->force, &cli_stop, err);
    if (!rc) report(r, o, path);
    return rc;
}

static enum sac_code write_all(const struct opts *o, struct sac_trace *t, const struct ui_shot *s,
                               struct result *r, struct sac_err *err)
{
    if (o->steps) return write_steps(o, t, s, r, err);
    if ((o->layers || o->heads) && s->view != UI_SHOT_HEADS) return write_batch(o, t, s, r, err);
    return write_one(o, t, s, o->out, r, err);
}

/* ---- --again ---- */

/* The prompt of a recipe in a file of its own for the time of the set-up: it may begin with '@' or be "-". */
static enum sac_code prompt_file(const char *text, char *arg, size_t cap, struct sac_err *err)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(arg, cap, "@%s/saccade-prompt-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    int fd = mkstemp(arg + 1);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool ok = f && fwrite(text, 1, strlen(text), f) == strlen(text);
    if (f && fclose(f)) ok = false;
    return ok ? SAC_OK : sac_fail(err, SAC_EIO, "%s: cannot be written: %s", arg + 1, strerror(errno));
}

static enum sac_code from_recipe(struct opts *o, const struct ui_recipe *r, char *prompt, size_t cap,
                                 struct sac_err *err)
{
    struct setup_args *a = &o->a;
    a->max_tokens = r->max_tokens > 0 ? r->max_tokens : a->max_tokens;
    if (!a->threads) a->threads = r->threads;
    a->kv = r->shot.kv;
    a->strict = r->shot.strict;
    a->style = r->shot.style;
    a->temperature = r->shot.temperature;
    if (r->shot.temperature > 0) a->top_p = r->shot.top_p;
    a->methods.n = 0;
    for (int i = 0; i < r->n_methods; i++) a->methods.v[a->methods.n++] = r->method[i];
    a->seed = r->seed;
    if (*r->task) {
        if (!a->file && *r->shot.task_file && access(r->shot.task_file, R_OK))
            return sac_fail(err, SAC_EIO,
                            "the figure's task was made from %s, which is not here: give it with --file",
                            r->shot.task_file);
        if (!a->file && *r->shot.task_file) a->file = r->shot.task_file;
        a->task = r->task;
        a->length = r->length;
        a->sample = r->sample;
        return SAC_OK;
    }
    if (!r->prompt)
        return sac_fail(err, SAC_EFORMAT, "%s: neither a task nor a prompt is in the recipe", o->again);
    a->raw = true;
    a->no_special = r->shot.no_special;
    a->prompt = prompt;
    return prompt_file(r->prompt, prompt, cap, err);
}

/* The model a recipe names: as given, beside the figure or here by its file name, or the bundled one. */
static bool recipe_model(const struct ui_recipe *r, struct setup_args *a)
{
    if (a->model || !*r->shot.model_file) return true;
    if (access(r->shot.model_file, R_OK) == 0) {
        a->model = r->shot.model_file;
        return true;
    }
    return false;
}

static void compare_hashes(const struct ui_recipe *r, const struct sac_trace *t)
{
    struct sac_trace_info i;
    sac_trace_info(t, &i);
    if (i.model_hash != r->model_hash)
        fprintf(
            stderr,
            "saccade snapshot: another model than the figure's: %s (%016llx), the figure was made with %s "
            "(%016llx)\n",
            i.model, (unsigned long long)i.model_hash, r->model, (unsigned long long)r->model_hash);
    else if (i.prompt_hash != r->prompt_hash)
        fprintf(
            stderr,
            "saccade snapshot: the prompt differs from the figure's (%016llx, not %016llx): the task's texts "
            "have changed\n",
            (unsigned long long)i.prompt_hash, (unsigned long long)r->prompt_hash);
}

/* The lane of a recording that runs the recipe's lane; -1: none does. Dense is lane 0 of a recipe. */
static int lane_like(const struct sac_trace *t, const struct ui_recipe *r, int lane)
{
    struct sac_lane l;
    if (lane < 0 || lane > r->n_methods) return -1;
    for (int i = 0; i < sac_trace_n_lanes(t); i++) {
        sac_trace_lane(t, i, &l);
        if (!l.intervention && !strcmp(lane ? l.spec : l.method, lane ? r->method[lane - 1] : "dense"))
            return i;
    }
    return -1;
}

/* From a recording instead of a model: the same picture as far as the recording's precision goes. */
static enum sac_code again_from_trace(const struct opts *o, const char *path, struct ui_recipe *r,
                                      struct result *out, struct sac_err *err)
{
    struct sac_trace *t;
    enum sac_code rc = sac_trace_open(&t, path, err);
    if (rc) return rc;
    int a = lane_like(t, r, r->shot.at.a), b = lane_like(t, r, r->shot.at.b);
    compare_hashes(r, t);
    bool both = r->shot.view == UI_SHOT_COMPARE;
    int gone = a < 0 ? r->shot.at.a : both && b < 0 ? r->shot.at.b : -1;
    if (gone >= 0)
        rc = sac_fail(err, SAC_EARG, "%s: holds no lane of %s, which the figure shows", path,
                      gone == 0 || gone > r->n_methods ? "dense" : r->method[gone - 1]);
    r->shot.at.a = a < 0 ? 0 : a;
    r->shot.at.b = b < 0 ? 0 : b;
    if (!rc) rc = write_one(o, t, &r->shot, o->out, out, err);
    sac_trace_release(t);
    return rc;
}

/* A whole screen: its session runs again. What it said by itself is on stderr already: the code is all that
 * is left to say. */
static enum sac_code again_screen(struct opts *o, const struct ui_recipe *r, struct result *out,
                                  struct sac_err *err)
{
    char name[240];
    enum figure_format f;
    struct stage s = { .dump = o->out, .force = o->force, .headless = true };
    if (*r->unfinished)
        return sac_fail(err, SAC_ENOTSUP,
                        "%s: cannot be made again: %s. saccade open shows its run when it is done", o->again,
                        r->unfinished);
    if (*r->recording && o->a.model && !sac_trace_is_file(o->a.model)) { /* no run of it would be the same */
        fprintf(stderr,
                "saccade snapshot: the screen differs from the figure: it shows the recording %s, and %s is a "
                "model; give the recording\n",
                r->recording, o->a.model);
        o->exit_code = 5;
        return SAC_OK;
    }
    if (o->out && strcmp(o->out, "-") && !figure_format_of(o->out, &f))
        return sac_fail(err, SAC_EARG, "%s: a picture of a screen ends in .png, .svg or .pdf", o->out);
    if (!o->out) figure_free_name("saccade-screen", ".png", name, sizeof name), s.dump = name;
    o->exit_code = figure_screen("snapshot", r, o->a.model, &s);
    if (o->exit_code == 0 || o->exit_code == 5) report(out, o, s.dump);
    return SAC_OK;
}

static enum sac_code run_again(struct opts *o, struct result *out, struct sac_err *err)
{
    struct ui_recipe r;
    struct offline run;
    char prompt[4096] = "";
    enum sac_code rc = ui_recipe_read(&r, o->again, err);
    if (rc) return rc;
    if (r.screen) {
        rc = again_screen(o, &r, out, err);
        ui_recipe_free(&r);
        return rc;
    }
    if (o->a.model && sac_trace_is_file(o->a.model)) {
        rc = again_from_trace(o, o->a.model, &r, out, err);
        ui_recipe_free(&r);
        return rc;
    }
    if (!recipe_model(&r, &o->a))
        rc = sac_fail(err, SAC_EIO,
                      "the figure was made with %s (%016llx), which is not here: give it as MODEL",
                      r.shot.model_file, (unsigned long long)r.model_hash);
    if (!rc) rc = from_recipe(o, &r, prompt, sizeof prompt, err);
    if (!rc) rc = offline_run(&run, &o->a, err);
    if (*prompt) unlink(prompt + 1);
    if (!rc) {
        compare_hashes(&r, run.trace);
        rc = write_one(o, run.trace, &r.shot, o->out, out, err);
        offline_free(&run);
    }
    ui_recipe_free(&r);
    return rc;
}

/* ---- trace or model ---- */

static enum sac_code run_trace(struct opts *o, const char *path, struct result *out, struct sac_err *err)
{
    struct sac_trace *t;
    struct ui_shot s;
    enum sac_code rc = sac_trace_open(&t, path, err);
    if (rc) return rc;
    rc = make_shot(o, t, &s, err);
    if (!rc) rc = write_all(o, t, &s, out, err);
    sac_trace_release(t);
    return rc;
}

static enum sac_code run_model(struct opts *o, struct result *out, struct sac_err *err)
{
    struct offline run;
    struct ui_shot s = { .view = UI_SHOT_MAP };
    if (o->view == UI_SHOT_COMPARE && !o->a.methods.n)
        return sac_fail(err, SAC_EARG,
                        "compare shows a method against dense attention: name one with --method");
    enum sac_code rc = parse_ranges(o, &s, err);
    if (rc) return rc;
    o->a.no_kl = true;
    rc = offline_run(&run, &o->a, err);
    if (rc) return rc;
    rc = make_shot(o, run.trace, &s, err);
    if (!rc) {
        note_run(&o->a, &s);
        rc = write_all(o, run.trace, &s, out, err);
    }
    offline_free(&run);
    return rc;
}

/* ---- --screen ---- */

/* The commands that lead to what the options name; the explorer's own first look where they name nothing. */
static char *screen_script(const struct opts *o)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    bool map = !strcmp(o->screen, "map") || !strcmp(o->screen, "compare");
    if (!f) return NULL;
    fprintf(f, "screen %s\n", o->screen);
    if (o->lane >= 0) fprintf(f, "method %d\n", o->lane);
    if (o->layer >= 0) fprintf(f, "layer %d\n", o->layer);
    if (o->head >= 0) fprintf(f, "head %d\n", o->head);
    if (o->group) fputs("group +0\n", f);
    if (o->step >= 0) fprintf(f, "step %d\n", o->step);
    if (o->row >= 0) fprintf(f, "row %d\n", o->row);
    if (map) {
        fprintf(f, "scale %s\npool %s\nsinks %s\nrange %s\n", ui_scale_name[o->scale], ui_pool_name[o->pool],
                ui_sinks_arg[o->sinks], o->range ? o->range : "fixed");
        if (o->overlay >= 0) fprintf(f, "overlay %s\n", ui_overlay_name[o->overlay]);
        if (o->sparse) fputs("weights sparse\n", f);
    }
    if (!strcmp(o->screen, "compare") && o->diff)
        fprintf(f, "diff %s\n", o->diff == UI_DIFF_ABS ? "absolute" : "signed");
    if (o->map) fprintf(f, "colormap %s\n", ui_map_name[o->map]);
    return fclose(f) ? free(text), NULL : text;
}

static enum sac_code write_screen(struct opts *o, const char *source, struct result *out, struct sac_err *err)
{
    struct ui_app_opts ao = { .pace = 0 };
    struct stage s = {
        .dump = o->out, .size = o->size, .force = o->force, .headless = true, .theme = o->theme
    };
    char path[1024], name[240], *prompt = NULL, *script = screen_script(o);
    size_t n;
    enum figure_format f;
    if (o->out && strcmp(o->out, "-") && !figure_format_of(o->out, &f))
        sac_fail(err, SAC_EARG, "%s: a picture of a screen ends in .png, .svg or .pdf", o->out);
    else if (!script)
        sac_fail(err, SAC_ENOMEM, "out of memory");
    else if (o->a.prompt && o->a.task)
        sac_fail(err, SAC_EARG, "--prompt and --task exclude each other");
    else if (cli_model(source, path, sizeof path, err) &&
             (!o->a.prompt || (prompt = cli_text(o->a.prompt, &n, err)))) {
        if (!o->a.prompt && !o->a.methods.n) setup_demo(&o->a);
        if (sac_trace_is_file(path))
            ao.trace = path;
        else
            ao.model = path;
        ao.task = prompt ? NULL : o->a.task ? o->a.task : "niah";
        stage_setup(&ao, &o->a, prompt);
        ao.script = script;
        if (!o->out) figure_free_name("saccade-screen", ".png", name, sizeof name), s.dump = name;
        o->exit_code = stage_run("snapshot", &s, &ao);
        if (!o->exit_code) report(out, o, s.dump);
    }
    free(prompt);
    free(script);
    return err->code;
}

static bool known_ending(const char *path)
{
    enum figure_format f;
    return !path || !strcmp(path, "-") || figure_format_of(path, &f) || ui_is_data_path(path) ||
           ends(path, ".safetensors");
}

static int snapshot(struct opts *o, const char *source)
{
    struct sac_err err = { SAC_OK, "" };
    struct result r = { json_array(), 0 };
    enum sac_code rc = SAC_OK;
    bool many = (o->layers || o->heads || (o->steps && !o->animate)) && o->view != UI_SHOT_HEADS;
    cli_catch_signals();
    if (!known_ending(o->out))
        rc = sac_fail(&err, SAC_EARG,
                      "%s: the name must end in .png, .svg, .pdf (figures), .csv, .json, .npy (numbers) or "
                      ".safetensors (q, k, v of the layer)",
                      o->out);
    else if (!many && !offline_target(o->out, o->force, &err)) rc = err.code;
    else if (setup_methods(&o->a, &err)) rc = err.code;
    else if (!o->again && source && sac_trace_is_file(source) && setup_recorded(&o->a, source, &err)) rc = err.code;
    else if (o->again) {
        o->a.model = source;
        rc = run_again(o, &r, &err);
    } else if (o->screen)
        rc = write_screen(o, source, &r, &err);
    else if (source && sac_trace_is_file(source))
        rc = run_trace(o, source, &r, &err);
    else {
        o->a.model = source;
        rc = run_model(o, &r, &err);
    }
    if (!rc && o->json)
        json_print(stdout, json_pack("{s:s, s:O}", "schema", "saccade.snapshot/1", "files", r.files), true);
    json_decref(r.files);
    return rc ? cli_signal_exit(cli_fail("snapshot", &err)) : o->exit_code;
}

/* Options that say nothing to what is drawn: 0, or the exit code of the mistake. */
static int check_options(const struct arg_spec *spec, const struct opts *o)
{
    if (o->screen && (o->steps || o->layers || o->heads || o->all_heads || o->window || o->metric))
        return args_fail(spec,
                         "--steps, --layers, --heads, --all-heads, --window and --metric belong to a --view");
    bool heads = o->view == UI_SHOT_HEADS,
         rows = o->view == UI_SHOT_MAP || o->view == UI_SHOT_COMPARE || o->view == UI_SHOT_RECALL;
    if (o->animate && !o->steps) return args_fail(spec, "--animate needs --steps: which steps are the frames");
    if (!o->screen && !o->again && (o->metric || o->all_heads) && !heads)
        return args_fail(spec, "%s belongs to --view heads", o->metric ? "--metric" : "--all-heads");
    if (!o->screen && !o->again && o->diff && o->view != UI_SHOT_COMPARE)
        return args_fail(spec, "--diff belongs to --view compare");
    if (!o->screen && !o->again && o->window && !rows)
        return args_fail(spec, "--window belongs to the views map, compare and recall");
    if (o->size && !o->screen) return args_fail(spec, "--size belongs to --screen; figures have --width");
    return 0;
}

/* What was parsed is checked and done. */
static int carry_out(const struct arg_spec *spec, struct opts *o, const char *source)
{
    o->dark = o->theme_no == 1;
    o->theme = o->theme_no >= 0 ? themes[o->theme_no] : NULL;
    o->screen = o->screen_no >= 0 ? screens[o->screen_no] : NULL;
    int rc = check_options(spec, o);
    if (rc != 0) return rc;
    if (!o->screen) {
        if (o->layer < 0) o->layer = 0;
        if (o->head < 0) o->head = 0;
    }
    return snapshot(o, source);
}

/* ---- the command line ---- */

static struct opts asked = { .a = SETUP_DEFAULTS, .row = -1, .lane = -1, .overlay = -1, .fold = 1, .ms = 400,
                             .layer = -1, .head = -1, .step = -1, .theme_no = -1, .screen_no = -1 };
static struct arg_strs source;

/* Lists of names as an option wants them: ended by NULL. */
enum { MOST_NAMES = 12 };
static const char *scales[MOST_NAMES], *pools[MOST_NAMES], *maps[MOST_NAMES];

static void list_names(void)
{
    memcpy(scales, ui_scale_name, UI_N_SCALES * sizeof *scales);
    memcpy(pools, ui_pool_name, SAC_N_POOLS * sizeof *pools);
    memcpy(maps, ui_map_name, UI_N_MAPS * sizeof *maps);
}

static const struct arg_opt options[] = {
    { "What to show", .kind = ARG_HEADING },
    { "view", 0, "VIEW", "map, heads, compare, text, pages, recall or timeline (default map)", ARG_CHOICE,
      .to = &asked.view, .choices = ui_shot_name },
    { "screen", 0, "NAME",
      "the whole screen instead of a view: run, heads, map, compare, text, pages or tasks", ARG_CHOICE,
      .to = &asked.screen_no, .choices = screens },
    { "layer", 'l', "L", "layer (default 0)", ARG_INT, &asked.layer, .min = 0, .max = 4096 },
    { "head", 0, "H", "query head (default 0)", ARG_INT, &asked.head, .min = 0, .max = 4096 },
    { "group", 0, NULL, "the mean over the query heads that share the head's keys", ARG_FLAG,
      .to = &asked.group },
    { "lane", 0, "N", "which method's lane, 0 is dense (default: the first method)", ARG_INT, &asked.lane,
      .min = 0, .max = 63 },
    { "row", 0, "N", "text: the query's position (default: the row that starts the answer)", ARG_INT,
      &asked.row, .min = 0, .max = 1 << 30 },
    { "step", 0, "N", "pages: the decode step (default 1, the first after the prompt)", ARG_INT, &asked.step,
      .min = 0, .max = 1 << 30 },
    { "window", 0, "Q-Q,K-K", "part of a map: queries and keys, such as 900-1000,0-400", ARG_STR,
      .to = &asked.window },
    { "metric", 0, "NAME", "heads: the measure shown", ARG_STR, .to = &asked.metric },
    { "all-heads", 0, NULL, "heads: a thumbnail of every head", ARG_FLAG, .to = &asked.all_heads },
    { "layers", 0, "A-B", "heads: part of the grid; other views: a file for each layer", ARG_STR,
      .to = &asked.layers },
    { "heads", 0, "A-B", "likewise for heads", ARG_STR, .to = &asked.heads },
    { "steps", 0, "A-B", "pages, text: a file for each decode step", ARG_STR, .to = &asked.steps },
    { "animate", 0, NULL, "with --steps: one animated PNG", ARG_FLAG, .to = &asked.animate },
    { "delay", 0, "MS", "milliseconds a frame (default 400)", ARG_INT, &asked.ms, .min = 10, .max = 60000 },
    { "How values become colours", .kind = ARG_HEADING },
    { "scale", 0, "NAME", "log, lift, root, linear or rank (default log)", ARG_CHOICE, .to = &asked.scale,
      .choices = scales },
    { "range", 0, "KIND", "fixed, or auto: the 99.5th percentile of what is shown", ARG_STR,
      .to = &asked.range },
    { "pool", 0, "NAME", "how tokens of a cell join: max, mass or mean (default max)", ARG_CHOICE,
      .to = &asked.pool, .choices = pools },
    { "sinks", 0, "NAME", "the first four tokens: show, hide or renormalise", ARG_CHOICE, .to = &asked.sinks,
      .choices = ui_sinks_arg },
    { "overlay", 0, "NAME", "none, mask, blocks, lists or misses (default misses for a method)",
      ARG_CHOICE, .to = &asked.overlay, .choices = ui_overlay_name },
    { "sparse", 0, NULL, "the method's own weights instead of the dense ones", ARG_FLAG,
      .to = &asked.sparse },
    { "diff", 0, "NAME", "compare: a third pane with the difference: off, signed or abs", ARG_CHOICE,
      .to = &asked.diff, .choices = ui_diff_name },
    { "fold", 0, "X", "text: leave out stretches below X times the uniform weight (default 1, 0 nothing)",
      ARG_DOUBLE, &asked.fold, .min = 0, .max = 1e6 },
    { "colormap", 0, "NAME", "viridis, magma, inferno, cividis or grey", ARG_CHOICE, .to = &asked.map,
      .choices = maps },
    { "theme", 0, "NAME", "light or dark (default light; of a screen dark)", ARG_CHOICE, .to = &asked.theme_no,
      .choices = themes },
    { "Size", .kind = ARG_HEADING },
    { "size", 0, "WxH", "--screen: columns and lines (default 120x40)", ARG_STR, .to = &asked.size },
    { "pixels", 0, "X", "pixels for each unit of length (default 2)", ARG_DOUBLE, &asked.pixels, .min = 0.25,
      .max = 16 },
    { "width", 0, "N", "width in units", ARG_DOUBLE, &asked.width, .min = 120, .max = 16000 },
    { "cells", 0, "N", "matrix cells across a map at most (default 256)", ARG_INT, &asked.cells, .min = 8,
      .max = 4096 },
    { "no-caption", 0, NULL, "no caption", ARG_FLAG, .to = &asked.no_caption },
    { "What to run", .kind = ARG_HEADING },
    SETUP_PROMPT_OPTS(asked.a),
    SETUP_RUN_OPTS(asked.a),
    { "What comes out", .kind = ARG_HEADING },
    { "output", 'o', "FILE",
      ".png .svg .pdf; .csv .json .npy: the numbers shown; .safetensors: q, k, v of the layer "
      "(default: a numbered PNG here)",
      ARG_STR, .to = &asked.out },
    { "again", 0, "FIG", "draw a figure again from the recipe inside it", ARG_STR, .to = &asked.again },
    { "force", 0, NULL, "replace an existing file", ARG_FLAG, .to = &asked.force },
    { "json", 0, NULL, "print the files written as JSON", ARG_FLAG, .to = &asked.json },
    { 0 },
};
static const struct arg_spec spec = {
    "snapshot",
    "snapshot [OPTIONS] [MODEL | TRACE]",
    "Draws a view as PNG, SVG or PDF, with everything needed to draw it again inside, or writes the "
    "numbers it shows. "
    "Without MODEL the bundled one; a recorded TRACE needs no model.",
    { "saccade snapshot --task niah --length 1024 --method quest --view map --layer 4 --head 3 -o "
      "fig.png",
      "saccade snapshot run.trace --view compare --layer 4 --head 3 --diff signed --theme dark -o "
      "compare.svg",
      "saccade snapshot --again fig.png -o fig2.png" },
    .opts = options,
    .operands = &source,
    .max_operands = 1,
};

int cmd_snapshot(int argc, char **argv)
{
    list_names();
    int rc = args_parse(&spec, argc, argv);
    return rc == ARGS_GO ? carry_out(&spec, &asked, source.n ? source.v[0] : NULL) : rc;
}
