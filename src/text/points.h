/* points.h - texts as code points, for what looks at characters: the tokenizers and the letters of the metrics.
 *
 * White space, lower case and the classes P, S and N are Python's, because the definitions that the metrics follow are
 * written in it: what str.split, str.lower and \p{..} say there. */
#ifndef GENET_TEXT_POINTS_H
#define GENET_TEXT_POINTS_H
#include "base/str.h"

/* Code points, or any other numbers that stand for pieces of a text.  A failed allocation sets failed and later calls do
 * nothing: check once at the end. */
typedef struct points { uint32_t *at; int64_t n, cap; bool failed; } points;        /* {0} is ready */

void genet__points_add(points *p, uint32_t c);
void genet__points_copy(points *p, const uint32_t *at, int64_t n);      /* appends */
void genet__points_clear(points *p);
void genet__points_release(points *p);
/* Append n bytes of UTF-8.  False: byte *bad begins none (memory is no reason). */
bool genet__points_decode(points *p, const char *text, size_t n, size_t *bad);
/* In place; may become longer (U+0130).  A capital sigma that ends a word becomes the final one. */
void genet__points_lower(points *p);
/* Without white space at the ends. */
void genet__points_strip_end(points *p);
void genet__points_strip(points *p);

/* White_Space, and the four information separators U+001C to U+001F. */
bool genet__point_is_space(uint32_t c);
/* By general category: P*, S*, N*. */
bool genet__point_is_punctuation(uint32_t c);
bool genet__point_is_symbol(uint32_t c);
bool genet__point_is_number(uint32_t c);
/* \w: a letter, a number or the low line. */
bool genet__point_is_word(uint32_t c);
#endif
