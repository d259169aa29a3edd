/* labels: core
 * test_lm_score.c - scoring against transformers (tools/golden_score.py): strided windows, blocks and lines; models
 * whose answers are known (uniform, one distribution everywhere); what is scored alone, together, on several threads
 * and with failing memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "golden/golden.h"
#include "task/lm.h"
#include "text/tokenizer_train.h"
#include "train/toy.h"

enum { V = 65, SEES = 16 };

/* The tiny model of tests/golden/gpt2, and a text with its characters as vocabulary. */
static genet_device    *device;
static genet_workspace *space;
static model           *m;
static tokenizer       *t;
static char            *text;
static size_t           n_text;
static json_t          *golden;
static char             folder[200];
static genet_err        err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)
#define NEAR(a, b, eps) do { double a_ = (a), b_ = (b); \
    if (!(fabs(a_ - b_) <= (eps) * fabs(b_))) fail_msg("%s is %.12g, not %.12g", #a, a_, b_); } while (0)
#define FAILS(call, words) do { assert_false(call); \
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words); } while (0)

static tokenizer *chars_of(const char *s, size_t n)
{
    char_set *set = calloc(1, sizeof *set);
    uint32_t code = 0;
    for (size_t i = 0; i < n; i += (size_t)genet__utf8_decode(s + i, n - i, &code), char_set_add(set, code)) {}
    tokenizer *made = genet__tokenizer_from_chars(set, &err);
    free(set);
    return made;
}

static int setup(void **state)
{
    (void)state;
    device = genet_device_cpu(2, &err);
    space = genet_workspace_new(device);
    m = genet__model_open(golden_path("gpt2"), device, true, &err);
    text = genet__file_read(golden_path("score/text.txt"), 1 << 20, &n_text, &err);
    golden = genet__json_read(golden_path("score/scores.json"), 1 << 20, &err);
    if (!m || !text || !golden) return -1;
    t = chars_of(text, n_text);
    toy_folder(folder, "score");
    return t && genet__file_make_dirs(folder, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    toy_remove(folder);
    json_decref(golden);
    genet__free(text);
    genet__tokenizer_free(t);
    genet__model_free(m);
    genet_workspace_free(space);
    genet_device_free(device);
    return 0;
}

/* s in a file of the test's folder. */
static const char *file_of(const char *s, size_t n)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/text", folder);
    OK(genet__file_write_all(path, s, n, &err));
    return path;
}

static double number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }
static int64_t integer(const json_t *o, const char *key) { return json_integer_value(json_object_get(o, key)); }

static void set_first(const model *of, int64_t id)
{
    const field *f = genet__fields_find(of->family->config, "bos_token_id");
    *(int64_t *)((char *)of->config + f->offset) = id;
}

/* --- transformers --------------------------------------------------------------------- */

static void check_means(const genet_score *s)
{
    NEAR(s->loss, -s->log_probability / (double)s->tokens, 1e-12);
    NEAR(s->perplexity, exp(s->loss), 1e-12);
    NEAR(s->word_perplexity, exp(-s->log_probability / (double)s->words), 1e-12);
    NEAR(s->bits_per_byte, -s->log_probability / log(2) / (double)s->bytes, 1e-12);
}

static void test_windows_of_the_guide(void **state)
{
    (void)state;
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(golden, "windows"), i, o) {
        lm_score_options how = { .stride = integer(o, "stride"), .context = integer(o, "context") };
        genet_score s;
        OK(genet__lm_score_text(m, t, space, text, n_text, &how, &s, &err));
        NEAR(s.loss, number(o, "loss"), 1e-6);
        assert_int_equal(s.tokens, integer(o, "tokens"));
        /* the guide's own weights are ours where windows do not overlap */
        if (how.stride == how.context && json_is_real(json_object_get(o, "guide_loss")))
            NEAR(s.loss, number(o, "guide_loss"), 1e-6);
        check_means(&s);
    }
    assert_int_equal(i, 14);
}

