/* bench.c - `genet bench`: a language model (bench_model.c), how speed grows with threads (bench_scaling.c), or each op at
 * shapes that models use, against the machine's own limits measured in the same run.
 *
 * The share is of whichever limit binds (machine.h): arithmetic at the peak of
 * the types that are multiplied, or bytes at the speed of reading as many. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/str.h"
#include "bench_model.h"
#include "bench_scaling.h"
#include "graph/graph.h"
#include "machine.h"
#include "plan/plan.h"

typedef struct bench_options {
    const char *only, *out;
    bool json, scaling;
    int64_t threads, prompt, write, repetitions;
    profile_options profile;
} bench_options;

#define AT(member) offsetof(bench_options, member)
static const field table[] = {
    { "prompt_tokens", FIELD_INT, AT(prompt), "256", 1, 1 << 24, NULL, 0, "of a model: tokens of the prompt (-p)" },
    { "new_tokens", FIELD_INT, AT(write), "64", 2, 1 << 24, NULL, 0, "of a model: tokens to write after it (-n)" },
    { "repetitions", FIELD_INT, AT(repetitions), "5", 1, BENCH_MOST, NULL, 0, "of a model: how often; the median counts (-r)" },
    { "only",    FIELD_STRING, AT(only),    NULL, 0, 0, NULL, 0, "ops whose name holds this text" },
    { "scaling", FIELD_BOOL,   AT(scaling), "false", 0, 0, NULL, 0,
      "products and training steps on 1, 2, ... threads, in place of ops" },
    { "out",     FIELD_STRING, AT(out),     NULL, 0, 0, NULL, 0, "of --scaling: a picture of it (-o), .png or .svg" },
    { "profile_trace", FIELD_STRING, AT(profile) + offsetof(profile_options, profile_trace), NULL, 0, 0, NULL, 0,
      "write what each thread did when to this file, for chrome://tracing" },
    { "json",    FIELD_BOOL,   AT(json),    "false", 0, 0, NULL, 0, "print one JSON object a line" },
    { "threads", FIELD_INT,    AT(threads), "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };

/* --- what is timed --------------------------------------------------------------- */

static tensor *f(graph *g, int rank, const int64_t *dim) { return genet_input(g, "x", GENET_F32, rank, dim); }
static tensor *ids(graph *g, int rank, const int64_t *dim) { return genet_input(g, "ids", GENET_I32, rank, dim); }
#define F(...)   f(g, GENET_DIMS(__VA_ARGS__))
#define IDS(...) ids(g, GENET_DIMS(__VA_ARGS__))
#define STATE(name, ...) genet_state(g, name, GENET_F32, GENET_DIMS(__VA_ARGS__))

/* The gradients of y with respect to the first n inputs, as one tensor each. */
static tensor *gradients(graph *g, tensor *y)
{
    tensor *in[4], *d[4], *all[4];
    int n = 0, m = 0;
    for (int i = 0; i < y->id && n < 4; i++)
        if (genet__op_is(g->node[i], OP_input) && genet__is_float(g->node[i]->dtype)) in[n++] = g->node[i];
    genet_grad(genet_mul(y, y), in, n, d);
    for (int i = 0; i < n; i++)
        if (d[i]) all[m++] = genet_reshape(d[i], GENET_DIMS(-1));
    return genet_concat(all, m, 0);
}

static tensor *attention(graph *g)
{
    genet_attention_options o = { .causal = true };
    return genet_attention(F(4, 256, 12, 64), F(4, 256, 12, 64), F(4, 256, 12, 64), &o);
}
static tensor *decode(graph *g)
{
    genet_attention_options o = { .causal = true, .position = IDS(1) };
    return genet_attention(F(1, 1, 12, 64), F(1, 1024, 12, 64), F(1, 1024, 12, 64), &o);
}
static tensor *adam(graph *g)
{
    tensor *p = STATE("p", 1 << 20), *one = genet_full(g, GENET_F32, 1, 0, NULL);
    tensor *finite = genet_full(g, GENET_U8, 1, 0, NULL);
    return genet_update_adam(p, F(1 << 20), STATE("m", 1 << 20), STATE("v", 1 << 20), NULL, one, one, one, finite,
                             .9, .99, 1e-8, .1, true);
}

