/* tokenizer.c - the public face of tokenizers, include/genet/tokenizer.h: arguments checked, encodings handed over. */
#include "genet/tokenizer.h"
#include "api/api.h"
#include "base/alloc.h"
#include "base/err.h"
#include "text/tokenizer_encoding.h"

struct genet_tokenizer { tokenizer *own; };

genet_tokenizer *genet_tokenizer_open(const char *path, genet_err *err)
{
    if (!genet__api_need(path, "path", err)) return NULL;
    genet_tokenizer *t = genet__alloc(sizeof *t);
    if (!t) genet__err_memory(err);
    if (t && (t->own = genet__tokenizer_load(path, err))) return t;
    genet__free(t);
    return NULL;
}

void genet_tokenizer_free(genet_tokenizer *t)
{
    if (!t) return;
    genet__tokenizer_free(t->own);
    genet__free(t);
}

int genet_tokenizer_size(const genet_tokenizer *t)
{
    return t ? genet__tokenizer_size(t->own) : 0;
}

const char *genet_tokenizer_token(const genet_tokenizer *t, int32_t id, size_t *n_bytes)
{
    size_t n = 0;
    const char *token = t ? genet__tokenizer_token(t->own, id, &n) : NULL;
    if (n_bytes) *n_bytes = n;
    return token;
}

int32_t genet_tokenizer_find(const genet_tokenizer *t, const char *token, size_t n_bytes)
{
    return t && token ? genet__tokenizer_find_token(t->own, token, n_bytes) : -1;
}

/* --- encoding ---------------------------------------------------------------------------- */

static encode_options options_of(const genet_tokenizer *t, const genet_encode_options *o)
{
    encode_options own = genet__encode_defaults(t->own);
    own.special = !o->plain;
    own.pair = o->pair;
    own.n_pair = o->n_pair;
    if (o->whole) own.truncate.on = own.pad.on = false;
    if (o->max_length > 0) {
        own.truncate.on = true;
        own.truncate.strategy = TRUNCATE_LONGEST_FIRST;
        own.truncate.max_length = o->max_length;
    }
    if (o->pad_to > 0) {
        own.pad.on = true;
        own.pad.fixed = o->pad_to;
    }
    return own;
}

static bool hand_over(const encoding *e, genet_encoding *out, genet_err *err)
{
    out->at = genet__alloc_array((size_t)e->n + 1, sizeof *out->at);
    if (!out->at) return genet__err_memory(err);
    for (out->n = 0; out->n < (size_t)e->n; out->n++) {
        const encoded_token *x = &e->at[out->n];
        out->at[out->n] = (genet_encoded_token){ .id = x->id, .type_id = x->type_id, .word = x->word, .sequence = x->sequence,
                                                 .special = x->special, .attention = x->attention, .begin = x->begin,
                                                 .end = x->end };
    }
    return true;
}

bool genet_tokenizer_encode(const genet_tokenizer *t, const char *text, size_t n_bytes, const genet_encode_options *o,
                            genet_encoding *out, genet_err *err)
{
    TRY(genet__api_need(t, "tokenizer", err) && genet__api_need(out, "out", err));
    *out = (genet_encoding){ 0 };
    TRY(!n_bytes || genet__api_need(text, "text", err));
    encode_options own = options_of(t, o ? o : &(genet_encode_options){ 0 });
    encoding e;
    bool ok = genet__tokenizer_encode_text(t->own, n_bytes ? text : "", n_bytes, &own, &e, err);
    if (ok) ok = hand_over(&e, out, err);
    genet__encoding_release(&e);
    return ok;
}

void genet_encoding_free(genet_encoding *e)
{
    if (!e) return;
    genet__free(e->at);
    *e = (genet_encoding){ 0 };
}

char *genet_tokenizer_decode(const genet_tokenizer *t, const int32_t *ids, size_t n_ids, bool skip_special, size_t *n_bytes,
                             genet_err *err)
{
    str out = { 0 };
    if (n_bytes) *n_bytes = 0;
    if (!genet__api_need(t, "tokenizer", err) || (n_ids && !genet__api_need(ids, "ids", err))) return NULL;
    bool ok = genet__tokenizer_decode_text(t->own, ids, (int64_t)n_ids, !skip_special, &out, err);
    genet__str_add_n(&out, "", 0);          /* an empty text is memory, too */
    if (ok && (out.failed || !out.at)) ok = genet__err_memory(err);
    if (ok && n_bytes) *n_bytes = out.n;
    if (ok) return out.at;
    genet__str_release(&out);
    return NULL;
}
