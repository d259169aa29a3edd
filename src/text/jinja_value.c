/* jinja_value.c - what a template can do with values, as Python does it: truth, equality, order, length, iteration,
 * items, attributes.  All that recurses into values counts its depth, and all that looks at many counts its steps. */
#include <math.h>
#include <stdarg.h>
#include "base/err.h"
#include "text/jinja_tree.h"

/* --- memory and limits ------------------------------------------------------------------------ */

bool genet__jinja_spend(run *r, int64_t steps)
{
    if (r->failed) return false;
    if ((r->steps += steps) <= r->limits.max_steps) return true;
    return FAIL(r, "the template does more than %lld steps: it may never end", (long long)r->limits.max_steps);
}

void *genet__jinja_new(run *r, size_t n)
{
    if (!genet__jinja_spend(r, (int64_t)(n >> 6))) return NULL;
    if (n > r->limits.max_bytes || r->arena.used_bytes > r->limits.max_bytes - n) {
        FAIL(r, "the template needs more than %zu MiB of memory", r->limits.max_bytes >> 20);
        return NULL;
    }
    void *p = genet__arena_alloc(&r->arena, n);
    if (p) return p;
    r->failed = true;
    genet__err_memory(r->err);
    return NULL;
}

bool genet__jinja_enter(run *r)
{
    if (r->depth < JINJA_MAX_DEPTH) return r->depth++, !r->failed;
    r->depth++;
    return FAIL(r, "expressions, calls or values are nested too deeply");
}

/* --- making ----------------------------------------------------------------------------------- */

bool genet__jinja_make_list(run *r, value_kind kind, const char *type, const value *at, int64_t n, value *out)
{
    list *l = genet__jinja_new(r, sizeof *l);
    value *copy = l ? genet__jinja_new(r, (size_t)n * sizeof *copy) : NULL;
    if (!copy) return false;
    if (n && at) memcpy(copy, at, (size_t)n * sizeof *copy);
    *l = (list){ .at = copy, .n = n, .type = type };
    *out = (value){ .kind = kind, .list = l };
    return true;
}

bool genet__jinja_hashable(const value *v)
{
    if (v->kind == V_LIST || v->kind == V_DICT || v->kind == V_VIEW) return false;
    for (int64_t i = 0; v->kind == V_TUPLE && i < v->list->n; i++)
        if (v->list->at[i].kind == V_LIST || v->list->at[i].kind == V_DICT) return false;
    return true;
}

value *genet__jinja_dict_get(run *r, const dict *d, const value *key)
{
    if (!genet__jinja_spend(r, d->n / 8)) return NULL;
    for (int64_t i = 0; i < d->n; i++) {
        const value *k = &d->at[i].key;
        bool same = false;
        if (k->kind == V_STRING && key->kind == V_STRING) same = k->n == key->n && !memcmp(k->s, key->s, k->n);
        else if (!genet__jinja_equal(r, k, key, &same)) return NULL;
        if (same) return &d->at[i].value;
    }
    return NULL;
}

bool genet__jinja_dict_set(run *r, dict *d, value key, value v)
{
    if (!genet__jinja_hashable(&key)) return FAIL(r, "%s cannot be a key", genet__jinja_type(&key));
    value *old = genet__jinja_dict_get(r, d, &key);
    if (r->failed) return false;
    if (old) return *old = v, true;
    if (d->n == d->cap) {
        int64_t cap = d->cap ? 2 * d->cap : 4;
        pair *grown = genet__jinja_new(r, (size_t)cap * sizeof *grown);
        if (!grown) return false;
        if (d->n) memcpy(grown, d->at, (size_t)d->n * sizeof *grown);
        d->at = grown;
        d->cap = cap;
    }
    d->at[d->n++] = (pair){ key, v };
    return true;
}

static bool copy_text(run *r, const char *s, size_t n, value *out)
{
    char *copy = n > UINT32_MAX / 2 ? NULL : genet__jinja_new(r, n + 1);
    if (!copy) return r->failed ? false : FAIL(r, "a text is too long");
    memcpy(copy, s, n);
    *out = TEXT(copy, n);
    return true;
}

