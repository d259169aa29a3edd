/* generate.c - `genet generate FOLDER -p TEXT`: text as it comes. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "cli.h"
#include "infer/generate.h"

typedef struct generate_options { const char *prompt; int64_t tokens, threads; sampling how; } generate_options;

#define AT(member) offsetof(generate_options, member)
static const field table[] = {
    { "prompt",  FIELD_STRING, AT(prompt),          NULL, 0, 0, NULL, 0, "text to continue (-p; required)" },
    { "tokens",  FIELD_INT,    AT(tokens),          "200", 0, 1e12, NULL, 0, "tokens to write (-n)" },
    { "temp",    FIELD_DOUBLE, AT(how.temperature), "0.8", 0, 1000, NULL, 0, "0: always the likeliest; higher: bolder" },
    { "top_k",   FIELD_INT,    AT(how.top_k),       "0", 0, 1e9, NULL, 0, "only among the k likeliest; 0: all" },
    { "top_p",   FIELD_DOUBLE, AT(how.top_p),       "1", 0, 1, NULL, 0, "only among the likeliest that make up this share" },
    { "seed",    FIELD_INT,    AT(how.seed),        "1337", 0, 9e15, NULL, 0, "the same seed writes the same text" },
    { "threads", FIELD_INT,    AT(threads),         "0", 0, 4096, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };
static const short_name short_names[] = { { 'p', "prompt" }, { 'n', "tokens" }, { 0, NULL } };

static bool show(void *user, const char *text, size_t n)
{
    bool *failed = user;
    *failed = fwrite(text, 1, n, stdout) != n || fflush(stdout);
    return !*failed;
}

static bool generate(const char *folder, const generate_options *o, genet_device *d, bool *failed, genet_err *err)
{
    model *m = genet__model_open(folder, d, true, err);
    tokenizer *t = m ? genet__tokenizer_load(folder, err) : NULL;
    genet_workspace *w = t ? genet_workspace_new(d) : NULL;
    decoder *reader = w ? genet__decoder_new(m, w, err) : NULL;
    generation g = { .prompt = o->prompt, .n_tokens = o->tokens, .sampling = o->how, .piece = show, .user = failed };
    if (t && !w) genet__err_memory(err);
    bool ok = reader && genet__generate(reader, t, &g, err);
    if (ok && !*failed) *failed = fputs("\n", stdout) < 0 || fflush(stdout);
    genet__decoder_free(reader);
    genet_workspace_free(w);
    genet__tokenizer_free(t);
    genet__model_free(m);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    genet_err err;
    arena a = {0};
    generate_options o = {0};
    options all = { .arena = &a };
    arguments args = { .options = &all, .short_names = short_names, .max_word = 1 };
    bool failed = false;
    genet_device *d = NULL;
    bool ok = genet__options_add(&all, &tables, &o, &err) && cli_parse(&args, argc, argv, &err);
    if (ok && args.help) cli_help(v, NULL, &all);
    else {
        if (ok && !args.n_word) ok = genet__err_set(&err, GENET_ERR_USAGE, "say which model: a folder that `genet train` wrote");
        if (ok && !o.prompt) ok = genet__err_set(&err, GENET_ERR_USAGE, "-p TEXT is missing: what to continue");
        ok = ok && (d = genet_device_cpu((int)o.threads, &err)) && generate(args.word[0], &o, d, &failed, &err);
    }
    genet_device_free(d);
    genet__arena_release(&a);
    if (!ok) return cli_fail(v, &err);
    return failed ? cli_print(v, "", 1) : EXIT_DONE;
}

const verb cli_verb_generate = { "generate", "FOLDER -p TEXT [--options]", "continue a text", run };
