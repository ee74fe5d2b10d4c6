/* The Tasks screen: scores of tasks x methods, the samples behind a score, the answers of a sample. */
#include "base.h"
#include "run.h"
#include "tasks.h"

#include <math.h>
#include <string.h>

enum pane { P_SCORES, P_SAMPLES, P_ANSWERS, N_PANES };

static struct ui_style style(const struct ui_state *st, enum ui_role r)
{
    return ui_style(&st->look, r);
}

struct layout { struct ui_rect of[N_PANES]; };

static void layout(const struct ui_state *st, struct ui_rect r, struct layout *l)
{
    memset(l, 0, sizeof *l);
    int p = st->at.pane[UI_SCREEN_TASKS];
    if (r.h < 16) {
        l->of[p] = r;
        return;
    }
    int top = st->tasks->n_tasks + 6;
    if (top > r.h / 2 + 2) top = r.h / 2 + 2;
    l->of[P_SCORES] = (struct ui_rect){ r.x, r.y, r.w, top };
    int h = r.h - top, y = r.y + top;
    if (r.w >= 100) {
        int left = r.w / 2;
        l->of[P_SAMPLES] = (struct ui_rect){ r.x, y, left, h };
        l->of[P_ANSWERS] = (struct ui_rect){ r.x + left, y, r.w - left, h };
    } else {
        l->of[p == P_ANSWERS ? P_ANSWERS : P_SAMPLES] = (struct ui_rect){ r.x, y, r.w, h };
    }
}

/* Sample numbers in the order shown. */
static void order(const struct ui_state *st, int *out)
{
    struct ui_tasks *t = st->tasks;
    for (int i = 0; i < t->n_samples; i++) out[i] = i;
    if (!st->at.worst_first || !t->n_methods) return;
    for (int i = 1; i < t->n_samples; i++)
        for (int k = i; k > 0; k--) {
            struct ui_t_cell a = ui_tasks_cell(t, st->at.task, st->at.cell, out[k]),
                             b = ui_tasks_cell(t, st->at.task, st->at.cell, out[k - 1]);
            double sa = a.state == UI_T_DONE ? a.score : 2, sb = b.state == UI_T_DONE ? b.score : 2;
            if (!(sa < sb)) break;
            int x = out[k];
            out[k] = out[k - 1];
            out[k - 1] = x;
        }
}

static const char *score_text(double v, char buf[16])
{
    if (v != v) return "";
    snprintf(buf, 16, "%.2f", v);
    return buf[0] == '0' ? buf + 1 : buf;
}

static void score_cell(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, int task, int m,
                       bool on)
{
    struct ui_tasks *t = st->tasks;
    int done, right;
    char buf[16], ref[16], text[40] = "";
    double v = ui_tasks_score(t, task, m, &done, &right, NULL, NULL),
           dense = ui_tasks_score(t, task, 0, NULL, NULL, NULL, NULL);
    enum ui_role role = UI_TEXT;
    enum ui_t_state state = ui_tasks_cell(t, task, m, t->n_samples > done ? done : 0).state;
    if (v == v) {
        double d = v - dense;
        snprintf(text, sizeof text, "%s", score_text(v, buf));
        size_t n = strlen(text);
        if (m > 0 && d == d && fabs(d) >= 0.005 && w >= 10)
            n += (size_t)snprintf(text + n, sizeof text - n, " %c%s", d < 0 ? '-' : '+',
                                  score_text(fabs(d), ref));
        if (w >= 15) n += (size_t)snprintf(text + n, sizeof text - n, " (%d/%d)", right, done);
        role = m > 0 && d < -0.005 ? UI_BAD : m > 0 && d > 0.005 ? UI_OK : UI_TEXT;
        if (state == UI_T_RUNNING && n + 2 < sizeof text) text[n] = '*', text[n + 1] = 0;
    } else {
        snprintf(text, sizeof text, "%s", state == UI_T_RUNNING ? "running" : state == UI_T_QUEUED ? "queued"
                 : state == UI_T_FAILED ? "failed" : state == UI_T_STOPPED ? "stopped" : "-");
        role = state == UI_T_FAILED ? UI_BAD : state == UI_T_RUNNING ? UI_RUNNING : UI_DIM;
    }
    struct ui_style s = style(st, role);
    if (on) {
        struct ui_style c = style(st, UI_CURSOR);
        cells_fill(b, (struct ui_rect){ x - 1, y, w, 1 }, U' ', c);
        s.bg = c.bg;
        s.attr |= c.attr;
        cells_put(b, x - 1, y, '[', c);
        cells_put(b, x - 1 + (int)strlen(text) + 1 < x + w - 2 ? x + (int)strlen(text) : x + w - 2, y, ']',
                  c);
    }
    cells_fit(b, x, y, w - 2, text, s);
}

