/* translate.c - training an encoder-decoder on pairs of texts: sources and targets tokenized by one tokenizer, batches of like
 * lengths, cross-entropy of the target's tokens under teacher forcing, and the same over the pairs held out.
 *
 * Held out are distinct sentences with all their pairs, so that a sentence with several translations is never on both sides;
 * they are written down in OUT/training/held-out.jsonl. */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "task/lm.h"
#include "task/task.h"
#include "task/translate_batch.h"
#include "task/translate_bleu.h"
#include "text/tokenizer_train.h"
#include "train/save.h"

typedef struct translate_options {
    const char *data, *val_data, *tokenizer, *from, *split_by;
    pair_options pair;
    double  val_fraction, label_smoothing;
    int64_t vocab_size, batch_tokens, val_translations;
} translate_options;

#define AT(member) offsetof(translate_options, member)
static const field option_fields[] = {
    { "data",         FIELD_STRING, AT(data),         NULL, 0, 0, NULL, FIELD_RENEWABLE | FIELD_MANY | FIELD_WORDS,
      "pairs to learn: files of columns parted by tabs, or of JSON lines; .gz too (required)" },
    { "source_column", FIELD_INT,   AT(pair.source_column), "1", 1, 1e6, NULL, 0, "the column that is read" },
    { "target_column", FIELD_INT,   AT(pair.target_column), "2", 1, 1e6, NULL, 0, "the column that is to be written" },
    { "source_field", FIELD_STRING, AT(pair.source_field), "source", 0, 0, NULL, 0, "of JSON lines: what is read" },
    { "target_field", FIELD_STRING, AT(pair.target_field), "target", 0, 0, NULL, 0, "and what is to be written" },
    { "source_lang",  FIELD_STRING, AT(pair.source_lang), NULL, 0, 0, NULL, 0, "of {\"translation\": {\"fr\": .., \"en\": ..}}: fr" },
    { "target_lang",  FIELD_STRING, AT(pair.target_lang), NULL, 0, 0, NULL, 0, "and en" },
    { "prefix",       FIELD_STRING, AT(pair.prefix),  NULL, 0, 0, NULL, 0, "put before every source, as T5 wants it: \"summarize: \"" },
    { "tokenizer",    FIELD_STRING, AT(tokenizer),    "bpe:8000", 0, 0, NULL, 0,
      "char, word:VOCAB, bpe:VOCAB, wordpiece:VOCAB, unigram:VOCAB (learned from both sides), or an existing folder or file" },
    { "val_fraction", FIELD_DOUBLE, AT(val_fraction), "0.05", 0, 0.9, NULL, 0, "of the distinct sentences, held out for validation" },
    { "split_by",     FIELD_CHOICE, AT(split_by),     "target", 0, 0, "target|source", 0, "whose sentences are held out" },
    { "val_data",     FIELD_STRING, AT(val_data),     NULL, 0, 0, NULL, FIELD_RENEWABLE | FIELD_MANY | FIELD_WORDS,
      "pairs for validation, in place of val-fraction" },
    { "val_translations", FIELD_INT, AT(val_translations), "200", 0, 1e9, NULL, 0,
      "at an evaluation, greedy translations of so many held-out sources for BLEU; 0: none" },
    { "label_smoothing", FIELD_DOUBLE, AT(label_smoothing), "0.1", 0, 0.99, NULL, 0, "the part of a target that all tokens share" },
    { "batch_tokens", FIELD_INT,    AT(batch_tokens), "0", 0, 1 << 24, NULL, 0,
      "as many rows as hold so many tokens of a side, in place of batch-size" },
    { "from",         FIELD_STRING, AT(from),         NULL, 0, 0, NULL, 0, "begin with the model in this folder" },
    { "vocab_size",   FIELD_INT,    AT(vocab_size),   "0", 0, 1 << 24, NULL, 0, "0: the tokenizer's; for `plan` without data" },
};
static const fields option_table = { "task translate", option_fields, sizeof option_fields / sizeof *option_fields };
static const char *const presets[] = {
    "batch_size", "64", "learning_rate", "7e-4", "beta2", "0.98", "weight_decay", "0.01", "warmup_steps", "400", NULL
};

/* The forward pass and loss of one shape. */
typedef struct eval_shape { graph *graph; genet_plan *plan; batch_inputs in; tensor *sum, *count; } eval_shape;

