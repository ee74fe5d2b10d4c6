/* Ten thousand random keys, clicks and pastes on a real run, at sizes that change, from a fixed seed: nothing
 * may crash, draw outside, or run as a command what was pasted. Sanitizers watch in the dev build. */
#include "base.h"
#include "keys.h"
#include "run.h"
#include "work.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { KEYS = 10000 };
static uint64_t rng_state = 0x5accade;

static uint32_t rnd(uint32_t n)
{
    rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng_state >> 33) % n;
}

static int random_key(void)
{
    static const int special[] = { UI_K_UP,    UI_K_DOWN, UI_K_LEFT,      UI_K_RIGHT, UI_K_TAB,  UI_K_BACKTAB,
                                   UI_K_ENTER, UI_K_ESC,  UI_K_BACKSPACE, UI_K_PGUP,  UI_K_PGDN, UI_K_HOME,
                                   UI_K_END,   UI_K_F1,   UI_K_DEL,       ' ' };
    static const char often[] = "1234567hjklHJKL[]{}(),.<>+-=vzsaxotd\\wmMbBnNuUgG0$SfiDE/:";
    switch (rnd(6)) {
    case 0: return special[rnd(sizeof special / sizeof *special)];
    case 1: return 33 + (int)rnd(94);
    case 2: return (int)rnd(32);
    case 3: return rnd(40) ? often[rnd(sizeof often - 1)] : 0xe9 + (int)rnd(0x3000);
    default: return often[rnd(sizeof often - 1)];
    }
}

static void frame(struct ui_state *st)
{
    int cx, cy;
    st->now += 0.05;
    ui_frame(st, &st->app->buf, &cx, &cy);
    /* No right half stands alone, no wide character lacks its half. */
    const struct cell_buf *b = &st->app->buf;
    for (int y = 0; y < b->h; y++)
        for (int x = 0; x < b->w; x++) {
            const struct cell *c = cells_at(b, x, y);
            if (!c->ch) assert_true(x > 0 && cell_width(cells_at(b, x - 1, y)->ch) == 2);
            else if (cell_width(c->ch) == 2) assert_true(x + 1 < b->w && !cells_at(b, x + 1, y)->ch);
            else assert_int_equal(cell_width(c->ch), 1);
        }
}

static void test_random_keys(void **state)
{
    (void)state;
    const char *model = SOURCE_DIR "/samples/models/saccade-sample-q8_0.gguf";
    static const char *const methods[] = { "quest:token_budget=64", "snapkv:capacity=160,window=32" };
    struct ui_app_opts o = { .model = model,
                             .task = "niah",
                             .length = 256,
                             .seed = 43,
                             .max_tokens = 8,
                             .method = methods,
                             .n_methods = 2,
                             .headless = true,
                             .no_mouse = true };
    char dir[] = "/tmp/saccade-random-XXXXXX";
    if (access(model, R_OK) != 0) skip();
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    struct ui_state *st = calloc(1, sizeof *st);
    struct ui_app *a = calloc(1, sizeof *a);
    a->opts = &o;
    a->headless = true;
    ui_state_init(st, a);
    st->work = ui_work_new(ui_notify, a);
    st->run = ui_run_new(st);
    st->tasks = ui_tasks_new(st);
    a->shots = ui_shots_new(a);
    assert_true(cells_resize(&a->buf, 120, 40));
    assert_true(ui_run_start(st));
    for (int i = 0; i < 2000 && (ui_run_busy(st) || !st->trace); i++) {
        frame(st);
        usleep(20000);
    }
    for (int i = 0; st->n_lanes != 3 && i < a->n_log; i++) fprintf(stderr, "%s\n", a->log[i]);
    assert_int_equal(st->n_lanes, 3);
    for (int i = 0; i < KEYS; i++) {
        int key = random_key();
        /* What leaves the program or runs new work for minutes is not what this is about. */
        const char *line = a->mode == UI_MODE_NORMAL ? ui_key_line(st->at.screen, key) : NULL;
        bool leaves = line && (!strncmp(line, "run", 3) || !strncmp(line, "quit", 4) ||
                               !strncmp(line, "budget", 6) || !strncmp(line, "force", 5) ||
                               !strncmp(line, "snapshot", 8) || !strncmp(line, "task", 4) ||
                               (!strcmp(line, "open") && st->at.screen == UI_SCREEN_TASKS));
        if (a->mode == UI_MODE_EXPORT && key == UI_K_ENTER) leaves = true;
        if (a->mode == UI_MODE_PROMPT && key == UI_K_ENTER && rnd(4)) leaves = true;
        if (a->mode == UI_MODE_HELP && key == UI_K_ENTER) leaves = true;
        if (!leaves) ui_key(st, key);
        if (!rnd(20)) ui_mouse(st, (int)rnd(130) - 2, (int)rnd(44) - 2, (enum ui_click)rnd(5));
        if (!rnd(300)) ui_paste(st, "quit\nQ\x1b[31m\xff\xfe \xe2\x82\xac", 16);
        if (!rnd(150)) {
            static const int size[][2] = { { 59, 11 },  { 60, 12 }, { 80, 24 }, { 120, 40 },
                                           { 200, 60 }, { 97, 33 }, { 1, 1 },   { 400, 100 } };
            const int *s = size[rnd(30) ? rnd(7) : 7];
            assert_true(cells_resize(&a->buf, s[0], s[1]));
        }
        if (!rnd(200)) st->look.tier = (enum ui_tier)rnd(4);
        if (!rnd(200)) st->look.ascii = rnd(2);
        a->quit = a->want_editor = a->want_suspend = a->has_copy = false;
        if (!rnd(8)) frame(st);
        if (!rnd(500)) {      /* results arrive */
            ui_work_wait(st->work, 1);
            frame(st);
        }
    }
    ui_state_free(st);
    free(st);
    free(a);
    assert_int_equal(chdir("/"), 0);
}

int main(void)
{
    setenv("XDG_STATE_HOME", "/dev/null/none", 1);
    setenv("XDG_CONFIG_HOME", "/dev/null/none", 1);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_keys) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
