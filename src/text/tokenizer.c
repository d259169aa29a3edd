/* tokenizer.c - what all tokenizers share: the vocabulary, encoding around added tokens, decoding (pieces joined),
 * the hash.  Files are tokenizer_file.c's, added tokens tokenizer_added.c's. */
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/tokenizer_pipeline.h"

void genet__token_list_release(token_list *l)
{
    genet__free(l->at);
    *l = (token_list){ 0 };
}

void genet__tokenizer_free(tokenizer *t)
{
    if (!t) return;
    if (t->release) t->release(t);
    json_decref(t->config);
    json_decref(t->truncation);
    json_decref(t->padding);
    genet__arena_release(&t->arena);
    genet__free(t);
}

/* --- the vocabulary --------------------------------------------------------- */

const char *genet__tokenizer_kind(const tokenizer *t)
{
    return t->kind == &genet__tokenizer_pipeline ? ((const pipeline *)t->table)->row->name : t->kind->name;
}

bool genet__tokenizer_has_gaps(const tokenizer *t)
{
    if (t->kind == &genet__tokenizer_pipeline) return ((const pipeline *)t->table)->gaps;
    return t->kind == &genet__tokenizer_word;
}

int genet__tokenizer_size(const tokenizer *t)
{
    return t->n;
}

bool genet__tokenizer_encode(const tokenizer *t, const char *text, size_t n, token_list *out, genet_err *err)
{
    size_t bad = 0;
    return genet__tokenizer_encode_at(t, text, n, out, &bad, err) ||
           genet__err_prefix(err, "byte %zu of the text: ", bad);
}

bool genet__tokenizer_encode_at(const tokenizer *t, const char *text, size_t n, token_list *out, size_t *bad,
                                genet_err *err)
{
    token_run r = { .t = t, .sink = { .ids = out }, .err = err };
    bool ok = genet__run_encode(&r, text, n, bad);
    genet__run_release(&r);
    return ok;
}

int32_t genet__tokenizer_find(const tokenizer *t, const char *piece, size_t n_bytes)
{
    for (int i = 0; i < t->n_added; i++)
        if (t->added[i].n_bytes == n_bytes && !memcmp(t->added[i].content, piece, n_bytes)) return t->added[i].id;
    return t->kind->find(t, piece, n_bytes);
}

int32_t genet__tokenizer_find_token(const tokenizer *t, const char *token, size_t n_bytes)
{
    const pipeline *p = t->kind == &genet__tokenizer_pipeline ? t->table : NULL;
    for (int i = 0; i < t->n_added; i++)
        if (t->added[i].n_bytes == n_bytes && !memcmp(t->added[i].content, token, n_bytes)) return t->added[i].id;
    return p ? p->row->find(p->model, token, n_bytes) : t->kind->find(t, token, n_bytes);
}

size_t genet__tokenizer_cut(const tokenizer *t, const char *text, size_t n)
{
    return n ? genet__added_cut(t, text, n) : 0;
}

bool genet__tokenizer_is_special(const tokenizer *t, int32_t id)
{
    const added_token *a = genet__added_find(t, id);
    return a && a->special;
}

int32_t genet__tokenizer_unknown(const tokenizer *t)
{
    return t->unknown;
}

int32_t genet__tokenizer_end(const tokenizer *t)
{
    for (int i = 0; t->end && i < t->n_added; i++)
        if (!strcmp(t->added[i].content, t->end)) return t->added[i].id;
    static const char *const ends[] = { "<|endoftext|>", "</s>", "<eos>", "<|im_end|>" };
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++)
        for (int i = 0; i < t->n_added; i++)
            if (t->added[i].special && !strcmp(t->added[i].content, ends[k])) return t->added[i].id;
    return -1;
}

const char *genet__tokenizer_between(const tokenizer *t, int32_t before, int32_t id)
{
    return t->kind->between ? t->kind->between(t, before, id) : "";
}

const char *genet__tokenizer_piece(const tokenizer *t, int32_t id, size_t *n_bytes)
{
    if (id < 0 || id >= t->n) return NULL;
    if (n_bytes) *n_bytes = t->start[id + 1] - t->start[id];
    return t->bytes + t->start[id];
}