static bool list_from_json(run *r, const json_t *j, value *out)
{
    size_t n = json_array_size(j);
    TRY(genet__jinja_make_list(r, V_LIST, "list", NULL, (int64_t)n, out));
    for (size_t i = 0; i < n; i++) TRY(genet__jinja_from_json(r, json_array_get(j, i), &out->list->at[i]));
    return true;
}

static bool dict_from_json(run *r, const json_t *j, value *out)
{
    const char *name;
    json_t *one;
    dict *d = genet__jinja_new(r, sizeof *d);
    pair *at = d ? genet__jinja_new(r, (json_object_size(j) + 1) * sizeof *at) : NULL;
    if (!at) return false;
    *d = (dict){ .at = at, .cap = (int64_t)json_object_size(j) };
    *out = (value){ .kind = V_DICT, .dict = d };
    json_object_foreach((json_t *)j, name, one) {               /* keys are distinct */
        pair *p = &d->at[d->n++];
        TRY(copy_text(r, name, strlen(name), &p->key) && genet__jinja_from_json(r, one, &p->value));
    }
    return true;
}

bool genet__jinja_from_json(run *r, const json_t *j, value *out)
{
    bool ok = genet__jinja_enter(r) && genet__jinja_spend(r, 1);
    switch (json_typeof(j)) {
    case JSON_OBJECT:  ok = ok && dict_from_json(r, j, out); break;
    case JSON_ARRAY:   ok = ok && list_from_json(r, j, out); break;
    case JSON_STRING:  ok = ok && copy_text(r, json_string_value(j), json_string_length(j), out); break;
    case JSON_INTEGER: *out = INT(json_integer_value(j)); break;
    case JSON_REAL:    *out = FLOAT(json_real_value(j)); break;
    case JSON_NULL:    *out = NONE; break;
    default:           *out = BOOL(json_is_true(j)); break;
    }
    r->depth--;
    return ok;
}

bool genet__jinja_undefined(run *r, value *out, const char *fmt, ...)
{
    char words[200];
    va_list ap;
    va_start(ap, fmt);
    genet__vformat(words, sizeof words, fmt, ap);
    va_end(ap);
    TRY(copy_text(r, words, strlen(words), out));
    out->kind = V_UNDEFINED;
    return true;
}

/* --- looking ---------------------------------------------------------------------------------- */

const char *genet__jinja_type(const value *v)
{
    static const char *const names[] = {
        [V_UNDEFINED] = "Undefined", [V_NONE] = "None", [V_BOOL] = "bool", [V_INT] = "int", [V_FLOAT] = "float",
        [V_STRING] = "str", [V_LIST] = "list", [V_TUPLE] = "tuple", [V_DICT] = "dict", [V_NAMESPACE] = "Namespace",
        [V_LOOP] = "LoopContext", [V_MACRO] = "Macro", [V_FUNCTION] = "function", [V_METHOD] = "method",
    };
    if (v->kind == V_RANGE || v->kind == V_VIEW || v->kind == V_ITERATOR) return v->list->type;
    return v->kind < sizeof names / sizeof *names && names[v->kind] ? names[v->kind] : "nothing";
}

bool genet__jinja_true(const value *v)
{
    switch (v->kind) {
    case V_MISSING: case V_UNDEFINED: case V_NONE: return false;
    case V_BOOL: case V_INT: return v->i != 0;
    case V_FLOAT:  return v->d != 0;
    case V_STRING: return v->n != 0;
    case V_LIST: case V_TUPLE: case V_RANGE: case V_VIEW: return v->list->n != 0;
    case V_DICT:   return v->dict->n != 0;
    case V_LOOP:   return true;
    default:       return true;
    }
}

static bool is_number(const value *v) { return v->kind == V_BOOL || v->kind == V_INT || v->kind == V_FLOAT; }

static bool is_sequence(const value *v) { return v->kind == V_LIST || v->kind == V_TUPLE || v->kind == V_RANGE; }

/* -1, 0, 1; 2: one is no number.  Integers are compared as such; with a float exactly, too. */
static int compare_numbers(const value *a, const value *b)
{
    if (a->kind != V_FLOAT && b->kind != V_FLOAT) return (a->i > b->i) - (a->i < b->i);
    long double x = a->kind == V_FLOAT ? a->d : (long double)a->i, y = b->kind == V_FLOAT ? b->d : (long double)b->i;
    return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
}

