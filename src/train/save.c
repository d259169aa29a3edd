/* save.c - a run's folders.
 *
 * A save is written as training/step-N.tmp: weights, optimiser, state,
 * settings, and last the manifest with every file's size and checksum; then
 * everything is synced and the folder renamed.  So a folder called step-N is
 * whole, and the manifest proves it when the disk is not to be trusted.  The
 * weights on top are replaced by a synced rename after that.  Whatever a
 * kill leaves behind is either unreachable (.tmp) or repeated at resume. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "model/adapter.h"
#include "train/save.h"

static const char weights_file[] = WEIGHTS_FILE, optimiser_file[] = "optimizer.safetensors",
                  state_file[] = "state.json", settings_file[] = "settings.json", manifest_file[] = "manifest.json";
static const char *const saved_files[] = { weights_file, optimiser_file, state_file, settings_file };
/* All that a run writes into its folder beside saves. */
static const char *const made_files[] = {
    "config.json", "generation_config.json", weights_file, "tokenizer.json", "tokenizer_config.json", "table.json",
    "README.md", ADAPTER_CONFIG, ADAPTER_FILE, "training/settings.json", "training/metrics.jsonl", "training/corpus.bin", "training/corpus.json",
    "training/examples.json", "training/reference.bin", "chat_template.jinja",
    "training/profile.json", "training/tensorboard", "training/tokenizer.json", "training/tokenizer_config.json",
    "training/pairs.json", "training/held-out.jsonl", "training/learn.txt", NULL
};
/* Without settings.json these are what a kill left behind: a new run writes them again. */
static bool is_corpus(const char *name)
{
    return !strncmp(name, "training/corpus.", 16) || !strncmp(name, "training/tokenizer", 18) || !strncmp(name, "training/examples.", 18) ||
           !strncmp(name, "training/reference.", 19);
}

enum { N_SAVED = sizeof saved_files / sizeof *saved_files, PATH_BYTES = 4096, JSON_BYTES = 1 << 24 };

/* --- paths ----------------------------------------------------------------------- */

typedef struct path { char at[PATH_BYTES]; } path;

static bool path_set(path *p, genet_err *err, const char *fmt, ...) GENET_PRINTF(3, 4);
static bool path_set(path *p, genet_err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(p->at, sizeof p->at, fmt, ap);
    va_end(ap);
    return (n >= 0 && n < PATH_BYTES) || genet__err_set(err, GENET_ERR_IO, "the path %.60s... is too long", p->at);
}

/* FOLDER/training/step-N + tail */
static bool step_path(path *p, const char *folder, int64_t step, const char *tail, genet_err *err)
{
    return path_set(p, err, "%s/training/step-%lld%s", folder, (long long)step, tail);
}

bool genet__save_exists(const char *folder)
{
    static const char *const marks[] = { "training/settings.json", "config.json", weights_file, ADAPTER_CONFIG, "tokenizer.json" };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (genet__file_exists_in(folder, marks[i])) return true;
    return false;
}

/* Two runs in one folder would write over each other.  Where the file system
 * has no locks there is no check. */
bool genet__save_lock(const char *folder, int *lock, genet_err *err)
{
    *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0 || !flock(*lock, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) return true;
    close(*lock);
    *lock = -1;
    return genet__err_set(err, GENET_ERR_USAGE, "another run is at work in %s at this moment", folder);
}

bool genet__save_begin(const train_job *job, int *lock, genet_err *err)
{
    path p;
    TRY(path_set(&p, err, "%s/training", job->options->out));
    TRY(genet__file_make_dirs(p.at, err));
    if (job->locked) *lock = job->lock >= 0 ? fcntl(job->lock, F_DUPFD_CLOEXEC, 0) : -1;
    else TRY(genet__save_lock(p.at, lock, err));
    TRY(path_set(&p, err, "%s/training/%s", job->options->out, settings_file));
    return genet__json_write(p.at, job->settings, err);
}

/* --- lists of saves ---------------------------------------------------------------- */

