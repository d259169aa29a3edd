/* chat.c - `genet chat FOLDER`: a conversation.
 *
 * At a terminal: questions at a prompt, answers as they come, Ctrl-C stops an answer and not the program.  Elsewhere
 * each line of standard input is a question and each answer ends its line; with --json both are JSON, a line each. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "chat.h"

#define AT(member) offsetof(chat_options, member)
static const field table[] = {
    { "prompt",   FIELD_STRING, AT(prompt),   NULL, 0, 0, NULL, 0,
      "one question (-p); without it they come from standard input" },
    ADAPTER_FIELD(AT(adapter)),
    { "system",   FIELD_STRING, AT(system),   NULL, 0, 0, NULL, 0, "what the model is told before everything (-s)" },
    { "template", FIELD_STRING, AT(template), NULL, 0, 0, NULL, 0,
      "chatml, a file, or the name of one of the folder's; none given: the folder's own" },
    { "examples", FIELD_STRING, AT(examples), NULL, 0, 0, NULL, 0,
      "JSON lines with prompt and completion, or messages: turns to begin with" },
    { "choices",  FIELD_STRING, AT(choices),  NULL, 0, 0, NULL, 0, "a,b,c: answer with the likeliest of these" },
    { "apart",    FIELD_BOOL,   AT(apart),    "false", 0, 0, NULL, 0,
      "every question begins anew, after --system and --examples" },
    { "load",     FIELD_STRING, AT(load),     NULL, 0, 0, NULL, 0, "go on with the conversation in this file" },
    { "save",     FIELD_STRING, AT(save),     NULL, 0, 0, NULL, 0, "write the conversation to this file after every answer" },
    { "tools",    FIELD_STRING, AT(tools),    NULL, 0, 0, NULL, 0, "a file with an array of tools, as JSON schemas" },
    { "variables", FIELD_STRING, AT(variables), NULL, 0, 0, NULL, 0,
      "a JSON object of further variables for the template: {\"enable_thinking\": false}" },
    { "json",     FIELD_BOOL,   AT(json),     "false", 0, 0, NULL, 0, "questions and answers are JSON, a line each" },
    { "interactive", FIELD_BOOL, AT(interactive), "false", 0, 0, NULL, 0, "as at a terminal, also where there is none (-i)" },
    { "threads",  FIELD_INT,    AT(threads),  "0", 0, 1024, NULL, 0, "0: all the cores there are" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };
static const char details[] =
    "At a terminal: a line is a question, and goes on in the next when it ends with a backslash; Ctrl-C stops an answer;\n"
    "/regen answers again, /clear forgets the conversation, /save FILE writes it, /exit (or Ctrl-D) ends.\n"
    "With --json a line is a text (\"...\"), a message ({\"content\": ...}), or a conversation of its own\n"
    "({\"messages\": [...]}); the answer is {\"role\": \"assistant\", \"content\": ..., \"finish\": \"stop\" or \"length\", ...}, or {\"error\": ...}.\n"
    "Options of writing that are not given are those of the folder's generation_config.json; an answer may be as long as the\n"
    "context unless one of them says otherwise.  When the context is full, the oldest turns are left out, which is said.\n";
static const short_name short_names[] = { { "p", "prompt" }, { "s", "system" }, { "i", "interactive" },
                                          { "n", "max_new_tokens" }, { "tokens", "max_new_tokens" },
                                          { "temp", "temperature" }, { NULL, NULL } };

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* --- saying ----------------------------------------------------------------------------------- */

static bool put(chat_work *w, const char *text, size_t n)
{
    if (!w->failed) w->failed = fwrite(text, 1, n, stdout) != n || fflush(stdout);
    return !w->failed;
}

static bool check_output(const chat_work *w, genet_err *err)
{
    return !w->failed || genet__err_set(err, GENET_ERR_IO, "standard output could not be written");
}

/* An answer as it comes; false: enough of it. */
static bool show(void *user, const genet_piece *p)
{
    chat_work *w = user;
    if (!w->options.json) put(w, p->text, p->n_bytes);
    return !interrupted && !w->failed;
}

