/* tokenizer_make.c - what --tokenizer says: a tokenizer to be learned ("char",
 * "bpe:VOCAB", "wordpiece:VOCAB", "unigram:VOCAB", "word:VOCAB"), or the path of one that is there. */
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "text/tokenizer_train.h"

typedef tokenizer *train_fn(text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch, genet_err *err);

/* Bytes and the end token are always there; a word beside the unknown one, a piece beside the special ones is the least.
 * More than the largest would only be a slip of the hand: no model has so many rows. */
static const struct learned { const char *name; train_fn *train; int least; } learned[] = {
    { "bpe", genet__bpe_train, 257 }, { "wordpiece", genet__wordpiece_train, 6 }, { "unigram", genet__unigram_train, 4 },
    { "word", genet__word_train, 2 },
};
enum { N_LEARNED = sizeof learned / sizeof *learned, VOCAB_MAX = 16777216 };

/* "bpe" and "bpe:..." are the first row's; *size: what stands behind the colon, or NULL. */
static const struct learned *row_of(const char *spec, const char **size)
{
    for (int i = 0; i < N_LEARNED; i++) {
        size_t n = strlen(learned[i].name);
        if (strncmp(spec, learned[i].name, n) || (spec[n] && spec[n] != ':')) continue;
        *size = spec[n] ? spec + n + 1 : NULL;
        return &learned[i];
    }
    return NULL;
}

bool genet__tokenizer_is_learned(const char *spec)
{
    const char *size;
    return !strcmp(spec, "char") || row_of(spec, &size);
}

bool genet__train_tell(const train_watch *watch, const char *stage, double done, genet_err *err)
{
    if (!watch || !watch->tell || watch->tell(watch->user, stage, done)) return true;
    return genet__err_set(err, GENET_ERR_STOPPED, "stopped while %s (%.0f %% done)", stage, 100 * done);
}

/* Digits alone: "8k" and "8e3" are not guessed at. */
static bool read_size(const char *spec, const struct learned *l, const char *text, int *size, genet_err *err)
{
    int64_t n = 0;
    if (text && *text && !text[strspn(text, "0123456789")] && genet__parse_int(text, &n) && n >= l->least &&
        n <= VOCAB_MAX) {
        *size = (int)n;
        return true;
    }
    return genet__err_set(err, GENET_ERR_USAGE,
                          "--tokenizer %.60s: write %s:VOCAB with a whole number of tokens from %d to %d, as in %s:8000 "
                          "(for a folder of this name: ./%.60s)",
                          spec, l->name, l->least, VOCAB_MAX, l->name, spec);
}

tokenizer *genet__tokenizer_make(const char *spec, text_source *s, const text_scan *scan, int64_t n_chars,
                                 const train_watch *watch, genet_err *err)
{
    const char *text = NULL;
    int size = 0;
    const struct learned *l = row_of(spec, &text);
    if (!strcmp(spec, "char")) return genet__tokenizer_from_chars(&scan->chars, err);
    if (l) return read_size(spec, l, text, &size, err) ? l->train(s, n_chars, size, watch, err) : NULL;
    if (genet__file_exists(spec)) return genet__tokenizer_load(spec, err);
    genet__err_set(err, GENET_ERR_USAGE,
                   "--tokenizer %.200s: there is no such folder or file; a new tokenizer is char, "
                   "bpe:VOCAB, wordpiece:VOCAB, unigram:VOCAB or word:VOCAB", spec);
    return NULL;
}
