/* The numbers behind a figure: CSV, JSON or NPY of exactly the window shown, at the resolution shown.
 *
 * CSV and JSON are tables with one line per cell, head, token or page; their columns say what a cell covers,
 * so pooled and exact windows read alike. NPY (format 1.0, little-endian f32, C order) is the main array of
 * the view: [rows, keys] with NaN where no causal pair is, [layers, heads], [tokens] or [pairs, pages]. */
#include "export_int.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum data_format { DATA_CSV, DATA_JSON, DATA_NPY };

/* One table being written; CSV or JSON. */
struct emit { FILE *f; bool json; int col, row; };

static void cell_begin(struct emit *e)
{
    if (e->json) fputs(e->col ? "," : e->row ? ",\n[" : "\n[", e->f);
    else if (e->col) fputc(',', e->f);
    e->col++;
}

static void put_row(struct emit *e)
{
    fputs(e->json ? "]" : "\r\n", e->f);
    e->col = 0;
    e->row++;
}

static void put_int(struct emit *e, long v)
{
    cell_begin(e);
    fprintf(e->f, "%ld", v);
}

static void put_num(struct emit *e, double v)
{
    cell_begin(e);
    if (isfinite(v)) fprintf(e->f, "%.9g", v);
    else if (e->json) fputs("null", e->f);
}

static void put_str(struct emit *e, const char *s)
{
    cell_begin(e);
    if (e->json) {
        json_t *j = json_string(s);
        char *text = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
        fputs(text ? text : "null", e->f);
        free(text);
        json_decref(j);
        return;
    }
    fputc('"', e->f);
    for (; *s; s++) {
        if (*s == '"') fputc('"', e->f);
        fputc(*s, e->f);
    }
    fputc('"', e->f);
}

static void header(struct emit *e, const char *const *col)
{
    for (int i = 0; col[i]; i++) {
        if (e->json) fprintf(e->f, "%s\"%s\"", i ? ", " : "", col[i]);
        else fprintf(e->f, "%s%s", i ? "," : "", col[i]);
    }
    fputs(e->json ? "],\n\"rows\": [" : "\r\n", e->f);
}

