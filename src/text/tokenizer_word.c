/* tokenizer_word.c - one token a word: what stands between white space, case kept.
 *
 * In Hugging Face's terms: a WordLevel model behind WhitespaceSplit. In what we learn, a line's end
 * is a word too, so that generated text keeps its lines; the pre-tokenizer is then two Splits (white space but "\n"
 * removed, "\n" isolated), and the decoder joins words by spaces, but for those around a line's end:
 *
 *   WordPiece       a space before each word but the first; its prefix, a space, is no word's beginning
 *   Fuse            one string
 *   Replace twice   " \n" and "\n " become "\n"
 *
 * Words find their ids by open addressing over the bytes of the vocabulary. */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/reader.h"
#include "text/space.h"
#include "text/tokenizer_pipeline.h"
#include "text/tokenizer_train.h"
#include "text/word_count.h"

typedef struct word_table {
    uint32_t *slot;             /* id + 1; 0: free.  At most half of them are used. */
    uint32_t  mask;
    bool      has_lines;        /* "\n" is a word */
    bool      joins_lines;      /* no spaces around it when decoding */
    int64_t   least_count;      /* of a word that was kept in learning; 0: not learned here */
} word_table;

static const char unknown_word[] = "<unk>";
enum { PIECES_MAX = INT_MAX / 4 };

/* --- the vocabulary ------------------------------------------------------------------ */

static uint32_t hash_of(const char *s, size_t n)
{
    uint64_t h = n, x = 0;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&x, s, 8);
        h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    x = 0;
    for (size_t i = 0; i < n; i++) x = x << 8 | (unsigned char)s[i];
    h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h ^ h >> 32);
}

/* Where the word is, or the free place where it belongs. */
static uint32_t *slot_of(const tokenizer *t, const char *s, size_t n)
{
    const word_table *w = t->table;
    for (uint32_t i = hash_of(s, n);; i++) {
        uint32_t *slot = &w->slot[i & w->mask];
        if (!*slot) return slot;
        uint32_t at = t->start[*slot - 1];
        if (t->start[*slot] - at == n && !memcmp(t->bytes + at, s, n)) return slot;
    }
}

static int32_t find(const tokenizer *t, const char *piece, size_t n)
{
    return (int32_t)*slot_of(t, piece, n) - 1;
}

/* The pieces, which are all different; id = index. */
static bool fill(tokenizer *t, const counted_word *piece, int n, const char *where, genet_err *err)
{
    size_t n_bytes = 0, n_slots = 16;
    for (int i = 0; i < n; i++) n_bytes += piece[i].n;
    while (n_slots < 2 * (size_t)n) n_slots *= 2;
    if (n_bytes > UINT32_MAX || n > PIECES_MAX)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: the vocabulary is too large: %d words of %zu bytes", where,
                              n, n_bytes);
    word_table *w = ARENA_NEW(&t->arena, word_table);
    t->bytes = ARENA_ARRAY(&t->arena, char, (int64_t)n_bytes + 1);
    t->start = ARENA_ARRAY(&t->arena, uint32_t, (int64_t)n + 1);
    if (w) w->slot = ARENA_ARRAY(&t->arena, uint32_t, (int64_t)n_slots);
    if (!w || !t->bytes || !t->start || !w->slot) return genet__err_memory(err);
    w->mask = (uint32_t)n_slots - 1;
    t->table = w;
    t->n = n;
    for (int i = 0; i < n; i++) {
        if (piece[i].n) memcpy(t->bytes + t->start[i], piece[i].at, piece[i].n);
        t->start[i + 1] = t->start[i] + (uint32_t)piece[i].n;
        *slot_of(t, piece[i].at, piece[i].n) = (uint32_t)i + 1;
    }
    return true;
}

/* --- text and ids ---------------------------------------------------------------------- */

/* The next word of text from *at on: its length, *at its beginning; 0: there is none. */
static size_t next_word(const char *text, size_t n, bool has_lines, size_t *at)
{
    size_t i = *at, space = 1;
    for (; i < n && (space = genet__space_at(text + i, n - i)); i += space)
        if (has_lines && text[i] == '\n') break;
    *at = i;
    if (i < n && space) return 1;                   /* "\n" */
    while (i < n) {
        unsigned char c = (unsigned char)text[i];
        if (c > ' ' && c < 0xc2) i++;               /* most letters */
        else if (genet__space_at(text + i, n - i)) break;
        else i++;
    }
    return i - *at;
}