/* N of "step-N", or -1. */
static int64_t step_of(const char *name)
{
    int64_t n;
    return !strncmp(name, "step-", 5) && genet__parse_int(name + 5, &n) && n >= 0 ? n : -1;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Steps of the folders called step-N, newest first; free with genet__free. */
static bool list_steps(const char *folder, int64_t **steps, int *n, genet_err *err)
{
    path p;
    *n = 0;
    *steps = NULL;
    TRY(path_set(&p, err, "%s/training", folder));
    if (!genet__file_is_dir(p.at)) return true;
    char **names = genet__file_list(p.at, err);
    if (!names) return false;
    int total = 0;
    while (names[total]) total++;
    *steps = genet__alloc_array((size_t)total + 1, sizeof **steps);
    for (int i = 0; *steps && i < total; i++)
        if (step_of(names[i]) >= 0) (*steps)[(*n)++] = step_of(names[i]);
    genet__file_list_free(names);
    if (!*steps) return genet__err_memory(err);
    qsort(*steps, (size_t)*n, sizeof **steps, newest_first);
    return true;
}

/* Never half a folder under its real name. */
static bool drop_save(const char *folder, int64_t step, genet_err *err)
{
    path from, to;
    TRY(step_path(&from, folder, step, "", err));
    TRY(step_path(&to, folder, step, ".tmp", err));
    TRY(genet__file_remove_tree(to.at, err));
    TRY(genet__file_rename(from.at, to.at, err));
    return genet__file_remove_tree(to.at, err);
}

/* --- a fresh folder ---------------------------------------------------------------- */

/* A run is told by its settings or saves; the rest is what tasks write. */
bool genet__save_refuse(const char *folder, genet_err *err)
{
    path p;
    int64_t *steps = NULL;
    int n = 0;
    TRY(path_set(&p, err, "%s/training/%s", folder, settings_file) && list_steps(folder, &steps, &n, err));
    genet__free(steps);
    if (n || genet__file_exists(p.at))
        return genet__err_set(err, GENET_ERR_USAGE,
                              "%s holds a model already: --resume goes on with its training; for a new "
                              "one choose another --out", folder);
    for (const char *const *name = made_files; *name; name++) {
        if (is_corpus(*name)) continue;
        TRY(path_set(&p, err, "%s/%s", folder, *name));
        if (genet__file_exists(p.at))
            return genet__err_set(err, GENET_ERR_USAGE,
                                  "%s is there already, and training would write over it: choose another "
                                  "--out, or move it away", p.at);
    }
    return true;
}

/* Under the lock: where another run is at work, nothing is touched. */
void genet__save_undo(const char *folder, bool made_folder, bool made_training)
{
    path p, training;
    int64_t *steps = NULL;
    int n = 0, lock = -1;
    genet_err ignored;
    if (!path_set(&training, NULL, "%s/training", folder) || !genet__save_lock(training.at, &lock, &ignored)) n = 1;
    else if (!list_steps(folder, &steps, &n, &ignored)) n = 1;
    genet__free(steps);
    for (const char *const *name = made_files; !n && *name; name++)
        if (path_set(&p, NULL, "%s/%s", folder, *name)) genet__file_remove_tree(p.at, &ignored);
    if (!n && made_training) rmdir(training.at);        /* when empty */
    if (!n && made_folder) rmdir(folder);
    if (lock >= 0) close(lock);
}

/* --- is a save whole? ---------------------------------------------------------------- */

/* Size and checksum of one file of a save against its entry. */
static bool file_matches(const char *save, const char *name, const json_t *files, genet_err *err)
{
    path p;
    uint32_t crc;
    int64_t size;
    TRY(path_set(&p, err, "%s/%s", save, name));
    const json_t *entry = json_object_get(files, name);
    int64_t want_size, want_crc;
    TRY(genet__json_int(entry, "size_bytes", save, &want_size, NULL, err));
    TRY(genet__json_int(entry, "crc32", save, &want_crc, NULL, err));
    TRY(genet__file_crc32(p.at, &crc, &size, err));
    return (size == want_size && (int64_t)crc == want_crc) ||
           genet__err_set(err, GENET_ERR_FORMAT, "%s does not match its manifest", p.at);
}

/* A save counts when its manifest lists every file and all of them match. */
static bool is_whole(const char *save, genet_err *err)
{
    path p;
    TRY(path_set(&p, err, "%s/%s", save, manifest_file));
    json_t *manifest = genet__json_read(p.at, JSON_BYTES, err);
    if (!manifest) return false;
    const json_t *files = json_object_get(manifest, "files");
    bool ok = json_is_object(files) || genet__err_set(err, GENET_ERR_FORMAT, "%s: no list of files", p.at);
    for (int i = 0; ok && i < N_SAVED; i++)
        ok = json_object_get(files, saved_files[i]) ? file_matches(save, saved_files[i], files, err)
             : genet__err_set(err, GENET_ERR_FORMAT, "%s does not list %s", p.at, saved_files[i]);
    json_decref(manifest);
    return ok;
}

/* A save that could not be looked at (no memory, a disk that does not read) is not a save that is damaged: going back
 * behind it would lose it. */
static bool cannot_tell(const char *save, const genet_err *why)
{
    if (why->code != GENET_ERR_IO) return why->code == GENET_ERR_MEMORY;
    bool all = genet__file_exists_in(save, manifest_file);
    for (int i = 0; i < N_SAVED; i++) all &= genet__file_exists_in(save, saved_files[i]);
    return all;
}

/* What a kill in the middle of writing or dropping a save left behind. */
static bool clear_leftovers(const char *folder, genet_err *err)
{
    path p, one;
    TRY(path_set(&p, err, "%s/training", folder));
    char **names = genet__file_is_dir(p.at) ? genet__file_list(p.at, err) : NULL;
    bool ok = true;
    for (int i = 0; ok && names && names[i]; i++) {
        size_t n = strlen(names[i]);
        if (strncmp(names[i], "step-", 5) || n < 4 || strcmp(names[i] + n - 4, ".tmp")) continue;
        ok = path_set(&one, err, "%s/%s", p.at, names[i]) && genet__file_remove_tree(one.at, err);
    }
    genet__file_list_free(names);
    return ok;
}

/* The newest step that is whole. */
static bool newest(const char *folder, int64_t *step, const log_sink *log, genet_err *err)
{
    int64_t *steps;
    int n;
    bool ok = list_steps(folder, &steps, &n, err);
    *step = -1;
    for (int i = 0; ok && i < n && *step < 0; i++) {
        path p;
        genet_err why;
        ok = step_path(&p, folder, steps[i], "", err);
        if (!ok) break;
        /* what is judged damaged is looked at twice */
        if (is_whole(p.at, &why) || is_whole(p.at, &why)) *step = steps[i];
        else if (cannot_tell(p.at, &why)) {
            if (err) *err = why;
            ok = false;
        } else genet__log(log, LOG_WARN, "%s is not complete (%s); going back to the save before it", p.at, why.text);
    }
    genet__free(steps);
    return ok;
}

/* Saves after `step` are not whole: they go. */
static bool drop_damaged(const char *folder, int64_t step, genet_err *err)
{
    int64_t *steps;
    int n;
    bool ok = list_steps(folder, &steps, &n, err);
    for (int i = 0; ok && i < n && steps[i] > step; i++) ok = drop_save(folder, steps[i], err);
    genet__free(steps);
    return ok;
}

/* Weights on top tell that a save was whole once: starting over would write over
 * the model. */
bool genet__save_newest(const char *folder, int64_t *step, const log_sink *log, genet_err *err)
{
    path top;
    TRY(newest(folder, step, log, err));
    bool adapter = genet__file_exists_in(folder, ADAPTER_FILE);
    TRY(path_set(&top, err, "%s/%s", folder, adapter ? ADAPTER_FILE : weights_file));
    if (*step < 0 && genet__file_exists(top.at))
        return genet__err_set(err, GENET_ERR_FORMAT,
                              "every save in %s/training is damaged or gone, so training cannot go on; "
                              "%s is untouched.  Put a save back, or begin a new run with another --out", folder, top.at);
    TRY(clear_leftovers(folder, err));
    return drop_damaged(folder, *step, err);
}

bool genet__save_last(const char *folder, int64_t *step, genet_err *err) { return newest(folder, step, NULL, err); }

/* Those of the latest start come first: what was renewed then holds. */
json_t *genet__save_settings(const char *folder, genet_err *err)
{
    path p;
    int64_t step;
    if (!path_set(&p, err, "%s/training/%s", folder, settings_file)) return NULL;
    if (genet__file_exists(p.at)) return genet__json_read(p.at, JSON_BYTES, err);
    if (!newest(folder, &step, NULL, err)) return NULL;
    if (step >= 0 && step_path(&p, folder, step, "/settings.json", err)) return genet__json_read(p.at, JSON_BYTES, err);
    genet__err_set(err, GENET_ERR_USAGE, "there is no run in %s to resume: it has no training/settings.json", folder);
    return NULL;
}

/* --- state ------------------------------------------------------------------------------ */

/* JSON has no infinities: none is null. */
static json_t *real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

/* state.json: all that a save holds beside tensors and settings. */
static json_t *state_to_json(const save_state *s)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}",
                     "step", (json_int_t)s->step, "updates", (json_int_t)s->updates, "bad_steps", (json_int_t)s->bad_steps,
                     "best_step", (json_int_t)s->best_step, "evals_since_best", (json_int_t)s->evals_since_best,
                     "best_loss", real(s->best_loss), "time_s", s->time_s, "val_loss", real(s->score.loss),
                     "perplexity", real(s->score.perplexity), "bits_per_byte", real(s->score.bits_per_byte),
                     "accuracy", real(s->score.accuracy), "bleu", real(s->score.bleu),
                     "macro_f1", real(s->score.macro_f1), "margin", real(s->score.margin), "val_count", (json_int_t)s->score.count);
}

