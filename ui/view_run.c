/* The Run screen: model, prompt, methods with their progress, answers beside the gold answer, log. */
#include "base.h"
#include "run.h"
#include "view_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum pane { P_METHODS, P_ANSWERS, P_MODEL, P_PROMPT, P_LOG, N_PANES };

static struct ui_style style(const struct ui_state *st, enum ui_role r)
{
    return ui_style(&st->look, r);
}

static enum pane focus(const struct ui_state *st)
{
    return (enum pane)st->at.pane[UI_SCREEN_RUN];
}

/* ---- layout ---- */

struct layout { struct ui_rect of[N_PANES], progress; };

/* Lanes with a line of their own: the trials of a budget search share one, which is counted here too. */
static int shown_lanes(const struct ui_state *st, int lane[UI_MAX_LANES])
{
    int n = 0;
    bool search = false;
    for (int l = 0; l < st->n_lanes; l++)
        if (ui_search_has(st, l))
            search = true;
        else
            lane[n++] = l;
    if (search) lane[n++] = -1;
    return n;
}

static void layout(const struct ui_state *st, struct ui_rect r, struct layout *l)
{
    memset(l, 0, sizeof *l);
    enum pane p = focus(st);
    int lane[UI_MAX_LANES], n = st->n_lanes ? shown_lanes(st, lane) : 4;
    if (r.h < 14) {                                     /* one pane at a time */
        l->of[p] = r;
        return;
    }
    if (r.w < 100 || r.h < 26) {                        /* the chosen one above the answers */
        int low = n + 3 > r.h / 2 ? r.h / 2 : n + 3;
        if (low < 6) low = 6;
        enum pane top = p == P_ANSWERS ? P_METHODS : p;
        l->of[top] = (struct ui_rect){ r.x, r.y, r.w, r.h - low };
        l->of[P_ANSWERS] = (struct ui_rect){ r.x, r.y + r.h - low, r.w, low };
        return;
    }
    int top = r.h >= 36 ? 13 : r.h >= 32 ? 11 : 9, answers = n + 3, log = r.h >= 30 ? 6 : 0;
    if (answers > r.h - top - log - 9) answers = r.h - top - log - 9; /* methods keep some lines */
    if (answers < 6) answers = 6;
    int mid = r.h - top - answers - log;
    if (mid > st->run->n_rows + 4 && log) log += mid - st->run->n_rows - 4, mid = st->run->n_rows + 4;
    int left = r.w * 2 / 5, methods = r.w >= 150 ? r.w * 3 / 5 : r.w - 38;
    int y = r.y;
    l->of[P_MODEL] = (struct ui_rect){ r.x, y, left, top };
    l->of[P_PROMPT] = (struct ui_rect){ r.x + left, y, r.w - left, top };
    y += top;
    l->of[P_METHODS] = (struct ui_rect){ r.x, y, methods, mid };
    l->progress = (struct ui_rect){ r.x + methods, y, r.w - methods, mid };
    y += mid;
    l->of[P_ANSWERS] = (struct ui_rect){ r.x, y, r.w, answers };
    y += answers;
    l->of[P_LOG] = (struct ui_rect){ r.x, y, r.w, log };
}

/* ---- model and prompt fields ---- */

struct field {
    const char *name, *line;
    char value[200];
}; /* line: the command Enter brings up; NULL: fixed */

static void mega(double bytes, char *buf, size_t cap)
{
    if (bytes >= 1e9) snprintf(buf, cap, "%.2f GB", bytes / 1e9);
    else snprintf(buf, cap, "%.1f MB", bytes / 1e6);
}

static struct field *field_add(struct field *f, int *n, const char *name, const char *line)
{
    f[*n] = (struct field){ name, line, "" };
    return &f[(*n)++];
}

