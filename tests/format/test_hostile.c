/* labels: core
 * test_hostile.c - model folders that are damaged, that lie, or that are no
 * folders of files at all: each is refused in words that name file and reason, at
 * once, with nothing taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/str.h"
#include "golden/golden.h"
#include "model/model.h"

static genet_err err;
static genet_device *device;
static char work[] = "/tmp/genet-test-hostile-XXXXXX";

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

/* --- folders in the making -------------------------------------------------------------- */

static const char *at(const char *name)
{
    static char path[4][400];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", work, name);
    return path[turn];
}

static void put(const char *name, const void *bytes, size_t n) { OK(genet__file_write_all(at(name), bytes, n, &err)); }
static void put_text(const char *name, const char *text) { put(name, text, strlen(text)); }

/* work becomes a copy of a golden folder. */
static void begin(const char *name)
{
    char from[1300];
    OK(genet__file_remove_tree(work, &err));
    OK(genet__file_make_dirs(work, &err));
    snprintf(from, sizeof from, "%s/%s", golden_path("hf"), name);
    char **names = genet__file_list(from, &err);
    OK(names);
    for (char **n = names; *n; n++) {
        snprintf(from, sizeof from, "%s/%s/%s", golden_path("hf"), name, *n);
        OK(genet__file_copy(from, at(*n), &err));
    }
    genet__file_list_free(names);
}

static void remove_file(const char *name) { assert_int_equal(unlink(at(name)), 0); }

/* file: the one that the words must name; NULL: the folder. */
static void refused(const char *file, const char *words)
{
    char named[500];
    for (int how = MODEL_WRITABLE; how <= MODEL_READ_ONLY; how++) {
        err = (genet_err){ 0 };
        model *m = genet__model_open(work, device, how, &err);
        if (m) fail_msg("taken, and should say: %s", words);
        snprintf(named, sizeof named, "%s%s%s", work, file ? "/" : "", file ? file : "");
        if (!strstr(err.text, words) || !strstr(err.text, named))
            fail_msg("\"%s\" lacks \"%s\" or \"%s\"", err.text, words, named);
        if (err.code != GENET_ERR_FORMAT && err.code != GENET_ERR_IO) fail_msg("code %d: %s", err.code, err.text);
        for (const char *c = err.text; *c; c++)
            if ((unsigned char)*c < 32 || *c == 127) fail_msg("a control character in: %s", err.text);
    }
}

/* --- no files ----------------------------------------------------------------------------- */

/* Each is put in place of a file. */
static void make_folder(const char *path) { assert_int_equal(mkdir(path, 0777), 0); }
static void make_fifo(const char *path) { assert_int_equal(mkfifo(path, 0666), 0); }
static void make_loop(const char *path) { assert_int_equal(symlink(path, path), 0); }
static void make_dangling(const char *path) { assert_int_equal(symlink("/nowhere/at/all", path), 0); }
static void make_endless(const char *path) { assert_int_equal(symlink("/dev/zero", path), 0); }
static void make_empty(const char *path) { OK(genet__file_write_all(path, "", 0, &err)); }

static const struct { void (*make)(const char *path); const char *words; } strange[] = {
    { make_folder, "Is a directory" },
    { make_fifo, "not a regular file" },
    { make_loop, "symbolic links" },
    { make_dangling, "No such file" },
    { make_endless, "not a regular file" },
    { make_empty, NULL },
};
enum { N_STRANGE = sizeof strange / sizeof *strange };

static void test_strange_files(void **state)
{
    (void)state;
    static const struct { const char *folder, *file, *empty; } row[] = {
        { "untied", "config.json", "config.json:1:0: " },
        { "untied", "model.safetensors", "0 bytes are too few" },
        { "sharded", "model.safetensors.index.json", "index.json:1:0: " },
        { "sharded", "model-00002-of-00004.safetensors", "0 bytes are too few" },
    };
    for (size_t r = 0; r < sizeof row / sizeof *row; r++)
        for (int i = 0; i < N_STRANGE; i++) {
            begin(row[r].folder);
            remove_file(row[r].file);
            strange[i].make(at(row[r].file));
            refused(row[r].file, strange[i].words ? strange[i].words : row[r].empty);
        }
}

