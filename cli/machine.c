/* machine.c - the peak of arithmetic, by the types that are multiplied.
 *
 * Multiply-adds run in registers of the widest kind the device's instruction set has; tile registers multiply bf16 and
 * int8, and f32 as six products of bf16 parts, f32 with 16 bits as three (k_gemm_amx.c), so those rates follow from
 * that of bf16.  The best of a few rounds counts: disturbances only ever slow down. */
#include "machine.h"
#include <string.h>
#include "base/err.h"
#include "device/device.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* CHAINS independent sums hide the latency of a step (4 cycles and 2 units; three instructions of bytes: 11). */
enum { CHAINS = 12, TURNS = 1 << 16, TILE_TURNS = 1 << 14, REPEAT = 5 };
static const double least_s = 0.006;
/* Products of bf16 parts a multiply-add. */
enum { TERMS_F32 = 6, TERMS_MIXED = 3 };

#define NUMBER_LOOP(name, isa, vec, number, set, step)                          \
    isa static void name(void)                                                  \
    {                                                                           \
        vec sum[CHAINS], m = set((number)(1 / (number)2 + 1)), b = set((number)3);        \
        for (int i = 0; i < CHAINS; i++) sum[i] = set((number)(i + 1));         \
        __asm__ volatile("" : "+m"(m), "+m"(b));    /* known to nobody */       \
        for (int t = 0; t < TURNS; t++)                                         \
            _Pragma("GCC unroll 12")                                            \
            for (int i = 0; i < CHAINS; i++) sum[i] = step(sum[i], m, b);       \
        for (int i = 0; i < CHAINS; i++) __asm__ volatile("" :: "m"(sum[i]));   \
    }

typedef float vec4 __attribute__((vector_size(16)));
typedef uint16_t short8 __attribute__((vector_size(16)));       /* unsigned: it may wrap */
#define SET4(x)          ((vec4){ x, x, x, x })
#define SET8(x)          ((short8){ x, x, x, x, x, x, x, x })
#define STEP(a, m, b)    ((a) * (m) + (b))
NUMBER_LOOP(fma_plain, , vec4, float, SET4, STEP)
NUMBER_LOOP(bytes_plain, , short8, uint16_t, SET8, STEP)     /* bytes are widened there */
#if defined(__x86_64__)
#define AVX2        __attribute__((target("avx2,fma")))
#define AVX512      __attribute__((target("avx512f,avx512bw")))
#define BYTES2(a, m, b) _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_maddubs_epi16(m, a), b))
#define BYTES5(a, m, b) _mm512_add_epi32(a, _mm512_madd_epi16(_mm512_maddubs_epi16(m, a), b))
NUMBER_LOOP(fma_avx2, AVX2, __m256, float, _mm256_set1_ps, _mm256_fmadd_ps)
NUMBER_LOOP(fma_avx512, AVX512, __m512, float, _mm512_set1_ps, _mm512_fmadd_ps)
NUMBER_LOOP(bytes_avx2, AVX2, __m256i, int, _mm256_set1_epi32, BYTES2)
NUMBER_LOOP(bytes_avx512, AVX512, __m512i, int, _mm512_set1_epi32, BYTES5)

/* By name: the rest of the function must run where there is no such instruction. */
#define VNNI(a, m, b) ({ __m512i y = a; __asm__("vpdpbusd %2, %1, %0" : "+v"(y) : "v"(m), "v"(b)); y; })
NUMBER_LOOP(bytes_vnni, AVX512, __m512i, int, _mm512_set1_epi32, VNNI)

/* Four products of 16 x 16 tiles that share two tiles on each side, as in the kernel, of numbers between -2 and 2: what is
 * multiplied decides how much power a product takes, and so how fast the clock is. */
#define TILES(name, product)                                                    \
    __attribute__((target("amx-tile,amx-bf16,amx-int8"))) static void name(void) \
    {                                                                           \
        struct { uint8_t palette, zero[15]; uint16_t bytes[16]; uint8_t rows[16]; } form = { .palette = 1 };    \
        uint16_t numbers[4][512];                                               \
        for (int i = 0; i < 8; i++) form.bytes[i] = 64, form.rows[i] = 16;      \
        for (uint32_t i = 0, x = 1; i < 4 * 512; i++) {                         \
            x = x * 1664525 + 1013904223;                                       \
            numbers[i / 512][i % 512] = (uint16_t)((x >> 31) << 15 | (0x3e00 + (x >> 20) % 512));               \
        }                                                                       \
        __asm__ volatile("" ::: "memory");                                      \
        _tile_loadconfig(&form);                                                \
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);             \
        _tile_loadd(4, numbers[0], 64); _tile_loadd(5, numbers[1], 64);         \
        _tile_loadd(6, numbers[2], 64); _tile_loadd(7, numbers[3], 64);         \
        for (int t = 0; t < TILE_TURNS; t++) {                                  \
            product(0, 4, 6); product(1, 4, 7); product(2, 5, 6); product(3, 5, 7); \
        }                                                                       \
        _tile_release();                                                        \
    }
TILES(tiles_bf16, _tile_dpbf16ps)
TILES(tiles_int8, _tile_dpbssd)
#endif

/* --- loops and what they do -------------------------------------------------------- */

/* One thread's operations in a call of `run`, a multiply-add being two; NULL: none. */
typedef struct loop { void (*run)(void); double flops; } loop;
typedef struct loops { loop fma, bytes, tiles, tiles_bytes; } loops;

static double of_lanes(int lanes) { return 2.0 * lanes * CHAINS * TURNS; }

