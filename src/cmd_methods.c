/* `saccade methods`: the methods and their parameters, read from the tables the program runs on. */
#include "args.h"
#include "cli.h"
#include "commands.h"

#include <saccade/method.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const struct { const char *name; unsigned bit; } phases[] = {
    { "prefill", 1 }, { "eviction", 2 }, { "decode", 4 },
};

static unsigned phases_of(const struct sac_method *m)
{
    return (m->plan ? 1u : 0u) | (m->evict ? 2u : 0u) | (m->select || m->drop || m->observe ? 4u : 0u);
}

static const char *scope_of(const struct sac_method *m)
{
    static const char *const name[] = { "query head", "KV head", "layer" };
    double opts[SAC_OPTS_MAX / sizeof(double)] = { 0 };
    struct sac_spec spec;
    if (!m->scope || sac_spec_parse(&spec, m->name, NULL)) return "";
    memcpy(opts, spec.part[0].opts.bytes, sizeof opts);
    return name[m->scope(opts)];
}

/* Does the paper's budget grid list it? */
static bool has_preset(const struct sac_method *m)
{
    struct sac_shape shape = {
        .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 64, .n_embd = 64, .max_ctx = 16384
    };
    struct sac_spec spec;
    char text[80];
    snprintf(text, sizeof text, "%s:preset=paper-0.9", m->name);
    return !sac_spec_parse(&spec, text, NULL) && !sac_spec_resolve(&spec, &shape, 16384, NULL);
}

static const char *value_text(const struct sac_param *p, double v, char *buf, size_t cap)
{
    if (p->kind == SAC_CHOICE) snprintf(buf, cap, "%s", p->choices[(int)v]);
    else snprintf(buf, cap, "%.10g", v);
    return buf;
}

static void bounds_text(const struct sac_param *p, char *buf, size_t cap)
{
    if (p->kind == SAC_CHOICE) {
        size_t at = 0;
        for (int i = 0; p->choices[i] && at < cap; i++)
            at += (size_t)snprintf(buf + at, cap - at, "%s%s", i ? "|" : "", p->choices[i]);
    } else {
        snprintf(buf, cap, "%.10g..%.10g", p->min, p->max);
    }
}

static json_t *param_json(const struct sac_param *p)
{
    static const char *const kind[] = { "int", "float", "bool", "choice" };
    json_t *j = json_pack("{s:s,s:s,s:s,s:b}", "name", p->name, "help", p->help, "kind", kind[p->kind],
                          "budget", p->budget);
    if (p->kind == SAC_CHOICE) {
        json_t *choices = json_array();
        for (int i = 0; p->choices[i]; i++) json_array_append_new(choices, json_string(p->choices[i]));
        json_object_set_new(j, "choices", choices);
        json_object_set_new(j, "default", json_string(p->choices[(int)p->def]));
    } else {
        bool whole = p->kind != SAC_FLOAT;
        json_object_set_new(j, "default", whole ? json_integer((json_int_t)p->def) : json_real(p->def));
        json_object_set_new(j, "min", whole ? json_integer((json_int_t)p->min) : json_real(p->min));
        json_object_set_new(j, "max", whole ? json_integer((json_int_t)p->max) : json_real(p->max));
    }
    return j;
}

static json_t *method_json(const struct sac_method *m)
{
    json_t *params = json_array(), *phase = json_array();
    for (int i = 0; i < m->n_params; i++) json_array_append_new(params, param_json(&m->params[i]));
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        if (phases_of(m) & phases[i].bit) json_array_append_new(phase, json_string(phases[i].name));
    return json_pack("{s:s,s:s,s:s,s:s,s:o,s:s,s:b,s:b,s:b,s:o}", "name", m->name, "title", m->title,
                     "summary", m->summary, "source", m->source, "phases", phase, "scope", scope_of(m),
                     "oracle", m->oracle, "sparsity", m->budget != NULL, "preset", has_preset(m), "params",
                     params);
}

