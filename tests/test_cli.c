/* What the commands print, read as a script would read it: JSON in the documented forms, safetensors with the
 * documented tensors. Exit codes and messages are check_cli.sh's part. */
#include "file/tensors.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/saccade-cli-XXXXXX";

/* Run the program; the exit code must be `want`. Returns what it printed, malloc'ed. */
static char *run(int want, const char *args)
{
    char line[2048];
    snprintf(line, sizeof line, "'%s' %s", SACCADE_BIN, args);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    size_t n = 0, cap = 1 << 16;
    char *out = malloc(cap);
    for (size_t got; (got = fread(out + n, 1, cap - n - 1, p)) > 0;) {
        n += got;
        if (n == cap - 1) out = realloc(out, cap *= 2);
    }
    out[n] = '\0';
    int rc = pclose(p);
    if (!WIFEXITED(rc) || WEXITSTATUS(rc) != want)
        fail_msg("saccade %s: status %d, expected %d", args, rc, want);
    return out;
}

static json_t *run_json(const char *args)
{
    char *out = run(0, args);
    json_error_t e;
    json_t *v = json_loads(out, 0, &e);
    if (!v) fail_msg("saccade %s: %s in: %.300s", args, e.text, out);
    free(out);
    return v;
}

/* The value at "a.b.c"; it must exist. */
static json_t *at(json_t *v, const char *path)
{
    char key[64];
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, ".");
        snprintf(key, sizeof key, "%.*s", (int)len, p);
        v = json_object_get(v, key);
        if (!v) fail_msg("no %s", path);
        p += len + (p[len] == '.');
    }
    return v;
}

static double num(json_t *v, const char *path)
{
    json_t *x = at(v, path);
    if (!json_is_number(x)) fail_msg("%s is not a number", path);
    return json_number_value(x);
}

static const char *str(json_t *v, const char *path)
{
    json_t *x = at(v, path);
    if (!json_is_string(x)) fail_msg("%s is not a text", path);
    return json_string_value(x);
}

static void share(json_t *v, const char *path)
{
    double x = num(v, path);
    if (!(x >= 0 && x <= 1 + 1e-6)) fail_msg("%s is %g, not a share", path, x);
}

/* ---- run ---- */

static void test_run_form(void **state)
{
    (void)state;
    json_t *r =
        run_json("run --task niah --length 1024 --sample 3 --seed 43 --method vertical_slash:sparsity=0.8 "
                 "--method quest:token_budget=256,page_size=16 --json");
    assert_string_equal(str(r, "schema"), "saccade.run/1");
    assert_true(*str(r, "model"));
    double tokens = num(r, "prompt.tokens");
    assert_true(tokens >= 0.9 * 1024 && tokens <= 1024);
    assert_string_equal(str(r, "task.name"), "niah");
    assert_int_equal(num(r, "task.length"), 1024);
    assert_int_equal(num(r, "task.seed"), 43);
    const char *gold = str(r, "task.gold");

    json_t *lanes = at(r, "lanes");
    static const char *const methods[] = { "dense", "vertical_slash:sparsity=0.8",
                                           "quest:token_budget=256,page_size=16" };
    assert_int_equal(json_array_size(lanes), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *l = json_array_get(lanes, i);
        assert_string_equal(str(l, "method"), methods[i]);
        assert_string_equal(str(l, "state"), "done");
        assert_true(json_array_size(at(l, "tokens")) > 0);
        share(l, "score");
        assert_true(json_is_boolean(at(l, "parsed")));
        share(l, "density.prefill.pattern");
        share(l, "density.prefill.kernel");
        assert_true(num(l, "density.prefill.work") > 0);
        assert_true(num(l, "density.decode.read") > 0);
        share(l, "recall.mass");
        share(l, "recall.set");
        share(l, "recall.oracle");
        share(l, "recall.evidence");
        assert_true(num(l, "recall.oracle") >= num(l, "recall.mass") - 1e-5);
        if (i) assert_true(num(l, "kl") >= -1e-5);
        assert_true(num(l, "timing.decode_s") > 0);
        assert_true(num(l, "timing.decode_tok_s") > 0);
        num(l, "timing.prefill_s");
        num(l, "timing.select_s");
        num(l, "timing.attend_s");
        assert_true(num(l, "memory.kv_bytes") > 0);
        assert_true(num(l, "memory.peak_bytes") > 0);
    }
    json_t *dense = json_array_get(lanes, 0), *vs = json_array_get(lanes, 1),
           *quest = json_array_get(lanes, 2);
    assert_string_equal(str(dense, "answer"), gold);
    assert_string_equal(str(dense, "stop"), "eos");
    assert_true(num(dense, "score") == 1);
    assert_true(num(dense, "recall.mass") > 0.9999);
    assert_true(num(vs, "density.prefill.kernel") < 0.6);
    assert_true(num(quest, "density.decode.read") < 0.6);
    assert_int_equal(num(quest, "params.token_budget"), 256);
    assert_int_equal(num(quest, "params.page_size"), 16);
    json_decref(r);
}

