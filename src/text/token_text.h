/* token_text.h - text on its way to tokens: a stretch of bytes which, where that is wanted, knows for each byte from
 * which bytes of the user's text it came; and a buffer in which a changed text is written.
 *
 * Origins are what offsets are made of.  A changed character takes over the origin of the one whose place it takes,
 * an inserted one that of the character before it. */
#ifndef GENET_TEXT_TOKEN_TEXT_H
#define GENET_TEXT_TOKEN_TEXT_H
#include <string.h>
#include "base/alloc.h"
#include "text/unicode.h"

typedef struct text_origin { uint32_t begin, end; } text_origin;

typedef struct token_text {
    const char *s;
    size_t      n;
    const text_origin *origin;  /* of each byte; NULL: not wanted */
    size_t      front;          /* so many bytes from the first come from the very beginning of the user's text */
} token_text;

/* Bytes [begin, end) of t. */
static inline token_text genet__token_text_slice(const token_text *t, size_t begin, size_t end)
{
    return (token_text){ t->s + begin, end - begin, t->origin ? t->origin + begin : NULL,
                         t->front > begin ? t->front - begin : 0 };
}

typedef struct text_buffer {    /* {0} is ready */
    char        *s;
    size_t       n, cap;
    text_origin *origin;        /* as many as bytes, where they are wanted */
    size_t       cap_origin, front;
    bool         failed;        /* no memory: nothing more is written */
} text_buffer;

bool genet__text_buffer_grow(text_buffer *b, size_t n, bool origins);
void genet__text_buffer_release(text_buffer *b);
static inline void genet__text_buffer_clear(text_buffer *b) { b->n = b->front = 0; b->failed = false; }
static inline token_text genet__text_buffer_view(const text_buffer *b, bool origins)
{
    return (token_text){ b->n ? b->s : "", b->n, origins ? b->origin : NULL, b->front };
}

static inline bool genet__text_buffer_room(text_buffer *b, size_t n, bool origins)
{
    if (b->n + n <= b->cap && (!origins || b->n + n <= b->cap_origin)) return true;
    return genet__text_buffer_grow(b, n, origins);
}

/* Append k <= 4 bytes, which come from where byte `from` of t does. */
static inline void genet__text_put_bytes(text_buffer *b, const token_text *t, const char *bytes, int k, size_t from)
{
    if (!genet__text_buffer_room(b, 4, t->origin != NULL)) return;
    if (from < t->front && b->front == b->n) b->front += (size_t)k;
    for (int i = 0; i < k; i++) {
        if (t->origin) b->origin[b->n] = t->origin[from < t->n ? from : t->n - 1];
        b->s[b->n++] = bytes[i];
    }
}

static inline void genet__text_put(text_buffer *b, const token_text *t, uint32_t c, size_t from)
{
    char bytes[4];
    int k = genet__char_put(c, bytes);
    genet__text_put_bytes(b, t, bytes, k, from);
}

/* Append bytes [begin, end) of t as they are. */
static inline void genet__text_copy(text_buffer *b, const token_text *t, size_t begin, size_t end)
{
    size_t n = end - begin;
    if (n == 0 || !genet__text_buffer_room(b, n, t->origin != NULL)) return;
    if (begin < t->front && b->front == b->n) b->front += t->front < end ? t->front - begin : n;
    memcpy(b->s + b->n, t->s + begin, n);
    if (t->origin) memcpy(b->origin + b->n, t->origin + begin, n * sizeof *t->origin);
    b->n += n;
}
#endif
