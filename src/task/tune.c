/* tune.c - fine-tuning on examples: sft learns what is said in them (cross-entropy of those tokens), dpo learns to prefer one
 * answer to another (genet__dpo_loss).
 *
 * The reference of dpo is the model as it was at first: its log-probabilities of all answers are computed once, before the first
 * step, and kept in OUT/training/reference.bin, so there is no second model in memory while training. */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "infer/generate.h"
#include "task/from.h"
#include "task/lm.h"
#include "task/tune_rows.h"

typedef struct tune_options {
    from_options begin;
    const char *data, *eval_data, *template_;
    double  val_fraction, beta, label_smoothing;
} tune_options;

#define AT(member) offsetof(tune_options, member)
#define FROM_AT(member) offsetof(tune_options, begin.member)
#define DATA_FIELDS \
    { "data",         FIELD_STRING, AT(data),         NULL, 0, 0, NULL, FIELD_RENEWABLE | FIELD_MANY | FIELD_WORDS, \
      "examples: .jsonl files, an object a line (required)" }, \
    { "eval_data",    FIELD_STRING, AT(eval_data),    NULL, 0, 0, NULL, FIELD_RENEWABLE, "a .jsonl file for validation, in place of val-fraction" }, \
    { "val_fraction", FIELD_DOUBLE, AT(val_fraction), "0.1", 0, 0.9, NULL, 0, "drawn at random, kept for validation" }, \
    { "template",     FIELD_STRING, AT(template_),    NULL, 0, 0, NULL, 0, \
      "of messages: chatml, a file, or the name of one of the folder's chat templates; else the folder's own" }
static const field sft_fields[] = { DATA_FIELDS, FROM_FIELDS(FROM_AT) };
static const field dpo_fields[] = {
    DATA_FIELDS, FROM_FIELDS(FROM_AT),
    { "beta",            FIELD_DOUBLE, AT(beta),            "0.1", 1e-9, 1e9, NULL, 0, "how much a step away from the model as it was costs" },
    { "label_smoothing", FIELD_DOUBLE, AT(label_smoothing), "0", 0, 0.499, NULL, 0, "the share of pairs taken to be the wrong way round" },
};
static const fields sft_table = { "task sft", sft_fields, sizeof sft_fields / sizeof *sft_fields };
static const fields dpo_table = { "task dpo", dpo_fields, sizeof dpo_fields / sizeof *dpo_fields };
static const char *const sft_presets[] = { "batch_size", "8", "learning_rate", "5e-5", "beta2", "0.999", "weight_decay", "0",
                                           "warmup_steps", "10", "max_steps", "1000", NULL };
static const char *const dpo_presets[] = { "batch_size", "8", "learning_rate", "5e-6", "beta2", "0.999", "weight_decay", "0",
                                           "warmup_steps", "10", "max_steps", "1000", NULL };

typedef struct inputs { tensor *x, *target, *said, *reference, *there; } inputs;

typedef struct tune {
    setup      *s;
    const tune_options *o;
    bool        pairs;          /* dpo */
    tokenizer  *tokenizer;
    model      *model;
    examples    data;
    tune_rows   rows;
    row_scorer  scorer;
    row_score  *reference;      /* of every sequence, by the model as it was; NULL without pairs */
    inputs      in[TRAIN_SHAPES];
    int         shape;          /* what build and feed are of */
    int64_t     T;              /* inputs of a sequence at most */
    int32_t    *x, *target;     /* of a batch */
    float      *said, *difference, *there;
    char        hash[HASH_HEX];
    char        folder[3000];   /* OUT/training */
} tune;

static int each_of(const tune *t) { return t->pairs ? 2 : 1; }

/* --- examples ------------------------------------------------------------------------------ */

/* Of a resumed run the tokenizer is its own. */
static bool open_tokenizer(tune *t, genet_err *err)
{
    const char *out = t->s->train.out;
    t->tokenizer = genet__tokenizer_load(t->s->train.resume && genet__tokenizer_exists(out) ? out : t->o->begin.from, err);
    if (!t->tokenizer) return genet__err_prefix(err, "the tokenizer of --from: ");
    int64_t V = *genet__model_int(t->model, t->s->family->vocab_size);
    return genet__tokenizer_size(t->tokenizer) <= V ||
           genet__err_set(err, GENET_ERR_USAGE, "the tokenizer has %d tokens and the model only %lld", genet__tokenizer_size(t->tokenizer), (long long)V);
}

