/* Another budget of the method looked at, seen before it is run.
 *
 * The engine decides the selection again from the recorded q and k: for the row under the cursor at once, for
 * all heads a moment later. What was generated stays as it is, so this is about what would be read and how
 * much of the dense mass that is, never about the answer; r runs it and then there is one. */
#include "whatif.h"
#include "base.h"
#include "run.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Requests carry integers, so specs are known by a number. */
enum { N_SPECS = 64 };
static pthread_mutex_t spec_lock = PTHREAD_MUTEX_INITIALIZER;
static char spec_text[N_SPECS][160];
static int n_specs;

static int spec_id(const char *text)
{
    pthread_mutex_lock(&spec_lock);
    int first = n_specs > N_SPECS ? n_specs - N_SPECS : 0, id = -1;
    for (int i = first; i < n_specs; i++)
        if (!strcmp(spec_text[i % N_SPECS], text)) id = i;
    if (id < 0) snprintf(spec_text[(id = n_specs++) % N_SPECS], sizeof spec_text[0], "%s", text);
    pthread_mutex_unlock(&spec_lock);
    return id;
}

static bool spec_of(int id, char *out, size_t cap)
{
    pthread_mutex_lock(&spec_lock);
    bool ok = id >= 0 && id < n_specs && id + N_SPECS >= n_specs;
    if (ok) snprintf(out, cap, "%s", spec_text[id % N_SPECS]);
    pthread_mutex_unlock(&spec_lock);
    return ok;
}

/* ---- in the worker ---- */

enum { RAN = 1, WOULD = 2, BINS = 512 };
struct one { struct sac_recall ran, would; int n_ran, n_would; unsigned char bin[BINS]; };
struct all { int n, layer, head; double ran, would, lowest, gold_ran, gold_would; };

static struct sac_rows rows_for(int row)
{
    return (struct sac_rows){ malloc(((size_t)row / 2 + 2) * sizeof(struct sac_run)), 0, row / 2 + 2 };
}

static int count(const struct sac_rows *r)
{
    int n = 0;
    for (int i = 0; i < r->n; i++) n += r->run[i].hi - r->run[i].lo;
    return n;
}

static void mark(struct one *o, const struct sac_rows *r, int n_keys, int bins, unsigned char bit)
{
    for (int i = 0; i < r->n; i++)
        for (int k = r->run[i].lo; k < r->run[i].hi; k++)
            o->bin[(int)((long long)k * bins / n_keys)] |= bit;
}

/* arg: spec, lane, layer, head, row, bins. */
static void *one_head(struct sac_trace *t, const int *arg, const atomic_bool *cancel)
{
    char spec[160];
    int lane = arg[1], layer = arg[2], head = arg[3], row = arg[4];
    struct one *o = calloc(1, sizeof *o);
    struct sac_rows rows = rows_for(row);
    (void)cancel;
    bool ok = o && rows.run && spec_of(arg[0], spec, sizeof spec) &&
              sac_trace_row_recall(t, lane, layer, head, row, &o->ran) &&
              sac_trace_rows(t, lane, layer, head, row, &rows);
    if (ok) {
        o->n_ran = count(&rows);
        mark(o, &rows, row + 1, arg[5], RAN);
        ok = sac_trace_preview(t, lane, spec, layer, head, row, &rows, &o->would, NULL) == SAC_OK;
    }
    if (ok) {
        o->n_would = count(&rows);
        mark(o, &rows, row + 1, arg[5], WOULD);
    }
    free(rows.run);
    if (ok) return o;
    free(o);
    return NULL;
}

