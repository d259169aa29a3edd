/* labels: core
 * test_model.c - the life of a model inside a C program: trained with a function that
 * hears of every step, stopped and resumed, opened, asked to write, complete
 * and score; what is wrong comes back in words, and memory that runs out
 * anywhere leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/little.h"
#include "base/alloc.h"

static genet_device *device;
static genet_model  *model;
static char          folder[200], trained[300];
static genet_err     err;

#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)
/* The call fails, and its words hold these. */
#define REFUSED(call, words) do { \
    err = (genet_err){ GENET_OK, "" }; \
    if (call) fail_msg("%s was not refused", #call); \
    if (err.code == GENET_OK || !strstr(err.text, words)) fail_msg("%s: \"%s\" does not say \"%s\"", #call, err.text, words); \
} while (0)

static int setup(void **state)
{
    (void)state;
    little_folder(folder);
    little_path(trained, folder, "model");
    device = genet_device_cpu(1, &err);
    genet_options *o = device ? little_options(folder, "model", "40", &err) : NULL;
    bool ok = o && genet_train(o, device, NULL, NULL, &err);
    genet_options_free(o);
    model = ok ? genet_model_open(trained, device, &err) : NULL;
    if (!model) print_error("%s\n", err.text);
    return model ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    genet_model_free(model);
    genet_device_free(device);
    little_remove(folder);
    return 0;
}

/* --- training -------------------------------------------------------------------------- */

/* What a run told; false after step stop_at. */
typedef struct diary { int64_t n, stop_at, evaluated, begin; genet_step last; bool orderly; } diary;

static bool hear(void *user, const genet_step *s)
{
    diary *d = user;
    if (!d->n++) d->begin = s->step;
    else d->orderly &= s->step == d->last.step + 1;
    d->orderly &= isfinite(s->loss) && isfinite(s->grad_norm) && s->learning_rate > 0;
    d->orderly &= s->evaluated == (s->step % 4 == 0 || s->step == s->max_steps);
    d->orderly &= s->step < 4 ? isnan(s->val_loss) : isfinite(s->val_loss);
    d->evaluated += s->evaluated;
    d->last = *s;
    return s->step != d->stop_at;
}

static char *contents(const char *in, const char *name, size_t *n)
{
    char path[300], *bytes = calloc(1, 1 << 20);
    FILE *f = fopen(little_path(path, in, name), "rb");
    assert_true(f && bytes);
    *n = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    assert_true(*n > 0);
    return bytes;
}

/* Stopped and resumed, the weights are those of the run that was not. */
static void test_stop_and_resume(void **state)
{
    (void)state;
    char whole[300], parts[300];
    diary all = { .orderly = true }, first = { .orderly = true, .stop_at = 5 }, second = { .orderly = true };
    genet_options *o = little_options(folder, "whole", "10", &err);
    OK(o);
    OK(genet_train(o, device, hear, &all, &err));
    assert_true(all.orderly && all.begin == 1);
    assert_int_equal(all.n, 10);
    assert_int_equal(all.evaluated, 3);
    assert_int_equal(all.last.max_steps, 10);
    REFUSED(genet_train(o, device, hear, &all, &err), "whole");         /* never over a model that is there */

    OK(genet_options_set(o, "out", little_path(parts, folder, "parts"), &err));
    REFUSED(genet_train(o, device, hear, &first, &err), "stopped after step");
    assert_int_equal(err.code, GENET_ERR_STOPPED);
    assert_int_equal(first.n, 5);               /* nothing is told after false */
    OK(genet_options_set(o, "resume", NULL, &err));
    OK(genet_train(o, device, hear, &second, &err));
    assert_in_range(second.begin, 6, 7);        /* saved after that step, or after the one under way by then */
    assert_true(second.orderly && second.last.step == 10);
    genet_options_free(o);
    size_t n, m;
    char *a = contents(little_path(whole, folder, "whole"), "model.safetensors", &n);
    char *b = contents(parts, "model.safetensors", &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

static void test_training_refusals(void **state)
{
    (void)state;
    char path[300];
    genet_options *o = genet_options_new("train gpt2", &err);
    OK(o);
    REFUSED(genet_train(o, device, NULL, NULL, &err), "out");
    OK(genet_options_set(o, "out", little_path(path, folder, "none"), &err));
    REFUSED(genet_train(o, device, NULL, NULL, &err), "data");
    OK(genet_options_set(o, "data", "/nowhere/text.txt", &err));
    REFUSED(genet_train(o, device, NULL, NULL, &err), "/nowhere/text.txt");
    assert_null(fopen(path, "r"));              /* what never began leaves no folder */
    REFUSED(genet_options_set(o, "model", "mlp", &err), "mlp");
    REFUSED(genet_options_set(o, "threads", "2", &err), "genet_device_cpu");
    genet_options_free(o);

    o = genet_options_new("train lm", &err);
    OK(genet_options_set(o, "model", "gpt2", &err));
    OK(genet_options_set(o, "n-layer", "1", &err));
    REFUSED(genet_options_set(o, "model", "nothing", &err), "nothing");
    genet_options_free(o);
    o = genet_options_new("generate", &err);
    REFUSED(genet_train(o, device, NULL, NULL, &err), "train");
    genet_options_free(o);
}

/* --- options ------------------------------------------------------------------------------ */

static void test_options(void **state)
{
    (void)state;
    genet_options *o = genet_options_new("generate", &err);
    OK(o);
    OK(genet_options_set(o, "top-k", "5", &err));
    OK(genet_options_set(o, "top_k", "6", &err));
    OK(genet_options_set(o, "ignore_eos", NULL, &err));
    REFUSED(genet_options_set(o, "temperatur", "1", &err), "temperature");
    REFUSED(genet_options_set(o, "temperature", "warm", &err), "temperature");
    REFUSED(genet_options_set(o, "temperature", "-1", &err), "temperature");
    REFUSED(genet_options_set(o, "top_k", NULL, &err), "top_k");
    REFUSED(genet_options_set(o, "early_stopping", "perhaps", &err), "perhaps");
    REFUSED(genet_options_set(o, NULL, "1", &err), "NULL");
    REFUSED(genet_options_set(NULL, "top_k", "1", &err), "NULL");
    genet_options_free(o);
    REFUSED(genet_options_new("generat", &err), "generate");
    REFUSED(genet_options_new("train", &err), "gpt2");
    REFUSED(genet_options_new("train gtp2", &err), "gpt2");
    REFUSED(genet_options_new("trainer", &err), "train WHAT");
    REFUSED(genet_options_new(NULL, &err), "NULL");
    genet_options_free(NULL);
}

/* --- text and ids ---------------------------------------------------------------------------- */

static void test_tokens(void **state)
{
    (void)state;
    static const char text[] = "the dog runs over the moon";
    int32_t *ids, bad[] = { 0, 1 << 20 };
    size_t n, n_bytes;
    OK(genet_tokenize(model, text, strlen(text), &ids, &n, &err));
    assert_int_equal(n, strlen(text));          /* a character is a token */
    char *back = genet_detokenize(model, ids, n, &n_bytes, &err);
    OK(back);
    assert_int_equal(n_bytes, strlen(text));
    assert_string_equal(back, text);
    free(back);
    free(ids);
    OK(genet_tokenize(model, NULL, 0, &ids, &n, &err));
    assert_int_equal(n, 0);
    free(ids);
    OK(back = genet_detokenize(model, NULL, 0, NULL, &err));
    assert_string_equal(back, "");
    free(back);
    REFUSED(genet_tokenize(model, "Z", 1, &ids, &n, &err), "Z");
    assert_null(ids);
    REFUSED(genet_tokenize(model, NULL, 1, &ids, &n, &err), "NULL");
    REFUSED(genet_tokenize(NULL, "a", 1, &ids, &n, &err), "NULL");
    REFUSED(genet_detokenize(model, bad, 2, NULL, &err), "1048576");
    REFUSED(genet_detokenize(model, NULL, 2, NULL, &err), "NULL");
}

/* --- generating -------------------------------------------------------------------------------- */

/* What was written: pieces joined, and whether all they say agrees. */
typedef struct heard { char text[2000]; size_t n; int pieces, tokens, ended, stop_after; double sum, score; bool sound; char finish[20]; } heard;

static bool listen(void *user, const genet_piece *p)
{
    heard *h = user;
    h->pieces++;
    h->sound &= strlen(p->text) == p->n_bytes && h->n + p->n_bytes < sizeof h->text;
    if (!h->sound) return false;
    memcpy(h->text + h->n, p->text, p->n_bytes);
    h->n += p->n_bytes;
    for (int i = 0; i < p->n_token; i++) {
        const genet_token *t = &p->token[i];
        h->sum += t->logprob;
        h->sound &= t->logprob <= 0 && t->id >= 0;
        for (int k = 1; k < t->n_top; k++) h->sound &= t->top[k].logprob <= t->top[k - 1].logprob;
    }
    h->tokens += p->n_token;
    if (p->finish) {
        h->ended++;
        h->score = p->score;
        snprintf(h->finish, sizeof h->finish, "%s", p->finish);
    }
    return h->pieces != h->stop_after;
}

static heard write_text(genet_session *s, const char *prompt, const genet_options *o)
{
    heard h = { .sound = true };
    OK(genet_generate(s, prompt, o, listen, &h, &err));
    assert_true(h.sound && h.ended > 0);
    return h;
}

static void test_generate(void **state)
{
    (void)state;
    genet_session *s = genet_session_new(model, &err);
    genet_options *o = genet_options_new("generate", &err);
    OK(s && o);
    OK(genet_options_set(o, "max_new_tokens", "20", &err) && genet_options_set(o, "logprobs", "3", &err));
    heard a = write_text(s, "the ", o);
    assert_int_equal(a.tokens, 20);
    assert_string_equal(a.finish, "length");
    assert_true(fabs(a.sum - a.score) < 1e-6);
    heard b = write_text(s, "the ", o);
    assert_string_equal(a.text, b.text);
    assert_true(a.sum == b.sum);
    OK(genet_options_set(o, "seed", "7", &err) && genet_options_set(o, "temperature", "2", &err));
    assert_string_not_equal(write_text(s, "the ", o).text, a.text);

    heard early = { .sound = true, .stop_after = 3 };
    OK(genet_generate(s, "the ", o, listen, &early, &err));
    assert_true(early.sound);
    assert_int_equal(early.pieces, 3);          /* nothing is told after false */
    assert_int_equal(early.ended, 0);
    OK(genet_options_set(o, "num_return_sequences", "3", &err));
    assert_int_equal(write_text(s, "the ", o).ended, 3);
    genet_options_free(o);
    genet_session_free(s);
}

/* What an option implies for others holds here as on the command line. */
static void test_options_imply(void **state)
{
    (void)state;
    static const struct { const char *name, *value, *other, *its; int tokens; } cases[] = {
        { "max_length", "230", NULL, NULL, 226 }, { "max_length", "7", NULL, NULL, 3 },
        { "max_length", "7", "max_new_tokens", "2", 2 }, { "num_beams", "4", "max_new_tokens", "5", 5 },
    };
    genet_session *s = genet_session_new(model, &err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        genet_options *o = genet_options_new("generate", &err);
        OK(o && genet_options_set(o, cases[i].name, cases[i].value, &err));
        if (cases[i].other) OK(genet_options_set(o, cases[i].other, cases[i].its, &err));
        assert_int_equal(write_text(s, "the ", o).tokens, cases[i].tokens);
        genet_options_free(o);
    }
    genet_options *o = genet_options_new("generate", &err);
    OK(o && genet_options_set(o, "num_beams", "4", &err) && genet_options_set(o, "temperature", "1", &err));
    REFUSED(genet_generate(s, "the ", o, listen, &(heard){ .sound = true }, &err), "beams are not sampled");
    OK(genet_options_set(o, "num_beams", "1", &err) && genet_options_set(o, "eos_token_id", "4000", &err));
    REFUSED(genet_generate(s, "the ", o, listen, &(heard){ .sound = true }, &err), "eos_token_id 4000");
    genet_options_free(o);
    genet_session_free(s);
}

/* A callback that comes back to its session is refused in words; one of its own it may use. */
typedef struct visitor { genet_session *own, *other; int refused, welcome; } visitor;

static bool visit(void *user, const genet_piece *p)
{
    visitor *v = user;
    genet_session *at[] = { v->own, v->other };
    genet_score score;
    genet_completion c;
    (void)p;
    for (int i = 0; i < 2; i++) {
        int n = 1, *count = i ? &v->welcome : &v->refused;
        bool ok[] = { genet_generate(at[i], "the ", NULL, listen, &(heard){ .sound = true, .stop_after = 2 }, &err),
                      genet_complete(at[i], "the ", &c, &n, &err),
                      genet_evaluate(at[i], "the sun", 7, NULL, &score, &err) };
        for (int k = 0; k < 3; k++) *count += ok[k] == i;
        if (!i) assert_non_null(strstr(err.text, "this session is generating: a callback needs a session of its own"));
    }
    return true;
}

static void test_callback_comes_back(void **state)
{
    (void)state;
    visitor v = { .own = genet_session_new(model, &err), .other = genet_session_new(model, &err) };
    genet_options *o = genet_options_new("generate", &err);
    OK(v.own && v.other && o && genet_options_set(o, "max_new_tokens", "4", &err));
    heard before = write_text(v.own, "the ", o);
    OK(genet_generate(v.own, "the ", o, visit, &v, &err));
    assert_in_range(v.refused, 3, 12);
    assert_int_equal(v.welcome, v.refused);
    assert_string_equal(write_text(v.own, "the ", o).text, before.text);        /* free again, and unharmed */
    genet_options_free(o);
    genet_session_free(v.own);
    genet_session_free(v.other);
}

/* A call that fails lets go of its decoder, so the next one makes another; one that does not keeps it. */
static void test_failed_writer(void **state)
{
    (void)state;
    genet_session *s = genet_session_new(model, &err);
    genet_options *o = genet_options_new("generate", &err), *bad = genet_options_new("generate", &err);
    OK(s && o && bad && genet_options_set(o, "max_new_tokens", "4", &err));
    OK(genet_options_set(bad, "no_repeat_ngram_size", "1", &err));
    heard first = write_text(s, "the ", o);
    genet__alloc_fail_after(-1);
    heard again = write_text(s, "the ", o);
    long kept = genet__alloc_fail_after(-1);
    REFUSED(genet_generate(s, "the ", bad, listen, &(heard){ .sound = true }, &err), "forbids every token");
    genet__alloc_fail_after(-1);
    heard after = write_text(s, "the ", o);
    long made = genet__alloc_fail_after(-1);
    assert_true(made > kept + 10);
    assert_string_equal(first.text, again.text);
    assert_string_equal(first.text, after.text);
    genet_options_free(o);
    genet_options_free(bad);
    genet_session_free(s);
}

/* A folder's generation_config.json counts where nothing was given. */
static void test_generation_defaults(void **state)
{
    (void)state;
    char path[300], small[300];
    genet_options *train = little_options(folder, "small", "1", &err), *o = genet_options_new("generate", &err);
    OK(train && o && genet_train(train, device, NULL, NULL, &err));
    little_path(small, folder, "small");
    assert_true(little_write(little_path(path, small, "generation_config.json"), "{\"max_new_tokens\": 7, \"do_sample\": false}"));
    genet_model *m = genet_model_open(small, device, &err);
    OK(m);
    genet_session *s = genet_session_new(m, &err);
    assert_int_equal(write_text(s, "the ", NULL).tokens, 7);
    OK(genet_options_set(o, "seed", "5", &err));
    heard greedy = write_text(s, "the ", o);
    assert_int_equal(greedy.tokens, 7);
    assert_string_equal(greedy.text, write_text(s, "the ", NULL).text);         /* no draw, no seed */
    OK(genet_options_set(o, "max_new_tokens", "4", &err));
    assert_int_equal(write_text(s, "the ", o).tokens, 4);
    genet_session_free(s);
    genet_model_free(m);
    genet_options_free(train);

    /* the file is read at opening, and settled with what each call gives */
    static const struct { const char *file, *words; } faults[] = {
        { "{\"max_new_tokens\": \"many\"}", "max_new_tokens" },
        { "{\"typical_p\": 0, \"max_new_tokens\": 3}", "typical_p" },
        { "{\"num_beams\": 3, \"do_sample\": true}", "num_beams 3 with do_sample true" },
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        assert_true(little_write(path, faults[i].file));
        OK(m = genet_model_open(small, device, &err));
        OK(s = genet_session_new(m, &err));
        REFUSED(genet_generate(s, "the ", NULL, listen, &(heard){ .sound = true }, &err), faults[i].words);
        assert_int_equal(err.code, GENET_ERR_FORMAT);
        assert_non_null(strstr(err.text, "generation_config.json"));
        genet_session_free(s);
        genet_model_free(m);
    }
    assert_true(little_write(path, "{\"max_length\": 6, \"num_beams\": 3}"));
    OK(m = genet_model_open(small, device, &err));
    OK(s = genet_session_new(m, &err));
    assert_int_equal(write_text(s, "the ", NULL).tokens, 2);
    assert_int_equal(write_text(s, "the ", o).tokens, 4);       /* the caller's max_new_tokens before the file's length */
    genet_session_free(s);
    genet_model_free(m);
    genet_options_free(o);
    assert_true(little_write(path, "[]"));
    REFUSED(genet_model_open(small, device, &err), "must be a JSON object");
}

static void test_complete(void **state)
{
    (void)state;
    genet_session *s = genet_session_new(model, &err);
    genet_completion out[5];
    int n = 5;
    OK(genet_complete(s, "the sun goes up and the mo", out, &n, &err));
    assert_in_range(n, 1, 5);
    double sum = 0;
    for (int i = 0; i < n; i++) {
        assert_true(out[i].probability > 0 && (!i || out[i].probability <= out[i - 1].probability));
        sum += out[i].probability;
    }
    assert_true(sum <= 1 + 1e-6);
    n = 0;
    REFUSED(genet_complete(s, "the ", out, &n, &err), "0");
    n = 1;
    REFUSED(genet_complete(s, NULL, out, &n, &err), "NULL");
    REFUSED(genet_complete(s, "the ", NULL, &n, &err), "NULL");
    REFUSED(genet_complete(s, "the ", out, NULL, &err), "NULL");
    genet_session_free(s);
}

/* --- scoring, describing -------------------------------------------------------------------------- */

/* What `genet ARGUMENTS` answers as JSON; NULL: the program is not built. */
static json_t *program(const char *arguments)
{
    char command[1000], text[20000];
    const char *genet = getenv("GENET");
    if (!genet) return NULL;
    snprintf(command, sizeof command, "%s %s", genet, arguments);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    assert_int_equal(pclose(f), 0);
    json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    return j;
}

static void test_evaluate(void **state)
{
    (void)state;
    char path[300], arguments[800];
    char *text = little_text();
    genet_session *s = genet_session_new(model, &err);
    genet_options *o = genet_options_new("eval", &err);
    genet_score a, b;
    OK(s && o && genet_evaluate(s, text, strlen(text), NULL, &a, &err));
    assert_int_equal(a.bytes, strlen(text) - 1);        /* all but the first character are predicted */
    assert_int_equal(a.tokens, a.bytes);
    assert_int_equal(a.unknown, 0);
    assert_true(a.words > 0 && a.loss > 0);
    assert_true(fabs(a.perplexity - exp(a.loss)) < 1e-9 * a.perplexity);
    assert_true(fabs(a.bits_per_byte - a.loss / log(2)) < 1e-9);
    assert_true(fabs(a.log_probability + a.loss * (double)a.tokens) < 1e-6 * fabs(a.log_probability));
    OK(genet_options_set(o, "stride", "4", &err) && genet_evaluate(s, text, strlen(text), o, &b, &err));
    assert_true(b.loss < a.loss && b.tokens == a.tokens);       /* more to go by */

    little_path(path, folder, "text.txt");
    snprintf(arguments, sizeof arguments, "eval %s --data %s --json --threads 1", trained, path);
    json_t *told = program(arguments);
    if (told) {
        assert_true(fabs(json_number_value(json_object_get(told, "loss")) - a.loss) < 1e-12 * a.loss);
        assert_int_equal(json_integer_value(json_object_get(told, "tokens")), a.tokens);
        json_decref(told);
    }
    REFUSED(genet_evaluate(s, text, 1, NULL, &a, &err), "token");
    REFUSED(genet_evaluate(s, NULL, 0, NULL, &a, &err), "token");
    REFUSED(genet_evaluate(s, NULL, 5, NULL, &a, &err), "NULL");
    REFUSED(genet_evaluate(s, text, 50, NULL, NULL, &err), "NULL");
    REFUSED(genet_evaluate(s, "THE SUN", 7, NULL, &a, &err), "T");
    OK(genet_options_set(o, "context", "1000", &err));
    REFUSED(genet_evaluate(s, text, 50, o, &a, &err), "context");
    REFUSED(genet_generate(s, "the ", o, listen, &(heard){ .sound = true }, &err), "eval");
    genet_options_free(o);
    genet_session_free(s);
    free(text);
}

static void test_describe(void **state)
{
    (void)state;
    char arguments[400], *text = genet_model_describe(model, &err);
    assert_non_null(text);
    json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "model")), "gpt2");
    assert_string_equal(json_string_value(json_object_get(j, "tokenizer")), "char");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "config"), "n_layer")), 2);
    assert_int_equal(json_integer_value(json_object_get(j, "saved_step")), 40);
    assert_true(json_integer_value(json_object_get(j, "parameters")) > 0);
    snprintf(arguments, sizeof arguments, "info %s --json", trained);
    json_t *told = program(arguments);
    if (told) assert_true(json_equal(told, j));
    json_decref(told);
    json_decref(j);
    free(text);
    REFUSED(genet_model_describe(NULL, &err), "model is NULL");
}

