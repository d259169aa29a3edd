/* chat.c - conversations for C programs: infer/conversation.h over a session's decoder. */
#include <string.h>
#include "api/session.h"
#include "base/alloc.h"
#include "base/err.h"
#include "infer/conversation.h"

struct genet_chat {
    genet_session *session;
    chat_format    format;
    conversation   talk;
};

static bool open_chat(genet_chat *c, const char *template_name, genet_err *err)
{
    const genet_model *m = genet__session_model(c->session);
    return genet__chat_open(&c->format, m->folder, template_name, err) &&
           genet__conversation_init(&c->talk, &c->format, m->model, m->tokenizer, NULL, err);
}

genet_chat *genet_chat_new(genet_session *s, const char *template_name, genet_err *err)
{
    if (!genet__api_need(s, "session", err) || !genet__api_has_text(genet__session_model(s), err)) return NULL;
    genet_chat *c = genet__alloc(sizeof *c);
    if (!c) {
        genet__err_memory(err);
        return NULL;
    }
    c->session = s;
    if (open_chat(c, template_name, err)) return c;
    genet_chat_free(c);
    return NULL;
}

void genet_chat_free(genet_chat *c)
{
    if (!c) return;
    genet__conversation_release(&c->talk);
    genet__chat_release(&c->format);
    genet__free(c);
}

bool genet_chat_add(genet_chat *c, const char *role, const char *content, genet_err *err)
{
    TRY(genet__api_need(c, "chat", err) && genet__api_need(role, "role", err));
    TRY(genet__api_need(content, "content", err));
    bool first = !json_array_size(c->talk.messages) && !strcmp(role, "system");
    TRY(genet__conversation_add(&c->talk, role, content, strlen(content), err));
    if (first) c->talk.pinned = 1;
    return true;
}

/* Nobody said how long an answer may be. */
static bool is_unlimited(const genet_chat *c, const genet_options *o)
{
    const json_t *file = genet__session_model(c->session)->generation.json;
    bool given = o && (genet__options_was_given(o->set, "max_new_tokens") || genet__options_was_given(o->set, "max_length"));
    return !given && !json_object_get(file, "max_new_tokens") && !json_object_get(file, "max_length");
}

static bool answer_by(genet_chat *c, const generation_options *how, genet_piece_fn *piece, void *user, genet_err *err)
{
    answer a;
    decoder *d = genet__session_take(c->session, err);
    if (!d) return false;
    bool ok = genet__conversation_answer(&c->talk, d, how, piece, user, &a, err);
    genet__session_give(c->session, ok);
    return ok;
}

bool genet_chat_answer(genet_chat *c, const genet_options *o, genet_piece_fn *piece, void *user, genet_err *err)
{
    TRY(genet__api_need(c, "chat", err));
    generation_options how = {0};
    arena a = {0};
    bool ok = genet__session_settle(genet__session_model(c->session), o, &how, &a, err);
    if (ok && is_unlimited(c, o)) how.max_new_tokens = INT32_MAX;
    ok = ok && answer_by(c, &how, piece, user, err);
    genet__arena_release(&a);
    return ok;
}

bool genet_chat_weigh(genet_chat *c, const char *const *text, int n, double *logprob, genet_err *err)
{
    TRY(genet__api_need(c, "chat", err) && genet__api_need(text, "text", err) && genet__api_need(logprob, "logprob", err));
    decoder *d = genet__session_take(c->session, err);
    if (!d) return false;
    bool ok = genet__conversation_weigh(&c->talk, d, text, n, logprob, err);
    genet__session_give(c->session, ok);
    return ok;
}

char *genet_chat_messages(const genet_chat *c, genet_err *err)
{
    str text = {0};
    if (!genet__api_need(c, "chat", err)) return NULL;
    genet__json_print(c->talk.messages, 0, &text);
    if (!text.failed) return text.at;
    genet__str_release(&text);
    genet__err_memory(err);
    return NULL;
}

bool genet_chat_set_messages(genet_chat *c, const char *json, genet_err *err)
{
    TRY(genet__api_need(c, "chat", err) && genet__api_need(json, "json", err));
    json_t *j = genet__json_parse(json, strlen(json), "messages", err);
    bool ok = j && genet__conversation_set(&c->talk, j, "messages", err);
    json_decref(j);
    return ok;
}

int64_t genet_chat_dropped(const genet_chat *c) { return c ? c->talk.dropped : 0; }
