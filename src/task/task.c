/* task.c - the list of tasks, and what all of them do: gather option tables,
 * settle with a run that is resumed, describe a job, write a model card. */
#include "task/task.h"
#include <math.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "train/save.h"

const task *const genet__tasks[] = {
    &genet__task_lm, &genet__task_sft, &genet__task_dpo, &genet__task_translate, &genet__task_classify, &genet__task_mlp, NULL,
};

static const task *find_task(const char *name)
{
    for (const task *const *t = genet__tasks; *t; t++)
        if (!strcmp((*t)->name, name)) return *t;
    return NULL;
}

/* --- options --------------------------------------------------------------------- */

/* A copy of the training table in which the task's own defaults stand, so
 * that --help tells them. */
static const fields *with_presets(const fields *f, const char *const *presets, arena *a)
{
    fields *copy = ARENA_NEW(a, fields);
    field *at = ARENA_ARRAY(a, field, f->n);
    if (!copy || !at) return NULL;
    memcpy(at, f->at, (size_t)f->n * sizeof *at);
    for (; presets && *presets; presets += 2)
        for (int i = 0; i < f->n; i++)
            if (!strcmp(at[i].name, presets[0])) at[i].preset = presets[1];
    *copy = (fields){ f->title, at, f->n };
    return copy;
}

/* With the list of what there is. */
static bool unknown(const char *what, genet_err *err)
{
    str known = {0};
    for (const task *const *t = genet__tasks; *t; t++) genet__str_printf(&known, " %s", (*t)->name);
    for (const family *const *f = genet__families; *f; f++)
        if (!find_task((*f)->name)) genet__str_printf(&known, " %s", (*f)->name);
    genet__err_set(err, GENET_ERR_USAGE, "there is no task or model \"%s\"; there are:%s", what, genet__str(&known));
    genet__str_release(&known);
    return false;
}

/* WHAT may be a task or a family; the order of tables is that of --help. */
bool genet__setup_init(setup *s, const char *what, const char *family_name, genet_err *err)
{
    *s = (setup){ .options.arena = &s->arena };
    s->task = find_task(what);
    if (!s->task && (s->family = genet__family_find(what))) s->task = find_task(s->family->task);
    if (!s->task) return unknown(what, err);
    if (!s->family || family_name) s->family = genet__family_find(family_name ? family_name : s->task->family);
    if (!s->family || !(s->task->takes ? s->task->takes(s->family) : !strcmp(s->family->task, s->task->name)))
        return genet__err_set(err, GENET_ERR_USAGE, "task %s has no model \"%s\"", s->task->name, family_name);
    const fields *train = with_presets(&genet__train_fields, s->task->presets, &s->arena);
    s->own = genet__arena_alloc(&s->arena, s->task->options_bytes);
    if (!train || !s->own) return genet__err_memory(err);
    if (!(s->config = genet__family_config(s->family, &s->arena, err))) return false;
    TRY(genet__options_add(&s->options, s->task->options, s->own, err));
    TRY(genet__options_add(&s->options, s->family->options, s->config, err));
    return genet__options_add(&s->options, train, &s->train, err);
}

static void unlock(setup *s)
{
    if (s->locked && s->lock >= 0) close(s->lock);
    s->locked = false;
}

void genet__setup_release(setup *s)
{
    unlock(s);
    genet__arena_release(&s->arena);
}

/* A run goes on as what it was. */
static bool settings_match(const setup *s, const json_t *j, const char *where, genet_err *err)
{
    const char *task_name, *family_name;
    TRY(genet__json_string(j, "task", where, &task_name, NULL, err));
    TRY(genet__json_string(j, "model", where, &family_name, NULL, err));
    return (!strcmp(task_name, s->task->name) && !strcmp(family_name, s->family->name)) ||
           genet__err_set(err, GENET_ERR_USAGE, "%s holds a run of %s --model %s, not of %s --model %s", where, task_name,
                          family_name, s->task->name, s->family->name);
}

static bool settle_fresh(setup *s, genet_err *err)
{
    const char *out = s->train.out;
    TRY(genet__save_refuse(out, err));
    char *training = genet__path_join(out, "training");
    if (!training) return genet__err_memory(err);
    s->had_out = genet__file_exists(out);
    s->had_training = genet__file_exists(training);
    genet__free(training);
    return s->fresh = true;
}