/* The parts of a result that must not depend on when it was made. */
static json_t *without_time(json_t *r)
{
    size_t i;
    json_t *l;
    json_array_foreach(at(r, "lanes"), i, l) {
        json_object_del(l, "timing");
        json_object_del(l, "memory");
    }
    return r;
}

static void test_run_twice(void **state)
{
    (void)state;
    const char *args =
        "run --task story_multihop --length 700 --method snapkv:sparsity=0.7 --temperature 0.8 --top-p 0.9 "
        "--seed 5 --json";
    json_t *a = without_time(run_json(args)), *b = without_time(run_json(args));
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
}

static void test_run_prompt(void **state)
{
    (void)state;
    json_t *r = run_json("run --raw --prompt 'Once upon a time there was a king who' --max-tokens 12 --json");
    assert_true(json_is_null(at(r, "task")));
    json_t *l = json_array_get(at(r, "lanes"), 0);
    assert_int_equal(json_array_size(at(l, "tokens")), 12);
    assert_string_equal(str(l, "stop"), "length");
    assert_true(json_is_null(at(l, "score")));
    json_decref(r);
}

static void test_run_kv_types(void **state)
{
    (void)state;
    double bytes[3];
    static const char *const type[] = { "f32", "f16", "bf16" };
    for (int i = 0; i < 3; i++) {
        char args[200];
        snprintf(args, sizeof args, "run --task niah --length 600 --kv %s --json --no-recall --no-kl",
                 type[i]);
        json_t *r = run_json(args);
        json_t *l = json_array_get(at(r, "lanes"), 0);
        assert_true(num(l, "score") == 1);
        bytes[i] = num(l, "memory.kv_bytes");
        json_decref(r);
    }
    assert_true(bytes[1] < 0.6 * bytes[0] && bytes[2] < 0.6 * bytes[0]);
}

/* ---- tokenize ---- */

static void test_tokenize(void **state)
{
    (void)state;
    static const char text[] = "A na\xc3\xafve \xe6\xbc\xa2\xe5\xad\x97 test \xf0\x9f\xa6\x86, 12345.";
    char args[200];
    snprintf(args, sizeof args, "tokenize --text '%s' --json", text);
    json_t *r = run_json(args);
    json_t *ids = at(r, "ids"), *spans = at(r, "spans");
    assert_int_equal(json_array_size(ids), json_array_size(spans));
    int end = 0;
    size_t i;
    json_t *s;
    json_array_foreach(spans, i, s) {
        /* Tokens tile the text: each begins where the last one ended. */
        assert_int_equal(json_integer_value(json_array_get(s, 0)), end);
        end = (int)json_integer_value(json_array_get(s, 1));
    }
    assert_int_equal(end, sizeof text - 1);
    json_decref(r);

    json_t *special = run_json("tokenize --text '<|im_end|>' --json");
    json_t *plain = run_json("tokenize --text '<|im_end|>' --no-special --json");
    assert_int_equal(json_array_size(at(special, "ids")), 1);
    assert_int_equal(json_integer_value(json_array_get(at(special, "ids"), 0)), 2);
    assert_true(json_array_size(at(plain, "ids")) > 1);
    json_decref(special);
    json_decref(plain);
}

