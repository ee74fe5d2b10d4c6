/* GGUF files: checked metadata and tensor directory, all shards of a split model included. */
#ifndef FILE_GGUF_H
#define FILE_GGUF_H

#include "file/dir.h"

enum gguf_type { GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING,
                 GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64, GGUF_N_TYPES };

struct gguf_kv {
    const char *key;               /* in the mapping, not terminated */
    uint32_t key_len;
    enum gguf_type type, elem;     /* elem: of arrays */
    uint64_t count;                /* elements of an array, bytes of a string */
    const unsigned char *value;    /* first byte of the value (of a string: of its text) */
};

enum { GGUF_MAX_SHARDS = 512 };

struct gguf {
    struct file_map *map;          /* [n_maps] shards in order */
    int n_maps;
    uint32_t version;
    struct gguf_kv *kv;            /* of the first shard */
    int n_kv;
    int *bucket;
    int n_bucket;
    struct tensor_dir dir;         /* of all shards */
};

/* Opens the file and, where it is the first of a split model, the other shards beside it. */
enum sac_code gguf_open(struct gguf *g, const char *path, struct sac_err *err);
/* The same from memory, one shard. */
enum sac_code gguf_parse(struct gguf *g, const void *data, size_t size, const char *name,
                         struct sac_err *err);
void gguf_close(struct gguf *g);

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key);
/* Readers of one key. false leaves *out alone: the key is absent. A key of the wrong kind or out of range
 * reports through err and sets *rc; several reads can share one rc. */
bool gguf_int(const struct gguf *g, const char *key, int64_t min, int64_t max, int64_t *out,
              enum sac_code *rc, struct sac_err *err);
bool gguf_float(const struct gguf *g, const char *key, double *out, enum sac_code *rc, struct sac_err *err);
bool gguf_bool(const struct gguf *g, const char *key, bool *out, enum sac_code *rc, struct sac_err *err);
/* Text in the mapping, not terminated. */
bool gguf_str(const struct gguf *g, const char *key, const char **s, size_t *len, enum sac_code *rc,
              struct sac_err *err);
/* An array of `elem`, or NULL. */
const struct gguf_kv *gguf_array(const struct gguf *g, const char *key, enum gguf_type elem,
                                 enum sac_code *rc, struct sac_err *err);
/* Element i of an integer, bool or float array, widened. */
int64_t gguf_elem_int(const struct gguf_kv *kv, uint64_t i);
double gguf_elem_float(const struct gguf_kv *kv, uint64_t i);
bool gguf_is_int(enum gguf_type t);
/* Visits the strings of a string array in order. */
struct gguf_strings { const unsigned char *at; uint64_t left; };
bool gguf_next(struct gguf_strings *it, const char **s, size_t *len);
#endif
