/* squad.c - fuzz target: questions in SQuAD's JSON are refused in words, or each has its texts, its answers stand where
 * they say, and ids are all different. */
#include <stdlib.h>
#include <string.h>
#include "text/metric.h"
#include "text/squad.h"

static void check(const squad_question *q)
{
    size_t n = strlen(q->context);
    if (!q->id || !q->title || !q->question || (q->impossible && q->n_answer)) __builtin_trap();
    for (int i = 0; i < q->n_answer; i++) {
        const squad_answer *a = &q->answer[i];
        if (a->start < -1 || a->start > (int64_t)n) __builtin_trap();
        if (a->start >= 0 && strncmp(q->context + a->start, a->text, strlen(a->text))) __builtin_trap();
    }
}

/* A right answer is right; whatever is compared is between 0 and 100. */
static void score(const squad_question *q, genet_err *err)
{
    metric *m = genet__metric_new("squad_v2", &(metric_options){0}, err);
    const char *text = q->n_answer ? q->answer[0].text : "";
    if (!m || !genet__metric_add(m, text, &text, 1, err)) __builtin_trap();
    json_t *j = genet__metric_result(m, err);
    if (!j || json_number_value(json_object_get(j, "exact")) != 100) __builtin_trap();
    json_decref(j);
    genet__metric_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    genet_err err = {0};
    squad s;
    if (!genet__squad_parse(&s, (const char *)data, size, "fuzz", &err)) {
        if (strncmp(err.text, "fuzz:", 5)) __builtin_trap();
        return 0;
    }
    for (int i = 0; i < s.n; i++) check(&s.at[i]);
    if (s.n) score(&s.at[0], &err);
    genet__squad_release(&s);
    return 0;
}
