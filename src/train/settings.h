/* settings.h - the options of a job over several tables: what was asked for,
 * what a save holds, and whether the two agree. */
#ifndef GENET_TRAIN_SETTINGS_H
#define GENET_TRAIN_SETTINGS_H
#include "base/fields.h"

/* Tables side by side, each with its own struct. */
typedef struct options_part { const fields *fields; void *object; } options_part;
enum { MAX_TABLES = 8, MAX_GIVEN = 64 };
typedef struct options {
    arena        *arena;                /* of strings */
    options_part  table[MAX_TABLES];
    int           n_table;
    const field  *given[MAX_GIVEN];     /* set by someone, not by default */
    int           n_given;
} options;

/* Add a table; its struct gets the defaults. */
bool genet__options_add(options *o, const fields *f, void *object, genet_err *err);
const field *genet__options_find(const options *o, const char *name);      /* NULL: unknown */
/* The nearest name for a misspelt one, or NULL. */
const char *genet__options_nearest(const options *o, const char *name);
bool genet__options_set(options *o, const char *name, const char *text, genet_err *err);
bool genet__options_was_given(const options *o, const char *name);
/* The value of a string field; NULL when there is none. */
const char *genet__options_text(const options *o, const char *name);
/* Every field with its value; NULL: no memory. */
json_t *genet__options_to_json(const options *o);
/* The names of those that were given; and back: a resumed run's options were given when it began. */
json_t *genet__options_given(const options *o);
bool genet__options_give(options *o, const json_t *names, genet_err *err);
/* Take over what a save holds (where: its name, for messages).  A field that was
 * given anew must be renewable or say the same; otherwise an error with both values. */
bool genet__options_resume(options *o, const json_t *saved, const char *where, genet_err *err);
#endif
