/* llama.c - the Llama family (Touvron et al. 2023, arXiv 2302.13971): a decoder of pre-norm blocks
 *
 *     x = x + o_proj(attention(rope(q), rope(k), v))      of rms_norm(x)
 *     x = x + down_proj(silu(gate_proj(y)) * up_proj(y))  of y = rms_norm(x)
 *
 * with grouped queries (Ainslie et al. 2023, arXiv 2305.13245), and with what its relatives do otherwise: Mistral
 * looks back over a window, Qwen2 has biases in q, k and v, Qwen3 norms the heads of q and k. Names and layouts are
 * Hugging Face's (modeling_llama.py, _mistral, _qwen2, _qwen3); each model_type is a row. */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "base/err.h"
#include "model/parts.h"
#include "model/rope.h"

typedef struct llama {
    const char *hidden_act, *rope_scaling, *layer_types;
    int64_t vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim;
    int64_t max_position_embeddings, sliding_window, max_window_layers, bos_token_id, eos_token_id, pad_token_id;
    double  rms_norm_eps, rope_theta, initializer_range, attention_dropout, classifier_dropout;
    bool    tie_word_embeddings, attention_bias, mlp_bias, use_sliding_window;
} llama;

/* How a model_type differs in what no field says. */
typedef struct kin {
    bool qkv_bias;              /* always; else as attention_bias, o_proj too */
    bool head_norms;            /* q_norm and k_norm */
    enum { WINDOW_NEVER, WINDOW_ALWAYS, WINDOW_LATE } window;       /* LATE: in layers from max_window_layers on */
} kin;

