/* corpus.c - making the token file in a second pass over the text, and reading
 * it.  The text is cut once, at the split, so that no token spans training
 * and validation; inside of a part the ids are those of the whole part, however it is
 * read.  The pass hashes again: a text that changed since the scan is noticed. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "text/corpus.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "text/reader.h"
#include "text/space.h"

/* Format 1 had neither n_train_bytes nor words; it was of characters only. */
enum { FORMAT = 2, JSON_MAX = 1 << 20, TELL_BYTES = 1 << 22 };

/* --- making ----------------------------------------------------------------- */

typedef struct maker {
    const tokenizer *t;
    const train_watch *watch;
    writer     w;
    text_reader reader;
    token_list ids;
    int        element_bytes;
    int64_t    n_tokens, n_bytes, n_words;
    int64_t    n_all, told;     /* bytes there are; of which were told of */
    bool       in_word;
    sha256     hash;
} maker;

int64_t genet__corpus_train_chars(int64_t n_chars, double val_fraction)
{
    /* nanoGPT: data[:int(n*0.9)]; 1 - 0.9 is just below 0.1 and must not cost a character */
    return (int64_t)((double)n_chars * (1.0 - val_fraction) * (1 + 1e-14));
}

/* Words that begin in text; one may reach over its end. */
static void count_words(maker *m, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t space = genet__space_at(text + i, n - i);
        m->n_words += !space && !m->in_word;
        m->in_word = !space;
        i += space ? space : 1;
    }
}

static bool tell(maker *m, genet_err *err)
{
    if (!m->watch || (m->told && m->n_bytes - m->told < TELL_BYTES)) return true;
    m->told = m->n_bytes;
    return genet__train_tell(m->watch, "tokenizing", m->n_all ? (double)m->n_bytes / (double)m->n_all : 1, err);
}

/* A stretch of text that the reader gave. */
static bool add_tokens(maker *m, const char *text, size_t n, genet_err *err)
{
    size_t bad;
    m->ids.n = 0;
    if (!genet__tokenizer_encode_at(m->t, text, n, &m->ids, &bad, err)) return genet__reader_prefix(&m->reader, bad, err);
    unsigned char *to = (unsigned char *)m->ids.at;         /* packed in place: ids only get shorter */
    for (int i = 0; i < m->ids.n; i++) {
        uint32_t id = (uint32_t)m->ids.at[i];
        for (int k = 0; k < m->element_bytes; k++) *to++ = (unsigned char)(id >> 8 * k);
    }
    m->n_tokens += m->ids.n;
    return genet__writer_add(&m->w, m->ids.at, (size_t)m->ids.n * (size_t)m->element_bytes, err);
}

/* The next n_chars characters, by themselves. */
static bool add_part(maker *m, int64_t n_chars, genet_err *err)
{
    const char *text;
    size_t n;
    m->in_word = false;
    genet__reader_part(&m->reader, n_chars);
    for (;;) {
        TRY(genet__reader_next(&m->reader, &text, &n, err));
        if (!n) return true;
        genet__sha256_add(&m->hash, text, n);
        count_words(m, text, n);
        m->n_bytes += (int64_t)n;
        TRY(add_tokens(m, text, n, err) && tell(m, err));
    }
}

static size_t cut_by_tokenizer(const void *t, const char *text, size_t n)
{
    return genet__tokenizer_cut(t, text, n);
}

/* Both parts of s, and what they hold. */
static bool add_source(maker *m, text_source *s, corpus *c, genet_err *err)
{
    genet__reader_open(&m->reader, s, cut_by_tokenizer, m->t);
    bool ok = add_part(m, c->n_train_chars, err);
    c->n_train = m->n_tokens;
    c->n_train_bytes = m->n_bytes;
    c->n_train_words = m->n_words;
    ok = ok && add_part(m, INT64_MAX, err);
    c->n_tokens = m->n_tokens;
    c->n_words = m->n_words;
    genet__reader_close(&m->reader);
    return ok;
}

