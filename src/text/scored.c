/* scored.c - files of predictions and references, put together item by item.  All of it is in memory: these files are small
 * beside what made them. */
#include "text/scored.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/map.h"
#include "format/jsonl.h"
#include "text/squad.h"

enum { FILE_MAX_BYTES = 1 << 30, ANSWERS_MAX_BYTES = 1 << 28 };

static const char *const prediction_names[] = { "prediction", "prediction_text", "hypothesis", NULL };
static const char *const reference_names[] = { "reference", "target", "answer", "label", NULL };
static const char *const id_names[] = { "id", NULL };

typedef struct input { scored *s; genet_err *err; } input;

/* --- one value ---------------------------------------------------------------------- */

static const char *text_of(const json_t *j, arena *a)
{
    char number[32];
    if (json_is_string(j)) return genet__arena_strdup(a, json_string_value(j));
    if (json_is_boolean(j)) return json_is_true(j) ? "true" : "false";
    if (json_is_real(j)) genet__format_double(number, json_real_value(j));
    else snprintf(number, sizeof number, "%lld", (long long)json_integer_value(j));
    return genet__arena_strdup(a, number);
}

static bool is_scalar(const json_t *j) { return json_is_string(j) || json_is_number(j) || json_is_boolean(j); }

bool genet__scored_text(const json_t *o, const char *const *names, const char *where, const char **out, arena *a,
                        genet_err *err)
{
    const json_t *j = NULL;
    const char *name = NULL;
    *out = NULL;
    for (; *names && !j; names++) j = json_object_get(o, name = *names);
    if (!j) return true;
    if (!is_scalar(j)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" must be a text or a number", where, name);
    *out = text_of(j, a);
    return *out || genet__err_memory(err);
}

/* --- items -------------------------------------------------------------------------- */

static scored_item *new_item(const input *in)
{
    scored *s = in->s;
    if (!GROW(s->at, s->n, s->cap)) {
        genet__err_memory(in->err);
        return NULL;
    }
    s->at[s->n] = (scored_item){0};
    return &s->at[s->n++];
}

/* One more reference; few items have more than a handful. */
static bool add_reference(const input *in, scored_item *item, const char *text)
{
    const char **all = ARENA_ARRAY(&in->s->arena, const char *, (int64_t)item->n_reference + 1);
    if (!all) return genet__err_memory(in->err);
    if (item->n_reference) memcpy(all, item->reference, (size_t)item->n_reference * sizeof *all);
    all[item->n_reference++] = text;
    item->reference = all;
    return true;
}

/* The item that line `at` (from 0) of a file of references belongs to. */
static scored_item *item_at(const input *in, int at, const char *path)
{
    if (at < in->s->n) return &in->s->at[at];
    genet__err_set(in->err, GENET_ERR_FORMAT, "%s has more lines than there are predictions: %d", path, in->s->n);
    return NULL;
}

static bool all_lines(const input *in, int n, const char *path)
{
    return n == in->s->n || genet__err_set(in->err, GENET_ERR_FORMAT, "%s has %d lines, and there are %d predictions",
                                           path, n, in->s->n);
}

/* --- lines of text ------------------------------------------------------------------ */

/* The line as an arena's text; NULL: err says why. */
static const char *copy_line(const input *in, const char *line, size_t n, const char *path, int number)
{
    if (n && line[n - 1] == '\r') n--;
    char *copy = memchr(line, 0, n) ? NULL : genet__arena_alloc(&in->s->arena, n + 1);
    if (copy) memcpy(copy, line, n);
    else if (memchr(line, 0, n)) genet__err_set(in->err, GENET_ERR_FORMAT, "%s: line %d: a zero byte is no text", path, number);
    else genet__err_memory(in->err);
    return copy;
}

/* Each line is a new prediction, or one more reference of the item that has its number. */
static bool split_lines(const input *in, const char *text, size_t size, const char *path, bool references)
{
    int n = 0;
    for (const char *at = text, *last = text + size; at < last;) {
        const char *end = memchr(at, '\n', (size_t)(last - at));
        if (!end) end = last;
        scored_item *item = references ? item_at(in, n, path) : new_item(in);
        const char *line = item ? copy_line(in, at, (size_t)(end - at), path, ++n) : NULL;
        if (!line) return false;
        if (!references) item->prediction = line;
        else TRY(add_reference(in, item, line));
        at = end + 1;
    }
    return !references || all_lines(in, n, path);
}

static bool read_lines(const input *in, const char *path, bool references)
{
    size_t size = 0;
    char *text = genet__file_read(path, FILE_MAX_BYTES, &size, in->err);
    bool ok = text && split_lines(in, text, size, path, references);
    genet__free(text);
    return ok;
}

/* --- JSON lines --------------------------------------------------------------------- */

/* "references": [texts], or one under another name. */
static bool take_references(const input *in, scored_item *item, const json_t *o, const char *where)
{
    const json_t *all = json_object_get(o, "references");
    const char *text;
    if (all && !json_is_array(all)) return genet__err_set(in->err, GENET_ERR_FORMAT, "%s: \"references\" must be an array", where);
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *j = json_array_get(all, i);
        if (!is_scalar(j)) return genet__err_set(in->err, GENET_ERR_FORMAT, "%s: references[%zu] is no text", where, i);
        TRY((text = text_of(j, &in->s->arena)) || genet__err_memory(in->err));
        TRY(add_reference(in, item, text));
    }
    if (all) return true;
    TRY(genet__scored_text(o, reference_names, where, &text, &in->s->arena, in->err));
    return !text || add_reference(in, item, text);
}

