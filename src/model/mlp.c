/* mlp.c - a multilayer perceptron for tables: linear layers with an
 * activation between them; without hidden layers, plain linear regression. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "model/model.h"

typedef struct mlp {
    const char *activation, *init;
    int64_t  n_input, n_output;
    int_list hidden_layer_sizes;
    double   dropout;
} mlp;

#define AT(member) offsetof(mlp, member)
#define SHARED_FIELDS \
    { "hidden_layer_sizes", FIELD_INT_LIST, AT(hidden_layer_sizes), "64,64", 1, 1 << 24, NULL, 0, \
      "units of each hidden layer; empty: linear" }, \
    { "activation", FIELD_CHOICE, AT(activation), "relu", 0, 0, ACTIVATION_CHOICES, 0, "after each hidden layer" }, \
    { "init", FIELD_CHOICE, AT(init), "default", 0, 0, "default|zeros|normal|xavier|kaiming", 0, \
      "initial weights; default: PyTorch's, uniform within 1/sqrt(inputs)" }, \
    { "dropout", FIELD_DOUBLE, AT(dropout), "0", 0, 0.999, NULL, 0, "after each hidden layer" }
static const field config_fields[] = {
    { "n_input",  FIELD_INT, AT(n_input),  "1", 1, 1 << 24, NULL, 0, "numbers in a row" },
    { "n_output", FIELD_INT, AT(n_output), "1", 1, 1 << 24, NULL, 0, "1 for regression, or classes" },
    SHARED_FIELDS
};
static const field option_fields[] = { SHARED_FIELDS };
static const fields config_table = { "config.json of mlp", config_fields, sizeof config_fields / sizeof *config_fields };
static const fields option_table = { "model mlp", option_fields, sizeof option_fields / sizeof *option_fields };

static linear_options initial(const mlp *c)
{
    init weight = { .kind = !strcmp(c->init, "zeros") ? INIT_ZEROS : !strcmp(c->init, "normal") ? INIT_NORMAL
                          : !strcmp(c->init, "xavier") ? INIT_XAVIER : !strcmp(c->init, "kaiming") ? INIT_KAIMING
                          : INIT_DEFAULT };
    weight.a = weight.kind == INIT_NORMAL ? 0.02 : weight.kind == INIT_KAIMING ? 1.4142135623730951 : 1;
    return (linear_options){ .weight = weight, .bias = { .kind = weight.kind ? INIT_ZEROS : INIT_DEFAULT } };
}

/* x (B, n_input) -> (B, n_output) */
static tensor *forward(net *n, const void *config, const model_inputs *in)
{
    const mlp *c = config;
    linear_options o = initial(c);
    tensor *x = in->x;
    char name[40];
    for (int i = 0; i < c->hidden_layer_sizes.n; i++) {
        snprintf(name, sizeof name, "layers.%d", i);
        x = linear(n, name, x, c->hidden_layer_sizes.at[i], &o);
        x = genet__activation(c->activation)(genet__net_kept(n, x));
        x = dropout(n, x, c->dropout);
    }
    snprintf(name, sizeof name, "layers.%d", c->hidden_layer_sizes.n);
    return linear(n, name, x, c->n_output, &o);
}

static const model_head heads[] = { { "MLP", HEAD_TABLE, forward, NULL }, { .architecture = NULL } };

const family genet__family_mlp = {
    .name = "mlp", .heads = heads, .task = "mlp", .help = "multilayer perceptron, for tables",
    .config_bytes = sizeof(mlp), .config = &config_table, .options = &option_table,
    .n_input = AT(n_input), .n_output = AT(n_output),
};
