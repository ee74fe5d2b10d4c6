/* Life of a trace and of its lanes, and the readers that copy plain facts. */
#include "trace/trace_int.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct blob *blob_take(void *data, size_t bytes)
{
    struct blob *b = data ? calloc(1, sizeof *b) : NULL;
    if (!b) {
        free(data);
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->data = data;
    b->bytes = bytes;
    return b;
}

struct blob *blob_share(struct blob *b)
{
    if (b) atomic_fetch_add(&b->refs, 1);
    return b;
}

void blob_drop(struct blob *b)
{
    if (!b || atomic_fetch_sub(&b->refs, 1) != 1) return;
    if (b->release) b->release(b);
    else free(b->data);
    free(b);
}

/* ---- memory of recorded arrays ---- */

static void spill_free(struct blob *b) { munmap(b->data, b->bytes); }

/* A file that has no name, or none any more; -1 where the folder takes none. */
static int nameless(const char *folder)
{
#ifdef O_TMPFILE
    return open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
#else
    char path[1024];
    snprintf(path, sizeof path, "%s/saccade-XXXXXX", folder);
    int fd = mkstemp(path);
    if (fd >= 0) unlink(path);
    return fd;
#endif
}

/* Blocks are taken at once: a disk that is full must not end the program in the middle of a store. */
static bool claim(int fd, size_t bytes)
{
#ifdef __linux__
    return posix_fallocate(fd, 0, (off_t)bytes) == 0;
#else
    return ftruncate(fd, (off_t)bytes) == 0;
#endif
}

struct blob *blob_room(size_t bytes, bool spill)
{
    const char *tmp = getenv("TMPDIR");
    int fd = spill ? nameless(tmp && *tmp ? tmp : "/var/tmp") : -1;
    void *p = MAP_FAILED;
    if (fd >= 0 && claim(fd, bytes)) p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    /* Not on large pages: a system that lends free ones out (a virtual machine) clears them at a tenth of the
     * speed, and what is written once would wait for it. */
    if (p == MAP_FAILED) return blob_take(aligned_alloc(64, (bytes + 63) / 64 * 64), bytes);
    struct blob *b = calloc(1, sizeof *b);
    if (!b) {
        munmap(p, bytes);
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->data = p;
    b->bytes = bytes;
    b->release = spill_free;
    return b;
}

static void part_free(struct blob *b) { blob_drop(b->owner); }

struct blob *blob_part(struct blob *whole, void *data, size_t bytes)
{
    struct blob *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    atomic_init(&b->refs, 1);
    b->data = data;
    b->bytes = bytes;
    b->release = part_free;
    b->owner = blob_share(whole);
    return b;
}

bool blob_spill_wanted(double bytes)
{
    double free_bytes = (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    const char *force = getenv("SACCADE_TRACE_SPILL");       /* tests */
    return bytes > free_bytes / 2 || (force && *force == '1');
}

void plans_drop(struct plans *p)
{
    if (!p || atomic_fetch_sub(&p->refs, 1) != 1) return;
    for (int i = 0; i < p->n; i++) sac_plan_free(&p->plan[i]);
    free(p);
}

static char *copy_text(const char *s) { return strdup(s ? s : ""); }

struct sac_trace *trace_new(const struct sac_trace_info *info, const int *ids, const struct sac_span *spans)
{
    struct sac_trace *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    atomic_init(&t->refs, 1);
    pthread_mutex_init(&t->lock, NULL);
    t->info = *info;
    size_t n = (size_t)info->n_prompt, layers = (size_t)info->shape.n_layers, gold = (size_t)info->n_spans;
    t->text = malloc(info->text_len + 1);
    t->task = copy_text(info->task);
    t->gold = copy_text(info->gold);
    t->ids = malloc((n + 1) * sizeof *t->ids);
    t->spans = malloc((n + 1) * sizeof *t->spans);
    t->gold_span = calloc(gold + 1, sizeof *t->gold_span);
    t->gold_item = calloc(gold + 1, sizeof *t->gold_item);
    t->scale = calloc(layers, sizeof *t->scale);
    t->softcap = calloc(layers, sizeof *t->softcap);
    t->window = calloc(layers, sizeof *t->window);
    if (!t->text || !t->task || !t->gold || !t->ids || !t->spans || !t->gold_span || !t->gold_item ||
        !t->scale || !t->softcap || !t->window) {
        sac_trace_release(t);
        return NULL;
    }
    if (info->text_len) memcpy(t->text, info->text, info->text_len);
    t->text[info->text_len] = 0;
    memcpy(t->ids, ids, n * sizeof *ids);
    memcpy(t->spans, spans, n * sizeof *spans);
    if (gold) memcpy(t->gold_span, info->span, gold * sizeof *t->gold_span);
    if (gold && info->span_item) memcpy(t->gold_item, info->span_item, gold * sizeof *t->gold_item);
    for (size_t l = 0; l < layers; l++) t->scale[l] = 1.0 / sqrt((double)info->shape.head_dim);
    return t;
}

static void layer_free(const struct sac_trace *t, struct layer_rec *r, int max_new)
{
    blob_drop(r->q);
    blob_drop(r->k);
    blob_drop(r->v);
    blob_drop(r->lse);
    blob_drop(r->overview);
    plans_drop(r->plans);
    for (int g = 0; r->kept && g < t->info.shape.n_kv_heads; g++) free(r->kept[g]);
    free(r->kept);
    free(r->kept_n);
    free(r->q_dec);
    free(r->k_dec);
    free(r->v_dec);
    for (int i = 0; r->steps && i < max_new; i++) {
        if (!r->steps[i]) continue;
        free(r->steps[i]->at);
        free(r->steps[i]->run);
        free(r->steps[i]);
    }
    free(r->steps);
    for (int p = 0; p < 2; p++) {
        free(r->recall[p]);
        free(r->outputs[p]);
        free(r->density[p]);
    }
    for (int h = 0; r->dense_lse && h < t->info.shape.n_heads; h++) free(r->dense_lse[h]);
    free(r->dense_lse);
    pthread_mutex_destroy(&r->lock);
}

static void lane_free(const struct sac_trace *t, struct lane_rec *l)
{
    for (int i = 0; l->layer && i < t->info.shape.n_layers; i++) layer_free(t, &l->layer[i], l->max_new);
    free(l->layer);
    free(l->token);
    free(l->next_id);
    free(l->next_p);
    free(l->step_kl);
    free(l);
}

void sac_trace_retain(struct sac_trace *t) { atomic_fetch_add(&t->refs, 1); }

void sac_trace_release(struct sac_trace *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1) return;
    for (int i = 0; i < atomic_load(&t->n_lanes); i++) lane_free(t, t->lane[i]);
    if (t->close_file) t->close_file(t->file);
    for (int i = 0; i < t->n_pieces; i++) free(t->piece[i]);
    free(t->piece);
    free(t->piece_id);
    free(t->piece_len);
    free(t->text);
    free(t->task);
    free(t->gold);
    free(t->ids);
    free(t->spans);
    free(t->gold_span);
    free(t->gold_item);
    free(t->scale);
    free(t->softcap);
    free(t->window);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static bool layer_init(const struct sac_trace *t, struct layer_rec *r, int max_new)
{
    const struct sac_shape *s = &t->info.shape;
    size_t n = (size_t)(max_new > 0 ? max_new : 1), d = (size_t)s->head_dim;
    pthread_mutex_init(&r->lock, NULL);
    r->q_dec = malloc(n * (size_t)s->n_heads * d * sizeof(float));
    r->k_dec = malloc(n * (size_t)s->n_kv_heads * d * sizeof(float));
    r->v_dec = malloc(n * (size_t)s->n_kv_heads * d * sizeof(float));
    r->steps = calloc(n, sizeof *r->steps);
    r->dense_lse = calloc((size_t)s->n_heads, sizeof *r->dense_lse);
    return r->q_dec && r->k_dec && r->v_dec && r->steps && r->dense_lse;
}

int trace_add_lane(struct sac_trace *t, const struct sac_spec *spec, int max_new, bool record)
{
    int at = atomic_load(&t->n_lanes);
    if (at == TRACE_MAX_LANES) return -1;
    struct lane_rec *l = calloc(1, sizeof *l);
    if (!l) return -1;
    size_t n = (size_t)(max_new > 0 ? max_new : 1);
    l->max_new = max_new;
    l->token = malloc(n * sizeof *l->token);
    l->next_id = calloc(n * TRACE_TOP, sizeof *l->next_id);
    l->next_p = calloc(n * TRACE_TOP, sizeof *l->next_p);
    l->step_kl = malloc(n * sizeof *l->step_kl);
    bool ok = l->token && l->next_id && l->next_p && l->step_kl;
    if (ok && record) {
        l->layer = calloc((size_t)t->info.shape.n_layers, sizeof *l->layer);
        ok = l->layer != NULL;
        for (int i = 0; ok && i < t->info.shape.n_layers; i++) ok = layer_init(t, &l->layer[i], max_new);
    }
    if (!ok) {
        lane_free(t, l);
        return -1;
    }
    for (size_t i = 0; i < n; i++) l->step_kl[i] = NAN;
    l->force_layer = l->force_kv = -1;
    struct sac_lane *p = &l->pub;
    if (spec) {
        l->spec = *spec;
        l->has_spec = true;
        snprintf(p->spec, sizeof p->spec, "%s", spec->text);
        snprintf(p->method, sizeof p->method, "%s", spec->part[0].m->name);
        snprintf(p->title, sizeof p->title, "%s", spec->part[0].m->title);
        sac_spec_params(spec, p->params, sizeof p->params);
        snprintf(p->note, sizeof p->note, "%s", spec->note);
    }
    p->state = SAC_LANE_QUEUED;
    p->max_steps = max_new;
    p->eta_s = -1;
    p->score = p->kl = p->top1 = p->kl_free = p->top1_free = p->nll_gold = (double)NAN;
    p->prefill = p->decode = (struct sac_density){ (double)NAN, (double)NAN, (double)NAN, (double)NAN };
    recall_unknown(&p->recall);
    recall_unknown(&p->recall_prefill);
    recall_unknown(&p->recall_decode);
    p->first_diff = -1;
    t->lane[at] = l;
    atomic_store_explicit(&t->n_lanes, at + 1, memory_order_release);
    trace_changed(t);
    return at;
}

void trace_changed(struct sac_trace *t)
{
    atomic_fetch_add_explicit(&t->generation, 1, memory_order_release);
    if (t->notify) t->notify(t->notify_ctx);
}

struct sac_lane *trace_lane_edit(struct sac_trace *t, int lane)
{
    pthread_mutex_lock(&t->lock);
    return &t->lane[lane]->pub;
}

void trace_lane_done(struct sac_trace *t)
{
    pthread_mutex_unlock(&t->lock);
    trace_changed(t);
}

/* ---- readers ---- */

void sac_trace_info(const struct sac_trace *t, struct sac_trace_info *out)
{
    *out = t->info;
    out->n_lanes = atomic_load_explicit(&t->n_lanes, memory_order_acquire);
    out->text = t->text;
    out->task = t->task;
    out->gold = t->gold;
    out->span = t->gold_span;
    out->span_item = t->gold_item;
}

const int *sac_trace_prompt_ids(const struct sac_trace *t) { return t->ids; }
int sac_trace_n_lanes(const struct sac_trace *t)
{
    return atomic_load_explicit(&t->n_lanes, memory_order_acquire);
}

uint64_t sac_trace_generation(const struct sac_trace *t)
{
    return atomic_load_explicit(&t->generation, memory_order_acquire);
}

struct sac_span sac_trace_token_span(const struct sac_trace *t, int pos)
{
    return pos >= 0 && pos < t->info.n_prompt ? t->spans[pos] : (struct sac_span){ 0, 0 };
}

void sac_trace_lane(const struct sac_trace *t, int lane, struct sac_lane *out)
{
    struct lane_rec *l = trace_lane_rec(t, lane);
    if (!l) {
        memset(out, 0, sizeof *out);
        return;
    }
    pthread_mutex_t *lock = &((struct sac_trace *)(uintptr_t)t)->lock;
    pthread_mutex_lock(lock);
    *out = l->pub;
    pthread_mutex_unlock(lock);
}

/* Copy at most cap - 1 bytes without cutting a UTF-8 character; bytes that are no UTF-8 become U+FFFD. */
static int copy_utf8(char *buf, int cap, const char *s, int n)
{
    int out = 0;
    for (int i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        int len = c < 0x80                ? 1
                  : c >= 0xc2 && c < 0xe0 ? 2
                  : c >= 0xe0 && c < 0xf0 ? 3
                  : c >= 0xf0 && c < 0xf5 ? 4
                                          : 0;
        bool good = len > 0 && i + len <= n;
        for (int j = 1; good && j < len; j++) good = ((unsigned char)s[i + j] & 0xc0) == 0x80;
        const char *from = good ? s + i : "\xef\xbf\xbd";
        int take = good ? len : 3;
        if (out + take >= cap) break;
        memcpy(buf + out, from, (size_t)take);
        out += take;
        i += good ? len : 1;
    }
    buf[out] = 0;
    return out;
}

/* The bytes of a vocabulary entry; 0 when the recording does not have it. */
int trace_vocab_bytes(const struct sac_trace *t, int id, const char **out)
{
    if (t->model) return sac_token_bytes(t->model, id, out);
    int lo = 0, hi = t->n_pieces;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (t->piece_id[mid] < id) lo = mid + 1;
        else hi = mid;
    }
    if (lo == t->n_pieces || t->piece_id[lo] != id) return 0;
    *out = t->piece[lo];
    return t->piece_len[lo];
}

int sac_trace_vocab(const struct sac_trace *t, int id, char *buf, int cap)
{
    const char *s = NULL;
    if (cap <= 0) return 0;
    buf[0] = 0;
    int n = trace_vocab_bytes(t, id, &s);
    return n > 0 ? copy_utf8(buf, cap, s, n) : 0;
}

/* The id at a position of a lane, -1: none yet. */
static int id_at(const struct sac_trace *t, int lane, int pos)
{
    if (pos < 0) return -1;
    if (pos < t->info.n_prompt) return t->ids[pos];
    struct lane_rec *l = trace_lane_rec(t, lane);
    int g = pos - t->info.n_prompt;
    return l && g < atomic_load_explicit(&l->n_tokens, memory_order_acquire) ? l->token[g] : -1;
}

int sac_trace_token(const struct sac_trace *t, int lane, int pos, char *buf, int cap)
{
    int id = id_at(t, lane, pos);
    if (cap > 0) buf[0] = 0;
    return id < 0 ? 0 : sac_trace_vocab(t, id, buf, cap);
}

int sac_trace_token_bytes(const struct sac_trace *t, int lane, int pos, char *buf, int cap)
{
    const char *s = NULL;
    int id = id_at(t, lane, pos), n = id < 0 ? 0 : trace_vocab_bytes(t, id, &s);
    if (n > cap) n = cap;
    if (n > 0) memcpy(buf, s, (size_t)n);
    return n > 0 ? n : 0;
}

bool sac_trace_layer_windowed(const struct sac_trace *t, int layer, int *window)
{
    if (window) *window = t->window[layer];
    return t->window[layer] > 0;
}

int sac_trace_next(const struct sac_trace *t, int lane, int step, int *id, float *prob)
{
    struct lane_rec *l = trace_lane_rec(t, lane);
    if (!l || step < 0 || step >= atomic_load_explicit(&l->n_tokens, memory_order_acquire)) return 0;
    int n = 0;
    for (int i = 0; i < TRACE_TOP && l->next_p[step * TRACE_TOP + i] > 0; i++, n++) {
        id[i] = l->next_id[step * TRACE_TOP + i];
        prob[i] = l->next_p[step * TRACE_TOP + i];
    }
    return n;
}

double sac_trace_step_kl(const struct sac_trace *t, int lane, int step)
{
    struct lane_rec *l = trace_lane_rec(t, lane);
    if (!l || step < 0 || step >= atomic_load_explicit(&l->n_tokens, memory_order_acquire))
        return (double)NAN;
    return (double)l->step_kl[step];
}

int sac_trace_page_size(const struct sac_trace *t, int lane)
{
    struct lane_rec *l = trace_lane_rec(t, lane);
    if (!l || !l->has_spec) return 0;
    const struct sac_part *p = sac_spec_decode(&l->spec);
    if (p) {
        double size = sac_part_get(p, "page_size");
        return isnan(size) ? 1 : (int)size;
    }
    return sac_spec_evict(&l->spec) ? 1 : 0;
}
