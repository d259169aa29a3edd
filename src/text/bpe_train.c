/* bpe_train.c - learning byte-level BPE (Sennrich et al. 2016, arXiv 1508.07909,
 * algorithm 1), the same merges in the same order as Hugging Face's BpeTrainer.
 *
 * The text is read once and only its distinct pre-tokens ("words") are kept, with how often each
 * occurs; merge_learn.c learns from these. */
#include <string.h>
#include "base/err.h"
#include "text/merge_learn.h"
#include "text/pattern.h"
#include "text/reader.h"
#include "text/tokenizer_train.h"
#include "text/word_count.h"

enum { N_SPECIAL = 1, N_BYTES = 256, SMALLEST = N_SPECIAL + N_BYTES, LARGEST = 1 << 24 };

static const char *const special[N_SPECIAL] = { "<|endoftext|>" };

/* --- counting words --------------------------------------------------------------- */

typedef struct counter { word_count *words; const pattern *pattern; void *scratch; genet_err *err; } counter;

static bool add_word(void *user, const char *text, size_t n, bool match)
{
    counter *c = user;
    (void)match;
    return genet__word_count_add(c->words, text, n) || genet__err_memory(c->err);
}

static bool add_words(void *user, const char *text, size_t n, genet_err *err)
{
    counter *c = user;
    return genet__pattern_split(c->pattern, text, n, add_word, c, &c->scratch, err);
}

static size_t cut(const void *t, const char *text, size_t n)
{
    return genet__tokenizer_cut(t, text, n);
}

/* The words of the training part: the end token's text is text like any other, as in Hugging Face's training.
 * t, which has no merges, knows where text may be cut. */
static bool count_words(word_count *words, text_source *s, int64_t n_chars, const train_watch *watch, genet_err *err)
{
    pattern *p = genet__pattern_gpt2(err);
    tokenizer *t = p ? genet__tokenizer_from_merges(special, N_SPECIAL, NULL, 0, err) : NULL;
    counter c = { words, p, NULL, err };
    bool ok = t && genet__reader_count(s, n_chars, cut, t, add_words, &c, watch, err);
    genet__pattern_scratch_release(c.scratch);
    genet__tokenizer_free(t);
    genet__pattern_free(p);
    return ok;
}

/* --- laying out words --------------------------------------------------------------- */

/* Is the byte its own character in the alphabet?  (GPT-2's bytes_to_unicode.)  The others' come behind U+00FF. */
static bool is_printable(int byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
}

/* Ids of bytes: in the order of their characters. */
static void byte_tokens(int32_t token[N_BYTES])
{
    int32_t next = N_SPECIAL;
    for (int i = 0; i < N_BYTES; i++)
        if (is_printable(i)) token[i] = next++;
    for (int i = 0; i < N_BYTES; i++)
        if (!is_printable(i)) token[i] = next++;
}

/* Words of one byte have no pairs: they are left out. */
static bool lay_out(merges *m, const word_count *w, int vocab_size, genet_err *err)
{
    int32_t token[N_BYTES];
    int64_t n = 0;
    for (int i = 0; i < w->n; i++)
        if (w->word[i].n >= 2) n += (int64_t)w->word[i].n;
    TRY(genet__merges_init(m, n, w->n, vocab_size, err));
    byte_tokens(token);
    TRY(genet__vocabulary_add(&m->names, special[0], strlen(special[0]), 0, err));
    for (int i = 0; i < N_BYTES; i++) TRY(genet__vocabulary_add(&m->names, &(char){ (char)i }, 1, token[i], err));
    for (int i = 0; i < w->n; i++) {
        if (w->word[i].n < 2) continue;
        for (size_t k = 0; k < w->word[i].n; k++) genet__merges_put(m, token[(unsigned char)w->word[i].at[k]], i);
        genet__merges_put(m, MERGE_BETWEEN, i);
    }
    return true;
}

tokenizer *genet__bpe_train(text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch, genet_err *err)
{
    if (vocab_size < SMALLEST || vocab_size > LARGEST) {
        genet__err_set(err, GENET_ERR_USAGE,
                       "a byte-level BPE vocabulary of %d tokens cannot be learned: it has at least %d (%d bytes and "
                       "%s) and at most %d", vocab_size, SMALLEST, N_BYTES, special[0], LARGEST);
        return NULL;
    }
    word_count words = { 0 };
    merges m = { 0 };
    tokenizer *t = NULL;
    bool ok = count_words(&words, s, n_chars, watch, err) && lay_out(&m, &words, vocab_size, err)
        && genet__merges_learn(&m, words.word, vocab_size, watch, err);
    if (ok) t = genet__tokenizer_from_merges(special, N_SPECIAL, m.merge, m.n_merge, err);
    genet__merges_release(&m);
    genet__word_count_release(&words);
    return t;
}
