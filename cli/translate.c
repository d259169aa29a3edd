/* translate.c - `genet translate FOLDER` and `genet summarize FOLDER`: a text that is read, and the text that it becomes.
 *
 * One text by -p or --prompt-file; or a file of many, a text a line or a JSON object a line, in batches.  An output
 * that stands there already is gone on with where it stopped: every batch ends in whole lines. */
#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "attention.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "cli.h"
#include "format/jsonl.h"
#include "infer/generate.h"
#include "text/source.h"

enum { OUTPUT_MAX_BYTES = 1 << 30 };

typedef struct program_options {
    const char *prompt, *prompt_file, *input, *output, *prefix, *source_field, *source_lang, *attention;
    int64_t batch_size, threads;
    bool    json;
} program_options;

#define AT(member) offsetof(program_options, member)
static const field table[] = {
    { "prompt",  FIELD_STRING, AT(prompt),   NULL, 0, 0, NULL, 0, "the text to read (-p)" },
    { "prompt_file", FIELD_STRING, AT(prompt_file), NULL, 0, 0, NULL, 0, "or a file that holds it; - is standard input" },
    { "input",   FIELD_STRING, AT(input),    NULL, 0, 0, NULL, 0, "or a file of many: a text a line, or JSON lines; - is standard input" },
    { "output",  FIELD_STRING, AT(output),   NULL, 0, 0, NULL, 0,
      "of --input: the file for as many lines; one that is there is gone on with; none: standard output" },
    { "prefix",  FIELD_STRING, AT(prefix),   NULL, 0, 0, NULL, 0, "put before every text, as T5 wants it: \"summarize: \"" },
    { "source_field", FIELD_STRING, AT(source_field), "source", 0, 0, NULL, 0, "of JSON lines: the text" },
    { "source_lang", FIELD_STRING, AT(source_lang), NULL, 0, 0, NULL, 0, "of {\"translation\": {\"fr\": ..}}: fr" },
    { "batch_size", FIELD_INT, AT(batch_size), "16", 1, 4096, NULL, 0, "of --input: texts at once" },
    { "attention", FIELD_STRING, AT(attention), NULL, 0, 0, NULL, 0,
      "of one text: what each token looked at in the source, to this .png, .svg or .json" },
    { "json",    FIELD_BOOL,   AT(json),     "false", 0, 0, NULL, 0, "print one JSON object for each text" },
    { "threads", FIELD_INT,    AT(threads),  "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };
static const char details[] =
    "Options that are not given are those of the folder's generation_config.json, then the ones below; without any, the likeliest\n"
    "token is taken.  JSON lines are {\"source\": ..} or {\"text\": ..}; they come out with \"prediction\" and \"score\" added, which\n"
    "is what `genet eval` takes.  --logprobs shows the likeliest tokens at each step.  Texts longer than the model reads are cut.\n";
static const short_name short_names[] = { { "p", "prompt" }, { "n", "max_new_tokens" }, { "tokens", "max_new_tokens" },
                                          { "temp", "temperature" }, { "o", "output" }, { NULL, NULL } };

/* What there is of one sequence. */
typedef struct written {
    str           text;
    token_list    ids;
    genet_choice *top;          /* n_top for each id */
    double       *logprob, score;
    int           n_top, cap_top, cap_logprob;
    bool          stop;         /* by an end token, not by length */
} written;

typedef struct work {
    program_options    program;
    generation_options writing;
    options           *given;
    const verb        *verb;
    model             *model;
    tokenizer         *tokenizer;
    genet_workspace   *space;
    decoder           *decoder;
    char             **source;          /* heap; "" is passed over */
    json_t           **object;          /* of JSON lines; else NULL */
    token_list        *ids;             /* of a batch */
    int                n, cap_source, cap_object;
    bool               lines_are_json, poor;
    written           *written;         /* (batch, num_return_sequences) */
    int64_t            batch, n_cut;
    int                fd;              /* of --output; -1: standard output */
} work;

/* --- what is read -------------------------------------------------------------------- */

/* object may be NULL; it is taken over. */
static bool add_source(work *w, const char *text, size_t n, json_t *object, genet_err *err)
{
    const char *prefix = w->program.prefix ? w->program.prefix : "";
    size_t before = strlen(prefix);
    bool room = GROW(w->source, w->n, w->cap_source) && GROW(w->object, w->n, w->cap_object);
    char *copy = room ? genet__alloc(before + n + 1) : NULL;
    if (!copy) {
        json_decref(object);
        return genet__err_memory(err);
    }
    if (n) memcpy(copy, prefix, before), memcpy(copy + before, text, n);
    w->source[w->n] = copy;
    w->object[w->n++] = object;
    return true;
}

/* "source", as --source-field says, "text", or "translation" by language. */
static bool add_object(work *w, json_t *j, int64_t line, genet_err *err)
{
    const program_options *o = &w->program;
    const json_t *languages = json_object_get(j, "translation");
    const json_t *text = json_object_get(j, o->source_field);
    if (!text && languages && o->source_lang) text = json_object_get(languages, o->source_lang);
    if (!text) text = json_object_get(j, "text");
    if (json_is_string(text)) return add_source(w, json_string_value(text), json_string_length(text), j, err);
    json_decref(j);
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: line %lld has no text under \"%s\" or \"text\"; --source-field says where", o->input,
                          (long long)line, o->source_field);
}

static bool read_objects(work *w, const str *text, genet_err *err)
{
    jsonl lines;
    json_t *j;
    bool ok = true;
    w->lines_are_json = true;
    genet__jsonl_parse(&lines, genet__str(text), text->n, w->program.input, 0);
    while (ok && (j = genet__jsonl_next(&lines, err))) ok = add_object(w, j, lines.line, err);
    return ok && !lines.failed;
}

static bool read_lines(work *w, const str *text, genet_err *err)
{
    const char *at = genet__str(text), *end = at + text->n;
    if (memchr(at, 0, text->n)) return genet__err_set(err, GENET_ERR_USAGE, "%s: a zero byte is no text", w->program.input);
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at);
        TRY(add_source(w, at, n && at[n - 1] == '\r' ? n - 1 : n, NULL, err));
        at += n + 1;
    }
    return true;
}

