/* examples.c - lines to sequences of tokens.  Where an answer stands in a conversation is found by rendering what comes before
 * it, with the beginning of an answer, and what comes up to its end: both are beginnings of the whole. */
#include "text/examples.h"
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "format/jsonl.h"

/* --- tokens ------------------------------------------------------------------------------ */

static bool mark(examples *e, bool said, genet_err *err)
{
    while (e->n_said < e->ids.n) {
        if (!GROW(e->said, e->n_said, e->cap_said)) return genet__err_memory(err);
        e->said[e->n_said++] = said;
    }
    return true;
}

static bool add_text(examples *e, const example_rules *r, const char *text, size_t n, bool said, genet_err *err)
{
    return genet__tokenizer_encode(r->tokenizer, text, n, &e->ids, err) && mark(e, said, err);
}

/* text[from, to) behind the sequence that begins at e->ids.at[first] and holds text[0, from).  The tokens are those that a text
 * up to `to` has beyond the ones there, so that a tokenizer which marks beginnings marks none in the middle; where the last token
 * before would be another one then, they are those of the part alone, as generation would have had to write it. */
static bool add_span(examples *e, const example_rules *r, int first, const char *text, size_t from, size_t to, bool said, genet_err *err)
{
    token_list whole = {0};
    size_t had = (size_t)(e->ids.n - first);
    bool ok = genet__tokenizer_encode(r->tokenizer, text, to, &whole, err);
    bool goes_on = ok && (size_t)whole.n >= had && (!had || !memcmp(whole.at, e->ids.at + first, had * sizeof *whole.at));
    for (int i = (int)had; goes_on && ok && i < whole.n; i++) {
        ok = GROW(e->ids.at, e->ids.n, e->ids.cap) || genet__err_memory(err);
        if (ok) e->ids.at[e->ids.n++] = whole.at[i];
    }
    genet__token_list_release(&whole);
    if (ok && !goes_on) return add_text(e, r, text + from, to - from, said, err);
    return ok && mark(e, said, err);
}

/* -1: none */
static bool add_token(examples *e, int32_t id, bool said, genet_err *err)
{
    if (id < 0) return true;
    if (!GROW(e->ids.at, e->ids.n, e->ids.cap)) return genet__err_memory(err);
    e->ids.at[e->ids.n++] = id;
    return mark(e, said, err);
}

static bool add_begin(examples *e, const example_rules *r, genet_err *err) { return add_token(e, r->begin, false, err); }
static bool add_end(examples *e, const example_rules *r, genet_err *err) { return add_token(e, r->end, true, err); }

/* --- conversations ------------------------------------------------------------------------- */

static bool render_first(examples *e, const json_t *messages, size_t n, bool prompt, str *out, genet_err *err)
{
    json_t *first = json_array();
    for (size_t i = 0; i < n; i++) genet__json_append(&first, json_incref(json_array_get(messages, i)));
    out->n = 0;
    bool ok = first ? genet__chat_render(&e->chat, first, NULL, prompt, out, err) : genet__err_memory(err);
    json_decref(first);
    return ok && (!out->failed || genet__err_memory(err));
}

static bool begins_with(const str *all, const str *part)
{
    return part->n <= all->n && !memcmp(genet__str(all), genet__str(part), part->n);
}

/* Where in `all` the answer ends that begins at `from`; upto ends with it.  Some templates write the last answer in another way
 * than those before (Qwen3: with its thoughts): then what follows the content in upto must follow it in all.  0: nowhere. */
static size_t end_of(const str *all, const str *upto, size_t from, const char *content)
{
    if (begins_with(all, upto)) return upto->n;
    const char *a = content && *content && upto->n > from ? strstr(genet__str(upto) + from, content) : NULL;
    const char *b = a ? strstr(genet__str(all) + from, content) : NULL;
    if (!b) return 0;
    const char *tail = a + strlen(content);
    b += strlen(content);
    return !strncmp(b, tail, strlen(tail)) ? (size_t)(b - genet__str(all)) + strlen(tail) : 0;
}

/* White space behind an answer's end belongs to the form of the conversation. */
static size_t without_space(const str *all, size_t from, size_t to)
{
    size_t end = to;
    while (end > from && strchr(" \t\r\n", genet__str(all)[end - 1])) end--;
    return end > from ? end : to;
}

