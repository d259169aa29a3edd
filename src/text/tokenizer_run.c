/* tokenizer_run.c - one text on its way: what a call of encode keeps, the last step into the model, and offsets. */
#include "text/tokenizer_pipeline.h"
#include <limits.h>
#include "base/err.h"
#include "text/space.h"

/* Every byte of a character comes from all of it. */
static bool set_origins(token_run *r, const char *text, size_t n)
{
    uint32_t c;
    if (n > UINT32_MAX) return genet__err_set(r->err, GENET_ERR_USAGE, "offsets are for texts of less than 4 GiB");
    r->origin = genet__alloc_array(n + 1, sizeof *r->origin);
    if (!r->origin) return genet__err_memory(r->err);
    for (size_t i = 0; i < n;) {
        size_t end = i + (size_t)genet__char_at(text + i, n - i, &c);
        for (size_t begin = i; i < end; i++) r->origin[i] = (text_origin){ (uint32_t)begin, (uint32_t)end };
    }
    return true;
}

static bool make_scratch(token_run *r)
{
    const pipeline *p = r->t->kind == &genet__tokenizer_pipeline ? r->t->table : NULL;
    if (!p || !p->n_stage) return true;
    r->scratch = genet__alloc_array(2 * (size_t)p->n_stage, sizeof *r->scratch);
    return r->scratch || genet__err_memory(r->err);
}

bool genet__run_encode(token_run *r, const char *text, size_t n, size_t *bad)
{
    uint32_t c;
    *bad = 0;
    if (n == 0) return true;
    r->first = r->sink.ids->n;
    r->text = r->bad = text;
    r->n = n;
    token_text all = { text, n, NULL, (size_t)genet__char_at(text, n, &c) };
    bool ok = make_scratch(r) && (!r->origins || set_origins(r, text, n));
    all.origin = r->origin;
    ok = ok && genet__added_encode(r, &all);
    if ((uintptr_t)r->bad >= (uintptr_t)text && (uintptr_t)r->bad <= (uintptr_t)(text + n)) *bad = (size_t)(r->bad - text);
    if (!ok) r->sink.ids->n = r->first;
    return ok;
}

void genet__run_release(token_run *r)
{
    const pipeline *p = r->t->kind == &genet__tokenizer_pipeline ? r->t->table : NULL;
    for (int i = 0; r->scratch && i < 2 * p->n_stage; i++) genet__text_buffer_release(&r->scratch[i]);
    genet__text_buffer_release(&r->normal[0]);
    genet__text_buffer_release(&r->normal[1]);
    genet__text_buffer_release(&r->joined);
    genet__pattern_scratch_release(r->match);
    genet__free(r->scratch);
    genet__free(r->origin);
    genet__free(r->place);
    genet__free(r->cluster);
    genet__free(r->sink.span);
}

/* --- where tokens come from ------------------------------------------------------------------------------------- */

/* Bytes [begin, end) of a piece in the user's text.  What lies behind the piece, the bytes of a suffix, stands for nothing:
 * an empty place at its end (the library's numbers for it are of no text). */
static text_origin origin_of(const token_text *piece, size_t begin, size_t end)
{
    uint32_t last = piece->origin[piece->n - 1].end;
    if (end > piece->n) end = piece->n;
    if (begin >= end) return (text_origin){ last, last };
    return (text_origin){ piece->origin[begin].begin, piece->origin[end - 1].end };
}

void genet__count_spaces(const char *s, size_t n, int *leading, int *trailing)
{
    uint32_t c;
    *leading = *trailing = 0;
    for (size_t i = 0; i < n; ++*leading) {
        i += (size_t)genet__char_at(s + i, n - i, &c);
        if (!genet__space_is(c) && c != 0x120) break;
    }
    for (size_t i = n, k; i > 0 && (k = genet__utf8_before(s, i, &c)) && (genet__space_is(c) || c == 0x120); ++*trailing) i -= k;
}

static bool add_place(token_run *r, text_origin origin)
{
    int i = r->sink.ids->n - 1 - r->first;
    if (!genet__grow(&r->place, &r->cap_place, i + 1, sizeof *r->place)) return genet__err_memory(r->err);
    r->place[i] = (token_place){ origin, r->word, -1, -1 };
    return true;
}

bool genet__run_add(token_run *r, int32_t id, const token_text *piece)
{
    token_list *l = r->sink.ids;
    if (l->n == l->cap && (l->n == INT_MAX || !GROW(l->at, l->n, l->cap))) return genet__err_memory(r->err);
    l->at[l->n++] = id;
    if (r->origins) {
        TRY(add_place(r, origin_of(piece, 0, piece->n)));
        token_place *p = &r->place[l->n - 1 - r->first];
        genet__count_spaces(piece->s, piece->n, &p->leading, &p->trailing);
    }
    r->word++;
    return true;
}

/* The model's tokens of one piece, or of a part of one. */
static bool to_model(token_run *r, const pipeline *p, const token_text *piece)
{
    token_list *l = r->sink.ids;
    int before = l->n, after;
    r->sink.first = before;
    r->sink.spans = r->origins;
    if (!p->row->encode(p->model, piece->s, piece->n, &r->sink, r->err)) {
        r->bad = piece->s;
        return false;
    }
    if (!r->origins) return true;
    after = l->n;
    for (int i = before; i < after; i++) {
        const token_span *s = &r->sink.span[i - before];
        l->n = i + 1;
        TRY(add_place(r, origin_of(piece, s->begin, s->end)));
        if (!p->unknown_is_text || l->at[i] != r->t->unknown) continue;
        token_place *place = &r->place[i - r->first];
        genet__count_spaces(piece->s + s->begin, s->end - s->begin, &place->leading, &place->trailing);
    }
    return true;
}

/* A piece up to each mark that follows something else. */
static bool to_model_in_parts(token_run *r, const pipeline *p, const token_text *piece)
{
    static const char mark[] = "\u2581";
    size_t done = 0, from = 0, k = sizeof mark - 1;
    for (const char *at; (at = memmem(piece->s + from, piece->n - from, mark, k)); ) {
        size_t i = (size_t)(at - piece->s);
        from = i + k;
        if (i == 0 || (i >= k && !memcmp(at - k, mark, k))) continue;
        token_text word = genet__token_text_slice(piece, done, i);
        TRY(to_model(r, p, &word));
        done = i;
    }
    token_text rest = genet__token_text_slice(piece, done, piece->n);
    return to_model(r, p, &rest);
}

bool genet__give(token_run *r, int stage, const token_text *piece)
{
    const pipeline *p = r->t->table;
    if (piece->n == 0) return true;
    if (stage < p->n_stage) return p->stage[stage]->kind->split(p->stage[stage], piece, r, stage);
    TRY(p->splits_at_mark ? to_model_in_parts(r, p, piece) : to_model(r, p, piece));
    r->word++;
    return true;
}
