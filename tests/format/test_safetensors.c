/* labels: core
 * test_safetensors.c - files of Hugging Face's library are read to the last
 * bit, ours come back as they were, and whatever lies is refused in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/half.h"
#include "format/safetensors.h"
#include "golden/golden.h"

static char path[] = "/tmp/genet-test-safetensors-XXXXXX";

/* --- what lies is refused ----------------------------------------------------- */

static const struct { const char *header; int n_data; const char *words; } broken[] = {
    { "", 0, "not a JSON object" },
    { "[]", 0, "not a JSON object" },
    { " {}", 0, "not a JSON object" },
    { "{", 0, ":1:" },
    { "{}", 4, "4 bytes at the end belong to no tensor" },
    { "{\"a\":3}", 0, "its entry is not an object" },
    { "{\"a\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4, "\"dtype\" is missing" },
    { "{\"a\":{\"dtype\":4,\"shape\":[],\"data_offsets\":[0,4]}}", 4, "\"dtype\" is missing or not a string" },
    { "{\"a\":{\"dtype\":\"F33\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "unknown dtype \"F33\"" },
    { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "\"shape\" is not a list" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "\"shape\" is not a list" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "\"shape\" is not a list" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "at most 8 sizes" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
      "more elements than fit" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
      "more elements than fit" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4,
      "\"shape\" is not a list" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "\"data_offsets\" is not a pair" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "\"data_offsets\" is not a pair" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "\"data_offsets\" is not a pair" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "\"data_offsets\" is not a pair" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "leave the file's 4 bytes" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "leave the file's 4 bytes" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775803,9223372036854775807]}}", 4,
      "leave the file's" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
      "its shape needs 8 bytes of F32, its offsets hold 4" },
    { "{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "its shape needs 2 bytes of F16" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
      "tensor a: there is a hole before its bytes" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, "4 bytes at the end" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
      "\"data_offsets\":[4,8]}}",
      8, "tensor b: its bytes overlap" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
      "\"data_offsets\":[0,4]}}",
      4, "duplicate" },
    { "{\"a\\u001b[2J\":3}", 0, "tensor a?[2J: its entry" },
    { "{\"__metadata__\":{\"a\":1}}", 0, "\"__metadata__\" is not an object of strings" },
    { "{\"__metadata__\":[]}", 0, "\"__metadata__\" is not an object of strings" },
};

static size_t assemble(unsigned char *out, const char *header, uint64_t claimed, int n_data)
{
    size_t n = strlen(header);
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)(claimed >> 8 * i);
    memcpy(out + 8, header, n);
    memset(out + 8 + n, 0, (size_t)n_data);
    return 8 + n + (size_t)n_data;
}

static void refuse(const void *bytes, size_t n, const char *words)
{
    genet_err err = { 0 };
    safetensors s;
    if (genet__safetensors_parse(&s, bytes, n, "bad.safetensors", &err)) fail_msg("accepted, wanted: %s", words);
    assert_int_equal(err.code, GENET_ERR_FORMAT);
    if (!strstr(err.text, words) || !strstr(err.text, "bad.safetensors"))
        fail_msg("\"%s\" lacks \"%s\"", err.text, words);
    genet__safetensors_close(&s);
}

static void test_broken(void **state)
{
    (void)state;
    unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        refuse(bytes, assemble(bytes, broken[i].header, strlen(broken[i].header), broken[i].n_data), broken[i].words);
    refuse("", 0, "too few");
    refuse(bytes, 7, "too few");
    refuse(bytes, assemble(bytes, "{}", 3, 0), "claims 3 bytes, of 2");
    refuse(bytes, assemble(bytes, "{}", UINT64_MAX, 0), "claims 18446744073709551615");
    refuse(bytes, assemble(bytes, "{}", UINT64_MAX - 7, 0), "claims");
}

/* Anything but printable characters becomes "?", and the end of what is long "...". */
static void test_shown(void **state)
{
    (void)state;
    char long_name[300];
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    assert_string_equal(SHOWN("h.0.attn"), "h.0.attn");
    assert_string_equal(SHOWN("a\x1b[2J\x7f\n"), "a?[2J??");
    assert_int_equal(strlen(SHOWN(long_name)), 103);
    assert_string_equal(SHOWN(long_name) + 99, "x...");
    long_name[100] = 0;
    assert_string_equal(SHOWN(long_name), long_name);
}

