/* Reading GGUF: header, metadata, tensor infos, and the layout of the data they announce.
 *
 * The file is not trusted. Every read goes through a cursor that cannot leave the mapping, counts are
 * compared with the bytes that are left before anything is allocated, products are checked, and no two
 * tensors may overlap. What parses is safe to index; whether it makes sense as a model is for the binding to
 * say. */
#include "file/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ENTRIES = 65536, MAX_KEY = 65535, MIN_KV = 13, MIN_INFO = 24 };
#define MAX_STRING ((uint64_t)64 << 20)
#define MAX_ALIGNMENT ((uint64_t)1 << 20)
#define INCOMPLETE ": the file is incomplete or damaged; copy or download it again"

static const unsigned char value_bytes[GGUF_N_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8 };

/* What a stored type id means: name, block and bytes of all types the format knows. */
static const struct { const char *name; int block, bytes; enum k_type type; } ggml_type[] = {
    [0] = { "F32", 1, 4, K_F32 },           [1] = { "F16", 1, 2, K_F16 },
    [2] = { "Q4_0", 32, 18, K_Q4_0 },       [3] = { "Q4_1", 32, 20, K_Q4_1 },
    [6] = { "Q5_0", 32, 22, K_Q5_0 },       [7] = { "Q5_1", 32, 24, K_Q5_1 },
    [8] = { "Q8_0", 32, 34, K_Q8_0 },       [9] = { "Q8_1", 32, 36, K_N_TYPES },
    [10] = { "Q2_K", 256, 84, K_Q2_K },     [11] = { "Q3_K", 256, 110, K_Q3_K },
    [12] = { "Q4_K", 256, 144, K_Q4_K },    [13] = { "Q5_K", 256, 176, K_Q5_K },
    [14] = { "Q6_K", 256, 210, K_Q6_K },    [15] = { "Q8_K", 256, 292, K_N_TYPES },
    [16] = { "IQ2_XXS", 256, 66, K_N_TYPES }, [17] = { "IQ2_XS", 256, 74, K_N_TYPES },
    [18] = { "IQ3_XXS", 256, 98, K_N_TYPES }, [19] = { "IQ1_S", 256, 50, K_N_TYPES },
    [20] = { "IQ4_NL", 32, 18, K_N_TYPES }, [21] = { "IQ3_S", 256, 110, K_N_TYPES },
    [22] = { "IQ2_S", 256, 82, K_N_TYPES }, [23] = { "IQ4_XS", 256, 136, K_N_TYPES },
    [24] = { "I8", 1, 1, K_N_TYPES },       [25] = { "I16", 1, 2, K_N_TYPES },
    [26] = { "I32", 1, 4, K_N_TYPES },      [27] = { "I64", 1, 8, K_N_TYPES },
    [28] = { "F64", 1, 8, K_N_TYPES },      [29] = { "IQ1_M", 256, 56, K_N_TYPES },
    [30] = { "BF16", 1, 2, K_BF16 },        [34] = { "TQ1_0", 256, 54, K_N_TYPES },
    [35] = { "TQ2_0", 256, 66, K_N_TYPES },
};

static const char *read_string(struct cursor *c, uint64_t cap, uint64_t *len)
{
    *len = cursor_u64(c);
    if (*len > cap) c->failed = true;
    return (const char *)cursor_take(c, *len);
}

/* ---- metadata ---- */

static int *kv_slot(const struct gguf *g, const char *key, size_t len)
{
    size_t mask = (size_t)g->n_bucket - 1, i = (size_t)hash_bytes(key, len, 0) & mask;
    while (g->bucket[i] >= 0) {
        const struct gguf_kv *kv = &g->kv[g->bucket[i]];
        if (kv->key_len == len && !memcmp(kv->key, key, len)) break;
        i = (i + 1) & mask;
    }
    return &g->bucket[i];
}