static void test_strange_folders(void **state)
{
    (void)state;
    static const char *const words[N_STRANGE] = { "config.json is missing", "is a file", "symbolic links", "No such file",
                                                  "is a file", "is a file" };
    for (int i = 0; i < N_STRANGE; i++) {
        OK(genet__file_remove_tree(work, &err));
        strange[i].make(work);
        refused(NULL, words[i]);
    }
    OK(genet__file_remove_tree(work, &err));
    refused(NULL, "there is no folder");
}

static void test_no_permission(void **state)
{
    (void)state;
    static const char *const file[] = { "config.json", "model.safetensors" };
    begin("untied");
    if (geteuid() == 0) return;                 /* whom nothing is forbidden */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(chmod(at(file[i]), 0), 0);
        refused(file[i], "Permission denied");
        assert_int_equal(chmod(at(file[i]), 0644), 0);
    }
}

/* --- config.json ----------------------------------------------------------------------------- */

static void test_config_text(void **state)
{
    (void)state;
    static const char head[] = "{\"model_type\": \"gpt2\", \"x\": ";
    static const struct { const char *text, *words; } row[] = {
        { "{", "config.json:1:" },
        { "[]", "must be an object with \"model_type\"" },
        { "{}", "\"model_type\" is missing" },
        { "{\"model_type\": null}", "\"model_type\" must be a string" },
        { "{\"model_type\": \"llama\\u001b[2J\"}", "model_type is \"llama?[2J\"; genet knows gpt2" },
        { "{\"model_type\": \"gpt2\", \"model_type\": \"mlp\"}", "duplicate" },
        { "{\"model_type\": \"gpt2\", \"n_head\": NaN}", "config.json:1:" },
        { "{\"model_type\": \"gpt2\", \"x\": \"\xff\"}", "config.json:1:" },
        { "{\"model_type\": \"gpt2\"} {}", "config.json:1:" },
    };
    begin("untied");
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        put_text("config.json", row[i].text);
        refused("config.json", row[i].words);
    }
    size_t n = 20 << 20;
    char *text = malloc(n);
    memset(text, '[', n);
    memcpy(text, head, sizeof head - 1);
    put("config.json", text, 100000);
    refused("config.json", "more than 512 levels of brackets");
    put("config.json", text, n);
    refused("config.json", "larger than the 16777216 bytes allowed");
    free(text);
}

/* What the weights do not bear out, and what nobody has. */
static void test_config_values(void **state)
{
    (void)state;
    static const struct { const char *key, *value, *words; } row[] = {
        { "vocab_size", "34", "transformer.wte.weight is [33,8], and the model's config asks for [34,8]" },
        { "n_positions", "13", "transformer.wpe.weight is [12,8], and the model's config asks for [13,8]" },
        { "n_embd", "16", "is [33,8], and the model's config asks for [33,16]" },
        { "n_inner", "30", "c_fc.weight is [8,32], and the model's config asks for [8,30]" },
        { "n_layer", "3", "has no tensor transformer.h.2.ln_1.weight" },
        { "n_layer", "1", "that the model's config has no place for" },
        { "tie_word_embeddings", "true", "lm_head.weight is not transformer.wte.weight again" },
        { "vocab_size", "16777216", "asks for [16777216,8]" },
        { "n_positions", "16777216", "asks for [16777216,8]" },
        { "n_inner", "4194304", "asks for [8,4194304]" },
        { "n_head", "3", "n_embd 8 is not divisible by n_head 3" },
        { "num_attention_heads", "4", "\"num_attention_heads\" and \"n_head\" are one field, and differ" },
        { "n_head", "0", "n_head must be" },
        { "n_layer", "1000000000", "n_layer must be" },
        { "n_layer", "1e400", "config.json:" },
        { "n_layer", "99999999999999999999999999", "\"n_layer\" must be an integer" },
        { "n_embd", "-8", "n_embd must be" },
        { "n_embd", "8.5", "\"n_embd\" must be an integer" },
        { "n_embd", "\"8\"", "\"n_embd\" must be an integer" },
        { "n_embd", "[8]", "\"n_embd\" must be an integer" },
        { "vocab_size", "9223372036854775807", "vocab_size must be" },
        { "layer_norm_epsilon", "-1", "layer_norm_epsilon must be" },
        { "layer_norm_epsilon", "{}", "\"layer_norm_epsilon\" must be a number" },
        { "tie_word_embeddings", "1", "\"tie_word_embeddings\" must be true or false" },
        { "activation_function", "\"cuda_gelu\"", "activation_function must be" },
        { "add_cross_attention", "true", "genet has no cross-attention" },
    };
    begin("untied");
    json_t *config = genet__json_read(at("config.json"), 1 << 16, &err);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        str text = { 0 }, part = { 0 };
        json_t *without = json_copy(config);
        json_object_del(without, row[i].key);
        genet__json_print(without, 0, &text);
        genet__str_printf(&part, "{\"%s\": %s, ", row[i].key, row[i].value);
        genet__str_add(&part, text.at + 1);
        put("config.json", part.at, part.n);
        refused(strstr(row[i].words, "asks for") || strstr(row[i].words, "tensor") || strstr(row[i].words, "again") ||
                strstr(row[i].words, "no place") ? "model.safetensors" : "config.json", row[i].words);
        json_decref(without);
        genet__str_release(&text);
        genet__str_release(&part);
    }
    json_decref(config);
    /* terabytes: refused by the file's shapes, before memory or time are spent */
    put_text("config.json", "{\"model_type\": \"gpt2\", \"vocab_size\": 16777216, \"n_embd\": 1048576, "
                            "\"n_head\": 16384, \"n_layer\": 1000}");
    refused("model.safetensors", "asks for [16777216,1048576]");
}