static void npy(FILE *f, const float *v, int rows, int cols)
{
    char head[128];
    int n = cols > 0 ? snprintf(head, sizeof head,
                                "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, cols)
                     : snprintf(head, sizeof head,
                                "{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }", rows);
    int total = ((10 + n + 1 + 63) / 64) * 64 - 10;
    fwrite("\x93NUMPY\x01\x00", 1, 8, f);
    fputc(total & 255, f);
    fputc(total >> 8, f);
    fwrite(head, 1, (size_t)n, f);
    for (int i = n; i < total - 1; i++) fputc(' ', f);
    fputc('\n', f);
    fwrite(v, sizeof *v, (size_t)rows * (size_t)(cols > 0 ? cols : 1), f);
}

/* ---- maps ---- */

static struct ui_tile *tile_of(struct shot_ctx *c, int lane, bool sparse)
{
    static float want;
    struct ui_window win = shot_window(c, lane);
    int cells = c->s->cells > 0 ? c->s->cells : SHOT_CELLS, nq = win.q1 - win.q0, nk = win.k1 - win.k0;
    int per_kv = c->info.shape.n_heads / c->info.shape.n_kv_heads;
    struct sac_tile t = { .lane = lane,
                          .layer = c->s->at.layer,
                          .head = c->s->at.group ? -1 - c->s->at.head / per_kv : c->s->at.head,
                          .q0 = win.q0,
                          .q1 = win.q1,
                          .k0 = win.k0,
                          .k1 = win.k1,
                          .pool = c->s->at.pool,
                          .sinks = c->s->at.sinks,
                          .sparse = sparse,
                          .kept = &want,
                          .missed = &want };
    shot_cells(nq, nk, cells, &t.h, &t.w);
    return ui_tile_compute(c->t, &t, c->cancel);
}

static void tile_rows(struct emit *e, const struct ui_tile *tile)
{
    const struct sac_tile *t = &tile->t;
    int nq = t->q1 - t->q0, nk = t->k1 - t->k0;
    for (int y = 0; y < t->h; y++)
        for (int x = 0; x < t->w; x++) {
            size_t i = (size_t)y * (size_t)t->w + (size_t)x;
            if (isnan(t->value[i])) continue;
            put_int(e, t->lane);
            put_int(e, t->q0 + ui_bin_lo(y, nq, t->h));
            put_int(e, t->q0 + ui_bin_hi(y, nq, t->h));
            put_int(e, t->k0 + ui_bin_lo(x, nk, t->w));
            put_int(e, t->k0 + ui_bin_hi(x, nk, t->w));
            put_num(e, (double)t->value[i]);
            put_num(e, t->kept ? (double)t->kept[i] : 1);
            put_num(e, t->missed ? (double)t->missed[i] : 0);
            put_row(e);
        }
}

static bool data_map(struct shot_ctx *c, FILE *f, enum data_format fmt)
{
    static const char *const col[] = { "lane",   "query_lo",   "query_hi",    "key_lo", "key_hi",
                                       "weight", "read_share", "missed_mass", NULL };
    bool both = c->s->view == UI_SHOT_COMPARE;
    struct ui_tile *a = tile_of(c, c->s->at.a, both ? c->s->at.a > 0 : c->s->at.sparse), *b = NULL;
    if (both) b = tile_of(c, c->s->at.b, c->s->at.b > 0);
    bool ok = a && (b || !both);
    struct emit e = { f, fmt == DATA_JSON, 0, 0 };
    if (ok && fmt == DATA_NPY && both)
        for (int i = 0; i < a->t.h * a->t.w; i++) a->t.value[i] -= b->t.value[i];
    if (ok && fmt == DATA_NPY) npy(f, a->t.value, a->t.h, a->t.w);
    if (ok && fmt != DATA_NPY) {
        header(&e, col);
        tile_rows(&e, a);
        if (both) tile_rows(&e, b);
    }
    free(a);
    free(b);
    return ok;
}

/* ---- heads ---- */

static bool data_heads(struct shot_ctx *c, FILE *f, enum data_format fmt)
{
    const char *col[UI_N_METRICS + 4] = { "layer", "head", "kv_head" };
    struct ui_heads *hs = ui_heads_compute(c->t, c->s->at.a, c->cancel);
    if (!hs) return false;
    int n = hs->n_layers * hs->n_heads, per = hs->n_heads / hs->n_kv_heads;
    struct emit e = { f, fmt == DATA_JSON, 0, 0 };
    for (int m = 0; m < UI_N_METRICS; m++) col[3 + m] = ui_metric_info[m].name;
    if (fmt == DATA_NPY) {
        float *v = malloc(((size_t)n + 1) * sizeof *v);
        for (int i = 0; v && i < n; i++)
            v[i] = (float)ui_head_metric(&hs->head[i], (enum ui_metric)c->s->at.metric);
        if (v) npy(f, v, hs->n_layers, hs->n_heads);
        free(v);
        free(hs);
        return v != NULL;
    }
    header(&e, col);
    for (int i = 0; i < n; i++) {
        put_int(&e, i / hs->n_heads);
        put_int(&e, i % hs->n_heads);
        put_int(&e, i % hs->n_heads / per);
        for (int m = 0; m < UI_N_METRICS; m++) put_num(&e, ui_head_metric(&hs->head[i], (enum ui_metric)m));
        put_row(&e);
    }
    free(hs);
    return true;
}

/* ---- text ---- */

static bool data_text(struct shot_ctx *c, FILE *f, enum data_format fmt)
{
    static const char *const col[] = { "position", "token", "weight", "read", "forced", "gold", NULL };
    int row = shot_row(c, c->s->at.a), per = c->info.shape.n_heads / c->info.shape.n_kv_heads;
    struct ui_row *r =
        ui_row_compute(c->t, c->s->at.a, c->s->at.layer,
                       c->s->at.group ? -1 - c->s->at.head / per : c->s->at.head, row, c->cancel);
    if (!r) return false;
    struct emit e = { f, fmt == DATA_JSON, 0, 0 };
    if (fmt == DATA_NPY) npy(f, r->w, r->n_keys, 0);
    else header(&e, col);
    for (int i = 0; fmt != DATA_NPY && i < r->n_keys; i++) {
        char tok[256];
        ui_token_name(c->t, c->s->at.a, i, tok, sizeof tok);
        put_int(&e, i);
        put_str(&e, tok);
        put_num(&e, (double)r->w[i]);
        put_int(&e, (r->flag[i] & UI_KEY_KEPT) != 0);
        put_int(&e, (r->flag[i] & UI_KEY_FORCED) != 0);
        put_int(&e, (r->flag[i] & UI_KEY_GOLD) != 0);
        put_row(&e);
    }
    free(r);
    return true;
}

/* ---- pages ---- */

static bool data_pages(struct shot_ctx *c, FILE *f, enum data_format fmt)
{
    static const char *const col[] = { "layer", "kv_head",    "page",      "key_lo", "key_hi",
                                       "state", "dense_mass", "dense_top", "gold",   NULL };
    struct ui_pages *p = ui_pages_compute(c->t, c->s->at.a, c->s->at.step, false, c->cancel);
    if (!p) return false;
    struct emit e = { f, fmt == DATA_JSON, 0, 0 };
    if (fmt == DATA_NPY) npy(f, p->mass, p->n_pairs, p->n_pages);
    else header(&e, col);
    for (int i = 0; fmt != DATA_NPY && i < p->n_pairs * p->n_pages; i++) {
        int pair = i / p->n_pages, page = i % p->n_pages, s = p->state[i];
        put_int(&e, pair / p->n_kv_heads);
        put_int(&e, pair % p->n_kv_heads);
        put_int(&e, page);
        put_int(&e, page * p->page);
        put_int(&e, (page + 1) * p->page <= p->row + 1 ? (page + 1) * p->page : p->row + 1);
        put_str(&e, s & UI_PAGE_CHOSEN ? "chosen" : s & UI_PAGE_FORCED ? "forced" : "left out");
        put_num(&e, (double)p->mass[i]);
        put_int(&e, (s & UI_PAGE_DENSE_TOP) != 0);
        put_int(&e, (s & UI_PAGE_GOLD) != 0);
        put_row(&e);
    }
    free(p);
    return true;
}

/* ---- pages of one KV head over the steps ---- */

static bool data_timeline(struct shot_ctx *c, FILE *f, enum data_format fmt)
{
    static const char *const col[] = { "step",  "page",       "key_lo",    "key_hi",
                                       "state", "dense_mass", "dense_top", NULL };
    struct shot_timeline *t = shot_timeline_compute(c);
    if (!t) return false;
    struct emit e = { f, fmt == DATA_JSON, 0, 0 };
    if (fmt == DATA_NPY) npy(f, t->mass, t->n_steps, t->n_pages);
    else header(&e, col);
    for (int i = 0; fmt != DATA_NPY && i < t->n_steps * t->n_pages; i++) {
        int step = i / t->n_pages, page = i % t->n_pages, s = t->state[i], row = c->info.n_prompt - 1 + step;
        if (page * t->page > row) continue;
        put_int(&e, step);
        put_int(&e, page);
        put_int(&e, page * t->page);
        put_int(&e, (page + 1) * t->page <= row + 1 ? (page + 1) * t->page : row + 1);
        put_str(&e, s & UI_PAGE_CHOSEN ? "chosen" : s & UI_PAGE_FORCED ? "forced" : "left out");
        put_num(&e, (double)t->mass[i]);
        put_int(&e, (s & UI_PAGE_DENSE_TOP) != 0);
        put_row(&e);
    }
    free(t);
    return true;
}

/* ---- recall ---- */

static bool data_recall(struct shot_ctx *c, FILE *f, enum data_format fmt)
{
    static const char *const col[] = { "lane", "method", "query", "mass_recall", NULL };
    struct ui_window w = shot_window(c, c->s->at.a);
    int n = w.q1 - w.q0 < 512 ? w.q1 - w.q0 : 512, lanes = c->info.n_lanes;
    int per = c->info.shape.n_heads / c->info.shape.n_kv_heads;
    int head = c->s->at.group ? -1 - c->s->at.head / per : c->s->at.head;
    struct emit e = { f, fmt == DATA_JSON, 0, 0 };
    float *all = malloc(((size_t)n * (size_t)lanes + 1) * sizeof *all);
    bool ok = all != NULL;
    int have = 0;
    if (fmt != DATA_NPY) header(&e, col);
    for (int lane = 1; ok && lane < lanes; lane++) {
        struct sac_lane l;
        sac_trace_lane(c->t, lane, &l);
        if (sac_trace_n_rows(c->t, lane, c->s->at.layer) < w.q1) continue;
        struct ui_along *a = ui_along_compute(c->t, lane, c->s->at.layer, head, w.q0, w.q1, n, c->cancel);
        ok = a != NULL;
        if (ok) memcpy(all + (size_t)have++ * (size_t)n, a->mass, (size_t)n * sizeof *all);
        for (int i = 0; ok && fmt != DATA_NPY && i < n; i++) {
            put_int(&e, lane);
            put_str(&e, l.spec);
            put_int(&e, ui_along_row(a, i));
            put_num(&e, (double)a->mass[i]);
            put_row(&e);
        }
        free(a);
    }
    if (ok && fmt == DATA_NPY) npy(f, all, have, n);
    free(all);
    return ok;
}

/* ---- files ---- */

static bool format_of(const char *path, enum data_format *out)
{
    static const char *const end[] = { ".csv", ".json", ".npy" };
    size_t n = strlen(path);
    *out = DATA_CSV;
    if (!strcmp(path, "-")) return true;
    for (int i = 0; i < 3; i++) {
        size_t k = strlen(end[i]);
        if (n > k && !strcasecmp(path + n - k, end[i])) {
            *out = (enum data_format)i;
            return true;
        }
    }
    return false;
}

bool ui_is_data_path(const char *path)
{
    enum data_format f;
    return strcmp(path, "-") && format_of(path, &f);
}

enum sac_code ui_export_data(struct sac_trace *t, const struct ui_shot *shot, const char *path, bool force,
                             const atomic_bool *cancel, struct sac_err *err)
{
    static bool (*const write[UI_N_SHOTS])(struct shot_ctx *, FILE *, enum data_format) = {
        data_map, data_heads, data_map, data_text, data_pages, data_recall, data_timeline };
    enum data_format fmt;
    struct ui_shot s = *shot;
    if (!format_of(path, &fmt))
        return sac_fail(err, SAC_EARG, "%s: numbers are written as .csv, .json or .npy", path);
    enum sac_code rc = ui_shot_check(&s, t, err);
    if (rc) return rc;
    struct shot_ctx *c = calloc(1, sizeof *c);
    char *buf = NULL, *recipe = ui_recipe_json(t, &s);
    size_t n = 0;
    FILE *f = open_memstream(&buf, &n);
    if (!c || !f || !recipe) rc = sac_fail(err, SAC_ENOMEM, "out of memory while writing %s", path);
    if (!rc) {
        c->t = t;
        c->s = &s;
        c->cancel = cancel;
        sac_trace_info(t, &c->info);
        sac_trace_lane(t, s.at.a, &c->a);
        sac_trace_lane(t, s.at.b, &c->b);
        if (fmt == DATA_JSON)
            fprintf(f, "{\"schema\": \"saccade.data/1\",\n\"recipe\": %s,\n\"columns\": [", recipe);
        if (!write[s.view](c, f, fmt)) rc = shot_failed(c, err, "the numbers of this view");
        if (fmt == DATA_JSON) fputs("\n]}\n", f);
    }
    if (f && fclose(f) && !rc) rc = sac_fail(err, SAC_ENOMEM, "out of memory while writing %s", path);
    if (!rc) rc = figure_write(path, buf, n, force, err);
    free(buf);
    free(recipe);
    free(c);
    return rc;
}
