/* saccade eval: a study. Every task, length and sample once through dense attention and all methods; each
 * finished lane is a line of the results file, synced sample by sample, so that a study that was stopped goes
 * on where it was. Memory is that of one sample. */
#include "args.h"
#include "cli.h"
#include "commands.h"
#include "json_out.h"
#include "setup.h"

#include <saccade/eval.h>
#include <saccade/job.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_LIST = 256 };

struct eval_args {
    struct arg_strs models, tasks, methods, sparsities, files;
    struct arg_ints lengths;
    const char *output, *shard;
    int samples, first, style, max_tokens, threads, kv, shard_i, shard_n;
    uint64_t seed;
    bool no_recall, no_kl, no_reference, merge, json, brief;
};

/* Lists after their commas and budgets were unfolded. */
struct lists {
    char *task[MAX_LIST], *method[MAX_LIST];
    const char *file[MAX_LIST]; /* of a task; NULL: it reads none */
    char variant[MAX_LIST][160]; /* of a task: see sac_result_key */
    int n_tasks, n_methods;
};

struct study {
    const struct eval_args *a;
    struct lists l;
    struct sac_grid grid;
    struct sac_results *out;
    struct sac_model *model;
    char model_key[160];
    double done_weight, all_weight, skipped_weight, t0;
    int n_done, n_all, n_new, n_failed, n_skipped, n_absent;
    int i_model, n_models;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- lists ---- */

static bool push(char **list, int *n, const char *s, size_t len)
{
    if (*n == MAX_LIST) return false;
    list[*n] = strndup(s, len);
    return list[(*n)++] != NULL;
}

/* "niah:queries=2,vt:chains=4,hops=2,cwe": a comma ends a task unless a parameter follows it. */
static bool split_tasks(struct lists *l, const char *arg)
{
    for (const char *p = arg; *p;) {
        size_t n = 0;
        for (;;) {
            n += strcspn(p + n, ",");
            if (!p[n]) break;
            size_t word = strcspn(p + n + 1, ",:=");
            if (p[n + 1 + word] != '=') break;
            n++;
        }
        if (n && !push(l->task, &l->n_tasks, p, n)) return false;
        p += n + (p[n] == ',');
    }
    return true;
}

/* Does the SPEC say how much to read? */
static bool has_budget(const char *text)
{
    struct sac_spec spec;
    if (strstr(text, "sparsity=") || strstr(text, "preset=") || !strcmp(text, "dense")) return true;
    if (sac_spec_parse(&spec, text, NULL)) return true; /* told what is wrong with it later, as it stands */
    for (int i = 0; i < spec.n; i++)
        for (int k = 0; k < spec.part[i].m->n_params; k++) {
            const struct sac_param *p = &spec.part[i].m->params[k];
            char key[64];
            snprintf(key, sizeof key, "%s=", p->name);
            if (p->budget && strstr(text, key)) return true;
        }
    return false;
}

/* Every method at every sparsity of --sparsity; methods that name a budget of their own stay as they are. */
static enum sac_code unfold_methods(struct lists *l, const struct eval_args *a, struct sac_err *err)
{
    if (a->sparsities.n && !a->methods.n)
        return sac_fail(err, SAC_EARG, "--sparsity %s: of which methods? Name them with --method",
                        a->sparsities.v[0]);
    for (int i = 0; i < a->methods.n; i++) {
        const char *spec = a->methods.v[i];
        bool own = !a->sparsities.n || has_budget(spec);
        if (own && !push(l->method, &l->n_methods, spec, strlen(spec))) goto full;
        for (int k = 0; !own && k < a->sparsities.n; k++)
            for (const char *p = a->sparsities.v[k]; *p;) {
                size_t n = strcspn(p, ",");
                char full[256];
                int w = snprintf(full, sizeof full, "%s%csparsity=%.*s", spec, strchr(spec, ':') ? ',' : ':',
                                 (int)n, p);
                if (w >= (int)sizeof full || !push(l->method, &l->n_methods, full, (size_t)w)) goto full;
                p += n + (p[n] == ',');
            }
    }
    for (int i = 0; i < l->n_methods; i++) {
        struct sac_spec spec;
        if (sac_spec_parse(&spec, l->method[i], err)) return err->code;
    }
    return SAC_OK;
full:
    return sac_fail(err, SAC_EARG, "more than %d methods and budgets; split the study", MAX_LIST);
}

/* --file PATH serves every task that reads a file (and niah as its haystack), --file TASK=PATH only that one.
 */
static const char *file_for(const struct eval_args *a, const char *spec)
{
    size_t n = strcspn(spec, ":");
    const char *any = NULL;
    for (int i = 0; i < a->files.n; i++) {
        const char *f = a->files.v[i];
        if (!strncmp(f, spec, n) && f[n] == '=') return f + n + 1;
        char head[32] = "";
        snprintf(head, sizeof head, "%.*s", (int)(strcspn(f, "=") < 31 ? strcspn(f, "=") : 31), f);
        if (!strchr(f, '=') || !sac_task_find(head)) any = f;
    }
    return any;
}

/* Name and hash of a file's content: results from another file of that name are other results. */
static enum sac_code add_file(char *out, size_t cap, const char *path, struct sac_err *err)
{
    FILE *f = fopen(path, "rb");
    if (!f) return sac_fail(err, SAC_EFORMAT, "%s: cannot be opened: %s", path, strerror(errno));
    uint64_t h = 0xCBF29CE484222325u;
    unsigned char part[16384];
    size_t n;
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        for (size_t i = 0; i < n; i++) h = (h ^ part[i]) * 0x100000001B3u;
    bool bad = ferror(f);
    fclose(f);
    if (bad) return sac_fail(err, SAC_EIO, "%s: cannot be read", path);
    const char *base = strrchr(path, '/');
    snprintf(out, cap, "%.60s#%08x", base ? base + 1 : path, (unsigned)(h ^ h >> 32));
    return SAC_OK;
}

/* What else decides the results of each task. */
static enum sac_code set_variants(struct study *s, struct sac_err *err)
{
    const struct eval_args *a = s->a;
    for (int i = 0; i < s->l.n_tasks; i++) {
        char *v = s->l.variant[i], data[96] = "";
        s->l.file[i] = file_for(a, s->l.task[i]);
        if (s->l.file[i] && add_file(data, sizeof data, s->l.file[i], err)) return err->code;
        char most[24] = "", kv[16] = "";
        if (a->kv) snprintf(kv, sizeof kv, "kv %s, ", setup_kv_types[a->kv]);
        if (a->max_tokens) snprintf(most, sizeof most, "max %d, ", a->max_tokens);
        snprintf(v, sizeof s->l.variant[i], "%s%s%s", kv, most, data);
        size_t n = strlen(v);
        if (n > 2 && v[n - 2] == ',') v[n - 2] = '\0';
    }
    return SAC_OK;
}

static enum sac_code prepare(struct study *s, struct sac_err *err)
{
    const struct eval_args *a = s->a;
    for (int i = 0; i < a->tasks.n; i++)
        if (!split_tasks(&s->l, a->tasks.v[i]))
            return sac_fail(err, SAC_EARG, "more than %d tasks; split the study", MAX_LIST);
    if (!s->l.n_tasks)
        return sac_fail(err, SAC_EARG, "name the tasks: --task niah,vt (saccade tasks lists them)");
    if (!a->output) return sac_fail(err, SAC_EARG, "name the results file: -o results.jsonl");
    for (int i = 0; i < s->l.n_tasks; i++)
        if (sac_task_check(s->l.task[i], err)) return err->code;
    static const int usual[] = { 4096 };
    s->grid = (struct sac_grid){ .task = (const char *const *)s->l.task,
                                 .n_tasks = s->l.n_tasks,
                                 .length = a->lengths.n ? a->lengths.v : usual,
                                 .n_lengths = a->lengths.n ? a->lengths.n : 1,
                                 .first = a->first,
                                 .n_samples = a->samples,
                                 .shard = a->shard_i,
                                 .n_shards = a->shard_n };
    double units = (double)s->grid.n_tasks * s->grid.n_lengths * s->grid.n_samples;
    if (units > 1e9) return sac_fail(err, SAC_EARG, "%.3g samples are too many; split the study", units);
    if (set_variants(s, err)) return err->code;
    return unfold_methods(&s->l, a, err);
}

/* ---- one sample ---- */

/* Which of the study's tasks a unit is: the grid hands out the list's own pointers. */
static int task_of(const struct study *s, const struct sac_unit *u)
{
    int i = 0;
    while (s->l.task[i] != u->task) i++;
    return i;
}

static struct sac_result_key key_of(const struct study *s, const struct sac_unit *u, const char *style,
                                    const char *method)
{
    return (struct sac_result_key){ s->model_key, u->task,      style,         method,
                                    u->length,    u->sample,    s->a->seed,    s->l.variant[task_of(s, u)] };
}

static json_t *result(const struct study *s, const struct sac_unit *u, const struct sac_sample *smp,
                      int n_prompt, const struct sac_trace *t, int lane)
{
    const struct sac_model_info *mi = sac_model_info(s->model);
    const struct sac_shape *h = &mi->shape;
    json_t *o = json_pack(
        "{s:s, s:o, s:s, s:{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I}, s:s, s:s, s:s, s:i, s:i, s:I, s:i, s:o}",
        "schema", "saccade.eval/1", "model", json_text(mi->name, strlen(mi->name)), "model_key", s->model_key,
        "shape", "layers", h->n_layers, "heads", h->n_heads, "kv_heads", h->n_kv_heads, "head_dim",
        h->head_dim, "embd", h->n_embd, "ff", h->n_ff, "vocab", h->n_vocab, "params",
        (json_int_t)mi->n_params, "task", smp->spec, "metric", smp->task->metric, "style",
        setup_styles[smp->style], "length", smp->length, "sample", smp->index, "seed", (json_int_t)smp->seed,
        "prompt_tokens", n_prompt, "gold", json_text(smp->gold, strlen(smp->gold)));
    const char *variant = s->l.variant[task_of(s, u)];
    if (o && *variant) json_object_set_new(o, "variant", json_text(variant, strlen(variant)));
    json_t *l = json_lane(t, lane);
    if (s->a->brief) {
        json_object_del(l, "tokens");
        json_object_del(json_object_get(l, "recall"), "prefill");
        json_object_del(json_object_get(l, "recall"), "decode");
    }
    if (o && l) json_object_update(o, l);
    json_decref(l);
    return o;
}

static const char *style_of(const struct study *s)
{
    enum sac_style st = (enum sac_style)s->a->style;
    if (st == SAC_STYLE_AUTO)
        st = sac_model_info(s->model)->bundled_style ? SAC_STYLE_COMPACT : SAC_STYLE_PAPER;
    return setup_styles[st];
}

/* Which methods a unit still lacks; also "dense" unless there is no reference. */
static int missing(const struct study *s, const struct sac_unit *u, const char **method)
{
    int n = 0;
    const char *style = style_of(s);
    struct sac_result_key k = key_of(s, u, style, "dense");
    if (!s->a->no_reference && !sac_results_has(s->out, &k)) method[n++] = "dense";
    for (int i = 0; i < s->l.n_methods; i++) {
        k.method = s->l.method[i];
        if (!strcmp(k.method, "dense") && !s->a->no_reference) continue;
        if (!sac_results_has(s->out, &k)) method[n++] = s->l.method[i];
    }
    return n;
}

static int answer_limit(const struct study *s, const struct sac_sample *smp, int n_prompt)
{
    int want = s->a->max_tokens, room = sac_model_info(s->model)->shape.max_ctx - n_prompt;
    struct sac_tokens gold = { 0 };
    if (!want && smp->style == SAC_STYLE_PAPER) want = 1024;
    if (!want && !sac_tokenize(s->model, smp->gold, strlen(smp->gold), 0, &gold, NULL))
        want = 2 * gold.n + 16;
    sac_tokens_free(&gold);
    if (want < 48 && !s->a->max_tokens) want = 48;
    return want < room ? want : room;
}

static double weight(int length) { return length * (1 + length / 8192.0); }

static void progress(const struct study *s, const struct sac_unit *u, const struct sac_trace *t)
{
    double inside = 0;
    int n = t ? sac_trace_n_lanes(t) : 0;
    for (int i = 0; i < n; i++) {
        struct sac_lane l;
        sac_trace_lane(t, i, &l);
        inside += (l.state >= SAC_LANE_DONE ? 1.0 : l.progress) / n;
    }
    double at = s->done_weight + inside * weight(u->length), left = s->all_weight - at;
    double worked = at - s->skipped_weight, elapsed = now_s() - s->t0;
    char eta[40] = "";
    if (worked > 0 && elapsed > 2) {
        int sec = (int)(left * elapsed / worked);
        if (sec < 120)
            snprintf(eta, sizeof eta, ", %d s left", sec);
        else if (sec < 7200)
            snprintf(eta, sizeof eta, ", %d min left", sec / 60);
        else
            snprintf(eta, sizeof eta, ", %d h %d min left", sec / 3600, sec / 60 % 60);
    }
    char bar[21];
    int full = s->all_weight > 0 ? (int)(20 * at / s->all_weight) : 0;
    for (int i = 0; i < 20; i++) bar[i] = i < full ? '#' : '.';
    bar[20] = '\0';
    char model[40] = "";
    if (s->n_models > 1) snprintf(model, sizeof model, "model %d of %d, ", s->i_model + 1, s->n_models);
    cli_progress("[%s] %s%d of %d samples%s   %s %d, sample %d", bar, model, s->n_done, s->n_all, eta,
                 u->task, u->length, u->sample);
}

static void wait_job(const struct study *s, const struct sac_unit *u, struct sac_job *job)
{
    bool stopped = false;
    const struct timespec nap = { 0, 10 * 1000 * 1000 };
    for (int i = 0; sac_job_running(job); i++) {
        if (atomic_load(&cli_stop) && !stopped) {
            sac_job_stop(job);
            stopped = true;
        }
        if (i % 20 == 0) progress(s, u, sac_job_trace(job));
        nanosleep(&nap, NULL);
    }
}

/* Lines of all lanes that finished. */
static enum sac_code record(struct study *s, const struct sac_unit *u, const struct sac_sample *smp,
                            int n_prompt, const struct sac_trace *t, struct sac_err *err)
{
    for (int i = 0; i < sac_trace_n_lanes(t); i++) {
        struct sac_lane l;
        sac_trace_lane(t, i, &l);
        if (l.state == SAC_LANE_FAILED) {
            cli_progress_end();
            fprintf(stderr, "saccade eval: %s %d, sample %d, %s: %s\n", u->task, u->length, u->sample, l.spec,
                    l.error);
            s->n_failed++;
        }
        if (l.state != SAC_LANE_DONE) continue;
        struct sac_result_key k = key_of(s, u, setup_styles[smp->style], l.spec);
        if (sac_results_has(s->out, &k)) continue;
        json_t *o = result(s, u, smp, n_prompt, t, i);
        char *line = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
        json_decref(o);
        enum sac_code rc =
            line ? sac_results_add(s->out, &k, line, err) : sac_fail(err, SAC_ENOMEM, "out of memory");
        free(line);
        if (rc) return rc;
        s->n_new++;
    }
    return sac_results_sync(s->out, err);
}

/* One sample that cannot be made does not end a study: files hold as many as they hold, and the first of
 * every task and length was tried before the start. */
static enum sac_code no_sample(struct study *s, const struct sac_unit *u, struct sac_err *err)
{
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)(strcspn(u->task, ":") < 31 ? strcspn(u->task, ":") : 31),
             u->task);
    const struct sac_task *t = sac_task_find(name);
    bool absent = t && t->needs_file;
    if (!absent || !s->n_absent) {
        cli_progress_end();
        fprintf(stderr, "saccade eval: %s %d, sample %d: %s\n", u->task, u->length, u->sample, err->msg);
    }
    *(absent ? &s->n_absent : &s->n_failed) += 1;
    *err = (struct sac_err){ 0 };
    return SAC_OK;
}

