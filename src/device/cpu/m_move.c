/* m_move.c - kernels that move bytes whatever their type: full, iota, concat,
 * pad, flip, gather, gather_last, write_at.  Compiled once, for the baseline.
 *
 * Tasks are ranges of CHUNK_BYTES over the flat row-major elements of what is
 * written; a range begins and ends anywhere, so that one long row is shared as
 * well as many short ones.  Copies run over a window: a box of elements with
 * one stride for the source and one for the destination, whose dimensions were
 * merged as far as both sides allow.  The innermost one is a memcpy where both
 * sides are dense. */
#include "base/half.h"
#include "base/quant.h"
#include "device/cpu/kernel.h"

enum { CHUNK_BYTES = 64 << 10 };

/* Element types of each size that may alias any other. */
typedef uint8_t  __attribute__((may_alias)) any8;
typedef uint16_t __attribute__((may_alias)) any16;
typedef uint32_t __attribute__((may_alias)) any32;
typedef uint64_t __attribute__((may_alias)) any64;

#define FOR_SIZE(size, DO)                                                      \
    switch (size) {                                                             \
    case 1:  DO(any8)  break;                                                   \
    case 2:  DO(any16) break;                                                   \
    case 4:  DO(any32) break;                                                   \
    default: DO(any64) break;                                                   \
    }

/* --- ranges of flat elements --------------------------------------------------- */

typedef struct range { int64_t first, last; } range;

/* A chunk's worth of elements of this size a task. */
/* of quantised ones: a block's bytes */
static int64_t element_bytes(const operand *o) { return (int64_t)genet_dtype_bytes(o->dtype, 1); }
static int64_t range_count(int64_t numel, int64_t size) { return ceil_div(numel, CHUNK_BYTES / size); }
static range range_of(int64_t numel, int64_t size, int64_t task)
{
    int64_t n = CHUNK_BYTES / size;
    return (range){ task * n, min_i64((task + 1) * n, numel) };
}
static int64_t out_tasks(const launch *l, int phase)
{
    (void)phase;
    return range_count(operand_numel(launch_out(l, 0)), element_bytes(launch_out(l, 0)));
}
static range out_range(const launch *l, int64_t task)
{
    return range_of(operand_numel(launch_out(l, 0)), element_bytes(launch_out(l, 0)), task);
}

/* --- windows --------------------------------------------------------------------- */

/* Strides in bytes; from may be negative. */
typedef struct window { int rank; int64_t dim[MAX_DIM], from[MAX_DIM], to[MAX_DIM]; } window;

/* Add an inner dimension, merging it with the one before where both sides go on
 * without a gap. */
static void window_add(window *w, int64_t dim, int64_t from, int64_t to)
{
    int k = w->rank - 1;
    if (dim == 1) return;
    if (k >= 0 && w->from[k] == from * dim && w->to[k] == to * dim) {
        w->dim[k] *= dim;
        w->from[k] = from;
        w->to[k] = to;
        return;
    }
    w->dim[++k] = dim;
    w->from[k] = from;
    w->to[k] = to;
    w->rank = k + 1;
}

/* n elements, steps in bytes. */
#define COPY_STRIDED(type)                                                      \
    for (int64_t i = 0; i < n; i++)                                             \
        *(type *)(to + i * step_to) = *(const type *)(from + i * step_from);

static void copy_row(char *to, int64_t step_to, const char *from, int64_t step_from, int64_t n, int64_t size)
{
    if (step_to == size && step_from == size) {
        memcpy(to, from, (size_t)(n * size));
        return;
    }
    FOR_SIZE(size, COPY_STRIDED)
}

/* Copy the window's flat elements [first, last): find the place of the first
 * one, then go on run by run of the innermost dimension, like an odometer. */
static void window_copy(const window *w, char *to, const char *from, int64_t size, int64_t first, int64_t last)
{
    int inner = w->rank - 1;
    int64_t at[MAX_DIM] = {0}, rest = first;
    if (inner < 0) {                                    /* a single element */
        if (first < last) memcpy(to, from, (size_t)size);
        return;
    }
    for (int k = inner; k >= 0; k--) {
        at[k] = rest % w->dim[k];
        rest /= w->dim[k];
        from += at[k] * w->from[k];
        to   += at[k] * w->to[k];
    }
    while (first < last) {
        int64_t n = min_i64(w->dim[inner] - at[inner], last - first);
        copy_row(to, w->to[inner], from, w->from[inner], n, size);
        first += n;
        at[inner] += n;
        from += n * w->from[inner];
        to   += n * w->to[inner];
        for (int k = inner; k > 0 && at[k] == w->dim[k]; k--) {     /* carry */
            from += w->from[k - 1] - at[k] * w->from[k];
            to   += w->to[k - 1] - at[k] * w->to[k];
            at[k] = 0;
            at[k - 1]++;
        }
    }
}

