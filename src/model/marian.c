/* marian.c - the Transformer (Vaswani et al. 2017, arXiv 1706.03762): an encoder reads a source, and a decoder that
 * attends to it writes,
 *
 *     encoder  x = norm(x + self(x));  x = norm(x + W2 f(W1 x))
 *     decoder  x = norm(x + causal self(x));  x = norm(x + cross(x, memory));  x = norm(x + W2 f(W1 x))
 *
 * positions sinusoidal, one table of words for both and the output; normalize_before norms what goes into a sublayer
 * instead (Xiong et al. 2020, arXiv 2002.04745), with one norm more at each end. Names and layouts are those of
 * Hugging Face's Marian (modeling_marian.py). */
#include <math.h>
#include <stddef.h>
#include "base/alloc.h"
#include "base/err.h"
#include "model/parts.h"

typedef struct marian {
    const char *activation_function;
    int64_t vocab_size, decoder_vocab_size, max_position_embeddings, d_model, encoder_layers, encoder_ffn_dim;
    int64_t encoder_attention_heads, decoder_layers, decoder_ffn_dim, decoder_attention_heads;
    int64_t decoder_start_token_id, pad_token_id, bos_token_id, eos_token_id;
    double  dropout, attention_dropout, activation_dropout, init_std;
    bool    scale_embedding, share_encoder_decoder_embeddings, tie_word_embeddings, normalize_before;
} marian;

#define AT(member) offsetof(marian, member)
static const field config_fields[] = {
    { "vocab_size", FIELD_INT, AT(vocab_size), "58101", 1, 1 << 24, NULL, 0, "number of different tokens" },
    { "decoder_vocab_size", FIELD_INT, AT(decoder_vocab_size), "-1", -1, 1 << 24, NULL, 0, "of the decoder; null: vocab_size" },
    { "max_position_embeddings", FIELD_INT, AT(max_position_embeddings), "1024", 1, 1 << 20, NULL, 0, "longest text, in tokens" },
    { "d_model", FIELD_INT, AT(d_model), "1024", 2, 1 << 20, NULL, 0, "width" },
    { "encoder_layers", FIELD_INT, AT(encoder_layers), "12", 1, 1024, NULL, 0, "blocks of the encoder" },
    { "encoder_ffn_dim", FIELD_INT, AT(encoder_ffn_dim), "4096", 1, 1 << 22, NULL, 0, "width inside its MLP" },
    { "encoder_attention_heads", FIELD_INT, AT(encoder_attention_heads), "16", 1, 1 << 16, NULL, 0, "its heads" },
    { "decoder_layers", FIELD_INT, AT(decoder_layers), "12", 1, 1024, NULL, 0, "blocks of the decoder" },
    { "decoder_ffn_dim", FIELD_INT, AT(decoder_ffn_dim), "4096", 1, 1 << 22, NULL, 0, "width inside its MLP" },
    { "decoder_attention_heads", FIELD_INT, AT(decoder_attention_heads), "16", 1, 1 << 16, NULL, 0, "its heads" },
    { "activation_function", FIELD_CHOICE, AT(activation_function), "gelu", 0, 0, ACTIVATION_CHOICES, 0, "in the MLPs" },
    { "dropout", FIELD_DOUBLE, AT(dropout), "0.1", 0, 0.999, NULL, 0, "of embeddings and before each residual sum" },
    { "attention_dropout", FIELD_DOUBLE, AT(attention_dropout), "0", 0, 0.999, NULL, 0, "of attention weights" },
    { "activation_dropout", FIELD_DOUBLE, AT(activation_dropout), "0", 0, 0.999, NULL, 0, "inside the MLPs" },
    { "init_std", FIELD_DOUBLE, AT(init_std), "0.02", 0, 10, NULL, 0, "standard deviation of new weights" },
    { "scale_embedding", FIELD_BOOL, AT(scale_embedding), "false", 0, 0, NULL, 0, "words times sqrt(d_model)" },
    { "share_encoder_decoder_embeddings", FIELD_BOOL, AT(share_encoder_decoder_embeddings), "true", 0, 0, NULL, 0,
      "one table of words for both" },
    { "tie_word_embeddings", FIELD_BOOL, AT(tie_word_embeddings), "true", 0, 0, NULL, 0, "the output uses the decoder's table" },
    { "normalize_before", FIELD_BOOL, AT(normalize_before), "false", 0, 0, NULL, 0, "norms before the sublayers, not after" },
    { "decoder_start_token_id", FIELD_INT, AT(decoder_start_token_id), "58100", -1, 1 << 24, NULL, 0, "what the decoder begins with" },
    { "pad_token_id", FIELD_INT, AT(pad_token_id), "58100", -1, 1 << 24, NULL, 0, "fills short texts; null: none" },
    { "bos_token_id", FIELD_INT, AT(bos_token_id), "-1", -1, 1 << 24, NULL, 0, "begins a text; null: none" },
    { "eos_token_id", FIELD_INT, AT(eos_token_id), "0", -1, 1 << 24, NULL, 0, "ends a text; null: none" },
};
static const fields config_table = { "config.json of marian", config_fields, sizeof config_fields / sizeof *config_fields };