/* What the program holds now, of what the machine has. */
static void memory_text(const struct ui_state *st, char *buf, size_t cap)
{
    static double at = -10, used;
    char a[24], t[24];
    if (st->now - at > 1) {
        long pages = 0, resident = 0;
        FILE *f = fopen("/proc/self/statm", "r");
        if (f && fscanf(f, "%ld %ld", &pages, &resident) == 2)
            used = (double)resident * (double)sysconf(_SC_PAGESIZE);
        if (f) fclose(f);
        at = st->now;
    }
    double all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    mega(used, a, sizeof a);
    mega(all, t, sizeof t);
    if (!(used > 0)) snprintf(buf, cap, "of %s", t);
    else snprintf(buf, cap, "%s used of %s", a, t);
}

static int fields(const struct ui_state *st, struct field *f)
{
    const struct ui_run *r = st->run;
    const struct ui_job_want *w = &r->want;
    int n = 0;
    const char *slash = strrchr(w->model, '/');
    char kv[24], weights[24];
    if (!st->info.recorded) {
        snprintf(field_add(f, &n, "task", "task")->value, 200, "%s", w->prompt ? "own prompt" : w->task);
        if (!w->prompt) { /* a prompt of one's own is as long as it is */
            snprintf(field_add(f, &n, "length", "length")->value, 200, "%d tokens", w->length);
            snprintf(field_add(f, &n, "sample", "sample")->value, 200, "%d", w->sample);
        }
        snprintf(field_add(f, &n, "seed", "seed")->value, 200, "%llu", (unsigned long long)w->seed);
        snprintf(field_add(f, &n, "answer", "max-tokens")->value, 200, "at most %d tokens, %s", w->max_tokens,
                 w->temperature > 0 ? "sampled" : "greedy");
    }
    snprintf(field_add(f, &n, "file", NULL)->value, 200, "%.199s",
             st->info.recorded ? st->info.model
             : slash           ? slash + 1
                               : w->model);
    if (r->model) {
        const struct sac_model_info *m = sac_model_info(r->model);
        const struct sac_shape *s = &m->shape;
        mega((double)m->kv_bytes_per_token * (st->trace ? st->info.n_prompt : w->length), kv, sizeof kv);
        mega((double)m->weight_bytes, weights, sizeof weights);
        snprintf(field_add(f, &n, "model", NULL)->value, 200, "%s  %d layers  %dQ/%dKV heads x %d", m->arch,
                 s->n_layers, s->n_heads, s->n_kv_heads, s->head_dim);
        snprintf(field_add(f, &n, "weights", NULL)->value, 200, "%s %s   KV cache %s", weights, m->file_type,
                 kv);
        snprintf(field_add(f, &n, "context", NULL)->value, 200, "%d tokens at most", s->max_ctx);
        snprintf(field_add(f, &n, "threads", "threads")->value, 200, "%d   %s", m->n_threads,
                 m->cpu ? m->cpu : "");
        if (!st->app->headless && !st->app->still)
            memory_text(st, field_add(f, &n, "memory", NULL)->value, 200);
    } else if (st->trace) {
        const struct sac_shape *s = &st->info.shape;
        snprintf(field_add(f, &n, "model", NULL)->value, 200, "%s  %d layers  %dQ/%dKV heads x %d",
                 st->info.arch, s->n_layers, s->n_heads, s->n_kv_heads, s->head_dim);
        char *run = field_add(f, &n, "run", NULL)->value;
        if (st->info.cut)
            snprintf(run, 200, "recorded: the file is cut short");
        else if (st->info.weight_error > 0)
            snprintf(run, 200, "recorded: weights to %.2g %%", 100 * st->info.weight_error);
        else
            snprintf(run, 200, "recorded: opened from a file");
    }
    return n;
}

