/* op_matmul.c - products of matrices, batched over leading dimensions.
 *
 * When one matrix serves a whole batch, (..., M, K) x (K, N), the batch is
 * folded into the rows: one product forward, and one for the gradient of the
 * matrix instead of a sum of many. The mirror image, (M, K) x (..., K, N),
 * has no such view; only its gradient may be worth a copy for it.
 *
 * A third input, where there is one, is what the product is added to: sums of
 * products, such as the gradient of a weight that is used twice, take the
 * memory of one and no pass of their own.
 *
 * f64 goes with f64.  f32 and bf16 on the left go with f32, bf16, f16 and
 * quantised weights on the right; sums and the result are f32. */
#include "base/quant.h"
#include "graph/graph.h"
#include <string.h>

/* --- shapes ------------------------------------------------------------------ */

static int64_t rows_of(const tensor *t) { return t->shape.dim[t->shape.rank - 2]; }
static int64_t cols_of(const tensor *t) { return t->shape.dim[t->shape.rank - 1]; }

static shape leading(const tensor *t)
{
    shape s = t->shape;
    s.rank -= 2;
    return s;
}

/* "w [512,768]", or only the shape of a tensor without a name. */
static const char *label(char out[400], const tensor *t)
{
    const char *name = t->name ? t->name : "";
    size_t n = strnlen(name, 200);
    memcpy(out, name, n);
    if (n) out[n++] = ' ';
    genet__shape_text(out + n, t);
    return out;
}
#define LABEL(t) label((char[400]){0}, t)

static bool types_fit(dtype a, dtype b)
{
    if (a == GENET_F64 || b == GENET_F64) return a == b;
    return (a == GENET_F32 || a == GENET_BF16) && b != GENET_I32 && b != GENET_U8;
}

/* Blocks of quantised weights run through the inner dimension. */
static bool blocks_fit(const tensor *b)
{
    return b->stride[b->shape.rank - 2] == 1 && rows_of(b) % QUANT_BLOCK == 0;
}

static bool infer_matmul(tensor *y)
{
    const tensor *a = y->in[0], *b = y->in[1];
    if (a->shape.rank < 2 || b->shape.rank < 2)
        return genet__fail(y, "needs matrices, of two dimensions or more: %s and %s; reshape a vector to one row "
                           "or column", LABEL(a), LABEL(b));
    if (!types_fit(a->dtype, b->dtype))
        return genet__fail(y, "multiplies f64 by f64, or f32 and bf16 by f32, bf16, f16, q8_0 and q4_0, not %s %s and "
                           "%s %s; cast first", genet_dtype_name(a->dtype), LABEL(a), genet_dtype_name(b->dtype), LABEL(b));
    if (cols_of(a) != rows_of(b))
        return genet__fail(y, "inner dimensions differ: %s and %s", LABEL(a), LABEL(b));
    if (genet__is_blocks(b->dtype) && !blocks_fit(b))
        return genet__fail(y, "takes %s %s only with its blocks along the inner dimension, as a transpose; a gradient "
                           "through quantised weights cannot be computed: use f32 or bf16 weights for it",
                           genet_dtype_name(b->dtype), LABEL(b));
    shape la = leading(a), lb = leading(b);
    if (!genet__broadcast_shape(&la, &lb, &y->shape))
        return genet__fail(y, "leading dimensions do not broadcast: %s and %s", LABEL(a), LABEL(b));
    y->shape.dim[y->shape.rank++] = rows_of(a);
    y->shape.dim[y->shape.rank++] = cols_of(b);
    y->dtype = a->dtype == GENET_F64 ? GENET_F64 : GENET_F32;
    const tensor *c = y->in[2];
    return !c || (c->dtype == y->dtype && genet__same_shape(&c->shape, &y->shape)) ||
           genet__fail(y, "what is added to, %s, must be as the product of %s and %s", LABEL(c), LABEL(a), LABEL(b));
}

static double flops_matmul(const tensor *y)
{
    return 2.0 * (double)genet__numel(&y->shape) * (double)cols_of(y->in[0]);
}

/* --- gradient ----------------------------------------------------------------- */

static tensor *matrix_transpose(tensor *x) { return genet_transpose(x, -1, -2); }

/* (..., M, N) as one matrix: all rows, (... M, N). */
static tensor *all_rows(tensor *x)
{
    int64_t n = 1;
    for (int i = 0; i < x->shape.rank - 1; i++) n *= x->shape.dim[i];
    return genet_reshape(x, GENET_DIMS(n, cols_of(x)));
}

