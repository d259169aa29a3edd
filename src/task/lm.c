/* lm.c - training a language model on text: tokenize once, batches at random
 * offsets drawn by counter, cross-entropy of the next token, a full pass over
 * the validation part.
 *
 * Batches follow nanoGPT's train.py: row r of step s begins anywhere in the
 * training part, so there is no order to remember: resuming needs the step. */
#include <stddef.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"
#include "format/npy.h"
#include "task/from.h"
#include "task/lm.h"
#include "task/task.h"
#include "text/tokenizer_train.h"
#include "train/save.h"

typedef struct lm_options {
    from_options begin;
    const char *data, *tokenizer, *batches;
    double  val_fraction, mlm_probability;
    int64_t vocab_size;
} lm_options;

#define AT(member) offsetof(lm_options, member)
#define FROM_AT(member) offsetof(lm_options, begin.member)
static const field option_fields[] = {
    { "data",         FIELD_STRING, AT(data),         NULL, 0, 0, NULL, FIELD_RENEWABLE | FIELD_MANY | FIELD_WORDS,
      "text to learn: files and folders, .gz too; of *.jsonl the field text; - is standard input (required)" },
    { "tokenizer",    FIELD_STRING, AT(tokenizer),    "char", 0, 0, NULL, 0,
      "char, bpe:VOCAB, wordpiece:VOCAB, unigram:VOCAB, word:VOCAB (learned from the training part), or the folder or "
      "file of an existing one" },
    { "val_fraction", FIELD_DOUBLE, AT(val_fraction), "0.1", 0, 0.9, NULL, 0, "the end of the text, kept for validation" },
    FROM_FIELDS(FROM_AT),
    { "batches",      FIELD_STRING, AT(batches),      NULL, 0, 0, NULL, 0,
      "take batches from this .npy (batches, rows, block-size + 1), for comparisons" },
    { "mlm_probability", FIELD_DOUBLE, AT(mlm_probability), "0.15", 0.001, 0.999, NULL, 0,
      "of an encoder (bert): the part of the tokens that are hidden, to be found again" },
    { "vocab_size",   FIELD_INT,    AT(vocab_size),   "0", 0, 1 << 24, NULL, 0,
      "0: the tokenizer's; for `plan` without data" },
};
static const fields option_table = { "task lm", option_fields, sizeof option_fields / sizeof *option_fields };

typedef struct lm {
    setup      *s;
    const lm_options *o;
    model      *model;
    tokenizer  *tokenizer;
    corpus      corpus;
    bool        has_corpus;
    npy         batches;
    lm_eval     eval;
    lm_mask     mask;
    bool        masked;         /* hidden tokens are predicted, not the next */
    tensor     *x, *target;
    int32_t    *ids;            /* one row of block + 1 tokens */
    int32_t    *x_ids, *target_ids;
    int64_t     rows, T;
    char        folder[3000];   /* OUT/training */
} lm;

/* --- text ------------------------------------------------------------------------ */

/* The folder that the tokenizer is in; NULL: --tokenizer says.  A run keeps it beside the corpus that was made with it. */
static const char *tokenizer_folder(const lm *l)
{
    if (l->s->train.resume && genet__tokenizer_exists(l->folder)) return l->folder;
    if (l->s->train.resume && genet__tokenizer_exists(l->s->train.out)) return l->s->train.out;
    return l->o->begin.from && !genet__options_was_given(&l->s->options, "tokenizer") ? l->o->begin.from : NULL;
}

/* The weights of --from know the ids of its own tokenizer and of no other; a folder without one takes any. */
static bool same_tokenizer(const lm *l, genet_err *err)
{
    char own[HASH_HEX], given[HASH_HEX];
    if (!genet__tokenizer_exists(l->o->begin.from)) return true;
    tokenizer *t = genet__tokenizer_load(l->o->begin.from, err);
    if (!t) return false;
    genet__tokenizer_hash(t, own);
    genet__tokenizer_hash(l->tokenizer, given);
    genet__tokenizer_free(t);
    return !strcmp(own, given) ||
           genet__err_set(err, GENET_ERR_USAGE,
                          "--tokenizer %s is not the tokenizer of %s, and its weights know the ids of that "
                          "one only: leave --tokenizer out", l->o->tokenizer, l->o->begin.from);
}

