/* net.h - layers: plain functions over ops that make or find their parameters
 * by name.  A net is what they need to know about the graph being built.
 *
 * Names follow PyTorch: a layer called "ln_f" owns "ln_f.weight" and
 * "ln_f.bias" inside the scope that is open. */
#ifndef GENET_NN_NET_H
#define GENET_NN_NET_H
#include "nn/params.h"

typedef struct net {
    graph  *graph;
    params *params;
    bool    training;       /* dropout is on */
    bool    checkpoint;     /* blocks end activation-checkpointing regions */
    dtype   dtype;          /* f32; or bf16: of what products multiply, and of what is kept for the backward pass */
    tensor *rng;            /* i32 (4), see genet_dropout; NULL when nothing is drawn */
    int     n_stream;       /* streams of random numbers handed out */
} net;

/* Open the scope NAME, or NAME.INDEX when index >= 0, for tensors and
 * parameters alike. */
void genet__net_push(net *n, const char *name, int64_t index);
void genet__net_pop(net *n);
/* A weight (f32), and other state, of shape dim. */
tensor *genet__net_weight(net *n, const char *name, int rank, const int64_t *dim, init how);
/* A weight (rows, columns) that only products and gather read: of the type its file has, when it was opened for
 * reading; else f32. */
tensor *genet__net_matrix(net *n, const char *name, param_use use, bool in_out, int64_t rows, int64_t columns, init how);
tensor *genet__net_state(net *n, const char *name, param_kind kind, int rank, const int64_t *dim);

/* Mixed precision: with bf16, products read weights in their derived form and
 * other operands rounded, and give f32; sums, norms and losses are f32.
 * operand: x (a weight or a value) as a product takes it.  kept: x to go on with
 * in f32, rounded as it is kept for the backward pass.  Both are x in f32. */
tensor *genet__net_operand(net *n, tensor *x);
tensor *genet__net_kept(net *n, tensor *x);

typedef struct linear_options {
    init weight, bias;      /* INIT_DEFAULT: PyTorch's, uniform within 1/sqrt(in) */
    bool no_bias;
    bool in_out;            /* weight stored (in, out), as Hugging Face's Conv1D, not (out, in) */
} linear_options;

/* x (..., in) -> (..., out); o may be NULL. */
tensor *genet__linear(net *n, const char *name, tensor *x, int64_t out, const linear_options *o);
/* Over the last dimension, with weight (from 1) and bias (from 0). */
tensor *genet__layer_norm(net *n, const char *name, tensor *x, double eps);
/* Over the last dimension, with weight (from 1): x / rms(x) * weight. */
tensor *genet__rms_norm(net *n, const char *name, tensor *x, double eps);
/* The table (rows, width) called NAME.weight, to embed from or multiply by: of any type. */
tensor *genet__embedding(net *n, const char *name, int64_t rows, int64_t width, init weight);
/* Rows of a table as f32: ids (I...) -> (I..., width). */
tensor *genet__embed(tensor *table, tensor *ids);
/* x itself unless training with p > 0. */
tensor *genet__dropout(net *n, tensor *x, double p);
/* A stream of random numbers that nothing else in this graph uses. */
int genet__net_stream(net *n);

typedef tensor *activation_fn(tensor *x);
/* By Hugging Face's names, ACTIVATION_CHOICES; NULL when there is none. */
activation_fn *genet__activation(const char *name);
#define ACTIVATION_CHOICES \
    "relu|gelu|gelu_new|gelu_pytorch_tanh|gelu_fast|quick_gelu|tanh|sigmoid|silu|swish|leaky_relu|elu|softplus|identity"

/* How model code spells them. */
#define linear(...)     genet__linear(__VA_ARGS__)
#define layer_norm(...) genet__layer_norm(__VA_ARGS__)
#define rms_norm(...)   genet__rms_norm(__VA_ARGS__)
#define embedding(...)  genet__embedding(__VA_ARGS__)
#define dropout(...)    genet__dropout(__VA_ARGS__)
#define net_push(...)   genet__net_push(__VA_ARGS__)
#define net_pop(n)      genet__net_pop(n)
static inline int64_t dim_of(const tensor *x, int i) { return genet_tensor_dim(x, i); }
#endif
