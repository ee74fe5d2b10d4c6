/* Why a key is read or left out, as a panel; the test that goes with it; and where a run is looked at first.
 *
 * The panel says what the method did, how near the decision was and what other budgets would read at this
 * row. Attention weights are evidence, not causes: F keeps the key by force and answers again, which is the
 * test. */
#include "views.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *do_why(struct sac_trace *t, const int *a, const atomic_bool *c)
{
    return ui_key_why_compute(t, a[0], a[1], a[2], a[3], a[4], c);
}

static void *do_focus(struct sac_trace *t, const int *a, const atomic_bool *c)
{
    return ui_focus_compute(t, a[0], c);
}

const struct ui_key_why *uv_why(const struct ui_state *st, int lane, int layer, int head, int row, int key,
                                enum ui_req_state *rs)
{
    return ui_request(st, do_why, (int[]){ lane, layer, head, row, key }, 5, UI_REQ_LOW, rs);
}

/* ---- the first look ---- */

void uv_first_look(struct ui_state *st)
{
    struct ui_where *w = &st->at;
    if (!st->trace || st->looked || w->a >= st->n_lanes) return;
    bool moved = w->layer != st->first.layer || w->head != st->first.head || w->row != st->first.row ||
                 w->key != st->first.key || w->group;
    if (moved) {
        st->looked = true;
        return;
    }
    /* An answered lane is measured a moment later; until then no head is known to read gold. */
    struct sac_recall known;
    if (st->lane[w->a].state != SAC_LANE_DONE || !sac_trace_recall(st->trace, w->a, 0, 0, true, &known))
        return;
    enum ui_req_state rs;
    const struct ui_focus *f = ui_request(st, do_focus, (int[]){ w->a }, 1, 0, &rs);
    if (!f) {
        st->looked = rs == UI_REQ_NOTHING;
        return;
    }
    st->looked = true;
    w->layer = f->layer;
    w->head = f->head;
    uv_set_row(st, f->row);
    w->key = f->key;
    bool wide = st->body.w >= 100;
    if (!st->info.n_spans) {
        ui_say(st, UI_SAY_INFO, "shown first: L%d H%d, query %d, where most is left out", f->layer, f->head,
               f->row);
        return;
    }
    if (w->step < 0) { /* a row of the prompt, which methods of prefill choose for */
        ui_say(st, UI_SAY_INFO,
               st->body.w >= 70 ? "shown first: L%d H%d at query %d, which reads the most gold"
                                : "shown first: L%d H%d, query %d, reads most gold",
               f->layer, f->head, f->row);
        return;
    }
    ui_say(
        st, UI_SAY_INFO,
        st->body.w < 70 ? f->lost ? "shown first: L%d H%d, step %d, loses most gold"
                                  : "shown first: L%d H%d, step %d, reads most gold"
        : !f->lost      ? "shown first: L%d H%d at step %d, which reads the most gold"
        : wide
            ? "shown first: L%d H%d at step %d, where the answer parts from dense's and most gold is not read"
            : "shown first: L%d H%d at step %d, which loses most gold (answers part)",
        f->layer, f->head, w->step);
}

/* ---- the panel ---- */

static const struct ui_key_why *why_here(const struct ui_state *st, enum ui_req_state *rs)
{
    return uv_why(st, st->at.a, st->at.layer, ui_head_arg(st), st->at.row, st->at.key, rs);
}

static const char *times(double f, char *buf, size_t cap)
{
    if (f < 1 && f > 0.2)
        snprintf(buf, cap, f < 0.3 ? "x 1/4" : "x 1/2");
    else
        snprintf(buf, cap, "x %.0f", f);
    return buf;
}

/* "would be read from 1184 keys on (x 1.15)", "read down to 640 keys (x 0.62)". */
static void margin(const struct ui_key_why *w, char *buf, size_t cap)
{
    if (!w->acts)
        snprintf(buf, cap, "this row reads every key");
    else if (!w->keys_needed && w->read)
        snprintf(buf, cap, "read at every budget tried");
    else if (!w->keys_needed)
        snprintf(buf, cap, "not read at any budget tried");
    else if (w->read)
        snprintf(buf, cap, "read down to %d keys (x %.2f)", w->keys_needed, w->factor_needed);
    else
        snprintf(buf, cap, "read from %d keys on (x %.2f)", w->keys_needed, w->factor_needed);
}

/* What the pages of Quest say: the bound that decided, and the score that was true. */
static int page_lines(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, int y)
{
    int page = sac_trace_page_size(st->trace, st->at.a);
    enum ui_req_state rs;
    if (page <= 1 || st->at.step < 0 || y + 2 > r.y + r.h) return y;
    const struct ui_page_steps *s =
        uv_page_steps(st, st->at.a, st->at.layer, ui_kv_head(st), st->at.key / page, page, st->at.step, &rs);
    if (!s || isnan(s->bound)) return y;
    uv_at(st, b, r.x, y++, r.w, UI_TEXT, "page %d bound %.1f, cut-off %.1f", s->page, s->bound, s->cut);
    uv_at(st, b, r.x, y++, r.w, UI_TEXT, " bound rank %d, true rank %d of %d", s->bound_rank, s->best_rank,
          s->n_pages);
    return y;
}

