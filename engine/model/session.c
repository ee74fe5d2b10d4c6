/* Life of a session: its cache, its fork for decoding, and the two ends of the network (embedding and output
 * head) that prefill and decode share. The layer loops are in prefill.c and decode.c. */
#include "base/pages.h"
#include "model/session_int.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void kv_store(const struct session *s, void *base, int at, const float *src, int n)
{
    int dim = s->hp->shape.head_dim;
    size_t off = (size_t)at * (size_t)dim;
    switch (s->kv_type) {
    case SAC_KV_F32: memcpy((float *)base + off, src, (size_t)n * (size_t)dim * sizeof(float)); break;
    case SAC_KV_F16: k_ops()->to_f16(src, n * dim, (uint16_t *)base + off); break;
    case SAC_KV_BF16: k_ops()->to_bf16(src, n * dim, (uint16_t *)base + off); break;
    }
}

void kv_load(const struct session *s, const void *base, int at, float *dst, int n)
{
    int dim = s->hp->shape.head_dim;
    size_t off = (size_t)at * (size_t)dim;
    switch (s->kv_type) {
    case SAC_KV_F32: memcpy(dst, (const float *)base + off, (size_t)n * (size_t)dim * sizeof(float)); break;
    case SAC_KV_F16: k_ops()->from_f16((const uint16_t *)base + off, n * dim, dst); break;
    case SAC_KV_BF16: k_ops()->from_bf16((const uint16_t *)base + off, n * dim, dst); break;
    }
}

static size_t kv_bytes(const struct session *s, int cap)   /* of the keys or the values of one head */
{
    return ((size_t)cap * (size_t)s->hp->shape.head_dim * s->kv_size + 63) / 64 * 64;
}

static atomic_size_t reserved;

size_t session_kv_reserved(void) { return atomic_load(&reserved); }

/* Memory for keys and values is passed on from a session that ended to one of about its size: the system that
 * runs a virtual machine takes free pages back, and clearing them anew ran at 0.8 GB/s here. */
static bool kv_memory(struct session *s, size_t bytes)
{
    struct sac_model *m = s->m;
    pthread_mutex_lock(&m->spare_lock);
    bool fits = m->spare.mem && m->spare.bytes >= bytes && m->spare.bytes / 2 <= bytes;
    s->kv_mem = fits ? m->spare.mem : NULL;
    s->kv_bytes = fits ? m->spare.bytes : bytes;
    if (fits) m->spare.mem = NULL;
    pthread_mutex_unlock(&m->spare_lock);
    if (!fits) s->kv_mem = pages_alloc(bytes);
    s->kv_next = s->kv_mem;
    s->kv_reserved = s->kv_mem ? bytes : 0;
    atomic_fetch_add(&reserved, s->kv_reserved);
    return s->kv_mem != NULL;
}

static void kv_release(struct session *s)
{
    struct sac_model *m = s->m;
    void *old = s->kv_mem;
    if (!old) return;
    pthread_mutex_lock(&m->spare_lock);
    if (!m->spare.mem || m->spare.bytes <= s->kv_bytes) {
        old = m->spare.mem;
        m->spare.mem = s->kv_mem;
        m->spare.bytes = s->kv_bytes;
    }
    pthread_mutex_unlock(&m->spare_lock);
    free(old);
    atomic_fetch_sub(&reserved, s->kv_reserved);
}

void model_drop_spare(struct sac_model *m)
{
    pthread_mutex_lock(&m->spare_lock);
    void *old = m->spare.mem;
    m->spare.mem = NULL;
    pthread_mutex_unlock(&m->spare_lock);
    free(old);
}

/* Room for the next head, from the memory that all share: together they fill large pages. */
static bool kv_reserve(struct session *s, struct kv_head *h, int cap, bool positions)
{
    h->cap = cap;
    h->k = s->kv_next;
    h->v = s->kv_next + kv_bytes(s, cap);
    s->kv_next += 2 * kv_bytes(s, cap);
    if (positions) h->pos = malloc((size_t)(cap ? cap : 1) * sizeof *h->pos);
    return !positions || h->pos;
}

static struct session *session_alloc(struct sac_model *m, int max_tokens, enum sac_kv_type kv,
                                     struct sac_err *err)
{
    struct session *s = calloc(1, sizeof *s);
    if (s) {
        s->m = m;
        s->hp = &m->hp;
        s->kv_type = kv;
        s->kv_size = kv == SAC_KV_F32 ? 4 : 2;
        s->max_tokens = max_tokens;
        s->force_layer = s->force_kv = -1;
        const struct sac_shape *sh = &s->hp->shape;
        s->kv = calloc((size_t)sh->n_layers * (size_t)sh->n_kv_heads, sizeof *s->kv);
        s->logits = calloc((size_t)sh->n_vocab, sizeof *s->logits);
        if (s->kv && s->logits) return s;
        session_free(s);
    }
    sac_fail(err, SAC_ENOMEM, "%s: out of memory for a session of %d tokens", m->info.name, max_tokens);
    return NULL;
}

