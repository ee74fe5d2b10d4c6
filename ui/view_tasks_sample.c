/* One sample of the Tasks screen: gold, dense and method answer line by line, and the evidence behind them.
 *
 * Answers of several items are shown item by item, so that the item that went wrong stands under the one that
 * is right; what is the same is written once. */
#include "base.h"
#include "run.h"
#include "vdata.h"
#include "view_tasks.h"

#include <string.h>

static struct ui_style style(const struct ui_state *st, enum ui_role r)
{
    return ui_style(&st->look, r);
}

/* ---- answers ---- */

enum { MAX_ITEMS = 24, LABEL = 15 };
struct item { const char *s; size_t n; };

static int split(const char *s, struct item *out)
{
    int n = 0;
    while (*s && n < MAX_ITEMS) {
        size_t len = strcspn(s, "\n");
        size_t keep = len;
        while (keep && (s[keep - 1] == ' ' || s[keep - 1] == '\r')) keep--;
        if (keep) out[n++] = (struct item){ s, keep };
        s += len + (s[len] == '\n');
    }
    return n;
}

static bool same_item(const struct item *a, const struct item *b)
{
    return a->n == b->n && !memcmp(a->s, b->s, a->n);
}

struct pen {
    const struct ui_state *st;
    struct cell_buf *b;
    struct ui_rect r;
    int y;
    bool mark;                       /* mark differences */
};

/* A label and a text broken over as many rows as it needs; what follows `same` bytes is set off, with carets
 * below where there is room for them. */
static void write_item(struct pen *p, const char *label, enum ui_role role, const struct item *it,
                       size_t same, enum ui_role text_role)
{
    int x = p->r.x + 1 + LABEL, w = p->r.w - LABEL - 2, end = p->r.y + p->r.h;
    struct ui_style text = style(p->st, text_role), diff = style(p->st, UI_MISSED);
    diff.attr |= CELL_UNDERLINE;
    if (p->y >= end) return;
    cells_fit(p->b, p->r.x + 1, p->y, LABEL - 1, label, style(p->st, role));
    if (!p->mark) same = it->n;
    for (size_t at = 0; at < it->n && p->y < end; p->y++) {
        size_t cut = cells_text_cut(it->s + at, it->n - at, w);
        if (!cut) break;
        size_t plain = same > at ? (same - at < cut ? same - at : cut) : 0;
        int used = cells_textn(p->b, x, p->y, w, it->s + at, plain, text);
        int more = cells_textn(p->b, x + used, p->y, w - used, it->s + at + plain, cut - plain, diff);
        at += cut;
        if (!more || p->y + 1 >= end || p->st->look.tier != UI_TIER_MONO) continue;
        p->y++;
        for (int i = 0; i < more; i++) cells_put(p->b, x + used + i, p->y, '^', diff);
    }
}

static size_t common(const struct item *a, const struct item *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->s[n] == b->s[n]) n++;
    while (n > 0 && n < a->n && ((unsigned char)a->s[n] & 0xc0) == 0x80) n--;
    return n;
}

static void verdict(struct pen *p, const char *name, const struct ui_t_cell *c)
{
    bool right = c->score >= 0.999;
    if (p->y >= p->r.y + p->r.h) return;
    cells_fit(p->b, p->r.x + 1, p->y, LABEL - 1, name, style(p->st, UI_STRONG));
    if (c->state == UI_T_DONE)
        cells_printf(p->b, p->r.x + 1 + LABEL, p->y, p->r.w - LABEL - 2, style(p->st, right ? UI_OK : UI_BAD),
                     "%s %.2f  %d tokens, stopped by %s%s%s", right ? "ok" : "WRONG", c->score, c->steps,
                     *c->stop ? c->stop : "-", c->parsed ? "" : ", not in the asked form",
                     c->loops ? ", repeats" : "");
    else
        cells_fit(p->b, p->r.x + 1 + LABEL, p->y, p->r.w - LABEL - 2,
                  c->state == UI_T_RUNNING  ? "answering"
                  : c->state == UI_T_FAILED ? c->answer
                  : c->state == UI_T_QUEUED ? "queued"
                                            : "-",
                  style(p->st, c->state == UI_T_FAILED ? UI_BAD : UI_RUNNING));
    p->y++;
}

