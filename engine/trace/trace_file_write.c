/* Writing a trace to a file, chunk by chunk; the format is described in trace_file.h.
 *
 * A writer follows a run: prompt rows of a layer once its prefill is done, the rest of a lane once it has
 * answered, measures once they are taken; what was said about a lane too early is said again. Everything goes
 * to PATH.partial, which takes the final name after a sync. Arrays that lanes share are written once. */
#include "trace/trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

/* What of a lane is in the file. */
struct lane_done {
    bool *prompt, *measured;     /* [n_layers] */
    bool answer;
};

struct sac_trace_writer {
    const struct sac_trace *t;
    struct sac_trace_save save;
    const struct sac_trace_save *o;
    char path[4096], partial[4112];
    struct lane_done lane[TRACE_MAX_LANES];
    int n_lanes;                 /* described in the file */
    int *piece; size_t n_piece;  /* tokens whose texts are in the file, sorted */
    int fd;
    uint32_t number;
    int level, done, total;
    enum tf_precision precision; /* of what is not in steps */
    struct tf_arrays *arrays;    /* NULL: exact */
    double bytes;                /* written */
    unsigned char *packed; size_t packed_cap;
    void *squeezed; size_t squeezed_cap;
    int error;                   /* errno of a failed write */
    bool no_memory, stopped, ending;
};

static bool failed(const struct sac_trace_writer *w) { return w->error || w->no_memory || w->stopped; }

static void write_all(struct sac_trace_writer *w, const void *data, size_t n)
{
    const unsigned char *p = data;
    while (n && !w->error) {
        ssize_t k = write(w->fd, p, n < (1u << 26) ? n : 1u << 26);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) {
            w->error = k < 0 ? errno : ENOSPC;
            return;
        }
        p += k;
        n -= (size_t)k;
        w->bytes += (double)k;
    }
}

static void chunk(struct sac_trace_writer *w, const char *kind, const void *raw, size_t n)
{
    if (failed(w)) return;
    size_t bound = ZSTD_compressBound(n), stored = n;
    const void *payload = raw;
    if (n > 128) {
        if (bound > w->squeezed_cap) {
            free(w->squeezed);
            w->squeezed = malloc(bound);
            w->squeezed_cap = w->squeezed ? bound : 0;
        }
        if (!w->squeezed) {
            w->no_memory = true;
            return;
        }
        size_t k = ZSTD_compress(w->squeezed, bound, raw, n, w->level);
        if (!ZSTD_isError(k) && k < n) {
            payload = w->squeezed;
            stored = k;
        }
    }
    struct tf_out head = { NULL, 0, 0, false };
    tf_put(&head, kind, 4);
    tf_u32(&head, w->number++);
    tf_u64(&head, n);
    tf_u64(&head, stored);
    tf_u32(&head, tf_crc(0, payload, stored));
    tf_u32(&head, tf_crc(0, head.p, head.failed ? 0 : 28));
    if (head.failed) w->no_memory = true;
    else {
        write_all(w, head.p, head.n);
        write_all(w, payload, stored);
    }
    free(head.p);
    if (w->o->cancel && atomic_load_explicit(w->o->cancel, memory_order_relaxed)) w->stopped = true;
}

static void chunk_out(struct sac_trace_writer *w, const char *kind, struct tf_out *o)
{
    if (o->failed) w->no_memory = true;
    else chunk(w, kind, o->p, o->n);
    free(o->p);
    *o = (struct tf_out){ NULL, 0, 0, false };
}

