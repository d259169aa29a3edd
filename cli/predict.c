/* predict.c - `genet predict FOLDER --data new.csv`: the table with one more
 * column. */
#include <stddef.h>
#include <stdio.h>
#include "base/err.h"
#include "base/str.h"
#include "cli.h"
#include "task/table_net.h"

typedef struct predict_options { const char *data; int64_t threads; } predict_options;

#define AT(member) offsetof(predict_options, member)
static const field table[] = {
    { "data",    FIELD_STRING, AT(data),    NULL, 0, 0, NULL, 0, "table with the columns the model was trained on (required)" },
    { "threads", FIELD_INT,    AT(threads), "0", 0, 4096, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };

static int run(const verb *v, int argc, char **argv)
{
    genet_err err;
    arena a = {0};
    predict_options o = {0};
    options all = { .arena = &a };
    arguments args = { .options = &all, .max_word = 1 };
    genet_device *d = NULL;
    str out = {0};
    bool ok = genet__options_add(&all, &tables, &o, &err) && cli_parse(&args, argc, argv, &err);
    if (ok && args.help) cli_help(v, "The table goes to stdout with a column \"prediction\" added.\n", &all);
    else {
        if (ok && !args.n_word) ok = genet__err_set(&err, GENET_ERR_USAGE, "say which model: a folder that `genet train mlp` wrote");
        if (ok && !o.data) ok = genet__err_set(&err, GENET_ERR_USAGE, "--data FILE.csv is missing");
        ok = ok && (d = genet_device_cpu((int)o.threads, &err)) && genet__predict(args.word[0], o.data, d, &out, &err);
    }
    genet_device_free(d);
    int code = ok ? cli_print(v, genet__str(&out), out.n) : cli_fail(v, &err);
    genet__str_release(&out);
    genet__arena_release(&a);
    return code;
}

const verb cli_verb_predict = { "predict", "FOLDER --data FILE.csv", "add a model's predictions to a table", run };
