/* Figures: pixels of cells, texts inside, reproducibility, formats, safe writes, recipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "export.h"
#include "figure.h"

#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct picture { int w, h; unsigned char *rgb; };

static struct picture decode(const struct figure_bytes *b)
{
    png_image im = { .version = PNG_IMAGE_VERSION };
    struct picture p = { 0, 0, NULL };
    assert_true(png_image_begin_read_from_memory(&im, b->data, b->n));
    im.format = PNG_FORMAT_RGB;
    p.w = (int)im.width;
    p.h = (int)im.height;
    p.rgb = malloc(PNG_IMAGE_SIZE(im));
    assert_non_null(p.rgb);
    assert_true(png_image_finish_read(&im, NULL, p.rgb, 0, NULL));
    return p;
}

static uint32_t pixel(const struct picture *p, int x, int y)
{
    const unsigned char *q = p->rgb + 3 * ((size_t)y * (size_t)p->w + (size_t)x);
    return FIGURE_RGB(q[0], q[1], q[2]);
}

static long count(const struct picture *p, uint32_t rgb)
{
    long n = 0;
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) n += pixel(p, x, y) == rgb;
    return n;
}

/* A pane of 8 x 8 cells in colours nothing else uses. */
static uint32_t cell_rgb(int i) { return FIGURE_RGB(17 + i, 201, 3 + 2 * i); }

static void pane_cells(uint32_t cell[64])
{
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 8; x++) cell[y * 8 + x] = x > y ? FIGURE_EMPTY : cell_rgb(y);
}

static struct figure_map map_of(struct figure_pane *pane, const uint32_t *cell)
{
    *pane = (struct figure_pane){ .h = 8, .w = 8, .cell = cell, .y = { 0, 8, "query", NULL, false, NULL, false },
                                  .x = { 0, 8, "key", NULL, false, NULL, false } };
    return (struct figure_map){
        .text = { "A title", "and what is under it", "caption" }, .n_panes = 1, .pane = pane, .pane_size = 400
    };
}

static const struct figure_meta meta = { "A title", "one line", "{\"a\": \"<&>\", \"b\": \"\xce\xbb\"}",
                                         "saccade snapshot", NULL };

static void test_cells_are_whole_pixels(void **state)
{
    static const double scale[] = { 1, 2, 3 };
    uint32_t cell[64];
    struct figure_pane pane;
    (void)state;
    pane_cells(cell);
    for (int i = 0; i < 3; i++) {
        struct figure_map m = map_of(&pane, cell);
        struct figure_style s = { .scale = scale[i], .dark = i == 1 };
        struct figure_bytes b;
        struct sac_err err = { 0 };
        assert_int_equal(figure_draw_map(&m, &s, FIGURE_PNG, &meta, &b, &err), SAC_OK);
        struct picture p = decode(&b);
        long side = (long)(400 * scale[i] / 8);
        for (int y = 0; y < 8; y++) assert_int_equal(count(&p, cell_rgb(y)), (y + 1) * side * side);
        free(p.rgb);
        figure_bytes_free(&b);
    }
}

/* A scale that does not divide evenly may move an edge by a pixel but mixes no colours. */
static void test_no_smoothing(void **state)
{
    uint32_t cell[64];
    struct figure_pane pane;
    (void)state;
    for (int i = 0; i < 64; i++) cell[i] = (i + i / 8) % 2 ? 0x0102f0 : 0xf00201;
    struct figure_map m = map_of(&pane, cell);
    m.text = (struct figure_text){ NULL, NULL, NULL };
    pane.x.title = pane.y.title = NULL;
    struct figure_style s = { .scale = 1.37 };
    struct figure_bytes b;
    assert_int_equal(figure_draw_map(&m, &s, FIGURE_PNG, &meta, &b, NULL), SAC_OK);
    struct picture p = decode(&b);
    long inside = count(&p, 0x0102f0) + count(&p, 0xf00201), side = 0;
    for (int y = 0, run = 0; y < p.h; y++, run = 0)
        for (int x = 0; x < p.w; x++) {
            uint32_t c = pixel(&p, x, y);
            if (c == 0x0102f0 || c == 0xf00201) run++;
            if (run > side) side = run;
        }
    assert_int_equal(inside, side * side);
    free(p.rgb);
    figure_bytes_free(&b);
}

