/* table.c - the kernels of each instruction set, collected by name, and the
 * choice among them. */
#include "base/err.h"
#include "device/device.h"
#include <stdlib.h>
#include <string.h>
#ifndef GENET_ONLY_PLAIN
#include <cpuid.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Column two of ops.def says which builds have a kernel of an op. */
#define FLOAT_LEAF(name, suffix)
#define FLOAT_VIEW(name, suffix)
#define FLOAT_MOVE(name, suffix)
#define FLOAT_EWISE(name, suffix)
#define FLOAT_DEFINED(name, suffix)

#define FLOAT_FLOAT(name, suffix) extern const kernel genet__k_##name##_##suffix;
#define DECLARE(suffix)                                                          \
    extern ew_fn *const genet__ew_fns_##suffix[OP_COUNT];                        \
    extern ew_fn *const genet__ew_casts_##suffix[GENET_DTYPE_COUNT][GENET_DTYPE_COUNT]; \
    extern const kernel genet__k_elementwise_##suffix;
#define TABLE(suffix, ops)                                                       \
    const kernel_table genet__kernels_##suffix = { #suffix, ops, genet__ew_fns_##suffix, \
        genet__ew_casts_##suffix, &genet__k_elementwise_##suffix };

DECLARE(f64)
DECLARE(i32)
DECLARE(plain)
#define OP(name, kind) FLOAT_##kind(name, f64)
#include "graph/ops.def"
#undef OP
#define OP(name, kind) FLOAT_##kind(name, plain)
#include "graph/ops.def"
#undef OP
#ifndef GENET_ONLY_PLAIN
DECLARE(avx2)
DECLARE(avx512)
DECLARE(amx)
#define OP(name, kind) FLOAT_##kind(name, avx2)
#include "graph/ops.def"
#undef OP
#define OP(name, kind) FLOAT_##kind(name, avx512)
#include "graph/ops.def"
#undef OP
#define OP(name, kind) FLOAT_##kind(name, amx)
#include "graph/ops.def"
#undef OP
#endif
#undef FLOAT_FLOAT

#define FLOAT_FLOAT(name, suffix) [OP_##name] = &genet__k_##name##_##suffix,
static const kernel *const ops_f64[OP_COUNT] = {
#define OP(name, kind) FLOAT_##kind(name, f64)
#include "graph/ops.def"
#undef OP
};
static const kernel *const ops_plain[OP_COUNT] = {
#define OP(name, kind) FLOAT_##kind(name, plain)
#include "graph/ops.def"
#undef OP
};
static const kernel *const ops_none[OP_COUNT] = { 0 };
TABLE(f64, ops_f64)
TABLE(plain, ops_plain)
TABLE(i32, ops_none)
#ifndef GENET_ONLY_PLAIN
static const kernel *const ops_avx2[OP_COUNT] = {
#define OP(name, kind) FLOAT_##kind(name, avx2)
#include "graph/ops.def"
#undef OP
};
static const kernel *const ops_avx512[OP_COUNT] = {
#define OP(name, kind) FLOAT_##kind(name, avx512)
#include "graph/ops.def"
#undef OP
};
static const kernel *const ops_amx[OP_COUNT] = {
#define OP(name, kind) FLOAT_##kind(name, amx)
#include "graph/ops.def"
#undef OP
};
TABLE(avx2, ops_avx2)
TABLE(avx512, ops_avx512)
TABLE(amx, ops_amx)
#endif

#define MOVE_LEAF(name)
#define MOVE_VIEW(name)
#define MOVE_EWISE(name)
#define MOVE_DEFINED(name)
#define MOVE_FLOAT(name)
#define MOVE_MOVE(name) extern const kernel genet__k_##name##_move;
#define OP(name, kind) MOVE_##kind(name)
#include "graph/ops.def"
#undef OP
#undef MOVE_MOVE
#define MOVE_MOVE(name) [OP_##name] = &genet__k_##name##_move,
const kernel *const genet__move_kernels[OP_COUNT] = {
#define OP(name, kind) MOVE_##kind(name)
#include "graph/ops.def"
#undef OP
};

/* --- which one --------------------------------------------------------------- */

typedef struct choice { const kernel_table *table; bool here; } choice;

#ifndef GENET_ONLY_PLAIN
/* Tiles of bf16, and what the kernels beside them are compiled with.  Linux
 * saves tile registers only for a process that has asked
 * (Documentation/arch/x86/xstate.rst); asking again is fine. */
static bool has_amx(void)
{
#ifdef __linux__
    enum { XCR0_TILES = 3 << 17, FEATURE_TILE_DATA = 18, REQUEST_PERMISSION = 0x1023 };
    unsigned a, b, c, d, ignored;
    if (!__get_cpuid_count(1, 0, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(ignored) : "c"(0));
    if ((a & XCR0_TILES) != XCR0_TILES || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    bool tiles = d >> 24 & 1, tiles_bf16 = d >> 22 & 1, tiles_int8 = d >> 25 & 1, vnni = c >> 11 & 1;
    if (!tiles || !tiles_bf16 || !tiles_int8 || !vnni) return false;
    bool bf16 = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
    return bf16 && syscall(SYS_arch_prctl, REQUEST_PERMISSION, FEATURE_TILE_DATA) == 0;
#else
    return false;
#endif
}
#endif

static int choices(choice out[CPU_TABLES])
{
    int n = 0;
#ifndef GENET_ONLY_PLAIN
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    out[n++] = (choice){ &genet__kernels_amx, avx512 && has_amx() };
    out[n++] = (choice){ &genet__kernels_avx512, avx512 };
    out[n++] = (choice){ &genet__kernels_avx2, avx2 };
#endif
    out[n++] = (choice){ &genet__kernels_plain, true };
    return n;
}

int genet__cpu_tables(const kernel_table *out[CPU_TABLES])
{
    choice all[CPU_TABLES];
    int n = choices(all), n_here = 0;
    for (int i = 0; i < n; i++)
        if (all[i].here) out[n_here++] = all[i].table;
    return n_here;
}

const kernel_table *genet__cpu_table(genet_err *err)
{
    choice all[CPU_TABLES];
    int n = choices(all);
    const char *want = getenv("GENET_ISA");
    for (int i = 0; i < n; i++) {
        if (want && *want && strcmp(want, all[i].table->isa)) continue;
        if (all[i].here) return all[i].table;
        if (want && *want) {
            genet__err_set(err, GENET_ERR_USAGE, "GENET_ISA=%s: this processor, or its system, has no %s", want, want);
            return NULL;
        }
    }
    genet__err_set(err, GENET_ERR_USAGE, "GENET_ISA=%s: choose plain, avx2, avx512 or amx", want ? want : "");
    return NULL;
}