#define AT(member) offsetof(llama, member)
/* In an order such that each row's fields are neighbours. */
static const field config_fields[] = {
    { "mlp_bias",               FIELD_BOOL,   AT(mlp_bias),               "false", 0, 0, NULL, 0, "biases in the MLP" },
    { "attention_bias",         FIELD_BOOL,   AT(attention_bias),         "false", 0, 0, NULL, 0,
      "biases of q, k, v and o" },
    { "vocab_size",             FIELD_INT,    AT(vocab_size),             "32000", 1, 1 << 24, NULL, 0,
      "number of different tokens" },
    { "hidden_size",            FIELD_INT,    AT(hidden_size),            "4096", 1, 1 << 20, NULL, 0, "width" },
    { "intermediate_size",      FIELD_INT,    AT(intermediate_size),      "11008", 1, 1 << 22, NULL, 0, "width inside the MLP" },
    { "num_hidden_layers",      FIELD_INT,    AT(num_hidden_layers),      "32", 1, 1024, NULL, 0, "number of blocks" },
    { "num_attention_heads",    FIELD_INT,    AT(num_attention_heads),    "32", 1, 1 << 16, NULL, 0, "heads of queries" },
    { "num_key_value_heads",    FIELD_INT,    AT(num_key_value_heads),    "-1", -1, 1 << 16, NULL, 0,
      "heads of keys and values; null: as many as of queries" },
    { "head_dim",               FIELD_INT,    AT(head_dim),               "-1", -1, 1 << 16, NULL, 0,
      "width of a head; null: hidden_size / num_attention_heads" },
    { "max_position_embeddings", FIELD_INT,   AT(max_position_embeddings), "2048", 1, 1 << 24, NULL, 0,
      "longest text, in tokens" },
    { "hidden_act",             FIELD_CHOICE, AT(hidden_act),             "silu", 0, 0, ACTIVATION_CHOICES, 0, "in the MLP" },
    { "rms_norm_eps",           FIELD_DOUBLE, AT(rms_norm_eps),           "1e-6", 0, 1, NULL, 0, "added to the mean square" },
    { "rope_theta",             FIELD_DOUBLE, AT(rope_theta),             "10000", 1e-3, 1e12, NULL, 0,
      "base of the frequencies of positions" },
    { "rope_scaling",           FIELD_JSON,   AT(rope_scaling),           NULL, 0, 0, NULL, 0, "how positions are stretched" },
    { "initializer_range",      FIELD_DOUBLE, AT(initializer_range),      "0.02", 0, 10, NULL, 0,
      "standard deviation of new weights" },
    { "attention_dropout",      FIELD_DOUBLE, AT(attention_dropout),      "0", 0, 0.999, NULL, 0,
      "dropout of attention weights" },
    { "tie_word_embeddings",    FIELD_BOOL,   AT(tie_word_embeddings),    "false", 0, 0, NULL, 0,
      "the output uses the table of the input" },
    { "bos_token_id",           FIELD_INT,    AT(bos_token_id),           "-1", -1, 1 << 24, NULL, 0, "begins a text; null: none" },
    { "eos_token_id",           FIELD_INT,    AT(eos_token_id),           "-1", -1, 1 << 24, NULL, 0, "ends a text; null: none" },
    { "classifier_dropout",     FIELD_DOUBLE, AT(classifier_dropout),     "0.1", 0, 0.999, NULL, 0, "before tokens are classified" },
    { "pad_token_id",           FIELD_INT,    AT(pad_token_id),           "-1", -1, 1 << 24, NULL, 0, "fills rows up; null: none" },
    { "sliding_window",         FIELD_INT,    AT(sliding_window),         "-1", -1, 1 << 24, NULL, 0,
      "how many tokens back attention looks; null: all" },
    { "use_sliding_window",     FIELD_BOOL,   AT(use_sliding_window),     "false", 0, 0, NULL, 0, "sliding_window counts" },
    { "max_window_layers",      FIELD_INT,    AT(max_window_layers),      "28", 0, 1 << 20, NULL, 0,
      "the first so many layers see everything" },
    { "layer_types",            FIELD_JSON,   AT(layer_types),            NULL, 0, 0, NULL, 0,
      "\"full_attention\" or \"sliding_attention\", for each layer" },
};
enum { BEGIN_LLAMA = 0, BEGIN_QWEN3 = 1, BEGIN = 2, END_LLAMA = 21, END_MISTRAL = 22, END = 25 };
_Static_assert(sizeof config_fields / sizeof *config_fields == END, "the parts of the table have moved");
#define PART(title, begin, end) { title, config_fields + (begin), (end) - (begin) }
static const fields llama_table = PART("config.json of llama", BEGIN_LLAMA, END_LLAMA);
static const fields mistral_table = PART("config.json of mistral", BEGIN, END_MISTRAL);
static const fields qwen2_table = PART("config.json of qwen2", BEGIN, END);
static const fields qwen3_table = PART("config.json of qwen3", BEGIN_QWEN3, END);

static const field option_fields[] = {
    { "n_layer",           FIELD_INT,    AT(num_hidden_layers),       "4",   1, 1024, NULL, 0, "number of blocks" },
    { "n_head",            FIELD_INT,    AT(num_attention_heads),     "4",   1, 1 << 16, NULL, 0, "heads of queries" },
    { "n_kv_head",         FIELD_INT,    AT(num_key_value_heads),     "-1",  -1, 1 << 16, NULL, 0,
      "heads of keys and values; -1: as many as of queries" },
    { "n_embd",            FIELD_INT,    AT(hidden_size),             "128", 1, 1 << 20, NULL, 0, "width" },
    { "intermediate_size", FIELD_INT,    AT(intermediate_size),       "-1",  -1, 1 << 22, NULL, 0,
      "width inside the MLP; -1: 8/3 of n-embd, a multiple of 32" },
    { "head_dim",          FIELD_INT,    AT(head_dim),                "-1",  -1, 1 << 16, NULL, 0,
      "width of a head; -1: n-embd / n-head" },
    { "block_size",        FIELD_INT,    AT(max_position_embeddings), "64",  1, 1 << 24, NULL, 0,
      "tokens that the model sees at once" },
    { "rope_theta",        FIELD_DOUBLE, AT(rope_theta),              "10000", 1e-3, 1e12, NULL, 0,
      "base of the frequencies of positions" },
    { "dropout",           FIELD_DOUBLE, AT(attention_dropout),       "0",   0, 0.999, NULL, 0, "of attention" },
    { "tie_word_embeddings", FIELD_BOOL, AT(tie_word_embeddings),     "true", 0, 0, NULL, 0,
      "the output uses the table of the input" },
};
static const fields option_table = { "model of the llama family", option_fields, sizeof option_fields / sizeof *option_fields };

