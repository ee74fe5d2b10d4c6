/* Dense attention: every row reads every earlier key. The reference for everything; density 1. */
#include "registry.h"

const struct sac_method method_dense = {
    .name = "dense",
    .title = "Dense",
    .summary = "reads every key; the reference",
    .source = "Vaswani et al., arXiv 1706.03762",
};
