/* lora.c - the adapter's two products, wherever a linear layer is built. */
#include "nn/lora.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

const lora *genet__lora_of(const params *p)
{
    while (p && !p->lora) p = p->shared;
    return p ? p->lora : NULL;
}

bool genet__lora_takes(const lora *l, const char *name)
{
    size_t n = strlen(name);
    for (const char *const *m = l->modules; !l->all && m && *m; m++) {
        size_t end = strlen(*m);
        if (n >= end && !strcmp(name + n - end, *m) && (n == end || name[n - end - 1] == '.')) return true;
    }
    return l->all;
}

/* Whose weights the adapter's are. */
static params *owner(params *p)
{
    while (p && !p->lora) p = (params *)(uintptr_t)p->shared;
    return p;
}

/* The names are PEFT's: the prefix stands before the scope. */
static tensor *matrix(net *n, const char *name, int64_t rows, int64_t columns, init how)
{
    graph *g = n->graph;
    char full[sizeof g->scope + 80], first = *g->scope;
    snprintf(full, sizeof full, LORA_PREFIX "%s.%s.weight", g->scope, name);
    *g->scope = 0;
    tensor *t = genet__params_tensor(owner(n->params), g, full, PARAM_WEIGHT, GENET_F32, GENET_DIMS(rows, columns), how);
    *g->scope = first;
    return t;
}

tensor *genet__lora_add(net *n, tensor *x, tensor *y)
{
    const lora *l = genet__lora_of(n->params);
    if (!l || x->poisoned || y->poisoned || !genet__lora_takes(l, n->graph->scope)) return y;
    int64_t in = dim_of(x, -1), out = dim_of(y, -1);
    tensor *a = matrix(n, "lora_A", l->rank, in, (init){ INIT_KAIMING, 0.57735026918962576 /* sqrt(1/3) */, in, 0 });
    tensor *b = matrix(n, "lora_B", out, l->rank, INIT_OF_ZEROS);
    tensor *low = genet_matmul(dropout(n, x, l->dropout), genet_transpose(a, 0, 1));            /* (rows, r) */
    tensor *part = genet_matmul(low, genet_transpose(b, 0, 1));                                 /* (rows, out) */
    return genet_add(y, genet_mul(part, genet_scalar_like(part, l->scale)));
}
