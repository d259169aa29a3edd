/* model.h - the public face of genet, model level: train a model, open a
 * model's folder, write with it, score with it.
 *
 *     genet_device  *d = genet_device_cpu(0, &err);
 *     genet_model   *m = genet_model_open("folder", d, &err);
 *     genet_session *s = genet_session_new(m, &err);
 *     genet_generate(s, "Once", NULL, show, NULL, &err);
 *
 * A model is read-only after opening and shared by any number of threads; a
 * session (caches, working memory) belongs to one thread at a time.  The
 * device outlives its models, a model its sessions.  A device has one pool
 * of threads and serves its sessions in turns.
 *
 * Options are set by name, with the names of the command line, as text in the C
 * locale: a new option breaks no binary.  Structs that callers hold change with the soname only.  Functions that fail
 * return false or NULL and fill err, which may be NULL.  There is no global state. */
#ifndef GENET_MODEL_LEVEL_H
#define GENET_MODEL_LEVEL_H
#include "genet/genet.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct genet_model   genet_model;
typedef struct genet_session genet_session;
typedef struct genet_options genet_options;
typedef struct genet_metric  genet_metric;

/* --- options --------------------------------------------------------------- */

/* Options of a verb, at their defaults: "generate", "eval", "metric" (how `genet eval --predictions` compares texts), or
 * "train WHAT" with WHAT a task or a family ("train gpt2", "train lm", "train mlp").  They are those of `genet VERB --help` that say how; what goes in and out (prompt,
 * eval's data, json, threads) are arguments here.  Any number of calls may share them. */
GENET_API genet_options *genet_options_new(const char *verb, genet_err *err);
GENET_API void           genet_options_free(genet_options *o);
/* Dashes and underscores are one; lists ("data", "stop") are lines.  An unknown name fails and names the nearest; a
 * value of another kind or out of range fails, and the option stays as it was.  Options of "train TASK" take "model",
 * before all others. */
GENET_API bool           genet_options_set(genet_options *o, const char *name, const char *value, genet_err *err);
/* Notes and warnings of a training with these options (a weight whose gradient is zero, a save that is gone): a line of
 * text each, valid during the call.  Without a function nobody hears them. */
typedef void genet_message_fn(void *user, bool warning, const char *text);
GENET_API void           genet_options_listen(genet_options *o, genet_message_fn *say, void *user);

/* --- models ------------------------------------------------------------------ */

/* A folder in Hugging Face's layout, as `genet train` or transformers wrote it. */
GENET_API genet_model *genet_model_open(const char *folder, genet_device *d, genet_err *err);
/* base with the adapter (PEFT's layout, as --lora-rank writes it) in folder: a model of its own that shares base's weights and
 * tokenizer.  Any number of them, of any number of threads, may stand beside each other and beside base, which must outlive
 * them all. */
GENET_API genet_model *genet_model_adapt(const genet_model *base, const char *folder, genet_err *err);
GENET_API void         genet_model_free(genet_model *m);
/* What `genet info FOLDER --json` says, as a JSON object: family, parameters, config, the training run in the folder; free
 * with free(). */
GENET_API char        *genet_model_describe(const genet_model *m, genet_err *err);
/* The ids of text (n_bytes, any bytes): *ids is to be freed with free(), also when there are none. */
GENET_API bool genet_tokenize(const genet_model *m, const char *text, size_t n_bytes, int32_t **ids, size_t *n_ids,
                              genet_err *err);
/* The text of ids, terminated, *n_bytes long (may be NULL); free with free(). */
GENET_API char *genet_detokenize(const genet_model *m, const int32_t *ids, size_t n_ids, size_t *n_bytes, genet_err *err);

GENET_API genet_session *genet_session_new(const genet_model *m, genet_err *err);
GENET_API void           genet_session_free(genet_session *s);

/* --- generating ---------------------------------------------------------------- */

typedef struct genet_choice { int32_t id; double logprob; } genet_choice;      /* natural logarithm */

