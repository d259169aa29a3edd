/* labels: core
 * test_conversation.c - a decoder goes back to what two texts share; turns read only what is new and answer as a fresh
 * decoder does; answers end where the template ends them; what does not fit is left out by whole turns; choices are
 * weighed as a reading of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/file.h"
#include "infer/conversation.h"

enum { WINDOW = 96 };

static genet_err err;
#define OK(call) do { if (!(call)) fail_msg("%s: %s", #call, err.text); } while (0)

/* A model of single characters with random weights, and a template of lines. */
typedef struct world {
    genet_device    *device;
    genet_workspace *space;
    tokenizer       *t;
    model           *m;
    decoder         *d;
    chat_format      format;
    conversation     talk;
    generation_options how;
    arena            arena;
} world;

static char folder[] = "/tmp/genet-test-conversation-XXXXXX";
static const char lines[] = "{% for m in messages %}{{ m.role[0] ~ ':' ~ m.content ~ '\n' }}{% endfor %}"
                            "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}";

static void set_int(void *config, const char *name, int64_t value)
{
    *(int64_t *)((char *)config + genet__fields_find(genet__family_gpt2.config, name)->offset) = value;
}

static tokenizer *chars(const char *text)
{
    char_set *set = calloc(1, sizeof *set);
    for (; *text; text++) char_set_add(set, (unsigned char)*text);
    tokenizer *t = genet__tokenizer_from_chars(set, &err);
    free(set);
    return t;
}

static void open_model(world *w)
{
    void *config = genet__family_config(&genet__family_gpt2, &w->arena, &err);
    set_int(config, "vocab_size", genet__tokenizer_size(w->t));
    set_int(config, "n_positions", WINDOW);
    set_int(config, "n_embd", 24);
    set_int(config, "n_layer", 2);
    set_int(config, "n_head", 3);
    set_int(config, "eos_token_id", -1);
    OK(w->m = genet__model_new(&genet__family_gpt2, config, w->device, 7, &err));
    OK(genet__model_declare(w->m, &err) && genet__params_place(w->m->params, &err) && genet__params_fill(w->m->params, &err));
    float v[24];
    param *p = genet__params_find(w->m->params, "transformer.ln_f.weight");
    assert_true(p && p->size_bytes == sizeof v);
    for (int i = 0; i < 24; i++) v[i] = 8;                  /* answers that are not flat */
    OK(genet__params_write(w->m->params, p, v, sizeof v, &err));
}

static void open_world(world *w, const char *template)
{
    *w = (world){0};
    OK(w->t = chars("\n :ANSWERQUTIO8f1dabcdefghijklmnopqrstuvwxyz.!"));
    OK(w->device = genet_device_cpu(1, &err));
    w->space = genet_workspace_new(w->device);
    open_model(w);
    OK(w->d = genet__decoder_new(w->m, w->space, 1, &err));
    char *path = genet__path_join(folder, "chat_template.jinja");
    OK(genet__file_write_all(path, template, strlen(template), &err));
    genet__free(path);
    OK(genet__chat_open(&w->format, folder, NULL, &err));
    OK(genet__conversation_init(&w->talk, &w->format, w->m, w->t, NULL, &err));
    OK(genet__fields_defaults(&genet__generation_fields, &w->how, &w->arena, &err));
    w->how.temperature = 0;
    w->how.max_new_tokens = 6;
}

static void close_world(world *w)
{
    genet__conversation_release(&w->talk);
    genet__chat_release(&w->format);
    genet__decoder_free(w->d);
    genet__model_free(w->m);
    genet__tokenizer_free(w->t);
    genet_workspace_free(w->space);
    genet_device_free(w->device);
    genet__arena_release(&w->arena);
}

static const char *content(const world *w, size_t i)
{
    return json_string_value(json_object_get(json_array_get(w->talk.messages, i), "content"));
}

static void say(world *w, const char *text) { OK(genet__conversation_add(&w->talk, "user", text, strlen(text), &err)); }

static answer reply(world *w)
{
    answer a;
    OK(genet__conversation_answer(&w->talk, w->d, &w->how, NULL, NULL, &a, &err));
    return a;
}

/* --- going back ------------------------------------------------------------------------------- */

/* Logits of these ids by a decoder that read nothing before. */
static void fresh_logits(const world *w, const int32_t *ids, int64_t n, float *out)
{
    decoder *d = genet__decoder_new(w->m, w->space, 1, &err);
    OK(d && genet__decoder_begin(d, ids, n, &err));
    memcpy(out, genet__decoder_logits(d), (size_t)genet__decoder_vocab(d) * sizeof *out);
    genet__decoder_free(d);
}

static void expect_logits(const world *w, const int32_t *ids, int64_t n)
{
    float want[64];
    const float *got = genet__decoder_logits(w->d);
    fresh_logits(w, ids, n, want);
    for (int i = 0; i < genet__decoder_vocab(w->d); i++)
        if (!(fabsf(got[i] - want[i]) < 2e-4f * (1 + fabsf(want[i])))) fail_msg("logit %d: %g, not %g", i, got[i], want[i]);
}

