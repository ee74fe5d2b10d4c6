/* Recorded runs: a trace as one file that opens anywhere without the model.
 *
 * A file is a list of chunks, each with its own checksum, written in order and never changed: what a crash
 * left behind opens up to the last whole chunk. Layers are read when a view first asks for them. Formats and
 * their versions are described in engine/trace/trace_file.c. */
#ifndef SAC_TRACE_FILE_H
#define SAC_TRACE_FILE_H

#include <saccade/err.h>
#include <saccade/trace.h>

#define SAC_TRACE_MOST 200e6

struct sac_trace_save {
    bool force;               /* replace an existing file */
    bool exact;               /* q, k, v as f32 */
    bool small;               /* as roughly as `most` ever makes it, and no overviews */
    size_t most; /* bytes that precision is traded for; 0: SAC_TRACE_MOST. A file may be larger where
                    even the roughest arrays, weights to about 4 percent, need more */
    int n_layers; const int *layer;   /* q, k, v of these layers only; 0: all. Measures are kept of all */
    bool no_values;           /* leave out v: no outputs, no error measures; half the keys' size less */
    int level;                /* zstd, 0: 3 */
    const atomic_bool *cancel;
    void (*progress)(void *ctx, double share);
    void *ctx;
    double *error; /* receives what sac_trace_report.error says of the file; may be NULL */
};
/* Write while the run goes on: into PATH.partial, in pieces that are whole; each call adds what became complete
 * since the last. A process that is killed leaves that file, which opens as far as it goes. The end adds what is
 * left, syncs and renames; a run is in the file whole or not at all. One thread at a time. */
struct sac_trace_writer;
enum sac_code sac_trace_writer_open(struct sac_trace_writer **w, const struct sac_trace *t, const char *path,
                                    const struct sac_trace_save *o, struct sac_err *err);
bool sac_trace_writer_more(struct sac_trace_writer *w);     /* false: failed; writer_end says why */
/* Frees the writer; on failure nothing is left. `cancel` takes the place of the options' from here on. */
enum sac_code sac_trace_writer_end(struct sac_trace_writer *w, const atomic_bool *cancel, struct sac_err *err);
void sac_trace_writer_drop(struct sac_trace_writer *w);     /* gives up: removes the file; accepts NULL */

/* All of that at once, of what the trace holds now. */
enum sac_code sac_trace_write(const struct sac_trace *t, const char *path, const struct sac_trace_save *o,
                              struct sac_err *err);

/* Is this file a recorded run? Looks at the first bytes only. */
bool sac_trace_is_file(const char *path);
/* Open for reading. A file cut short opens with what is whole; a damaged one is refused with the place. */
enum sac_code sac_trace_open(struct sac_trace **out, const char *path, struct sac_err *err);

struct sac_trace_report {
    int version, n_chunks;
    size_t bytes, raw_bytes;          /* file; what it expands to */
    bool cut;                         /* ends in the middle of a chunk, or without its end mark */
    size_t good_bytes;                /* whole chunks end here */
    bool arrays, exact;               /* it holds q and k; all of them as f32 */
    double error;                     /* of scores from rounding q, and from rounding k: the largest root mean
                                         square that any layer was written with; 0: not stated */
    struct {
        char name[8];
        int n;
        size_t bytes, raw;
    } kind[24];
    int n_kinds;
};
/* Read every chunk and its checksum. SAC_EFORMAT with the offset of the first damage; report is filled up to
 * it. */
enum sac_code sac_trace_check(const char *path, struct sac_trace_report *out, struct sac_err *err);

/* q, k and v of a layer of a lane, and what was read, as safetensors that `saccade select --qkv` reads and
 * selects the same from: "q" [Hq,T,D], "k" and "v" [Hkv,T,D] in f32 over the prompt, with "plan.h<H>.runs"
 * i32 [n,3] (tile, lo, hi) for prefill methods and "kept" u8 [Hkv,T] for eviction; rows of the answer are
 * "q_decode", "k_decode", "v_decode". A method that reads pages while decoding has the answer's rows at the
 * end of q, k and v and "pages" i32 [N,Hq,pages] (padded with -1), which select makes with --decode-last N.
 */
enum sac_code sac_trace_export_layer(const struct sac_trace *t, int lane, int layer, const char *path,
                                     bool force, struct sac_err *err);
#endif