/* --- values -------------------------------------------------------------------------- */

/* Conversions saturate, so that no value is undefined behaviour. */
static void store_value(char *to, dtype type, double value)
{
    double whole = value != value ? 0 : value;
    switch (type) {
    case GENET_F32:  *(float *)to = (float)value; break;
    case GENET_F64:  *(double *)to = value; break;
    case GENET_BF16: *(uint16_t *)to = genet__to_bf16((float)value); break;
    case GENET_F16:  *(uint16_t *)to = genet__to_f16((float)value); break;
    case GENET_I32:  *(int32_t *)to = (int32_t)fmin(fmax(whole, INT32_MIN), INT32_MAX); break;
    default:         *(uint8_t *)to = (uint8_t)fmin(fmax(whole, 0), UINT8_MAX); break;
    }
}

#define FILL(type) for (int64_t i = 0; i < n; i++) ((type *)to)[i] = *(const type *)value;
static void fill(char *to, const void *value, int64_t n, int64_t size)
{
    FOR_SIZE(size, FILL)
}

/* --- constants: attr f[0] is the value, or the start, and f[1] the step ------------- */

static void run_full(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    const operand *y = launch_out(l, 0);
    int64_t size = element_bytes(y);
    range r = out_range(l, task);
    _Alignas(8) char value[8];
    store_value(value, y->dtype, l->attr.f[0]);
    fill(y->data + r.first * size, value, r.last - r.first, size);
}
const kernel genet__k_full_move = { .tasks = out_tasks, .run = run_full };

static void run_iota(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    const operand *y = launch_out(l, 0);
    double start = l->attr.f[0], step = l->attr.f[1];
    int64_t size = element_bytes(y);
    range r = out_range(l, task);
    for (int64_t i = r.first; i < r.last; i++)
        store_value(y->data + i * size, y->dtype, start + step * (double)i);
}
const kernel genet__k_iota_move = { .tasks = out_tasks, .run = run_iota };

/* --- concat: each input fills a box of y; tasks count through the inputs ---------- */

/* Where input x, which begins at `offset` along the axis, goes; its number of
 * tasks.  None when a plan made it right there. */
static int64_t concat_part(const launch *l, const operand *x, int64_t offset, char **to)
{
    const operand *y = launch_out(l, 0);
    *to = y->data + offset * y->stride[l->attr.i[0]] * element_bytes(y);
    return *to == x->data ? 0 : range_count(operand_numel(x), element_bytes(x));
}

static int64_t concat_tasks(const launch *l, int phase)
{
    (void)phase;
    int64_t n = 0, offset = 0;
    char *to;
    for (int k = 0; k < l->n_in; k++) {
        n += concat_part(l, launch_in(l, k), offset, &to);
        offset += launch_in(l, k)->dim[l->attr.i[0]];
    }
    return n;
}

static void run_concat(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    const operand *y = launch_out(l, 0), *x = launch_in(l, 0);
    int64_t size = element_bytes(y), offset = 0;
    char *to;
    for (int64_t n; task >= (n = concat_part(l, x, offset, &to)); x++) {
        task -= n;
        offset += x->dim[l->attr.i[0]];
    }
    window w = {0};
    for (int i = 0; i < x->rank; i++) window_add(&w, x->dim[i], x->stride[i] * size, y->stride[i] * size);
    range r = range_of(operand_numel(x), size, task);
    window_copy(&w, to, x->data, size, r.first, r.last);
}
const kernel genet__k_concat_move = { .tasks = concat_tasks, .run = run_concat };

/* --- flip: a window whose source runs backwards along the axis --------------------- */

