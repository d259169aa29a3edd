/* tokenizer_file.c - tokenizers in files: the table of kinds, tokenizer.json read and written, and the two files
 * of older BPE folders (vocab.json and merges.txt, OpenAI's encoder.json and vocab.bpe), which are put together, with
 * added_tokens.json where there is one, to the tokenizer.json that they mean. */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "text/tokenizer_kind.h"

static const tokenizer_kind *const kinds[] = { &genet__tokenizer_char, &genet__tokenizer_word, &genet__tokenizer_bpe };
enum { N_KINDS = sizeof kinds / sizeof *kinds, FILE_MAX = 256 << 20 };

/* Early files give no type: only BPE's have merges. */
static const char *type_of(const json_t *model)
{
    const json_t *type = json_object_get(model, "type");
    return type ? json_string_value(type) : json_object_get(model, "merges") ? "BPE" : NULL;
}

/* By model.type; the words list all that can be read. */
static const tokenizer_kind *kind_for(const json_t *j, const char *where, genet_err *err)
{
    const char *type = type_of(json_object_get(j, "model"));
    if (!type) {
        genet__err_set(err, GENET_ERR_FORMAT, "%s: \"model\" with a \"type\" is missing", where);
        return NULL;
    }
    str known = { 0 };
    const tokenizer_kind *found = NULL;
    for (int i = 0; i < N_KINDS && !found; i++) {
        if (!strcmp(kinds[i]->model_type, type) && (!kinds[i]->accepts || kinds[i]->accepts(j))) found = kinds[i];
        genet__str_printf(&known, "%s%s (%s)", i ? ", " : "", kinds[i]->model_type, kinds[i]->name);
    }
    if (!found)
        genet__err_set(err, GENET_ERR_FORMAT, "%s: model.type \"%.40s\" is not known to this version; it reads %s",
                       where, type, genet__str(&known));
    genet__str_release(&known);
    return found;
}

/* The messages of the index know no file. */
static bool load(tokenizer *t, const json_t *j, const char *where, genet_err *err)
{
    TRY(genet__added_read(t, j, where, err) && t->kind->load(t, j, where, err));
    return genet__added_index(t, err) || genet__err_prefix(err, "%s: ", where);
}

tokenizer *genet__tokenizer_from_json(const json_t *j, const char *where, genet_err *err)
{
    const tokenizer_kind *kind = kind_for(j, where, err);
    if (!kind) return NULL;
    tokenizer *t = genet__alloc(sizeof *t);
    if (!t) {
        genet__err_memory(err);
        return NULL;
    }
    t->kind = kind;
    t->unknown = -1;
    if (load(t, j, where, err)) return t;
    genet__tokenizer_free(t);
    return NULL;
}

/* --- folders of two files ---------------------------------------------------------------------------------------- */

static const char *const pairs[][2] = { { "vocab.json", "merges.txt" }, { "encoder.json", "vocab.bpe" } };
enum { N_PAIRS = sizeof pairs / sizeof *pairs };

