/* reader.h - the characters of a source in stretches that end where a tokenizer
 * may be stopped: what stands behind the last such place is carried over to
 * the next stretch, through chunks and files.  The text is read as one or more parts,
 * one after the other; nothing is carried from one to the next. */
#ifndef GENET_TEXT_READER_H
#define GENET_TEXT_READER_H
#include "text/source.h"
#include "text/tokenizer_train.h"

/* As genet__tokenizer_cut. */
typedef size_t text_cut_fn(const void *user, const char *text, size_t n);

typedef struct text_reader {
    text_source *s;
    text_cut_fn *cut;
    const void  *user;
    int64_t      left;          /* characters of this part still to come from s */
    const char  *chunk;         /* what s gave last; up to `at` it is used */
    size_t       n, at;
    bool         ended;         /* s has no more */
    char        *carry;
    int          n_carry, cap_carry;
    int          given;         /* of carry, handed out by the last call */
    int          tried;         /* carry had no place to end when it was this long */
    ptrdiff_t    origin;        /* the last stretch began there, counted from what s gave last */
} text_reader;

/* From the beginning of s; then begin a part and read it to its end, then the next. */
void genet__reader_open(text_reader *r, text_source *s, text_cut_fn *cut, const void *user);
void genet__reader_part(text_reader *r, int64_t n_chars);
/* *n == 0: the part is over.  text is valid until the next call. */
bool genet__reader_next(text_reader *r, const char **text, size_t *n, genet_err *err);
/* Put "FILE: byte N: " before err's words; i: index into the last stretch. */
bool genet__reader_prefix(const text_reader *r, size_t i, genet_err *err);
void genet__reader_close(text_reader *r);

/* Count in the training part, the first n_chars of s: each is called with its stretches, as cut says, and
 * watch is told in between. */
typedef bool stretch_fn(void *user, const char *text, size_t n, genet_err *err);
bool genet__reader_count(text_source *s, int64_t n_chars, text_cut_fn *cut, const void *cutter, stretch_fn *each,
                         void *user, const train_watch *watch, genet_err *err);
#endif
