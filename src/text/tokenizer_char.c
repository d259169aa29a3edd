/* tokenizer_char.c - one token a code point.
 *
 * In Hugging Face's terms: a WordLevel model behind a Split at every
 * character, joined again by the Fuse decoder.  The pattern is [\s\S] because "."
 * leaves out newlines. The unknown token is named, as the format demands, but
 * not in the vocabulary: transformers then refuses unknown characters as we do.
 *
 * Code points find their ids through a table of pages of 256, made only where
 * the vocabulary has some. */
#include <limits.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/tokenizer_pipeline.h"

enum { PAGE = 256, PAGES = 0x110000 / PAGE };

typedef struct char_table { int32_t *page[PAGES]; } char_table;      /* id + 1; 0: none */

/* Entries hold id + 1, so that fresh memory says "none". */
static int32_t id_of(const tokenizer *t, uint32_t c)
{
    const char_table *table = t->table;
    const int32_t *page = table->page[c / PAGE];
    return page ? page[c % PAGE] - 1 : -1;
}

/* The vocabulary c[0 .. n), id = index; every code point once, none is 0. */
static bool fill(tokenizer *t, const uint32_t *c, int n, genet_err *err)
{
    char_table *table = ARENA_NEW(&t->arena, char_table);
    t->bytes = ARENA_ARRAY(&t->arena, char, 4 * (int64_t)n);
    t->start = ARENA_ARRAY(&t->arena, uint32_t, (int64_t)n + 1);
    if (!table || !t->bytes || !t->start) return genet__err_memory(err);
    t->table = table;
    t->n = n;
    for (int i = 0; i < n; i++) {
        int32_t **page = &table->page[c[i] / PAGE];
        if (!*page) *page = ARENA_ARRAY(&t->arena, int32_t, PAGE);
        if (!*page) return genet__err_memory(err);
        (*page)[c[i] % PAGE] = i + 1;
        t->start[i + 1] = t->start[i] + (uint32_t)genet__utf8_encode(c[i], t->bytes + t->start[i]);
    }
    return true;
}

tokenizer *genet__tokenizer_from_chars(const char_set *s, genet_err *err)
{
    int n = 0;
    for (size_t i = 0; i < sizeof s->bit / sizeof *s->bit; i++) n += __builtin_popcountll(s->bit[i]);
    tokenizer *t = genet__alloc(sizeof *t);
    uint32_t *c = t ? ARENA_ARRAY(&t->arena, uint32_t, n) : NULL;
    bool ok = c || genet__err_memory(err);
    if (ok && (n == 0 || s->bit[0] & 1))
        ok = genet__err_set(err, GENET_ERR_FORMAT, n ? "the text holds zero bytes: it is not text"
                                                     : "the text is empty: it gives no vocabulary");
    n = 0;
    for (uint32_t k = 0; ok && k < 0x110000; k++)
        if (s->bit[k >> 6] >> (k & 63) & 1) c[n++] = k;
    if (ok) t->kind = &genet__tokenizer_char, t->unknown = -1;
    if (ok && fill(t, c, n, err)) return t;
    genet__tokenizer_free(t);
    return NULL;
}

static bool no_such_character(const token_run *r, const char *s, uint32_t c)
{
    if (c >= NOT_UTF8)
        return genet__err_set(r->err, GENET_ERR_FORMAT, "0x%02X is not UTF-8 text", (unsigned char)*s);
    char name[32];
    genet__describe_char(c, name);
    return genet__err_set(r->err, GENET_ERR_USAGE, "the character %s is not among the %d characters that the model knows",
                          name, r->t->n);
}

/* A text of n bytes gives at most n ids: one growth, then no checks inside. */
static bool encode(token_run *r, const token_text *text)
{
    token_list *out = r->sink.ids;
    size_t n = text->n;
    if (n > (size_t)(INT_MAX - out->n))
        return genet__err_set(r->err, GENET_ERR_USAGE, "%zu bytes are too much text for one piece; at most %d", n, INT_MAX);
    if (!genet__grow(&out->at, &out->cap, out->n + (int)n, sizeof *out->at)) return genet__err_memory(r->err);
    for (size_t i = 0, k; i < n; i += k) {
        uint32_t c;
        k = (size_t)genet__char_at(text->s + i, n - i, &c);
        int32_t id = c < NOT_UTF8 ? id_of(r->t, c) : -1;
        if (id < 0) {
            r->bad = text->s + i;
            return no_such_character(r, text->s + i, c);
        }
        token_text piece = genet__token_text_slice(text, i, i + k);
        if (!r->origins) out->at[out->n++] = id;
        else TRY(genet__run_add(r, id, &piece));
    }
    return true;
}

static int32_t find(const tokenizer *t, const char *piece, size_t n_bytes)
{
    uint32_t c;
    int length = genet__utf8_decode(piece, n_bytes, &c);
    return length && (size_t)length == n_bytes ? id_of(t, c) : -1;
}

/* --- tokenizer.json --------------------------------------------------------- */