static void run_flip(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    const operand *y = launch_out(l, 0), *x = launch_in(l, 0);
    int64_t size = element_bytes(y), axis = l->attr.i[0];
    window w = {0};
    for (int i = 0; i < x->rank; i++)
        window_add(&w, x->dim[i], x->stride[i] * (i == axis ? -size : size), y->stride[i] * size);
    range r = out_range(l, task);
    window_copy(&w, y->data, x->data + (x->dim[axis] - 1) * x->stride[axis] * size, size, r.first, r.last);
}
const kernel genet__k_flip_move = { .tasks = out_tasks, .run = run_flip };

/* --- pad -------------------------------------------------------------------------------- */

/* The input's box inside y, unpadded inner dimensions merged into the one
 * before; steps of x in elements. */
enum { PAD_DIM = MAX_DIM + 1 };     /* one of extent 1 comes first */
typedef struct pad_box { int rank; int64_t dim[PAD_DIM], before[PAD_DIM], inside[PAD_DIM], step[PAD_DIM]; } pad_box;

static pad_box pad_box_of(const launch *l)
{
    const operand *x = launch_in(l, 0), *y = launch_out(l, 0);
    pad_box b = { .rank = 1, .dim = { 1 }, .inside = { 1 } };
    for (int i = 0; i < x->rank; i++) {
        int k = b.rank - 1;
        int64_t n = x->dim[i];
        bool whole = y->dim[i] == n;
        if (whole && (b.step[k] == n * x->stride[i] || b.inside[k] == 1)) {
            b.dim[k] *= n;
            b.before[k] *= n;
            b.inside[k] *= n;
        } else {
            k = b.rank++;
            b.dim[k] = y->dim[i];
            b.before[k] = l->attr.i[i];
            b.inside[k] = n;
        }
        b.step[k] = x->stride[i];
    }
    return b;
}

/* Columns [first, last) of one row of y; from: the row of x, or NULL where the
 * row lies outside the box. */
static void pad_row(const pad_box *b, char *to, const char *from, const void *value, int64_t size, int64_t first,
                    int64_t last)
{
    int k = b->rank - 1;
    int64_t begin = from ? min_i64(max_i64(b->before[k], first), last) : last;
    int64_t end = from ? max_i64(min_i64(b->before[k] + b->inside[k], last), begin) : last;
    fill(to, value, begin - first, size);
    if (end > begin)
        copy_row(to + (begin - first) * size, size, from + (begin - b->before[k]) * b->step[k] * size,
                 b->step[k] * size, end - begin, size);
    fill(to + (end - first) * size, value, last - end, size);
}

static void run_pad(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    const operand *x = launch_in(l, 0), *y = launch_out(l, 0);
    pad_box b = pad_box_of(l);
    int64_t size = element_bytes(y), width = b.dim[b.rank - 1];
    _Alignas(8) char value[8];
    store_value(value, y->dtype, l->attr.f[0]);
    range r = out_range(l, task);
    while (r.first < r.last) {                          /* one row, or what is left of it */
        int64_t row = r.first / width, column = r.first % width, n = min_i64(width - column, r.last - r.first);
        const char *from = x->data;
        for (int k = b.rank - 2; k >= 0; k--) {
            int64_t at = row % b.dim[k] - b.before[k];
            row /= b.dim[k];
            if (at < 0 || at >= b.inside[k]) from = NULL;
            if (from) from += at * b.step[k] * size;
        }
        pad_row(&b, y->data + r.first * size, from, value, size, column, column + n);
        r.first += n;
    }
}
const kernel genet__k_pad_move = { .tasks = out_tasks, .run = run_pad };

/* --- gather ------------------------------------------------------------------------------ */

/* Rows of one element: index i of [first, last) picks it. */
#define GATHER_SINGLE(type)                                                     \
    for (int64_t i = r.first; i < r.last; i++) {                                \
        int64_t at = index[i];                                                  \
        ((type *)y->data)[i] = at >= 0 && at < rows ? ((const type *)x->data)[at] : 0; \
    }

/* Blocks move as one element each. */
static int64_t elements_moved(const operand *o) { return genet__is_blocks(o->dtype) ? QUANT_BLOCK : 1; }

static int64_t gather_tasks(const launch *l, int phase)
{
    (void)phase;
    const operand *y = launch_out(l, 0);
    return range_count(operand_numel(y) / elements_moved(y), element_bytes(y));
}

