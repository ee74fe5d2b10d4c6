/* Baselines and later methods against their definitions, written out without any of the shared parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "kernels.h"
#include "methods/methods.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_MAX = 320, D = 8 };
static float q[4 * N_MAX * D], k[2 * N_MAX * D], v[2 * N_MAX * D];

static float uniform(void) { return (float)rand() / (float)RAND_MAX; }

/* n rows, G query heads on one or two KV heads. */
static struct sac_prefill_in make(int n, int n_heads, int n_kv_heads, unsigned seed)
{
    srand(seed);
    for (int i = 0; i < n_heads * n * D; i++) q[i] = 3 * uniform() - 1.5f;
    for (int i = 0; i < n_kv_heads * n * D; i++) k[i] = 3 * uniform() - 1.5f;
    for (int i = 0; i < n_kv_heads * n * D; i++) v[i] = uniform();
    return (struct sac_prefill_in){ .n = n,
                                    .n_layers = 3,
                                    .layer = 1,
                                    .n_heads = n_heads,
                                    .n_kv_heads = n_kv_heads,
                                    .head_dim = D,
                                    .scale = 0.35f,
                                    .q = q,
                                    .k = k,
                                    .v = v,
                                    .q_stride = (size_t)n * D,
                                    .k_stride = (size_t)n * D,
                                    .seed = 1 };
}

static double dot(const float *a, const float *b)
{
    double s = 0;
    for (int d = 0; d < D; d++) s += (double)a[d] * (double)b[d];
    return s;
}

static struct sac_spec parse(const char *text, const struct sac_prefill_in *in)
{
    struct sac_spec s;
    struct sac_err err = { 0 };
    struct sac_shape shape = { .n_layers = 3,
                               .n_heads = in->n_heads,
                               .n_kv_heads = in->n_kv_heads,
                               .head_dim = D,
                               .n_embd = in->n_heads * D,
                               .max_ctx = N_MAX };
    if (sac_spec_parse(&s, text, &err) || sac_spec_resolve(&s, &shape, in->n, &err)) fail_msg("%s", err.msg);
    return s;
}

static void make_plan(const char *text, const struct sac_prefill_in *in, int head, struct sac_plan *p)
{
    struct sac_spec s = parse(text, in);
    struct sac_arena a = { 0 };
    assert_true(s.part[0].m->plan(in, s.part[0].opts.bytes, head, p, &a));
    sac_arena_free(&a);
}

static bool tile_reads(const struct sac_plan *p, int tile, int key)
{
    for (size_t i = p->at[tile]; i < p->at[tile + 1]; i++)
        if (p->run[i].lo <= key && key < p->run[i].hi) return true;
    return false;
}

/* Best unused entry, lower index first; -1: none. */
static int best(const double *x, const bool *used, int n)
{
    int b = -1;
    for (int i = 0; i < n; i++)
        if (!used[i] && (b < 0 || x[i] > x[b])) b = i;
    return b;
}

/* Is what `in` gives with these options, at this level, what the definition says? */
static void xattention_is(const struct sac_prefill_in *in, int B, int S)
{
    int n = in->n, grid = (n + S - 1) / S, nb = (n + B - 1) / B;
    struct sac_plan p;
    char text[80];
    snprintf(text, sizeof text, "xattention:block_size=%d,stride=%d,threshold=0.7", B, S);
    make_plan(text, in, 1, &p);
    for (int I = 0; I < nb; I++) {
        double score[16] = { 0 }, total = 0, sum;
        for (int m = I * (B / S); m < grid && m < (I + 1) * (B / S); m++) {
            double e[N_MAX], norm = 0;
            for (int c = 0; c <= m; c++) {
                double anti = 0;
                for (int t = 0; t < S; t++) {
                    int row = m * S + S - 1 - t, key = c * S + t;
                    if (row < n && key < n) anti += dot(q + (size_t)(n + row) * D, k + (size_t)key * D);
                }
                norm += e[c] = exp((double)in->scale * anti / S);
            }
            for (int c = 0; c <= m; c++) score[c / (B / S)] += e[c] / norm;
            total += 1;
        }
        bool keep[16] = { 0 };
        keep[0] = keep[I] = true;
        sum = score[0] + (I > 0 ? score[I] : 0);
        for (int b; sum < 0.7 * total && (b = best(score, keep, I + 1)) >= 0; sum += score[b]) keep[b] = true;
        for (int J = 0; J <= I; J++) assert_int_equal(tile_reads(&p, I, J * B), keep[J]);
    }
    sac_plan_free(&p);
}

