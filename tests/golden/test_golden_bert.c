/* labels: core
 * test_golden_bert.c - BERT, RoBERTa and DistilBERT with every head as transformers computes them
 * (tools/golden_bert.py): answers of a batch of texts of different lengths, the loss's gradients, ten steps of learning
 * masked words. */
#include "golden/batch.h"

static const char *const names[] = { "bert", "roberta", "distilbert" };
static const char *const heads[] = { "masked", "hidden", "sequence", "tokens", "span" };
enum { FAMILIES = 3, HEADS = 5 };

static void test_answers(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES * HEADS; i++) {
        batch b;
        open_batch(&b, "bert", names[i / HEADS], heads[i % HEADS]);
        check_out(&b);
        close_run(&b.r);
    }
}

static void test_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES * HEADS; i++) {
        batch b;
        open_batch(&b, "bert", names[i / HEADS], heads[i % HEADS]);
        check_grads(&b);
        close_run(&b.r);
    }
}

static void test_steps(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        batch b;
        open_batch(&b, "bert", names[i], "masked");
        prepare_steps(&b.r, i == 0);
        free(steps_of(&b.r));
        close_run(&b.r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers), cmocka_unit_test(test_gradients), cmocka_unit_test(test_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
