/* pattern.c - regular expressions for pre-tokens, through PCRE2.
 *
 * Hugging Face's tokenizers runs them through Oniguruma, whose tables of letters and numbers may be newer than
 * those of the PCRE2 at hand.  So a pattern is translated first: \p{L}, \p{N} and \s become classes that say today's
 * Unicode, and whatever the two engines read differently (\h, \b, nested classes ...) is refused by name.
 *
 * Text is cut into runs of valid UTF-8 first; each is a subject of its own, so PCRE2 need not check, and
 * what is not UTF-8 stands between the runs. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pattern.h"
#include <pcre2.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"

enum { PATTERN_MAX = 4 << 10 };     /* bytes of a pattern */

struct pattern {
    pcre2_code *code;
    pcre2_general_context *memory;
    char *text;
    bool  words;            /* GPT-2's: where text is ASCII it needs no engine */
};

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* --- today's Unicode -------------------------------------------------------------------------------------------- */

/* Letters and numbers that came after Unicode 14.0, which PCRE2 10.40-10.42 knows (Unicode Character Database 15.0,
 * 15.1 and 16.0, DerivedGeneralCategory.txt).  A newer PCRE2 knows them anyway. */
#define NEW_LETTERS \
    "\\x{1c89}\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}\\x{10d4a}-\\x{10d65}" \
    "\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}\\x{11240}\\x{11380}-\\x{11389}\\x{1138b}\\x{1138e}" \
    "\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}\\x{113d3}\\x{11bc0}-\\x{11be0}\\x{11f02}\\x{11f04}-\\x{11f10}" \
    "\\x{11f12}-\\x{11f33}\\x{1342f}\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}" \
    "\\x{16d40}-\\x{16d6c}\\x{18cff}\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}\\x{1e030}-\\x{1e06d}" \
    "\\x{1e4d0}-\\x{1e4eb}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"
#define NEW_DIGITS \
    "\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}\\x{16130}-\\x{16139}" \
    "\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}"
#define NEW_NUMBERS NEW_DIGITS "\\x{1d2c0}-\\x{1d2d3}"
/* Marks that came after 14.0. */
#define NEW_MARKS \
    "\\x{897}\\x{cf3}\\x{ece}\\x{10d69}-\\x{10d6d}\\x{10efc}-\\x{10eff}\\x{11241}\\x{113b8}-\\x{113c0}\\x{113c2}" \
    "\\x{113c5}\\x{113c7}-\\x{113ca}\\x{113cc}-\\x{113d0}\\x{113d2}\\x{113e1}-\\x{113e2}\\x{11f00}-\\x{11f01}" \
    "\\x{11f03}\\x{11f34}-\\x{11f3a}\\x{11f3e}-\\x{11f42}\\x{11f5a}\\x{13440}\\x{13447}-\\x{13455}" \
    "\\x{1611e}-\\x{1612f}\\x{1e08f}\\x{1e4ec}-\\x{1e4ef}\\x{1e5ee}-\\x{1e5ef}"
/* White_Space and its complement (PropList.txt): PCRE2 counts U+180E in, Unicode does not since 6.3. */
#define SPACES \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACES \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}" \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
/* What is common comes first: classes are tried from the left. */
#define LETTERS "a-zA-Z\\p{L}" NEW_LETTERS
#define NUMBERS "0-9\\p{N}" NEW_NUMBERS

#define MARKS "\\p{M}" NEW_MARKS
#define DIGITS "0-9\\p{Nd}" NEW_DIGITS
/* \w as Oniguruma reads it: alphabetic (the circled letters are symbols that count), marks, numbers, connectors.  Outside of a
 * class it goes by another table for Latin-1, which has the superscripts and fractions too. */
#define WORD \
    LETTERS MARKS DIGITS "\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define LATIN_WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

/* The inside of a class; negative: outside of a class it is [^...], inside of one it cannot be said; also: outside of one. */
static const struct { const char *escape, *inside; bool negative; const char *also; } classes[] = {
    { "\\p{L}", LETTERS, false, NULL }, { "\\p{N}", NUMBERS, false, NULL }, { "\\s", SPACES, false, NULL },
    { "\\P{L}", LETTERS, true, NULL },  { "\\P{N}", NUMBERS, true, NULL },  { "\\S", NOT_SPACES, false, NULL },
    { "\\p{M}", MARKS, false, NULL },   { "\\P{M}", MARKS, true, NULL },    { "\\d", DIGITS, false, NULL },
    { "\\D", DIGITS, true, NULL },      { "\\w", WORD, false, LATIN_WORD }, { "\\W", WORD, true, LATIN_WORD },
};

