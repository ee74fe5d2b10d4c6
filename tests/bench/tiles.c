/* Time of exact map tiles: whole heads at 200 x 70 pixels with kept and missed, of dense weights and of those of
 * a sparse lane, over every fourth head of every layer; median, 95th percentile and worst. Built and run by
 * tiles.sh. */
#include <saccade/job.h>
#include <saccade/task.h>
#include <saccade/trace.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { W = 200, H = 70, MOST = 4096, STEP = 4 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void check(enum sac_code rc, const struct sac_err *err)
{
    if (rc == SAC_OK) return;
    fprintf(stderr, "tiles: %s\n", err->msg);
    exit(1);
}

static void measure(const struct sac_trace *t, const struct sac_shape *s, int n, int lane, bool sparse)
{
    static float value[W * H], kept[W * H], missed[W * H];
    static double ms[MOST];
    struct sac_err err = { SAC_OK, "" };
    int k = 0;
    for (int l = 0; l < s->n_layers; l++)
        for (int h = l % STEP; h < s->n_heads && k < MOST; h += STEP) {
            struct sac_tile tile = { .lane = lane, .layer = l, .head = h, .q1 = n, .k1 = n, .w = W, .h = H,
                                     .sparse = sparse, .value = value, .kept = kept, .missed = missed };
            double t0 = now_ms();
            check(sac_trace_tile(t, &tile, NULL, &err), &err);
            ms[k++] = now_ms() - t0;
        }
    qsort(ms, (size_t)k, sizeof *ms, by_value);
    printf("%7d tokens, lane %d, %-14s median %6.1f ms, 95 %% %6.1f, worst %6.1f of %d\n", n, lane,
           sparse ? "sparse weights" : "dense weights", ms[k / 2], ms[k * 95 / 100], ms[k - 1], k);
}

int main(int argc, char **argv)
{
    if (argc < 4) return fprintf(stderr, "usage: tiles MODEL SPEC LENGTH...\n"), 2;
    struct sac_err err = { SAC_OK, "" };
    struct sac_model_opts mo = { 0 };
    struct sac_model *m = NULL;
    check(sac_model_open(&m, argv[1], &mo, &err), &err);
    for (int i = 3; i < argc; i++) {
        struct sac_sample sample;
        struct sac_tokens tokens = { 0 };
        struct sac_job_opts jo = { .max_tokens = 4, .no_kl = true };
        struct sac_job *j = NULL;
        char *text = NULL;
        size_t at;
        check(sac_sample_make(&sample, m, "niah", SAC_STYLE_AUTO, atoi(argv[i]), 43, 0, NULL, &err), &err);
        check(sac_chat_tokenize(m, NULL, sample.prompt, &tokens, &text, &at, &err), &err);
        check(sac_job_new(&j, m, text, &tokens, NULL, 0, &jo, &err), &err);
        if (sac_job_add_lane(j, argv[2], &err) < 0) check(err.code, &err);
        check(sac_job_start(j, &err), &err);
        sac_job_wait(j);
        const struct sac_shape *s = &sac_model_info(m)->shape;
        measure(sac_job_trace(j), s, tokens.n, 0, false);
        measure(sac_job_trace(j), s, tokens.n, 1, false);
        measure(sac_job_trace(j), s, tokens.n, 1, true);
        sac_job_free(j);
        sac_sample_free(&sample);
        sac_tokens_free(&tokens);
        free(text);
    }
    sac_model_close(m);
    return 0;
}
