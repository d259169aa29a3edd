/* quiz.c - asking a language model.
 *
 * Choices are scored as EleutherAI's lm-evaluation-harness does: the log-probability of " CHOICE" after the context, and
 * the same divided by the choice's characters (its acc_norm) and bytes (its acc_bytes); of equals the first wins.
 *
 * A line of the results says which question it answers by a checksum of the model's files, the options and the question:
 * what does not belong to this run is refused, never mixed. */
#include "task/quiz.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "format/journal.h"
#include "format/jsonl.h"

static const char default_stop[] = "Question:\n</s>\n<|im_end|>";
enum { BATCH = 64, CHOICES_MAX = 1024 };                /* questions scored together; choices of one */

#define AT(member) offsetof(quiz_options, member)
static const field option_fields[] = {
    { "template", FIELD_STRING, AT(template_), NULL, 0, 0, NULL, 0,
      "what the model reads: {} is the question, \\n a new line (choice: \"{}\"; answer: \"Question: {}\\nAnswer:\")" },
    { "results", FIELD_STRING, AT(results), NULL, 0, 0, NULL, 0,
      "append each result to this file of JSON lines, and go on from what it holds" },
    { "answer_tokens", FIELD_INT, AT(answer_tokens), "256", 1, 1e6, NULL, 0, "tokens of an answer at most" },
    { "stop", FIELD_STRING, AT(stop), NULL, 0, 0, NULL, FIELD_MANY,
      "an answer ends before this text; may be given several times (Question:, </s>, <|im_end|>)" },
};
const fields genet__quiz_fields = { "questions (--task choice, --task answer)", option_fields,
                                    sizeof option_fields / sizeof *option_fields };

static const char *const question_names[] = { "query", "context", "question", "prompt", NULL };
static const char *const answer_names[] = { "answer", "label", "gold", "answerKey", "completion", NULL };

/* The questions of a file, and the results that are there already. */
typedef struct asking {
    const quiz *q;
    const char *template_;
    jsonl       data;
    journal     journal;
    json_t     *had;            /* array of results */
    uint32_t    key;            /* of model and options */
    int64_t     n;              /* questions read */
    str         text;
    arena       arena;          /* of texts */
} asking;

/* --- the key ------------------------------------------------------------------------ */

static bool add_file(uint32_t *key, const char *folder, const char *name, genet_err *err)
{
    int64_t size;
    uint32_t crc;
    char *path = genet__path_join(folder, name);
    bool ok = path ? genet__file_crc32(path, &crc, &size, err) : genet__err_memory(err);
    genet__free(path);
    if (ok) *key = genet__crc32(genet__crc32(*key, name, strlen(name)), &crc, sizeof crc);
    return ok;
}

/* Weights, config and tokenizer as they are, whatever the folder is called. */
static bool add_folder(uint32_t *key, const char *folder, genet_err *err)
{
    char **names = genet__file_list(folder, err);
    bool ok = names;
    for (int i = 0; ok && names[i]; i++)
        if (genet__ends_with(names[i], ".safetensors") || !strcmp(names[i], "config.json") ||
            !strcmp(names[i], "tokenizer.json")) ok = add_file(key, folder, names[i], err);
    genet__file_list_free(names);
    return ok;
}

static uint32_t add_text(uint32_t key, const char *text) { return genet__crc32(key, text, strlen(text) + 1); }

static bool make_key(asking *a, const char *task, genet_err *err)
{
    const quiz_options *o = a->q->o;
    if (!o->results) return true;
    a->key = add_text(add_text(add_text(0, task), a->template_), o->stop ? o->stop : "");
    a->key = genet__crc32(a->key, &o->answer_tokens, sizeof o->answer_tokens);
    return add_folder(&a->key, a->q->folder, err);
}

/* "5f3a0c11": of one question. */
static void key_of(const asking *a, const json_t *question, char out[16], str *scratch)
{
    genet__str_clear(scratch);
    genet__json_print(question, 0, scratch);
    snprintf(out, 16, "%08x", (unsigned)genet__crc32(a->key, genet__str(scratch), scratch->n));
}

/* --- opening ------------------------------------------------------------------------ */

static bool keep_old(void *user, int64_t line, const json_t *value, genet_err *err)
{
    asking *a = user;
    (void)line;
    return !json_array_append(a->had, (json_t *)value) || genet__err_memory(err);
}

