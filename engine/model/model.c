/* Opening a model: files, settings, tokenizer, weights, threads, in this order, each checked before the next.
 *
 * With directory_only, a file whose architecture this program cannot run is still described: its tokenizer
 * works, and info.cannot_run says why the rest does not. */
#include "base/cpu.h"
#include "model/linear.h"
#include "model/model_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what the files say about stops and chat ---- */

static void add_stops(struct sac_model *m, const json_t *config)
{
    const json_t *eos = json_object_get(config, "eos_token_id"), *e;
    size_t i;
    if (json_is_integer(eos)) tokenizer_add_stop(m->tok, (int)json_integer_value(eos));
    json_array_foreach(eos, i, e)
        tokenizer_add_stop(m->tok, json_is_integer(e) ? (int)json_integer_value(e) : -1);
}

/* chat_template: a string, or a list of {name, template} of which "default" or the first counts. */
static const char *hf_template(const json_t *config)
{
    const json_t *t = json_object_get(config, "chat_template"), *e;
    const char *best = json_string_value(t);
    size_t i;
    json_array_foreach(t, i, e) {
        const char *name = json_string_value(json_object_get(e, "name"));
        const char *text = json_string_value(json_object_get(e, "template"));
        if (!best || (name && !strcmp(name, "default"))) best = text;
    }
    return best;
}

static enum sac_code load_text(struct sac_model *m, struct sac_err *err)
{
    const struct model_files *f = &m->files;
    enum sac_code rc = tokenizer_load(&m->tok, f, err);
    if (rc) return rc;
    const char *text = NULL;
    size_t len = 0;
    if (f->is_gguf) {
        gguf_str(&f->gguf, "tokenizer.chat_template", &text, &len, &rc, err);
        if (rc) return rc;
    } else {
        text = f->chat_template ? f->chat_template : hf_template(f->tokenizer_config);
        len = text ? strlen(text) : 0;
    }
    if (m->tok && !f->is_gguf) {
        const json_t *inner = json_object_get(f->config, "text_config");
        add_stops(m, f->config);
        if (json_is_object(inner)) add_stops(m, inner);
        add_stops(m, f->generation);
    }
    chat_recognise(m, text, len);
    return SAC_OK;
}

/* ---- description ---- */

/* Text of a file on its way to terminals: printable, cut to the room there is. */
static void copy_visible(char *out, size_t cap, const char *s, size_t len)
{
    size_t n = 0;
    for (size_t k = 0; k < len && n + 1 < cap; k++)
        out[n++] = (unsigned char)s[k] < 32 || s[k] == 127 ? ' ' : s[k];
    out[n] = 0;
}

static void describe_name(struct sac_model *m)
{
    struct sac_model_info *i = &m->info;
    const char *name = NULL, *slash = strrchr(m->files.path, '/');
    size_t len = 0;
    enum sac_code rc = SAC_OK;
    snprintf(i->path, sizeof i->path, "%s", m->files.path);
    if (m->files.is_gguf) gguf_str(&m->files.gguf, "general.name", &name, &len, &rc, NULL);
    if (!name || !len) name = slash && slash[1] ? slash + 1 : m->files.path, len = strlen(name);
    copy_visible(i->name, sizeof i->name, name, len);
    const char *arch = json_string_value(json_object_get(m->files.config, "model_type"));
    len = arch ? strlen(arch) : 0;
    if (m->files.is_gguf) gguf_str(&m->files.gguf, "general.architecture", &arch, &len, &rc, NULL);
    copy_visible(i->arch, sizeof i->arch, arch ? arch : "unknown", arch ? len : 7);
}

