/* classify.c - training a model to tell which class a text is of: its tokens through an encoder's first, or a decoder's
 * last, hidden state to a logit a class; cross-entropy; accuracy and macro F1 of the texts held out.
 *
 * From scratch, with a tokenizer learned from the texts, or from a folder whose model had another head: then the backbone's
 * weights are taken and the head begins anew.  Which texts a step sees follows from the seed and the step. */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "task/classify_rows.h"
#include "task/from.h"
#include "task/table_net.h"
#include "task/task.h"
#include "text/tokenizer_train.h"
#include "train/save.h"

typedef struct classify_options {
    const char *data, *eval_data, *tokenizer, *from;
    labelled_columns columns;
    double  val_fraction;
} classify_options;

#define AT(member) offsetof(classify_options, member)
static const field option_fields[] = {
    { "data",         FIELD_STRING, AT(data),         NULL, 0, 0, NULL, FIELD_RENEWABLE,
      "texts with labels: .csv or .tsv with a header row, .jsonl (required)" },
    { "eval_data",    FIELD_STRING, AT(eval_data),    NULL, 0, 0, NULL, FIELD_RENEWABLE, "texts for validation, in place of val-fraction" },
    { "text_column",  FIELD_STRING, AT(columns.text), "text", 0, 0, NULL, 0, "column, or field, of the text" },
    { "text_pair_column", FIELD_STRING, AT(columns.pair), NULL, 0, 0, NULL, 0, "of a second text that belongs to it" },
    { "label_column", FIELD_STRING, AT(columns.label), "label", 0, 0, NULL, 0, "of the class" },
    { "tokenizer",    FIELD_STRING, AT(tokenizer),    "bpe:8000", 0, 0, NULL, 0,
      "char, bpe:VOCAB, wordpiece:VOCAB, unigram:VOCAB, word:VOCAB (learned from the texts), or the folder or file of an existing one" },
    { "val_fraction", FIELD_DOUBLE, AT(val_fraction), "0.1", 0, 0.9, NULL, 0, "of each class, drawn at random, kept for validation" },
    { "from",         FIELD_STRING, AT(from),         NULL, 0, 0, NULL, 0, "begin with the model in this folder, whatever its head" },
};
static const fields option_table = { "task classify", option_fields, sizeof option_fields / sizeof *option_fields };
static const char *const presets[] = { "batch_size", "32", "learning_rate", "5e-4", "beta2", "0.999", "weight_decay", "0.01",
                                       "warmup_steps", "50", NULL };

typedef struct inputs { tensor *x, *lengths, *segment, *label; } inputs;

typedef struct classify {
    setup      *s;
    const classify_options *o;
    class_rows  rows;
    tokenizer  *tokenizer;
    model      *model;
    texts      *eval;
    inputs      in[TRAIN_SHAPES];
    int         shape;          /* what build and feed are of */
    int64_t     T;              /* tokens of a text at most */
    int32_t    *x, *segment, *lengths, *label;
    int64_t    *confusion;      /* (class, answer) of an evaluation */
    double      loss;           /* its sum */
    char        folder[3000];   /* OUT/training */
} classify;

static bool is_encoder(const family *f) { return f->heads->kind == HEAD_MASKED_LM; }

/* --- texts ------------------------------------------------------------------------------- */

static bool resumed_after_save(const classify *c, bool *saved, genet_err *err)
{
    int64_t step = -1;
    if (c->s->train.resume) TRY(genet__save_last(c->s->train.out, &step, err));
    *saved = step >= 0;
    return true;
}

static bool read_rows(classify *c, genet_err *err)
{
    const classify_options *o = c->o;
    if (!o->data || !*o->data) return genet__err_set(err, GENET_ERR_USAGE, "--data is missing: a file of texts with labels");
    class_rows *r = &c->rows;
    TRY(genet__class_rows_read(r, o->data, o->eval_data, &o->columns, o->val_fraction, NULL, 0, (uint64_t)c->s->train.seed, err));
    int64_t without = r->data.n_unlabelled + r->eval.n_unlabelled;
    if (without) genet__log(c->s->log, LOG_INFO, "%lld texts without a label are left out", (long long)without);
    genet__log(c->s->log, LOG_INFO, "%lld texts to learn from, %lld held out, %d classes", (long long)r->n_train, (long long)r->n_val,
               r->n_class);
    return true;
}

