/* plot.c - `genet plot RUN...`: loss curves of one or several runs as a picture.
 * A run is a model's folder, or its training/metrics.jsonl. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "cli.h"
#include "format/jsonl.h"
#include "image/chart.h"

typedef struct plot_options { const char *out, *keys; bool log; double smooth; } plot_options;

#define AT(member) offsetof(plot_options, member)
static const field table[] = {
    { "out",    FIELD_STRING, AT(out),    "loss.png", 0, 0, NULL, 0, "the picture (-o): .png or .svg" },
    { "keys",   FIELD_STRING, AT(keys),   "loss,val_loss", 0, 0, NULL, 0,
      "what to draw, by the names in metrics.jsonl: perplexity, learning_rate, grad_norm, ..." },
    { "smooth", FIELD_DOUBLE, AT(smooth), "-1", -1, 0.9999, NULL, 0,
      "share of the past in an exponential average of training values; -1: 0.6 from 100 values on, else 0" },
    { "log",    FIELD_BOOL,   AT(log),    "false", 0, 0, NULL, 0, "a logarithmic axis of values" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };
static const short_name short_names[] = { { "o", "out" }, { NULL, NULL } };
static const char details[] =
    "Each RUN is a folder that `genet train` writes, also while it is being written, or a metrics.jsonl.  Runs have\n"
    "colours; validation is a thick line with dots, training a thin one.\n";

enum { MAX_KEYS = 8, NAME_BYTES = 200 };

/* One key of one run, in the order of its lines. */
typedef struct curve { char name[NAME_BYTES]; double *x, *y; int n, cap_x, cap_y; bool every_line; } curve;

typedef struct plot {
    const plot_options *o;
    char   key[MAX_KEYS][64];
    int    n_key, n_run;
    curve *curve;               /* (n_run, n_key) */
} plot;

/* --- reading -------------------------------------------------------------------------- */

static bool split_keys(plot *p, genet_err *err)
{
    for (const char *at = p->o->keys; *at;) {
        size_t n = strcspn(at, ",");
        if (n >= sizeof p->key[0] || p->n_key == MAX_KEYS)
            return genet__err_set(err, GENET_ERR_USAGE, "--keys takes up to %d names, with commas between them", MAX_KEYS);
        if (n) {
            memcpy(p->key[p->n_key], at, n);
            p->key[p->n_key++][n] = 0;
        }
        at += n + (at[n] == ',');
    }
    return p->n_key || genet__err_set(err, GENET_ERR_USAGE, "--keys is empty: nothing to draw");
}

static bool add_point(curve *c, double x, double y, genet_err *err)
{
    if (!GROW(c->x, c->n, c->cap_x) || !GROW(c->y, c->n, c->cap_y)) return genet__err_memory(err);
    c->x[c->n] = x;
    c->y[c->n++] = y;
    return true;
}

/* A loss that was not finite is null: a gap in its curve. */
static bool add_line(plot *p, int run, const json_t *line, genet_err *err)
{
    const json_t *step = json_object_get(line, "step");
    if (!json_is_number(step)) return true;
    for (int k = 0; k < p->n_key; k++) {
        const json_t *value = json_object_get(line, p->key[k]);
        if (!json_is_number(value) && !json_is_null(value)) continue;
        double y = json_is_number(value) ? json_number_value(value) : NAN;
        TRY(add_point(&p->curve[run * p->n_key + k], json_number_value(step), y, err));
    }
    return true;
}

/* What an evaluation says, and not every line. */
static bool is_score(const char *key)
{
    return !strncmp(key, "val_", 4) || !strcmp(key, "perplexity") || !strcmp(key, "bits_per_byte");
}

static bool read_lines(plot *p, int run, const char *path, genet_err *err)
{
    jsonl reader;
    json_t *line;
    bool ok = true;
    TRY(genet__jsonl_open(&reader, path, JSONL_TORN_OK, err));
    while (ok && (line = genet__jsonl_next(&reader, err))) {
        ok = add_line(p, run, line, err);
        json_decref(line);
    }
    ok = ok && !reader.failed;
    genet__jsonl_close(&reader);
    for (int k = 0; ok && k < p->n_key; k++) p->curve[run * p->n_key + k].every_line = !is_score(p->key[k]);
    return ok;
}

