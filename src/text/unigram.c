/* unigram.c - the model Unigram (Kudo 2018, "Subword Regularization", arXiv 1804.10959): each piece has a score, the
 * logarithm of its probability, and a pre-token becomes those pieces whose scores add up to the most.
 *
 * Viterbi, one place after the other: all pieces that begin there are found in one walk through the trie.  The ids are
 * those of the tokenizers library to the last tie: sums are taken in the same order, a path is replaced by a
 * better one only, a character that is no piece of its own costs the least score less 10, and such characters side by
 * side are one unknown token (or the tokens of their bytes, with byte_fallback).
 *
 * Most pre-tokens are pieces that stand for themselves: those are marked when the model is made, and the first walk
 * already finds them. */
#include "text/unigram.h"
#include <limits.h>
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

enum { NEAR = 255 };            /* bytes: shorter pre-tokens need no heap */
static const double unknown_penalty = 10;

typedef struct unigram {
    unigram_pieces pieces;
    int       n;                /* ids */
    char     *bytes;            /* all pieces, one after the other */
    uint32_t *start;            /* piece i: bytes[start[i]] .. bytes[start[i + 1]) */
    double   *score;
    uint64_t *whole;            /* bit i: the text of piece i is encoded to i alone */
    bool      byte_fallback;
    int32_t   byte[256];        /* ids of "<0x00>" .. "<0xFF>", -1: none */
} unigram;

/* --- the best path ---------------------------------------------------------------------------------------------- */

static inline void reach(unigram_node *to, double score, int32_t begin, int32_t id)
{
    if (to->begin < 0 || score > to->score) *to = (unigram_node){ score, begin, id };
}

bool genet__unigram_path(const unigram_pieces *p, const char *s, size_t n, int32_t without, unigram_node *node)
{
    for (size_t i = 0; i <= n; i++) node[i] = (unigram_node){ 0, -1, 0 };
    for (size_t at = 0, length; at < n; at += length) {
        bool whole, open, single = false;
        double score = node[at].score;
        length = (signed char)s[at] >= 0 ? 1 : genet__utf8_length(s + at, n - at, &whole, &open);
        uint32_t t = p->trie.root;
        for (size_t end = at; end < n && (t = genet__trie_step(&p->trie, t, (unsigned char)s[end])) != TRIE_NONE;) {
            int32_t id = genet__trie_value(&p->trie, t);
            if (++end, id < 0 || (id == without && !at && end == n)) continue;
            single |= end - at == length;
            reach(&node[end], p->score[id] + score, (int32_t)at, id);
        }
        if (single) continue;
        if (p->unknown >= 0) reach(&node[at + length], p->unknown_score + score, (int32_t)at, p->unknown);
        else if (node[at + length].begin < 0 || p->unknown_score + score > node[at + length].score) return false;
    }
    return true;
}

int32_t genet__unigram_forward(unigram_node *node, size_t n)
{
    int32_t at = (int32_t)n, after = at;
    while (at > 0) {
        int32_t before = node[at].begin;
        node[at].begin = after;
        after = at;
        at = before;
    }
    return after;
}

/* --- encoding --------------------------------------------------------------------------------------------------- */

/* Characters that are no pieces, from .. to: together they may be one. */
static bool add_unknown(const unigram *u, const char *s, size_t from, size_t to, token_sink *out, genet_err *err)
{
    int32_t id = genet__trie_find(&u->pieces.trie, s + from, to - from);
    bool bytes = id < 0 && u->byte_fallback;
    for (size_t i = from; bytes && i < to; i++) bytes = u->byte[(unsigned char)s[i]] >= 0;
    if (!bytes) return genet__token_add(out, id < 0 ? u->pieces.unknown : id, from, to, err);
    for (size_t i = from; i < to; i++) TRY(genet__token_add(out, u->byte[(unsigned char)s[i]], from, to, err));
    return true;
}

static bool add_path(const unigram *u, const char *s, size_t n, unigram_node *node, token_sink *out, genet_err *err)
{
    size_t begin = 0, end = (size_t)genet__unigram_forward(node, n);
    while (begin < n) {
        int32_t id = node[end].id;
        bool unknown = id == u->pieces.unknown;
        while (unknown && end < n && node[node[end].begin].id == id) end = (size_t)node[end].begin;
        TRY(unknown ? add_unknown(u, s, begin, end, out, err) : genet__token_add(out, id, begin, end, err));
        begin = end;
        if (end < n) end = (size_t)node[end].begin;
    }
    return true;
}

