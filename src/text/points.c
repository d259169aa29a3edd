/* points.c - code points: decoding, white space, lower case.
 *
 * Categories and simple case mappings come from utf8proc; what depends on the letters around it (SpecialCasing.txt) is
 * here: U+0130, and the final sigma, whose context is that of The Unicode Standard, section 3.13, table 3-17. */
#include "text/points.h"
#include <string.h>
#include <utf8proc.h>
#include "base/alloc.h"
#include "text/space.h"

/* --- the list ----------------------------------------------------------------------- */

static bool room(points *p, int64_t n)
{
    if (p->failed) return false;
    if (p->n + n <= p->cap) return true;
    int64_t cap = p->cap ? 2 * p->cap : 64;
    while (cap < p->n + n) cap *= 2;
    uint32_t *at = (uint64_t)cap > SIZE_MAX / sizeof *at ? NULL : genet__realloc(p->at, (size_t)cap * sizeof *at);
    if (!at) return !(p->failed = true);
    p->at = at;
    p->cap = cap;
    return true;
}

void genet__points_add(points *p, uint32_t c)
{
    if (room(p, 1)) p->at[p->n++] = c;
}

void genet__points_copy(points *p, const uint32_t *at, int64_t n)
{
    if (!n || !room(p, n)) return;
    memcpy(p->at + p->n, at, (size_t)n * sizeof *at);
    p->n += n;
}

void genet__points_clear(points *p) { p->n = 0; }

void genet__points_release(points *p)
{
    genet__free(p->at);
    *p = (points){0};
}

bool genet__points_decode(points *p, const char *text, size_t n, size_t *bad)
{
    if (n <= INT64_MAX / 2) room(p, (int64_t)n);
    for (size_t i = 0; i < n;) {
        uint32_t c = (unsigned char)text[i];
        int length = c < 0x80 ? 1 : genet__utf8_decode(text + i, n - i, &c);
        if (!length) {
            *bad = i;
            return false;
        }
        genet__points_add(p, c);
        i += (size_t)length;
    }
    return true;
}

/* --- classes ------------------------------------------------------------------------ */

bool genet__point_is_space(uint32_t c) { return genet__space_is(c) || (c >= 0x1c && c <= 0x1f); }

static utf8proc_category_t category(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c); }

bool genet__point_is_punctuation(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool genet__point_is_symbol(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_SM && k <= UTF8PROC_CATEGORY_SO;
}

bool genet__point_is_number(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

bool genet__point_is_word(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) || genet__point_is_number(c) || c == '_';
}

void genet__points_strip_end(points *p)
{
    while (p->n && genet__point_is_space(p->at[p->n - 1])) p->n--;
}

void genet__points_strip(points *p)
{
    int64_t begin = 0;
    genet__points_strip_end(p);
    while (begin < p->n && genet__point_is_space(p->at[begin])) begin++;
    if (begin) memmove(p->at, p->at + begin, (size_t)(p->n - begin) * sizeof *p->at);
    p->n -= begin;
}

/* --- lower case --------------------------------------------------------------------- */

/* Letters with case; and what has Other_Lowercase or Other_Uppercase (PropList.txt) without being a modifier or mark. */
static bool is_cased(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LT) || c == 0xaa || c == 0xba ||
           (c >= 0x2160 && c <= 0x217f) || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

/* Case_Ignorable: marks, format controls, modifiers, and what may stand inside of a word (WordBreakProperty.txt). */
static bool is_case_ignorable(uint32_t c)
{
    static const uint32_t inside[] = { '\'', '.', ':', 0xb7, 0x387, 0x55f, 0x5f4, 0x2018, 0x2019, 0x2024, 0x2027,
                                       0xfe13, 0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a };
    utf8proc_category_t k = category(c);
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        if (c == inside[i]) return true;
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK;
}

/* The nearest character from i on (step +1 or -1) that is not ignorable has case. */
static bool case_beside(const points *p, int64_t i, int step)
{
    for (i += step; i >= 0 && i < p->n; i += step)
        if (!is_case_ignorable(p->at[i])) return is_cased(p->at[i]);
    return false;
}

static uint32_t lower_sigma(const points *p, int64_t i)
{
    return case_beside(p, i, -1) && !case_beside(p, i, 1) ? 0x3c2 : 0x3c3;
}

/* The capitals U+0130 become two characters: i, and a dot above. */
static void widen(points *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n; i++) n += p->at[i] == 0x130;
    if (!n || !room(p, n)) return;
    for (int64_t from = p->n - 1, to = from + n; to > from; from--) {
        bool wide = p->at[from] == 0x130;
        if (wide) p->at[to--] = 0x307;
        p->at[to--] = wide ? 'i' : p->at[from];
    }
    p->n += n;
}

void genet__points_lower(points *p)
{
    static const uint32_t sigma = 0x3a3;
    for (int64_t i = 0; i < p->n; i++)          /* while the letters around them still are what they were */
        if (p->at[i] == sigma) p->at[i] = lower_sigma(p, i);
    widen(p);
    for (int64_t i = 0; i < p->n; i++) {
        uint32_t c = p->at[i];
        if (c < 0x80) p->at[i] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        else p->at[i] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    }
}
