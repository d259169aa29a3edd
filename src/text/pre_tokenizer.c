/* pre_tokenizer.c - the pre-tokenizers of tokenizer.json: a piece of text is cut, and what comes of it is handed to the
 * next stage at once.
 *
 * All are matches and what lies between them, put together by one of five behaviours; those that go by character classes
 * look at each character once, Split by regular expression asks PCRE2.  Metaspace and ByteLevel write text anew before. */
#include "base/err.h"
#include "text/space.h"
#include "text/tokenizer_pipeline.h"

/* --- matches and what becomes of them ----------------------------------------------------------------------------- */

typedef struct splitter {
    token_run        *r;
    const token_text *piece;
    int    stage, behavior;
    bool   inverted, held, held_match;
    size_t begin, end;              /* what is held back until its successor is known */
} splitter;

static bool give(const splitter *s, size_t begin, size_t end)
{
    token_text t = genet__token_text_slice(s->piece, begin, end);
    return genet__give(s->r, s->stage + 1, &t);
}

static bool flush(splitter *s)
{
    bool held = s->held;
    s->held = false;
    return !held || give(s, s->begin, s->end);
}

/* Does [held] go on with what follows it? */
static bool joins(const splitter *s, bool match)
{
    if (!s->held) return false;
    if (s->behavior == SPLIT_CONTIGUOUS) return match == s->held_match;
    if (s->behavior == SPLIT_WITH_PREVIOUS) return match && !s->held_match;
    return s->behavior == SPLIT_WITH_NEXT && !match && s->held_match;
}

/* The next stretch, in order.  Two texts in a row are two. */
static inline bool feed(splitter *s, size_t begin, size_t end, bool match)
{
    match ^= s->inverted;
    if (s->behavior == SPLIT_ISOLATED) return give(s, begin, end);
    if (s->behavior == SPLIT_REMOVED) return match || give(s, begin, end);
    if (joins(s, match)) {
        s->end = end;
        s->held_match = match;
        return true;
    }
    TRY(flush(s));
    s->begin = begin, s->end = end;
    s->held = true, s->held_match = match;
    return true;
}

typedef bool char_test(uint32_t c, const part *p);

/* Each character that passes is a match. */
static bool split_by_test(splitter *s, char_test *test, const part *p)
{
    const token_text *t = s->piece;
    uint32_t c;
    size_t begin = 0, i = 0;
    while (i < t->n) {
        size_t k = (size_t)genet__char_at(t->s + i, t->n - i, &c);
        if (test(c, p)) {
            if (begin < i) TRY(feed(s, begin, i, false));
            TRY(feed(s, i, i + k, true));
            begin = i + k;
        }
        i += k;
    }
    if (begin < i) TRY(feed(s, begin, i, false));
    return flush(s);
}

/* --- Split -------------------------------------------------------------------------------------------------------- */

static bool feed_match(void *user, const char *text, size_t n, bool match)
{
    splitter *s = user;
    size_t begin = (size_t)(text - s->piece->s);
    return feed(s, begin, begin + n, match);
}

static bool split_by_string(splitter *s, const char *string)
{
    const token_text *t = s->piece;
    size_t k = strlen(string), i = 0;
    for (const char *at; (at = memmem(t->s + i, t->n - i, string, k));) {
        size_t begin = (size_t)(at - t->s);
        if (begin > i) TRY(feed(s, i, begin, false));
        TRY(feed(s, begin, begin + k, true));
        i = begin + k;
    }
    if (i < t->n) TRY(feed(s, i, t->n, false));
    return flush(s);
}

/* The empty string is found beside each character: what is left of the text is single characters. */
static bool split_all(splitter *s)
{
    uint32_t c;
    for (size_t i = 0, k; i < s->piece->n; i += k) {
        k = (size_t)genet__char_at(s->piece->s + i, s->piece->n - i, &c);
        TRY(give(s, i, i + k));
    }
    return true;
}

