/* jinja_test.c - tests ("x is defined") and functions. */
#include <time.h>
#include "base/err.h"
#include "text/jinja_tree.h"

/* --- tests ------------------------------------------------------------------------------------ */

#define TEST(name, condition) \
    static bool name(call *c, value *out) { const value *v = &c->self; return *out = BOOL(condition), true; }

TEST(is_defined, v->kind != V_UNDEFINED)
TEST(is_undefined, v->kind == V_UNDEFINED)
TEST(is_none, v->kind == V_NONE)
TEST(is_boolean, v->kind == V_BOOL)
TEST(is_true, v->kind == V_BOOL && v->i)
TEST(is_false, v->kind == V_BOOL && !v->i)
TEST(is_integer, v->kind == V_INT)
TEST(is_float, v->kind == V_FLOAT)
TEST(is_number, v->kind == V_INT || v->kind == V_FLOAT || v->kind == V_BOOL)
TEST(is_string, v->kind == V_STRING)
TEST(is_mapping, v->kind == V_DICT)
TEST(is_callable, v->kind == V_FUNCTION || v->kind == V_METHOD || v->kind == V_MACRO || v->kind == V_UNDEFINED)
TEST(is_escaped, v->markup)
TEST(is_sequence, v->kind == V_STRING || v->kind == V_LIST || v->kind == V_TUPLE || v->kind == V_RANGE || v->kind == V_DICT ||
     v->kind == V_UNDEFINED)
TEST(is_iterable, v->kind == V_STRING || v->kind == V_LIST || v->kind == V_TUPLE || v->kind == V_RANGE || v->kind == V_DICT ||
     v->kind == V_UNDEFINED || v->kind == V_VIEW || v->kind == V_ITERATOR || v->kind == V_LOOP)

static bool is_same(call *c, value *out)
{
    const value *a = &c->self, *b = &c->arg[0];
    *out = BOOL(a->kind == b->kind && (a->kind == V_NONE || (a->i == b->i && a->n == b->n)));
    return true;
}

static bool remainder_is(call *c, int64_t divisor, int64_t wanted, value *out)
{
    value rest, to = INT(wanted);
    bool same;
    TRY(genet__jinja_binary(c->r, OP(0, '%'), c->self, INT(divisor), &rest) && genet__jinja_equal(c->r, &rest, &to, &same));
    return *out = BOOL(same), true;
}

static bool is_odd(call *c, value *out) { return remainder_is(c, 2, 1, out); }
static bool is_even(call *c, value *out) { return remainder_is(c, 2, 0, out); }

static bool is_divisible(call *c, value *out)
{
    int64_t by;
    return genet__jinja_int_of(c->r, &c->arg[0], "divisibleby's number", &by) && remainder_is(c, by, 0, out);
}

static bool is_cased(call *c, bool upper, value *out)
{
    value s;
    TRY(genet__jinja_str(c->r, &c->self, &s));
    return *out = BOOL(genet__jinja_is_cased(&s, upper)), true;
}

static bool is_lower(call *c, value *out) { return is_cased(c, false, out); }
static bool is_upper(call *c, value *out) { return is_cased(c, true, out); }

static bool is_in(call *c, value *out)
{
    bool is = false;
    TRY(genet__jinja_contains(c->r, &c->arg[0], &c->self, &is));
    return *out = BOOL(is), true;
}

static bool is_equal(call *c, value *out)
{
    bool is = false;
    TRY(genet__jinja_equal(c->r, &c->self, &c->arg[0], &is));
    return *out = BOOL(is), true;
}

static bool is_unequal(call *c, value *out)
{
    TRY(is_equal(c, out));
    return *out = BOOL(!out->i), true;
}

static bool is_less(call *c, value *out)
{
    bool is = false;
    TRY(genet__jinja_less(c->r, &c->self, &c->arg[0], &is));
    return *out = BOOL(is), true;
}

static bool is_greater(call *c, value *out)
{
    bool is = false;
    TRY(genet__jinja_less(c->r, &c->arg[0], &c->self, &is));
    return *out = BOOL(is), true;
}

/* Less, or the same. */
static bool is_at_most(call *c, value *out)
{
    value same;
    TRY(is_less(c, out) && is_equal(c, &same));
    return *out = BOOL(out->i || same.i), true;
}

static bool is_at_least(call *c, value *out)
{
    value same;
    TRY(is_greater(c, out) && is_equal(c, &same));
    return *out = BOOL(out->i || same.i), true;
}

static bool is_filter(call *c, value *out)
{
    char name[40] = "";
    if (c->self.kind == V_STRING && c->self.n < sizeof name) memcpy(name, c->self.s, c->self.n);
    return *out = BOOL(genet__jinja_find_filter(name) != NULL), true;
}

static bool is_test(call *c, value *out)
{
    char name[40] = "";
    if (c->self.kind == V_STRING && c->self.n < sizeof name) memcpy(name, c->self.s, c->self.n);
    return *out = BOOL(genet__jinja_row(genet__jinja_tests, name) != NULL), true;
}

