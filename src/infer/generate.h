/* generate.h - from a language model to text: the prompt in chunks of one fixed
 * size, then one token at a time through caches of keys and values, for one or several
 * sequences at once.
 *
 * When the context is full the window slides: the last half of the text in it
 * is read again from position 0, and generation goes on.  Of a longer prompt the
 * last tokens are read, as many as the context holds.  Beams do not slide. */
#ifndef GENET_INFER_GENERATE_H
#define GENET_INFER_GENERATE_H
#include "base/fields.h"
#include "genet/model.h"
#include "model/model.h"
#include "text/tokenizer.h"

/* Names, meanings and order of application are those of transformers' GenerationConfig; frequency and presence
 * penalties those of OpenAI's API. */
typedef struct generation_options {
    int64_t max_new_tokens;
    int64_t max_length;             /* of prompt and text together; 0: any */
    double  temperature;            /* 0: always the likeliest */
    int64_t top_k;                  /* 0: all */
    double  top_p, min_p, typical_p;            /* 1, 0, 1: all */
    double  repetition_penalty;     /* 1: none; over prompt and text (Keskar et al. 2019) */
    double  frequency_penalty, presence_penalty;                /* 0: none; over the text */
    int64_t no_repeat_ngram_size;   /* 0: any */
    int64_t num_beams;              /* 1: no beam search */
    double  length_penalty;         /* exponent of the length that a beam's score is divided by */
    const char *early_stopping;     /* "false", "true", "never" */
    int64_t num_return_sequences;
    const char *stop;               /* stop strings: lines, with \n \t \\ for what cannot stand in one */
    int64_t logprobs;               /* 0: none; k: the k likeliest with every token */
    int64_t seed;
    bool    ignore_eos;
    int64_t decoder_start_token_id, forced_bos_token_id, forced_eos_token_id;       /* -1: the model's; none */
    int_list eos_token_id;          /* empty: what config.json says, */
    bool     eos_of_file;           /* but with this generation_config.json speaks alone, and may name none; no field */
} generation_options;
extern const fields genet__generation_fields;

/* FOLDER/generation_config.json, read but not understood; json NULL: there is none. */
typedef struct generation_file { json_t *json; char *path; } generation_file;
bool genet__generation_file_read(generation_file *f, const char *folder, genet_err *err);
void genet__generation_file_release(generation_file *f);
/* What the file says, over the defaults; a field that `given` (may be NULL) names as set by the user stays.  What
 * options imply for others (beams are not sampled) is done here too, so call it in any case.  What the file says and
 * genet cannot do is GENET_ERR_FORMAT.  f is only read. */
bool genet__generation_settle(generation_options *o, const generation_file *f,
                              bool (*given)(const void *user, const char *name), const void *user, arena *a,
                              genet_err *err);
/* The same for texts from sources: the likeliest, unless the user gives a temperature or the file says do_sample. */
bool genet__generation_settle_source(generation_options *o, const generation_file *f,
                                     bool (*given)(const void *user, const char *name), const void *user, arena *a, genet_err *err);
/* Read and settled. */
bool genet__generation_defaults(generation_options *o, const char *folder, bool (*given)(const void *user, const char *name),
                                const void *user, arena *a, genet_err *err);
/* What single ranges do not say; in words. */
bool genet__generation_check(const generation_options *o, genet_err *err);

/* --- the decoder: text being read and continued ------------------------------- */

typedef struct decoder decoder;

/* For `rows` sequences.  m has its weights, is only read, and must outlive it; w is lent to whatever runs. */
decoder *genet__decoder_new(const model *m, genet_workspace *w, int64_t rows, genet_err *err);
/* Of a model with an encoder: for so many sources of up to source_tokens tokens, rows_each rows for each (row b has source
 * b / rows_each).  What comes of a source does not depend on the others that are read with it, to the last bit; but it does on
 * how many a decoder is made for: products of other shapes sum in another order. */
decoder *genet__decoder_new_reading(const model *m, genet_workspace *w, int64_t sources, int64_t rows_each, int64_t source_tokens,
                                    genet_err *err);
int64_t  genet__decoder_sources(const decoder *d);              /* 0: it reads none */
int64_t  genet__decoder_source_tokens(const decoder *d);        /* of the longest that it takes */
/* Read n <= sources sources; then begin. */
bool     genet__decoder_read_sources(decoder *d, const token_list *source, int64_t n, genet_err *err);
void     genet__decoder_free(decoder *d);
int64_t  genet__decoder_rows(const decoder *d);
int64_t  genet__decoder_vocab(const decoder *d);
int64_t  genet__decoder_window(const decoder *d);               /* tokens that the model sees at once */
int64_t  genet__decoder_position(const decoder *d);             /* tokens in the window now */
/* All rows begin with these n >= 1 ids (the last ones, when they are more than the window holds). The
 * beginning that they share with what was begun before is not read again; the answer is the same to the last bit. */
bool     genet__decoder_begin(decoder *d, const int32_t *ids, int64_t n, genet_err *err);
/* Of a decoder of one row: its text becomes these 1 .. window ids.  What it holds of them is kept (*kept tokens), however it
 * was read; only the rest is read.  Where runs begin depends on what was held, so that the last bits of the answer may, too. */
bool     genet__decoder_rewind(decoder *d, const int32_t *ids, int64_t n, int64_t *kept, genet_err *err);
/* Row b goes on from what row parent[b] held (NULL: from its own) with ids[b], for all rows. */
bool     genet__decoder_step(decoder *d, const int32_t *ids, const int32_t *parent, genet_err *err);
/* (rows, vocab) of what follows; after begin rows of one source are equal.  Finite, or the call before failed. */
const float *genet__decoder_logits(const decoder *d);

