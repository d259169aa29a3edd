/* embed.c - `genet embed FOLDER -p TEXT | --input FILE`: a vector for each text; `genet similar FOLDER --query TEXT --data
 * FILE`: the lines that are nearest to a text, by the cosine of their vectors. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "format/npy.h"
#include "infer/generate.h"
#include "infer/texts.h"
#include "items.h"

typedef struct how { const char *pooling; bool normalize; int64_t max_length; } how;
#define HOW_FIELDS(at)                                                                                                         \
    { "pooling",    FIELD_CHOICE, (at) + offsetof(how, pooling), "auto", 0, 0, "auto|" POOLING_CHOICES, 0,                     \
      "how a text's tokens become one vector; auto: as the folder says, else the mean of an encoder, the last of a decoder" }, \
    { "max_length", FIELD_INT,    (at) + offsetof(how, max_length), "0", 0, 1 << 24, NULL, 0,                                  \
      "tokens of a text at most; 0: what the folder says" }

/* A folder opened for vectors. */
typedef struct opened {
    model           *model;
    tokenizer       *tokenizer;
    genet_workspace *space;
    encoder         *encoder;
    bool             normalize;
    int64_t          width;
} opened;

static bool open_folder(opened *o, const char *folder, const how *h, genet_device *d, genet_err *err)
{
    sentence_options s;
    *o = (opened){ .space = genet_workspace_new(d) };
    if (!o->space) return genet__err_memory(err);
    TRY(genet__open_text_model(folder, d, MODEL_READ_ONLY, &o->model, &o->tokenizer, err));
    if (!o->tokenizer) return genet__err_set(err, GENET_ERR_USAGE, "%s holds a model of family %s, which reads no text", folder, o->model->family->name);
    TRY(genet__sentence_read(&s, o->model, folder, err));
    if (strcmp(h->pooling, "auto")) s.pool = genet__pooling_of(h->pooling);
    if (h->max_length) s.max_length = h->max_length;
    o->normalize = s.normalize || h->normalize;
    if (!(o->encoder = genet__encoder_new(o->model, o->tokenizer, o->space, s.pool, s.max_length, err))) return false;
    o->width = genet__encoder_width(o->encoder);
    return true;
}

static void close_folder(opened *o)
{
    genet__encoder_free(o->encoder);
    genet__tokenizer_free(o->tokenizer);
    genet__model_free(o->model);
    genet_workspace_free(o->space);
}

/* --- embed ------------------------------------------------------------------------------------ */

typedef struct embed_options { item_options items; how how; int64_t threads; } embed_options;