static enum sac_code run_unit(struct study *s, const struct sac_unit *u, const char *const *method,
                              int n_methods, struct sac_err *err)
{
    struct sac_sample smp = { 0 };
    struct sac_tokens tokens = { 0 };
    struct sac_job *job = NULL;
    char *text = NULL;
    size_t at = 0;
    const struct eval_args *a = s->a;
    enum sac_code rc = sac_sample_make(&smp, s->model, u->task, (enum sac_style)a->style, u->length, a->seed,
                                       u->sample, s->l.file[task_of(s, u)], err);
    if (rc == SAC_EARG) return no_sample(s, u, err);
    if (!rc) rc = sac_chat_tokenize(s->model, NULL, smp.prompt, &tokens, &text, &at, err);
    int limit = rc ? 0 : answer_limit(s, &smp, tokens.n);
    if (!rc && limit < 1)
        rc = sac_fail(err, SAC_EARG,
                      "%s: a prompt of %d tokens leaves no room for an answer; choose a smaller --length",
                      u->task, tokens.n);
    struct sac_job_opts opts = { .max_tokens = limit,
                                 .seed = a->seed,
                                 .no_reference = a->no_reference,
                                 .no_trace = a->no_recall,
                                 .no_kl = a->no_kl };
    if (!rc) rc = sac_job_new(&job, s->model, text, &tokens, &smp, at, &opts, err);
    for (int i = 0; !rc && i < n_methods; i++)
        if ((a->no_reference || strcmp(method[i], "dense")) && sac_job_add_lane(job, method[i], err) < 0)
            rc = err->code ? err->code : SAC_EARG;
    if (!rc) rc = sac_job_start(job, err);
    if (!rc) {
        wait_job(s, u, job);
        rc = record(s, u, &smp, tokens.n, sac_job_trace(job), err);
    }
    sac_job_free(job);
    sac_tokens_free(&tokens);
    free(text);
    sac_sample_free(&smp);
    return rc;
}