/* --- model.safetensors ------------------------------------------------------------------------- */

/* A weights file taken apart: its header, and its data. */
typedef struct parts { json_t *header; char *bytes; unsigned char *data; size_t n_data; } parts;

static parts take_apart(const char *name)
{
    parts p = { 0 };
    size_t n;
    uint64_t length;
    OK(p.bytes = genet__file_read(at(name), 1 << 20, &n, &err));
    memcpy(&length, p.bytes, 8);
    OK(p.header = genet__json_parse(p.bytes + 8, length, name, &err));
    p.data = (unsigned char *)p.bytes + 8 + length;
    p.n_data = n - 8 - length;
    return p;
}

/* Writes it and lets go of p. */
static void put_together(parts *p, const char *name, size_t more)
{
    str header = { 0 }, all = { 0 };
    genet__json_print(p->header, 0, &header);
    uint64_t length = header.n;
    genet__str_add_n(&all, &length, 8);
    genet__str_add_n(&all, header.at, header.n);
    genet__str_add_n(&all, p->data, p->n_data);
    for (size_t i = 0; i < more; i++) genet__str_add_n(&all, "\0\0", 1);
    put(name, all.at, all.n);
    genet__str_release(&header);
    genet__str_release(&all);
    genet__free(p->bytes);
    json_decref(p->header);
}

static unsigned char *data_of(parts *p, const char *tensor_name)
{
    json_t *t = json_object_get(p->header, tensor_name);
    assert_non_null(t);
    return p->data + json_integer_value(json_array_get(json_object_get(t, "data_offsets"), 0));
}

static void rename_tensor(parts *p, const char *from, const char *to)
{
    json_t *t = json_object_get(p->header, from);
    assert_non_null(t);
    json_object_set(p->header, to, t);
    json_object_del(p->header, from);
}

