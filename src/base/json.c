/* json.c - JSON from outside and JSON we print.
 *
 * Reading: jansson, which checks UTF-8 and positions; on top of it a limit on
 * depth, no duplicate keys, the C locale, and integers beyond 64 bits (Hugging
 * Face files say 1e30 as digits for "no limit"), which are taken as reals.
 * Printing is our own so that reals come out in their shortest form, the same
 * from every version of jansson. */
#include "base/json.h"
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"

/* --- reading -------------------------------------------------------------- */

/* jansson allows 2048 levels, each some hundred bytes of stack: look first. */
static bool check_depth(const char *text, size_t n, const char *where, genet_err *err)
{
    int depth = 0, line = 1, column = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        column++;
        if (c == '\n') line++, column = 0;
        if (quoted) {
            if (c == '\\') i++, column++;
            else if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > GENET_JSON_MAX_DEPTH)
                return genet__err_set(err, GENET_ERR_FORMAT, "%s:%d:%d: more than %d levels of brackets", where, line,
                                      column, GENET_JSON_MAX_DEPTH);
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return true;
}

/* jansson converts numbers by the thread's locale. */
static json_t *load(const char *text, size_t n, size_t flags, json_error_t *e)
{
    c_locale l = genet__c_locale_enter();
    json_t *j = json_loadb(text, n, flags | JSON_REJECT_DUPLICATES, e);
    genet__c_locale_leave(l);
    return j;
}

json_t *genet__json_parse(const char *text, size_t n, const char *where, genet_err *err)
{
    if (!check_depth(text, n, where, err)) return NULL;
    json_error_t e;
    json_t *j = load(text, n, 0, &e);
    if (!j && json_error_code(&e) == json_error_numeric_overflow) j = load(text, n, JSON_DECODE_INT_AS_REAL, &e);
    else if (!j) j = load(text, n, 0, &e);      /* jansson's lexer calls a failed allocation bad syntax: is it? */
    if (j) return j;
    if (!e.text[0] || json_error_code(&e) == json_error_out_of_memory) genet__err_memory(err);  /* no words: no memory */
    else genet__err_set(err, GENET_ERR_FORMAT, "%s:%d:%d: %s", where, e.line, e.column, e.text);
    return NULL;
}

json_t *genet__json_read(const char *path, size_t max_bytes, genet_err *err)
{
    size_t n = 0;
    char *text = genet__file_read(path, max_bytes, &n, err);
    if (!text) return NULL;
    json_t *j = genet__json_parse(text, n, path, err);
    genet__free(text);
    return j;
}

static const char *kind_of(const json_t *j)
{
    switch (json_typeof(j)) {
    case JSON_OBJECT:  return "an object";
    case JSON_ARRAY:   return "an array";
    case JSON_STRING:  return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL:    return "a number";
    case JSON_NULL:    return "null";
    default:           return "true or false";
    }
}

/* The field, or NULL: absent (*found says so, or err when it must be there). */
static const json_t *field(const json_t *o, const char *key, const char *where, bool *found, genet_err *err)
{
    const json_t *j = json_object_get(o, key);
    if (found) *found = j != NULL;
    if (!j && !found) {
        if (json_is_object(o)) genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" is missing", where, key);
        else genet__err_set(err, GENET_ERR_FORMAT, "%s: must be an object with \"%s\"", where, key);
    }
    return j;
}

static bool wrong(const json_t *j, const char *key, const char *where, const char *wanted, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" must be %s, not %s", where, key, wanted, kind_of(j));
}

bool genet__json_int(const json_t *o, const char *key, const char *where, int64_t *out, bool *found, genet_err *err)
{
    const json_t *j = field(o, key, where, found, err);
    if (!j) return found != NULL;
    double x = json_real_value(j);
    if (json_is_integer(j)) *out = json_integer_value(j);
    else if (json_is_real(j) && x == floor(x) && fabs(x) <= 0x1p53) *out = (int64_t)x;
    else return wrong(j, key, where, "an integer", err);
    return true;
}

bool genet__json_double(const json_t *o, const char *key, const char *where, double *out, bool *found, genet_err *err)
{
    const json_t *j = field(o, key, where, found, err);
    if (!j) return found != NULL;
    if (!json_is_number(j)) return wrong(j, key, where, "a number", err);
    *out = json_number_value(j);
    return true;
}

