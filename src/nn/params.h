/* params.h - params: named tensors that outlive a run, on one device: weights,
 * running statistics, optimiser state, caches.
 *
 * A graph asks for a tensor by name where it uses it; the first graph that
 * does declares it, every later one must ask for the same shape and type.
 * Memory comes afterwards, in one piece for all that was declared since the
 * last time.  Nobody above this floor sees an address. */
#ifndef GENET_NN_PARAMS_H
#define GENET_NN_PARAMS_H
#include "base/arena.h"
#include "base/file.h"
#include "base/map.h"
#include "graph/graph.h"

typedef enum param_kind {
    PARAM_WEIGHT    = 1,    /* learned; saved with the model */
    PARAM_BUFFER    = 2,    /* carried along, not learned; saved with the model */
    PARAM_OPTIMISER = 4,    /* moments; saved by a training run only */
    PARAM_CACHE     = 8,    /* outlives a run, never saved: keys and values, summed gradients */
    PARAM_DERIVED   = 16,   /* a weight's values in another type: follows every write to it, never saved */
    PARAM_FIXED     = 32    /* what the config alone decides (a table of angles): never written, never saved */
} param_kind;

/* How a fresh tensor begins.  Draws are counters (seed, hash of the name,
 * index): independent of order and threads. */
typedef enum init_kind {
    INIT_DEFAULT,           /* what the layer does by default; else zeros */
    INIT_ZEROS, INIT_ONES,
    INIT_NORMAL,            /* mean 0, standard deviation a */
    INIT_UNIFORM,           /* in [-a, a) */
    INIT_XAVIER,            /* uniform, a * sqrt(6 / (fan_in + fan_out)); Glorot & Bengio 2010 */
    INIT_KAIMING,           /* uniform, a * sqrt(3 / fan_in); He et al. 2015, arXiv 1502.01852 */
    INIT_GIVEN              /* the values of a fixed one */
} init_kind;
typedef struct init { init_kind kind; double a; int64_t fan_in, fan_out; } init;
#define INIT_OF_ZEROS   ((init){ INIT_ZEROS, 0, 0, 0 })
#define INIT_OF_ONES    ((init){ INIT_ONES, 0, 0, 0 })
#define INIT_OF_NORMAL(std) ((init){ INIT_NORMAL, std, 0, 0 })

/* Who reads a weight: any op; products alone; products, and gather, which picks rows of it.  For those that are not
 * read by any op the type in which a file has them will do. */
typedef enum param_use { USE_ANY, USE_FACTOR, USE_TABLE } param_use;

typedef struct param {
    const char *name;
    param_kind  kind;
    dtype       dtype;
    shape       shape;
    init        init;
    param_use   use;
    bool        in_out;             /* a factor (depth, columns): blocks would run along its columns */
    bool        transposed;         /* a factor that lies as its transpose, which is what shape says */
    bool        frozen;             /* a weight that is not to be trained */
    bool        filled;             /* has been given values */
    bool        adopted;            /* lies in a mapped file: never written */
    struct param *derived;          /* of a weight: its form in another type, or NULL */
    const double *given;            /* of INIT_GIVEN: its values */
    void       *address;            /* on the device; NULL until placed */
    size_t      size_bytes;
} param;

typedef struct params {
    const struct lora *lora;        /* these are an adapter's, of what is shared; else NULL */
    const struct params *shared;    /* where weights and buffers are, read-only; NULL: here */
    arena         arena;
    genet_device *device;
    uint64_t      seed;
    param       **at;               /* in order of declaration */
    int           n, cap;
    map           by_name;
    struct params_block { void *address; size_t size_bytes; } *block;
    int           n_block, cap_block;
    mapped       *file;             /* mapped files that adopted params lie in */
    int           n_file, cap_file;
} params;

/* NULL when out of memory.  The device must outlive it. */
params *genet__params_new(genet_device *d, uint64_t seed, genet_err *err);
void    genet__params_free(params *p);
/* State of one's own (caches) beside the weights and buffers of `shared`, which
 * outlives it and may serve many of these at once: on many threads, as long
 * as nothing is declared in it or written to it. */
params *genet__params_beside(const params *shared, genet_err *err);

/* The state tensor NAME (in g's scope), declared now if it is new; one node a
 * graph.  Another shape or type than before poisons the graph. */
tensor *genet__params_tensor(params *p, graph *g, const char *name, param_kind kind, dtype type,
                             int rank, const int64_t *dim, init how);
/* A constant of the model, of this shape: values (copied, when this declares it; else they may be NULL)
 * are its elements. */
tensor *genet__params_fixed(params *p, graph *g, const char *name, int rank, const int64_t *dim, const double *values);
/* The bf16 form of the weight whose node in g is `weight` (or a state of its name), declared now if it is new.
 * What writes the weight refreshes it: these functions themselves; a graph that updates the weight must do so too. */
tensor *genet__params_derived(params *p, tensor *weight);
/* A weight (rows, columns) that is read by products and gather alone, which take it as it lies: f32, or as
 * genet__params_store has said.  The value of a transposed one is a view. */
tensor *genet__params_matrix(params *p, graph *g, const char *name, param_use use, bool in_out, int64_t rows,
                             int64_t columns, init how);
/* w, which has no memory yet and is of USE_FACTOR or USE_TABLE, is of this type from now on. */
void genet__params_store(param *w, dtype type, bool transposed);
/* The state node of g with this full name, or NULL. */
tensor *genet__params_node(const graph *g, const char *name);
/* The first failure of building g, as an error. */
bool genet__graph_ok(const graph *g, genet_err *err);
/* Memory for all that has none yet. */
bool genet__params_place(params *p, genet_err *err);
/* Use the values at `at` in host memory in place: w's address from now on, read-
 * only.  false: the device cannot, `at` is not aligned for w's type, or w has
 * memory already; then nothing changed. */
bool genet__params_adopt(params *p, param *w, const void *at);
/* f stays mapped until p is freed; p owns it from now on, also when this fails. */
bool genet__params_keep(params *p, mapped f, genet_err *err);
/* Bytes that these params took of the device: adopted ones took none. */
size_t genet__params_placed_bytes(const params *p);
/* w's derived form from its values, where both have memory. */
bool genet__params_refresh(params *p, param *w, genet_err *err);
/* Initial values for all that has none yet. */
bool genet__params_fill(params *p, genet_err *err);
/* Bind every state tensor of g that plan p runs on. */
bool genet__params_bind(params *p, const graph *g, genet_plan *plan, genet_err *err);

param *genet__params_find(const params *p, const char *name);
/* size_bytes is checked against the param's; adopted ones are not written. */
bool genet__params_write(params *p, param *w, const void *from, size_t size_bytes, genet_err *err);
bool genet__params_read(const params *p, const param *w, void *to, size_t size_bytes, genet_err *err);
/* n elements of a param that has memory, from element `first` on. */
void genet__params_read_part(const params *p, const param *w, int64_t first, int64_t n, void *to);
/* Back to zeros or to the initial values: all of these kinds (mask). */
bool genet__params_reset(params *p, unsigned kinds, genet_err *err);

/* Freeze (or thaw) the weights whose names begin with prefix; how many. */
int     genet__params_freeze(params *p, const char *prefix, bool frozen);
/* Elements and bytes of these kinds (mask), placed or not. */
int64_t genet__params_numel(const params *p, unsigned kinds);
size_t  genet__params_bytes(const params *p, unsigned kinds);
#endif
