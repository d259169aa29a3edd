/* tokenizer_bpe_file.c - byte-level BPE in Hugging Face's tokenizer.json.
 *
 * model.vocab holds pieces in the byte alphabet with their ids, model.merges pairs of them by rank, pre_tokenizer the
 * pattern.  Added tokens stand in text as they are; those in model.vocab too keep that id, the others follow.  Every
 * field that would change ids in a way not done here is refused by name; truncation and padding are the
 * caller's business, in transformers too. */
#include <inttypes.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/tokenizer_bpe.h"

typedef struct reading {
    tokenizer   *t;
    const char  *where;
    bpe_alphabet alphabet;
    const char **key;           /* of each id, in the JSON; NULL: none yet */
    char        *text;          /* room for two pieces */
    size_t       longest;       /* bytes of the longest key */
    genet_err   *err;
} reading;

static const char *type_of(const json_t *j)
{
    const char *s = json_string_value(json_object_get(j, "type"));
    return s ? s : "";
}

static bool refuse(const char *where, const char *field, const char *value, genet_err *err)
{
    if (!*value) return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s: the type is missing", where, field);
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s: \"%.60s\" is not known to this version for a BPE model", where,
                          field, value);
}

/* --- pre_tokenizer and what stands around ------------------------------------------------------------------------ */

static bool set_pattern(bpe *b, pattern *p, const char *where, genet_err *err)
{
    b->pattern = p;
    return p || genet__err_prefix(err, "%s: pre_tokenizer: ", where);
}

/* {"type": "Split", "pattern": {"Regex": ...}, "behavior": "Isolated", "invert": false} */
static bool read_split(bpe *b, const json_t *j, const char *where, genet_err *err)
{
    const char *regex = json_string_value(json_object_get(json_object_get(j, "pattern"), "Regex"));
    const char *behavior = json_string_value(json_object_get(j, "behavior"));
    if (!regex) return genet__err_set(err, GENET_ERR_FORMAT, "%s: pre_tokenizer: Split has no pattern \"Regex\"", where);
    if (!behavior || strcmp(behavior, "Isolated"))
        return refuse(where, "pre_tokenizer: Split's behavior", behavior ? behavior : "", err);
    if (json_is_true(json_object_get(j, "invert"))) return refuse(where, "pre_tokenizer: Split's invert", "true", err);
    return set_pattern(b, genet__pattern_new(regex, err), where, err);
}

static bool read_byte_level(const json_t *j, const char *where, bool *space, bool *use_regex, genet_err *err)
{
    bool found;
    *use_regex = true;
    if (strcmp(type_of(j), "ByteLevel")) return refuse(where, "pre_tokenizer", type_of(j), err);
    return genet__json_bool(j, "add_prefix_space", where, space, NULL, err) &&
           genet__json_bool(j, "use_regex", where, use_regex, &found, err);
}

static bool read_pre_tokenizer(bpe *b, const json_t *j, const char *where, genet_err *err)
{
    const json_t *parts = json_object_get(j, "pretokenizers");
    bool use_regex, sequence = !strcmp(type_of(j), "Sequence");
    const json_t *last = sequence ? json_array_get(parts, json_array_size(parts) - 1) : j;
    TRY(read_byte_level(last, where, &b->add_prefix_space, &use_regex, err));
    if (!sequence || json_array_size(parts) == 1) {
        if (!use_regex) return refuse(where, "pre_tokenizer: use_regex", "false", err);
        b->gpt2 = true;
        return set_pattern(b, genet__pattern_gpt2(err), where, err);
    }
    const json_t *split = json_array_get(parts, 0);
    if (json_array_size(parts) != 2 || strcmp(type_of(split), "Split"))
        return refuse(where, "pre_tokenizer: Sequence of", type_of(split), err);
    if (use_regex) return refuse(where, "pre_tokenizer: use_regex after Split", "true", err);
    if (b->add_prefix_space) return refuse(where, "pre_tokenizer: add_prefix_space after Split", "true", err);
    return read_split(b, split, where, err);
}

/* {"type": "TemplateProcessing", "single": [{"Sequence": ...}]} adds nothing. */
static bool is_bare_template(const json_t *j)
{
    const json_t *single = json_object_get(j, "single");
    return !strcmp(type_of(j), "TemplateProcessing") && json_array_size(single) == 1 &&
           json_object_get(json_array_get(single, 0), "Sequence");
}

