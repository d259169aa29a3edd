/* tokenizer_pipeline.c - the kind of tokenizer that is a pipeline of parts, as tokenizer.json describes it: read, written
 * back, decoded, hashed, and where its texts may be cut. */
#include "text/tokenizer_pipeline.h"
#include <inttypes.h>
#include "base/err.h"
#include "text/space.h"
#include "text/token_strings.h"

static const token_model *const models[] = { &genet__model_bpe, &genet__model_unigram, &genet__model_wordlevel,
                                           &genet__model_wordpiece };
enum { N_MODELS = sizeof models / sizeof *models };

static void release(tokenizer *t)
{
    pipeline *p = t->table;
    if (!p) return;
    if (p->model) p->row->free(p->model);
    genet__part_release(p->normalizer);
    genet__part_release(p->pre_tokenizer);
    genet__part_release(p->post_processor);
    genet__part_release(p->decoder);
    genet__free(t->bytes);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Early files give no type: only BPE's have merges. */
static bool read_model(pipeline *p, const json_t *j, const char *where, genet_err *err)
{
    const char *type = json_string_value(json_object_get(j, "type"));
    if (!type && json_object_get(j, "merges")) type = "BPE";
    for (int i = 0; type && i < N_MODELS; i++)
        if (!strcmp(models[i]->type, type)) p->row = models[i];
    if (!p->row)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: model.type \"%.40s\" is not known to this version", where,
                              type ? type : "");
    p->model = p->row->load(j, where, err);
    return p->model != NULL;
}

/* The parts of a sequence in order. */
static bool flatten(arena *a, const part *p, const part ***to, int *n)
{
    *n = genet__part_flatten(p, NULL, 0);
    *to = ARENA_ARRAY(a, const part *, (int64_t)*n + 1);
    if (*to) genet__part_flatten(p, *to, *n);
    return *to != NULL;
}

static bool read_parts(tokenizer *t, const json_t *j, const char *where, genet_err *err)
{
    pipeline *p = t->table;
    arena *a = &t->arena;
    TRY(genet__part_read(json_object_get(j, "normalizer"), &genet__normalizers, where, a, &p->normalizer, err));
    TRY(genet__part_read(json_object_get(j, "pre_tokenizer"), &genet__pre_tokenizers, where, a, &p->pre_tokenizer, err));
    TRY(genet__part_read(json_object_get(j, "post_processor"), &genet__post_processors, where, a, &p->post_processor, err));
    TRY(genet__part_read(json_object_get(j, "decoder"), &genet__decoders, where, a, &p->decoder, err));
    return (flatten(a, p->normalizer, &p->normalize, &p->n_normalize) && flatten(a, p->pre_tokenizer, &p->stage, &p->n_stage) &&
            flatten(a, p->post_processor, &p->process, &p->n_process) && flatten(a, p->decoder, &p->decode, &p->n_decode)) ||
           genet__err_memory(err);
}

/* An added token has the id of the piece it is, else the next free one, in the order of the file: so the library counts,
 * whatever ids the file gives. */
static bool check_added(const tokenizer *t, const char *where, genet_err *err)
{
    const pipeline *p = t->table;
    int count = p->row->count ? p->row->count(p->model) : p->row->size(p->model), next = count, order = -1;
    for (int i = 0; i < t->n_added; i++) {
        const added_token *a = &t->added[i];
        int32_t id = p->row->find(p->model, a->content, a->n_bytes);
        bool late = id < 0 && a->order < order;
        if (id < 0) id = next++, order = a->order;
        if (id != a->id || late)
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: added_tokens: \"%.40s\" has id %d, where the %d pieces of "
                                  "model.vocab make it %d", where, a->content, a->id, count, id);
    }
    return true;
}

static bool is_byte_level(const part *p)
{
    return !strcmp(p->kind->type, "ByteLevel");
}

static bool has_decoder(const pipeline *p, const char *type)
{
    for (int i = 0; i < p->n_decode; i++)
        if (!strcmp(p->decode[i]->kind->type, type)) return true;
    return false;
}

/* --- what tokens look like ---------------------------------------------------------------------------------------- */