static void draw_model(const struct ui_state *st, struct cell_buf *b, struct ui_rect box)
{
    struct ui_rect r = ui_pane(st, b, box, P_MODEL, st->info.recorded ? "Model" : "Task and model");
    struct field f[16];
    int n = fields(st, f);
    for (int i = 0; i < n && i < r.h; i++) {
        bool on = focus(st) == P_MODEL && i == st->run->field;
        struct ui_style t = style(st, on ? UI_CURSOR : UI_TEXT), d = style(st, on ? UI_CURSOR : UI_DIM);
        if (on) cells_fill(b, (struct ui_rect){ r.x, r.y + i, r.w, 1 }, U' ', t);
        cells_fit(b, r.x + 1, r.y + i, 8, f[i].name, d);
        cells_fit(b, r.x + 10, r.y + i, r.w - 11, f[i].value, t);
    }
}

/* ---- prompt ---- */

bool ui_gold_byte(const struct ui_state *st, int byte)
{
    for (int i = 0; i < st->info.n_spans; i++) {
        struct sac_span s = st->info.span[i];
        if (s.hi > s.lo && byte >= sac_trace_token_span(st->trace, s.lo).lo &&
            byte < sac_trace_token_span(st->trace, s.hi - 1).hi)
            return true;
    }
    return false;
}

/* Break the prompt into lines of w columns, at blanks where there are some. */
static void wrap(const struct ui_state *st, int w)
{
    struct ui_run *r = st->run;
    if (r->line && r->wrapped == w && r->wrapped_hash == st->info.prompt_hash) return;
    const char *s = st->info.text;
    int len = (int)st->info.text_len, cap = 0;
    r->n_lines = 0;
    r->wrapped = w;
    r->wrapped_hash = st->info.prompt_hash;
    for (int at = 0; at < len && w > 0;) {
        int rest = len - at, nl = 0;
        const char *end = memchr(s + at, '\n', (size_t)rest);
        if (end) nl = (int)(end - s) - at;
        int n = (int)cells_text_cut(s + at, (size_t)(end ? nl : rest), w), next = at + n;
        if (end && n == nl) {
            next++;
        } else if (next < len) {
            int k = n;
            while (k > n / 2 && s[at + k] != ' ') k--;
            if (k > n / 2) n = k, next = at + k + 1;
        }
        if (next == at) next++;
        if (r->n_lines == cap) {
            cap = cap ? cap * 2 : 256;
            void *p = realloc(r->line, (size_t)cap * sizeof *r->line);
            if (!p) return;
            r->line = p;
        }
        r->line[r->n_lines++] = (struct ui_prompt_line){ at, at + n, false };
        at = next;
    }
    for (int i = 0; i < st->info.n_spans; i++) {
        struct sac_span g = st->info.span[i];
        if (g.hi <= g.lo) continue;
        int lo = sac_trace_token_span(st->trace, g.lo).lo, hi = sac_trace_token_span(st->trace, g.hi - 1).hi;
        for (int k = 0; k < r->n_lines; k++) r->line[k].gold |= r->line[k].hi > lo && r->line[k].lo < hi;
    }
}

static void prompt_line(const struct ui_state *st, struct cell_buf *b, int x, int y, int w,
                        const struct ui_prompt_line *l)
{
    struct ui_style text = style(st, UI_TEXT), gold = style(st, UI_GOLD);
    if (!l->gold) {
        cells_textn(b, x, y, w, st->info.text + l->lo, (size_t)(l->hi - l->lo), text);
        return;
    }
    gold.attr |= CELL_UNDERLINE;
    for (int at = l->lo, col = 0; at < l->hi && col < w;) {
        bool g = ui_gold_byte(st, at);
        int end = at;
        while (end < l->hi && ui_gold_byte(st, end) == g) end++;
        if (g && end - at > 1 && st->info.text[at] == ' ')
            g = false, end = at + 1; /* the blank before a word */
        col += cells_textn(b, x + col, y, w - col, st->info.text + at, (size_t)(end - at), g ? gold : text);
        at = end;
    }
}

