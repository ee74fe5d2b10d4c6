/* Following the recipe of a screen: its commands, then its state; see export_screen.h. */
#include "config.h"
#include "export_screen.h"
#include "run.h"
#include "tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool ui_script_line(struct ui_state *st, const char *line, size_t n)
{
    static const char word[] = "prompt ";
    if (n > 3 && !strncmp(line, "#@ ", 3)) {
        json_t *o = json_loadb(line + 3, n - 3, 0, NULL);
        ui_where_default(&st->at);
        ui_where_read(&st->at, o);
        json_decref(o);
        return st->looked = true;
    }
    if (n > sizeof word - 1 && !strncmp(line, word, sizeof word - 1)) {
        char *text = strndup(line + sizeof word - 1, n - (sizeof word - 1));
        for (char *p = text; p && *p; p++)
            if (*p == '\x1e') *p = '\n';
        if (text) ui_run_edited(st, text);
        return text != NULL;
    }
    char buf[UI_INPUT_MAX];
    snprintf(buf, sizeof buf, "%.*s", (int)(n < sizeof buf ? n : sizeof buf - 1), line);
    return ui_run_line(st, buf);
}

/* ---- what is kept as it was ---- */

static double real_at(const json_t *a, size_t i)
{
    const json_t *v = json_array_get(a, i);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

void ui_screen_pins(struct ui_state *st)
{
    const json_t *lanes = st->app->pins;
    for (int i = 0; lanes && i < st->n_lanes; i++) {
        struct sac_lane *l = &st->lane[i];
        const json_t *a = json_array_get(lanes, (size_t)i);
        const char *spec = json_string_value(json_array_get(a, 0));
        if (json_array_size(a) != 8 || !spec || strcmp(spec, l->spec) != 0) continue;
        double *const to[] = { &l->prefill_s, &l->decode_s,      &l->select_s,
                               &l->attend_s,  &l->prefill_tok_s, &l->decode_tok_s };
        for (size_t k = 0; k < sizeof to / sizeof *to; k++) *to[k] = real_at(a, k + 1);
        l->peak_bytes = real_at(a, 7) > 0 ? (size_t)real_at(a, 7) : 0;
    }
}

static void restore_samples(struct ui_state *st, const json_t *list)
{
    struct ui_tasks *t = st->tasks;
    size_t i;
    const json_t *a;
    json_array_foreach(list, i, a)
    {
        int k[3];
        for (size_t j = 0; j < 3; j++) k[j] = (int)json_integer_value(json_array_get(a, j));
        if (k[0] < 0 || k[0] >= UI_T_TASKS || k[1] < 0 || k[1] >= UI_T_METHODS || k[2] < 0 ||
            k[2] >= UI_T_SAMPLES)
            continue;
        pthread_mutex_lock(&t->mu);
        struct ui_t_cell *c = &t->cell[k[0]][k[1]][k[2]];
        c->seconds = real_at(a, 3);
        c->prefill_tok_s = real_at(a, 4);
        c->decode_tok_s = real_at(a, 5);
        pthread_mutex_unlock(&t->mu);
    }
}

static void restore_log(struct ui_state *st, const json_t *lines)
{
    struct ui_app *a = st->app;
    if (!json_is_array(lines)) return;
    for (int i = 0; i < a->n_log; i++) free(a->log[i]);
    a->n_log = 0;
    size_t i;
    const json_t *v;
    json_array_foreach(lines, i, v) if (json_is_string(v)) ui_log(st, "%s", json_string_value(v));
}

static void restore_look(struct ui_look *k, const json_t *v)
{
    const char *theme = json_string_value(json_object_get(v, "theme")),
               *map = json_string_value(json_object_get(v, "colormap"));
    int i = theme ? ui_theme_find(theme) : -1;
    if (i >= 0) k->theme = (enum ui_theme)i;
    for (int m = 0; map && m < UI_N_MAPS; m++)
        if (!strcmp(ui_map_name[m], map)) k->map = (enum ui_map)m;
    k->own_map = json_is_true(json_object_get(v, "own_map"));
    k->ascii = json_is_true(json_object_get(v, "ascii"));
}

void ui_screen_restore(struct ui_state *st)
{
    struct ui_app *a = st->app;
    struct ui_run *r = st->run;
    json_t *o = json_loads(a->opts->restore, 0, NULL), *s = json_object_get(o, "state"),
           *m = json_object_get(o, "measured"), *v;
    size_t i;
    if (a->headless) { /* on screen: the terminal's colours, and this run's own times */
        restore_look(&st->look, json_object_get(o, "view"));
        restore_log(st, json_object_get(s, "log"));
        restore_samples(st, json_object_get(m, "samples"));
        r->model_s = json_number_value(json_object_get(m, "load_s"));
        r->prompt_s = json_number_value(json_object_get(m, "prompt_s"));
        json_decref(a->pins);
        a->pins = json_incref(json_object_get(m, "lanes"));
        if (!json_is_true(json_object_get(json_object_get(o, "session"), "script"))) a->mode = UI_MODE_NORMAL;
        v = json_object_get(s, "said");
        snprintf(a->say, sizeof a->say, "%s", v ? json_string_value(json_array_get(v, 0)) : "");
        a->say_kind = json_integer_value(json_array_get(v, 1)) % 3;
    }
    ui_where_read(&st->at, json_object_get(s, "where"));
    st->looked = true;
    json_array_foreach(json_object_get(s, "ticked"), i, v) if ((int)i < r->n_rows) r->row[i].on =
        json_is_true(v);
    int *const pane[] = { &r->field, &r->top_prompt, &r->top_log, &r->top_answers };
    json_array_foreach(json_object_get(s, "run_panes"), i, v) if (i < 4) * pane[i] =
        (int)(json_integer_value(v) & 0xffffff);
    a->dirty = a->repaint = true;
    json_decref(o);
}

bool ui_screen_same(const struct ui_state *st, const struct cell_buf *b, char *why, size_t cap)
{
    json_t *o = json_loads(st->app->opts->restore, 0, NULL);
    const char *cells = json_string_value(json_object_get(o, "cells")),
               *model = json_string_value(json_object_get(json_object_get(o, "model"), "hash")),
               *prompt = json_string_value(json_object_get(json_object_get(o, "prompt"), "hash")),
               *version = json_string_value(json_object_get(o, "version"));
    bool same = !cells || strtoull(cells, NULL, 16) == ui_cells_hash(b);
    *why = 0;
    if (same) {
    } else if (st->trace && model && strtoull(model, NULL, 16) != st->info.model_hash)
        snprintf(why, cap, "the model is another: this is %016llx, the figure was made with %s",
                 (unsigned long long)st->info.model_hash, model);
    else if (st->trace && prompt && strtoull(prompt, NULL, 16) != st->info.prompt_hash)
        snprintf(why, cap, "the prompt is another: this is %016llx, the figure's was %s",
                 (unsigned long long)st->info.prompt_hash, prompt);
    else if (version && strcmp(version, SACCADE_VERSION) != 0)
        snprintf(why, cap, "the figure is from saccade %.20s, this is " SACCADE_VERSION, version);
    else
        snprintf(why, cap, "what this machine computes or shows of itself differs from the figure's");
    json_decref(o);
    return same;
}
