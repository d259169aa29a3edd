/* k_rope.c - rotary position.
 *
 * Phase 0 makes a table of cosines and sines, a row of D/2 and D/2 for each
 * position; phase 1 turns all heads by it.  Angles advance by complex products
 * in double, restarted at every multiple of RESTART: what a position gets
 * depends on that position alone. */
#include "device/cpu/kernel.h"

enum { RESTART = 32, TABLE_ROWS = 32, GRAIN = 16384 };

typedef struct rope {
    int64_t B, T, H, D;
    int64_t rows;               /* of the table: T, or B * T when positions are given */
    const operand *x, *position, *freq;
    real   *table;
} rope;

static rope open_rope(const launch *l)
{
    const operand *x = launch_in(l, 0), *position = launch_in(l, 1);
    rope r = { x->dim[0], x->dim[1], x->dim[2], x->dim[3], x->dim[1], x, position, launch_in(l, 2), (real *)l->shared };
    if (position->rank) r.rows = r.B * r.T;         /* its address is not known yet when memory is planned */
    return r;
}

/* Tokens of one task of phase 1. */
static int64_t tokens(const rope *r) { return max_i64(1, GRAIN / max_i64(1, r->H * r->D)); }

static int rope_phases(const launch *l) { (void)l; return 2; }
static int64_t rope_tasks(const launch *l, int phase)
{
    rope r = open_rope(l);
    if (operand_numel(r.x) == 0) return 0;
    return phase == 0 ? ceil_div(r.rows, TABLE_ROWS) : ceil_div(r.B * r.T, tokens(&r));
}
static size_t rope_shared(const launch *l)
{
    rope r = open_rope(l);
    return (size_t)(r.rows * r.D) * sizeof(real);
}

static int64_t position_of(const rope *r, int64_t row)
{
    const operand *p = r->position;
    return row % r->T + (p->rank ? ((const int32_t *)p->data)[row / r->T * p->stride[0]] : 0);
}

/* Radians a position of pair i: as given, or base^(-2i/D). */
static double speed_of(const rope *r, double base, int64_t i)
{
    return r->freq->rank ? (double)((const real *)r->freq->data)[i * r->freq->stride[0]] : pow(base, -2.0 * (double)i / (double)r->D);
}

/* Rows first .. last of the table; backwards: by the negative angle. */
static void fill_table(const rope *r, double base, bool backwards, int64_t first, int64_t last)
{
    int64_t half = r->D / 2;
    for (int64_t i = 0; i < half; i++) {
        double speed = speed_of(r, base, i) * (backwards ? -1 : 1);
        double step_c = cos(speed), step_s = sin(speed), c = 1, s = 0;
        int64_t at = INT64_MIN;                         /* the position that c and s stand at */
        for (int64_t row = first; row < last; row++) {
            int64_t position = position_of(r, row), restart = position - ((position % RESTART) + RESTART) % RESTART;
            if (at != position - 1 || position == restart) {
                c = cos(speed * (double)restart), s = sin(speed * (double)restart);
                at = restart;
            }
            for (; at < position; at++) {
                double turned = c * step_c - s * step_s;
                s = s * step_c + c * step_s;
                c = turned;
            }
            r->table[row * r->D + i] = (real)c;
            r->table[row * r->D + half + i] = (real)s;
        }
    }
}

static void turn_halves(const real *restrict x, int64_t step, const real *restrict c, const real *restrict s,
                        real *restrict y, int64_t half)
{
    if (step == 1)
        for (int64_t i = 0; i < half; i++) {
            real a = x[i], b = x[i + half];
            y[i] = a * c[i] - b * s[i];
            y[i + half] = b * c[i] + a * s[i];
        }
    else
        for (int64_t i = 0; i < half; i++) {
            real a = x[i * step], b = x[(i + half) * step];
            y[i] = a * c[i] - b * s[i];
            y[i + half] = b * c[i] + a * s[i];
        }
}

static void turn_pairs(const real *restrict x, int64_t step, const real *restrict c, const real *restrict s,
                       real *restrict y, int64_t half)
{
    if (step == 1)
        for (int64_t i = 0; i < half; i++) {
            real a = x[2 * i], b = x[2 * i + 1];
            y[2 * i] = a * c[i] - b * s[i];
            y[2 * i + 1] = b * c[i] + a * s[i];
        }
    else
        for (int64_t i = 0; i < half; i++) {
            real a = x[2 * i * step], b = x[(2 * i + 1) * step];
            y[2 * i] = a * c[i] - b * s[i];
            y[2 * i + 1] = b * c[i] + a * s[i];
        }
}

static void rope_run(const launch *l, int phase, int64_t task, char *local)
{
    (void)local;
    rope r = open_rope(l);
    if (phase == 0) {
        int64_t first = task * TABLE_ROWS;
        fill_table(&r, l->attr.f[0], l->attr.i[1] != 0, first, min_i64(r.rows, first + TABLE_ROWS));
        return;
    }
    const int64_t *step = r.x->stride;
    for (int64_t t = task * tokens(&r); t < min_i64(r.B * r.T, (task + 1) * tokens(&r)); t++) {
        const real *c = r.table + t % r.rows * r.D, *s = c + r.D / 2;
        const real *x = (const real *)r.x->data + t / r.T * step[0] + t % r.T * step[1];
        real *y = (real *)launch_out(l, 0)->data + t * r.H * r.D;
        for (int64_t h = 0; h < r.H; h++, x += step[2], y += r.D)
            (l->attr.i[0] ? turn_pairs : turn_halves)(x, step[3], c, s, y, r.D / 2);
    }
}

const kernel K(k_rope) = { .phases = rope_phases, .tasks = rope_tasks, .run = rope_run, .shared = rope_shared };
