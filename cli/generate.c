/* generate.c - `genet generate FOLDER -p TEXT`: text as it comes.
 *
 * Several sequences come in turns and are shown one after the other: the first that is not
 * finished as it comes, the others from memory when it is their turn.  With --json each is one object in a line of
 * its own, at the end. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "cli.h"
#include "infer/generate.h"
#include "machine.h"
#include "plan/plan.h"

enum { PROMPT_MAX_BYTES = 1 << 28 };

typedef struct program_options {
    const char *prompt, *prompt_file, *adapter;
    int64_t threads;
    bool json;
    profile_options profile;
} program_options;

#define AT(member) offsetof(program_options, member)
static const field table[] = {
    { "prompt",  FIELD_STRING, AT(prompt),   NULL, 0, 0, NULL, 0, "text to continue (-p)" },
    { "prompt_file", FIELD_STRING, AT(prompt_file), NULL, 0, 0, NULL, 0, "or a file that holds it; - is standard input" },
    ADAPTER_FIELD(AT(adapter)),
    { "json",    FIELD_BOOL,   AT(json),     "false", 0, 0, NULL, 0,
      "print one JSON object for each text, without the prompt" },
    { "threads", FIELD_INT,    AT(threads),  "0", 0, 1024, NULL, 0, "0: all the cores there are" },
    PROFILE_FIELDS(AT(profile), "and write what each thread did when to this file, for chrome://tracing"),
};
static const fields tables = { "options", table, sizeof table / sizeof *table };
static const char details[] =
    "Options that are not given are those of the folder's generation_config.json, then the ones below.\n"
    "Of a prompt longer than the model's context the last tokens are read, as many as the context holds.  When the context is\n"
    "full, its older half is forgotten and writing goes on.  A prompt that begins with two dashes is written --prompt=--text.\n"
    "In --stop, \\n is a new line, \\t a tab and \\\\ a backslash.\n";
static const short_name short_names[] = { { "p", "prompt" }, { "n", "max_new_tokens" }, { "tokens", "max_new_tokens" },
                                          { "temp", "temperature" }, { NULL, NULL } };

/* What there is of one sequence; text: not printed yet. */
typedef struct shown { str text; json_t *token; char finish[16]; double score; } shown;

typedef struct work {
    program_options    program;
    generation_options writing;
    options           *given;
    const tokenizer   *tokenizer;
    char              *file;            /* the prompt file's text, or NULL */
    const char        *prompt;
    shown             *shown;           /* num_return_sequences */
    int                n, at;           /* sequences; the one being printed */
    bool               begun, failed, poor;     /* its beginning is printed; standard output takes no more; no memory */
} work;

/* --- prompts ----------------------------------------------------------------------------- */

/* All of standard input; heap. */
static char *read_input(size_t *n, genet_err *err)
{
    str all = {0};
    char part[4096];
    size_t got;
    while (all.n <= PROMPT_MAX_BYTES && (got = fread(part, 1, sizeof part, stdin)) > 0) genet__str_add_n(&all, part, got);
    genet__str_add(&all, "");
    if (ferror(stdin)) genet__err_errno(err, "read", "standard input");
    else if (all.n > PROMPT_MAX_BYTES) genet__err_set(err, GENET_ERR_USAGE, "standard input: more than %d MiB of prompt",
                                                       PROMPT_MAX_BYTES >> 20);
    else if (all.failed || !all.at) genet__err_memory(err);
    else return *n = all.n, all.at;
    genet__str_release(&all);
    return NULL;
}

static bool find_prompt(work *w, genet_err *err)
{
    const program_options *o = &w->program;
    size_t n = 0;
    if (!o->prompt == !o->prompt_file)
        return genet__err_set(err, GENET_ERR_USAGE, o->prompt ? "-p TEXT and --prompt-file FILE: one of the two"
                                                              : "-p TEXT or --prompt-file FILE is missing: what to continue");
    w->prompt = o->prompt;
    if (o->prompt) return true;
    w->file = strcmp(o->prompt_file, "-") ? genet__file_read(o->prompt_file, PROMPT_MAX_BYTES, &n, err)
        : read_input(&n, err);
    if (!w->file) return false;
    w->prompt = w->file;
    return strlen(w->file) == n || genet__err_set(err, GENET_ERR_USAGE, "%s: a zero byte is no text", o->prompt_file);
}