/* The types that hold the weights, by bytes: "Q8_0", or "Q4_K, Q6_K" for a mixture. */
static void describe_types(struct sac_model *m, const struct tensor_dir *d)
{
    struct { const char *name; size_t bytes; } seen[24] = { { 0 } };
    size_t total = 0, at = 0;
    for (int i = 0; i < d->n; i++) {
        const struct tensor *t = &d->t[i];
        int k = 0;
        if (t->n_dims < 2) continue;
        while (k < 23 && seen[k].name && strcmp(seen[k].name, t->type_name)) k++;
        seen[k].name = t->type_name;
        seen[k].bytes += t->bytes;
        total += t->bytes;
    }
    m->info.file_type[0] = 0;
    for (int round = 0; round < 3; round++) {
        int best = 0;
        for (int k = 1; k < 24; k++)
            if (seen[k].bytes > seen[best].bytes) best = k;
        if (!seen[best].bytes || seen[best].bytes < total / 50 || at >= sizeof m->info.file_type) break;
        at += (size_t)snprintf(m->info.file_type + at, sizeof m->info.file_type - at, "%s%s",
                               round ? ", " : "", seen[best].name);
        seen[best].bytes = 0;
    }
}

static uint64_t describe_hash(const struct tensor_dir *d)
{
    uint64_t h = 0;
    for (int i = 0; i < d->n; i++) {
        const struct tensor *t = &d->t[i];
        h = hash_bytes(t->name, strlen(t->name), h);
        h = hash_bytes(t->ne, sizeof t->ne, h);
        h = hash_bytes(t->type_name, strlen(t->type_name), h);
        h = hash_bytes(t->data, t->bytes < 64 ? t->bytes : 64, h);
    }
    return h;
}

/* The vocabulary that the bundled model and its kin were trained with. */
#define BUNDLED_VOCABULARY 0xfbcb5180e63a977du

static void describe(struct sac_model *m)
{
    struct sac_model_info *i = &m->info;
    const struct tensor_dir *d = model_files_dir(&m->files);
    describe_name(m);
    describe_types(m, d);
    for (int k = 0; k < d->n; k++) {
        i->weight_bytes += d->t[k].bytes;
        i->n_params += (size_t)tensor_count(&d->t[k]);
    }
    i->hash = describe_hash(d);
    i->bundled_style = m->tok && tokenizer_hash(m->tok) == BUNDLED_VOCABULARY;
    i->cpu = k_ops()->name;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int threads = m->opts.threads > 0 ? m->opts.threads : cores > 0 ? (int)cores : 1;
    i->n_threads = (char)(threads > 127 ? 127 : threads);
}

static void describe_settings(struct sac_model *m)
{
    struct sac_model_info *i = &m->info;
    const struct hparams *hp = &m->hp;
    i->shape = hp->shape;
    snprintf(i->arch, sizeof i->arch, "%s", hp->arch);
    i->rope_base = hp->rope.base;
    i->window = hp->window;
    for (int l = 0; hp->windowed && l < hp->shape.n_layers; l++) i->n_window_layers += hp->windowed[l];
    size_t element = m->opts.kv == SAC_KV_F32 ? 4 : 2;
    i->kv_bytes_per_token =
        (size_t)hp->shape.n_layers * (size_t)hp->shape.n_kv_heads * (size_t)hp->shape.head_dim * 2 * element;
}

/* ---- opening ---- */

/* Why text cannot be read: the tokenizer was refused, or there is none. */
enum sac_code model_no_text(const struct sac_model *m, struct sac_err *err)
{
    if (*m->info.cannot_run) return sac_fail(err, SAC_ENOTSUP, "%s", m->info.cannot_run);
    return sac_fail(err, SAC_ENOTSUP, "%s: has no tokenizer, so it cannot read text", m->info.name);
}

static enum sac_code load_weights(struct sac_model *m, struct sac_err *err)
{
    enum sac_code rc = bind_weights(m, err);
    if (rc || m->opts.directory_only) return rc;
    rc = model_fits(m, err);
    if (rc) return rc;
    m->pool = pool_new(m->info.n_threads, m->opts.nice);
    if (!m->pool)
        return sac_fail(err, SAC_ENOMEM, "%s: cannot start %d threads", m->files.path, m->info.n_threads);
    if (!linear_prepare(m->pool, m->mat, m->n_mat, m->opts.strict))
        return sac_fail(err, SAC_ENOMEM, "%s: out of memory while preparing its weights", m->files.path);
    return SAC_OK;
}

