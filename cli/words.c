/* words.c - numbers for people, errors, and the progress of a run. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/str.h"
#include "cli.h"

/* --- numbers ---------------------------------------------------------------------- */

/* Powers of 1000, for counts and speeds. */
void cli_count_text(char out[32], double n)
{
    static const char *const unit[] = { "", " k", " M", " G", " T", " P" };
    int i = 0;
    for (; fabs(n) >= 999.5 && i < 5; i++) n /= 1000;
    snprintf(out, 32, i ? "%.3g%s" : "%.0f%s", n, unit[i]);
}

/* Powers of 1024, for memory. */
void cli_bytes_text(char out[32], double n)
{
    static const char *const unit[] = { " bytes", " KiB", " MiB", " GiB", " TiB", " PiB" };
    int i = 0;
    for (; n >= 1024 && i < 5; i++) n /= 1024;
    snprintf(out, 32, i ? "%.1f%s" : "%.0f%s", n, unit[i]);
}

/* m:ss, and h:mm:ss from an hour on. */
void cli_time_text(char out[32], double seconds)
{
    long long s = (long long)(seconds > 0 ? seconds + 0.5 : 0);
    if (s < 3600) snprintf(out, 32, "%lld:%02lld", s / 60, s % 60);
    else snprintf(out, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

/* --- errors and notes ----------------------------------------------------------------- */

/* All errors leave through here. */
int cli_fail(const verb *v, const genet_err *err)
{
    fprintf(stderr, "genet%s%s: %s\n", v ? " " : "", v ? v->name : "", err->text);
    if (v && err->code == GENET_ERR_USAGE) fprintf(stderr, "genet %s --help tells more\n", v->name);
    return err->code == GENET_ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

int cli_print(const verb *v, const char *text, size_t n)
{
    genet_err err;
    if (fwrite(text, 1, n, stdout) == n && !fflush(stdout)) return EXIT_DONE;
    err.code = GENET_ERR_IO;
    snprintf(err.text, sizeof err.text, "standard output could not be written");
    return cli_fail(v, &err);
}

static void show_log(void *user, log_level level, const char *text)
{
    (void)user;
    if (level == LOG_DEBUG) return;
    /* on a terminal the progress line gives way */
    fprintf(stderr, "%s%s%s\n", isatty(2) ? "\r\033[K" : "", level == LOG_WARN ? "warning: " : "", text);
}
const log_sink cli_log = { show_log, NULL };

/* --- progress ------------------------------------------------------------------------- */

/* Without a terminal at stderr, lines are plain and only logged steps are shown. */
void cli_progress_init(progress *p)
{
    struct winsize size;
    *p = (progress){ .terminal = isatty(2), .width = 80 };
    if (p->terminal && !ioctl(2, TIOCGWINSZ, &size) && size.ws_col > 20) p->width = size.ws_col;
}

void cli_progress_clear(progress *p)
{
    if (p->terminal) fputs("\r\033[K", stderr);
}

/* "step 250/2000  loss 2.1034  lr 0.00098  norm 0.81  24 k tokens/s  0:45 left" */
static void step_text(const train_event *e, str *s)
{
    char speed[32], left[32];
    cli_count_text(speed, e->units_per_s);
    cli_time_text(left, e->left_s);
    genet__str_printf(s, "step %lld/%lld  loss %.4f  lr %.3g  norm %.3g", (long long)e->step, (long long)e->max_steps,
                      e->loss,
                      e->learning_rate, e->grad_norm);
    if (e->units_per_s > 0) genet__str_printf(s, "  %s %s/s  %s left", speed, e->unit, left);
}

/* "step 250  val_loss 2.05  perplexity 7.8  bits_per_byte 2.96  (best so far)" */
static void score_text(const train_event *e, str *s)
{
    genet__str_printf(s, "step %lld  val_loss %.4f", (long long)e->step, e->score.loss);
    if (e->scores & SCORE_PERPLEXITY) genet__str_printf(s, "  perplexity %.4g", e->score.perplexity);
    if (e->scores & SCORE_BITS_PER_BYTE) genet__str_printf(s, "  bits_per_byte %.4f", e->score.bits_per_byte);
    if (e->scores & SCORE_ACCURACY) genet__str_printf(s, "  accuracy %.4f", e->score.accuracy);
    if (e->scores & SCORE_BLEU) genet__str_printf(s, "  bleu %.2f", e->score.bleu);
    if (e->scores & SCORE_MACRO_F1) genet__str_printf(s, "  macro_f1 %.4f", e->score.macro_f1);
    if (e->scores & SCORE_MARGIN) genet__str_printf(s, "  margin %.4f", e->score.margin);
    if (e->best_step == e->step) genet__str_add(s, "  (best so far)");
}

/* At most ten times a second: the terminal is slower than small models. */
static void renew_line(progress *p, const train_event *e)
{
    double now = genet__now_s();
    if (now - p->shown_s < 0.1 && e->step != e->max_steps) return;
    p->shown_s = now;
    str s = {0};
    step_text(e, &s);
    fprintf(stderr, "\r\033[K%.*s", p->width - 1, genet__str(&s));
    genet__str_release(&s);
}

/* The progress line gives way to whole lines. */
void cli_progress(void *user, const train_event *e)
{
    progress *p = user;
    str s = {0};
    char count[32], bytes[32];
    if (e->kind == TRAIN_BEGIN) {
        cli_count_text(count, (double)e->weights);
        cli_bytes_text(bytes, (double)e->bytes);
        genet__str_printf(&s, "%s weights, %s of memory, steps %lld to %lld", count, bytes, (long long)e->step + 1,
                          (long long)e->max_steps);
    } else if (e->kind == TRAIN_STEP && p->terminal) renew_line(p, e);
    else if (e->kind == TRAIN_STEP && e->logged) step_text(e, &s);
    else if (e->kind == TRAIN_EVAL) score_text(e, &s);
    if (s.n) {
        cli_progress_clear(p);
        fprintf(stderr, "%s\n", s.at);
    }
    genet__str_release(&s);
}
