/* jinja_lex.c - a template's text as tokens, with the white space that tags take away: "-" takes all beside it, a
 * block or comment takes the new line behind it (trim_blocks) and the blanks before it in its line (lstrip_blocks), and
 * "+" keeps them.  A closing "%}" or "}}" counts where all brackets are closed. */
#include <errno.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/jinja_tree.h"

typedef struct lexer {
    jinja *t;
    const char *text;
    size_t n, at;
    int line;
    token *token;
    int n_token, cap;
    char open[JINJA_MAX_NESTING];       /* brackets to be closed */
    int n_open;
    genet_err *err;
} lexer;

static bool refuse(const lexer *x, const char *words)
{
    return genet__err_set(x->err, GENET_ERR_FORMAT, "%s: line %d: %s", x->t->where, x->line, words);
}

static bool add(lexer *x, token one)
{
    if (!GROW(x->token, x->n_token, x->cap)) return genet__err_memory(x->err);
    one.line = one.line ? one.line : x->line;
    x->token[x->n_token++] = one;
    return true;
}

static bool starts(const lexer *x, size_t at, const char *word)
{
    size_t n = strlen(word);
    return x->n - at >= n && !memcmp(x->text + at, word, n);
}

/* Go on to `to`, counting lines. */
static void advance(lexer *x, size_t to)
{
    for (; x->at < to; x->at++) x->line += x->text[x->at] == '\n';
}

static size_t skip_space(const lexer *x, size_t at) { return at + jinja_space_front(x->text + at, x->n - at); }

/* --- text ------------------------------------------------------------------------------------- */

/* The end of text[from .. tag) after the tag's sign, and its blanks when it is no print. */
static size_t text_end(const lexer *x, size_t from, size_t tag, char sign, bool block)
{
    size_t n = tag - from, line = tag;
    if (sign == '-') return from + jinja_space_back(x->text + from, n);
    if (sign == '+' || !block) return tag;
    while (line > from && x->text[line - 1] != '\n') line--;
    if (line == from && from && x->text[from - 1] != '\n') return tag;
    return skip_space(x, line) >= tag ? line : tag;
}

static bool add_text(lexer *x, size_t from, size_t to)
{
    token data = { .kind = T_DATA, .line = x->line, .at = x->text + from, .n = to - from };
    return to == from || add(x, data);
}

static char sign_at(const lexer *x, size_t at)
{
    return at < x->n && (x->text[at] == '-' || x->text[at] == '+') ? x->text[at] : 0;
}

/* Where the tag's end at `at` takes up the text again; 0: there is none. */
static size_t tag_end(const lexer *x, size_t at, const char *end)
{
    size_t sign = sign_at(x, at) != 0;
    if (!starts(x, at + sign, end)) return 0;
    size_t after = at + sign + strlen(end);
    if (sign && x->text[at] == '-') return skip_space(x, after);
    bool print = *end == '}';
    if (sign) return print ? 0 : after;
    return after + (!print && after < x->n && x->text[after] == '\n');
}

/* {% raw %} at `at`: where its text begins; 0: it is another tag. */
static size_t raw_begin(const lexer *x, size_t at)
{
    size_t i = skip_space(x, at + 2 + (sign_at(x, at + 2) != 0));
    if (!starts(x, i, "raw")) return 0;
    i = skip_space(x, i + 3);
    if (starts(x, i, "-%}")) return skip_space(x, i + 3);
    return starts(x, i, "%}") ? i + 2 : 0;
}

static bool lex_raw(lexer *x, size_t begin)
{
    advance(x, begin);
    for (size_t i = begin; i + 1 < x->n; i++) {
        if (!starts(x, i, "{%")) continue;
        char sign = sign_at(x, i + 2);
        size_t word = skip_space(x, i + 2 + (sign != 0)), end;
        if (!starts(x, word, "endraw") || !(end = tag_end(x, skip_space(x, word + 6), "%}"))) continue;
        TRY(add_text(x, begin, text_end(x, begin, i, sign, true)));
        advance(x, end);
        return true;
    }
    return refuse(x, "{% raw %} is not ended by {% endraw %}");
}

