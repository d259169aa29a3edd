/* train.c - `genet train WHAT`: options to a task, progress, Ctrl-C. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"
#include "cli.h"
#include "machine.h"
#include "setup.h"

static volatile sig_atomic_t stop_asked;      /* all that a signal handler may touch */

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

/* The first Ctrl-C (or SIGTERM) saves and stops; a second one ends at once. */
static void catch_signals(void)
{
    struct sigaction a = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

/* Saved: the words that go on are ready to be copied. */
static int stopped(const setup *s, const genet_err *err)
{
    fprintf(stderr, "%s\nto go on: genet train %s --model %s --out %s --resume\n", err->text, s->task->name, s->family->name,
            s->train.out);
    return EXIT_FAILED;
}

/* "val_loss 1.8989  perplexity 6.68  ...": one line to cut and compare. */
static void as_text(str *s, const train_event *e)
{
    if (e->best_step <= 0) {
        genet__str_printf(s, "loss %.6f\n", e->loss);
        return;
    }
    genet__str_printf(s, "val_loss %.6f", e->score.loss);
    if (e->scores & SCORE_PERPLEXITY) genet__str_printf(s, "  perplexity %.5g", e->score.perplexity);
    if (e->scores & SCORE_BITS_PER_BYTE) genet__str_printf(s, "  bits_per_byte %.5f", e->score.bits_per_byte);
    if (e->scores & SCORE_ACCURACY) genet__str_printf(s, "  accuracy %.5f", e->score.accuracy);
    if (e->scores & SCORE_BLEU) genet__str_printf(s, "  bleu %.2f", e->score.bleu);
    if (e->scores & SCORE_MARGIN) genet__str_printf(s, "  margin %.5f", e->score.margin);
    genet__str_printf(s, "  best %.6f at step %lld\n", e->best_loss, (long long)e->best_step);
}

/* JSON has no infinities: none is null. */
static void add_real(str *s, const char *name, double x)
{
    if (isfinite(x)) genet__str_printf(s, ", \"%s\": %.9g", name, x);
    else genet__str_printf(s, ", \"%s\": null", name);
}

static void as_json(str *s, const train_event *e)
{
    genet__str_printf(s, "{\"step\": %lld", (long long)e->step);
    add_real(s, "loss", e->loss);
    if (e->best_step > 0) {
        add_real(s, "val_loss", e->score.loss);
        add_real(s, "best_val_loss", e->best_loss);
        genet__str_printf(s, ", \"best_step\": %lld", (long long)e->best_step);
    }
    genet__str_printf(s, ", \"time_s\": %.3f}\n", e->time_s);
}

/* The score to stdout, words about it to stderr. */
static int report(const verb *v, const cli_setup *c, const train_event *e)
{
    str text = {0};
    char time[32];
    cli_time_text(time, e->time_s);
    fprintf(stderr, "done after %lld steps in %s: the model is in %s\n", (long long)e->step, time, c->setup.train.out);
    (c->own.json ? as_json : as_text)(&text, e);
    int code = cli_print(v, genet__str(&text), text.n);
    genet__str_release(&text);
    return code;
}

/* --- profiling ---------------------------------------------------------------------- */

/* Steps FIRST.. are warm; N of them are timed, fewer where the run is shorter. */
enum { PROFILE_AFTER = 5, PROFILE_STEPS = 10 };
typedef struct watcher {
    progress       line;
    cli_setup     *c;
    genet_profile *profile;         /* NULL: none is asked for */
    machine        machine;
    int64_t        first, last;     /* steps after which it starts and ends */
    bool           done;
    genet_err      err;             /* GENET_OK: nothing went wrong */
} watcher;

/* The trace goes beside the run unless a file is named. */
static bool write_profile(watcher *w, const train_event *e, genet_err *err)
{
    char what[80];
    str text = {0};
    const char *given = w->c->profile.profile_trace;
    char *path = given ? genet__strdup(given) : genet__path_join(w->c->setup.train.out, "training/profile.json");
    snprintf(what, sizeof what, "steps %lld to %lld, each", (long long)w->first + 1, (long long)e->step);
    cli_profile_table(w->profile, &w->machine, what, (double)(e->step - w->first), &text);
    bool ok = (path && !text.failed) || genet__err_memory(err);
    cli_progress_clear(&w->line);
    if (ok) fputs(genet__str(&text), stderr);
    ok = ok && cli_profile_write(w->profile, path, err);
    if (ok) fprintf(stderr, "what each thread did when: %s\n", path);
    genet__str_release(&text);
    genet__free(path);
    return ok;
}

/* Between the end of one step and the end of another: what is between steps counts too. */
static void watch_profile(watcher *w, const train_event *e)
{
    if (e->kind == TRAIN_BEGIN) {
        int64_t left = e->max_steps - e->step, warm = left / 2 < PROFILE_AFTER ? left / 2 : PROFILE_AFTER;
        w->first = e->step + warm;
        w->last = w->first + PROFILE_STEPS < e->max_steps ? w->first + PROFILE_STEPS : e->max_steps;
        w->done = !left;
    }
    if (w->done || (e->kind != TRAIN_STEP && e->kind != TRAIN_BEGIN)) return;
    if (e->step == w->first) genet_profile_start(w->profile);
    if (e->step < w->last) return;
    genet_profile_stop(w->profile);
    if (!write_profile(w, e, &w->err)) genet__log(&cli_log, LOG_WARN, "no profile: %s", w->err.text);
    w->done = true;
}

static void watch(void *user, const train_event *e)
{
    watcher *w = user;
    if (w->profile) watch_profile(w, e);
    cli_progress(&w->line, e);
}

/* The machine is measured before anything is timed. */
static bool begin_profile(watcher *w, genet_err *err)
{
    const profile_options *o = &w->c->profile;
    TRY(cli_profile_check(o, err));
    if (!o->profile) return true;
    TRY(cli_measure(&w->machine, w->c->setup.device, err));
    return (w->profile = genet_profile_new(w->c->setup.device, err));
}

/* Refusals come before signals are caught: nothing to save yet. */
static int train(const verb *v, cli_setup *c)
{
    genet_err err;
    watcher w = { .c = c };
    train_event last = {0};
    cli_progress_init(&w.line);
    setup *s = &c->setup;
    s->log = &cli_log;
    s->stop = &stop_asked;
    s->watch = watch;
    s->watcher = &w;
    if (!genet__setup_settle(s, &err) || !genet__setup_check(s, &err) || !cli_setup_device(c, &err) ||
        !begin_profile(&w, &err)) return cli_fail(v, &err);
    catch_signals();
    bool ok = genet__setup_train(s, &last, &err);
    genet_profile_free(w.profile);
    cli_progress_clear(&w.line);
    if (ok) return report(v, c, &last);
    return err.code == GENET_ERR_STOPPED ? stopped(s, &err) : cli_fail(v, &err);
}

static int run(const verb *v, int argc, char **argv)
{
    genet_err err;
    cli_setup c;
    int code = EXIT_DONE;
    if (!cli_setup_init(&c, v, argc, argv, &err)) code = cli_fail(v, &err);
    else if (!c.helped) code = train(v, &c);
    cli_setup_release(&c);
    return code;
}

const verb cli_verb_train = { "train", "WHAT --data FILES --out FOLDER [--options]", "train a model", run };
