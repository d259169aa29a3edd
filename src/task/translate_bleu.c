/* translate_bleu.c - sources with their references, translated in batches of a fixed number of rows and given to the metric. */
#include "task/translate_bleu.h"
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

enum { BLEU_ROWS = 32, BLEU_REFERENCES = 64 };

typedef struct bleu_source { const char *source; const char **reference; int n_reference, cap; } bleu_source;

struct translate_bleu {
    bleu_source *at;
    int64_t      n;
    decoder     *decoder;
    genet_workspace *space;         /* of its own: training's holds what training left */
    generation_options how;
    arena        arena;
    token_list   ids[BLEU_ROWS];
    str          text[BLEU_ROWS];
};

/* --- who is translated ------------------------------------------------------------------ */

static bool add_reference(translate_bleu *b, const text_pair *p, map *number, int64_t most, genet_err *err)
{
    int64_t *known = genet__map_get(number, p->source);
    if (!known && b->n == most) return true;
    if (!known && !genet__map_set(number, p->source, b->n)) return genet__err_memory(err);
    bleu_source *s = &b->at[known ? *known : b->n++];
    s->source = p->source;
    for (int i = 0; i < s->n_reference; i++)
        if (!strcmp(s->reference[i], p->target)) return true;
    if (s->n_reference == BLEU_REFERENCES) return true;
    if (!GROW(s->reference, s->n_reference, s->cap)) return genet__err_memory(err);
    s->reference[s->n_reference++] = p->target;
    return true;
}

translate_bleu *genet__translate_bleu_new(const pairs *p, int64_t most, genet_err *err)
{
    map number = {0};
    translate_bleu *b = genet__alloc(sizeof *b);
    bool ok = b && (b->at = genet__alloc_array((size_t)most + 1, sizeof *b->at));
    if (!ok) genet__err_memory(err);
    for (int64_t i = 0; ok && i < p->n; i++)
        if (p->at[i].held_out) ok = add_reference(b, &p->at[i], &number, most, err);
    genet__map_release(&number);
    if (ok) return b;
    genet__translate_bleu_free(b);
    return NULL;
}

void genet__translate_bleu_free(translate_bleu *b)
{
    if (!b) return;
    for (int64_t i = 0; b->at && i < b->n; i++) genet__free(b->at[i].reference);
    for (int i = 0; i < BLEU_ROWS; i++) {
        genet__token_list_release(&b->ids[i]);
        genet__str_release(&b->text[i]);
    }
    genet__free(b->at);
    genet__decoder_free(b->decoder);
    genet_workspace_free(b->space);
    genet__arena_release(&b->arena);
    genet__free(b);
}

/* --- translating ---------------------------------------------------------------------------- */

static bool take_piece(void *user, const genet_piece *p)
{
    translate_bleu *b = user;
    genet__str_add_n(&b->text[p->sequence], p->text, p->n_bytes);
    return true;
}

static bool set_up(translate_bleu *b, const model *m, genet_err *err)
{
    int64_t context = *genet__model_int(m, m->family->context);
    if (b->decoder) return true;
    TRY(genet__fields_defaults(&genet__generation_fields, &b->how, &b->arena, err));
    b->how.temperature = 0;
    b->how.max_new_tokens = context;
    if (!b->space && !(b->space = genet_workspace_new(m->params->device))) return genet__err_memory(err);
    return (b->decoder = genet__decoder_new_reading(m, b->space, BLEU_ROWS, 1, context, err));
}

static bool run_batch(translate_bleu *b, const model *m, const tokenizer *t, const bleu_source *at, int n, metric *to, genet_err *err)
{
    for (int i = 0; i < n; i++) {
        genet__str_clear(&b->text[i]);
        TRY(genet__source_ids(m, t, at[i].source, 0, &b->ids[i], NULL, err));
    }
    TRY(genet__generate_from(b->decoder, t, m, b->ids, n, &b->how, take_piece, b, err));
    for (int i = 0; i < n; i++) {
        if (b->text[i].failed) return genet__err_memory(err);
        TRY(genet__metric_add(to, genet__str(&b->text[i]), at[i].reference, at[i].n_reference, err));
    }
    return true;
}

static bool run_all(translate_bleu *b, const model *m, const tokenizer *t, metric *to, double *bleu, genet_err *err)
{
    for (int64_t first = 0; first < b->n; first += BLEU_ROWS)
        TRY(run_batch(b, m, t, b->at + first, (int)(b->n - first < BLEU_ROWS ? b->n - first : BLEU_ROWS), to, err));
    json_t *result = genet__metric_result(to, err);
    if (result) *bleu = json_number_value(json_object_get(result, to->kind->first));
    json_decref(result);
    return result;
}

bool genet__translate_bleu_run(translate_bleu *b, const model *m, const tokenizer *t, double *bleu, genet_err *err)
{
    metric_options how = {0};
    arena a = {0};
    bool ok = set_up(b, m, err) && genet__fields_defaults(&genet__metric_fields, &how, &a, err);
    metric *to = ok ? genet__metric_new("bleu", &how, err) : NULL;
    ok = to && run_all(b, m, t, to, bleu, err);
    genet__metric_free(to);
    genet__arena_release(&a);
    return ok;
}
