/* decoder.c - the decoders of tokenizer.json: the strings of tokens on their way back to text. */
#include <stdlib.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/token_strings.h"
#include "text/tokenizer_part.h"

/* --- lists of strings --------------------------------------------------------------------------------------------- */

void genet__strings_clear(token_strings *s)
{
    genet__str_clear(&s->bytes);
    s->n = 0;
}

void genet__strings_release(token_strings *s)
{
    genet__str_release(&s->bytes);
    genet__free(s->end);
    genet__pattern_scratch_release(s->scratch);
    *s = (token_strings){ 0 };
}

void genet__strings_end(token_strings *s)
{
    s->failed |= s->bytes.failed || !GROW(s->end, s->n, s->cap);
    if (!s->failed) s->end[s->n++] = s->bytes.n;
}

static void add(token_strings *s, const char *bytes, size_t n)
{
    genet__str_add_n(&s->bytes, bytes, n);
    genet__strings_end(s);
}

/* Append s with every `from` made `to`; an empty `from` changes nothing. */
static void add_replaced(str *out, const char *s, size_t n, const char *from, const char *to)
{
    size_t k = strlen(from), i = 0;
    for (const char *at; k && (at = memmem(s + i, n - i, from, k));) {
        genet__str_add_n(out, s + i, (size_t)(at - (s + i)));
        genet__str_add(out, to);
        i = (size_t)(at - s) + k;
    }
    genet__str_add_n(out, s + i, n - i);
}

/* --- decoders ------------------------------------------------------------------------------------------------------ */

/* Letters of the byte alphabet become bytes; a token with any other character stands as it is. */
static bool byte_level(const part *p, const token_strings *in, token_strings *out)
{
    (void)p;
    for (int i = 0; i < in->n; i++) {
        size_t n, from = out->bytes.n;
        const char *s = genet__strings_at(in, i, &n);
        for (size_t at = 0, k; at < n; at += k) {
            uint32_t c;
            k = (size_t)genet__char_at(s + at, n - at, &c);
            int byte = genet__letter_byte(c);
            if (byte < 0) {
                out->bytes.n = from;
                genet__str_add_n(&out->bytes, s, n);
                break;
            }
            genet__str_add_n(&out->bytes, &(char){ (char)byte }, 1);
        }
    }
    genet__strings_end(out);
    return true;
}

/* Spaces before punctuation go, and those in some contractions. */
static void clean_up(const char *s, size_t n, str *out)
{
    static const char *const rules[][2] = {
        { " .", "." }, { " ?", "?" }, { " !", "!" }, { " ,", "," }, { " ' ", "'" }, { " n't", "n't" }, { " 'm", "'m" },
        { " do not", " don't" }, { " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" },
    };
    str turn[2] = { { 0 }, { 0 } };
    genet__str_add_n(&turn[0], s, n);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        str *from = &turn[i & 1], *to = &turn[!(i & 1)];
        genet__str_clear(to);
        add_replaced(to, genet__str(from), from->n, rules[i][0], rules[i][1]);
    }
    const str *last = &turn[sizeof rules / sizeof *rules & 1];
    out->failed |= turn[0].failed || turn[1].failed;
    genet__str_add_n(out, genet__str(last), last->n);
    genet__str_release(&turn[0]);
    genet__str_release(&turn[1]);
}

/* A space before each token but the first, unless it goes on with a word. */
static bool wordpiece(const part *p, const token_strings *in, token_strings *out)
{
    size_t k = strlen(p->prefix);
    str word = { 0 };
    for (int i = 0; i < in->n; i++) {
        size_t n;
        const char *s = genet__strings_at(in, i, &n);
        bool goes_on = i && n >= k && !memcmp(s, p->prefix, k);
        genet__str_clear(&word);
        if (i && !goes_on) genet__str_add(&word, " ");
        genet__str_add_n(&word, s + (goes_on ? k : 0), n - (goes_on ? k : 0));
        if (p->cleanup) clean_up(genet__str(&word), word.n, &out->bytes);
        else genet__str_add_n(&out->bytes, genet__str(&word), word.n);
        genet__strings_end(out);
    }
    out->failed |= word.failed;
    genet__str_release(&word);
    return true;
}

