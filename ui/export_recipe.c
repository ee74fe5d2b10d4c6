/* Recipes: everything needed to make a figure again, as JSON inside it and as a command line.
 *
 * The JSON names model and prompt by hash, the task or the prompt, the methods the picture needs (and only
 * those, so a figure taken in a run of many lanes is made again from two), and the view with its scale,
 * range, pooling, window and theme. No paths, no user names, no time. Reading is strict about types and
 * lenient about what is missing: an older figure opens with today's defaults. */
#include "export_int.h"
#include "figure_vector.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const ui_overlay_name[UI_N_OVERLAYS + 1] = { "none", "mask", "blocks", "lists", "misses", NULL };
const char *const ui_diff_name[UI_N_DIFFS + 1] = { "off", "signed", "abs", NULL };
static const char *const shade_name[UI_N_SHADES] = { "a", "b", "diff", "none" };
/* As the option --sinks and the command sinks have them. */
const char *const ui_sinks_arg[4] = { "show", "hide", "renormalise", NULL };
const char *const ui_kv_arg[] = { "f32", "f16", "bf16" };
const char *const ui_style_arg[] = { "auto", "compact", "paper" };

static int find(const char *s, const char *const *names, int n, int otherwise)
{
    for (int i = 0; s && i < n; i++)
        if (!strcmp(s, names[i])) return i;
    return otherwise;
}

/* The lanes a figure needs, in the numbering of a run that has only them: dense is 0. */
struct lanes { int n; int index[2]; int a, b; };

static bool is_dense(const struct sac_trace *t, int lane)
{
    struct sac_lane l;
    sac_trace_lane(t, lane, &l);
    return lane == 0 && !strcmp(l.method, "dense");
}

static struct lanes lanes_of(const struct sac_trace *t, const struct ui_shot *s)
{
    struct lanes l = { 0, { 0, 0 }, 0, 0 };
    bool both = s->view == UI_SHOT_COMPARE;
    if (s->view == UI_SHOT_RECALL) {                       /* all of them, see methods_json */
        struct sac_lane lane;
        for (int i = 1; i <= s->at.a; i++) {
            sac_trace_lane(t, i, &lane);
            l.a += !lane.intervention;
        }
        return l;
    }
    if (!is_dense(t, s->at.a)) {
        l.index[l.n++] = s->at.a;
        l.a = l.n;
    }
    if (both && !is_dense(t, s->at.b)) {
        if (s->at.b == s->at.a) l.b = l.a;
        else {
            l.index[l.n++] = s->at.b;
            l.b = l.n;
        }
    }
    return l;
}

/* The curves of all lanes belong to the recall view. */
static json_t *methods_json(const struct sac_trace *t, const struct ui_shot *s, const struct lanes *l)
{
    json_t *a = json_array();
    struct sac_lane lane;
    for (int i = 1; s->view == UI_SHOT_RECALL && i < sac_trace_n_lanes(t); i++) {
        sac_trace_lane(t, i, &lane);
        if (!lane.intervention) json_array_append_new(a, json_string(lane.spec));
    }
    for (int i = 0; s->view != UI_SHOT_RECALL && i < l->n; i++) {
        sac_trace_lane(t, l->index[i], &lane);
        json_array_append_new(a, json_string(lane.spec));
    }
    return a;
}

static json_t *hash_json(uint64_t h)
{
    char s[20];
    snprintf(s, sizeof s, "%016llx", (unsigned long long)h);
    return json_string(s);
}

static struct ui_window window_of(const struct ui_shot *s)
{
    return s->at.win[s->view == UI_SHOT_COMPARE ? UI_SCREEN_COMPARE : UI_SCREEN_MAP];
}