const char *genet__tokenizer_token(const tokenizer *t, int32_t id, size_t *n_bytes)
{
    const added_token *a = genet__added_find(t, id);
    if (a) *n_bytes = a->n_bytes;
    return a ? a->content : t->kind->token ? t->kind->token(t, id, n_bytes) : genet__tokenizer_piece(t, id, n_bytes);
}

bool genet__tokenizer_decode(const tokenizer *t, const int32_t *id, int64_t n, str *out, genet_err *err)
{
    return genet__tokenizer_decode_text(t, id, n, true, out, err);
}

static bool check_ids(const tokenizer *t, const int32_t *id, int64_t n, genet_err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (!genet__tokenizer_piece(t, id[i], NULL))
            return genet__err_set(err, GENET_ERR_USAGE, "token id %d is outside the vocabulary of %d", id[i], t->n);
    return true;
}

/* Piece by piece; without special tokens, unless they are wanted. */
static bool join_pieces(const tokenizer *t, int32_t before, const int32_t *id, int64_t n, bool special, str *out, genet_err *err)
{
    for (int64_t i = 0; i < n; i++) {
        size_t n_bytes = 0;
        const char *piece = genet__tokenizer_piece(t, id[i], &n_bytes);
        if (!special && genet__tokenizer_is_special(t, id[i])) continue;
        if (before >= 0) genet__str_add(out, genet__tokenizer_between(t, before, id[i]));
        genet__str_add_n(out, piece, n_bytes);
        before = id[i];
    }
    return !out->failed || genet__err_memory(err);
}

bool genet__tokenizer_decode_text(const tokenizer *t, const int32_t *id, int64_t n, bool special, str *out, genet_err *err)
{
    TRY(check_ids(t, id, n, err));
    return t->kind->decode ? t->kind->decode(t, id, n, special, out, err) : join_pieces(t, -1, id, n, special, out, err);
}

/* The first id alone is decoded as a text's beginning. */
bool genet__tokenizer_decode_on(const tokenizer *t, int32_t before, const int32_t *id, int64_t n, str *out, genet_err *err)
{
    TRY(check_ids(t, id, n, err));
    int64_t first = before < 0 && t->kind->decode && n > 0;
    if (first) TRY(t->kind->decode(t, id, 1, true, out, err));
    return join_pieces(t, first ? id[0] : before, id + first, n - first, true, out, err);
}

/* Pieces go in with their lengths: "ab" "c" is not "a" "bc". */
void genet__tokenizer_hash(const tokenizer *t, char hex[HASH_HEX])
{
    sha256 s;
    genet__sha256_init(&s);
    genet__sha256_add(&s, genet__tokenizer_kind(t), strlen(genet__tokenizer_kind(t)) + 1);
    for (int i = 0; i < t->n; i++) {
        uint32_t n = t->start[i + 1] - t->start[i];
        const unsigned char length[4] = { n & 255, n >> 8 & 255, n >> 16 & 255, n >> 24 & 255 };
        genet__sha256_add(&s, length, sizeof length);
        genet__sha256_add(&s, t->bytes + t->start[i], n);
    }
    genet__added_hash(t, &s);
    if (t->kind->hash) t->kind->hash(t, &s);
    genet__sha256_end(&s, hex);
}

bool genet__char_is_hidden(uint32_t c)
{
    static const struct { uint32_t from, to; } hidden[] = {
        { 0, 0x1f }, { 0x7f, 0xa0 }, { 0xad, 0xad }, { 0x300, 0x36f }, { 0x200b, 0x200f }, { 0x2028, 0x202e },
        { 0x2060, 0x206f }, { 0xd800, 0xf8ff }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff }, { 0xfff0, 0xfffb },
        { 0xe0000, 0x10ffff },
    };
    bool is = false;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) is |= c >= hidden[i].from && c <= hidden[i].to;
    return is;
}

/* Hidden ones are named by number alone. */
void genet__describe_char(uint32_t c, char out[32])
{
    const char *escape = c == '\n' ? "'\\n' " : c == '\t' ? "'\\t' " : c == '\r' ? "'\\r' " : "";
    bool shown = !genet__char_is_hidden(c);
    char letter[5] = "";
    if (shown) letter[genet__utf8_encode(c, letter)] = 0;
    if (shown) snprintf(out, 32, "'%s' (U+%04X)", letter, c);
    else if (*escape) snprintf(out, 32, "%s(U+%04X)", escape, c);
    else snprintf(out, 32, "U+%04X", c);
}
