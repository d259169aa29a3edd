/* bleu_tokenize.c - what sacreBLEU's tokenizers make of a text before BLEU counts words: 13a (NIST's mteval-v13a), intl
 * (mteval-v14 with --international-tokenization), zh, char, none.
 *
 * Each is a few passes of "this character before that one gets spaces here"; a match takes both characters, so that a pass
 * does not see the second one again.  Words are then what stands between white space. */
#include <string.h>
#include "text/metric.h"

enum { BEFORE = 1, BETWEEN = 2, BEHIND = 4 };           /* where spaces go around two characters */

typedef bool point_test(uint32_t c);
typedef struct pair_pass { point_test *first, *second; int spaces; } pair_pass;

static bool is_digit(uint32_t c) { return c >= '0' && c <= '9'; }
static bool is_no_digit(uint32_t c) { return !is_digit(c); }
static bool is_stop(uint32_t c) { return c == '.' || c == ','; }
static bool is_dash(uint32_t c) { return c == '-'; }
static bool is_no_number(uint32_t c) { return !genet__point_is_number(c); }

/* ASCII punctuation but for the apostrophe, comma, dash and full stop; the space is in the definition's range too. */
static bool is_apart(uint32_t c)
{
    return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
           (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/* --- passes ------------------------------------------------------------------------- */

/* The result of a pass is in scratch: change places. */
static void swap(points *a, points *b)
{
    points t = *a;
    *a = *b;
    *b = t;
}

static void space_around(points *p, points *scratch, point_test *test)
{
    genet__points_clear(scratch);
    for (int64_t i = 0; i < p->n; i++) {
        bool apart = test(p->at[i]);
        if (apart) genet__points_add(scratch, ' ');
        genet__points_add(scratch, p->at[i]);
        if (apart) genet__points_add(scratch, ' ');
    }
    swap(p, scratch);
}

static void space_pairs(points *p, points *scratch, const pair_pass *pass)
{
    genet__points_clear(scratch);
    for (int64_t i = 0; i < p->n; i++) {
        uint32_t c = p->at[i];
        bool both = i + 1 < p->n && pass->first(c) && pass->second(p->at[i + 1]);
        if (both && pass->spaces & BEFORE) genet__points_add(scratch, ' ');
        genet__points_add(scratch, c);
        if (!both) continue;
        if (pass->spaces & BETWEEN) genet__points_add(scratch, ' ');
        genet__points_add(scratch, p->at[++i]);
        if (pass->spaces & BEHIND) genet__points_add(scratch, ' ');
    }
    swap(p, scratch);
}

static bool begins(const points *p, int64_t i, const char *word, int64_t n)
{
    if (p->n - i < n) return false;
    for (int64_t k = 0; k < n; k++)
        if (p->at[i + k] != (unsigned char)word[k]) return false;
    return true;
}

/* Every `from` by `to` ("" or one character): never longer, so in place. */
static void replace(points *p, const char *from, const char *to)
{
    int64_t n = (int64_t)strlen(from), end = 0;
    for (int64_t i = 0; i < p->n;) {
        bool found = begins(p, i, from, n);
        uint32_t c = found ? (unsigned char)*to : p->at[i];
        if (!found || *to) p->at[end++] = c;
        i += found ? n : 1;
    }
    p->n = end;
}

/* --- tokenizers --------------------------------------------------------------------- */

/* What mteval-v13a does for languages of the West, as sacreBLEU's TokenizerRegexp. */
static void split_western(points *p, points *scratch)
{
    static const pair_pass passes[] = {
        { is_no_digit, is_stop, BETWEEN | BEHIND },         /* full stop and comma, unless behind a digit, */
        { is_stop, is_no_digit, BEFORE | BETWEEN },         /* or before one */
        { is_digit, is_dash, BETWEEN | BEHIND },            /* a dash behind a digit */
    };
    space_around(p, scratch, is_apart);
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) space_pairs(p, scratch, &passes[i]);
}

static void split_13a(points *p, points *scratch)
{
    static const char *const entity[][2] = {
        { "<skipped>", "" }, { "-\n", "" }, { "\n", " " }, { "&quot;", "\"" }, { "&amp;", "&" }, { "&lt;", "<" }, { "&gt;", ">" },
    };
    for (size_t i = 0; i < sizeof entity / sizeof *entity; i++) replace(p, entity[i][0], entity[i][1]);
    genet__points_clear(scratch);
    genet__points_add(scratch, ' ');            /* so that a first or last full stop stands beside something */
    genet__points_copy(scratch, p->at, p->n);
    genet__points_add(scratch, ' ');
    swap(p, scratch);
    split_western(p, scratch);
}

static void split_intl(points *p, points *scratch)
{
    static const pair_pass passes[] = {
        { is_no_number, genet__point_is_punctuation, BETWEEN | BEHIND },
        { genet__point_is_punctuation, is_no_number, BEFORE | BETWEEN },
    };
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) space_pairs(p, scratch, &passes[i]);
    space_around(p, scratch, genet__point_is_symbol);
}

/* The characters that stand alone in Chinese.  Two of sacreBLEU's ranges were meant to begin at U+20000 and U+2F800, but
 * are written with four digits and a fifth character behind them; compared as strings they mean what stands here. */
static bool is_chinese(uint32_t c)
{
    static const struct { uint32_t from, to; } ranges[] = {
        { 0x3400, 0x4db5 }, { 0x4e00, 0x9fbb }, { 0xf900, 0xfa2d }, { 0xfa30, 0xfa6a }, { 0xfa70, 0xfad9 },
        { 0x2001, 0x2a6d }, { 0x2f81, 0x2fa1 }, { 0xff00, 0xffef }, { 0x2e80, 0x2eff }, { 0x3000, 0x303f },
        { 0x31c0, 0x31ef }, { 0x2f00, 0x2fdf }, { 0x2ff0, 0x2fff }, { 0x3100, 0x312f }, { 0x31a0, 0x31bf },
        { 0xfe10, 0xfe1f }, { 0xfe30, 0xfe4f }, { 0x2600, 0x26ff }, { 0x2700, 0x27bf }, { 0x3200, 0x33ff },
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].from && c <= ranges[i].to) return true;
    return false;
}

static void split_zh(points *p, points *scratch)
{
    genet__points_strip(p);
    space_around(p, scratch, is_chinese);
    split_western(p, scratch);
}

static bool is_any(uint32_t c) { return c != ' '; }

static void split_char(points *p, points *scratch) { space_around(p, scratch, is_any); }

void genet__bleu_tokenize(const char *name, points *p, points *scratch)
{
    static const struct { const char *name; void (*split)(points *p, points *scratch); } tokenizers[] = {
        { "13a", split_13a }, { "intl", split_intl }, { "zh", split_zh }, { "char", split_char },
    };
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++)
        if (!strcmp(name, tokenizers[i].name)) tokenizers[i].split(p, scratch);
}
