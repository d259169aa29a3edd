/* labels: core
 * test_texts.c - whole texts through models: vectors equal to what transformers gives (tests/golden/heads, made by
 * tools/golden_heads.py), answers that do not depend on the company, special tokens, sentence-transformers' folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "format/npy.h"
#include "golden/golden.h"
#include "infer/texts.h"
#include "text/frame.h"
#include "text/labelled.h"

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)
static genet_err err;
enum { ROWS = 4, LONGEST = 12, WIDTH = 8 };

typedef struct fixture {
    genet_device    *device;
    genet_workspace *space;
    model           *m;
    safetensors      golden;
    int32_t          ids[ROWS * LONGEST], lengths[ROWS];
    text_row         row[ROWS];
} fixture;

static const unsigned char *bytes_of(const fixture *f, const char *name)
{
    const safetensor *t = genet__safetensors_find(&f->golden, name);
    if (!t) fail_msg("%s is not in the golden file", name);
    return t->at;
}

static void open_fixture(fixture *f)
{
    *f = (fixture){0};
    OK(f->device = genet_device_cpu(2, &err));
    f->space = genet_workspace_new(f->device);
    OK(f->m = genet__model_open(golden_path("heads/sentences"), f->device, MODEL_READ_ONLY, &err));
    OK(genet__safetensors_open(&f->golden, golden_path("heads/sentences/golden.safetensors"), &err));
    memcpy(f->ids, bytes_of(f, "ids"), sizeof f->ids);
    memcpy(f->lengths, bytes_of(f, "lengths"), sizeof f->lengths);
    for (int i = 0; i < ROWS; i++) f->row[i] = (text_row){ f->ids + i * LONGEST, f->lengths[i], f->lengths[i] };
}

static void close_fixture(fixture *f)
{
    genet__model_free(f->m);
    genet__safetensors_close(&f->golden);
    genet_workspace_free(f->space);
    genet_device_free(f->device);
}

static bool keep(void *user, int64_t i, const float *y, int64_t n, genet_err *why)
{
    (void)why;
    assert_int_equal(n, 1);
    memcpy((float *)user + i * WIDTH, y, WIDTH * sizeof *y);
    return true;
}

static void run(fixture *f, pooling pool, const text_row *row, int n, float *out)
{
    texts *t = genet__texts_new(f->m, NULL, f->space, pool, GENET_F32, &err);
    OK(t);
    assert_int_equal(genet__texts_width(t), WIDTH);
    OK(genet__texts_run(t, row, n, keep, out, &err));
    genet__texts_free(t);
}

static void test_vectors(void **state)
{
    (void)state;
    static const struct { const char *name; pooling pool; } all[] = { { "mean", POOL_MEAN }, { "cls", POOL_CLS }, { "max", POOL_MAX } };
    fixture f;
    open_fixture(&f);
    for (int k = 0; k < 3; k++) {
        float got[ROWS * WIDTH], want[ROWS * WIDTH], unit[ROWS * WIDTH];
        char name[20];
        run(&f, all[k].pool, f.row, ROWS, got);
        memcpy(want, bytes_of(&f, all[k].name), sizeof want);
        snprintf(name, sizeof name, "%s.unit", all[k].name);
        memcpy(unit, bytes_of(&f, name), sizeof unit);
        for (int i = 0; i < ROWS * WIDTH; i++)
            if (!(fabsf(got[i] - want[i]) < 1e-5f)) fail_msg("%s[%d] is %.9g, not %.9g", all[k].name, i, (double)got[i], (double)want[i]);
        for (int i = 0; i < ROWS; i++) genet__unit_length(got + i * WIDTH, WIDTH);
        for (int i = 0; i < ROWS * WIDTH; i++)
            if (!(fabsf(got[i] - unit[i]) < 1e-5f)) fail_msg("%s[%d] is %.9g, not %.9g", name, i, (double)got[i], (double)unit[i]);
    }
    close_fixture(&f);
}

/* A text's vector is the same to the last bit alone and among others, first and last. */
static void test_company(void **state)
{
    (void)state;
    fixture f;
    float all[3 * ROWS * WIDTH], one[WIDTH];
    text_row many[3 * ROWS];
    open_fixture(&f);
    for (int i = 0; i < 3 * ROWS; i++) many[i] = f.row[(i * 7) % ROWS];
    run(&f, POOL_MEAN, many, 3 * ROWS, all);
    for (int i = 0; i < 3 * ROWS; i++) {
        run(&f, POOL_MEAN, &many[i], 1, one);
        assert_memory_equal(one, all + i * WIDTH, sizeof one);
    }
    text_row none = { f.ids, 0, 0 }, long_one = { f.ids, 17, 17 };
    texts *t = genet__texts_new(f.m, NULL, f.space, POOL_LAST, GENET_F32, &err);
    OK(t);
    assert_false(genet__texts_run(t, &none, 1, keep, one, &err));
    assert_false(genet__texts_run(t, &long_one, 1, keep, one, &err));
    genet__texts_free(t);
    close_fixture(&f);
}