/* name, shape in words, and the tensor to compute. */
#define CASES(X)                                                                                            \
    X("matmul",        "256x768 768x2304",   genet_matmul(F(256, 768), F(768, 2304)))                       \
    X("matmul",        "256x768 768x768",    genet_matmul(F(256, 768), F(768, 768)))                        \
    X("matmul",        "256x3072 3072x768",  genet_matmul(F(256, 3072), F(3072, 768)))                      \
    X("matmul",        "768x128 128x512",    genet_matmul(F(768, 128), F(128, 512)))                        \
    X("matmul row",    "1x768 768x3072",     genet_matmul(F(1, 768), F(768, 3072)))                         \
    X("matmul nt",     "256x768 (8192x768)T", genet_matmul(F(256, 768), genet_transpose(F(8192, 768), 0, 1))) \
    X("matmul tn",     "(1024x768)T 1024x768", genet_matmul(genet_transpose(F(1024, 768), 0, 1), F(1024, 768))) \
    X("linear gelu",   "256x768 768x3072",   genet_gelu_tanh(genet_add(genet_matmul(F(256, 768), F(768, 3072)), F(3072)))) \
    X("attention",     "4x256x12x64 causal", attention(g))                                                  \
    X("attention grad", "4x256x12x64 causal", gradients(g, attention(g)))                                   \
    X("attention row", "1 of 1024 x12x64",   decode(g))                                                     \
    X("layer_norm",    "1024x768",           genet_layer_norm(F(1024, 768), F(768), F(768), 1e-5))          \
    X("layer_norm grad", "1024x768",         gradients(g, genet_layer_norm(F(1024, 768), F(768), F(768), 1e-5))) \
    X("rms_norm",      "1024x768",           genet_rms_norm(F(1024, 768), F(768), 1e-5))                    \
    X("softmax",       "1024x1024",          genet_softmax(F(1024, 1024), -1))                              \
    X("log_softmax",   "1024x1024",          genet_log_softmax(F(1024, 1024), -1))                          \
    X("cross_entropy", "256x50257",          genet_cross_entropy(F(256, 50257), IDS(256), -100, 0))         \
    X("add row",       "1024x3072",          genet_add(F(1024, 3072), F(3072)))                             \
    X("sum",           "1024x3072 all",      genet_sum(F(1024, 3072), 3, false))                            \
    X("sum rows",      "1024x3072 over 0",   genet_sum(F(1024, 3072), 1, false))                            \
    X("sum columns",   "1024x3072 over 1",   genet_sum(F(1024, 3072), 2, false))                            \
    X("max",           "1024x3072 over 1",   genet_max_over(F(1024, 3072), 2, false))                       \
    X("logsumexp",     "1024x3072 over 1",   genet_logsumexp(F(1024, 3072), 2, false))                      \
    X("cumsum",        "1024x3072",          genet_cumsum(F(1024, 3072), -1))                               \
    X("argmax",        "1024x3072",          genet_argmax(F(1024, 3072), -1, false))                        \
    X("topk",          "16x50257, 50",       genet_topk(F(16, 50257), 50))                                  \
    X("transpose",     "2048x2048",          genet_copy(genet_transpose(F(2048, 2048), 0, 1)))              \
    X("gather",        "8192 of 50257x64",   genet_gather(F(50257, 64), IDS(8192)))                         \
    X("scatter_add",   "8192 to 50257x64",   genet_scatter_add(F(8192, 64), IDS(8192), 50257))              \
    X("rope",          "4x256x12x64",        genet_rope(F(4, 256, 12, 64), NULL, 10000, false))             \
    X("dropout",       "1024x3072",          genet_dropout(F(1024, 3072), IDS(4), 1, 0.1))                  \
    X("random_normal", "1024x3072",          genet_random_normal(IDS(4), 1, GENET_F32, GENET_DIMS(1024, 3072))) \
    X("adamw",         "1048576",            adam(g))

static const struct { const char *name, *shape; } cases[] = {
#define X(name, shape, expression) { name, shape },
    CASES(X)
#undef X
};
enum { N_CASE = sizeof cases / sizeof *cases };

/* The k-th elementwise op, on a million elements. */
static const op *elementwise_op(int k)
{
    for (int id = 0; id < OP_COUNT; id++)
        if (genet__op_table[id]->sig && !k--) return genet__op_table[id];
    return NULL;
}

/* Straight from the table: a new line there is timed without a line here. */
static tensor *build_elementwise(graph *g, const op *o)
{
    tensor *in[MAX_IN];
    for (int i = 0; i < o->n_in; i++)
        in[i] = genet_input(g, "x", o->sig[i] == 'M' ? GENET_U8 : GENET_F32, GENET_DIMS(1024, 1024));
    return genet__apply(g, o->id, in, o->n_in, &o->probes[0].attr);
}

static tensor *build_case(graph *g, int wanted)
{
    int k = 0;
    if (wanted >= N_CASE) return build_elementwise(g, elementwise_op(wanted - N_CASE));
#define X(name, shape, expression) if (k++ == wanted) return expression;
    CASES(X)
#undef X
    return NULL;
}