/* first: where the sequence begins; at: how much of the text has been taken. */
typedef struct rendered { str all, before, upto; int first; size_t at; } rendered;

/* The answer that is message i. */
static bool add_answer(examples *e, const example_rules *r, const json_t *messages, size_t i, rendered *w, genet_err *err)
{
    const json_t *content = json_object_get(json_array_get(messages, i), "content");
    TRY(render_first(e, messages, i, true, &w->before, err) && render_first(e, messages, i + 1, false, &w->upto, err));
    size_t from = w->before.n, end = begins_with(&w->all, &w->before) ? end_of(&w->all, &w->upto, from, json_string_value(content)) : 0;
    if (from < w->at || end <= from)
        return genet__err_set(err, GENET_ERR_FORMAT, "where message %zu stands in what the chat template writes cannot be told: the "
                              "beginning of a conversation is written in another way than the whole", i + 1);
    end = without_space(&w->all, from, end);
    TRY(add_span(e, r, w->first, genet__str(&w->all), w->at, from, false, err));
    TRY(add_span(e, r, w->first, genet__str(&w->all), from, end, true, err));
    w->at = end;
    return true;
}

/* What the assistant says from message `first` on is learned; what comes after its last words is left out. */
static bool add_messages(examples *e, const example_rules *r, const json_t *messages, size_t first, genet_err *err)
{
    rendered w = { .first = e->ids.n };
    if (!e->chat.jinja) TRY(genet__chat_open(&e->chat, r->folder, r->template_, err));
    TRY(genet__chat_check(messages, "messages", err));
    bool ok = render_first(e, messages, json_array_size(messages), false, &w.all, err);
    for (size_t i = first; ok && i < json_array_size(messages); i++) {
        const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
        if (!strcmp(role, "assistant")) ok = add_answer(e, r, messages, i, &w, err);
    }
    genet__str_release(&w.all);
    genet__str_release(&w.before);
    genet__str_release(&w.upto);
    return ok;
}

/* --- lines --------------------------------------------------------------------------------- */

/* A sequence is what was added since `from`; false in *kept: nothing of it is learned. */
static bool close_sequence(examples *e, const example_rules *r, int from, int64_t line, bool *kept, bool *cut, genet_err *err)
{
    example s = { .n = e->ids.n - from, .line = line };
    if (s.n > r->max) {
        *cut = true;
        s.n = (int)r->max;
        e->ids.n = e->n_said = from + s.n;
    }
    for (int i = 1; i < s.n; i++) s.n_said += e->said[from + i];        /* nothing predicts the first */
    *kept = *kept && s.n_said;
    if (!GROW(e->at, e->n_at, e->cap_at)) return genet__err_memory(err);
    e->at[e->n_at++] = s;
    return true;
}

static json_t *join(const json_t *a, const json_t *b)
{
    json_t *all = json_array();
    const json_t *part[] = { a, b };
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < json_array_size(part[k]); i++) genet__json_append(&all, json_incref(json_array_get(part[k], i)));
    return all;
}

static bool add_texts(examples *e, const example_rules *r, const json_t *prompt, const json_t *answer, genet_err *err)
{
    str all = {0};
    size_t n = json_string_length(prompt);
    TRY(add_begin(e, r, err));
    int first = e->ids.n;
    genet__str_add_n(&all, json_string_value(prompt), n);
    genet__str_add_n(&all, json_string_value(answer), json_string_length(answer));
    bool ok = all.failed ? genet__err_memory(err)
                         : add_span(e, r, first, genet__str(&all), 0, n, false, err) && add_span(e, r, first, genet__str(&all), n, all.n, true, err);
    genet__str_release(&all);
    return ok && add_end(e, r, err);
}

/* Texts, or messages: both of one kind.  prompt may be NULL where the answer is a conversation, whose first `shared` messages
 * are then the prompt. */