static bool no_such_word(const tokenizer *t, const char *word, size_t n, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_USAGE,
                          "the word \"%.*s\" is not among the %d that the model knows, which has no token "
                          "for unknown words", n < 60 ? (int)n : 60, word, t->n);
}

/* Words that are not in the vocabulary, broken UTF-8 too, are the unknown one. */
static bool encode(token_run *r, const token_text *text)
{
    const tokenizer *t = r->t;
    bool has_lines = ((const word_table *)t->table)->has_lines;
    for (size_t at = 0, length; (length = next_word(text->s, text->n, has_lines, &at)); at += length) {
        int32_t id = find(t, text->s + at, length);
        if (id < 0) id = t->unknown;
        if (id < 0) {
            r->bad = text->s + at;
            return no_such_word(t, text->s + at, length, r->err);
        }
        token_text word = genet__token_text_slice(text, at, at + length);
        TRY(genet__run_add(r, id, &word));
    }
    return true;
}

/* Behind the last white space: a word may go on. */
static size_t cut(const tokenizer *t, const char *text, size_t n)
{
    (void)t;
    return genet__space_last(text, n);
}

static bool is_line_end(const tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n && t->start[id + 1] - t->start[id] == 1 && t->bytes[t->start[id]] == '\n';
}

static const char *between(const tokenizer *t, int32_t before, int32_t id)
{
    const word_table *w = t->table;
    return w->joins_lines && (is_line_end(t, before) || is_line_end(t, id)) ? "" : " ";
}

static void hash_rules(const tokenizer *t, sha256 *s)
{
    const word_table *w = t->table;
    const unsigned char rules[2] = { w->has_lines, w->joins_lines };
    genet__sha256_add(s, rules, sizeof rules);
    genet__sha256_add(s, &(unsigned char){ t->unknown >= 0 }, 1);
}

/* --- tokenizer.json ---------------------------------------------------------------------- */

static const char spaces_regex[] = "[^\\S\\n]+";

static json_t *pre_tokenizer_json(bool has_lines)
{
    if (!has_lines) return json_pack("{s:s}", "type", "WhitespaceSplit");
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, {s:s, s:{s:s}, s:s, s:b}]}", "type", "Sequence", "pretokenizers",
                     "type", "Split", "pattern", "Regex", spaces_regex, "behavior", "Removed", "invert", 0,
                     "type", "Split", "pattern", "String", "\n", "behavior", "Isolated", "invert", 0);
}

static json_t *decoder_json(bool joins_lines)
{
    if (!joins_lines) return json_null();
    return json_pack("{s:s, s:[{s:s, s:s, s:b}, {s:s}, {s:s, s:{s:s}, s:s}, {s:s, s:{s:s}, s:s}]}", "type", "Sequence",
                     "decoders", "type", "WordPiece", "prefix", " ", "cleanup", 0, "type", "Fuse",
                     "type", "Replace", "pattern", "String", " \n", "content", "\n",
                     "type", "Replace", "pattern", "String", "\n ", "content", "\n");
}

/* No piece holds a zero byte: text and JSON have none. */
static json_t *vocabulary_json(const tokenizer *t)
{
    json_t *vocabulary = json_object();
    str piece = { 0 };
    for (int i = 0; vocabulary && i < t->n; i++) {
        genet__str_clear(&piece);
        genet__str_add_n(&piece, t->bytes + t->start[i], t->start[i + 1] - t->start[i]);
        if (!piece.failed && !json_object_set_new(vocabulary, genet__str(&piece), json_integer(i))) continue;
        json_decref(vocabulary);
        vocabulary = NULL;
    }
    genet__str_release(&piece);
    return vocabulary;
}

