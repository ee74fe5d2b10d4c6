/* The methods of the Run screen: what is ticked, with which budget, and how far each is. */
#include "base.h"
#include "run.h"
#include "view_run.h"

#include <math.h>
#include <string.h>

static struct ui_style style(const struct ui_state *st, enum ui_role r)
{
    return ui_style(&st->look, r);
}

/* What a lane took of its own. */
static void seconds(const struct sac_lane *l, const char *before, char *buf, size_t cap)
{
    double s = (l->shared_prefill ? 0 : l->prefill_s) + l->decode_s;
    snprintf(buf, cap, s < 99.95 ? "%s%.1f s" : "%s%.0f s", before, s);
}

static const char *lane_state(const struct ui_state *st, int lane, char *buf, size_t cap, enum ui_role *role)
{
    *role = UI_DIM;
    if (lane < 0 || lane >= st->n_lanes) return "-";
    const struct sac_lane *l = &st->lane[lane];
    *role = UI_RUNNING;
    switch (l->state) {
    case SAC_LANE_QUEUED: {
        int place = st->run->job ? sac_job_place(st->run->job, lane) : 0;
        *role = UI_DIM;
        if (place < 1) return "queued";
        snprintf(buf, cap, "queued %d", place);
        return buf;
    }
    case SAC_LANE_PREFILL:
        snprintf(buf, cap, "layer %d/%d", l->prefill_layer, st->info.shape.n_layers);
        return buf;
    case SAC_LANE_DECODE: snprintf(buf, cap, "token %d", l->n_steps); return buf;
    case SAC_LANE_MEASURE: return "measuring";
    case SAC_LANE_DONE:
        *role = UI_OK;
        seconds(l, "done ", buf, cap);
        return buf;
    case SAC_LANE_STOPPED: return *role = UI_WARN, "stopped";
    case SAC_LANE_FAILED: return *role = UI_BAD, "failed";
    }
    return "";
}

/* "vertical_size=512 window=256" as "vertical 512  window 256"; what each head settles by itself is left out,
 * and the sparsity that it is settled by stands in front. */
static void short_params(const char *in, double sparsity, char *out, size_t cap)
{
    size_t n = 0;
    *out = 0;
    if (strstr(in, "=auto") && sparsity == sparsity)
        n = (size_t)snprintf(out, cap, "sparsity %.3g", sparsity);
    while (*in && n < cap) {
        size_t word = strcspn(in, " "), name = strcspn(in, "=");
        if (name < word && strncmp(in + name, "=auto", word - name) != 0) {
            size_t skip = !strncmp(in, "token_", 6) ? 6 : 0, keep = name - skip; /* token_budget: budget */
            if (keep > 5 && !strncmp(in + name - 5, "_size", 5)) keep -= 5;
            n += (size_t)snprintf(out + n, cap - n, "%s%.*s %.*s", n ? "  " : "", (int)keep, in + skip,
                                  (int)(word - name - 1), in + name + 1);
        }
        in += word + (in[word] == ' ');
    }
}

/* Whole parameters as far as they fit in w columns, and a sign that there are more. */
static void fit_params(char *s, int w)
{
    size_t n = strlen(s), cut = 0;
    if ((int)n <= w) return;
    for (size_t i = 0; i + 1 < n && (int)i + 2 <= w; i++)
        if (s[i] == ' ' && s[i + 1] == ' ') cut = i;
    if (!cut) return; /* not even one: cut where the column ends */
    s[cut] = 0;
    strcat(s, " \u2026");
}

static void share(double v, char *buf, size_t cap)
{
    if (v == v) snprintf(buf, cap, "%.2f", v);
    else snprintf(buf, cap, "%s", "");
}

