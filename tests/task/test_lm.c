/* labels: core
 * test_lm.c - the full pass: every token but the first predicted once, in
 * blocks, the last one shorter, against one pass a block; and its bits per byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/file.h"
#include "task/lm.h"
#include "train/toy.h"

enum { T = 8 };

static genet_err err;
#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

static void set_int(void *config, const char *name, int64_t value)
{
    const field *f = genet__fields_find(genet__family_gpt2.config, name);
    *(int64_t *)((char *)config + f->offset) = value;
}

static model *small_model(genet_device *d, arena *a, int64_t vocab)
{
    void *config = genet__family_config(&genet__family_gpt2, a, &err);
    set_int(config, "vocab_size", vocab);
    set_int(config, "n_positions", T);
    set_int(config, "n_embd", 16);
    set_int(config, "n_layer", 1);
    set_int(config, "n_head", 2);
    model *m = genet__model_new(&genet__family_gpt2, config, d, 11, &err);
    assert_non_null(m);
    OK(genet__model_declare(m, &err));
    OK(genet__params_place(m->params, &err) && genet__params_fill(m->params, &err));
    return m;
}

/* - sum of log p(target), computed in double from the logits of one block. */
static double block_loss(model *m, genet_workspace *w, const int32_t *ids, int64_t n)
{
    float logits[T * 64];
    int64_t vocab = *genet__model_int(m, m->family->vocab_size);
    double loss = 0;
    graph *g = genet_graph_new();
    net b = { .graph = g, .params = m->params };
    tensor *x = genet_input(g, "x", GENET_I32, GENET_DIMS(1, n));
    tensor *y = genet_copy(genet__model_forward(m, &b, &(model_inputs){ .x = x }));
    genet_plan *p = genet_compile(g, &y, 1, m->params->device, NULL, &err);
    assert_non_null(p);
    OK(genet_plan_attach(p, w, &err) && genet__params_bind(m->params, g, p, &err));
    OK(genet_plan_write(p, x, ids, (size_t)n * sizeof *ids, &err) && genet_plan_run(p, &err));
    OK(genet_plan_read(p, y, logits, (size_t)(n * vocab) * sizeof *logits, &err));
    for (int64_t t = 0; t < n; t++) {
        double sum = 0;
        for (int64_t v = 0; v < vocab; v++) sum += exp((double)logits[t * vocab + v]);
        loss += log(sum) - (double)logits[t * vocab + ids[t + 1]];
    }
    genet_plan_free(p);
    genet_graph_free(g);
    return loss;
}

/* A text in a file of its own, as a corpus that is all validation. */
static tokenizer *open_text(corpus *c, const char *path, const char *text)
{
    text_scan *scan = genet__alloc(sizeof *scan);
    OK(genet__file_write_all(path, text, strlen(text), &err));
    text_source *s = genet__source_open(&path, 1, NULL, &err);
    assert_non_null(s);
    OK(genet__source_scan(s, scan, &err));
    tokenizer *t = genet__tokenizer_from_chars(&scan->chars, &err);
    assert_non_null(t);
    OK(genet__corpus_temporary(c, s, t, &err));
    genet__source_close(s);
    genet__free(scan);
    return t;
}

static void test_full_pass(void **state)
{
    (void)state;
    /* 41 characters in 45 bytes: 5 blocks of 8 predictions; one less or more, and the last block is ragged */
    static const char *const texts[] = { "to be or not to be, that is the questi\xc3\xb6n \xe2\x82\xac\xc3\xa9",
                                         "ab", "to be or not to be, that is the question: whether", "abcdefgh", "abcdefghi",
                                         "abcdefghij" };
    char folder[200], path[300];
    toy_folder(folder, "lm");
    OK(genet__file_make_dirs(folder, &err));
    snprintf(path, sizeof path, "%s/text", folder);
    genet_device *d = genet_device_cpu(1, &err);
    genet_workspace *w = genet_workspace_new(d);
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        corpus c;
        arena a = {0};
        tokenizer *t = open_text(&c, path, texts[k]);
        model *m = small_model(d, &a, genet__tokenizer_size(t));
        int32_t ids[64];
        double want = 0;
        int64_t n = c.n_tokens, first;
        genet__corpus_read(&c, 0, n, ids);
        for (int64_t at = 0; at < n - 1; at += T) want += block_loss(m, w, ids + at, n - 1 - at < T ? n - 1 - at : T);
        const char *second = texts[k] + 1;      /* all texts begin with one byte */
        for (first = 1; first <= 3; first++) {
            lm_eval e;
            train_score s;
            OK(genet__lm_eval_build(&e, m, NULL, first, T, GENET_F32, &err) && genet__lm_eval_attach(&e, m, w, &err));
            OK(genet__lm_eval_run(&e, &c, t, 0, n, &s, &err));
            assert_int_equal(s.count, n - 1);
            assert_true(fabs(s.loss - want / (double)(n - 1)) < 1e-6 * s.loss);
            assert_true(fabs(s.perplexity - exp(s.loss)) < 1e-9 * s.perplexity);
            assert_true(fabs(s.bits_per_byte - want / log(2) / (double)strlen(second)) < 1e-5);
            genet__lm_eval_release(&e);
        }
        genet__model_free(m);
        genet__corpus_close(&c);
        genet__tokenizer_free(t);
        genet__arena_release(&a);
    }
    genet_workspace_free(w);
    genet_device_free(d);
    toy_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_full_pass) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
