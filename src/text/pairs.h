/* pairs.h - texts and what they are to become: sources and targets, from files of columns or of JSON lines.
 *
 * A file whose first character is { is JSON lines: {"source": ..., "target": ...}, the names as the options say, or
 * Hugging Face's {"translation": {"fr": ..., "en": ...}}.  Any other has columns parted by tabs, one pair a line, and no
 * header.  Gzip is known by its first bytes. */
#ifndef GENET_TEXT_PAIRS_H
#define GENET_TEXT_PAIRS_H
#include "base/arena.h"
#include "base/fields.h"
#include "format/sha256.h"

typedef struct pair_options {
    int64_t source_column, target_column;               /* from 1 */
    const char *source_field, *target_field;            /* of JSON objects */
    const char *source_lang, *target_lang;              /* of "translation"; NULL: there is none */
    const char *prefix;                                 /* put before every source; NULL: nothing */
} pair_options;

typedef struct text_pair { const char *source, *target; bool held_out; } text_pair;

typedef struct pairs {
    text_pair *at;
    int64_t    n, n_held_out, n_left_out;               /* left out: see pairs_split */
    int        cap;
    int64_t    n_empty;                                 /* lines passed over: a side of them is empty */
    char       hash[HASH_HEX];                          /* of all sources and targets as they were read */
    arena      arena;
} pairs;

/* paths: files, folders, "-", as genet__source_open; {0} is ready.  Lines without both sides are errors that name file and
 * line. Release also after a failure. */
bool genet__pairs_read(pairs *p, const char *const *path, int n_path, const pair_options *o, genet_err *err);
void genet__pairs_release(pairs *p);

/* Hold out about `fraction` of the distinct targets (by_target) or sources: with a sentence all its pairs.  Whether one is held
 * out depends on its text and the seed alone.  Pairs to learn from whose other side is that of a pair held out
 * go: neither side of what is held out has been seen. */
bool genet__pairs_split(pairs *p, double fraction, bool by_target, uint64_t seed, genet_err *err);
/* "source TAB target" lines of those held out, or of the others. */
bool genet__pairs_print(const pairs *p, bool held_out, const char *between, str *out, genet_err *err);
#endif
