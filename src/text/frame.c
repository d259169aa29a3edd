/* frame.c - special tokens around texts. */
#include "text/frame.h"
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

static int32_t find(const tokenizer *t, const char *name) { return genet__tokenizer_find(t, name, strlen(name)); }

frame genet__frame_of(const tokenizer *t, bool encoder)
{
    int32_t end = genet__tokenizer_end(t);
    if (!encoder) return (frame){ -1, end, end >= 0 };
    if (find(t, "[CLS]") >= 0 && find(t, "[SEP]") >= 0) return (frame){ find(t, "[CLS]"), find(t, "[SEP]"), 1 };
    if (find(t, "<s>") >= 0 && find(t, "</s>") >= 0) return (frame){ find(t, "<s>"), find(t, "</s>"), 2 };
    return (frame){ end, end, end >= 0 };
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

bool genet__frame_text(const frame *f, const tokenizer *t, const char *a, const char *b, int64_t max, token_list *out, int *first,
                       int64_t *cut, genet_err *err)
{
    token_list x = {0}, y = {0};
    bool ok = genet__tokenizer_encode(t, a, strlen(a), &x, err) && (!b || genet__tokenizer_encode(t, b, strlen(b), &y, err));
    int64_t n_x = x.n, n_y = y.n;
    *cut = ok ? cut_to(max - genet__frame_tokens(f, b), &n_x, &n_y) : 0;
    ok = ok && genet__frame_ids(f, x.at, n_x, b ? (y.at ? y.at : (const int32_t[]){ 0 }) : NULL, n_y, out, first, err);
    genet__token_list_release(&x);
    genet__token_list_release(&y);
    return ok;
}

bool genet__token_places(const tokenizer *t, const char *text, size_t n, const token_list *ids, int64_t *begin, int64_t *end,
                         genet_err *err)
{
    size_t at = 0;
    for (int i = 0; i < ids->n; i++) {
        size_t bytes = 0;
        const char *piece = genet__tokenizer_piece(t, ids->at[i], &bytes);
        if (!piece || bytes > n - at || memcmp(piece, text + at, bytes)) break;
        begin[i] = (int64_t)at;
        end[i] = (int64_t)(at += bytes);
    }
    return at == n || genet__err_set(err, GENET_ERR_USAGE, "this tokenizer (%s) does not say where in a text its tokens stand",
                                     genet__tokenizer_kind(t));
}