static int col_width(const struct ui_rect *r, int n, int x0)
{
    int w = n > 0 ? (r->x + r->w - x0 - 1) / n : 12;
    return w > 20 ? 20 : w < 9 ? 9 : w;
}

static void draw_scores(const struct ui_state *st, struct cell_buf *b, struct ui_rect box)
{
    struct ui_tasks *t = st->tasks;
    struct ui_rect r =
        ui_pane(st, b, box, P_SCORES, "Scores   mean over samples, against dense (right/done)");
    int wt = r.w >= 100 ? 20 : 16, x0 = r.x + 1 + wt, y = r.y;
    struct ui_style d = style(st, UI_DIM);
    cells_text(b, r.x + 1, y, wt, "task", d);
    if (r.w >= 100) cells_text(b, x0, y, 12, "metric", d), x0 += 13;
    int w = col_width(&r, t->n_methods, x0), per = w ? (r.x + r.w - x0) / w : 1,
        first = st->at.cell >= per ? st->at.cell - per + 1 : 0;
    for (int m = first; m < t->n_methods && m - first < per; m++)
        cells_fit(b, x0 + (m - first) * w, y, w - 2, t->title[m],
                  style(st, m == st->at.cell ? UI_STRONG : UI_DIM));
    int rows = r.h - 3 > 0 ? r.h - 3 : r.h - 1, top = st->at.task >= rows ? st->at.task - rows + 1 : 0;
    for (int i = 0; i < rows && top + i < t->n_tasks; i++) {
        int k = top + i, ty = y + 1 + i;
        bool here = k == st->at.task;
        cells_put(b, r.x, ty, here ? '>' : ' ', style(st, UI_LINE_FOCUS));
        cells_fit(b, r.x + 1, ty, wt - 1, t->task[k], style(st, here ? UI_STRONG : UI_TEXT));
        if (r.w >= 100) cells_fit(b, x0 - 13, ty, 12, t->metric[k], d);
        for (int m = first; m < t->n_methods && m - first < per; m++)
            score_cell(st, b, x0 + (m - first) * w, ty, w, k, m, here && m == st->at.cell);
    }
    if (!t->n_methods) {
        cells_fit(b, x0, r.y + 1, r.x + r.w - x0 - 1,
                  "r runs this task with the methods ticked on screen 1, R runs all", d);
        return;
    }
    int ty = r.y + r.h - 1;
    cells_fit(b, r.x + 1, ty, wt - 1, "mass recall", d);
    for (int m = first; m < t->n_methods && m - first < per; m++) {
        double sum = 0;
        int n = 0;
        for (int k = 0; k < t->n_tasks; k++) {
            double mass;
            ui_tasks_score(t, k, m, NULL, NULL, NULL, &mass);
            if (mass == mass) sum += mass, n++;
        }
        char buf[16];
        if (n) cells_text(b, x0 + (m - first) * w, ty, w - 2, score_text(sum / n, buf), d);
    }
}