/* 76 words in 417 bytes and 413 characters; the first predicts nothing and is one byte. */
static void test_blocks(void **state)
{
    (void)state;
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(golden, "blocks"), i, o) {
        lm_score_options how = { .context = integer(o, "context") };
        genet_score s, same;
        const char *path = file_of(text, n_text);
        OK(genet__lm_score_text(m, t, space, text, n_text, how.context == SEES ? NULL : &how, &s, &err));
        OK(genet__lm_score_files(m, t, space, &path, 1, &how, &same, &err));
        NEAR(s.log_probability, number(o, "log_probability"), 1e-6);
        assert_int_equal(s.tokens, 412);
        assert_int_equal(s.words, 76);
        assert_int_equal(s.bytes, (int64_t)n_text - 1);
        assert_int_equal(s.unknown, 0);
        check_means(&s);
        assert_memory_equal(&s, &same, sizeof s);
    }
    assert_int_equal(i, 3);
}

/* What tell heard. */
typedef struct heard { int64_t n, stop_at; double log_probability[4000]; genet_score score[16]; size_t bytes; } heard;

static bool hear(void *user, int64_t n, const char *line, size_t bytes, const genet_score *s)
{
    heard *h = user;
    (void)line;
    assert_int_equal(n, h->n + 1);
    h->log_probability[h->n] = s->log_probability;
    if (h->n < 16) h->score[h->n] = *s;
    h->n++;
    h->bytes += bytes;
    return n != h->stop_at;
}

static void test_lines_of_the_golden_text(void **state)
{
    (void)state;
    const char *path = file_of(text, n_text);
    for (int first = 0; first < 2; first++) {
        heard *h = calloc(1, sizeof *h);
        size_t i;
        json_t *o;
        set_first(m, first ? integer(golden, "first") : -1);
        OK(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, h, &err));
        json_array_foreach(json_object_get(golden, "lines"), i, o) {
            double want = number(o, first ? "after_first" : "alone");
            if (want) NEAR(h->log_probability[i], want, 1e-6);
            else assert_true(h->score[i].log_probability == 0 && h->score[i].tokens == 0 && isnan(h->score[i].loss));
        }
        assert_int_equal(h->n, i);
        assert_int_equal(h->bytes, n_text - i);
        assert_int_equal(h->score[0].tokens, first ? 102 : 101);
        assert_int_equal(h->score[0].words, 18);
        free(h);
    }
    set_first(m, -1);
}

/* A line ends with \r\n as well: neither is part of it.  A \r elsewhere is. */
static void test_line_ends(void **state)
{
    (void)state;
    static const char unix_text[] = "The cat\n\nsat on\nit", dos_text[] = "The cat\r\n\r\nsat on\r\nit";
    heard *want = calloc(1, sizeof *want), *got = calloc(1, sizeof *got);
    const char *path = file_of(unix_text, strlen(unix_text));
    OK(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, want, &err));
    path = file_of(dos_text, strlen(dos_text));
    OK(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, got, &err));
    assert_int_equal(got->n, 4);
    assert_int_equal(got->bytes, strlen("The catsat onit"));
    for (int i = 0; i < 4; i++) assert_true(got->log_probability[i] == want->log_probability[i]);
    path = file_of("The\r\nca@\r\n", 10);
    FAILS(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, &(heard){ 0 }, &err), "text: byte 7: ");
    path = file_of("The\r", 4);
    FAILS(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, &(heard){ 0 }, &err), "text: byte 3: ");
    path = file_of("a\rb\n", 4);
    FAILS(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, &(heard){ 0 }, &err), "text: byte 1: ");
    free(want);
    free(got);
}

/* A bos_token_id that is no token of the model is none. */
static void test_first_token_outside(void **state)
{
    (void)state;
    static const int64_t outside[] = { -1, V, V + 1, 50256 };
    heard *want = calloc(1, sizeof *want);
    const char *path = file_of(text, n_text);
    for (int i = 0; i < 4; i++) {
        heard *got = i ? calloc(1, sizeof *got) : want;
        set_first(m, outside[i]);
        OK(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, got, &err));
        assert_int_equal(got->score[0].tokens, 101);
        for (int64_t k = 0; k < want->n; k++) assert_true(got->log_probability[k] == want->log_probability[k]);
        if (i) free(got);
    }
    set_first(m, V - 1);
    heard *last = calloc(1, sizeof *last);
    OK(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, last, &err));
    assert_int_equal(last->score[0].tokens, 102);
    set_first(m, -1);
    free(last);
    free(want);
}

/* --- models whose answers are known ------------------------------------------------------ */

