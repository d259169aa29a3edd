/* gguf_tokens_write.c - tokenizer.json as the metadata of a GGUF file, such that llama.cpp gives the same ids.
 *
 * Byte-level BPE goes as "gpt2", if llama.cpp has a name for how it cuts text; SentencePiece's BPE as "llama", whose
 * merges become scores: a piece's is minus the rank of the first merge that makes it; characters as "rwkv", whose tokens
 * are found by the longest match, and which has no special tokens by default.  Others are refused by name. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "format/gguf_tokens.h"

typedef struct writing {
    gguf_meta *m;
    const gguf_tokenizer *t;
    const char *where;
    genet_err  *err;
    const json_t *model, *vocabulary;
    const char **text;                  /* of each id; NULL: none */
    int32_t    *type;
    float      *score;
} writing;

static bool refuse(const writing *w, const char *what, const char *value)
{
    return genet__err_set(w->err, GENET_ERR_USAGE, "%s: %s%s%s: llama.cpp has nothing that gives the same tokens", w->where, what,
                          *value ? " " : "", SHOWN(value));
}

static const char *type_in(const json_t *j)
{
    const char *s = json_string_value(json_object_get(j, "type"));
    return s ? s : "";
}

/* A part of tokenizer.json that is there and not null. */
static const json_t *part(const writing *w, const char *name)
{
    const json_t *j = json_object_get(w->t->tokenizer, name);
    return json_is_null(j) ? NULL : j;
}

/* --- the tokens ---------------------------------------------------------------------------- */

static bool place(const writing *w, const char *text, const json_t *id, int type)
{
    json_int_t i = json_integer_value(id);
    if (!json_is_integer(id) || i < 0 || i >= w->t->n)
        return genet__err_set(w->err, GENET_ERR_FORMAT, "%s: the token \"%.40s\" has id %" PRId64 ", and the model has %" PRId64
                              " tokens", w->where, text, (int64_t)i, w->t->n);
    w->text[i] = text;
    w->type[i] = type;
    return true;
}

/* The vocabulary, added tokens over it, and a name for ids that nobody uses. */
static bool place_all(const writing *w)
{
    const char *text;
    json_t *id;
    size_t i;
    json_object_foreach((json_t *)w->vocabulary, text, id) TRY(place(w, text, id, TOKEN_NORMAL));
    json_array_foreach(json_object_get(w->t->tokenizer, "added_tokens"), i, id) {
        text = json_string_value(json_object_get(id, "content"));
        bool special = json_is_true(json_object_get(id, "special"));
        TRY(text && place(w, text, json_object_get(id, "id"), special ? TOKEN_CONTROL : TOKEN_USER));
    }
    return true;
}

/* "<0x0A>" */
static bool is_byte(const char *s) { return strlen(s) == 6 && !memcmp(s, "<0x", 3) && s[5] == '>'; }

/* A character as "rwkv" spells it. */
static void put_escaped(gguf_meta *m, const char *text)
{
    const char *as = !strcmp(text, "\n") ? "\\n" : !strcmp(text, "\t") ? "\\t" : !strcmp(text, "\r") ? "\\r"
                   : !strcmp(text, "\\") ? "\\\\" : text;
    genet__gguf_put_element(m, as, strlen(as));
}

static void put_tokens(const writing *w, bool escaped)
{
    char unused[40];
    genet__gguf_put_strings(w->m, "tokenizer.ggml.tokens", (uint64_t)w->t->n);
    for (int64_t i = 0; i < w->t->n; i++) {
        snprintf(unused, sizeof unused, "[PAD%" PRId64 "]", i);
        if (!w->text[i]) w->type[i] = TOKEN_UNUSED;
        if (w->text[i] && escaped) put_escaped(w->m, w->text[i]);
        else genet__gguf_put_element(w->m, w->text[i] ? w->text[i] : unused, strlen(w->text[i] ? w->text[i] : unused));
    }
    genet__gguf_put_array(w->m, "tokenizer.ggml.token_type", GGUF_I32, w->type, (uint64_t)w->t->n);
}