static bool equal_elements(run *r, const list *a, const list *b, bool *out)
{
    *out = a->n == b->n;
    for (int64_t i = 0; *out && i < a->n; i++) TRY(genet__jinja_equal(r, &a->at[i], &b->at[i], out));
    return true;
}

static bool equal_dicts(run *r, const dict *a, const dict *b, bool *out)
{
    *out = a->n == b->n;
    for (int64_t i = 0; *out && i < a->n; i++) {
        const value *other = genet__jinja_dict_get(r, b, &a->at[i].key);
        if (r->failed) return false;
        *out = other != NULL;
        if (other) TRY(genet__jinja_equal(r, &a->at[i].value, other, out));
    }
    return true;
}

bool genet__jinja_equal(run *r, const value *a, const value *b, bool *out)
{
    TRY(genet__jinja_enter(r) && genet__jinja_spend(r, 1));
    bool ok = true;
    if (is_number(a) && is_number(b)) *out = compare_numbers(a, b) == 0;
    else if (a->kind != b->kind) *out = false;
    else if (a->kind == V_STRING) {
        *out = a->n == b->n && !memcmp(a->s, b->s, a->n);
        ok = genet__jinja_spend(r, a->n / 256);
    } else if (is_sequence(a)) ok = equal_elements(r, a->list, b->list, out);
    else if (a->kind == V_DICT) ok = equal_dicts(r, a->dict, b->dict, out);
    else *out = a->kind == V_NONE || a->kind == V_UNDEFINED || a->list == b->list;
    r->depth--;
    return ok;
}

static int compare_texts(const value *a, const value *b)
{
    int c = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);      /* UTF-8 has the order of code points */
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

static bool less_elements(run *r, const list *a, const list *b, bool *out)
{
    for (int64_t i = 0; i < a->n && i < b->n; i++) {
        bool same;
        TRY(genet__jinja_equal(r, &a->at[i], &b->at[i], &same));
        if (!same) return genet__jinja_less(r, &a->at[i], &b->at[i], out);
    }
    *out = a->n < b->n;
    return true;
}

bool genet__jinja_less(run *r, const value *a, const value *b, bool *out)
{
    TRY(genet__jinja_enter(r) && genet__jinja_spend(r, 1));
    bool ok = true;
    if (is_number(a) && is_number(b)) *out = compare_numbers(a, b) == -1;
    else if (a->kind == V_UNDEFINED) ok = FAIL(r, "%s", a->s);
    else if (b->kind == V_UNDEFINED) ok = FAIL(r, "%s", b->s);
    else if (a->kind != b->kind || (a->kind != V_STRING && a->kind != V_LIST && a->kind != V_TUPLE))
        ok = FAIL(r, "%s and %s have no order", genet__jinja_type(a), genet__jinja_type(b));
    else if (a->kind != V_STRING) ok = less_elements(r, a->list, b->list, out);
    else *out = compare_texts(a, b) < 0, ok = genet__jinja_spend(r, a->n / 256);
    r->depth--;
    return ok;
}

bool genet__jinja_contains(run *r, const value *in, const value *what, bool *out)
{
    value *at;
    int64_t n;
    if (in->kind == V_STRING) {
        if (what->kind != V_STRING) return FAIL(r, "\"in\" a str needs a str before it, not %s", genet__jinja_type(what));
        *out = !what->n || memmem(in->s, in->n, what->s, what->n);
        return genet__jinja_spend(r, in->n / 64);
    }
    if (in->kind == V_DICT) {
        if (!genet__jinja_hashable(what)) return FAIL(r, "%s cannot be a key", genet__jinja_type(what));
        *out = genet__jinja_dict_get(r, in->dict, what);
        return !r->failed;
    }
    TRY(genet__jinja_elements(r, in, &at, &n));
    *out = false;
    for (int64_t i = 0; !*out && i < n; i++) TRY(genet__jinja_equal(r, &at[i], what, out));
    return true;
}

bool genet__jinja_length(run *r, const value *v, int64_t *out)
{
    if (v->kind == V_STRING) *out = jinja_chars(v), genet__jinja_spend(r, v->n / 64);
    else if (is_sequence(v) || v->kind == V_VIEW) *out = v->list->n;
    else if (v->kind == V_DICT) *out = v->dict->n;
    else if (v->kind == V_UNDEFINED) *out = 0;
    else if (v->kind == V_LOOP) return genet__jinja_loop_length(r, v->loop, out);
    else return FAIL(r, "%s has no length", genet__jinja_type(v));
    return !r->failed;
}

