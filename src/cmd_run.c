/* saccade run: one prompt through several methods, without a screen: answers, scores, recall, densities,
 * timings. */
#include "cli.h"
#include "commands.h"
#include "json_out.h"
#include "measures_out.h"
#include "setup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- the table ---- */

/* A number in `width` columns, or a dash. */
static void cell(FILE *f, double v, int width, int decimals)
{
    if (isfinite(v)) fprintf(f, " %*.*f", width, decimals, v);
    else fprintf(f, " %*s", width, "-");
}

static void print_answer(FILE *f, const char *label, const char *text)
{
    fprintf(f, "%s\n    ", label);
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '\n') fputs("\n    ", f);
        else if ((c < 32 && c != '\t') || c == 127) fprintf(f, "\\x%02x", c);
        else fputc(c, f);
    }
    fputc('\n', f);
}

static void print_header(FILE *f, const struct setup *s)
{
    const struct sac_model_info *mi = sac_model_info(s->model);
    fprintf(f, "model   %s, %s, %s, %d threads\n", mi->name, mi->arch, mi->file_type, mi->n_threads);
    if (s->has_sample)
        fprintf(f, "prompt  %s, sample %d, seed %llu: %d tokens of %d asked for\n", s->sample.spec,
                s->sample.index, (unsigned long long)s->sample.seed, s->tokens.n, s->sample.length);
    else
        fprintf(f, "prompt  %d tokens\n", s->tokens.n);
    if (mi->window > 0)
        fprintf(f, "window  %d tokens in %d of %d layers, under every method\n", mi->window,
                mi->n_window_layers, mi->shape.n_layers);
}

static void print_text(FILE *f, const struct setup *s, const struct sac_trace *t)
{
    print_header(f, s);
    int width = 24, n = sac_trace_n_lanes(t);
    struct sac_lane l;
    for (int i = 0; i < n; i++) {
        sac_trace_lane(t, i, &l);
        if ((int)strlen(l.spec) > width) width = (int)strlen(l.spec);
    }
    fprintf(f, "\n%-*s  score   work   read  recall  oracle   gold     KL  prefill   decode      KV\n", width,
            "method");
    fprintf(f, "%-*s         dens   dens    mass    mass   kept   nats    tok/s    tok/s     MiB\n", width,
            "");
    for (int i = 0; i < n; i++) {
        sac_trace_lane(t, i, &l);
        fprintf(f, "%-*s ", width, l.spec);
        cell(f, l.score, 5, 2);
        cell(f, l.prefill.work, 6, 3);
        cell(f, l.decode.read, 6, 3);
        cell(f, l.recall.mass, 7, 3);
        cell(f, l.recall.oracle, 7, 3);
        cell(f, l.recall.evidence, 6, 3);
        cell(f, l.kl, 6, 3);
        cell(f, l.shared_prefill || !(l.prefill_tok_s > 0) ? (double)NAN : l.prefill_tok_s, 8, 0);
        cell(f, l.decode_tok_s > 0 ? l.decode_tok_s : (double)NAN, 8, 0);
        cell(f, l.kv_bytes ? (double)l.kv_bytes / (1024.0 * 1024.0) : (double)NAN, 7, 1);
        fprintf(f, "%s%s\n",
                l.state == SAC_LANE_DONE     ? ""
                : l.state == SAC_LANE_FAILED ? "  failed: "
                                             : "  stopped",
                l.state == SAC_LANE_FAILED ? l.error : "");
    }
    fputs("\ndens: share of the causal cells computed in prefill, and of the cache read in a decode step. "
          "recall, oracle:\n"
          "dense attention mass covered by the keys read, and the most that many keys could cover. gold "
          "kept: share of\n"
          "the answer's evidence tokens that are read. KL: against dense, on the dense answer. A dash: does "
          "not apply;\n"
          "a prefill taken over from dense has no rate of its own.\n\n",
          f);
    for (int i = 0; i < n; i++) {
        sac_trace_lane(t, i, &l);
        if (*l.note) fprintf(f, "note: %s\n%s", l.note, i + 1 == n ? "\n" : "");
    }
    if (s->has_sample) print_answer(f, "gold", s->sample.gold);
    for (int i = 0; i < n; i++) {
        char label[300];
        sac_trace_lane(t, i, &l);
        snprintf(label, sizeof label, "%s%s%s%s%s", l.spec, *l.stop ? " (" : "",
                 !strcmp(l.stop, "eos")      ? "ended by itself"
                 : !strcmp(l.stop, "length") ? "cut at the limit"
                                             : l.stop,
                 *l.stop ? ")" : "",
                 isfinite(l.score) && l.score < 1
                     ? l.parsed ? "  WRONG" : "  WRONG, not in the form asked for"
                     : "");
        print_answer(f, label, l.answer);
    }
}

