/* jinja_print.c - values as text: Python's str(), repr() and json.dumps(). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "text/jinja_tree.h"

void genet__jinja_add(buffer *b, const char *text, size_t n)
{
    run *r = b->r;
    if (r->failed || !n) return;
    if (b->cap - b->n < n) {
        size_t cap = b->cap ? 2 * b->cap : 64;
        while (cap < UINT32_MAX && cap - b->n < n) cap *= 2;
        if (cap >= UINT32_MAX) {
            FAIL(r, "a text is too long");
            return;
        }
        char *grown = genet__jinja_new(r, cap);
        if (!grown) return;
        if (b->n) memcpy(grown, b->at, b->n);
        b->at = grown;
        b->cap = cap;
    }
    memcpy(b->at + b->n, text, n);
    b->n += n;
}

static void add_word(buffer *b, const char *word) { genet__jinja_add(b, word, strlen(word)); }

bool genet__jinja_text(buffer *b, value *out)
{
    *out = TEXT(b->at ? b->at : "", b->n);
    return !b->r->failed;
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* Python's repr of a float: the shortest digits that read back as x; an exponent from 1e16 on and below 1e-4. */
static void float_text(double x, bool json, char out[48])
{
    char digits[48];
    int n = 0;
    if (!isfinite(x)) {
        const char *word = isnan(x) ? json ? "NaN" : "nan" : json ? "Infinity" : "inf";
        snprintf(out, 48, "%s%s", x < 0 ? "-" : "", word);
        return;
    }
    c_locale l = genet__c_locale_enter();
    for (; n < 17; n++) {
        snprintf(digits, sizeof digits, "%.*e", n, x);
        if (strtod(digits, NULL) == x) break;
    }
    int exponent = (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16) {
        char *e = strchr(digits, 'e');
        snprintf(out, 48, "%.*se%c%02d", (int)(e - digits), digits, exponent < 0 ? '-' : '+', abs(exponent));
    } else {
        snprintf(out, 48, "%.*f", n > exponent ? n - exponent : 1, x);
    }
    genet__c_locale_leave(l);
}

static void add_number(buffer *b, const value *v, bool json)
{
    char text[48];
    if (v->kind == V_FLOAT) float_text(v->d, json, text);
    else snprintf(text, sizeof text, "%lld", (long long)v->i);
    add_word(b, text);
}

/* --- repr ------------------------------------------------------------------------------------- */

/* What str.isprintable() does not take, of the characters assigned: controls, formats, separators, private ones. */
static bool is_printable(uint32_t c)
{
    static const uint32_t not[][2] = {
        { 0, 0x1f }, { 0x7f, 0xa0 }, { 0xad, 0xad }, { 0x600, 0x605 }, { 0x61c, 0x61c }, { 0x6dd, 0x6dd }, { 0x70f, 0x70f },
        { 0x8e2, 0x8e2 }, { 0x1680, 0x1680 }, { 0x180e, 0x180e }, { 0x2000, 0x200f }, { 0x2028, 0x202f },
        { 0x205f, 0x206f }, { 0x3000, 0x3000 }, { 0xd800, 0xf8ff }, { 0xfeff, 0xfeff }, { 0xfff0, 0xfffb },
        { 0xfffe, 0xffff }, { 0x110bd, 0x110bd }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe00ff }, { 0xe01f0, 0x10ffff },
    };
    for (size_t i = 0; i < sizeof not / sizeof *not; i++)
        if (c >= not[i][0] && c <= not[i][1]) return false;
    return true;
}

static void add_escape(buffer *b, uint32_t c)
{
    char text[16];
    const char *simple = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
    snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
    add_word(b, simple ? simple : text);
}

static void add_string_repr(buffer *b, const value *s)
{
    bool single = s->n && memchr(s->s, '\'', s->n), both = single && memchr(s->s, '"', s->n);
    char quote = single && !both ? '"' : '\'';
    genet__jinja_add(b, &quote, 1);
    for (uint32_t i = 0; i < s->n;) {
        uint32_t c = 0;
        int k = genet__utf8_decode(s->s + i, s->n - i, &c);
        if (k <= 0) break;
        if (c == (uint32_t)quote || c == '\\') genet__jinja_add(b, "\\", 1);
        if (is_printable(c)) genet__jinja_add(b, s->s + i, (size_t)k);
        else add_escape(b, c);
        i += (uint32_t)k;
    }
    genet__jinja_add(b, &quote, 1);
}

static void add_elements(buffer *b, const list *l, const char *open, const char *close)
{
    add_word(b, open);
    for (int64_t i = 0; !b->r->failed && i < l->n; i++) {
        if (i) add_word(b, ", ");
        genet__jinja_add_repr(b, &l->at[i]);
    }
    add_word(b, close);
}

static void add_dict(buffer *b, const dict *d)
{
    add_word(b, "{");
    for (int64_t i = 0; !b->r->failed && i < d->n; i++) {
        if (i) add_word(b, ", ");
        genet__jinja_add_repr(b, &d->at[i].key);
        add_word(b, ": ");
        genet__jinja_add_repr(b, &d->at[i].value);
    }
    add_word(b, "}");
}

static void add_object(buffer *b, const value *v)
{
    if (v->kind == V_NAMESPACE) {
        add_word(b, "<Namespace ");
        add_dict(b, v->dict);
        add_word(b, ">");
    } else if (v->kind == V_VIEW) {
        add_word(b, v->list->type);
        add_elements(b, v->list, "([", "])");
    } else {
        FAIL(b->r, "a %s has no text worth printing%s", genet__jinja_type(v),
             v->kind == V_ITERATOR ? "; `| list` makes a list of it" : "");
    }
}

