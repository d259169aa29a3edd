/* normalizer.c - the normalizers of tokenizer.json: text written anew, character by character.
 *
 * Each says of every character it writes from which byte it comes, so that offsets lead back to the user's text, and
 * says it as the tokenizers library does: a changed character comes from the one it replaces, one that is added comes from
 * the one before. */
#include <stdlib.h>
#include "base/err.h"
#include "text/space.h"
#include "text/tokenizer_pipeline.h"

/* --- character by character --------------------------------------------------------------------------------------- */

/* Controls dropped, white space made spaces, Chinese characters set between spaces (Devlin et al.'s BasicTokenizer). */
static bool is_chinese(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

/* Printable ASCII from i on stands as it is. */
static size_t plain_end(const token_text *in, size_t i)
{
    while (i < in->n && in->s[i] >= ' ' && in->s[i] < 0x7f) i++;
    return i;
}

static void clean(const part *p, const token_text *in, text_buffer *out)
{
    uint32_t c;
    for (size_t i = 0, k; i < in->n; i += k) {
        size_t end = plain_end(in, i);
        genet__text_copy(out, in, i, end);
        if ((i = end) == in->n) return;
        k = (size_t)genet__char_at(in->s + i, in->n - i, &c);
        if (p->clean_text && (c == 0 || c == 0xfffd || genet__is_control(c))) continue;
        if (p->clean_text && genet__space_is(c)) c = ' ';
        bool alone = p->handle_chinese_chars && is_chinese(c);
        if (alone) genet__text_put(out, in, ' ', i);
        genet__text_put(out, in, c, i);
        if (alone) genet__text_put(out, in, ' ', i);
    }
}

static void put_lower(text_buffer *out, const token_text *in, uint32_t c, size_t from)
{
    uint32_t lower[2];
    int n = genet__to_lower(c, lower);
    for (int i = 0; i < n; i++) genet__text_put(out, in, lower[i], from);
}

static bool lowercase(const part *p, const token_text *in, text_buffer *out, token_run *r)
{
    uint32_t c;
    (void)p, (void)r;
    for (size_t i = 0; i < in->n;) {
        int k = genet__char_at(in->s + i, in->n - i, &c);
        put_lower(out, in, c, i);
        i += (size_t)k;
    }
    return true;
}

static bool strip_accents(const part *p, const token_text *in, text_buffer *out, token_run *r)
{
    uint32_t c;
    (void)p, (void)r;
    for (size_t i = 0; i < in->n;) {
        size_t k = (size_t)genet__char_at(in->s + i, in->n - i, &c);
        if (!genet__is_combining_mark(c)) genet__text_copy(out, in, i, i + k);
        i += k;
    }
    return true;
}

/* SentencePiece's rules for machine translation: some controls dropped, what looks like a space made one. */
static bool nmt(const part *p, const token_text *in, text_buffer *out, token_run *r)
{
    uint32_t c;
    (void)p, (void)r;
    for (size_t i = 0, k; i < in->n; i += k) {
        k = (size_t)genet__char_at(in->s + i, in->n - i, &c);
        if ((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f) continue;
        bool space = c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
        genet__text_put(out, in, space ? ' ' : c, i);
    }
    return true;
}

static bool strip(const part *p, const token_text *in, text_buffer *out, token_run *r)
{
    size_t begin = 0, end = in->n;
    uint32_t c;
    (void)r;
    for (size_t k; p->strip_left && begin < end && (k = genet__space_at(in->s + begin, end - begin));) begin += k;
    for (size_t k; p->strip_right && end > begin && (k = genet__utf8_before(in->s, end, &c)) && genet__space_is(c);) end -= k;
    genet__text_copy(out, in, begin, end);
    return true;
}

static bool prepend(const part *p, const token_text *in, text_buffer *out, token_run *r)
{
    (void)r;
    if (in->n == 0) return true;
    for (const char *s = p->prepend; *s; s++) genet__text_put_bytes(out, in, s, 1, 0);
    genet__text_copy(out, in, 0, in->n);
    return true;
}

/* Each byte as its letter of the byte alphabet. */
static bool byte_letters(const part *p, const token_text *in, text_buffer *out, token_run *r)
{
    (void)p, (void)r;
    genet__byte_letters(in, out);
    return true;
}

/* --- replacing ---------------------------------------------------------------------------------------------------- */

typedef struct replacing { const part *p; const token_text *in; text_buffer *out; } replacing;

/* What replaces a match comes from its last byte. */
static void put_content(const replacing *w, size_t end)
{
    for (const char *s = w->p->content; *s; s++) genet__text_put_bytes(w->out, w->in, s, 1, end - 1);
}

static bool replace_match(void *user, const char *s, size_t n, bool match)
{
    const replacing *w = user;
    size_t begin = (size_t)(s - w->in->s);
    if (match) put_content(w, begin + n);
    else genet__text_copy(w->out, w->in, begin, begin + n);
    return true;
}

static bool replace(const part *p, const token_text *in, text_buffer *out, token_run *r)
{
    replacing w = { p, in, out };
    if (p->regex) return genet__pattern_split(p->regex, in->s, in->n, replace_match, &w, &r->match, r->err);
    size_t k = strlen(p->string), i = 0;
    for (const char *at; k && (at = memmem(in->s + i, in->n - i, p->string, k));) {
        size_t begin = (size_t)(at - in->s);
        genet__text_copy(out, in, i, begin);
        put_content(&w, begin + k);
        i = begin + k;
    }
    genet__text_copy(out, in, i, in->n);
    return true;
}

/* --- normal forms ------------------------------------------------------------------------------------------------- */

/* compatible, composed: which form; what is written is without nonspacing marks, in lower case. */
typedef struct form { bool compatible, composed, strips, lowers; } form;
typedef struct forming { form f; const token_text *in; text_buffer *out; token_run *r; size_t offset; int n; } forming;

/* Characters below are what they are in this form, unless what follows joins them. */
static bool is_settled(const form *f, uint32_t c)
{
    uint32_t limit = f->compatible ? 0xa0 : f->composed ? 0x300 : 0xc0;
    return c < limit || (c >= 0x300 && genet__is_inert(c) && !(f->strips && genet__is_nonspacing_mark(c)));
}

/* A character of the result, with the library's count of changes: 0 takes a character's place, 1 is one more, -n takes n
 * more with it.  offset is behind what was replaced until now. */
static void put_formed(forming *w, const normal_char *x)
{
    uint32_t c;
    size_t from = x->change > 0 && w->offset ? w->offset - 1 : w->offset;
    if (!(w->f.strips && genet__is_nonspacing_mark(x->c))) {
        if (w->f.lowers) put_lower(w->out, w->in, x->c, from);
        else genet__text_put(w->out, w->in, x->c, from);
    }
    for (int k = x->change; k <= 0 && w->offset < w->in->n; k++)
        w->offset += (size_t)genet__char_at(w->in->s + w->offset, w->in->n - w->offset, &c);
}

static bool add_char(forming *w, uint32_t c)
{
    uint32_t parts[DECOMPOSED_MAX];
    int k = genet__decompose(c, w->f.compatible, parts);
    if (!genet__grow(&w->r->cluster, &w->r->cap_cluster, w->n + k, sizeof *w->r->cluster)) return genet__err_memory(w->r->err);
    for (int i = 0; i < k; i++, w->n++)
        w->r->cluster[w->n] = (normal_char){ parts[i], i > 0, genet__combining_class(parts[i]), w->n };
    return true;
}

static int by_class(const void *a, const void *b)
{
    const normal_char *x = a, *y = b;
    return x->class != y->class ? x->class - y->class : x->order - y->order;
}

/* Marks behind each starter by their class, equal ones as they stood. */
static void sort_marks(normal_char *x, int n)
{
    for (int begin = 0, end; begin < n; begin = end) {
        bool sorted = true;
        for (end = begin; end < n && x[end].class; end++) sorted &= end == begin || x[end - 1].class <= x[end].class;
        if (!sorted) qsort(x + begin, (size_t)(end - begin), sizeof *x, by_class);
        if (end == begin) end++;
    }
}

/* Annex 15's composition: a mark joins the last starter unless one of its class or higher stands between. */
static void put_composed(forming *w, normal_char *x, int n)
{
    normal_char *starter = NULL;
    int last = -1, held = 0;            /* the class of the last mark that stayed; such marks, put behind the starter */
    for (int i = 0; i < n; i++) {
        uint32_t joined = starter && (last < 0 || last < x[i].class) ? genet__compose(starter->c, x[i].c) : 0;
        if (joined) {
            starter->c = joined;
            starter->change += x[i].change - 1;
        } else if (x[i].class == 0) {
            for (int k = 0; starter && k <= held; k++) put_formed(w, &starter[k]);
            starter = &x[i];
            last = -1, held = 0;
        } else if (!starter) {
            put_formed(w, &x[i]);
        } else {
            starter[++held] = x[i];
            last = x[i].class;
        }
    }
    for (int k = 0; starter && k <= held; k++) put_formed(w, &starter[k]);
}

/* Characters [begin, end) of which only the first may be settled; the next is. */
static bool put_cluster(forming *w, size_t begin, size_t end)
{
    uint32_t c;
    w->n = 0;
    w->offset = begin;
    for (size_t i = begin; i < end;) {
        i += (size_t)genet__char_at(w->in->s + i, end - i, &c);
        TRY(add_char(w, c));
    }
    sort_marks(w->r->cluster, w->n);
    if (w->f.composed) put_composed(w, w->r->cluster, w->n);
    else for (int i = 0; i < w->n; i++) put_formed(w, &w->r->cluster[i]);
    return true;
}

/* Settled characters [begin, end). */
static void put_settled(const forming *w, size_t begin, size_t end)
{
    uint32_t c;
    if (!w->f.lowers) {
        genet__text_copy(w->out, w->in, begin, end);
        return;
    }
    for (size_t i = begin; i < end;) {
        int k = genet__char_at(w->in->s + i, end - i, &c);
        put_lower(w->out, w->in, c, i);
        i += (size_t)k;
    }
}

/* Settled characters stand; around the others, with the one before, is a cluster. */
static bool write_form(form f, const token_text *in, text_buffer *out, token_run *r)
{
    forming w = { f, in, out, r, 0, 0 };
    uint32_t c;
    size_t done = 0, last = 0, i = 0;           /* written up to done; last: where the last settled one begins */
    while (i < in->n) {
        size_t k = (size_t)genet__char_at(in->s + i, in->n - i, &c), begin;
        if (is_settled(&f, c)) {
            last = i;
            i += k;
            continue;
        }
        begin = last < done ? done : last;
        if (i == done) begin = i;
        put_settled(&w, done, begin);
        while (i < in->n && !is_settled(&f, c)) {
            i += k;
            if (i < in->n) k = (size_t)genet__char_at(in->s + i, in->n - i, &c);
        }
        TRY(put_cluster(&w, begin, i));
        done = last = i;
    }
    put_settled(&w, done, in->n);
    return true;
}

#define FORM(name, compatible, composed) \
    static bool name(const part *p, const token_text *in, text_buffer *out, token_run *r) \
    { \
        (void)p; \
        return write_form((form){ compatible, composed, false, false }, in, out, r); \
    }
FORM(nfc, false, true)
FORM(nfd, false, false)
FORM(nfkc, true, true)
FORM(nfkd, true, false)

static bool bert(const part *p, const token_text *in, text_buffer *out, token_run *r)
{
    bool strips = p->strip_accents < 0 ? p->lowercase : p->strip_accents > 0;
    text_buffer *first = strips || p->lowercase ? &r->joined : out;
    genet__text_buffer_clear(first);
    clean(p, in, first);
    if (first == out) return true;
    if (first->failed) return genet__err_memory(r->err);
    token_text cleaned = genet__text_buffer_view(first, in->origin != NULL);
    return strips ? write_form((form){ false, false, true, p->lowercase }, &cleaned, out, r) : lowercase(p, &cleaned, out, r);
}

/* --- SentencePiece's table ---------------------------------------------------------------------------------------- */

/* The last character written waits for what its successor makes of it (see put_formed for change). */
typedef struct mapping { const part *p; forming w; bool waits; normal_char last; } mapping;

static void push(mapping *m, uint32_t c, int change)
{
    if (m->waits) put_formed(&m->w, &m->last);
    m->last = (normal_char){ c, change, 0, 0 };
    m->waits = true;
}

/* n_old characters become the n bytes at s: what is more is added behind, what is fewer goes with the last. */
static void push_replaced(mapping *m, const char *s, size_t n, int n_old)
{
    uint32_t c;
    int n_new = 0, k = 0;
    for (size_t i = 0; i < n; n_new++) i += (size_t)genet__char_at(s + i, n - i, &c);
    for (size_t i = 0; i < n; k++) {
        i += (size_t)genet__char_at(s + i, n - i, &c);
        push(m, c, n_new > n_old && k >= n_old);
    }
    if (n_new < n_old && m->waits) m->last.change += n_new - n_old;
}

static bool push_if_mapped(mapping *m, const char *s, size_t n, int n_chars)
{
    size_t length;
    const char *to = genet__charsmap_find(m->p->charsmap, s, n, &length);
    if (to) push_replaced(m, to, length, n_chars);
    return to != NULL;
}

/* The end of the grapheme cluster at i, and how many characters it has. */
static size_t cluster_end(const token_text *in, size_t i, int *n_chars)
{
    uint32_t a, b;
    int state = 0;
    i += (size_t)genet__char_at(in->s + i, in->n - i, &a);
    for (*n_chars = 1; i < in->n; ++*n_chars, a = b) {
        size_t k = (size_t)genet__char_at(in->s + i, in->n - i, &b);
        if (a < 0x80 && b < 0x80 ? !(a == '\r' && b == '\n') : genet__grapheme_break(a, b, &state)) break;
        i += k;
    }
    return i;
}

/* A short cluster is looked up as a whole first, then each of its characters. */
static bool precompiled(const part *p, const token_text *in, text_buffer *out, token_run *r)
{
    enum { CLUSTER_BYTES = 6 };
    mapping m = { .p = p, .w = { .in = in, .out = out, .r = r } };
    uint32_t c;
    int n;
    for (size_t i = 0, end; i < in->n; i = end) {
        end = cluster_end(in, i, &n);
        if (end - i < CLUSTER_BYTES && push_if_mapped(&m, in->s + i, end - i, n)) continue;
        for (size_t k; i < end; i += k) {
            k = (size_t)genet__char_at(in->s + i, end - i, &c);
            if (!push_if_mapped(&m, in->s + i, k, 1)) push(&m, c, 0);
        }
    }
    if (m.waits) put_formed(&m.w, &m.last);
    return true;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static const part_field bert_fields[] = {
    PART_FIELD(clean_text, bool), PART_FIELD(handle_chinese_chars, bool),
    { "strip_accents", &genet__part_tristate, offsetof(part, strip_accents), NULL, -1, true }, PART_FIELD(lowercase, bool), { 0 },
};
static const part_field strip_fields[] = { PART_FIELD(strip_left, bool), PART_FIELD(strip_right, bool), { 0 } };
static const part_field prepend_fields[] = { PART_FIELD(prepend, string), { 0 } };
static const part_field replace_fields[] = { { "pattern", &genet__part_pattern, 0, NULL, 0, false },
                                             PART_FIELD(content, string), { 0 } };
static const part_field precompiled_fields[] = { { "precompiled_charsmap", &genet__part_charsmap, 0, NULL, 0, false }, { 0 } };
static const part_field sequence_fields[] = { { "normalizers", &genet__part_children, 0, NULL, 0, false }, { 0 } };

static const part_kind kinds[] = {
    { .type = "BertNormalizer", .field = bert_fields, .normalize = bert },
    { .type = "ByteLevel", .normalize = byte_letters },
    { .type = "Lowercase", .normalize = lowercase },
    { .type = "NFC", .normalize = nfc },
    { .type = "NFD", .normalize = nfd },
    { .type = "NFKC", .normalize = nfkc },
    { .type = "NFKD", .normalize = nfkd },
    { .type = "Nmt", .normalize = nmt },
    { .type = "Precompiled", .field = precompiled_fields, .normalize = precompiled },
    { .type = "Prepend", .field = prepend_fields, .normalize = prepend },
    { .type = "Replace", .field = replace_fields, .normalize = replace },
    { .type = "Sequence", .field = sequence_fields },
    { .type = "Strip", .field = strip_fields, .normalize = strip },
    { .type = "StripAccents", .normalize = strip_accents },
};
const part_place genet__normalizers = { "normalizer", kinds, sizeof kinds / sizeof *kinds };

bool genet__normalize(token_run *r, const pipeline *p, const token_text *in, token_text *out)
{
    *out = *in;
    for (int i = 0; i < p->n_normalize; i++) {
        text_buffer *b = &r->normal[i & 1];
        genet__text_buffer_clear(b);
        TRY(p->normalize[i]->kind->normalize(p->normalize[i], out, b, r));
        if (b->failed) return genet__err_memory(r->err);
        *out = genet__text_buffer_view(b, in->origin != NULL);
    }
    return true;
}
