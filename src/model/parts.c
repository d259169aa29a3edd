/* parts.c - caches, the rows whose answer is wanted, and logits. */
#include "model/parts.h"

tensor *genet__remembered(net *n, const char *name, tensor *x, const model_inputs *in)
{
    if (!in->cache_length || x->poisoned) return x;
    int64_t B = in->cache_rows ? in->cache_rows : dim_of(x, 0), H = dim_of(x, 2), D = dim_of(x, 3);
    tensor *cache = genet__net_state(n, name, PARAM_CACHE, GENET_DIMS(B, in->cache_length, H, D));
    return genet_write_at(cache, x, in->position);
}

tensor *genet__selected(tensor *x, const model_inputs *in)
{
    if (!in->select || x->poisoned) return x;
    int64_t B = dim_of(x, 0), T = dim_of(x, 1), C = dim_of(x, 2);
    return genet_reshape(genet_gather(genet_reshape(x, GENET_DIMS(B * T, C)), in->select), GENET_DIMS(-1, 1, C));
}

tensor *genet__logits(net *n, tensor *x, tensor *head)
{
    if (x->poisoned || head->poisoned) return x->poisoned ? x : head;
    int64_t B = dim_of(x, 0), T = dim_of(x, 1), C = dim_of(x, 2), V = dim_of(head, 0);
    tensor *rows = genet_reshape(genet__net_operand(n, x), GENET_DIMS(B * T, C));
    tensor *logits = genet_matmul(rows, genet_transpose(genet__net_operand(n, head), 0, 1));
    return genet_tensor_set_name(genet_reshape(logits, GENET_DIMS(B, T, V)), "logits");
}
