/* labels: core
 * test_gguf.c - GGUF: files that llama.cpp's own package wrote hold the weights of the same folders in safetensors and
 * answer alike; what is written reads back, bit for bit; what is damaged is refused in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/quant.h"
#include "format/gguf_model.h"
#include "golden/golden.h"
#include "model/gguf_export.h"
#include "text/tokenizer.h"

enum { B = 2, T = 12, V = 65, N_LOGITS = B * T * V, KINDS = PARAM_WEIGHT | PARAM_BUFFER };

static genet_err err;
static genet_device *device;
static arena strings;           /* of configs */
static char work[] = "/tmp/genet-test-gguf-XXXXXX";

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)
#define SAYS(words) do { if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words); } while (0)

static const char *in_work(const char *name)
{
    static char path[4][300];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", work, name);
    return path[turn];
}

/* --- a small file, with one thing wrong --------------------------------------------------- */

/* What stands in it; by default nothing is wrong. */
typedef struct spec {
    uint32_t magic, version, value_type, element, rank, type;
    uint64_t n_tensor, n_value, key_bytes, string_bytes, n_element, dim, offset;
    bool twice, overlap, zero_in_name;
    uint32_t alignment;
    size_t cut;                 /* bytes of it; 0: all */
} spec;
static const spec sound = { 0x46554747, 3, GGUF_STRING, GGUF_I32, 2, 0, 2, 3, 1, 2, 2, 4, 0, false, false, false, 32, 0 };

static void put(str *s, uint64_t x, int n)
{
    for (int i = 0; i < n; i++) genet__str_add_n(s, &(char){ (char)(x >> 8 * i) }, 1);
}

static void put_text(str *s, const char *text)
{
    put(s, strlen(text), 8);
    genet__str_add(s, text);
}

static void put_tensor(str *s, const spec *p, const char *name, uint64_t offset)
{
    put(s, strlen(name), 8);
    genet__str_add_n(s, p->zero_in_name ? "\0" : name, 1);
    genet__str_add(s, name + 1);
    put(s, p->rank, 4);
    put(s, p->dim, 8);
    if (p->rank != 1) put(s, 2, 8);
    put(s, p->type, 4);
    put(s, offset, 8);
}

/* "k": string "ab"; "a": array of two i32; general.alignment; tensors v and w of 2 x 4 floats, at 0 and 32. */
static str make(const spec *p)
{
    str s = {0};
    put(&s, p->magic, 4);
    put(&s, p->version, 4);
    put(&s, p->n_tensor, 8);
    put(&s, p->n_value, 8);
    put(&s, p->key_bytes, 8);
    genet__str_add(&s, "k");
    put(&s, p->value_type, 4);
    put(&s, p->string_bytes, 8);
    genet__str_add(&s, "ab");
    put_text(&s, p->twice ? "k" : "a");
    put(&s, GGUF_ARRAY, 4);
    put(&s, p->element, 4);
    put(&s, p->n_element, 8);
    put(&s, 7, 4);
    put(&s, (uint64_t)-9, 4);
    put_text(&s, "general.alignment");
    put(&s, GGUF_U32, 4);
    put(&s, p->alignment, 4);
    put_tensor(&s, p, "v", 0);
    put_tensor(&s, p, p->twice ? "v" : "w", p->overlap ? 0 : p->offset ? p->offset : 32);
    while (s.n % 32) put(&s, 0, 1);
    for (int i = 0; i < 16; i++) put(&s, 0x3f800000, 4);
    if (p->cut) s.n = p->cut;
    return s;
}

static bool parse(gguf *g, const spec *p, str *bytes)
{
    *bytes = make(p);
    char *exact = malloc(bytes->n);                 /* so that a sanitizer sees the end */
    memcpy(exact, bytes->at, bytes->n);
    memset(&err, 0, sizeof err);
    bool ok = genet__gguf_parse(g, exact, bytes->n, "small.gguf", &err);
    if (!ok) free(exact), genet__str_release(bytes);
    else genet__str_release(bytes), bytes->at = exact;
    return ok;
}

