/* t5.c - T5 (Raffel et al. 2019, arXiv 1910.10683): an encoder-decoder of pre-norm blocks with RMS norms, no biases, scores
 * that are not scaled, and instead of positions a bias on the scores by how far the key is away: near ones exactly,
 * far ones in buckets that grow by a factor. T5 1.1 and Flan-T5 have a gated MLP (feed_forward_proj "gated-gelu") and
 * a head of their own. Names and layouts are Hugging Face's (modeling_t5.py). */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "model/parts.h"

typedef struct t5 {
    const char *feed_forward_proj;
    int64_t vocab_size, d_model, d_kv, d_ff, num_layers, num_decoder_layers, num_heads;
    int64_t relative_attention_num_buckets, relative_attention_max_distance;
    int64_t decoder_start_token_id, pad_token_id, eos_token_id, bos_token_id, n_positions;
    double  dropout_rate, layer_norm_epsilon, initializer_factor;
    bool    tie_word_embeddings, scale_decoder_outputs;
} t5;

#define AT(member) offsetof(t5, member)
#define PROJECTIONS "relu|gated-gelu|gated-silu|gated-relu|gelu|gelu_new|silu"
static const field config_fields[] = {
    { "vocab_size", FIELD_INT, AT(vocab_size), "32128", 1, 1 << 24, NULL, 0, "number of different tokens" },
    { "d_model", FIELD_INT, AT(d_model), "512", 1, 1 << 20, NULL, 0, "width" },
    { "d_kv", FIELD_INT, AT(d_kv), "64", 1, 1 << 16, NULL, 0, "width of a head" },
    { "d_ff", FIELD_INT, AT(d_ff), "2048", 1, 1 << 22, NULL, 0, "width inside the MLP" },
    { "num_layers", FIELD_INT, AT(num_layers), "6", 1, 1024, NULL, 0, "blocks of the encoder" },
    { "num_decoder_layers", FIELD_INT, AT(num_decoder_layers), "-1", -1, 1024, NULL, 0, "blocks of the decoder; null: as many" },
    { "num_heads", FIELD_INT, AT(num_heads), "8", 1, 1 << 16, NULL, 0, "attention heads" },
    { "relative_attention_num_buckets", FIELD_INT, AT(relative_attention_num_buckets), "32", 4, 1 << 12, NULL, 0,
      "kinds of distances between tokens" },
    { "relative_attention_max_distance", FIELD_INT, AT(relative_attention_max_distance), "128", 2, 1 << 20, NULL, 0,
      "farther ones are all alike" },
    { "dropout_rate", FIELD_DOUBLE, AT(dropout_rate), "0.1", 0, 0.999, NULL, 0, "everywhere" },
    { "layer_norm_epsilon", FIELD_DOUBLE, AT(layer_norm_epsilon), "1e-6", 0, 1, NULL, 0, "added to the mean square" },
    { "initializer_factor", FIELD_DOUBLE, AT(initializer_factor), "1", 0, 100, NULL, 0, "scale of new weights" },
    { "feed_forward_proj", FIELD_CHOICE, AT(feed_forward_proj), "relu", 0, 0, PROJECTIONS, 0, "the MLP" },
    { "tie_word_embeddings", FIELD_BOOL, AT(tie_word_embeddings), "true", 0, 0, NULL, 0,
      "the output uses the table of words" },
    { "scale_decoder_outputs", FIELD_BOOL, AT(scale_decoder_outputs), "true", 0, 0, NULL, 0, "answers / sqrt(d_model)" },
    { "decoder_start_token_id", FIELD_INT, AT(decoder_start_token_id), "0", -1, 1 << 24, NULL, 0, "what the decoder begins with" },
    { "pad_token_id", FIELD_INT, AT(pad_token_id), "0", -1, 1 << 24, NULL, 0, "fills short texts; null: none" },
    { "eos_token_id", FIELD_INT, AT(eos_token_id), "1", -1, 1 << 24, NULL, 0, "ends a text; null: none" },
    { "bos_token_id", FIELD_INT, AT(bos_token_id), "-1", -1, 1 << 24, NULL, 0, "begins a text; null: none" },
    { "n_positions", FIELD_INT, AT(n_positions), "512", 1, 1 << 20, NULL, 0, "longest text, in tokens; the model itself has no end" },
};
static const fields config_table = { "config.json of t5", config_fields, sizeof config_fields / sizeof *config_fields };