/* The last file to be written: its being there says that the corpus is whole. */
static bool write_description(const char *folder, const corpus *c, genet_err *err)
{
    json_t *j = json_pack(
        "{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:i, s:s, s:s, s:I}",
        "format", FORMAT, "dtype", c->element_bytes == 2 ? "u16" : "u32",
        "n_tokens", (json_int_t)c->n_tokens, "n_train", (json_int_t)c->n_train,
        "n_chars", (json_int_t)c->n_chars, "n_train_chars", (json_int_t)c->n_train_chars,
        "n_bytes", (json_int_t)c->n_bytes, "n_train_bytes", (json_int_t)c->n_train_bytes,
        "n_words", (json_int_t)c->n_words, "n_train_words", (json_int_t)c->n_train_words,
        "val_fraction", c->val_fraction, "vocab_size", c->vocab_size,
        "source_sha256", c->source_hash, "tokenizer_sha256", c->tokenizer_hash, "crc32", (json_int_t)c->crc);
    char *path = genet__path_join(folder, "corpus.json");
    bool ok = j && path ? genet__json_write(path, j, err) : genet__err_memory(err);
    json_decref(j);
    genet__free(path);
    return ok;
}

/* corpus.bin, and what is known of it in c. */
static bool write_tokens(maker *m, text_source *s, corpus *c, genet_err *err)
{
    bool ok = add_source(m, s, c, err);
    char hash[HASH_HEX];
    genet__sha256_end(&m->hash, hash);
    if (ok && strcmp(hash, c->source_hash))
        ok = genet__err_set(err, GENET_ERR_IO, "the data changed while it was being read; run this again");
    c->crc = m->w.crc;
    if (ok) return genet__writer_commit(&m->w, err);
    genet__writer_abandon(&m->w);
    return false;
}

/* Both hashes go along: that of the text tells whether a resumed run sees the
 * same one, that of the tokenizer whether the ids still mean the same. */
bool genet__corpus_make(const char *folder, text_source *s, const text_scan *scan, const tokenizer *t,
                        double val_fraction, const train_watch *watch, genet_err *err)
{
    corpus c = { .n_chars = scan->n_chars, .n_bytes = scan->n_bytes, .val_fraction = val_fraction };
    c.n_train_chars = genet__corpus_train_chars(c.n_chars, val_fraction);
    c.vocab_size = genet__tokenizer_size(t);
    c.element_bytes = c.vocab_size <= 65536 ? 2 : 4;
    memcpy(c.source_hash, scan->hash, sizeof c.source_hash);
    genet__tokenizer_hash(t, c.tokenizer_hash);
    maker m = { .t = t, .watch = watch, .element_bytes = c.element_bytes, .n_all = c.n_bytes };
    genet__sha256_init(&m.hash);
    char *path = genet__path_join(folder, "corpus.bin");
    bool ok = path ? genet__writer_open(&m.w, path, err) : genet__err_memory(err);
    ok = ok && write_tokens(&m, s, &c, err) && write_description(folder, &c, err);
    genet__token_list_release(&m.ids);
    genet__free(path);
    return ok;
}

/* --- opening ---------------------------------------------------------------- */

/* Little-endian on every host; the compiler makes one load of it where it can. */
static int32_t token_at(const corpus *c, int64_t i)
{
    const unsigned char *p = c->file.at + i * c->element_bytes;
    uint32_t id = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    if (c->element_bytes == 4) id |= (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    return (int32_t)id;
}

/* Only its length is checked: it is compared, never computed with. */
static bool read_hash(const json_t *j, const char *key, const char *where, char out[HASH_HEX], genet_err *err)
{
    const char *text;
    TRY(genet__json_string(j, key, where, &text, NULL, err));
    if (strlen(text) != HASH_HEX - 1)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" is not a SHA-256", where, key);
    memcpy(out, text, HASH_HEX);
    return true;
}

/* Since format 2. */
static bool read_counts(corpus *c, const json_t *j, const char *where, genet_err *err)
{
    TRY(genet__json_int(j, "n_train_bytes", where, &c->n_train_bytes, NULL, err));
    TRY(genet__json_int(j, "n_words", where, &c->n_words, NULL, err));
    return genet__json_int(j, "n_train_words", where, &c->n_train_words, NULL, err);
}

static bool contradicts(const corpus *c)
{
    return !c->element_bytes || c->n_train < 0 || c->n_train > c->n_tokens || c->vocab_size < 1 || c->n_train_bytes < 0 ||
           c->n_train_bytes > c->n_bytes || c->n_train_words < 0 || c->n_train_words > c->n_words;
}

