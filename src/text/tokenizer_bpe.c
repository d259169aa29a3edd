/* tokenizer_bpe.c - byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909; of bytes: Radford et al. 2019, "Language
 * Models are Unsupervised Multitask Learners", section 2.2).
 *
 * A pre-token begins as characters, or as bytes where pieces are bytes; the neighbours of the lowest merge are joined, the
 * leftmost first, until no merge is left.  Most pre-tokens are pieces themselves, and most pieces are what their own
 * characters would be merged to: those are marked when a model is made, and one look-up finds them.  Everything else is
 * merged by scanning when short, through a heap when long: n symbols take O(n log n).
 *
 * A character that is no piece becomes its bytes' pieces "<0x41>" (byte_fallback), else the unknown token, several in a row
 * one where fuse_unk says so; without one it is left out, as the tokenizers library does.  A missing byte is an error. */
#include "text/tokenizer_bpe.h"
#include <limits.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/unicode.h"

enum { SCAN_MAX = 64 };     /* longer pre-tokens are merged through a heap */
static const char mark[] = "\u2581";

/* --- merges ----------------------------------------------------------------------------------------------------- */

static inline bpe_pair *pair_slot(const bpe *b, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (uint64_t i = genet__hash_mix(key) >> b->pair_shift;; i++) {
        bpe_pair *p = &b->pair[i & b->pair_mask];
        if (p->joined < 0 || (p->left == left && p->right == right)) return p;
    }
}

bool genet__bpe_room(bpe *b, int n_merges, genet_err *err)
{
    int bits = 8;
    while ((INT64_C(1) << bits) < 2 * (int64_t)n_merges) bits++;
    b->pair = genet__alloc_array((size_t)1 << bits, sizeof *b->pair);
    b->merge = genet__alloc_array((size_t)n_merges + 1, sizeof *b->merge);
    if (!b->pair || !b->merge) return genet__err_memory(err);
    b->pair_mask = (UINT64_C(1) << bits) - 1;
    b->pair_shift = 64 - bits;
    for (uint64_t i = 0; i <= b->pair_mask; i++) b->pair[i].joined = -1;
    return true;
}

/* Of two merges of the same pair the later counts, as in the tokenizers library. */
void genet__bpe_add_merge(bpe *b, int32_t left, int32_t right, int32_t joined)
{
    b->merge[b->n_merge] = (bpe_merge){ left, right };
    *pair_slot(b, left, right) = (bpe_pair){ left, right, b->n_merge++, joined };
}

/* --- merging ---------------------------------------------------------------------------------------------------- */

/* The symbols of a pre-token: their ids, and of how many of its bytes each is. */
typedef struct symbols { int32_t *id; uint32_t *n_bytes; int n; } symbols;

/* Merged in place by looking for the lowest rank again and again. */
static void merge_short(const bpe *b, symbols *w)
{
    const bpe_pair *p[SCAN_MAX];        /* of i and i + 1 */
    int32_t *id = w->id;
    int n = w->n;
    for (int i = 0; i + 1 < n; i++) p[i] = pair_slot(b, id[i], id[i + 1]);
    for (;;) {
        int best = -1, rank = INT_MAX;
        for (int i = 0; i + 1 < n; i++)
            if (p[i]->joined >= 0 && p[i]->rank < rank) rank = p[i]->rank, best = i;
        if (best < 0) break;
        size_t behind = (size_t)(n - best - 2);
        id[best] = p[best]->joined;
        memmove(id + best + 1, id + best + 2, behind * sizeof *id);
        w->n_bytes[best] += w->n_bytes[best + 1];
        memmove(w->n_bytes + best + 1, w->n_bytes + best + 2, behind * sizeof *w->n_bytes);
        n--;
        if (best + 1 < n) memmove(p + best, p + best + 1, behind * sizeof *p);
        if (best + 1 < n) p[best] = pair_slot(b, id[best], id[best + 1]);
        if (best > 0) p[best - 1] = pair_slot(b, id[best - 1], id[best]);
    }
    w->n = n;
}

/* A merge that may be due: still so while the ids at pos and after it are left and right. */
typedef struct due { int32_t rank, pos, left, right; } due;
typedef struct long_word { const bpe *b; int32_t *id, *next, *before; due *heap; int n_heap; } long_word;

static inline bool sooner(const due *a, const due *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->pos < b->pos);
}

