/* porter.c - the stem of an English word (Porter 1980, "An algorithm for suffix stripping"), with the changes that Porter
 * made later and the few of NLTK's, whose stemmer rouge_score takes: words of two letters stay, y becomes i only behind a
 * consonant, -ied and -ies of short words keep their e, twelve words are irregular.
 *
 * m of a stem is how often a consonant follows a vowel in it; the suffix of the first rule that fits goes if m is large
 * enough, and else the word stays as it is. */
#include <string.h>
#include "text/metric.h"

/* Letters of one word. */
typedef struct word { char *at; int n; } word;
typedef struct rule { const char *from, *to; int m; } rule;     /* m: the stem's must be larger */

/* --- what a stem is like ------------------------------------------------------------ */

static bool is_vowel(char c) { return strchr("aeiou", c); }

/* y is a vowel behind a consonant, so that a run of y alternates; digits are consonants. */
static bool is_consonant(const char *s, int i)
{
    int first = i;
    while (first > 0 && s[first] == 'y') first--;
    return is_vowel(s[first]) == ((i - first) % 2 == 1);
}

/* The same for the next letter, after whether the one before is a consonant (false before the first): no way back. */
static bool next_consonant(bool before, char c) { return c == 'y' ? !before : !is_vowel(c); }

static int measure(const char *s, int n)
{
    int m = 0;
    bool before = false;
    for (int i = 0; i < n; i++) {
        bool consonant = next_consonant(before, s[i]);
        m += i && !before && consonant;
        before = consonant;
    }
    return m;
}

static bool has_vowel(const char *s, int n)
{
    bool consonant = false;
    for (int i = 0; i < n; i++)
        if (!(consonant = next_consonant(consonant, s[i]))) return true;
    return false;
}

static bool ends_double(const word *w)
{
    return w->n >= 2 && w->at[w->n - 1] == w->at[w->n - 2] && is_consonant(w->at, w->n - 1);
}

/* Consonant, vowel, consonant but w, x, y; or just a vowel and a consonant. */
static bool ends_short(const char *s, int n)
{
    if (n == 2) return !is_consonant(s, 0) && is_consonant(s, 1);
    return n >= 3 && is_consonant(s, n - 3) && !is_consonant(s, n - 2) && is_consonant(s, n - 1) && !strchr("wxy", s[n - 1]);
}

static bool ends(const word *w, const char *suffix)
{
    int n = (int)strlen(suffix);
    return w->n >= n && !memcmp(w->at + w->n - n, suffix, (size_t)n);
}

/* What n_from letters at the end become; never more than there are. */
static void put(word *w, int n_from, const char *to)
{
    int n = (int)strlen(to);
    memcpy(w->at + w->n - n_from, to, (size_t)n);
    w->n += n - n_from;
}

/* The first rule whose suffix is there decides. */
static void apply(word *w, const rule *rules, int n)
{
    for (int i = 0; i < n; i++) {
        if (!ends(w, rules[i].from)) continue;
        int from = (int)strlen(rules[i].from);
        if (measure(w->at, w->n - from) > rules[i].m) put(w, from, rules[i].to);
        return;
    }
}
#define APPLY(w, rules) apply(w, rules, (int)(sizeof rules / sizeof *rules))

/* --- the steps ---------------------------------------------------------------------- */

static void plural(word *w)
{
    static const rule rules[] = { { "sses", "ss", -1 }, { "ies", "i", -1 }, { "ss", "ss", -1 }, { "s", "", -1 } };
    if (w->n == 4 && ends(w, "ies")) put(w, 3, "ie");
    else APPLY(w, rules);
}

/* Behind what lost -ed or -ing. */
static void mend(word *w)
{
    static const char *const e[] = { "at", "bl", "iz" };
    for (int i = 0; i < 3; i++)
        if (ends(w, e[i])) {
            put(w, 0, "e");
            return;
        }
    if (ends_double(w)) w->n -= !strchr("lsz", w->at[w->n - 1]);
    else if (measure(w->at, w->n) == 1 && ends_short(w->at, w->n)) put(w, 0, "e");
}

