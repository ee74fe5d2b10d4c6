/* Requests, notices, layout, search and text helpers that the views share; see views.h. */
#include "run.h"
#include "views.h"

#include <ctype.h>
#include <math.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- requests ---- */

static void *do_heads(struct sac_trace *t, const int *a, const atomic_bool *c)
{
    return ui_heads_compute(t, a[0], c);
}

static void *do_row(struct sac_trace *t, const int *a, const atomic_bool *c)
{
    return ui_row_compute(t, a[0], a[1], a[2], a[3], c);
}

static void *do_tile(struct sac_trace *t, const int *a, const atomic_bool *c)
{
    float some;
    struct sac_tile want = { .lane = a[0], .layer = a[1], .head = a[2], .q0 = a[3], .q1 = a[4], .k0 = a[5],
        .k1 = a[6], .w = a[7], .h = a[8], .pool = (enum sac_pooling)a[9], .sinks = (enum sac_sinks)a[10],
        .sparse = a[11], .kept = a[12] ? &some : NULL, .missed = a[12] ? &some : NULL };
    return ui_tile_compute(t, &want, c);
}

static void *do_text(struct sac_trace *t, const int *a, const atomic_bool *c)
{
    return ui_text_compute(t, a[0], c);
}

static void *do_strips(struct sac_trace *t, const int *a, const atomic_bool *c)
{
    return ui_strips_compute(t, a[0], a[1], a[2], c);
}

static void *do_pages(struct sac_trace *t, const int *a, const atomic_bool *c)
{
    return ui_pages_compute(t, a[0], a[1], a[2], c);
}

static void *do_page_steps(struct sac_trace *t, const int *a, const atomic_bool *c)
{
    return ui_page_steps_compute(t, a[0], a[1], a[2], a[3], a[4], a[5], c);
}

static void *do_along(struct sac_trace *t, const int *a, const atomic_bool *c)
{
    return ui_along_compute(t, a[0], a[1], a[2], a[3], a[4], a[5], c);
}

const struct ui_heads *uv_heads(const struct ui_state *st, int lane, enum ui_req_state *rs)
{
    return ui_request(st, do_heads, (int[]){ lane }, 1, UI_REQ_LIVE, rs);
}

const struct ui_row *uv_row(const struct ui_state *st, int lane, int layer, int head, int row,
                            enum ui_req_state *rs)
{
    return ui_request(st, do_row, (int[]){ lane, layer, head, row }, 4, 0, rs);
}

const struct ui_tile *uv_tile(const struct ui_state *st, const struct sac_tile *w, bool low,
                              enum ui_req_state *rs)
{
    const int arg[] = { w->lane, w->layer, w->head, w->q0, w->q1, w->k0, w->k1, w->w, w->h, (int)w->pool,
                        (int)w->sinks, w->sparse, w->kept != NULL };
    return ui_request(st, do_tile, arg, 13, low ? UI_REQ_LOW : 0, rs);
}

const struct ui_text *uv_text(const struct ui_state *st, int lane, enum ui_req_state *rs)
{
    return ui_request(st, do_text, (int[]){ lane }, 1, UI_REQ_LIVE, rs);
}

const struct ui_strips *uv_strips(const struct ui_state *st, int lane, int row, int bins,
                                  enum ui_req_state *rs)
{
    return ui_request(st, do_strips, (int[]){ lane, row, bins }, 3, UI_REQ_LOW, rs);
}

const struct ui_pages *uv_pages(const struct ui_state *st, int lane, int step, bool all,
                                enum ui_req_state *rs)
{
    return ui_request(st, do_pages, (int[]){ lane, step, all }, 3, 0, rs);
}

const struct ui_page_steps *uv_page_steps(const struct ui_state *st, int lane, int layer, int kv, int page,
                                          int size, int step, enum ui_req_state *rs)
{
    return ui_request(st, do_page_steps, (int[]){ lane, layer, kv, page, size, step }, 6, UI_REQ_LOW, rs);
}

const struct ui_along *uv_along(const struct ui_state *st, int lane, int layer, int head, int q0, int q1,
                                int n, enum ui_req_state *rs)
{
    return ui_request(st, do_along, (int[]){ lane, layer, head, q0, q1, n }, 6, UI_REQ_LOW, rs);
}

/* ---- notices and text ---- */

struct ui_style uv_style(const struct ui_state *st, enum ui_role role)
{
    return ui_style(&st->look, role);
}

int uv_at(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, enum ui_role role,
          const char *fmt, ...)
{
    char buf[1024];
    va_list ap;
    if (w <= 0) return 0;
    va_start(ap, fmt);
    vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    return cells_fit(b, x, y, w, buf, uv_style(st, role));
}

