/* Binding: every weight the layer loop reads, found by name, checked against the settings.
 *
 * One table lists the roles: the name in either container, the shape it must have, and when it must be there.
 * Kernels trust the settings, so a tensor of another shape is refused here. Matrices stay in the mapping;
 * vectors become f32 copies. */
#include "model/linear.h"
#include "model/model_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum width { W_ONE, W_EMBD, W_Q, W_KV, W_FF, W_VOCAB, W_HEAD, W_QKV, W_TWO_FF };
enum when { ALWAYS, PLAIN_ATTN /* not fused */, FUSED, QK_NORM, TWO_NORMS, FOUR_NORMS, QKV_BIAS, O_BIAS };

struct role {
    const char *gguf, *hf;      /* behind blk.N. and model.layers.N. */
    size_t at;                  /* in struct layer_weights */
    enum width rows, cols;      /* rows W_ONE: a vector */
    enum when when;
};

#define AT(field) offsetof(struct layer_weights, field)
static const struct role roles[] = {
    { "attn_norm.weight", "input_layernorm.weight", AT(attn_norm), W_ONE, W_EMBD, ALWAYS },
    { "ffn_norm.weight", "post_attention_layernorm.weight", AT(ffn_norm), W_ONE, W_EMBD, TWO_NORMS },
    { "ffn_norm.weight", "pre_feedforward_layernorm.weight", AT(ffn_norm), W_ONE, W_EMBD, FOUR_NORMS },
    { "post_attention_norm.weight", "post_attention_layernorm.weight", AT(post_attn_norm), W_ONE, W_EMBD,
      FOUR_NORMS },
    { "post_ffw_norm.weight", "post_feedforward_layernorm.weight", AT(post_ffn_norm), W_ONE, W_EMBD,
      FOUR_NORMS },
    { "attn_q_norm.weight", "self_attn.q_norm.weight", AT(q_norm), W_ONE, W_HEAD, QK_NORM },
    { "attn_k_norm.weight", "self_attn.k_norm.weight", AT(k_norm), W_ONE, W_HEAD, QK_NORM },
    { "attn_q.bias", "self_attn.q_proj.bias", AT(bq), W_ONE, W_Q, QKV_BIAS },
    { "attn_k.bias", "self_attn.k_proj.bias", AT(bk), W_ONE, W_KV, QKV_BIAS },
    { "attn_v.bias", "self_attn.v_proj.bias", AT(bv), W_ONE, W_KV, QKV_BIAS },
    { "attn_output.bias", "self_attn.o_proj.bias", AT(bo), W_ONE, W_EMBD, O_BIAS },
    { "attn_q.weight", "self_attn.q_proj.weight", AT(wq), W_Q, W_EMBD, PLAIN_ATTN },
    { "attn_k.weight", "self_attn.k_proj.weight", AT(wk), W_KV, W_EMBD, PLAIN_ATTN },
    { "attn_v.weight", "self_attn.v_proj.weight", AT(wv), W_KV, W_EMBD, PLAIN_ATTN },
    { "attn_qkv.weight", "self_attn.qkv_proj.weight", AT(wq), W_QKV, W_EMBD, FUSED },
    { "attn_output.weight", "self_attn.o_proj.weight", AT(wo), W_EMBD, W_Q, ALWAYS },
    { "ffn_gate.weight", "mlp.gate_proj.weight", AT(gate), W_FF, W_EMBD, PLAIN_ATTN },
    { "ffn_up.weight", "mlp.up_proj.weight", AT(up), W_FF, W_EMBD, PLAIN_ATTN },
    { "ffn_up.weight", "mlp.gate_up_proj.weight", AT(gate), W_TWO_FF, W_EMBD, FUSED },
    { "ffn_down.weight", "mlp.down_proj.weight", AT(down), W_EMBD, W_FF, ALWAYS },
};
enum { N_ROLES = sizeof roles / sizeof *roles };

/* Parts outside the layers that change what a model computes and that no family here has a place for. */
static const char *const foreign[] = {
    "output.bias", "output_norm.bias", "token_embd_norm.weight", "position_embd.weight", "lm_head.bias",
    "norm.bias", "model.norm.bias",
};
/* Parts of layers that carry nothing which the settings do not say. */
static const char *const idle[] = { "attn_rot_embd.weight", "self_attn.rotary_emb.inv_freq" };

struct binder {
    struct sac_model *m;
    const struct tensor_dir *dir;
    const char *prefix;         /* of names in safetensors: "model." ... */
    const char *path;
    bool gguf;
    struct sac_err *err;
};

static int width_of(const struct sac_shape *s, enum width w)
{
    int q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    const int all[] = { 1, s->n_embd, q, kv, s->n_ff, s->n_vocab, s->head_dim, q + 2 * kv, 2 * s->n_ff };
    return all[w];
}

