/* Frames of Heads, Map, Compare, Text and Pages against recorded ones, and what must hold of every frame.
 *
 * Frames come from a made-up trace (views_fake.h). SACCADE_UPDATE_SCREENS=1 writes the recorded frames anew;
 * look at them before they are committed. */
#include "slurp.h"
#include "views_fake.h"

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct ui_view *const views[] = { &ui_view_heads, &ui_view_map, &ui_view_compare, &ui_view_text,
                                               &ui_view_pages };
enum { N_VIEWS = sizeof views / sizeof *views };

/* A view drawn between its two lines of text above and below, as on screen. */
static void frame(struct ui_state *st, const struct ui_view *v, struct cell_buf *b, int w, int h)
{
    char line[1024] = "";
    assert_true(cells_init(b, w, h));
    b->ascii = st->look.ascii;
    st->body = (struct ui_rect){ 0, 1, w, h - 2 };
    for (int i = 0; i < N_VIEWS; i++)
        if (views[i] == v) st->at.screen = (enum ui_screen)(UI_SCREEN_HEADS + i);
    v->settle(st);
    v->draw(st, b, st->body);
    v->context(st, line, sizeof line, w);
    cells_fit(b, 0, 0, w, line, ui_style(&st->look, UI_DIM));
    line[0] = 0;
    v->status(st, line, sizeof line);
    cells_fit(b, 0, h - 1, w, line, ui_style(&st->look, UI_STATUS));
}

static bool run(struct ui_state *st, const char *line)
{
    char name[64];
    size_t n = strcspn(line, " ");
    snprintf(name, sizeof name, "%.*s", (int)n, line);
    for (int i = 0; i < N_VIEWS; i++)
        for (int j = 0; j < views[i]->n_cmds; j++)
            if (!strcmp(views[i]->cmds[j].name, name) && (views[i]->cmds[j].ctx & UI_CTX(st->at.screen)))
                return views[i]->cmds[j].run(st, line[n] ? line + n + 1 : "");
    fail_msg("no command %s", name);
    return false;
}

static void compare_frame(const struct cell_buf *b, const char *name, bool ansi)
{
    char path[600], *got = NULL;
    size_t len = 0;
    FILE *m = open_memstream(&got, &len);
    assert_non_null(m);
    if (ansi) cells_dump_ansi(b, m);
    else cells_dump_text(b, m);
    fclose(m);
    snprintf(path, sizeof path, "%s/screens/%s.%s", TEST_DIR, name, ansi ? "ansi" : "txt");
    if (getenv("SACCADE_UPDATE_SCREENS")) {
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        fwrite(got, 1, len, f);
        fclose(f);
    }
    char *want = slurp(path, NULL);
    if (!want) fail_msg("%s is missing; SACCADE_UPDATE_SCREENS=1 writes it", path);
    if (strcmp(want, got)) {
        size_t at = 0, row = 1;
        while (want[at] && want[at] == got[at]) row += want[at++] == '\n';
        fprintf(stderr, "%s differs in line %zu:\n%s\n", path, row, got);
        fail_msg("%s differs in line %zu", path, row);
    }
    free(want);
    free(got);
}

