/* labels: core
 * test_chat.c - where a folder's chat template and special tokens stand, what a template is given, and where an answer
 * ends by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/file.h"
#include "golden/golden.h"
#include "text/chat.h"

static char folder[] = "/tmp/genet-test-chat-XXXXXX";

static int make_folder(void **state) { return (void)state, !mkdtemp(folder); }

static int remove_folder(void **state) { return (void)state, !genet__file_remove_tree(folder, NULL); }

static void write_file(const char *name, const char *text)
{
    genet_err err = { 0 };
    char *path = genet__path_join(folder, name);
    if (!genet__file_write_all(path, text, strlen(text), &err)) fail_msg("%s", err.text);
    genet__free(path);
}

static void remove_file(const char *name)
{
    char *path = genet__path_join(folder, name);
    remove(path);
    genet__free(path);
}

static json_t *parse(const char *text)
{
    genet_err err = { 0 };
    json_t *j = genet__json_parse(text, strlen(text), "test", &err);
    if (!j) fail_msg("%s", err.text);
    return j;
}

/* The folder's template makes this of the messages. */
static void expect(const char *which, const char *messages, const char *more, bool prompt, const char *want)
{
    genet_err err = { 0 };
    chat_format f;
    str out = { 0 };
    json_t *j = parse(messages), *variables = more ? parse(more) : NULL;
    if (!genet__chat_open(&f, folder, which, &err)) fail_msg("%s", err.text);
    if (!genet__chat_render(&f, j, variables, prompt, &out, &err)) fail_msg("%s", err.text);
    assert_string_equal(genet__str(&out), want);
    genet__chat_release(&f);
    genet__str_release(&out);
    json_decref(j);
    json_decref(variables);
}

static void refuse(const char *which, const char *words)
{
    genet_err err = { 0 };
    chat_format f;
    assert_false(genet__chat_open(&f, folder, which, &err));
    if (!strstr(err.text, words)) fail_msg("%s, not %s", err.text, words);
}

static const char hi[] = "[{\"role\": \"user\", \"content\": \"hi\"}]";

static void test_where(void **state)
{
    (void)state;
    refuse(NULL, "has no chat template");
    refuse("nothing.jinja", "template nothing.jinja: there is no such file");
    write_file("tokenizer_config.json", "{\"bos_token\": \"<b>\", \"eos_token\": {\"content\": \"<e>\", \"special\": true}, "
               "\"chat_template\": \"{{ bos_token ~ messages[0].content ~ eos_token ~ pad_token }}\"}");
    write_file("special_tokens_map.json", "{\"bos_token\": \"<x>\", \"pad_token\": \"<p>\"}");
    expect(NULL, hi, NULL, false, "<b>hi<e><p>");
    expect(NULL, hi, "{\"bos_token\": \"<own>\"}", false, "<own>hi<e><p>");
    write_file("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"T\"}, "
               "{\"name\": \"default\", \"template\": \"D{{ bos_token }}\"}]}");
    expect(NULL, hi, NULL, false, "D<x>");
    expect("tool_use", hi, NULL, false, "T");
    refuse("other", "no template of that name");
    write_file("chat_template.jinja", "from a file{{ '' }}\n");
    expect(NULL, hi, NULL, false, "from a file");
    expect("chatml", hi, NULL, true, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    write_file("chat_template.jinja", "{{ a\n b }}");
    refuse(NULL, "chat_template.jinja: line 2: expected }}, and found b");
    remove_file("chat_template.jinja");
    write_file("tokenizer_config.json", "{\"chat_template\": 5}");
    refuse(NULL, "chat_template must be a text");
    write_file("tokenizer_config.json", "[]");
    refuse(NULL, "must be a JSON object");
    remove_file("tokenizer_config.json");
    remove_file("special_tokens_map.json");
}

static void test_given(void **state)
{
    (void)state;
    write_file("chat_template.jinja", "{{ messages[0] }}{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}"
               "{{ tools is defined }}{{ x is defined }}");
    expect(NULL, "[{\"role\": \"user\", \"content\": null, \"z\": 1}]", NULL, true, "{'role': 'user', 'z': 1}TrueTrueTrueTrueFalse");
    expect(NULL, "[{\"role\": \"assistant\", \"reasoning\": \"r\"}]", "{\"tools\": [], \"x\": 1}", false,
           "{'thinking': 'r', 'role': 'assistant', 'reasoning': 'r', 'reasoning_content': 'r'}FalseTrueFalseTrueTrue");
    genet_err err = { 0 };
    chat_format f;
    str out = { 0 };
    json_t *bad = parse("[{\"content\": \"no role\"}]");
    assert_true(genet__chat_open(&f, folder, NULL, &err));
    assert_false(genet__chat_render(&f, bad, NULL, false, &out, &err));
    assert_non_null(strstr(err.text, "message 1 must be an object with a \"role\""));
    json_decref(bad);
    genet__chat_release(&f);
    genet__str_release(&out);
}

/* By this template an answer ends with this text or token. */
static void ends(const tokenizer *t, const char *text, const char *stop, const char *piece)
{
    genet_err err = { 0 };
    chat_format f;
    str got = { 0 };
    int32_t id;
    write_file("chat_template.jinja", text);
    if (!genet__chat_open(&f, folder, NULL, &err)) fail_msg("%s", err.text);
    if (!genet__chat_end(&f, t, NULL, &id, &got, &err)) fail_msg("%s", err.text);
    assert_string_equal(genet__str(&got), stop);
    assert_int_equal(id, piece ? genet__tokenizer_find(t, piece, strlen(piece)) : -1);
    genet__chat_release(&f);
    genet__str_release(&got);
}

static void test_ends(void **state)
{
    genet_err err = { 0 };
    tokenizer *t = genet__tokenizer_load(golden_path("bpe/tokenizer.json"), &err);
    (void)state;
    if (!t) fail_msg("%s", err.text);
    ends(t, "{% for m in messages %}{{ m.content ~ '\\nuser: ' }}{% endfor %}", "\nuser:", NULL);
    ends(t, "{% for m in messages %}{{ m.content ~ ' <|endoftext|>\\n' }}{% endfor %}", "", "<|endoftext|>");
    ends(t, "{% for m in messages %}{{ m.content ~ 'x<|endoftext|>' }}{% endfor %}", "x<|endoftext|>", NULL);
    ends(t, "{% for m in messages %}{{ m.content ~ '\\n' }}{% endfor %}", "", NULL);
    ends(t, "{{ raise_exception('never') }}", "", NULL);
    genet__tokenizer_free(t);
}

static void test_memory(void **state)
{
    bool ok = false;
    json_t *messages = parse(hi);
    (void)state;
    write_file("chat_template.jinja", "{{ messages[0].content }}");
    write_file("tokenizer_config.json", "{\"bos_token\": \"<b>\"}");
    for (long n = 0; !ok && n < 200; n++) {
        genet_err err = { 0 };
        chat_format f = { 0 };
        str out = { 0 };
        genet__alloc_fail_after(n);
        ok = genet__chat_open(&f, folder, NULL, &err) && genet__chat_render(&f, messages, NULL, true, &out, &err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        genet__chat_release(&f);
        genet__str_release(&out);
    }
    assert_true(ok);
    json_decref(messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where), cmocka_unit_test(test_given), cmocka_unit_test(test_ends), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