/* 1: must be there, 0: may be, -1: must not. */
static int wanted(const struct config *c, enum when when)
{
    const struct family *f = c->fam;
    switch (when) {
    case ALWAYS: return 1;
    case PLAIN_ATTN: return f->fused ? -1 : 1;
    case FUSED: return f->fused ? 1 : -1;
    case QK_NORM: return f->qk_norm ? 1 : -1;
    case TWO_NORMS: return f->post_norms ? -1 : 1;
    case FOUR_NORMS: return f->post_norms ? 1 : -1;
    case QKV_BIAS: return c->qkv_bias == BIAS_REQUIRED ? 1 : c->qkv_bias == BIAS_OPTIONAL ? 0 : -1;
    case O_BIAS: return c->o_bias ? 1 : c->qkv_bias == BIAS_OPTIONAL ? 0 : -1;
    }
    return -1;
}

static enum sac_code check_shape(const struct binder *b, const struct tensor *t, int rows, int cols)
{
    char have[96];
    bool vector = rows == 1;
    bool same = t->ne[0] == cols && t->ne[1] == rows && t->ne[2] == 1 && t->ne[3] == 1;
    if (t->type == K_N_TYPES)
        return sac_fail(b->err, SAC_ENOTSUP, "%s: tensor '%s' is of type %s, which cannot be run", b->path,
                        t->name, t->type_name);
    if (same) return SAC_OK;
    if (vector)
        return sac_fail(b->err, SAC_EFORMAT, "%s: tensor '%s' is %s, expected [%d]", b->path, t->name,
                        tensor_shape(t, have), cols);
    return sac_fail(b->err, SAC_EFORMAT, "%s: tensor '%s' is %s, expected [%d, %d]", b->path, t->name,
                    tensor_shape(t, have), rows, cols);
}

static enum sac_code out_of_memory(const struct binder *b)
{
    return sac_fail(b->err, SAC_ENOMEM, "%s: out of memory for its weights", b->path);
}

static enum sac_code bind_vector(struct binder *b, const struct tensor *t, int n, bool norm,
                                 const float **out)
{
    enum sac_code rc = check_shape(b, t, 1, n);
    if (rc) return rc;
    if (k_type_info[t->type].block != 1)
        return sac_fail(b->err, SAC_ENOTSUP,
                        "%s: tensor '%s' is a vector of type %s; F32, F16 or BF16 is expected", b->path,
                        t->name, t->type_name);
    float *v = sac_arena_floats(&b->m->arena, (size_t)n);
    if (!v) return out_of_memory(b);
    k_ops()->dequant(t->type, t->data, n, v);
    if (norm && !b->gguf && b->m->config.fam->plus_one)
        for (int i = 0; i < n; i++) v[i] += 1.0f;
    *out = v;
    return SAC_OK;
}

/* Rows first .. first+rows-1 of a tensor as a matrix of its own. */
static enum sac_code bind_rows(struct binder *b, const struct tensor *t, int first, int rows,
                               struct k_mat **out)
{
    const struct k_type_info *ti = &k_type_info[t->type];
    size_t row_bytes = (size_t)(t->ne[0] / ti->block) * (size_t)ti->bytes;
    const void *data = t->data + (size_t)first * row_bytes;
    bool mapped = true;
    size_t unit = t->type == K_F32 ? 4 : ti->block == 1 ? 2 : 1;
    if ((uintptr_t)data % unit) {   /* files of other writers may place f32 anywhere */
        void *copy = sac_arena_alloc(&b->m->arena, row_bytes * (size_t)rows);
        if (!copy) return out_of_memory(b);
        data = memcpy(copy, data, row_bytes * (size_t)rows);
        mapped = false;
    }
    struct k_mat *w = &b->m->mat[b->m->n_mat++];
    *w = (struct k_mat){ .type = t->type,
                         .rows = rows,
                         .cols = (int)t->ne[0],
                         .row_bytes = row_bytes,
                         .data = data,
                         .mapped = mapped };
    *out = w;
    return SAC_OK;
}

static void name_of(const struct binder *b, int layer, const char *gguf, const char *hf, char *out,
                    size_t cap)
{
    if (b->gguf) snprintf(out, cap, "blk.%d.%s", layer, gguf);
    else snprintf(out, cap, "%slayers.%d.%s", b->prefix, layer, hf);
}

