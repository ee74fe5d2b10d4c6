/* Error of the fast paths on real activations: one needle prompt through the model in f32 arithmetic (strict)
 * and in the fastest of each CPU level; relative L2 of the residual stream entering every block and of the
 * logits. Built and run by error.sh. */
#include "model/model_int.h"
#include "model/session_int.h"
#include <saccade/task.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct states { float *x; int n_layers, n, width, vocab; };

static void keep(void *ctx, int layer, const float *x, int n)
{
    struct states *s = ctx;
    memcpy(s->x + (size_t)layer * (size_t)n * (size_t)s->width, x, (size_t)n * (size_t)s->width * sizeof *x);
}

static double relative(const float *a, const float *b, size_t n)
{
    double err = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        err += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(err / norm);
}

static struct states run(const char *path, const char *cpu, bool strict, int length, float **logits,
                         char *name)
{
    struct sac_model_opts mo = { .strict = strict };
    struct sac_model *m;
    struct sac_err err = { SAC_OK, "" };
    struct sac_sample sample;
    struct sac_tokens t = { 0 };
    struct states s = { 0 };
    char *text = NULL;
    size_t at;
    setenv("SACCADE_CPU", cpu, 1);
    if (sac_model_open(&m, path, &mo, &err) ||
        sac_sample_make(&sample, m, "niah", SAC_STYLE_AUTO, length, 43, 0, NULL, &err) ||
        sac_chat_tokenize(m, NULL, sample.prompt, &t, &text, &at, &err)) {
        fprintf(stderr, "error: %s\n", err.msg);
        exit(1);
    }
    const struct sac_shape *sh = &m->hp.shape;
    s = (struct states){ NULL, sh->n_layers, t.n, sh->n_embd, sh->n_vocab };
    s.x = calloc((size_t)(s.n_layers + 1) * (size_t)s.n * (size_t)s.width, sizeof *s.x);
    *logits = malloc((size_t)sh->n_vocab * sizeof **logits);
    struct session *ses = session_new(m, t.n + 1, SAC_KV_F32, &err);
    struct prefill_args a = {
        .ids = t.id, .n = t.n, .force_layer = -1, .force_kv = -1, .hidden = keep, .ctx = &s
    };
    if (!ses || !s.x || !*logits || session_prefill(ses, &a, &err)) {
        fprintf(stderr, "error: %s\n", err.msg);
        exit(1);
    }
    memcpy(*logits, session_logits(ses), (size_t)sh->n_vocab * sizeof **logits);
    snprintf(name, 64, "%s%s", k_ops()->name, strict ? " strict" : "");
    session_free(ses);
    sac_sample_free(&sample);
    sac_tokens_free(&t);
    free(text);
    sac_model_close(m);
    return s;
}

int main(int argc, char **argv)
{
    static const char *const level[] = { "scalar", "avx2", "avx512", "vnni", "bf16", "amx", "neon" };
    if (argc < 2) return fprintf(stderr, "usage: error MODEL [LENGTH]\n"), 2;
    int length = argc > 2 ? atoi(argv[2]) : 1024, best = (int)k_cpu_init(-1)->level;
    float *want, *got;
    char name[64];
    struct states ref = run(argv[1], level[best], true, length, &want, name);
    printf("reference: %s, %d tokens\n%-24s %10s %10s %10s %10s\n", name, ref.n, "level", "block 1", "middle",
           "last", "logits");
    for (int l = K_SCALAR; l <= best; l++) {
        struct states s = run(argv[1], level[l], false, length, &got, name);
        size_t per = (size_t)s.n * (size_t)s.width, mid = (size_t)s.n_layers / 2;
        printf("%-24s %10.1e %10.1e %10.1e %10.1e\n", name, relative(s.x + per, ref.x + per, per),
               relative(s.x + mid * per, ref.x + mid * per, per),
               relative(s.x + (size_t)(s.n_layers - 1) * per, ref.x + (size_t)(s.n_layers - 1) * per, per),
               relative(got, want, (size_t)s.vocab));
        free(s.x);
        free(got);
    }
    free(ref.x);
    free(want);
    return 0;
}
