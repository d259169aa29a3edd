/* profile.c - where the time of a device's plans goes.
 *
 * A device that is handed a recorder notes for each thread when it began and
 * ended its part in each phase; here these parts are added up over calls, by
 * kernel, shapes and name, and the first MAX_PIECES of them are kept for a trace.  A
 * kernel's time on the wall runs until the next one begins, so it contains the
 * barriers behind its phases, and the times of a run add up to the run; kernels that
 * run beside each other divide theirs by what their tasks took. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "graph/op_attention.h"
#include "plan/plan.h"

enum { MAX_PIECES = 1 << 20, MAX_SHAPES = 4 };

/* A slice of the trace. */
typedef struct piece { int64_t begin_ns, end_ns, n_task; int row; short thread, phase; } piece;

struct genet_profile {
    genet_device      *device;
    uint64_t           number;
    atomic_bool        running;
    bool               failed;          /* memory ran out: the next run says so */
    pthread_mutex_t    lock;            /* runs of several threads */
    int64_t            origin_ns, started_ns, total_ns;
    arena              arena;           /* of strings */
    map                row_of;          /* by op, shapes and name */
    genet_profile_row *row;
    int                n_row, cap_row;
    piece             *piece;
    int                n_piece, cap_piece;
    phase_part        *part;            /* of the run that goes on */
    int                cap_part;
};

/* --- life ------------------------------------------------------------------------- */

genet_profile *genet_profile_new(genet_device *d, genet_err *err)
{
    if (d->profile) return genet__err_set(err, GENET_ERR_USAGE, "the device has a profile already: free it first"), NULL;
    genet_profile *p = genet__alloc(sizeof *p);
    if (!p) return genet__err_memory(err), NULL;
    p->device = d;
    p->number = ++d->n_profiles;
    atomic_init(&p->running, false);
    pthread_mutex_init(&p->lock, NULL);
    d->profile = p;
    return p;
}

void genet_profile_free(genet_profile *p)
{
    if (!p) return;
    p->device->profile = NULL;
    pthread_mutex_destroy(&p->lock);
    genet__arena_release(&p->arena);
    genet__map_release(&p->row_of);
    genet__free(p->row);
    genet__free(p->piece);
    genet__free(p->part);
    genet__free(p);
}

void genet_profile_start(genet_profile *p)
{
    if (atomic_load(&p->running)) return;
    p->started_ns = genet__device_now_ns();
    if (!p->origin_ns) p->origin_ns = p->started_ns;
    atomic_store(&p->running, true);
}

void genet_profile_stop(genet_profile *p)
{
    if (!atomic_load(&p->running)) return;
    atomic_store(&p->running, false);
    p->total_ns += genet__device_now_ns() - p->started_ns;
}

/* --- rows --------------------------------------------------------------------------- */

/* The row of these texts, made when new; -1: no memory. */
static int find_row(genet_profile *p, const char *words, const char *shapes, const char *name, bool is_kernel)
{
    str key = {0};
    genet__str_printf(&key, "%s\n%s\n%s", words, shapes, name);
    int64_t *known = key.failed ? NULL : genet__map_get(&p->row_of, genet__str(&key));
    int at = known ? (int)*known : -1;
    genet_profile_row r = { .kernel = is_kernel };
    if (!known && !key.failed && GROW(p->row, p->n_row, p->cap_row) &&
        (r.op = genet__arena_strdup(&p->arena, words)) && (r.shapes = genet__arena_strdup(&p->arena, shapes)) &&
        (r.name = genet__arena_strdup(&p->arena, name)) && genet__map_set(&p->row_of, genet__str(&key), p->n_row)) {
        at = p->n_row++;
        p->row[at] = r;
    }
    genet__str_release(&key);
    return at;
}

/* "[768,1024]T": a matrix whose rows are not together. */
static void add_shape(const tensor *t, str *s)
{
    const shape *d = &t->shape;
    genet__str_printf(s, "%s%s%s", s->n ? " " : "", t->dtype == GENET_F32 ? "" : genet_dtype_name(t->dtype), SHAPE_TEXT(t));
    if (d->rank > 1 && d->dim[d->rank - 1] > 1 && t->stride[d->rank - 1] > 1) genet__str_add(s, "T");
}