static void test_same_bytes_twice(void **state)
{
    uint32_t cell[64];
    struct figure_pane pane;
    (void)state;
    pane_cells(cell);
    for (int f = 0; f < 3; f++) {
        struct figure_map m = map_of(&pane, cell);
        struct figure_bytes a, b;
        assert_int_equal(figure_draw_map(&m, NULL, (enum figure_format)f, &meta, &a, NULL), SAC_OK);
        assert_int_equal(figure_draw_map(&m, NULL, (enum figure_format)f, &meta, &b, NULL), SAC_OK);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.data, b.data, a.n);
        if (f == FIGURE_PDF) assert_null(memmem(a.data, a.n, "CreationDate", 12));
        figure_bytes_free(&a);
        figure_bytes_free(&b);
    }
}

static char *temp_path(const char *name)
{
    static char path[2][300];
    static int k;
    k = !k;
    const char *tmp = getenv("TMPDIR");
    snprintf(path[k], sizeof path[k], "%s/saccade-test-%ld-%s", tmp && *tmp ? tmp : "/tmp", (long)getpid(),
             name);
    return path[k];
}

static void test_texts_come_back(void **state)
{
    uint32_t cell[64];
    struct figure_pane pane;
    struct figure_bytes b;
    (void)state;
    pane_cells(cell);
    struct figure_map m = map_of(&pane, cell);
    struct figure_meta long_meta = meta;
    char *prompt = malloc(100001);
    assert_non_null(prompt);
    for (int i = 0; i < 100000; i++) prompt[i] = (char)('a' + i % 23);
    prompt[100000] = 0;
    long_meta.prompt = prompt;
    assert_int_equal(figure_draw_map(&m, NULL, FIGURE_PNG, &long_meta, &b, NULL), SAC_OK);
    char *path = temp_path("texts.png");
    assert_int_equal(figure_write(path, b.data, b.n, true, NULL), SAC_OK);
    struct figure_png_text t;
    assert_int_equal(figure_png_read(path, &t, NULL), SAC_OK);
    assert_string_equal(t.title, meta.title);
    assert_string_equal(t.comment, meta.comment);
    assert_string_equal(t.command, meta.command);
    assert_string_equal(t.prompt, prompt);
    assert_non_null(strstr(t.software, "saccade"));
    figure_png_text_free(&t);
    figure_bytes_free(&b);
    unlink(path);
    free(prompt);
}

static void test_damaged_png_is_refused(void **state)
{
    uint32_t cell[64];
    struct figure_pane pane;
    struct figure_bytes b;
    struct figure_png_text t;
    (void)state;
    pane_cells(cell);
    struct figure_map m = map_of(&pane, cell);
    assert_int_equal(figure_draw_map(&m, NULL, FIGURE_PNG, &meta, &b, NULL), SAC_OK);
    char *path = temp_path("damaged.png");
    for (size_t n = 0; n < 600; n += 7) {            /* cut in the header and in the texts */
        struct sac_err err = { 0 };
        assert_int_equal(figure_write(path, b.data, n, true, NULL), SAC_OK);
        if (figure_png_read(path, &t, &err) == SAC_OK) figure_png_text_free(&t);
        else assert_true(strlen(err.msg) > 10);
    }
    for (size_t i = 8; i < 400; i++) {               /* one byte wrong: read or refused, never a crash */
        b.data[i] ^= 0x41;
        figure_write(path, b.data, b.n, true, NULL);
        if (figure_png_read(path, &t, NULL) == SAC_OK) figure_png_text_free(&t);
        b.data[i] ^= 0x41;
    }
    struct ui_recipe r;
    struct sac_err err = { 0 };
    assert_int_equal(figure_write(path, b.data, b.n, true, NULL), SAC_OK);
    assert_int_equal(ui_recipe_read(&r, path, &err), SAC_ENOTSUP);      /* JSON, but no recipe */
    figure_bytes_free(&b);
    unlink(path);
}

