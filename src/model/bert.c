/* bert.c - BERT (Devlin et al. 2018, arXiv 1810.04805): an encoder of post-norm blocks that sees the whole text,
 *
 *     x = norm(x + attention(x));  x = norm(x + W2 gelu(W1 x))        first x = norm(word + position + segment)
 *
 * and its relatives RoBERTa (arXiv 1907.11692: positions begin at 2, another head) and DistilBERT (arXiv 1910.01108: no
 * segments, no pooler). Names and layouts are Hugging Face's; each model_type is a row, each class a head: the masked
 * word, hidden states, a class for the text or for every token, the first and last token of an answer. */
#include <stddef.h>
#include <string.h>
#include "base/err.h"
#include "model/parts.h"

typedef struct bert {
    const char *hidden_act, *position_embedding_type;
    int64_t vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, max_position_embeddings;
    int64_t type_vocab_size, pad_token_id, bos_token_id, eos_token_id;
    int64_t context;            /* positions that text can have */
    double  hidden_dropout_prob, attention_probs_dropout_prob, classifier_dropout, layer_norm_eps, initializer_range;
    double  qa_dropout, seq_classif_dropout;
    bool    tie_word_embeddings, sinusoidal_pos_embds, is_decoder, add_cross_attention;
} bert;

#define AT(member) offsetof(bert, member)
#define COMMON_FIELDS(positions, eps) \
    { "vocab_size", FIELD_INT, AT(vocab_size), "30522", 1, 1 << 24, NULL, 0, "number of different tokens" }, \
    { "max_position_embeddings", FIELD_INT, AT(max_position_embeddings), positions, 1, 1 << 24, NULL, 0, "longest text, in tokens" }, \
    { "initializer_range", FIELD_DOUBLE, AT(initializer_range), "0.02", 0, 10, NULL, 0, "standard deviation of new weights" }, \
    { "layer_norm_eps", FIELD_DOUBLE, AT(layer_norm_eps), eps, 0, 1, NULL, 0, "added to the variance" }, \
    { "tie_word_embeddings", FIELD_BOOL, AT(tie_word_embeddings), "true", 0, 0, NULL, 0, "the head uses the table of words" }, \
    { "pad_token_id", FIELD_INT, AT(pad_token_id), "0", -1, 1 << 24, NULL, 0, "fills short texts; null: none" }, \
    { "bos_token_id", FIELD_INT, AT(bos_token_id), "-1", -1, 1 << 24, NULL, 0, "begins a text; null: none" }, \
    { "eos_token_id", FIELD_INT, AT(eos_token_id), "-1", -1, 1 << 24, NULL, 0, "ends a text; null: none" }

static const field bert_fields[] = {
    COMMON_FIELDS("512", "1e-12"),
    { "hidden_size", FIELD_INT, AT(hidden_size), "768", 1, 1 << 20, NULL, 0, "width" },
    { "num_hidden_layers", FIELD_INT, AT(num_hidden_layers), "12", 1, 1024, NULL, 0, "number of blocks" },
    { "num_attention_heads", FIELD_INT, AT(num_attention_heads), "12", 1, 1 << 16, NULL, 0, "attention heads" },
    { "intermediate_size", FIELD_INT, AT(intermediate_size), "3072", 1, 1 << 22, NULL, 0, "width inside the MLP" },
    { "hidden_act", FIELD_CHOICE, AT(hidden_act), "gelu", 0, 0, ACTIVATION_CHOICES, 0, "in the MLP" },
    { "hidden_dropout_prob", FIELD_DOUBLE, AT(hidden_dropout_prob), "0.1", 0, 0.999, NULL, 0, "dropout before each residual sum" },
    { "attention_probs_dropout_prob", FIELD_DOUBLE, AT(attention_probs_dropout_prob), "0.1", 0, 0.999, NULL, 0,
      "dropout of attention weights" },
    { "classifier_dropout", FIELD_DOUBLE, AT(classifier_dropout), "-1", -1, 0.999, NULL, 0,
      "dropout before a classifier; null: hidden_dropout_prob" },
    { "type_vocab_size", FIELD_INT, AT(type_vocab_size), "2", 1, 1 << 16, NULL, 0, "kinds of segments" },
    { "position_embedding_type", FIELD_STRING, AT(position_embedding_type), "absolute", 0, 0, NULL, 0, "absolute" },
    { "is_decoder", FIELD_BOOL, AT(is_decoder), "false", 0, 0, NULL, 0, "not supported" },
    { "add_cross_attention", FIELD_BOOL, AT(add_cross_attention), "false", 0, 0, NULL, 0, "not supported" },
};
static const fields bert_table = { "config.json of bert", bert_fields, sizeof bert_fields / sizeof *bert_fields };
static const fields roberta_table = { "config.json of roberta", bert_fields, sizeof bert_fields / sizeof *bert_fields };

