/* tiny.h - a graph, a device and a workspace in one, for tests that compute
 * small things: inputs are given as doubles, results read as floats. */
#ifndef GENET_TESTS_TINY_H
#define GENET_TESTS_TINY_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "genet/genet.h"

enum { TINY_MAX_INPUT = 16 };

typedef struct tiny {
    genet_device    *device;
    genet_graph     *g;
    genet_workspace *space;
    genet_plan      *plan;
    genet_tensor    *input[TINY_MAX_INPUT];
    void            *bytes[TINY_MAX_INPUT];
    size_t           size[TINY_MAX_INPUT];
    int              n_input;
    genet_err        err;
} tiny;

static inline void tiny_open(tiny *t)
{
    *t = (tiny){0};
    t->device = genet_device_cpu(1, &t->err);
    t->g = genet_graph_new();
    assert_non_null(t->device);
    assert_non_null(t->g);
    t->space = genet_workspace_new(t->device);
}

static inline void tiny_close(tiny *t)
{
    genet_plan_free(t->plan);
    genet_workspace_free(t->space);
    genet_graph_free(t->g);
    genet_device_free(t->device);
    for (int i = 0; i < t->n_input; i++) free(t->bytes[i]);
}

/* An f32 input that always holds these values. */
static inline genet_tensor *tiny_f32(tiny *t, const double *v, int rank, const int64_t *dim)
{
    genet_tensor *x = genet_input(t->g, "x", GENET_F32, rank, dim);
    int64_t n = genet_tensor_numel(x);
    float *f = malloc((size_t)(n + 1) * sizeof *f);
    for (int64_t i = 0; i < n; i++) f[i] = (float)v[i];
    t->input[t->n_input] = x;
    t->bytes[t->n_input] = f;
    t->size[t->n_input++] = (size_t)n * sizeof *f;
    return x;
}

static inline genet_tensor *tiny_i32(tiny *t, const int32_t *v, int rank, const int64_t *dim)
{
    genet_tensor *x = genet_input(t->g, "i", GENET_I32, rank, dim);
    size_t n = (size_t)genet_tensor_numel(x) * sizeof *v;
    t->input[t->n_input] = x;
    t->bytes[t->n_input] = memcpy(malloc(n + 1), v, n);
    t->size[t->n_input++] = n;
    return x;
}
#define TINY(t, dims, ...) tiny_f32(t, (const double[]){__VA_ARGS__}, dims)
#define D(...) GENET_DIMS(__VA_ARGS__)

/* Compile for these outputs and run once. */
static inline void tiny_run(tiny *t, genet_tensor *const out[], int n)
{
    genet_plan_free(t->plan);
    t->plan = genet_compile(t->g, out, n, t->device, NULL, &t->err);
    if (!t->plan) print_error("%s\n", t->err.text);
    assert_non_null(t->plan);
    assert_true(genet_plan_attach(t->plan, t->space, &t->err));
    for (int i = 0; i < t->n_input; i++)
        assert_true(genet_plan_write(t->plan, t->input[i], t->bytes[i], t->size[i], &t->err));
    assert_true(genet_plan_run(t->plan, &t->err));
}

/* The values of an output of the last run are these, to eps. */
static inline void tiny_expect(tiny *t, genet_tensor *y, const double *want, int n, double eps)
{
    float got[256];
    assert_true(n <= 256);
    assert_int_equal(genet_tensor_numel(y), n);
    if (!genet_plan_read(t->plan, y, got, (size_t)n * sizeof *got, &t->err)) print_error("%s\n", t->err.text);
    for (int i = 0; i < n; i++) assert_float_equal(got[i], (float)want[i], (float)eps);
}
#define EXPECT(t, y, eps, ...) \
    tiny_expect(t, y, (const double[]){__VA_ARGS__}, (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), eps)
#endif