/* Properties that both engines call by this name; characters assigned since PCRE2's Unicode are left out. */
static const char *const properties[] = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm",
    "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "Han", "Hiragana", "Katakana", "Hangul", "Latin", "Greek", "Cyrillic", "Arabic",
    "Hebrew", "Thai", "Devanagari", "Bengali", "Tamil", "Telugu", "Armenian", "Georgian", "Khmer", "Lao", "Tibetan",
};

/* "\\p{Lu}" at s: how long it is, or 0. */
static size_t property_at(const char *s)
{
    if (s[0] != '\\' || (s[1] != 'p' && s[1] != 'P') || s[2] != '{') return 0;
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        size_t n = strlen(properties[i]);
        if (!strncmp(s + 3, properties[i], n) && s[3 + n] == '}') return n + 4;
    }
    return 0;
}

/* --- translating ------------------------------------------------------------------------------------------------ */

static bool refuse(const char *at, int n, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "\"%.*s\" in a regular expression is not known to this version",
                          n, at);
}

/* The escape at s: a class (*is_class), a control or a punctuation mark; how long it is in *n. */
static bool translate_escape(const char *s, bool in_class, size_t *n, bool *is_class, str *out, genet_err *err)
{
    *is_class = true;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        *n = strlen(classes[i].escape);
        if (strncmp(s, classes[i].escape, *n)) continue;
        if (in_class && classes[i].negative) return refuse(s, (int)*n, err);
        if (in_class) genet__str_add(out, classes[i].inside);
        else genet__str_printf(out, "[%s%s%s]", classes[i].negative ? "^" : "", classes[i].inside,
                               classes[i].also ? classes[i].also : "");
        return true;
    }
    if ((*n = property_at(s))) {            /* since 10.40 PCRE2 takes a script's name for its extensions, too */
        bool script = PCRE2_MINOR >= 40 && *n > 6;
        genet__str_printf(out, "%.3s%s%.*s", s, script ? "sc:" : "", (int)*n - 3, s + 3);
        return true;
    }
    *is_class = false;
    *n = 2;
    if (s[1] < 0 || !s[1] || !strchr("rnt.*+?()[]{}|\\/^$-'\"#&,:;<>=!@%_~` ", s[1]))
        return refuse(s, s[1] ? 1 + (s[1] > 0 && s[1] != '\n') : 1, err);
    genet__str_add_n(out, s, 2);
    return true;
}

/* Groups: ( (?: (?i: (?> and the four kinds of looking around. */
static bool check_group(const char *s, genet_err *err)
{
    static const char *const known[] = { "(?:", "(?i:", "(?>", "(?=", "(?!", "(?<=", "(?<!" };
    if (s[1] == '*') return refuse(s, 2, err);
    if (s[1] != '?') return true;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(s, known[i], strlen(known[i]))) return true;
    return refuse(s, 3, err);
}

/* A quantifier {n}, {n,} or {n,m} not followed by ? or +, which Ruby's syntax reads in its own way. */
static bool check_braces(const char *s, genet_err *err)
{
    size_t digits = strspn(s + 1, "0123456789"), n = 1 + digits;
    if (s[n] == ',') n += 1 + strspn(s + n + 1, "0123456789");
    if (!digits || s[n] != '}' || s[n + 1] == '?' || s[n + 1] == '+') return refuse(s, 3, err);
    return true;
}

