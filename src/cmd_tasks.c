/* saccade tasks: the table of tasks, and one sample as the model would get it.
 *
 * A sample is shown with its answer and its evidence, each piece with bytes and tokens of the prompt; as JSON
 * it can feed other programs. */
#include "args.h"
#include "cli.h"
#include "commands.h"
#include "json_out.h"

#include <saccade/task.h>

#include <stdlib.h>
#include <string.h>

static int list_text(void)
{
    int n;
    const struct sac_task *const *t = sac_tasks(&n);
    printf("%-16s %-12s %-11s %-6s %s\n", "task", "metric", "dispersion", "scope", "asks for");
    for (int i = 0; i < n; i++) {
        printf("%-16s %-12s %-11s %-6s %s\n", t[i]->name, t[i]->metric, t[i]->dispersion, t[i]->scope,
               t[i]->summary);
        for (int p = 0; p < t[i]->n_params; p++)
            printf("    %s=%g (compact style %g): %s, %g to %g\n", t[i]->params[p].name, t[i]->params[p].def,
                   sac_task_default(t[i], p, SAC_STYLE_COMPACT), t[i]->params[p].help, t[i]->params[p].min,
                   t[i]->params[p].max);
        if (t[i]->needs_file) puts("    reads its samples from --file");
    }
    return 0;
}

static int list_json(void)
{
    int n;
    const struct sac_task *const *t = sac_tasks(&n);
    json_t *all = json_array();
    for (int i = 0; i < n; i++) {
        json_t *params = json_array();
        for (int p = 0; p < t[i]->n_params; p++)
            json_array_append_new(params,
                                  json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "name", t[i]->params[p].name,
                                            "help", t[i]->params[p].help, "default", t[i]->params[p].def,
                                            "compact", sac_task_default(t[i], p, SAC_STYLE_COMPACT), "min",
                                            t[i]->params[p].min, "max", t[i]->params[p].max));
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:o}", "name", t[i]->name,
                                             "title", t[i]->title, "metric", t[i]->metric, "dispersion",
                                             t[i]->dispersion, "scope", t[i]->scope, "summary", t[i]->summary,
                                             "needs_file", (int)t[i]->needs_file, "params", params));
    }
    return json_print(stdout, json_pack("{s:s, s:o}", "schema", "saccade.tasks/1", "tasks", all), true) ? 0
                                                                                                        : 1;
}

/* Tokens that overlap a stretch of bytes of the rendered text. */
static struct sac_span token_span(const struct sac_tokens *t, size_t lo, size_t hi)
{
    struct sac_span out = { t->n, 0 };
    for (int i = 0; i < t->n; i++)
        if ((size_t)t->span[i].lo < hi && (size_t)t->span[i].hi > lo) {
            if (i < out.lo) out.lo = i;
            out.hi = i + 1;
        }
    return out.lo < out.hi ? out : (struct sac_span){ 0, 0 };
}

static int show_json(const struct sac_sample *s, const struct sac_tokens *t, size_t at)
{
    json_t *ev = json_array(), *alt = json_array();
    for (int i = 0; i < s->n_evidence; i++) {
        struct sac_span b = s->evidence[i];
        struct sac_span k = token_span(t, at + (size_t)b.lo, at + (size_t)b.hi);
        json_array_append_new(ev, json_pack("{s:i, s:[i,i], s:[i,i], s:o}", "item", s->evidence_item[i],
                                            "bytes", b.lo, b.hi, "tokens", k.lo, k.hi, "text",
                                            json_text(s->prompt + b.lo, (size_t)(b.hi - b.lo))));
    }
    for (char *const *a = s->alt; a && *a; a++) json_array_append_new(alt, json_text(*a, strlen(*a)));
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:i, s:o, s:o, s:o, s:o}", "schema", "saccade.sample/1",
                  "task", s->spec, "style", s->style == SAC_STYLE_PAPER ? "paper" : "compact", "length",
                  s->length, "sample", s->index, "seed", (json_int_t)s->seed, "tokens", t->n, "prompt",
                  json_text(s->prompt, strlen(s->prompt)), "gold", json_text(s->gold, strlen(s->gold)), "alt",
                  alt, "evidence", ev);
    return json_print(stdout, o, false) ? 0 : 1;
}

