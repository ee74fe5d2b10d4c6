/* From options to something that can run: see setup.h. */
#include "setup.h"
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

const char *const setup_styles[] = { "auto", "compact", "paper", NULL };
const char *const setup_kv_types[] = { "f32", "f16", "bf16", NULL };

enum sac_code setup_methods(const struct setup_args *a, struct sac_err *err)
{
    struct sac_spec spec;
    for (int i = 0; i < a->methods.n; i++)
        if (sac_spec_parse(&spec, a->methods.v[i], err)) return err->code;
    return SAC_OK;
}

enum sac_code setup_recorded(const struct setup_args *a, const char *trace, struct sac_err *err)
{
    const struct setup_args usual = SETUP_DEFAULTS;
    const struct { bool given; const char *name; } asked[] = {
        { a->task, "task" },
        { a->prompt, "prompt" },
        { a->methods.n, "method" },
        { a->length && a->length != usual.length, "length" },      /* 0: the explorer's, not given */
        { a->sample != usual.sample, "sample" },
        { a->style != usual.style, "style" },
        { a->file, "file" },
        { a->raw, "raw" },
        { a->system, "system" },
        { a->max_tokens != usual.max_tokens, "max-tokens" },
        { a->temperature > 0, "temperature" },
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        if (asked[i].given)
            return sac_fail(err, SAC_EARG,
                            "--%s: %s is a recorded run, whose prompt and methods are settled; leave it out, or "
                            "name a model", asked[i].name, trace);
    return SAC_OK;
}

void setup_demo(struct setup_args *a)
{
    static const char *const methods[] = { "vertical_slash:sparsity=0.9", "snapkv:sparsity=0.9",
                                           "quest:sparsity=0.9" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) a->methods.v[a->methods.n++] = methods[i];
}

static double mib(size_t bytes)
{
    return (double)bytes / (1024.0 * 1024.0);
}

/* The user's text: the task's prompt or what was written. */
static char *user_text(struct setup *s, const struct setup_args *a, size_t *len, struct sac_err *err)
{
    if (a->prompt) {
        char *text = cli_text(a->prompt, len, err);
        if (text && !*len) {
            sac_fail(err, SAC_EARG, "the prompt is empty");
            free(text);
            text = NULL;
        } else if (text && memchr(text, '\0', *len)) {
            sac_fail(err, SAC_EARG, "the prompt holds a zero byte; it should be text");
            free(text);
            text = NULL;
        }
        return text;
    }
    int ctx = sac_model_info(s->model)->shape.max_ctx;
    if (a->length > ctx) {
        sac_fail(err, SAC_EARG, "--length %d is more than the %d tokens this model was made for", a->length,
                 ctx);
        return NULL;
    }
    if (sac_sample_make(&s->sample, s->model, a->task ? a->task : "niah", (enum sac_style)a->style, a->length,
                        a->seed, a->sample, a->file, err) != SAC_OK)
        return NULL;
    s->has_sample = true;
    *len = strlen(s->sample.prompt);
    char *text = strdup(s->sample.prompt);
    if (!text) sac_fail(err, SAC_ENOMEM, "out of memory");
    return text;
}

/* text becomes s->text and s->tokens; it is freed or kept. */
static enum sac_code tokens_of(struct setup *s, const struct setup_args *a, char *text, size_t len,
                               struct sac_err *err)
{
    if (a->raw) {
        s->text = text;
        return sac_tokenize(s->model, text, len, SAC_TOK_BOS | (a->no_special ? 0 : SAC_TOK_SPECIAL),
                            &s->tokens, err);
    }
    enum sac_code rc = sac_chat_tokenize(s->model, a->system, text, &s->tokens, &s->text, &s->user_at, err);
    free(text);
    return rc;
}

/* How many tokens to generate: as asked, or twice the gold answer; never past the model's context. */
static enum sac_code settle_length(struct setup *s, const struct setup_args *a, struct sac_err *err)
{
    const struct sac_model_info *mi = sac_model_info(s->model);
    int want = a->max_tokens, n = s->tokens.n, room = mi->shape.max_ctx - n;
    if (!want) {
        struct sac_tokens gold = { 0 };
        want = 128;
        if (s->has_sample && s->sample.gold &&
            sac_tokenize(s->model, s->sample.gold, strlen(s->sample.gold), 0, &gold, NULL) == SAC_OK)
            want = 2 * gold.n + 16 > 48 ? 2 * gold.n + 16 : 48;
        sac_tokens_free(&gold);
    }
    if (room < 1)
        return sac_fail(err, SAC_EARG, "the prompt has %d tokens and %s was made for %d with the answer; %s",
                        n, mi->name, mi->shape.max_ctx,
                        a->prompt ? "shorten it" : "ask for a smaller --length");
    if (want > room && a->max_tokens && !args_common.quiet)
        fprintf(stderr,
                "saccade: %d tokens of the context are left after the prompt; the answer stops there\n",
                room);
    s->max_tokens = want < room ? want : room;
    return SAC_OK;
}

/* Bytes free where temporary files go. */
static size_t temporary_room(void)
{
    const char *tmp = getenv("TMPDIR");
    struct statvfs fs;
    return statvfs(tmp && *tmp ? tmp : "/var/tmp", &fs) ? 0 : (size_t)fs.f_bavail * (size_t)fs.f_frsize;
}

static enum sac_code check_memory(struct setup *s, const struct setup_args *a, struct sac_err *err)
{
    struct sac_forecast f = { 0 };
    int own = 0, shared = 0;
    for (int i = 0; i < a->methods.n; i++) {
        struct sac_spec spec;
        if (sac_spec_parse(&spec, a->methods.v[i], NULL) != SAC_OK) continue;     /* said when it is added */
        if (sac_spec_prefill(&spec)) own++;
        else if (strcmp(a->methods.v[i], "dense") != 0 || a->no_reference) shared++;
    }
    if (!a->no_reference) own++;
    else if (shared) own++, shared--;      /* the first of them prefills */
    sac_model_forecast(s->model, s->tokens.n, s->max_tokens, own, shared, !a->no_recall, &f);
    size_t limit = a->memory ? a->memory : f.available;
    if (!limit || f.total <= limit) return SAC_OK;
    if (f.trace && f.total - f.trace <= limit && f.trace < temporary_room()) {
        s->spill = true;
        if (!args_common.quiet)
            fprintf(stderr, "saccade: needs about %.0f MiB and may take %.0f; the recording, %.0f, goes to a file\n",
                    mib(f.total), mib(limit), mib(f.trace));
        return SAC_OK;
    }
    return sac_fail(err, SAC_ENOMEM,
                    "needs about %.0f MiB (weights %.0f, KV %.0f, trace %.0f, work %.0f) and may take %.0f; "
                    "use a shorter "
                    "prompt%s%s",
                    mib(f.total), mib(f.weights + f.packed), mib(f.kv), mib(f.trace), mib(f.activations),
                    mib(limit), a->methods.n > 1 ? ", fewer methods" : "",
                    a->no_recall ? "" : ", or --no-recall");
}

enum sac_code setup_open(struct setup *out, const struct setup_args *a, struct sac_err *err)
{
    memset(out, 0, sizeof *out);
    if (a->prompt && a->task)
        return sac_fail(err, SAC_EARG, "--prompt and --task exclude each other");
    /* Mistyped methods are told before a large model is read. */
    for (int i = 0; i < a->methods.n; i++) {
        struct sac_spec spec;
        if (sac_spec_parse(&spec, a->methods.v[i], err) != SAC_OK) return err->code;
    }
    char path[1024];
    const struct sac_model_opts mo = { .threads = a->threads,
                                       .kv = (enum sac_kv_type)a->kv,
                                       .strict = a->strict };
    if (!cli_model(a->model, path, sizeof path, err)) return err->code;
    if (sac_model_open(&out->model, path, &mo, err) != SAC_OK) return err->code;
    size_t len = 0;
    char *text = user_text(out, a, &len, err);
    if (!text || tokens_of(out, a, text, len, err) != SAC_OK || settle_length(out, a, err) != SAC_OK ||
        check_memory(out, a, err) != SAC_OK) {
        enum sac_code rc = err->code ? err->code : SAC_ENOMEM;
        setup_close(out);
        return rc;
    }
    out->job = (struct sac_job_opts){
        .max_tokens = out->max_tokens, .seed = a->seed,
        .sampling = { .temperature = a->temperature, .top_p = a->top_p, .seed = a->seed },
        .no_reference = a->no_reference, .no_trace = a->no_recall, .no_kl = a->no_kl, .spill = out->spill,
    };
    return SAC_OK;
}

enum sac_code setup_job(struct sac_job **out, const struct setup *s, const struct setup_args *a,
                        struct sac_err *err)
{
    enum sac_code rc = sac_job_new(out, s->model, s->text, &s->tokens, s->has_sample ? &s->sample : NULL,
                                   s->user_at, &s->job, err);
    if (rc) return rc;
    for (int i = 0; i < a->methods.n; i++)
        if (sac_job_add_lane(*out, a->methods.v[i], err) < 0) {
            rc = err->code ? err->code : SAC_EARG;
            break;
        }
    if (!rc && !a->methods.n && a->no_reference)
        rc = sac_fail(err, SAC_EARG, "--no-reference without a --method leaves nothing to run");
    if (rc) {
        sac_job_free(*out);
        *out = NULL;
    }
    return rc;
}

void setup_close(struct setup *s)
{
    if (s->has_sample) sac_sample_free(&s->sample);
    sac_tokens_free(&s->tokens);
    free(s->text);
    sac_model_close(s->model);
    memset(s, 0, sizeof *s);
}
