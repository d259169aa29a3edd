/* sentencepiece.c - a .model file is a protocol buffer (ModelProto in sentencepiece_model.proto): pieces with scores and
 * types, what the trainer was told, and how text is normalized.  What of it decides ids becomes a tokenizer.json.
 *
 * The wire format (protobuf.dev/programming-guides/encoding) is read by a cursor that cannot leave its message: a
 * field is a varint of number and kind, then its value; fields nobody knows are stepped over; a message that comes
 * in several parts is the parts one after the other. */
#include "text/sentencepiece.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/vocabulary.h"

/* Field numbers and values of sentencepiece_model.proto. */
enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum { TRAINER_TYPE = 3, TRAINER_SUFFIX = 24, TRAINER_FALLBACK = 35, TRAINER_UNKNOWN = 40 };
enum { NORMALIZER_CHARSMAP = 2, NORMALIZER_PREFIX = 3, NORMALIZER_EXTRA = 4, NORMALIZER_ESCAPE = 5 };
enum { UNIGRAM = 1, BPE = 2 };
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4 };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static const char mark[] = "\xe2\x96\x81";      /* U+2581, which stands for a space */

typedef struct piece { const char *at; size_t n; double score; int64_t type; } piece;

typedef struct spm {
    const unsigned char *file;
    const char *where;
    genet_err  *err;
    piece      *piece;
    int         n, cap;
    int64_t     type, unknown;
    bool        fallback, suffix, prefix, remove_extra, escape;
    const unsigned char *charsmap;
    size_t      n_charsmap;
    vocabulary  names;
} spm;

/* --- the wire format ---------------------------------------------------------------------------------------------- */

typedef struct cursor { const unsigned char *at, *end; } cursor;
typedef struct field { uint64_t number; int kind; uint64_t value; cursor bytes; } field;       /* value: of numbers */

static bool damaged(const spm *s, const unsigned char *at, const char *what)
{
    return genet__err_set(s->err, GENET_ERR_FORMAT, "%s: byte %td: %s: no SentencePiece model, or a damaged one", s->where,
                          at - s->file, what);
}

static bool read_varint(const spm *s, cursor *c, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (c->at == c->end) return damaged(s, c->at, "a number is cut off");
        unsigned char b = *c->at++;
        *out |= (uint64_t)(b & 127) << shift;
        if (b < 128) return true;
    }
    return damaged(s, c->at, "a number of more than 64 bits");
}

static bool read_fixed(const spm *s, cursor *c, size_t n, uint64_t *out)
{
    *out = 0;
    if ((size_t)(c->end - c->at) < n) return damaged(s, c->at, "a number is cut off");
    for (size_t i = 0; i < n; i++) *out |= (uint64_t)c->at[i] << 8 * i;
    c->at += n;
    return true;
}

static bool read_field(const spm *s, cursor *c, field *f)
{
    const unsigned char *begin = c->at;
    uint64_t key;
    TRY(read_varint(s, c, &key));
    *f = (field){ .number = key >> 3, .kind = (int)(key & 7) };
    if (!f->number) return damaged(s, begin, "a field has the number 0");
    if (f->kind == VARINT) return read_varint(s, c, &f->value);
    if (f->kind == FIXED64 || f->kind == FIXED32) return read_fixed(s, c, f->kind == FIXED64 ? 8 : 4, &f->value);
    if (f->kind != BYTES) return damaged(s, begin, "a field is of a kind that is not known");
    TRY(read_varint(s, c, &f->value));
    if (f->value > (uint64_t)(c->end - c->at)) return damaged(s, begin, "a field is longer than what is left");
    f->bytes = (cursor){ c->at, c->at + f->value };
    c->at += f->value;
    return true;
}

/* Is it as the format has it? */
static bool expect(const spm *s, const field *f, const cursor *c, int kind)
{
    return f->kind == kind || damaged(s, c->at, "a field is of another kind than it should be");
}

/* --- the messages -------------------------------------------------------------------------------------------------- */

static bool read_piece(spm *s, cursor c)
{
    const unsigned char *begin = c.at;
    piece p = { "", 0, 0, NORMAL };
    for (field f; c.at < c.end;) {
        TRY(read_field(s, &c, &f));
        if (f.number == PIECE_TEXT) {
            TRY(expect(s, &f, &c, BYTES));
            p.at = (const char *)f.bytes.at;
            p.n = f.value;
        } else if (f.number == PIECE_SCORE) {
            TRY(expect(s, &f, &c, FIXED32));
            float score;
            memcpy(&score, &(uint32_t){ (uint32_t)f.value }, 4);
            p.score = (double)score;
        } else if (f.number == PIECE_TYPE) {
            TRY(expect(s, &f, &c, VARINT));
            p.type = (int64_t)f.value;
        }
    }
    if (!isfinite(p.score)) return damaged(s, begin, "the score of a piece is no number");
    if (!p.n || memchr(p.at, 0, p.n)) return damaged(s, begin, "a piece is empty or holds a zero byte");
    for (size_t i = 0, length; i < p.n; i += length)
        if (!(length = (size_t)genet__utf8_decode(p.at + i, p.n - i, &(uint32_t){ 0 })))
            return damaged(s, begin, "a piece is not UTF-8");
    if (s->n >= VOCABULARY_MAX) return damaged(s, begin, "there are too many pieces");
    if (!GROW(s->piece, s->n, s->cap)) return genet__err_memory(s->err);
    s->piece[s->n++] = p;
    return true;
}