void ui_tasks_draw_answers(const struct ui_state *st, struct cell_buf *b, struct ui_rect box, int pane)
{
    struct ui_tasks *t = st->tasks;
    int s = ui_tasks_shown(st, st->at.sample), m = st->at.cell;
    struct ui_rect r = ui_pane(st, b, box, pane, "Sample %d: answers", s);
    if (!t->n_methods || ui_tasks_cell(t, st->at.task, 0, s).state == UI_T_NONE) {
        ui_empty(st, b, r, "nothing to show yet", "r runs this task");
        return;
    }
    char gold[400];
    pthread_mutex_lock(&t->mu);
    memcpy(gold, t->gold[st->at.task][s], sizeof gold);
    pthread_mutex_unlock(&t->mu);
    struct ui_t_cell dense = ui_tasks_cell(t, st->at.task, 0, s), own = ui_tasks_cell(t, st->at.task, m, s);
    struct pen p = { st, b, r, r.y, !st->at.answer_diff };
    struct item g[MAX_ITEMS], d[MAX_ITEMS], o[MAX_ITEMS];
    int ng = split(gold, g), nd = dense.state == UI_T_FAILED ? 0 : split(dense.answer, d),
        no = !m || own.state == UI_T_FAILED ? 0 : split(own.answer, o);
    verdict(&p, t->title[0], &dense);
    if (m) verdict(&p, t->title[m], &own);
    if (p.y + 1 < r.y + r.h && r.h > 8) p.y++;
    for (int i = 0; i < MAX_ITEMS && p.y < r.y + r.h; i++) {
        const struct item *gi = i < ng ? &g[i] : NULL, *di = i < nd ? &d[i] : NULL,
                          *oi = i < no ? &o[i] : NULL;
        bool dense_right = gi && di && same_item(gi, di), own_right = gi && oi && same_item(gi, oi);
        if (!gi && !di && !oi) break;
        if (gi)
            write_item(&p, dense_right && own_right ? "all" : dense_right ? "gold, dense" : "gold",
                       dense_right && own_right ? UI_DIM : UI_GOLD, gi, gi->n,
                       dense_right && (own_right || !m) ? UI_TEXT : UI_GOLD);
        if (di && !dense_right)
            write_item(&p, "dense", UI_LANE_B, di, gi ? common(di, gi) : di->n, UI_TEXT);
        const struct item *ref = di ? di : gi;
        if (oi && !(dense_right && own_right))
            write_item(&p, t->title[m], UI_LANE_A, oi, ref ? common(oi, ref) : oi->n, UI_TEXT);
    }
}

/* ---- why ---- */

/* The result of forcing, when the sample is the run on the other screens; "" none. */
static void forced_text(const struct ui_state *st, int s, char *buf, size_t cap)
{
    const struct ui_tasks *t = st->tasks;
    const struct ui_run *run = st->run;
    *buf = 0;
    if (!st->trace || strcmp(st->info.task, t->task[st->at.task]) || st->info.sample != s ||
        st->info.length != t->length || st->info.seed != t->seed)
        return;
    for (int i = run->n_forced - 1; i >= 0; i--) {
        int lane = run->forced[i].lane, from = run->forced[i].from;
        if (lane >= st->n_lanes || from >= st->n_lanes || strcmp(st->lane[from].spec, t->method[st->at.cell]))
            continue;
        ui_forced_result(st, i, buf, cap);
        if (!*buf) snprintf(buf, cap, "%s forced, answering again", run->forced[i].what);
        return;
    }
}

static const char *span_words(const struct ui_why *y, char *buf, size_t cap)
{
    snprintf(buf, cap, y->hi - y->lo == 1 ? "token %d" : "tokens %d-%d", y->lo, y->hi - 1);
    return buf;
}

/* Percent of what all heads give the span in dense attention that the method reads. */
static double span_read(const struct ui_why *y)
{
    return y->span_mass > 0 ? 100 * y->span_kept / y->span_mass : 100;
}

static int why_lines(const struct ui_state *st, const struct ui_t_cell *c, int s, char line[][240],
                     bool *good)
{
    const struct ui_why *y = &c->why;
    const char *title = st->tasks->title[st->at.cell];
    char token[80] = "", forced[240], span[40];
    int n = 0;
    ui_text_visible(y->token, (int)strlen(y->token), token, sizeof token - 1);
    snprintf(line[n++], 240,
             "%sgold %d, %s, step %d: %s reads %.0f %% of its dense mass over all heads; %d of %d KV heads "
             "read it",
             y->differs ? "" : "the answers never part; read least: ", y->item + 1,
             span_words(y, span, sizeof span), y->step, title, span_read(y), y->pairs, y->n_pairs);
    if (y->key >= 0)
        snprintf(line[n++], 240,
                 "largest loss: L%d H%d, dense mass %.2f on it, %.2f read; key %d \"%s\" (weight %.3f, "
                 "rank %d) is not read",
                 y->layer, y->head, y->dense_mass, y->kept_mass, y->key, token, y->weight, y->rank);
    else
        snprintf(line[n++], 240, "every key of it is read by the head that weighs it most, L%d H%d", y->layer,
                 y->head);
    if (y->key >= 0 && y->sparsity == y->sparsity)
        snprintf(line[n++], 240, "that head would read the key at a sparsity of %.2f%s", y->sparsity,
                 y->asked == y->asked ? "" : " or less");
    forced_text(st, s, forced, sizeof forced);
    *good = strstr(forced, "answer correct") != NULL;
    if (*forced) snprintf(line[n++], 240, "test: %.230s", forced);
    else snprintf(line[n++], 240, "F forces this span everywhere and answers again; Enter goes to that head");
    snprintf(line[n++], 240, "stopped by %s; %s; %d tokens; %s", *c->stop ? c->stop : "-",
             c->loops ? "repeats itself" : "no repetition", c->steps,
             c->parsed ? "in the asked form" : "not in the asked form");
    return n;
}