/* Not under the cursor: the beginning, the lines with evidence, and the question at the end. */
static int digest(const struct ui_run *r, int h, int *line)
{
    int n = 0, tail = h > 6 ? 3 : 2, head = h > 8 ? 2 : 1;
    if (r->n_lines <= h) {
        for (; n < r->n_lines; n++) line[n] = n;
        return n;
    }
    for (; n < head; n++) line[n] = n;
    line[n++] = -1;
    int room = h - head - tail - 1, found = 0;
    for (int i = head; i < r->n_lines - tail && found < room - 1; i++)
        if (r->line[i].gold && (i == head || !r->line[i - 1].gold || room > 6)) line[n++] = i, found++;
    if (found) line[n++] = -1;
    for (int i = h - n < tail ? h - n : tail; i > 0; i--) line[n++] = r->n_lines - i;
    return n;
}

static void draw_prompt(const struct ui_state *st, struct cell_buf *b, struct ui_rect box)
{
    struct ui_run *run = st->run;
    char what[120] = "";
    if (st->trace && *st->info.task)
        snprintf(what, sizeof what, "  %.60s sample %d", st->info.task, st->info.sample);
    struct ui_rect r =
        ui_pane(st, b, box, P_PROMPT, "Prompt%s%s", what, run->edited ? "  (changed: r runs it)" : "");
    if (!st->trace) {
        if (run->load == UI_LOAD_FAILED) ui_empty(st, b, r, run->error, "r tries again");
        else
            ui_empty(st, b, r, run->load == UI_LOAD_BUSY ? "making the prompt" : "no prompt yet",
                     run->load == UI_LOAD_BUSY ? NULL : "r runs the task");
        return;
    }
    wrap(st, r.w - 2);
    int line[64], n = 0, h = r.h < 64 ? r.h : 64;
    if (focus(st) == P_PROMPT) {
        int top = run->top_prompt;
        if (top > run->n_lines - h) top = run->n_lines - h;
        if (top < 0) top = 0;
        run->top_prompt = top;
        for (; n < h && top + n < run->n_lines; n++) line[n] = top + n;
    } else {
        n = digest(run, h, line);
    }
    for (int i = 0; i < n; i++) {
        if (line[i] < 0) cells_put(b, r.x + 1, r.y + i, 0x2026, style(st, UI_DIM));
        else prompt_line(st, b, r.x + 1, r.y + i, r.w - 2, &run->line[line[i]]);
    }
}

/* ---- answers ---- */

/* An answer with the part that differs from the dense one set off. */
static void answer_text(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, int lane)
{
    const char *a = st->lane[lane].answer, *ref = st->lane[0].answer;
    size_t same = 0, n = strlen(a);
    while (a[same] && a[same] == ref[same]) same++;
    while (same > 0 && ((unsigned char)a[same] & 0xc0) == 0x80) same--;
    bool differs = lane > 0 && st->lane[lane].first_diff >= 0;
    struct ui_style t = style(st, UI_TEXT), diff = style(st, UI_MISSED);
    diff.attr |= CELL_UNDERLINE;
    if (!differs) same = n;
    while (n && (a[n - 1] == '\n' || a[n - 1] == ' ')) n--;
    if (same > n) same = n;
    int used = 0;
    /* Where the difference lies beyond the edge, begin later. */
    if (differs && cells_text_width(a, same) > w - 24 && cells_text_width(a, n) > w) {
        size_t skip = cells_text_cut(a, n, cells_text_width(a, n) - w + 1);
        if (skip < same)
            cells_put(b, x, y, 0x2026, style(st, UI_DIM)), used = 1, a += skip, n -= skip, same -= skip;
    }
    used += cells_textn(b, x + used, y, w - used, a, same, t);
    used += cells_textn(b, x + used, y, w - used, a + same, n - same, diff);
    if (st->lane[lane].state == SAC_LANE_DECODE && used < w)
        cells_put(b, x + used, y, 0x2588, style(st, UI_RUNNING));
}

/* Where not all can be seen: dense, then those that did worse, then the others. */
static void worse_first(const struct ui_state *st, int *lane, int n)
{
    int at = n > 0 && lane[0] == 0;
    for (int i = at; i < n; i++) {
        int l = lane[i];
        if (l < 0 || !(st->lane[l].score < st->lane[0].score - 1e-9)) continue;
        memmove(lane + at + 1, lane + at, (size_t)(i - at) * sizeof *lane);
        lane[at++] = l;
    }
}