static bool lex_comment(lexer *x)
{
    for (size_t i = x->at; i < x->n; i++) {
        size_t end = tag_end(x, i, "#}");
        if (!end) continue;
        advance(x, end);
        return true;
    }
    return refuse(x, "a comment {# is not ended by #}");
}

/* --- strings and numbers ---------------------------------------------------------------------- */

/* The number of n digits of this base at s, or -1. */
static int64_t digits(const char *s, size_t n, int base)
{
    int64_t x = 0;
    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)s[i], small = c | 32;
        int d = jinja_is_digit(s[i]) ? c - '0' : small >= 'a' && small <= 'f' ? small - 'a' + 10 : 99;
        if (d >= base) return -1;
        x = x * base + d;
    }
    return x;
}

/* One escape at s (n left, the backslash first): bytes read, its text to out; 0: it is none.  Python's. */
static size_t unescape(const char *s, size_t n, char *out, size_t *n_out)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const char *simple = n > 1 ? memchr(from, s[1], sizeof from - 1) : NULL;
    size_t length = n > 1 && s[1] == 'x' ? 2 : n > 1 && s[1] == 'u' ? 4 : n > 1 && s[1] == 'U' ? 8 : 0, octal = 0;
    *n_out = 0;
    if (n > 1 && s[1] == '\n') return 2;
    if (simple) return out[(*n_out)++] = to[simple - from], 2;
    while (octal < 3 && octal + 1 < n && s[octal + 1] >= '0' && s[octal + 1] <= '7') octal++;
    int64_t c = octal ? digits(s + 1, octal, 8) : length && n >= length + 2 ? digits(s + 2, length, 16) : -1;
    if (c >= 0 && c <= 0x10ffff) *n_out = (size_t)genet__utf8_encode((uint32_t)c, out);
    if (octal) return octal + 1;
    return *n_out ? length + 2 : 0;
}

/* Bytes between quotes; an unknown escape keeps its backslash. */
static bool unescape_all(lexer *x, const char *s, size_t n, value *out)
{
    char *text = genet__arena_alloc(&x->t->arena, n + 1);
    size_t n_text = 0, got;
    if (!text) return genet__err_memory(x->err);
    for (size_t i = 0; i < n;) {
        size_t used = s[i] == '\\' ? unescape(s + i, n - i, text + n_text, &got) : 0;
        if (!used && s[i] == '\\' && i + 1 < n && strchr("xuUN", s[i + 1]))
            return refuse(x, "an escape in a string is none of \\xhh, \\uhhhh, \\Uhhhhhhhh with a character's number");
        if (!used) text[n_text] = s[i], used = got = 1;
        n_text += got;
        i += used;
    }
    *out = TEXT(text, n_text);
    return true;
}

static bool lex_string(lexer *x)
{
    char quote = x->text[x->at];
    size_t i = x->at + 1;
    token one = { .kind = T_CONST, .line = x->line };
    while (i < x->n && x->text[i] != quote) i += x->text[i] == '\\' ? 2 : 1;
    if (i >= x->n) return refuse(x, "a string has no end");
    TRY(unescape_all(x, x->text + x->at + 1, i - x->at - 1, &one.constant));
    one.at = x->text + x->at, one.n = i + 1 - x->at;
    advance(x, i + 1);
    return add(x, one);
}

static bool is_digit(const lexer *x, size_t at, int base) { return at < x->n && digits(x->text + at, 1, base) >= 0; }

/* The end of digits with single underscores between them. */
static size_t run_of_digits(const lexer *x, size_t at, int base)
{
    while (is_digit(x, at, base) || (at && x->text[at - (at < x->n)] != 0 && at < x->n && x->text[at] == '_' &&
           is_digit(x, at - 1, base) && is_digit(x, at + 1, base))) at++;
    return at;
}

