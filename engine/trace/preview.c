/* What another setting would read, from the recorded q and k: selection and recall at once, without a run.
 *
 * Prefill methods plan the head again; eviction methods choose again and their answer rows follow; decode
 * methods get the recorded keys of the layer up to the row and select for its query. The lane's tokens stay
 * as they are, so this is about one row of one head, not about the answer. */
#include "trace/trace_int.h"

#include "methods/methods.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct preview {
    const struct sac_trace *t;
    const struct layer_rec *r;
    int lane, layer, head, row;
    struct sac_spec spec;
    struct sac_arena arena;
    struct sac_rows *out;
    struct sac_err *err;
};

static enum sac_code no_memory(struct preview *p) { return sac_fail(p->err, SAC_ENOMEM, "out of memory"); }

static struct sac_prefill_in layer_in(const struct preview *p)
{
    const struct sac_shape *s = &p->t->info.shape;
    size_t stride = (size_t)p->t->info.n_prompt * (size_t)s->head_dim;
    return (struct sac_prefill_in){
        .layer = p->layer, .n_layers = s->n_layers, .n = p->t->info.n_prompt, .n_heads = s->n_heads,
        .n_kv_heads = s->n_kv_heads, .head_dim = s->head_dim, .scale = (float)p->t->scale[p->layer],
        .softcap = (float)p->t->softcap[p->layer], .window = p->t->window[p->layer], .q = p->r->q->data,
        .k = p->r->k->data, .v = p->r->v ? p->r->v->data : NULL, .q_stride = stride, .k_stride = stride };
}

static void all_keys(struct preview *p)
{
    p->out->n = 0;
    sac_rows_add(p->out, rec_first_key(p->t, p->layer, p->row), p->row + 1);
}

static enum sac_code preview_plan(struct preview *p, const struct sac_part *part)
{
    struct sac_prefill_in in = layer_in(p);
    struct sac_plan plan = { 0 };
    if (!part->m->plan(&in, part->opts.bytes, p->head, &plan, &p->arena)) return no_memory(p);
    sac_plan_row(&plan, p->row, in.window, p->out);
    sac_plan_free(&plan);
    return SAC_OK;
}

static enum sac_code preview_evict(struct preview *p, const struct sac_part *part)
{
    struct sac_prefill_in in = layer_in(p);
    int kv = p->head / (in.n_heads / in.n_kv_heads), first = rec_first_key(p->t, p->layer, p->row);
    struct sac_kept *kept = sac_arena_alloc(&p->arena, (size_t)in.n_kv_heads * sizeof *kept);
    if (!kept || !evict_layer(NULL, &in, part, kept, &p->arena)) return no_memory(p);
    p->out->n = 0;
    for (int i = 0; i < kept[kv].n; i++)
        if (kept[kv].pos[i] >= first) sac_rows_add(p->out, kept[kv].pos[i], kept[kv].pos[i] + 1);
    sac_rows_add(p->out, in.n > first ? in.n : first, p->row + 1);
    return SAC_OK;
}

static void score_recorded(const struct sac_decode_in *in, int head, int lo, int hi, float *out)
{
    const struct preview *p = in->cache;
    rec_scores(p->t, p->r, p->layer, head, p->row, lo, hi, out);
}

static enum sac_code preview_select(struct preview *p, const struct sac_part *part)
{
    const struct sac_shape *s = &p->t->info.shape;
    int group = s->n_heads / s->n_kv_heads, kv = p->head / group, n = p->row + 1,
        prompt = p->t->info.n_prompt;
    size_t d = (size_t)s->head_dim;
    struct sac_env env = { .shape = *s, .max_tokens = n };
    void *state = part->m->create ? part->m->create(&env, part->opts.bytes, &p->arena) : NULL;
    int *len = sac_arena_alloc(&p->arena, (size_t)s->n_kv_heads * sizeof *len);
    const int **pos = sac_arena_alloc(&p->arena, (size_t)s->n_kv_heads * sizeof *pos);
    float *q = sac_arena_floats(&p->arena, (size_t)s->n_heads * d);
    if ((part->m->create && !state) || !len || !pos || !q) return no_memory(p);
    for (int h = 0; h < s->n_heads; h++)
        memcpy(q + (size_t)h * d, rec_q(p->t, p->r, h, p->row), d * sizeof *q);
    for (int g = 0; g < s->n_kv_heads; g++) {
        len[g] = n;
        if (!part->m->append) continue;
        part->m->append(state, p->layer, g, 0, n < prompt ? n : prompt, rec_k(p->t, p->r, g, 0, false));
        for (int i = prompt; i < n; i++)
            part->m->append(state, p->layer, g, i, 1, rec_k(p->t, p->r, g, i, false));
    }
    struct sac_decode_in in = { .layer = p->layer,
                                .n_layers = s->n_layers,
                                .pos = p->row,
                                .n_heads = s->n_heads,
                                .n_kv_heads = s->n_kv_heads,
                                .head_dim = s->head_dim,
                                .scale = (float)p->t->scale[p->layer],
                                .softcap = (float)p->t->softcap[p->layer],
                                .q = q,
                                .n = len,
                                .slot_pos = pos,
                                .score = score_recorded,
                                .cache = p };
    bool per_head = part->m->scope && part->m->scope(part->opts.bytes) == SAC_PER_QUERY_HEAD;
    p->out->n = 0;
    if (part->m->prepare) part->m->prepare(state, &in, kv);
    part->m->select(state, &in, per_head ? p->head : kv * group, p->out);
    return SAC_OK;
}

enum sac_code sac_trace_preview(const struct sac_trace *t, int lane, const char *spec, int layer, int head,
                                int row, struct sac_rows *out, struct sac_recall *recall, struct sac_err *err)
{
    struct preview p = { .t = t, .r = trace_layer(t, lane, layer), .lane = lane, .layer = layer, .head = head,
                         .row = row, .out = out, .err = err };
    if (!p.r || !p.r->q || row < 0 || row >= rec_rows(t, p.r))
        return sac_fail(err, SAC_EARG, "row %d of layer %d is not recorded", row, layer);
    enum sac_code rc = sac_spec_parse(&p.spec, spec, err);
    if (rc == SAC_OK) rc = sac_spec_resolve(&p.spec, &t->info.shape, t->info.n_prompt, err);
    if (rc != SAC_OK) return rc;
    const struct sac_part *prefill = sac_spec_prefill(&p.spec), *evict = sac_spec_evict(&p.spec),
                          *decode = sac_spec_decode(&p.spec);
    all_keys(&p);
    if (!sac_spec_layer_dense(&p.spec, layer)) {
        bool answer = row >= t->info.n_prompt;
        if (!answer && prefill) rc = preview_plan(&p, prefill);
        else if (answer && evict) rc = preview_evict(&p, evict);
        else if (answer && decode && decode->m->select) rc = preview_select(&p, decode);
    }
    sac_arena_free(&p.arena);
    if (rc == SAC_OK && recall) {
        struct measure_scratch m = { 0 };
        if (!measure_scratch_init(&m, row + 1)) rc = no_memory(&p);
        else {
            m.rows.n = 0;
            for (int i = 0; i < out->n; i++) sac_rows_add(&m.rows, out->run[i].lo, out->run[i].hi);
            measure_given(t, lane, layer, head, row, &m, recall);
        }
        measure_scratch_free(&m);
    }
    return rc;
}
