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
 *   PIEC  texts of tokens, by id; those of an answer come with it
 *   LANE  JSON: one lane; again, with the same number, when more is known of it
 *   ANSW  lane, its answer
 *   TOKN  lane, generated tokens, candidates, KL
 *   Q K V OVER      lane, layer, f16 or f32 values in byte planes: all high bytes first, then the lower ones,
 *                   which is what makes them compress; or bytes and then a f16 scale for each head_dim values
 *   SAME            lane, layer, from lane: its q, k, v, overview and plans are those of another lane
 *   PLAN KEPT STEP  lane, layer, which keys were read, as differences in variable-length integers
 *   QDEC KDEC VDEC  lane, layer, rows of generated tokens
 *   MEAS  lane, layer, measures of each head
 *   END   nothing; a file without it was cut short
 *
 * In format 1 the chunks of a lane follow its LANE; format 2 is written while the run goes on, so lanes may take
 * turns once each has been described.
 * Readers skip kinds they do not know, so later versions may add some. */
#ifndef TRACE_FILE_INT_H
#define TRACE_FILE_INT_H

#include "trace/trace_int.h"
#include <saccade/trace_file.h>

enum { TF_VERSION = 2, TF_HEAD = 16, TF_CHUNK = 32, TF_RECALL = 22, TF_DENSITY = 4 };
enum tf_precision { TF_F16, TF_F32, TF_Q8 };

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

/* Numbers of a lane by name, for LANE chunks. */
struct tf_field { const char *name; size_t at; enum { TF_INT, TF_BOOL, TF_DOUBLE, TF_SIZE } kind; };
extern const struct tf_field tf_lane_field[];
extern const int tf_n_lane_fields;
void tf_recall_out(const struct sac_recall *r, double v[TF_RECALL]);
void tf_recall_in(const double v[TF_RECALL], struct sac_recall *r);
#endif