void ui_run_draw_methods(const struct ui_state *st, struct cell_buf *b, struct ui_rect box, int pane)
{
    const struct ui_run *run = st->run;
    struct ui_rect r = ui_pane(
        st, b, box, pane,
        box.w >= 88   ? "Methods   sparsity: pairs (prefill) or keys not read   recall: dense mass read"
        : box.w >= 76 ? "Methods   sparsity: pairs or keys not read   recall: dense mass read"
                      : "Methods");
    int rows = r.h - 1, cur = st->at.cur[UI_SCREEN_RUN], top = st->at.scroll[UI_SCREEN_RUN];
    if (r.h < 2) return;
    int wname = 15, wstate = 11, wnum = r.w >= 70 ? 8 : 0, wphase = r.w >= 64 ? 7 : 0;
    int wrec = wnum ? 6 : 0, xname = r.x + 6, xphase = xname + wname + 1;
    int xparam = xphase + (wphase ? wphase + 1 : 0);
    int xstate = r.x + r.w - wstate - 1, xrec = xstate - wrec - 2, xspars = xrec - (wnum ? wnum + 1 : 0);
    int wparam = (wnum ? xspars : xstate) - xparam - 1;
    struct ui_style d = style(st, UI_DIM);
    cells_text(b, xname, r.y, wname, "method", d);
    if (wphase) cells_text(b, xphase, r.y, wphase, "phase", d);
    cells_fit(b, xparam, r.y, wparam, "parameters", d);
    if (wnum) cells_text(b, xspars, r.y, wnum, "sparsity", d), cells_text(b, xrec, r.y, wrec, "recall", d);
    cells_text(b, xstate, r.y, wstate, "state", d);
    for (int i = 0; i < rows && top + i < run->n_rows; i++) {
        const struct ui_method_row *m = &run->row[top + i];
        int y = r.y + 1 + i;
        bool on = top + i == cur && st->at.pane[UI_SCREEN_RUN] == pane;
        enum ui_role role;
        char buf[40], num[16];
        const char *state = lane_state(st, m->lane, buf, sizeof buf, &role);
        struct ui_style t = style(st, on      ? UI_CURSOR
                                      : m->on ? UI_TEXT
                                              : UI_DIM),
                        dd = style(st, on ? UI_CURSOR : UI_DIM);
        if (on) cells_fill(b, (struct ui_rect){ r.x, y, r.w, 1 }, U' ', t);
        cells_put(b, r.x, y, top + i == cur ? '>' : ' ', style(st, on ? UI_CURSOR : UI_LINE_FOCUS));
        cells_text(b, r.x + 2, y, 3, m->on ? "[x]" : "[ ]", on ? t : style(st, m->on ? UI_OK : UI_DIM));
        struct ui_style ns = t;
        if (m->on && !on) ns = style(st, UI_STRONG);
        cells_fit(b, xname, y, wname, m->name, ns);
        if (wphase) cells_fit(b, xphase, y, wphase, m->phase, dd);
        char params[240];
        const struct sac_lane *l = m->lane >= 0 && m->lane < st->n_lanes ? &st->lane[m->lane] : NULL;
        /* A budget as a share of the keys is settled by the prompt: what ran knows how long it was. */
        const char *settled = l && *l->params ? l->params : m->params;
        if (m->sparsity == m->sparsity && !run->model)
            snprintf(params, sizeof params, "sparsity %g", m->sparsity);
        else if (*settled) short_params(settled, m->sparsity, params, sizeof params);
        else
            snprintf(params, sizeof params, "%s",
                     strcmp(m->name, "dense") ? ""
                     : wparam >= 20           ? "reads all: reference"
                                              : "reads all");
        fit_params(params, wparam);
        cells_fit(b, xparam, y, wparam, params, dd);
        if (l && wnum) {
            double kernel = l->decode.read == l->decode.read && l->decode.read < 0.999 ? l->decode.read
                                                                                       : l->prefill.kernel;
            share(1 - kernel, num, sizeof num);
            cells_text(b, xspars + 2, y, wnum, num, t);
            share(l->recall.mass, num, sizeof num);
            cells_text(b, xrec + 1, y, wrec, num, t);
        }
        struct ui_style ss = style(st, role);
        if (on) ss.bg = t.bg, ss.attr |= t.attr & CELL_REVERSE;
        cells_fit(b, xstate, y, wstate, state, ss);
    }
}