/* Strides of few numbers, which are multiplied as floats, and of many, as halves or words where there are. */
static void xattention(void **state)
{
    (void)state;
    static const int lengths[] = { 256, 203, 320 }, strides[] = { 4, 16, 32 };
    for (int level = K_SCALAR; level <= K_NEON; level++) {
        if ((int)k_cpu_init(level)->level != level) continue;
        for (size_t z = 0; z < 9; z++) {
            struct sac_prefill_in in = make(lengths[z / 3], 2, 1, 3);
            xattention_is(&in, 32, strides[z % 3]);
        }
    }
    k_cpu_init(-1);
}

static double mean_cosine(const float *x, int count, const double *minus)
{
    double sum = 0;
    for (int a = 0; a < count; a++)
        for (int b = 0; b < count; b++) {
            double ab = 0, aa = 0, bb = 0;
            for (int d = 0; d < D; d++) {
                double xa = (double)x[a * D + d] - minus[d], xb = (double)x[b * D + d] - minus[d];
                ab += xa * xb;
                aa += xa * xa;
                bb += xb * xb;
            }
            sum += ab / sqrt(aa * bb);
        }
    return sum / count / count;
}

static void block_mean(const float *x, int count, const double *minus, double *out)
{
    for (int d = 0; d < D; d++) {
        out[d] = -minus[d];
        for (int r = 0; r < count; r++) out[d] += (double)x[r * D + d] / count;
    }
}

static void spargeattn(void **state)
{
    (void)state;
    enum { BQ = 32, BK = 16, N = 200 };
    struct sac_prefill_in in = make(N, 1, 1, 5);
    /* Some blocks point one way, some do not. */
    for (int b = 0; b * BK < N; b += 2)
        for (int i = b * BK; i < (b + 1) * BK && i < N; i++)
            for (int d = 0; d < D; d++) k[i * D + d] = 0.3f * k[i * D + d] + (float)((b * 7 + d * 3) % 5 - 2);
    for (int i = 0; i < N; i++)
        for (int d = 0; d < D; d++)
            q[i * D + d] = (i / BQ) % 3 ? 0.2f * q[i * D + d] + (float)((i / BQ + d) % 3 - 1) : q[i * D + d];
    struct sac_plan p;
    make_plan("spargeattn:block_q=32,block_k=16,theta=0.4,tau=0.6", &in, 0, &p);
    double mean[D] = { 0 }, zero[D] = { 0 };
    block_mean(k, N, zero, mean);
    int mixed = 0, alike_blocks = 0;
    for (int I = 0; I * BQ < N; I++) {
        int count = N - I * BQ < BQ ? N - I * BQ : BQ, visible = (I * BQ + count + BK - 1) / BK;
        bool q_alike = mean_cosine(q + I * BQ * D, count, zero) > 0.4, keep[16] = { 0 }, used[16] = { 0 };
        double qm[D], score[16], norm = 0, sum = 0;
        block_mean(q + I * BQ * D, count, zero, qm);
        for (int J = 0; J < visible; J++) {
            int rows = N - J * BK < BK ? N - J * BK : BK;
            double km[D], s = 0;
            bool alike = mean_cosine(k + J * BK * D, rows, mean) > 0.4;
            block_mean(k + J * BK * D, rows, mean, km);
            for (int d = 0; d < D; d++) s += qm[d] * km[d];
            score[J] = alike ? exp((double)in.scale * s) : 0;
            norm += score[J];
            keep[J] = !alike || !q_alike || (J + 1) * BK > I * BQ;
            mixed += !alike;
            alike_blocks += alike;
        }
        for (int t = 0; t < visible; t++) {
            int b = best(score, used, visible);
            used[b] = true;
            sum += score[b] / norm;
            if (sum > 0.6 && t > 0) break;
            keep[b] = true;
        }
        for (int J = 0; J < visible; J++)
            if (tile_reads(&p, I, J * BK) != keep[J]) fail_msg("row block %d, key block %d", I, J);
    }
    assert_true(mixed > 3 && alike_blocks > 3);
    sac_plan_free(&p);
}

