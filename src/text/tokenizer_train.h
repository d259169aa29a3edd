/* tokenizer_train.h - making a tokenizer from text.
 *
 * "char": every code point of the whole text.  "bpe:VOCAB", "wordpiece:VOCAB", "unigram:VOCAB", "word:VOCAB": learned
 * from the training part only.  Anything else is the path of a folder or file that holds one. */
#ifndef GENET_TEXT_TOKENIZER_TRAIN_H
#define GENET_TEXT_TOKENIZER_TRAIN_H
#include "text/pattern.h"
#include "text/source.h"

/* Told while a tokenizer is being learned: the stage, and its part that is done (0..1); false stops. May be NULL. */
typedef struct train_watch { bool (*tell)(void *user, const char *stage, double done); void *user; } train_watch;

/* False: it stopped, and err says so. */
bool genet__train_tell(const train_watch *watch, const char *stage, double done, genet_err *err);

/* By what --tokenizer says.  scan: of s; the first n_chars characters are the training part. */
tokenizer *genet__tokenizer_make(const char *spec, text_source *s, const text_scan *scan, int64_t n_chars,
                                 const train_watch *watch, genet_err *err);
/* Does the spec ask for a tokenizer to be learned (char, bpe:N, ...)? */
bool genet__tokenizer_is_learned(const char *spec);

/* --- bpe_train.c -------------------------------------------------------------- */

/* Byte-level BPE of vocab_size tokens (Sennrich et al. 2016, arXiv 1508.07909; GPT-2's bytes and pattern): the end
 * token <|endoftext|> (id 0), the 256 bytes, then merges, the most frequent pair first, equal ones by
 * the smaller ids, as Hugging Face's BpeTrainer does.  Fewer when no pair is left. */
tokenizer *genet__bpe_train(text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch, genet_err *err);

/* --- tokenizer_learned.c -------------------------------------------------------- */

/* WordPiece as BERT uses it (lower case, no accents): [PAD], [UNK], [CLS], [SEP], [MASK], characters, then merges. */
tokenizer *genet__wordpiece_train(text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch,
                                  genet_err *err);
/* Unigram as T5 uses it, text as it is: <pad>, </s>, <unk>, then pieces by their scores, all characters among them. */
tokenizer *genet__unigram_train(text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch,
                                genet_err *err);

/* --- tokenizer_bpe.c ----------------------------------------------------------- */

/* Merge i joins left[i] and right[i] (ids) to a new token; ids: special tokens, 256 bytes in the order of
 * Hugging Face's alphabet, merges in order; a merge whose joined piece is there already has that piece's id. */
typedef struct bpe_merge { int32_t left, right; } bpe_merge;
tokenizer *genet__tokenizer_from_merges(const char *const *special, int n_special, const bpe_merge *merge, int n_merge,
                                        genet_err *err);

/* --- tokenizer_word.c ------------------------------------------------------------ */

/* The vocab_size - 1 most frequent words (what stands between spaces; a line's end is a word), equal
 * ones bytewise, and <unk>. */
tokenizer *genet__word_train(text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch, genet_err *err);
/* The lower frequency cut: how often the rarest word that was kept occurred; 0: t was not learned just now, or knows
 * no words. */
int64_t genet__word_least_count(const tokenizer *t);
#endif
