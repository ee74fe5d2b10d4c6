/* The state itself: reading the trace once a frame, and the small questions views ask. */
#include "base.h"
#include "export_screen.h"
#include "run.h"
#include "vdata.h"
#include "work.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double ui_clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

void ui_notify(void *ctx)
{
    struct ui_app *a = ctx;
    char c = 1;
    if (a->wake[1] > 0 && write(a->wake[1], &c, 1) < 0) return;     /* full: a byte is there already */
}

void ui_state_init(struct ui_state *st, struct ui_app *app)
{
    memset(st, 0, sizeof *st);
    st->app = app;
    st->look = (struct ui_look){ .tier = UI_TIER_RGB, .map = UI_MAP_VIRIDIS };
    ui_where_default(&st->at);
}

void ui_where_default(struct ui_where *w)
{
    memset(w, 0, sizeof *w);
    w->scale = UI_SCALE_LOG;
    w->pool = SAC_POOL_MAX;
    w->topk = w->wrap = w->linked = true;
    w->step = -1;
    w->similar_to = -1;
    w->fold = 2;
    w->overlay = UI_OVER_NONE;
}

void ui_state_set_trace(struct ui_state *st, struct sac_trace *t)
{
    if (t) sac_trace_retain(t);
    if (st->trace) sac_trace_release(st->trace);
    bool first = !st->trace;
    st->trace = t;
    ui_state_refresh(st);
    if (!t) return;
    struct ui_where *w = &st->at;
    if (first) {
        /* The last row of the prompt is where the answer begins: a good place to look at. */
        w->layer = st->info.shape.n_layers / 2;
        w->row = st->info.n_prompt - 1;
        w->key = st->info.n_spans ? st->info.span[0].lo : 0;
        w->a = st->n_lanes > 1 ? 1 : 0;
        w->b = 0;
        st->first.layer = w->layer;
        st->first.head = w->head;
        st->first.row = w->row;
        st->first.key = w->key;
    } else {
        memset(w->win, 0, sizeof w->win);
        w->row = st->info.n_prompt - 1;
        if (w->key >= st->info.n_prompt) w->key = 0;
    }
}

static int clampi(int v, int lo, int hi)
{
    return v > hi ? (hi < lo ? lo : hi) : v < lo ? lo : v;
}

void ui_state_refresh(struct ui_state *st)
{
    if (!st->trace) {
        st->n_lanes = 0;
        return;
    }
    st->generation = sac_trace_generation(st->trace);
    sac_trace_info(st->trace, &st->info);
    int n = sac_trace_n_lanes(st->trace);
    if (n > UI_MAX_LANES) n = UI_MAX_LANES;
    if (!st->lane) st->lane = calloc(UI_MAX_LANES, sizeof *st->lane);
    st->n_lanes = st->lane ? n : 0;
    for (int l = 0; l < st->n_lanes; l++) sac_trace_lane(st->trace, l, &st->lane[l]);
    ui_screen_pins(st);
    struct ui_where *w = &st->at;
    w->a = clampi(w->a, 0, st->n_lanes - 1);
    w->b = clampi(w->b, 0, st->n_lanes - 1);
    w->layer = clampi(w->layer, 0, st->info.shape.n_layers - 1);
    w->head = clampi(w->head, 0, st->info.shape.n_heads - 1);
    int rows = ui_n_rows(st, w->a), rows_b = ui_n_rows(st, w->b);
    if (rows_b > rows) rows = rows_b;
    if (rows < st->info.n_prompt) rows = st->info.n_prompt;      /* rows of the prompt will come */
    w->row = clampi(w->row, 0, rows - 1);
    w->key = clampi(w->key, 0, rows - 1);
    int steps = ui_n_steps(st, w->a), steps_b = ui_n_steps(st, w->b);
    w->step = clampi(w->step, -1, (steps > steps_b ? steps : steps_b) - 1);
}

void ui_state_free(struct ui_state *st)
{
    ui_tasks_free(st->tasks);
    ui_work_free(st->work);
    ui_shots_free(st->app->shots);
    ui_player_free(st->app->player);
    if (st->trace) sac_trace_release(st->trace);
    st->trace = NULL;
    ui_run_free(st->run);
    free(st->lane);
    struct ui_app *a = st->app;
    for (int i = 0; i < a->n_history; i++) free(a->history[i]);
    for (int i = 0; i < a->n_log; i++) free(a->log[i]);
    if (a->session) fclose(a->session);
    free(a->began.prompt);
    free(a->record);
    json_decref(a->pins);
    cells_free(&a->buf);
    for (int i = 0; i < 2; i++)
        if (a->wake[i] > 0) close(a->wake[i]);
}

/* ---- words ---- */

