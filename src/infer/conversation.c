/* conversation.c - turns of a conversation through one decoder: messages to tokens, what fits, answers, choices.
 *
 * How much is left out.  An answer gets room for a quarter of the context at least (or max_new_tokens, if that is less).
 * When a conversation leaves less, whole turns go, from a question to the next, until a quarter of what is left is free, so
 * that not every turn after it begins anew. */
#include "infer/conversation.h"
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "format/jsonl.h"

/* --- messages --------------------------------------------------------------------------------- */

bool genet__conversation_init(conversation *c, const chat_format *f, const model *m, const tokenizer *t, json_t *more,
                              genet_err *err)
{
    *c = (conversation){ .format = f, .model = m, .tokenizer = t, .more = more, .messages = json_array() };
    bool ok = c->messages || genet__err_memory(err);
    if (ok && genet__chat_end(f, t, more, &c->end, &c->stop, err)) return true;
    genet__conversation_release(c);
    return false;
}

void genet__conversation_release(conversation *c)
{
    json_decref(c->messages);
    json_decref(c->more);
    genet__str_release(&c->stop);
    *c = (conversation){0};
}

bool genet__conversation_add(conversation *c, const char *role, const char *text, size_t n, genet_err *err)
{
    str clean = {0};
    genet__utf8_add(&clean, text, n);
    json_t *j = clean.failed ? NULL : json_pack("{s:s, s:o}", "role", role, "content",
                                                json_stringn(genet__str(&clean), clean.n));
    genet__str_release(&clean);
    return (j && !json_array_append_new(c->messages, j)) || genet__err_memory(err);
}

bool genet__conversation_set(conversation *c, const json_t *messages, const char *where, genet_err *err)
{
    TRY(genet__chat_check(messages, where, err));
    json_t *copy = json_copy((json_t *)messages);
    if (!copy) return genet__err_memory(err);
    json_decref(c->messages);
    c->messages = copy;
    c->dropped = 0;
    c->pinned = 0;
    const char *role = json_string_value(json_object_get(json_array_get(copy, 0), "role"));
    if (role && (!strcmp(role, "system") || !strcmp(role, "developer"))) c->pinned = 1;
    return true;
}

static bool add_example(conversation *c, const json_t *line, const char *where, genet_err *err)
{
    const char *prompt, *completion;
    const json_t *all = json_object_get(line, "messages");
    if (all) {
        TRY(genet__chat_check(all, where, err));
        return !json_array_extend(c->messages, (json_t *)all) || genet__err_memory(err);
    }
    TRY(genet__json_string(line, "prompt", where, &prompt, NULL, err));
    TRY(genet__json_string(line, "completion", where, &completion, NULL, err));
    return genet__conversation_add(c, "user", prompt, strlen(prompt), err) &&
           genet__conversation_add(c, "assistant", completion, strlen(completion), err);
}

static bool add_examples(conversation *c, const char *path, genet_err *err)
{
    jsonl lines;
    json_t *one;
    bool ok = true;
    TRY(genet__jsonl_open(&lines, path, 0, err));
    while (ok && (one = genet__jsonl_next(&lines, err))) {
        str where = {0};
        genet__str_printf(&where, "%s: line %lld", path, (long long)lines.line);
        ok = add_example(c, one, genet__str(&where), err);
        genet__str_release(&where);
        json_decref(one);
    }
    ok = ok && !lines.failed;
    genet__jsonl_close(&lines);
    return ok;
}

bool genet__conversation_begin(conversation *c, const char *system, const char *examples, genet_err *err)
{
    json_array_clear(c->messages);
    c->dropped = 0;
    if (system) TRY(genet__conversation_add(c, "system", system, strlen(system), err));
    if (examples) TRY(add_examples(c, examples, err));
    c->pinned = (int64_t)json_array_size(c->messages);
    return true;
}

/* --- what fits -------------------------------------------------------------------------------- */

/* The messages that are not left out. */
static json_t *shown(const conversation *c)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(c->messages); i++)
        if ((int64_t)i < c->pinned || (int64_t)i >= c->pinned + c->dropped)
            genet__json_append(&out, json_incref(json_array_get(c->messages, i)));
    return out;
}