/* One rectangle for a row of one colour, and the recipe in <metadata>. */
static void test_svg_merges_runs(void **state)
{
    uint32_t cell[64];
    struct figure_pane pane;
    struct figure_bytes b;
    (void)state;
    for (int i = 0; i < 64; i++) cell[i] = 0x123456;
    struct figure_map m = map_of(&pane, cell);
    assert_int_equal(figure_draw_map(&m, NULL, FIGURE_SVG, &meta, &b, NULL), SAC_OK);
    char *text = calloc(b.n + 1, 1);
    assert_non_null(text);
    memcpy(text, b.data, b.n);
    const char *path = strstr(text, "fill:rgb(7.058824%,20.392157%,33.72549%)");
    assert_non_null(path);
    const char *end = strchr(path, '>');
    int closed = 0;
    for (const char *q = path; q < end; q++) closed += *q == 'Z';
    assert_int_equal(closed, 8);                     /* eight rows, one rectangle each */
    assert_null(strstr(end, "fill:rgb(7.058824%,20.392157%,33.72549%)"));
    assert_non_null(strstr(text, "<comment>{\"a\": \"&lt;&amp;&gt;\""));
    free(text);
    figure_bytes_free(&b);
}

static void test_screen_blocks_join(void **state)
{
    struct figure_cell cell[12];
    struct figure_screen s = { 4, 3, cell, NULL };
    struct figure_style style = { .scale = 1 };
    struct figure_bytes b;
    (void)state;
    for (int i = 0; i < 12; i++) cell[i] = (struct figure_cell){ U' ', 0xffffff, 0x101010, 0 };
    cell[5] = (struct figure_cell){ 0x2580, 0xff0000, 0x0000ff, 0 };     /* upper half red on blue */
    cell[6] = (struct figure_cell){ 0x2588, 0x00ff00, 0x0000ff, 0 };     /* full */
    cell[9] = (struct figure_cell){ 0x2502, 0xfedcba, 0x101010, 0 };     /* a line from edge to edge */
    assert_int_equal(figure_draw_screen(&s, &style, FIGURE_PNG, NULL, &b, NULL), SAC_OK);
    struct picture p = decode(&b);
    assert_int_equal(count(&p, 0xff0000), 8 * 8);
    assert_int_equal(count(&p, 0x0000ff), 8 * 8);
    assert_int_equal(count(&p, 0x00ff00), 8 * 16);
    assert_int_equal(count(&p, 0xfedcba), 16);
    free(p.rgb);
    figure_bytes_free(&b);
}

static struct picture screen_of(struct figure_cell *cell, int w, const char32_t (*mark)[4])
{
    struct figure_screen s = { w, 1, cell, mark };
    struct figure_style style = { .scale = 1 };
    struct figure_bytes b;
    assert_int_equal(figure_draw_screen(&s, &style, FIGURE_PNG, NULL, &b, NULL), SAC_OK);
    struct picture p = decode(&b);
    figure_bytes_free(&b);
    return p;
}

static uint32_t ground(const struct picture *p, int x) { return pixel(p, 8 + 8 * x, 8); }

/* Words from right to left stand as they are read, with their colours; the frame, numbers and other words
 * stay. */