static int64_t kv_heads(const llama *c) { return c->num_key_value_heads > 0 ? c->num_key_value_heads : c->num_attention_heads; }
static int64_t head_width(const llama *c) { return c->head_dim > 0 ? c->head_dim : c->hidden_size / c->num_attention_heads; }

/* 8/3 of the width make three matrices as large as two of four times the width (Shazeer 2020, arXiv 2002.05202). */
static void prepare(void *config)
{
    llama *c = config;
    if (c->intermediate_size < 0) c->intermediate_size = (c->hidden_size * 8 / 3 + 31) / 32 * 32;
    if (c->num_key_value_heads < 0) c->num_key_value_heads = c->num_attention_heads;
    if (c->head_dim < 0) c->head_dim = c->hidden_size / c->num_attention_heads;
}

/* --- checks -------------------------------------------------------------------------- */

static bool check_heads(const llama *c, genet_err *err)
{
    int64_t heads = c->num_attention_heads, kv = kv_heads(c);
    if (c->head_dim <= 0 && c->hidden_size % heads)
        return genet__err_set(err, GENET_ERR_USAGE, "hidden_size %lld is not divisible by num_attention_heads %lld; %lld would be",
                              (long long)c->hidden_size, (long long)heads, (long long)((c->hidden_size / heads + 1) * heads));
    return !(heads % kv) || genet__err_set(err, GENET_ERR_USAGE, "num_attention_heads %lld is no multiple of "
                                           "num_key_value_heads %lld", (long long)heads, (long long)kv);
}

/* The layers' names, once they are checked: sliding or not. */
static bool named_sliding(const llama *c, int64_t layer, bool *sliding, genet_err *err)
{
    json_t *list = genet__json_parse(c->layer_types, strlen(c->layer_types), "layer_types", err);
    if (!list) return false;
    const char *name = json_string_value(json_array_get(list, (size_t)layer));
    *sliding = name && !strcmp(name, "sliding_attention");
    bool known = *sliding || (name && !strcmp(name, "full_attention"));
    if (!known) genet__err_set(err, GENET_ERR_FORMAT, "layer_types[%lld] is %s; genet knows \"full_attention\" and "
                               "\"sliding_attention\"", (long long)layer, name ? SHOWN(name) : "not there");
    json_decref(list);
    return known;
}

static bool check(const void *config, genet_err *err)
{
    const llama *c = config;
    rope_scaling r;
    bool sliding;
    TRY(check_heads(c, err));
    for (int64_t i = 0; c->layer_types && i < c->num_hidden_layers; i++) TRY(named_sliding(c, i, &sliding, err));
    return genet__rope_read(&r, c->rope_scaling, c->rope_theta, head_width(c), c->max_position_embeddings, err);
}

/* Biases, and the ids that LlamaConfig and MistralConfig give where a file has none. */
static bool settle(json_t *config, const char *where, genet_err *err)
{
    bool ok = json_object_get(config, "bos_token_id") || !json_object_set_new(config, "bos_token_id", json_integer(1));
    ok = ok && (json_object_get(config, "eos_token_id") || !json_object_set_new(config, "eos_token_id", json_integer(2)));
    return ok ? genet__rope_settle(config, where, err) : genet__err_memory(err);
}