static bool open_asking(asking *a, const quiz *q, const char *task, const char *template_, genet_err *err)
{
    *a = (asking){ .q = q, .template_ = q->o->template_ ? q->o->template_ : template_, .journal = { .fd = -1 },
                   .data = { .failed = true }, .had = json_array() };
    if (!a->had) return genet__err_memory(err);
    if (!strstr(a->template_, "{}"))
        return genet__err_set(err, GENET_ERR_USAGE, "--template \"%.60s\" has no {} where the question goes", a->template_);
    TRY(genet__jsonl_open(&a->data, q->data, 0, err) && make_key(a, task, err));
    return genet__journal_open(&a->journal, q->o->results, keep_old, a, err);
}

/* ok: as it was before; the results on disk decide, too. */
static bool close_asking(asking *a, bool ok, genet_err *err)
{
    if (ok) ok = genet__journal_close(&a->journal, err);
    else genet__journal_close(&a->journal, NULL);
    genet__jsonl_close(&a->data);
    json_decref(a->had);
    genet__str_release(&a->text);
    genet__arena_release(&a->arena);
    return ok;
}

/* The next question; *old: its result, if that is there.  NULL: the end, or err (a->data.failed). */
static json_t *next_question(asking *a, const json_t **old, char key[16], genet_err *err)
{
    json_t *question = genet__jsonl_next(&a->data, err);
    *old = NULL;
    if (!question) return NULL;
    key_of(a, question, key, &a->text);
    if (a->text.failed) {
        genet__err_memory(err);
        a->data.failed = true;
        json_decref(question);
        return NULL;
    }
    size_t at = (size_t)a->n++;
    if (at >= json_array_size(a->had)) return question;
    *old = json_array_get(a->had, at);
    const char *had = json_string_value(json_object_get(*old, "key"));
    if (had && !strcmp(had, key)) return question;
    genet__err_set(err, GENET_ERR_USAGE, "%s: line %lld answers another question, or is of another model or other options: "
                   "name another file", a->q->o->results, (long long)a->n);
    a->data.failed = true;
    json_decref(question);
    return NULL;
}

/* More results than questions are of something else, too. */
static bool ended(const asking *a, genet_err *err)
{
    if (a->data.failed) return false;
    if (!a->n) return genet__err_set(err, GENET_ERR_USAGE, "%s: there are no questions", a->q->data);
    return json_array_size(a->had) <= (size_t)a->n ||
           genet__err_set(err, GENET_ERR_USAGE, "%s has more lines than there are questions", a->q->o->results);
}

/* "FILE: line 3" */
static const char *place(const asking *a, char out[256])
{
    snprintf(out, 256, "%.200s: line %lld", a->q->data, (long long)a->data.line);
    return out;
}

/* What the model reads before it answers, in the arena. */
static const char *context_of(asking *a, const json_t *question, genet_err *err)
{
    const char *text;
    char where[256];
    if (!genet__scored_text(question, question_names, place(a, where), &text, &a->arena, err)) return NULL;
    if (!text) {
        genet__err_set(err, GENET_ERR_FORMAT, "%s: none of \"query\", \"context\", \"question\", \"prompt\" is there", where);
        return NULL;
    }
    genet__str_clear(&a->text);
    genet__str_add(&a->text, "");
    for (const char *p = a->template_; *p; p++) {
        if (p[0] == '{' && p[1] == '}') genet__str_add(&a->text, text), p++;
        else if (p[0] == '\\' && p[1] == 'n') genet__str_add(&a->text, "\n"), p++;
        else genet__str_add_n(&a->text, p, 1);
    }
    char *copy = a->text.failed ? NULL : genet__arena_strdup(&a->arena, genet__str(&a->text));
    if (!copy) genet__err_memory(err);
    return copy;
}

/* --- choices ------------------------------------------------------------------------ */

typedef struct choice_item { char key[16]; int first, n, right; int64_t line; } choice_item;

typedef struct choice_batch {
    choice_item  item[BATCH];
    int          n;
    lm_pair     *pair;
    const char **choice;        /* beside pair */
    int          n_pair, cap_pair, cap_choice;
    lm_scorer   *scorer;
    quiz_choices sum;           /* counts, not shares */
} choice_batch;