/* The string of a token as the vocabulary has it. */
static const char *string_of(const tokenizer *t, int32_t id, size_t *n)
{
    const pipeline *p = t->table;
    const added_token *a = genet__added_find(t, id);
    if (!a) return p->row->piece(p->model, id, n);
    *n = a->n_normal;
    return a->normal;
}

/* in through all decoders; the answer is in one of the two. */
static const token_strings *run_decoders(const pipeline *p, token_strings turn[2])
{
    for (int i = 0; i < p->n_decode; i++) {
        token_strings *in = &turn[i & 1], *out = &turn[!(i & 1)];
        genet__strings_clear(out);
        if (!p->decode[i]->kind->decode(p->decode[i], in, out)) return NULL;
        if (in->failed || out->failed) return NULL;
    }
    return &turn[p->n_decode & 1];
}

static void join(const pipeline *p, const token_strings *s, str *out)
{
    for (int i = 0; i < s->n; i++) {
        size_t n;
        const char *at = genet__strings_at(s, i, &n);
        if (i && !p->decoder) genet__str_add(out, " ");
        genet__str_add_n(out, at, n);
    }
}

/* Is the token's string the content of a special token?  (The library goes by strings; normalized ones may be another's.) */
static bool is_special(const tokenizer *t, const added_token *a)
{
    if (!a || !strcmp(a->normal, a->content)) return a && a->special;
    for (int i = 0; i < t->n_added; i++)
        if (t->added[i].special && !strcmp(t->added[i].content, a->normal)) return true;
    return false;
}

static bool decode(const tokenizer *t, const int32_t *id, int64_t n, bool special, str *out, genet_err *err)
{
    const pipeline *p = t->table;
    token_strings turn[2] = { 0 };
    for (int64_t i = 0; i < n; i++) {
        size_t length;
        const char *s = string_of(t, id[i], &length);
        if (!s || (!special && is_special(t, genet__added_find(t, id[i])))) continue;
        genet__str_add_n(&turn[0].bytes, s, length);
        genet__strings_end(&turn[0]);
    }
    const token_strings *done = turn[0].failed ? NULL : run_decoders(p, turn);
    if (done) join(p, done, out);
    genet__strings_release(&turn[0]);
    genet__strings_release(&turn[1]);
    return (done && !out->failed) || genet__err_memory(err);
}

/* What decoding makes of a token among others: the difference that it makes between two others, which no text has. */
typedef struct showing { const tokenizer *t; token_strings turn[2]; str around, text; size_t n_before, n_behind; } showing;

static bool show(showing *w, const char *s, size_t n, str *out)
{
    const pipeline *p = w->t->table;
    static const char other[] = "\x01";
    for (int i = 0; i < 2; i++) w->turn[i].raw = true;
    genet__strings_clear(&w->turn[0]);
    genet__str_add_n(&w->turn[0].bytes, other, 1);
    genet__strings_end(&w->turn[0]);
    if (s) genet__str_add_n(&w->turn[0].bytes, s, n);
    if (s) genet__strings_end(&w->turn[0]);
    genet__str_add_n(&w->turn[0].bytes, "\x02", 1);
    genet__strings_end(&w->turn[0]);
    const token_strings *done = w->turn[0].failed ? NULL : run_decoders(p, w->turn);
    genet__str_clear(out);
    if (done) join(p, done, out);
    return done && !out->failed;
}

/* The text of token id is added to bytes; *gap: a space that is not in it stands before. */
static bool add_shown(showing *w, int32_t id, str *bytes, unsigned char *gap)
{
    const pipeline *p = w->t->table;
    size_t n, begin = w->n_before, end;
    const char *s = string_of(w->t, id, &n);
    *gap = 0;
    if (!s) return true;
    if (!show(w, s, n, &w->text)) return false;
    end = w->text.n > w->n_behind ? w->text.n - w->n_behind : 0;
    *gap = p->gaps && end > begin && w->text.at[begin] == ' ';
    if (*gap) begin++;
    if (end > begin) genet__str_add_n(bytes, w->text.at + begin, end - begin);
    return true;
}