static enum sac_code bind_role(struct binder *b, int layer, const struct role *r)
{
    const struct sac_shape *s = &b->m->hp.shape;
    char name[TENSOR_NAME_MAX + 1];
    name_of(b, layer, r->gguf, r->hf, name, sizeof name);
    const struct tensor *t = dir_find(b->dir, name);
    if (!t) return sac_fail(b->err, SAC_EFORMAT, "%s: lacks tensor '%s'", b->path, name);
    char *slot = (char *)&b->m->w.layer[layer] + r->at;
    int rows = width_of(s, r->rows), cols = width_of(s, r->cols);
    if (r->rows == W_ONE) {
        bool norm = strstr(r->gguf, "norm") != NULL;
        return bind_vector(b, t, cols, norm, (const float **)(void *)slot);
    }
    enum sac_code rc = check_shape(b, t, rows, cols);
    if (rc) return rc;
    struct layer_weights *lw = &b->m->w.layer[layer];
    int q = width_of(s, W_Q), kv = width_of(s, W_KV);
    if (r->rows == W_QKV) {
        rc = bind_rows(b, t, 0, q, &lw->wq);
        if (!rc) rc = bind_rows(b, t, q, kv, &lw->wk);
        return rc ? rc : bind_rows(b, t, q + kv, kv, &lw->wv);
    }
    if (r->rows == W_TWO_FF) {
        rc = bind_rows(b, t, 0, s->n_ff, &lw->gate);
        return rc ? rc : bind_rows(b, t, s->n_ff, s->n_ff, &lw->up);
    }
    return bind_rows(b, t, 0, rows, (struct k_mat **)(void *)slot);
}

/* Is the tensor's name that of a role this model has? gguf and hf names may serve two roles. */
static bool used_otherwise(const struct binder *b, const struct role *r)
{
    for (int i = 0; i < N_ROLES; i++) {
        bool same = b->gguf ? !strcmp(roles[i].gguf, r->gguf) : !strcmp(roles[i].hf, r->hf);
        if (same && wanted(&b->m->config, roles[i].when) >= 0) return true;
    }
    return false;
}

static enum sac_code refuse(const struct binder *b, const char *name)
{
    return sac_fail(b->err, SAC_ENOTSUP,
                    "%s: has tensor '%s', for which the %s family has no place; run like this its "
                    "answers would be wrong",
                    b->path, name, b->m->config.fam->name);
}

static enum sac_code bind_layer(struct binder *b, int layer)
{
    char name[TENSOR_NAME_MAX + 1];
    enum sac_code rc = SAC_OK;
    for (int i = 0; i < N_ROLES && !rc; i++) {
        int want = wanted(&b->m->config, roles[i].when);
        name_of(b, layer, roles[i].gguf, roles[i].hf, name, sizeof name);
        bool there = dir_find(b->dir, name) != NULL;
        if (want > 0 || (want == 0 && there)) rc = bind_role(b, layer, &roles[i]);
        else if (want < 0 && there && !used_otherwise(b, &roles[i])) rc = refuse(b, name);
    }
    return rc;
}

static bool is_one_of(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(name, list[i])) return true;
    return false;
}

/* Has every tensor of the layers a place? What a layer holds is part of what it computes: a scale, a bias or
 * a gate that is not known here must not be dropped. */
static enum sac_code check_strangers(const struct binder *b)
{
    char lead[64];
    int lead_n = snprintf(lead, sizeof lead, b->gguf ? "blk." : "%slayers.", b->prefix);
    for (int i = 0; i < b->dir->n; i++) {
        const char *name = b->dir->t[i].name;
        if (is_one_of(name, foreign, sizeof foreign / sizeof *foreign)) return refuse(b, name);
        if (strncmp(name, lead, (size_t)lead_n) != 0) continue;
        char *part;
        long layer = strtol(name + lead_n, &part, 10);
        bool known = *part == '.' && is_one_of(part + 1, idle, sizeof idle / sizeof *idle);
        for (int k = 0; k < N_ROLES && *part == '.' && !known; k++)
            known = !strcmp(part + 1, b->gguf ? roles[k].gguf : roles[k].hf);
        if (!known || (b->gguf && layer >= b->m->hp.shape.n_layers)) return refuse(b, name);
    }
    return SAC_OK;
}

/* The prefix of safetensors names, told by where the embedding is. */
static const char *find_prefix(const struct tensor_dir *dir)
{
    static const char *const prefixes[] = { "model.", "language_model.model.", "model.language_model.", "" };
    char name[64];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%sembed_tokens.weight", prefixes[i]);
        if (dir_find(dir, name)) return prefixes[i];
    }
    return "model.";
}

