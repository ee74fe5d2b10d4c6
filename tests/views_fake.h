/* A small made-up trace and the few functions of the explorer that views call, for tests of frames.
 *
 * Everything is computed from positions, so a frame is the same on every machine: four layers, four query
 * heads over two KV heads, 300 prompt tokens, twelve answer tokens, three lanes (dense, quest-like pages,
 * snapkv-like eviction). Included by one test program, which then needs neither a model nor a worker. */
#ifndef TEST_VIEWS_FAKE_H
#define TEST_VIEWS_FAKE_H

#include <views.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    F_LAYERS = 4,
    F_HEADS = 4,
    F_KV = 2,
    F_DIM = 4,
    F_PROMPT = 300,
    F_STEPS = 12,
    F_ROWS = F_PROMPT + F_STEPS - 1,
    F_LANES = 3,
    F_PAGE = 16
};

struct sac_trace { int lanes; };
static struct sac_trace fake_one = { F_LANES };
static struct sac_span fake_span[2] = { { 64, 76 }, { 180, 196 } };
static int fake_item[2] = { 1, 0 };
static enum sac_lane_state fake_state = SAC_LANE_DONE;   /* of lane 1 */
static int fake_layers = F_LAYERS;                       /* prefill layers lane 1 has done */

static unsigned mix(unsigned a)
{
    a ^= a >> 16; a *= 0x7feb352du; a ^= a >> 15; a *= 0x846ca68bu;
    return a ^ a >> 16;
}

void sac_trace_retain(struct sac_trace *t) { (void)t; }
void sac_trace_release(struct sac_trace *t) { (void)t; }
int sac_trace_n_lanes(const struct sac_trace *t) { return t->lanes; }
uint64_t sac_trace_generation(const struct sac_trace *t) { (void)t; return 1; }
const int *sac_trace_prompt_ids(const struct sac_trace *t) { (void)t; return NULL; }
struct sac_span sac_trace_token_span(const struct sac_trace *t, int p)
{
    (void)t;
    return (struct sac_span){ p, p + 1 };
}
float sac_trace_lse(const struct sac_trace *t, int a, int l, int h, int r)
{
    (void)t;
    (void)a;
    (void)l;
    (void)h;
    (void)r;
    return 0;
}
const struct sac_plan *sac_trace_plan(const struct sac_trace *t, int a, int l, int h)
{
    (void)t;
    (void)a;
    (void)l;
    (void)h;
    return NULL;
}
int sac_trace_kept(const struct sac_trace *t, int a, int l, int kv)
{
    (void)t;
    (void)l;
    return a == 2 ? 60 + 20 * kv : -1;
}
int sac_trace_page_size(const struct sac_trace *t, int a)
{
    (void)t;
    return a == 1 ? F_PAGE : a == 2 ? 1 : 0;
}
double sac_trace_step_kl(const struct sac_trace *t, int a, int s) { (void)t; return a ? 0.01 * s : 0; }

void sac_trace_info(const struct sac_trace *t, struct sac_trace_info *o)
{
    *o = (struct sac_trace_info){ .shape = { F_LAYERS, F_HEADS, F_KV, F_DIM, 16, 32, 64, 4096 },
                                  .model = "made up",
                                  .n_prompt = F_PROMPT,
                                  .n_lanes = t->lanes,
                                  .text = "",
                                  .task = "niah",
                                  .gold = "805078",
                                  .length = F_PROMPT,
                                  .sample = 1,
                                  .seed = 43,
                                  .n_spans = 2,
                                  .span = fake_span,
                                  .span_item = fake_item,
                                  .threads = 1 };
}

