/* All measures of all lanes in one table over the screen: rows are measures, columns are methods. The line at
 * the bottom says what the row under the cursor means. Worked out when it opens and, while
 * methods are still measured, as the run goes on; not every frame. */
#include "base.h"
#include "keys.h"

#include <saccade/measures.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL = 31, COLUMN = 12 };

/* What is shown: the rows that any lane has a value for, with a heading before each section. */
static struct {
    struct sac_measure m[SAC_MEASURES_MAX];
    int n, rows[SAC_MEASURES_MAX], n_rows, lanes;
    double *v;                   /* [lanes][n] */
    uint64_t generation; double at;      /* of the trace, and when: to work out again what has grown */
} s;

static bool has_row(int r)
{
    for (int l = 0; l < s.lanes; l++)
        if (isfinite(s.v[l * s.n + r])) return true;
    return false;
}

static bool work_out(const struct ui_state *st)
{
    s.generation = sac_trace_generation(st->trace);
    s.at = st->now;
    free(s.v);
    s.n = sac_measures(s.m);
    s.lanes = sac_trace_n_lanes(st->trace);
    s.v = malloc(sizeof *s.v * (size_t)s.n * (size_t)(s.lanes + 1));
    s.n_rows = 0;
    if (!s.v) {
        s.n = s.lanes = 0;
        return false;
    }
    for (int l = 0; l < s.lanes; l++) sac_measures_lane(st->trace, l, 1, s.v + l * s.n);
    for (int r = 0; r < s.n; r++)
        if (has_row(r)) s.rows[s.n_rows++] = r;
    return true;
}

bool ui_measures_open(struct ui_state *st)
{
    struct ui_app *a = st->app;
    if (!st->trace) return ui_say(st, UI_SAY_BAD, "nothing has run yet"), false;
    if (!work_out(st)) return ui_say(st, UI_SAY_BAD, "out of memory for the measures"), false;
    if (!s.n_rows) return ui_say(st, UI_SAY_BAD, "nothing is measured yet: wait for the first method"), false;
    a->measure_cur = a->measure_scroll = a->measure_lane = 0;
    a->mode = UI_MODE_MEASURES;
    return a->dirty = true;
}

void ui_measures_key(struct ui_state *st, int key)
{
    struct ui_app *a = st->app;
    int by = 0;
    a->dirty = true;
    switch (key) {
    case UI_K_ESC: case 'q': case 3: case UI_K_F1 + 1: a->mode = UI_MODE_NORMAL; return;
    case UI_K_UP: case 'k': by = -1; break;
    case UI_K_DOWN: case 'j': by = 1; break;
    case UI_K_PGUP: case 21: by = -12; break;
    case UI_K_PGDN: case 4: by = 12; break;
    case UI_K_HOME: case 'g': by = -s.n_rows; break;
    case UI_K_END: case 'G': by = s.n_rows; break;
    case UI_K_LEFT: case 'h': a->measure_lane -= a->measure_lane > 0; return;
    case UI_K_RIGHT: case 'l': a->measure_lane += a->measure_lane + 1 < s.lanes; return;
    default: return;
    }
    a->measure_cur += by;
    if (a->measure_cur >= s.n_rows) a->measure_cur = s.n_rows - 1;
    if (a->measure_cur < 0) a->measure_cur = 0;
}

/* Lines of the table: rows with a heading line before the first of a section. */
static int line_of(int row)
{
    int line = 0;
    for (int i = 0; i <= row; i++)
        line += 1 + (i == 0 || strcmp(s.m[s.rows[i]].section, s.m[s.rows[i - 1]].section) != 0);
    return line - 1;
}

static void draw_row(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, int y, int i,
                     int columns)
{
    const struct ui_app *a = st->app;
    const struct sac_measure *m = &s.m[s.rows[i]];
    struct ui_style t = ui_style(&st->look, i == a->measure_cur ? UI_CURSOR : UI_TEXT);
    if (i == a->measure_cur) cells_fill(b, (struct ui_rect){ r.x, y, r.w, 1 }, U' ', t);
    cells_fit(b, r.x + 3, y, LABEL - 3, m->name, t);
    for (int c = 0; c < columns; c++) {
        double v = s.v[(a->measure_lane + c) * s.n + s.rows[i]];
        char text[32] = "-";
        if (isfinite(v)) snprintf(text, sizeof text, "%.*f", m->decimals, v);
        cells_right(b, r.x + LABEL + (c + 1) * COLUMN, y, COLUMN - 1, text, t);
    }
}

void ui_measures_draw(const struct ui_state *st, struct cell_buf *b)
{
    struct ui_app *a = st->app;
    if (st->trace && sac_trace_generation(st->trace) != s.generation) {
        if (st->now - s.at > 0.5) work_out(st);
        else a->wake_at = s.at + 0.6;
    }
    if (!s.n_rows) return;
    if (a->measure_cur >= s.n_rows) a->measure_cur = s.n_rows - 1;
    int want = LABEL + COLUMN * s.lanes + 4, lines = line_of(s.n_rows - 1) + 1;
    struct ui_rect r = ui_centre(st, b, want < 74 ? 74 : want, lines + 5,
                                 "Measures: means over layers and query heads");
    int columns = (r.w - LABEL) / COLUMN, rows = r.h - 3;
    if (columns > s.lanes) columns = s.lanes;
    if (a->measure_lane + columns > s.lanes) a->measure_lane = s.lanes - columns;
    int at = line_of(a->measure_cur);
    if (at < a->measure_scroll + 1) a->measure_scroll = at > 1 ? at - 1 : 0;
    if (at >= a->measure_scroll + rows) a->measure_scroll = at - rows + 1;
    struct ui_style head = ui_style(&st->look, UI_STRONG), dim = ui_style(&st->look, UI_DIM);
    for (int c = 0; c < columns; c++) {
        char name[64];
        snprintf(name, sizeof name, "%d %.50s", a->measure_lane + c, ui_lane_name(st, a->measure_lane + c));
        cells_right(b, r.x + LABEL + (c + 1) * COLUMN, r.y, COLUMN - 1, name, head);
    }
    for (int i = 0; i < s.n_rows; i++) {
        int y = r.y + 1 + line_of(i) - a->measure_scroll;
        bool first = i == 0 || strcmp(s.m[s.rows[i]].section, s.m[s.rows[i - 1]].section) != 0;
        if (first && y - 1 > r.y && y - 1 <= r.y + rows) {
            bool prompt = !strcmp(s.m[s.rows[i]].section, "prompt rows");
            cells_text(b, r.x + 1, y - 1, r.w - 2, s.m[s.rows[i]].section, head);
            if (prompt) cells_text(b, r.x + 14, y - 1, r.w - 15, "(a sample)", dim);
        }
        if (y > r.y && y <= r.y + rows) draw_row(st, b, r, y, i, columns);
    }
    cells_fit(b, r.x + 1, r.y + r.h - 2, r.w - 2, s.m[s.rows[a->measure_cur]].help,
              ui_style(&st->look, UI_TEXT));
    cells_fit(b, r.x + 1, r.y + r.h - 1, r.w - 2,
              columns < s.lanes ? "j k row   h l method   Esc close" : "j k row   Esc close", dim);
}
