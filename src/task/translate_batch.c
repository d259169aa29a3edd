/* translate_batch.c - tokenizing pairs, shapes by length, drawn orders, and rows with their padding. */
#include "task/translate_batch.h"
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"

typedef struct batch_key { uint64_t key; void *what; int shape; batch batch; } batch_key;

/* --- tokens ------------------------------------------------------------------------ */

/* The text's ids and the end token; a tokenizer that ends texts itself is not ended twice. */
static bool add_text(batches *b, const tokenizer *t, const char *text, int32_t *at, int32_t *n, genet_err *err)
{
    token_list *ids = &b->ids;
    *at = ids->n;
    TRY(genet__tokenizer_encode(t, text, strlen(text), ids, err));
    bool ended = ids->n > *at && ids->at[ids->n - 1] == b->end;
    if (!ended && !GROW(ids->at, ids->n, ids->cap)) return genet__err_memory(err);
    if (!ended) ids->at[ids->n++] = b->end;
    *n = ids->n - *at;
    return true;
}

static bool add_item(batches *b, const tokenizer *t, const text_pair *p, int64_t block, genet_err *err)
{
    item *i = &b->at[b->n];
    int32_t before = b->ids.n;
    TRY(add_text(b, t, p->source, &i->source, &i->n_source, err) || genet__err_prefix(err, "\"%.60s\": ", p->source));
    TRY(add_text(b, t, p->target, &i->target, &i->n_target, err) || genet__err_prefix(err, "\"%.60s\": ", p->target));
    if (i->n_source <= block && i->n_target <= block) b->n++;
    else b->ids.n = before, b->n_long++;
    return true;
}

static bool tokenize(batches *b, const pairs *p, const tokenizer *t, int64_t block, genet_err *err)
{
    for (int held_out = 0; held_out < 2; held_out++) {
        for (int64_t i = 0; i < p->n; i++)
            if (p->at[i].held_out == held_out) TRY(add_item(b, t, &p->at[i], block, err));
        if (!held_out) b->n_train = b->n;
    }
    return b->n_train || genet__err_set(err, GENET_ERR_USAGE, "no pair to learn from has at most %lld tokens on each side: give a "
                                        "larger --block-size", (long long)block);
}

/* --- shapes -------------------------------------------------------------------------- */

static int32_t length_of(const item *i) { return i->n_source > i->n_target ? i->n_source : i->n_target; }

static int64_t rows_of(int64_t length, int64_t rows, int64_t tokens)
{
    return tokens <= 0 ? rows : tokens / length ? tokens / length : 1;
}

/* block, and below it 2^k and 3 2^k down to 8. */
static void all_shapes(batches *b, int64_t block)
{
    int64_t length = block;
    b->n_shape = 0;
    do {
        b->shape[b->n_shape++].length = length;
        int64_t power = 8;
        while (2 * power < length) power *= 2;
        length = power * 3 / 2 < length ? power * 3 / 2 : power;
    } while (b->n_shape < TRAIN_SHAPES && length >= 8 && length < b->shape[b->n_shape - 1].length);
}

static int fitting(const batches *b, int32_t length)
{
    int s = b->n_shape - 1;
    while (s > 0 && b->shape[s].length < length) s--;
    return s;
}

/* A shape that no whole batch of training pairs has goes into the next longer one; one that is left without any at the long end goes,
 * unless something held out needs it. */
static void choose_shapes(batches *b, int64_t block, int64_t rows, int64_t tokens)
{
    batch_shape kept[TRAIN_SHAPES];
    int64_t longest = 0, n_all[TRAIN_SHAPES] = {0};
    int n = 0;
    all_shapes(b, block);
    for (int64_t i = 0; i < b->n; i++) longest = length_of(&b->at[i]) > longest ? length_of(&b->at[i]) : longest;
    for (int64_t i = 0; i < b->n_train; i++) n_all[fitting(b, length_of(&b->at[i]))]++;
    int top = fitting(b, (int32_t)longest);
    for (int s = b->n_shape - 1; s > top; s--)
        if (n_all[s] < rows_of(b->shape[s].length, rows, tokens) * b->parts) n_all[s - 1] += n_all[s], n_all[s] = 0;
    for (int s = top; s < b->n_shape; s++)
        if (s == top || n_all[s]) kept[n++] = (batch_shape){ rows_of(b->shape[s].length, rows, tokens), b->shape[s].length, n_all[s] };
    memcpy(b->shape, kept, sizeof kept);
    b->n_shape = n;
    for (int64_t i = 0; i < b->n; i++) b->at[i].shape = fitting(b, length_of(&b->at[i]));
}

void genet__batches_blank(batches *b, int64_t block, int64_t rows, int64_t tokens)
{
    b->n_shape = 1;
    b->shape[0] = (batch_shape){ rows_of(block, rows, tokens), block, 0 };
}

/* Pairs of a step. */
static int64_t step_rows(const batches *b, int s) { return b->shape[s].rows * b->parts; }

static bool buffers(batches *b, genet_err *err)
{
    size_t cells = 0, rows = 0;
    for (int s = 0; s < b->n_shape; s++) {
        size_t r = (size_t)b->shape[s].rows, n = r * (size_t)b->shape[s].length;
        if (n > cells) cells = n;
        if (r > rows) rows = r;
        b->n_list += (b->shape[s].n + step_rows(b, s) - 1) / step_rows(b, s);
    }
    b->pass = -1;
    b->list = genet__alloc_array((size_t)b->n_list, sizeof *b->list);
    b->order = genet__alloc_array((size_t)b->n, sizeof *b->order);
    b->key = genet__alloc_array((size_t)(b->n_train > b->n_list ? b->n_train : b->n_list), sizeof *b->key);
    b->source = genet__alloc_array(cells, sizeof *b->source);
    b->lengths = genet__alloc_array(rows, sizeof *b->lengths);
    b->x = genet__alloc_array(cells, sizeof *b->x);
    b->target = genet__alloc_array(cells, sizeof *b->target);
    return (b->list && b->order && b->key && b->source && b->lengths && b->x && b->target) || genet__err_memory(err);
}