static bool split(const part *p, const token_text *t, token_run *r, int stage)
{
    splitter s = { .r = r, .piece = t, .stage = stage, .behavior = p->behavior, .inverted = p->invert };
    if (p->string) return *p->string ? split_by_string(&s, p->string) : split_all(&s);
    return genet__pattern_split(p->regex, t->s, t->n, feed_match, &s, &r->match, r->err) && flush(&s);
}

static bool finish_split(part *p, arena *a, genet_err *err)
{
    (void)a;
    bool plain = !p->invert && (p->behavior == SPLIT_ISOLATED || p->behavior == SPLIT_REMOVED);
    return !p->string || *p->string || plain ||
           genet__err_set(err, GENET_ERR_FORMAT, "the empty pattern with another behavior than Isolated or Removed is not "
                                                 "known to this version");
}

/* --- by classes of characters ------------------------------------------------------------------------------------- */

/* White space removed, punctuation by itself. */
static bool split_bert(const part *p, const token_text *t, token_run *r, int stage)
{
    splitter s = { .r = r, .piece = t, .stage = stage };
    uint32_t c;
    size_t begin = 0, i = 0;
    (void)p;
    while (i < t->n) {
        size_t k = (size_t)genet__char_at(t->s + i, t->n - i, &c);
        bool space = genet__space_is(c);
        if (space || genet__is_punctuation(c)) {
            if (begin < i) TRY(give(&s, begin, i));
            if (!space) TRY(give(&s, i, i + k));
            begin = i + k;
        }
        i += k;
    }
    return begin == i || give(&s, begin, i);
}

/* Runs of word characters, and runs of what is neither that nor white space. */
static bool split_whitespace(const part *p, const token_text *t, token_run *r, int stage)
{
    enum { SPACE, WORD, OTHER };
    splitter s = { .r = r, .piece = t, .stage = stage };
    uint32_t c;
    size_t begin = 0, i = 0;
    int last = SPACE;
    (void)p;
    while (i < t->n) {
        size_t k = (size_t)genet__char_at(t->s + i, t->n - i, &c);
        int now = genet__space_is(c) ? SPACE : genet__is_word(c) ? WORD : OTHER;
        if (now != last) {
            if (last != SPACE) TRY(give(&s, begin, i));
            begin = i;
            last = now;
        }
        i += k;
    }
    return last == SPACE || give(&s, begin, i);
}

static bool split_whitespace_only(const part *p, const token_text *t, token_run *r, int stage)
{
    splitter s = { .r = r, .piece = t, .stage = stage };
    (void)p;
    for (size_t i = 0, begin, space; i < t->n;) {
        while (i < t->n && (space = genet__space_at(t->s + i, t->n - i))) i += space;
        for (begin = i; i < t->n && !genet__space_at(t->s + i, t->n - i);) i++;
        if (begin < i) TRY(give(&s, begin, i));
    }
    return true;
}

static bool test_digit(uint32_t c, const part *p) { (void)p; return genet__is_numeric(c); }
static bool test_punctuation(uint32_t c, const part *p) { (void)p; return genet__is_punctuation(c); }
static bool test_character(uint32_t c, const part *p) { return c == p->character; }

static bool split_digits(const part *p, const token_text *t, token_run *r, int stage)
{
    splitter s = { .r = r, .piece = t, .stage = stage, .behavior = p->individual_digits ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS };
    return split_by_test(&s, test_digit, p);
}

static bool split_punctuation(const part *p, const token_text *t, token_run *r, int stage)
{
    splitter s = { .r = r, .piece = t, .stage = stage, .behavior = p->behavior };
    return split_by_test(&s, test_punctuation, p);
}

static bool split_delimiter(const part *p, const token_text *t, token_run *r, int stage)
{
    splitter s = { .r = r, .piece = t, .stage = stage, .behavior = SPLIT_REMOVED };
    return split_by_test(&s, test_character, p);
}