static void test_rewind(void **state)
{
    world w;
    int32_t ids[WINDOW];
    int64_t kept;
    (void)state;
    open_world(&w, lines);
    for (int i = 0; i < WINDOW; i++) ids[i] = (i * 7 + 3) % genet__tokenizer_size(w.t);
    OK(genet__decoder_rewind(w.d, ids, 20, &kept, &err));
    assert_int_equal(kept, 0);
    expect_logits(&w, ids, 20);
    for (int i = 20; i < 25; i++) OK(genet__decoder_step(w.d, &ids[i], NULL, &err));     /* tokens read one by one are kept */
    OK(genet__decoder_rewind(w.d, ids, 41, &kept, &err));
    assert_int_equal(kept, 25);
    expect_logits(&w, ids, 41);
    ids[13]++;
    OK(genet__decoder_rewind(w.d, ids, 41, &kept, &err));
    assert_int_equal(kept, 13);
    expect_logits(&w, ids, 41);
    OK(genet__decoder_rewind(w.d, ids, 30, &kept, &err));
    assert_int_equal(kept, 29);
    expect_logits(&w, ids, 30);
    OK(genet__decoder_rewind(w.d, ids, WINDOW, &kept, &err));
    assert_int_equal(kept, 30);
    expect_logits(&w, ids, WINDOW);
    OK(genet__decoder_begin(w.d, ids, 37, &err));                   /* which promises the same bits, whatever was read */
    float first[64];
    fresh_logits(&w, ids, 37, first);
    assert_memory_equal(first, genet__decoder_logits(w.d), (size_t)genet__decoder_vocab(w.d) * sizeof *first);
    assert_false(genet__decoder_rewind(w.d, ids, 0, &kept, &err));
    assert_false(genet__decoder_rewind(w.d, ids, WINDOW + 1, &kept, &err));
    ids[3] = 10000;
    assert_false(genet__decoder_rewind(w.d, ids, 10, &kept, &err));
    close_world(&w);
}

/* --- turns ------------------------------------------------------------------------------------ */

static bool gather(void *user, const genet_piece *p)
{
    genet__str_add_n(user, p->text, p->n_bytes);
    return true;
}

static void test_turns(void **state)
{
    world w;
    (void)state;
    open_world(&w, lines);
    assert_string_equal(genet__str(&w.talk.stop), "\nu:");
    assert_int_equal(w.talk.end, -1);
    say(&w, "hello");
    answer a = reply(&w);
    assert_int_equal(a.n_prompt, 10);                   /* u:hello\na: */
    assert_int_equal(a.kept, 0);
    assert_int_equal(a.n_new, 6);
    assert_string_equal(a.finish, "length");
    say(&w, "more");
    answer b = reply(&w);
    assert_int_equal(b.n_prompt, 10 + 6 + 1 + 7 + 2);
    assert_int_equal(b.kept, 10 + 5);                   /* the last token that was written was not read yet */
    str text = {0}, got = {0};
    genet__str_printf(&text, "u:hello\na:%s\nu:more\na:", content(&w, 1));
    decoder *d = genet__decoder_new(w.m, w.space, 1, &err);
    OK(genet__generate(d, w.t, w.m, genet__str(&text), &w.how, gather, &got, &err));
    assert_string_equal(genet__str(&got), content(&w, 3));
    genet__decoder_free(d);
    genet__str_release(&text);
    genet__str_release(&got);
    close_world(&w);
}

/* An answer ends before the text that stands between turns. */
static void test_stop(void **state)
{
    world w;
    char template[300], letter[2] = "";
    (void)state;
    open_world(&w, lines);
    say(&w, "hello");
    reply(&w);
    letter[0] = content(&w, 1)[2];
    size_t before = strcspn(content(&w, 1), letter);
    close_world(&w);
    snprintf(template, sizeof template, "{%% for m in messages %%}{%% if m.role == 'user' %%}{{ 'u:' ~ m.content ~ '\n' }}{%% else %%}"
             "{{ 'a:' ~ m.content ~ '%s' }}{%% endif %%}{%% endfor %%}{%% if add_generation_prompt %%}{{ 'a:' }}{%% endif %%}",
             *letter == '\n' ? "\\n" : letter);
    open_world(&w, template);
    assert_int_equal(genet__str(&w.talk.stop)[0], letter[0]);
    genet__str_clear(&w.talk.stop);                     /* its first letter is known to come */
    genet__str_add(&w.talk.stop, letter);
    say(&w, "hello");
    answer a = reply(&w);
    assert_string_equal(a.finish, "stop");
    assert_int_equal(strlen(content(&w, 1)), before);
    close_world(&w);
}

static bool enough(void *user, const genet_piece *p)
{
    int *n = user;
    return p->n_token && ++*n < 3;
}

