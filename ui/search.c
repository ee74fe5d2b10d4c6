/* The smallest budget that still answers: bisection over the sparsity of one method, lane by lane.
 *
 * An intervention: its lanes are extra runs on the same prompt, and the result is a sentence in the log,
 * never a score. */
#include "base.h"
#include "run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STEPS = 7 };
static struct search {
    bool on;
    char method[64];
    double lo, hi;          /* answered at sparsity lo; failed at hi */
    int lane, done;
    struct sac_trace *trace;
    double score;           /* to reach: what dense reaches */
    struct {
        int lane;
        double sparsity;
        bool right;
    } tried[STEPS];
} s;

static bool next(struct ui_state *st)
{
    char spec[120];
    double mid = (s.lo + s.hi) / 2;
    snprintf(spec, sizeof spec, "%s:sparsity=%.4f", s.method, mid);
    s.lane = ui_run_add(st, spec);
    s.on = s.lane >= 0;
    return s.on;
}

bool ui_search_start(struct ui_state *st, const char *method)
{
    char name[64];
    if (!st->trace || !st->n_lanes)
        return ui_say(st, UI_SAY_BAD, "nothing has run yet: press r first"), false;
    if (s.on && s.trace == st->trace)
        return ui_say(st, UI_SAY_BAD, "a search is running: Ctrl-C stops it"), false;
    if (!*st->info.gold)
        return ui_say(st, UI_SAY_BAD, "without a gold answer no answer can be called right"), false;
    if (!method)
        method = st->at.screen == UI_SCREEN_RUN ? st->run->row[st->at.cur[UI_SCREEN_RUN]].name
                                                : st->lane[st->at.a].method;
    snprintf(name, sizeof name, "%s", method);
    if (!sac_method_find(name) || !strcmp(name, "dense"))
        return ui_say(st, UI_SAY_BAD, "budget-search: name one method with a budget, not %s", name), false;
    if (!(st->lane[0].score > 0))
        return ui_say(st, UI_SAY_BAD, "dense itself does not answer this sample"), false;
    memset(&s, 0, sizeof s);
    snprintf(s.method, sizeof s.method, "%s", name);
    s.lo = 0;
    s.hi = 1;
    s.trace = st->trace;
    s.score = st->lane[0].score;
    if (!next(st)) return false;
    ui_say(st, UI_SAY_OK, "intervention: searching the smallest budget of %s that answers", s.method);
    return true;
}

void ui_search_poll(struct ui_state *st)
{
    if (s.trace != st->trace) memset(&s, 0, sizeof s); /* another run: what was tried is not of it */
    if (!s.on || s.lane >= st->n_lanes) return;
    const struct sac_lane *l = &st->lane[s.lane];
    if (l->state < SAC_LANE_DONE) return;
    if (l->state != SAC_LANE_DONE) {
        s.on = false;
        ui_say(st, UI_SAY_INFO, "budget search of %s stopped between sparsity %.2f and %.2f", s.method, s.lo,
               s.hi);
        return;
    }
    double mid = (s.lo + s.hi) / 2;
    bool right = l->score >= s.score - 1e-9;
    if (right) s.lo = mid;
    else s.hi = mid;
    s.tried[s.done].lane = s.lane;
    s.tried[s.done].sparsity = mid;
    s.tried[s.done].right = right;
    ui_log(st, "budget search: %s at sparsity %.3f answers %s", s.method, mid, right ? "right" : "wrong");
    if (++s.done >= STEPS) {
        s.on = false;
        ui_say(st, UI_SAY_OK, "intervention: %s answers with %.1f %% of the keys, not with %.1f %%", s.method,
               100 * (1 - s.lo), 100 * (1 - s.hi));
        return;
    }
    next(st);
}

bool ui_search_has(const struct ui_state *st, int lane)
{
    if (!st->trace || s.trace != st->trace) return false;
    for (int i = 0; i < s.done; i++)
        if (s.tried[i].lane == lane) return true;
    return s.on && s.lane == lane;
}

bool ui_search_text(const struct ui_state *st, char *name, size_t name_cap, char *buf, size_t cap)
{
    size_t n = 0;
    if (!st->trace || s.trace != st->trace || (!s.on && !s.done)) return false;
    snprintf(name, name_cap, "! %s", s.method);
    /* The result in front: where the line ends, trials may be cut off, it must not. */
    if (s.on) n = (size_t)snprintf(buf, cap, "of the keys: ");
    else n = (size_t)snprintf(buf, cap, "%.1f %% of the keys answer; tried: ", 100 * (1 - s.lo));
    for (int i = 0; i < s.done && n < cap; i++) /* in the order tried: the last ones lie close together */
        n += (size_t)snprintf(buf + n, cap - n, "%s%.1f %% %s", i ? "  " : "",
                              100 * (1 - s.tried[i].sparsity), s.tried[i].right ? "ok" : "WRONG");
    if (s.on && n < cap)
        snprintf(buf + n, cap - n, "%s%.1f %% ...", s.done ? "  " : "", 50 * (2 - s.lo - s.hi));
    return true;
}