/* The inputs of a step's head, or what an elementwise step makes. */
static void shapes_of(const genet_plan *p, int s, str *out)
{
    const step *st = &p->step[s];
    int n = 0;
    for (int k = 0; st->head && k < st->head->n_in; k++)
        if (st->head->in[k] && n++ < MAX_SHAPES) add_shape(st->head->in[k], out);
    if (!n) add_shape(st->n_member ? st->member[st->n_member - 1] : st->head, out);
    if (n > MAX_SHAPES) genet__str_add(out, " ...");
}

/* Rows of all steps of a plan that this profile has not seen. */
static bool find_rows(genet_profile *p, genet_plan *plan)
{
    if (plan->profile_number == p->number) return true;
    if (!plan->profile_row) plan->profile_row = ARENA_ARRAY(&plan->arena, int, plan->n_step + 1);
    bool ok = plan->profile_row;
    for (int s = 0; ok && s < plan->n_step; s++) {
        const step *st = &plan->step[s];
        str words = {0}, shapes = {0};
        genet__plan_step_words(st, &words);
        shapes_of(plan, s, &shapes);
        plan->profile_row[s] = find_row(p, genet__str(&words), genet__str(&shapes),
                                        (st->n_member ? st->member[st->n_member - 1] : st->head)->name, true);
        ok = !words.failed && !shapes.failed && plan->profile_row[s] >= 0;
        if (ok) p->row[plan->profile_row[s]].arithmetic = genet__plan_arithmetic(plan, s);
        genet__str_release(&words);
        genet__str_release(&shapes);
    }
    if (ok) plan->profile_number = p->number;
    return ok;
}

static bool add_piece(genet_profile *p, piece new)
{
    if (p->n_piece == MAX_PIECES) return true;
    if (!GROW(p->piece, p->n_piece, p->cap_piece)) return false;
    p->piece[p->n_piece++] = new;
    return true;
}

static void add_host(genet_profile *p, const char *what, int64_t began_ns, int64_t end_ns, double bytes)
{
    int at = find_row(p, what, "", "", false);
    if (at < 0 || !add_piece(p, (piece){ .begin_ns = began_ns, .end_ns = end_ns, .row = at })) {
        p->failed = true;
        return;
    }
    genet_profile_row *r = &p->row[at];
    r->calls++;
    r->seconds += (double)(end_ns - began_ns) * 1e-9;
    r->busy_s += (double)(end_ns - began_ns) * 1e-9;
    r->bytes += bytes;
}

int64_t genet__profile_now(const genet_device *d)
{
    return d->profile && atomic_load(&d->profile->running) ? genet__device_now_ns() : 0;
}

void genet__profile_host(genet_device *d, const char *what, int64_t began_ns, double bytes)
{
    genet_profile *p = d->profile;
    if (!began_ns || !p) return;
    pthread_mutex_lock(&p->lock);
    add_host(p, what, began_ns, genet__device_now_ns(), bytes);
    pthread_mutex_unlock(&p->lock);
}

/* --- a run ---------------------------------------------------------------------------- */

/* When the first thread began one of these phases: all had ended those before. */
static int64_t opened_ns(const genet_profile *p, const recorder *r, int first, int end)
{
    int64_t least = INT64_MAX;
    for (int thread = 0; thread < p->device->n_threads; thread++)
        for (int k = first; k < end; k++) {
            int64_t at = r->part[(size_t)thread * (size_t)r->n_phase + (size_t)k].begin_ns;
            if (at && at < least) least = at;
        }
    return least;
}

/* Operations and bytes of step s.  A cache is as long as it may become: attention looks at its beginning, up to a position
 * that only the run knew; an input's is still there. */
static void count_work(const genet_plan *plan, int s, double *flops, double *bytes)
{
    const tensor *y = plan->step[s].head, *position;
    *flops = genet__plan_flops(plan, s);
    *bytes = genet__plan_bytes(plan, s);
    if (!y || !genet__op_is(y, OP_attention) || !(position = y->in[ATT_POSITION]) || !genet__op_is(position->root, OP_input))
        return;
    const shape *q = &y->in[ATT_Q]->shape, *k = &y->in[ATT_K]->shape;
    const operand *at = launch_in(&plan->launch[s], ATT_POSITION);
    int32_t first;
    if (!at->data || genet__numel(&position->shape) < 1 || k->dim[1] < 1) return;
    plan->device->read(plan->device, at->data, &first, sizeof first);
    double T = (double)q->dim[1], S = (double)k->dim[1], end = (double)first + T, keys = (double)first + (T + 1) / 2;
    if (first < 0 || end >= S) return;
    double all = 2 * (double)genet_dtype_bytes(y->in[ATT_K]->dtype, genet__numel(k));
    *bytes -= all * (1 - end / S);
    *flops = 4 * (double)genet__numel(q) * keys;
}

