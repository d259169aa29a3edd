/* k_matvec.c - few rows times a matrix (decoding): no packing, and memory kept
 * busy.
 *
 * One run of memory at a time does not keep it busy: the processor fetches
 * ahead within each run, so both ways here read four or eight long runs side by
 * side.  Where columns of w are adjacent, eight of its rows are added to y a
 * pass; a task has a part of the depth and all columns.  (A range of columns
 * would be finished in one phase, but short runs cost up to a third.)  Where the
 * depth is adjacent, columns are dot products, four at a time; a task has a
 * range of columns. */
#include "base/quant.h"
#include "device/cpu/lanes.h"
#include "device/cpu/matvec.h"
#include "device/cpu/widen.h"

enum {
    ROOM_BYTES = LOCAL_BYTES - EW_LOCAL_BYTES,
    DEEP = 8,               /* rows of w added in one pass */
    LINES = 4,              /* dot products at a time, */
    ROWS = VEC_BYTES == 64 ? 4 : 2,     /* each with so many rows of x at most */
    AHEAD = 512,           /* bytes fetched before they are needed */
    TASK_BYTES = 96 << 10,  /* of weights, at least, */
    PART_BYTES = 512 << 10, /* and where a task's sums are read again */
    TASKS = 64,             /* at most, */
    HUGE_TASK_BYTES = 4 << 20,      /* but no task is larger than this */
    WIDE = 16384,           /* columns that make long runs by parts */
    Y_REALS = (128 << 10) / (int)sizeof(real)
};

/* --- weights made real -------------------------------------------------------------- */

INLINE int64_t size_of(const dtype type) { return type == REAL_DTYPE ? (int64_t)sizeof(real) : 2; }

INLINE real weight(const dtype type, const char *at)
{
    if (type == REAL_DTYPE) return *(const real *)at;
    uint16_t half = *(const uint16_t *)at;
    return type == GENET_BF16 ? widen_bf16(half) : widen_f16(half);
}