static void run_gather(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    const operand *y = launch_out(l, 0), *x = launch_in(l, 0);
    const int32_t *index = (const int32_t *)launch_in(l, 1)->data;
    int64_t size = element_bytes(y), rows = x->dim[0], width = 1, unit = elements_moved(y);
    for (int i = 1; i < x->rank; i++) width *= x->dim[i];
    width /= unit;
    range r = range_of(operand_numel(y) / unit, size, task);
    if (width == 1 && unit == 1) {
        FOR_SIZE(size, GATHER_SINGLE)
        return;
    }
    while (r.first < r.last) {
        int64_t column = r.first % width, at = index[r.first / width], n = min_i64(width - column, r.last - r.first);
        char *to = y->data + r.first * size;
        if (at >= 0 && at < rows) memcpy(to, x->data + (at * width + column) * size, (size_t)(n * size));
        else memset(to, 0, (size_t)(n * size));
        r.first += n;
    }
}
const kernel genet__k_gather_move = { .tasks = gather_tasks, .run = run_gather };

/* index and y (rows, picks), x (rows, width). */
#define GATHER_LAST(type)                                                       \
    for (int64_t i = r.first, end, row = i / picks; i < r.last; row++) {        \
        const type *from = (const type *)x->data + row * width;                 \
        for (end = min_i64((row + 1) * picks, r.last); i < end; i++)            \
            ((type *)y->data)[i] = index[i] >= 0 && index[i] < width ? from[index[i]] : 0; \
    }

static void run_gather_last(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    const operand *y = launch_out(l, 0), *x = launch_in(l, 0);
    const int32_t *index = (const int32_t *)launch_in(l, 1)->data;
    int64_t width = x->dim[x->rank - 1], picks = y->dim[y->rank - 1];
    range r = out_range(l, task);
    FOR_SIZE(element_bytes(y), GATHER_LAST)
}
const kernel genet__k_gather_last_move = { .tasks = out_tasks, .run = run_gather_last };

/* --- write_at ------------------------------------------------------------------------------ */

/* value is batch x rows x (inner dimensions); without a batch it is 1 x rows. */
typedef struct write_plan { int64_t batch, rows, inner; int axis; window w; } write_plan;

static write_plan write_plan_of(const launch *l)
{
    const operand *state = launch_out(l, 0), *value = launch_in(l, 1);
    int64_t size = element_bytes(state);
    write_plan p = { .axis = launch_in(l, 2)->rank, .inner = 1 };
    p.batch = p.axis ? value->dim[0] : 1;
    p.rows = value->dim[p.axis];
    for (int i = p.axis + 1; i < value->rank; i++) {
        window_add(&p.w, value->dim[i], value->stride[i] * size, state->stride[i] * size);
        p.inner *= value->dim[i];
    }
    return p;
}

/* Rows of value a task. */
static int64_t write_block(const launch *l, const write_plan *p)
{
    return max_i64(1, CHUNK_BYTES / max_i64(1, p->inner * element_bytes(launch_out(l, 0))));
}

static int64_t write_at_tasks(const launch *l, int phase)
{
    (void)phase;
    write_plan p = write_plan_of(l);
    return p.inner ? ceil_div(p.batch * p.rows, write_block(l, &p)) : 0;
}

/* The result's memory is the state's: only the rows that are written move. */
static void run_write_at(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase, (void)local;
    const operand *state = launch_out(l, 0), *value = launch_in(l, 1), *position = launch_in(l, 2);
    write_plan p = write_plan_of(l);
    int64_t size = element_bytes(state), block = write_block(l, &p), rows = state->dim[p.axis];
    int64_t step_batch[2] = { p.axis ? state->stride[0] : 0, p.axis ? value->stride[0] : 0 };
    for (int64_t i = task * block; i < min_i64((task + 1) * block, p.batch * p.rows); i++) {
        int64_t b = i / p.rows, row = i % p.rows;
        int64_t at = row + ((const int32_t *)position->data)[p.axis ? b * position->stride[0] : 0];
        if (at < 0 || at >= rows) continue;
        char *to = state->data + (b * step_batch[0] + at * state->stride[p.axis]) * size;
        const char *from = value->data + (b * step_batch[1] + row * value->stride[p.axis]) * size;
        window_copy(&p.w, to, from, size, 0, p.inner);
    }
}
const kernel genet__k_write_at_move = { .tasks = write_at_tasks, .run = run_write_at };
