/* jinja_method.c - methods of strings, dicts, lists and loops, with Python's meaning. */
#include <stdio.h>
#include "base/err.h"
#include "text/jinja_tree.h"

bool genet__jinja_text_argument(run *r, const value *v, const char *what)
{
    if (v->kind == V_UNDEFINED) return FAIL(r, "%s", v->s);
    return v->kind == V_STRING || FAIL(r, "%s must be a str, not %s", what, genet__jinja_type(v));
}

static bool given(const value *v) { return v->kind != V_MISSING && v->kind != V_NONE; }

/* --- trimming --------------------------------------------------------------------------------- */

/* Bytes of the character at s that is among chars, looked for from its beginning. */
static size_t one_of(const value *chars, const char *s, size_t n)
{
    size_t k = n ? jinja_char_bytes((unsigned char)*s) : 0;
    for (uint32_t i = 0; k && i < chars->n; i += (uint32_t)jinja_char_bytes((unsigned char)chars->s[i]))
        if (chars->n - i >= k && !memcmp(chars->s + i, s, k)) return k;
    return 0;
}

static bool strip(call *c, bool left, bool right, value *out)
{
    value s, chars = c->arg[0];
    TRY(genet__jinja_str(c->r, &c->self, &s));
    size_t from = 0, to = s.n, k;
    if (given(&chars)) {
        TRY(genet__jinja_text_argument(c->r, &chars, "what is stripped"));
        TRY(genet__jinja_spend(c->r, (int64_t)s.n / 16 * (chars.n / 8 + 1)));
        while (left && from < to && (k = one_of(&chars, s.s + from, to - from))) from += k;
        for (uint32_t ignored; right && from < to; to -= k)
            if (!(k = genet__utf8_before(s.s, to, &ignored)) || !one_of(&chars, s.s + to - k, k)) break;
    } else {
        if (left) from = jinja_space_front(s.s, s.n);
        if (right) to = from + jinja_space_back(s.s + from, s.n - from);
    }
    *out = TEXT(s.s + from, to - from);
    return genet__jinja_spend(c->r, s.n / 64);
}

bool genet__jinja_strip(call *c, value *out) { return strip(c, true, true, out); }
static bool strip_left(call *c, value *out) { return strip(c, true, false, out); }
static bool strip_right(call *c, value *out) { return strip(c, false, true, out); }

/* --- splitting -------------------------------------------------------------------------------- */

/* Pieces are gathered in a list that doubles. */
typedef struct pieces { run *r; value *at; int64_t n, cap; } pieces;

static bool add_piece(pieces *p, const char *s, size_t n)
{
    if (p->n == p->cap) {
        int64_t cap = p->cap ? 2 * p->cap : 8;
        value *grown = genet__jinja_new(p->r, (size_t)cap * sizeof *grown);
        if (!grown) return false;
        if (p->n) memcpy(grown, p->at, (size_t)p->n * sizeof *grown);
        p->at = grown;
        p->cap = cap;
    }
    p->at[p->n++] = TEXT(s, n);
    return true;
}

static bool list_of(pieces *p, bool reversed, value *out)
{
    for (int64_t i = 0; reversed && i < p->n / 2; i++) {
        value v = p->at[i];
        p->at[i] = p->at[p->n - 1 - i];
        p->at[p->n - 1 - i] = v;
    }
    return genet__jinja_make_list(p->r, V_LIST, "list", p->at, p->n, out);
}

/* At runs of white space, which are nothing at both ends. */
static bool split_space(pieces *p, const char *s, size_t n, int64_t most)
{
    size_t i = jinja_space_front(s, n);
    while (i < n) {
        size_t end = i;
        if (p->n == most) return add_piece(p, s + i, n - i);
        for (size_t k; end < n && (k = jinja_char_bytes((unsigned char)s[end])) && !jinja_space_front(s + end, k);) end += k;
        TRY(add_piece(p, s + i, end - i));
        i = end + jinja_space_front(s + end, n - end);
    }
    return true;
}

/* From the end, pieces in reverse. */
static bool rsplit_space(pieces *p, const char *s, size_t n, int64_t most)
{
    uint32_t c;
    n = jinja_space_back(s, n);
    while (n) {
        size_t begin = n;
        if (p->n == most) return add_piece(p, s, n);
        for (size_t k; begin && (k = genet__utf8_before(s, begin, &c)) && !jinja_is_space(c);) begin -= k;
        TRY(add_piece(p, s + begin, n - begin));
        n = jinja_space_back(s, begin);
    }
    return true;
}

