/* chat_open.c - `genet chat`: the model, its template, the messages to begin with; answers among choices. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "chat.h"

enum { JSON_MAX_BYTES = 64 << 20 };

static bool was_given(const void *user, const char *name) { return genet__options_was_given(user, name); }

/* An answer may be as long as the context, unless somebody said otherwise. */
static bool settle_writing(chat_work *w, const char *folder, genet_err *err)
{
    generation_file f;
    TRY(genet__generation_file_read(&f, folder, err));
    bool limited = was_given(w->given, "max_new_tokens") || was_given(w->given, "max_length") ||
                   json_object_get(f.json, "max_new_tokens") || json_object_get(f.json, "max_length");
    bool ok = genet__generation_settle(&w->writing, &f, was_given, w->given, w->given->arena, err);
    genet__generation_file_release(&f);
    if (!limited) w->writing.max_new_tokens = INT32_MAX;
    return ok && genet__generation_check(&w->writing, err);
}

/* {"tools": [...], and what --variables says}; NULL with *ok: none of them. */
static json_t *variables(const chat_options *o, bool *ok, genet_err *err)
{
    json_t *all = o->variables ? genet__json_parse(o->variables, strlen(o->variables), "--variables", err) : json_object();
    *ok = json_is_object(all);
    if (!all && !o->variables) genet__err_memory(err);
    else if (all && !*ok) genet__err_set(err, GENET_ERR_USAGE, "--variables must be a JSON object");
    json_t *tools = *ok && o->tools ? genet__json_read(o->tools, JSON_MAX_BYTES, err) : NULL;
    if (*ok && o->tools && !(*ok = json_is_array(tools)) && tools)
        genet__err_set(err, GENET_ERR_FORMAT, "%s: must be an array of tools", o->tools);
    if (*ok && o->tools && json_object_set(all, "tools", tools)) *ok = genet__err_memory(err);
    json_decref(tools);
    if (*ok) return all;
    json_decref(all);
    return NULL;
}

/* Of the file that --save wrote, or an array of messages. */
static bool load(chat_work *w, genet_err *err)
{
    const char *path = w->options.load;
    json_t *j = genet__json_read(path, JSON_MAX_BYTES, err);
    bool ok = j && genet__conversation_set(&w->talk, json_is_array(j) ? j : json_object_get(j, "messages"), path, err);
    json_decref(j);
    return ok;
}

static bool read_choices(chat_work *w, genet_err *err)
{
    if (!w->options.choices) return true;
    char *text = genet__arena_strdup(w->given->arena, w->options.choices);
    if (!text) return genet__err_memory(err);
    for (char *at = text; at; w->n_choice++) {
        char *comma = strchr(at, ',');
        if (comma) *comma = 0;
        if (w->n_choice == MAX_CHOICES || !*at)
            return genet__err_set(err, GENET_ERR_USAGE, "--choices a,b,c: at most %d texts, none of them empty", MAX_CHOICES);
        w->choice[w->n_choice] = at;
        at = comma ? comma + 1 : NULL;
    }
    return true;
}

static bool check(const chat_options *o, genet_err *err)
{
    if (o->load && (o->system || o->examples))
        return genet__err_set(err, GENET_ERR_USAGE, "--load brings its own beginning: leave --system and --examples out");
    if (o->apart && o->save) return genet__err_set(err, GENET_ERR_USAGE, "--apart keeps no conversation to --save");
    return !o->json || !o->interactive || genet__err_set(err, GENET_ERR_USAGE, "--json and --interactive: one of the two");
}

static bool begin(chat_work *w, genet_err *err)
{
    bool ok;
    json_t *more = variables(&w->options, &ok, err);
    TRY(ok && genet__conversation_init(&w->talk, &w->format, w->model, w->tokenizer, more, err));
    if (w->options.load) TRY(load(w, err));
    else TRY(genet__conversation_begin(&w->talk, w->options.system, w->options.examples, err));
    w->beginning = json_array_size(w->talk.messages);
    return true;
}

bool cli_chat_open(chat_work *w, const char *folder, genet_device *d, genet_err *err)
{
    TRY(check(&w->options, err) && read_choices(w, err));
    TRY(genet__open_text_model_with(folder, w->options.adapter, d, &w->model, &w->tokenizer, err));
    if (!w->tokenizer) return genet__err_set(err, GENET_ERR_USAGE, "%s: a model of this family writes no text", folder);
    const char *adapter = w->options.adapter;       /* tuned on conversations, it has their template with it */
    const char *form = adapter && genet__file_exists_in(adapter, "chat_template.jinja") ? adapter : folder;
    TRY(genet__chat_open(&w->format, form, w->options.template, err) && settle_writing(w, folder, err) && begin(w, err));
    if (!(w->space = genet_workspace_new(d))) return genet__err_memory(err);
    return (w->decoder = genet__decoder_new(w->model, w->space, 1, err));
}

void cli_chat_close(chat_work *w)
{
    genet__conversation_release(&w->talk);
    genet__chat_release(&w->format);
    genet__decoder_free(w->decoder);
    genet_workspace_free(w->space);
    genet__tokenizer_free(w->tokenizer);
    genet__model_free(w->model);
}

/* --- choices ---------------------------------------------------------------------------------- */

/* The likeliest, and log of the sum of all probabilities. */
static int best_of(const double *logprob, int n, double *total)
{
    int best = 0;
    double sum = 0;
    for (int i = 1; i < n; i++)
        if (logprob[i] > logprob[best]) best = i;
    for (int i = 0; i < n; i++) sum += exp(logprob[i] - logprob[best]);
    *total = logprob[best] + log(sum);
    return best;
}

static json_t *choices_json(const chat_work *w, const double *logprob, int best, double total)
{
    json_t *all = json_array();
    for (int i = 0; i < w->n_choice; i++)
        genet__json_append(&all, json_pack("{s:s, s:f, s:f}", "text", w->choice[i], "logprob", logprob[i], "probability",
                                           exp(logprob[i] - total)));
    return json_pack("{s:s, s:s, s:o}", "role", "assistant", "content", w->choice[best], "choices", all);
}

bool cli_chat_choose(chat_work *w, genet_err *err)
{
    double logprob[MAX_CHOICES], total;
    TRY(genet__conversation_weigh(&w->talk, w->decoder, w->choice, w->n_choice, logprob, err));
    int best = best_of(logprob, w->n_choice, &total);
    const char *text = w->choice[best];
    TRY(genet__conversation_add(&w->talk, "assistant", text, strlen(text), err));
    if (w->options.json) return cli_chat_print(w, choices_json(w, logprob, best, total), err);
    w->failed |= printf("%s\n", text) < 0 || fflush(stdout);
    return !w->failed || genet__err_set(err, GENET_ERR_IO, "standard output could not be written");
}
