/* gguf_tokens.c - the tokenizer of a GGUF file as tokenizer.json would have it.
 *
 * tokenizer.ggml.model says which: "gpt2" is byte-level BPE, tokens and merges as in tokenizer.json; "llama" is
 * SentencePiece's BPE, of which only scores are stored: its merges are all pairs of tokens that make a token, the best
 * scored first; "rwkv" is read where each token is one character, which is how genet writes its own characters. */
#include "format/gguf_tokens.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

enum { MERGED_MAX_BYTES = 512 };        /* longer pieces (runs of spaces, markers) are not made of merges */

#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define MODERN_PATTERN(numbers) "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers                       \
                                "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3(name) { name, { MODERN_PATTERN("\\p{N}{1,3}") }, false, false, true }
#define QWEN2(name) { name, { MODERN_PATTERN("\\p{N}") }, false, false, false }
#define GPT2(name) { name, { NULL }, false, true, false }
#define DIGITS(name) { name, { NULL }, true, true, false }

const gguf_pre genet__gguf_pres[] = {
    GPT2("gpt-2"), GPT2("phi-2"), LLAMA3("llama-bpe"), LLAMA3("llama3"), LLAMA3("llama-v3"), QWEN2("qwen2"),
    QWEN2("deepseek-r1-qwen"), QWEN2("stablelm2"), DIGITS("smollm"), DIGITS("starcoder"), DIGITS("refact"), DIGITS("command-r"),
    { "default", { "[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2_PATTERN, "\\p{N}+", "[0-9][0-9][0-9]" }, false, false, false },
    { NULL, { NULL }, false, false, false },
};

typedef struct tokens {
    const gguf *g;
    genet_err  *err;
    char        model[8];
    int32_t     n;                      /* without those at the end that nothing uses */
    const gguf_value *type, *score;     /* NULL: there are none */
    char      **text;                   /* of each token, terminated */
    arena       arena;
} tokens;

/* --- what the file says ------------------------------------------------------------------ */

static bool refuse(const tokens *t, const char *key, const char *why)
{
    return genet__err_set(t->err, GENET_ERR_FORMAT, "%s: %s: %s", t->g->path, key, why);
}

static int64_t type_of(const tokens *t, int32_t i) { return t->type ? genet__gguf_integer(t->type, (uint64_t)i) : TOKEN_NORMAL; }

/* An array with a value for each token, or none. */
static bool beside(const tokens *t, const char *key, gguf_type kind, uint64_t n, const gguf_value **out)
{
    bool found;
    *out = genet__gguf_array(t->g, key, kind, &found, t->err);
    if (!*out) return !found;
    return (*out)->n == n || refuse(t, key, "not as many as there are tokens");
}

/* One string of a list as UTF-8 text without a zero byte, in the arena. */
static char *copy_text(tokens *t, const char *key, int32_t i, const unsigned char **at)
{
    size_t n;
    uint32_t point;
    const char *text = genet__gguf_next(at, &n);
    char *copy = genet__arena_alloc(&t->arena, n + 1);
    if (!copy) {
        genet__err_memory(t->err);
        return NULL;
    }
    for (size_t k = 0, length; k < n; k += length) {
        length = (size_t)genet__utf8_decode(text + k, n - k, &point);
        if (length && point) continue;
        genet__err_set(t->err, GENET_ERR_FORMAT, "%s: %s[%d] is not UTF-8 text", t->g->path, key, i);
        return NULL;
    }
    return memcpy(copy, text, n);
}

static bool read_tokens(tokens *t)
{
    static const char key[] = "tokenizer.ggml.tokens";
    const gguf_value *v = genet__gguf_array(t->g, key, GGUF_STRING, NULL, t->err);
    TRY(v);
    if (!v->n || v->n > 1 << 24) return refuse(t, key, "no number of tokens that a model has");
    TRY(beside(t, "tokenizer.ggml.token_type", GGUF_I32, v->n, &t->type));
    TRY(beside(t, "tokenizer.ggml.scores", GGUF_F32, v->n, &t->score));
    for (t->n = (int32_t)v->n; t->n > 1 && type_of(t, t->n - 1) == TOKEN_UNUSED;) t->n--;
    t->text = ARENA_ARRAY(&t->arena, char *, t->n);
    if (!t->text) return genet__err_memory(t->err);
    const unsigned char *at = v->at;
    for (int32_t i = 0; i < t->n; i++) TRY(t->text[i] = copy_text(t, key, i, &at));
    return true;
}

/* A word of the metadata in out, "" where there is none; longer ones are cut. */
static bool read_word(const tokens *t, const char *key, char *out, size_t size)
{
    const char *text;
    size_t n;
    bool found;
    TRY(genet__gguf_string(t->g, key, &text, &n, &found, t->err));
    if (n >= size) n = size - 1;
    memcpy(out, text, n);
    out[n] = 0;
    return true;
}

static bool open_tokens(tokens *t, const gguf *g, genet_err *err)
{
    *t = (tokens){ .g = g, .err = err };
    if (!genet__gguf_value(g, "tokenizer.ggml.model"))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s holds no tokenizer (tokenizer.ggml.model)", g->path);
    return read_word(t, "tokenizer.ggml.model", t->model, sizeof t->model) && read_tokens(t);
}

static void close_tokens(tokens *t) { genet__arena_release(&t->arena); }

/* --- parts of tokenizer.json --------------------------------------------------------------- */

/* Tokens [0, n) and their ids; NULL after an error. */
static json_t *vocabulary_json(const tokens *t, int32_t n)
{
    json_t *all = json_object();
    for (int32_t i = 0; all && i < n; i++) {
        bool twice = json_object_get(all, t->text[i]);
        if (!twice && !json_object_set_new(all, t->text[i], json_integer(i))) continue;
        json_decref(all);
        all = NULL;
        if (twice) genet__err_set(t->err, GENET_ERR_FORMAT, "%s: tokenizer.ggml.tokens[%d], \"%.40s\", stands twice", t->g->path, i,
                                  t->text[i]);
        else genet__err_memory(t->err);
        return NULL;
    }
    if (!all) genet__err_memory(t->err);
    return all;
}

static bool is_added(const tokens *t, int32_t i)
{
    int64_t type = type_of(t, i);
    return type == TOKEN_CONTROL || type == TOKEN_USER || type == TOKEN_UNKNOWN;
}

/* NULL: no memory. */
static json_t *added_json(const tokens *t)
{
    json_t *all = json_array();
    for (int32_t i = 0; all && i < t->n; i++)
        if (is_added(t, i))
            genet__json_append(&all, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (int)i, "content", t->text[i],
                                               "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special",
                                               type_of(t, i) != TOKEN_USER));
    return all;
}

/* Added tokens at the end stand outside the model's vocabulary, as in the files that were converted. */
static int32_t model_size(const tokens *t)
{
    int32_t n = t->n;
    while (n > 1 && is_added(t, n - 1)) n--;
    return n;
}

static json_t *split_json(const char *regex)
{
    return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", regex, "behavior", "Isolated", "invert", 0);
}

json_t *genet__gguf_pre_json(const gguf_pre *p)
{
    json_t *list = json_array();
    json_t *bytes = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex",
                              p->gpt2);
    if (p->gpt2 && !p->digits) {
        json_decref(list);
        return bytes;
    }
    if (p->digits) genet__json_append(&list, json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1));
    for (int i = 0; i < 4 && p->split[i]; i++) genet__json_append(&list, split_json(p->split[i]));
    genet__json_append(&list, bytes);
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list);
}