typedef struct translate {
    setup      *s;
    const translate_options *o;
    pairs       pairs;
    tokenizer  *tokenizer;
    model      *model;
    batches     batches;
    batch_inputs in[TRAIN_SHAPES];
    eval_shape  eval[TRAIN_SHAPES];
    translate_bleu *bleu;       /* NULL: none */
    int         shape;          /* what build and feed are of */
    int64_t     T;              /* tokens of a side at most */
    char        folder[3000];   /* OUT/training */
} translate;

/* --- pairs --------------------------------------------------------------------------- */

static bool read_paths(translate *t, pairs *p, const char *paths, genet_err *err)
{
    int n;
    const char **path = genet__split_lines(paths, &n, &t->s->arena);
    return path ? genet__pairs_read(p, path, n, &t->o->pair, err) : genet__err_memory(err);
}

/* The pairs of --val-data go behind the others. */
static bool add_held_out(translate *t, genet_err *err)
{
    pairs held = {0};
    pairs *p = &t->pairs;
    bool ok = read_paths(t, &held, t->o->val_data, err);
    if (ok && p->n + held.n >= INT32_MAX) ok = genet__err_set(err, GENET_ERR_USAGE, "--val-data: too many pairs");
    ok = ok && (genet__grow(&p->at, &p->cap, (int)(p->n + held.n), sizeof *p->at) || genet__err_memory(err));
    for (int64_t i = 0; ok && i < held.n; i++) {
        text_pair pair = { genet__arena_strdup(&p->arena, held.at[i].source), genet__arena_strdup(&p->arena, held.at[i].target), true };
        ok = (pair.source && pair.target) || genet__err_memory(err);
        if (ok) p->at[p->n++] = pair;
    }
    p->n_held_out = held.n;
    genet__pairs_release(&held);
    return ok;
}

static bool read_pairs(translate *t, genet_err *err)
{
    const translate_options *o = t->o;
    pairs *p = &t->pairs;
    if (!o->data || !*o->data) return genet__err_set(err, GENET_ERR_USAGE, "--data is missing: files of pairs to learn");
    TRY(read_paths(t, p, o->data, err));
    if (p->n_empty)
        genet__log(t->s->log, LOG_INFO, "%lld pairs with an empty side are left out", (long long)p->n_empty);
    if (o->val_data && *o->val_data) return add_held_out(t, err);
    if (o->val_fraction > 0) TRY(genet__pairs_split(p, o->val_fraction, !strcmp(o->split_by, "target"), (uint64_t)t->s->train.seed, err));
    genet__log(t->s->log, LOG_INFO, "%lld pairs to learn from, %lld held out%s", (long long)(p->n - p->n_held_out), (long long)p->n_held_out,
               p->n_left_out ? "; others are left out, whose one side is also held out" : "");
    return true;
}

/* held-out.jsonl: what eval, translate --input and other programs take. */
static bool write_held_out(const translate *t, genet_err *err)
{
    str text = {0};
    char *path = genet__path_join(t->folder, "held-out.jsonl");
    bool ok = path;
    for (int64_t i = 0; ok && i < t->pairs.n; i++) {
        if (!t->pairs.at[i].held_out) continue;
        json_t *j = json_pack("{s:s, s:s}", "source", t->pairs.at[i].source, "target", t->pairs.at[i].target);
        if (!(ok = j)) break;
        genet__json_print(j, 0, &text);
        genet__str_add(&text, "\n");
        json_decref(j);
    }
    ok = (ok && !text.failed) || genet__err_memory(err);
    ok = ok && genet__file_write_all(path, genet__str(&text), text.n, err);
    genet__free(path);
    genet__str_release(&text);
    return ok;
}

/* A resumed run needs the pairs it began with; one that was killed in its first moments has not written pairs.json yet. */
static bool same_pairs(translate *t, genet_err *err)
{
    char *path = genet__path_join(t->folder, "pairs.json");
    if (!path) return genet__err_memory(err);
    const char *was = NULL;
    json_t *j = NULL;
    bool ok = true;
    if (t->s->train.resume && genet__file_exists(path)) {
        ok = (j = genet__json_read(path, 1 << 16, err)) && genet__json_string(j, "sha256", path, &was, NULL, err);
        if (ok && strcmp(was, t->pairs.hash))
            ok = genet__err_set(err, GENET_ERR_USAGE, "the pairs are not those this run began with (SHA-256 %.16s..., now %.16s...)", was,
                                t->pairs.hash);
    } else {
        j = json_pack("{s:s, s:I, s:I, s:I}", "sha256", t->pairs.hash, "training", (json_int_t)(t->pairs.n - t->pairs.n_held_out), "held_out",
                      (json_int_t)t->pairs.n_held_out, "left_out", (json_int_t)t->pairs.n_left_out);
        ok = (j || genet__err_memory(err)) && write_held_out(t, err) && genet__json_write(path, j, err);
    }
    json_decref(j);
    genet__free(path);
    return ok;
}

