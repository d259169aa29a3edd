/* frame.c - special tokens around texts. */
#include "text/frame.h"
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/tokenizer_encoding.h"

static int32_t find(const tokenizer *t, const char *name) { return genet__tokenizer_find(t, name, strlen(name)); }

/* What a post-processor puts around nothing. */
static bool is_told(const tokenizer *t)
{
    encoding e;
    if (!genet__tokenizer_encode_text(t, "", 0, &(encode_options){ .special = true }, &e, NULL)) return false;
    bool some = e.n > 0;
    genet__encoding_release(&e);
    return some;
}

frame genet__frame_of(const tokenizer *t, bool encoder)
{
    int32_t end = genet__tokenizer_end(t);
    bool told = is_told(t);
    if (!encoder) return (frame){ -1, end, end >= 0, told };
    if (find(t, "[CLS]") >= 0 && find(t, "[SEP]") >= 0) return (frame){ find(t, "[CLS]"), find(t, "[SEP]"), 1, told };
    if (find(t, "<s>") >= 0 && find(t, "</s>") >= 0) return (frame){ find(t, "<s>"), find(t, "</s>"), 2, told };
    return (frame){ end, end, end >= 0, told };
}

int64_t genet__frame_tokens(const frame *f, bool pair)
{
    return (f->begin >= 0) + (f->begin >= 0 && f->end >= 0) + (pair ? f->between : 0);
}

static bool add(token_list *out, int32_t id, genet_err *err)
{
    if (!GROW(out->at, out->n, out->cap)) return genet__err_memory(err);
    out->at[out->n++] = id;
    return true;
}

/* What has no token at all still is one, so that there is something to answer about. */
bool genet__frame_ids(const frame *f, const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b, token_list *out, int *first,
                      genet_err *err)
{
    int start = out->n;
    bool around = f->begin >= 0 && f->end >= 0;
    if (f->begin >= 0) TRY(add(out, f->begin, err));
    for (int64_t i = 0; i < n_a; i++) TRY(add(out, a[i], err));
    if (b) for (int i = 0; i < f->between; i++) TRY(add(out, f->end, err));
    *first = out->n - start;
    for (int64_t i = 0; b && i < n_b; i++) TRY(add(out, b[i], err));
    if (around) TRY(add(out, f->end, err));
    if (!b) *first = out->n - start;
    return out->n > start || add(out, f->end >= 0 ? f->end : 0, err);
}

/* Longest first, as transformers cuts pairs; of equal ones the second. */
static int64_t cut_to(int64_t room, int64_t *n_a, int64_t *n_b)
{
    int64_t cut = 0;
    for (room = room < 0 ? 0 : room; *n_a + *n_b > room; cut++) --*(*n_a > *n_b ? n_a : n_b);
    return cut;
}

/* As the post-processor says; what is too long is tokenized once more, to be cut as transformers does. */
static bool told_text(const tokenizer *t, const char *a, const char *b, int64_t max, token_list *out, int *first, int64_t *cut,
                      genet_err *err)
{
    encode_options o = { .special = true, .pair = b, .n_pair = b ? strlen(b) : 0 };
    encoding e;
    TRY(genet__tokenizer_encode_text(t, a, strlen(a), &o, &e, err));
    int64_t whole = e.n;
    if (whole > max) {
        genet__encoding_release(&e);
        o.truncate = (truncation){ .on = true, .max_length = max, .strategy = TRUNCATE_LONGEST_FIRST };
        TRY(genet__tokenizer_encode_text(t, a, strlen(a), &o, &e, err));
    }
    bool ok = true;
    *cut = whole - e.n;
    *first = e.n;
    for (int i = 0; ok && i < e.n; i++) {
        if (e.at[i].type_id && *first == e.n) *first = i;
        ok = add(out, e.at[i].id, err);
    }
    genet__encoding_release(&e);
    return ok;
}

bool genet__frame_text(const frame *f, const tokenizer *t, const char *a, const char *b, int64_t max, token_list *out, int *first,
                       int64_t *cut, genet_err *err)
{
    token_list x = {0}, y = {0};
    if (f->told) return told_text(t, a, b, max, out, first, cut, err);
    bool ok = genet__tokenizer_encode(t, a, strlen(a), &x, err) && (!b || genet__tokenizer_encode(t, b, strlen(b), &y, err));
    int64_t n_x = x.n, n_y = y.n;
    *cut = ok ? cut_to(max - genet__frame_tokens(f, b), &n_x, &n_y) : 0;
    ok = ok && genet__frame_ids(f, x.at, n_x, b ? (y.at ? y.at : (const int32_t[]){ 0 }) : NULL, n_y, out, first, err);
    genet__token_list_release(&x);
    genet__token_list_release(&y);
    return ok;
}

bool genet__frame_places(const tokenizer *t, const char *text, size_t n, token_list *out, token_place_in_text **place, genet_err *err)
{
    encoding e;
    TRY(genet__tokenizer_encode_text(t, text, n, &(encode_options){0}, &e, err));
    bool ok = (*place = genet__alloc_array((size_t)e.n + 1, sizeof **place)) || genet__err_memory(err);
    for (int i = 0; ok && i < e.n; i++) {
        ok = add(out, e.at[i].id, err);
        (*place)[i] = (token_place_in_text){ e.at[i].begin, e.at[i].end };
    }
    genet__encoding_release(&e);
    return ok;
}