static bool split_length(const part *p, const token_text *t, token_run *r, int stage)
{
    splitter s = { .r = r, .piece = t, .stage = stage };
    uint32_t c;
    for (size_t i = 0, begin; i < t->n;) {
        begin = i;
        for (int64_t k = 0; k < p->length && i < t->n; k++) i += (size_t)genet__char_at(t->s + i, t->n - i, &c);
        TRY(give(&s, begin, i));
    }
    return true;
}

static bool finish_length(part *p, arena *a, genet_err *err)
{
    (void)a;
    return p->length > 0 || genet__err_set(err, GENET_ERR_FORMAT, "the length must be 1 or more");
}

/* --- those that write text anew ----------------------------------------------------------------------------------- */

/* Spaces become the character, one is put before; then each goes with what follows it. */
static bool split_metaspace(const part *p, const token_text *t, token_run *r, int stage)
{
    text_buffer *b = &r->scratch[2 * stage];
    char mark[5] = "";
    size_t n_mark = (size_t)genet__char_put(p->character, mark), done = 0;
    bool marked = t->s[0] == ' ' || (t->n >= n_mark && !memcmp(t->s, mark, n_mark));
    genet__text_buffer_clear(b);
    if (!marked && (p->prepend_scheme == PREPEND_ALWAYS || (p->prepend_scheme == PREPEND_FIRST && t->front)))
        genet__text_put(b, t, p->character, 0);
    for (const char *at; (at = memchr(t->s + done, ' ', t->n - done));) {
        size_t i = (size_t)(at - t->s);
        genet__text_copy(b, t, done, i);
        genet__text_put(b, t, p->character, i);
        done = i + 1;
    }
    genet__text_copy(b, t, done, t->n);
    if (b->failed) return genet__err_memory(r->err);
    token_text all = genet__text_buffer_view(b, t->origin != NULL);
    if (!p->split) return genet__give(r, stage + 1, &all);
    splitter s = { .r = r, .piece = &all, .stage = stage, .behavior = SPLIT_WITH_NEXT };
    return split_by_string(&s, mark);
}

/* Older files say add_prefix_space, which must not contradict. */
static bool finish_metaspace(part *p, arena *a, genet_err *err)
{
    (void)a;
    return p->add_prefix_space || p->prepend_scheme == PREPEND_NEVER ||
           genet__err_set(err, GENET_ERR_FORMAT, "add_prefix_space is false, but prepend_scheme is not \"never\"");
}

void genet__byte_letters(const token_text *in, text_buffer *out)
{
    for (size_t i = 0; i < in->n; i++) genet__text_put(out, in, genet__byte_letter((unsigned char)in->s[i]), i);
}

static bool takes_bytes(const token_run *r, int stage)
{
    const pipeline *p = r->t->table;
    return p->takes_bytes && stage == p->n_stage - 1;
}

/* A piece as the model wants it: bytes where it takes them, letters else. */
static bool give_bytes(token_run *r, int stage, const token_text *t)
{
    if (takes_bytes(r, stage)) return genet__give(r, stage + 1, t);
    text_buffer *b = &r->scratch[2 * stage + 1];
    genet__text_buffer_clear(b);
    genet__byte_letters(t, b);
    if (b->failed) return genet__err_memory(r->err);
    token_text letters = genet__text_buffer_view(b, t->origin != NULL);
    return genet__give(r, stage + 1, &letters);
}

static bool give_match(void *user, const char *text, size_t n, bool match)
{
    splitter *s = user;
    size_t begin = (size_t)(text - s->piece->s);
    token_text t = genet__token_text_slice(s->piece, begin, begin + n);
    (void)match;
    return give_bytes(s->r, s->stage, &t);
}

/* The same on the shortest way: ids alone, of a model that takes bytes. */
static bool encode_match(void *user, const char *text, size_t n, bool match)
{
    token_run *r = user;
    const pipeline *p = r->t->table;
    (void)match;
    if (p->row->encode(p->model, text, n, &r->sink, r->err)) return true;
    r->bad = text;
    return false;
}