/* What was given and would be passed over.  The file's logprobs are not read yet. */
static bool check_words(const work *w, genet_err *err)
{
    TRY(cli_profile_check(&w->program.profile, err));
    return !w->writing.logprobs || w->program.json ||
           genet__err_set(err, GENET_ERR_USAGE, "--logprobs shows nothing without --json: add it");
}

/* --- text as it comes ------------------------------------------------------------------------ */

static void put(work *w, const char *text, size_t n)
{
    if (!w->failed) w->failed = fwrite(text, 1, n, stdout) != n;
}

/* The line above the second and later texts, and the prompt. */
static void put_beginning(work *w)
{
    if (w->begun) return;
    w->begun = true;
    char line[64];
    int n = snprintf(line, sizeof line, "--- %d of %d ---\n", w->at + 1, w->n);
    if (w->n > 1) put(w, line, (size_t)n);
    put(w, w->prompt, strlen(w->prompt));
}

/* What can be shown of the sequence whose turn it is, and of those after it that are finished. */
static void put_ready(work *w)
{
    while (w->at < w->n) {
        shown *s = &w->shown[w->at];
        put_beginning(w);
        put(w, genet__str(&s->text), s->text.n);
        genet__str_clear(&s->text);
        if (!*s->finish) break;
        put(w, "\n", 1);
        w->at++;
        w->begun = false;
    }
    if (fflush(stdout)) w->failed = true;
}

/* --- JSON ---------------------------------------------------------------------------------------- */

/* What id stands for, as UTF-8. */
static json_t *token_text(const work *w, int32_t id)
{
    str text = {0};
    size_t n;
    const char *piece = genet__tokenizer_piece(w->tokenizer, id, &n);
    if (piece) genet__utf8_add(&text, piece, n);
    json_t *j = text.failed ? NULL : json_stringn(genet__str(&text), text.n);
    genet__str_release(&text);
    return j;
}

static json_t *choice_json(const work *w, int32_t id, double logprob)
{
    return json_pack("{s:i, s:o, s:f}", "id", (int)id, "text", token_text(w, id), "logprob", logprob);
}

static bool add_token(const work *w, json_t *tokens, const genet_token *t)
{
    json_t *one = choice_json(w, t->id, t->logprob), *top = json_array();
    bool ok = one && top;
    for (int i = 0; ok && i < t->n_top; i++)
        ok = !json_array_append_new(top, choice_json(w, t->top[i].id, t->top[i].logprob));
    ok = ok && !json_object_set(one, "top", top) && !json_array_append(tokens, one);
    json_decref(one);
    json_decref(top);
    return ok;
}

static bool print_json(const work *w, str *out, genet_err *err)
{
    for (int i = 0; i < w->n; i++) {
        const shown *s = &w->shown[i];
        json_t *j = json_pack("{s:i, s:o, s:s, s:f}", "sequence", i, "text", json_stringn(genet__str(&s->text), s->text.n),
                              "finish", s->finish, "score", s->score);
        bool ok = j && (!s->token || !json_object_set(j, "tokens", s->token));
        if (ok) genet__json_print(j, 0, out);
        json_decref(j);
        if (!ok) return genet__err_memory(err);
        genet__str_add(out, "\n");
    }
    return true;
}

/* --- writing ---------------------------------------------------------------------------------------- */

