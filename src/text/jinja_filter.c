/* jinja_filter.c - filters of one value, and printf-like formats. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/err.h"
#include "text/jinja_tree.h"

static bool given(const value *v) { return v->kind != V_MISSING && v->kind != V_NONE; }

/* --- texts ------------------------------------------------------------------------------------ */

static bool string(call *c, value *out) { return genet__jinja_str(c->r, &c->self, out); }

static bool safe(call *c, value *out)
{
    TRY(genet__jinja_str(c->r, &c->self, out));
    out->markup = true;
    return true;
}

static bool escape(call *c, value *out)
{
    value empty = TEXT("", 0);
    empty.markup = true;
    TRY(genet__jinja_str(c->r, &c->self, out));
    return genet__jinja_binary(c->r, OP(0, '+'), *out, empty, out);     /* adding to what is safe escapes */
}

/* Lines of s behind `width` blanks (or that text), as the filter decides which. */
static bool indent(call *c, value *out)
{
    buffer text = { .r = c->r }, blanks = { .r = c->r };
    value lines, by;
    int64_t width = 4;
    bool first = genet__jinja_true(&c->arg[1]), blank = genet__jinja_true(&c->arg[2]);
    TRY(genet__jinja_text_argument(c->r, &c->self, "what is indented"));
    if (c->arg[0].kind == V_STRING) genet__jinja_add(&blanks, c->arg[0].s, c->arg[0].n);
    else if (c->arg[0].kind != V_MISSING) TRY(genet__jinja_int_of(c->r, &c->arg[0], "indent's width", &width));
    for (int64_t i = 0; c->arg[0].kind != V_STRING && i < width && !c->r->failed; i++) genet__jinja_add(&blanks, " ", 1);
    genet__jinja_add(&text, c->self.s, c->self.n);
    genet__jinja_add(&text, "\n", 1);
    TRY(genet__jinja_text(&text, &by) && genet__jinja_split_lines(c->r, &by, false, &lines));
    text = (buffer){ .r = c->r };
    TRY(genet__jinja_text(&blanks, &by));
    for (int64_t i = 0; i < lines.list->n; i++) {
        const value *line = &lines.list->at[i];
        if (i) genet__jinja_add(&text, "\n", 1);
        if (i ? blank || line->n : first) genet__jinja_add(&text, by.s, by.n);
        genet__jinja_add(&text, line->s, line->n);
    }
    return genet__jinja_text(&text, out);
}

/* --- JSON ------------------------------------------------------------------------------------- */

