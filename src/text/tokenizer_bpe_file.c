/* tokenizer_bpe_file.c - a BPE model in Hugging Face's tokenizer.json: "vocab" and "merges", and what becomes of characters
 * that are in neither; and BPE learned here, which is made as its file would be read. */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_part.h"

/* --- reading ---------------------------------------------------------------------------------------------------- */

static const char *const known[] = { "type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                                     "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges", NULL };

/* A string, or null and then *to stays NULL; "" is one. */
static bool read_string(const json_t *model, const char *field, char **to, const char *where, genet_err *err)
{
    const json_t *j = json_object_get(model, field);
    if (!j || json_is_null(j)) return true;
    if (!json_is_string(j)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.%s must be a string", where, field);
    *to = genet__strdup(json_string_value(j));
    return *to || genet__err_memory(err);
}

static bool read_affix(const json_t *model, const char *field, char **to, size_t *n, const char *where, genet_err *err)
{
    TRY(read_string(model, field, to, where, err));
    *n = *to ? strlen(*to) : 0;
    return *n <= BPE_AFFIX_MAX ||
           genet__err_set(err, GENET_ERR_FORMAT, "%s: model.%s has %zu bytes; at most %d", where, field, *n, BPE_AFFIX_MAX);
}

/* null or absent is false. */
static bool read_flag(const json_t *model, const char *field, bool *to, const char *where, genet_err *err)
{
    const json_t *j = json_object_get(model, field);
    if (j && !json_is_null(j) && !json_is_boolean(j))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.%s must be true or false", where, field);
    *to = json_is_true(j);
    return true;
}

/* Dropping merges by chance is for training alone. */
static bool read_dropout(bpe *b, const json_t *model, const char *where, genet_err *err)
{
    json_t *j = json_object_get(model, "dropout");
    if (j && !json_is_null(j) && !(json_is_number(j) && json_number_value(j) == 0))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.dropout must be null or 0: text is not tokenized by chance "
                              "here", where);
    b->dropout = j ? json_incref(j) : NULL;
    return true;
}

static bool bad_merge(const char *where, size_t i, const char *words, const char *piece, size_t n, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.merges[%zu]: %s \"%.*s\"", where, i, words,
                          n > 60 ? 60 : (int)n, piece);
}

/* The right part loses the prefix of what goes on with a word. */
static bool add_merge(bpe *b, size_t i, const char *l, size_t nl, const char *r, size_t nr, str *text, const char *where,
                      genet_err *err)
{
    int32_t left = genet__vocabulary_find(&b->v, l, nl), right = genet__vocabulary_find(&b->v, r, nr);
    if (left < 0) return bad_merge(where, i, "model.vocab has no piece", l, nl, err);
    if (right < 0) return bad_merge(where, i, "model.vocab has no piece", r, nr, err);
    if (nr < b->n_prefix) return bad_merge(where, i, "there is no room for the prefix in", r, nr, err);
    genet__str_clear(text);
    genet__str_add_n(text, l, nl);
    genet__str_add_n(text, r + b->n_prefix, nr - b->n_prefix);
    if (text->failed) return genet__err_memory(err);
    int32_t joined = genet__vocabulary_find(&b->v, genet__str(text), text->n);
    if (joined < 0) return bad_merge(where, i, "model.vocab lacks what it makes, of", l, nl, err);
    genet__bpe_add_merge(b, left, right, joined);
    return true;
}

