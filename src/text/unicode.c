/* unicode.c - properties of characters, from utf8proc, as Hugging Face's tokenizers sees them.
 *
 * The library (0.23.3) takes words and numbers from current tables, but general categories for punctuation and controls from
 * Unicode 8, combining classes and marks of normal forms from Unicode 9.  What was assigned later is unassigned there:
 * the tables at the top hold the differences up to Unicode 12.1 (DerivedAge.txt, UnicodeData.txt). */
#include "text/unicode.h"
#include <stdlib.h>
#include <utf8proc.h>

typedef struct char_range { uint32_t from, to; } char_range;

static bool is_among(const char_range *r, size_t n, uint32_t c)
{
    size_t low = 0;
    while (low < n) {
        size_t middle = (low + n) / 2;
        if (r[middle].to < c) low = middle + 1;
        else n = middle;
    }
    return r[low].from <= c && c <= r[low].to;
}
#define AMONG(ranges, c) is_among(ranges, sizeof ranges / sizeof *ranges - 1, c)

/* --- differences ------------------------------------------------------------------------------------------------- */

/* P now, unassigned in Unicode 8. */
static const char_range new_punctuation[] = {
    { 0x9fd, 0x9fd }, { 0xa76, 0xa76 }, { 0xc77, 0xc77 }, { 0xc84, 0xc84 }, { 0x2e43, 0x2e4f }, { 0x10f55, 0x10f59 },
    { 0x1144b, 0x1144f }, { 0x1145b, 0x1145b }, { 0x1145d, 0x1145d }, { 0x11660, 0x1166c }, { 0x1183b, 0x1183b },
    { 0x119e2, 0x119e2 }, { 0x11a3f, 0x11a46 }, { 0x11a9a, 0x11a9c }, { 0x11a9e, 0x11aa2 }, { 0x11c41, 0x11c45 },
    { 0x11c70, 0x11c71 }, { 0x11ef7, 0x11ef8 }, { 0x11fff, 0x11fff }, { 0x16e97, 0x16e9a }, { 0x16fe2, 0x16fe2 },
    { 0x1e95e, 0x1e95f },
};
/* P in Unicode 8, now a symbol and a mark. */
static const char_range old_punctuation[] = {
    { 0x166d, 0x166d }, { 0x111c9, 0x111c9 },
};
/* Cf now, unassigned in Unicode 8. */
static const char_range new_format[] = {
    { 0x8e2, 0x8e2 }, { 0x110cd, 0x110cd }, { 0x13430, 0x13438 },
};
/* Mn now, not in Unicode 8. */
static const char_range new_nonspacing[] = {
    { 0x7fd, 0x7fd }, { 0x8d3, 0x8e1 }, { 0x9fe, 0x9fe }, { 0xafa, 0xaff }, { 0xc04, 0xc04 }, { 0xd00, 0xd00 },
    { 0xd3b, 0xd3c }, { 0xeba, 0xeba }, { 0x1885, 0x1886 }, { 0x1df6, 0x1df9 }, { 0x1dfb, 0x1dfb },
    { 0xa8c5, 0xa8c5 }, { 0xa8ff, 0xa8ff }, { 0xa9bd, 0xa9bd }, { 0x10d24, 0x10d27 }, { 0x10f46, 0x10f50 },
    { 0x111c9, 0x111c9 }, { 0x1123e, 0x1123e }, { 0x1133b, 0x1133b }, { 0x11438, 0x1143f }, { 0x11442, 0x11444 },
    { 0x11446, 0x11446 }, { 0x1145e, 0x1145e }, { 0x1182f, 0x11837 }, { 0x11839, 0x1183a }, { 0x119d4, 0x119d7 },
    { 0x119da, 0x119db }, { 0x119e0, 0x119e0 }, { 0x11a01, 0x11a0a }, { 0x11a33, 0x11a38 }, { 0x11a3b, 0x11a3e },
    { 0x11a47, 0x11a47 }, { 0x11a51, 0x11a56 }, { 0x11a59, 0x11a5b }, { 0x11a8a, 0x11a96 }, { 0x11a98, 0x11a99 },
    { 0x11c30, 0x11c36 }, { 0x11c38, 0x11c3d }, { 0x11c3f, 0x11c3f }, { 0x11c92, 0x11ca7 }, { 0x11caa, 0x11cb0 },
    { 0x11cb2, 0x11cb3 }, { 0x11cb5, 0x11cb6 }, { 0x11d31, 0x11d36 }, { 0x11d3a, 0x11d3a }, { 0x11d3c, 0x11d3d },
    { 0x11d3f, 0x11d45 }, { 0x11d47, 0x11d47 }, { 0x11d90, 0x11d91 }, { 0x11d95, 0x11d95 }, { 0x11d97, 0x11d97 },
    { 0x11ef3, 0x11ef4 }, { 0x16f4f, 0x16f4f }, { 0x1e000, 0x1e006 }, { 0x1e008, 0x1e018 }, { 0x1e01b, 0x1e021 },
    { 0x1e023, 0x1e024 }, { 0x1e026, 0x1e02a }, { 0x1e130, 0x1e136 }, { 0x1e2ec, 0x1e2ef }, { 0x1e944, 0x1e94a },
};
/* M now, not in Unicode 9. */
static const char_range new_marks[] = {
    { 0x7fd, 0x7fd }, { 0x8d3, 0x8d3 }, { 0x9fe, 0x9fe }, { 0xafa, 0xaff }, { 0xc04, 0xc04 }, { 0xd00, 0xd00 },
    { 0xd3b, 0xd3c }, { 0xeba, 0xeba }, { 0x1cf7, 0x1cf7 }, { 0x1df6, 0x1df9 }, { 0xa8ff, 0xa8ff },
    { 0x10d24, 0x10d27 }, { 0x10f46, 0x10f50 }, { 0x11145, 0x11146 }, { 0x111c9, 0x111c9 }, { 0x1133b, 0x1133b },
    { 0x1145e, 0x1145e }, { 0x1182c, 0x1183a }, { 0x119d1, 0x119d7 }, { 0x119da, 0x119e0 }, { 0x119e4, 0x119e4 },
    { 0x11a01, 0x11a0a }, { 0x11a33, 0x11a39 }, { 0x11a3b, 0x11a3e }, { 0x11a47, 0x11a47 }, { 0x11a51, 0x11a5b },
    { 0x11a8a, 0x11a99 }, { 0x11d31, 0x11d36 }, { 0x11d3a, 0x11d3a }, { 0x11d3c, 0x11d3d }, { 0x11d3f, 0x11d45 },
    { 0x11d47, 0x11d47 }, { 0x11d8a, 0x11d8e }, { 0x11d90, 0x11d91 }, { 0x11d93, 0x11d97 }, { 0x11ef3, 0x11ef6 },
    { 0x16f4f, 0x16f4f }, { 0x16f7f, 0x16f87 }, { 0x1e130, 0x1e136 }, { 0x1e2ec, 0x1e2ef },
};
/* M in Unicode 9, now letters. */
static const char_range old_marks[] = {
    { 0x1cf2, 0x1cf3 },
};
/* Of a combining class now, without one in Unicode 9. */
static const char_range new_combining[] = {
    { 0x7fd, 0x7fd }, { 0x8d3, 0x8d3 }, { 0x9fe, 0x9fe }, { 0xd3b, 0xd3c }, { 0xeba, 0xeba }, { 0x1df6, 0x1df9 },
    { 0x10d24, 0x10d27 }, { 0x10f46, 0x10f50 }, { 0x1133b, 0x1133b }, { 0x1145e, 0x1145e }, { 0x11839, 0x1183a },
    { 0x119e0, 0x119e0 }, { 0x11a34, 0x11a34 }, { 0x11a47, 0x11a47 }, { 0x11a99, 0x11a99 }, { 0x11d42, 0x11d42 },
    { 0x11d44, 0x11d45 }, { 0x11d97, 0x11d97 }, { 0x1e130, 0x1e136 }, { 0x1e2ec, 0x1e2ef },
};
/* Letters, digits and marks assigned in Unicode 15.1 and 16. */
static const char_range new_words[] = {
    { 0x897, 0x897 }, { 0x1c89, 0x1c8a }, { 0xa7cb, 0xa7cd }, { 0xa7da, 0xa7dc }, { 0x105c0, 0x105f3 },
    { 0x10d40, 0x10d65 }, { 0x10d69, 0x10d6d }, { 0x10d6f, 0x10d85 }, { 0x10ec2, 0x10ec4 }, { 0x10efc, 0x10efc },
    { 0x11380, 0x11389 }, { 0x1138b, 0x1138b }, { 0x1138e, 0x1138e }, { 0x11390, 0x113b5 }, { 0x113b7, 0x113c0 },
    { 0x113c2, 0x113c2 }, { 0x113c5, 0x113c5 }, { 0x113c7, 0x113ca }, { 0x113cc, 0x113d3 }, { 0x113e1, 0x113e2 },
    { 0x116d0, 0x116e3 }, { 0x11bc0, 0x11be0 }, { 0x11bf0, 0x11bf9 }, { 0x11f5a, 0x11f5a }, { 0x13460, 0x143fa },
    { 0x16100, 0x16139 }, { 0x16d40, 0x16d6c }, { 0x16d70, 0x16d79 }, { 0x18cff, 0x18cff }, { 0x1ccf0, 0x1ccf9 },
    { 0x1e5d0, 0x1e5fa }, { 0x2ebf0, 0x2ee5d },
};

