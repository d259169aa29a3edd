/* fields.c - reading and writing the structs that tables of fields describe.
 * One function turns text into a value and one turns a JSON value into one;
 * both end in the same checks of range and choice. */
#include "base/fields.h"
#include <math.h>
#include <string.h>
#include "base/err.h"

static char plain(char c)
{
    return c == '-' ? '_' : c;
}

static bool same_name(const char *a, const char *b)
{
    for (; *a && plain(*a) == plain(*b); a++) b++;
    return plain(*a) == plain(*b);
}

const field *genet__fields_find(const fields *f, const char *name)
{
    for (int i = 0; i < f->n; i++)
        if (same_name(f->at[i].name, name)) return &f->at[i];
    return NULL;
}

/* Far-off words are no help: at most a third of the letters may differ. */
const char *genet__fields_nearest(const fields *const *tables, int n, const char *name)
{
    char wanted[64];
    size_t length = strnlen(name, sizeof wanted - 1);
    for (size_t i = 0; i < length; i++) wanted[i] = plain(name[i]);
    wanted[length] = 0;
    const char *best = NULL;
    int least = (int)length / 3 + 2;
    for (int t = 0; t < n; t++)
        for (int i = 0; i < tables[t]->n; i++) {
            int edits = genet__edit_distance(wanted, tables[t]->at[i].name);
            if (edits >= least) continue;
            least = edits;
            best = tables[t]->at[i].name;
        }
    return best;
}

/* --- checks --------------------------------------------------------------- */

static bool bounded(const field *f)
{
    return f->min != 0 || f->max != 0;
}

static void bounds_text(const field *f, str *out)
{
    char low[32], high[32];
    genet__format_double(low, f->min);
    genet__format_double(high, f->max);
    if (isinf(f->max)) genet__str_printf(out, "at least %s", low);
    else if (isinf(f->min)) genet__str_printf(out, "at most %s", high);
    else genet__str_printf(out, "%s to %s", low, high);
}

static bool check_range(const field *f, double x, genet_err *err)
{
    if (!bounded(f) || (x >= f->min && x <= f->max)) return true;
    char value[32];
    str bounds = { 0 };
    genet__format_double(value, x);
    bounds_text(f, &bounds);
    genet__err_set(err, GENET_ERR_USAGE, "%s must be %s, not %s", f->name, genet__str(&bounds), value);
    genet__str_release(&bounds);
    return false;
}

/* choices: "a|b|c" */
static bool is_choice(const char *choices, const char *text)
{
    size_t n = strlen(text);
    for (const char *at = choices; at;) {
        size_t length = strcspn(at, "|");
        if (length == n && !memcmp(at, text, n)) return true;
        at = at[length] ? at + length + 1 : NULL;
    }
    return false;
}

/* --- setting from values -------------------------------------------------- */

static bool set_int(const field *f, void *at, int64_t x, genet_err *err)
{
    TRY(check_range(f, (double)x, err));
    *(int64_t *)at = x;
    return true;
}

static bool set_double(const field *f, void *at, double x, genet_err *err)
{
    TRY(check_range(f, x, err));
    *(double *)at = x;
    return true;
}

/* text NULL: none */
static bool set_string(const field *f, void *at, const char *text, arena *a, genet_err *err)
{
    if (text && f->type == FIELD_CHOICE && !is_choice(f->choices, text))
        return genet__err_set(err, GENET_ERR_USAGE, "%s must be one of %s, not \"%s\"", f->name, f->choices, text);
    const char *copy = text ? genet__arena_strdup(a, text) : NULL;
    if (text && !copy) return genet__err_memory(err);
    *(const char **)at = copy;
    return true;
}

/* As text in one line: equal values, equal text. */
static bool set_tree(const field *f, void *at, const json_t *j, arena *a, genet_err *err)
{
    str text = { 0 };
    if (json_is_null(j)) return set_string(f, at, NULL, a, err);
    if (!json_is_object(j) && !json_is_array(j))
        return genet__err_set(err, GENET_ERR_USAGE, "%s must be a JSON object or array", f->name);
    genet__json_print(j, 0, &text);
    bool ok = set_string(f, at, genet__str(&text), a, err);
    genet__str_release(&text);
    return ok;
}

static bool text_to_tree(const field *f, void *at, const char *text, arena *a, genet_err *err)
{
    json_t *j = genet__json_parse(text, strlen(text), f->name, err);
    bool ok = j && set_tree(f, at, j, a, err);
    json_decref(j);
    return ok;
}

static bool list_add(const field *f, int_list *list, int64_t x, genet_err *err)
{
    TRY(check_range(f, (double)x, err));
    if (list->n == INT_LIST_MAX)
        return genet__err_set(err, GENET_ERR_USAGE, "%s: more than %d numbers", f->name, (int)INT_LIST_MAX);
    list->at[list->n++] = x;
    return true;
}

