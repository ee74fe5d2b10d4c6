/* Opening recorded runs, and checking them; the format is described in trace_file.h.
 *
 * The file is mapped and distrusted. Opening walks all chunks once: headers and payloads must have their
 * checksums, sizes must be what the shape says, lists must be sorted and in range. A file that ends inside a
 * chunk was cut short and opens with what is whole before it. q, k and v stay in the file until a view asks
 * for the layer; where all of them would not fit comfortably in memory they are unpacked into an unlinked
 * temporary file, so that the system can page them out. */
#include "trace/trace_file_read.h"

#include "base/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define MAX_RAW ((uint64_t)1 << 33)

/* ---- chunks ---- */

enum walk { WALK_CHUNK, WALK_END, WALK_CUT, WALK_DAMAGED };

/* The chunk at *at; leaves *at at its payload. */
static enum walk next_head(const unsigned char *map, size_t size, size_t *at, uint32_t number, struct head *h)
{
    if (*at == size) return WALK_CUT;              /* no END chunk */
    if (size - *at < TF_CHUNK) return WALK_CUT;
    struct tf_in in = { map + *at, map + size, false };
    const unsigned char *start = in.p;
    memcpy(h->kind, tf_take(&in, 4), 4);
    h->kind[4] = 0;
    h->number = tf_get32(&in);
    h->raw = tf_get64(&in);
    h->stored = tf_get64(&in);
    h->payload_crc = tf_get32(&in);
    if (tf_get32(&in) != tf_crc(0, start, 28) || h->number != number || h->raw > MAX_RAW ||
        h->stored > h->raw)
        return WALK_DAMAGED;
    *at += TF_CHUNK;
    if (h->stored > size - *at) return WALK_CUT;
    return memcmp(h->kind, "END ", 4) ? WALK_CHUNK : WALK_END;
}

static void *unpack_chunk(const unsigned char *payload, uint64_t raw, uint64_t stored)
{
    unsigned char *out = malloc(raw ? raw : 1);
    if (!out) return NULL;
    if (raw == stored) memcpy(out, payload, raw);
    else {
        size_t n = ZSTD_decompress(out, raw, payload, stored);
        if (ZSTD_isError(n) || n != raw) {
            free(out);
            return NULL;
        }
    }
    return out;
}

enum sac_code tf_damaged(struct reader *r, const char *what)
{
    return sac_fail(r->err, SAC_EFORMAT, "%s: damaged at byte %zu (chunk %u): %s", r->path, r->at,
                    (unsigned)r->number, what);
}

/* Chunks of a lane may come after those of another: the lane they name is the one at hand. */
bool tf_turn_to(struct reader *r, uint32_t lane)
{
    if (!r->t || lane >= (uint32_t)sac_trace_n_lanes(r->t) || !r->f->heavy[lane]) return false;
    r->lane = (int)lane;
    return true;
}

/* ---- the run ---- */

static int int_of(const json_t *o, const char *key, int lo, int hi, bool *bad)
{
    const json_t *v = json_object_get(o, key);
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < lo || n > hi) {
        *bad = true;
        return lo;
    }
    return (int)n;
}

static uint64_t hex_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? strtoull(s, NULL, 16) : 0;
}

static const char *str_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static enum sac_code read_info(struct reader *r, const void *raw, size_t n)
{
    json_t *o = json_loadb(raw, n, 0, NULL);
    const json_t *s = json_object_get(o, "shape");
    struct sac_trace_info *i = &r->info;
    bool bad = !s;
    r->json = o;
    i->shape = (struct sac_shape){ .n_layers = int_of(s, "layers", 1, TF_MAX_LAYERS, &bad),
                                   .n_heads = int_of(s, "heads", 1, TF_MAX_HEADS, &bad),
                                   .n_kv_heads = int_of(s, "kv_heads", 1, TF_MAX_HEADS, &bad),
                                   .head_dim = int_of(s, "head_dim", 1, TF_MAX_DIM, &bad),
                                   .n_embd = int_of(s, "embd", 0, 1 << 24, &bad),
                                   .n_ff = int_of(s, "ff", 0, 1 << 24, &bad),
                                   .n_vocab = int_of(s, "vocab", 0, 1 << 26, &bad),
                                   .max_ctx = int_of(s, "max_ctx", 0, 1 << 30, &bad) };
    i->n_prompt = int_of(o, "n_prompt", 1, TF_MAX_PROMPT, &bad);
    if (bad || i->shape.n_heads % i->shape.n_kv_heads)
        return tf_damaged(r, "the description of the run is not sound");
    snprintf(i->model, sizeof i->model, "%s", str_of(o, "model"));
    snprintf(i->arch, sizeof i->arch, "%s", str_of(o, "arch"));
    snprintf(i->file_type, sizeof i->file_type, "%s", str_of(o, "file_type"));
    i->model_hash = hex_of(o, "model_hash");
    i->prompt_hash = hex_of(o, "prompt_hash");
    i->seed = hex_of(o, "seed");
    i->task = str_of(o, "task");
    i->gold = str_of(o, "gold");
    i->length = int_of(o, "length", 0, 1 << 30, &bad);
    i->sample = int_of(o, "sample", 0, 1 << 30, &bad);
    i->threads = int_of(o, "threads", 0, 1 << 16, &bad);
    i->recorded = true;
    return SAC_OK;
}

