/* Eviction: asking the method which prompt keys each KV head keeps, inside a prefill or from the shared one.
 */
#include "trace/job_int.h"

#include "methods/methods.h"
#include "model/model_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct sac_kept *kept_at(const struct lane_run *r, int layer)
{
    return r->kept + (size_t)layer * (size_t)r->j->m->hp.shape.n_kv_heads;
}

static bool kept_alloc(struct lane_run *r)
{
    const struct sac_shape *s = &r->j->m->hp.shape;
    if (!r->kept) r->kept = calloc((size_t)s->n_layers * (size_t)s->n_kv_heads, sizeof *r->kept);
    return r->kept != NULL;
}

static bool keep_all(struct sac_kept *k, int n)
{
    k->pos = malloc((size_t)(n ? n : 1) * sizeof *k->pos);
    k->n = n;
    for (int i = 0; k->pos && i < n; i++) k->pos[i] = i;
    return k->pos != NULL;
}

static void copy_one(struct sac_kept *to, const struct sac_kept *from, int at)
{
    if (to->score) to->score[to->n] = from->score[at];
    to->pos[to->n++] = from->pos[at];
}

/* Kept positions and a forced span, both ascending, as one list. */
static bool copy_kept(struct sac_kept *to, const struct sac_kept *from, struct sac_span force)
{
    int span = force.hi > force.lo ? force.hi - force.lo : 0, at = 0;
    size_t cap = (size_t)from->n + (size_t)span + 1;
    to->pos = malloc(cap * sizeof *to->pos);
    to->score = from->score ? calloc(cap, sizeof *to->score) : NULL;   /* what is forced in scores nothing */
    if (!to->pos || (from->score && !to->score)) return false;
    to->n = 0;
    for (int f = force.lo; f < force.lo + span; f++) {
        while (at < from->n && from->pos[at] < f) copy_one(to, from, at++);
        if (at < from->n && from->pos[at] == f) copy_one(to, from, at++);
        else to->pos[to->n++] = f;
    }
    while (at < from->n) copy_one(to, from, at++);
    return true;
}

/* pool: NULL within a job of the pool. */
static bool keep_on(struct lane_run *r, struct sac_pool *pool, const struct sac_prefill_in *in,
                    struct sac_arena *scratch)
{
    const struct sac_part *part = sac_spec_evict(&r->rec->spec);
    if (!part) return true;
    if (!kept_alloc(r)) return false;
    struct sac_kept *kept = kept_at(r, in->layer);
    if (sac_spec_layer_dense(&r->rec->spec, in->layer)) {
        for (int g = 0; g < in->n_kv_heads; g++)
            if (!keep_all(&kept[g], in->n)) return false;
        return true;
    }
    struct sac_kept *tmp = sac_arena_alloc(scratch, (size_t)in->n_kv_heads * sizeof *tmp);
    bool ok = tmp != NULL;
    ok = ok && evict_layer(pool, in, part, tmp, scratch);
    for (int g = 0; ok && g < in->n_kv_heads; g++) {
        bool forced = (r->rec->force_layer < 0 || r->rec->force_layer == in->layer) &&
                      (r->rec->force_kv < 0 || r->rec->force_kv == g);
        ok = copy_kept(&kept[g], &tmp[g], forced ? r->rec->force : (struct sac_span){ 0, 0 });
    }
    return ok;
}

bool keep_layer(struct lane_run *r, const struct sac_prefill_in *in, struct sac_arena *scratch)
{
    return keep_on(r, r->j->m->pool, in, scratch);
}

/* ---- from the shared prefill ---- */

struct base_job { struct lane_run *r; atomic_bool failed; double t; };

