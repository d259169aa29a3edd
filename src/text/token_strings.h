/* token_strings.h - a list of byte strings, as decoders hand them on. */
#ifndef GENET_TEXT_TOKEN_STRINGS_H
#define GENET_TEXT_TOKEN_STRINGS_H
#include "base/str.h"

typedef struct token_strings {      /* {0} is ready */
    str     bytes;                  /* one after the other */
    size_t *end;                    /* of each */
    int     n, cap;
    bool    failed;                 /* no memory */
    bool    raw;                    /* bytes that are no UTF-8 stay what they are */
    void   *scratch;                /* for patterns */
} token_strings;

void genet__strings_clear(token_strings *s);
void genet__strings_release(token_strings *s);
/* What was added to bytes since the last string is one. */
void genet__strings_end(token_strings *s);
static inline size_t genet__strings_begin(const token_strings *s, int i) { return i ? s->end[i - 1] : 0; }
static inline const char *genet__strings_at(const token_strings *s, int i, size_t *n)
{
    *n = s->end[i] - genet__strings_begin(s, i);
    return genet__str(&s->bytes) + genet__strings_begin(s, i);
}
#endif
