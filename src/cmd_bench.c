/* saccade bench: tokens a second of prefill and decode, dense and by method, beside what the machine can do.
 */
#include "args.h"
#include "cli.h"
#include "commands.h"
#include "json_out.h"
#include "setup.h"

#include <saccade/bench.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct output {
    FILE *text;
    json_t *rows, *tops;
    struct sac_bench_row *row;      /* of all thread counts so far */
    int n, cap;
    bool full;                      /* no memory for a row */
};

static json_t *row_json(const struct sac_bench_row *r, double of_ceiling, double efficiency)
{
    json_t *o = json_pack("{s:s, s:s, s:i}", "method", r->method, "phase", r->decode ? "decode" : "prefill",
                          "tokens", r->tokens);
    const struct { const char *name; double v; } field[] = {
        { "tok_s", r->tok_s },
        { "ratio_to_dense", r->ratio_to_dense },
        { "select_share", r->select_share },
        { "gflops", r->gflops },
        { "gbytes_s", r->gbytes_s },
        { "attend_share", r->attend_share },
        { "select_to_dense_attention", r->select_to_dense },
        { "attend_to_density", r->attend_to_density },
        { "bare_read_to_density", r->bare_to_density },
        { "bare_read_share", r->bare_share },
        { "evict_to_dense_attention", r->evict_to_dense },
        { "of_ceiling", of_ceiling },
        { "seconds", r->seconds },
        { "best_seconds", r->best_seconds },
        { "select_seconds", r->select_seconds },
        { "attend_seconds", r->attend_seconds },
        { "thread_efficiency", efficiency },
    };
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        json_object_set_new(o, field[i].name, json_number(field[i].v));
    json_object_set_new(o, "density", json_density(&r->density));
    json_object_set_new(o, "threads", json_integer(r->threads));
    return o;
}

static void cell(FILE *f, double v, int width, int decimals, const char *unit)
{
    if (isfinite(v)) fprintf(f, " %*.*f%s", width, decimals, v, unit);
    else fprintf(f, " %*s", width + (int)strlen(unit), "-");
}

/* Speed-up over the first thread count, divided by the ratio of threads. */
static double efficiency(const struct output *o, int i)
{
    const struct sac_bench_row *r = &o->row[i];
    for (const struct sac_bench_row *s = o->row; s < r; s++)
        if (s->decode == r->decode && s->tokens == r->tokens && !strcmp(s->method, r->method))
            return s->seconds / r->seconds * s->threads / r->threads;
    return (double)NAN;
}

static void row_text(FILE *f, const struct sac_bench_row *r, double of_ceiling, double e)
{
    fprintf(f, "%-34s %-7s %7d %3d", r->method, r->decode ? "decode" : "prefill", r->tokens, r->threads);
    cell(f, r->tok_s, 9, r->tok_s < 100 ? 1 : 0, "");
    cell(f, r->ratio_to_dense, 6, 2, "x");
    cell(f, r->decode ? r->density.read : r->density.work, 6, 3, "");
    cell(f, 100 * r->select_share, 5, 1, "%");
    cell(f, 100 * r->attend_share, 5, 1, "%");
    cell(f, 100 * r->select_to_dense, 5, 1, "%");
    cell(f, r->attend_to_density, 5, 2, "");
    cell(f, r->bare_to_density, 5, 2, "");
    cell(f, 100 * r->evict_to_dense, 5, 1, "%");
    cell(f, r->gflops, 8, 1, "");
    cell(f, r->gbytes_s, 7, 1, "");
    cell(f, 100 * of_ceiling, 4, 0, "%");
    cell(f, 100 * e, 5, 0, "%");
    fputc('\n', f);
}

/* Told when all is done, as the ceilings are known then: until that a line of progress says what came out. */
static void on_row(void *ctx, const struct sac_bench_row *r)
{
    struct output *o = ctx;
    if (o->n == o->cap) {
        int cap = o->cap ? 2 * o->cap : 64;
        struct sac_bench_row *more = realloc(o->row, (size_t)cap * sizeof *more);
        o->full |= !more;
        if (!more) return;
        o->row = more;
        o->cap = cap;
    }
    o->row[o->n++] = *r;
    cli_progress("%s, %s, %d tokens, %d thread%s: %.*f tokens/s", r->method, r->decode ? "decode" : "prefill",
                 r->tokens, r->threads, r->threads == 1 ? "" : "s", r->tok_s < 100 ? 1 : 0, r->tok_s);
}

static json_t *ceilings_json(const struct sac_ceilings *c)
{
    return json_pack("{s:s, s:i, s:f, s:f, s:o, s:f}", "cpu", c->cpu, "threads", c->threads, "f32_gflops",
                     c->f32_gflops, "fast_gflops", c->fast_gflops, "int_gops",
                     c->int_gops > 0 ? json_real(c->int_gops) : json_null(), "read_gbytes_s", c->read_gbytes);
}

