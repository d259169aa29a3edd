/* loop.c - from the first step to the last: step, evaluate, log, save, stop.
 *
 * All that a step depends on is its number, the seed, the weights and the
 * optimiser's state, and all of that is in a save; the clock only enters the
 * metrics.  So a resumed run repeats the uninterrupted one bit for bit. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/str.h"
#include "train/save.h"
#include "train/step.h"

enum { MAX_BAD_STEPS = 5 };

/* Everything between the first step and the last.  What must survive a kill
 * stands in `at`; the rest can be found again. */
typedef struct loop {
    const train_job *job;
    const train_options *o;
    train_step  step[TRAIN_SHAPES];         /* of each shape of batches */
    int         n_shapes;
    save_state  at;
    metrics     metrics;
    tensorboard tensorboard;
    train_event event;
    int64_t     max_steps, saved_step;      /* saved_step: of the newest save, -1 */
    bool        bad_score;                  /* the latest evaluation was not finite */
    double      started_s, untimed_s;       /* since the last speed: begin, and time not spent on steps */
    int64_t     started_step;
    double      run_started_s, time_before_s;
    int         lock;                       /* keeps other runs out of the folder */
} loop;

/* Fill in what every event says, and pass it on. */
static void tell(loop *l, train_event_kind kind)
{
    train_event *e = &l->event;
    e->kind = kind;
    e->step = l->at.step;
    e->score = l->at.score;
    e->best_loss = l->at.best_loss;
    e->best_step = l->at.best_step;
    e->time_s = l->time_before_s + genet__now_s() - l->run_started_s;
    if (l->job->watch) l->job->watch(l->job->watcher, e);
}

/* --- memory ------------------------------------------------------------------------ */

/* Plans take turns in one workspace: the largest counts. */
static void cost_of(const train_job *job, const train_step *s, train_cost *out)
{
    const params *p = job->params;
    *out = (train_cost){ .flops = s->info.flops * (double)s->accumulation + s->update_info.flops,
                         .bytes = s->info.bytes * (double)s->accumulation + s->update_info.bytes,
                         .n_kernels = s->info.n_kernels + s->update_info.n_kernels,
                         .workspace_bytes = s->info.workspace_bytes, .weights = s->weights.start[s->weights.n] };
    if (s->update_info.workspace_bytes > out->workspace_bytes) out->workspace_bytes = s->update_info.workspace_bytes;
    if (job->eval_workspace_bytes > out->workspace_bytes) out->workspace_bytes = job->eval_workspace_bytes;
    genet__plan_work(s->plan, (double)s->accumulation, &out->work);
    if (s->update) genet__plan_work(s->update, 1, &out->work);
    out->params_bytes = genet__params_bytes(p, ~0u);
    for (int i = 0; i < p->n; i++) out->unplaced_bytes += p->at[i]->address ? 0 : p->at[i]->size_bytes;
    out->total_bytes = out->params_bytes + out->workspace_bytes + job->data_bytes;
}

bool genet__train_cost(const train_job *job, int64_t rows, int64_t accumulation, train_cost *out, genet_err *err)
{
    train_step s;
    if (job->n_shapes) job->choose(job->user, 0);
    bool ok = genet__step_build(&s, job, rows, accumulation, err);
    if (ok) cost_of(job, &s, out);
    genet__step_release(&s);
    return ok;
}

/* "1.5 GiB" */
static void bytes_text(char out[32], size_t n)
{
    double x = (double)n;
    const char *unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    int i = 0;
    for (; x >= 1024 && i < 6; i++) x /= 1024;
    snprintf(out, 32, i ? "%.1f %s" : "%.0f %s", x, unit[i]);
}

/* The largest smaller batch, of equal parts, that `available` bytes hold. */
static void advise(const train_job *job, size_t available, str *advice)
{
    int64_t rows = job->batch_rows, parts = job->options->gradient_accumulation_steps;
    for (int64_t cut = 2; cut <= rows; cut++) {
        train_cost c;
        if (rows % cut || !genet__train_cost(job, rows / cut, parts * cut, &c, NULL)) continue;
        if (c.workspace_bytes + c.unplaced_bytes + job->data_bytes > available) continue;
        genet__str_printf(advice, "--batch-size %lld with --gradient-accumulation-steps %lld would fit and learn the same",
                          (long long)(rows / cut), (long long)(parts * cut));
        return;
    }
    genet__str_add(advice, job->options->checkpoint_activations ? "no batch would fit: take a smaller model"
                   : "no smaller batch would fit: try --checkpoint-activations, or a smaller model");
}