static bool no_piece(const char *s, size_t n, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_USAGE,
                          "the tokenizer has no token for a character in \"%.*s\", and none for unknown ones "
                          "(model.unk_id)", n < 60 ? (int)n : 60, s);
}

static bool add_best(const unigram *u, const char *s, size_t n, token_sink *out, genet_err *err)
{
    unigram_node near[NEAR + 1], *node = near;
    if (n > INT_MAX - 1) return genet__err_set(err, GENET_ERR_USAGE, "%zu bytes are too much text for one piece", n);
    if (n > NEAR && !(node = genet__alloc_array(n + 1, sizeof *node))) return genet__err_memory(err);
    bool ok = genet__unigram_path(&u->pieces, s, n, -1, node) ? add_path(u, s, n, node, out, err) : no_piece(s, n, err);
    if (node != near) genet__free(node);
    return ok;
}

static bool encode(const void *m, const char *s, size_t n, token_sink *out, genet_err *err)
{
    const unigram *u = m;
    int32_t id = genet__trie_find(&u->pieces.trie, s, n);
    if (id >= 0 && u->whole[id / 64] >> (id % 64) & 1) return genet__token_add(out, id, 0, n, err);
    return add_best(u, s, n, out, err);
}

/* --- making ----------------------------------------------------------------------------------------------------- */

static void model_free(void *m)
{
    unigram *u = m;
    if (!u) return;
    genet__trie_release(&u->pieces.trie);
    genet__free(u->bytes);
    genet__free(u->start);
    genet__free(u->score);
    genet__free(u->whole);
    genet__free(u);
}

/* What all scores are of: bytes, start, score and n are filled. */
static bool index_pieces(unigram *u, genet_err *err)
{
    trie_key *key = genet__alloc_array((size_t)u->n + 1, sizeof *key);
    double least = INFINITY;
    for (int i = 0; key && i < u->n; i++) {
        key[i] = (trie_key){ u->bytes + u->start[i], u->start[i + 1] - u->start[i], i };
        if (u->score[i] < least) least = u->score[i];
    }
    bool ok = key ? genet__trie_make(&u->pieces.trie, key, u->n, err) : genet__err_memory(err);
    genet__free(key);
    u->pieces.score = u->score;
    u->pieces.unknown_score = least - unknown_penalty;
    for (int i = 0; ok && i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        u->byte[i] = genet__trie_find(&u->pieces.trie, name, 6);
    }
    return ok;
}

/* Long pieces are left unmarked: the best path finds them too. */
static void mark_whole(unigram *u)
{
    unigram_node node[NEAR + 1];
    for (int i = 0; i < u->n; i++) {
        const char *s = u->bytes + u->start[i];
        size_t n = u->start[i + 1] - u->start[i];
        if (!n || n > NEAR || i == u->pieces.unknown || !genet__unigram_path(&u->pieces, s, n, -1, node)) continue;
        if (node[n].begin == 0 && node[n].id == i) u->whole[i / 64] |= UINT64_C(1) << (i % 64);
    }
}

static bool bad_piece(const char *where, size_t i, const char *what, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.vocab[%zu]: %s", where, i, what);
}

static bool read_pieces(unigram *u, const json_t *vocab, const char *where, genet_err *err)
{
    size_t n = json_array_size(vocab), n_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(vocab, i), *piece = json_array_get(row, 0);
        if (json_array_size(row) != 2 || !json_is_string(piece) || !json_is_number(json_array_get(row, 1)))
            return bad_piece(where, i, "is not [piece, score]", err);
        n_bytes += json_string_length(piece);
    }
    if (n > TRIE_VALUE_MAX || n_bytes > UINT32_MAX)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.vocab: %zu pieces of %zu bytes are too many", where, n,
                              n_bytes);
    u->n = (int)n;
    u->bytes = genet__alloc(n_bytes + 1);
    u->start = genet__alloc_array(n + 1, sizeof *u->start);
    u->score = genet__alloc_array(n + 1, sizeof *u->score);
    u->whole = genet__alloc_array(n / 64 + 1, sizeof *u->whole);
    if (!u->bytes || !u->start || !u->score || !u->whole) return genet__err_memory(err);
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(vocab, i), *piece = json_array_get(row, 0);
        size_t length = json_string_length(piece);
        memcpy(u->bytes + u->start[i], json_string_value(piece), length);
        u->start[i + 1] = u->start[i] + (uint32_t)length;
        u->score[i] = json_number_value(json_array_get(row, 1));
    }
    return true;
}