static void draw_answers(const struct ui_state *st, struct cell_buf *b, struct ui_rect box)
{
    struct ui_rect r = ui_pane(st, b, box, P_ANSWERS, "Answers and scores");
    if (!st->n_lanes) {
        const struct ui_run *run = st->run;
        if (run->load == UI_LOAD_FAILED) ui_empty(st, b, r, run->error, "r tries again");
        else
            ui_empty(st, b, r,
                     run->load == UI_LOAD_BUSY ? ui_load_stage[atomic_load(&st->run->stage)]
                                               : "nothing has run yet",
                     run->load == UI_LOAD_BUSY ? NULL : "r runs the ticked methods");
        return;
    }
    int y = r.y, wn = r.w >= 100 ? 17 : 15, x = r.x + 1 + wn + 6, w = r.x + r.w - x - 1;
    if (st->info.gold && *st->info.gold) {
        size_t n = strlen(st->info.gold);
        while (n && st->info.gold[n - 1] == '\n') n--;
        cells_text(b, r.x + 1, y, wn, "gold answer", style(st, UI_GOLD));
        cells_textn(b, x, y++, w, st->info.gold, n, style(st, UI_GOLD));
    }
    int lane[UI_MAX_LANES], n_shown = shown_lanes(st, lane);
    int rows = r.y + r.h - y, top = st->run->top_answers;
    if (n_shown > rows) worse_first(st, lane, n_shown);
    if (top > n_shown - rows) top = n_shown - rows;
    if (top < 0) top = 0;
    st->run->top_answers = top;
    for (int i = 0; i < rows && top + i < n_shown; i++, y++) {
        int l = lane[top + i];
        char buf[8], trials[200], who[80];
        if (l < 0) {
            if (!ui_search_text(st, who, sizeof who, trials, sizeof trials)) continue;
            cells_fit(b, r.x + 1, y, wn - 1, who, style(st, UI_WARN));
            cells_text(b, r.x + 1 + wn, y, 6, "search", style(st, UI_DIM));
            cells_fit(b, x + 1, y, w - 1, trials, style(st, UI_TEXT));
            continue;
        }
        enum ui_role role;
        const char *verdict = ui_verdict(&st->lane[l], buf, &role);
        struct ui_style name = style(st, l == st->at.a ? UI_LANE_A : l == st->at.b ? UI_LANE_B : UI_TEXT);
        char title[60];
        snprintf(title, sizeof title, "%s%s", st->lane[l].intervention ? "! " : "", ui_lane_name(st, l));
        cells_fit(b, r.x + 1, y, wn - 1, title, name);
        cells_text(b, r.x + 1 + wn, y, 6, verdict, style(st, role));
        if (st->lane[l].state == SAC_LANE_FAILED) cells_fit(b, x, y, w, st->lane[l].error, style(st, UI_BAD));
        else answer_text(st, b, x, y, w, l);
    }
}

static void draw_log(const struct ui_state *st, struct cell_buf *b, struct ui_rect box)
{
    const struct ui_app *a = st->app;
    struct ui_rect r = ui_pane(st, b, box, P_LOG, "Log");
    int top = a->n_log - r.h - st->run->top_log;
    if (top < 0) top = 0;
    for (int i = 0; i < r.h && top + i < a->n_log; i++) {
        const char *s = a->log[top + i];
        bool timed = !a->still && s[0] != '-'; /* a picture made again is the same: no time of day */
        int at = timed ? 10 : 1;
        if (timed) cells_text(b, r.x + 1, r.y + i, 8, s, style(st, UI_DIM));
        cells_fit(b, r.x + at, r.y + i, r.w - at - 1, s + 9, style(st, UI_TEXT));
    }
}

static void methods(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    ui_run_draw_methods(st, b, r, P_METHODS);
}

