/* k_sort.c - topk, and so sort: the first k of each row in rising or falling
 * order, stable, NaN above everything.
 *
 * A value becomes an unsigned integer that orders as it does, with its index
 * in the low bits: all keys of a row differ, and the smallest come first.
 * Rows are scanned against the k-th best key so far; what passes is collected
 * and cut back to k by quickselect whenever the room is full, so that for
 * k << N almost every element costs one vector comparison.  Whole rows are
 * sorted digit by digit. */
#include "device/cpu/kernel.h"

/* As wide as real, and with room for an index beside. */
typedef __typeof__(__builtin_choose_expr(sizeof(real) == 4, (uint32_t)0, (uint64_t)0)) bits;
typedef __typeof__(__builtin_choose_expr(sizeof(real) == 4, (uint64_t)0, (unsigned __int128)0)) ranked;

enum { CHUNK = 64, SPARE = 256, INSERTION = 16, RADIX_MIN = 512 };

/* Monotone in x: -0 as +0, all NaN as one. */
static inline bits bits_of(real x)
{
    const bits sign = (bits)1 << (8 * sizeof(bits) - 1);
    x += 0;                                         /* -0 + 0 = +0 */
    bits u;
    memcpy(&u, &x, sizeof u);
    bits rising = u & sign ? ~u : u | sign;
    return x != x ? ~(bits)0 : rising;
}

static inline ranked ranked_of(bits b, int64_t index) { return (ranked)b << 32 | (ranked)index; }
static inline int32_t index_of(ranked r) { return (int32_t)(uint32_t)r; }

/* --- quickselect and quicksort of distinct keys ------------------------------------ */

static inline void swap(ranked *a, ranked *b) { ranked t = *a; *a = *b; *b = t; }

static void sort_few(ranked *a, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        ranked x = a[i];
        int64_t j = i;
        for (; j > 0 && a[j - 1] > x; j--) a[j] = a[j - 1];
        a[j] = x;
    }
}

/* Split n >= 3 keys in two parts that are not empty, all of the first below
 * all of the second; returns the length of the first.  The pivot is the median
 * of three places that a counter scatters, so no likely input is slow. */
static int64_t split(ranked *a, int64_t n, uint64_t *counter)
{
    int64_t place[3];
    for (int k = 0; k < 3; k++) {
        *counter = *counter * 6364136223846793005u + 1442695040888963407u;     /* Knuth's MMIX */
        place[k] = (int64_t)((*counter >> 33) % (uint64_t)n);
    }
    ranked p = a[place[0]], q = a[place[1]], r = a[place[2]];
    ranked low = p < q ? p : q, high = p < q ? q : p;
    ranked pivot = r < low ? low : r > high ? high : r;
    int64_t i = -1, j = n;
    for (;;) {
        do i++; while (a[i] < pivot);
        do j--; while (a[j] > pivot);
        if (i >= j) break;
        swap(&a[i], &a[j]);
    }
    return j + 1 < n ? j + 1 : j;
}

/* The k smallest of n to the front, in any order. */
static void select_first(ranked *a, int64_t n, int64_t k, uint64_t *counter)
{
    while (n > INSERTION && k > 0 && k < n) {
        int64_t m = split(a, n, counter);
        if (k < m) n = m;
        else a += m, n -= m, k -= m;
    }
    if (k > 0 && k < n) sort_few(a, n);
}

/* Recurs into the shorter part only: depth is at most log2 n. */
static void sort_all(ranked *a, int64_t n, uint64_t *counter)
{
    while (n > INSERTION) {
        int64_t m = split(a, n, counter);
        if (m <= n - m) {
            sort_all(a, m, counter);
            a += m;
            n -= m;
        } else {
            sort_all(a + m, n - m, counter);
            n = m;
        }
    }
    sort_few(a, n);
}

/* --- radix sort ----------------------------------------------------------------------- */

/* Keys in order of index, by the bytes of their values from the lowest: each
 * pass is stable.  Moves between a and b; returns where the result lies. */
