/* curve.c - the graph level: a network of our own learns sin(x).
 *
 * One training step is one graph: network, loss, gradients, Adam.  It is compiled, its
 * state gets memory, and it runs.  Prints the loss as it falls and a few values. */
#include <genet/genet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 64, WIDTH = 32, STEPS = 1000, MAX_STATE = 12 };

/* What outlives a run: the weights, then the moments of Adam. */
typedef struct network {
    genet_graph  *graph;
    genet_tensor *state[MAX_STATE];
    int           n, n_weight;
} network;

static void must(bool ok, const genet_err *err)
{
    if (!ok) fprintf(stderr, "curve: %s\n", err->text), exit(1);
}

static genet_tensor *state(network *net, const char *name, int64_t rows, int64_t columns)
{
    return net->state[net->n++] = genet_state(net->graph, name, GENET_F32, GENET_DIMS(rows, columns));
}

static genet_tensor *layer(network *net, const char *name, genet_tensor *x, int64_t in, int64_t out)
{
    genet_scope_push(net->graph, name);         /* "first.weight" */
    genet_tensor *weight = state(net, "weight", in, out), *bias = state(net, "bias", 1, out);
    genet_scope_pop(net->graph);
    return genet_add(genet_matmul(x, weight), bias);
}

/* Adam (Kingma & Ba 2015): each weight has two moments. */
static void learn(network *net, genet_tensor *loss, genet_tensor *step)
{
    genet_tensor *gradient[MAX_STATE], *rate = genet_scalar_like(loss, 0.01), *one = genet_scalar_like(loss, 1);
    net->n_weight = net->n;
    genet_grad(loss, net->state, net->n_weight, gradient);
    for (int i = 0; i < net->n_weight; i++) {
        genet_tensor *w = net->state[i];
        genet_scope_push(net->graph, genet_tensor_name(w));
        genet_tensor *m = state(net, "m", genet_tensor_dim(w, 0), genet_tensor_dim(w, 1));
        genet_tensor *v = state(net, "v", genet_tensor_dim(w, 0), genet_tensor_dim(w, 1));
        genet_update_adam(w, gradient[i], m, v, NULL, rate, one, step, genet_all_finite(loss), 0.9, 0.999, 1e-8, 0, false);
        genet_scope_pop(net->graph);
    }
}

/* Memory for every state: weights begin uniform in [-0.5, 0.5), moments at 0. */
static void bind_states(const network *net, genet_plan *plan, genet_device *d, genet_err *err)
{
    for (int i = 0; i < net->n; i++) {
        float value[WIDTH] = {0};
        size_t n = (size_t)genet_tensor_numel(net->state[i]);
        for (size_t k = 0; k < n && i < net->n_weight; k++) value[k] = (float)(rand() / (RAND_MAX + 1.0) - 0.5);
        void *memory = genet_device_alloc(d, n * sizeof *value, err);
        must(memory && genet_plan_bind(plan, net->state[i], memory, err), err);
        genet_device_write(d, memory, value, n * sizeof *value);
    }
}

int main(void)
{
    genet_err err = { GENET_ERR_MEMORY, "out of memory" };
    float x[N], y[N], fit[N], loss;
    for (int i = 0; i < N; i++) y[i] = sinf(x[i] = -3.1416f + 6.2832f * (float)i / (N - 1));
    network net = { .graph = genet_graph_new() };
    genet_workspace *space = NULL;
    genet_tensor *in = genet_input(net.graph, "x", GENET_F32, GENET_DIMS(N, 1));
    genet_tensor *target = genet_input(net.graph, "target", GENET_F32, GENET_DIMS(N, 1));
    genet_tensor *step = genet_input(net.graph, "step", GENET_F32, 0, NULL);
    genet_tensor *out = layer(&net, "last", genet_tanh(layer(&net, "first", in, 1, WIDTH)), WIDTH, 1);
    genet_tensor *sum = genet_mse(out, target), *mean = genet_div(sum, genet_side(sum, 1));
    learn(&net, mean, step);

    genet_device *d = genet_device_cpu(1, &err);
    genet_plan *plan = d ? genet_compile(net.graph, (genet_tensor *[]){ mean, out }, 2, d, NULL, &err) : NULL;
    must(plan && (space = genet_workspace_new(d)) && genet_plan_attach(plan, space, &err), &err);
    bind_states(&net, plan, d, &err);
    for (int i = 1; i <= STEPS; i++) {
        float now = (float)i;
        must(genet_plan_write(plan, in, x, sizeof x, &err) && genet_plan_write(plan, target, y, sizeof y, &err) &&
             genet_plan_write(plan, step, &now, sizeof now, &err) && genet_plan_run(plan, &err) &&
             genet_plan_read(plan, mean, &loss, sizeof loss, &err), &err);
        if (i == 1 || i % 200 == 0) printf("step %4d  loss %.6f\n", i, (double)loss);
    }
    must(genet_plan_read(plan, out, fit, sizeof fit, &err), &err);
    for (int i = 0; i < N; i += 9) printf("x %6.3f  sin %6.3f  fitted %6.3f\n", (double)x[i], (double)y[i], (double)fit[i]);
    genet_plan_free(plan);
    genet_workspace_free(space);
    genet_graph_free(net.graph);
    genet_device_free(d);       /* the states' memory ends with the program */
    return 0;
}
