/* parts.h - what the forward passes of several families share. */
#ifndef GENET_MODEL_PARTS_H
#define GENET_MODEL_PARTS_H
#include "model/model.h"

/* Keys or values (B, T, H, D) through the cache NAME (B, S, H, D): the whole of it; x itself without caches. */
tensor *genet__remembered(net *n, const char *name, tensor *x, const model_inputs *in);
/* Keys or values of a memory (1, S, H, D) into row in->memory_row of the cache NAME, of in->memory_rows rows. */
tensor *genet__memorise(net *n, const char *name, tensor *x, const model_inputs *in);
/* That cache as it was left: (memory_rows, memory_length, H, D). */
tensor *genet__memorised(net *n, const char *name, int64_t H, int64_t D, const model_inputs *in);
/* x (B, T, C), of which with in->select (N) only the rows asked for, (N, 1, C), go on. */
tensor *genet__selected(tensor *x, const model_inputs *in);
/* Of x (B, T, C) each row's last token within its length: (B, C). */
tensor *genet__last_tokens(net *n, tensor *x, const model_inputs *in);
/* x (B, T, C) by a head (V, C): "logits" (B, T, V). */
tensor *genet__logits(net *n, tensor *x, tensor *head);
#endif