static enum sac_code read_text(struct reader *r, const char *raw, size_t n)
{
    free(r->text);
    r->text = malloc(n + 1);
    if (!r->text) return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
    memcpy(r->text, raw, n);
    r->text[n] = 0;
    r->text_len = n;
    return SAC_OK;
}

static enum sac_code read_tokens(struct reader *r, struct tf_in *in, size_t n)
{
    size_t count = (size_t)r->info.n_prompt;
    if (r->ids || n != count * 12) return tf_damaged(r, "the tokens of the prompt do not match its length");
    r->ids = malloc(count * sizeof *r->ids);
    r->spans = malloc(count * sizeof *r->spans);
    if (!r->ids || !r->spans) return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
    for (size_t i = 0; i < count; i++) {
        uint32_t id = tf_get32(in), lo = tf_get32(in), hi = tf_get32(in);
        if (id > 1u << 30 || lo > hi || hi > r->text_len)
            return tf_damaged(r, "a token lies outside the prompt");
        r->ids[i] = (int)id;
        r->spans[i] = (struct sac_span){ (int)lo, (int)hi };
    }
    return SAC_OK;
}

static enum sac_code read_gold(struct reader *r, struct tf_in *in, size_t n)
{
    size_t count = n / 12;
    if (r->gold || count > (size_t)r->info.n_prompt) return tf_damaged(r, "more gold spans than tokens");
    r->gold = calloc(count + 1, sizeof *r->gold);
    r->gold_item = calloc(count + 1, sizeof *r->gold_item);
    if (!r->gold || !r->gold_item) return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
    for (size_t i = 0; i < count; i++) {
        uint32_t lo = tf_get32(in), hi = tf_get32(in), item = tf_get32(in);
        if (lo >= hi || hi > (uint32_t)r->info.n_prompt || item > 1u << 20)
            return tf_damaged(r, "a gold span is out of range");
        r->gold[i] = (struct sac_span){ (int)lo, (int)hi };
        r->gold_item[i] = (int)item;
    }
    r->n_gold = (int)count;
    return SAC_OK;
}

/* The trace itself, once everything before the first lane is there. */
static enum sac_code make_trace(struct reader *r)
{
    if (r->t) return SAC_OK;
    if (!r->json || !r->text || !r->ids)
        return tf_damaged(r, "a lane comes before the description of the run");
    struct sac_trace_info *i = &r->info;
    i->text = r->text;
    i->text_len = r->text_len;
    i->n_spans = r->n_gold;
    i->span = r->gold;
    i->span_item = r->gold_item;
    r->t = trace_new(i, r->ids, r->spans);
    if (!r->t) return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
    r->t->strict = r->t->f32_lse = json_is_true(json_object_get(r->json, "strict"));
    const json_t *a = json_object_get(r->json, "attention"), *v;
    size_t l;
    json_array_foreach(a, l, v) {
        if ((int)l >= i->shape.n_layers) break;
        r->t->scale[l] = json_number_value(json_array_get(v, 0));
        r->t->softcap[l] = json_number_value(json_array_get(v, 1));
        json_int_t w = json_integer_value(json_array_get(v, 2));
        r->t->window[l] = w > 0 && w < 1 << 30 ? (int)w : 0;
    }
    return SAC_OK;
}

