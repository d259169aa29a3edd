/* jinja_list.c - filters over many values.  Those that jinja2 makes generators of give an iterator here, too: it can be
 * gone through once and has no length; what it yields is made at once. */
#include "base/err.h"
#include "text/jinja_tree.h"

static bool generator(run *r, const value *at, int64_t n, value *out)
{
    return genet__jinja_make_list(r, V_ITERATOR, "generator", at, n, out);
}

/* --- attributes ------------------------------------------------------------------------------- */

static bool is_index(const char *s, size_t n, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        if (!jinja_is_digit(s[i]) || i > 9) return false;
        *out = *out * 10 + s[i] - '0';
    }
    return n > 0;
}

/* item.a.0.b for attribute "a.0.b" (n bytes of it), or item[5] for an int; fallback (may be MISSING) for what is
 * undefined on the way. */
static bool attribute_path(run *r, const value *item, const char *path, size_t n, const value *fallback, value *out)
{
    *out = *item;
    for (size_t at = 0; at <= n;) {
        const char *dot = memchr(path + at, '.', n - at);
        size_t m = dot ? (size_t)(dot - path) - at : n - at;
        int64_t index;
        value key = is_index(path + at, m, &index) ? INT(index) : TEXT(path + at, m), of = *out;
        TRY(genet__jinja_item(r, &of, &key, out));
        if (out->kind == V_UNDEFINED && fallback->kind != V_MISSING && fallback->kind != V_NONE) *out = *fallback;
        at += m + 1;
    }
    return true;
}

static bool attribute_of(run *r, const value *item, const value *attribute, const value *fallback, value *out)
{
    if (attribute->kind == V_MISSING || attribute->kind == V_NONE) return *out = *item, true;
    if (attribute->kind == V_STRING) return attribute_path(r, item, attribute->s, attribute->n, fallback, out);
    TRY(genet__jinja_item(r, item, attribute, out));
    if (out->kind == V_UNDEFINED && fallback->kind != V_MISSING && fallback->kind != V_NONE) *out = *fallback;
    return true;
}

/* What sorting and comparing look at: the attribute, as small letters where size does not count. */
static bool key_of(run *r, const value *item, const value *attribute, bool sized, value *out)
{
    static const value none = { .kind = V_MISSING };
    TRY(attribute_of(r, item, attribute, &none, out));
    if (sized || out->kind != V_STRING) return true;
    call c = { .r = r, .self = *out };
    return genet__jinja_lower(&c, out);
}

/* --- ends ------------------------------------------------------------------------------------- */

static bool first(call *c, value *out)
{
    value *at, rest = c->self;
    int64_t n;
    list *l = rest.kind == V_ITERATOR ? rest.list : NULL;
    if (l && l->taken < l->n) return *out = l->at[l->taken++], true;
    TRY(genet__jinja_elements(c->r, &rest, &at, &n));
    if (!n) return genet__jinja_undefined(c->r, out, "No first item, sequence was empty.");
    return *out = at[0], true;
}

static bool last(call *c, value *out)
{
    value *at;
    int64_t n;
    if (c->self.kind == V_ITERATOR) return FAIL(c->r, "last of a generator; `| list | last` takes it");
    TRY(genet__jinja_elements(c->r, &c->self, &at, &n));
    if (!n) return genet__jinja_undefined(c->r, out, "No last item, sequence was empty.");
    return *out = at[n - 1], true;
}

static bool make_list(call *c, value *out)
{
    value *at;
    int64_t n;
    TRY(genet__jinja_elements(c->r, &c->self, &at, &n));
    return genet__jinja_make_list(c->r, V_LIST, "list", at, n, out);
}

static bool reverse(call *c, value *out)
{
    value *at;
    int64_t n;
    buffer text = { .r = c->r };
    bool is_list = c->self.kind == V_ITERATOR;          /* what cannot be reversed in place becomes a list */
    TRY(genet__jinja_elements(c->r, &c->self, &at, &n));
    if (c->self.kind == V_STRING) {
        while (n--) genet__jinja_add(&text, at[n].s, at[n].n);
        return genet__jinja_text(&text, out);
    }
    TRY(genet__jinja_make_list(c->r, is_list ? V_LIST : V_ITERATOR, is_list ? "list" : "list_reverseiterator", NULL, n, out));
    for (int64_t i = 0; i < n; i++) out->list->at[i] = at[n - 1 - i];
    return true;
}

