/* str.h - a growing, always terminated string.  A failed allocation sets
 * failed and later calls do nothing: check once at the end. */
#ifndef GENET_BASE_STR_H
#define GENET_BASE_STR_H
#include <locale.h>
#include <stdarg.h>
#include "genet/genet.h"

typedef struct str { char *at; size_t n, cap; bool failed; } str;      /* {0} is ready */

void  genet__str_add(str *s, const char *text);
void  genet__str_add_n(str *s, const void *bytes, size_t n);
void  genet__str_printf(str *s, const char *fmt, ...) GENET_PRINTF(2, 3);
void  genet__str_clear(str *s);
void  genet__str_release(str *s);
const char *genet__str(const str *s);        /* "" when empty; owned by s */

bool  genet__ends_with(const char *s, const char *end);

/* "a/b" */
char *genet__path_join(const char *a, const char *b);           /* heap */
/* Number of edits (Levenshtein) between two short words. */
int   genet__edit_distance(const char *a, const char *b);
/* The calling thread works in the C locale between the two. */
typedef struct c_locale { locale_t c, old; } c_locale;
c_locale genet__c_locale_enter(void);
void     genet__c_locale_leave(c_locale l);
/* vsnprintf in the C locale, whatever the host's. */
int   genet__vformat(char *out, size_t size_bytes, const char *fmt, va_list ap) GENET_PRINTF(3, 0);
/* The whole of text as a decimal number, without spaces around it; false for
 * anything else: overflow, inf and nan included.  In the C locale, whatever
 * the host's. */
bool  genet__parse_int(const char *text, int64_t *out);
bool  genet__parse_double(const char *text, double *out);
/* Shortest decimal text that reads back as the same double. */
void  genet__format_double(char out[32], double x);
/* One code point of valid UTF-8 at s (n bytes left); 0 bytes when invalid. */
int   genet__utf8_decode(const char *s, size_t n, uint32_t *code_point);
int   genet__utf8_encode(uint32_t code_point, char out[4]);
/* Bytes of the whole character that ends at s[i], and what it is; 0: none does. */
size_t genet__utf8_before(const char *s, size_t i, uint32_t *code_point);
/* Bytes of the character at s (n > 0 left), or of the longest beginning of one, at least 1.  *whole: it is a character;
 * *open: it is not, but more bytes could make it one. */
size_t genet__utf8_length(const char *s, size_t n, bool *whole, bool *open);
/* Append n bytes as UTF-8: what is none becomes U+FFFD, one for each longest beginning of a character, as Unicode
 * (chapter 3.9) recommends. */
void  genet__utf8_add(str *out, const char *bytes, size_t n);
/* The same, but for a character at the end that more bytes could complete: how many bytes were taken. */
size_t genet__utf8_add_whole(str *out, const char *bytes, size_t n);
#endif
