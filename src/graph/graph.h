/* graph.h - WHAT is computed: tensors, the operation table, gradients.  Knows
 * no device.  Read this first.
 *
 * A graph is an append-only array of tensors.  A tensor is made after its
 * inputs, so creation order is the schedule: no topological sort, and the
 * backward pass is a loop from the end.
 *
 * An op is a row (struct op): how to infer shapes, how to differentiate, its
 * definition in simpler ops or a naive reference, and probes on which the
 * generic tests try it.  An elementwise op is one line in elementwise.def;
 * the others have a line in ops.def and a row in op_<family>.c. */
#ifndef GENET_GRAPH_GRAPH_H
#define GENET_GRAPH_GRAPH_H
#include "base/arena.h"
#include "base/map.h"
#include "genet/genet.h"

typedef genet_tensor tensor;
typedef genet_graph  graph;
typedef genet_dtype  dtype;

enum { MAX_DIM = GENET_MAX_DIM, MAX_IN = 10, MAX_SIDE = 5, ATTR_F = 4, ATTR_I = 18 };

typedef enum op_id {
#define UNARY(name, ...)   OP_##name,
#define BINARY(name, ...)  OP_##name,
#define TERNARY(name, ...) OP_##name,
#include "genet/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY
#define OP(name, kernel) OP_##name,
#include "graph/ops.def"
#undef OP
    OP_COUNT
} op_id;

/* What an op knows beside its inputs; each row says what its slots mean. */
typedef struct attr { double f[ATTR_F]; int64_t i[ATTR_I]; } attr;

typedef struct shape { int rank; int64_t dim[MAX_DIM]; } shape;

struct genet_tensor {
    graph      *graph;
    const struct op *op;
    int         id;                 /* index in the graph's array */
    dtype       dtype;
    shape       shape;
    int64_t     stride[MAX_DIM];    /* in elements of root's storage */
    int64_t     start;              /* first element in root's storage */
    tensor     *root;               /* the tensor whose storage this one is a window of */
    tensor    **in;                 /* n_in inputs; optional ones may be NULL */
    int         n_in;
    attr        attr;
    tensor     *main;               /* a side's op result; itself otherwise */
    int         side;               /* 0 for the main result, else 1.. */
    int         region;             /* checkpointing region it was made in, from 1 */
    tensor     *clone;              /* its recomputation, when one was made */
    tensor     *again;              /* of a widened value: widened once more for gradient rules */
    tensor     *original;           /* of a recomputation: what it stands for, gradients too */
    int         version;            /* of state: how many writes came before */
    const char *name;               /* with its scope; may be "" */
    bool        poisoned;
};

enum op_flag {
    OPF_ELEMENTWISE = 1 << 0,   /* y[i] from the inputs' [i]: joins groups */
    OPF_VIEW        = 1 << 1,   /* no work: another window on in[0]'s storage */
    OPF_LEAF        = 1 << 2,   /* input, state */
    OPF_EFFECT      = 1 << 3,   /* writes state: a root, never cloned */
    OPF_STRIDED     = 1 << 4,   /* its kernel takes inputs of any strides */
    OPF_ZERO_GRAD   = 1 << 5,   /* piecewise constant: no gradient, no error */
    OPF_NO_GRAD     = 1 << 6,   /* a gradient through it is an error */
    OPF_BLOCKS      = 1 << 7,   /* takes, shows or picks rows of quantised blocks */
    OPF_INDEXED     = 1 << 8,   /* elementwise by the flat index too, and by all of in[1], a sequence of random
                                   numbers, which its function is given as it is */
    OPF_ROWS        = 1 << 9,   /* its kernel's tasks make whole rows of the result, from the same rows of the inputs
                                   that have its shape: programs run before and after each task's */
    OPF_PRODUCT     = 1 << 10   /* most of its work is products of matrices of in[0]'s and in[1]'s types */
};

/* --- probes: what the generic tests try an op on -------------------------- */

/* type: 'f' float (f32 or f64, as tested), 'i' i32, 'u' u8, 0: absent.  Values
 * are uniform in [lo, hi] (integers in lo..hi inclusive).  Stored types hold
 * values that they have exactly, and are f64 where f64 is tested: 'b' bf16,
 * 'h' f16, and, as the transpose of a matrix, 'q' q8_0, '4' q4_0.  'Q' and 'K' are
 * q8_0 and q4_0 with blocks along the last dimension, whatever is tested. */