static void test_golden(void **state)
{
    static const struct {
        int view;
        const char *name, *before[3];
    } extra[] = {
        { 0, "worst", { "sort worst", "filter recall<0.9" } },
        { 0, "thumbs", { "thumbs on" } },
        { 0, "similar", { "similar" } },
        { 1, "zoomed", { "zoom in", "zoom in", "overlay mask" } },
        { 1, "why", { "why on", "overlay misses" } },
        { 2, "difference", { "diff signed" } },
        { 2, "blink", { "blink" } },
        { 3, "unfolded", { "fold 0", "shade difference" } },
        { 4, "count", { "view count" } },
        { 4, "worst", { "sort worst", "view union" } },
    };
    static const struct { int w, h; enum ui_tier tier; bool ascii; const char *name; } as[] = {
        { 120, 40, UI_TIER_MONO, false, "120x40-mono" }, { 80, 24, UI_TIER_MONO, true, "80x24-ascii" },
        { 120, 40, UI_TIER_256, false, "120x40-256" }, { 80, 24, UI_TIER_256, false, "80x24-256" },
    };
    static struct ui_state st;
    (void)state;
    for (int i = 0; i < N_VIEWS; i++)
        for (size_t k = 0; k < sizeof as / sizeof *as; k++) {
            struct cell_buf b = { 0 };
            char name[80];
            fake_open(&st, as[k].tier, as[k].ascii);
            frame(&st, views[i], &b, as[k].w, as[k].h);
            snprintf(name, sizeof name, "%s-%s", views[i]->name, as[k].name);
            compare_frame(&b, name, as[k].tier == UI_TIER_256);
            cells_free(&b);
        }
    for (size_t e = 0; e < sizeof extra / sizeof *extra; e++) {
        struct cell_buf b = { 0 };
        char name[80];
        fake_open(&st, UI_TIER_MONO, false);
        st.at.screen = (enum ui_screen)(UI_SCREEN_HEADS + extra[e].view);
        for (int c = 0; c < 3 && extra[e].before[c]; c++) assert_true(run(&st, extra[e].before[c]));
        frame(&st, views[extra[e].view], &b, 120, 40);
        snprintf(name, sizeof name, "%s-%s-mono", views[extra[e].view]->name, extra[e].name);
        compare_frame(&b, name, false);
        cells_free(&b);
    }
}

/* A key that the footer names is never dead: whatever list Heads shows, thumbnails and the order take its place. */
static void test_heads_lists(void **state)
{
    static const char *const list[] = { "similar", "sort worst", "filter recall<0.9" };
    static struct ui_state st;
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (int hidden = 0; hidden < 2; hidden++) {
            fake_open(&st, UI_TIER_MONO, false);
            st.at.screen = UI_SCREEN_HEADS;
            struct cell_buf want = { 0 }, got = { 0 };
            assert_true(run(&st, "thumbs on"));
            frame(&st, &ui_view_heads, &want, 120, 40);
            if (!hidden) assert_true(run(&st, "thumbs off"));
            assert_true(run(&st, list[i]));
            assert_true(run(&st, "thumbs next"));
            frame(&st, &ui_view_heads, &got, 120, 40);
            for (int k = 0; k < 120 * 40; k++) assert_int_equal(got.cell[k].ch, want.cell[k].ch);
            cells_free(&want);
            cells_free(&got);
        }
    fake_open(&st, UI_TIER_MONO, false);
    st.at.screen = UI_SCREEN_HEADS;
    assert_true(run(&st, "similar") && run(&st, "sort worst"));
    assert_true(st.at.similar_to < 0 && st.at.worst_first);
    assert_true(run(&st, "similar") && run(&st, "filter recall<0.9"));
    assert_true(st.at.similar_to < 0 && st.at.filter[0]);
}

/* Any size, tier and state: nothing is written outside the body, and drawing changes nothing. */
static void test_stays_inside(void **state)
{
    static const int size[][2] = { { 60, 12 },  { 79, 13 },  { 80, 24 },   { 99, 31 }, { 120, 40 },
                                   { 160, 50 }, { 200, 60 }, { 400, 100 }, { 20, 5 } };
    static struct ui_state st, before;
    (void)state;
    for (int i = 0; i < N_VIEWS; i++)
        for (size_t s = 0; s < sizeof size / sizeof *size; s++)
            for (int tier = 0; tier < 4; tier += 3) {
                struct cell_buf b = { 0 };
                int w = size[s][0], h = size[s][1];
                fake_open(&st, (enum ui_tier)tier, tier == 0);
                st.at.screen = (enum ui_screen)(UI_SCREEN_HEADS + i);
                assert_true(cells_init(&b, w + 8, h + 8));
                cells_fill(&b, (struct ui_rect){ 0, 0, w + 8, h + 8 }, U'~',
                           (struct ui_style){ CELL_DEFAULT, CELL_DEFAULT, 0 });
                st.body = (struct ui_rect){ 4, 4, w, h };
                views[i]->settle(&st);
                before = st;
                struct ui_rect old = cells_clip(&b, st.body);
                cells_fill(&b, st.body, U' ', (struct ui_style){ CELL_DEFAULT, CELL_DEFAULT, 0 });
                cells_clip(&b, old);
                views[i]->draw(&st, &b, st.body);
                assert_memory_equal(&before, &st, sizeof st);
                for (int y = 0; y < h + 8; y++)
                    for (int x = 0; x < w + 8; x++) {
                        bool inside = x >= 4 && x < 4 + w && y >= 4 && y < 4 + h;
                        if (!inside && cells_at(&b, x, y)->ch != U'~')
                            fail_msg("%s at %dx%d writes at %d,%d", views[i]->name, w, h, x - 4, y - 4);
                    }
                cells_free(&b);
            }
}

