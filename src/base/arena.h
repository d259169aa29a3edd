/* arena.h - memory that is freed all at once. */
#ifndef GENET_BASE_ARENA_H
#define GENET_BASE_ARENA_H
#include <stddef.h>
#include "genet/genet.h"

typedef struct arena { struct arena_chunk *chunk; size_t used_bytes; } arena;   /* {0} is ready */

void *genet__arena_alloc(arena *a, size_t size_bytes);        /* zeroed, 16-byte aligned; NULL: no memory */
/* n elements, zeroed; NULL also when n is negative or the product overflows. */
void *genet__arena_array(arena *a, int64_t n, size_t element_bytes);
char *genet__arena_strdup(arena *a, const char *s);
char *genet__arena_printf(arena *a, const char *fmt, ...) GENET_PRINTF(2, 3);
void  genet__arena_release(arena *a);
#define ARENA_NEW(a, type)      ((type *)genet__arena_alloc(a, sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)genet__arena_array(a, n, sizeof(type)))
#endif
