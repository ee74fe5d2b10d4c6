/* SPECs: what parses, what it sets, and the sentence for everything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <saccade/method.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct sac_shape shape = { .n_layers = 10,
                                        .n_heads = 8,
                                        .n_kv_heads = 2,
                                        .head_dim = 64,
                                        .n_embd = 512,
                                        .n_ff = 1536,
                                        .n_vocab = 8192,
                                        .max_ctx = 16384 };

static struct sac_spec parse(const char *text)
{
    struct sac_spec s;
    struct sac_err err = { 0 };
    if (sac_spec_parse(&s, text, &err)) fail_msg("%s: %s", text, err.msg);
    return s;
}

static struct sac_spec resolve(const char *text, int n)
{
    struct sac_spec s = parse(text);
    struct sac_err err = { 0 };
    if (sac_spec_resolve(&s, &shape, n, &err)) fail_msg("%s: %s", text, err.msg);
    return s;
}

static void refusals(void **state)
{
    (void)state;
    static const struct { const char *spec, *says;
    } row[] = {
        { "snapk", "unknown method 'snapk': did you mean 'snapkv'?" },
        { "vertical_slsh", "did you mean 'vertical_slash'?" },
        { "zzz", "use one of dense" },
        { "", "expected name" },
        { "quest:", "must be key=value" },
        { "quest:page_siz=16", "quest: unknown key 'page_siz': did you mean 'page_size'?" },
        { "quest:sparsty=0.5", "did you mean 'sparsity'?" },
        { "quest:page_size", "'page_size' must be key=value" },
        { "quest:page_size=0", "quest: page_size=0 is below the minimum 1: use 1" },
        { "quest:page_size=9999", "above the maximum 4096: use 4096" },
        { "quest:page_size=1.5", "must be a whole number: use 1" },
        { "quest:page_size=many", "is not a number" },
        { "quest:page_size=", "is not a number" },
        { "quest:page_size=1e3", "is not a number" },
        { "quest:share_pages=2", "must be 0 or 1" },
        { "quest:scorer=minmx", "did you mean 'minmax'?" },
        { "quest:sparsity=1", "from 0 to below 1" },
        { "quest:sparsity=-0.1", "from 0 to below 1" },
        { "quest:sparsity=0.5,preset=paper-0.9", "not both" },
        { "quest:sparsity=0.5,token_budget=64",
          "sparsity takes the place of token_budget: give one of them" },
        { "snapkv:capacity=200,preset=paper-0.9", "preset takes the place of capacity" },
        { "quest:phase=later", "use both, prefill or decode" },
        { "quest:dense_layers=x", "list layers from 0" },
        { "quest:dense_layers=3-1", "list layers from 0" },
        { "dense:sparsity=0.5", "dense: has no budget" },
        { "dense:window=3", "dense: unknown key 'window'" },
        { "snapkv+ada_snapkv", "act in the same phase" },
        { "vertical_slash+block_sparse", "act in the same phase" },
        { "quest+oracle", "act in the same phase" },
        { "quest+quest+quest+quest", "act in the same phase|at most 3 methods" },
        { "flexprefill:alpha=1.5", "above the maximum 1" },
        /* Found when the parameters are put together. */
        { "snapkv:kernel=20", "snapkv: kernel=20 is even, which would shift the window: use kernel=21" },
        { "ada_snapkv:kernel=2", "use kernel=3" },
        { "snapkv:capacity=132",
          "must be above sink+local=132, tokens that are always kept: use capacity=133" },
        { "ada_snapkv:capacity=131", "use capacity=132" },
        { "pyramidkv:capacity=64", "use capacity=65" },
        { "vertical_slash:slash_size=63",
          "slash_size=63 is below local=64, offsets that are always read: use slash_size=64" },
        { "vertical_slash:vertical_size=3", "use vertical_size=4" },
        { "flexprefill:min_budget=10", "use min_budget=64" },
        { "quest:token_budget=100",
          "token_budget=100 is not a multiple of page_size=16: use token_budget=96" },
        { "quest:token_budget=7", "use token_budget=16" },
        { "block_sparse:top_blocks=2", "below the minimum 3: use 3" },
        { "block_sparse:block_size=4", "below the minimum 8: use 8" },
        { "xattention:block_size=100", "use block_size=104" },
        { "quest:dense_layers=10", "dense_layers has layer 10, the model has layers 0 to 9" },
        { "snapkv:capacity=0", "capacity=0 is below the minimum 1: use 133" },
        { "snapkv:capacity=-1,local=500", "use 505" },
        { "snapkv:kernel=2.5", "must be a whole number: use 3" },
        { "quest:token_budget=0,page_size=32", "use 32" },
        { "xattention:stride=60,block_size=1024", "use block_size=1020" },
        { "xattention:stride=7,block_size=9", "use block_size=14" },
        { "expected_attention:capacity=3", "is below sink=4, tokens that are always kept: use capacity=4" },
        { "random:token_budget=20", "is below sink+local=68, keys that are always read: use token_budget=" },
        { "quest:sparsity=90", "use sparsity=0.9" },
        { "quest:preset=paper-1", "use preset=paper-0.99" },
        { "quest:phase=prefill", "quest: phase=prefill, where quest does not act: use phase=decode" },
        { "vertical_slash:phase=decode", "use phase=prefill" },
        { "+quest", "expected name" },
        { "twilight:preset=paper-0.9", "the paper has no budgets for it" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct sac_spec s;
        struct sac_err err = { 0 };
        enum sac_code rc = sac_spec_parse(&s, row[i].spec, &err);
        if (!rc) rc = sac_spec_resolve(&s, &shape, 4096, &err);
        char says[200];
        snprintf(says, sizeof says, "%s", row[i].says);
        char *other = strchr(says, '|');
        if (other) *other++ = 0;
        if (rc != SAC_EARG || !(strstr(err.msg, says) || (other && strstr(err.msg, other))))
            fail_msg("'%s' says '%s', expected '%s'", row[i].spec, err.msg, row[i].says);
    }
    char text[400];
    memset(text, 'q', sizeof text - 1);
    text[sizeof text - 1] = 0;
    struct sac_spec s;
    assert_int_equal(sac_spec_parse(&s, text, NULL), SAC_EARG);
}

