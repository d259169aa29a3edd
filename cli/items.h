/* items.h - texts in, one line of answer out for each, for `classify`, `embed` and `answer`: from -p, or from a file of lines,
 * JSON lines or a table; to standard output or a file, which a killed run goes on with. */
#ifndef GENET_CLI_ITEMS_H
#define GENET_CLI_ITEMS_H
#include "cli.h"
#include "text/labelled.h"

typedef struct item_options { const char *prompt, *prompt_pair, *input, *output, *text_column, *text_pair_column; bool resume; } item_options;
/* For a verb's own table; at: where an item_options lies in its struct. */
#define ITEM_FIELDS(at)                                                                                                       \
    { "prompt",  FIELD_STRING, (at) + offsetof(item_options, prompt),  NULL, 0, 0, NULL, 0, "one text (-p)" },                \
    { "input",   FIELD_STRING, (at) + offsetof(item_options, input),   NULL, 0, 0, NULL, 0,                                   \
      "many: .jsonl, .csv, .tsv, or a text a line" },                                                                         \
    { "text_column", FIELD_STRING, (at) + offsetof(item_options, text_column), "text", 0, 0, NULL, 0,                         \
      "column, or field, of the text" },                                                                                      \
    { "output",  FIELD_STRING, (at) + offsetof(item_options, output),  NULL, 0, 0, NULL, 0, "a file, in place of standard output" }, \
    { "resume",  FIELD_BOOL,   (at) + offsetof(item_options, resume),  "false", 0, 0, NULL, 0, "go on with --output where it stops" }
#define ITEM_PAIR_FIELDS(at)                                                                                                  \
    { "pair",    FIELD_STRING, (at) + offsetof(item_options, prompt_pair), NULL, 0, 0, NULL, 0, "a second text that belongs to -p's" }, \
    { "text_pair_column", FIELD_STRING, (at) + offsetof(item_options, text_pair_column), NULL, 0, 0, NULL, 0, "of a second text" }

typedef struct items {
    const char **text, **pair;          /* pair NULL: there are none */
    int64_t      n;
    labelled     rows;
    arena        arena;
} items;
bool cli_items_read(items *i, const item_options *o, genet_err *err);
void cli_items_release(items *i);

/* Lines of JSON to --output or standard output; *done: items that --output has answers for already. */
typedef struct item_writer { int fd; const char *path; } item_writer;
bool cli_items_open(item_writer *w, const item_options *o, int64_t *done, genet_err *err);
bool cli_items_add(item_writer *w, const str *lines, genet_err *err);
void cli_items_close(item_writer *w);
enum { ITEM_CHUNK = 256 };      /* items that are answered together */
#endif