static bool items(call *c, value *out)
{
    arguments none = { .n = 0 };
    value all;
    if (c->self.kind == V_UNDEFINED) return generator(c->r, NULL, 0, out);
    if (c->self.kind != V_DICT) return FAIL(c->r, "items of %s", genet__jinja_type(&c->self));
    bool unsafe, known;
    const callable *row = genet__jinja_find_method(&c->self, "items", &unsafe, &known);
    TRY(genet__jinja_call_row(c->r, row, "method", c->self, &none, &all));
    return generator(c->r, all.list->at, all.list->n, out);
}

static bool join(call *c, value *out)
{
    value *at, v, with = TEXT("", 0);
    static const value none = { .kind = V_MISSING };
    int64_t n;
    buffer text = { .r = c->r };
    if (c->arg[0].kind != V_MISSING) TRY(genet__jinja_str(c->r, &c->arg[0], &with));
    TRY(genet__jinja_elements(c->r, &c->self, &at, &n));
    for (int64_t i = 0; i < n && !c->r->failed; i++) {
        TRY(attribute_of(c->r, &at[i], &c->arg[1], &none, &v));
        if (i) genet__jinja_add(&text, with.s, with.n);
        genet__jinja_add_str(&text, &v);
    }
    return genet__jinja_text(&text, out);
}

static bool batch(call *c, value *out)
{
    value *at, one;
    int64_t n, size, k = 0;
    TRY(genet__jinja_int_of(c->r, &c->arg[0], "batch's size", &size) && genet__jinja_elements(c->r, &c->self, &at, &n));
    if (size < 1) return FAIL(c->r, "batch needs a size of 1 at least");
    TRY(generator(c->r, NULL, n / size + (n % size != 0), out));
    for (int64_t i = 0; i < n; i += size) {
        int64_t m = n - i < size ? n - i : size;
        bool fill = m < size && c->arg[1].kind != V_MISSING && c->arg[1].kind != V_NONE;
        TRY(genet__jinja_make_list(c->r, V_LIST, "list", NULL, fill ? size : m, &one));
        for (int64_t j = 0; j < one.list->n; j++) one.list->at[j] = j < m ? at[i + j] : c->arg[1];
        out->list->at[k++] = one;
    }
    return true;
}

/* --- choosing --------------------------------------------------------------------------------- */

/* The arguments behind the first `n`. */
static arguments rest(const arguments *a, int n)
{
    arguments b = *a;
    b.n = a->n > n ? a->n - n : 0;
    if (b.n) memmove(b.at, b.at + n, (size_t)b.n * sizeof *b.at);
    return b;
}

/* A row of a table by the name that an argument gives. */
static const callable *named(run *r, const value *name, bool filter)
{
    char word[40] = "";
    if (name->kind == V_STRING && name->n < sizeof word) memcpy(word, name->s, name->n);
    const callable *row = filter ? genet__jinja_find_filter(word) : genet__jinja_row(genet__jinja_tests, word);
    if (!row) FAIL(r, "the %s \"%s\" is not supported here", filter ? "filter" : "test", word);
    return row;
}

static bool is_nothing(const value *v) { return v->kind != V_ITERATOR && !genet__jinja_true(v); }

static bool choose(call *c, bool by_attribute, bool wanted, value *out)
{
    static const value none = { .kind = V_MISSING };
    const arguments *a = c->given;
    const callable *test = NULL;
    value *at, v, answer;
    int64_t n, kept = 0;
    if (is_nothing(&c->self)) return generator(c->r, NULL, 0, out);
    if (by_attribute && !a->n) return FAIL(c->r, "selectattr and rejectattr need an attribute's name");
    if (a->n > by_attribute && !(test = named(c->r, &a->at[by_attribute], false))) return false;
    arguments more = rest(a, by_attribute + 1);
    TRY(genet__jinja_elements(c->r, &c->self, &at, &n) && generator(c->r, NULL, n, out));
    for (int64_t i = 0; i < n; i++) {
        TRY(genet__jinja_spend(c->r, 1) && attribute_of(c->r, &at[i], by_attribute ? &a->at[0] : &none, &none, &v));
        answer = v;
        if (test) TRY(genet__jinja_call_row(c->r, test, "test", v, &more, &answer));
        if (genet__jinja_true(&answer) == wanted) out->list->at[kept++] = at[i];
    }
    out->list->n = kept;
    return true;
}