static void moba(void **state)
{
    (void)state;
    enum { C = 16, N = 150 };
    struct sac_prefill_in in = make(N, 2, 1, 7);
    struct sac_plan p;
    struct sac_arena a = { 0 };
    make_plan("moba:block_size=16,top_k=3", &in, 1, &p);
    struct sac_spec spec = parse("moba:block_size=16,top_k=3", &in);
    const struct sac_method *m = spec.part[0].m;
    struct sac_env env = { { .n_layers = 3, .n_heads = 2, .n_kv_heads = 1, .head_dim = D }, N, 1, false };
    void *s = m->create(&env, spec.part[0].opts.bytes, &a);
    for (int row = 0; row < N; row++) {
        int own = row / C;
        double score[16];
        bool keep[16] = { 0 };
        for (int b = 0; b < own; b++) {
            double mean[D];
            const double zero[D] = { 0 };
            block_mean(k + b * C * D, C, zero, mean);
            score[b] = 0;
            for (int d = 0; d < D; d++) score[b] += mean[d] * (double)q[(N + row) * D + d];
        }
        for (int t = 0; t < 2; t++) {
            int b = best(score, keep, own);
            if (b >= 0) keep[b] = true;
        }
        keep[own] = true;
        /* Decode of this token reads what its prefill row reads. */
        struct sac_run store[80];
        struct sac_rows rows = { store, 0, 80 };
        int n = row + 1;
        float both[2 * D];
        memcpy(both + D, q + (N + row) * D, sizeof both / 2);
        struct sac_decode_in in1 = { .layer = 1,
                                     .n_layers = 3,
                                     .pos = row,
                                     .n_heads = 2,
                                     .n_kv_heads = 1,
                                     .head_dim = D,
                                     .scale = 1,
                                     .q = both,
                                     .n = &n };
        m->append(s, 1, 0, row, 1, k + row * D);
        m->prepare(s, &in1, 0);
        m->select(s, &in1, 1, &rows);
        for (int key = 0; key <= row; key++) {
            assert_int_equal(tile_reads(&p, row, key), keep[key / C]);
            assert_int_equal(sac_rows_has(&rows, key), keep[key / C]);
        }
    }
    sac_plan_free(&p);
    sac_arena_free(&a);
}

