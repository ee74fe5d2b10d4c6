/* Reading safetensors: a length, a JSON header, and one buffer that the tensors tile without holes. */
#include "file/map.h"
#include "file/tensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX ((uint64_t)100000000)

static const struct { const char *name; enum st_dtype dtype; int bytes; } dtypes[] = {
    { "F32", ST_F32, 4 },  { "F16", ST_F16, 2 },     { "BF16", ST_BF16, 2 },    { "I32", ST_I32, 4 },
    { "I64", ST_I64, 8 },  { "U8", ST_U8, 1 },       { "BOOL", ST_BOOL, 1 },    { "F64", ST_F64, 8 },
    { "I8", ST_OTHER, 1 }, { "I16", ST_OTHER, 2 },   { "U16", ST_OTHER, 2 },    { "U32", ST_OTHER, 4 },
    { "U64", ST_OTHER, 8 }, { "F8_E4M3", ST_OTHER, 1 }, { "F8_E5M2", ST_OTHER, 1 },
};

static bool size_of(const json_t *value, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static enum sac_code read_entry(struct st_tensor *t, const char *name, const json_t *o,
                                const unsigned char *data, uint64_t data_size, const char *path,
                                struct sac_err *err)
{
    const char *dtype = json_string_value(json_object_get(o, "dtype"));
    const json_t *shape = json_object_get(o, "shape"), *at = json_object_get(o, "data_offsets");
    int bytes = 0;
    for (size_t i = 0; dtype && i < sizeof dtypes / sizeof *dtypes; i++)
        if (!strcmp(dtypes[i].name, dtype)) t->dtype = dtypes[i].dtype, bytes = dtypes[i].bytes;
    if (!dtype || !bytes)
        return sac_fail(err, dtype ? SAC_ENOTSUP : SAC_EFORMAT,
                        "%s: tensor '%s' has dtype %s, which cannot be read", path, name,
                        dtype ? dtype : "missing");
    if (!json_is_array(shape) || json_array_size(shape) > 8)
        return sac_fail(err, SAC_EFORMAT, "%s: tensor '%s' has no shape of 0 to 8 dimensions", path, name);
    uint64_t count = (uint64_t)bytes, d, begin, end;
    t->n_dims = (int)json_array_size(shape);
    for (int i = 0; i < t->n_dims; i++) {
        if (!size_of(json_array_get(shape, (size_t)i), &d) || !mul_size(count, d, &count))
            return sac_fail(err, SAC_EFORMAT, "%s: tensor '%s' has an impossible shape", path, name);
        t->shape[i] = (int64_t)d;
    }
    if (!json_is_array(at) || json_array_size(at) != 2 || !size_of(json_array_get(at, 0), &begin) ||
        !size_of(json_array_get(at, 1), &end) || begin > end || end > data_size)
        return sac_fail(err, SAC_EFORMAT,
                        "%s: tensor '%s' lies outside the %llu bytes of data: the file is damaged or "
                        "incomplete",
                        path, name, (unsigned long long)data_size);
    if (end - begin != count)
        return sac_fail(err, SAC_EFORMAT, "%s: tensor '%s' has %llu bytes; its shape and dtype need %llu",
                        path, name, (unsigned long long)(end - begin), (unsigned long long)count);
    t->data = data + begin;
    t->bytes = (size_t)count;
    t->name = strdup(name);
    return t->name ? SAC_OK : sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
}

static int by_place(const void *a, const void *b)
{
    const struct st_tensor *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;   /* empty tensors before what starts there */
}

/* Sorted by place, the tensors must cover the data from the first byte to the last. */
static enum sac_code check_tiling(struct st_file *f, const unsigned char *data, uint64_t size,
                                  const char *path, struct sac_err *err)
{
    qsort(f->tensor, (size_t)f->n, sizeof *f->tensor, by_place);
    const unsigned char *at = data;
    for (int i = 0; i < f->n; i++) {
        if (f->tensor[i].data != at)
            return sac_fail(err, SAC_EFORMAT,
                            "%s: tensor '%s' starts at byte %td of the data, but %td is expected "
                            "(tensors may neither overlap nor leave holes)",
                            path, f->tensor[i].name, (const unsigned char *)f->tensor[i].data - data,
                            at - data);
        at += f->tensor[i].bytes;
    }
    if (at != data + size)
        return sac_fail(err, SAC_EFORMAT, "%s: %td bytes after the last tensor belong to nothing", path,
                        data + size - at);
    return SAC_OK;
}

static enum sac_code parse(struct st_file *f, struct sac_err *err)
{
    const struct file_map *m = f->impl;
    const char *path = m->path;
    struct cursor c = { .data = m->data, .size = m->size };
    uint64_t n = cursor_u64(&c);
    if (c.failed)
        return sac_fail(err, SAC_EFORMAT, "%s: %zu bytes are too few for a safetensors file", path, m->size);
    if (n < 2 || n > HEADER_MAX || n > cursor_left(&c))
        return sac_fail(err, SAC_EFORMAT,
                        "%s: not a safetensors file, or an incomplete one (header of %llu bytes)", path,
                        (unsigned long long)n);
    const char *text = (const char *)cursor_take(&c, n);
    json_error_t je = { .text = "it does not begin with {" };
    json_t *root = *text == '{' ? json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, &je) : NULL;
    if (!json_is_object(root)) {
        json_decref(root);
        return sac_fail(err, SAC_EFORMAT, "%s: damaged safetensors header: %.120s", path, je.text);
    }
    const unsigned char *data = m->data + c.at;
    uint64_t size = cursor_left(&c);
    enum sac_code rc = SAC_OK;
    f->tensor = calloc(json_object_size(root) + 1, sizeof *f->tensor);
    if (!f->tensor) rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        if (rc) break;
        if (!strcmp(key, "__metadata__")) continue;
        if (!*key) rc = sac_fail(err, SAC_EFORMAT, "%s: a tensor has no name", path);
        else rc = read_entry(&f->tensor[f->n], key, value, data, size, path, err);
        if (!rc) f->n++;
    }
    json_decref(root);
    if (!rc) rc = check_tiling(f, data, size, path, err);
    if (!rc && !map_unchanged(m)) rc = sac_fail(err, SAC_EIO, "%s: changed while it was read", path);
    return rc;
}