struct tf_piece { int id, len; const char *text; };

/* New texts among those that are there, both in the order of their ids. */
static enum sac_code merge_pieces(struct reader *r, const struct tf_piece *fresh, int n)
{
    struct sac_trace *t = r->t;
    size_t cap = (size_t)t->n_pieces + (size_t)n + 1;
    char **piece = calloc(cap, sizeof *piece);
    int *id = calloc(cap, sizeof *id), *len = calloc(cap, sizeof *len), at = 0, old = 0;
    enum sac_code rc = SAC_OK;
    bool ok = piece && id && len;
    if (!ok) {
        free(piece);
        free(id);
        free(len);
        return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
    }
    for (int i = 0; ok && i <= n; i++) {
        for (; old < t->n_pieces && (i == n || t->piece_id[old] < fresh[i].id); old++, at++) {
            piece[at] = t->piece[old];
            id[at] = t->piece_id[old];
            len[at] = t->piece_len[old];
        }
        if (i == n) break;
        if (old < t->n_pieces && t->piece_id[old] == fresh[i].id) continue;     /* known */
        piece[at] = malloc((size_t)fresh[i].len + 1);
        id[at] = fresh[i].id;
        len[at] = fresh[i].len;
        ok = piece[at] != NULL;
        if (!ok) break;
        memcpy(piece[at], fresh[i].text, (size_t)fresh[i].len);
        piece[at++][fresh[i].len] = 0;
    }
    if (!ok) rc = sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
    for (; old < t->n_pieces; old++) free(t->piece[old]);     /* after a failure alone */
    free(t->piece);
    free(t->piece_id);
    free(t->piece_len);
    t->piece = piece;
    t->piece_id = id;
    t->piece_len = len;
    t->n_pieces = at;
    return rc;
}

static enum sac_code read_pieces(struct reader *r, struct tf_in *in)
{
    enum sac_code rc = make_trace(r);
    if (rc) return rc;
    size_t n = 0;
    struct tf_in scan = *in;
    while (scan.p < scan.end) {
        uint32_t id = tf_get32(&scan), len = tf_get32(&scan);
        if (id > 1u << 30 || len > TF_MAX_PIECE || !tf_take(&scan, len) || scan.bad)
            return tf_damaged(r, "a token's text is out of range");
        n++;
    }
    struct tf_piece *fresh = calloc(n + 1, sizeof *fresh);
    if (!fresh) return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
    for (size_t i = 0; i < n; i++) {
        fresh[i].id = (int)tf_get32(in);
        fresh[i].len = (int)tf_get32(in);
        fresh[i].text = tf_take(in, (size_t)fresh[i].len);
        if (i && fresh[i].id <= fresh[i - 1].id) rc = tf_damaged(r, "token texts are not in order");
    }
    if (!rc) rc = merge_pieces(r, fresh, (int)n);
    free(fresh);
    return rc;
}

/* ---- lanes ---- */

static void fill_lane(struct sac_lane *l, const json_t *o)
{
    for (int i = 0; i < tf_n_lane_fields; i++) {
        const struct tf_field *f = &tf_lane_field[i];
        const json_t *v = json_object_get(o, f->name);
        char *p = (char *)l + f->at;
        if (f->kind == TF_INT) *(int *)(void *)p = (int)json_integer_value(v);
        if (f->kind == TF_BOOL) *(bool *)(void *)p = json_is_true(v);
        if (f->kind == TF_SIZE) *(size_t *)(void *)p = (size_t)json_integer_value(v);
        if (f->kind == TF_DOUBLE)
            *(double *)(void *)p = json_is_number(v) ? json_number_value(v) : (double)NAN;
    }
    snprintf(l->spec, sizeof l->spec, "%s", str_of(o, "spec"));
    snprintf(l->method, sizeof l->method, "%s", str_of(o, "method"));
    snprintf(l->title, sizeof l->title, "%s", str_of(o, "title"));
    snprintf(l->params, sizeof l->params, "%s", str_of(o, "params"));
    snprintf(l->stop, sizeof l->stop, "%s", str_of(o, "stop"));
    snprintf(l->error, sizeof l->error, "%s", str_of(o, "error"));
    l->eta_s = -1;
    if (l->state < SAC_LANE_QUEUED || l->state > SAC_LANE_FAILED) l->state = SAC_LANE_STOPPED;
    if (l->state < SAC_LANE_DONE) l->state = SAC_LANE_STOPPED;      /* nothing goes on in a recording */
}

