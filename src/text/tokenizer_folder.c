/* tokenizer_folder.c - the files that were there before tokenizer.json:
 *
 *   vocab.json, merges.txt (OpenAI's encoder.json, vocab.bpe)   byte-level BPE, as GPT-2, RoBERTa and CLIP have it
 *   vocab.txt                                                    WordPiece, a piece a line, as BERT has it
 *
 * They do not say what is done around the model: tokenizer_config.json's "tokenizer_class", or config.json's "model_type",
 * names the family, and each family's pipeline is the one that transformers builds for it.  added_tokens.json, where there
 * is one, has tokens that the vocabulary may lack. */
#include "text/tokenizer_folder.h"
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"

enum { FILE_MAX = 256 << 20, CONFIG_MAX = 16 << 20 };

typedef struct file_pair { const char *vocabulary, *merges; } file_pair;
static const file_pair pairs[] = { { "vocab.json", "merges.txt" }, { "encoder.json", "vocab.bpe" }, { "vocab.txt", NULL } };
enum { N_PAIRS = sizeof pairs / sizeof *pairs };

/* --- families ----------------------------------------------------------------------------------------------------- */

#define BYTE_LEVEL(add_prefix_space) \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":" add_prefix_space ",\"trim_offsets\":true,\"use_regex\":true}"
#define BPE(suffix, unknown) \
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":" unknown ",\"continuing_subword_prefix\":\"\"," \
    "\"end_of_word_suffix\":\"" suffix "\",\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false}}"

/* What stands around the vocabulary; special: the tokens that are special where the vocabulary has them. */
static const struct family { const char *name; const char *special[5]; const char *json; } families[] = {
    { "gpt2", { "<|endoftext|>" },
      "{\"pre_tokenizer\":" BYTE_LEVEL("false") ",\"post_processor\":" BYTE_LEVEL("true") ",\"decoder\":" BYTE_LEVEL("true") ","
      BPE("", "null") },
    { "roberta", { "<s>", "<pad>", "</s>", "<unk>", "<mask>" },
      "{\"pre_tokenizer\":" BYTE_LEVEL("false") ",\"post_processor\":{\"type\":\"RobertaProcessing\",\"sep\":\"</s>\","
      "\"cls\":\"<s>\",\"trim_offsets\":true,\"add_prefix_space\":false},\"decoder\":" BYTE_LEVEL("true") "," BPE("", "null") },
    { "clip", { "<|startoftext|>", "<|endoftext|>" },
      "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":"
      "{\"Regex\":\"\\\\s+\"},\"content\":\" \"},{\"type\":\"Lowercase\"}]},\"pre_tokenizer\":{\"type\":\"Sequence\","
      "\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|'s|'t|'re|"
      "'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"},\"behavior\":\"Removed\",\"invert\":true},"
      BYTE_LEVEL("false") "]},\"post_processor\":{\"type\":\"RobertaProcessing\",\"sep\":\"<|endoftext|>\",\"cls\":"
      "\"<|startoftext|>\",\"trim_offsets\":false,\"add_prefix_space\":false},\"decoder\":" BYTE_LEVEL("true") ","
      BPE("</w>", "\"<|endoftext|>\"") },
    { "bert", { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" },
      "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,"
      "\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":{\"type\":"
      "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\","
      "\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":\"[CLS]\","
      "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}},"
      "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":1}}],"
      "\"special_tokens\":{\"[CLS]\":{},\"[SEP]\":{}}},\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},"
      "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
      "\"max_input_chars_per_word\":100}}" },
};
enum { N_FAMILIES = sizeof families / sizeof *families, BERT_FAMILY = N_FAMILIES - 1 };

/* --- reading ------------------------------------------------------------------------------------------------------ */

typedef struct folder_files {
    json_t *config, *model_config, *added, *vocabulary, *merges;    /* NULL: not there */
    const struct family *family;
    genet_err *err;
} folder_files;

/* *to stays NULL where there is no such file. */
static bool read_json(const char *folder, const char *name, json_t **to, genet_err *err)
{
    if (!genet__file_exists_in(folder, name)) return true;
    char *path = genet__path_join(folder, name);
    *to = path ? genet__json_read(path, CONFIG_MAX, err) : NULL;
    bool ok = *to || (!path && genet__err_memory(err));
    if (ok && !json_is_object(*to)) ok = genet__err_set(err, GENET_ERR_FORMAT, "%s: must be an object", path);
    genet__free(path);
    return ok;
}

