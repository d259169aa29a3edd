/* eval.c - `genet eval FOLDER --data FILE`: loss, perplexities and bits per byte of a text, or with --lines the
 * log-probability of each line; `genet eval --predictions FILE`: BLEU and its like of texts that are there already. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "cli.h"
#include "infer/generate.h"
#include "metrics.h"
#include "task/quiz.h"
#include "task/lm.h"
#include "task/task.h"

typedef struct eval_options {
    const char *adapter, *data, *predictions, *references, *metric, *task;
    bool lines, json;
    int64_t threads;
    lm_score_options how;
    metric_options metrics;
    quiz_options quiz;
} eval_options;

#define AT(member) offsetof(eval_options, member)
static const field table[] = {
    { "data",    FIELD_STRING, AT(data),    NULL, 0, 0, NULL, FIELD_MANY | FIELD_WORDS,
      "text: files and folders, .gz too; - is standard input" },
    { "task",    FIELD_CHOICE, AT(task),    "text", 0, 0, "text|choice|answer", 0,
      "predict --data as a text; or ask its questions: to choose among choices, or to answer" },
    { "predictions", FIELD_STRING, AT(predictions), NULL, 0, 0, NULL, 0,
      "texts to score in place of a model's: a line each, or *.jsonl, or for SQuAD *.json" },
    { "references", FIELD_STRING, AT(references), NULL, 0, 0, NULL, FIELD_MANY | FIELD_WORDS,
      "what they should be: one or more files of as many lines; or SQuAD's *.json" },
    { "metric",  FIELD_STRING, AT(metric),  NULL, 0, 0, NULL, 0,
      "of predictions, with commas: bleu, chrf, chrf++, rouge, accuracy, f1, squad, squad_v2, gsm8k" },
    ADAPTER_FIELD(AT(adapter)),
    { "lines",   FIELD_BOOL,   AT(lines),   "false", 0, 0, NULL, 0, "score each line (each prediction) by itself" },
    { "json",    FIELD_BOOL,   AT(json),    "false", 0, 0, NULL, 0, "print one JSON object; with --lines, one a line" },
    { "threads", FIELD_INT,    AT(threads), "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };
static const char details[] =
    "All files, in the order of their names, are one text, of which every token but the first is predicted once: in blocks\n"
    "that do not overlap, or with --stride S in windows that begin S tokens apart, so that a token has at least\n"
    "context - S others before it.  --lines prints for each line its log-probability (nats), how many of its tokens were\n"
    "predicted, the perplexity of these, and the line itself, with tabs between; a model with a bos_token_id reads that first\n"
    "and predicts all of a line's tokens, another one all but the first.\n"
    "\n"
    "With --predictions there is no model: its texts are compared with their references.  A line of *.jsonl is an object with\n"
    "\"prediction\", and \"reference\" or \"references\" unless these have a file of their own.\n"
    "\n"
    "--task choice asks questions from JSON lines {\"question\": ..., \"choices\": [...], \"answer\": 2}: how often the right\n"
    "choice has the largest log-probability (accuracy), or the largest for each of its characters or bytes.  --task answer\n"
    "lets the model answer {\"question\": ..., \"answer\": ...} and scores that by --metric (gsm8k).\n";

/* --- numbers ------------------------------------------------------------------------ */

/* A number that reads back exactly; JSON has no nan and no inf. */
static const char *json_number(char out[32], double x)
{
    if (isfinite(x)) genet__format_double(out, x);
    else memcpy(out, "null", sizeof "null");
    return out;
}

static void add_json(str *out, const genet_score *s)
{
    const struct { const char *name; double value; } mean[] = {
        { "loss", s->loss }, { "perplexity", s->perplexity }, { "word_perplexity", s->word_perplexity },
        { "bits_per_byte", s->bits_per_byte }, { "log_probability", s->log_probability },
    };
    char text[32];
    for (size_t i = 0; i < sizeof mean / sizeof *mean; i++)
        genet__str_printf(out, "%s\"%s\": %s", i ? ", " : "{", mean[i].name, json_number(text, mean[i].value));
    genet__str_printf(out, ", \"tokens\": %lld, \"words\": %lld, \"bytes\": %lld, \"unknown\": %lld}\n",
                      (long long)s->tokens,
                      (long long)s->words, (long long)s->bytes, (long long)s->unknown);
}

