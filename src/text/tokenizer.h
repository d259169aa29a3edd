/* tokenizer.h - text to token ids and back.  One opaque type for all kinds;
 * a kind is a row of functions in tokenizer.c.  Ids are 0 .. size-1.
 *
 * On disk a tokenizer is tokenizer.json (and tokenizer_config.json) in Hugging Face's
 * format: transformers opens the folder and gives the same ids. What a file
 * asks for and we would not do exactly is refused by name. */
#ifndef GENET_TEXT_TOKENIZER_H
#define GENET_TEXT_TOKENIZER_H
#include "base/json.h"
#include "base/str.h"
#include "format/sha256.h"

typedef struct tokenizer tokenizer;
typedef struct token_list { int32_t *at; int n, cap; } token_list;      /* {0} is ready */
void genet__token_list_release(token_list *l);

/* FOLDER/tokenizer.json, or the file itself when path is one; or that of a GGUF file. */
tokenizer *genet__tokenizer_load(const char *path, genet_err *err);
tokenizer *genet__tokenizer_from_json(const json_t *j, const char *where, genet_err *err);
/* Has the folder one that genet__tokenizer_load would read? */
bool genet__tokenizer_exists(const char *folder);
/* What tokenizer.json says; a new object, NULL: no memory. */
json_t *genet__tokenizer_json(const tokenizer *t);
/* tokenizer.json and tokenizer_config.json, atomically. */
bool genet__tokenizer_save(const tokenizer *t, const char *folder, genet_err *err);
void genet__tokenizer_free(tokenizer *t);

/* "char", "word", "bpe", or another model's name */
const char *genet__tokenizer_kind(const tokenizer *t);
/* Is the white space between words in no token? */
bool genet__tokenizer_has_gaps(const tokenizer *t);
int  genet__tokenizer_size(const tokenizer *t);
/* Append the ids of text (n bytes) to out.  char: a character that is not in the vocabulary, and bytes that are not
 * UTF-8, are errors that name it and where.  word: what is not in the vocabulary becomes the unknown token.  bpe:
 * any bytes have ids. Added tokens ("<|endoftext|>") are found in the text first.  A tokenizer is read-only: any
 * number of threads may use it at once. */
bool genet__tokenizer_encode(const tokenizer *t, const char *text, size_t n, token_list *out, genet_err *err);
/* The same, but *bad says where in text it went wrong, and the words do not;
 * what out held before stays. */
bool genet__tokenizer_encode_at(const tokenizer *t, const char *text, size_t n, token_list *out, size_t *bad,
                                genet_err *err);
/* Append the text of ids to out: the pieces, for words with what stands between them.  bpe and char
 * give back exactly the bytes that were encoded. */
bool genet__tokenizer_decode(const tokenizer *t, const int32_t *id, int64_t n, str *out, genet_err *err);
/* The same; special: the special tokens too. */
bool genet__tokenizer_decode_text(const tokenizer *t, const int32_t *id, int64_t n, bool special, str *out, genet_err *err);
/* Append the text of ids that follow the id `before` (-1: nothing stands before them), when it is decoded a part at a time. */
bool genet__tokenizer_decode_on(const tokenizer *t, int32_t before, const int32_t *id, int64_t n, str *out, genet_err *err);
/* What decoding puts between the pieces of two neighbours (" " between words; "" for bpe and char). */
const char *genet__tokenizer_between(const tokenizer *t, int32_t before, int32_t id);
/* The bytes that id stands for (not terminated), or NULL out of range. */
const char *genet__tokenizer_piece(const tokenizer *t, int32_t id, size_t *n_bytes);
/* The token as the vocabulary writes it ("##ing", "Ġthe"; of an added token its content), or NULL. */
const char *genet__tokenizer_token(const tokenizer *t, int32_t id, size_t *n_bytes);
/* The id of a token written so, or -1. */
int32_t genet__tokenizer_find_token(const tokenizer *t, const char *token, size_t n_bytes);
/* The id of a piece (of the bytes that it stands for), or -1. */
int32_t genet__tokenizer_find(const tokenizer *t, const char *piece, size_t n_bytes);
/* Where text (n bytes, more to follow) may be cut: the longest beginning such that the ids of the two
 * parts, joined, are those of the whole whatever follows.  0: nowhere yet. */
size_t genet__tokenizer_cut(const tokenizer *t, const char *text, size_t n);
/* A token that is no text of its own: "<|endoftext|>". */
bool genet__tokenizer_is_special(const tokenizer *t, int32_t id);
/* The id that unknown words get; the one that ends a text ("<|endoftext|>", "</s>", "<eos>"); -1: there is none. */
int32_t genet__tokenizer_unknown(const tokenizer *t);
int32_t genet__tokenizer_end(const tokenizer *t);
/* SHA-256 over kind, pieces and rules: equal tokenizers, equal hashes. */
void genet__tokenizer_hash(const tokenizer *t, char hex[HASH_HEX]);

/* --- making one from text --------------------------------------------------- */

/* Which code points a text holds. */
typedef struct char_set { uint64_t bit[0x110000 / 64]; } char_set;
static inline void char_set_add(char_set *s, uint32_t c) { s->bit[c >> 6] |= UINT64_C(1) << (c & 63); }

/* One token a code point, ids in the order of code points (nanoGPT's
 * data/shakespeare_char/prepare.py: sorted(list(set(data)))). */
tokenizer *genet__tokenizer_from_chars(const char_set *s, genet_err *err);

/* Would it spoil a line of a message?  Controls, marks without width or that turn the direction or sit on what stands
 * before, private use, the no-break space. */
bool genet__char_is_hidden(uint32_t code_point);
/* "'a' (U+0061)", "'\n' (U+000A)": a code point for messages. */
void genet__describe_char(uint32_t code_point, char out[32]);
#endif