/* --- going through ---------------------------------------------------------------------------- */

static bool characters(run *r, const value *s, value **at, int64_t *n)
{
    *n = jinja_chars(s);
    value *out = *at = genet__jinja_new(r, (size_t)*n * sizeof *out);
    if (!out) return false;
    for (uint32_t i = 0, k; i < s->n; i += k) {
        k = (uint32_t)jinja_char_bytes((unsigned char)s->s[i]);
        *out++ = TEXT(s->s + i, k);
    }
    return true;
}

static bool keys(run *r, const dict *d, value **at, int64_t *n)
{
    *n = d->n;
    *at = genet__jinja_new(r, (size_t)d->n * sizeof **at);
    for (int64_t i = 0; *at && i < d->n; i++) (*at)[i] = d->at[i].key;
    return *at;
}

bool genet__jinja_elements(run *r, const value *v, value **at, int64_t *n)
{
    *at = NULL;
    *n = 0;
    if (v->kind == V_STRING) return characters(r, v, at, n);
    if (v->kind == V_DICT) return keys(r, v->dict, at, n);
    if (v->kind == V_UNDEFINED) return true;
    if (!is_sequence(v) && v->kind != V_VIEW && v->kind != V_ITERATOR)
        return FAIL(r, "%s cannot be gone through", genet__jinja_type(v));
    *at = v->list->at + v->list->taken;
    *n = v->list->n - v->list->taken;
    if (v->kind == V_ITERATOR) v->list->taken = v->list->n;
    return genet__jinja_spend(r, *n / 8);
}

bool genet__jinja_int_of(run *r, const value *v, const char *what, int64_t *out)
{
    if (v->kind != V_INT && v->kind != V_BOOL) return FAIL(r, "%s must be an int, not %s", what, genet__jinja_type(v));
    *out = v->i;
    return true;
}

/* --- attributes and items --------------------------------------------------------------------- */

/* What getattr() finds: methods, and attributes of our own objects. */
static bool attribute_of(run *r, const value *of, const char *name, value *out, bool *found)
{
    bool unsafe = false, known = false;
    *found = true;
    const callable *row = genet__jinja_find_method(of, name, &unsafe, &known);
    if (row) {
        method *m = genet__jinja_new(r, sizeof *m);
        if (!m) return false;
        *m = (method){ *of, row };
        *out = (value){ .kind = V_METHOD, .method = m };
        return true;
    }
    if (unsafe || !strncmp(name, "__", 2))
        return genet__jinja_undefined(r, out, "a template may not use \"%.60s\" of a %s", name, genet__jinja_type(of));
    if (known) return FAIL(r, "%s.%s is not supported here", genet__jinja_type(of), name);
    if (of->kind == V_LOOP) return genet__jinja_loop_attribute(r, of->loop, name, out, found);
    if (of->kind == V_NAMESPACE) {
        value key = WORD(name), *v = genet__jinja_dict_get(r, of->dict, &key);
        if (v) *out = *v;
        *found = v;
        return !r->failed;
    }
    if (of->kind == V_MACRO && !strcmp(name, "name") && of->macro->node->name) return *out = WORD(of->macro->node->name), true;
    return *found = false, true;
}

static bool no_attribute(run *r, const value *of, const char *name, size_t n, value *out)
{
    return genet__jinja_undefined(r, out, "'%s%s' has no attribute '%.*s'", genet__jinja_type(of),
                                  of->kind == V_NONE ? "" : " object", (int)(n < 80 ? n : 80), name);
}

bool genet__jinja_attribute(run *r, const value *of, const char *name, value *out)
{
    bool found;
    if (of->kind == V_UNDEFINED) return FAIL(r, "%s", of->s);
    TRY(attribute_of(r, of, name, out, &found));
    if (found) return true;
    value key = WORD(name), *v = of->kind == V_DICT ? genet__jinja_dict_get(r, of->dict, &key) : NULL;
    if (r->failed) return false;
    if (v) return *out = *v, true;
    return no_attribute(r, of, name, strlen(name), out);
}

