/* products.c - how fast one product of matrices is, of given types and shape, with all that belongs to it (packing,
 * threads waiting for each other); attention, and elementwise work beside them: what those of a step can be expected to
 * reach. */
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/quant.h"
#include "base/rng.h"
#include "graph/graph.h"
#include "machine.h"

enum { RUNS = 9 };
static const double enough_s = 0.04;

/* What the two sides are for a kind. */
static const genet_dtype sides[GENET_ARITHMETIC_COUNT][2] = {
    [GENET_ARITHMETIC_F32]   = { GENET_F32, GENET_F32 },
    [GENET_ARITHMETIC_MIXED] = { GENET_F32, GENET_BF16 },
    [GENET_ARITHMETIC_BF16]  = { GENET_BF16, GENET_BF16 },
    [GENET_ARITHMETIC_INT8]  = { GENET_F32, GENET_Q8_0 },
};

/* Numbers between -1/2 and 1/2: zeros would be multiplied with less power, and faster. */
static void fill(genet_dtype t, char *to, size_t bytes)
{
    size_t size = t == GENET_F32 ? 4 : t == GENET_BF16 ? 2 : sizeof(quant_q8_0);
    for (size_t i = 0; i < bytes / size; i++) {
        uint32_t u = genet__rng_u32(1, (uint32_t)t, 0, i);
        float x = genet__rng_unit_open(u) - 0.5f;
        uint32_t word;
        memcpy(&word, &x, sizeof word);
        uint16_t half = (uint16_t)(t == GENET_BF16 ? word >> 16 : 0x1800);     /* a block's scale: 2^-9 */
        if (t == GENET_F32) memcpy(to + i * size, &x, sizeof x);
        else memcpy(to + i * size, &half, sizeof half);
        for (size_t k = 2; t == GENET_Q8_0 && k < size; k++) to[i * size + k] = (char)(u >> k % 24);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of a few runs; the first one takes memory. */
static bool time_runs(genet_plan *p, double *seconds, genet_err *err)
{
    double all[RUNS], spent = 0;
    int n = 0;
    for (int i = 0; i < RUNS + 1 && (i < 3 || spent < enough_s); i++) {
        double began = genet__now_s();
        TRY(genet_plan_run(p, err));
        double took = genet__now_s() - began;
        if (i) all[n++] = took, spent += took;
    }
    qsort(all, (size_t)n, sizeof *all, by_value);
    *seconds = all[n / 2];
    return true;
}

/* Memory for the states of g, one after the other, of numbers. */
static bool bind(const graph *g, genet_plan *p, char *at, genet_err *err)
{
    for (int i = 0; i < g->n; i++) {
        const tensor *t = g->node[i];
        if (!genet__op_is(t, OP_state)) continue;
        size_t n = genet_dtype_bytes(t->dtype, genet__numel(&t->shape));
        fill(t->dtype, at, n);
        TRY(genet_plan_bind(p, g->node[i], at, err));
        at += (n + 63) / 64 * 64;
    }
    return true;
}

/* What is computed has states for operands, so that nothing is written between runs. */
static bool time_graph(graph *g, tensor *y, genet_device *d, double *seconds, genet_err *err)
{
    genet_workspace *w = genet_workspace_new(d);
    genet_plan *p = w ? genet_compile(g, &y, 1, d, NULL, err) : NULL;
    size_t n = p ? genet_plan_describe(p).state_bytes + 8 * 64 : 0;
    if (!w) genet__err_memory(err);
    char *memory = p ? genet_device_alloc(d, n, err) : NULL;
    bool ok = memory && bind(g, p, memory, err) && genet_plan_attach(p, w, err) && time_runs(p, seconds, err);
    if (memory) genet_device_release(d, memory, n);
    genet_plan_free(p);
    genet_workspace_free(w);
    return ok;
}

#define STATE(name, type, ...) genet_state(g, name, type, GENET_DIMS(__VA_ARGS__))

bool cli_product_speed(genet_device *d, genet_arithmetic kind, const int64_t dim[3], double *flops, genet_err *err)
{
    const genet_dtype *type = sides[kind];
    int64_t K = genet__is_blocks(type[1]) ? (dim[2] + QUANT_BLOCK - 1) / QUANT_BLOCK * QUANT_BLOCK : dim[2];
    double seconds = 1;
    graph *g = genet_graph_new();
    if (!g) return genet__err_memory(err);
    tensor *a = STATE("a", type[0], dim[0], K), *b = STATE("b", type[1], dim[1], K);
    bool ok = time_graph(g, genet_matmul(a, genet_transpose(b, 0, 1)), d, &seconds, err);
    *flops = 2.0 * (double)dim[0] * (double)dim[1] * (double)K / seconds;
    genet_graph_free(g);
    return ok;
}

bool cli_attention_speed(genet_device *d, const int64_t dim[4], double *flops, genet_err *err)
{
    int64_t B = dim[0], T = dim[1], H = dim[2], D = dim[3];
    double seconds = 1;
    graph *g = genet_graph_new();
    if (!g) return genet__err_memory(err);
    tensor *q = STATE("q", GENET_F32, B, T, H, D), *k = STATE("k", GENET_F32, B, T, H, D), *v = STATE("v", GENET_F32, B, T, H, D);
    bool ok = time_graph(g, genet_attention(q, k, v, &(genet_attention_options){ .causal = true }), d, &seconds, err);
    *flops = 2 * (double)(B * H * D) * (double)T * (double)(T + 1) / seconds;
    genet_graph_free(g);
    return ok;
}

bool cli_member_speed(genet_device *d, double *elements, genet_err *err)
{
    enum { N = 1 << 18, MEMBERS = 3 };
    double seconds = 1;
    graph *g = genet_graph_new();
    if (!g) return genet__err_memory(err);
    tensor *a = STATE("a", GENET_F32, N), *b = STATE("b", GENET_F32, N);
    bool ok = time_graph(g, genet_add(genet_gelu_tanh(genet_add(a, b)), b), d, &seconds, err);
    *elements = (double)MEMBERS * N / seconds;
    genet_graph_free(g);
    return ok;
}