static bool take_object(const input *in, const json_t *o, const char *path, int number, bool references)
{
    char where[256];
    snprintf(where, sizeof where, "%.200s: item %d", path, number);
    if (!json_is_object(o)) return genet__err_set(in->err, GENET_ERR_FORMAT, "%s: must be an object", where);
    scored_item *item = references ? item_at(in, number - 1, path) : new_item(in);
    if (!item) return false;
    int before = item->n_reference;
    if (!references) {
        TRY(genet__scored_text(o, prediction_names, where, &item->prediction, &in->s->arena, in->err));
        if (!item->prediction) return genet__err_set(in->err, GENET_ERR_FORMAT, "%s: \"prediction\" is missing", where);
    }
    TRY(take_references(in, item, o, where));
    return !references || item->n_reference > before || json_object_get(o, "references") ||
           genet__err_set(in->err, GENET_ERR_FORMAT, "%s: \"reference\" or \"references\" is missing", where);
}

static bool read_json_lines(const input *in, const char *path, bool references)
{
    jsonl r;
    json_t *o;
    int n = 0;
    bool ok = genet__jsonl_open(&r, path, 0, in->err);
    while (ok && (o = genet__jsonl_next(&r, in->err))) {
        ok = take_object(in, o, path, ++n, references);
        json_decref(o);
    }
    ok = ok && !r.failed && (!references || all_lines(in, n, path));
    genet__jsonl_close(&r);
    return ok;
}

/* --- answers to SQuAD's questions --------------------------------------------------- */

/* {"id": "answer", ...}, from an object or gathered from JSON lines; a new reference. */
static json_t *gather_answers(const input *in, const char *path)
{
    jsonl r;
    json_t *all = json_object(), *o;
    bool ok = all ? genet__jsonl_open(&r, path, 0, in->err) : genet__err_memory(in->err);
    while (ok && (o = genet__jsonl_next(&r, in->err))) {
        char where[256];
        const char *id, *text;
        snprintf(where, sizeof where, "%.200s: line %lld", path, (long long)r.line);
        ok = genet__scored_text(o, id_names, where, &id, &in->s->arena, in->err) &&
             genet__scored_text(o, prediction_names, where, &text, &in->s->arena, in->err);
        if (ok && (!id || !text))
            ok = genet__err_set(in->err, GENET_ERR_FORMAT, "%s: \"%s\" is missing", where, id ? "prediction" : "id");
        if (ok && json_object_get(all, id)) ok = genet__err_set(in->err, GENET_ERR_FORMAT, "%s: \"%.60s\" again", where, id);
        if (ok && json_object_set_new(all, id, json_string(text))) ok = genet__err_memory(in->err);
        json_decref(o);
    }
    if (all && ok && !r.failed) {
        genet__jsonl_close(&r);
        return all;
    }
    if (all) genet__jsonl_close(&r);
    json_decref(all);
    return NULL;
}

static bool add_question(const input *in, const squad_question *q, const json_t *answers, const char *path)
{
    const json_t *given = json_object_get(answers, q->id);
    scored_item *item = new_item(in);
    if (!item) return false;
    if (given && !json_is_string(given))
        return genet__err_set(in->err, GENET_ERR_FORMAT, "%s: \"%.60s\" must be a text", path, q->id);
    in->s->missing += !given;
    item->prediction = genet__arena_strdup(&in->s->arena, given ? json_string_value(given) : "");
    if (!item->prediction) return genet__err_memory(in->err);
    for (int i = 0; i < q->n_answer; i++) {
        const char *text = genet__arena_strdup(&in->s->arena, q->answer[i].text);
        TRY(text ? add_reference(in, item, text) : genet__err_memory(in->err));
    }
    return true;
}

static bool read_squad(const input *in, const char *predictions, const char *path)
{
    squad set = {0};
    TRY(genet__squad_read(&set, path, in->err));
    json_t *answers = genet__ends_with(predictions, ".jsonl") ? gather_answers(in, predictions)
        : genet__json_read(predictions, ANSWERS_MAX_BYTES, in->err);
    bool ok = answers;
    if (ok && !json_is_object(answers))
        ok = genet__err_set(in->err, GENET_ERR_FORMAT, "%s: must be an object {\"id\": \"answer\"}", predictions);
    for (int i = 0; ok && i < set.n; i++) ok = add_question(in, &set.at[i], answers, predictions);
    json_decref(answers);
    genet__squad_release(&set);
    return ok;
}

/* --- all ---------------------------------------------------------------------------- */

static bool read_file(const input *in, const char *path, bool references)
{
    return (genet__ends_with(path, ".jsonl") ? read_json_lines : read_lines)(in, path, references);
}

static bool read_all(const input *in, const char *predictions, const char *const *path, int n_path)
{
    if (n_path == 1 && genet__ends_with(path[0], ".json")) return read_squad(in, predictions, path[0]);
    TRY(read_file(in, predictions, false));
    for (int i = 0; i < n_path; i++) {
        if (genet__ends_with(path[i], ".json"))
            return genet__err_set(in->err, GENET_ERR_USAGE, "%s: SQuAD's JSON stands alone as references", path[i]);
        TRY(read_file(in, path[i], true));
    }
    return true;
}

bool genet__scored_read(scored *s, const char *predictions, const char *const *path, int n_path, genet_err *err)
{
    *s = (scored){0};
    if (read_all(&(input){ s, err }, predictions, path, n_path)) return true;
    genet__scored_release(s);
    return false;
}

void genet__scored_release(scored *s)
{
    genet__free(s->at);
    genet__arena_release(&s->arena);
    *s = (scored){0};
}