/* The beginning of what message i says, in one line. */
static void add_beginning(str *out, const json_t *messages, int64_t i)
{
    const char *text = json_string_value(json_object_get(json_array_get(messages, (size_t)i), "content"));
    size_t n = text ? strcspn(text, "\n") : 0;
    if (n > 40) for (n = 40; n && ((unsigned char)text[n] & 0xc0) == 0x80;) n--;
    genet__str_printf(out, "\"%.*s%s\"", (int)n, text ? text : "", text && text[n] ? "..." : "");
}

/* What is left out now and was not before. */
static void say_dropped(const chat_work *w, int64_t before)
{
    const conversation *c = &w->talk;
    if (c->dropped <= before) return;
    str s = {0};
    genet__str_printf(&s, "(the context of %lld tokens is full: %lld message%s left out, from ",
                      (long long)genet__decoder_window(w->decoder), (long long)(c->dropped - before),
                      c->dropped - before == 1 ? " is" : "s are");
    add_beginning(&s, c->messages, c->pinned + before);
    genet__str_add(&s, " to ");
    add_beginning(&s, c->messages, c->pinned + c->dropped - 1);
    fprintf(stderr, "%s)\n", genet__str(&s));
    genet__str_release(&s);
}

/* --- a turn ----------------------------------------------------------------------------------- */

static bool save(const chat_work *w, const char *path, genet_err *err)
{
    json_t *j = json_pack("{s:O}", "messages", w->talk.messages);
    bool ok = j ? genet__json_write(path, j, err) : genet__err_memory(err);
    json_decref(j);
    return ok;
}

static void drop_last(chat_work *w, size_t to)
{
    while (json_array_size(w->talk.messages) > to) json_array_remove(w->talk.messages, json_array_size(w->talk.messages) - 1);
}

static json_t *last_content(const chat_work *w)
{
    return json_object_get(json_array_get(w->talk.messages, json_array_size(w->talk.messages) - 1), "content");
}

static json_t *answer_json(const chat_work *w, const answer *a)
{
    return json_pack("{s:s, s:O, s:s, s:I, s:I, s:I, s:I}", "role", "assistant", "content", last_content(w), "finish",
                     a->finish, "prompt_tokens", (json_int_t)a->n_prompt, "kept_tokens", (json_int_t)a->kept, "tokens",
                     (json_int_t)a->n_new, "dropped_messages", (json_int_t)w->talk.dropped);
}

bool cli_chat_print(chat_work *w, json_t *j, genet_err *err)
{
    str out = {0};
    if (!j) return genet__err_memory(err);
    genet__json_print(j, 0, &out);
    genet__str_add(&out, "\n");
    bool ok = !out.failed || genet__err_memory(err);
    if (ok) put(w, out.at, out.n);
    genet__str_release(&out);
    json_decref(j);
    return ok && check_output(w, err);
}

static bool write_answer(chat_work *w, genet_err *err)
{
    answer a;
    interrupted = 0;
    TRY(genet__conversation_answer(&w->talk, w->decoder, &w->writing, show, w, &a, err));
    if (w->options.json) return cli_chat_print(w, answer_json(w, &a), err);
    put(w, "\n", 1);
    if (a.full) fprintf(stderr, "(the context is full: the answer ends here)\n");
    return check_output(w, err);
}

/* The answer to the messages there are; of a failure nothing stays. */
static bool answer_now(chat_work *w, size_t back_to, genet_err *err)
{
    int64_t before = w->talk.dropped;
    bool ok = w->n_choice ? cli_chat_choose(w, err) : write_answer(w, err);
    if (!ok) drop_last(w, back_to);
    if (!w->options.json) say_dropped(w, before);
    return ok && (!w->options.save || save(w, w->options.save, err));
}

/* Back to what was there before the first question. */
static void begin_anew(chat_work *w)
{
    drop_last(w, w->beginning);
    w->talk.dropped = 0;
}