/* A token that was chosen: its log-probability under the model (before temperature and the other rules), and,
 * with the option logprobs, the likeliest ones. */
typedef struct genet_token {
    int32_t id;
    double  logprob;
    const genet_choice *top;
    int     n_top;
} genet_token;

/* Text as it comes: whole UTF-8 characters, the tokens that ended in it, and on a sequence's last
 * piece (whose text may be empty) why it ended.  All of it is valid during the call only. */
typedef struct genet_piece {
    int         sequence;       /* 0 .. num_return_sequences - 1 */
    const char *text;           /* terminated */
    size_t      n_bytes;
    const genet_token *token;
    int         n_token;
    const char *finish;         /* NULL; "stop": an end token or a stop string; "length" */
    double      score;          /* on the last piece: the sum of log-probabilities; of a beam, its score */
} genet_piece;
/* After false nothing more comes, and all sequences end.  While it runs its session is busy and refuses calls: use another
 * one there. */
typedef bool genet_piece_fn(void *user, const genet_piece *piece);

/* Continue prompt.  o: options of "generate", may be NULL; for what it does not give the folder's generation_config.json
 * speaks.  Sampled sequences come piece by piece, in turns; beams at the end, each in one piece, the best first. */
GENET_API bool genet_generate(genet_session *s, const char *prompt, const genet_options *o, genet_piece_fn *piece,
                              void *user, genet_err *err);

/* The text that each of n sources becomes: of a model that reads one text and writes another (translation, summaries), which
 * genet_generate refuses.  o as there; without a temperature the likeliest is taken.  Sequence r of source i comes as
 * i * num_return_sequences + r.  What a source becomes does not depend on the others but in how sums of their number are rounded. */
GENET_API bool genet_translate(genet_session *s, const char *const *source, int n, const genet_options *o, genet_piece_fn *piece,
                               void *user, genet_err *err);

/* How a text in the making may go on: the rest of the word being typed, or the next word. */
typedef struct genet_completion { char text[256]; double probability; } genet_completion;
/* The *n likeliest into out (room for *n; *n becomes how many there are), the likeliest first.  What
 * was read for the text before is not read again: fast enough for every keystroke. */
GENET_API bool genet_complete(genet_session *s, const char *text, genet_completion *out, int *n, genet_err *err);

/* --- conversations --------------------------------------------------------------- */

typedef struct genet_chat genet_chat;
/* A conversation in session s, which must outlive it and may be used for other things between its turns.  template_name: NULL,
 * the folder's chat template; "chatml"; a file; or the name of one of several. */
GENET_API genet_chat *genet_chat_new(genet_session *s, const char *template_name, genet_err *err);
GENET_API void        genet_chat_free(genet_chat *c);
/* Append a message; role: "system", "user", "assistant".  A system message that comes first is never left out. */
GENET_API bool        genet_chat_add(genet_chat *c, const char *role, const char *content, genet_err *err);
/* Write the next message, piece by piece (piece may be NULL), and append it.  o: options of "generate", may be NULL; without
 * max_new_tokens there or in the folder's file an answer may be as long as the context.  What the turns before
 * left in the caches is not read again. */
GENET_API bool        genet_chat_answer(genet_chat *c, const genet_options *o, genet_piece_fn *piece, void *user,
                                        genet_err *err);
/* Log-probability (natural) of each of n texts as the next message; nothing is appended. */
GENET_API bool        genet_chat_weigh(genet_chat *c, const char *const *text, int n, double *logprob, genet_err *err);
/* The messages as a JSON array, [{"role": ..., "content": ...}, ...]; free with free(). */
GENET_API char       *genet_chat_messages(const genet_chat *c, genet_err *err);
/* These in place of what there is. */
GENET_API bool        genet_chat_set_messages(genet_chat *c, const char *json, genet_err *err);
/* How many of the messages the model no longer sees, because its context is full: the oldest after the system's. */
GENET_API int64_t     genet_chat_dropped(const genet_chat *c);