void uv_pair(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, const char *label,
             const char *value)
{
    int used = w >= 30 ? 14 : 10;
    cells_fit(b, x, y, used - 1 < w ? used - 1 : w, label, uv_style(st, UI_DIM));
    if (w > used) cells_fit(b, x + used, y, w - used, value, uv_style(st, UI_TEXT));
}

static const char *lane_doing(const struct sac_lane *la, int n_layers, char *buf, size_t cap)
{
    switch (la->state) {
    case SAC_LANE_QUEUED:  snprintf(buf, cap, "queued"); break;
    case SAC_LANE_PREFILL: snprintf(buf, cap, "prefill, layer %d of %d", la->prefill_layer, n_layers); break;
    case SAC_LANE_DECODE:
        snprintf(buf, cap, "decode, token %d of at most %d", la->n_steps, la->max_steps);
        break;
    case SAC_LANE_MEASURE: snprintf(buf, cap, "measuring"); break;
    case SAC_LANE_STOPPED: snprintf(buf, cap, "stopped"); break;
    case SAC_LANE_FAILED:  snprintf(buf, cap, "failed: %s", la->error); break;
    default:               buf[0] = 0; break;
    }
    return buf;
}

void uv_lane_state(const struct ui_state *st, int lane, char *buf, size_t cap)
{
    char doing[480];
    buf[0] = 0;
    if (!st->trace || lane < 0 || lane >= st->n_lanes) return;
    const struct sac_lane *la = &st->lane[lane];
    if (*lane_doing(la, st->info.shape.n_layers, doing, sizeof doing))
        snprintf(buf, cap, "%s: %s", ui_lane_name(st, lane), doing);
}

bool uv_notice(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, int lane, int layer,
               enum ui_req_state rs)
{
    char what[600];
    if (!st->trace || !st->n_lanes) {
        ui_empty(st, b, r, "Nothing has run yet.", "1 shows the run, r starts it");
        return true;
    }
    if (lane < 0 || lane >= st->n_lanes) {
        ui_empty(st, b, r, "There is no second method to compare with.",
                 "1 adds methods: Space ticks, r runs");
        return true;
    }
    if (rs == UI_REQ_READY) return false;
    uv_lane_state(st, lane, what, sizeof what);
    const struct sac_lane *la = &st->lane[lane];
    if (la->state == SAC_LANE_FAILED || la->state == SAC_LANE_QUEUED) {
        ui_empty(st, b, r, what, la->state == SAC_LANE_FAILED ? "m picks another method, 1 shows the run"
                                                              : "m picks a method that has run");
    } else if (rs == UI_REQ_NOTHING && la->state == SAC_LANE_STOPPED) {
        if (layer < 0 || !la->prefill_layer)
            snprintf(what, sizeof what, "%s: stopped before there was anything to show",
                     ui_lane_name(st, lane));
        else
            snprintf(what, sizeof what, "%s: stopped after layer %d", ui_lane_name(st, lane),
                     la->prefill_layer - 1);
        ui_empty(st, b, r, what,
                 layer >= 0 && la->prefill_layer ? "[ goes back a layer; 1, then r runs it again"
                                                 : "1, then r runs it again");
    } else if (rs == UI_REQ_NOTHING) {
        bool early = layer >= 0 && la->prefill_layer <= layer;
        if (!what[0]) snprintf(what, sizeof what, "This part was not recorded.");
        ui_empty(st, b, r, what,
                 early ? "this layer comes later: [ goes back a layer" : "m picks another method");
    } else {
        ui_empty(st, b, r, rs == UI_REQ_RUNNING ? "computing" : "waiting for the worker", "");
    }
    return true;
}

int uv_what(const struct ui_state *st, char *buf, size_t cap, int w)
{
    if (!st->trace) return snprintf(buf, cap, "no run yet");
    int n = 0, steps = ui_n_steps(st, st->at.a);
    const char *task = st->info.task;
    if (w >= 100 && task && *task) n = snprintf(buf, cap, "%s#%d ", task, st->info.sample);
    n += snprintf(buf + n, cap - (size_t)n, w >= 100 ? "%d tokens" : "N=%d", st->info.n_prompt);
    if (st->at.step >= 0 && steps > 0) /* 0 is the prompt's last row, as for --step and in figures and files */
        n += snprintf(buf + n, cap - (size_t)n, " step %d/%d", st->at.step, steps - 1);
    return n;
}

