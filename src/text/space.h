/* space.h - white space in UTF-8: the 25 characters with Unicode's White_Space property
 * (PropList.txt, Unicode 16), which is what \s means to Hugging Face's regular
 * expressions and WhitespaceSplit. None of their bytes begin inside of another, so
 * that they can be looked for from any place, in bytes that are not UTF-8 too. */
#ifndef GENET_TEXT_SPACE_H
#define GENET_TEXT_SPACE_H
#include "base/str.h"

static inline bool genet__space_is(uint32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Bytes of the white-space character at s (n left); 0: there is none. */
static inline size_t genet__space_at(const char *s, size_t n)
{
    if (n == 0) return 0;
    unsigned char first = (unsigned char)s[0];
    if (first < 0x80) return genet__space_is(first);
    if (first != 0xc2 && (first < 0xe1 || first > 0xe3)) return 0;
    uint32_t c;
    int length = genet__utf8_decode(s, n, &c);
    return length > 0 && genet__space_is(c) ? (size_t)length : 0;
}

/* The end of the last white space in s, or 0. */
static inline size_t genet__space_last(const char *s, size_t n)
{
    for (size_t end = n; end > 0; end--) {
        if (genet__space_at(s + end - 1, 1)) return end;
        if (end >= 2 && genet__space_at(s + end - 2, 2) == 2) return end;
        if (end >= 3 && genet__space_at(s + end - 3, 3) == 3) return end;
    }
    return 0;
}
#endif