/* Absent or null: none. */
static double real_of(const json_t *j, const char *key, double none)
{
    const json_t *x = json_object_get(j, key);
    return json_is_number(x) ? json_number_value(x) : none;
}

static bool state_from_json(const json_t *j, const char *where, save_state *s, genet_err *err)
{
    struct { const char *key; int64_t *at; } numbers[] = {
        { "step", &s->step }, { "updates", &s->updates }, { "bad_steps", &s->bad_steps },
        { "best_step", &s->best_step }, { "evals_since_best", &s->evals_since_best }, { "val_count", &s->score.count },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        TRY(genet__json_int(j, numbers[i].key, where, numbers[i].at, NULL, err));
    s->best_loss = real_of(j, "best_loss", HUGE_VAL);
    s->time_s = real_of(j, "time_s", 0);
    s->score.loss = real_of(j, "val_loss", NAN);
    s->score.perplexity = real_of(j, "perplexity", NAN);
    s->score.bits_per_byte = real_of(j, "bits_per_byte", NAN);
    s->score.accuracy = real_of(j, "accuracy", NAN);
    s->score.bleu = real_of(j, "bleu", NAN);
    s->score.macro_f1 = real_of(j, "macro_f1", NAN);
    s->score.margin = real_of(j, "margin", NAN);
    return true;
}

/* The best save may have been taken away by hand: then there is no best yet. */
static bool check_best(const train_job *job, save_state *s, genet_err *err)
{
    path p;
    TRY(step_path(&p, job->options->out, s->best_step, "/" WEIGHTS_FILE, err));
    if (s->best_step <= 0 || genet__file_exists(p.at)) return true;
    genet__log(job->log, LOG_WARN, "the best save, step %lld, is gone: looking for a new best", (long long)s->best_step);
    s->best_step = 0;
    s->best_loss = HUGE_VAL;
    return true;
}

bool genet__save_read(const train_job *job, int64_t step, save_state *s, genet_err *err)
{
    path p;
    TRY(step_path(&p, job->options->out, step, "/" WEIGHTS_FILE, err));
    TRY(genet__weights_read(job->params, PARAM_WEIGHT | PARAM_BUFFER, p.at, NULL, err));
    TRY(step_path(&p, job->options->out, step, "/optimizer.safetensors", err));
    TRY(genet__weights_read(job->params, PARAM_OPTIMISER, p.at, NULL, err));
    TRY(step_path(&p, job->options->out, step, "/state.json", err));
    json_t *j = genet__json_read(p.at, JSON_BYTES, err);
    bool ok = j && state_from_json(j, p.at, s, err);
    json_decref(j);
    TRY(ok);
    if (s->step != step) return genet__err_set(err, GENET_ERR_FORMAT, "%s is of another step", p.at);
    return check_best(job, s, err);
}

/* --- writing ------------------------------------------------------------------------------ */

/* Last of all files: it vouches for the others. */
static bool write_manifest(const char *save, genet_err *err)
{
    path p;
    json_t *files = json_object(), *all = json_pack("{s:i, s:o}", "version", 1, "files", files);
    bool ok = all || genet__err_memory(err);
    for (int i = 0; ok && i < N_SAVED; i++) {
        uint32_t crc;
        int64_t size;
        ok = path_set(&p, err, "%s/%s", save, saved_files[i]) && genet__file_crc32(p.at, &crc, &size, err);
        json_t *entry = ok ? json_pack("{s:I, s:I}", "size_bytes", (json_int_t)size, "crc32", (json_int_t)crc) : NULL;
        if (ok && json_object_set_new(files, saved_files[i], entry)) ok = genet__err_memory(err);
    }
    ok = ok && path_set(&p, err, "%s/%s", save, manifest_file) && genet__json_write(p.at, all, err);
    json_decref(all);
    return ok;
}

/* Each file is synced by its writer; the folder, with the names, at the end. */
static bool write_files(const train_job *job, const save_state *s, const char *save, genet_err *err)
{
    path p;
    TRY(path_set(&p, err, "%s/%s", save, weights_file));
    TRY(genet__weights_write(job->params, PARAM_WEIGHT | PARAM_BUFFER, p.at, NULL, err));
    TRY(path_set(&p, err, "%s/%s", save, optimiser_file));
    TRY(genet__weights_write(job->params, PARAM_OPTIMISER, p.at, NULL, err));
    TRY(path_set(&p, err, "%s/%s", save, settings_file));
    TRY(genet__json_write(p.at, job->settings, err));
    TRY(path_set(&p, err, "%s/%s", save, state_file));
    json_t *state = state_to_json(s);
    bool ok = state ? genet__json_write(p.at, state, err) : genet__err_memory(err);
    json_decref(state);
    TRY(ok);
    TRY(write_manifest(save, err));
    return genet__file_sync_dir(save, err);
}

/* Saves beyond the limit, but never the best. */
static bool drop_old(const train_job *job, const save_state *s, genet_err *err)
{
    int64_t *steps;
    int n;
    bool ok = list_steps(job->options->out, &steps, &n, err);
    for (int i = 0; ok && i < n; i++)
        if (i >= job->options->save_total_limit && steps[i] != s->best_step)
            ok = drop_save(job->options->out, steps[i], err);
    genet__free(steps);
    return ok;
}

/* The step whose weights belong on top. */
static int64_t published(const train_job *job, const save_state *s)
{
    return !strcmp(job->options->keep, "best") && s->best_step > 0 ? s->best_step : s->step;
}

bool genet__save_publish(const train_job *job, const save_state *s, genet_err *err)
{
    path from, to;
    TRY(step_path(&from, job->options->out, published(job, s), "/" WEIGHTS_FILE, err));
    TRY(path_set(&to, err, "%s/%s", job->options->out, job->params->lora ? ADAPTER_FILE : weights_file));
    return genet__file_copy(from.at, to.at, err);
}

/* From here on the save is either there whole or not there: the rename decides. */
bool genet__save_write(const train_job *job, const save_state *s, genet_err *err)
{
    path tmp, final;
    TRY(step_path(&tmp, job->options->out, s->step, ".tmp", err));
    TRY(step_path(&final, job->options->out, s->step, "", err));
    if (genet__file_exists(final.at)) TRY(drop_save(job->options->out, s->step, err));
    TRY(genet__file_remove_tree(tmp.at, err));
    TRY(genet__file_make_dirs(tmp.at, err));
    if (!write_files(job, s, tmp.at, err) || !genet__file_rename(tmp.at, final.at, err)) {
        genet__file_remove_tree(tmp.at, NULL);
        return genet__err_prefix(err, "the save of step %lld failed; earlier saves are untouched: ", (long long)s->step);
    }
    if (published(job, s) == s->step) TRY(genet__save_publish(job, s, err));
    return drop_old(job, s, err);
}
