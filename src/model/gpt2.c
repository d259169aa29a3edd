/* gpt2.c - GPT-2 (Radford et al. 2019): a decoder of pre-norm blocks
 *
 *     x = x + attention(ln_1(x))        h = wte[ids] + wpe[position]
 *     x = x + mlp(ln_2(x))              logits = ln_f(x) wte^T
 *
 * with Hugging Face's names and layouts (modeling_gpt2.py) and nanoGPT's
 * initial values: normal with 0.02, the two projections that end in the
 * residual stream divided by sqrt(2 n_layer). */
#include <math.h>
#include <stddef.h>
#include "base/err.h"
#include "model/parts.h"

typedef struct gpt2 {
    const char *activation_function;
    int64_t vocab_size, n_positions, n_embd, n_layer, n_head, n_inner, bos_token_id, eos_token_id, pad_token_id;
    double  resid_pdrop, embd_pdrop, attn_pdrop, layer_norm_epsilon, initializer_range, classifier_dropout;
    bool    tie_word_embeddings, scale_attn_weights, scale_attn_by_inverse_layer_idx, reorder_and_upcast_attn;
    bool    add_cross_attention;
} gpt2;

#define AT(member) offsetof(gpt2, member)
static const field config_fields[] = {
    { "vocab_size",         FIELD_INT,    AT(vocab_size),         "50257", 1, 1 << 24, NULL, 0,
      "number of different tokens" },
    { "n_positions",        FIELD_INT,    AT(n_positions),        "1024", 1, 1 << 24, NULL, 0, "longest text, in tokens" },
    { "n_embd",             FIELD_INT,    AT(n_embd),             "768", 1, 1 << 20, NULL, 0, "width" },
    { "n_layer",            FIELD_INT,    AT(n_layer),            "12", 1, 1024, NULL, 0, "number of blocks" },
    { "n_head",             FIELD_INT,    AT(n_head),             "12", 1, 1 << 16, NULL, 0, "attention heads" },
    { "n_inner",            FIELD_INT,    AT(n_inner),            "-1", -1, 1 << 22, NULL, 0,
      "width inside the MLP; null: 4 n_embd" },
    { "activation_function", FIELD_CHOICE, AT(activation_function), "gelu_new", 0, 0, ACTIVATION_CHOICES, 0, "in the MLP" },
    { "resid_pdrop",        FIELD_DOUBLE, AT(resid_pdrop),        "0.1", 0, 0.999, NULL, 0,
      "dropout before each residual sum" },
    { "embd_pdrop",         FIELD_DOUBLE, AT(embd_pdrop),         "0.1", 0, 0.999, NULL, 0, "dropout of the embeddings" },
    { "attn_pdrop",         FIELD_DOUBLE, AT(attn_pdrop),         "0.1", 0, 0.999, NULL, 0, "dropout of attention weights" },
    { "layer_norm_epsilon", FIELD_DOUBLE, AT(layer_norm_epsilon), "1e-5", 0, 1, NULL, 0, "added to the variance" },
    { "initializer_range",  FIELD_DOUBLE, AT(initializer_range),  "0.02", 0, 10, NULL, 0,
      "standard deviation of new weights" },
    { "tie_word_embeddings", FIELD_BOOL,  AT(tie_word_embeddings), "true", 0, 0, NULL, 0,
      "the output uses the table of the input" },
    { "scale_attn_weights", FIELD_BOOL,   AT(scale_attn_weights), "true", 0, 0, NULL, 0, "scores / sqrt(head size)" },
    { "scale_attn_by_inverse_layer_idx", FIELD_BOOL, AT(scale_attn_by_inverse_layer_idx), "false", 0, 0, NULL, 0,
      "and / (layer + 1)" },
    { "reorder_and_upcast_attn", FIELD_BOOL, AT(reorder_and_upcast_attn), "false", 0, 0, NULL, 0, "means nothing in f32" },
    { "add_cross_attention", FIELD_BOOL,  AT(add_cross_attention), "false", 0, 0, NULL, 0, "not supported" },
    { "bos_token_id",       FIELD_INT,    AT(bos_token_id),       "-1", -1, 1 << 24, NULL, 0, "begins a text; null: none" },
    { "eos_token_id",       FIELD_INT,    AT(eos_token_id),       "-1", -1, 1 << 24, NULL, 0, "ends a text; null: none" },
    { "classifier_dropout", FIELD_DOUBLE, AT(classifier_dropout), "0.1", 0, 0.999, NULL, 0, "before tokens are classified" },
    { "pad_token_id",       FIELD_INT,    AT(pad_token_id),       "-1", -1, 1 << 24, NULL, 0, "fills rows up; null: none" },
};
static const fields config_table = { "config.json of gpt2", config_fields, sizeof config_fields / sizeof *config_fields };