static bool open_tokenizer(lm *l, text_source *source, const text_scan *scan, const train_watch *watch, genet_err *err)
{
    const char *folder = tokenizer_folder(l);
    int64_t n_train = genet__corpus_train_chars(scan->n_chars, l->o->val_fraction);
    l->tokenizer = folder ? genet__tokenizer_load(folder, err)
                          : genet__tokenizer_make(l->o->tokenizer, source, scan, n_train, watch, err);
    if (!l->tokenizer) return folder && folder == l->o->begin.from && genet__err_prefix(err, "the tokenizer of --from: ");
    return folder || !l->o->begin.from || same_tokenizer(l, err);
}

/* Long work before the first step: a line now and then, and an ear for Ctrl-C. */
typedef struct stage_log { const setup *s; double told_s; char stage[80]; } stage_log;
enum { STAGE_SECONDS = 3 };

static bool tell_stage(void *user, const char *stage, double done)
{
    stage_log *log = user;
    double now = genet__now_s();
    bool fresh = strncmp(stage, log->stage, sizeof log->stage - 1) != 0;
    if (fresh) snprintf(log->stage, sizeof log->stage, "%s", stage);
    if (fresh) log->told_s = now;
    else if (now - log->told_s > STAGE_SECONDS) {
        log->told_s = now;
        genet__log(log->s->log, LOG_INFO, "%s: %.0f %%", stage, 100 * done);
    }
    return !log->s->stop || !*log->s->stop;
}

/* How much text a token stands for, and how much of it is not in the vocabulary. */
static void log_corpus(const lm *l)
{
    const corpus *c = &l->corpus;
    const tokenizer *t = l->tokenizer;
    int64_t n_val = c->n_tokens - c->n_train;
    genet__log(l->s->log, LOG_INFO, "%s: %d tokens in the vocabulary, %.3g bytes a token", genet__tokenizer_kind(t),
               genet__tokenizer_size(t), c->n_tokens ? (double)c->n_bytes / (double)c->n_tokens : 0);
    if (genet__word_least_count(t) > 0)
        genet__log(l->s->log, LOG_INFO, "every word in the vocabulary occurs %lld times at least",
                   (long long)genet__word_least_count(t));
    if (genet__tokenizer_unknown(t) < 0) return;
    int64_t train = genet__corpus_unknown(c, t, 0, c->n_train), val = genet__corpus_unknown(c, t, c->n_train, c->n_tokens);
    genet__log(l->s->log, LOG_INFO, "unknown words: %.2f %% of the training part, %.2f %% of the validation part",
               c->n_train ? 100.0 * (double)train / (double)c->n_train : 0, n_val ? 100.0 * (double)val / (double)n_val : 0);
}

/* Nothing but training/corpus.* and the tokenizer beside it is written before the run begins. */
static bool make_corpus(lm *l, text_source *source, const text_scan *scan, const train_watch *watch, genet_err *err)
{
    TRY(genet__tokenizer_save(l->tokenizer, l->folder, err));
    TRY(genet__corpus_make(l->folder, source, scan, l->tokenizer, l->o->val_fraction, watch, err));
    return genet__corpus_open(&l->corpus, l->folder, l->tokenizer, err);
}

/* Of a run that is resumed: its hash and checksum (scan: of the text), and ids
 * that the model has. */
