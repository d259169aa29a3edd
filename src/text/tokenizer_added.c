/* tokenizer_added.c - added tokens: contents that are found in text before it is tokenized, as Hugging Face's
 * tokenizers finds them.
 *
 * Two passes, because normalizers stand between them: first the tokens with "normalized": false are looked
 * for, then in what remains, once it is normalized, the others, normalized themselves.  In a pass the leftmost match counts, of several the longest.  lstrip and
 * rstrip take the white space beside a match, single_word drops one that word characters touch.
 *
 * Each set is sorted bytewise, so those beginning with the bytes at a place are a range that
 * narrows byte by byte. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/space.h"
#include "text/tokenizer_pipeline.h"

enum { ADDED_MAX = 1 << 20, N_PASSES = 2 };

typedef struct added_set { const added_token **at; int n; bool first[256]; } added_set;
typedef struct added_index {
    added_set set[N_PASSES];
    bool      touches;          /* some token looks at what stands beside it */
    bool      changed;          /* some token is looked for in another form than its content */
} added_index;

/* --- reading ---------------------------------------------------------------------------------------------------- */

static bool read_flags(added_token *a, const json_t *j, const char *where, genet_err *err)
{
    bool found;
    a->normalized = true;
    return genet__json_bool(j, "special", where, &a->special, &found, err) &&
           genet__json_bool(j, "lstrip", where, &a->lstrip, &found, err) &&
           genet__json_bool(j, "rstrip", where, &a->rstrip, &found, err) &&
           genet__json_bool(j, "single_word", where, &a->single_word, &found, err) &&
           genet__json_bool(j, "normalized", where, &a->normalized, &found, err);
}

static bool read_one(tokenizer *t, const json_t *j, const char *where, genet_err *err)
{
    added_token *a = &t->added[t->n_added];
    static const char *const known[] = { "id", "content", "single_word", "lstrip", "rstrip", "normalized", "special", NULL };
    const char *content;
    char path[32];
    int64_t id;
    snprintf(path, sizeof path, "added_tokens[%d]", t->n_added);
    TRY(genet__json_known(j, known, where, path, err));
    TRY(genet__json_string(j, "content", where, &content, NULL, err) && genet__json_int(j, "id", where, &id, NULL, err) &&
        read_flags(a, j, where, err));
    if (!*content) return genet__err_set(err, GENET_ERR_FORMAT, "%s: a token of added_tokens is empty", where);
    if (id < 0 || id > INT32_MAX - 1)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: added_tokens: the id %" PRId64 " of \"%.40s\" is out of range",
                              where, id, content);
    a->content = genet__arena_strdup(&t->arena, content);
    a->n_bytes = strlen(content);
    a->id = (int32_t)id;
    a->order = t->n_added++;
    return a->content || genet__err_memory(err);
}

static int by_id(const void *a, const void *b)
{
    int32_t x = ((const added_token *)a)->id, y = ((const added_token *)b)->id;
    return (x > y) - (x < y);
}

bool genet__added_read(tokenizer *t, const json_t *j, const char *where, genet_err *err)
{
    const json_t *list = json_object_get(j, "added_tokens");
    size_t n = json_array_size(list);
    if (!list || json_is_null(list)) return true;
    if (!json_is_array(list) || n > ADDED_MAX)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"added_tokens\" must be an array of at most %d", where,
                              ADDED_MAX);
    t->added = ARENA_ARRAY(&t->arena, added_token, (int64_t)n);
    if (!t->added) return genet__err_memory(err);
    for (size_t i = 0; i < n; i++) TRY(read_one(t, json_array_get(list, i), where, err));
    if (n) qsort(t->added, n, sizeof *t->added, by_id);
    for (size_t i = 1; i < n; i++)
        if (t->added[i].id == t->added[i - 1].id)
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: added_tokens: \"%.40s\" and \"%.40s\" both have id %d",
                                  where, t->added[i - 1].content, t->added[i].content, t->added[i].id);
    return true;
}

static int by_content(const void *a, const void *b)
{
    return strcmp((*(const added_token *const *)a)->normal, (*(const added_token *const *)b)->normal);
}