static bool read_description(corpus *c, const json_t *j, const char *where, int64_t *format, genet_err *err)
{
    int64_t vocab_size, crc;
    const char *type;
    TRY(genet__json_int(j, "format", where, format, NULL, err));
    if (*format < 1 || *format > FORMAT)
        return genet__err_set(err, GENET_ERR_FORMAT,
                              "%s: format %" PRId64 " is not known to this version, which writes %d", where, *format,
                              FORMAT);
    TRY(genet__json_string(j, "dtype", where, &type, NULL, err));
    TRY(genet__json_int(j, "n_tokens", where, &c->n_tokens, NULL, err));
    TRY(genet__json_int(j, "n_train", where, &c->n_train, NULL, err));
    TRY(genet__json_int(j, "n_chars", where, &c->n_chars, NULL, err));
    TRY(genet__json_int(j, "n_train_chars", where, &c->n_train_chars, NULL, err));
    TRY(genet__json_int(j, "n_bytes", where, &c->n_bytes, NULL, err));
    TRY(genet__json_double(j, "val_fraction", where, &c->val_fraction, NULL, err));
    TRY(genet__json_int(j, "vocab_size", where, &vocab_size, NULL, err));
    TRY(genet__json_int(j, "crc32", where, &crc, NULL, err));
    TRY(read_hash(j, "source_sha256", where, c->source_hash, err));
    TRY(read_hash(j, "tokenizer_sha256", where, c->tokenizer_hash, err));
    if (*format > 1) TRY(read_counts(c, j, where, err));
    c->element_bytes = !strcmp(type, "u16") ? 2 : !strcmp(type, "u32") ? 4 : 0;
    c->vocab_size = vocab_size < 1 || vocab_size > INT32_MAX ? 0 : (int)vocab_size;
    c->crc = (uint32_t)crc;
    return !contradicts(c) || genet__err_set(err, GENET_ERR_FORMAT,
                                             "%s: its numbers contradict each other; remove the corpus "
                                             "and begin again", where);
}

/* The size must be what corpus.json says; the bytes are checked (genet__corpus_verify) only on
 * resume, where everything is read anyway. */
static bool open_tokens(corpus *c, const char *path, const tokenizer *t, genet_err *err)
{
    char hash[HASH_HEX];
    genet__tokenizer_hash(t, hash);
    if (strcmp(hash, c->tokenizer_hash))
        return genet__err_set(err, GENET_ERR_FORMAT,
                              "%s was made with another tokenizer (%.12s..., the model's is %.12s...)", path,
                              c->tokenizer_hash, hash);
    TRY(genet__file_map(&c->file, path, err));
    if (c->file.size_bytes % (size_t)c->element_bytes == 0 &&
        (int64_t)c->file.size_bytes / c->element_bytes == c->n_tokens)
        return true;
    return genet__err_set(err, GENET_ERR_FORMAT,
                          "%s: has %zu bytes, not the %" PRId64 " tokens of %d bytes that corpus.json tells of", path,
                          c->file.size_bytes, c->n_tokens, c->element_bytes);
}

/* What format 1 did not say: its tokens are all of the text, one a character. */
static void derive_counts(corpus *c, const tokenizer *t)
{
    bool in_word = false;
    for (int64_t i = 0; i < c->n_tokens; i++) {
        size_t n = 0;
        const char *piece = genet__tokenizer_piece(t, token_at(c, i), &n);
        bool space = piece && genet__space_at(piece, n), begins = !space && (!in_word || i == c->n_train);
        in_word = !space;
        c->n_words += begins;
        if (i >= c->n_train) continue;
        c->n_train_bytes += (int64_t)n;
        c->n_train_words += begins;
    }
}

bool genet__corpus_open(corpus *c, const char *folder, const tokenizer *t, genet_err *err)
{
    *c = (corpus){ 0 };
    int64_t format = FORMAT;
    char *json = genet__path_join(folder, "corpus.json"), *bin = genet__path_join(folder, "corpus.bin");
    json_t *j = json && bin ? genet__json_read(json, JSON_MAX, err) : NULL;
    if (!json || !bin) genet__err_memory(err);
    bool ok = j && read_description(c, j, json, &format, err) && open_tokens(c, bin, t, err);
    if (ok && format == 1) derive_counts(c, t);
    if (!ok) genet__corpus_close(c);
    json_decref(j);
    genet__free(json);
    genet__free(bin);
    return ok;
}

