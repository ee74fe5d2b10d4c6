/* The cost model against the figures of the paper and of its published formulas (methods.md 5.3 to 5.5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <saccade/cost.h>

#include <math.h>
#include <stdio.h>

/* Qwen 2.5, by size; the vocabulary of the largest three is the same as of the first. */
static const struct sac_shape qwen[] = {
    { 28, 28, 4, 128, 3584, 18944, 152064, 131072 },
    { 48, 40, 8, 128, 5120, 13824, 152064, 131072 },
    { 64, 40, 8, 128, 5120, 27648, 152064, 131072 },
    { 80, 64, 8, 128, 8192, 29568, 152064, 131072 },
};

static void near(const char *what, double got, double want, double relative)
{
    if (!(fabs(got - want) <= relative * fabs(want))) fail_msg("%s: %.5g, expected %.5g", what, got, want);
}

static void prefill_of_7b(void **state)
{
    (void)state;
    struct sac_prefill_cost c = sac_cost_prefill(&qwen[0], SAC_COST_PAPER, 16384, 1, 0, 1);
    /* Printed with three digits. */
    near("embedding", c.embedding, 1.17e8, 5e-3);
    near("projections", c.projections, 2.69e13, 5e-3);
    near("core", c.core, 1.08e14, 5e-3);
    near("mlp", c.mlp, 1.87e14, 5e-3);
    near("logits", c.logits, 1.79e13, 5e-3);
    near("total", c.total, 3.40e14, 5e-3);
    near("batch", sac_cost_prefill(&qwen[0], SAC_COST_PAPER, 16384, 1, 0, 64).total, 64 * c.total, 1e-12);
}