static json_t *to_json(const tokenizer *t)
{
    const word_table *w = t->table;
    size_t n = sizeof unknown_word - 1;
    json_t *vocabulary = vocabulary_json(t);
    if (!vocabulary) return NULL;
    const char *unknown = t->unknown >= 0 ? genet__tokenizer_piece(t, t->unknown, &n) : unknown_word;
    return json_pack("{s:s, s:n, s:n, s:[], s:n, s:o, s:n, s:o, s:{s:s, s:o, s:s%}}",
                     "version", "1.0", "truncation", "padding", "added_tokens", "normalizer",
                     "pre_tokenizer", pre_tokenizer_json(w->has_lines), "post_processor", "decoder",
                     decoder_json(w->joins_lines),
                     "model", "type", "WordLevel", "vocab", vocabulary, "unk_token", unknown, n);
}

/* Is j what we write?  Takes ours over. */
static bool is_part(const json_t *j, json_t *ours)
{
    bool same = ours && json_equal(j, ours);
    json_decref(ours);
    return same;
}

/* Does every part of the file ask for nothing but words, and is every added token one? */
static bool accepts(const json_t *j)
{
    static const char *const absent[] = { "truncation", "padding", "normalizer", "post_processor" };
    const json_t *split = json_object_get(j, "pre_tokenizer"), *decoder = json_object_get(j, "decoder");
    const json_t *added = json_object_get(j, "added_tokens"), *vocabulary = json_object_get(json_object_get(j, "model"), "vocab");
    for (int i = 0; i < 4; i++) {
        const json_t *there = json_object_get(j, absent[i]);
        if (there && !json_is_null(there)) return false;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const char *content = json_string_value(json_object_get(json_array_get(added, i), "content"));
        if (content && !json_object_get(vocabulary, content)) return false;
    }
    return (is_part(split, pre_tokenizer_json(false)) || is_part(split, pre_tokenizer_json(true))) &&
           (!decoder || json_is_null(decoder) || is_part(decoder, decoder_json(true)));
}

/* Put a piece at its id, which no other has. */
static bool read_piece(const char *piece, size_t n_bytes, int64_t id, counted_word *to, int n, const char *where,
                       genet_err *err)
{
    if (id < 0 || id >= n)
        return genet__err_set(err, GENET_ERR_FORMAT,
                              "%s: model.vocab: the id %" PRId64 " of \"%.40s\" is outside 0..%d, the ids of %d pieces "
                              "without holes", where, id, piece, n - 1, n);
    if (to[id].at)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.vocab: \"%.40s\" and \"%.40s\" both have id %" PRId64, where,
                              to[id].at, piece, id);
    to[id] = (counted_word){ piece, n_bytes, 0 };
    return true;
}

/* Added tokens that the vocabulary lacks have ids of their own; the others, the same. */
static bool read_added(const tokenizer *t, const json_t *vocabulary, counted_word *to, int n, const char *where,
                       genet_err *err)
{
    for (int i = 0; i < t->n_added; i++) {
        const added_token *a = &t->added[i];
        const json_t *known = json_object_get(vocabulary, a->content);
        if (!known) TRY(read_piece(a->content, a->n_bytes, a->id, to, n, where, err));
        else if (json_integer_value(known) != a->id)
            return genet__err_set(err, GENET_ERR_FORMAT,
                                  "%s: added_tokens: \"%.40s\" has id %d, and %" PRId64 " in model.vocab", where,
                                  a->content, (int)a->id, (int64_t)json_integer_value(known));
    }
    return true;
}

static bool read_vocabulary(const tokenizer *t, json_t *vocabulary, counted_word *to, int n, const char *where,
                            genet_err *err)
{
    const char *piece;
    json_t *id;
    json_object_foreach(vocabulary, piece, id) {
        if (!json_is_integer(id))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.vocab: the id of \"%.40s\" is not an integer",
                                  where, piece);
        TRY(read_piece(piece, strlen(piece), json_integer_value(id), to, n, where, err));
    }
    return read_added(t, vocabulary, to, n, where, err);
}