bool genet__corpus_temporary(corpus *c, text_source *s, const tokenizer *t, genet_err *err)
{
    *c = (corpus){ 0 };
    const char *base = getenv("TMPDIR");
    char *folder = genet__path_join(base && *base ? base : "/tmp", "genet-corpus-XXXXXX");
    text_scan *scan = genet__alloc(sizeof *scan);
    bool ok = (folder && scan) || genet__err_memory(err);
    if (ok && !mkdtemp(folder)) ok = genet__err_errno(err, "make a temporary folder", folder);
    if (ok) {
        ok = genet__source_scan(s, scan, err) && genet__corpus_make(folder, s, scan, t, 1, NULL, err)
            && genet__corpus_open(c, folder, t, err);
        genet__file_remove_tree(folder, NULL);          /* the mapping keeps the bytes */
    }
    genet__free(scan);
    genet__free(folder);
    return ok;
}

void genet__corpus_close(corpus *c)
{
    genet__file_unmap(&c->file);
    *c = (corpus){ 0 };
}

/* --- checking --------------------------------------------------------------- */

bool genet__corpus_verify(const corpus *c, const text_scan *scan, genet_err *err)
{
    if (strcmp(c->source_hash, scan->hash))
        return genet__err_set(err, GENET_ERR_USAGE,
                              "the data is not what this run began with: it has %" PRId64 " bytes with SHA-256 %s, "
                              "the run's had %" PRId64 " with %s; give the same files, or begin a new run in another "
                              "folder", scan->n_bytes, scan->hash, c->n_bytes, c->source_hash);
    uint32_t crc = genet__crc32(0, c->file.at, c->file.size_bytes);
    if (crc == c->crc) return true;
    return genet__err_set(err, GENET_ERR_FORMAT, "the tokenized corpus is damaged: corpus.bin has CRC-32 %08" PRIx32
                          ", corpus.json says %08" PRIx32, crc, c->crc);
}

bool genet__corpus_require(const corpus *c, int64_t block_size, genet_err *err)
{
    if (c->n_train <= block_size)
        return genet__err_set(err, GENET_ERR_USAGE,
                              "the data is too short: its training part has %" PRId64 " tokens, a block of %" PRId64
                              " needs at least %" PRId64 "; give more text or a smaller --block-size",
                              c->n_train, block_size, block_size + 1);
    if (c->val_fraction > 0 && c->n_tokens - c->n_train < 2)
        return genet__err_set(err, GENET_ERR_USAGE,
                              "the data is too short: its validation part, the last %g of %" PRId64 " characters, "
                              "has %" PRId64 " tokens and needs 2; give more text, a larger --val-fraction, or 0 for "
                              "none", c->val_fraction, c->n_chars, c->n_tokens - c->n_train);
    return true;
}

/* --- reading ---------------------------------------------------------------- */

void genet__corpus_read(const corpus *c, int64_t from, int64_t n, int32_t *to)
{
    assert(from >= 0 && n >= 0 && from <= c->n_tokens - n);
    for (int64_t i = 0; i < n; i++) to[i] = token_at(c, from + i);
}

/* Of words, white space is between the pieces, and unknown ones have lost their letters: only the whole
 * part is known.  Its first token is predicted by nothing, so it does not count. */
static int64_t bytes_of_part(const corpus *c, const tokenizer *t, int64_t from, int64_t to)
{
    bool in_train = to <= c->n_train && c->n_train > 0;
    int64_t begin = in_train || from < c->n_train ? 0 : c->n_train, n_bytes = c->n_bytes;
    size_t first = 0;
    if (in_train) n_bytes = c->n_train_bytes;
    if (begin) n_bytes -= c->n_train_bytes;
    if (from > begin && token_at(c, begin) != genet__tokenizer_unknown(t))
        genet__tokenizer_piece(t, token_at(c, begin), &first);
    return n_bytes - (int64_t)first;
}

int64_t genet__corpus_bytes(const corpus *c, const tokenizer *t, int64_t from, int64_t to)
{
    assert(from >= 0 && to <= c->n_tokens);
    if (from >= to) return 0;
    if (!strcmp(genet__tokenizer_kind(t), "word")) return bytes_of_part(c, t, from, to);
    int64_t n_bytes = 0;
    for (int64_t i = from; i < to; i++) {
        size_t n = 0;
        genet__tokenizer_piece(t, token_at(c, i), &n);
        n_bytes += (int64_t)n;
    }
    return n_bytes;
}

int64_t genet__corpus_unknown(const corpus *c, const tokenizer *t, int64_t from, int64_t to)
{
    assert(from >= 0 && to <= c->n_tokens);
    int32_t unknown = genet__tokenizer_unknown(t);
    int64_t n = 0;
    for (int64_t i = from; unknown >= 0 && i < to; i++) n += token_at(c, i) == unknown;
    return n;
}
