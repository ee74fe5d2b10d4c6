/* Cells, colours, keys, commands and decisions of the base: all without a terminal. */
#include "base.h"
#include "config.h"
#include "keys.h"
#include "run.h"
#include "work.h"

#include <saccade/trace_file.h>

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct ui_style plain = { CELL_DEFAULT, CELL_DEFAULT, 0 };

static char *row_text(const struct cell_buf *b, int y)
{
    static char out[1024];
    size_t n = 0;
    for (int x = 0; x < b->w; x++) {
        char32_t g[5];
        int k = cell_glyph(cells_at(b, x, y)->ch, g);
        for (int i = 0; i < k && g[i]; i++) n += (size_t)cell_encode(g[i], out + n);
    }
    out[n] = 0;
    return out;
}

static void test_text(void **state)
{
    (void)state;
    struct cell_buf b;
    assert_true(cells_init(&b, 8, 3));
    assert_int_equal(cells_text(&b, 0, 0, -1, "ab\ncd\x1b\xff", plain), 7);
    assert_string_equal(row_text(&b, 0), "ab\u21b5cd\u241b\ufffd ");
    /* A wide character is never cut: at the edge there is a blank. */
    assert_int_equal(cells_put(&b, 7, 1, 0x4e16, plain), 2);
    assert_int_equal(cells_at(&b, 7, 1)->ch, U' ');
    assert_int_equal(cells_text(&b, 0, 1, 3, "\u4e16\u754c", plain), 2);
    assert_int_equal(cells_at(&b, 1, 1)->ch, 0);
    /* Writing over one half blanks the other. */
    cells_put(&b, 1, 1, 'x', plain);
    assert_int_equal(cells_at(&b, 0, 1)->ch, U' ');
    cells_put(&b, 2, 2, 0x4e16, plain);
    cells_put(&b, 1, 2, 0x4e16, plain);
    assert_int_equal(cells_at(&b, 2, 2)->ch, 0);
    assert_int_equal(cells_at(&b, 3, 2)->ch, U' ');
    /* Marks join the character before; more than four are left out; none starts a text. */
    cells_clear(&b);
    cells_text(&b, 0, 0, -1, "\u0301e\u0301\u0302\u0303\u0304\u0305x", plain);
    char32_t g[5];
    assert_int_equal(cell_glyph(cells_at(&b, 0, 0)->ch, g), 5);
    assert_int_equal(g[0], 'e');
    assert_int_equal(cells_at(&b, 1, 0)->ch, 'x');
    /* Direction marks would move their neighbours: shown as what they are. */
    assert_int_equal(cell_width(0x202e), -1);
    assert_int_equal(cell_width(0x200f), -1);
    assert_int_equal(cell_width(0x1f600), 2);
    assert_int_equal(cells_text_width("a\u4e16e\u0301", 7), 4);
    assert_int_equal(cells_text_cut("a\u4e16b", 5, 2), 1);
    cells_free(&b);
}

static void test_clip(void **state)
{
    (void)state;
    struct cell_buf b;
    assert_true(cells_init(&b, 10, 6));
    struct ui_rect old = cells_clip(&b, (struct ui_rect){ 2, 1, 4, 3 });
    cells_fill(&b, (struct ui_rect){ -5, -5, 100, 100 }, '#', plain);
    b.clip = old;
    for (int y = 0; y < 6; y++)
        for (int x = 0; x < 10; x++)
            assert_int_equal(cells_at(&b, x, y)->ch, x >= 2 && x < 6 && y >= 1 && y < 4 ? '#' : ' ');
    struct ui_rect in = cells_box(&b, (struct ui_rect){ 0, 0, 10, 6 }, "a long title", false, plain, plain);
    assert_int_equal(in.w * 100 + in.h, 804);
    assert_string_equal(row_text(&b, 0), "\u250c\u2500 a l\u2026 \u2500\u2510");
    in = cells_box(&b, (struct ui_rect){ 3, 3, 1, 1 }, "t", true, plain, plain);
    assert_int_equal(in.w, 0);
    cells_clear(&b);
    cells_bar(&b, 0, 0, 4, 0.40625, plain, (struct ui_style){ 1, 2, 0 });
    assert_string_equal(row_text(&b, 0), "\u2588\u258b        ");
    cells_bar(&b, 0, 1, 4, (double)NAN, plain, plain);
    assert_string_equal(row_text(&b, 1), "\u2591\u2591\u2591\u2591      ");
    cells_half(&b, 0, 2, 0x102030, CELL_DEFAULT);
    assert_int_equal(cells_at(&b, 0, 2)->ch, 0x2580);
    cells_half(&b, 1, 2, CELL_DEFAULT, 0x102030);
    assert_int_equal(cells_at(&b, 1, 2)->ch, 0x2584);
    cells_half(&b, 2, 2, 0x102030, 0x102030);
    assert_int_equal(cells_at(&b, 2, 2)->bg, 0x102030);
    b.ascii = true;
    cells_box(&b, (struct ui_rect){ 0, 3, 4, 3 }, NULL, true, plain, plain);
    assert_string_equal(row_text(&b, 3), "+==+      ");
    assert_string_equal(row_text(&b, 4), "|  |      ");
    cells_free(&b);
}