static void shares_and_speedups_of_the_paper(void **state)
{
    (void)state;
    static const struct { double n, share, core, speedup, with_core;
    } row[] = {
        { 16384, .402, .292, 1.483, 1.31 },
        { 65536, .677, .618, 2.204, 2.00 },
        { 131072, .799, .762, 2.796, 2.59 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        double share = 0, core = 0, speedup = 0, with_core = 0;
        for (int m = 0; m < 4; m++) {
            struct sac_prefill_cost c = sac_cost_prefill(&qwen[m], SAC_COST_PAPER, row[i].n, 1, 0, 1);
            share += c.attention_share / 4;
            core += c.core_share / 4;
            speedup += 1 / (1 - 0.8 * c.attention_share) / 4;
            with_core += c.total / sac_cost_prefill(&qwen[m], SAC_COST_PAPER, row[i].n, 0.2, 0, 1).total / 4;
        }
        near("attention share", share, row[i].share, 2e-3);
        near("core share", core, row[i].core, 2e-3);
        near("printed speed-up", speedup, row[i].speedup, 1e-3);
        near("speed-up of the core", with_core, row[i].with_core, 5e-3);
    }
}

static void decode_reads(void **state)
{
    (void)state;
    struct sac_decode_cost paper = sac_cost_decode(&qwen[0], SAC_COST_PAPER, 16384, 1, 0, 1);
    near("weights, printed", paper.weights, 7.69e9, 1e-3);
    near("weights, grouped", sac_cost_decode(&qwen[0], SAC_COST_EXACT, 16384, 1, 0, 1).weights, 7.07e9, 1e-3);
    near("kv", paper.kv, 4.70e8, 1e-3);

    struct sac_spec quest;
    assert_int_equal(sac_spec_parse(&quest, "quest", NULL), SAC_OK);
    /* Pages before the current one: 1023 of 1024. */
    double meta = sac_cost_metadata(&quest.part[0], &qwen[0], 16384);
    struct sac_decode_cost q = sac_cost_decode(&qwen[0], SAC_COST_PAPER, 16384, 1, meta, 1);
    near("quest bounds", q.metadata, 2.94e7, 5e-3);
    near("share of the cache", q.metadata / q.kv, 0.0625, 2e-3);
}

static void decode_shares_and_speedups(void **state)
{
    (void)state;
    static const double batch[3] = { 1, 8, 64 };
    static const struct { double n, share[3], speedup[3], quest[3]; } row[] = {
        { 16384, { .066, .35, .80 }, { 1.06, 1.41, 2.84 }, { 1.05, 1.33, 2.41 } },
        { 65536, { .217, .67, .94 }, { 1.21, 2.22, 4.06 }, { 1.18, 1.95, 3.23 } },
        { 131072, { .352, .80, .97 }, { 1.41, 2.84, 4.46 }, { 1.33, 2.41, 3.48 } },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int b = 0; b < 3; b++) {
            double share = 0, speedup = 0, quest = 0;
            for (int m = 0; m < 4; m++) {
                const struct sac_shape *s = &qwen[m];
                struct sac_decode_cost d = sac_cost_decode(s, SAC_COST_EXACT, row[i].n, 1, 0, batch[b]);
                double bounds = 2 * s->head_dim * row[i].n / 16;
                share += d.kv_share / 4;
                speedup += d.total / sac_cost_decode(s, SAC_COST_EXACT, row[i].n, 0.2, 0, batch[b]).total / 4;
                struct sac_decode_cost p = sac_cost_decode(s, SAC_COST_PAPER, row[i].n, 1, 0, batch[b]);
                quest +=
                    p.total / sac_cost_decode(s, SAC_COST_PAPER, row[i].n, 0.2, bounds, batch[b]).total / 4;
            }
            /* Two digits are printed. */
            near("kv share", share, row[i].share[b], 2e-2);
            near("speed-up", speedup, row[i].speedup[b], 5e-3);
            near("speed-up with quest's bounds", quest, row[i].quest[b], 5e-3);
        }
}

static void selection_of_columns(void **state)
{
    (void)state;
    struct sac_spec spec;
    assert_int_equal(
        sac_spec_parse(&spec, "vertical_slash:vertical_size=1000,slash_size=500,window=256", NULL), SAC_OK);
    double n = 16384, q = 256, want = 2 * 128 * n * q + 5 * n * q + 2 * n * 14 + n / 64 * 1500;
    near("formula (9)", sac_cost_selection(&spec.part[0], &qwen[0], n), want, 1e-12);

    /* "about 6 % at batch 1 and 16K from perfect 5x decode sparsity"; selection only takes away. */
    assert_int_equal(sac_spec_parse(&spec, "vertical_slash+quest", NULL), SAC_OK);
    struct sac_speedup s = sac_cost_speedup(&spec, &qwen[0], SAC_COST_EXACT, n, 0.2, 0.2, 1);
    struct sac_prefill_cost dense = sac_cost_prefill(&qwen[0], SAC_COST_EXACT, n, 1, 0, 1);
    struct sac_prefill_cost free_selection = sac_cost_prefill(&qwen[0], SAC_COST_EXACT, n, 0.2, 0, 1);
    assert_true(s.prefill < dense.total / free_selection.total && s.prefill > 1);
    assert_true(s.decode > 1.03 && s.decode < 1.06);
}

static void exact_form(void **state)
{
    (void)state;
    /* One layer, one head, three tokens, by hand: 6 causal cells of 4 * 2 + 3 operations. */
    struct sac_shape s = { 1, 1, 1, 2, 2, 4, 10, 16 };
    struct sac_prefill_cost c = sac_cost_prefill(&s, SAC_COST_EXACT, 3, 1, 0, 1);
    near("core", c.core, 6 * 11, 1e-12);
    near("projections", c.projections, 2 * 3 * 2 * (2 * 2 + 2 * 2), 1e-12);
    near("logits", c.logits, 2 * 2 * 10, 1e-12);
    near("half the core", sac_cost_prefill(&s, SAC_COST_EXACT, 3, 0.5, 0, 1).core, 33, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefill_of_7b),
        cmocka_unit_test(shares_and_speedups_of_the_paper),
        cmocka_unit_test(decode_reads),
        cmocka_unit_test(decode_shares_and_speedups),
        cmocka_unit_test(selection_of_columns),
        cmocka_unit_test(exact_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