/* unk_id, null or absent: none. */
static bool read_unknown(unigram *u, const json_t *model, const char *where, genet_err *err)
{
    const json_t *unknown = json_object_get(model, "unk_id");
    u->pieces.unknown = -1;
    if (!unknown || json_is_null(unknown)) return true;
    if (!json_is_integer(unknown) || json_integer_value(unknown) < 0 || json_integer_value(unknown) >= u->n)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.unk_id must be null or the number of a piece, 0 to %d",
                              where, u->n - 1);
    u->pieces.unknown = (int32_t)json_integer_value(unknown);
    return true;
}

static void *load(const json_t *model, const char *where, genet_err *err)
{
    static const char *const known[] = { "type", "unk_id", "vocab", "byte_fallback", NULL };
    const json_t *vocab = json_object_get(model, "vocab");
    if (!genet__json_known(model, known, where, "model", err)) return NULL;
    if (!json_is_array(vocab)) {
        genet__err_set(err, GENET_ERR_FORMAT, "%s: model.vocab is missing or no list", where);
        return NULL;
    }
    unigram *u = genet__alloc(sizeof *u);
    bool found, ok = u || genet__err_memory(err);
    ok = ok && read_pieces(u, vocab, where, err) && read_unknown(u, model, where, err) &&
         genet__json_bool(model, "byte_fallback", where, &u->byte_fallback, &found, err) && index_pieces(u, err);
    if (ok) {
        mark_whole(u);
        return u;
    }
    model_free(u);
    return NULL;
}

/* --- the vocabulary --------------------------------------------------------------------------------------------- */

static json_t *to_json(const void *m)
{
    const unigram *u = m;
    json_t *vocab = json_array();
    for (int i = 0; vocab && i < u->n; i++)
        genet__json_append(&vocab, json_pack("[s%,f]", u->bytes + u->start[i], (size_t)(u->start[i + 1] - u->start[i]),
                                             u->score[i]));
    json_t *unknown = u->pieces.unknown < 0 ? json_null() : json_integer(u->pieces.unknown);
    return json_pack("{s:s, s:o, s:o, s:b}", "type", "Unigram", "unk_id", unknown, "vocab", vocab, "byte_fallback",
                     u->byte_fallback);
}

static int32_t find(const void *m, const char *piece, size_t n)
{
    return genet__trie_find(&((const unigram *)m)->pieces.trie, piece, n);
}

static const char *piece_of(const void *m, int32_t id, size_t *n)
{
    const unigram *u = m;
    if (id < 0 || id >= u->n) return NULL;
    *n = u->start[id + 1] - u->start[id];
    return u->bytes + u->start[id];
}

static int size(const void *m)
{
    return ((const unigram *)m)->n;
}

static int32_t unknown_of(const void *m)
{
    return ((const unigram *)m)->pieces.unknown;
}

/* No piece has a mark behind something else, and a mark alone is a piece, so that no unknown token crosses one either. (Sums
 * begin anew at a cut: where two ways cost the same, rounding may choose another than in the whole.) */
static bool splits_at_mark(const void *m)
{
    static const char mark[] = "\xe2\x96\x81";
    const unigram *u = m;
    int32_t alone = genet__trie_find(&u->pieces.trie, mark, 3);
    for (int i = 0; i < u->n; i++) {
        bool inside = false;
        for (uint32_t k = u->start[i]; k < u->start[i + 1]; k++) {
            bool is_mark = u->start[i + 1] - k >= 3 && !memcmp(u->bytes + k, mark, 3);
            if (is_mark && inside) return false;
            inside |= !is_mark;
            k += is_mark ? 2 : 0;
        }
    }
    return alone >= 0 && alone != u->pieces.unknown;
}

/* Scores go in as they lie in memory, in the bytes of a little-endian machine. */
static void hash(const void *m, sha256 *s)
{
    const unigram *u = m;
    const unsigned char rules[2] = { u->byte_fallback, u->pieces.unknown >= 0 };
    genet__sha256_add(s, rules, sizeof rules);
    genet__sha256_add(s, &u->pieces.unknown, sizeof u->pieces.unknown);
    genet__sha256_add(s, u->start, ((size_t)u->n + 1) * sizeof *u->start);
    genet__sha256_add(s, u->bytes, u->start[u->n]);
    genet__sha256_add(s, u->score, (size_t)u->n * sizeof *u->score);
}

const token_model genet__model_unigram = {
    .type = "Unigram", .name = "unigram", .load = load, .to_json = to_json, .encode = encode, .find = find,
    .piece = piece_of, .size = size, .unknown = unknown_of,
    .splits_at_mark = splits_at_mark, .hash = hash, .free = model_free,
};
