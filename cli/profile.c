/* profile.c - `--profile`: where the time goes, as a table.
 *
 * Kernels of one op on one kind of shapes are a line: time on the wall, speed,
 * and the share of whichever limit binds (machine.h): arithmetic at the peak of
 * the types that it multiplies, or as many bytes as one of its calls touches at
 * the speed of reading them.  Lines under the table say what passes outside the
 * kernels. */
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "machine.h"

enum { MAX_LINES = 40, MAX_OPS = 8 };

static const field table[] = { PROFILE_FIELDS(0, "write what each thread did when to this file, for chrome://tracing") };
const fields cli_profile_fields = { "profiling", table, sizeof table / sizeof *table };

/* Told before the work, not after it: can a file be written at path? */
static bool check_place(const char *path, genet_err *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    if (n >= sizeof folder) return genet__err_set(err, GENET_ERR_USAGE, "the name of the trace is too long");
    memcpy(folder, slash ? path : ".", slash ? n : 1);
    folder[slash ? n : 1] = '\0';
    return access(folder, W_OK | X_OK) == 0 || access(path, W_OK) == 0 || genet__err_errno(err, "write", path);
}

bool cli_profile_check(const profile_options *o, genet_err *err)
{
    if (!o->profile_trace) return true;
    if (!o->profile) return genet__err_set(err, GENET_ERR_USAGE, "--profile-trace is written by --profile: add it");
    return check_place(o->profile_trace, err);
}

/* Rows of one op and shapes, whatever their names. */
typedef struct line { genet_profile_row sum; double bound_s; const char *limit; int n_name; } line;

static void add_row(genet_profile_row *sum, const genet_profile_row *r)
{
    sum->calls += r->calls;
    sum->seconds += r->seconds;
    sum->busy_s += r->busy_s;
    sum->flops += r->flops;
    sum->bytes += r->bytes;
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const line *)a)->sum.seconds, y = ((const line *)b)->sum.seconds;
    return (x < y) - (x > y);
}

static int by_op(const void *a, const void *b)
{
    const genet_profile_row *x = &((const line *)a)->sum, *y = &((const line *)b)->sum;
    int order = strcmp(x->op, y->op);
    return order ? order : strcmp(x->shapes, y->shapes);
}

/* The kernels' lines, slowest first; heap. */
static line *gather(const genet_profile *p, const machine *m, int *n)
{
    const genet_profile_row *row;
    int n_row = genet_profile_rows(p, &row), all = 0;
    line *at = genet__alloc_array((size_t)n_row + 1, sizeof *at);
    if (!at) return NULL;
    for (int i = 0; i < n_row; i++)
        if (row[i].kernel) at[all++] = (line){ .sum = row[i], .n_name = 1 };
    qsort(at, (size_t)all, sizeof *at, by_op);
    *n = 0;
    for (int i = 0; i < all; i++) {
        if (*n && !by_op(&at[*n - 1], &at[i])) {
            add_row(&at[*n - 1].sum, &at[i].sum);
            at[*n - 1].n_name++;
        } else at[(*n)++] = at[i];
    }
    for (int i = 0; i < *n; i++) {
        const genet_profile_row *r = &at[i].sum;
        at[i].bound_s = cli_bound(m, r->arithmetic, r->flops, r->bytes, (double)r->calls, &at[i].limit);
    }
    qsort(at, (size_t)*n, sizeof *at, by_seconds);
    return at;
}

/* What is divided out of all numbers, and the whole. */
typedef struct scale { double divide_by, total_s; int threads; } scale;

static void put_line(const line *l, const scale *s, str *out)
{
    const genet_profile_row *r = &l->sum;
    double t = r->seconds > 0 ? r->seconds : 1e-12;
    double idle = 1 - r->busy_s / (t * s->threads);
    genet__str_printf(out, "%9.3f %5.1f %7.4g %8.1f %7.1f  %4.0f %% %-6s %4.0f %%  %s %s%s%s\n", 1e3 * t / s->divide_by,
                      100 * t / s->total_s, (double)r->calls / s->divide_by, r->flops / t * 1e-9, r->bytes / t * 1e-9,
                      100 * l->bound_s / t, l->limit, 100 * (idle > 0 ? idle : 0), r->op, r->shapes,
                      l->n_name == 1 && *r->name ? " " : "", l->n_name == 1 ? r->name : "");
}

