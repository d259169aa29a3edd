/* machine.h - what this machine can do, measured now: the yardstick of `plan`, `bench` and `--profile`.  Arithmetic
 * (machine.c) by the types that a kernel multiplies, memory (memory.c) by how much is read again and again: a share is
 * of what nothing on this machine, with this instruction set, could pass. */
#ifndef GENET_CLI_MACHINE_H
#define GENET_CLI_MACHINE_H
#include "cli.h"

/* Sizes that memory is read at: 64 KiB, 256 KiB, ... 64 MiB; then beyond all caches. */
enum { MEMORY_SIZES = 6, MEMORY_LEAST = 64 << 10, MEMORY_MOST = MEMORY_LEAST << 2 * (MEMORY_SIZES - 1) };

struct machine {
    int    threads;
    bool   tiles;                               /* products run in tile registers */
    double flops[GENET_ARITHMETIC_COUNT];       /* operations a second */
    /* Bytes a second: the most that any of the ways of going through so much reaches, and a[i] = b[i] + x c[i]. */
    double most[MEMORY_SIZES + 1], triad[MEMORY_SIZES + 1];
    double read_bytes_per_s;                    /* reading alone, beyond the caches */
};
/* Measured with the device's threads. About 0.2 s. */
bool cli_measure(machine *m, genet_device *d, genet_err *err);
/* The part of cli_measure in memory.c. */
bool cli_measure_memory(machine *m, genet_device *d, genet_err *err);
/* Bytes a second of going through so many bytes again and again, the most and by a triad. */
double cli_memory_speed(const machine *m, double bytes);
double cli_triad_speed(const machine *m, double bytes);
/* Seconds that reading the n pieces at[i] of size[i] bytes once takes, as fast as any of several ways of reading goes. */
double cli_read_pieces(genet_device *d, const char *const *at, const size_t *size, int n);

/* Operations a second of a product (M, K) (K, N) of this kind's types, as the engine computes it. (products.c) */
bool cli_product_speed(genet_device *d, genet_arithmetic kind, const int64_t dim[3], double *flops, genet_err *err);

/* The same of causal attention (B, T, H, D); and elements a second of adding twice and GELU, three for each. */
bool cli_attention_speed(genet_device *d, const int64_t dim[4], double *flops, genet_err *err);
bool cli_member_speed(genet_device *d, double *elements, genet_err *err);

/* The least seconds that one of `calls` alike can take; *limit: "memory", or the operands' types. */
double cli_bound(const machine *m, genet_arithmetic kind, double flops, double bytes, double calls, const char **limit);
/* "fma", "f32", "mixed", "bf16", "int8" */
const char *cli_arithmetic_name(genet_arithmetic kind);
/* "2 threads, at most: multiply-adds 490 GFLOP/s; products of f32 1080, ...; memory 31.2 GB/s, triad 25.0" */
void cli_machine_text(const machine *m, str *out);
/* "peak_gflops": 490, "peaks": {...}, "read_gbytes_per_s": ...: members of a JSON object. */
void cli_machine_json(const machine *m, str *out);
#endif
