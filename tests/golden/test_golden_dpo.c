/* labels: core
 * test_golden_dpo.c - direct preference optimisation as PyTorch computes it (tools/golden_dpo.py): log-probabilities of the
 * reference, and 20 steps of a whole model and of an adapter. */
#include "golden/run.h"
#include "model/adapter.h"
#include "task/tune_rows.h"

enum { PAIRS = 2, PROMPT = 5, LENGTH = 16 };
static const int said_tokens[] = { 12, 9 };
static const double beta = 0.1;

typedef struct preferences {
    run      r;
    tensor  *x, *target, *said, *reference;
    double   smoothing;
    int32_t  ids[2 * PAIRS][LENGTH + 1];
    uint8_t  flags[2 * PAIRS][LENGTH + 1];
    example  row[2 * PAIRS];
} preferences;

/* The pairs of a step, as the script cuts them: chosen rows first. */
static void cut_pairs(preferences *p, int64_t step)
{
    for (int64_t row = 0; row < 2 * PAIRS; row++) {
        int64_t b = row % PAIRS, k = row / PAIRS;
        int n = PROMPT + said_tokens[k];
        for (int i = 0; i < n; i++) {
            p->ids[row][i] = token_of_file(&p->r, step, 2 * b + (i < PROMPT ? 0 : k), i);
            p->flags[row][i] = i >= PROMPT;
        }
        p->row[row] = (example){ p->ids[row], p->flags[row], n, said_tokens[k], 0 };
    }
}

static bool build_loss(void *user, net *n, int64_t rows, tensor **loss_sum, tensor **count, genet_err *err)
{
    preferences *p = user;
    (void)err;
    n->training = false;
    p->x = genet_input(n->graph, "x", GENET_I32, GENET_DIMS(rows, LENGTH));
    p->target = genet_input(n->graph, "target", GENET_I32, GENET_DIMS(rows, LENGTH));
    p->said = genet_input(n->graph, "said", GENET_F32, GENET_DIMS(rows, LENGTH));
    p->reference = genet_input(n->graph, "reference", GENET_F32, GENET_DIMS(rows / 2));
    tensor *logits = genet__model_forward(p->r.m, n, &(model_inputs){ .x = p->x });
    n->training = true;
    tensor *loss = genet__dpo_loss(genet__row_log_probabilities(logits, p->target, p->said), p->reference, beta, p->smoothing);
    *loss_sum = genet_sum(loss, genet_axes_all(loss), false);
    *count = genet_full(n->graph, GENET_F32, PAIRS, 0, NULL);
    return true;
}

static bool feed_pairs(void *user, genet_plan *plan, int64_t step, int64_t micro, genet_err *err)
{
    preferences *p = user;
    int32_t x[2 * PAIRS * LENGTH], target[2 * PAIRS * LENGTH];
    float said[2 * PAIRS * LENGTH], difference[PAIRS];
    const safetensor *was = get(&p->r, "reference", "");
    (void)micro;
    cut_pairs(p, step);
    for (int i = 0; i < 2 * PAIRS; i++)
        genet__tune_row(&p->row[i], LENGTH, x + i * LENGTH, target + i * LENGTH, said + i * LENGTH);
    for (int b = 0; b < PAIRS; b++)
        difference[b] = (float)(element(was, (step * PAIRS + b) * 2) - element(was, (step * PAIRS + b) * 2 + 1));
    return genet_plan_write(plan, p->x, x, sizeof x, err) && genet_plan_write(plan, p->target, target, sizeof target, err) &&
           genet_plan_write(plan, p->said, said, sizeof said, err) && genet_plan_write(plan, p->reference, difference, sizeof difference, err);
}

static void open_preferences(preferences *p, const char *file, double smoothing)
{
    *p = (preferences){ .smoothing = smoothing };
    open_run(&p->r, file, 2 * PAIRS, LENGTH);
    OK(&p->r, genet__npy_open(&p->r.batches, golden_path("gpt2/batches.npy"), &p->r.err));
    p->r.what = (train_job){ .user = p, .build = build_loss, .feed = feed_pairs };
}

static void test_reference(void **state)
{
    preferences p;
    row_scorer s;
    row_score got[2 * PAIRS];
    const example *at[2 * PAIRS];
    const int64_t T[] = { 16, 13 };         /* chosen answers go through the first, rejected ones through the second */
    (void)state;
    open_preferences(&p, "dpo/whole.safetensors", 0);
    OK(&p.r, p.r.m = genet__model_open(golden_path("gpt2"), p.r.device, MODEL_READ_F32, &p.r.err));
    OK(&p.r, genet__row_scorer_build(&s, p.r.m, T, 2, GENET_F32, &p.r.err));
    OK(&p.r, genet__row_scorer_attach(&s, p.r.m, p.r.space, &p.r.err));
    for (int step = 0; step < STEPS; step++) {
        cut_pairs(&p, step);
        for (int i = 0; i < 2 * PAIRS; i++) at[i] = &p.row[i];
        OK(&p.r, genet__row_scorer_run(&s, at, 2 * PAIRS, got, NULL, &p.r.err));
        for (int i = 0; i < 2 * PAIRS; i++) {
            double want = element(get(&p.r, "reference", ""), (step * PAIRS + i % PAIRS) * 2 + i / PAIRS);
            if (!(fabs(got[i].log_p - want) < 1e-4)) fail_msg("step %d, row %d: %.9g, not %.9g", step, i, got[i].log_p, want);
            assert_int_equal(got[i].said, said_tokens[i / PAIRS]);
        }
    }
    genet__row_scorer_release(&s);
    close_run(&p.r);
}

static void test_whole(void **state)
{
    preferences p;
    (void)state;
    open_preferences(&p, "dpo/whole.safetensors", 0);
    OK(&p.r, p.r.m = genet__model_open(golden_path("gpt2"), p.r.device, MODEL_WRITABLE, &p.r.err));
    prepare_steps(&p.r, false);
    free(steps_of(&p.r));
    close_run(&p.r);
}

static void test_adapter(void **state)
{
    preferences p;
    (void)state;
    open_preferences(&p, "dpo/adapter.safetensors", 0.1);
    model *base = genet__model_open(golden_path("gpt2"), p.r.device, MODEL_READ_F32, &p.r.err);
    OK(&p.r, base);
    OK(&p.r, p.r.m = genet__adapter_open(base, true, golden_path("lora/gpt2"), &p.r.err));
    prepare_steps(&p.r, false);
    free(steps_of(&p.r));
    close_run(&p.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_reference), cmocka_unit_test(test_whole), cmocka_unit_test(test_adapter) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
