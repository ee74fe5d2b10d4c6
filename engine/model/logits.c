/* Reference outputs: one dense prefill with everything written down, and greedy continuation. */
#include <saccade/logits.h>

#include "file/tensors.h"
#include "model/session_int.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct capture { struct st_writer *w; struct sac_err *err; enum sac_code rc; bool hidden, attn; int n_embd; };

static void keep_hidden(void *ctx, int layer, const float *x, int n)
{
    struct capture *c = ctx;
    if (c->rc != SAC_OK || !c->hidden) return;
    char name[32];
    snprintf(name, sizeof name, "hidden.%d", layer);
    c->rc = st_add(c->w, name, ST_F32, 2, (int64_t[]){ n, c->n_embd }, x, c->err);
}

/* Probabilities of one head, rows 0 .. n-1 by keys 0 .. n-1, zero above the diagonal and outside the window.
 */
static void head_probabilities(const struct sac_prefill_in *in, int head, float *out)
{
    int n = in->n, d = in->head_dim, kv = head / (in->n_heads / in->n_kv_heads);
    const float *q = in->q + (size_t)head * in->q_stride, *k = in->k + (size_t)kv * in->k_stride;
    for (int i = 0; i < n; i++) {
        float *row = out + (size_t)i * (size_t)n;
        int first = in->window > 0 && i - in->window + 1 > 0 ? i - in->window + 1 : 0;
        for (int j = 0; j < n; j++) row[j] = 0;
        k_ops()->score_f32(q + (size_t)i * (size_t)d, k + (size_t)first * (size_t)d, d, i + 1 - first,
                           in->scale, row + first);
        for (int j = first; in->softcap > 0 && j <= i; j++)
            row[j] = in->softcap * tanhf(row[j] / in->softcap);
        float sum = k_ops()->exp_sum(row + first, i + 1 - first, k_ops()->max(row + first, i + 1 - first));
        for (int j = first; j <= i; j++) row[j] /= sum;
    }
}

static void keep_attention(void *ctx, struct prefill_layer *pl)
{
    struct capture *c = ctx;
    if (c->rc != SAC_OK || !c->attn) return;
    size_t cells = (size_t)pl->n * (size_t)pl->n;
    float *a = malloc((size_t)pl->in->n_heads * cells * sizeof *a);
    if (!a) {
        c->rc = sac_fail(c->err, SAC_ENOMEM, "out of memory for the attention of %d tokens", pl->n);
        return;
    }
    for (int h = 0; h < pl->in->n_heads; h++) head_probabilities(pl->in, h, a + (size_t)h * cells);
    char name[32];
    snprintf(name, sizeof name, "attn.%d", pl->layer);
    c->rc = st_add(c->w, name, ST_F32, 3, (int64_t[]){ pl->in->n_heads, pl->n, pl->n }, a, c->err);
    free(a);
}

enum sac_code sac_logits_write(struct sac_model *m, const int *ids, int n, bool hidden, bool attn,
                               const char *path, bool force, struct sac_err *err)
{
    const struct sac_shape *s = &m->hp.shape;
    struct capture c = { .err = err, .hidden = hidden, .attn = attn, .n_embd = s->n_embd };
    enum sac_code rc = st_create(&c.w, path, force, err);
    if (rc != SAC_OK) return rc;
    float *logits = malloc((size_t)n * (size_t)s->n_vocab * sizeof *logits);
    struct session *ses = logits ? session_new(m, n, SAC_KV_F32, err) : NULL;
    if (!logits) rc = sac_fail(err, SAC_ENOMEM, "out of memory for the logits of %d tokens", n);
    else if (!ses) rc = SAC_ENOMEM;
    if (rc == SAC_OK) {
        struct prefill_args a = { .ids = ids,
                                  .n = n,
                                  .all_logits = logits,
                                  .hidden = hidden ? keep_hidden : NULL,
                                  .layer_done = attn ? keep_attention : NULL,
                                  .ctx = &c };
        rc = session_prefill(ses, &a, err);
        if (rc == SAC_OK) rc = c.rc;
        if (rc == SAC_OK) rc = st_add(c.w, "logits", ST_F32, 2, (int64_t[]){ n, s->n_vocab }, logits, err);
    }
    session_free(ses);
    free(logits);
    if (rc == SAC_OK) return st_finish(c.w, err);
    st_abandon(c.w);
    return rc;
}

enum sac_code sac_greedy(struct sac_model *m, const int *ids, int n, int max_new, int *out, int *n_out,
                         float *last_prompt_logits, struct sac_err *err)
{
    const struct sac_shape *s = &m->hp.shape;
    *n_out = 0;
    struct session *ses = session_new(m, n + max_new, m->opts.kv, err);
    if (!ses) return SAC_ENOMEM;
    struct prefill_args a = { .ids = ids, .n = n };
    enum sac_code rc = session_prefill(ses, &a, err);
    if (rc == SAC_OK && last_prompt_logits)
        for (int i = 0; i < s->n_vocab; i++) last_prompt_logits[i] = session_logits(ses)[i];
    struct sampler greedy = { 0 };
    while (rc == SAC_OK && *n_out < max_new) {
        int token = sample_token(&greedy, session_logits(ses), s->n_vocab, NULL);
        out[(*n_out)++] = token;
        if (sac_token_is_stop(m, token) || *n_out == max_new) break;
        rc = session_decode(ses, token, NULL, err);
    }
    session_free(ses);
    return rc;
}
