/* graph.c - building: appending tensors, the first error, shapes in words.
 *
 * Nothing here computes.  After the first failure every builder returns the
 * graph's poison tensor, so model code checks nothing line by line. */
#include "graph/graph.h"
#include "base/alloc.h"
#include "base/quant.h"
#include "base/str.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- shapes ---------------------------------------------------------------- */

int64_t genet__numel(const shape *s)
{
    int64_t n = 1;
    for (int i = 0; i < s->rank; i++) n *= s->dim[i];
    return n;
}

bool genet__same_shape(const shape *a, const shape *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

bool genet__is_float(dtype t) { return t == GENET_F32 || t == GENET_F64; }

void genet__dense_strides(const shape *s, int64_t stride[MAX_DIM])
{
    int64_t step = 1;
    for (int i = s->rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= s->dim[i];
    }
}

bool genet__is_dense(const tensor *t)
{
    int64_t step = 1;
    for (int i = t->shape.rank - 1; i >= 0; i--) {
        if (t->shape.dim[i] != 1 && t->stride[i] != step) return false;
        step *= t->shape.dim[i];
    }
    return true;
}

bool genet__broadcast_shape(const shape *a, const shape *b, shape *out)
{
    shape s = { .rank = a->rank > b->rank ? a->rank : b->rank };
    for (int i = 1; i <= s.rank; i++) {
        int64_t p = i <= a->rank ? a->dim[a->rank - i] : 1;
        int64_t q = i <= b->rank ? b->dim[b->rank - i] : 1;
        if (p != q && p != 1 && q != 1) return false;
        s.dim[s.rank - i] = p == 1 ? q : p;
    }
    *out = s;
    return true;
}

const char *genet__shape_text(char out[160], const tensor *t)
{
    size_t at = (size_t)snprintf(out, 160, "[");
    for (int i = 0; i < t->shape.rank && at < 136; i++)        /* an extent has 20 characters at most */
        at += (size_t)snprintf(out + at, 160 - at, "%s%lld", i ? "," : "", (long long)t->shape.dim[i]);
    snprintf(out + at, 160 - at, "]");
    return out;
}

/* --- the graph -------------------------------------------------------------- */

static void poison_init(graph *g)
{
    g->poison = (tensor){ .graph = g, .op = genet__op_table[OP_input], .id = -1, .root = &g->poison,
                          .main = &g->poison, .clone = &g->poison, .name = "", .poisoned = true };
}

genet_graph *genet_graph_new(void)
{
    graph *g = genet__alloc(sizeof *g);
    if (g) poison_init(g);
    return g;
}

void genet_graph_free(genet_graph *g)
{
    if (!g) return;
    genet__arena_release(&g->arena);
    genet__map_release(&g->state_names);
    genet__free(g->node);
    genet__free(g);
}

const char *genet_graph_error(const genet_graph *g) { return g->failed ? g->error : NULL; }
int genet_graph_size(const genet_graph *g) { return g->n; }

void genet_scope_push(genet_graph *g, const char *name)
{
    size_t n = strlen(g->scope);
    int most = (int)(sizeof g->scope_length / sizeof *g->scope_length);
    if (n + strlen(name) + 2 > sizeof g->scope || g->depth == most) {
        genet__fail(&g->poison, "scope %s.%.100s... is longer than %zu characters or deeper than %d", g->scope, name,
                    sizeof g->scope, most);
        return;
    }
    g->scope_length[g->depth++] = (short)n;
    snprintf(g->scope + n, sizeof g->scope - n, "%s%s", n ? "." : "", name);
}

void genet_scope_pop(genet_graph *g)
{
    if (g->depth) g->scope[g->scope_length[--g->depth]] = 0;
}

void genet__graph_no_memory(graph *g)
{
    if (g->failed) return;
    g->failed = true;
    g->code = GENET_ERR_MEMORY;
    snprintf(g->error, sizeof g->error, "out of memory while building the graph");
}

/* Which tensors they were, unless the words say it already. */
static void name_inputs(const tensor *y)
{
    graph *g = y->graph;
    int said = 0;
    for (int k = 0; y->id >= 0 && k < y->n_in && said < 4; k++) {
        const tensor *x = y->in[k];
        if (!x || !*x->name || strlen(x->name) > 100 || strstr(g->error, x->name)) continue;
        size_t n = strlen(g->error);
        snprintf(g->error + n, sizeof g->error - n, "%s%s %s", said++ ? ", " : "; inputs: ", x->name, SHAPE_TEXT(x));
    }
}

bool genet__fail(tensor *y, const char *fmt, ...)
{
    graph *g = y->graph;
    y->poisoned = true;
    if (g->failed) return false;
    g->failed = true;
    g->code = GENET_ERR_GRAPH;
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const char *where = g->scope;
    snprintf(g->error, sizeof g->error, "%s%s%.690s%s%.200s", y->id < 0 ? "" : y->op->name, y->id < 0 ? "" : ": ",
             text, *where ? " in " : "", where);
    name_inputs(y);
    return false;
}

void genet__fail_where(graph *g, const char *fmt, ...)
{
    size_t n = strlen(g->error);
    if (strstr(g->error, ", for the gradient of ")) return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(g->error + n, sizeof g->error - n, fmt, ap);
    va_end(ap);
}

/* --- tensors ------------------------------------------------------------------ */

static tensor *append(graph *g, const op *o)
{
    tensor *t = ARENA_NEW(&g->arena, tensor);
    if (!t || !GROW(g->node, g->n, g->cap)) {
        genet__graph_no_memory(g);
        return NULL;
    }
    *t = (tensor){ .graph = g, .op = o, .id = g->n, .root = t, .main = t, .region = g->n_regions + 1, .name = "" };
    return g->node[g->n++] = t;
}

graph *genet__graph_of(tensor *const in[], int n)
{
    for (int i = 0; i < n; i++)
        if (in[i]) return in[i]->graph;
    return NULL;
}

/* What infer left open: dense strides of fresh results, the storage that a
 * rewritten state's new value takes. */
static void settle(tensor *y)
{
    if (!(y->op->flags & OPF_VIEW))
        for (int k = 0; k <= y->op->n_side; k++) {
            tensor *t = genet__side(y, k);
            genet__dense_strides(&t->shape, t->stride);
        }
    else y->version = y->in[0]->version;
    int output = 0;
    for (int k = 0; k < y->n_in; k++) {
        if (!genet__rewrites(y->op, k)) continue;
        tensor *t = genet__side(y, output++), *s = y->in[k];
        if (!s) continue;
        t->root = s->root;
        t->start = s->start;
        memcpy(t->stride, s->stride, sizeof t->stride);
        t->version = s->version + 1;
    }
}

/* Both are dense windows: an op that rewrites state asks for that. */
static bool overlap(const tensor *a, const tensor *b)
{
    return a->root == b->root && a->start < b->start + genet__numel(&b->shape) && b->start < a->start + genet__numel(&a->shape);
}

static bool states_are_states(tensor *y)
{
    for (int k = 0; k < y->n_in; k++)
        if (genet__rewrites(y->op, k) && y->in[k]) {
            if (!genet__op_is(y->in[k]->root, OP_state))
                return genet__fail(y, "input %d must be state, or a window on it", k);
            for (int j = 0; j < k; j++)
                if (genet__rewrites(y->op, j) && y->in[j] && overlap(y->in[j], y->in[k]))
                    return genet__fail(y, "inputs %d and %d are rewritten and share memory of state %s", j, k,
                                       y->in[k]->root->name);
        }
    return true;
}

static bool shapes_fit(tensor *y)
{
    for (int k = 0; k <= y->op->n_side; k++) {
        const shape *s = &genet__side(y, k)->shape;
        int64_t n = 1;
        if (s->rank < 0 || s->rank > MAX_DIM) return genet__fail(y, "more than %d dimensions", MAX_DIM);
        for (int i = 0; i < s->rank; i++)
            if (s->dim[i] < 0 || __builtin_mul_overflow(n, s->dim[i] ? s->dim[i] : 1, &n) || n > INT64_MAX / 16)
                return genet__fail(y, "impossible shape %s", SHAPE_TEXT(genet__side(y, k)));
    }
    return true;
}

/* Of tensors in quantised blocks: an op that does not name them takes none and makes none. */
static bool blocks_taken(tensor *y)
{
    for (int k = 0; k < y->n_in; k++)
        if (y->in[k] && genet__is_blocks(y->in[k]->dtype) && !(y->op->flags & OPF_BLOCKS))
            return genet__fail(y, "takes no %s %s: cast it to f32 first", genet_dtype_name(y->in[k]->dtype),
                               SHAPE_TEXT(y->in[k]));
    return true;
}

/* A window must show whole blocks: all that is not one element after the other is whole blocks apart. */
static bool blocks_whole(tensor *y)
{
    bool whole = y->start % QUANT_BLOCK == 0 && genet__numel(&y->shape) % QUANT_BLOCK == 0;
    if (!genet__is_blocks(y->dtype)) return true;
    if (!(y->op->flags & OPF_BLOCKS))
        return genet__fail(y, "makes no %s: weights are quantised when they are written", genet_dtype_name(y->dtype));
    for (int i = 0; i < y->shape.rank; i++)
        whole &= y->shape.dim[i] < 2 || (y->stride[i] == 1 ? y->shape.dim[i] : y->stride[i]) % QUANT_BLOCK == 0;
    return whole || genet__fail(y, "%s %s: its rows are no whole blocks of %d", genet_dtype_name(y->dtype), SHAPE_TEXT(y),
                                QUANT_BLOCK);
}

tensor *genet__apply(graph *g, op_id id, tensor *const in[], int n_in, const attr *a)
{
    const op *o = genet__op_table[id];
    if (g->failed) return &g->poison;
    for (int i = 0; i < n_in; i++)
        if (in[i] && in[i]->poisoned) return &g->poison;
    tensor *y = append(g, o);
    if (!y) return &g->poison;
    for (int k = 1; k <= o->n_side; k++) {
        tensor *s = append(g, o);
        if (!s) return &g->poison;
        s->main = y;
        s->side = k;
    }
    y->in = n_in ? ARENA_ARRAY(&g->arena, tensor *, n_in) : NULL;
    if (n_in && !y->in) return genet__graph_no_memory(g), &g->poison;
    for (int i = 0; i < n_in; i++) y->in[i] = in[i];
    y->n_in = n_in;
    if (a) y->attr = *a;
    if (*g->scope) {
        /* neighbours share one copy of their scope's name */
        tensor *before = y->id ? g->node[y->id - 1] : NULL;
        y->name = before && !strcmp(before->name, g->scope) ? before->name : genet__arena_strdup(&g->arena, g->scope);
        if (!y->name) return genet__graph_no_memory(g), &g->poison;
    }
    for (int i = 0; i < n_in; i++)
        if (in[i] && in[i]->graph != g) return genet__fail(y, "inputs belong to different graphs"), &g->poison;
    if ((o->n_in >= 0 && o->n_in != n_in) || !blocks_taken(y) || !o->infer(y) || !shapes_fit(y) || !states_are_states(y)) {
        genet__fail(y, "impossible inputs");
        return &g->poison;
    }
    settle(y);
    return blocks_whole(y) ? y : &g->poison;
}

bool genet__infer_same(tensor *y)
{
    y->shape = y->in[0]->shape;
    y->dtype = y->in[0]->dtype;
    return true;
}

int genet_tensor_rank(const genet_tensor *t) { return t->shape.rank; }
int64_t genet_tensor_numel(const genet_tensor *t) { return genet__numel(&t->shape); }
genet_dtype genet_tensor_dtype(const genet_tensor *t) { return t->dtype; }
const char *genet_tensor_name(const genet_tensor *t) { return t->name; }

int64_t genet_tensor_dim(const genet_tensor *t, int i)
{
    if (i < 0) i += t->shape.rank;
    return i < 0 || i >= t->shape.rank ? 1 : t->shape.dim[i];
}

genet_tensor *genet_tensor_set_name(genet_tensor *t, const char *name)
{
    graph *g = t->graph;
    if (t->poisoned) return t;
    if (strlen(name) > 400) {
        genet__fail(t, "a name has 400 characters at most");
        return t;
    }
    char *full = genet__arena_printf(&g->arena, "%s%s%s", g->scope, *g->scope ? "." : "", name);
    if (full) t->name = full; else genet__graph_no_memory(g);
    return t;
}

genet_tensor *genet_side(genet_tensor *y, int k)
{
    if (y->poisoned) return y;
    if (k < 1 || k > y->op->n_side || y->side) {
        genet__fail(&y->graph->poison, "%s has %d sides, and no side %d", y->op->name, y->op->n_side, k);
        return &y->graph->poison;
    }
    return genet__side(y, k);
}

void genet__expand(tensor *y, tensor **out)
{
    for (int k = 0; k <= MAX_SIDE; k++) out[k] = NULL;
    y->op->expand(y, out);
}

/* --- types -------------------------------------------------------------------- */

static const struct { const char *name; size_t size; int64_t block; } type_table[GENET_DTYPE_COUNT] = {
    [GENET_F32] = { "f32", 4, 1 }, [GENET_F64] = { "f64", 8, 1 }, [GENET_BF16] = { "bf16", 2, 1 },
    [GENET_F16] = { "f16", 2, 1 }, [GENET_I32] = { "i32", 4, 1 }, [GENET_U8] = { "u8", 1, 1 },
    [GENET_Q8_0] = { "q8_0", sizeof(quant_q8_0), QUANT_BLOCK }, [GENET_Q4_0] = { "q4_0", sizeof(quant_q4_0), QUANT_BLOCK },
};
size_t genet_dtype_size(genet_dtype t) { return type_table[t].block == 1 ? type_table[t].size : 0; }
size_t genet_dtype_bytes(genet_dtype t, int64_t n)
{
    return (size_t)(n / type_table[t].block + (n % type_table[t].block != 0)) * type_table[t].size;
}
const char *genet_dtype_name(genet_dtype t) { return type_table[t].name; }
