/* chat.c - where a chat template stands, and what it is given: messages as transformers' apply_chat_template passes
 * them on (5.23: keys that are null left out, reasoning under all of its names), tools and documents, null where there
 * are none, and the special tokens. */
#include "text/chat.h"
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "text/space.h"

enum { CONFIG_MAX_BYTES = 16 << 20 };

static const char chatml[] =
    "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/* --- special tokens --------------------------------------------------------------------------- */

/* "<s>", or {"content": "<s>", ...}. */
static const json_t *token_text(const json_t *config, const char *name)
{
    const json_t *j = json_object_get(config, name);
    if (json_is_object(j)) j = json_object_get(j, "content");
    return json_is_string(j) ? j : NULL;
}

static bool take_tokens(chat_format *f, const json_t *config, genet_err *err)
{
    static const char *const names[] = { "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
                                         "mask_token" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *text = token_text(config, names[i]);
        if (!text || json_object_get(f->tokens, names[i])) continue;
        if (json_object_set(f->tokens, names[i], (json_t *)text)) return genet__err_memory(err);
    }
    return true;
}

/* FOLDER/NAME as an object; *out is NULL where there is none. */
static bool read_object(const char *folder, const char *name, json_t **out, genet_err *err)
{
    *out = NULL;
    if (!genet__file_exists_in(folder, name)) return true;
    char *path = genet__path_join(folder, name);
    if (!path) return genet__err_memory(err);
    *out = genet__json_read(path, CONFIG_MAX_BYTES, err);
    bool ok = json_is_object(*out);
    if (*out && !ok) genet__err_set(err, GENET_ERR_FORMAT, "%s: must be a JSON object", path);
    genet__free(path);
    return ok;
}

/* --- the template ----------------------------------------------------------------------------- */

static bool parse(chat_format *f, const char *text, size_t n, const char *where, genet_err *err)
{
    if (!(f->jinja = genet__jinja_parse(text, n, where, err))) return false;
    return (f->text = genet__strdup(text)) || genet__err_memory(err);
}

static bool parse_file(chat_format *f, const char *path, genet_err *err)
{
    size_t n = 0;
    char *text = genet__file_read(path, JINJA_MAX_BYTES, &n, err);
    bool ok = text && parse(f, text, n, path, err);
    genet__free(text);
    return ok;
}

static bool parse_file_in(chat_format *f, const char *folder, const char *name, genet_err *err)
{
    char *path = genet__path_join(folder, name);
    bool ok = path ? parse_file(f, path, err) : genet__err_memory(err);
    genet__free(path);
    return ok;
}

/* Of [{"name": "default", "template": "..."}, ...] the one of that name, or NULL. */
static const json_t *named(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i), *its = json_object_get(one, "name");
        if (json_is_string(its) && !strcmp(json_string_value(its), name)) return json_object_get(one, "template");
    }
    return NULL;
}

static bool parse_config(chat_format *f, const char *folder, const json_t *config, const char *name, genet_err *err)
{
    const json_t *j = json_object_get(config, "chat_template");
    if (json_is_array(j) || name) j = named(j, name ? name : "default");
    if (!j && name)
        return genet__err_set(err, GENET_ERR_USAGE, "template %s: there is no such file, and %s has no template of that name",
                              name, folder);
    if (!j || json_is_null(j))
        return genet__err_set(err, GENET_ERR_USAGE, "%s has no chat template (chat_template.jinja, or chat_template in "
                              "tokenizer_config.json): give one with --template chatml or --template FILE", folder);
    if (!json_is_string(j))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s/tokenizer_config.json: chat_template must be a text", folder);
    char *where = genet__path_join(folder, "tokenizer_config.json: chat_template");
    bool ok = where ? parse(f, json_string_value(j), json_string_length(j), where, err) : genet__err_memory(err);
    genet__free(where);
    return ok;
}

static bool find_template(chat_format *f, const char *folder, const json_t *config, const char *which, genet_err *err)
{
    if (which && !strcmp(which, "chatml")) return parse(f, chatml, sizeof chatml - 1, "chatml", err);
    if (which && genet__file_exists(which)) return parse_file(f, which, err);
    if (!which && genet__file_exists_in(folder, "chat_template.jinja"))
        return parse_file_in(f, folder, "chat_template.jinja", err);
    return parse_config(f, folder, config, which, err);
}

bool genet__chat_open(chat_format *f, const char *folder, const char *which, genet_err *err)
{
    json_t *config = NULL, *map = NULL;
    *f = (chat_format){ .tokens = json_object() };
    bool ok = f->tokens || genet__err_memory(err);
    ok = ok && read_object(folder, "tokenizer_config.json", &config, err) && take_tokens(f, config, err);
    ok = ok && read_object(folder, "special_tokens_map.json", &map, err) && take_tokens(f, map, err);
    ok = ok && find_template(f, folder, config, which, err);
    json_decref(config);
    json_decref(map);
    if (!ok) genet__chat_release(f);
    return ok;
}

