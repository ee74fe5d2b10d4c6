/* What the reader's files share: the file, the chunk at hand, and its place for messages. */
#ifndef TRACE_FILE_READ_H
#define TRACE_FILE_READ_H

#include "trace/trace_file.h"

#include <jansson.h>

enum {
    TF_MAX_LAYERS = 1024,
    TF_MAX_HEADS = 4096,
    TF_MAX_DIM = 8192,
    TF_MAX_PROMPT = 1 << 24,
    TF_MAX_STEPS = 1 << 20
};

/* A chunk's payload; at 0: absent. differs: its values are differences to those of lane 0. */
struct place { size_t at; uint64_t raw, stored; uint32_t crc; bool differs; };

struct heavy { struct place q, k, v, over; int same; };              /* same: lane, -1 none */

struct file {
    char *path;
    const unsigned char *map;
    size_t size;
    int n_layers, version;
    struct heavy *heavy[TRACE_MAX_LANES];                            /* [n_layers] */
    pthread_mutex_t lock;
    bool spill;
};

struct reader {
    struct file *f;
    struct sac_trace *t;
    struct sac_trace_info info;
    json_t *json;
    char *text; size_t text_len;
    int *ids; struct sac_span *spans, *gold; int *gold_item; int n_gold;
    int lane;                          /* the lane that chunks now belong to */
    struct sac_err *err;
    const char *path;
    uint32_t number; size_t at;        /* the chunk being read, for messages */
};

struct head { char kind[5]; uint32_t number, payload_crc; uint64_t raw, stored; };


/* "PATH: damaged at byte N (chunk M): what" */
enum sac_code tf_damaged(struct reader *r, const char *what);
/* Values of a chunk: how many there are, from its raw size; -1 when it does not come out even. */
long long tf_float_count(uint64_t raw, uint32_t precision, int dim);
/* The lane that a chunk names is the one at hand from now on; false: there is none. */
bool tf_turn_to(struct reader *r, uint32_t lane);
/* A chunk that belongs to a layer of a lane; in: its contents (of Q, K, V the first TF_FIRST bytes, or all). */
enum sac_code tf_read_layer(struct reader *r, const struct head *h, struct tf_in *in, const struct place *p);
#endif