/* Seven digits, and what they mean. */
static void add_text(str *out, const genet_score *s)
{
    genet__str_printf(out, "loss             %-12.7g nats a token\n", s->loss);
    genet__str_printf(out, "perplexity       %-12.7g of a token\n", s->perplexity);
    genet__str_printf(out, "word_perplexity  %-12.7g of a word, white space apart\n", s->word_perplexity);
    genet__str_printf(out, "bits_per_byte    %-12.7g of the text\n", s->bits_per_byte);
    genet__str_printf(out, "log_probability  %-12.7g nats, all tokens together\n", s->log_probability);
    genet__str_printf(out, "tokens           %-12lld predicted", (long long)s->tokens);
    if (s->unknown) genet__str_printf(out, ", %lld (%.2f %%) of them unknown words", (long long)s->unknown,
                                      100 * (double)s->unknown / (double)s->tokens);
    genet__str_printf(out, "\nwords            %lld\nbytes            %lld\n", (long long)s->words, (long long)s->bytes);
}

/* --- lines -------------------------------------------------------------------------- */

typedef struct teller { bool json, no_memory, failed; str out; } teller;

static void add_line_json(str *out, int64_t number, const char *line, size_t n, const genet_score *s)
{
    char log_probability[32], perplexity[32];
    json_t *text = json_stringn(line, n);
    if (!text) out->failed = true;
    genet__str_printf(out, "{\"line\": %lld, \"log_probability\": %s, \"tokens\": %lld, \"perplexity\": %s, \"text\": ",
                      (long long)number, json_number(log_probability, s->log_probability), (long long)s->tokens,
                      json_number(perplexity, s->perplexity));
    if (text) genet__json_print(text, 0, out);
    genet__str_add(out, "}\n");
    json_decref(text);
}

/* Lines leave as they come; a reader that went away ends the work. */
static bool tell_line(void *user, int64_t number, const char *line, size_t n, const genet_score *s)
{
    teller *t = user;
    genet__str_clear(&t->out);
    if (t->json) add_line_json(&t->out, number, line, n, s);
    else {
        genet__str_printf(&t->out, "%.7g\t%lld\t", s->log_probability, (long long)s->tokens);
        if (s->tokens) genet__str_printf(&t->out, "%.7g\t", s->perplexity);
        else genet__str_add(&t->out, "-\t");
        genet__str_add_n(&t->out, line, n);
        genet__str_add(&t->out, "\n");
    }
    t->no_memory = t->out.failed;
    t->failed = !t->no_memory && fwrite(t->out.at, 1, t->out.n, stdout) != t->out.n;
    return !t->no_memory && !t->failed;
}

static bool score_lines(const model *m, const tokenizer *t, genet_workspace *w, const eval_options *o,
                        const char *const *paths, int n, genet_err *err)
{
    teller tell = { .json = o->json };
    bool ok = genet__lm_score_lines(m, t, w, paths, n, &o->how, tell_line, &tell, err);
    if (ok && tell.no_memory) ok = genet__err_memory(err);
    if (ok && (fflush(stdout) || tell.failed))
        ok = genet__err_set(err, GENET_ERR_IO, "standard output could not be written");
    genet__str_release(&tell.out);
    return ok;
}

/* --- the verb ----------------------------------------------------------------------- */

static bool score(const model *m, const tokenizer *t, genet_workspace *w, const eval_options *o,
                  const char *const *paths, int n, str *out, genet_err *err)
{
    genet_score s;
    if (o->lines) return score_lines(m, t, w, o, paths, n, err);
    TRY(genet__lm_score_files(m, t, w, paths, n, &o->how, &s, err));
    if (o->json) add_json(out, &s);
    else add_text(out, &s);
    return true;
}

/* --- questions ---------------------------------------------------------------------- */

static bool ask_choices(const quiz *q, const eval_options *o, str *out, genet_err *err)
{
    quiz_choices c;
    char number[3][32];
    TRY(genet__quiz_choices(q, &c, err));
    const double value[] = { c.accuracy, c.by_character, c.by_byte };
    static const char *const name[] = { "accuracy", "accuracy_norm", "accuracy_bytes" };
    for (int i = 0; i < 3; i++) {
        genet__format_double(number[i], value[i]);
        if (o->json) genet__str_printf(out, "%s\"%s\": %s", i ? ", " : "{", name[i], number[i]);
        else genet__str_printf(out, "%-16s %.7g\n", name[i], value[i]);
    }
    if (o->json) genet__str_printf(out, ", \"n\": %lld}\n", (long long)c.n);
    else genet__str_printf(out, "%-16s %lld\n", "n", (long long)c.n);
    return true;
}

