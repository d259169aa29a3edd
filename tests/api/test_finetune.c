/* labels: core
 * test_finetune.c - fine-tuning a folder that transformers wrote (tests/golden/
 * gpt2, tools/golden.py): `train lm --from` on given batches makes PyTorch's 20
 * losses, and the folder it writes opens again and goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "format/safetensors.h"
#include "genet/model.h"
#include "golden/golden.h"

enum { STEPS = 20 };
static char out[250];
static double losses[STEPS], norms[STEPS];
static genet_err err;

static bool keep(void *user, const genet_step *s)
{
    (void)user;
    if (s->step < 1 || s->step > STEPS) return true;
    losses[s->step - 1] = s->loss;
    norms[s->step - 1] = s->grad_norm;
    return true;
}

static bool tune(genet_device *d, const char *from, const char *to)
{
    static const char *const set[][2] = {
        { "max_steps", "20" }, { "batch_size", "4" }, { "learning_rate", "1e-3" }, { "lr_schedule", "constant" }, { "warmup_steps", "0" },
        { "beta1", "0.9" }, { "beta2", "0.99" }, { "weight_decay", "0.1" }, { "max_grad_norm", "1.0" }, { "eval_steps", "0" },
        { "save_steps", "0" },
    };
    genet_options *o = genet_options_new("train lm", &err);
    bool ok = o && genet_options_set(o, "from", from, &err) && genet_options_set(o, "out", to, &err) &&
              genet_options_set(o, "batches", golden_path("gpt2/batches.npy"), &err);
    for (size_t i = 0; ok && i < sizeof set / sizeof *set; i++) ok = genet_options_set(o, set[i][0], set[i][1], &err);
    ok = ok && genet_train(o, d, keep, NULL, &err);
    genet_options_free(o);
    return ok;
}

/* The bar is 1e-3; rounding alone stays far below. */
static void test_losses(void **state)
{
    (void)state;
    safetensors golden;
    double want[STEPS];
    genet_device *d = genet_device_cpu(2, &err);
    snprintf(out, sizeof out, "%s/genet-tune-%ld", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (long)getpid());
    if (!tune(d, golden_path("gpt2"), out)) fail_msg("%s", err.text);
    assert_true(genet__safetensors_open(&golden, golden_path("gpt2/golden.safetensors"), &err));
    for (int k = 0; k < 2; k++) {
        const safetensor *t = genet__safetensors_find(&golden, k ? "grad_norms" : "losses");
        assert_true(t && t->dtype == GENET_F64 && t->numel == STEPS);
        memcpy(want, t->at, sizeof want);
        for (int i = 0; i < STEPS; i++) {
            double got = k ? norms[i] : losses[i];
            if (!(fabs(got - want[i]) <= 1e-5 * fabs(want[i]))) fail_msg("step %d: %s %.9g, PyTorch %.9g", i + 1, k ? "norm" : "loss", got, want[i]);
        }
    }
    genet__safetensors_close(&golden);
    /* what was written is a model like the one it came from: the first loss goes on falling */
    double first = losses[0];
    char again[300];
    snprintf(again, sizeof again, "%s-again", out);
    if (!tune(d, out, again)) fail_msg("%s", err.text);
    assert_true(losses[0] < first - 0.1);
    assert_true(genet__file_remove_tree(out, &err) && genet__file_remove_tree(again, &err));
    genet_device_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_losses) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