/* Where one value is not finite, at the seams of the blocks that are looked at, and at
 * any alignment. */
static void test_nonfinite(void **state)
{
    (void)state;
    enum { N = 10000 };
    static const int64_t place[] = { 0, 1, 4095, 4096, 4097, 8191, 8192, N - 1 };
    static const struct { int dtype; size_t bytes; uint64_t inf, nan, largest; } row[] = {
        { GENET_F32, 4, 0x7f800000u, 0xffc00001u, 0x7f7fffffu }, { GENET_F16, 2, 0xfc00u, 0x7c01u, 0x7bffu },
        { GENET_BF16, 2, 0x7f80u, 0xff81u, 0x7f7fu },
        { GENET_F64, 8, UINT64_C(0xfff0000000000000), UINT64_C(0x7ff8000000000000), UINT64_C(0x7fefffffffffffff) },
    };
    unsigned char *bytes = calloc(N + 1, 8);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (size_t k = 0; k < 2 * sizeof place / sizeof *place; k++) {
            unsigned char *start = bytes + k % 3, *at = start + (size_t)place[k / 2] * row[i].bytes;
            safetensor t = { .dtype = row[i].dtype, .numel = N, .at = start };
            memcpy(at, &row[i].largest, row[i].bytes);
            assert_int_equal(genet__safetensor_first_nonfinite(&t), -1);
            memcpy(at, k % 2 ? &row[i].inf : &row[i].nan, row[i].bytes);
            assert_int_equal(genet__safetensor_first_nonfinite(&t), place[k / 2]);
            memset(at, 0, row[i].bytes);
        }
    free(bytes);
}

static void test_every_half(void **state)
{
    (void)state;
    enum { N = 1 << 16 };
    uint16_t *half = malloc(N * sizeof *half);
    float *got = malloc(N * sizeof *got);
    for (int i = 0; i < N; i++) half[i] = (uint16_t)i;
    assert_true(genet__safetensor_to_f32(&(safetensor){ .dtype = GENET_F16, .numel = N, .at = (unsigned char *)half }, got));
    for (int i = 0; i < N; i++) {
        float want = genet__from_f16((uint16_t)i);
        if (memcmp(&want, &got[i], 4)) fail_msg("half %04x is %g, not %g", (unsigned)i, (double)got[i], (double)want);
    }
    free(half);
    free(got);
}

/* Every cut of a good file is refused. */
static void test_cut(void **state)
{
    (void)state;
    genet_err err = { 0 };
    size_t n;
    char *good = genet__file_read(golden_path("types.safetensors"), 1 << 20, &n, &err);
    assert_non_null(good);
    for (size_t i = 0; i < n; i++) refuse(good, i, "");
    genet__free(good);
}

static void test_missing(void **state)
{
    (void)state;
    genet_err err = { 0 };
    safetensors s;
    assert_false(genet__safetensors_open(&s, "/nowhere/model.safetensors", &err));
    assert_int_equal(err.code, GENET_ERR_IO);
    assert_non_null(strstr(err.text, "/nowhere/model.safetensors"));
    genet__safetensors_close(&s);
}

/* --- Hugging Face's files ----------------------------------------------------- */

static const safetensor *get(const safetensors *s, const char *name, const char *type, int dtype, int64_t numel)
{
    const safetensor *t = genet__safetensors_find(s, name);
    assert_non_null(t);
    assert_string_equal(t->type, type);
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(t->numel, numel);
    assert_int_equal(t->size_bytes, (size_t)numel * (size_t)t->element_bytes);
    return t;
}

static void expect_floats(const safetensor *t, const float *want)
{
    float got[8];
    assert_true(genet__safetensor_to_f32(t, got));
    for (int64_t i = 0; i < t->numel; i++)
        if (memcmp(&got[i], &want[i], 4))
            fail_msg("%s[%d]: %.9g, not %.9g", t->name, (int)i, (double)got[i], (double)want[i]);
}