/* ---- one model ---- */

static enum sac_code check_methods(const struct study *s, struct sac_err *err)
{
    const struct sac_shape *h = &sac_model_info(s->model)->shape;
    for (int l = 0; l < s->grid.n_lengths; l++) {
        int n = s->grid.length[l];
        int own = 1;
        for (int i = 0; i < s->l.n_methods; i++) {
            struct sac_spec spec;
            if (sac_spec_parse(&spec, s->l.method[i], err) || sac_spec_resolve(&spec, h, n, err))
                return err->code;
            own += sac_spec_prefill(&spec) != NULL;
        }
        struct sac_forecast f = { 0 };
        sac_model_forecast(s->model, n, 64, own, s->l.n_methods + 1 - own, !s->a->no_recall, &f);
        if (f.available && f.total > f.available)
            return sac_fail(err, SAC_ENOMEM, "a sample of %d tokens needs about %zu MiB, %zu are free; %s", n,
                            f.total >> 20, f.available >> 20,
                            s->a->no_recall ? "choose a smaller --length" : "try --no-recall");
    }
    return SAC_OK;
}

/* What would stop the study hours from now stops it now: a model that cannot run, a method or length that
 * does not suit it, a task that cannot be made at a length. */
static enum sac_code look_ahead(struct study *s, const char *path, struct sac_err *err)
{
    const struct sac_model_opts mo = { .directory_only = true };
    const struct eval_args *a = s->a;
    enum sac_code rc = sac_model_open(&s->model, path, &mo, err);
    if (rc) return rc;
    const struct sac_model_info *mi = sac_model_info(s->model);
    if (mi->cannot_run[0]) rc = sac_fail(err, SAC_ENOTSUP, "%s", mi->cannot_run);
    for (int l = 0; !rc && l < s->grid.n_lengths; l++)
        if (s->grid.length[l] > mi->shape.max_ctx)
            rc = sac_fail(err, SAC_EARG, "%s: prompts of %d tokens are longer than its context of %d", path,
                          s->grid.length[l], mi->shape.max_ctx);
    if (!rc) rc = check_methods(s, err);
    for (int t = 0; !rc && t < s->l.n_tasks; t++)
        for (int l = 0; !rc && l < s->grid.n_lengths; l++) {
            struct sac_sample smp = { 0 };
            rc = sac_sample_make(&smp, s->model, s->l.task[t], (enum sac_style)a->style, s->grid.length[l],
                                 a->seed, a->first, s->l.file[t], err);
            sac_sample_free(&smp);
        }
    sac_model_close(s->model);
    s->model = NULL;
    return rc;
}

