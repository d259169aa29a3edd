/* labels: core
 * test_examples.c - lines to sequences: which tokens are to be learned, of prompts, texts and conversations by templates that
 * write the last answer in another way too; what is cut and what is refused. */
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
#include "golden/golden.h"
#include "text/examples.h"

static char folder[] = "/tmp/genet-examples-XXXXXX", lines[80], template_[80];
static tokenizer *letters;

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state)
{
    (void)state;
    genet_err err;
    char_set *set = genet__alloc(sizeof *set);
    if (!mkdtemp(folder)) return 1;
    snprintf(lines, sizeof lines, "%s/lines.jsonl", folder);
    snprintf(template_, sizeof template_, "%s/t.jinja", folder);
    for (uint32_t c = 10; c < 127; c++) char_set_add(set, c);
    letters = genet__tokenizer_from_chars(set, &err);
    genet__free(set);
    return !letters;
}

static int teardown(void **state)
{
    (void)state;
    genet__tokenizer_free(letters);
    remove(lines);
    remove(template_);
    return rmdir(folder);
}

/* The text of a sequence with what is learned in brackets; # is the token that ends texts. */
static void show(const example *e, char *out)
{
    bool in = false;
    for (int i = 0; i < e->n; i++) {
        size_t n;
        if (in != (bool)e->said[i]) *out++ = in ? ']' : '[';
        in = e->said[i];
        *out++ = *genet__tokenizer_piece(letters, e->ids[i], &n);
    }
    if (in) *out++ = ']';
    *out = 0;
}

static int32_t begin = -1;

static example_rules rules(bool pairs, int64_t max)
{
    return (example_rules){ letters, begin, genet__tokenizer_find(letters, "#", 1), folder, template_, pairs, max };
}

/* Each of the NULL-ended wants is what a sequence shows. */
static void expect_shown(const char *text, bool pairs, int64_t max, const char *const *want)
{
    examples e = {0};
    genet_err err;
    char shown[500];
    example_rules r = rules(pairs, max);
    write_text(lines, text);
    if (!genet__examples_read(&e, lines, &r, &err)) fail_msg("%s", err.text);
    genet__examples_settle(&e);
    int64_t n = 0;
    for (; want[n]; n++) {
        assert_true(n < e.n);
        show(&e.at[n], shown);
        assert_string_equal(shown, want[n]);
    }
    assert_int_equal(e.n, n);
    genet__examples_release(&e);
}

static void expect_refused(const char *text, bool pairs, const char *why)
{
    examples e = {0};
    genet_err err;
    example_rules r = rules(pairs, 100);
    write_text(lines, text);
    assert_false(genet__examples_read(&e, lines, &r, &err));
    if (!strstr(err.text, why)) fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    genet__examples_release(&e);
}

#define SHOWS(text, pairs, max, ...) expect_shown(text, pairs, max, (const char *const[]){ __VA_ARGS__, NULL })

static void test_texts(void **state)
{
    (void)state;
    SHOWS("{\"text\": \"abc\"}\n{\"prompt\": \"x=\", \"completion\": \"1\"}\n", false, 100, "[abc#]", "x=[1#]");
    SHOWS("{\"prompt\": \"abcd\", \"completion\": \"efg\"}\n", false, 6, "abcd[ef]");
    SHOWS("{\"prompt\": \"abcd\", \"completion\": \"efg\"}\n{\"text\": \"12\"}\n", false, 4, "[12#]");       /* nothing is left of the first */
    SHOWS("{\"prompt\": \"q\", \"chosen\": \"yes\", \"rejected\": \"no\"}\n", true, 100, "q[yes#]", "q[no#]");
    /* of a tokenizer that puts a token before every text */
    begin = genet__tokenizer_find(letters, "=", 1);
    SHOWS("{\"text\": \"abc\"}\n{\"prompt\": \"x\", \"completion\": \"1\"}\n", false, 100, "=[abc#]", "=x[1#]");
    begin = -1;
}

static const char talk[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}, "
                           "{\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", \"content\": \"d\"}]}\n";

static void test_conversations(void **state)
{
    (void)state;
    write_text(template_, "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}.\n{% endfor %}{% if add_generation_prompt %}<a>{% endif %}");
    SHOWS(talk, false, 100, "<u>a.\n<a>[b.]\n<u>c.\n<a>[d.]");
    SHOWS("{\"prompt\": [{\"role\": \"assistant\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"b\"}], "
          "\"completion\": [{\"role\": \"assistant\", \"content\": \"c\"}]}\n", false, 100, "<a>a.\n<u>b.\n<a>[c.]");
    SHOWS("{\"chosen\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"y\"}], "
          "\"rejected\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"n\"}]}\n", true, 100,
          "<u>q.\n<a>[y.]", "<u>q.\n<a>[n.]");
    /* the last answer alone has its thoughts, as in Qwen3's template */
    write_text(template_, "{% for m in messages %}<{{ m.role[0] }}>{% if loop.last and m.role == 'assistant' %}(){% endif %}{{ m.content }}.\n"
                          "{% endfor %}{% if add_generation_prompt %}<a>{% endif %}");
    SHOWS(talk, false, 100, "<u>a.\n<a>[b.]\n<u>c.\n<a>[()d.]");
}

/* A tokenizer that marks the beginning of a text marks none where the answer begins: the ids are those of the whole. */
static void test_wholes(void **state)
{
    (void)state;
    examples e = {0};
    genet_err err;
    token_list whole = {0}, prompt = {0};
    static const char text[] = "the cat sits on the mat";
    tokenizer *t = genet__tokenizer_load(golden_path("sentencepiece/bpe.model"), &err);
    if (!t) fail_msg("%s", err.text);
    example_rules r = { t, -1, -1, folder, NULL, false, 100 };
    write_text(lines, "{\"prompt\": \"the cat sits\", \"completion\": \" on the mat\"}\n");
    assert_true(genet__examples_read(&e, lines, &r, &err));
    genet__examples_settle(&e);
    assert_true(genet__tokenizer_encode(t, text, strlen(text), &whole, &err) && genet__tokenizer_encode(t, text, 12, &prompt, &err));
    assert_int_equal(e.at[0].n, whole.n);
    assert_memory_equal(e.at[0].ids, whole.at, (size_t)whole.n * sizeof *whole.at);
    assert_int_equal(e.at[0].n_said, whole.n - prompt.n);
    genet__token_list_release(&whole);
    genet__token_list_release(&prompt);
    genet__examples_release(&e);
    genet__tokenizer_free(t);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    write_text(template_, "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}");
    expect_refused(talk, false, "message 2 stands");
    expect_refused("[1]\n", false, "line 1: must be an object");
    expect_refused("{\"text\": 1}\n", false, "there must be a \"text\"");
    expect_refused("{\"prompt\": \"a\", \"completion\": []}\n", false, "two texts");
    expect_refused("{\"messages\": [1]}\n", false, "message 1");
    expect_refused("{\"prompt\": \"a\", \"chosen\": \"b\"}\n", true, "rejected");
    expect_refused("{\"text\": \"a\"}\n{\"text\": \"\xc3\xa9\"}\n", false, "line 2");
    remove(template_);
    expect_refused(talk, false, "template");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_texts), cmocka_unit_test(test_conversations), cmocka_unit_test(test_wholes),
                                        cmocka_unit_test(test_what_is_refused) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
