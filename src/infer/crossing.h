/* crossing.h - what a text looks at in its source: the weights of cross-attention. */
#ifndef GENET_INFER_CROSSING_H
#define GENET_INFER_CROSSING_H
#include "model/model.h"

/* at[(layer T + t) S + s]: the part of its attention, mean over the heads, that the decoder's layer gave source token s when token t was
 * chosen.  Release also after a failure. */
typedef struct crossing { int64_t layers, T, S; float *at; } crossing;

/* text: T tokens that were written after the token `start`. */
bool genet__crossing(crossing *c, const model *m, genet_workspace *w, const int32_t *source, int64_t S, int32_t start, const int32_t *text,
                     int64_t T, genet_err *err);
void genet__crossing_release(crossing *c);
#endif
