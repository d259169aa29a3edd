/* gradient.h - short names of builders, for gradient rules.
 *
 * A rule has the gradient of its result at hand as `tensor *G`; constants
 * take its type.  A rule reads values through SAVED only, masks with WHERE and
 * never with a product (0 times infinity is NaN), and is made of ops that
 * have rules themselves, so that it can be differentiated again. */
#ifndef GENET_GRAPH_GRADIENT_H
#define GENET_GRAPH_GRADIENT_H
#include "graph/graph.h"

#define CONSTANT(value) genet_scalar_like(G, value)
#define ZERO            CONSTANT(0)
#define ONE             CONSTANT(1)

#define ADD(x, y)       genet_add(x, y)
#define SUB(x, y)       genet_sub(x, y)
#define MUL(x, y)       genet_mul(x, y)
#define DIV(x, y)       genet_div(x, y)
#define NEG(x)          genet_neg(x)
#define ABS(x)          genet_abs(x)
#define SIGN(x)         genet_sign(x)
#define SQUARE(x)       genet_square(x)
#define SQRT(x)         genet_sqrt(x)
#define RSQRT(x)        genet_rsqrt(x)
#define POW(x, y)       genet_pow(x, y)
#define EXP(x)          genet_exp(x)
#define LOG(x)          genet_log(x)
#define SIN(x)          genet_sin(x)
#define COS(x)          genet_cos(x)
#define TANH(x)         genet_tanh(x)
#define SIGMOID(x)      genet_sigmoid(x)
#define ERF(x)          genet_erf(x)
#define GELU_TANH_GRAD(x, g) genet_gelu_tanh_grad(x, g)

#define LT(x, y)        genet_lt(x, y)
#define LE(x, y)        genet_le(x, y)
#define GT(x, y)        genet_gt(x, y)
#define GE(x, y)        genet_ge(x, y)
#define EQ(x, y)        genet_eq(x, y)
#define NE(x, y)        genet_ne(x, y)
#define AND(x, y)       genet_logical_and(x, y)
#define WHERE(m, x, y)  genet_where(m, x, y)

#endif
