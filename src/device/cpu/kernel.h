/* kernel.h - what every k_<family>.c includes.  A kernel file is compiled once
 * for each table with REAL (float, double) and SUFFIX (plain, avx2, avx512,
 * amx, f64) defined; K(name) is the name with the suffix, every symbol that is not
 * static goes through it. */
#ifndef GENET_DEVICE_CPU_KERNEL_H
#define GENET_DEVICE_CPU_KERNEL_H
#include <assert.h>
#include <math.h>
#include <string.h>
#include "device/device.h"

#ifndef REAL
#define REAL float
#define SUFFIX plain
#endif
typedef REAL real;
#define KCAT_(a, b) genet__##a##_##b
#define KCAT(a, b)  KCAT_(a, b)
#define K(name)     KCAT(name, SUFFIX)

/* The bytes of a vector register of this build; 16 for plain. */
#if defined(__AVX512F__)
enum { VEC_BYTES = 64 };
#elif defined(__AVX2__)
enum { VEC_BYTES = 32 };
#else
enum { VEC_BYTES = 16 };
#endif
enum { VEC_LANES = VEC_BYTES / (int)sizeof(real) };

/* Run a program of l (none: nothing) on flat elements [start, start + n) of its
 * space, and on as many from each of rows - 1 further places, `step` apart.  local:
 * EW_LOCAL_BYTES of scratch. (k_elementwise.c) */
enum { EW_LOCAL_BYTES = EW_MAX_TEMP * EW_BLOCK * 8 };
void K(ew_rows)(const launch *l, const ew_program *p, int64_t start, int64_t rows, int64_t n, int64_t step, char *local);
static inline void K(ew_program)(const launch *l, const ew_program *p, int64_t start, int64_t n, char *local)
{
    K(ew_rows)(l, p, start, 1, n, n, local);
}
/* What follows the kernel: its epilogue. */
static inline void K(ew_run)(const launch *l, int64_t start, int64_t n, char *local)
{
    K(ew_program)(l, l->program, start, n, local);
}

static inline int64_t operand_numel(const operand *o)
{
    int64_t n = 1;
    for (int i = 0; i < o->rank; i++) n *= o->dim[i];
    return n;
}
static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t min_i64(int64_t a, int64_t b)  { return a < b ? a : b; }
static inline int64_t max_i64(int64_t a, int64_t b)  { return a > b ? a : b; }
#endif
