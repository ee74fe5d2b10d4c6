/* Heads, rows, tiles and text of a trace as plain blocks for the views; see vdata.h. */
#include "vdata.h"

#include "heat.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static bool stopped(const atomic_bool *cancel)
{
    return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

/* ---- rows and tiles ---- */

/* Query heads a head number stands for: itself, or the group of -1-g. */
static void head_range(const struct sac_shape *s, int head, int *lo, int *n)
{
    int per = s->n_kv_heads > 0 ? s->n_heads / s->n_kv_heads : 1;
    *lo = head >= 0 ? head : (-1 - head) * per;
    *n = head >= 0 ? 1 : per;
}

static int by_weight(const void *a, const void *b)
{
    const struct sac_top *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return (x->key > y->key) - (x->key < y->key);
}

/* The largest weights of a row, found with a heap-free pass: keep the best UI_ROW_TOP so far. */
static void row_top(struct ui_row *r)
{
    r->n_top = 0;
    float least = -1;
    struct sac_top pool[2 * UI_ROW_TOP];
    int n = 0;
    for (int k = 0; k < r->n_keys; k++) {
        if (r->w[k] <= least) continue;
        pool[n++] = (struct sac_top){ .key = k, .weight = r->w[k] };
        if (n == 2 * UI_ROW_TOP) {
            qsort(pool, (size_t)n, sizeof *pool, by_weight);
            n = UI_ROW_TOP;
            least = pool[n - 1].weight;
        }
    }
    qsort(pool, (size_t)n, sizeof *pool, by_weight);
    if (n > UI_ROW_TOP) n = UI_ROW_TOP;
    for (int i = 0; i < n; i++) {
        struct sac_top *to = &r->top[r->n_top++];
        *to = pool[i];
        to->rank = i + 1;
        to->kept = r->flag[to->key] & UI_KEY_KEPT;
        to->forced = r->flag[to->key] & UI_KEY_FORCED;
    }
}

static void mark_gold(const struct sac_trace_info *info, int n_keys, unsigned char *flag)
{
    for (int i = 0; i < info->n_spans; i++)
        for (int k = info->span[i].lo; k < info->span[i].hi && k < n_keys; k++)
            if (k >= 0) flag[k] |= UI_KEY_GOLD;
}

/* The measures a group is shown with, added up over its heads. NAN stays NAN: undefined for one, undefined
 * for all. */
static void recall_add(struct sac_recall *to, const struct sac_recall *from, double share)
{
    static const size_t at[] = {
        offsetof(struct sac_recall, mass),
        offsetof(struct sac_recall, set),
        offsetof(struct sac_recall, set10),
        offsetof(struct sac_recall, set64),
        offsetof(struct sac_recall, oracle),
        offsetof(struct sac_recall, sink_adjusted),
        offsetof(struct sac_recall, evidence),
        offsetof(struct sac_recall, evidence_mass),
        offsetof(struct sac_recall, evidence_mass_kept),
        offsetof(struct sac_recall, mass_vs_dense),
        offsetof(struct sac_recall, entropy),
        offsetof(struct sac_recall, need90),
        offsetof(struct sac_recall, need95),
        offsetof(struct sac_recall, need99),
        offsetof(struct sac_recall, sink),
        offsetof(struct sac_recall, local),
        offsetof(struct sac_recall, kept),
        offsetof(struct sac_recall, out_err),
    };
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        *(double *)(void *)((char *)to + at[i]) +=
            share * *(const double *)(const void *)((const char *)from + at[i]);
}

static void row_recall(struct sac_trace *t, struct ui_row *r)
{
    r->have_recall = true;
    for (int h = r->h0; r->have_recall && h < r->h0 + r->n_heads; h++) {
        struct sac_recall one;
        r->have_recall = sac_trace_row_recall(t, r->lane, r->layer, h, r->row, &one);
        if (!r->have_recall) break;
        if (h == r->h0 || one.mass < r->mass_low) {
            r->mass_low = one.mass;
            r->low_head = h;
        }
        if (r->n_heads == 1)
            r->r = one;
        else
            recall_add(&r->r, &one, 1.0 / r->n_heads);
    }
    if (r->n_heads > 1) r->r.n_rows = 1;
}

struct ui_row *ui_row_compute(struct sac_trace *t, int lane, int layer, int head, int row,
                              const atomic_bool *cancel)
{
    struct sac_trace_info info;
    sac_trace_info(t, &info);
    int h0, nh, n = row + 1;
    head_range(&info.shape, head, &h0, &nh);
    if (row < 0 || row >= sac_trace_n_rows(t, lane, layer)) return NULL;
    size_t bytes = sizeof(struct ui_row) + (size_t)n * (sizeof(float) + 2);
    struct ui_row *r = calloc(1, bytes);
    float *one = malloc((size_t)n * sizeof *one);
    struct sac_run *run = malloc(((size_t)n / 2 + 1) * sizeof *run);
    bool ok = r && one && run;
    if (ok) {
        *r = (struct ui_row){
            .lane = lane, .layer = layer, .head = head, .row = row, .n_keys = n, .h0 = h0, .n_heads = nh
        };
        r->w = (float *)(void *)(r + 1);
        r->flag = (unsigned char *)(r->w + n);
        r->readers = r->flag + n;
    }
    for (int h = h0; ok && h < h0 + nh; h++) {
        ok = !stopped(cancel) && sac_trace_weights(t, lane, layer, h, row, one);
        for (int k = 0; ok && k < n; k++) r->w[k] += one[k] / (float)nh;
        struct sac_rows rows = { .run = run, .cap = n / 2 + 1 };
        if (!ok || !sac_trace_rows(t, lane, layer, h, row, &rows)) continue;
        r->have_rows = true;
        for (int i = 0; i < rows.n; i++)
            for (int k = rows.run[i].lo; k < rows.run[i].hi && k < n; k++) {
                r->flag[k] |= UI_KEY_KEPT;
                r->readers[k] += r->readers[k] < 255;
            }
        rows.n = 0;
        if (sac_trace_requested(t, lane, layer, h, row, &rows) && sac_rows_count(&rows) > r->n_requested)
            r->n_requested = sac_rows_count(&rows);
    }
    if (ok) {
        r->shared = true;
        for (int k = 0; k < n; k++) {
            if (!(r->flag[k] & UI_KEY_KEPT)) continue;
            r->shared = r->shared && r->readers[k] == nh;
            r->n_kept++;
            if (!sac_trace_forced(t, lane, row, k)) continue;
            r->flag[k] |= UI_KEY_FORCED;
            r->n_forced++;
        }
        mark_gold(&info, n, r->flag);
        row_top(r);
        row_recall(t, r);
    }
    free(one);
    free(run);
    if (ok) return r;
    free(r);
    return NULL;
}

int ui_row_rank(const struct ui_row *r, int key)
{
    int rank = 1;
    for (int k = 0; k < r->n_keys; k++) rank += r->w[k] > r->w[key];
    return rank;
}

static struct ui_tile *tile_alloc(const struct sac_tile *want)
{
    size_t n = (size_t)want->h * (size_t)want->w;
    struct ui_tile *u = malloc(sizeof *u + 3 * n * sizeof(float));
    if (!u) return NULL;
    u->t = *want;
    u->t.value = u->v;
    u->t.kept = want->kept ? u->v + n : NULL;
    u->t.missed = want->missed ? u->v + 2 * n : NULL;
    return u;
}

struct ui_tile *ui_tile_compute(struct sac_trace *t, const struct sac_tile *want, const atomic_bool *cancel)
{
    if (want->h < 1 || want->w < 1 || want->q1 <= want->q0 || want->k1 <= want->k0) return NULL;
    struct ui_tile *u = tile_alloc(want);
    if (!u) return NULL;
    if (sac_trace_tile(t, &u->t, cancel, NULL) == SAC_OK) return u;
    free(u);
    return NULL;
}

struct ui_tile *ui_tile_overview(struct sac_trace *t, const struct sac_tile *want)
{
    struct sac_trace_info info;
    sac_trace_info(t, &info);
    int grid, h0, nh, n = info.n_prompt;
    const float *max, *mass;
    head_range(&info.shape, want->head, &h0, &nh);
    if (n < 1 || want->h < 1 || want->w < 1) return NULL;
    if (!sac_trace_overview(t, want->lane, want->layer, h0, &grid, &max, &mass)) return NULL;
    struct sac_tile w = *want;
    w.kept = w.missed = NULL;
    struct ui_tile *u = tile_alloc(&w);
    if (!u) return NULL;
    struct ui_grid g = { grid, grid, want->pool == SAC_POOL_MAX ? max : mass };
    ui_grid_resample(&g, (double)want->q0 / n, (double)want->q1 / n, (double)want->k0 / n,
                     (double)want->k1 / n, want->pool, u->v, want->h, want->w);
    for (int y = 0; y < want->h; y++)      /* pixels that lie wholly above the diagonal are empty */
        for (int x = 0; x < want->w; x++) {
            int q = want->q0 + ui_bin_hi(y, want->q1 - want->q0, want->h) - 1;
            int k = want->k0 + ui_bin_lo(x, want->k1 - want->k0, want->w);
            if (k > q) u->v[(size_t)y * (size_t)want->w + (size_t)x] = NAN;
        }
    return u;
}

struct ui_along *ui_along_compute(struct sac_trace *t, int lane, int layer, int head, int q0, int q1, int n,
                                  const atomic_bool *cancel)
{
    struct sac_trace_info info;
    sac_trace_info(t, &info);
    int h0, nh;
    head_range(&info.shape, head, &h0, &nh);
    if (n < 1 || q1 <= q0) return NULL;
    struct ui_along *a = malloc(sizeof *a + (size_t)(nh > 1 ? 2 * n : n) * sizeof(float));
    if (!a) return NULL;
    float *low = nh > 1 ? a->mass + n : NULL;
    *a = (struct ui_along){ lane, layer, head, q0, q1, n, nh, low };
    for (int i = 0; i < n; i++) {
        double sum = 0, least = (double)INFINITY;
        for (int h = h0; h < h0 + nh; h++) {
            struct sac_recall r;
            if (stopped(cancel)) {
                free(a);
                return NULL;
            }
            double mass =
                sac_trace_row_recall(t, lane, layer, h, ui_along_row(a, i), &r) ? r.mass : (double)NAN;
            sum += mass / nh;
            if (!(mass >= least)) least = mass;
        }
        a->mass[i] = (float)sum;
        if (low) low[i] = (float)least;
    }
    return a;
}

int ui_along_row(const struct ui_along *a, int i) { return ui_bin_hi(i, a->q1 - a->q0, a->n) - 1 + a->q0; }

/* ---- text ---- */

static int put_code(int cp, char *out, int cap)
{
    utf8proc_uint8_t b[4];
    int n = (int)utf8proc_encode_char(cp, b);
    if (n > cap) return 0;
    memcpy(out, b, (size_t)n);
    return n;
}

/* Marks that reorder text would move neighbouring cells about. */
static bool reorders(int cp)
{
    return (cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0x200E || cp == 0x200F;
}

int ui_text_visible(const char *s, int len, char *out, int cap)
{
    int n = 0;
    for (int i = 0; i < len;) {
        utf8proc_int32_t cp;
        utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)s + i, len - i, &cp);
        if (used < 1) { used = 1; cp = 0xFFFD; }
        i += (int)used;
        if (cp == '\n') cp = 0x21B5;
        else if (cp == '\t') cp = 0x2192;
        else if (cp == '\r') cp = 0x240D;
        else if (cp < 32 || (cp >= 127 && cp < 160) || reorders(cp)) cp = 0xFFFD;
        n += put_code(cp, out + n, cap - n);
    }
    return n;
}

