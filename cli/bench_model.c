/* bench_model.c - `genet bench FOLDER`: how fast a language model reads a prompt and writes, one sequence, in tokens a
 * second; llama-bench's pp and tg.
 *
 * Writing a token reads every weight once, so beside it stands how fast this machine reads as many bytes with the same
 * threads, measured in the same run, in turn with the model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/api.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/rng.h"
#include "bench_model.h"

enum { READ_LEAST = 64 << 20 };

typedef struct speeds { double prompt, write, bytes_per_s; } speeds;        /* tokens, tokens, bytes a second */

/* --- the yardstick ------------------------------------------------------------------- */

typedef struct reading { const uint64_t *at; int64_t words; int threads; uint64_t sum[4096]; } reading;

/* Each thread its own range, in four runs side by side: memory gives more so than to one. */
static void read_part(void *arg, int thread)
{
    reading *r = arg;
    enum { RUNS = 4, LINE = 8, AHEAD = 128 };
    int64_t part = r->words / r->threads, run = part / RUNS / LINE * LINE;
    const uint64_t *at = r->at + part * thread;
    uint64_t sum[RUNS * LINE] = {0}, all = 0;
    for (int64_t i = 0; i < run; i += LINE)
        for (int s = 0; s < RUNS; s++) {
            __builtin_prefetch(at + s * run + i + AHEAD);
            for (int k = 0; k < LINE; k++) sum[s * LINE + k] += at[s * run + i + k];
        }
    for (int k = 0; k < RUNS * LINE; k++) all += sum[k];
    r->sum[thread % 4096] = all;
}

static double read_speed(pool *p, reading *r)
{
    double began = genet__now_s();
    genet__pool_run(p, read_part, r);
    return (double)r->words * 8 / (genet__now_s() - began);
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

static bool measure(decoder *d, const bench_model *o, pool *p, reading *r, speeds *out, genet_err *err)
{
    int32_t *ids = genet__alloc_array((size_t)o->prompt_tokens, sizeof *ids);
    speeds all[BENCH_MOST];
    int n = (int)o->repetitions;
    bool ok = ids || genet__err_memory(err);
    for (int i = -1; ok && i < n; i++) {        /* the first is for warming up */
        speeds s = { .bytes_per_s = read_speed(p, r) };
        ok = once(d, ids, o->prompt_tokens, o->new_tokens, (uint32_t)i + 1, &s, err);
        if (i >= 0) all[i] = s;
    }
    if (ok) *out = (speeds){ median(all, n, offsetof(speeds, prompt)), median(all, n, offsetof(speeds, write)),
                             median(all, n, offsetof(speeds, bytes_per_s)) };
    genet__free(ids);
    return ok;
}

static void report(const genet_model *m, const genet_device *d, const bench_model *o, const speeds *s, double bytes)
{
    double rate = s->write * bytes, share = rate / s->bytes_per_s;
    if (o->json)
        printf("{\"instruction_set\": \"%s\", \"threads\": %d, \"weight_bytes\": %.0f, \"prompt_tokens\": %lld, "
               "\"prompt_tokens_per_s\": %.5g, \"new_tokens\": %lld, \"new_tokens_per_s\": %.5g, \"weight_gbytes_per_s\": "
               "%.4g, \"read_gbytes_per_s\": %.4g}\n", genet_device_isa(d), genet_device_threads(d), bytes,
               (long long)o->prompt_tokens, s->prompt, (long long)o->new_tokens, s->write, rate / 1e9, s->bytes_per_s / 1e9);
    else
        printf("%s, %s, %d threads, %.0f MB of weights\nprompt of %lld   %9.1f tokens/s\nwriting %lld     %9.1f tokens/s   "
               "%.1f GB/s of weights, %.0f %% of %.1f GB/s that reading as much reaches\n", m->folder, genet_device_isa(d),
               genet_device_threads(d), bytes / 1e6, (long long)o->prompt_tokens, s->prompt, (long long)o->new_tokens, s->write,
               rate / 1e9, 100 * share, s->bytes_per_s / 1e9);
}

static bool bench_open(genet_model *m, genet_device *dev, const bench_model *o, genet_err *err)
{
    TRY(genet__api_has_text(m, err));
    double bytes = (double)genet__params_bytes(m->model->params, PARAM_WEIGHT);
    size_t size = bytes < READ_LEAST ? READ_LEAST : (size_t)bytes;
    genet_workspace *w = genet_workspace_new(dev);
    decoder *d = w ? genet__decoder_new(m->model, w, 1, err) : NULL;
    pool *p = genet__pool_new(genet_device_threads(dev), err);
    reading *r = genet__alloc(sizeof *r);
    uint64_t *memory = genet_device_alloc(dev, size, err);       /* in large pages */
    speeds s = {0};
    bool ok = d && p && ((r && memory) || genet__err_memory(err));
    if (ok && o->prompt_tokens + o->new_tokens > genet__decoder_window(d))
        ok = genet__err_set(err, GENET_ERR_USAGE, "prompt-tokens and new-tokens are %lld together, and the model sees %lld",
                            (long long)(o->prompt_tokens + o->new_tokens), (long long)genet__decoder_window(d));
    if (ok) {
        memset(memory, 1, size);
        *r = (reading){ .at = memory, .words = (int64_t)(size / 8), .threads = genet__pool_threads(p) };
        ok = measure(d, o, p, r, &s, err);
    }
    if (ok) report(m, dev, o, &s, bytes);
    genet_device_release(dev, memory, size);
    genet__free(r);
    genet__pool_free(p);
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