/* --- whole texts ---------------------------------------------------------------- */

/* A class that a text may be of: its name (cut to fit), and its number in the model. */
typedef struct genet_class { char label[120]; int index; double probability; } genet_class;
/* The *n likeliest classes of text into out (room for *n; *n becomes how many there are), the likeliest first.  pair: the
 * second text where the model compares two; else NULL.  The model must have a head that classifies texts (`genet train
 * classify`, or transformers' ...ForSequenceClassification). */
GENET_API bool genet_classify(genet_session *s, const char *text, const char *pair, genet_class *out, int *n, genet_err *err);
/* A vector for each text: *out is (n_texts, *width), to be freed with free().  How tokens become one vector, and whether its
 * length is 1, says the folder (sentence-transformers' modules.json); else it is the mean of an encoder's hidden states, and
 * the last token's of a decoder. */
GENET_API bool genet_embed(genet_session *s, const char *const *texts, int n_texts, float **out, int *width, genet_err *err);

/* --- scoring ------------------------------------------------------------------- */

typedef struct genet_score {
    double  loss;               /* mean negative log-likelihood of a token, nats */
    double  perplexity;         /* e^loss: per token */
    double  word_perplexity;    /* per word, a word being what stands between white space */
    double  bits_per_byte;      /* of the text's UTF-8 */
    double  log_probability;    /* of all predicted tokens together, nats */
    int64_t tokens, words, bytes, unknown;      /* predicted tokens; of them, unknown words */
} genet_score;
/* How well the model predicts text.  o: options of "eval", may be NULL. */
GENET_API bool genet_evaluate(genet_session *s, const char *text, size_t n_bytes, const genet_options *o,
                              genet_score *out, genet_err *err);

/* --- texts beside others ---------------------------------------------------------- */

/* How good predicted texts are beside references: "bleu", "chrf", "chrf++" (as sacreBLEU), "rouge" (as rouge_score),
 * "squad", "squad_v2", "gsm8k", "accuracy", "f1".  o: options of "metric", may be NULL, and is copied.  Add item after item,
 * then ask; more may be added after that.  One thread at a time. */
GENET_API genet_metric *genet_metric_new(const char *name, const genet_options *o, genet_err *err);
GENET_API void          genet_metric_free(genet_metric *m);
/* One prediction and its n references (f1: one; squad_v2: none where there is no answer).  Texts are UTF-8 and not kept.
 * What is refused changes nothing but after GENET_ERR_MEMORY. */
GENET_API bool          genet_metric_add(genet_metric *m, const char *prediction, const char *const *reference, int n,
                                         genet_err *err);
/* One number of the result: "score", "rougeL", "exact_match", ...; an unknown name fails and lists those there are. */
GENET_API bool          genet_metric_number(const genet_metric *m, const char *name, double *out, genet_err *err);
/* The result as a JSON object, as `genet eval --json` prints it (BLEU and chrF with their signature); free with free(). */
GENET_API char         *genet_metric_describe(const genet_metric *m, genet_err *err);

/* --- training ------------------------------------------------------------------- */

typedef struct genet_step {
    int64_t step, max_steps;
    double  loss, learning_rate, grad_norm, time_s;
    bool    evaluated;          /* val_loss is of this step */
    double  val_loss;           /* of the latest evaluation; NaN before */
} genet_step;
typedef bool genet_step_fn(void *user, const genet_step *step);                /* false saves and stops: GENET_ERR_STOPPED */

/* o: options of "train WHAT", with "out" the folder to make; with "resume" a run in it goes on.  The device says how many
 * threads there are.  step may be NULL.  A model of tables (mlp) is for `genet predict`: here it only opens and is
 * described. */
GENET_API bool genet_train(const genet_options *o, genet_device *d, genet_step_fn *step, void *user, genet_err *err);

#ifdef __cplusplus
}
#endif
#endif