/* The token before every text, or after it: {"single": [bos, text, eos]}; null where there is none. NULL after an error. */
static json_t *post_json(const tokens *t, bool begins, bool ends)
{
    const char *key[2] = { "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id" };
    bool add[2] = { begins, ends }, found;
    json_t *single = json_array(), *pair = json_array(), *special = json_object();
    for (int i = 0; i < 2; i++) {
        int64_t id = -1;
        if (i) genet__json_append(&single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0));
        if (add[i] && genet__gguf_int(t->g, key[i], &id, &found, t->err) && id >= 0 && id < t->n) {
            const char *token = t->text[id];
            genet__json_append(&single, json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", token, "type_id", 0));
            if (special && json_object_set_new(special, token, json_pack("{s:s, s:[I], s:[s]}", "id", token, "ids",
                                                                        (json_int_t)id, "tokens", token)))
                genet__err_memory(t->err);
        } else if (add[i]) {
            refuse(t, key[i], "the token that a text is to have is none of the vocabulary");
            json_decref(single);
            single = NULL;
        }
    }
    for (size_t i = 0; i < json_array_size(single); i++) genet__json_append(&pair, json_incref(json_array_get(single, i)));
    genet__json_append(&pair, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "B", "type_id", 1));
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair", pair, "special_tokens", special);
}

