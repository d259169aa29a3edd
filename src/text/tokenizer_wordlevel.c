/* tokenizer_wordlevel.c - the model WordLevel: a pre-token is one token, or the unknown one. */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/tokenizer_model.h"
#include "text/vocabulary.h"

typedef struct wordlevel { vocabulary v; char *unk_token; int32_t unknown; } wordlevel;

static void free_model(void *m)
{
    wordlevel *w = m;
    if (!w) return;
    genet__vocabulary_release(&w->v);
    genet__free(w->unk_token);
    genet__free(w);
}

static bool read_all(wordlevel *w, const json_t *model, const char *where, genet_err *err)
{
    static const char *const known[] = { "type", "vocab", "unk_token", NULL };
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    TRY(genet__json_known(model, known, where, "model", err));
    if (!unknown) return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.unk_token must be a string", where);
    TRY(genet__vocabulary_read(&w->v, json_object_get(model, "vocab"), where, "model.vocab", err));
    w->unknown = genet__vocabulary_find(&w->v, unknown, strlen(unknown));
    w->unk_token = genet__strdup(unknown);
    return w->unk_token || genet__err_memory(err);
}

static void *load(const json_t *model, const char *where, genet_err *err)
{
    wordlevel *w = genet__alloc(sizeof *w);
    if (!w) genet__err_memory(err);
    if (w && read_all(w, model, where, err)) return w;
    free_model(w);
    return NULL;
}

static json_t *to_json(const void *m)
{
    const wordlevel *w = m;
    return json_pack("{s:s, s:o, s:s}", "type", "WordLevel", "vocab", genet__vocabulary_json(&w->v), "unk_token", w->unk_token);
}

static bool encode(const void *m, const char *s, size_t n, token_sink *out, genet_err *err)
{
    const wordlevel *w = m;
    int32_t id = genet__vocabulary_find(&w->v, s, n);
    if (id < 0) id = w->unknown;
    if (id >= 0) return genet__token_add(out, id, 0, n, err);
    return genet__err_set(err, GENET_ERR_USAGE, "\"%.*s\" is not among the %d words that the model knows, which has no token "
                          "for unknown words", n < 60 ? (int)n : 60, s, w->v.count);
}

static int32_t find(const void *m, const char *piece, size_t n)
{
    return genet__vocabulary_find(&((const wordlevel *)m)->v, piece, n);
}

static const char *piece(const void *m, int32_t id, size_t *n)
{
    return genet__vocabulary_piece(&((const wordlevel *)m)->v, id, n);
}

static int size(const void *m) { return ((const wordlevel *)m)->v.size; }
static int count(const void *m) { return ((const wordlevel *)m)->v.count; }
static int32_t unknown(const void *m) { return ((const wordlevel *)m)->unknown; }

static void hash(const void *m, sha256 *s)
{
    const wordlevel *w = m;
    genet__vocabulary_hash(&w->v, s);
    genet__sha256_add(s, w->unk_token, strlen(w->unk_token) + 1);
}

const token_model genet__model_wordlevel = {
    .type = "WordLevel", .name = "word", .load = load, .to_json = to_json, .encode = encode, .find = find, .piece = piece,
    .size = size, .count = count, .unknown = unknown, .hash = hash, .free = free_model,
};