static void draw(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    static void (*const pane[N_PANES])(const struct ui_state *, struct cell_buf *, struct ui_rect) = {
        methods, draw_answers, draw_model, draw_prompt, draw_log };
    struct layout l;
    layout(st, r, &l);
    for (int p = 0; p < N_PANES; p++)
        if (l.of[p].h > 1) pane[p](st, b, l.of[p]);
    if (l.progress.h > 2) ui_run_draw_progress(st, b, l.progress);
}

/* ---- state ---- */

static int method_rows(const struct ui_state *st)
{
    struct layout l;
    layout(st, st->body, &l);
    return l.of[P_METHODS].h - 3 > 1 ? l.of[P_METHODS].h - 3 : 1;
}

static void settle(struct ui_state *st)
{
    int n = st->run->n_rows, rows = method_rows(st), *cur = &st->at.cur[UI_SCREEN_RUN],
        *top = &st->at.scroll[UI_SCREEN_RUN];
    if (*cur >= n) *cur = n - 1;
    if (*cur < 0) *cur = 0;
    if (*cur < *top) *top = *cur;
    if (*cur >= *top + rows) *top = *cur - rows + 1;
}

static bool scroll(int *v, enum ui_move m, int n, int hi)
{
    switch (m) {
    case UI_UP: *v -= n; break;
    case UI_DOWN: *v += n; break;
    case UI_TOP: case UI_LINE_START: *v = 0; break;
    case UI_BOTTOM: case UI_LINE_END: *v = hi; break;
    case UI_HALF_UP: *v -= 5; break;
    case UI_HALF_DOWN: *v += 5; break;
    case UI_PAGE_UP: *v -= 10; break;
    case UI_PAGE_DOWN: *v += 10; break;
    default: break;
    }
    *v = *v > hi ? hi : *v;
    *v = *v < 0 ? 0 : *v;
    return true;
}

static bool move(struct ui_state *st, enum ui_move m, int n)
{
    struct ui_run *r = st->run;
    struct field f[16];
    switch (focus(st)) {
    case P_METHODS: return scroll(&st->at.cur[UI_SCREEN_RUN], m, n, r->n_rows - 1);
    case P_MODEL: return scroll(&r->field, m, n, fields(st, f) - 1);
    case P_PROMPT: return scroll(&r->top_prompt, m, n, r->n_lines - 1);
    case P_ANSWERS: return scroll(&r->top_answers, m, n, st->n_lanes - 1);
    default:
        if (m == UI_UP || m == UI_DOWN) m = m == UI_UP ? UI_DOWN : UI_UP;      /* counted from the end */
        else if (m == UI_TOP || m == UI_BOTTOM) m = m == UI_TOP ? UI_BOTTOM : UI_TOP;
        else if (m == UI_PAGE_UP || m == UI_PAGE_DOWN) m = m == UI_PAGE_UP ? UI_PAGE_DOWN : UI_PAGE_UP;
        return scroll(&r->top_log, m, n, st->app->n_log - 1);
    }
}

