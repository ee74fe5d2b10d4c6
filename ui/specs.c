/* Method SPECs as text: written back from their parameters, and with the budget scaled. */
#include "run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void ui_spec_text(const struct sac_spec *spec, char *out, size_t cap)
{
    static const char *const phase[] = { "both", "prefill", "decode" };
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < spec->n && n < cap; i++) {
        const struct sac_part *p = &spec->part[i];
        char sep = ':';
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? "+" : "", p->m->name);
        for (int k = 0; k < p->m->n_params && n < cap; k++) {
            const struct sac_param *q = &p->m->params[k];
            double v = sac_part_get(p, q->name);
            if (v == q->def || (q->budget && p->sparsity == p->sparsity)) continue;
            if (q->kind == SAC_CHOICE)
                n += (size_t)snprintf(out + n, cap - n, "%c%s=%s", sep, q->name, q->choices[(int)v]);
            else
                n += (size_t)snprintf(out + n, cap - n, "%c%s=%g", sep, q->name, v);
            sep = ',';
        }
        if (p->sparsity == p->sparsity && n < cap) {
            n += (size_t)snprintf(out + n, cap - n, "%csparsity=%.4g", sep, p->sparsity);
            sep = ',';
        }
        if (p->phase != SAC_PHASE_BOTH && n < cap)
            n += (size_t)snprintf(out + n, cap - n, "%cphase=%s", sep, phase[p->phase]);
    }
}

bool ui_spec_scale(const char *text, const struct sac_shape *shape, int n, double f, char *out, size_t cap)
{
    struct sac_spec spec;
    bool any = false;
    if (sac_spec_parse(&spec, text, NULL) != SAC_OK) return false;
    if (shape && sac_spec_resolve(&spec, shape, n, NULL) != SAC_OK) return false;
    for (int i = 0; i < spec.n; i++) {
        struct sac_part *p = &spec.part[i];
        p->preset = (double)NAN;
        if (p->sparsity == p->sparsity) {      /* the share that is read, times f */
            double share = 1 - (1 - p->sparsity) * f;
            p->sparsity = share < 0 ? 0 : share > 0.999 ? 0.999 : share;
            any = true;
            continue;
        }
        for (int k = 0; k < p->m->n_params; k++) {
            const struct sac_param *q = &p->m->params[k];
            if (!q->budget) continue;
            char value[32];
            double v = sac_part_get(p, q->name) * f;
            if (q->kind == SAC_INT) v = f < 1 ? floor(v) : ceil(v);
            v = v < q->min ? q->min : q->max > q->min && v > q->max ? q->max : v;
            snprintf(value, sizeof value, "%.6g", v);
            if (sac_part_set(p, q->name, value, NULL) == SAC_OK) any = true;
        }
    }
    if (!any) return false;
    ui_spec_text(&spec, out, cap);
    struct sac_spec check; /* multiples of pages and blocks: let the method settle them */
    if (sac_spec_parse(&check, out, NULL) == SAC_OK && shape &&
        sac_spec_resolve(&check, shape, n, NULL) == SAC_OK)
        return true;
    for (int i = 0; i < spec.n; i++)
        for (int k = 0; k < spec.part[i].m->n_params; k++) {
            const struct sac_param *q = &spec.part[i].m->params[k];
            if (!q->budget || q->kind != SAC_INT) continue;
            char value[32];
            int v = (int)sac_part_get(&spec.part[i], q->name);
            snprintf(value, sizeof value, "%d", v < 64 ? v : v / 64 * 64);
            sac_part_set(&spec.part[i], q->name, value, NULL);
        }
    ui_spec_text(&spec, out, cap);
    return sac_spec_parse(&check, out, NULL) == SAC_OK;
}
