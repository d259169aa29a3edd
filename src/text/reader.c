/* reader.c - a chunk is handed out in place as far as it goes; only its last piece
 * is copied, to where it meets the beginning of the next chunk. A text that can nowhere be cut is
 * looked at again only when it has doubled, so that the work stays linear. */
#include "text/reader.h"
#include <limits.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

void genet__reader_open(text_reader *r, text_source *s, text_cut_fn *cut, const void *user)
{
    *r = (text_reader){ .s = s, .cut = cut, .user = user, .chunk = "" };
    genet__source_rewind(s);
}

void genet__reader_part(text_reader *r, int64_t n_chars)
{
    r->left = n_chars;
    r->n_carry = r->given = r->tried = 0;
}

void genet__reader_close(text_reader *r)
{
    genet__free(r->carry);
    *r = (text_reader){ 0 };
}

bool genet__reader_prefix(const text_reader *r, size_t i, genet_err *err)
{
    return genet__source_prefix(r->s, r->origin + (ptrdiff_t)i, err);
}

/* Bytes of the first *left characters of text, or all of it; *left falls by those taken. */
static size_t take(const char *text, size_t n, int64_t *left)
{
    int64_t n_chars = 0;
    size_t i = 0;
    for (size_t k = 0; k < n; k++) n_chars += ((unsigned char)text[k] & 0xc0) != 0x80;
    if (n_chars <= *left) {
        *left -= n_chars;
        return n;
    }
    for (; *left > 0; --*left)
        for (i++; ((unsigned char)text[i] & 0xc0) == 0x80;) i++;
    return i;
}

static bool add_carry(text_reader *r, const char *text, size_t n, genet_err *err)
{
    if (n > (size_t)(INT_MAX - r->n_carry))
        return genet__err_set(err, GENET_ERR_FORMAT,
                              "the text has %d bytes without a place where it may be cut (a single word?)", INT_MAX);
    if (!genet__grow(&r->carry, &r->cap_carry, r->n_carry + (int)n, 1)) return genet__err_memory(err);
    if (n) memcpy(r->carry + r->n_carry, text, n);
    r->n_carry += (int)n;
    return true;
}

/* The n bytes at the chunk's front, with nothing carried: *end of them go out, the others are carried. */
static bool from_chunk(text_reader *r, size_t n, size_t *end, genet_err *err)
{
    *end = r->left ? r->cut(r->user, r->chunk + r->at, n) : n;
    r->origin = (ptrdiff_t)r->at;
    return add_carry(r, r->chunk + r->at + *end, n - *end, err);
}

/* The same for what is carried, to which the n bytes come. */
static bool from_carry(text_reader *r, size_t n, size_t *end, genet_err *err)
{
    r->origin = (ptrdiff_t)r->at - r->n_carry;
    TRY(add_carry(r, r->chunk + r->at, n, err));
    *end = 0;
    if (!r->left || r->ended) *end = (size_t)r->n_carry;
    else if (r->n_carry / 2 >= r->tried) {
        *end = r->cut(r->user, r->carry, (size_t)r->n_carry);
        r->tried = *end ? 0 : r->n_carry;
    }
    r->given = (int)*end;
    return true;
}

/* Forget what went out, and see that there is a chunk. */
static bool refill(text_reader *r, genet_err *err)
{
    r->n_carry -= r->given;
    if (r->given && r->n_carry) memmove(r->carry, r->carry + r->given, (size_t)r->n_carry);
    r->given = 0;
    if (r->at < r->n || r->ended || !r->left) return true;
    r->at = 0;
    TRY(genet__source_next(r->s, &r->chunk, &r->n, err));
    r->ended = !r->n;
    return true;
}

bool genet__reader_next(text_reader *r, const char **text, size_t *n, genet_err *err)
{
    for (*n = 0; !*n;) {
        TRY(refill(r, err));
        bool whole = !r->n_carry;
        size_t piece = take(r->chunk + r->at, r->n - r->at, &r->left);
        if (whole && !piece) return true;
        *text = r->chunk + r->at;
        TRY(whole ? from_chunk(r, piece, n, err) : from_carry(r, piece, n, err));
        if (!whole) *text = r->carry;
        r->at += piece;
    }
    return true;
}

bool genet__reader_count(text_source *s, int64_t n_chars, text_cut_fn *cut, const void *cutter, stretch_fn *each,
                         void *user, const train_watch *watch, genet_err *err)
{
    text_reader r;
    const char *text;
    size_t n = 0;
    bool ok = true;
    genet__reader_open(&r, s, cut, cutter);
    genet__reader_part(&r, n_chars);
    do {
        double done = n_chars > 0 ? 1 - (double)r.left / (double)n_chars : 1;
        ok = genet__train_tell(watch, "counting words", done, err) && genet__reader_next(&r, &text, &n, err) &&
             (!n || each(user, text, n, err));
    } while (ok && n);
    genet__reader_close(&r);
    return ok;
}