static int columns(const char *s, int len)
{
    int cols = 0;
    for (int i = 0; i < len;) {
        utf8proc_int32_t cp;
        utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)s + i, len - i, &cp);
        if (used < 1) return cols + 1;
        cols += utf8proc_charwidth(cp);
        i += (int)used;
    }
    return cols;
}

struct ui_text *ui_text_compute(struct sac_trace *t, int lane, const atomic_bool *cancel)
{
    struct sac_trace_info info;
    struct sac_lane la;
    sac_trace_info(t, &info);
    sac_trace_lane(t, lane, &la);
    int n = info.n_prompt + la.n_steps, used = 0, cap = 12 * n + 1024;
    char *bytes = malloc((size_t)cap), raw[256], shown[512];
    size_t fixed = sizeof(struct ui_text) + (size_t)n * sizeof(struct ui_tok) + ((size_t)n + 1) * sizeof(int);
    fixed = (fixed + 15) & ~(size_t)15;
    struct ui_text *x = calloc(1, fixed);
    if (!x || !bytes) goto fail;
    *x = (struct ui_text){ .lane = lane, .n = n, .n_prompt = info.n_prompt };
    x->at = (int *)(void *)(x + 1);
    x->tok = (struct ui_tok *)(void *)(x->at + n + 1);
    for (int i = 0; i < n; i++) {
        if (!(i & 255) && stopped(cancel)) goto fail;
        bool rest;
        int len = ui_token_letters(t, lane, i, raw, (int)sizeof raw, &rest);
        if (rest) len = snprintf(raw, sizeof raw, "\u00b7");      /* the letter stands before it */
        int m = ui_text_visible(raw, len, shown, (int)sizeof shown), cols = columns(shown, m);
        if (used + m > cap) {
            cap = 2 * cap + m;
            char *b = realloc(bytes, (size_t)cap);
            if (!b) goto fail;
            bytes = b;
        }
        x->at[i] = used;
        memcpy(bytes + used, shown, (size_t)m);
        used += m;
        x->tok[i] = (struct ui_tok){ .cols = (unsigned char)(cols > 255 ? 255 : cols),
            .newline = len > 0 && memchr(raw, '\n', (size_t)len), .word = len > 0 && raw[0] == ' ',
            .keep = i >= info.n_prompt };
    }
    x->at[n] = used;
    for (int s = 0; s < info.n_spans; s++)
        for (int k = info.span[s].lo; k < info.span[s].hi && k < n; k++)
            if (k >= 0) x->tok[k].keep = true;
    struct ui_text *whole = realloc(x, fixed + (size_t)used + 1);
    if (!whole) goto fail;
    x = whole;
    x->at = (int *)(void *)(x + 1);
    x->tok = (struct ui_tok *)(void *)(x->at + n + 1);
    x->bytes = (char *)x + fixed;
    memcpy(x->bytes, bytes, (size_t)used);
    x->bytes[used] = 0;
    free(bytes);
    return x;
fail:
    free(bytes);
    free(x);
    return NULL;
}