/* What generation stops at.  A config that names no such token names the tokenizer's from now on; an adapter has none to change. */
static int32_t end_token(const tune *t)
{
    int32_t end = genet__model_token(t->model, "eos_token_id");
    if (end >= 0 && end < genet__tokenizer_size(t->tokenizer)) return end;
    end = genet__tokenizer_end(t->tokenizer);
    const field *f = genet__fields_find(t->s->family->config, "eos_token_id");
    if (t->model->adapter || end < 0)
        genet__log(t->s->log, LOG_WARN, "the model in %s names no token that ends a text: generation will not know where to stop", t->o->begin.from);
    else if (f && f->type == FIELD_INT) *(int64_t *)((char *)t->model->config + f->offset) = end;
    return end;
}

static void log_examples(const tune *t, const examples *e)
{
    const log_sink *log = t->s->log;
    int64_t said = 0, all = 0;
    for (int64_t i = 0; i < e->n; i++) said += e->at[i].n_said, all += e->at[i].n;
    genet__log(log, LOG_INFO, "%lld %s to learn from, %lld held out: %lld tokens, %lld of them said", (long long)t->rows.n_train,
               t->pairs ? "pairs" : "examples", (long long)t->rows.n_val, (long long)all, (long long)said);
    if (e->n_cut)
        genet__log(log, LOG_WARN, "%lld lines are longer than %lld tokens: their ends are left out", (long long)e->n_cut, (long long)t->T + 1);
    if (e->n_dropped)
        genet__log(log, LOG_WARN, "%lld lines are left out whole: nothing in the first %lld tokens is to be learned", (long long)e->n_dropped,
                   (long long)t->T + 1);
}

/* A resumed run needs the examples it began with. */
static bool same_examples(tune *t, genet_err *err)
{
    char *path = genet__path_join(t->folder, "examples.json");
    if (!path) return genet__err_memory(err);
    genet__examples_hash(&t->data, t->hash);
    json_t *now = json_pack("{s:s, s:I, s:I}", "sha256", t->hash, "sequences", (json_int_t)t->data.n, "held_out", (json_int_t)t->rows.n_val), *was = NULL;
    bool ok = now || genet__err_memory(err);
    if (ok && t->s->train.resume && genet__file_exists(path)) {
        ok = (was = genet__json_read(path, 1 << 16, err));
        if (ok && !json_equal(was, now))
            ok = genet__err_set(err, GENET_ERR_USAGE, "--data and --eval-data are not the examples this run began with (%s)", path);
    } else if (ok) ok = genet__file_make_dirs(t->folder, err) && genet__json_write(path, now, err);
    json_decref(now);
    json_decref(was);
    genet__free(path);
    return ok;
}

static bool read_all(tune *t, genet_err *err)
{
    const tune_options *o = t->o;
    setup *s = t->s;
    example_rules rules = { t->tokenizer, -1, end_token(t), o->begin.from, o->template_, t->pairs, t->T + 1 };
    int n = 0;
    const char **paths = genet__split_lines(o->data, &n, &s->arena);
    if (!paths) return genet__err_memory(err);
    TRY(genet__prompt_begin(t->model, t->tokenizer, &rules.begin, err));
    for (int i = 0; i < n; i++) TRY(genet__examples_read(&t->data, paths[i], &rules, err));
    int64_t items = t->data.n / each_of(t);
    bool two = o->eval_data && *o->eval_data;
    if (items && two) TRY(genet__examples_read(&t->data, o->eval_data, &rules, err));
    if (!items) return genet__err_set(err, GENET_ERR_USAGE, "there is nothing to learn in %s", paths[0]);
    genet__examples_settle(&t->data);
    TRY(genet__tune_rows_make(&t->rows, &t->data, each_of(t), items, two ? 0 : o->val_fraction, s->train.batch_size, (uint64_t)s->train.seed, err));
    log_examples(t, &t->data);
    return same_examples(t, err);
}

/* --- the reference --------------------------------------------------------------------------- */

/* reference.bin: hash of the examples, hash of what follows, then (log p, right, said) of every sequence. */
enum { REFERENCE_HEAD = 2 * (HASH_HEX - 1) };

