/* The Tasks screen: scores of tasks x methods, the samples behind a score, the answers of a sample, and why.
 */
#include "base.h"
#include "run.h"
#include "view_tasks.h"

#include <math.h>
#include <string.h>

enum pane { P_SCORES, P_SAMPLES, P_ANSWERS, P_WHY, N_PANES };

static struct ui_style style(const struct ui_state *st, enum ui_role r)
{
    return ui_style(&st->look, r);
}

/* ---- layout ---- */

enum { N_SUMS = 5, WHY_LINES = 5 };
struct layout { struct ui_rect of[N_PANES]; int sums; };

static void layout(const struct ui_state *st, struct ui_rect r, struct layout *l)
{
    memset(l, 0, sizeof *l);
    int p = st->at.pane[UI_SCREEN_TASKS], n = st->tasks->n_tasks;
    l->sums = 2;
    if (r.h < 16) {
        l->of[p] = r;
        return;
    }
    bool wide = r.w >= 100, why = r.h >= 32;
    if (r.h >= 30) l->sums = N_SUMS;
    int top = n + 3 + l->sums + (r.h >= 30), low = why ? WHY_LINES + 2 : 0;
    if (top > r.h / 2 + 1) top = r.h / 2 + 1;
    l->of[P_SCORES] = (struct ui_rect){ r.x, r.y, r.w, top };
    int h = r.h - top - low, y = r.y + top;
    if (wide) {
        int left = r.w / 2 + 4;
        l->of[P_SAMPLES] = (struct ui_rect){ r.x, y, left, h };
        l->of[P_ANSWERS] = (struct ui_rect){ r.x + left, y, r.w - left, h };
        if (!why && p == P_WHY) l->of[P_WHY] = l->of[P_ANSWERS], l->of[P_ANSWERS].h = 0;
    } else {
        l->of[p == P_SCORES || (why && p == P_WHY) ? P_SAMPLES : p] = (struct ui_rect){ r.x, y, r.w, h };
    }
    if (why) l->of[P_WHY] = (struct ui_rect){ r.x, y + h, r.w, low };
}

const char *ui_score_text(double v, char buf[16])
{
    if (v != v) return "";
    snprintf(buf, 16, "%.2f", v);
    return buf[0] == '0' ? buf + 1 : buf;
}

/* ---- scores ---- */

struct columns {
    int x0, w, per, first, worst;
}; /* worst: column of the name of the worst method, 0 none */

static struct columns columns(const struct ui_state *st, struct ui_rect r)
{
    const struct ui_tasks *t = st->tasks;
    struct columns c = { .x0 = r.x + 1 + (r.w >= 100 ? 31 : 16) };
    int room = r.x + r.w - c.x0 - 1;
    if (r.w >= 110 && t->n_methods > 2) room -= 16;
    c.w = t->n_methods > 0 ? room / t->n_methods : 12;
    c.w = c.w > 20 ? 20 : c.w < 10 ? 10 : c.w;
    c.per = room / c.w > 0 ? room / c.w : 1;
    c.first = st->at.cell >= c.per ? st->at.cell - c.per + 1 : 0;
    int shown = t->n_methods - c.first < c.per ? t->n_methods - c.first : c.per;
    if (r.w >= 110 && t->n_methods > 2) c.worst = c.x0 + shown * c.w;
    return c;
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
    enum ui_t_state state = UI_T_NONE;          /* of the sample that is not done yet */
    for (int s = t->n_samples - 1; s >= 0; s--) {
        enum ui_t_state now = ui_tasks_cell(t, task, m, s).state;
        if (now == UI_T_RUNNING || (now != UI_T_DONE && state != UI_T_RUNNING)) state = now;
    }
    if (v == v) {
        double d = v - dense;
        snprintf(text, sizeof text, "%s", ui_score_text(v, buf));
        size_t n = strlen(text);
        if (m > 0 && d == d && fabs(d) >= 0.005 && w >= 10)
            n += (size_t)snprintf(text + n, sizeof text - n, " %c%s", d < 0 ? '-' : '+',
                                  ui_score_text(fabs(d), ref));
        if (w >= 16) n += (size_t)snprintf(text + n, sizeof text - n, " (%d/%d)", right, done);
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
        cells_put(b, x + (int)strlen(text) < x + w - 2 ? x + (int)strlen(text) : x + w - 2, y, ']', c);
    }
    cells_fit(b, x, y, w - 2, text, s);
}