/* The k-th character of s, or false. */
static bool character(const value *s, int64_t k, value *out)
{
    int64_t n = k < 0 ? jinja_chars(s) : 0;
    if (k < 0) k += n;
    uint32_t i = 0;
    for (; k > 0 && i < s->n; k--) i += (uint32_t)jinja_char_bytes((unsigned char)s->s[i]);
    if (k < 0 || i >= s->n) return false;
    *out = TEXT(s->s + i, jinja_char_bytes((unsigned char)s->s[i]));
    return true;
}

/* of[key] where of knows such items. */
static bool own_item(run *r, const value *of, const value *key, value *out, bool *found)
{
    bool number = key->kind == V_INT || key->kind == V_BOOL;
    *found = false;
    if (of->kind == V_DICT && genet__jinja_hashable(key)) {
        value *v = genet__jinja_dict_get(r, of->dict, key);
        if (v) *out = *v;
        *found = v;
    } else if (is_sequence(of) && number) {
        int64_t i = key->i < 0 ? key->i + of->list->n : key->i;
        if ((*found = i >= 0 && i < of->list->n)) *out = of->list->at[i];
    } else if (of->kind == V_STRING && number) {
        TRY(genet__jinja_spend(r, of->n / 64));
        *found = character(of, key->i, out);
    }
    return !r->failed;
}

bool genet__jinja_item(run *r, const value *of, const value *key, value *out)
{
    bool found;
    char name[256];
    if (of->kind == V_UNDEFINED) return FAIL(r, "%s", of->s);
    TRY(own_item(r, of, key, out, &found));
    if (found) return true;
    if (key->kind == V_STRING && key->n < sizeof name && !memchr(key->s, 0, key->n)) {
        memcpy(name, key->s, key->n);
        name[key->n] = 0;
        TRY(attribute_of(r, of, name, out, &found));
        if (found) return true;
    }
    if (key->kind == V_STRING) return no_attribute(r, of, key->s, key->n, out);
    return genet__jinja_undefined(r, out, "%s object has no such element", genet__jinja_type(of));
}

/* Python's slice.indices() of n elements. */
static bool bounds(run *r, const value part[3], int64_t n, int64_t *from, int64_t *to, int64_t *step)
{
    int64_t *out[3] = { from, to, step };
    bool given[3];
    for (int i = 0; i < 3; i++) {
        given[i] = part[i].kind != V_MISSING && part[i].kind != V_NONE;
        if (given[i] && part[i].kind == V_UNDEFINED) return FAIL(r, "%s", part[i].s);
        if (given[i]) TRY(genet__jinja_int_of(r, &part[i], "a slice's bound", out[i]));
    }
    if (!given[2]) *step = 1;
    if (*step == 0) return FAIL(r, "a slice's step is 0");
    if (*step < -n - 1) *step = -n - 1;
    if (*step > n + 1) *step = n + 1;
    int64_t low = *step < 0 ? -1 : 0, high = *step < 0 ? n - 1 : n;
    for (int i = 0; i < 2; i++) {
        int64_t *x = out[i];
        if (!given[i]) *x = (i == 0) == (*step > 0) ? low : high;
        else if (*x < 0) *x = *x < -n ? low : *x + n;
        else if (*x > high) *x = high;
        if (given[i] && *x < low) *x = low;
    }
    return true;
}

bool genet__jinja_slice(run *r, const value *of, const value part[3], value *out)
{
    value *at;
    int64_t n, from = 0, to = 0, step = 1, m = 0;
    if (of->kind == V_UNDEFINED) return FAIL(r, "%s", of->s);
    if (!is_sequence(of) && of->kind != V_STRING) return FAIL(r, "%s cannot be sliced", genet__jinja_type(of));
    TRY(genet__jinja_length(r, of, &n) && bounds(r, part, n, &from, &to, &step));
    TRY(genet__jinja_elements(r, of, &at, &n));
    buffer text = { .r = r };
    value l;
    TRY(genet__jinja_make_list(r, of->kind == V_STRING ? V_LIST : of->kind, genet__jinja_type(of), NULL, n, &l));
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step) {
        if (of->kind == V_STRING) genet__jinja_add(&text, at[i].s, at[i].n);
        else l.list->at[m++] = at[i];
    }
    if (of->kind == V_STRING) return genet__jinja_text(&text, out);
    l.list->n = m;
    *out = l;
    return true;
}