/* --- timing ---------------------------------------------------------------------- */

/* bound_s: the least time, by the limits of its kernels; limit: of the slowest of them. */
typedef struct timing { const char *name, *shape; double seconds, flops, bytes, bound_s; const char *limit; } timing;

/* Floats in (0, 1], ids below the smallest table, masks half set. */
static void fill(const tensor *t, void *to, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        uint32_t u = genet__rng_u32(1, (uint32_t)t->id, 0, k);
        if (t->dtype == GENET_F32) ((float *)to)[k] = genet__rng_unit_open(u);
        else if (t->dtype == GENET_U8) ((uint8_t *)to)[k] = u & 1;
        else ((int32_t *)to)[k] = (int32_t)(u % 50257);
    }
}

/* Inputs may share memory with results: they are kept here and written before
 * every run. */
typedef struct inputs { tensor *t[4]; void *bytes[4]; size_t size[4]; int n; } inputs;

static bool make_inputs(graph *g, inputs *in, genet_err *err)
{
    for (int i = 0; i < g->n && in->n < 4; i++) {
        tensor *t = g->node[i];
        if (!genet__op_is(t, OP_input)) continue;
        size_t n = (size_t)genet__numel(&t->shape);
        in->size[in->n] = n * genet_dtype_size(t->dtype);
        in->t[in->n] = t;
        if (!(in->bytes[in->n++] = genet__alloc(n * genet_dtype_size(t->dtype)))) return genet__err_memory(err);
        fill(t, in->bytes[in->n - 1], n);
    }
    return true;
}

static bool write_inputs(const inputs *in, genet_plan *p, genet_err *err)
{
    for (int i = 0; i < in->n; i++) TRY(genet_plan_write(p, in->t[i], in->bytes[i], in->size[i], err));
    return true;
}

