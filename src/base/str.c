/* str.c - strings that grow, and text that does not depend on the host's
 * locale.  A str keeps room for its terminating zero; its first failed
 * allocation is remembered and the text until then stays valid. */
#include "base/str.h"
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"

/* Room for n more bytes and a zero. */
static bool reserve(str *s, size_t n)
{
    if (s->failed) return false;
    if (s->cap - s->n > n) return true;
    size_t cap = s->cap ? s->cap : 32;
    while (cap <= SIZE_MAX / 2 && cap - s->n <= n) cap *= 2;
    char *grown = cap - s->n > n ? genet__realloc(s->at, cap) : NULL;
    if (!grown) {
        s->failed = true;
        return false;
    }
    s->at = grown;
    s->cap = cap;
    return true;
}

void genet__str_add_n(str *s, const void *bytes, size_t n)
{
    if (!reserve(s, n)) return;
    if (n) memcpy(s->at + s->n, bytes, n);
    s->n += n;
    s->at[s->n] = 0;
}

void genet__str_add(str *s, const char *text)
{
    genet__str_add_n(s, text, strlen(text));
}

void genet__str_printf(str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = genet__vformat(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) s->failed = true;
    if (n < 0 || !reserve(s, (size_t)n)) return;
    va_start(ap, fmt);
    if (genet__vformat(s->at + s->n, (size_t)n + 1, fmt, ap) == n) s->n += (size_t)n;
    else s->failed = true;          /* libc, too, may want memory */
    va_end(ap);
}

void genet__str_clear(str *s)
{
    s->n = 0;
    s->failed = false;
    if (s->at) s->at[0] = 0;
}

void genet__str_release(str *s)
{
    genet__free(s->at);
    *s = (str){ 0 };
}

const char *genet__str(const str *s)
{
    return s->at ? s->at : "";
}

bool genet__ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

char *genet__path_join(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    bool slash = na > 0 && a[na - 1] != '/';
    char *path = genet__alloc(na + nb + 2);
    if (!path) return NULL;
    memcpy(path, a, na);
    if (slash) path[na] = '/';
    memcpy(path + na + slash, b, nb);
    return path;
}

/* Wagner and Fischer 1974, one row of the table at a time. */
int genet__edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    int na = (int)strnlen(a, LONGEST + 1), nb = (int)strnlen(b, LONGEST + 1);
    if (na > LONGEST || nb > LONGEST) return na > nb ? na : nb;
    int row[LONGEST + 1];
    for (int j = 0; j <= nb; j++) row[j] = j;
    for (int i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

/* newlocale("C") gives a constant of libc: it neither allocates nor fails in
 * practice; were it to fail, the host's locale would stay. */
c_locale genet__c_locale_enter(void)
{
    c_locale l = { newlocale(LC_ALL_MASK, "C", (locale_t)0), (locale_t)0 };
    if (l.c != (locale_t)0) l.old = uselocale(l.c);
    return l;
}

void genet__c_locale_leave(c_locale l)
{
    if (l.c == (locale_t)0) return;
    uselocale(l.old);
    freelocale(l.c);
}

int genet__vformat(char *out, size_t size_bytes, const char *fmt, va_list ap)
{
    c_locale l = genet__c_locale_enter();
    int n = vsnprintf(out, size_bytes, fmt, ap);
    genet__c_locale_leave(l);
    if (n < 0 && size_bytes) out[0] = 0;
    return n;
}

bool genet__parse_int(const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (*digits < '0' || *digits > '9') return false;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end) return false;
    *out = value;
    return true;
}

bool genet__parse_double(const char *text, double *out)
{
    /* strtod also takes spaces, hexadecimal, inf and nan: look at the letters first. */
    if (!*text || text[strspn(text, "+-.0123456789eE")]) return false;
    char *end;
    c_locale l = genet__c_locale_enter();
    double value = strtod(text, &end);
    genet__c_locale_leave(l);
    if (end == text || *end || !isfinite(value)) return false;
    *out = value;
    return true;
}

void genet__format_double(char out[32], double x)
{
    if (fabs(x) < 1e16 && x == floor(x)) {      /* 1000, not 1e+03 */
        snprintf(out, 32, "%.0f", x);
        return;
    }
    c_locale l = genet__c_locale_enter();
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, x);
        if (digits == 17 || !isfinite(x) || strtod(out, NULL) == x) break;
    }
    genet__c_locale_leave(l);
}

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
int genet__utf8_decode(const char *s, size_t n, uint32_t *code_point)
{
    const unsigned char *u = (const unsigned char *)s;
    if (n == 0) return 0;
    if (u[0] < 0x80) {
        *code_point = u[0];
        return 1;
    }
    int length = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    if (u[0] < 0xc2 || u[0] > 0xf4 || n < (size_t)length) return 0;
    uint32_t c = u[0] & (0x7fu >> length);
    for (int i = 1; i < length; i++) {
        if ((u[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (u[i] & 0x3fu);
    }
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0;
    *code_point = c;
    return length;
}

int genet__utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0;
    int length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = length - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00 >> length) | c);
    return length;
}

size_t genet__utf8_before(const char *s, size_t i, uint32_t *code_point)
{
    for (size_t k = 1; k <= 4 && k <= i; k++)
        if (genet__utf8_decode(s + i - k, k, code_point) == (int)k) return k;
    return 0;
}

/* The Unicode Standard, table 3-7. */
size_t genet__utf8_length(const char *s, size_t n, bool *whole, bool *open)
{
    unsigned char c = (unsigned char)s[0];
    size_t need = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    *whole = *open = false;
    if (!need) return 1;
    for (size_t i = 1; i < need; i++, low = 0x80, high = 0xbf) {
        if (i == n) *open = true;
        if (i == n || (unsigned char)s[i] < low || (unsigned char)s[i] > high) return i;
    }
    *whole = true;
    return need;
}

/* all: what more bytes could complete is taken too. */
static size_t add_characters(str *out, const char *s, size_t n, bool all)
{
    size_t at = 0;
    while (at < n) {
        bool whole, open;
        size_t length = genet__utf8_length(s + at, n - at, &whole, &open);
        if (open && !all) break;
        if (whole) genet__str_add_n(out, s + at, length);
        else genet__str_add(out, "\xef\xbf\xbd");
        at += length;
    }
    return at;
}

void genet__utf8_add(str *out, const char *bytes, size_t n) { add_characters(out, bytes, n, true); }

size_t genet__utf8_add_whole(str *out, const char *bytes, size_t n) { return add_characters(out, bytes, n, false); }