static void test_sound(void **state)
{
    (void)state;
    gguf g;
    str bytes;
    OK(parse(&g, &sound, &bytes));
    assert_int_equal(g.n, 2);
    assert_int_equal(g.n_value, 3);
    const gguf_tensor *w = genet__gguf_find(&g, "w");
    assert_true(w && w->rank == 2 && w->dim[0] == 2 && w->dim[1] == 4 && w->size_bytes == 32 && w->at == genet__gguf_find(&g, "v")->at + 32);
    const gguf_value *a = genet__gguf_value(&g, "a");
    assert_true(a->n == 2 && genet__gguf_integer(a, 0) == 7 && genet__gguf_integer(a, 1) == -9);
    const char *text;
    size_t n;
    int64_t x;
    OK(genet__gguf_string(&g, "k", &text, &n, NULL, &err));
    assert_true(n == 2 && !memcmp(text, "ab", 2));
    assert_false(genet__gguf_int(&g, "k", &x, NULL, &err));
    SAYS("is of type string, not an integer");
    assert_false(genet__gguf_int(&g, "q", &x, NULL, &err));
    SAYS("there is no q");
    genet__gguf_close(&g);
    free(bytes.at);
}

#define WRONG(words, ...) do {                                                          \
        spec p = sound;                                                                 \
        __VA_ARGS__;                                                                    \
        gguf g;                                                                         \
        str bytes;                                                                      \
        if (parse(&g, &p, &bytes)) fail_msg("taken: %s", #__VA_ARGS__);                 \
        SAYS(words);                                                                    \
        SAYS("small.gguf");                                                             \
    } while (0)

static void test_hostile(void **state)
{
    (void)state;
    WRONG("is no GGUF file", p.magic = 0x46554746);
    WRONG("version 1", p.version = 1);
    WRONG("version 50331648", p.version = 0x03000000);                  /* big-endian */
    WRONG("more values than", p.n_value = UINT64_MAX);
    WRONG("more than the file has bytes for", p.n_tensor = UINT64_MAX);
    WRONG("more than the file has bytes for", p.n_tensor = 1 << 30);
    WRONG("empty or too long", p.key_bytes = 0);
    WRONG("longer than what is left", p.key_bytes = UINT64_MAX);
    WRONG("longer than what is left", p.string_bytes = UINT64_MAX - 3);
    WRONG("a type that there is not", p.value_type = GGUF_N_TYPES);
    WRONG("array of arrays", p.element = GGUF_ARRAY);
    WRONG("more elements than", p.n_element = UINT64_MAX / 4 + 2);
    WRONG("more elements than", p.element = GGUF_STRING, p.n_element = UINT64_MAX / 8 + 2);
    WRONG("stands twice", p.twice = true);
    WRONG("no power of two", p.alignment = 0);
    WRONG("no power of two", p.alignment = 48);
    WRONG("no power of two", p.alignment = 1u << 31);
    WRONG("four dimensions", p.rank = 5);
    WRONG("four dimensions", p.rank = UINT32_MAX);
    WRONG("more elements than fit", p.dim = (uint64_t)INT64_MAX + 1);
    WRONG("more elements than fit", p.dim = INT64_MAX);
    WRONG("more elements than fit", p.dim = INT64_MAX / 4);
    WRONG("no whole blocks", p.type = 8);
    WRONG("overlap", p.overlap = true);
    WRONG("no multiple of the alignment", p.offset = 33);
    WRONG("leave the file", p.offset = 64);
    WRONG("leave the file", p.offset = UINT64_MAX - 31);
    WRONG("leave the file", p.dim = 5);
    WRONG("not UTF-8", p.zero_in_name = true);
    str whole = make(&sound);
    for (size_t cut = 1; cut < whole.n; cut++) WRONG("small.gguf", p.cut = cut);
    genet__str_release(&whole);
}

/* --- what others wrote ------------------------------------------------------------------------ */

static model *open_model(const char *path, model_weights how)
{
    model *m = genet__model_open(path, device, how, &err);
    if (!m) fail_msg("%s", err.text);
    return m;
}