void sac_trace_lane(const struct sac_trace *t, int i, struct sac_lane *o)
{
    static const char *const name[] = { "dense", "quest", "snapkv" }, *const params[] = {
        "", "token_budget=96 page_size=16", "capacity=80"
    };
    (void)t;
    *o = (struct sac_lane){ .state = i == 1 ? fake_state : SAC_LANE_DONE,
                            .prefill_layer = i == 1 ? fake_layers : F_LAYERS,
                            .n_steps = i == 1 && fake_state != SAC_LANE_DONE ? 0 : F_STEPS,
                            .max_steps = 16,
                            .progress = 1,
                            .eta_s = -1,
                            .score = i == 1 ? 0.5 : 1,
                            .parsed = true,
                            .first_diff = i == 1 ? 7 : -1,
                            .kl = 0.05 };
    snprintf(o->spec, sizeof o->spec, "%s%s", name[i],
             i == 1   ? ":token_budget=96"
             : i == 2 ? ":capacity=80"
                      : "");
    snprintf(o->method, sizeof o->method, "%s", name[i]);
    snprintf(o->title, sizeof o->title, "%s", name[i]);
    snprintf(o->params, sizeof o->params, "%s", params[i]);
    snprintf(o->answer, sizeof o->answer, "1. key-%d: 8050%s", 7, i == 1 ? "44" : "78");
    if (fake_state == SAC_LANE_FAILED && i == 1)
        snprintf(o->error, sizeof o->error, "page_size=0 is below the minimum 1");
    double d = i ? 0.35 : 1;
    o->prefill = (struct sac_density){ 1, 1, 1, (double)NAN };
    o->decode = (struct sac_density){ d, d, d, d };
    o->recall_decode.n_rows = F_STEPS;
}

int sac_trace_token(const struct sac_trace *t, int lane, int pos, char *buf, int cap)
{
    static const char *const word[] = {
        " The",      " value", " for", " key", " quick", "-",  "ember",
        " is",       " 80",    "50",   "78",   ".",      "\n", " \xe4\xb8\xad\xe6\x96\x87",
        " a\xcc\x81"
    };
    (void)t;
    return snprintf(buf, (size_t)cap, "%s",
                    pos >= F_PROMPT + 7 && lane == 1 ? " 44" : word[mix((unsigned)pos) % 15]);
}
int sac_trace_token_bytes(const struct sac_trace *t, int lane, int pos, char *buf, int cap)
{
    return sac_trace_token(t, lane, pos, buf, cap);
}

int sac_trace_vocab(const struct sac_trace *t, int id, char *buf, int cap)
{
    return sac_trace_token(t, 0, id, buf, cap);
}

int sac_trace_next(const struct sac_trace *t, int lane, int step, int *id, float *prob)
{
    (void)t;
    for (int i = 0; i < 5; i++) { id[i] = step + i + (lane == 1 && step > 6); prob[i] = i ? 0.02f : 0.9f; }
    return 5;
}

int sac_trace_answer(const struct sac_trace *t, int lane, int *id, int cap)
{
    (void)t;
    (void)lane;
    (void)id;
    (void)cap;
    return 0;
}
bool sac_trace_layer_windowed(const struct sac_trace *t, int l, int *window)
{
    (void)t;
    *window = 0;
    return l == 3;
}

int sac_trace_n_rows(const struct sac_trace *t, int lane, int layer)
{
    (void)t;
    if (lane != 1 || fake_state == SAC_LANE_DONE) return F_ROWS;
    return layer < fake_layers ? F_PROMPT : 0;
}

bool sac_trace_weights(const struct sac_trace *t, int lane, int l, int h, int r, float *out)
{
    double sum = 0;
    if (r < 0 || r >= sac_trace_n_rows(t, lane, l)) return false;
    for (int k = 0; k <= r; k++) {
        double s = -1.4 * log(1.0 + r - k) + (k == 0 ? 6.0 + h : 0) + (r - k == 20 + 10 * l ? 2.5 : 0);
        s += 1.3 * (double)(mix((unsigned)(l * 977 + h * 131 + k * 31 + r / 7 * 13)) & 255) / 255;
        bool gold = (k >= 64 && k < 76) || (k >= 180 && k < 196);
        if (h == 2 && gold && (r >= F_PROMPT - 4 || (r / 40) % 3 == (k >= 180))) s += 5.5;
        out[k] = (float)exp(s);
        sum += (double)out[k];
    }
    for (int k = 0; k <= r; k++) out[k] = (float)((double)out[k] / sum);
    return true;
}

bool sac_trace_forced(const struct sac_trace *t, int lane, int r, int k)
{
    (void)t;
    return lane == 1 ? k / F_PAGE == r / F_PAGE : lane == 2 && (k < 4 || k > r - 16);
}

bool sac_trace_rows(const struct sac_trace *t, int lane, int l, int h, int r, struct sac_rows *o)
{
    if (r < 0 || r >= sac_trace_n_rows(t, lane, l)) return false;
    o->n = 0;
    for (int g = 0; g * F_PAGE <= r; g++) {
        int kv = h / (F_HEADS / F_KV), lo = g * F_PAGE, hi = lo + F_PAGE < r + 1 ? lo + F_PAGE : r + 1;
        unsigned hash = mix((unsigned)(g * 7 + l * 131 + kv * 17 + (lane == 1 ? r / 2 : 0)));
        bool in = lane == 0 || r < F_PROMPT - 1 || sac_trace_forced(t, lane, r, lo) || hash % 100 < 25;
        if (in) sac_rows_add(o, lo, hi);
    }
    return true;
}

