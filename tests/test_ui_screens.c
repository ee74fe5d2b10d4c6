/* Golden frames of the base: the Run and Tasks screens in their states without a model, and everything that
 * lies over a view. Text and style files lie in tests/screens; SACCADE_UPDATE_SCREENS=1 writes them anew. */
#include "base.h"
#include "keys.h"
#include "run.h"
#include "slurp.h"
#include "tasks.h"
#include "work.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const methods[] = { "vertical_slash:sparsity=0.8", "snapkv:capacity=154,window=32",
                                       "quest:token_budget=96" };
static const struct ui_app_opts opts = { .model = "models/saccade-sample-q8_0.gguf",
                                         .task = "niah",
                                         .length = 1024,
                                         .seed = 43,
                                         .method = methods,
                                         .n_methods = 3,
                                         .headless = true };

static struct ui_state *open_state(int w, int h, enum ui_tier tier, bool ascii)
{
    struct ui_state *st = calloc(1, sizeof *st);
    struct ui_app *a = calloc(1, sizeof *a);
    a->opts = &opts;
    a->headless = true;
    ui_state_init(st, a);
    st->look.tier = tier;
    st->look.ascii = ascii;
    st->work = ui_work_new(ui_notify, a);
    st->run = ui_run_new(st);
    st->tasks = ui_tasks_new(st);
    a->shots = ui_shots_new(a);
    assert_true(cells_resize(&a->buf, w, h));
    return st;
}

static void close_state(struct ui_state *st)
{
    struct ui_app *a = st->app;
    st->n_lanes = 0;
    ui_state_free(st);
    free(st);
    free(a);
}

static void same_file(const char *path, const char *now)
{
    if (getenv("SACCADE_UPDATE_SCREENS")) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(now, f);
        fclose(f);
        return;
    }
    char *want = slurp(path, NULL);
    if (!want) fail_msg("%s is missing", path);
    if (strcmp(want, now) != 0) {
        fprintf(stderr, "--- now\n%s", now);
        fail_msg("%s differs", path);
    }
    free(want);
}

/* Compare the frame with NAME.txt and, in colour, NAME.styles. */
static void golden(struct ui_state *st, const char *name)
{
    char path[600], *text = NULL;
    size_t n;
    int cx, cy;
    ui_draw(st, &st->app->buf, &cx, &cy);
    for (int k = 0; k < 2; k++) {
        if (k && st->app->buf.w > 80) break;
        FILE *f = open_memstream(&text, &n);
        if (k) cells_dump_styles(&st->app->buf, f);
        else cells_dump_text(&st->app->buf, f);
        fclose(f);
        snprintf(path, sizeof path, "%s/screens/base_%s.%s", TEST_DIR, name, k ? "styles" : "txt");
        same_file(path, text);
        free(text);
    }
}

static void lane(struct ui_state *st, int i, const char *spec, const char *title, enum sac_lane_state state,
                 double progress, const char *answer, double score)
{
    struct sac_lane *l = &st->lane[i];
    snprintf(l->spec, sizeof l->spec, "%s", spec);
    snprintf(l->title, sizeof l->title, "%s", title);
    snprintf(l->answer, sizeof l->answer, "%s", answer);
    l->state = state;
    l->progress = progress;
    l->eta_s = 3;
    l->score = score;
    l->first_diff = score < 1 ? 7 : -1;
    l->prefill_s = 1.5;
    l->decode_s = 0.25;
    l->prefill_layer = 4;
    l->n_steps = 12;
    l->prefill.kernel = 0.2;
    l->decode.read = l->decode.kernel = (double)NAN;
    l->recall.mass = 0.91;
    l->prefill_tok_s = 2500;
    l->decode_tok_s = 310;
}

/* A run in the middle: one lane done, one wrong, one answering, one queued. */
static void fill(struct ui_state *st)
{
    st->lane = calloc(UI_MAX_LANES, sizeof *st->lane);
    st->n_lanes = 4;
    st->info.shape.n_layers = 10;
    lane(st, 0, "dense", "Dense", SAC_LANE_DONE, 1, "1. amber-fox-12: 805078\n2. quiet-lake-7: 974025", 1);
    lane(st, 1, methods[0], "Vertical-Slash", SAC_LANE_DONE, 1,
         "1. amber-fox-12: 805078\n2. quiet-lake-7: 111111", 0.5);
    lane(st, 2, methods[1], "SnapKV", SAC_LANE_DECODE, 0.8, "1. amber-fox-12: 80", (double)NAN);
    lane(st, 3, methods[2], "Quest", SAC_LANE_PREFILL, 0.3, "", (double)NAN);
    st->lane[2].first_diff = -1;
    for (int i = 0; i < 4; i++) st->run->row[i].lane = i;
    st->at.a = 1;
}

