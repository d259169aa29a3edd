/* jinja_case.c - letters of two sizes: upper(), lower(), capitalize(), title().
 *
 * By rule for Latin, Greek, Cyrillic and Armenian (UnicodeData.txt's simple mappings, which lie in a few regular
 * rows), and the letters whose mapping is no single letter; others stay as they are. */
#include "base/err.h"
#include "text/jinja_tree.h"

/* Rows of capitals first..last: step 1: each letter's small one is `to` away; 2: capital and small alternate. */
static const struct { uint32_t first, last, step; int32_t to; } rows[] = {
    { 'A', 'Z', 1, 32 }, { 0xc0, 0xd6, 1, 32 }, { 0xd8, 0xde, 1, 32 }, { 0x100, 0x12e, 2, 1 }, { 0x132, 0x136, 2, 1 },
    { 0x139, 0x147, 2, 1 }, { 0x14a, 0x176, 2, 1 }, { 0x178, 0x178, 1, -121 }, { 0x179, 0x17d, 2, 1 },
    { 0x386, 0x386, 1, 38 }, { 0x388, 0x38a, 1, 37 }, { 0x38c, 0x38c, 1, 64 }, { 0x38e, 0x38f, 1, 63 },
    { 0x391, 0x3a1, 1, 32 }, { 0x3a3, 0x3ab, 1, 32 }, { 0x400, 0x40f, 1, 80 }, { 0x410, 0x42f, 1, 32 },
    { 0x460, 0x480, 2, 1 }, { 0x48a, 0x4be, 2, 1 }, { 0x4c0, 0x4c0, 1, 15 }, { 0x4c1, 0x4cd, 2, 1 },
    { 0x4d0, 0x52e, 2, 1 }, { 0x531, 0x556, 1, 48 }, { 0x1e00, 0x1e94, 2, 1 }, { 0x1ea0, 0x1efe, 2, 1 },
    { 0xff21, 0xff3a, 1, 32 },
};
enum { N_ROWS = sizeof rows / sizeof *rows };

uint32_t genet__jinja_to_lower(uint32_t c)
{
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    for (int i = 0; i < N_ROWS; i++)
        if (c >= rows[i].first && c <= rows[i].last && (c - rows[i].first) % rows[i].step == 0)
            return (uint32_t)((int32_t)c + rows[i].to);
    return c;
}

uint32_t genet__jinja_to_upper(uint32_t c)
{
    if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
    static const uint32_t odd[][2] = { { 0xb5, 0x39c }, { 0x131, 'I' }, { 0x17f, 'S' }, { 0x3c2, 0x3a3 }, { 0x1e9b, 0x1e60 } };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        if (c == odd[i][0]) return odd[i][1];
    for (int i = 0; i < N_ROWS; i++) {
        uint32_t big = (uint32_t)((int32_t)c - rows[i].to);
        if (big >= rows[i].first && big <= rows[i].last && (big - rows[i].first) % rows[i].step == 0) return big;
    }
    return c;
}

static bool is_big(uint32_t c) { return genet__jinja_to_lower(c) != c || c == 0x130; }

static bool is_small(uint32_t c) { return genet__jinja_to_upper(c) != c || c == 0xdf; }

static void add_char(buffer *b, uint32_t c)
{
    char text[4];
    genet__jinja_add(b, text, (size_t)genet__utf8_encode(c, text));
}

/* c in this size; first: of a word, where a letter that becomes two has one big one. */
static void add_sized(buffer *b, uint32_t c, bool big, bool first)
{
    if (big && c == 0xdf) genet__jinja_add(b, first ? "Ss" : "SS", 2);
    else if (big && c == 0x149) genet__jinja_add(b, "\xca\xbcN", 3);
    else if (!big && c == 0x130) genet__jinja_add(b, "i\xcc\x87", 3);
    else add_char(b, big ? genet__jinja_to_upper(c) : genet__jinja_to_lower(c));
}

/* Text of the value with every letter in the size that `big` says of it. */
typedef enum sizes { ALL_SMALL, ALL_BIG, FIRST_BIG, TITLE } sizes;
static bool resize(call *c, sizes how, value *out)
{
    value s;
    buffer text = { .r = c->r };
    TRY(genet__jinja_str(c->r, &c->self, &s));
    bool inside = false;                                        /* of a word */
    for (uint32_t i = 0; i < s.n && !c->r->failed;) {
        uint32_t ch = 0;
        int k = genet__utf8_decode(s.s + i, s.n - i, &ch);
        if (k <= 0) break;
        bool big = how == ALL_BIG || (how == FIRST_BIG && i == 0) || (how == TITLE && !inside);
        add_sized(&text, ch, big, how != ALL_BIG);
        inside = is_big(ch) || is_small(ch);
        i += (uint32_t)k;
    }
    return genet__jinja_text(&text, out);
}

bool genet__jinja_upper(call *c, value *out) { return resize(c, ALL_BIG, out); }

bool genet__jinja_lower(call *c, value *out) { return resize(c, ALL_SMALL, out); }

bool genet__jinja_capitalize(call *c, value *out) { return resize(c, FIRST_BIG, out); }

bool genet__jinja_title(call *c, value *out) { return resize(c, TITLE, out); }

/* The filter's own rule: words begin behind white space and - ( { [ <. */
bool genet__jinja_title_words(call *c, value *out)
{
    value s;
    buffer text = { .r = c->r };
    TRY(genet__jinja_str(c->r, &c->self, &s));
    bool begins = true;
    for (uint32_t i = 0; i < s.n && !c->r->failed;) {
        uint32_t ch = 0;
        int k = genet__utf8_decode(s.s + i, s.n - i, &ch);
        if (k <= 0) break;
        add_sized(&text, ch, begins, false);
        begins = jinja_is_space(ch) || (ch < 0x80 && ch && strchr("-({[<", (int)ch));
        i += (uint32_t)k;
    }
    return genet__jinja_text(&text, out);
}

bool genet__jinja_is_cased(const value *v, bool upper)
{
    bool any = false;
    for (uint32_t i = 0; i < v->n;) {
        uint32_t c = 0;
        int k = genet__utf8_decode(v->s + i, v->n - i, &c);
        if (k <= 0) break;
        if (upper ? is_small(c) : is_big(c)) return false;
        any |= is_small(c) || is_big(c);
        i += (uint32_t)k;
    }
    return any;
}
