/* The ids a lane generated, read while it may still be growing. */
#include "trace_int.h"

int sac_trace_answer(const struct sac_trace *t, int lane, int *id, int cap)
{
    const struct lane_rec *l = trace_lane_rec(t, lane);
    if (!l) return 0;
    int n = atomic_load_explicit(&l->n_tokens, memory_order_acquire);
    for (int i = 0; i < n && i < cap; i++) id[i] = l->token[i];
    return n;
}
