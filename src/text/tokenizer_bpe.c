/* tokenizer_bpe.c - byte-level BPE (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners",
 * section 2.2; Sennrich et al. 2016, arXiv 1508.07909).
 *
 * Text is cut into pre-tokens by a pattern; in each, beginning with bytes, the neighbours of the lowest merge are
 * joined, the leftmost first, until no merge is left.  Most pre-tokens are pieces themselves, and most pieces are what
 * their own bytes would be merged to: those are marked when a tokenizer is made, and one look-up finds them.
 * Everything else is merged by scanning when short, through a heap when long: n bytes take O(n log n).
 *
 * In files each byte stands as one visible character: Hugging Face's byte alphabet.  Reading and writing them is
 * tokenizer_bpe_file.c's. */
#include "text/tokenizer_bpe.h"
#include <limits.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/space.h"

enum { SCAN_MAX = 64 };     /* longer pre-tokens are merged through a heap */

/* --- tables ----------------------------------------------------------------------------------------------------- */

static inline uint64_t mix(uint64_t x)
{
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

/* Up to eight bytes as they are (with their number they are the word), of longer ones a hash. */
static inline uint64_t key_of(const char *s, size_t n)
{
    uint64_t a = 0, b = 0;
    if (n >= 8) {
        memcpy(&a, s, 8);
        if (n == 8) return a;
        for (size_t i = 8; i + 8 <= n; i += 8) {
            memcpy(&b, s + i, 8);
            a = mix(a ^ b) + b;
        }
        memcpy(&b, s + n - 8, 8);
        return mix(a ^ b) + n;
    }
    if (n >= 4) {
        uint32_t low, high;
        memcpy(&low, s, 4);
        memcpy(&high, s + n - 4, 4);
        return low | (uint64_t)high << 8 * (n - 4);
    }
    for (size_t i = 0; i < n; i++) a |= (uint64_t)(unsigned char)s[i] << 8 * i;
    return a;
}

static inline const bpe_word *word_slot(const tokenizer *t, const bpe *b, const char *s, size_t n)
{
    uint64_t key = key_of(s, n);
    for (uint64_t i = mix(key + n) >> b->word_shift;; i++) {
        const bpe_word *w = &b->word[i & b->word_mask];
        if (!w->n_bytes1) return w;
        if (w->key == key && w->n_bytes1 == n + 1 && (n <= 8 || !memcmp(t->bytes + t->start[w->id], s, n))) return w;
    }
}

int32_t genet__bpe_find(const tokenizer *t, const char *s, size_t n)
{
    const bpe *b = t->table;
    if (n >= UINT32_MAX / 2) return -1;
    const bpe_word *w = word_slot(t, b, s, n);
    return w->n_bytes1 ? w->id : -1;
}

static inline const bpe_pair *pair_slot(const bpe *b, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (uint64_t i = mix(key) >> b->pair_shift;; i++) {
        const bpe_pair *p = &b->pair[i & b->pair_mask];
        if (p->joined < 0 || (p->left == left && p->right == right)) return p;
    }
}

/* The least power of two that n entries fill by a half at most. */
static int log2_slots(int64_t n)
{
    int bits = 4;
    while (INT64_C(1) << bits < 2 * n) bits++;
    return bits;
}

bool genet__bpe_index(tokenizer *t, int n_pieces, int n_merges, genet_err *err)
{
    bpe *b = t->table;
    int words = log2_slots(n_pieces), pairs = log2_slots(n_merges);
    b->word = ARENA_ARRAY(&t->arena, bpe_word, INT64_C(1) << words);
    b->pair = ARENA_ARRAY(&t->arena, bpe_pair, INT64_C(1) << pairs);
    b->merge = ARENA_ARRAY(&t->arena, bpe_merge, n_merges);
    if (!b->word || !b->pair || !b->merge) return genet__err_memory(err);
    b->word_mask = (UINT64_C(1) << words) - 1;
    b->word_shift = 64 - words;
    b->pair_mask = (UINT64_C(1) << pairs) - 1;
    b->pair_shift = 64 - pairs;
    for (uint64_t i = 0; i <= b->pair_mask; i++) b->pair[i].joined = -1;
    for (int i = 0; i < 256; i++) b->byte[i] = -1;
    return true;
}

void genet__bpe_add_piece(tokenizer *t, int32_t id)
{
    bpe *b = t->table;
    const char *s = t->bytes + t->start[id];
    size_t n = t->start[id + 1] - t->start[id];
    bpe_word *w = (bpe_word *)word_slot(t, b, s, n);
    if (w->n_bytes1) return;
    *w = (bpe_word){ .key = key_of(s, n), .id = id, .n_bytes1 = (uint32_t)n + 1 };
    if (n == 1) b->byte[(unsigned char)*s] = id;
}

/* Of two merges of the same pair the later counts, as in the tokenizers library. */
void genet__bpe_add_merge(tokenizer *t, int32_t left, int32_t right, int32_t joined)
{
    bpe *b = t->table;
    b->merge[b->n_merge] = (bpe_merge){ left, right };
    bpe_pair *p = (bpe_pair *)pair_slot(b, left, right);
    *p = (bpe_pair){ left, right, b->n_merge++, joined };
}

/* --- merging ---------------------------------------------------------------------------------------------------- */

/* A pre-token's bytes as ids; -1 or the place of a byte that has none. */
static int64_t to_bytes(const bpe *b, const char *s, size_t n, int32_t *id)
{
    int64_t bad = -1;
    for (size_t i = n; i-- > 0;)
        if ((id[i] = b->byte[(unsigned char)s[i]]) < 0) bad = (int64_t)i;
    return bad;
}

/* id[0 .. n) merged in place by looking for the lowest rank again and again; returns how many are left. */
static int merge_short(const bpe *b, int32_t *id, int n)
{
    const bpe_pair *p[SCAN_MAX];        /* of i and i + 1 */
    for (int i = 0; i + 1 < n; i++) p[i] = pair_slot(b, id[i], id[i + 1]);
    for (;;) {
        int best = -1, rank = INT_MAX;
        for (int i = 0; i + 1 < n; i++)
            if (p[i]->joined >= 0 && p[i]->rank < rank) rank = p[i]->rank, best = i;
        if (best < 0) return n;
        id[best] = p[best]->joined;
        n--;
        memmove(id + best + 1, id + best + 2, (size_t)(n - best - 1) * sizeof *id);
        if (best + 1 < n) memmove(p + best, p + best + 1, (size_t)(n - best - 1) * sizeof *p);
        if (best + 1 < n) p[best] = pair_slot(b, id[best], id[best + 1]);
        if (best > 0) p[best - 1] = pair_slot(b, id[best - 1], id[best]);
    }
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

/* id[0 .. n) merged in place; *left: how many are left.  At most n - 1 merges, each makes two more due: 3n in all. */
static bool merge_long(const bpe *b, int32_t *id, int n, int *left, genet_err *err)
{
    if (n > INT_MAX / 3) return genet__err_set(err, GENET_ERR_USAGE, "%d bytes are too much for one word", n);
    long_word w = { .b = b, .id = id, .next = genet__alloc_array((size_t)n * 2, sizeof(int32_t)),
                    .heap = genet__alloc_array((size_t)n * 3, sizeof(due)) };
    bool ok = w.next && w.heap;
    if (ok) {
        w.before = w.next + n;
        for (int i = 0; i < n; i++) w.next[i] = i + 1 < n ? i + 1 : -1, w.before[i] = i - 1;
        for (int i = 0; i < n; i++) push(&w, i);
        merge_due(&w);
        *left = 0;
        for (int i = 0; i < n; i++)
            if (id[i] >= 0) id[(*left)++] = id[i];
    }
    genet__free(w.next);
    genet__free(w.heap);
    return ok || genet__err_memory(err);
}

/* --- encoding --------------------------------------------------------------------------------------------------- */

typedef struct encoding {
    const tokenizer *t;
    const bpe       *b;
    token_list      *out;
    const char      *bad;       /* where it went wrong */
    genet_err       *err;
} encoding;

static bool add_merged(encoding *e, const char *s, size_t n)
{
    token_list *out = e->out;
    e->bad = s;
    if (n > (size_t)(INT_MAX - out->n))
        return genet__err_set(e->err, GENET_ERR_USAGE, "%zu bytes are too much text for one piece; at most %d", n,
                              INT_MAX);
    if (!genet__grow(&out->at, &out->cap, out->n + (int)n, sizeof *out->at)) return genet__err_memory(e->err);
    int32_t *id = out->at + out->n;
    int64_t bad = to_bytes(e->b, s, n, id);
    int left = (int)n;
    if (bad >= 0) {
        e->bad = s + bad;
        return genet__err_set(e->err, GENET_ERR_USAGE, "the tokenizer has no token for the byte 0x%02X",
                              (unsigned char)s[bad]);
    }
    if (n <= SCAN_MAX) left = merge_short(e->b, id, left);
    else TRY(merge_long(e->b, id, left, &left, e->err));
    out->n += left;
    return true;
}

static bool add_pre_token(void *user, const char *s, size_t n)
{
    encoding *e = user;
    const bpe_word *w = word_slot(e->t, e->b, s, n);
    if (!w->n_bytes1 || !(w->whole || e->b->ignore_merges)) return add_merged(e, s, n);
    token_list *out = e->out;
    e->bad = s;
    if (out->n == out->cap && (out->n == INT_MAX || !GROW(out->at, out->n, out->cap))) return genet__err_memory(e->err);
    out->at[out->n++] = w->id;
    return true;
}

/* With the space before it that add_prefix_space asks for: the first pre-token changes, so the text is copied. */
static bool encode_spaced(encoding *e, const char *text, size_t n)
{
    char *spaced = genet__alloc(n + 1);
    if (!spaced) return genet__err_memory(e->err);
    e->bad = spaced;
    spaced[0] = ' ';
    memcpy(spaced + 1, text, n);
    bool ok = genet__pattern_split(e->b->pattern, spaced, n + 1, add_pre_token, e, e->err);
    size_t at = (size_t)(e->bad - spaced);
    e->bad = text + (at ? at - 1 : 0);
    genet__free(spaced);
    return ok;
}

/* The tokenizers library asks whether the text begins with U+0020. */
static bool encode(const tokenizer *t, const char *text, size_t n, token_list *out, size_t *bad, genet_err *err)
{
    encoding e = { t, t->table, out, text, err };
    int before = out->n;
    bool ok = e.b->add_prefix_space && text[0] != ' '
                  ? encode_spaced(&e, text, n)
                  : genet__pattern_split(e.b->pattern, text, n, add_pre_token, &e, err);
    *bad = (size_t)(e.bad - text);
    if (!ok) out->n = before;
    return ok;
}

/* Is there a whole character before s[i] that is neither white space nor half of something? */
static bool after_visible(const char *s, size_t i)
{
    uint32_t c;
    return genet__utf8_before(s, i, &c) && !genet__space_is(c);
}

/* GPT-2's pattern: white space follows what is none.  No alternative but \s+ takes white space at another place than
 * its first, and \s+ takes nothing else: so a match ends here in the whole text too, and what follows decided nothing,
 * since of what looks ahead, "\s+(?!\S)", only white space could end here. The other part begins as any
 * match does: nothing looks back, and U+0020 keeps add_prefix_space from adding another.  Of other patterns
 * nothing is known. */
static size_t cut(const tokenizer *t, const char *text, size_t n)
{
    const bpe *b = t->table;
    if (!b->gpt2) return 0;
    for (size_t i = n; i-- > 1;)
        if ((text[i] == ' ' || (text[i] == '\n' && !b->add_prefix_space)) && after_visible(text, i)) return i;
    return 0;
}

/* --- making ----------------------------------------------------------------------------------------------------- */

void genet__bpe_release(tokenizer *t)
{
    bpe *b = t->table;
    if (!b) return;
    genet__pattern_free(b->pattern);
    genet__free(b->grown);
}

/* Long pieces are left unmarked: merging finds them too. */
void genet__bpe_mark_whole(tokenizer *t)
{
    bpe *b = t->table;
    int32_t id[SCAN_MAX];
    for (uint64_t i = 0; i <= b->word_mask; i++) {
        bpe_word *w = &b->word[i];
        size_t n = w->n_bytes1 ? w->n_bytes1 - 1 : 0;
        if (n == 0 || n > SCAN_MAX || to_bytes(b, t->bytes + t->start[w->id], n, id) >= 0) continue;
        w->whole = merge_short(b, id, (int)n) == 1 && id[0] == w->id;
    }
}

/* Bytes 0x21-0x7e, 0xa1-0xac and 0xae-0xff are the characters of their number, the others U+0100 and on in order
 * (bytes_to_unicode in GPT-2's encoder.py). */
void genet__bpe_alphabet(bpe_alphabet *a)
{
    uint16_t extra = 0x100;
    memset(a->byte, 0xff, sizeof a->byte);
    for (int i = 0, n = 0; i < 256; i++) {
        bool visible = (i >= 0x21 && i <= 0x7e) || (i >= 0xa1 && i <= 0xac) || i >= 0xae;
        if (visible) a->order[n++] = (uint8_t)i;
        a->letter[i] = visible ? (uint16_t)i : extra++;
        a->byte[a->letter[i]] = (int16_t)i;
    }
    for (int c = 0x100, n = 188; c < extra; c++) a->order[n++] = (uint8_t)a->byte[c];
}

/* Take n bytes at the end of t->bytes, which grow here, for the piece of id t->n; NULL: no memory. */
static char *append_piece(tokenizer *t, size_t n)
{
    bpe *b = t->table;
    size_t end = t->start[t->n] + n;
    if (end > INT_MAX || !genet__grow(&b->grown, &b->grown_cap, (int)end + 1, 1)) return NULL;
    t->bytes = b->grown;
    t->start[t->n + 1] = (uint32_t)end;
    return t->bytes + t->start[t->n];
}

static bool append_text(tokenizer *t, const char *s, size_t n)
{
    char *at = append_piece(t, n);
    if (at) memcpy(at, s, n);
    if (at) genet__bpe_add_piece(t, t->n++);
    return at != NULL;
}

static bool add_special(tokenizer *t, const char *content)
{
    size_t n = strlen(content);
    char *copy = genet__arena_strdup(&t->arena, content);
    t->added[t->n_added++] = (added_token){ copy, n, t->n, .special = true };
    return copy && append_text(t, content, n);
}

/* The piece stands at the end of the bytes before it is known whether it is new. */
static bool add_joined(tokenizer *t, bpe_merge m, int index, genet_err *err)
{
    if (m.left < 0 || m.right < 0 || m.left >= t->n || m.right >= t->n)
        return genet__err_set(err, GENET_ERR_USAGE, "merge %d: %d and %d are not both ids of tokens made before", index,
                              m.left, m.right);
    size_t a = t->start[m.left + 1] - t->start[m.left], b = t->start[m.right + 1] - t->start[m.right];
    char *at = append_piece(t, a + b);
    if (!at) return genet__err_memory(err);
    memcpy(at, t->bytes + t->start[m.left], a);
    memcpy(at + a, t->bytes + t->start[m.right], b);
    int32_t id = genet__bpe_find(t, at, a + b);
    if (id < 0) genet__bpe_add_piece(t, id = t->n++);
    genet__bpe_add_merge(t, m.left, m.right, id);
    return true;
}

static bool fill(tokenizer *t, const char *const *special, int n_special, const bpe_merge *merge, int n_merge,
                 genet_err *err)
{
    int64_t most = (int64_t)n_special + 256 + n_merge;
    if (most >= BPE_PIECES_MAX) return genet__err_set(err, GENET_ERR_USAGE, "%d merges are too many", n_merge);
    bpe *b = t->table = ARENA_NEW(&t->arena, bpe);
    t->start = ARENA_ARRAY(&t->arena, uint32_t, most + 2);
    t->added = ARENA_ARRAY(&t->arena, added_token, n_special);
    if (!b || !t->start || !t->added) return genet__err_memory(err);
    b->gpt2 = true;
    TRY((b->pattern = genet__pattern_gpt2(err)) != NULL);
    TRY(genet__bpe_index(t, (int)most, n_merge, err));
    bpe_alphabet a;
    genet__bpe_alphabet(&a);
    bool ok = true;
    for (int i = 0; ok && i < n_special; i++) ok = add_special(t, special[i]);
    for (int i = 0; ok && i < 256; i++) ok = append_text(t, (const char *)&a.order[i], 1);
    if (!ok) return genet__err_memory(err);
    for (int i = 0; i < n_merge; i++) TRY(add_joined(t, merge[i], i, err));
    b->n_model = t->n;
    genet__bpe_mark_whole(t);
    return genet__added_index(t, err);
}

tokenizer *genet__tokenizer_from_merges(const char *const *special, int n_special, const bpe_merge *merge, int n_merge,
                                        genet_err *err)
{
    tokenizer *t = genet__alloc(sizeof *t);
    if (!t) genet__err_memory(err);
    if (t) {
        t->kind = &genet__tokenizer_bpe;
        t->unknown = -1;
        t->release = genet__bpe_release;
    }
    if (t && fill(t, special, n_special, merge, n_merge, err)) return t;
    genet__tokenizer_free(t);
    return NULL;
}

static void add_int(sha256 *s, int64_t x)
{
    unsigned char b[8];
    for (int i = 0; i < 8; i++) b[i] = (unsigned char)((uint64_t)x >> 8 * i);
    genet__sha256_add(s, b, 8);
}

static void hash(const tokenizer *t, sha256 *s)
{
    const bpe *b = t->table;
    const char *text = genet__pattern_text(b->pattern);
    genet__sha256_add(s, text, strlen(text) + 1);
    add_int(s, b->add_prefix_space + 2 * b->ignore_merges);
    add_int(s, b->n_merge);
    for (int i = 0; i < b->n_merge; i++) {
        add_int(s, b->merge[i].left);
        add_int(s, b->merge[i].right);
    }
}

const tokenizer_kind genet__tokenizer_bpe = {
    .name = "bpe", .model_type = "BPE", .load = genet__bpe_load, .to_json = genet__bpe_to_json, .encode = encode,
    .find = genet__bpe_find, .cut = cut, .hash = hash,
};
