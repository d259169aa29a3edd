/* tokenizer.c - fuzz target: a tokenizer.json is refused in words, or the
 * tokenizer it gives encodes and decodes its own pieces to themselves. */
#include <stdlib.h>
#include <string.h>
#include "text/tokenizer.h"

static void use(const tokenizer *t)
{
    token_list ids = { 0 };
    str text = { 0 };
    for (int32_t i = 0; i < genet__tokenizer_size(t); i++) {
        size_t n;
        const char *piece = genet__tokenizer_piece(t, i, &n);
        ids.n = 0;
        if (!genet__tokenizer_encode(t, piece, n, &ids, NULL) || ids.n != 1 || ids.at[0] != i) __builtin_trap();
        if (genet__tokenizer_find(t, piece, n) != i || !genet__tokenizer_decode(t, &i, 1, &text, NULL)) __builtin_trap();
    }
    genet__str_release(&text);
    genet__token_list_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    genet_err err = { 0 };
    json_t *j = genet__json_parse((const char *)data, size, "fuzz", &err);
    tokenizer *t = j ? genet__tokenizer_from_json(j, "fuzz", &err) : NULL;
    if (t) use(t);
    else if (!err.text[0]) __builtin_trap();
    genet__tokenizer_free(t);
    json_decref(j);
    return 0;
}