/* (..., M, N) as one matrix: all columns, (M, ... N). */
static tensor *all_columns(tensor *x)
{
    int rank = x->shape.rank;
    int64_t axes[MAX_DIM] = { rank - 2 }, n = 1;
    for (int i = 1; i < rank; i++) {
        axes[i] = i == rank - 1 ? i : i - 1;
        n *= x->shape.dim[axes[i]];
    }
    return genet_reshape(genet_permute(x, rank, axes), GENET_DIMS(rows_of(x), n));
}

/* da = g b^T, db = a^T g.  A matrix that serves a batch sums over it: in one
 * product over all rows or all columns; the columns must be copied for that,
 * so only where they are fewer than what would be summed.  Between bf16
 * operands the gradient is rounded to bf16 too, for products as fast; what comes out stays f32. */
static void grad_matmul(tensor *y, tensor *g, tensor **d)
{
    tensor *a = SAVED(y->in[0]), *b = SAVED(y->in[1]);
    if (a->poisoned || b->poisoned || g->poisoned) return;
    if (a->dtype == GENET_BF16 && b->dtype == GENET_BF16) g = genet_cast(g, GENET_BF16);
    bool columns = a->shape.rank == 2 && b->shape.rank > 2 &&
                   (rows_of(a) + cols_of(a)) * cols_of(b) < rows_of(a) * cols_of(a);
    bool rows = b->shape.rank == 2 && a->shape.rank > 2;
    d[0] = columns ? genet_matmul(all_columns(g), matrix_transpose(all_columns(b)))
                   : genet_matmul(g, matrix_transpose(b));
    d[2] = g;
    if (genet__is_blocks(b->dtype)) return;
    d[1] = rows ? genet_matmul(matrix_transpose(all_rows(a)), all_rows(g)) : genet_matmul(matrix_transpose(a), g);
}

/* --- definition ---------------------------------------------------------------- */

/* Where entry `index` of y's leading dimensions lies in dense x, in matrices. */
static int64_t entry_in(const tensor *y, const tensor *x, int64_t index)
{
    int64_t at = 0, step = 1;
    for (int i = 3; i <= y->shape.rank; i++) {
        int64_t n = y->shape.dim[y->shape.rank - i], k = index % n;
        index /= n;
        if (i > x->shape.rank) continue;
        int64_t own = x->shape.dim[x->shape.rank - i];
        if (own != 1) at += k * step;
        step *= own;
    }
    return at;
}

static void ref_matmul(const tensor *y, double *const in[], double *const out[])
{
    int64_t M = rows_of(y), N = cols_of(y), K = cols_of(y->in[0]), numel = genet__numel(&y->shape);
    for (int64_t flat = 0; flat < numel; flat++) {
        int64_t index = flat / (M * N), i = flat / N % M, j = flat % N;
        const double *a = in[0] + (entry_in(y, y->in[0], index) * M + i) * K;
        const double *b = in[1] + entry_in(y, y->in[1], index) * K * N + j;
        double sum = in[2] ? in[2][flat] : 0;
        for (int64_t k = 0; k < K; k++) sum += a[k] * b[k * N];
        out[0][flat] = sum;
    }
}

