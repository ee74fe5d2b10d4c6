/* Pages: what each layer and KV head reads of the cache, page by page and step by step.
 *
 * Rows are (layer, KV head), columns pages (bins of several where they do not fit). One glyph says forced,
 * chosen, left out, or left out although dense ranks it among as many pages as are read. Eviction methods
 * show the tokens they kept, binned by 16. Below, why the page under the cursor is in or out, over the steps.
 */
#include "lines.h"
#include "views.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP_SECONDS 0.25

struct boxes { struct ui_rect main, recall, page, steps; int cols; };    /* cols: columns of pages */

/* Lines of a row: more where there is room for all pairs, to be seen from afar. */
static int tall(int lines, int n)
{
    int t = n > 0 ? (lines - 1) / n : 1;
    return t < 1 ? 1 : t > 3 ? 3 : t;
}

/* Lines of a grid so high that no row needs: with its frame, a ruler and the line of gold spans. */
static int lines_left(const struct ui_state *st, int h)
{
    int n = st->info.shape.n_layers * st->info.shape.n_kv_heads, lines = h - 4, step = tall(lines, n);
    int left = lines - n * step - (step > 1);       /* tall() leaves one */
    return n > 0 && left > 0 ? left : 0;
}

static struct boxes layout(const struct ui_state *st, struct ui_rect r)
{
    int kv = st->info.shape.n_kv_heads, most = kv > 6 ? kv + 6 : 12;     /* what the panes below can fill */
    struct boxes x = { .main = r };
    int foot = r.h >= 34 ? 10 : r.h >= 28 ? 9 : r.h >= 18 ? 5 : 0;
    if (foot) foot += lines_left(st, r.h - foot);
    if (foot > most) foot = most;
    x.main.h -= foot;
    if (r.w >= 100) {
        x.recall = (struct ui_rect){ r.x + r.w - 18, r.y, 18, x.main.h };
        x.main.w -= 18;
    }
    if (foot) x.page = (struct ui_rect){ r.x, r.y + x.main.h, r.w >= 100 ? r.w / 2 : r.w, foot };
    if (foot && r.w >= 100) x.steps = (struct ui_rect){ r.x + r.w / 2, r.y + x.main.h, r.w - r.w / 2, foot };
    x.cols = x.main.w - 2 - 7 - 5;
    return x;
}

/* Columns of the grid: bins of pages where there are more than columns, else every page equally wide. */
static int grid_cols(const struct boxes *x, const struct ui_pages *p)
{
    int wide = p->n_pages > 0 ? x->cols / p->n_pages : 1;
    return wide < 1 ? x->cols : p->n_pages * (wide > 4 ? 4 : wide);
}

static int step_of(const struct ui_state *st)
{
    return st->at.step < 0 ? 0 : st->at.step;
}

static bool all_steps(const struct ui_state *st)
{
    return st->at.pages_mode != UI_PAGES_STEP;
}

static const struct ui_pages *pages(const struct ui_state *st, enum ui_req_state *rs)
{
    *rs = UI_REQ_NOTHING;
    if (!st->trace || st->at.a >= st->n_lanes) return NULL;
    return uv_pages(st, st->at.a, step_of(st), all_steps(st), rs);
}

/* Rows in the order shown: by layer, or least recall first. */
static int order(const struct ui_state *st, const struct ui_pages *p, int *out, int cap)
{
    int n = p->n_pairs < cap ? p->n_pairs : cap;
    for (int i = 0; i < n; i++) out[i] = i;
    if (!st->at.pages_worst) return n;
    for (int i = 1; i < n; i++) {               /* a few hundred rows, nearly sorted from frame to frame */
        int v = out[i], j = i;
        while (j > 0 && p->recall[out[j - 1]] > p->recall[v]) { out[j] = out[j - 1]; j--; }
        out[j] = v;
    }
    return n;
}

enum { MAX_PAIRS = 4096 };

/* ---- glyphs ---- */

struct mark { char32_t ch; enum ui_role role; };

/* The mark of columns lo..hi-1 of a pair at this step: the most telling of its pages. */
static struct mark step_mark(const struct ui_pages *p, int pair, int lo, int hi)
{
    int all = 0;
    for (int g = lo; g < hi && g < p->n_pages; g++) {
        int s = p->state[(size_t)pair * (size_t)p->n_pages + (size_t)g];
        if ((s & UI_PAGE_DENSE_TOP) && !(s & (UI_PAGE_FORCED | UI_PAGE_CHOSEN))) all |= 8;
        all |= s & (UI_PAGE_FORCED | UI_PAGE_CHOSEN);
    }
    if (all & UI_PAGE_CHOSEN) return (struct mark){ U'#', UI_KEPT };
    if (all & UI_PAGE_FORCED) return (struct mark){ U'f', UI_FORCED };
    if (all & 8) return (struct mark){ U'-', UI_MISSED };
    return (struct mark){ U'.', UI_DIM };
}

