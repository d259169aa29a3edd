/* device.h - HOW kernels run: the interface between plans and devices.
 *
 * A plan is an array of launches.  A launch names a kernel and its operands;
 * a kernel cuts its work into tasks BY SHAPE ALONE, in one or more phases:
 * all tasks of a phase may run in any order on any thread, phases follow each
 * other.  So results never depend on the number of threads.  The device runs
 * the array with one fork, a barrier between phases, and no allocation; launches
 * that stand beside each other share their phases. */
#ifndef GENET_DEVICE_DEVICE_H
#define GENET_DEVICE_DEVICE_H
#include "graph/graph.h"

/* A tensor as a kernel sees it. data is NULL for an absent optional input and
 * for a side that nobody reads. */
typedef struct operand {
    char   *data;                   /* first element */
    dtype   dtype;
    int     rank;
    int64_t dim[MAX_DIM], stride[MAX_DIM];      /* elements */
} operand;

enum { LAUNCH_MAX_ARG = 24, LAUNCH_MAX_BESIDE = 63, LOCAL_BYTES = 2 << 20 };

/* Outputs (main, then all sides) come first in arg, then n_in inputs, then
 * what the elementwise program reads and writes beside them. */
typedef struct launch {
    const struct kernel *kernel;
    const op   *op;
    attr        attr;
    int         n_out, n_in, n_arg;
    operand    *arg;
    const struct ew_program *program;   /* elementwise group, or a kernel's epilogue; may be NULL */
    const struct ew_program *before;    /* of a kernel of whole rows: makes rows of an input; may be NULL */
    char       *shared;                 /* shared_bytes, for all tasks and phases of this launch */
    size_t      shared_bytes;
    int         beside;                 /* so many launches that follow run at the same time as this one: none
                                           touches what another of them writes; LAUNCH_MAX_BESIDE at most */
} launch;
static inline const operand *launch_out(const launch *l, int k) { return &l->arg[k]; }
static inline const operand *launch_in (const launch *l, int k) { return &l->arg[l->n_out + k]; }

typedef struct kernel {
    /* Number of phases; NULL: 1. */
    int     (*phases)(const launch *l);
    /* Number of tasks of a phase; by shape alone. 0 is fine. */
    int64_t (*tasks)(const launch *l, int phase);
    /* Do one task.  local: LOCAL_BYTES of this thread's own memory, 64-byte
     * aligned, contents undefined. */
    void    (*run)(const launch *l, int phase, int64_t task, char *local);
    /* Bytes of memory shared by all tasks (partial sums, packed panels),
     * planned like a tensor; contents undefined.  NULL: none.  Asked when the
     * plan is made: operands' data say present or absent, and point nowhere. */
    size_t  (*shared)(const launch *l);
} kernel;

/* --- elementwise programs ---------------------------------------------------
 * A group of elementwise ops in straight-line code, run in blocks that stay
 * in L1.  Every register is a block of one type.  The unfused graph runs the
 * same functions, one instruction a program: bit-equal by construction. */

enum { EW_BLOCK = 512, EW_MAX_REG = 48, EW_MAX_TEMP = 20 };

/* y[i] = f(a[i], b[i], c[i]) for i < n, dense; y may be exactly a, b or c.
 * p: the op's attributes. */
typedef void ew_fn(void *y, const void *a, const void *b, const void *c, int64_t n, const double *p);

typedef enum ew_kind { EW_TEMP, EW_ARG, EW_CONST, EW_WHOLE } ew_kind;

/* TEMP: a block of local memory, number `slot` (slots are reused when a value
 * dies).  ARG: operand `arg` of the launch, with as many elements as the
 * program (a broadcast input has stride 0); operands may factor that number
 * differently, so a flat index is split by the OPERAND's own dims.  Read and
 * written in place where it is dense over the block, else gathered at the
 * start of the block into `slot`, which is its own.  CONST: `value` in every
 * element of `slot`, its own; filled once a call.  WHOLE: operand `arg` as it is. */
typedef struct ew_reg { ew_kind kind; dtype dtype; int arg, slot; double value; } ew_reg;
/* Registers; -1: none.  indexed: c is the flat index of the block's first element, an int64_t. */
typedef struct ew_instr { ew_fn *fn; int y, a, b, c; bool indexed; double p[ATTR_F]; } ew_instr;