static void chunk_json(struct sac_trace_writer *w, const char *kind, json_t *v)
{
    char *s = json_dumps(v, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(v);
    if (s) chunk(w, kind, s, strlen(s));
    else w->no_memory = true;
    free(s);
}

/* f16 in byte planes, rounded to fewer bits: overviews are pictures that stand in for others, and five bits
 * (3 percent at most) are more than they show. */
static void round_planes(unsigned char *p, size_t n, int bits)
{
    unsigned unit = 1u << bits;
    for (size_t i = 0; i < n; i++) {
        unsigned h = (unsigned)p[i] << 8 | p[n + i];
        if ((h & 0x7fff) < 0x7c00 - unit) h += unit / 2; /* never up to infinity */
        p[i] = (unsigned char)(h >> 8);
        p[n + i] = (unsigned char)(h & ~(unit - 1));
    }
}

static void chunk_floats(struct sac_trace_writer *w, const char *kind, int lane, int layer, const float *v, size_t n,
                         enum tf_precision how)
{
    if (failed(w) || !v) return;
    int dim = w->t->info.shape.head_dim;
    size_t bytes = 12 + tf_packed_size(n, how, dim);
    if (bytes > w->packed_cap) {
        free(w->packed);
        w->packed = malloc(bytes);
        w->packed_cap = w->packed ? bytes : 0;
    }
    if (!w->packed) {
        w->no_memory = true;
        return;
    }
    uint32_t head[3] = { (uint32_t)lane, (uint32_t)layer, (uint32_t)how };
    for (int i = 0; i < 12; i++) w->packed[i] = (unsigned char)(head[i / 4] >> (8 * (i % 4)));
    tf_pack(v, n, how, dim, w->packed + 12);
    if (*kind == 'O') round_planes(w->packed + 12, n, 5);
    chunk(w, kind, w->packed, bytes);
}

/* ---- the run ---- */

static json_t *text_json(const char *s)
{
    json_t *j = json_string(s);
    return j ? j : json_string("");
}

static json_t *hex(uint64_t v)
{
    char s[20];
    snprintf(s, sizeof s, "%016llx", (unsigned long long)v);
    return json_string(s);
}

static void write_info(struct sac_trace_writer *w)
{
    struct sac_trace_info i;
    sac_trace_info(w->t, &i);
    const struct sac_shape *s = &i.shape;
    json_t *o = json_pack("{s:{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i}}", "shape", "layers", s->n_layers, "heads",
                          s->n_heads, "kv_heads", s->n_kv_heads, "head_dim", s->head_dim, "embd", s->n_embd,
                          "ff", s->n_ff, "vocab", s->n_vocab, "max_ctx", s->max_ctx);
    json_object_set_new(o, "version", json_string(SACCADE_VERSION));
    json_object_set_new(o, "model", text_json(i.model));
    json_object_set_new(o, "arch", text_json(i.arch));
    json_object_set_new(o, "file_type", text_json(i.file_type));
    json_object_set_new(o, "model_hash", hex(i.model_hash));
    json_object_set_new(o, "prompt_hash", hex(i.prompt_hash));
    json_object_set_new(o, "n_prompt", json_integer(i.n_prompt));
    json_object_set_new(o, "task", text_json(i.task));
    json_object_set_new(o, "gold", text_json(i.gold));
    json_object_set_new(o, "length", json_integer(i.length));
    json_object_set_new(o, "sample", json_integer(i.sample));
    json_object_set_new(o, "seed", hex(i.seed));
    json_object_set_new(o, "threads", json_integer(i.threads));
    json_object_set_new(o, "strict", json_boolean(w->t->strict));
    json_t *layers = json_array();
    for (int l = 0; l < s->n_layers; l++)
        json_array_append_new(layers,
                              json_pack("[f,f,i]", w->t->scale[l], w->t->softcap[l], w->t->window[l]));
    json_object_set_new(o, "attention", layers);
    chunk_json(w, "INFO", o);
    chunk(w, "TEXT", i.text, i.text_len);
    struct tf_out b = { NULL, 0, 0, false };
    for (int k = 0; k < i.n_prompt; k++) {
        struct sac_span sp = sac_trace_token_span(w->t, k);
        tf_u32(&b, (uint32_t)w->t->ids[k]);
        tf_u32(&b, (uint32_t)sp.lo);
        tf_u32(&b, (uint32_t)sp.hi);
    }
    chunk_out(w, "TOKS", &b);
    for (int k = 0; k < i.n_spans; k++) {
        tf_u32(&b, (uint32_t)i.span[k].lo);
        tf_u32(&b, (uint32_t)i.span[k].hi);
        tf_u32(&b, (uint32_t)i.span_item[k]);
    }
    chunk_out(w, "GOLD", &b);
}

static int by_id(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* Bytes of tokens that are not in the file yet, so that no model is needed to read it. */
static void write_pieces(struct sac_trace_writer *w, int *id, size_t n)
{
    struct tf_out b = { NULL, 0, 0, false };
    size_t had = w->n_piece;
    int *all = realloc(w->piece, (had + n + 1) * sizeof *all);
    if (!all) {
        w->no_memory = true;
        return;
    }
    w->piece = all;
    qsort(id, n, sizeof *id, by_id);
    for (size_t k = 0; k < n; k++) {
        const char *text = NULL;
        if ((k && id[k] == id[k - 1]) || bsearch(&id[k], all, had, sizeof *all, by_id)) continue;
        all[w->n_piece++] = id[k];
        int len = trace_vocab_bytes(w->t, id[k], &text);
        if (len < 0 || len > TF_MAX_PIECE) len = 0;
        tf_u32(&b, (uint32_t)id[k]);
        tf_u32(&b, (uint32_t)len);
        tf_put(&b, text, (size_t)len);
    }
    qsort(all, w->n_piece, sizeof *all, by_id);
    if (b.n || b.failed) chunk_out(w, "PIEC", &b);
}

static void write_prompt_pieces(struct sac_trace_writer *w)
{
    size_t n = (size_t)w->t->info.n_prompt;
    int *id = malloc((n + 1) * sizeof *id);
    if (!id) w->no_memory = true;
    else {
        memcpy(id, w->t->ids, n * sizeof *id);
        write_pieces(w, id, n);
    }
    free(id);
}

static void write_lane_pieces(struct sac_trace_writer *w, const struct lane_rec *rec)
{
    size_t n = (size_t)atomic_load_explicit(&rec->n_tokens, memory_order_acquire);
    int *id = malloc((n * (TRACE_TOP + 1) + 1) * sizeof *id);
    if (!id) w->no_memory = true;
    else {
        memcpy(id, rec->token, n * sizeof *id);
        memcpy(id + n, rec->next_id, n * TRACE_TOP * sizeof *id);
        write_pieces(w, id, n * (TRACE_TOP + 1));
    }
    free(id);
}

/* ---- lanes ---- */

static json_t *lane_json(const struct sac_lane *l, const struct lane_rec *rec, int lane)
{
    json_t *o = json_pack("{s:i, s:i, s:[i,i,i,i]}", "lane", lane, "max_new", rec->max_new, "force",
                          rec->force.lo, rec->force.hi, rec->force_layer, rec->force_kv);
    json_object_set_new(o, "spec", text_json(l->spec));
    json_object_set_new(o, "method", text_json(l->method));
    json_object_set_new(o, "title", text_json(l->title));
    json_object_set_new(o, "params", text_json(l->params));
    json_object_set_new(o, "stop", text_json(l->stop));
    json_object_set_new(o, "error", text_json(l->error));
    json_object_set_new(o, "recorded", json_boolean(rec->layer != NULL));
    for (int i = 0; i < tf_n_lane_fields; i++) {
        const struct tf_field *f = &tf_lane_field[i];
        const char *p = (const char *)l + f->at;
        json_t *v = NULL;
        if (f->kind == TF_INT) v = json_integer(*(const int *)(const void *)p);
        if (f->kind == TF_BOOL) v = json_boolean(*(const bool *)(const void *)p);
        if (f->kind == TF_SIZE) v = json_integer((json_int_t)*(const size_t *)(const void *)p);
        if (f->kind == TF_DOUBLE)
            v = json_real(*(const double *)(const void *)p); /* NULL for NaN: left out */
        if (v) json_object_set_new(o, f->name, v);
    }
    return o;
}

static void write_tokens(struct sac_trace_writer *w, int lane, const struct lane_rec *rec)
{
    struct tf_out b = { NULL, 0, 0, false };
    int n = atomic_load_explicit(&rec->n_tokens, memory_order_acquire);
    tf_u32(&b, (uint32_t)lane);
    tf_u32(&b, (uint32_t)n);
    for (int i = 0; i < n; i++) {
        tf_u32(&b, (uint32_t)rec->token[i]);
        tf_f64(&b, (double)rec->step_kl[i]);
        for (int k = 0; k < TRACE_TOP; k++) {
            tf_u32(&b, (uint32_t)rec->next_id[i * TRACE_TOP + k]);
            tf_f64(&b, (double)rec->next_p[i * TRACE_TOP + k]);
        }
    }
    chunk_out(w, "TOKN", &b);
}

static void put_runs(struct tf_out *b, const struct sac_run *run, size_t n)
{
    int at = 0;
    tf_var(b, n);
    for (size_t i = 0; i < n; i++) {
        tf_var(b, (uint64_t)(run[i].lo - at));
        tf_var(b, (uint64_t)(run[i].hi - run[i].lo));
        at = run[i].hi;
    }
}

static void put_tile(struct tf_out *b, const struct sac_plan *p, int tile)
{
    struct sac_run run;
    size_t n = 0;
    for (struct sac_tile_runs it = sac_plan_tile(p, tile, 0); sac_tile_next(&it, &run);) n++;
    tf_var(b, n);
    int at = 0;
    for (struct sac_tile_runs it = sac_plan_tile(p, tile, 0); sac_tile_next(&it, &run); at = run.hi) {
        tf_var(b, (uint64_t)(run.lo - at));
        tf_var(b, (uint64_t)(run.hi - run.lo));
    }
}

/* Sorted lists become differences; -1 entries of block lists are moved up by one. */
static void put_ints(struct tf_out *b, const int *v, int n, bool sorted)
{
    tf_var(b, (uint64_t)n);
    for (int i = 0; i < n; i++) tf_var(b, (uint64_t)(sorted ? v[i] - (i ? v[i - 1] : 0) : v[i] + 1));
}

static void write_plans(struct sac_trace_writer *w, int lane, int layer, const struct plans *ps)
{
    struct tf_out b = { NULL, 0, 0, false };
    tf_u32(&b, (uint32_t)lane);
    tf_u32(&b, (uint32_t)layer);
    tf_var(&b, (uint64_t)ps->n);
    for (int h = 0; h < ps->n; h++) {
        const struct sac_plan *p = &ps->plan[h];
        tf_var(&b, (uint64_t)p->tile);
        tf_var(&b, (uint64_t)p->n_rows);
        tf_var(&b, (uint64_t)p->n_tiles);
        for (int i = 0; i < p->n_tiles; i++) put_tile(&b, p, i);
        put_ints(&b, p->vertical, p->vertical ? p->n_vertical : 0, true);
        put_ints(&b, p->slash, p->slash ? p->n_slash : 0, true);
        tf_var(&b, (uint64_t)(p->blocks ? p->blocks_per_tile : 0));
        if (p->blocks) put_ints(&b, p->blocks, p->n_tiles * p->blocks_per_tile, false);
        tf_f64(&b, p->pattern_cells);
    }
    chunk_out(w, "PLAN", &b);
}

static void write_kept(struct sac_trace_writer *w, int lane, int layer, const struct layer_rec *r)
{
    struct tf_out b = { NULL, 0, 0, false };
    tf_u32(&b, (uint32_t)lane);
    tf_u32(&b, (uint32_t)layer);
    for (int g = 0; g < w->t->info.shape.n_kv_heads; g++) put_ints(&b, r->kept[g], r->kept_n[g], true);
    chunk_out(w, "KEPT", &b);
}

static void write_steps(struct sac_trace_writer *w, int lane, int layer, const struct layer_rec *r, int n)
{
    struct tf_out b = { NULL, 0, 0, false };
    tf_u32(&b, (uint32_t)lane);
    tf_u32(&b, (uint32_t)layer);
    tf_var(&b, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        const struct step_rows *s = r->steps[i];
        tf_var(&b, s ? (uint64_t)s->n_units : 0);
        for (int u = 0; s && u < s->n_units; u++)
            put_runs(&b, s->run + s->at[u], (size_t)(s->at[u + 1] - s->at[u]));
    }
    chunk_out(w, "STEP", &b);
}

static void write_measures(struct sac_trace_writer *w, int lane, int layer, const struct layer_rec *r)
{
    struct tf_out b = { NULL, 0, 0, false };
    int heads = w->t->info.shape.n_heads;
    tf_u32(&b, (uint32_t)lane);
    tf_u32(&b, (uint32_t)layer);
    for (int p = 0; p < 2; p++)
        for (int h = 0; h < heads; h++) {
            double v[TF_RECALL];
            tf_recall_out(&r->recall[p][h], v);
            for (int i = 0; i < TF_RECALL; i++) tf_f64(&b, v[i]);
            const struct sac_density *d = &r->density[p][h];
            tf_f64(&b, d->pattern);
            tf_f64(&b, d->kernel);
            tf_f64(&b, d->work);
            tf_f64(&b, d->read);
        }
    chunk_out(w, "MEAS", &b);
}

static bool wanted(const struct sac_trace_writer *w, int layer)
{
    for (int i = 0; i < w->o->n_layers; i++)
        if (w->o->layer[i] == layer) return true;
    return w->o->n_layers == 0;
}

/* The earlier lane whose prompt arrays this layer shares, or -1. Layers before any attention are equal in all
 * lanes whether shared in memory or not. */
static int same_as(const struct sac_trace *t, int lane, int layer)
{
    const struct layer_rec *r = &t->lane[lane]->layer[layer];
    for (int i = 0; i < lane; i++) {
        const struct layer_rec *o = trace_layer(t, i, layer);
        if (!o || !o->q || !r->q) continue;
        if (o->q == r->q && o->k == r->k && o->v == r->v && o->plans == r->plans) return i;
    }
    return -1;
}

static void write_prompt_rows(struct sac_trace_writer *w, int lane, int layer, const struct layer_rec *r)
{
    const struct sac_shape *s = &w->t->info.shape;
    size_t n = (size_t)w->t->info.n_prompt * (size_t)s->head_dim;
    int from = same_as(w->t, lane, layer);
    if (from >= 0) {
        struct tf_out b = { NULL, 0, 0, false };
        tf_u32(&b, (uint32_t)lane);
        tf_u32(&b, (uint32_t)layer);
        tf_u32(&b, (uint32_t)from);
        chunk_out(w, "SAME", &b);
        return;
    }
    if (r->plans) write_plans(w, lane, layer, r->plans);
    if (!wanted(w, layer)) return;
    if (w->arrays) {
        static const char *const kind[3] = { "Q   ", "K   ", "V   " };
        struct tf_out out[3] = { { NULL, 0, 0, false } };
        bool *done[TRACE_MAX_LANES], steps;
        for (int i = 0; i < TRACE_MAX_LANES; i++) done[i] = w->lane[i].prompt;
        steps = tf_arrays_pack(w->arrays, lane, layer, r, done, w->bytes, out);
        for (int i = 0; i < 3; i++) {
            if (out[i].n || out[i].failed)
                chunk_out(w, kind[i], &out[i]);
            else
                free(out[i].p);
        }
        if (steps) return;
    }
    if (r->q) chunk_floats(w, "Q   ", lane, layer, r->q->data, n * (size_t)s->n_heads, w->precision);
    if (r->k) chunk_floats(w, "K   ", lane, layer, r->k->data, n * (size_t)s->n_kv_heads, w->precision);
    if (r->v && !w->o->no_values)      /* v moves outputs, not weights: 8 bits do, unless all is exact */
        chunk_floats(w, "V   ", lane, layer, r->v->data, n * (size_t)s->n_kv_heads,
                     w->o->exact ? TF_F32 : TF_Q8);
}

static void write_overview(struct sac_trace_writer *w, int lane, int layer)
{
    const struct layer_rec *r = trace_layer_full(w->t, lane, layer);
    const struct sac_shape *s = &w->t->info.shape;
    if (!r || failed(w) || w->o->small || !wanted(w, layer) || same_as(w->t, lane, layer) >= 0) return;
    if (!overview_make((struct sac_trace *)(uintptr_t)w->t, lane, layer, w->o->cancel)) return;
    const struct blob *over = atomic_load(&r->overview);
    if (over)
        chunk_floats(w, "OVER", lane, layer, over->data,
                     2 * (size_t)s->n_heads * (size_t)r->grid * (size_t)r->grid, TF_F16);
}

/* What a layer did after prefill. */
static void write_decode(struct sac_trace_writer *w, int lane, int layer)
{
    const struct layer_rec *r = trace_layer(w->t, lane, layer);
    const struct sac_shape *s = &w->t->info.shape;
    if (!r || failed(w)) return;
    if (r->kept) write_kept(w, lane, layer, r);
    size_t n = (size_t)atomic_load_explicit(&r->n_dec, memory_order_acquire), d = (size_t)s->head_dim;
    if (n && wanted(w, layer)) {
        chunk_floats(w, "QDEC", lane, layer, r->q_dec, n * d * (size_t)s->n_heads, w->precision);
        chunk_floats(w, "KDEC", lane, layer, r->k_dec, n * d * (size_t)s->n_kv_heads, w->precision);
        if (!w->o->no_values)
            chunk_floats(w, "VDEC", lane, layer, r->v_dec, n * d * (size_t)s->n_kv_heads,
                         w->o->exact ? TF_F32 : TF_Q8);
    }
    if (n) write_steps(w, lane, layer, r, (int)n);
}

static void describe_lane(struct sac_trace_writer *w, int lane)
{
    struct sac_lane l;
    sac_trace_lane(w->t, lane, &l);
    chunk_json(w, "LANE", lane_json(&l, w->t->lane[lane], lane));
}

/* Lanes are described in their order, each before anything of it. */
static bool begin_lane(struct sac_trace_writer *w, int lane)
{
    size_t layers = (size_t)w->t->info.shape.n_layers;
    for (; w->n_lanes <= lane; w->n_lanes++) {
        struct lane_done *d = &w->lane[w->n_lanes];
        d->prompt = calloc(2 * layers, sizeof *d->prompt);
        d->measured = d->prompt ? d->prompt + layers : NULL;
        if (!d->prompt) w->no_memory = true;
        if (failed(w)) return false;
        describe_lane(w, w->n_lanes);
    }
    return true;
}

static void write_answer(struct sac_trace_writer *w, int lane)
{
    const struct lane_rec *rec = w->t->lane[lane];
    struct tf_out b = { NULL, 0, 0, false };
    struct sac_lane l;
    sac_trace_lane(w->t, lane, &l);
    write_lane_pieces(w, rec);
    describe_lane(w, lane);
    tf_u32(&b, (uint32_t)lane);
    tf_put(&b, l.answer, strlen(l.answer));
    chunk_out(w, "ANSW", &b);
    write_tokens(w, lane, rec);
    for (int k = 0; rec->layer && k < w->t->info.shape.n_layers; k++) write_decode(w, lane, k);
    w->lane[lane].answer = true;
}

static void progress(struct sac_trace_writer *w)
{
    w->done++;
    if (w->ending && w->o->progress && w->total) w->o->progress(w->o->ctx, w->done / (double)w->total);
}

/* What a lane has complete and the file has not. `all`: its end, whatever state it is in. */
static void follow_lane(struct sac_trace_writer *w, int lane, bool all)
{
    const struct lane_rec *rec = w->t->lane[lane];
    struct sac_lane l;
    sac_trace_lane(w->t, lane, &l);
    int layers = rec->layer ? w->t->info.shape.n_layers : 0;
    bool over = all || (l.state >= SAC_LANE_DONE && atomic_load(&rec->n_tokens) > 0), news = false;
    if (l.state == SAC_LANE_QUEUED && !all) return;
    if (!begin_lane(w, lane)) return;
    struct lane_done *d = &w->lane[lane];
    for (int k = 0; k < layers && !failed(w); k++) {
        const struct layer_rec *r = d->prompt[k] ? NULL : trace_layer_full(w->t, lane, k);
        if (!r) continue;
        write_prompt_rows(w, lane, k, r);
        d->prompt[k] = true;
        progress(w);
    }
    if (over && !d->answer && !failed(w)) write_answer(w, lane);
    for (int k = 0; k < layers && d->answer && !failed(w); k++) {
        const struct layer_rec *r = d->measured[k] ? NULL : trace_layer(w->t, lane, k);
        if (!r || !atomic_load_explicit(&r->measured, memory_order_acquire)) continue;
        write_measures(w, lane, k, r);
        d->measured[k] = news = true;
    }
    if (news || all) describe_lane(w, lane);
}

bool sac_trace_writer_more(struct sac_trace_writer *w)
{
    for (int i = 0; i < sac_trace_n_lanes(w->t) && !failed(w); i++) follow_lane(w, i, false);
    return !failed(w);
}

static void write_rest(struct sac_trace_writer *w)
{
    int lanes = sac_trace_n_lanes(w->t), layers = w->t->info.shape.n_layers;
    w->ending = true;
    w->done = 0;
    for (int i = 0; i < lanes; i++)          /* layers that are not there yet, and overviews of all */
        for (int k = 0; w->t->lane[i]->layer && k < layers; k++)
            w->total += 1 + !(i < w->n_lanes && w->lane[i].prompt[k]);
    for (int i = 0; i < lanes && !failed(w); i++) follow_lane(w, i, true);
    for (int i = 0; i < lanes && !failed(w); i++)
        for (int k = 0; w->t->lane[i]->layer && k < layers; k++) {
            write_overview(w, i, k);
            progress(w);
        }
    chunk(w, "END ", "", 0);
}

/* The finished file takes its name. Without force a file that appeared meanwhile is left alone: link() fails
 * then, rename() would not. */
static bool publish(const char *tmp, const char *path, bool force)
{
    struct stat st;
    if (!force && link(tmp, path) == 0) return unlink(tmp) == 0;
    if (!force && (errno == EEXIST || lstat(path, &st) == 0)) {
        errno = EEXIST;
        return false;
    }
    return rename(tmp, path) == 0;
}

static void writer_free(struct sac_trace_writer *w)
{
    for (int i = 0; i < w->n_lanes + 1 && i < TRACE_MAX_LANES; i++) free(w->lane[i].prompt);
    free(w->piece);
    free(w->packed);
    free(w->squeezed);
    tf_arrays_free(w->arrays);
    free((int *)(uintptr_t)w->save.layer);
    free(w);
}

static bool copy_options(struct sac_trace_writer *w, const struct sac_trace_save *o)
{
    w->save = *o;
    w->o = &w->save;
    w->level = o->level > 0 ? o->level : 3;
    w->precision = o->exact ? TF_F32 : o->small ? TF_Q8 : TF_F16;
    w->save.layer = NULL;
    if (o->n_layers < 1) return true;
    int *layer = malloc((size_t)o->n_layers * sizeof *layer);
    if (layer) memcpy(layer, o->layer, (size_t)o->n_layers * sizeof *layer);
    w->save.layer = layer;
    return layer != NULL;
}

/* PATH.partial, ours alone: a lock says that somebody is writing it, none that a run was cut off. */
static enum sac_code open_partial(struct sac_trace_writer *w, struct sac_err *err)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    w->fd = open(w->partial, flags, 0666);
    if (w->fd < 0 && errno == EEXIST) {
        int old = open(w->partial, O_RDWR | O_CLOEXEC);
        bool held = old >= 0 && flock(old, LOCK_EX | LOCK_NB) != 0;
        if (old >= 0) close(old);
        if (held) return sac_fail(err, SAC_EIO, "%s: another run is writing it", w->partial);
        if (!w->o->force)
            return sac_fail(err, SAC_EIO,
                            "%s: left by a run that was cut off, and opens as far as it goes; rename or remove it, "
                            "or replace it with --force",
                            w->partial);
        unlink(w->partial);
        w->fd = open(w->partial, flags, 0666);
    }
    if (w->fd < 0) return sac_fail(err, SAC_EIO, "%s: cannot be written: %s", w->path, sac_write_reason(errno));
    (void)flock(w->fd, LOCK_EX | LOCK_NB);
    return SAC_OK;
}

enum sac_code sac_trace_writer_open(struct sac_trace_writer **out, const struct sac_trace *t, const char *path,
                                    const struct sac_trace_save *o, struct sac_err *err)
{
    struct stat st;
    *out = NULL;
    bool there = stat(path, &st) == 0;
    if (there && !o->force) return sac_fail(err, SAC_EIO, "%s: exists already; --force replaces it", path);
    if (there && !S_ISREG(st.st_mode))     /* a device would be replaced, a pipe cannot be gone back in */
        return sac_fail(err, SAC_EIO, "%s: cannot hold a recording, it is no file; give a file name", path);
    struct sac_trace_writer *w = calloc(1, sizeof *w);
    if (!w) return sac_fail(err, SAC_ENOMEM, "%s: out of memory while writing", path);
    w->t = t;
    w->fd = -1;
    bool fits = snprintf(w->path, sizeof w->path, "%s", path) < (int)sizeof w->path;
    enum sac_code rc = SAC_OK;
    if (!fits) rc = sac_fail(err, SAC_EIO, "%.60s...: the name is too long", path);
    else if (!copy_options(w, o))
        rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory while writing", path);
    snprintf(w->partial, sizeof w->partial, "%s.partial", w->path);
    if (!rc && !o->exact) {
        w->arrays = tf_arrays_new(t, w->o);
        if (!w->arrays) rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory while writing", path);
    }
    if (!rc) rc = open_partial(w, err);
    if (rc) {
        writer_free(w);
        return rc;
    }
    unsigned char head[TF_HEAD] = "SACTRACE";
    head[8] = TF_VERSION;
    write_all(w, head, sizeof head);
    write_info(w);
    write_prompt_pieces(w);
    *out = w;
    return SAC_OK;
}

void sac_trace_writer_drop(struct sac_trace_writer *w)
{
    if (!w) return;
    unlink(w->partial);
    close(w->fd);
    writer_free(w);
}

enum sac_code sac_trace_writer_end(struct sac_trace_writer *w, const atomic_bool *cancel, struct sac_err *err)
{
    enum sac_code rc = SAC_OK;
    w->save.cancel = cancel;
    if (!failed(w)) write_rest(w);
    if (w->save.error) *w->save.error = w->arrays ? tf_arrays_worst(w->arrays) : 0;
    if (!failed(w) && fsync(w->fd)) w->error = errno;
    if (!failed(w) && !publish(w->partial, w->path, w->o->force)) w->error = errno;
    if (w->stopped) rc = sac_fail(err, SAC_ECANCEL, "%s: stopped, nothing was written", w->path);
    else if (w->no_memory) rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory while writing", w->path);
    else if (w->error) rc = sac_fail(err, SAC_EIO, "%s: cannot be written: %s", w->path, sac_write_reason(w->error));
    if (rc) {
        sac_trace_writer_drop(w);
        return rc;
    }
    bool closed = close(w->fd) == 0;
    int why = errno;
    if (!closed) rc = sac_fail(err, SAC_EIO, "%s: cannot be written: %s", w->path, sac_write_reason(why));
    writer_free(w);
    return rc;
}

enum sac_code sac_trace_write(const struct sac_trace *t, const char *path, const struct sac_trace_save *o,
                              struct sac_err *err)
{
    struct sac_trace_writer *w;
    enum sac_code rc = sac_trace_writer_open(&w, t, path, o, err);
    return rc ? rc : sac_trace_writer_end(w, o->cancel, err);
}
