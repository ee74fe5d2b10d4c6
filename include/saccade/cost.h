/* What a model costs by arithmetic: operations of prefill, bytes read by decode, selection included.
 *
 * Two forms. `paper` follows the formulas printed in "The Sparse Frontier" (arXiv 2504.17768, appendix): the
 * attention core is not halved for causality, logits are for all positions, attention weights are 4 d^2 a
 * layer. `exact` counts what this program does: causal cells, logits of the last position, grouped K and V
 * projections, a gated feed-forward. Neither measures anything; timings stand next to them. */
#ifndef SAC_COST_H
#define SAC_COST_H

#include <saccade/method.h>

enum sac_cost_form { SAC_COST_PAPER, SAC_COST_EXACT };

/* Floating-point operations (a multiply-add is two) of one prompt times the batch. */
struct sac_prefill_cost {
    double embedding, projections, core, mlp, logits;
    double selection;         /* of all layers and heads */
    double total;
    double attention_share;   /* projections and core, as the paper prints it */
    double core_share;
};
/* n: prompt tokens; density: share of the causal cells computed; selection: operations of one head and layer.
 */
struct sac_prefill_cost sac_cost_prefill(const struct sac_shape *s, enum sac_cost_form form, double n,
                                         double density, double selection, double batch);

/* Elements read to produce one token for each sequence of the batch; bytes are elements times their size. */
struct sac_decode_cost {
    double weights;           /* once for the batch */
    double kv;                /* of the whole batch */
    double metadata;          /* of the whole batch: page bounds and the like */
    double total;
    double kv_share;          /* without metadata, as the paper prints it */
};
/* n: cache length; density: share of the cache read; metadata: elements per KV head, layer and sequence. */
struct sac_decode_cost sac_cost_decode(const struct sac_shape *s, enum sac_cost_form form, double n,
                                       double density, double metadata, double batch);

/* Operations of one decode step over n cached tokens of which the share `density` is read. */
double sac_cost_step(const struct sac_shape *s, double n, double density);

/* Operations to select for one query head and layer in prefill, or at eviction (once); 0 where there is none.
 */
double sac_cost_selection(const struct sac_part *part, const struct sac_shape *s, double n);
/* Elements read per KV head, layer and step to select in decode. */
double sac_cost_metadata(const struct sac_part *part, const struct sac_shape *s, double n);

/* A SPEC's modelled speed-up over dense at a batch size: prefill by operations, decode by elements. */
struct sac_speedup { double prefill, decode; };
struct sac_speedup sac_cost_speedup(const struct sac_spec *spec, const struct sac_shape *s,
                                    enum sac_cost_form form, double n, double prefill_density,
                                    double decode_density, double batch);
#endif
