/* labels: core
 * test_formats.c - the small formats: NumPy's arrays, SHA-256, and what a
 * model folder must hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "format/hf.h"
#include "format/jsonl.h"
#include "format/npy.h"
#include "format/sha256.h"
#include "golden/golden.h"

/* --- npy ------------------------------------------------------------------------ */

static size_t npy_bytes(unsigned char *out, int version, const char *header, const void *data, size_t n_data)
{
    size_t n = strlen(header), start = version == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)version;
    out[7] = 0;
    for (size_t i = 8; i < start; i++) out[i] = (unsigned char)(n >> 8 * (i - 8));
    memcpy(out + start, header, n);
    if (n_data) memcpy(out + start + n, data, n_data);
    return start + n + n_data;
}

static void test_npy_golden(void **state)
{
    (void)state;
    genet_err err = { 0 };
    npy a;
    if (!genet__npy_open(&a, golden_path("gpt2/batches.npy"), &err)) fail_msg("%s", err.text);
    assert_true(a.rank == 3 && a.dim[0] == 20 && a.dim[1] == 4 && a.dim[2] == 17);
    assert_true(a.kind == 'i' && a.element_bytes == 4 && a.numel == 20 * 4 * 17);
    for (int64_t i = 0; i < a.numel; i++) assert_in_range(genet__npy_int(&a, i), 0, 64);
    genet__npy_close(&a);
    assert_false(genet__npy_open(&a, "/nowhere.npy", &err));
}

