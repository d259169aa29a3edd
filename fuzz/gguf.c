/* gguf.c - fuzz target: whatever the bytes, they are refused in words, or every tensor can be read to its last byte, and
 * the config, the tokenizer and the weights under our names are made or refused in words. */
#include <stdlib.h>
#include <string.h>
#include "format/gguf_model.h"

static void need_words(bool ok, genet_err *err)
{
    if (!ok && !err->text[0]) __builtin_trap();
    *err = (genet_err){ 0 };
}

static void read_weights(gguf *g, genet_err *err)
{
    shards s;
    bool ok = genet__gguf_shards_of(&s, g, err);
    need_words(ok, err);
    for (int f = 0; ok && f < s.n; f++)
        for (int i = 0; i < s.file[f].n; i++) {
            const safetensor *t = genet__shards_find(&s, s.file[f].at[i].name, NULL);
            float *out = malloc((size_t)t->numel * sizeof(float) + 4);
            if (out) genet__safetensor_to_f32(t, out);
            free(out);
        }
    if (ok) genet__shards_close(&s);
}

static void look_into(gguf *g)
{
    unsigned char byte = 0;
    genet_err err = { 0 };
    for (int i = 0; i < g->n; i++)
        if (g->at[i].size_bytes) byte ^= g->at[i].at[g->at[i].size_bytes - 1];
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i].size_bytes) byte ^= g->value[i].at[g->value[i].size_bytes - 1];
    json_t *(*const made[])(const gguf *, genet_err *) = { genet__gguf_config, genet__gguf_tokenizer, genet__gguf_tokenizer_config };
    for (int i = 0; i < 3; i++) {
        json_t *j = made[i](g, &err);
        need_words(j, &err);
        json_decref(j);
    }
    read_weights(g, &err);
    if (byte == 255 && g->n < 0) __builtin_trap();             /* so that the bytes are read */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    genet_err err = { 0 };
    gguf g;
    uint8_t *copy = malloc(size ? size : 1);        /* of exact size, so that a sanitizer sees the end */
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    if (genet__gguf_parse(&g, copy, size, "fuzz", &err)) look_into(&g);
    else need_words(false, &err);
    genet__gguf_close(&g);
    free(copy);
    return 0;
}
