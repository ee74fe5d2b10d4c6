/* Values of GGUF metadata: any integer width for integer keys, with a range check; never reinterpreted bytes.
 */
#include "file/gguf.h"

#include <math.h>
#include <string.h>

static const char *const type_name[GGUF_N_TYPES] = { "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                     "bool", "string", "array", "u64", "i64", "f64" };

bool gguf_is_int(enum gguf_type t)
{
    return t <= GGUF_I32 || t == GGUF_U64 || t == GGUF_I64;
}

static int64_t int_at(enum gguf_type type, const unsigned char *p)
{
    uint64_t u = 0;
    int16_t s;
    int32_t i;
    switch (type) {
    case GGUF_U8: case GGUF_BOOL: return *p;
    case GGUF_I8: return (int8_t)*p;
    case GGUF_U16: memcpy(&u, p, 2); return (int64_t)u;
    case GGUF_I16: memcpy(&s, p, 2); return s;
    case GGUF_U32: memcpy(&u, p, 4); return (int64_t)u;
    case GGUF_I32: memcpy(&i, p, 4); return i;
    case GGUF_U64: memcpy(&u, p, 8); return u > INT64_MAX ? INT64_MAX : (int64_t)u;
    case GGUF_I64: memcpy(&u, p, 8); return (int64_t)u;
    default: return 0;
    }
}

static double float_at(enum gguf_type type, const unsigned char *p)
{
    float f;
    double d;
    if (type == GGUF_F32) {
        memcpy(&f, p, sizeof f);
        return (double)f;
    }
    if (type == GGUF_F64) {
        memcpy(&d, p, sizeof d);
        return d;
    }
    return (double)int_at(type, p);
}

static const unsigned char width[GGUF_N_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

int64_t gguf_elem_int(const struct gguf_kv *kv, uint64_t i)
{
    enum gguf_type t = kv->type == GGUF_ARRAY ? kv->elem : kv->type;
    return int_at(t, kv->value + i * width[t]);
}

double gguf_elem_float(const struct gguf_kv *kv, uint64_t i)
{
    enum gguf_type t = kv->type == GGUF_ARRAY ? kv->elem : kv->type;
    return float_at(t, kv->value + i * width[t]);
}

static bool wrong(const struct gguf *g, const struct gguf_kv *kv, const char *want, enum sac_code *rc,
                  struct sac_err *err)
{
    *rc = sac_fail(err, SAC_EFORMAT, "%s: key '%.*s' is of type %s; %s is expected", g->map[0].path,
                   (int)kv->key_len, kv->key, type_name[kv->type], want);
    return false;
}

bool gguf_int(const struct gguf *g, const char *key, int64_t min, int64_t max, int64_t *out,
              enum sac_code *rc, struct sac_err *err)
{
    const struct gguf_kv *kv = *rc ? NULL : gguf_find(g, key);
    if (!kv) return false;
    if (!gguf_is_int(kv->type)) return wrong(g, kv, "an integer", rc, err);
    int64_t v = gguf_elem_int(kv, 0);
    if (v < min || v > max) {
        *rc = sac_fail(err, SAC_EFORMAT, "%s: %s is %lld; %lld to %lld is possible", g->map[0].path, key,
                       (long long)v, (long long)min, (long long)max);
        return false;
    }
    *out = v;
    return true;
}

bool gguf_float(const struct gguf *g, const char *key, double *out, enum sac_code *rc, struct sac_err *err)
{
    const struct gguf_kv *kv = *rc ? NULL : gguf_find(g, key);
    if (!kv) return false;
    if (!gguf_is_int(kv->type) && kv->type != GGUF_F32 && kv->type != GGUF_F64)
        return wrong(g, kv, "a number", rc, err);
    double v = gguf_elem_float(kv, 0);
    if (!isfinite(v)) {
        *rc = sac_fail(err, SAC_EFORMAT, "%s: %s is not a finite number", g->map[0].path, key);
        return false;
    }
    *out = v;
    return true;
}

bool gguf_bool(const struct gguf *g, const char *key, bool *out, enum sac_code *rc, struct sac_err *err)
{
    const struct gguf_kv *kv = *rc ? NULL : gguf_find(g, key);
    if (!kv) return false;
    if (kv->type != GGUF_BOOL && !gguf_is_int(kv->type)) return wrong(g, kv, "a bool", rc, err);
    *out = gguf_elem_int(kv, 0) != 0;
    return true;
}

bool gguf_str(const struct gguf *g, const char *key, const char **s, size_t *len, enum sac_code *rc,
              struct sac_err *err)
{
    const struct gguf_kv *kv = *rc ? NULL : gguf_find(g, key);
    if (!kv) return false;
    if (kv->type != GGUF_STRING) return wrong(g, kv, "a string", rc, err);
    *s = (const char *)kv->value;
    *len = (size_t)kv->count;
    return true;
}

const struct gguf_kv *gguf_array(const struct gguf *g, const char *key, enum gguf_type elem,
                                 enum sac_code *rc, struct sac_err *err)
{
    const struct gguf_kv *kv = *rc ? NULL : gguf_find(g, key);
    if (!kv) return NULL;
    bool same = kv->type == GGUF_ARRAY && (kv->elem == elem || (gguf_is_int(elem) && gguf_is_int(kv->elem)));
    if (!same) {
        *rc = sac_fail(err, SAC_EFORMAT, "%s: key '%s' must be an array of %s", g->map[0].path, key,
                       type_name[elem]);
        return NULL;
    }
    return kv;
}

bool gguf_next(struct gguf_strings *it, const char **s, size_t *len)
{
    if (!it->left) return false;
    uint64_t n;
    memcpy(&n, it->at, sizeof n);
    *s = (const char *)it->at + 8;
    *len = (size_t)n;
    it->at += 8 + n;
    it->left--;
    return true;
}
