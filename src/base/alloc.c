/* alloc.c - heap memory through one door.  The two counters are the library's
 * only global state: a hook for tests, which let the n-th allocation fail and
 * look whether everything gets out of the way in good order. */
#include "base/alloc.h"
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_long allocs_left = -1;        /* until one fails; negative: never */
static atomic_long allocs_made;

long genet__alloc_fail_after(long n)
{
    atomic_store(&allocs_left, n);
    return atomic_exchange(&allocs_made, 0);
}

static bool must_fail(void)
{
    atomic_fetch_add_explicit(&allocs_made, 1, memory_order_relaxed);
    long n = atomic_load_explicit(&allocs_left, memory_order_relaxed);
    while (n >= 0)
        if (atomic_compare_exchange_weak(&allocs_left, &n, n - 1)) return n == 0;
    return false;
}

void *genet__alloc(size_t size_bytes)
{
    return must_fail() ? NULL : calloc(1, size_bytes ? size_bytes : 1);
}

void *genet__alloc_array(size_t n, size_t size_bytes)
{
    size_t product;
    if (__builtin_mul_overflow(n, size_bytes, &product)) return NULL;
    return genet__alloc(product);
}

void *genet__realloc(void *p, size_t size_bytes)
{
    return must_fail() ? NULL : realloc(p, size_bytes ? size_bytes : 1);
}

char *genet__strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = genet__alloc(n);
    return copy ? memcpy(copy, s, n) : NULL;
}

void genet__free(void *p)
{
    free(p);
}

/* Capacity doubles, so that n pushes cost O(n); the new part is zeroed. */
bool genet__grow(void *pointer_to_array, int *cap, int need, size_t element_bytes)
{
    if (need < 0) return false;
    if (need <= *cap) return true;
    int64_t wanted = *cap < 8 ? 8 : 2 * (int64_t)*cap;
    if (wanted < need) wanted = need;
    if (wanted > INT_MAX) wanted = INT_MAX;
    size_t bytes;
    if (__builtin_mul_overflow((size_t)wanted, element_bytes, &bytes)) return false;

    void *old, *grown;          /* the caller's pointer may have any object type: copy its bytes */
    memcpy(&old, pointer_to_array, sizeof old);
    grown = genet__realloc(old, bytes);
    if (!grown) return false;
    memset((char *)grown + (size_t)*cap * element_bytes, 0, (size_t)(wanted - *cap) * element_bytes);
    memcpy(pointer_to_array, &grown, sizeof grown);
    *cap = (int)wanted;
    return true;
}
