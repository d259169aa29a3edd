/* answer.c - `genet answer FOLDER --question Q --context TEXT | --data squad.json`: answers that stand in a text. */
#include <stddef.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "infer/answer.h"
#include "infer/generate.h"
#include "items.h"
#include "text/squad.h"

typedef struct verb_options { const char *question, *context, *data, *output; bool resume, json; int64_t threads; answer_options how; } verb_options;

#define AT(member) offsetof(verb_options, member)
static const field rows[] = {
    { "question", FIELD_STRING, AT(question), NULL, 0, 0, NULL, 0, "what is asked" },
    { "context",  FIELD_STRING, AT(context),  NULL, 0, 0, NULL, 0, "the text that has the answer in it" },
    { "data",     FIELD_STRING, AT(data),     NULL, 0, 0, NULL, 0, "questions and contexts in SQuAD's JSON, in their place" },
    { "output",   FIELD_STRING, AT(output),   NULL, 0, 0, NULL, 0, "--data: a file, in place of standard output" },
    { "resume",   FIELD_BOOL,   AT(resume),   "false", 0, 0, NULL, 0, "go on with --output where it stops" },
    { "json",     FIELD_BOOL,   AT(json),     "false", 0, 0, NULL, 0, "a JSON object a line" },
    { "threads",  FIELD_INT,    AT(threads),  "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", rows, sizeof rows / sizeof *rows };
static const char details[] =
    "The folder holds a model with a span head (BertForQuestionAnswering).  Prints score and answer; an empty answer means that\n"
    "there is none.  With --data a JSON object a line: id, prediction, score, start (in characters), and with --n-best the\n"
    "others; `genet eval --predictions OUTPUT --references squad.json --metric squad` scores them.\n";

typedef struct work {
    const verb_options *o;
    const model        *model;
    const tokenizer    *tokenizer;
    texts              *texts;
    span_answer        *answer;
    int64_t             n;
} work;

/* Characters before byte `at`, as SQuAD counts. */
static int64_t characters(const char *text, int64_t at)
{
    int64_t n = 0;
    for (int64_t i = 0; i < at; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

static json_t *answer_json(const span_answer *a, const char *key, const char *context)
{
    return json_pack("{s:o, s:f, s:I}", key, json_stringn(context + a->begin, (size_t)(a->end - a->begin)), "score", a->score, "start",
                     (json_int_t)characters(context, a->begin));
}

static bool print_json(const work *w, const char *id, const char *context, str *out, genet_err *err)
{
    json_t *line = id ? json_pack("{s:s}", "id", id) : json_object(), *best = answer_json(&w->answer[0], "prediction", context), *all = json_array();
    bool ok = line && best && all && !json_object_update(line, best);
    for (int64_t i = 0; ok && i < w->n; i++) ok = !json_array_append_new(all, answer_json(&w->answer[i], "text", context));
    if (ok && w->o->how.n_best > 1) ok = !json_object_set(line, "answers", all);
    if (ok) genet__json_print(line, 0, out);
    genet__str_add(out, "\n");
    json_decref(line);
    json_decref(best);
    json_decref(all);
    return ok || genet__err_set(err, GENET_ERR_FORMAT, "the context is not UTF-8");
}

static bool ask(work *w, const char *question, const char *context, genet_err *err)
{
    return genet__answer(w->texts, w->model, w->tokenizer, question, context, &w->o->how, w->answer, &w->n, err);
}

static bool answer_one(work *w, str *out, genet_err *err)
{
    const verb_options *o = w->o;
    TRY(ask(w, o->question, o->context, err));
    if (o->json) return print_json(w, NULL, o->context, out, err);
    for (int64_t i = 0; i < w->n; i++)
        genet__str_printf(out, "%.4f  %.*s\n", w->answer[i].score, (int)(w->answer[i].end - w->answer[i].begin),
                          o->context + w->answer[i].begin);
    return true;
}

static bool answer_all(work *w, genet_err *err)
{
    squad s = {0};
    str line = {0};
    item_writer to;
    int64_t first = 0;
    item_options where = { .output = w->o->output, .resume = w->o->resume };
    bool ok = genet__squad_read(&s, w->o->data, err) && cli_items_open(&to, &where, &first, err), begun = ok;
    for (int64_t i = first; ok && i < s.n; i++) {
        const squad_question *q = &s.at[i];
        genet__str_clear(&line);
        ok = (ask(w, q->question, q->context, err) || genet__err_prefix(err, "question %s: ", q->id)) &&
             print_json(w, q->id, q->context, &line, err) && cli_items_add(&to, &line, err);
    }
    if (begun) cli_items_close(&to);
    genet__str_release(&line);
    genet__squad_release(&s);
    return ok;
}

static bool check(const verb_options *o, genet_err *err)
{
    bool one = o->question && o->context;
    if (one == (o->data != NULL) || (o->data && (o->question || o->context)))
        return genet__err_set(err, GENET_ERR_USAGE, "say --question Q --context TEXT, or --data squad.json");
    return !o->resume || o->output || genet__err_set(err, GENET_ERR_USAGE, "--resume goes on with a file: --output FILE");
}

static bool answer(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    work w = { .o = user };
    model *m = NULL;
    tokenizer *t = NULL;
    TRY(check(w.o, err));
    genet_workspace *space = genet_workspace_new(d);
    bool ok = (space || genet__err_memory(err)) && genet__open_text_model(word[0], d, MODEL_READ_ONLY, &m, &t, err);
    if (ok && m->head->kind != HEAD_SPAN)
        ok = genet__err_set(err, GENET_ERR_USAGE, "%s holds a %s, which finds no answers: a model with a span head does", word[0], m->head->architecture);
    w.model = m;
    w.tokenizer = t;
    w.texts = ok ? genet__texts_new(m, NULL, space, POOL_NONE, GENET_F32, err) : NULL;
    w.answer = w.texts ? genet__alloc_array((size_t)w.o->how.n_best, sizeof *w.answer) : NULL;
    ok = w.texts && (w.answer || genet__err_memory(err)) && (w.o->data ? answer_all(&w, err) : answer_one(&w, out, err));
    genet__texts_free(w.texts);
    genet__free(w.answer);
    genet__tokenizer_free(t);
    genet__model_free(m);
    genet_workspace_free(space);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    verb_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .threads = &o.threads, .body = answer, .details = details,
                                    .more_fields = &genet__answer_fields, .more_options = &o.how,
                                    .folder = "say which model: a folder with a span head" }, argc, argv);
}

const verb cli_verb_answer = { "answer", "FOLDER --question Q --context TEXT | --data squad.json", "the words of a text that answer a question", run };
