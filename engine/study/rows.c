/* Results files into rows, and rows into cells: means, intervals and tests against dense on the same samples.
 */
#include "study/packed.h"
#include "study/report_int.h"
#include "study/stats.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const double REPORT_ALPHA = 0.05;
const double REPORT_CAN_DO = 0.05;

int names_add(struct names *l, const char *s)
{
    for (int i = l->n - 1; i >= 0; i--)
        if (!strcmp(l->v[i], s)) return i;
    if (l->n == l->cap) {
        int cap = l->cap ? 2 * l->cap : 16;
        char **v = realloc(l->v, (size_t)cap * sizeof *v);
        if (!v) return -1;
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n] = strdup(s);
    return l->v[l->n] ? l->n++ : -1;
}

static void names_free(struct names *l)
{
    for (int i = 0; i < l->n; i++) free(l->v[i]);
    free(l->v);
}

/* ---- reading ---- */

/* `quest:page_size=8,sparsity=0.9` -> `quest:page_size=8` and 0.9; without sparsity= the names alone and NAN.
 */
static double base_of(const char *spec, char *base, size_t cap)
{
    const char *at = strstr(spec, "sparsity=");
    size_t n = 0;
    if (!at) {
        bool skip = false;
        for (const char *p = spec; *p && n + 1 < cap; p++) {
            if (*p == ':') skip = true;
            if (*p == '+') skip = false;
            if (!skip) base[n++] = *p;
        }
        base[n] = '\0';
        return (double)NAN;
    }
    double level = strtod(at + strlen("sparsity="), NULL);
    for (const char *p = spec; *p && n + 1 < cap;) {
        if (!strncmp(p, "sparsity=", 9)) {
            p += strcspn(p, ",+");
            if (*p == ',')
                p++;
            else if (n && (base[n - 1] == ',' || base[n - 1] == ':'))
                n--;
            continue;
        }
        base[n++] = *p++;
    }
    base[n] = '\0';
    return level;
}

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

static bool grow(void **p, int *cap, size_t size)
{
    int more = *cap ? 2 * *cap : 16;
    void *q = realloc(*p, (size_t)more * size);
    if (!q) return false;
    *p = q;
    *cap = more;
    return true;
}

static bool read_model(struct sac_report *r, const json_t *o, const char *key, int *index)
{
    int before = r->model_key.n;
    *index = names_add(&r->model_key, key);
    if (*index < 0 || r->model_key.n == before) return *index >= 0;
    struct report_model *m = realloc(r->model, (size_t)r->model_key.n * sizeof *m);
    if (!m) return false;
    r->model = m;
    r->n_models = r->model_key.n;
    const json_t *s = json_object_get(o, "shape");
    const char *name = json_string_value(json_object_get(o, "model"));
    m[*index] = (struct report_model){ .name = strdup(name ? name : key), .n_params = number(s, "params") };
    m[*index].shape = (struct sac_shape){
        .n_layers = (int)json_integer_value(json_object_get(s, "layers")),
        .n_heads = (int)json_integer_value(json_object_get(s, "heads")),
        .n_kv_heads = (int)json_integer_value(json_object_get(s, "kv_heads")),
        .head_dim = (int)json_integer_value(json_object_get(s, "head_dim")),
        .n_embd = (int)json_integer_value(json_object_get(s, "embd")),
        .n_ff = (int)json_integer_value(json_object_get(s, "ff")),
        .n_vocab = (int)json_integer_value(json_object_get(s, "vocab")),
    };
    return m[*index].name != NULL;
}

