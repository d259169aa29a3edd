/* k_update.c - optimisers: a parameter and its moments in one pass over
 * memory, and with them the parameter's bf16 form.  They are written where
 * they lie, so operands are read through the inputs' addresses alone.
 * Formulas: graph/op_update.c. */
#include "device/cpu/kernel.h"
#include "device/cpu/vec.h"

enum { GRAIN = 16384 };

static int64_t update_tasks(const launch *l, int phase)
{
    (void)phase;
    return ceil_div(operand_numel(launch_out(l, 0)), GRAIN);
}

static real *from(const launch *l, int k, int64_t task)
{
    char *at = launch_in(l, k)->data;
    return at ? (real *)at + task * GRAIN : NULL;
}
static int64_t count(const launch *l, int64_t task) { return min_i64(GRAIN, operand_numel(launch_out(l, 0)) - task * GRAIN); }
static double scalar(const launch *l, int k) { return *(const real *)launch_in(l, k)->data; }
static bool healthy(const launch *l) { return *(const uint8_t *)launch_in(l, l->n_in - 1)->data != 0; }

/* A task in parts, so that the bf16 form, where there is one, is made from what is still in L1. */
enum { PART = 1024 };
typedef struct part { int64_t at, n; } part;
static part first_part(const launch *l, int64_t task) { return (part){ 0, min_i64(PART, count(l, task)) }; }
static part next_part(const launch *l, int64_t task, part b)
{
    return (part){ b.at + b.n, min_i64(PART, count(l, task) - b.at - b.n) };
}
#define EACH_PART(b) for (part b = first_part(l, task); b.n > 0; b = next_part(l, task, b))

/* To nearest even; NaN stays NaN. */
static void narrow_part(const launch *l, int k, int64_t task, const real *p, part b)
{
    const operand *o = launch_in(l, k);
    const real *restrict x = p + b.at;
    if (!o->data) return;
    if (o->dtype == GENET_F64) {        /* the oracle rounds nothing */
        memcpy(o->data + (task * GRAIN + b.at) * (int64_t)sizeof(double), x, (size_t)b.n * sizeof(double));
        return;
    }
    uint16_t *restrict y = (uint16_t *)(void *)o->data + task * GRAIN + b.at;
    for (int64_t i = 0; i < b.n; i++) {
        float f = (float)x[i];
        uint32_t u = vec_bits(f), rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
        y[i] = (uint16_t)(f != f ? u >> 16 | 0x40 : rounded);
    }
}

/* --- sgd: param, grad, velocity or none, narrow or none, rate, scale, finite ------------------- */

static void sgd_plain(real *restrict p, const real *restrict grad, real rate, real scale, real decay, int64_t n)
{
    for (int64_t i = 0; i < n; i++) p[i] -= rate * (scale * grad[i] + decay * p[i]);
}

static void sgd_momentum(real *restrict p, const real *restrict grad, real *restrict velocity, real rate, real scale,
                         real decay, real momentum, bool nesterov, int64_t n)
{
    if (nesterov)
        for (int64_t i = 0; i < n; i++) {
            real g = scale * grad[i] + decay * p[i], v = momentum * velocity[i] + g;
            velocity[i] = v;
            p[i] -= rate * (g + momentum * v);
        }
    else
        for (int64_t i = 0; i < n; i++) {
            real g = scale * grad[i] + decay * p[i], v = momentum * velocity[i] + g;
            velocity[i] = v;
            p[i] -= rate * v;
        }
}

static void run_sgd(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    if (!healthy(l)) return;
    const double *f = l->attr.f;
    real *p = from(l, 0, task), *grad = from(l, 1, task), *velocity = from(l, 2, task);
    real rate = (real)scalar(l, 4), scale = (real)scalar(l, 5), decay = (real)f[1], momentum = (real)f[0];
    EACH_PART(b) {
        if (velocity)
            sgd_momentum(p + b.at, grad + b.at, velocity + b.at, rate, scale, decay, momentum, l->attr.i[0] != 0, b.n);
        else sgd_plain(p + b.at, grad + b.at, rate, scale, decay, b.n);
        narrow_part(l, 3, task, p, b);
    }
}
const kernel K(k_update_sgd) = { .tasks = update_tasks, .run = run_sgd };

/* --- adam: param, grad, m, v, narrow or none, rate, scale, step, finite -------------------------- */

/* shrink: what decoupled decay leaves of p; decay: L2 added to the gradient;
 * size: rate / (1 - beta1^t); root: sqrt(1 - beta2^t). */
typedef struct adam { real scale, shrink, decay, new1, beta2, new2, size, root, eps; } adam;

static void adam_step(real *restrict p, const real *restrict grad, real *restrict m, real *restrict v, const adam *a,
                      int64_t n)
{
    const adam k = *a;
    for (int64_t i = 0; i < n; i++) {
        real old = p[i] * k.shrink, g = k.scale * grad[i] + k.decay * p[i];
        real first = m[i] + k.new1 * (g - m[i]), second = k.beta2 * v[i] + k.new2 * (g * g);
        m[i] = first;
        v[i] = second;
        p[i] = old - k.size * (first / (vec_sqrt(second) / k.root + k.eps));
    }
}

static void run_adam(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    if (!healthy(l)) return;
    const double *f = l->attr.f, rate = scalar(l, 5), step = scalar(l, 7);
    bool decoupled = l->attr.i[0] != 0;
    adam a = {
        .scale = (real)scalar(l, 6), .shrink = (real)(decoupled ? 1 - rate * f[3] : 1), .decay = (real)(decoupled ? 0 : f[3]),
        .new1 = (real)(1 - f[0]), .beta2 = (real)f[1], .new2 = (real)(1 - f[1]), .eps = (real)f[2],
        .size = (real)(rate / (1 - pow(f[0], step))), .root = (real)sqrt(1 - pow(f[1], step)),
    };
    real *p = from(l, 0, task), *grad = from(l, 1, task), *m = from(l, 2, task), *v = from(l, 3, task);
    EACH_PART(b) {
        adam_step(p + b.at, grad + b.at, m + b.at, v + b.at, &a, b.n);
        narrow_part(l, 4, task, p, b);
    }
}
const kernel K(k_update_adam) = { .tasks = update_tasks, .run = run_adam };

/* --- lion: param, grad, m, narrow or none, rate, scale, finite ------------------------------------ */

static void lion_step(real *restrict p, const real *restrict grad, real *restrict m, real rate, real scale, real shrink,
                      real beta1, real beta2, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        real g = scale * grad[i], c = beta1 * m[i] + (1 - beta1) * g;
        real sign = c > 0 ? 1 : c < 0 ? -1 : c;
        p[i] = p[i] * shrink - rate * sign;
        m[i] = beta2 * m[i] + (1 - beta2) * g;
    }
}

static void run_lion(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    if (!healthy(l)) return;
    const double *f = l->attr.f, rate = scalar(l, 4);
    real *p = from(l, 0, task), *grad = from(l, 1, task), *m = from(l, 2, task), scale = (real)scalar(l, 5);
    EACH_PART(b) {
        lion_step(p + b.at, grad + b.at, m + b.at, (real)rate, scale, (real)(1 - rate * f[2]), (real)f[0], (real)f[1], b.n);
        narrow_part(l, 3, task, p, b);
    }
}
const kernel K(k_update_lion) = { .tasks = update_tasks, .run = run_lion };