/* The end of a float at x->at, or 0. */
static size_t float_end(const lexer *x)
{
    size_t i = run_of_digits(x, x->at, 10), e;
    bool is = false;
    if (x->at && x->text[x->at - 1] == '.') return 0;
    if (i < x->n && x->text[i] == '.' && is_digit(x, i + 1, 10)) i = run_of_digits(x, i + 1, 10), is = true;
    if (i >= x->n || (x->text[i] | 32) != 'e') return is ? i : 0;
    e = i + 1 + (sign_at(x, i + 1) != 0);
    return is_digit(x, e, 10) ? run_of_digits(x, e, 10) : is ? i : 0;
}

static size_t int_end(const lexer *x, int *base)
{
    char kind = x->at + 1 < x->n ? x->text[x->at + 1] | 32 : 0;
    size_t i = x->at + 2;
    *base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    if (x->text[x->at] == '0' && *base != 10 && is_digit(x, i, *base)) return run_of_digits(x, i, *base);
    *base = 10;
    if (x->text[x->at] != '0') return run_of_digits(x, x->at, 10);
    for (i = x->at; i < x->n && x->text[i] == '0';) i++;
    return i;
}

static bool lex_number(lexer *x)
{
    char copy[64];
    size_t n = 0, end = float_end(x);
    int base = 0;
    bool real = end != 0;
    token one = { .kind = T_CONST, .line = x->line, .at = x->text + x->at };
    if (!real) end = int_end(x, &base);
    for (size_t i = x->at + (base && base != 10 ? 2 : 0); i < end; i++) {
        if (n + 1 == sizeof copy) return refuse(x, "a number has too many digits");
        if (x->text[i] != '_') copy[n++] = x->text[i];
    }
    copy[n] = 0;
    errno = 0;
    one.constant = INT(real ? 0 : strtoll(copy, NULL, base));
    if (errno) return refuse(x, "an integer does not fit 64 bits");
    double d = 0;
    if (real && !genet__parse_double(copy, &d)) return refuse(x, "a number is out of range");
    if (real) one.constant = FLOAT(d);
    one.n = end - x->at;
    x->at = end;
    return add(x, one);
}

/* --- code ------------------------------------------------------------------------------------- */

static bool is_name(char c) { return ((c | 32) >= 'a' && (c | 32) <= 'z') || jinja_is_digit(c) || c == '_'; }

static bool lex_name(lexer *x)
{
    token one = { .kind = T_NAME, .line = x->line, .at = x->text + x->at };
    while (x->at < x->n && is_name(x->text[x->at])) x->at++, one.n++;
    return add(x, one);
}

static bool bracket(lexer *x, char c)
{
    static const char opening[] = "{[(", closing[] = "}])";
    const char *k = strchr(opening, c);
    if (k && x->n_open == JINJA_MAX_NESTING) return refuse(x, "too many brackets inside each other");
    if (k) x->open[x->n_open++] = closing[k - opening];
    if (!strchr(closing, c)) return true;
    if (!x->n_open || x->open[--x->n_open] != c) return refuse(x, "a bracket is closed that is not open");
    return true;
}

static bool lex_operator(lexer *x)
{
    static const char two[][3] = { "//", "**", "==", "!=", ">=", "<=" }, one[] = "+-/*%~[](){}><=.:|,;";
    token t = { .kind = T_OP, .line = x->line, .at = x->text + x->at, .n = 1 };
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (starts(x, x->at, two[i])) t.op = OP(two[i][0], two[i][1]), t.n = 2;
    if (!t.op && strchr(one, x->text[x->at]) && x->text[x->at]) t.op = OP(0, x->text[x->at]);
    if (!t.op) {
        size_t k = jinja_char_bytes((unsigned char)x->text[x->at]);
        return genet__err_set(x->err, GENET_ERR_FORMAT, "%s: line %d: \"%.*s\" has no meaning here", x->t->where, x->line,
                              (int)k, x->text + x->at);
    }
    if (t.n == 1) TRY(bracket(x, x->text[x->at]));
    x->at += t.n;
    return add(x, t);
}

