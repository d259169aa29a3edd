/* classify_rows.c - labelled texts, split by class, tokenized once, in batches. */
#include "task/classify_rows.h"
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"

enum { POOL_BATCHES = 32, SHORTEST = 8 };      /* texts are sorted by length within so many batches */

/* --- drawn orders ------------------------------------------------------------------------- */

typedef struct drawn { uint64_t key; int64_t at; } drawn;

static int by_key(const void *a, const void *b)
{
    const drawn *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* n blocks of `size` elements in a drawn order. */
static bool shuffle(int64_t *at, int64_t n, int64_t size, uint64_t seed, const char *stream, uint32_t step)
{
    drawn *d = genet__alloc_array((size_t)n + 1, sizeof *d);
    int64_t *copy = genet__alloc_array((size_t)(n * size) + 1, sizeof *copy);
    bool ok = d && copy;
    for (int64_t i = 0; ok && i < n; i++)
        d[i] = (drawn){ genet__rng_below(seed, genet__rng_stream(stream), step, (uint64_t)i, UINT64_MAX), i };
    if (ok) {
        qsort(d, (size_t)n, sizeof *d, by_key);
        memcpy(copy, at, (size_t)(n * size) * sizeof *at);
        for (int64_t i = 0; i < n; i++) memcpy(at + i * size, copy + d[i].at * size, (size_t)size * sizeof *at);
    }
    genet__free(d);
    genet__free(copy);
    return ok;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* --- reading ------------------------------------------------------------------------------ */

/* Classes that only the rows to be judged have can never be right: a slip of the pen, most likely. */
static bool number_labels(class_rows *r, const labelled *l, int64_t from, const char *path, genet_err *err)
{
    for (int i = 0; i < l->n; i++) {
        r->label[from + i] = genet__labelled_class(r->classes, r->n_class, l->at[i].label);
        if (r->label[from + i] < 0)
            return genet__err_set(err, GENET_ERR_USAGE, "%s: line %lld: label \"%.60s\" is none of the model's %d classes", path,
                                  (long long)l->at[i].line, l->at[i].label, r->n_class);
    }
    return true;
}

/* Of each class the same part is held out, so that rare ones are seen on both sides. */
static bool split(class_rows *r, double val_fraction, genet_err *err)
{
    int64_t *mine = genet__alloc_array((size_t)r->data.n + 1, sizeof *mine);
    if (!mine) return genet__err_memory(err);
    bool ok = true;
    for (int k = 0; ok && k < r->n_class; k++) {
        int64_t n = 0;
        for (int64_t i = 0; i < r->data.n; i++)
            if (r->label[i] == k) mine[n++] = i;
        ok = shuffle(mine, n, 1, r->seed, "split", (uint32_t)k) || genet__err_memory(err);
        int64_t held = (int64_t)(val_fraction * (double)n + 0.5);
        held = held < n ? held : n - 1;
        for (int64_t i = 0; i < n; i++) *(i < held ? &r->val[r->n_val++] : &r->train[r->n_train++]) = mine[i];
    }
    qsort(r->train, (size_t)r->n_train, sizeof *r->train, by_number);
    qsort(r->val, (size_t)r->n_val, sizeof *r->val, by_number);
    genet__free(mine);
    return ok;
}

bool genet__class_rows_read(class_rows *r, const char *data, const char *eval_data, const labelled_columns *c, double val_fraction,
                            const char *const *classes, int n_class, uint64_t seed, genet_err *err)
{
    bool two = eval_data && *eval_data;
    r->seed = seed;
    r->pass = -1;
    TRY(genet__labelled_read(&r->data, data, c, err));
    if (two) TRY(genet__labelled_read(&r->eval, eval_data, c, err));
    r->n = (int64_t)r->data.n + r->eval.n;
    if (classes) r->classes = (const char **)classes, r->n_class = n_class;
    else if (!(r->classes = genet__labelled_classes(&r->data, &r->n_class))) return genet__err_memory(err);
    if (r->n_class < 2) return genet__err_set(err, GENET_ERR_USAGE, "%s has one class only, \"%.60s\"", data, r->classes[0]);
    r->label = genet__alloc_array((size_t)r->n, sizeof *r->label);
    r->row = genet__alloc_array((size_t)r->n, sizeof *r->row);
    r->train = genet__alloc_array((size_t)r->n, sizeof *r->train);
    r->val = genet__alloc_array((size_t)r->n, sizeof *r->val);
    if (!r->label || !r->row || !r->train || !r->val) return genet__err_memory(err);
    TRY(number_labels(r, &r->data, 0, data, err) && (!two || number_labels(r, &r->eval, r->data.n, eval_data, err)));
    TRY(split(r, two ? 0 : val_fraction, err));
    for (int64_t i = r->data.n; i < r->n; i++) r->val[r->n_val++] = i;
    return true;
}

/* --- tokens --------------------------------------------------------------------------------- */

/* The list moves while it grows: where rows begin is known at the end. */
static bool tokenize(class_rows *r, const tokenizer *t, bool whole, int64_t T, genet_err *err)
{
    frame f = genet__frame_of(t, whole);
    int64_t cut;
    for (int64_t i = 0; i < r->n; i++) {
        const labelled_row *l = i < r->data.n ? &r->data.at[i] : &r->eval.at[i - r->data.n];
        int before = r->ids.n;
        if (!genet__frame_text(&f, t, l->text, l->pair, T, &r->ids, &r->row[i].first, &cut, err))
            return genet__err_prefix(err, "line %lld: ", (long long)l->line);
        r->row[i].n = r->ids.n - before;
        r->n_cut += cut > 0;
        r->tokens_cut += cut;
    }
    int64_t at = 0;
    for (int64_t i = 0; i < r->n; at += r->row[i++].n) r->row[i].ids = r->ids.at + at;
    return true;
}

/* Powers of two times SHORTEST, down from the longest text. */
static void set_shapes(class_rows *r)
{
    int64_t longest = 1;
    for (int64_t i = 0; i < r->n_train; i++)
        if (r->row[r->train[i]].n > longest) longest = r->row[r->train[i]].n;
    int64_t T = SHORTEST;
    while (T < longest) T *= 2;
    r->T[0] = longest;
    for (r->n_shape = 1; T > SHORTEST && r->n_shape < TRAIN_SHAPES; r->n_shape++) r->T[r->n_shape] = T /= 2;
}

bool genet__class_rows_tokens(class_rows *r, const tokenizer *t, bool whole, int64_t T, int64_t batch, genet_err *err)
{
    TRY(tokenize(r, t, whole, T, err));
    set_shapes(r);
    r->batch = batch < r->n_train ? batch : r->n_train;
    r->n_batch = (r->n_train + r->batch - 1) / r->batch;
    r->order = genet__alloc_array((size_t)(r->n_batch * r->batch), sizeof *r->order);
    return r->order || genet__err_memory(err);
}

void genet__class_rows_release(class_rows *r)
{
    genet__labelled_release(&r->data);
    genet__labelled_release(&r->eval);
    genet__token_list_release(&r->ids);
    void *heap[] = { r->label, r->row, r->train, r->val, r->order };
    for (size_t i = 0; i < sizeof heap / sizeof *heap; i++) genet__free(heap[i]);
    *r = (class_rows){0};
}

/* --- batches ---------------------------------------------------------------------------------- */

/* Longest first: stable, as the drawn order comes second. */
static bool sort_by_length(const class_rows *r, int64_t *at, int64_t n)
{
    drawn *d = genet__alloc_array((size_t)n + 1, sizeof *d);
    int64_t *copy = genet__alloc_array((size_t)n + 1, sizeof *copy);
    bool ok = d && copy;
    for (int64_t i = 0; ok && i < n; i++) d[i] = (drawn){ (uint64_t)(INT32_MAX - r->row[at[i]].n), i };
    if (ok) {
        memcpy(copy, at, (size_t)n * sizeof *at);
        qsort(d, (size_t)n, sizeof *d, by_key);
        for (int64_t i = 0; i < n; i++) at[i] = copy[d[i].at];
    }
    genet__free(d);
    genet__free(copy);
    return ok;
}

/* All texts in a drawn order, sorted by length a pool at a time, cut into batches, and these in a drawn order. */
static bool make_pass(class_rows *r, int64_t pass)
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

const int64_t *genet__class_rows_batch(class_rows *r, int64_t i)
{
    int64_t pass = i / r->n_batch;
    if (pass != r->pass && !make_pass(r, pass)) return NULL;
    return r->order + i % r->n_batch * r->batch;
}

int genet__class_rows_shape(const class_rows *r, const int64_t *rows)
{
    int64_t longest = 1;
    for (int64_t i = 0; i < r->batch; i++)
        if (rows[i] >= 0 && r->row[rows[i]].n > longest) longest = r->row[rows[i]].n;
    int which = 0;
    while (which + 1 < r->n_shape && longest <= r->T[which + 1]) which++;
    return which;
}