/* What is looked for. */
static bool find_normal(tokenizer *t, added_token *a, genet_err *err)
{
    token_run r = { .t = t, .err = err };
    token_text content = { a->content, a->n_bytes, NULL, 0 }, normal = content;
    bool ok = !a->normalized || !t->kind->normalize || t->kind->normalize(&r, &content, &normal);
    char *copy = ok ? ARENA_ARRAY(&t->arena, char, (int64_t)normal.n + 1) : NULL;
    if (copy && normal.n) memcpy(copy, normal.s, normal.n);
    a->normal = copy;
    a->n_normal = normal.n;
    genet__run_release(&r);
    if (!ok || !copy) return ok ? genet__err_memory(err) : false;
    t->index->changed |= strcmp(a->normal, a->content) != 0;
    return a->n_normal || genet__err_set(err, GENET_ERR_FORMAT, "added_tokens: nothing is left of \"%.40s\" when it is "
                                         "normalized", a->content);
}

static bool index_set(tokenizer *t, added_set *s, bool normalized, genet_err *err)
{
    s->at = ARENA_ARRAY(&t->arena, const added_token *, t->n_added);
    if (!s->at) return genet__err_memory(err);
    for (int i = 0; i < t->n_added; i++)
        if (t->added[i].normalized == normalized) s->at[s->n++] = &t->added[i];
    if (s->n) qsort(s->at, (size_t)s->n, sizeof *s->at, by_content);
    for (int i = 0; i < s->n; i++) s->first[(unsigned char)s->at[i]->normal[0]] = true;
    for (int i = 1; i < s->n; i++)
        if (!strcmp(s->at[i]->normal, s->at[i - 1]->normal))
            return genet__err_set(err, GENET_ERR_FORMAT, "added_tokens: \"%.40s\" stands there twice", s->at[i]->content);
    return true;
}

bool genet__added_index(tokenizer *t, genet_err *err)
{
    if (!t->n_added) return true;
    added_index *x = t->index = ARENA_NEW(&t->arena, added_index);
    if (!x) return genet__err_memory(err);
    for (int i = 0; i < t->n_added; i++) {
        x->touches |= t->added[i].single_word || t->added[i].lstrip || t->added[i].rstrip;
        TRY(find_normal(t, &t->added[i], err));
    }
    return index_set(t, &x->set[0], false, err) && index_set(t, &x->set[1], true, err);
}

