/* saccade trace: record a run to a file, say what is in one, check one. */
#include "cli.h"
#include "commands.h"
#include "json_out.h"
#include "offline.h"

#include <saccade/trace_file.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- record ---- */

static void show_written(void *ctx, double share)
{
    cli_progress("writing %s: %3.0f %%", (const char *)ctx, 100 * share);
}

/* Scores are off by `error` through q and as much through k: root mean squares, so weights by their sum's
 * root. */
static double weight_error(double error) { return sqrt(2) * error; }

static const char *precision_words(double error, bool exact, char words[80])
{
    if (exact) return "q and k exact";
    if (!(error > 0)) return "q and k as f16";
    snprintf(words, 80, "weights to %.2g %%", 100 * weight_error(error));
    return words;
}

/* The file follows the run: what is killed leaves what was whole by then. */
struct follow { const char *path; const struct sac_trace_save *save; struct sac_trace_writer *w; struct sac_err err; };

static bool follow_run(void *ctx, const struct sac_trace *t)
{
    struct follow *f = ctx;
    struct sac_trace_info i;
    sac_trace_info(t, &i);
    for (int k = 0; !f->w && !f->err.code && k < f->save->n_layers; k++)
        if (f->save->layer[k] >= i.shape.n_layers)
            sac_fail(&f->err, SAC_EARG, "--layers: there is no layer %d: the model has layers 0 to %d",
                     f->save->layer[k], i.shape.n_layers - 1);
    if (!f->w && (f->err.code || sac_trace_writer_open(&f->w, t, f->path, f->save, &f->err))) return false;
    return sac_trace_writer_more(f->w);
}

struct recording {
    struct setup_args a;
    const char *out;
    bool force, exact, small, no_values, json;
    struct arg_ints layers;
    int level;
    size_t most;                    /* SIZE_MAX: not said */
};

/* What was written, and whether it kept within what was asked for. */
static void say_written(const struct recording *r, double score_error)
{
    char words[80];
    struct stat st;
    long long bytes = stat(r->out, &st) == 0 ? (long long)st.st_size : 0;
    double limit = r->most != SIZE_MAX ? (double)r->most : SAC_TRACE_MOST;
    if (r->json)
        json_print(stdout,
                   json_pack("{s:s, s:s, s:I, s:f}", "schema", "saccade.trace/1", "file", r->out, "bytes",
                             (json_int_t)bytes, "weight_error", weight_error(score_error)),
                   true);
    else
        printf("%s  %.1f MB, %s\n", r->out, (double)bytes / 1e6, precision_words(score_error, r->exact, words));
    if (!r->exact && (double)bytes > limit && !args_common.quiet)
        fprintf(stderr,
                "saccade trace: %s: more than %.3g MB, though as rough as it gets: --small, --no-values, "
                "--layers and fewer methods make it smaller\n",
                r->out, limit / 1e6);
}

static int record_run(const struct recording *r)
{
    struct sac_err err = { SAC_OK, "" };
    struct offline run;
    double score_error = 0;
    struct sac_trace_save save = { .force = r->force,
                                   .exact = r->exact,
                                   .small = r->small,
                                   .most = r->most == SIZE_MAX ? 0 : r->most,
                                   .n_layers = r->layers.n,
                                   .layer = r->layers.v,
                                   .no_values = r->no_values,
                                   .level = r->level,
                                   .progress = show_written,
                                   .ctx = (void *)(uintptr_t)r->out,
                                   .error = &score_error };
    struct follow f = { r->out, &save, NULL, { SAC_OK, "" } };
    if (!offline_target(r->out, r->force, &err)) return cli_fail("trace", &err);
    enum sac_code stopped = offline_run_keep(&run, &r->a, &(struct offline_look){ follow_run, &f }, &err);
    if (stopped && !run.trace) {
        sac_trace_writer_drop(f.w);
        return cli_signal_exit(cli_fail("trace", f.err.code ? &f.err : &err));
    }
    enum sac_code code = f.err.code;
    if (!f.w && !code) code = sac_trace_writer_open(&f.w, run.trace, r->out, &save, &f.err);
    if (f.w) code = sac_trace_writer_end(f.w, stopped ? NULL : &cli_stop, &f.err);
    cli_progress_end();
    offline_free(&run);
    if (code) return cli_signal_exit(cli_fail("trace", &f.err));
    say_written(r, score_error);
    if (!stopped) return 0;
    sac_fail(&err, SAC_ECANCEL, "stopped before the run was complete; %s holds what there was", r->out);
    return cli_signal_exit(cli_fail("trace", &err));
}