static bool ask_answers(const quiz *q, const eval_options *o, str *out, genet_err *err)
{
    scored s;
    int64_t resumed;
    const char *names = o->metric ? o->metric : "gsm8k";
    TRY(cli_metrics_check(names, &o->metrics, err) && genet__quiz_answers(q, &s, &resumed, err));
    bool ok = cli_metrics(names, &o->metrics, &s, o->lines, o->json, out, err);
    genet__scored_release(&s);
    return ok;
}

static bool ask(const char *folder, const model *m, const tokenizer *t, genet_workspace *w, const eval_options *o,
                const char *const *paths, int n, str *out, genet_err *err)
{
    quiz q = { .folder = folder, .model = m, .tokenizer = t, .workspace = w, .data = paths[0], .o = &o->quiz };
    if (n != 1) return genet__err_set(err, GENET_ERR_USAGE, "--task %s takes one file of questions", o->task);
    return (strcmp(o->task, "choice") ? ask_answers : ask_choices)(&q, o, out, err);
}

/* --- predictions -------------------------------------------------------------------- */

static bool score_predictions(const eval_options *o, str *out, genet_err *err)
{
    arena a = {0};
    scored s = {0};
    int n = 0;
    const char **paths = o->references ? genet__split_lines(o->references, &n, &a) : NULL;
    bool ok = (paths || !o->references) || genet__err_memory(err);
    if (ok && !o->metric) ok = genet__err_set(err, GENET_ERR_USAGE, "--metric is missing: which number, such as bleu,chrf");
    ok = ok && genet__scored_read(&s, o->predictions, paths, n, err);
    ok = ok && cli_metrics(o->metric, &o->metrics, &s, o->lines, o->json, out, err);
    genet__scored_release(&s);
    genet__arena_release(&a);
    return ok;
}

/* Words that belong to the other of the two ways. */
static bool check_words(const char *folder, const eval_options *o, genet_err *err)
{
    bool answers = !strcmp(o->task, "answer");
    if (!o->predictions && (o->references || (o->metric && !answers)))
        return genet__err_set(err, GENET_ERR_USAGE, "--predictions is missing: the texts that --%s is about",
                              o->metric ? "metric" : "references");
    if (o->predictions && (folder || o->data))
        return genet__err_set(err, GENET_ERR_USAGE, "--predictions are scored without a model: leave %s out",
                              folder ? "the folder" : "--data");
    return o->predictions || folder ||
           genet__err_set(err, GENET_ERR_USAGE, "say which model: a folder with a language model; or --predictions FILE");
}

/* The tokenizer comes from the folder, and only a family that reads text has one. */
static bool evaluate(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const char *folder = word[0];
    const eval_options *o = user;
    arena a = {0};
    int n = 0;
    TRY(check_words(folder, o, err));
    if (o->predictions) return score_predictions(o, out, err);
    if (!o->data) return genet__err_set(err, GENET_ERR_USAGE, "--data is missing: the text to predict, or questions");
    const char **paths = genet__split_lines(o->data, &n, &a);
    genet_workspace *w = genet_workspace_new(d);
    model *m = NULL;
    tokenizer *t = NULL;
    bool ok = (paths && w) || genet__err_memory(err);
    ok = ok && genet__open_text_model_with(folder, o->adapter, d, &m, &t, err);
    if (ok && !m->family->vocab_size)
        ok = genet__err_set(err, GENET_ERR_USAGE, "%s holds a model of family %s, which reads no text", folder,
                            m->family->name);
    if (ok && strcmp(o->task, "text")) ok = ask(folder, m, t, w, o, paths, n, out, err);
    else ok = ok && score(m, t, w, o, paths, n, out, err);
    genet__tokenizer_free(t);
    genet__model_free(m);
    genet_workspace_free(w);
    genet__arena_release(&a);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    eval_options o;
    const options_part parts[] = { { &genet__metric_fields, &o.metrics }, { &genet__quiz_fields, &o.quiz }, {0} };
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .threads = &o.threads, .body = evaluate,
                                    .more_fields = &genet__lm_score_fields, .more_options = &o.how, .parts = parts,
                                    .details = details }, argc, argv);
}

const verb cli_verb_eval = { "eval", "FOLDER --data FILES | --predictions FILE --references FILES --metric NAMES  [--lines] [--json]",
                             "how well a model predicts a text, or how good predicted texts are", run };