static const field option_fields[] = {
    { "n_layer", FIELD_INT, AT(num_layers), "3", 1, 1024, NULL, 0, "blocks of the encoder, and of the decoder" },
    { "n_head", FIELD_INT, AT(num_heads), "4", 1, 1 << 16, NULL, 0, "attention heads" },
    { "n_embd", FIELD_INT, AT(d_model), "256", 1, 1 << 20, NULL, 0, "width" },
    { "d_kv", FIELD_INT, AT(d_kv), "-1", -1, 1 << 16, NULL, 0, "width of a head; -1: n-embd / n-head" },
    { "d_ff", FIELD_INT, AT(d_ff), "-1", -1, 1 << 22, NULL, 0, "width inside the MLP; -1: 4 n-embd, gated 8/3" },
    { "block_size", FIELD_INT, AT(n_positions), "64", 1, 1 << 20, NULL, 0, "longest source and longest answer, in tokens" },
    { "feed_forward_proj", FIELD_CHOICE, AT(feed_forward_proj), "gated-gelu", 0, 0, PROJECTIONS, 0, "the MLP" },
    { "dropout", FIELD_DOUBLE, AT(dropout_rate), "0.1", 0, 0.999, NULL, 0, "everywhere" },
};
static const fields option_table = { "model t5", option_fields, sizeof option_fields / sizeof *option_fields };

static bool gated(const t5 *c) { return !strncmp(c->feed_forward_proj, "gated-", 6); }

/* "gated-gelu" means GELU by tanh, as T5 1.1 was trained; the rest is what it says. */
static activation_fn *activation_of(const t5 *c)
{
    if (!strcmp(c->feed_forward_proj, "gated-gelu")) return genet__activation("gelu_new");
    return genet__activation(gated(c) ? c->feed_forward_proj + 6 : c->feed_forward_proj);
}

static int64_t decoder_layers(const t5 *c) { return c->num_decoder_layers > 0 ? c->num_decoder_layers : c->num_layers; }

static void prepare(void *config)
{
    t5 *c = config;
    if (c->d_kv < 0) c->d_kv = c->d_model / c->num_heads > 0 ? c->d_model / c->num_heads : 1;
    if (c->d_ff < 0) c->d_ff = gated(c) ? (c->d_model * 8 / 3 + 31) / 32 * 32 : 4 * c->d_model;
    c->num_decoder_layers = c->num_layers;
}

static bool check(const void *config, genet_err *err)
{
    const t5 *c = config;
    return c->relative_attention_max_distance > c->relative_attention_num_buckets / 2 ||
           genet__err_set(err, GENET_ERR_USAGE, "relative_attention_max_distance %lld must be above half of "
                          "relative_attention_num_buckets %lld", (long long)c->relative_attention_max_distance,
                          (long long)c->relative_attention_num_buckets);
}

/* Answers by the table of words are scaled, unless a release says otherwise. */
static bool settle(json_t *config, const char *where, genet_err *err)
{
    (void)where;
    if (json_object_get(config, "scale_decoder_outputs")) return true;
    bool own = json_is_false(json_object_get(config, "tie_word_embeddings"));
    return !json_object_set_new(config, "scale_decoder_outputs", json_boolean(!own)) || genet__err_memory(err);
}

/* --- distances ------------------------------------------------------------------------------- */

/* The bucket of a key that stands `away` tokens after the query (before it: negative), in float as the original has it. */
static int64_t bucket_of(const t5 *c, int64_t away, bool both_sides)
{
    int64_t n = c->relative_attention_num_buckets, base = 0;
    if (both_sides) {
        n /= 2;
        base = away > 0 ? n : 0;
    } else if (away > 0) away = 0;
    int64_t far = away < 0 ? -away : away, exact = n / 2;
    if (far < exact) return base + far;
    float of = logf((float)far / (float)exact) / (float)log((double)c->relative_attention_max_distance / (double)exact);
    int64_t grown = exact + (int64_t)(of * (float)(n - exact));
    return base + (grown < n - 1 ? grown : n - 1);
}