/* CIELAB lightness, for the promise that ramps rise. */
static double lightness(uint32_t rgb)
{
    double y = ui_luminance(rgb);
    return y > 0.008856 ? 116 * cbrt(y) - 16 : 903.3 * y;
}

static void test_maps(void **state)
{
    (void)state;
    for (int tier = UI_TIER_256; tier <= UI_TIER_RGB; tier++)
        for (int m = 0; m < UI_N_MAPS; m++) {
            double last = -1;
            for (int i = 0; i < ui_map_levels((enum ui_map)m, (enum ui_tier)tier); i++) {
                uint32_t c = ui_map_colour((enum ui_map)m, (enum ui_tier)tier, i);
                double l = lightness(ui_colour_rgb(c));
                assert_true(l > last);
                last = l;
                if (tier == UI_TIER_256) assert_true((c & 0xff) >= 16);      /* 0-15 are the user's theme */
                /* Text on the cell: at least 4.5 : 1. */
                double y = ui_luminance(ui_colour_rgb(c)),
                       t = ui_luminance(ui_colour_rgb(ui_contrast((enum ui_tier)tier, c)));
                double ratio = y > t ? (y + 0.05) / (t + 0.05) : (t + 0.05) / (y + 0.05);
                assert_true(ratio > 4.4);
            }
        }
    assert_int_equal(ui_map_rgb(UI_MAP_VIRIDIS, 0), 0x440154);
    assert_int_equal(ui_map_rgb(UI_MAP_VIRIDIS, 1), 0xfde725);
    assert_int_equal(ui_map_rgb(UI_MAP_VIRIDIS, (double)NAN), 0x440154);
    assert_int_equal(ui_div_rgb(0, false), 0x1b1b1b);
    assert_int_equal(ui_div_rgb(-1, true), 0x053061);
    assert_int_equal(ui_map_colour(UI_MAP_VIRIDIS, UI_TIER_MONO, 3), CELL_DEFAULT);
}

/* Chrome text against common backgrounds: 4.5 : 1; in mono every role that means something keeps an
 * attribute. */
static void test_theme(void **state)
{
    (void)state;
    static const enum ui_role must[] = { UI_STRONG, UI_TITLE,  UI_TAB_ON, UI_CURSOR, UI_OK,
                                         UI_BAD,    UI_MISSED, UI_GOLD,   UI_KEPT,   UI_QUERY };
    for (int theme = 0; theme < UI_N_THEMES; theme++) {
        struct ui_look l = { UI_TIER_RGB, false, (enum ui_theme)theme, UI_MAP_VIRIDIS, false };
        double bg = ui_luminance(theme == UI_THEME_LIGHT ? 0xffffff : 0x101010);
        for (int r = 0; r < UI_N_ROLES; r++) {
            struct ui_style s = ui_style(&l, (enum ui_role)r);
            if (s.fg == CELL_DEFAULT || r == UI_LINE || r == UI_BAR_REST || r == UI_BAR) continue;
            double y = ui_luminance(s.fg), b = s.bg == CELL_DEFAULT ? bg : ui_luminance(s.bg);
            double ratio = y > b ? (y + 0.05) / (b + 0.05) : (b + 0.05) / (y + 0.05);
            if (ratio < 4.5) fail_msg("theme %s role %d: contrast %.2f", ui_theme_name[theme], r, ratio);
        }
        l.tier = UI_TIER_MONO;
        for (size_t i = 0; i < sizeof must / sizeof *must; i++) {
            struct ui_style s = ui_style(&l, must[i]);
            assert_int_equal(s.fg, CELL_DEFAULT);
            assert_int_equal(s.bg, CELL_DEFAULT);
            assert_true(s.attr != 0);
        }
    }
}

