/* parts.c - caches, the rows whose answer is wanted, and logits. */
#include "model/parts.h"

tensor *genet__remembered(net *n, const char *name, tensor *x, const model_inputs *in)
{
    if (!in->cache_length || x->poisoned) return x;
    int64_t B = in->cache_rows ? in->cache_rows : dim_of(x, 0), H = dim_of(x, 2), D = dim_of(x, 3);
    tensor *cache = genet__net_state(n, name, PARAM_CACHE, GENET_DIMS(B, in->cache_length, H, D));
    return genet_write_at(cache, x, in->position);
}

/* One long row of all memories, so that any of them can be written; one after another. */
static tensor *memory_cache(net *n, const char *name, int64_t H, int64_t D, const model_inputs *in)
{
    int64_t rows = in->memory_rows ? in->memory_rows : dim_of(in->x, 0);
    return genet__net_state(n, name, PARAM_CACHE, GENET_DIMS(1, rows * in->memory_length, H, D));
}

tensor *genet__memorise(net *n, const char *name, tensor *x, const model_inputs *in)
{
    if (x->poisoned) return x;
    tensor *length = genet_full(n->graph, GENET_I32, (double)in->memory_length, GENET_DIMS(1));
    return genet_write_at(memory_cache(n, name, dim_of(x, 2), dim_of(x, 3), in), x, genet_mul(in->memory_row, length));
}

tensor *genet__memorised(net *n, const char *name, int64_t H, int64_t D, const model_inputs *in)
{
    return genet_reshape(memory_cache(n, name, H, D, in), GENET_DIMS(-1, in->memory_length, H, D));
}

tensor *genet__selected(tensor *x, const model_inputs *in)
{
    if (!in->select || x->poisoned) return x;
    int64_t B = dim_of(x, 0), T = dim_of(x, 1), C = dim_of(x, 2);
    return genet_reshape(genet_gather(genet_reshape(x, GENET_DIMS(B * T, C)), in->select), GENET_DIMS(-1, 1, C));
}

tensor *genet__last_tokens(net *n, tensor *x, const model_inputs *in)
{
    if (x->poisoned) return x;
    int64_t B = dim_of(x, 0), T = dim_of(x, 1), C = dim_of(x, 2);
    if (!in->lengths) return genet_reshape(genet_slice(x, 1, T - 1, 1, 1), GENET_DIMS(B, C));
    tensor *end = genet_add(genet_iota(n->graph, GENET_I32, B, 0, (double)T), in->lengths);        /* of the row, flat */
    tensor *last = genet_sub(end, genet_scalar_like(end, 1));
    return genet_gather(genet_reshape(x, GENET_DIMS(B * T, C)), last);
}

tensor *genet__logits(net *n, tensor *x, tensor *head)
{
    if (x->poisoned || head->poisoned) return x->poisoned ? x : head;
    int64_t B = dim_of(x, 0), T = dim_of(x, 1), C = dim_of(x, 2), V = dim_of(head, 0);
    tensor *rows = genet_reshape(genet__net_operand(n, x), GENET_DIMS(B * T, C));
    tensor *logits = genet_matmul(rows, genet_transpose(genet__net_operand(n, head), 0, 1));
    return genet_tensor_set_name(genet_reshape(logits, GENET_DIMS(B, T, V)), "logits");
}
