/* toy.h - a job small enough to be killed a thousand times: a line fitted to
 * points that the step number draws. */
#ifndef GENET_TESTS_TOY_H
#define GENET_TESTS_TOY_H
#include "train/train.h"

typedef struct toy {
    genet_device    *device;
    genet_workspace *space;
    params          *p;
    arena            arena;
    train_options    options;
    train_job        job;
    json_t          *settings;
    tensor          *x, *y;
    train_event      last;
    int              n_warning, n_score, poison_from;   /* steps from there on have a NaN; 0: none */
    int              stop_at;           /* asked to stop in this step; 0: never */
    volatile sig_atomic_t stop;
    char             warning[1000];
    bool             idle_weight;       /* one whose gradient is zero */
    double           scores[64];        /* what evaluation answers, in turn; empty: its own */
    int              n_scores;
    genet_err        err;
} toy;

/* Defaults: 6 steps, evaluation every 2, saves every step, 1 thread. */
bool toy_open(toy *t, const char *folder);
void toy_close(toy *t);
bool toy_train(toy *t);                 /* genet__train */
/* Size and CRC-32 of a file, in one number; 0 when there is none. */
uint64_t toy_file_sum(const char *folder, const char *name);
/* A fresh folder under $TMPDIR; removed by toy_remove. */
void toy_folder(char out[200], const char *name);
void toy_remove(const char *folder);
#endif