/* Buckets of the distances -L .. L as a constant, i32 (2L + 1). */
static tensor *buckets(net *n, const t5 *c, const char *name, bool both_sides)
{
    int64_t L = c->relative_attention_max_distance, count = 2 * L + 1;
    double *at = genet__alloc_array((size_t)count, sizeof *at);
    if (!at) {
        genet__fail(&n->graph->poison, "out of memory for the table of distances");
        return &n->graph->poison;
    }
    for (int64_t i = 0; i < count; i++) at[i] = (double)bucket_of(c, i - L, both_sides);
    tensor *t = genet__params_fixed(n->params, n->graph, name, GENET_DIMS(count), at);
    genet__free(at);
    return genet_cast(t, GENET_I32);
}

/* What is added to the scores of T queries, the first at `position` (B; NULL: 0), and S keys: (1 or B, H, T, S). Beyond L
 * all distances are alike. */
static tensor *position_bias(net *n, const t5 *c, const char *name, bool both_sides, int64_t T, int64_t S, tensor *position)
{
    int64_t L = c->relative_attention_max_distance, H = c->num_heads;
    net_push(n, "relative_attention_bias", -1);
    tensor *w = genet__net_weight(n, "weight", GENET_DIMS(c->relative_attention_num_buckets, H),
                                  INIT_OF_NORMAL(c->initializer_factor / sqrt((double)c->d_model)));
    net_pop(n);
    tensor *bucket = buckets(n, c, name, both_sides);
    if (bucket->poisoned || w->poisoned) return &n->graph->poison;
    tensor *by_distance = genet_gather(w, bucket);                                              /* (2L + 1, H) */
    tensor *key = genet_iota(n->graph, GENET_F32, S, (double)L, 1);
    tensor *query = genet_reshape(genet_iota(n->graph, GENET_F32, T, 0, 1), GENET_DIMS(1, T, 1));
    if (position) query = genet_add(query, genet_reshape(genet_cast(position, GENET_F32), GENET_DIMS(-1, 1, 1)));
    tensor *at = genet_sub(key, query);                                                         /* (1 or B, T, S) */
    at = genet_min(genet_max(at, genet_scalar_like(at, 0)), genet_scalar_like(at, (double)(2 * L)));
    tensor *bias = genet_gather(by_distance, genet_cast(at, GENET_I32));                        /* (., T, S, H) */
    return genet_permute(bias, 4, (const int64_t[]){ 0, 3, 1, 2 });
}

/* --- layers ------------------------------------------------------------------------------------ */

typedef struct side {
    const t5 *c;
    const model_inputs *in;
    tensor *memory, *bias;      /* NULL: the caches of it; of the scores of self-attention */
    bool    causal;
} side;

/* Standard deviations: modeling_t5.py's _init_weights, from Mesh TensorFlow. */
static tensor *project(net *n, const t5 *c, const char *name, tensor *x, int64_t out, double std)
{
    linear_options o = { .weight = INIT_OF_NORMAL(c->initializer_factor * std), .no_bias = true };
    return linear(n, name, x, out, &o);
}

static tensor *heads_of(net *n, const side *s, const char *name, tensor *x, double std)
{
    const t5 *c = s->c;
    if (x->poisoned) return x;
    tensor *y = project(n, c, name, x, c->num_heads * c->d_kv, std);
    if (!s->in->cache_length && !s->in->memory_length) y = genet__net_operand(n, y);            /* caches are f32 */
    return genet_reshape(y, GENET_DIMS(dim_of(x, 0), dim_of(x, 1), c->num_heads, c->d_kv));
}