static bool check_corpus(lm *l, const text_scan *scan, genet_err *err)
{
    int32_t ids[1024];
    const corpus *c = &l->corpus;
    int vocab = genet__tokenizer_size(l->tokenizer);
    TRY(genet__corpus_verify(c, scan, err));
    for (int64_t at = 0, n; at < c->n_tokens; at += n) {
        n = c->n_tokens - at < 1024 ? c->n_tokens - at : 1024;
        genet__corpus_read(c, at, n, ids);
        for (int64_t i = 0; i < n; i++)
            if (ids[i] < 0 || ids[i] >= vocab)
                return genet__err_set(err, GENET_ERR_FORMAT,
                                      "%s/corpus.bin holds the id %lld, and the tokenizer has %d", l->folder,
                                      (long long)ids[i], vocab);
    }
    return true;
}

/* One pass over the text tells its hash and its characters. */
static bool read_text(lm *l, text_source *source, text_scan *scan, genet_err *err)
{
    stage_log log = { .s = l->s };
    train_watch watch = { tell_stage, &log };
    TRY(genet__source_scan(source, scan, err));
    TRY(open_tokenizer(l, source, scan, &watch, err));
    if (!l->s->train.resume) {
        TRY(make_corpus(l, source, scan, &watch, err));
        log_corpus(l);
        return true;
    }
    TRY(genet__corpus_open(&l->corpus, l->folder, l->tokenizer, err));
    return check_corpus(l, scan, err);
}

/* Can the text be read again? */
static bool all_exist(const char **paths, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(paths[i], "-") || !genet__file_exists(paths[i])) return false;
    return true;
}

/* Standard input cannot be read again, and files may be gone: the run has its
 * own copy, tokenized. */
static bool resume_without_text(lm *l, genet_err *err)
{
    genet__log(l->s->log, LOG_INFO, "the text is not at hand any more: going on with %s/corpus.bin", l->folder);
    const char *folder = tokenizer_folder(l);
    l->tokenizer = genet__tokenizer_load(folder ? folder : l->folder, err);
    TRY(l->tokenizer && genet__corpus_open(&l->corpus, l->folder, l->tokenizer, err));
    text_scan *scan = genet__alloc(sizeof *scan);
    if (!scan) return genet__err_memory(err);
    memcpy(scan->hash, l->corpus.source_hash, sizeof scan->hash);       /* the text itself cannot be compared */
    bool ok = check_corpus(l, scan, err);
    genet__free(scan);
    return ok;
}

/* What stands after each document of JSON lines: the token that ends texts, as the tokenizer to come writes it; where it has
 * none, a line's end.  In the arena of the setup. */
static const char *document_end(lm *l, genet_err *err)
{
    const char *folder = tokenizer_folder(l), *spec = l->o->tokenizer;
    if (!folder && genet__tokenizer_is_learned(spec)) return strncmp(spec, "bpe", 3) ? "\n" : "<|endoftext|>";
    tokenizer *t = genet__tokenizer_load(folder ? folder : spec, err);
    if (!t) return NULL;
    size_t n = 0;
    int32_t end = genet__tokenizer_end(t);
    const char *piece = end >= 0 ? genet__tokenizer_piece(t, end, &n) : "\n";
    const char *copy = genet__arena_printf(&l->s->arena, "%.*s", end >= 0 ? (int)n : 1, piece);
    genet__tokenizer_free(t);
    if (!copy) genet__err_memory(err);
    return copy;
}

/* Tokenizer and corpus: made for a new run, found again for a resumed one. */
static bool open_text(lm *l, genet_err *err)
{
    if (!l->o->data || !*l->o->data) {
        if (l->o->batches && l->o->begin.from) return true;
        return genet__err_set(err, GENET_ERR_USAGE, "--data is missing: files or folders of text to learn");
    }
    int n = snprintf(l->folder, sizeof l->folder, "%s/training", l->s->train.out);
    if (n < 0 || n >= (int)sizeof l->folder) return genet__err_set(err, GENET_ERR_USAGE, "the path of --out is too long");
    const char **paths = genet__split_lines(l->o->data, &n, &l->s->arena);
    if (!paths) return genet__err_memory(err);
    l->has_corpus = true;
    if (l->s->train.resume && !all_exist(paths, n)) return resume_without_text(l, err);
    TRY(genet__file_make_dirs(l->folder, err));         /* also for a copy of standard input */
    bool documents = false;
    for (int i = 0; i < n; i++) documents = documents || genet__ends_with(paths[i], ".jsonl") || genet__file_is_dir(paths[i]);
    const char *end = documents ? document_end(l, err) : NULL;
    if (documents && !end) return false;
    text_source *source = genet__source_open_documents(paths, n, l->folder, end, err);
    text_scan *scan = source ? genet__alloc(sizeof *scan) : NULL;
    bool ok = source && (scan ? read_text(l, source, scan, err) : genet__err_memory(err));
    genet__free(scan);
    genet__source_close(source);
    return ok;
}