static const field distilbert_fields[] = {
    COMMON_FIELDS("512", "1e-12"),
    { "dim", FIELD_INT, AT(hidden_size), "768", 1, 1 << 20, NULL, 0, "width" },
    { "n_layers", FIELD_INT, AT(num_hidden_layers), "6", 1, 1024, NULL, 0, "number of blocks" },
    { "n_heads", FIELD_INT, AT(num_attention_heads), "12", 1, 1 << 16, NULL, 0, "attention heads" },
    { "hidden_dim", FIELD_INT, AT(intermediate_size), "3072", 1, 1 << 22, NULL, 0, "width inside the MLP" },
    { "activation", FIELD_CHOICE, AT(hidden_act), "gelu", 0, 0, ACTIVATION_CHOICES, 0, "in the MLP" },
    { "dropout", FIELD_DOUBLE, AT(hidden_dropout_prob), "0.1", 0, 0.999, NULL, 0, "of embeddings and of the MLP" },
    { "attention_dropout", FIELD_DOUBLE, AT(attention_probs_dropout_prob), "0.1", 0, 0.999, NULL, 0, "of attention weights" },
    { "qa_dropout", FIELD_DOUBLE, AT(qa_dropout), "0.1", 0, 0.999, NULL, 0, "before the span head" },
    { "seq_classif_dropout", FIELD_DOUBLE, AT(seq_classif_dropout), "0.2", 0, 0.999, NULL, 0, "before the classifier" },
    { "sinusoidal_pos_embds", FIELD_BOOL, AT(sinusoidal_pos_embds), "false", 0, 0, NULL, 0,
      "what positions began as; weights say what they are" },
};
static const fields distilbert_table = { "config.json of distilbert", distilbert_fields,
                                         sizeof distilbert_fields / sizeof *distilbert_fields };

static const field option_fields[] = {
    { "n_layer",           FIELD_INT,    AT(num_hidden_layers),   "4",   1, 1024, NULL, 0, "number of blocks" },
    { "n_head",            FIELD_INT,    AT(num_attention_heads), "4",   1, 1 << 16, NULL, 0, "attention heads" },
    { "n_embd",            FIELD_INT,    AT(hidden_size),         "128", 1, 1 << 20, NULL, 0, "width; a multiple of n-head" },
    { "intermediate_size", FIELD_INT,    AT(intermediate_size),   "-1",  -1, 1 << 22, NULL, 0, "width inside the MLP; -1: 4 n-embd" },
    { "block_size",        FIELD_INT,    AT(context),             "128", 1, 1 << 24, NULL, 0, "tokens that the model sees at once" },
    { "dropout",           FIELD_DOUBLE, AT(hidden_dropout_prob), "0.1", 0, 0.999, NULL, 0,
      "of embeddings, attention and residuals" },
};
static const fields option_table = { "model of the BERT family", option_fields, sizeof option_fields / sizeof *option_fields };

/* How a relative spells the parts of its names; a dot opens a scope. */
typedef struct spelling {
    const char *root, *layers, *q, *k, *v, *o, *attention_norm, *wide, *narrow, *norm;
    bool segments;
    int64_t first;              /* position of the first token */
} spelling;

#define BERT_BLOCK "encoder.layer", "attention.self.query", "attention.self.key", "attention.self.value", \
                   "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"
static const spelling bert_names = { "bert", BERT_BLOCK, true, 0 };
static const spelling roberta_names = { "roberta", BERT_BLOCK, true, 2 };
static const spelling distilbert_names = {
    "distilbert", "transformer.layer", "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
    "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm", false, 0
};

static void prepare(void *config)
{
    bert *c = config;
    if (c->intermediate_size < 0) c->intermediate_size = 4 * c->hidden_size;
    c->attention_probs_dropout_prob = c->hidden_dropout_prob;
    c->max_position_embeddings = c->context;
}
static void prepare_roberta(void *config)
{
    prepare(config);
    ((bert *)config)->max_position_embeddings += roberta_names.first;
}

