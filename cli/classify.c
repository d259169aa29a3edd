/* classify.c - `genet classify FOLDER -p TEXT | --input FILE`: which class a text is of. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "infer/generate.h"
#include "infer/texts.h"
#include "items.h"

typedef struct classify_options { item_options items; int64_t top, max_length, threads; bool json; } classify_options;

#define AT(member) offsetof(classify_options, member)
static const field rows[] = {
    ITEM_FIELDS(AT(items)), ITEM_PAIR_FIELDS(AT(items)),
    { "top",        FIELD_INT,  AT(top),        "0", 0, 1 << 20, NULL, 0, "so many classes, the likeliest first; 0: all" },
    { "max_length", FIELD_INT,  AT(max_length), "0", 0, 1 << 24, NULL, 0, "tokens of a text at most; 0: what the model sees" },
    { "json",       FIELD_BOOL, AT(json),       "false", 0, 0, NULL, 0, "-p: a JSON object" },
    { "threads",    FIELD_INT,  AT(threads),    "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", rows, sizeof rows / sizeof *rows };
static const short_name shorts[] = { { "p", "prompt" }, { NULL, NULL } };
static const char details[] =
    "-p prints the classes, the likeliest first.  --input prints, or writes to --output, a JSON object a line: text, label,\n"
    "probability, and the probabilities of all classes.  A text's answer does not depend on the others.\n";

typedef struct work {
    const classify_options *o;
    const model *model;
    items        items;
    int64_t      first, K;
    double      *probability;           /* (chunk, K) */
} work;

static bool take(void *user, int64_t i, const float *y, int64_t n, genet_err *err)
{
    work *w = user;
    (void)n, (void)err;
    genet__class_probabilities(w->model, y, w->probability + i * w->K);
    return true;
}

typedef struct ranked { double p; int64_t k; } ranked;

static int by_probability(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->p != y->p) return x->p > y->p ? -1 : 1;
    return (x->k > y->k) - (x->k < y->k);
}

static json_t *answer_json(const work *w, int64_t i, const ranked *r, int64_t shown)
{
    char scratch[32];
    json_t *all = json_object();
    bool ok = all;
    for (int64_t k = 0; ok && k < shown; k++)
        ok = !json_object_set_new(all, genet__label(w->model, r[k].k, scratch), json_real(r[k].p));
    json_t *j = ok ? json_pack("{s:s, s:s, s:f, s:O}", "text", w->items.text[w->first + i], "label",
                               genet__label(w->model, r[0].k, scratch), "probability", r[0].p, "probabilities", all) : NULL;
    json_decref(all);
    return j;
}

/* One text's answer. */
static bool print(const work *w, int64_t i, ranked *r, str *out, genet_err *err)
{
    char scratch[32];
    int64_t shown = w->o->top && w->o->top < w->K ? w->o->top : w->K;
    for (int64_t k = 0; k < w->K; k++) r[k] = (ranked){ w->probability[i * w->K + k], k };
    qsort(r, (size_t)w->K, sizeof *r, by_probability);
    if (w->o->items.input || w->o->json) {
        json_t *j = answer_json(w, i, r, shown);
        if (!j) return genet__err_set(err, GENET_ERR_FORMAT, "text %lld is not UTF-8", (long long)(w->first + i + 1));
        genet__json_print(j, 0, out);
        genet__str_add(out, "\n");
        json_decref(j);
        return true;
    }
    for (int64_t k = 0; k < shown; k++) genet__str_printf(out, "%.4f  %s\n", r[k].p, genet__label(w->model, r[k].k, scratch));
    return true;
}

static bool run_all(work *w, encoder *e, genet_err *err)
{
    item_writer to;
    str lines = {0};
    const items *in = &w->items;
    ranked *r = genet__alloc_array((size_t)w->K, sizeof *r);
    bool ok = (r || genet__err_memory(err)) && cli_items_open(&to, &w->o->items, &w->first, err);
    bool opened = ok;
    for (; ok && w->first < in->n; w->first += ITEM_CHUNK) {
        int64_t n = in->n - w->first < ITEM_CHUNK ? in->n - w->first : ITEM_CHUNK;
        genet__str_clear(&lines);
        ok = genet__encoder_run(e, in->text + w->first, in->pair ? in->pair + w->first : NULL, n, take, w, err);
        for (int64_t i = 0; ok && i < n; i++) ok = print(w, i, r, &lines, err);
        ok = ok && cli_items_add(&to, &lines, err);
    }
    if (opened) cli_items_close(&to);
    genet__str_release(&lines);
    genet__free(r);
    return ok;
}

static bool classify(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    work w = { .o = user };
    model *m = NULL;
    tokenizer *t = NULL;
    (void)out;
    genet_workspace *space = genet_workspace_new(d);
    bool ok = (space || genet__err_memory(err)) && cli_items_read(&w.items, &w.o->items, err) &&
              genet__open_text_model(word[0], d, MODEL_READ_ONLY, &m, &t, err);
    if (ok && m->head->kind != HEAD_SEQUENCE)
        ok = genet__err_set(err, GENET_ERR_USAGE, "%s holds a %s, which tells no classes: genet train classify --model %s --from %s", word[0],
                            m->head->architecture, m->family->name, word[0]);
    encoder *e = ok ? genet__encoder_new(m, t, space, POOL_NONE, w.o->max_length, err) : NULL;
    w.model = m;
    w.K = m ? m->n_labels : 0;
    w.probability = e ? genet__alloc_array((size_t)(ITEM_CHUNK * w.K), sizeof *w.probability) : NULL;
    ok = e && (w.probability || genet__err_memory(err)) && run_all(&w, e, err);
    genet__encoder_free(e);
    genet__free(w.probability);
    genet__tokenizer_free(t);
    genet__model_free(m);
    genet_workspace_free(space);
    cli_items_release(&w.items);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    classify_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .threads = &o.threads, .body = classify, .details = details,
                                    .short_names = shorts, .folder = "say which model: a folder that `genet train classify` wrote" },
                      argc, argv);
}

const verb cli_verb_classify = { "classify", "FOLDER -p TEXT | --input FILE", "which class a text is of", run };
