/* canvas.h - lines, areas and words on a page, which becomes an SVG or a PNG
 * file.  Coordinates are points of the page from its top left corner, y downwards. */
#ifndef GENET_IMAGE_CANVAS_H
#define GENET_IMAGE_CANVAS_H
#include <stdint.h>
#include "genet/genet.h"

typedef enum canvas_kind { CANVAS_SVG, CANVAS_PNG } canvas_kind;
typedef struct canvas canvas;

/* A white page; NULL: no memory. */
canvas *genet__canvas_new(canvas_kind kind, int width, int height, genet_err *err);
void    genet__canvas_free(canvas *c);

/* rgb: 0xRRGGBB; opacity 0..1. */
typedef struct pen { uint32_t rgb; double width, opacity; } pen;
/* Through n points x, y; those that are not finite part it. */
void genet__canvas_line(canvas *c, const double *xy, int n, pen p);
void genet__canvas_area(canvas *c, double x, double y, double width, double height, pen p);
/* height: of capitals; anchor: 0 text begins at x, 0.5 is centred, 1 ends there; y is the line it stands on.  turned:
 * by 90 degrees, upwards. */
typedef struct lettering { uint32_t rgb; double height, anchor; bool turned; } lettering;
void genet__canvas_text(canvas *c, double x, double y, lettering l, const char *text);

bool genet__canvas_write(canvas *c, const char *path, genet_err *err);
#endif