static void test_types(void **state)
{
    (void)state;
    genet_err err = { 0 };
    safetensors s;
    if (!genet__safetensors_open(&s, golden_path("types.safetensors"), &err)) fail_msg("%s", err.text);
    assert_int_equal(s.n, 15);
    assert_string_equal(genet__safetensors_meta(&s, "note"), "every type");
    assert_null(genet__safetensors_meta(&s, "absent"));
    assert_null(genet__safetensors_find(&s, "absent"));
    expect_floats(get(&s, "f32", "F32", GENET_F32, 7), (float[]){ 0, -0.0f, 1, -2.5f, 65504, 1e-5f, 3.14159274f });
    expect_floats(get(&s, "f64", "F64", GENET_F64, 7), (float[]){ 0, -0.0f, 1, -2.5f, 65504, 1e-5f, 3.14159274f });
    expect_floats(get(&s, "f16", "F16", GENET_F16, 7), (float[]){ 0, -0.0f, 1, -2.5f, 65504, 0x1.5p-17f, 3.140625f });
    expect_floats(get(&s, "bf16", "BF16", GENET_BF16, 7), (float[]){ 0, -0.0f, 1, -2.5f, 65536, 0x1.5p-17f, 3.140625f });
    assert_int_equal(get(&s, "scalar", "F32", GENET_F32, 1)->rank, 0);
    const safetensor *empty = get(&s, "empty", "F32", GENET_F32, 0), *matrix = get(&s, "matrix", "F32", GENET_F32, 6);
    assert_true(empty->rank == 2 && empty->dim[0] == 0 && empty->dim[1] == 3);
    assert_true(matrix->rank == 2 && matrix->dim[0] == 2 && matrix->dim[1] == 3);
    int32_t i32[4];
    memcpy(i32, get(&s, "i32", "I32", GENET_I32, 4)->at, sizeof i32);
    assert_true(i32[0] == INT32_MIN && i32[1] == -1 && i32[3] == INT32_MAX);
    get(&s, "u8", "U8", GENET_U8, 2);
    get(&s, "i64", "I64", -1, 2);
    get(&s, "i16", "I16", -1, 2);
    get(&s, "i8", "I8", -1, 2);
    get(&s, "bool", "BOOL", -1, 3);
    get(&s, "f8", "F8_E4M3", -1, 2);
    float nothing[8];
    assert_false(genet__safetensor_to_f32(genet__safetensors_find(&s, "i64"), nothing));
    assert_int_equal(genet__safetensor_first_nonfinite(get(&s, "nonfinite", "F32", GENET_F32, 4)), 2);
    assert_int_equal(genet__safetensor_first_nonfinite(genet__safetensors_find(&s, "f16")), -1);
    assert_int_equal(genet__safetensor_first_nonfinite(genet__safetensors_find(&s, "i32")), -1);
    genet__safetensors_close(&s);
}

/* --- writing -------------------------------------------------------------------- */

enum { LARGE = SAFETENSORS_CHUNK / 4 + 5 };     /* floats: more than one piece */

static const safetensor_entry entries[] = {
    { "z.weight", GENET_F32, 2, { LARGE, 1 }, false },
    { "empty", GENET_I32, 2, { 0, 7 }, false },
    { "a \"quoted\" name \xc3\xa9", GENET_U8, 1, { 3 }, false },
    { "half", GENET_BF16, 3, { 1, 2, 2 }, false },
    { "scalar", GENET_F64, 0, { 0 }, false },
};
enum { N_ENTRIES = sizeof entries / sizeof *entries };

/* Byte i of entry e. */
static unsigned char byte_at(int e, int64_t i) { return (unsigned char)(31 * e + i * 7 + (i >> 8)); }

static bool give(void *user, int e, int64_t start, size_t n, void *to, genet_err *err)
{
    int *refuse_entry = user;
    assert_true(n > 0 && n <= SAFETENSORS_CHUNK);
    if (e == *refuse_entry) return genet__err_set(err, GENET_ERR_IO, "the device is gone");
    for (size_t i = 0; i < n; i++) ((unsigned char *)to)[i] = byte_at(e, start + (int64_t)i);
    return true;
}