static void push(long_word *w, int32_t pos)
{
    if (pos < 0 || w->next[pos] < 0) return;
    const bpe_pair *p = pair_slot(w->b, w->id[pos], w->id[w->next[pos]]);
    if (p->joined < 0) return;
    due d = { p->rank, pos, p->left, p->right };
    int i = w->n_heap++;
    for (; i > 0 && sooner(&d, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = d;
}

static due pop(long_word *w)
{
    due first = w->heap[0], last = w->heap[--w->n_heap];
    int i = 0;
    for (int child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && sooner(&w->heap[child + 1], &w->heap[child])) child++;
        if (!sooner(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return first;
}

/* Symbols are a list through next and before; a joined one lives on at its left place, the right one's id is -1. */
static void merge_due(long_word *w)
{
    while (w->n_heap) {
        due d = pop(w);
        int32_t right = w->next[d.pos];
        if (w->id[d.pos] != d.left || right < 0 || w->id[right] != d.right) continue;
        w->id[d.pos] = pair_slot(w->b, d.left, d.right)->joined;
        w->id[right] = -1;
        w->next[d.pos] = w->next[right];
        if (w->next[right] >= 0) w->before[w->next[right]] = d.pos;
        push(w, w->before[d.pos]);
        push(w, d.pos);
    }
}

/* At most n - 1 merges, each makes two more due: 3n in all. */
static bool merge_long(const bpe *b, symbols *s, genet_err *err)
{
    int n = s->n, left = 0;
    if (n > INT_MAX / 3) return genet__err_set(err, GENET_ERR_USAGE, "%d bytes are too much for one word", n);
    long_word w = { .b = b, .id = s->id, .next = genet__alloc_array((size_t)n * 2, sizeof(int32_t)),
                    .heap = genet__alloc_array((size_t)n * 3, sizeof(due)) };
    bool ok = w.next && w.heap;
    if (ok) {
        w.before = w.next + n;
        for (int i = 0; i < n; i++) w.next[i] = i + 1 < n ? i + 1 : -1, w.before[i] = i - 1;
        for (int i = 0; i < n; i++) push(&w, i);
        merge_due(&w);
        for (int i = 0; i < n; i++) {
            if (s->id[i] < 0) s->n_bytes[left - 1] += s->n_bytes[i];
            else s->id[left] = s->id[i], s->n_bytes[left++] = s->n_bytes[i];
        }
        s->n = left;
    }
    genet__free(w.next);
    genet__free(w.heap);
    return ok || genet__err_memory(err);
}

/* --- a pre-token's symbols -------------------------------------------------------------------------------------- */

/* unknown: how many bytes of unknown characters stand before what comes next and are no symbol yet. */
typedef struct beginning { const bpe *b; symbols *w; uint32_t unknown; genet_err *err; } beginning;

static inline void put(symbols *w, int32_t id, uint32_t n_bytes)
{
    w->id[w->n] = id;
    w->n_bytes[w->n++] = n_bytes;
}

static void put_unknown(beginning *g)
{
    if (g->unknown) put(g->w, g->b->unknown, g->unknown);
    g->unknown = 0;
}

/* key: the character with prefix and suffix. */
static bool put_missing(beginning *g, const char *key, size_t n_key, const char *s, uint32_t n)
{
    const bpe *b = g->b;
    bool all = b->byte_fallback;
    for (size_t i = 0; all && i < n_key; i++) all = b->fallback[(unsigned char)key[i]] >= 0;
    for (size_t i = 0; all && i < n_key; i++) put(g->w, b->fallback[(unsigned char)key[i]], 1);
    if (all) return true;
    if (!b->unk_token && b->takes_bytes)
        return genet__err_set(g->err, GENET_ERR_USAGE, "the tokenizer has no token for the byte 0x%02X", (unsigned char)*s);
    if (!b->unk_token) return true;
    if (b->unknown < 0)
        return genet__err_set(g->err, GENET_ERR_USAGE, "the tokenizer's unknown token \"%.40s\" is not in its vocabulary",
                              b->unk_token);
    if (!b->fuse_unk) put_unknown(g);
    g->unknown += n;
    return true;
}

/* One character or byte, with prefix unless it is the first, with suffix if it is the last. */
static bool put_symbol(beginning *g, const char *s, size_t n, bool first, bool last)
{
    const bpe *b = g->b;
    char key[2 * BPE_AFFIX_MAX + 4];
    size_t n_prefix = first ? 0 : b->n_prefix, n_suffix = last ? b->n_suffix : 0, n_key = n_prefix + n + n_suffix;
    if (n_prefix) memcpy(key, b->prefix, n_prefix);
    memcpy(key + n_prefix, s, n);
    if (n_suffix) memcpy(key + n_prefix + n, b->suffix, n_suffix);
    int32_t id = n_key == 1 ? b->byte[(unsigned char)*key] : genet__vocabulary_find(b->words, key, n_key);
    if (id < 0) return put_missing(g, key, n_key, s, (uint32_t)n);
    put_unknown(g);
    put(g->w, id, (uint32_t)n);
    return true;
}

static bool begin_symbols(const bpe *b, const char *s, size_t n, symbols *w, genet_err *err)
{
    beginning g = { b, w, 0, err };
    uint32_t c;
    for (size_t i = 0, k; i < n; i += k) {
        k = b->takes_bytes ? 1 : (size_t)genet__char_at(s + i, n - i, &c);
        TRY(put_symbol(&g, s + i, k, i == 0, i + k == n));
    }
    put_unknown(&g);
    return true;
}

static bool merged(const bpe *b, const char *s, size_t n, symbols *w, genet_err *err)
{
    w->n = 0;
    TRY(begin_symbols(b, s, n, w, err));
    if (w->n <= SCAN_MAX) merge_short(b, w);
    else TRY(merge_long(b, w, err));
    return true;
}

/* --- encoding --------------------------------------------------------------------------------------------------- */

/* The most symbols that n bytes begin as. */
static size_t most_symbols(const bpe *b, size_t n)
{
    return b->byte_fallback ? n * (1 + b->n_prefix) + b->n_suffix : n;
}

static bool add_symbols(const symbols *w, token_sink *out, genet_err *err)
{
    size_t at = 0;
    for (int i = 0; i < w->n; i++) {
        TRY(genet__token_add(out, w->id[i], at, at + w->n_bytes[i], err));
        at += w->n_bytes[i];
    }
    return true;
}

static bool add_merged(const bpe *b, const char *s, size_t n, token_sink *out, genet_err *err)
{
    int32_t id[SCAN_MAX];
    uint32_t n_bytes[SCAN_MAX];
    size_t most = most_symbols(b, n);
    symbols w = { id, n_bytes, 0 };
    if (n > (size_t)INT_MAX / (1 + b->n_prefix + b->n_suffix))
        return genet__err_set(err, GENET_ERR_USAGE, "%zu bytes are too much text for one piece; at most %d", n, INT_MAX);
    if (most <= SCAN_MAX) return merged(b, s, n, &w, err) && add_symbols(&w, out, err);
    w.id = genet__alloc_array(most, sizeof *w.id);
    w.n_bytes = genet__alloc_array(most, sizeof *w.n_bytes);
    bool ok = (w.id && w.n_bytes) || genet__err_memory(err);
    ok = ok && merged(b, s, n, &w, err) && add_symbols(&w, out, err);
    genet__free(w.id);
    genet__free(w.n_bytes);
    return ok;
}

/* Where the pre-token with its suffix is, or would be. */
static inline const vocabulary_slot *word_slot(const bpe *b, const char *s, size_t n)
{
    char key[SCAN_MAX + BPE_AFFIX_MAX];
    if (!b->n_suffix) return genet__vocabulary_slot(b->words, s, n);
    if (n > SCAN_MAX) return NULL;
    memcpy(key, s, n);
    memcpy(key + n, b->suffix, b->n_suffix);
    return genet__vocabulary_slot(b->words, key, n + b->n_suffix);
}

static bool encode(const void *m, const char *s, size_t n, token_sink *out, genet_err *err)
{
    const bpe *b = m;
    if (b->ignore_merges) {
        int32_t id = genet__vocabulary_find(b->words, s, n);
        if (id >= 0) return genet__token_add(out, id, 0, n, err);
    }
    const vocabulary_slot *w = word_slot(b, s, n);
    if (w && w->n_bytes1 && w->mark) return genet__token_add(out, w->id, 0, n, err);
    return add_merged(b, s, n, out, err);
}

/* --- making ----------------------------------------------------------------------------------------------------- */

/* Long pieces are left unmarked: merging finds them too. */
static void mark_whole(bpe *b)
{
    int32_t id[SCAN_MAX];
    uint32_t n_bytes[SCAN_MAX];
    symbols w = { id, n_bytes, 0 };
    for (uint64_t i = 0; i <= b->words->mask; i++) {
        vocabulary_slot *slot = &b->words->slot[i];
        size_t n = slot->n_bytes1 ? slot->n_bytes1 - 1 : 0;
        slot->mark = 0;
        if (n <= b->n_suffix || most_symbols(b, n) > SCAN_MAX) continue;
        const char *s = b->words->bytes + b->words->piece[slot->id].at;
        n -= b->n_suffix;
        if (b->n_suffix && memcmp(s + n, b->suffix, b->n_suffix)) continue;
        slot->mark = merged(b, s, n, &w, NULL) && w.n == 1 && w.id[0] == slot->id;
    }
}

static bool begins(const bpe *b, int32_t id)
{
    size_t n;
    const char *s = genet__vocabulary_piece(&b->v, id, &n);
    return n >= sizeof mark - 1 && !memcmp(s, mark, sizeof mark - 1);
}

static bool ends(const bpe *b, int32_t id)
{
    size_t n;
    const char *s = genet__vocabulary_piece(&b->v, id, &n);
    return n >= sizeof mark - 1 && !memcmp(s + n - (sizeof mark - 1), mark, sizeof mark - 1);
}

/* No merge joins a piece that begins with the mark to one that does not end with it. */
static bool splits_at_mark(const bpe *b)
{
    bool so = !b->n_prefix && !b->n_suffix && !b->ignore_merges && !b->takes_bytes &&
              genet__vocabulary_find(&b->v, mark, sizeof mark - 1) >= 0;
    for (int i = 0; so && i < b->n_merge; i++) so = !begins(b, b->merge[i].right) || ends(b, b->merge[i].left);
    return so;
}

void genet__bpe_index(bpe *b)
{
    b->words = b->takes_bytes ? &b->bytes : &b->v;
    for (int i = 0; i < 256; i++) {
        char s = (char)i, code[8] = { '<', '0', 'x', "0123456789ABCDEF"[i / 16], "0123456789ABCDEF"[i % 16], '>' };
        b->byte[i] = i < 0x80 || b->takes_bytes ? genet__vocabulary_find(b->words, &s, 1) : -1;
        b->fallback[i] = b->byte_fallback ? genet__vocabulary_find(&b->v, code, 6) : -1;
    }
    b->unknown = b->unk_token ? genet__vocabulary_find(&b->v, b->unk_token, strlen(b->unk_token)) : -1;
    b->splits_at_mark = splits_at_mark(b);
    mark_whole(b);
}

void genet__bpe_free(void *m)
{
    bpe *b = m;
    if (!b) return;
    genet__vocabulary_release(&b->v);
    genet__vocabulary_release(&b->bytes);
    genet__free(b->pair);
    genet__free(b->merge);
    genet__free(b->unk_token);
    genet__free(b->prefix);
    genet__free(b->suffix);
    json_decref(b->dropout);
    genet__free(b);
}

/* --- the row ---------------------------------------------------------------------------------------------------- */

static int32_t find(const void *m, const char *piece, size_t n)
{
    return genet__vocabulary_find(&((const bpe *)m)->v, piece, n);
}

static const char *piece(const void *m, int32_t id, size_t *n)
{
    return genet__vocabulary_piece(&((const bpe *)m)->v, id, n);
}

static int size(const void *m) { return ((const bpe *)m)->v.size; }
static int count(const void *m) { return ((const bpe *)m)->v.count; }
static int32_t unknown(const void *m) { return ((const bpe *)m)->unknown; }
static bool may_split(const void *m) { return ((const bpe *)m)->splits_at_mark; }

static void add_int(sha256 *s, int64_t x)
{
    unsigned char b[8];
    for (int i = 0; i < 8; i++) b[i] = (unsigned char)((uint64_t)x >> 8 * i);
    genet__sha256_add(s, b, 8);
}

static void hash(const void *m, sha256 *s)
{
    const bpe *b = m;
    const char *const affix[] = { b->unk_token, b->prefix, b->suffix };
    genet__vocabulary_hash(&b->v, s);
    add_int(s, b->ignore_merges + 2 * b->byte_fallback + 4 * b->fuse_unk);
    for (int i = 0; i < 3; i++) genet__sha256_add(s, affix[i] ? affix[i] : "", affix[i] ? strlen(affix[i]) + 1 : 1);
    add_int(s, b->n_merge);
    for (int i = 0; i < b->n_merge; i++) {
        add_int(s, b->merge[i].left);
        add_int(s, b->merge[i].right);
    }
}

const token_model genet__model_bpe = {
    .type = "BPE", .name = "bpe", .load = genet__bpe_load, .to_json = genet__bpe_to_json, .encode = encode, .find = find,
    .piece = piece, .size = size, .count = count, .unknown = unknown, .settle = genet__bpe_settle,
    .splits_at_mark = may_split, .hash = hash, .free = genet__bpe_free,
};