INLINE vec weights(const dtype type, const char *at)
{
    if (type == REAL_DTYPE) return load((const real *)at);
#if defined(__AVX512F__)
    __m256i half = _mm256_loadu_si256((const void *)at);
    if (type == GENET_F16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
#elif defined(__AVX2__)
    __m128i half = _mm_loadu_si128((const void *)at);
    if (type == GENET_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
#else
    vec v;
    for (int i = 0; i < VEC_LANES; i++) v[i] = weight(type, at + 2 * i);
    return v;
#endif
}

/* --- rows of w added up --------------------------------------------------------------- */

/* y (rows x n) += `deep` rows of w, `apart` rows from one to the next, times
 * their elements of x; even and odd ones by themselves: shorter chains of sums. */
INLINE void add_rows(const dtype type, const int deep, const bool one, const real *x, int64_t x_line, int64_t rows,
                     const char *w, int64_t w_row, int64_t apart, int64_t n, real *y, int64_t ldy)
{
    vec xs[DEEP];
    int64_t j = 0;
    UNROLL
    for (int k = 0; k < deep; k++) xs[k] = all_lanes(x[k * apart]);
    for (; j + VEC_LANES <= n; j += VEC_LANES) {
        vec b[DEEP];
        UNROLL
        for (int k = 0; k < deep; k++) {
            const char *at = w + k * apart * w_row + j * size_of(type);
            b[k] = weights(type, at);
            __builtin_prefetch(at + AHEAD);
        }
        for (int64_t r = 0; r < (one ? 1 : rows); r++) {
            const real *xr = x + r * x_line;
            vec even = load(y + r * ldy + j), odd = { 0 };
            UNROLL
            for (int k = 0; k < deep; k += 2) even = fma_lanes(one ? xs[k] : all_lanes(xr[k * apart]), b[k], even);
            UNROLL
            for (int k = 1; k < deep; k += 2) odd = fma_lanes(one ? xs[k] : all_lanes(xr[k * apart]), b[k], odd);
            store(y + r * ldy + j, even + odd);
        }
    }
    for (; j < n; j++)
        for (int64_t r = 0; r < rows; r++) {
            const real *xr = x + r * x_line;
            const char *at = w + j * size_of(type);
            real even = y[r * ldy + j], odd = 0;
            for (int k = 0; k < deep; k += 2) even += xr[k * apart] * weight(type, at + k * apart * w_row);
            for (int k = 1; k < deep; k += 2) odd += xr[k * apart] * weight(type, at + k * apart * w_row);
            y[r * ldy + j] = even + odd;
        }
}

/* Row k of w goes with those an eighth, two eighths ... of the depth later: each
 * of the runs is as long as it can be.  Stretches of columns whose y stays in L2. */
INLINE void by_rows(const dtype type, const bool one, const matvec *v, const real *x, int64_t x_line, int64_t col, int64_t cols)
{
    const int64_t w_row = v->w.depth * size_of(type), apart = v->K / DEEP, most = Y_REALS / v->rows / VEC_LANES * VEC_LANES;
    for (int64_t j = 0; j < cols; j += most) {
        int64_t n = min_i64(most, cols - j);
        const char *w = v->w.at + (col + j) * size_of(type);
        real *y = v->y + col + j;
        for (int64_t r = 0; r < v->rows; r++) memset(y + r * v->ldy, 0, (size_t)n * sizeof(real));
        for (int64_t k = 0; k < apart; k++)
            add_rows(type, DEEP, one, x + k, x_line, v->rows, w + k * w_row, w_row, apart, n, y, v->ldy);
        for (int64_t k = apart * DEEP; k < v->K; k++)
            add_rows(type, 1, one, x + k, x_line, v->rows, w + k * w_row, w_row, 1, n, y, v->ldy);
    }
}

/* --- dot products --------------------------------------------------------------------- */

INLINE real total(vec v)
{
    real s[VEC_LANES];
    store(s, v);
    for (int n = VEC_LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) s[i] += s[i + n];
    return s[0];
}

/* y[r*ldy + i*apart] = row r of x times line i*apart of w, for i < lines <= LINES. */
INLINE void few_dots(const dtype type, const int rows, const real *x, int64_t x_line, const char *w, int64_t w_line,
                     int64_t lines, int64_t depth, real *y, int64_t ldy, int64_t apart)
{
    vec sum[ROWS][LINES];
    const char *at[LINES];
    int64_t k = 0;
    UNROLL
    for (int i = 0; i < LINES; i++) at[i] = w + (i < lines ? i * apart * w_line : 0);
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int i = 0; i < LINES; i++) sum[r][i] = (vec){ 0 };
    for (; k + VEC_LANES <= depth; k += VEC_LANES) {
        UNROLL
        for (int i = 0; i < LINES; i++) {
            vec b = weights(type, at[i] + k * size_of(type));
            __builtin_prefetch(at[i] + k * size_of(type) + AHEAD);
            UNROLL
            for (int r = 0; r < rows; r++) sum[r][i] = fma_lanes(load(x + r * x_line + k), b, sum[r][i]);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int i = 0; i < LINES; i++) {
            real s = total(sum[r][i]);
            for (int64_t rest = k; rest < depth; rest++)
                s += x[r * x_line + rest] * weight(type, at[i] + rest * size_of(type));
            if (i < lines) y[r * ldy + i * apart] = s;
        }
}

/* Line i of a range goes with those a quarter, a half and three quarters of the range later. */
INLINE void by_dots(const dtype type, const matvec *v, const real *x, int64_t x_line, int64_t col, int64_t cols)
{
    const int64_t apart = ceil_div(cols, LINES), w_line = v->w.line * size_of(type);
    for (int64_t i = 0; i < apart; i++) {
        const char *w = v->w.at + (col + i) * w_line;
        real *y = v->y + col + i;
        int64_t lines = ceil_div(cols - i, apart), r = 0;
        for (; ROWS > 2 && r + 4 <= v->rows; r += 4)
            few_dots(type, ROWS, x + r * x_line, x_line, w, w_line, lines, v->K, y + r * v->ldy, v->ldy, apart);
        for (; r + 2 <= v->rows; r += 2)
            few_dots(type, 2, x + r * x_line, x_line, w, w_line, lines, v->K, y + r * v->ldy, v->ldy, apart);
        if (r < v->rows)
            few_dots(type, 1, x + r * x_line, x_line, w, w_line, lines, v->K, y + r * v->ldy, v->ldy, apart);
    }
}

/* --- the cut ---------------------------------------------------------------------------- */

static bool is_quantised(dtype t) { return t == GENET_Q8_0 || t == GENET_Q4_0; }
static bool are_dots(const matvec *v) { return v->w.depth == 1 && (v->N == 1 || v->w.line != 1); }
static int64_t bytes_of(const matvec *v) { return (int64_t)genet_dtype_bytes(v->w.dtype, QUANT_BLOCK) * v->N * v->K / QUANT_BLOCK; }

bool K(matvec_takes)(const matvec *v)
{
    if (v->rows > MATVEC_ROWS || v->w.dtype == GENET_I32 || v->w.dtype == GENET_U8) return false;
    if (is_quantised(v->w.dtype))       /* in double they are multiplied without rounding x */
        return REAL_DTYPE == GENET_F32 && v->x.dtype == REAL_DTYPE && v->w.depth == 1 && v->K % QUANT_BLOCK == 0 &&
               K(matvec_quant_room)(v->rows, v->K) <= ROOM_BYTES;
    return (v->w.line == 1 || v->w.depth == 1) && v->rows * v->K * (int64_t)sizeof(real) <= ROOM_BYTES;
}

/* A power of two, so that a power of two of threads share them evenly. */
static int64_t tasks_of(const matvec *v, int64_t least_bytes)
{
    int64_t n = 1, bytes = bytes_of(v);
    while (n < TASKS && 2 * n * least_bytes <= bytes) n *= 2;
    return max_i64(n, bytes / HUGE_TASK_BYTES);
}

int64_t K(matvec_depth)(const matvec *v)
{
    int64_t parts = are_dots(v) || v->N >= WIDE ? 1 : min_i64(tasks_of(v, PART_BYTES), v->K / (2 * DEEP));
    return parts <= 1 ? v->K : ceil_div(ceil_div(v->K, parts), DEEP) * DEEP;
}

int64_t K(matvec_columns)(const matvec *v)
{
    if (K(matvec_depth)(v) < v->K) return v->N;
    int64_t n = ceil_div(v->N, tasks_of(v, TASK_BYTES));
    return ceil_div(n, 2 * VEC_LANES) * 2 * VEC_LANES;
}

/* --- a task ------------------------------------------------------------------------------- */

#define BY_TYPE(type, v, x, x_line, col, cols)                                      \
    (are_dots(v) ? by_dots(type, v, x, x_line, col, cols)                           \
     : v->rows == 1 ? by_rows(type, true, v, x, x_line, col, cols) : by_rows(type, false, v, x, x_line, col, cols))

static void run_real(const matvec *v, const real *x, int64_t x_line, int64_t col, int64_t cols)
{
    BY_TYPE(REAL_DTYPE, v, x, x_line, col, cols);
}
static void run_bf16(const matvec *v, const real *x, int64_t x_line, int64_t col, int64_t cols)
{
    BY_TYPE(GENET_BF16, v, x, x_line, col, cols);
}
static void run_f16(const matvec *v, const real *x, int64_t x_line, int64_t col, int64_t cols)
{
    BY_TYPE(GENET_F16, v, x, x_line, col, cols);
}

void K(matvec_run)(const matvec *v, int64_t col, int64_t cols, char *room)
{
    if (is_quantised(v->w.dtype)) {
        K(matvec_quant)(v, col, cols, room);
        return;
    }
    const real *x = (const real *)v->x.at;
    int64_t x_line = v->x.line;
    if (v->x.dtype != REAL_DTYPE || v->x.depth != 1) {
        for (int64_t r = 0; r < v->rows; r++)
            K(widen)(v->x.at, v->x.dtype, r * v->x.line, v->x.depth, v->K, (real *)room + r * v->K);
        x = (const real *)room;
        x_line = v->K;
    }
    (v->w.dtype == GENET_BF16 ? run_bf16 : v->w.dtype == GENET_F16 ? run_f16 : run_real)(v, x, x_line, col, cols);
}

void K(matvec_sum)(const real *part, int64_t parts, int64_t step, int64_t n, real *y)
{
    int64_t j = 0;
    for (; j + VEC_LANES <= n; j += VEC_LANES) {
        vec s = load(part + j);
        for (int64_t i = 1; i < parts; i++) s += load(part + i * step + j);
        store(y + j, s);
    }
    for (; j < n; j++) {
        y[j] = part[j];
        for (int64_t i = 1; i < parts; i++) y[j] += part[i * step + j];
    }
}
