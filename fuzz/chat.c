/* chat.c - fuzz target: the JSON of a conversation is refused in words, or renders by templates that look at all of it,
 * to valid UTF-8 or an error in words. */
#include <stdlib.h>
#include <string.h>
#include "text/chat.h"

static const char *const templates[] = {
    ("{% for m in messages %}<{{ m.role }}>{{ m.content if m.content is string else m.content | tojson(indent=2) }}</>"
     "{% for k, v in m.items() if v is mapping %}{{ k }}={{ v | dictsort }}{% endfor %}{% endfor %}"),
    "{{ messages }}{{ messages | tojson(ensure_ascii=true, sort_keys=true) }}",
    "{{ messages | map(attribute='content') | select('string') | map('upper') | join('|') | trim | indent }}",
};

static void render(const char *text, const json_t *messages)
{
    genet_err err = { 0 };
    str out = { 0 };
    chat_format f = { .jinja = genet__jinja_parse(text, strlen(text), "fuzz", &err), .tokens = json_object() };
    if (!f.jinja || !f.tokens) __builtin_trap();
    bool ok = genet__chat_render(&f, messages, NULL, true, &out, &err);
    if (!ok && !err.text[0]) __builtin_trap();
    for (size_t i = 0; ok && i < out.n;) {
        uint32_t c;
        int k = genet__utf8_decode(out.at + i, out.n - i, &c);
        if (k <= 0) __builtin_trap();
        i += (size_t)k;
    }
    genet__chat_release(&f);
    genet__str_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    genet_err err = { 0 };
    json_t *j = genet__json_parse((const char *)data, size, "fuzz", &err);
    for (size_t i = 0; j && i < sizeof templates / sizeof *templates; i++) render(templates[i], j);
    if (!j && !err.text[0]) __builtin_trap();
    json_decref(j);
    return 0;
}
