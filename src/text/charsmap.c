/* charsmap.c - SentencePiece's "precompiled_charsmap": a double-array trie over byte strings whose values point into a list
 * of replacements (Kudo and Richardson 2018, arXiv 1808.06226; the format is Darts-clone's).
 *
 *   4 bytes     the size of the trie in bytes, little-endian as all that follows
 *   trie        units of 4 bytes: bit 8 says that a value follows, bits 0-7 and 31 hold the label, bits 10-30 the distance
 *               to the children (times 256 where bit 9 is set); a unit that is a value has it in bits 0-30
 *   the rest    replacements, each ended by a zero byte; a value is where one begins */
#include <string.h>
#include "base/err.h"
#include "text/tokenizer_part.h"

struct charsmap { const uint32_t *unit; size_t n_units; const char *text; size_t n_text; };

/* The digit's value, or -1. */
static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Base 64 (RFC 4648), with "=" at the end; the number of bytes, or -1. */
static int64_t decode_base64(const char *s, size_t n, unsigned char *to)
{
    int64_t length = 0;
    uint32_t bits = 0;
    if (n % 4) return -1;
    while (n > 0 && s[n - 1] == '=') n--;
    for (size_t i = 0; i < n; i++) {
        int d = digit_of(s[i]);
        if (d < 0) return -1;
        bits = bits << 6 | (uint32_t)d;
        if (i % 4) to[length++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    return length;
}

static uint32_t word_at(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

charsmap *genet__charsmap_new(const char *base64, arena *a, genet_err *err)
{
    size_t n = strlen(base64);
    charsmap *m = ARENA_NEW(a, charsmap);
    unsigned char *bytes = ARENA_ARRAY(a, unsigned char, (int64_t)n + 4);
    int64_t length = bytes ? decode_base64(base64, n, bytes) : 0;
    size_t trie = length >= 4 ? word_at(bytes) : 0;
    if (!m || !bytes) {
        genet__err_memory(err);
        return NULL;
    }
    uint32_t *unit = ARENA_ARRAY(a, uint32_t, (int64_t)(trie <= n ? trie / 4 : 0) + 1);
    if (length < 4 || trie % 4 || trie == 0 || trie > (size_t)length - 4) {
        genet__err_set(err, GENET_ERR_FORMAT, "is no table of characters in base 64: its size is wrong");
        return NULL;
    }
    if (!unit) {
        genet__err_memory(err);
        return NULL;
    }
    for (size_t i = 0; i < trie / 4; i++) unit[i] = word_at(bytes + 4 + 4 * i);
    *m = (charsmap){ unit, trie / 4, (const char *)bytes + 4 + trie, (size_t)length - 4 - trie };
    return m;
}

/* Units lie at exclusive ors of distances and labels; what points out of the table ends the search. */
const char *genet__charsmap_find(const charsmap *m, const char *s, size_t n, size_t *length)
{
    size_t at = 0;
    uint32_t unit = m->unit[0];
    at ^= (unit >> 10) << ((unit & 1u << 9) >> 6);
    for (size_t i = 0; i < n && s[i]; i++) {
        unsigned char c = (unsigned char)s[i];
        at ^= c;
        if (at >= m->n_units) return NULL;
        unit = m->unit[at];
        if ((unit & 0x800000ffu) != c) return NULL;
        at ^= (unit >> 10) << ((unit & 1u << 9) >> 6);
        if (!(unit >> 8 & 1)) continue;
        size_t value = at < m->n_units ? m->unit[at] & 0x7fffffffu : SIZE_MAX;
        if (value >= m->n_text) return NULL;
        const char *end = memchr(m->text + value, 0, m->n_text - value);
        *length = end ? (size_t)(end - (m->text + value)) : m->n_text - value;
        return m->text + value;
    }
    return NULL;
}