static void test_screen_words_run_their_way(void **state)
{
    static const char32_t text[] = { U'|',  U'7', U' ', 0x5e9, 0x5dc,  0x5d5,
                                     0x5dd, U' ', U'a', U'b',  0x2502, 0x5d0 };
    enum { N = sizeof text / sizeof *text };
    static const int want[N] = { 0, 1, 2, 6, 5, 4, 3, 7, 8, 9, 10, 11 };
    struct figure_cell cell[N];
    (void)state;
    for (int i = 0; i < N; i++)
        cell[i] = (struct figure_cell){ text[i], 0, 0x101010u * (uint32_t)(i + 2), 0 };
    struct picture p = screen_of(cell, N, NULL);
    for (int x = 0; x < N; x++) assert_int_equal(ground(&p, x), cell[want[x]].bg);
    free(p.rgb);
    for (int i = 0; i < N; i++) cell[i].ch = U'a'; /* other text stays as it is */
    p = screen_of(cell, N, NULL);
    for (int x = 0; x < N; x++) assert_int_equal(ground(&p, x), cell[x].bg);
    free(p.rgb);
}

static void test_screen_marks_are_drawn(void **state)
{
    static const char32_t mark[1][4] = { { 0x301 } };
    struct figure_cell cell = { U'e', 0, 0xffffff, 0 };
    (void)state;
    struct picture a = screen_of(&cell, 1, NULL), b = screen_of(&cell, 1, mark);
    long differ = 0;
    for (int y = 0; y < a.h; y++)
        for (int x = 0; x < a.w; x++) differ += pixel(&a, x, y) != pixel(&b, x, y);
    assert_true(differ > 3);
    free(a.rgb);
    free(b.rgb);
}

static void test_plot_survives_odd_data(void **state)
{
    const double nan = (double)NAN, x[] = { 1, 10, 100, 1000 }, y[] = { 1, nan, 3, 2 },
                 same[] = { 5, 5, 5, 5 }, none[] = { nan, nan, nan, nan };
    const struct figure_series series[] = {
        { .name = "a", .n = 4, .x = x, .y = y, .err_lo = none, .err_hi = none },
        { .name = "b", .n = 4, .x = x, .y = same, .kind = FIGURE_PLOT_BARS },
        { .name = "", .n = 4, .x = x, .y = none },
        { .name = "empty" }
    };
    (void)state;
    for (int k = 0; k < 8; k++) {
        struct figure_plot p = { .text = { "t", "", NULL },
                                 .x_log = k & 1,
                                 .y_log = k & 2,
                                 .n_series = k & 4 ? 4 : 0,
                                 .series = series };
        struct figure_bytes b;
        assert_int_equal(figure_draw_plot(&p, NULL, FIGURE_PNG, NULL, &b, NULL), SAC_OK);
        figure_bytes_free(&b);
    }
}

static void test_too_large_is_refused(void **state)
{
    uint32_t cell[64];
    struct figure_pane pane;
    struct figure_bytes b;
    struct sac_err err = { 0 };
    (void)state;
    pane_cells(cell);
    struct figure_map m = map_of(&pane, cell);
    struct figure_style s = { .scale = 100 };
    assert_int_equal(figure_draw_map(&m, &s, FIGURE_PNG, NULL, &b, &err), SAC_EARG);
    assert_non_null(strstr(err.msg, "32767"));
}

static void test_writes_are_safe(void **state)
{
    struct sac_err err = { 0 };
    char name[400];
    (void)state;
    char *path = temp_path("write.txt");
    assert_int_equal(figure_write(path, "one", 3, false, NULL), SAC_OK);
    assert_int_equal(figure_write(path, "two", 3, false, &err), SAC_EIO);
    assert_non_null(strstr(err.msg, "--force"));
    assert_int_equal(figure_write(path, "three", 5, true, NULL), SAC_OK);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 5);
    figure_free_name("/tmp", "", name, sizeof name);
    assert_string_equal(name, "/tmp-2");
    unlink(path);
    assert_int_equal(figure_write("/nowhere/at/all.png", "x", 1, false, NULL), SAC_EIO);
    assert_int_equal(figure_write("/tmp", "x", 1, true, NULL), SAC_EIO);
    err = (struct sac_err){ 0 };
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(figure_write("/dev/full", "x", 1, true, &err), SAC_EIO);
        assert_non_null(strstr(err.msg, "full"));
    }
}