static void put_model(const writing *w, const char *name)
{
    genet__gguf_put_string(w->m, "tokenizer.ggml.model", name, strlen(name));
}

static void put_id(const writing *w, const char *key, int64_t id)
{
    if (id >= 0 && id < w->t->n) genet__gguf_put_int(w->m, key, GGUF_U32, id);
}

/* --- what stands around a text ---------------------------------------------------------------- */

/* The template's part at one end of it: does it add this token?  *ok: nothing else. */
static bool adds(const writing *w, const json_t *j, int64_t id, bool *ok)
{
    const char *token = json_string_value(json_object_get(json_object_get(j, "SpecialToken"), "id"));
    if (!token) return false;
    *ok = *ok && id >= 0 && id < w->t->n && w->text[id] && !strcmp(w->text[id], token);
    return true;
}

static bool read_template(const writing *w, const json_t *post, bool *begins, bool *ends)
{
    const json_t *single = json_object_get(post, "single");
    size_t n = json_array_size(single);
    bool ok = n > 0;
    *begins = n > 1 && adds(w, json_array_get(single, 0), w->t->bos, &ok);
    *ends = n > 1 && adds(w, json_array_get(single, n - 1), w->t->eos, &ok);
    ok = ok && n == 1 + (size_t)*begins + (size_t)*ends;
    return ok || refuse(w, "post_processor: a template that adds more than bos and eos", "");
}

/* ByteLevel changes offsets alone. */
static bool put_post(const writing *w)
{
    const json_t *post = part(w, "post_processor"), *list = json_object_get(post, "processors");
    bool begins = false, ends = false;
    size_t n = list ? json_array_size(list) : post ? 1 : 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = list ? json_array_get(list, i) : post;
        if (!strcmp(type_in(one), "ByteLevel")) continue;
        if (strcmp(type_in(one), "TemplateProcessing")) return refuse(w, "post_processor", type_in(one));
        TRY(read_template(w, one, &begins, &ends));
    }
    genet__gguf_put_int(w->m, "tokenizer.ggml.add_bos_token", GGUF_BOOL, begins);
    genet__gguf_put_int(w->m, "tokenizer.ggml.add_eos_token", GGUF_BOOL, ends);
    return true;
}

/* --- byte-level BPE: "gpt2" -------------------------------------------------------------------- */

/* What matters of a pre_tokenizer, and defaults where a file leaves them out: "S" regex, "D", "B" with GPT-2's pattern or "b". */
static bool add_signature(const json_t *j, str *out)
{
    const json_t *list = json_object_get(j, "pretokenizers"), *one;
    const char *type = type_in(j), *regex = json_string_value(json_object_get(json_object_get(j, "pattern"), "Regex"));
    const char *behavior = json_string_value(json_object_get(j, "behavior"));
    size_t i;
    bool ok = true;
    if (!strcmp(type, "Sequence")) json_array_foreach(list, i, one) ok = ok && add_signature(one, out);
    else if (!strcmp(type, "ByteLevel") && !json_is_true(json_object_get(j, "add_prefix_space")))
        genet__str_add(out, json_is_false(json_object_get(j, "use_regex")) ? "b" : "B");
    else if (!strcmp(type, "Digits") && json_is_true(json_object_get(j, "individual_digits"))) genet__str_add(out, "D");
    else if (!strcmp(type, "Split") && regex && behavior && !strcmp(behavior, "Isolated") && !json_is_true(json_object_get(j, "invert")))
        genet__str_printf(out, "S%s\n", regex);
    else ok = false;
    return ok;
}

/* The name of how text is cut; NULL: it has none, or memory was short. */
static const char *pre_name(const json_t *j)
{
    str wanted = {0};
    const char *found = NULL;
    bool ok = add_signature(j, &wanted) && !wanted.failed;
    for (const gguf_pre *p = genet__gguf_pres; ok && !found && p->name; p++) {
        str own = {0};
        json_t *as = genet__gguf_pre_json(p);
        if (as && add_signature(as, &own) && !own.failed && !strcmp(genet__str(&own), genet__str(&wanted))) found = p->name;
        json_decref(as);
        genet__str_release(&own);
    }
    genet__str_release(&wanted);
    return found;
}