static void test_sentence_options(void **state)
{
    (void)state;
    fixture f;
    sentence_options o;
    char folder[] = "/tmp/genet-texts.XXXXXX", path[200];
    open_fixture(&f);
    OK(genet__sentence_read(&o, f.m, golden_path("heads/sentences"), &err));
    assert_int_equal(o.pool, POOL_MEAN);
    assert_true(o.normalize);
    assert_int_equal(o.max_length, 16);
    OK(genet__sentence_read(&o, f.m, golden_path("bert/bert-hidden"), &err));
    assert_false(o.normalize);
    assert_non_null(mkdtemp(folder));
    static const char *const bad[][2] = {
        { "[{\"type\": \"sentence_transformers.models.Dense\", \"path\": \"2_Dense\"}]", "Dense" },
        { "[{\"type\": \"sentence_transformers.models.Pooling\", \"path\": \"../x\"}]", "inside the folder" },
        { "[{\"type\": \"sentence_transformers.models.Pooling\", \"path\": \"1_Pooling\"}]", "1_Pooling" }, { "[3]", "type" },
    };
    snprintf(path, sizeof path, "%s/modules.json", folder);
    for (int i = 0; i < 4; i++) {
        OK(genet__file_write_all(path, bad[i][0], strlen(bad[i][0]), &err));
        assert_false(genet__sentence_read(&o, f.m, folder, &err));
        if (!strstr(err.text, bad[i][1])) fail_msg("\"%s\" does not name %s", err.text, bad[i][1]);
    }
    OK(genet__file_remove_tree(folder, &err));
    close_fixture(&f);
}

/* --- special tokens, labelled texts, arrays ------------------------------------------------------ */

static void expect_frame(frame f, const int32_t *b, int64_t n_b, const char *want, int want_first)
{
    static const int32_t a[] = { 10, 11 };
    token_list out = {0};
    char got[100] = "";
    int first;
    OK(genet__frame_ids(&f, a, 2, b, n_b, &out, &first, &err));
    for (int i = 0; i < out.n; i++) snprintf(got + strlen(got), sizeof got - strlen(got), "%d ", (int)out.at[i]);
    assert_string_equal(got, want);
    assert_int_equal(first, want_first);
    assert_int_equal(out.n, 2 + n_b + genet__frame_tokens(&f, b));
    genet__token_list_release(&out);
}

static void test_frames(void **state)
{
    (void)state;
    static const int32_t b[] = { 20 };
    expect_frame((frame){ 1, 2, 1, false }, NULL, 0, "1 10 11 2 ", 4);
    expect_frame((frame){ 1, 2, 1, false }, b, 1, "1 10 11 2 20 2 ", 4);
    expect_frame((frame){ 0, 2, 2, false }, b, 1, "0 10 11 2 2 20 2 ", 5);
    expect_frame((frame){ -1, 5, 1, false }, NULL, 0, "10 11 ", 2);
    expect_frame((frame){ -1, 5, 1, false }, b, 1, "10 11 5 20 ", 3);
    expect_frame((frame){ -1, -1, 0, false }, b, 1, "10 11 20 ", 2);
}

static void write_file(const char *path, const char *text) { OK(genet__file_write_all(path, text, strlen(text), &err)); }

static void test_labelled(void **state)
{
    (void)state;
    char folder[] = "/tmp/genet-labelled.XXXXXX", path[200];
    labelled l;
    int n;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.jsonl", folder);
    write_file(path, "{\"text\": \"a\", \"label\": 10}\n\n{\"text\": \"b\", \"label\": 9}\n{\"text\": \"c\"}\n{\"text\": \"d\", \"label\": \"9\"}\n");
    OK(genet__labelled_read(&l, path, &(labelled_columns){ "text", NULL, "label" }, &err));
    assert_int_equal(l.n, 3);
    assert_int_equal(l.n_unlabelled, 1);
    const char **classes = genet__labelled_classes(&l, &n);
    assert_int_equal(n, 2);
    assert_string_equal(classes[0], "9");          /* by number */
    assert_int_equal(genet__labelled_class(classes, n, "10"), 1);
    assert_int_equal(genet__labelled_class(classes, n, "11"), -1);
    genet__labelled_release(&l);
    assert_false(genet__labelled_read(&l, path, &(labelled_columns){ "text", "pair", "label" }, &err));
    assert_non_null(strstr(err.text, "line 1 has no \"pair\""));
    genet__labelled_release(&l);
    write_file(path, "{\"text\": [1], \"label\": 1}\n");
    assert_false(genet__labelled_read(&l, path, &(labelled_columns){ "text", NULL, "label" }, &err));
    genet__labelled_release(&l);
    snprintf(path, sizeof path, "%s/a.tsv", folder);
    write_file(path, "q\ttext\tlabel\nwhy, then\t12\tno\nwho\t?\tyes\n");
    OK(genet__labelled_read(&l, path, &(labelled_columns){ "q", "text", "label" }, &err));
    assert_int_equal(l.n, 2);
    assert_string_equal(l.at[0].text, "why, then");
    assert_string_equal(l.at[1].pair, "?");
    genet__labelled_release(&l);
    OK(genet__file_remove_tree(folder, &err));
}

static void test_arrays(void **state)
{
    (void)state;
    char path[] = "/tmp/genet-npy.XXXXXX";
    static const float x[6] = { 0, 1.5f, -2, 3e10f, 1e-30f, 7 };
    npy a;
    close(mkstemp(path));
    OK(genet__npy_write(path, x, 2, 3, &err));
    OK(genet__npy_open(&a, path, &err));
    assert_int_equal(a.dim[0], 2);
    assert_int_equal(a.dim[1], 3);
    for (int i = 0; i < 6; i++) assert_true((float)genet__npy_double(&a, i) == x[i]);
    genet__npy_close(&a);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_company), cmocka_unit_test(test_sentence_options),
        cmocka_unit_test(test_frames), cmocka_unit_test(test_labelled), cmocka_unit_test(test_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
