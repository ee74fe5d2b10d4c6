/* Chat templates without a template engine: the family is recognised by what the template text contains, and
 * a fixed routine renders it. The template itself is never executed.
 *
 * What belongs to the template is read with special tokens, what the user wrote without, so that a prompt
 * cannot end its own turn. */
#include "model/model_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A conversation of one turn: system part, user part, and what makes the model answer. sys_inside: the system
 * text stands inside the user part, before the user's words. */
struct chat_format {
    const char *name;
    const char *sys[2], *user[2], *gen;
    bool sys_inside, trim;
};

static const struct chat_format formats[] = {
    { "none", { "", "\n\n" }, { "", "" }, "", true, false },
    { "chatml",
      { "<|im_start|>system\n", "<|im_end|>\n" },
      { "<|im_start|>user\n", "<|im_end|>\n" },
      "<|im_start|>assistant\n",
      false,
      false },
    { "llama3",
      { "<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>" },
      { "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>" },
      "<|start_header_id|>assistant<|end_header_id|>\n\n",
      false,
      true },
    { "gemma",
      { "", "\n\n" },
      { "<start_of_turn>user\n", "<end_of_turn>\n" },
      "<start_of_turn>model\n",
      true,
      true },
    { "mistral-v1", { "", "\n\n" }, { " [INST] ", " [/INST]" }, "", true, false },
    { "mistral-v3", { "", "\n\n" }, { "[INST] ", "[/INST]" }, "", true, false },
    { "mistral-tekken", { "", "\n\n" }, { "[INST]", "[/INST]" }, "", true, false },
    { "mistral-v7", { "[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]" }, { "[INST] ", "[/INST]" }, "", false, false },
    { "llama2", { "<<SYS>>\n", "\n<</SYS>>\n\n" }, { "[INST] ", " [/INST]" }, "", true, false },
    { "phi3",
      { "<|system|>\n", "<|end|>\n" },
      { "<|user|>\n", "<|end|>\n" },
      "<|assistant|>\n",
      false,
      false },
    { "phi4",
      { "<|im_start|>system<|im_sep|>", "<|im_end|>" },
      { "<|im_start|>user<|im_sep|>", "<|im_end|>" },
      "<|im_start|>assistant<|im_sep|>",
      false,
      false },
    { "zephyr", { "<|system|>\n", "</s>\n" }, { "<|user|>\n", "</s>\n" }, "<|assistant|>\n", false, false },
    { "zephyr-eot",
      { "<|system|>\n", "<|endoftext|>\n" },
      { "<|user|>\n", "<|endoftext|>\n" },
      "<|assistant|>\n",
      false,
      false },
    { "falcon3", { "<|system|>\n", "\n" }, { "<|user|>\n", "\n" }, "<|assistant|>\n", false, false },
    { "deepseek3",
      { "", "" },
      { "<\xef\xbd\x9cUser\xef\xbd\x9c>", "" },
      "<\xef\xbd\x9c"
      "Assistant\xef\xbd\x9c>",
      false,
      false },
};

static const struct chat_format *format(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(formats[i].name, name)) return &formats[i];
    return &formats[0];
}

struct text { const char *s; size_t n; };

static const char *find(struct text t, const char *what) { return memmem(t.s, t.n, what, strlen(what)); }

/* Between `from` and the next `to` (or the end of the text), does `what` occur? */
static bool between(struct text t, const char *from, const char *to, const char *what)
{
    const char *a = find(t, from);
    if (!a) return false;
    struct text rest = { a, t.n - (size_t)(a - t.s) };
    const char *b = find(rest, to);
    if (b) rest.n = (size_t)(b - rest.s);
    return find(rest, what) != NULL;
}

static const char *recognise_text(struct text t, const struct tokenizer *tok)
{
    if (find(t, "<|im_start|>")) return find(t, "<|im_sep|>") ? "phi4" : "chatml";
    if (find(t, "[INST]")) {
        if (find(t, "[SYSTEM_PROMPT]")) return "mistral-v7";
        if (!find(t, "' [INST] ' + system_message") && !find(t, "[AVAILABLE_TOOLS]")) return "llama2";
        return find(t, " [INST]") ? "mistral-v1" : find(t, "\"[INST]\"") ? "mistral-tekken" : "mistral-v3";
    }
    if (find(t, "<|assistant|>") && find(t, "<|end|>")) return "phi3";
    if (find(t, "<|user|>") && (find(t, "<|assistant|>") || find(t, "<|endoftext|>"))) {
        /* Zephyr ends the user's turn with an end token, Falcon 3 with a newline. */
        if (find(t, "<|endoftext|>")) return "zephyr-eot";
        bool ended = between(t, "<|user|>", "<|assistant|>", "eos_token") ||
                     between(t, "<|user|>", "<|assistant|>", "</s>");
        if (!ended) return "falcon3";
        return tok && tokenizer_find(tok, "</s>") < 0 ? "zephyr-eot" : "zephyr";
    }
    if (find(t, "<start_of_turn>")) return "gemma";
    if (find(t, "<|start_header_id|>") && find(t, "<|end_header_id|>")) return "llama3";
    if (find(t, "<\xef\xbd\x9c"
                "Assistant\xef\xbd\x9c>") &&
        find(t, "<\xef\xbd\x9cUser\xef\xbd\x9c>"))
        return "deepseek3";
    return "none";
}