json_t *genet__added_json(const tokenizer *t)
{
    json_t *list = json_array();
    for (int i = 0; list && i < t->n_added; i++) {
        const added_token *a = &t->added[i];
        json_t *j = json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", a->id, "content", a->content, "single_word",
                              a->single_word, "lstrip", a->lstrip, "rstrip", a->rstrip, "normalized", a->normalized,
                              "special", a->special);
        if (!json_array_append_new(list, j)) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

const added_token *genet__added_find(const tokenizer *t, int32_t id)
{
    int low = 0, high = t->n_added;
    while (low < high) {
        int middle = (low + high) / 2;
        if (t->added[middle].id < id) low = middle + 1;
        else high = middle;
    }
    return low < t->n_added && t->added[low].id == id ? &t->added[low] : NULL;
}

void genet__added_hash(const tokenizer *t, sha256 *s)
{
    for (int i = 0; i < t->n_added; i++) {
        const added_token *a = &t->added[i];
        const unsigned char flags[6] = { 'a', a->special, a->lstrip, a->rstrip, a->single_word, a->normalized };
        genet__sha256_add(s, flags, sizeof flags);
        const unsigned char id[4] = { a->id & 255, a->id >> 8 & 255, a->id >> 16 & 255, a->id >> 24 & 255 };
        genet__sha256_add(s, id, sizeof id);
        genet__sha256_add(s, a->content, a->n_bytes + 1);
    }
}

/* --- finding ---------------------------------------------------------------------------------------------------- */

/* The first of s->at[low .. high) whose byte at depth is not below c (they agree on those before). */
static int lower(const added_set *s, int low, int high, size_t depth, int c)
{
    while (low < high) {
        int middle = (low + high) / 2;
        if ((unsigned char)s->at[middle]->normal[depth] < c) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The longest that text begins with, or NULL. */
static const added_token *longest_at(const added_set *s, const char *text, size_t n)
{
    const added_token *found = NULL;
    int low = 0, high = s->n;
    for (size_t depth = 0; depth < n && text[depth]; depth++) {
        int c = (unsigned char)text[depth];
        low = lower(s, low, high, depth, c);
        high = lower(s, low, high, depth, c + 1);
        if (low == high) break;
        if (s->at[low]->n_normal == depth + 1) found = s->at[low];
    }
    return found;
}

static bool is_single(const char *text, size_t n, size_t from, size_t to)
{
    uint32_t c;
    if (genet__utf8_before(text, from, &c) && genet__is_word(c)) return false;
    return genet__utf8_decode(text + to, n - to, &c) <= 0 || !genet__is_word(c);
}

/* Where the white space that ends at i begins, and where that beginning at i ends. */
static size_t space_before(const char *text, size_t i, size_t least)
{
    uint32_t c;
    for (size_t k; i > least && (k = genet__utf8_before(text, i, &c)) && i - k >= least && genet__space_is(c);) i -= k;
    return i;
}

static size_t space_after(const char *text, size_t i, size_t n)
{
    uint32_t c;
    for (int k; i < n && (k = genet__utf8_decode(text + i, n - i, &c)) > 0 && genet__space_is(c);) i += (size_t)k;
    return i;
}

static bool encode_pass(token_run *r, int pass, const token_text *text);

/* What lies between added tokens: bytes [from, to) of text. */
static bool encode_rest(token_run *r, int pass, const token_text *text, size_t from, size_t to)
{
    if (from >= to) return true;
    token_text rest = genet__token_text_slice(text, from, to);
    if (pass == N_PASSES) return r->t->kind->encode(r, &rest);
    if (pass == 0 || !r->t->kind->normalize) return encode_pass(r, pass, &rest);
    r->bad = rest.s;
    TRY(r->t->kind->normalize(r, &rest, &rest));
    return encode_pass(r, pass, &rest);
}

/* A match may begin in the white space that rstrip took for the one before: the library counts it all the same, unless
 * lstrip leaves nothing of it.  space_end is where the white space ends that rstrip looked through last: further matches
 * in there end with it, and no byte is looked at twice. */
static bool encode_pass(token_run *r, int pass, const token_text *all)
{
    static const added_set none = { 0 };
    const added_set *s = r->t->index ? &r->t->index->set[pass] : &none;
    const char *text = all->s;
    size_t done = 0, space_end = 0, n = all->n;
    for (size_t i = 0; s->n && i < n;) {
        const added_token *a = s->first[(unsigned char)text[i]] ? longest_at(s, text + i, n - i) : NULL;
        size_t from = i, to = i + (a ? a->n_normal : 1);
        i = to;
        if (!a || (a->single_word && !is_single(text, n, from, to))) continue;
        if (a->lstrip) from = space_before(text, from < done ? done : from, done);
        if (a->rstrip && to > space_end) space_end = space_after(text, to, n);
        if (a->rstrip) to = space_end;
        if (from >= to) continue;
        TRY(encode_rest(r, pass + 1, all, done, from));
        token_text found = genet__token_text_slice(all, from, to);
        TRY(genet__run_add(r, a->id, &found));
        done = to;
    }
    return encode_rest(r, pass + 1, all, done, n);
}

bool genet__added_encode(token_run *r, const token_text *text)
{
    return encode_rest(r, r->t->index || r->t->kind->normalize ? 0 : N_PASSES, text, 0, text->n);
}

/* --- cutting ---------------------------------------------------------------------------------------------------- */

static bool agrees(const char *text, size_t n, const char *s, size_t n_s)
{
    return !memcmp(text, s, n < n_s ? n : n_s);
}

/* Could a be found across text[i] (n bytes known), or be found otherwise when the text ended or began there? */
static bool crosses(const added_token *a, const char *text, size_t n, size_t i)
{
    for (size_t k = 1; k < a->n_bytes && k <= i; k++)
        if (!memcmp(text + i - k, a->content, k) && agrees(text + i, n - i, a->content + k, a->n_bytes - k)) return true;
    if (a->single_word && agrees(text + i, n - i, a->content, a->n_bytes)) return true;
    return (a->rstrip || a->single_word) && i >= a->n_bytes && !memcmp(text + i - a->n_bytes, a->content, a->n_bytes);
}

static bool may_cut(const tokenizer *t, const char *text, size_t n, size_t i)
{
    uint32_t c;
    if (t->index->touches && (!genet__utf8_before(text, i, &c) || genet__space_is(c))) return false;
    if (t->index->touches && i == n) return false;          /* white space may follow */
    for (int k = 0; k < t->n_added; k++)
        if (crosses(&t->added[k], text, n, i)) return false;
    return true;
}

/* The kind's places from the last on, until no added token minds. */
size_t genet__added_cut(const tokenizer *t, const char *text, size_t n)
{
    size_t known = n;
    if (t->index && t->index->changed) return 0;
    for (;;) {
        size_t i = t->kind->cut ? t->kind->cut(t, text, known) : known;
        if (i == 0 || !t->index || may_cut(t, text, n, i)) return i;
        known = i - 1;
        while (!t->kind->cut && known > 0 && ((unsigned char)text[known] & 0xc0) == 0x80) known--;
    }
}