static enum sac_code load_settings(struct sac_model *m, struct sac_err *err)
{
    struct config *c = &m->config;
    enum sac_code rc = m->files.is_gguf ? config_gguf(c, &m->files.gguf, &m->arena, err)
                                        : config_hf(c, m->files.config, m->files.path, &m->arena, err);
    const char *dtype = json_string_value(json_object_get(m->files.config, "dtype"));
    if (!rc && !m->tok && dtype && !strcmp(dtype, "bfloat16") && !config_round_frequencies(c, &m->arena))
        rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory", m->files.path);
    m->hp = c->hp;
    return rc;
}

static enum sac_code open_files(struct sac_model *m, struct sac_err *err)
{
    struct sac_err text = { SAC_OK, "" }, reason = { SAC_OK, "" };
    enum sac_code rc = load_text(m, &text);
    if (rc && !(rc == SAC_ENOTSUP && m->opts.directory_only)) return sac_fail(err, rc, "%s", text.msg);
    if (rc) chat_recognise(m, NULL, 0);
    describe(m);
    rc = load_settings(m, &reason);
    if (!rc) {
        if (m->tok) tokenizer_limit(m->tok, m->hp.shape.n_vocab);
        describe_settings(m);
        rc = load_weights(m, &reason);
    }
    if (rc && !(rc == SAC_ENOTSUP && m->opts.directory_only)) return sac_fail(err, rc, "%s", reason.msg);
    snprintf(m->info.cannot_run, sizeof m->info.cannot_run, "%s", text.code ? text.msg : reason.msg);
    return SAC_OK;
}

enum sac_code sac_model_open(struct sac_model **out, const char *path, const struct sac_model_opts *opts,
                             struct sac_err *err)
{
    *out = NULL;
    enum sac_code rc = cpu_choose(err);
    if (rc) return rc;
    struct sac_model *m = calloc(1, sizeof *m);
    if (!m) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    pthread_mutex_init(&m->turn, NULL);
    pthread_mutex_init(&m->spare_lock, NULL);
    if (opts) m->opts = *opts;
    rc = model_files_open(&m->files, path, true, err);
    if (!rc) rc = open_files(m, err);
    if (rc) sac_model_close(m);
    else *out = m;
    return rc;
}

void sac_model_close(struct sac_model *m)
{
    if (!m) return;
    pool_free(m->pool);
    for (int i = 0; i < m->n_mat; i++) linear_release(&m->mat[i]);
    tokenizer_free(m->tok);
    model_files_close(&m->files);
    sac_arena_free(&m->arena);
    model_drop_spare(m);
    pthread_mutex_destroy(&m->spare_lock);
    pthread_mutex_destroy(&m->turn);
    free(m);
}

const struct sac_model_info *sac_model_info(const struct sac_model *m) { return &m->info; }

bool sac_model_layer_windowed(const struct sac_model *m, int layer)
{
    return m->hp.windowed && layer >= 0 && layer < m->hp.shape.n_layers && m->hp.windowed[layer];
}

/* ---- text ---- */

enum sac_code sac_tokenize(const struct sac_model *m, const char *text, size_t len, int flags,
                           struct sac_tokens *out, struct sac_err *err)
{
    *out = (struct sac_tokens){ 0 };
    if (!m->tok) return model_no_text(m, err);
    struct tok_part part = { 0, len, flags & SAC_TOK_SPECIAL };
    return tokenizer_encode(m->tok, text, &part, 1, flags & SAC_TOK_BOS, out, err);
}

void sac_tokens_free(struct sac_tokens *t)
{
    free(t->id);
    free(t->span);
    *t = (struct sac_tokens){ 0 };
}

int sac_token_bytes(const struct sac_model *m, int id, const char **bytes)
{
    *bytes = "";
    return m->tok ? tokenizer_bytes(m->tok, id, bytes) : 0;
}

bool sac_token_is_stop(const struct sac_model *m, int id) { return m->tok && tokenizer_is_stop(m->tok, id); }
