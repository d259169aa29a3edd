/* bench_model.c - `genet bench FOLDER`: how fast a language model reads a prompt and writes, one sequence, in tokens a
 * second; llama-bench's pp and tg; and where the time goes, kernel by kernel.
 *
 * Writing a token reads every weight once, so beside it stands how fast the same threads read the same weights and do
 * nothing else, measured in the same run, in turn with the model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/api.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"
#include "bench_model.h"
#include "machine.h"

typedef struct speeds { double prompt, write, bytes_per_s; } speeds;        /* tokens, tokens, bytes a second */

/* --- the yardstick ------------------------------------------------------------------- */

/* The weights where they lie: in the same pages, and the same caches, as when tokens are written. */
typedef struct weights { const char **at; size_t *size; int n; double bytes; } weights;

static bool find_weights(weights *w, const genet_model *m, genet_err *err)
{
    const params *p = m->model->params;
    *w = (weights){ .at = genet__alloc_array((size_t)p->n + 1, sizeof *w->at),
                    .size = genet__alloc_array((size_t)p->n + 1, sizeof *w->size) };
    if (!w->at || !w->size) return genet__err_memory(err);
    for (int i = 0; i < p->n; i++) {
        if (!(p->at[i]->kind & PARAM_WEIGHT)) continue;
        w->at[w->n] = p->at[i]->address;
        w->bytes += (double)(w->size[w->n++] = p->at[i]->size_bytes);
    }
    return true;
}

static void release_weights(weights *w)
{
    genet__free(w->at);
    genet__free(w->size);
}

/* --- the model ------------------------------------------------------------------------ */

/* One prompt of n ids that shares nothing with the one before, and `more` tokens after it. */
static bool once(decoder *d, int32_t *ids, int64_t n, int64_t more, uint32_t turn, speeds *s, genet_err *err)
{
    uint32_t vocab = (uint32_t)genet__decoder_vocab(d);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)(genet__rng_u32(1, turn, 0, (uint64_t)i) % vocab);
    double began = genet__now_s();
    TRY(genet__decoder_begin(d, ids, n, err));
    s->prompt = (double)n / (genet__now_s() - began);
    TRY(genet__decoder_step(d, ids, NULL, err));        /* compiles its plan the first time */
    began = genet__now_s();
    for (int64_t i = 1; i < more; i++) TRY(genet__decoder_step(d, ids + i % n, NULL, err));
    s->write = (double)(more - 1) / (genet__now_s() - began);
    return true;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the member at this offset. */