static bool select_values(call *c, value *out) { return choose(c, false, true, out); }
static bool reject_values(call *c, value *out) { return choose(c, false, false, out); }
static bool select_by(call *c, value *out) { return choose(c, true, true, out); }
static bool reject_by(call *c, value *out) { return choose(c, true, false, out); }

static const value *keyed(const arguments *a, const char *key)
{
    static const value none = { .kind = V_MISSING };
    for (int i = 0; i < a->n_keyed; i++)
        if (!strcmp(a->key[i], key)) return &a->keyed[i];
    return &none;
}

/* map(attribute="a.b", default=x), or map("filter", arguments). */
static bool map_values(call *c, value *out)
{
    const arguments *a = c->given;
    const value *attribute = keyed(a, "attribute"), *fallback = keyed(a, "default");
    bool by_attribute = !a->n && attribute->kind != V_MISSING;
    const callable *filter = NULL;
    value *at;
    int64_t n;
    if (is_nothing(&c->self)) return generator(c->r, NULL, 0, out);
    if (!by_attribute && !a->n) return FAIL(c->r, "map needs a filter's name or attribute=");
    if (by_attribute && a->n_keyed != 1 + (fallback->kind != V_MISSING)) return FAIL(c->r, "map has no such argument");
    if (!by_attribute && !(filter = named(c->r, &a->at[0], true))) return false;
    arguments more = rest(a, 1);
    TRY(genet__jinja_elements(c->r, &c->self, &at, &n) && generator(c->r, NULL, n, out));
    for (int64_t i = 0; i < n; i++) {
        TRY(genet__jinja_spend(c->r, 1));
        if (filter) TRY(genet__jinja_call_row(c->r, filter, "filter", at[i], &more, &out->list->at[i]));
        else TRY(attribute_of(c->r, &at[i], attribute, fallback, &out->list->at[i]));
    }
    return true;
}

/* --- order ------------------------------------------------------------------------------------ */

typedef struct keyed_value { value key, value; } keyed_value;

/* Merge sort, stable; reversed: equal ones keep their order, too. */
static bool sort_range(run *r, keyed_value *at, keyed_value *other, int64_t n, bool reversed)
{
    int64_t half = n / 2, i = 0, j = half;
    if (n < 2) return true;
    TRY(sort_range(r, at, other, half, reversed) && sort_range(r, at + half, other, n - half, reversed));
    for (int64_t k = 0; k < n; k++) {
        bool right = i == half;
        if (i < half && j < n)
            TRY(genet__jinja_less(r, reversed ? &at[i].key : &at[j].key, reversed ? &at[j].key : &at[i].key, &right));
        other[k] = right ? at[j++] : at[i++];
    }
    memcpy(at, other, (size_t)n * sizeof *at);
    return true;
}

/* A list of the values in the order of their keys. */
static bool sorted(run *r, keyed_value *at, int64_t n, bool reversed, value *out)
{
    keyed_value *other = genet__jinja_new(r, (size_t)n * sizeof *other);
    TRY(other && sort_range(r, at, other, n, reversed) && genet__jinja_make_list(r, V_LIST, "list", NULL, n, out));
    for (int64_t i = 0; i < n; i++) out->list->at[i] = at[i].value;
    return true;
}

/* A tuple of the attributes "a,b", as in jinja2: what is equal needs no order then. */
static bool sort_key(run *r, const value *item, const value *attribute, bool sized, value *out)
{
    value part[8];
    int n = attribute->kind != V_STRING;
    if (n) TRY(key_of(r, item, attribute, sized, part));
    else for (const char *s = attribute->s, *end = s + attribute->n; s <= end && n < 8; n++) {
        const char *comma = memchr(s, ',', (size_t)(end - s));
        value one = TEXT(s, (comma ? comma : end) - s);
        TRY(key_of(r, item, &one, sized, &part[n]));
        s = comma ? comma + 1 : end + 1;
    }
    return genet__jinja_make_list(r, V_TUPLE, "tuple", part, n, out);
}

static bool sort(call *c, value *out)
{
    value *at;
    int64_t n;
    TRY(genet__jinja_elements(c->r, &c->self, &at, &n));
    keyed_value *all = genet__jinja_new(c->r, (size_t)n * sizeof *all);
    for (int64_t i = 0; all && i < n; i++) {
        all[i].value = at[i];
        TRY(sort_key(c->r, &at[i], &c->arg[2], genet__jinja_true(&c->arg[1]), &all[i].key));
    }
    return all && sorted(c->r, all, n, genet__jinja_true(&c->arg[0]), out);
}