static int show_text(const struct sac_sample *s, const struct sac_tokens *t, size_t at)
{
    printf("%s\n\ngold: %s\n", s->prompt, s->gold);
    for (char *const *a = s->alt; a && *a; a++) printf("or:   %s\n", *a);
    printf("%d tokens; evidence (answer part, tokens, text):\n", t->n);
    for (int i = 0; i < s->n_evidence; i++) {
        struct sac_span b = s->evidence[i];
        struct sac_span k = token_span(t, at + (size_t)b.lo, at + (size_t)b.hi);
        printf("  %d  %d-%d  %.*s\n", s->evidence_item[i] + 1, k.lo, k.hi - 1, b.hi - b.lo, s->prompt + b.lo);
    }
    return 0;
}

struct show {
    const char *spec, *model, *file;
    int length, n, first;
    uint64_t seed;
    enum sac_style style;
    bool json;
};

static int show(const struct show *o)
{
    struct sac_err err = { 0 };
    struct sac_model *m = NULL;
    char path[512];
    const struct sac_model_opts opts = { .directory_only = true };
    if (sac_task_check(o->spec, &err) || !cli_model(o->model, path, sizeof path, &err) ||
        sac_model_open(&m, path, &opts, &err))
        return cli_fail("tasks", &err);
    int rc = 0;
    for (int i = o->first; !rc && i < o->first + o->n; i++) {
        struct sac_sample s = { 0 };
        struct sac_tokens t = { 0 };
        char *text = NULL;
        size_t at = 0;
        if (sac_sample_make(&s, m, o->spec, o->style, o->length, o->seed, i, o->file, &err) ||
            sac_chat_tokenize(m, NULL, s.prompt, &t, &text, &at, &err))
            rc = cli_fail("tasks", &err);
        else
            rc = o->json ? show_json(&s, &t, at) : show_text(&s, &t, at);
        sac_tokens_free(&t);
        free(text);
        sac_sample_free(&s);
    }
    sac_model_close(m);
    return rc;
}

int cmd_tasks(int argc, char **argv)
{
    static const char *const styles[] = { "auto", "compact", "paper", NULL };
    struct arg_strs what = { { NULL }, 0 };
    struct show o = { .length = 1024, .n = 1, .seed = 43 };
    int style = SAC_STYLE_AUTO;
    const struct arg_opt opts[] = {
        { "length", 0, "N", "tokens of the prompt (default 1024)", ARG_INT, .to = &o.length, .min = 1,
          .max = 1 << 24 },
        { "sample", 0, "I", "number of the sample (default 0)", ARG_INT, .to = &o.first, .min = 0,
          .max = 1 << 24 },
        { "samples", 0, "N", "how many samples from that one on (default 1)", ARG_INT, .to = &o.n, .min = 1,
          .max = 1 << 20 },
        { "seed", 0, "S", "seed of all samples (default 43)", ARG_U64, .to = &o.seed },
        { "style", 0, "STYLE", "compact, paper, or auto: what the model was made for", ARG_CHOICE,
          .to = &style, .choices = styles },
        { "file", 0, "FILE", "samples of a task that reads a file, or prose for niah", ARG_STR,
          .to = &o.file },
        { "json", 0, NULL, "print JSON, one object a sample", ARG_FLAG, .to = &o.json },
        { 0 },
    };
    const struct arg_spec spec = {
        .name = "tasks",
        .usage = "tasks [list] | tasks show TASK [MODEL] [OPTIONS]",
        .summary = "Lists the tasks, or shows a sample of one: prompt, answer and where its evidence stands.",
        .examples = { "saccade tasks", "saccade tasks show niah:queries=2 --length 512 --sample 3",
                      "saccade tasks show cwe --length 4096 --samples 20 --json" },
        .opts = opts,
        .operands = &what,
        .max_operands = 3,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    if (!what.n || (what.n == 1 && !strcmp(what.v[0], "list"))) return o.json ? list_json() : list_text();
    if (strcmp(what.v[0], "show"))
        return args_fail(&spec, "'%s' is neither list nor show; saccade tasks show NAME shows a sample",
                         what.v[0]);
    if (what.n < 2) return args_fail(&spec, "show needs the name of a task; 'saccade tasks' lists them");
    o.spec = what.v[1];
    o.model = what.n > 2 ? what.v[2] : NULL;
    o.style = (enum sac_style)style;
    return show(&o);
}
