/* sentencepiece.c - fuzz target: a .model file is refused in words, or becomes a tokenizer.json that is read, or refused in
 * words too (a vocabulary may ask for what no pipeline does); a tokenizer it gives encodes and decodes. */
#include <stdlib.h>
#include "text/sentencepiece.h"
#include "text/tokenizer.h"

static void use(const tokenizer *t)
{
    static const char text[] = " a  b<s>\xc3\xa9\xe2\x96\x81\xff";
    token_list ids = { 0 };
    str back = { 0 };
    if (genet__tokenizer_encode(t, text, sizeof text - 1, &ids, NULL) &&
        !genet__tokenizer_decode(t, ids.at, ids.n, &back, NULL)) __builtin_trap();
    genet__str_release(&back);
    genet__token_list_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    genet_err err = { 0 };
    json_t *j = genet__sentencepiece_json(data, size, "fuzz", &err);
    tokenizer *t = j ? genet__tokenizer_from_json(j, "fuzz", &err) : NULL;
    if (t) use(t);
    else if (!err.text[0]) __builtin_trap();
    genet__tokenizer_free(t);
    json_decref(j);
    return 0;
}
