/* genet.h - the public face of genet, graph level: tensors, graphs,
 * gradients, compiled plans, devices.
 *
 * A program describes WHAT to compute by calling builders (ops.h) on tensors
 * of a graph; nothing is computed and no tensor memory is taken while it does
 * so.  genet_compile turns the graph into a plan for one device, and
 * genet_plan_run executes it, as often as wanted, without allocating.
 *
 * Errors: a builder given impossible inputs returns a poisoned tensor and the
 * graph keeps the first failure in words; genet_compile reports it.  All
 * other functions that can fail return false or NULL and fill their last
 * argument.  The library never prints, exits or aborts on bad input. */
#ifndef GENET_GENET_H
#define GENET_GENET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include <initializer_list>
extern "C" {
#endif

#if defined(__GNUC__)
#define GENET_API __attribute__((visibility("default")))
#define GENET_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define GENET_API
#define GENET_PRINTF(f, a)
#endif

/* --- errors -------------------------------------------------------------- */

typedef enum genet_code {
    GENET_OK,
    GENET_ERR_MEMORY,   /* an allocation failed or would not fit */
    GENET_ERR_IO,       /* the operating system refused: file, disk, network */
    GENET_ERR_FORMAT,   /* bytes from outside are not what they claim to be */
    GENET_ERR_USAGE,    /* the caller asked for something impossible */
    GENET_ERR_GRAPH,    /* a graph that cannot be computed */
    GENET_ERR_STOPPED   /* the caller asked for a stop */
} genet_code;

/* What went wrong: filled by the function that failed, owned by the caller.
 * text says what, where, and what to do; it is always terminated. */
typedef struct genet_err {
    genet_code code;
    char       text[1000];
} genet_err;

/* "1.2.3", the version of the library. */
GENET_API const char *genet_version(void);
/* The commit the library was built from, or "unknown". */
GENET_API const char *genet_commit(void);

/* --- types and shapes ---------------------------------------------------- */

enum { GENET_MAX_DIM = 8 };

typedef enum genet_dtype {
    GENET_F32, GENET_F64,       /* computed with */
    GENET_BF16, GENET_F16,      /* stored; cast to compute */
    GENET_I32,                  /* ids, lengths, indices */
    GENET_U8,                   /* bytes, masks (0 or 1) */
    GENET_Q8_0, GENET_Q4_0,     /* weights in blocks of 32 along the last dimension: 34 and 18 bytes each */
    GENET_DTYPE_COUNT
} genet_dtype;

GENET_API size_t      genet_dtype_size(genet_dtype type);       /* bytes of an element; 0: it comes in blocks */
/* Bytes of n elements in a row; for block types n counts whole blocks. */
GENET_API size_t      genet_dtype_bytes(genet_dtype type, int64_t n);
GENET_API const char *genet_dtype_name(genet_dtype type);       /* "f32", ... */

typedef struct genet_graph  genet_graph;
typedef struct genet_tensor genet_tensor;
typedef struct genet_device genet_device;
typedef struct genet_plan   genet_plan;
typedef struct genet_workspace genet_workspace;

/* Spells "rank, dims": genet_reshape(x, GENET_DIMS(B, T, C)). */
#ifdef __cplusplus
#define GENET_DIMS(...) \
    (int)std::initializer_list<int64_t>{__VA_ARGS__}.size(), std::initializer_list<int64_t>{__VA_ARGS__}.begin()
#else
#define GENET_DIMS(...) \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__}
#endif

GENET_API int         genet_tensor_rank (const genet_tensor *t);
/* Extent of dimension i; negative i counts from the end. */
GENET_API int64_t     genet_tensor_dim  (const genet_tensor *t, int i);
GENET_API int64_t     genet_tensor_numel(const genet_tensor *t);
GENET_API genet_dtype genet_tensor_dtype(const genet_tensor *t);
GENET_API const char *genet_tensor_name (const genet_tensor *t);
/* Give t a name (copied, the scope goes before it); returns t. */
GENET_API genet_tensor *genet_tensor_set_name(genet_tensor *t, const char *name);
/* The k-th side of an op's result, 1-based; see each op for what it holds. */
GENET_API genet_tensor *genet_side(genet_tensor *y, int k);

/* --- graphs -------------------------------------------------------------- */

/* An empty graph; NULL when out of memory. */
GENET_API genet_graph *genet_graph_new(void);
GENET_API void         genet_graph_free(genet_graph *g);
/* The first failure while building, or NULL when all is well. */
GENET_API const char  *genet_graph_error(const genet_graph *g);
GENET_API int          genet_graph_size(const genet_graph *g);
/* Names of tensors made from now on begin with name and a dot. */
GENET_API void         genet_scope_push(genet_graph *g, const char *name);
GENET_API void         genet_scope_pop(genet_graph *g);

/* Data that varies from run to run: written with genet_plan_write. */
GENET_API genet_tensor *genet_input(genet_graph *g, const char *name, genet_dtype type,
                                    int rank, const int64_t *dim);
/* Persistent memory, bound with genet_plan_bind: a weight, an optimiser's
 * moment, a cache.  One tensor for each piece of state in a graph. */
GENET_API genet_tensor *genet_state(genet_graph *g, const char *name, genet_dtype type,
                                    int rank, const int64_t *dim);

/* Append the gradients of sum(loss) with respect to wrt[0..n) and put them in
 * out; an entry is NULL when loss does not depend on that tensor. The
 * gradients are ordinary tensors: they can be differentiated again.  That of
 * a bf16 or f16 tensor is f32 (f64 where that is computed with). */
GENET_API void genet_grad(genet_tensor *loss, genet_tensor *const wrt[], int n, genet_tensor *out[]);

/* End an activation-checkpointing region at t: tensors made since the last
 * region ended are computed again in the backward pass instead of being
 * kept.  Returns t.  Losses and gradients are bit-equal with and without. */
GENET_API genet_tensor *genet_checkpoint(genet_tensor *t);

/* --- devices ------------------------------------------------------------- */

/* The CPU with n_threads threads (0: as many as the process may use).  The
 * instruction set is the best available, or what GENET_ISA says (plain,
 * avx2, avx512, amx).  With GENET_PIN=1 each thread but the caller's stays on a processor of its own. */
GENET_API genet_device *genet_device_cpu(int n_threads, genet_err *err);
/* The CPU behind addresses that fault when the host touches them: proves that
 * tensor memory is only reached through write, read and adopt. */
GENET_API genet_device *genet_device_guard(int n_threads, genet_err *err);
GENET_API void          genet_device_free(genet_device *d);
GENET_API const char   *genet_device_isa(const genet_device *d);
GENET_API int           genet_device_threads(const genet_device *d);

/* Memory on the device; addresses are opaque to the host. */
GENET_API void *genet_device_alloc(genet_device *d, size_t size_bytes, genet_err *err);
GENET_API void  genet_device_release(genet_device *d, void *address, size_t size_bytes);
GENET_API void  genet_device_write(genet_device *d, void *address, const void *from, size_t size_bytes);
GENET_API void  genet_device_read (genet_device *d, const void *address, void *to, size_t size_bytes);

/* --- plans --------------------------------------------------------------- */

typedef struct genet_compile_options {
    bool no_fuse;       /* one kernel an op: bit-equal, slower */
    bool poison;        /* fill memory with NaN before each reuse (tests) */
} genet_compile_options;

/* Compile what outputs (and the graph's effects) need.  options may be NULL.
 * The graph must outlive the plan. */
GENET_API genet_plan *genet_compile(genet_graph *g, genet_tensor *const outputs[], int n_outputs,
                                    genet_device *d, const genet_compile_options *options,
                                    genet_err *err);
GENET_API void        genet_plan_free(genet_plan *p);
/* Give the memory of a state tensor: a device address that holds it densely
 * in row-major order. */
GENET_API bool        genet_plan_bind(genet_plan *p, genet_tensor *state, void *address, genet_err *err);
/* Run on this workspace, growing it now where it is too small. */
GENET_API bool        genet_plan_attach(genet_plan *p, genet_workspace *w, genet_err *err);
/* size_bytes must be the tensor's exact size.  Every input that the plan needs
 * is written before every run: plans share memory and reuse it; a run with a
 * stale input is refused. Outputs are read before another plan runs. */
GENET_API bool        genet_plan_write(genet_plan *p, genet_tensor *input, const void *from,
                                       size_t size_bytes, genet_err *err);
GENET_API bool        genet_plan_read(genet_plan *p, genet_tensor *output, void *to,
                                      size_t size_bytes, genet_err *err);
GENET_API bool        genet_plan_run(genet_plan *p, genet_err *err);

typedef struct genet_plan_info {
    int     n_kernels;
    int     n_tensors;
    double  flops;              /* floating-point operations of one run */
    double  bytes;              /* read and written by kernels in one run */
    size_t  workspace_bytes;    /* peak memory of values */
    size_t  lower_bound_bytes;  /* no placement could do with less */
    size_t  naive_bytes;        /* without any sharing */
    size_t  state_bytes;        /* of the state tensors it uses */
} genet_plan_info;
GENET_API genet_plan_info genet_plan_describe(const genet_plan *p);
/* The kernels in order, one a line, with shapes, offsets and operations;
 * free with free(). */
GENET_API char *genet_plan_print(const genet_plan *p);

/* --- where the time goes ------------------------------------------------------ */

/* A clock on all kernels of a device's plans.  It begins stopped; stopped, or without one, nothing is
 * timed.  Values do not depend on it. */
typedef struct genet_profile genet_profile;

/* One for a device at a time, made and freed while none of its plans runs; the device outlives it. */
GENET_API genet_profile *genet_profile_new(genet_device *d, genet_err *err);
GENET_API void           genet_profile_free(genet_profile *p);
GENET_API void           genet_profile_start(genet_profile *p);
GENET_API void           genet_profile_stop(genet_profile *p);

/* What a kernel's operations are: how fast they can be differs by the types that are multiplied. */
typedef enum genet_arithmetic {
    GENET_ARITHMETIC_OTHER,     /* no products of matrices: elementwise, sums, norms, updates */
    GENET_ARITHMETIC_F32,       /* products of f32 with f32 */
    GENET_ARITHMETIC_MIXED,     /* of f32 with bf16 or f16 */
    GENET_ARITHMETIC_BF16,      /* of bf16 with bf16 or f16 */
    GENET_ARITHMETIC_INT8,      /* with weights in blocks (q8_0, q4_0) */
    GENET_ARITHMETIC_COUNT
} genet_arithmetic;

/* A kernel of a plan, over all its calls. */
typedef struct genet_profile_row {
    const char *op;             /* with what is fused to it: "matmul+add+gelu_tanh"; "compile", "write", "read" of a
                                   plan, and "threads" (from calling a plan to its first kernel) are rows too */
    const char *shapes;         /* of its inputs: "[1024,768] [768,3072]"; types other than f32 before theirs */
    const char *name;           /* its result's, with scope: "h.3.mlp"; may be "" */
    bool    kernel;             /* false: host work around the kernels */
    int64_t calls;
    double  seconds;            /* as the clock on the wall ran */
    double  busy_s;             /* at work, all threads added; the rest of threads * seconds they waited */
    double  flops, bytes;       /* of all calls; bytes count each operand once */
    genet_arithmetic arithmetic;    /* what the operations are, mostly */
} genet_profile_row;
/* How many there are; *rows, in the order in which they first ran, is valid until a plan runs or is compiled. */
GENET_API int    genet_profile_rows(const genet_profile *p, const genet_profile_row **rows);
/* Between start and stop, whatever happened. */
GENET_API double genet_profile_seconds(const genet_profile *p);
/* What each thread did when, as JSON in Chrome's trace event format (chrome://tracing, Perfetto open it); the first
 * million pieces.  Free with free(). */
GENET_API char  *genet_profile_trace(const genet_profile *p, genet_err *err);

/* Memory that plans take turns in. */
GENET_API genet_workspace *genet_workspace_new(genet_device *d);
GENET_API void             genet_workspace_free(genet_workspace *w);

#include "genet/ops.h"

#ifdef __cplusplus
}
#endif
#endif