static int letters(const char *s)
{
    int n = 0;
    for (; *s; s++) n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

/* The index that the answer names: a number, one of the labels, or the choice itself; -1: none. */
static int right_choice(const json_t *question, const json_t *choices, const json_t *labels, const char *answer)
{
    int64_t index;
    int n = (int)json_array_size(choices);
    for (int i = 0; labels && i < n; i++) {
        const char *label = json_string_value(json_array_get(labels, (size_t)i));
        if (label && !strcmp(label, answer)) return i;
    }
    for (int i = 0; i < n && json_is_string(json_object_get(question, "answer")); i++)
        if (!strcmp(json_string_value(json_array_get(choices, (size_t)i)), answer)) return i;
    return genet__parse_int(answer, &index) && index >= 0 && index < n ? (int)index : -1;
}

static bool add_choice(asking *a, choice_batch *b, const char *context, const char *choice, genet_err *err)
{
    char *text = genet__arena_printf(&a->arena, " %s", choice);
    if (!text || !GROW(b->pair, b->n_pair, b->cap_pair) || !GROW(b->choice, b->n_pair, b->cap_choice))
        return genet__err_memory(err);
    b->choice[b->n_pair] = text + 1;
    b->pair[b->n_pair++] = (lm_pair){ .context = context, .continuation = text };
    return true;
}

/* {"choices": [texts]}, or as ARC has it {"choices": {"text": [...], "label": [...]}}. */
static bool add_question(asking *a, choice_batch *b, const json_t *question, const char *key, genet_err *err)
{
    char where[256];
    const char *answer, *context = context_of(a, question, err);
    const json_t *choices = json_object_get(question, "choices"), *labels = json_object_get(question, "labels");
    if (json_is_object(choices)) labels = json_object_get(choices, "label"), choices = json_object_get(choices, "text");
    TRY(context && genet__scored_text(question, answer_names, place(a, where), &answer, &a->arena, err));
    size_t n = json_array_size(choices);
    if (n < 1 || n > CHOICES_MAX)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"choices\" must be an array of 1 to %d texts", where, CHOICES_MAX);
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(choices, i));
        if (!text || !*text) return genet__err_set(err, GENET_ERR_FORMAT, "%s: choices[%zu] is no text, or empty", where, i);
        TRY(add_choice(a, b, context, text, err));
    }
    int right = answer ? right_choice(question, choices, labels, answer) : -1;
    if (right < 0) return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"answer\" must be the number of a choice, from 0, its "
                                         "label or its text", where);
    choice_item *item = &b->item[b->n++];
    *item = (choice_item){ .first = b->n_pair - (int)n, .n = (int)n, .right = right, .line = a->data.line };
    memcpy(item->key, key, sizeof item->key);
    return true;
}

/* The first of the largest; by: 0 as they are, 1 for each character, 2 for each byte. */
static int likeliest(const choice_batch *b, const choice_item *item, int by)
{
    int best = 0;
    double most = -INFINITY;
    for (int i = 0; i < item->n; i++) {
        const char *text = b->choice[item->first + i];
        double x = b->pair[item->first + i].log_probability / (by == 2 ? (double)strlen(text) : by ? letters(text) : 1);
        if (x > most) most = x, best = i;
    }
    return best;
}

static void count(quiz_choices *sum, int right, int plain, int by_character, int by_byte)
{
    sum->n++;
    sum->accuracy += plain == right;
    sum->by_character += by_character == right;
    sum->by_byte += by_byte == right;
}

static bool tell_choice(asking *a, choice_batch *b, const choice_item *item, genet_err *err)
{
    int best[3];
    json_t *all = json_array();
    for (int i = 0; i < item->n; i++) genet__json_append(&all, json_real(b->pair[item->first + i].log_probability));
    for (int by = 0; by < 3; by++) best[by] = likeliest(b, item, by);
    json_t *line = json_pack("{s:s, s:i, s:i, s:i, s:i, s:o}", "key", item->key, "right", item->right, "choice", best[0],
                             "by_character", best[1], "by_byte", best[2], "log_probabilities", all);
    bool ok = line ? genet__journal_add(&a->journal, line, err) : genet__err_memory(err);
    json_decref(line);
    count(&b->sum, item->right, best[0], best[1], best[2]);
    return ok;
}

static bool flush_choices(asking *a, choice_batch *b, genet_err *err)
{
    TRY(!b->n_pair || genet__lm_score_pairs(b->scorer, b->pair, b->n_pair, err));
    for (int i = 0; i < b->n; i++) TRY(tell_choice(a, b, &b->item[i], err));
    b->n = b->n_pair = 0;
    genet__arena_release(&a->arena);
    a->arena = (arena){0};
    return true;
}

static bool take_old_choice(asking *a, choice_batch *b, const json_t *old, genet_err *err)
{
    static const char *const key[] = { "right", "choice", "by_character", "by_byte" };
    int64_t v[4];
    for (int i = 0; i < 4; i++) TRY(genet__json_int(old, key[i], a->q->o->results, &v[i], NULL, err));
    count(&b->sum, (int)v[0], (int)v[1], (int)v[2], (int)v[3]);
    b->sum.resumed++;
    return true;
}

static bool ask_choices(asking *a, choice_batch *b, genet_err *err)
{
    const json_t *old;
    json_t *question;
    char key[16];
    bool ok = true;
    while (ok && (question = next_question(a, &old, key, err))) {
        ok = old ? take_old_choice(a, b, old, err) : add_question(a, b, question, key, err);
        json_decref(question);
        if (ok && b->n == BATCH) ok = flush_choices(a, b, err);
    }
    return ok && ended(a, err) && flush_choices(a, b, err);
}

