/* predict.c - `genet predict FOLDER --data new.csv`: the table with one more
 * column. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "cli.h"
#include "task/table_net.h"

typedef struct predict_options { const char *data; int64_t threads; } predict_options;

#define AT(member) offsetof(predict_options, member)
static const field table[] = {
    { "data",    FIELD_STRING, AT(data),    NULL, 0, 0, NULL, FIELD_MANY | FIELD_WORDS,
      "table with the columns the model was trained on (required)" },
    { "threads", FIELD_INT,    AT(threads), "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };

static bool predict(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const char *folder = word[0];
    const predict_options *o = user;
    if (!o->data) return genet__err_set(err, GENET_ERR_USAGE, "--data FILE.csv is missing");
    if (strchr(o->data, '\n'))
        return genet__err_set(err, GENET_ERR_USAGE,
                              "--data takes one table, and several words follow it; FOLDER comes first");
    return genet__predict(folder, o->data, d, out, err);
}

static int run(const verb *v, int argc, char **argv)
{
    predict_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .threads = &o.threads, .body = predict,
                                    .details = "The table goes to stdout with a column \"prediction\" added.  Columns are\n"
                                               "numbers or text as they were in training.\n",
                                    .folder = "say which model: a folder that `genet train mlp` wrote" }, argc, argv);
}

const verb cli_verb_predict = { "predict", "FOLDER --data FILE.csv", "add a model's predictions to a table", run };