/* tokenizer.ggml.add_bos_token and add_eos_token, or how such a tokenizer is without them. */
static json_t *begin_and_end(const tokens *t, bool begins, bool *ok)
{
    bool found, ends = false;
    *ok = genet__gguf_bool(t->g, "tokenizer.ggml.add_bos_token", &begins, &found, t->err) &&
          genet__gguf_bool(t->g, "tokenizer.ggml.add_eos_token", &ends, &found, t->err);
    if (!*ok || (!begins && !ends)) return NULL;
    json_t *j = post_json(t, begins, ends);
    *ok = j || (t->err->text[0] ? false : genet__err_memory(t->err));
    return j;
}

/* --- "gpt2" ------------------------------------------------------------------------------------ */

static const gguf_pre *read_pre(const tokens *t)
{
    char name[64];
    if (!read_word(t, "tokenizer.ggml.pre", name, sizeof name)) return NULL;
    const char *wanted = *name ? name : "default";
    str known = {0};
    for (const gguf_pre *p = genet__gguf_pres; p->name; p++) {
        genet__str_printf(&known, "%s%s", p == genet__gguf_pres ? "" : ", ", p->name);
        if (strcmp(p->name, wanted)) continue;
        genet__str_release(&known);
        return p;
    }
    genet__err_set(t->err, GENET_ERR_FORMAT, "%s: tokenizer.ggml.pre is \"%s\", a way to cut text that genet does not know; it knows %s",
                   t->g->path, SHOWN(name), genet__str(&known));
    genet__str_release(&known);
    return NULL;
}

/* "a b" each; NULL after an error. */
static json_t *read_merges(tokens *t)
{
    static const char key[] = "tokenizer.ggml.merges";
    const gguf_value *v = genet__gguf_array(t->g, key, GGUF_STRING, NULL, t->err);
    if (!v || v->n > INT_MAX) return NULL;
    const unsigned char *at = v->at;
    json_t *all = json_array();
    for (uint64_t i = 0; all && i < v->n; i++) {
        const char *text = copy_text(t, key, (int32_t)i, &at);
        if (text) genet__json_append(&all, json_string(text));
        if (text && all) continue;
        if (text) genet__err_memory(t->err);
        json_decref(all);
        return NULL;
    }
    if (!all) genet__err_memory(t->err);
    return all;
}

static json_t *gpt2_json(tokens *t)
{
    const gguf_pre *pre = read_pre(t);
    bool ok = pre;
    json_t *post = ok ? begin_and_end(t, pre->whole, &ok) : NULL;
    json_t *merges = ok ? read_merges(t) : NULL, *vocabulary = merges ? vocabulary_json(t, model_size(t)) : NULL;
    if (vocabulary)
        return json_pack("{s:s, s:n, s:n, s:o, s:n, s:o, s:o*, s:{s:s, s:b, s:b, s:b}, s:{s:s, s:b, s:o, s:o}}", "version", "1.0",
                         "truncation", "padding", "added_tokens", added_json(t), "normalizer", "pre_tokenizer",
                         genet__gguf_pre_json(pre), "post_processor", post, "decoder", "type", "ByteLevel", "add_prefix_space", 1,
                         "trim_offsets", 1, "use_regex", 1, "model", "type", "BPE", "ignore_merges", pre->whole, "vocab",
                         vocabulary, "merges", merges);
    json_decref(post);
    json_decref(merges);
    return NULL;
}

/* --- "llama" ------------------------------------------------------------------------------------ */

typedef struct join { const char *text; size_t left; double score; int64_t left_chars, right_chars; int32_t id; } join;
typedef struct joins { join *at; int n, cap; } joins;

/* The best first; as transformers sorts what it makes of the same scores (SpmConverter), then by id. */
static int by_score(const void *a, const void *b)
{
    const join *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->left_chars != y->left_chars) return x->left_chars > y->left_chars ? -1 : 1;
    if (x->right_chars != y->right_chars) return x->right_chars > y->right_chars ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static bool is_mergeable(const tokens *t, int32_t i) { return type_of(t, i) == TOKEN_NORMAL; }

