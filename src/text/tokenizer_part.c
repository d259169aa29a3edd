/* tokenizer_part.c - parts of tokenizer.json's pipeline: read by the fields of their kind, and written back.
 *
 * Messages name a field by its path in the file: "pre_tokenizer.pretokenizers[1].behavior". */
#include "text/tokenizer_part.h"
#include <inttypes.h>
#include <string.h>
#include "base/err.h"

enum { DEPTH_MAX = 16, CHILDREN_MAX = 1024, TEMPLATE_MAX = 4096 };

typedef struct reading {
    const part_place *place;
    const char *where;
    arena      *arena;
    int         depth;
    genet_err  *err;
} reading;

typedef struct part_value {
    bool    (*read)(reading *r, part *p, const part_field *f, const json_t *j, const char *path);
    json_t *(*write)(const part *p, const part_field *f);
} part_value;

/* --- values ----------------------------------------------------------------------------------------------------- */

#define AT(type, p, f) (*(type *)((char *)(p) + (f)->offset))
#define OF(type, p, f) (*(const type *)((const char *)(p) + (f)->offset))

static bool wrong(const reading *r, const char *path, const char *wanted)
{
    return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: %s must be %s", r->where, path, wanted);
}

static bool keep(const reading *r, const char **to, const json_t *j)
{
    *to = genet__arena_strdup(r->arena, json_string_value(j));
    return *to || genet__err_memory(r->err);
}

static bool read_bool(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    if (j && !json_is_boolean(j)) return wrong(r, path, "true or false");
    AT(bool, p, f) = j ? json_is_true(j) : f->preset != 0;
    return true;
}

static json_t *write_bool(const part *p, const part_field *f)
{
    return json_boolean(OF(bool, p, f));
}

static bool read_tristate(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    if (j && !json_is_null(j) && !json_is_boolean(j)) return wrong(r, path, "true, false or null");
    AT(int, p, f) = !j || json_is_null(j) ? -1 : json_is_true(j);
    return true;
}

static json_t *write_tristate(const part *p, const part_field *f)
{
    return OF(int, p, f) < 0 ? json_null() : json_boolean(OF(int, p, f));
}

static bool read_string(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    return json_is_string(j) ? keep(r, &AT(const char *, p, f), j) : wrong(r, path, "a string");
}

static json_t *write_string(const part *p, const part_field *f)
{
    return json_string(*(const char *const *)((const char *)p + f->offset));
}

static bool read_char(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    uint32_t c;
    size_t n = json_string_length(j);
    int k = n ? genet__utf8_decode(json_string_value(j), n, &c) : 0;
    if (k <= 0 || (size_t)k != n) return wrong(r, path, "a string of one character");
    AT(uint32_t, p, f) = c;
    return true;
}

static json_t *write_char(const part *p, const part_field *f)
{
    char bytes[4];
    int k = genet__char_put(OF(uint32_t, p, f), bytes);
    return json_stringn(bytes, (size_t)k);
}

static bool read_int(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    if (j && (!json_is_integer(j) || json_integer_value(j) < 0)) return wrong(r, path, "a whole number, 0 or more");
    AT(int64_t, p, f) = j ? json_integer_value(j) : f->preset;
    return true;
}

static json_t *write_int(const part *p, const part_field *f)
{
    return json_integer(OF(int64_t, p, f));
}

/* Which of "a|b|c" s is, or -1. */
static int choice_of(const char *choices, const char *s)
{
    size_t n = strlen(s);
    for (int i = 0;; i++) {
        size_t k = strcspn(choices, "|");
        if (k == n && !strncmp(choices, s, n)) return i;
        if (!choices[k]) return -1;
        choices += k + 1;
    }
}

static bool read_choice(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    int i = j ? json_is_string(j) ? choice_of(f->choices, json_string_value(j)) : -1 : f->preset;
    if (i < 0)
        return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: %s must be one of %s, not \"%.40s\"", r->where, path, f->choices,
                              json_is_string(j) ? json_string_value(j) : "");
    AT(int, p, f) = i;
    return true;
}

static json_t *write_choice(const part *p, const part_field *f)
{
    const char *s = f->choices;
    for (int i = OF(int, p, f); i > 0; i--) s += strcspn(s, "|") + 1;
    return json_stringn(s, strcspn(s, "|"));
}