static void draw_samples(const struct ui_state *st, struct cell_buf *b, struct ui_rect box)
{
    struct ui_tasks *t = st->tasks;
    int idx[UI_T_SAMPLES];
    struct ui_rect r = ui_pane(st, b, box, P_SAMPLES, "%s x %s: samples", t->task[st->at.task],
                               t->n_methods ? t->title[st->at.cell] : "-");
    if (!t->n_methods) {
        ui_empty(st, b, r, "no sample has run yet", "r runs this task");
        return;
    }
    order(st, idx);
    struct ui_style d = style(st, UI_DIM);
    cells_fit(b, r.x + 1, r.y, r.w - 2, " #  score  dense  mass  first diff  tokens  stop", d);
    int rows = r.h - 1, top = st->at.sample >= rows ? st->at.sample - rows + 1 : 0;
    for (int i = 0; i < rows && top + i < t->n_samples; i++) {
        int s = idx[top + i], y = r.y + 1 + i;
        struct ui_t_cell c = ui_tasks_cell(t, st->at.task, st->at.cell, s),
                         ref = ui_tasks_cell(t, st->at.task, 0, s);
        bool on = top + i == st->at.sample;
        char sc[16] = "", rf[16] = "", ms[16] = "", diff[24] = "-", line[200];
        static const char *const state[] = { "-", "queued", "running", "", "failed", "stopped" };
        const char *a = c.state == UI_T_DONE ? score_text(c.score, sc) : state[c.state];
        const char *e = ref.state == UI_T_DONE ? score_text(ref.score, rf) : "-";
        if (c.first_diff >= 0 && c.state == UI_T_DONE) snprintf(diff, sizeof diff, "step %d", c.first_diff);
        snprintf(line, sizeof line, "%2d  %-7s%-7s%-6s%-12s%-8d%s%s", s, a, e,
                 c.state == UI_T_DONE ? score_text(c.mass, ms) : "", diff, c.steps, c.stop,
                 c.state == UI_T_DONE && !c.parsed ? "  not in the asked form" : "");
        struct ui_style ls =
            style(st, on                                                                        ? UI_CURSOR
                      : c.state == UI_T_FAILED || (c.state == UI_T_DONE && c.score < ref.score) ? UI_BAD
                                                                                                : UI_TEXT);
        if (on) cells_fill(b, (struct ui_rect){ r.x, y, r.w, 1 }, U' ', ls);
        cells_fit(b, r.x + 1, y, r.w - 2, line, ls);
    }
}

/* Text broken over the rows that are left; returns the row after it. */
static int flow(struct cell_buf *b, int x, int y, int w, int y_end, const char *s, size_t same,
                struct ui_style t, struct ui_style diff)
{
    size_t n = strlen(s), at = 0;
    while (n && (s[n - 1] == '\n' || s[n - 1] == ' ')) n--;
    for (; at < n && y < y_end; y++) {
        size_t cut = cells_text_cut(s + at, n - at, w);
        const char *nl = memchr(s + at, '\n', cut);
        if (nl) cut = (size_t)(nl - s) - at;
        size_t plain = same > at ? (same - at < cut ? same - at : cut) : 0;
        int used = cells_textn(b, x, y, w, s + at, plain, t);
        cells_textn(b, x + used, y, w - used, s + at + plain, cut - plain, diff);
        at += cut + (nl != NULL);
        if (!cut && !nl) break;
    }
    return y;
}

static void draw_answers(const struct ui_state *st, struct cell_buf *b, struct ui_rect box)
{
    struct ui_tasks *t = st->tasks;
    int idx[UI_T_SAMPLES];
    order(st, idx);
    int s = idx[st->at.sample < t->n_samples ? st->at.sample : 0];
    struct ui_rect r = ui_pane(st, b, box, P_ANSWERS, "Sample %d: answers", s);
    if (!t->n_methods || ui_tasks_cell(t, st->at.task, 0, s).state == UI_T_NONE) {
        ui_empty(st, b, r, "nothing to show yet", "r runs this task");
        return;
    }
    char gold[400];
    pthread_mutex_lock(&t->mu);
    memcpy(gold, t->gold[st->at.task][s], sizeof gold);
    pthread_mutex_unlock(&t->mu);
    struct ui_style text = style(st, UI_TEXT), g = style(st, UI_GOLD), bad = style(st, UI_MISSED);
    bad.attr |= CELL_UNDERLINE;
    int x = r.x + 9, w = r.w - 10, y = r.y, end = r.y + r.h;
    cells_text(b, r.x + 1, y, 7, "gold", g);
    y = flow(b, x, y, w, end, gold, sizeof gold, g, g);
    struct ui_t_cell dense = ui_tasks_cell(t, st->at.task, 0, s);
    for (int k = 0; k < 2 && y < end; k++) {
        int m = k ? st->at.cell : 0;
        if (k && m == 0) break;
        struct ui_t_cell c = ui_tasks_cell(t, st->at.task, m, s);
        size_t same = 0;
        while (c.answer[same] && c.answer[same] == dense.answer[same]) same++;
        bool mark = k && st->at.answer_diff == false && c.first_diff >= 0;
        cells_fit(b, r.x + 1, y, 7, k ? t->title[m] : "dense", style(st, k ? UI_LANE_A : UI_LANE_B));
        int y0 = y;
        y = flow(b, x, y, w, end, c.answer, mark ? same : sizeof c.answer, text, bad);
        if (y == y0) y++;
        if (c.state == UI_T_DONE && y < end) {
            bool right = c.score >= 0.999;
            cells_printf(b, x, y++, w, style(st, right ? UI_OK : UI_BAD),
                         "%s score %.2f  %d tokens, stopped by %s%s", right ? "ok" : "WRONG", c.score,
                         c.steps, *c.stop ? c.stop : "-", c.parsed ? "" : ", not in the asked form");
        }
    }
    if (y + 1 < end && st->at.cell > 0) {
        struct ui_t_cell c = ui_tasks_cell(t, st->at.task, st->at.cell, s);
        if (c.state == UI_T_DONE && c.evidence == c.evidence)
            cells_printf(b, x, ++y, w, style(st, UI_DIM),
                         "evidence kept %.2f of the gold tokens, mass recall %.2f", c.evidence, c.mass);
        cells_fit(b, x, y + 1, w, "Enter runs it with a trace and goes to where it went wrong",
                  style(st, UI_DIM));
    }
}

