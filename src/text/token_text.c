/* token_text.c - memory for text that changes on its way to tokens. */
#include "text/token_text.h"

bool genet__text_buffer_grow(text_buffer *b, size_t n, bool origins)
{
    size_t need = b->n + n, cap = need + need / 2 + 64;
    if (b->failed || cap < need) {
        b->failed = true;
        return false;
    }
    if (need > b->cap) {
        char *s = genet__realloc(b->s, cap);
        b->failed = !s;
        if (s) b->s = s, b->cap = cap;
    }
    if (!b->failed && origins && need > b->cap_origin) {
        text_origin *o = cap < SIZE_MAX / sizeof *o ? genet__realloc(b->origin, cap * sizeof *o) : NULL;
        b->failed = !o;
        if (o) b->origin = o, b->cap_origin = cap;
    }
    return !b->failed;
}

void genet__text_buffer_release(text_buffer *b)
{
    genet__free(b->s);
    genet__free(b->origin);
    *b = (text_buffer){ 0 };
}
