/* canvas.c - the two kinds of page.
 *
 * SVG is written as it comes.  PNG is drawn at twice the resolution: a line's coverage of a
 * pixel is its distance to the pixel's middle, clamped; a whole line is gathered as
 * the largest coverage first and then laid on once, so that joints and crossings with
 * itself do not darken. */
#include "image/canvas.h"
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "format/png.h"
#include "image/stroke_font.h"

enum { SCALE = 2 };

struct canvas {
    canvas_kind kind;
    int     width, height;
    str     svg;
    int     W, H;               /* PNG: pixels */
    unsigned char *rgb;         /* (H, W, 3) */
    float  *cover;              /* (H, W), zero between lines */
    int     x0, y0, x1, y1;     /* what a line touched */
};

/* --- SVG ------------------------------------------------------------------------------ */

/* Characters that XML reads otherwise, and bytes that are none. */
static void svg_escape(str *s, const char *text)
{
    for (size_t left = strlen(text); left;) {
        uint32_t c = 0;
        int n = genet__utf8_decode(text, left, &c);
        const char *name = !n ? "\xef\xbf\xbd" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : NULL;
        if (name) genet__str_add(s, name);
        else if (c >= 32) genet__str_add_n(s, text, (size_t)n);
        text += n ? n : 1;
        left -= (size_t)(n ? n : 1);
    }
}

static void svg_line(str *s, const double *xy, int n, pen p)
{
    genet__str_add(s, "<path fill=\"none\" stroke-linejoin=\"round\" stroke-linecap=\"round\" d=\"");
    bool down = false;
    for (int i = 0; i < n; i++) {
        bool here = isfinite(xy[2 * i]) && isfinite(xy[2 * i + 1]);
        if (here) genet__str_printf(s, "%c%.2f %.2f", down ? 'L' : 'M', xy[2 * i], xy[2 * i + 1]);
        down = here;
    }
    genet__str_printf(s, "\" stroke=\"#%06x\" stroke-width=\"%.2f\" stroke-opacity=\"%.2f\"/>\n", p.rgb, p.width, p.opacity);
}

/* A font's capitals are about 0.72 of its size. */
static void svg_text(str *s, double x, double y, lettering l, const char *text)
{
    genet__str_printf(s, "<text x=\"%.2f\" y=\"%.2f\" font-family=\"sans-serif\" font-size=\"%.1f\" "
                      "fill=\"#%06x\" text-anchor=\"%s\"",
                      x, y, l.height / 0.72, l.rgb, l.anchor < 0.25 ? "start" : l.anchor > 0.75 ? "end" : "middle");
    if (l.turned) genet__str_printf(s, " transform=\"rotate(-90 %.2f %.2f)\"", x, y);
    genet__str_add(s, ">");
    svg_escape(s, text);
    genet__str_add(s, "</text>\n");
}

/* --- PNG ------------------------------------------------------------------------------ */

/* Distance of (x, y) from the segment a - b. */
static double distance(double x, double y, const double *a, const double *b)
{
    double dx = b[0] - a[0], dy = b[1] - a[1], length2 = dx * dx + dy * dy;
    double t = length2 > 0 ? ((x - a[0]) * dx + (y - a[1]) * dy) / length2 : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypot(x - a[0] - t * dx, y - a[1] - t * dy);
}

static int clamp(double x, int most) { return x < 0 ? 0 : x > most ? most : (int)x; }

/* a, b and half in pixels. */
static void cover_segment(canvas *c, const double *a, const double *b, double half)
{
    double reach = half + 1;
    int x0 = clamp(fmin(a[0], b[0]) - reach, c->W), x1 = clamp(fmax(a[0], b[0]) + reach + 1, c->W);
    int y0 = clamp(fmin(a[1], b[1]) - reach, c->H), y1 = clamp(fmax(a[1], b[1]) + reach + 1, c->H);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            float covered = (float)(half + 0.5 - distance(x + 0.5, y + 0.5, a, b));
            float *at = &c->cover[(size_t)y * (size_t)c->W + (size_t)x];
            if (covered > *at) *at = covered < 1 ? covered : 1;
        }
    if (x0 < c->x0) c->x0 = x0;
    if (y0 < c->y0) c->y0 = y0;
    if (x1 > c->x1) c->x1 = x1;
    if (y1 > c->y1) c->y1 = y1;
}

/* Lay what was covered on the page. */
static void lay(canvas *c, pen p)
{
    for (int y = c->y0; y < c->y1; y++)
        for (int x = c->x0; x < c->x1; x++) {
            size_t i = (size_t)y * (size_t)c->W + (size_t)x;
            double share = (double)c->cover[i] * p.opacity;
            for (int k = 0; share > 0 && k < 3; k++) {
                double ink = (double)(p.rgb >> (16 - 8 * k) & 255), was = c->rgb[3 * i + (size_t)k];
                c->rgb[3 * i + (size_t)k] = (unsigned char)lround(was + share * (ink - was));
            }
            c->cover[i] = 0;
        }
    c->x0 = c->W, c->y0 = c->H, c->x1 = c->y1 = 0;
}

