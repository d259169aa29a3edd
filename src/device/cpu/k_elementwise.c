/* k_elementwise.c - the functions of elementwise.def for this build's type,
 * casts between all types, and ew_run, which runs a program of them in blocks
 * that stay in L1.
 *
 * Each function is one loop over dense blocks that may coincide but do not
 * overlap otherwise; vec.h is straight-line code, so the compiler makes vectors
 * of it.  ew_run reads and writes dense operands in place and gathers others
 * block by block, walking their merged dimensions without division. */
#include "device/cpu/widen.h"

typedef uint8_t  mask;
typedef uint16_t bf16, f16;

/* --- one function a line -------------------------------------------------------
 * `number` is what a value is computed in: integers in 64 bits, so that nothing
 * overflows, and the result is cut to 32. */

#undef isnan
#if VEC_REAL == 3
typedef int64_t number;
#define isnan(x)       0
#define IF_FLOATS(...)
#else
typedef real number;
#define isnan(x)       vec_isnan(x)
#define IF_FLOATS(...) __VA_ARGS__
#endif
#define IF_ALL(...)   __VA_ARGS__

/* How elementwise.def spells vec.h. */
#define fabs(x)       vec_fabs(x)
#define sqrt(x)       vec_sqrt(x)
#define exp(x)        vec_exp(x)
#define exp_neg(x)    vec_exp_neg(x)
#define gelu_exp(x)   vec_gelu_exp(x)
#define gelu_slope(x) vec_gelu_slope(x)
#define expm1(x)      vec_expm1(x)
#define log(x)        vec_log(x)
#define log1p(x)      vec_log1p(x)
#define pow(x, y)     vec_pow(x, y)
#define sin(x)        vec_sin(x)
#define cos(x)        vec_cos(x)
#define tanh(x)       vec_tanh(x)
#define erf(x)        vec_erf(x)
#define normal_cdf(x) vec_normal_cdf(x)
#define floor(x)      vec_floor(x)
#define rint(x)       vec_rint(x)

#define R(x)          ((number)(x))
#define P(name)       p_##name
#define LOCALS_
#define LOCALS_ATTR(p, v)        const real p_##p = (real)attribute[0];
#define LOCALS_ATTR2(p, v, q, w) LOCALS_ATTR(p, v) const real p_##q = (real)attribute[1];

/* The letters before '>': who has such lines, and the inputs' types. */
#define SIG_F   FLOATS, real, none, none,
#define SIG_FF  FLOATS, real, real, none,
#define SIG_FFF FLOATS, real, real, real,
#define SIG_N   ALL, real, none, none,
#define SIG_NN  ALL, real, real, none,
#define SIG_M   ALL, mask, none, none,
#define SIG_MM  ALL, mask, mask, none,
#define SIG_MNN ALL, mask, real, real,
#define SIG_MFF FLOATS, mask, real, real,
#define COLUMN1(...)                 COLUMN1_(__VA_ARGS__)
#define COLUMN2(...)                 COLUMN2_(__VA_ARGS__)
#define COLUMN3(...)                 COLUMN3_(__VA_ARGS__)
#define COLUMN4(...)                 COLUMN4_(__VA_ARGS__)
#define COLUMN1_(who, a, b, c, rest) who
#define COLUMN2_(who, a, b, c, rest) a
#define COLUMN3_(who, a, b, c, rest) b
#define COLUMN4_(who, a, b, c, rest) c
#define JOIN(x, y)                   JOIN_(x, y)
#define JOIN_(x, y)                  x##y
#define INPUT(x, type)               JOIN(INPUT_, type)(x)
#define INPUT_real(x)                const real *in_##x = x##_;
#define INPUT_mask(x)                const mask *in_##x = x##_;
#define INPUT_none(x)                (void)x##_;
#define VALUE(x, type)               JOIN(VALUE_, type)(x)
#define VALUE_real(x)                const number x = in_##x[i];
#define VALUE_mask(x)                const mask x = in_##x[i];
#define VALUE_none(x)