static bool read_trainer(spm *s, cursor c)
{
    for (field f; c.at < c.end;) {
        TRY(read_field(s, &c, &f));
        if (f.number != TRAINER_TYPE && f.number != TRAINER_SUFFIX && f.number != TRAINER_FALLBACK &&
            f.number != TRAINER_UNKNOWN) continue;
        TRY(expect(s, &f, &c, VARINT));
        if (f.number == TRAINER_TYPE) s->type = (int64_t)f.value;
        else if (f.number == TRAINER_SUFFIX) s->suffix = f.value != 0;
        else if (f.number == TRAINER_FALLBACK) s->fallback = f.value != 0;
        else s->unknown = (int32_t)f.value;
    }
    return true;
}

static bool read_normalizer(spm *s, cursor c)
{
    for (field f; c.at < c.end;) {
        TRY(read_field(s, &c, &f));
        if (f.number == NORMALIZER_CHARSMAP) {
            TRY(expect(s, &f, &c, BYTES));
            s->charsmap = f.bytes.at;
            s->n_charsmap = f.value;
        } else if (f.number >= NORMALIZER_PREFIX && f.number <= NORMALIZER_ESCAPE) {
            TRY(expect(s, &f, &c, VARINT));
            *(f.number == NORMALIZER_PREFIX ? &s->prefix : f.number == NORMALIZER_EXTRA ? &s->remove_extra : &s->escape) =
                f.value != 0;
        }
    }
    return true;
}

static bool read_model(spm *s, cursor c)
{
    for (field f; c.at < c.end;) {
        TRY(read_field(s, &c, &f));
        if (f.number < MODEL_PIECES || f.number > MODEL_NORMALIZER) continue;
        TRY(expect(s, &f, &c, BYTES));
        TRY(f.number == MODEL_PIECES    ? read_piece(s, f.bytes)
            : f.number == MODEL_TRAINER ? read_trainer(s, f.bytes)
                                        : read_normalizer(s, f.bytes));
    }
    return s->n || damaged(s, c.at, "there are no pieces");
}

/* What would give other ids than SentencePiece's is refused. */
static bool check(spm *s)
{
    if (s->type != UNIGRAM && s->type != BPE)
        return genet__err_set(s->err, GENET_ERR_FORMAT, "%s: trainer_spec.model_type is %" PRId64 ": this version reads "
                              "unigram (1) and bpe (2)", s->where, s->type);
    if (s->suffix || !s->escape)
        return genet__err_set(s->err, GENET_ERR_FORMAT, "%s: %s is not done by this version", s->where,
                              s->suffix ? "trainer_spec.treat_whitespace_as_suffix"
                                        : "normalizer_spec.escape_whitespaces = false");
    if (s->unknown < 0 || s->unknown >= s->n || s->piece[s->unknown].type != UNKNOWN)
        return genet__err_set(s->err, GENET_ERR_FORMAT, "%s: trainer_spec.unk_id %" PRId64 " is not the number of the "
                              "unknown piece", s->where, s->unknown);
    TRY(genet__vocabulary_init(&s->names, s->n, s->err));
    for (int i = 0; i < s->n; i++) {
        const piece *p = &s->piece[i];
        if (genet__vocabulary_find(&s->names, p->at, p->n) >= 0)
            return genet__err_set(s->err, GENET_ERR_FORMAT, "%s: pieces: number %d, \"%.*s\", stands there twice", s->where,
                                  i, p->n < 60 ? (int)p->n : 60, p->at);
        TRY(genet__vocabulary_add(&s->names, p->at, p->n, i, s->err));
    }
    return true;
}

/* --- as tokenizer.json ---------------------------------------------------------------------------------------------- */

static json_t *text_of(const spm *s, int i)
{
    return json_stringn(s->piece[i].at, s->piece[i].n);
}

static json_t *unigram_json(const spm *s)
{
    json_t *vocab = json_array();
    for (int i = 0; vocab && i < s->n; i++)
        genet__json_append(&vocab, json_pack("[o,f]", text_of(s, i), s->piece[i].score));
    return json_pack("{s:s, s:I, s:o, s:b}", "type", "Unigram", "unk_id", (json_int_t)s->unknown, "vocab", vocab,
                     "byte_fallback", s->fallback);
}

/* Every pair of pieces that makes a piece, the lowest number of that first: SentencePiece joins the pair whose piece has
 * the best score, and numbers fall with scores. */