static void past(word *w)
{
    static const char *const suffix[] = { "ed", "ing" };
    if (ends(w, "ied")) {
        put(w, 3, w->n == 4 ? "ie" : "i");
        return;
    }
    if (ends(w, "eed")) {
        w->n -= measure(w->at, w->n - 3) > 0;
        return;
    }
    for (int i = 0; i < 2; i++) {
        int n = (int)strlen(suffix[i]);
        if (!ends(w, suffix[i]) || !has_vowel(w->at, w->n - n)) continue;
        w->n -= n;
        mend(w);
        return;
    }
}

static void end_in_i(word *w)
{
    if (ends(w, "y") && w->n > 2 && is_consonant(w->at, w->n - 2)) w->at[w->n - 1] = 'i';
}

static void double_suffix(word *w)
{
    static const rule rules[] = {
        { "ational", "ate", 0 }, { "tional", "tion", 0 }, { "enci", "ence", 0 }, { "anci", "ance", 0 }, { "izer", "ize", 0 },
        { "bli", "ble", 0 }, { "alli", "al", 0 }, { "entli", "ent", 0 }, { "eli", "e", 0 }, { "ousli", "ous", 0 },
        { "ization", "ize", 0 }, { "ation", "ate", 0 }, { "ator", "ate", 0 }, { "alism", "al", 0 }, { "iveness", "ive", 0 },
        { "fulness", "ful", 0 }, { "ousness", "ous", 0 }, { "aliti", "al", 0 }, { "iviti", "ive", 0 }, { "biliti", "ble", 0 },
        { "fulli", "ful", 0 },
    };
    if (ends(w, "alli") && measure(w->at, w->n - 4) > 0) {
        put(w, 4, "al");
        double_suffix(w);
    } else if (ends(w, "logi")) {
        w->n -= measure(w->at, w->n - 3) > 0;
    } else {
        APPLY(w, rules);
    }
}

static void more_suffixes(word *w)
{
    static const rule third[] = {
        { "icate", "ic", 0 }, { "ative", "", 0 }, { "alize", "al", 0 }, { "iciti", "ic", 0 }, { "ical", "ic", 0 },
        { "ful", "", 0 }, { "ness", "", 0 },
    };
    static const rule fourth[] = {
        { "al", "", 1 }, { "ance", "", 1 }, { "ence", "", 1 }, { "er", "", 1 }, { "ic", "", 1 }, { "able", "", 1 },
        { "ible", "", 1 }, { "ant", "", 1 }, { "ement", "", 1 }, { "ment", "", 1 }, { "ent", "", 1 }, { "ou", "", 1 },
        { "ism", "", 1 }, { "ate", "", 1 }, { "iti", "", 1 }, { "ous", "", 1 }, { "ive", "", 1 }, { "ize", "", 1 },
    };
    APPLY(w, third);
    if (!ends(w, "ion")) APPLY(w, fourth);
    else if (w->n > 3 && strchr("st", w->at[w->n - 4]) && measure(w->at, w->n - 3) > 1) w->n -= 3;
}

static void tidy(word *w)
{
    if (ends(w, "e")) {
        int m = measure(w->at, w->n - 1);
        w->n -= m > 1 || (m == 1 && !ends_short(w->at, w->n - 1));
    }
    if (ends(w, "ll") && measure(w->at, w->n - 1) > 1) w->n--;
}

static bool irregular(word *w)
{
    static const char *const table[][2] = {
        { "sky", "sky" }, { "skies", "sky" }, { "dying", "die" }, { "lying", "lie" }, { "tying", "tie" }, { "news", "news" },
        { "innings", "inning" }, { "inning", "inning" }, { "outings", "outing" }, { "outing", "outing" },
        { "cannings", "canning" }, { "canning", "canning" }, { "howe", "howe" }, { "proceed", "proceed" },
        { "exceed", "exceed" }, { "succeed", "succeed" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if ((size_t)w->n == strlen(table[i][0]) && ends(w, table[i][0])) {
            put(w, w->n, table[i][1]);
            return true;
        }
    return false;
}

int genet__porter_stem(char *text, int n)
{
    word w = { text, n };
    if (n <= 2 || irregular(&w)) return w.n;
    plural(&w);
    past(&w);
    end_in_i(&w);
    double_suffix(&w);
    more_suffixes(&w);
    tidy(&w);
    return w.n;
}
