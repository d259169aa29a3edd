/* eval.c - `genet eval FOLDER --data FILE`: loss, perplexity, bits per byte. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "cli.h"
#include "task/lm.h"
#include "task/task.h"

typedef struct eval_options { const char *data; bool json; int64_t threads; } eval_options;

#define AT(member) offsetof(eval_options, member)
static const field table[] = {
    { "data",    FIELD_STRING, AT(data),    NULL, 0, 0, NULL, 0, "text: files and folders, .gz too; - is standard input (required)" },
    { "json",    FIELD_BOOL,   AT(json),    "false", 0, 0, NULL, 0, "print one JSON object" },
    { "threads", FIELD_INT,    AT(threads), "0", 0, 4096, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };

/* A number that reads back exactly; JSON has no nan and no inf. */
static void json_number(char out[32], double x)
{
    if (isfinite(x)) genet__format_double(out, x);
    else memcpy(out, "null", sizeof "null");
}

/* Exact in JSON, seven digits for people. */
static void report(str *out, const train_score *s, bool json)
{
    char loss[32], perplexity[32], bits[32];
    if (!json) {
        genet__str_printf(out, "loss %.7g  perplexity %.7g  bits_per_byte %.7g  tokens %lld\n", s->loss, s->perplexity,
                          s->bits_per_byte, (long long)s->count);
        return;
    }
    json_number(loss, s->loss);
    json_number(perplexity, s->perplexity);
    json_number(bits, s->bits_per_byte);
    genet__str_printf(out, "{\"loss\": %s, \"perplexity\": %s, \"bits_per_byte\": %s, \"tokens\": %lld}\n",
                      loss, perplexity, bits, (long long)s->count);
}

static bool evaluate(const char *folder, genet_device *d, str *out, genet_err *err, void *user)
{
    const eval_options *o = user;
    arena a = {0};
    train_score score;
    int n = 0;
    if (!o->data) return genet__err_set(err, GENET_ERR_USAGE, "--data is missing: the text to predict");
    const char **paths = genet__split_lines(o->data, &n, &a);
    bool ok = paths ? genet__lm_evaluate(folder, paths, n, d, &score, err) : genet__err_memory(err);
    if (ok) report(out, &score, o->json);
    genet__arena_release(&a);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    eval_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .threads = &o.threads, .body = evaluate,
                                    .folder = "say which model: a folder that `genet train` wrote" }, argc, argv);
}

const verb cli_verb_eval = { "eval", "FOLDER --data FILES [--json]", "how well a model predicts a text", run };