/* Steps over an array's elements; false with a message where it cannot be one. */
static bool skip_array(struct cursor *c, struct gguf_kv *kv, const char *path, struct sac_err *err)
{
    uint32_t elem = cursor_u32(c);
    kv->count = cursor_u64(c);
    if (c->failed) return true;
    if (elem >= GGUF_N_TYPES || elem == GGUF_ARRAY) {
        sac_fail(err, SAC_EFORMAT, "%s: key '%.*s' is an array of type %u, which cannot be read", path,
                 (int)kv->key_len, kv->key, elem);
        return false;
    }
    kv->elem = (enum gguf_type)elem;
    kv->value = c->data + c->at;
    if (kv->count > cursor_left(c) / value_bytes[elem]) {
        sac_fail(err, SAC_EFORMAT,
                 "%s: key '%.*s' announces %llu elements, but only %zu bytes of the file are left", path,
                 (int)kv->key_len, kv->key, (unsigned long long)kv->count, cursor_left(c));
        return false;
    }
    if (elem != GGUF_STRING) {
        cursor_take(c, kv->count * value_bytes[elem]);
        return true;
    }
    for (uint64_t i = 0, len; i < kv->count && !c->failed; i++) read_string(c, MAX_STRING, &len);
    return true;
}

static enum sac_code read_kv(struct cursor *c, struct gguf_kv *kv, const char *path, struct sac_err *err)
{
    uint64_t len;
    kv->key = read_string(c, MAX_KEY, &len);
    kv->key_len = (uint32_t)len;
    uint32_t type = cursor_u32(c);
    if (c->failed) return SAC_EFORMAT;
    if (len == 0) return sac_fail(err, SAC_EFORMAT, "%s: a metadata key is empty", path);
    if (type >= GGUF_N_TYPES)
        return sac_fail(err, SAC_EFORMAT, "%s: key '%.*s' has value type %u; 0 to 12 are known", path,
                        (int)len, kv->key, type);
    kv->type = (enum gguf_type)type;
    kv->value = c->data + c->at;
    if (type == GGUF_ARRAY) return skip_array(c, kv, path, err) ? SAC_OK : SAC_EFORMAT;
    if (type == GGUF_STRING) kv->value = (const unsigned char *)read_string(c, MAX_STRING, &kv->count);
    else cursor_take(c, value_bytes[type]);
    if (!c->failed && type == GGUF_BOOL && *kv->value > 1)
        return sac_fail(err, SAC_EFORMAT, "%s: key '%.*s' is a bool of value %d", path, (int)len, kv->key,
                        *kv->value);
    return SAC_OK;
}

static enum sac_code read_metadata(struct gguf *g, struct cursor *c, uint64_t n, const char *path,
                                   struct sac_err *err)
{
    int buckets = 16;
    while ((uint64_t)buckets < n * 2) buckets *= 2;
    g->kv = calloc(n ? n : 1, sizeof *g->kv);
    g->bucket = malloc((size_t)buckets * sizeof *g->bucket);
    if (!g->kv || !g->bucket) return sac_fail(err, SAC_ENOMEM, "%s: out of memory for its metadata", path);
    g->n_bucket = buckets;
    for (int i = 0; i < buckets; i++) g->bucket[i] = -1;
    for (uint64_t i = 0; i < n; i++) {
        struct gguf_kv *kv = &g->kv[i];
        enum sac_code rc = read_kv(c, kv, path, err);
        if (c->failed)
            return sac_fail(err, SAC_EFORMAT, "%s: ends inside metadata entry %llu of %llu" INCOMPLETE, path,
                            (unsigned long long)i + 1, (unsigned long long)n);
        if (rc) return rc;
        int *slot = kv_slot(g, kv->key, kv->key_len);
        if (*slot >= 0)
            return sac_fail(err, SAC_EFORMAT, "%s: key '%.*s' is given twice", path, (int)kv->key_len,
                            kv->key);
        *slot = g->n_kv++;
    }
    return SAC_OK;
}

/* ---- tensors ---- */

static enum sac_code size_of_tensor(struct tensor *t, uint32_t type, const char *name, int name_len,
                                    const char *path, struct sac_err *err)
{
    if (type >= sizeof ggml_type / sizeof *ggml_type || ggml_type[type].block == 0)
        return sac_fail(err, SAC_ENOTSUP,
                        "%s: tensor '%.*s' has type id %u, which is unknown or was removed from the "
                        "format",
                        path, name_len, name, type);
    t->type = ggml_type[type].type;
    t->type_name = ggml_type[type].name;
    uint64_t block = (uint64_t)ggml_type[type].block, count = 1, bytes;
    for (int i = 0; i < TENSOR_DIMS; i++) {
        if (t->ne[i] < 1 || t->ne[i] > (int64_t)1 << 40 || !mul_size(count, (uint64_t)t->ne[i], &count) ||
            count >= (uint64_t)1 << 62)
            return sac_fail(err, SAC_EFORMAT, "%s: tensor '%.*s' has an impossible dimension %lld", path,
                            name_len, name, (long long)t->ne[i]);
    }
    if ((uint64_t)t->ne[0] % block)
        return sac_fail(err, SAC_EFORMAT,
                        "%s: tensor '%.*s' has rows of %lld values; %s needs a multiple of %d", path,
                        name_len, name, (long long)t->ne[0], t->type_name, (int)block);
    if (!mul_size(count / block, (uint64_t)ggml_type[type].bytes, &bytes))
        return sac_fail(err, SAC_EFORMAT, "%s: tensor '%.*s' is larger than any file", path, name_len, name);
    t->bytes = (size_t)bytes;
    return SAC_OK;
}