static enum sac_code open_impl(struct st_file *out, const char *path, const void *data, size_t size,
                               struct sac_err *err)
{
    *out = (struct st_file){ 0 };
    struct file_map *m = calloc(1, sizeof *m);
    if (!m) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    enum sac_code rc = data ? map_bytes(m, data, size, path, err) : map_open(m, path, err);
    if (rc) {
        free(m);
        return rc;
    }
    out->impl = m;
    rc = parse(out, err);
    if (rc) st_close(out);
    return rc;
}

enum sac_code st_open(struct st_file *out, const char *path, struct sac_err *err)
{
    return open_impl(out, path, NULL, 0, err);
}

enum sac_code st_parse(struct st_file *out, const void *data, size_t size, const char *name,
                       struct sac_err *err)
{
    return open_impl(out, name, data ? data : "", size, err);
}

void st_close(struct st_file *f)
{
    for (int i = 0; i < f->n; i++) free(f->tensor[i].name);
    free(f->tensor);
    if (f->impl) map_close(f->impl);
    free(f->impl);
    *f = (struct st_file){ 0 };
}

const struct st_tensor *st_find(const struct st_file *f, const char *name)
{
    for (int i = 0; i < f->n; i++)
        if (!strcmp(f->tensor[i].name, name)) return &f->tensor[i];
    return NULL;
}

const char *st_dtype_name(enum st_dtype t)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == t && t != ST_OTHER) return dtypes[i].name;
    return "other";
}

int st_dtype_bytes(enum st_dtype t)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == t && t != ST_OTHER) return dtypes[i].bytes;
    return 0;
}
