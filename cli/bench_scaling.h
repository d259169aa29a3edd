/* bench_scaling.h - the part of `genet bench` that shows how speed grows with threads. */
#ifndef GENET_CLI_BENCH_SCALING_H
#define GENET_CLI_BENCH_SCALING_H
#include <stdbool.h>
#include "genet/genet.h"

/* most: threads; picture: a file for the curves, or NULL. */
typedef struct bench_scaling { int most; bool json; const char *picture; } bench_scaling;

/* Printed, a line for each number of threads. */
bool cli_bench_scaling(const bench_scaling *o, genet_err *err);
#endif
