/* The tensor directory: a list with an index by name. */
#include "file/dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *b = p;
    uint64_t h = seed ? seed : 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static int *slot_of(const struct tensor_dir *d, const char *name, size_t len)
{
    size_t mask = (size_t)d->n_bucket - 1;
    size_t i = (size_t)hash_bytes(name, len, 0) & mask;
    while (d->bucket[i] >= 0) {
        const char *have = d->t[d->bucket[i]].name;
        if (strlen(have) == len && !memcmp(have, name, len)) break;
        i = (i + 1) & mask;
    }
    return &d->bucket[i];
}

static bool grow(struct tensor_dir *d)
{
    int cap = d->cap ? d->cap * 2 : 64;
    struct tensor *t = realloc(d->t, (size_t)cap * sizeof *t);
    if (!t) return false;
    d->t = t;
    d->cap = cap;
    int *bucket = malloc((size_t)cap * 2 * sizeof *bucket);
    if (!bucket) return false;
    free(d->bucket);
    d->bucket = bucket;
    d->n_bucket = cap * 2;
    for (int i = 0; i < d->n_bucket; i++) bucket[i] = -1;
    for (int i = 0; i < d->n; i++) *slot_of(d, d->t[i].name, strlen(d->t[i].name)) = i;
    return true;
}

enum sac_code dir_add(struct tensor_dir *d, const struct tensor *t, const char *name, size_t name_len,
                      const char *path, struct sac_err *err)
{
    if (name_len == 0 || name_len > TENSOR_NAME_MAX || memchr(name, 0, name_len))
        return sac_fail(err, SAC_EFORMAT,
                        "%s: tensor %d has a damaged name of %zu bytes; 1 to %d are expected", path, d->n,
                        name_len, TENSOR_NAME_MAX);
    if (d->n == d->cap && !grow(d))
        return sac_fail(err, SAC_ENOMEM, "%s: out of memory for its directory", path);
    int *slot = slot_of(d, name, name_len);
    if (*slot >= 0)
        return sac_fail(err, SAC_EFORMAT, "%s: tensor '%.*s' is declared twice", path, (int)name_len, name);
    char *copy = strndup(name, name_len);
    if (!copy) return sac_fail(err, SAC_ENOMEM, "%s: out of memory for its directory", path);
    *slot = d->n;
    d->t[d->n] = *t;
    d->t[d->n++].name = copy;
    return SAC_OK;
}

struct tensor *dir_find(const struct tensor_dir *d, const char *name)
{
    int i = d->n_bucket ? *slot_of(d, name, strlen(name)) : -1;
    return i < 0 ? NULL : &d->t[i];
}

void dir_free(struct tensor_dir *d)
{
    for (int i = 0; i < d->n; i++) free(d->t[i].name);
    free(d->t);
    free(d->bucket);
    *d = (struct tensor_dir){ 0 };
}

int64_t tensor_count(const struct tensor *t) { return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; }

const char *tensor_shape(const struct tensor *t, char buf[96])
{
    int at = snprintf(buf, 96, "[");
    for (int i = t->n_dims - 1; i >= 0; i--)
        at += snprintf(buf + at, (size_t)(96 - at), "%lld%s", (long long)t->ne[i], i ? ", " : "");
    snprintf(buf + at, (size_t)(96 - at), "]");
    return buf;
}