/* Before anything is taken; an unknown limit (0) stops nobody. */
static bool check_memory(const train_job *job, const train_cost *c, genet_err *err)
{
    size_t available = genet__memory_available(), need = c->workspace_bytes + c->unplaced_bytes + job->data_bytes;
    if (!available || need <= available) return true;
    char total[32], state[32], work[32], have[32];
    str advice = {0};
    bytes_text(total, need);
    bytes_text(state, c->params_bytes);
    bytes_text(work, c->workspace_bytes);
    bytes_text(have, available);
    advise(job, available, &advice);
    genet__err_set(err, GENET_ERR_MEMORY, "training needs %s of memory (weights and optimiser %s, values of a step %s), and "
                   "%s is available; %s", total, state, work, have, genet__str(&advice));
    genet__str_release(&advice);
    return false;
}

/* --- beginning ----------------------------------------------------------------------- */

/* The newest whole save into params and state; the weights on top again, should
 * the kill have come between the two. */
static bool resume(loop *l, genet_err *err)
{
    const char *folder = l->o->out;
    int64_t newest;
    TRY(genet__save_newest(folder, &newest, l->job->log, err));     /* refuses when saves were lost */
    if (newest < 0) {
        genet__log(l->job->log, LOG_INFO, "no complete save in %s: beginning at step 0", folder);
        return true;
    }
    TRY(genet__save_read(l->job, newest, &l->at, err));
    l->saved_step = newest;
    genet__log(l->job->log, LOG_INFO, "going on from %s/training/step-%lld", folder, (long long)newest);
    return genet__save_publish(l->job, &l->at, err);
}

/* A plan for each shape of batches, the largest first. */
static bool build_steps(loop *l, genet_err *err)
{
    const train_job *job = l->job;
    l->n_shapes = job->n_shapes > 0 ? job->n_shapes : 1;
    assert(l->n_shapes <= TRAIN_SHAPES);
    for (int i = 0; i < l->n_shapes; i++) {
        if (job->n_shapes) job->choose(job->user, i);
        TRY(genet__step_build(&l->step[i], job, job->batch_rows, l->o->gradient_accumulation_steps, err));
    }
    return true;
}

/* The plan of the step to come. */
static train_step *choose_step(loop *l)
{
    const train_job *job = l->job;
    int which = job->n_shapes ? job->shape_of(job->user, l->at.step) : 0;
    if (job->n_shapes) job->choose(job->user, which);
    return &l->step[which];
}

/* In this order: what can be refused is refused before the device or the
 * disk is touched; the folder is a run from save_begin on. */
static bool begin(loop *l, genet_err *err)
{
    const train_job *job = l->job;
    train_cost cost;
    TRY(genet__train_check(l->o, err));
    if (l->max_steps < 1)
        return genet__err_set(err, GENET_ERR_USAGE, "--epochs needs training data: with --batches give --max-steps");
    if (l->o->early_stopping_patience && !job->evaluate)
        return genet__err_set(err, GENET_ERR_USAGE,
                              "--early-stopping-patience needs validation data: there is none to stop by");
    TRY(build_steps(l, err));
    cost_of(job, &l->step[0], &cost);
    TRY(check_memory(job, &cost, err));
    TRY(genet__params_place(job->params, err));
    TRY(genet__save_begin(job, &l->lock, err));
    if (l->o->resume) TRY(resume(l, err));
    TRY(genet__params_fill(job->params, err));
    for (int i = 0; i < l->n_shapes; i++) TRY(genet__step_attach(&l->step[i], job, err));
    TRY(!job->ready || job->ready(job->user, err));
    TRY(genet__metrics_open(&l->metrics, l->o->out, l->at.step, err));
    if (l->o->tensorboard) TRY(genet__tensorboard_open(&l->tensorboard, l->o->out, l->at.step, err));
    l->time_before_s = l->at.time_s;
    l->run_started_s = l->started_s = genet__now_s();
    l->started_step = l->at.step;
    l->event.weights = cost.weights;
    l->event.bytes = cost.total_bytes;
    if (genet__train_dtype(l->o) == GENET_BF16)
        genet__log(job->log, LOG_INFO, "mixed precision: products read bf16, in evaluations too; weights and optimiser are f32");
    tell(l, TRAIN_BEGIN);
    return !job->describe || job->describe(job->user, &l->event, err);
}

