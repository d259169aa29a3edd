/* plan.c - `genet plan WHAT --options`: what a training would cost, before it
 * takes anything.
 *
 * Time is estimated from measurements made now: kernels take turns; products at the speed that one like the step's largest has
 * here, of the same types (at most PRODUCT_MOST lines each way), attention at that of its forward pass, elementwise work
 * around both at that of adding and GELU; and every byte that a kernel touches at the speed at which memory of the size that it
 * touches is read and written. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include "base/err.h"
#include "base/str.h"
#include "machine.h"
#include "setup.h"

enum { PRODUCT_MOST = 1024 };

/* What a step is thought to take, and of what. */
typedef struct estimate {
    machine machine;
    double  speed[GENET_ARITHMETIC_COUNT];      /* of products, operations a second; 0: there are none */
    double  products_s, attention_s, members_s, memory_s;
} estimate;

static bool estimate_products(estimate *e, const plan_work *w, genet_device *d, genet_err *err)
{
    for (int k = 0; k < GENET_ARITHMETIC_COUNT; k++) {
        int64_t dim[3];
        if (!(w->flops[k] > 0)) continue;
        for (int i = 0; i < 3; i++) dim[i] = w->product[k][i] < PRODUCT_MOST ? w->product[k][i] : PRODUCT_MOST;
        TRY(cli_product_speed(d, (genet_arithmetic)k, dim, &e->speed[k], err));
        e->products_s += w->flops[k] / e->speed[k];
    }
    return true;
}

static bool estimate_time(estimate *e, const plan_work *w, genet_device *d, genet_err *err)
{
    double attention, members;
    *e = (estimate){0};
    TRY(cli_measure(&e->machine, d, err) && estimate_products(e, w, d, err));
    if (w->attention_flops > 0) {
        TRY(cli_attention_speed(d, w->attention, &attention, err));
        e->attention_s = w->attention_flops / attention;
    }
    if (w->members > 0) {
        TRY(cli_member_speed(d, &members, err));
        e->members_s = w->members / members;
    }
    for (int k = 0; k < WORK_SIZES; k++)
        if (w->bytes[k] > 0) e->memory_s += w->bytes[k] / cli_triad_speed(&e->machine, 1.5 * pow(2, k));
    return true;
}

static double seconds(const estimate *e) { return e->products_s + e->attention_s + e->members_s + e->memory_s; }

/* "products 1.5 s (f32 at 620 GFLOP/s, 48 % of peak), attention 0.1, elementwise work around them 0.05, memory 0.2" */
static void assumptions(const estimate *e, str *s)
{
    genet__str_printf(s, "products %.3g s (", e->products_s);
    for (int k = 0, n = 0; k < GENET_ARITHMETIC_COUNT; k++)
        if (e->speed[k] > 0)
            genet__str_printf(s, "%s%s at %.0f GFLOP/s, %.0f %% of peak", n++ ? "; " : "", cli_arithmetic_name((genet_arithmetic)k),
                              e->speed[k] * 1e-9, 100 * e->speed[k] / e->machine.flops[k]);
    genet__str_printf(s, "), attention %.3g, elementwise work around them %.3g, memory %.3g", e->attention_s, e->members_s,
                      e->memory_s);
}