/* ---- JSON ---- */

struct more { bool measures, heads; int batch; };

static json_t *run_json(const struct setup *s, const struct setup_args *a, const struct more *more,
                        const struct sac_trace *t)
{
    const struct sac_model_info *mi = sac_model_info(s->model);
    struct sac_trace_info ti;
    sac_trace_info(t, &ti);
    char hash[2][20];
    snprintf(hash[0], sizeof hash[0], "%016llx", (unsigned long long)ti.model_hash);
    snprintf(hash[1], sizeof hash[1], "%016llx", (unsigned long long)ti.prompt_hash);
    json_t *lanes = json_array();
    for (int i = 0; i < sac_trace_n_lanes(t); i++) {
        json_t *lane = json_lane(t, i);
        measures_json(lane, t, i, more->batch, more->heads);
        json_array_append_new(lanes, lane);
    }
    json_t *task = json_null();
    if (s->has_sample)
        task = json_pack("{s:s, s:o, s:i, s:I, s:i, s:s, s:s}", "name", s->sample.task->name, "gold",
                         json_text(s->sample.gold, strlen(s->sample.gold)), "length", s->sample.length,
                         "seed", (json_int_t)s->sample.seed, "sample", s->sample.index, "spec",
                         s->sample.spec, "style", setup_styles[s->sample.style]);
    return json_pack("{s:s, s:o, s:o, s:s, s:{s:i, s:s, s:b}, s:o, s:i, s:I, s:i, s:o}", "schema",
                     "saccade.run/1", "model", json_text(mi->name, strlen(mi->name)), "model_file",
                     json_text(mi->path, strlen(mi->path)), "model_hash", hash[0], "prompt", "tokens",
                     s->tokens.n, "hash", hash[1], "raw", a->raw, "task", task, "threads", mi->n_threads,
                     "seed", (json_int_t)a->seed, "max_tokens", s->max_tokens, "lanes", lanes);
}

/* ---- the run ---- */

static void show_progress(const struct sac_trace *t)
{
    int n = sac_trace_n_lanes(t), done = 0;
    struct sac_lane l, now = { 0 };
    for (int i = 0; i < n; i++) {
        sac_trace_lane(t, i, &l);
        if (l.state >= SAC_LANE_DONE) done++;
        else if (l.state != SAC_LANE_QUEUED && !now.spec[0]) now = l;
    }
    struct sac_trace_info ti;
    sac_trace_info(t, &ti);
    if (now.state == SAC_LANE_PREFILL)
        cli_progress("%d/%d %.60s  prefill: layer %d of %d", done + 1, n, now.spec, now.prefill_layer,
                     ti.shape.n_layers);
    else if (now.state == SAC_LANE_DECODE)
        cli_progress("%d/%d %.60s  token %d of at most %d", done + 1, n, now.spec, now.n_steps,
                     now.max_steps);
    else
        cli_progress("%d/%d done, measuring", done, n);
}

/* Runs to the end, or until Ctrl-C; what was computed stays. */
static enum sac_code run_job(struct sac_job *job, struct sac_err *err)
{
    enum sac_code rc = sac_job_start(job, err);
    if (rc) return rc;
    bool stopped = false;
    const struct timespec nap = { 0, 20 * 1000 * 1000 };
    while (sac_job_running(job)) {
        if (atomic_load(&cli_stop) && !stopped) {
            sac_job_stop(job);
            stopped = true;
        }
        show_progress(sac_job_trace(job));
        nanosleep(&nap, NULL);
    }
    cli_progress_end();
    return SAC_OK;
}

/* --expect and --fail-under: 5 when a lane falls short, with a line about each. */
static int checks(const struct sac_trace *t, const char *expect, double fail_under)
{
    int rc = 0;
    for (int i = 0; i < sac_trace_n_lanes(t); i++) {
        struct sac_lane l;
        sac_trace_lane(t, i, &l);
        if (expect && !strstr(l.answer, expect)) {
            fprintf(stderr, "saccade run: %s: the answer does not contain \"%s\"\n", l.spec, expect);
            rc = 5;
        }
        if (isfinite(fail_under) && !(l.score >= fail_under)) {
            fprintf(stderr, "saccade run: %s: score %.3g is under %.3g\n", l.spec, l.score, fail_under);
            rc = 5;
        }
    }
    return rc;
}