const char *uv_covers(double n, const char *one, const char *many, char *buf, size_t cap)
{
    if (n < 0.999)
        snprintf(buf, cap, "1/%.0f %s", 1 / n, one);
    else
        snprintf(buf, cap, n > 1.001 && n < 9.95 ? "%.1f %s" : "%.0f %s", n, n > 1.001 ? many : one);
    return buf;
}

/* ---- layout ---- */

struct uv_cols uv_layout(struct ui_rect r, int side_wide, int side_small, int foot_lines)
{
    struct uv_cols c = { .main = r };
    int side = r.w >= 100 ? side_wide : r.w >= 80 ? side_small : 0;
    if (foot_lines > 0) {
        c.foot = (struct ui_rect){ r.x, r.y + r.h - foot_lines, r.w, foot_lines };
        c.main.h -= foot_lines;
    }
    if (side && r.w >= 160) {
        int two = r.w >= 190 ? side : 30;
        c.side2 = (struct ui_rect){ r.x + r.w - two, r.y, two, c.main.h };
        c.main.w -= two;
    }
    if (side) {
        c.side = (struct ui_rect){ r.x + c.main.w - side, r.y, side, c.main.h };
        c.main.w -= side;
    }
    return c;
}

/* ---- keys of a row ---- */

char uv_key_mark(const struct ui_row *r, int key, enum ui_role *role)
{
    *role = UI_DIM;
    if (!r->have_rows || key < 0 || key >= r->n_keys) return ' ';
    if (r->flag[key] & UI_KEY_FORCED) { *role = UI_FORCED; return 'f'; }
    if (r->flag[key] & UI_KEY_KEPT) { *role = UI_KEPT; return '*'; }
    *role = UI_MISSED;
    return '-';
}

const char *uv_key_word(const struct ui_row *r, int key, int rank, enum ui_role *role)
{
    static char some[40]; /* the UI thread alone asks */
    char mark = uv_key_mark(r, key, role);
    if ((mark == '*' || mark == 'f') && r->readers[key] < r->n_heads) {
        snprintf(some, sizeof some, "%d of %d heads read it", r->readers[key], r->n_heads);
        return some;
    }
    switch (mark) {
    case 'f': return "read (f forced)";
    case '*': return "read (* chosen)";
    case '-':
        if (rank <= r->n_kept) return "- MISSED";
        *role = UI_DIM;
        return "not read";
    default:  return "?";
    }
}

int uv_gold(const struct ui_state *st, int pos)
{
    int i = ui_gold_at(st, pos);
    return i < 0 ? 0 : st->info.span_item ? st->info.span_item[i] + 1 : i + 1;
}

void uv_quote(const struct ui_state *st, int lane, int pos, char *buf, size_t cap)
{
    char text[64];
    ui_token_text(st, lane, pos, text, sizeof text);
    snprintf(buf, cap, "\"%s\"", text);
}

const char *ui_verdict(const struct sac_lane *l, char buf[8], enum ui_role *role)
{
    *role = UI_DIM;
    if (l->state < SAC_LANE_MEASURE || l->score != l->score) return "";
    *role = l->score >= 0.999 ? UI_OK : UI_BAD;
    if (l->score >= 0.999) return "ok";
    if (l->score <= 0.001) return "WRONG";
    snprintf(buf, 8, "%.2f", l->score);
    return buf;
}