/* Plain numbers: bytes, operations, seconds.  kept: the cost without checkpointing, where that is asked for. */
static void as_json(str *s, const train_cost *c, const train_cost *kept, const estimate *e)
{
    char step[32], flops[32];
    genet__format_double(step, seconds(e));
    genet__format_double(flops, c->flops);
    genet__str_printf(s, "{\"parameters\": %lld, \"operations_per_step\": %s, \"peak_memory_bytes\": %zu, "
                      "\"params_bytes\": %zu, \"workspace_bytes\": %zu, \"kernels\": %d, \"seconds_per_step\": %s, "
                      "\"seconds_of_products\": %.4g, \"seconds_of_memory\": %.4g, \"product_gflops\": {",
                      (long long)c->weights, flops, c->total_bytes, c->params_bytes, c->workspace_bytes, c->n_kernels, step,
                      e->products_s, e->memory_s);
    for (int k = 0, n = 0; k < GENET_ARITHMETIC_COUNT; k++)
        if (e->speed[k] > 0)
            genet__str_printf(s, "%s\"%s\": %.5g", n++ ? ", " : "", cli_arithmetic_name((genet_arithmetic)k), e->speed[k] * 1e-9);
    genet__str_add(s, "}");
    if (kept)
        genet__str_printf(s, ", \"checkpoint_saves_bytes\": %lld, \"checkpoint_operations\": %.0f",
                          (long long)kept->total_bytes - (long long)c->total_bytes, c->flops - kept->flops);
    genet__str_add(s, "}\n");
}

static void checkpointing(str *s, const train_cost *c, const train_cost *kept)
{
    char saved[32], flops[32];
    cli_bytes_text(saved, (double)kept->total_bytes - (double)c->total_bytes);
    cli_count_text(flops, c->flops - kept->flops);
    genet__str_printf(s, "checkpointing        saves %s of memory for %s operations more a step (%.0f %%)\n", saved, flops,
                      100 * (c->flops / kept->flops - 1));
}

static void as_text(str *s, const train_cost *c, const train_cost *kept, const estimate *e)
{
    char weights[32], flops[32], total[32], held[32], workspace[32];
    cli_count_text(weights, (double)c->weights);
    cli_count_text(flops, c->flops);
    cli_bytes_text(total, (double)c->total_bytes);
    cli_bytes_text(held, (double)c->params_bytes);
    cli_bytes_text(workspace, (double)c->workspace_bytes);
    genet__str_printf(s, "parameters           %s (%lld)\noperations a step    %s\n", weights, (long long)c->weights, flops);
    genet__str_printf(s, "peak memory          %s (weights and optimiser %s, values of a step %s)\n", total, held,
                      workspace);
    if (kept) checkpointing(s, c, kept);
    genet__str_printf(s, "seconds a step       %.4g (estimate: ", seconds(e));
    assumptions(e, s);
    genet__str_add(s, ")\n");
    genet__str_printf(s, "kernels a step       %d\n", c->n_kernels);
}

/* The same step with all activations kept. */
static bool cost_kept(setup *s, train_cost *out, genet_err *err)
{
    s->train.checkpoint_activations = false;
    bool ok = s->task->cost(s, out, err);
    s->train.checkpoint_activations = true;
    return ok;
}

/* Compiles what training would run, and measures the machine. */
static int plan(const verb *v, cli_setup *c)
{
    genet_err err;
    train_cost cost, kept;
    estimate e;
    setup *s = &c->setup;
    s->log = &cli_log;
    if (!s->train.out) s->train.out = "-";      /* nothing is written */
    if (!genet__setup_check(s, &err) || !cli_setup_device(c, &err) || !s->task->cost(s, &cost, &err) ||
        (s->train.checkpoint_activations && !cost_kept(s, &kept, &err)) ||
        !estimate_time(&e, &cost.work, s->device, &err)) return cli_fail(v, &err);
    str text = {0};
    (c->own.json ? as_json : as_text)(&text, &cost, s->train.checkpoint_activations ? &kept : NULL, &e);
    int code = cli_print(v, genet__str(&text), text.n);
    genet__str_release(&text);
    return code;
}

static int run(const verb *v, int argc, char **argv)
{
    genet_err err;
    cli_setup c;
    int code = EXIT_DONE;
    if (!cli_setup_init(&c, v, argc, argv, &err)) code = cli_fail(v, &err);
    else if (!c.helped) code = plan(v, &c);
    cli_setup_release(&c);
    return code;
}

const verb cli_verb_plan = { "plan", "WHAT [options of train] [--json]",
                             "what a training would cost: size, work, memory, time", run };
