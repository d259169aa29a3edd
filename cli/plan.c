/* plan.c - `genet plan WHAT --options`: what a training would cost, before it
 * takes anything. */
#include <stddef.h>
#include <stdio.h>
#include "base/err.h"
#include "base/str.h"
#include "cli.h"
#include "setup.h"

/* Kernels take turns: arithmetic at the peak, then memory at its speed. */
static double seconds(const train_cost *c, const machine *m) { return c->flops / m->flops + c->bytes / m->bytes_per_s; }

/* Plain numbers: bytes, operations, seconds.  kept: the cost without checkpointing, where that is asked for. */
static void as_json(str *s, const train_cost *c, const train_cost *kept, const machine *m)
{
    char step[32], flops[32];
    genet__format_double(step, seconds(c, m));
    genet__format_double(flops, c->flops);
    genet__str_printf(s, "{\"parameters\": %lld, \"operations_per_step\": %s, \"peak_memory_bytes\": %zu, "
                      "\"params_bytes\": %zu, \"workspace_bytes\": %zu, \"kernels\": %d, \"seconds_per_step\": %s",
                      (long long)c->weights, flops, c->total_bytes, c->params_bytes, c->workspace_bytes, c->n_kernels, step);
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

static void as_text(str *s, const train_cost *c, const train_cost *kept, const machine *m)
{
    char weights[32], flops[32], total[32], held[32], workspace[32], peak[32], speed[32];
    cli_count_text(weights, (double)c->weights);
    cli_count_text(flops, c->flops);
    cli_bytes_text(total, (double)c->total_bytes);
    cli_bytes_text(held, (double)c->params_bytes);
    cli_bytes_text(workspace, (double)c->workspace_bytes);
    cli_count_text(peak, m->flops);
    cli_bytes_text(speed, m->bytes_per_s);
    genet__str_printf(s, "parameters           %s (%lld)\noperations a step    %s\n", weights, (long long)c->weights, flops);
    genet__str_printf(s, "peak memory          %s (weights and optimiser %s, values of a step %s)\n", total, held,
                      workspace);
    if (kept) checkpointing(s, c, kept);
    genet__str_printf(s, "seconds a step       %.4g (estimate: this machine at %sflop/s and %s/s)\n", seconds(c, m),
                      peak, speed);
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
    machine m;
    setup *s = &c->setup;
    s->log = &cli_log;
    if (!s->train.out) s->train.out = "-";      /* nothing is written */
    if (!genet__setup_check(s, &err) || !cli_setup_device(c, &err) || !s->task->cost(s, &cost, &err) ||
        (s->train.checkpoint_activations && !cost_kept(s, &kept, &err)) ||
        !cli_measure(&m, s->device, &err)) return cli_fail(v, &err);
    str text = {0};
    (c->own.json ? as_json : as_text)(&text, &cost, s->train.checkpoint_activations ? &kept : NULL, &m);
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
