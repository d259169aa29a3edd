/* options.c - the options of writing: their table, what a model's
 * generation_config.json says over it, and what they may not be together.
 *
 * Who speaks last: the defaults here, then the file, then the user.  Keys of the file that
 * genet does not know are passed over; those it knows are checked. */
#include <stddef.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "infer/generate.h"

enum { CONFIG_MAX_BYTES = 1 << 20 };

#define AT(member) offsetof(generation_options, member)
static const field table[] = {
    { "max_new_tokens", FIELD_INT, AT(max_new_tokens), "200", 0, 1e12, NULL, 0, "tokens to write (-n, --tokens)" },
    { "max_length",  FIELD_INT,    AT(max_length),  "0", 0, 1e12, NULL, 0, "tokens of prompt and text together; 0: any" },
    { "temperature", FIELD_DOUBLE, AT(temperature), "0.8", 0, 1000, NULL, 0,
      "0: always the likeliest; higher: bolder (--temp)" },
    { "top_k",       FIELD_INT,    AT(top_k),       "0", 0, 1e9, NULL, 0, "only among the k likeliest; 0: all" },
    { "top_p",       FIELD_DOUBLE, AT(top_p),       "1", 0, 1, NULL, 0, "only among the likeliest that make up this share" },
    { "min_p",       FIELD_DOUBLE, AT(min_p),       "0", 0, 1, NULL, 0,
      "only those with this share of the likeliest's probability" },
    { "typical_p",   FIELD_DOUBLE, AT(typical_p),   "1", 0, 1, NULL, 0,
      "only those about as surprising as expected that make up this share" },
    { "repetition_penalty", FIELD_DOUBLE, AT(repetition_penalty), "1", 0, 1000, NULL, 0,
      "above 1: what is in prompt or text is less likely" },
    { "frequency_penalty", FIELD_DOUBLE, AT(frequency_penalty), "0", -100, 100, NULL, 0,
      "off the logit for each time in the text" },
    { "presence_penalty", FIELD_DOUBLE, AT(presence_penalty), "0", -100, 100, NULL, 0,
      "off the logit of what is in the text" },
    { "no_repeat_ngram_size", FIELD_INT, AT(no_repeat_ngram_size), "0", 0, 1e6, NULL, 0,
      "no run of so many tokens twice; 0: any" },
    { "num_beams",   FIELD_INT,    AT(num_beams),   "1", 1, 256, NULL, 0, "beam search over so many; needs temperature 0" },
    { "length_penalty", FIELD_DOUBLE, AT(length_penalty), "1", -100, 100, NULL, 0,
      "beams: above 0 for longer texts, below 0 for shorter" },
    { "early_stopping", FIELD_CHOICE, AT(early_stopping), "false", 0, 0, "false|true|never", 0,
      "beams: when no better one is looked for" },
    { "num_return_sequences", FIELD_INT, AT(num_return_sequences), "1", 1, 256, NULL, 0, "so many texts" },
    { "stop",        FIELD_STRING, AT(stop),        NULL, 0, 0, NULL, FIELD_MANY,
      "end before this text; may be given several times" },
    { "logprobs",    FIELD_INT,    AT(logprobs),    "0", 0, 1e6, NULL, 0,
      "with every token the k likeliest, and its log-probability" },
    { "seed",        FIELD_INT,    AT(seed),        "1337", 0, 9e15, NULL, 0, "the same seed writes the same text" },
    { "ignore_eos",  FIELD_BOOL,   AT(ignore_eos),  "false", 0, 0, NULL, 0, "go on after the token that ends a text" },
    { "eos_token_id", FIELD_INT_LIST, AT(eos_token_id), NULL, 0, 1 << 24, NULL, 0,
      "tokens that end a text; none given: the model's" },
    { "decoder_start_token_id", FIELD_INT, AT(decoder_start_token_id), "-1", -1, 1 << 24, NULL, 0,
      "with a source: what the text begins with; -1: the model's" },
    { "forced_bos_token_id", FIELD_INT, AT(forced_bos_token_id), "-1", -1, 1 << 24, NULL, 0,
      "with a source: its first token, as the language of many-language models; -1: any" },
    { "forced_eos_token_id", FIELD_INT, AT(forced_eos_token_id), "-1", -1, 1 << 24, NULL, 0,
      "with a source: its last token, when it is full; -1: any" },
};
const fields genet__generation_fields = { "writing", table, sizeof table / sizeof *table };

/* --- generation_config.json ------------------------------------------------------------- */