bool genet__json_bool(const json_t *o, const char *key, const char *where, bool *out, bool *found, genet_err *err)
{
    const json_t *j = field(o, key, where, found, err);
    if (!j) return found != NULL;
    if (!json_is_boolean(j)) return wrong(j, key, where, "true or false", err);
    *out = json_is_true(j);
    return true;
}

bool genet__json_string(const json_t *o, const char *key, const char *where, const char **out, bool *found,
                        genet_err *err)
{
    const json_t *j = field(o, key, where, found, err);
    if (!j) return found != NULL;
    if (!json_is_string(j)) return wrong(j, key, where, "a string", err);
    *out = json_string_value(j);
    return true;
}

bool genet__json_merge(json_t *to, const json_t *from, bool without_nulls)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)from, key, value) {
        if (json_object_get(to, key) || (without_nulls && json_is_null(value))) continue;
        if (json_object_set(to, key, value)) return false;
    }
    return true;
}

void genet__json_append(json_t **list, json_t *value)
{
    if (!*list) json_decref(value);
    else if (json_array_append_new(*list, value)) {
        json_decref(*list);
        *list = NULL;
    }
}

/* --- printing ------------------------------------------------------------- */

static void print_string(const char *s, size_t n, str *out)
{
    size_t plain = 0;           /* bytes since the last one that needed an escape */
    genet__str_add(out, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) continue;
        genet__str_add_n(out, s + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\') genet__str_printf(out, "\\%c", c);
        else if (c == '\n') genet__str_add(out, "\\n");
        else if (c == '\t') genet__str_add(out, "\\t");
        else genet__str_printf(out, "\\u%04x", c);
    }
    genet__str_add_n(out, s + plain, n - plain);
    genet__str_add(out, "\"");
}

/* A real stays a real: "1" becomes "1.0". */
static void print_real(double x, str *out)
{
    char text[32];
    genet__format_double(text, x);
    genet__str_add(out, text);
    if (!strpbrk(text, ".en")) genet__str_add(out, ".0");
}

static void new_line(int indent, int depth, str *out)
{
    if (indent) genet__str_printf(out, "\n%*s", indent * depth, "");
}

static void print_value(const json_t *j, int indent, int depth, str *out);

static void print_object(const json_t *j, int indent, int depth, str *out)
{
    const char *key;
    json_t *value;
    bool first = true;
    genet__str_add(out, "{");
    json_object_foreach((json_t *)j, key, value) {
        if (!first) genet__str_add(out, indent ? "," : ", ");
        first = false;
        new_line(indent, depth + 1, out);
        print_string(key, strlen(key), out);
        genet__str_add(out, ": ");
        print_value(value, indent, depth + 1, out);
    }
    if (!first) new_line(indent, depth, out);
    genet__str_add(out, "}");
}

static void print_array(const json_t *j, int indent, int depth, str *out)
{
    size_t n = json_array_size(j);
    genet__str_add(out, "[");
    for (size_t i = 0; i < n; i++) {
        if (i) genet__str_add(out, indent ? "," : ", ");
        new_line(indent, depth + 1, out);
        print_value(json_array_get(j, i), indent, depth + 1, out);
    }
    if (n) new_line(indent, depth, out);
    genet__str_add(out, "]");
}

static void print_value(const json_t *j, int indent, int depth, str *out)
{
    switch (json_typeof(j)) {
    case JSON_OBJECT:  print_object(j, indent, depth, out); break;
    case JSON_ARRAY:   print_array(j, indent, depth, out); break;
    case JSON_STRING:  print_string(json_string_value(j), json_string_length(j), out); break;
    case JSON_INTEGER: genet__str_printf(out, "%lld", (long long)json_integer_value(j)); break;
    case JSON_REAL:    print_real(json_real_value(j), out); break;
    case JSON_TRUE:    genet__str_add(out, "true"); break;
    case JSON_FALSE:   genet__str_add(out, "false"); break;
    default:           genet__str_add(out, "null"); break;
    }
}

void genet__json_print(const json_t *j, int indent, str *out)
{
    print_value(j, indent, 0, out);
}

bool genet__json_write(const char *path, const json_t *j, genet_err *err)
{
    str text = { 0 };
    genet__json_print(j, 2, &text);
    genet__str_add(&text, "\n");
    bool ok = text.failed ? genet__err_memory(err) : genet__file_write_all(path, genet__str(&text), text.n, err);
    genet__str_release(&text);
    return ok;
}
