/* read.h - a part of a plan's output, for those who need no more of a large one. */
#ifndef GENET_PLAN_READ_H
#define GENET_PLAN_READ_H
#include "graph/graph.h"

/* n elements of an output, from element `first` on; otherwise as genet_plan_read. */
bool genet__plan_read_part(genet_plan *p, genet_tensor *output, int64_t first, int64_t n, void *to, genet_err *err);
#endif
