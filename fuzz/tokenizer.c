/* tokenizer.c - fuzz target: a tokenizer.json is refused in words, or the tokenizer it gives knows its own pieces:
 * each is found, and what it is encoded to decodes.  Characters are encoded to themselves. */
#include <stdlib.h>
#include <string.h>
#include "text/tokenizer.h"

static void same_bytes(const tokenizer *t, int32_t id, const char *piece, size_t n)
{
    size_t length;
    const char *found = genet__tokenizer_piece(t, id, &length);
    if (!found || length != n || memcmp(found, piece, n)) __builtin_trap();
}

static void use(const tokenizer *t)
{
    token_list ids = { 0 };
    str text = { 0 };
    bool chars = !strcmp(genet__tokenizer_kind(t), "char");
    for (int32_t i = 0; i < genet__tokenizer_size(t); i++) {
        size_t n;
        const char *piece = genet__tokenizer_piece(t, i, &n);
        ids.n = 0;
        bool ok = genet__tokenizer_encode(t, piece, n, &ids, NULL);
        if (chars && (!ok || ids.n != 1 || ids.at[0] != i)) __builtin_trap();
        if (ok && !genet__tokenizer_decode(t, ids.at, ids.n, &text, NULL)) __builtin_trap();
        if (n) same_bytes(t, genet__tokenizer_find(t, piece, n), piece, n);
        if (genet__tokenizer_cut(t, piece, n) > n) __builtin_trap();
    }
    char hash[HASH_HEX];
    genet__tokenizer_hash(t, hash);
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