/* ---- info ---- */

static void test_info(void **state)
{
    (void)state;
    json_t *r = run_json("info --json");
    assert_string_equal(str(r, "schema"), "saccade.info/1");
    assert_string_equal(str(r, "arch"), "qwen3");
    assert_string_equal(str(r, "template"), "chatml");
    assert_string_equal(str(r, "prompt_style"), "compact");
    assert_int_equal(num(r, "context"), 16384);
    assert_int_equal(num(r, "shape.layers"), 10);
    assert_int_equal(num(r, "shape.heads"), 8);
    assert_int_equal(num(r, "shape.kv_heads"), 2);
    assert_int_equal(num(r, "shape.vocabulary"), 8192);
    assert_true(num(r, "parameters") > 31e6 && num(r, "parameters") < 33e6);
    assert_true(num(r, "forecast.total_bytes") > num(r, "forecast.kv_bytes"));
    json_decref(r);
}

/* ---- bench ---- */

/* The forms scripts rely on, and densities that do not depend on where they are counted; no times. */
static void test_bench(void **state)
{
    (void)state;
    static const struct { const char *method, *phase; int tokens; } want[] = {
        { "dense", "prefill", 600 }, { "block_sparse:sparsity=0.5", "prefill", 600 },
        { "dense", "decode", 300 },  { "quest:sparsity=0.5", "decode", 300 },
    };
    const char *const args = "bench --prefill 600 --decode 2 --context 300 --repeats 1 --threads 1 --quiet "
                             "--json --method block_sparse:sparsity=0.5 --method quest:sparsity=0.5";
    char cold[400];
    snprintf(cold, sizeof cold, "%s --cold", args);
    json_t *r = run_json(args), *c = run_json(cold), *row;
    size_t i;
    assert_string_equal(str(r, "schema"), "saccade.bench/1");
    assert_true(json_is_true(at(r, "warm_up")) && json_is_false(at(c, "warm_up")));
    json_t *top = json_array_get(at(r, "ceilings"), 0);
    assert_true(num(top, "f32_gflops") > 0 && num(top, "read_gbytes_s") > 0);
    assert_int_equal(json_array_size(at(r, "rows")), 4);
    json_array_foreach(at(r, "rows"), i, row) {
        bool prefill = !strcmp(want[i].phase, "prefill"), dense = !strcmp(want[i].method, "dense");
        json_t *twin = json_array_get(at(c, "rows"), i);
        const char *density = prefill ? "density.work" : "density.read";
        assert_string_equal(str(row, "method"), want[i].method);
        assert_string_equal(str(row, "phase"), want[i].phase);
        assert_int_equal(num(row, "tokens"), want[i].tokens);
        assert_true(num(row, "tok_s") > 0 && num(row, "attend_seconds") > 0);
        assert_true(num(row, "attend_seconds") < num(row, "seconds") || !prefill);
        assert_true(num(row, prefill ? "gflops" : "gbytes_s") > 0);
        assert_true(!dense || (num(row, "ratio_to_dense") == 1 && num(row, density) == 1));
        assert_true(dense || (num(row, density) < 1 && num(row, "select_seconds") > 0));
        assert_true(num(row, density) == num(twin, density));
        assert_true(num(row, "of_ceiling") > 0);      /* of the rates that are told */
        double rate = num(row, prefill ? "gflops" : "gbytes_s"), least = num(top, "read_gbytes_s");
        assert_true(prefill || fabs(num(row, "of_ceiling") * least - rate) < 1e-6 * rate);
    }
    json_decref(r);
    json_decref(c);
}