static void test_recipes_from_anywhere(void **state)
{
    static const struct { const char *json; enum sac_code want;
    } row[] = {
        { "", SAC_EFORMAT },
        { "[]", SAC_ENOTSUP },
        { "{}", SAC_ENOTSUP },
        { "{\"schema\":\"saccade.figure/9\"}", SAC_ENOTSUP },
        { "{\"schema\":\"saccade.figure/1\"}", SAC_EFORMAT },
        { "{\"schema\":\"saccade.figure/1\",\"view\":{\"name\":\"nothing\"}}", SAC_EFORMAT },
        { "{\"schema\":\"saccade.figure/1\",\"view\":{\"name\":\"map\",\"pixels\":-3}}", SAC_EFORMAT },
        { "{\"schema\":\"saccade.figure/1\",\"view\":{\"name\":\"map\",\"layer\":1e99,\"window\":[1,2]}}",
          SAC_OK },
        { "{\"schema\":\"saccade.figure/"
          "1\",\"view\":{\"name\":\"text\",\"row\":7},\"run\":{\"methods\":[1,null,\"quest\"]}}",
          SAC_OK },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct ui_recipe r;
        struct sac_err err = { 0 };
        assert_int_equal(ui_recipe_parse(&r, row[i].json, "figure", &err), row[i].want);
        if (row[i].want) assert_true(strlen(err.msg) > 10);
        if (i == 8) {
            assert_int_equal(r.shot.at.row, 7);
            assert_int_equal(r.n_methods, 1);
            assert_string_equal(r.method[0], "quest");
        }
        ui_recipe_free(&r);
    }
}

static void test_animation_joins_frames(void **state)
{
    struct figure_bytes frame[3], all;
    struct figure_style style = { .scale = 1 };
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct figure_cell cell = { 0x2588, 0x112233u + (uint32_t)i, 0, 0 };
        struct figure_screen s = { 1, 1, &cell, NULL };
        assert_int_equal(figure_draw_screen(&s, &style, FIGURE_PNG, NULL, &frame[i], NULL), SAC_OK);
    }
    assert_int_equal(figure_apng(frame, 3, 100, &all, NULL), SAC_OK);
    struct picture p = decode(&all);           /* readers without animation see the first frame */
    assert_int_equal(count(&p, 0x112233), 8 * 16);
    free(p.rgb);
    int fctl = 0, fdat = 0;
    for (size_t i = 0; i + 4 < all.n; i++)
        fctl += !memcmp(all.data + i, "fcTL", 4), fdat += !memcmp(all.data + i, "fdAT", 4);
    assert_int_equal(fctl, 3);
    assert_true(fdat >= 2);
    figure_bytes_free(&all);
    for (int i = 0; i < 3; i++) figure_bytes_free(&frame[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells_are_whole_pixels), cmocka_unit_test(test_no_smoothing),
        cmocka_unit_test(test_same_bytes_twice),       cmocka_unit_test(test_texts_come_back),
        cmocka_unit_test(test_damaged_png_is_refused), cmocka_unit_test(test_svg_merges_runs),
        cmocka_unit_test(test_screen_blocks_join),     cmocka_unit_test(test_screen_words_run_their_way),
        cmocka_unit_test(test_screen_marks_are_drawn), cmocka_unit_test(test_plot_survives_odd_data),
        cmocka_unit_test(test_too_large_is_refused),   cmocka_unit_test(test_writes_are_safe),
        cmocka_unit_test(test_recipes_from_anywhere),  cmocka_unit_test(test_animation_joins_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
