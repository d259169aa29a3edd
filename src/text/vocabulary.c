/* vocabulary.c - pieces and their ids: filling, reading, writing.
 *
 * The bytes of all pieces stand in one array; a table by id says where, another, open-addressed and at most half full,
 * finds them by their bytes. */
#include "text/vocabulary.h"
#include <inttypes.h>
#include "base/alloc.h"
#include "base/err.h"

bool genet__vocabulary_init(vocabulary *v, int64_t n, genet_err *err)
{
    int bits = 8;
    if (n > VOCABULARY_MAX) return genet__err_set(err, GENET_ERR_FORMAT, "more than %d pieces", VOCABULARY_MAX);
    while ((INT64_C(1) << bits) < 2 * n) bits++;
    v->slot = genet__alloc_array((size_t)1 << bits, sizeof *v->slot);
    v->mask = (UINT64_C(1) << bits) - 1;
    v->shift = 64 - bits;
    return v->slot || genet__err_memory(err);
}

/* Doubled, as genet__grow does; lengths are size_t here. */
static bool grow_bytes(vocabulary *v, size_t n)
{
    if (v->n_bytes + n < v->cap_bytes) return true;
    size_t cap = 2 * (v->n_bytes + n) + 64;
    char *bytes = cap <= UINT32_MAX ? genet__realloc(v->bytes, cap) : NULL;
    if (!bytes) return false;
    v->bytes = bytes;
    v->cap_bytes = cap;
    return true;
}

/* Room for id, and holes up to it. */
static bool grow_ids(vocabulary *v, int32_t id)
{
    if (!genet__grow(&v->piece, &v->cap_piece, id + 1, sizeof *v->piece)) return false;
    for (; v->size <= id; v->size++) v->piece[v->size] = (vocabulary_piece){ 0 };
    return true;
}

bool genet__vocabulary_add(vocabulary *v, const char *piece, size_t n, int64_t id, genet_err *err)
{
    if (id < 0 || id >= VOCABULARY_MAX)
        return genet__err_set(err, GENET_ERR_FORMAT, "the id %" PRId64 " of \"%.40s\" is outside 0..%d", id, piece,
                              VOCABULARY_MAX - 1);
    if (id < v->size && v->piece[id].n_bytes1)
        return genet__err_set(err, GENET_ERR_FORMAT, "\"%.*s\" and \"%.40s\" both have id %" PRId64,
                              v->piece[id].n_bytes1 > 40 ? 40 : (int)v->piece[id].n_bytes1 - 1,
                              v->bytes + v->piece[id].at, piece, id);
    vocabulary_slot *w = genet__vocabulary_slot(v, piece, n);
    if (w->n_bytes1)
        return genet__err_set(err, GENET_ERR_FORMAT, "\"%.40s\" stands there twice, with ids %d and %" PRId64, piece,
                              (int)w->id, id);
    if (n > INT32_MAX / 2 || !grow_bytes(v, n) || !grow_ids(v, (int32_t)id)) return genet__err_memory(err);
    if (n) memcpy(v->bytes + v->n_bytes, piece, n);
    v->piece[id] = (vocabulary_piece){ (uint32_t)v->n_bytes, (uint32_t)n + 1 };
    *w = (vocabulary_slot){ .key = genet__hash_key(piece, n), .id = (int32_t)id, .n_bytes1 = (uint32_t)n + 1 };
    v->n_bytes += n;
    v->count++;
    return true;
}

bool genet__vocabulary_read(vocabulary *v, const json_t *object, const char *where, const char *path, genet_err *err)
{
    const char *piece;
    json_t *id, *pieces = (json_t *)object;     /* json_object_foreach only reads */
    if (!json_is_object(object) || json_object_size(object) == 0)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is missing or empty", where, path);
    bool ok = genet__vocabulary_init(v, (int64_t)json_object_size(object), err);
    json_object_foreach(pieces, piece, id) {
        if (ok && !json_is_integer(id))
            ok = genet__err_set(err, GENET_ERR_FORMAT, "the id of \"%.40s\" is not an integer", piece);
        ok = ok && genet__vocabulary_add(v, piece, strlen(piece), json_integer_value(id), err);
        if (!ok) break;
    }
    return ok || genet__err_prefix(err, "%s: %s: ", where, path);
}

json_t *genet__vocabulary_json(const vocabulary *v)
{
    json_t *j = json_object();
    str key = { 0 };
    for (int id = 0; j && id < v->size; id++) {
        if (!v->piece[id].n_bytes1) continue;
        genet__str_clear(&key);
        genet__str_add_n(&key, v->bytes + v->piece[id].at, v->piece[id].n_bytes1 - 1);
        if (!key.failed && !json_object_set_new(j, genet__str(&key), json_integer(id))) continue;
        json_decref(j);
        j = NULL;
    }
    genet__str_release(&key);
    return j;
}

const char *genet__vocabulary_piece(const vocabulary *v, int32_t id, size_t *n)
{
    if (id < 0 || id >= v->size || !v->piece[id].n_bytes1) return NULL;
    *n = v->piece[id].n_bytes1 - 1;
    return v->bytes + v->piece[id].at;
}

/* Pieces go in with their lengths: "ab" "c" is not "a" "bc"; a hole is no empty piece. */
void genet__vocabulary_hash(const vocabulary *v, sha256 *s)
{
    for (int i = 0; i < v->size; i++) {
        uint32_t n = v->piece[i].n_bytes1;
        const unsigned char length[4] = { n & 255, n >> 8 & 255, n >> 16 & 255, n >> 24 & 255 };
        genet__sha256_add(s, length, sizeof length);
        if (n > 1) genet__sha256_add(s, v->bytes + v->piece[i].at, n - 1);
    }
}

void genet__vocabulary_release(vocabulary *v)
{
    genet__free(v->bytes);
    genet__free(v->piece);
    genet__free(v->slot);
    *v = (vocabulary){ 0 };
}