/* Every weight of both, in f32. */
static void same_weights(const model *a, const model *b)
{
    assert_int_equal(genet__params_numel(a->params, KINDS), genet__params_numel(b->params, KINDS));
    for (int i = 0; i < a->params->n; i++) {
        const param *w = a->params->at[i], *of = genet__params_find(b->params, w->name);
        if (!(w->kind & KINDS)) continue;
        if (!of || w->size_bytes != of->size_bytes) fail_msg("%s is not there, or another shape", w->name);
        char *x = malloc(w->size_bytes), *y = malloc(w->size_bytes);
        OK(genet__params_read(a->params, w, x, w->size_bytes, &err) && genet__params_read(b->params, of, y, w->size_bytes, &err));
        if (memcmp(x, y, w->size_bytes)) fail_msg("%s differs", w->name);
        free(x);
        free(y);
    }
}

static void answer(const model *m, float *out)
{
    int32_t id[B * T];
    for (int i = 0; i < B * T; i++) id[i] = (i * 7 + i * i) % V;
    genet_graph *g = genet_graph_new();
    genet_workspace *w = genet_workspace_new(device);
    net n = { .graph = g, .params = m->params };
    tensor *x = genet_input(g, "x", GENET_I32, GENET_DIMS(B, T));
    tensor *logits = genet__model_forward(m, &n, &(model_inputs){ .x = x });
    OK(genet__graph_ok(g, &err));
    genet_plan *p = genet_compile(g, &logits, 1, device, NULL, &err);
    OK(p && genet__params_bind(m->params, g, p, &err) && genet_plan_attach(p, w, &err));
    OK(genet_plan_write(p, x, id, sizeof id, &err) && genet_plan_run(p, &err));
    OK(genet_plan_read(p, logits, out, N_LOGITS * sizeof *out, &err));
    genet_plan_free(p);
    genet_workspace_free(w);
    genet_graph_free(g);
}

/* The largest difference over the largest magnitude. */
static double distance(const float *a, const float *b)
{
    double most = 0, scale = 0;
    for (int i = 0; i < N_LOGITS; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        scale = fmax(scale, fabs((double)b[i]));
    }
    return most / scale;
}

static void same_answers(const char *a, const char *b, double bound)
{
    static float x[N_LOGITS], y[N_LOGITS];
    model *m = open_model(a, MODEL_READ_ONLY), *of = open_model(b, MODEL_READ_ONLY);
    answer(m, x);
    answer(of, y);
    if (!(distance(x, y) <= bound)) fail_msg("%s answers %g off %s", a, distance(x, y), b);
    genet__model_free(m);
    genet__model_free(of);
}

static const char *const golden[][2] = { { "gguf/gpt2.gguf", "gpt2" }, { "gguf/llama.gguf", "llama" } };

static void test_golden(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *file = golden_path(golden[i][0]), *folder = golden_path(golden[i][1]);
        static const model_weights how[] = { MODEL_WRITABLE, MODEL_READ_F32 };
        for (int k = 0; k < 2; k++) {
            model *a = open_model(file, how[k]), *b = open_model(folder, how[k]);
            same_weights(a, b);
            genet__model_free(a);
            genet__model_free(b);
        }
        same_answers(file, folder, 1e-5);
    }
}

static void test_tokens(void **state)
{
    (void)state;
    tokenizer *t = genet__tokenizer_load(golden_path("gguf/llama.gguf"), &err);
    if (!t) fail_msg("%s", err.text);
    static const char text[] = "the a the\nend.<|end|>";
    static const int32_t wanted[] = { 30, 31, 32, 27, 4, 13, 3, 28, 34 };
    token_list ids = {0};
    OK(genet__tokenizer_encode(t, text, sizeof text - 1, &ids, &err));
    assert_int_equal(ids.n, sizeof wanted / sizeof *wanted);
    assert_memory_equal(ids.at, wanted, sizeof wanted);
    assert_int_equal(genet__tokenizer_size(t), 35);
    assert_true(genet__tokenizer_is_special(t, 34) && !genet__tokenizer_is_special(t, 0));
    genet__token_list_release(&ids);
    genet__tokenizer_free(t);
}

/* --- there and back ------------------------------------------------------------------------------ */

/* A byte-level tokenizer of no merges; its letters are enough. */
static const char tokens[] =
    "{\"added_tokens\": [{\"id\": 3, \"content\": \"<|endoftext|>\", \"special\": true}], \"pre_tokenizer\": {\"type\": \"ByteLevel\","
    "\"add_prefix_space\": false}, \"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1,"
    "\"ab\": 2}, \"merges\": [\"a b\"]}}";