/* Tiles are 14 x 32, 6 x 16 and 4 x 8; blocks of depth 768 and 384, or half. */
static const probe probes_matmul[] = {
    { .in = { PF(-1, 1, 2, 3), PF(-1, 1, 3, 4) } },
    { .in = { PF(-1, 1, 2, 2, 3), PF(-1, 1, 3, 4) } },
    { .in = { PF(-1, 1, 4, 3), PF(-1, 1, 2, 3, 1) } },
    { .in = { PF(-1, 1, 2, 1, 2, 3), PF(-1, 1, 3, 3, 1) } },
    { .in = { PF(-1, 1, 1, 5), PF(-1, 1, 5, 1) } },
    { .edge = true, .in = { PF(-1, 1, 1, 1), PF(-1, 1, 1, 1) } },
    { .edge = true, .in = { PF(-1, 1, 13, 17), PF(-1, 1, 17, 31) } },
    { .edge = true, .in = { PF(-1, 1, 14, 5), PF(-1, 1, 5, 32) } },
    { .edge = true, .in = { PF(-1, 1, 15, 16), PF(-1, 1, 16, 33) } },
    { .edge = true, .in = { PF(-1, 1, 3, 7, 2), PF(-1, 1, 3, 2, 48) } },
    { .edge = true, .in = { PF(-1, 1, 9, 3, 4), PF(-1, 1, 9, 4, 16) } },
    { .edge = true, .in = { PF(-1, 1, 2, 769), PF(-1, 1, 769, 17) } },
    { .edge = true, .in = { PF(-1, 1, 3, 1537), PF(-1, 1, 1537, 2) } },
    { .edge = true, .in = { PF(-1, 1, 1, 67), PF(-1, 1, 67, 301) } },
    { .edge = true, .in = { PF(-1, 1, 299, 70), PF(-1, 1, 70, 1) } },
    { .edge = true, .in = { PF(-1, 1, 5, 1, 19), PF(-1, 1, 5, 19, 9) } },
    { .edge = true, .in = { PF(-1, 1, 113, 103), PF(-1, 1, 103, 97) } },
    { .edge = true, .in = { PF(-1, 1, 41, 97), PF(-1, 1, 97, 301) } },
    { .edge = true, .in = { PF(-1, 1, 0, 3), PF(-1, 1, 3, 4) } },
    { .edge = true, .in = { PF(-1, 1, 2, 3), PF(-1, 1, 3, 0) } },
    { .edge = true, .in = { PF(-1, 1, 2, 0), PF(-1, 1, 0, 4) } },
    { .edge = true, .in = { PF(-1, 1, 0, 2, 3), PF(-1, 1, 3, 4) } },
    /* stored types, through every path */
    { .tolerance = 4e-3, .in = { PB(-1, 1, 2, 3), PB(-1, 1, 3, 4) } },
    { .tolerance = 4e-3, .in = { PB(-1, 1, 2, 2, 3), PB(-1, 1, 3, 4) } },
    { .tolerance = 4e-3, .in = { PF(-1, 1, 2, 2, 3), PB(-1, 1, 3, 4) } },
    { .tolerance = 4e-3, .in = { PB(-1, 1, 4, 3), PF(-1, 1, 2, 3, 1) } },
    { .tolerance = 4e-3, .in = { PF(-1, 1, 2, 3), PH(-1, 1, 3, 4) } },
    { .tolerance = 4e-3, .in = { PB(-1, 1, 2, 3), PH(-1, 1, 3, 4) } },
    { .edge = true, .in = { PB(-1, 1, 1, 67), PB(-1, 1, 67, 301) } },
    { .edge = true, .in = { PF(-1, 1, 1, 67), PB(-1, 1, 67, 301) } },
    { .edge = true, .in = { PF(-1, 1, 1, 67), PH(-1, 1, 67, 301) } },
    { .edge = true, .in = { PB(-1, 1, 299, 70), PB(-1, 1, 70, 1) } },
    { .edge = true, .in = { PB(-1, 1, 299, 70), PF(-1, 1, 70, 1) } },
    { .edge = true, .in = { PB(-1, 1, 9, 3, 70), PB(-1, 1, 9, 70, 33) } },
    { .edge = true, .in = { PB(-1, 1, 113, 103), PB(-1, 1, 103, 97) } },
    { .edge = true, .in = { PB(-1, 1, 41, 97), PF(-1, 1, 97, 301) } },
    { .edge = true, .in = { PF(-1, 1, 113, 1537), PH(-1, 1, 1537, 17) } },
    /* beside quantised weights the others are rounded too: to bf16 by tile registers (2^-9), in integers to one
     * part in 254 of the largest of 32; here many rows */
    { .edge = true, .tolerance = 1e-2, .in = { PF(-1, 1, 3, 15, 64), PQ8(64, 33) } },
    { .edge = true, .tolerance = 1e-2, .in = { PB(-1, 1, 15, 64), PQ4(64, 33) } },
    { .edge = true, .tolerance = 1e-2, .in = { PF(-1, 1, 79, 32), PQ4(32, 1) } },
    { .edge = true, .tolerance = 1e-2, .in = { PF(-1, 1, 20, 64), PQ8(64, 33), PF(-1, 1, 20, 33) } },
    /* large enough for tile registers */
    { .edge = true, .tolerance = 4e-3, .in = { PF(-1, 1, 113, 800), PQ8(800, 97) } },
    { .edge = true, .tolerance = 4e-3, .in = { PF(-1, 1, 37, 1600), PQ4(1600, 301) } },
    /* few rows */
    { .edge = true, .in = { PF(-1, 1, 2, 33), PF(-1, 1, 33, 77) } },
    { .edge = true, .in = { PF(-1, 1, 8, 75), PB(-1, 1, 75, 61) } },
    { .edge = true, .in = { PB(-1, 1, 7, 75), PH(-1, 1, 75, 35) } },
    { .edge = true, .in = { PF(-1, 1, 3, 203), PF(-1, 1, 203, 700) } },
    { .edge = true, .in = { PF(-1, 1, 1, 203), PF(-1, 1, 203, 700) } },
    { .edge = true, .in = { PF(-1, 1, 5, 251), PH(-1, 1, 251, 1101) } },
    { .edge = true, .in = { PF(-1, 1, 2, 3, 45), PF(-1, 1, 2, 45, 37) } },
    { .edge = true, .tolerance = 1e-2, .in = { PF(-1, 1, 1, 96), PQ8(96, 45) } },
    { .edge = true, .tolerance = 1e-2, .in = { PF(-1, 1, 1, 96), PQ4(96, 45) } },
    { .edge = true, .tolerance = 1e-2, .in = { PF(-1, 1, 3, 32), PQ8(32, 5) } },
    { .edge = true, .tolerance = 1e-2, .in = { PF(-1, 1, 7, 288), PQ8(288, 70) } },
    { .edge = true, .tolerance = 1e-2, .in = { PF(-1, 1, 8, 160), PQ4(160, 67) } },
    { .edge = true, .tolerance = 1e-2, .in = { PF(-1, 1, 2, 3, 64), PQ4(64, 33) } },
    { .in = { PF(-1, 1, 2, 3), PF(-1, 1, 3, 4), PF(-1, 1, 2, 4) } },
    { .in = { PF(-1, 1, 2, 2, 3), PF(-1, 1, 3, 1), PF(-1, 1, 2, 2, 1) } },
    { .edge = true, .in = { PF(-1, 1, 1, 67), PF(-1, 1, 67, 301), PF(-1, 1, 1, 301) } },
    { .edge = true, .in = { PF(-1, 1, 9, 3, 4), PF(-1, 1, 9, 4, 16), PF(-1, 1, 9, 3, 16) } },
    { .edge = true, .in = { PF(-1, 1, 3, 1537), PF(-1, 1, 1537, 2), PF(-1, 1, 3, 2) } },
    { .edge = true, .in = { PF(-1, 1, 113, 103), PF(-1, 1, 103, 97), PF(-1, 1, 113, 97) } },
    { .edge = true, .in = { PF(-1, 1, 41, 1601), PF(-1, 1, 1601, 301), PF(-1, 1, 41, 301) } },
    { .edge = true, .in = { PF(-1, 1, 2, 0), PF(-1, 1, 0, 4), PF(-1, 1, 2, 4) } },
};
ROW(matmul, OWN, REF, OPF_STRIDED | OPF_BLOCKS | OPF_PRODUCT, .n_in = 3, .over = 1u << 2, .infer = infer_matmul,
    .flops = flops_matmul)

