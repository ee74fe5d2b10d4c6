/* The tables of the methods, one per file. */
#ifndef METHODS_REGISTRY_H
#define METHODS_REGISTRY_H

#include <saccade/method.h>

extern const struct sac_method method_dense, method_vertical_slash, method_block_sparse, method_flexprefill,
    method_snapkv, method_ada_snapkv, method_quest, method_streaming_llm, method_oracle, method_random,
    method_h2o, method_tova, method_pyramidkv, method_xattention, method_spargeattn, method_twilight,
    method_expected_attention, method_duo, method_moba, method_minference;

#endif
