/* Rows with lists of their own (tiles of one row): the keys come to the rows.
 *
 * A row alone would bring each of its keys from memory for one product. Here keys are walked through in
 * steps, once for a panel of many rows: each step notes which rows read some of it, and which of its keys,
 * and the kernel takes these rows six at a time wherever in the panel they lie. A row meets its keys in
 * ascending order, as it would alone. */
#include "model/attend_int.h"

#include <string.h>

enum { STEPS = 32 };            /* of a stretch of keys whose rows are noted together */

/* Rows of the panel that read some of a step, ascending, and their keys. */
struct attend_listed { uint16_t row[K_PANEL_ROWS]; uint64_t see[K_PANEL_ROWS]; int n; };

size_t attend_listed_bytes(void) { return STEPS * sizeof(struct attend_listed); }

/* What rows read: whole groups and other keys, steps of each width that they touch. */
struct cost { double whole, rest, touched[3]; };

static const int width[] = { 4, 2, 1 };     /* groups of a step */

static void count(const struct attend_prefill *a, const struct sac_plan *plan, int row0, int rows,
                  struct cost *c)
{
    memset(c, 0, sizeof *c);
    for (int r = row0; r < row0 + rows; r++)
        for (size_t i = plan->at[r]; i < plan->at[r + 1]; i++) {
            int lo = plan->run[i].lo, hi = min_int(plan->run[i].hi, r + 1);
            if (a->window > 0) lo = max_int(lo, r - a->window + 1);
            if (lo >= hi) continue;
            int first = (lo + K_GROUP - 1) / K_GROUP, last = hi / K_GROUP;
            int whole = max_int(last - first, 0);
            c->whole += whole;
            c->rest += hi - lo - whole * K_GROUP;
            for (int w = 0; w < 3; w++) {
                int keys = width[w] * K_GROUP;
                c->touched[w] += (hi - 1) / keys - lo / keys + 1;
            }
        }
}

/* Groups of a step for these rows, 0: each row alone is cheaper (scattered keys). */
static int choose_width(const struct attend_pass *p, const struct sac_plan *plan, int row0, int rows)
{
    /* Measured with AVX-512, a group in dense attention being 1: a step of 4, 2, 1 groups for one of many
     * rows; a whole group, a gathered key for a row alone. */
    static const double step[] = { 5.2, 3.4, 2.2 }, alone_whole = 4.5, alone_key = 1.4;
    struct cost c;
    count(p->a, plan, row0, rows, &c);
    /* A tile of 16 rows takes as long for one of them. */
    double alone = p->tiles ? 4 : 1, least = alone * (alone_whole * c.whole + alone_key * c.rest);
    int best = 0;
    for (int w = 0; w < 3; w++)
        if (step[w] * c.touched[w] < least) {
            least = step[w] * c.touched[w];
            best = width[w];
        }
    return best;
}

static void note(struct attend_listed *s, int row, uint64_t see)
{
    if (s->n && s->row[s->n - 1] == row) {
        s->see[s->n - 1] |= see;
        return;
    }
    s->row[s->n] = (uint16_t)row;
    s->see[s->n++] = see;
}

/* Keys lo .. hi-1 of a row of the panel, which lie in the stretch that begins at key `at`. */
static void note_keys(struct attend_listed *step, int keys, int at, int row, int lo, int hi)
{
    for (int end; lo < hi; lo = end) {
        int s = (lo - at) / keys, first = at + s * keys;
        end = min_int(first + keys, hi);
        uint64_t see = end - lo < 64 ? (((uint64_t)1 << (end - lo)) - 1) << (lo - first) : ~(uint64_t)0;
        note(&step[s], row, see);
    }
}

/* The keys of one row in at .. end-1; returns the first run that goes on behind them. */
static size_t note_row(const struct attend_work *w, const struct sac_plan *plan, size_t i, int r, int keys,
                       int at, int end)
{
    int row = w->t.row0 + r, from = w->t.window > 0 ? max_int(row - w->t.window + 1, at) : at;
    for (; i < plan->at[row + 1] && plan->run[i].lo < end; i++) {
        int hi = min_int(min_int(plan->run[i].hi, row + 1), end);
        note_keys(w->listed, keys, at, r, max_int(plan->run[i].lo, from), hi);
        if (plan->run[i].hi > end) break;
    }
    return i;
}

static bool all_keys(const struct attend_listed *s, int keys)
{
    uint64_t all = keys < 64 ? ((uint64_t)1 << keys) - 1 : ~(uint64_t)0, see = all;
    for (int i = 0; i < s->n; i++) see &= s->see[i];
    return see == all;
}

static void run_listed(struct attend_pass *p, struct attend_work *w, struct attend_listed *s, int kv,
                       int group, int groups)
{
    struct k_attn_group g[K_STEP];
    for (int c = 0; c < groups; c++) {
        size_t at = (size_t)kv * (size_t)p->n_groups + (size_t)min_int(group + c, p->n_groups - 1);
        g[c] = (struct k_attn_group){ p->kp + at * p->group_bytes, p->vp + at * p->group_bytes, NULL };
    }
    struct k_attn_rows rows = { s->row, all_keys(s, groups * K_GROUP) ? NULL : s->see, s->n };
    p->k->step_rows(&w->t, &rows, g, groups);
    w->n_cells += (uint64_t)s->n * (uint64_t)(groups * K_GROUP);
}

/* The keys of a step are asked for while the one before it runs. */
static void ask_for_step(const struct attend_pass *p, int kv, int group, int groups)
{
    int n = min_int(groups, p->n_groups - group);
    size_t at = ((size_t)kv * (size_t)p->n_groups + (size_t)group) * p->group_bytes;
    attend_fetch(p->kp + at, (size_t)n * p->group_bytes);
    attend_fetch(p->vp + at, (size_t)n * p->group_bytes);
}

static void run_stretch(struct attend_pass *p, struct attend_work *w, int kv, int group0, int groups)
{
    for (int s = 0, last = -1; s <= STEPS; s++) {
        if (s < STEPS && !w->listed[s].n) continue;
        if (s < STEPS) ask_for_step(p, kv, group0 + s * groups, groups);
        if (last >= 0) run_listed(p, w, &w->listed[last], kv, group0 + last * groups, groups);
        last = s;
    }
}

bool attend_rows(struct attend_pass *p, struct attend_work *w, int head, int row0, int rows,
                 const struct sac_plan *plan)
{
    int groups = p->k->step_rows ? choose_width(p, plan, row0, rows) : 0, keys = groups * K_GROUP;
    if (!groups) return false;
    int kv = head / (p->a->n_heads / p->a->n_kv_heads);
    size_t next[K_PANEL_ROWS];              /* the run of each row that comes next */
    for (int r = 0; r < rows; r++) next[r] = plan->at[row0 + r];
    attend_begin(p, w, head, row0, rows);
    if (p->tiles) memset(w->t.o, 0, (size_t)rows * (size_t)p->dim * sizeof *w->t.o); /* step_rows adds to it */
    for (int at = 0; at < row0 + rows; at += STEPS * keys) {
        for (int s = 0; s < STEPS; s++) w->listed[s].n = 0;
        for (int r = max_int(at - row0, 0); r < rows; r++)
            next[r] = note_row(w, plan, next[r], r, keys, at, at + STEPS * keys);
        run_stretch(p, w, kv, at / K_GROUP, groups);
    }
    attend_finish(p, w, head);
    return true;
}