/* --- one step and what follows it -------------------------------------------------------- */

/* Weights are not to be trusted from the first step or score that is not
 * finite to the next that is: nothing is saved in between, so the good saves stay. */
static bool is_bad(const loop *l) { return l->at.bad_steps > 0 || l->bad_score; }

/* The run ends here; a resumed run keeps its learning rate, so a lower one is a new run. */
static bool not_finite(const loop *l, genet_err *err)
{
    char what[80] = "the validation loss was not finite";
    if (l->at.bad_steps)
        snprintf(what, sizeof what, "loss or gradient were not finite for %lld step%s in a row", (long long)l->at.bad_steps,
                 l->at.bad_steps > 1 ? "s" : "");
    if (l->saved_step < 0)
        return genet__err_set(err, GENET_ERR_GRAPH,
                              "%s, up to step %lld, and nothing was saved yet; a lower --learning-rate may "
                              "help", what, (long long)l->at.step);
    return genet__err_set(err, GENET_ERR_GRAPH,
                          "%s, up to step %lld; the last good save is %s/training/step-%lld.  A new run in "
                          "another folder with a lower --learning-rate may help", what, (long long)l->at.step, l->o->out,
                          (long long)l->saved_step);
}

/* One update, or none when it was not finite; the position in the data goes on
 * in any case. */
static bool one_step(loop *l, genet_err *err)
{
    const train_job *job = l->job;
    double lr = genet__schedule(l->o, l->max_steps, l->at.step);
    step_result r;
    train_step *now = choose_step(l);
    TRY(genet__step_run(now, job, l->at.step, l->at.updates + 1, lr, &r, err));
    if (!l->at.step && l->o->gradient_accumulation_steps == 1) TRY(genet__step_check_gradients(now, job, err));
    l->at.step++;
    l->event.loss = (double)r.loss;
    l->event.grad_norm = (double)r.grad_norm;
    l->event.learning_rate = lr;
    if (r.finite) {
        l->at.updates++;
        l->at.bad_steps = 0;
        return true;
    }
    l->at.bad_steps++;
    genet__log(job->log, LOG_WARN, "step %lld: loss %g, gradient norm %g: not finite, so nothing was changed",
               (long long)l->at.step, (double)r.loss, (double)r.grad_norm);
    return l->at.bad_steps < MAX_BAD_STEPS || not_finite(l, err);
}

/* Early stopping: so many evaluations in a row without a better one. */
static bool patience_over(const loop *l)
{
    return l->o->early_stopping_patience > 0 && l->at.evals_since_best >= l->o->early_stopping_patience;
}

/* *better: the best so far; *enough: patience is over.  Nothing is best beside
 * steps that were not finite. */
static bool evaluate(loop *l, bool *better, bool *enough, genet_err *err)
{
    double began = genet__now_s();
    TRY(l->job->evaluate(l->job->user, &l->at.score, err));
    l->bad_score = !isfinite(l->at.score.loss);
    *better = !is_bad(l) && l->at.score.loss < l->at.best_loss;
    l->at.evals_since_best = *better ? 0 : l->at.evals_since_best + 1;
    if (*better) {
        l->at.best_loss = l->at.score.loss;
        l->at.best_step = l->at.step;
    }
    *enough = patience_over(l);
    l->untimed_s += genet__now_s() - began;
    return true;
}

/* Units a second since the last time this was asked for. */
static void measure(loop *l)
{
    double now = genet__now_s(), spent = now - l->started_s - l->untimed_s;
    int64_t steps = l->at.step - l->started_step;
    if (!steps) return;
    double units = (double)(steps * l->o->gradient_accumulation_steps * l->job->batch_rows) * l->job->units_per_row;
    l->event.units_per_s = spent > 0 ? units / spent : 0;
    l->event.left_s = spent / (double)steps * (double)(l->max_steps - l->at.step);
    l->started_s = now;
    l->started_step = l->at.step;
    l->untimed_s = 0;
}