static bool split_at(pieces *p, const char *s, size_t n, const value *separator, int64_t most)
{
    const char *found;
    while (p->n != most && (found = memmem(s, n, separator->s, separator->n))) {
        TRY(add_piece(p, s, (size_t)(found - s)));
        n -= (size_t)(found - s) + separator->n;
        s = found + separator->n;
    }
    return add_piece(p, s, n);
}

static bool rsplit_at(pieces *p, const char *s, size_t n, const value *separator, int64_t most)
{
    size_t i = n, m = separator->n;
    while (p->n != most && i >= m) {
        if (memcmp(s + i - m, separator->s, m)) {
            i--;
            continue;
        }
        TRY(add_piece(p, s + i, n - i));
        n = i -= m;
    }
    return add_piece(p, s, n);
}

static bool split_by(call *c, bool right, value *out)
{
    pieces p = { .r = c->r };
    int64_t most = -1;
    const value *s = &c->self, *separator = &c->arg[0];
    if (given(&c->arg[1])) TRY(genet__jinja_int_of(c->r, &c->arg[1], "maxsplit", &most));
    if (most < 0) most = -1;
    TRY(genet__jinja_spend(c->r, s->n / 16));
    if (!given(separator))
        return (right ? rsplit_space : split_space)(&p, s->s, s->n, most) && list_of(&p, right, out);
    TRY(genet__jinja_text_argument(c->r, separator, "a separator"));
    if (!separator->n) return FAIL(c->r, "an empty separator splits nothing");
    return (right ? rsplit_at : split_at)(&p, s->s, s->n, separator, most) && list_of(&p, right, out);
}

static bool split(call *c, value *out) { return split_by(c, false, out); }
static bool rsplit(call *c, value *out) { return split_by(c, true, out); }