/* --- the model --------------------------------------------------------------------- */

/* A config field by name, where the family has it. */
static void set_id(setup *s, const char *name, int32_t id)
{
    const field *f = genet__fields_find(s->family->config, name);
    if (f && f->type == FIELD_INT) *(int64_t *)((char *)s->config + f->offset) = id;
}

/* A token that no text ends with would mean nothing to the model. */
static bool in_training_part(const corpus *c, int32_t id)
{
    int32_t ids[1024];
    for (int64_t at = 0, n; at < c->n_train; at += n) {
        n = c->n_train - at < 1024 ? c->n_train - at : 1024;
        genet__corpus_read(c, at, n, ids);
        for (int64_t i = 0; i < n; i++)
            if (ids[i] == id) return true;
    }
    return false;
}

/* "bpe:8000" says how many; 0: the spec does not. */
static int64_t size_in_spec(const char *spec)
{
    int64_t n = 0;
    const char *colon = strchr(spec, ':');
    return genet__tokenizer_is_learned(spec) && colon && genet__parse_int(colon + 1, &n) ? n : 0;
}

/* The vocabulary is the tokenizer's; the block is what the model can see. */
static bool new_model(lm *l, genet_err *err)
{
    setup *s = l->s;
    int64_t *vocab_size = (int64_t *)((char *)s->config + s->family->vocab_size), asked = size_in_spec(l->o->tokenizer);
    *vocab_size = l->o->vocab_size ? l->o->vocab_size : asked ? asked : 50257;
    if (l->tokenizer) *vocab_size = genet__tokenizer_size(l->tokenizer);
    int32_t end = l->has_corpus ? genet__tokenizer_end(l->tokenizer) : -1;
    if (end >= 0 && in_training_part(&l->corpus, end)) {
        set_id(s, "bos_token_id", end);
        set_id(s, "eos_token_id", end);
    }
    l->T = *(int64_t *)((char *)s->config + s->family->context);
    l->model = genet__model_new(s->family, s->config, s->device, (uint64_t)s->train.seed, err);
    return l->model && genet__model_declare(l->model, err);
}

/* A larger table than tokens is fine: checkpoints are often padded. */
static bool ids_fit(const lm *l, genet_err *err)
{
    int64_t vocab = *genet__model_int(l->model, l->s->family->vocab_size);
    return !l->tokenizer || genet__tokenizer_size(l->tokenizer) <= vocab ||
           genet__err_set(err, GENET_ERR_USAGE, "the tokenizer has %d tokens and the model only %lld",
                          genet__tokenizer_size(l->tokenizer), (long long)vocab);
}

/* --- batches ------------------------------------------------------------------------ */

/* Given batches must be enough for the run and hold ids of the model. */
static bool open_batches(lm *l, genet_err *err)
{
    if (!l->o->batches) return true;
    npy *b = &l->batches;
    TRY(genet__npy_open(b, l->o->batches, err));
    int64_t need = l->s->train.max_steps * l->s->train.gradient_accumulation_steps;
    if (b->kind == 'f' || b->rank != 3 || b->dim[1] != l->rows || b->dim[2] != l->T + 1 || b->dim[0] < need)
        return genet__err_set(err, GENET_ERR_USAGE, "%s must hold whole numbers (%lld or more batches, batch size %lld, "
                              "block size %lld + 1)", l->o->batches, (long long)need, (long long)l->rows, (long long)l->T);
    int64_t vocab = *genet__model_int(l->model, l->s->family->vocab_size);
    for (int64_t i = 0; i < b->numel; i++)
        if (genet__npy_int(b, i) < 0 || genet__npy_int(b, i) >= vocab)
            return genet__err_set(err, GENET_ERR_USAGE, "%s holds the id %lld; ids go from 0 to %lld", l->o->batches,
                                  (long long)genet__npy_int(b, i), (long long)vocab - 1);
    return true;
}