static json_t *view_json(const struct ui_shot *s, const struct lanes *l)
{
    const struct ui_where *at = &s->at;
    struct ui_window w = window_of(s);
    struct ui_heat h = ui_heat_default(at->scale);
    json_t *v = json_object();
    json_object_set_new(v, "name", json_string(ui_shot_name[s->view]));
    json_object_set_new(v, "lane", json_integer(l->a));
    if (s->view == UI_SHOT_COMPARE) json_object_set_new(v, "against", json_integer(l->b));
    json_object_set_new(v, "layer", json_integer(at->layer));
    json_object_set_new(v, "head", json_integer(at->head));
    if (at->group) json_object_set_new(v, "group", json_true());
    json_object_set_new(v, "row", json_integer(at->row));
    json_object_set_new(v, "step", json_integer(at->step));
    if (w.q1) json_object_set_new(v, "window", json_pack("[i,i,i,i]", w.q0, w.q1, w.k0, w.k1));
    json_object_set_new(v, "scale", json_string(ui_scale_name[at->scale]));
    json_object_set_new(v, "range",
                        at->range == UI_RANGE_AUTO ? json_string("auto") : json_pack("[f,f]", h.lo, h.hi));
    json_object_set_new(v, "pooling", json_string(ui_pool_name[at->pool]));
    json_object_set_new(v, "sinks", json_string(ui_sinks_arg[at->sinks]));
    json_object_set_new(v, "overlay", json_string(ui_overlay_name[at->overlay]));
    if (at->sparse) json_object_set_new(v, "sparse", json_true());
    if (s->view == UI_SHOT_HEADS && !at->thumbs)
        json_object_set_new(v, "metric", json_string(ui_metric_info[at->metric].name));
    if (at->thumbs) json_object_set_new(v, "thumbnails", json_true());
    if (at->diff) json_object_set_new(v, "difference", json_string(ui_diff_name[at->diff]));
    if (s->view == UI_SHOT_TEXT) {
        json_object_set_new(v, "shade", json_string(shade_name[at->shade]));
        json_object_set_new(v, "fold", json_real(at->fold));
    }
    if (s->layer_hi) json_object_set_new(v, "layers", json_pack("[i,i]", s->layer_lo, s->layer_hi - 1));
    if (s->head_hi) json_object_set_new(v, "heads", json_pack("[i,i]", s->head_lo, s->head_hi - 1));
    json_object_set_new(v, "colormap", json_string(ui_map_name[s->map]));
    json_object_set_new(v, "theme", json_string(s->dark ? "dark" : "light"));
    json_object_set_new(v, "pixels", json_real(s->px_scale > 0 ? s->px_scale : 2));
    if (s->width > 0) json_object_set_new(v, "width", json_real(s->width));
    if (s->cells > 0) json_object_set_new(v, "cells", json_integer(s->cells));
    if (s->no_caption) json_object_set_new(v, "caption", json_false());
    return v;
}

char *ui_recipe_json(const struct sac_trace *t, const struct ui_shot *s)
{
    struct sac_trace_info i;
    struct sac_lane a;
    struct lanes l = lanes_of(t, s);
    sac_trace_info(t, &i);
    sac_trace_lane(t, s->at.a, &a);
    json_t *o = json_object(), *prompt = json_object(), *run = json_object();
    json_object_set_new(o, "schema", json_string("saccade.figure/1"));
    json_object_set_new(o, "version", json_string(SACCADE_VERSION));
    json_object_set_new(o, "view", view_json(s, &l));
    json_object_set_new(o, "method", json_pack("{s:s, s:s}", "spec", a.spec, "params", a.params));
    json_object_set_new(o, "model",
                        json_pack("{s:s, s:s, s:s, s:s, s:o}", "file", s->model_file, "name", i.model, "arch",
                                  i.arch, "type", i.file_type, "hash", hash_json(i.model_hash)));
    json_object_set_new(prompt, "hash", hash_json(i.prompt_hash));
    json_object_set_new(prompt, "tokens", json_integer(i.n_prompt));
    if (*i.task) {
        json_object_set_new(prompt, "task", json_string(i.task));
        json_object_set_new(prompt, "length", json_integer(i.length));
        json_object_set_new(prompt, "sample", json_integer(i.sample));
        json_object_set_new(prompt, "style", json_string(ui_style_arg[s->style]));
        if (*s->task_file) json_object_set_new(prompt, "file", json_string(s->task_file));
    } else if (s->no_special) json_object_set_new(prompt, "no_special", json_true());
    json_object_set_new(prompt, "seed", json_integer((json_int_t)i.seed));
    json_object_set_new(o, "prompt", prompt);
    json_object_set_new(run, "methods", methods_json(t, s, &l));
    json_object_set_new(run, "max_tokens", json_integer(a.max_steps));
    json_object_set_new(run, "threads", json_integer(i.threads));
    json_object_set_new(run, "kv", json_string(ui_kv_arg[s->kv]));
    if (s->strict) json_object_set_new(run, "strict", json_true());
    if (s->temperature > 0) json_object_set_new(run, "temperature", json_real(s->temperature));
    if (s->temperature > 0) json_object_set_new(run, "top_p", json_real(s->top_p));
    if (a.intervention) json_object_set_new(run, "intervention", json_true());
    json_object_set_new(o, "run", run);
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(o);
    return text;
}