/* Metrics first: a save never knows of steps that metrics.jsonl lacks. */
static bool save(loop *l, genet_err *err)
{
    double began = genet__now_s();
    if (l->saved_step == l->at.step) return true;
    TRY(genet__metrics_sync(&l->metrics, err));
    l->at.time_s = l->time_before_s + began - l->run_started_s;
    TRY(genet__save_write(l->job, &l->at, err));
    l->saved_step = l->at.step;
    if (l->job->describe) TRY(l->job->describe(l->job->user, &l->event, err));
    tell(l, TRAIN_SAVE);
    l->untimed_s += genet__now_s() - began;
    return true;
}

/* 0 steps: never. */
static bool every(int64_t steps, int64_t step) { return steps > 0 && step % steps == 0; }

/* After a step: evaluation, log line, save.  *done: this was the last one.  A
 * stop changes nothing but that: an evaluation that is due is made, for the
 * resumed run begins after it, and no line is written that was not due. */
static bool after_step(loop *l, bool *done, genet_err *err)
{
    const train_options *o = l->o;
    int64_t step = l->at.step;
    bool better = false, enough = false;
    bool last = step >= l->max_steps;
    bool score = l->job->evaluate && (last || every(o->eval_steps, step));
    if (score) TRY(evaluate(l, &better, &enough, err));
    l->event.scored = score;
    l->event.logged = step == 1 || every(o->log_steps, step) || score || last;
    if (l->event.logged) measure(l);
    tell(l, TRAIN_STEP);
    if (l->event.logged) TRY(genet__metrics_add(&l->metrics, &l->event, score, err));
    if (l->event.logged && o->tensorboard) TRY(genet__tensorboard_add(&l->tensorboard, &l->event, score, err));
    if (score) tell(l, TRAIN_EVAL);
    *done = last || enough || (l->job->stop && *l->job->stop);      /* whoever was told may have asked for it */
    if (is_bad(l)) return !(last || enough) || not_finite(l, err);
    return !(every(o->save_steps, step) || better || *done) || save(l, err);
}

/* With what would make it go on. */
static void tell_ended(const loop *l)
{
    const char *more = l->o->epochs > 0 ? "with --epochs it cannot go on" : "a larger --max-steps goes on";
    if (l->at.step < l->max_steps)
        more = "early stopping ended it: a larger --early-stopping-patience, or 0, goes on";
    genet__log(l->job->log, LOG_INFO, "the run has ended already, at step %lld of %lld; %s", (long long)l->at.step,
               (long long)l->max_steps, more);
}

/* Stopped on request: where it goes on from. */
static bool stopped(const loop *l, genet_err *err)
{
    if (l->saved_step == l->at.step)
        return genet__err_set(err, GENET_ERR_STOPPED,
                              "stopped after step %lld of %lld and saved: resuming goes on from there",
                              (long long)l->at.step, (long long)l->max_steps);
    return genet__err_set(err, GENET_ERR_STOPPED,
                          "stopped after step %lld of %lld, which was not finite and is not saved: resuming "
                          "goes on from step %lld", (long long)l->at.step, (long long)l->max_steps,
                          (long long)(l->saved_step < 0 ? 0 : l->saved_step));
}

static bool run(loop *l, genet_err *err)
{
    bool done = l->at.step >= l->max_steps || patience_over(l);
    if (done) tell_ended(l);
    while (!done) {
        TRY(one_step(l, err));
        TRY(after_step(l, &done, err));
    }
    bool asked = l->job->stop && *l->job->stop;
    return !asked || l->at.step >= l->max_steps || patience_over(l) || stopped(l, err);
}

/* begin, run, and let go of everything in either case. */
bool genet__train(const train_job *job, train_event *last, genet_err *err)
{
    const train_options *o = job->options;
    loop l = { .job = job, .o = o, .at.best_loss = HUGE_VAL, .saved_step = -1, .metrics.fd = -1, .tensorboard.fd = -1,
               .lock = -1, .max_steps = o->epochs > 0 ? o->epochs * job->steps_per_epoch : o->max_steps };
    l.at.score = (train_score){ NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0 };
    l.event = (train_event){ .max_steps = l.max_steps, .unit = job->unit, .scores = job->scores };
    bool ok = begin(&l, err) && run(&l, err);
    if (ok) tell(&l, TRAIN_END);
    *last = l.event;
    genet__metrics_close(&l.metrics);
    genet__tensorboard_close(&l.tensorboard);
    for (int i = 0; i < l.n_shapes; i++) genet__step_release(&l.step[i]);
    if (l.lock >= 0) close(l.lock);
    return ok;
}