static bool add_continued(examples *e, const example_rules *r, const json_t *prompt, const json_t *answer, size_t shared, genet_err *err)
{
    if (json_is_string(prompt) && json_is_string(answer))
        return add_texts(e, r, prompt, answer, err);
    if (!json_is_array(answer) || (prompt && !json_is_array(prompt)))
        return genet__err_set(err, GENET_ERR_FORMAT, "prompt and what follows it must be two texts, or two arrays of messages");
    json_t *all = join(prompt, answer);
    bool ok = all ? add_messages(e, r, all, prompt ? json_array_size(prompt) : shared, err) : genet__err_memory(err);
    json_decref(all);
    return ok;
}

static bool add_single(examples *e, const example_rules *r, const json_t *o, genet_err *err)
{
    const json_t *text = json_object_get(o, "text"), *messages = json_object_get(o, "messages");
    const json_t *prompt = json_object_get(o, "prompt"), *completion = json_object_get(o, "completion");
    if (messages) return add_messages(e, r, messages, 0, err);
    if (prompt && completion) return add_continued(e, r, prompt, completion, 0, err);
    if (json_is_string(text))
        return add_begin(e, r, err) && add_text(e, r, json_string_value(text), json_string_length(text), true, err) && add_end(e, r, err);
    return genet__err_set(err, GENET_ERR_FORMAT, "there must be a \"text\", a \"prompt\" and a \"completion\", or \"messages\"");
}

/* Messages that both conversations begin with. */
static size_t common(const json_t *a, const json_t *b)
{
    size_t n = 0;
    while (n < json_array_size(a) && n < json_array_size(b) && json_equal(json_array_get(a, n), json_array_get(b, n))) n++;
    return n;
}

static bool add_line(examples *e, const example_rules *r, const json_t *o, int64_t line, genet_err *err)
{
    const json_t *prompt = json_object_get(o, "prompt"), *answer[] = { json_object_get(o, "chosen"), json_object_get(o, "rejected") };
    int ids = e->ids.n, sequences = e->n_at;
    bool kept = true, cut = false;
    if (!json_is_object(o)) return genet__err_set(err, GENET_ERR_FORMAT, "must be an object");
    if (r->pairs && !(answer[0] && answer[1]))
        return genet__err_set(err, GENET_ERR_FORMAT, "there must be a \"prompt\", a \"chosen\" and a \"rejected\" answer");
    for (int k = 0; k < 1 + r->pairs; k++) {
        int from = e->ids.n;
        TRY(r->pairs ? add_continued(e, r, prompt, answer[k], common(answer[0], answer[1]), err) : add_single(e, r, o, err));
        TRY(close_sequence(e, r, from, line, &kept, &cut, err));
    }
    e->n_cut += cut;
    if (kept) return true;
    e->ids.n = e->n_said = ids;
    e->n_at = sequences;
    e->n_dropped++;
    return true;
}

bool genet__examples_read(examples *e, const char *path, const example_rules *r, genet_err *err)
{
    jsonl lines;
    json_t *o;
    TRY(genet__jsonl_open(&lines, path, 0, err));
    bool ok = true;
    while (ok && (o = genet__jsonl_next(&lines, err))) {
        ok = add_line(e, r, o, lines.line, err) || genet__err_prefix(err, "%s: line %lld: ", path, (long long)lines.line);
        json_decref(o);
    }
    ok = ok && !lines.failed;
    genet__jsonl_close(&lines);
    e->n = e->n_at;
    return ok;
}

/* The lists move while they grow: where sequences begin is known at the end. */
void genet__examples_settle(examples *e)
{
    int at = 0;
    for (int i = 0; i < e->n_at; at += e->at[i++].n) {
        e->at[i].ids = e->ids.at + at;
        e->at[i].said = e->said + at;
    }
}

void genet__examples_release(examples *e)
{
    genet__token_list_release(&e->ids);
    genet__chat_release(&e->chat);
    genet__free(e->said);
    genet__free(e->at);
    *e = (examples){0};
}

void genet__examples_hash(const examples *e, char hex[HASH_HEX])
{
    sha256 h;
    genet__sha256_init(&h);
    for (int i = 0; i < e->n_at; i++) genet__sha256_add(&h, &e->at[i].n, sizeof e->at[i].n);
    genet__sha256_add(&h, e->ids.at, (size_t)e->ids.n * sizeof *e->ids.at);
    genet__sha256_add(&h, e->said, (size_t)e->n_said);
    genet__sha256_end(&h, hex);
}