/* The same distribution everywhere: the last norm answers (1, 0, 0, ...), and the table's first column holds log p. */
static model *constant_model(const double *p, int n)
{
    model *c = genet__model_open(golden_path("gpt2"), device, true, &err);
    assert_non_null(c);
    for (int i = 0; i < c->params->n; i++) {
        param *w = c->params->at[i];
        float *v = calloc(1, w->size_bytes);
        int64_t width = w->shape.rank == 2 ? w->shape.dim[1] : 0;
        if (strstr(w->name, "ln_f.bias")) v[0] = 1;
        if (strstr(w->name, "wte"))
            for (int k = 0; k < V; k++) v[k * width] = k < n ? (float)log(p[k]) : -100;
        OK(genet__params_write(c->params, w, v, w->size_bytes, &err));
        free(v);
    }
    return c;
}

static void test_known_answers(void **state)
{
    (void)state;
    /* ids are characters in order: a b c d are 0 1 2 3; P(b) P(c) P(a) = 1/4 1/8 1/2 = 1/64, perplexity 4 */
    static const double p[] = { .5, .25, .125, .125 };
    tokenizer *abcd = chars_of("abcd", 4);
    model *c = constant_model(p, 4);
    genet_score s;
    OK(genet__lm_score_text(c, abcd, space, "dbca", 4, NULL, &s, &err));
    NEAR(s.log_probability, -log(64), 1e-6);
    NEAR(s.perplexity, 4, 1e-6);
    NEAR(s.word_perplexity, 64, 1e-6);
    NEAR(s.bits_per_byte, 2, 1e-6);
    genet__model_free(c);
    /* uniform over V: V, whatever the windows */
    double uniform[V];
    for (int i = 0; i < V; i++) uniform[i] = 1. / V;
    c = constant_model(uniform, V);
    for (int stride = 0; stride <= 5; stride++) {
        OK(genet__lm_score_text(c, t, space, text, n_text, &(lm_score_options){ .stride = stride, .context = 5 }, &s, &err));
        NEAR(s.perplexity, V, 1e-5);
    }
    genet__model_free(c);
    genet__tokenizer_free(abcd);
}

/* Without memory of what came before, lines (all their tokens predicted) and line ends make up the whole. */
static void test_lines_make_up_the_text(void **state)
{
    (void)state;
    double p[V], sum = 0;
    for (int i = 0; i < V; i++) sum += p[i] = 1 + i % 7;
    for (int i = 0; i < V; i++) p[i] /= sum;
    model *c = constant_model(p, V);
    set_first(c, 3);
    genet_score s;
    heard *h = calloc(1, sizeof *h);
    const char *path = file_of(text, n_text);
    OK(genet__lm_score_text(c, t, space, text, n_text, NULL, &s, &err));
    OK(genet__lm_score_lines(c, t, space, &path, 1, NULL, hear, h, &err));
    double whole = s.log_probability + log(p[genet__tokenizer_find(t, text, 1)]), lines = 0;
    for (int64_t i = 0; i < h->n; i++) lines += h->log_probability[i] + log(p[genet__tokenizer_find(t, "\n", 1)]);
    NEAR(lines, whole, 1e-6);
    free(h);
    genet__model_free(c);
}

/* Words: what stands between them is in no token, and of unknown ones no letters; in memory and from files alike. */
static void test_words(void **state)
{
    (void)state;
    const char *path = file_of(text, n_text);
    text_source *source = genet__source_open(&path, 1, NULL, &err);
    tokenizer *words = genet__word_train(source, (int64_t)n_text, 20, NULL, &err);
    assert_non_null(words);
    genet_score s, same;
    token_list ids = {0};
    int32_t unknown = genet__tokenizer_unknown(words);
    int64_t n_unknown = 0;
    size_t first = 0;
    OK(genet__tokenizer_encode(words, text, n_text, &ids, &err));
    for (int i = 1; i < ids.n; i++) n_unknown += ids.at[i] == unknown;
    assert_true(n_unknown > 5 && ids.at[0] != unknown);
    genet__tokenizer_piece(words, ids.at[0], &first);
    OK(genet__lm_score_text(m, words, space, text, n_text, NULL, &s, &err));
    OK(genet__lm_score_files(m, words, space, &path, 1, NULL, &same, &err));
    assert_memory_equal(&s, &same, sizeof s);
    assert_int_equal(s.tokens, ids.n - 1);
    assert_int_equal(s.words, 76);
    assert_int_equal(s.unknown, n_unknown);
    assert_int_equal(s.bytes, n_text - first);
    check_means(&s);
    /* before a line stands the first token: all of the line counts */
    heard *h = calloc(1, sizeof *h);
    set_first(m, unknown);
    OK(genet__lm_score_lines(m, words, space, &path, 1, NULL, hear, h, &err));
    set_first(m, -1);
    assert_int_equal(h->score[0].bytes, 102);
    assert_int_equal(h->score[0].words, 18);
    assert_int_equal(h->score[0].tokens, 18);
    free(h);
    genet__token_list_release(&ids);
    genet__tokenizer_free(words);
    genet__source_close(source);
}