static void test_run(void **state)
{
    (void)state;
    static const struct { int w, h; enum ui_tier tier; bool ascii; const char *name;
    } cases[] = {
        { 60, 12, UI_TIER_RGB, false, "run_60x12" },     { 80, 24, UI_TIER_RGB, false, "run_80x24" },
        { 80, 24, UI_TIER_256, false, "run_80x24_256" }, { 80, 24, UI_TIER_MONO, true, "run_80x24_ascii" },
        { 120, 40, UI_TIER_RGB, false, "run_120x40" },   { 200, 60, UI_TIER_RGB, false, "run_200x60" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ui_state *st = open_state(cases[i].w, cases[i].h, cases[i].tier, cases[i].ascii);
        if (i == 1) golden(st, "idle_80x24");
        if (i == 4) golden(st, "idle_120x40");
        fill(st);
        golden(st, cases[i].name);
        close_state(st);
    }
}

static void test_failed(void **state)
{
    (void)state;
    struct ui_state *st = open_state(80, 24, UI_TIER_RGB, false);
    st->run->load = UI_LOAD_FAILED;
    snprintf(st->run->error, sizeof st->run->error, "broken.gguf: not a GGUF file");
    ui_say(st, UI_SAY_BAD, "%s", st->run->error);
    golden(st, "failed_80x24");
    close_state(st);
    st = open_state(59, 11, UI_TIER_RGB, false);
    golden(st, "small_59x11");
    close_state(st);
}

static void test_export(void **state)
{
    (void)state;
    struct ui_state *st = open_state(80, 24, UI_TIER_RGB, false);
    st->app->mode = UI_MODE_EXPORT;
    snprintf(st->app->input.text, sizeof st->app->input.text, "saccade-niah0-quest-map-L7H0.png");
    golden(st, "export_80x24");
    close_state(st);
}

static void test_tasks(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct ui_state *st = open_state(k ? 120 : 80, k ? 40 : 24, UI_TIER_RGB, false);
        st->at.screen = UI_SCREEN_TASKS;
        golden(st, k ? "tasks_empty_120x40" : "tasks_empty_80x24");
        struct ui_tasks *t = st->tasks;
        static const char *const title[] = { "Dense", "Vertical-Slash", "Quest" };
        t->n_methods = 3;
        t->length = 1024;
        t->seed = 43;
        for (int m = 0; m < 3; m++) snprintf(t->title[m], sizeof t->title[0], "%s", title[m]);
        for (int i = 0; i < 2; i++)
            for (int m = 0; m < 3; m++)
                for (int s = 0; s < 4; s++) {
                    struct ui_t_cell *c = &t->cell[i][m][s];
                    *c = (struct ui_t_cell){ .state = UI_T_DONE,
                                             .score = m == 2 && s > 1 ? 0.25 : 1,
                                             .mass = 1 - 0.1 * m,
                                             .parsed = s != 3,
                                             .evidence = 0.5,
                                             .steps = 64,
                                             .first_diff = m == 2 && s > 1 ? 19 : -1,
                                             .stop = "eos" };
                    snprintf(c->answer, sizeof c->answer, "1. amber-fox-12: %s",
                             m == 2 && s > 1 ? "111111" : "805078");
                    snprintf(t->gold[i][s], sizeof t->gold[0][0], "1. amber-fox-12: 805078");
                }
        t->cell[1][2][3].state = UI_T_RUNNING;
        t->cell[0][1][4].state = UI_T_FAILED;
        st->at.cell = 2;
        st->at.sample = 2;
        golden(st, k ? "tasks_120x40" : "tasks_80x24");
        st->at.worst_first = true;
        st->at.pane[UI_SCREEN_TASKS] = 1;
        golden(st, k ? "tasks_worst_120x40" : "tasks_worst_80x24");
        t->n_methods = 0;
        close_state(st);
    }
}

static void type(struct ui_state *st, const char *s)
{
    for (; *s; s++) ui_key(st, (unsigned char)*s);
}

static void test_overlays(void **state)
{
    (void)state;
    struct ui_state *st = open_state(80, 24, UI_TIER_RGB, false);
    type(st, "?");
    golden(st, "help_80x24");
    type(st, "undo");
    golden(st, "help_filter_80x24");
    ui_key(st, UI_K_ESC);
    type(st, ":me");
    golden(st, "prompt_80x24");
    ui_key(st, UI_K_TAB);
    ui_key(st, UI_K_TAB);
    golden(st, "prompt_tab_80x24");
    ui_key(st, UI_K_ESC);
    st->app->mode = UI_MODE_QUIT;
    golden(st, "quit_80x24");
    st->app->mode = UI_MODE_PICK;
    fill(st);
    golden(st, "pick_80x24");
    close_state(st);
}

int main(void)
{
    setenv("XDG_STATE_HOME", "/dev/null/none", 1);
    setenv("XDG_CONFIG_HOME", "/dev/null/none", 1);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_run), cmocka_unit_test(test_failed),
                                        cmocka_unit_test(test_export),
                                        cmocka_unit_test(test_tasks), cmocka_unit_test(test_overlays) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