/* {"String": "..."} or {"Regex": "..."} */
static bool read_pattern(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    (void)f;
    const json_t *string = json_object_get(j, "String"), *regex = json_object_get(j, "Regex");
    if (json_object_size(j) != 1 || !(json_is_string(string) || json_is_string(regex)))
        return wrong(r, path, "{\"String\": \"...\"} or {\"Regex\": \"...\"}");
    if (string) return keep(r, &p->string, string);
    p->regex = genet__pattern_new(json_string_value(regex), r->err);
    return p->regex || genet__err_prefix(r->err, "%s: %s: ", r->where, path);
}

static json_t *write_pattern(const part *p, const part_field *f)
{
    (void)f;
    return p->string ? json_pack("{s:s}", "String", p->string)
                     : json_pack("{s:s}", "Regex", genet__pattern_text(p->regex));
}

static bool read_charsmap(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    (void)f;
    if (!json_is_string(j)) return wrong(r, path, "a string in base 64");
    TRY(keep(r, &p->charsmap_base64, j));
    p->charsmap = genet__charsmap_new(p->charsmap_base64, r->arena, r->err);
    return p->charsmap || genet__err_prefix(r->err, "%s: %s: ", r->where, path);
}

static json_t *write_charsmap(const part *p, const part_field *f)
{
    (void)f;
    return json_string(p->charsmap_base64);
}

/* Older files have these beside what now says the same. */
static bool read_ignored(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    (void)r, (void)p, (void)f, (void)j, (void)path;
    return true;
}

static json_t *write_nothing(const part *p, const part_field *f)
{
    (void)p, (void)f;
    return NULL;
}

/* --- tokens and templates --------------------------------------------------------------------------------------- */

static bool is_id(const json_t *j)
{
    return json_is_integer(j) && json_integer_value(j) >= 0 && json_integer_value(j) <= INT32_MAX;
}

/* ["[SEP]", 102] */
static bool read_token(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    named_token *to = &AT(named_token, p, f);
    const json_t *token = json_array_get(j, 0), *id = json_array_get(j, 1);
    if (json_array_size(j) != 2 || !json_is_string(token) || !is_id(id)) return wrong(r, path, "[\"a token\", its id]");
    to->id = (int32_t)json_integer_value(id);
    return keep(r, &to->token, token);
}

static json_t *write_token(const part *p, const part_field *f)
{
    const named_token *t = &OF(named_token, p, f);
    return json_pack("[s, i]", t->token, (int)t->id);
}

/* {"id": "[CLS]", "ids": [101], "tokens": ["[CLS]"]} */
static bool read_special(reading *r, template_special *s, const char *name, const json_t *j, const char *path)
{
    static const char *const known[] = { "id", "ids", "tokens", NULL };
    const json_t *ids = json_object_get(j, "ids"), *tokens = json_object_get(j, "tokens");
    size_t n = json_array_size(ids);
    if (!json_is_string(json_object_get(j, "id")) || !json_is_array(ids) || !json_is_array(tokens) ||
        json_array_size(tokens) != n || n > TEMPLATE_MAX)
        return wrong(r, path, "objects of \"id\", \"ids\" and as many \"tokens\"");
    TRY(genet__json_known(j, known, r->where, path, r->err));
    int32_t *id = ARENA_ARRAY(r->arena, int32_t, (int64_t)n + 1);
    s->token = ARENA_ARRAY(r->arena, const char *, (int64_t)n + 1);
    s->name = genet__arena_strdup(r->arena, name);
    if (!id || !s->token || !s->name) return genet__err_memory(r->err);
    for (size_t i = 0; i < n; i++) {
        if (!is_id(json_array_get(ids, i)) || !json_is_string(json_array_get(tokens, i)))
            return wrong(r, path, "objects of \"id\", \"ids\" and as many \"tokens\"");
        id[i] = (int32_t)json_integer_value(json_array_get(ids, i));
        TRY(keep(r, &s->token[i], json_array_get(tokens, i)));
    }
    s->id = id;
    s->n = (int)n;
    return true;
}

static bool read_specials(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    (void)f;
    const char *name;
    json_t *value, *all = (json_t *)j;          /* json_object_foreach only reads */
    size_t n = json_object_size(j);
    if (!json_is_object(j) || n > TEMPLATE_MAX) return wrong(r, path, "an object of special tokens");
    p->special = ARENA_ARRAY(r->arena, template_special, (int64_t)n + 1);
    if (!p->special) return genet__err_memory(r->err);
    json_object_foreach(all, name, value) {
        TRY(read_special(r, &p->special[p->n_special], name, value, path));
        p->n_special++;
    }
    return true;
}