bool sac_trace_requested(const struct sac_trace *t, int lane, int l, int h, int r, struct sac_rows *o)
{
    return sac_trace_rows(t, lane, l, h, r, o);
}

bool sac_trace_row_recall(const struct sac_trace *t, int lane, int l, int h, int r, struct sac_recall *o)
{
    static float w[F_ROWS + 1];
    static struct sac_run run[F_ROWS];
    struct sac_rows rows = { .run = run, .cap = F_ROWS };
    *o = (struct sac_recall){ .n_rows = 1 };
    if (!sac_trace_weights(t, lane, l, h, r, w) || !sac_trace_rows(t, lane, l, h, r, &rows)) return false;
    for (int k = 0; k <= r; k++) {
        double v = (double)w[k];
        bool gold = (k >= 64 && k < 76) || (k >= 180 && k < 196), kept = sac_rows_has(&rows, k);
        if (v > 0) o->entropy -= v * log2(v);
        if (kept) o->mass += v;
        if (k < 4) o->sink += v;
        if (k > r - 128) o->local += v;
        if (gold) { o->evidence_mass += v; o->evidence_mass_kept += kept ? v : 0; }
    }
    o->kept = sac_rows_count(&rows);
    o->oracle = o->mass + 0.7 * (1 - o->mass);
    o->set = 0.8 * o->mass;
    o->out_err = 1 - o->mass;
    return true;
}

bool sac_trace_recall(const struct sac_trace *t, int lane, int l, int h, bool decode, struct sac_recall *o)
{
    bool ok = sac_trace_row_recall(t, lane, l, h, decode ? F_PROMPT + 4 : F_PROMPT - 1, o);
    o->n_rows = F_STEPS;
    return ok;
}

bool sac_trace_head_density(const struct sac_trace *t, int lane, int l, int h, bool decode,
                            struct sac_density *o)
{
    double d = lane && decode ? 0.3 + 0.01 * l + 0.02 * h : 1;
    (void)t;
    *o = (struct sac_density){ d, d, d, d };
    return true;
}

int sac_trace_top(const struct sac_trace *t, int a, int l, int h, int r, int k, struct sac_top *o)
{
    (void)t; (void)a; (void)l; (void)h; (void)r; (void)k; (void)o;
    return 0;
}

bool sac_trace_overview(const struct sac_trace *t, int a, int l, int h, int *grid, const float **max,
                        const float **mass)
{
    static float v[16 * 16];
    (void)t; (void)a; (void)l; (void)h;
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 16; x++) v[y * 16 + x] = x > y ? NAN : 0.01f * (float)(1 + (x * 5 + y) % 7);
    *grid = 16;
    *max = *mass = v;
    return true;
}

bool sac_trace_qkv(const struct sac_trace *t, int a, int l, float **q, float **k, float **v, int *n)
{
    (void)t; (void)a;
    *n = F_ROWS + 1;
    size_t nq = (size_t)*n * F_HEADS * F_DIM, nk = (size_t)*n * F_KV * F_DIM;
    *q = malloc(nq * sizeof **q);
    *k = malloc(nk * sizeof **k);
    *v = calloc(nk, sizeof **v);
    for (size_t i = 0; *q && i < nq; i++) (*q)[i] = (float)(mix((unsigned)i + (unsigned)l) % 100) / 25 - 2;
    for (size_t i = 0; *k && i < nk; i++)
        (*k)[i] = (float)(mix((unsigned)i + 7u * (unsigned)l + 99) % 100) / 25 - 2;
    return *q && *k && *v;
}

