/* metrics.c - training/metrics.jsonl: one JSON object a line, appended as the
 * run goes and cut back to the save that a resumed run begins from. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "train/save.h"

enum { MAX_FILE_BYTES = 1 << 30, LINE_BYTES = 2000 };

/* Bytes of the whole lines that belong to steps up to `step`. */
static bool good_part(const char *text, size_t n, int64_t step, size_t *good, genet_err *err)
{
    size_t at = 0;
    while (at < n) {
        genet_err why = {0};
        const char *end = memchr(text + at, '\n', n - at);
        if (!end) break;
        json_t *line = genet__json_parse(text + at, (size_t)(end - text) - at, "metrics.jsonl", &why);
        if (!line && why.code == GENET_ERR_MEMORY) return genet__err_memory(err);
        json_t *number = json_object_get(line, "step");
        bool keep = json_is_integer(number) && json_integer_value(number) <= step;
        json_decref(line);
        if (!keep) break;
        at = (size_t)(end - text) + 1;
    }
    *good = at;
    return true;
}

/* Written anew and renamed: a kill here loses nothing either. */
static bool cut(const char *path, int64_t step, genet_err *err)
{
    size_t n, keep = 0;
    char *text = genet__file_read(path, MAX_FILE_BYTES, &n, err);
    if (!text) return false;
    bool ok = good_part(text, n, step, &keep, err);
    ok = ok && (keep == n || genet__file_write_all(path, text, keep, err));
    genet__free(text);
    return ok;
}

bool genet__metrics_open(metrics *m, const char *folder, int64_t step, genet_err *err)
{
    *m = (metrics){ .fd = -1, .path = genet__path_join(folder, "training/metrics.jsonl") };
    if (!m->path) return genet__err_memory(err);
    if (genet__file_exists(m->path)) TRY(cut(m->path, step, err));
    m->fd = open(m->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    return m->fd >= 0 || genet__err_errno(err, "write", m->path);
}

void genet__metrics_close(metrics *m)
{
    if (m->path && m->fd >= 0) close(m->fd);
    genet__free(m->path);
    *m = (metrics){ .fd = -1 };
}

/* JSON has no infinities: a loss that is none is null. */
static json_t *real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

/* False: no memory. */
static bool set(json_t *line, const char *key, double x) { return !json_object_set_new(line, key, real(x)); }

/* Only what means something for this task. */
static bool add_score(json_t *line, const train_event *e)
{
    return set(line, "val_loss", e->score.loss) &&
           (!(e->scores & SCORE_PERPLEXITY) || set(line, "perplexity", e->score.perplexity)) &&
           (!(e->scores & SCORE_BITS_PER_BYTE) || set(line, "bits_per_byte", e->score.bits_per_byte)) &&
           (!(e->scores & SCORE_ACCURACY) || set(line, "val_accuracy", e->score.accuracy)) &&
           (!(e->scores & SCORE_BLEU) || set(line, "bleu", e->score.bleu)) &&
           (!(e->scores & SCORE_MACRO_F1) || set(line, "val_macro_f1", e->score.macro_f1)) &&
           (!(e->scores & SCORE_MARGIN) || set(line, "val_margin", e->score.margin));
}

/* One write a line: a torn one can only be the last. */
bool genet__metrics_add(metrics *m, const train_event *e, bool with_score, genet_err *err)
{
    char speed[40];
    snprintf(speed, sizeof speed, "%.30s_per_s", e->unit);
    json_t *line = json_pack("{s:I, s:o}", "step", (json_int_t)e->step, "loss", real(e->loss));
    bool whole = line && (!with_score || add_score(line, e)) && set(line, "learning_rate", e->learning_rate) &&
                 set(line, "grad_norm", e->grad_norm) && set(line, speed, round(e->units_per_s * 10) / 10) &&
                 set(line, "time_s", round(e->time_s * 1000) / 1000);
    char *text = whole ? json_dumps(line, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(line);
    if (!text) return genet__err_memory(err);
    char out[LINE_BYTES];           /* a dozen numbers; nothing is allocated here while steps are made */
    int n = snprintf(out, sizeof out, "%s\n", text);
    free(text);
    if (n < 1 || n >= LINE_BYTES) return genet__err_memory(err);
    return genet__file_write(m->fd, out, (size_t)n) || genet__err_errno(err, "write", m->path);
}

bool genet__metrics_sync(metrics *m, genet_err *err)
{
    return genet__file_sync(m->fd) || genet__err_errno(err, "write", m->path);
}