static void ceilings_text(FILE *f, const struct sac_ceilings *c)
{
    fprintf(f, "%s, %d thread%s: f32 %.0f GFLOP/s, fastest floats %.0f GFLOP/s, ", c->cpu, c->threads,
            c->threads == 1 ? "" : "s", c->f32_gflops, c->fast_gflops);
    if (c->int_gops > 0) fprintf(f, "integers %.0f Gop/s, ", c->int_gops);
    fprintf(f, "memory %.1f GB/s\n", c->read_gbytes);
}

/* Rows from `first` on, which are of one thread count, below their ceilings. */
static void tell(struct output *o, const struct sac_ceilings *top, int first)
{
    cli_progress_end();
    if (o->tops) json_array_append_new(o->tops, ceilings_json(top));
    if (o->text) {
        ceilings_text(o->text, top);
        fprintf(o->text, "%-34s %-7s %7s %3s %9s %7s %6s %6s %6s %6s %5s %5s %6s %8s %7s %5s %6s\n",
                "method", "phase", "tokens", "thr", "tok/s", "dense", "densit", "select", "attend", "sel/dA",
                "at/rd", "bare", "ev/dA", "GFLOP/s", "GB/s", "ceil", "eff");
    }
    for (int i = first; i < o->n; i++) {
        double share = sac_bench_of_ceiling(&o->row[i], top), e = efficiency(o, i);
        if (o->rows) json_array_append_new(o->rows, row_json(&o->row[i], share, e));
        if (o->text) row_text(o->text, &o->row[i], share, e);
    }
    if (o->text) fflush(o->text);
}

struct bench_args {
    const char *model;
    struct arg_strs methods;
    struct arg_ints prefill, context, threads;
    int decode, repeats, kv;
    uint64_t seed;
    bool strict, cold, no_reference;
};

/* One thread count. */
static bool measure(const struct bench_args *a, int threads, struct output *out, struct sac_err *err)
{
    char path[1024];
    struct sac_model *m = NULL;
    struct sac_ceilings top;
    struct sac_model_opts mo = { .threads = threads, .kv = (enum sac_kv_type)a->kv, .strict = a->strict };
    struct sac_bench_opts bo = { .prefill = a->prefill.v,
                                 .n_prefill = a->prefill.n,
                                 .context = a->context.v,
                                 .n_context = a->context.n,
                                 .decode = a->decode,
                                 .spec = a->methods.v,
                                 .n_spec = a->methods.n,
                                 .repeats = a->repeats,
                                 .seed = a->seed,
                                 .cold = a->cold,
                                 .no_reference = a->no_reference,
                                 .cancel = &cli_stop };
    int first = out->n;
    bool ok = cli_model(a->model, path, sizeof path, err) && sac_model_open(&m, path, &mo, err) == SAC_OK;
    if (ok) {
        ok = sac_bench(m, &bo, &top, on_row, out, err) == SAC_OK;
        if (top.f32_gflops > 0) tell(out, &top, first);
    }
    if (ok && out->full) ok = !sac_fail(err, SAC_ENOMEM, "no memory for what was measured");
    sac_model_close(m);
    return ok;
}

static bool check_args(struct bench_args *a, struct sac_err *err)
{
    static const int lengths[] = { 512, 4096 }, contexts[] = { 2500 };
    if (!a->prefill.n && !a->decode) {
        memcpy(a->prefill.v, lengths, sizeof lengths);
        a->prefill.n = 2;
        a->decode = 32;
    }
    if (a->decode && !a->context.n) {
        memcpy(a->context.v, contexts, sizeof contexts);
        a->context.n = 1;
    }
    for (int i = 0; i < a->prefill.n; i++)
        if (a->prefill.v[i] < 1)
            return sac_fail(err, SAC_EARG, "--prefill %d: a prompt has at least one token", a->prefill.v[i]),
                   false;
    for (int i = 0; i < a->context.n; i++)
        if (a->context.v[i] < 0)
            return sac_fail(err, SAC_EARG, "--context %d: cannot be negative", a->context.v[i]), false;
    for (int i = 0; i < a->threads.n; i++)
        if (a->threads.v[i] < 1 || a->threads.v[i] > 256)
            return sac_fail(err, SAC_EARG, "--threads %d: from 1 to 256", a->threads.v[i]), false;
    for (int i = 0; i < a->methods.n; i++) {
        struct sac_spec spec;
        if (sac_spec_parse(&spec, a->methods.v[i], err) != SAC_OK) return false;
    }
    if (!a->threads.n) a->threads = (struct arg_ints){ { 0 }, 1 };
    return true;
}