static void draw(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    struct layout l;
    layout(st, r, &l);
    if (l.of[P_SCORES].h > 1) draw_scores(st, b, l.of[P_SCORES]);
    if (l.of[P_SAMPLES].h > 1) draw_samples(st, b, l.of[P_SAMPLES]);
    if (l.of[P_ANSWERS].h > 1) draw_answers(st, b, l.of[P_ANSWERS]);
}

static int clampi(int v, int hi)
{
    return v > hi ? (hi < 0 ? 0 : hi) : v < 0 ? 0 : v;
}

static void settle(struct ui_state *st)
{
    st->at.task = clampi(st->at.task, st->tasks->n_tasks - 1);
    st->at.cell = clampi(st->at.cell, st->tasks->n_methods - 1);
    st->at.sample = clampi(st->at.sample, st->tasks->n_samples - 1);
}

static bool move(struct ui_state *st, enum ui_move m, int n)
{
    bool scores = st->at.pane[UI_SCREEN_TASKS] == P_SCORES;
    int *v = scores ? &st->at.task : &st->at.sample;
    switch (m) {
    case UI_LEFT: st->at.cell -= n; break;
    case UI_RIGHT: st->at.cell += n; break;
    case UI_UP: *v -= n; break;
    case UI_DOWN: *v += n; break;
    case UI_TOP: *v = 0; break;
    case UI_BOTTOM: *v = 1000; break;
    case UI_LINE_START: st->at.cell = 0; break;
    case UI_LINE_END: st->at.cell = 1000; break;
    case UI_HALF_UP: case UI_PAGE_UP: *v -= 5; break;
    case UI_HALF_DOWN: case UI_PAGE_DOWN: *v += 5; break;
    }
    settle(st);
    return true;
}

static bool open(struct ui_state *st)
{
    struct ui_tasks *t = st->tasks;
    if (!t->n_methods) return ui_tasks_start(st, st->at.task);
    if (st->at.pane[UI_SCREEN_TASKS] == P_SCORES) {
        /* The first sample that went wrong. */
        st->at.pane[UI_SCREEN_TASKS] = P_SAMPLES;
        for (int s = 0; s < t->n_samples && !st->at.worst_first; s++) {
            struct ui_t_cell c = ui_tasks_cell(t, st->at.task, st->at.cell, s);
            if (c.state == UI_T_DONE && c.score < 0.999) return st->at.sample = s, true;
        }
        return true;
    }
    int idx[UI_T_SAMPLES];
    order(st, idx);
    if (ui_tasks_cell(t, st->at.task, st->at.cell, idx[st->at.sample]).state != UI_T_DONE)
        return ui_say(st, UI_SAY_INFO, "this sample has not run yet: r runs the task"), true;
    return ui_tasks_open(st, st->at.task, st->at.cell, idx[st->at.sample]);
}

static bool find(struct ui_state *st, const char *text, int dir)
{
    struct ui_tasks *t = st->tasks;
    for (int k = dir ? 1 : 0; k < t->n_tasks; k++) {
        int i = ((st->at.task + (dir < 0 ? -k : k)) % t->n_tasks + t->n_tasks) % t->n_tasks;
        if (strstr(t->task[i], text)) return st->at.task = i, true;
    }
    return false;
}

