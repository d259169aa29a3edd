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
static const char details[] =
    "Of a prompt longer than the model's context the last tokens are read, as many as the context holds.  When the context is\n"
    "full, its older half is forgotten and writing goes on.  A prompt that begins with two dashes is written --prompt=--text.\n";
static const short_name short_names[] = { { 'p', "prompt" }, { 'n', "tokens" }, { 0, NULL } };

/* Text leaves as it comes; a reader that went away ends the writing. */
static bool show(void *user, const char *text, size_t n)
{
    bool *failed = user;
    *failed = fwrite(text, 1, n, stdout) != n || fflush(stdout);
    return !*failed;
}

static bool write_text(model *m, const tokenizer *t, genet_device *d, const generate_options *o, genet_err *err)
{
    bool failed = false;
    genet_workspace *w = genet_workspace_new(d);
    if (!w) return genet__err_memory(err);
    decoder *reader = genet__decoder_new(m, w, err);
    generation g = { .prompt = o->prompt, .n_tokens = o->tokens, .sampling = o->how, .piece = show, .user = &failed };
    bool ok = reader && genet__generate(reader, t, &g, err);
    genet__decoder_free(reader);
    genet_workspace_free(w);
    return ok && (!failed || genet__err_set(err, GENET_ERR_IO, "standard output could not be written"));
}

static bool generate(const char *folder, genet_device *d, str *out, genet_err *err, void *user)
{
    const generate_options *o = user;
    if (!o->prompt) return genet__err_set(err, GENET_ERR_USAGE, "-p TEXT is missing: what to continue");
    model *m = genet__model_open(folder, d, true, err);
    tokenizer *t = m ? genet__tokenizer_load(folder, err) : NULL;
    bool ok = t && write_text(m, t, d, o, err);
    genet__tokenizer_free(t);
    genet__model_free(m);
    genet__str_add(out, "\n");
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    generate_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .threads = &o.threads, .short_names = short_names,
                                    .body = generate, .details = details, .folder = "say which model: a folder that `genet train` wrote" },
                      argc, argv);
}

const verb cli_verb_generate = { "generate", "FOLDER -p TEXT [--options]", "continue a text", run };