static ranked *sort_by_bytes(ranked *a, ranked *b, int64_t n)
{
    int64_t count[sizeof(bits)][256];
    memset(count, 0, sizeof count);
    for (int64_t i = 0; i < n; i++)
        for (size_t d = 0; d < sizeof(bits); d++) count[d][(uint8_t)(a[i] >> (32 + 8 * d))]++;
    for (size_t d = 0; d < sizeof(bits); d++) {
        if (count[d][(uint8_t)(a[0] >> (32 + 8 * d))] == n) continue;       /* all alike */
        int64_t at = 0;
        for (int v = 0; v < 256; v++) {
            int64_t here = count[d][v];
            count[d][v] = at;
            at += here;
        }
        for (int64_t i = 0; i < n; i++) b[count[d][(uint8_t)(a[i] >> (32 + 8 * d))]++] = a[i];
        ranked *t = a;
        a = b;
        b = t;
    }
    return a;
}

/* --- one row ------------------------------------------------------------------------- */

static bool by_bytes(int64_t N, int64_t k) { return k == N && N >= RADIX_MIN; }

/* Room for the candidates of one row, or twice for all of them. */
static int64_t room_of(int64_t N, int64_t k)
{
    return by_bytes(N, k) ? 2 * N : min_i64(N, 2 * k + SPARE) + CHUNK;
}

static ranked *sort_row(const real *x, int64_t N, bits flip, ranked *room)
{
    for (int64_t i = 0; i < N; i++) room[i] = ranked_of(bits_of(x[i]) ^ flip, i);
    return sort_by_bytes(room, room + N, N);
}

/* Cut n candidates back to the k first; returns the key of the last of these. */
static bits cut_back(ranked *room, int64_t n, int64_t k, uint64_t *counter)
{
    ranked last = 0;
    select_first(room, n, k, counter);
    for (int64_t j = 0; j < k; j++) last = room[j] > last ? room[j] : last;
    return (bits)(last >> 32);
}

/* The k first of x in order; returns where in room. */
static ranked *first_of_row(const real *x, int64_t N, int64_t k, bool rising, ranked *room)
{
    const bits flip = rising ? 0 : ~(bits)0;
    int64_t n = 0, limit = room_of(N, k) - CHUNK;
    bits worst = ~(bits)0;          /* of k kept ones; a later equal one comes after it */
    bool full = false;
    uint64_t counter = 0;
    if (by_bytes(N, k)) return sort_row(x, N, flip, room);
    for (int64_t i = 0; i < N; i += CHUNK) {
        bits key[CHUNK], pass = !full;
        int64_t m = min_i64(CHUNK, N - i);
        for (int64_t j = 0; j < m; j++) key[j] = bits_of(x[i + j]) ^ flip;
        for (int64_t j = 0; j < m; j++) pass |= key[j] < worst;
        if (!pass) continue;
        for (int64_t j = 0; j < m; j++) {
            room[n] = ranked_of(key[j], i + j);
            n += !full | (key[j] < worst);
        }
        if (n < limit || n <= k) continue;
        worst = cut_back(room, n, k, &counter);
        n = k;
        full = true;
    }
    select_first(room, n, k, &counter);
    sort_all(room, k, &counter);
    return room;
}

/* --- the launch ------------------------------------------------------------------------ */

static int64_t row_length(const launch *l) { return launch_in(l, 0)->dim[launch_in(l, 0)->rank - 1]; }
static size_t room_bytes(const launch *l) { return (size_t)room_of(row_length(l), l->attr.i[0]) * sizeof(ranked); }

static int64_t topk_tasks(const launch *l, int phase)
{
    (void)phase;
    int64_t N = row_length(l);
    return N ? operand_numel(launch_in(l, 0)) / N : 0;
}

/* Rows too long for a thread's own memory each get theirs. */
static size_t topk_shared(const launch *l)
{
    return room_bytes(l) <= LOCAL_BYTES ? 0 : (size_t)topk_tasks(l, 0) * room_bytes(l);
}

static void topk_run(const launch *l, int phase, int64_t task, char *local)
{
    (void)phase;
    int64_t N = row_length(l), k = l->attr.i[0];
    const real *x = (const real *)launch_in(l, 0)->data + task * N;
    real *y = (real *)launch_out(l, 0)->data;
    int32_t *index = (int32_t *)launch_out(l, 1)->data;
    ranked *room = (ranked *)(room_bytes(l) <= LOCAL_BYTES ? local : l->shared + (size_t)task * room_bytes(l));
    const ranked *first = first_of_row(x, N, k, l->attr.i[1] != 0, room);
    for (int64_t j = 0; j < k; j++) {
        int32_t at = index_of(first[j]);
        if (y) y[task * k + j] = x[at];
        if (index) index[task * k + j] = at;
    }
}
const kernel K(k_topk) = { .tasks = topk_tasks, .run = topk_run, .shared = topk_shared };