enum sac_code sac_trace_tile(const struct sac_trace *t, struct sac_tile *x, const atomic_bool *cancel,
                             struct sac_err *err)
{
    static float w[F_ROWS + 1];
    static struct sac_run run[F_ROWS];
    int per = F_HEADS / F_KV, h0 = x->head >= 0 ? x->head : (-1 - x->head) * per;
    (void)cancel; (void)err;
    if (sac_trace_n_rows(t, x->lane, x->layer) < x->q1) return SAC_EARG;
    for (int y = 0; y < x->h; y++)
        for (int px = 0; px < x->w; px++) {
            size_t at = (size_t)y * (size_t)x->w + (size_t)px;
            int pairs = 0, kept = 0, rows = 0;
            double best = 0, sum = 0, missed = 0;
            for (int q = x->q0 + ui_bin_lo(y, x->q1 - x->q0, x->h);
                 q < x->q0 + ui_bin_hi(y, x->q1 - x->q0, x->h); q++) {
                struct sac_rows r = { .run = run, .cap = F_ROWS };
                int k0 = x->k0 + ui_bin_lo(px, x->k1 - x->k0, x->w),
                    k1 = x->k0 + ui_bin_hi(px, x->k1 - x->k0, x->w);
                if (k0 > q) continue;
                sac_trace_weights(t, x->lane, x->layer, h0, q, w);
                sac_trace_rows(t, x->lane, x->layer, h0, q, &r);
                rows++;
                for (int k = k0; k < k1 && k <= q; k++) {
                    bool in = sac_rows_has(&r, k);
                    double v = x->sparse && !in ? 0 : (double)w[k];
                    if (x->sinks != SAC_SINKS_SHOW && k < 4) continue;
                    pairs++;
                    kept += in;
                    missed += in ? 0 : (double)w[k];
                    sum += v;
                    if (v > best) best = v;
                }
            }
            double v = x->pool == SAC_POOL_MAX    ? best
                       : x->pool == SAC_POOL_MASS ? sum / (rows ? rows : 1)
                                                  : sum / (pairs ? pairs : 1);
            x->value[at] = pairs ? (float)v : NAN;
            if (x->kept) x->kept[at] = pairs ? (float)kept / (float)pairs : NAN;
            if (x->missed) x->missed[at] = pairs ? (float)(missed / rows) : NAN;
        }
    return SAC_OK;
}

/* A page is read when its hash is below the budget: more of it, more pages. */
enum sac_code sac_trace_preview(const struct sac_trace *t, int lane, const char *spec, int l, int h, int r,
                                struct sac_rows *o, struct sac_recall *rec, struct sac_err *err)
{
    const char *at = strstr(spec, "token_budget=");
    double share = at ? 25 * strtod(at + 13, NULL) / 96 : 25;
    (void)err;
    o->n = 0;
    for (int g = 0; g * F_PAGE <= r; g++) {
        int kv = h / (F_HEADS / F_KV), lo = g * F_PAGE, hi = lo + F_PAGE < r + 1 ? lo + F_PAGE : r + 1;
        unsigned hash = mix((unsigned)(g * 7 + l * 131 + kv * 17 + (lane == 1 ? r / 2 : 0)));
        if (lane == 0 || r < F_PROMPT - 1 || sac_trace_forced(t, lane, r, lo) || hash % 100 < share)
            sac_rows_add(o, lo, hi);
    }
    *rec = (struct sac_recall){ .mass = (double)sac_rows_count(o) / (r + 1) };
    return SAC_OK;
}

/* ---- what views ask of the explorer ---- */

struct fake_entry { ui_compute fn; int arg[UI_REQ_ARGS], n; void *result; };
static struct fake_entry fake_cache[2048];
static int fake_n;
static bool fake_pending;            /* every request stays in the queue */
static char fake_said[400];

static void fake_forget(void)
{
    for (int i = 0; i < fake_n; i++) free(fake_cache[i].result);
    fake_n = 0;
}

const void *ui_request(const struct ui_state *st, ui_compute fn, const int *arg, int n, unsigned flags,
                       enum ui_req_state *s)
{
    enum ui_req_state none;
    (void)flags;
    if (!s) s = &none;
    *s = UI_REQ_QUEUED;
    if (fake_pending) return NULL;
    struct fake_entry *e = NULL;
    for (int i = 0; i < fake_n && !e; i++)
        if (fake_cache[i].fn == fn && fake_cache[i].n == n &&
            !memcmp(fake_cache[i].arg, arg, (size_t)n * sizeof *arg))
            e = &fake_cache[i];
    if (!e) {
        if (fake_n == (int)(sizeof fake_cache / sizeof *fake_cache)) fake_forget();
        e = &fake_cache[fake_n++];
        e->fn = fn;
        e->n = n;
        memcpy(e->arg, arg, (size_t)n * sizeof *arg);
        e->result = fn(st->trace, arg, NULL);
    }
    *s = e->result ? UI_REQ_READY : UI_REQ_NOTHING;
    return e->result;
}