const callable genet__jinja_tests[] = {
    { "defined", "", 0, is_defined }, { "undefined", "", 0, is_undefined }, { "none", "", 0, is_none },
    { "boolean", "", 0, is_boolean }, { "true", "", 0, is_true }, { "false", "", 0, is_false },
    { "integer", "", 0, is_integer }, { "float", "", 0, is_float }, { "number", "", 0, is_number },
    { "string", "", 0, is_string }, { "mapping", "", 0, is_mapping }, { "sequence", "", 0, is_sequence },
    { "iterable", "", 0, is_iterable }, { "callable", "", 0, is_callable }, { "escaped", "", 0, is_escaped },
    { "sameas", "other", 1, is_same }, { "odd", "", 0, is_odd }, { "even", "", 0, is_even },
    { "divisibleby", "num", 1, is_divisible }, { "lower", "", 0, is_lower }, { "upper", "", 0, is_upper },
    { "in", "seq", 1, is_in }, { "eq", "b", 1, is_equal }, { "equalto", "b", 1, is_equal }, { "==", "b", 1, is_equal },
    { "ne", "b", 1, is_unequal }, { "!=", "b", 1, is_unequal }, { "lt", "b", 1, is_less }, { "lessthan", "b", 1, is_less },
    { "<", "b", 1, is_less }, { "gt", "b", 1, is_greater }, { "greaterthan", "b", 1, is_greater }, { ">", "b", 1, is_greater },
    { "le", "b", 1, is_at_most }, { "<=", "b", 1, is_at_most }, { "ge", "b", 1, is_at_least }, { ">=", "b", 1, is_at_least },
    { "filter", "", 0, is_filter }, { "test", "", 0, is_test }, { NULL, NULL, 0, NULL },
};

/* --- functions -------------------------------------------------------------------------------- */

enum { RANGE_MAX = 100000 };            /* jinja2's sandbox */

static bool range(call *c, value *out)
{
    int64_t x[3] = { 0, 0, 1 };
    int n = c->arg[2].kind != V_MISSING ? 3 : c->arg[1].kind != V_MISSING ? 2 : 1;
    for (int i = 0; i < n; i++) TRY(genet__jinja_int_of(c->r, &c->arg[i], "range's bound", &x[i]));
    if (n == 1) x[1] = x[0], x[0] = 0;
    if (!x[2]) return FAIL(c->r, "range's step is 0");
    __int128 span = (__int128)x[1] - x[0], step = x[2];
    __int128 count = (step > 0) == (span > 0) && span ? (span + step + (step > 0 ? -1 : 1)) / step : 0;
    if (count > RANGE_MAX) return FAIL(c->r, "range of more than %d elements", RANGE_MAX);
    TRY(genet__jinja_make_list(c->r, V_RANGE, "range", NULL, (int64_t)count, out));
    for (int64_t i = 0; i < out->list->n; i++) out->list->at[i] = INT(x[0] + i * x[2]);
    return true;
}

/* A dict of another, or of pairs, and of the keywords. */
static bool gather(call *c, dict *d)
{
    const arguments *a = c->given;
    value *at, *both;
    int64_t n, m;
    if (a->n > 1) return FAIL(c->r, "dict and namespace take one value at most");
    if (a->n && a->at[0].kind == V_DICT)
        for (int64_t i = 0; i < a->at[0].dict->n; i++)
            TRY(genet__jinja_dict_set(c->r, d, a->at[0].dict->at[i].key, a->at[0].dict->at[i].value));
    else if (a->n) {
        TRY(genet__jinja_elements(c->r, &a->at[0], &at, &n));
        for (int64_t i = 0; i < n; i++) {
            TRY(genet__jinja_elements(c->r, &at[i], &both, &m));
            if (m != 2) return FAIL(c->r, "dict needs pairs, not %lld values", (long long)m);
            TRY(genet__jinja_dict_set(c->r, d, both[0], both[1]));
        }
    }
    for (int i = 0; i < a->n_keyed; i++) TRY(genet__jinja_dict_set(c->r, d, WORD(a->key[i]), a->keyed[i]));
    return true;
}

static bool make_dict(call *c, value *out)
{
    dict *d = genet__jinja_new(c->r, sizeof *d);
    *out = (value){ .kind = V_DICT, .dict = d };
    return d && gather(c, d);
}

static bool make_namespace(call *c, value *out)
{
    TRY(make_dict(c, out));
    out->kind = V_NAMESPACE;
    for (int64_t i = 0; i < out->dict->n; i++) {
        const value *key = &out->dict->at[i].key;
        if (key->kind == V_STRING && key->n && *key->s == '_')
            return FAIL(c->r, "an attribute of a namespace may not begin with an underscore");
    }
    return true;
}

static bool raise_exception(call *c, value *out)
{
    value words;
    (void)out;
    TRY(genet__jinja_str(c->r, &c->arg[0], &words));
    return FAIL(c->r, "the template says: %.*s", (int)(words.n < 500 ? words.n : 500), words.s);
}

static bool strftime_now(call *c, value *out)
{
    char format[200], text[1000];
    struct tm parts;
    time_t now = c->r->limits.now ? (time_t)c->r->limits.now : time(NULL);
    const value *f = &c->arg[0];
    if (f->kind != V_STRING || f->n + 2 > sizeof format || memchr(f->s, 0, f->n))
        return FAIL(c->r, "strftime_now needs a short format");
    memcpy(format, f->s, f->n);
    memcpy(format + f->n, "!", 2);                              /* so that an empty answer is none that failed */
    if (!(c->r->limits.now ? gmtime_r(&now, &parts) : localtime_r(&now, &parts))) return FAIL(c->r, "the clock is wrong");
    c_locale l = genet__c_locale_enter();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(text, sizeof text, format, &parts);
#pragma GCC diagnostic pop
    genet__c_locale_leave(l);
    buffer b = { .r = c->r };
    if (!n) return FAIL(c->r, "strftime_now: the text is too long");
    genet__jinja_add(&b, text, n - 1);
    return genet__jinja_text(&b, out);
}

const callable genet__jinja_functions[] = {
    { "range", "start stop step", 1, range }, { "dict", NULL, 0, make_dict }, { "namespace", NULL, 0, make_namespace },
    { "raise_exception", "message", 1, raise_exception }, { "strftime_now", "format", 1, strftime_now },
    { NULL, NULL, 0, NULL },
};