static bool translate(const char *regex, str *out, genet_err *err)
{
    bool in_class = false;
    for (const char *s = regex; *s;) {
        size_t n = 1;
        if (*s == '\\') {
            bool is_class;
            TRY(translate_escape(s, in_class, &n, &is_class, out, err));
            s += n;
            if (in_class && is_class && *s == '-') {     /* not a range from a class */
                genet__str_add(out, "\\-");
                s++;
            }
            continue;
        }
        if (in_class && (*s == '[' || !strncmp(s, "&&", 2))) return refuse(s, 2, err);
        if (!in_class && strchr("^$", *s)) {         /* of a line, always */
            genet__str_printf(out, "(?m:%c)", *s++);
            continue;
        }
        if (!in_class && *s == '(') TRY(check_group(s, err));
        if (!in_class && *s == '{') TRY(check_braces(s, err));
        if (!in_class && *s == '[') {
            n += s[1] == '^';
            if (s[n] == ']') return refuse(s, (int)n + 1, err);
            in_class = true;
        } else if (*s == ']') {
            in_class = false;
        }
        genet__str_add_n(out, s, n);
        s += n;
    }
    return out->failed ? genet__err_memory(err) : true;
}

/* --- compiling -------------------------------------------------------------------------------------------------- */

static void *memory_new(size_t n, void *user)
{
    (void)user;
    return genet__alloc(n);
}

static void memory_free(void *p, void *user)
{
    (void)user;
    genet__free(p);
}

/* JIT is taken where there is one; without it the interpreter does the same. */
static bool compile(pattern *p, const char *regex, genet_err *err)
{
    int code = 0;
    PCRE2_SIZE where = 0;
    p->memory = pcre2_general_context_create(memory_new, memory_free, NULL);
    pcre2_compile_context *context = p->memory ? pcre2_compile_context_create(p->memory) : NULL;
    if (!context) return genet__err_memory(err);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    p->code = pcre2_compile((PCRE2_SPTR)regex, strlen(regex), PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code,
                            &where, context);
    pcre2_compile_context_free(context);
    if (p->code) {
        pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
        return true;
    }
    if (code == PCRE2_ERROR_HEAP_FAILED) return genet__err_memory(err);
    char words[160] = "";
    pcre2_get_error_message(code, (PCRE2_UCHAR *)words, sizeof words);
    return genet__err_set(err, GENET_ERR_FORMAT, "the regular expression does not compile: %s", words);
}

static bool init(pattern *p, const char *regex, genet_err *err)
{
    if (strlen(regex) > PATTERN_MAX)
        return genet__err_set(err, GENET_ERR_FORMAT, "the regular expression has %zu bytes; at most %d", strlen(regex),
                              PATTERN_MAX);
    str text = { 0 };
    bool ok = translate(regex, &text, err) && compile(p, genet__str(&text), err);
    genet__str_release(&text);
    uint32_t empty = 0;
    if (ok && !pcre2_pattern_info(p->code, PCRE2_INFO_MATCHEMPTY, &empty) && empty)
        ok = genet__err_set(err, GENET_ERR_FORMAT, "the regular expression matches the empty text");
    p->text = ok ? genet__strdup(regex) : NULL;
    p->words = !strcmp(regex, GPT2);
    return ok && (p->text || genet__err_memory(err));
}

pattern *genet__pattern_new(const char *regex, genet_err *err)
{
    pattern *p = genet__alloc(sizeof *p);
    if (!p) genet__err_memory(err);
    if (p && init(p, regex, err)) return p;
    genet__pattern_free(p);
    return NULL;
}

pattern *genet__pattern_gpt2(genet_err *err)
{
    return genet__pattern_new(GPT2, err);
}

void genet__pattern_free(pattern *p)
{
    if (!p) return;
    pcre2_code_free(p->code);
    pcre2_general_context_free(p->memory);
    genet__free(p->text);
    genet__free(p);
}

const char *genet__pattern_text(const pattern *p)
{
    return p->text;
}

/* --- splitting -------------------------------------------------------------------------------------------------- */

typedef struct splitting {
    const pattern    *p;
    pcre2_match_data *match;        /* of this call: a pattern's is nobody's own */
    pre_token_fn     *piece;
    void             *user;
    genet_err        *err;
} splitting;

enum ascii_class { OTHER, LETTER, DIGIT, SPACE, NOT_ASCII };

static inline enum ascii_class class_of(unsigned char c)
{
    if ((unsigned char)((c | 0x20) - 'a') < 26) return LETTER;
    if (c >= 0x80) return NOT_ASCII;
    if ((unsigned char)(c - '0') < 10) return DIGIT;
    return c == ' ' || (c >= '\t' && c <= '\r') ? SPACE : OTHER;
}

