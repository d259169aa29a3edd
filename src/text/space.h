/* space.h - white space in UTF-8: the 25 characters with Unicode's White_Space property
 * (PropList.txt, Unicode 16), which is what \s means to Hugging Face's regular
 * expressions and WhitespaceSplit. None of their bytes begin inside of another, so
 * that they can be looked for from any place, in bytes that are not UTF-8 too. */
#ifndef GENET_TEXT_SPACE_H
#define GENET_TEXT_SPACE_H
#include <stdbool.h>
#include <stddef.h>

static inline bool genet__space_ascii(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Bytes of the white-space character at s (n left); 0: there is none. */
static inline size_t genet__space_at(const char *s, size_t n)
{
    const unsigned char *c = (const unsigned char *)s;
    if (n == 0) return 0;
    if (c[0] < 0xc2) return genet__space_ascii(c[0]);
    if (c[0] == 0xc2) return n > 1 && (c[1] == 0x85 || c[1] == 0xa0) ? 2 : 0;       /* next line, no-break space */
    if (n < 3 || c[0] > 0xe3) return 0;
    bool space = false;
    if (c[0] == 0xe1) space = c[1] == 0x9a && c[2] == 0x80;                         /* Ogham */
    if (c[0] == 0xe2 && c[1] == 0x80)                                               /* U+2000-200A, 2028, 2029, 202F */
        space = (c[2] >= 0x80 && c[2] <= 0x8a) || c[2] == 0xa8 || c[2] == 0xa9 || c[2] == 0xaf;
    if (c[0] == 0xe2 && c[1] == 0x81) space = c[2] == 0x9f;                         /* mathematical space */
    if (c[0] == 0xe3) space = c[1] == 0x80 && c[2] == 0x80;                         /* ideographic space */
    return space ? 3 : 0;
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