static bool try_export(const model *m, genet_dtype type, const char *path)
{
    int left;
    json_t *j = genet__json_parse(tokens, sizeof tokens - 1, "tokens", &err);
    gguf_export e = { .model = m, .tokenizer = j, .name = "m", .where = "m", .type = type };
    bool ok = j && genet__gguf_export(&e, path, &left, &err);
    json_decref(j);
    return ok;
}

static void export_as(const model *m, genet_dtype type, const char *path) { OK(try_export(m, type, path)); }

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const folders[] = { "gpt2", "llama", "mistral", "qwen2" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const char *path = in_work("round.gguf");
        model *m = open_model(golden_path(folders[i]), MODEL_READ_F32);
        export_as(m, GENET_F32, path);
        model *back = open_model(path, MODEL_READ_F32);
        same_weights(m, back);
        bool window = *genet__model_int(back, back->family->context) < T;      /* the file ends where a window would begin */
        genet__model_free(m);
        genet__model_free(back);
        if (!window) same_answers(path, golden_path(folders[i]), 1e-5);
    }
}

/* What llama.cpp has no place for is told, and nothing is written. */
static void test_not_exported(void **state)
{
    (void)state;
    static const char *const folders[][2] = { { "qwen3", "attention_bias: true" }, { "t5", "a model of family t5" } };
    for (int i = 0; i < 2; i++) {
        if (access(golden_path(folders[i][0]), R_OK)) continue;
        model *m = open_model(golden_path(folders[i][0]), MODEL_READ_F32);
        assert_false(try_export(m, GENET_F32, in_work("none.gguf")));
        SAYS(folders[i][1]);
        assert_int_equal(access(in_work("none.gguf"), F_OK), -1);
        genet__model_free(m);
    }
}

/* A model whose rows are whole blocks: gpt2 stores its matrices turned, llama moves the rows of q and k. */
static model *wide_model(const char *name)
{
    const family *f = genet__family_find(name);
    char *config = genet__family_config(f, &strings, &err);
    static const char *const options[][2] = { { "n_layer", "2" }, { "n_head", "2" }, { "n_embd", "64" } };
    assert_non_null(config);
    for (int i = 0; i < 3; i++) OK(genet__fields_set(f->options, config, options[i][0], options[i][1], &strings, &err));
    if (f->prepare) f->prepare(config);
    *(int64_t *)(config + f->vocab_size) = V;
    model *m = genet__model_new(f, config, device, 5, &err);
    OK(m && genet__model_declare(m, &err) && genet__params_place(m->params, &err) && genet__params_fill(m->params, &err));
    return m;
}

/* Bytes of a param that is blocks in one and the other. */
static void same_blocks(const model *a, const model *b, genet_dtype type)
{
    int blocks = 0;
    for (int i = 0; i < a->params->n; i++) blocks += a->params->at[i]->dtype == type;
    assert_true(blocks >= 9);
    same_weights(a, b);
}

static void test_blocks(void **state)
{
    (void)state;
    static const char *const names[] = { "gpt2", "llama", "qwen3" };
    static const genet_dtype types[] = { GENET_Q8_0, GENET_Q4_0 };
    for (int i = 0; i < 6; i++) {
        const char *path = in_work("blocks.gguf"), *folder = in_work(i % 2 ? "q4" : "q8");
        model *m = wide_model(names[i / 2]);
        int n_file;
        genet_dtype type = types[i % 2];
        export_as(m, type, path);
        OK(genet__file_make_dirs(folder, &err) && genet__model_write_config(m, folder, &err) &&
           genet__weights_write_as(m->params, KINDS, folder, &(weight_types){ GENET_F32, type, type }, INT64_MAX, &n_file, &err));
        model *a = open_model(folder, MODEL_READ_ONLY), *b = open_model(path, MODEL_READ_ONLY);
        same_blocks(a, b, type);
        genet__model_free(a);
        genet__model_free(b);
        genet__model_free(m);
        same_answers(path, folder, 1e-6);
    }
}