static struct recording asked = { .a = SETUP_DEFAULTS, .out = "run.trace", .most = SIZE_MAX };
static struct arg_strs recorded;

static const struct arg_opt record_opts[] = {
    { "What to run", .kind = ARG_HEADING },
    SETUP_PROMPT_OPTS(asked.a),
    SETUP_RUN_OPTS(asked.a),
    { "no-kl", 0, NULL, "skip the pass that compares next-token distributions with dense", ARG_FLAG,
      .to = &asked.a.no_kl },
    { "The file", .kind = ARG_HEADING },
    { "output", 'o', "FILE", "the trace (default run.trace)", ARG_STR, .to = &asked.out },
    { "max-size", 0, "SIZE",
      "q, k, v as exactly as fits in SIZE, weights to 0.1 to 4 percent (default 200 million bytes)",
      ARG_SIZE, .to = &asked.most },
    { "exact", 0, NULL, "q, k, v as f32: weights to the last bit, three to ten times the size", ARG_FLAG,
      .to = &asked.exact },
    { "small", 0, NULL, "q, k, v as roughly as they come, weights to 4 percent, and no overviews",
      ARG_FLAG, .to = &asked.small },
    { "layers", 0, "L,...", "q, k, v of these layers only, such as 0,7; measures stay of all", ARG_INTS,
      &asked.layers, .min = 0, .max = 4096 },
    { "no-values", 0, NULL, "leave v out: maps and recall stay, exporting v does not", ARG_FLAG,
      .to = &asked.no_values },
    { "level", 0, "N", "compression, 1 fast to 19 small (default 3)", ARG_INT, &asked.level, .min = 1,
      .max = 19 },
    { "force", 0, NULL, "replace an existing file", ARG_FLAG, .to = &asked.force },
    { "json", 0, NULL, "print what was written as JSON", ARG_FLAG, .to = &asked.json },
    { 0 },
};
static const struct arg_spec record_spec = {
    "trace record",
    "trace record [OPTIONS] [MODEL]",
    "Runs a prompt or a task through dense attention and the methods you name, and records it: the trace "
    "opens in the "
    "explorer and in snapshot, on any machine, without the model.",
    { "saccade trace record --task niah --length 4096 --method quest -o niah.trace",
      "saccade trace record model.gguf --prompt @question.txt --method snapkv:sparsity=0.9 -o run.trace",
      "saccade niah.trace" },
    .opts = record_opts,
    .notes = "What is in it: the prompt and its tokens, what every head of every method reads, answers, "
             "measures, and "
             "q, k and v of each layer, from which any weight is computed again; lanes with the same "
             "prefill share "
             "them, other prefill methods are stored as differences to dense attention. q, k and v are "
             "rounded so "
             "that the file keeps within --max-size: `trace info` says how far weights are off for it "
             "(root mean "
             "square; 16K tokens of the bundled model: 0.14 percent for methods that act in decode, 4 "
             "with three prefill methods as well). --exact "
             "rounds nothing.\n\n"
             "The file grows while the run goes on, as FILE.partial. Ctrl-C ends the run and keeps what "
             "there is; a "
             "run that is killed leaves FILE.partial, which opens as far as it goes.",
    .operands = &recorded,
    .max_operands = 1,
};