static enum sac_code read_lane(struct reader *r, const void *raw, size_t n)
{
    enum sac_code rc = make_trace(r);
    if (rc) return rc;
    json_t *o = json_loadb(raw, n, 0, NULL);
    struct sac_spec spec;
    bool bad = false;
    int steps = int_of(o, "n_steps", 0, TF_MAX_STEPS, &bad),
        at = int_of(o, "lane", 0, TRACE_MAX_LANES - 1, &bad);
    bool no_room = false;
    int room = int_of(o, "max_new", 0, TF_MAX_STEPS, &no_room);      /* more steps may follow */
    if (no_room || room < steps) room = steps;
    bool known = !bad && sac_spec_parse(&spec, str_of(o, "spec"), NULL) == SAC_OK &&
                 sac_spec_resolve(&spec, &r->info.shape, r->info.n_prompt, NULL) == SAC_OK;
    if (bad || at > sac_trace_n_lanes(r->t) ||
        (at < sac_trace_n_lanes(r->t) && steps > r->t->lane[at]->max_new)) {
        json_decref(o);
        return tf_damaged(r, "the description of a lane is not sound");
    }
    bool recorded = json_is_true(json_object_get(o, "recorded"));
    if (at < sac_trace_n_lanes(r->t)) {          /* the same lane when more was known of it */
        char answer[sizeof r->t->lane[at]->pub.answer];
        struct sac_lane *pub = trace_lane_edit(r->t, at);
        memcpy(answer, pub->answer, sizeof answer);
        fill_lane(pub, o);
        memcpy(pub->answer, answer, sizeof answer);
        trace_lane_done(r->t);
        json_decref(o);
        r->lane = at;
        return SAC_OK;
    }
    r->lane = trace_add_lane(r->t, known ? &spec : NULL, room, recorded);
    if (r->lane >= 0) {
        struct lane_rec *rec = r->t->lane[r->lane];
        fill_lane(trace_lane_edit(r->t, r->lane), o);
        trace_lane_done(r->t);
        const json_t *f = json_object_get(o, "force");
        rec->force = (struct sac_span){ (int)json_integer_value(json_array_get(f, 0)),
                                        (int)json_integer_value(json_array_get(f, 1)) };
        rec->force_layer = (int)json_integer_value(json_array_get(f, 2));
        rec->force_kv = (int)json_integer_value(json_array_get(f, 3));
        struct heavy *h = r->f->heavy[r->lane] = calloc((size_t)r->info.shape.n_layers, sizeof *h);
        for (int i = 0; h && i < r->info.shape.n_layers; i++) h[i].same = -1;
        if (!h) r->lane = -1;
    }
    json_decref(o);
    return r->lane < 0 ? sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path) : SAC_OK;
}

static enum sac_code read_answer(struct reader *r, struct tf_in *in)
{
    struct sac_lane *l = trace_lane_edit(r->t, r->lane);
    size_t n =
        (size_t)(in->end - in->p) < sizeof l->answer ? (size_t)(in->end - in->p) : sizeof l->answer - 1;
    memcpy(l->answer, in->p, n);
    l->answer[n] = 0;
    trace_lane_done(r->t);
    return SAC_OK;
}

static enum sac_code read_generated(struct reader *r, struct tf_in *in)
{
    struct lane_rec *rec = r->t->lane[r->lane];
    int n = (int)tf_get32(in);
    if (n < 0 || n > rec->max_new || (size_t)(in->end - in->p) != (size_t)n * (12 + 12 * TRACE_TOP))
        return tf_damaged(r, "the generated tokens do not match their number");
    for (int i = 0; i < n; i++) {
        rec->token[i] = (int)(tf_get32(in) & 0x7fffffff);
        rec->step_kl[i] = (float)tf_getf64(in);
        for (int k = 0; k < TRACE_TOP; k++) {
            rec->next_id[i * TRACE_TOP + k] = (int)(tf_get32(in) & 0x7fffffff);
            rec->next_p[i * TRACE_TOP + k] = (float)tf_getf64(in);
        }
    }
    atomic_store_explicit(&rec->n_tokens, n, memory_order_release);
    return SAC_OK;
}