static loops choose(const char *isa)
{
#if defined(__x86_64__)
    const double tile = 2.0 * 16 * 16 * 4 * TILE_TURNS;
    bool amx = !strcmp(isa, "amx");
    if (amx || !strcmp(isa, "avx512")) {
        __builtin_cpu_init();
        bool vnni = __builtin_cpu_supports("avx512vnni");
        loops all = { { fma_avx512, of_lanes(16) }, { vnni ? bytes_vnni : bytes_avx512, of_lanes(64) },
                      { amx ? tiles_bf16 : NULL, 32 * tile }, { amx ? tiles_int8 : NULL, 64 * tile } };
        return all;
    }
    if (!strcmp(isa, "avx2")) return (loops){ { fma_avx2, of_lanes(8) }, { bytes_avx2, of_lanes(32) }, { 0 }, { 0 } };
#else
    (void)isa;
#endif
    return (loops){ { fma_plain, of_lanes(4) }, { bytes_plain, of_lanes(8) }, { 0 }, { 0 } };
}

static void run_loop(void *arg, int thread)
{
    (void)thread;
    ((const loop *)arg)->run();
}

/* Operations a second of all threads, the fastest of some runs: enough for clocks to settle and whoever spins elsewhere to
 * have gone to sleep. */
static double speed(genet_device *d, loop *l)
{
    if (!l->run) return 0;
    double best = 1e9, first = genet__now_s();
    for (int i = 0; i < REPEAT || genet__now_s() - first < least_s; i++) {
        double began = genet__now_s();
        d->share(d, run_loop, l);
        double took = genet__now_s() - began;
        if (took < best) best = took;
    }
    return l->flops * genet_device_threads(d) / best;
}

static double most(double a, double b) { return a > b ? a : b; }

/* A product may always go to the vector unit instead. */
static void measure_arithmetic(machine *m, genet_device *d)
{
    loops all = choose(genet_device_isa(d));
    double fma = speed(d, &all.fma), bytes = speed(d, &all.bytes), tiles = speed(d, &all.tiles);
    double tiles_bytes = speed(d, &all.tiles_bytes);
    m->tiles = all.tiles.run != NULL;
    double peak[GENET_ARITHMETIC_COUNT] = {
        [GENET_ARITHMETIC_OTHER] = fma,
        [GENET_ARITHMETIC_F32]   = most(fma, tiles / TERMS_F32),
        [GENET_ARITHMETIC_MIXED] = most(fma, tiles / TERMS_MIXED),
        [GENET_ARITHMETIC_BF16]  = most(fma, tiles),
        [GENET_ARITHMETIC_INT8]  = most(most(fma, bytes), most(tiles, tiles_bytes)),
    };
    for (int k = 0; k < GENET_ARITHMETIC_COUNT; k++) m->flops[k] = most(m->flops[k], peak[k]);
}

bool cli_measure(machine *m, genet_device *d, genet_err *err)
{
    *m = (machine){ .threads = genet_device_threads(d) };
    measure_arithmetic(m, d);
    TRY(cli_measure_memory(m, d, err));
    measure_arithmetic(m, d);       /* again: another program may have had a core meanwhile */
    return true;
}

/* --- shares -------------------------------------------------------------------------- */

const char *cli_arithmetic_name(genet_arithmetic kind)
{
    static const char *const name[GENET_ARITHMETIC_COUNT] = { "fma", "f32", "mixed", "bf16", "int8" };
    return name[kind];
}

double cli_bound(const machine *m, genet_arithmetic kind, double flops, double bytes, double calls, const char **limit)
{
    double flops_s = flops / m->flops[kind], bytes_s = bytes / cli_memory_speed(m, bytes / (calls > 1 ? calls : 1));
    *limit = flops_s > bytes_s ? cli_arithmetic_name(kind) : "memory";
    return flops_s > bytes_s ? flops_s : bytes_s;
}

void cli_machine_text(const machine *m, str *out)
{
    const double *f = m->flops;
    genet__str_printf(out, "%d thread%s, at most: fma (multiply-adds of f32) %.0f GFLOP/s", m->threads,
                      m->threads == 1 ? "" : "s", f[GENET_ARITHMETIC_OTHER] * 1e-9);
    if (m->tiles)
        genet__str_printf(out, "; products in tiles: f32 %.0f, mixed (f32 with 16 bits) %.0f, bf16 %.0f",
                          f[GENET_ARITHMETIC_F32] * 1e-9, f[GENET_ARITHMETIC_MIXED] * 1e-9, f[GENET_ARITHMETIC_BF16] * 1e-9);
    else genet__str_add(out, "; products of f32 and 16 bits the same");
    genet__str_printf(out, ", int8 %.0f; memory: read %.1f GB/s, triad %.1f, what fits into caches up to %.0f\n",
                      f[GENET_ARITHMETIC_INT8] * 1e-9, m->read_bytes_per_s * 1e-9, m->triad[MEMORY_SIZES] * 1e-9,
                      m->most[0] * 1e-9);
}

void cli_machine_json(const machine *m, str *out)
{
    genet__str_printf(out, "\"threads\": %d, \"peak_gflops\": {", m->threads);
    for (int k = 0; k < GENET_ARITHMETIC_COUNT; k++)
        genet__str_printf(out, "%s\"%s\": %.5g", k ? ", " : "", cli_arithmetic_name((genet_arithmetic)k), m->flops[k] * 1e-9);
    genet__str_printf(out, "}, \"read_gbytes_per_s\": %.4g, \"triad_gbytes_per_s\": %.4g, \"gbytes_per_s_of\": {",
                      m->read_bytes_per_s * 1e-9, m->triad[MEMORY_SIZES] * 1e-9);
    for (int k = 0; k < MEMORY_SIZES; k++)
        genet__str_printf(out, "%s\"%d\": %.4g", k ? ", " : "", MEMORY_LEAST << 2 * k, m->most[k] * 1e-9);
    genet__str_add(out, "}");
}