/* --- the forward pass ------------------------------------------------------------------ */

typedef struct pass {
    const llama *c;
    const kin   *kin;
    const model_inputs *in;
    rope_scaling rope;
    tensor      *freq;          /* NULL: rope_theta says all */
} pass;

static tensor *project(net *n, const pass *p, const char *name, tensor *x, int64_t out, bool bias)
{
    linear_options o = { .weight = INIT_OF_NORMAL(p->c->initializer_range), .bias = INIT_OF_ZEROS, .no_bias = !bias };
    return linear(n, name, x, out, &o);
}

/* longrope: which frequencies count follows from the latest position that is read. */
static tensor *by_length(net *n, const pass *p, tensor *shorter)
{
    int64_t T = dim_of(p->in->x, 1);
    tensor *longer = genet__params_fixed(n->params, n->graph, "rope.longer", GENET_DIMS(p->rope.n), p->rope.longer);
    if (!p->in->position) return T > p->rope.original ? longer : shorter;
    tensor *last = p->in->select ? p->in->select : genet_full(n->graph, GENET_I32, (double)(T - 1), GENET_DIMS(1));
    tensor *at = genet_cast(genet_add(p->in->position, last), GENET_F32);
    at = genet_max_over(at, genet_axes_all(at), false);
    return genet_where(genet_ge(at, genet_scalar_like(at, (double)p->rope.original)), longer, shorter);
}

static void open_rope(net *n, pass *p)
{
    const llama *c = p->c;
    if (!genet__rope_read(&p->rope, c->rope_scaling, c->rope_theta, head_width(c), c->max_position_embeddings, NULL)) {
        genet__fail(&n->graph->poison, "rope_scaling of the model's config is not one that genet knows");
        p->rope = (rope_scaling){ .plain = true, .attention = 1 };
    }
    if (p->rope.plain) return;
    p->freq = genet__params_fixed(n->params, n->graph, "rope.freq", GENET_DIMS(p->rope.n), p->rope.freq);
    if (p->rope.original) p->freq = by_length(n, p, p->freq);
}

/* x (B, T, heads D) -> heads (B, T, heads, D), normed where the kin does so, turned by their positions. */
static tensor *turned(net *n, const pass *p, const char *norm, tensor *x)
{
    int64_t D = head_width(p->c);
    if (x->poisoned) return x;
    x = genet_reshape(x, GENET_DIMS(dim_of(x, 0), dim_of(x, 1), -1, D));
    if (p->kin->head_norms) x = rms_norm(n, norm, x, p->c->rms_norm_eps);
    return p->freq ? genet_rope_by(x, p->in->position, p->freq, false) : genet_rope(x, p->in->position, p->c->rope_theta, false);
}

static int64_t window_of(const pass *p, int64_t layer)
{
    const llama *c = p->c;
    bool sliding = p->kin->window == WINDOW_ALWAYS || (p->kin->window == WINDOW_LATE && c->use_sliding_window &&
                                                       layer >= c->max_window_layers);
    if (p->kin->window == WINDOW_LATE && c->layer_types) named_sliding(c, layer, &sliding, NULL);
    if (p->kin->window == WINDOW_LATE && !c->use_sliding_window) sliding = false;
    return sliding && c->sliding_window > 0 ? c->sliding_window : 0;
}

/* Caches are f32; elsewhere products' operands are what n->dtype says. */
static tensor *operand_of(net *n, const pass *p, tensor *x) { return p->in->cache_length ? x : genet__net_operand(n, x); }