/* A line is a merge; "#version: ..." and empty lines are not. */
static json_t *merges_of(const char *text, size_t n)
{
    json_t *list = json_array();
    for (const char *end = text + n, *next; list && text < end; text = next) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        if (!line_end) line_end = end;
        next = line_end + 1;
        if (line_end > text && line_end[-1] == '\r') line_end--;
        size_t length = (size_t)(line_end - text);
        if (length == 0 || (length >= 8 && !memcmp(text, "#version", 8))) continue;
        if (!json_array_append_new(list, json_stringn(text, length))) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

static bool not_utf8(const char *path, const char *text, size_t n, genet_err *err)
{
    uint32_t c;
    for (size_t i = 0; i < n;) {
        int k = genet__utf8_decode(text + i, n - i, &c);
        if (k <= 0) return genet__err_set(err, GENET_ERR_FORMAT, "%s: byte %zu: is not UTF-8 text", path, i);
        i += (size_t)k;
    }
    return genet__err_memory(err);
}

/* added_tokens.json, where there is one: {"content": id, ...}, tokens that the vocabulary may lack. */
static bool read_own(const char *folder, json_t **own, genet_err *err)
{
    const char *content;
    json_t *id;
    *own = NULL;
    if (!genet__file_exists_in(folder, "added_tokens.json")) return true;
    char *path = genet__path_join(folder, "added_tokens.json");
    *own = path ? genet__json_read(path, FILE_MAX, err) : NULL;
    bool ok = *own || (!path && genet__err_memory(err));
    if (ok && !json_is_object(*own))
        ok = genet__err_set(err, GENET_ERR_FORMAT, "%s: must be an object of tokens and their ids", path);
    json_object_foreach(*own, content, id)
        if (ok && !json_is_integer(id))
            ok = genet__err_set(err, GENET_ERR_FORMAT, "%s: the id of \"%.40s\" is not an integer", path, content);
    genet__free(path);
    return ok;
}

static void append_added(json_t **list, const char *content, json_t *id)
{
    genet__json_append(list, json_pack("{s:O, s:s, s:b, s:b}", "id", id, "content", content, "special", 1, "normalized", 0));
}

/* Takes vocabulary and merges over; own may be NULL. */
static json_t *put_together(json_t *vocabulary, json_t *merges, json_t *own)
{
    const char *content, *end = "<|endoftext|>";
    json_t *added = json_array(), *id;
    if (json_object_get(vocabulary, end) && !json_object_get(own, end))
        append_added(&added, end, json_object_get(vocabulary, end));
    json_object_foreach(own, content, id) append_added(&added, content, id);
    return json_pack("{s:o, s:{s:s, s:b, s:b}, s:{s:s}, s:{s:s, s:o, s:o}}", "added_tokens", added, "pre_tokenizer", "type",
                     "ByteLevel", "add_prefix_space", 0, "use_regex", 1, "decoder", "type", "ByteLevel", "model", "type",
                     "BPE", "vocab", vocabulary, "merges", merges);
}

static tokenizer *load_two(const char *vocabulary_path, const char *merges_path, json_t *own, genet_err *err)
{
    size_t n = 0;
    json_t *vocabulary = genet__json_read(vocabulary_path, FILE_MAX, err);
    char *text = vocabulary ? genet__file_read(merges_path, FILE_MAX, &n, err) : NULL;
    json_t *merges = text ? merges_of(text, n) : NULL, *j = merges ? put_together(vocabulary, merges, own) : NULL;
    if (text && !merges) not_utf8(merges_path, text, n, err);
    else if (merges && !j) genet__err_memory(err);
    if (!merges) json_decref(vocabulary);
    tokenizer *t = j ? genet__tokenizer_from_json(j, vocabulary_path, err) : NULL;
    json_decref(j);
    genet__free(text);
    return t;
}

static tokenizer *load_pair(const char *folder, const char *const pair[2], genet_err *err)
{
    char *vocabulary = genet__path_join(folder, pair[0]), *merges = genet__path_join(folder, pair[1]);
    tokenizer *t = NULL;
    json_t *own = NULL;
    if (!vocabulary || !merges) genet__err_memory(err);
    else if (read_own(folder, &own, err)) t = load_two(vocabulary, merges, own, err);
    json_decref(own);
    genet__free(vocabulary);
    genet__free(merges);
    return t;
}

/* --- loading and saving ------------------------------------------------------------------------------------------ */

static tokenizer *load_json(const char *path, genet_err *err)
{
    json_t *j = genet__json_read(path, FILE_MAX, err);
    tokenizer *t = j ? genet__tokenizer_from_json(j, path, err) : NULL;
    json_decref(j);
    return t;
}

bool genet__tokenizer_exists(const char *folder)
{
    for (int i = 0; i < N_PAIRS; i++)
        if (genet__file_exists_in(folder, pairs[i][0]) && genet__file_exists_in(folder, pairs[i][1])) return true;
    return genet__file_exists_in(folder, "tokenizer.json");
}

/* tokenizer_config.json is for transformers alone: nothing in it changes ids. */
tokenizer *genet__tokenizer_load(const char *path, genet_err *err)
{
    if (genet__file_exists(path) && !genet__file_is_dir(path)) return load_json(path, err);
    for (int i = 0; i < N_PAIRS && !genet__file_exists_in(path, "tokenizer.json"); i++)
        if (genet__file_exists_in(path, pairs[i][0]) && genet__file_exists_in(path, pairs[i][1]))
            return load_pair(path, pairs[i], err);
    char *file = genet__path_join(path, "tokenizer.json");
    if (!file) genet__err_memory(err);
    tokenizer *t = file ? load_json(file, err) : NULL;
    genet__free(file);
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

static int set_token(json_t *config, const char *field, const tokenizer *t, int32_t id)
{
    const added_token *a = genet__added_find(t, id);
    return a && a->special ? json_object_set_new(config, field, json_string(a->content)) : 0;
}

/* A text of GPT-2's kind begins with what ends the one before. */
static int32_t begin_of(const tokenizer *t)
{
    static const char *const begins[] = { "<|endoftext|>", "<s>", "<bos>", "<|begin_of_text|>" };
    for (size_t k = 0; k < sizeof begins / sizeof *begins; k++)
        for (int i = 0; i < t->n_added; i++)
            if (!strcmp(t->added[i].content, begins[k])) return t->added[i].id;
    return -1;
}

/* The class keeps transformers from rebuilding the tokenizer of the model's
 * family; the flag, from dropping spaces before punctuation when it decodes.
 * Only tokens that are added ones: naming another would make it one. */
static json_t *config_of(const tokenizer *t)
{
    json_t *config = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                               "clean_up_tokenization_spaces", 0);
    bool ok = config && !set_token(config, "bos_token", t, begin_of(t)) &&
              !set_token(config, "eos_token", t, genet__tokenizer_end(t)) &&
              !set_token(config, "unk_token", t, genet__tokenizer_unknown(t));
    if (ok) return config;
    json_decref(config);
    return NULL;
}

bool genet__tokenizer_save(const tokenizer *t, const char *folder, genet_err *err)
{
    TRY(write_json(folder, "tokenizer_config.json", config_of(t), err));
    json_t *j = t->kind->to_json(t);
    if (j && json_object_set_new(j, "added_tokens", genet__added_json(t))) {
        json_decref(j);
        j = NULL;
    }
    return write_json(folder, "tokenizer.json", j, err);
}
