/* tokenizer_part.h - the parts of a tokenizer's pipeline, as tokenizer.json names them: normalizers, pre-tokenizers,
 * post-processors, decoders.
 *
 * A part is a row {type, fields, what it does} and the values of its fields.  One struct holds the values of all kinds;
 * a kind uses those that its fields name.  Reading, writing and refusing what is not known go by the fields alone. */
#ifndef GENET_TEXT_TOKENIZER_PART_H
#define GENET_TEXT_TOKENIZER_PART_H
#include "base/arena.h"
#include "text/pattern.h"
#include "text/token_text.h"
#include "text/tokenizer_model.h"

typedef struct part part;
typedef struct token_run token_run;         /* one text being encoded: tokenizer_pipeline.h */
typedef struct token_strings token_strings; /* tokens being decoded */
typedef struct token_pieces token_pieces;   /* tokens being put together: tokenizer_encoding.h */

enum split_behavior { SPLIT_REMOVED, SPLIT_ISOLATED, SPLIT_WITH_PREVIOUS, SPLIT_WITH_NEXT, SPLIT_CONTIGUOUS };
enum prepend_scheme { PREPEND_FIRST, PREPEND_NEVER, PREPEND_ALWAYS };

/* A piece of a template: a text (0 or 1), or special tokens. */
typedef struct template_special { const char *name; int n; const int32_t *id; const char **token; } template_special;
typedef struct template_piece { int sequence; const template_special *special; int32_t type_id; } template_piece;
typedef struct template_list { int n; template_piece *at; } template_list;
typedef struct named_token { const char *token; int32_t id; } named_token;

typedef struct part_field {
    const char *name;
    const struct part_value *value;         /* how it is read and written */
    size_t      offset;                     /* in struct part */
    const char *choices;                    /* "Removed|Isolated", for choices */
    int         preset;                     /* where optional */
    bool        optional;
} part_field;

typedef struct part_kind {
    const char *type;
    const part_field *field;                /* up to one without a name; NULL: none */
    /* What is derived from the values; NULL: nothing.  False: they contradict each other, or no memory. */
    bool (*finish)(part *p, arena *a, genet_err *err);
    /* A normalizer writes text anew; false: after an error. */
    bool (*normalize)(const part *p, const token_text *in, text_buffer *out, token_run *r);
    /* A pre-tokenizer gives the pieces of a piece to the stage after its own (genet__give). */
    bool (*split)(const part *p, const token_text *piece, token_run *r, int stage);
    /* A decoder makes other strings of the strings of tokens. */
    bool (*decode)(const part *p, const token_strings *in, token_strings *out);
    /* A post-processor puts the tokens of one or two texts together, with its own. */
    bool (*process)(const part *p, token_pieces *t, bool special, genet_err *err);
    int  (*added)(const part *p, bool pair);            /* how many tokens it adds; NULL: none */
} part_kind;

struct part {
    const part_kind *kind;
    bool   clean_text, handle_chinese_chars, lowercase, strip_left, strip_right, invert, add_prefix_space, trim_offsets,
           use_regex, split, individual_digits, cleanup;
    int    strip_accents;                   /* -1: as lowercase says */
    int    behavior, prepend_scheme;
    int64_t start, stop, length;
    const char *content, *prepend, *prefix, *suffix, *pad_token, *word_delimiter_token;
    uint32_t character;                     /* replacement, delimiter, content: the fields of one character */
    const char *string;                     /* a pattern that is a string; else regex is one */
    struct pattern *regex;
    const char *charsmap_base64;
    struct charsmap *charsmap;
    named_token sep, cls;
    template_list single, pair;
    int    n_special;
    template_special *special;
    int    n_child;
    part  *child;                           /* of a Sequence */
};

/* The kinds of one place in the pipeline. */
typedef struct part_place { const char *field; const part_kind *kind; int n; } part_place;
extern const part_place genet__normalizers, genet__pre_tokenizers, genet__post_processors, genet__decoders;

/* j is null or absent: *p is NULL.  What lies in the arena is freed with it, patterns by release.  path: for messages. */
bool genet__part_read(const json_t *j, const part_place *place, const char *where, arena *a, part **p, genet_err *err);
json_t *genet__part_json(const part *p);            /* NULL: no memory */
void genet__part_release(part *p);                  /* NULL: nothing */
/* The parts of p and of the sequences in it, in order: how many there are, the first n of them at to. */
int  genet__part_flatten(const part *p, const part **to, int n);

/* How fields are read and written. */
typedef struct part_value part_value;
extern const part_value genet__part_bool, genet__part_tristate, genet__part_string, genet__part_char, genet__part_int,
                        genet__part_choice, genet__part_pattern, genet__part_charsmap, genet__part_children,
                        genet__part_token, genet__part_template, genet__part_specials, genet__part_ignored, genet__part_old_bool;
#define PART_FIELD(name, type) { #name, &genet__part_##type, offsetof(part, name), NULL, 0, false }

/* --- bytes as letters (ByteLevel) -------------------------------------------------------------------------------------- */

/* Hugging Face's byte alphabet (bytes_to_unicode in GPT-2's encoder.py): bytes 0x21-0x7e, 0xa1-0xac and 0xae-0xff are the
 * characters of their number, the others U+0100 and on in order. */
static inline uint32_t genet__byte_letter(unsigned char b)
{
    if ((b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad)) return b;
    return b <= 0x20 ? 0x100u + b : b <= 0xa0 ? 0x121u + (b - 0x7fu) : 0x143u;
}
/* The byte of a letter, or -1. */
static inline int genet__letter_byte(uint32_t c)
{
    if (c < 0x100) return genet__byte_letter((unsigned char)c) == c ? (int)c : -1;
    return c <= 0x120 ? (int)c - 0x100 : c <= 0x142 ? (int)c - 0x121 + 0x7f : c == 0x143 ? 0xad : -1;
}
void genet__byte_letters(const token_text *in, text_buffer *out);

/* --- charsmap.c: SentencePiece's table of replacements ---------------------------------------------------------------- */

typedef struct charsmap charsmap;
charsmap *genet__charsmap_new(const char *base64, arena *a, genet_err *err);
/* What stands for s[0 .. n), of which the shortest beginning that is in the table counts; NULL: nothing does. */
const char *genet__charsmap_find(const charsmap *m, const char *s, size_t n, size_t *length);
#endif
