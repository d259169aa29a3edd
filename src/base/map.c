/* map.c - open addressing with linear probing over FNV-1a hashes; a power of
 * two of slots, at most two thirds full.  Keys are copied.  There is no
 * removal, so no tombstones. */
#include "base/map.h"
#include <string.h>
#include "base/alloc.h"

typedef struct map_slot { char *key; uint64_t hash; int64_t value; } map_slot;

/* Fowler, Noll, Vo, 64 bits; the last shift brings high bits into the slot's index. */
static uint64_t hash_of(const char *key)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *key; key++) h = (h ^ (unsigned char)*key) * 0x100000001b3u;
    return h ^ h >> 32;
}

/* The slot that holds key, or the empty one where it belongs. */
static map_slot *find(const map *m, const char *key, uint64_t hash)
{
    uint64_t mask = (uint64_t)m->cap - 1;
    for (uint64_t i = hash & mask;; i = (i + 1) & mask) {
        map_slot *s = &m->slot[i];
        if (!s->key || (s->hash == hash && !strcmp(s->key, key))) return s;
    }
}

static bool make_room(map *m)
{
    if (3 * ((int64_t)m->n + 1) <= 2 * (int64_t)m->cap) return true;
    if (m->cap > 1 << 29) return false;
    map bigger = { .n = m->n, .cap = m->cap ? 2 * m->cap : 16 };
    bigger.slot = genet__alloc_array((size_t)bigger.cap, sizeof *bigger.slot);
    if (!bigger.slot) return false;
    for (int i = 0; i < m->cap; i++)
        if (m->slot[i].key) *find(&bigger, m->slot[i].key, m->slot[i].hash) = m->slot[i];
    genet__free(m->slot);
    *m = bigger;
    return true;
}

bool genet__map_set(map *m, const char *key, int64_t value)
{
    if (!make_room(m)) return false;
    uint64_t hash = hash_of(key);
    map_slot *s = find(m, key, hash);
    if (!s->key) {
        char *copy = genet__strdup(key);
        if (!copy) return false;
        *s = (map_slot){ .key = copy, .hash = hash };
        m->n++;
    }
    s->value = value;
    return true;
}

int64_t *genet__map_get(const map *m, const char *key)
{
    if (m->n == 0) return NULL;
    map_slot *s = find(m, key, hash_of(key));
    return s->key ? &s->value : NULL;
}

void genet__map_release(map *m)
{
    for (int i = 0; i < m->cap; i++) genet__free(m->slot[i].key);
    genet__free(m->slot);
    *m = (map){ 0 };
}