struct session *session_new(struct sac_model *m, int max_tokens, enum sac_kv_type kv, struct sac_err *err)
{
    struct session *s = session_alloc(m, max_tokens, kv, err);
    if (!s) return NULL;
    s->owns_rope = true;
    bool ok = rope_table_make(&s->rope, &s->hp->rope, max_tokens) &&
              (!m->info.n_window_layers || rope_table_make(&s->rope_local, &s->hp->rope_local, max_tokens));
    const struct sac_shape *sh = &s->hp->shape;
    int heads = sh->n_layers * sh->n_kv_heads;
    ok = ok && kv_memory(s, (size_t)heads * 2 * kv_bytes(s, max_tokens));
    for (int i = 0; ok && i < heads; i++) ok = kv_reserve(s, &s->kv[i], max_tokens, false);
    if (ok) return s;
    sac_fail(err, SAC_ENOMEM, "%s: out of memory for the keys and values of %d tokens (%.1f MB); "
             "try a shorter prompt or --kv f16", m->info.name, max_tokens,
             (double)max_tokens * (double)m->info.kv_bytes_per_token / 1e6);
    session_free(s);
    return NULL;
}

void session_free(struct session *s)
{
    if (!s) return;
    const struct sac_shape *sh = &s->hp->shape;
    for (int i = 0; s->kv && i < sh->n_layers * sh->n_kv_heads; i++) free(s->kv[i].pos);
    kv_release(s);
    if (s->owns_rope) {
        rope_table_free(&s->rope);
        rope_table_free(&s->rope_local);
    }
    sac_arena_free(&s->arena);
    free(s->kv);
    free(s->logits);
    free(s);
}

void session_leave(struct session *base, struct session *heir)
{
    heir->owns_rope = base->owns_rope;
    base->owns_rope = false;
    session_free(base);
}

void session_restore(struct session *s, int layer, const float *k, const float *v, size_t stride, int n)
{
    for (int g = 0; g < s->hp->shape.n_kv_heads; g++) {
        struct kv_head *h = kv_at(s, layer, g);
        kv_store(s, h->k, 0, k + (size_t)g * stride, n);
        kv_store(s, h->v, 0, v + (size_t)g * stride, n);
        h->n = n;
    }
    s->n = n;
}

int session_n(const struct session *s) { return s->n; }
const float *session_logits(const struct session *s) { return s->logits; }
struct session_stats session_stats(const struct session *s) { return s->stats; }

size_t session_kv_bytes(const struct session *s)
{
    const struct sac_shape *sh = &s->hp->shape;
    size_t bytes = 0;
    for (int i = 0; i < sh->n_layers * sh->n_kv_heads; i++)
        bytes += 2u * (size_t)s->kv[i].n * (size_t)sh->head_dim * s->kv_size;
    return bytes;
}

void session_keys(const struct session *s, int layer, int kv_head, bool values, int lo, int n, float *out)
{
    const struct kv_head *h = kv_at(s, layer, kv_head);
    kv_load(s, values ? h->v : h->k, lo, out, n);
}

void session_describe_rope(const struct session *s, int layer, struct sac_prefill_in *in)
{
    const struct rope_table *rope = rope_of(s, layer);
    in->rope_cos = rope->cos;
    in->rope_sin = rope->sin;
    in->rope_dim = rope->dim;
    in->rope_positions = rope->n;
    in->rope_adjacent = rope->adjacent;
}

bool session_truncate(struct session *s, int n)
{
    const struct sac_shape *sh = &s->hp->shape;
    if (s->part || n > s->n) return false;
    for (int i = 0; i < sh->n_layers * sh->n_kv_heads; i++) s->kv[i].n -= s->n - n;
    s->n = n;
    return true;
}