/* Bars that stand above each other stay apart: a heavy line on a light one. */
static void progress_bar(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, double f,
                         enum ui_role role)
{
    int n = f >= 1 ? w : f > 0 ? (int)floor(f * w) : 0;
    for (int i = 0; i < w; i++)
        cells_put(b, x + i, y, i < n ? 0x2501 : 0x2500, style(st, i < n ? role : UI_LINE));
}

/* Tokens a second of a lane at work, 0 unknown: what is left, over the time that it is expected to take. */
static double rate_now(const struct ui_state *st, const struct sac_lane *x)
{
    int left = st->info.shape.n_layers - x->prefill_layer;
    if (!(x->eta_s > 0)) return 0;
    if (x->state == SAC_LANE_PREFILL && x->prefill_layer > 0 && left > 0)
        return (st->info.n_prompt - x->reused) / (x->eta_s / left * st->info.shape.n_layers);
    return 0;
}

/* Seconds until all lanes are done, at most: those that wait are taken to prefill as slowly as dense. < 0
 * unknown. */
static double all_left(const struct ui_state *st)
{
    double whole = st->lane[0].prefill_s, sum = 0;
    if (!(whole > 0) && rate_now(st, &st->lane[0]) > 0)
        whole = st->info.n_prompt / rate_now(st, &st->lane[0]);
    for (int l = 0; l < st->n_lanes; l++) {
        const struct sac_lane *x = &st->lane[l];
        struct sac_spec spec;
        if (x->state == SAC_LANE_PREFILL && x->prefill_layer < 1) return -1;
        if (x->state < SAC_LANE_DONE && x->state != SAC_LANE_QUEUED && x->eta_s > 0) sum += x->eta_s;
        if (x->state != SAC_LANE_QUEUED || sac_spec_parse(&spec, x->spec, NULL) != SAC_OK) continue;
        if (sac_spec_prefill(&spec)) {
            if (!(whole > 0)) return -1;
            sum += whole;
        }
    }
    return sum;
}

/* The rates at the foot: of the lane at work, else of the one under the cursor, else of the last. What does not
 * fit in w columns goes into a second line. */
static void rates(const struct ui_state *st, char *buf, char *more, size_t cap, int w)
{
    const struct ui_run *run = st->run;
    int cur = st->at.cur[UI_SCREEN_RUN], at = cur < run->n_rows ? run->row[cur].lane : -1;
    *buf = *more = 0;
    for (int l = 0; l < st->n_lanes; l++)
        if (rate_now(st, &st->lane[l]) > 0) {
            snprintf(buf, cap, "%s: prefill %.0f tok/s", ui_lane_name(st, l), rate_now(st, &st->lane[l]));
            return;
        }
    for (int l = 0; at < 0 && l < st->n_lanes; l++)
        if (st->lane[l].decode_tok_s > 0) at = l;
    if (at < 0 || at >= st->n_lanes) return;
    const struct sac_lane *x = &st->lane[at];
    if (!(x->prefill_tok_s > 0)) return;
    bool few = x->reused > 0; /* a rate over a handful of new tokens says nothing */
    int n = few ? snprintf(buf, cap, "%s: %d tokens taken over", ui_lane_name(st, at), x->reused)
                : snprintf(buf, cap, "%s: prefill %.0f", ui_lane_name(st, at), x->prefill_tok_s);
    if (x->decode_tok_s > 0) snprintf(more, cap, "decode %.0f tok/s", x->decode_tok_s);
    if (*more && n + 2 + (int)strlen(more) <= w) snprintf(buf + n, cap - (size_t)n, ", %s", more), *more = 0;
    else if (!few) snprintf(buf + n, cap - (size_t)n, " tok/s");
}

