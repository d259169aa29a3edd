/* squad.c - reading SQuAD's JSON: data[] of articles, their paragraphs[], and of each the context and its qas[].
 *
 * answer_start counts characters of the context; here it becomes bytes, and an answer that does not stand there (some
 * translated sets have such) is kept as a text without a place. */
#include "text/squad.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/map.h"

enum { FILE_MAX_BYTES = 1 << 29 };

typedef struct reader { squad *to; map ids; const char *where; genet_err *err; } reader;
typedef struct place_text { char text[288]; } place_text;

/* "FILE: data[0]" and ".qas", 3: "FILE: data[0].qas[3]". */
static place_text inside(const char *place, const char *key, size_t i)
{
    place_text p;
    snprintf(p.text, sizeof p.text, "%.240s%s[%zu]", place, key, i);
    return p;
}

/* The array that o has under key; place: o's own, for words.  NULL: err says why; where absent is asked for, *absent is no
 * error. */
static const json_t *array_of(const reader *r, const json_t *o, const char *key, const char *place, bool *absent)
{
    const json_t *j = json_object_get(o, key);
    if (absent) *absent = !j;
    if (j && json_is_array(j)) return j;
    if (!json_is_object(o)) genet__err_set(r->err, GENET_ERR_FORMAT, "%s: must be an object with \"%s\"", place, key);
    else if (j) genet__err_set(r->err, GENET_ERR_FORMAT, "%s: \"%s\" must be an array", place, key);
    else if (!absent) genet__err_set(r->err, GENET_ERR_FORMAT, "%s: \"%s\" is missing", place, key);
    return NULL;
}

/* Byte of the character with this number, or -1: the text ends before.  text is UTF-8. */
static int64_t byte_of(const char *text, int64_t character)
{
    const char *at = text;
    for (; character > 0 && *at; character--)
        do at++; while (((unsigned char)*at & 0xc0) == 0x80);
    return character ? -1 : at - text;
}

static bool read_answer(const reader *r, const json_t *j, const char *context, const char *place, squad_answer *a)
{
    bool has_start = false;
    int64_t start = 0;
    TRY(genet__json_string(j, "text", place, &a->text, NULL, r->err));
    TRY(genet__json_int(j, "answer_start", place, &start, &has_start, r->err));
    a->start = has_start && start >= 0 ? byte_of(context, start) : -1;
    if (a->start >= 0 && strncmp(context + a->start, a->text, strlen(a->text))) a->start = -1;
    return true;
}

static bool read_answers(const reader *r, const json_t *j, squad_question *q, const char *place)
{
    bool absent;
    const json_t *all = array_of(r, j, "answers", place, &absent);
    if (!all) return absent;
    size_t n = json_array_size(all);
    if (n > INT_MAX || !(q->answer = ARENA_ARRAY(&r->to->arena, squad_answer, (int64_t)n + 1))) return genet__err_memory(r->err);
    for (size_t i = 0; i < n; i++) {
        place_text here = inside(place, ".answers", i);
        TRY(read_answer(r, json_array_get(all, i), q->context, here.text, &q->answer[i]));
    }
    q->n_answer = (int)n;
    return true;
}

static bool read_question(reader *r, const json_t *j, const char *title, const char *context, const char *place)
{
    squad *s = r->to;
    bool has_impossible = false;
    squad_question q = { .title = title, .context = context };
    TRY(genet__json_string(j, "id", place, &q.id, NULL, r->err));
    TRY(genet__json_string(j, "question", place, &q.question, NULL, r->err));
    TRY(genet__json_bool(j, "is_impossible", place, &q.impossible, &has_impossible, r->err));
    TRY(read_answers(r, j, &q, place));
    if (q.impossible && q.n_answer)
        return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: is_impossible, and there are answers", place);
    if (genet__map_get(&r->ids, q.id))
        return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: another question has the id \"%.60s\"", place, q.id);
    if (!genet__map_set(&r->ids, q.id, s->n) || !GROW(s->at, s->n, s->cap)) return genet__err_memory(r->err);
    s->at[s->n++] = q;
    return true;
}

static bool read_paragraph(reader *r, const json_t *j, const char *title, const char *place)
{
    const char *context;
    TRY(genet__json_string(j, "context", place, &context, NULL, r->err));
    const json_t *all = array_of(r, j, "qas", place, NULL);
    if (!all) return false;
    for (size_t i = 0; i < json_array_size(all); i++) {
        place_text here = inside(place, ".qas", i);
        TRY(read_question(r, json_array_get(all, i), title, context, here.text));
    }
    return true;
}

static bool read_article(reader *r, const json_t *j, const char *place)
{
    const char *title = "";
    bool has_title;
    const json_t *all = array_of(r, j, "paragraphs", place, NULL);
    if (!all) return false;
    TRY(genet__json_string(j, "title", place, &title, &has_title, r->err));
    for (size_t i = 0; i < json_array_size(all); i++) {
        place_text here = inside(place, ".paragraphs", i);
        TRY(read_paragraph(r, json_array_get(all, i), title, here.text));
    }
    return true;
}

static bool read_all(reader *r)
{
    const json_t *all = array_of(r, r->to->json, "data", r->where, NULL);
    if (!all) return false;
    for (size_t i = 0; i < json_array_size(all); i++) {
        place_text here = inside(r->where, ": data", i);
        TRY(read_article(r, json_array_get(all, i), here.text));
    }
    return true;
}

/* Takes json over, also when it fails. */
static bool take(squad *s, json_t *json, const char *where, genet_err *err)
{
    *s = (squad){ .json = json };
    reader r = { .to = s, .where = where, .err = err };
    bool ok = json && read_all(&r);
    genet__map_release(&r.ids);
    if (!ok) genet__squad_release(s);
    return ok;
}

bool genet__squad_read(squad *s, const char *path, genet_err *err)
{
    return take(s, genet__json_read(path, FILE_MAX_BYTES, err), path, err);
}

bool genet__squad_parse(squad *s, const char *text, size_t n, const char *where, genet_err *err)
{
    return take(s, genet__json_parse(text, n, where, err), where, err);
}

void genet__squad_release(squad *s)
{
    json_decref(s->json);
    genet__free(s->at);
    genet__arena_release(&s->arena);
    *s = (squad){0};
}