static bool ends_line(uint32_t c)
{
    return (c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool genet__jinja_split_lines(run *r, const value *s, bool keep_ends, value *out)
{
    pieces p = { .r = r };
    for (uint32_t i = 0, from = 0; i < s->n;) {
        uint32_t c = 0, at = i;
        int k = genet__utf8_decode(s->s + i, s->n - i, &c);
        if (k <= 0) break;
        i += (uint32_t)k;
        if (c == '\r' && i < s->n && s->s[i] == '\n') i++;
        if (!ends_line(c) && i < s->n) continue;
        TRY(add_piece(&p, s->s + from, (keep_ends || !ends_line(c) ? i : at) - from));
        from = i;
    }
    return genet__jinja_spend(r, s->n / 16) && list_of(&p, false, out);
}

static bool split_lines(call *c, value *out)
{
    return genet__jinja_split_lines(c->r, &c->self, genet__jinja_true(&c->arg[0]), out);
}

/* --- looking for ------------------------------------------------------------------------------ */

/* self[start:end], and what stands before it; the arguments from arg[1] on. */
static bool window(call *c, value *out, int64_t *chars_before)
{
    value part[3] = { c->arg[1], c->arg[2], MISSING };
    *out = c->self;
    *chars_before = 0;
    if (!given(&part[0]) && !given(&part[1])) return genet__jinja_spend(c->r, c->self.n / 64);
    int64_t n = jinja_chars(&c->self), from = given(&part[0]) && part[0].kind == V_INT ? part[0].i : 0;
    *chars_before = from < 0 ? from + n < 0 ? 0 : from + n : from;
    return genet__jinja_slice(c->r, &c->self, part, out);
}

static bool find_in(call *c, bool last, int64_t *at)
{
    value s, what = c->arg[0];
    int64_t before;
    const char *found = NULL;
    TRY(genet__jinja_text_argument(c->r, &what, "what is looked for") && window(c, &s, &before));
    if (!last) found = memmem(s.s, s.n, what.s, what.n);
    for (size_t i = s.n + 1; last && !found && i-- > 0;)
        if (s.n - i >= what.n && !memcmp(s.s + i, what.s, what.n)) found = s.s + i;
    value head = found ? TEXT(s.s, found - s.s) : TEXT("", 0);
    *at = found ? before + jinja_chars(&head) : -1;
    return true;
}

static bool find(call *c, value *out)
{
    int64_t at;
    TRY(find_in(c, false, &at));
    return *out = INT(at), true;
}

static bool rfind(call *c, value *out)
{
    int64_t at;
    TRY(find_in(c, true, &at));
    return *out = INT(at), true;
}

static bool index_text(call *c, value *out)
{
    int64_t at;
    TRY(find_in(c, false, &at));
    return *out = INT(at), at >= 0 || FAIL(c->r, "index: the text is not found");
}

static bool count_text(call *c, value *out)
{
    value s, what = c->arg[0];
    int64_t n = 0, before;
    TRY(genet__jinja_text_argument(c->r, &what, "what is counted") && window(c, &s, &before));
    if (!what.n) return *out = INT(jinja_chars(&s) + 1), true;
    for (const char *p = s.s, *end = s.s + s.n; (p = memmem(p, (size_t)(end - p), what.s, what.n)); p += what.n) n++;
    *out = INT(n);
    return true;
}

static bool has_end(const value *s, const value *what, bool front)
{
    return s->n >= what->n && !memcmp(front ? s->s : s->s + s->n - what->n, what->s, what->n);
}

/* With a str or a tuple of them. */
static bool has_either(call *c, bool front, value *out)
{
    value s, *what = &c->arg[0];
    int64_t before, n = what->kind == V_TUPLE ? what->list->n : 1;
    bool is = false;
    TRY(window(c, &s, &before));
    for (int64_t i = 0; i < n; i++) {
        const value *one = what->kind == V_TUPLE ? &what->list->at[i] : what;
        TRY(genet__jinja_text_argument(c->r, one, front ? "startswith's argument" : "endswith's argument"));
        is |= has_end(&s, one, front);
    }
    *out = BOOL(is);
    return true;
}

static bool starts_with(call *c, value *out) { return has_either(c, true, out); }
static bool ends_with(call *c, value *out) { return has_either(c, false, out); }

static bool remove_end(call *c, value *out)
{
    const value *s = &c->self, *what = &c->arg[0];
    TRY(genet__jinja_text_argument(c->r, what, "what is removed"));
    *out = has_end(s, what, false) ? TEXT(s->s, s->n - what->n) : *s;
    return true;
}

static bool remove_front(call *c, value *out)
{
    const value *s = &c->self, *what = &c->arg[0];
    TRY(genet__jinja_text_argument(c->r, what, "what is removed"));
    *out = has_end(s, what, true) ? TEXT(s->s + what->n, s->n - what->n) : *s;
    return true;
}

/* --- making ----------------------------------------------------------------------------------- */

static bool replace_in(run *r, const value *s, const value *old, const value *new, int64_t most, value *out)
{
    buffer text = { .r = r };
    const char *p = s->s, *end = p + s->n, *found;
    if (!old->n)                        /* between all characters */
        for (; p < end && most; most--) {
            size_t k = jinja_char_bytes((unsigned char)*p);
            genet__jinja_add(&text, new->s, new->n);
            genet__jinja_add(&text, p, k);
            p += k;
        }
    if (!old->n && most) genet__jinja_add(&text, new->s, new->n);
    for (; old->n && most && !r->failed && (found = memmem(p, (size_t)(end - p), old->s, old->n)); most--) {
        genet__jinja_add(&text, p, (size_t)(found - p));
        genet__jinja_add(&text, new->s, new->n);
        p = found + old->n;
    }
    genet__jinja_add(&text, p, (size_t)(end - p));
    return genet__jinja_spend(r, s->n / 16) && genet__jinja_text(&text, out);
}

static bool replace(call *c, value *out)
{
    int64_t most = -1;
    TRY(genet__jinja_text_argument(c->r, &c->arg[0], "what is replaced"));
    TRY(genet__jinja_text_argument(c->r, &c->arg[1], "what replaces"));
    if (c->arg[2].kind != V_MISSING) TRY(genet__jinja_int_of(c->r, &c->arg[2], "the count", &most));
    return replace_in(c->r, &c->self, &c->arg[0], &c->arg[1], most, out);
}

/* The filter takes anything, as text. */
bool genet__jinja_replace(call *c, value *out)
{
    call as = *c;
    TRY(genet__jinja_str(c->r, &c->self, &as.self) && genet__jinja_str(c->r, &c->arg[0], &as.arg[0]));
    TRY(genet__jinja_str(c->r, &c->arg[1], &as.arg[1]));
    if (as.arg[2].kind == V_NONE) as.arg[2] = MISSING;
    return replace(&as, out);
}

static bool join(call *c, value *out)
{
    value *at;
    int64_t n;
    buffer text = { .r = c->r };
    TRY(genet__jinja_elements(c->r, &c->arg[0], &at, &n));
    for (int64_t i = 0; i < n; i++) {
        TRY(genet__jinja_text_argument(c->r, &at[i], "what is joined"));
        if (i) genet__jinja_add(&text, c->self.s, c->self.n);
        genet__jinja_add(&text, at[i].s, at[i].n);
    }
    return genet__jinja_text(&text, out);
}

/* --- kinds of characters ---------------------------------------------------------------------- */

static bool all_chars(const value *s, bool (*is)(uint32_t c), value *out)
{
    bool all = s->n > 0;
    for (uint32_t i = 0; all && i < s->n;) {
        uint32_t c = 0;
        int k = genet__utf8_decode(s->s + i, s->n - i, &c);
        all = k > 0 && is(c);
        i += (uint32_t)(k > 0 ? k : 1);
    }
    *out = BOOL(all);
    return true;
}

static bool is_digit(uint32_t c) { return c - '0' < 10u; }
static bool is_space(call *c, value *out) { return all_chars(&c->self, jinja_is_space, out); }
static bool is_digits(call *c, value *out) { return all_chars(&c->self, is_digit, out); }
static bool is_upper(call *c, value *out) { return *out = BOOL(genet__jinja_is_cased(&c->self, true)), true; }
static bool is_lower(call *c, value *out) { return *out = BOOL(genet__jinja_is_cased(&c->self, false)), true; }

/* --- dicts, lists, loops ---------------------------------------------------------------------- */

static bool get(call *c, value *out)
{
    if (!genet__jinja_hashable(&c->arg[0])) return FAIL(c->r, "%s cannot be a key", genet__jinja_type(&c->arg[0]));
    const value *v = genet__jinja_dict_get(c->r, c->self.dict, &c->arg[0]);
    *out = v ? *v : c->arg[1].kind == V_MISSING ? NONE : c->arg[1];
    return !c->r->failed;
}

static bool view(call *c, const char *type, bool with_key, bool with_value, value *out)
{
    const dict *d = c->self.dict;
    TRY(genet__jinja_make_list(c->r, V_VIEW, type, NULL, d->n, out));
    for (int64_t i = 0; i < d->n; i++) {
        const pair *p = &d->at[i];
        value both[2] = { p->key, p->value }, *to = &out->list->at[i];
        if (with_key && with_value) TRY(genet__jinja_make_list(c->r, V_TUPLE, "tuple", both, 2, to));
        else *to = with_key ? p->key : p->value;
    }
    return true;
}

static bool items(call *c, value *out) { return view(c, "dict_items", true, true, out); }
static bool keys(call *c, value *out) { return view(c, "dict_keys", true, false, out); }
static bool values(call *c, value *out) { return view(c, "dict_values", false, true, out); }
static bool copy(call *c, value *out) { return *out = c->self, true; }      /* nothing can change either */

static bool index_of(call *c, value *out)
{
    const list *l = c->self.list;
    for (int64_t i = 0; i < l->n; i++) {
        bool same;
        TRY(genet__jinja_equal(c->r, &l->at[i], &c->arg[0], &same));
        if (same) return *out = INT(i), true;
    }
    return FAIL(c->r, "index: the value is not in the %s", genet__jinja_type(&c->self));
}

static bool count_of(call *c, value *out)
{
    const list *l = c->self.list;
    int64_t n = 0;
    for (int64_t i = 0; i < l->n; i++) {
        bool same;
        TRY(genet__jinja_equal(c->r, &l->at[i], &c->arg[0], &same));
        n += same;
    }
    return *out = INT(n), true;
}

static bool cycle(call *c, value *out)
{
    if (!c->given->n) return FAIL(c->r, "loop.cycle needs values");
    *out = c->given->at[c->self.loop->index0 % c->given->n];
    return true;
}

static bool changed(call *c, value *out)
{
    value now;
    bool same = false;
    loop *l = c->self.loop;
    TRY(genet__jinja_make_list(c->r, V_TUPLE, "tuple", c->given->at, c->given->n, &now));
    if (l->changed.kind != V_MISSING) TRY(genet__jinja_equal(c->r, &l->changed, &now, &same));
    l->changed = now;
    return *out = BOOL(!same), true;
}

/* --- tables ----------------------------------------------------------------------------------- */

/* "a {} {0} {name}".format(...): fields without conversions. */
static bool format_method(call *c, value *out)
{
    buffer text = { .r = c->r };
    const char *s = c->self.s, *end = s + c->self.n;
    int next = 0;
    while (s < end) {
        const char *close = *s == '{' ? memchr(s, '}', (size_t)(end - s)) : NULL;
        bool twice = s + 1 < end && s[1] == *s && (*s == '{' || *s == '}');
        if (twice || (*s != '{' && *s != '}')) {
            genet__jinja_add(&text, s, 1);
            s += 1 + twice;
            continue;
        }
        if (!close) return FAIL(c->r, "format: a brace stands alone");
        size_t n = (size_t)(close - s) - 1;
        int which = n ? 0 : next++;
        for (size_t i = 0; i < n && which >= 0 && which < MAX_ARGUMENTS; i++)
            which = is_digit((unsigned char)s[1 + i]) ? which * 10 + s[1 + i] - '0' : -1;
        const value *v = which >= 0 && which < c->given->n ? &c->given->at[which] : NULL;
        for (int i = 0; which < 0 && i < c->given->n_keyed; i++)
            if (strlen(c->given->key[i]) == n && !memcmp(c->given->key[i], s + 1, n)) v = &c->given->keyed[i];
        if (!v) return FAIL(c->r, "format: no value for {%.*s}; what a field may be is {}, {0} or {name}", (int)n, s + 1);
        genet__jinja_add_str(&text, v);
        s = close + 1;
    }
    return genet__jinja_text(&text, out);
}

static const callable of_text[] = {
    { "strip", "chars", 0, genet__jinja_strip }, { "lstrip", "chars", 0, strip_left }, { "rstrip", "chars", 0, strip_right },
    { "split", "sep maxsplit", 0, split }, { "rsplit", "sep maxsplit", 0, rsplit },
    { "splitlines", "keepends", 0, split_lines },
    { "find", "sub start end", 1, find }, { "rfind", "sub start end", 1, rfind }, { "index", "sub start end", 1, index_text },
    { "count", "sub start end", 1, count_text }, { "startswith", "prefix start end", 1, starts_with },
    { "endswith", "suffix start end", 1, ends_with }, { "removeprefix", "prefix", 1, remove_front },
    { "removesuffix", "suffix", 1, remove_end }, { "replace", "old new count", 2, replace }, { "join", "iterable", 1, join },
    { "upper", "", 0, genet__jinja_upper }, { "lower", "", 0, genet__jinja_lower }, { "title", "", 0, genet__jinja_title },
    { "capitalize", "", 0, genet__jinja_capitalize }, { "isspace", "", 0, is_space }, { "isdigit", "", 0, is_digits },
    { "isupper", "", 0, is_upper }, { "islower", "", 0, is_lower }, { "format", NULL, 0, format_method },
    { NULL, NULL, 0, NULL },
};
static const callable of_dict[] = {
    { "get", "key default", 1, get }, { "items", "", 0, items }, { "keys", "", 0, keys }, { "values", "", 0, values },
    { "copy", "", 0, copy }, { NULL, NULL, 0, NULL },
};
static const callable of_list[] = {
    { "index", "value", 1, index_of }, { "count", "value", 1, count_of }, { "copy", "", 0, copy }, { NULL, NULL, 0, NULL },
};
static const callable of_loop[] = { { "cycle", NULL, 0, cycle }, { "changed", NULL, 0, changed }, { NULL, NULL, 0, NULL } };

/* By kind: what there is; what Python has and a template may not use; what Python has beside. */
static const struct { value_kind kind; const callable *table; const char *unsafe, *known; } methods[] = {
    { V_STRING, of_text, "",
      " casefold center encode expandtabs format_map isalnum isalpha isascii isdecimal isidentifier isnumeric isprintable"
      " istitle ljust maketrans partition rindex rjust rpartition swapcase translate zfill " },
    { V_DICT, of_dict, " clear pop popitem setdefault update ", " fromkeys " },
    { V_LIST, of_list, " append clear extend insert pop remove reverse sort ", "" },
    { V_TUPLE, of_list, "", "" }, { V_RANGE, of_list, "", " start stop step " }, { V_LOOP, of_loop, "", "" },
};

const callable *genet__jinja_find_method(const value *v, const char *name, bool *unsafe, bool *known)
{
    char word[40];
    int n = snprintf(word, sizeof word, " %s ", name);
    for (size_t i = 0; n > 0 && n < (int)sizeof word && i < sizeof methods / sizeof *methods; i++) {
        if (methods[i].kind != v->kind) continue;
        *unsafe = strstr(methods[i].unsafe, word);
        *known = strstr(methods[i].known, word);
        return genet__jinja_row(methods[i].table, name);
    }
    return NULL;
}