void uv_answers(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, bool names)
{
    char shown[2][900];
    int lane[2] = { st->at.a, st->at.b }, len[2] = { 0, 0 }, same = 0, label = names ? 15 : 2;
    bool have[2] = { lane[0] >= 0 && lane[0] < st->n_lanes, lane[1] >= 0 && lane[1] < st->n_lanes };
    for (int i = 0; i < 2; i++) {
        const char *s = have[i] ? st->lane[lane[i]].answer : "";
        len[i] = ui_text_visible(s, (int)strlen(s), shown[i], (int)sizeof shown[i] - 1);
        shown[i][len[i]] = 0;
    }
    while (same < len[0] && same < len[1] && shown[0][same] == shown[1][same]) same++;
    while (same > 0 && (shown[0][same] & 0xC0) == 0x80) same--;
    bool differs = have[0] && have[1] && lane[0] != lane[1] && (same < len[0] || same < len[1]);
    for (int i = 0; i < 2 && i < r.h; i++) {
        if (!have[i] || (i && lane[0] == lane[1])) continue;
        const struct sac_lane *la = &st->lane[lane[i]];
        int y = r.y + i, x = r.x, end = r.x + r.w, room = r.w - label - 8;
        uv_at(st, b, x, y, label - 1, i ? UI_LANE_B : UI_LANE_A, "%s",
              names ? ui_lane_name(st, lane[i])
              : i   ? "B"
                    : "A");
        x += label;
        enum ui_role role;
        char score[8];
        const char *word = ui_verdict(la, score, &role);
        uv_at(st, b, x, y, 6, role, "%s", !*word && la->state < SAC_LANE_DONE ? "..." : word);
        x += 6;
        int lead = room / 3 < 40 ? room / 3 : 40, cut = 0; /* keep the difference in sight */
        if (differs && same > room - 12 && same > lead) cut = same - lead;
        while (cut > 0 && (shown[i][cut] & 0xC0) == 0x80) cut--;
        if (cut) x += cells_text(b, x, y, end - x, st->look.ascii ? "..." : "\u2026", uv_style(st, UI_DIM));
        if (!differs) {
            cells_fit(b, x, y, end - x, shown[i], uv_style(st, UI_TEXT));
            continue;
        }
        x += cells_textn(b, x, y, end - x, shown[i] + cut, (size_t)(same - cut), uv_style(st, UI_TEXT));
        if (x < end) x += cells_put(b, x, y, U'^', uv_style(st, UI_BAD));
        if (x < end) cells_fit(b, x, y, end - x, shown[i] + same, uv_style(st, UI_STRONG));
    }
}

/* ---- search ---- */

static bool find_place(struct ui_state *st, const char *text, bool keys, bool *done)
{
    int pos, layer, head;
    char end;
    *done = true;
    if (text[0] == '@' && sscanf(text + 1, "%d%c", &pos, &end) == 1) {
        if (pos < 0 || pos >= uv_n(st, st->at.a)) {
            ui_say(st, UI_SAY_BAD, "@%d: positions go from 0 to %d", pos, uv_n(st, st->at.a) - 1);
            return false;
        }
        if (keys) {
            if (pos > st->at.row) uv_set_row(st, pos);
            st->at.key = pos;
        } else {
            uv_set_row(st, pos);
        }
        return true;
    }
    if (sscanf(text, "L%dH%d%c", &layer, &head, &end) == 2 ||
        sscanf(text, "l%dh%d%c", &layer, &head, &end) == 2) {
        if (layer < 0 || layer >= st->info.shape.n_layers || head < 0 || head >= st->info.shape.n_heads) {
            ui_say(st, UI_SAY_BAD, "%s: layers go to L%d, heads to H%d", text, st->info.shape.n_layers - 1,
                   st->info.shape.n_heads - 1);
            return false;
        }
        st->at.layer = layer;
        st->at.head = head;
        st->at.group = false;
        return true;
    }
    *done = false;
    return false;
}

/* ASCII letters compare without case; everything else by its bytes. */
static bool same_here(const char *s, const char *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tolower((unsigned char)s[i]) != tolower((unsigned char)want[i])) return false;
    return true;
}