/* --- properties -------------------------------------------------------------------------------------------------- */

static unsigned category_bit(uint32_t c)
{
    return c < NOT_UTF8 ? 1u << utf8proc_category((utf8proc_int32_t)c) : 0;
}

#define BIT(x) (1u << UTF8PROC_CATEGORY_##x)
#define MARKS (BIT(MN) | BIT(MC) | BIT(ME))
#define LETTERS (BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO))
#define PUNCTUATION (BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO))

/* The circled and squared letters are symbols that count as alphabetic; the two joiners are there for words. */
bool genet__is_word(uint32_t c)
{
    if (c < 0x80) return (c >= '0' && c <= '9') || (unsigned)((c | 0x20) - 'a') < 26 || c == '_';
    if ((category_bit(c) & (LETTERS | MARKS | BIT(ND) | BIT(NL) | BIT(PC))) || AMONG(new_words, c)) return true;
    return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

bool genet__is_numeric(uint32_t c)
{
    if (c < 0x80) return c >= '0' && c <= '9';
    return (category_bit(c) & (BIT(ND) | BIT(NL) | BIT(NO))) != 0;
}

bool genet__is_punctuation(uint32_t c)
{
    if (c < 0x80) return c > ' ' && c < 0x7f && !genet__is_word(c) ? true : c == '_';
    return ((category_bit(c) & PUNCTUATION) && !AMONG(new_punctuation, c)) || AMONG(old_punctuation, c);
}

bool genet__is_control(uint32_t c)
{
    if (c < 0x80) return (c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
    return (category_bit(c) & (BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO))) && !AMONG(new_format, c);
}

bool genet__is_combining_mark(uint32_t c)
{
    return c >= 0x300 && (((category_bit(c) & MARKS) && !AMONG(new_marks, c)) || AMONG(old_marks, c));
}

/* U+1734 was Mn in Unicode 8, and is Mc now. */
bool genet__is_nonspacing_mark(uint32_t c)
{
    return c >= 0x300 && (((category_bit(c) & BIT(MN)) && !AMONG(new_nonspacing, c)) || c == 0x1734);
}

/* U+0130 alone has two (SpecialCasing.txt, what holds in all languages). */
int genet__to_lower(uint32_t c, uint32_t out[2])
{
    out[0] = c < 0x80 ? c + ((unsigned)(c - 'A') < 26 ? 32 : 0) : c < NOT_UTF8 ? (uint32_t)utf8proc_tolower((int32_t)c) : c;
    out[1] = 0x307;
    return c == 0x130 ? 2 : 1;
}

/* --- normal forms ------------------------------------------------------------------------------------------------ */

int genet__combining_class(uint32_t c)
{
    if (c < 0x300 || c >= NOT_UTF8) return 0;
    int class = utf8proc_get_property((int32_t)c)->combining_class;
    return class && !AMONG(new_combining, c) ? class : 0;
}

/* U+32FF and U+1F16C have had theirs since Unicode 12. */
int genet__decompose(uint32_t c, bool compatible, uint32_t out[DECOMPOSED_MAX])
{
    int32_t parts[DECOMPOSED_MAX];
    out[0] = c;
    if (c < 0xa0 || c >= NOT_UTF8 || c == 0x32ff || c == 0x1f16c) return 1;
    int options = UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0), bound = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((int32_t)c, parts, DECOMPOSED_MAX, (utf8proc_option_t)options, &bound);
    if (n < 1 || n > DECOMPOSED_MAX) return 1;
    for (int i = 0; i < n; i++) out[i] = (uint32_t)parts[i];
    return (int)n;
}

