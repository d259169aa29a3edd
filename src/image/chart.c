/* chart.c - axes with round numbers, curves, a legend. */
#include "image/chart.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"

enum { WIDTH = 960, HEIGHT = 600, LEFT = 86, RIGHT = 24, TOP = 52, BOTTOM = 62, MAX_TICK = 40 };
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
    genet__canvas_line(c, (double[]){ LEFT, TOP, LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM }, 3, (pen){ ink, 1.2, 1 });
}

static pen pen_of(const chart_curve *u)
{
    return (pen){ palette[(size_t)u->color % (sizeof palette / sizeof *palette)], u->faint ? 1.1 : 2.2, u->faint ? 0.45 : 1 };
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
        if (u->marks && isfinite(xy[2 * i] + xy[2 * i + 1])) genet__canvas_line(c, (double[]){ xy[2 * i], xy[2 * i + 1], xy[2 * i], xy[2 * i + 1] }, 2, dot);
    }
    genet__canvas_line(c, xy, u->n, pen_of(u));
    genet__free(xy);
    return true;
}

/* At the upper right, where losses rarely are; names too long are cut at the front, which is the less telling end of a path. */
static void draw_legend(canvas *c, const chart *h)
{
    int row = 0;
    size_t longest = 0;
    for (int i = 0; i < h->n_curve; i++)
        if (h->curve[i].name && strlen(h->curve[i].name) > longest) longest = strlen(h->curve[i].name);
    if (longest > 48) longest = 48;
    double width = 66 + 7.2 * (double)longest, left = WIDTH - RIGHT - width - 10;
    int rows = 0;
    for (int i = 0; i < h->n_curve; i++) rows += h->curve[i].name != NULL;
    if (rows) genet__canvas_area(c, left, TOP + 6, width, rows * 20 + 8, (pen){ 0xffffff, 0, 0.85 });
    for (int i = 0; i < h->n_curve; i++) {
        const char *name = h->curve[i].name;
        double y = TOP + 20 + 20 * row;
        if (!name) continue;
        size_t n = strlen(name), skip = n > 48 ? n - 48 : 0;
        while (((unsigned char)name[skip] & 0xc0) == 0x80) skip++;
        genet__canvas_line(c, (double[]){ left + 10, y, left + 42, y }, 2, pen_of(&h->curve[i]));
        genet__canvas_text(c, left + 52, y + 4.5, (lettering){ ink, 9, 0, false }, name + skip);
        row++;
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
        a.low /= room, a.high *= room;
    } else {
        double room = high > low ? (high - low) * air : fmax(fabs(low) * 0.1, 0.5);
        a.low -= room, a.high += room;
    }
    return a;
}

static bool draw(canvas *c, const chart *h, const axis *x, const axis *y, genet_err *err)
{
    draw_grid(c, x, y);
    for (int faint = 1; faint >= 0; faint--)
        for (int i = 0; i < h->n_curve; i++)
            if (h->curve[i].faint == (faint == 1)) TRY(draw_curve(c, &h->curve[i], x, y, err));
    if (h->title) genet__canvas_text(c, LEFT, 32, (lettering){ ink, 12, 0, false }, h->title);
    genet__canvas_text(c, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 16, (lettering){ ink, 10, 0.5, false }, h->x_label);
    genet__canvas_text(c, 22, (TOP + HEIGHT - BOTTOM) / 2.0, (lettering){ ink, 10, 0.5, true }, h->y_label);
    draw_legend(c, h);
    return true;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

bool genet__chart_write(const chart *h, const char *path, genet_err *err)
{
    double x0, x1, y0, y1;
    bool svg = ends_with(path, ".svg");
    if (!svg && !ends_with(path, ".png"))
        return genet__err_set(err, GENET_ERR_USAGE, "%s: a picture's name must end with .png or .svg", path);
    if (!extent(h, true, false, &x0, &x1) || !extent(h, false, h->log_y, &y0, &y1))
        return genet__err_set(err, GENET_ERR_USAGE, "there is nothing to draw: no finite%s number", h->log_y ? " positive" : "");
    axis x = make_axis(x0, x1, LEFT, WIDTH - RIGHT, false, 0), y = make_axis(y0, y1, HEIGHT - BOTTOM, TOP, h->log_y, 0.05);
    if (x0 == x1) x = make_axis(x0, x1, LEFT, WIDTH - RIGHT, false, 0.05);
    canvas *c = genet__canvas_new(svg ? CANVAS_SVG : CANVAS_PNG, WIDTH, HEIGHT, err);
    bool ok = c && draw(c, h, &x, &y, err) && genet__canvas_write(c, path, err);
    genet__canvas_free(c);
    return ok;
}
