/* args.c - the command line: options through tables of fields, words, help. */
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "cli.h"

/* --name, --name=value, --name value, --no-name; -x value. */
typedef struct reader { arguments *a; char **argv; int argc, at; } reader;

/* A lone dash is a word. */
static bool is_option(const char *word) { return word[0] == '-' && word[1]; }

/* The option that goes by this name too, or NULL. */
static const field *other_name(const reader *r, const char *name)
{
    for (const short_name *s = r->a->short_names; s && s->from; s++)
        if (!strcmp(s->from, name)) return genet__options_find(r->a->options, s->name);
    return NULL;
}

/* A word behind one dash is a value (-5, -the) unless it is a short option. */
static bool is_value(const reader *r, const char *word)
{
    if (!is_option(word)) return true;
    if (word[1] == '-' || !strcmp(word, "-h")) return false;
    return word[2] || !other_name(r, word + 1);
}

/* Tables spell names with underscores, people with dashes. */
static const char *dashed(const char *name, char out[80])
{
    for (size_t i = 0; name[i] && i < 79; i++) out[i] = name[i] == '_' ? '-' : name[i];
    return out;
}

/* Sets f; an error that begins with its name spells it as it was typed. */
static bool set_option(reader *r, const field *f, const char *text, genet_err *err)
{
    genet_err own;
    if (genet__options_set(r->a->options, f->name, text, &own)) return true;
    size_t n = strlen(f->name);
    char dashes[80] = {0};
    if (!strncmp(own.text, f->name, n) && own.text[n] == ' ')
        genet__err_set(err, own.code, "--%s%s", dashed(f->name, dashes), own.text + n);
    else *err = own;
    return false;
}

static bool unknown(const arguments *a, const char *word, const char *name, genet_err *err)
{
    const char *near = genet__options_nearest(a->options, name);
    if (near)
        return genet__err_set(err, GENET_ERR_USAGE, "unknown option %s; did you mean --%s?", word,
                              dashed(near, (char[80]){0}));
    return genet__err_set(err, GENET_ERR_USAGE, "unknown option %s; --help lists those there are", word);
}

static bool is_bool_word(const char *word) { return !strcmp(word, "true") || !strcmp(word, "false"); }

/* --name alone, or with true or false after it. */
static bool set_bool(reader *r, const field *f, const char *value, genet_err *err)
{
    if (!value && r->at < r->argc && is_bool_word(r->argv[r->at])) value = r->argv[r->at++];
    return set_option(r, f, value ? value : "true", err);
}

/* One line more: a newline in the value itself is spelled \n. */
static void add_line(str *all, const char *value)
{
    if (all->n) genet__str_add(all, "\n");
    for (const char *p = value; *p; p++)
        if (*p == '\n') genet__str_add(all, "\\n");
        else genet__str_add_n(all, p, 1);
}

/* Behind what earlier options said: one value, or as many words as follow. */
static bool set_list(reader *r, const field *f, const char *value, genet_err *err)
{
    str all = {0};
    const char *before = genet__options_text(r->a->options, f->name);
    if (before && *before && genet__options_was_given(r->a->options, f->name)) genet__str_add(&all, before);
    while (value || ((f->flags & FIELD_WORDS) && r->at < r->argc && !is_option(r->argv[r->at]))) {
        add_line(&all, value ? value : r->argv[r->at++]);
        value = NULL;
    }
    bool ok = all.n ? set_option(r, f, genet__str(&all), err)
                    : genet__err_set(err, GENET_ERR_USAGE, "--%s needs a value", dashed(f->name, (char[80]){0}));
    genet__str_release(&all);
    return ok;
}

/* "-" is a value: standard input. */
static bool set_field(reader *r, const field *f, const char *value, const char *word, genet_err *err)
{
    if (f->type == FIELD_BOOL) return set_bool(r, f, value, err);
    if (f->flags & FIELD_WORDS) return set_list(r, f, value, err);
    if (!value && r->at == r->argc) return genet__err_set(err, GENET_ERR_USAGE, "%s needs a value", word);
    if (!value && !is_value(r, r->argv[r->at]))
        return genet__err_set(err, GENET_ERR_USAGE, "%s needs a value; one that begins with dashes is written --%s=%s", word,
                              dashed(f->name, (char[80]){0}), r->argv[r->at]);
    if (!value) value = r->argv[r->at++];
    return f->flags & FIELD_MANY ? set_list(r, f, value, err) : set_option(r, f, value, err);
}