static void hash_of(const row_score *at, size_t n, char hex[HASH_HEX])
{
    sha256 h;
    genet__sha256_init(&h);
    genet__sha256_add(&h, at, n * sizeof *at);
    genet__sha256_end(&h, hex);
}

/* *found: it was made for these examples, and is whole. */
static bool load_reference(tune *t, const char *path, bool *found, genet_err *err)
{
    size_t n = (size_t)t->data.n * sizeof *t->reference, size = 0;
    char hash[HASH_HEX];
    *found = false;
    if (!t->s->train.resume || !genet__file_exists(path)) return true;
    char *bytes = genet__file_read(path, REFERENCE_HEAD + n + 1, &size, err);
    if (!bytes) return false;
    if (size == REFERENCE_HEAD + n) {
        memcpy(t->reference, bytes + REFERENCE_HEAD, n);
        hash_of(t->reference, (size_t)t->data.n, hash);
        *found = !memcmp(bytes, t->hash, HASH_HEX - 1) && !memcmp(bytes + HASH_HEX - 1, hash, HASH_HEX - 1);
    }
    genet__free(bytes);
    return true;
}

static bool save_reference(const tune *t, const char *path, genet_err *err)
{
    str all = {0};
    char hash[HASH_HEX];
    hash_of(t->reference, (size_t)t->data.n, hash);
    genet__str_printf(&all, "%s%s", t->hash, hash);
    genet__str_add_n(&all, t->reference, (size_t)t->data.n * sizeof *t->reference);
    bool ok = all.failed ? genet__err_memory(err) : genet__file_write_all(path, all.at, all.n, err);
    genet__str_release(&all);
    return ok;
}

static bool score(tune *t, row_scorer *with, const int64_t *items, int64_t n, row_score *out, genet_err *err)
{
    int64_t each = each_of(t), rows = n * each;
    const example **at = genet__alloc_array((size_t)rows + 1, sizeof *at);
    if (!at) return genet__err_memory(err);
    for (int64_t i = 0; i < rows; i++) at[i] = &t->data.at[items ? items[i / each] * each + i % each : i];
    bool ok = genet__row_scorer_run(with, at, rows, out, t->s->stop, err);
    genet__free(at);
    return ok;
}

/* By --from as it is, before it is opened for training. */
static bool compute_reference(tune *t, genet_err *err)
{
    row_scorer with = {0};
    genet__log(t->s->log, LOG_INFO, "log-probabilities of %lld answers by the model as it is", (long long)t->data.n);
    model *m = genet__model_open(t->o->begin.from, t->s->device, MODEL_READ_F32, err);
    bool ok = m && genet__row_scorer_build(&with, m, t->rows.T, t->rows.n_shape, genet__train_dtype(&t->s->train), err) &&
              genet__row_scorer_attach(&with, m, t->s->workspace, err) && score(t, &with, NULL, t->rows.n, t->reference, err);
    genet__row_scorer_release(&with);
    genet__model_free(m);
    return ok;
}

static bool open_reference(tune *t, genet_err *err)
{
    bool found;
    t->reference = genet__alloc_array((size_t)t->data.n, sizeof *t->reference);
    char *path = genet__path_join(t->folder, "reference.bin");
    bool ok = (path && t->reference) || genet__err_memory(err);
    ok = ok && load_reference(t, path, &found, err);
    if (ok && !found) ok = compute_reference(t, err) && save_reference(t, path, err);
    genet__free(path);
    return ok;
}

/* --- steps ------------------------------------------------------------------------------------ */

static int64_t part_of(const tune *t, int64_t step, int64_t micro)
{
    return step * t->s->train.gradient_accumulation_steps + micro;
}

/* Without memory the longest shape is right for any batch, and feed says what is missing. */
static int shape_of(void *user, int64_t step)
{
    tune *t = user;
    int least = t->rows.n_shape - 1;
    for (int64_t micro = 0; micro < t->s->train.gradient_accumulation_steps; micro++) {
        const int64_t *items = genet__tune_rows_batch(&t->rows, part_of(t, step, micro));
        int which = items ? genet__tune_rows_shape(&t->rows, items) : 0;
        if (which < least) least = which;
    }
    return least;
}

static void choose(void *user, int which) { ((tune *)user)->shape = which; }

