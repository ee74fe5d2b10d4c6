/* Sinks and a window: the fixed pattern of StreamingLLM, and of the streaming heads of DuoAttention. */
#include "methods.h"

bool window_plan(struct sac_plan *out, int n, int sink, int window, int tile)
{
    if (!sac_plan_init(out, tile, n)) return false;
    double cells = 0;
    for (int i = 0; i < n; i++) {
        int near = imax(i + 1 - window, 0);
        cells += i + 1 - near + imin(sink, near);
    }
    out->pattern_cells = cells;
    for (int r = 0; r < n; r += tile) {
        int near = imax(r + 1 - window, 0), end = imin(r + tile, n);
        if (!sac_plan_add(out, 0, imin(sink, near)) || !sac_plan_add(out, near, end) || !sac_plan_next(out)) {
            sac_plan_free(out);
            return false;
        }
    }
    return true;
}

double window_reach(int n, int sink, int window, int tile)
{
    struct sac_plan p;
    if (!window_plan(&p, n, sink, window, tile)) return 0;
    double reach = 1 - sac_plan_density(&p).kernel;
    sac_plan_free(&p);
    return reach;
}

bool window_keep(struct sac_kept *kept, int n, int sink, int window, struct sac_arena *a)
{
    int near = imax(n - (window - 1), 0);
    if (!evict_keep_all(kept, n, a)) return false;
    kept->n = imin(sink, near);
    for (int j = near; j < n; j++) kept->pos[kept->n++] = j;
    return true;
}