static json_t *special_json(const template_special *s)
{
    json_t *ids = json_array(), *tokens = json_array();
    for (int i = 0; i < s->n; i++) {
        genet__json_append(&ids, json_integer(s->id[i]));
        genet__json_append(&tokens, json_string(s->token[i]));
    }
    return json_pack("{s:s, s:o, s:o}", "id", s->name, "ids", ids, "tokens", tokens);
}

static json_t *write_specials(const part *p, const part_field *f)
{
    (void)f;
    json_t *j = json_object();
    for (int i = 0; j && i < p->n_special; i++) {
        if (!json_object_set_new(j, p->special[i].name, special_json(&p->special[i]))) continue;
        json_decref(j);
        j = NULL;
    }
    return j;
}

/* {"Sequence": {"id": "A", "type_id": 0}} or {"SpecialToken": {"id": "[CLS]", "type_id": 0}}; the tokens, which may stand
 * behind in the file, are looked up when the part is complete: until then the name is kept as a token without ids. */
static bool read_piece(reading *r, template_piece *to, const json_t *j, const char *path)
{
    static const char *const known[] = { "id", "type_id", NULL };
    const json_t *text = json_object_get(j, "Sequence"), *special = json_object_get(j, "SpecialToken");
    const json_t *inside = text ? text : special, *id = json_object_get(inside, "id");
    const json_t *type = json_object_get(inside, "type_id");
    if (json_object_size(j) != 1 || !json_is_string(id) || !is_id(type))
        return wrong(r, path, "a list of {\"Sequence\" or \"SpecialToken\": {\"id\": ..., \"type_id\": ...}}");
    TRY(genet__json_known(inside, known, r->where, path, r->err));
    to->type_id = (int32_t)json_integer_value(type);
    if (text) {
        to->sequence = !strcmp(json_string_value(id), "B");
        if (!to->sequence && strcmp(json_string_value(id), "A")) return wrong(r, path, "a list of sequences A and B");
        return true;
    }
    template_special *s = ARENA_NEW(r->arena, template_special);
    to->special = s;
    return s ? keep(r, &s->name, id) : genet__err_memory(r->err);
}

static bool read_template(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    template_list *to = &AT(template_list, p, f);
    size_t n = json_array_size(j);
    if (!json_is_array(j) || n > TEMPLATE_MAX) return wrong(r, path, "a list of pieces");
    to->at = ARENA_ARRAY(r->arena, template_piece, (int64_t)n + 1);
    if (!to->at) return genet__err_memory(r->err);
    to->n = (int)n;
    for (size_t i = 0; i < n; i++) TRY(read_piece(r, &to->at[i], json_array_get(j, i), path));
    return true;
}

static json_t *write_template(const part *p, const part_field *f)
{
    const template_list *t = &OF(template_list, p, f);
    json_t *j = json_array();
    for (int i = 0; i < t->n; i++) {
        const template_piece *x = &t->at[i];
        genet__json_append(&j, json_pack("{s:{s:s, s:i}}", x->special ? "SpecialToken" : "Sequence", "id",
                                         x->special ? x->special->name : x->sequence ? "B" : "A", "type_id",
                                         (int)x->type_id));
    }
    return j;
}

/* --- parts ------------------------------------------------------------------------------------------------------ */

static bool read_part(reading *r, part *p, const json_t *j, const char *path);

static bool read_children(reading *r, part *p, const part_field *f, const json_t *j, const char *path)
{
    (void)f;
    size_t n = json_array_size(j);
    if (!json_is_array(j) || n > CHILDREN_MAX) return wrong(r, path, "an array of parts");
    if (++r->depth > DEPTH_MAX)
        return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: %s: more than %d sequences in each other", r->where, path,
                              DEPTH_MAX);
    p->child = ARENA_ARRAY(r->arena, part, (int64_t)n + 1);
    if (!p->child) return genet__err_memory(r->err);
    for (size_t i = 0; i < n; i++) {
        const char *inner = genet__arena_printf(r->arena, "%s[%zu]", path, i);
        if (!inner) return genet__err_memory(r->err);
        p->n_child++;
        TRY(read_part(r, &p->child[i], json_array_get(j, i), inner));
    }
    r->depth--;
    return true;
}