static bool check_added(const folder_files *f)
{
    const char *content;
    json_t *id;
    json_object_foreach(f->added, content, id)
        if (!json_is_integer(id))
            return genet__err_set(f->err, GENET_ERR_FORMAT, "added_tokens.json: the id of \"%.40s\" is not an integer", content);
    return true;
}

/* Has the text the word in it, whatever the case? */
static bool names(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (; text && *text; text++)
        if (!strncasecmp(text, word, n)) return true;
    return false;
}

/* "CLIPTokenizerFast", or "clip"; "distilroberta" is RoBERTa's, "distilbert" BERT's. */
static void choose_family(folder_files *f, bool lines)
{
    const char *class = json_string_value(json_object_get(f->config, "tokenizer_class"));
    const char *type = json_string_value(json_object_get(f->model_config, "model_type"));
    f->family = &families[lines ? BERT_FAMILY : 0];
    for (int i = 1; !lines && i < BERT_FAMILY; i++)
        if (names(class, families[i].name) || (!class && names(type, families[i].name))) f->family = &families[i];
}

/* Calls each with every line of text, without its end; the last may have none. */
static bool each_line(const char *text, size_t n, bool (*each)(void *to, const char *line, size_t length), void *to)
{
    for (const char *end = text + n, *next; text < end; text = next) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        if (!line_end) line_end = end;
        next = line_end + 1;
        if (line_end > text && line_end[-1] == '\r') line_end--;
        if (!each(to, text, (size_t)(line_end - text))) return false;
    }
    return true;
}

/* A line is a merge; "#version: ..." and empty lines are not. */
static bool add_merge(void *list, const char *line, size_t n)
{
    return n == 0 || (n >= 8 && !memcmp(line, "#version", 8)) || !json_array_append_new(list, json_stringn(line, n));
}

/* A line is a piece, its number the id; of equal ones the last counts, as in the tokenizers library. */
typedef struct lines { json_t *vocabulary; int n; } lines;