static bool read_input(work *w, genet_err *err)
{
    str text = {0};
    bool ok = genet__source_read(w->program.input, &text, err);
    if (ok) ok = genet__str(&text)[strspn(genet__str(&text), " \t\r\n")] == '{' ? read_objects(w, &text, err) : read_lines(w, &text, err);
    genet__str_release(&text);
    return ok;
}

static bool read_sources(work *w, genet_err *err)
{
    const program_options *o = &w->program;
    str text = {0};
    if (o->input) return read_input(w, err);
    bool ok = true;
    if (o->prompt) genet__str_add(&text, o->prompt);
    else ok = genet__source_read(o->prompt_file, &text, err);
    while (ok && !o->prompt && text.n && (text.at[text.n - 1] == '\n' || text.at[text.n - 1] == '\r')) text.at[--text.n] = 0;
    if (ok && text.n && memchr(text.at, 0, text.n)) ok = genet__err_set(err, GENET_ERR_USAGE, "%s: a zero byte is no text", o->prompt_file);
    ok = ok && add_source(w, genet__str(&text), text.n, NULL, err);
    genet__str_release(&text);
    return ok;
}

static bool check_words(const work *w, genet_err *err)
{
    const program_options *o = &w->program;
    if (!!o->prompt + !!o->prompt_file + !!o->input != 1)
        return genet__err_set(err, GENET_ERR_USAGE, "-p TEXT, --prompt-file FILE or --input FILE: one of the three says what to read");
    if (o->output && !o->input) return genet__err_set(err, GENET_ERR_USAGE, "--output is for --input: one text goes to standard output");
    if (o->attention && o->input) return genet__err_set(err, GENET_ERR_USAGE, "--attention shows one text: give it with -p");
    return true;
}

/* --- one batch ------------------------------------------------------------------------ */

static bool take_piece(void *user, const genet_piece *p)
{
    work *w = user;
    written *to = &w->written[p->sequence];
    genet__str_add_n(&to->text, p->text, p->n_bytes);
    bool ok = !to->text.failed;
    for (int i = 0; ok && i < p->n_token; i++) {
        const genet_token *t = &p->token[i];
        int n = to->ids.n;
        to->n_top = t->n_top;
        ok = GROW(to->ids.at, n, to->ids.cap) && GROW(to->logprob, n, to->cap_logprob) &&
             genet__grow(&to->top, &to->cap_top, (n + 1) * (t->n_top ? t->n_top : 1), sizeof *to->top);
        if (!ok) break;
        to->logprob[n] = t->logprob;
        to->ids.at[to->ids.n++] = t->id;
        if (t->n_top) memcpy(to->top + n * t->n_top, t->top, (size_t)t->n_top * sizeof *t->top);
    }
    if (p->finish) to->score = p->score, to->stop = !strcmp(p->finish, "stop");
    w->poor |= !ok;
    return ok;
}

