/* op_table.c - all rows, by id.  A line in elementwise.def or ops.def without
 * its row does not link. */
#include "graph/graph.h"

#define UNARY(name, ...)   extern const op genet__op_##name;
#define BINARY(name, ...)  extern const op genet__op_##name;
#define TERNARY(name, ...) extern const op genet__op_##name;
#define OP(name, kernel)   extern const op genet__op_##name;
#include "genet/elementwise.def"
#include "graph/ops.def"
#undef UNARY
#undef BINARY
#undef TERNARY
#undef OP

const op *const genet__op_table[OP_COUNT] = {
#define UNARY(name, ...)   [OP_##name] = &genet__op_##name,
#define BINARY(name, ...)  [OP_##name] = &genet__op_##name,
#define TERNARY(name, ...) [OP_##name] = &genet__op_##name,
#define OP(name, kernel)   [OP_##name] = &genet__op_##name,
#include "genet/elementwise.def"
#include "graph/ops.def"
};