static void complete(void *config) { ((bert *)config)->context = ((bert *)config)->max_position_embeddings; }
static void complete_roberta(void *config)
{
    complete(config);
    ((bert *)config)->context -= roberta_names.first;
}

static bool check(const void *config, genet_err *err)
{
    const bert *c = config;
    const char *kind = c->position_embedding_type;
    if (c->hidden_size % c->num_attention_heads)
        return genet__err_set(err, GENET_ERR_USAGE, "the width %lld is not divisible by the %lld heads; %lld would be",
                              (long long)c->hidden_size, (long long)c->num_attention_heads,
                              (long long)((c->hidden_size / c->num_attention_heads + 1) * c->num_attention_heads));
    if (c->context < 1) return genet__err_set(err, GENET_ERR_USAGE, "max_position_embeddings %lld leaves no position for text",
                                              (long long)c->max_position_embeddings);
    if (kind && strcmp(kind, "absolute"))
        return genet__err_set(err, GENET_ERR_FORMAT, "position_embedding_type is %.40s; genet knows absolute", kind);
    return !(c->is_decoder || c->add_cross_attention) ||
           genet__err_set(err, GENET_ERR_FORMAT, "is_decoder or add_cross_attention is true: genet runs BERT as an encoder");
}

/* --- the encoder ------------------------------------------------------------------------ */

typedef struct pass { const bert *c; const spelling *s; const model_inputs *in; } pass;

static linear_options linear_of(const pass *p)
{
    return (linear_options){ .weight = INIT_OF_NORMAL(p->c->initializer_range), .bias = INIT_OF_ZEROS };
}

static tensor *project(net *n, const pass *p, const char *name, tensor *x, int64_t out)
{
    linear_options o = linear_of(p);
    return linear(n, name, x, out, &o);
}

/* A table that sums read: (rows, C). */
static tensor *table(net *n, const pass *p, const char *name, int64_t rows)
{
    net_push(n, name, -1);
    tensor *w = genet__net_weight(n, "weight", GENET_DIMS(rows, p->c->hidden_size), INIT_OF_NORMAL(p->c->initializer_range));
    net_pop(n);
    return w;
}

/* *words: the table (V, C). -> (B, T, C) */
static tensor *embeddings(net *n, const pass *p, tensor **words)
{
    const bert *c = p->c;
    int64_t T = dim_of(p->in->x, 1);
    net_push(n, "embeddings", -1);
    *words = embedding(n, "word_embeddings", c->vocab_size, c->hidden_size, INIT_OF_NORMAL(c->initializer_range));
    tensor *at = table(n, p, "position_embeddings", c->max_position_embeddings);
    tensor *x = genet_add(genet__embed(*words, p->in->x), genet_slice(at, 0, p->s->first, T, 1));
    if (p->s->segments) {
        tensor *kinds = table(n, p, "token_type_embeddings", c->type_vocab_size);
        x = genet_add(x, p->in->segment ? genet_gather(kinds, p->in->segment) : genet_slice(kinds, 0, 0, 1, 1));
    }
    x = dropout(n, layer_norm(n, "LayerNorm", x, c->layer_norm_eps), c->hidden_dropout_prob);
    net_pop(n);
    return x;
}

/* q, k or v: (B, T, H, D) */
static tensor *heads_of(net *n, const pass *p, const char *name, tensor *x)
{
    int64_t H = p->c->num_attention_heads;
    if (x->poisoned) return x;
    tensor *y = genet__net_operand(n, project(n, p, name, x, p->c->hidden_size));
    return genet_reshape(y, GENET_DIMS(dim_of(x, 0), dim_of(x, 1), H, p->c->hidden_size / H));
}

static tensor *attention(net *n, const pass *p, tensor *x)
{
    const bert *c = p->c;
    tensor *q = heads_of(n, p, p->s->q, x), *k = heads_of(n, p, p->s->k, x), *v = heads_of(n, p, p->s->v, x);
    int stream = genet__net_stream(n);
    bool drop = n->training && n->rng && c->attention_probs_dropout_prob > 0;
    genet_attention_options o = { .k_lengths = p->in->lengths, .rng = drop ? n->rng : NULL, .stream = stream,
                                  .dropout = drop ? c->attention_probs_dropout_prob : 0 };
    tensor *y = genet_reshape(genet_attention(q, k, v, &o), GENET_DIMS(dim_of(x, 0), dim_of(x, 1), c->hidden_size));
    return dropout(n, project(n, p, p->s->o, y, c->hidden_size), p->s->segments ? c->hidden_dropout_prob : 0);
}

