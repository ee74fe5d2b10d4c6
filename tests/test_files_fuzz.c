/* Replays the fuzz corpora, every file cut short at each length and with bytes changed. A crash, a hang or a
 * sanitizer report is the failure; whether a file is accepted is the business of other tests. */
#define LLVMFuzzerTestOneInput fuzz_gguf
#include "fuzz/fuzz_gguf.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_safetensors
int fuzz_safetensors(const uint8_t *data, size_t size);
#include "fuzz/fuzz_safetensors.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_config
int fuzz_config(const uint8_t *data, size_t size);
#include "fuzz/fuzz_config.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_tokenizer
int fuzz_tokenizer(const uint8_t *data, size_t size);
#include "fuzz/fuzz_tokenizer.c"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { CUTS = 400, CHANGES = 300 };

typedef int target(const uint8_t *data, size_t size);

static uint32_t next_random(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*s >> 32);
}

/* Copies of exact size, so that a sanitizer sees the first byte read too far. */
static void feed(target *fn, const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n) memcpy(copy, data, n);
    fn(copy, n);
    free(copy);
}

static void replay(target *fn, const uint8_t *data, size_t n)
{
    static const uint64_t absurd[] = { 0, 1, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0xffffffffffffffff };
    uint64_t seed = n;
    feed(fn, data, n);
    for (int i = 0; i < CUTS; i++) feed(fn, data, n <= CUTS ? (size_t)i % (n + 1) : n * (size_t)i / CUTS);
    uint8_t *copy = malloc(n + 8);
    assert_non_null(copy);
    for (int i = 0; i < CHANGES && n > 8; i++) {
        memcpy(copy, data, n);
        size_t at = next_random(&seed) % (n - 8);
        if (i % 2) memcpy(copy + at, &absurd[next_random(&seed) % 6], i % 4 == 1 ? 8 : 4);
        else for (int k = 0; k < 3; k++) copy[next_random(&seed) % n] = (uint8_t)next_random(&seed);
        feed(fn, copy, n);
    }
    free(copy);
}

static void replay_folder(const char *name, target *fn)
{
    char path[1024];
    int n_files = 0;
    snprintf(path, sizeof path, TEST_DIR "/fuzz/corpus/%s", name);
    DIR *d = opendir(path);
    if (!d) fail_msg("%s: cannot be listed", path);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, TEST_DIR "/fuzz/corpus/%s/%s", name, e->d_name);
        struct file_map m;
        if (map_open(&m, path, NULL)) fail_msg("%s: cannot be read", path);
        replay(fn, m.data, m.size);
        map_close(&m);
        n_files++;
    }
    closedir(d);
    assert_true(n_files > 0);
}

static void test_gguf(void **state) { (void)state; replay_folder("gguf", fuzz_gguf); }
static void test_safetensors(void **state) { (void)state; replay_folder("safetensors", fuzz_safetensors); }
static void test_config(void **state) { (void)state; replay_folder("config", fuzz_config); }
static void test_tokenizer(void **state) { (void)state; replay_folder("tokenizer", fuzz_tokenizer); }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_gguf), cmocka_unit_test(test_safetensors),
                                        cmocka_unit_test(test_config), cmocka_unit_test(test_tokenizer) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