/* --- what is not text ------------------------------------------------------------------------------ */

static void test_table_model(void **state)
{
    (void)state;
    char data[300], out[300], csv[2000] = "x,y\n";
    for (int i = 0; i < 60; i++) sprintf(csv + strlen(csv), "%d,%d\n", i, 2 * i + 1);
    assert_true(little_write(little_path(data, folder, "table.csv"), csv));
    genet_options *o = genet_options_new("train mlp", &err);
    OK(o && genet_options_set(o, "data", data, &err) && genet_options_set(o, "target", "y", &err));
    OK(genet_options_set(o, "out", little_path(out, folder, "table"), &err) && genet_options_set(o, "max_steps", "5", &err));
    OK(genet_train(o, device, NULL, NULL, &err));
    genet_options_free(o);
    genet_model *m = genet_model_open(out, device, &err);
    OK(m);
    genet_session *s = genet_session_new(m, &err);
    OK(s);
    genet_score score;
    genet_completion c;
    int32_t *ids;
    size_t n_ids;
    int n = 1;
    REFUSED(genet_generate(s, "x", NULL, listen, NULL, &err), "no text");
    REFUSED(genet_evaluate(s, "x", 1, NULL, &score, &err), "no text");
    REFUSED(genet_complete(s, "x", &c, &n, &err), "no text");
    REFUSED(genet_tokenize(m, "x", 1, &ids, &n_ids, &err), "no text");
    char *told = genet_model_describe(m, &err);
    assert_non_null(told);
    free(told);
    genet_session_free(s);
    genet_model_free(m);
}

