/* init.c - initial values.
 *
 * Element i of a tensor is a function of (seed, hash of its name, i), so a
 * weight begins the same whatever else the model holds, on any device and
 * with any number of threads.  Drawn in double, rounded once.  The forms of
 * weights in other types are made here too. */
#include "nn/params.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/half.h"
#include "base/rng.h"
#include <math.h>

enum { CHUNK = 1 << 16 };      /* elements made at a time */

/* Half the width of the uniform interval. */
static double uniform_bound(const init *how)
{
    double in = (double)how->fan_in, out = (double)how->fan_out;
    if (how->kind == INIT_XAVIER)  return in + out > 0 ? how->a * sqrt(6 / (in + out)) : 0;
    if (how->kind == INIT_KAIMING) return in > 0 ? how->a * sqrt(3 / in) : 0;
    return how->a;
}

static double value_at(const param *w, uint64_t seed, uint32_t stream, uint64_t i, double bound)
{
    const init *how = &w->init;
    switch (how->kind) {
    case INIT_GIVEN:  return w->given[i];
    case INIT_ONES:   return 1;
    case INIT_NORMAL: return how->a * genet__rng_normal(seed, stream, 0, i);
    case INIT_UNIFORM: case INIT_XAVIER: case INIT_KAIMING:
        return bound * (2 * genet__rng_uniform(seed, stream, 0, i) - 1);
    default:          return 0;
    }
}

static bool is_constant(const init *how) { return how->kind <= INIT_ONES; }

/* In chunks: the host never holds a whole tensor.  A constant chunk is made once. */
static void fill_one(const params *p, param *w, double *wide, float *narrow)
{
    uint32_t stream = genet__rng_stream(w->name);
    double bound = uniform_bound(&w->init);
    int64_t n = genet__numel(&w->shape);
    size_t size = genet_dtype_size(w->dtype);
    for (int64_t start = 0; start < n; start += CHUNK) {
        int64_t count = n - start < CHUNK ? n - start : CHUNK;
        for (int64_t i = 0; i < count && !(is_constant(&w->init) && start); i++) {
            wide[i] = value_at(w, p->seed, stream, (uint64_t)(start + i), bound);
            narrow[i] = (float)wide[i];
        }
        const void *from = w->dtype == GENET_F64 ? (const void *)wide : narrow;
        genet_device_write(p->device, (char *)w->address + (size_t)start * size, from, (size_t)count * size);
    }
    w->filled = true;
}

/* Tensors that are not f32 or f64 begin as zeros, whatever they ask for. */
static void clear(const params *p, param *w, void *zeros, size_t n_zeros)
{
    for (size_t at = 0; at < w->size_bytes; at += n_zeros) {
        size_t n = w->size_bytes - at < n_zeros ? w->size_bytes - at : n_zeros;
        genet_device_write(p->device, (char *)w->address + at, zeros, n);
    }
    w->filled = true;
}

bool genet__params_refresh(params *p, param *w, genet_err *err)
{
    param *d = w->derived;
    if (!d || !d->address || !w->filled) return true;
    float *wide = genet__alloc(CHUNK * sizeof *wide);
    uint16_t *narrow = genet__alloc(CHUNK * sizeof *narrow);
    bool ok = wide && narrow;
    int64_t n = genet__numel(&w->shape);
    for (int64_t start = 0; ok && start < n; start += CHUNK) {
        int64_t count = n - start < CHUNK ? n - start : CHUNK;
        genet_device_read(p->device, (char *)w->address + start * 4, wide, (size_t)count * 4);
        for (int64_t i = 0; i < count; i++) narrow[i] = genet__to_bf16(wide[i]);
        genet_device_write(p->device, (char *)d->address + start * 2, narrow, (size_t)count * 2);
    }
    d->filled = ok;
    genet__free(wide);
    genet__free(narrow);
    return ok || genet__err_memory(err);
}

/* After their weights, whatever the order of declaration. */
static bool refresh_all(params *p, genet_err *err)
{
    for (int i = 0; i < p->n; i++)
        if (p->at[i]->derived && !p->at[i]->derived->filled) TRY(genet__params_refresh(p, p->at[i], err));
    return true;
}

/* Memory that nobody has written is zeros already, and takes no pages until it is used: a long cache costs nothing. */
static bool is_zeros(const param *w)
{
    return !w->filled && (!genet__is_float(w->dtype) || w->init.kind == INIT_ZEROS || w->init.kind == INIT_DEFAULT);
}

/* again: those that have values too. */
static bool fill(params *p, unsigned kinds, bool again, genet_err *err)
{
    double *wide = genet__alloc(CHUNK * sizeof *wide);
    float *narrow = genet__alloc(CHUNK * sizeof *narrow);
    void *zeros = genet__alloc(CHUNK);
    bool ok = wide && narrow && zeros;
    for (int i = 0; ok && i < p->n; i++) {
        param *w = p->at[i];
        if (!w->address || w->adopted || !(w->kind & kinds & ~(unsigned)PARAM_DERIVED) || (w->filled && !again)) continue;
        if (w->derived) w->derived->filled = false;
        if (is_zeros(w)) w->filled = true;
        else if (genet__is_float(w->dtype)) fill_one(p, w, wide, narrow);
        else clear(p, w, zeros, CHUNK);
    }
    genet__free(wide);
    genet__free(narrow);
    genet__free(zeros);
    return ok ? refresh_all(p, err) : genet__err_memory(err);
}

bool genet__params_fill(params *p, genet_err *err) { return fill(p, ~0u, false, err); }
bool genet__params_reset(params *p, unsigned kinds, genet_err *err) { return fill(p, kinds, true, err); }