static enum sac_code bind_ends(struct binder *b)
{
    struct sac_model *m = b->m;
    const struct sac_shape *s = &m->hp.shape;
    char name[64];
    snprintf(name, sizeof name, "%s%s", b->gguf ? "" : b->prefix,
             b->gguf ? "token_embd.weight" : "embed_tokens.weight");
    const struct tensor *t = dir_find(b->dir, name);
    if (!t) return sac_fail(b->err, SAC_EFORMAT, "%s: lacks tensor '%s'", b->path, name);
    enum sac_code rc = check_shape(b, t, s->n_vocab, s->n_embd);
    if (!rc) rc = bind_rows(b, t, 0, s->n_vocab, &m->w.embd);
    if (rc) return rc;
    snprintf(name, sizeof name, "%s%s", b->gguf ? "" : b->prefix,
             b->gguf ? "output_norm.weight" : "norm.weight");
    t = dir_find(b->dir, name);
    if (!t) return sac_fail(b->err, SAC_EFORMAT, "%s: lacks tensor '%s'", b->path, name);
    rc = bind_vector(b, t, s->n_embd, true, &m->w.output_norm);
    if (rc) return rc;
    t = dir_find(b->dir, b->gguf ? "output.weight" : "lm_head.weight");
    if (!t && !b->gguf) t = dir_find(b->dir, "language_model.lm_head.weight");
    m->w.head = m->w.embd;
    if (m->config.tied || (!t && !m->config.tied_known)) return SAC_OK;
    if (!t)
        return sac_fail(b->err, SAC_EFORMAT,
                        "%s: lacks tensor 'lm_head.weight', and its output head is not tied "
                        "to the embedding",
                        b->path);
    m->w.embd->lookup = true;
    rc = check_shape(b, t, s->n_vocab, s->n_embd);
    return rc ? rc : bind_rows(b, t, 0, s->n_vocab, &m->w.head);
}

/* GGUF keeps RoPE factors as tensors. */
static enum sac_code bind_rope(struct binder *b)
{
    struct rope_params *p = &b->m->hp.rope;
    const struct tensor *one = dir_find(b->dir, "rope_freqs.weight");
    const struct tensor *lo = dir_find(b->dir, "rope_factors_short.weight");
    const struct tensor *hi = dir_find(b->dir, "rope_factors_long.weight");
    enum sac_code rc = SAC_OK;
    if (!b->gguf) return SAC_OK;
    if (p->scaling == ROPE_LONGROPE && (!lo || !hi))
        return sac_fail(b->err, SAC_EFORMAT,
                        "%s: its RoPE type longrope needs the tensors rope_factors_short.weight and "
                        "rope_factors_long.weight",
                        b->path);
    bool phi_long = lo && hi && !one && (p->scaling == ROPE_NONE || p->scaling == ROPE_LONGROPE);
    if (phi_long) {   /* conversion of phi3 writes no scaling type */
        rc = bind_vector(b, lo, p->dim / 2, false, &p->freq_factors);
        if (!rc) rc = bind_vector(b, hi, p->dim / 2, false, &p->freq_factors_long);
        p->scaling = ROPE_LONGROPE;
    } else if (one && p->scaling == ROPE_NONE) {
        rc = bind_vector(b, one, p->dim / 2, false, &p->freq_factors);
        p->scaling = ROPE_LLAMA3;
    } else if (one || lo || hi) {
        return sac_fail(b->err, SAC_ENOTSUP,
                        "%s: has RoPE factors beside another RoPE scaling, which cannot be run", b->path);
    }
    const float *sets[] = { p->freq_factors, p->freq_factors_long };
    for (int k = 0; k < 2 && !rc; k++)
        for (int i = 0; sets[k] && i < p->dim / 2 && !rc; i++)
            if (!(sets[k][i] > 0))
                rc = sac_fail(b->err, SAC_EFORMAT, "%s: a RoPE factor is %g; it must be positive", b->path,
                              (double)sets[k][i]);
    if (!rc && b->m->config.fam->rope_local_base == 0) b->m->hp.rope_local = *p;
    return rc;
}

enum sac_code bind_weights(struct sac_model *m, struct sac_err *err)
{
    struct binder b = {
        .m = m, .dir = model_files_dir(&m->files), .path = m->files.path, .gguf = m->files.is_gguf, .err = err
    };
    b.prefix = b.gguf ? "" : find_prefix(b.dir);
    if (b.dir->n == 0)
        return sac_fail(err, SAC_ENOTSUP, "%s: holds no weights, only a tokenizer", b.path);
    size_t layers = (size_t)m->hp.shape.n_layers;
    m->w.layer = sac_arena_alloc(&m->arena, layers * sizeof *m->w.layer);
    m->mat = sac_arena_alloc(&m->arena, (layers * 7 + 2) * sizeof *m->mat);
    if (!m->w.layer || !m->mat) return out_of_memory(&b);
    enum sac_code rc = bind_ends(&b);
    if (!rc) rc = bind_rope(&b);
    for (int i = 0; i < m->hp.shape.n_layers && !rc; i++) rc = bind_layer(&b, i);
    return rc ? rc : check_strangers(&b);
}