static bool split_byte_level(const part *p, const token_text *t, token_run *r, int stage)
{
    text_buffer *b = &r->scratch[2 * stage];
    token_text spaced = *t;
    if (p->add_prefix_space && t->s[0] != ' ') {
        genet__text_buffer_clear(b);
        genet__text_put(b, t, ' ', 0);
        genet__text_copy(b, t, 0, t->n);
        if (b->failed) return genet__err_memory(r->err);
        spaced = genet__text_buffer_view(b, t->origin != NULL);
    }
    if (!p->use_regex) return give_bytes(r, stage, &spaced);
    splitter s = { .r = r, .piece = &spaced, .stage = stage };
    bool direct = !r->origins && takes_bytes(r, stage);
    return genet__pattern_split(p->regex, spaced.s, spaced.n, direct ? encode_match : give_match, direct ? (void *)r : (void *)&s,
                                &r->match, r->err);
}

static bool finish_byte_level(part *p, arena *a, genet_err *err)
{
    (void)a;
    p->regex = genet__pattern_gpt2(err);
    return p->regex != NULL;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

#define BEHAVIORS "Removed|Isolated|MergedWithPrevious|MergedWithNext|Contiguous"
static const part_field byte_level_fields[] = {
    PART_FIELD(add_prefix_space, bool), { "trim_offsets", &genet__part_bool, offsetof(part, trim_offsets), NULL, 1, true },
    { "use_regex", &genet__part_bool, offsetof(part, use_regex), NULL, 1, true }, { 0 },
};
static const part_field split_fields[] = {
    { "pattern", &genet__part_pattern, 0, NULL, 0, false },
    { "behavior", &genet__part_choice, offsetof(part, behavior), BEHAVIORS, 0, false }, PART_FIELD(invert, bool), { 0 },
};
static const part_field punctuation_fields[] = {
    { "behavior", &genet__part_choice, offsetof(part, behavior), BEHAVIORS, SPLIT_ISOLATED, true }, { 0 },
};
static const part_field digits_fields[] = { PART_FIELD(individual_digits, bool), { 0 } };
static const part_field delimiter_fields[] = { { "delimiter", &genet__part_char, offsetof(part, character), NULL, 0, false },
                                               { 0 } };
static const part_field length_fields[] = { { "length", &genet__part_int, offsetof(part, length), NULL, 5, true }, { 0 } };
static const part_field metaspace_fields[] = {
    { "replacement", &genet__part_char, offsetof(part, character), NULL, 0, false },
    { "prepend_scheme", &genet__part_choice, offsetof(part, prepend_scheme), "first|never|always", PREPEND_ALWAYS, true },
    { "split", &genet__part_bool, offsetof(part, split), NULL, 1, true },
    { "add_prefix_space", &genet__part_old_bool, offsetof(part, add_prefix_space), NULL, 1, true },
    { "str_rep", &genet__part_ignored, 0, NULL, 0, true }, { 0 },
};
static const part_field sequence_fields[] = { { "pretokenizers", &genet__part_children, 0, NULL, 0, false }, { 0 } };

static const part_kind kinds[] = {
    { .type = "BertPreTokenizer", .split = split_bert },
    { .type = "ByteLevel", .field = byte_level_fields, .split = split_byte_level, .finish = finish_byte_level },
    { .type = "CharDelimiterSplit", .field = delimiter_fields, .split = split_delimiter },
    { .type = "Digits", .field = digits_fields, .split = split_digits },
    { .type = "FixedLength", .field = length_fields, .split = split_length, .finish = finish_length },
    { .type = "Metaspace", .field = metaspace_fields, .split = split_metaspace, .finish = finish_metaspace },
    { .type = "Punctuation", .field = punctuation_fields, .split = split_punctuation },
    { .type = "Sequence", .field = sequence_fields },
    { .type = "Split", .field = split_fields, .split = split, .finish = finish_split },
    { .type = "Whitespace", .split = split_whitespace },
    { .type = "WhitespaceSplit", .split = split_whitespace_only },
};
const part_place genet__pre_tokenizers = { "pre_tokenizer", kinds, sizeof kinds / sizeof *kinds };