static int token_at(const struct ui_text *x, size_t byte)
{
    int lo = 0, hi = x->n;
    while (lo + 1 < hi) {
        int mid = (lo + hi) / 2;
        if ((size_t)x->at[mid] <= byte)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static int add_hit(int *pos, int n, int token)
{
    if (n && pos[n - 1] == token) return n;
    pos[n] = token;
    return n + 1;
}

/* Tokens where what is searched for begins: as it is written, or where that is nowhere as a regular
 * expression. */
static int matches(const struct ui_text *x, const char *want, int *pos, int cap, bool *pattern)
{
    size_t len = strlen(want), total = (size_t)x->at[x->n];
    int n = 0;
    *pattern = false;
    for (size_t i = 0; i + len <= total && n < cap; i++)
        if (same_here(x->bytes + i, want, len)) n = add_hit(pos, n, token_at(x, i));
    regex_t re;
    if (n || !strpbrk(want, ".[(*+?^$|\\") || regcomp(&re, want, REG_EXTENDED | REG_ICASE)) return n;
    *pattern = true;
    for (size_t i = 0; i < total && n < cap;) {
        regmatch_t m;
        if (regexec(&re, x->bytes + i, 1, &m, i ? REG_NOTBOL : 0)) break;
        if (m.rm_eo > m.rm_so) n = add_hit(pos, n, token_at(x, i + (size_t)m.rm_so));
        i += (size_t)(m.rm_eo > m.rm_so ? m.rm_eo : m.rm_eo + 1);
    }
    regfree(&re);
    return n;
}

/* The hits of the last search: views ask in every frame. */
static const int *all_hits(const struct ui_state *st, const struct ui_text *x, const char *want, int *n,
                           bool *pattern)
{
    static struct {
        char want[96];
        const struct ui_text *x;
        int tokens, lane, n, pos[4096];
        uint64_t generation;
        bool pattern;
    } c;
    bool same = c.x == x && c.tokens == x->n && c.lane == x->lane && c.generation == st->generation &&
                !strcmp(c.want, want);
    if (!same) {
        snprintf(c.want, sizeof c.want, "%s", want);
        c.x = x;
        c.tokens = x->n;
        c.lane = x->lane;
        c.generation = st->generation;
        c.n = matches(x, want, c.pos, (int)(sizeof c.pos / sizeof *c.pos), &c.pattern);
    }
    *n = c.n;
    *pattern = c.pattern;
    return c.pos;
}

int uv_hits(const struct ui_state *st, int lane, int *pos, int cap)
{
    enum ui_req_state rs;
    const char *want = st->search;
    int layer, head, n;
    bool pattern;
    if (!*want || *want == '@' || sscanf(want, "L%dH%d", &layer, &head) == 2) return 0;
    const struct ui_text *x = uv_text(st, lane, &rs);
    if (!x) return 0;
    const int *all = all_hits(st, x, want, &n, &pattern);
    if (n > cap) n = cap;
    memcpy(pos, all, (size_t)n * sizeof *pos);
    return n;
}

static bool find_text(struct ui_state *st, const struct ui_text *x, const char *text, int dir)
{
    int n, best = -1, which = 0, from = st->at.key;
    bool pattern;
    const int *pos = all_hits(st, x, text, &n, &pattern);
    if (!n) {
        ui_say(st, UI_SAY_BAD, "no '%s' in the prompt or the answer", text);
        return false;
    }
    for (int i = 0; i < n; i++) {
        bool good = dir < 0 ? pos[i] < from : dir > 0 ? pos[i] > from : pos[i] >= from;
        if (!good || (dir >= 0 && best >= 0)) continue;
        best = pos[i];
        which = i;
    }
    if (best < 0) which = dir < 0 ? n - 1 : 0, best = pos[which];
    st->at.key = best;
    ui_say(st, UI_SAY_INFO, "%s '%s' at token %d, %d of %d (n next, N previous)",
           pattern ? "pattern" : "text", text, best, which + 1, n);
    return true;
}

bool uv_find(struct ui_state *st, const char *text, int dir, bool keys)
{
    bool done;
    enum ui_req_state rs;
    if (!st->trace || !*text) return false;
    bool ok = find_place(st, text, keys, &done);
    if (done) return ok;
    const struct ui_text *x = uv_text(st, st->at.a, &rs);
    if (!x) {
        ui_say(st, UI_SAY_INFO, "the text is being read; press n in a moment");
        return true;
    }
    if (!find_text(st, x, text, dir)) return false;
    if (keys && st->at.key > st->at.row) uv_set_row(st, st->at.key);
    return true;
}

/* The nearest place past `from` in direction `by` among gold spans, dropped keys and the first differing
 * token. */
bool uv_event(struct ui_state *st, int by, bool keys)
{
    if (!st->trace) return false;
    int from = st->at.key, best = -1;
    const char *what = "";
    enum ui_req_state rs;
    const struct ui_row *r = uv_row(st, st->at.a, st->at.layer, ui_head_arg(st), st->at.row, &rs);
#define OFFER(pos, name) do { int p_ = (pos); \
        if ((by > 0 ? p_ > from : p_ < from) && (best < 0 || (by > 0 ? p_ < best : p_ > best))) \
            { best = p_; what = name; } } while (0)
    for (int i = 0; i < st->info.n_spans; i++) OFFER(st->info.span[i].lo, "gold span");
    for (int i = 0; r && r->have_rows && i < r->n_top; i++)
        if (!r->top[i].kept && r->top[i].weight > 0.01f) OFFER(r->top[i].key, "missed key");
    if (st->at.a < st->n_lanes && st->lane[st->at.a].first_diff >= 0 && !keys)
        OFFER(st->info.n_prompt + st->lane[st->at.a].first_diff, "first differing token");
#undef OFFER
    if (best < 0 || best >= uv_n(st, st->at.a) + (keys ? 0 : 1)) {
        ui_say(st, UI_SAY_INFO,
               by > 0 ? "no gold span or missed key further on" : "no gold span or missed key before");
        return true;
    }
    if (keys && best > st->at.row) uv_set_row(st, best);
    st->at.key = best;
    ui_say(st, UI_SAY_INFO, "%s at token %d", what, best);
    return true;
}