/* --- bad calls, and no words wanted --------------------------------------------------------------- */

static void test_hostile_calls(void **state)
{
    (void)state;
    char path[300];
    genet_session *s = genet_session_new(model, &err);
    heard h = { .sound = true };
    REFUSED(genet_model_open(NULL, device, &err), "NULL");
    REFUSED(genet_model_open(trained, NULL, &err), "NULL");
    REFUSED(genet_model_open("/nowhere", device, &err), "/nowhere");
    REFUSED(genet_model_open(folder, device, &err), "config.json");
    REFUSED(genet_model_open(little_path(path, folder, "text.txt"), device, &err), "text.txt");
    REFUSED(genet_session_new(NULL, &err), "NULL");
    REFUSED(genet_generate(s, NULL, NULL, listen, &h, &err), "prompt");
    REFUSED(genet_generate(s, "", NULL, listen, &h, &err), "empty");
    REFUSED(genet_generate(s, "the ", NULL, NULL, &h, &err), "piece");
    REFUSED(genet_generate(NULL, "the ", NULL, listen, &h, &err), "session");
    REFUSED(genet_generate(s, "THE", NULL, listen, &h, &err), "T");
    REFUSED(genet_train(NULL, device, NULL, NULL, &err), "NULL");
    genet_model_free(NULL);
    genet_session_free(NULL);

    /* the same without an error to fill */
    genet_score score;
    int n = 1;
    int32_t *ids;
    size_t n_ids;
    genet_options *o = genet_options_new("train gpt2", NULL);
    assert_false(genet_model_open("/nowhere", device, NULL) || genet_model_open(folder, device, NULL));
    assert_false(genet_session_new(NULL, NULL) || genet_options_new("nothing", NULL) || genet_options_new("train x", NULL));
    assert_false(genet_options_set(o, "nothing", "1", NULL) || genet_options_set(o, "n_layer", "many", NULL));
    assert_false(genet_train(o, device, NULL, NULL, NULL));
    assert_true(genet_options_set(o, "out", little_path(path, folder, "never"), NULL));
    assert_true(genet_options_set(o, "data", "/nowhere", NULL));
    assert_false(genet_train(o, device, NULL, NULL, NULL));
    assert_false(genet_generate(s, "", NULL, listen, &h, NULL) || genet_generate(s, "Z", NULL, listen, &h, NULL));
    assert_false(genet_evaluate(s, "", 0, NULL, &score, NULL) || genet_evaluate(s, "ZZZ", 3, NULL, &score, NULL));
    assert_false(genet_complete(s, NULL, NULL, &n, NULL) || genet_tokenize(model, "Z", 1, &ids, &n_ids, NULL));
    assert_true(genet_generate(s, "the ", NULL, listen, &h, NULL));             /* the session is as good as ever */
    genet_options_free(o);
    genet_session_free(s);
}