static void phase_text(const struct sac_method *m, char *buf, size_t cap)
{
    size_t at = 0;
    snprintf(buf, cap, "all");
    for (size_t i = 0; i < sizeof phases / sizeof *phases && at < cap; i++)
        if (phases_of(m) & phases[i].bit)
            at += (size_t)snprintf(buf + at, cap - at, "%s%s", at ? ", " : "", phases[i].name);
}

static void print_method(const struct sac_method *m)
{
    char phase[40], value[40], bounds[80];
    phase_text(m, phase, sizeof phase);
    printf("%s: %s\n  %s\n  acts in  %s\n", m->name, m->title, m->summary, phase);
    if (*scope_of(m)) printf("  scope    one selection per %s\n", scope_of(m));
    printf("  source   %s\n", m->source);
    if (m->oracle) printf("  looks at the exact attention: an upper bound, not a method\n");
    if (m->n_params) printf("\n  %-16s %-9s %-24s\n", "parameter", "default", "values");
    for (int i = 0; i < m->n_params; i++) {
        const struct sac_param *p = &m->params[i];
        bounds_text(p, bounds, sizeof bounds);
        printf("  %-16s %-9s %-24s %s\n", p->name, value_text(p, p->def, value, sizeof value), bounds,
               p->help);
    }
    if (m->budget)
        printf("  %-16s %-9s %-24s in place of the budget: the share of work to leave out\n", "sparsity", "",
               "0..1");
    if (has_preset(m))
        printf("  %-16s %-9s %-24s budgets the paper ran, scaled to the prompt\n", "preset", "",
               "paper-0.3..paper-0.95");
    printf("  %-16s %-9s %-24s layers that stay dense\n", "dense_layers", "", "0,1 or 0-3");
    if (phases_of(m) & 1u && phases_of(m) & 6u)
        printf("  %-16s %-9s %-24s where it acts\n", "phase", "both", "both|prefill|decode");
}

static void print_list(void)
{
    int n;
    const struct sac_method *const *all = sac_methods(&n);
    printf("%-20s %-26s %s\n", "method", "acts in", "");
    for (int i = 0; i < n; i++) {
        char phase[40];
        phase_text(all[i], phase, sizeof phase);
        printf("%-20s %-26s %s\n", all[i]->name, phase, all[i]->summary);
    }
    printf("\nsaccade methods NAME shows parameters. A SPEC is NAME or NAME:key=value,key=value; "
           "NAME:sparsity=0.9 sets the\n"
           "budget; a prefill and a decode method combine with +, as "
           "vertical_slash:sparsity=0.8+quest:sparsity=0.9.\n");
}

int cmd_methods(int argc, char **argv)
{
    bool json = false;
    struct arg_strs names = { 0 };
    const struct arg_opt opts[] = {
        { "json", 0, NULL, "print names, parameters, defaults and bounds as JSON", ARG_FLAG, .to = &json },
        { 0 } };
    const struct arg_spec spec = {
        "methods", "methods [NAME] [--json]", "Lists the sparse attention methods, or the parameters of one.",
        { "saccade methods", "saccade methods quest", "saccade methods --json" },
        .opts = opts, .operands = &names, .max_operands = 1 };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;

    const struct sac_method *one = NULL;
    if (names.n) {
        struct sac_spec parsed;      /* for its answer to a mistyped name */
        struct sac_err err = { 0 };
        if (!(one = sac_method_find(names.v[0])) && sac_spec_parse(&parsed, names.v[0], &err))
            return cli_fail("methods", &err);
        if (!one) one = parsed.part[0].m;
    }
    if (!json) {
        if (one) print_method(one);
        else print_list();
        return 0;
    }
    int n;
    const struct sac_method *const *all = sac_methods(&n);
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        if (!one || all[i] == one) json_array_append_new(list, method_json(all[i]));
    json_t *j = json_pack("{s:s,s:o}", "schema", "saccade.methods/1", "methods", list);
    json_dumpf(j, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(j);
    return 0;
}
