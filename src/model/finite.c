/* finite.c - is every weight a number?
 *
 * The only thing about a mapped file that takes reading it all: so all threads
 * of the device look, in pieces of a few MiB.  The piece that comes first in the
 * model's order is the one that is named, whichever thread found what. */
#include <stdatomic.h>
#include "base/alloc.h"
#include "base/err.h"
#include "device/device.h"
#include "model/finite.h"

enum { PIECE = 1 << 20 };       /* elements */

typedef struct piece { const finite_part *of; int64_t start; } piece;
typedef struct look {
    piece       *at;
    int64_t      n;
    atomic_llong next, first_bad;
} look;

/* Of n elements; pieces are whole blocks. */
static size_t bytes_of(const safetensor *t, int64_t n)
{
    return t->element_bytes ? (size_t)n * (size_t)t->element_bytes : genet_dtype_bytes((genet_dtype)t->dtype, n);
}

/* Part of a tensor, as a tensor. */
static safetensor window(const piece *p)
{
    safetensor t = *p->of->tensor;
    t.at += bytes_of(&t, p->start);
    t.numel = t.numel - p->start < PIECE ? t.numel - p->start : PIECE;
    t.size_bytes = bytes_of(&t, t.numel);
    return t;
}

static void look_through(void *arg, int thread)
{
    (void)thread;
    look *l = arg;
    for (int64_t i; (i = atomic_fetch_add(&l->next, 1)) < l->n && i < atomic_load(&l->first_bad);) {
        safetensor t = window(&l->at[i]);
        if (genet__safetensor_first_nonfinite(&t) < 0) continue;
        long long first = atomic_load(&l->first_bad);
        while (i < first && !atomic_compare_exchange_weak(&l->first_bad, &first, i)) {}
    }
}

static bool report(const piece *p, genet_err *err)
{
    safetensor t = window(p);
    const safetensor *all = p->of->tensor;
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s: element %lld of %lld is inf or NaN; the model is spoilt: take an "
                          "earlier save", p->of->path, all->name,
                          (long long)(p->start + genet__safetensor_first_nonfinite(&t)), (long long)all->numel);
}

bool genet__all_finite(const finite_part *part, int n, genet_device *d, genet_err *err)
{
    look l = { .n = 0 };
    for (int i = 0; i < n; i++) l.n += (part[i].tensor->numel + PIECE - 1) / PIECE;
    if (!(l.at = genet__alloc_array((size_t)l.n + 1, sizeof *l.at))) return genet__err_memory(err);
    int64_t k = 0;
    for (int i = 0; i < n; i++)
        for (int64_t start = 0; start < part[i].tensor->numel; start += PIECE) l.at[k++] = (piece){ &part[i], start };
    atomic_init(&l.next, 0);
    atomic_init(&l.first_bad, l.n);
    d->share(d, look_through, &l);
    int64_t bad = atomic_load(&l.first_bad);
    bool ok = bad == l.n || report(&l.at[bad], err);
    genet__free(l.at);
    return ok;
}