/* Their text with the beginning of an answer, and then `after`. */
static bool render(const conversation *c, const char *after, token_list *ids, genet_err *err)
{
    str text = {0};
    json_t *messages = shown(c);
    ids->n = 0;
    bool ok = messages || genet__err_memory(err);
    ok = ok && genet__chat_render(c->format, messages, c->more, true, &text, err);
    if (ok) genet__str_add(&text, after);
    ok = ok && (!text.failed || genet__err_memory(err));
    ok = ok && genet__tokenizer_encode(c->tokenizer, genet__str(&text), text.n, ids, err);
    json_decref(messages);
    genet__str_release(&text);
    return ok && (ids->n || genet__err_set(err, GENET_ERR_USAGE, "the template makes no text of the conversation"));
}

/* Leave one more turn out: up to the next question. */
static bool drop_turn(conversation *c)
{
    int64_t n = (int64_t)json_array_size(c->messages);
    for (int64_t i = c->pinned + c->dropped + 1; i < n; i++) {
        const char *role = json_string_value(json_object_get(json_array_get(c->messages, (size_t)i), "role"));
        if (!role || strcmp(role, "user")) continue;
        c->dropped = i - c->pinned;
        return true;
    }
    return false;
}

/* The ids to read, with room for `room` more. */
static bool fit(conversation *c, int64_t window, int64_t room, const char *after, token_list *ids, genet_err *err)
{
    int64_t before = c->dropped, most = window - room, wanted = most;
    for (;;) {
        TRY(render(c, after, ids, err));
        if (ids->n <= wanted) return true;
        wanted = most - most / 4;
        if (drop_turn(c)) continue;
        if (ids->n <= most) return true;
        c->dropped = before;
        return genet__err_set(err, GENET_ERR_USAGE, "the message, and what stays before it, are %d tokens, and %lld more are "
                              "to be written: the model sees %lld at once", ids->n, (long long)room, (long long)window);
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

typedef struct listener { genet_piece_fn *piece; void *user; str text; answer *out; bool left; } listener;

static bool hear(void *user, const genet_piece *p)
{
    listener *l = user;
    genet__str_add_n(&l->text, p->text, p->n_bytes);
    l->out->n_new += p->n_token;
    if (p->finish) l->out->finish = p->finish;
    if (l->piece && !l->piece(l->user, p) && !p->finish) l->left = true;
    return !l->left && !l->text.failed;
}

/* A line of stop strings. */
static void add_line(str *lines, const char *text)
{
    if (lines->n) genet__str_add(lines, "\n");
    for (const char *p = text; *p; p++) {
        const char *as = *p == '\n' ? "\\n" : *p == '\t' ? "\\t" : *p == '\\' ? "\\\\" : NULL;
        genet__str_add_n(lines, as ? as : p, as ? 2 : 1);
    }
}

/* Options of this answer: the template's end beside the others, and draws of its own. */
static bool settle(const conversation *c, const generation_options *o, int64_t room, generation_options *how, str *stops,
                   genet_err *err)
{
    end_tokens ends = genet__end_tokens(c->model, o);
    *how = *o;
    how->seed = (int64_t)(((uint64_t)o->seed + (uint64_t)c->n_answers) & INT64_MAX);
    if (how->max_new_tokens > room) how->max_new_tokens = room;
    if (!o->ignore_eos) {
        if (c->end >= 0 && ends.n < INT_LIST_MAX && !genet__is_end(&ends, c->end)) ends.id[ends.n++] = c->end;
        how->eos_token_id.n = ends.n;
        for (int i = 0; i < ends.n; i++) how->eos_token_id.at[i] = ends.id[i];
        how->eos_of_file = true;
    }
    if (o->stop) genet__str_add(stops, o->stop);
    if (c->stop.n && !o->ignore_eos) add_line(stops, genet__str(&c->stop));
    if (stops->n) how->stop = genet__str(stops);
    return !stops->failed || genet__err_memory(err);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t room_of(const decoder *d, int64_t wanted)
{
    int64_t quarter = genet__decoder_window(d) / 4, room = least(wanted, quarter);
    return room > 1 ? room : 1;
}

static bool write_answer(conversation *c, decoder *d, const generation_options *o, const token_list *ids, listener *l,
                         genet_err *err)
{
    generation_options how;
    str stops = {0};
    int64_t room = genet__decoder_window(d) - ids->n;
    l->out->n_prompt = ids->n;
    bool ok = settle(c, o, room, &how, &stops, err) && genet__decoder_rewind(d, ids->at, ids->n, &l->out->kept, err);
    ok = ok && genet__go_on(d, c->tokenizer, c->model, ids->at, ids->n, &how, hear, l, err);
    if (ok && l->text.failed) ok = genet__err_memory(err);
    if (ok && l->left) l->out->finish = "left";
    l->out->full = ok && !strcmp(l->out->finish, "length") && o->max_new_tokens > room;
    genet__str_release(&stops);
    return ok;
}

bool genet__conversation_answer(conversation *c, decoder *d, const generation_options *o, genet_piece_fn *piece,
                                void *user, answer *out, genet_err *err)
{
    token_list ids = {0};
    listener l = { .piece = piece, .user = user, .out = out };
    *out = (answer){ .finish = "length" };
    bool ok = fit(c, genet__decoder_window(d), room_of(d, o->max_new_tokens), "", &ids, err);
    ok = ok && write_answer(c, d, o, &ids, &l, err);
    ok = ok && genet__conversation_add(c, "assistant", genet__str(&l.text), l.text.n, err);
    c->n_answers += ok;
    genet__token_list_release(&ids);
    genet__str_release(&l.text);
    return ok;
}

/* --- choices ---------------------------------------------------------------------------------- */

/* Of ids from `from` on, given those before. */
static bool weigh_one(decoder *d, const token_list *ids, int64_t from, double *logprob, genet_err *err)
{
    int64_t kept, V = genet__decoder_vocab(d);
    TRY(genet__decoder_rewind(d, ids->at, from, &kept, err));
    *logprob = 0;
    for (int64_t i = from; i < ids->n; i++) {
        const float *logits = genet__decoder_logits(d);
        if (ids->at[i] < 0 || ids->at[i] >= V)
            return genet__err_set(err, GENET_ERR_USAGE, "token %d is not among the model's %lld", ids->at[i], (long long)V);
        *logprob += (double)logits[ids->at[i]] - genet__log_sum_exp(logits, V);
        if (i + 1 < ids->n) TRY(genet__decoder_step(d, &ids->at[i], NULL, err));
    }
    return true;
}

/* Where the two part: a choice may join with the text before it. */
static int64_t common(const token_list *a, const token_list *b)
{
    int64_t n = 0;
    while (n < a->n && n < b->n && a->at[n] == b->at[n]) n++;
    return n;
}

static bool weigh_all(conversation *c, decoder *d, const char *const *text, int n, token_list *ids, token_list *with,
                      double *logprob, genet_err *err)
{
    int64_t from = 0;
    for (int i = 0; i < n; i++)                         /* all of them fit before any is weighed, after the same text */
        TRY(fit(c, genet__decoder_window(d), 0, text[i], with, err));
    TRY(render(c, "", ids, err));
    from = ids->n;
    for (int i = 0; i < n; i++) {
        TRY(render(c, text[i], with, err));
        int64_t same = common(ids, with);
        from = same < from ? same : from;
    }
    if (from < 1) return genet__err_set(err, GENET_ERR_USAGE, "the template puts nothing before an answer");
    for (int i = 0; i < n; i++) {
        TRY(render(c, text[i], with, err));
        if (with->n <= from) return genet__err_set(err, GENET_ERR_USAGE, "a choice is empty");
        TRY(weigh_one(d, with, from, &logprob[i], err));
    }
    return true;
}

bool genet__conversation_weigh(conversation *c, decoder *d, const char *const *text, int n, double *logprob, genet_err *err)
{
    token_list ids = {0}, with = {0};
    bool ok = weigh_all(c, d, text, n, &ids, &with, logprob, err);
    genet__token_list_release(&ids);
    genet__token_list_release(&with);
    return ok;
}