/* Each as "a b". */
static bool put_merges(const writing *w, const json_t *merges)
{
    str s = {0};
    json_t *one;
    size_t i;
    genet__gguf_put_strings(w->m, "tokenizer.ggml.merges", json_array_size(merges));
    json_array_foreach((json_t *)merges, i, one) {
        const char *a = json_string_value(json_array_get(one, 0)), *b = json_string_value(json_array_get(one, 1));
        genet__str_clear(&s);
        if (a && b) genet__str_printf(&s, "%s %s", a, b);
        else genet__str_add(&s, json_is_string(one) ? json_string_value(one) : "");
        genet__gguf_put_element(w->m, genet__str(&s), s.n);
    }
    bool ok = !s.failed || genet__err_memory(w->err);
    genet__str_release(&s);
    return ok;
}

static bool write_bytes(const writing *w)
{
    const char *pre = pre_name(part(w, "pre_tokenizer")), *normalizer = type_in(part(w, "normalizer"));
    if (!pre) return refuse(w, "pre_tokenizer", type_in(part(w, "pre_tokenizer")));
    if (*normalizer && strcmp(normalizer, "NFC")) return refuse(w, "normalizer", normalizer);     /* which llama.cpp leaves out */
    put_model(w, "gpt2");
    genet__gguf_put_string(w->m, "tokenizer.ggml.pre", pre, strlen(pre));
    put_tokens(w, false);
    return put_merges(w, json_object_get(w->model, "merges"));
}

/* --- SentencePiece's BPE: "llama" ----------------------------------------------------------------- */

/* Both halves of a merge, "a b" or ["a", "b"], joined in s. */
static void join(const json_t *merge, str *s)
{
    const char *whole = json_string_value(merge), *space = whole ? strchr(whole, ' ') : NULL;
    const char *a = json_string_value(json_array_get(merge, 0)), *b = json_string_value(json_array_get(merge, 1));
    genet__str_clear(s);
    if (a && b) genet__str_printf(s, "%s%s", a, b);
    else if (space) genet__str_printf(s, "%.*s%s", (int)(space - whole), whole, space + 1);
}

/* Never made: below all that is. */
static bool put_scores(const writing *w, const json_t *merges)
{
    str s = {0};
    size_t rank, n = json_array_size(merges);
    json_t *one;
    for (int64_t i = 0; i < w->t->n; i++) w->score[i] = w->type[i] == TOKEN_NORMAL ? -(float)n - 1 : 0;
    for (rank = n; rank-- > 0;) {
        join(one = json_array_get(merges, rank), &s);
        const json_t *id = json_object_get(w->vocabulary, genet__str(&s));
        if (!id) continue;
        w->score[json_integer_value(id)] = -(float)rank;
    }
    genet__gguf_put_array(w->m, "tokenizer.ggml.scores", GGUF_F32, w->score, (uint64_t)w->t->n);
    bool ok = !s.failed || genet__err_memory(w->err);
    genet__str_release(&s);
    return ok;
}

/* Spaces become U+2581, and a text begins with one or not: a Prepend before the Replace, or a Metaspace that cuts nothing. */
static bool read_spaces(const writing *w, bool *begins)
{
    const json_t *normalizer = part(w, "normalizer"), *pre = part(w, "pre_tokenizer"), *list = json_object_get(normalizer, "normalizers");
    const char *scheme = json_string_value(json_object_get(pre, "prepend_scheme"));
    size_t n = list ? json_array_size(list) : normalizer ? 1 : 0, replaces = 0;
    *begins = false;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = list ? json_array_get(list, i) : normalizer;
        bool prepend = !strcmp(type_in(one), "Prepend"), replace = !strcmp(type_in(one), "Replace");
        if (!prepend && !replace) return refuse(w, "normalizer", type_in(one));
        *begins |= prepend;
        replaces += replace;
    }
    if (!pre) return replaces == 1 || refuse(w, "normalizer", type_in(normalizer));
    if (strcmp(type_in(pre), "Metaspace") || n || !json_is_false(json_object_get(pre, "split")))
        return refuse(w, "pre_tokenizer", type_in(pre));
    *begins = !scheme || strcmp(scheme, "never");
    return true;
}

