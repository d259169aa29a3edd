/* params.c - declaring, placing, binding and copying named tensors.
 *
 * Declaration order is the order of everything: of memory, of the flat
 * gradient, of the file.  Blocks of device memory never move, so an address
 * stays good for as long as the params live. */
#include "nn/params.h"
#include "nn/lora.h"
#include "base/alloc.h"
#include "base/err.h"
#include "device/device.h"
#include <stdio.h>
#include <assert.h>
#include <string.h>

enum { PLACE_ALIGN = 64 };

/* The device is the caller's, and must outlive the params. */
params *genet__params_new(genet_device *d, uint64_t seed, genet_err *err)
{
    params *p = genet__alloc(sizeof *p);
    if (!p) {
        genet__err_memory(err);
        return NULL;
    }
    p->device = d;
    p->seed = seed;
    return p;
}

params *genet__params_beside(const params *shared, genet_err *err)
{
    params *p = genet__params_new(shared->device, shared->seed, err);
    if (p) p->shared = shared;
    return p;
}

void genet__params_free(params *p)
{
    if (!p) return;
    for (int i = 0; i < p->n_block; i++)
        genet_device_release(p->device, p->block[i].address, p->block[i].size_bytes);
    for (int i = 0; i < p->n_file; i++) genet__file_unmap(&p->file[i]);
    genet__free(p->file);
    genet__free(p->block);
    genet__free(p->at);
    genet__map_release(&p->by_name);
    genet__arena_release(&p->arena);
    genet__free(p);
}

param *genet__params_find(const params *p, const char *name)
{
    int64_t *i = genet__map_get(&p->by_name, name);
    return i ? p->at[*i] : p->shared ? genet__params_find(p->shared, name) : NULL;
}

/* --- declaring ----------------------------------------------------------------- */

/* A new entry; p->n is its index in by_name. */
static param *declare(params *p, const tensor *t, const char *name, param_kind kind, init how)
{
    param *w = ARENA_NEW(&p->arena, param);
    char *copy = genet__arena_strdup(&p->arena, name);
    if (!w || !copy || !GROW(p->at, p->n, p->cap) || !genet__map_set(&p->by_name, copy, p->n)) return NULL;
    *w = (param){ .name = copy, .kind = kind, .dtype = t->dtype, .shape = t->shape, .init = how,
                  .size_bytes = genet_dtype_bytes(t->dtype, genet__numel(&t->shape)) };
    return p->at[p->n++] = w;
}

tensor *genet__params_node(const graph *g, const char *name)
{
    const int64_t *id = genet__map_get(&g->state_names, name);
    return id ? g->node[*id] : NULL;
}

bool genet__graph_ok(const graph *g, genet_err *err)
{
    return !g->failed || genet__err_set(err, g->code, "%s", g->error);
}

tensor *genet__params_tensor(params *p, graph *g, const char *name, param_kind kind, dtype type,
                             int rank, const int64_t *dim, init how)
{
    char full[sizeof g->scope + 200];
    int n = snprintf(full, sizeof full, "%s%s%s", g->scope, *g->scope ? "." : "", name);
    if (n < 0 || (size_t)n >= sizeof full) {
        genet__fail(&g->poison, "the name %.60s... is longer than %zu characters", name, sizeof full);
        return &g->poison;
    }
    tensor *t = genet__params_node(g, full);
    bool fresh = !t;
    if (fresh) t = genet_state(g, name, type, rank, dim);
    if (t->poisoned) return t;
    param *w = genet__params_find(p, full);
    bool own = p->lora && !strncmp(full, LORA_PREFIX, sizeof LORA_PREFIX - 1);
    if (!w && p->shared && !own && (kind == PARAM_WEIGHT || kind == PARAM_BUFFER)) {
        genet__fail(&g->poison, "%s is not among the weights of the opened model", full);
        return &g->poison;
    }
    if (!w && !(w = declare(p, t, full, kind, how))) {
        bool first = !g->failed;
        genet__fail(&g->poison, "out of memory while declaring %s", full);
        if (first) g->code = GENET_ERR_MEMORY;
        return &g->poison;
    }
    shape asked = { .rank = rank };
    for (int i = 0; i < rank; i++) asked.dim[i] = dim[i];
    if (w->dtype != type || !genet__same_shape(&w->shape, &asked)) {
        tensor was = { .shape = w->shape }, now = { .shape = asked };
        genet__fail(&g->poison, "%s is %s %s, and is asked for as %s %s", full, genet_dtype_name(w->dtype),
                    SHAPE_TEXT(&was), genet_dtype_name(type), SHAPE_TEXT(&now));
        return &g->poison;
    }
    return t;
}