static enum sac_code run_model(struct study *s, const char *path, struct sac_err *err)
{
    int n = sac_grid_units(&s->grid);
    const char *method[MAX_LIST + 1];
    const struct sac_model_opts mo = { .threads = s->a->threads, .kv = (enum sac_kv_type)s->a->kv };
    enum sac_code rc = sac_model_open(&s->model, path, &mo, err);
    if (rc) return rc;
    const struct sac_model_info *mi = sac_model_info(s->model);
    snprintf(s->model_key, sizeof s->model_key, "%s#%016llx", mi->name, (unsigned long long)mi->hash);
    s->done_weight = s->all_weight = s->skipped_weight = 0;
    s->n_done = 0;
    s->n_all = n;
    s->t0 = now_s();
    for (int i = 0; i < n; i++) s->all_weight += weight(sac_grid_unit(&s->grid, i).length);
    for (int i = 0; !rc && i < n && !atomic_load(&cli_stop); i++) {
        struct sac_unit u = sac_grid_unit(&s->grid, i);
        int todo = missing(s, &u, method);
        if (todo) {
            progress(s, &u, NULL);
            rc = run_unit(s, &u, method, todo, err);
        } else {
            s->skipped_weight += weight(u.length);
            s->n_skipped++;
        }
        s->done_weight += weight(u.length);
        s->n_done++;
    }
    cli_progress_end();
    sac_model_close(s->model);
    s->model = NULL;
    return rc;
}