/* --- setting from text ---------------------------------------------------- */

static bool bad_text(const field *f, const char *text, const char *wanted, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_USAGE, "%s must be %s, not \"%s\"", f->name, wanted, text);
}

static bool text_to_bool(const field *f, bool *at, const char *text, genet_err *err)
{
    static const struct { const char *word; bool value; } words[] = {
        { "true", true }, { "1", true }, { "yes", true }, { "", true },
        { "false", false }, { "0", false }, { "no", false }
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(words[i].word, text)) {
            *at = words[i].value;
            return true;
        }
    return bad_text(f, text, "true or false", err);
}

static bool text_to_list(const field *f, int_list *at, const char *text, genet_err *err)
{
    int_list list = { 0 };
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",");
        char number[32] = { 0 };
        int64_t x;
        if (n >= sizeof number) return bad_text(f, text, "whole numbers with commas between", err);
        memcpy(number, p, n);
        if (!genet__parse_int(number, &x)) return bad_text(f, text, "whole numbers with commas between", err);
        TRY(list_add(f, &list, x, err));
        p += n;
        if (*p == ',' && !*++p) return bad_text(f, text, "whole numbers with commas between", err);
    }
    *at = list;
    return true;
}

/* text NULL: a bool that was named without a value; nothing else allows it. */
static bool set_text(const field *f, void *object, const char *text, arena *a, genet_err *err)
{
    void *at = (char *)object + f->offset;
    int64_t i;
    double x;
    if (!text && f->type != FIELD_BOOL) return genet__err_set(err, GENET_ERR_USAGE, "%s needs a value", f->name);
    switch (f->type) {
    case FIELD_INT:
        return genet__parse_int(text, &i) ? set_int(f, at, i, err) : bad_text(f, text, "a whole number", err);
    case FIELD_DOUBLE:
        return genet__parse_double(text, &x) ? set_double(f, at, x, err) : bad_text(f, text, "a number", err);
    case FIELD_BOOL:
        return text_to_bool(f, at, text ? text : "", err);
    case FIELD_INT_LIST:
        return text_to_list(f, at, text, err);
    case FIELD_JSON:
        return text_to_tree(f, at, text, a, err);
    default:
        return set_string(f, at, text, a, err);
    }
}

size_t genet__field_bytes(const field *f)
{
    static const size_t size[] = {
        [FIELD_INT] = sizeof(int64_t), [FIELD_DOUBLE] = sizeof(double), [FIELD_BOOL] = sizeof(bool),
        [FIELD_STRING] = sizeof(char *), [FIELD_CHOICE] = sizeof(char *), [FIELD_JSON] = sizeof(char *), [FIELD_INT_LIST] = sizeof(int_list)
    };
    return size[f->type];
}

bool genet__fields_defaults(const fields *f, void *object, arena *a, genet_err *err)
{
    for (int i = 0; i < f->n; i++) {
        const field *one = &f->at[i];
        memset((char *)object + one->offset, 0, genet__field_bytes(one));
        if (one->preset) TRY(set_text(one, object, one->preset, a, err));
    }
    return true;
}

bool genet__fields_set(const fields *f, void *object, const char *name, const char *text, arena *a, genet_err *err)
{
    const field *one = genet__fields_find(f, name);
    if (one) return set_text(one, object, text, a, err);
    const char *nearest = genet__fields_nearest(&f, 1, name);
    if (nearest)
        return genet__err_set(err, GENET_ERR_USAGE, "there is no option \"%s\"; did you mean \"%s\"?", name, nearest);
    return genet__err_set(err, GENET_ERR_USAGE, "there is no option \"%s\"", name);
}

/* --- JSON ----------------------------------------------------------------- */

static json_t *list_to_json(const int_list *list)
{
    json_t *j = json_array();
    for (int i = 0; j && i < list->n; i++)
        if (json_array_append_new(j, json_integer(list->at[i])) != 0) {
            json_decref(j);
            return NULL;
        }
    return j;
}

/* NULL: no memory; the text was printed from JSON. */
static json_t *tree_to_json(const char *text) { return text ? json_loads(text, 0, NULL) : json_null(); }

static json_t *value_to_json(const field *f, const void *at)
{
    switch (f->type) {
    case FIELD_INT:      return json_integer(*(const int64_t *)at);
    case FIELD_DOUBLE:   return json_real(*(const double *)at);
    case FIELD_BOOL:     return json_boolean(*(const bool *)at);
    case FIELD_INT_LIST: return list_to_json(at);
    case FIELD_JSON:     return tree_to_json(*(const char *const *)at);
    default:             return *(const char *const *)at ? json_string(*(const char *const *)at) : json_null();
    }
}