static bool write_all(int refuse_entry, file_sum *sum, genet_err *err)
{
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    bool ok = genet__safetensors_write(path, entries, N_ENTRIES, metadata, give, &refuse_entry, sum, err);
    json_decref(metadata);
    return ok;
}

static void expect_written(void)
{
    genet_err err = { 0 };
    safetensors s;
    if (!genet__safetensors_open(&s, path, &err)) fail_msg("%s", err.text);
    assert_int_equal(s.n, N_ENTRIES);
    assert_string_equal(genet__safetensors_meta(&s, "format"), "pt");
    for (int e = 0; e < N_ENTRIES; e++) {
        const safetensor *t = genet__safetensors_find(&s, entries[e].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, entries[e].dtype);
        assert_int_equal(t->rank, entries[e].rank);
        assert_memory_equal(t->dim, entries[e].dim, sizeof t->dim);
        for (size_t i = 0; i < t->size_bytes; i++) assert_int_equal(t->at[i], byte_at(e, (int64_t)i));
    }
    assert_true(s.at[0].size_bytes == 4 * LARGE);               /* the given order */
    assert_int_equal((s.at[0].at - s.file.at) % SAFETENSORS_ALIGN, 0);
    genet__safetensors_close(&s);
}

static void test_round_trip(void **state)
{
    (void)state;
    genet_err err = { 0 };
    file_sum sum;
    if (!write_all(-1, &sum, &err)) fail_msg("%s", err.text);
    expect_written();
    uint32_t crc;
    int64_t size;
    assert_true(genet__file_crc32(path, &crc, &size, &err));
    assert_true(crc == sum.crc && size == sum.size_bytes);
    assert_true(genet__safetensors_write(path, NULL, 0, NULL, NULL, NULL, NULL, &err));         /* no tensors at all */
    safetensors s;
    assert_true(genet__safetensors_open(&s, path, &err));
    assert_int_equal(s.n, 0);
    genet__safetensors_close(&s);
}

static void test_impossible(void **state)
{
    (void)state;
    genet_err err = { 0 };
    safetensor_entry twice[] = { entries[4], entries[4] }, negative = { "n", GENET_F32, 1, { -1 }, false };
    int nobody = -1;
    assert_false(genet__safetensors_write(path, twice, 2, NULL, give, &nobody, NULL, &err));
    assert_non_null(strstr(err.text, "two tensors of one file are named scalar"));
    assert_false(genet__safetensors_write(path, &negative, 1, NULL, give, &nobody, NULL, &err));
    assert_false(write_all(3, NULL, &err));
    assert_string_equal(err.text, "the device is gone");
}

/* Whatever fails, the file before it stays whole and nothing is left over. */
static void test_failing_disk(void **state)
{
    (void)state;
    genet_err err = { 0 };
    char tmp[sizeof path + 4];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    assert_true(write_all(-1, NULL, &err));
    bool ok = false;
    for (long n = 0; !ok; n++) {
        assert_true(n < 100);
        genet__file_fail_after(n, ENOSPC);
        ok = write_all(-1, NULL, &err);
        genet__file_fail_after(-1, 0);
        if (!ok) assert_non_null(strstr(err.text, "disk is full"));
        expect_written();
        assert_false(genet__file_exists(tmp));
    }
}

static void test_failing_memory(void **state)
{
    (void)state;
    genet_err err = { 0 };
    bool ok = false;
    for (long n = 0; !ok; n++) {
        safetensors s;
        assert_true(n < 500);
        genet__alloc_fail_after(n);
        ok = write_all(-1, NULL, &err) && genet__safetensors_open(&s, path, &err);
        genet__alloc_fail_after(-1);
        if (ok) genet__safetensors_close(&s);
        else assert_int_equal(err.code, GENET_ERR_MEMORY);
    }
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken),       cmocka_unit_test(test_cut),
        cmocka_unit_test(test_missing),      cmocka_unit_test(test_types),
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_impossible),
        cmocka_unit_test(test_failing_disk), cmocka_unit_test(test_failing_memory),
        cmocka_unit_test(test_shown),        cmocka_unit_test(test_nonfinite),
        cmocka_unit_test(test_every_half),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