static int record(int argc, char **argv)
{
    int rc = args_parse(&record_spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    if (recorded.n) asked.a.model = recorded.v[0];
    if (asked.most == 0) return args_fail(&record_spec, "--max-size 0: give a size, such as 100M");
    if (asked.exact + asked.small + (asked.most != SIZE_MAX) > 1)
        return args_fail(&record_spec, "--exact, --small and --max-size exclude each other");
    return record_run(&asked);
}

/* ---- info ---- */

static json_t *info_json(const struct sac_trace *t, const struct sac_trace_report *r)
{
    struct sac_trace_info i;
    sac_trace_info(t, &i);
    char hash[2][20];
    snprintf(hash[0], sizeof hash[0], "%016llx", (unsigned long long)i.model_hash);
    snprintf(hash[1], sizeof hash[1], "%016llx", (unsigned long long)i.prompt_hash);
    json_t *lanes = json_array(), *chunks = json_object();
    for (int l = 0; l < i.n_lanes; l++) json_array_append_new(lanes, json_lane(t, l));
    for (int k = 0; k < r->n_kinds; k++)
        json_object_set_new(chunks, r->kind[k].name, json_pack("{s:i, s:I, s:I}", "n", r->kind[k].n, "bytes",
                            (json_int_t)r->kind[k].bytes, "raw", (json_int_t)r->kind[k].raw));
    return json_pack("{s:s, s:i, s:I, s:b, s:{s:s, s:s, s:s, s:s, s:i, s:i, s:i}, s:{s:i, s:s}, s:{s:s, s:i, "
                     "s:i, s:I, s:o}, "
                     "s:o, s:o, s:f, s:b}",
                     "schema", "saccade.trace/1", "version", r->version, "bytes", (json_int_t)r->bytes, "cut",
                     r->cut, "model", "name", i.model, "arch", i.arch, "type", i.file_type, "hash", hash[0],
                     "layers", i.shape.n_layers, "heads", i.shape.n_heads, "kv_heads", i.shape.n_kv_heads,
                     "prompt", "tokens", i.n_prompt, "hash", hash[1], "task", "name", i.task, "length",
                     i.length, "sample", i.sample, "seed", (json_int_t)i.seed, "gold",
                     json_text(i.gold, strlen(i.gold)), "lanes", lanes, "chunks", chunks, "weight_error",
                     weight_error(r->error), "exact", r->exact);
}

static void info_text(const struct sac_trace *t, const struct sac_trace_report *r, const char *path)
{
    struct sac_trace_info i;
    struct sac_lane l;
    char words[80];
    sac_trace_info(t, &i);
    printf("trace   %s, format %d, %.1f MB (%.1f MB unpacked)%s\n", path, r->version, (double)r->bytes / 1e6,
           (double)r->raw_bytes / 1e6, r->cut ? ", cut short" : "");
    printf("model   %s, %s, %s, hash %016llx\n", i.model, i.arch, i.file_type,
           (unsigned long long)i.model_hash);
    printf("shape   %d layers, %d query heads over %d KV heads of %d\n", i.shape.n_layers, i.shape.n_heads,
           i.shape.n_kv_heads, i.shape.head_dim);
    if (r->arrays) printf("arrays  %s\n", precision_words(r->error, r->exact, words));
    printf("prompt  %d tokens, hash %016llx\n", i.n_prompt, (unsigned long long)i.prompt_hash);
    if (*i.task)
        printf("task    %s, length %d, sample %d, seed %llu\n", i.task, i.length, i.sample,
               (unsigned long long)i.seed);
    if (*i.gold) printf("gold    %s\n", i.gold);
    for (int k = 0; k < i.n_lanes; k++) {
        sac_trace_lane(t, k, &l);
        int layers = 0;
        for (int j = 0; j < i.shape.n_layers; j++) layers += sac_trace_n_rows(t, k, j) > 0;
        printf("lane %d  %s: %d of %d layers, %d tokens%s", k, l.spec, layers, i.shape.n_layers, l.n_steps,
               l.score >= 0 ? "" : "\n");
        if (l.score >= 0) printf(", score %.2f\n", l.score);
    }
}

static int info(int argc, char **argv)
{
    struct arg_strs files = { { NULL }, 0 };
    bool json = false;
    const struct arg_opt opts[] = { { "json", 0, NULL, "print JSON", ARG_FLAG, .to = &json }, { 0 } };
    const struct arg_spec spec = {
        "trace info",
        "trace info [--json] FILE",
        "Says what a recorded run holds.",
        { "saccade trace info run.trace", "saccade trace info --json run.trace",
          "saccade trace check run.trace" },
        .opts = opts,
        .operands = &files,
        .min_operands = 1,
        .max_operands = 1,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    struct sac_err err = { SAC_OK, "" };
    struct sac_trace_report r;
    struct sac_trace *t;
    if (sac_trace_check(files.v[0], &r, &err) != SAC_OK || sac_trace_open(&t, files.v[0], &err) != SAC_OK)
        return cli_fail("trace", &err);
    if (json) json_print(stdout, info_json(t, &r), true);
    else info_text(t, &r, files.v[0]);
    sac_trace_release(t);
    return 0;
}

/* ---- check ---- */

static bool is_partial(const char *path)
{
    size_t n = strlen(path);
    return n > 8 && !strcmp(path + n - 8, ".partial");
}

static int check(int argc, char **argv)
{
    struct arg_strs files = { { NULL }, 0 };
    const struct arg_opt opts[] = { { 0 } };
    const struct arg_spec spec = {
        "trace check",
        "trace check FILE...",
        "Reads every part of recorded runs and their checksums. Ends with 3 when one is damaged or cut "
        "short.",
        { "saccade trace check run.trace", "saccade trace check *.trace", "saccade trace info run.trace" },
        .opts = opts,
        .operands = &files,
        .min_operands = 1,
        .max_operands = ARG_MAX,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    int worst = 0;
    for (int i = 0; i < files.n; i++) {
        struct sac_err err = { SAC_OK, "" };
        struct sac_trace_report r;
        if (sac_trace_check(files.v[i], &r, &err) != SAC_OK) worst = cli_fail("trace", &err);
        else if (r.cut) {
            printf("%s: cut short: %d whole chunks, %zu of %zu bytes can be read; it opens as far as that%s\n",
                   files.v[i], r.n_chunks, r.good_bytes, r.bytes,
                   is_partial(files.v[i]) ? " (what a run that was killed leaves has .partial in its name)" : "");
            worst = 3;
        } else printf("%s: ok, %d chunks, %.1f MB\n", files.v[i], r.n_chunks, (double)r.bytes / 1e6);
    }
    return worst;
}

int cmd_trace(int argc, char **argv)
{
    static const struct { const char *name; int (*run)(int, char **); } parts[] = {
        { "record", record }, { "info", info }, { "check", check } };
    static const char *const names[] = { "record", "info", "check" };
    for (size_t i = 0; argc > 1 && i < sizeof parts / sizeof *parts; i++)
        if (!strcmp(argv[1], parts[i].name)) return parts[i].run(argc - 1, argv + 1);
    struct arg_strs what = { { NULL }, 0 };
    const struct arg_opt opts[] = { { 0 } };
    const struct arg_spec spec = {
        "trace",
        "trace record|info|check ...",
        "Recorded runs: a file that opens in the explorer and in snapshot without the model.",
        { "saccade trace record --task niah --length 4096 --method quest -o niah.trace",
          "saccade trace info niah.trace", "saccade trace check niah.trace" },
        .opts = opts,
        .notes =
            "saccade trace record --help, saccade trace info --help and saccade trace check --help say more.",
        .operands = &what,
        .max_operands = ARG_MAX,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    const char *near = what.n ? sac_nearest(what.v[0], names, 3) : NULL;
    if (what.n)
        return args_fail(&spec, "no part is called %s%s%s%s", what.v[0], near ? "; did you mean " : "",
                         near ? near : "", near ? "?" : "");
    return args_fail(&spec, "say record, info or check");
}