static bool click(struct ui_state *st, int x, int y, enum ui_click what)
{
    struct layout l;
    layout(st, st->body, &l);
    if (what != UI_CLICK) return what != UI_WHEEL_UP && what != UI_WHEEL_DOWN;
    for (int p = 0; p < N_PANES; p++) {
        struct ui_rect r = l.of[p];
        if (x < r.x || y < r.y || x >= r.x + r.w || y >= r.y + r.h) continue;
        st->at.pane[UI_SCREEN_TASKS] = p;
        int i = y - r.y - 2;
        if (p == P_SCORES && i >= 0) st->at.task = i;
        if (p == P_SAMPLES && i >= 0) st->at.sample = i;
        settle(st);
    }
    return true;
}

static void context(const struct ui_state *st, char *buf, size_t cap, int w)
{
    struct ui_tasks *t = st->tasks;
    (void)w;
    snprintf(buf, cap,
             "length %d  |  %d samples a task, seed %llu  |  score = mean over the samples that are done",
             t->n_methods ? t->length : st->run->want.length, t->n_samples,
             (unsigned long long)(t->n_methods ? t->seed : st->run->want.seed));
}

static void status(const struct ui_state *st, char *buf, size_t cap)
{
    struct ui_tasks *t = st->tasks;
    pthread_mutex_lock(&t->mu);
    int done = t->done, total = t->total;
    bool running = t->running;
    char error[300];
    snprintf(error, sizeof error, "%.299s", t->error);
    pthread_mutex_unlock(&t->mu);
    if (running) {
        double spent = st->now - t->began, left = done ? spent / done * (total - done) : -1;
        snprintf(buf, cap, "running %d of %d answers%s", done, total, left < 0 ? "" : "");
        size_t n = strlen(buf);
        if (left >= 0)
            snprintf(buf + n, cap - n, ", about %d:%02d left   Ctrl-C stops and keeps", (int)left / 60,
                     (int)left % 60);
        ui_wake_in(st, 0.3);
    } else if (*error) {
        snprintf(buf, cap, "%s", error);
    } else if (t->n_methods) {
        int n_done, n_right, n_parsed;
        ui_tasks_score(t, st->at.task, st->at.cell, &n_done, &n_right, &n_parsed, NULL);
        snprintf(buf, cap, "%s x %s: %d of %d right, %d in the asked form   Enter goes on",
                 t->task[st->at.task], t->title[st->at.cell], n_right, n_done, n_parsed);
    }
}

static void copy(const struct ui_state *st, char *buf, size_t cap)
{
    struct ui_tasks *t = st->tasks;
    size_t n = 0;
    for (int i = 0; i < t->n_tasks; i++)
        for (int m = 0; m < t->n_methods && n < cap; m++) {
            int done, right;
            double v = ui_tasks_score(t, i, m, &done, &right, NULL, NULL);
            if (done)
                n += (size_t)snprintf(buf + n, cap - n, "task %s method %s score %.3f right %d of %d\n",
                                      t->task[i], t->method[m], v, right, done);
        }
}

static const struct ui_bind binds[] = {
    { UI_CTX(UI_SCREEN_TASKS), "D", "answer-diff" }, { UI_CTX(UI_SCREEN_TASKS), "F", "force" },
    { UI_CTX(UI_SCREEN_TASKS), "S", "sort" }, { UI_CTX(UI_SCREEN_TASKS), "E", "sample-json" },
    { UI_CTX(UI_SCREEN_TASKS), "+", "samples +1" }, { UI_CTX(UI_SCREEN_TASKS), "-", "samples -1" },
};
static const struct ui_hint hints[] = {
    { "open", "open" },        { "run", "run task" },   { "run-all", "run all" },
    { "stop", "stop" },        { "pane-next", "pane" }, { "sort", "sort" },
    { "answer-diff", "diff" }, { "force", "force" },    { "sample-json", "json" },
};
const struct ui_view ui_view_tasks = {
    .name = "tasks",
    .tab = "Tasks",
    .tab_short = "Task",
    .draw = draw,
    .context = context,
    .status = status,
    .settle = settle,
    .move = move,
    .open = open,
    .find = find,
    .click = click,
    .copy = copy,
    .n_panes = N_PANES,
    .binds = binds,
    .n_binds = sizeof binds / sizeof *binds,
    .hints = hints,
    .n_hints = sizeof hints / sizeof *hints,
};