static void test_left(void **state)
{
    world w;
    answer a;
    int n = 0;
    (void)state;
    open_world(&w, lines);
    say(&w, "hello");
    OK(genet__conversation_answer(&w.talk, w.d, &w.how, enough, &n, &a, &err));
    assert_string_equal(a.finish, "left");
    assert_int_equal(json_array_size(w.talk.messages), 2);
    say(&w, "go on");
    assert_true(reply(&w).kept > 0);
    close_world(&w);
}

/* --- what fits -------------------------------------------------------------------------------- */

static void test_full(void **state)
{
    world w;
    (void)state;
    open_world(&w, lines);
    OK(genet__conversation_begin(&w.talk, "sys", NULL, &err));
    assert_int_equal(w.talk.pinned, 1);
    w.how.max_new_tokens = 12;
    for (int i = 0; i < 12; i++) {
        say(&w, "question");
        answer a = reply(&w);
        assert_true(a.n_prompt + a.n_new <= WINDOW);
        assert_int_equal(a.n_new, 12);
        assert_int_equal(w.talk.dropped % 2, 0);
    }
    assert_int_equal(json_array_size(w.talk.messages), 25);
    assert_true(w.talk.dropped >= 14);
    w.how.max_new_tokens = 1000;                        /* as long as the context */
    say(&w, "question");
    answer a = reply(&w);
    assert_true(a.full);
    assert_int_equal(a.n_prompt + a.n_new, WINDOW);
    char longest[WINDOW + 1];
    memset(longest, 'x', WINDOW);
    longest[WINDOW] = 0;
    int64_t dropped = w.talk.dropped;
    say(&w, longest);
    assert_false(genet__conversation_answer(&w.talk, w.d, &w.how, NULL, NULL, &a, &err));
    assert_non_null(strstr(err.text, "the model sees 96 at once"));
    assert_int_equal(w.talk.dropped, dropped);
    close_world(&w);
}

static void test_examples(void **state)
{
    world w;
    (void)state;
    open_world(&w, lines);
    char *path = genet__path_join(folder, "examples.jsonl");
    static const char two[] = "{\"prompt\": \"one\", \"completion\": \"two\"}\n"
                              "{\"messages\": [{\"role\": \"user\", \"content\": \"three\"}]}\n";
    OK(genet__file_write_all(path, two, sizeof two - 1, &err));
    OK(genet__conversation_begin(&w.talk, NULL, path, &err));
    assert_int_equal(w.talk.pinned, 3);
    assert_string_equal(content(&w, 2), "three");
    OK(genet__file_write_all(path, "{\"prompt\": 1}", 13, &err));
    assert_false(genet__conversation_begin(&w.talk, NULL, path, &err));
    assert_non_null(strstr(err.text, "examples.jsonl: line 1"));
    genet__free(path);
    close_world(&w);
}

/* --- choices ---------------------------------------------------------------------------------- */

static void test_choices(void **state)
{
    world w;
    static const char *const text[] = { "yes", "no", "yes sir" };
    double got[3];
    (void)state;
    open_world(&w, lines);
    say(&w, "really");
    OK(genet__conversation_weigh(&w.talk, w.d, text, 3, got, &err));
    assert_int_equal(json_array_size(w.talk.messages), 1);
    for (int i = 0; i < 3; i++) {
        char all[64];
        float logits[64];
        token_list ids = {0};
        double want = 0;
        int V = (int)genet__decoder_vocab(w.d), from = snprintf(all, sizeof all, "u:really\na:");
        snprintf(all + from, sizeof all - (size_t)from, "%s", text[i]);
        OK(genet__tokenizer_encode(w.t, all, strlen(all), &ids, &err));
        for (int k = from; k < ids.n; k++) {
            fresh_logits(&w, ids.at, k, logits);
            want += (double)logits[ids.at[k]] - genet__log_sum_exp(logits, V);
        }
        assert_true(fabs(got[i] - want) < 1e-3);
        genet__token_list_release(&ids);
    }
    assert_true(got[2] < got[0]);
    assert_false(genet__conversation_weigh(&w.talk, w.d, (const char *const[]){ "" }, 1, got, &err));
    close_world(&w);
}

static void test_memory(void **state)
{
    world w;
    answer a;
    bool ok = false;
    (void)state;
    open_world(&w, lines);
    say(&w, "hello");
    for (long n = 0; !ok && n < 400; n++) {
        err = (genet_err){0};
        genet__alloc_fail_after(n);
        ok = genet__conversation_answer(&w.talk, w.d, &w.how, NULL, NULL, &a, &err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        assert_int_equal(json_array_size(w.talk.messages), 1 + ok);
    }
    assert_true(ok);
    close_world(&w);
}

static int make_folder(void **state) { return (void)state, !mkdtemp(folder); }
static int remove_folder(void **state) { return (void)state, !genet__file_remove_tree(folder, NULL); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewind), cmocka_unit_test(test_turns), cmocka_unit_test(test_stop), cmocka_unit_test(test_left),
        cmocka_unit_test(test_full), cmocka_unit_test(test_examples), cmocka_unit_test(test_choices),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
