/* saccade tokenize: text to token ids, with the bytes each token came from. */
#include "args.h"
#include "cli.h"
#include "commands.h"
#include "json_out.h"

#include <saccade/model.h>

#include <stdlib.h>
#include <string.h>

/* Bytes as a person can read them on one line: control bytes and quotes escaped. */
static void print_visible(FILE *out, const char *s, int n)
{
    fputc('"', out);
    for (int i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '\n') fputs("\\n", out);
        else if (c == '\t') fputs("\\t", out);
        else if (c == '"' || c == '\\') fprintf(out, "\\%c", c);
        else if (c < 32 || c == 127) fprintf(out, "\\x%02x", c);
        else fputc(c, out);
    }
    fputc('"', out);
}

static void print_text(FILE *out, const struct sac_model *m, const struct sac_tokens *t)
{
    fprintf(out, "%8s %8s %8s  text\n", "id", "from", "to");
    for (int i = 0; i < t->n; i++) {
        const char *bytes;
        int len = sac_token_bytes(m, t->id[i], &bytes);
        fprintf(out, "%8d %8d %8d  ", t->id[i], t->span[i].lo, t->span[i].hi);
        print_visible(out, bytes, len);
        fputc('\n', out);
    }
    fprintf(out, "%d tokens\n", t->n);
}

/* text: what the spans refer to where it is not the text given, or NULL */
static bool print_json(FILE *out, const struct sac_tokens *t, const char *text)
{
    json_t *ids = json_array(), *spans = json_array();
    for (int i = 0; i < t->n; i++) {
        json_array_append_new(ids, json_integer(t->id[i]));
        json_array_append_new(spans, json_pack("[i, i]", t->span[i].lo, t->span[i].hi));
    }
    json_t *o =
        json_pack("{s:s, s:o, s:o}", "schema", "saccade.tokenize/1", "ids", ids, "spans", spans);
    if (text) json_object_set_new(o, "text", json_text(text, strlen(text)));
    return json_print(out, o, false);
}

int cmd_tokenize(int argc, char **argv)
{
    struct arg_strs words = { { NULL }, 0 };
    const char *text = NULL, *file = NULL, *out_path = "-", *system = NULL;
    bool json = false, bos = true, special = true, chat = false;
    const struct arg_opt opts[] = {
        { "text", 0, "TEXT", "the text", ARG_STR, .to = &text },
        { "file", 0, "FILE", "read the text from FILE, - for standard input", ARG_STR, .to = &file },
        { "no-bos", 0, NULL, "no token at the beginning, even where the model wants one", ARG_OFF,
          .to = &bos },
        { "no-special", 0, NULL, "read special tokens written in the text as plain text", ARG_OFF,
          .to = &special },
        { "chat", 0, NULL, "the text as a user's turn in the model's chat template: what run sends", ARG_FLAG,
          .to = &chat },
        { "system", 0, "TEXT", "with --chat: a system prompt before it", ARG_STR, .to = &system },
        { "json", 0, NULL, "print JSON: ids, and spans as [first byte, end byte]", ARG_FLAG, .to = &json },
        { "output", 'o', "FILE", "write to FILE instead of standard output", ARG_STR, .to = &out_path },
        { 0 },
    };
    const struct arg_spec spec = {
        "tokenize",
        "tokenize [MODEL] --text TEXT | --file FILE | -",
        "Shows the tokens of a text and the bytes each came from. Without MODEL: the bundled one.",
        { "saccade tokenize --chat --system 'Be brief.' --text 'a needle in the hay'",
          "saccade tokenize model.gguf --file book.txt --json",
          "echo hello | saccade tokenize model/ -" },
        .opts = opts,
        .operands = &words,
        .max_operands = 2,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    const char *model = NULL;
    for (int i = 0; i < words.n; i++) {
        if (!strcmp(words.v[i], "-") && !file) file = "-";
        else if (!model) model = words.v[i];
        else return args_fail(&spec, "%s: unexpected; usage: saccade %s", words.v[i], spec.usage);
    }
    if (system && !chat) return args_fail(&spec, "--system belongs to --chat");
    if (chat && (!bos || !special))
        return args_fail(&spec, "--chat itself says where BOS and special tokens stand");
    if (!text == !file) return args_fail(&spec, "give the text as one of --text TEXT, --file FILE or -");

    struct sac_err err = { SAC_OK, "" };
    struct sac_model *m = NULL;
    struct sac_tokens t = { 0 };
    char path[1024], *own = NULL, *rendered = NULL;
    size_t len = text ? strlen(text) : 0;
    const struct sac_model_opts mo = { .directory_only = true };
    if (cli_model(model, path, sizeof path, &err) && (text || (own = cli_read(file, &len, &err))) &&
        sac_model_open(&m, path, &mo, &err) == SAC_OK &&
        (chat ? sac_chat_tokenize(m, system, text ? text : own, &t, &rendered, NULL, &err)
              : sac_tokenize(m, text ? text : own, len,
                             (bos ? SAC_TOK_BOS : 0) | (special ? SAC_TOK_SPECIAL : 0), &t, &err)) == SAC_OK) {
        FILE *out = cli_create(out_path, &err);
        if (out) {
            if (json) {
                print_json(out, &t, rendered);
            } else {
                if (rendered) fprintf(out, "%s\n\n", rendered);
                print_text(out, m, &t);
            }
            cli_close(out, out_path, &err);
        }
    }
    sac_tokens_free(&t);
    sac_model_close(m);
    free(own);
    free(rendered);
    return err.code ? cli_fail("tokenize", &err) : 0;
}