static bool shows(const struct cell_buf *b, const char *text)
{
    char *got = NULL;
    size_t len = 0;
    FILE *m = open_memstream(&got, &len);
    cells_dump_text(b, m);
    fclose(m);
    bool yes = strstr(got, text) != NULL;
    if (!yes) fprintf(stderr, "'%s' not in:\n%s\n", text, got);
    free(got);
    return yes;
}

static void state_says(const struct ui_view *v, int w, int h, const char *text)
{
    static struct ui_state st;
    struct cell_buf b = { 0 };
    fake_forget();
    fake_open(&st, UI_TIER_MONO, true);
    if (!strcmp(text, "Nothing has run yet")) { st.trace = NULL; st.n_lanes = 0; }
    st.at.layer = 2;
    frame(&st, v, &b, w, h);
    assert_true(shows(&b, text));
    cells_free(&b);
}

/* A sparsity that was asked for stands in the title, not an "auto" that it led to. */
static void test_compare_title(void **state)
{
    static struct ui_state st;
    struct cell_buf b = { 0 };
    (void)state;
    fake_open(&st, UI_TIER_MONO, true);
    snprintf(st.lane[1].spec, sizeof st.lane[1].spec, "quest:sparsity=0.9,page_size=8");
    snprintf(st.lane[1].params, sizeof st.lane[1].params, "vertical_size=auto slash_size=auto");
    frame(&st, &ui_view_compare, &b, 120, 40);
    assert_true(shows(&b, "quest  sparsity=0.9,page_size=8 "));
    cells_free(&b);
}

static void test_states(void **state)
{
    (void)state;
    for (int i = 0; i < N_VIEWS; i++) {
        state_says(views[i], 80, 24, "Nothing has run yet");
        fake_pending = true;
        if (views[i] != &ui_view_map && views[i] != &ui_view_compare)
            state_says(views[i], 80, 24, "waiting for the worker");
        fake_state = SAC_LANE_QUEUED;
        fake_layers = 0;
        if (views[i] != &ui_view_map && views[i] != &ui_view_compare)
            state_says(views[i], 120, 40, "quest: queued");
        fake_pending = false;
        fake_state = SAC_LANE_PREFILL;
        fake_layers = 2;
        if (views[i] == &ui_view_map) state_says(views[i], 120, 40, "quest: prefill, layer 2 of 4");
        if (views[i] == &ui_view_heads) state_says(views[i], 120, 40, "2 of 4 layers measured");
        fake_state = SAC_LANE_FAILED;
        fake_layers = 0;
        if (views[i] == &ui_view_heads || views[i] == &ui_view_pages)
            state_says(views[i], 120, 40, "page_size=0 is below the minimum 1");
        fake_state = SAC_LANE_DONE;
        fake_layers = F_LAYERS;
    }
    /* While the tile is computed the overview stands in, and says so. */
    fake_pending = true;
    state_says(&ui_view_map, 120, 40, "~ Attention");
    fake_pending = false;
    fake_forget();
}

