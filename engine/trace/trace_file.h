/* The file format of recorded runs, as the writer and the reader share it.
 *
 *   file   = "SACTRACE" version(u32) reserved(u32)  chunk*
 *   chunk  = kind(4 bytes) number(u32) raw(u64) stored(u64) payload_crc(u32) head_crc(u32)  payload
 *
 * All numbers are little-endian. number counts chunks from 0; raw is the size of the payload before
 * compression (stored == raw: not compressed, otherwise one zstd frame); CRC-32 as in PNG, the header's over
 * its first 28 bytes. Chunks are only ever appended; the last is END. Kinds:
 *
 *   INFO  JSON: model, shape, prompt, task, attention constants of the layers
 *   TEXT  the rendered prompt
 *   TOKS  ids and byte spans
 *   GOLD  gold spans
 *   PIEC  bytes of tokens, by id; those of an answer come with it (text before format 3: what is no character
 *         by itself is U+FFFD)
 *   LANE  JSON: one lane; again, with the same number, when more is known of it
 *   ANSW  lane, its answer
 *   TOKN  lane, generated tokens, candidates, KL
 *   Q K V OVER      lane, layer, f16 or f32 values in byte planes: all high bytes first, then the lower ones,
 *                   which is what makes them compress; or bytes and then a f16 scale for each head_dim
 * values; or multiples of a step for each column, as such or as differences to lane 0 (trace_file_steps.c)
 *   SAME            lane, layer, from lane: its q, k, v, overview and plans are those of another lane
 *   PLAN KEPT STEP  lane, layer, which keys were read, as differences in variable-length integers
 *   QDEC KDEC VDEC  lane, layer, rows of generated tokens
 *   MEAS  lane, layer, measures of each head
 *   END   nothing; a file without it was cut short
 *
 * In format 1 the chunks of a lane follow its LANE; format 2 is written while the run goes on, so lanes may
 * take turns once each has been described; format 3 knows steps. Readers skip kinds they do not know, so
 * later versions may add some. */
#ifndef TRACE_FILE_INT_H
#define TRACE_FILE_INT_H

#include "trace/trace_int.h"
#include <saccade/trace_file.h>

enum { TF_VERSION = 3, TF_MAX_PIECE = 4096, TF_HEAD = 16, TF_CHUNK = 32, TF_RECALL = 22, TF_DENSITY = 4 };
enum tf_precision { TF_F16, TF_F32, TF_Q8, TF_STEPS };

uint32_t tf_crc(uint32_t crc, const void *p, size_t n);

/* Growing bytes; sticky failure. */
struct tf_out { unsigned char *p; size_t n, cap; bool failed; };
void tf_put(struct tf_out *o, const void *p, size_t n);
void tf_u32(struct tf_out *o, uint32_t v);
void tf_u64(struct tf_out *o, uint64_t v);
void tf_var(struct tf_out *o, uint64_t v);      /* 7 bits a byte, low first */
void tf_f64(struct tf_out *o, double v);

/* Bounded reading; sticky failure, zeros after it. */
struct tf_in { const unsigned char *p, *end; bool bad; };
const void *tf_take(struct tf_in *in, size_t n);
uint32_t tf_get32(struct tf_in *in);
uint64_t tf_get64(struct tf_in *in);
uint64_t tf_getvar(struct tf_in *in, uint64_t most);   /* above most: bad */
double tf_getf64(struct tf_in *in);

/* Bytes that n values take, in rows of dim. */
size_t tf_packed_size(size_t n, enum tf_precision how, int dim);
/* Floats to byte planes and back. */
void tf_pack(const float *v, size_t n, enum tf_precision how, int dim, unsigned char *out);
void tf_unpack(const unsigned char *in, size_t n, enum tf_precision how, int dim, float *v);

/* ---- multiples of steps (trace_file_steps.c) ---- */
enum { TF_FIRST = 24 }; /* bytes of a chunk that say what is in it: lane, layer, how, from, rows, error */
struct tf_array {
    int heads, rows, dim;
}; /* [heads][rows][dim] */
/* Of a column: mean and spread of what is coded (the difference, where there is a base), its own size (root
 * mean square) and spread, largest magnitude. */
struct tf_moments {
    double mean, size, spread, coded, most;
};
/* base: lane 0's array and base_step the steps it was stored with, or NULL. False: not all finite, or no
 * memory. */
bool tf_moments(const float *v, const struct tf_array *a, const float *base, const float *base_step,
                struct tf_moments *m);
/* Steps that move scores by `error`: of queries and the keys they meet, or the other way round. */
void tf_steps_scores(const struct tf_array *a, const struct tf_moments *m, const struct tf_array *met,
                     const struct tf_moments *other, bool keys, double scale, double error, float *step);
void tf_steps_values(const struct tf_array *a, const struct tf_moments *m, double error, float *step);
double tf_steps_bytes(const struct tf_array *a, const struct tf_moments *m, const float *step); /* forecast */
void tf_steps_pack(struct tf_out *o, const float *v, const struct tf_array *a, const struct tf_moments *m,
                   const float *step, double error, const float *base, const float *base_step);
/* base: lane 0's array as it is read back. in: after lane, layer and TF_STEPS. v NULL: only whether it is
 * sound. */
bool tf_steps_unpack(struct tf_in *in, const struct tf_array *a, const float *base, float *v);

/* ---- how exactly (trace_file_arrays.c) ---- */
struct tf_arrays;
struct tf_arrays *tf_arrays_new(const struct sac_trace *t, const struct sac_trace_save *o);
void tf_arrays_free(struct tf_arrays *s);
/* The chunks of q, k and v of a layer, in steps (an empty one: none). done[lane][layer]: written; written:
 * bytes so far. False: too few rows, not finite or no memory, and out is untouched. */
bool tf_arrays_pack(struct tf_arrays *s, int lane, int layer, const struct layer_rec *r, bool *const *done,
                    double written, struct tf_out out[3]);
double tf_arrays_worst(const struct tf_arrays *s); /* the largest error so far, 0: none in steps */

/* Numbers of a lane by name, for LANE chunks. */
struct tf_field { const char *name; size_t at; enum { TF_INT, TF_BOOL, TF_DOUBLE, TF_SIZE } kind; };
extern const struct tf_field tf_lane_field[];
extern const int tf_n_lane_fields;
void tf_recall_out(const struct sac_recall *r, double v[TF_RECALL]);
void tf_recall_in(const double v[TF_RECALL], struct sac_recall *r);
#endif
