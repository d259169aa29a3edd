/* ops.h - the builders: one function an op.  Shapes are given as the
 * literature writes them; images are channels-last.  "..." stands for any
 * leading dimensions.  Elementwise ops broadcast as NumPy does.
 *
 * Tensors must not be NULL unless the line says so; whatever else is wrong
 * with arguments becomes the graph's error.
 *
 * Included by genet.h. */
#ifndef GENET_OPS_H
#define GENET_OPS_H

/* Elementwise: genet_add, genet_exp, genet_where, ...  One line each, with its
 * documentation, in elementwise.def. */
#define ATTR(p, v)              , double p
#define ATTR2(p, v, q, w)       , double p, double q
#define UNARY(name, sig, value, da, in, attr, ulp, doc) \
    GENET_API genet_tensor *genet_##name(genet_tensor *a attr);
#define BINARY(name, sig, value, da, db, in, attr, ulp, doc) \
    GENET_API genet_tensor *genet_##name(genet_tensor *a, genet_tensor *b attr);
#define TERNARY(name, sig, value, da, db, dc, in, attr, ulp, doc) \
    GENET_API genet_tensor *genet_##name(genet_tensor *a, genet_tensor *b, genet_tensor *c attr);
#include "genet/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY
#undef ATTR
#undef ATTR2

#define T genet_tensor *

/* --- constants, types, layout -------------------------------------------- */

/* A tensor filled with value; rank 0 for a scalar. */
GENET_API T genet_full(genet_graph *g, genet_dtype type, double value, int rank, const int64_t *dim);
/* The scalar value in x's graph and (float) type. */
GENET_API T genet_scalar_like(T x, double value);
/* 0, 1, ..., n-1 as i32 or float: start + step * i. */
GENET_API T genet_iota(genet_graph *g, genet_dtype type, int64_t n, double start, double step);
/* Round to another type (to nearest even; float to integer truncates).  q8_0 and q4_0 are only cast from. */
GENET_API T genet_cast(T x, genet_dtype type);
/* The same values in dense row-major memory. */
GENET_API T genet_copy(T x);
/* x, but no gradient flows through. */
GENET_API T genet_stop(T x);

/* One dimension may be -1: what is left. */
GENET_API T genet_reshape(T x, int rank, const int64_t *dim);
/* y's dimension i is x's dimension axes[i]. */
GENET_API T genet_permute(T x, int rank, const int64_t *axes);
/* Swap two axes; negative ones count from the end. */
GENET_API T genet_transpose(T x, int axis0, int axis1);
/* Elements start, start+step, ... (count of them) along axis. */
GENET_API T genet_slice(T x, int axis, int64_t start, int64_t count, int64_t step);
/* Repeat dimensions of extent 1 (and new leading ones) to the given shape. */
GENET_API T genet_broadcast(T x, int rank, const int64_t *dim);
/* n >= 1 tensors that agree but along axis. */
GENET_API T genet_concat(T const *x, int n, int axis);
/* before and after: rank entries each; new elements hold value. */
GENET_API T genet_pad(T x, const int64_t *before, const int64_t *after, double value);
GENET_API T genet_flip(T x, int axis);

/* --- rows by index (indices are i32; out of range gives zeros, no gradient) */

/* y[i..., :] = x[index[i...], :]; x (N, ...), index any shape. */
GENET_API T genet_gather(T x, T index);
/* y (rows, ...) = sum over i of g[i..., :] at row index[i...]. */
GENET_API T genet_scatter_add(T g, T index, int64_t rows);
/* y[..., k] = x[..., index[..., k]]: x (..., N), index (..., K). */
GENET_API T genet_gather_last(T x, T index);
/* The transpose of gather_last: (..., K) added into (..., n). */
GENET_API T genet_scatter_last(T g, T index, int64_t n);

/* --- reductions over axes (bit a of axes: dimension a); keep: extent 1 stays */

GENET_API T genet_sum (T x, unsigned axes, bool keep);
GENET_API T genet_sum_squares(T x);                         /* of all elements, in one pass: a scalar */
GENET_API T genet_mean(T x, unsigned axes, bool keep);
GENET_API T genet_max_over(T x, unsigned axes, bool keep);  /* ties share the gradient */
GENET_API T genet_logsumexp(T x, unsigned axes, bool keep);
GENET_API T genet_argmax(T x, int axis, bool keep);     /* i32, the first of equals */
GENET_API T genet_cumsum(T x, int axis);
/* Scalar u8: 1 when no element is inf or NaN. */
GENET_API T genet_all_finite(T x);
/* The k largest along the last axis, in falling order; side 1: indices (i32).
 * Equal values in order of index, NaN above everything. */
GENET_API T genet_topk(T x, int64_t k);
/* The whole last axis sorted; side 1: indices (i32); stable. */
GENET_API T genet_sort(T x, bool descending);
/* Every axis of x, and axis i alone (negative from the end), as masks. */
GENET_API unsigned genet_axes_all(const genet_tensor *x);
GENET_API unsigned genet_axis(const genet_tensor *x, int i);

/* --- products ------------------------------------------------------------ */

/* (..., M, K) x (..., K, N) -> (..., M, N); leading dimensions broadcast. */
GENET_API T genet_matmul(T a, T b);

/* --- normalisation, softmax, losses -------------------------------------- */