/* What the bare loop reads is what the steps read; a method that evicts has a smaller cache, read whole. */
static void test_bench_reads(void **state)
{
    (void)state;
    json_t *r = run_json("bench --decode 3 --context 900 --quiet --json --method random:sparsity=0.8 "
                         "--method streaming_llm:sparsity=0.8 --method duo:sparsity=0.5"), *row;
    size_t i;
    assert_int_equal(json_array_size(at(r, "rows")), 4);
    json_array_foreach(at(r, "rows"), i, row) {
        if (i == 0) assert_true(json_is_null(at(row, "bare_read_share")));
        if (i == 0) continue;
        double share = num(row, "bare_read_share"), read = num(row, "density.read");
        assert_true(share > 0.9 * read && share < 1.1 * read && read < 0.8);
        assert_true(num(row, "bare_read_to_density") > 0);
    }
    json_decref(r);
}

/* ---- logits ---- */

static void write_ids(const char *path, const int *ids, int n)
{
    struct st_writer *w = NULL;
    struct sac_err err = { SAC_OK, "" };
    int64_t shape[1] = { n };
    if (st_create(&w, path, true, &err) || st_add(w, "ids", ST_I32, 1, shape, ids, &err) ||
        st_finish(w, &err))
        fail_msg("%s", err.msg);
}

static void test_logits(void **state)
{
    (void)state;
    enum { N = 37, LAYERS = 10, HEADS = 8 };
    char in[128], out[128], args[400];
    int ids[N];
    for (int i = 0; i < N; i++) ids[i] = 300 + 97 * i % 7000;
    snprintf(in, sizeof in, "%s/ids.safetensors", folder);
    snprintf(out, sizeof out, "%s/out.safetensors", folder);
    write_ids(in, ids, N);
    snprintf(args, sizeof args, "logits --ids '%s' --hidden --attn -o '%s'", in, out);
    free(run(0, args));

    struct st_file f;
    struct sac_err err = { SAC_OK, "" };
    if (st_open(&f, out, &err)) fail_msg("%s", err.msg);
    const struct st_tensor *t = st_find(&f, "logits");
    assert_non_null(t);
    assert_int_equal(t->dtype, ST_F32);
    assert_int_equal(t->shape[0], N);
    assert_int_equal(t->shape[1], 8192);
    for (int l = 0; l <= LAYERS; l++) {
        char name[32];
        snprintf(name, sizeof name, "hidden.%d", l);
        t = st_find(&f, name);
        assert_non_null(t);
        assert_int_equal(t->shape[0], N);
        assert_int_equal(t->shape[1], 512);
        snprintf(name, sizeof name, "attn.%d", l);
        t = st_find(&f, name);
        if (l == LAYERS) {
            assert_null(t);
            continue;
        }
        assert_non_null(t);
        assert_int_equal(t->shape[0], HEADS);
        assert_int_equal(t->shape[1], N);
        const float *w = t->data;
        for (int row = 0; row < HEADS * N; row++) {
            double sum = 0, ahead = 0;
            for (int k = 0; k < N; k++) *(k <= row % N ? &sum : &ahead) += (double)w[row * N + k];
            /* N products of f32 rounding each, and nothing above the diagonal. */
            if (!(fabs(sum - 1) < 1e-5) || ahead != 0)
                fail_msg("attn.%d row %d sums to %g, %g ahead", l, row, sum, ahead);
        }
    }
    st_close(&f);
    ids[5] = 9000;
    write_ids(in, ids, N);
    snprintf(args, sizeof args, "logits --ids '%s' -o '%s' 2>/dev/null", in, out);
    free(run(3, args));
    unlink(in);
    unlink(out);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : 1;
}

static int drop_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_form),   cmocka_unit_test(test_run_twice),
        cmocka_unit_test(test_run_prompt), cmocka_unit_test(test_run_kv_types),
        cmocka_unit_test(test_tokenize),   cmocka_unit_test(test_info),
        cmocka_unit_test(test_bench),      cmocka_unit_test(test_bench_reads),
        cmocka_unit_test(test_logits),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