static tensor *block(net *n, const pass *p, tensor *x, int64_t layer)
{
    const bert *c = p->c;
    net_push(n, p->s->layers, layer);
    x = layer_norm(n, p->s->attention_norm, genet_add(x, attention(n, p, x)), c->layer_norm_eps);
    tensor *h = project(n, p, p->s->wide, x, c->intermediate_size);                     /* (B, T, inner) */
    h = project(n, p, p->s->narrow, genet__activation(c->hidden_act)(genet__net_kept(n, h)), c->hidden_size);
    x = layer_norm(n, p->s->norm, genet_add(x, dropout(n, h, c->hidden_dropout_prob)), c->layer_norm_eps);
    net_pop(n);
    return n->checkpoint ? genet_checkpoint(x) : x;
}

/* (B, T, C); *words as embeddings'. */
static tensor *encode(net *n, const pass *p, tensor **words)
{
    net_push(n, p->s->root, -1);
    tensor *x = embeddings(n, p, words);
    for (int64_t i = 0; i < p->c->num_hidden_layers && !x->poisoned; i++) x = block(n, p, x, i);
    net_pop(n);
    return x;
}

/* --- heads -------------------------------------------------------------------------------- */

/* Logits by the table of words, or by a weight of its own, plus a bias for each word. */
static tensor *word_logits(net *n, const pass *p, const char *decoder, const char *bias_name, tensor *x, tensor *words)
{
    const bert *c = p->c;
    tensor *w = c->tie_word_embeddings ? words : embedding(n, decoder, c->vocab_size, c->hidden_size,
                                                           INIT_OF_NORMAL(c->initializer_range));
    tensor *bias = genet__net_weight(n, bias_name, GENET_DIMS(c->vocab_size), INIT_OF_ZEROS);
    return genet_tensor_set_name(genet_add(genet__logits(n, x, w), bias), "logits");
}

/* gelu(dense(x)), normed. */
static tensor *transform(net *n, const pass *p, const char *dense, const char *norm, const char *activation, tensor *x)
{
    tensor *h = genet__activation(activation)(project(n, p, dense, x, p->c->hidden_size));
    return layer_norm(n, norm, h, p->c->layer_norm_eps);
}

static tensor *bert_masked(net *n, const pass *p)
{
    tensor *words, *x = genet__selected(encode(n, p, &words), p->in);
    net_push(n, "cls.predictions", -1);
    net_push(n, "transform", -1);
    x = transform(n, p, "dense", "LayerNorm", p->c->hidden_act, x);
    net_pop(n);
    x = word_logits(n, p, "decoder", "bias", x, words);
    net_pop(n);
    return x;
}

static tensor *roberta_masked(net *n, const pass *p)
{
    tensor *words, *x = genet__selected(encode(n, p, &words), p->in);
    net_push(n, "lm_head", -1);
    x = word_logits(n, p, "decoder", "bias", transform(n, p, "dense", "layer_norm", "gelu", x), words);
    net_pop(n);
    return x;
}

static tensor *distilbert_masked(net *n, const pass *p)
{
    tensor *words, *x = genet__selected(encode(n, p, &words), p->in);
    return word_logits(n, p, "vocab_projector", "vocab_projector.bias",
                       transform(n, p, "vocab_transform", "vocab_layer_norm", p->c->hidden_act, x), words);
}

static tensor *hidden(net *n, const pass *p)
{
    tensor *words;
    return encode(n, p, &words);
}

/* The first token's row: (B, C). */
static tensor *first_of(net *n, const pass *p)
{
    tensor *x = hidden(n, p);
    return x->poisoned ? x : genet_reshape(genet_slice(x, 1, 0, 1, 1), GENET_DIMS(dim_of(x, 0), dim_of(x, 2)));
}

static double classifier_dropout(const bert *c) { return c->classifier_dropout >= 0 ? c->classifier_dropout : c->hidden_dropout_prob; }

