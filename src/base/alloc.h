/* alloc.h - the only door to the heap, so that tests can make the n-th
 * allocation fail.  Like libc's, zeroed; NULL when out of memory. */
#ifndef GENET_BASE_ALLOC_H
#define GENET_BASE_ALLOC_H
#include <stdbool.h>
#include <stddef.h>

void *genet__alloc(size_t size_bytes);                       /* zeroed */
void *genet__alloc_array(size_t n, size_t size_bytes);       /* zeroed, checked product */
void *genet__realloc(void *p, size_t size_bytes);            /* p unchanged on failure */
char *genet__strdup(const char *s);
void  genet__free(void *p);
/* Let n allocations succeed and the next one fail once; negative: never.
 * Returns how many were made since the last call. */
long  genet__alloc_fail_after(long n);

/* Make room for one more in the growable array (pointer, n, cap). */
bool genet__grow(void *pointer_to_array, int *cap, int need, size_t element_bytes);
#define GROW(array, n, cap) genet__grow(&(array), &(cap), (n) + 1, sizeof *(array))
#endif