/* After this the options are final. */
bool genet__setup_settle(setup *s, genet_err *err)
{
    const char *out = s->train.out;
    if (!out || !*out) return genet__err_set(err, GENET_ERR_USAGE, "--out FOLDER is missing: where the model goes");
    if (!s->train.resume) return settle_fresh(s, err);
    json_t *j = genet__save_settings(out, err);
    const char *isa = j ? json_string_value(json_object_get(j, "instruction_set")) : NULL;
    s->began_on = isa ? genet__arena_strdup(&s->arena, isa) : NULL;
    bool ok = j && settings_match(s, j, out, err) &&
              genet__options_resume(&s->options, json_object_get(j, "options"), out, err) &&
              genet__options_give(&s->options, json_object_get(j, "given"), err);
    json_decref(j);
    return ok;
}

/* Ranges of single fields are checked when they are set; this is about their company. */
bool genet__setup_check(setup *s, genet_err *err)
{
    if (s->family->prepare) s->family->prepare(s->config);
    TRY(genet__train_check(&s->train, err));
    return !s->family->check || s->family->check(s->config, err);
}

/* Nothing is written before the folder is ours; what was there when the options were settled may have changed since. */
static bool lock_run(setup *s, genet_err *err)
{
    char *training = genet__path_join(s->train.out, "training");
    bool ok = training ? genet__file_make_dirs(training, err) : genet__err_memory(err);
    s->locked = ok = ok && genet__save_lock(training, &s->lock, err);
    genet__free(training);
    if (!ok || !s->fresh || genet__save_refuse(s->train.out, err)) return ok;
    return s->fresh = false;            /* another run's: nothing of it is undone */
}

bool genet__setup_train(setup *s, train_event *last, genet_err *err)
{
    genet_err why = {0};
    bool ok = lock_run(s, &why) && s->task->train(s, last, &why);
    unlock(s);
    if (ok) return true;
    if (s->fresh && why.code != GENET_ERR_STOPPED) genet__save_undo(s->train.out, !s->had_out, !s->had_training);
    if (err) *err = why;
    return false;
}

/* Another instruction set adds in another order: the same to rounding, not to
 * the bit. */
static void warn_isa(const setup *s)
{
    const char *now = genet_device_isa(s->device);
    if (s->began_on && strcmp(s->began_on, now))
        genet__log(s->log, LOG_WARN,
                   "this run began with instruction set %s and goes on with %s: results differ in their last "
                   "bits; GENET_ISA=%s keeps to the first", s->began_on, now, s->began_on);
}

bool genet__setup_job(setup *s, train_job *job, params *p, json_t **settings, genet_err *err)
{
    *settings = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "task", s->task->name, "model", s->family->name,
                          "genet_version", genet_version(), "instruction_set", genet_device_isa(s->device),
                          "given", genet__options_given(&s->options), "options", genet__options_to_json(&s->options));
    if (!*settings) return genet__err_memory(err);
    warn_isa(s);
    *job = (train_job){ .options = &s->train, .settings = *settings, .params = p, .workspace = s->workspace,
                        .locked = s->locked, .lock = s->lock, .log = s->log, .stop = s->stop, .watch = s->watch,
                        .watcher = s->watcher };
    return true;
}

/* --- the model card ------------------------------------------------------------------ */

/* Nothing about scores before the first evaluation. */
static void card_scores(str *s, const train_event *e)
{
    genet__str_printf(s, "\n## Scores\n\nAfter %lld of %lld steps", (long long)e->step, (long long)e->max_steps);
    if (!isfinite(e->best_loss)) {
        genet__str_add(s, ", not evaluated.\n");
        return;
    }
    genet__str_printf(s, ", best at step %lld:\n\n- validation loss %.4f\n", (long long)e->best_step, e->best_loss);
    genet__str_printf(s, "- at the latest evaluation %.4f", e->score.loss);
    if (e->scores & SCORE_PERPLEXITY) genet__str_printf(s, ", perplexity %.4g", e->score.perplexity);
    if (e->scores & SCORE_BITS_PER_BYTE) genet__str_printf(s, ", %.4f bits per byte", e->score.bits_per_byte);
    if (e->scores & SCORE_ACCURACY) genet__str_printf(s, ", accuracy %.4f", e->score.accuracy);
    if (e->scores & SCORE_BLEU) genet__str_printf(s, ", BLEU %.2f", e->score.bleu);
    if (e->scores & SCORE_MACRO_F1) genet__str_printf(s, ", macro F1 %.4f", e->score.macro_f1);
    if (e->scores & SCORE_MARGIN) genet__str_printf(s, ", margin %.4f", e->score.margin);
    genet__str_add(s, "\n");
}