/* How many ids there are is known first, so all different and all within means that none is missing. */
static bool load(tokenizer *t, const json_t *j, const char *where, genet_err *err)
{
    static const char *const known[] = { "type", "vocab", "unk_token", NULL };
    bool has_lines = is_part(json_object_get(j, "pre_tokenizer"), pre_tokenizer_json(true));
    bool joins_lines = is_part(json_object_get(j, "decoder"), decoder_json(true));
    TRY(genet__json_known(json_object_get(j, "model"), known, where, "model", err));
    const json_t *model = json_object_get(j, "model"), *unknown = json_object_get(model, "unk_token");
    json_t *vocabulary = json_object_get(model, "vocab");
    size_t n = json_object_size(vocabulary);
    if (n == 0) return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.vocab is missing or empty", where);
    if (unknown && !json_is_string(unknown))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.unk_token must be a string", where);
    for (int i = 0; i < t->n_added; i++) n += !json_object_get(vocabulary, t->added[i].content);
    counted_word *piece = n <= PIECES_MAX ? genet__alloc_array(n, sizeof *piece) : NULL;
    bool ok = (piece || genet__err_memory(err)) && read_vocabulary(t, vocabulary, piece, (int)n, where, err) &&
              fill(t, piece, (int)n, where, err);
    genet__free(piece);
    TRY(ok);
    word_table *w = t->table;
    w->has_lines = has_lines;
    w->joins_lines = joins_lines;
    t->unknown = unknown ? find(t, json_string_value(unknown), json_string_length(unknown)) : -1;
    return true;
}

/* --- learning ---------------------------------------------------------------------------- */

static size_t cut_at_space(const void *user, const char *text, size_t n)
{
    (void)user;
    return genet__space_last(text, n);
}

/* "<unk>" in the text is the unknown word itself. */
static bool count_words(void *words, const char *text, size_t n, genet_err *err)
{
    for (size_t at = 0, length; (length = next_word(text, n, true, &at)); at += length) {
        bool is_unknown = length == sizeof unknown_word - 1 && !memcmp(text + at, unknown_word, length);
        if (!is_unknown && !genet__word_count_add(words, text + at, length)) return genet__err_memory(err);
    }
    return true;
}

/* The most frequent first, equal ones bytewise. */
static int by_count(const void *a, const void *b)
{
    const counted_word *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    int order = memcmp(x->at, y->at, x->n < y->n ? x->n : y->n);
    return order ? order : x->n < y->n ? -1 : x->n > y->n;
}

static bool choose_words(tokenizer *t, word_count *w, int vocab_size, genet_err *err)
{
    if (w->n) qsort(w->word, (size_t)w->n, sizeof *w->word, by_count);
    int n = w->n < vocab_size - 1 ? w->n : vocab_size - 1;
    counted_word *piece = genet__alloc_array((size_t)n + 1, sizeof *piece);
    if (!piece) return genet__err_memory(err);
    piece[0] = (counted_word){ unknown_word, sizeof unknown_word - 1, 0 };
    if (n) memcpy(piece + 1, w->word, (size_t)n * sizeof *piece);
    bool ok = fill(t, piece, n + 1, "word", err);
    if (ok) {
        word_table *table = t->table;
        table->has_lines = table->joins_lines = true;
        table->least_count = piece[n].count;
        t->unknown = 0;
    }
    genet__free(piece);
    return ok;
}

tokenizer *genet__word_train(text_source *s, int64_t n_chars, int vocab_size, const train_watch *watch, genet_err *err)
{
    word_count w = { 0 };
    tokenizer *t = genet__alloc(sizeof *t);
    bool ok = t || genet__err_memory(err);
    if (t) t->kind = &genet__tokenizer_word;
    ok = ok && genet__reader_count(s, n_chars, cut_at_space, NULL, count_words, &w, watch, err) &&
         choose_words(t, &w, vocab_size, err);
    genet__word_count_release(&w);
    if (ok) return t;
    genet__tokenizer_free(t);
    return NULL;
}

int64_t genet__word_least_count(const tokenizer *t)
{
    return t->kind == &genet__tokenizer_word ? ((const word_table *)t->table)->least_count : 0;
}

const tokenizer_kind genet__tokenizer_word = {
    .name = "word", .model_type = "WordLevel", .accepts = accepts, .load = load, .to_json = to_json, .encode = encode, .find = find, .cut = cut,
    .between = between, .hash = hash_rules,
};