/* 's, 't, 'm, 'd, 're, 've, 'll */
static inline size_t contraction(const char *s, size_t n)
{
    if (n < 2) return 0;
    if (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd') return 2;
    bool three = n > 2 && ((s[2] == 'e' && (s[1] == 'r' || s[1] == 'v')) || (s[1] == 'l' && s[2] == 'l'));
    return three ? 3 : 0;
}

/* GPT-2's match at s where it is of ASCII alone and ASCII follows: how long it is, else 0.  Of white space before something
 * visible the last character is left to that: a space goes with it, anything else is a match of its own. */
static inline size_t ascii_match(const char *s, size_t n)
{
    size_t i = s[0] == ' ', k = s[0] == '\'' ? contraction(s, n) : 0;
    if (k || i == n) return k;
    enum ascii_class class = class_of((unsigned char)s[i]), next = class;
    if (class == NOT_ASCII) return 0;
    do i++;
    while (i < n && (next = class_of((unsigned char)s[i])) == class);
    if (class != SPACE) return i < n && next == NOT_ASCII ? 0 : i;
    return i == n || next == NOT_ASCII ? 0 : i > 1 ? i - 1 : 1;
}

/* JIT code works on a small stack: what needs more goes to the interpreter. */
static int match_at(splitting *w, const char *text, size_t n, size_t from)
{
    const pcre2_code *code = w->p->code;
    int rc = pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, w->match, NULL);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, w->match, NULL);
    return rc;
}

static bool match_failed(int rc, genet_err *err)
{
    if (rc == PCRE2_ERROR_NOMEMORY) return genet__err_memory(err);
    char words[160] = "";
    pcre2_get_error_message(rc, (PCRE2_UCHAR *)words, sizeof words);
    return genet__err_set(err, GENET_ERR_FORMAT, "the tokenizer's regular expression gives up: %s", words);
}

/* text is valid UTF-8. */
static bool split_valid(splitting *w, const char *text, size_t n)
{
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(w->match);
    for (size_t i = 0; i < n;) {
        size_t word = w->p->words ? ascii_match(text + i, n - i) : 0;
        if (word) {
            TRY(w->piece(w->user, text + i, word, true));
            i += word;
            continue;
        }
        int rc = match_at(w, text, n, i);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) return match_failed(rc, w->err);
        size_t from = rc < 0 ? n : range[0], to = rc < 0 ? n : range[1];
        if (from > i) TRY(w->piece(w->user, text + i, from - i, false));
        if (to > from) TRY(w->piece(w->user, text + from, to - from, true));
        i = to > i ? to : n;
    }
    return true;
}

/* How many bytes from s are valid UTF-8, or, when none is, invalid. */
static size_t run_of(const char *s, size_t n, bool *valid)
{
    uint32_t c;
    size_t i = 0;
    *valid = genet__utf8_decode(s, n, &c) > 0;
    while (i < n) {
        uint64_t eight;
        if (*valid && n - i >= 8 && !(memcpy(&eight, s + i, 8), eight & UINT64_C(0x8080808080808080))) {
            i += 8;
            continue;
        }
        int length = genet__utf8_decode(s + i, n - i, &c);
        if ((length > 0) != *valid) break;
        i += length ? (size_t)length : 1;
    }
    return i;
}

/* The scratch owes nothing to a pattern: it must outlive none. */
bool genet__pattern_split(const pattern *p, const char *text, size_t n, pre_token_fn *piece, void *user, void **scratch,
                          genet_err *err)
{
    if (!*scratch) {
        pcre2_general_context *memory = pcre2_general_context_create(memory_new, memory_free, NULL);
        *scratch = memory ? pcre2_match_data_create(1, memory) : NULL;
        pcre2_general_context_free(memory);
    }
    if (!*scratch) return genet__err_memory(err);
    splitting w = { p, *scratch, piece, user, err };
    bool ok = true;
    for (size_t i = 0; ok && i < n;) {
        bool valid;
        size_t run = run_of(text + i, n - i, &valid);
        ok = valid ? split_valid(&w, text + i, run) : piece(user, text + i, run, false);
        i += run;
    }
    return ok;
}

void genet__pattern_scratch_release(void *scratch)
{
    pcre2_match_data_free(scratch);
}

bool genet__pattern_is_gpt2(const pattern *p)
{
    return p->words;
}