GENET_API T genet_softmax(T x, int axis);
GENET_API T genet_log_softmax(T x, int axis);
/* Over the last dimension (C); weight and bias (C) may be NULL.  Biased
 * variance.  Sides: mean, 1/std (...,). Ba et al. 2016, arXiv 1607.06450 */
GENET_API T genet_layer_norm(T x, T weight, T bias, double eps);
/* x / sqrt(mean(x^2) + eps) * weight.  Side: 1/rms.  arXiv 1910.07467 */
GENET_API T genet_rms_norm(T x, T weight, double eps);

/* Losses return the SUM over elements or rows (scalar); side 1 is the COUNT
 * (scalar, same type) to divide by. */

/* logits (..., V), target i32 (...): targets equal to ignore_index (PyTorch:
 * -100) count nothing; label_smoothing as in PyTorch. */
GENET_API T genet_cross_entropy(T logits, T target, int64_t ignore_index, double label_smoothing);
/* The same of logits x weight^T that never exist all at once: x (rows, C), weight
 * (V, C), target i32 (rows).  For large V: memory for some rows of logits, both gradients
 * (sides 2 and 3) made beside the loss. */
GENET_API T genet_linear_cross_entropy(T x, T weight, T target, int64_t ignore_index, double label_smoothing);
GENET_API T genet_mse(T x, T target);
GENET_API T genet_l1(T x, T target);
GENET_API T genet_huber(T x, T target, double delta);
GENET_API T genet_bce_with_logits(T x, T target);
/* target * (log target - x), x already log-probabilities (PyTorch's kl_div). */
GENET_API T genet_kl_div(T x, T target);

/* --- attention ----------------------------------------------------------- */

typedef struct genet_attention_options {
    T      bias;        /* (1|B, 1|H, T, S), added to the scaled scores */
    T      q_lengths;   /* i32 (B): queries from there on give 0 */
    T      k_lengths;   /* i32 (B): keys from there on are not seen */
    T      position;    /* i32 (B): index of the first query among the keys */
    T      rows;        /* i32 (B, S): key j of entry b is that of row rows[b,j] of k and v */
    T      rng;         /* for dropout, see genet_dropout */
    int    causal;      /* key j visible to query i if j <= position + i */
    int64_t window;     /* > 0: and if j > position + i - window */
    double scale;       /* 0: 1/sqrt(D) */
    double softcap;     /* > 0: softcap * tanh(score / softcap) */
    double dropout;     /* probability that a weight is dropped */
    int    stream;      /* of the random numbers for dropout */
} genet_attention_options;

/* q (B,T,H,D), k and v (B,S,Hkv,D), H a multiple of Hkv -> (B,T,H,D).  A
 * query that sees no key gives 0.  Side 1: log-sum-exp (B,H,T).
 * Vaswani et al. 2017; tiled as in Dao 2023, arXiv 2307.08691. */
GENET_API T genet_attention(T q, T k, T v, const genet_attention_options *o);

/* Rotary position: x (B,T,H,D), position i32 (B) of the first row, or NULL
 * for 0.  interleaved pairs (2i, 2i+1) or halves (i, i + D/2).
 * Su et al. 2021, arXiv 2104.09864. */
GENET_API T genet_rope(T x, T position, double base, bool interleaved);
/* The same by frequencies (D/2) of x's type, radians a position: how models stretch their context. */
GENET_API T genet_rope_by(T x, T position, T frequencies, bool interleaved);

/* --- chance: counters, never state ---------------------------------------
 * rng: i32 (4): seed low, seed high, step, row of the global batch where this
 * batch begins.  stream: which of the independent sequences. */

GENET_API T genet_random_uniform(T rng, int stream, genet_dtype type, int rank, const int64_t *dim);
GENET_API T genet_random_normal (T rng, int stream, genet_dtype type, int rank, const int64_t *dim);
/* Zero with probability p, else x / (1 - p). */
GENET_API T genet_dropout(T x, T rng, int stream, double p);

/* --- state: each returns the state's new value, in the same memory -------- */

GENET_API T genet_assign(T state, T value);
/* Write value (n, ...) into rows position .. position+n of state (N, ...);
 * with batch: state (B, N, ...), value (b, n, ...), position i32 (b), b <= B:
 * the first b entries of the batch are written.
 * Rows outside are not written. */
GENET_API T genet_write_at(T state, T value, T position);

/* Optimisers: change nothing when finite (u8 scalar) is 0.  grad is first
 * multiplied by grad_scale; learning_rate, grad_scale, step (1-based) are
 * float scalars.  narrow, where not NULL, is state of param's shape in bf16 that
 * becomes the new parameter rounded.  Sides: the new states. */
GENET_API T genet_update_sgd(T param, T grad, T velocity /* NULL: no momentum */, T narrow, T learning_rate,
                             T grad_scale, T finite, double momentum, bool nesterov, double weight_decay);
/* decoupled: AdamW (arXiv 1711.05101), else Adam with L2 (arXiv 1412.6980). */
GENET_API T genet_update_adam(T param, T grad, T m, T v, T narrow, T learning_rate, T grad_scale,
                              T step, T finite, double beta1, double beta2, double eps, double weight_decay,
                              bool decoupled);
/* arXiv 2302.06675 */
GENET_API T genet_update_lion(T param, T grad, T m, T narrow, T learning_rate, T grad_scale, T finite,
                              double beta1, double beta2, double weight_decay);

#undef T
#endif
