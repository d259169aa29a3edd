/* table.c - training a network on a table: columns to inputs (schema.c), rows
 * to training and validation by a drawn order, squared error or cross-entropy,
 * and a full pass over the validation rows.
 *
 * Rows are shuffled anew each pass over them, by counters; row p of the
 * endless sequence of passes is a function of seed and p alone.  With
 * --batch-size 0 every step takes all rows in the file's order: plain gradient descent. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/rng.h"
#include "task/schema.h"
#include "task/table_net.h"
#include "task/task.h"

typedef struct table_options { const char *data; schema_options schema; double val_fraction; } table_options;

#define AT(member) offsetof(table_options, member)
static const field option_fields[] = {
    { "data",         FIELD_STRING, AT(data),         NULL, 0, 0, NULL, FIELD_MANY | FIELD_WORDS,
      "table to learn: .csv with a header row (required)" },
    { "target",       FIELD_STRING, AT(schema.target), NULL, 0, 0, NULL, 0, "column to predict (required)" },
    { "task",         FIELD_CHOICE, AT(schema.task),  "auto", 0, 0, "auto|regression|classification", 0,
      "auto: regression for a column of numbers" },
    { "standardize",  FIELD_BOOL,   AT(schema.standardize), "false", 0, 0, NULL, 0, "inputs to mean 0 and deviation 1" },
    { "ignore",       FIELD_STRING, AT(schema.ignore), NULL, 0, 0, NULL, 0,
      "columns to leave out: a,b,c (spaces around a name do not count)" },
    { "val_fraction", FIELD_DOUBLE, AT(val_fraction), "0.1", 0, 0.9, NULL, 0, "rows, drawn at random, kept for validation" },
};
static const fields option_table = { "task mlp", option_fields, sizeof option_fields / sizeof *option_fields };
static const char *const presets[] = {
    "batch_size", "32", "weight_decay", "0", "beta2", "0.999", "max_grad_norm", "0", "warmup_steps", "0", "min_lr", "0", NULL
};

typedef struct job {
    setup   *s;
    const table_options *o;
    table    table;
    schema   schema;
    model   *model;
    float   *inputs;            /* (n_row, n_input) */
    double  *targets;
    int64_t *rows;              /* training rows, then validation rows */
    int64_t  n_train, n_val;
    int64_t *order, order_pass; /* this pass over the training rows */
    int64_t  batch;
    tensor  *x, *target;
    float   *batch_x, *batch_y;
    int32_t *batch_class;
    table_net eval;
} job;

/* --- rows -------------------------------------------------------------------------- */

typedef struct key { uint64_t key; int64_t row; } key;