/* All states of a case are f32, one after the other. */
static bool bind_states(graph *g, genet_plan *p, char *memory, genet_err *err)
{
    for (int i = 0; i < g->n; i++) {
        if (!genet__op_is(g->node[i], OP_state)) continue;
        TRY(genet_plan_bind(p, g->node[i], memory, err));
        memory += (size_t)genet__numel(&g->node[i]->shape) * sizeof(float);
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of at least 5 runs, and of up to a tenth of a second; the first one, which takes memory, is left out. */
static bool time_runs(const inputs *in, genet_plan *p, timing *t, genet_err *err)
{
    enum { MOST = 200 };
    double spent = 0, all[MOST];
    int n = 0;
    for (int run = 0; run < 6 || (spent < 0.1 && run < MOST); run++) {
        TRY(write_inputs(in, p, err));
        double began = genet__now_s();
        TRY(genet_plan_run(p, err));
        double took = genet__now_s() - began;
        spent += took;
        if (run) all[n++] = took;
    }
    qsort(all, (size_t)n, sizeof *all, by_value);
    t->seconds = all[n / 2];
    return true;
}

/* What the kernels of p could do at best. */
static void find_bound(const genet_plan *p, const machine *m, timing *t)
{
    double most = -1;
    t->limit = "memory";
    for (int s = 0; s < p->n_step; s++) {
        const char *limit;
        double least = cli_bound(m, genet__plan_arithmetic(p, s), genet__plan_flops(p, s), genet__plan_bytes(p, s), 1, &limit);
        t->bound_s += least;
        if (least > most) most = least, t->limit = limit;
    }
}

/* Once more, for the trace. */
static bool trace_run(const inputs *in, genet_plan *p, genet_profile *profile, genet_err *err)
{
    if (!profile) return true;
    genet_profile_start(profile);
    bool ok = write_inputs(in, p, err) && genet_plan_run(p, err);
    genet_profile_stop(profile);
    return ok;
}

/* A graph, a plan and a workspace of its own for each case. */
static bool time_case(int k, genet_device *d, const machine *m, genet_profile *profile, timing *t, genet_err *err)
{
    graph *g = genet_graph_new();
    genet_workspace *w = genet_workspace_new(d);
    inputs in = {0};
    if (!g || !w) return genet__err_memory(err);
    tensor *y = build_case(g, k);
    genet_plan *p = genet_compile(g, &y, 1, d, NULL, err);
    genet_plan_info info = p ? genet_plan_describe(p) : (genet_plan_info){0};
    size_t n_state = info.state_bytes + 64;
    char *memory = p ? genet_device_alloc(d, n_state, err) : NULL;
    bool ok = memory && bind_states(g, p, memory, err) && genet_plan_attach(p, w, err) &&
              make_inputs(g, &in, err) && time_runs(&in, p, t, err) && trace_run(&in, p, profile, err);
    if (ok) find_bound(p, m, t);
    t->flops = info.flops;
    t->bytes = info.bytes;
    for (int i = 0; i < in.n; i++) genet__free(in.bytes[i]);
    if (memory) genet_device_release(d, memory, n_state);
    genet_plan_free(p);
    genet_workspace_free(w);
    genet_graph_free(g);
    return ok;
}

/* --- the report -------------------------------------------------------------------- */

static void print_case(const timing *t, bool json)
{
    double gflops = t->flops / t->seconds / 1e9, gbytes = t->bytes / t->seconds / 1e9, share = t->bound_s / t->seconds;
    if (json)
        printf("{\"op\": \"%s\", \"shape\": \"%s\", \"ms\": %.5g, \"gflops\": %.5g, \"gbytes_per_s\": %.5g, "
               "\"share\": %.4g, \"of\": \"%s\"}\n", t->name, t->shape, t->seconds * 1e3, gflops, gbytes, share, t->limit);
    else
        printf("%-16s %-20s %9.3f ms %8.1f GFLOP/s %8.1f GB/s  %5.0f %% of %s\n", t->name, t->shape, t->seconds * 1e3,
               gflops, gbytes, 100 * share, t->limit);
    fflush(stdout);
}

static void print_machine(const machine *m, const genet_device *d, bool json)
{
    str s = {0};
    (json ? cli_machine_json : cli_machine_text)(m, &s);
    printf(json ? "{\"instruction_set\": \"%s\", %s}\n" : "%s, %s", genet_device_isa(d), genet__str(&s));
    genet__str_release(&s);
}

/* Yardstick first, then every case whose name fits. */
static bool bench_ops(const bench_options *o, genet_device *d, genet_profile *profile, genet_err *err)
{
    machine m;
    TRY(cli_measure(&m, d, err));
    print_machine(&m, d, o->json);
    bool any = false;
    for (int k = 0; k < N_CASE || elementwise_op(k - N_CASE); k++) {
        timing t = { .name = k < N_CASE ? cases[k].name : elementwise_op(k - N_CASE)->name,
                     .shape = k < N_CASE ? cases[k].shape : "1024x1024" };
        if (o->only && !strstr(t.name, o->only)) continue;
        if (!time_case(k, d, &m, profile, &t, err)) return genet__err_prefix(err, "%s: ", t.name);
        print_case(&t, o->json);
        any = true;
    }
    return any || genet__err_set(err, GENET_ERR_USAGE, "no op's name holds \"%s\"", o->only);
}

static bool ops_traced(const bench_options *o, genet_device *d, genet_err *err)
{
    if (!o->profile.profile_trace) return bench_ops(o, d, NULL, err);
    genet_profile *profile = genet_profile_new(d, err);
    bool ok = profile && bench_ops(o, d, profile, err) && cli_profile_write(profile, o->profile.profile_trace, err);
    genet_profile_free(profile);
    return ok;
}

static bool bench(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const char *folder = word[0];
    (void)out;          /* lines are printed as they come */
    bench_options *o = user;
    o->profile.profile = true;      /* always: only the trace is a choice */
    TRY(cli_profile_check(&o->profile, err));
    if (folder && (o->scaling || o->only))
        return genet__err_set(err, GENET_ERR_USAGE, "--scaling and --only are for bench without a FOLDER");
    if (o->out && !o->scaling) return genet__err_set(err, GENET_ERR_USAGE, "--out is the picture of --scaling: add it");
    if (o->scaling && o->profile.profile_trace)
        return genet__err_set(err, GENET_ERR_USAGE, "--scaling writes no trace: leave out --profile-trace");
    if (o->scaling) return cli_bench_scaling(&(bench_scaling){ genet_device_threads(d), o->json, o->out }, err);
    if (!folder) return ops_traced(o, d, err);
    bench_model b = { o->prompt, o->write, o->repetitions, o->json, o->profile.profile_trace };
    return cli_bench_model(folder, d, &b, err);
}

static const short_name short_names[] = { { "p", "prompt_tokens" }, { "n", "new_tokens" }, { "r", "repetitions" }, { "o", "out" },
                                          { NULL, NULL } };

static int run(const verb *v, int argc, char **argv)
{
    bench_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .threads = &o.threads, .short_names = short_names, .body = bench }, argc, argv);
}

const verb cli_verb_bench = { "bench", "[FOLDER] [--only OP] [--scaling]", "time each op, or a language model, against the machine's limits", run };
