/* The grid of a study and its results file: see eval.h. */
#include <saccade/eval.h>

#include "study/packed.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the grid ---- */

int sac_grid_units(const struct sac_grid *g)
{
    int all = g->n_tasks * g->n_lengths * g->n_samples;
    return all / g->n_shards + (g->shard <= all % g->n_shards);
}

struct sac_unit sac_grid_unit(const struct sac_grid *g, int i)
{
    int at = i * g->n_shards + g->shard - 1;
    int sample = at % g->n_samples, length = at / g->n_samples % g->n_lengths;
    return (struct sac_unit){ g->task[at / g->n_samples / g->n_lengths], g->length[length],
                              g->first + sample };
}

/* ---- the set of keys ---- */

struct sac_results {
    int fd;
    char *path;
    uint64_t *slot; /* open addressing, 0: free */
    size_t cap, n;
    char *queue;
    size_t n_queue, cap_queue, cut;
};

static uint64_t fnv(uint64_t h, const void *p, size_t n)
{
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001B3u;
    return h;
}

static uint64_t key_hash(const struct sac_result_key *k)
{
    uint64_t h = 0xCBF29CE484222325u;
    const char *text[] = { k->model, k->task, k->style, k->method };
    for (int i = 0; i < 4; i++) h = fnv(h, text[i], strlen(text[i]) + 1);
    char num[80];
    int n = snprintf(num, sizeof num, "%d %d %llu", k->length, k->sample, (unsigned long long)k->seed);
    h = fnv(h, num, (size_t)n);
    if (k->variant && *k->variant) h = fnv(h, k->variant, strlen(k->variant) + 1);
    return h ? h : 1;
}

static size_t find(const uint64_t *slot, size_t cap, uint64_t h)
{
    size_t i = (size_t)h & (cap - 1);
    while (slot[i] && slot[i] != h) i = (i + 1) & (cap - 1);
    return i;
}

static bool remember(struct sac_results *r, uint64_t h)
{
    if (2 * (r->n + 1) > r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 1024;
        uint64_t *slot = calloc(cap, sizeof *slot);
        if (!slot) return false;
        for (size_t i = 0; i < r->cap; i++)
            if (r->slot[i]) slot[find(slot, cap, r->slot[i])] = r->slot[i];
        free(r->slot);
        r->slot = slot;
        r->cap = cap;
    }
    size_t at = find(r->slot, r->cap, h);
    if (!r->slot[at]) r->n++;
    r->slot[at] = h;
    return true;
}

static bool known(const struct sac_results *r, uint64_t h)
{
    return r->cap && r->slot[find(r->slot, r->cap, h)] == h;
}

bool sac_results_has(const struct sac_results *r, const struct sac_result_key *key)
{
    return known(r, key_hash(key));
}

int sac_results_count(const struct sac_results *r) { return (int)r->n; }
size_t sac_results_cut(const struct sac_results *r) { return r->cut; }

/* ---- lines ---- */

/* The key a line carries; false when it is no result. */
static bool line_hash(const char *line, size_t n, uint64_t *hash)
{
    json_error_t e;
    json_t *o = json_loadb(line, n, 0, &e);
    const char *model = json_string_value(json_object_get(o, "model_key"));
    const char *task = json_string_value(json_object_get(o, "task"));
    const char *style = json_string_value(json_object_get(o, "style"));
    const char *method = json_string_value(json_object_get(o, "method"));
    const json_t *length = json_object_get(o, "length"), *sample = json_object_get(o, "sample");
    bool ok = model && task && style && method && json_is_integer(length) && json_is_integer(sample);
    if (ok) {
        struct sac_result_key k = { model,
                                    task,
                                    style,
                                    method,
                                    (int)json_integer_value(length),
                                    (int)json_integer_value(sample),
                                    (uint64_t)json_integer_value(json_object_get(o, "seed")),
                                    json_string_value(json_object_get(o, "variant")) };
        *hash = key_hash(&k);
    }
    json_decref(o);
    return ok;
}

/* Calls fn for every line that ends in a newline; *whole: bytes of these lines. Reads a piece at a time. */
static enum sac_code each_line(int fd, const char *path,
                               enum sac_code (*fn)(void *ctx, const char *line, size_t n, int number,
                                                   struct sac_err *err),
                               void *ctx, off_t *whole, struct sac_err *err)
{
    size_t cap = 1 << 16, n = 0;
    char *buf = malloc(cap);
    int number = 1;
    enum sac_code rc = buf ? SAC_OK : sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    *whole = 0;
    while (!rc) {
        if (n == cap) {
            char *more = realloc(buf, 2 * cap);
            if (!more) {
                rc = sac_fail(err, SAC_ENOMEM, "%s: line %d is longer than memory allows", path, number);
                break;
            }
            buf = more;
            cap *= 2;
        }
        ssize_t got = read(fd, buf + n, cap - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) rc = sac_fail(err, SAC_EIO, "%s: cannot be read: %s", path, strerror(errno));
        if (got <= 0) break;
        n += (size_t)got;
        size_t at = 0;
        char *end;
        while (!rc && (end = memchr(buf + at, '\n', n - at))) {
            size_t len = (size_t)(end - buf) - at;
            if (len) rc = fn(ctx, buf + at, len, number, err);
            number++;
            at += len + 1;
            *whole += (off_t)(len + 1);
        }
        memmove(buf, buf + at, n - at);
        n -= at;
    }
    free(buf);
    return rc;
}