typedef struct probe_in { char type; double lo, hi; int rank; int64_t dim[5]; } probe_in;
#define PROBE_RANK(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))
#define PF(lo, hi, ...) { 'f', lo, hi, PROBE_RANK(__VA_ARGS__), {__VA_ARGS__} }
#define PI(lo, hi, ...) { 'i', lo, hi, PROBE_RANK(__VA_ARGS__), {__VA_ARGS__} }
#define PU(...)         { 'u', 0, 1, PROBE_RANK(__VA_ARGS__), {__VA_ARGS__} }
#define PF0(lo, hi)     { 'f', lo, hi, 0, {0} }         /* scalars */
#define PB(lo, hi, ...) { 'b', lo, hi, PROBE_RANK(__VA_ARGS__), {__VA_ARGS__} }
#define PH(lo, hi, ...) { 'h', lo, hi, PROBE_RANK(__VA_ARGS__), {__VA_ARGS__} }
#define PQ8(rows, cols) { 'q', -1, 1, 2, { rows, cols } }
#define PQ4(rows, cols) { '4', -1, 1, 2, { rows, cols } }
#define PQ8_ROWS(lo, hi, ...) { 'Q', lo, hi, PROBE_RANK(__VA_ARGS__), {__VA_ARGS__} }
#define PQ4_ROWS(lo, hi, ...) { 'K', lo, hi, PROBE_RANK(__VA_ARGS__), {__VA_ARGS__} }
#define PU0             { 'u', 0, 1, 0, {0} }
#define PNONE           { 0, 0, 0, 0, {0} }

/* A tiny probe is differentiated numerically (keep it under 60 elements);
 * an edge one only compares values. */
typedef struct probe {
    bool     edge;
    double   tolerance;         /* f32 against double, relative to the largest value; 0: 2e-5 */
    attr     attr;
    probe_in in[MAX_IN];
} probe;

/* --- a row of the table ---------------------------------------------------- */

typedef struct op {
    const char *name;
    op_id       id;
    int         n_in;           /* inputs; -1: any number */
    int         n_side;
    unsigned    flags;
    unsigned    state_in;       /* bit k: input k is state that this op rewrites;
                                   output j (0 main, 1.. sides) takes the storage of the
                                   j-th such input */
    unsigned    flat_sides;     /* bit k: side k is piecewise constant (a count, indices): no
                                   gradient flows through it */
    unsigned    over;           /* bit k: input k, which the kernel gets dense, may lie where the
                                   result is written: it is read there first */
    unsigned    apart;          /* bit j: its kernel writes output j with any strides, but 1 in the last dimension */
    const char *sig;            /* elementwise: "FF>F" */
    int         ulp;            /* elementwise: bound of the f32 value's error */
    /* Set y's shape and dtype, and its sides'; for a view also start, stride,
     * root.  Strides of ordinary results are set by the engine.  On
     * impossible inputs call genet__fail and return false. */
    bool      (*infer)(tensor *y);
    /* Put the gradients of the inputs in d (n_in entries, NULL: none), given
     * g, that of y.  Forward VALUES are read through SAVED only. */
    void      (*grad)(tensor *y, tensor *g, tensor **d);
    /* y in simpler ops: out[0] and, where defined, the sides out[1..]. */
    void      (*expand)(tensor *y, tensor **out);
    /* The naive definition: all tensors as dense row-major doubles. */
    void      (*ref)(const tensor *y, double *const in[], double *const out[]);
    double    (*flops)(const tensor *y);        /* NULL: one an element of y */
    const probe *probes;
    int         n_probes;
} op;

/* A family file writes   static const probe probes_softmax[] = {...};
 *                        ROW(softmax, OWN, EXPAND, .n_in = 1, .infer = infer_softmax)
 * first word: OWN (grad_softmax), EXPAND (that of its definition), ZERO, NONE;
 * second: EXPAND (expand_softmax), REF (ref_softmax), BOTH.  What is named
 * must exist, or the file does not compile. */
