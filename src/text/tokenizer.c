/* tokenizer.c - what all tokenizers share: the table of kinds, reading and
 * writing tokenizer.json, the vocabulary, decoding (pieces joined), the hash. */
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "text/tokenizer_kind.h"

static const tokenizer_kind *const kinds[] = { &genet__tokenizer_char };
enum { N_KINDS = sizeof kinds / sizeof *kinds, FILE_MAX = 256 << 20 };

void genet__token_list_release(token_list *l)
{
    genet__free(l->at);
    *l = (token_list){ 0 };
}

void genet__tokenizer_free(tokenizer *t)
{
    if (!t) return;
    genet__arena_release(&t->arena);
    genet__free(t);
}

/* --- files ------------------------------------------------------------------ */

/* By model.type; the words list all that can be read. */
static const tokenizer_kind *kind_for(const json_t *j, const char *where, genet_err *err)
{
    const json_t *model = json_object_get(j, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    if (!type) {
        genet__err_set(err, GENET_ERR_FORMAT, "%s: \"model\" with a \"type\" is missing", where);
        return NULL;
    }
    str known = { 0 };
    const tokenizer_kind *found = NULL;
    for (int i = 0; i < N_KINDS && !found; i++) {
        if (!strcmp(kinds[i]->model_type, type)) found = kinds[i];
        genet__str_printf(&known, "%s%s (%s)", i ? ", " : "", kinds[i]->model_type, kinds[i]->name);
    }
    if (!found)
        genet__err_set(err, GENET_ERR_FORMAT, "%s: model.type \"%.40s\" is not known to this version; it reads %s",
                       where, type, genet__str(&known));
    genet__str_release(&known);
    return found;
}

tokenizer *genet__tokenizer_from_json(const json_t *j, const char *where, genet_err *err)
{
    const tokenizer_kind *kind = kind_for(j, where, err);
    if (!kind) return NULL;
    tokenizer *t = genet__alloc(sizeof *t);
    if (!t) genet__err_memory(err);
    else t->kind = kind;
    if (t && kind->load(t, j, where, err)) return t;
    genet__tokenizer_free(t);
    return NULL;
}

/* tokenizer_config.json is for transformers alone: nothing in it changes ids. */
tokenizer *genet__tokenizer_load(const char *folder, genet_err *err)
{
    char *path = genet__path_join(folder, "tokenizer.json");
    if (!path) genet__err_memory(err);
    json_t *j = path ? genet__json_read(path, FILE_MAX, err) : NULL;
    tokenizer *t = j ? genet__tokenizer_from_json(j, path, err) : NULL;
    json_decref(j);
    genet__free(path);
    return t;
}

/* Takes j over. */
static bool write_json(const char *folder, const char *name, json_t *j, genet_err *err)
{
    char *path = genet__path_join(folder, name);
    bool ok = j && path ? genet__json_write(path, j, err) : genet__err_memory(err);
    json_decref(j);
    genet__free(path);
    return ok;
}

/* The class keeps transformers from rebuilding the tokenizer of the model's
 * family; the flag, from dropping spaces before punctuation when it decodes. */
bool genet__tokenizer_save(const tokenizer *t, const char *folder, genet_err *err)
{
    json_t *config = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                               "clean_up_tokenization_spaces", 0);
    bool ok = write_json(folder, "tokenizer_config.json", config, err);
    return ok && write_json(folder, "tokenizer.json", t->kind->to_json(t), err);
}

/* --- the vocabulary --------------------------------------------------------- */

const char *genet__tokenizer_kind(const tokenizer *t)
{
    return t->kind->name;
}

int genet__tokenizer_size(const tokenizer *t)
{
    return t->n;
}

bool genet__tokenizer_encode(const tokenizer *t, const char *text, size_t n, token_list *out, genet_err *err)
{
    size_t bad = 0;
    return genet__tokenizer_encode_at(t, text, n, out, &bad, err) ||
           genet__err_prefix(err, "byte %zu of the text: ", bad);
}

bool genet__tokenizer_encode_at(const tokenizer *t, const char *text, size_t n, token_list *out, size_t *bad,
                                genet_err *err)
{
    *bad = 0;
    return n == 0 || t->kind->encode(t, text, n, out, bad, err);
}

int32_t genet__tokenizer_find(const tokenizer *t, const char *piece, size_t n_bytes)
{
    return t->kind->find(t, piece, n_bytes);
}

const char *genet__tokenizer_piece(const tokenizer *t, int32_t id, size_t *n_bytes)
{
    if (id < 0 || id >= t->n) return NULL;
    if (n_bytes) *n_bytes = t->start[id + 1] - t->start[id];
    return t->bytes + t->start[id];
}

bool genet__tokenizer_decode(const tokenizer *t, const int32_t *id, int64_t n, str *out, genet_err *err)
{
    for (int64_t i = 0; i < n; i++) {
        size_t n_bytes = 0;
        const char *piece = genet__tokenizer_piece(t, id[i], &n_bytes);
        if (!piece)
            return genet__err_set(err, GENET_ERR_USAGE, "token id %d is outside the vocabulary of %d", id[i], t->n);
        genet__str_add_n(out, piece, n_bytes);
    }
    return out->failed ? genet__err_memory(err) : true;
}

/* Pieces go in with their lengths: "ab" "c" is not "a" "bc". */
void genet__tokenizer_hash(const tokenizer *t, char hex[HASH_HEX])
{
    sha256 s;
    genet__sha256_init(&s);
    genet__sha256_add(&s, t->kind->name, strlen(t->kind->name) + 1);
    for (int i = 0; i < t->n; i++) {
        uint32_t n = t->start[i + 1] - t->start[i];
        const unsigned char length[4] = { n & 255, n >> 8 & 255, n >> 16 & 255, n >> 24 & 255 };
        genet__sha256_add(&s, length, sizeof length);
        genet__sha256_add(&s, t->bytes + t->start[i], n);
    }
    genet__sha256_end(&s, hex);
}

/* Letters that would spoil a line of a message are named by number alone:
 * controls, marks without width or that turn the direction, private use. */
void genet__describe_char(uint32_t c, char out[32])
{
    static const struct { uint32_t from, to; } hidden[] = {
        { 0, 0x1f }, { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x300, 0x36f }, { 0x200b, 0x200f }, { 0x2028, 0x202e },
        { 0x2060, 0x206f }, { 0xd800, 0xf8ff }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff }, { 0xfff0, 0xfffb },
        { 0xe0000, 0x10ffff },
    };
    const char *escape = c == '\n' ? "'\\n' " : c == '\t' ? "'\\t' " : c == '\r' ? "'\\r' " : "";
    bool shown = true;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) shown &= c < hidden[i].from || c > hidden[i].to;
    char letter[5] = "";
    if (shown) letter[genet__utf8_encode(c, letter)] = 0;
    if (shown) snprintf(out, 32, "'%s' (U+%04X)", letter, c);
    else if (*escape) snprintf(out, 32, "%s(U+%04X)", escape, c);
    else snprintf(out, 32, "U+%04X", c);
}