static enum sac_code learn(void *ctx, const char *line, size_t n, int number, struct sac_err *err)
{
    struct sac_results *r = ctx;
    uint64_t h;
    if (!line_hash(line, n, &h))
        return sac_fail(err, SAC_EFORMAT,
                        "%s: line %d is not a result of saccade eval; repair the file or name another",
                        r->path, number);
    return remember(r, h) ? SAC_OK : sac_fail(err, SAC_ENOMEM, "%s: out of memory", r->path);
}

/* What stands behind the last whole line is a line that a kill cut short; nothing else may be cut off. */
static enum sac_code cut_torn(struct sac_results *r, off_t whole, struct sac_err *err)
{
    struct stat st;
    char first = 0;
    if (fstat(r->fd, &st) || st.st_size <= whole) return SAC_OK;
    if (pread(r->fd, &first, 1, whole) != 1 || first != '{')
        return sac_fail(err, SAC_EFORMAT, "%s: not results of saccade eval; name another file", r->path);
    r->cut = (size_t)(st.st_size - whole);
    if (ftruncate(r->fd, whole))
        return sac_fail(err, SAC_EIO, "%s: cannot cut off a torn line: %s", r->path, strerror(errno));
    return SAC_OK;
}

enum sac_code sac_results_open(struct sac_results **out, const char *path, struct sac_err *err)
{
    struct sac_results *r = calloc(1, sizeof *r);
    if (!r) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    r->path = strdup(path);
    r->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    enum sac_code rc = SAC_OK;
    off_t whole = 0;
    char magic[4];
    if (!r->path)
        rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    else if (r->fd < 0)
        rc = sac_fail(err, SAC_EIO, "%s: cannot be opened to append: %s", path, sac_write_reason(errno));
    else if (flock(r->fd, LOCK_EX | LOCK_NB))
        rc = sac_fail(err, SAC_EIO,
                      "%s: another saccade eval is writing to it; wait for it or name another file", path);
    else if (pread(r->fd, magic, sizeof magic, 0) == sizeof magic && packed_magic(magic, sizeof magic))
        rc = sac_fail(err, SAC_EFORMAT, "%s: packed by zstd; to go on with it unpack it first: zstd -d %s", path,
                      path);
    else
        rc = each_line(r->fd, path, learn, r, &whole, err);
    if (!rc) rc = cut_torn(r, whole, err);
    if (rc) {
        sac_results_close(r);
        return rc;
    }
    *out = r;
    return SAC_OK;
}

void sac_results_close(struct sac_results *r)
{
    if (!r) return;
    if (r->fd >= 0) close(r->fd);
    free(r->path);
    free(r->slot);
    free(r->queue);
    free(r);
}

static enum sac_code enqueue(struct sac_results *r, uint64_t h, const char *line, size_t n,
                             struct sac_err *err)
{
    if (known(r, h)) return SAC_OK;
    assert(!memchr(line, '\n', n));
    if (r->n_queue + n + 1 > r->cap_queue) {
        size_t cap = 2 * (r->n_queue + n + 1);
        char *q = realloc(r->queue, cap);
        if (!q) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", r->path);
        r->queue = q;
        r->cap_queue = cap;
    }
    if (!remember(r, h)) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", r->path);
    memcpy(r->queue + r->n_queue, line, n);
    r->queue[r->n_queue + n] = '\n';
    r->n_queue += n + 1;
    return SAC_OK;
}

enum sac_code sac_results_add(struct sac_results *r, const struct sac_result_key *key, const char *line,
                              struct sac_err *err)
{
    return enqueue(r, key_hash(key), line, strlen(line), err);
}

enum sac_code sac_results_sync(struct sac_results *r, struct sac_err *err)
{
    size_t at = 0;
    while (at < r->n_queue) {
        ssize_t n = write(r->fd, r->queue + at, r->n_queue - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return sac_fail(err, SAC_EIO, "%s: cannot be written: %s", r->path,
                                    sac_write_reason(errno));
        at += (size_t)n;
    }
    r->n_queue = 0;
    /* Pipes and some file systems cannot sync; what they take is theirs. */
    if (at && fdatasync(r->fd) && errno != EINVAL && errno != EROFS)
        return sac_fail(err, SAC_EIO, "%s: cannot be synced to disk: %s", r->path, strerror(errno));
    return SAC_OK;
}

/* ---- merge ---- */

struct merge {
    struct sac_results *r;
    const char *file;
    int n_new, n_same;
};

static enum sac_code take(void *ctx, const char *line, size_t n, int number, struct sac_err *err)
{
    struct merge *m = ctx;
    uint64_t h;
    if (!line_hash(line, n, &h))
        return sac_fail(err, SAC_EFORMAT, "%s: line %d is not a result of saccade eval", m->file, number);
    if (known(m->r, h)) {
        m->n_same++;
        return SAC_OK;
    }
    m->n_new++;
    enum sac_code rc = enqueue(m->r, h, line, n, err);
    return !rc && m->r->n_queue > 1 << 20 ? sac_results_sync(m->r, err) : rc;
}

enum sac_code sac_results_merge(const char *path, const char *const *file, int n, int *n_new, int *n_same,
                                struct sac_err *err)
{
    struct merge m = { 0 };
    enum sac_code rc = sac_results_open(&m.r, path, err);
    for (int i = 0; !rc && i < n; i++) {
        m.file = file[i];
        FILE *f = packed_open(file[i], err);
        off_t whole;
        rc = f ? each_line(fileno(f), file[i], take, &m, &whole, err) : err->code;
        if (f) fclose(f);
    }
    if (!rc) rc = sac_results_sync(m.r, err);
    sac_results_close(m.r);
    *n_new = m.n_new;
    *n_same = m.n_same;
    return rc;
}