/* A resumed run needs the texts it began with. */
static bool same_rows(const classify *c, genet_err *err)
{
    char *path = genet__path_join(c->folder, "texts.json");
    if (!path) return genet__err_memory(err);
    bool ok = true;
    json_t *now = json_pack("{s:I, s:I, s:I}", "data_crc32", (json_int_t)c->rows.data.crc, "eval_crc32", (json_int_t)c->rows.eval.crc,
                            "texts", (json_int_t)c->rows.n), *was = NULL;
    if (!now) ok = genet__err_memory(err);
    else if (c->s->train.resume && genet__file_exists(path)) {
        ok = (was = genet__json_read(path, 1 << 16, err));
        if (ok && !json_equal(was, now))
            ok = genet__err_set(err, GENET_ERR_USAGE, "%s and what it is judged by are not the texts this run began with", c->o->data);
    } else ok = genet__json_write(path, now, err);
    json_decref(now);
    json_decref(was);
    genet__free(path);
    return ok;
}

/* The texts of the part to learn from, a line each, then the rest; *n_chars: characters of the former. */
static bool print_texts(const class_rows *r, str *out, int64_t *n_chars, genet_err *err)
{
    for (int part = 0; part < 2; part++) {
        const int64_t *at = part ? r->val : r->train;
        for (int64_t i = 0; i < (part ? r->n_val : r->n_train); i++) {
            const labelled_row *l = at[i] < r->data.n ? &r->data.at[at[i]] : &r->eval.at[at[i] - r->data.n];
            genet__str_printf(out, "%s\n", l->text);
            if (l->pair) genet__str_printf(out, "%s\n", l->pair);
        }
        if (out->failed) return genet__err_memory(err);
        if (!part) for (size_t i = 0; i < out->n; i++) *n_chars += ((unsigned char)out->at[i] & 0xc0) != 0x80;
    }
    return true;
}

static tokenizer *learn_from(const classify *c, const char *path, int64_t n_chars, genet_err *err)
{
    text_source *source = genet__source_open(&path, 1, NULL, err);
    text_scan *scan = source ? genet__alloc(sizeof *scan) : NULL;
    if (source && !scan) genet__err_memory(err);
    bool ok = scan && genet__source_scan(source, scan, err);
    tokenizer *made = ok ? genet__tokenizer_make(c->o->tokenizer, source, scan, n_chars, NULL, err) : NULL;
    genet__free(scan);
    genet__source_close(source);
    return made;
}

static tokenizer *learn(const classify *c, genet_err *err)
{
    str text = {0};
    int64_t n_chars = 0;
    char *path = genet__path_join(c->folder, "learn.txt");
    bool ok = path || genet__err_memory(err);
    ok = ok && print_texts(&c->rows, &text, &n_chars, err) && genet__file_write_all(path, genet__str(&text), text.n, err);
    genet__str_release(&text);
    tokenizer *made = ok ? learn_from(c, path, n_chars, err) : NULL;
    if (path) genet__file_remove_tree(path, NULL);
    genet__free(path);
    return made;
}

/* That of the run, of --from, or as --tokenizer says; its weights know the ids of its own. */
static bool open_tokenizer(classify *c, genet_err *err)
{
    const char *folder = NULL, *spec = c->o->tokenizer;
    if (c->s->train.resume && genet__tokenizer_exists(c->folder)) folder = c->folder;
    else if (c->o->from && !genet__options_was_given(&c->s->options, "tokenizer")) folder = c->o->from;
    else if (!genet__tokenizer_is_learned(spec)) folder = spec;
    c->tokenizer = folder ? genet__tokenizer_load(folder, err) : learn(c, err);
    if (!c->tokenizer) return folder && folder == c->o->from && genet__err_prefix(err, "the tokenizer of --from: ");
    genet__log(c->s->log, LOG_INFO, "%s: %d tokens in the vocabulary", genet__tokenizer_kind(c->tokenizer),
               genet__tokenizer_size(c->tokenizer));
    return genet__tokenizer_save(c->tokenizer, c->folder, err);
}