static const field option_fields[] = {
    { "n_layer",    FIELD_INT,    AT(n_layer),     "4",   1, 1024, NULL, 0, "number of blocks" },
    { "n_head",     FIELD_INT,    AT(n_head),      "4",   1, 1 << 16, NULL, 0, "attention heads" },
    { "n_embd",     FIELD_INT,    AT(n_embd),      "128", 1, 1 << 20, NULL, 0, "width; a multiple of n-head" },
    { "block_size", FIELD_INT,    AT(n_positions), "64",  1, 1 << 24, NULL, 0, "tokens that the model sees at once" },
    { "dropout",    FIELD_DOUBLE, AT(resid_pdrop), "0",   0, 0.999, NULL, 0, "of embeddings, attention and residuals" },
};
static const fields option_table = { "model gpt2", option_fields, sizeof option_fields / sizeof *option_fields };

static void prepare(void *config)
{
    gpt2 *c = config;
    c->embd_pdrop = c->attn_pdrop = c->resid_pdrop;
}

static bool check(const void *config, genet_err *err)
{
    const gpt2 *c = config;
    if (c->n_embd % c->n_head)
        return genet__err_set(err, GENET_ERR_USAGE, "n_embd %lld is not divisible by n_head %lld; %lld would be",
                              (long long)c->n_embd, (long long)c->n_head,
                              (long long)((c->n_embd / c->n_head + 1) * c->n_head));
    return !c->add_cross_attention ||
           genet__err_set(err, GENET_ERR_FORMAT, "add_cross_attention is true; genet has no cross-attention");
}

/* --- the forward pass ------------------------------------------------------------- */

/* x (..., C) -> (..., out), stored (in, out) as in the original. */
static tensor *project(net *n, const char *name, tensor *x, int64_t out, double std)
{
    linear_options o = { .weight = INIT_OF_NORMAL(std), .bias = INIT_OF_ZEROS, .in_out = true };
    return linear(n, name, x, out, &o);
}

static double residual_std(const gpt2 *c) { return c->initializer_range / sqrt(2.0 * (double)c->n_layer); }

/* What scores are multiplied by in block `layer`; the division by layer + 1 is
 * Mistral's (modeling_gpt2.py: scale_attn_by_inverse_layer_idx). */
static double score_scale(const gpt2 *c, int64_t layer)
{
    double scale = c->scale_attn_weights ? 1 / sqrt((double)(c->n_embd / c->n_head)) : 1;
    return c->scale_attn_by_inverse_layer_idx ? scale / (double)(layer + 1) : scale;
}

static tensor *attention(net *n, const gpt2 *c, tensor *x, const model_inputs *in, int64_t layer)
{
    int64_t B = dim_of(x, 0), T = dim_of(x, 1), C = c->n_embd, H = c->n_head, D = C / H;
    tensor *qkv = project(n, "c_attn", x, 3 * C, c->initializer_range);             /* (B, T, 3C) */
    if (!in->cache_length) qkv = genet__net_operand(n, qkv);                        /* caches are f32 */
    tensor *heads = genet_reshape(qkv, GENET_DIMS(B, T, 3 * H, D));
    tensor *q = genet_slice(heads, 2, 0, H, 1);                                     /* (B, T, H, D) */
    tensor *k = genet__remembered(n, "cache_k", genet_slice(heads, 2, H, H, 1), in);       /* (B, S, H, D) */
    tensor *v = genet__remembered(n, "cache_v", genet_slice(heads, 2, 2 * H, H, 1), in);
    int stream = genet__net_stream(n);
    bool drop = n->training && n->rng && c->attn_pdrop > 0;
    genet_attention_options o = { .position = in->position, .rows = in->rows, .causal = true, .rng = drop ? n->rng : NULL,
                                  .scale = score_scale(c, layer), .dropout = drop ? c->attn_pdrop : 0, .stream = stream };
    tensor *y = genet_reshape(genet_attention(q, k, v, &o), GENET_DIMS(B, T, C));
    return dropout(n, project(n, "c_proj", y, C, residual_std(c)), c->resid_pdrop);
}

static tensor *mlp(net *n, const gpt2 *c, tensor *x)
{
    int64_t inner = c->n_inner > 0 ? c->n_inner : 4 * c->n_embd;
    tensor *h = project(n, "c_fc", x, inner, c->initializer_range);                 /* (B, T, inner) */
    h = genet__activation(c->activation_function)(genet__net_kept(n, h));
    return dropout(n, project(n, "c_proj", h, c->n_embd, residual_std(c)), c->resid_pdrop);
}

