/* The tensors of a model as its files declare them: names, shapes, types and checked bytes.
 *
 * Both containers end here. Dimensions are in GGUF order: ne[0] is the length of a row, and rows follow each
 * other without padding. Data points into the mapping and is guaranteed to lie inside it. */
#ifndef FILE_DIR_H
#define FILE_DIR_H

#include "file/map.h"
#include "kernels.h"

enum { TENSOR_NAME_MAX = 255, TENSOR_DIMS = 4 };

struct tensor {
    char *name;
    enum k_type type;          /* K_N_TYPES: a type this program cannot compute with */
    const char *type_name;     /* as the container calls it */
    int n_dims;
    int64_t ne[TENSOR_DIMS];   /* missing ones are 1 */
    const unsigned char *data;
    size_t bytes;
    int file;                  /* index of the shard */
    uint64_t offset;           /* in the data part of that shard */
};

struct tensor_dir {
    struct tensor *t;
    int n, cap;
    int *bucket, n_bucket;     /* open addressing by name, -1 empty */
};

/* Append; the name is copied, the rest taken from `t`. Refuses a name that exists. `path` is for the message.
 */
enum sac_code dir_add(struct tensor_dir *d, const struct tensor *t, const char *name, size_t name_len,
                      const char *path, struct sac_err *err);
struct tensor *dir_find(const struct tensor_dir *d, const char *name);
void dir_free(struct tensor_dir *d);
int64_t tensor_count(const struct tensor *t);
/* "[512, 2048]" in the order rows come in: outermost first. */
const char *tensor_shape(const struct tensor *t, char buf[96]);

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);   /* FNV-1a, 64 bits; seed 0 for a new one */
#endif