/* --- together, alone, on threads ----------------------------------------------------------- */

/* Pieces of the golden text of lengths 0 .. 59, some longer than the model sees, 2500 of them. */
static void test_lines_together_and_alone(void **state)
{
    (void)state;
    enum { LINES = 2500 };
    str all = {0};
    size_t begin[LINES], n[LINES];
    static char flat[1000];
    size_t n_flat = 0;
    for (size_t i = 0; i < n_text; i++)
        if (text[i] != '\n' && !(text[i] & 0x80)) flat[n_flat++] = text[i];
    for (size_t i = 0; i < LINES; i++) {
        begin[i] = i * 31 % (n_flat - 60);
        n[i] = i * 7 % 60;
        genet__str_add_n(&all, flat + begin[i], n[i]);
        if (i + 1 < LINES) genet__str_add(&all, "\n");
    }
    heard *h = calloc(1, sizeof *h);
    const char *path = file_of(all.at, all.n);
    OK(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, h, &err));
    assert_int_equal(h->n, LINES);
    for (size_t i = 0; i < LINES; i += 97) {
        genet_score s;
        if (n[i] < 2) continue;
        OK(genet__lm_score_text(m, t, space, flat + begin[i], n[i], NULL, &s, &err));
        NEAR(h->log_probability[i], s.log_probability, 1e-6);
    }
    memset(h, 0, sizeof *h);
    h->stop_at = 1030;
    OK(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, h, &err));
    assert_int_equal(h->n, 1030);
    free(h);
    genet__str_release(&all);
}

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    genet_score want, got;
    lm_score_options how = { .stride = 3 };
    for (int threads = 1; threads <= 3; threads += 2) {
        genet_device *d = genet_device_cpu(threads, &err);
        genet_workspace *w = genet_workspace_new(d);
        model *c = genet__model_open(golden_path("gpt2"), d, true, &err);
        OK(genet__lm_score_text(c, t, w, text, n_text, &how, threads == 1 ? &want : &got, &err));
        genet__model_free(c);
        genet_workspace_free(w);
        genet_device_free(d);
    }
    assert_memory_equal(&want, &got, sizeof want);
}

/* One model for several threads at once: nothing is declared in it. */
typedef struct job { genet_score score; bool ok; } job;

static void *score_in_thread(void *user)
{
    job *j = user;
    genet_err e;
    genet_workspace *w = genet_workspace_new(device);
    j->ok = genet__lm_score_text(m, t, w, text, n_text, &(lm_score_options){ .stride = 5 }, &j->score, &e);
    genet_workspace_free(w);
    return NULL;
}

static void test_model_is_shared(void **state)
{
    (void)state;
    enum { N = 4 };
    pthread_t thread[N];
    job j[N] = {0};
    int declared = m->params->n;
    for (int i = 0; i < N; i++) assert_int_equal(pthread_create(&thread[i], NULL, score_in_thread, &j[i]), 0);
    for (int i = 0; i < N; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < N; i++) assert_true(j[i].ok && !memcmp(&j[i].score, &j[0].score, sizeof j->score));
    assert_int_equal(m->params->n, declared);
}

/* --- what cannot be scored -------------------------------------------------------------------- */

static bool score(const char *s, size_t n, int64_t stride, int64_t context)
{
    genet_score out;
    return genet__lm_score_text(m, t, space, s, n, &(lm_score_options){ stride, context }, &out, &err);
}