/* Preferences are learned without dropout: the reference has none either. */
static bool build(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    (void)err;
    tune *t = user;
    inputs *in = &t->in[t->shape];
    int64_t T = t->rows.T[t->shape];
    bool training = n->training;
    in->x = genet_input(n->graph, "x", GENET_I32, GENET_DIMS(rows, T));
    in->target = genet_input(n->graph, "target", GENET_I32, GENET_DIMS(rows, T));
    n->training = training && !t->pairs;
    tensor *logits = genet__model_forward(t->model, n, &(model_inputs){ .x = in->x });
    n->training = training;
    if (!t->pairs) {
        *loss_sum = genet__lm_loss(logits, in->target, 0);
        *count = genet_side(*loss_sum, 1);
        return true;
    }
    in->said = genet_input(n->graph, "said", GENET_F32, GENET_DIMS(rows, T));
    in->reference = genet_input(n->graph, "reference", GENET_F32, GENET_DIMS(rows / 2));
    in->there = genet_input(n->graph, "there", GENET_F32, GENET_DIMS(rows / 2));
    tensor *log_p = genet__row_log_probabilities(logits, in->target, in->said);
    tensor *loss = genet__dpo_loss(log_p, in->reference, t->o->beta, t->o->label_smoothing);
    *loss_sum = genet_sum(genet_mul(loss, in->there), genet_axes_all(loss), false);
    *count = genet_sum(in->there, genet_axes_all(in->there), false);
    return true;
}

/* Of pairs first all that are chosen, then all that are rejected. */
static void fill(tune *t, const int64_t *items, int64_t T)
{
    int64_t B = t->rows.batch, each = each_of(t);
    for (int64_t b = 0; b < B; b++) {
        for (int64_t k = 0; k < each; k++) {
            int64_t at = (k * B + b) * T;
            genet__tune_row(items[b] >= 0 ? &t->data.at[items[b] * each + k] : NULL, T, t->x + at, t->target + at, t->said + at);
        }
        t->there[b] = items[b] >= 0;
        const row_score *r = t->reference && items[b] >= 0 ? &t->reference[2 * items[b]] : NULL;
        t->difference[b] = r ? (float)(r[0].log_p - r[1].log_p) : 0;
    }
}

static bool feed(void *user, genet_plan *p, int64_t step, int64_t micro, genet_err *err)
{
    tune *t = user;
    const inputs *in = &t->in[t->shape];
    int64_t B = t->rows.batch, T = t->rows.T[t->shape];
    size_t n = (size_t)(B * each_of(t) * T);
    const int64_t *items = genet__tune_rows_batch(&t->rows, part_of(t, step, micro));
    if (!items) return genet__err_memory(err);
    fill(t, items, T);
    TRY(genet_plan_write(p, in->x, t->x, n * sizeof *t->x, err) && genet_plan_write(p, in->target, t->target, n * sizeof *t->target, err));
    if (!t->pairs) return true;
    TRY(genet_plan_write(p, in->said, t->said, n * sizeof *t->said, err));
    TRY(genet_plan_write(p, in->reference, t->difference, (size_t)B * sizeof *t->difference, err));
    return genet_plan_write(p, in->there, t->there, (size_t)B * sizeof *t->there, err);
}

/* --- evaluation --------------------------------------------------------------------------------- */

static void sum_sayings(const row_score *got, int64_t n, train_score *out)
{
    double loss = 0;
    int64_t right = 0, said = 0;
    for (int64_t i = 0; i < n; i++) {
        loss -= got[i].log_p;
        right += got[i].right;
        said += got[i].said;
    }
    *out = (train_score){ .loss = loss / (double)said, .perplexity = exp(loss / (double)said), .bits_per_byte = NAN, .count = said,
                          .accuracy = (double)right / (double)said, .margin = NAN };
}

/* An answer's reward is beta times what its log-probability has gained. */
static void sum_preferences(const tune *t, const row_score *got, train_score *out)
{
    double loss = 0, margin = 0, s = t->o->label_smoothing;
    int64_t right = 0, n = t->rows.n_val;
    for (int64_t i = 0; i < n; i++) {
        const row_score *was = &t->reference[2 * t->rows.val[i]];
        double z = t->o->beta * (got[2 * i].log_p - was[0].log_p - (got[2 * i + 1].log_p - was[1].log_p));
        double softplus = (z < 0 ? -z : 0) + log1p(exp(-fabs(z)));      /* of -z: -log sigmoid(z) */
        loss += softplus + s * z;                                       /* -log sigmoid(-z) is z more */
        margin += z;
        right += z > 0;
    }
    *out = (train_score){ .loss = loss / (double)n, .perplexity = NAN, .bits_per_byte = NAN, .count = n,
                          .accuracy = (double)right / (double)n, .margin = margin / (double)n };
}