static enum sac_code run_study(struct study *s, struct sac_err *err)
{
    const struct eval_args *a = s->a;
    enum sac_code rc = SAC_OK;
    s->n_models = a->models.n ? a->models.n : 1;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; !rc && i < s->n_models && !atomic_load(&cli_stop); i++) {
            char path[1024];
            if (!cli_model(a->models.n ? a->models.v[i] : NULL, path, sizeof path, err)) return err->code;
            s->i_model = i;
            rc = pass ? run_model(s, path, err) : look_ahead(s, path, err);
        }
    return rc;
}

static int merge(const struct eval_args *a)
{
    struct sac_err err = { 0 };
    int n_new = 0, n_same = 0;
    if (!a->output) {
        sac_fail(&err, SAC_EARG, "name the file to merge into: -o results.jsonl");
        return cli_fail("eval", &err);
    }
    if (sac_results_merge(a->output, a->models.v, a->models.n, &n_new, &n_same, &err))
        return cli_fail("eval", &err);
    if (a->json)
        json_print(stdout, json_pack("{s:s, s:i, s:i}", "file", a->output, "new", n_new, "same", n_same),
                   false);
    else
        printf("%s: %d results taken, %d were there\n", a->output, n_new, n_same);
    return 0;
}

static int study_main(const struct eval_args *a)
{
    struct sac_err err = { 0 };
    struct study s = { .a = a };
    cli_catch_signals();
    enum sac_code rc = prepare(&s, &err);
    if (!rc) rc = sac_results_open(&s.out, a->output, &err);
    if (!rc && sac_results_cut(s.out) && !args_common.quiet)
        fprintf(stderr, "saccade eval: %s: cut off an unfinished line of %zu bytes\n", a->output,
                sac_results_cut(s.out));
    if (!rc) rc = run_study(&s, &err);
    int exit_code = rc ? cli_fail("eval", &err) : cli_signal_exit(s.n_failed ? 1 : 0);
    bool kept = s.out && rc != SAC_EIO;         /* otherwise less is there than was counted */
    if (kept && a->json)
        json_print(stdout,
                   json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "schema", "saccade.eval_run/1", "file",
                             a->output, "results", sac_results_count(s.out), "new", s.n_new, "failed",
                             s.n_failed, "samples_skipped", s.n_skipped, "samples_absent", s.n_absent),
                   false);
    else if (kept && !args_common.quiet)
        fprintf(stderr, "%s: %d results, %d of them new%s\n", a->output, sac_results_count(s.out), s.n_new,
                atomic_load(&cli_stop) ? "; stopped, the same command goes on" : "");
    sac_results_close(s.out);
    for (int i = 0; i < s.l.n_tasks; i++) free(s.l.task[i]);
    for (int i = 0; i < s.l.n_methods; i++) free(s.l.method[i]);
    return exit_code;
}