static enum sac_code read_info(struct gguf *g, struct cursor *c, int file, uint64_t alignment,
                               struct sac_err *err)
{
    const char *path = g->map[file].path;
    struct tensor t = { .ne = { 1, 1, 1, 1 }, .file = file };
    uint64_t len;
    const char *name = read_string(c, TENSOR_NAME_MAX, &len);
    uint32_t dims = cursor_u32(c);
    if (c->failed) return SAC_EFORMAT;
    if (dims < 1 || dims > TENSOR_DIMS)
        return sac_fail(err, SAC_EFORMAT, "%s: tensor '%.*s' has %u dimensions; 1 to 4 are expected", path,
                        (int)len, name, dims);
    t.n_dims = (int)dims;
    for (uint32_t i = 0; i < dims; i++) {
        uint64_t d = cursor_u64(c);
        t.ne[i] = d > INT64_MAX ? -1 : (int64_t)d;
    }
    uint32_t type = cursor_u32(c);
    t.offset = cursor_u64(c);
    if (c->failed) return SAC_EFORMAT;
    enum sac_code rc = size_of_tensor(&t, type, name, (int)len, path, err);
    if (!rc && t.offset % alignment)
        rc = sac_fail(err, SAC_EFORMAT,
                      "%s: tensor '%.*s' starts at offset %llu, not a multiple of the alignment %llu", path,
                      (int)len, name, (unsigned long long)t.offset, (unsigned long long)alignment);
    return rc ? rc : dir_add(&g->dir, &t, name, (size_t)len, path, err);
}