/* Of a group: what each head has on the key, and which one the lines below speak of. */
static int group_lines(const struct ui_state *st, struct cell_buf *b, struct ui_rect r,
                       const struct ui_key_why *w)
{
    int y = r.y, per = r.w >= 30 ? 2 : 1, cols = r.w / per, most = r.h > 14 ? 8 : r.h > 11 ? 4 : 2;
    for (int i = 0; i < w->n_heads && i < most && y < r.y + r.h; i++) {
        char num[24];
        int x = r.x + (i % per) * cols;
        ui_fmt_weight((double)w->weight[i], num, sizeof num);
        x += uv_at(st, b, x, y, cols, w->h0 + i == w->head ? UI_STRONG : UI_TEXT, "H%-2d %-7s ", w->h0 + i,
                   num);
        uv_at(st, b, x, y, cols - 13, w->head_reads[i] ? UI_KEPT : UI_MISSED, w->head_reads[i] ? "*" : "-");
        if (i % per == per - 1) y++;
    }
    if ((w->n_heads < most ? w->n_heads : most) % per) y++;
    if (y >= r.y + r.h) return y;
    if (w->shared)
        uv_at(st, b, r.x, y++, r.w, UI_DIM,
              r.w >= 30 ? "one choice for H%d-%d, recall of H%d:" : "H%d-%d alike, H%d:", w->h0,
              w->h0 + w->n_heads - 1, w->head);
    else
        uv_at(st, b, r.x, y++, r.w, UI_DIM,
              r.w >= 30 ? "below: H%d; {} look at one head" : "H%d ({} others):", w->head);
    return y;
}

void uv_draw_why(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, const struct ui_row *row)
{
    enum ui_req_state rs;
    enum ui_role role;
    char text[80];
    int y = r.y, end = r.y + r.h;
    if (!row || st->at.key >= row->n_keys) {
        ui_empty(st, b, r, "computing the row", "");
        return;
    }
    int rank = ui_row_rank(row, st->at.key);
    const char *word = uv_key_word(row, st->at.key, rank, &role);
    uv_at(st, b, r.x, y++, r.w, role, "key %d: %s", st->at.key, word);
    uv_at(st, b, r.x, y++, r.w, UI_TEXT,
          r.w < 30      ? "rank %d, reads %d"
          : row->shared ? "weight rank %d, cut-off at %d"
                        : "mean weight rank %d, read %d",
          rank, row->n_kept);
    const struct ui_key_why *w = why_here(st, &rs);
    if (w && w->n_heads) y = group_lines(st, b, (struct ui_rect){ r.x, y, r.w, end - y }, w);
    if (!w) {
        uv_at(st, b, r.x, y, r.w, UI_DIM,
              rs == UI_REQ_NOTHING ? "cannot be decided again" : "deciding again ...");
        return;
    }
    margin(w, text, sizeof text);
    if (r.w >= 30 || strlen(text) <= (size_t)r.w) {
        uv_at(st, b, r.x, y++, r.w, w->keys_needed ? UI_STRONG : UI_DIM, "%s", text);
    } else {
        char *cut = strstr(text, " (");
        uv_at(st, b, r.x, y++, r.w, UI_STRONG, "%.*s", cut ? (int)(cut - text) : (int)strlen(text), text);
    }
    if (r.w >= 30) y = page_lines(st, b, r, y);
    if (!w->n_budgets) return;
    uv_at(st, b, r.x, y++, r.w, UI_DIM,
          r.w >= 30 ? " budget  keys recall  this key" : "budget  keys mass key");
    for (int i = 0; i < w->n_budgets && y < end; i++) {
        char f[12];
        bool now = w->budget[i].factor == 1, in = w->budget[i].read;
        struct ui_style s = uv_style(st, now ? UI_STRONG : UI_TEXT);
        times(w->budget[i].factor, f, sizeof f);
        int x = r.x + cells_printf(b, r.x, y, r.w, s, r.w >= 30 ? "%c%-6s %5d  %.2f   " : "%c%-5s %5d %.2f ",
                                   now ? '>' : ' ', now ? "now" : f, w->budget[i].keys,
                                   (double)w->budget[i].mass);
        uv_at(st, b, x, y++, r.x + r.w - x, in ? UI_KEPT : UI_MISSED,
              r.w < 30 ? in ? "*" : "-"
              : in     ? "* read"
                       : "- left out");
    }
    if (y < end)
        uv_at(st, b, r.x, end - 1, r.w, UI_DIM,
              r.w >= 30 ? "weights are not causes: F tests" : "F tests the cause");
}

int uv_why_lines(const struct ui_state *st, const struct ui_row *row, char *buf, size_t cap)
{
    enum ui_req_state rs;
    char text[80];
    const struct ui_key_why *w = row && st->at.key < row->n_keys ? why_here(st, &rs) : NULL;
    size_t n = 0;
    if (!w || cap < 2) return 0;
    margin(w, text, sizeof text);
    for (int i = 0; i < w->n_heads && n < cap; i++)
        n += (size_t)snprintf(buf + n, cap - n, "why head %d weight %.4g %s\n", w->h0 + i,
                              (double)w->weight[i], w->head_reads[i] ? "read" : "left out");
    if (n < cap)
        n += (size_t)snprintf(buf + n, cap - n, "why L%d H%d key %d %s, %s\n", w->layer, w->head, w->key,
                              w->read ? "is read" : "is left out", text);
    if (w->keys_needed && n < cap)
        n += (size_t)snprintf(buf + n, cap - n, "why setting %s\n", w->spec_needed);
    for (int i = 0; i < w->n_budgets && n < cap; i++)
        n += (size_t)snprintf(buf + n, cap - n, "budget x %g keys %d mass recall %.3f this key %s\n",
                              w->budget[i].factor, w->budget[i].keys, (double)w->budget[i].mass,
                              w->budget[i].read ? "read" : "left out");
    return n < cap ? (int)n : (int)cap - 1;
}