/* Enter: edit the field under the cursor in the command prompt; on an answer, look at its method. */
static bool open(struct ui_state *st)
{
    struct ui_run *r = st->run;
    char line[300];
    if (focus(st) == P_METHODS) {
        const struct ui_method_row *m = &r->row[st->at.cur[UI_SCREEN_RUN]];
        if (!strcmp(m->spec, "dense")) return ui_say(st, UI_SAY_INFO, "dense has no parameters"), true;
        if (strchr(m->spec, ':') || !*m->params) {
            snprintf(line, sizeof line, "method-set %s", m->spec);
        } else {                                   /* spell the defaults out, so that they can be changed */
            snprintf(line, sizeof line, "method-set %s:%s", m->name, m->params);
            for (char *p = line + strlen("method-set "); *p; p++)
                if (*p == ' ') *p = ',';
            struct sac_spec spec;
            if (sac_spec_parse(&spec, line + strlen("method-set "), NULL) != SAC_OK)
                snprintf(line, sizeof line, "method-set %s:", m->spec);
        }
        return ui_prompt_open(st, ':', line), true;
    }
    if (focus(st) == P_MODEL) {
        struct field f[16];
        int n = fields(st, f);
        if (r->field >= n || !f[r->field].line)
            return ui_say(st, UI_SAY_INFO, "this is what the model is"), true;
        const char *v = f[r->field].value;
        bool number = strcmp(f[r->field].line, "task") != 0;
        if (number && !strcmp(f[r->field].line, "max-tokens"))
            snprintf(line, sizeof line, "max-tokens %d", r->want.max_tokens);
        else
            snprintf(line, sizeof line, "%s %.*s", f[r->field].line, number ? (int)strcspn(v, " ") : 100,
                     r->want.prompt && !number ? "" : v);
        return ui_prompt_open(st, ':', line), true;
    }
    if (focus(st) == P_PROMPT) return st->app->want_editor = true;
    if (focus(st) == P_ANSWERS && st->n_lanes) ui_go(st, UI_SCREEN_COMPARE);
    return true;
}

static bool toggle(struct ui_state *st)
{
    if (focus(st) != P_METHODS) return true;
    struct ui_method_row *m = &st->run->row[st->at.cur[UI_SCREEN_RUN]];
    m->on = !m->on;
    return true;
}

static bool find(struct ui_state *st, const char *text, int dir)
{
    struct ui_run *r = st->run;
    size_t n = strlen(text);
    for (int k = dir ? 1 : 0; k < r->n_lines; k++) {
        int i = ((r->top_prompt + (dir < 0 ? -k : k)) % r->n_lines + r->n_lines) % r->n_lines;
        if (memmem(st->info.text + r->line[i].lo, (size_t)(r->line[i].hi - r->line[i].lo), text, n)) {
            st->at.pane[UI_SCREEN_RUN] = P_PROMPT;
            r->top_prompt = i;
            return true;
        }
    }
    return false;
}

static bool click(struct ui_state *st, int x, int y, enum ui_click what)
{
    struct layout l;
    layout(st, st->body, &l);
    if (what == UI_WHEEL_UP || what == UI_WHEEL_DOWN) return false;
    for (int p = 0; p < N_PANES; p++) {
        struct ui_rect r = l.of[p];
        if (x < r.x || y < r.y || x >= r.x + r.w || y >= r.y + r.h || what != UI_CLICK) continue;
        st->at.pane[UI_SCREEN_RUN] = p;
        int i = y - r.y - 1;
        if (p == P_METHODS && i >= 1) {
            int row = st->at.scroll[UI_SCREEN_RUN] + i - 1;
            if (row >= st->run->n_rows) return true;
            st->at.cur[UI_SCREEN_RUN] = row;
            char line[220];
            snprintf(line, sizeof line, "tick %s", st->run->row[row].spec);
            if (x >= r.x + 3 && x <= r.x + 5) ui_run_line(st, line);
        }
        if (p == P_MODEL && i >= 0) st->run->field = i;
        return true;
    }
    return true;
}

static void context(const struct ui_state *st, char *buf, size_t cap, int w)
{
    const struct ui_run *r = st->run;
    if (!st->trace) {
        unsigned long long seed = r->want.seed;
        if (r->want.prompt) snprintf(buf, cap, "own prompt, seed %llu", seed);
        else snprintf(buf, cap, "%s %d tokens, seed %llu", r->want.task, r->want.length, seed);
        return;
    }
    const struct sac_task *task = sac_task_find(st->info.task);
    const char *recorded = st->info.cut        ? "  |  recorded, cut short"
                           : st->info.recorded ? "  |  recorded run"
                                               : "";
    for (int words = 3; *st->info.task && words >= 0; words--) { /* as much as there is room for */
        int n = snprintf(buf, cap, words > 1 ? "%s%stask %s  sample %d  seed %llu  |  prompt %d tokens"
                                             : "%s%s%s #%d  seed %llu  %d tokens",
                         words > 2 && task ? task->title : "", words > 2 && task ? "  |  " : "", st->info.task,
                         st->info.sample, (unsigned long long)st->info.seed, st->info.n_prompt);
        if (words > 0)
            n += snprintf(buf + n, cap - (size_t)n, "  |  %d gold spans%s", st->info.n_spans,
                          words > 1 ? ", what the answer needs" : "");
        n += snprintf(buf + n, cap - (size_t)n, "%s", recorded);
        if (n <= w) return;
    }
    if (!*st->info.task)
        snprintf(buf, cap, "own prompt of %d tokens%s", st->info.n_prompt, recorded);
}