static bool evaluate(void *user, train_score *out, genet_err *err)
{
    tune *t = user;
    int64_t n = t->rows.n_val, rows = n * each_of(t);
    row_score *got = genet__alloc_array((size_t)rows, sizeof *got);
    bool ok = got ? score(t, &t->scorer, t->rows.val, n, got, err) : genet__err_memory(err);
    if (ok && t->pairs) sum_preferences(t, got, out);
    else if (ok) sum_sayings(got, rows, out);
    genet__free(got);
    return ok;
}

/* The template goes along, so that the model can be talked to. */
static bool describe(void *user, const train_event *e, genet_err *err)
{
    tune *t = user;
    const char *out = t->s->train.out, *template_ = t->data.chat.text;
    char data[300];
    snprintf(data, sizeof data, "%lld %s for training and %lld for validation (SHA-256 of their tokens: %s)", (long long)t->rows.n_train,
             t->pairs ? "pairs of answers" : "examples", (long long)t->rows.n_val, t->hash);
    TRY(genet__from_write_config(t->s, &t->o->begin, t->model, err) && genet__tokenizer_save(t->tokenizer, out, err));
    if (template_) {
        char *path = genet__path_join(out, "chat_template.jinja");
        bool ok = path ? genet__file_write_all(path, template_, strlen(template_), err) : genet__err_memory(err);
        genet__free(path);
        TRY(ok);
    }
    return genet__write_card(t->s, data, genet__tokenizer_kind(t->tokenizer), e, err);
}

/* --- the job ---------------------------------------------------------------------------------------- */

static bool buffers(tune *t, genet_err *err)
{
    size_t B = (size_t)t->rows.batch, n = B * (size_t)each_of(t) * (size_t)t->rows.T[0];
    t->x = genet__alloc_array(n, sizeof *t->x);
    t->target = genet__alloc_array(n, sizeof *t->target);
    t->said = genet__alloc_array(n, sizeof *t->said);
    t->difference = genet__alloc_array(B, sizeof *t->difference);
    t->there = genet__alloc_array(B, sizeof *t->there);
    return (t->x && t->target && t->said && t->difference && t->there) || genet__err_memory(err);
}

static bool ready(void *user, genet_err *err)
{
    tune *t = user;
    return !t->scorer.n || genet__row_scorer_attach(&t->scorer, t->model, t->s->workspace, err);
}

static bool open_all(tune *t, genet_err *err)
{
    const tune_options *o = t->o;
    setup *s = t->s;
    if (!(o->begin.from && *o->begin.from)) return genet__err_set(err, GENET_ERR_USAGE, "--from is missing: the folder of the model to be tuned");
    if (!s->train.batch_size) return genet__err_set(err, GENET_ERR_USAGE, "--batch-size must be 1 at least for text");
    TRY(genet__from_check(s, &o->begin, err));
    if (!(t->model = genet__from_open(s, &o->begin, &t->T, err))) return false;
    return (t->model->head->kind == HEAD_LM && !t->model->head->encode) ||
           genet__err_set(err, GENET_ERR_USAGE, "the model is a %s, which does not continue text", t->model->head->architecture);
}

static bool fill_job(tune *t, train_job *job, json_t **settings, genet_err *err)
{
    TRY(genet__setup_job(t->s, job, t->model->params, settings, err));
    job->user = t;
    job->unit = t->pairs ? "pairs" : "examples";
    job->scores = SCORE_ACCURACY | (t->pairs ? SCORE_MARGIN : SCORE_PERPLEXITY);
    job->batch_rows = t->rows.batch * each_of(t);
    job->units_per_row = 1.0 / each_of(t);
    job->n_shapes = t->rows.n_shape;
    job->shape_of = shape_of;
    job->choose = choose;
    job->build = build;
    job->feed = feed;
    job->ready = ready;
    job->describe = describe;
    return true;
}