/* ---- the command line ---- */

struct line { char *buf; size_t n, cap; };

static void put(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct line *l, const char *fmt, ...)
{
    va_list ap;
    if (l->n + 1 >= l->cap) return;
    va_start(ap, fmt);
    int n = vsnprintf(l->buf + l->n, l->cap - l->n, fmt, ap);
    va_end(ap);
    if (n > 0) l->n += (size_t)n < l->cap - l->n ? (size_t)n : l->cap - l->n - 1;
}

static void put_view(struct line *l, const struct ui_shot *s)
{
    const struct ui_where *at = &s->at;
    struct ui_window w = window_of(s);
    put(l, " --view %s", ui_shot_name[s->view]);
    if (s->view != UI_SHOT_HEADS && s->view != UI_SHOT_PAGES)
        put(l, " --layer %d --head %d", at->layer, at->head);
    if (at->group) put(l, " --group");
    if (s->view == UI_SHOT_TEXT) put(l, " --row %d --fold %g", at->row, at->fold);
    if (s->view == UI_SHOT_PAGES) put(l, " --step %d", at->step);
    if (w.q1) put(l, " --window %d-%d,%d-%d", w.q0, w.q1 - 1, w.k0, w.k1 - 1);
    if (at->scale != UI_SCALE_LOG) put(l, " --scale %s", ui_scale_name[at->scale]);
    if (at->range == UI_RANGE_AUTO) put(l, " --range auto");
    if (at->pool != SAC_POOL_MAX) put(l, " --pool %s", ui_pool_name[at->pool]);
    if (at->sinks != SAC_SINKS_SHOW) put(l, " --sinks %s", ui_sinks_arg[at->sinks]);
    put(l, " --overlay %s", ui_overlay_name[at->overlay]);
    if (at->sparse) put(l, " --sparse");
    if (s->view == UI_SHOT_HEADS && at->thumbs) put(l, " --all-heads");
    else if (s->view == UI_SHOT_HEADS) put(l, " --metric %s", ui_metric_info[at->metric].name);
    if (s->layer_hi) put(l, " --layers %d-%d", s->layer_lo, s->layer_hi - 1);
    if (s->head_hi) put(l, " --heads %d-%d", s->head_lo, s->head_hi - 1);
    if (at->diff) put(l, " --diff %s", ui_diff_name[at->diff]);
    if (s->map != UI_MAP_VIRIDIS) put(l, " --colormap %s", ui_map_name[s->map]);
    if (s->dark) put(l, " --theme dark");
    if (s->px_scale > 0) put(l, " --pixels %g", s->px_scale);
    if (s->width > 0) put(l, " --width %g", s->width);
    if (s->cells > 0) put(l, " --cells %d", s->cells);
    if (s->no_caption) put(l, " --no-caption");
}