/* "shakespeare" of "runs/shakespeare/". */
static void name_run(char out[NAME_BYTES], const char *run)
{
    size_t n = strlen(run);
    while (n > 1 && run[n - 1] == '/') n--;
    size_t from = n;
    while (from > 0 && run[from - 1] != '/') from--;
    snprintf(out, NAME_BYTES, "%.*s", (int)(n - from), run + from);
}

static bool read_run(plot *p, int run, const char *word, genet_err *err)
{
    char name[NAME_BYTES];
    name_run(name, word);
    for (int k = 0; k < p->n_key; k++)
        snprintf(p->curve[run * p->n_key + k].name, NAME_BYTES, "%.130s %.60s", name, p->key[k]);
    if (!genet__file_is_dir(word)) return read_lines(p, run, word, err);
    char *path = genet__path_join(word, "training/metrics.jsonl");
    bool ok = path || genet__err_memory(err);
    if (ok && !genet__file_exists(path))
        ok = genet__err_set(err, GENET_ERR_IO, "%s is no run: there is no %s", word, path);
    ok = ok && read_lines(p, run, path, err);
    genet__free(path);
    return ok;
}

/* --- drawing -------------------------------------------------------------------------- */

/* Exponential average from the first value on; gaps stay. */
static void smooth(curve *c, double share)
{
    double mean = NAN;
    if (share < 0) share = c->n >= 100 ? 0.6 : 0;
    for (int i = 0; i < c->n; i++) {
        if (!isfinite(c->y[i])) continue;
        mean = isfinite(mean) ? share * mean + (1 - share) * c->y[i] : c->y[i];
        c->y[i] = mean;
    }
}

/* Of losses of both kinds, "loss"; of one thing its name. */
static const char *label(const plot *p)
{
    bool losses = true;
    for (int k = 0; k < p->n_key; k++) losses &= strstr(p->key[k], "loss") != NULL;
    return losses ? "loss" : p->n_key == 1 ? p->key[0] : "value";
}

/* What stands at a few lines only (validation) is the main thing where there is something at every line beside it. */
static bool draw(plot *p, genet_err *err)
{
    int n = 0, all = p->n_run * p->n_key;
    bool sparse = false;
    chart_curve *shown = genet__alloc_array((size_t)all + 1, sizeof *shown);
    if (!shown) return genet__err_memory(err);
    for (int i = 0; i < all; i++) sparse |= p->curve[i].n && !p->curve[i].every_line;
    for (int i = 0; i < all; i++) {
        curve *c = &p->curve[i];
        if (!c->n) continue;
        if (c->every_line) smooth(c, p->o->smooth);
        shown[n++] = (chart_curve){ .name = c->name, .x = c->x, .y = c->y, .n = c->n, .color = sparse ? i / p->n_key : i,
                                    .faint = sparse && c->every_line, .marks = !c->every_line };
    }
    chart h = { .x_label = "step", .y_label = label(p), .log_y = p->o->log, .curve = shown, .n_curve = n };
    bool ok = n ? genet__chart_write(&h, p->o->out, err)
                : genet__err_set(err, GENET_ERR_USAGE, "there is no %s in these runs yet", p->o->keys);
    genet__free(shown);
    return ok;
}

static bool plot_runs(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    plot p = { .o = user };
    (void)d, (void)out;
    while (word[p.n_run]) p.n_run++;
    TRY(split_keys(&p, err));
    p.curve = genet__alloc_array((size_t)(p.n_run * p.n_key), sizeof *p.curve);
    bool ok = p.curve || genet__err_memory(err);
    for (int i = 0; ok && i < p.n_run; i++) ok = read_run(&p, i, word[i], err);
    ok = ok && draw(&p, err);
    for (int i = 0; p.curve && i < p.n_run * p.n_key; i++) {
        genet__free(p.curve[i].x);
        genet__free(p.curve[i].y);
    }
    genet__free(p.curve);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    plot_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .no_device = true, .short_names = short_names,
                                    .body = plot_runs,
                                    .details = details, .max_word = MAX_WORDS,
                                    .folder = "say which runs: folders that `genet train` wrote" }, argc, argv);
}

const verb cli_verb_plot = { "plot", "RUN... [-o FILE.png|.svg] [--keys loss,val_loss]", "draw loss curves of runs", run };
