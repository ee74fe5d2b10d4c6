/* Settings from config.json of a Hugging Face folder, and the checks that all sources of settings share.
 *
 * Nothing is guessed: an unknown class, activation, RoPE type or layer kind is refused by its name. Where a
 * key may be absent, the default is the one the reference implementation uses. */
#include "model/family.h"
#include "model/rope.h"

#include <math.h>
#include <string.h>

struct reader { const json_t *o; const char *path; enum sac_code rc; struct sac_err *err; };

static const json_t *get(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

/* An integer in min..max; `def` where absent, and def < 0 means it must be there. */
static int get_int(struct reader *r, const char *key, int min, int max, int def)
{
    const json_t *v = get(r->o, key);
    if (r->rc) return min;
    if (!v && def >= 0) return def;
    json_int_t i = json_integer_value(v);
    if (json_is_integer(v) && i >= min && i <= max) return (int)i;
    if (!v) r->rc = sac_fail(r->err, SAC_EFORMAT, "%s/config.json: lacks %s", r->path, key);
    else
        r->rc = sac_fail(r->err, SAC_EFORMAT, "%s/config.json: %s must be a whole number from %d to %d",
                         r->path, key, min, max);
    return min;
}

static double get_real(struct reader *r, const json_t *o, const char *key, double def)
{
    const json_t *v = get(o, key);
    if (r->rc || !v) return def;
    double x = json_number_value(v);
    if (json_is_number(v) && isfinite(x)) return x;
    r->rc = sac_fail(r->err, SAC_EFORMAT, "%s/config.json: %s must be a number", r->path, key);
    return def;
}

/* A number that has no default. */
static double need_real(struct reader *r, const json_t *o, const char *key)
{
    if (!r->rc && !get(o, key))
        r->rc = sac_fail(r->err, SAC_EFORMAT, "%s/config.json: its RoPE scaling lacks %s", r->path, key);
    return get_real(r, o, key, 1);
}

static bool get_bool(struct reader *r, const char *key, bool def)
{
    const json_t *v = get(r->o, key);
    if (r->rc || !v) return def;
    if (!json_is_boolean(v))
        r->rc = sac_fail(r->err, SAC_EFORMAT, "%s/config.json: %s must be true or false", r->path, key);
    return json_is_true(v);
}

/* ---- the parts ---- */

static void read_family(struct reader *r, struct config *c)
{
    const char *hf_class = json_string_value(json_array_get(json_object_get(r->o, "architectures"), 0));
    const char *type = json_string_value(json_object_get(r->o, "model_type"));
    if (!hf_class && !type) {
        r->rc = sac_fail(r->err, SAC_EFORMAT, "%s/config.json: names no architecture", r->path);
        return;
    }
    c->fam = family_by_hf(hf_class, type);
    if (!c->fam)
        r->rc = sac_fail(r->err, SAC_ENOTSUP, "%s: architecture %.60s cannot be run; families that can: %s",
                         r->path, hf_class ? hf_class : type, family_names());
    else if (hf_class && type && family_by_hf(NULL, type) != c->fam)
        r->rc = sac_fail(r->err, SAC_ENOTSUP,
                         "%s/config.json: its architecture %.60s is not of the model_type %.60s it names",
                         r->path, hf_class, type);
}

static void refuse_unsupported(struct reader *r)
{
    static const char *const experts[] = { "num_experts", "num_local_experts", "n_routed_experts" };
    for (int i = 0; i < 3 && !r->rc; i++)
        if (json_integer_value(get(r->o, experts[i])) > 0)
            r->rc = sac_fail(r->err, SAC_ENOTSUP, "%s: a mixture of experts, which cannot be run", r->path);
    if (!r->rc && get(r->o, "quantization_config"))
        r->rc = sac_fail(r->err, SAC_ENOTSUP,
                         "%s: its weights are quantised in a way only other programs read "
                         "(quantization_config); use a GGUF file or the original weights",
                         r->path);
    if (!r->rc && json_is_true(get(r->o, "use_bidirectional_attention")))
        r->rc = sac_fail(r->err, SAC_ENOTSUP,
                         "%s: its tokens see those behind them too (use_bidirectional_attention), which "
                         "cannot be run",
                         r->path);
    if (!r->rc && get_bool(r, "mlp_bias", false))
        r->rc = sac_fail(r->err, SAC_ENOTSUP,
                         "%s: has biases in its feed-forward layers (mlp_bias), which cannot be "
                         "run",
                         r->path);
}

static void read_activation(struct reader *r, struct config *c)
{
    static const struct { const char *name; enum act act; } known[] = {
        { "silu", ACT_SILU }, { "swish", ACT_SILU }, { "gelu_pytorch_tanh", ACT_GELU_TANH },
    };
    /* Gemma reads hidden_activation and leaves a wrong hidden_act in old files. */
    const json_t *v = get(r->o, "hidden_activation");
    if (!v && c->fam->act != ACT_GELU_TANH) v = get(r->o, "hidden_act");
    c->hp.act = c->fam->act;
    if (r->rc || !v) return;
    const char *name = json_string_value(v);
    for (int i = 0; name && i < 3; i++)
        if (!strcmp(known[i].name, name)) {
            c->hp.act = known[i].act;
            return;
        }
    r->rc =
        sac_fail(r->err, SAC_ENOTSUP, "%s: activation %.40s cannot be run; silu and gelu_pytorch_tanh can",
                 r->path, name ? name : "(no name)");
}

static const float *read_factors(struct reader *r, const json_t *o, const char *key, int dim,
                                 struct sac_arena *a)
{
    const json_t *v = get(o, key);
    if (r->rc) return NULL;
    if (!json_is_array(v) || json_array_size(v) != (size_t)(dim / 2)) {
        r->rc =
            sac_fail(r->err, SAC_EFORMAT, "%s/config.json: %s must hold %d numbers", r->path, key, dim / 2);
        return NULL;
    }
    float *f = sac_arena_floats(a, (size_t)(dim / 2));
    for (int i = 0; f && i < dim / 2; i++) {
        f[i] = (float)json_number_value(json_array_get(v, (size_t)i));
        if (!(f[i] > 0) || !isfinite(f[i]))
            r->rc = sac_fail(r->err, SAC_EFORMAT, "%s/config.json: %s holds a number that is not positive",
                             r->path, key);
    }
    if (!f) r->rc = sac_fail(r->err, SAC_ENOMEM, "%s: out of memory", r->path);
    return f;
}

static void read_longrope(struct reader *r, struct config *c, struct rope_params *p, const json_t *s,
                          struct sac_arena *a)
{
    p->scaling = ROPE_LONGROPE;
    p->orig_ctx = get_real(r, s, "original_max_position_embeddings", 0);
    p->orig_ctx = get_real(r, r->o, "original_max_position_embeddings", p->orig_ctx);
    if (p->orig_ctx <= 0) p->orig_ctx = c->hp.shape.max_ctx;
    p->freq_factors = read_factors(r, s, "short_factor", p->dim, a);
    p->freq_factors_long = read_factors(r, s, "long_factor", p->dim, a);
    double stretch = get_real(r, s, "factor", (double)c->hp.shape.max_ctx / p->orig_ctx);
    double own = stretch <= 1 ? 1.0 : sqrt(1.0 + log(stretch) / log(p->orig_ctx));
    p->attn_factor = get_real(r, s, "attention_factor", own);
}

/* 1 + 0.1 m ln s for s above 1. */
static double yarn_mscale(double s, double m) { return s > 1 ? 1.0 + 0.1 * m * log(s) : 1.0; }

static void read_yarn(struct reader *r, struct config *c, struct rope_params *p, const json_t *s)
{
    bool ratio = !get(s, "factor") && get(s, "original_max_position_embeddings");
    p->scaling = ROPE_YARN;
    p->orig_ctx = get_real(r, s, "original_max_position_embeddings", c->hp.shape.max_ctx);
    p->factor = ratio ? c->hp.shape.max_ctx / p->orig_ctx : need_real(r, s, "factor");
    p->ext_factor = 1;
    p->beta_fast = get_real(r, s, "beta_fast", 32);
    p->beta_slow = get_real(r, s, "beta_slow", 1);
    p->between_dims = json_is_false(get(s, "truncate"));
    double one = get_real(r, s, "mscale", 0), all = get_real(r, s, "mscale_all_dim", 0);
    /* The tables multiply by attn_factor and the usual mscale; a factor given in the file stands alone. */
    double usual = yarn_mscale(p->factor, 1);
    double own = one != 0 && all != 0 ? yarn_mscale(p->factor, one) / yarn_mscale(p->factor, all) : usual;
    p->attn_factor = get_real(r, s, "attention_factor", own) / usual;
}

/* One set of RoPE settings: `s` is rope_scaling, rope_parameters or one of its parts, or NULL. */
static void read_rope(struct reader *r, struct config *c, struct rope_params *p, const json_t *s, double base,
                      struct sac_arena *a)
{
    *p = (struct rope_params){ .base = get_real(r, s, "rope_theta", base), .factor = 1, .attn_factor = 1,
                               .dim = c->hp.rope.dim };
    const char *type = json_string_value(get(s, "rope_type"));
    if (!type) type = json_string_value(get(s, "type"));
    if (!type && get(s, "factor"))
        r->rc = sac_fail(r->err, SAC_EFORMAT, "%s/config.json: RoPE scaling without a type", r->path);
    if (r->rc || !type || !strcmp(type, "default")) return;
    if (!strcmp(type, "linear")) {
        p->scaling = ROPE_LINEAR;
        p->factor = need_real(r, s, "factor");
    } else if (!strcmp(type, "llama3")) {
        p->scaling = ROPE_LLAMA3;
        p->factor = need_real(r, s, "factor");
        p->low_freq_factor = need_real(r, s, "low_freq_factor");
        p->high_freq_factor = need_real(r, s, "high_freq_factor");
        p->orig_ctx = need_real(r, s, "original_max_position_embeddings");
    } else if (!strcmp(type, "yarn")) {
        read_yarn(r, c, p, s);
    } else if (!strcmp(type, "longrope") || !strcmp(type, "su")) {
        read_longrope(r, c, p, s, a);
    } else {
        r->rc = sac_fail(r->err, SAC_ENOTSUP,
                         "%s: RoPE type %.40s cannot be run; default, linear, llama3, yarn and "
                         "longrope can",
                         r->path, type);
    }
}

static void read_ropes(struct reader *r, struct config *c, struct sac_arena *a)
{
    const json_t *params = get(r->o, "rope_parameters"), *scaling = get(r->o, "rope_scaling");
    const json_t *full = get(params, "full_attention"), *local = get(params, "sliding_attention");
    const json_t *flat = full || local ? NULL : params;
    bool parts = c->fam->rope_local_base > 0;   /* the family has settings for each kind of layer */
    if (!r->rc && ((params && !json_is_object(params)) || (scaling && !json_is_object(scaling))))
        r->rc = sac_fail(r->err, SAC_EFORMAT, "%s/config.json: %s must be an object", r->path,
                         params ? "rope_parameters" : "rope_scaling");
    if (!r->rc && params && json_object_size(params) && parts == (flat != NULL))
        r->rc = sac_fail(r->err, SAC_EFORMAT,
                         "%s/config.json: rope_parameters of %s must %shave full_attention and "
                         "sliding_attention",
                         r->path, c->fam->name, parts ? "" : "not ");
    double base = get_real(r, r->o, "rope_theta", c->fam->rope_local_base > 0 ? 1e6 : 10000);
    double share = get_real(r, r->o, "partial_rotary_factor", get_real(r, flat, "partial_rotary_factor", 1));
    if (!r->rc && share != 1 && !c->fam->fused)
        r->rc = sac_fail(r->err, SAC_ENOTSUP,
                         "%s: rotates only a part of each head (partial_rotary_factor %g), which "
                         "the %s family does not",
                         r->path, share, c->fam->name);
    c->hp.rope.dim = (int)(share * c->hp.shape.head_dim);
    const json_t *s = full                                                                ? full
                      : flat && (get(flat, "rope_type") || get(flat, "type") || !scaling) ? flat
                                                                                          : scaling;
    read_rope(r, c, &c->hp.rope, s, base, a);
    if (flat && s != flat) c->hp.rope.base = get_real(r, flat, "rope_theta", c->hp.rope.base);
    c->hp.rope_local = c->hp.rope;
    if (c->fam->rope_local_base > 0) {
        int dim = c->hp.rope.dim;
        read_rope(r, c, &c->hp.rope_local, local,
                  get_real(r, r->o, "rope_local_base_freq", c->fam->rope_local_base), a);
        c->hp.rope_local.dim = dim;
    }
}

static void read_windows(struct reader *r, struct config *c, struct sac_arena *a)
{
    int n = c->hp.shape.n_layers;
    const json_t *types = get(r->o, "layer_types");
    bool used = c->fam->window != WINDOW_QWEN || get_bool(r, "use_sliding_window", false);
    int window = get_int(r, "sliding_window", 0, MAX_CONTEXT, c->fam->hf_window_default);
    if (!get(r->o, "sliding_window") && json_object_get(r->o, "sliding_window")) window = 0;
    int period = get_int(r, "_sliding_window_pattern", 1, MAX_LAYERS, c->fam->window_period);
    period = get_int(r, "sliding_window_pattern", 1, MAX_LAYERS, period);
    int from = get_int(r, "max_window_layers", 0, MAX_CONTEXT, 28);   /* the reference's default */
    if (r->rc) return;
    if (types && json_array_size(types) != (size_t)n) {
        r->rc =
            sac_fail(r->err, SAC_EFORMAT, "%s/config.json: layer_types must name all %d layers", r->path, n);
        return;
    }
    bool *windowed = sac_arena_alloc(a, (size_t)n * sizeof *windowed);
    if (!windowed) r->rc = sac_fail(r->err, SAC_ENOMEM, "%s: out of memory", r->path);
    for (int i = 0; i < n && !r->rc; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        bool local = type && !strcmp(type, "sliding_attention");
        if (types && !local && (!type || strcmp(type, "full_attention"))) {
            r->rc = sac_fail(r->err, SAC_ENOTSUP, "%s: layer %d is of kind %.40s; full_attention and "
                             "sliding_attention can be run", r->path, i, type ? type : "(no name)");
            return;
        }
        if (local && c->fam->window == WINDOW_NONE) {
            r->rc = sac_fail(r->err, SAC_ENOTSUP, "%s: layer %d has a sliding window, which layers of the %s "
                             "family have not", r->path, i, c->fam->name);
            return;
        }
        switch (types ? WINDOW_NONE : c->fam->window) {
        case WINDOW_NONE: break;
        case WINDOW_ALL: local = true; break;
        case WINDOW_QWEN: local = i >= from; break;
        case WINDOW_PERIOD: local = (i + 1) % period != 0; break;
        }
        windowed[i] = local && used;
        if (windowed[i] && window == 0 && types)
            r->rc = sac_fail(r->err, SAC_EFORMAT, "%s/config.json: layer %d has a sliding window of no size "
                             "(sliding_window)", r->path, i);
    }
    c->hp.window = used ? window : 0;
    c->hp.windowed = windowed;
}

static double read_softcap(struct reader *r, const char *key, double def)
{
    /* null switches a family's cap off; an absent key leaves it on. */
    if (json_is_null(json_object_get(r->o, key))) return 0;
    return get_real(r, r->o, key, def);
}

enum sac_code config_hf(struct config *c, const json_t *config, const char *path, struct sac_arena *a,
                        struct sac_err *err)
{
    struct reader r = { .o = config, .path = path, .err = err };
    read_family(&r, c);
    if (r.rc) return r.rc;
    refuse_unsupported(&r);
    const json_t *text = get(config, "text_config");
    if (json_is_object(text)) r.o = text;   /* a multimodal wrapper: only its text model is run */
    refuse_unsupported(&r);
    bool gemma3 = c->fam->rope_local_base > 0;
    struct sac_shape *s = &c->hp.shape;
    s->n_embd = get_int(&r, "hidden_size", 1, MAX_WIDTH, gemma3 ? 2304 : -1);
    s->n_ff = get_int(&r, "intermediate_size", 1, MAX_WIDTH, gemma3 ? 9216 : -1);
    s->n_layers = get_int(&r, "num_hidden_layers", 1, MAX_LAYERS, gemma3 ? 26 : -1);
    s->n_heads = get_int(&r, "num_attention_heads", 1, MAX_HEADS, gemma3 ? 8 : -1);
    s->n_kv_heads = get_int(&r, "num_key_value_heads", 1, MAX_HEADS, gemma3 ? 4 : s->n_heads);
    s->n_vocab = get_int(&r, "vocab_size", 1, MAX_VOCAB, gemma3 ? 262208 : -1);
    s->max_ctx = get_int(&r, "max_position_embeddings", 1, MAX_CONTEXT, gemma3 ? 131072 : -1);
    int head_dim = c->fam->plus_one ? 256 : !strcmp(c->fam->name, "qwen3") ? 128 : 0;
    s->head_dim = get_int(&r, "head_dim", 1, MAX_HEAD_DIM, head_dim);
    if (!r.rc && s->head_dim == 0) {
        if (s->n_embd % s->n_heads)
            r.rc = sac_fail(err, SAC_EFORMAT, "%s/config.json: hidden_size %d is not a multiple of %d heads",
                            path, s->n_embd, s->n_heads);
        else s->head_dim = s->n_embd / s->n_heads;
    }
    c->hp.norm_eps = get_real(&r, r.o, "rms_norm_eps", c->fam->fused ? 1e-5 : 1e-6);
    double scalar = get_real(&r, r.o, "query_pre_attn_scalar", c->fam->plus_one ? 256 : s->head_dim);
    c->hp.attn_scale = scalar > 0 ? 1.0 / sqrt(scalar) : 0;
    c->hp.attn_softcap =
        c->fam->plus_one ? read_softcap(&r, "attn_logit_softcapping", c->fam->softcap_attn) : 0;
    c->hp.final_softcap =
        c->fam->plus_one ? read_softcap(&r, "final_logit_softcapping", c->fam->softcap_final) : 0;
    bool bias = get_bool(&r, "attention_bias", false);
    c->qkv_bias = c->fam->qkv_bias == BIAS_REQUIRED ? BIAS_REQUIRED : bias ? BIAS_REQUIRED : BIAS_NONE;
    c->o_bias = bias && c->fam->qkv_bias != BIAS_REQUIRED;
    if (!r.rc && bias && c->fam->qkv_bias == BIAS_NONE)
        r.rc = sac_fail(err, SAC_ENOTSUP, "%s: attention_bias is set, which the %s family does not have",
                        path, c->fam->name);
    const json_t *tie = get(r.o, "tie_word_embeddings");
    if (!tie) tie = get(config, "tie_word_embeddings");
    c->tied_known = tie != NULL;
    c->tied = tie ? json_is_true(tie) : c->fam->tied;
    if (!r.rc) read_activation(&r, c);
    if (!r.rc) read_ropes(&r, c, a);
    if (!r.rc) read_windows(&r, c, a);
    return r.rc ? r.rc : config_finish(c, path, a, err);
}

/* ---- shared ---- */

static enum sac_code check_rope(const struct config *c, const struct rope_params *p, const char *path,
                                struct sac_err *err)
{
    if (p->dim < 2 || p->dim % 2 || p->dim > c->hp.shape.head_dim)
        return sac_fail(err, SAC_EFORMAT, "%s: RoPE over %d dimensions of heads of %d", path, p->dim,
                        c->hp.shape.head_dim);
    if (!(p->base > 1) || !(p->factor > 0) || !(p->attn_factor > 0))
        return sac_fail(err, SAC_EFORMAT,
                        "%s: impossible RoPE settings: base %g, factor %g, attention factor %g", path,
                        p->base, p->factor, p->attn_factor);
    bool original = p->scaling == ROPE_LLAMA3 || p->scaling == ROPE_YARN || p->scaling == ROPE_LONGROPE;
    if (original && !p->freq_factors && !(p->orig_ctx > 0))
        return sac_fail(err, SAC_EFORMAT, "%s: RoPE scaling without the original context length", path);
    if (p->scaling == ROPE_LLAMA3 && !p->freq_factors && !(p->high_freq_factor > p->low_freq_factor))
        return sac_fail(err, SAC_EFORMAT,
                        "%s: RoPE scaling of llama3 needs high_freq_factor above low_freq_factor", path);
    return SAC_OK;
}

/* Llama 3: long waves are slowed by `factor`, short ones kept, those between blended. */
static bool llama3_factors(struct rope_params *p, struct sac_arena *a)
{
    if (p->scaling != ROPE_LLAMA3 || p->freq_factors) return true;
    float *f = sac_arena_floats(a, (size_t)(p->dim / 2));
    if (!f) return false;
    for (int i = 0; i < p->dim / 2; i++) {
        double wave = 6.283185307179586 / pow(p->base, -2.0 * i / p->dim);
        double t = (p->orig_ctx / wave - p->low_freq_factor) / (p->high_freq_factor - p->low_freq_factor);
        if (wave < p->orig_ctx / p->high_freq_factor) f[i] = 1;
        else if (wave > p->orig_ctx / p->low_freq_factor) f[i] = (float)p->factor;
        else f[i] = (float)(1.0 / ((1.0 - t) / p->factor + t));
    }
    p->freq_factors = f;
    return true;
}

/* PyTorch's model.to(bfloat16) rounds the table of RoPE frequencies with the weights, and float() does not
 * bring the lost bits back. Folders of random weights made that way, with reference outputs and no tokenizer,
 * agree with their references to 1e-6 with rounded frequencies and to 1e-2 without. Models that can read text
 * are loaded without that detour and keep exact frequencies. */
bool config_round_frequencies(struct config *c, struct sac_arena *a)
{
    struct rope_params *both[] = { &c->hp.rope, &c->hp.rope_local };
    for (int k = 0; k < 2; k++) {
        struct rope_params *p = both[k];
        float *f = sac_arena_floats(a, (size_t)(p->dim / 2));
        double mscale = 1;
        if (!f) return false;
        for (int i = 0; i < p->dim / 2; i++) {
            float x = (float)rope_frequency(p, i, &mscale);
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
            memcpy(&x, &bits, sizeof x);
            f[i] = (float)(pow(p->base, -2.0 * i / p->dim) / (double)x);
        }
        /* The factors now hold all of the scaling; what is left of it is the factor on cos and sin. */
        p->freq_factors = f;
        if (p->scaling == ROPE_LINEAR) p->scaling = ROPE_NONE;
        if (p->scaling == ROPE_YARN) {
            p->scaling = ROPE_LONGROPE;
            p->attn_factor = mscale;
        }
    }
    return true;
}

enum sac_code config_finish(struct config *c, const char *path, struct sac_arena *a, struct sac_err *err)
{
    struct hparams *hp = &c->hp;
    struct sac_shape *s = &hp->shape;
    if (s->n_heads % s->n_kv_heads)
        return sac_fail(err, SAC_EFORMAT, "%s: %d query heads cannot share %d key-value heads evenly", path,
                        s->n_heads, s->n_kv_heads);
    if (!(hp->norm_eps > 0) || !(hp->attn_scale > 0) || hp->attn_softcap < 0 || hp->final_softcap < 0)
        return sac_fail(err, SAC_EFORMAT,
                        "%s: impossible settings: norm epsilon %g, attention scale %g, soft caps %g "
                        "and %g",
                        path, hp->norm_eps, hp->attn_scale, hp->attn_softcap, hp->final_softcap);
    enum sac_code rc = check_rope(c, &hp->rope, path, err);
    if (!rc) rc = check_rope(c, &hp->rope_local, path, err);
    if (rc) return rc;
    if (!llama3_factors(&hp->rope, a) || !llama3_factors(&hp->rope_local, a))
        return sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; c->fam->name[i] && i + 1 < sizeof hp->arch; i++) hp->arch[i] = c->fam->name[i];
    hp->embd_scale = c->fam->scale_embd ? sqrt((double)s->n_embd) : 1.0;
    bool any = false;
    for (int i = 0; hp->windowed && i < s->n_layers; i++) any |= hp->windowed[i];
    if (!any || hp->window == 0) {
        hp->windowed = NULL;
        hp->window = 0;
    }
    return SAC_OK;
}