static tensor *attention(net *n, const pass *p, tensor *x, int64_t layer)
{
    const llama *c = p->c;
    int64_t H = c->num_attention_heads, D = head_width(c), kv = kv_heads(c), B = dim_of(x, 0), T = dim_of(x, 1);
    bool bias = p->kin->qkv_bias || c->attention_bias;
    tensor *q = turned(n, p, "q_norm", project(n, p, "q_proj", x, H * D, bias));                /* (B, T, H, D) */
    tensor *k = turned(n, p, "k_norm", project(n, p, "k_proj", x, kv * D, bias));               /* (B, T, kv, D) */
    tensor *v = genet_reshape(project(n, p, "v_proj", x, kv * D, bias), GENET_DIMS(B, T, kv, D));
    k = genet__remembered(n, "cache_k", operand_of(n, p, k), p->in);                            /* (B, S, kv, D) */
    v = genet__remembered(n, "cache_v", operand_of(n, p, v), p->in);
    int stream = genet__net_stream(n);
    bool drop = n->training && n->rng && c->attention_dropout > 0;
    genet_attention_options o = { .position = p->in->position, .rows = p->in->rows, .causal = true, .rng = drop ? n->rng : NULL,
                                  .scale = p->rope.attention * p->rope.attention / sqrt((double)D), .window = window_of(p, layer),
                                  .dropout = drop ? c->attention_dropout : 0, .stream = stream };
    tensor *y = genet_reshape(genet_attention(operand_of(n, p, q), k, v, &o), GENET_DIMS(B, T, H * D));
    return project(n, p, "o_proj", y, c->hidden_size, c->attention_bias);
}

static tensor *mlp(net *n, const pass *p, tensor *x)
{
    const llama *c = p->c;
    tensor *gate = project(n, p, "gate_proj", x, c->intermediate_size, c->mlp_bias);            /* (B, T, inner) */
    tensor *up = project(n, p, "up_proj", x, c->intermediate_size, c->mlp_bias);
    tensor *h = genet_mul(genet__activation(c->hidden_act)(genet__net_kept(n, gate)), genet__net_kept(n, up));
    return project(n, p, "down_proj", h, c->hidden_size, c->mlp_bias);
}

static tensor *block(net *n, const pass *p, tensor *x, int64_t layer)
{
    net_push(n, "layers", layer);
    tensor *a = rms_norm(n, "input_layernorm", x, p->c->rms_norm_eps);
    net_push(n, "self_attn", -1);
    x = a->poisoned ? a : genet_add(x, attention(n, p, a, layer));
    net_pop(n);
    tensor *m = rms_norm(n, "post_attention_layernorm", x, p->c->rms_norm_eps);
    net_push(n, "mlp", -1);
    x = genet_add(x, mlp(n, p, m));
    net_pop(n);
    net_pop(n);
    return n->checkpoint ? genet_checkpoint(x) : x;
}

/* -> (B, T, C), or (B, 1, C) with select; *table: (V, C). */
static tensor *body(net *n, const kin *k, const llama *c, const model_inputs *in, tensor **table)
{
    pass p = { .c = c, .kin = k, .in = in };
    net_push(n, "model", -1);
    open_rope(n, &p);
    *table = embedding(n, "embed_tokens", c->vocab_size, c->hidden_size, INIT_OF_NORMAL(c->initializer_range));
    tensor *x = genet__embed(*table, in->x);                                                    /* (B, T, C) */
    for (int64_t i = 0; i < c->num_hidden_layers; i++) x = block(n, &p, x, i);
    x = rms_norm(n, "norm", genet__selected(x, in), c->rms_norm_eps);
    net_pop(n);
    return x;
}

/* --- heads ------------------------------------------------------------------------------ */

static tensor *write_as(net *n, const kin *k, const llama *c, const model_inputs *in)
{
    tensor *table, *x = body(n, k, c, in, &table);
    return genet__logits(n, x, c->tie_word_embeddings ? table : embedding(n, "lm_head", c->vocab_size, c->hidden_size,
                                                                          INIT_OF_NORMAL(c->initializer_range)));
}

static tensor *hidden_as(net *n, const kin *k, const llama *c, const model_inputs *in)
{
    tensor *table;
    return body(n, k, c, in, &table);
}