/* What the tasks of these phases took, all threads together. */
static int64_t busy_ns(const genet_profile *p, const recorder *r, int first, int end)
{
    int64_t sum = 0;
    for (int thread = 0; thread < p->device->n_threads; thread++)
        for (int k = first; k < end; k++) {
            const phase_part *at = &r->part[(size_t)thread * (size_t)r->n_phase + (size_t)k];
            sum += at->end_ns - at->begin_ns;
        }
    return sum;
}

/* Add step s, whose phases are first to before end, and which took so long on the wall. */
static bool add_step(genet_profile *p, const genet_plan *plan, int s, const recorder *rec, int first, int end, double wall_ns)
{
    int row = plan->profile_row[s];
    genet_profile_row *r = &p->row[row];
    r->seconds += wall_ns * 1e-9;
    r->busy_s += (double)busy_ns(p, rec, first, end) * 1e-9;
    double flops, bytes;
    count_work(plan, s, &flops, &bytes);
    r->calls++;
    r->flops += flops;
    r->bytes += bytes;
    for (int thread = 0; thread < p->device->n_threads; thread++)
        for (int k = first; k < end; k++) {
            const phase_part *at = &rec->part[(size_t)thread * (size_t)rec->n_phase + (size_t)k];
            if (!at->n_task) continue;
            if (!add_piece(p, (piece){ at->begin_ns, at->end_ns, at->n_task, row, (short)thread, (short)(k - first) }))
                return false;
        }
    return true;
}

static int phases_of(const genet_plan *plan, int s, int n)
{
    int sum = 0;
    for (int k = 0; k < n; k++) sum += genet__launch_phases(&plan->launch[s + k]);
    return sum;
}

/* Add step s and those beside it, whose phases are first to before end, and which were over at end_ns. */
static bool add_row(genet_profile *p, const genet_plan *plan, int s, const recorder *rec, int first, int end, int64_t end_ns)
{
    int n = 1 + plan->launch[s].beside;
    double wall = end > first ? (double)(end_ns - opened_ns(p, rec, first, end)) : 0, busy = (double)busy_ns(p, rec, first, end);
    for (int k = 0; k < n; k++) {
        int next = first + phases_of(plan, s + k, 1);
        double own = busy > 0 ? (double)busy_ns(p, rec, first, next) / busy : 1.0 / n;
        TRY(add_step(p, plan, s + k, rec, first, next, wall * own));
        first = next;
    }
    return true;
}

/* Room for all threads' parts in the phases of a run; clear. */
static bool make_parts(genet_profile *p, const genet_plan *plan, recorder *r)
{
    r->n_phase = phases_of(plan, 0, plan->n_step);
    int need = r->n_phase * p->device->n_threads;
    if (!genet__grow(&p->part, &p->cap_part, need + 1, sizeof *p->part)) return false;
    memset(p->part, 0, (size_t)need * sizeof *p->part);
    r->part = p->part;
    return true;
}

static bool timed_run(genet_profile *p, genet_plan *plan, genet_err *err)
{
    recorder r = {0};
    if (p->failed || !find_rows(p, plan) || !make_parts(p, plan, &r)) return genet__err_memory(err);
    int64_t began = genet__device_now_ns();
    TRY(plan->device->run(plan->device, plan->launch, plan->n_step, &r, err));
    int64_t end = genet__device_now_ns();
    add_host(p, "threads", began, r.n_phase ? opened_ns(p, &r, 0, phases_of(plan, 0, 1)) : end, 0);
    bool ok = !p->failed;
    for (int s = 0, phase = 0, n; ok && s < plan->n_step; s += n) {
        n = 1 + plan->launch[s].beside;
        int next = phase + phases_of(plan, s, n), after = next + (next < r.n_phase ? phases_of(plan, s + n, 1) : 0);
        ok = add_row(p, plan, s, &r, phase, next, next < r.n_phase ? opened_ns(p, &r, next, after) : end);
        phase = next;
    }
    return ok || genet__err_memory(err);
}