/* The formula with explicit matrices, for both layouts of rotated pairs. */
static void expected_attention(void **state)
{
    (void)state;
    enum { N = 290, AHEAD = 16, KEEP = 20, HALF = D / 2 };
    static float c[(N + AHEAD) * HALF], s[(N + AHEAD) * HALF];
    for (int t = 0; t < N + AHEAD; t++)
        for (int i = 0; i < HALF; i++) {
            c[t * HALF + i] = cosf((float)t * powf(50, -(float)i / HALF));
            s[t * HALF + i] = sinf((float)t * powf(50, -(float)i / HALF));
        }
    for (int adjacent = 0; adjacent < 2; adjacent++) {
        struct sac_prefill_in in = make(N, 2, 1, 9);
        in.rope_cos = c, in.rope_sin = s, in.rope_dim = D, in.rope_positions = N + AHEAD,
        in.rope_adjacent = adjacent;
        double score[N] = { 0 };
        for (int h = 0; h < 2; h++) {
            double mu[D] = { 0 }, cov[D][D] = { { 0 } }, rot[D][D] = { { 0 } }, mr[D] = { 0 },
                   cr[D][D] = { { 0 } }, z[N], norm = 0;
            for (int t = 4; t < N; t++) {
                double x[D];
                for (int i = 0; i < HALF; i++) {
                    int a = adjacent ? 2 * i : i, b = adjacent ? 2 * i + 1 : i + HALF;
                    double xa = (double)q[(h * N + t) * D + a], xb = (double)q[(h * N + t) * D + b];
                    double co = (double)c[t * HALF + i], si = (double)s[t * HALF + i];
                    x[a] = xa * co + xb * si;
                    x[b] = xb * co - xa * si;
                }
                for (int i = 0; i < D; i++) {
                    mu[i] += x[i] / (N - 4);
                    for (int j = 0; j < D; j++) cov[i][j] += x[i] * x[j] / (N - 4);
                }
            }
            for (int t = N; t < N + AHEAD; t++)
                for (int i = 0; i < HALF; i++) {
                    int a = adjacent ? 2 * i : i, b = adjacent ? 2 * i + 1 : i + HALF;
                    rot[a][a] += (double)c[t * HALF + i] / AHEAD;
                    rot[b][b] += (double)c[t * HALF + i] / AHEAD;
                    rot[b][a] += (double)s[t * HALF + i] / AHEAD;
                    rot[a][b] -= (double)s[t * HALF + i] / AHEAD;
                }
            for (int i = 0; i < D; i++)
                for (int j = 0; j < D; j++) {
                    mr[i] += rot[i][j] * mu[j];
                    for (int e = 0; e < D; e++)
                        for (int f = 0; f < D; f++)
                            cr[i][j] += rot[i][e] * (cov[e][f] - mu[e] * mu[f]) * rot[j][f];
                }
            for (int j = 0; j < N; j++) {
                double lin = 0, quad = 0, sc = (double)in.scale;
                for (int e = 0; e < D; e++) {
                    lin += mr[e] * (double)k[j * D + e];
                    for (int f = 0; f < D; f++)
                        quad += (double)k[j * D + e] * cr[e][f] * (double)k[j * D + f];
                }
                norm += z[j] = exp(sc * lin + sc * sc / 2 * quad);
            }
            for (int j = 0; j < N; j++) score[j] += z[j] / norm * sqrt(dot(v + j * D, v + j * D));
        }
        bool keep[N] = { 0 };
        for (int j = 0; j < 4; j++) keep[j] = true;
        for (int t = 4; t < KEEP; t++) keep[best(score, keep, N)] = true;
        struct sac_spec spec = parse("expected_attention:capacity=20,horizon=16", &in);
        struct sac_arena a = { 0 };
        struct sac_kept kept[1];
        assert_true(evict_layer(NULL, &in, &spec.part[0], kept, &a));
        assert_int_equal(kept[0].n, KEEP);
        for (int i = 0; i < KEEP; i++) assert_true(keep[kept[0].pos[i]]);
        sac_arena_free(&a);
    }
}

static void probabilities(const struct sac_prefill_in *in, int head, int row, double *p)
{
    int kv = head / (in->n_heads / in->n_kv_heads);
    double z = 0;
    for (int j = 0; j <= row; j++)
        z += p[j] = exp((double)in->scale * dot(q + (head * in->n + row) * D, k + (kv * in->n + j) * D));
    for (int j = 0; j <= row; j++) p[j] /= z;
}

static void h2o_after_the_prompt(void **state)
{
    (void)state;
    enum { N = 80 };
    for (int normalize = 0; normalize < 2; normalize++) {
        struct sac_prefill_in in = make(N, 4, 2, 11);
        struct sac_spec spec =
            parse(normalize ? "h2o:heavy=10,recent=7,normalize=1" : "h2o:heavy=10,recent=7", &in);
        struct sac_arena a = { 0 };
        struct sac_kept kept[2];
        assert_true(evict_layer(NULL, &in, &spec.part[0], kept, &a));
        for (int kv = 0; kv < 2; kv++) {
            double acc[N] = { 0 }, p[N];
            for (int h = 2 * kv; h < 2 * kv + 2; h++)
                for (int r = 0; r < N; r++) {
                    probabilities(&in, h, r, p);
                    for (int j = 0; j <= r; j++) acc[j] += p[j] / 2 / (normalize ? N - j : 1);
                }
            bool keep[N] = { 0 };
            for (int j = N - 7; j < N; j++) keep[j] = true;
            for (int t = 0; t < 10; t++) keep[best(acc, keep, N)] = true;
            assert_int_equal(kept[kv].n, 17);
            for (int i = 0; i < 17; i++) {
                assert_true(keep[kept[kv].pos[i]]);
                assert_true(fabs((double)kept[kv].score[i] - acc[kept[kv].pos[i]]) < 1e-4);
            }
        }
        sac_arena_free(&a);
    }
}