static const field option_fields[] = {
    { "n_layer", FIELD_INT, AT(encoder_layers), "3", 1, 1024, NULL, 0, "blocks of the encoder, and of the decoder" },
    { "n_head", FIELD_INT, AT(encoder_attention_heads), "4", 1, 1 << 16, NULL, 0, "attention heads" },
    { "n_embd", FIELD_INT, AT(d_model), "256", 2, 1 << 20, NULL, 0, "width; a multiple of n-head" },
    { "intermediate_size", FIELD_INT, AT(encoder_ffn_dim), "-1", -1, 1 << 22, NULL, 0, "width inside the MLPs; -1: 4 n-embd" },
    { "block_size", FIELD_INT, AT(max_position_embeddings), "64", 1, 1 << 20, NULL, 0, "longest source and longest answer, in tokens" },
    { "dropout", FIELD_DOUBLE, AT(dropout), "0.1", 0, 0.999, NULL, 0, "of embeddings and residuals" },
    { "activation_function", FIELD_CHOICE, AT(activation_function), "relu", 0, 0, ACTIVATION_CHOICES, 0, "in the MLPs" },
    { "scale_embedding", FIELD_BOOL, AT(scale_embedding), "true", 0, 0, NULL, 0, "words times sqrt(n-embd)" },
    { "normalize_before", FIELD_BOOL, AT(normalize_before), "false", 0, 0, NULL, 0,
      "norms before the sublayers (transformers reads only those after)" },
};
static const fields option_table = { "model marian", option_fields, sizeof option_fields / sizeof *option_fields };

static void prepare(void *config)
{
    marian *c = config;
    if (c->encoder_ffn_dim < 0) c->encoder_ffn_dim = 4 * c->d_model;
    c->decoder_layers = c->encoder_layers;
    c->decoder_attention_heads = c->encoder_attention_heads;
    c->decoder_ffn_dim = c->encoder_ffn_dim;
    c->init_std = 1 / sqrt((double)c->d_model);         /* words times sqrt(d_model) begin with variance 1 */
}

static int64_t decoder_words(const marian *c) { return c->decoder_vocab_size > 0 ? c->decoder_vocab_size : c->vocab_size; }

static bool check(const void *config, genet_err *err)
{
    const marian *c = config;
    int64_t heads[] = { c->encoder_attention_heads, c->decoder_attention_heads };
    for (int i = 0; i < 2; i++)
        if (c->d_model % heads[i])
            return genet__err_set(err, GENET_ERR_USAGE, "d_model %lld is not divisible by %lld heads; %lld would be", (long long)c->d_model,
                                  (long long)heads[i], (long long)((c->d_model / heads[i] + 1) * heads[i]));
    return !c->share_encoder_decoder_embeddings || decoder_words(c) == c->vocab_size ||
           genet__err_set(err, GENET_ERR_FORMAT, "decoder_vocab_size %lld is not vocab_size %lld, and the table of words is shared",
                          (long long)c->decoder_vocab_size, (long long)c->vocab_size);
}

