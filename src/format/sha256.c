/* sha256.c - SHA-256 in its textbook form (FIPS 180-4, sections 4 to 6): blocks
 * of 64 bytes are mixed into eight words; the last one carries the length. */
#include "format/sha256.h"
#include <string.h>

/* The first 32 bits of the fractions of the cube roots of the first 64 primes (section 4.2.2). */
static const uint32_t root[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* ROTR of section 3.2; compilers make one instruction of it. */
static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Section 6.2.2.  The letters a .. h stand in a ring that turns by one place a
 * round: letter k of round i is v[(k - i) mod 8], so nothing is moved. */
static void mix(uint32_t h[8], const unsigned char *block)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++) w[i] = big_endian(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(v, h, sizeof v);
#define LETTER(k) v[((k) - i) & 7]
#pragma GCC unroll 8
    for (int i = 0; i < 64; i++) {
        uint32_t a = LETTER(0), b = LETTER(1), c = LETTER(2), e = LETTER(4), f = LETTER(5), g = LETTER(6);
        uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        uint32_t t1 = LETTER(7) + s1 + ((e & f) ^ (~e & g)) + root[i] + w[i];
        LETTER(3) += t1;
        LETTER(7) = t1 + s0 + ((a & b) ^ (a & c) ^ (b & c));    /* the next round's a */
    }
#undef LETTER
    for (int i = 0; i < 8; i++) h[i] += v[i];
}

void genet__sha256_init(sha256 *s)
{
    /* Fractions of the square roots of the first 8 primes (section 5.3.3). */
    *s = (sha256){ { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 }, 0, { 0 } };
}

/* A started block is filled first; whole ones are mixed in place; the rest waits. */
void genet__sha256_add(sha256 *s, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    size_t held = s->n_bytes % 64;
    s->n_bytes += n;
    if (held) {
        size_t take = n < 64 - held ? n : 64 - held;
        memcpy(s->block + held, p, take);
        if (held + take < 64) return;
        mix(s->h, s->block);
        p += take;
        n -= take;
    }
    for (; n >= 64; p += 64, n -= 64) mix(s->h, p);
    if (n) memcpy(s->block, p, n);
}

void genet__sha256_end(sha256 *s, char hex[HASH_HEX])
{
    static const unsigned char one_bit[64] = { 0x80 };
    uint64_t n_bits = s->n_bytes * 8;
    genet__sha256_add(s, one_bit, 1 + (119 - s->n_bytes % 64) % 64);    /* to 8 bytes before a block's end */
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)(n_bits >> (56 - 8 * i));
    genet__sha256_add(s, length, 8);
    for (int i = 0; i < 64; i++) hex[i] = "0123456789abcdef"[s->h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    hex[64] = 0;
}
