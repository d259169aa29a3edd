/* word_count.c - open addressing with linear probing, at most half full.  A slot is
 * 32 bits of hash and the word's number, so that words that differ are told apart
 * without a look at their bytes; the bytes lie in an arena, in the order of first
 * occurrence. */
#include "text/word_count.h"
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include "base/alloc.h"

typedef struct word_slot { uint32_t hash; int32_t number; } word_slot;      /* number of the word + 1; 0: empty */

/* Multiply and fold: the low half of a product knows nothing of the factor's high bits. */
static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

/* Eight bytes at a time; what is left is read as two halves that may overlap. */
static uint64_t hash_of(const char *text, size_t n)
{
    uint64_t h = mix(n, 0), x = 0;
    for (; n > 8; text += 8, n -= 8) {
        memcpy(&x, text, 8);
        h = mix(h, x);
    }
    uint32_t low = 0, high = 0;
    if (n >= 4) {
        memcpy(&low, text, 4);
        memcpy(&high, text + n - 4, 4);
    } else if (n) {
        low = (unsigned char)text[0];
        high = (uint32_t)(unsigned char)text[n / 2] << 8 | (unsigned char)text[n - 1];
    }
    h = mix(mix(h, (uint64_t)high << 32 | low), 0);
    return h ^ h >> 32;
}

static bool make_room(word_count *w)
{
    if (2 * ((int64_t)w->n + 1) <= w->n_slots) return true;
    int64_t n_slots = w->n_slots ? 2 * w->n_slots : 1024, mask = n_slots - 1;
    word_slot *slot = genet__alloc_array((size_t)n_slots, sizeof *slot);
    if (!slot) return false;
    for (int64_t i = 0; i < w->n_slots; i++) {
        const word_slot *old = &w->slot[i];
        if (!old->number) continue;
        int64_t to = old->hash & mask;
        while (slot[to].number) to = (to + 1) & mask;
        slot[to] = *old;
    }
    genet__free(w->slot);
    w->slot = slot;
    w->n_slots = n_slots;
    return true;
}

static bool add_new(word_count *w, word_slot *s, uint32_t hash, const char *text, size_t n)
{
    if (w->n == INT_MAX || !GROW(w->word, w->n, w->cap)) return false;
    char *copy = genet__arena_alloc(&w->arena, n);
    if (!copy) return false;
    if (n) memcpy(copy, text, n);
    w->word[w->n++] = (counted_word){ copy, n, 1 };
    *s = (word_slot){ hash, w->n };
    return true;
}

bool genet__word_count_add(word_count *w, const char *text, size_t n)
{
    if (!make_room(w)) return false;
    uint32_t hash = (uint32_t)hash_of(text, n);
    int64_t mask = w->n_slots - 1;
    for (int64_t i = hash & mask;; i = (i + 1) & mask) {
        word_slot *s = &w->slot[i];
        if (!s->number) return add_new(w, s, hash, text, n);
        if (s->hash != hash) continue;
        counted_word *word = &w->word[s->number - 1];
        if (word->n == n && !memcmp(word->at, text, n)) {
            word->count++;
            return true;
        }
    }
}

void genet__word_count_release(word_count *w)
{
    genet__free(w->word);
    genet__free(w->slot);
    genet__arena_release(&w->arena);
    *w = (word_count){ 0 };
}