int ui_run_worse(const struct ui_state *st)
{
    for (int l = 1; l < st->n_lanes; l++)
        if (!st->lane[l].intervention && !ui_search_has(st, l) &&
            st->lane[l].score < st->lane[0].score - 0.001)
            return l;
    return -1;
}

/* What to look at when all have answered. */
static void where_next(const struct ui_state *st, char *buf, size_t cap)
{
    int worse = ui_run_worse(st);
    if (worse >= 0)
        snprintf(buf, cap,
                 st->body.w >= 100 ? "   %s is worse than dense: 4 compares them, 3 shows why"
                                   : "   %s is worse: 4 compares, 3 why",
                 ui_lane_name(st, worse));
    else
        snprintf(buf, cap, "   2 to 6 show what each method reads");
}

static void status(const struct ui_state *st, char *buf, size_t cap)
{
    int done = 0, right = 0, scored = 0, all = 0;
    for (int l = 0; l < st->n_lanes; l++) {
        if (st->lane[l].intervention || ui_search_has(st, l)) continue; /* never in the count */
        all++;
        done += st->lane[l].state == SAC_LANE_DONE;
        if (st->lane[l].state == SAC_LANE_DONE && st->lane[l].score == st->lane[l].score)
            scored++, right += st->lane[l].score >= 0.999;
    }
    size_t n = 0;
    bool narrow = st->body.w < 70 && !st->plain;
    if (scored && narrow)
        n = (size_t)snprintf(buf, cap, "%d of %d done, %d right", done, all, right);
    else if (scored)
        n = (size_t)snprintf(buf, cap, "%d of %d methods done, %d answer%s right", done, all, right,
                             right == 1 ? "" : "s");
    else if (st->n_lanes)
        n = (size_t)snprintf(buf, cap, "%d of %d methods done", done, all);
    const struct ui_method_row *m = &st->run->row[st->at.cur[UI_SCREEN_RUN]];
    if (focus(st) == P_METHODS && *m->params && n < cap)
        snprintf(buf + n, cap - n, "%s%s  %s", n ? "   " : "", m->name, m->params);
    else if (scored > 1 && done == all && n < cap)
        where_next(st, buf + n, cap - n);
}

static void copy(const struct ui_state *st, char *buf, size_t cap)
{
    size_t n = 0;
    for (int l = 0; l < st->n_lanes && n < cap; l++)
        n += (size_t)snprintf(buf + n, cap - n, "%s: %s\n", st->lane[l].spec, st->lane[l].answer);
}

static const struct ui_hint hints[] = {
    { "pane-next", "pane" },
    { "toggle", "tick" },
    { "open", "edit" },
    { "run", "run" },
    { "stop", "stop" },
    { "budget *0.875", "less" },
    { "budget *1.125", "more budget" },
    { "edit-prompt", "edit prompt" },
    { "task next", "task" },
};
const struct ui_view ui_view_run = {
    .name = "run",
    .tab = "Run",
    .tab_short = "Run",
    .draw = draw,
    .context = context,
    .status = status,
    .settle = settle,
    .move = move,
    .open = open,
    .toggle = toggle,
    .find = find,
    .click = click,
    .copy = copy,
    .n_panes = N_PANES,
    .hints = hints,
    .n_hints = sizeof hints / sizeof *hints,
};
