/* What is looked at, as JSON and back: a table of the fields of struct ui_where. */
#include "export_screen.h"

#include <stdlib.h>
#include <string.h>

enum kind { K_INT, K_BOOL, K_REAL, K_TEXT };
struct field { const char *name; enum kind kind; size_t at; int n; };

#define AT(f) offsetof(struct ui_where, f)
#define INT(f) { #f, K_INT, AT(f), 1 }
#define INTS(f, n) { #f, K_INT, AT(f), n }
#define BOOL(f) { #f, K_BOOL, AT(f), 1 }
#define TEXT(f) { #f, K_TEXT, AT(f), sizeof(((struct ui_where *)0)->f) }

_Static_assert(sizeof(enum ui_scale) == sizeof(int) && sizeof(enum ui_diff) == sizeof(int),
               "enumerators are stored as int");
_Static_assert(sizeof(struct ui_window) == 4 * sizeof(int), "a window is four numbers");

static const struct field fields[] = {
    INT(screen),
    INT(a),
    INT(b),
    INT(layer),
    INT(head),
    BOOL(group),
    INT(row),
    INT(key),
    INT(step),
    INTS(pane, UI_N_SCREENS),
    INTS(cur, UI_N_SCREENS),
    INTS(scroll, UI_N_SCREENS),
    INTS(win, 4 * UI_N_SCREENS),
    INT(scale),
    INT(pool),
    INT(sinks),
    INT(overlay),
    INT(range),
    BOOL(topk),
    BOOL(sparse),
    BOOL(why),
    INT(rows),
    BOOL(selecting),
    INT(sel_row),
    INT(sel_key),
    INT(metric),
    BOOL(worst_first),
    BOOL(thumbs),
    TEXT(filter),
    INT(similar_to),
    INT(diff),
    BOOL(blink),
    BOOL(linked),
    INT(shade),
    BOOL(wrap),
    { "fold", K_REAL, AT(fold), 1 },
    INT(pages_mode),
    BOOL(pages_worst),
    INT(page),
    INT(pair),
    BOOL(playing),
    INT(task),
    INT(cell),
    INT(sample),
    BOOL(answer_diff),
    TEXT(whatif),
    INT(whatif_lane),
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

static size_t bytes_of(const struct field *f)
{
    static const size_t size[] = { sizeof(int), sizeof(bool), sizeof(double), 1 };
    return size[f->kind] * (size_t)f->n;
}

size_t ui_where_covered(void)
{
    size_t n = 0;
    for (int i = 0; i < N_FIELDS; i++) n += bytes_of(&fields[i]);
    return n;
}

/* A number beyond what any run has is taken as 0: the text may come from anywhere. */
static int int_of(const json_t *v)
{
    json_int_t n = json_integer_value(v);
    return n < -(1 << 30) || n > 1 << 30 ? 0 : (int)n;
}

static json_t *value_json(const struct field *f, const char *at)
{
    if (f->kind == K_BOOL) return json_boolean(*(const bool *)(const void *)at);
    if (f->kind == K_REAL) return json_real(*(const double *)(const void *)at);
    if (f->kind == K_TEXT) return json_string(at);
    const int *v = (const int *)(const void *)at;
    if (f->n == 1) return json_integer(*v);
    json_t *a = json_array();
    for (int i = 0; i < f->n; i++) json_array_append_new(a, json_integer(v[i]));
    return a;
}

json_t *ui_where_json(const struct ui_where *w, const struct ui_where *base)
{
    json_t *o = json_object();
    for (int i = 0; i < N_FIELDS; i++) {
        const char *at = (const char *)w + fields[i].at;
        if (base && !memcmp(at, (const char *)base + fields[i].at, bytes_of(&fields[i]))) continue;
        json_object_set_new(o, fields[i].name, value_json(&fields[i], at));
    }
    return o;
}

/* Enumerations hold what their tables have names for. */
static void keep_in_range(struct ui_where *w)
{
    const struct { unsigned *v; unsigned n;
    } e[] = {
        { (unsigned *)&w->screen, UI_N_SCREENS },   { (unsigned *)&w->scale, UI_N_SCALES },
        { (unsigned *)&w->pool, SAC_N_POOLS },      { (unsigned *)&w->sinks, 3 },
        { (unsigned *)&w->overlay, UI_N_OVERLAYS }, { (unsigned *)&w->range, UI_N_RANGES },
        { (unsigned *)&w->rows, UI_N_ROWS },        { (unsigned *)&w->diff, UI_N_DIFFS },
        { (unsigned *)&w->shade, UI_N_SHADES },     { (unsigned *)&w->pages_mode, UI_N_PAGES_MODES },
    };
    for (size_t i = 0; i < sizeof e / sizeof *e; i++)
        if (*e[i].v >= e[i].n) *e[i].v = 0;
}

void ui_where_read(struct ui_where *w, const json_t *o)
{
    for (int i = 0; i < N_FIELDS; i++) {
        const struct field *f = &fields[i];
        const json_t *v = json_object_get(o, f->name);
        char *at = (char *)w + f->at;
        int *to = (int *)(void *)at;
        if (f->kind == K_BOOL && json_is_boolean(v)) *(bool *)(void *)at = json_is_true(v);
        else if (f->kind == K_REAL && json_is_number(v)) *(double *)(void *)at = json_number_value(v);
        else if (f->kind == K_TEXT && json_is_string(v)) {
            memset(at, 0, (size_t)f->n);
            strncpy(at, json_string_value(v), (size_t)f->n - 1);
        } else if (f->kind == K_INT && f->n == 1 && json_is_integer(v)) *to = int_of(v);
        else if (f->kind == K_INT && json_array_size(v) == (size_t)f->n)
            for (int k = 0; k < f->n; k++) to[k] = int_of(json_array_get(v, (size_t)k));
    }
    keep_in_range(w);
}