static tensor *bert_sequence(net *n, const pass *p)
{
    tensor *x = first_of(n, p);
    net_push(n, p->s->root, -1);
    x = genet_tanh(project(n, p, "pooler.dense", x, p->c->hidden_size));
    net_pop(n);
    return project(n, p, "classifier", dropout(n, x, classifier_dropout(p->c)), p->in->n_labels);
}

static tensor *roberta_sequence(net *n, const pass *p)
{
    double rate = classifier_dropout(p->c);
    tensor *x = dropout(n, first_of(n, p), rate);
    x = dropout(n, genet_tanh(project(n, p, "classifier.dense", x, p->c->hidden_size)), rate);
    return project(n, p, "classifier.out_proj", x, p->in->n_labels);
}

static tensor *distilbert_sequence(net *n, const pass *p)
{
    tensor *x = genet_relu(project(n, p, "pre_classifier", first_of(n, p), p->c->hidden_size));
    return project(n, p, "classifier", dropout(n, x, p->c->seq_classif_dropout), p->in->n_labels);
}

static tensor *tokens(net *n, const pass *p)
{
    double rate = p->s->segments ? classifier_dropout(p->c) : p->c->hidden_dropout_prob;
    return project(n, p, "classifier", dropout(n, hidden(n, p), rate), p->in->n_labels);
}

static tensor *span(net *n, const pass *p)
{
    tensor *x = hidden(n, p);
    return project(n, p, "qa_outputs", p->s->segments ? x : dropout(n, x, p->c->qa_dropout), 2);
}

/* --- the rows ------------------------------------------------------------------------------ */

#define HEAD(type, what) \
    static tensor *type##_##what##_head(net *n, const void *config, const model_inputs *in) \
    { \
        return type##_##what(n, &(pass){ config, &type##_names, in }); \
    }
#define bert_hidden hidden
#define roberta_hidden hidden
#define distilbert_hidden hidden
#define bert_tokens tokens
#define roberta_tokens tokens
#define distilbert_tokens tokens
#define bert_span span
#define roberta_span span
#define distilbert_span span

#define ROW_OF(type, Class, words_of_help, prepare_fn, complete_fn, tied_copy) \
    HEAD(type, masked) HEAD(type, hidden) HEAD(type, sequence) HEAD(type, tokens) HEAD(type, span) \
    static const model_head type##_heads[] = { \
        { Class "ForMaskedLM", HEAD_MASKED_LM, type##_masked_head, NULL }, { Class "Model", HEAD_NONE, type##_hidden_head, NULL }, \
        { Class "ForSequenceClassification", HEAD_SEQUENCE, type##_sequence_head, NULL }, \
        { Class "ForTokenClassification", HEAD_TOKEN, type##_tokens_head, NULL }, \
        { Class "ForQuestionAnswering", HEAD_SPAN, type##_span_head, NULL }, { .architecture = NULL } \
    }; \
    const family genet__family_##type = { \
        .name = #type, .heads = type##_heads, .task = "lm", .help = words_of_help, .config_bytes = sizeof(bert), \
        .config = &type##_table, .options = &option_table, .defaults = type##_defaults, .prepare = prepare_fn, \
        .complete = complete_fn, .check = check, .vocab_size = AT(vocab_size), .context = AT(context), .prefix = #type ".", \
        .ignored = ignored, .tied = { tied_copy, #type ".embeddings.word_embeddings.weight" }, \
    };

/* Positions that older files count out; the pooler, the next sentence and copies of the head's bias, where no head reads them. */
static const char *const ignored[] = {
    ".position_ids", "pooler.dense.weight", "pooler.dense.bias", "cls.seq_relationship.weight", "cls.seq_relationship.bias",
    "cls.predictions.decoder.bias", "lm_head.decoder.bias", NULL
};
static const char *const bert_defaults[] = { NULL };
static const char *const roberta_defaults[] = { "vocab_size", "50265", "pad_token_id", "1", "bos_token_id", "0", "eos_token_id", "2", NULL };
static const char *const distilbert_defaults[] = { NULL };

ROW_OF(bert, "Bert", "BERT: reads a text as a whole", prepare, complete, "cls.predictions.decoder.weight")
ROW_OF(roberta, "Roberta", "RoBERTa: BERT without segments to speak of", prepare_roberta, complete_roberta, "lm_head.decoder.weight")
ROW_OF(distilbert, "DistilBert", "DistilBERT: half of BERT", prepare, complete, "vocab_projector.weight")