static bool open_text(classify *c, genet_err *err)
{
    int n = snprintf(c->folder, sizeof c->folder, "%s/training", c->s->train.out);
    if (n < 0 || n >= (int)sizeof c->folder) return genet__err_set(err, GENET_ERR_USAGE, "the path of --out is too long");
    TRY(read_rows(c, err) && genet__file_make_dirs(c->folder, err));
    return open_tokenizer(c, err) && same_rows(c, err);
}

/* --- the model ------------------------------------------------------------------------------ */

/* A config field by name, where the family has it. */
static void set_id(const family *f, void *config, const char *name, int32_t id)
{
    const field *at = genet__fields_find(f->config, name);
    if (at && at->type == FIELD_INT && id >= 0) *(int64_t *)((char *)config + at->offset) = id;
}

/* transformers finds a decoder's last token as the last that is not padding. */
static void set_padding(const classify *c, const family *f, void *config)
{
    static const char name[] = "[PAD]";
    int32_t id = genet__tokenizer_find(c->tokenizer, name, sizeof name - 1);
    set_id(f, config, "pad_token_id", id >= 0 ? id : genet__tokenizer_end(c->tokenizer));
}

static bool new_model(classify *c, genet_err *err)
{
    setup *s = c->s;
    *(int64_t *)((char *)s->config + s->family->vocab_size) = genet__tokenizer_size(c->tokenizer);
    set_padding(c, s->family, s->config);
    c->T = *(int64_t *)((char *)s->config + s->family->context);
    c->model = genet__model_new(s->family, s->config, s->device, (uint64_t)s->train.seed, err);
    return c->model && genet__model_set_head(c->model, HEAD_SEQUENCE, c->rows.n_class, err) && genet__model_declare(c->model, err);
}

static bool old_model(classify *c, genet_err *err)
{
    setup *s = c->s;
    str said = {0};
    bool saved;
    TRY(resumed_after_save(c, &saved, err));
    const char *folder = saved ? s->train.out : c->o->from;
    model_as as = { HEAD_SEQUENCE, c->rows.n_class, (uint64_t)s->train.seed, &said };
    c->model = genet__model_open_as(folder, s->device, saved ? MODEL_NO_WEIGHTS : MODEL_WRITABLE, &as, err);
    if (c->model && said.n) genet__log(s->log, LOG_INFO, "weights of %s: %s", folder, genet__str(&said));
    genet__str_release(&said);
    if (!c->model) return false;
    if (c->model->family != s->family)
        return genet__err_set(err, GENET_ERR_USAGE, "%s holds a %s: --model %s", folder, c->model->family->name, c->model->family->name);
    set_padding(c, s->family, c->model->config);
    return genet__from_adopt(s, c->model, c->o->from, &c->T, err);
}

static bool open_model(classify *c, genet_err *err)
{
    TRY(c->o->from && *c->o->from ? old_model(c, err) : new_model(c, err));
    int64_t V = *genet__model_int(c->model, c->s->family->vocab_size);
    if (genet__tokenizer_size(c->tokenizer) > V)
        return genet__err_set(err, GENET_ERR_USAGE, "the tokenizer has %d tokens and the model only %lld",
                              genet__tokenizer_size(c->tokenizer), (long long)V);
    c->model->problem_type = "single_label_classification";
    return genet__labels_set(c->model, c->rows.classes, c->rows.n_class, err);
}

/* --- steps ------------------------------------------------------------------------------------ */

static int64_t part_of(const classify *c, int64_t step, int64_t micro)
{
    return step * c->s->train.gradient_accumulation_steps + micro;
}