static tensor *queries(net *n, const side *s, tensor *x) { return heads_of(n, s, "q", x, 1 / sqrt((double)(s->c->d_model * s->c->d_kv))); }
static tensor *keys(net *n, const side *s, tensor *x)    { return heads_of(n, s, "k", x, 1 / sqrt((double)s->c->d_model)); }
static tensor *values(net *n, const side *s, tensor *x)  { return heads_of(n, s, "v", x, 1 / sqrt((double)s->c->d_model)); }

static tensor *attend(net *n, const side *s, tensor *q, tensor *k, tensor *v, genet_attention_options *o)
{
    const t5 *c = s->c;
    o->scale = 1;
    o->stream = genet__net_stream(n);
    if (n->training && n->rng && c->dropout_rate > 0) o->rng = n->rng, o->dropout = c->dropout_rate;
    if (q->poisoned) return q;
    int64_t inner = c->num_heads * c->d_kv;
    tensor *y = genet_reshape(genet_attention(q, k, v, o), GENET_DIMS(dim_of(q, 0), dim_of(q, 1), inner));
    return project(n, c, "o", y, c->d_model, 1 / sqrt((double)inner));
}

static tensor *self_attention(net *n, const side *s, tensor *x)
{
    tensor *q = queries(n, s, x), *k = keys(n, s, x), *v = values(n, s, x);
    genet_attention_options o = { .causal = s->causal, .k_lengths = s->causal ? NULL : s->in->source_lengths };
    if (s->causal) {
        k = genet__remembered(n, "cache_k", k, s->in);
        v = genet__remembered(n, "cache_v", v, s->in);
        o.position = s->in->position, o.rows = s->in->rows;
    }
    if (q->poisoned || s->bias->poisoned) return &n->graph->poison;
    o.bias = s->bias;
    return attend(n, s, q, k, v, &o);
}

static tensor *cross_attention(net *n, const side *s, tensor *x)
{
    const t5 *c = s->c;
    tensor *q = queries(n, s, x);
    tensor *k = s->memory ? keys(n, s, s->memory) : genet__memorised(n, "memory_k", c->num_heads, c->d_kv, s->in);
    tensor *v = s->memory ? values(n, s, s->memory) : genet__memorised(n, "memory_v", c->num_heads, c->d_kv, s->in);
    genet_attention_options o = { .k_lengths = s->in->source_lengths, .rows = s->memory ? NULL : s->in->memory_of };
    return attend(n, s, q, k, v, &o);
}

static tensor *mlp(net *n, const side *s, tensor *x)
{
    const t5 *c = s->c;
    double in = 1 / sqrt((double)c->d_model), out = 1 / sqrt((double)c->d_ff);
    tensor *h = activation_of(c)(genet__net_kept(n, project(n, c, gated(c) ? "wi_0" : "wi", x, c->d_ff, in)));
    if (gated(c)) h = genet_mul(h, genet__net_kept(n, project(n, c, "wi_1", x, c->d_ff, in)));
    return project(n, c, "wo", dropout(n, h, c->dropout_rate), c->d_model, out);
}

/* x + what(norm(x)), in the scope layer.I. */
typedef tensor *sublayer(net *n, const side *s, tensor *x);
static tensor *residual(net *n, const side *s, int64_t i, const char *scope, sublayer *what, tensor *x)
{
    net_push(n, "layer", i);
    tensor *y = rms_norm(n, "layer_norm", x, s->c->layer_norm_epsilon);
    net_push(n, scope, -1);
    y = what(n, s, y);
    net_pop(n);
    net_pop(n);
    return genet_add(x, dropout(n, y, s->c->dropout_rate));
}

static tensor *block(net *n, const side *s, tensor *x, int64_t i)
{
    int64_t at = 0;
    net_push(n, "block", i);
    x = residual(n, s, at++, "SelfAttention", self_attention, x);
    if (s->causal) x = residual(n, s, at++, "EncDecAttention", cross_attention, x);
    x = residual(n, s, at, "DenseReluDense", mlp, x);
    net_pop(n);
    return n->checkpoint ? genet_checkpoint(x) : x;
}

