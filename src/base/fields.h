/* fields.h - every option is declared once, as a row: the command line,
 * --help, config.json, validation and documentation all come from it. */
#ifndef GENET_BASE_FIELDS_H
#define GENET_BASE_FIELDS_H
#include "base/arena.h"
#include "base/json.h"
#include "base/str.h"

typedef enum field_type {
    FIELD_INT,          /* int64_t */
    FIELD_DOUBLE,       /* double */
    FIELD_BOOL,         /* bool; on the command line --name, --name true|false or --no-name */
    FIELD_STRING,       /* const char *, in the arena */
    FIELD_CHOICE,       /* const char *: one of choices "a|b|c" */
    FIELD_JSON,         /* const char *: a JSON object or array as text, NULL for null; in the arena */
    FIELD_INT_LIST      /* int_list: "64,64"; empty allowed */
} field_type;

enum { INT_LIST_MAX = 32 };
typedef struct int_list { int n; int64_t at[INT_LIST_MAX]; } int_list;

enum field_flag {
    FIELD_REQUIRED  = 1,    /* no default */
    FIELD_RENEWABLE = 2,    /* may be given anew at --resume */
    FIELD_MANY      = 4,    /* strings: several values, one a line; the option may be given several times */
    FIELD_PASSING   = 16,   /* of this call alone: in no save and no model card */
    FIELD_WORDS     = 8     /* with FIELD_MANY: the option takes all words that follow it */
};

typedef struct field {
    const char *name;       /* "learning_rate"; the command line says --learning-rate */
    field_type  type;
    size_t      offset;     /* in the struct of options */
    const char *preset;     /* the default as text; NULL: zero / NULL / empty */
    double      min, max;   /* for numbers; both 0: no bounds */
    const char *choices;
    unsigned    flags;
    const char *help;       /* one line */
} field;

typedef struct fields { const char *title; const field *at; int n; } fields;

/* Of its value in the struct. */
size_t genet__field_bytes(const field *f);
/* object: the struct that offsets point into.  Strings go to a. */
bool genet__fields_defaults(const fields *f, void *object, arena *a, genet_err *err);
const field *genet__fields_find(const fields *f, const char *name);     /* dashes and underscores are one */
bool genet__fields_set(const fields *f, void *object, const char *name, const char *text, arena *a, genet_err *err);
/* The nearest name for a misspelt one over several tables, or NULL. */
const char *genet__fields_nearest(const fields *const *tables, int n, const char *name);
json_t *genet__fields_to_json(const fields *f, const void *object);
/* Sets what is there; unknown keys are left alone; wrong types and ranges fail, naming where and key. */
bool genet__fields_from_json(const fields *f, void *object, const json_t *j, const char *where, arena *a, genet_err *err);
/* The value as text, for messages and model cards. */
void genet__fields_text(const field *f, const void *object, str *out);
/* Lines for --help: "  --name VALUE   help (default)". */
void genet__fields_help(const fields *f, str *out);
#endif