bool genet__quiz_choices(const quiz *q, quiz_choices *out, genet_err *err)
{
    asking a;
    choice_batch *b = genet__alloc(sizeof *b);
    bool ok = open_asking(&a, q, "choice", "{}", err);
    if (ok && !b) ok = genet__err_memory(err);
    ok = ok && (b->scorer = genet__lm_scorer_new(q->model, q->tokenizer, q->workspace, err)) && ask_choices(&a, b, err);
    if (ok) {
        double n = (double)b->sum.n;
        *out = (quiz_choices){ b->sum.n, b->sum.resumed, b->sum.accuracy / n, b->sum.by_character / n, b->sum.by_byte / n };
    }
    if (b) {
        genet__lm_scorer_free(b->scorer);
        genet__free(b->pair);
        genet__free(b->choice);
    }
    genet__free(b);
    return close_asking(&a, ok, err);
}

/* --- answers ------------------------------------------------------------------------ */

static bool gather(void *user, const genet_piece *p)
{
    str *text = user;
    genet__str_add_n(text, p->text, p->n_bytes);
    return !text->failed;
}

static bool keep(scored *out, const char *prediction, const char *reference, genet_err *err)
{
    const char **list = ARENA_ARRAY(&out->arena, const char *, 1);
    char *text = genet__arena_strdup(&out->arena, prediction);
    if (!list || !text || !(list[0] = genet__arena_strdup(&out->arena, reference)) || !GROW(out->at, out->n, out->cap))
        return genet__err_memory(err);
    out->at[out->n++] = (scored_item){ .prediction = text, .reference = list, .n_reference = 1 };
    return true;
}

/* The likeliest token each time, up to the end, a stop text, or as many as are allowed. */
static bool write_answer(asking *a, decoder *d, const char *context, str *out, genet_err *err)
{
    generation_options how;
    TRY(genet__fields_defaults(&genet__generation_fields, &how, &a->arena, err));
    how.temperature = 0;
    how.max_new_tokens = a->q->o->answer_tokens;
    how.stop = a->q->o->stop ? a->q->o->stop : default_stop;
    genet__str_clear(out);
    genet__str_add(out, "");
    TRY(genet__generate(d, a->q->tokenizer, a->q->model, context, &how, gather, out, err));
    return !out->failed || genet__err_memory(err);
}

static bool answer(asking *a, decoder *d, const json_t *question, const char *key, str *text, scored *out, genet_err *err)
{
    char where[256];
    const char *right, *context = context_of(a, question, err);
    TRY(context && genet__scored_text(question, answer_names, place(a, where), &right, &a->arena, err));
    if (!right) return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"answer\" is missing", where);
    TRY(write_answer(a, d, context, text, err));
    json_t *line = json_pack("{s:s, s:o, s:s}", "key", key, "prediction", json_stringn(genet__str(text), text->n), "reference",
                             right);
    bool ok = line ? genet__journal_add(&a->journal, line, err) : genet__err_memory(err);
    json_decref(line);
    ok = ok && keep(out, genet__str(text), right, err);
    genet__arena_release(&a->arena);
    a->arena = (arena){0};
    return ok;
}

static bool take_old_answer(const asking *a, const json_t *old, scored *out, genet_err *err)
{
    const char *prediction, *reference;
    TRY(genet__json_string(old, "prediction", a->q->o->results, &prediction, NULL, err));
    TRY(genet__json_string(old, "reference", a->q->o->results, &reference, NULL, err));
    return keep(out, prediction, reference, err);
}

bool genet__quiz_answers(const quiz *q, scored *out, int64_t *resumed, genet_err *err)
{
    asking a;
    const json_t *old;
    json_t *question;
    char key[16];
    str text = {0};
    *out = (scored){0};
    *resumed = 0;
    bool ok = open_asking(&a, q, "answer", "Question: {}\\nAnswer:", err);
    decoder *d = ok ? genet__decoder_new(q->model, q->workspace, 1, err) : NULL;
    ok = d;
    while (ok && (question = next_question(&a, &old, key, err))) {
        *resumed += old != NULL;
        ok = old ? take_old_answer(&a, old, out, err) : answer(&a, d, question, key, &text, out, err);
        json_decref(question);
    }
    ok = ok && ended(&a, err);
    genet__decoder_free(d);
    genet__str_release(&text);
    ok = close_asking(&a, ok, err);
    if (!ok) genet__scored_release(out);
    return ok;
}