/* All ways to make token id of two others. */
static bool add_joins(const tokens *t, const map *ids, int32_t id, joins *all)
{
    const char *text = t->text[id];
    size_t n = strlen(text);
    char left[MERGED_MAX_BYTES];
    if (!is_mergeable(t, id) || n > MERGED_MAX_BYTES) return true;
    int64_t chars = 0, before = 0;
    for (size_t i = 0; i < n; i++) chars += (text[i] & 0xc0) != 0x80;
    for (size_t cut = 1; cut < n; cut++) {
        before += (text[cut - 1] & 0xc0) != 0x80;
        if ((text[cut] & 0xc0) == 0x80) continue;
        memcpy(left, text, cut);
        left[cut] = 0;
        if (!genet__map_get(ids, text + cut) || !genet__map_get(ids, left)) continue;
        if (!GROW(all->at, all->n, all->cap)) return genet__err_memory(t->err);
        all->at[all->n++] = (join){ text, cut, genet__gguf_number(t->score, (uint64_t)id), before, chars - before, id };
    }
    return true;
}

static json_t *joins_json(const joins *all)
{
    json_t *list = json_array();
    for (int i = 0; list && i < all->n; i++)
        genet__json_append(&list, json_pack("[s%, s]", all->at[i].text, all->at[i].left, all->at[i].text + all->at[i].left));
    return list;
}

static json_t *make_merges(const tokens *t)
{
    map ids = {0};
    joins all = {0};
    bool ok = true;
    for (int32_t i = 0; ok && i < t->n; i++)
        ok = !is_mergeable(t, i) || genet__map_set(&ids, t->text[i], i) || genet__err_memory(t->err);
    for (int32_t i = 0; ok && i < t->n; i++) ok = add_joins(t, &ids, i, &all);
    if (ok && all.n) qsort(all.at, (size_t)all.n, sizeof *all.at, by_score);
    json_t *list = ok ? joins_json(&all) : NULL;
    if (ok && !list) genet__err_memory(t->err);
    genet__map_release(&ids);
    genet__free(all.at);
    return list;
}

static const char *unknown_of(const tokens *t)
{
    for (int32_t i = 0; i < t->n; i++)
        if (type_of(t, i) == TOKEN_UNKNOWN) return t->text[i];
    return NULL;
}

static bool has_bytes(const tokens *t)
{
    for (int32_t i = 0; i < t->n; i++)
        if (type_of(t, i) == TOKEN_BYTE) return true;
    return false;
}

/* Spaces are U+2581; a text begins with one where space says so. */
#define SPACE "\xe2\x96\x81"
static json_t *normalizer_json(bool space)
{
    json_t *replace = json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ", "content", SPACE);
    if (!space) return replace;
    return json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers", "type", "Prepend", "prepend", SPACE, replace);
}