static bool dict_sort(call *c, value *out)
{
    bool by_value = c->arg[1].kind == V_STRING && jinja_same(&c->arg[1], "value");
    static const value none = { .kind = V_MISSING };
    if (c->self.kind == V_UNDEFINED) return FAIL(c->r, "%s", c->self.s);
    if (c->self.kind != V_DICT) return FAIL(c->r, "dictsort of %s", genet__jinja_type(&c->self));
    const dict *d = c->self.dict;
    keyed_value *all = genet__jinja_new(c->r, (size_t)d->n * sizeof *all);
    for (int64_t i = 0; all && i < d->n; i++) {
        value both[2] = { d->at[i].key, d->at[i].value };
        TRY(genet__jinja_make_list(c->r, V_TUPLE, "tuple", both, 2, &all[i].value));
        TRY(key_of(c->r, &both[by_value], &none, genet__jinja_true(&c->arg[0]), &all[i].key));
    }
    return all && sorted(c->r, all, d->n, genet__jinja_true(&c->arg[2]), out);
}

static bool unique(call *c, value *out)
{
    value *at, *keys;
    int64_t n, kept = 0;
    TRY(genet__jinja_elements(c->r, &c->self, &at, &n) && generator(c->r, NULL, n, out));
    if (!(keys = genet__jinja_new(c->r, (size_t)n * sizeof *keys))) return false;
    for (int64_t i = 0; i < n; i++) {
        bool seen = false;
        TRY(key_of(c->r, &at[i], &c->arg[1], genet__jinja_true(&c->arg[0]), &keys[kept]));
        if (!genet__jinja_hashable(&keys[kept])) return FAIL(c->r, "unique of %s", genet__jinja_type(&keys[kept]));
        for (int64_t k = 0; !seen && k < kept; k++) TRY(genet__jinja_equal(c->r, &keys[k], &keys[kept], &seen));
        if (!seen) out->list->at[kept++] = at[i];
    }
    out->list->n = kept;
    return true;
}

/* The first of the smallest, or of the largest. */
static bool extreme(call *c, bool largest, value *out)
{
    value *at, best, key;
    int64_t n;
    TRY(genet__jinja_elements(c->r, &c->self, &at, &n));
    if (!n) return genet__jinja_undefined(c->r, out, "No aggregated item, sequence was empty.");
    for (int64_t i = 0; i < n; i++) {
        bool better = i == 0;
        TRY(key_of(c->r, &at[i], &c->arg[1], genet__jinja_true(&c->arg[0]), &key));
        if (i) TRY(genet__jinja_less(c->r, largest ? &best : &key, largest ? &key : &best, &better));
        if (better) best = key, *out = at[i];
    }
    return true;
}

static bool smallest(call *c, value *out) { return extreme(c, false, out); }
static bool largest(call *c, value *out) { return extreme(c, true, out); }

static bool sum(call *c, value *out)
{
    static const value none = { .kind = V_MISSING };
    value *at, v, all = c->arg[1].kind == V_MISSING ? INT(0) : c->arg[1];
    int64_t n;
    if (all.kind == V_STRING) return FAIL(c->r, "sum of texts; join puts them together");
    TRY(genet__jinja_elements(c->r, &c->self, &at, &n));
    for (int64_t i = 0; i < n; i++) {
        TRY(attribute_of(c->r, &at[i], &c->arg[0], &none, &v));
        TRY(genet__jinja_binary(c->r, OP(0, '+'), all, v, &all));
    }
    return *out = all, true;
}

const callable genet__jinja_filters_many[] = {
    { "first", "", 0, first }, { "last", "", 0, last }, { "list", "", 0, make_list }, { "reverse", "", 0, reverse },
    { "items", "", 0, items }, { "join", "d attribute", 0, join }, { "batch", "linecount fill_with", 1, batch },
    { "select", NULL, 0, select_values }, { "reject", NULL, 0, reject_values },
    { "selectattr", NULL, 0, select_by }, { "rejectattr", NULL, 0, reject_by }, { "map", NULL, 0, map_values },
    { "sort", "reverse case_sensitive attribute", 0, sort }, { "dictsort", "case_sensitive by reverse", 0, dict_sort },
    { "unique", "case_sensitive attribute", 0, unique }, { "min", "case_sensitive attribute", 0, smallest },
    { "max", "case_sensitive attribute", 0, largest }, { "sum", "attribute start", 0, sum },
    { NULL, NULL, 0, NULL },
};
