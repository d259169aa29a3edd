/* chart.c - axes with round numbers, curves, a legend. */
#include "image/chart.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"

enum { WIDTH = 960, HEIGHT = 600, LEFT = 86, RIGHT = 24, TOP = 24, BOTTOM = 62, MAX_TICK = 40, NAME_BYTES = 48 };
static const uint32_t palette[] = { 0x1f77b4, 0xd95f02, 0x2ca02c, 0x9467bd, 0xc51b1b, 0x8c564b, 0x17a2b8, 0x7f7f7f };
static const uint32_t ink = 0x333333, pale = 0xdddddd;

/* What an axis shows, and where on the page: from low to high. */
typedef struct axis { double low, high, from, to; bool log; } axis;

static double scaled(const axis *a, double v) { return a->log ? (v > 0 ? log10(v) : NAN) : v; }
static double place(const axis *a, double v)
{
    double low = scaled(a, a->low), high = scaled(a, a->high);
    return a->from + (scaled(a, v) - low) / (high - low) * (a->to - a->from);
}

/* --- ticks ---------------------------------------------------------------------------- */

/* About `wanted` steps of 1, 2 or 5 times a power of ten. */
static double nice_step(double span, int wanted)
{
    double raw = span / wanted, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

static int linear_ticks(const axis *a, int wanted, double at[MAX_TICK])
{
    double step = nice_step(a->high - a->low, wanted);
    int n = 0;
    for (double i = ceil(a->low / step - 1e-9); i * step <= a->high + step * 1e-9 && n < MAX_TICK; i++) at[n++] = i * step;
    return n;
}

/* 1, 2, 5 of every decade; of many decades the powers alone. */
static int log_ticks(const axis *a, double at[MAX_TICK])
{
    int n = 0, low = (int)floor(log10(a->low)), high = (int)ceil(log10(a->high)), skip = (high - low) / 12 + 1;
    for (int k = low; k <= high; k += skip)
        for (int i = 0; i < (high - low > 4 ? 1 : 3); i++) {
            double v = pow(10, k) * (i == 0 ? 1 : i == 1 ? 2 : 5);
            if (v >= a->low * (1 - 1e-9) && v <= a->high * (1 + 1e-9) && n < MAX_TICK) at[n++] = v;
        }
    return n >= 4 ? n : linear_ticks(a, 6, at);
}

/* 20000 as 20k: x axes count steps. */
static void tick_text(char out[32], double v)
{
    if (fabs(v) >= 1e4 && fabs(v) < 1e6 && fmod(v, 100) == 0) snprintf(out, 32, "%gk", v / 1e3);
    else if (fabs(v) >= 1e6 && fabs(v) < 1e9) snprintf(out, 32, "%gM", v / 1e6);
    else snprintf(out, 32, "%.6g", fabs(v) < 1e-12 ? 0 : v);
}

/* --- drawing ---------------------------------------------------------------------------- */

static void draw_grid(canvas *c, const axis *x, const axis *y)
{
    double at[MAX_TICK];
    char text[32];
    int n = linear_ticks(x, 8, at);
    for (int i = 0; i < n; i++) {
        double px = place(x, at[i]);
        genet__canvas_line(c, (double[]){ px, TOP, px, HEIGHT - BOTTOM }, 2, (pen){ pale, 0.8, 1 });
        tick_text(text, at[i]);
        genet__canvas_text(c, px, HEIGHT - BOTTOM + 20, (lettering){ ink, 9, 0.5, false }, text);
    }
    n = y->log ? log_ticks(y, at) : linear_ticks(y, 7, at);
    for (int i = 0; i < n; i++) {
        double py = place(y, at[i]);
        genet__canvas_line(c, (double[]){ LEFT, py, WIDTH - RIGHT, py }, 2, (pen){ pale, 0.8, 1 });
        tick_text(text, at[i]);
        genet__canvas_text(c, LEFT - 9, py + 4.5, (lettering){ ink, 9, 1, false }, text);
    }
    genet__canvas_line(c, (double[]){ LEFT, TOP, LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM }, 3,
                       (pen){ ink, 1.2, 1 });
}

static pen pen_of(const chart_curve *u)
{
    return (pen){ palette[(size_t)u->color % (sizeof palette / sizeof *palette)], u->faint ? 1.1 : 2.2,
                  u->faint ? 0.45 : 1 };
}

static bool draw_curve(canvas *c, const chart_curve *u, const axis *x, const axis *y, genet_err *err)
{
    double *xy = genet__alloc_array((size_t)u->n + 1, 2 * sizeof *xy);
    if (!xy) return genet__err_memory(err);
    for (int i = 0; i < u->n; i++) {
        xy[2 * i] = place(x, u->x[i]);
        xy[2 * i + 1] = place(y, u->y[i]);
        pen dot = pen_of(u);
        dot.width = 6;
        if (u->marks && isfinite(xy[2 * i] + xy[2 * i + 1]))
            genet__canvas_line(c, (double[]){ xy[2 * i], xy[2 * i + 1], xy[2 * i], xy[2 * i + 1] }, 2, dot);
    }
    genet__canvas_line(c, xy, u->n, pen_of(u));
    genet__free(xy);
    return true;
}

/* Points of the curves within a box. */
static int64_t covered(const chart *h, const axis *x, const axis *y, double left, double top, double width, double height)
{
    int64_t n = 0;
    for (int i = 0; i < h->n_curve; i++)
        for (int k = 0; k < h->curve[i].n; k++) {
            double px = place(x, h->curve[i].x[k]) - left, py = place(y, h->curve[i].y[k]) - top;
            n += px >= 0 && px <= width && py >= 0 && py <= height;
        }
    return n;
}

/* The corner with the fewest points in it, the upper right one of equals. */
static void find_corner(const chart *h, const axis *x, const axis *y, double width, double height, double *left, double *top)
{
    int64_t least = INT64_MAX;
    for (int corner = 0; corner < 4; corner++) {
        double l = corner & 1 ? LEFT + 12 : WIDTH - RIGHT - width - 10,
            t = corner & 2 ? HEIGHT - BOTTOM - height - 10 : TOP + 6;
        int64_t n = covered(h, x, y, l, t, width, height);
        if (n >= least) continue;
        least = n;
        *left = l, *top = t;
    }
}

/* Names too long are cut at the front, which is the less telling end of a path. */
static void draw_legend(canvas *c, const chart *h, const axis *x, const axis *y)
{
    int rows = 0;
    size_t longest = 0;
    for (int i = 0; i < h->n_curve; i++) {
        size_t n = h->curve[i].name ? strlen(h->curve[i].name) : 0;
        rows += h->curve[i].name != NULL;
        longest = n > longest ? n : longest;
    }
    if (!rows) return;
    if (longest > NAME_BYTES) longest = NAME_BYTES;
    double width = 66 + 7.2 * (double)longest, height = rows * 20 + 8, left = 0, top = 0;
    find_corner(h, x, y, width, height, &left, &top);
    genet__canvas_area(c, left, top, width, height, (pen){ 0xffffff, 0, 0.85 });
    for (int i = 0, row = 0; i < h->n_curve; i++) {
        const char *name = h->curve[i].name;
        if (!name) continue;
        double at = top + 14 + 20 * row++;
        size_t n = strlen(name), skip = n > NAME_BYTES ? n - NAME_BYTES : 0;
        while (((unsigned char)name[skip] & 0xc0) == 0x80) skip++;
        genet__canvas_line(c, (double[]){ left + 10, at, left + 42, at }, 2, pen_of(&h->curve[i]));
        genet__canvas_text(c, left + 52, at + 4.5, (lettering){ ink, 9, 0, false }, name + skip);
    }
}

/* The least and the largest of what can be shown; false: nothing can. */
static bool extent(const chart *h, bool of_x, bool log, double *low, double *high)
{
    *low = HUGE_VAL, *high = -HUGE_VAL;
    for (int i = 0; i < h->n_curve; i++)
        for (int k = 0; k < h->curve[i].n; k++) {
            double v = of_x ? h->curve[i].x[k] : h->curve[i].y[k], other = of_x ? h->curve[i].y[k] : h->curve[i].x[k];
            if (!isfinite(v) || !isfinite(other) || (log && v <= 0)) continue;
            *low = fmin(*low, v);
            *high = fmax(*high, v);
        }
    return *low <= *high;
}

/* A little air above and below; a single value stands in the middle. */
static axis make_axis(double low, double high, double from, double to, bool log, double air)
{
    axis a = { low, high, from, to, log };
    if (log) {
        double room = high > low ? pow(high / low, air) : 2;
        a.low = fmax(a.low / room, DBL_MIN), a.high = fmin(a.high * room, DBL_MAX);
    } else {
        double room = high > low ? (high - low) * air : fmax(fabs(low) * 0.1, 0.5);
        a.low = fmax(a.low - room, -DBL_MAX / 4), a.high = fmin(a.high + room, DBL_MAX / 4);
    }
    return a;
}

static bool draw(canvas *c, const chart *h, const axis *x, const axis *y, genet_err *err)
{
    draw_grid(c, x, y);
    for (int faint = 1; faint >= 0; faint--)
        for (int i = 0; i < h->n_curve; i++)
            if (h->curve[i].faint == (faint == 1)) TRY(draw_curve(c, &h->curve[i], x, y, err));
    genet__canvas_text(c, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 16, (lettering){ ink, 10, 0.5, false }, h->x_label);
    genet__canvas_text(c, 22, (TOP + HEIGHT - BOTTOM) / 2.0, (lettering){ ink, 10, 0.5, true }, h->y_label);
    draw_legend(c, h, x, y);
    return true;
}

bool genet__chart_write(const chart *h, const char *path, genet_err *err)
{
    double x0, x1, y0, y1;
    bool svg = genet__ends_with(path, ".svg");
    if (!svg && !genet__ends_with(path, ".png"))
        return genet__err_set(err, GENET_ERR_USAGE, "%s: a picture's name must end with .png or .svg", path);
    if (!extent(h, true, false, &x0, &x1) || !extent(h, false, h->log_y, &y0, &y1))
        return genet__err_set(err, GENET_ERR_USAGE, "there is nothing to draw: no finite%s number",
                              h->log_y ? " positive" : "");
    axis x = make_axis(x0, x1, LEFT, WIDTH - RIGHT, false, 0), y = make_axis(y0, y1, HEIGHT - BOTTOM, TOP, h->log_y, 0.05);
    if (x0 == x1) x = make_axis(x0, x1, LEFT, WIDTH - RIGHT, false, 0.05);
    canvas *c = genet__canvas_new(svg ? CANVAS_SVG : CANVAS_PNG, WIDTH, HEIGHT, err);
    bool ok = c && draw(c, h, &x, &y, err) && genet__canvas_write(c, path, err);
    genet__canvas_free(c);
    return ok;
}