/* arg: spec, lane, row. One query head of each KV group where the group shares what is read. */
static void *all_heads(struct sac_trace *t, const int *arg, const atomic_bool *cancel)
{
    char text[160];
    struct sac_spec spec;
    struct sac_trace_info info;
    struct all *a = calloc(1, sizeof *a);
    struct sac_rows rows = rows_for(arg[2]);
    sac_trace_info(t, &info);
    bool ok =
        a && rows.run && spec_of(arg[0], text, sizeof text) && sac_spec_parse(&spec, text, NULL) == SAC_OK;
    int step = ok && sac_spec_evict(&spec) ? info.shape.n_heads / info.shape.n_kv_heads : 1, n_gold = 0;
    if (a) a->lowest = 2;
    for (int l = 0; ok && l < info.shape.n_layers; l++)
        for (int h = 0; ok && h < info.shape.n_heads; h += step) {
            struct sac_recall ran, would;
            ok = !atomic_load(cancel) && sac_trace_row_recall(t, arg[1], l, h, arg[2], &ran) &&
                 sac_trace_preview(t, arg[1], text, l, h, arg[2], &rows, &would, NULL) == SAC_OK;
            if (!ok) break;
            a->n++;
            a->ran += ran.mass;
            a->would += would.mass;
            if (would.mass < a->lowest) a->lowest = would.mass, a->layer = l, a->head = h;
            if (would.evidence == would.evidence && ran.evidence == ran.evidence)
                a->gold_ran += ran.evidence, a->gold_would += would.evidence, n_gold++;
        }
    free(rows.run);
    if (!ok || !a->n) {
        free(a);
        return NULL;
    }
    a->ran /= a->n;
    a->would /= a->n;
    a->gold_ran = n_gold ? a->gold_ran / n_gold : (double)NAN;
    a->gold_would = n_gold ? a->gold_would / n_gold : (double)NAN;
    return a;
}

/* ---- on the UI thread ---- */

bool ui_whatif_on(const struct ui_state *st)
{
    enum ui_screen s = st->at.screen;
    return *st->at.whatif && st->trace && st->at.whatif_lane == st->at.a && st->at.a < st->n_lanes &&
           s != UI_SCREEN_RUN && s != UI_SCREEN_TASKS;
}

bool ui_whatif_budget(struct ui_state *st, double f, bool times)
{
    char spec[200];
    if (!st->n_lanes) return ui_say(st, UI_SAY_BAD, "nothing has run yet: press 1, then r"), false;
    const struct sac_lane *l = &st->lane[st->at.a];
    const char *now = ui_whatif_on(st) ? st->at.whatif : l->spec;
    bool ok =
        times ? ui_spec_scale(now, &st->info.shape, st->info.n_prompt, f, spec, sizeof spec)
              : strchr(now, '+') == NULL && strcmp(l->method, "dense") != 0 &&
                    snprintf(spec, sizeof spec, "%.*s:sparsity=%g", (int)strcspn(now, ":"), now, 1 - f) > 0;
    if (!ok || strlen(spec) >= sizeof st->at.whatif)
        return ui_say(st, UI_SAY_BAD, "%s has no budget to change; m chooses another method",
                      ui_lane_name(st, st->at.a)), false;
    struct sac_spec parsed;
    struct sac_err err = { 0 };
    if (sac_spec_parse(&parsed, spec, &err) != SAC_OK ||
        sac_spec_resolve(&parsed, &st->info.shape, st->info.n_prompt, &err) != SAC_OK)
        return ui_say(st, UI_SAY_BAD, "%s", err.msg), false;
    if (!strcmp(spec, now))
        return ui_say(st, UI_SAY_INFO, "%s: the budget is at its end", ui_lane_name(st, st->at.a)), true;
    size_t n = strlen(spec);
    if (n >= sizeof st->at.whatif)
        return ui_say(st, UI_SAY_BAD, "the method's text is too long to change here"), false;
    memset(st->at.whatif, 0, sizeof st->at.whatif);
    memcpy(st->at.whatif, spec, n);
    st->at.whatif_lane = st->at.a;
    return true;
}

bool ui_whatif_run(struct ui_state *st)
{
    for (int l = 0; l < st->n_lanes; l++)
        if (!st->lane[l].intervention && !strcmp(st->lane[l].spec, st->at.whatif)) {
            st->at.a = l;
            return ui_say(st, UI_SAY_OK, "%s has run already: shown as A", st->at.whatif), true;
        }
    int lane = ui_run_add(st, st->at.whatif);
    if (lane < 0) return false;
    ui_say(st, UI_SAY_OK, "%s runs as a lane of its own, shown as A", st->at.whatif);
    memset(st->at.whatif, 0, sizeof st->at.whatif);
    st->at.a = lane;
    return true;
}