/* A layer can be shown when its keys and queries are in the file, or when it was recorded for its measures
 * alone. */
static void settle_layers(struct reader *r)
{
    for (int i = 0; r->t && i < sac_trace_n_lanes(r->t); i++)
        for (int l = 0; r->t->lane[i]->layer && l < r->info.shape.n_layers; l++) {
            struct heavy *h = &r->f->heavy[i][l];
            struct layer_rec *rec = &r->t->lane[i]->layer[l];
            if (h->same >= 0 && !atomic_load(&rec->overview)) {      /* it may have come after SAME */
                const struct layer_rec *o = &r->t->lane[h->same]->layer[l];
                atomic_store(&rec->overview, blob_share(atomic_load(&o->overview)));
                rec->grid = o->grid;
            }
            bool whole =
                h->same >= 0 ? atomic_load(&r->t->lane[h->same]->layer[l].ready) : h->q.at && h->k.at;
            if (!whole && !atomic_load(&rec->measured)) continue;
            bool heavy =
                h->same >= 0 ? atomic_load(&r->t->lane[h->same]->layer[l].absent) : h->q.at && h->k.at;
            atomic_store(&rec->absent, heavy);
            atomic_store_explicit(&rec->ready, true, memory_order_release);
        }
}

static bool is_heavy(const char *kind) { return strchr("QKV", kind[0]) && !memcmp(kind + 1, "   ", 3); }

static bool is_layer(const char *kind)
{
    static const char *const kinds[] = { "SAME", "PLAN", "KEPT", "STEP", "MEAS",
                                         "OVER", "QDEC", "KDEC", "VDEC" };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!memcmp(kind, kinds[i], 4)) return true;
    return is_heavy(kind);
}

/* The first bytes of a big chunk, enough for lane, layer and how it is stored, without unpacking all of it.
 */
static bool peek(const unsigned char *payload, const struct head *h, unsigned char out[TF_FIRST], size_t *n)
{
    *n = h->raw < TF_FIRST ? h->raw : TF_FIRST;
    if (*n < 12) return false;
    if (h->raw == h->stored) {
        memcpy(out, payload, *n);
        return true;
    }
    ZSTD_DStream *z = ZSTD_createDStream();
    ZSTD_inBuffer in = { payload, h->stored, 0 };
    ZSTD_outBuffer o = { out, *n, 0 };
    while (z && o.pos < *n) {
        size_t before = in.pos, rc = ZSTD_decompressStream(z, &o, &in);
        if (ZSTD_isError(rc) || (in.pos == before && o.pos < *n && in.pos == in.size)) break;
    }
    ZSTD_freeDStream(z);
    return o.pos == *n;
}

static enum sac_code read_chunk(struct reader *r, const struct head *h, size_t at)
{
    const unsigned char *payload = r->f->map + at;
    struct place p = { at, h->raw, h->stored, h->payload_crc, false };
    unsigned char first[TF_FIRST];
    size_t n;
    if (is_heavy(h->kind)) {
        if (!peek(payload, h, first, &n)) return tf_damaged(r, "an array cannot be unpacked");
        struct tf_in in = { first, first + n, false };
        return tf_read_layer(r, h, &in, &p);
    }
    bool known = is_layer(h->kind) || strstr("INFO TEXT TOKS GOLD PIEC LANE ANSW TOKN", h->kind);
    if (!known) return SAC_OK;
    unsigned char *raw = unpack_chunk(payload, h->raw, h->stored);
    if (!raw) return tf_damaged(r, "a chunk cannot be unpacked");
    struct tf_in in = { raw, raw + h->raw, false };
    enum sac_code rc = SAC_OK;
    bool info = !memcmp(h->kind, "INFO", 4);
    if (!info && !r->json) rc = tf_damaged(r, "the description of the run is missing");
    else if (info) rc = r->json ? tf_damaged(r, "the run is described twice") : read_info(r, raw, h->raw);
    else if (!memcmp(h->kind, "TEXT", 4))
        rc = r->t ? tf_damaged(r, "the prompt comes late") : read_text(r, (const char *)raw, h->raw);
    else if (!memcmp(h->kind, "TOKS", 4)) rc = read_tokens(r, &in, h->raw);
    else if (!memcmp(h->kind, "GOLD", 4)) rc = read_gold(r, &in, h->raw);
    else if (!memcmp(h->kind, "PIEC", 4)) rc = read_pieces(r, &in);
    else if (!memcmp(h->kind, "LANE", 4)) rc = read_lane(r, raw, h->raw);
    else if (is_layer(h->kind)) rc = tf_read_layer(r, h, &in, &p);
    else if (!tf_turn_to(r, tf_get32(&in))) rc = tf_damaged(r, "a chunk belongs to no lane");
    else if (!memcmp(h->kind, "ANSW", 4)) rc = read_answer(r, &in);
    else rc = read_generated(r, &in);
    if (!rc && in.bad) rc = tf_damaged(r, "a chunk ends early");
    free(raw);
    return rc;
}