static bool metaspace(const part *p, const token_strings *in, token_strings *out)
{
    for (int i = 0; i < in->n; i++) {
        size_t n;
        const char *s = genet__strings_at(in, i, &n);
        for (size_t at = 0, k; at < n; at += k) {
            uint32_t c;
            k = (size_t)genet__char_at(s + at, n - at, &c);
            if (c != p->character) genet__str_add_n(&out->bytes, s + at, k);
            else if (i || p->prepend_scheme == PREPEND_NEVER) genet__str_add(&out->bytes, " ");
        }
        genet__strings_end(out);
    }
    return true;
}

/* A suffix is a word's end. */
static bool bpe(const part *p, const token_strings *in, token_strings *out)
{
    for (int i = 0; i < in->n; i++) {
        size_t n;
        const char *s = genet__strings_at(in, i, &n);
        add_replaced(&out->bytes, s, n, p->suffix, i + 1 < in->n ? " " : "");
        genet__strings_end(out);
    }
    return true;
}

/* The byte of "<0x0A>", or -1. */
static int byte_of(const char *s, size_t n)
{
    if (n != 6 || memcmp(s, "<0x", 3) || s[5] != '>') return -1;
    int byte = 0;
    for (int i = 3; i < 5; i++) {
        char c = s[i], low = (char)(c | 0x20);
        if (c >= '0' && c <= '9') byte = 16 * byte + c - '0';
        else if (low >= 'a' && low <= 'f') byte = 16 * byte + low - 'a' + 10;
        else return -1;
    }
    return byte;
}

/* The bytes gathered since `from`, of n tokens: one string of text, or a mark for each. */
static void end_bytes(token_strings *out, size_t from, int n)
{
    uint32_t c;
    bool text = true;
    if (n == 0 || out->bytes.failed) return;
    for (size_t i = from; text && i < out->bytes.n;) {
        int k = genet__utf8_decode(out->bytes.at + i, out->bytes.n - i, &c);
        text = k > 0;
        i += (size_t)k;
    }
    if (text || out->raw) {
        genet__strings_end(out);
        return;
    }
    out->bytes.n = from;
    for (int i = 0; i < n; i++) add(out, "\xef\xbf\xbd", 3);
}

static bool byte_fallback(const part *p, const token_strings *in, token_strings *out)
{
    int n_bytes = 0;
    size_t from = 0;
    (void)p;
    for (int i = 0; i < in->n; i++) {
        size_t n;
        const char *s = genet__strings_at(in, i, &n);
        int byte = byte_of(s, n);
        if (byte >= 0) {
            if (n_bytes++ == 0) from = out->bytes.n;
            genet__str_add_n(&out->bytes, &(char){ (char)byte }, 1);
            continue;
        }
        end_bytes(out, from, n_bytes);
        n_bytes = 0;
        add(out, s, n);
    }
    end_bytes(out, from, n_bytes);
    return true;
}

static bool fuse(const part *p, const token_strings *in, token_strings *out)
{
    (void)p;
    add(out, genet__str(&in->bytes), in->bytes.n);
    return true;
}

/* Up to start of a character at the beginning, and stop at the end. */
static bool strip(const part *p, const token_strings *in, token_strings *out)
{
    char mark[4];
    size_t k = (size_t)genet__char_put(p->character, mark);
    for (int i = 0; i < in->n; i++) {
        size_t n, begin = 0;
        const char *s = genet__strings_at(in, i, &n);
        size_t end = n;
        for (int64_t c = 0; c < p->start && n - begin >= k && !memcmp(s + begin, mark, k); c++) begin += k;
        for (int64_t c = 0; c < p->stop && end >= begin + k && !memcmp(s + end - k, mark, k); c++) end -= k;
        add(out, s + begin, end - begin);
    }
    return true;
}

typedef struct replacing { const part *p; str *out; } replacing;

static bool replace_match(void *user, const char *s, size_t n, bool match)
{
    const replacing *r = user;
    if (match) genet__str_add(r->out, r->p->content);
    else genet__str_add_n(r->out, s, n);
    return true;
}

