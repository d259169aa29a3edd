/* eval.c - `genet eval FOLDER --data FILE`: loss, perplexity, bits per byte. */
#include <stddef.h>
#include <stdio.h>
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

static int report(const verb *v, const train_score *s, bool json)
{
    str out = {0};
    char loss[32], perplexity[32], bits[32];
    genet__format_double(loss, s->loss);
    genet__format_double(perplexity, s->perplexity);
    genet__format_double(bits, s->bits_per_byte);
    genet__str_printf(&out, json ? "{\"loss\": %s, \"perplexity\": %s, \"bits_per_byte\": %s, \"tokens\": %lld}\n"
                                 : "loss %.8s  perplexity %.8s  bits_per_byte %.8s  tokens %lld\n",
                      loss, perplexity, bits, (long long)s->count);
    int code = cli_print(v, genet__str(&out), out.n);
    genet__str_release(&out);
    return code;
}

static int run(const verb *v, int argc, char **argv)
{
    genet_err err;
    arena a = {0};
    eval_options o = {0};
    options all = { .arena = &a };
    arguments args = { .options = &all, .max_word = 1 };
    genet_device *d = NULL;
    train_score score;
    bool ok = genet__options_add(&all, &tables, &o, &err) && cli_parse(&args, argc, argv, &err), helped = ok && args.help;
    if (helped) cli_help(v, NULL, &all);
    else {
        int n = 0;
        if (ok && !args.n_word) ok = genet__err_set(&err, GENET_ERR_USAGE, "say which model: a folder that `genet train` wrote");
        if (ok && !o.data) ok = genet__err_set(&err, GENET_ERR_USAGE, "--data is missing: the text to predict");
        const char **paths = ok ? genet__split_lines(o.data, &n, &a) : NULL;
        if (ok && !paths) ok = genet__err_memory(&err);
        ok = ok && (d = genet_device_cpu((int)o.threads, &err)) &&
             genet__lm_evaluate(args.word[0], paths, n, d, &score, &err);
    }
    genet_device_free(d);
    int code = !ok ? cli_fail(v, &err) : helped ? EXIT_DONE : report(v, &score, o.json);
    genet__arena_release(&a);
    return code;
}

const verb cli_verb_eval = { "eval", "FOLDER --data FILES [--json]", "how well a model predicts a text", run };