static double median(const speeds *s, int n, size_t member)
{
    double x[BENCH_MOST];
    for (int i = 0; i < n; i++) memcpy(&x[i], (const char *)&s[i] + member, sizeof *x);
    qsort(x, (size_t)n, sizeof *x, rising);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static bool measure(decoder *d, genet_device *dev, const bench_model *o, const weights *w, speeds *out, genet_err *err)
{
    int32_t *ids = genet__alloc_array((size_t)o->prompt_tokens, sizeof *ids);
    speeds all[BENCH_MOST];
    int n = (int)o->repetitions;
    bool ok = ids || genet__err_memory(err);
    for (int i = -1; ok && i < n; i++) {        /* the first is for warming up */
        speeds s = { .bytes_per_s = w->bytes / cli_read_pieces(dev, w->at, w->size, w->n) };
        ok = once(d, ids, o->prompt_tokens, o->new_tokens, (uint32_t)i + 1, &s, err);
        if (i >= 0) all[i] = s;
    }
    if (ok) *out = (speeds){ median(all, n, offsetof(speeds, prompt)), median(all, n, offsetof(speeds, write)),
                             median(all, n, offsetof(speeds, bytes_per_s)) };
    genet__free(ids);
    return ok;
}

/* --- where the time goes ------------------------------------------------------------------ */

typedef struct tables { str prompt, write; machine machine; } tables;

/* The kernels of a prompt (more 1), or of writing after one that is not timed. */
static bool profile_part(decoder *d, genet_device *dev, const bench_model *o, int32_t *ids, bool writing, tables *t,
                         genet_err *err)
{
    genet_profile *p = genet_profile_new(dev, err);
    if (!p) return false;
    double by = writing ? (double)o->new_tokens : 1;
    char what[80];
    snprintf(what, sizeof what, writing ? "writing %lld tokens, each" : "a prompt of %lld",
             (long long)(writing ? o->new_tokens : o->prompt_tokens));
    if (!writing) genet_profile_start(p);
    bool ok = genet__decoder_begin(d, ids, o->prompt_tokens, err);
    if (writing) genet_profile_start(p);
    for (int64_t i = 0; ok && writing && i < o->new_tokens; i++)
        ok = genet__decoder_step(d, ids + i % o->prompt_tokens, NULL, err);
    genet_profile_stop(p);
    str *to = writing ? &t->write : &t->prompt;
    if (ok && o->json) cli_profile_json(p, &t->machine, by, to);
    else if (ok) cli_profile_table(p, &t->machine, what, by, to);
    ok = ok && (!to->failed || genet__err_memory(err));
    genet_profile_free(p);
    return ok;
}

/* The prompt and the tokens after it on one clock. */
static bool write_trace(decoder *d, genet_device *dev, const bench_model *o, int32_t *ids, genet_err *err)
{
    if (!o->trace) return true;
    genet_profile *p = genet_profile_new(dev, err);
    if (!p) return false;
    genet_profile_start(p);
    bool ok = genet__decoder_begin(d, ids, o->prompt_tokens, err);
    for (int64_t i = 0; ok && i < o->new_tokens; i++) ok = genet__decoder_step(d, ids + i % o->prompt_tokens, NULL, err);
    genet_profile_stop(p);
    ok = ok && cli_profile_write(p, o->trace, err);
    genet_profile_free(p);
    return ok;
}

static bool profile(decoder *d, genet_device *dev, const bench_model *o, tables *t, genet_err *err)
{
    int32_t *ids = genet__alloc_array((size_t)o->prompt_tokens, sizeof *ids);
    if (!ids) return genet__err_memory(err);
    bool ok = cli_measure(&t->machine, dev, err);
    for (int part = 0; ok && part < 3; part++) {
        for (int64_t i = 0; i < o->prompt_tokens; i++)      /* a prompt that shares nothing with the one before */
            ids[i] = (int32_t)(genet__rng_u32(2, (uint32_t)part, 0, (uint64_t)i) % (uint32_t)genet__decoder_vocab(d));
        ok = part == 2 ? write_trace(d, dev, o, ids, err) : profile_part(d, dev, o, ids, part == 1, t, err);
    }
    genet__free(ids);
    return ok;
}

/* --- the report ------------------------------------------------------------------------- */

static void report(const genet_model *m, const genet_device *d, const bench_model *o, const speeds *s, double bytes, tables *t)
{
    double rate = s->write * bytes, share = rate / s->bytes_per_s;
    if (o->json) {
        str here = {0};
        cli_machine_json(&t->machine, &here);
        printf("{\"instruction_set\": \"%s\", %s, \"weight_bytes\": %.0f, \"prompt_tokens\": %lld, "
               "\"prompt_tokens_per_s\": %.5g, \"new_tokens\": %lld, \"new_tokens_per_s\": %.5g, \"weight_gbytes_per_s\": "
               "%.4g, \"weight_read_gbytes_per_s\": %.4g, \"weight_read_share\": %.4g, \"prompt_kernels\": %s, "
               "\"new_kernels\": %s}\n", genet_device_isa(d), genet__str(&here), bytes, (long long)o->prompt_tokens, s->prompt,
               (long long)o->new_tokens, s->write, rate / 1e9, s->bytes_per_s / 1e9, share, genet__str(&t->prompt),
               genet__str(&t->write));
        genet__str_release(&here);
        return;
    }
    printf("%s, %s, %d threads, %.0f MB of weights\nprompt of %lld   %9.1f tokens/s\nwriting %lld     %9.1f tokens/s   "
           "%.1f GB/s of weights: %.0f %% of %.1f GB/s beyond the caches (triad %.1f), %.0f %% of %.1f GB/s of reading them over and over\n\n%s\n%s",
           m->folder, genet_device_isa(d), genet_device_threads(d), bytes / 1e6, (long long)o->prompt_tokens, s->prompt,
           (long long)o->new_tokens, s->write, rate / 1e9, 100 * rate / t->machine.read_bytes_per_s,
           t->machine.read_bytes_per_s / 1e9, t->machine.triad[MEMORY_SIZES] / 1e9, 100 * share, s->bytes_per_s / 1e9, genet__str(&t->prompt), genet__str(&t->write));
}

static bool check_window(const decoder *d, const bench_model *o, genet_err *err)
{
    return o->prompt_tokens + o->new_tokens <= genet__decoder_window(d) ||
           genet__err_set(err, GENET_ERR_USAGE, "--prompt-tokens and --new-tokens are %lld together, and the model sees %lld",
                          (long long)(o->prompt_tokens + o->new_tokens), (long long)genet__decoder_window(d));
}

static bool bench_open(genet_model *m, genet_device *dev, const bench_model *o, genet_err *err)
{
    TRY(genet__api_has_text(m, err));
    weights read = {0};
    tables t = {0};
    speeds s = {0};
    genet_workspace *w = genet_workspace_new(dev);
    decoder *d = w ? genet__decoder_new(m->model, w, 1, err) : NULL;
    if (!w) genet__err_memory(err);
    bool ok = d && check_window(d, o, err) && find_weights(&read, m, err) && measure(d, dev, o, &read, &s, err) &&
              profile(d, dev, o, &t, err);
    if (ok) report(m, dev, o, &s, read.bytes, &t);
    genet__str_release(&t.prompt);
    genet__str_release(&t.write);
    release_weights(&read);
    genet__decoder_free(d);
    genet_workspace_free(w);
    return ok;
}

bool cli_bench_model(const char *folder, genet_device *dev, const bench_model *o, genet_err *err)
{
    genet_model *m = genet_model_open(folder, dev, err);
    bool ok = m && bench_open(m, dev, o, err);
    genet_model_free(m);
    return ok;
}