/* T + 1 tokens: inputs, and targets one further on. */
static void read_row(lm *l, int64_t step, int64_t micro, int64_t row)
{
    int64_t accumulation = l->s->train.gradient_accumulation_steps, T = l->T;
    if (l->batches.at) {
        int64_t start = ((step * accumulation + micro) * l->rows + row) * (T + 1);
        for (int64_t i = 0; i <= T; i++) l->ids[i] = (int32_t)genet__npy_int(&l->batches, start + i);
        return;
    }
    uint64_t choices = (uint64_t)(l->corpus.n_train - T), index = (uint64_t)(micro * l->rows + row);
    uint64_t from = genet__rng_below((uint64_t)l->s->train.seed, genet__rng_stream("batches"), (uint32_t)step, index,
                                     choices);
    genet__corpus_read(&l->corpus, (int64_t)from, T + 1, l->ids);
}

/* The row as what is shown and what is to be predicted. */
static void fill_row(lm *l, int64_t step, int64_t micro, int64_t row)
{
    int32_t *x = l->x_ids + row * l->T, *y = l->target_ids + row * l->T;
    read_row(l, step, micro, row);
    if (l->masked) {
        uint64_t first = (uint64_t)((micro * l->rows + row) * l->T);
        genet__lm_mask_row(&l->mask, l->tokenizer, l->ids, l->T - l->mask.around, genet__rng_stream("mask"), (uint32_t)step, first, x, y);
        return;
    }
    memcpy(x, l->ids, (size_t)l->T * sizeof *x);
    memcpy(y, l->ids + 1, (size_t)l->T * sizeof *y);
}

/* Rows of T inputs and T targets, straight into the plan's memory. */
static bool feed(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    lm *l = user;
    size_t size = (size_t)(l->rows * l->T) * sizeof *l->x_ids;
    for (int64_t row = 0; row < l->rows; row++) fill_row(l, step, micro, row);
    TRY(genet_plan_write(p, l->x, l->x_ids, size, err));
    return genet_plan_write(p, l->target, l->target_ids, size, err);
}

/* --- the job -------------------------------------------------------------------------- */

static bool build(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    (void)err;
    lm *l = user;
    l->x = genet_input(n->graph, "x", GENET_I32, GENET_DIMS(rows, l->T));
    l->target = genet_input(n->graph, "target", GENET_I32, GENET_DIMS(rows, l->T));
    tensor *logits = genet__model_forward(l->model, n, &(model_inputs){ .x = l->x });
    *loss_sum = genet__lm_loss(logits, l->target, 0);
    *count = genet_side(*loss_sum, 1);
    return true;
}

/* After the check of memory, which counts these. */
static bool buffers(lm *l, genet_err *err)
{
    l->ids = genet__alloc_array((size_t)l->T + 1, sizeof *l->ids);
    l->x_ids = genet__alloc_array((size_t)(l->rows * l->T), sizeof *l->x_ids);
    l->target_ids = genet__alloc_array((size_t)(l->rows * l->T), sizeof *l->target_ids);
    return (l->ids && l->x_ids && l->target_ids) || genet__err_memory(err);
}

/* The workspace is as large as the step's plan by now: evaluation fits in. */
static bool ready(void *user, genet_err *err)
{
    lm *l = user;
    TRY(buffers(l, err));
    return !l->eval.plan || genet__lm_eval_attach(&l->eval, l->model, l->s->workspace, err);
}