void ui_recipe_command(const struct sac_trace *t, const struct ui_shot *s, char *buf, size_t cap)
{
    struct sac_trace_info i;
    struct sac_lane a;
    struct line l = { buf, 0, cap };
    sac_trace_info(t, &i);
    sac_trace_lane(t, s->at.a, &a);
    put(&l, "saccade snapshot");
    if (*s->model_file) put(&l, " %s", s->model_file);
    if (*i.task) {
        put(&l, " --task %s --length %d --sample %d --seed %llu", i.task, i.length, i.sample,
            (unsigned long long)i.seed);
        if (s->style) put(&l, " --style %s", ui_style_arg[s->style]);
        if (*s->task_file) put(&l, " --file %s", s->task_file);
    } else put(&l, " --raw --prompt @PROMPT.txt --seed %llu%s", (unsigned long long)i.seed,
               s->no_special ? " --no-special" : "");
    struct lanes used = lanes_of(t, s);
    json_t *m = methods_json(t, s, &used), *v;
    size_t k;
    json_array_foreach(m, k, v) put(&l, " --method %s", json_string_value(v));
    json_decref(m);
    if (a.max_steps > 0) put(&l, " --max-tokens %d", a.max_steps);
    if (s->kv) put(&l, " --kv %s", ui_kv_arg[s->kv]);
    if (s->strict) put(&l, " --strict");
    if (s->temperature > 0) put(&l, " --temperature %g --top-p %g", s->temperature, s->top_p);
    put_view(&l, s);
}

/* ---- reading ---- */

static const char *str_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static int int_of(const json_t *o, const char *key, int otherwise)
{
    const json_t *v = json_object_get(o, key);
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : otherwise;
    return n < -1 || n > 1 << 30 ? otherwise : (int)n;
}

static double real_of(const json_t *o, const char *key, double otherwise)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

static bool flag_of(const json_t *o, const char *key) { return json_is_true(json_object_get(o, key)); }

static bool pair_of(const json_t *o, const char *key, int *lo, int *hi)
{
    const json_t *a = json_object_get(o, key);
    if (json_array_size(a) != 2) return false;
    *lo = (int)json_integer_value(json_array_get(a, 0));
    *hi = (int)json_integer_value(json_array_get(a, 1)) + 1;
    return *lo >= 0 && *hi > *lo;
}

static bool read_view(struct ui_shot *s, const json_t *v)
{
    struct ui_where *at = &s->at;
    int view = find(str_of(v, "name"), ui_shot_name, UI_N_SHOTS, -1);
    if (view < 0) return false;
    s->view = (enum ui_shot_view)view;
    at->a = int_of(v, "lane", 0);
    at->b = int_of(v, "against", 0);
    at->layer = int_of(v, "layer", 0);
    at->head = int_of(v, "head", 0);
    at->group = flag_of(v, "group");
    at->row = at->key = int_of(v, "row", 0);
    at->step = int_of(v, "step", 0);
    const json_t *w = json_object_get(v, "window");
    if (json_array_size(w) == 4) {
        int x[4];
        for (size_t i = 0; i < 4; i++) x[i] = (int)json_integer_value(json_array_get(w, i));
        at->win[view == UI_SHOT_COMPARE ? UI_SCREEN_COMPARE : UI_SCREEN_MAP] =
            (struct ui_window){ x[0], x[1], x[2], x[3] };
    }
    at->scale = (enum ui_scale)find(str_of(v, "scale"), ui_scale_name, UI_N_SCALES, UI_SCALE_LOG);
    at->range = !strcmp(str_of(v, "range"), "auto") ? UI_RANGE_AUTO : UI_RANGE_FIXED;
    at->pool = (enum sac_pooling)find(str_of(v, "pooling"), ui_pool_name, SAC_N_POOLS, SAC_POOL_MAX);
    at->sinks = (enum sac_sinks)find(str_of(v, "sinks"), ui_sinks_arg, 3, SAC_SINKS_SHOW);
    at->overlay = (enum ui_overlay)find(str_of(v, "overlay"), ui_overlay_name, UI_N_OVERLAYS, UI_OVER_NONE);
    at->sparse = flag_of(v, "sparse");
    at->metric = ui_metric_find(str_of(v, "metric"));
    if (at->metric < 0) at->metric = UI_M_MASS;
    at->thumbs = flag_of(v, "thumbnails");
    at->diff = (enum ui_diff)find(str_of(v, "difference"), ui_diff_name, UI_N_DIFFS, UI_DIFF_OFF);
    at->shade = (enum ui_shade)find(str_of(v, "shade"), shade_name, UI_N_SHADES, UI_SHADE_A);
    at->fold = real_of(v, "fold", 1);
    at->similar_to = -1;
    at->linked = true;
    pair_of(v, "layers", &s->layer_lo, &s->layer_hi);
    pair_of(v, "heads", &s->head_lo, &s->head_hi);
    s->map = (enum ui_map)find(str_of(v, "colormap"), ui_map_name, UI_N_MAPS, UI_MAP_VIRIDIS);
    s->dark = !strcmp(str_of(v, "theme"), "dark");
    s->px_scale = real_of(v, "pixels", 2);
    if (s->px_scale >= 2 && s->px_scale <= 2) s->px_scale = 0; /* the default is not written as an option */
    s->width = real_of(v, "width", 0);
    s->cells = int_of(v, "cells", 0);
    s->no_caption = json_is_false(json_object_get(v, "caption"));
    return s->px_scale >= 0 && s->px_scale <= 64 && s->width >= 0 && s->width <= 32767 && s->cells >= 0;
}