static void test_weights_names(void **state)
{
    (void)state;
    char long_name[1200] = "";
    memset(long_name, 'n', 1100);
    const struct { const char *from, *to, *words; } row[] = {
        { "transformer.wpe.weight", "transformer.wpe.wait",
          "has no tensor transformer.wpe.weight, which must be there with shape [12,8]" },
        { "transformer.h.1.attn.c_attn.bias", "x", "has no tensor transformer.h.1.attn.c_attn.bias" },
        { "lm_head.weight", "transformer.lm_head.weight", "has no tensor lm_head.weight" },
        { "lm_head.weight", long_name, "its name is longer than 1000 bytes" },
        { "lm_head.weight", "", "has no tensor lm_head.weight" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        begin("untied");
        parts p = take_apart("model.safetensors");
        rename_tensor(&p, row[i].from, row[i].to);
        put_together(&p, "model.safetensors", 0);
        refused("model.safetensors", row[i].words);
    }
    /* one tensor more, of nothing, with a name that would clear a terminal; and one under both its names */
    static const char *const more[][2] = { { "\x1b[2J", "holds a tensor ?[2J that the model's config has no place for" },
        { "ln_f.bias", "holds both transformer.ln_f.bias and ln_f.bias" } };
    for (int i = 0; i < 2; i++) {
        begin("untied");
        parts p = take_apart("model.safetensors");
        json_object_set_new(p.header, more[i][0], json_pack("{s:s, s:[i], s:[I,I]}", "dtype", "F32", "shape", 0,
                                                            "data_offsets",
                                                            (json_int_t)p.n_data, (json_int_t)p.n_data));
        put_together(&p, "model.safetensors", 0);
        refused("model.safetensors", more[i][1]);
    }
}

static void test_weights_values(void **state)
{
    (void)state;
    static const char name[] = "transformer.h.1.mlp.c_fc.bias", cut[] = "h.1.mlp.c_fc.bias";
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 3; i++) {
        begin("untied");
        parts p = take_apart("model.safetensors");
        memcpy(data_of(&p, name) + 4 * 17, &bad[i], 4);
        put_together(&p, "model.safetensors", 0);
        refused("model.safetensors", "transformer.h.1.mlp.c_fc.bias: element 17 of 32 is inf or NaN");
    }
    begin("old");
    parts p = take_apart("model.safetensors");
    memcpy(data_of(&p, cut) + 2 * 31, "\x00\x7c", 2);
    put_together(&p, "model.safetensors", 0);
    refused("model.safetensors", "h.1.mlp.c_fc.bias: element 31 of 32 is inf or NaN");
    begin("tied");
    p = take_apart("model.safetensors");
    memcpy(data_of(&p, name), "\xc0\x7f", 2);
    put_together(&p, "model.safetensors", 0);
    refused("model.safetensors", "transformer.h.1.mlp.c_fc.bias: element 0 of 32 is inf or NaN");
    begin("tied");
    p = take_apart("model.safetensors");
    data_of(&p, "lm_head.weight")[5] ^= 1;
    put_together(&p, "model.safetensors", 0);
    refused("model.safetensors", "lm_head.weight is not transformer.wte.weight again");
}

static void test_weights_types(void **state)
{
    (void)state;
    static const struct { const char *type, *words; } row[] = {
        { "I32", "has type I32; genet reads F32, F64, F16 and BF16 weights" },
        { "U32", "has type U32" },
        { "F8_E4M3", "its shape needs 8 bytes of F8_E4M3, its offsets hold 32" },
        { "Q4", "unknown dtype \"Q4\"" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        begin("untied");
        parts p = take_apart("model.safetensors");
        json_object_set_new(json_object_get(p.header, "transformer.ln_f.bias"), "dtype", json_string(row[i].type));
        put_together(&p, "model.safetensors", 0);
        refused("model.safetensors", row[i].words);
    }
    /* eight floats as four doubles, too large for any float */
    begin("untied");
    put_text("config.json", "{\"model_type\": \"mlp\", \"n_input\": 1, \"n_output\": 2, \"hidden_layer_sizes\": []}");
    const double values[] = { 1, 1e300, 2, 3 };
    parts p = { .header = json_pack("{s:{s:s, s:[i,i], s:[i,i]}, s:{s:s, s:[i], s:[i,i]}}",
                                    "layers.0.weight", "dtype", "F64", "shape", 2, 1, "data_offsets", 0, 16,
                                    "layers.0.bias", "dtype", "F64", "shape", 2, "data_offsets", 16, 32),
                .data = (unsigned char *)(uintptr_t)values, .n_data = sizeof values };
    put_together(&p, "model.safetensors", 0);
    refused("model.safetensors", "layers.0.weight: element 1 of 2 is inf or NaN");
}

/* Bytes are missing, or left over. */
static void test_weights_cut(void **state)
{
    (void)state;
    begin("untied");
    size_t n;
    char *bytes = genet__file_read(at("model.safetensors"), 1 << 20, &n, &err);
    for (size_t keep = 0; keep < n; keep += 1 + keep / 8) {
        put("model.safetensors", bytes, keep);
        refused("model.safetensors", "");
    }
    genet__free(bytes);
    begin("untied");
    parts p = take_apart("model.safetensors");
    put_together(&p, "model.safetensors", 3);
    refused("model.safetensors", "3 bytes at the end belong to no tensor");
}

/* --- several files ---------------------------------------------------------------------------------- */

static void put_index(json_t *index)
{
    OK(genet__json_write(at("model.safetensors.index.json"), index, &err));
    json_decref(index);
}

static json_t *read_index(void)
{
    json_t *j = genet__json_read(at("model.safetensors.index.json"), 1 << 20, &err);
    OK(j);
    return j;
}

static void test_index_text(void **state)
{
    (void)state;
    static const struct { const char *text, *words; } row[] = {
        { "{", "index.json:1:" }, { "[]", "\"weight_map\" is no object" }, { "{}", "\"weight_map\" is no object" },
        { "{\"weight_map\": []}", "\"weight_map\" is no object" }, { "{\"weight_map\": {}}", "\"weight_map\" is no object" },
        { "{\"weight_map\": {\"a\": 1}}", "the file of a is no string" },
    };
    begin("sharded");
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        put_text("model.safetensors.index.json", row[i].text);
        refused("model.safetensors.index.json", row[i].words);
    }
}