/* ---- loading layers ---- */

/* base: lane 0's array, for what is stored as differences to it. NULL too where the contents are not sound.
 */
static struct blob *load_floats(struct file *f, const struct place *p, struct tf_array a,
                                const struct blob *base)
{
    if (!p->at || (p->differs && !base)) return NULL;
    unsigned char *raw = unpack_chunk(f->map + p->at, p->raw, p->stored);
    if (!raw) return NULL;
    struct tf_in in = { raw + 8, raw + p->raw, false };
    uint32_t how = tf_get32(&in);
    size_t n = (size_t)a.heads * (size_t)a.rows * (size_t)a.dim;
    struct blob *b = blob_room(n * sizeof(float), f->spill);
    bool ok = b != NULL;
    if (ok && how == TF_STEPS)
        ok = tf_steps_unpack(&in, &a, p->differs ? base->data : NULL, b->data);
    else if (ok)
        tf_unpack(raw + 12, n, (enum tf_precision)how, a.dim, b->data);
    free(raw);
    if (!ok) blob_drop(b);
    return ok ? b : NULL;
}

static void load_locked(struct file *f, const struct sac_trace *t, int lane, int layer)
{
    struct layer_rec *l = &t->lane[lane]->layer[layer];
    const struct heavy *h = &f->heavy[lane][layer];
    if (!atomic_load(&l->absent)) return;
    if (h->same >= 0) {
        load_locked(f, t, h->same, layer);
        const struct layer_rec *o = &t->lane[h->same]->layer[layer];
        l->q = blob_share(o->q);
        l->k = blob_share(o->k);
        l->v = blob_share(o->v);
    } else {
        const struct sac_shape *s = &t->info.shape;
        struct tf_array a = { s->n_heads, t->info.n_prompt, s->head_dim }, kv = a;
        const struct layer_rec *o = lane ? &t->lane[0]->layer[layer] : NULL;
        kv.heads = s->n_kv_heads;
        if (o && (h->q.differs || h->k.differs || h->v.differs)) load_locked(f, t, 0, layer);
        struct blob *q = load_floats(f, &h->q, a, o ? o->q : NULL),
                    *k = load_floats(f, &h->k, kv, o ? o->k : NULL);
        if (q && k) {
            l->q = q;
            l->k = k;
            l->v = load_floats(f, &h->v, kv, o ? o->v : NULL);
        } else {
            blob_drop(q);
            blob_drop(k);
            return;                   /* out of memory now; perhaps not the next time */
        }
    }
    if (l->q && l->k) atomic_store_explicit(&l->absent, false, memory_order_release);
}

static void load_layer(const struct sac_trace *t, int lane, int layer)
{
    struct file *f = t->file;
    pthread_mutex_lock(&f->lock);
    load_locked(f, t, lane, layer);
    pthread_mutex_unlock(&f->lock);
}

static void close_file(void *p)
{
    struct file *f = p;
    if (!f) return;
    if (f->map) munmap((void *)(uintptr_t)f->map, f->size);
    for (int i = 0; i < TRACE_MAX_LANES; i++) free(f->heavy[i]);
    pthread_mutex_destroy(&f->lock);
    free(f->path);
    free(f);
}

/* All layers unpacked take more than half of what is free: keep them where the system can page them out. */
static bool wants_spill(const struct sac_trace *t, const struct file *f)
{
    double bytes = 0;
    for (int i = 0; i < sac_trace_n_lanes(t); i++)
        for (int l = 0; f->heavy[i] && l < t->info.shape.n_layers; l++)
            bytes +=
                4.0 *
                ((double)f->heavy[i][l].q.raw + (double)f->heavy[i][l].k.raw + (double)f->heavy[i][l].v.raw) /
                (f->version < 3 ? 2 : 1.5);
    return blob_spill_wanted(bytes);
}