json_t *genet__fields_to_json(const fields *f, const void *object)
{
    json_t *j = json_object();
    for (int i = 0; j && i < f->n; i++) {
        if (f->at[i].flags & FIELD_PASSING) continue;
        json_t *value = value_to_json(&f->at[i], (const char *)object + f->at[i].offset);
        if (json_object_set_new(j, f->at[i].name, value) != 0) {        /* NULL value: no memory */
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

static bool json_to_list(const field *f, int_list *at, const json_t *j, genet_err *err)
{
    if (!json_is_array(j)) return genet__err_set(err, GENET_ERR_FORMAT, "%s must be an array of integers", f->name);
    int_list list = { 0 };
    for (size_t i = 0; i < json_array_size(j); i++) {
        const json_t *one = json_array_get(j, i);
        if (!json_is_integer(one))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s must be an array of integers", f->name);
        TRY(list_add(f, &list, json_integer_value(one), err));
    }
    *at = list;
    return true;
}

/* j[f->name] is there; the typed reads put `where` before their messages,
 * the caller does so for the rest. */
static bool set_json(const field *f, void *at, const json_t *j, const char *where, arena *a, genet_err *err, bool *named)
{
    int64_t i;
    double x;
    const char *text = NULL;
    const json_t *value = json_object_get(j, f->name);
    *named = true;
    switch (f->type) {
    case FIELD_INT:
        TRY(genet__json_int(j, f->name, where, &i, NULL, err));
        *named = false;
        return set_int(f, at, i, err);
    case FIELD_DOUBLE:
        TRY(genet__json_double(j, f->name, where, &x, NULL, err));
        *named = false;
        return set_double(f, at, x, err);
    case FIELD_BOOL:
        return genet__json_bool(j, f->name, where, at, NULL, err);
    case FIELD_INT_LIST:
        *named = false;
        return json_to_list(f, at, value, err);
    case FIELD_JSON:
        *named = false;
        return set_tree(f, at, value, a, err);
    default:
        if (!json_is_null(value)) TRY(genet__json_string(j, f->name, where, &text, NULL, err));
        *named = false;
        return set_string(f, at, text, a, err);
    }
}

bool genet__fields_from_json(const fields *f, void *object, const json_t *j, const char *where, arena *a, genet_err *err)
{
    if (!json_is_object(j)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: must be a JSON object", where);
    for (int i = 0; i < f->n; i++) {
        bool named;
        if (!json_object_get(j, f->at[i].name)) continue;
        if (set_json(&f->at[i], (char *)object + f->at[i].offset, j, where, a, err, &named)) continue;
        return named ? false : genet__err_prefix(err, "%s: ", where);
    }
    return true;
}

/* --- words ---------------------------------------------------------------- */

void genet__fields_text(const field *f, const void *object, str *out)
{
    const void *at = (const char *)object + f->offset;
    char number[32];
    const int_list *list;
    const char *text;
    switch (f->type) {
    case FIELD_INT:
        genet__str_printf(out, "%lld", (long long)*(const int64_t *)at);
        break;
    case FIELD_DOUBLE:
        genet__format_double(number, *(const double *)at);
        genet__str_add(out, number);
        break;
    case FIELD_BOOL:
        genet__str_add(out, *(const bool *)at ? "true" : "false");
        break;
    case FIELD_INT_LIST:
        list = at;
        for (int i = 0; i < list->n; i++) genet__str_printf(out, "%s%lld", i ? "," : "", (long long)list->at[i]);
        break;
    default:
        text = *(const char *const *)at;
        genet__str_add(out, text ? text : "");
    }
}

static const char *placeholder(const field *f)
{
    switch (f->type) {
    case FIELD_INT:      return " N";
    case FIELD_DOUBLE:   return " X";
    case FIELD_BOOL:     return "";
    case FIELD_INT_LIST: return " N,N,...";
    case FIELD_CHOICE:   return f->choices;
    case FIELD_JSON:     return " JSON";
    default:             return " TEXT";
    }
}

void genet__fields_help(const fields *f, str *out)
{
    enum { HELP_COLUMN = 38 };
    if (f->title) genet__str_printf(out, "%s:\n", f->title);
    for (int i = 0; i < f->n; i++) {
        const field *one = &f->at[i];
        size_t line = out->n;
        genet__str_add(out, "  --");
        for (const char *p = one->name; *p; p++) genet__str_printf(out, "%c", *p == '_' ? '-' : *p);
        genet__str_printf(out, "%s%s", one->type == FIELD_CHOICE ? " " : "", placeholder(one));
        if (out->n - line + 2 > HELP_COLUMN) {          /* too long: the help goes on a line of its own */
            genet__str_add(out, "\n");
            line = out->n;
        }
        genet__str_printf(out, "%*s%s", (int)(HELP_COLUMN - (out->n - line)), "", one->help ? one->help : "");
        if (one->flags & FIELD_REQUIRED) genet__str_add(out, " (required)");
        else if (one->preset && *one->preset) genet__str_printf(out, " (%s)", one->preset);
        genet__str_add(out, "\n");
    }
}
