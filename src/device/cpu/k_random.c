/* k_random.c - random numbers from counters: random_uniform, random_normal, and
 * the elementwise function of dropout.
 *
 * Numbers are drawn (philox.h) into a buffer that begins at a block of four,
 * whatever the first index; so the bits do not depend on how the work is cut,
 * nor on the vectors of the instruction set. */
#include "device/cpu/philox.h"
#include "device/cpu/vec.h"

enum {
    DRAW = 2048,                        /* numbers drawn at a time: they stay in L1 */
    BUFFER = DRAW + PHILOX_WORDS,
    GRAIN = 8 * DRAW                    /* elements a task */
};

/* --- counters --------------------------------------------------------------------- */

/* The sequence that element 0 of the tensor begins in at number `first`. */
typedef struct sequence { uint64_t seed, first; uint32_t stream, step; } sequence;

static sequence sequence_of(const launch *l, const operand *rng)
{
    const uint32_t *r = (const uint32_t *)rng->data;
    const operand *y = launch_out(l, 0);
    uint64_t per_row = 1;
    for (int i = 1; i < y->rank; i++) per_row *= (uint64_t)y->dim[i];
    return (sequence){ .seed = (uint64_t)r[1] << 32 | r[0], .first = r[3] * per_row,
                       .stream = (uint32_t)l->attr.i[15], .step = r[2] };
}

/* Numbers index .. index+n of the sequence, n <= DRAW: in the buffer of BUFFER
 * words, from the returned place on (0..3, so even places hold even indices). */
static int draw(const sequence *s, uint64_t index, int64_t n, uint32_t *buffer)
{
    int skip = (int)(index & 3);
    for (int64_t i = 0; i < skip + n; i += PHILOX_WORDS)
        philox_draw((uint32_t)s->seed, (uint32_t)(s->seed >> 32), s->stream, s->step,
                    index / 4 + (uint64_t)i / 4, buffer + i);
    return skip;
}

/* As genet__rng_unit and genet__rng_unit_open; the signed conversion is the
 * one that every instruction set has. */
static inline real unit(uint32_t u) { return (real)(int32_t)(u >> 8) * (real)0x1p-24; }
static inline real unit_open(uint32_t u) { return (real)((int32_t)(u >> 8) + 1) * (real)0x1p-24; }

/* --- kernels: elements [task * GRAIN, (task + 1) * GRAIN), DRAW at a time ------------ */

static int64_t random_tasks(const launch *l, int phase)
{
    (void)phase;
    return ceil_div(operand_numel(launch_out(l, 0)), GRAIN);
}

#define FOR_DRAWS(l, task, from, n)                                                             \
    for (int64_t from = (task) * GRAIN, end_ = min_i64(from + GRAIN, operand_numel(launch_out(l, 0))), n; \
         n = min_i64(DRAW, end_ - from), from < end_; from += DRAW)

static void run_random_uniform(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase;
    uint32_t *u = (uint32_t *)local;
    sequence s = sequence_of(l, launch_in(l, 0));
    FOR_DRAWS(l, task, from, n) {
        const uint32_t *number = u + draw(&s, s.first + (uint64_t)from, n, u);
        real *restrict y = (real *)launch_out(l, 0)->data + from;
        for (int64_t i = 0; i < n; i++) y[i] = unit(number[i]);
    }
}
const kernel K(k_random_uniform) = { .tasks = random_tasks, .run = run_random_uniform };

/* Cosine and sine of `turns` full turns, 0 <= turns < 1.  Float: the nearest
 * quarter turn is taken off exactly, and the Taylor series end at the terms
 * a^9 and a^10, whose successors are below 2e-9 for |a| <= pi / 4. */
static inline void cos_sin_turns(real turns, real *cosine, real *sine)
{
    if (sizeof(real) == 8) {
        *cosine = (real)cos(6.283185307179586477 * (double)turns);
        *sine   = (real)sin(6.283185307179586477 * (double)turns);
        return;
    }
    float t = 4 * (float)turns;
    int32_t quarter = (int32_t)(t + 0.5f);
    float a = (t - (float)quarter) * 1.570796327f, z = a * a;
    float s = vec_fma32(vec_fma32(vec_fma32(1.f / 362880, z, -1.f / 5040), z, 1.f / 120), z, -1.f / 6);
    float c = vec_fma32(vec_fma32(vec_fma32(-1.f / 3628800, z, 1.f / 40320), z, -1.f / 720), z, 1.f / 24);
    s = vec_fma32(s * z, a, a);
    c = vec_fma32(c * z, z, 1 - 0.5f * z);
    float x = quarter & 1 ? s : c, y = quarter & 1 ? c : s;
    *cosine = (real)vec_float(vec_bits(x) ^ (uint32_t)((quarter + 1) & 2) << 30);
    *sine   = (real)vec_float(vec_bits(y) ^ (uint32_t)(quarter & 2) << 30);
}

/* Box and Muller 1958, "A note on the generation of random normal deviates":
 * a pair of uniform numbers gives a radius and an angle, whose cosine and
 * sine are the pair of normal ones. */
static void normal_pairs(const uint32_t *restrict u, int64_t n, real *restrict z)
{
    for (int64_t i = 0; i < n; i++) {
        real radius = vec_sqrt(-2 * vec_log(unit_open(u[2 * i]))), cosine, sine;
        cos_sin_turns(unit(u[2 * i + 1]), &cosine, &sine);
        z[2 * i] = radius * cosine;
        z[2 * i + 1] = radius * sine;
    }
}

static void run_random_normal(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase;
    uint32_t *u = (uint32_t *)local;
    real *z = (real *)(local + sizeof(real) * BUFFER);
    sequence s = sequence_of(l, launch_in(l, 0));
    FOR_DRAWS(l, task, from, n) {
        int skip = draw(&s, s.first + (uint64_t)from, n, u);
        normal_pairs(u, (skip + n + 1) / 2, z);
        memcpy((real *)launch_out(l, 0)->data + from, z + skip, (size_t)n * sizeof(real));
    }
}
const kernel K(k_random_normal) = { .tasks = random_tasks, .run = run_random_normal };

/* --- dropout: a part of elementwise programs ----------------------------------------- */

/* u < p for the 24 bits of u, decided on integers: alike in float and double.  rng is all of it, index the
 * flat number of the first element; p: probability, stream, elements of a row.  y may be x. */
void K(ew_dropout)(void *y_, const void *x_, const void *rng, const void *index, int64_t n, const double *p)
{
    uint32_t r[4], u[BUFFER];
    memcpy(r, rng, sizeof r);
    sequence s = { .seed = (uint64_t)r[1] << 32 | r[0], .first = r[3] * (uint64_t)p[2], .stream = (uint32_t)p[1], .step = r[2] };
    const int32_t threshold = (int32_t)ceil(p[0] * 0x1p24);
    const real scale = p[0] < 1 ? (real)(1 / (1 - p[0])) : 0;
    for (int64_t from = 0, m; from < n; from += m) {
        m = min_i64(DRAW, n - from);
        const uint32_t *number = u + draw(&s, s.first + (uint64_t)(*(const int64_t *)index + from), m, u);
        const real *x = (const real *)x_ + from;
        real *y = (real *)y_ + from;
        IN_PLACE
        for (int64_t i = 0; i < m; i++) y[i] = (int32_t)(number[i] >> 8) < threshold ? 0 : x[i] * scale;
    }
}