static bool replace(const part *p, const token_strings *in, token_strings *out)
{
    replacing r = { p, &out->bytes };
    for (int i = 0; i < in->n; i++) {
        size_t n;
        const char *s = genet__strings_at(in, i, &n);
        if (!p->regex) add_replaced(&out->bytes, s, n, p->string, p->content);
        else TRY(genet__pattern_split(p->regex, s, n, replace_match, &r, &out->scratch, NULL));
        genet__strings_end(out);
    }
    return true;
}

/* Connectionist temporal classification: of equal neighbours one is left, and the padding goes. */
static bool ctc(const part *p, const token_strings *in, token_strings *out)
{
    str token = { 0 }, clean = { 0 };
    const char *last = NULL;
    size_t n_last = 0;
    for (int i = 0; i < in->n; i++) {
        size_t n;
        const char *s = genet__strings_at(in, i, &n);
        bool same = last && n == n_last && !memcmp(s, last, n);
        last = s, n_last = n;
        if (same) continue;
        genet__str_clear(&token);
        genet__str_clear(&clean);
        add_replaced(&token, s, n, p->pad_token, "");
        if (p->cleanup) {
            clean_up(genet__str(&token), token.n, &clean);
            genet__str_clear(&token);
            add_replaced(&token, genet__str(&clean), clean.n, p->word_delimiter_token, " ");
        }
        if (token.n) add(out, token.at, token.n);
    }
    out->failed |= token.failed || clean.failed;
    genet__str_release(&token);
    genet__str_release(&clean);
    return true;
}

/* --- the table ------------------------------------------------------------------------------------------------------ */

static const part_field byte_level_fields[] = {
    { "add_prefix_space", &genet__part_bool, offsetof(part, add_prefix_space), NULL, 1, true },
    { "trim_offsets", &genet__part_bool, offsetof(part, trim_offsets), NULL, 1, true },
    { "use_regex", &genet__part_bool, offsetof(part, use_regex), NULL, 1, true }, { 0 },
};
static const part_field wordpiece_fields[] = { PART_FIELD(prefix, string), PART_FIELD(cleanup, bool), { 0 } };
static const part_field metaspace_fields[] = {
    { "replacement", &genet__part_char, offsetof(part, character), NULL, 0, false },
    { "prepend_scheme", &genet__part_choice, offsetof(part, prepend_scheme), "first|never|always", PREPEND_ALWAYS, true },
    { "split", &genet__part_bool, offsetof(part, split), NULL, 1, true },
    { "add_prefix_space", &genet__part_old_bool, offsetof(part, add_prefix_space), NULL, 1, true },
    { "str_rep", &genet__part_ignored, 0, NULL, 0, true }, { 0 },
};
static const part_field bpe_fields[] = { PART_FIELD(suffix, string), { 0 } };
static const part_field strip_fields[] = { { "content", &genet__part_char, offsetof(part, character), NULL, 0, false },
                                           PART_FIELD(start, int), PART_FIELD(stop, int), { 0 } };
static const part_field replace_fields[] = { { "pattern", &genet__part_pattern, 0, NULL, 0, false },
                                             PART_FIELD(content, string), { 0 } };
static const part_field ctc_fields[] = { PART_FIELD(pad_token, string), PART_FIELD(word_delimiter_token, string),
                                         PART_FIELD(cleanup, bool), { 0 } };
static const part_field sequence_fields[] = { { "decoders", &genet__part_children, 0, NULL, 0, false }, { 0 } };

static const part_kind kinds[] = {
    { .type = "BPEDecoder", .field = bpe_fields, .decode = bpe },
    { .type = "ByteFallback", .decode = byte_fallback },
    { .type = "ByteLevel", .field = byte_level_fields, .decode = byte_level },
    { .type = "CTC", .field = ctc_fields, .decode = ctc },
    { .type = "Fuse", .decode = fuse },
    { .type = "Metaspace", .field = metaspace_fields, .decode = metaspace },
    { .type = "Replace", .field = replace_fields, .decode = replace },
    { .type = "Sequence", .field = sequence_fields },
    { .type = "Strip", .field = strip_fields, .decode = strip },
    { .type = "WordPiece", .field = wordpiece_fields, .decode = wordpiece },
};
const part_place genet__decoders = { "decoder", kinds, sizeof kinds / sizeof *kinds };
