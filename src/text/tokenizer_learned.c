/* tokenizer_learned.c - WordPiece and Unigram tokenizers learned from text, as whole pipelines.
 *
 * Each begins as the pipeline it will be, with a model that counts: what would go to the model as pre-tokens are the words
 * to learn from.  The learned pieces become the model's vocabulary in a tokenizer.json, which is read as any other. */
#include <string.h>
#include "base/err.h"
#include "text/learn.h"
#include "text/reader.h"
#include "text/template.h"
#include "text/tokenizer_pipeline.h"

typedef struct recipe {
    learn_fn   *learn;
    const char *const *special;     /* ids 0, 1, ... */
    const char *const *role;        /* what tokenizer_config.json calls them */
    int         n_special;
    json_t   *(*vocabulary)(const learned *l);              /* the model object */
    void      (*parts)(const json_t *ids, json_t **normalizer, json_t **pre_tokenizer, json_t **post_processor,
                       json_t **decoder);         /* ids: of special tokens */
} recipe;

/* --- parts --------------------------------------------------------------------------------------------------------- */

static const char mark[] = "\xe2\x96\x81";

/* BERT's (Devlin et al. 2019): lower case without accents, words and punctuation apart; [CLS] a [SEP] b [SEP]. */
static const char *const wordpiece_special[] = { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" };
static const char *const wordpiece_role[] = { "pad_token", "unk_token", "cls_token", "sep_token", "mask_token" };

static void wordpiece_parts(const json_t *ids, json_t **normalizer, json_t **pre_tokenizer, json_t **post_processor,
                            json_t **decoder)
{
    *normalizer = json_pack("{s:s, s:b, s:b, s:n, s:b}", "type", "BertNormalizer", "clean_text", 1, "handle_chinese_chars", 1,
                            "strip_accents", "lowercase", 1);
    *pre_tokenizer = json_pack("{s:s}", "type", "BertPreTokenizer");
    *post_processor = genet__template_json("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ids);
    *decoder = json_pack("{s:s, s:s, s:b}", "type", "WordPiece", "prefix", "##", "cleanup", 1);
}

static json_t *wordpiece_model(const learned *l)
{
    json_t *vocab = json_object();
    for (int i = 0; vocab && i < l->n; i++)
        if (json_object_set_new(vocab, l->piece[i].at, json_integer(i))) {
            json_decref(vocab);
            vocab = NULL;
        }
    return json_pack("{s:s, s:s, s:s, s:i, s:o}", "type", "WordPiece", "unk_token", "[UNK]", "continuing_subword_prefix", "##",
                     "max_input_chars_per_word", 100, "vocab", vocab);
}

/* T5's (Raffel et al. 2020), but that line ends are kept as words of their own and text is taken as it is; a </s>. */
static const char *const unigram_special[] = { "<pad>", "</s>", "<unk>" };
static const char *const unigram_role[] = { "pad_token", "eos_token", "unk_token" };

static json_t *metaspace(void)
{
    return json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", mark, "prepend_scheme", "first", "split", 1);
}

static void unigram_parts(const json_t *ids, json_t **normalizer, json_t **pre_tokenizer, json_t **post_processor,
                          json_t **decoder)
{
    *normalizer = json_null();
    *pre_tokenizer = json_pack("{s:s, s:[o, {s:s, s:{s:s}, s:s, s:b}]}", "type", "Sequence", "pretokenizers", metaspace(),
                               "type", "Split", "pattern", "String", "\n", "behavior", "Isolated", "invert", 0);
    *post_processor = genet__template_json("$A:0 </s>:0", "$A:0 </s>:0 $B:0 </s>:0", ids);
    *decoder = metaspace();
}

static json_t *unigram_model(const learned *l)
{
    json_t *vocab = json_array();
    for (int i = 0; vocab && i < l->n; i++)
        genet__json_append(&vocab, json_pack("[s%,f]", l->piece[i].at, l->piece[i].n, l->piece[i].score));
    return json_pack("{s:s, s:i, s:o, s:b}", "type", "Unigram", "unk_id", 2, "vocab", vocab, "byte_fallback", 0);
}

static const recipe wordpiece = { genet__learn_wordpiece, wordpiece_special, wordpiece_role, 5, wordpiece_model,
                                  wordpiece_parts };
static const recipe unigram = { genet__learn_unigram, unigram_special, unigram_role, 3, unigram_model, unigram_parts };

/* --- the whole ----------------------------------------------------------------------------------------------------- */

static tokenizer *make(const recipe *r, const learned *l, bool counts, genet_err *err)
{
    json_t *normalizer = NULL, *pre_tokenizer = NULL, *post_processor = NULL, *decoder = NULL;
    json_t *ids = json_object(), *added = json_array();
    for (int i = 0; i < r->n_special; i++) {
        json_object_set_new(ids, r->special[i], json_integer(i));
        if (!counts) genet__json_append(&added, genet__special_json(r->special[i], i));
    }
    bool ok = json_object_size(ids) == (size_t)r->n_special;
    if (ok) r->parts(ids, &normalizer, &pre_tokenizer, &post_processor, &decoder);
    json_t *j = json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding",
                          "added_tokens", added, "normalizer", normalizer, "pre_tokenizer", pre_tokenizer, "post_processor",
                          post_processor, "decoder", decoder, "model", r->vocabulary(l));
    tokenizer *t = j ? genet__tokenizer_from_json(j, "the learned tokenizer", err) : NULL;
    if (!j) genet__err_memory(err);
    json_decref(ids);
    json_decref(j);
    return t;
}

/* tokenizer_config.json: the class keeps transformers from rebuilding what tokenizer.json says. That class gives the texts of a
 * pair apart only where the config asks for it, which a tokenizer that puts them between [CLS] and [SEP] does. */
static json_t *config_json(const recipe *r)
{
    json_t *config = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces", 0);
    bool ok = config, apart = false;
    for (int i = 0; ok && i < r->n_special; i++) {
        apart = apart || !strcmp(r->role[i], "cls_token");
        ok = !json_object_set_new(config, r->role[i], json_string(r->special[i]));
    }
    if (ok && apart)
        ok = !json_object_set_new(config, "model_input_names", json_pack("[s, s, s]", "input_ids", "token_type_ids", "attention_mask"));
    if (ok) return config;
    json_decref(config);
    return NULL;
}

/* --- counting ------------------------------------------------------------------------------------------------------ */

static bool count_word(const void *m, const char *s, size_t n, token_sink *out, genet_err *err)
{
    (void)out;
    return genet__word_count_add((word_count *)m, s, n) || genet__err_memory(err);      /* the counter is all the model is */
}

static void count_free(void *m)
{
    (void)m;
}

static const token_model counting = { .type = "counting", .encode = count_word, .free = count_free };

static bool count_stretch(void *t, const char *text, size_t n, genet_err *err)
{
    token_list none = { 0 };
    bool ok = genet__tokenizer_encode(t, text, n, &none, err);
    genet__token_list_release(&none);
    return ok;
}

static size_t cut(const void *t, const char *text, size_t n)
{
    return genet__tokenizer_cut(t, text, n);
}

/* The pre-tokens of the training part; special tokens are text like any other in it, as in Hugging Face's training. */
static bool count_words(const recipe *r, word_count *words, text_source *s, int64_t n_chars, const train_watch *watch,
                        genet_err *err)
{
    learned empty = { 0 };
    bool ok = true;
    for (int i = 0; ok && i < r->n_special; i++) ok = genet__learned_add(&empty, r->special[i], strlen(r->special[i]), 0);
    tokenizer *t = ok ? make(r, &empty, true, err) : NULL;
    if (!ok) genet__err_memory(err);
    if (t) {
        pipeline *p = t->table;
        p->row->free(p->model);
        p->row = &counting;
        p->model = words;
        ok = genet__reader_count(s, n_chars, cut, t, count_stretch, t, watch, err);
        genet__learn_sort(words);
    }
    ok &= t != NULL;
    genet__tokenizer_free(t);
    genet__learned_release(&empty);
    return ok;
}

static tokenizer *train(const recipe *r, text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch,
                        genet_err *err)
{
    word_count words = { 0 };
    learned l = { 0 };
    tokenizer *t = NULL;
    bool ok = count_words(r, &words, s, n_chars, watch, err) &&
              r->learn(&words, r->special, r->n_special, vocab_size, watch, &l, err);
    genet__word_count_release(&words);
    if (ok) t = make(r, &l, false, err);
    genet__learned_release(&l);
    if (!t || (t->config = config_json(r))) return t;
    genet__err_memory(err);
    genet__tokenizer_free(t);
    return NULL;
}

tokenizer *genet__wordpiece_train(text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch, genet_err *err)
{
    return train(&wordpiece, s, n_chars, vocab_size, watch, err);
}

tokenizer *genet__unigram_train(text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch, genet_err *err)
{
    return train(&unigram, s, n_chars, vocab_size, watch, err);
}
