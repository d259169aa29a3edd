/* arena.c - an arena is a list of chunks, newest first; pieces are cut from
 * the front chunk and never given back one by one.  A large piece gets a chunk
 * of its own behind the front one, so that the front's rest is not wasted. */
#include "base/arena.h"
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include "base/alloc.h"
#include "base/str.h"

enum { ALIGN = 16, CHUNK_MIN = 4 << 10, CHUNK_MAX = 1 << 20 };

typedef struct arena_chunk {
    struct arena_chunk *next;
    size_t size_bytes, used_bytes;
    _Alignas(ALIGN) char at[];
} arena_chunk;

static arena_chunk *chunk_new(size_t size_bytes)
{
    arena_chunk *c = genet__alloc(sizeof *c + size_bytes);
    if (c) c->size_bytes = size_bytes;
    return c;
}

/* A chunk with room for size_bytes, linked into the arena. */
static arena_chunk *chunk_for(arena *a, size_t size_bytes)
{
    arena_chunk *front = a->chunk;
    if (front && front->size_bytes - front->used_bytes >= size_bytes) return front;
    size_t next = front ? 2 * front->size_bytes : CHUNK_MIN;    /* chunks double up to a limit */
    if (next > CHUNK_MAX) next = CHUNK_MAX;
    bool alone = size_bytes > next / 4;
    arena_chunk *c = chunk_new(alone ? size_bytes : next);
    if (!c) return NULL;
    if (alone && front) {
        c->next = front->next;
        front->next = c;
    } else {
        c->next = front;
        a->chunk = c;
    }
    return c;
}

void *genet__arena_alloc(arena *a, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX / 2) return NULL;
    size_t n = (size_bytes + ALIGN - 1) / ALIGN * ALIGN;
    arena_chunk *c = chunk_for(a, n ? n : ALIGN);
    if (!c) return NULL;
    void *p = c->at + c->used_bytes;
    c->used_bytes += n ? n : ALIGN;
    a->used_bytes += n;
    return p;
}

void *genet__arena_array(arena *a, int64_t n, size_t element_bytes)
{
    size_t bytes;
    if (n < 0 || __builtin_mul_overflow((size_t)n, element_bytes, &bytes)) return NULL;
    return genet__arena_alloc(a, bytes);
}

char *genet__arena_strdup(arena *a, const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = genet__arena_alloc(a, n);
    return copy ? memcpy(copy, s, n) : NULL;
}

char *genet__arena_printf(arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = genet__vformat(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = n < 0 ? NULL : genet__arena_alloc(a, (size_t)n + 1);
    if (!text) return NULL;
    va_start(ap, fmt);
    genet__vformat(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}

void genet__arena_release(arena *a)
{
    for (arena_chunk *c = a->chunk, *next; c; c = next) {
        next = c->next;
        genet__free(c);
    }
    *a = (arena){ 0 };
}