bool genet__batches_make(batches *b, const pairs *p, const tokenizer *t, int64_t block, int64_t rows, int64_t tokens, genet_err *err)
{
    b->at = genet__alloc_array((size_t)p->n + 1, sizeof *b->at);
    if (!b->at) return genet__err_memory(err);
    TRY(tokenize(b, p, t, block, err));
    choose_shapes(b, block, rows, tokens);
    TRY(buffers(b, err));
    for (int64_t i = b->n_train; i < b->n; i++) b->order[i] = &b->at[i];
    return true;
}

void genet__batches_release(batches *b)
{
    void *heap[] = { b->at, b->list, b->order, b->key, b->source, b->lengths, b->x, b->target };
    for (size_t i = 0; i < sizeof heap / sizeof *heap; i++) genet__free(heap[i]);
    genet__token_list_release(&b->ids);
    *b = (batches){0};
}

/* --- a pass ---------------------------------------------------------------------------- */

/* By shape, then as drawn; places in memory decide between equal draws. */
static int by_key(const void *a, const void *b)
{
    const batch_key *x = a, *y = b;
    if (x->shape != y->shape) return x->shape < y->shape ? -1 : 1;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->what ? (x->what > y->what) - (x->what < y->what) : (x->batch.first > y->batch.first) - (x->batch.first < y->batch.first);
}

static uint64_t draw(const batches *b, const char *stream, int64_t pass, int64_t i)
{
    return genet__rng_below(b->seed, genet__rng_stream(stream), (uint32_t)pass, (uint64_t)i, UINT64_MAX);
}

/* Pairs in a drawn order within their shape. */
static void draw_pairs(batches *b, int64_t pass)
{
    for (int64_t i = 0; i < b->n_train; i++)
        b->key[i] = (batch_key){ .key = draw(b, "pairs", pass, i), .what = &b->at[i], .shape = b->at[i].shape };
    qsort(b->key, (size_t)b->n_train, sizeof *b->key, by_key);
    for (int64_t i = 0; i < b->n_train; i++) b->order[i] = b->key[i].what;
}

/* Cut them into steps, which come in a drawn order too. */
static void draw_list(batches *b, int64_t pass)
{
    int64_t n = 0;
    for (int64_t first = 0, last; first < b->n_train; first = last) {
        int s = b->order[first]->shape;
        for (last = first; last < b->n_train && b->order[last]->shape == s; last++);
        for (int64_t at = first; at < last; at += step_rows(b, s), n++) {
            int64_t rows = last - at < step_rows(b, s) ? last - at : step_rows(b, s);
            b->key[n] = (batch_key){ .key = draw(b, "steps", pass, n), .batch = { s, at, rows } };
        }
    }
    qsort(b->key, (size_t)n, sizeof *b->key, by_key);
    for (int64_t i = 0; i < n; i++) b->list[i] = b->key[i].batch;
}

const batch *genet__batches_of(batches *b, int64_t step)
{
    int64_t pass = step / b->n_list;
    if (pass != b->pass) {
        draw_pairs(b, pass);
        draw_list(b, pass);
        b->pass = pass;
    }
    return &b->list[step % b->n_list];
}

/* --- rows -------------------------------------------------------------------------------- */

tensor *genet__batches_build(batch_inputs *in, const model *m, net *n, int64_t rows, int64_t length)
{
    in->source = genet_input(n->graph, "source", GENET_I32, GENET_DIMS(rows, length));
    in->lengths = genet_input(n->graph, "lengths", GENET_I32, GENET_DIMS(rows));
    in->x = genet_input(n->graph, "x", GENET_I32, GENET_DIMS(rows, length));
    in->target = genet_input(n->graph, "target", GENET_I32, GENET_DIMS(rows, length));
    return genet__model_forward(m, n, &(model_inputs){ .x = in->x, .source = in->source, .source_lengths = in->lengths });
}

/* Teacher forcing: x is the start token and the target without its last.  A row without a pair reads the end token, and learns nothing. */
static void fill_row(batches *b, int64_t row, int64_t length, const item *i)
{
    int32_t *source = b->source + row * length, *x = b->x + row * length, *target = b->target + row * length;
    int32_t n_target = i ? i->n_target : 0;
    const int32_t *ids = b->ids.at;
    b->lengths[row] = i ? i->n_source : 1;
    for (int64_t k = 0; k < length; k++) {
        source[k] = i && k < i->n_source ? ids[i->source + k] : b->end;
        x[k] = k == 0 ? b->start : k < n_target ? ids[i->target + k - 1] : b->end;
        target[k] = k < n_target ? ids[i->target + k] : NO_TARGET;
    }
}

bool genet__batches_write(batches *b, const batch_inputs *in, genet_plan *p, int64_t rows, int64_t length, item *const *at, int64_t n,
                          genet_err *err)
{
    size_t size = (size_t)(rows * length) * sizeof *b->x;
    for (int64_t r = 0; r < rows; r++) fill_row(b, r, length, r < n ? at[r] : NULL);
    TRY(genet_plan_write(p, in->source, b->source, size, err));
    TRY(genet_plan_write(p, in->lengths, b->lengths, (size_t)rows * sizeof *b->lengths, err));
    TRY(genet_plan_write(p, in->x, b->x, size, err));
    return genet_plan_write(p, in->target, b->target, size, err);
}
