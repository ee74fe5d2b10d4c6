/* The forward pass in double precision, straight from the formulas: the independent reference of tiny models.
 *
 * It reads tensors by their Hugging Face names and shares no code with the engine. */
#ifndef TESTS_TINY_REF_H
#define TESTS_TINY_REF_H

#include "tiny.h"

struct ref {
    struct tiny *m;
    const int *ids;
    int n;
    double (*inv)(const struct tiny *m, int i, bool local, double *mscale);
};

static inline const float *ref_w(struct ref *r, int l, const char *name)
{
    char full[96];
    snprintf(full, sizeof full, "model.layers.%d.%s", l, name);
    struct tiny_tensor *t = tiny_find(r->m, full);
    return t ? t->x : NULL;
}

static inline void ref_matmul(const float *w, const float *bias, const double *x, int rows, int cols,
                              double *y)
{
    for (int i = 0; i < rows; i++) {
        y[i] = bias ? (double)bias[i] : 0;
        for (int c = 0; c < cols; c++) y[i] += (double)w[(size_t)i * (size_t)cols + (size_t)c] * x[c];
    }
}

static inline void ref_norm(const struct tiny *m, const float *w, const double *x, int n, double *y)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    double scale = 1 / sqrt(sum / n + 1e-6);
    for (int i = 0; i < n; i++) y[i] = x[i] * scale * ((double)w[i] + (m->plus_one ? 1 : 0));
}

static inline double ref_plain(const struct tiny *m, int i, bool local, double *mscale)
{
    double inv = pow(local && m->local_base > 0 ? m->local_base : m->base, -2.0 * i / m->dim);
    *mscale = 1;
    if (m->freq_factors && !(local && m->local_base > 0)) inv /= (double)m->freq_factors[i];
    if (m->scaling && !strcmp(m->scaling, "linear") && !(local && m->local_base > 0)) inv /= m->factor;
    return inv;
}

static inline bool ref_local(const struct tiny *m, int l)
{
    return m->window && (m->period == 0 || (l + 1) % m->period != 0);
}

/* q and k of one position, normed and rotated: x [heads][dim] in place. */
static inline void ref_heads(struct ref *r, int l, const char *norm, double *x, int heads, int pos)
{
    struct tiny *m = r->m;
    const float *w = m->qk_norm ? ref_w(r, l, norm) : NULL;
    for (int h = 0; h < heads; h++, x += m->dim) {
        if (w) ref_norm(m, w, x, m->dim, x);
        for (int i = 0; i < m->dim / 2; i++) {
            double mscale, a = pos * r->inv(m, i, ref_local(m, l), &mscale), p = x[i], q = x[i + m->dim / 2];
            x[i] = (p * cos(a) - q * sin(a)) * mscale;
            x[i + m->dim / 2] = (p * sin(a) + q * cos(a)) * mscale;
        }
    }
}

static inline void ref_attend(struct ref *r, int l, const double *q, const double *k, const double *v,
                              int pos, double *out)
{
    struct tiny *m = r->m;
    int qw = m->heads * m->dim, kw = m->kv * m->dim,
        first = ref_local(m, l) && pos >= m->window ? pos - m->window + 1 : 0;
    double scale = 1 / sqrt(m->scalar > 0 ? m->scalar : m->dim), *p = malloc(sizeof *p * (size_t)(pos + 1));
    for (int h = 0; h < m->heads; h++) {
        int g = h / (m->heads / m->kv);
        double max = -(double)INFINITY, sum = 0;
        for (int j = first; j <= pos; j++) {
            p[j] = 0;
            for (int d = 0; d < m->dim; d++)
                p[j] += q[pos * qw + h * m->dim + d] * k[j * kw + g * m->dim + d];
            p[j] *= scale;
            if (m->softcap > 0) p[j] = m->softcap * tanh(p[j] / m->softcap);
            if (p[j] > max) max = p[j];
        }
        for (int j = first; j <= pos; j++) sum += p[j] = exp(p[j] - max);
        for (int d = 0; d < m->dim; d++) {
            double o = 0;
            for (int j = first; j <= pos; j++) o += p[j] / sum * v[j * kw + g * m->dim + d];
            out[h * m->dim + d] = o;
        }
    }
    free(p);
}