static const char *recognise_vocabulary(const struct tokenizer *tok)
{
    static const char *const marks[][2] = { { "<|im_start|>", "chatml" }, { "<|start_header_id|>", "llama3" },
                                            { "<start_of_turn>", "gemma" } };
    for (int i = 0; tok && i < 3; i++)
        if (tokenizer_find(tok, marks[i][0]) >= 0) return marks[i][1];
    return "none";
}

void chat_recognise(struct sac_model *m, const char *text, size_t len)
{
    static const char *const defaults[] = {
        "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
        "You are a helpful assistant.",
    };
    struct text t = { text ? text : "", text ? len : 0 };
    const char *name = t.n ? recognise_text(t, m->tok) : "none";
    if (!strcmp(name, "none")) name = recognise_vocabulary(m->tok);
    m->chat = format(name);
    m->chat_system = NULL;
    for (int i = 0; i < 3 && !m->chat_system && !strcmp(name, "chatml"); i++)
        if (find(t, defaults[i])) m->chat_system = defaults[i];
    snprintf(m->info.template_name, sizeof m->info.template_name, "%s", name);
}

/* ---- rendering ---- */

enum { MAX_PARTS = 8 };
struct render { char *s; size_t n; struct tok_part part[MAX_PARTS]; int n_parts; size_t user_at; };

static void add(struct render *r, const char *s, size_t n, bool special)
{
    if (n == 0) return;
    memcpy(r->s + r->n, s, n);
    r->part[r->n_parts++] = (struct tok_part){ r->n, r->n + n, special };
    r->n += n;
}

static struct text trimmed(const char *s, bool trim)
{
    static const char blanks[] = " \t\n\r\v\f";
    struct text t = { s, strlen(s) };
    while (trim && t.n && strchr(blanks, t.s[0])) t.s++, t.n--;
    while (trim && t.n && strchr(blanks, t.s[t.n - 1])) t.n--;
    return t;
}

static bool render(const struct sac_model *m, const char *system, const char *user, struct render *r)
{
    const struct chat_format *f = m->chat ? m->chat : &formats[0];
    if (!system) system = m->chat_system;
    struct text sys = trimmed(system ? system : "", f->trim), usr = trimmed(user, f->trim);
    const char *const fixed[] = { f->sys[0], f->sys[1], f->user[0], f->user[1], f->gen };
    size_t cap = sys.n + usr.n + 1;
    for (int i = 0; i < 5; i++) cap += strlen(fixed[i]);
    *r = (struct render){ .s = malloc(cap) };
    if (!r->s) return false;
    bool with = system && *system;
    if (f->sys_inside) add(r, f->user[0], strlen(f->user[0]), true);
    if (with) {
        add(r, f->sys[0], strlen(f->sys[0]), true);
        add(r, sys.s, sys.n, false);
        add(r, f->sys[1], strlen(f->sys[1]), true);
    }
    if (!f->sys_inside) add(r, f->user[0], strlen(f->user[0]), true);
    size_t lead = (size_t)(usr.s - user);
    r->user_at = lead < r->n ? r->n - lead : 0;
    add(r, usr.s, usr.n, false);
    add(r, f->user[1], strlen(f->user[1]), true);
    add(r, f->gen, strlen(f->gen), true);
    r->s[r->n] = 0;
    return true;
}

enum sac_code sac_chat_render(const struct sac_model *m, const char *system, const char *user, char **out,
                              size_t *user_at, struct sac_err *err)
{
    struct render r;
    *out = NULL;
    if (!render(m, system, user, &r)) return sac_fail(err, SAC_ENOMEM, "out of memory for the prompt");
    *out = r.s;
    if (user_at) *user_at = r.user_at;
    return SAC_OK;
}

enum sac_code sac_chat_tokenize(const struct sac_model *m, const char *system, const char *user,
                                struct sac_tokens *out, char **text, size_t *user_at, struct sac_err *err)
{
    struct render r;
    *out = (struct sac_tokens){ 0 };
    *text = NULL;
    if (!m->tok) return model_no_text(m, err);
    if (!render(m, system, user, &r)) return sac_fail(err, SAC_ENOMEM, "out of memory for the prompt");
    enum sac_code rc = tokenizer_encode(m->tok, r.s, r.part, r.n_parts, true, out, err);
    if (rc) {
        free(r.s);
        return rc;
    }
    *text = r.s;
    if (user_at) *user_at = r.user_at;
    return SAC_OK;
}