/* --- tokens ---------------------------------------------------------------------------- */

static int64_t count_chars(const str *s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->n; i++) n += ((unsigned char)s->at[i] & 0xc0) != 0x80;
    return n;
}

/* From a file of both sides of the training pairs, a text a line; what is held out stands behind them, for its characters. */
static tokenizer *learn(translate *t, genet_err *err)
{
    str text = {0};
    char *path = genet__path_join(t->folder, "learn.txt");
    const char *paths[1] = { path };
    bool ok = (path || genet__err_memory(err)) && genet__pairs_print(&t->pairs, false, "\n", &text, err);
    int64_t n_chars = ok ? count_chars(&text) : 0;
    ok = ok && genet__pairs_print(&t->pairs, true, "\n", &text, err);
    ok = ok && genet__file_write_all(path, genet__str(&text), text.n, err);
    genet__str_release(&text);
    text_source *source = ok ? genet__source_open(paths, 1, NULL, err) : NULL;
    text_scan *scan = source ? genet__alloc(sizeof *scan) : NULL;
    if (source && !scan) genet__err_memory(err);
    ok = scan && genet__source_scan(source, scan, err);
    tokenizer *made = ok ? genet__tokenizer_make(t->o->tokenizer, source, scan, n_chars, NULL, err) : NULL;
    genet__free(scan);
    genet__source_close(source);
    if (path) genet__file_remove_tree(path, NULL);
    genet__free(path);
    return made;
}

/* That of the run, of --from, or as --tokenizer says. */
static bool open_tokenizer(translate *t, genet_err *err)
{
    const setup *s = t->s;
    const char *folder = NULL;
    if (s->train.resume && genet__tokenizer_exists(t->folder)) folder = t->folder;
    else if (t->o->from && !genet__options_was_given(&s->options, "tokenizer")) folder = t->o->from;
    else if (!genet__tokenizer_is_learned(t->o->tokenizer)) folder = t->o->tokenizer;
    t->tokenizer = folder ? genet__tokenizer_load(folder, err) : learn(t, err);
    if (!t->tokenizer) return folder && folder == t->o->from && genet__err_prefix(err, "the tokenizer of --from: ");
    genet__log(s->log, LOG_INFO, "%s: %d tokens in the vocabulary", genet__tokenizer_kind(t->tokenizer), genet__tokenizer_size(t->tokenizer));
    return genet__tokenizer_save(t->tokenizer, t->folder, err);
}

static bool open_text(translate *t, genet_err *err)
{
    int n = snprintf(t->folder, sizeof t->folder, "%s/training", t->s->train.out);
    if (n < 0 || n >= (int)sizeof t->folder) return genet__err_set(err, GENET_ERR_USAGE, "the path of --out is too long");
    TRY(read_pairs(t, err));
    TRY(genet__file_make_dirs(t->folder, err));
    return open_tokenizer(t, err) && same_pairs(t, err);
}

/* --- the model ------------------------------------------------------------------------------ */

/* A config field by name, where the family has it. */
static void set_id(setup *s, const char *name, int32_t id)
{
    const field *f = genet__fields_find(s->family->config, name);
    if (f && f->type == FIELD_INT) *(int64_t *)((char *)s->config + f->offset) = id;
}

/* "bpe:8000" says how many. */
static int64_t asked_size(const translate_options *o)
{
    int64_t n = 0;
    const char *colon = strchr(o->tokenizer, ':');
    if (o->vocab_size) return o->vocab_size;
    return genet__tokenizer_is_learned(o->tokenizer) && colon && genet__parse_int(colon + 1, &n) ? n : 8000;
}

/* A tokenizer without an end token gets one row more for it.  The decoder begins with the end token, as fairseq has it. */
static bool new_model(translate *t, genet_err *err)
{
    setup *s = t->s;
    int32_t end = t->tokenizer ? genet__tokenizer_end(t->tokenizer) : 0;
    int64_t size = t->tokenizer ? genet__tokenizer_size(t->tokenizer) : asked_size(t->o);
    if (end < 0) end = (int32_t)size++;
    *(int64_t *)((char *)s->config + s->family->vocab_size) = size;
    set_id(s, "eos_token_id", end);
    set_id(s, "pad_token_id", end);
    set_id(s, "decoder_start_token_id", end);
    t->T = *(int64_t *)((char *)s->config + s->family->context);
    t->model = genet__model_new(s->family, s->config, s->device, (uint64_t)s->train.seed, err);
    return t->model && genet__model_declare(t->model, err);
}