tensor *genet__params_fixed(params *p, graph *g, const char *name, int rank, const int64_t *dim, const double *values)
{
    tensor *t = genet__params_tensor(p, g, name, PARAM_FIXED, GENET_F32, rank, dim, (init){ INIT_GIVEN, 0, 0, 0 });
    param *w = t->poisoned ? NULL : genet__params_find(p, t->name);
    if (!w || w->given) return t;
    size_t n_bytes = (size_t)genet__numel(&w->shape) * sizeof *values;
    double *copy = genet__arena_alloc(&p->arena, n_bytes);
    if (!copy) {
        genet__fail(&g->poison, "out of memory for %s", w->name);
        return &g->poison;
    }
    memcpy(copy, values, n_bytes);
    w->given = copy;
    return t;
}

/* Names in g are made inside its scope, and the weight's name is whole already. */
tensor *genet__params_derived(params *p, tensor *weight)
{
    graph *g = weight->graph;
    if (weight->poisoned) return weight;
    param *w = genet__params_find(p, weight->name);
    char name[sizeof g->scope + 210], first = *g->scope;
    snprintf(name, sizeof name, "%s.bf16", weight->name);
    *g->scope = 0;
    tensor *t = genet__params_tensor(p, g, name, PARAM_DERIVED, GENET_BF16, weight->shape.rank, weight->shape.dim, INIT_OF_ZEROS);
    *g->scope = first;
    if (w && !t->poisoned) w->derived = genet__params_find(p, name);
    return t;
}

void genet__params_store(param *w, dtype type, bool transposed)
{
    if (transposed != w->transposed) {
        int64_t rows = w->shape.dim[0];
        w->shape.dim[0] = w->shape.dim[1];
        w->shape.dim[1] = rows;
    }
    w->dtype = type;
    w->transposed = transposed;
    w->size_bytes = genet_dtype_bytes(type, genet__numel(&w->shape));
}

tensor *genet__params_matrix(params *p, graph *g, const char *name, param_use use, bool in_out, int64_t rows,
                             int64_t columns, init how)
{
    char full[sizeof g->scope + 200];
    snprintf(full, sizeof full, "%s%s%s", g->scope, *g->scope ? "." : "", name);
    param *w = genet__params_find(p, full);
    bool transposed = w && w->transposed;
    int64_t dim[2] = { transposed ? columns : rows, transposed ? rows : columns };
    tensor *t = genet__params_tensor(p, g, name, PARAM_WEIGHT, w ? w->dtype : GENET_F32, 2, dim, how);
    if (!w && !t->poisoned && (w = genet__params_find(p, full))) {
        w->use = use;
        w->in_out = in_out;
    }
    return transposed ? genet_transpose(t, 0, 1) : t;
}

/* --- memory -------------------------------------------------------------------- */

/* Rows of vector registers, and whole cache lines. */
static size_t aligned(size_t n) { return (n + PLACE_ALIGN - 1) / PLACE_ALIGN * PLACE_ALIGN; }

/* One piece for all that has none: neighbours in declaration order are
 * neighbours in memory. */
bool genet__params_place(params *p, genet_err *err)
{
    size_t total = 0;
    int n = 0;
    for (int i = 0; i < p->n; i++)
        if (!p->at[i]->address) total += aligned(p->at[i]->size_bytes), n++;
    if (!n) return true;
    if (!total) total = PLACE_ALIGN;        /* an empty tensor, too, has an address */
    if (!GROW(p->block, p->n_block, p->cap_block)) return genet__err_memory(err);
    char *at = genet_device_alloc(p->device, total, err);
    if (!at) return false;
    if (p->shared && p->device->sparse) p->device->sparse(p->device, at, total);     /* caches, filled as a text goes on */
    p->block[p->n_block].address = at;
    p->block[p->n_block++].size_bytes = total;
    for (int i = 0; i < p->n; i++) {
        if (p->at[i]->address) continue;
        p->at[i]->address = at;
        at += aligned(p->at[i]->size_bytes);
    }
    return true;
}

/* Kernels read views, which begin at any element: the type's own alignment is
 * all that they need; that of blocks is their scales'. */