/* The method that loses most against dense on a task, -1: none loses. */
static int worst_method(struct ui_tasks *t, int task)
{
    double dense = ui_tasks_score(t, task, 0, NULL, NULL, NULL, NULL), most = 0.005;
    int worst = -1;
    for (int m = 1; m < t->n_methods; m++) {
        double v = ui_tasks_score(t, task, m, NULL, NULL, NULL, NULL);
        if (dense - v > most) most = dense - v, worst = m;
    }
    return worst;
}

static void sum_text(int row, const struct ui_t_sum *s, char *buf, size_t cap)
{
    char v[16];
    *buf = 0;
    if (!s->done) return;
    switch (row) {
    case 0: snprintf(buf, cap, "%s", ui_score_text(s->mass, v)); break;
    case 1: snprintf(buf, cap, "%d of %d", s->parsed, s->done); break;
    case 2: snprintf(buf, cap, "%s", ui_score_text(s->sparsity, v)); break;
    case 3: snprintf(buf, cap, "%.0f", s->tokens); break;
    case 4:
        if (s->decode_tok_s == s->decode_tok_s)
            snprintf(buf, cap, "%.0f / %.0f", s->prefill_tok_s, s->decode_tok_s);
        break;
    }
}

static void draw_sums(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, int y, int rows,
                      const struct columns *c)
{
    static const char *const name[N_SUMS][2] = { { "mass recall, mean", "mass recall" },
                                                 { "in the asked form", "asked form" },
                                                 { "sparsity: pairs or keys", "sparsity" },
                                                 { "tokens an answer", "answer tokens" },
                                                 { "prefill / decode tok/s", "tok/s" } };
    struct ui_style d = style(st, UI_DIM);
    for (int i = 0; i < rows && i < N_SUMS; i++) {
        cells_fit(b, r.x + 1, y + i, c->x0 - r.x - 2, name[i][r.w < 100], d);
        for (int m = c->first; m < st->tasks->n_methods && m - c->first < c->per; m++) {
            struct ui_t_sum s = ui_tasks_sum(st->tasks, m);
            char buf[40];
            sum_text(i, &s, buf, sizeof buf);
            bool bad = i == 1 && s.parsed < s.done;
            cells_fit(b, c->x0 + (m - c->first) * c->w, y + i, c->w - 1, buf, bad ? style(st, UI_WARN) : d);
        }
    }
}

