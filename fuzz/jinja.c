/* jinja.c - fuzz target: a template is refused in words that say which line, or renders, in bounded time and memory, to
 * valid UTF-8 or an error in words. */
#include <stdlib.h>
#include <string.h>
#include "text/jinja.h"

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \" s\\u00e9 \"}, {\"role\": \"user\", \"content\": \"hi\"},"
    " {\"role\": \"assistant\", \"content\": \"\", \"tool_calls\":"
    " [{\"function\": {\"name\": \"f\", \"arguments\": {\"x\": [1.5, null]}}}]}],"
    " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}], \"bos_token\": \"<s>\","
    " \"add_generation_prompt\": true}";

static void render(const jinja *t)
{
    genet_err err = { 0 };
    str out = { 0 };
    jinja_limits limits = { .max_steps = 20000, .max_bytes = 1 << 20, .now = 1000000000 };
    json_t *variables = genet__json_parse(conversation, sizeof conversation - 1, "fuzz", &err);
    if (!variables) return;
    bool ok = genet__jinja_render(t, variables, &limits, &out, &err);
    if (!ok && !err.text[0]) __builtin_trap();
    for (size_t i = 0; ok && i < out.n;) {
        uint32_t c;
        int k = genet__utf8_decode(out.at + i, out.n - i, &c);
        if (k <= 0) __builtin_trap();
        i += (size_t)k;
    }
    json_decref(variables);
    genet__str_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    genet_err err = { 0 };
    jinja *t = genet__jinja_parse((const char *)data, size, "fuzz", &err);
    if (t) render(t);
    else if (strncmp(err.text, "fuzz: ", 6)) __builtin_trap();
    genet__jinja_free(t);
    return 0;
}