/* A thousand moves and commands in a fixed order keep every cursor where something is. */
static void test_wandering(void **state)
{
    static struct ui_state st;
    unsigned seed = 7;
    (void)state;
    fake_forget();
    fake_open(&st, UI_TIER_RGB, false);
    for (int i = 0; i < 1500; i++) {
        seed = mix(seed + (unsigned)i);
        const struct ui_view *v = views[seed % N_VIEWS];
        struct cell_buf b = { 0 };
        st.at.screen = (enum ui_screen)(UI_SCREEN_HEADS + (int)(seed % N_VIEWS));
        st.body = (struct ui_rect){ 0, 1, 60 + (int)(seed >> 8) % 100, 10 + (int)(seed >> 16) % 40 };
        v->settle(&st);
        switch ((seed >> 4) % 8) {
        case 0:
        case 1:
        case 2: v->move(&st, (enum ui_move)((seed >> 10) % 12), 1 + (int)(seed >> 20) % 30); break;
        case 3: if (v->event) v->event(&st, seed & 64 ? 1 : -1); break;
        case 4: if (v->toggle) v->toggle(&st); break;
        case 5:
            if (v->click)
                v->click(&st, (int)(seed >> 9) % 160, (int)(seed >> 13) % 50,
                         (enum ui_click)((seed >> 20) % 5));
            break;
        case 6:
            if (v->cancel && (seed & 256))
                v->cancel(&st);
            else if (v->find)
                v->find(&st, seed & 512 ? "ember" : "L3H1", seed & 1024 ? 1 : -1);
            break;
        default: {
            const struct ui_cmd *c = &v->cmds[(seed >> 12) % (unsigned)v->n_cmds];
            c->run(&st, strchr(c->args, '|') ? "next" : "");
            break;
        }
        }
        v->settle(&st);
        assert_true(st.at.layer >= 0 && st.at.layer < F_LAYERS && st.at.head >= 0 && st.at.head < F_HEADS);
        assert_true(st.at.row >= 0 && st.at.row < F_ROWS && st.at.key >= 0 && st.at.key < F_PROMPT + F_STEPS);
        assert_true(st.at.step >= -1 && st.at.step < F_STEPS);
        if (i % 8) continue;
        assert_true(cells_init(&b, st.body.w, st.body.h + 1));
        v->draw(&st, &b, st.body);
        cells_free(&b);
    }
}

/* Sparse weights, ranks, pages and the grid agree with each other. */
static void test_data(void **state)
{
    (void)state;
    struct ui_row *r = ui_row_compute(&fake_one, 1, 1, 2, F_PROMPT + 4, NULL);
    assert_non_null(r);
    double sum = 0, kept = 0;
    int n = 0;
    for (int k = 0; k < r->n_keys; k++) {
        sum += (double)r->w[k];
        if (r->flag[k] & UI_KEY_KEPT) { kept += (double)r->w[k]; n++; }
    }
    assert_true(fabs(sum - 1) < r->n_keys * 1e-7);
    assert_true(fabs(kept - r->r.mass) < r->n_keys * 1e-7);
    assert_int_equal(n, r->n_kept);
    for (int i = 1; i < r->n_top; i++) assert_true(r->top[i - 1].weight >= r->top[i].weight);
    assert_int_equal(ui_row_rank(r, r->top[0].key), 1);
    struct ui_stretch s[4];
    int m = ui_stretches(r->w, r->n_keys, 10, 4, s);
    for (int i = 0; i < m; i++) {
        double in = 0;
        for (int k = s[i].lo; k < s[i].hi; k++) in += (double)r->w[k];
        assert_true(fabs(in - s[i].sum) < 1e-6 && (i == 0 || s[i].sum <= s[i - 1].sum));
        for (int j = 0; j < i; j++) assert_true(s[i].hi <= s[j].lo || s[i].lo >= s[j].hi);
    }
    struct ui_pages *p = ui_pages_compute(&fake_one, 1, 5, true, NULL);
    assert_non_null(p);
    for (int i = 0; i < p->n_pairs; i++) {
        double mass = 0;
        for (int g = 0; g < p->n_pages; g++) {
            size_t at = (size_t)i * (size_t)p->n_pages + (size_t)g;
            bool read = p->state[at] & (UI_PAGE_FORCED | UI_PAGE_CHOSEN);
            mass += (double)p->mass[at];
            if (read) assert_true(p->count[at] > 0 && p->first[at] > 0 && p->first[at] <= 6);
            assert_true(p->count[at] <= p->n_steps);
        }
        assert_true(fabs(mass - 1) < 1e-4);
    }
    struct ui_heads *hs = ui_heads_compute(&fake_one, 1, NULL);
    int order[F_LAYERS * F_HEADS];
    char err[200];
    assert_int_equal(hs->n_known, F_LAYERS * F_HEADS);
    n = ui_heads_order(hs, UI_M_MASS, true, "", order, err, sizeof err);
    assert_int_equal(n, F_LAYERS * F_HEADS);
    for (int i = 1; i < n; i++) assert_true(hs->head[order[i - 1]].r.mass <= hs->head[order[i]].r.mass);
    assert_int_equal(order[0], ui_heads_summary(hs, UI_M_MASS).worst);
    assert_int_equal(ui_heads_order(hs, UI_M_MASS, true, "recal<1", order, err, sizeof err), -1);
    free(r);
    free(p);
    free(hs);
}