static bool ask(chat_work *w, const char *text, size_t n, genet_err *err)
{
    if (w->options.apart) begin_anew(w);
    size_t before = json_array_size(w->talk.messages);
    return genet__conversation_add(&w->talk, "user", text, n, err) && answer_now(w, before, err);
}

/* --- JSON lines ------------------------------------------------------------------------------- */

/* The beginning, and then these. */
static bool join(chat_work *w, const json_t *before, const json_t *messages, genet_err *err)
{
    json_t *all = json_array();
    for (size_t i = 0; i < w->beginning; i++) genet__json_append(&all, json_incref(json_array_get(before, i)));
    bool ok = (all && !json_array_extend(all, (json_t *)messages)) || genet__err_memory(err);
    ok = ok && genet__conversation_set(&w->talk, all, "line", err);
    if (ok && w->talk.pinned < (int64_t)w->beginning) w->talk.pinned = (int64_t)w->beginning;
    json_decref(all);
    return ok;
}

/* A conversation of its own, after the beginning: ours is as before after it. */
static bool answer_apart(chat_work *w, const json_t *messages, genet_err *err)
{
    conversation *c = &w->talk, ours = *c;
    const char *path = w->options.save;
    TRY(genet__chat_check(messages, "line", err));
    json_incref(ours.messages);             /* what joins takes the place of ours in the conversation */
    w->options.save = NULL;
    bool ok = join(w, ours.messages, messages, err) && answer_now(w, json_array_size(c->messages), err);
    json_decref(c->messages);
    w->options.save = path;
    c->messages = ours.messages, c->pinned = ours.pinned, c->dropped = ours.dropped;
    return ok;
}

/* The value of a line, in an array: a text alone is no document to JSON's parser. */
static json_t *parse_line(const char *line, size_t n, genet_err *err)
{
    str s = {0};
    genet__str_add(&s, "[");
    genet__str_add_n(&s, line, n);
    genet__str_add(&s, "]");
    json_t *j = s.failed ? NULL : genet__json_parse(s.at, s.n, "line", err);
    if (s.failed) genet__err_memory(err);
    genet__str_release(&s);
    return j;
}

static bool answer_json_line(chat_work *w, const char *line, size_t n, genet_err *err)
{
    json_t *j = parse_line(line, n, err), *one = json_array_get(j, 0);
    if (!j) return false;
    const json_t *messages = json_object_get(one, "messages");
    const json_t *text = json_is_string(one) ? one : json_object_get(one, "content");
    bool alone = json_array_size(j) == 1, ok;
    if (alone && messages) ok = answer_apart(w, messages, err);
    else if (alone && json_is_string(text)) ok = ask(w, json_string_value(text), json_string_length(text), err);
    else ok = genet__err_set(err, GENET_ERR_USAGE, "line: a text, {\"content\": text} or {\"messages\": [...]}");
    json_decref(j);
    return ok;
}

/* A line that cannot be answered is answered too; the next one may be better. */
static bool answer_line(chat_work *w, const char *line, size_t n, genet_err *err)
{
    genet_err why;
    if (!w->options.json) return ask(w, line, n, err);
    if (answer_json_line(w, line, n, &why)) return true;
    if (w->failed || why.code == GENET_ERR_MEMORY || why.code == GENET_ERR_IO) return *err = why, false;
    return cli_chat_print(w, json_pack("{s:s}", "error", why.text), err);
}

/* --- a terminal ------------------------------------------------------------------------------- */

/* What is wrong is said, and the conversation goes on. */
static void say_error(const genet_err *why) { fprintf(stderr, "%s\n", why->text); }

static bool is_blank(const char *s) { return !s[strspn(s, " \t\r")]; }

static void regenerate(chat_work *w)
{
    genet_err why;
    size_t n = json_array_size(w->talk.messages);
    const char *role = json_string_value(json_object_get(json_array_get(w->talk.messages, n - 1), "role"));
    if ((int64_t)n <= w->talk.pinned || !role || strcmp(role, "assistant")) {
        fprintf(stderr, "there is no answer to give again\n");
        return;
    }
    drop_last(w, n - 1);
    if (!answer_now(w, n - 1, &why)) say_error(&why);
}