/* Steps: sums grow by what is observed, the least of the old ones goes, its sum with it. */
static void h2o_in_decode(void **state)
{
    (void)state;
    struct sac_prefill_in in = make(8, 2, 1, 12);
    struct sac_spec spec = parse("h2o:heavy=2,recent=2", &in);
    const struct sac_method *m = spec.part[0].m;
    struct sac_arena a = { 0 };
    struct sac_env env = { { .n_layers = 3, .n_heads = 2, .n_kv_heads = 1, .head_dim = D }, 20, 1, false };
    void *s = m->create(&env, spec.part[0].opts.bytes, &a);
    int n = 4;
    struct sac_decode_in step = { .layer = 1, .n_heads = 2, .n_kv_heads = 1, .head_dim = D, .n = &n };
    struct sac_run run = { 0, 5 };
    struct sac_rows rows = { &run, 1, 1 };
    m->append(s, 1, 0, 0, 4, k);
    m->seed(s, 1, 0, 4, (const float[]){ 3, 1, 2, 0 });
    n = 5;
    m->append(s, 1, 0, 4, 1, k);
    m->observe(s, &step, 0, &rows, (const float[]){ 0, 2.5f, 0, 0, .1f });
    m->observe(s, &step, 1, &rows, (const float[]){ 0, 0.5f, 0, 0, .1f });     /* sums 3, 2.5, 2 | 0, .1 */
    assert_int_equal(m->drop(s, &step, 0), 2);
    m->dropped(s, 1, 0, 2);
    n = 4;
    assert_int_equal(m->drop(s, &step, 0), -1);
    n = 5;
    m->append(s, 1, 0, 4, 1, k);
    m->observe(s, &step, 0, &rows, (const float[]){ 0, 0, 9, 0, 0 });           /* 3, 2.5, 4.5 | .1, 0 */
    assert_int_equal(m->drop(s, &step, 0), 1);
    sac_arena_free(&a);
}

static void tova_drops_the_least(void **state)
{
    (void)state;
    enum { N = 40 };
    struct sac_prefill_in in = make(N, 4, 2, 13);
    struct sac_spec spec = parse("tova:capacity=6", &in);
    const struct sac_method *m = spec.part[0].m;
    struct sac_arena a = { 0 };
    struct sac_kept kept[2];
    assert_true(evict_layer(NULL, &in, &spec.part[0], kept, &a));
    double sum[N] = { 0 }, p[N];
    bool keep[N] = { 0 };
    for (int h = 0; h < 4; h++) {
        probabilities(&in, h, N - 1, p);
        for (int j = 0; j < N; j++) sum[j] += p[j];
    }
    for (int t = 0; t < 6; t++) keep[best(sum, keep, N)] = true;
    for (int kv = 0; kv < 2; kv++)
        for (int i = 0; i < 6; i++) assert_true(kept[kv].n == 6 && keep[kept[kv].pos[i]]);

    struct sac_env env = { { .n_layers = 3, .n_heads = 4, .n_kv_heads = 2, .head_dim = D }, 20, 1, false };
    void *s = m->create(&env, spec.part[0].opts.bytes, &a);
    int n[2] = { 7, 7 };
    struct sac_decode_in step = { .layer = 1, .n_heads = 4, .n_kv_heads = 2, .head_dim = D, .n = n };
    struct sac_run run = { 0, 7 };
    struct sac_rows rows = { &run, 1, 1 };
    for (int h = 0; h < 4; h++) {
        float w[7] = { .2f, .2f, .1f, .1f, .2f, .1f, .1f };
        w[h] += .5f;                                    /* heads 0 .. 3 lift slots 0 .. 3 */
        m->observe(s, &step, h, &rows, w);
    }
    assert_int_equal(m->drop(s, &step, 0), 5); /* the same in both KV heads, the sink not protected */
    assert_int_equal(m->drop(s, &step, 1), 5);
    sac_arena_free(&a);
}

