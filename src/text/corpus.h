/* corpus.h - a text as token ids on disk: FOLDER/corpus.bin (u16, or u32 where
 * the vocabulary asks for it) and FOLDER/corpus.json (what it was made from).
 * Tokenized once, memory-mapped when read.  The last val_fraction of the
 * CHARACTERS is validation: token n_train is the first of it, and the two parts are
 * tokenized apart.  corpus.json is written last: where it stands, the corpus is whole. */
#ifndef GENET_TEXT_CORPUS_H
#define GENET_TEXT_CORPUS_H
#include "base/file.h"
#include "text/tokenizer_train.h"

typedef struct corpus {
    int64_t n_tokens, n_train;          /* validation: n_train .. n_tokens-1 */
    int64_t n_chars, n_train_chars, n_bytes, n_train_bytes;
    int64_t n_words, n_train_words;     /* what stands between white space */
    double  val_fraction;
    int     vocab_size;
    int     element_bytes;              /* 2 or 4 */
    char    source_hash[HASH_HEX], tokenizer_hash[HASH_HEX];
    uint32_t crc;                       /* of corpus.bin */
    mapped  file;
} corpus;

/* How many characters are the training part. */
int64_t genet__corpus_train_chars(int64_t n_chars, double val_fraction);
/* Tokenize s (scanned as `scan`) with t into folder, which exists.  watch may be NULL; when it stops, that is an error
 * (GENET_ERR_STOPPED). */
bool genet__corpus_make(const char *folder, text_source *s, const text_scan *scan, const tokenizer *t,
                        double val_fraction, const train_watch *watch, genet_err *err);
/* t: the tokenizer it must have been made with. */
bool genet__corpus_open(corpus *c, const char *folder, const tokenizer *t, genet_err *err);
/* Tokenized text that lives no longer than c (genet eval): all of it is
 * validation (n_train == 0). */
bool genet__corpus_temporary(corpus *c, text_source *s, const tokenizer *t, genet_err *err);
void genet__corpus_close(corpus *c);            /* also after a failed open */

/* Resuming: the text must be the one the corpus was made from (both hashes
 * are in the message), and corpus.bin undamaged. */
bool genet__corpus_verify(const corpus *c, const text_scan *scan, genet_err *err);
/* Long enough to train on blocks of block_size tokens and, when val_fraction
 * > 0, to predict one validation token. */
bool genet__corpus_require(const corpus *c, int64_t block_size, genet_err *err);

/* Tokens from .. from+n-1 as ids. */
void genet__corpus_read(const corpus *c, int64_t from, int64_t n, int32_t *to);
/* UTF-8 bytes of the text that tokens from .. to-1 stand for (bits per byte).  Where pieces are not all of the text
 * (words), from .. to-1 must be a whole part but for its first token. */
int64_t genet__corpus_bytes(const corpus *c, const tokenizer *t, int64_t from, int64_t to);
/* Tokens from .. to-1 that stand for words not in the vocabulary. */
int64_t genet__corpus_unknown(const corpus *c, const tokenizer *t, int64_t from, int64_t to);
#endif
