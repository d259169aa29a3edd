/* scored.h - predictions and what they are scored against, from files.
 *
 * Lines of text: one prediction a line, and in one or several files of as many lines its references.  JSON lines (*.jsonl):
 * objects with "prediction" and "reference" or "references"; the references may be in files of their own.  SQuAD's JSON
 * (*.json) as references: predictions by "id", in an object {"id": "answer"} or in JSON lines; a question without a prediction
 * counts as answered by nothing. */
#ifndef GENET_TEXT_SCORED_H
#define GENET_TEXT_SCORED_H
#include "base/arena.h"
#include "base/json.h"

typedef struct scored_item { const char *prediction; const char **reference; int n_reference; } scored_item;

typedef struct scored {
    scored_item *at;
    int     n, cap;
    int     missing;            /* of them: questions without a prediction */
    arena   arena;
} scored;

/* n_path 0: the references stand beside the predictions. */
bool genet__scored_read(scored *s, const char *predictions, const char *const *path, int n_path, genet_err *err);
void genet__scored_release(scored *s);
/* What an item's text is under one of the names (ended by NULL) that it may have; numbers and true or false are texts too.
 * NULL without an error: none of them is there. */
bool genet__scored_text(const json_t *o, const char *const *names, const char *where, const char **out, arena *a,
                        genet_err *err);
#endif
