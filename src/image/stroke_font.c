/* stroke_font.c - the letters.  A glyph is a width and strokes separated by
 * spaces; a stroke is a list of points, two hexadecimal digits each (x, y).
 * Straight lines join them, but for
 *     ~   a quadratic B-spline that begins and ends in its outer points,
 *     @   a closed one: of a rectangle's corners it makes a round O. */
#include "image/stroke_font.h"
#include "base/str.h"
#include <string.h>

typedef struct glyph { signed char width; const char *strokes; } glyph;

static const glyph glyphs[] = {
    { 3, "" }, { 0, "0005 0808" }, { 2, "0002 2022" }, { 5, "1018 4048 0353 0656" },              /* space ! " # */
    { 5, "~5150000454580807 2028" }, { 5, "@00202303 @35555838 5008" },                            /* $ % */
    { 5, "~58030030330408385655" }, { 0, "0002" },                                                 /* & ' */
    { 2, "~20030629" }, { 2, "~00232609" }, { 4, "2226 0345 4305" }, { 4, "0545 2327" },           /* ( ) * + */
    { 1, "180a" }, { 4, "0545" }, { 0, "0808" }, { 4, "0940" },                                    /* , - . / */
    { 5, "@00505808" }, { 3, "022028" }, { 5, "~0200505308 0858" },                                /* 0 1 2 */
    { 5, "~0100505424 ~2454580807" }, { 5, "48400555" }, { 5, "500003 ~0353580807" },              /* 3 4 5 */
    { 5, "@03535808 ~500005" }, { 5, "005028" }, { 5, "@10404414 @04545808" },                     /* 6 7 8 */
    { 5, "@00505505 ~535808" }, { 0, "0404 0808" }, { 1, "1414 180a" }, { 4, "420548" },           /* 9 : ; < */
    { 4, "0444 0646" }, { 4, "024508" }, { 4, "~010040442425 2828" },                              /* = > ? */
    { 7, "@00707808 @33535636 ~53566674" }, { 6, "083068 1555" },                                  /* @ A */
    { 5, "0008 ~00505404 ~04545808" }, { 5, "~515000085857" }, { 5, "0008 ~00505808" },            /* B C D */
    { 5, "50000858 0444" }, { 5, "500008 0444" }, { 5, "~515000085855 5535" },                     /* E F G */
    { 5, "0008 5058 0454" }, { 0, "0008" }, { 4, "4045 ~45480806" }, { 5, "0008 5005 2358" },      /* H I J K */
    { 5, "000858" }, { 6, "0800356068" }, { 5, "08005850" }, { 6, "@00606808" },                   /* L M N O */
    { 5, "0008 ~00505404" }, { 6, "@00606808 4668" }, { 5, "0008 ~00505404 2458" },                /* P Q R */
    { 5, "~5150000454580807" }, { 6, "0060 3038" }, { 5, "0005 ~05085855 5550" },                  /* S T U */
    { 6, "003860" }, { 8, "0028426880" }, { 5, "0058 5008" }, { 6, "003460 3438" },                /* V W X Y */
    { 5, "00500858" }, { 2, "20000929" }, { 4, "0049" }, { 2, "00202909" }, { 4, "022042" },       /* Z [ \ ] ^ */
    { 5, "0959" }, { 1, "0012" }, { 4, "@03434808 4348" }, { 4, "0008 @03434808" },                /* _ ` a b */
    { 4, "~444303084847" }, { 4, "4048 @03434808" }, { 4, "0545 ~454303084847" },                  /* c d e */
    { 3, "~301012 1218 0333" }, { 4, "@03434808 4348 ~484b0a" }, { 4, "0008 ~05034345 4548" },     /* f g h */
    { 0, "0308 0101" }, { 2, "2328 ~282a0a 2121" }, { 4, "0008 4306 1548" }, { 0, "0008" },        /* i j k l */
    { 6, "0308 ~05033335 3538 ~35336365 6568" }, { 4, "0308 ~05034345 4548" }, { 4, "@03434808" }, /* m n o */
    { 4, "030b @03434808" }, { 4, "434b @03434808" }, { 3, "0308 ~050333" },                       /* p q r */
    { 4, "~4443030546480807" }, { 3, "1016 ~161838 0333" }, { 4, "0306 ~06084846 4348" },          /* s t u */
    { 4, "032843" }, { 6, "0318335863" }, { 4, "0348 4308" }, { 4, "0328 431b" },                  /* v w x y */
    { 4, "03430848" }, { 3, "30101405161939" }, { 0, "000b" }, { 3, "00202435262909" },            /* z { | } */
    { 4, "~05133745" },                                                                            /* ~ */
};
static const glyph box = { 5, "0050580800" };

const char *genet__stroke_glyph(uint32_t c, int *width)
{
    const glyph *g = c >= 32 && c < 32 + sizeof glyphs / sizeof *glyphs ? &glyphs[c - 32] : &box;
    *width = g->width;
    return g->strokes;
}

static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* PIECES lines for the part of a quadratic curve from a to c that leans towards b. */
enum { PIECES = 5, MAX_CONTROL = 12 };
static int add_curve(double *xy, int n, const double *a, const double *b, const double *c)
{
    for (int i = 1; i <= PIECES; i++) {
        double t = (double)i / PIECES, s = 1 - t;
        for (int k = 0; k < 2; k++) xy[2 * n + k] = s * s * a[k] + 2 * s * t * b[k] + t * t * c[k];
        n++;
    }
    return n;
}

static void middle(double out[2], const double *a, const double *b)
{
    for (int k = 0; k < 2; k++) out[k] = (a[k] + b[k]) / 2;
}

/* Control points p[0 .. m) to a curve: from middle to middle of their sides, outer points as they are. */
static int spline(const double *p, int m, int closed, double *xy)
{
    double from[2], to[2];
    int n = 1, first = closed ? 0 : 1, last = closed ? m : m - 1;
    if (closed) middle(from, p + 2 * (m - 1), p);
    else memcpy(from, p, sizeof from);
    memcpy(xy, from, sizeof from);
    for (int i = first; i < last; i++) {
        const double *next = p + 2 * ((i + 1) % m);
        if (!closed && i == m - 2) memcpy(to, next, sizeof to);
        else middle(to, p + 2 * i, next);
        n = add_curve(xy, n, from, p + 2 * i, to);
        memcpy(from, to, sizeof from);
    }
    return n;
}

int genet__stroke_next(const char **s, double xy[2 * STROKE_MAX_POINT])
{
    double p[2 * MAX_CONTROL];
    int m = 0;
    while (**s == ' ') ++*s;
    char kind = **s;
    if (kind == '~' || kind == '@') ++*s;
    for (; **s && **s != ' ' && m < MAX_CONTROL; *s += 2, m++) {
        p[2 * m] = digit((*s)[0]);
        p[2 * m + 1] = digit((*s)[1]);
    }
    if (m && (kind == '~' || kind == '@')) return spline(p, m, kind == '@', xy);
    memcpy(xy, p, (size_t)m * 2 * sizeof *p);
    return m;
}

double genet__stroke_width(const char *text)
{
    double total = 0;
    for (size_t left = strlen(text); left;) {
        uint32_t c = 0;
        int width, n = genet__utf8_decode(text, left, &c);
        genet__stroke_glyph(c, &width);
        total += width + STROKE_GAP;
        text += n ? n : 1;
        left -= (size_t)(n ? n : 1);
    }
    return total > 0 ? total - STROKE_GAP : 0;
}