static int by_offset(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a, *y = *(const struct tensor *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Every tensor inside the data part, none over another. */
static enum sac_code place_tensors(struct gguf *g, int first, size_t data_start, const struct file_map *m,
                                   struct sac_err *err)
{
    int n = g->dir.n - first;
    size_t data_size = m->size - data_start;
    struct tensor **order = malloc((size_t)(n ? n : 1) * sizeof *order);
    if (!order) return sac_fail(err, SAC_ENOMEM, "%s: out of memory for its directory", m->path);
    enum sac_code rc = SAC_OK;
    for (int i = 0; i < n && !rc; i++) {
        struct tensor *t = order[i] = &g->dir.t[first + i];
        if (t->offset > data_size || t->bytes > data_size - t->offset)
            rc = sac_fail(err, SAC_EFORMAT,
                          "%s: tensor '%s' needs %zu bytes at %llu, but the data has %zu" INCOMPLETE,
                          m->path, t->name, t->bytes, (unsigned long long)t->offset, data_size);
        else t->data = m->data + data_start + t->offset;
    }
    if (!rc) qsort(order, (size_t)n, sizeof *order, by_offset);
    for (int i = 1; i < n && !rc; i++)
        if (order[i]->offset < order[i - 1]->offset + order[i - 1]->bytes)
            rc = sac_fail(err, SAC_EFORMAT, "%s: tensors '%s' and '%s' overlap", m->path, order[i - 1]->name,
                          order[i]->name);
    free(order);
    return rc;
}

/* ---- one file ---- */

static enum sac_code read_header(struct cursor *c, uint32_t *version, uint64_t *n_tensors, uint64_t *n_kv,
                                 const char *path, struct sac_err *err)
{
    const unsigned char *magic = cursor_take(c, 4);
    if (!magic || memcmp(magic, "GGUF", 4)) return sac_fail(err, SAC_EFORMAT, "%s: not a GGUF file", path);
    *version = cursor_u32(c);
    *n_tensors = cursor_u64(c);
    *n_kv = cursor_u64(c);
    if (c->failed) return sac_fail(err, SAC_EFORMAT, "%s: ends inside its header of 24 bytes" INCOMPLETE, path);
    if (*version && (*version & 0xffff) == 0)
        return sac_fail(err, SAC_ENOTSUP, "%s: a big-endian GGUF file; only little-endian files are read",
                        path);
    if (*version < 2 || *version > 3)
        return sac_fail(err, SAC_ENOTSUP, "%s: GGUF version %u; versions 2 and 3 are read", path, *version);
    if (*n_kv > MAX_ENTRIES || *n_kv > cursor_left(c) / MIN_KV)
        return sac_fail(err, SAC_EFORMAT, "%s: announces %llu metadata entries, more than it can hold", path,
                        (unsigned long long)*n_kv);
    if (*n_tensors > MAX_ENTRIES || *n_tensors > cursor_left(c) / MIN_INFO)
        return sac_fail(err, SAC_EFORMAT, "%s: announces %llu tensors, more than it can hold", path,
                        (unsigned long long)*n_tensors);
    return SAC_OK;
}

static enum sac_code read_alignment(const struct gguf *g, uint64_t *alignment, const char *path,
                                    struct sac_err *err)
{
    const struct gguf_kv *kv = gguf_find(g, "general.alignment");
    *alignment = 32;
    if (!kv) return SAC_OK;
    uint64_t a = kv->type == GGUF_U32 ? (uint64_t)gguf_elem_int(kv, 0) : 0;
    if (a < 8 || a > MAX_ALIGNMENT || a & (a - 1))
        return sac_fail(err, SAC_EFORMAT,
                        "%s: general.alignment must be a u32 power of two from 8 to 1048576", path);
    *alignment = a;
    return SAC_OK;
}

/* Parses map[file]; its metadata replaces what g holds, its tensors are added. */
static enum sac_code read_file(struct gguf *g, int file, struct sac_err *err)
{
    const struct file_map *m = &g->map[file];
    struct cursor c = { .data = m->data, .size = m->size };
    uint64_t n_tensors = 0, n_kv = 0, alignment = 32;
    int first = g->dir.n;
    enum sac_code rc = read_header(&c, &g->version, &n_tensors, &n_kv, m->path, err);
    if (!rc) rc = read_metadata(g, &c, n_kv, m->path, err);
    if (!rc) rc = read_alignment(g, &alignment, m->path, err);
    for (uint64_t i = 0; i < n_tensors && !rc; i++) {
        rc = read_info(g, &c, file, alignment, err);
        if (c.failed)
            rc = sac_fail(err, SAC_EFORMAT, "%s: ends inside the description of tensor %llu of %llu" INCOMPLETE,
                          m->path, (unsigned long long)i + 1, (unsigned long long)n_tensors);
    }
    if (rc || !n_tensors) return rc;
    size_t start = c.at + (size_t)((alignment - c.at % alignment) % alignment);
    if (start > m->size)
        return sac_fail(err, SAC_EFORMAT, "%s: ends before its tensor data, which starts at byte %zu" INCOMPLETE,
                        m->path, start);
    return place_tensors(g, first, start, m, err);
}

static void drop_metadata(struct gguf *g)
{
    free(g->kv);
    free(g->bucket);
    g->kv = NULL;
    g->bucket = NULL;
    g->n_kv = g->n_bucket = 0;
}

void gguf_close(struct gguf *g)
{
    drop_metadata(g);
    dir_free(&g->dir);
    for (int i = 0; i < g->n_maps; i++) map_close(&g->map[i]);
    free(g->map);
    *g = (struct gguf){ 0 };
}

/* ---- split models ---- */

static enum sac_code split_int(const struct gguf *g, const char *key, int64_t max, int64_t *out,
                               struct sac_err *err)
{
    enum sac_code rc = SAC_OK;
    if (!gguf_int(g, key, 0, max, out, &rc, err) && !rc)
        rc = sac_fail(err, SAC_EFORMAT, "%s: a part of a split model without the key '%s'", g->map[0].path,
                      key);
    return rc;
}

/* Shard i of count: the path of the first with the numbers at its end replaced. */
static bool shard_path(const char *first, int i, int count, char *out, size_t cap)
{
    char tail[32];
    snprintf(tail, sizeof tail, "-00001-of-%05d.gguf", count);
    size_t len = strlen(first), tail_len = strlen(tail);
    if (len < tail_len || strcmp(first + len - tail_len, tail)) return false;
    int n = snprintf(out, cap, "%.*s-%05d-of-%05d.gguf", (int)(len - tail_len), first, i + 1, count);
    return n > 0 && (size_t)n < cap;
}

static enum sac_code read_shard(struct gguf *g, int i, int count, struct sac_err *err)
{
    char path[4096];
    const char *first = g->map[0].path;
    if (!shard_path(first, i, count, path, sizeof path))
        return sac_fail(err, SAC_EFORMAT, "%s: the first of %d parts, but its name does not end in "
                        "-00001-of-%05d.gguf, so the others cannot be found", first, count, count);
    enum sac_code rc = map_open(&g->map[i], path, err);
    if (rc) return rc;
    g->n_maps = i + 1;
    /* Metadata of the shard is looked at and thrown away; that of the first stays. */
    struct gguf_kv *kv = g->kv;
    int n_kv = g->n_kv, *bucket = g->bucket, n_bucket = g->n_bucket;
    g->kv = NULL;
    g->bucket = NULL;
    g->n_kv = g->n_bucket = 0;
    rc = read_file(g, i, err);
    int64_t no = -1, of = -1;
    if (!rc) gguf_int(g, "split.no", 0, 65535, &no, &rc, err);
    if (!rc) gguf_int(g, "split.count", 0, 65535, &of, &rc, err);
    if (!rc && (no != i || of != count))
        rc = sac_fail(err, SAC_EFORMAT, "%s: says it is part %lld of %lld, but part %d of %d is expected",
                      path, (long long)no + 1, (long long)of, i + 1, count);
    drop_metadata(g);
    g->kv = kv;
    g->n_kv = n_kv;
    g->bucket = bucket;
    g->n_bucket = n_bucket;
    return rc;
}

static enum sac_code read_split(struct gguf *g, struct sac_err *err)
{
    int64_t no = 0, count = 1, total = 0;
    if (!gguf_find(g, "split.count")) return SAC_OK;
    enum sac_code rc = split_int(g, "split.count", 65535, &count, err);
    if (rc || count <= 1) return rc;
    rc = split_int(g, "split.no", 65535, &no, err);
    if (!rc) rc = split_int(g, "split.tensors.count", INT32_MAX, &total, err);
    if (rc) return rc;
    if (no != 0)
        return sac_fail(err, SAC_EARG, "%s: part %lld of %lld of a split model; open the first part",
                        g->map[0].path, (long long)no + 1, (long long)count);
    if (count > GGUF_MAX_SHARDS)
        return sac_fail(err, SAC_EFORMAT, "%s: announces %lld parts; at most %d are read", g->map[0].path,
                        (long long)count, GGUF_MAX_SHARDS);
    struct file_map *map = realloc(g->map, (size_t)count * sizeof *map);
    if (!map) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", g->map[0].path);
    g->map = map;
    for (int i = 1; i < count && !rc; i++) rc = read_shard(g, i, (int)count, err);
    if (!rc && g->dir.n != total)
        rc = sac_fail(err, SAC_EFORMAT, "%s: its %lld parts hold %d tensors, but %lld are announced",
                      g->map[0].path, (long long)count, g->dir.n, (long long)total);
    return rc;
}

static enum sac_code open_mapped(struct gguf *g, struct sac_err *err)
{
    g->n_maps = 1;
    enum sac_code rc = read_file(g, 0, err);
    if (!rc && !g->map[0].heap) rc = read_split(g, err);
    for (int i = 0; i < g->n_maps && !rc; i++)
        if (!map_unchanged(&g->map[i]))
            rc = sac_fail(err, SAC_EIO, "%s: changed while it was read", g->map[i].path);
    if (rc) gguf_close(g);
    return rc;
}

static enum sac_code start(struct gguf *g, const char *path, struct sac_err *err)
{
    *g = (struct gguf){ .map = calloc(1, sizeof *g->map) };
    return g->map ? SAC_OK : sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
}

enum sac_code gguf_open(struct gguf *g, const char *path, struct sac_err *err)
{
    enum sac_code rc = start(g, path, err);
    if (!rc) rc = map_open(&g->map[0], path, err);
    if (rc) {
        gguf_close(g);
        return rc;
    }
    return open_mapped(g, err);
}

enum sac_code gguf_parse(struct gguf *g, const void *data, size_t size, const char *name, struct sac_err *err)
{
    enum sac_code rc = start(g, name, err);
    if (!rc) rc = map_bytes(&g->map[0], data, size, name, err);
    if (rc) {
        gguf_close(g);
        return rc;
    }
    return open_mapped(g, err);
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
    int i = g->n_bucket ? *kv_slot(g, key, strlen(key)) : -1;
    return i < 0 ? NULL : &g->kv[i];
}