static tensor *sequence_as(net *n, const kin *k, const llama *c, const model_inputs *in)
{
    linear_options o = { .weight = INIT_OF_NORMAL(c->initializer_range), .no_bias = true };
    return linear(n, "score", genet__last_tokens(n, hidden_as(n, k, c, in), in), in->n_labels, &o);
}

static tensor *tokens_as(net *n, const kin *k, const llama *c, const model_inputs *in)
{
    linear_options o = { .weight = INIT_OF_NORMAL(c->initializer_range), .bias = INIT_OF_ZEROS };
    return linear(n, "score", dropout(n, hidden_as(n, k, c, in), c->classifier_dropout), in->n_labels, &o);
}

/* --- the rows ---------------------------------------------------------------------------- */

/* Tables of angles that older files carry along. */
static const char *const ignored[] = { ".rotary_emb.inv_freq", NULL };

#define MISTRAL_DEFAULTS "intermediate_size", "14336", "num_key_value_heads", "8", "max_position_embeddings", "131072", \
                         "sliding_window", "4096"
#define QWEN_DEFAULTS "vocab_size", "151936", "intermediate_size", "22016", "num_key_value_heads", "32", \
                      "max_position_embeddings", "32768", "sliding_window", "4096"

#define HEAD(type, what)                                                                                                \
    static tensor *type##_##what(net *n, const void *config, const model_inputs *in)                                    \
    {                                                                                                                   \
        return what##_as(n, &type##_kin, config, in);                                                                   \
    }
#define ROW_OF(type, Class, words, settle_fn, ...)                                                                      \
    static const kin type##_kin = { __VA_ARGS__ };                                                                      \
    HEAD(type, write) HEAD(type, hidden) HEAD(type, sequence) HEAD(type, tokens)                                        \
    static const model_head type##_heads[] = {                                                                          \
        { Class "ForCausalLM", HEAD_LM, type##_write, NULL }, { Class "Model", HEAD_NONE, type##_hidden, NULL },        \
        { Class "ForSequenceClassification", HEAD_SEQUENCE, type##_sequence, NULL },                                    \
        { Class "ForTokenClassification", HEAD_TOKEN, type##_tokens, NULL }, { .architecture = NULL }                   \
    };                                                                                                                  \
    const family genet__family_##type = {                                                                               \
        .name = #type, .heads = type##_heads, .task = "lm", .help = words, .config_bytes = sizeof(llama),          \
        .config = &type##_table, .options = &option_table, .defaults = type##_defaults, .settle = settle_fn,            \
        .prepare = prepare, .check = check, .vocab_size = AT(vocab_size),                    \
        .context = AT(max_position_embeddings), .prefix = "model.", .ignored = ignored,                                 \
        .tied = { "lm_head.weight", "model.embed_tokens.weight" },                                                      \
    };

static const char *const llama_defaults[] = { NULL };
static const char *const mistral_defaults[] = { MISTRAL_DEFAULTS, NULL };
static const char *const qwen2_defaults[] = { QWEN_DEFAULTS, NULL };
static const char *const qwen3_defaults[] = { QWEN_DEFAULTS, "head_dim", "128", NULL };

ROW_OF(llama,   "Llama",   "Llama: rotary positions, RMSNorm, SwiGLU, grouped queries", settle, .window = WINDOW_NEVER)
ROW_OF(mistral, "Mistral", "Mistral: Llama that looks back over a window", settle, .window = WINDOW_ALWAYS)
ROW_OF(qwen2,   "Qwen2",   "Qwen2: Llama with biases of q, k and v", genet__rope_settle,
       .qkv_bias = true, .window = WINDOW_LATE)
ROW_OF(qwen3,   "Qwen3",   "Qwen3: Llama with norms of q's and k's heads", genet__rope_settle,
       .head_norms = true, .window = WINDOW_LATE)