static bool check_pipeline(const json_t *j, const char *where, genet_err *err)
{
    const json_t *normalizer = json_object_get(j, "normalizer"), *post = json_object_get(j, "post_processor");
    const json_t *decoder = json_object_get(j, "decoder");
    if (normalizer && !json_is_null(normalizer)) return refuse(where, "normalizer", type_of(normalizer), err);
    if (post && !json_is_null(post) && strcmp(type_of(post), "ByteLevel") && !is_bare_template(post))
        return refuse(where, "post_processor", type_of(post), err);
    return !strcmp(type_of(decoder), "ByteLevel") || refuse(where, "decoder", type_of(decoder), err);
}

/* What must be absent, null, false, 0 or "". */
static bool check_model(const json_t *model, const char *where, genet_err *err)
{
    static const char *const off[] = { "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                                       "byte_fallback" };
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        const json_t *x = json_object_get(model, off[i]);
        bool none = !x || json_is_null(x) || json_is_false(x) || (json_is_number(x) && json_number_value(x) == 0) ||
                    (json_is_string(x) && json_string_length(x) == 0);
        if (!none)
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.%s must be off: this version's BPE is byte-level and "
                                  "has no use for it", where, off[i]);
    }
    return true;
}

/* --- model.vocab ------------------------------------------------------------------------------------------------- */

/* The bytes of a piece in the byte alphabet, at to; their number, or -1: other characters. */
static int64_t to_bytes(const bpe_alphabet *a, const char *s, size_t n, char *to)
{
    int64_t length = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        int k = genet__utf8_decode(s + i, n - i, &c);
        if (k <= 0 || c >= sizeof a->byte / sizeof *a->byte || a->byte[c] < 0) return -1;
        to[length++] = (char)a->byte[c];
        i += (size_t)k;
    }
    return length;
}

static bool place(reading *r, const char *key, json_int_t id)
{
    if (id < 0 || id >= r->t->n)
        return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: model.vocab: the id %" PRId64 " of \"%.40s\" is outside 0..%d, "
                              "the ids of %d pieces without holes", r->where, (int64_t)id, key, r->t->n - 1, r->t->n);
    if (r->key[id])
        return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: \"%.40s\" and \"%.40s\" both have id %" PRId64, r->where,
                              r->key[id], key, (int64_t)id);
    r->key[id] = key;
    if (strlen(key) > r->longest) r->longest = strlen(key);
    return true;
}

/* Ids of all pieces: all different and all within means that none is missing. */
static bool place_all(reading *r, json_t *vocabulary)
{
    const char *key;
    json_t *id;
    json_object_foreach(vocabulary, key, id) {
        if (!json_is_integer(id))
            return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: model.vocab: the id of \"%.40s\" is not an integer",
                                  r->where, key);
        TRY(place(r, key, json_integer_value(id)));
    }
    for (int i = 0; i < r->t->n_added; i++) {
        const added_token *a = &r->t->added[i];
        const json_t *there = json_object_get(vocabulary, a->content);
        if (there && json_integer_value(there) != a->id)
            return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: added_tokens: \"%.40s\" has id %d, and %" PRId64
                                  " in model.vocab", r->where, a->content, a->id, (int64_t)json_integer_value(there));
        if (!there) TRY(place(r, a->content, a->id));
    }
    return true;
}

/* An added token's piece is what stands in the text, unless its content is a piece of model.vocab in the byte alphabet
 * as well: that piece keeps its bytes, for the library decodes it so (content "é", the letter of byte 0xe9). */
static bool fill_piece(reading *r, int32_t id, bool in_model)
{
    tokenizer *t = r->t;
    const char *key = r->key[id];
    size_t n = strlen(key);
    char *to = t->bytes + t->start[id];
    int64_t length = in_model ? to_bytes(&r->alphabet, key, n, to) : -1;
    if (in_model && length < 0 && !genet__added_find(t, id))
        return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: model.vocab: \"%.40s\" (id %d) has characters outside the byte "
                              "alphabet: this version's BPE is byte-level", r->where, key, id);
    if (length < 0) memcpy(to, key, n);
    t->start[id + 1] = t->start[id] + (uint32_t)(length < 0 ? n : (size_t)length);
    if (length >= 0) genet__bpe_add_piece(t, id);
    return true;
}