/* The row the new selection is asked for: the one looked at where the method acts there, else the nearest. */
static int row_of(const struct ui_state *st, const struct sac_spec *spec)
{
    int n = st->info.n_prompt, rows = ui_n_rows(st, st->at.a), row = st->at.row;
    bool prefill = sac_spec_prefill(spec) != NULL, answer = sac_spec_evict(spec) || sac_spec_decode(spec);
    if (row < n && !prefill && answer) row = n;
    if (row >= n && !answer) row = n - 1;
    return row < rows ? row : rows - 1;
}

struct shown { const struct one *one; const struct all *all; enum ui_req_state one_rs, all_rs; int row; };

static struct shown ask(const struct ui_state *st, int bins)
{
    struct shown s = { .row = -1 };
    struct sac_spec spec;
    if (sac_spec_parse(&spec, st->at.whatif, NULL) != SAC_OK) return s;
    s.row = row_of(st, &spec);
    if (s.row < 0) return s;
    int id = spec_id(st->at.whatif);
    int a[6] = { id, st->at.a, st->at.layer, st->at.head, s.row, bins }, b[3] = { id, st->at.a, s.row };
    s.one = ui_request(st, one_head, a, 6, 0, &s.one_rs);
    s.all = ui_request(st, all_heads, b, 3, UI_REQ_LOW, &s.all_rs);
    return s;
}

static const char *num(double v, char buf[16])
{
    if (v == v) snprintf(buf, 16, "%.2f", v);
    else snprintf(buf, 16, "-");
    return buf;
}

enum { N_LINES = 3 };
/* w: columns there are; 0 when a line may be as long as it is. */
static void lines(const struct ui_state *st, const struct shown *s, int w, char line[N_LINES][200])
{
    char b[6][16], where[40] = "";
    bool brief = w && w < 112, small = w && w < 72;
    memset(line, 0, N_LINES * sizeof line[0]);
    if (!s->one) {
        snprintf(line[0], sizeof line[0], "%s",
                 s->row < 0 || s->one_rs == UI_REQ_NOTHING ? "this row of the method is not recorded yet"
                                                           : "selecting again ...");
        return;
    }
    const struct one *o = s->one;
    const char *mass_would = num(o->would.mass, b[0]), *mass_ran = num(o->ran.mass, b[1]);
    if (!small) snprintf(where, sizeof where, "query %d, ", s->row);
    if (brief)
        snprintf(line[0], sizeof line[0], "%sL%d H%d: %d keys (ran: %d)  mass recall %s (ran: %s)", where,
                 st->at.layer, st->at.head, o->n_would, o->n_ran, mass_would, mass_ran);
    else
        snprintf(line[0], sizeof line[0], "%sL%d H%d: %d of %d keys (ran: %d)   mass recall %s (ran: %s)",
                 where, st->at.layer, st->at.head, o->n_would, s->row + 1, o->n_ran, mass_would, mass_ran);
    snprintf(line[1], sizeof line[1],
             small   ? "oracle %s set recall %s (%s) gold kept %s (%s)"
             : brief ? "oracle %s  set recall %s (ran: %s)  gold kept %s (ran: %s)"
                     : "the best keys of that number hold %s   set recall %s (ran: %s)   "
                       "gold tokens kept %s (ran: %s)",
             num(o->would.oracle, b[0]), num(o->would.set, b[1]), num(o->ran.set, b[2]),
             num(o->would.evidence, b[3]), num(o->ran.evidence, b[4]));
    if (!s->all) {
        if (s->all_rs != UI_REQ_NOTHING) snprintf(line[2], sizeof line[2], "all heads: selecting again ...");
        return;
    }
    const struct all *a = s->all;
    num(a->would, b[0]), num(a->ran, b[1]), num(a->gold_would, b[2]), num(a->gold_ran, b[3]);
    if (small)
        snprintf(line[2], sizeof line[2], "%d query heads: mean mass recall %s (%s)", a->n, b[0], b[1]);
    else if (brief)
        snprintf(line[2], sizeof line[2], "%d query heads: mass recall %s (ran: %s)  gold kept %s (ran: %s)",
                 a->n, b[0], b[1], b[2], b[3]);
    else
        snprintf(line[2], sizeof line[2],
                 "%d query heads: mean mass recall %s (ran: %s), lowest %s, L%d H%d   "
                 "gold tokens kept %s (ran: %s)",
                 a->n, b[0], b[1], num(a->lowest, b[4]), a->layer, a->head, b[2], b[3]);
}