/* What one does with a model of this task. */
static void card_usage(str *s, const setup *of, const char *tokenizer)
{
    genet__str_add(s, "\n## How to use\n\n```\n");
    if (tokenizer && of->task == &genet__task_classify) {
        genet__str_add(s, "genet classify FOLDER -p \"A text\"\ngenet classify FOLDER --input texts.jsonl\n");
        genet__str_printf(s, "```\n\nThe tokenizer (%s) is in tokenizer.json.  transformers opens the folder too:\n"
                          "`AutoModelForSequenceClassification.from_pretrained(\"FOLDER\")`.\n", tokenizer);
    } else if (tokenizer && of->family->heads->encode) {
        genet__str_add(s, "genet translate FOLDER -p \"A text\"\ngenet translate FOLDER --input texts.txt --output translations.txt\n");
        genet__str_add(s, "genet train translate --from FOLDER --data more.tsv --out NEW\n```\n");
        genet__str_printf(s, "\nThe tokenizer (%s) is in tokenizer.json.  transformers opens the folder too:\n"
                          "`%s.from_pretrained(\"FOLDER\")`.\n", tokenizer, of->family->heads->architecture);
    } else if (tokenizer) {
        genet__str_add(s, "genet generate FOLDER -p \"The \" -n 100\ngenet eval FOLDER --data text.txt\n");
        genet__str_add(s, "genet train lm --from FOLDER --data more.txt --out NEW\n```\n");
        genet__str_printf(s, "\nThe tokenizer (%s) is in tokenizer.json.  transformers opens the folder too:\n"
                          "`%s.from_pretrained(\"FOLDER\")`.\n", tokenizer, of->family->heads->architecture);
    } else {
        genet__str_add(s, "genet predict FOLDER --data new.csv\n```\n\ntable.json says how columns become numbers.\n");
    }
}

/* Of a path its last part: a card travels with the model. */
static void card_setting(str *s, const field *f, const void *object)
{
    str value = {0};
    genet__fields_text(f, object, &value);
    if (!value.n || (value.n == 2 && !strcmp(value.at, "-1"))) {      /* not set, or what the table's own rule says */
        genet__str_release(&value);
        return;
    }
    const char *slash = f->type == FIELD_STRING ? strrchr(genet__str(&value), '/') : NULL;
    genet__str_printf(s, "| %s | %s |\n", f->name, slash && slash[1] ? slash + 1 : genet__str(&value));
    genet__str_release(&value);
}

bool genet__write_card(const setup *s, const char *data, const char *tokenizer, const train_event *e, genet_err *err)
{
    str card = {0};
    genet__str_printf(&card, "---\nlibrary_name: genet\n---\n# %s trained with genet %s\n\n%s; %lld weights.\n\nData: %s\n",
                      s->family->name, genet_version(), s->family->help, (long long)e->weights, data);
    card_scores(&card, e);
    card_usage(&card, s, tokenizer);
    genet__str_add(&card, "\n## Settings\n\n| option | value |\n| --- | --- |\n");
    for (int i = 0; i < s->options.n_table; i++)
        for (int k = 0; k < s->options.table[i].fields->n; k++) {
            const field *f = &s->options.table[i].fields->at[k];
            if (f->flags & FIELD_PASSING) continue;
            if (!strcmp(f->name, "out") || !strcmp(f->name, "resume") || !strcmp(f->name, "data") ||
                !strcmp(f->name, "json")) continue;
            card_setting(&card, f, s->options.table[i].object);
        }
    char *path = genet__path_join(s->train.out, "README.md");
    bool ok = path && !card.failed ? genet__file_write_all(path, genet__str(&card), card.n, err) : genet__err_memory(err);
    genet__free(path);
    genet__str_release(&card);
    return ok;
}

/* Empty lines are no words. */
const char **genet__split_lines(const char *text, int *n, arena *a)
{
    int lines = 1;
    for (const char *p = text; *p; p++) lines += *p == '\n';
    char *copy = genet__arena_strdup(a, text);
    const char **at = ARENA_ARRAY(a, const char *, lines + 1);
    *n = 0;
    if (!copy || !at) return NULL;
    for (char *end; *copy; copy = end) {
        end = copy + strcspn(copy, "\n");
        if (*end) *end++ = 0;
        if (*copy) at[(*n)++] = copy;
    }
    return at;
}