static void test_refused(void **state)
{
    (void)state;
    FAILS(score("", 0, 0, 0), "0 tokens");
    assert_int_equal(err.code, GENET_ERR_FORMAT);
    FAILS(score("T", 1, 0, 0), "1 tokens");
    assert_true(score("Th", 2, 0, 0) && score("Th", 2, 16, 16) && score("Th", 2, 1, 2));
    FAILS(score("Th\xffugh", 6, 0, 0), "byte 2");
    FAILS(score("Th@t", 4, 0, 0), "U+0040");
    FAILS(score(text, n_text, 0, 17), "the model sees 1 to 16 tokens");
    FAILS(score(text, n_text, 12, 11), "left out");
    FAILS(score(text, n_text, 1, 1), "nothing to predict");
    const char *path = file_of("The\nh@lo", 8), *bad = golden_path("score/none.txt");
    heard *h = calloc(1, sizeof *h);
    genet_score s;
    FAILS(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, h, &err), "line 2: ");
    if (!strstr(err.text, "text: byte 5: ")) fail_msg("%s", err.text);
    FAILS(genet__lm_score_lines(m, t, space, &bad, 1, NULL, hear, h, &err), "none.txt");
    FAILS(genet__lm_score_files(m, t, space, &bad, 1, NULL, &s, &err), "none.txt");
    path = file_of("", 0);
    FAILS(genet__lm_score_files(m, t, space, &path, 1, NULL, &s, &err), "empty");
    OK(genet__lm_score_lines(m, t, space, &path, 1, NULL, hear, h, &err));
    assert_int_equal(h->n, 0);
    free(h);
}

static void test_damaged_weights(void **state)
{
    (void)state;
    genet_score s;
    model *c = genet__model_open(golden_path("gpt2"), device, true, &err);
    param *w = genet__params_find(c->params, "transformer.wte.weight");
    float *v = malloc(w->size_bytes);
    OK(genet__params_read(c->params, w, v, w->size_bytes, &err));
    v[5] = NAN;
    OK(genet__params_write(c->params, w, v, w->size_bytes, &err));
    FAILS(genet__lm_score_text(c, t, space, text, n_text, NULL, &s, &err), "not finite");
    free(v);
    genet__model_free(c);
}

static void test_other_models(void **state)
{
    (void)state;
    char all[300], *end = all;
    genet_score s;
    for (int i = 0; i < V + 1; i++) *end++ = (char)('0' + i);
    tokenizer *large = chars_of(all, (size_t)(end - all));
    FAILS(genet__lm_score_text(m, large, space, all, V, NULL, &s, &err), "do not belong together");
    genet__tokenizer_free(large);
    model table = { .family = &genet__family_mlp, .head = genet__family_mlp.heads, .params = m->params };
    FAILS(genet__lm_score_text(&table, t, space, text, n_text, NULL, &s, &err), "does not predict the next token");
}

/* Every allocation fails once: an error each time, until there are enough. */
static void test_out_of_memory(void **state)
{
    (void)state;
    const char *path = file_of(text, n_text);
    heard *h = calloc(1, sizeof *h);
    for (int kind = 0; kind < 3; kind++) {
        bool ok = false;
        int failed = 0;
        for (long n = 0; !ok; n++, failed += !ok) {
            genet_score s;
            lm_score_options how = { .stride = 8 };
            genet_workspace *w = genet_workspace_new(device);
            memset(h, 0, sizeof *h);
            genet__alloc_fail_after(n);
            if (kind == 0) ok = genet__lm_score_text(m, t, w, text, n_text, &how, &s, &err);
            else if (kind == 1) ok = genet__lm_score_files(m, t, w, &path, 1, &how, &s, &err);
            else ok = genet__lm_score_lines(m, t, w, &path, 1, &how, hear, h, &err);
            genet__alloc_fail_after(-1);
            if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
            genet_workspace_free(w);
        }
        assert_true(failed > 20);
    }
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_of_the_guide), cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_lines_of_the_golden_text), cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_lines_make_up_the_text), cmocka_unit_test(test_words),
        cmocka_unit_test(test_line_ends), cmocka_unit_test(test_first_token_outside),
        cmocka_unit_test(test_lines_together_and_alone),
        cmocka_unit_test(test_threads_change_no_bit), cmocka_unit_test(test_model_is_shared),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_damaged_weights), cmocka_unit_test(test_other_models),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
