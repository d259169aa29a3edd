/* template.c - "[CLS]:0 $A:0 [SEP]:0" as tokenizer.json spells it. */
#include "text/template.h"
#include <string.h>
#include "base/json.h"

/* Put the token into "special_tokens". */
static bool add_special(json_t *special, const char *token, const json_t *ids)
{
    json_int_t id = json_integer_value(json_object_get(ids, token));
    return !json_object_set_new(special, token, json_pack("{s:s, s:[I], s:[s]}", "id", token, "ids", id, "tokens", token));
}

/* A list of pieces; NULL: no memory. */
static json_t *pieces_json(const char *words, const json_t *ids, json_t *special)
{
    json_t *list = json_array();
    for (const char *at = words, *colon; list && (colon = strchr(at, ':')); at = colon[2] ? colon + 3 : colon + 2) {
        str name = { 0 };
        bool text = *at == '$';
        genet__str_add_n(&name, at + text, (size_t)(colon - at) - text);
        bool ok = !name.failed && (text || add_special(special, genet__str(&name), ids));
        genet__json_append(&list, ok ? json_pack("{s:{s:s, s:i}}", text ? "Sequence" : "SpecialToken", "id", genet__str(&name),
                                                 "type_id", colon[1] - '0') : NULL);
        genet__str_release(&name);
    }
    return list;
}

json_t *genet__template_json(const char *single, const char *pair, const json_t *ids)
{
    json_t *special = json_object();
    json_t *a = special ? pieces_json(single, ids, special) : NULL, *b = a ? pieces_json(pair, ids, special) : NULL;
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", a, "pair", b, "special_tokens", special);
}

json_t *genet__special_json(const char *content, json_int_t id)
{
    return json_pack("{s:I, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", content, "single_word", 0, "lstrip", 0,
                     "rstrip", 0, "normalized", 0, "special", 1);
}