/* --- builder -------------------------------------------------------------------- */

/* Do a's leading dimensions and rows lie at one stride? */
static bool rows_merge(const tensor *a)
{
    int64_t step = 0;
    bool inner = false;
    if (genet__numel(&a->shape) == 0) return true;
    for (int i = a->shape.rank - 2; i >= 0; i--) {
        if (a->shape.dim[i] == 1) continue;
        if (inner && a->stride[i] != step) return false;
        step = a->stride[i] * a->shape.dim[i];
        inner = true;
    }
    return true;
}

tensor *genet_matmul(tensor *a, tensor *b)
{
    bool one = !a->poisoned && !b->poisoned && a->shape.rank > 2 && b->shape.rank == 2;
    if (!one || cols_of(a) != rows_of(b) || !rows_merge(a))
        return APPLY(OP_matmul, NULL, a, b, NULL);
    shape s = a->shape;
    s.dim[s.rank - 1] = cols_of(b);
    return genet_reshape(APPLY(OP_matmul, NULL, all_rows(a), b, NULL), s.rank, s.dim);
}

tensor *genet__matmul_onto(tensor *a, tensor *b)
{
    bool plain = genet__op_is(b, OP_matmul) && !b->in[2];
    if (!plain || a->dtype != b->dtype || !genet__same_shape(&a->shape, &b->shape)) return NULL;
    return APPLY(OP_matmul, NULL, b->in[0], b->in[1], a);
}