static struct mark mode_mark(const struct ui_state *st, const struct ui_pages *p, int pair, int lo, int hi)
{
    if (!all_steps(st) || !p->n_steps) return step_mark(p, pair, lo, hi);
    int count = 0, first = 0;
    for (int g = lo; g < hi && g < p->n_pages; g++) {
        size_t at = (size_t)pair * (size_t)p->n_pages + (size_t)g;
        if (p->count[at] > count) count = p->count[at];
        if (p->first[at] && (!first || p->first[at] < first)) first = p->first[at];
    }
    struct mark now = step_mark(p, pair, lo, hi);
    if (st->at.pages_mode == UI_PAGES_UNION) {
        if (count) return (struct mark){ U'#', UI_KEPT };
        return now.ch == U'-' ? now : (struct mark){ U'.', UI_DIM };
    }
    if (!count) return now.ch == U'-' ? now : (struct mark){ U'.', UI_DIM };
    if (st->at.pages_mode == UI_PAGES_COUNT) {
        int tenth = 10 * count / (p->n_steps > 0 ? p->n_steps : 1);
        return (struct mark){ tenth >= 10 ? U'#' : (char32_t)(U'0' + (char32_t)tenth), UI_KEPT };
    }
    static const char digit[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    return (struct mark){ first - 1 < 36 ? (char32_t)digit[first - 1] : U'+', UI_KEPT };
}

static struct ui_style mark_style(const struct ui_state *st, const struct ui_pages *p, struct mark m,
                                  int pair, int lo, int hi)
{
    struct ui_style s = uv_style(st, m.role);
    /* In colour the dense mass of the column tints the background. */
    if (st->look.tier >= UI_TIER_256 && m.role != UI_DIM) {
        float mass = 0;
        for (int g = lo; g < hi && g < p->n_pages; g++)
            mass += p->mass[(size_t)pair * (size_t)p->n_pages + (size_t)g];
        struct ui_heat h = ui_heat_default(UI_SCALE_LOG);
        h.lo = -3;
        double t = ui_heat_t(&h, (double)mass, p->row + 1);
        if (t > 0.25) {
            uint32_t bg = ui_map_t(ui_look_map(&st->look), st->look.tier, t);
            struct ui_style on = ui_style_on(&st->look, bg);
            on.attr |= m.role == UI_MISSED ? CELL_BOLD : 0;
            return on;
        }
    }
    return s;
}

/* ---- the grid ---- */

static void page_ruler(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, int n_pages)
{
    struct ui_tick tick[24];
    int n = ui_ticks(0, n_pages, w / 9 + 1 > 24 ? 24 : w / 9 + 1, tick), free_at = 0;
    for (int i = 0; i < n; i++) {
        char label[16];
        snprintf(label, sizeof label, "%d", tick[i].at);
        int at = ui_bin_of(tick[i].at, n_pages, w), len = (int)strlen(label);
        if (at < free_at || at + len > w) continue;
        cells_text(b, x + at, y, w - at, label, uv_style(st, UI_DIM));
        free_at = at + len + 1;
    }
}

static void draw_grid(const struct ui_state *st, struct cell_buf *b, struct ui_rect in, const struct boxes *x,
                      const struct ui_pages *p)
{
    static int row[MAX_PAIRS];
    int n = order(st, p, row, MAX_PAIRS), w = grid_cols(x, p), lines = in.h - 2, cur = 0;
    if (w < 4 || lines < 1) return;
    int x0 = in.x + 7, curcol = ui_bin_of(st->at.page, p->n_pages, w);
    for (int i = 0; i < n; i++)
        if (row[i] == st->at.pair) cur = i;
    int first = n <= lines                    ? 0
                : cur - lines / 2 < 0         ? 0
                : cur - lines / 2 > n - lines ? n - lines
                                              : cur - lines / 2;
    uv_at(st, b, in.x, in.y, 7, UI_DIM, " L  kv");
    page_ruler(st, b, x0, in.y, w, p->n_pages);
    uv_at(st, b, x0 + w + 1, in.y, 5, UI_DIM, "mass");
    int step = tall(lines, n);
    for (int i = 0; i < lines && first + i < n; i++) {
        int pair = row[first + i], top = in.y + 1 + i * step, y = top + (step - 1) / 2;
        bool on = pair == st->at.pair;
        uv_at(st, b, in.x, y, 7, on ? UI_STRONG : UI_DIM, "%c%-3d%d", on ? '>' : ' ', pair / p->n_kv_heads,
              pair % p->n_kv_heads);
        for (int c = 0; c < w; c++) {
            int lo = ui_bin_lo(c, p->n_pages, w), hi = ui_bin_hi(c, p->n_pages, w);
            struct mark m = mode_mark(st, p, pair, lo, hi);
            struct ui_style s = mark_style(st, p, m, pair, lo, hi);
            if (on && c == curcol) s = uv_style(st, UI_CURSOR);
            for (int k = 0; k < step && s.bg != CELL_DEFAULT; k++) cells_put(b, x0 + c, top + k, U' ', s);
            cells_put(b, x0 + c, y, m.ch, s);
        }
        char v[12];
        ui_fmt_share((double)p->recall[pair], v, sizeof v);
        uv_at(st, b, x0 + w + 1, y, 5, p->recall[pair] < 0.7f ? UI_WARN : UI_TEXT, "%s", v);
        if (x->recall.w) {
            char32_t bar[16];
            ui_bar((double)p->recall[pair], 14, st->look.ascii, bar);
            for (int k = 0; k < 14 * step; k++)
                cells_put(b, x->recall.x + 2 + k % 14, top + k / 14, bar[k % 14] == U'.' ? U' ' : bar[k % 14],
                          uv_style(st, UI_BAR));
        }
    }
    int y = in.y + 1 + (n < lines ? n * step : lines);
    if (st->info.n_spans) uv_at(st, b, in.x, y, 7, UI_GOLD, "gold");
    ui_gold_line(&st->look, b, x0, y, w, 0, p->n_pages * p->page, &st->info);
    cells_put(b, x0 + curcol, y, st->look.ascii ? U'|' : 0x25B2, uv_style(st, UI_QUERY));
}

/* ---- the page under the cursor ---- */

static const struct ui_page_steps *page_steps(const struct ui_state *st, const struct ui_pages *p,
                                              enum ui_req_state *rs)
{
    return uv_page_steps(st, st->at.a, st->at.pair / p->n_kv_heads, st->at.pair % p->n_kv_heads, st->at.page,
                         p->page, step_of(st), rs);
}

/* How near the decision about the key under the cursor was. */
static int why_line(const struct ui_state *st, struct cell_buf *b, struct ui_rect in, int y)
{
    enum ui_req_state rs;
    const struct ui_key_why *w =
        uv_why(st, st->at.a, st->at.layer, st->at.head, ui_step_row(st, step_of(st)), st->at.key, &rs);
    if (!w || !w->acts) return 0;
    if (w->keys_needed)
        uv_at(st, b, in.x, y, in.w, UI_STRONG,
              w->read ? "key %d is read down to %d keys a head (budget x %.2f)"
                      : "key %d is read from %d keys a head on (budget x %.2f)",
              w->key, w->keys_needed, w->factor_needed);
    else
        uv_at(st, b, in.x, y, in.w, UI_DIM, "key %d is %s at every budget tried", w->key,
              w->read ? "read" : "left out");
    return 1;
}

static void draw_page(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                      const struct ui_pages *p)
{
    if (r.h < 3) return;
    int lo = st->at.page * p->page, hi = lo + p->page < p->row + 1 ? lo + p->page : p->row + 1, gold = -1;
    for (int k = lo; k < hi && gold < 1; k++) gold = uv_gold(st, k);
    struct ui_rect in =
        ui_pane(st, b, r, 1, "%s %d  tokens %d-%d%s", p->own_page > 1 ? "Page" : "Tokens, bin", st->at.page,
                lo, hi - 1, gold > 0 ? "  [gold]" : "");
    enum ui_req_state rs;
    const struct ui_page_steps *s = page_steps(st, p, &rs);
    int y = in.y, end = in.y + in.h;
    bool small = in.h < 5;
    int at = in.x + cells_text(b, in.x, y, 1, "\"", uv_style(st, UI_DIM));
    int last = y + (in.h > 6 ? in.h - 6 : 0);       /* at most five lines follow; the tokens have the others */
    for (int k = lo; k < hi && at < in.x + in.w; k++) {
        char tok[64];
        if (ui_token_text(st, st->at.a, k, tok, sizeof tok)) continue;
        if (y < last && at + cells_text_width(tok, strlen(tok)) > in.x + in.w) {
            y++;
            at = in.x + 1;
        }
        at += cells_text(b, at, y, in.x + in.w - at, tok,
                         uv_style(st, ui_gold_at(st, k) >= 0 ? UI_GOLD : UI_TEXT));
    }
    y++;
    if (!s) {
        uv_at(st, b, in.x, y, in.w, UI_DIM, rs == UI_REQ_NOTHING ? "not recorded" : "computing");
        return;
    }
    size_t cell = (size_t)st->at.pair * (size_t)p->n_pages + (size_t)st->at.page;
    int state = st->at.page < p->n_pages ? p->state[cell] : 0, pairs = 0, dense = 0, kv = p->n_kv_heads;
    for (int i = 0; i < p->n_pairs && st->at.page < p->n_pages; i++) {
        int v = p->state[(size_t)i * (size_t)p->n_pages + (size_t)st->at.page];
        pairs += (v & (UI_PAGE_CHOSEN | UI_PAGE_FORCED)) != 0;
        dense += (v & UI_PAGE_DENSE_TOP) != 0;
    }
    bool in_set = state & (UI_PAGE_CHOSEN | UI_PAGE_FORCED), top = state & UI_PAGE_DENSE_TOP;
    uv_at(st, b, in.x, y++, in.w,
          in_set ? UI_KEPT
          : top  ? UI_MISSED
                 : UI_DIM,
          small ? "%s by L%d kv%d at this step; read at %d of %d steps; dense mass %.3f"
                : "%s by L%d kv%d; read at %d of %d steps; mass %.3f",
          state & UI_PAGE_FORCED ? "f read (forced)"
          : in_set               ? "# read"
          : top                  ? "- missed"
                                 : ". left out",
          st->at.pair / kv, st->at.pair % kv, s->n_sel, s->n, (double)p->mass[cell]);
    if (p->own_page > 1 && !isnan(s->bound) && y < end) {
        uv_at(st, b, in.x, y++, in.w, UI_TEXT, "bound %.1f rank %d of %d, cut-off %.1f; true %.1f rank %d",
              s->bound, s->bound_rank, s->n_pages, s->cut, s->best, s->best_rank);
        if (y < end && !small)
            uv_at(st, b, in.x, y++, in.w, UI_DIM, "(bound: Quest's, of the page; true: its best key, q.k)");
    }
    if (y < end) y += why_line(st, b, in, y);
    if (y < end)
        uv_at(st, b, in.x, y++, in.w, UI_TEXT,
              in.w >= 76 ? "%d of %d (layer, KV head) pairs read it; %d have it in their dense top"
                         : "%d of %d pairs read it; %d have it in their dense top",
              pairs, p->n_pairs, dense);
}

static void draw_steps(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                       const struct ui_pages *p)
{
    if (r.w < 20 || r.h < 5) return;
    enum ui_req_state rs;
    const struct ui_page_steps *s = page_steps(st, p, &rs);
    int words = r.w >= 52 ? 18 : 0, w = (r.w - 2 - 12 - words) / 2, from = s && s->n > w ? s->n - w : 0;
    struct ui_rect in = ui_pane(st, b, r, -1, "Steps %d to %d of this %s, L%d kv%d", from, step_of(st),
                                p->own_page > 1 ? "page" : "bin", st->at.pair / p->n_kv_heads,
                                st->at.pair % p->n_kv_heads);
    if (!s) { ui_empty(st, b, in, rs == UI_REQ_NOTHING ? "not recorded" : "computing", ""); return; }
    static const char *const label[3] = { "dense rank", "read", "mass lost" };
    static const char *const key[3] = { "1-9, + beyond", "# read  - missed", "in tenths" };
    for (int line = 0; line < 3; line++) {
        uv_at(st, b, in.x, in.y + line, 11, UI_DIM, "%s", label[line]);
        for (int i = from; i < s->n && i - from < w; i++) {
            int x = in.x + 12 + 2 * (i - from);
            char32_t ch = U'.';
            enum ui_role role = UI_DIM;
            if (line == 0 && s->step[i].dense_top) {
                role = UI_STRONG;
                ch = s->step[i].rank > 0 && s->step[i].rank < 10
                         ? (char32_t)(U'0' + (char32_t)s->step[i].rank)
                         : U'+';
            }
            if (line == 1 && s->step[i].kept) { ch = U'#'; role = UI_KEPT; }
            if (line == 1 && !s->step[i].kept && s->step[i].dense_top) { ch = U'-'; role = UI_MISSED; }
            if (line == 2 && !s->step[i].kept) {
                int lost = (int)floor((double)s->step[i].mass * 10 + 0.5);
                if (lost > 0) { ch = lost > 9 ? U'9' : (char32_t)(U'0' + (char32_t)lost); role = UI_MISSED; }
            }
            cells_put(b, x, in.y + line, ch, uv_style(st, role));
        }
        if (words)
            uv_at(st, b, in.x + in.w - 17, in.y + line, 17, UI_DIM, "%s", key[line]);
    }
    int y = in.y + 3, end = in.y + in.h, kv = p->n_kv_heads, layer = st->at.pair / kv, most = 1;
    if (y >= end) return;
    uv_at(st, b, in.x, y++, in.w, UI_DIM, "keys read by L%d at this step, of %d:", layer, p->row + 1);
    for (int g = 0; g < kv; g++)
        if (p->n_kept[layer * kv + g] > most) most = p->n_kept[layer * kv + g];
    for (int g = 0; g < kv && y < end; g++, y++) {
        char32_t bar[64];
        int bw = in.w - 30 < 64 ? in.w - 30 : 64, pair = layer * kv + g;
        uv_at(st, b, in.x, y, 5, UI_DIM, "kv%d", g);
        if (bw < 4) continue;
        ui_bar((double)p->n_kept[pair] / most, bw, st->look.ascii, bar);
        for (int k = 0; k < bw; k++)
            cells_put(b, in.x + 5 + k, y, bar[k] == U'.' ? U' ' : bar[k], uv_style(st, UI_BAR));
        if (p->kept_cache[pair] >= 0)
            uv_at(st, b, in.x + 6 + bw, y, 24, UI_TEXT, "%d, cache kept %d", p->n_kept[pair],
                  p->kept_cache[pair]);
        else uv_at(st, b, in.x + 6 + bw, y, 24, UI_TEXT, "%d", p->n_kept[pair]);
    }
    const char *cap = strstr(st->lane[st->at.a].params, "capacity=");
    int sum = 0, each = cap ? atoi(cap + 9) : 0;
    for (int g = 0; g < kv; g++) sum += p->kept_cache[layer * kv + g] > 0 ? p->kept_cache[layer * kv + g] : 0;
    if (each > 0 && sum > 0 && y < end)
        uv_at(st, b, in.x, y, in.w, sum == each * kv ? UI_OK : UI_WARN, "kept %d in all %s %d KV heads x %d",
              sum, sum == each * kv ? "=" : "of", kv, each);
}

/* ---- the view ---- */

static const char *const mode_name[] = { "step", "union", "count", "first" };

static void pages_draw(const struct ui_state *st, struct cell_buf *b, struct ui_rect r)
{
    static const char *const brief[] = { "f forced  # chosen  . left out  - missed",
                                         "# read at any step so far  - missed now",
                                         "0-9 tenths of the steps, # every step", "step of the first read" };
    static const char *const legend[] = {
        "f forced  # chosen  . left out  - missed: dense top",
        "# read at any step so far  - never, in the dense top now",
        "0-9 tenths of the steps so far, # every step", "step of the first read: 0-9 a-z, + later"
    };
    struct boxes x = layout(st, r);
    enum ui_req_state rs;
    const struct ui_pages *p = pages(st, &rs);
    const struct sac_lane *la = st->trace && st->at.a < st->n_lanes ? &st->lane[st->at.a] : NULL;
    bool whole = la && la->prefill.kernel < 0.9999 && la->decode.kernel >= 0.9999;
    /* The first step is the last row of the prompt, which a prefill method still chooses for. */
    static const char *const dense[2][2] = {
        { "all is read: m picks another", "all is read: it acts in prefill, m picks another" },
        { "the last prompt row", "the last prompt row; later steps read all" }
    };
    const char *marks = whole              ? dense[step_of(st) < 1][x.main.w >= 70]
                        : x.main.w >= 90 ? legend[st->at.pages_mode]
                                         : brief[st->at.pages_mode];
    char title[160];
    int n = snprintf(title, sizeof title, "%s, step %d  %s",
                     p && p->own_page <= 1 ? "Tokens by 16" : "Pages", step_of(st), marks);
    if (st->look.tier >= UI_TIER_256 && n + 20 <= x.main.w - 6)
        snprintf(title + n, sizeof title - (size_t)n, "  colour: dense mass");
    struct ui_rect in = ui_pane(st, b, x.main, 0, "%s", title);
    if (!p) {
        if (rs == UI_REQ_NOTHING && st->trace && st->at.a < st->n_lanes && ui_n_steps(st, st->at.a) < 1 &&
            st->lane[st->at.a].state != SAC_LANE_FAILED) {
            char what[300];
            uv_lane_state(st, st->at.a, what, sizeof what);
            ui_empty(st, b, in, what[0] ? what : "no token was generated",
                     "pages are read when tokens are generated");
        } else {
            uv_notice(st, b, in, st->at.a, -1, rs);
        }
        return;
    }
    if (x.recall.w) ui_pane(st, b, x.recall, -1, "mass recall");
    draw_grid(st, b, in, &x, p);
    if (x.page.h) draw_page(st, b, x.page, p);
    if (x.steps.h) draw_steps(st, b, x.steps, p);
    if (st->at.playing) ui_wake_in(st, STEP_SECONDS);
}

static void pages_context(const struct ui_state *st, char *buf, size_t cap, int w)
{
    enum ui_req_state rs;
    int n = uv_what(st, buf, cap, w);
    const struct ui_pages *p = pages(st, &rs);
    if (!p || n < 0 || (size_t)n >= cap) return;
    struct boxes x = layout(st, st->body);
    int cols = grid_cols(&x, p), read = 0;
    for (int g = 0; g < p->n_pages && st->at.pair < p->n_pairs; g++)
        read += (p->state[(size_t)st->at.pair * (size_t)p->n_pages + (size_t)g] &
                 (UI_PAGE_CHOSEN | UI_PAGE_FORCED)) != 0;
    n += snprintf(buf + n, cap - (size_t)n, " | %s | %d of %d %s", ui_lane_name(st, st->at.a), read,
                  p->n_pages, p->own_page > 1 ? "pages" : "bins of 16");
    if (w >= 100 && (size_t)n < cap)
        n += snprintf(buf + n, cap - (size_t)n, " read by L%d kv%d", st->at.pair / p->n_kv_heads,
                      st->at.pair % p->n_kv_heads);
    if (w >= 100 && (size_t)n < cap && cols < p->n_pages)
        n += snprintf(buf + n, cap - (size_t)n, " | 1 column = %.3g %s", (double)p->n_pages / cols,
                      p->own_page > 1 ? "pages" : "bins");
    if ((size_t)n < cap && all_steps(st))
        n += snprintf(buf + n, cap - (size_t)n, " | view: %s", mode_name[st->at.pages_mode]);
    if ((size_t)n < cap && st->at.playing) snprintf(buf + n, cap - (size_t)n, " | playing");
}

static void pages_status(const struct ui_state *st, char *buf, size_t cap)
{
    enum ui_req_state rs;
    buf[0] = 0;
    const struct ui_pages *p = pages(st, &rs);
    if (!p || st->at.page >= p->n_pages || st->at.page < 0) return;
    int pairs = 0, dense = 0, gold = -1;
    for (int i = 0; i < p->n_pairs; i++) {
        int v = p->state[(size_t)i * (size_t)p->n_pages + (size_t)st->at.page];
        pairs += (v & (UI_PAGE_CHOSEN | UI_PAGE_FORCED)) != 0;
        dense += (v & UI_PAGE_DENSE_TOP) != 0;
    }
    for (int k = st->at.page * p->page; k < (st->at.page + 1) * p->page && gold < 1; k++)
        gold = uv_gold(st, k);
    char what[32] = "";
    if (gold > 0) snprintf(what, sizeof what, "gold %d ", gold);
    snprintf(buf, cap,
             st->plain || st->body.w >= 100
                 ? "%s%s %d: %d of %d (layer, KV head) pairs read it at step %d; %d have it in their dense top"
                 : "%s%s %d: %d of %d pairs read it, step %d; dense top of %d",
             what, p->own_page > 1 ? "page" : "bin", st->at.page, pairs, p->n_pairs, p->step, dense);
}

static void pages_plain(const struct ui_state *st, char *buf, size_t cap)
{
    enum ui_req_state rs;
    char line[400];
    pages_context(st, line, sizeof line, 120);
    int n = snprintf(buf, cap, "%s\n", line);
    pages_status(st, line, sizeof line);
    n += snprintf(buf + n, cap - (size_t)n, "%s\n", line);
    const struct ui_pages *p = pages(st, &rs);
    for (int i = 0; p && i < p->n_pairs && (size_t)n + 80 < cap; i++)
        n += snprintf(buf + n, cap - (size_t)n, "layer %d kv %d keys read %d mass %.2f\n", i / p->n_kv_heads,
                      i % p->n_kv_heads, p->n_kept[i], (double)p->recall[i]);
}

/* Tokens of a column's unit: the method's pages, or bins of 16. */
static int page_size(const struct ui_state *st)
{
    int page = sac_trace_page_size(st->trace, st->at.a);
    return page > 1 ? page : 16;
}

/* Playing goes on by the clock, a step every quarter of a second, and stops at the last one. */
static void play(struct ui_state *st, int steps)
{
    static double due;
    if (!st->at.playing) { due = 0; return; }
    if (due <= 0) { due = st->now + STEP_SECONDS; return; }
    if (st->now < due) return;
    due = st->now + STEP_SECONDS;
    if (st->at.step + 1 < steps) uv_set_row(st, ui_step_row(st, st->at.step + 1));
    else st->at.playing = false;
}

static void pages_settle(struct ui_state *st)
{
    if (!st->trace || st->at.a >= st->n_lanes) return;
    uv_first_look(st);
    const struct sac_shape *s = &st->info.shape;
    int steps = ui_n_steps(st, st->at.a), pairs = s->n_layers * s->n_kv_heads;
    if (st->at.step >= steps) st->at.step = steps > 0 ? steps - 1 : 0;
    if (st->at.step < 0) st->at.step = 0;
    play(st, steps);
    /* Row and page are the head and the key of the other screens. */
    st->at.pair = st->at.layer * s->n_kv_heads + ui_kv_head(st);
    if (st->at.pair >= pairs) st->at.pair = pairs - 1;
    if (st->at.pair < 0) st->at.pair = 0;
    int page = page_size(st), last = (st->info.n_prompt - 1 + st->at.step) / page;
    st->at.page = st->at.key / page;
    if (st->at.page > last) st->at.page = last;
    if (st->at.page < 0) st->at.page = 0;
}

static void follow(struct ui_state *st)
{
    int kv = st->info.shape.n_kv_heads, per = st->info.shape.n_heads / (kv > 0 ? kv : 1);
    st->at.layer = st->at.pair / kv;
    if (st->at.head / (per > 0 ? per : 1) != st->at.pair % kv) st->at.head = (st->at.pair % kv) * per;
    if (st->at.key / page_size(st) != st->at.page) st->at.key = st->at.page * page_size(st);
}

static bool pages_move(struct ui_state *st, enum ui_move m, int n)
{
    static int row[MAX_PAIRS];
    enum ui_req_state rs;
    const struct ui_pages *p = pages(st, &rs);
    if (!p) return true;
    struct boxes x = layout(st, st->body);
    int k = order(st, p, row, MAX_PAIRS), cur = 0, cols = grid_cols(&x, p);
    int per = cols > 0 && p->n_pages > cols ? (p->n_pages + cols - 1) / cols : 1, half = x.main.h / 2;
    for (int i = 0; i < k; i++)
        if (row[i] == st->at.pair) cur = i;
    switch (m) {
    case UI_LEFT:       st->at.page -= n * per; break;
    case UI_RIGHT:      st->at.page += n * per; break;
    case UI_UP:         cur -= n; break;
    case UI_DOWN:       cur += n; break;
    case UI_TOP:        cur = 0; break;
    case UI_BOTTOM:     cur = k - 1; break;
    case UI_LINE_START: st->at.page = 0; break;
    case UI_LINE_END:   st->at.page = p->n_pages - 1; break;
    case UI_HALF_UP: case UI_PAGE_UP:     cur -= n * half; break;
    case UI_HALF_DOWN: case UI_PAGE_DOWN: cur += n * half; break;
    default: return false;
    }
    cur = cur < 0 ? 0 : cur >= k ? k - 1 : cur;
    if (k > 0) st->at.pair = row[cur];
    st->at.page = st->at.page < 0 ? 0 : st->at.page >= p->n_pages ? p->n_pages - 1 : st->at.page;
    follow(st);
    return true;
}

static bool pages_open(struct ui_state *st)
{
    if (!st->trace || st->at.a >= st->n_lanes) return false;
    follow(st);
    uv_set_row(st, ui_step_row(st, step_of(st)));
    ui_go(st, UI_SCREEN_MAP);
    return true;
}

static bool pages_toggle(struct ui_state *st)
{
    if (!st->trace) return false;
    st->at.playing = !st->at.playing;
    if (st->at.playing && st->at.step + 1 >= ui_n_steps(st, st->at.a)) st->at.step = 0;
    return true;
}

static bool pages_cancel(struct ui_state *st)
{
    if (!st->at.playing) return false;
    st->at.playing = false;
    return true;
}

/* The next page with gold, or one that dense ranks high and this pair leaves out. */
static bool pages_event(struct ui_state *st, int by)
{
    enum ui_req_state rs;
    const struct ui_pages *p = pages(st, &rs);
    if (!p) return true;
    for (int g = st->at.page + by; g >= 0 && g < p->n_pages; g += by) {
        int s = p->state[(size_t)st->at.pair * (size_t)p->n_pages + (size_t)g];
        bool missed = (s & UI_PAGE_DENSE_TOP) && !(s & (UI_PAGE_CHOSEN | UI_PAGE_FORCED));
        if (!missed && !(s & UI_PAGE_GOLD)) continue;
        st->at.page = g;
        follow(st);
        return true;
    }
    ui_say(st, UI_SAY_INFO, "no page with gold or missed by this head further on");
    return true;
}

static bool pages_find(struct ui_state *st, const char *text, int dir)
{
    return uv_find(st, text, dir, true);
}

static bool pages_click(struct ui_state *st, int cx, int cy, enum ui_click what)
{
    static int row[MAX_PAIRS];
    enum ui_req_state rs;
    if (what == UI_WHEEL_UP || what == UI_WHEEL_DOWN)
        return pages_move(st, what == UI_WHEEL_UP ? UI_UP : UI_DOWN, 1);
    const struct ui_pages *p = what == UI_CLICK ? pages(st, &rs) : NULL;
    if (!p) return false;
    struct boxes x = layout(st, st->body);
    int n = order(st, p, row, MAX_PAIRS), lines = x.main.h - 4, cur = 0, w = grid_cols(&x, p);
    for (int i = 0; i < n; i++)
        if (row[i] == st->at.pair) cur = i;
    int first = n <= lines                    ? 0
                : cur - lines / 2 < 0         ? 0
                : cur - lines / 2 > n - lines ? n - lines
                                              : cur - lines / 2;
    int c = cx - x.main.x - 8, dy = cy - x.main.y - 2, i = dy < 0 ? -1 : first + dy / tall(lines, n);
    if (c < 0 || c >= w || i < first || i >= n || i >= first + lines) return false;
    st->at.pair = row[i];
    st->at.page = ui_bin_lo(c, p->n_pages, w);
    follow(st);
    return true;
}

/* ---- commands ---- */

static bool cmd_view(struct ui_state *st, const char *arg)
{
    int i;
    if (!ui_arg_choice(st, arg, mode_name, UI_N_PAGES_MODES, (int)st->at.pages_mode, &i)) return false;
    st->at.pages_mode = (enum ui_pages_mode)i;
    return true;
}

static bool cmd_sort(struct ui_state *st, const char *arg)
{
    static const char *const way[] = { "layer", "worst" };
    int i;
    if (!ui_arg_choice(st, arg, way, 2, st->at.pages_worst, &i)) return false;
    st->at.pages_worst = i;
    return true;
}

static bool cmd_play(struct ui_state *st, const char *arg)
{
    (void)arg;
    return pages_toggle(st);
}

/* Force the page: this layer and KV head, this layer, or everywhere. */
static bool cmd_force(struct ui_state *st, const char *arg)
{
    static const char *const scope[] = { "head", "layer", "all" };
    int i = 0, page, kv = st->info.shape.n_kv_heads;
    if (*arg && !ui_arg_choice(st, arg, scope, 3, 0, &i)) return false;
    if (!st->trace || st->at.a >= st->n_lanes) {
        ui_say(st, UI_SAY_BAD, "nothing has run yet");
        return false;
    }
    page = page_size(st);
    struct sac_span span = { st->at.page * page, (st->at.page + 1) * page };
    ui_force(st, st->at.a, span, i < 2 ? st->at.pair / kv : -1, i < 1 ? st->at.pair % kv : -1);
    return true;
}

#define HERE UI_CTX(UI_SCREEN_PAGES)
static const struct ui_cmd cmds[] = {
    { "view", "step|union|count|first|next", "this step, or all steps so far: union, count, first read",
      UI_GROUP_LOOK, HERE, UI_CMD_VIEW, cmd_view },
    { "sort", "layer|worst|next", "rows by layer, or the least mass first", UI_GROUP_LOOK, HERE, UI_CMD_VIEW,
      cmd_sort },
    { "play", "", "play the steps, or stop", UI_GROUP_ACT, HERE, 0, cmd_play },
    { "force-page", "head|layer|all", "run again with this page kept in the chosen scope", UI_GROUP_ACT, HERE,
      0, cmd_force },
};
static const struct ui_bind binds[] = {
    { HERE, "v", "view next" }, { HERE, "S", "sort next" }, { HERE, "F", "force-page head" },
};
static const struct ui_hint hints[] = {
    { "step +1", "step" },
    { "toggle", "play" },
    { "open", "map" },
    { "view next", "view" },
    { "event +1", "next gold/miss" },
    { "sort next", "sort" },
    { "layer +1", "layer" },
    { "force-page head", "force page" },
    { "method-pick", "method" },
};

const struct ui_view ui_view_pages = {
    .name = "pages",
    .tab = "Pages",
    .tab_short = "Page",
    .draw = pages_draw,
    .context = pages_context,
    .status = pages_status,
    .settle = pages_settle,
    .move = pages_move,
    .open = pages_open,
    .toggle = pages_toggle,
    .cancel = pages_cancel,
    .find = pages_find,
    .event = pages_event,
    .click = pages_click,
    .copy = pages_status,
    .plain = pages_plain,
    .n_panes = 1,
    .cmds = cmds,
    .n_cmds = (int)(sizeof cmds / sizeof *cmds),
    .binds = binds,
    .n_binds = (int)(sizeof binds / sizeof *binds),
    .hints = hints,
    .n_hints = (int)(sizeof hints / sizeof *hints),
};