void ui_say(struct ui_state *st, enum ui_say kind, const char *fmt, ...)
{
    va_list ap;
    (void)st; (void)kind;
    va_start(ap, fmt);
    vsnprintf(fake_said, sizeof fake_said, fmt, ap);
    va_end(ap);
}

void ui_log(struct ui_state *st, const char *fmt, ...) { (void)st; (void)fmt; }
void ui_go(struct ui_state *st, enum ui_screen s) { st->at.screen = s; }
void ui_force(struct ui_state *st, int lane, struct sac_span s, int l, int kv)
{
    (void)st;
    (void)lane;
    (void)s;
    (void)l;
    (void)kv;
}
void ui_wake_in(const struct ui_state *st, double s) { (void)st; (void)s; }
int ui_n_rows(const struct ui_state *st, int lane) { return sac_trace_n_rows(st->trace, lane, 0); }
int ui_step_row(const struct ui_state *st, int step) { return st->info.n_prompt - 1 + step; }
int ui_n_steps(const struct ui_state *st, int lane)
{
    return lane >= 0 && lane < st->n_lanes ? st->lane[lane].n_steps : 0;
}
int ui_kv_head(const struct ui_state *st) { return st->at.head / (F_HEADS / F_KV); }
int ui_head_arg(const struct ui_state *st) { return st->at.group ? -1 - ui_kv_head(st) : st->at.head; }
const char *ui_lane_name(const struct ui_state *st, int lane) { return st->lane[lane].title; }

void ui_head_name(const struct ui_state *st, char *buf, size_t cap)
{
    snprintf(buf, cap, "L%d %s%d (kv%d)", st->at.layer, st->at.group ? "mean of kv" : "H",
             st->at.group ? ui_kv_head(st) : st->at.head, ui_kv_head(st));
}

bool ui_token_text(const struct ui_state *st, int lane, int pos, char *buf, size_t cap)
{
    char raw[64];
    int n = sac_trace_token(st->trace, lane, pos, raw, (int)sizeof raw);
    n = ui_text_visible(raw, n, buf, (int)cap - 1);
    buf[n] = 0;
    return false;
}

int ui_gold_at(const struct ui_state *st, int pos)
{
    for (int i = 0; i < st->info.n_spans; i++)
        if (pos >= st->info.span[i].lo && pos < st->info.span[i].hi) return i;
    return -1;
}

struct ui_rect ui_pane(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, int index,
                       const char *fmt, ...)
{
    char title[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(title, sizeof title, fmt, ap);
    va_end(ap);
    bool heavy = st->at.pane[st->at.screen] == index;
    return cells_box(b, r, title, heavy, ui_style(&st->look, heavy ? UI_LINE_FOCUS : UI_LINE),
                     ui_style(&st->look, UI_TITLE));
}

void ui_empty(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, const char *what,
              const char *hint)
{
    cells_fit(b, r.x + 1, r.y + r.h / 2, r.w - 2, what, ui_style(&st->look, UI_TEXT));
    if (r.h > 2) cells_fit(b, r.x + 1, r.y + r.h / 2 + 1, r.w - 2, hint, ui_style(&st->look, UI_DIM));
}

bool ui_arg_choice(struct ui_state *st, const char *arg, const char *const *names, int n, int now, int *out)
{
    (void)st;
    if (!*arg || !strcmp(arg, "next")) { *out = (now + 1) % n; return true; }
    for (int i = 0; i < n; i++)
        if (!strcmp(arg, names[i])) { *out = i; return true; }
    return false;
}

/* ---- a state to draw ---- */

static struct sac_lane fake_lanes[F_LANES];

static void fake_open(struct ui_state *st, enum ui_tier tier, bool ascii)
{
    memset(st, 0, sizeof *st);
    st->look = (struct ui_look){ .tier = tier, .ascii = ascii, .map = UI_MAP_VIRIDIS };
    st->trace = &fake_one;
    sac_trace_info(st->trace, &st->info);
    st->n_lanes = F_LANES;
    st->lane = fake_lanes;
    for (int i = 0; i < F_LANES; i++) sac_trace_lane(st->trace, i, &fake_lanes[i]);
    st->at = (struct ui_where){ .screen = UI_SCREEN_MAP,
                                .a = 1,
                                .b = 0,
                                .layer = 1,
                                .head = 2,
                                .row = F_PROMPT + 4,
                                .key = 184,
                                .step = 5,
                                .topk = true,
                                .wrap = true,
                                .linked = true,
                                .fold = 2,
                                .similar_to = -1 };
}
#endif