static json_t *decoder_json(bool space)
{
    json_t *list = json_pack("[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]", "type", "Replace", "pattern", "String", SPACE, "content", " ",
                             "type", "ByteFallback", "type", "Fuse");
    if (space && list)
        genet__json_append(&list, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
    return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", list);
}

static json_t *llama_json(tokens *t)
{
    bool ok = t->score || refuse(t, "tokenizer.ggml.scores", "there are none, and they decide how text is cut"), space = true, found;
    ok = ok && genet__gguf_bool(t->g, "tokenizer.ggml.add_space_prefix", &space, &found, t->err);
    json_t *post = ok ? begin_and_end(t, true, &ok) : NULL;
    json_t *merges = ok ? make_merges(t) : NULL, *vocabulary = merges ? vocabulary_json(t, model_size(t)) : NULL;
    if (vocabulary)
        return json_pack("{s:s, s:n, s:n, s:o, s:o, s:n, s:o*, s:o, s:{s:s, s:s?, s:b, s:b, s:o, s:o}}", "version", "1.0", "truncation",
                         "padding", "added_tokens", added_json(t), "normalizer", normalizer_json(space), "pre_tokenizer",
                         "post_processor", post, "decoder", decoder_json(space), "model", "type", "BPE", "unk_token", unknown_of(t),
                         "fuse_unk", 1, "byte_fallback", has_bytes(t), "vocab", vocabulary, "merges", merges);
    json_decref(post);
    json_decref(merges);
    return NULL;
}

/* --- "rwkv" ------------------------------------------------------------------------------------- */

/* Back from \n, \t, \r and \\, in place; false: more than a character, or an escape that genet does not write. */
static bool unescape(char *text)
{
    static const char from[] = "ntr\\", to[] = "\n\t\r\\";
    uint32_t point;
    if (text[0] == '\\') {
        const char *at = text[1] ? strchr(from, text[1]) : NULL;
        if (!at || text[2]) return false;
        text[0] = to[at - from];
        text[1] = 0;
    }
    return text[0] && (size_t)genet__utf8_decode(text, strlen(text), &point) == strlen(text);
}

static json_t *characters_json(tokens *t)
{
    for (int32_t i = 0; i < t->n; i++)
        if (!unescape(t->text[i])) {
            refuse(t, "tokenizer.ggml.model", "\"rwkv\" is read where each token is one character, and these are not");
            return NULL;
        }
    json_t *vocabulary = vocabulary_json(t, t->n);
    if (!vocabulary) return NULL;
    return json_pack("{s:s, s:n, s:n, s:[], s:n, s:o, s:n, s:{s:s}, s:{s:s, s:o, s:s}}", "version", "1.0", "truncation", "padding",
                     "added_tokens", "normalizer", "pre_tokenizer", split_json("[\\s\\S]"), "post_processor", "decoder", "type",
                     "Fuse", "model", "type", "WordLevel", "vocab", vocabulary, "unk_token", "<unk>");
}

/* --- both files ------------------------------------------------------------------------------------ */

json_t *genet__gguf_tokenizer(const gguf *g, genet_err *err)
{
    static const struct { const char *model; json_t *(*read)(tokens *t); } models[] = {
        { "gpt2", gpt2_json }, { "llama", llama_json }, { "rwkv", characters_json },
    };
    tokens t;
    genet_err own = {0};
    json_t *j = NULL;
    bool known = false, ok = open_tokens(&t, g, &own);
    for (size_t i = 0; ok && i < sizeof models / sizeof *models; i++) {
        if (strcmp(models[i].model, t.model)) continue;
        known = true;
        j = models[i].read(&t);
        if (!j && !own.text[0]) genet__err_memory(&own);
    }
    if (ok && !known)
        genet__err_set(&own, GENET_ERR_FORMAT, "%s: tokenizer.ggml.model is \"%s\"; genet reads gpt2 and llama", g->path, SHOWN(t.model));
    close_tokens(&t);
    if (!j && err) *err = own;
    return j;
}

/* The token that key names, under name. */
static bool name_token(const tokens *t, json_t *config, const char *key, const char *name)
{
    int64_t id = -1;
    bool found;
    TRY(genet__gguf_int(t->g, key, &id, &found, t->err));
    return id < 0 || id >= t->n || !json_object_set_new(config, name, json_string(t->text[id])) || genet__err_memory(t->err);
}

static bool fill_config(const tokens *t, json_t *config)
{
    const char *text;
    size_t n;
    bool found;
    TRY(name_token(t, config, "tokenizer.ggml.bos_token_id", "bos_token"));
    TRY(name_token(t, config, "tokenizer.ggml.eos_token_id", "eos_token"));
    TRY(name_token(t, config, "tokenizer.ggml.unknown_token_id", "unk_token"));
    TRY(name_token(t, config, "tokenizer.ggml.padding_token_id", "pad_token"));
    TRY(genet__gguf_string(t->g, "tokenizer.chat_template", &text, &n, &found, t->err));
    if (!found) return true;
    json_t *words = json_stringn(text, n);
    if (!words) return refuse(t, "tokenizer.chat_template", "not UTF-8 text");
    return !json_object_set_new(config, "chat_template", words) || genet__err_memory(t->err);
}

json_t *genet__gguf_tokenizer_config(const gguf *g, genet_err *err)
{
    tokens t;
    bool ok = open_tokens(&t, g, err);
    json_t *config = ok ? json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces", 0)
                        : NULL;
    if (ok && !config) genet__err_memory(err);
    ok = config && fill_config(&t, config);
    close_tokens(&t);
    if (ok) return config;
    json_decref(config);
    return NULL;
}
