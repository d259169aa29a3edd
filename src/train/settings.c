/* settings.c - options over several tables, and what may change at a resume. */
#include "train/settings.h"
#include <string.h>
#include "base/err.h"

bool genet__options_add(options *o, const fields *f, void *object, genet_err *err)
{
    if (o->n_table == MAX_TABLES) return genet__err_set(err, GENET_ERR_USAGE, "more than %d option tables", MAX_TABLES);
    o->table[o->n_table++] = (options_part){ f, object };
    return genet__fields_defaults(f, object, o->arena, err);
}

/* The table a name lives in, and its row; NULL when it lives nowhere. */
static const options_part *table_of(const options *o, const char *name, const field **found)
{
    for (int i = 0; i < o->n_table; i++)
        if ((*found = genet__fields_find(o->table[i].fields, name))) return &o->table[i];
    return NULL;
}

const field *genet__options_find(const options *o, const char *name)
{
    const field *f = NULL;
    table_of(o, name, &f);
    return f;
}

const char *genet__options_nearest(const options *o, const char *name)
{
    const fields *tables[MAX_TABLES];
    for (int i = 0; i < o->n_table; i++) tables[i] = o->table[i].fields;
    return genet__fields_nearest(tables, o->n_table, name);
}

/* Remembers that the field was given, for the day the run is resumed. */
bool genet__options_set(options *o, const char *name, const char *text, genet_err *err)
{
    const field *f;
    const options_part *t = table_of(o, name, &f);
    if (!t) {
        const char *near = genet__options_nearest(o, name);
        return genet__err_set(err, GENET_ERR_USAGE, "there is no option %s%s%s%s", name, near ? "; did you mean " : "",
                              near ? near : "", near ? "?" : "");
    }
    TRY(genet__fields_set(t->fields, t->object, name, text, o->arena, err));
    if (!genet__options_was_given(o, f->name)) {
        if (o->n_given == MAX_GIVEN) return genet__err_set(err, GENET_ERR_USAGE, "more than %d options", MAX_GIVEN);
        o->given[o->n_given++] = f;
    }
    return true;
}

bool genet__options_was_given(const options *o, const char *name)
{
    for (int i = 0; i < o->n_given; i++)
        if (!strcmp(o->given[i]->name, name)) return true;
    return false;
}

const char *genet__options_text(const options *o, const char *name)
{
    const field *f;
    const options_part *t = table_of(o, name, &f);
    return t && f->type == FIELD_STRING ? *(const char *const *)((const char *)t->object + f->offset) : NULL;
}

/* All tables in one object: names are unique over the tables of a task. */
json_t *genet__options_to_json(const options *o)
{
    json_t *all = json_object();
    for (int i = 0; all && i < o->n_table; i++) {
        json_t *part = genet__fields_to_json(o->table[i].fields, o->table[i].object);
        bool ok = part && genet__json_merge(all, part, false);
        json_decref(part);
        if (!ok) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

json_t *genet__options_given(const options *o)
{
    json_t *names = json_array();
    for (int i = 0; i < o->n_given; i++)
        if (!(o->given[i]->flags & FIELD_PASSING)) genet__json_append(&names, json_string(o->given[i]->name));
    return names;
}

bool genet__options_give(options *o, const json_t *names, genet_err *err)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        const field *f = name ? genet__options_find(o, name) : NULL;
        if (!f || genet__options_was_given(o, name)) continue;
        if (o->n_given == MAX_GIVEN) return genet__err_set(err, GENET_ERR_USAGE, "more than %d options", MAX_GIVEN);
        o->given[o->n_given++] = f;
    }
    return true;
}

/* The value of a field as text; empty where nothing was saved. */
static void value_text(const options_part *t, const field *f, str *out)
{
    genet__str_clear(out);
    genet__fields_text(f, t->object, out);
}

/* What was given stands in given; the struct now holds what was saved. */
static bool settle(options *o, const options_part *t, const field *f, const char *given, genet_err *err)
{
    if (f->flags & FIELD_RENEWABLE) return genet__fields_set(t->fields, t->object, f->name, given, o->arena, err);
    str saved = {0};
    value_text(t, f, &saved);
    bool same = !saved.failed && !strcmp(genet__str(&saved), given);
    if (!same)
        genet__err_set(err, GENET_ERR_USAGE, "this run has %s = %s, and %s is asked for now: a resumed run keeps its "
                       "settings; leave the option out, or train into a new folder", f->name, genet__str(&saved), given);
    genet__str_release(&saved);
    return same;
}

/* Table by table: note what was given, take over what was saved, then settle
 * the differences. */
bool genet__options_resume(options *o, const json_t *saved, const char *where, genet_err *err)
{
    for (int i = 0; i < o->n_table; i++) {
        const options_part *t = &o->table[i];
        str given[MAX_GIVEN] = {0};
        for (int k = 0; k < o->n_given; k++)
            if (genet__fields_find(t->fields, o->given[k]->name)) value_text(t, o->given[k], &given[k]);
        bool ok = genet__fields_from_json(t->fields, t->object, saved, where, o->arena, err);
        for (int k = 0; k < o->n_given; k++) {
            if (ok && given[k].at) ok = settle(o, t, o->given[k], genet__str(&given[k]), err);
            genet__str_release(&given[k]);
        }
        TRY(ok);
    }
    return true;
}