int ui_stretches(const float *w, int n, int size, int k, struct ui_stretch *out)
{
    int found = 0;
    if (size > n) size = n;
    for (; found < k && size > 0; found++) {
        double sum = 0;
        struct ui_stretch best = { 0, 0, -1 };
        for (int i = 0; i < n; i++) {
            sum += (double)w[i] - (i >= size ? (double)w[i - size] : 0);
            int lo = i - size + 1;
            bool clear = lo >= 0;
            for (int j = 0; clear && j < found; j++) clear = lo >= out[j].hi || i + 1 <= out[j].lo;
            if (clear && sum > best.sum) best = (struct ui_stretch){ lo, i + 1, sum };
        }
        if (best.sum <= 0) break;
        out[found] = best;
    }
    return found;
}

void ui_bin_sums(const float *w, int n, int bins, float *out)
{
    for (int b = 0; b < bins; b++) {
        double sum = 0;
        for (int i = ui_bin_lo(b, n, bins); i < ui_bin_hi(b, n, bins) && i < n; i++) sum += (double)w[i];
        out[b] = (float)sum;
    }
}

void ui_bin_flags(const unsigned char *flag, unsigned char bit, int n, int bins, float *out)
{
    for (int b = 0; b < bins; b++) {
        int lo = ui_bin_lo(b, n, bins), hi = ui_bin_hi(b, n, bins), set = 0;
        for (int i = lo; i < hi && i < n; i++) set += (flag[i] & bit) != 0;
        out[b] = (float)set / (float)(hi - lo);
    }
}

struct ui_strips *ui_strips_compute(struct sac_trace *t, int lane, int row, int bins,
                                    const atomic_bool *cancel)
{
    struct sac_trace_info info;
    sac_trace_info(t, &info);
    int nl = info.shape.n_layers, nh = info.shape.n_heads, n = row + 1;
    if (bins < 1 || n < 1) return NULL;
    struct ui_strips *s = calloc(1, sizeof *s + (size_t)nl * (size_t)bins * sizeof(float));
    float *w = malloc((size_t)n * sizeof *w);
    if (!s || !w) goto fail;
    *s = (struct ui_strips){ lane, row, nl, bins };
    for (int l = 0; l < nl; l++)
        for (int h = 0; h < nh; h++) {
            if (stopped(cancel)) goto fail;
            float *to = s->v + (size_t)l * (size_t)bins;
            if (!sac_trace_weights(t, lane, l, h, row, w)) {
                for (int b = 0; b < bins; b++) to[b] = NAN;
                break;
            }
            for (int k = 0; k < n; k++) to[ui_bin_of(k, n, bins)] += w[k] / (float)nh;
        }
    free(w);
    return s;
fail:
    free(w);
    free(s);
    return NULL;
}