/* --name, --name=value, or --no-name for what is true or false. */
static bool long_option(reader *r, const char *word, genet_err *err)
{
    char name[80];
    const char *equals = strchr(word, '=');
    size_t n = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
    if (n >= sizeof name) return unknown(r->a, word, "", err);
    memcpy(name, word + 2, n);
    name[n] = 0;
    const field *f = genet__options_find(r->a->options, name);
    if (!f && name[0] && name[1]) f = other_name(r, name);
    if (f) return set_field(r, f, equals ? equals + 1 : NULL, word, err);
    f = strncmp(name, "no-", 3) ? NULL : genet__options_find(r->a->options, name + 3);
    if (f && f->type == FIELD_BOOL && !equals) return set_option(r, f, "false", err);
    return unknown(r->a, word, name, err);
}

/* Only whole short names: -n 20, never -n20 or bundles. */
static bool short_option(reader *r, const char *word, genet_err *err)
{
    const field *f = word[2] ? NULL : other_name(r, word + 1);
    if (f) return set_field(r, f, NULL, word, err);
    return unknown(r->a, word, word + 1, err);
}

/* Words and options may be mixed; options reach the first table that knows them. */
bool cli_parse(arguments *a, int argc, char **argv, genet_err *err)
{
    reader r = { a, argv, argc, 0 };
    while (r.at < argc) {
        const char *word = argv[r.at++];
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) a->help = true;
        else if (!strncmp(word, "--", 2) && word[2]) TRY(long_option(&r, word, err));
        else if (is_option(word)) TRY(short_option(&r, word, err));
        else if (a->n_word == a->max_word)
            return genet__err_set(err, GENET_ERR_USAGE, "\"%s\" is one word too many; options begin with --", word);
        else a->word[a->n_word++] = word;
    }
    return true;
}

/* --model decides which tables there are, so it is looked for before they are read. */
const char *cli_peek(int argc, char **argv, const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) || strncmp(argv[i] + 2, name, n)) continue;
        if (argv[i][2 + n] == '=') return argv[i] + 3 + n;
        if (!argv[i][2 + n]) return i + 1 < argc ? argv[i + 1] : "";
    }
    return NULL;
}

/* Everything but the first line comes from the tables. */
void cli_help(const verb *v, const char *text, const options *o)
{
    str s = {0};
    genet__str_printf(&s, "usage: genet %s %s\n\n%s\n", v->name, v->arguments, v->help);
    if (text) genet__str_printf(&s, "\n%s", text);
    for (int i = 0; o && i < o->n_table; i++) {
        genet__str_add(&s, "\n");
        genet__fields_help(o->table[i].fields, &s);
    }
    fputs(genet__str(&s), stdout);
    genet__str_release(&s);
}

/* --- simple verbs ------------------------------------------------------------- */

/* Parse, answer --help, or do the work on a device of its own. */
static bool run_simple(const verb *v, const simple *s, options *o, int argc, char **argv, str *out, genet_err *err)
{
    arguments a = { .options = o, .short_names = s->short_names, .max_word = s->max_word ? s->max_word : 1 };
    TRY(genet__options_add(o, s->fields, s->options, err));
    if (s->more_fields) TRY(genet__options_add(o, s->more_fields, s->more_options, err));
    for (const options_part *p = s->parts; p && p->fields; p++) TRY(genet__options_add(o, p->fields, p->object, err));
    TRY(cli_parse(&a, argc, argv, err));
    if (a.help) {
        cli_help(v, s->details, o);
        return true;
    }
    if (!a.n_word && s->folder) return genet__err_set(err, GENET_ERR_USAGE, "%s", s->folder);
    genet_device *d = s->no_device ? NULL : genet_device_cpu(s->threads ? (int)*s->threads : 0, err);
    bool ok = (d || s->no_device) && s->body(a.word, d, out, err, s->options);
    genet_device_free(d);
    return ok && (!out->failed || genet__err_memory(err));
}

/* Results are gathered and printed at the end, so that a failure prints none. */
int cli_simple(const verb *v, const simple *s, int argc, char **argv)
{
    genet_err err;
    arena a = {0};
    options o = { .arena = &a };
    str out = {0};
    if (s->given) *s->given = &o;
    bool ok = run_simple(v, s, &o, argc, argv, &out, &err);
    int code = ok ? cli_print(v, genet__str(&out), out.n) : cli_fail(v, &err);
    genet__str_release(&out);
    genet__arena_release(&a);
    return code;
}
