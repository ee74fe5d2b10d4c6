/* saccade info: what a model file holds and what a run with it will take. Reads headers only. */
#include "args.h"
#include "cli.h"
#include "commands.h"
#include "json_out.h"

#include <saccade/model.h>

#include <string.h>

static double mib(size_t bytes)
{
    return (double)bytes / (1024.0 * 1024.0);
}

static json_t *shape_json(const struct sac_shape *s)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "layers", s->n_layers, "heads", s->n_heads,
                     "kv_heads", s->n_kv_heads, "head_dim", s->head_dim, "width", s->n_embd, "feed_forward",
                     s->n_ff, "vocabulary", s->n_vocab);
}

static json_t *info_json(const struct sac_model_info *i, const struct sac_forecast *f, int length)
{
    char hash[20];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)i->hash);
    json_t *o = json_pack("{s:s, s:o, s:o, s:s, s:s, s:s}", "schema", "saccade.info/1", "model",
                          json_text(i->name, strlen(i->name)), "file", json_text(i->path, strlen(i->path)),
                          "arch", i->arch, "type", i->file_type, "hash", hash);
    json_object_set_new(o, "parameters", json_integer((json_int_t)i->n_params));
    json_object_set_new(o, "weight_bytes", json_integer((json_int_t)i->weight_bytes));
    json_object_set_new(o, "shape", shape_json(&i->shape));
    json_object_set_new(o, "context", json_integer(i->shape.max_ctx));
    json_object_set_new(o, "rope_base", json_number(i->rope_base));
    json_object_set_new(o, "window", i->window > 0 ? json_integer(i->window) : json_null());
    json_object_set_new(o, "window_layers", json_integer(i->n_window_layers));
    json_object_set_new(o, "template", json_string(i->template_name));
    json_object_set_new(o, "prompt_style", json_string(i->bundled_style ? "compact" : "paper"));
    json_object_set_new(o, "cannot_run",
                        *i->cannot_run ? json_text(i->cannot_run, strlen(i->cannot_run)) : json_null());
    json_object_set_new(o, "cpu", json_string(i->cpu ? i->cpu : ""));
    json_object_set_new(o, "threads", json_integer(i->n_threads));
    json_object_set_new(o, "kv_bytes_per_token", json_integer((json_int_t)i->kv_bytes_per_token));
    json_object_set_new(
        o, "forecast",
        json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "tokens", length, "weight_bytes",
                  (json_int_t)f->weights, "packed_bytes", (json_int_t)f->packed, "kv_bytes",
                  (json_int_t)f->kv, "trace_bytes", (json_int_t)f->trace, "work_bytes",
                  (json_int_t)f->activations, "total_bytes", (json_int_t)f->total, "available_bytes",
                  (json_int_t)f->available, "prefill_s",
                  f->prefill_s > 0 ? json_real(f->prefill_s) : json_null(), "decode_s_per_token",
                  f->decode_s_per_token > 0 ? json_real(f->decode_s_per_token) : json_null()));
    return o;
}

static void info_text(FILE *out, const struct sac_model_info *i, const struct sac_forecast *f, int length)
{
    const struct sac_shape *s = &i->shape;
    fprintf(out, "model      %s\n", i->name);
    fprintf(out, "file       %s, %.1f MiB, hash %016llx\n", i->path, mib(i->weight_bytes),
            (unsigned long long)i->hash);
    fprintf(out, "kind       %s, %s, %.1f million parameters\n", i->arch, i->file_type,
            (double)i->n_params / 1e6);
    if (*i->cannot_run) {   /* what the file says of itself is all there is */
        fprintf(out, "cannot run %s\n", i->cannot_run);
        return;
    }
    fprintf(out,
            "shape      %d layers, %d query heads over %d KV heads of %d, width %d, feed-forward %d, "
            "vocabulary %d\n",
            s->n_layers, s->n_heads, s->n_kv_heads, s->head_dim, s->n_embd, s->n_ff, s->n_vocab);
    fprintf(out, "context    %d tokens, RoPE base %.10g\n", s->max_ctx, i->rope_base);
    if (i->window > 0)
        fprintf(out, "window     %d tokens in %d of %d layers, under every method\n", i->window,
                i->n_window_layers, s->n_layers);
    fprintf(out, "prompts    chat template %s; tasks in the %s style\n", i->template_name,
            i->bundled_style ? "compact" : "paper");
    fprintf(out, "machine    %s, %d threads\n", i->cpu && *i->cpu ? i->cpu : "plain C kernels", i->n_threads);
    fprintf(out, "KV cache   %.1f MiB per 1000 tokens\n", mib(i->kv_bytes_per_token) * 1000);
    fprintf(out, "\nA run of %d tokens, dense and a method with its own prefill, recorded:\n", length);
    fprintf(out,
            "  memory   weights as stored %.0f MiB, repacked %.0f, KV %.0f, trace %.0f, work %.0f; %.0f MiB "
            "in all, %.0f "
            "available\n",
            mib(f->weights), mib(f->packed), mib(f->kv), mib(f->trace), mib(f->activations), mib(f->total),
            mib(f->available));
    if (f->prefill_s > 0)
        fprintf(out, "  time     about %.1f s for a dense prefill, %.1f ms for a token\n", f->prefill_s,
                f->decode_s_per_token * 1e3);
}