/* A line that begins with a slash; false: it ends the conversation. */
static bool command(chat_work *w, const char *line)
{
    genet_err why;
    if (!strcmp(line, "/exit") || !strcmp(line, "/quit")) return false;
    if (!strcmp(line, "/regen")) regenerate(w);
    else if (!strcmp(line, "/clear")) begin_anew(w);
    else if (!strncmp(line, "/save ", 6)) {
        if (!save(w, line + 6, &why)) say_error(&why);
    } else {
        fprintf(stderr, "%s/regen answers again, /clear forgets the conversation, /save FILE writes it, /exit ends\n",
                strcmp(line, "/help") ? "there is no such command; " : "");
    }
    return true;
}

/* A question, of several lines when all but the last end with a backslash; false: there is none any more. */
static bool read_question(chat_work *w, str *text)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    bool more = true, got = false;
    genet__str_clear(text);
    while (more && put(w, got ? ". " : "> ", 2) && (n = getline(&line, &size, stdin)) >= 0) {
        got = true;
        if (n && line[n - 1] == '\n') n--;
        more = n && line[n - 1] == '\\';
        genet__str_add_n(text, line, (size_t)(n - more));
        if (more) genet__str_add(text, "\n");
    }
    free(line);
    if (ferror(stdin) && errno == EINTR) {              /* Ctrl-C: begin the line again */
        clearerr(stdin);
        interrupted = 0;
        fprintf(stderr, "\n(/exit or Ctrl-D ends)\n");
        genet__str_clear(text);
        return true;
    }
    return got && !text->failed;
}

static bool converse(chat_work *w, genet_err *err)
{
    struct sigaction stop = { .sa_handler = interrupt }, before;        /* no SA_RESTART: reading a line ends, too */
    str text = {0};
    genet_err why;
    sigaction(SIGINT, &stop, &before);
    bool more;
    while ((more = read_question(w, &text))) {
        const char *line = genet__str(&text);
        if (is_blank(line)) continue;
        if (*line == '/' && !strchr(line, '\n')) {
            if (!command(w, line)) break;
        } else if (!ask(w, line, text.n, &why)) {
            say_error(&why);
        }
    }
    sigaction(SIGINT, &before, NULL);
    if (!more) put(w, "\n", 1);                         /* Ctrl-D leaves the cursor behind the prompt */
    genet__str_release(&text);
    return check_output(w, err);
}

/* --- the verb --------------------------------------------------------------------------------- */

static bool answer_lines(chat_work *w, genet_err *err)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    bool ok = true;
    while (ok && (n = getline(&line, &size, stdin)) >= 0) {
        if (n && line[n - 1] == '\n') line[--n] = 0;
        if (!is_blank(line)) ok = answer_line(w, line, (size_t)n, err);
    }
    free(line);
    return ok && (!ferror(stdin) || genet__err_errno(err, "read", "standard input"));
}

static bool talk(chat_work *w, genet_err *err)
{
    const chat_options *o = &w->options;
    if (o->prompt) return ask(w, o->prompt, strlen(o->prompt), err);
    if (o->interactive || (!o->json && isatty(0) && isatty(1))) return converse(w, err);
    return answer_lines(w, err);
}

static bool chat(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    chat_work *w = user;
    (void)out;
    bool ok = cli_chat_open(w, word[0], d, err) && talk(w, err);
    cli_chat_close(w);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    chat_work w = {0};          /* its first member is the struct of the first table */
    return cli_simple(v, &(simple){ .fields = &tables, .options = &w, .threads = &w.options.threads,
                                    .short_names = short_names, .more_fields = &genet__generation_fields,
                                    .more_options = &w.writing, .given = &w.given, .body = chat, .details = details,
                                    .folder = "say which model: a folder with a language model" }, argc, argv);
}

const verb cli_verb_chat = { "chat", "FOLDER [--options]", "talk with a model", run };