void ui_tasks_draw_why(const struct ui_state *st, struct cell_buf *b, struct ui_rect box, int pane)
{
    struct ui_tasks *t = st->tasks;
    int s = ui_tasks_shown(st, st->at.sample);
    struct ui_rect r = ui_pane(st, b, box, pane, "Why (evidence, not proof)");
    if (!t->n_methods || st->at.cell == 0) {
        ui_empty(st, b, r,
                 t->n_methods ? "dense reads everything; h l choose a method's column"
                              : "nothing has run yet",
                 NULL);
        return;
    }
    struct ui_t_cell c = ui_tasks_cell(t, st->at.task, st->at.cell, s);
    if (!c.has_why) {
        ui_empty(st, b, r,
                 c.state == UI_T_FAILED ? c.answer
                 : c.state == UI_T_DONE
                     ? "no record of its evidence yet: it comes when the sample's methods are done"
                     : "comes when the sample has run",
                 NULL);
        return;
    }
    char line[6][240];
    bool good;
    int n = why_lines(st, &c, s, line, &good);
    for (int i = 0, y = r.y; i < n && y < r.y + r.h; i++) {
        bool test = !strncmp(line[i], "test:", 5);
        struct ui_style ls = style(st, test ? good ? UI_OK : UI_WARN : i < 2 ? UI_TEXT : UI_DIM);
        const char *p = line[i];
        for (size_t left = strlen(p); left && y < r.y + r.h; y++) {       /* broken at blanks */
            size_t cut = cells_text_cut(p, left, r.w - 2);
            if (cut < left)
                for (size_t k = cut; k > cut / 2; k--)
                    if (p[k] == ' ') {
                        cut = k;
                        break;
                    }
            if (!cut) break;
            cells_textn(b, r.x + 1, y, r.w - 2, p, cut, ls);
            p += cut;
            left -= cut;
            while (left && *p == ' ') p++, left--;
        }
    }
}

/* ---- both in three lines ---- */

void ui_tasks_draw_brief(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    struct ui_tasks *t = st->tasks;
    int s = ui_tasks_shown(st, st->at.sample), i = 0;
    struct ui_t_cell own = ui_tasks_cell(t, st->at.task, st->at.cell, s);
    const struct ui_why *y = &own.why;
    char gold[400];
    pthread_mutex_lock(&t->mu);
    memcpy(gold, t->gold[st->at.task][s], sizeof gold);
    pthread_mutex_unlock(&t->mu);
    struct item g[MAX_ITEMS], o[MAX_ITEMS];
    int ng = split(gold, g), no = own.state == UI_T_DONE ? split(own.answer, o) : 0;
    while (i < ng && i < no && same_item(&g[i], &o[i])) i++; /* the first item that went wrong */
    if (i >= ng) i = 0;
    struct pen p = { st, b, (struct ui_rect){ r.x, r.y, r.w, 1 }, r.y, !st->at.answer_diff };
    if (i < ng) write_item(&p, "gold", UI_GOLD, &g[i], g[i].n, UI_GOLD);
    p.y = ++p.r.y;
    if (i < no)
        write_item(&p, t->title[st->at.cell], UI_LANE_A, &o[i], i < ng ? common(&o[i], &g[i]) : 0, UI_TEXT);
    if (r.h < 3 || !own.has_why || st->at.cell == 0) return;
    char line[200], span[40];
    snprintf(line, sizeof line, "gold %d, %s: %.0f %% of dense's mass read; L%d H%d   F forces it",
             y->item + 1, span_words(y, span, sizeof span), span_read(y), y->layer, y->head);
    cells_fit(b, r.x + 1, r.y + 2, r.w - 2, line, style(st, UI_DIM));
}