/* A KV group is the mean of its heads, its least head is named, and nothing speaks of the first alone. */
static void test_group(void **state)
{
    (void)state;
    enum { PER = F_HEADS / F_KV, KV = F_KV - 1, ROW = F_PROMPT + 4, H0 = KV * PER };
    struct ui_row *g = ui_row_compute(&fake_one, 1, 1, -1 - KV, ROW, NULL), *one[PER];
    assert_non_null(g);
    double mass = 0, entropy = 0, least = 2;
    int low = -1;
    for (int i = 0; i < PER; i++) {
        one[i] = ui_row_compute(&fake_one, 1, 1, H0 + i, ROW, NULL);
        assert_non_null(one[i]);
        assert_true(one[i]->shared && one[i]->n_heads == 1);
        mass += one[i]->r.mass / PER;
        entropy += one[i]->r.entropy / PER;
        if (one[i]->r.mass < least) least = one[i]->r.mass, low = H0 + i;
    }
    assert_true(fabs(g->r.mass - mass) < 1e-9 && fabs(g->r.entropy - entropy) < 1e-9);
    assert_true(fabs(g->mass_low - least) < 1e-9);
    assert_int_equal(g->low_head, low);
    for (int k = 0; k <= ROW; k++) {
        int readers = 0;
        double w = 0;
        for (int i = 0; i < PER; i++) {
            readers += (one[i]->flag[k] & UI_KEY_KEPT) != 0;
            w += (double)one[i]->w[k] / PER;
        }
        assert_int_equal(g->readers[k], readers);
        assert_int_equal((g->flag[k] & UI_KEY_KEPT) != 0, readers > 0);
        assert_true(fabs((double)g->w[k] - w) < 1e-6);
    }
    struct ui_along *a = ui_along_compute(&fake_one, 1, 1, -1 - KV, 0, ROW + 1, 9, NULL);
    assert_non_null(a);
    for (int i = 0; i < a->n; i++) {
        double sum = 0;
        least = 2;
        for (int h = H0; h < H0 + PER; h++) {
            struct sac_recall r;
            assert_true(sac_trace_row_recall(&fake_one, 1, 1, h, ui_along_row(a, i), &r));
            sum += r.mass / PER;
            least = fmin(least, r.mass);
        }
        assert_true(fabs((double)a->mass[i] - sum) < 1e-6 && fabs((double)a->low[i] - least) < 1e-6);
    }
    assert_int_equal(ui_along_row(a, a->n - 1), ROW);
    struct ui_key_why *w = ui_key_why_compute(&fake_one, 1, 1, -1 - KV, ROW, 70, NULL);
    assert_non_null(w);
    assert_true(w->n_heads == PER && w->h0 == H0 && w->head >= H0 && w->head < H0 + PER);
    for (int i = 0; i < PER; i++) {
        assert_true(w->weight[i] <= w->weight[w->head - H0]);
        assert_int_equal(w->head_reads[i], (one[i]->flag[70] & UI_KEY_KEPT) != 0);
        free(one[i]);
    }
    free(g);
    free(a);
    free(w);
}

