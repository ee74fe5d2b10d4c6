/* Recipes of whole screens: the state they hold comes back whole, and damaged ones do no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "export_screen.h"

#include <stdlib.h>
#include <string.h>

/* A field that is added to struct ui_where and forgotten in the table shows here: what has no field is
 * padding. */
static void test_every_field_has_a_name(void **state)
{
    (void)state;
    size_t padding = sizeof(struct ui_where) - ui_where_covered();
    assert_true(padding < 8 * sizeof(double));
    struct ui_where a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    json_t *all = ui_where_json(&a, NULL), *v;
    const char *name;
    unsigned char *seen = calloc(sizeof a, 1);
    assert_non_null(seen);
    json_object_foreach(all, name, v)
    { /* one field after the other, set to something else */
        json_t *one = json_object(), *other = NULL;
        if (json_is_boolean(v))
            other = json_true();
        else if (json_is_integer(v))
            other = json_integer(1);
        else if (json_is_real(v))
            other = json_real(0.5);
        else if (json_is_string(v))
            other = json_string("x");
        else {
            other = json_array();
            for (size_t i = 0; i < json_array_size(v); i++) json_array_append_new(other, json_integer(1));
        }
        json_object_set_new(one, name, other);
        memset(&b, 0, sizeof b);
        ui_where_read(&b, one);
        size_t changed = 0;
        for (size_t i = 0; i < sizeof b; i++)
            if (((unsigned char *)&b)[i] != 0) seen[i]++, changed++;
        assert_true(changed > 0);
        json_t *diff = ui_where_json(&b, &a);
        assert_int_equal(json_object_size(diff), 1);
        assert_true(json_equal(json_object_get(diff, name), other));
        json_decref(diff);
        json_decref(one);
    }
    for (size_t i = 0; i < sizeof a; i++) assert_true(seen[i] < 2); /* no byte belongs to two */
    json_decref(all);
    free(seen);
}

static void test_where_round_trip(void **state)
{
    struct ui_where a, b;
    (void)state;
    ui_where_default(&a);
    a.screen = UI_SCREEN_COMPARE;
    a.a = 3, a.b = 1, a.layer = 7, a.head = 5, a.row = 1234, a.key = 17, a.step = 4;
    a.group = a.sparse = a.thumbs = true;
    a.range = UI_RANGE_AUTO;
    a.win[UI_SCREEN_MAP] = (struct ui_window){ 1, 2, 3, 4 };
    a.win[UI_SCREEN_TASKS] = (struct ui_window){ 5, 6, 7, 8 };
    a.cur[UI_SCREEN_RUN] = 9;
    a.scale = UI_SCALE_LIFT;
    a.diff = UI_DIFF_ABS;
    a.fold = 0.1;
    strcpy(a.filter, "recall<0.7 && layer>6");
    ui_where_default(&b);
    json_t *diff = ui_where_json(&a, &b);
    char *text = json_dumps(diff, JSON_REAL_PRECISION(17));
    json_t *back = json_loads(text, 0, NULL);
    ui_where_read(&b, back);
    json_t *ja = ui_where_json(&a, NULL), *jb = ui_where_json(&b, NULL);
    assert_true(json_equal(ja, jb));
    json_decref(ja);
    json_decref(jb);
    json_decref(back);
    json_decref(diff);
    free(text);
}

static void test_where_from_anywhere(void **state)
{
    static const char *const text[] = {
        "{}",
        "[]",
        "null",
        "{\"screen\":99,\"scale\":-5,\"diff\":1e99,\"overlay\":\"x\"}",
        "{\"layer\":999999999999,\"win\":[1,2],\"pane\":\"no\",\"filter\":7,\"fold\":\"deep\"}",
        "{\"filter\":"
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        struct ui_where w;
        ui_where_default(&w);
        json_t *o = json_loads(text[i], JSON_DECODE_ANY, NULL);
        ui_where_read(&w, o);
        json_decref(o);
        assert_true(w.screen < UI_N_SCREENS && w.scale < UI_N_SCALES && w.diff < UI_N_DIFFS);
        assert_true(w.overlay < UI_N_OVERLAYS && w.layer >= 0 && strlen(w.filter) < sizeof w.filter);
    }
}

static void test_recipes_are_read(void **state)
{
    static const struct {
        const char *json;
        int cols, lines;
        const char *unfinished;
    } row[] = {
        { "{\"schema\":\"saccade.screen/1\"}", 120, 40, "" },
        { "{\"schema\":\"saccade.screen/1\",\"view\":{\"size\":[80,24]},\"unfinished\":\"it runs\"}", 80, 24,
          "it runs" },
        { "{\"schema\":\"saccade.screen/"
          "1\",\"view\":{\"size\":[-1,1e9]},\"session\":{\"commands\":7,\"pace\":\"x\"},"
          "\"run\":{\"methods\":[1,\"quest\"]}}",
          120, 40, "" },
        { "{\"schema\":\"saccade.screen/1\",\"view\":7,\"session\":[],\"state\":3,\"measured\":\"no\"}", 120,
          40, "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct ui_recipe r;
        assert_int_equal(ui_recipe_parse(&r, row[i].json, "screen", NULL), SAC_OK);
        assert_non_null(r.screen);
        assert_non_null(r.script);
        assert_int_equal(r.cols, row[i].cols);
        assert_int_equal(r.lines, row[i].lines);
        assert_string_equal(r.unfinished, row[i].unfinished);
        ui_recipe_free(&r);
    }
}

/* The sum of a screen is of what is seen, not of how a character with marks is numbered in this process. */
static void test_sum_of_cells(void **state)
{
    struct cell_buf a = { 0 }, b = { 0 };
    struct ui_style s = { 0xffffff, 0x101010, 0 };
    (void)state;
    assert_true(cells_init(&a, 20, 3) && cells_init(&b, 20, 3));
    cells_text(&a, 0, 0, -1, "e\u0301 a\u0302", s);
    cells_text(&b, 10, 1, -1, "a\u0302 o\u0308", s); /* other numbers are given out in between */
    cells_clear(&b);
    cells_text(&b, 0, 0, -1, "e\u0301 a\u0302", s);
    assert_true(ui_cells_hash(&a) == ui_cells_hash(&b));
    s.attr = CELL_BOLD;
    cells_text(&b, 0, 0, -1, "e\u0301", s);
    assert_true(ui_cells_hash(&a) != ui_cells_hash(&b));
    cells_free(&a);
    cells_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_has_a_name), cmocka_unit_test(test_where_round_trip),
        cmocka_unit_test(test_where_from_anywhere),    cmocka_unit_test(test_recipes_are_read),
        cmocka_unit_test(test_sum_of_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