/* ---- opening ---- */

static enum sac_code map_file(struct file **out, const char *path, struct sac_err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return sac_fail(err, SAC_EFORMAT, "%s: cannot be opened: %s", path, strerror(errno));
    struct file *f = calloc(1, sizeof *f);
    const unsigned char *p = MAP_FAILED;
    if (f && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        f->size = (size_t)st.st_size;
        p = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    close(fd);
    if (p == MAP_FAILED || f->size < TF_HEAD || memcmp(p, "SACTRACE", 8)) {
        if (p != MAP_FAILED) munmap((void *)(uintptr_t)p, f->size);
        free(f);
        return sac_fail(err, SAC_EFORMAT, "%s: not a recorded run", path);
    }
    f->map = p;
    pthread_mutex_init(&f->lock, NULL);
    f->path = strdup(path);
    f->version = (int)p[8];
    struct tf_in in = { p + 8, p + 16, false };
    uint32_t version = tf_get32(&in);
    if (version < 1 || version > TF_VERSION) {
        close_file(f);
        return sac_fail(err, SAC_ENOTSUP, "%s: recorded in format %u; this version reads formats 1 to %d", path,
                        (unsigned)version, TF_VERSION);
    }
    if (tf_get32(&in)) {
        close_file(f);
        return sac_fail(err, SAC_EFORMAT, "%s: damaged at byte 12: the header does not end in zeros", path);
    }
    *out = f;
    return SAC_OK;
}

static enum sac_code read_all(struct reader *r)
{
    size_t at = TF_HEAD;
    enum sac_code rc = SAC_OK;
    bool cut = false;
    for (r->number = 0; !rc; r->number++) {
        struct head h;
        r->at = at;
        enum walk w = next_head(r->f->map, r->f->size, &at, r->number, &h);
        if (w == WALK_DAMAGED) return tf_damaged(r, "the chunk's header does not match its checksum");
        cut = w == WALK_CUT;
        if (w != WALK_CHUNK) break;
        if (tf_crc(0, r->f->map + at, h.stored) != h.payload_crc)
            return tf_damaged(r, "the contents do not match their checksum");
        rc = read_chunk(r, &h, at);
        at += h.stored;
    }
    if (!rc && r->json && r->text && r->ids) rc = make_trace(r);
    if (!rc && (!r->t || !sac_trace_n_lanes(r->t)))
        rc = sac_fail(r->err, SAC_EFORMAT,
                      "%s: cut short at byte %zu, before the first lane: nothing to show", r->path, r->at);
    if (!rc) r->t->info.cut = cut;
    return rc;
}

enum sac_code sac_trace_open(struct sac_trace **out, const char *path, struct sac_err *err)
{
    struct reader r = { .lane = -1, .err = err, .path = path };
    *out = NULL;
    enum sac_code rc = cpu_choose(err);       /* no model was opened that would have done it */
    if (!rc) rc = map_file(&r.f, path, err);
    if (rc) return rc;
    rc = read_all(&r);
    if (!rc) {
        settle_layers(&r);
        r.t->info.weight_error = r.info.weight_error;
        r.f->spill = wants_spill(r.t, r.f);
        r.t->file = r.f;
        r.t->close_file = close_file;
        r.t->load_layer = load_layer;
        *out = r.t;
    } else {
        sac_trace_release(r.t);
        close_file(r.f);
    }
    json_decref(r.json);
    free(r.text);
    free(r.ids);
    free(r.spans);
    free(r.gold);
    free(r.gold_item);
    return rc;
}

bool sac_trace_is_file(const char *path)
{
    char magic[8] = "";
    FILE *f = fopen(path, "rb");
    bool yes = f && fread(magic, 1, 8, f) == 8 && !memcmp(magic, "SACTRACE", 8);
    if (f) fclose(f);
    return yes;
}

/* ---- checking ---- */

static void count_kind(struct sac_trace_report *out, const struct head *h)
{
    int i = 0;
    while (i < out->n_kinds && strcmp(out->kind[i].name, h->kind)) i++;
    if (i == (int)(sizeof out->kind / sizeof *out->kind)) return;
    if (i == out->n_kinds) snprintf(out->kind[out->n_kinds++].name, sizeof out->kind[0].name, "%s", h->kind);
    out->kind[i].n++;
    out->kind[i].bytes += h->stored;
    out->kind[i].raw += h->raw;
    out->raw_bytes += h->raw;
}

/* How exactly an array was written. */
static void note_precision(struct sac_trace_report *out, const unsigned char *payload, const struct head *h)
{
    unsigned char first[TF_FIRST];
    size_t n;
    if ((memcmp(h->kind, "Q   ", 4) && memcmp(h->kind, "K   ", 4)) || !peek(payload, h, first, &n)) return;
    struct tf_in in = { first + 8, first + n, false };
    uint32_t how = tf_get32(&in), error;
    out->exact = how == TF_F32 && (out->exact || !out->arrays);
    out->arrays = true;
    if (how != TF_STEPS || !tf_take(&in, 8)) return;
    error = tf_get32(&in);
    float e;
    memcpy(&e, &error, sizeof e);
    if (e > 0 && e < 1) out->error = fmax(out->error, (double)e);
}

static bool array_unpacks(const struct file *f, const struct place *p, struct tf_array a)
{
    if (!p->at) return true;
    unsigned char *raw = unpack_chunk(f->map + p->at, p->raw, p->stored);
    struct tf_in in = { raw ? raw + 8 : NULL, raw ? raw + p->raw : NULL, false };
    bool ok = raw && (tf_get32(&in) != TF_STEPS || tf_steps_unpack(&in, &a, NULL, NULL));
    free(raw);
    return ok;
}

/* Arrays are noted on opening and unpacked when they are asked for: a check unpacks them all. */
static enum sac_code check_arrays(const struct sac_trace *t, const char *path, struct sac_err *err)
{
    const struct file *f = t->file;
    const struct sac_shape *s = &t->info.shape;
    struct tf_array q = { s->n_heads, t->info.n_prompt, s->head_dim }, kv = { s->n_kv_heads, q.rows, q.dim };
    for (int i = 0; i < sac_trace_n_lanes(t); i++)
        for (int l = 0; f->heavy[i] && l < s->n_layers; l++) {
            const struct heavy *h = &f->heavy[i][l];
            const struct place *bad = !array_unpacks(f, &h->q, q)    ? &h->q
                                      : !array_unpacks(f, &h->k, kv) ? &h->k
                                      : !array_unpacks(f, &h->v, kv) ? &h->v
                                                                     : NULL;
            if (bad)
                return sac_fail(err, SAC_EFORMAT, "%s: damaged at byte %zu: an array cannot be unpacked",
                                path, bad->at - TF_CHUNK);
        }
    return SAC_OK;
}

enum sac_code sac_trace_check(const char *path, struct sac_trace_report *out, struct sac_err *err)
{
    struct file *f;
    memset(out, 0, sizeof *out);
    enum sac_code rc = map_file(&f, path, err);
    if (rc) return rc;
    struct reader r = { .f = f, .lane = -1, .err = err, .path = path };
    size_t at = TF_HEAD;
    out->version = f->version;
    out->bytes = f->size;
    for (;; r.number++) {
        struct head h;
        r.at = out->good_bytes = at;
        enum walk w = next_head(f->map, f->size, &at, r.number, &h);
        if (w == WALK_DAMAGED) rc = tf_damaged(&r, "the chunk's header does not match its checksum");
        if (w == WALK_CUT) out->cut = true;
        if (w == WALK_END && at != f->size) rc = tf_damaged(&r, "bytes follow the end mark");
        if (w == WALK_END) out->good_bytes = at;
        if (w != WALK_CHUNK) break;
        if (tf_crc(0, f->map + at, h.stored) != h.payload_crc) {
            rc = tf_damaged(&r, "the contents do not match their checksum");
            break;
        }
        count_kind(out, &h);
        note_precision(out, f->map + at, &h);
        out->n_chunks++;
        at += h.stored;
    }
    close_file(f);
    if (rc) return rc;
    struct sac_trace *t;               /* what the chunks say must be sound as well */
    rc = sac_trace_open(&t, path, err);
    if (rc) return rc;
    rc = check_arrays(t, path, err);
    sac_trace_release(t);
    return rc;
}