/* "matmul 61 %, attention 9 %, ...": by the first op of each kernel. */
static void put_heads(const line *at, int n, const scale *s, str *out)
{
    line head[MAX_LINES];
    int n_head = 0;
    for (int i = 0; i < n; i++) {
        size_t length = strcspn(at[i].sum.op, "+");
        int k = 0;
        while (k < n_head && (strcspn(head[k].sum.op, "+") != length || strncmp(head[k].sum.op, at[i].sum.op, length))) k++;
        if (k == n_head && n_head < MAX_LINES) head[n_head++] = at[i];
        else if (k < n_head) add_row(&head[k].sum, &at[i].sum);
    }
    qsort(head, (size_t)n_head, sizeof *head, by_seconds);
    for (int k = 0; k < n_head && k < MAX_OPS; k++)
        genet__str_printf(out, "%s%.*s %.1f %%", k ? ", " : "by op: ", (int)strcspn(head[k].sum.op, "+"), head[k].sum.op,
                          100 * head[k].sum.seconds / s->total_s);
    if (n_head) genet__str_add(out, "\n");
}

/* Host work: known parts, and the rest of the clock on the wall. */
static void put_host(const genet_profile *p, const scale *s, double kernels_s, str *out)
{
    const genet_profile_row *row;
    int n = genet_profile_rows(p, &row);
    double rest = s->total_s - kernels_s;
    genet__str_printf(out, "outside kernels: %.3f ms (%.1f %%):", 1e3 * rest / s->divide_by, 100 * rest / s->total_s);
    for (int i = 0; i < n; i++) {
        if (row[i].kernel) continue;
        genet__str_printf(out, " %s %.3f,", row[i].op, 1e3 * row[i].seconds / s->divide_by);
        rest -= row[i].seconds;
    }
    genet__str_printf(out, " all else %.3f\n", 1e3 * rest / s->divide_by);
}

void cli_profile_table(const genet_profile *p, const machine *m, const char *what, double divide_by, str *out)
{
    int n = 0;
    line *at = gather(p, m, &n), rest = { .sum = { .op = "the others", .shapes = "", .name = "" }, .limit = "", .n_name = 1 };
    scale s = { divide_by > 0 ? divide_by : 1, genet_profile_seconds(p), m->threads };
    genet_profile_row sum = {0};
    double bound_s = 0, arithmetic_s = 0;
    if (!at) {
        out->failed = true;
        return;
    }
    genet__str_printf(out, "profile of %s: %.3f ms; ", what, 1e3 * s.total_s / s.divide_by);
    cli_machine_text(m, out);
    genet__str_add(out, "       ms     %   calls  GFLOP/s    GB/s  of limit      idle  kernel\n");
    for (int i = 0; i < n; i++) {
        if (i < MAX_LINES) put_line(&at[i], &s, out);
        else add_row(&rest.sum, &at[i].sum), rest.bound_s += at[i].bound_s;
        add_row(&sum, &at[i].sum);
        bound_s += at[i].bound_s;
        arithmetic_s += at[i].sum.flops / m->flops[at[i].sum.arithmetic];
    }
    if (n > MAX_LINES) put_line(&rest, &s, out);
    put_heads(at, n, &s, out);
    double t = sum.seconds > 0 ? sum.seconds : 1e-12;
    genet__str_printf(out, "kernels: %.3f ms (%.1f %%), %.0f %% of their limits, threads idle for %.1f %%\n", 1e3 * t / s.divide_by,
                      100 * t / s.total_s, 100 * bound_s / t, 100 * (1 - sum.busy_s / (t * s.threads)));
    put_host(p, &s, t, out);
    genet__str_printf(out, "in all: %.3g operations, %.1f GFLOP/s, %.0f %% of the peaks of their types (fma: %.0f %%)\n",
                      sum.flops / s.divide_by, sum.flops / s.total_s * 1e-9, 100 * arithmetic_s / s.total_s,
                      100 * sum.flops / s.total_s / m->flops[GENET_ARITHMETIC_OTHER]);
    genet__free(at);
}

void cli_profile_json(const genet_profile *p, const machine *m, double divide_by, str *out)
{
    int n = 0;
    line *at = gather(p, m, &n);
    out->failed |= !at;
    genet__str_add(out, "[");
    for (int i = 0; at && i < n; i++) {
        const genet_profile_row *r = &at[i].sum;
        double t = r->seconds > 0 ? r->seconds : 1e-12;
        genet__str_printf(out, "%s{\"op\": \"%s\", \"shapes\": \"%s\", \"ms\": %.5g, \"calls\": %.5g, \"gflops\": %.5g, "
                          "\"gbytes_per_s\": %.5g, \"share\": %.4g, \"of\": \"%s\"}", i ? ", " : "", r->op, r->shapes,
                          1e3 * t / divide_by, (double)r->calls / divide_by, r->flops / t * 1e-9, r->bytes / t * 1e-9,
                          at[i].bound_s / t, at[i].limit);
    }
    genet__str_add(out, "]");
    genet__free(at);
}

bool cli_profile_write(const genet_profile *p, const char *path, genet_err *err)
{
    char *text = genet_profile_trace(p, err);
    bool ok = text && genet__file_write_all(path, text, strlen(text), err);
    genet__free(text);
    return ok;
}
