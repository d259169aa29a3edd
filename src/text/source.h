/* source.h - text from files, folders and standard input as one stream of
 * valid UTF-8, read in chunks and as often as wanted; larger than memory if
 * need be.
 *
 * A folder stands for the files in it and below, names beginning with a dot
 * left out.  All files are put in order bytewise by path, and joined with nothing
 * between them; line ends stay as they are.  Gzip is known by its first two bytes.  "-" is
 * standard input: it (like any pipe) is first copied to a temporary file
 * without a name in the spool folder. */
#ifndef GENET_TEXT_SOURCE_H
#define GENET_TEXT_SOURCE_H
#include "text/tokenizer.h"

typedef struct text_source text_source;

/* spool: folder for copies of pipes; NULL: $TMPDIR or /tmp. */
text_source *genet__source_open(const char *const *paths, int n, const char *spool, genet_err *err);
/* The same, but a file *.jsonl is documents: of each line's object the field "text", and after it `end`. */
text_source *genet__source_open_documents(const char *const *paths, int n, const char *spool, const char *end, genet_err *err);
void genet__source_close(text_source *s);
/* The next piece of whole characters of one file, valid until the next call;
 * *n == 0 at the end of all, after which the source begins again.  Bytes
 * that are not UTF-8 are an error with file and offset. */
bool genet__source_next(text_source *s, const char **text, size_t *n, genet_err *err);
void genet__source_rewind(text_source *s);
/* Put "FILE: byte N: " before err's words; i: index into the piece last given (the empty one at the end too),
 * or, when negative, into what came before it. */
bool genet__source_prefix(const text_source *s, ptrdiff_t i, genet_err *err);
/* Pieces of at most n_bytes (4 .. 256 KiB, which is the default). Rewinds. */
void genet__source_set_chunk(text_source *s, size_t n_bytes);
int  genet__source_files(const text_source *s);

/* All of the text at path (a file, a folder, "-") into out, without the byte order mark that some editors write. */
bool genet__source_read(const char *path, str *out, genet_err *err);

/* zlib with our words: plain data passes through.  The descriptor belongs to what is opened (gzFile; gzclose_r). NULL:
 * it was not, and fd stays open. */
struct gzFile_s *genet__gz_open(int fd, genet_err *err);
/* Up to n bytes; *got == 0 at the end. */
bool genet__gz_read(struct gzFile_s *gz, void *to, size_t n, size_t *got, const char *path, genet_err *err);

typedef struct text_scan {
    int64_t  n_files, n_bytes, n_chars;
    char     hash[HASH_HEX];      /* of the bytes of the stream, unpacked */
    char_set chars;
} text_scan;
/* One pass over everything; empty text is an error. */
bool genet__source_scan(text_source *s, text_scan *out, genet_err *err);
#endif
