/* tune_rows.c - which items a step sees follows from the seed and the step alone: a pass is all items in a drawn order, sorted by
 * length some batches at a time, cut into batches, and these in a drawn order. */
#include "task/tune_rows.h"
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"

enum { POOL_BATCHES = 32, SHORTEST = 16 };

/* --- drawn orders ------------------------------------------------------------------------- */

typedef struct drawn { uint64_t key; int64_t at; } drawn;

static int by_key(const void *a, const void *b)
{
    const drawn *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* n blocks of `size` elements in the order of d's keys; d is used up. */
static bool arrange(int64_t *at, int64_t n, int64_t size, drawn *d)
{
    int64_t *copy = genet__alloc_array((size_t)(n * size) + 1, sizeof *copy);
    if (copy) {
        qsort(d, (size_t)n, sizeof *d, by_key);
        memcpy(copy, at, (size_t)(n * size) * sizeof *at);
        for (int64_t i = 0; i < n; i++) memcpy(at + i * size, copy + d[i].at * size, (size_t)size * sizeof *at);
    }
    genet__free(copy);
    return copy;
}

static bool shuffle(int64_t *at, int64_t n, int64_t size, uint64_t seed, const char *stream, uint32_t step)
{
    drawn *d = genet__alloc_array((size_t)n + 1, sizeof *d);
    for (int64_t i = 0; d && i < n; i++)
        d[i] = (drawn){ genet__rng_below(seed, genet__rng_stream(stream), step, (uint64_t)i, UINT64_MAX), i };
    bool ok = d && arrange(at, n, size, d);
    genet__free(d);
    return ok;
}

/* --- items ---------------------------------------------------------------------------------- */

static int64_t inputs_of(const tune_rows *r, int64_t item)
{
    int64_t n = 1;
    for (int k = 0; k < r->each; k++)
        if (r->e->at[item * r->each + k].n - 1 > n) n = r->e->at[item * r->each + k].n - 1;
    return n;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Something is left to learn from. */
static bool split(tune_rows *r, int64_t n_data, double val_fraction, genet_err *err)
{
    int64_t *all = genet__alloc_array((size_t)n_data + 1, sizeof *all), held = (int64_t)(val_fraction * (double)n_data + 0.5);
    held = held < n_data ? held : n_data - 1;
    for (int64_t i = 0; all && i < n_data; i++) all[i] = i;
    bool ok = all && shuffle(all, n_data, 1, r->seed, "split", 0);
    for (int64_t i = 0; ok && i < n_data; i++) *(i < held ? &r->val[r->n_val++] : &r->train[r->n_train++]) = all[i];
    genet__free(all);
    if (!ok) return genet__err_memory(err);
    qsort(r->val, (size_t)r->n_val, sizeof *r->val, by_number);
    qsort(r->train, (size_t)r->n_train, sizeof *r->train, by_number);
    for (int64_t i = n_data; i < r->n; i++) r->val[r->n_val++] = i;
    return true;
}

/* Powers of two times SHORTEST, down from the longest sequence. */
static void set_shapes(tune_rows *r)
{
    int64_t longest = 1, T = SHORTEST;
    for (int64_t i = 0; i < r->n; i++)
        if (inputs_of(r, i) > longest) longest = inputs_of(r, i);
    while (T < longest) T *= 2;
    r->T[0] = longest;
    for (r->n_shape = 1; T > SHORTEST && r->n_shape < TRAIN_SHAPES; r->n_shape++) r->T[r->n_shape] = T /= 2;
}

bool genet__tune_rows_make(tune_rows *r, const examples *e, int each, int64_t n_data, double val_fraction, int64_t batch,
                           uint64_t seed, genet_err *err)
{
    *r = (tune_rows){ .e = e, .each = each, .n = e->n / each, .pass = -1, .seed = seed };
    r->train = genet__alloc_array((size_t)r->n + 1, sizeof *r->train);
    r->val = genet__alloc_array((size_t)r->n + 1, sizeof *r->val);
    if (!r->train || !r->val) return genet__err_memory(err);
    TRY(split(r, n_data, val_fraction, err));
    set_shapes(r);
    r->batch = batch < r->n_train ? batch : r->n_train;
    r->n_batch = (r->n_train + r->batch - 1) / r->batch;
    r->order = genet__alloc_array((size_t)(r->n_batch * r->batch), sizeof *r->order);
    return r->order || genet__err_memory(err);
}

void genet__tune_rows_release(tune_rows *r)
{
    genet__free(r->train);
    genet__free(r->val);
    genet__free(r->order);
    *r = (tune_rows){0};
}

/* --- batches ---------------------------------------------------------------------------------- */

/* Longest first; what is of one length keeps the drawn order. */
static bool sort_by_length(const tune_rows *r, int64_t *at, int64_t n)
{
    drawn *d = genet__alloc_array((size_t)n + 1, sizeof *d);
    for (int64_t i = 0; d && i < n; i++) d[i] = (drawn){ (uint64_t)(INT32_MAX - inputs_of(r, at[i])), i };
    bool ok = d && arrange(at, n, 1, d);
    genet__free(d);
    return ok;
}

static bool make_pass(tune_rows *r, int64_t pass)
{
    int64_t all = r->n_batch * r->batch, pool = POOL_BATCHES * r->batch;
    memcpy(r->order, r->train, (size_t)r->n_train * sizeof *r->order);
    for (int64_t i = r->n_train; i < all; i++) r->order[i] = -1;
    bool ok = shuffle(r->order, r->n_train, 1, r->seed, "rows", (uint32_t)pass);
    for (int64_t at = 0; ok && at < r->n_train; at += pool)
        ok = sort_by_length(r, r->order + at, r->n_train - at < pool ? r->n_train - at : pool);
    ok = ok && shuffle(r->order, r->n_batch, r->batch, r->seed, "batches", (uint32_t)pass);
    r->pass = ok ? pass : -1;
    return ok;
}

const int64_t *genet__tune_rows_batch(tune_rows *r, int64_t i)
{
    int64_t pass = i / r->n_batch;
    if (pass != r->pass && !make_pass(r, pass)) return NULL;
    return r->order + i % r->n_batch * r->batch;
}

int genet__tune_rows_shape(const tune_rows *r, const int64_t *items)
{
    int64_t longest = 1;
    for (int64_t i = 0; i < r->batch; i++)
        if (items[i] >= 0 && inputs_of(r, items[i]) > longest) longest = inputs_of(r, items[i]);
    int which = 0;
    while (which + 1 < r->n_shape && longest <= r->T[which + 1]) which++;
    return which;
}

void genet__tune_row(const example *e, int64_t T, int32_t *x, int32_t *target, float *said)
{
    for (int64_t i = 0; i < T; i++) {
        bool there = e && i + 1 < e->n;
        x[i] = there ? e->ids[i] : 0;
        target[i] = there && e->said[i + 1] ? e->ids[i + 1] : NO_TARGET;
        if (said) said[i] = target[i] != NO_TARGET;
    }
}