/* --- layers ------------------------------------------------------------------------------ */

/* One side: the encoder or the decoder. */
typedef struct side {
    const marian *c;
    const model_inputs *in;
    int64_t H, inner;
    tensor *memory;             /* what cross-attention reads; NULL: the caches of it */
} side;

static tensor *project(net *n, const marian *c, const char *name, tensor *x, int64_t out)
{
    linear_options o = { .weight = INIT_OF_NORMAL(c->init_std), .bias = INIT_OF_ZEROS };
    return linear(n, name, x, out, &o);
}

/* (B, T, H, D) */
static tensor *heads_of(net *n, const side *s, const char *name, tensor *x)
{
    if (x->poisoned) return x;
    tensor *y = project(n, s->c, name, x, s->c->d_model);
    if (!s->in->cache_length && !s->in->memory_length) y = genet__net_operand(n, y);        /* caches are f32 */
    return genet_reshape(y, GENET_DIMS(dim_of(x, 0), dim_of(x, 1), s->H, s->c->d_model / s->H));
}

static tensor *attend(net *n, const side *s, tensor *q, tensor *k, tensor *v, genet_attention_options *o)
{
    o->stream = genet__net_stream(n);
    if (n->training && n->rng && s->c->attention_dropout > 0) o->rng = n->rng, o->dropout = s->c->attention_dropout;
    if (q->poisoned) return q;
    tensor *y = genet_reshape(genet_attention(q, k, v, o), GENET_DIMS(dim_of(q, 0), dim_of(q, 1), s->c->d_model));
    return project(n, s->c, "out_proj", y, s->c->d_model);
}

static tensor *self_attention(net *n, const side *s, tensor *x, bool causal)
{
    const model_inputs *in = s->in;
    tensor *q = heads_of(n, s, "q_proj", x), *k = heads_of(n, s, "k_proj", x), *v = heads_of(n, s, "v_proj", x);
    genet_attention_options o = { .causal = causal, .k_lengths = causal ? NULL : in->source_lengths };
    if (causal) {
        k = genet__remembered(n, "cache_k", k, in);
        v = genet__remembered(n, "cache_v", v, in);
        o.position = in->position, o.rows = in->rows;
    }
    return attend(n, s, q, k, v, &o);
}

static tensor *cross_attention(net *n, const side *s, tensor *x)
{
    int64_t D = s->c->d_model / s->H;
    tensor *q = heads_of(n, s, "q_proj", x);
    tensor *k = s->memory ? heads_of(n, s, "k_proj", s->memory) : genet__memorised(n, "memory_k", s->H, D, s->in);
    tensor *v = s->memory ? heads_of(n, s, "v_proj", s->memory) : genet__memorised(n, "memory_v", s->H, D, s->in);
    genet_attention_options o = { .k_lengths = s->in->source_lengths, .rows = s->memory ? NULL : s->in->memory_of };
    return attend(n, s, q, k, v, &o);
}

static tensor *mlp(net *n, const side *s, tensor *x)
{
    tensor *h = genet__activation(s->c->activation_function)(genet__net_kept(n, project(n, s->c, "fc1", x, s->inner)));
    return project(n, s->c, "fc2", dropout(n, h, s->c->activation_dropout), s->c->d_model);
}

static const double eps = 1e-5;             /* torch.nn.LayerNorm's */

