/* labels: core
 * test_golden_heads.c - decoders that classify texts and tokens as transformers computes them (tools/golden_heads.py):
 * answers of a batch of texts of different lengths, the loss, every gradient. */
#include "golden/batch.h"

static const char *const folders[][2] = {
    { "gpt2", "sequence" }, { "llama", "sequence" }, { "mistral", "sequence" }, { "qwen2", "sequence" }, { "qwen3", "sequence" },
    { "gpt2", "tokens" }, { "qwen2", "tokens" },
};
enum { FOLDERS = sizeof folders / sizeof *folders };

static void test_answers(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        batch b;
        open_batch(&b, "heads", folders[i][0], folders[i][1]);
        check_out(&b);
        close_run(&b.r);
    }
}

static void test_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        batch b;
        open_batch(&b, "heads", folders[i][0], folders[i][1]);
        check_grads(&b);
        close_run(&b.r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_answers), cmocka_unit_test(test_gradients) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
