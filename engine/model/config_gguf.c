/* Settings from the metadata of a GGUF file. */
#include "model/family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct reader {
    const struct gguf *g;
    const char *arch, *path;
    char key[96];
    int n_layers;               /* once it is known */
    enum sac_code rc;
    struct sac_err *err;
};

static const char *key_of(struct reader *r, const char *name)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, name);
    return r->key;
}

static void missing(struct reader *r)
{
    if (!r->rc) r->rc = sac_fail(r->err, SAC_EFORMAT, "%s: lacks the key %s", r->path, r->key);
}

/* A number, or an array of one number for each layer that must all be equal; def < 0: must be there. */
static int get_int(struct reader *r, const char *name, int min, int max, int def)
{
    int64_t v = def;
    const struct gguf_kv *kv = r->rc ? NULL : gguf_find(r->g, key_of(r, name));
    if (kv && kv->type == GGUF_ARRAY && gguf_is_int(kv->elem) && kv->count > 0) {
        v = gguf_elem_int(kv, 0);
        if (kv->count != (uint64_t)r->n_layers) {
            r->rc = sac_fail(r->err, SAC_EFORMAT, "%s: %s has %llu numbers for %d layers", r->path, r->key,
                             (unsigned long long)kv->count, r->n_layers);
            return min;
        }
        for (uint64_t i = 1; i < kv->count; i++)
            if (gguf_elem_int(kv, i) != v) {
                r->rc = sac_fail(r->err, SAC_ENOTSUP, "%s: %s differs between layers, which cannot be run",
                                 r->path, r->key);
                return min;
            }
        if (v < min || v > max)
            r->rc = sac_fail(r->err, SAC_EFORMAT, "%s: %s is %lld; %d to %d is possible", r->path, r->key,
                             (long long)v, min, max);
    } else if (!gguf_int(r->g, key_of(r, name), min, max, &v, &r->rc, r->err) && def < 0) {
        missing(r);
    }
    return r->rc ? min : (int)v;
}

static double get_real(struct reader *r, const char *name, double def)
{
    double v = def;
    gguf_float(r->g, key_of(r, name), &v, &r->rc, r->err);
    return v;
}

static bool text_is(const char *s, size_t len, const char *what)
{
    return strlen(what) == len && !memcmp(s, what, len);
}

static void read_rope(struct reader *r, struct config *c)
{
    struct rope_params *p = &c->hp.rope;
    const char *type = NULL;
    size_t len = 0;
    *p = (struct rope_params){ .base = get_real(r, "rope.freq_base", 10000), .attn_factor = 1,
                               .adjacent = c->fam->gguf_adjacent };
    p->dim = get_int(r, "rope.dimension_count", 2, MAX_HEAD_DIM, c->hp.shape.head_dim);
    p->factor = get_real(r, "rope.scaling.factor", get_real(r, "rope.scale_linear", 1));
    if (p->factor == 0) p->factor = 1;
    gguf_str(r->g, key_of(r, "rope.scaling.type"), &type, &len, &r->rc, r->err);
    if (r->rc) return;
    if (!type) {
        p->scaling = p->factor != 1 ? ROPE_LINEAR : ROPE_NONE;
    } else if (text_is(type, len, "none")) {
        p->scaling = ROPE_NONE;
    } else if (text_is(type, len, "linear")) {
        p->scaling = p->factor != 1 ? ROPE_LINEAR : ROPE_NONE;
    } else if (text_is(type, len, "yarn")) {
        p->scaling = ROPE_YARN;
        p->ext_factor = get_real(r, "rope.scaling.yarn_ext_factor", 1);
        p->beta_fast = get_real(r, "rope.scaling.yarn_beta_fast", 32);
        p->beta_slow = get_real(r, "rope.scaling.yarn_beta_slow", 1);
    } else if (text_is(type, len, "longrope")) {
        p->scaling = ROPE_LONGROPE;
    } else {
        r->rc = sac_fail(r->err, SAC_ENOTSUP,
                         "%s: RoPE type %.*s cannot be run; none, linear, yarn and longrope can", r->path,
                         len < 40 ? (int)len : 40, type);
    }
    p->orig_ctx = get_real(r, "rope.scaling.original_context_length", c->hp.shape.max_ctx);
    p->attn_factor = get_real(r, "rope.scaling.attn_factor", get_real(r, "rope.scaling.yarn_attn_factor", 1));
    c->hp.rope_local = *p;
    if (c->fam->rope_local_base > 0)   /* windowed layers are not scaled */
        c->hp.rope_local =
            (struct rope_params){ .base = get_real(r, "rope.freq_base_swa", c->fam->rope_local_base),
                                  .factor = 1,
                                  .attn_factor = 1,
                                  .dim = p->dim };
    else c->hp.rope_local.base = get_real(r, "rope.freq_base_swa", p->base);
}

static void read_windows(struct reader *r, struct config *c, struct sac_arena *a)
{
    int n = c->hp.shape.n_layers, period = c->fam->window_period;
    enum window_rule rule = c->fam->window == WINDOW_NONE ? WINDOW_ALL : c->fam->window;
    /* Conversion writes the key where it counts; for qwen it has no say of which layers, and none uses it. */
    int window = rule == WINDOW_QWEN ? 0 : get_int(r, "attention.sliding_window", 0, MAX_CONTEXT,
                                                   c->fam->window_default);
    const struct gguf_kv *pattern =
        r->rc ? NULL : gguf_find(r->g, key_of(r, "attention.sliding_window_pattern"));
    bool listed = pattern && pattern->type == GGUF_ARRAY;
    if (listed &&
        (pattern->count != (uint64_t)n || (pattern->elem != GGUF_BOOL && !gguf_is_int(pattern->elem))))
        r->rc = sac_fail(r->err, SAC_EFORMAT, "%s: %s must hold a bool for each of %d layers", r->path,
                         r->key, n);
    if (!listed) period = get_int(r, "attention.sliding_window_pattern", 1, MAX_LAYERS, period ? period : 1);
    bool *windowed = sac_arena_alloc(a, (size_t)n * sizeof *windowed);
    if (!windowed) r->rc = sac_fail(r->err, SAC_ENOMEM, "%s: out of memory", r->path);
    for (int i = 0; i < n && !r->rc; i++)
        windowed[i] = listed ? gguf_elem_int(pattern, (uint64_t)i) != 0
                             : rule == WINDOW_ALL || i % period < period - 1;
    c->hp.window = window;
    c->hp.windowed = windowed;
}