int cmd_bench(int argc, char **argv)
{
    struct arg_strs files = { { NULL }, 0 };
    struct bench_args a = { .repeats = 3, .kv = SAC_KV_F16, .seed = 43 };
    const char *out_path = "-";
    bool json = false;
    const struct arg_opt opts[] = {
        { "prefill", 0, "N,M", "prompt lengths to prefill (default 512,4096 where nothing is asked)",
          ARG_INTS, .to = &a.prefill },
        { "decode", 0, "N", "tokens to decode at each context (default 32 where nothing is asked)", ARG_INT,
          &a.decode, .min = 1, .max = 1 << 20 },
        { "context", 0, "C,D", "tokens in the cache when decoding starts (default 2500)", ARG_INTS,
          .to = &a.context },
        { "method", 'm', "SPEC", "method to measure beside dense, may be repeated", ARG_STRS,
          .to = &a.methods },
        { "repeats", 0, "N", "prefills of which the median counts (default 3)", ARG_INT, &a.repeats, .min = 1,
          .max = 15 },
        { "cold", 0, NULL, "no warm-up before the prefills, for lengths where one takes minutes", ARG_FLAG,
          .to = &a.cold },
        { "no-reference", 0, NULL, "no dense prefills: where they take minutes", ARG_FLAG,
          .to = &a.no_reference },
        { "threads", 't', "N,M", "thread counts, each in turn (default: all cores)", ARG_INTS,
          .to = &a.threads },
        { "kv", 0, "TYPE", "how keys and values are kept: f32, f16 or bf16 (default f16)", ARG_CHOICE,
          .to = &a.kv, .choices = setup_kv_types },
        { "strict", 0, NULL, "f32 arithmetic everywhere, slower", ARG_FLAG, .to = &a.strict },
        { "seed", 's', "N", "seed of the prompt and of randomised methods (default 43)", ARG_U64,
          .to = &a.seed },
        { "json", 0, NULL, "print JSON", ARG_FLAG, .to = &json },
        { "output", 'o', "FILE", "write to FILE instead of standard output", ARG_STR, .to = &out_path },
        { 0 },
    };
    const struct arg_spec spec = {
        "bench",
        "bench [OPTIONS] [MODEL]",
        "Measures prefill and decode, dense and with methods: medians after a warm-up, ratios to dense, and "
        "shares of what "
        "the machine can do. Without MODEL: the bundled one.\nsel/dA: selection over the time of dense "
        "attention; "
        "at/rd: attention over (density x dense attention), 1 where skipped work costs nothing; bare: of "
        "decode, what at/rd would be if attention did nothing but read: a plain loop over such lists, to the "
        "same loop over the whole cache (keys that lie apart come slower); ev/dA: "
        "choosing what eviction keeps, over attention of the dense prefill; ceil: of prefill, the time that "
        "its products would take at the rates named first (linear layers and attention each at that of the "
        "unit that does them, selection and all else not counted) over the time it took; of decode, GB/s "
        "over those of memory. These rates are measured at the start and again after every round of prefills "
        "and every decode, and the best counts, so the table comes when all is measured.",
        { "saccade bench --prefill 512,4096 --decode 64 --context 0,2500",
          "saccade bench --prefill 16384 --method vertical_slash:sparsity=0.9 --json",
          "saccade bench --prefill 4096 --threads 1,2" },
        .opts = opts,
        .operands = &files,
        .max_operands = 1,
        .notes = "SACCADE_CPU=scalar|avx2|avx512|vnni|bf16|amx|neon limits the instructions used, to measure "
                 "slower machines.",
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    struct sac_err err = { SAC_OK, "" };
    a.model = files.n ? files.v[0] : NULL;
    FILE *out = check_args(&a, &err) ? cli_create(out_path, &err) : NULL;
    if (!out) return cli_fail("bench", &err);
    cli_catch_signals();
    struct output o = { .text = json ? NULL : out, .rows = json ? json_array() : NULL,
                        .tops = json ? json_array() : NULL };
    bool ok = true;
    for (int i = 0; ok && i < a.threads.n; i++) ok = measure(&a, a.threads.v[i], &o, &err);
    if (json) {
        json_t *doc = json_pack("{s:s, s:s, s:b, s:i, s:o, s:o}", "schema", "saccade.bench/1", "kv",
                                setup_kv_types[a.kv], "warm_up", !a.cold, "repeats", a.repeats, "ceilings",
                                o.tops, "rows", o.rows);
        json_print(out, doc, true);
    }
    free(o.row);
    cli_close(out, out_path, &err);
    return err.code ? cli_signal_exit(cli_fail("bench", &err)) : 0;
}