/* From behind {{ or {% to its end. */
static bool lex_code(lexer *x, const char *end, token_kind end_kind)
{
    x->n_open = 0;
    for (;;) {
        size_t after = x->n_open ? 0 : tag_end(x, x->at, end);
        if (after) {
            TRY(add(x, (token){ .kind = end_kind, .at = end, .n = 2 }));
            advance(x, after);
            return true;
        }
        size_t space = skip_space(x, x->at);
        if (space > x->at) {
            advance(x, space);
            continue;
        }
        if (x->at == x->n)
            return genet__err_set(x->err, GENET_ERR_FORMAT, "%s: line %d: the template ends inside of a tag; %s is missing",
                                  x->t->where, x->line, end);
        char c = x->text[x->at];
        TRY(c == '"' || c == '\'' ? lex_string(x) : jinja_is_digit(c) ? lex_number(x) : is_name(c) ? lex_name(x)
                                                                                                 : lex_operator(x));
    }
}

/* Text up to a tag, and the tag; at the end of all, text alone. */
static bool lex_some(lexer *x)
{
    size_t from = x->at, tag = from;
    while (tag < x->n && !(x->text[tag] == '{' && tag + 1 < x->n && strchr("{%#", x->text[tag + 1]) && x->text[tag + 1])) tag++;
    if (tag == x->n) {
        TRY(add_text(x, from, tag));
        advance(x, tag);
        return true;
    }
    char kind = x->text[tag + 1], sign = sign_at(x, tag + 2);
    TRY(add_text(x, from, text_end(x, from, tag, sign, kind != '{')));
    size_t raw = kind == '%' ? raw_begin(x, tag) : 0;
    advance(x, tag);
    if (raw) return lex_raw(x, raw);
    x->at = tag + 2 + (sign != 0);
    if (kind == '#') return lex_comment(x);
    TRY(add(x, (token){ .kind = kind == '%' ? T_BLOCK : T_PRINT, .at = x->text + tag, .n = 2 }));
    return lex_code(x, kind == '%' ? "%}" : "}}", kind == '%' ? T_BLOCK_END : T_PRINT_END);
}

/* All ends of lines become \n, and the last one goes. */
static bool normalise(lexer *x, const char *text, size_t n)
{
    char *copy = genet__arena_alloc(&x->t->arena, n + 1);
    if (!copy) return genet__err_memory(x->err);
    for (size_t i = 0; i < n; i++) {
        uint32_t c;
        if ((unsigned char)text[i] >= 0x80) {
            int k = genet__utf8_decode(text + i, n - i, &c);
            if (k <= 0) return genet__err_set(x->err, GENET_ERR_FORMAT, "%s: byte %zu is not UTF-8", x->t->where, i + 1);
            memcpy(copy + x->n, text + i, (size_t)k);
            x->n += (size_t)k;
            i += (size_t)k - 1;
        } else {
            copy[x->n++] = text[i] == '\r' ? '\n' : text[i];
            i += text[i] == '\r' && i + 1 < n && text[i + 1] == '\n';
        }
    }
    x->n -= x->n && copy[x->n - 1] == '\n';
    x->text = copy;
    return true;
}

bool genet__jinja_lex(jinja *t, const char *text, size_t n, token **tokens, genet_err *err)
{
    lexer x = { .t = t, .line = 1, .err = err };
    bool ok = normalise(&x, text, n);
    while (ok && x.at < x.n) ok = lex_some(&x);
    ok = ok && add(&x, (token){ .kind = T_END });
    *tokens = x.token;
    return ok;
}
