/* rope.h - the frequencies of rotary positions, as config.json's rope_scaling stretches them
 * (names and formulas: transformers, modeling_rope_utils.py). */
#ifndef GENET_MODEL_ROPE_H
#define GENET_MODEL_ROPE_H
#include "base/arena.h"
#include "base/json.h"

enum { ROPE_MAX_PAIRS = 256 };

typedef struct rope_scaling {
    int    n;                           /* pairs: half the head's width */
    bool   plain;                       /* frequencies are theta^(-2i/D) */
    double freq[ROPE_MAX_PAIRS];        /* radians a position */
    double attention;                   /* what rotated queries and keys are multiplied by, each */
    int64_t original;                   /* longrope: from more positions than these on, it is: */
    double longer[ROPE_MAX_PAIRS];
} rope_scaling;

/* text: rope_scaling's JSON, or NULL; of heads that are `width` wide, in a model that sees `context` tokens.
 * false: it is none of default, linear, dynamic, yarn, longrope, llama3, or a field of it is missing or out of range. */
bool genet__rope_read(rope_scaling *r, const char *text, double theta, int64_t width, int64_t context, genet_err *err);
/* Move what transformers 5 writes as rope_parameters to where all releases look: rope_theta and rope_scaling. */
bool genet__rope_settle(json_t *config, const char *where, genet_err *err);
#endif