/* Following the advice of a refusal gives something valid, for every parameter of every method; no parameter
 * is corrected twice. */
static void follow_advice(const struct sac_method *m, const struct sac_param *p, const char *value)
{
    char spec[400], fixed[8][40];
    int rounds = 0;
    snprintf(spec, sizeof spec, "%s:%s=%s", m->name, p->name, value);
    for (;; rounds++) {
        struct sac_spec s;
        struct sac_err err = { 0 };
        if (!sac_spec_parse(&s, spec, &err) && !sac_spec_resolve(&s, &shape, 4096, &err)) return;
        const char *use = strstr(err.msg, ": use ");
        if (!use || rounds == 4) fail_msg("%s: '%s'", spec, err.msg);
        use += 6;
        bool named = strchr(use, '=') != NULL;
        const char *key = named ? use : p->name, *to = named ? strchr(use, '=') + 1 : use;
        int len = named ? (int)(to - 1 - use) : (int)strlen(p->name);
        snprintf(fixed[rounds], sizeof fixed[0], "%.*s", len, key);
        for (int i = 0; i < rounds; i++)
            if (!strcmp(fixed[i], fixed[rounds])) fail_msg("%s: %s again: '%s'", spec, fixed[i], err.msg);
        if (!strcmp(fixed[rounds], p->name)) {
            snprintf(spec, sizeof spec, "%s:%s=%s", m->name, p->name, to);
        } else {
            size_t at = strlen(spec);
            snprintf(spec + at, sizeof spec - at, ",%s=%s", fixed[rounds], to);
        }
    }
}

static void advice_is_valid(void **state)
{
    (void)state;
    int n;
    const struct sac_method *const *all = sac_methods(&n);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < all[i]->n_params; j++) {
            const struct sac_param *p = &all[i]->params[j];
            if (p->kind == SAC_CHOICE || p->kind == SAC_BOOL) continue;
            const double v[] = { p->min - 1, p->min, p->min + 0.5, 2,      2.5,       7,
                                 9,          100,    127,          p->max, p->max + 1 };
            for (size_t k = 0; k < sizeof v / sizeof *v; k++) {
                char value[32];
                if (v[k] > 1e6) continue;    /* then no value of the others fits */
                snprintf(value, sizeof value, "%.10g", v[k]);
                follow_advice(all[i], p, value);
            }
        }
}