/* Equal keys are one in 2^64, but even then there is an order. */
static int by_key(const void *a, const void *b)
{
    const key *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* n rows in a drawn order. */
static bool shuffle(int64_t *rows, int64_t n, uint64_t seed, const char *stream, uint32_t step)
{
    key *k = genet__alloc_array((size_t)n + 1, sizeof *k);
    uint32_t number = genet__rng_stream(stream);
    for (int64_t i = 0; k && i < n; i++)
        k[i] = (key){ genet__rng_below(seed, number, step, (uint64_t)i, UINT64_MAX), rows[i] };
    if (!k) return false;
    qsort(k, (size_t)n, sizeof *k, by_key);
    for (int64_t i = 0; i < n; i++) rows[i] = k[i].row;
    genet__free(k);
    return true;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Rows whose target is there, split; each part in the file's order. */
static bool split_rows(job *j, const column *target, genet_err *err)
{
    int64_t n = 0;
    j->rows = genet__alloc_array((size_t)j->table.n_row + 1, sizeof *j->rows);
    if (!j->rows) return genet__err_memory(err);
    for (int64_t r = 0; r < j->table.n_row; r++)
        if (!genet__column_missing(target, r)) j->rows[n++] = r;
    if (n < j->table.n_row)
        genet__log(j->s->log, LOG_INFO, "%lld rows without %s are left out", (long long)(j->table.n_row - n), target->name);
    j->n_val = (int64_t)(j->o->val_fraction * (double)n);
    j->n_train = n - j->n_val;
    if (!j->n_train) return genet__err_set(err, GENET_ERR_USAGE, "%s has no row to learn from", j->table.path);
    if (j->n_val && !shuffle(j->rows, n, (uint64_t)j->s->train.seed, "split", 0)) return genet__err_memory(err);
    qsort(j->rows, (size_t)j->n_train, sizeof *j->rows, by_number);
    qsort(j->rows + j->n_train, (size_t)j->n_val, sizeof *j->rows, by_number);
    return true;
}

/* A resumed run needs the table it began with. */
static bool same_data(const job *j, int64_t size, uint32_t crc, genet_err *err)
{
    return (j->schema.data_bytes == size && j->schema.data_crc == (int64_t)crc) ||
           genet__err_set(err, GENET_ERR_USAGE, "%s is not the table this run was trained on (crc32 %08x, now %08x)",
                          j->o->data, (unsigned)j->schema.data_crc, (unsigned)crc);
}

/* A run killed in its first moments has not written table.json yet. */
static bool has_schema(const job *j)
{
    return j->s->train.resume && genet__file_exists_in(j->s->train.out, "table.json");
}

static bool open_schema(job *j, genet_err *err)
{
    uint32_t crc;
    int64_t size;
    TRY(genet__file_crc32(j->o->data, &crc, &size, err));
    if (has_schema(j)) {
        TRY(genet__schema_read(&j->schema, j->s->train.out, err));
        return same_data(j, size, crc, err);
    }
    TRY(genet__schema_fit(&j->schema, &j->table, &j->o->schema, j->rows, j->n_train, err));
    j->schema.data_bytes = size;
    j->schema.data_crc = crc;
    return true;
}

/* A table.json from outside may know fewer classes than the table has. */
static bool known_targets(const job *j, genet_err *err)
{
    for (int64_t i = 0; i < j->n_train + j->n_val; i++)
        if (isnan(j->targets[j->rows[i]]))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: line %lld: table.json does not know this value of %s",
                                  j->table.path, (long long)j->table.line[j->rows[i]], j->schema.target);
    return true;
}

/* Read, split, then columns to numbers: statistics come from training rows only. */
static bool open_table(job *j, genet_err *err)
{
    if (!j->o->data || !*j->o->data) return genet__err_set(err, GENET_ERR_USAGE, "--data FILE.csv is missing");
    if (strchr(j->o->data, '\n'))
        return genet__err_set(err, GENET_ERR_USAGE, "--data takes one table, and several are given");
    if (!j->o->schema.target || !*j->o->schema.target)
        return genet__err_set(err, GENET_ERR_USAGE, "--target COLUMN is missing");
    TRY(genet__table_read(&j->table, j->o->data, 0, err));
    int target = genet__table_find(&j->table, j->o->schema.target, err);
    TRY(target >= 0 && split_rows(j, &j->table.column[target], err));
    TRY(open_schema(j, err));
    j->inputs = genet__schema_inputs(&j->schema, &j->table, err);
    j->targets = genet__schema_targets(&j->schema, &j->table, err);
    return j->inputs && j->targets && known_targets(j, err);
}

/* --- batches ------------------------------------------------------------------------- */

/* Row of place p in the endless sequence of passes over the training rows. */
static bool row_at(job *j, int64_t p, int64_t *row)
{
    int64_t pass = p / j->n_train;
    if (!j->s->train.batch_size) {
        *row = j->rows[p % j->n_train];
        return true;
    }
    if (pass != j->order_pass) {
        memcpy(j->order, j->rows, (size_t)j->n_train * sizeof *j->order);
        if (!shuffle(j->order, j->n_train, (uint64_t)j->s->train.seed, "rows", (uint32_t)pass)) return false;
        j->order_pass = pass;
    }
    *row = j->order[p % j->n_train];
    return true;
}

/* A batch may reach into the next pass: all batches are full. */
static bool feed(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    job *j = user;
    size_t width = (size_t)j->schema.n_input, rows = (size_t)j->batch;
    int64_t start = (step * j->s->train.gradient_accumulation_steps + micro) * j->batch;
    for (size_t i = 0; i < rows; i++) {
        int64_t row;
        if (!row_at(j, start + (int64_t)i, &row)) return genet__err_memory(err);
        memcpy(j->batch_x + i * width, j->inputs + (size_t)row * width, width * sizeof *j->batch_x);
        if (j->schema.classify) j->batch_class[i] = (int32_t)j->targets[row];
        else j->batch_y[i] = (float)j->targets[row];
    }
    TRY(genet_plan_write(p, j->x, j->batch_x, rows * width * sizeof *j->batch_x, err));
    return genet_plan_write(p, j->target, j->schema.classify ? (void *)j->batch_class : j->batch_y, rows * 4, err);
}

/* Squared error over rows, or cross-entropy of classes. */
static bool build(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    (void)err;
    job *j = user;
    j->x = genet_input(n->graph, "x", GENET_F32, GENET_DIMS(rows, j->schema.n_input));
    tensor *y = genet__model_forward(j->model, n, &(model_inputs){ .x = j->x });   /* (rows, n_output) */
    if (j->schema.classify) {
        j->target = genet_input(n->graph, "target", GENET_I32, GENET_DIMS(rows));
        *loss_sum = genet_cross_entropy(y, j->target, NO_TARGET, 0);
    } else {
        j->target = genet_input(n->graph, "target", GENET_F32, GENET_DIMS(rows, 1));
        *loss_sum = genet_mse(y, j->target);
    }
    *count = genet_side(*loss_sum, 1);
    return true;
}

/* --- evaluation ------------------------------------------------------------------------ */

/* -log softmax(z)[k], in double. */
static double surprise(const float *z, int n, int k)
{
    double max = (double)z[0], sum = 0;
    for (int i = 1; i < n; i++) max = fmax(max, (double)z[i]);
    for (int i = 0; i < n; i++) sum += exp((double)z[i] - max);
    return max + log(sum) - (double)z[k];
}

/* Loss of one row, and whether its class was right. */
static void score_row(const job *j, const float *y, double target, double *loss, int64_t *right)
{
    if (j->schema.classify) {
        *loss += surprise(y, j->schema.n_class, (int)target);
        *right += genet__table_net_class(y, j->schema.n_class) == (int)target;
    } else *loss += pow((double)y[0] - target, 2);
}

/* Losses are summed in double on the host: outputs are few. */
static bool evaluate(void *user, train_score *out, genet_err *err)
{
    job *j = user;
    const int64_t *rows = j->rows + j->n_train;
    int64_t width = j->schema.n_input, right = 0;
    double loss = 0;
    for (int64_t at = 0; at < j->n_val; at += j->eval.rows) {
        int64_t n = j->n_val - at < j->eval.rows ? j->n_val - at : j->eval.rows;
        for (int64_t i = 0; i < n; i++)
            memcpy(j->eval.in + i * width, j->inputs + rows[at + i] * width, (size_t)width * sizeof *j->inputs);
        TRY(genet__table_net_run(&j->eval, err));
        for (int64_t i = 0; i < n; i++)
            score_row(j, j->eval.out + i * j->eval.n_output, j->targets[rows[at + i]], &loss, &right);
    }
    *out = (train_score){ .loss = loss / (double)j->n_val, .perplexity = NAN, .bits_per_byte = NAN, .count = j->n_val,
                          .accuracy = j->schema.classify ? (double)right / (double)j->n_val : NAN };
    return true;
}

static bool ready(void *user, genet_err *err)
{
    job *j = user;
    return !j->n_val || genet__table_net_attach(&j->eval, j->s->workspace, err);
}

/* table.json stands beside the weights: prediction reads columns by it. */
static bool describe(void *user, const train_event *e, genet_err *err)
{
    job *j = user;
    char data[300];
    snprintf(data, sizeof data, "%lld rows for training and %lld for validation (crc32 of the table: %08x)",
             (long long)j->n_train, (long long)j->n_val, (unsigned)j->schema.data_crc);
    TRY(genet__model_write_config(j->model, j->s->train.out, err));
    TRY(genet__schema_write(&j->schema, j->s->train.out, err));
    return genet__write_card(j->s, data, NULL, e, err);
}

/* --- the job ------------------------------------------------------------------------------ */

/* Inputs and outputs are what the columns come to. */
static bool new_model(job *j, genet_err *err)
{
    setup *s = j->s;
    const family *f = s->family;
    *(int64_t *)((char *)s->config + f->n_input) = j->schema.n_input;
    *(int64_t *)((char *)s->config + f->n_output) = j->schema.classify ? j->schema.n_class : 1;
    j->model = genet__model_new(f, s->config, s->device, (uint64_t)s->train.seed, err);
    return j->model && genet__model_declare(j->model, err);
}

/* What feed fills. */
static bool buffers(job *j, genet_err *err)
{
    size_t n = (size_t)j->batch;
    j->order = genet__alloc_array((size_t)j->n_train, sizeof *j->order);
    j->order_pass = -1;
    j->batch_x = genet__alloc_array(n * (size_t)j->schema.n_input, sizeof *j->batch_x);
    j->batch_y = genet__alloc_array(n, sizeof *j->batch_y);
    j->batch_class = genet__alloc_array(n, sizeof *j->batch_class);
    return (j->order && j->batch_x && j->batch_y && j->batch_class) || genet__err_memory(err);
}

/* From options to a job; nothing is written. */
static bool prepare(job *j, train_job *t, json_t **settings, genet_err *err)
{
    setup *s = j->s;
    TRY(open_table(j, err));
    TRY(new_model(j, err));
    j->batch = s->train.batch_size && s->train.batch_size < j->n_train ? s->train.batch_size : j->n_train;
    TRY(buffers(j, err));
    TRY(genet__setup_job(s, t, j->model->params, settings, err));
    int64_t per_step = j->batch * s->train.gradient_accumulation_steps;
    t->user = j;
    t->unit = "rows";
    t->scores = j->schema.classify ? SCORE_ACCURACY : 0;
    t->batch_rows = j->batch;
    t->units_per_row = 1;
    t->steps_per_epoch = (j->n_train + per_step - 1) / per_step;
    t->data_bytes = 0;      /* in memory already */
    t->build = build;
    t->feed = feed;
    t->ready = ready;
    t->describe = describe;
    if (!j->n_val) return true;
    t->evaluate = evaluate;
    TRY(genet__table_net_build(&j->eval, j->model, j->n_val < 256 ? j->n_val : 256, genet__train_dtype(&s->train), err));
    t->eval_workspace_bytes = j->eval.workspace_bytes;
    return true;
}

static void release(job *j)
{
    genet__table_net_release(&j->eval);
    genet__model_free(j->model);
    genet__table_release(&j->table);
    genet__schema_release(&j->schema);
    void *heap[] = { j->inputs, j->targets, j->rows, j->order, j->batch_x, j->batch_y, j->batch_class };
    for (size_t i = 0; i < sizeof heap / sizeof *heap; i++) genet__free(heap[i]);
}

static bool train(setup *s, train_event *last, genet_err *err)
{
    job j = { .s = s, .o = s->own };
    train_job t;
    json_t *settings = NULL;
    bool ok = prepare(&j, &t, &settings, err) && genet__train(&t, last, err);
    json_decref(settings);
    release(&j);
    return ok;
}

static bool cost(setup *s, train_cost *out, genet_err *err)
{
    job j = { .s = s, .o = s->own };
    train_job t;
    json_t *settings = NULL;
    bool ok = prepare(&j, &t, &settings, err) &&
              genet__train_cost(&t, j.batch, s->train.gradient_accumulation_steps, out, err);
    json_decref(settings);
    release(&j);
    return ok;
}

static const char details[] =
    "The table has a header row; the delimiter is the one of , ; tab that the header holds most often.  A "
    "cell is missing when\n"
    "it is empty or says NA, N/A, NaN, nan, null, NULL, None or ?.  A column of numbers is one input, and a "
    "missing number is\n"
    "the mean of the training rows.  A column of text is one input for each of its values, at most 256; a "
    "missing or unknown text is\n"
    "zeros in all.  Rows without the target are left out.  Regression is by mean squared error, classification by\n"
    "cross-entropy.  With --batch-size 0 every step takes all training rows.\n";

const task genet__task_mlp = {
    .name = "mlp", .details = details, .help = "a network for tables: a column from the others", .family = "mlp",
    .options_bytes = sizeof(table_options), .options = &option_table, .presets = presets, .train = train, .cost = cost,
};