bool genet__profile_run(genet_plan *plan, genet_err *err)
{
    genet_device *d = plan->device;
    genet_profile *p = d->profile;
    if (!p || !atomic_load(&p->running)) return d->run(d, plan->launch, plan->n_step, NULL, err);
    pthread_mutex_lock(&p->lock);
    bool ok = timed_run(p, plan, err);
    pthread_mutex_unlock(&p->lock);
    return ok;
}

/* --- results --------------------------------------------------------------------------- */

int genet_profile_rows(const genet_profile *p, const genet_profile_row **rows)
{
    *rows = p->row;
    return p->n_row;
}

double genet_profile_seconds(const genet_profile *p)
{
    int64_t now = atomic_load(&p->running) ? genet__device_now_ns() - p->started_ns : 0;
    return (double)(p->total_ns + now) * 1e-9;
}

/* Text as a JSON string; what is no UTF-8 becomes U+FFFD. */
static void add_quoted(str *s, const char *text)
{
    str clean = {0};
    genet__utf8_add(&clean, text, strlen(text));
    json_t *j = clean.failed ? NULL : json_stringn(genet__str(&clean), clean.n);
    if (j) genet__json_print(j, 0, s);
    else s->failed = true;
    json_decref(j);
    genet__str_release(&clean);
}

/* What all slices of a row share: name, category, and the beginning of args. */
typedef struct row_text { str head, args; } row_text;

static void describe_row(const genet_profile_row *r, row_text *out)
{
    genet__str_add(&out->head, "{\"name\":");
    add_quoted(&out->head, r->op);
    genet__str_printf(&out->head, ",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1", r->kernel ? "kernel" : "host");
    genet__str_add(&out->args, ",\"args\":{\"tensor\":");
    add_quoted(&out->args, r->name);
    genet__str_add(&out->args, ",\"shapes\":");
    add_quoted(&out->args, r->shapes);
    double calls = r->calls ? (double)r->calls : 1;
    genet__str_printf(&out->args, ",\"mflop\":%.6g,\"mbyte\":%.6g", r->flops / calls * 1e-6, r->bytes / calls * 1e-6);
}

/* Times in microseconds, from the first start on. */
static void add_slices(const genet_profile *p, const row_text *text, str *s)
{
    for (int i = 0; i < p->n_piece && !s->failed; i++) {
        const piece *at = &p->piece[i];
        const row_text *row = &text[at->row];
        genet__str_add_n(s, row->head.at, row->head.n);
        genet__str_printf(s, ",\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f", at->thread, (double)(at->begin_ns - p->origin_ns) * 1e-3,
                          (double)(at->end_ns - at->begin_ns) * 1e-3);
        genet__str_add_n(s, row->args.at, row->args.n);
        if (p->row[at->row].kernel) genet__str_printf(s, ",\"phase\":%d,\"tasks\":%lld", at->phase, (long long)at->n_task);
        genet__str_add(s, i + 1 < p->n_piece ? "}},\n" : "}}\n");
    }
}

/* The threads' names come before the slices. */
static void add_names(const genet_profile *p, str *s)
{
    genet__str_add(s, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
                      "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{\"name\":\"genet\"}}");
    for (int t = 0; t < p->device->n_threads; t++)
        genet__str_printf(s, ",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"args\":{\"name\":\"thread %d\"}}",
                          t, t);
    genet__str_add(s, p->n_piece ? ",\n" : "\n");
}

char *genet_profile_trace(const genet_profile *p, genet_err *err)
{
    row_text *text = genet__alloc_array((size_t)p->n_row + 1, sizeof *text);
    str s = { .failed = !text || p->failed };
    for (int i = 0; text && i < p->n_row; i++) {
        describe_row(&p->row[i], &text[i]);
        s.failed |= text[i].head.failed || text[i].args.failed;
    }
    add_names(p, &s);
    if (!s.failed) add_slices(p, text, &s);
    genet__str_add(&s, "]}\n");
    for (int i = 0; text && i < p->n_row; i++) {
        genet__str_release(&text[i].head);
        genet__str_release(&text[i].args);
    }
    genet__free(text);
    if (!s.failed) return s.at;
    genet__str_release(&s);
    return genet__err_memory(err), NULL;
}