/* A reader that went away ends the writing. */
static bool take_piece(void *user, const genet_piece *p)
{
    work *w = user;
    shown *s = &w->shown[p->sequence];
    genet__str_add_n(&s->text, p->text, p->n_bytes);
    if (p->finish) snprintf(s->finish, sizeof s->finish, "%s", p->finish);
    s->score = p->score;
    bool tokens = w->program.json && w->writing.logprobs > 0, ok = !s->text.failed;
    if (tokens && !s->token) ok = (s->token = json_array()) && ok;
    for (int i = 0; ok && tokens && i < p->n_token; i++) ok = add_token(w, s->token, &p->token[i]);
    if (!w->program.json && p->sequence == w->at) put_ready(w);
    w->poor |= !ok;
    return ok && !w->failed;
}

static bool write_text(work *w, model *m, genet_device *d, genet_err *err)
{
    genet_workspace *space = genet_workspace_new(d);
    if (!space) return genet__err_memory(err);
    decoder *reader = genet__decoder_new(m, space, genet__generation_rows(&w->writing), err);
    bool ok = reader && genet__generate(reader, w->tokenizer, m, w->prompt, &w->writing, take_piece, w, err);
    genet__decoder_free(reader);
    genet_workspace_free(space);
    if (ok && w->poor) return genet__err_memory(err);
    return ok && (!w->failed || genet__err_set(err, GENET_ERR_IO, "standard output could not be written"));
}

static bool was_given(const void *user, const char *name) { return genet__options_was_given(user, name); }

static bool prepare(work *w, const char *folder, genet_err *err)
{
    TRY(genet__generation_defaults(&w->writing, folder, was_given, w->given, w->given->arena, err));
    TRY(genet__generation_check(&w->writing, err));
    w->n = (int)w->writing.num_return_sequences;
    return (w->shown = genet__alloc_array((size_t)w->n, sizeof *w->shown)) || genet__err_memory(err);
}

static void release(work *w)
{
    for (int i = 0; w->shown && i < w->n; i++) {
        genet__str_release(&w->shown[i].text);
        json_decref(w->shown[i].token);
    }
    genet__free(w->shown);
    genet__free(w->file);
}

static bool open_and_write(const char *folder, work *w, genet_device *d, genet_err *err)
{
    int64_t began = genet__profile_now(d);
    model *m;
    tokenizer *t;
    bool ok = genet__open_text_model_with(folder, w->program.adapter, d, &m, &t, err);
    genet__profile_host(d, "open", began, 0);
    w->tokenizer = t;
    ok = ok && prepare(w, folder, err) && write_text(w, m, d, err);
    genet__tokenizer_free(t);
    genet__model_free(m);
    return ok;
}

/* The same with a clock on it, from opening the folder on; words about it go to stderr. */
static bool write_profiled(const char *folder, work *w, genet_device *d, genet_err *err)
{
    machine m;
    const profile_options *o = &w->program.profile;
    genet_profile *p = cli_measure(&m, d, err) ? genet_profile_new(d, err) : NULL;
    if (!p) return false;
    str text = {0};
    genet_profile_start(p);
    bool ok = open_and_write(folder, w, d, err);
    genet_profile_stop(p);
    if (ok) {
        cli_profile_table(p, &m, "all", 1, &text);
        fputs(genet__str(&text), stderr);
        ok = !text.failed || genet__err_memory(err);
    }
    if (ok && o->profile_trace) ok = cli_profile_write(p, o->profile_trace, err);
    genet__str_release(&text);
    genet_profile_free(p);
    return ok;
}

static bool generate(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    work *w = user;
    bool ok = check_words(w, err) && find_prompt(w, err);
    ok = ok && (w->program.profile.profile ? write_profiled : open_and_write)(word[0], w, d, err);
    if (ok && w->program.json) ok = print_json(w, out, err);
    release(w);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    work w = {0};       /* its first member is the struct of the first table */
    return cli_simple(v, &(simple){ .fields = &tables, .options = &w, .threads = &w.program.threads,
                                    .short_names = short_names,
                                    .more_fields = &genet__generation_fields,
                                    .more_options = &w.writing, .given = &w.given, .body = generate, .details = details,
                                    .folder = "say which model: a folder that `genet train` or transformers wrote" },
                      argc, argv);
}

const verb cli_verb_generate = { "generate", "FOLDER -p TEXT [--options]", "continue a text", run };