/* x + what(x), the norm before or after. */
typedef tensor *sublayer(net *n, const side *s, tensor *x);
static tensor *residual(net *n, const side *s, const char *scope, const char *norm, sublayer *what, tensor *x)
{
    tensor *from = s->c->normalize_before ? layer_norm(n, norm, x, eps) : x;
    if (scope) net_push(n, scope, -1);
    tensor *y = what(n, s, from);
    if (scope) net_pop(n);
    x = genet_add(x, dropout(n, y, s->c->dropout));
    return s->c->normalize_before ? x : layer_norm(n, norm, x, eps);
}

static tensor *bidirectional(net *n, const side *s, tensor *x) { return self_attention(n, s, x, false); }
static tensor *causal(net *n, const side *s, tensor *x) { return self_attention(n, s, x, true); }

static tensor *encoder_block(net *n, const side *s, tensor *x, int64_t i)
{
    net_push(n, "layers", i);
    x = residual(n, s, "self_attn", "self_attn_layer_norm", bidirectional, x);
    x = residual(n, s, NULL, "final_layer_norm", mlp, x);
    net_pop(n);
    return n->checkpoint ? genet_checkpoint(x) : x;
}

static tensor *decoder_block(net *n, const side *s, tensor *x, int64_t i)
{
    net_push(n, "layers", i);
    x = residual(n, s, "self_attn", "self_attn_layer_norm", causal, x);
    x = residual(n, s, "encoder_attn", "encoder_attn_layer_norm", cross_attention, x);
    x = residual(n, s, NULL, "final_layer_norm", mlp, x);
    net_pop(n);
    return n->checkpoint ? genet_checkpoint(x) : x;
}

/* --- words and positions ---------------------------------------------------------------- */

/* Sines in the first half of the row, cosines in the second, of position / 10000^(2i/d). */
static tensor *sinusoids(net *n, const marian *c)
{
    int64_t P = c->max_position_embeddings, d = c->d_model, sines = (d + 1) / 2;
    if (genet__params_find(n->params, "model.positions"))
        return genet__params_fixed(n->params, n->graph, "positions", GENET_DIMS(P, d), NULL);
    double *at = genet__alloc_array((size_t)(P * d), sizeof *at);
    if (!at) {
        genet__fail(&n->graph->poison, "out of memory for the table of positions");
        return &n->graph->poison;
    }
    for (int64_t p = 0; p < P; p++)
        for (int64_t j = 0; j < d; j++) {
            int64_t pair = j < sines ? j : j - sines;
            double angle = (double)p / pow(10000, 2.0 * (double)pair / (double)d);
            at[p * d + j] = j < sines ? sin(angle) : cos(angle);
        }
    tensor *t = genet__params_fixed(n->params, n->graph, "positions", GENET_DIMS(P, d), at);
    genet__free(at);
    return t;
}

/* Rows of the positions for the columns of x, which begin at `position` (B) or 0. */
static tensor *positions_of(tensor *table, tensor *x, tensor *position)
{
    int64_t T = dim_of(x, 1);
    if (!position || table->poisoned) return table->poisoned ? table : genet_slice(table, 0, 0, T, 1);
    tensor *column = genet_iota(table->graph, GENET_I32, T, 0, 1);
    return genet_gather(table, genet_add(genet_reshape(position, GENET_DIMS(dim_of(x, 0), 1)), column));
}

/* The table of words of the encoder or the decoder; inside "model". */
static tensor *words_of(net *n, const marian *c, const char *side_name, int64_t rows)
{
    init how = INIT_OF_NORMAL(c->init_std);
    if (c->share_encoder_decoder_embeddings) return embedding(n, "shared", c->vocab_size, c->d_model, how);
    net_push(n, side_name, -1);
    tensor *w = embedding(n, "embed_tokens", rows, c->d_model, how);
    net_pop(n);
    return w;
}

static tensor *embedded(net *n, const marian *c, tensor *words, tensor *ids, tensor *position)
{
    tensor *x = genet__embed(words, ids);
    if (c->scale_embedding) x = genet_mul(x, genet_scalar_like(x, sqrt((double)c->d_model)));
    return dropout(n, genet_add(x, positions_of(sinusoids(n, c), ids, position)), c->dropout);
}