/* Names and values of one open letter, of many, of none. */
static void test_hostile_options(void **state)
{
    (void)state;
    char *wide = malloc(100001);
    memset(wide, 'n', 100000);
    wide[100000] = 0;
    static const char *const verb[] = { "generate", "eval", "train gpt2", "train mlp" };
    static const char *const text[] = { "", "-", "--", "\n", "%s%n", "\xff\xfe", "1e999", "nan", "99999999999999999999", "-1" };
    for (size_t v = 0; v < sizeof verb / sizeof *verb; v++) {
        genet_options *o = genet_options_new(verb[v], &err);
        OK(o);
        assert_false(genet_options_set(o, wide, "1", &err));
        genet_options_set(o, "seed", wide, &err);
        genet_options_set(o, "stop", wide, &err);
        for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
            assert_false(genet_options_set(o, text[i], "1", &err));
            assert_false(genet_options_set(o, "learning_rate", text[i], &err));
            assert_false(genet_options_set(o, "top_k", text[i], &err));
        }
        genet_options_free(o);
    }
    free(wide);
}

/* --- memory that runs out --------------------------------------------------------------------------- */

enum { ANSWER = 4000 };
/* What it answers goes to said. */
static bool whole_life(char said[ANSWER], genet_err *e)
{
    genet_completion c[2];
    genet_score score = {0};
    heard h = { .sound = true };
    int32_t *ids = NULL;
    size_t n_ids;
    int n = 2;
    char *text = NULL;
    genet_model *m = genet_model_open(trained, device, e);
    genet_session *s = m ? genet_session_new(m, e) : NULL;
    genet_options *o = s ? genet_options_new("generate", e) : NULL;
    bool ok = o && genet_options_set(o, "max_new_tokens", "3", e) && genet_options_set(o, "stop", "zz\nqq", e) &&
              genet_generate(s, "the ", o, listen, &h, e) && genet_complete(s, "the ", c, &n, e) &&
              genet_evaluate(s, "the sun goes", 12, NULL, &score, e) && genet_tokenize(m, "the", 3, &ids, &n_ids, e) &&
              (text = genet_detokenize(m, ids, n_ids, NULL, e));
    if (ok) snprintf(said, ANSWER, "%s %s %.17g %s %.17g %s", h.text, h.finish, h.sum, c[0].text, score.loss, text);
    free(ids);
    free(text);
    genet_options_free(o);
    genet_session_free(s);
    genet_model_free(m);
    return ok;
}

