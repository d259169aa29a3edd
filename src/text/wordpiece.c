/* wordpiece.c - the model WordPiece (Schuster and Nakajima 2012, "Japanese and Korean Voice Search"; as BERT uses it):
 * of a pre-token the longest piece that begins it, then the longest that goes on, which carries the prefix "##" in the
 * vocabulary, to the end.  Where none fits, the whole pre-token is the unknown one.
 *
 * One walk through a trie finds the longest piece; what follows the first begins at the node of the prefix.
 * Most pre-tokens are one piece, and one walk is all.  (The linear algorithm of Song et al. 2021, "Fast WordPiece
 * Tokenization", saves walking back over what a longer piece might have taken; words have few such bytes.) */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/tokenizer_model.h"
#include "text/trie.h"
#include "text/vocabulary.h"

typedef struct wordpiece {
    vocabulary v;
    trie      trie;
    uint32_t  inside;           /* the node of the prefix; TRIE_NONE: no piece goes on */
    char     *prefix;           /* "##" */
    char     *unknown_token;
    int32_t   unknown;
    int64_t   max_chars;        /* longer pre-tokens are unknown */
} wordpiece;

/* --- encoding --------------------------------------------------------------------------------------------------- */

static int64_t count_chars(const char *s, size_t n)
{
    int64_t chars = 0;
    for (size_t i = 0; i < n; i++) chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    return chars;
}

/* The longest piece that begins at s[at]; *end: behind it.  -1: there is none. */
static inline int32_t longest(const wordpiece *w, uint32_t node, const char *s, size_t at, size_t n, size_t *end)
{
    int32_t best = -1;
    for (size_t i = at; i < n && (node = genet__trie_step(&w->trie, node, (unsigned char)s[i])) != TRIE_NONE; i++) {
        int32_t id = genet__trie_value(&w->trie, node);
        if (id >= 0) best = id, *end = i + 1;
    }
    return best;
}

static bool add_unknown(const wordpiece *w, const char *s, size_t n, token_sink *out, genet_err *err)
{
    if (w->unknown >= 0) return genet__token_add(out, w->unknown, 0, n, err);
    return genet__err_set(err, GENET_ERR_USAGE, "the word \"%.*s\" has no pieces, and the unknown token \"%.40s\" "
                          "(model.unk_token) is not in the vocabulary", n < 60 ? (int)n : 60, s, w->unknown_token);
}

static bool encode(const void *m, const char *s, size_t n, token_sink *out, genet_err *err)
{
    const wordpiece *w = m;
    int before = out->ids->n;
    uint32_t from = w->trie.root;
    int32_t all = genet__vocabulary_find(&w->v, s, n);
    if ((int64_t)n > w->max_chars && count_chars(s, n) > w->max_chars) return add_unknown(w, s, n, out, err);
    if (all >= 0) return genet__token_add(out, all, 0, n, err);
    for (size_t at = 0, end = 0; at < n; at = end) {
        int32_t id = from == TRIE_NONE ? -1 : longest(w, from, s, at, n, &end);
        if (id < 0) {
            out->ids->n = before;
            return add_unknown(w, s, n, out, err);
        }
        TRY(genet__token_add(out, id, at, end, err));
        from = w->inside;
    }
    return true;
}

/* --- making ----------------------------------------------------------------------------------------------------- */

static void model_free(void *m)
{
    wordpiece *w = m;
    if (!w) return;
    genet__vocabulary_release(&w->v);
    genet__trie_release(&w->trie);
    genet__free(w->prefix);
    genet__free(w->unknown_token);
    genet__free(w);
}

static bool index_pieces(wordpiece *w, genet_err *err)
{
    trie_key *key = genet__alloc_array((size_t)w->v.count + 1, sizeof *key);
    int n = 0;
    size_t length;
    if (!key) return genet__err_memory(err);
    for (int32_t id = 0; id < w->v.size; id++) {
        const char *piece = genet__vocabulary_piece(&w->v, id, &length);
        if (piece) key[n++] = (trie_key){ piece, length, id };
    }
    bool ok = genet__trie_make(&w->trie, key, n, err);
    genet__free(key);
    if (!ok) return false;
    w->inside = genet__trie_walk(&w->trie, w->trie.root, w->prefix, strlen(w->prefix));
    w->unknown = genet__vocabulary_find(&w->v, w->unknown_token, strlen(w->unknown_token));
    return true;
}

/* The four fields that a file must have: a vocabulary with the wrong prefix would give other ids without a word. */
static bool read(wordpiece *w, const json_t *model, const char *where, genet_err *err)
{
    static const char *const known[] = { "type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word",
                                         "vocab", NULL };
    const char *prefix, *unknown;
    TRY(genet__json_known(model, known, where, "model", err));
    TRY(genet__json_string(model, "continuing_subword_prefix", where, &prefix, NULL, err));
    TRY(genet__json_string(model, "unk_token", where, &unknown, NULL, err));
    TRY(genet__json_int(model, "max_input_chars_per_word", where, &w->max_chars, NULL, err));
    if (w->max_chars < 0)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.max_input_chars_per_word must not be negative", where);
    w->prefix = genet__strdup(prefix);
    w->unknown_token = genet__strdup(unknown);
    if (!w->prefix || !w->unknown_token) return genet__err_memory(err);
    return genet__vocabulary_read(&w->v, json_object_get(model, "vocab"), where, "model.vocab", err);
}

static void *load(const json_t *model, const char *where, genet_err *err)
{
    wordpiece *w = genet__alloc(sizeof *w);
    bool ok = w || genet__err_memory(err);
    if (ok && read(w, model, where, err) && index_pieces(w, err)) return w;
    model_free(w);
    return NULL;
}

/* --- the vocabulary --------------------------------------------------------------------------------------------- */

static json_t *to_json(const void *m)
{
    const wordpiece *w = m;
    return json_pack("{s:s, s:s, s:s, s:I, s:o}", "type", "WordPiece", "unk_token", w->unknown_token,
                     "continuing_subword_prefix", w->prefix, "max_input_chars_per_word", (json_int_t)w->max_chars,
                     "vocab", genet__vocabulary_json(&w->v));
}

static int32_t find(const void *m, const char *piece, size_t n)
{
    return genet__vocabulary_find(&((const wordpiece *)m)->v, piece, n);
}

static const char *piece_of(const void *m, int32_t id, size_t *n)
{
    return genet__vocabulary_piece(&((const wordpiece *)m)->v, id, n);
}

static int size(const void *m)
{
    return ((const wordpiece *)m)->v.size;
}

static int count(const void *m)
{
    return ((const wordpiece *)m)->v.count;
}

static int32_t unknown_of(const void *m)
{
    return ((const wordpiece *)m)->unknown;
}

static void hash(const void *m, sha256 *s)
{
    const wordpiece *w = m;
    genet__vocabulary_hash(&w->v, s);
    genet__sha256_add(s, w->prefix, strlen(w->prefix) + 1);
    genet__sha256_add(s, w->unknown_token, strlen(w->unknown_token) + 1);
    genet__sha256_add(s, &w->max_chars, sizeof w->max_chars);
}

const token_model genet__model_wordpiece = {
    .type = "WordPiece", .name = "wordpiece", .load = load, .to_json = to_json, .encode = encode, .find = find,
    .piece = piece_of, .size = size, .count = count, .unknown = unknown_of, .hash = hash, .free = model_free,
};