/* json.dumps(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False). */
static bool to_json(call *c, value *out)
{
    char blanks[64];
    buffer text = { .r = c->r };
    const value *depth = &c->arg[1], *separators = &c->arg[2];
    json_style s = { .ascii = genet__jinja_true(&c->arg[0]), .sorted = genet__jinja_true(&c->arg[3]), .item = ", ",
                     .n_item = 2, .key = ": ", .n_key = 2 };
    int64_t n = 0;
    if (given(depth) && depth->kind != V_STRING) {
        TRY(genet__jinja_int_of(c->r, depth, "tojson's indent", &n));
        if (n > (int64_t)sizeof blanks) return FAIL(c->r, "tojson: an indent of more than %zu", sizeof blanks);
        memset(blanks, ' ', sizeof blanks);
        s.indent = blanks, s.n_indent = n > 0 ? (size_t)n : 0;
    } else if (given(depth)) {
        s.indent = depth->s, s.n_indent = depth->n;
    }
    if (s.indent) s.n_item = 1;
    if (given(separators)) {
        const list *l = separators->kind == V_TUPLE || separators->kind == V_LIST ? separators->list : NULL;
        if (!l || l->n != 2 || l->at[0].kind != V_STRING || l->at[1].kind != V_STRING)
            return FAIL(c->r, "tojson: separators must be two texts");
        s.item = l->at[0].s, s.n_item = l->at[0].n, s.key = l->at[1].s, s.n_key = l->at[1].n;
    }
    genet__jinja_add_json(&text, &c->self, &s, 0);
    return genet__jinja_text(&text, out);
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* A text without white space around it and single underscores between digits; false: too long. */
static bool number_text(const value *v, char out[128])
{
    size_t from = jinja_space_front(v->s, v->n), n = 0, to = from + jinja_space_back(v->s + from, v->n - from);
    for (size_t i = from; i < to; i++) {
        bool between = v->s[i] == '_' && i > from && i + 1 < to && jinja_is_digit(v->s[i - 1]) && jinja_is_digit(v->s[i + 1]);
        if (n == 127 || !v->s[i]) return false;
        if (!between) out[n++] = v->s[i];
    }
    out[n] = 0;
    return n > 0;
}

static bool parse_float(const value *v, double *out)
{
    char text[128], *end;
    if (!number_text(v, text) || text[strspn(text, "+-.0123456789eEinftyaINFTYA")]) return false;
    c_locale l = genet__c_locale_enter();
    *out = strtod(text, &end);
    genet__c_locale_leave(l);
    return !*end && end != text;
}

/* float(v); false: it is none. */
static bool as_float(const value *v, double *out)
{
    if (v->kind == V_STRING) return parse_float(v, out);
    *out = v->kind == V_FLOAT ? v->d : (double)v->i;
    return v->kind == V_FLOAT || v->kind == V_INT || v->kind == V_BOOL;
}

/* Of a text in this base, with its prefix or without. */
static bool parse_int(const value *v, int base, int64_t *out)
{
    char text[128], *end, *digits = text;
    if (!number_text(v, text) || base < 2 || base > 36) return false;
    digits += *text == '-' || *text == '+';
    char mark = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : 0;
    bool marked = mark && digits[0] == '0' && (digits[1] | 32) == mark;
    if (marked) memmove(digits, digits + 2, strlen(digits + 2) + 1);
    if (*digits == '-' || *digits == '+' || jinja_is_space((unsigned char)*digits)) return false;
    errno = 0;
    *out = strtoll(text, &end, base);
    return *digits && !*end && !errno;
}

static bool to_int(call *c, value *out)
{
    int64_t x, base = 10;
    double d;
    const value *v = &c->self;
    if (v->kind == V_UNDEFINED) return FAIL(c->r, "%s", v->s);
    if (c->arg[1].kind != V_MISSING) TRY(genet__jinja_int_of(c->r, &c->arg[1], "int's base", &base));
    if (v->kind == V_STRING && parse_int(v, (int)base, &x)) return *out = INT(x), true;
    if (v->kind == V_INT || v->kind == V_BOOL) return *out = INT(v->i), true;
    if (!as_float(v, &d) || !isfinite(d)) return *out = c->arg[0].kind == V_MISSING ? INT(0) : c->arg[0], true;
    if (fabs(d) >= 0x1p63) return FAIL(c->r, "an integer does not fit 64 bits");
    return *out = INT((int64_t)d), true;
}

static bool to_float(call *c, value *out)
{
    double d;
    if (c->self.kind == V_UNDEFINED) return FAIL(c->r, "%s", c->self.s);
    if (as_float(&c->self, &d)) *out = FLOAT(d);
    else *out = c->arg[0].kind == V_MISSING ? FLOAT(0) : c->arg[0];
    return true;
}

static bool absolute(call *c, value *out)
{
    *out = c->self;
    if (out->kind == V_FLOAT) out->d = fabs(out->d);
    else if (out->kind != V_INT && out->kind != V_BOOL) return FAIL(c->r, "abs of %s", genet__jinja_type(out));
    else if (out->i == INT64_MIN) return FAIL(c->r, "an integer does not fit 64 bits");
    else *out = INT(out->i < 0 ? -out->i : out->i);
    return true;
}

/* To `digits` places, halves by the number's exact value: what printf does. */
static double rounded(double x, int digits)
{
    char text[400];
    c_locale l = genet__c_locale_enter();
    snprintf(text, sizeof text, "%.*f", digits, x);
    double y = strtod(text, NULL);
    genet__c_locale_leave(l);
    return y;
}

static bool round_number(call *c, value *out)
{
    int64_t digits = 0;
    const value *v = &c->self, *how = &c->arg[1];
    double x;
    if (c->arg[0].kind != V_MISSING) TRY(genet__jinja_int_of(c->r, &c->arg[0], "round's precision", &digits));
    if (v->kind == V_STRING || !as_float(v, &x)) return FAIL(c->r, "round of %s", genet__jinja_type(v));
    if (digits < 0 || digits > 30) return FAIL(c->r, "round to %lld places is not supported", (long long)digits);
    bool common = how->kind == V_MISSING || (how->kind == V_STRING && jinja_same(how, "common"));
    if (common) return *out = v->kind == V_FLOAT ? FLOAT(isfinite(x) ? rounded(x, (int)digits) : x) : INT(v->i), true;
    bool up = how->kind == V_STRING && jinja_same(how, "ceil");
    if (!up && (how->kind != V_STRING || !jinja_same(how, "floor"))) return FAIL(c->r, "round: common, ceil or floor");
    double scale = pow(10, (double)digits);
    return *out = FLOAT((up ? ceil(x * scale) : floor(x * scale)) / scale), true;
}

/* --- format ----------------------------------------------------------------------------------- */

/* One %... at s (n left) for v: bytes read, or 0. */
static size_t format_one(buffer *b, const char *s, size_t n, const value *v)
{
    char spec[16] = "%", text[400];
    size_t i = 1, m = 1;
    double d = 0;
    while (i < n && i < 8 && (strchr("-+ 0.", s[i]) || jinja_is_digit(s[i])) && s[i]) spec[m++] = s[i++];
    if (i == n) return 0;
    char kind = s[i];
    if (kind == 's' && m == 1) genet__jinja_add_str(b, v);
    else if (kind == 'r' && m == 1) genet__jinja_add_repr(b, v);
    else if (strchr("dif", kind) && kind && v->kind != V_STRING && as_float(v, &d)) {
        snprintf(spec + m, sizeof spec - m, kind == 'f' ? "f" : "lld");
        c_locale l = genet__c_locale_enter();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        if (kind == 'f') snprintf(text, sizeof text, spec, d);
        else snprintf(text, sizeof text, spec, (long long)(v->kind == V_FLOAT ? (int64_t)(fabs(d) < 0x1p63 ? d : 0) : v->i));
#pragma GCC diagnostic pop
        genet__c_locale_leave(l);
        genet__jinja_add(b, text, strlen(text));
    } else {
        return 0;
    }
    return i + 1;
}

bool genet__jinja_format(run *r, const value *format, const value *at, int64_t n, value *out)
{
    buffer text = { .r = r };
    int64_t used = 0;
    for (uint32_t i = 0; i < format->n;) {
        const char *s = format->s + i;
        size_t left = format->n - i, k = 1;
        if (*s == '%' && left > 1 && s[1] == '%') genet__jinja_add(&text, "%", 1), k = 2;
        else if (*s != '%') genet__jinja_add(&text, s, 1);
        else if (used == n) return FAIL(r, "a format wants more than its %lld values", (long long)n);
        else if (!(k = format_one(&text, s, left, &at[used++])))
            return r->failed ? false : FAIL(r, "a format with other than %%s, %%r, %%d, %%f, or a value that does not fit");
        i += (uint32_t)k;
    }
    if (used != n) return FAIL(r, "a format wants %lld values, not %lld", (long long)used, (long long)n);
    return genet__jinja_text(&text, out);
}

static bool format_filter(call *c, value *out)
{
    value s;
    if (c->given->n_keyed) return FAIL(c->r, "format with names is not supported here");
    return genet__jinja_str(c->r, &c->self, &s) && genet__jinja_format(c->r, &s, c->given->at, c->given->n, out);
}

/* --- any value -------------------------------------------------------------------------------- */

static bool length(call *c, value *out)
{
    int64_t n = 0;
    TRY(genet__jinja_length(c->r, &c->self, &n));
    return *out = INT(n), true;
}

static bool or_default(call *c, value *out)
{
    bool missing = c->self.kind == V_UNDEFINED || (genet__jinja_true(&c->arg[1]) && !genet__jinja_true(&c->self));
    *out = !missing ? c->self : c->arg[0].kind == V_MISSING ? TEXT("", 0) : c->arg[0];
    return true;
}

const callable genet__jinja_filters_one[] = {
    { "trim", "chars", 0, genet__jinja_strip }, { "length", "", 0, length }, { "count", "", 0, length },
    { "upper", "", 0, genet__jinja_upper }, { "lower", "", 0, genet__jinja_lower },
    { "capitalize", "", 0, genet__jinja_capitalize }, { "title", "", 0, genet__jinja_title_words },
    { "string", "", 0, string }, { "safe", "", 0, safe }, { "escape", "", 0, escape }, { "e", "", 0, escape },
    { "replace", "old new count", 2, genet__jinja_replace }, { "indent", "width first blank", 0, indent },
    { "tojson", "ensure_ascii indent separators sort_keys", 0, to_json },
    { "int", "default base", 0, to_int }, { "float", "default", 0, to_float }, { "abs", "", 0, absolute },
    { "round", "precision method", 0, round_number }, { "format", NULL, 0, format_filter },
    { "default", "default_value boolean", 0, or_default }, { "d", "default_value boolean", 0, or_default },
    { NULL, NULL, 0, NULL },
};