static bool conflict(const char *name, long long asked, long long is, const char *from, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_USAGE, "%s %lld is asked for, and the model in %s has %lld", name, asked, from, is);
}

/* The options that shape a new model must not say something else than the folder; a shorter block is fine. */
static bool adopt_config(translate *t, genet_err *err)
{
    setup *s = t->s;
    const family *f = s->family;
    for (int i = 0; i < f->options->n; i++) {
        const field *o = &f->options->at[i];
        void *is = (char *)t->model->config + o->offset, *asked = (char *)s->config + o->offset;
        if (!genet__options_was_given(&s->options, o->name)) continue;
        if (o->type == FIELD_INT && o->offset != f->context && *(int64_t *)is != *(int64_t *)asked)
            return conflict(o->name, *(int64_t *)asked, *(int64_t *)is, t->o->from, err);
        if (o->type == FIELD_DOUBLE) *(double *)is = *(double *)asked;
    }
    int64_t context = *genet__model_int(t->model, f->context);
    t->T = context;
    if (genet__options_was_given(&s->options, "block_size")) t->T = *(int64_t *)((char *)s->config + f->context);
    return t->T <= context || conflict("block_size", t->T, context, t->o->from, err);
}

/* From a folder: the run's own when it has saved already, else --from. */
static bool old_model(translate *t, genet_err *err)
{
    int64_t saved = -1;
    if (t->s->train.resume) TRY(genet__save_last(t->s->train.out, &saved, err));
    const char *folder = saved >= 0 ? t->s->train.out : t->o->from;
    t->model = genet__model_open(folder, t->s->device, saved < 0 ? MODEL_WRITABLE : MODEL_NO_WEIGHTS, err);
    if (!t->model) return false;
    if (t->model->family != t->s->family)
        return genet__err_set(err, GENET_ERR_USAGE, "%s holds a %s, not a %s", folder, t->model->family->name, t->s->family->name);
    return adopt_config(t, err);
}

static bool open_model(translate *t, genet_err *err)
{
    TRY(t->o->from && *t->o->from ? old_model(t, err) : new_model(t, err));
    const model *m = t->model;
    int64_t V = *genet__model_int(m, m->family->vocab_size);
    if (!m->head->encode) return genet__err_set(err, GENET_ERR_USAGE, "the model is a %s, which reads no source", m->head->architecture);
    if (t->tokenizer && genet__tokenizer_size(t->tokenizer) > V)
        return genet__err_set(err, GENET_ERR_USAGE, "the tokenizer has %d tokens and the model only %lld", genet__tokenizer_size(t->tokenizer),
                              (long long)V);
    batches *b = &t->batches;
    b->start = genet__model_token(m, "decoder_start_token_id");
    b->end = m->ends.n ? (int32_t)m->ends.at[0] : genet__model_token(m, "eos_token_id");
    b->seed = (uint64_t)t->s->train.seed;
    b->parts = t->s->train.gradient_accumulation_steps;
    return (b->start >= 0 && b->end >= 0 && b->end < V) ||
           genet__err_set(err, GENET_ERR_FORMAT, "config.json of %s must say decoder_start_token_id and eos_token_id", t->o->from);
}

/* --- training ---------------------------------------------------------------------------------- */

static int shape_of(void *user, int64_t step)
{
    translate *t = user;
    return genet__batches_of(&t->batches, step)->shape;
}

static void choose(void *user, int which)
{
    translate *t = user;
    t->shape = which;
}

/* rows: of shape 0, of which another has as many times more as it says. */
static bool build(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    (void)err;
    translate *t = user;
    const batch_shape *of = &t->batches.shape[t->shape];
    batch_inputs *in = &t->in[t->shape];
    rows = rows * of->rows / t->batches.shape[0].rows;
    tensor *logits = genet__batches_build(in, t->model, n, rows, of->length);
    *loss_sum = genet__lm_loss(logits, in->target, t->o->label_smoothing);
    *count = genet_side(*loss_sum, 1);
    return true;
}