/* Without memory the longest shape is right for any batch, and feed says what is missing. */
static int shape_of(void *user, int64_t step)
{
    classify *c = user;
    int least = c->rows.n_shape - 1;
    for (int64_t micro = 0; micro < c->s->train.gradient_accumulation_steps; micro++) {
        const int64_t *rows = genet__class_rows_batch(&c->rows, part_of(c, step, micro));
        int which = rows ? genet__class_rows_shape(&c->rows, rows) : 0;
        if (which < least) least = which;
    }
    return least;
}

static void choose(void *user, int which) { ((classify *)user)->shape = which; }

static bool build(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    (void)err;
    classify *c = user;
    inputs *in = &c->in[c->shape];
    int64_t T = c->rows.T[c->shape];
    in->x = genet_input(n->graph, "x", GENET_I32, GENET_DIMS(rows, T));
    in->lengths = genet_input(n->graph, "lengths", GENET_I32, GENET_DIMS(rows));
    in->label = genet_input(n->graph, "label", GENET_I32, GENET_DIMS(rows));
    in->segment = c->o->columns.pair && genet__has_segments(c->model) ? genet_input(n->graph, "segment", GENET_I32, GENET_DIMS(rows, T)) : NULL;
    tensor *logits = genet__model_forward(c->model, n, &(model_inputs){ .x = in->x, .lengths = in->lengths, .segment = in->segment });
    *loss_sum = genet_cross_entropy(logits, in->label, NO_TARGET, 0);
    *count = genet_side(*loss_sum, 1);
    return true;
}

/* Rows that are not there are one token long, and count nothing. */
static void fill(classify *c, const int64_t *rows, int64_t T)
{
    const class_rows *r = &c->rows;
    memset(c->x, 0, (size_t)(r->batch * T) * sizeof *c->x);
    memset(c->segment, 0, (size_t)(r->batch * T) * sizeof *c->segment);
    for (int64_t b = 0; b < r->batch; b++) {
        const text_row *row = rows[b] >= 0 ? &r->row[rows[b]] : NULL;
        c->lengths[b] = row ? row->n : 1;
        c->label[b] = row ? r->label[rows[b]] : NO_TARGET;
        for (int i = 0; row && i < row->n; i++) {
            c->x[b * T + i] = row->ids[i];
            c->segment[b * T + i] = i >= row->first;
        }
    }
}

static bool feed(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    classify *c = user;
    const inputs *in = &c->in[c->shape];
    int64_t B = c->rows.batch, T = c->rows.T[c->shape];
    const int64_t *rows = genet__class_rows_batch(&c->rows, part_of(c, step, micro));
    if (!rows) return genet__err_memory(err);
    fill(c, rows, T);
    TRY(genet_plan_write(p, in->x, c->x, (size_t)(B * T) * sizeof *c->x, err));
    if (in->segment) TRY(genet_plan_write(p, in->segment, c->segment, (size_t)(B * T) * sizeof *c->segment, err));
    TRY(genet_plan_write(p, in->lengths, c->lengths, (size_t)B * sizeof *c->lengths, err));
    return genet_plan_write(p, in->label, c->label, (size_t)B * sizeof *c->label, err);
}

/* --- evaluation --------------------------------------------------------------------------------- */

/* -log softmax(z)[k], in double. */
static double surprise(const float *z, int64_t n, int k)
{
    double max = (double)z[0], sum = 0;
    for (int64_t i = 1; i < n; i++) max = fmax(max, (double)z[i]);
    for (int64_t i = 0; i < n; i++) sum += exp((double)z[i] - max);
    return max + log(sum) - (double)z[k];
}

static bool take_answer(void *user, int64_t i, const float *y, int64_t n, genet_err *err)
{
    classify *c = user;
    int k = c->rows.label[c->rows.val[i]], K = c->rows.n_class;
    (void)n, (void)err;
    c->loss += surprise(y, K, k);
    c->confusion[k * K + genet__table_net_class(y, K)]++;
    return true;
}