static bool add_piece(void *user, const char *line, size_t n)
{
    lines *l = user;
    str key = { 0 };
    genet__str_add_n(&key, line, n);
    bool ok = !key.failed && !json_object_set_new(l->vocabulary, genet__str(&key), json_integer(l->n));
    l->n++;
    genet__str_release(&key);
    return ok;
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

static bool read_lines(folder_files *f, const char *path, bool pieces)
{
    size_t n = 0;
    char *text = genet__file_read(path, FILE_MAX, &n, f->err);
    lines l = { pieces ? json_object() : NULL, 0 };
    json_t *merges = pieces ? NULL : json_array(), *made = pieces ? l.vocabulary : merges;
    bool ok = text && made && each_line(text, n, pieces ? add_piece : add_merge, pieces ? (void *)&l : (void *)merges);
    if (text && !ok) not_utf8(path, text, n, f->err);
    genet__free(text);
    if (pieces) f->vocabulary = made;
    else f->merges = made;
    return ok;
}

/* --- putting together --------------------------------------------------------------------------------------------- */

typedef struct added_entry { const char *content; json_t *id; } added_entry;

static int by_id(const void *a, const void *b)
{
    json_int_t x = json_integer_value(((const added_entry *)a)->id), y = json_integer_value(((const added_entry *)b)->id);
    return (x > y) - (x < y);
}

/* Special tokens that the vocabulary has, and those of added_tokens.json, all of them special, in the order of their ids. */
static json_t *added_json(const folder_files *f)
{
    const char *content;
    json_t *id, *list = json_array();
    size_t n = 0;
    added_entry *e = genet__alloc_array(json_object_size(f->added) + 5, sizeof *e);
    for (int i = 0; e && i < 5 && f->family->special[i]; i++)
        if ((id = json_object_get(f->vocabulary, f->family->special[i])) && !json_object_get(f->added, f->family->special[i]))
            e[n++] = (added_entry){ f->family->special[i], id };
    json_object_foreach(f->added, content, id)
        if (e) e[n++] = (added_entry){ content, id };
    if (n) qsort(e, n, sizeof *e, by_id);
    for (size_t i = 0; i < n; i++)
        genet__json_append(&list, json_pack("{s:O, s:s, s:b, s:b, s:b, s:b, s:b}", "id", e[i].id, "content", e[i].content,
                                            "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
    if (!e) genet__json_append(&list, NULL);
    genet__free(e);
    return list;
}

/* The id that a special token of the pipeline has. */
static bool find_special(const folder_files *f, const char *name, json_int_t *id)
{
    const json_t *j = json_object_get(f->vocabulary, name);
    if (!j) j = json_object_get(f->added, name);
    *id = json_integer_value(j);
    return j || genet__err_set(f->err, GENET_ERR_FORMAT, "the vocabulary lacks \"%s\", which the tokenizers of this family need",
                               name);
}

/* "sep": "</s>" becomes ["</s>", 2]; "[CLS]": {} becomes the entry of a template's special token. */
static bool fill_specials(const folder_files *f, json_t *post)
{
    static const char *const fields[] = { "sep", "cls" };
    json_t *specials = json_object_get(post, "special_tokens"), *value;
    const char *name;
    json_int_t id;
    for (int i = 0; i < 2; i++) {
        if (!(name = json_string_value(json_object_get(post, fields[i])))) continue;
        TRY(find_special(f, name, &id));
        if (json_object_set_new(post, fields[i], json_pack("[s, I]", name, id))) return genet__err_memory(f->err);
    }
    json_object_foreach(specials, name, value) {
        TRY(find_special(f, name, &id));
        if (json_object_set_new(value, "id", json_string(name)) || json_object_set_new(value, "ids", json_pack("[I]", id)) ||
            json_object_set_new(value, "tokens", json_pack("[s]", name))) return genet__err_memory(f->err);
    }
    return true;
}

/* What tokenizer_config.json says of BERT's normalizer, of the space before the first word. */
static bool fill_options(const folder_files *f, json_t *j)
{
    static const char *const options[][3] = { { "do_lower_case", "normalizer", "lowercase" },
        { "strip_accents", "normalizer", "strip_accents" }, { "tokenize_chinese_chars", "normalizer", "handle_chinese_chars" },
        { "add_prefix_space", "pre_tokenizer", "add_prefix_space" } };
    for (int i = 0; i < 4; i++) {
        json_t *value = json_object_get(f->config, options[i][0]), *part = json_object_get(j, options[i][1]);
        if (!json_is_boolean(value) || !json_object_get(part, options[i][2])) continue;
        if (json_object_set(part, options[i][2], value)) return genet__err_memory(f->err);
    }
    return true;
}

static json_t *put_together(const folder_files *f)
{
    json_t *j = genet__json_parse(f->family->json, strlen(f->family->json), f->family->name, f->err);
    json_t *model = json_object_get(j, "model"), *post = json_object_get(j, "post_processor");
    bool ok = j && fill_specials(f, post) && fill_options(f, j);
    if (ok && (json_object_set(model, "vocab", f->vocabulary) || (f->merges && json_object_set(model, "merges", f->merges)) ||
               json_object_set_new(j, "added_tokens", added_json(f)))) ok = genet__err_memory(f->err);
    if (ok) return j;
    json_decref(j);
    return NULL;
}

static const file_pair *pair_in(const char *folder)
{
    for (int i = 0; i < N_PAIRS; i++)
        if (genet__file_exists_in(folder, pairs[i].vocabulary) &&
            (!pairs[i].merges || genet__file_exists_in(folder, pairs[i].merges))) return &pairs[i];
    return NULL;
}

bool genet__folder_has_tokenizer(const char *folder)
{
    return pair_in(folder) != NULL;
}

static bool read_files(folder_files *f, const char *folder, const file_pair *p, const char *vocabulary_path)
{
    TRY(read_json(folder, "tokenizer_config.json", &f->config, f->err) && read_json(folder, "config.json", &f->model_config, f->err));
    TRY(read_json(folder, "added_tokens.json", &f->added, f->err) && check_added(f));
    choose_family(f, !p->merges);
    if (!p->merges) return read_lines(f, vocabulary_path, true);
    char *merges = genet__path_join(folder, p->merges);
    bool ok = merges ? (f->vocabulary = genet__json_read(vocabulary_path, FILE_MAX, f->err)) && read_lines(f, merges, false)
                     : genet__err_memory(f->err);
    genet__free(merges);
    return ok;
}

json_t *genet__folder_tokenizer(const char *folder, char **where, genet_err *err)
{
    const file_pair *p = pair_in(folder);
    folder_files f = { .err = err };
    *where = p ? genet__path_join(folder, p->vocabulary) : NULL;
    bool ok = p ? *where || genet__err_memory(err)
                : genet__err_set(err, GENET_ERR_IO, "%s: there is no tokenizer.json, nor vocab.json and merges.txt, nor "
                                 "vocab.txt", folder);
    json_t *j = ok && read_files(&f, folder, p, *where) ? put_together(&f) : NULL;
    json_decref(f.config);
    json_decref(f.model_config);
    json_decref(f.added);
    json_decref(f.vocabulary);
    json_decref(f.merges);
    return j;
}
