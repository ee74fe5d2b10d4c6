/* Measures beyond the summary: see measures_out.h. */
#include "measures_out.h"

#include "json_out.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

enum { COLUMN = 15, LANES_A_BLOCK = 5 };

static void print_block(FILE *f, const struct sac_trace *t, int first, int last, const double *value, int n,
                        const struct sac_measure *row)
{
    struct sac_lane l;
    fprintf(f, "\n%-30s", "");
    for (int i = first; i < last; i++) {
        sac_trace_lane(t, i, &l);
        char name[48];
        snprintf(name, sizeof name, "%d %s", i, l.method);
        fprintf(f, " %*.*s", COLUMN - 1, COLUMN - 1, name);
    }
    const char *section = "";
    for (int r = 0; r < n; r++) {
        bool any = false;
        for (int i = first; i < last; i++) any = any || isfinite(value[i * n + r]);
        if (!any) continue;
        if (strcmp(section, row[r].section) != 0) fprintf(f, "\n%s\n", row[r].section);
        section = row[r].section;
        fprintf(f, "  %-28s", row[r].name);
        for (int i = first; i < last; i++) {
            double v = value[i * n + r];
            if (isfinite(v)) fprintf(f, " %*.*f", COLUMN - 1, row[r].decimals, v);
            else fprintf(f, " %*s", COLUMN - 1, "-");
        }
        fprintf(f, "  %s\n", row[r].help);
    }
}

void measures_print(FILE *f, const struct sac_trace *t, double batch)
{
    struct sac_measure row[SAC_MEASURES_MAX];
    int n = sac_measures(row), lanes = sac_trace_n_lanes(t);
    double *value = malloc(sizeof *value * (size_t)n * (size_t)(lanes + 1));
    if (!value) return;
    for (int i = 0; i < lanes; i++) sac_measures_lane(t, i, batch, value + i * n);
    fprintf(f, "Means over layers and query heads. Prompt rows are a sample, answer rows are all (up to 32). "
               "Cost is for a batch of %g.\n"
               "Columns are the methods in the order of the table above.\n", batch);
    for (int i = 0; i < lanes; i += LANES_A_BLOCK)
        print_block(f, t, i, i + LANES_A_BLOCK < lanes ? i + LANES_A_BLOCK : lanes, value, n, row);
    fputc('\n', f);
    free(value);
}

/* ---- JSON ---- */

static json_t *overlap_json(const struct sac_trace *t, int lane, bool decode)
{
    struct sac_overlap o = sac_trace_overlap(t, lane, decode);
    return json_pack("{s:o, s:o, s:o}", "group", json_number(o.group), "steps", json_number(o.steps),
                     "layers", json_number(o.layers));
}

static json_t *layers_json(const struct sac_trace *t, int lane, int n, bool decode)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_number(sac_trace_layer_error(t, lane, i, decode)));
    return list;
}

static json_t *form_json(const struct sac_lane_cost *c, enum sac_cost_form form)
{
    const struct sac_prefill_cost *p = &c->prefill[form];
    const struct sac_decode_cost *d = &c->decode[form];
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "prefill_flops", p->total,
                     "selection_flops", p->selection, "attention_share", p->attention_share, "core_share",
                     p->core_share, "prefill_speedup", c->model[form].prefill, "decode_elements", d->total,
                     "kv_elements", d->kv, "metadata_elements", d->metadata, "kv_share", d->kv_share,
                     "decode_speedup", c->model[form].decode);
}

static json_t *cost_json(const struct sac_trace *t, int lane, double batch)
{
    struct sac_lane_cost c;
    sac_measures_cost(t, lane, batch, &c);
    return json_pack("{s:f, s:o, s:o}", "batch", batch, "exact", form_json(&c, SAC_COST_EXACT), "paper",
                     form_json(&c, SAC_COST_PAPER));
}

static json_t *speedup_json(const struct sac_trace *t, int lane)
{
    struct sac_lane_cost c;
    sac_measures_cost(t, lane, 1, &c);
    return json_pack("{s:o, s:o}", "prefill", json_number(c.measured.prefill), "decode",
                     json_number(c.measured.decode));
}

static json_t *head_json(const struct sac_trace *t, int lane, int layer, int head, int group)
{
    static const char *const phase[2] = { "prefill", "decode" };
    json_t *o = json_pack("{s:i, s:i, s:i}", "layer", layer, "head", head, "kv_head", head / group);
    json_t *recall = json_object(), *density = json_object();
    for (int p = 0; p < 2; p++) {
        struct sac_recall r;
        struct sac_density d;
        bool has = sac_trace_recall(t, lane, layer, head, p == 1, &r) &&
                   sac_trace_head_density(t, lane, layer, head, p == 1, &d);
        json_object_set_new(recall, phase[p], has ? json_recall(&r) : json_null());
        json_object_set_new(density, phase[p], has ? json_density(&d) : json_null());
    }
    int kept = sac_trace_kept(t, lane, layer, head / group);
    json_object_set_new(o, "kept_tokens", kept < 0 ? json_null() : json_integer(kept));
    json_object_set_new(o, "density", density);
    json_object_set_new(o, "recall", recall);
    return o;
}

void measures_json(json_t *o, const struct sac_trace *t, int lane, double batch, bool heads)
{
    struct sac_trace_info info;
    sac_trace_info(t, &info);
    const struct sac_shape *s = &info.shape;
    json_object_set_new(o, "overlap", json_pack("{s:o, s:o}", "prefill", overlap_json(t, lane, false),
                                                "decode", overlap_json(t, lane, true)));
    json_object_set_new(o, "layer_out_err",
                        json_pack("{s:o, s:o}", "prefill", layers_json(t, lane, s->n_layers, false),
                                  "decode", layers_json(t, lane, s->n_layers, true)));
    json_object_set_new(o, "cost", cost_json(t, lane, batch));
    json_object_set_new(json_object_get(o, "timing"), "speedup", speedup_json(t, lane));
    if (!heads) return;
    json_t *list = json_array();
    for (int l = 0; l < s->n_layers; l++)
        for (int h = 0; h < s->n_heads; h++)
            json_array_append_new(list, head_json(t, lane, l, h, s->n_heads / s->n_kv_heads));
    json_object_set_new(o, "heads", list);
}