static void clear_written(work *w)
{
    for (int64_t i = 0; w->written && i < w->batch * w->writing.num_return_sequences; i++) {
        written *at = &w->written[i];
        genet__str_clear(&at->text);
        at->ids.n = 0;
        at->score = 0;
    }
}

/* Sources from `first` on, up to a batch; those that are empty are read as nothing: all others keep their order. */
static bool write_batch(work *w, int first, int n, genet_err *err)
{
    int used = 0;
    clear_written(w);
    for (int i = 0; i < n; i++) {
        bool cut = false;
        if (!*w->source[first + i]) continue;
        TRY(genet__source_ids(w->model, w->tokenizer, w->source[first + i], 0, &w->ids[used++], &cut, err));
        w->n_cut += cut;
    }
    TRY(!used || genet__generate_from(w->decoder, w->tokenizer, w->model, w->ids, used, &w->writing, take_piece, w, err));
    if (w->poor) return genet__err_memory(err);
    int64_t each = w->writing.num_return_sequences;
    for (int i = n - 1; i >= 0; i--) {          /* back to the places of their sources */
        if (!*w->source[first + i]) continue;
        used--;
        for (int64_t r = 0; used < i && r < each; r++) {
            written swap = w->written[i * each + r];
            w->written[i * each + r] = w->written[used * each + r];
            w->written[used * each + r] = swap;
        }
    }
    return true;
}

/* --- JSON ------------------------------------------------------------------------------ */

static json_t *choice_json(const work *w, int32_t id, double logprob)
{
    str text = {0};
    size_t n;
    const char *piece = genet__tokenizer_piece(w->tokenizer, id, &n);
    if (piece) genet__utf8_add(&text, piece, n);
    json_t *j = text.failed ? NULL : json_pack("{s:i, s:o, s:f}", "id", (int)id, "text", json_stringn(genet__str(&text), text.n), "logprob", logprob);
    genet__str_release(&text);
    return j;
}

static json_t *tokens_json(const work *w, const written *at)
{
    json_t *list = json_array();
    for (int i = 0; i < at->ids.n; i++) {
        json_t *one = choice_json(w, at->ids.at[i], at->logprob[i]), *top = json_array();
        for (int k = 0; k < at->n_top; k++) genet__json_append(&top, choice_json(w, at->top[i * at->n_top + k].id, at->top[i * at->n_top + k].logprob));
        if (!one || !top || json_object_set(one, "top", top)) json_decref(one), one = NULL;
        json_decref(top);
        genet__json_append(&list, one);
    }
    return list;
}

static json_t *text_json(const written *at) { return json_stringn(genet__str(&at->text), at->text.n); }

/* The line's own object, or {"source"}, with what came of it. */
static json_t *answer_json(const work *w, int i, const written *at)
{
    int64_t each = w->writing.num_return_sequences;
    json_t *j = w->object[i] ? json_copy(w->object[i]) : json_pack("{s:s}", "source", w->source[i]);
    bool ok = j && !json_object_set_new(j, "prediction", text_json(at)) && !json_object_set_new(j, "score", json_real(at->score)) &&
              !json_object_set_new(j, "finish", json_string(at->stop ? "stop" : "length"));
    json_t *all = each > 1 ? json_array() : NULL;
    for (int64_t r = 0; each > 1 && r < each; r++) genet__json_append(&all, json_pack("{s:o, s:f}", "text", text_json(&at[r]), "score", at[r].score));
    if (each > 1) ok = ok && all && !json_object_set(j, "predictions", all);
    json_decref(all);
    if (w->writing.logprobs) ok = ok && !json_object_set_new(j, "tokens", tokens_json(w, at));
    if (ok) return j;
    json_decref(j);
    return NULL;
}

static bool add_json(const work *w, int i, const written *at, str *out, genet_err *err)
{
    json_t *j = answer_json(w, i, at);
    if (!j) return genet__err_memory(err);
    genet__json_print(j, 0, out);
    genet__str_add(out, "\n");
    json_decref(j);
    return !out->failed || genet__err_memory(err);
}

/* --- text ------------------------------------------------------------------------------- */

/* One line: line ends in it become spaces. */
static void add_line(const written *at, str *out)
{
    size_t from = out->n;
    genet__str_add_n(out, genet__str(&at->text), at->text.n);
    for (size_t i = from; i < out->n && !out->failed; i++)
        if (out->at[i] == '\n' || out->at[i] == '\r') out->at[i] = ' ';
    genet__str_add(out, "\n");
}

