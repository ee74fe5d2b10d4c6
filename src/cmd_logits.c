/* saccade logits: reference outputs of a model for given token ids, all in f32. */
#include "args.h"
#include "cli.h"
#include "commands.h"

#include <saccade/logits.h>
#include <saccade/model.h>

#include <stdlib.h>
#include <unistd.h>

int cmd_logits(int argc, char **argv)
{
    struct arg_strs none = { { NULL }, 0 };
    const char *model = NULL, *ids_path = NULL, *out_path = NULL;
    bool hidden = false, attn = false, keep = false;
    struct sac_model_opts mo = { .strict = true };
    const struct arg_opt opts[] = {
        { "model", 'm', "MODEL", "model file or folder (default: the bundled one)", ARG_STR, .to = &model },
        { "ids", 0, "FILE", "safetensors file with a tensor `ids`, i32 [tokens]", ARG_STR, .to = &ids_path },
        { "output", 'o', "OUT", "the safetensors file to write", ARG_STR, .to = &out_path },
        { "hidden", 0, NULL, "also hidden.{l} [T,D]: what enters block l; the last after the final norm",
          ARG_FLAG, .to = &hidden },
        { "attn", 0, NULL, "also attn.{l} [H,T,T] of every layer", ARG_FLAG, .to = &attn },
        { "no-clobber", 0, NULL, "refuse to replace an existing file", ARG_FLAG, .to = &keep },
        { "threads", 't', "N", "threads (default: all cores)", ARG_INT, &mo.threads, .min = 1, .max = 256 },
        { 0 },
    };
    const struct arg_spec spec = {
        "logits", "logits --ids FILE -o OUT [OPTIONS] [MODEL]",
        "Writes the logits of every position, in f32 arithmetic, to a safetensors file: logits [T,V].",
        { "saccade logits --ids ids.safetensors -o out.safetensors",
          "saccade logits --model model.gguf --ids ids.safetensors --hidden -o out.safetensors",
          "saccade logits --model model/ --ids ids.safetensors --hidden --attn -o out.safetensors" },
        .opts = opts, .operands = &none, .max_operands = 1,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    if (!ids_path) return args_fail(&spec, "--ids FILE says which tokens");
    if (!out_path) return args_fail(&spec, "-o OUT says where to write");
    if (none.n && !model) model = none.v[0];

    struct sac_err err = { SAC_OK, "" };
    struct sac_model *m = NULL;
    char path[1024];
    int *ids = NULL, n = 0;
    if (keep && access(out_path, F_OK) == 0)
        sac_fail(&err, SAC_EIO, "%s: exists, and --no-clobber was given", out_path);
    if (!err.code && cli_writable(out_path, &err) && cli_model(model, path, sizeof path, &err) &&
        sac_ids_read(ids_path, &ids, &n, &err) == SAC_OK && sac_model_open(&m, path, &mo, &err) == SAC_OK) {
        const struct sac_shape *s = &sac_model_info(m)->shape;
        for (int i = 0; i < n && !err.code; i++)
            if (ids[i] < 0 || ids[i] >= s->n_vocab)
                sac_fail(&err, SAC_EFORMAT, "%s: token %d is %d; the vocabulary has 0 to %d", ids_path, i,
                         ids[i], s->n_vocab - 1);
        if (n > s->max_ctx)
            sac_fail(&err, SAC_EARG, "%s: %d tokens are more than the model's context of %d", ids_path, n,
                     s->max_ctx);
        if (!err.code) sac_logits_write(m, ids, n, hidden, attn, out_path, !keep, &err);
    }
    sac_model_close(m);
    free(ids);
    return err.code ? cli_fail("logits", &err) : 0;
}
