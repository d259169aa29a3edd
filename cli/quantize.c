/* quantize.c - `genet quantize FOLDER --type q8_0|q4_0`: a model's folder with the weights of its products in blocks of 32
 * with one scale (base/quant.h), for writing and scoring; and what that costs: bytes, and the perplexity of a text before
 * and after. */
#include <stddef.h>
#include <string.h>
#include "base/err.h"
#include "base/quant.h"
#include "cli.h"
#include "folder.h"
#include "task/lm.h"
#include "task/task.h"

typedef struct quantize_options { const char *type, *embeddings, *out, *data; int64_t threads; } quantize_options;

#define AT(member) offsetof(quantize_options, member)
static const field table[] = {
    { "type",       FIELD_CHOICE, AT(type), "q8_0", 0, 0, "q8_0|q4_0", 0,
      "blocks of 32 weights: 8.5 bits a weight, or 4.5" },
    { "embeddings", FIELD_CHOICE, AT(embeddings), "same", 0, 0, "same|q8_0|q4_0|f16|bf16|f32", 0,
      "type of the tables that tokens are looked up in and scored with; same: as --type" },
    { "out",        FIELD_STRING, AT(out), NULL, 0, 0, NULL, 0, "folder to make; default: FOLDER-TYPE" },
    { "data",       FIELD_STRING, AT(data), NULL, 0, 0, NULL, FIELD_MANY | FIELD_WORDS,
      "text to measure the perplexity of, before and after: files and folders" },
    { "threads",    FIELD_INT,    AT(threads), "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };
static const char details[] =
    "The matrices that products read are rounded, each 32 weights to levels of one scale: q8_0 can hardly be told from\n"
    "the original, q4_0 is half as large again and somewhat worse; --data says how much.  Biases, norms and positions stay f32.\n"
    "The new folder is for generate, complete, eval and the C API; training goes on from the original.\n";

static genet_dtype type_of(const char *name)
{
    static const genet_dtype all[] = { GENET_F32, GENET_F16, GENET_BF16, GENET_Q8_0, GENET_Q4_0 };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(genet_dtype_name(all[i]), name)) return all[i];
    return GENET_F32;
}

/* --- what can be quantised ---------------------------------------------------------- */

/* Something must come of it. */
static bool check_source(const model *m, const char *folder, genet_err *err)
{
    int fit = 0;
    for (int i = 0; i < m->params->n; i++) {
        const param *w = m->params->at[i];
        if (genet__is_blocks(w->dtype))
            return genet__err_set(err, GENET_ERR_USAGE, "%s is quantised already (%s): quantise the folder that it was made of",
                                  folder, genet_dtype_name(w->dtype));
        fit += w->use != USE_ANY && w->shape.dim[w->in_out ? 0 : 1] % QUANT_BLOCK == 0;
    }
    return fit || genet__err_set(err, GENET_ERR_USAGE, "%s has no weight whose rows are whole blocks of %d: nothing can be "
                                 "quantised", folder, QUANT_BLOCK);
}

/* --- what it costs -------------------------------------------------------------------- */

static bool score(const model *m, const tokenizer *t, genet_workspace *w, const char *const *paths, int n, genet_score *out,
                  genet_err *err)
{
    return genet__lm_score_files(m, t, w, paths, n, &(lm_score_options){ 0 }, out, err);
}

/* "  f32      497.8 MiB  perplexity 23.61" */
static void add_line(str *out, const model *m, const char *name, const genet_score *s)
{
    char bytes[32];
    cli_bytes_text(bytes, (double)genet__params_bytes(m->params, PARAM_WEIGHT | PARAM_BUFFER));
    genet__str_printf(out, "  %-8s %10s", name, bytes);
    if (s) genet__str_printf(out, "  perplexity %.7g, loss %.7g", s->perplexity, s->loss);
    genet__str_add(out, "\n");
}

/* What stays as it was in spite of its use. */
static void add_left(str *out, const model *m)
{
    int n = 0;
    for (int i = 0; i < m->params->n; i++) {
        const param *w = m->params->at[i];
        n += w->use != USE_ANY && w->shape.dim[w->in_out ? 0 : 1] % QUANT_BLOCK != 0;
    }
    if (n) genet__str_printf(out, "%d matri%s left as %s: rows of no whole blocks of %d\n", n, n == 1 ? "x is" : "ces are",
                             n == 1 ? "it was" : "they were", QUANT_BLOCK);
}

/* How well m, with the tokenizer of folder, predicts the text of o->data. */
static bool score_model(const model *m, const char *folder, genet_device *d, const quantize_options *o, genet_score *out,
                        genet_err *err)
{
    arena a = {0};
    int n = 0;
    const char **paths = genet__split_lines(o->data, &n, &a);
    genet_workspace *w = genet_workspace_new(d);
    bool ok = (w && paths) || genet__err_memory(err);
    tokenizer *t = ok ? genet__tokenizer_load(folder, err) : NULL;
    ok = t && score(m, t, w, paths, n, out, err);
    genet__tokenizer_free(t);
    genet_workspace_free(w);
    genet__arena_release(&a);
    return ok;
}

/* --- the verb ----------------------------------------------------------------------- */

static bool check_text(const model *m, const char *folder, const quantize_options *o, genet_err *err)
{
    return !o->data || m->family->vocab_size ||
           genet__err_set(err, GENET_ERR_USAGE, "%s holds a model of family %s, which reads no text: leave out --data", folder,
                          m->family->name);
}

/* FOLDER-TYPE, without the slash that the shell may have added. */
static bool name_out(str *name, const char *folder, const quantize_options *o, genet_err *err)
{
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    if (o->out && *o->out) genet__str_add(name, o->out);
    else genet__str_printf(name, "%.*s-%s", (int)n, folder, o->type);
    return !name->failed || genet__err_memory(err);
}

static bool write_and_compare(const model *m, const hf_folder *f, const char *folder, genet_device *d,
                              const quantize_options *o, str *out, genet_err *err)
{
    str name = {0};
    int n_file = 0;
    model *made = NULL;
    genet_dtype type = type_of(o->type);
    cli_folder new = { .from = folder, .model = m, .config = f->config, .max_bytes = INT64_MAX,
                       .types = { GENET_F32, type, strcmp(o->embeddings, "same") ? type_of(o->embeddings) : type } };
    genet_score before, after;
    bool ok = name_out(&name, folder, o, err);
    new.out = name.at;
    /* first, so that a text that cannot be scored is told before anything is written */
    ok = ok && (!o->data || score_model(m, folder, d, o, &before, err));
    ok = ok && cli_folder_write(&new, &n_file, err) && (made = genet__model_open(new.out, d, MODEL_READ_ONLY, err));
    ok = ok && (!o->data || score_model(made, folder, d, o, &after, err));
    if (ok) {
        genet__str_printf(out, "%s: %lld weights\n", new.out, (long long)genet__params_numel(made->params, PARAM_WEIGHT));
        add_line(out, m, "before", o->data ? &before : NULL);
        add_line(out, made, o->type, o->data ? &after : NULL);
        add_left(out, m);
        if (!o->data && m->family->vocab_size) genet__str_add(out, "--data FILES would say how well both predict a text\n");
    }
    genet__model_free(made);
    genet__str_release(&name);
    return ok;
}

static bool quantize(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const char *folder = word[0];
    const quantize_options *o = user;
    hf_folder f = {0};
    model *m = genet__hf_open(&f, folder, false, err) ? genet__model_open(folder, d, MODEL_READ_ONLY, err) : NULL;
    bool ok = m && check_source(m, folder, err) && check_text(m, folder, o, err) &&
              write_and_compare(m, &f, folder, d, o, out, err);
    genet__model_free(m);
    genet__hf_close(&f);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    quantize_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .threads = &o.threads, .body = quantize,
                                    .details = details, .folder = "say which model: a folder that genet or transformers wrote" },
                      argc, argv);
}

const verb cli_verb_quantize = { "quantize", "FOLDER --type q8_0|q4_0 [--data FILES]",
                                 "a model's folder with weights of 8 or 4 bits", run };
