/* save.h - a run on disk: saves as whole folders, the weights on top, metrics.
 * Belongs to the loop; others need save_exists and save_settings only. */
#ifndef GENET_TRAIN_SAVE_H
#define GENET_TRAIN_SAVE_H
#include "train/train.h"

typedef struct save_state {
    int64_t step;                   /* steps made: also the position in the data */
    int64_t updates;                /* of them, those that changed the weights */
    int64_t bad_steps;              /* not finite, in a row, up to now */
    int64_t best_step, evals_since_best;
    double  best_loss, time_s;      /* best_loss: HUGE_VAL before the first evaluation */
    train_score score;              /* of the latest evaluation */
} save_state;

/* Does the folder hold a run, or a finished model? */
bool genet__save_exists(const char *folder);
/* A fresh run: fails, naming it, when the folder holds anything that would be written. */
bool genet__save_refuse(const char *folder, genet_err *err);
/* After a fresh run (genet__save_refuse passed) that saved nothing: remove its
 * files, and the folders that it made, when empty. */
void genet__save_undo(const char *folder, bool made_folder, bool made_training);
/* Settings of the run: those of its latest start, else of its newest complete
 * save (new reference).  Fails when there is no run. */
json_t *genet__save_settings(const char *folder, genet_err *err);

/* The newest complete save's step, -1 when there is none; changes nothing. */
bool genet__save_last(const char *folder, int64_t *step, genet_err *err);

/* Keep other runs out of a training/ folder until *lock is closed (also by a kill); -1: the file system has no locks.  Fails
 * when another run is at work there. */
bool genet__save_lock(const char *training, int *lock, genet_err *err);
/* Make folder and folder/training and keep the settings.  *lock: a descriptor
 * that keeps other runs out until it is closed (also by a kill). */
bool genet__save_begin(const train_job *job, int *lock, genet_err *err);
/* Write training/step-N, renew the weights on top, drop saves over the limit. */
bool genet__save_write(const train_job *job, const save_state *s, genet_err *err);
/* The same, and clears what a killed run left behind.  Fails when saves were
 * there once (weights stand on top) and none is whole now. */
bool genet__save_newest(const char *folder, int64_t *step, const log_sink *log, genet_err *err);
/* Params (placed) and state of that save. */
bool genet__save_read(const train_job *job, int64_t step, save_state *s, genet_err *err);
/* Copy the best or last weights to the top again. */
bool genet__save_publish(const train_job *job, const save_state *s, genet_err *err);

/* --- metrics.jsonl --------------------------------------------------------------- */

typedef struct metrics { int fd; char *path; } metrics;
/* Open for appending, after cutting lines of steps after `step` and a torn last one. */
bool genet__metrics_open(metrics *m, const char *folder, int64_t step, genet_err *err);
bool genet__metrics_add(metrics *m, const train_event *e, bool with_score, genet_err *err);
bool genet__metrics_sync(metrics *m, genet_err *err);
void genet__metrics_close(metrics *m);

/* --- tensorboard.c: training/tensorboard/events.out.tfevents.* --------------------- */

typedef struct tensorboard { int fd; char *path; } tensorboard;
/* A new file, of the steps after `step`. */
bool genet__tensorboard_open(tensorboard *t, const char *folder, int64_t step, genet_err *err);
bool genet__tensorboard_add(tensorboard *t, const train_event *e, bool with_score, genet_err *err);
void genet__tensorboard_close(tensorboard *t);

/* --- memory.c ---------------------------------------------------------------------- */

/* Bytes that this process may still take, by /proc/meminfo and its cgroup; 0: unknown. */
size_t genet__memory_available(void);
#endif