/* --- the model ------------------------------------------------------------------------------ */

static tensor *last_norm(net *n, const marian *c, tensor *x)
{
    return c->normalize_before ? layer_norm(n, "layer_norm", x, eps) : x;
}

/* Inside "model": (B, S, C) */
static tensor *read_source(net *n, const marian *c, const model_inputs *in)
{
    side s = { .c = c, .in = in, .H = c->encoder_attention_heads, .inner = c->encoder_ffn_dim };
    tensor *x = embedded(n, c, words_of(n, c, "encoder", c->vocab_size), in->source, NULL);
    net_push(n, "encoder", -1);
    for (int64_t i = 0; i < c->encoder_layers && !x->poisoned; i++) x = encoder_block(n, &s, x, i);
    x = last_norm(n, c, x);
    net_pop(n);
    return x;
}

static tensor *encode(net *n, const void *config, const model_inputs *in)
{
    const marian *c = config;
    side s = { .c = c, .in = in, .H = c->decoder_attention_heads };
    net_push(n, "model", -1);
    tensor *x = read_source(n, c, in);
    for (int64_t i = 0; in->memory_length && i < c->decoder_layers; i++) {
        net_push(n, "decoder", -1);
        net_push(n, "layers", i);
        net_push(n, "encoder_attn", -1);
        genet__memorise(n, "memory_k", heads_of(n, &s, "k_proj", x), in);
        genet__memorise(n, "memory_v", heads_of(n, &s, "v_proj", x), in);
        for (int k = 0; k < 3; k++) net_pop(n);
    }
    net_pop(n);
    return x;
}

static tensor *forward(net *n, const void *config, const model_inputs *in)
{
    const marian *c = config;
    int64_t V = decoder_words(c);
    net_push(n, "model", -1);
    tensor *memory = in->memory || in->memory_length ? in->memory : read_source(n, c, in);
    side s = { .c = c, .in = in, .H = c->decoder_attention_heads, .inner = c->decoder_ffn_dim, .memory = memory };
    tensor *words = words_of(n, c, "decoder", V), *x = embedded(n, c, words, in->x, in->position);
    net_push(n, "decoder", -1);
    for (int64_t i = 0; i < c->decoder_layers && !x->poisoned; i++) x = decoder_block(n, &s, x, i);
    x = last_norm(n, c, genet__selected(x, in));
    net_pop(n);
    net_pop(n);
    tensor *head = c->tie_word_embeddings ? words : embedding(n, "lm_head", V, c->d_model, INIT_OF_NORMAL(c->init_std));
    tensor *bias = genet__net_state(n, "final_logits_bias", PARAM_BUFFER, GENET_DIMS(1, V));
    return genet_tensor_set_name(genet_add(genet__logits(n, x, head), bias), "logits");
}

/* Copies of the shared table, and the table of positions, in files that carry them along. */
static const char *const ignored[] = { "embed_positions.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", NULL };
static const char *const aliases[][2] = {
    { "num_attention_heads", "encoder_attention_heads" }, { "hidden_size", "d_model" }, { "num_hidden_layers", "encoder_layers" },
    { NULL, NULL },
};
static const model_head heads[] = { { "MarianMTModel", HEAD_LM, forward, encode }, { .architecture = NULL } };

const family genet__family_marian = {
    .name = "marian", .heads = heads, .task = "translate", .help = "the Transformer of 2017: reads a text, writes another",
    .config_bytes = sizeof(marian), .config = &config_table, .options = &option_table, .prepare = prepare, .check = check,
    .vocab_size = AT(vocab_size), .context = AT(max_position_embeddings), .prefix = "model.", .ignored = ignored,
    .tied = { "lm_head.weight", "model.shared.weight" }, .alias = aliases,
};