#define AT(member) offsetof(embed_options, member)
static const field embed_table[] = {
    ITEM_FIELDS(AT(items)), HOW_FIELDS(AT(how)),
    { "normalize", FIELD_BOOL, AT(how.normalize), "false", 0, 0, NULL, 0, "vectors of length 1, also where the folder does not say so" },
    { "threads",   FIELD_INT,  AT(threads),       "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
#undef AT
static const fields embed_fields = { "options", embed_table, sizeof embed_table / sizeof *embed_table };
static const char embed_details[] =
    "A JSON object a line, text and embedding; with --output FILE.npy an array (texts, width) of f32.  A folder of\n"
    "sentence-transformers (modules.json) says how tokens become one vector, and whether its length is 1.\n";

static bool print_vector(const char *text, const float *x, int64_t n, str *out, genet_err *err)
{
    json_t *said = json_string(text);
    if (!said) return genet__err_set(err, GENET_ERR_FORMAT, "a text is not UTF-8");
    genet__str_add(out, "{\"text\": ");
    genet__json_print(said, 0, out);
    json_decref(said);
    for (int64_t i = 0; i < n; i++) genet__str_printf(out, "%s%.9g", i ? ", " : ", \"embedding\": [", (double)x[i]);
    genet__str_add(out, "]}\n");
    return true;
}

static bool embed_lines(opened *f, const items *in, const item_options *o, genet_err *err)
{
    item_writer to;
    int64_t first;
    str lines = {0};
    float *x = genet__alloc_array((size_t)(ITEM_CHUNK * f->width), sizeof *x);
    bool ok = (x || genet__err_memory(err)) && cli_items_open(&to, o, &first, err), begun = ok;
    for (; ok && first < in->n; first += ITEM_CHUNK) {
        int64_t n = in->n - first < ITEM_CHUNK ? in->n - first : ITEM_CHUNK;
        genet__str_clear(&lines);
        ok = genet__encoder_vectors(f->encoder, in->text + first, n, f->normalize, x, err);
        for (int64_t i = 0; ok && i < n; i++) ok = print_vector(in->text[first + i], x + i * f->width, f->width, &lines, err);
        ok = ok && cli_items_add(&to, &lines, err);
    }
    if (begun) cli_items_close(&to);
    genet__str_release(&lines);
    genet__free(x);
    return ok;
}

/* All vectors, (n, width); to be freed. */
static float *vectors_of(opened *f, const items *in, bool normalize, genet_err *err)
{
    float *x = genet__alloc_array((size_t)in->n, (size_t)f->width * sizeof *x);
    if (!x) genet__err_memory(err);
    bool ok = x;
    for (int64_t at = 0; ok && at < in->n; at += ITEM_CHUNK)
        ok = genet__encoder_vectors(f->encoder, in->text + at, in->n - at < ITEM_CHUNK ? in->n - at : ITEM_CHUNK, normalize,
                                    x + at * f->width, err);
    if (ok) return x;
    genet__free(x);
    return NULL;
}

static bool embed_array(opened *f, const items *in, const char *path, genet_err *err)
{
    float *x = vectors_of(f, in, f->normalize, err);
    bool ok = x && genet__npy_write(path, x, in->n, f->width, err);
    genet__free(x);
    return ok;
}

static bool embed(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const embed_options *o = user;
    bool array = o->items.output && genet__ends_with(o->items.output, ".npy");
    opened f = {0};
    items in = {0};
    (void)out;
    if (array && o->items.resume) return genet__err_set(err, GENET_ERR_USAGE, "a .npy is written as a whole: --resume is for JSON lines");
    bool ok = cli_items_read(&in, &o->items, err) && open_folder(&f, word[0], &o->how, d, err);
    ok = ok && (array ? embed_array(&f, &in, o->items.output, err) : embed_lines(&f, &in, &o->items, err));
    close_folder(&f);
    cli_items_release(&in);
    return ok;
}

static const short_name shorts[] = { { "p", "prompt" }, { "k", "k" }, { NULL, NULL } };

static int run_embed(const verb *v, int argc, char **argv)
{
    embed_options o;
    return cli_simple(v, &(simple){ .fields = &embed_fields, .options = &o, .threads = &o.threads, .body = embed,
                                    .details = embed_details, .short_names = shorts, .folder = "say which model: a folder" }, argc, argv);
}

const verb cli_verb_embed = { "embed", "FOLDER -p TEXT | --input FILE", "a vector for each text", run_embed };

/* --- similar -------------------------------------------------------------------------------------- */

typedef struct similar_options { const char *query, *data, *cache, *text_column; how how; int64_t k, threads; bool json; } similar_options;

#define AT(member) offsetof(similar_options, member)
static const field similar_table[] = {
    { "query",   FIELD_STRING, AT(query),   NULL, 0, 0, NULL, 0, "the text whose like is looked for (required)" },
    { "data",    FIELD_STRING, AT(data),    NULL, 0, 0, NULL, 0, "where: .jsonl, .csv, .tsv, or a text a line (required)" },
    { "text_column", FIELD_STRING, AT(text_column), "text", 0, 0, NULL, 0, "column, or field, of the text" },
    { "cache",   FIELD_STRING, AT(cache),   NULL, 0, 0, NULL, 0, "the data's vectors: read from this .npy, or written to it" },
    { "k",       FIELD_INT,    AT(k),       "5", 1, 1 << 30, NULL, 0, "how many" },
    HOW_FIELDS(AT(how)),
    { "json",    FIELD_BOOL,   AT(json),    "false", 0, 0, NULL, 0, "a JSON object a line" },
    { "threads", FIELD_INT,    AT(threads), "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
#undef AT
static const fields similar_fields = { "options", similar_table, sizeof similar_table / sizeof *similar_table };
static const char similar_details[] =
    "Prints the cosine, the number of the text in the data, and the text.  --cache keeps the vectors of large data; it must be\n"
    "of the same folder and data, which is not looked at but for their number.\n";

static float *read_cache(const char *path, int64_t n, int64_t width, genet_err *err)
{
    npy a;
    if (!genet__npy_open(&a, path, err)) return NULL;
    float *x = NULL;
    if (a.kind != 'f' || a.rank != 2 || a.dim[0] != n || a.dim[1] != width)
        genet__err_set(err, GENET_ERR_USAGE, "%s does not hold %lld vectors of %lld numbers: it is of other data or another model", path,
                       (long long)n, (long long)width);
    else if (!(x = genet__alloc_array((size_t)n, (size_t)width * sizeof *x))) genet__err_memory(err);
    for (int64_t i = 0; x && i < n * width; i++) x[i] = (float)genet__npy_double(&a, i);
    genet__npy_close(&a);
    return x;
}

/* Of length 1 each. */
static float *data_vectors(opened *f, const items *in, const char *cache, genet_err *err)
{
    bool there = cache && genet__file_exists(cache);
    float *x = there ? read_cache(cache, in->n, f->width, err) : vectors_of(f, in, true, err);
    if (x && cache && !there && !genet__npy_write(cache, x, in->n, f->width, err)) {
        genet__free(x);
        return NULL;
    }
    for (int64_t i = 0; x && i < in->n; i++) genet__unit_length(x + i * f->width, f->width);
    return x;
}

typedef struct near { double cosine; int64_t at; } near;

static int by_cosine(const void *a, const void *b)
{
    const near *x = a, *y = b;
    if (x->cosine != y->cosine) return x->cosine > y->cosine ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static bool print_near(const items *in, const near *r, bool json, str *out, genet_err *err)
{
    if (!json) {
        genet__str_printf(out, "%.6f\t%lld\t%s\n", r->cosine, (long long)r->at + 1, in->text[r->at]);
        return true;
    }
    json_t *j = json_pack("{s:f, s:I, s:s}", "cosine", r->cosine, "line", (json_int_t)r->at + 1, "text", in->text[r->at]);
    if (!j) return genet__err_set(err, GENET_ERR_FORMAT, "text %lld is not UTF-8", (long long)r->at + 1);
    genet__json_print(j, 0, out);
    genet__str_add(out, "\n");
    json_decref(j);
    return true;
}

static bool find(opened *f, const items *in, const similar_options *o, str *out, genet_err *err)
{
    float *x = data_vectors(f, in, o->cache, err), *q = genet__alloc_array((size_t)f->width, sizeof *q);
    near *r = genet__alloc_array((size_t)in->n + 1, sizeof *r);
    bool ok = x && ((q && r) || genet__err_memory(err));
    ok = ok && genet__encoder_vectors(f->encoder, &o->query, 1, true, q, err);
    for (int64_t i = 0; ok && i < in->n; i++) {
        r[i].at = i;
        for (int64_t k = 0; k < f->width; k++) r[i].cosine += (double)x[i * f->width + k] * (double)q[k];
    }
    if (ok) qsort(r, (size_t)in->n, sizeof *r, by_cosine);
    for (int64_t i = 0; ok && i < in->n && i < o->k; i++) ok = print_near(in, &r[i], o->json, out, err);
    genet__free(x);
    genet__free(q);
    genet__free(r);
    return ok;
}

static bool similar(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const similar_options *o = user;
    opened f = {0};
    items in = {0};
    if (!o->query || !o->data) return genet__err_set(err, GENET_ERR_USAGE, "--query TEXT and --data FILE are needed");
    item_options from = { .input = o->data, .text_column = o->text_column };
    bool ok = cli_items_read(&in, &from, err) && open_folder(&f, word[0], &o->how, d, err) && find(&f, &in, o, out, err);
    close_folder(&f);
    cli_items_release(&in);
    return ok;
}

static int run_similar(const verb *v, int argc, char **argv)
{
    similar_options o;
    return cli_simple(v, &(simple){ .fields = &similar_fields, .options = &o, .threads = &o.threads, .body = similar,
                                    .details = similar_details, .short_names = shorts, .folder = "say which model: a folder" }, argc, argv);
}

const verb cli_verb_similar = { "similar", "FOLDER --query TEXT --data FILE", "the texts that are nearest to one", run_similar };