static tensor *block(net *n, const gpt2 *c, tensor *x, const model_inputs *in, int64_t layer)
{
    net_push(n, "h", layer);
    tensor *a = layer_norm(n, "ln_1", x, c->layer_norm_epsilon);
    net_push(n, "attn", -1);
    x = genet_add(x, attention(n, c, a, in, layer));
    net_pop(n);
    tensor *m = layer_norm(n, "ln_2", x, c->layer_norm_epsilon);
    net_push(n, "mlp", -1);
    x = genet_add(x, mlp(n, c, m));
    net_pop(n);
    net_pop(n);
    return n->checkpoint ? genet_checkpoint(x) : x;
}

/* Rows of wpe for the columns of x: (T, C), or (B, T, C) when each row has its
 * own position. */
static tensor *positions(net *n, tensor *wpe, const model_inputs *in)
{
    int64_t B = dim_of(in->x, 0), T = dim_of(in->x, 1);
    if (!in->position) return genet_slice(wpe, 0, 0, T, 1);
    tensor *column = genet_iota(n->graph, GENET_I32, T, 0, 1);
    return genet_gather(wpe, genet_add(genet_reshape(in->position, GENET_DIMS(B, 1)), column));
}

/* -> (B, T, C), or (B, 1, C) with select; *wte: the table (V, C). */
static tensor *body(net *n, const gpt2 *c, const model_inputs *in, tensor **wte)
{
    init how = INIT_OF_NORMAL(c->initializer_range);
    net_push(n, "transformer", -1);
    *wte = embedding(n, "wte", c->vocab_size, c->n_embd, how);
    net_push(n, "wpe", -1);
    tensor *wpe = genet__net_weight(n, "weight", GENET_DIMS(c->n_positions, c->n_embd), how);  /* sums read it: f32 */
    net_pop(n);
    tensor *x = genet_add(genet__embed(*wte, in->x), positions(n, wpe, in));
    x = dropout(n, x, c->embd_pdrop);
    for (int64_t i = 0; i < c->n_layer; i++) x = block(n, c, x, in, i);
    x = layer_norm(n, "ln_f", genet__selected(x, in), c->layer_norm_epsilon);
    net_pop(n);
    return x;
}

/* --- heads ---------------------------------------------------------------------------- */

static tensor *forward(net *n, const void *config, const model_inputs *in)
{
    const gpt2 *c = config;
    tensor *wte, *x = body(n, c, in, &wte);
    return genet__logits(n, x, c->tie_word_embeddings ? wte : embedding(n, "lm_head", c->vocab_size, c->n_embd,
                                                                        INIT_OF_NORMAL(c->initializer_range)));
}

static tensor *hidden(net *n, const void *config, const model_inputs *in)
{
    tensor *wte;
    return body(n, config, in, &wte);
}

static tensor *sequence(net *n, const void *config, const model_inputs *in)
{
    linear_options o = { .weight = INIT_OF_NORMAL(((const gpt2 *)config)->initializer_range), .no_bias = true };
    return linear(n, "score", genet__last_tokens(n, hidden(n, config, in), in), in->n_labels, &o);
}

static tensor *tokens(net *n, const void *config, const model_inputs *in)
{
    const gpt2 *c = config;
    linear_options o = { .weight = INIT_OF_NORMAL(c->initializer_range), .bias = INIT_OF_ZEROS };
    return linear(n, "classifier", dropout(n, hidden(n, c, in), c->classifier_dropout), in->n_labels, &o);
}

/* The causal masks that older files carry along. */
static const char *const ignored[] = { ".attn.bias", ".attn.masked_bias", NULL };
/* transformers' attribute_map. */
static const char *const aliases[][2] = {
    { "hidden_size", "n_embd" }, { "max_position_embeddings", "n_positions" }, { "num_attention_heads", "n_head" },
    { "num_hidden_layers", "n_layer" }, { NULL, NULL },
};

static const model_head heads[] = {
    { "GPT2LMHeadModel", HEAD_LM, forward, NULL }, { "GPT2Model", HEAD_NONE, hidden, NULL },
    { "GPT2ForSequenceClassification", HEAD_SEQUENCE, sequence, NULL },
    { "GPT2ForTokenClassification", HEAD_TOKEN, tokens, NULL }, { .architecture = NULL }
};

const family genet__family_gpt2 = {
    .name = "gpt2", .heads = heads, .task = "lm", .help = "GPT-2, a transformer that writes",
    .config_bytes = sizeof(gpt2), .config = &config_table, .options = &option_table,
    .prepare = prepare, .check = check,
    .vocab_size = AT(vocab_size), .context = AT(n_positions), .prefix = "transformer.", .ignored = ignored,
    .tied = { "lm_head.weight", "transformer.wte.weight" }, .alias = aliases,
};