/* q, k and v of a layer of the shared prefill: recorded, or the tail of q and the cache. */
static bool base_in(const struct lane_run *r, int layer, struct sac_prefill_in *in, float **own)
{
    struct sac_job *j = r->j;
    const struct hparams *hp = &j->m->hp;
    const struct sac_shape *s = &hp->shape;
    size_t d = (size_t)s->head_dim, n = (size_t)j->n;
    bool windowed = hp->windowed && hp->windowed[layer];
    *in = (struct sac_prefill_in){ .layer = layer,
                                   .n_layers = s->n_layers,
                                   .n = j->n,
                                   .n_heads = s->n_heads,
                                   .n_kv_heads = s->n_kv_heads,
                                   .head_dim = s->head_dim,
                                   .scale = (float)hp->attn_scale,
                                   .softcap = (float)hp->attn_softcap,
                                   .window = windowed ? hp->window : 0,
                                   .q_stride = n * d,
                                   .k_stride = n * d,
                                   .seed = j->opts.seed };
    session_describe_rope(j->base, layer, in);
    in->mass = j->mass ? j->mass[layer] : NULL;
    const struct layer_rec *rec = trace_layer(j->trace, j->base_lane, layer);
    if (rec && rec->q) {
        in->q = rec->q->data;
        in->k = rec->k->data;
        in->v = rec->v->data;
        in->lse = rec->lse ? rec->lse->data : NULL;
        return true;
    }
    float *kv = *own = malloc(2 * (size_t)s->n_kv_heads * n * d * sizeof *kv);
    if (!kv || !j->tail) return false;
    for (int g = 0; g < 2 * s->n_kv_heads; g++)
        session_keys(j->base, layer, g % s->n_kv_heads, g >= s->n_kv_heads, 0, j->n, kv + (size_t)g * n * d);
    in->k = kv;
    in->v = kv + (size_t)s->n_kv_heads * n * d;
    in->q = j->tail[layer];
    in->q_row0 = j->n - j->tail_n;
    in->q_stride = (size_t)j->tail_n * d;
    return true;
}

static void keep_layers(void *ctx, int lo, int hi, int thread)
{
    struct base_job *b = ctx;
    struct sac_arena scratch = { 0 };
    (void)thread;
    for (int l = lo; l < hi; l++) {
        struct sac_prefill_in in;
        float *own = NULL;
        if (!base_in(b->r, l, &in, &own) || !keep_on(b->r, NULL, &in, &scratch)) atomic_store(&b->failed, true);
        free(own);
        sac_arena_rewind(&scratch, (struct sac_arena_mark){ 0 });
    }
    sac_arena_free(&scratch);
}

bool keep_from_base(struct lane_run *r)
{
    if (!sac_spec_evict(&r->rec->spec)) return true;
    if (!kept_alloc(r)) return false;
    struct base_job b = { .r = r };
    pool_run(r->j->m->pool, r->j->m->hp.shape.n_layers, 1, keep_layers, &b);
    return !atomic_load(&b.failed);
}

/* Copy the kept positions into the trace, where views find them. */
bool keep_publish(struct lane_run *r)
{
    if (!r->kept || !r->rec->layer) return true;
    const struct sac_shape *s = &r->j->m->hp.shape;
    for (int l = 0; l < s->n_layers; l++) {
        struct layer_rec *rec = &r->rec->layer[l];
        if (rec->kept) continue;
        int *n = calloc((size_t)s->n_kv_heads, sizeof *n), **pos = calloc((size_t)s->n_kv_heads, sizeof *pos);
        bool ok = n && pos;
        for (int g = 0; ok && g < s->n_kv_heads; g++) {
            const struct sac_kept *k = &kept_at(r, l)[g];
            n[g] = k->n;
            pos[g] = malloc((size_t)(k->n ? k->n : 1) * sizeof **pos);
            ok = pos[g] != NULL;
            if (ok) memcpy(pos[g], k->pos, (size_t)k->n * sizeof **pos);
        }
        rec->kept_n = n;
        rec->kept = pos;
        if (!ok) return false;
    }
    return true;
}

void keep_free(struct lane_run *r)
{
    const struct sac_shape *s = &r->j->m->hp.shape;
    for (int i = 0; r->kept && i < s->n_layers * s->n_kv_heads; i++) {
        free(r->kept[i].pos);
        free(r->kept[i].score);
    }
    free(r->kept);
    r->kept = NULL;
}