bool genet__params_adopt(params *p, param *w, const void *at)
{
    size_t alignment = genet__is_blocks(w->dtype) ? sizeof(uint16_t) : genet_dtype_size(w->dtype);
    if (w->address || !p->device->adopt || (uintptr_t)at % alignment) return false;
    void *address = p->device->adopt(p->device, at, w->size_bytes);
    if (!address) return false;
    w->address = address;
    w->filled = w->adopted = true;
    return true;
}

bool genet__params_keep(params *p, mapped f, genet_err *err)
{
    if (!GROW(p->file, p->n_file, p->cap_file)) {
        genet__file_unmap(&f);
        return genet__err_memory(err);
    }
    p->file[p->n_file++] = f;
    return true;
}

size_t genet__params_placed_bytes(const params *p)
{
    size_t n = 0;
    for (int i = 0; i < p->n_block; i++) n += p->block[i].size_bytes;
    return n;
}

/* A graph that writes to a mapped file's weights would end the process. */
static bool writes_adopted(const params *p, const tensor *t, genet_err *err)
{
    if (!(t->op->flags & OPF_EFFECT) || !genet__op_is(t->root, OP_state)) return false;
    const param *w = genet__params_find(p, t->root->name);
    return w && w->adopted && !genet__err_set(err, GENET_ERR_USAGE, "%s would be written, and lies in a file that was "
                                              "opened for reading", w->name);
}

/* State that the plan does not use is passed over by genet_plan_bind. */
bool genet__params_bind(params *p, const graph *g, genet_plan *plan, genet_err *err)
{
    for (int i = 0; i < g->n; i++) {
        tensor *t = g->node[i];
        if (writes_adopted(p, t, err)) return false;
        if (!genet__op_is(t, OP_state)) continue;
        param *w = genet__params_find(p, t->name);
        if (!w || !w->address)
            return genet__err_set(err, GENET_ERR_USAGE, "%s has no memory yet", t->name);
        TRY(genet_plan_bind(plan, t, w->address, err));
    }
    return true;
}

static bool right_size(const param *w, size_t size_bytes, genet_err *err)
{
    if (!w->address) return genet__err_set(err, GENET_ERR_USAGE, "%s has no memory yet", w->name);
    if (size_bytes == w->size_bytes) return true;
    return genet__err_set(err, GENET_ERR_USAGE, "%s holds %zu bytes, not %zu", w->name, w->size_bytes, size_bytes);
}

bool genet__params_write(params *p, param *w, const void *from, size_t size_bytes, genet_err *err)
{
    TRY(right_size(w, size_bytes, err));
    if (w->adopted) return genet__err_set(err, GENET_ERR_USAGE, "%s lies in a file that was opened for reading", w->name);
    genet_device_write(p->device, w->address, from, size_bytes);
    w->filled = true;
    return genet__params_refresh(p, w, err);
}

bool genet__params_read(const params *p, const param *w, void *to, size_t size_bytes, genet_err *err)
{
    TRY(right_size(w, size_bytes, err));
    genet_device_read(p->device, w->address, to, size_bytes);
    return true;
}

void genet__params_read_part(const params *p, const param *w, int64_t first, int64_t n, void *to)
{
    assert(first >= 0 && n >= 0 && first + n <= genet__numel(&w->shape));
    genet_device_read(p->device, (const char *)w->address + genet_dtype_bytes(w->dtype, first), to,
                      genet_dtype_bytes(w->dtype, n));
}

/* --- groups -------------------------------------------------------------------- */

/* Only weights can be frozen; buffers and moments are not trained anyway. */
int genet__params_freeze(params *p, const char *prefix, bool frozen)
{
    int n = 0;
    for (int i = 0; i < p->n; i++) {
        param *w = p->at[i];
        if (w->kind != PARAM_WEIGHT || strncmp(w->name, prefix, strlen(prefix))) continue;
        w->frozen = frozen;
        n++;
    }
    return n;
}

int64_t genet__params_numel(const params *p, unsigned kinds)
{
    int64_t n = 0;
    for (int i = 0; i < p->n; i++)
        if (p->at[i]->kind & kinds) n += genet__numel(&p->at[i]->shape);
    return n;
}

size_t genet__params_bytes(const params *p, unsigned kinds)
{
    size_t n = 0;
    for (int i = 0; i < p->n; i++)
        if (p->at[i]->kind & kinds) n += aligned(p->at[i]->size_bytes);
    return n;
}