/* The mean over classes of 2 TP / (2 TP + FP + FN), of those that occur or are answered (scikit-learn's f1_score). */
static double macro_f1(const int64_t *confusion, int64_t K)
{
    double sum = 0;
    int64_t counted = 0;
    for (int64_t k = 0; k < K; k++) {
        int64_t right = confusion[k * K + k], all = 0;
        for (int64_t i = 0; i < K; i++) all += confusion[k * K + i] + confusion[i * K + k];
        counted += all > 0;
        sum += all ? 2.0 * (double)right / (double)all : 0;
    }
    return counted ? sum / (double)counted : NAN;
}

static bool evaluate(void *user, train_score *out, genet_err *err)
{
    classify *c = user;
    const class_rows *r = &c->rows;
    int64_t right = 0;
    text_row *rows = genet__alloc_array((size_t)r->n_val, sizeof *rows);
    if (!rows) return genet__err_memory(err);
    for (int64_t i = 0; i < r->n_val; i++) rows[i] = r->row[r->val[i]];
    c->loss = 0;
    memset(c->confusion, 0, (size_t)(r->n_class * r->n_class) * sizeof *c->confusion);
    bool ok = genet__texts_run(c->eval, rows, r->n_val, take_answer, c, err);
    genet__free(rows);
    for (int64_t k = 0; k < r->n_class; k++) right += c->confusion[k * r->n_class + k];
    *out = (train_score){ .loss = c->loss / (double)r->n_val, .perplexity = NAN, .bits_per_byte = NAN, .count = r->n_val,
                          .accuracy = (double)right / (double)r->n_val, .macro_f1 = macro_f1(c->confusion, r->n_class) };
    return ok;
}

/* Config and tokenizer stand beside the weights; the card says how good it is. */
static bool describe(void *user, const train_event *e, genet_err *err)
{
    classify *c = user;
    const class_rows *r = &c->rows;
    char data[300];
    snprintf(data, sizeof data, "%lld texts for training and %lld for validation, of %d classes (crc32 of the file: %08x)",
             (long long)r->n_train, (long long)r->n_val, r->n_class, (unsigned)r->data.crc);
    TRY(genet__model_write_config(c->model, c->s->train.out, err) && genet__tokenizer_save(c->tokenizer, c->s->train.out, err));
    return genet__write_card(c->s, data, genet__tokenizer_kind(c->tokenizer), e, err);
}

/* --- the job ---------------------------------------------------------------------------------------- */

static bool buffers(classify *c, genet_err *err)
{
    size_t B = (size_t)c->rows.batch, n = B * (size_t)c->rows.T[0], K = (size_t)c->rows.n_class;
    c->x = genet__alloc_array(n, sizeof *c->x);
    c->segment = genet__alloc_array(n, sizeof *c->segment);
    c->lengths = genet__alloc_array(B, sizeof *c->lengths);
    c->label = genet__alloc_array(B, sizeof *c->label);
    c->confusion = genet__alloc_array(K * K, sizeof *c->confusion);
    return (c->x && c->segment && c->lengths && c->label && c->confusion) || genet__err_memory(err);
}

