/* complete.c - `genet complete FOLDER`: how texts go on, for people (-p TEXT), for editors (a text a line in, an
 * answer a line out), and how long an answer takes when a text is typed (--time FILE). */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "cli.h"
#include "genet/model.h"

typedef struct complete_options { const char *prompt, *time; int64_t k, strokes, threads; bool json; } complete_options;

#define AT(member) offsetof(complete_options, member)
static const field table[] = {
    { "prompt",  FIELD_STRING, AT(prompt),  NULL, 0, 0, NULL, 0,
      "text to complete (-p); without it each line of standard input is one" },
    { "k",       FIELD_INT,    AT(k),       "5", 1, 100, NULL, 0, "so many continuations at most (-k)" },
    { "json",    FIELD_BOOL,   AT(json),    "false", 0, 0, NULL, 0, "answer in JSON" },
    { "time",    FIELD_STRING, AT(time),    NULL, 0, 0, NULL, 0, "type this file's text and say how long answers take" },
    { "strokes", FIELD_INT,    AT(strokes), "200", 1, 1e6, NULL, 0, "of it so many characters" },
    { "threads", FIELD_INT,    AT(threads), "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };
static const char details[] =
    "Offers the likeliest ways to finish the half-typed word at a text's end, or the likeliest next words: what to\n"
    "append, each with its probability.  For editors: a line of standard input is a text, or an object {\"text\": ...}\n"
    "when the text has line ends in it; each is answered by one line, at once:\n"
    "{\"text\": ..., \"completions\": [{\"text\": ..., \"probability\": ...}, ...]}, or {\"text\": ..., \"error\": ...}\n"
    "(without the text when there is none, or none that is UTF-8).\n"
    "What was read for the line before is not read again.\n";
static const short_name short_names[] = { { "p", "prompt" }, { "k", "k" }, { NULL, NULL } };

enum { TYPED_MAX_BYTES = 1 << 26 };

typedef struct job {
    genet_session    *session;
    const complete_options *o;
    genet_completion *got;      /* (k) */
    int              n;
} job;

static bool complete(job *j, const char *text, genet_err *err)
{
    j->n = (int)j->o->k;
    return genet_complete(j->session, text, j->got, &j->n, err);
}

/* --- answers ------------------------------------------------------------------------ */

/* NULL: no memory, or text that is no UTF-8. */
static json_t *answer(const job *j, const char *text)
{
    json_t *all = json_array();
    for (int i = 0; i < j->n; i++)
        genet__json_append(&all, json_pack("{s:s, s:f}", "text", j->got[i].text, "probability", j->got[i].probability));
    return json_pack("{s:s, s:o}", "text", text, "completions", all);
}

static bool print_json(json_t *o, str *out, genet_err *err)
{
    if (!o) return genet__err_set(err, GENET_ERR_USAGE, "the text is not UTF-8, which JSON must be");
    genet__json_print(o, 0, out);
    genet__str_add(out, "\n");
    json_decref(o);
    return !out->failed || genet__err_memory(err);
}

/* In quotes: white space is to be seen. */
static bool print_words(const job *j, str *out, genet_err *err)
{
    for (int i = 0; i < j->n; i++) {
        json_t *text = json_string_nocheck(j->got[i].text);
        char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
        genet__str_printf(out, "%6.2f %%  %s\n", 100 * j->got[i].probability, quoted ? quoted : "\"?\"");
        free(quoted);
        json_decref(text);
    }
    return !out->failed || genet__err_memory(err);
}

/* --- lines ------------------------------------------------------------------------------ */

/* The text of a line: the line itself, or the "text" of the object that a brace begins; NULL: there is none. */
static const char *text_of(const char *line, size_t n, json_t **object, genet_err *err)
{
    *object = NULL;
    if (line[0] != '{') return line;
    if (!(*object = genet__json_parse(line, n, "line", err))) return NULL;
    const char *text = json_string_value(json_object_get(*object, "text"));
    if (!text) genet__err_set(err, GENET_ERR_USAGE, "\"text\" is missing, or no string");
    return text;
}

/* A text that cannot be completed is answered too; the next one may be better. */
static bool answer_line(job *j, const char *line, size_t n, genet_err *err)
{
    json_t *object;
    genet_err why;
    str out = {0};
    const char *text = text_of(line, n, &object, &why);
    bool ok = text && complete(j, text, &why);
    json_t *reply = ok ? answer(j, text) : text ? json_pack("{s:s, s:s}", "text", text, "error", why.text)
                                                : json_pack("{s:s}", "error", why.text);
    if (!reply) reply = json_pack("{s:s}", "error", "the text is not UTF-8");
    ok = print_json(reply, &out, err);
    if (ok && (fwrite(out.at, 1, out.n, stdout) != out.n || fflush(stdout)))
        ok = genet__err_set(err, GENET_ERR_IO, "standard output could not be written");
    genet__str_release(&out);
    json_decref(object);
    return ok;
}

static bool answer_lines(job *j, genet_err *err)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    bool ok = true;
    while (ok && (n = getline(&line, &size, stdin)) >= 0) {
        if (n && line[n - 1] == '\n') line[--n] = 0;
        ok = answer_line(j, line, (size_t)n, err);
    }
    free(line);
    return ok && (!ferror(stdin) || genet__err_errno(err, "read", "standard input"));
}

/* --- time --------------------------------------------------------------------------------- */

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest time that a share of all answers kept to. */
static double percentile(const double *sorted, int64_t n, double share)
{
    int64_t at = (int64_t)(share * (double)n + 0.999999) - 1;
    return sorted[at < 0 ? 0 : at];
}

/* Types text a character at a time; returns how many were. */
static int64_t type(job *j, char *text, double *ms, genet_err *err)
{
    int64_t n = 0;
    for (size_t at = 0; text[at] && n < j->o->strokes; n++) {
        do at++; while (((unsigned char)text[at] & 0xc0) == 0x80);
        char held = text[at];
        text[at] = 0;
        double start = genet__now_s();
        if (!complete(j, text, err)) return -1;
        ms[n] = 1e3 * (genet__now_s() - start);
        text[at] = held;
    }
    return n;
}

static bool print_times(const job *j, const double *ms, int64_t n, str *out, genet_err *err)
{
    double p50 = percentile(ms, n, 0.5), p90 = percentile(ms, n, 0.9), p99 = percentile(ms, n, 0.99);
    if (j->o->json)
        return print_json(json_pack("{s:I, s:f, s:f, s:f, s:f}", "strokes", (json_int_t)n, "p50_ms", p50, "p90_ms", p90,
                                    "p99_ms", p99, "max_ms", ms[n - 1]), out, err);
    genet__str_printf(out, "%lld keystrokes: p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms\n", (long long)n, p50,
                      p90, p99, ms[n - 1]);
    return !out->failed || genet__err_memory(err);
}

static bool measure(job *j, str *out, genet_err *err)
{
    size_t size;
    char *text = genet__file_read(j->o->time, TYPED_MAX_BYTES, &size, err);
    double *ms = text ? genet__alloc_array((size_t)j->o->strokes, sizeof *ms) : NULL;
    bool ok = ms || (text && genet__err_memory(err));
    int64_t n = ok ? type(j, text, ms, err) : -1;
    if (!n) genet__err_set(err, GENET_ERR_USAGE, "%s holds no text to type", j->o->time);
    if ((ok = n > 0)) {
        qsort(ms, (size_t)n, sizeof *ms, rising);
        ok = print_times(j, ms, n, out, err);
    }
    genet__free(ms);
    genet__free(text);
    return ok;
}

/* --- the verb ------------------------------------------------------------------------------- */

static bool run_job(job *j, str *out, genet_err *err)
{
    if (j->o->time) return measure(j, out, err);
    if (!j->o->prompt) return answer_lines(j, err);
    TRY(complete(j, j->o->prompt, err));
    return j->o->json ? print_json(answer(j, j->o->prompt), out, err) : print_words(j, out, err);
}

static bool body(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const char *folder = word[0];
    const complete_options *o = user;
    if (o->time && o->prompt) return genet__err_set(err, GENET_ERR_USAGE, "--time types a file's text: leave -p out");
    genet_model *m = genet_model_open(folder, d, err);
    job j = { .session = m ? genet_session_new(m, err) : NULL, .o = o };
    bool ok = j.session && ((j.got = genet__alloc_array((size_t)o->k, sizeof *j.got)) || genet__err_memory(err));
    ok = ok && run_job(&j, out, err);
    genet__free(j.got);
    genet_session_free(j.session);
    genet_model_free(m);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    complete_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .threads = &o.threads, .short_names = short_names,
                                    .body = body, .details = details,
                                    .folder = "say which model: a folder with a language model" }, argc, argv);
}

const verb cli_verb_complete = { "complete", "FOLDER [-p TEXT] [--options]",
                                 "finish the word being typed, or offer the next", run };