/* Ids below n_model are model.vocab's, in any order among themselves: added tokens follow, as the library counts. */
static bool read_pieces(reading *r, json_t *vocabulary)
{
    tokenizer *t = r->t;
    bpe *b = t->table;
    b->n_model = (int)json_object_size(vocabulary);
    TRY(place_all(r, vocabulary));
    size_t bytes = 1;
    for (int i = 0; i < t->n; i++) bytes += strlen(r->key[i]);
    t->bytes = ARENA_ARRAY(&t->arena, char, (int64_t)bytes);
    t->start = ARENA_ARRAY(&t->arena, uint32_t, (int64_t)t->n + 1);
    r->text = genet__alloc(2 * r->longest + 2);
    if (!t->bytes || !t->start || !r->text) return genet__err_memory(r->err);
    for (int32_t i = 0; i < t->n; i++) {
        bool in_model = i < b->n_model;
        if (in_model != (json_object_get(vocabulary, r->key[i]) != NULL))
            return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: added_tokens: the id %d of \"%.40s\" lies among the ids of "
                                  "model.vocab", r->where, i, r->key[i]);
        TRY(fill_piece(r, i, in_model));
    }
    return true;
}

/* --- model.merges ------------------------------------------------------------------------------------------------ */

static bool bad_merge(const reading *r, size_t i, const char *words, const char *piece, size_t n)
{
    return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: model.merges[%zu]: %s \"%.*s\"", r->where, i, words,
                          n > 60 ? 60 : (int)n, piece);
}

/* The id of a piece whose bytes come to stand at to. */
static int32_t part(const reading *r, size_t i, const char *s, size_t n, char *to, size_t *length)
{
    int64_t k = n <= r->longest ? to_bytes(&r->alphabet, s, n, to) : -1;
    int32_t id = k > 0 ? genet__bpe_find(r->t, to, (size_t)k) : -1;
    if (id < 0) bad_merge(r, i, "model.vocab has no piece", s, n);
    *length = (size_t)(k < 0 ? 0 : k);
    return id;
}

static bool add_merge(const reading *r, size_t i, const char *a, size_t na, const char *b, size_t nb)
{
    size_t left_bytes, right_bytes;
    int32_t left = part(r, i, a, na, r->text, &left_bytes);
    if (left < 0) return false;
    int32_t right = part(r, i, b, nb, r->text + left_bytes, &right_bytes);
    if (right < 0) return false;
    int32_t joined = genet__bpe_find(r->t, r->text, left_bytes + right_bytes);
    if (joined < 0) return bad_merge(r, i, "model.vocab lacks what it makes, of", a, na);
    genet__bpe_add_merge(r->t, left, right, joined);
    return true;
}

