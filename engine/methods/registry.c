/* The list of methods. A new one is a file of this folder and a line here. */
#include "registry.h"

#include <string.h>

#define LIST(X) \
    X(dense) \
    X(vertical_slash) X(block_sparse) X(flexprefill) X(snapkv) X(ada_snapkv) X(quest) \
    X(streaming_llm) X(random) X(oracle) X(h2o) X(tova) X(pyramidkv) X(xattention) X(spargeattn) \
    X(twilight) X(expected_attention) X(duo) X(moba) X(minference)

#define ENTRY(name) &method_##name,
static const struct sac_method *const methods[] = { LIST(ENTRY) };

const struct sac_method *const *sac_methods(int *n)
{
    *n = (int)(sizeof methods / sizeof *methods);
    return methods;
}

const struct sac_method *sac_method_find(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (!strcmp(methods[i]->name, name)) return methods[i];
    return NULL;
}
