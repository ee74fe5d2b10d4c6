/* `saccade select`: a method on queries, keys and values from a file, for comparing with other
 * implementations. */
#include "args.h"
#include "cli.h"
#include "commands.h"

#include <saccade/select.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>

static json_t *number(double v) { return isnan(v) ? json_null() : json_real(v); }

static void print_json(const struct sac_select_result *r)
{
    json_t *density = json_array();
    for (int i = 0; i < r->n_density; i++) {
        const struct sac_density *d = &r->density[i];
        json_array_append_new(density,
                              json_pack("{s:o,s:o,s:o,s:o}", "pattern", number(d->pattern), "kernel",
                                        number(d->kernel), "work", number(d->work), "read", number(d->read)));
    }
    json_t *j = json_pack("{s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:o,s:{s:f,s:f}}", "schema", "saccade.select/1",
                          "method", r->method, "params", r->params, "tokens", r->n, "heads", r->n_heads,
                          "kv_heads", r->n_kv_heads, "head_dim", r->head_dim, "decode_steps", r->steps,
                          "density", density, "timing", "select_s", r->select_s, "attend_s", r->attend_s);
    if (*r->note) json_object_set_new(j, "note", json_string(r->note));
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(7));
    putchar('\n');
    json_decref(j);
}

static void print_share(double v)
{
    if (isnan(v)) printf(" %8s", "-");
    else printf(" %8.4f", v);
}

static void print_table(const struct sac_select_result *r)
{
    printf("%s  %s\n%d tokens, %d query heads, %d KV heads of %d", r->method, r->params, r->n, r->n_heads,
           r->n_kv_heads, r->head_dim);
    if (r->steps) printf(", the last %d as decode steps", r->steps);
    printf("\n\n%-8s %8s %8s %8s %8s   share of dense\n", r->n_density == r->n_heads ? "head" : "KV head",
           "pattern", "kernel", "work", "read");
    for (int i = 0; i < r->n_density; i++) {
        const struct sac_density *d = &r->density[i];
        printf("%-8d", i);
        print_share(d->pattern);
        print_share(d->kernel);
        print_share(d->work);
        print_share(d->read);
        putchar('\n');
    }
    printf("\nselection %.1f ms, attention %.1f ms\n", 1e3 * r->select_s, 1e3 * r->attend_s);
}

int cmd_select(int argc, char **argv)
{
    struct sac_select_args a = { 0 };
    bool json = false;
    const struct arg_opt opts[] = {
        { "qkv", 0, "FILE", "safetensors file with q [Hq,T,D], k and v [Hkv,T,D]", ARG_STR, .to = &a.qkv },
        { "method", 'm', "SPEC", "method to apply, as name:key=value,...", ARG_STR, .to = &a.spec },
        { "output", 'o', "OUT", "safetensors file for what it selects and computes", ARG_STR, .to = &a.out },
        { "decode-last", 0, "N", "play the last N tokens as decode steps (default 8 for decode methods)",
          ARG_INT, &a.decode_last, .min = 1, .max = 1 << 20 },
        { "seed", 0, "N", "seed of methods that draw at random", ARG_U64, .to = &a.seed },
        { "threads", 't', "N", "threads (default: all cores)", ARG_INT, &a.threads, .min = 1, .max = 1024 },
        { "json", 0, NULL, "print densities as JSON", ARG_FLAG, .to = &json },
        { 0 }
    };
    const struct arg_spec spec = {
        "select",
        "select --qkv FILE --method SPEC [--decode-last N] [-o OUT]",
        "Applies a method to queries, keys and values from a file and writes what each head reads.",
        { "saccade select --qkv layer.safetensors --method vertical_slash:vertical_size=128,slash_size=96 -o "
          "sel.safetensors",
          "saccade select --qkv layer.safetensors --method snapkv:capacity=256 -o kept.safetensors",
          "saccade select --qkv layer.safetensors --method quest:token_budget=128 --decode-last 8 --json" },
        .opts = opts
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    if (!a.qkv || !a.spec) return args_fail(&spec, "%s is missing", a.qkv ? "--method SPEC" : "--qkv FILE");
    a.force = true;

    struct sac_err err = { 0 };
    struct sac_select_result r;
    if (sac_select_run(&a, &r, &err)) return cli_fail("select", &err);
    if (*r.note && !args_common.quiet) fprintf(stderr, "saccade select: %s\n", r.note);
    if (json) print_json(&r);
    else if (!args_common.quiet) print_table(&r);
    sac_select_free(&r);
    return 0;
}