#define ROW_GRAD_OWN(name)      .grad = grad_##name,
#define ROW_GRAD_EXPAND(name)
#define ROW_GRAD_ZERO(name)
#define ROW_GRAD_NONE(name)
#define ROW_FLAG_OWN    0u
#define ROW_FLAG_EXPAND 0u
#define ROW_FLAG_ZERO   OPF_ZERO_GRAD
#define ROW_FLAG_NONE   OPF_NO_GRAD
#define ROW_DEF_EXPAND(name)    .expand = expand_##name,
#define ROW_DEF_REF(name)       .ref = ref_##name,
#define ROW_DEF_BOTH(name)      .expand = expand_##name, .ref = ref_##name,
/* OPF(flags) names further flags inside a row. */
#define ROW(name_, grad_, def_, flags_, ...)                                     \
    const op genet__op_##name_ = { .name = #name_, .id = OP_##name_,             \
        ROW_GRAD_##grad_(name_) ROW_DEF_##def_(name_)                            \
        .flags = (flags_) | ROW_FLAG_##grad_, .probes = probes_##name_,          \
        .n_probes = (int)(sizeof probes_##name_ / sizeof *probes_##name_), __VA_ARGS__ };

extern const op *const genet__op_table[OP_COUNT];

/* --- the graph -------------------------------------------------------------- */

struct genet_graph {
    arena       arena;
    tensor    **node;
    int         n, cap;
    bool        failed;
    genet_code  code;
    char        error[1000];        /* the first failure */
    char        scope[400];
    short       scope_length[32];   /* of the scopes around the present one */
    int         depth;
    map         state_names;
    int         n_regions;          /* checkpointing regions that have ended */
    int         reading;            /* region of the op whose gradient rule is running, 0: none */
    tensor      poison;             /* what every builder returns after the first failure */
};

/* Append the result of an op (and its sides).  in: n_in tensors, entries may
 * be NULL where the op allows. Never returns NULL. */
tensor *genet__apply(graph *g, op_id id, tensor *const in[], int n_in, const attr *a);
#define APPLY(id, a, ...) \
    genet__apply(genet__graph_of((tensor *[]){__VA_ARGS__}, (int)(sizeof((tensor *[]){__VA_ARGS__}) / sizeof(tensor *))), \
                 id, (tensor *[]){__VA_ARGS__}, (int)(sizeof((tensor *[]){__VA_ARGS__}) / sizeof(tensor *)), a)
/* The graph of the first tensor that is not NULL. */
graph  *genet__graph_of(tensor *const in[], int n);

/* Poison y and keep this as the graph's failure if it is the first; the
 * message gets "op: " before it and y's scope after it.  Returns false. */
bool    genet__fail(tensor *y, const char *fmt, ...) GENET_PRINTF(2, 3);
/* Words after the graph's failure, if it is new: where it came about. */
void    genet__fail_where(graph *g, const char *fmt, ...) GENET_PRINTF(2, 3);
/* The graph's failure is that memory ran out. */
void    genet__graph_no_memory(graph *g);
/* "[4,64,768]"; out holds 160 bytes. */
const char *genet__shape_text(char out[160], const tensor *t);
#define SHAPE_TEXT(t) genet__shape_text((char[160]){0}, t)

/* The tensor that a gradient rule may read: t, or its recomputation when it
 * lies in an ended checkpointing region or only widens a stored type. */
tensor *genet__saved(tensor *t);
#define SAVED(t) genet__saved(t)

/* Is input k of this op state that it rewrites? */
static inline bool genet__rewrites(const op *o, int k) { return k < MAX_IN && o->state_in >> k & 1; }
/* May its kernel's result lie where input k, which ends there, lies? */
static inline bool genet__replaces(const op *o, int k) { return k < MAX_IN && o->over >> k & 1; }

/* Is input k of elementwise y given whole, not element by element? */
static inline bool genet__given_whole(const tensor *y, int k) { return y->op->flags & OPF_INDEXED && k == 1; }

static inline tensor *genet__side(const tensor *y, int k)
{
    return y->poisoned ? &y->graph->poison : y->graph->node[y->id + k];
}
static inline bool genet__op_is(const tensor *t, op_id id) { return t->op->id == id; }

int64_t genet__numel(const shape *s);
bool    genet__same_shape(const shape *a, const shape *b);
bool    genet__is_float(dtype t);               /* f32 or f64: what is computed with */
static inline bool genet__is_blocks(dtype t) { return t == GENET_Q8_0 || t == GENET_Q4_0; }
static inline bool genet__is_stored(dtype t) { return t == GENET_BF16 || t == GENET_F16; }
bool    genet__is_dense(const tensor *t);       /* row-major without gaps */
void    genet__dense_strides(const shape *s, int64_t stride[MAX_DIM]);
/* NumPy's broadcasting; false when they do not fit. */
bool    genet__broadcast_shape(const shape *a, const shape *b, shape *out);
/* Sum x's broadcast dimensions away so that it has shape s. */
tensor *genet__sum_to(tensor *x, const shape *s);
/* a + b as a concatenation, where both are the gradients of neighbouring
 * slices of one tensor (q, k and v, say); NULL where they are not. */
tensor *genet__join_pads(tensor *a, tensor *b);
/* a + b with b made on top of a, where b is a product or a sum of rows; NULL
 * where it is not. */
tensor *genet__matmul_onto(tensor *a, tensor *b);
tensor *genet__scatter_onto(tensor *a, tensor *b);
/* A negative axis counts from the end. */
static inline int genet__axis_of(const tensor *x, int axis) { return axis < 0 ? axis + x->shape.rank : axis; }
/* Definition of y in simpler ops, at the end of y's graph. */
void    genet__expand(tensor *y, tensor **out);

/* Moving is no arithmetic. */
static inline double genet__flops_none(const tensor *y) { (void)y; return 0; }

/* infer of "the same shape and type as input 0" */
bool    genet__infer_same(tensor *y);
#endif