/* Keys kept of one head, copied into a cache just large enough for them and what will follow. */
static bool fork_head(struct session *s, const struct kv_head *from, struct kv_head *to,
                      const struct sac_kept *kept, int n, int max_new)
{
    size_t row = (size_t)s->hp->shape.head_dim * s->kv_size;
    int n_kept = kept ? kept->n : n;
    bool moves = s->part && s->part->m->drop;   /* slots will not stay at their positions */
    if (!kv_reserve(s, to, n_kept + max_new, kept || moves)) return false;
    to->n = n_kept;
    if (!kept) {
        memcpy(to->k, from->k, (size_t)n * row);
        memcpy(to->v, from->v, (size_t)n * row);
        for (int i = 0; to->pos && i < n; i++) to->pos[i] = i;
        return true;
    }
    for (int i = 0; i < n_kept; i++) {
        size_t src = (size_t)kept->pos[i] * row, dst = (size_t)i * row;
        memcpy((char *)to->k + dst, (const char *)from->k + src, row);
        memcpy((char *)to->v + dst, (const char *)from->v + src, row);
        to->pos[i] = kept->pos[i];
    }
    return true;
}

/* Give the decode method its state, the keys that are already there, and the scores they were kept for. */
static bool start_method(struct session *s, const struct sac_kept *kept, uint64_t seed)
{
    const struct sac_shape *sh = &s->hp->shape;
    const struct sac_method *m = s->part->m;
    if (m->create) {
        struct sac_env env = { *sh, s->max_tokens, seed, s->kv_type == SAC_KV_F16 };
        s->state = m->create(&env, s->part->opts.bytes, &s->arena);
        if (!s->state) return false;
    }
    if (!m->append && !m->seed) return true;
    float *k = malloc((size_t)(s->n + 1) * (size_t)sh->head_dim * sizeof *k);
    if (!k) return false;
    for (int l = 0; l < sh->n_layers; l++) {
        if (sac_spec_layer_dense(s->spec, l)) continue;
        for (int g = 0; g < sh->n_kv_heads; g++) {
            const struct kv_head *h = kv_at(s, l, g);
            const float *score = kept ? kept[l * sh->n_kv_heads + g].score : NULL;
            if (m->append) {
                kv_load(s, h->k, 0, k, h->n);
                m->append(s->state, l, g, 0, h->n, k);
            }
            if (m->seed && score && s->part == sac_spec_evict(s->spec)) m->seed(s->state, l, g, h->n, score);
        }
    }
    free(k);
    return true;
}

struct session *session_fork(const struct session *base, const struct fork_args *a, struct sac_err *err)
{
    if (a->n + a->max_new > base->max_tokens) {   /* its table of rotations ends there */
        sac_fail(err, SAC_EARG, "a session of %d tokens cannot be continued to %d", base->max_tokens,
                 a->n + a->max_new);
        return NULL;
    }
    struct session *s = session_alloc(base->m, a->n + a->max_new, base->kv_type, err);
    if (!s) return NULL;
    const struct sac_shape *sh = &s->hp->shape;
    s->rope = base->rope;
    s->rope_local = base->rope_local;
    s->n = a->n;
    s->spec = a->spec;
    s->part = a->spec ? sac_spec_decode(a->spec) : NULL;
    s->evicted = a->kept != NULL;
    s->force = a->force;
    s->force_layer = a->force_layer;
    s->force_kv = a->force_kv;
    memcpy(s->logits, base->logits, (size_t)sh->n_vocab * sizeof *s->logits);
    size_t bytes = 0;
    for (int i = 0; i < sh->n_layers * sh->n_kv_heads; i++)
        bytes += 2 * kv_bytes(s, (a->kept ? a->kept[i].n : a->n) + a->max_new);
    bool ok = kv_memory(s, bytes);
    for (int i = 0; ok && i < sh->n_layers * sh->n_kv_heads; i++)
        ok = fork_head(s, &base->kv[i], &s->kv[i], a->kept ? &a->kept[i] : NULL, a->n, a->max_new);
    if (ok && s->part) ok = start_method(s, a->kept, a->seed);
    if (ok) ok = decode_prepare(s);
    if (ok) return s;
    sac_fail(err, SAC_ENOMEM, "%s: out of memory for decoding after %d tokens", base->m->info.name, a->n);
    session_free(s);
    return NULL;
}

void embed_token(const struct session *s, int id, float *x)
{
    const struct k_mat *e = s->m->w.embd;
    const char *row = (const char *)e->data + (size_t)id * e->row_bytes;
    k_ops()->dequant(e->type, row, e->cols, x);
    float scale = (float)s->hp->embd_scale;
    if (scale != 1.0f)
        for (int i = 0; i < e->cols; i++) x[i] *= scale;
}

void output_head(const struct session *s, const float *x, int n, float *logits, size_t ld)
{
    const struct hparams *hp = s->hp;
    linear(s->m->pool, s->m->w.head, x, (size_t)hp->shape.n_embd, n, logits, ld, NULL);
    float cap = (float)hp->final_softcap;
    if (cap <= 0) return;
    for (int t = 0; t < n; t++) k_ops()->softcap(logits + (size_t)t * ld, hp->shape.n_vocab, cap);
}