int cmd_eval(int argc, char **argv)
{
    struct eval_args a = { .samples = 20, .seed = 43, .shard_i = 1, .shard_n = 1 };
    const struct arg_opt opts[] = {
        { "What to measure", .kind = ARG_HEADING },
        { "task", 'T', "TASKS", "tasks, separated by commas: niah,vt:hops=2 (saccade tasks lists them)",
          ARG_STRS, .to = &a.tasks },
        { "length", 'n', "N,N", "prompt lengths in tokens (default 4096)", ARG_INTS, .to = &a.lengths,
          .min = 64, .max = 1 << 24 },
        { "samples", 0, "N", "samples of each task and length (default 20)", ARG_INT, .to = &a.samples,
          .min = 1, .max = 1 << 20 },
        { "first", 0, "I", "number of the first sample (default 0)", ARG_INT, .to = &a.first, .min = 0,
          .max = 1 << 30 },
        { "method", 'm', "SPEC", "method to measure, may be repeated (saccade methods lists them)", ARG_STRS,
          .to = &a.methods },
        { "sparsity", 0, "S,S", "run every method without a budget of its own at these sparsities", ARG_STRS,
          .to = &a.sparsities },
        { "seed", 's', "N", "seed of the samples and of randomised methods (default 43)", ARG_U64,
          .to = &a.seed },
        { "style", 0, "STYLE", "prompt style: auto, compact or paper (default auto)", ARG_CHOICE,
          .to = &a.style, .choices = setup_styles },
        { "file", 0, "[TASK=]FILE", "the tasks' data, or prose to hide needles in; may be repeated", ARG_STRS,
          .to = &a.files },
        { "How", .kind = ARG_HEADING },
        { "max-tokens", 0, "N", "tokens of an answer at most (default: by task)", ARG_INT,
          .to = &a.max_tokens, .min = 1, .max = 1 << 20 },
        { "no-recall", 0, NULL, "answers and timings only: record nothing, measure nothing", ARG_FLAG,
          .to = &a.no_recall },
        { "no-kl", 0, NULL, "skip the teacher-forced passes", ARG_FLAG, .to = &a.no_kl },
        { "no-reference", 0, NULL, "do not run dense attention", ARG_FLAG, .to = &a.no_reference },
        { "threads", 't', "N", "threads (default: all cores)", ARG_INT, .to = &a.threads, .min = 1,
          .max = 256 },
        { "kv", 0, "TYPE", "how keys and values are kept: f32, f16 or bf16 (default f32)", ARG_CHOICE,
          .to = &a.kv, .choices = setup_kv_types },
        { "The results", .kind = ARG_HEADING },
        { "output", 'o', "FILE", "append to FILE; what it holds is not run again", ARG_STR, .to = &a.output },
        { "brief", 0, NULL, "lines of half the size: no token ids, recall of the whole run only", ARG_FLAG,
          .to = &a.brief },
        { "shard", 0, "I/N", "only part I of N, for job arrays; give each part a file of its own", ARG_STR,
          .to = &a.shard },
        { "merge", 0, NULL, "take the operands as results files and merge them into the output", ARG_FLAG,
          .to = &a.merge },
        { "json", 0, NULL, "print a summary as JSON", ARG_FLAG, .to = &a.json },
        { 0 },
    };
    const struct arg_spec spec = {
        .name = "eval",
        .usage = "eval [OPTIONS] -o FILE [MODEL...]",
        .summary = "Measures methods on tasks: every sample through dense attention and all methods, one "
                   "line of JSON for "
                   "each. Started again with the same file it goes on where it was.",
        .examples = { "saccade eval --task niah,cwe --length 1024,4096 --samples 20 -m quest -m snapkv "
                      "--sparsity 0.5,0.8,0.9 -o r.jsonl",
                      "saccade eval --task vt --samples 100 -m snapkv:capacity=256 --shard 3/8 -o "
                      "part3.jsonl model.gguf",
                      "saccade eval --merge -o all.jsonl part1.jsonl part2.jsonl" },
        .opts = opts,
        .operands = &a.models,
        .max_operands = ARG_MAX,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    char rest;
    if (a.shard && (sscanf(a.shard, "%d/%d%c", &a.shard_i, &a.shard_n, &rest) != 2 || a.shard_i < 1 ||
                    a.shard_n < a.shard_i))
        return args_fail(&spec, "--shard %s: expected I/N with I from 1 to N, as 3/8", a.shard);
    if (a.merge) return merge(&a);
    return study_main(&a);
}