static bool prepare(tune *t, train_job *job, json_t **settings, genet_err *err)
{
    setup *s = t->s;
    if (!t->o->data || !*t->o->data) return genet__err_set(err, GENET_ERR_USAGE, "--data is missing: .jsonl files of examples");
    int n = snprintf(t->folder, sizeof t->folder, "%s/training", s->train.out);
    if (n < 0 || n >= (int)sizeof t->folder) return genet__err_set(err, GENET_ERR_USAGE, "the path of --out is too long");
    TRY(open_all(t, err) && open_tokenizer(t, err) && read_all(t, err) && buffers(t, err));
    if (t->pairs) TRY(open_reference(t, err));
    TRY(fill_job(t, job, settings, err));
    int64_t parts = s->train.gradient_accumulation_steps;
    job->steps_per_epoch = (t->rows.n_batch + parts - 1) / parts;
    job->data_bytes = (size_t)(t->data.ids.n) * (sizeof(int32_t) + 1);
    if (!t->rows.n_val) return true;
    job->evaluate = evaluate;
    TRY(genet__row_scorer_build(&t->scorer, t->model, t->rows.T, t->rows.n_shape, genet__train_dtype(&s->train), err));
    job->eval_workspace_bytes = t->scorer.workspace_bytes;
    return true;
}

static void release(tune *t)
{
    genet__row_scorer_release(&t->scorer);
    genet__model_free(t->model);
    genet__tokenizer_free(t->tokenizer);
    genet__tune_rows_release(&t->rows);
    genet__examples_release(&t->data);
    void *heap[] = { t->x, t->target, t->said, t->difference, t->there, t->reference };
    for (size_t i = 0; i < sizeof heap / sizeof *heap; i++) genet__free(heap[i]);
    genet__free(t);
}

static tune *new_tune(setup *s, genet_err *err)
{
    tune *t = genet__alloc(sizeof *t);
    if (!t) genet__err_memory(err);
    else t->s = s, t->o = s->own, t->pairs = s->task == &genet__task_dpo;
    return t;
}

static bool train(setup *s, train_event *last, genet_err *err)
{
    tune *t = new_tune(s, err);
    if (!t) return false;
    train_job job;
    json_t *settings = NULL;
    bool ok = prepare(t, &job, &settings, err) && genet__train(&job, last, err);
    json_decref(settings);
    release(t);
    return ok;
}

/* What `plan` asks: a step over sequences of block-size tokens; no examples are read. */
static bool cost(setup *s, train_cost *out, genet_err *err)
{
    tune *t = new_tune(s, err);
    if (!t) return false;
    train_job job;
    json_t *settings = NULL;
    bool ok = open_all(t, err);
    t->rows = (tune_rows){ .batch = s->train.batch_size, .T = { t->T }, .n_shape = 1 };
    ok = ok && fill_job(t, &job, &settings, err) &&
         genet__train_cost(&job, job.batch_rows, s->train.gradient_accumulation_steps, out, err);
    json_decref(settings);
    t->rows = (tune_rows){0};
    release(t);
    return ok;
}

static bool takes(const family *f) { return f->heads->kind == HEAD_LM && !f->heads->encode; }

static const char sft_details[] =
    "A line of --data is {\"text\": ...}, all of which is learned; {\"prompt\": ..., \"completion\": ...}; or {\"messages\": [{\"role\": ...,\n"
    "\"content\": ...}, ...]}, written by the folder's chat template, of which the loss counts what the assistant says.  prompt and\n"
    "completion may be arrays of messages too.  The token that ends a text is learned with it.  Lines longer than block-size lose\n"
    "their ends.  A pass sees every example once, in an order that follows from the seed.\n";
static const char dpo_details[] =
    "A line of --data is {\"prompt\": ..., \"chosen\": ..., \"rejected\": ...}: texts, or arrays of messages for the folder's chat template;\n"
    "without a prompt it is what two conversations begin with.  The loss is that of direct preference optimisation, against the model as\n"
    "it was; a margin is how much more the chosen answer's reward is than the rejected one's.\n";

const task genet__task_sft = {
    .name = "sft", .details = sft_details, .help = "a language model that answers as examples do: prompts, conversations", .family = "gpt2", .takes = takes,
    .options_bytes = sizeof(tune_options), .options = &sft_table, .presets = sft_presets, .train = train, .cost = cost,
};
const task genet__task_dpo = {
    .name = "dpo", .details = dpo_details, .help = "a language model that prefers some answers to others", .family = "gpt2", .takes = takes,
    .options_bytes = sizeof(tune_options), .options = &dpo_table, .presets = dpo_presets, .train = train, .cost = cost,
};