/* One head attends to what is near, the other to one far key: the first streams. */
static void duo_finds_the_local_head(void **state)
{
    (void)state;
    enum { N = 300 };
    struct sac_prefill_in in = make(N, 2, 2, 15);
    for (int r = 0; r < N; r++)
        for (int d = 0; d < D; d++) {
            q[r * D + d] = d == 0 ? 8.0f : 0;                            /* head 0: key grows with position */
            k[r * D + d] = d == 0 ? 0.1f * (float)r : 0;
            q[(N + r) * D + d] = d == 1 ? 8.0f : 0;                      /* head 1: key 100 */
            k[(N + r) * D + d] = d == 1 && r == 100 ? 8.0f : 0;
        }
    struct sac_plan local, far;
    make_plan("duo:sink=2,recent=30", &in, 0, &local);
    make_plan("duo:sink=2,recent=30", &in, 1, &far);
    assert_true(sac_plan_density(&local).pattern < 0.25 && sac_plan_density(&far).kernel > 0.999);
    struct sac_spec spec = parse("duo:sink=2,recent=30", &in);
    struct sac_arena a = { 0 };
    struct sac_kept kept[2];
    assert_true(evict_layer(NULL, &in, &spec.part[0], kept, &a));
    assert_true(kept[0].n == 31 && kept[0].score && kept[1].n == N && !kept[1].score);
    sac_plan_free(&local);
    sac_plan_free(&far);
    sac_arena_free(&a);
}

/* Heads made for a pattern get it: all mass on three columns wants columns, all on the diagonal a window. */
static void search_follows_the_head(void **state)
{
    (void)state;
    enum { N = 320 };
    for (int criterion = 0; criterion < 2; criterion++) {
        struct sac_prefill_in in = make(N, 1, 1, 17);
        const char *spec = criterion ? "minference:density=0.3,local=8,tile=8,criterion=output"
                                     : "minference:density=0.3,local=8,tile=8";
        for (int r = 0; r < N; r++)
            for (int d = 0; d < D; d++) {
                q[r * D + d] = d == 0 ? 9.0f : 0;
                k[r * D + d] = d == 0 && (r == 40 || r == 90 || r == 131) ? 9.0f : 0;
            }
        struct sac_plan p;
        make_plan(spec, &in, 0, &p);
        for (int r = 140; r < N; r++)
            assert_true(tile_reads(&p, r / p.tile, 40) && tile_reads(&p, r / p.tile, 90) &&
                        tile_reads(&p, r / p.tile, 131));
        sac_plan_free(&p);
    }
}

static void draws_repeat(void **state)
{
    (void)state;
    struct sac_prefill_in in = make(300, 2, 1, 19);
    struct sac_plan p[4];
    for (int i = 0; i < 4; i++) {
        in.seed = i == 2 ? 2 : 1;
        make_plan("random:token_budget=60,local=8", &in, i == 3, &p[i]);
    }
    assert_true(p[0].n_run == p[1].n_run && !memcmp(p[0].run, p[1].run, sizeof *p[0].run * p[0].n_run));
    for (int i = 2; i < 4; i++)      /* another seed, another head */
        assert_true(p[0].n_run != p[i].n_run ||
                    memcmp(p[0].run, p[i].run, sizeof *p[0].run * p[0].n_run) != 0);
    for (int i = 0; i < 4; i++) sac_plan_free(&p[i]);
}

int main(void)
{
    k_cpu_init(k_level_find(getenv("SACCADE_CPU")));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xattention),
        cmocka_unit_test(spargeattn),
        cmocka_unit_test(moba),
        cmocka_unit_test(expected_attention),
        cmocka_unit_test(h2o_after_the_prompt),
        cmocka_unit_test(h2o_in_decode),
        cmocka_unit_test(tova_drops_the_least),
        cmocka_unit_test(duo_finds_the_local_head),
        cmocka_unit_test(search_follows_the_head),
        cmocka_unit_test(draws_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