typedef bool given_fn(const void *user, const char *name);
typedef struct asked { given_fn *given; const void *user; } asked;
static bool is_given(const asked *a, const char *name) { return a->given && a->given(a->user, name); }

/* Lines of stop strings: a backslash, newline or tab in one is written with a backslash. */
static void add_stop(str *lines, const char *text)
{
    if (lines->n) genet__str_add(lines, "\n");
    for (const char *p = text; *p; p++)
        if (*p == '\n') genet__str_add(lines, "\\n");
        else if (*p == '\t') genet__str_add(lines, "\\t");
        else if (*p == '\\') genet__str_add(lines, "\\\\");
        else genet__str_add_n(lines, p, 1);
}

/* A string or an array of strings -> "stop". */
static bool take_stop(json_t *to, const json_t *from, const char *where, genet_err *err)
{
    str lines = {0};
    bool ok = json_is_string(from) || json_is_array(from);
    if (json_is_string(from)) add_stop(&lines, json_string_value(from));
    for (size_t i = 0; i < json_array_size(from); i++)
        if ((ok &= json_is_string(json_array_get(from, i)))) add_stop(&lines, json_string_value(json_array_get(from, i)));
    if (!ok) genet__err_set(err, GENET_ERR_FORMAT, "%s: stop_strings must be a string or an array of strings", where);
    else if (lines.failed || json_object_set_new(to, "stop", json_string(genet__str(&lines)))) ok = genet__err_memory(err);
    genet__str_release(&lines);
    return ok;
}

/* An id or an array of ids -> an array. */
static bool take_eos(json_t *to, const json_t *from, const char *where, genet_err *err)
{
    if (!json_is_integer(from) && !json_is_array(from))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: eos_token_id must be an integer or an array of integers", where);
    json_t *list = json_is_array(from) ? json_deep_copy(from) : json_pack("[I]", json_integer_value(from));
    return !json_object_set_new(to, "eos_token_id", list) || genet__err_memory(err);
}

/* true, false or "never" -> a word. */
static bool take_early(json_t *to, const json_t *from, genet_err *err)
{
    json_t *word = json_is_boolean(from) ? json_string(json_is_true(from) ? "true" : "false") : json_deep_copy(from);
    return !json_object_set_new(to, "early_stopping", word) || genet__err_memory(err);
}

/* One key of the file, as our table has it; what the user gave is left out. */
static bool take(json_t *to, const char *key, const json_t *value, const char *where, const asked *a, genet_err *err)
{
    if (json_is_null(value)) return true;
    if (!strcmp(key, "stop_strings")) return is_given(a, "stop") || take_stop(to, value, where, err);
    if (!genet__fields_find(&genet__generation_fields, key) || is_given(a, key)) return true;
    if (!strcmp(key, "eos_token_id")) return take_eos(to, value, where, err);
    if (!strcmp(key, "early_stopping")) return take_early(to, value, err);
    return !json_object_set(to, key, (json_t *)value) || genet__err_memory(err);
}

/* What do_sample and num_beams say together. */
static bool refuse_sampled_beams(const generation_options *o, const json_t *j, const char *where, const asked *a,
                                 genet_err *err)
{
    if (o->num_beams == 1 || !json_is_true(json_object_get(j, "do_sample")) || is_given(a, "num_beams") ||
        is_given(a, "temperature")) return true;
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: num_beams %lld with do_sample true: beams are not sampled here; "
                          "give temperature 0 or num_beams 1", where, (long long)o->num_beams);
}

/* do_sample says whether there is a temperature at all. */
static bool take_sampling(json_t *to, const json_t *from, const char *where, const asked *a, genet_err *err)
{
    bool sample, found;
    const json_t *value = json_object_get(from, "do_sample");
    if (!value || json_is_null(value)) return true;
    TRY(genet__json_bool(from, "do_sample", where, &sample, &found, err));
    if (sample || is_given(a, "temperature")) return true;
    return !json_object_set_new(to, "temperature", json_real(0)) || genet__err_memory(err);
}

/* max_length counts the prompt; where both are said, max_new_tokens is heard, but the user before the file. */
static void settle_lengths(json_t *to, const asked *a)
{
    if (is_given(a, "max_length")) json_object_del(to, "max_new_tokens");
    else if (is_given(a, "max_new_tokens") || json_object_get(to, "max_new_tokens")) json_object_del(to, "max_length");
}