/* Names that lead out of the folder, or nowhere. */
static void test_index_names(void **state)
{
    (void)state;
    static const char *const name[] = { "../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "x.bin",
                                        ".safetensors", ".hidden.safetensors", "a\\b.safetensors", "a\x1b[2J.safetensors" };
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        begin("sharded");
        json_t *index = read_index();
        json_object_set_new(json_object_get(index, "weight_map"), "transformer.ln_f.bias", json_string(name[i]));
        put_index(index);
        refused("model.safetensors.index.json", "the file of transformer.ln_f.bias is \"");
    }
}

static void test_index_lies(void **state)
{
    (void)state;
    static const char second[] = "model-00002-of-00004.safetensors";
    begin("sharded");
    remove_file(second);
    refused(second, "is missing; ");
    begin("sharded");                           /* placed in another file than it is in */
    json_t *index = read_index(), *weight_map = json_object_get(index, "weight_map");
    json_object_set_new(weight_map, "transformer.h.0.ln_1.bias", json_string(second));
    put_index(index);
    refused("model-00001-of-00004.safetensors", "holds a tensor transformer.h.0.ln_1.bias, which ");
    begin("sharded");                           /* in no file */
    index = read_index();
    json_object_set_new(json_object_get(index, "weight_map"), "more", json_string(second));
    put_index(index);
    refused("model.safetensors.index.json",
            "weight_map places tensor more in model-00002-of-00004.safetensors, which does not hold it");
    begin("sharded");                           /* in a file, and not in the index */
    index = read_index();
    json_object_del(json_object_get(index, "weight_map"), "transformer.h.0.ln_1.bias");
    put_index(index);
    refused("model-00001-of-00004.safetensors", "does not name");
    begin("sharded");                           /* a file that repeats another's tensors */
    OK(genet__file_copy(at("model-00001-of-00004.safetensors"), at(second), &err));
    refused(second, "places in model-00001-of-00004.safetensors");
    begin("sharded");                           /* a damaged part */
    parts p = take_apart(second);
    put_together(&p, second, 1);
    refused(second, "1 bytes at the end");
    begin("sharded");                           /* total_size counts tied weights or does not: no matter */
    index = read_index();
    json_object_set_new(json_object_get(index, "metadata"), "total_size", json_integer(5));
    put_index(index);
    model *m = genet__model_open(work, device, MODEL_READ_ONLY, &err);
    OK(m);
    genet__model_free(m);
}

static int open_all(void **state)
{
    (void)state;
    alarm(50);                                  /* what waits for ever fails */
    return mkdtemp(work) && (device = genet_device_cpu(1, &err)) ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    genet_device_free(device);
    return genet__file_remove_tree(work, NULL) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strange_files),  cmocka_unit_test(test_strange_folders), cmocka_unit_test(test_no_permission),
        cmocka_unit_test(test_config_text),    cmocka_unit_test(test_config_values),   cmocka_unit_test(test_weights_names),
        cmocka_unit_test(test_weights_values), cmocka_unit_test(test_weights_types),   cmocka_unit_test(test_weights_cut),
        cmocka_unit_test(test_index_text),     cmocka_unit_test(test_index_names),     cmocka_unit_test(test_index_lies),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