/* Every allocation from opening to freeing fails once: in words or without any change to the answer, and nothing leaks
 * (as the address sanitizer sees it). */
static void test_no_memory(void **state)
{
    (void)state;
    char right[ANSWER], said[ANSWER];
    long made = 1, failed = 0;
    OK(whole_life(right, &err));
    for (long n = 0; made > n; n++) {
        err = (genet_err){ GENET_OK, "" };
        genet__alloc_fail_after(n);
        bool ok = whole_life(said, &err);
        made = genet__alloc_fail_after(-1);
        failed += !ok;
        if (ok && strcmp(said, right)) fail_msg("allocation %ld failed, and \"%s\" was answered, not \"%s\"", n, said, right);
        if (!ok && err.code != GENET_ERR_MEMORY) fail_msg("allocation %ld of %ld: code %d, \"%s\"", n, made, (int)err.code, err.text);
        if (!ok) made = n + 2;
    }
    assert_true(failed > 300);
    genet__alloc_fail_after(3);
    assert_false(whole_life(said, NULL));
    genet__alloc_fail_after(-1);
}

/* Training: the same at a choice of places, ever further apart. */
static void test_no_memory_in_training(void **state)
{
    (void)state;
    char out[300];
    genet_options *o = little_options(folder, "poor", "2", &err);
    OK(o);
    little_path(out, folder, "poor");
    long made = 1;
    for (long n = 0; made > n; n += 1 + n / 12) {
        genet_err none = { GENET_OK, "" };
        genet__alloc_fail_after(n);
        bool ok = genet_train(o, device, NULL, NULL, &none);
        made = genet__alloc_fail_after(-1);
        if (!ok && none.code != GENET_ERR_MEMORY) fail_msg("allocation %ld of %ld: code %d, \"%s\"", n, made, (int)none.code, none.text);
        if (!ok) made = LONG_MAX;       /* there is more to fail */
        little_remove(out);
    }
    OK(genet_train(o, device, NULL, NULL, &err));
    genet_options_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_and_resume), cmocka_unit_test(test_training_refusals), cmocka_unit_test(test_options),
        cmocka_unit_test(test_tokens), cmocka_unit_test(test_generate), cmocka_unit_test(test_generation_defaults),
        cmocka_unit_test(test_options_imply), cmocka_unit_test(test_callback_comes_back), cmocka_unit_test(test_failed_writer),
        cmocka_unit_test(test_complete), cmocka_unit_test(test_evaluate), cmocka_unit_test(test_describe),
        cmocka_unit_test(test_table_model), cmocka_unit_test(test_hostile_calls), cmocka_unit_test(test_hostile_options),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_no_memory_in_training),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