static bool prepare(classify *c, train_job *job, json_t **settings, genet_err *err)
{
    setup *s = c->s;
    if (!s->train.batch_size) return genet__err_set(err, GENET_ERR_USAGE, "--batch-size must be 1 at least for text");
    TRY(open_text(c, err) && open_model(c, err));
    TRY(genet__class_rows_tokens(&c->rows, c->tokenizer, is_encoder(s->family), c->T, s->train.batch_size, err));
    if (c->rows.n_cut)
        genet__log(s->log, LOG_WARN, "%lld texts are longer than %lld tokens: their ends, %lld tokens in all, are left out",
                   (long long)c->rows.n_cut, (long long)c->T, (long long)c->rows.tokens_cut);
    TRY(buffers(c, err) && genet__setup_job(s, job, c->model->params, settings, err));
    int64_t parts = s->train.gradient_accumulation_steps;
    job->user = c;
    job->unit = "texts";
    job->scores = SCORE_ACCURACY | SCORE_MACRO_F1;
    job->batch_rows = c->rows.batch;
    job->units_per_row = 1;
    job->steps_per_epoch = (c->rows.n_batch + parts - 1) / parts;
    job->n_shapes = c->rows.n_shape;
    job->shape_of = shape_of;
    job->choose = choose;
    job->build = build;
    job->feed = feed;
    job->describe = describe;
    if (!c->rows.n_val) return true;
    job->evaluate = evaluate;
    c->eval = genet__texts_new(c->model, c->model->params, s->workspace, POOL_NONE, genet__train_dtype(&s->train), err);
    return c->eval && genet__texts_bytes(c->eval, c->T, &job->eval_workspace_bytes, err);
}

static void release(classify *c)
{
    genet__texts_free(c->eval);
    genet__model_free(c->model);
    genet__tokenizer_free(c->tokenizer);
    genet__class_rows_release(&c->rows);
    void *heap[] = { c->x, c->segment, c->lengths, c->label, c->confusion };
    for (size_t i = 0; i < sizeof heap / sizeof *heap; i++) genet__free(heap[i]);
    genet__free(c);
}

static classify *new_classify(setup *s, genet_err *err)
{
    classify *c = genet__alloc(sizeof *c);
    if (!c) genet__err_memory(err);
    else c->s = s, c->o = s->own;
    return c;
}

static bool train(setup *s, train_event *last, genet_err *err)
{
    classify *c = new_classify(s, err);
    if (!c) return false;
    train_job job;
    json_t *settings = NULL;
    bool ok = prepare(c, &job, &settings, err) && genet__train(&job, last, err);
    json_decref(settings);
    release(c);
    return ok;
}

/* What `plan` asks: a step over texts of block-size tokens, and two classes; no data are read. */
static bool cost(setup *s, train_cost *out, genet_err *err)
{
    classify *c = new_classify(s, err);
    if (!c) return false;
    train_job job;
    json_t *settings = NULL;
    int64_t n = 0;
    const char *colon = strchr(c->o->tokenizer, ':');
    *(int64_t *)((char *)s->config + s->family->vocab_size) = colon && genet__parse_int(colon + 1, &n) && n > 0 ? n : 8000;
    c->model = genet__model_new(s->family, s->config, s->device, (uint64_t)s->train.seed, err);
    c->rows.T[0] = *(int64_t *)((char *)s->config + s->family->context);
    bool ok = c->model && genet__model_set_head(c->model, HEAD_SEQUENCE, 2, err) && genet__model_declare(c->model, err) &&
              genet__setup_job(s, &job, c->model->params, &settings, err);
    if (ok) {
        job.user = c;
        job.build = build;
        ok = genet__train_cost(&job, s->train.batch_size, s->train.gradient_accumulation_steps, out, err);
    }
    json_decref(settings);
    release(c);
    return ok;
}

static bool takes(const family *f)
{
    for (const model_head *h = f->heads; h->architecture; h++)
        if (h->kind == HEAD_SEQUENCE) return true;
    return false;
}

static const char details[] =
    "--model is an encoder (bert, roberta, distilbert) or a decoder (gpt2, llama, mistral, qwen2, qwen3).  The classes are the\n"
    "labels that occur in the data.  Of each class val-fraction is kept for validation, whose loss decides which weights are the\n"
    "best; accuracy and macro F1 are of these texts.  Texts longer than block-size lose their ends.  With --from a folder's\n"
    "backbone is taken whatever its head, and what is new and what is not used is said.  OUT is a folder for `genet classify`,\n"
    "which transformers opens too.\n";

const task genet__task_classify = {
    .name = "classify", .details = details, .help = "which class a text is of", .family = "bert", .takes = takes,
    .options_bytes = sizeof(classify_options), .options = &option_table, .presets = presets, .train = train, .cost = cost,
};