static bool read_config(generation_options *o, const json_t *j, const char *where, const asked *a, arena *strings,
                        genet_err *err)
{
    const char *key;
    json_t *value, *known = json_object();
    bool ok = known || genet__err_memory(err);
    json_object_foreach((json_t *)j, key, value) ok = ok && take(known, key, value, where, a, err);
    ok = ok && take_sampling(known, j, where, a, err);
    if (ok) settle_lengths(known, a);
    ok = ok && genet__fields_from_json(&genet__generation_fields, o, known, where, strings, err);
    if (ok && json_object_get(known, "max_length")) o->max_new_tokens = o->max_length;
    ok = ok && refuse_sampled_beams(o, j, where, a, err);
    if (!ok && err && err->code == GENET_ERR_USAGE) err->code = GENET_ERR_FORMAT;      /* a fault of the file */
    json_decref(known);
    return ok;
}

bool genet__generation_file_read(generation_file *f, const char *folder, genet_err *err)
{
    *f = (generation_file){ .path = genet__path_join(folder, "generation_config.json") };
    if (!f->path) return genet__err_memory(err);
    if (!genet__file_exists(f->path)) return true;
    f->json = genet__json_read(f->path, CONFIG_MAX_BYTES, err);
    if (json_is_object(f->json)) return true;
    if (f->json) genet__err_set(err, GENET_ERR_FORMAT, "%s: must be a JSON object", f->path);
    genet__generation_file_release(f);
    return false;
}

void genet__generation_file_release(generation_file *f)
{
    json_decref(f->json);
    genet__free(f->path);
    *f = (generation_file){0};
}

/* --- what goes together ----------------------------------------------------------------- */

/* The names of the one or two options that are at fault go to `which`. */
static bool check(const generation_options *o, const char *which[2], genet_err *err)
{
    which[0] = which[1] = o->repetition_penalty <= 0 ? "repetition_penalty" : "typical_p";
    if (o->repetition_penalty <= 0)
        return genet__err_set(err, GENET_ERR_USAGE, "repetition_penalty must be above 0; 1 is none");
    if (o->typical_p <= 0) return genet__err_set(err, GENET_ERR_USAGE, "typical_p must be above 0; 1 keeps all");
    if (o->num_beams == 1) return true;
    which[0] = "num_beams", which[1] = "temperature";
    if (o->temperature > 0)
        return genet__err_set(err, GENET_ERR_USAGE,
                              "num_beams %lld with temperature %g: beams are not sampled; leave one of "
                              "the two out", (long long)o->num_beams, o->temperature);
    which[1] = "num_return_sequences";
    if (o->num_return_sequences > o->num_beams)
        return genet__err_set(err, GENET_ERR_USAGE, "num_return_sequences %lld is more than num_beams %lld",
                              (long long)o->num_return_sequences, (long long)o->num_beams);
    return true;
}

bool genet__generation_check(const generation_options *o, genet_err *err)
{
    const char *which[2];
    return check(o, which, err);
}

/* What none of the user's words has a part in is a fault of the file. */
static bool check_file(const generation_options *o, const char *where, const asked *a, genet_err *err)
{
    const char *which[2];
    genet_err why;
    if (check(o, which, &why) || is_given(a, which[0]) || is_given(a, which[1])) return true;
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s", where, why.text);
}

bool genet__generation_settle(generation_options *o, const generation_file *f, given_fn *given, const void *user, arena *a,
                              genet_err *err)
{
    asked who = { given, user };
    o->eos_of_file = f->json && !is_given(&who, "eos_token_id");
    if (is_given(&who, "max_length") && !is_given(&who, "max_new_tokens")) o->max_new_tokens = o->max_length;
    if (f->json) TRY(read_config(o, f->json, f->path, &who, a, err));
    if (o->num_beams > 1 && !is_given(&who, "temperature")) o->temperature = 0;
    return !f->json || check_file(o, f->path, &who, err);
}

bool genet__generation_settle_source(generation_options *o, const generation_file *f, given_fn *given, const void *user, arena *a,
                                     genet_err *err)
{
    asked who = { given, user };
    TRY(genet__generation_settle(o, f, given, user, a, err));
    bool samples = json_is_true(json_object_get(f->json, "do_sample"));
    if (!samples && !is_given(&who, "temperature")) o->temperature = 0;
    return true;
}

bool genet__generation_defaults(generation_options *o, const char *folder, given_fn *given, const void *user, arena *a,
                                genet_err *err)
{
    generation_file f = {0};
    bool ok = !folder || genet__generation_file_read(&f, folder, err);
    ok = ok && genet__generation_settle(o, &f, given, user, a, err);
    genet__generation_file_release(&f);
    return ok;
}

int64_t genet__generation_rows(const generation_options *o)
{
    return o->num_beams > o->num_return_sequences ? o->num_beams : o->num_return_sequences;
}