/* --- choosing (sample.c) --------------------------------------------------------- */

typedef struct candidate { float logit; int32_t id; } candidate;

/* Apply penalties and bans to logits (n_vocab), in place. text: the n ids so far, the first n_prompt of which are
 * the prompt. */
void    genet__adjust_logits(float *logits, int64_t n_vocab, const int32_t *text, int64_t n, int64_t n_prompt,
                             const generation_options *o);
/* An id drawn by temperature, top_k, top_p, min_p, typical_p; scratch holds n_vocab; draw is uniform in [0, 1). */
int32_t genet__sample(const float *logits, candidate *scratch, int64_t n_vocab, const generation_options *o, double draw);
/* What that draw is among: n candidates in scratch, c with weight e^((c.logit - max) / temperature), `total` in all. */
typedef struct choice_set { int64_t n; double max, temperature, total; } choice_set;
choice_set genet__sample_among(const float *logits, candidate *scratch, int64_t n_vocab, const generation_options *o);
double  genet__sample_weight(const choice_set *s, const candidate *c);
/* The k likeliest into out (k <= n_vocab), in order: falling logit, rising id; scratch holds n_vocab. */
void    genet__likeliest(const float *logits, candidate *scratch, int64_t n_vocab, int64_t k, candidate *out);
/* Log of the sum of e^logit, in double. */
double  genet__log_sum_exp(const float *logits, int64_t n);

/* --- writing ----------------------------------------------------------------------- */

/* Continue the prompt: sampling or greedy (generate.c), or beam search (beam.c) when num_beams > 1.  d has as many rows as
 * genet__generation_rows says. */
int64_t genet__generation_rows(const generation_options *o);
bool genet__generate(decoder *d, const tokenizer *t, const model *m, const char *prompt, const generation_options *o,
                     genet_piece_fn *piece, void *user, genet_err *err);

/* The same from where d, a decoder of one row, stands: it holds these n ids. */
bool genet__go_on(decoder *d, const tokenizer *t, const model *m, const int32_t *ids, int64_t n, const generation_options *o,
                  genet_piece_fn *piece, void *user, genet_err *err);

/* The text that each of n sources becomes (a model with an encoder; d is for as many sources or more, of as many tokens), beginning
 * with decoder_start_token_id.  Sequence r of source i comes as i num_return_sequences + r.  What a source becomes depends on
 * neither its place nor the others. */
bool genet__generate_from(decoder *d, const tokenizer *t, const model *m, const token_list *source, int64_t n, const generation_options *o,
                          genet_piece_fn *piece, void *user, genet_err *err);
/* text as a source: its ids, at most `most` of them (0: as many as the model reads), and the token that ends a text behind them.  *cut,
 * which may be NULL: ids were left out. */
bool genet__source_ids(const model *m, const tokenizer *t, const char *text, int64_t most, token_list *out, bool *cut, genet_err *err);
/* The token that the i-th of a text must be; -1: any. */
int32_t genet__forced_token(const generation_options *o, int64_t i, const decoder *d);
/* What a text written by a model with an encoder begins with; -1: nobody says. */
int32_t genet__decoder_start(const model *m, const generation_options *o);

/* The ids that end a text: those of the options, else config.json's eos_token_id; of them those that the model can
 * write.  None with ignore_eos. */
typedef struct end_tokens { int n; int32_t id[INT_LIST_MAX]; } end_tokens;
end_tokens genet__end_tokens(const model *m, const generation_options *o);
bool genet__is_end(const end_tokens *e, int32_t id);
/* What stands before a text that has no beginning: config.json's bos_token_id, or, as people do with GPT-2, the first token
 * that ends the text before; -1: neither is there. */
int32_t genet__start_token(const model *m, const generation_options *o);

/* *begin: the config's bos_token_id where the tokenizer puts it before every text, as transformers' does of Llama; else -1. */
bool genet__prompt_begin(const model *m, const tokenizer *t, int32_t *begin, genet_err *err);

/* Special tokens are no text, and ids beyond the tokenizer's neither: models pad their vocabulary. */
bool genet__is_text(const tokenizer *t, int32_t id);
/* Append what id adds to a text whose last id that is text is *shown (-1: none yet), which becomes id.  Nothing stands
 * between words and what is no text; the first piece of a text is decoded as its beginning. */
bool genet__text_add(const tokenizer *t, int32_t *shown, int32_t id, str *out, genet_err *err);

/* open.c: both or neither; *t is NULL of a family that reads no text. */
bool genet__open_text_model(const char *folder, genet_device *d, model_weights how, model **m, tokenizer **t, genet_err *err);
/* The same to be read only, and on it the adapter in the folder `adapter`, which may be NULL. */
bool genet__open_text_model_with(const char *folder, const char *adapter, genet_device *d, model **m, tokenizer **t, genet_err *err);
#define ADAPTER_FIELD(offset) \
    { "adapter", FIELD_STRING, offset, NULL, 0, 0, NULL, 0, "the folder of an adapter (of --lora-rank, or PEFT's) for the model" }

/* beam.c: transformers' _beam_search, token for token. */
/* For d's first n_source sources, or without sources for one text. */
bool genet__beam_search(decoder *d, const tokenizer *t, const model *m, const int32_t *prompt, int64_t n_prompt,
                        int64_t n_source, const generation_options *o, genet_piece_fn *piece, void *user, genet_err *err);

/* complete.c: the *n likeliest continuations of text up to the end of the word, by best-first search; d has
 * COMPLETE_ROWS rows. */
enum { COMPLETE_ROWS = 8 };
bool genet__complete(decoder *d, const tokenizer *t, const model *m, const char *text, genet_completion *out, int *n,
                     genet_err *err);
#endif