/* The bias stands in the first block and is everybody's. */
static void open_bias(net *n, side *s, int64_t T, int64_t S, tensor *position)
{
    net_push(n, "block", 0);
    net_push(n, "layer", 0);
    net_push(n, "SelfAttention", -1);
    s->bias = position_bias(n, s->c, "buckets", !s->causal, T, S, position);
    for (int i = 0; i < 3; i++) net_pop(n);
}

static tensor *words_of(net *n, const t5 *c)
{
    return embedding(n, "shared", c->vocab_size, c->d_model, INIT_OF_NORMAL(c->initializer_factor));
}

/* --- the model ------------------------------------------------------------------------------------ */

static tensor *read_source(net *n, const t5 *c, const model_inputs *in)
{
    side s = { .c = c, .in = in };
    int64_t S = dim_of(in->source, 1);
    tensor *x = dropout(n, genet__embed(words_of(n, c), in->source), c->dropout_rate);
    net_push(n, "encoder", -1);
    open_bias(n, &s, S, S, NULL);
    for (int64_t i = 0; i < c->num_layers && !x->poisoned; i++) x = block(n, &s, x, i);
    x = dropout(n, rms_norm(n, "final_layer_norm", x, c->layer_norm_epsilon), c->dropout_rate);
    net_pop(n);
    return x;
}

static tensor *encode(net *n, const void *config, const model_inputs *in)
{
    const t5 *c = config;
    side s = { .c = c, .in = in };
    tensor *x = read_source(n, c, in);
    for (int64_t i = 0; in->memory_length && i < decoder_layers(c); i++) {
        net_push(n, "decoder", -1);
        net_push(n, "block", i);
        net_push(n, "layer", 1);
        net_push(n, "EncDecAttention", -1);
        genet__memorise(n, "memory_k", keys(n, &s, x), in);
        genet__memorise(n, "memory_v", values(n, &s, x), in);
        for (int k = 0; k < 4; k++) net_pop(n);
    }
    return x;
}

static tensor *forward(net *n, const void *config, const model_inputs *in)
{
    const t5 *c = config;
    int64_t T = dim_of(in->x, 1);
    tensor *memory = in->memory || in->memory_length ? in->memory : read_source(n, c, in), *words = words_of(n, c);
    side s = { .c = c, .in = in, .memory = memory, .causal = true };
    tensor *x = dropout(n, genet__embed(words, in->x), c->dropout_rate);
    net_push(n, "decoder", -1);
    open_bias(n, &s, T, in->cache_length ? in->cache_length : T, in->position);
    for (int64_t i = 0; i < decoder_layers(c) && !x->poisoned; i++) x = block(n, &s, x, i);
    x = dropout(n, rms_norm(n, "final_layer_norm", genet__selected(x, in), c->layer_norm_epsilon), c->dropout_rate);
    net_pop(n);
    if (c->scale_decoder_outputs) x = genet_mul(x, genet_scalar_like(x, 1 / sqrt((double)c->d_model)));
    return genet__logits(n, x, c->tie_word_embeddings ? words : embedding(n, "lm_head", c->vocab_size, c->d_model,
                                                                          INIT_OF_NORMAL(c->initializer_factor)));
}

/* Copies of the table of words in files that carry them along. */
static const char *const ignored[] = { "encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                                       "EncDecAttention.relative_attention_bias.weight", NULL };
static const char *const aliases[][2] = {
    { "hidden_size", "d_model" }, { "num_attention_heads", "num_heads" }, { "num_hidden_layers", "num_layers" },
    { NULL, NULL },
};
static const model_head heads[] = { { "T5ForConditionalGeneration", HEAD_LM, forward, encode }, { .architecture = NULL } };

const family genet__family_t5 = {
    .name = "t5", .heads = heads, .task = "translate", .help = "T5: reads a text, writes another",
    .config_bytes = sizeof(t5), .config = &config_table, .options = &option_table, .settle = settle, .prepare = prepare,
    .check = check, .vocab_size = AT(vocab_size), .context = AT(n_positions), .prefix = "", .ignored = ignored,
    .tied = { "lm_head.weight", "shared.weight" }, .alias = aliases,
};