static void test_key_names(void **state)
{
    (void)state;
    for (int key = 1; key < UI_KEY_END; key = key == 0x2000 ? UI_KEY_SPECIAL : key + 1) {
        char name[40];
        ui_key_name(key, name, sizeof name);
        if (key == 8 || key == 10) continue;         /* arrive as Backspace and Enter */
        if (key >= 0x80 && key < 0xa0) continue;
        if (key < UI_KEY_SPECIAL && key >= 0x80 && cell_width((char32_t)key) < 0) continue;
        if (ui_key_parse(name) != key)
            fail_msg("key %d is named '%s' which is %d", key, name, ui_key_parse(name));
    }
    assert_int_equal(ui_key_parse("Ctrl-H"), UI_KEY_NONE);      /* cannot be told from Backspace */
    assert_int_equal(ui_key_parse("Ctrl-I"), UI_KEY_NONE);
    assert_int_equal(ui_key_parse("Alt-x"), 'x' | UI_KEY_ALT);
    assert_int_equal(ui_key_parse("F13"), UI_KEY_NONE);
    assert_int_equal(ui_key_parse(""), UI_KEY_NONE);
}

/* Every default key runs a command that exists on every screen it is bound on; every hint has a key. */
static void test_tables(void **state)
{
    (void)state;
    ui_keys_reset();
    for (int s = 0; s < UI_N_SCREENS; s++) {
        int key;
        const char *line;
        for (int i = 0; ui_key_at((enum ui_screen)s, i, &key, &line); i++) {
            char word[64];
            snprintf(word, sizeof word, "%.*s", (int)strcspn(line, " "), line);
            assert_true(key != UI_KEY_NONE);
            if (!ui_cmd_find(word, (enum ui_screen)s)) fail_msg("screen %d: no command '%s'", s, word);
        }
        const struct ui_view *v = ui_view_of((enum ui_screen)s);
        for (int i = 0; i < v->n_hints; i++)
            if (!ui_key_of((enum ui_screen)s, v->hints[i].line))
                fail_msg("%s: no key for hint '%s'", v->name, v->hints[i].line);
        for (int i = 0; i < v->n_binds; i++) assert_true(ui_key_parse(v->binds[i].key) != UI_KEY_NONE);
        /* Movement letters keep their meaning. */
        assert_string_equal(ui_key_line((enum ui_screen)s, 'j'), "move down");
        assert_string_equal(ui_key_line((enum ui_screen)s, '?'), "help");
    }
    for (int i = 0; i < ui_n_cmds(); i++) {
        const struct ui_cmd *c = ui_cmd_at(i);
        assert_true(c->name && *c->name && c->help && *c->help && c->run && c->ctx);
        assert_non_null(c->args);
    }
}

static char reports[2048];
static void report(void *ctx, const char *msg)
{
    (void)ctx;
    strcat(reports, msg);
    strcat(reports, "\n");
}

static void test_key_file(void **state)
{
    (void)state;
    char text[] = "# mine\nmap K = head +1\nall Ctrl-R = redraw\nall q = none\nmap X = no-such\nnowhere x = "
                  "quit\nmap Blah = quit\n"
                  "map K = head -1\nrubbish\n";
    FILE *f = fmemopen(text, strlen(text), "r");
    ui_keys_reset();
    *reports = 0;
    ui_keys_load(f, "keys", report, NULL);
    fclose(f);
    assert_string_equal(ui_key_line(UI_SCREEN_MAP, 'K'), "head +1");
    assert_string_equal(ui_key_line(UI_SCREEN_TEXT, 'K'), "move-10 up");
    assert_string_equal(ui_key_line(UI_SCREEN_RUN, 'R' & 0x1f), "redraw");
    assert_null(ui_key_line(UI_SCREEN_RUN, 'q'));
    assert_non_null(strstr(reports, "line 5: no-such is not a command"));
    assert_non_null(strstr(reports, "line 6: nowhere is not a screen"));
    assert_non_null(strstr(reports, "line 7: Blah is not the name of a key"));
    assert_non_null(strstr(reports, "line 8: K is already bound"));
    assert_non_null(strstr(reports, "line 9: expected SCREEN KEY = COMMAND"));
    ui_keys_reset();
    assert_string_equal(ui_key_line(UI_SCREEN_RUN, 'q'), "back-or-quit");
}