/* Where a method acts, by its SPEC. */
static bool read_method(struct sac_report *r, const char *spec, int *index)
{
    int before = r->method.n;
    *index = names_add(&r->method, spec);
    if (*index < 0 || r->method.n == before) return *index >= 0;
    bool *p = realloc(r->in_prefill, (size_t)r->method.n), *d;
    if (p) r->in_prefill = p;
    d = p ? realloc(r->in_decode, (size_t)r->method.n) : NULL;
    if (!d) return false;
    r->in_decode = d;
    struct sac_spec s;
    bool known = sac_spec_parse(&s, spec, NULL) == SAC_OK;
    p[*index] = known && sac_spec_prefill(&s);
    d[*index] = known && (sac_spec_evict(&s) || sac_spec_decode(&s));
    return true;
}

static bool add_row(struct sac_report *r, const json_t *o, bool *valid)
{
    const char *key = json_string_value(json_object_get(o, "model_key"));
    const char *task = json_string_value(json_object_get(o, "task"));
    const char *style = json_string_value(json_object_get(o, "style"));
    const char *method = json_string_value(json_object_get(o, "method"));
    *valid = key && task && style && method && json_is_integer(json_object_get(o, "length"));
    if (!*valid) return true;
    if (r->n_rows == r->cap_rows && !grow((void **)&r->row, &r->cap_rows, sizeof *r->row)) return false;
    char base[256];
    const json_t *den = json_object_get(o, "density"), *rec = json_object_get(o, "recall");
    const json_t *pre = json_object_get(den, "prefill"), *dec = json_object_get(den, "decode");
    struct row w = {
        .length = (int)json_integer_value(json_object_get(o, "length")),
        .sample = (int)json_integer_value(json_object_get(o, "sample")),
        .seed = (uint64_t)json_integer_value(json_object_get(o, "seed")),
        .level = base_of(method, base, sizeof base),
        .score = number(o, "score"),
        .parsed = json_is_true(json_object_get(o, "parsed")),
        .prefill = number(pre, "kernel"),
        .decode = number(dec, "kernel"),
        .read = number(dec, "read"),
        .mass = number(rec, "mass"),
        .evidence = number(rec, "evidence"),
        .kl = number(o, "kl"),
        .nll = number(o, "nll_gold"),
    };
    if (!read_model(r, o, key, &w.model) || !read_method(r, method, &w.method)) return false;
    /* Other data, KV type or answer limit: other results, kept apart like another prompt style. */
    const char *variant = json_string_value(json_object_get(o, "variant"));
    char how[160];
    snprintf(how, sizeof how, variant ? "%s, %.120s" : "%s", style, variant);
    w.task = names_add(&r->task, task);
    w.style = names_add(&r->style, how);
    w.base = names_add(&r->base, base);
    if (w.task < 0 || w.style < 0 || w.base < 0) return false;
    if (isfinite(w.score)) r->row[r->n_rows++] = w;
    return true;
}

static enum sac_code read_file(struct sac_report *r, const char *path, struct sac_err *err)
{
    FILE *f = packed_open(path, err);
    if (!f) return err->code;
    char *line = NULL;
    size_t cap = 0;
    enum sac_code rc = SAC_OK;
    ssize_t n;
    for (int line_no = 1; !rc && (n = getline(&line, &cap, f)) > 0; line_no++) {
        if (line[strspn(line, " \t\r\n")] == '\0') continue;
        json_error_t e;
        json_t *o = json_loadb(line, (size_t)n, 0, &e);
        bool valid = false, torn = line[n - 1] != '\n'; /* being written, or killed: eval will repair it */
        if (o && !add_row(r, o, &valid))
            rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
        else if (!valid && !torn)
            rc = sac_fail(err, SAC_EFORMAT, "%s: line %d is not a result of saccade eval", path, line_no);
        json_decref(o);
    }
    free(line);
    fclose(f);
    return rc;
}

/* ---- cells ---- */

static int by_cell(const struct row *x, const struct row *y)
{
    const int d[] = { x->model - y->model, x->style - y->style, x->length - y->length, x->task - y->task,
                      x->base - y->base };
    for (size_t i = 0; i < sizeof d / sizeof *d; i++)
        if (d[i]) return d[i];
    double a = isnan(x->level) ? -1 : x->level, b = isnan(y->level) ? -1 : y->level;
    return a < b ? -1 : a > b ? 1 : x->method - y->method;
}