/* The letter after '>': "2 > letter" is what SIG leaves of a signature. */
enum { F = 1, N = 1, M = 2 };
#define IS_REAL(who, a, b, c, rest)  (2 rest)
#define RESULT(...)                  RESULT_(__VA_ARGS__)
#define RESULT_(...)                 __typeof__(__builtin_choose_expr(IS_REAL(__VA_ARGS__), (real)0, (mask)0))

#define DEFINE(name, sig, value, attr)                                                                  \
    JOIN(IF_, COLUMN1(SIG_##sig))(                                                                      \
    static void ew_##name(void *y_, const void *a_, const void *b_, const void *c_, int64_t n,          \
                          const double *attribute)                                                      \
    {                                                                                                   \
        RESULT(SIG_##sig) *y = y_;                                                                      \
        INPUT(a, COLUMN2(SIG_##sig)) INPUT(b, COLUMN3(SIG_##sig)) INPUT(c, COLUMN4(SIG_##sig))          \
        LOCALS_##attr                                                                                   \
        (void)attribute;                                                                                \
        IN_PLACE                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                               \
            VALUE(a, COLUMN2(SIG_##sig)) VALUE(b, COLUMN3(SIG_##sig)) VALUE(c, COLUMN4(SIG_##sig))      \
            y[i] = (__typeof__(*y))(value);                                                             \
        }                                                                                               \
    })
#define UNARY(name, sig, value, da, in, attr, ulp, doc)           DEFINE(name, sig, value, attr)
#define BINARY(name, sig, value, da, db, in, attr, ulp, doc)      DEFINE(name, sig, value, attr)
#define TERNARY(name, sig, value, da, db, dc, in, attr, ulp, doc) DEFINE(name, sig, value, attr)
#include "genet/elementwise.def"
#undef UNARY
#undef BINARY
#undef TERNARY

IF_FLOATS(ew_fn K(ew_dropout);)         /* k_random.c */
extern ew_fn *const K(ew_fns)[OP_COUNT];
#define ENTRY(name, sig) JOIN(IF_, COLUMN1(SIG_##sig))([OP_##name] = ew_##name,)
#define UNARY(name, sig, ...)   ENTRY(name, sig)
#define BINARY(name, sig, ...)  ENTRY(name, sig)
#define TERNARY(name, sig, ...) ENTRY(name, sig)
ew_fn *const K(ew_fns)[OP_COUNT] = {
    IF_FLOATS([OP_dropout] = K(ew_dropout),)
#include "genet/elementwise.def"
};

/* --- casts ---------------------------------------------------------------------
 * Rounding is to nearest even; what rounds twice on the way (double to float to
 * half) rounds to odd first (Boldo and Melquiond 2008).  To integers: towards
 * zero, the nearest end of the range, NaN gives 0. */

static inline float narrow_f32(float x) { return x; }
static inline float narrow_f64(double x)
{
    float f = (float)x;
    double back = f;
    uint32_t away = __builtin_fabs(back) > __builtin_fabs(x), inexact = back != x;
    return vec_float((vec_bits(f) - away) | inexact);
}

static inline uint16_t to_bf16(float x)
{
    uint32_t u = vec_bits(x), rounded = (u + 0x7fffu + (u >> 16 & 1)) >> 16;
    return (uint16_t)(x != x ? u >> 16 | 0x40 : rounded);
}

/* Below 2^-14 the steps are 2^-24, those of floats in [0.5, 1). */
static inline uint16_t to_f16(float x)
{
    uint32_t sign = vec_bits(x) >> 16 & 0x8000, u = vec_bits(x) & 0x7fffffff;
    uint32_t normal = (u - (112u << 23) + 0xfff + (u >> 13 & 1)) >> 13;
    uint32_t small = vec_bits(vec_float(u) + 0.5f) - vec_bits(0.5f);
    uint32_t h = u < 0x38800000 ? small : normal;
    h = u >= 0x477ff000 ? 0x7c00 : h;
    h = u > 0x7f800000 ? 0x7e00 | (u >> 13 & 0x3ff) : h;
    return (uint16_t)(sign | h);
}

static inline double limit(double x, double lo, double hi)
{
    x = x > lo ? x : lo;            /* NaN too */
    return x < hi ? x : hi;
}

#define LOAD_f32(x)     (x)
#define LOAD_f64(x)     (x)
#define LOAD_bf16(x)    widen_bf16(x)
#define LOAD_f16(x)     widen_f16(x)
#define LOAD_i32(x)     (x)
#define LOAD_u8(x)      (x)
#define NARROW(x)       _Generic((x), float: narrow_f32, default: narrow_f64)(x)
#define STORE_f32(x)    (float)(x)
#define STORE_f64(x)    (double)(x)
#define STORE_bf16(x)   to_bf16(NARROW(x))
#define STORE_f16(x)    to_f16(NARROW(x))
#define STORE_i32(x)    ((x) != (x) ? 0 : (int32_t)limit((double)(x), INT32_MIN, INT32_MAX))
#define STORE_u8(x)     (uint8_t)(int32_t)limit((double)(x), 0, 255)
typedef float   f32;
typedef double  f64;
typedef int32_t i32;
typedef uint8_t u8;

#define CAST(from, to)                                                                                  \
    static void cast_##from##_##to(void *y_, const void *a_, const void *b_, const void *c_, int64_t n, \
                                   const double *p)                                                     \
    {                                                                                                   \
        to *y = y_;                                                                                     \
        const from *a = a_;                                                                             \
        (void)b_, (void)c_, (void)p;                                                                    \
        IN_PLACE                                                                                        \
        for (int64_t i = 0; i < n; i++) y[i] = STORE_##to(LOAD_##from(a[i]));                           \
    }
#define COPY(size)                                                                                      \
    static void copy_##size(void *y, const void *a, const void *b, const void *c, int64_t n, const double *p) \
    {                                                                                                   \
        (void)b, (void)c, (void)p;                                                                      \
        memmove(y, a, (size_t)n * size);                                                                \
    }
COPY(1)
COPY(2)
COPY(4)
COPY(8)
CAST(f32, f64) CAST(f32, bf16) CAST(f32, f16) CAST(f32, i32) CAST(f32, u8)
CAST(f64, f32) CAST(f64, bf16) CAST(f64, f16) CAST(f64, i32) CAST(f64, u8)
CAST(bf16, f32) CAST(bf16, f64) CAST(bf16, f16) CAST(bf16, i32) CAST(bf16, u8)
CAST(f16, f32) CAST(f16, f64) CAST(f16, bf16) CAST(f16, i32) CAST(f16, u8)
CAST(i32, f32) CAST(i32, f64) CAST(i32, bf16) CAST(i32, f16) CAST(i32, u8)
CAST(u8, f32) CAST(u8, f64) CAST(u8, bf16) CAST(u8, f16) CAST(u8, i32)

/* In the order of genet_dtype. */
extern ew_fn *const K(ew_casts)[GENET_DTYPE_COUNT][GENET_DTYPE_COUNT];
ew_fn *const K(ew_casts)[GENET_DTYPE_COUNT][GENET_DTYPE_COUNT] = {
    { copy_4, cast_f32_f64, cast_f32_bf16, cast_f32_f16, cast_f32_i32, cast_f32_u8 },
    { cast_f64_f32, copy_8, cast_f64_bf16, cast_f64_f16, cast_f64_i32, cast_f64_u8 },
    { cast_bf16_f32, cast_bf16_f64, copy_2, cast_bf16_f16, cast_bf16_i32, cast_bf16_u8 },
    { cast_f16_f32, cast_f16_f64, cast_f16_bf16, copy_2, cast_f16_i32, cast_f16_u8 },
    { cast_i32_f32, cast_i32_f64, cast_i32_bf16, cast_i32_f16, copy_4, cast_i32_u8 },
    { cast_u8_f32, cast_u8_f64, cast_u8_bf16, cast_u8_f16, cast_u8_i32, copy_1 },
};

static bool is_copy(ew_fn *fn) { return fn == copy_1 || fn == copy_2 || fn == copy_4 || fn == copy_8; }

/* --- walking an operand in flat order ---------------------------------------------- */

/* Merged dimensions, innermost first; strides in elements. */
typedef struct walk {
    const char *data, *at;      /* the first element, and that at index[] */
    int64_t     dim[MAX_DIM], stride[MAX_DIM], index[MAX_DIM];
    int         rank, size;     /* size of an element, bytes */
} walk;

/* Indexed by genet_dtype, as genet_dtype_size. */
static const int element_bytes[GENET_DTYPE_COUNT] = { 4, 8, 2, 2, 4, 1 };   /* blocks: none */

static void walk_merge(walk *w, const operand *o)
{
    w->rank = 0;
    w->data = o->data;
    w->size = element_bytes[o->dtype];
    for (int i = o->rank - 1; i >= 0; i--) {
        if (o->dim[i] == 1) continue;
        int last = w->rank - 1;
        if (last >= 0 && o->stride[i] == w->stride[last] * w->dim[last]) {
            w->dim[last] *= o->dim[i];
        } else {
            w->dim[w->rank] = o->dim[i];
            w->stride[w->rank++] = o->stride[i];
        }
    }
}

static bool walk_is_dense(const walk *w)  { return w->rank == 0 || (w->rank == 1 && w->stride[0] == 1); }
static bool walk_is_scalar(const walk *w) { return w->rank == 1 && w->stride[0] == 0; }

static void walk_seek(walk *w, int64_t flat)
{
    int64_t offset = 0;
    for (int d = 0; d < w->rank; d++) {
        w->index[d] = flat % w->dim[d];
        flat /= w->dim[d];
        offset += w->index[d] * w->stride[d];
    }
    w->at = w->data + offset * w->size;
}

/* Step over n elements, not beyond the end of the innermost run. */
static void walk_advance(walk *w, int64_t n)
{
    w->index[0] += n;
    w->at += n * w->stride[0] * w->size;
    for (int d = 0; w->index[d] == w->dim[d]; d++) {
        w->at -= w->dim[d] * w->stride[d] * w->size;
        w->index[d] = 0;
        if (d + 1 == w->rank) return;
        w->index[d + 1]++;
        w->at += w->stride[d + 1] * w->size;
    }
}

/* Step over n elements, to number `flat`: a short way along the runs, a long one anew. */
static void walk_skip(walk *w, int64_t n, int64_t flat)
{
    if (n > 2 * w->dim[0]) {
        walk_seek(w, flat);
        return;
    }
    for (int64_t run; n > 0; n -= run) walk_advance(w, run = min_i64(n, w->dim[0] - w->index[0]));
}

/* For words of each size: a run of n elements; rows x columns of a transposed
 * matrix, in tiles whose lines of both sides stay in L1. */
#define MOVE(bits)                                                                                      \
    typedef uint##bits##_t __attribute__((may_alias)) word##bits;                                       \
    static void run_##bits(word##bits *y, const word##bits *a, int64_t n, int64_t stride)               \
    {                                                                                                   \
        if (stride == 1)                                                                                \
            memcpy(y, a, (size_t)n * sizeof *y);                                                        \
        else if (stride == 0)                                                                           \
            for (int64_t i = 0; i < n; i++) y[i] = *a;                                                  \
        else                                                                                            \
            for (int64_t i = 0; i < n; i++) y[i] = a[i * stride];                                       \
    }                                                                                                   \
    static void turn_##bits(word##bits *y, const word##bits *a, int64_t rows, int64_t columns, int64_t stride) \
    {                                                                                                   \
        for (int64_t c0 = 0; c0 < columns; c0 += TILE)                                                  \
            for (int64_t r0 = 0; r0 < rows; r0 += TILE)                                                 \
                for (int64_t r = r0; r < min_i64(r0 + TILE, rows); r++)                                 \
                    for (int64_t c = c0; c < min_i64(c0 + TILE, columns); c++)                          \
                        y[r * columns + c] = a[c * stride + r];                                         \
    }
enum { TILE = 16 };
MOVE(8)
MOVE(16)
MOVE(32)
MOVE(64)

static void copy_run(void *y, const void *a, int64_t n, int64_t stride, int size)
{
    switch (size) {
    case 1: run_8(y, a, n, stride); break;
    case 2: run_16(y, a, n, stride); break;
    case 4: run_32(y, a, n, stride); break;
    default: run_64(y, a, n, stride);
    }
}

static void copy_turned(void *y, const void *a, int64_t rows, int64_t columns, int64_t stride, int size)
{
    switch (size) {
    case 1: turn_8(y, a, rows, columns, stride); break;
    case 2: turn_16(y, a, rows, columns, stride); break;
    case 4: turn_32(y, a, rows, columns, stride); break;
    default: turn_64(y, a, rows, columns, stride);
    }
}

/* Whole runs from here, at most n elements, that lie side by side. */
static int64_t runs_beside(const walk *w, int64_t n)
{
    if (w->rank < 2 || w->stride[0] < 2 || w->stride[1] != 1 || w->index[0] != 0) return 0;
    return min_i64(n / w->dim[0], w->dim[1] - w->index[1]);
}

/* The next n elements, dense, to `to`. */
static void walk_gather(walk *w, char *to, int64_t n)
{
    while (n > 0) {
        int64_t run = min_i64(n, w->dim[0] - w->index[0]), rows = runs_beside(w, n);
        if (rows > 1)
            copy_turned(to, w->at, rows, run, w->stride[0], w->size);
        else
            copy_run(to, w->at, run, w->stride[0], w->size);
        int64_t done = rows > 1 ? rows * run : run;
        for (int64_t left = done; left > 0; left -= run) walk_advance(w, run);
        to += done * w->size;
        n -= done;
    }
}

/* The next n elements, dense: where they lie, or gathered into `slot`. */
static char *walk_take(walk *w, char *slot, int64_t n)
{
    if (w->stride[0] == 1 && w->dim[0] - w->index[0] >= n) {
        char *at = (char *)w->at;
        walk_advance(w, n);
        return at;
    }
    walk_gather(w, slot, n);
    return slot;
}

/* --- running a program ------------------------------------------------------------- */

typedef struct machine {
    char   *at[EW_MAX_REG], *slot[EW_MAX_REG];      /* where each register's block is; local memory for it */
    int     dense[EW_MAX_REG], n_dense; /* registers that move along with the blocks */
    int     walked[EW_MAX_REG], n_walked;       /* registers that are gathered */
    walk    walk[EW_MAX_REG];
} machine;

static void fill(char *to, dtype type, double value, int64_t n)
{
    char one[8];
    K(ew_casts)[GENET_F64][type](one, &value, NULL, NULL, 1, NULL);
    copy_run(to, one, n, 0, element_bytes[type]);
}

/* Bytes from slot to slot: a cache line more than a block, so that equal
 * places of two slots do not fall on the same line of a 4 KiB page. */
static int64_t slot_bytes(const ew_program *p)
{
    int widest = 4;
    for (int r = 0; r < p->n_reg; r++)
        if (p->reg[r].slot >= 0 && p->reg[r].dtype == GENET_F64) widest = 8;
    return min_i64(EW_BLOCK * widest + 64, EW_LOCAL_BYTES / max_i64(p->n_slot, 1) / 64 * 64);
}

/* Point each register at its first block; constants are filled, for n elements. */
static void machine_init(machine *m, const launch *l, const ew_program *p, int64_t start, int64_t n, char *local)
{
    int64_t step = slot_bytes(p);
    m->n_dense = m->n_walked = 0;
    for (int r = 0; r < p->n_reg; r++) {
        const ew_reg *reg = &p->reg[r];
        m->at[r] = m->slot[r] = reg->slot >= 0 ? local + reg->slot * step : NULL;
        if (reg->kind == EW_CONST) fill(m->at[r], reg->dtype, reg->value, n);
        if (reg->kind == EW_WHOLE) m->at[r] = l->arg[reg->arg].data;
        if (reg->kind != EW_ARG) continue;
        const operand *o = &l->arg[reg->arg];
        walk *w = &m->walk[r];
        walk_merge(w, o);
        if (walk_is_dense(w)) {
            m->at[r] = o->data + start * w->size;
            m->dense[m->n_dense++] = r;
        } else if (walk_is_scalar(w)) {
            copy_run(m->at[r], o->data, n, 0, w->size);
        } else {
            walk_seek(w, start);
            m->walked[m->n_walked++] = r;
        }
    }
}

static void run_block(const ew_program *p, char *const *at, int64_t flat, int64_t n)
{
    for (const ew_instr *i = p->instr; i < p->instr + p->n_instr; i++) {
        const void *c = i->indexed ? (const void *)&flat : i->c < 0 ? NULL : at[i->c];
        i->fn(at[i->y], i->a < 0 ? NULL : at[i->a], i->b < 0 ? NULL : at[i->b], c, n, i->p);
    }
}

/* n elements from here, of which the first has this number. */
static void run_row(machine *m, const ew_program *p, int64_t flat, int64_t n)
{
    const ew_instr *first = p->instr;
    if (p->n_instr == 1 && m->n_walked == 1 && is_copy(first->fn)) {    /* gathered where it goes */
        walk_gather(&m->walk[first->a], m->at[first->y], n);
        m->at[first->y] += n * m->walk[first->y].size;
        return;
    }
    int64_t block = p->n_instr == 1 && p->n_slot == 0 ? n : EW_BLOCK;   /* nothing to keep in L1 */
    for (int64_t done = 0; done < n; done += block) {
        int64_t now = min_i64(block, n - done);
        for (int k = 0; k < m->n_walked; k++) {
            int r = m->walked[k];
            m->at[r] = walk_take(&m->walk[r], m->slot[r], now);
        }
        run_block(p, m->at, flat + done, now);
        for (int k = 0; k < m->n_dense; k++) m->at[m->dense[k]] += now * m->walk[m->dense[k]].size;
    }
}

/* Step over n elements, to number `flat`, which begins a row. */
static void skip(machine *m, int64_t n, int64_t flat)
{
    for (int k = 0; k < m->n_dense; k++) m->at[m->dense[k]] += n * m->walk[m->dense[k]].size;
    for (int k = 0; k < m->n_walked; k++) walk_skip(&m->walk[m->walked[k]], n, flat);
}

/* The row that begins so many elements further on will be wanted: rows apart are not foreseen by the processor. */
static void foresee(const machine *m, int64_t step, int64_t n)
{
    for (int k = 0; k < m->n_dense; k++) {
        const char *at = m->at[m->dense[k]];
        int64_t size = m->walk[m->dense[k]].size;
        for (int64_t i = 0; i < n * size; i += 64) __builtin_prefetch(at + step * size + i, 1);
    }
}

void K(ew_rows)(const launch *l, const ew_program *p, int64_t start, int64_t rows, int64_t n, int64_t step, char *local)
{
    machine m;
    if (!p || n <= 0) return;
    machine_init(&m, l, p, start, min_i64(n, EW_BLOCK), local);
    for (int64_t row = 0, flat = start; row < rows; row++, flat += step) {
        if (row) skip(&m, step - n, flat);
        if (row + 1 < rows) foresee(&m, step, n);
        run_row(&m, p, flat, n);
    }
}

/* --- launches that are only a program ------------------------------------------------ */

enum { EW_TASK = 16384 };       /* elements */

static int64_t elementwise_tasks(const launch *l, int phase)
{
    (void)phase;
    return ceil_div(l->program->numel, EW_TASK);
}

static void elementwise_run(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase;
    int64_t start = task * EW_TASK;
    K(ew_run)(l, start, min_i64(EW_TASK, l->program->numel - start), local);
}

extern const kernel K(k_elementwise);
const kernel K(k_elementwise) = { .tasks = elementwise_tasks, .run = elementwise_run };
