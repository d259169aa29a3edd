/* cli.h - the program: verbs, arguments, words.  The only code that prints,
 * exits or reads arguments.
 *
 * Results go to stdout, words about them to stderr.  Exit codes: 0 done, 1
 * failed, 2 wrong usage. */
#ifndef GENET_CLI_H
#define GENET_CLI_H
#include "base/log.h"
#include "base/str.h"
#include "train/settings.h"
#include "train/train.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef struct verb {
    const char *name, *arguments, *help;        /* "generate", "FOLDER", one line */
    int       (*run)(const struct verb *v, int argc, char **argv);     /* argv: after the verb */
} verb;
extern const verb cli_verb_train, cli_verb_generate, cli_verb_eval, cli_verb_predict, cli_verb_info, cli_verb_plan,
                  cli_verb_bench, cli_verb_complete, cli_verb_export, cli_verb_quantize, cli_verb_tokenize, cli_verb_plot, cli_verb_get,
                  cli_verb_chat, cli_verb_translate, cli_verb_summarize, cli_verb_classify, cli_verb_embed, cli_verb_similar, cli_verb_answer;

/* --- arguments ------------------------------------------------------------------- */

/* Other spellings: -p { "p", "prompt" }, --temp { "temp", "temperature" }; ended by { NULL, NULL }. */
typedef struct short_name { const char *from, *name; } short_name;

enum { MAX_WORDS = 64 };
typedef struct arguments {
    options          *options;
    const short_name *short_names;      /* may be NULL */
    const char       *word[MAX_WORDS + 1];      /* what is no option, in order; ended by NULL */
    int               n_word, max_word;
    bool              help;             /* --help was there */
} arguments;

/* Sort argv into options and words.  A FIELD_MANY gathers its values, one a line; with FIELD_WORDS
 * it takes all words up to the next option. */
bool cli_parse(arguments *a, int argc, char **argv, genet_err *err);
/* The value of one option before the tables are known, or NULL. */
const char *cli_peek(int argc, char **argv, const char *name);

/* A verb that takes a few words (a folder) and options. */
typedef struct simple {
    const fields     *fields;
    void             *options;          /* the struct of fields */
    const int64_t    *threads;          /* in it; NULL: as many as there are cores */
    bool              no_device;        /* body gets NULL for one */
    const short_name *short_names;      /* may be NULL, as the next three */
    const fields     *more_fields;      /* a second table, and its struct */
    void             *more_options;
    const options_part *parts;          /* and more of them, ended by one without fields; may be NULL */
    options         **given;            /* becomes all options while body runs: which were given */
    const char       *folder;           /* words when the first word is missing; NULL: it may be */
    int               max_word;         /* 0: 1 */
    const char       *details;          /* for --help; may be NULL */
    /* The result goes to out.  word: ended by NULL. */
    bool (*body)(const char *const *word, genet_device *d, str *out, genet_err *err, void *options);
} simple;
int cli_simple(const verb *v, const simple *s, int argc, char **argv);

/* --- words ------------------------------------------------------------------------- */

/* Usage of a verb and its option tables, to stdout. */
void cli_help(const verb *v, const char *text, const options *o);
/* "genet train: ..." to stderr; the exit code that fits. */
int  cli_fail(const verb *v, const genet_err *err);
/* Print text (results) to stdout; a full disk is an error. */
int  cli_print(const verb *v, const char *text, size_t n);
/* Warnings and notes of the library, to stderr. */
extern const log_sink cli_log;
/* "1.2 k", "3.4 M", "12 GiB", "1:05:09". */
void cli_count_text(char out[32], double n);
void cli_bytes_text(char out[32], double n);
void cli_time_text(char out[32], double seconds);

/* What a training run says of itself: one line that renews itself on a
 * terminal, plain lines elsewhere. */
typedef struct progress { bool terminal; int width; double shown_s; } progress;
void cli_progress_init(progress *p);
void cli_progress(void *progress, const train_event *e);
void cli_progress_clear(progress *p);

/* --- where the time goes -------------------------------------------------------------- */

typedef struct profile_options { bool profile; const char *profile_trace; } profile_options;
extern const fields cli_profile_fields;
/* For a verb's own table; at: where a profile_options lies in its struct. */
#define PROFILE_FIELDS(at, title)                                                                            \
    { "profile",       FIELD_BOOL,   (at) + offsetof(profile_options, profile), "false", 0, 0, NULL,         \
      FIELD_RENEWABLE | FIELD_PASSING, "time kernels, and print where the time goes" },                      \
    { "profile_trace", FIELD_STRING, (at) + offsetof(profile_options, profile_trace), NULL, 0, 0, NULL,      \
      FIELD_RENEWABLE | FIELD_PASSING, title }

typedef struct machine machine;         /* machine.h */
bool cli_profile_check(const profile_options *o, genet_err *err);
/* The kernels of p by time and what passes between them, as lines in out.  what: the heading's "10 steps, each"; times,
 * calls and operations are divided by divide_by. */
void cli_profile_table(const genet_profile *p, const machine *m, const char *what, double divide_by, str *out);
/* The kernels, slowest first, as a JSON array. */
void cli_profile_json(const genet_profile *p, const machine *m, double divide_by, str *out);
/* Its trace to a file. */
bool cli_profile_write(const genet_profile *p, const char *path, genet_err *err);

#endif