static void draw_strip(const struct ui_state *st, struct cell_buf *b, int x, int y, const struct shown *s,
                       int bins)
{
    static const struct { char ch; enum ui_role role; } look[4] = {
        { '.', UI_DIM }, { '-', UI_MISSED }, { '+', UI_OK }, { '#', UI_TEXT }
    };
    for (int i = 0; i < bins; i++) {
        int m = s->one->bin[i] & 3;
        cells_put(b, x + i, y, (char32_t)look[m].ch, ui_style(&st->look, look[m].role));
    }
    for (int i = 0; i < st->info.n_spans; i++) {
        int lo = (int)((long long)st->info.span[i].lo * bins / (s->row + 1)),
            hi = (int)((long long)(st->info.span[i].hi - 1) * bins / (s->row + 1));
        for (int k = lo; k <= hi && k < bins; k++)
            cells_put(b, x + k, y + 1, '^', ui_style(&st->look, UI_GOLD));
    }
}

void ui_whatif_draw(const struct ui_state *st, struct cell_buf *b)
{
    if (!ui_whatif_on(st)) return;
    const struct sac_lane *l = &st->lane[st->at.a];
    char title[420], line[N_LINES][200];
    struct ui_rect box = { 0, b->h - 2 - 8, b->w, 8 };
    if (box.y < 2) box.h -= 2 - box.y, box.y = 2;
    cells_fill(b, box, U' ', ui_style(&st->look, UI_TEXT));
    snprintf(title, sizeof title, "What if  %s   (ran: %s)", st->at.whatif, l->spec);
    struct ui_rect r = cells_box(b, box, title, true, ui_style(&st->look, UI_LINE_FOCUS),
                                 ui_style(&st->look, UI_TITLE));
    int bins = r.w - 2 < BINS ? r.w - 2 : BINS;
    struct shown s = ask(st, bins);
    lines(st, &s, r.w - 2, line);
    for (int i = 0; i < N_LINES && i < r.h; i++)
        cells_fit(b, r.x + 1, r.y + i, r.w - 2, line[i], ui_style(&st->look, i == 0 ? UI_STRONG : UI_TEXT));
    struct cell_buf *c = b;
    struct ui_rect old = cells_clip(c, r);
    if (s.one) draw_strip(st, b, r.x + 1, r.y + N_LINES, &s, bins);
    c->clip = old;
    cells_fit(b, r.x + 1, r.y + r.h - 1, r.w - 2,
              r.w >= 108
                  ? "b B budget   r runs it   Esc drops it   keys: # read  - no longer  + newly  "
                    "^ gold   (selection, not answer)"
              : r.w >= 72 ? "b B budget  r runs it  Esc drops it   # read  - no longer  + newly"
                          : "b B  r runs it  Esc drops it  # read  - gone  + new",
              ui_style(&st->look, UI_DIM));
}

void ui_whatif_plain(const struct ui_state *st, char *buf, size_t cap)
{
    char line[N_LINES][200];
    *buf = 0;
    if (!ui_whatif_on(st)) return;
    struct shown s = ask(st, st->app->buf.w - 4);          /* as drawn: the frame before asked */
    lines(st, &s, 0, line);
    snprintf(buf, cap, "what if %s instead of %s (selection only, not an answer)\n%s\n%s\n%s\n",
             st->at.whatif, st->lane[st->at.a].spec, line[0], line[1], line[2]);
}