static void read_run(struct ui_recipe *r, const json_t *o)
{
    const json_t *m = json_object_get(o, "model"), *p = json_object_get(o, "prompt"),
                 *run = json_object_get(o, "run");
    snprintf(r->model, sizeof r->model, "%s", str_of(m, "name"));
    snprintf(r->file_type, sizeof r->file_type, "%s", str_of(m, "type"));
    snprintf(r->arch, sizeof r->arch, "%s", str_of(m, "arch"));
    snprintf(r->shot.model_file, sizeof r->shot.model_file, "%s", str_of(m, "file"));
    r->model_hash = strtoull(str_of(m, "hash"), NULL, 16);
    r->prompt_hash = strtoull(str_of(p, "hash"), NULL, 16);
    r->n_prompt = int_of(p, "tokens", 0);
    snprintf(r->task, sizeof r->task, "%s", str_of(p, "task"));
    r->length = int_of(p, "length", 0);
    r->sample = int_of(p, "sample", 0);
    r->seed = (uint64_t)json_integer_value(json_object_get(p, "seed"));
    snprintf(r->shot.task_file, sizeof r->shot.task_file, "%s", str_of(p, "file"));
    r->shot.no_special = flag_of(p, "no_special");
    r->shot.style = find(str_of(p, "style"), ui_style_arg, 3, 0);
    r->threads = int_of(run, "threads", 0);
    r->max_tokens = int_of(run, "max_tokens", 0);
    r->shot.kv = find(str_of(run, "kv"), ui_kv_arg, 3, 0);
    r->shot.strict = flag_of(run, "strict");
    r->shot.temperature = real_of(run, "temperature", 0);
    r->shot.top_p = real_of(run, "top_p", 1);
    const json_t *list = json_object_get(run, "methods"), *v;
    size_t i;
    json_array_foreach(list, i, v)
        if (json_is_string(v) && r->n_methods < UI_RECIPE_METHODS)
            snprintf(r->method[r->n_methods++], sizeof r->method[0], "%s", json_string_value(v));
}

static void read_screen(struct ui_recipe *r, const json_t *o)
{
    const json_t *v = json_object_get(o, "view"), *s = json_object_get(o, "session");
    read_run(r, o);
    const json_t *size = json_object_get(v, "size");
    r->cols = (int)json_integer_value(json_array_get(size, 0));
    r->lines = (int)json_integer_value(json_array_get(size, 1));
    if (r->cols < 20 || r->cols > 1000 || r->lines < 5 || r->lines > 500) r->cols = 120, r->lines = 40;
    r->raw = flag_of(json_object_get(o, "prompt"), "raw");
    r->is_script = flag_of(s, "script");
    r->no_run = flag_of(s, "no_run");
    r->pace = real_of(s, "pace", 0);
    r->samples = int_of(s, "samples", 0);
    snprintf(r->open_with, sizeof r->open_with, "%s", str_of(s, "screen"));
    snprintf(r->recording, sizeof r->recording, "%s", str_of(s, "recording"));
    snprintf(r->color, sizeof r->color, "%s", str_of(v, "color"));
    snprintf(r->unfinished, sizeof r->unfinished, "%s", str_of(o, "unfinished"));
    r->script = strdup(str_of(s, "commands"));
}