static bool write_pieces(const writing *w)
{
    const char *unknown = json_string_value(json_object_get(w->model, "unk_token"));
    bool begins;
    TRY(read_spaces(w, &begins));
    for (int64_t i = 0; i < w->t->n; i++) {
        if (w->text[i] && unknown && !strcmp(w->text[i], unknown)) w->type[i] = TOKEN_UNKNOWN;
        else if (w->text[i] && w->type[i] == TOKEN_NORMAL && is_byte(w->text[i])) w->type[i] = TOKEN_BYTE;
    }
    put_model(w, "llama");
    genet__gguf_put_string(w->m, "tokenizer.ggml.pre", "default", 7);
    put_tokens(w, false);
    genet__gguf_put_int(w->m, "tokenizer.ggml.add_space_prefix", GGUF_BOOL, begins);
    return put_scores(w, json_object_get(w->model, "merges"));
}

/* --- characters: "rwkv" ---------------------------------------------------------------------------- */

static bool write_characters(const writing *w)
{
    const json_t *pre = part(w, "pre_tokenizer");
    const char *regex = json_string_value(json_object_get(json_object_get(pre, "pattern"), "Regex"));
    if (strcmp(type_in(pre), "Split") || !regex || strcmp(regex, "[\\s\\S]"))
        return refuse(w, "model", "WordLevel");
    put_model(w, "rwkv");
    put_tokens(w, true);
    return true;
}

/* --- all of it --------------------------------------------------------------------------------------- */

/* Is it byte-level, by its pre-tokenizer? */
static bool is_byte_level(const json_t *pre)
{
    const json_t *list = json_object_get(pre, "pretokenizers");
    const json_t *last = list ? json_array_get(list, json_array_size(list) - 1) : pre;
    return !strcmp(type_in(last), "ByteLevel");
}

static bool write_all(const writing *w)
{
    const char *type = type_in(w->model);
    bool pairs = !strcmp(type, "BPE"), words = !strcmp(type, "WordLevel"), bytes = is_byte_level(part(w, "pre_tokenizer"));
    TRY(place_all(w));
    if (!pairs && !words) return refuse(w, "model", type);
    TRY(words ? write_characters(w) : bytes ? write_bytes(w) : write_pieces(w));
    put_id(w, "tokenizer.ggml.bos_token_id", w->t->bos);
    put_id(w, "tokenizer.ggml.eos_token_id", w->t->eos);
    put_id(w, "tokenizer.ggml.eot_token_id", w->t->eot);
    TRY(put_post(w));
    if (w->t->chat_template)
        genet__gguf_put_string(w->m, "tokenizer.chat_template", w->t->chat_template, strlen(w->t->chat_template));
    return true;
}

bool genet__gguf_put_tokenizer(gguf_meta *m, const gguf_tokenizer *t, const char *where, genet_err *err)
{
    const json_t *model = json_object_get(t->tokenizer, "model");
    writing w = { .m = m, .t = t, .where = where, .err = err, .model = model, .vocabulary = json_object_get(model, "vocab") };
    w.text = genet__alloc_array((size_t)t->n + 1, sizeof *w.text);
    w.type = genet__alloc_array((size_t)t->n + 1, sizeof *w.type);
    w.score = genet__alloc_array((size_t)t->n + 1, sizeof *w.score);
    bool ok = (w.text && w.type && w.score) || genet__err_memory(err);
    ok = ok && write_all(&w);
    genet__free(w.text);
    genet__free(w.type);
    genet__free(w.score);
    return ok;
}
