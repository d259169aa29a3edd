/* jsonl.c - fuzz target: each line is refused in words that say which, or what
 * it holds, printed as one line and read again, is the same. */
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "format/jsonl.h"

static void print_and_compare(const json_t *j)
{
    genet_err err = { 0 };
    jsonl again;
    str text = { 0 };
    genet__json_print(j, 0, &text);
    if (memchr(genet__str(&text), '\n', text.n)) __builtin_trap();
    genet__jsonl_parse(&again, genet__str(&text), text.n, "again", 0);
    json_t *same = genet__jsonl_next(&again, &err);
    if (!same || !json_equal(j, same)) __builtin_trap();
    json_decref(same);
    genet__str_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (unsigned flags = 0; flags <= JSONL_TORN_OK; flags += JSONL_TORN_OK) {
        genet_err err = { 0 };
        jsonl r;
        json_t *j;
        genet__jsonl_parse(&r, data, size, "fuzz", flags);
        while ((j = genet__jsonl_next(&r, &err))) {
            print_and_compare(j);
            json_decref(j);
        }
        if (r.failed && (strncmp(err.text, "fuzz: line ", 11) || r.torn)) __builtin_trap();
        if (!r.failed && r.at != r.end) __builtin_trap();
    }
    return 0;
}