/* Pieces and gaps of all ids. */
static bool show_all(tokenizer *t, genet_err *err)
{
    pipeline *p = t->table;
    showing w = { .t = t };
    str bytes = { 0 };
    bool ok = show(&w, NULL, 0, &w.around);
    t->start = ARENA_ARRAY(&t->arena, uint32_t, (int64_t)t->n + 1);
    p->gap = ARENA_ARRAY(&t->arena, unsigned char, (int64_t)t->n + 1);
    ok = ok && t->start && p->gap;
    w.n_before = 1;
    w.n_behind = ok && w.around.n ? w.around.n - 1 : 0;
    for (int32_t id = 0; ok && id < t->n; id++) {
        ok = add_shown(&w, id, &bytes, &p->gap[id]) && bytes.n <= UINT32_MAX;
        t->start[id + 1] = (uint32_t)bytes.n;
    }
    genet__str_add_n(&bytes, "", 0);
    ok = ok && !bytes.failed && (bytes.at || t->n == 0);
    for (int i = 0; i < 2; i++) genet__strings_release(&w.turn[i]);
    genet__str_release(&w.around);
    genet__str_release(&w.text);
    if (ok) t->bytes = bytes.at;
    else genet__str_release(&bytes);
    return ok || genet__err_memory(err);
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

static bool load(tokenizer *t, const json_t *j, const char *where, genet_err *err)
{
    pipeline *p = t->table = ARENA_NEW(&t->arena, pipeline);
    if (!p) return genet__err_memory(err);
    t->release = release;
    TRY(read_parts(t, j, where, err) && read_model(p, json_object_get(j, "model"), where, err));
    bool bytes = p->n_stage && is_byte_level(p->stage[p->n_stage - 1]);
    if (p->row->settle) TRY(p->row->settle(p->model, bytes, &p->takes_bytes, err));
    p->splits_at_mark = p->row->splits_at_mark && p->row->splits_at_mark(p->model);
    p->unknown_is_text = !strcmp(p->row->type, "Unigram");
    p->gaps = !p->decoder || has_decoder(p, "WordPiece");
    TRY(check_added(t, where, err));
    t->n = p->row->size(p->model);
    for (int i = 0; i < t->n_added; i++)
        if (t->added[i].id >= t->n) t->n = t->added[i].id + 1;
    t->unknown = p->row->unknown ? p->row->unknown(p->model) : -1;
    TRY(genet__added_index(t, err) || genet__err_prefix(err, "%s: ", where));
    return show_all(t, err);
}

static json_t *to_json(const tokenizer *t)
{
    const pipeline *p = t->table;
    return json_pack("{s:s, s:o, s:o, s:[], s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation",
                     t->truncation ? json_incref(t->truncation) : json_null(), "padding",
                     t->padding ? json_incref(t->padding) : json_null(), "added_tokens", "normalizer",
                     genet__part_json(p->normalizer), "pre_tokenizer", genet__part_json(p->pre_tokenizer), "post_processor",
                     genet__part_json(p->post_processor), "decoder", genet__part_json(p->decoder), "model",
                     p->row->to_json(p->model));
}

/* --- using -------------------------------------------------------------------------------------------------------- */

static bool normalize(token_run *r, const token_text *text, token_text *out)
{
    token_text in = *text;
    return genet__normalize(r, r->t->table, &in, out);
}

static bool encode(token_run *r, const token_text *text)
{
    return genet__give(r, 0, text);
}

/* By the bytes a token stands for, where the model takes bytes; else as the vocabulary has it. */
static int32_t find(const tokenizer *t, const char *piece, size_t n)
{
    const pipeline *p = t->table;
    str letters = { 0 };
    for (size_t i = 0; p->takes_bytes && i < n; i++) {
        char letter[4];
        genet__str_add_n(&letters, letter, (size_t)genet__char_put(genet__byte_letter((unsigned char)piece[i]), letter));
    }
    int32_t id = p->takes_bytes && !letters.failed ? p->row->find(p->model, genet__str(&letters), letters.n) : -1;
    genet__str_release(&letters);
    return id >= 0 ? id : p->row->find(p->model, piece, n);
}

static const char *token(const tokenizer *t, int32_t id, size_t *n)
{
    const pipeline *p = t->table;
    return p->row->piece(p->model, id, n);
}

static const char *between(const tokenizer *t, int32_t before, int32_t id)
{
    const pipeline *p = t->table;
    (void)before;
    return id >= 0 && id < t->n && p->gap[id] ? " " : "";
}

/* The file but for its vocabulary, which the model hashes; null fields go in as such. */
static void hash(const tokenizer *t, sha256 *s)
{
    const pipeline *p = t->table;
    const part *const parts[] = { p->normalizer, p->pre_tokenizer, p->post_processor, p->decoder };
    p->row->hash(p->model, s);
    for (int i = 0; i < 4; i++) {
        str text = { 0 };
        json_t *j = genet__part_json(parts[i]);
        if (j) genet__json_print(j, 0, &text);
        genet__sha256_add(s, genet__str(&text), text.n + 1);
        json_decref(j);
        genet__str_release(&text);
    }
}

/* --- cutting ------------------------------------------------------------------------------------------------------ */

/* Does a normalizer change a character by what stands near it alone, and leave a space a space (or one other thing)? */
static bool is_local(const part *p)
{
    static const char *const local[] = { "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer", "Nmt",
                                         "Precompiled" };
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        if (!strcmp(p->kind->type, local[i])) return true;
    return !strcmp(p->kind->type, "Replace") && p->string && strlen(p->string) == 1 && *p->string != ' ';
}

static bool drops_space(const part *p)
{
    static const char *const all[] = { "WhitespaceSplit", "Whitespace", "BertPreTokenizer" };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(p->kind->type, all[i])) return true;
    return false;
}

