/* tokenizer.c - fuzz target: a tokenizer.json is refused in words, or the tokenizer it gives encodes its own pieces and a text
 * of everything, to ids it knows, which decode.  Characters are encoded to themselves. */
#include <stdlib.h>
#include <string.h>
#include "text/tokenizer_encoding.h"

/* Offsets lie in the text, and ids in the vocabulary, but for those that the file's own template adds. */
static void encode_text(const tokenizer *t, const char *text, size_t n)
{
    encode_options o = genet__encode_defaults(t);
    encoding e;
    o.special = o.overflow = true;
    if (o.pad.fixed > 1 << 16) o.pad.on = false;
    o.pad.multiple = 0;
    if (!genet__tokenizer_encode_text(t, text, n, &o, &e, NULL)) return;
    for (int i = 0; i < e.n; i++)
        if (e.at[i].begin > e.at[i].end || e.at[i].end > n) __builtin_trap();
    genet__encoding_release(&e);
}

static void use(const tokenizer *t)
{
    static const char torture[] = " e\xcc\x81 \xef\xac\x81""A\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab <s> \xe2\x96\x81x\xff\r\n12.5 \xf0\x9f\x91\xa8\xe2\x80\x8d";
    token_list ids = { 0 };
    str text = { 0 };
    bool chars = !strcmp(genet__tokenizer_kind(t), "char");
    int size = genet__tokenizer_size(t);
    encode_text(t, torture, sizeof torture - 1);
    for (int32_t i = 0; i < size && i < 1 << 12; i++) {
        size_t n;
        const char *piece = genet__tokenizer_piece(t, i, &n);
        ids.n = 0;
        genet__str_clear(&text);
        bool ok = genet__tokenizer_encode(t, piece, n, &ids, NULL);
        if (chars && (!ok || ids.n != 1 || ids.at[0] != i)) __builtin_trap();
        for (int k = 0; ok && k < ids.n; k++)
            if (ids.at[k] < 0 || ids.at[k] >= size) __builtin_trap();
        if (ok && !genet__tokenizer_decode(t, ids.at, ids.n, &text, NULL)) __builtin_trap();
        if (genet__tokenizer_find(t, piece, n) >= size || genet__tokenizer_cut(t, piece, n) > n) __builtin_trap();
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