static void values(void **state)
{
    (void)state;
    struct sac_spec s =
        parse("quest:token_budget=256,dense_layers=0,1,page_size=32,share_pages=off,scorer=meanstd");
    const struct sac_part *p = &s.part[0];
    assert_true(sac_part_get(p, "token_budget") == 256 && sac_part_get(p, "page_size") == 32);
    assert_true(sac_part_get(p, "share_pages") == 0 && sac_part_get(p, "scorer") == 1);
    assert_true(isnan(sac_part_get(p, "window")));
    for (int l = 0; l < 10; l++) assert_int_equal(sac_spec_layer_dense(&s, l), l < 2);

    s = parse("snapkv:dense_layers=2-4,7");
    for (int l = 0; l < 10; l++) assert_int_equal(sac_spec_layer_dense(&s, l), (l >= 2 && l <= 4) || l == 7);
    s = parse("flexprefill:alpha=0.65");
    assert_true(sac_part_get(&s.part[0], "alpha") == 0.65);

    struct sac_err err = { 0 };
    assert_int_equal(sac_part_set(&s.part[0], "alpha", "0.5", &err), SAC_OK);
    assert_true(sac_part_get(&s.part[0], "alpha") == 0.5);
    assert_int_equal(sac_part_set(&s.part[0], "alpha", "2", &err), SAC_EARG);
    assert_true(sac_part_get(&s.part[0], "alpha") == 0.5);
}

