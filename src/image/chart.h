/* chart.h - curves over one pair of axes, as a .png or .svg file. */
#ifndef GENET_IMAGE_CHART_H
#define GENET_IMAGE_CHART_H
#include "image/canvas.h"

typedef struct chart_curve {
    const char   *name;         /* in the legend; NULL: not there */
    const double *x, *y;        /* n of each; NaN parts the curve */
    int           n, color;     /* color: 0, 1, ... of a palette */
    bool          faint;        /* thin and pale: what goes beside the main thing */
    bool          marks;        /* a dot at each point */
} chart_curve;

typedef struct chart {
    const char *x_label, *y_label;
    bool        log_y;
    const chart_curve *curve;
    int         n_curve;
} chart;

/* The ending of path says which; at least one point must be finite (and positive with log_y). */
bool genet__chart_write(const chart *c, const char *path, genet_err *err);
#endif