static void png_line(canvas *c, const double *xy, int n, pen p)
{
    double before[2] = { NAN, NAN };
    for (int i = 0; i < n; i++) {
        double now[2] = { xy[2 * i] * SCALE, xy[2 * i + 1] * SCALE };
        bool here = isfinite(now[0]) && isfinite(now[1]);
        if (here) cover_segment(c, isfinite(before[0]) ? before : now, now, p.width * SCALE / 2);
        before[0] = here ? now[0] : NAN;
        before[1] = now[1];
    }
    lay(c, p);
}

/* Letters are lines; what is no UTF-8 is a box. */
static void png_text(canvas *c, double x, double y, lettering l, const char *text)
{
    double unit = l.height / STROKE_HEIGHT, at = -l.anchor * genet__stroke_width(text) * unit;
    pen p = { l.rgb, l.height * 0.12 > 0.9 ? l.height * 0.12 : 0.9, 1 };
    for (size_t left = strlen(text); left;) {
        uint32_t code = 0;
        double stroke[2 * STROKE_MAX_POINT];
        int width, n = genet__utf8_decode(text, left, &code), points;
        for (const char *s = genet__stroke_glyph(code, &width); (points = genet__stroke_next(&s, stroke)) > 0;) {
            for (int i = 0; i < points; i++) {
                double along = at + stroke[2 * i] * unit, down = (stroke[2 * i + 1] - STROKE_HEIGHT) * unit;
                stroke[2 * i] = x + (l.turned ? down : along);
                stroke[2 * i + 1] = y + (l.turned ? -along : down);
            }
            png_line(c, stroke, points, p);
        }
        at += (width + STROKE_GAP) * unit;
        text += n ? n : 1;
        left -= (size_t)(n ? n : 1);
    }
}

static void png_area(canvas *c, double x, double y, double width, double height, pen p)
{
    c->x0 = clamp(x * SCALE, c->W), c->x1 = clamp((x + width) * SCALE, c->W);
    c->y0 = clamp(y * SCALE, c->H), c->y1 = clamp((y + height) * SCALE, c->H);
    for (int row = c->y0; row < c->y1; row++)
        for (int col = c->x0; col < c->x1; col++) c->cover[(size_t)row * (size_t)c->W + (size_t)col] = 1;
    lay(c, p);
}

/* --- both ----------------------------------------------------------------------------- */

canvas *genet__canvas_new(canvas_kind kind, int width, int height, genet_err *err)
{
    canvas *c = genet__alloc(sizeof *c);
    if (c) {
        *c = (canvas){ .kind = kind, .width = width, .height = height, .W = width * SCALE, .H = height * SCALE };
        c->x0 = c->W, c->y0 = c->H;
    }
    size_t pixels = c ? (size_t)c->W * (size_t)c->H : 0;
    if (c && kind == CANVAS_PNG) {
        c->rgb = genet__alloc(pixels * 3);
        c->cover = genet__alloc_array(pixels, sizeof *c->cover);
        if (c->rgb) memset(c->rgb, 255, pixels * 3);
    }
    if (c && (kind == CANVAS_SVG || (c->rgb && c->cover))) return c;
    genet__canvas_free(c);
    genet__err_memory(err);
    return NULL;
}

void genet__canvas_free(canvas *c)
{
    if (!c) return;
    genet__str_release(&c->svg);
    genet__free(c->rgb);
    genet__free(c->cover);
    genet__free(c);
}

void genet__canvas_line(canvas *c, const double *xy, int n, pen p)
{
    if (c->kind == CANVAS_SVG) svg_line(&c->svg, xy, n, p);
    else png_line(c, xy, n, p);
}

void genet__canvas_area(canvas *c, double x, double y, double width, double height, pen p)
{
    if (c->kind == CANVAS_PNG) png_area(c, x, y, width, height, p);
    else genet__str_printf(&c->svg, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" "
                           "fill=\"#%06x\" fill-opacity=\"%.2f\"/>\n", x, y, width, height, p.rgb, p.opacity);
}

void genet__canvas_text(canvas *c, double x, double y, lettering l, const char *text)
{
    if (c->kind == CANVAS_SVG) svg_text(&c->svg, x, y, l, text);
    else png_text(c, x, y, l, text);
}

bool genet__canvas_write(canvas *c, const char *path, genet_err *err)
{
    if (c->kind == CANVAS_PNG) return genet__png_write(path, c->rgb, c->W, c->H, err);
    str file = {0};
    genet__str_printf(&file, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n"
                      "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n", c->width, c->height, c->width,
                      c->height);
    genet__str_add_n(&file, genet__str(&c->svg), c->svg.n);
    genet__str_add(&file, "</svg>\n");
    bool ok = file.failed || c->svg.failed ? genet__err_memory(err) : genet__file_write_all(path, file.at, file.n, err);
    genet__str_release(&file);
    return ok;
}