static void test_npy_types(void **state)
{
    (void)state;
    static const struct { const char *descr, data[9]; size_t n; double want; } row[] = {
        { "|i1", "\xfe", 1, -2 },
        { "|u1", "\xfe", 1, 254 },
        { "<i2", "\xfe\xff", 2, -2 },
        { "<u2", "\x34\x12", 2, 0x1234 },
        { "<i4", "\xfe\xff\xff\xff", 4, -2 },
        { "<u4", "\xff\xff\xff\xff", 4, 4294967295.0 },
        { "<i8", "\xfe\xff\xff\xff\xff\xff\xff\xff", 8, -2 },
        { "<f4", "\0\0\x20\xc0", 4, -2.5 },
        { "<f8", "\0\0\0\0\0\0\x04\xc0", 8, -2.5 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int version = 1; version <= 2; version++) {
            unsigned char bytes[200];
            char header[100];
            genet_err err = { 0 };
            npy a;
            snprintf(header, sizeof header, "{'shape': (1,), \"fortran_order\": False, 'descr': '%s'}   \n",
                     row[i].descr);
            if (!genet__npy_parse(&a, bytes, npy_bytes(bytes, version, header, row[i].data, row[i].n), "x.npy", &err))
                fail_msg("%s", err.text);
            assert_true(genet__npy_double(&a, 0) == row[i].want);
            assert_int_equal(genet__npy_int(&a, 0), (int64_t)row[i].want);
        }
}

static void test_npy_broken(void **state)
{
    (void)state;
    static const struct { const char *header; size_t n_data; const char *words; } row[] = {
        { "{'descr': '>i4', 'fortran_order': False, 'shape': (1,), }", 4, "'>i4'" },
        { "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", 8, "'<c8'" },
        { "{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", 4, "'<U1'" },
        { "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 2), }", 16, "Fortran order" },
        { "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }", 4, "does not fit the 4 bytes" },
        { "{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }", 8, "does not fit the 8 bytes" },
        { "{'descr': '<i4', 'fortran_order': False, 'shape': (4611686018427387904,), }", 0, "does not fit" },
        { "{'descr': '<i4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 0, "header is not" },
        { "{'descr': '<i4', 'fortran_order': False, 'shape': (-1,), }", 0, "header is not" },
        { "{'descr': '<i4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", 4, "header is not" },
        { "{'descr': '<i4', 'fortran_order': False, }", 4, "header is not" },
        { "{'descr': '<i4', 'fortran_order': Perhaps, 'shape': (1,)}", 4, "header is not" },
        { "{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,)}", 4, "header is not" },
        { "", 0, "header is not" },
    };
    unsigned char bytes[200];
    genet_err err = { 0 };
    npy a;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        assert_false(genet__npy_parse(&a, bytes, npy_bytes(bytes, 1, row[i].header, "0123456789abcdef", row[i].n_data),
                                      "x.npy", &err));
        if (!strstr(err.text, row[i].words) || !strstr(err.text, "x.npy"))
            fail_msg("\"%s\" lacks \"%s\"", err.text, row[i].words);
    }
    assert_false(genet__npy_parse(&a, "PK\3\4 a zip file", 16, "x.npz", &err));
    assert_non_null(strstr(err.text, "not a .npy file"));
}

/* --- sha256 ----------------------------------------------------------------------- */

static void expect_hash(const char *text, size_t repeat, const char *want)
{
    char hex[HASH_HEX];
    sha256 s;
    genet__sha256_init(&s);
    for (size_t i = 0; i < repeat; i++) genet__sha256_add(&s, text, strlen(text));
    genet__sha256_end(&s, hex);
    assert_string_equal(hex, want);
}

/* FIPS 180-4's examples, and its million letters. */
static void test_sha256(void **state)
{
    (void)state;
    expect_hash("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_hash("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    expect_hash("aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* --- a model folder ----------------------------------------------------------------- */

static char folder[] = "/tmp/genet-test-hf-XXXXXX";

static void put(const char *name, const char *text)
{
    genet_err err = { 0 };
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!genet__file_write_all(path, text, strlen(text), &err)) fail_msg("%s", err.text);
}

static void expect_refused(const char *words)
{
    genet_err err = { 0 };
    hf_folder f;
    assert_false(genet__hf_open(&f, folder, true, &err));
    if (!strstr(err.text, words)) fail_msg("\"%s\" lacks \"%s\"", err.text, words);
    genet__hf_close(&f);
}

static void test_folder(void **state)
{
    (void)state;
    genet_err err = { 0 };
    hf_folder f;
    if (!genet__hf_open(&f, golden_path("gpt2"), true, &err)) fail_msg("%s", err.text);
    assert_string_equal(f.model_type, "gpt2");
    assert_non_null(genet__shards_find(&f.weights, "transformer.wte.weight", NULL));
    genet__hf_close(&f);
    assert_false(genet__hf_open(&f, "/nowhere", true, &err));
    assert_non_null(strstr(err.text, "there is no folder /nowhere"));
    assert_false(genet__hf_open(&f, golden_path("types.safetensors"), true, &err));
    assert_non_null(strstr(err.text, "is a file"));
    assert_non_null(mkdtemp(folder));
    expect_refused("config.json is missing");
    put("config.json", "{\"model_type\": ");
    expect_refused("config.json:1:");
    put("config.json", "[]");
    expect_refused("config.json");
    put("config.json", "{\"model_type\": 5}");
    expect_refused("\"model_type\" must be a string");
    put("config.json", "{\"model_type\": \"gpt2\"}");
    expect_refused("model.safetensors is missing");
    put("pytorch_model.bin", "");
    expect_refused("pickle");
    put("model.safetensors.index.json", "{}");
    expect_refused("\"weight_map\" is no object");
    put("model.safetensors", "x");
    expect_refused("too few");
    assert_true(genet__hf_open(&f, folder, false, &err));
    genet__hf_close(&f);
    assert_true(genet__file_remove_tree(folder, &err));
}

/* --- JSON lines --------------------------------------------------------------------- */

/* Values of text, as "LINE:value" after each other; *r stays at the end. */
static const char *lines_of(jsonl *r, const char *text, size_t n, unsigned flags, genet_err *err)
{
    static char all[1000];
    str out = { 0 };
    json_t *j;
    genet__jsonl_parse(r, text, n, "x.jsonl", flags);
    while ((j = genet__jsonl_next(r, err))) {
        genet__str_printf(&out, "%d:", (int)r->line);
        genet__json_print(j, 0, &out);
        json_decref(j);
    }
    snprintf(all, sizeof all, "%s", genet__str(&out));
    genet__str_release(&out);
    return all;
}

static void test_jsonl(void **state)
{
    (void)state;
    static const struct { const char *text; unsigned flags; const char *values, *words; bool torn; } row[] = {
        { "", 0, "", NULL, false },
        { "\n \n\t\r\n", 0, "", NULL, false },
        { "{\"a\": 1}\n[2]\n", 0, "1:{\"a\": 1}2:[2]", NULL, false },
        { "\xef\xbb\xbf[1]\r\n\r\n\n[2]\r\n", 0, "1:[1]4:[2]", NULL, false },
        { "[1]\n[2]", 0, "1:[1]2:[2]", NULL, false },
        { "[1]\n{\"step\": 2, \"lo", JSONL_TORN_OK, "1:[1]", NULL, true },
        { "[1]\n{\"step\": 2, \"lo", 0, "1:[1]", "x.jsonl: line 2, column ", false },
        { "[1]\n{\"step\": 2, \"lo\n[3]\n", JSONL_TORN_OK, "1:[1]", "x.jsonl: line 2, column ", false },
        { "[1]\n\n[1,\n[3]\n", 0, "1:[1]", "x.jsonl: line 3, column 3: ", false },
        { "[1] [2]\n", 0, "", "x.jsonl: line 1, column 5: end of file expected", false },
        { "{\"a\": 1, \"a\": 2}\n", 0, "", "duplicate", false },
        { "[NaN]\n", 0, "", "x.jsonl: line 1, column ", false },
        { "7\n", 0, "", "x.jsonl: line 1, column ", false },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        genet_err err = { 0 };
        jsonl r;
        assert_string_equal(lines_of(&r, row[i].text, strlen(row[i].text), row[i].flags, &err), row[i].values);
        assert_int_equal(r.failed, row[i].words != NULL);
        assert_int_equal(r.torn, row[i].torn);
        if (row[i].words && !strstr(err.text, row[i].words)) fail_msg("\"%s\" lacks \"%s\"", err.text, row[i].words);
        if (!row[i].words) assert_string_equal(err.text, "");
        assert_null(genet__jsonl_next(&r, NULL));           /* the end stays the end */
    }
    genet_err err = { 0 };
    jsonl r;
    size_t n = JSONL_LINE_MAX + 10;
    char *text = malloc(n);
    memset(text, ' ', n);
    memcpy(text, "[1]\n[", 5);
    assert_string_equal(lines_of(&r, text, n, JSONL_TORN_OK, &err), "1:[1]");
    assert_true(r.torn);
    text[n - 1] = '\n';
    lines_of(&r, text, n, JSONL_TORN_OK, &err);
    assert_non_null(strstr(err.text, "x.jsonl: line 2: 16777221 bytes; a line has at most 16777216"));
    free(text);
}

static void test_jsonl_file(void **state)
{
    (void)state;
    genet_err err = { 0 };
    jsonl r;
    char path[] = "/tmp/genet-test-jsonl-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "{\"step\": 1}\n{\"st", 16) == 16 && close(fd) == 0);
    assert_true(genet__jsonl_open(&r, path, JSONL_TORN_OK, &err));
    json_t *j = genet__jsonl_next(&r, &err);
    assert_int_equal(json_integer_value(json_object_get(j, "step")), 1);
    json_decref(j);
    assert_null(genet__jsonl_next(&r, &err));
    assert_true(r.torn && !r.failed);
    genet__jsonl_close(&r);
    assert_int_equal(unlink(path), 0);
    assert_false(genet__jsonl_open(&r, path, 0, &err));
    assert_true(r.failed && strstr(err.text, path));
    genet__jsonl_close(&r);
}

static void test_jsonl_depth(void **state)
{
    (void)state;
    size_t n = 100000;
    char *text = malloc(n);
    memset(text, '[', n);
    genet_err err = { 0 };
    jsonl r;
    lines_of(&r, text, n, 0, &err);
    assert_non_null(strstr(err.text, "x.jsonl: line 1, column 513: more than 512 levels of brackets"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy_golden), cmocka_unit_test(test_npy_types), cmocka_unit_test(test_npy_broken),
        cmocka_unit_test(test_sha256), cmocka_unit_test(test_folder),
        cmocka_unit_test(test_jsonl), cmocka_unit_test(test_jsonl_file), cmocka_unit_test(test_jsonl_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