static void draw_scores(const struct ui_state *st, struct cell_buf *b, struct ui_rect box, int sums)
{
    struct ui_tasks *t = st->tasks;
    struct ui_rect r = ui_pane(st, b, box, P_SCORES, "Scores   mean over samples, against dense%s",
                               box.w >= 80 ? " (right/done)" : "");
    struct columns c = columns(st, r);
    int wt = r.w >= 100 ? 18 : 16, y = r.y;
    struct ui_style d = style(st, UI_DIM);
    cells_text(b, r.x + 1, y, wt, "task", d);
    if (r.w >= 100) cells_text(b, c.x0 - 13, y, 12, "metric", d);
    for (int m = c.first; m < t->n_methods && m - c.first < c.per; m++)
        cells_fit(b, c.x0 + (m - c.first) * c.w, y, c.w - 1, t->title[m],
                  style(st, m == st->at.cell ? UI_STRONG : UI_DIM));
    if (c.worst) cells_text(b, c.worst, y, 15, "worst", d);
    if (sums > r.h - 1 - t->n_tasks) sums = r.h - 1 - t->n_tasks < 0 ? 0 : r.h - 1 - t->n_tasks;
    int rows = r.h - 1 - (t->n_methods ? sums : 0);
    int top = st->at.task >= rows ? st->at.task - rows + 1 : 0;
    for (int i = 0; i < rows && top + i < t->n_tasks; i++) {
        int k = top + i, ty = y + 1 + i, worst = c.worst ? worst_method(t, k) : -1;
        bool here = k == st->at.task;
        cells_put(b, r.x, ty, here ? '>' : ' ', style(st, UI_LINE_FOCUS));
        cells_fit(b, r.x + 1, ty, wt - 1, t->task[k], style(st, here ? UI_STRONG : UI_TEXT));
        if (r.w >= 100) cells_fit(b, c.x0 - 13, ty, 12, t->metric[k], d);
        for (int m = c.first; m < t->n_methods && m - c.first < c.per; m++)
            score_cell(st, b, c.x0 + (m - c.first) * c.w, ty, c.w, k, m, here && m == st->at.cell);
        if (worst >= 0) cells_fit(b, c.worst, ty, 15, t->title[worst], style(st, UI_BAD));
    }
    if (t->n_methods) draw_sums(st, b, r, r.y + r.h - sums, sums, &c);
    else
        cells_fit(b, c.x0, r.y + 1, r.x + r.w - c.x0 - 1,
                  "r runs this task with the methods ticked on screen 1, R runs all", d);
}

/* ---- samples ---- */

/* What is to be said of a sample in a few words. */
static void note(const struct ui_t_cell *c, char *buf, size_t cap)
{
    size_t n = 0;
    *buf = 0;
    if (c->state != UI_T_DONE) return;
    if (c->has_why && c->why.n_lost && c->first_diff >= 0) {
        n += (size_t)snprintf(buf + n, cap - n, "gold %d lost", c->why.item + 1);
        if (c->why.n_lost > 1 && n < cap) n += (size_t)snprintf(buf + n, cap - n, " +%d", c->why.n_lost - 1);
    }
    if (c->loops && n < cap) n += (size_t)snprintf(buf + n, cap - n, "%srepeats", n ? ", " : "");
    if (!strcmp(c->stop, "length") && n < cap)
        n += (size_t)snprintf(buf + n, cap - n, "%shit the limit", n ? ", " : "");
    if (!c->parsed && n < cap) snprintf(buf + n, cap - n, "%snot in the asked form", n ? ", " : "");
}

