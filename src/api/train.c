/* train.c - a training run inside a C program: the options are those of `genet
 * train`, and a function hears of every step.
 *
 * Each run settles a copy of what was given, so that a resumed run's settings and whatever
 * a model derives from its data do not stay in the caller's options. */
#include <math.h>
#include "api/api.h"
#include "base/err.h"

typedef struct listener {
    genet_step_fn *step;
    void          *user;
    volatile sig_atomic_t stop;
} listener;

/* After false nothing more is told. */
static void hear(void *user, const train_event *e)
{
    listener *l = user;
    if (e->kind != TRAIN_STEP || !l->step || l->stop) return;
    genet_step now = { .step = e->step, .max_steps = e->max_steps, .loss = e->loss, .learning_rate = e->learning_rate,
                       .grad_norm = e->grad_norm, .time_s = e->time_s, .evaluated = e->scored,
                       .val_loss = e->score.loss };
    if (!l->step(l->user, &now)) l->stop = 1;
}

/* The library's log, as the caller's function hears it. */
static void say(void *user, log_level level, const char *text)
{
    const genet_options *o = user;
    if (level != LOG_DEBUG) o->say(o->say_to, level == LOG_WARN, text);
}

/* What was given in o, by its text. */
static bool copy_given(const options *from, options *to, genet_err *err)
{
    str text = {0};
    bool ok = true;
    for (int i = 0; ok && i < from->n_given; i++) {
        const field *f = from->given[i];
        for (int t = 0; t < from->n_table; t++)
            if (genet__fields_find(from->table[t].fields, f->name) == f) {
                genet__str_clear(&text);
                genet__fields_text(f, from->table[t].object, &text);
            }
        ok = (!text.failed || genet__err_memory(err)) && genet__options_set(to, f->name, genet__str(&text), err);
    }
    genet__str_release(&text);
    return ok;
}

/* As `genet train` does it: what can be refused is refused first. */
static bool run(setup *s, const genet_options *o, genet_device *d, listener *l, genet_err *err)
{
    train_event last;
    log_sink log = { say, (void *)o };
    TRY(genet__setup_init(s, o->setup.task->name, o->setup.family->name, err));
    TRY(copy_given(&o->setup.options, &s->options, err));
    s->stop = &l->stop;
    s->watch = hear;
    s->watcher = l;
    if (o->say) s->log = &log;
    TRY(genet__setup_settle(s, err));
    TRY(genet__setup_check(s, err));
    s->device = d;
    s->workspace = genet_workspace_new(d);
    if (!s->workspace) return genet__err_memory(err);
    return genet__setup_train(s, &last, err);
}

bool genet_train(const genet_options *o, genet_device *d, genet_step_fn *step, void *user, genet_err *err)
{
    TRY(genet__api_need(o, "options", err) && genet__api_need(d, "device", err));
    if (o->verb != API_TRAIN || !o->setup.task || !o->setup.family)
        return genet__err_set(err, GENET_ERR_USAGE, "training needs options of \"train WHAT\"");
    setup s = {0};
    listener l = { .step = step, .user = user };
    bool ok = run(&s, o, d, &l, err);
    genet_workspace_free(s.workspace);
    genet__setup_release(&s);
    return ok;
}
