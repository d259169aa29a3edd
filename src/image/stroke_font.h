/* stroke_font.h - letters as pen strokes, so that plots need no fonts of the
 * system.  Latin letters, digits and signs of ASCII; others are a box. */
#ifndef GENET_IMAGE_STROKE_FONT_H
#define GENET_IMAGE_STROKE_FONT_H
#include <stdint.h>

/* A capital letter is STROKE_HEIGHT units high, STROKE_DESCENT of a small g lie below the line. */
enum { STROKE_HEIGHT = 8, STROKE_DESCENT = 3, STROKE_GAP = 2, STROKE_MAX_POINT = 64 };

/* Strokes of a character, one after the other: *s is its definition at first (genet__stroke_glyph), then the rest;
 * false: no more. Points are x, y in units, y downwards, the top of capitals is 0; curves come as short lines. */
const char *genet__stroke_glyph(uint32_t code_point, int *width);
int genet__stroke_next(const char **s, double xy[2 * STROKE_MAX_POINT]);
/* Width of a UTF-8 text in units. */
double genet__stroke_width(const char *text);
#endif