static json_t *write_children(const part *p, const part_field *f)
{
    (void)f;
    json_t *j = json_array();
    for (int i = 0; i < p->n_child; i++) genet__json_append(&j, genet__part_json(&p->child[i]));
    return j;
}

static const part_kind *kind_of(const reading *r, const char *type, const char *path)
{
    for (int i = 0; i < r->place->n; i++)
        if (!strcmp(r->place->kind[i].type, type)) return &r->place->kind[i];
    genet__err_set(r->err, GENET_ERR_FORMAT, "%s: %s.type \"%.40s\" is not known to this version", r->where, path, type);
    return NULL;
}

static bool check_fields(const reading *r, const part_kind *k, const json_t *j, const char *path)
{
    const char *key;
    json_t *value, *o = (json_t *)j;            /* json_object_foreach only reads */
    json_object_foreach(o, key, value) {
        const part_field *f = k->field;
        while (f && f->name && strcmp(f->name, key)) f++;
        if ((!f || !f->name) && strcmp(key, "type"))
            return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: %s.%.60s is not known to this version", r->where, path, key);
    }
    return true;
}

static bool read_part(reading *r, part *p, const json_t *j, const char *path)
{
    const json_t *type = json_object_get(j, "type");
    if (!json_is_string(type))
        return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: %s: the type is missing", r->where, path);
    if (!(p->kind = kind_of(r, json_string_value(type), path))) return false;
    TRY(check_fields(r, p->kind, j, path));
    for (const part_field *f = p->kind->field; f && f->name; f++) {
        const json_t *value = json_object_get(j, f->name);
        const char *inner = genet__arena_printf(r->arena, "%s.%s", path, f->name);
        if (!inner) return genet__err_memory(r->err);
        if (!value && !f->optional) return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: %s is missing", r->where, inner);
        TRY(f->value->read(r, p, f, value, inner));
    }
    return !p->kind->finish || p->kind->finish(p, r->arena, r->err) || genet__err_prefix(r->err, "%s: %s: ", r->where, path);
}

bool genet__part_read(const json_t *j, const part_place *place, const char *where, arena *a, part **p, genet_err *err)
{
    reading r = { place, where, a, 0, err };
    *p = NULL;
    if (!j || json_is_null(j)) return true;
    part *made = ARENA_NEW(a, part);
    if (!made) return genet__err_memory(err);
    *p = made;
    return read_part(&r, made, j, place->field);
}

json_t *genet__part_json(const part *p)
{
    if (!p) return json_null();
    json_t *j = json_pack("{s:s}", "type", p->kind->type);
    for (const part_field *f = p->kind->field; j && f && f->name; f++) {
        if (f->value->write == write_nothing) continue;
        if (!json_object_set_new(j, f->name, f->value->write(p, f))) continue;
        json_decref(j);
        j = NULL;
    }
    return j;
}

void genet__part_release(part *p)
{
    if (!p) return;
    genet__pattern_free(p->regex);
    for (int i = 0; i < p->n_child; i++) genet__part_release(&p->child[i]);
}

int genet__part_flatten(const part *p, const part **to, int n)
{
    int count = 0;
    if (!p) return 0;
    if (!p->child) {
        if (n > 0) *to = p;
        return 1;
    }
    for (int i = 0; i < p->n_child; i++)
        count += genet__part_flatten(&p->child[i], n > count ? to + count : NULL, n > count ? n - count : 0);
    return count;
}

const part_value genet__part_bool = { read_bool, write_bool };
const part_value genet__part_old_bool = { read_bool, write_nothing };
const part_value genet__part_tristate = { read_tristate, write_tristate };
const part_value genet__part_string = { read_string, write_string };
const part_value genet__part_char = { read_char, write_char };
const part_value genet__part_int = { read_int, write_int };
const part_value genet__part_choice = { read_choice, write_choice };
const part_value genet__part_pattern = { read_pattern, write_pattern };
const part_value genet__part_charsmap = { read_charsmap, write_charsmap };
const part_value genet__part_children = { read_children, write_children };
const part_value genet__part_token = { read_token, write_token };
const part_value genet__part_template = { read_template, write_template };
const part_value genet__part_specials = { read_specials, write_specials };
const part_value genet__part_ignored = { read_ignored, write_nothing };