static void draw_samples(const struct ui_state *st, struct cell_buf *b, struct ui_rect box)
{
    static const char *const state[] = { "-", "queued", "running", "", "failed", "stopped" };
    struct ui_tasks *t = st->tasks;
    int idx[UI_T_SAMPLES];
    struct ui_rect r = ui_pane(st, b, box, P_SAMPLES, "%s%s%s: samples%s", t->task[st->at.task],
                               t->n_methods ? " x " : "", t->n_methods ? t->title[st->at.cell] : "",
                               st->at.worst_first ? ", worst first" : "");
    if (!t->n_methods) {
        ui_empty(st, b, r, t->waiting ? "waiting for the run on screen 1" : "no sample has run yet",
                 t->waiting ? "Ctrl-C drops it" : "r runs this task, + and - change how many");
        return;
    }
    ui_tasks_order(st, idx);
    struct ui_style d = style(st, UI_DIM);
    cells_fit(b, r.x + 1, r.y, r.w - 2, " #  score   dense  mass  parts at tok  stop    note", d);
    struct ui_t_cell at = ui_tasks_cell(t, st->at.task, st->at.cell, ui_tasks_shown(st, st->at.sample));
    bool brief = st->body.w < 100 && r.h >= 6 && st->at.cell > 0 && at.state == UI_T_DONE;
    int rows = r.h - (brief ? 4 : 1), top = st->at.sample >= rows ? st->at.sample - rows + 1 : 0;
    if (brief) ui_tasks_draw_brief(st, b, (struct ui_rect){ r.x, r.y + r.h - 3, r.w, 3 });
    for (int i = 0; i < rows && top + i < t->n_samples; i++) {
        int s = idx[top + i], y = r.y + 1 + i;
        struct ui_t_cell c = ui_tasks_cell(t, st->at.task, st->at.cell, s),
                         ref = ui_tasks_cell(t, st->at.task, 0, s);
        bool on = top + i == st->at.sample, done = c.state == UI_T_DONE;
        char sc[16] = "", rf[16] = "", ms[16] = "", diff[24] = "", tokens[16] = "", what[80], line[700];
        if (done && c.first_diff >= 0)
            snprintf(diff, sizeof diff, "step %d", c.first_diff);
        else if (done) snprintf(diff, sizeof diff, "%s", st->at.cell ? "never" : "");
        if (c.steps) snprintf(tokens, sizeof tokens, "%d", c.steps);
        note(&c, what, sizeof what);
        snprintf(line, sizeof line, "%2d  %-7s %-6s %-5s %-8s %-4s %-7s %s", s,
                 done ? ui_score_text(c.score, sc) : state[c.state],
                 ref.state == UI_T_DONE ? ui_score_text(ref.score, rf) : "",
                 done ? ui_score_text(c.mass, ms) : "", diff, tokens, c.stop,
                 c.state == UI_T_FAILED ? c.answer : what);
        enum ui_role role = on ? UI_CURSOR
                            : c.state == UI_T_FAILED || (done && c.score < ref.score) ? UI_BAD
                            : c.state == UI_T_RUNNING ? UI_RUNNING
                            : done                    ? UI_TEXT
                                                      : UI_DIM;
        struct ui_style ls = style(st, role);
        if (on) cells_fill(b, (struct ui_rect){ r.x, y, r.w, 1 }, U' ', ls);
        cells_put(b, r.x, y, on ? '>' : ' ', ls);
        cells_fit(b, r.x + 1, y, r.w - 2, line, ls);
    }
}

static void draw(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    struct layout l;
    layout(st, r, &l);
    if (l.of[P_SCORES].h > 1) draw_scores(st, b, l.of[P_SCORES], l.sums);
    if (l.of[P_SAMPLES].h > 1) draw_samples(st, b, l.of[P_SAMPLES]);
    if (l.of[P_ANSWERS].h > 1) ui_tasks_draw_answers(st, b, l.of[P_ANSWERS], P_ANSWERS);
    if (l.of[P_WHY].h > 1) ui_tasks_draw_why(st, b, l.of[P_WHY], P_WHY);
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
    int s = ui_tasks_shown(st, st->at.sample);
    if (ui_tasks_cell(t, st->at.task, st->at.cell, s).state != UI_T_DONE)
        return ui_say(st, UI_SAY_INFO, "this sample has not run yet: r runs the task"), true;
    return ui_tasks_open(st, st->at.task, st->at.cell, s);
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
        if (p == P_SCORES && i >= 0 && i < st->tasks->n_tasks) {
            struct columns c = columns(st, (struct ui_rect){ r.x + 1, r.y + 1, r.w - 2, r.h - 2 });
            st->at.task = i;
            if (x >= c.x0 - 1 && (x - c.x0 + 1) / c.w < c.per) st->at.cell = c.first + (x - c.x0 + 1) / c.w;
        }
        if (p == P_SAMPLES && i >= 0) st->at.sample = i;
        settle(st);
    }
    return true;
}

static void context(const struct ui_state *st, char *buf, size_t cap, int w)
{
    struct ui_tasks *t = st->tasks;
    snprintf(
        buf, cap,
        w >= 100
            ? "length %d  |  %d samples a task, seed %llu  |  score = mean over the samples that are done"
            : "length %d  |  %d samples a task, seed %llu",
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
        int n = snprintf(buf, cap, "%d of %d answers", done, total);
        if (left >= 0)
            snprintf(buf + n, cap - (size_t)n, "   %.2f answers/s, about %d:%02d left", done / spent,
                     (int)left / 60, (int)left % 60);
        ui_wake_in(st, 0.3);
    } else if (t->waiting) {
        snprintf(buf, cap, "samples begin when the run on screen 1 is done");
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
