/* wordpiece_train.c - learning a WordPiece vocabulary as the trainer of the tokenizers library does: merges of BPE over
 * characters, where a character that does not begin its word, and all that is made of such, carries the prefix "##".
 *
 * Its ids are special tokens, characters in the order of code points, characters with the prefix, merges. Where two pairs
 * are equally frequent the smaller ids are merged first; the library numbers characters with the prefix in the random
 * order of a hash table, here they are in the order of code points too. */
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/learn.h"
#include "text/merge_learn.h"

enum { CODE_POINTS = 0x110000 };

static const char prefix[] = "##";

/* Which token a code point is, where it begins a word and where it goes on one; 0: not there yet, then the token + 1. */
typedef struct alphabet { int32_t first[CODE_POINTS], inside[CODE_POINTS]; } alphabet;

/* The next character of a word, 0: there is none; bytes that are none are left out, as a trainer sees text only. */
static size_t next_char(const counted_word *w, size_t *at, uint32_t *c)
{
    while (*at < w->n) {
        size_t n = (size_t)genet__utf8_decode(w->at + *at, w->n - *at, c);
        *at += n ? n : 1;
        if (n) return n;
    }
    return 0;
}

static int64_t find_alphabet(alphabet *a, const word_count *w)
{
    int64_t n = 0;
    uint32_t c;
    for (int i = 0; i < w->n; i++) {
        bool inside = false;
        for (size_t at = 0; next_char(&w->word[i], &at, &c); inside = true, n++) {
            a->first[c] = 1;                    /* the characters themselves are there wherever they stand */
            if (inside) a->inside[c] = 1;
        }
    }
    return n;
}

/* The token of a piece, which may be a special one's too. */
static bool name(merges *m, const char *piece, size_t n, int32_t *token1, genet_err *err)
{
    int32_t id = genet__vocabulary_find(&m->names, piece, n);
    *token1 = (id < 0 ? m->names.size : id) + 1;
    return id >= 0 || genet__vocabulary_add(&m->names, piece, n, m->names.size, err);
}

static bool name_alphabet(merges *m, alphabet *a, const char *const *special, int n_special, genet_err *err)
{
    char piece[sizeof prefix + 4];
    int32_t token1;
    memcpy(piece, prefix, sizeof prefix - 1);
    char *c = piece + sizeof prefix - 1;
    for (int i = 0; i < n_special; i++) TRY(name(m, special[i], strlen(special[i]), &token1, err));
    for (uint32_t k = 0; k < CODE_POINTS; k++)
        if (a->first[k]) TRY(name(m, c, (size_t)genet__utf8_encode(k, c), &a->first[k], err));
    for (uint32_t k = 0; k < CODE_POINTS; k++)
        if (a->inside[k])
            TRY(name(m, piece, sizeof prefix - 1 + (size_t)genet__utf8_encode(k, c), &a->inside[k], err));
    return true;
}

static bool check_room(const alphabet *a, int n_special, int vocab_size, genet_err *err)
{
    int n = n_special;
    for (int i = 0; i < CODE_POINTS; i++) n += (a->first[i] > 0) + (a->inside[i] > 0);
    return n <= vocab_size ||
           genet__err_set(err, GENET_ERR_USAGE, "the characters of the text, at the beginning of words and inside, and the "
                          "special tokens are %d pieces: a vocabulary of %d has no room for them", n, vocab_size);
}

static void lay_out(merges *m, const alphabet *a, const word_count *w)
{
    uint32_t c;
    for (int i = 0; i < w->n; i++) {
        bool inside = false;
        for (size_t at = 0; next_char(&w->word[i], &at, &c); inside = true)
            genet__merges_put(m, (inside ? a->inside[c] : a->first[c]) - 1, i);
        if (inside) genet__merges_put(m, MERGE_BETWEEN, i);
    }
}

bool genet__learn_wordpiece(word_count *w, const char *const *special, int n_special, int vocab_size,
                            const train_watch *watch, learned *out, genet_err *err)
{
    merges m = { .n_prefix = sizeof prefix - 1 };
    alphabet *a = genet__alloc(sizeof *a);
    bool ok = a || genet__err_memory(err);
    int64_t n = ok ? find_alphabet(a, w) : 0;
    ok = ok && check_room(a, n_special, vocab_size, err) && genet__merges_init(&m, n, w->n, vocab_size, err) &&
         name_alphabet(&m, a, special, n_special, err);
    if (ok) {
        lay_out(&m, a, w);
        ok = genet__merges_learn(&m, w->word, vocab_size, watch, err);
    }
    for (int32_t id = 0; ok && id < m.names.size; id++) {
        size_t length;
        const char *piece = genet__vocabulary_piece(&m.names, id, &length);
        ok = genet__learned_add(out, piece, length, 0) || genet__err_memory(err);
    }
    genet__merges_release(&m);
    genet__free(a);
    return ok;
}
