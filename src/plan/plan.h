/* plan.h - from a graph to launches.  The stages, one file each:
 *
 *   compile.c   lower (no kernel here: the definition) and prune into a graph
 *               of its own, insert copies, check state
 *   fuse.c      nodes to steps: elementwise runs, alone and around kernels
 *   place.c     lifetimes, sharing of storage, offsets
 *   beside.c    which launches run at the same time
 *   run.c       the plan as its users see it
 *   profile.c   where its time goes, when asked
 */
#ifndef GENET_PLAN_PLAN_H
#define GENET_PLAN_PLAN_H
#include "base/str.h"
#include "device/device.h"
#include "plan/work.h"

enum { PLAN_MAX_MEMBER = 24 };      /* of a fused group */

/* One launch to be: an op with a kernel, elementwise members before and after it
 * (an epilogue), or elementwise members alone. */
typedef struct step {
    tensor  *head;              /* NULL: elementwise only */
    tensor **member;
    int      n_member, n_before;    /* the first n_before members make an input of the head, the others follow it */
    int      position;          /* id of the last node: the order of steps */
    int64_t  numel;
} step;

/* A piece of workspace memory shared by tensors whose lives do not meet. */
typedef struct block {
    int64_t size_bytes, offset;
    int     birth, death;       /* first and last step that needs it */
    int     parent;             /* block that it is a part of, or -1 */
    int64_t parent_offset;
    bool    fixed;              /* holds a leaf: never overwritten */
} block;

typedef struct state_slot { tensor *state; char *address; size_t size_bytes; } state_slot;

struct genet_plan {
    graph        *source, *graph;       /* the user's, and the lowered one (owned) */
    genet_device *device;
    genet_compile_options options;
    arena         arena;
    tensor      **lowered;              /* by id in source; NULL: pruned */
    int           n_source;
    tensor      **output;               /* lowered */
    int           n_output;

    step         *step;
    int           n_step;
    int          *step_of;              /* by id of a lowered op result: its step, or -1 */
    int           max_member;           /* of a group, halved when one outgrows a program */
    bool          too_large;            /* and must be split */
    bool         *stored;               /* by id: read from memory by someone */

    block        *block;
    int           n_block, cap_block;
    int          *block_of;             /* by id of a lowered root: block, or -1 */
    int          *scratch;              /* by step: block of its shared memory, or -1 */

    launch       *launch;               /* n_step of them */
    tensor     ***arg;                  /* by step: what each operand shows, or NULL */
    int          *state_of;             /* by id of a lowered state: its slot */
    state_slot   *state;
    int           n_state;
    char         *base;                 /* of the workspace the operands are resolved for */
    bool          resolved;
    bool         *written;              /* by id in source: this input, since the last run */
    uint64_t      serial;               /* among the plans of its workspace */
    bool          ran;                  /* since it took the workspace */
    struct genet_workspace *workspace;
    int          *profile_row;          /* by step: its row in the profile with this number, or NULL */
    uint64_t      profile_number;
    genet_plan_info info;
};

bool genet__plan_lower(genet_plan *p, genet_tensor *const outputs[], int n, genet_err *err);
bool genet__plan_fuse(genet_plan *p, genet_err *err);
bool genet__plan_launches(genet_plan *p, genet_err *err);      /* launch.c */
bool genet__plan_place(genet_plan *p, genet_err *err);
/* Once it is known which tensors share a block. (beside.c) */
void genet__plan_beside(genet_plan *p);
bool genet__launch_writes(const launch *l, int arg);            /* place.c */

/* Operations and operand bytes of a step, and the kind of its operations. */
double genet__plan_flops(const genet_plan *p, int s);
double genet__plan_bytes(const genet_plan *p, int s);
genet_arithmetic genet__plan_arithmetic(const genet_plan *p, int s);

/* "matmul+add+relu" */
void   genet__plan_step_words(const step *st, str *s);

/* Run all launches, timed when the device has a profile that was started. */
bool    genet__profile_run(genet_plan *p, genet_err *err);
/* Now, when a profile runs, else 0; and host work that began then. */
int64_t genet__profile_now(const genet_device *d);
void    genet__profile_host(genet_device *d, const char *what, int64_t began_ns, double bytes);

/* The kernel this device has for y's op and type, or NULL. */
const kernel *genet__plan_kernel(const genet_plan *p, const tensor *y);

/* The tensor whose computation t's value comes from: through views. */
static inline tensor *genet__plan_producer(tensor *t)
{
    while (t->op->flags & OPF_VIEW) t = t->in[0];
    return t;
}
/* t shows all of its root's storage densely: element i of both is the same. */
static inline bool genet__plan_whole(const tensor *t)
{
    return t->start == 0 && genet__is_dense(t) && genet__numel(&t->shape) == genet__numel(&t->root->shape);
}
static inline bool genet__plan_is_ew(const tensor *t) { return t->op->flags & OPF_ELEMENTWISE; }
static inline bool genet__plan_in_workspace(const tensor *t) { return !genet__op_is(t->root, OP_state); }
/* A constant that elementwise programs hold in a register. */
static inline bool genet__plan_is_const(tensor *t) { return genet__op_is(genet__plan_producer(t), OP_full); }
#endif
