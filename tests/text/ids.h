/* ids.h - for tests of tokenizers: a tokenizer from a file, the ids of a text, and which they must be. */
#ifndef GENET_TESTS_TEXT_IDS_H
#define GENET_TESTS_TEXT_IDS_H
#include <string.h>
#include "text/tokenizer.h"

static inline tokenizer *load(const char *path)
{
    genet_err err = { 0 };
    tokenizer *t = genet__tokenizer_load(path, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

static inline token_list encode(const tokenizer *t, const char *text, size_t n)
{
    genet_err err = { 0 };
    token_list ids = { 0 };
    if (!genet__tokenizer_encode(t, text, n, &ids, &err)) fail_msg("%s", err.text);
    return ids;
}

/* The ids of text, up to its first zero. */
static inline void expect_ids(const tokenizer *t, const char *text, int n, const int32_t *want)
{
    token_list ids = encode(t, text, strlen(text));
    if (ids.n != n) fail_msg("\"%s\" has %d ids, not %d", text, ids.n, n);
    for (int i = 0; i < n; i++)
        if (ids.at[i] != want[i]) fail_msg("\"%s\": id %d is %d, not %d", text, i, ids.at[i], want[i]);
    genet__token_list_release(&ids);
}
#define IDS(t, text, ...) expect_ids(t, text, (int)(sizeof (int32_t[]){ __VA_ARGS__ } / sizeof(int32_t)), \
                                     (int32_t[]){ __VA_ARGS__ })
#endif