/* f16 and bf16 are the rounded weights; matrices are used where they lie. */
static void test_halves(void **state)
{
    (void)state;
    static const genet_dtype types[] = { GENET_F16, GENET_BF16 };
    for (int i = 0; i < 2; i++) {
        const char *path = in_work("half.gguf"), *folder = in_work(i ? "bf16" : "f16");
        int n_file;
        model *m = wide_model("gpt2");
        export_as(m, types[i], path);
        OK(genet__file_make_dirs(folder, &err) && genet__model_write_config(m, folder, &err) &&
           genet__weights_write_as(m->params, KINDS, folder, &(weight_types){ GENET_F32, types[i], types[i] }, INT64_MAX, &n_file, &err));
        model *a = open_model(folder, MODEL_READ_F32), *b = open_model(path, MODEL_READ_F32), *c = open_model(path, MODEL_READ_ONLY);
        same_weights(a, b);
        assert_true(genet__params_placed_bytes(c->params) < 4096);
        genet__model_free(a);
        genet__model_free(b);
        genet__model_free(c);
        genet__model_free(m);
    }
}

/* --- what is refused -------------------------------------------------------------------------------- */

/* The golden file with some bytes changed: every `from` becomes `to`, of the same length. */
static const char *changed(const char *from, size_t n, const char *to)
{
    size_t size, changes = 0;
    char *bytes = genet__file_read(golden_path("gguf/llama.gguf"), 1 << 20, &size, &err);
    const char *path = in_work("changed.gguf");
    assert_non_null(bytes);
    for (size_t i = 0; i + n <= size; i++)
        if (!memcmp(bytes + i, from, n)) memcpy(bytes + i, to, n), changes++;
    if (!changes) fail_msg("there is no \"%s\"", from);
    OK(genet__file_write_all(path, bytes, size, &err));
    genet__free(bytes);
    return path;
}

static void refused(const char *path, const char *words)
{
    memset(&err, 0, sizeof err);
    model *m = genet__model_open(path, device, MODEL_READ_ONLY, &err);
    if (m) fail_msg("opened; it should say \"%s\"", words);
    SAYS(words);
}

static void test_refused(void **state)
{
    (void)state;
    refused(changed("\x05\0\0\0\0\0\0\0llama", 13, "\x05\0\0\0\0\0\0\0klama"), "general.architecture is \"klama\"");
    refused(changed("llama.context_length", 20, "llama.context_mength"), "there is no llama.context_length");
    refused(changed("rope_freqs.weight", 17, "rope_freqz.weight"), "rope_freqz.weight that the model's config has no place for");
    refused(changed("blk.0.ffn_up.weight", 19, "blk.0.ffn_uq.weight"), "has no tensor model.layers.0.mlp.up_proj.weight");
    refused(changed("token_embd.weight", 17, "token_embd.weighs"), "no such matrix of the tokens");
    /* after the dimensions 16 and 65 of the output: its type */
    static const char entry[] = "output.weight\x02\0\0\0\x10\0\0\0\0\0\0\0\x41\0\0\0\0\0\0";
    char from[sizeof entry + 5], to[sizeof from];
    memset(from, 0, sizeof from);
    memcpy(from, entry, sizeof entry);
    memcpy(to, from, sizeof from);
    to[sizeof entry] = 26;                          /* I32 */
    refused(changed(from, sizeof entry + 4, to), "output.weight is of type I32; genet reads F32, F16, BF16, Q8_0 and Q4_0");
    memset(&err, 0, sizeof err);
    assert_null(genet__tokenizer_load(changed("llama-bpe", 9, "alpaca-bp"), &err));
    SAYS("tokenizer.ggml.pre is \"alpaca-bp\"");
    assert_null(genet__tokenizer_load(changed("\x04\0\0\0\0\0\0\0gpt2", 12, "\x04\0\0\0\0\0\0\0bert"), &err));
    SAYS("tokenizer.ggml.model is \"bert\"");
}

static int setup(void **state)
{
    (void)state;
    device = genet_device_cpu(2, &err);
    return !device || !mkdtemp(work);
}

static int teardown(void **state)
{
    (void)state;
    genet_device_free(device);
    genet__arena_release(&strings);
    return !genet__file_remove_tree(work, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound), cmocka_unit_test(test_hostile), cmocka_unit_test(test_golden), cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_not_exported), cmocka_unit_test(test_blocks), cmocka_unit_test(test_halves),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
