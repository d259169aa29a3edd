/* sha256.h - SHA-256 (FIPS 180-4): the name of a content. */
#ifndef GENET_FORMAT_SHA256_H
#define GENET_FORMAT_SHA256_H
#include <stddef.h>
#include <stdint.h>

enum { HASH_HEX = 65 };         /* digits and the zero */

typedef struct sha256 { uint32_t h[8]; uint64_t n_bytes; unsigned char block[64]; } sha256;

void genet__sha256_init(sha256 *s);
void genet__sha256_add(sha256 *s, const void *bytes, size_t n);
void genet__sha256_end(sha256 *s, char hex[HASH_HEX]);
#endif