static int by_sample(const struct row *x, const struct row *y)
{
    if (x->seed != y->seed) return x->seed < y->seed ? -1 : 1;
    return x->sample - y->sample;
}

static int by_all(const void *a, const void *b)
{
    int d = by_cell(a, b);
    return d ? d : by_sample(a, b);
}

static int cell_order(const void *a, const void *b)
{
    const struct cell *x = a, *y = b;
    const int d[] = { x->model - y->model, x->style - y->style,           x->length - y->length,
                      x->task - y->task,   (int)y->dense - (int)x->dense, x->base - y->base };
    for (size_t i = 0; i < sizeof d / sizeof *d; i++)
        if (d[i]) return d[i];
    return x->level < y->level ? -1 : x->level > y->level ? 1 : x->method - y->method;
}

bool cell_same(const struct cell *a, const struct cell *b, bool task, bool base)
{
    return a->model == b->model && a->style == b->style && a->length == b->length &&
           (!task || a->task == b->task) && (!base || a->base == b->base);
}

/* Mean of the finite values; NAN when there are none. */
static double mean_of(const struct row *row, int n, size_t field)
{
    double sum = 0;
    int k = 0;
    for (int i = 0; i < n; i++) {
        double v;
        memcpy(&v, (const char *)&row[i] + field, sizeof v);
        if (isfinite(v)) sum += v, k++;
    }
    return k ? sum / k : (double)NAN;
}

static bool cell_measure(struct cell *c, const struct row *row)
{
    const struct row *w = row + c->at;
    double *x = calloc(3 * (size_t)c->n, sizeof *x), *y = x + c->n, *d = y + c->n;
    if (!x) return false;
    c->mean = mean_of(w, c->n, offsetof(struct row, score));
    for (int i = 0; i < c->n; i++) x[i] = w[i].score;
    c->sd = sqrt(stats_moments(x, c->n).var);
    for (int i = 0; i < c->n; i++) {
        c->parsed += (double)w[i].parsed / c->n;
        if (!w[i].dense) continue;
        x[c->n_pairs] = w[i].dense->score;
        y[c->n_pairs] = w[i].score;
        d[c->n_pairs] = x[c->n_pairs] - y[c->n_pairs];
        c->n_pairs++;
    }
    stats_wilson(c->mean, c->n, &c->lo, &c->hi);
    struct moments mx = stats_moments(x, c->n_pairs), my = stats_moments(y, c->n_pairs);
    c->dense_mean = c->n_pairs ? mx.mean : (double)NAN;
    c->diff = c->n_pairs ? my.mean - mx.mean : (double)NAN;
    c->p_welch = stats_welch(&mx, &my);
    c->p_paired = stats_paired(d, c->n_pairs);
    c->p_sign = c->n_pairs > 1 ? stats_sign(d, c->n_pairs) : (double)NAN;
    free(x);
    c->prefill = mean_of(w, c->n, offsetof(struct row, prefill));
    c->decode = mean_of(w, c->n, offsetof(struct row, decode));
    c->read = mean_of(w, c->n, offsetof(struct row, read));
    c->mass = mean_of(w, c->n, offsetof(struct row, mass));
    c->evidence = mean_of(w, c->n, offsetof(struct row, evidence));
    c->kl = mean_of(w, c->n, offsetof(struct row, kl));
    c->nll = mean_of(w, c->n, offsetof(struct row, nll));
    return true;
}

/* What was left out in the phase a method acts in; where it acts in both, in the sparser one. NAN: not
 * measured. */
static double measured_sparsity(const struct sac_report *r, const struct cell *c)
{
    double keys = isfinite(c->decode) ? c->decode : c->read;
    double p = r->in_prefill[c->method] ? 1 - c->prefill : (double)NAN;
    double d = r->in_decode[c->method] ? 1 - keys : (double)NAN;
    double s = isnan(p) ? d : isnan(d) ? p : fmax(p, d);
    return isnan(s) ? s : fmin(fmax(s, 0), 0.9999);
}

