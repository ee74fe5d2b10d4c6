/* Speed of a model under several methods, and of the machine below it.
 *
 * Every figure is the median of repeated runs after a warm-up; ratios are to dense at the same length in the
 * same run, since absolute times of a shared machine mean little. Ceilings are measured by the same program:
 * what the kernels reach on data in the first-level cache, and what reading memory gives, at the start and
 * again between rounds. The best counts: what a share is of is known when all is done. */
#ifndef SAC_BENCH_H
#define SAC_BENCH_H

#include <saccade/model.h>
#include <stdatomic.h>

struct sac_ceilings {
    double f32_gflops, fast_gflops;   /* products of f32; of attention's fastest type */
    double int_gops;                  /* integer products of quantised weights; 0: none at this CPU level */
    double read_gbytes;               /* bytes a second from memory, all threads */
    int threads;
    const char *cpu;
};

struct sac_bench_opts {
    const int *prefill; int n_prefill;    /* prompt lengths */
    const int *context; int n_context;    /* cache lengths to decode at */
    int decode;                           /* tokens a decode measurement takes, 0: none */
    const char *const *spec; int n_spec;  /* methods besides dense */
    int repeats;                          /* of a prefill; at least 1 */
    bool cold;                            /* no warm-up before prefills: where one takes minutes */
    bool no_reference;                    /* no dense prefills; ratios to them are NAN */
    uint64_t seed;
    const atomic_bool *cancel;
};

struct sac_bench_row {
    char method[200];
    bool decode;
    int tokens, threads;
    double seconds, best_seconds;     /* of the prefill or of one token: median, fastest */
    double tok_s, ratio_to_dense;     /* > 1: faster than dense */
    struct sac_density density;       /* mean over sparse layers and heads; dense: 1 */
    double select_share, attend_share;/* of the time */
    double select_seconds, attend_seconds; /* prefill: fastest; decode: median of a step */
    /* Selection as a share of dense attention's time, and attention's time over (density x dense attention's
     * time). Prefill: fastest runs, work density; decode: medians of a step, read density. NAN for dense. */
    double select_to_dense, attend_to_density;
    /* Decode of a method: what attend_to_density would be if attention did nothing but read. A plain loop on
     * all threads reads the keys and values of the lists of further steps, and all of the dense cache; its
     * time for the first over (read density x its time for the second). bare_share: bytes of the first over
     * those of the second (read density counts what selection reads too). NAN otherwise. */
    double bare_to_density, bare_share;
    /* Decode of a method that evicts: choosing what is kept, on as many threads, as a share of the time that
     * attention of the dense prefill took. NAN otherwise. */
    double evict_to_dense;
    double gflops,
        gbytes_s; /* done a second; NAN where not the limit (prefill counts operations, decode bytes) */
    double ops_f32, ops_fast, ops_int;/* prefill: operations of a run by the unit that does them */
};

/* Calls row for each measurement, dense first at each length. Prefills of a length take turns, so its rows
 * come together at the end, also when the last round is not finished. top: the ceilings, which may still rise
 * until sac_bench returns, also when it fails. */
enum sac_code sac_bench(struct sac_model *m, const struct sac_bench_opts *o, struct sac_ceilings *top,
                        void (*row)(void *ctx, const struct sac_bench_row *r), void *ctx,
                        struct sac_err *err);
/* Prefill: the seconds that its products would take at the ceilings (linear layers and attention each at the
 * rate of the unit that does them) over the seconds it took. Decode: bytes a second over those of memory. */
double sac_bench_of_ceiling(const struct sac_bench_row *r, const struct sac_ceilings *top);
#endif
