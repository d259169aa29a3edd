/* vocabulary.h - pieces and their ids: a model's "vocab" in tokenizer.json, found by bytes and by id.
 *
 * Ids may have holes (a file may skip numbers), pieces are all different.  Read-only once filled. */
#ifndef GENET_TEXT_VOCABULARY_H
#define GENET_TEXT_VOCABULARY_H
#include <string.h>
#include "base/arena.h"
#include "base/json.h"
#include "format/sha256.h"

enum { VOCABULARY_MAX = 16 << 20 };     /* ids: no model has so many rows */

/* Open addressing.  key: the bytes themselves up to eight, else their hash; n_bytes1: their number + 1, 0: empty;
 * mark: the owner's. */
typedef struct vocabulary_slot { uint64_t key; int32_t id; uint32_t n_bytes1 : 31, mark : 1; } vocabulary_slot;
typedef struct vocabulary_piece { uint32_t at, n_bytes1; } vocabulary_piece;        /* n_bytes1 0: a hole */

typedef struct vocabulary {             /* {0} is ready for init */
    int    size, count;                 /* the highest id + 1; how many pieces there are */
    char  *bytes;                       /* all pieces, one after the other */
    size_t n_bytes, cap_bytes;
    vocabulary_piece *piece;            /* by id */
    int    cap_piece;
    vocabulary_slot  *slot;
    uint64_t mask;
    int      shift;
} vocabulary;

/* Room for n pieces; then add them, each once. */
bool genet__vocabulary_init(vocabulary *v, int64_t n, genet_err *err);
/* False after an error: the piece or the id is there already, the id is out of range, no memory. */
bool genet__vocabulary_add(vocabulary *v, const char *piece, size_t n, int64_t id, genet_err *err);
/* init and add from {"piece": id, ...}; path: "model.vocab", for messages. */
bool genet__vocabulary_read(vocabulary *v, const json_t *object, const char *where, const char *path, genet_err *err);
json_t *genet__vocabulary_json(const vocabulary *v);        /* in the order of ids; NULL: no memory */
const char *genet__vocabulary_piece(const vocabulary *v, int32_t id, size_t *n);     /* NULL: none */
void genet__vocabulary_hash(const vocabulary *v, sha256 *s);
void genet__vocabulary_release(vocabulary *v);

/* --- finding ---------------------------------------------------------------------------------------------------- */

static inline uint64_t genet__hash_mix(uint64_t x)
{
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

/* Up to eight bytes as they are (with their number they are the word), of longer ones a hash. */
static inline uint64_t genet__hash_key(const char *s, size_t n)
{
    uint64_t a = 0, b = 0;
    if (n >= 8) {
        memcpy(&a, s, 8);
        if (n == 8) return a;
        for (size_t i = 8; i + 8 <= n; i += 8) {
            memcpy(&b, s + i, 8);
            a = genet__hash_mix(a ^ b) + b;
        }
        memcpy(&b, s + n - 8, 8);
        return genet__hash_mix(a ^ b) + n;
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

/* Where the piece is, or the free place where it belongs. */
static inline vocabulary_slot *genet__vocabulary_slot(const vocabulary *v, const char *s, size_t n)
{
    uint64_t key = genet__hash_key(s, n);
    for (uint64_t i = genet__hash_mix(key + n) >> v->shift;; i++) {
        vocabulary_slot *w = &v->slot[i & v->mask];
        if (!w->n_bytes1) return w;
        if (w->key == key && w->n_bytes1 == n + 1 && (n <= 8 || !memcmp(v->bytes + v->piece[w->id].at, s, n))) return w;
    }
}

/* The id, or -1. */
static inline int32_t genet__vocabulary_find(const vocabulary *v, const char *s, size_t n)
{
    const vocabulary_slot *w = genet__vocabulary_slot(v, s, n);
    return w->n_bytes1 ? w->id : -1;
}
#endif