void genet__jinja_add_repr(buffer *b, const value *v)
{
    if (!genet__jinja_enter(b->r) || !genet__jinja_spend(b->r, 1)) return;
    switch (v->kind) {
    case V_UNDEFINED: add_word(b, "Undefined"); break;
    case V_NONE:   add_word(b, "None"); break;
    case V_BOOL:   add_word(b, v->i ? "True" : "False"); break;
    case V_INT: case V_FLOAT: add_number(b, v, false); break;
    case V_STRING: add_string_repr(b, v); break;
    case V_LIST:   add_elements(b, v->list, "[", "]"); break;
    case V_TUPLE:  add_elements(b, v->list, "(", v->list->n == 1 ? ",)" : ")"); break;
    case V_DICT:   add_dict(b, v->dict); break;
    default:       add_object(b, v); break;
    }
    b->r->depth--;
}

void genet__jinja_add_str(buffer *b, const value *v)
{
    if (v->kind == V_STRING) genet__jinja_add(b, v->s, v->n);
    else if (v->kind != V_UNDEFINED) genet__jinja_add_repr(b, v);
}

bool genet__jinja_str(run *r, const value *v, value *out)
{
    if (v->kind == V_STRING) return *out = *v, true;
    buffer b = { .r = r };
    genet__jinja_add_str(&b, v);
    return genet__jinja_text(&b, out);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void add_json_escape(buffer *b, uint32_t c)
{
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
    char text[16];
    const char *simple = c && c < 0x80 ? strchr(from, (int)c) : NULL;
    if (simple) snprintf(text, sizeof text, "\\%c", to[simple - from]);
    else if (c < 0x10000) snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
    else snprintf(text, sizeof text, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
                  (unsigned)(0xdc00 + ((c - 0x10000) & 0x3ff)));
    add_word(b, text);
}

static void add_json_string(buffer *b, const value *s, bool ascii)
{
    genet__jinja_add(b, "\"", 1);
    for (uint32_t i = 0; i < s->n && !b->r->failed;) {
        uint32_t c = 0;
        int k = genet__utf8_decode(s->s + i, s->n - i, &c);
        if (k <= 0) break;
        if (c < 0x20 || c == '"' || c == '\\' || (ascii && c >= 0x7f)) add_json_escape(b, c);
        else genet__jinja_add(b, s->s + i, (size_t)k);
        i += (uint32_t)k;
    }
    genet__jinja_add(b, "\"", 1);
}

static void new_line(buffer *b, const json_style *s, int level)
{
    if (!s->indent) return;
    add_word(b, "\n");
    for (int i = 0; i < level && !b->r->failed; i++) genet__jinja_add(b, s->indent, s->n_indent);
}

static void add_json_list(buffer *b, const list *l, const json_style *s, int level)
{
    add_word(b, "[");
    for (int64_t i = 0; i < l->n && !b->r->failed; i++) {
        if (i) genet__jinja_add(b, s->item, s->n_item);
        new_line(b, s, level + 1);
        genet__jinja_add_json(b, &l->at[i], s, level + 1);
    }
    if (l->n) new_line(b, s, level);
    add_word(b, "]");
}

static void add_json_key(buffer *b, const value *k, const json_style *s)
{
    if (k->kind == V_STRING) {
        add_json_string(b, k, s->ascii);
        return;
    }
    if (k->kind != V_NONE && k->kind != V_BOOL && k->kind != V_INT && k->kind != V_FLOAT)
        FAIL(b->r, "tojson: %s cannot be a key", genet__jinja_type(k));
    add_word(b, "\"");
    genet__jinja_add_json(b, k, s, 0);
    add_word(b, "\"");
}

/* An order of keys for sort_keys: texts only, by selection (dicts are small), which needs no memory of its own. */
static const pair *next_key(buffer *b, const dict *d, const pair *after)
{
    const pair *best = NULL;
    for (int64_t i = 0; i < d->n && !b->r->failed; i++) {
        const pair *p = &d->at[i];
        bool beyond = !after, below = true;
        if (p != after && after) genet__jinja_less(b->r, &after->key, &p->key, &beyond);
        if (best) genet__jinja_less(b->r, &p->key, &best->key, &below);
        if (beyond && below && p != after) best = p;
    }
    return best;
}

static void add_json_dict(buffer *b, const dict *d, const json_style *s, int level)
{
    const pair *p = NULL;
    add_word(b, "{");
    for (int64_t i = 0; i < d->n && !b->r->failed; i++) {
        p = s->sorted ? next_key(b, d, p) : &d->at[i];
        if (!p) break;
        if (i) genet__jinja_add(b, s->item, s->n_item);
        new_line(b, s, level + 1);
        add_json_key(b, &p->key, s);
        genet__jinja_add(b, s->key, s->n_key);
        genet__jinja_add_json(b, &p->value, s, level + 1);
    }
    if (d->n) new_line(b, s, level);
    add_word(b, "}");
}

void genet__jinja_add_json(buffer *b, const value *v, const json_style *s, int level)
{
    if (!genet__jinja_enter(b->r) || !genet__jinja_spend(b->r, 1)) return;
    switch (v->kind) {
    case V_NONE:   add_word(b, "null"); break;
    case V_BOOL:   add_word(b, v->i ? "true" : "false"); break;
    case V_INT: case V_FLOAT: add_number(b, v, true); break;
    case V_STRING: add_json_string(b, v, s->ascii); break;
    case V_LIST: case V_TUPLE: add_json_list(b, v->list, s, level); break;
    case V_DICT:   add_json_dict(b, v->dict, s, level); break;
    default:       FAIL(b->r, "tojson: a %s is no JSON", genet__jinja_type(v)); break;
    }
    b->r->depth--;
}