void ui_log(struct ui_state *st, const char *fmt, ...)
{
    struct ui_app *a = st->app;
    char text[600], stamp[16] = "--:--:--", *line = NULL;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    time_t t = time(NULL);
    struct tm tm;
    if (!a->headless && localtime_r(&t, &tm)) strftime(stamp, sizeof stamp, "%H:%M:%S", &tm);
    size_t n = strlen(text) + sizeof stamp + 2;
    line = malloc(n);
    if (!line) return;
    snprintf(line, n, "%s %s", stamp, text);
    if (a->n_log == UI_LOG_MAX) {
        free(a->log[0]);
        memmove(a->log, a->log + 1, (UI_LOG_MAX - 1) * sizeof *a->log);
        a->n_log--;
    }
    a->log[a->n_log++] = line;
    a->dirty = true;
}

void ui_say(struct ui_state *st, enum ui_say kind, const char *fmt, ...)
{
    struct ui_app *a = st->app;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->say, sizeof a->say, fmt, ap);
    va_end(ap);
    a->say_kind = kind;
    a->say_at = st->now;
    a->dirty = true;
    if (kind == UI_SAY_BAD && !a->quiet) ui_log(st, "%s", a->say);
}

void ui_copy(struct ui_state *st, const char *text)
{
    struct ui_app *a = st->app;
    if (strlen(text) >= sizeof a->copy) {
        ui_say(st, UI_SAY_BAD, "too long for the clipboard of a terminal: %zu bytes", strlen(text));
        return;
    }
    memcpy(a->copy, text, strlen(text) + 1);
    a->has_copy = true;
    ui_say(st, UI_SAY_OK, "sent to the terminal's clipboard: %.*s%s", (int)strcspn(text, "\n"), text,
           strchr(text, '\n') ? " ..." : "");
}

void ui_wake_in(const struct ui_state *st, double s)
{
    struct ui_app *a = st->app;
    if (!a->wake_at || st->now + s < a->wake_at) a->wake_at = st->now + s;
}

/* ---- readings ---- */

int ui_n_rows(const struct ui_state *st, int lane)
{
    if (!st->trace || lane < 0 || lane >= st->n_lanes) return 0;
    return sac_trace_n_rows(st->trace, lane, st->at.layer);
}

int ui_step_row(const struct ui_state *st, int step)
{
    return st->info.n_prompt - 1 + (step < 0 ? 0 : step);
}

int ui_n_steps(const struct ui_state *st, int lane)
{
    return lane >= 0 && lane < st->n_lanes ? st->lane[lane].n_steps : 0;
}

int ui_kv_head(const struct ui_state *st)
{
    const struct sac_shape *s = &st->info.shape;
    int group = s->n_kv_heads > 0 ? s->n_heads / s->n_kv_heads : 1;
    return group > 0 ? st->at.head / group : 0;
}

int ui_head_arg(const struct ui_state *st)
{
    return st->at.group ? -1 - ui_kv_head(st) : st->at.head;
}

void ui_head_name(const struct ui_state *st, char *buf, size_t cap)
{
    const struct sac_shape *s = &st->info.shape;
    int g = s->n_kv_heads > 0 ? s->n_heads / s->n_kv_heads : 1, kv = ui_kv_head(st);
    if (st->at.group)
        snprintf(buf, cap, "L%d mean of H%d-%d (kv%d)", st->at.layer, kv * g, kv * g + g - 1, kv);
    else snprintf(buf, cap, "L%d H%d (kv%d)", st->at.layer, st->at.head, kv);
}

bool ui_token_text(const struct ui_state *st, int lane, int pos, char *buf, size_t cap)
{
    *buf = 0;
    return st->trace && ui_token_name(st->trace, lane, pos, buf, cap);
}

int ui_gold_at(const struct ui_state *st, int pos)
{
    for (int i = 0; i < st->info.n_spans; i++)
        if (pos >= st->info.span[i].lo && pos < st->info.span[i].hi) return i;
    return -1;
}

/* The method's name; where two lanes have the same one, with what tells them apart: "SnapKV s.883". */
const char *ui_lane_name(const struct ui_state *st, int lane)
{
    static char name[UI_MAX_LANES][64]; /* drawn by the UI thread alone */
    if (lane < 0 || lane >= st->n_lanes) return "-";
    const struct sac_lane *l = &st->lane[lane];
    const char *title = *l->title ? l->title : l->method, *colon = strchr(l->spec, ':');
    bool twice = false;
    for (int i = 0; i < st->n_lanes; i++)
        twice = twice || (i != lane && !st->lane[i].intervention && !strcmp(st->lane[i].title, l->title) &&
                          strcmp(st->lane[i].spec, l->spec) != 0);
    if (!twice || !colon || l->intervention || lane >= UI_MAX_LANES) return title;
    double share;
    size_t n = strlen(title) < 14 ? strlen(title) : 8;
    if (sscanf(colon + 1, "sparsity=%lf", &share) == 1)
        snprintf(name[lane], sizeof name[0], "%.*s s.%03.0f", (int)n, title, 1000 * share);
    else
        snprintf(name[lane], sizeof name[0], "%.*s %.20s", (int)n, title,
                 strcspn(colon, "=") < strlen(colon) ? strchr(colon, '=') + 1 : colon + 1);
    return name[lane];
}