/* 1 when a lane failed, with its reason. */
static int failed_lanes(const struct sac_trace *t)
{
    int rc = 0;
    for (int i = 0; i < sac_trace_n_lanes(t); i++) {
        struct sac_lane l;
        sac_trace_lane(t, i, &l);
        if (l.state != SAC_LANE_FAILED) continue;
        fprintf(stderr, "saccade run: %s: %s\n", l.spec, l.error);
        rc = 1;
    }
    return rc;
}

int cmd_run(int argc, char **argv)
{
    struct setup_args a = SETUP_DEFAULTS;
    struct arg_strs model = { { NULL }, 0 };
    const char *out_path = "-", *expect = NULL;
    bool json = false;
    struct more more = { false, false, 1 };
    double fail_under = (double)NAN;
    const struct arg_opt opts[] = {
        { "What to run", .kind = ARG_HEADING },
        SETUP_PROMPT_OPTS(a),
        { "How", .kind = ARG_HEADING },
        SETUP_RUN_OPTS(a),
        SETUP_LIMIT_OPTS(a),
        { "no-recall", 0, NULL, "answers and timings only: record nothing, measure nothing", ARG_FLAG,
          .to = &a.no_recall },
        { "no-kl", 0, NULL, "skip the pass that compares next-token distributions with dense", ARG_FLAG,
          .to = &a.no_kl },
        { "What comes out", .kind = ARG_HEADING },
        { "json", 0, NULL, "print JSON", ARG_FLAG, .to = &json },
        { "measures", 0, NULL, "print every measure of every method below the table", ARG_FLAG,
          .to = &more.measures },
        { "heads", 0, NULL, "with --json: the measures of each query head too", ARG_FLAG, .to = &more.heads },
        { "batch", 0, "N", "batch of the modelled cost (default 1)", ARG_INT, &more.batch, .min = 1,
          .max = 4096 },
        { "output", 'o', "FILE", "write to FILE instead of standard output", ARG_STR, .to = &out_path },
        { "expect", 0, "TEXT", "end with 5 unless every answer contains TEXT", ARG_STR, .to = &expect },
        { "fail-under", 0, "S", "end with 5 when a score is below S", ARG_DOUBLE, .to = &fail_under },
        { 0 },
    };
    const struct arg_spec spec = {
        "run",
        "run [OPTIONS] [MODEL]",
        "Runs a prompt or a task through dense attention and the methods you name, and prints answers, "
        "scores, "
        "recall, densities and timings. Without MODEL the bundled one; with neither prompt nor task a needle "
        "task under three methods.",
        { "saccade run",
          "saccade run --task niah --length 8192 --method quest:sparsity=0.9 --method snapkv --json",
          "saccade run model.gguf --prompt @question.txt --method vertical_slash --max-tokens 200" },
        .opts = opts,
        .operands = &model,
        .max_operands = 1,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    if (model.n) a.model = model.v[0];
    if (!a.prompt && !a.task && !a.methods.n) setup_demo(&a);

    struct sac_err err = { SAC_OK, "" };
    struct setup s = { 0 };
    struct sac_job *job = NULL;
    cli_catch_signals();
    if (!cli_writable(out_path, &err) || setup_open(&s, &a, &err) != SAC_OK) return cli_fail("run", &err);
    if (setup_job(&job, &s, &a, &err) == SAC_OK && run_job(job, &err) == SAC_OK) {
        const struct sac_trace *t = sac_job_trace(job);
        FILE *out = cli_create(out_path, &err);
        if (out) {
            if (json) json_print(out, run_json(&s, &a, &more, t), true);
            else print_text(out, &s, t);
            if (!json && more.measures) measures_print(out, t, more.batch);
            cli_close(out, out_path, &err);
        }
        rc = failed_lanes(t);
        if (!rc) rc = checks(t, expect, fail_under);
        rc = cli_signal_exit(rc);
    }
    sac_job_free(job);
    setup_close(&s);
    return err.code ? cli_fail("run", &err) : rc < 0 ? 1 : rc;
}
