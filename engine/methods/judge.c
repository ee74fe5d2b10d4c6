/* What a plan loses of dense attention on a row: mass not covered, or squared error of the output. */
#include "methods.h"

#include <string.h>

void judge_row(void *ctx, int row, const float *p)
{
    struct judge *j = ctx;
    size_t d = (size_t)j->in->head_dim;
    double mass = 0;
    sac_plan_row(j->plan, row, j->in->window, &j->rows);
    for (int i = 0; i < j->rows.n; i++)
        for (int k = j->rows.run[i].lo; k < j->rows.run[i].hi; k++) mass += (double)p[k];
    if (!j->by_output) {
        j->loss += 1 - mass;
        return;
    }
    memset(j->dense, 0, sizeof *j->dense * d);
    memset(j->sparse, 0, sizeof *j->sparse * d);
    for (int k = 0, i = 0; k <= row; k++) {
        const float *v = in_value(j->in, j->kv, k);
        while (i < j->rows.n && j->rows.run[i].hi <= k) i++;
        bool read = i < j->rows.n && j->rows.run[i].lo <= k;
        float w = read && mass > 0 ? p[k] / (float)mass : 0;
        for (size_t e = 0; e < d; e++) {
            j->dense[e] += p[k] * v[e];
            j->sparse[e] += w * v[e];
        }
    }
    for (size_t e = 0; e < d; e++)
        j->loss += (double)((j->dense[e] - j->sparse[e]) * (j->dense[e] - j->sparse[e]));
}