/* The budget a key needs: at it the key is read, just below it is not, and more budget reads more. */
static void test_why(void **state)
{
    (void)state;
    static struct sac_run run[F_ROWS];
    int row = F_PROMPT + 4, turned = 0;
    for (int key = 0; key <= row; key += 8) {
        struct ui_key_why *w = ui_key_why_compute(&fake_one, 1, 1, 2, row, key, NULL);
        struct sac_rows rows = { .run = run, .cap = F_ROWS };
        struct sac_recall r;
        assert_non_null(w);
        assert_true(w->acts && w->n_budgets == UI_WHY_BUDGETS);
        for (int i = 1; i < w->n_budgets; i++) {
            assert_true(w->budget[i].keys >= w->budget[i - 1].keys);
            assert_true(w->budget[i].read || !w->budget[i - 1].read);
        }
        assert_int_equal(w->budget[2].read, w->read);
        if (w->keys_needed) {
            turned++;
            assert_true(w->read ? w->factor_needed <= 1 : w->factor_needed > 1);
            sac_trace_preview(&fake_one, 1, w->spec_needed, 1, 2, row, &rows, &r, NULL);
            assert_true(sac_rows_has(&rows, key));
            assert_int_equal(sac_rows_count(&rows), w->keys_needed);
        }
        free(w);
    }
    assert_true(turned > 10);
    assert_null(ui_key_why_compute(&fake_one, 1, 1, 2, row, row + 1, NULL));
}

/* The first look falls on the answer row and the head that read the most gold, and on a gold token. */
static void test_focus(void **state)
{
    (void)state;
    static float w[F_ROWS + 1];
    static struct sac_run run_store[F_ROWS];
    struct sac_lane la;
    struct ui_focus *f = ui_focus_compute(&fake_one, 1, NULL);
    assert_non_null(f);
    sac_trace_lane(&fake_one, 1, &la);
    assert_true(f->lost && la.score < 1 &&
                f->row == F_PROMPT - 1 + la.first_diff); /* lane 1 answers wrongly */
    double most = 0, at_focus = 0, heavy = 0;
    for (int i = 0; i < F_LAYERS * F_HEADS; i++) {
        struct sac_rows rows = { .run = run_store, .cap = F_ROWS };
        double lost = 0;
        assert_true(sac_trace_weights(&fake_one, 1, i / F_HEADS, i % F_HEADS, f->row, w));
        assert_true(sac_trace_rows(&fake_one, 1, i / F_HEADS, i % F_HEADS, f->row, &rows));
        for (int g = 0; g < 2; g++)
            for (int k = fake_span[g].lo; k < fake_span[g].hi; k++) {
                if (sac_rows_has(&rows, k)) continue;
                lost += (double)w[k];
                if (i == f->layer * F_HEADS + f->head) heavy = fmax(heavy, (double)w[k]);
            }
        most = fmax(most, lost);
        if (i != f->layer * F_HEADS + f->head) continue;
        at_focus = lost;
        assert_false(sac_rows_has(&rows, f->key));
        assert_true((double)w[f->key] <= 1);
    }
    assert_true(most > 0 && at_focus >= most - 1e-9);
    assert_true(sac_trace_weights(&fake_one, 1, f->layer, f->head, f->row, w) &&
                (double)w[f->key] >= heavy - 1e-9);
    free(f);
    f = ui_focus_compute(&fake_one, 0, NULL); /* dense answers well: where it looks the gold up */
    assert_non_null(f);
    assert_false(f->lost);
    assert_int_equal(f->head, 2); /* the made-up retrieval head */
    assert_true(f->row >= F_PROMPT && f->row < F_ROWS);
    assert_true((f->key >= 64 && f->key < 76) || (f->key >= 180 && f->key < 196));
    double best = 0, here = 0;
    for (int row = F_PROMPT; row < F_ROWS; row++) {
        double gold = 0;
        assert_true(sac_trace_weights(&fake_one, 0, f->layer, 2, row, w));
        for (int i = 0; i < 2; i++)
            for (int k = fake_span[i].lo; k < fake_span[i].hi; k++) gold += (double)w[k];
        if (row == f->row) here = gold;
        if (gold > best) best = gold;
    }
    assert_true(here >= best - 1e-6);
    free(f);
    fake_state = SAC_LANE_DECODE; /* not before the answer is there */
    assert_null(ui_focus_compute(&fake_one, 1, NULL));
    fake_state = SAC_LANE_DONE;
}

