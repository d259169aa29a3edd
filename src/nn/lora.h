/* lora.h - low-rank adapters (Hu et al. 2021, arXiv 2106.09685): beside a frozen product x W^T a trained one,
 *
 *     y = x W^T + scale B (A dropout(x)),     A (r, in) drawn, B (out, r) zeros at first,  scale = alpha / r
 *
 * in params of their own beside the model's, which many adapters share. */
#ifndef GENET_NN_LORA_H
#define GENET_NN_LORA_H
#include "nn/net.h"

/* What names of an adapter's weights begin with, as PEFT writes them. */
#define LORA_PREFIX "base_model.model."

typedef struct lora {
    int64_t rank;
    double  scale, dropout;
    const char *const *modules;     /* names, or their ends after a dot, of layers that are adapted; ended by NULL */
    bool    all;                    /* every linear layer */
} lora;

/* What the params of n, or those they stand beside, are adapted by; NULL: nothing. */
const lora *genet__lora_of(const params *p);
/* Is the layer with this whole name adapted? */
bool genet__lora_takes(const lora *l, const char *name);
/* y (rows, out) plus the adapter's part for x (rows, in), in the scope of the layer; y itself where it is not adapted. */
tensor *genet__lora_add(net *n, tensor *x, tensor *y);
#endif
