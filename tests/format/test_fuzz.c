/* labels: core
 * test_fuzz.c - the fuzz targets as an ordinary test: each runs over good
 * seeds and a few thousand damaged ones (cut, bytes changed, pieces moved and
 * repeated), the same every time.  A target traps when something is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/alloc.h"
#include "base/file.h"
#include "base/rng.h"
#include "golden/golden.h"

#define LLVMFuzzerTestOneInput fuzz_safetensors
#include "../../fuzz/safetensors.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_npy
#include "../../fuzz/npy.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_tokenizer
#include "../../fuzz/tokenizer.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_table
#include "../../fuzz/table.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_gguf
#include "../../fuzz/gguf.c"
#undef LLVMFuzzerTestOneInput
/* Their helpers have the same names as others'. */
#define use use_config
#define LLVMFuzzerTestOneInput fuzz_config
#include "../../fuzz/config.c"
#undef LLVMFuzzerTestOneInput
#undef use
#define print_and_compare print_and_compare_line
#define LLVMFuzzerTestOneInput fuzz_jsonl
#include "../../fuzz/jsonl.c"
#undef LLVMFuzzerTestOneInput
#undef print_and_compare
#define render render_chat
#define LLVMFuzzerTestOneInput fuzz_chat
#include "../../fuzz/chat.c"
#undef LLVMFuzzerTestOneInput
#undef render
#define LLVMFuzzerTestOneInput fuzz_jinja
#include "../../fuzz/jinja.c"
#undef LLVMFuzzerTestOneInput

enum { ROUNDS = 3000, SEED_MAX = 4096 };

typedef int target(const uint8_t *data, size_t size);

static uint32_t draw(uint32_t round, int *at, size_t n)
{
    return (uint32_t)genet__rng_below(1, 7, round, (uint64_t)(*at)++, n);
}

/* One to four changes of data[0 .. n); the new length, at most 2 * SEED_MAX. */
static size_t damage(uint8_t *data, size_t n, uint32_t round)
{
    static const char interesting[] = "\0\xff\x80\n\r\",;:{}[]()'0-9eE.\\\x1f\xc3";
    int at = 0, changes = 1 + (int)draw(round, &at, 4);
    for (int i = 0; i < changes && n > 0; i++) {
        size_t place = draw(round, &at, n), length = 1 + draw(round, &at, n - place < 40 ? n - place : 40);
        uint32_t what = draw(round, &at, 6);
        if (what == 0) n = place;                                                   /* cut */
        if (what == 1) data[place] = (uint8_t)draw(round, &at, 256);
        if (what == 2) data[place] = (uint8_t)interesting[draw(round, &at, sizeof interesting - 1)];
        if (what == 3) data[place] ^= (uint8_t)(1u << draw(round, &at, 8));
        if (what == 4 && n + length <= 2 * SEED_MAX) {                              /* repeat */
            memmove(data + place + length, data + place, n - place);
            n += length;
        }
        if (what == 5) {                                                            /* remove */
            memmove(data + place, data + place + length, n - place - length);
            n -= length;
        }
    }
    return n;
}

static void run(target *f, const void *seed, size_t n)
{
    uint8_t data[2 * SEED_MAX];
    if (n > SEED_MAX) n = SEED_MAX;
    f(seed, n);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        memcpy(data, seed, n);
        f(data, damage(data, n, round));
    }
}

static void run_file(target *f, const char *name)
{
    genet_err err = { 0 };
    size_t n = 0;
    char *seed = genet__file_read(golden_path(name), SEED_MAX, &n, &err);
    if (!seed) fail_msg("%s", err.text);
    run(f, seed, n);
    genet__free(seed);
}

static void test_safetensors(void **state)
{
    (void)state;
    run_file(fuzz_safetensors, "types.safetensors");
    static const char small[] = "\x38\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}  "
                                "12345678";
    run(fuzz_safetensors, small, sizeof small - 1);
}

static void test_gguf(void **state)
{
    (void)state;
    run_file(fuzz_gguf, "gguf/pieces.gguf");
    run_file(fuzz_gguf, "gguf/bytes.gguf");
}

static void test_npy(void **state)
{
    (void)state;
    run_file(fuzz_npy, "char/ids.npy");
}

static void test_tokenizer(void **state)
{
    (void)state;
    run_file(fuzz_tokenizer, "char/tokenizer.json");
}

static void test_table(void **state)
{
    (void)state;
    static const char simple[] = "a,b,name\n1,2.5,x\n3,,\"y, z\"\n-4e2,NA,\"say \"\"hi\"\"\"\r\n\n7,8,x\n";
    static const char tabs[] = "\xef\xbb\xbf" "a\tb\n1\t 2 \n\"3\"\t4";
    run(fuzz_table, simple, sizeof simple - 1);
    run(fuzz_table, tabs, sizeof tabs - 1);
}

static void test_config(void **state)
{
    (void)state;
    run_file(fuzz_config, "hf/sharded/config.json");
    run_file(fuzz_config, "hf/tied/config.json");
    static const char tables[] =
        "{\"model_type\": \"mlp\", \"n_input\": 3, \"n_output\": 2, \"hidden_layer_sizes\": [4, 5]}";
    run(fuzz_config, tables, sizeof tables - 1);
}

static void test_jinja(void **state)
{
    (void)state;
    run_file(fuzz_jinja, "jinja/turns.jinja");
    run_file(fuzz_jinja, "jinja/headers.jinja");
}

static void test_chat(void **state)
{
    (void)state;
    static const char talk[] = "[{\"role\": \"user\", \"content\": \"h\u00e9 'x'\", \"meta\": {\"b\": 1.5, \"a\": [null, true]}},"
                               " {\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"yes\"}], \"reasoning\": \"r\"}]";
    run(fuzz_chat, talk, sizeof talk - 1);
}

static void test_jsonl(void **state)
{
    (void)state;
    static const char lines[] = "{\"step\": 1, \"loss\": 4.25e-3, \"val\": null}\n\n[1, \"\\u00e9 \\n\", true]\r\n"
                                "{\"a\": {\"b\": [12345678901234567890]}}\n{\"step\": 2, \"lo";
    run(fuzz_jsonl, lines, sizeof lines - 1);
    run_file(fuzz_jsonl, "hf/old/config.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors), cmocka_unit_test(test_gguf), cmocka_unit_test(test_npy), cmocka_unit_test(test_tokenizer),
        cmocka_unit_test(test_table), cmocka_unit_test(test_config), cmocka_unit_test(test_jsonl),
        cmocka_unit_test(test_jinja), cmocka_unit_test(test_chat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