/* Commands refuse nonsense with a sentence. */
static void test_refusals(void **state)
{
    static struct ui_state st;
    (void)state;
    fake_open(&st, UI_TIER_MONO, true);
    st.at.screen = UI_SCREEN_HEADS;
    assert_false(run(&st, "filter recal<1"));
    assert_non_null(strstr(fake_said, "no measure 'recal'"));
    assert_string_equal(st.at.filter, "");
    st.at.screen = UI_SCREEN_TEXT;
    assert_false(run(&st, "fold many"));
    st.at.screen = UI_SCREEN_MAP;
    assert_false(run(&st, "zoom-selection"));
    assert_false(ui_view_map.find(&st, "nowhere to be found", 0));
    assert_non_null(strstr(fake_said, "nowhere"));
    assert_false(ui_view_map.find(&st, "@9999", 0));
    assert_true(ui_view_map.find(&st, "L3H1", 0));
    assert_true(st.at.layer == 3 && st.at.head == 1);
}

/* Text is found as it is written, else as a regular expression; every hit in order, round the end. */
static void test_search(void **state)
{
    static struct ui_state st;
    int pos[512], want[512], n_want = 0;
    char tok[64];
    (void)state;
    fake_open(&st, UI_TIER_MONO, true);
    st.at.screen = UI_SCREEN_MAP;
    for (int i = 0; i < F_PROMPT; i++) {
        ui_token_text(&st, st.at.a, i, tok, sizeof tok);
        if ((strstr(tok, "quick") || strstr(tok, "ember")) && n_want < 512) want[n_want++] = i;
    }
    assert_true(n_want > 2);
    snprintf(st.search, sizeof st.search, "(quick|ember)");
    assert_true(uv_hits(&st, st.at.a, pos, 512) >= n_want);
    for (int i = 0; i < n_want; i++) assert_int_equal(pos[i], want[i]);
    st.at.key = 0;
    assert_true(ui_view_map.find(&st, st.search, 0));
    assert_int_equal(st.at.key, want[0]);
    assert_non_null(strstr(fake_said, "pattern"));
    assert_true(ui_view_map.find(&st, st.search, 1));
    assert_int_equal(st.at.key, want[1]);
    assert_true(ui_view_map.find(&st, st.search, -1));
    assert_true(ui_view_map.find(&st, st.search, -1));
    assert_true(st.at.key >= want[n_want - 1]);
    assert_false(ui_view_map.find(&st, "(", 0) && strstr(fake_said, "pattern"));
    assert_true(ui_view_map.find(&st, "QUICK", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data),   cmocka_unit_test(test_golden),    cmocka_unit_test(test_stays_inside),
        cmocka_unit_test(test_heads_lists),
        cmocka_unit_test(test_states), cmocka_unit_test(test_wandering), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_search), cmocka_unit_test(test_group),     cmocka_unit_test(test_why),
        cmocka_unit_test(test_focus),  cmocka_unit_test(test_compare_title),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    fake_forget();
    return rc;
}