/* "a b", or ["a", "b"]. */
static bool read_merge(bpe *b, size_t i, const json_t *j, str *text, const char *where, genet_err *err)
{
    const json_t *l = json_array_get(j, 0), *r = json_array_get(j, 1);
    if (json_array_size(j) == 2 && json_is_string(l) && json_is_string(r))
        return add_merge(b, i, json_string_value(l), json_string_length(l), json_string_value(r), json_string_length(r), text,
                         where, err);
    const char *s = json_string_value(j), *space = s ? strchr(s, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return bad_merge(where, i, "must be two pieces, not", s ? s : "", s ? strlen(s) : 0, err);
    return add_merge(b, i, s, (size_t)(space - s), space + 1, strlen(space + 1), text, where, err);
}

static bool read_merges(bpe *b, const json_t *list, const char *where, genet_err *err)
{
    str text = { 0 };
    size_t n = json_array_size(list);
    if (!json_is_array(list)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.merges must be an array", where);
    if (n > VOCABULARY_MAX) return genet__err_set(err, GENET_ERR_FORMAT, "%s: more than %d merges", where, VOCABULARY_MAX);
    bool ok = genet__bpe_room(b, (int)n, err);
    for (size_t i = 0; ok && i < n; i++) ok = read_merge(b, i, json_array_get(list, i), &text, where, err);
    genet__str_release(&text);
    return ok;
}

static bool read_all(bpe *b, const json_t *model, const char *where, genet_err *err)
{
    TRY(genet__json_known(model, known, where, "model", err));
    TRY(read_dropout(b, model, where, err) && read_string(model, "unk_token", &b->unk_token, where, err));
    TRY(read_affix(model, "continuing_subword_prefix", &b->prefix, &b->n_prefix, where, err));
    TRY(read_affix(model, "end_of_word_suffix", &b->suffix, &b->n_suffix, where, err));
    TRY(read_flag(model, "fuse_unk", &b->fuse_unk, where, err) && read_flag(model, "byte_fallback", &b->byte_fallback, where, err));
    TRY(read_flag(model, "ignore_merges", &b->ignore_merges, where, err));
    return genet__vocabulary_read(&b->v, json_object_get(model, "vocab"), where, "model.vocab", err) &&
           read_merges(b, json_object_get(model, "merges"), where, err);
}

void *genet__bpe_load(const json_t *model, const char *where, genet_err *err)
{
    bpe *b = genet__alloc(sizeof *b);
    if (!b) genet__err_memory(err);
    if (b && read_all(b, model, where, err)) return b;
    genet__bpe_free(b);
    return NULL;
}

/* --- bytes ------------------------------------------------------------------------------------------------------ */

/* The bytes of a piece in the byte alphabet, at to; their number, or -1: other characters. */
static int64_t to_bytes(const char *s, size_t n, char *to)
{
    int64_t length = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        int k = genet__utf8_decode(s + i, n - i, &c);
        int byte = k > 0 ? genet__letter_byte(c) : -1;
        if (byte < 0) return -1;
        to[length++] = (char)byte;
        i += (size_t)k;
    }
    return length;
}

/* Visible ASCII is its own letter. */
static bool is_visible(const char *s)
{
    for (; s && *s; s++)
        if (*s <= ' ' || *s >= 0x7f) return false;
    return true;
}

/* Pieces with other letters never come from bytes: they are left out. */
static bool fill_bytes(bpe *b)
{
    char *to = genet__alloc(b->v.n_bytes + 1);
    bool ok = to && genet__vocabulary_init(&b->bytes, b->v.count, NULL);
    for (int32_t id = 0; ok && id < b->v.size; id++) {
        size_t n;
        const char *s = genet__vocabulary_piece(&b->v, id, &n);
        int64_t length = s ? to_bytes(s, n, to) : -1;
        if (length >= 0) ok = genet__vocabulary_add(&b->bytes, to, (size_t)length, id, NULL);
    }
    genet__free(to);
    return ok;
}

bool genet__bpe_settle(void *m, bool bytes, bool *taken, genet_err *err)
{
    bpe *b = m;
    *taken = b->takes_bytes = bytes && !b->byte_fallback && is_visible(b->prefix) && is_visible(b->suffix);
    if (*taken && !fill_bytes(b)) return genet__err_memory(err);
    genet__bpe_index(b);
    return true;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static bool has_space(const bpe *b, int32_t id)
{
    size_t n;
    const char *s = genet__vocabulary_piece(&b->v, id, &n);
    return n && memchr(s, ' ', n);
}

/* Pairs of pieces; as one string each, which older readers know too, where no piece has a space. */
static json_t *merges_json(const bpe *b)
{
    json_t *j = json_array();
    bool spaces = false;
    for (int i = 0; i < b->n_merge; i++) spaces |= has_space(b, b->merge[i].left) || has_space(b, b->merge[i].right);
    for (int i = 0; i < b->n_merge; i++) {
        size_t nl, nr;
        const char *l = genet__vocabulary_piece(&b->v, b->merge[i].left, &nl);
        const char *r = genet__vocabulary_piece(&b->v, b->merge[i].right, &nr);
        str both = { 0 };
        genet__str_printf(&both, "%.*s %.*s", (int)nl, l, (int)nr, r);
        genet__json_append(&j, both.failed ? NULL : spaces ? json_pack("[s%, s%]", l, nl, r, nr) : json_string(both.at));
        genet__str_release(&both);
    }
    return j;
}

json_t *genet__bpe_to_json(const void *m)
{
    const bpe *b = m;
    return json_pack("{s:s, s:O?, s:s?, s:s?, s:s?, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", b->dropout,
                     "unk_token", b->unk_token, "continuing_subword_prefix", b->prefix, "end_of_word_suffix", b->suffix,
                     "fuse_unk", b->fuse_unk, "byte_fallback", b->byte_fallback, "ignore_merges", b->ignore_merges,
                     "vocab", genet__vocabulary_json(&b->v), "merges", merges_json(b));
}

/* --- learned here ----------------------------------------------------------------------------------------------- */

/* Pieces in the byte alphabet, each ended by a zero byte: piece i begins at s.at[start[i]]. */
typedef struct learned { str s; size_t *start; int n; json_t *vocab, *merges; } learned;

/* What was written last is the next piece, unless it is one already. */
static bool add_new(learned *l, genet_err *err)
{
    size_t begin = l->start[l->n];
    genet__str_add_n(&l->s, "", 1);
    if (l->s.failed) return genet__err_memory(err);
    if (json_object_get(l->vocab, l->s.at + begin)) {
        l->s.n = begin;
        return true;
    }
    if (json_object_set_new(l->vocab, l->s.at + begin, json_integer(l->n))) return genet__err_memory(err);
    l->start[++l->n] = l->s.n;
    return true;
}

static bool add_joined(learned *l, bpe_merge m, int index, genet_err *err)
{
    if (m.left < 0 || m.right < 0 || m.left >= l->n || m.right >= l->n)
        return genet__err_set(err, GENET_ERR_USAGE, "merge %d: %d and %d are not both ids of tokens made before", index,
                              m.left, m.right);
    str pair = { 0 };
    genet__str_printf(&pair, "%s %s", l->s.at + l->start[m.left], l->s.at + l->start[m.right]);
    bool ok = !pair.failed && !json_array_append_new(l->merges, json_string(pair.at));
    if (ok) {
        char *space = strchr(pair.at, ' ');
        genet__str_add_n(&l->s, pair.at, (size_t)(space - pair.at));
        genet__str_add(&l->s, space + 1);
    }
    genet__str_release(&pair);
    return ok ? add_new(l, err) : genet__err_memory(err);
}

static bool fill(learned *l, json_t **added, const char *const *special, int n_special, const bpe_merge *merge, int n_merge,
                 genet_err *err)
{
    for (int i = 0; i < n_special; i++) {
        genet__str_add(&l->s, special[i]);
        TRY(add_new(l, err));
        genet__json_append(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", i, "content", special[i],
                                            "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
    }
    for (uint32_t c = 0; c <= 0x143; c++) {                 /* the letters in order */
        char letter[4];
        if (genet__letter_byte(c) < 0) continue;
        genet__str_add_n(&l->s, letter, (size_t)genet__utf8_encode(c, letter));
        TRY(add_new(l, err));
    }
    for (int i = 0; i < n_merge; i++) TRY(add_joined(l, merge[i], i, err));
    return true;
}

static json_t *byte_level_json(bool add_prefix_space)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", add_prefix_space, "trim_offsets", 1,
                     "use_regex", 1);
}

/* Takes added over. */
static tokenizer *make(const learned *l, json_t *added, genet_err *err)
{
    json_t *j = json_pack("{s:s, s:n, s:n, s:o, s:n, s:o, s:o, s:o, s:{s:s, s:O, s:O}}", "version", "1.0", "truncation",
                          "padding", "added_tokens", added, "normalizer", "pre_tokenizer", byte_level_json(false),
                          "post_processor", byte_level_json(true), "decoder", byte_level_json(true), "model", "type", "BPE",
                          "vocab", l->vocab, "merges", l->merges);
    if (!j) genet__err_memory(err);
    tokenizer *t = j ? genet__tokenizer_from_json(j, "bpe", err) : NULL;
    json_decref(j);
    return t;
}

tokenizer *genet__tokenizer_from_merges(const char *const *special, int n_special, const bpe_merge *merge, int n_merge,
                                        genet_err *err)
{
    int64_t most = (int64_t)n_special + 256 + n_merge;
    tokenizer *t = NULL;
    if (most >= VOCABULARY_MAX) {
        genet__err_set(err, GENET_ERR_USAGE, "%d merges are too many", n_merge);
        return NULL;
    }
    json_t *added = json_array();
    learned l = { .start = genet__alloc_array((size_t)most + 1, sizeof *l.start), .vocab = json_object(),
                  .merges = json_array() };
    bool ok = (l.start && l.vocab && l.merges) || genet__err_memory(err);
    if (ok && fill(&l, &added, special, n_special, merge, n_merge, err)) t = make(&l, added, err);
    else json_decref(added);
    json_decref(l.vocab);
    json_decref(l.merges);
    genet__str_release(&l.s);
    genet__free(l.start);
    return t;
}