/* "a b", or ["a", "b"]. */
static bool read_merge(const reading *r, size_t i, const json_t *j)
{
    const json_t *a = json_array_get(j, 0), *b = json_array_get(j, 1);
    if (json_array_size(j) == 2 && json_is_string(a) && json_is_string(b))
        return add_merge(r, i, json_string_value(a), json_string_length(a), json_string_value(b), json_string_length(b));
    const char *s = json_string_value(j), *space = s ? strchr(s, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return bad_merge(r, i, "must be two pieces, not", s ? s : "", s ? strlen(s) : 0);
    return add_merge(r, i, s, (size_t)(space - s), space + 1, strlen(space + 1));
}

static bool read_model(reading *r, json_t *vocabulary, const json_t *merges)
{
    tokenizer *t = r->t;
    TRY(genet__bpe_index(t, t->n, (int)json_array_size(merges), r->err));
    r->key = genet__alloc_array((size_t)t->n, sizeof *r->key);
    if (!r->key) return genet__err_memory(r->err);
    TRY(read_pieces(r, vocabulary));
    for (size_t i = 0; i < json_array_size(merges); i++) TRY(read_merge(r, i, json_array_get(merges, i)));
    genet__bpe_mark_whole(t);
    return true;
}

bool genet__bpe_load(tokenizer *t, const json_t *j, const char *where, genet_err *err)
{
    const json_t *model = json_object_get(j, "model"), *merges = json_object_get(model, "merges");
    json_t *vocabulary = json_object_get(model, "vocab");
    bpe *b = t->table = ARENA_NEW(&t->arena, bpe);
    if (!b) return genet__err_memory(err);
    t->release = genet__bpe_release;
    TRY(check_pipeline(j, where, err) && check_model(model, where, err));
    bool found;
    TRY(genet__json_bool(model, "ignore_merges", where, &b->ignore_merges, &found, err));
    TRY(read_pre_tokenizer(b, json_object_get(j, "pre_tokenizer"), where, err));
    size_t n = json_object_size(vocabulary);
    if (n == 0) return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.vocab is missing or empty", where);
    if (!json_is_array(merges)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.merges must be an array", where);
    for (int i = 0; i < t->n_added; i++) n += !json_object_get(vocabulary, t->added[i].content);
    if (n >= BPE_PIECES_MAX || json_array_size(merges) >= BPE_PIECES_MAX)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: more than %d pieces", where, BPE_PIECES_MAX);
    t->n = (int)n;
    reading r = { .t = t, .where = where, .err = err };
    genet__bpe_alphabet(&r.alphabet);
    bool ok = read_model(&r, vocabulary, merges);
    genet__free(r.key);
    genet__free(r.text);
    return ok;
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

/* Append piece id in the byte alphabet; an added token that it cannot say stands as it is. */
static void add_piece(const tokenizer *t, const bpe_alphabet *a, int32_t id, str *out)
{
    const added_token *added = genet__added_find(t, id);
    if (added) {
        genet__str_add_n(out, added->content, added->n_bytes);
        return;
    }
    for (uint32_t i = t->start[id]; i < t->start[id + 1]; i++) {
        char letter[4];
        int n = genet__utf8_encode(a->letter[(unsigned char)t->bytes[i]], letter);
        genet__str_add_n(out, letter, (size_t)n);
    }
}

static json_t *vocabulary_json(const tokenizer *t, const bpe_alphabet *a, str *s)
{
    const bpe *b = t->table;
    json_t *j = json_object();
    bool ok = j != NULL;
    for (int32_t i = 0; ok && i < b->n_model; i++) {
        genet__str_clear(s);
        add_piece(t, a, i, s);
        ok = !s->failed && !json_object_set_new(j, genet__str(s), json_integer(i));
    }
    if (ok) return j;
    json_decref(j);
    return NULL;
}

static json_t *merges_json(const tokenizer *t, const bpe_alphabet *a, str *s)
{
    const bpe *b = t->table;
    json_t *j = json_array();
    bool ok = j != NULL;
    for (int i = 0; ok && i < b->n_merge; i++) {
        genet__str_clear(s);
        add_piece(t, a, b->merge[i].left, s);
        genet__str_add(s, " ");
        add_piece(t, a, b->merge[i].right, s);
        ok = !s->failed && !json_array_append_new(j, json_string(genet__str(s)));
    }
    if (ok) return j;
    json_decref(j);
    return NULL;
}

static json_t *byte_level_json(bool add_prefix_space, bool use_regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", add_prefix_space, "trim_offsets", 1,
                     "use_regex", use_regex);
}

static json_t *pre_tokenizer_json(const bpe *b)
{
    if (b->gpt2) return byte_level_json(b->add_prefix_space, true);
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers", "type", "Split",
                     "pattern", "Regex", genet__pattern_text(b->pattern), "behavior", "Isolated", "invert", 0,
                     byte_level_json(false, false));
}

json_t *genet__bpe_to_json(const tokenizer *t)
{
    const bpe *b = t->table;
    str s = { 0 };
    bpe_alphabet a;
    genet__bpe_alphabet(&a);
    json_t *vocabulary = vocabulary_json(t, &a, &s), *merges = merges_json(t, &a, &s);
    genet__str_release(&s);
    return json_pack("{s:s, s:n, s:n, s:[], s:n, s:o, s:o, s:o, s:{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}}",
                     "version", "1.0", "truncation", "padding", "added_tokens", "normalizer",
                     "pre_tokenizer", pre_tokenizer_json(b), "post_processor", byte_level_json(true, true),
                     "decoder", byte_level_json(true, true),
                     "model", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                     "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", b->ignore_merges, "vocab", vocabulary,
                     "merges", merges);
}