/* Conjoining jamo, by the rule of the standard's section 3.12: a leading consonant and a vowel, a syllable without a trailing
 * consonant and one. */
static uint32_t compose_hangul(uint32_t a, uint32_t b)
{
    enum { S = 0xac00, L = 0x1100, V = 0x1161, T = 0x11a7, N_L = 19, N_V = 21, N_T = 28, N_S = N_L * N_V * N_T };
    if (a - L < N_L && b - V < N_V) return S + ((a - L) * N_V + b - V) * N_T;
    return a - S < N_S && (a - S) % N_T == 0 && b > T && b < T + N_T ? a + b - T : 0;
}

/* No pair composes whose second character lies below U+0300. */
uint32_t genet__compose(uint32_t a, uint32_t b)
{
    if (b < 0x300 || b >= NOT_UTF8 || a >= NOT_UTF8) return 0;
    if (b >= 0x1161 && b < 0x11c3) return compose_hangul(a, b);
    int32_t pair[2] = { (int32_t)a, (int32_t)b };
    utf8proc_ssize_t n = utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    return n == 1 ? (uint32_t)pair[0] : 0;
}

/* Conjoining Hangul is composed by rule. */
bool genet__is_inert(uint32_t c)
{
    if (c < 0xa0 || c >= NOT_UTF8) return true;
    if (c < 0x300 || (c >= 0x1100 && c < 0x1200) || (c >= 0xac00 && c < 0xd7a4)) return false;
    const utf8proc_property_t *p = utf8proc_get_property((int32_t)c);
    return !p->combining_class && p->decomp_seqindex == UINT16_MAX && p->comb_index == UINT16_MAX;
}

/* A byte that is no character stands alone. */
bool genet__grapheme_break(uint32_t a, uint32_t b, int *state)
{
    if (a >= NOT_UTF8 || b >= NOT_UTF8) {
        *state = 0;
        return true;
    }
    return utf8proc_grapheme_break_stateful((int32_t)a, (int32_t)b, state);
}
