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

/* FOLDER/tokenizer.json. */
tokenizer *genet__tokenizer_load(const char *folder, genet_err *err);
tokenizer *genet__tokenizer_from_json(const json_t *j, const char *where, genet_err *err);
/* tokenizer.json and tokenizer_config.json, atomically. */
bool genet__tokenizer_save(const tokenizer *t, const char *folder, genet_err *err);
void genet__tokenizer_free(tokenizer *t);

/* "char" */
const char *genet__tokenizer_kind(const tokenizer *t);
int  genet__tokenizer_size(const tokenizer *t);
/* Append the ids of text (UTF-8, n bytes) to out.  A character that is not
 * in the vocabulary, and bytes that are not UTF-8, are errors that name it and where. */
bool genet__tokenizer_encode(const tokenizer *t, const char *text, size_t n, token_list *out, genet_err *err);
/* The same, but *bad says where in text it went wrong, and the words do not;
 * what out held before stays. */
bool genet__tokenizer_encode_at(const tokenizer *t, const char *text, size_t n, token_list *out, size_t *bad,
                                genet_err *err);
/* Append the text of ids to out. */
bool genet__tokenizer_decode(const tokenizer *t, const int32_t *id, int64_t n, str *out, genet_err *err);
/* The bytes that id stands for (not terminated), or NULL out of range. */
const char *genet__tokenizer_piece(const tokenizer *t, int32_t id, size_t *n_bytes);
/* The id of a piece, or -1. */
int32_t genet__tokenizer_find(const tokenizer *t, const char *piece, size_t n_bytes);
/* SHA-256 over kind and pieces: equal tokenizers, equal hashes. */
void genet__tokenizer_hash(const tokenizer *t, char hex[HASH_HEX]);

/* --- making one from text --------------------------------------------------- */

/* Which code points a text holds. */
typedef struct char_set { uint64_t bit[0x110000 / 64]; } char_set;
static inline void char_set_add(char_set *s, uint32_t c) { s->bit[c >> 6] |= UINT64_C(1) << (c & 63); }

/* One token a code point, ids in the order of code points (nanoGPT's
 * data/shakespeare_char/prepare.py: sorted(list(set(data)))). */
tokenizer *genet__tokenizer_from_chars(const char_set *s, genet_err *err);

/* "'a' (U+0061)", "'\n' (U+000A)": a code point for messages. */
void genet__describe_char(uint32_t code_point, char out[32]);
#endif