static inline void ref_mlp(struct ref *r, int l, const double *x, double *y)
{
    struct tiny *m = r->m;
    double *g = malloc(sizeof *g * 2 * (size_t)m->ff), *u = g + m->ff;
    if (m->fused) {
        ref_matmul(ref_w(r, l, "mlp.gate_up_proj.weight"), NULL, x, 2 * m->ff, m->embd, g);
    } else {
        ref_matmul(ref_w(r, l, "mlp.gate_proj.weight"), NULL, x, m->ff, m->embd, g);
        ref_matmul(ref_w(r, l, "mlp.up_proj.weight"), NULL, x, m->ff, m->embd, u);
    }
    for (int i = 0; i < m->ff; i++) {
        double z = g[i];
        double a = m->gelu ? 0.5 * z * (1 + tanh(0.7978845608028654 * (z + 0.044715 * z * z * z)))
                           : z / (1 + exp(-z));
        g[i] = a * u[i];
    }
    ref_matmul(ref_w(r, l, "mlp.down_proj.weight"), NULL, g, m->embd, m->ff, y);
    free(g);
}

static inline void ref_add(struct ref *r, int l, const char *norm, double *x, double *y)
{
    int n = r->m->embd;
    if (r->m->post_norms) ref_norm(r->m, ref_w(r, l, norm), y, n, y);
    for (int i = 0; i < n; i++) x[i] += y[i];
}

static inline void ref_layer(struct ref *r, int l, double *x)
{
    struct tiny *m = r->m;
    int qw = m->heads * m->dim, kw = m->kv * m->dim, e = m->embd;
    size_t n = (size_t)r->n;
    double *q = malloc(sizeof *q * n * (size_t)(qw + 2 * kw)), *k = q + n * (size_t)qw,
           *v = k + n * (size_t)kw;
    double *a = malloc(sizeof *a * (size_t)(e + qw + 2 * kw)), *b = malloc(sizeof *b * (size_t)(e + qw));
    for (int t = 0; t < r->n; t++) {
        ref_norm(m, ref_w(r, l, "input_layernorm.weight"), x + t * e, e, b);
        if (m->fused) {
            ref_matmul(ref_w(r, l, "self_attn.qkv_proj.weight"), NULL, b, qw + 2 * kw, e, a);
            memcpy(q + t * qw, a, sizeof *a * (size_t)qw);
            memcpy(k + t * kw, a + qw, sizeof *a * (size_t)kw);
            memcpy(v + t * kw, a + qw + kw, sizeof *a * (size_t)kw);
        } else {
            ref_matmul(ref_w(r, l, "self_attn.q_proj.weight"), ref_w(r, l, "self_attn.q_proj.bias"), b, qw, e,
                       q + t * qw);
            ref_matmul(ref_w(r, l, "self_attn.k_proj.weight"), ref_w(r, l, "self_attn.k_proj.bias"), b, kw, e,
                       k + t * kw);
            ref_matmul(ref_w(r, l, "self_attn.v_proj.weight"), ref_w(r, l, "self_attn.v_proj.bias"), b, kw, e,
                       v + t * kw);
        }
        ref_heads(r, l, "self_attn.q_norm.weight", q + t * qw, m->heads, t);
        ref_heads(r, l, "self_attn.k_norm.weight", k + t * kw, m->kv, t);
    }
    for (int t = 0; t < r->n; t++) {
        ref_attend(r, l, q, k, v, t, b);
        ref_matmul(ref_w(r, l, "self_attn.o_proj.weight"), NULL, b, e, qw, a);
        ref_add(r, l, "post_attention_layernorm.weight", x + t * e, a);
        const char *second =
            m->post_norms ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight";
        ref_norm(m, ref_w(r, l, second), x + t * e, e, b);
        ref_mlp(r, l, b, a);
        ref_add(r, l, "post_feedforward_layernorm.weight", x + t * e, a);
    }
    free(q);
    free(a);
    free(b);
}

/* logits [n][vocab] */
static inline void ref_forward(struct ref *r, double *logits)
{
    struct tiny *m = r->m;
    int e = m->embd;
    const float *embd = tiny_find(m, "model.embed_tokens.weight")->x;
    const float *head = m->tied ? embd : tiny_find(m, "lm_head.weight")->x;
    double *x = malloc(sizeof *x * (size_t)r->n * (size_t)e), *y = malloc(sizeof *y * (size_t)e);
    if (!r->inv) r->inv = ref_plain;
    for (int t = 0; t < r->n; t++)
        for (int i = 0; i < e; i++)
            x[t * e + i] = (double)embd[r->ids[t] * e + i] * (m->scale_embd ? sqrt(e) : 1);
    for (int l = 0; l < m->layers; l++) ref_layer(r, l, x);
    for (int t = 0; t < r->n; t++) {
        double *row = logits + (size_t)t * (size_t)m->vocab;
        ref_norm(m, tiny_find(m, "model.norm.weight")->x, x + t * e, e, y);
        ref_matmul(head, NULL, y, m->vocab, e, row);
        for (int i = 0; i < m->vocab && m->final_cap > 0; i++)
            row[i] = m->final_cap * tanh(row[i] / m->final_cap);
    }
    free(x);
    free(y);
}
#endif