static json_t *merges_json(const spm *s)
{
    json_t *merges = json_array();
    for (int i = 0; merges && i < s->n; i++) {
        const piece *p = &s->piece[i];
        for (size_t k = 1; k < p->n; k++) {
            if (((unsigned char)p->at[k] & 0xc0) == 0x80 || genet__vocabulary_find(&s->names, p->at, k) < 0 ||
                genet__vocabulary_find(&s->names, p->at + k, p->n - k) < 0) continue;
            genet__json_append(&merges, json_pack("[s%,s%]", p->at, k, p->at + k, p->n - k));
        }
    }
    return merges;
}

static json_t *bpe_json(const spm *s)
{
    return json_pack("{s:s, s:n, s:o, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
                     text_of(s, (int)s->unknown), "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 1,
                     "byte_fallback", s->fallback, "ignore_merges", 0, "vocab", genet__vocabulary_json(&s->names), "merges",
                     merges_json(s));
}

/* Control pieces are special, user-defined ones are not; both are found in the text before anything else. */
static json_t *added_json(const spm *s)
{
    json_t *added = json_array();
    for (int i = 0; added && i < s->n; i++) {
        if (s->piece[i].type != CONTROL && s->piece[i].type != USER_DEFINED) continue;
        genet__json_append(&added, json_pack("{s:i, s:o, s:b, s:b, s:b, s:b, s:b}", "id", i, "content", text_of(s, i),
                                             "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special",
                                             s->piece[i].type == CONTROL));
    }
    return added;
}

static json_t *charsmap_json(const spm *s)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;
    char *text = genet__alloc((s->n_charsmap + 2) / 3 * 4 + 1);         /* base64, RFC 4648 */
    if (!text) return NULL;
    for (size_t i = 0; i < s->n_charsmap; i += 3) {
        size_t left = s->n_charsmap - i;
        uint32_t x = (uint32_t)s->charsmap[i] << 16 | (left > 1 ? (uint32_t)s->charsmap[i + 1] << 8 : 0) |
                     (left > 2 ? s->charsmap[i + 2] : 0);
        for (size_t k = 0; k < 4; k++) text[n++] = k > left ? '=' : digit[x >> (18 - 6 * k) & 63];
    }
    json_t *j = json_pack("{s:s, s:s%}", "type", "Precompiled", "precompiled_charsmap", text, n);
    genet__free(text);
    return j;
}

static json_t *replace_json(const char *kind, const char *pattern, const char *content)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", kind, pattern, "content", content);
}

/* Extra white space removed: stripped at the end, and runs are one mark (at the beginning too: Metaspace adds none before
 * it).  Else every space is a mark, and one more stands before the text. */
static json_t *normalizer_json(const spm *s)
{
    json_t *parts = json_array();
    if (s->n_charsmap) genet__json_append(&parts, charsmap_json(s));
    if (s->remove_extra) {
        genet__json_append(&parts, json_pack("{s:s, s:b, s:b}", "type", "Strip", "strip_left", !s->prefix,
                                             "strip_right", 1));
        genet__json_append(&parts, replace_json("Regex", " {2,}", mark));
    } else {
        if (s->prefix) genet__json_append(&parts, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", mark));
        genet__json_append(&parts, replace_json("String", " ", mark));
    }
    return json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", parts);
}

static json_t *metaspace_json(const spm *s)
{
    return json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", mark, "prepend_scheme",
                     s->prefix ? "always" : "never", "split", 1);
}

static json_t *decoder_json(const spm *s)
{
    if (s->remove_extra && !s->fallback) return metaspace_json(s);
    json_t *parts = json_array();
    if (!s->remove_extra) genet__json_append(&parts, replace_json("String", mark, " "));
    genet__json_append(&parts, json_pack("{s:s}", "type", "ByteFallback"));
    if (s->remove_extra) genet__json_append(&parts, metaspace_json(s));
    else {
        genet__json_append(&parts, json_pack("{s:s}", "type", "Fuse"));
        if (s->prefix)
            genet__json_append(&parts, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1,
                                                 "stop", 0));
    }
    return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", parts);
}

json_t *genet__sentencepiece_json(const unsigned char *bytes, size_t n, const char *where, genet_err *err)
{
    spm s = { .file = bytes, .where = where, .err = err, .type = UNIGRAM, .prefix = true, .remove_extra = true,
              .escape = true };
    json_t *j = NULL;
    if (read_model(&s, (cursor){ bytes, bytes + n }) && check(&s)) {
        j = json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:n, s:o, s:o}", "version", "1.0", "truncation", "padding",
                      "added_tokens", added_json(&s), "normalizer", normalizer_json(&s), "pre_tokenizer",
                      s.remove_extra ? metaspace_json(&s) : json_null(), "post_processor", "decoder", decoder_json(&s),
                      "model", s.type == BPE ? bpe_json(&s) : unigram_json(&s));
        if (!j) genet__err_memory(err);
    }
    genet__free(s.piece);
    genet__vocabulary_release(&s.names);
    return j;
}
