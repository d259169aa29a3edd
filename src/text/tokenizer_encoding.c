/* tokenizer_encoding.c - texts as a model reads them: encoded with offsets, truncated, put together, padded.
 *
 * Offsets are bytes of the user's text (the tokenizers library counts characters there; for the same text those are the
 * numbers of characters before these bytes).  A token that holds a part of a character's bytes stands for all of it. */
#include "text/tokenizer_encoding.h"
#include "base/err.h"
#include "text/token_pieces.h"
#include "text/tokenizer_pipeline.h"

enum { WINDOWS_MAX = 1 << 16 };
static const int64_t LENGTH_MAX = INT32_MAX / 2;

/* --- settings of the file ------------------------------------------------------------------------------------------- */

/* Which of the words j is; absent: the first where it may be. */
static bool read_word(const json_t *j, const char *key, const char *const *words, bool optional, int *to, const char *where,
                      const char *path, genet_err *err)
{
    const json_t *value = json_object_get(j, key);
    const char *s = json_string_value(value);
    *to = 0;
    if (!value && optional) return true;
    for (; s && words[*to]; ++*to)
        if (!strcmp(s, words[*to])) return true;
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s.%s is not known to this version", where, path, key);
}

static bool read_length(const json_t *j, const char *key, bool optional, int64_t *to, const char *where, const char *path,
                        genet_err *err)
{
    const json_t *value = json_object_get(j, key);
    *to = json_integer_value(value);
    if (optional && (!value || json_is_null(value))) return true;
    return (json_is_integer(value) && *to >= 0 && *to <= LENGTH_MAX) ||
           genet__err_set(err, GENET_ERR_FORMAT, "%s: %s.%s must be a whole number, 0 or more", where, path, key);
}

static const char *const directions[] = { "Right", "Left", NULL };