static void read_shape(struct reader *r, struct config *c)
{
    struct sac_shape *s = &c->hp.shape;
    s->n_layers = r->n_layers = get_int(r, "block_count", 1, MAX_LAYERS, -1);
    s->n_embd = get_int(r, "embedding_length", 1, MAX_WIDTH, -1);
    s->n_ff = get_int(r, "feed_forward_length", 1, MAX_WIDTH, -1);
    s->n_heads = get_int(r, "attention.head_count", 1, MAX_HEADS, -1);
    s->n_kv_heads = get_int(r, "attention.head_count_kv", 1, MAX_HEADS, s->n_heads);
    s->max_ctx = get_int(r, "context_length", 1, MAX_CONTEXT, -1);
    s->head_dim = get_int(r, "attention.key_length", 1, MAX_HEAD_DIM, 0);
    if (!r->rc && s->head_dim == 0) {
        if (s->n_embd % s->n_heads)
            r->rc = sac_fail(r->err, SAC_EFORMAT, "%s: embedding_length %d is not a multiple of %d heads",
                             r->path, s->n_embd, s->n_heads);
        else s->head_dim = s->n_embd / s->n_heads;
    }
    int value = get_int(r, "attention.value_length", 1, MAX_HEAD_DIM, s->head_dim ? s->head_dim : 1);
    if (!r->rc && value != s->head_dim)
        r->rc = sac_fail(r->err, SAC_ENOTSUP,
                         "%s: keys of %d and values of %d dimensions; only equal ones can be run", r->path,
                         s->head_dim, value);
    const struct tensor *embd = dir_find(&r->g->dir, "token_embd.weight");
    const struct gguf_kv *tokens = gguf_find(r->g, "tokenizer.ggml.tokens");
    if (embd && embd->ne[1] <= MAX_VOCAB) s->n_vocab = (int)embd->ne[1];
    else
        s->n_vocab =
            get_int(r, "vocab_size", 1, MAX_VOCAB,
                    tokens && tokens->count <= MAX_VOCAB && tokens->count > 0 ? (int)tokens->count : 1);
}

enum sac_code config_gguf(struct config *c, const struct gguf *g, struct sac_arena *a, struct sac_err *err)
{
    char arch[64];
    const char *name = NULL, *type = "model";
    size_t len = 0, type_len = 5;
    struct reader r = { .g = g, .arch = arch, .path = g->map[0].path, .err = err };
    if (!gguf_str(g, "general.architecture", &name, &len, &r.rc, err))
        return r.rc ? r.rc : sac_fail(err, SAC_EFORMAT, "%s: lacks the key general.architecture", r.path);
    gguf_str(g, "general.type", &type, &type_len, &r.rc, err);
    if (!r.rc && !text_is(type, type_len, "model"))
        return sac_fail(err, SAC_ENOTSUP, "%s: holds a %.*s, not a model", r.path,
                        type_len < 40 ? (int)type_len : 40, type);
    c->fam = family_by_gguf(name, len);
    if (!c->fam)
        return sac_fail(err, SAC_ENOTSUP, "%s: architecture %.*s cannot be run; families that can: %s",
                        r.path, len < 60 ? (int)len : 60, name, family_names());
    snprintf(arch, sizeof arch, "%s", c->fam->name);
    read_shape(&r, c);
    if (get_int(&r, "expert_count", 0, MAX_WIDTH, 0) > 0 && !r.rc)
        r.rc = sac_fail(err, SAC_ENOTSUP, "%s: a mixture of experts, which cannot be run", r.path);
    bool causal = true;
    gguf_bool(g, key_of(&r, "attention.causal"), &causal, &r.rc, err);
    if (!causal && !r.rc)
        r.rc = sac_fail(err, SAC_ENOTSUP, "%s: its tokens see those behind them too (%s is false), which "
                        "cannot be run", r.path, r.key);
    struct hparams *hp = &c->hp;
    hp->norm_eps = get_real(&r, "attention.layer_norm_rms_epsilon", -1);
    if (hp->norm_eps == -1) missing(&r);
    if (r.rc) return r.rc;
    hp->act = c->fam->act;
    bool big = c->fam->layers_27b == hp->shape.n_layers;
    double own = big ? (double)hp->shape.n_embd / hp->shape.n_heads : hp->shape.head_dim;
    hp->attn_scale = get_real(&r, "attention.scale", 1.0 / sqrt(own));
    if (hp->attn_scale == 0) hp->attn_scale = 1.0 / sqrt(own);
    if (c->fam->plus_one) {   /* soft caps are gemma's; other files may carry zeros */
        hp->attn_softcap = get_real(&r, "attn_logit_softcapping", c->fam->softcap_attn);
        hp->final_softcap = get_real(&r, "final_logit_softcapping", c->fam->softcap_final);
    }
    c->qkv_bias = c->fam->qkv_bias;
    read_rope(&r, c);
    read_windows(&r, c, a);
    return r.rc ? r.rc : config_finish(c, r.path, a, err);
}