/* The validation part, from its first token to its last. */
static bool evaluate(void *user, train_score *out, genet_err *err)
{
    lm *l = user;
    return genet__lm_eval_run(&l->eval, &l->corpus, l->tokenizer, l->corpus.n_train, l->corpus.n_tokens, out, err);
}

/* Again at every save: the card tells the scores so far. */
static bool describe(void *user, const train_event *e, genet_err *err)
{
    lm *l = user;
    char data[300] = "given batches";
    if (l->has_corpus)
        snprintf(data, sizeof data, "%lld bytes of text (SHA-256 %s): %lld tokens, of a vocabulary of %d; %lld of them for "
                 "training, the rest for validation.", (long long)l->corpus.n_bytes, l->corpus.source_hash,
                 (long long)l->corpus.n_tokens, genet__tokenizer_size(l->tokenizer), (long long)l->corpus.n_train);
    TRY(genet__from_write_config(l->s, &l->o->begin, l->model, err));
    TRY(!l->tokenizer || genet__tokenizer_save(l->tokenizer, l->s->train.out, err));
    return genet__write_card(l->s, data, l->tokenizer ? genet__tokenizer_kind(l->tokenizer) : "none", e, err);
}

/* Evaluation needs no more memory than a step, and no large batches either. */
static int64_t eval_rows(const lm *l)
{
    int64_t blocks = (l->corpus.n_tokens - l->corpus.n_train - 2) / l->T + 1, enough = (4096 + l->T - 1) / l->T;
    int64_t rows = l->rows < enough ? l->rows : enough;
    return rows < blocks ? rows : blocks;
}

/* What the model is to predict follows from its head. */
static bool open_head(lm *l, genet_err *err)
{
    const model *m = l->model;
    l->masked = m->head->kind == HEAD_MASKED_LM;
    if (!l->masked)
        return m->head->kind == HEAD_LM ||
               genet__err_set(err, GENET_ERR_USAGE, "the model is a %s, which predicts no text", m->head->architecture);
    TRY(genet__lm_mask_open(&l->mask, l->tokenizer, *genet__model_int(m, m->family->vocab_size), l->o->mlm_probability,
                            (uint64_t)l->s->train.seed, err));
    if (l->batches.at) return genet__err_set(err, GENET_ERR_USAGE, "--batches is for models that predict the next token");
    return l->T > l->mask.around || genet__err_set(err, GENET_ERR_USAGE, "block_size %lld leaves no room between the %lld tokens around "
                                                   "a block", (long long)l->T, (long long)l->mask.around);
}

/* Everything but the text. */
static bool prepare(lm *l, train_job *job, json_t **settings, genet_err *err)
{
    setup *s = l->s;
    TRY(genet__from_check(s, &l->o->begin, err));
    if (!s->train.batch_size) return genet__err_set(err, GENET_ERR_USAGE, "--batch-size must be 1 at least for text");
    if (!l->o->begin.from || !*l->o->begin.from) TRY(new_model(l, err));
    else if (!(l->model = genet__from_open(s, &l->o->begin, &l->T, err))) return false;
    TRY(ids_fit(l, err));
    l->rows = s->train.batch_size;
    TRY(open_batches(l, err));
    TRY(open_head(l, err));
    TRY(genet__setup_job(s, job, l->model->params, settings, err));
    job->user = l;
    job->unit = "tokens";
    job->scores = SCORE_PERPLEXITY | (l->masked ? 0 : SCORE_BITS_PER_BYTE);
    job->batch_rows = l->rows;
    job->units_per_row = (double)l->T;
    job->data_bytes = (size_t)(l->rows * l->T) * 2 * sizeof(int32_t);
    job->build = build;
    job->feed = feed;
    job->ready = ready;
    job->describe = describe;
    if (!l->has_corpus) return true;
    TRY(genet__corpus_require(&l->corpus, l->T, err));
    int64_t per_step = l->rows * l->T * s->train.gradient_accumulation_steps;
    job->steps_per_epoch = (l->corpus.n_train + per_step - 1) / per_step;
    if (l->corpus.n_tokens - l->corpus.n_train < 2) return true;
    job->evaluate = evaluate;
    TRY(genet__lm_eval_build(&l->eval, l->model, l->masked ? &l->mask : NULL, eval_rows(l), l->T, genet__train_dtype(&s->train), err));
    job->eval_workspace_bytes = l->eval.workspace_bytes;
    return true;
}