/* Does the first stage split before U+0020 behind a visible character, whatever else there is, and see nothing beyond?  Then
 * no later one does, but for a Metaspace that asks whether its piece begins the text. */
static bool splits_at_space(const pipeline *p)
{
    const part *first = p->n_stage ? p->stage[0] : NULL;
    if (!first || drops_space(first)) return first != NULL;
    for (int i = 1; i < p->n_stage; i++)
        if (!strcmp(p->stage[i]->kind->type, "Metaspace") && p->stage[i]->prepend_scheme == PREPEND_FIRST) return false;
    return (!strcmp(first->kind->type, "Metaspace") && first->split) || (is_byte_level(first) && first->use_regex);
}

/* Is there a whole character before s[i] that is neither white space nor half of something?  Where normalizers might make
 * something else of it, only visible ASCII is sure. */
static bool after_visible(const char *s, size_t i, bool sure)
{
    uint32_t c;
    return genet__utf8_before(s, i, &c) && !genet__space_is(c) && (!sure || (c > ' ' && c < 0x7f));
}

/* GPT-2's pattern: white space follows what is none.  No alternative but \s+ takes white space at another place than
 * its first, and \s+ takes nothing else: so a match ends here in the whole text too, and what follows decided nothing,
 * since of what looks ahead, "\s+(?!\S)", only white space could end here. The other part begins as any
 * match does: nothing looks back, and U+0020 keeps add_prefix_space from adding another.  The other stages drop white space
 * or begin a piece with it.  Of other pipelines nothing is known. */
static size_t cut(const tokenizer *t, const char *text, size_t n)
{
    const pipeline *p = t->table;
    bool lines = p->n_normalize == 0 && p->n_stage && is_byte_level(p->stage[0]) && !p->stage[0]->add_prefix_space;
    if (!splits_at_space(p)) return 0;
    for (int i = 0; i < p->n_normalize; i++)
        if (!is_local(p->normalize[i])) return 0;
    for (size_t i = n; i-- > 1;)
        if ((text[i] == ' ' || (text[i] == '\n' && lines)) && after_visible(text, i, p->n_normalize > 0)) return i;
    return 0;
}

const tokenizer_kind genet__tokenizer_pipeline = {
    .name = "pipeline", .load = load, .to_json = to_json, .normalize = normalize, .encode = encode, .find = find,
    .decode = decode, .token = token, .cut = cut, .between = between, .hash = hash,
};
