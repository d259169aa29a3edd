/* bench_model.h - the part of `genet bench` that times a language model. */
#ifndef GENET_CLI_BENCH_MODEL_H
#define GENET_CLI_BENCH_MODEL_H
#include <stdbool.h>
#include <stdint.h>
#include "genet/genet.h"

enum { BENCH_MOST = 1000 };     /* repetitions */
typedef struct bench_model {
    int64_t prompt_tokens, new_tokens, repetitions;
    bool json;
    const char *trace;          /* file for what each thread did when, or NULL */
} bench_model;

/* Medians of tokens a second, and where the time goes; printed. */
bool cli_bench_model(const char *folder, genet_device *d, const bench_model *o, genet_err *err);
#endif
