/* crossing.c - the weights of cross-attention, from a forward pass over the whole text: families do not show them, so they are computed
 * beside it, from the operands of the attentions that the pass is made of:
 *
 *     softmax(scale q k^T)        (1, H, T, S)
 *
 * Cross-attentions are those that see all keys, after the first one that is causal: what stands before is the encoder. */
#include "infer/crossing.h"
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "graph/op_attention.h"

enum { MAX_LAYERS = 1024 };

/* q (1, T, H, D), k (1, S, H, D) -> (T, S), the mean over heads. */
static tensor *weights_of(const tensor *attention)
{
    tensor *q = attention->in[ATT_Q], *k = attention->in[ATT_K];
    double scale = attention->attr.f[ATT_SCALE];
    if (scale == 0) scale = 1 / sqrt((double)dim_of(q, 3));
    tensor *score = genet_matmul(genet_permute(q, 4, (const int64_t[]){ 0, 2, 1, 3 }), genet_permute(k, 4, (const int64_t[]){ 0, 2, 3, 1 }));
    tensor *p = genet_softmax(genet_mul(score, genet_scalar_like(score, scale)), 3);
    return genet_copy(genet_mean(p, 1u << 0 | 1u << 1, false));
}

/* *n layers. */
static bool build(const model *m, net *n, tensor **x, tensor **source, int64_t S, int64_t T, tensor **out, int *layers, genet_err *err)
{
    graph *g = n->graph;
    *source = genet_input(g, "source", GENET_I32, GENET_DIMS(1, S));
    *x = genet_input(g, "x", GENET_I32, GENET_DIMS(1, T));
    genet__model_forward(m, n, &(model_inputs){ .x = *x, .source = *source });
    TRY(genet__graph_ok(g, err));
    bool decoding = false;
    int count = g->n;
    for (int i = 0; i < count && *layers < MAX_LAYERS; i++) {
        const tensor *at = g->node[i];
        if (!at->op || at->side || !genet__op_is(at, OP_attention)) continue;
        if (at->attr.i[ATT_CAUSAL]) decoding = true;
        else if (decoding) out[(*layers)++] = weights_of(at);
    }
    return *layers || genet__err_set(err, GENET_ERR_USAGE, "a %s has no cross-attention", m->head->architecture);
}

static bool compute(crossing *c, const model *m, params *p, graph *g, genet_workspace *w, const int32_t *source, const int32_t *x,
                    genet_err *err)
{
    tensor *out[MAX_LAYERS], *x_in, *source_in;
    net n = { .graph = g, .params = p };
    int layers = 0;
    TRY(build(m, &n, &x_in, &source_in, c->S, c->T, out, &layers, err));
    c->layers = layers;
    size_t size = (size_t)(c->T * c->S);
    if (!(c->at = genet__alloc_array(size * (size_t)layers, sizeof *c->at))) return genet__err_memory(err);
    genet_plan *plan = genet_compile(g, out, layers, p->device, NULL, err);
    bool ok = plan && genet__params_place(p, err) && genet__params_fill(p, err) && genet_plan_attach(plan, w, err) &&
              genet__params_bind(p, g, plan, err) && genet_plan_write(plan, source_in, source, (size_t)c->S * sizeof *source, err) &&
              genet_plan_write(plan, x_in, x, (size_t)c->T * sizeof *x, err) && genet_plan_run(plan, err);
    for (int i = 0; ok && i < layers; i++) ok = genet_plan_read(plan, out[i], c->at + (size_t)i * size, size * sizeof *c->at, err);
    genet_plan_free(plan);
    return ok;
}

bool genet__crossing(crossing *c, const model *m, genet_workspace *w, const int32_t *source, int64_t S, int32_t start, const int32_t *text,
                     int64_t T, genet_err *err)
{
    *c = (crossing){ .T = T, .S = S };
    if (T < 1 || S < 1) return genet__err_set(err, GENET_ERR_USAGE, "nothing was written: there is no attention to show");
    if (!m->head->encode) return genet__err_set(err, GENET_ERR_USAGE, "a %s reads no source", m->head->architecture);
    int32_t *x = genet__alloc_array((size_t)T, sizeof *x);
    params *p = genet__params_beside(m->params, err);
    graph *g = genet_graph_new();
    bool ok = p && ((x && g) || genet__err_memory(err));
    if (ok) {
        x[0] = start;
        memcpy(x + 1, text, (size_t)(T - 1) * sizeof *x);
        ok = compute(c, m, p, g, w, source, x, err);
    }
    genet_graph_free(g);
    genet__params_free(p);
    genet__free(x);
    return ok;
}

void genet__crossing_release(crossing *c)
{
    genet__free(c->at);
    *c = (crossing){0};
}