void genet__chat_release(chat_format *f)
{
    genet__jinja_free(f->jinja);
    genet__free(f->text);
    json_decref(f->tokens);
    *f = (chat_format){0};
}

/* --- messages --------------------------------------------------------------------------------- */

bool genet__chat_check(const json_t *messages, const char *where, genet_err *err)
{
    if (!json_is_array(messages))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: a conversation is an array of messages", where);
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *one = json_array_get(messages, i);
        if (!json_is_string(json_object_get(one, "role")))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: message %zu must be an object with a \"role\"", where, i + 1);
    }
    return true;
}

/* What a model thought before it answered, under the first of its names. */
static json_t *reasoning(const json_t *message)
{
    static const char *const names[] = { "reasoning_content", "thinking", "reasoning" };
    for (int i = 0; i < 3; i++) {
        json_t *j = json_object_get(message, names[i]);
        if (j && !json_is_null(j)) return j;
    }
    return NULL;
}

/* As templates get it; NULL: no memory. */
static json_t *plain(const json_t *message)
{
    json_t *out = json_object(), *thought = reasoning(message), *value;
    const char *key;
    bool ok = out && (!thought || !json_object_set(out, "thinking", thought));
    json_object_foreach((json_t *)message, key, value)
        if (ok && !json_is_null(value)) ok = !json_object_set(out, key, value);
    ok = ok && (!thought || !json_object_set(out, "reasoning_content", thought));
    if (ok) return out;
    json_decref(out);
    return NULL;
}

static json_t *plain_all(const json_t *messages)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(messages); i++) genet__json_append(&out, plain(json_array_get(messages, i)));
    return out;
}

bool genet__chat_render(const chat_format *f, const json_t *messages, const json_t *more, bool prompt, str *out,
                        genet_err *err)
{
    TRY(genet__chat_check(messages, "the conversation", err));
    json_t *all = json_pack("{s:o, s:n, s:n, s:b}", "messages", plain_all(messages), "tools", "documents",
                            "add_generation_prompt", prompt);
    bool ok = all && (!more || !json_object_update(all, (json_t *)more)) && genet__json_merge(all, f->tokens, false);
    ok = ok ? genet__jinja_render(f->jinja, all, NULL, out, err) : genet__err_memory(err);
    json_decref(all);
    return ok;
}

/* --- where an answer ends --------------------------------------------------------------------- */

static const char answer_mark[] = "ANSWER8f1d", question_mark[] = "QUESTION8f1d";

/* What stands between an answer and the question after it, by a small conversation; nothing where the template refuses it. */
static bool between(const chat_format *f, const json_t *more, str *out, genet_err *err)
{
    str text = {0};
    genet_err refused = {0};
    json_t *j = json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "a", "role", "assistant",
                          "content", answer_mark, "role", "user", "content", question_mark);
    bool ok = j || genet__err_memory(err);
    if (ok && genet__chat_render(f, j, more, false, &text, &refused)) {
        const char *from = strstr(genet__str(&text), answer_mark), *to = from ? strstr(from, question_mark) : NULL;
        if (to) genet__str_add_n(out, from + sizeof answer_mark - 1, (size_t)(to - from) - (sizeof answer_mark - 1));
    } else if (ok && refused.code == GENET_ERR_MEMORY) {
        ok = genet__err_memory(err);
    }
    json_decref(j);
    genet__str_release(&text);
    return ok && (!out->failed || genet__err_memory(err));
}

static bool is_blank(const char *s, size_t n)
{
    for (size_t i = 0, k; i < n; i += k)
        if (!(k = genet__space_at(s + i, n - i))) return false;
    return true;
}

bool genet__chat_end(const chat_format *f, const tokenizer *t, const json_t *more, int32_t *id, str *stop, genet_err *err)
{
    str text = {0}, before = {0};
    token_list ids = {0};
    int first = 0;
    *id = -1;
    bool ok = between(f, more, &text, err) && genet__tokenizer_encode(t, genet__str(&text), text.n, &ids, err);
    while (ok && first < ids.n && !genet__tokenizer_is_special(t, ids.at[first])) first++;
    ok = ok && genet__tokenizer_decode(t, ids.at, first, &before, err);
    size_t n = text.n;
    while (n && genet__space_at(text.at + n - 1, 1)) n--;
    if (ok && first < ids.n && is_blank(genet__str(&before), before.n)) *id = ids.at[first];
    else if (ok && !is_blank(genet__str(&text), n)) genet__str_add_n(stop, text.at, n);
    genet__token_list_release(&ids);
    genet__str_release(&text);
    genet__str_release(&before);
    return ok && (!stop->failed || genet__err_memory(err));
}
