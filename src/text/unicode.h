/* unicode.h - what characters are, for tokenizers: the properties that Hugging Face's tokenizers goes by.
 *
 * The data are utf8proc's.  Some of the library's own tables are older than that; where a character was assigned since,
 * unicode.c has the difference, so that everything assigned in Unicode 12.1 is read as the library reads it.
 *
 * Text may hold bytes that are no UTF-8.  Such a byte is read as a character of its own, NOT_UTF8 + byte, which has no
 * property and stands for itself when written. */
#ifndef GENET_TEXT_UNICODE_H
#define GENET_TEXT_UNICODE_H
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

enum { NOT_UTF8 = 0x110000 };

/* The character at s (n > 0 left): its bytes. */
static inline int genet__char_at(const char *s, size_t n, uint32_t *c)
{
    unsigned char first = (unsigned char)*s;
    if (first < 0x80) {
        *c = first;
        return 1;
    }
    int k = genet__utf8_decode(s, n, c);
    if (k > 0) return k;
    *c = NOT_UTF8 + first;
    return 1;
}

/* Its bytes at to; how many. */
static inline int genet__char_put(uint32_t c, char to[4])
{
    if (c < 0x80 || c >= NOT_UTF8) {
        to[0] = (char)c;
        return 1;
    }
    return genet__utf8_encode(c, to);
}

bool genet__is_word(uint32_t c);                /* \w of Unicode Technical Standard 18 */
bool genet__is_numeric(uint32_t c);             /* Nd, Nl, No */
bool genet__is_punctuation(uint32_t c);         /* ASCII's, and P */
bool genet__is_control(uint32_t c);             /* "other" (C), but for \t \n \r: what BertNormalizer drops */
bool genet__is_combining_mark(uint32_t c);      /* M: what StripAccents drops */
bool genet__is_nonspacing_mark(uint32_t c);     /* Mn: what BertNormalizer drops */
/* The lower-case characters of c, one or two. */
int  genet__to_lower(uint32_t c, uint32_t out[2]);

/* --- normal forms (Unicode Standard Annex 15) --------------------------------------------------------------------- */

enum { DECOMPOSED_MAX = 32 };
int      genet__combining_class(uint32_t c);
/* The full decomposition of c, canonical or for compatibility; how many characters. */
int      genet__decompose(uint32_t c, bool compatible, uint32_t out[DECOMPOSED_MAX]);
/* The character that a and b make, or 0. */
uint32_t genet__compose(uint32_t a, uint32_t b);
/* Does c stand for itself in all four forms, and does nothing before it change by it? */
bool     genet__is_inert(uint32_t c);
/* Is there no break between extended grapheme clusters (Annex 29) after a, before b?  *state: 0 at the beginning. */
bool     genet__grapheme_break(uint32_t a, uint32_t b, int *state);
#endif