/* Also after a preparation that failed half-way. */
static void release(lm *l)
{
    genet__lm_eval_release(&l->eval);
    genet__model_free(l->model);
    genet__corpus_close(&l->corpus);
    genet__tokenizer_free(l->tokenizer);
    if (l->batches.at) genet__npy_close(&l->batches);
    genet__free(l->ids);
    genet__free(l->x_ids);
    genet__free(l->target_ids);
    genet__free(l);
}

static lm *new_lm(setup *s, genet_err *err)
{
    lm *l = genet__alloc(sizeof *l);
    if (!l) genet__err_memory(err);
    else {
        l->s = s;
        l->o = s->own;
    }
    return l;
}

/* open, prepare, train. */
static bool train(setup *s, train_event *last, genet_err *err)
{
    lm *l = new_lm(s, err);
    if (!l) return false;
    train_job job;
    json_t *settings = NULL;
    bool ok = open_text(l, err) && prepare(l, &job, &settings, err) && genet__train(&job, last, err);
    json_decref(settings);
    release(l);
    return ok;
}

/* What `plan` wants to know: the vocabulary's size; the text is looked at only for its characters. */
static bool cost(setup *s, train_cost *out, genet_err *err)
{
    lm *l = new_lm(s, err);
    if (!l) return false;
    train_job job;
    json_t *settings = NULL;
    int n = 0;
    bool ok = true;
    const char *folder = tokenizer_folder(l), *spec = l->o->tokenizer;
    bool chars = !folder && !strcmp(spec, "char"), learned = !folder && genet__tokenizer_is_learned(spec);
    const char **paths = chars && l->o->data ? genet__split_lines(l->o->data, &n, &s->arena) : NULL;
    text_source *source = n ? genet__source_open(paths, n, NULL, err) : NULL;
    text_scan *scan = source ? genet__alloc(sizeof *scan) : NULL;
    if (n) ok = source && (scan || genet__err_memory(err)) && genet__source_scan(source, scan, err);
    if (ok && scan) ok = (l->tokenizer = genet__tokenizer_from_chars(&scan->chars, err));
    else if (ok && !learned && !l->o->vocab_size)
        ok = (l->tokenizer = genet__tokenizer_load(folder ? folder : spec, err));
    ok = ok && prepare(l, &job, &settings, err) &&
         genet__train_cost(&job, job.batch_rows, s->train.gradient_accumulation_steps, out, err);
    genet__free(scan);
    genet__source_close(source);
    json_decref(settings);
    release(l);
    return ok;
}

static const char details[] =
    "Files, in the order of their names, are one text.  It is tokenized once, into OUT/training; its last "
    "tenth (val-fraction)\n"
    "is kept for validation, and evaluation predicts every token of it but the first once, in blocks that do not overlap.\n"
    "A batch is batch-size blocks that begin anywhere in the rest.  An encoder (bert, roberta, distilbert) learns to find tokens\n"
    "that are hidden from it; it wants a tokenizer with a [MASK].  OUT is a folder that transformers opens too.\n"
    "Ctrl-C saves and stops; --out OUT --resume goes on and ends as if nothing had happened.  A resumed run keeps its\n"
    "settings: only max-steps, early-stopping-patience, eval-, save- and log-steps, keep, save-total-limit "
    "and threads may be\n"
    "given anew, and data, when it is the same text in another place.\n";

const task genet__task_lm = {
    .name = "lm", .details = details, .help = "a language model: text that continues text, or words that are hidden in it", .family = "gpt2",
    .options_bytes = sizeof(lm_options), .options = &option_table, .train = train, .cost = cost,
};