enum sac_code ui_recipe_parse(struct ui_recipe *out, const char *json, const char *what, struct sac_err *err)
{
    json_error_t je;
    memset(out, 0, sizeof *out);
    json_t *o = json_loads(json, 0, &je);
    if (!o) return sac_fail(err, SAC_EFORMAT, "%s: the recipe inside is damaged (%.80s)", what, je.text);
    enum sac_code rc = SAC_OK;
    if (!strcmp(str_of(o, "schema"), "saccade.screen/1")) {
        out->screen = strdup(json);
        read_screen(out, o);
        if (!out->screen || !out->script) rc = sac_fail(err, SAC_ENOMEM, "%s: does not fit in memory", what);
    } else if (strcmp(str_of(o, "schema"), "saccade.figure/1"))
        rc = sac_fail(err, SAC_ENOTSUP,
                      "%s: the recipe inside is of a kind this version does not know (\"%.40s\")", what,
                      str_of(o, "schema"));
    else if (!read_view(&out->shot, json_object_get(o, "view")))
        rc = sac_fail(err, SAC_EFORMAT, "%s: the recipe names no view that this version draws", what);
    else read_run(out, o);
    json_decref(o);
    return rc;
}

void ui_recipe_free(struct ui_recipe *r)
{
    free(r->prompt);
    free(r->screen);
    free(r->script);
    memset(r, 0, sizeof *r);
}

static char *read_all(const char *path, size_t *len, struct sac_err *err)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        sac_fail(err, SAC_EFORMAT, "%s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    size_t n = 0, cap = 1 << 16, k;
    char *buf = malloc(cap + 1);
    while (buf && (k = fread(buf + n, 1, cap - n, f)) > 0) {
        n += k;
        if (n == cap) {
            char *p = cap < (256u << 20) ? realloc(buf, cap * 2 + 1) : NULL;
            if (!p) free(buf);
            buf = p;
            cap *= 2;
        }
    }
    fclose(f);
    *len = n;
    if (buf) buf[n] = 0;
    else sac_fail(err, SAC_ENOMEM, "%s: does not fit in memory", path);
    return buf;
}

enum sac_code ui_recipe_read(struct ui_recipe *out, const char *path, struct sac_err *err)
{
    enum figure_format f;
    char *comment = NULL, *prompt = NULL, *title = NULL;
    memset(out, 0, sizeof *out);
    if (figure_format_of(path, &f) && f != FIGURE_PNG) {
        size_t n;
        char *file = read_all(path, &n, err), *xml = file;
        if (!file) return err ? err->code : SAC_EFORMAT;
        if (f == FIGURE_PDF) xml = vector_pdf_recipe(file, n);
        comment = xml ? vector_part(xml, "comment") : NULL;
        prompt = xml ? vector_part(xml, "prompt") : NULL;
        title = xml ? vector_part(xml, "title") : NULL;
        if (xml != file) free(xml);
        free(file);
    } else {
        struct figure_png_text t;
        enum sac_code rc = figure_png_read(path, &t, err);
        if (rc) return rc;
        comment = t.comment, prompt = t.prompt, title = t.title;
        t.comment = t.prompt = t.title = NULL;
        figure_png_text_free(&t);
    }
    enum sac_code rc;
    if (!comment)
        rc = sac_fail(err, SAC_EFORMAT,
                      "%s: holds no recipe: it was not drawn by saccade, or its texts were "
                      "removed",
                      path);
    else rc = ui_recipe_parse(out, comment, path, err);
    if (!rc) {
        out->prompt = prompt;
        prompt = NULL;
        snprintf(out->title, sizeof out->title, "%s", title ? title : "");
    }
    free(comment);
    free(prompt);
    free(title);
    return rc;
}