static void test_tier(void **state)
{
    (void)state;
    static const struct { struct ui_env e; const char *wish; enum ui_tier want;
    } cases[] = {
        { { "xterm-256color", NULL, NULL, true, false }, NULL, UI_TIER_256 },
        { { "xterm-256color", "truecolor", NULL, true, false }, NULL, UI_TIER_RGB },
        { { "xterm-direct", NULL, NULL, true, false }, NULL, UI_TIER_RGB },
        { { "xterm-256color", "truecolor", "1", true, false }, NULL, UI_TIER_MONO },
        { { "xterm-256color", "truecolor", "", true, false },
          NULL,
          UI_TIER_RGB }, /* empty NO_COLOR does not count */
        { { "xterm-256color", "truecolor", "1", true, false },
          "256",
          UI_TIER_256 }, /* the command line goes first */
        { { NULL, NULL, NULL, true, false }, NULL, UI_TIER_256 },
        { { "xterm", NULL, NULL, true, false }, "never", UI_TIER_MONO },
        { { "xterm", NULL, NULL, true, false }, "auto", UI_TIER_256 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[100] = "";
        assert_int_equal(ui_tier_decide(&cases[i].e, cases[i].wish, why, sizeof why), cases[i].want);
        assert_true(*why);
    }
}

/* ---- state without a terminal or a model ---- */

static struct ui_state *open_state(const struct ui_app_opts *o)
{
    struct ui_state *st = calloc(1, sizeof *st);
    struct ui_app *a = calloc(1, sizeof *a);
    a->opts = o;
    a->headless = true;
    ui_state_init(st, a);
    st->work = ui_work_new(ui_notify, a);
    st->run = ui_run_new(st);
    st->tasks = ui_tasks_new(st);
    a->shots = ui_shots_new(a);
    assert_true(cells_resize(&a->buf, 100, 30));
    return st;
}

static void close_state(struct ui_state *st)
{
    struct ui_app *a = st->app;
    ui_state_free(st);
    free(st);
    free(a);
}

static void type(struct ui_state *st, const char *s)
{
    for (; *s; s++) ui_key(st, (unsigned char)*s);
}

static void test_commands(void **state)
{
    (void)state;
    struct ui_app_opts o = { .headless = true };
    struct ui_state *st = open_state(&o);
    assert_true(ui_run_line(st, "screen map"));
    assert_true(ui_run_line(st, "  :scale   lift "));
    assert_int_equal(st->at.scale, UI_SCALE_LIFT);
    assert_true(ui_run_line(st, "# a remark"));
    assert_false(ui_run_line(st, "scael log"));
    assert_non_null(strstr(st->app->say, "did you mean scale?"));
    assert_false(ui_run_line(st, "scale purple"));
    assert_non_null(strstr(st->app->say, "log"));
    assert_false(ui_run_line(st, "method-set quest"));
    assert_non_null(strstr(st->app->say, "Run screen"));
    assert_false(ui_run_line(st, "layer 3"));          /* nothing has run */

    /* Undo goes back, redo forth, a new change cuts what could be redone. */
    ui_run_line(st, "u");
    ui_run_line(st, "undo");
    assert_int_equal(st->at.scale, UI_SCALE_LOG);
    ui_run_line(st, "undo");
    assert_int_equal(st->at.screen, UI_SCREEN_RUN);
    ui_run_line(st, "redo");
    ui_run_line(st, "redo");
    assert_int_equal(st->at.scale, UI_SCALE_LIFT);
    assert_int_equal(st->at.screen, UI_SCREEN_MAP);
    ui_run_line(st, "undo");
    ui_run_line(st, "scale root");
    ui_run_line(st, "redo");
    assert_int_equal(st->at.scale, UI_SCALE_ROOT);
    for (int i = 0; i < 200; i++) ui_run_line(st, "scale next");
    for (int i = 0; i < 300; i++) ui_run_line(st, "undo");

    /* Marks and the back stack. */
    ui_run_line(st, "screen text");
    ui_run_line(st, "mark a");
    ui_run_line(st, "screen heads");
    assert_false(ui_run_line(st, "goto-mark b"));
    assert_true(ui_run_line(st, "goto-mark a"));
    assert_int_equal(st->at.screen, UI_SCREEN_TEXT);
    ui_run_line(st, "back");
    assert_int_equal(st->at.screen, UI_SCREEN_HEADS);

    assert_true(ui_run_line(st, "set theme light"));
    assert_int_equal(st->look.theme, UI_THEME_LIGHT);
    assert_false(ui_run_line(st, "set tehme dark"));
    assert_non_null(strstr(st->app->say, "did you mean theme?"));
    assert_true(ui_run_line(st, "bind map K = scale lift"));
    assert_false(ui_run_line(st, "bind map K = fly"));
    ui_keys_reset();
    close_state(st);
}

static void test_prompt(void **state)
{
    (void)state;
    struct ui_app_opts o = { .headless = true };
    struct ui_state *st = open_state(&o);
    char out[200];
    int cx, cy;
    type(st, ":scr");
    assert_int_equal(st->app->mode, UI_MODE_PROMPT);
    ui_key(st, UI_K_TAB);
    assert_string_equal(st->app->input.text, "screen ");
    type(st, "ma");
    ui_key(st, UI_K_TAB);
    assert_string_equal(st->app->input.text, "screen map");
    ui_draw(st, &st->app->buf, &cx, &cy);
    assert_int_equal(cy, 29);
    assert_int_equal(cx, 1 + (int)strlen("screen map"));
    ui_key(st, UI_K_ENTER);
    assert_int_equal(st->at.screen, UI_SCREEN_MAP);
    ui_key(st, ':');
    ui_key(st, UI_K_UP);
    assert_string_equal(st->app->input.text, "screen map");
    ui_key(st, 21);                       /* Ctrl-U */
    ui_paste(st, "theme light\nquit", 16);        /* one line, run by nobody */
    assert_string_equal(st->app->input.text, "theme light quit");
    ui_key(st, UI_K_HOME);
    ui_key(st, UI_K_DEL);
    ui_key(st, UI_K_END);
    ui_key(st, 23);                       /* Ctrl-W */
    assert_string_equal(st->app->input.text, "heme light ");
    ui_key(st, UI_K_ESC);
    assert_int_equal(st->app->mode, UI_MODE_NORMAL);
    assert_false(st->app->quit);
    assert_true(ui_complete("method-add qu", UI_SCREEN_RUN, 0, out, sizeof out));
    assert_string_equal(out, "method-add quest");
    assert_true(ui_complete("set th", UI_SCREEN_RUN, 0, out, sizeof out));
    assert_false(ui_complete("zzz", UI_SCREEN_RUN, 0, out, sizeof out));

    /* gg waits without limit; g and a digit asks for a position; Esc gives up. */
    type(st, "g");
    assert_int_equal(st->app->pending, 'g');
    ui_key(st, UI_K_ESC);
    assert_int_equal(st->app->pending, 0);
    type(st, "g5");
    assert_string_equal(st->app->input.text, "goto 5");
    ui_key(st, UI_K_ESC);

    /* Esc and a letter that came together are what was typed. */
    type(st, "?");
    assert_int_equal(st->app->mode, UI_MODE_HELP);
    ui_key(st, '1' | UI_KEY_ALT);
    assert_int_equal(st->app->mode, UI_MODE_NORMAL);
    assert_int_equal(st->at.screen, UI_SCREEN_RUN);

    /* Help filters and runs. */
    type(st, "?repaint");
    st->app->repaint = false;
    ui_key(st, UI_K_ENTER);
    assert_true(st->app->repaint);

    /* Ctrl-C once stops, twice within two seconds quits. */
    st->now = 10;
    ui_key(st, 3);
    assert_false(st->app->quit);
    st->now = 13;
    ui_key(st, 3);
    assert_false(st->app->quit);
    st->now = 14;
    ui_key(st, 3);
    assert_true(st->app->quit);
    close_state(st);
}

static void test_methods(void **state)
{
    (void)state;
    struct ui_app_opts o = { .headless = true };
    struct ui_state *st = open_state(&o);
    char out[200];
    assert_true(st->run->n_rows > 4);
    assert_string_equal(st->run->row[0].spec, "dense");
    assert_true(ui_spec_scale("quest:token_budget=512", NULL, 4096, 0.5, out, sizeof out));
    assert_string_equal(out, "quest:token_budget=256");
    assert_false(ui_spec_scale("dense", NULL, 4096, 0.5, out, sizeof out));
    assert_false(ui_run_line(st, "method-add qest"));
    assert_non_null(strstr(st->app->say, "quest"));
    int n = st->run->n_rows;
    assert_true(ui_run_line(st, "method-add quest:token_budget=128"));
    assert_int_equal(st->run->n_rows, n + 1);
    assert_true(ui_run_line(st, "method-set quest:token_budget=64"));
    assert_string_equal(st->run->row[n].spec, "quest:token_budget=64");
    assert_false(ui_run_line(st, "method-set quest:token_budget=-3"));
    assert_true(ui_run_line(st, "tick none"));
    for (int i = 0; i < st->run->n_rows; i++) assert_false(st->run->row[i].on);
    assert_true(ui_run_line(st, "length 2K"));
    assert_int_equal(st->run->want.length, 2048);
    assert_false(ui_run_line(st, "length many"));
    assert_false(ui_run_line(st, "task neadle"));
    assert_true(ui_run_line(st, "prompt Hello there"));
    assert_string_equal(st->run->want.prompt, "Hello there");
    /* How long a prompt of one's own is, nobody knows before it is read. */
    char says[80];
    ui_view_run.context(st, says, sizeof says, 80);
    assert_null(strstr(says, "tokens"));
    close_state(st);
}

/* ---- the worker ---- */

static void *compute(struct sac_trace *t, const int *arg, const atomic_bool *cancel)
{
    (void)t;
    (void)cancel;
    int *out = malloc(sizeof *out);
    if (out) *out = arg[0] * 2;
    return out;
}

static void test_no_trace(void **state)
{
    (void)state;
    struct ui_app_opts o = { .headless = true };
    struct ui_state *st = open_state(&o);
    enum ui_req_state rs;
    int arg = 21;
    assert_null(ui_request(st, compute, &arg, 1, 0, &rs));
    assert_int_equal(rs, UI_REQ_QUEUED);
    assert_true(ui_work_idle(st->work));
    close_state(st);
}

/* A view is left and come back to while its computation is being cancelled: it is computed after all, and the
 * loop is woken for it. */
static atomic_int started, given_up, let_go;

static void *slow(struct sac_trace *t, const int *arg, const atomic_bool *cancel)
{
    (void)t;
    atomic_store(&started, 1);
    if (!atomic_load(&given_up)) {
        while (!atomic_load(cancel)) usleep(100);
        atomic_store(&given_up, 1);
        while (!atomic_load(&let_go)) usleep(100);
        return NULL;
    }
    return compute(t, arg, cancel);
}

static void woken(void *n) { atomic_fetch_add((atomic_int *)n, 1); }

static void test_come_back(void **state)
{
    (void)state;
    struct ui_app_opts o = { .headless = true };
    struct ui_state *st = open_state(&o);
    struct sac_err err = { 0 };
    atomic_int wakes = 0;
    int arg = 21, frames = 0;
    const int *result = NULL;
    if (sac_trace_open(&st->trace, SOURCE_DIR "/samples/traces/tour.trace", &err) != SAC_OK)
        fail_msg("%s", err.msg);
    ui_work_free(st->work);
    st->work = ui_work_new(woken, &wakes);
    ui_work_frame(st->work, 0);
    assert_null(ui_request(st, slow, &arg, 1, 0, NULL));
    while (!atomic_load(&started)) usleep(1000); /* what only waits its turn would be dropped */
    while (!atomic_load(&given_up)) { /* frames of another view */
        ui_work_frame(st->work, 0.01 * frames++);
        usleep(1000);
    }
    ui_work_frame(st->work, 1);
    assert_null(ui_request(st, slow, &arg, 1, 0, NULL));
    atomic_store(&let_go, 1);
    for (int i = 0; i < 5000 && !atomic_load(&wakes); i++) usleep(1000);
    assert_true(atomic_load(&wakes) > 0); /* or the screen would wait for a key that nobody presses */
    ui_work_frame(st->work, 1.1);
    result = ui_request(st, slow, &arg, 1, 0, NULL);
    assert_non_null(result);
    assert_int_equal(*result, 42);
    close_state(st);
}

int main(void)
{
    setlocale(LC_ALL, "C");      /* frames do not depend on the locale */
    setenv("XDG_STATE_HOME", "/nonexistent", 1);
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),      cmocka_unit_test(test_clip),      cmocka_unit_test(test_maps),
        cmocka_unit_test(test_theme),     cmocka_unit_test(test_key_names), cmocka_unit_test(test_tables),
        cmocka_unit_test(test_key_file),  cmocka_unit_test(test_tier),      cmocka_unit_test(test_commands),
        cmocka_unit_test(test_prompt),    cmocka_unit_test(test_methods),   cmocka_unit_test(test_no_trace),
        cmocka_unit_test(test_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
