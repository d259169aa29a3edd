/* layers.c - the layers that models are made of, each a few lines over ops. */
#include "nn/net.h"
#include "nn/lora.h"
#include <stdio.h>
#include <string.h>

/* --- scopes and parameters ----------------------------------------------------- */

/* NAME or NAME.INDEX, as published checkpoints spell their lists. */
void genet__net_push(net *n, const char *name, int64_t index)
{
    char full[160];
    if (index < 0) snprintf(full, sizeof full, "%s", name);
    else snprintf(full, sizeof full, "%s.%lld", name, (long long)index);
    genet_scope_push(n->graph, full);
}

void genet__net_pop(net *n) { genet_scope_pop(n->graph); }

tensor *genet__net_weight(net *n, const char *name, int rank, const int64_t *dim, init how)
{
    return genet__params_tensor(n->params, n->graph, name, PARAM_WEIGHT, GENET_F32, rank, dim, how);
}

tensor *genet__net_matrix(net *n, const char *name, param_use use, bool in_out, int64_t rows, int64_t columns, init how)
{
    return genet__params_matrix(n->params, n->graph, name, use, in_out, rows, columns, how);
}

tensor *genet__net_state(net *n, const char *name, param_kind kind, int rank, const int64_t *dim)
{
    return genet__params_tensor(n->params, n->graph, name, kind, GENET_F32, rank, dim, INIT_OF_ZEROS);
}

int genet__net_stream(net *n) { return n->n_stream++; }

/* --- mixed precision -------------------------------------------------------------- */

/* The values of x before they were widened, else x. */
static tensor *before_widening(tensor *x)
{
    return genet__op_is(x, OP_cast) && genet__is_stored(x->in[0]->dtype) ? x->in[0] : x;
}

tensor *genet__net_operand(net *n, tensor *x)
{
    if (n->dtype != GENET_BF16 || x->poisoned) return x;
    if (genet__op_is(x, OP_state)) return genet__params_derived(n->params, x);
    return genet_cast(before_widening(x), GENET_BF16);
}

tensor *genet__net_kept(net *n, tensor *x)
{
    return n->dtype == GENET_BF16 && !x->poisoned ? genet_cast(genet_cast(x, GENET_BF16), GENET_F32) : x;
}

/* --- layers --------------------------------------------------------------------- */

/* torch.nn.Linear.reset_parameters: kaiming_uniform_ with a = sqrt(5), which
 * is uniform within 1/sqrt(in), for weight and bias alike. */
static init or_default(init asked, int64_t in)
{
    if (asked.kind != INIT_DEFAULT) return asked;
    return (init){ INIT_KAIMING, 0.57735026918962576 /* sqrt(1/3) */, in, 0 };
}

tensor *genet__linear(net *n, const char *name, tensor *x, int64_t out, const linear_options *o)
{
    static const linear_options none;
    if (!o) o = &none;
    if (x->poisoned) return x;
    if (!x->shape.rank) {
        genet__fail(&n->graph->poison, "linear %s: x is a scalar; it needs a last dimension", name);
        return &n->graph->poison;
    }
    int64_t in = dim_of(x, -1);
    init how = or_default(o->weight, in);
    if (how.kind == INIT_XAVIER || how.kind == INIT_KAIMING) how.fan_in = in, how.fan_out = out;
    net_push(n, name, -1);
    tensor *w = o->in_out ? genet__net_matrix(n, "weight", USE_FACTOR, true, in, out, how)
                          : genet__net_matrix(n, "weight", USE_FACTOR, false, out, in, how);
    w = genet__net_operand(n, w);
    if (!o->in_out) w = genet_transpose(w, 0, 1);
    /* One row of many: all leading dimensions of x are rows of one product. */
    tensor *rows = genet_reshape(genet__net_operand(n, x), GENET_DIMS(-1, in));
    tensor *y = genet_matmul(rows, w);                                  /* (rows, out) */
    if (!o->no_bias)
        y = genet_add(y, genet__net_weight(n, "bias", GENET_DIMS(out), or_default(o->bias, in)));
    y = genet__lora_add(n, genet_reshape(x, GENET_DIMS(-1, in)), y);
    net_pop(n);
    int64_t dim[MAX_DIM];
    memcpy(dim, x->shape.dim, sizeof dim);
    dim[x->shape.rank - 1] = out;
    return genet_reshape(y, x->shape.rank, dim);
}

tensor *genet__layer_norm(net *n, const char *name, tensor *x, double eps)
{
    if (x->poisoned) return x;
    int64_t width = dim_of(x, -1);
    net_push(n, name, -1);
    tensor *w = genet__net_weight(n, "weight", GENET_DIMS(width), INIT_OF_ONES);
    tensor *b = genet__net_weight(n, "bias", GENET_DIMS(width), INIT_OF_ZEROS);
    tensor *y = genet_layer_norm(x, w, b, eps);
    net_pop(n);
    return y;
}

tensor *genet__rms_norm(net *n, const char *name, tensor *x, double eps)
{
    if (x->poisoned) return x;
    net_push(n, name, -1);
    tensor *y = genet_rms_norm(x, genet__net_weight(n, "weight", GENET_DIMS(dim_of(x, -1)), INIT_OF_ONES), eps);
    net_pop(n);
    return y;
}

tensor *genet__embedding(net *n, const char *name, int64_t rows, int64_t width, init weight)
{
    net_push(n, name, -1);
    tensor *w = genet__net_matrix(n, "weight", USE_TABLE, false, rows, width, weight);
    net_pop(n);
    return w;
}

tensor *genet__embed(tensor *table, tensor *ids) { return genet_cast(genet_gather(table, ids), GENET_F32); }

tensor *genet__dropout(net *n, tensor *x, double p)
{
    int stream = genet__net_stream(n);      /* the same numbers whether dropout is on or off */
    return n->training && n->rng && p > 0 ? genet_dropout(x, n->rng, stream, p) : x;
}

/* --- activations ------------------------------------------------------------------ */

static tensor *identity(tensor *x) { return x; }
static tensor *leaky_relu(tensor *x) { return genet_leaky_relu(x, 0.01); }
static tensor *elu(tensor *x) { return genet_elu(x, 1.0); }
/* Hendrycks & Gimpel 2016, arXiv 1606.08415, section 2: x sigmoid(1.702 x). */
static tensor *quick_gelu(tensor *x)
{
    return genet_mul(x, genet_sigmoid(genet_mul(x, genet_scalar_like(x, 1.702))));
}

activation_fn *genet__activation(const char *name)
{
    static const struct { const char *name; activation_fn *fn; } table[] = {
        { "relu", genet_relu }, { "gelu", genet_gelu }, { "gelu_new", genet_gelu_tanh },
        { "gelu_pytorch_tanh", genet_gelu_tanh }, { "gelu_fast", genet_gelu_tanh }, { "quick_gelu", quick_gelu },
        { "tanh", genet_tanh }, { "sigmoid", genet_sigmoid },
        { "silu", genet_silu }, { "swish", genet_silu }, { "leaky_relu", leaky_relu }, { "elu", elu },
        { "softplus", genet_softplus }, { "identity", identity },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name)) return table[i].fn;
    return NULL;
}