static bool feed(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    translate *t = user;
    batches *b = &t->batches;
    const batch *now = genet__batches_of(b, step);
    const batch_shape *of = &b->shape[now->shape];
    int64_t from = micro * of->rows, n = now->n - from;
    n = n < 0 ? 0 : n < of->rows ? n : of->rows;
    return genet__batches_write(b, &t->in[now->shape], p, of->rows, of->length, b->order + now->first + (n ? from : 0), n, err);
}

/* --- evaluation ---------------------------------------------------------------------------------- */

static int64_t held_out(const translate *t) { return t->batches.n - t->batches.n_train; }

static bool build_eval(translate *t, train_job *job, genet_err *err)
{
    for (int s = 0; s < t->batches.n_shape; s++) {
        eval_shape *e = &t->eval[s];
        const batch_shape *of = &t->batches.shape[s];
        if (!(e->graph = genet_graph_new())) return genet__err_memory(err);
        net n = { .graph = e->graph, .params = t->model->params, .dtype = genet__train_dtype(&t->s->train) };
        tensor *logits = genet__batches_build(&e->in, t->model, &n, of->rows, of->length);
        e->sum = genet__lm_loss(logits, e->in.target, 0);
        e->count = genet_side(e->sum, 1);
        e->plan = genet_compile(e->graph, (tensor *[]){ e->sum, e->count }, 2, t->model->params->device, NULL, err);
        if (!e->plan) return false;
        size_t bytes = genet_plan_describe(e->plan).workspace_bytes;
        if (bytes > job->eval_workspace_bytes) job->eval_workspace_bytes = bytes;
    }
    return true;
}

static bool ready(void *user, genet_err *err)
{
    translate *t = user;
    for (int s = 0; s < t->batches.n_shape && t->eval[s].plan; s++) {
        TRY(genet_plan_attach(t->eval[s].plan, t->s->workspace, err));
        TRY(genet__params_bind(t->model->params, t->eval[s].graph, t->eval[s].plan, err));
    }
    return true;
}

/* n held-out pairs of one shape, at most a batch. */
static bool evaluate_batch(translate *t, int s, item *const *at, int64_t n, double *sum, int64_t *count, genet_err *err)
{
    eval_shape *e = &t->eval[s];
    float part, counted;
    TRY(genet__batches_write(&t->batches, &e->in, e->plan, t->batches.shape[s].rows, t->batches.shape[s].length, at, n, err));
    TRY(genet_plan_run(e->plan, err));
    TRY(genet_plan_read(e->plan, e->sum, &part, sizeof part, err));
    TRY(genet_plan_read(e->plan, e->count, &counted, sizeof counted, err));
    *sum += (double)part;
    *count += (int64_t)counted;
    return true;
}

static bool evaluate(void *user, train_score *out, genet_err *err)
{
    translate *t = user;
    batches *b = &t->batches;
    double sum = 0;
    int64_t count = 0;
    item **at = genet__alloc_array((size_t)b->n, sizeof *at);
    bool ok = at || genet__err_memory(err);
    for (int s = 0; ok && s < b->n_shape; s++) {
        int64_t n = 0;
        for (int64_t i = b->n_train; i < b->n; i++) {
            if (b->at[i].shape == s) at[n++] = &b->at[i];
            if (!ok || !n || (n < b->shape[s].rows && i + 1 < b->n)) continue;
            ok = evaluate_batch(t, s, at, n, &sum, &count, err);
            n = 0;
        }
    }
    genet__free(at);
    if (ok) *out = (train_score){ .loss = sum / (double)count, .perplexity = exp(sum / (double)count), .count = count, .accuracy = NAN,
                                  .bits_per_byte = NAN, .bleu = NAN };
    return ok && (!t->bleu || genet__translate_bleu_run(t->bleu, t->model, t->tokenizer, &out->bleu, err));
}

/* --- the job ---------------------------------------------------------------------------------------- */

static bool describe(void *user, const train_event *e, genet_err *err)
{
    translate *t = user;
    char data[300];
    snprintf(data, sizeof data, "%lld pairs of texts for training and %lld held out, by distinct %ss (SHA-256 of all: %s)",
             (long long)t->batches.n_train, (long long)held_out(t), t->o->split_by, t->pairs.hash);
    TRY(genet__model_write_config(t->model, t->s->train.out, err));
    TRY(genet__tokenizer_save(t->tokenizer, t->s->train.out, err));
    return genet__write_card(t->s, data, genet__tokenizer_kind(t->tokenizer), e, err);
}

