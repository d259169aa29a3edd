/* squad.h - questions about texts in the JSON of SQuAD v1.1 and v2.0 (Rajpurkar et al. 2016, 2018), and of those sets that
 * share it (XQuAD, MLQA). */
#ifndef GENET_TEXT_SQUAD_H
#define GENET_TEXT_SQUAD_H
#include "base/arena.h"
#include "base/json.h"

/* start: of the answer, in bytes of the context; -1: the context does not have these words there. */
typedef struct squad_answer { const char *text; int64_t start; } squad_answer;

typedef struct squad_question {
    const char   *id, *title, *context, *question;      /* title may be "" */
    squad_answer *answer;
    int           n_answer;             /* 0: not told, or there is none */
    bool          impossible;           /* is_impossible: there is none */
} squad_question;

typedef struct squad {
    squad_question *at;                 /* in the order of the file */
    int             n, cap;
    json_t         *json;               /* holds the texts */
    arena           arena;
} squad;

/* Errors name the place: "FILE: data[3].paragraphs[2].qas[0]: \"id\" is missing".  Ids are all different. */
bool genet__squad_read(squad *s, const char *path, genet_err *err);
bool genet__squad_parse(squad *s, const char *text, size_t n, const char *where, genet_err *err);
void genet__squad_release(squad *s);
#endif