static json_t *vocabulary_json(const tokenizer *t)
{
    json_t *vocabulary = json_object();
    for (int i = 0; vocabulary && i < t->n; i++) {
        char piece[5] = "";
        memcpy(piece, t->bytes + t->start[i], t->start[i + 1] - t->start[i]);
        if (!json_object_set_new(vocabulary, piece, json_integer(i))) continue;
        json_decref(vocabulary);
        return NULL;
    }
    return vocabulary;
}

static json_t *to_json(const tokenizer *t)
{
    json_t *vocabulary = vocabulary_json(t);
    if (!vocabulary) return NULL;
    return json_pack("{s:s, s:n, s:n, s:[], s:n, s:{s:s, s:{s:s}, s:s, s:b}, s:n, s:{s:s}, s:{s:s, s:o, s:s}}",
                     "version", "1.0", "truncation", "padding", "added_tokens", "normalizer",
                     "pre_tokenizer", "type", "Split", "pattern", "Regex", "[\\s\\S]",
                     "behavior", "Isolated", "invert", 0,
                     "post_processor", "decoder", "type", "Fuse",
                     "model", "type", "WordLevel", "vocab", vocabulary, "unk_token", "<unk>");
}

/* o[key] is the string wanted. */
static bool is_string(const json_t *o, const char *key, const char *wanted)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s && !strcmp(s, wanted);
}

static bool is_absent(const json_t *o, const char *key)
{
    const json_t *j = json_object_get(o, key);
    return !j || json_is_null(j) || (json_is_array(j) && !json_array_size(j));
}

/* Is the pre-tokenizer the one we write, or another that says the same? */
static bool splits_all(const json_t *split)
{
    const json_t *wanted = json_object_get(split, "pattern");
    bool every = is_string(wanted, "Regex", "[\\s\\S]") || is_string(wanted, "Regex", "[\\S\\s]") ||
                 is_string(wanted, "String", "");
    return is_string(split, "type", "Split") && is_string(split, "behavior", "Isolated") && every &&
           !json_is_true(json_object_get(split, "invert")) && json_object_size(split) <= 4 && json_object_size(wanted) == 1;
}

/* Does every part of the file leave characters as they are, and is every piece one? */
static bool accepts(const json_t *j)
{
    static const char *const absent[] = { "truncation", "padding", "normalizer", "post_processor", "added_tokens" };
    const json_t *decoder = json_object_get(j, "decoder");
    bool so = splits_all(json_object_get(j, "pre_tokenizer")) && is_string(decoder, "type", "Fuse") &&
              json_object_size(decoder) == 1;
    for (int i = 0; i < 5; i++) so = so && is_absent(j, absent[i]);
    json_t *vocabulary = json_object_get(json_object_get(j, "model"), "vocab"), *id;
    const char *piece;
    json_object_foreach(vocabulary, piece, id) {
        uint32_t code;
        int length = genet__utf8_decode(piece, strlen(piece), &code);
        so = so && length && !piece[length];
    }
    return so;
}

/* Put one entry of model.vocab at its id. */
static bool read_piece(const char *piece, const json_t *id, uint32_t *c, int n, const char *where, genet_err *err)
{
    uint32_t code;
    char name[32], other[32];
    genet__utf8_decode(piece, strlen(piece), &code);
    genet__describe_char(code, name);
    if (!json_is_integer(id))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.vocab: the id of %s is not an integer", where, name);
    json_int_t i = json_integer_value(id);
    if (i < 0 || i >= n)
        return genet__err_set(err, GENET_ERR_FORMAT,
                              "%s: model.vocab: the id %lld of %s is outside 0..%d, the ids of %d pieces without "
                              "holes",
                              where, (long long)i, name, n - 1, n);
    genet__describe_char(c[i], other);
    if (c[i])
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.vocab: %s and %s both have id %lld", where, other, name,
                              (long long)i);
    c[i] = code;
    return true;
}

/* The number of pieces is known first, so ids are checked against it one by one:
 * all different and all within means that none is missing. */
static bool load(tokenizer *t, const json_t *j, const char *where, genet_err *err)
{
    static const char *const known[] = { "type", "vocab", "unk_token", NULL };
    json_t *vocabulary = json_object_get(json_object_get(j, "model"), "vocab"), *id;
    TRY(genet__json_known(json_object_get(j, "model"), known, where, "model", err));
    int n = (int)json_object_size(vocabulary);
    if (n == 0) return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.vocab is missing or empty", where);
    uint32_t *c = ARENA_ARRAY(&t->arena, uint32_t, n);
    if (!c) return genet__err_memory(err);
    const char *piece;
    json_object_foreach(vocabulary, piece, id) TRY(read_piece(piece, id, c, n, where, err));
    return fill(t, c, n, err);
}

const tokenizer_kind genet__tokenizer_char = {
    .name = "char", .model_type = "WordLevel", .accepts = accepts, .load = load, .to_json = to_json, .encode = encode,
        .find = find,
};