/* Target tokens of an average row of an update, as speeds count them. */
static double mean_tokens(const batches *b)
{
    double n = 0;
    for (int64_t i = 0; i < b->n_train; i++) n += b->at[i].n_target;
    return n / (double)(b->n_list * b->parts * b->shape[0].rows);
}

static bool make_batches(translate *t, train_job *job, genet_err *err)
{
    const setup *s = t->s;
    batches *b = &t->batches;
    if (!t->tokenizer) {
        genet__batches_blank(b, t->T, s->train.batch_size, t->o->batch_tokens);
        job->units_per_row = (double)t->T;
        return true;
    }
    TRY(genet__batches_make(b, &t->pairs, t->tokenizer, t->T, s->train.batch_size, t->o->batch_tokens, err));
    if (b->n_long)
        genet__log(s->log, LOG_WARN, "%lld pairs are left out: a side has more than --block-size %lld tokens", (long long)b->n_long,
                   (long long)t->T);
    job->units_per_row = mean_tokens(b);
    job->steps_per_epoch = b->n_list;
    if (!held_out(t)) return true;
    job->evaluate = evaluate;
    if (t->o->val_translations > 0 && !(t->bleu = genet__translate_bleu_new(&t->pairs, t->o->val_translations, err))) return false;
    return build_eval(t, job, err);
}

/* Everything but the text. */
static bool prepare(translate *t, train_job *job, json_t **settings, genet_err *err)
{
    setup *s = t->s;
    if (!s->train.batch_size) return genet__err_set(err, GENET_ERR_USAGE, "--batch-size must be 1 at least for text");
    TRY(open_model(t, err));
    TRY(genet__setup_job(s, job, t->model->params, settings, err));
    TRY(make_batches(t, job, err));
    job->user = t;
    job->unit = "tokens";
    job->scores = SCORE_PERPLEXITY | (t->bleu ? SCORE_BLEU : 0);
    job->batch_rows = t->batches.shape[0].rows;
    job->n_shapes = t->batches.n_shape;
    job->shape_of = shape_of;
    job->choose = choose;
    job->build = build;
    job->feed = feed;
    job->ready = ready;
    job->describe = describe;
    return true;
}

static void release(translate *t)
{
    for (int s = 0; s < TRAIN_SHAPES; s++) {
        genet_plan_free(t->eval[s].plan);
        genet_graph_free(t->eval[s].graph);
    }
    genet__translate_bleu_free(t->bleu);
    genet__model_free(t->model);
    genet__batches_release(&t->batches);
    genet__tokenizer_free(t->tokenizer);
    genet__pairs_release(&t->pairs);
    genet__free(t);
}

static translate *new_translate(setup *s, genet_err *err)
{
    translate *t = genet__alloc(sizeof *t);
    if (!t) genet__err_memory(err);
    else t->s = s, t->o = s->own;
    return t;
}

static bool train(setup *s, train_event *last, genet_err *err)
{
    translate *t = new_translate(s, err);
    if (!t) return false;
    train_job job;
    json_t *settings = NULL;
    bool ok = open_text(t, err) && prepare(t, &job, &settings, err) && genet__train(&job, last, err);
    json_decref(settings);
    release(t);
    return ok;
}

/* Of the longest batches: data is not looked at. */
static bool cost(setup *s, train_cost *out, genet_err *err)
{
    translate *t = new_translate(s, err);
    if (!t) return false;
    train_job job;
    json_t *settings = NULL;
    bool ok = prepare(t, &job, &settings, err) && genet__train_cost(&job, job.batch_rows, s->train.gradient_accumulation_steps, out, err);
    json_decref(settings);
    release(t);
    return ok;
}

static const char details[] =
    "A line is a pair: its columns are parted by tabs; or it is a JSON object.  One tokenizer serves both sides.  Sentences are held out\n"
    "whole (split-by): no pair to learn from has a side that is also held out; OUT/training/held-out.jsonl holds them.\n"
    "Batches are of like lengths; pairs longer than block-size are left out.  Validation is the mean cross-entropy of the held-out targets'\n"
    "tokens, without smoothing, and BLEU of greedy translations, each source with all its held-out targets.  OUT is a folder that\n"
    "transformers opens too.  Ctrl-C saves and stops; --out OUT --resume\n"
    "goes on and ends as if nothing had happened.\n";

const task genet__task_translate = {
    .name = "translate", .details = details, .help = "texts to texts: translation, summaries, answers", .family = "marian",
    .options_bytes = sizeof(translate_options), .options = &option_table, .presets = presets, .train = train, .cost = cost,
};