/* ---- tensors ---- */

struct listing { FILE *out; json_t *array; };

static void list_tensor(void *ctx, const struct sac_tensor_info *t)
{
    struct listing *l = ctx;
    if (l->array) {
        json_t *shape = json_array();
        for (int i = 0; i < t->n_dims; i++)
            json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
        json_array_append_new(l->array,
                              json_pack("{s:o, s:s, s:o, s:I}", "name", json_text(t->name, strlen(t->name)),
                                        "type", t->type, "shape", shape, "bytes", (json_int_t)t->bytes));
        return;
    }
    fprintf(l->out, "%-44s %-6s", t->name, t->type);
    for (int i = 0; i < t->n_dims; i++) fprintf(l->out, "%s%lld", i ? " x " : " ", (long long)t->shape[i]);
    fputc('\n', l->out);
}

static void list_tensors(const char *path, const char *out_path, bool json, struct sac_err *err)
{
    FILE *out = cli_create(out_path, err);
    if (!out) return;
    struct listing l = { out, json ? json_array() : NULL };
    sac_model_tensors(path, list_tensor, &l, err);
    if (json && !err->code)
        json_print(out, json_pack("{s:s, s:O}", "schema", "saccade.tensors/1", "tensors", l.array), true);
    json_decref(l.array);
    cli_close(out, out_path, err);
}

/* The work beside describing: true when it was asked for. */
static bool other_work(const char *path, const char *dump, bool tensors, const char *out_path, bool json,
                       struct sac_err *err)
{
    if (dump && strcmp(out_path, "-") == 0)
        sac_fail(err, SAC_EARG, "--dump writes a safetensors file; -o OUT says where");
    else if (dump) sac_model_dump(path, dump, out_path, true, err);
    else if (tensors) list_tensors(path, out_path, json, err);
    return dump || tensors;
}

int cmd_info(int argc, char **argv)
{
    struct arg_strs files = { { NULL }, 0 };
    static const char *const kv_types[] = { "f32", "f16", "bf16", NULL };
    const char *out_path = "-", *dump = NULL;
    bool json = false, tensors = false;
    int length = 4096, kv = SAC_KV_F32;
    struct sac_model_opts mo = { 0 };
    const struct arg_opt opts[] = {
        { "json", 0, NULL, "print JSON", ARG_FLAG, .to = &json },
        { "length", 0, "N", "tokens of the run to forecast (default 4096)", ARG_INT, &length, .min = 1,
          .max = 1 << 24 },
        { "tensors", 0, NULL, "list the tensors instead: name, type, shape, bytes", ARG_FLAG,
          .to = &tensors },
        { "dump", 0, "TENSOR", "write this tensor to the safetensors file OUT, as f32 under its own name",
          ARG_STR, .to = &dump },
        { "threads", 't', "N", "threads (default: all cores)", ARG_INT, &mo.threads, .min = 1, .max = 256 },
        { "kv", 0, "TYPE", "how keys and values will be kept: f32, f16 or bf16 (default f32)", ARG_CHOICE,
          .to = &kv, .choices = kv_types },
        { "output", 'o', "OUT", "write to OUT instead of standard output", ARG_STR, .to = &out_path },
        { 0 },
    };
    const struct arg_spec spec = {
        "info",
        "info [OPTIONS] [MODEL]",
        "Says what a model file or folder holds, and what a run with it will need. Without MODEL: the "
        "bundled one.",
        { "saccade info", "saccade info model.gguf --length 16K",
          "saccade info model.gguf --dump output.weight -o out.safetensors" },
        .opts = opts,
        .operands = &files,
        .max_operands = 1,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;

    struct sac_err err = { SAC_OK, "" };
    struct sac_model *m = NULL;
    char path[1024];
    mo.directory_only = true;
    mo.kv = (enum sac_kv_type)kv;
    if (!cli_model(files.n ? files.v[0] : NULL, path, sizeof path, &err)) return cli_fail("info", &err);
    if (other_work(path, dump, tensors, out_path, json, &err)) return err.code ? cli_fail("info", &err) : 0;
    if (sac_model_open(&m, path, &mo, &err) != SAC_OK) return cli_fail("info", &err);

    struct sac_forecast f = { 0 };
    sac_model_forecast(m, length, 128, 2, 0, true, &f);
    FILE *out = cli_create(out_path, &err);
    if (out) {
        if (json) json_print(out, info_json(sac_model_info(m), &f, length), true);
        else info_text(out, sac_model_info(m), &f, length);
        cli_close(out, out_path, &err);
    }
    sac_model_close(m);
    return err.code ? cli_fail("info", &err) : 0;
}