static const struct row *find_dense(const struct row *row, const struct cell *dense, const struct row *want)
{
    int lo = dense->at, hi = dense->at + dense->n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2, d = by_sample(&row[mid], want);
        if (!d) return &row[mid];
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

bool report_cells(struct sac_report *r)
{
    if (!r->n_rows) return true;
    qsort(r->row, (size_t)r->n_rows, sizeof *r->row, by_all);
    int n = 0; /* the same result in two files counts once */
    for (int i = 0; i < r->n_rows; i++)
        if (!n || by_all(&r->row[n - 1], &r->row[i])) r->row[n++] = r->row[i];
    r->n_rows = n;
    r->cell = calloc((size_t)n, sizeof *r->cell);
    if (!r->cell) return false;
    for (int i = 0; i < n; i++) {
        const struct row *w = &r->row[i];
        struct cell *c = r->n_cells ? &r->cell[r->n_cells - 1] : NULL;
        if (!c || by_cell(&r->row[c->at], w)) {
            c = &r->cell[r->n_cells++];
            *c = (struct cell){ .model = w->model,
                                .style = w->style,
                                .task = w->task,
                                .length = w->length,
                                .method = w->method,
                                .base = w->base,
                                .level = w->level,
                                .at = i,
                                .dense = !strcmp(r->method.v[w->method], "dense") };
        }
        c->n++;
    }
    for (int i = 0; i < r->n_cells; i++)
        for (int k = 0; r->cell[i].dense && k < r->n_cells; k++)
            for (int j = 0; cell_same(&r->cell[i], &r->cell[k], true, false) && j < r->cell[k].n; j++) {
                struct row *w = &r->row[r->cell[k].at + j];
                w->dense = find_dense(r->row, &r->cell[i], w);
            }
    for (int i = 0; i < r->n_cells; i++) {
        if (!cell_measure(&r->cell[i], r->row)) return false;
        struct cell *c = &r->cell[i];
        c->measured = c->dense ? 0 : measured_sparsity(r, c);
        if (c->dense) c->level = 0;
        if (isnan(c->level)) c->level = isnan(c->measured) ? 0 : c->measured;
        if (isnan(c->measured)) c->measured = c->level;
    }
    qsort(r->cell, (size_t)r->n_cells, sizeof *r->cell, cell_order);
    return true;
}

/* ---- the report ---- */

enum sac_code sac_report_read(struct sac_report **out, const char *const *file, int n, struct sac_err *err)
{
    struct sac_report *r = calloc(1, sizeof *r);
    enum sac_code rc = r ? SAC_OK : sac_fail(err, SAC_ENOMEM, "out of memory");
    for (int i = 0; !rc && i < n; i++) rc = read_file(r, file[i], err);
    if (!rc && !r->n_rows) rc = sac_fail(err, SAC_EFORMAT, "%s: holds no scored results", n ? file[0] : "-");
    if (!rc && !report_cells(r)) rc = sac_fail(err, SAC_ENOMEM, "out of memory for %d results", r->n_rows);
    if (rc)
        sac_report_free(r);
    else
        *out = r;
    return rc;
}

void sac_report_free(struct sac_report *r)
{
    if (!r) return;
    for (int i = 0; i < r->n_models; i++) free(r->model[i].name);
    names_free(&r->model_key);
    names_free(&r->style);
    names_free(&r->task);
    names_free(&r->method);
    names_free(&r->base);
    free(r->model);
    free(r->in_prefill);
    free(r->in_decode);
    free(r->row);
    free(r->cell);
    free(r);
}

int sac_report_rows(const struct sac_report *r) { return r->n_rows; }
const char *report_model_name(const struct sac_report *r, int model) { return r->model[model].name; }