void ui_run_draw_progress(const struct ui_state *st, struct cell_buf *b, struct ui_rect box)
{
    enum { NAME = 15, TIME = 9 };
    const struct ui_run *run = st->run;
    struct ui_rect r = ui_pane(st, b, box, -1, "Progress");
    int y = r.y, wb = r.w - NAME - TIME - 3, xb = r.x + 1 + NAME, xt = xb + wb + 1;
    if (run->load == UI_LOAD_BUSY) {
        cells_text(b, r.x + 1, y++, r.w - 2, ui_load_stage[atomic_load(&st->run->stage)],
                   style(st, UI_RUNNING));
    } else if (run->model && y < r.y + r.h) {
        cells_text(b, r.x + 1, y, NAME, "load", style(st, UI_DIM));
        progress_bar(st, b, xb, y, wb, 1, UI_BAR);
        cells_printf(b, xt, y++, TIME, style(st, UI_DIM), "%.1f s", run->model_s + run->prompt_s);
    }
    double total = 0;
    bool busy = false, stopped = false;
    char text[100], more[100];
    int shown = 0, first = 0;
    for (int l = 0; l < st->n_lanes; l++) shown += !ui_search_has(st, l);
    rates(st, text, more, sizeof text, r.w - 2);
    int foot = *more && r.h - (y - r.y) - 3 >= shown ? 3 : 2, room = r.h - (y - r.y) - foot;
    for (int l = 0, over = shown - room; l < st->n_lanes && over > 0; l++, first = l)
        over -= !ui_search_has(st, l);
    for (int l = 0; l < st->n_lanes; l++) {
        const struct sac_lane *x = &st->lane[l];
        bool done = x->state >= SAC_LANE_DONE;
        stopped |= x->state == SAC_LANE_STOPPED;
        total += done && x->state != SAC_LANE_STOPPED ? 1 : x->progress;
        busy |= !done;
        if (l < first || y >= r.y + r.h - foot || ui_search_has(st, l)) continue;
        char buf[40];
        enum ui_role role;
        const char *state = lane_state(st, l, buf, sizeof buf, &role);
        if (x->state == SAC_LANE_DONE)
            seconds(x, "", buf, sizeof buf), state = buf;
        else if (x->state == SAC_LANE_PREFILL && x->prefill_layer)
            snprintf(buf, sizeof buf, "%.0f s left", ceil(x->eta_s)), state = buf;
        char title[60];
        snprintf(title, sizeof title, "%s%s", x->intervention ? "! " : "", ui_lane_name(st, l));
        cells_fit(b, r.x + 1, y, NAME - 1, title, style(st, UI_TEXT));
        progress_bar(st, b, xb, y, wb, x->state == SAC_LANE_DONE ? 1 : x->progress,
                     x->state == SAC_LANE_FAILED ? UI_BAD : done ? UI_BAR : UI_RUNNING);
        cells_fit(b, xt, y++, TIME, state, style(st, role));
    }
    if (!st->n_lanes || r.h < 3) return;
    char time[20];
    double left = busy ? all_left(st) : -1;
    y = r.y + r.h - foot;
    cells_text(b, r.x + 1, y, NAME, "overall", style(st, UI_STRONG));
    progress_bar(st, b, xb, y, wb, total / st->n_lanes, UI_BAR);
    if (left >= 0) snprintf(time, sizeof time, "< %d:%02d", (int)(left + 1) / 60, (int)(left + 1) % 60);
    else if (!busy && stopped) snprintf(time, sizeof time, "stopped");
    else snprintf(time, sizeof time, "%.0f %%", 100 * total / st->n_lanes);
    cells_fit(b, xt, y, TIME, time, style(st, UI_DIM));
    cells_fit(b, r.x + 1, y + 1, r.w - 2, text, style(st, UI_DIM));
    int indent = (int)strcspn(text, ":") + 2;
    if (foot > 2) cells_fit(b, r.x + 1 + indent, y + 2, r.w - 2 - indent, more, style(st, UI_DIM));
}