/* "   1  The         0.912    The 0.912  A 0.034" */
static void add_steps(const work *w, const written *at, str *out)
{
    for (int i = 0; i < at->ids.n; i++) {
        str token = {0};
        cli_token_text(w->tokenizer, at->ids.at[i], &token);
        genet__str_printf(out, "%4d  %-16s %.4f   ", i + 1, genet__str(&token), exp(at->logprob[i]));
        for (int k = 0; k < at->n_top; k++) {
            genet__str_clear(&token);
            cli_token_text(w->tokenizer, at->top[i * at->n_top + k].id, &token);
            genet__str_printf(out, " %s %.4f ", genet__str(&token), exp(at->top[i * at->n_top + k].logprob));
        }
        genet__str_add(out, "\n");
        out->failed |= token.failed;
        genet__str_release(&token);
    }
}

/* Of a batch that began at `first`, from the skip-th to the n-th. */
static bool add_answers(work *w, int first, int skip, int n, str *out, genet_err *err)
{
    int64_t each = w->writing.num_return_sequences;
    for (int i = skip; i < n; i++) {
        const written *at = &w->written[i * each];
        if (w->program.json || w->lines_are_json) TRY(add_json(w, first + i, at, out, err));
        else for (int64_t r = 0; r < (w->program.input ? 1 : each); r++) {
            add_line(&at[r], out);
            if (w->writing.logprobs && !w->program.input) add_steps(w, &at[r], out);
        }
    }
    return !out->failed || genet__err_memory(err);
}

/* --- many ---------------------------------------------------------------------------------- */

/* Whole lines that stand in the output already; a last one without an end is taken away. */
static bool open_output(work *w, int *done, genet_err *err)
{
    const char *path = w->program.output;
    size_t size = 0, whole = 0;
    *done = 0;
    if (!path) return true;
    w->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (w->fd < 0) return genet__err_errno(err, "write", path);
    char *text = genet__file_read(path, OUTPUT_MAX_BYTES, &size, err);
    if (!text) return false;
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\n') ++*done, whole = i + 1;
    genet__free(text);
    if (*done > w->n)
        return genet__err_set(err, GENET_ERR_USAGE, "%s has %d lines already, and %s only %d: it is another input's", path, *done,
                              w->program.input, w->n);
    if (ftruncate(w->fd, (off_t)whole) || lseek(w->fd, (off_t)whole, SEEK_SET) < 0) return genet__err_errno(err, "write", path);
    if (*done) fprintf(stderr, "%s: going on after line %d of %d\n", path, *done, w->n);
    return true;
}

static bool pass_on(const work *w, const str *text, genet_err *err)
{
    if (w->fd >= 0) return genet__file_write(w->fd, genet__str(text), text->n) || genet__err_errno(err, "write", w->program.output);
    return (fwrite(genet__str(text), 1, text->n, stdout) == text->n && !fflush(stdout)) ||
           genet__err_set(err, GENET_ERR_IO, "standard output could not be written");
}

/* Batches begin at the same lines however often the work was stopped, so that the result does not depend on it. */
static bool write_all(work *w, int done, genet_err *err)
{
    if (done == w->n) return true;
    for (int first = done - done % (int)w->batch; first < w->n; first += (int)w->batch) {
        int n = w->n - first < w->batch ? w->n - first : (int)w->batch, skip = done > first ? done - first : 0;
        str text = {0};
        bool ok = write_batch(w, first, n, err);
        ok = ok && add_answers(w, first, skip, n, &text, err) && pass_on(w, &text, err);
        genet__str_release(&text);
        TRY(ok);
    }
    return true;
}

/* --- one ---------------------------------------------------------------------------------- */

static bool show_attention(work *w, genet_err *err)
{
    crossing c = {0};
    const written *at = &w->written[0];
    bool ok = genet__crossing(&c, w->model, w->space, w->ids[0].at, w->ids[0].n, genet__decoder_start(w->model, &w->writing), at->ids.at,
                              at->ids.n, err);
    ok = ok && cli_attention_write(w->program.attention, &c, w->tokenizer, w->ids[0].at, at->ids.at, err);
    genet__crossing_release(&c);
    return ok;
}

static bool write_one(work *w, str *out, genet_err *err)
{
    if (!*w->source[0]) return genet__err_set(err, GENET_ERR_USAGE, "the text is empty: there is nothing to read");
    TRY(write_batch(w, 0, 1, err) && add_answers(w, 0, 0, 1, out, err));
    return !w->program.attention || show_attention(w, err);
}