static void defaults_of_the_paper(void **state)
{
    (void)state;
    static const struct { const char *method, *param; double v;
    } row[] = {
        { "vertical_slash", "vertical_size", 512 },
        { "vertical_slash", "window", 256 },
        { "vertical_slash", "sink", 4 },
        { "vertical_slash", "local", 64 },
        { "vertical_slash", "tile", 64 },
        { "flexprefill", "alpha", 0.65 },
        { "flexprefill", "window", 512 },
        { "flexprefill", "min_budget", 512 },
        { "block_sparse", "block_size", 16 },
        { "block_sparse", "top_blocks", 64 },
        { "snapkv", "capacity", 1024 },
        { "snapkv", "window", 256 },
        { "snapkv", "kernel", 21 },
        { "snapkv", "local", 128 },
        { "ada_snapkv", "floor", 0.2 },
        { "quest", "token_budget", 1024 },
        { "quest", "page_size", 16 },
        { "quest", "share_pages", 1 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct sac_spec s = parse(row[i].method);
        if (sac_part_get(&s.part[0], row[i].param) != row[i].v)
            fail_msg("%s %s", row[i].method, row[i].param);
    }
}

static void phases(void **state)
{
    (void)state;
    struct sac_spec s = parse("vertical_slash:sparsity=0.8+quest:sparsity=0.9");
    assert_string_equal(sac_spec_prefill(&s)->m->name, "vertical_slash");
    assert_string_equal(sac_spec_decode(&s)->m->name, "quest");
    assert_null(sac_spec_evict(&s));
    s = parse("block_sparse+snapkv+quest");
    assert_string_equal(sac_spec_evict(&s)->m->name, "snapkv");
    assert_string_equal(sac_spec_decode(&s)->m->name, "quest");
    s = parse("dense");
    assert_true(!sac_spec_prefill(&s) && !sac_spec_evict(&s) && !sac_spec_decode(&s));
    s = parse("streaming_llm:phase=prefill+quest");
    assert_string_equal(sac_spec_prefill(&s)->m->name, "streaming_llm");
    assert_string_equal(sac_spec_decode(&s)->m->name, "quest");
    assert_null(sac_spec_evict(&s));
    s = parse("oracle:phase=decode");
    assert_null(sac_spec_prefill(&s));
    assert_string_equal(sac_spec_decode(&s)->m->name, "oracle");
}

static void sparsity_sets_budgets(void **state)
{
    (void)state;
    static const struct { const char *spec, *param; double v; int n;
    } row[] = {
        { "snapkv:sparsity=0.95", "capacity", 819, 16384 },
        { "snapkv:sparsity=0.5", "capacity", 2048, 4096 },
        { "snapkv:sparsity=0.99", "capacity", 133, 1000 },
        { "quest:sparsity=0.9", "token_budget", 1632, 16384 },
        { "quest:sparsity=0.999", "token_budget", 16, 1000 },
        { "ada_snapkv:sparsity=0.9", "capacity", 1638, 16384 },
        { "block_sparse:sparsity=0.8", "top_blocks", 108, 16384 },
        { "block_sparse:sparsity=0", "top_blocks", 64, 1024 },
        { "tova:sparsity=0.75", "capacity", 250, 1000 },
        { "streaming_llm:sparsity=0.9", "window", 96, 1000 },
        { "streaming_llm:sparsity=0.5,tile=1", "prefill_window", 289, 1000 },
        { "moba:sparsity=0.75", "prefill_top_k", 3, 1024 },
        { "moba:sparsity=0.75", "top_k", 4, 1024 },
        /* The grid of the paper at its own lengths. */
        { "vertical_slash:preset=paper-0.95", "vertical_size", 164, 16384 },
        { "vertical_slash:preset=0.3", "slash_size", 8192, 65536 },
        { "flexprefill:preset=paper-0.8", "alpha", .55, 16384 },
        { "flexprefill:preset=paper-0.9", "min_budget", 315, 16384 },
        { "block_sparse:preset=0.5", "top_blocks", 600, 32768 },
        { "snapkv:preset=paper-0.9", "capacity", 3276, 32768 },
        { "quest:preset=paper-0.7", "token_budget", 4912, 16384 },
        /* Elsewhere: the same share of the prompt. */
        { "snapkv:preset=paper-0.9", "capacity", 410, 4096 },
        { "quest:preset=paper-0.9", "token_budget", 416, 4096 },
        { "vertical_slash:preset=paper-0.95", "slash_size", 64, 1024 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct sac_spec s = resolve(row[i].spec, row[i].n);
        double got = sac_part_get(&s.part[0], row[i].param);
        if (fabs(got - row[i].v) > 1e-9)
            fail_msg("%s at %d: %s is %g, expected %g", row[i].spec, row[i].n, row[i].param, got, row[i].v);
    }
    /* Settling again for another prompt forgets the first. */
    struct sac_spec s = resolve("snapkv:sparsity=0.5", 4096);
    assert_int_equal(sac_spec_resolve(&s, &shape, 2048, NULL), SAC_OK);
    assert_true(sac_part_get(&s.part[0], "capacity") == 1024);
    /* Without a prompt nothing is settled and nothing is refused. */
    s = parse("snapkv:sparsity=0.5");
    assert_int_equal(sac_spec_resolve(&s, &shape, 0, NULL), SAC_OK);
}

/* Every method takes sparsity (but dense), at every level and length, and what it sets passes its own check.
 */
static void sparsity_is_always_valid(void **state)
{
    (void)state;
    int n;
    const struct sac_method *const *all = sac_methods(&n);
    static const int lengths[] = { 1, 2, 5, 63, 200, 1500, 16384 };
    for (int i = 0; i < n; i++)
        for (int level = 0; level < 10 && all[i]->budget; level++)
            for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
                char text[80];
                snprintf(text, sizeof text, "%s:sparsity=0.%d", all[i]->name, level);
                resolve(text, lengths[l]);
            }
}

/* A sparsity that what is always read leaves no room for is told, with the one that is reached. */
static void out_of_reach_is_told(void **state)
{
    (void)state;
    static const struct { const char *spec; int n; const char *says;
    } row[] = {
        { "snapkv:sparsity=0.99", 1000, "this is 0.867" },        /* 133 of 1000 are kept */
        { "streaming_llm:sparsity=0.95", 1000, "streaming_llm: sparsity=0.95 is out of reach on 1000 tokens" },
        { "expected_attention:sparsity=0.9", 20, "this is 0.75, the nearest" },
        { "ada_snapkv:preset=paper-0.95", 1000, "preset=0.95 is out of reach on 1000 tokens" },
        { "quest:sparsity=0.999", 160, "this is 0.9," },
        { "block_sparse:sparsity=0.99", 1600, "this is 0.941" },  /* 3 + 97 * 3 + 3 of 5050 pairs of blocks */
        { "pyramidkv:sparsity=0.95", 650, "this is 0.9," },
        { "moba:sparsity=0.99", 1280, "this is 0.95," },
        { "vertical_slash:sparsity=0.9+quest:sparsity=0.5", 1024, "vertical_slash" },
        { "snapkv:sparsity=0.9", 2000, "" },
        { "snapkv:capacity=133", 1000, "" },
        { "vertical_slash:sparsity=0.9", 4096, "" },
        { "quest:sparsity=0.9", 1024, "" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct sac_spec s = resolve(row[i].spec, row[i].n);
        if (*row[i].says ? !strstr(s.note, row[i].says) : *s.note != 0)
            fail_msg("%s at %d: note '%s', expected '%s'", row[i].spec, row[i].n, s.note, row[i].says);
    }
    struct sac_spec s = resolve("snapkv:sparsity=0.99", 1000);
    assert_int_equal(sac_spec_resolve(&s, &shape, 100000, NULL), SAC_OK);
    assert_string_equal(s.note, "");
}

/* Whatever is typed is answered; what parses also prints. */
static void noise(void **state)
{
    (void)state;
    static const char *const piece[] = { "quest",
                                         "snapkv",
                                         "dense",
                                         ":",
                                         ",",
                                         "=",
                                         "+",
                                         "sparsity",
                                         "page_size",
                                         "0",
                                         "1",
                                         "-",
                                         ".",
                                         "0.5",
                                         "dense_layers",
                                         "kernel",
                                         "99999999999999999999",
                                         "phase",
                                         "decode",
                                         " ",
                                         "\xff",
                                         "x" };
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[220] = "", params[64];
        for (int i = (int)((seed >> 8) % 9); i >= 0; i--) {
            seed = seed * 1664525u + 1013904223u;
            strcat(text, piece[(seed >> 8) % (sizeof piece / sizeof *piece)]);
        }
        struct sac_spec s;
        struct sac_err err = { 0 };
        if (sac_spec_parse(&s, text, &err)) assert_true(err.msg[0]);
        else if (!sac_spec_resolve(&s, &shape, (int)(seed % 3000), &err))
            sac_spec_params(&s, params, sizeof params);
        seed = seed * 1664525u + 1013904223u;
    }
}

static void tables_are_sound(void **state)
{
    (void)state;
    int n;
    const struct sac_method *const *all = sac_methods(&n);
    assert_true(n >= 19);
    for (int i = 0; i < n; i++) {
        const struct sac_method *m = all[i];
        assert_ptr_equal(sac_method_find(m->name), m);
        assert_true(m->title && m->summary && m->source && m->opts_size <= SAC_OPTS_MAX);
        assert_true(!(m->append || m->select || m->observe || m->drop || m->seed) || m->create);
        for (int j = 0; j < m->n_params; j++) {
            const struct sac_param *p = &m->params[j];
            if (p->def < p->min || p->def > p->max || !*p->help) fail_msg("%s: %s", m->name, p->name);
            assert_true(p->offset + (p->kind == SAC_FLOAT ? sizeof(double) : sizeof(int)) <= m->opts_size);
        }
        struct sac_spec s = resolve(m->name, 4096);           /* defaults pass their own check */
        char params[400];
        sac_spec_params(&s, params, sizeof params);
        assert_true((m->n_params == 0) == (params[0] == 0));
    }
    assert_null(sac_method_find("nothing"));
}

static void params_text(void **state)
{
    (void)state;
    char text[400];
    struct sac_spec s = resolve("quest:token_budget=64+block_sparse", 4096);
    sac_spec_params(&s, text, sizeof text);
    assert_string_equal(
        text, "token_budget=64 page_size=16 share_pages=1 scorer=minmax + block_size=16 top_blocks=64");
    s = resolve("vertical_slash:sparsity=0.8", 4096);
    sac_spec_params(&s, text, sizeof text);
    assert_non_null(strstr(text, "vertical_size=auto"));
    char tiny[8];
    sac_spec_params(&s, tiny, sizeof tiny);
    assert_int_equal(strlen(tiny), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(advice_is_valid),
        cmocka_unit_test(values),
        cmocka_unit_test(defaults_of_the_paper),
        cmocka_unit_test(phases),
        cmocka_unit_test(sparsity_sets_budgets),
        cmocka_unit_test(sparsity_is_always_valid), cmocka_unit_test(out_of_reach_is_told),
        cmocka_unit_test(noise),
        cmocka_unit_test(tables_are_sound),
        cmocka_unit_test(params_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