typedef struct ew_program {
    shape     space;            /* the group's shape; a flat index runs over it row-major */
    int64_t   numel;
    int       n_reg, n_instr, n_slot;
    ew_reg   *reg;
    ew_instr *instr;
} ew_program;

/* --- what a run writes down when asked ---------------------------------------- */

/* One thread's part in a phase of a launch: ns of a monotonic clock from its first task for as long as its tasks took;
 * n_task 0: it came too late for any, or there were none. */
typedef struct phase_part { int64_t begin_ns, end_ns, n_task; } phase_part;
/* part[thread * n_phase + phase]; phases are counted over all launches of the run. */
typedef struct recorder { phase_part *part; int n_phase; } recorder;
static inline int genet__launch_phases(const launch *l) { return l->kernel->phases ? l->kernel->phases(l) : 1; }
int64_t genet__device_now_ns(void);

/* --- the table of one instruction set --------------------------------------- */

typedef struct kernel_table {
    const char         *isa;
    const kernel *const *op;            /* [OP_COUNT]; NULL: no kernel, use the definition */
    ew_fn *const       *ew;             /* [OP_COUNT] elementwise functions of this table's type */
    ew_fn *const      (*cast)[GENET_DTYPE_COUNT];       /* [from][to]; [t][t] copies */
    const kernel       *elementwise;    /* runs a launch that is only a program */
} kernel_table;

/* real = float for plain, avx2, avx512, amx; double; int32_t (elementwise only). */
extern const kernel_table genet__kernels_plain, genet__kernels_avx2, genet__kernels_avx512, genet__kernels_amx,
                          genet__kernels_f64, genet__kernels_i32;
/* Bytes moved whatever their type; compiled once: concat, pad, gather, ... */
extern const kernel *const genet__move_kernels[OP_COUNT];

/* --- a device --------------------------------------------------------------- */

struct genet_device {
    const char *name;           /* "cpu", "guard" */
    void  *(*alloc)(genet_device *d, size_t size_bytes, genet_err *err);    /* 64-byte aligned, zeroed */
    void   (*release)(genet_device *d, void *address, size_t size_bytes);
    /* Only parts of this fresh memory may ever be touched: small pages will do; NULL: it makes no difference. */
    void   (*sparse)(genet_device *d, void *address, size_t size_bytes);
    void   (*write)(genet_device *d, void *address, const void *from, size_t n);
    void   (*read)(genet_device *d, const void *address, void *to, size_t n);
    /* Use host memory (a mapped file) in place; NULL: the device cannot. */
    void  *(*adopt)(genet_device *d, const void *host, size_t n);
    /* Run launches in order.  Operands' data are this device's addresses.  r: NULL, or times are written there. */
    bool   (*run)(genet_device *d, const launch *l, int n, recorder *r, genet_err *err);
    /* Run fn(arg, thread) on each of the device's threads: host work that they share. */
    void   (*share)(genet_device *d, void (*fn)(void *arg, int thread), void *arg);
    /* The kernel for an op computed in type t (f32, f64, i32), or NULL. */
    const kernel *(*kernel)(const genet_device *d, op_id id, dtype t);
    /* Elementwise function of an op on type t; of a cast (or copy). */
    ew_fn *(*ew)(const genet_device *d, op_id id, dtype t);
    ew_fn *(*cast)(const genet_device *d, dtype from, dtype to);
    const kernel *elementwise;
    void   (*free)(genet_device *d);
    const char *isa;
    int     n_threads;
    struct genet_profile *profile;      /* what times its plans, or NULL */
    uint64_t n_profiles;        /* there were so far */
    ptrdiff_t delta;            /* added to addresses to reach real memory (guard) */
};

/* The instruction set that GENET_ISA names, or the best one here. */
const kernel_table *genet__cpu_table(genet_err *err);
/* The tables of float that run here, the best first; returns how many. */
enum { CPU_TABLES = 4 };
int genet__cpu_tables(const kernel_table *out[CPU_TABLES]);
#endif