/* --- the verb --------------------------------------------------------------------------------- */

static bool was_given(const void *user, const char *name) { return genet__options_was_given(user, name); }

static bool settle(work *w, const char *folder, genet_err *err)
{
    generation_file f = {0};
    bool ok = genet__generation_file_read(&f, folder, err) &&
              genet__generation_settle_source(&w->writing, &f, was_given, w->given, w->given->arena, err);
    genet__generation_file_release(&f);
    return ok && genet__generation_check(&w->writing, err);
}

/* The longest source decides how much its caches hold. */
static bool make_decoder(work *w, genet_err *err)
{
    int64_t longest = 1, sequences;
    w->batch = w->program.input ? w->program.batch_size : 1;
    sequences = w->batch * w->writing.num_return_sequences;
    w->written = genet__alloc_array((size_t)sequences, sizeof *w->written);
    w->ids = genet__alloc_array((size_t)w->batch, sizeof *w->ids);
    if (!w->written || !w->ids || !(w->space = genet_workspace_new(w->model->params->device))) return genet__err_memory(err);
    for (int i = 0; i < w->n; i++) {
        if (!*w->source[i]) continue;
        TRY(genet__source_ids(w->model, w->tokenizer, w->source[i], 0, &w->ids[0], NULL, err));
        if (w->ids[0].n > longest) longest = w->ids[0].n;
    }
    return (w->decoder = genet__decoder_new_reading(w->model, w->space, w->batch, genet__generation_rows(&w->writing), longest, err));
}

static bool open_all(work *w, const char *folder, genet_device *d, genet_err *err)
{
    TRY(check_words(w, err));
    TRY(genet__open_text_model(folder, d, MODEL_READ_ONLY, &w->model, &w->tokenizer, err));
    if (!w->model->head->encode)
        return genet__err_set(err, GENET_ERR_USAGE, "%s holds a %s, which reads no source: genet generate continues texts", folder,
                              w->model->head->architecture);
    bool t5 = !strcmp(w->model->family->name, "t5");
    if (w->verb == &cli_verb_summarize && t5 && !w->program.prefix) w->program.prefix = "summarize: ";
    return settle(w, folder, err) && read_sources(w, err) && make_decoder(w, err);
}

static void release(work *w)
{
    if (w->fd >= 0) close(w->fd);
    for (int i = 0; i < w->n; i++) genet__free(w->source[i]), json_decref(w->object[i]);
    for (int64_t i = 0; w->written && i < w->batch * w->writing.num_return_sequences; i++) {
        genet__str_release(&w->written[i].text);
        genet__token_list_release(&w->written[i].ids);
        genet__free(w->written[i].top);
        genet__free(w->written[i].logprob);
    }
    for (int64_t i = 0; w->ids && i < w->batch; i++) genet__token_list_release(&w->ids[i]);
    genet__free(w->source);
    genet__free(w->object);
    genet__free(w->written);
    genet__free(w->ids);
    genet__decoder_free(w->decoder);
    genet_workspace_free(w->space);
    genet__tokenizer_free(w->tokenizer);
    genet__model_free(w->model);
}

static bool translate(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    work *w = user;
    int done = 0;
    bool ok = open_all(w, word[0], d, err);
    if (ok && w->program.input) ok = open_output(w, &done, err) && write_all(w, done, err);
    else ok = ok && write_one(w, out, err);
    if (ok && w->n_cut) fprintf(stderr, "texts longer than the %lld tokens that the model reads were cut: %lld\n",
                                (long long)*genet__model_int(w->model, w->model->family->context), (long long)w->n_cut);
    release(w);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    work w = { .verb = v, .fd = -1 };       /* its first member is the struct of the first table */
    return cli_simple(v, &(simple){ .fields = &tables, .options = &w, .threads = &w.program.threads, .short_names = short_names,
                                    .more_fields = &genet__generation_fields, .more_options = &w.writing, .given = &w.given,
                                    .body = translate, .details = details,
                                    .folder = "say which model: a folder that `genet train translate` or transformers wrote" },
                      argc, argv);
}

const verb cli_verb_translate = { "translate", "FOLDER -p TEXT | --input FILE [--options]", "a text that becomes another", run };
const verb cli_verb_summarize = { "summarize", "FOLDER -p TEXT | --input FILE [--options]", "a text that becomes a shorter one", run };