bool genet__truncation_read(const json_t *j, truncation *to, const char *where, genet_err *err)
{
    static const char *const known[] = { "direction", "max_length", "strategy", "stride", NULL };
    static const char *const strategies[] = { "LongestFirst", "OnlyFirst", "OnlySecond", NULL };
    int left;
    *to = (truncation){ 0 };
    if (!j || json_is_null(j)) return true;
    if (!json_is_object(j)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: truncation must be an object", where);
    TRY(genet__json_known(j, known, where, "truncation", err));
    TRY(read_word(j, "direction", directions, true, &left, where, "truncation", err));
    TRY(read_word(j, "strategy", strategies, false, &to->strategy, where, "truncation", err));
    TRY(read_length(j, "max_length", false, &to->max_length, where, "truncation", err));
    TRY(read_length(j, "stride", false, &to->stride, where, "truncation", err));
    to->left = left;
    to->on = true;
    return true;
}

/* "BatchLongest" or {"Fixed": 128} */
static bool read_strategy(const json_t *j, padding *to, const char *where, genet_err *err)
{
    const json_t *strategy = json_object_get(j, "strategy");
    const char *s = json_string_value(strategy);
    to->fixed = -1;
    if (s && !strcmp(s, "BatchLongest")) return true;
    if (json_object_size(strategy) == 1 && json_object_get(strategy, "Fixed"))
        return read_length(strategy, "Fixed", false, &to->fixed, where, "padding.strategy", err);
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: padding.strategy is not known to this version", where);
}

bool genet__padding_read(const json_t *j, padding *to, const char *where, genet_err *err)
{
    static const char *const known[] = { "strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token",
                                         NULL };
    int left;
    int64_t id, type_id;
    *to = (padding){ .fixed = -1 };
    if (!j || json_is_null(j)) return true;
    if (!json_is_object(j)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: padding must be an object", where);
    TRY(genet__json_known(j, known, where, "padding", err) && read_strategy(j, to, where, err));
    TRY(read_word(j, "direction", directions, false, &left, where, "padding", err));
    TRY(read_length(j, "pad_to_multiple_of", true, &to->multiple, where, "padding", err));
    TRY(read_length(j, "pad_id", false, &id, where, "padding", err));
    TRY(read_length(j, "pad_type_id", false, &type_id, where, "padding", err));
    if (!json_is_string(json_object_get(j, "pad_token")))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: padding.pad_token must be a string", where);
    to->id = (int32_t)id, to->type_id = (int32_t)type_id;
    to->left = left;
    to->on = true;
    return true;
}

/* What was read once is good. */
encode_options genet__encode_defaults(const tokenizer *t)
{
    encode_options o = { .special = true };
    genet__truncation_read(t->truncation, &o.truncate, "", NULL);
    genet__padding_read(t->padding, &o.pad, "", NULL);
    return o;
}

/* --- one text --------------------------------------------------------------------------------------------------------- */

void genet__encoding_release(encoding *e)
{
    for (int i = 0; i < e->n_overflow; i++) genet__encoding_release(&e->overflow[i]);
    genet__free(e->overflow);
    genet__free(e->at);
    *e = (encoding){ 0 };
}

static bool take_tokens(const token_run *r, int sequence, encoding *out, genet_err *err)
{
    const token_list *l = r->sink.ids;
    for (int i = 0; i < l->n; i++) {
        const token_place *p = &r->place[i];
        encoded_token x = { .id = l->at[i], .type_id = sequence, .word = p->word, .sequence = (int8_t)sequence,
                            .attention = true, .begin = p->origin.begin, .end = p->origin.end, .leading = p->leading,
                            .trailing = p->trailing };
        TRY(genet__encoding_add(out, &x, 1, err));
    }
    return true;
}

static bool encode_one(const tokenizer *t, const char *text, size_t n, int sequence, encoding *out, genet_err *err)
{
    token_list ids = { 0 };
    token_run r = { .t = t, .sink = { .ids = &ids }, .origins = true, .err = err };
    size_t bad;
    bool ok = genet__run_encode(&r, text, n, &bad) ||
              genet__err_prefix(err, "byte %zu of the %stext: ", bad, sequence ? "second " : "");
    ok = ok && take_tokens(&r, sequence, out, err);
    genet__run_release(&r);
    genet__token_list_release(&ids);
    return ok;
}

/* --- truncation ------------------------------------------------------------------------------------------------------- */

static bool add_window(encoding *e, const encoding *from, int64_t begin, int64_t end, genet_err *err)
{
    encoding *more = genet__realloc(e->overflow, ((size_t)e->n_overflow + 1) * sizeof *more);
    if (!more) return genet__err_memory(err);
    e->overflow = more;
    more[e->n_overflow] = (encoding){ 0 };
    return genet__encoding_add(&more[e->n_overflow++], from->at + begin, (int)(end - begin), err);
}

/* The windows behind the first, each beginning max - stride after the one before (or ending so much before it). */
static bool add_windows(encoding *e, const encoding *all, int64_t max, const truncation *t, genet_err *err)
{
    int64_t step = max - t->stride;
    if (max == 0) return add_window(e, all, 0, all->n, err);
    if (all->n / step > WINDOWS_MAX) return genet__err_set(err, GENET_ERR_USAGE, "more than %d windows", WINDOWS_MAX);
    for (int64_t i = step; ; i += step) {
        int64_t begin = t->left ? all->n - i - max : i, end = t->left ? all->n - i : i + max;
        int64_t last = t->left ? begin + step : end - step;        /* where the window before ended */
        if (t->left ? last <= 0 : last >= all->n) return true;
        TRY(add_window(e, all, begin < 0 ? 0 : begin, end > all->n ? all->n : end, err));
    }
}

/* e cut to max tokens; what is cut away lies in windows of that length, where they are wanted. */
static bool shorten(encoding *e, int64_t max, const encode_options *o, genet_err *err)
{
    const truncation *t = &o->truncate;
    if (max >= e->n) return true;
    if (max > 0 && t->stride >= max)
        return genet__err_set(err, GENET_ERR_USAGE, "the stride of %lld must be less than the %lld tokens of a window",
                              (long long)t->stride, (long long)max);
    encoding all = *e, kept = { 0 };
    int64_t from = t->left ? all.n - max : 0;
    bool ok = genet__encoding_add(&kept, all.at + from, (int)max, err) && (!o->overflow || add_windows(&kept, &all, max, t, err));
    genet__encoding_release(ok ? &all : &kept);
    if (ok) *e = kept;
    return ok;
}

/* How many tokens of two texts stay when the longer one is cut first. */
static void share(int64_t max, int64_t *a, int64_t *b)
{
    bool swap = *a > *b;
    int64_t low = swap ? *b : *a, high;
    high = low > max ? low : max - low > low ? max - low : low;
    if (low + high > max) low = max / 2, high = low + max % 2;
    *a = swap ? high : low;
    *b = swap ? low : high;
}

static bool truncate_one(encoding *e, int64_t over, const encode_options *o, genet_err *err)
{
    if (e->n <= over)
        return genet__err_set(err, GENET_ERR_USAGE, "%d tokens are too few to be cut by %lld", e->n, (long long)over);
    return shorten(e, e->n - over, o, err);
}

static bool truncate_all(token_pieces *t, int added, const encode_options *o, genet_err *err)
{
    int64_t max = o->truncate.max_length - added, total = t->at[0].n + (int64_t)t->at[1].n, a = t->at[0].n, b = t->at[1].n;
    if (!o->truncate.on) return true;
    if (max < 0)
        return genet__err_set(err, GENET_ERR_USAGE, "%lld tokens have no room for the %d special ones",
                              (long long)o->truncate.max_length, added);
    if (max > 0 && total <= max) return true;
    if (max > 0 && o->truncate.strategy == TRUNCATE_ONLY_FIRST) return truncate_one(&t->at[0], total - max, o, err);
    if (max > 0 && o->truncate.strategy == TRUNCATE_ONLY_SECOND) {
        if (t->n < 2) return genet__err_set(err, GENET_ERR_USAGE, "there is no second text to be cut");
        return truncate_one(&t->at[1], total - max, o, err);
    }
    if (t->n == 2 && max > 0) share(max, &a, &b);
    else a = max, b = 0;
    return shorten(&t->at[0], a, o, err) && shorten(&t->at[1], b, o, err);
}

/* --- putting together ------------------------------------------------------------------------------------------------- */

void genet__token_spaces(const token_pieces *t, const encoded_token *x, int *leading, int *trailing)
{
    size_t n = 0;
    const char *s = x->leading < 0 ? genet__tokenizer_token(t->tokenizer, x->id, &n) : NULL;
    genet__count_spaces(s, n, leading, trailing);
    if (x->leading >= 0) *leading = x->leading, *trailing = x->trailing;
}

static int added_by(const tokenizer *t, bool pair)
{
    int n = 0;
    const pipeline *p = t->kind == &genet__tokenizer_pipeline ? t->table : NULL;
    for (int i = 0; p && i < p->n_process; i++)
        if (p->process[i]->kind->added) n += p->process[i]->kind->added(p->process[i], pair);
    return n;
}

/* Without post-processors the second text follows the first. */
static bool process(token_pieces *t, bool special, encoding *out, genet_err *err)
{
    const tokenizer *own = t->tokenizer;
    const pipeline *p = own->kind == &genet__tokenizer_pipeline ? own->table : NULL;
    for (int i = 0; p && i < p->n_process; i++) TRY(p->process[i]->kind->process(p->process[i], t, special, err));
    for (int i = 0; i < t->n; i++) TRY(genet__encoding_add(out, t->at[i].at, t->at[i].n, err));
    return true;
}

/* One window of each text, put together as a whole; they stay what they are. */
static bool process_copy(const token_pieces *t, const encoding *a, const encoding *b, bool special, encoding *out, genet_err *err)
{
    token_pieces own = *t;
    own.at[0] = own.at[1] = (encoding){ 0 };
    bool ok = genet__encoding_add(&own.at[0], a->at, a->n, err) && genet__encoding_add(&own.at[1], b->at, b->n, err) &&
              process(&own, special, out, err);
    genet__encoding_release(&own.at[0]);
    genet__encoding_release(&own.at[1]);
    return ok;
}

/* All windows of the first text with all of the second, but for the first with the first. */
static bool process_overflow(const token_pieces *t, bool special, encoding *out, genet_err *err)
{
    const encoding *a = &t->at[0], *b = &t->at[1];
    int64_t n = (1 + (int64_t)a->n_overflow) * (1 + (int64_t)b->n_overflow) - 1;
    if (n == 0) return true;
    out->overflow = n <= WINDOWS_MAX ? genet__alloc_array((size_t)n, sizeof *out->overflow) : NULL;
    if (!out->overflow) return genet__err_memory(err);
    for (int i = 0; i <= a->n_overflow; i++) {
        const encoding *x = i < a->n_overflow ? &a->overflow[i] : a;        /* the first window of the first text comes last */
        for (int k = 0; k <= b->n_overflow; k++) {
            if (i == a->n_overflow && k == 0) continue;
            TRY(process_copy(t, x, k ? &b->overflow[k - 1] : b, special, &out->overflow[out->n_overflow++], err));
        }
    }
    return true;
}

static bool put_together(token_pieces *t, const encode_options *o, encoding *out, genet_err *err)
{
    TRY(truncate_all(t, o->special ? added_by(t->tokenizer, t->n == 2) : 0, o, err));
    TRY(process_overflow(t, o->special, out, err));
    return process_copy(t, &t->at[0], &t->at[1], o->special, out, err);
}

/* --- padding ---------------------------------------------------------------------------------------------------------- */

static bool pad_to(encoding *e, int64_t length, const padding *p, genet_err *err)
{
    const encoded_token x = { .id = p->id, .type_id = p->type_id, .word = -1, .sequence = -1, .special = true };
    for (int i = 0; i < e->n_overflow; i++) TRY(pad_to(&e->overflow[i], length, p, err));
    int64_t missing = length - e->n;
    if (missing <= 0) return true;
    if (length > LENGTH_MAX || !genet__grow(&e->at, &e->cap, (int)length, sizeof *e->at)) return genet__err_memory(err);
    if (p->left && e->n) memmove(e->at + missing, e->at, (size_t)e->n * sizeof *e->at);
    for (int64_t i = 0; i < missing; i++) e->at[p->left ? i : e->n + i] = x;
    e->n = (int)length;
    return true;
}

bool genet__encodings_pad(encoding *e, int n, const padding *p, genet_err *err)
{
    int64_t length = p->fixed;
    if (!p->on) return true;
    for (int i = 0; p->fixed < 0 && i < n; i++)
        if (e[i].n > length) length = e[i].n;
    if (p->multiple > 0 && length % p->multiple) length += p->multiple - length % p->multiple;
    for (int i = 0; i < n; i++) TRY(pad_to(&e[i], length, p, err));
    return true;
}

/* --- all of it -------------------------------------------------------------------------------------------------------- */

bool genet__tokenizer_encode_text(const tokenizer *t, const char *text, size_t n, const encode_options *o, encoding *out,
                                  genet_err *err)
{
    token_pieces all = { .n = o->pair ? 2 : 1, .text = { text, o->pair }, .n_text = { n, o->n_pair }, .tokenizer = t };
    *out = (encoding){ 0 };
    bool ok = encode_one(t, text, n, 0, &all.at[0], err) && (!o->pair || encode_one(t, o->pair, o->n_pair, 1, &all.at[1], err));
    ok = ok && put_together(&all, o, out, err) && genet__encodings_pad(out, 1, &o->pad, err);
    genet__encoding_release(&all.at[0]);
    genet__encoding_release(&all.at[1]);
    if (!ok) genet__encoding_release(out);
    return ok;
}

bool genet__tokenizer_begins_with(const tokenizer *t, int32_t id, bool *yes, genet_err *err)
{
    const encode_options o = { .special = true };
    encoding e = {0};
    bool ok = id < 0 || genet__tokenizer_encode_text(t, "a", 1, &o, &e, err);
    *yes = ok && e.n > 1 && e.at[0].special && e.at[0].id == id;
    genet__encoding_release(&e);
    return ok;
}
