/* pairs.c - reading pairs line by line, and parting them by distinct sentences. */
#include "text/pairs.h"
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/rng.h"
#include "format/jsonl.h"
#include "text/source.h"

/* --- lines ----------------------------------------------------------------------- */

typedef struct reading {
    pairs              *p;
    const pair_options *o;
    const char         *path;
    int64_t             line;
    sha256              hash;
} reading;

static void add_hash(reading *r, const char *text) { genet__sha256_add(&r->hash, text, strlen(text) + 1); }

/* Both texts are terminated. */
static bool add_pair(reading *r, const char *source, const char *target, genet_err *err)
{
    pairs *p = r->p;
    if (!*source || !*target) {
        p->n_empty++;
        return true;
    }
    if (p->n >= INT32_MAX - 1) return genet__err_set(err, GENET_ERR_USAGE, "%s: more than %d pairs", r->path, INT32_MAX - 1);
    if (!genet__grow(&p->at, &p->cap, (int)p->n + 1, sizeof *p->at)) return genet__err_memory(err);
    const char *prefix = r->o->prefix ? r->o->prefix : "";
    text_pair pair = { .source = genet__arena_printf(&p->arena, "%s%s", prefix, source), .target = genet__arena_strdup(&p->arena, target) };
    if (!pair.source || !pair.target) return genet__err_memory(err);
    add_hash(r, pair.source);
    add_hash(r, pair.target);
    p->at[p->n++] = pair;
    return true;
}

/* Column `number` of a line whose tabs have become zeros; a source holds none. */
static const char *column(const char *line, const char *end, int64_t number)
{
    while (--number > 0 && line <= end) line += strlen(line) + 1;
    return line <= end ? line : NULL;
}

static bool add_columns(reading *r, char *line, size_t n, genet_err *err)
{
    if (n && line[n - 1] == '\r') line[--n] = 0;
    if (!n) return true;
    int64_t columns = 1;
    for (size_t i = 0; i < n; i++)
        if (line[i] == '\t') line[i] = 0, columns++;
    const char *source = column(line, line + n, r->o->source_column), *target = column(line, line + n, r->o->target_column);
    if (source && target) return add_pair(r, source, target, err);
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: line %lld has %lld columns parted by tabs; source-column %lld and target-column "
                          "%lld are asked for", r->path, (long long)r->line, (long long)columns, (long long)r->o->source_column,
                          (long long)r->o->target_column);
}

static bool add_object(reading *r, const json_t *j, genet_err *err)
{
    const pair_options *o = r->o;
    char where[300];
    const char *source, *target;
    snprintf(where, sizeof where, "%.250s: line %lld", r->path, (long long)r->line);
    if (!json_is_object(j)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: must be a JSON object", where);
    const json_t *of = json_object_get(j, "translation");
    bool languages = of && !json_object_get(j, o->source_field);
    if (languages && (!o->source_lang || !o->target_lang))
        return genet__err_set(err, GENET_ERR_USAGE, "%s: \"translation\" holds texts by language: say which with --source-lang and "
                              "--target-lang", where);
    if (languages && !json_is_object(of)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"translation\" must be an object", where);
    TRY(genet__json_string(languages ? of : j, languages ? o->source_lang : o->source_field, where, &source, NULL, err));
    TRY(genet__json_string(languages ? of : j, languages ? o->target_lang : o->target_field, where, &target, NULL, err));
    return add_pair(r, source, target, err);
}

static bool read_objects(reading *r, const str *text, genet_err *err)
{
    jsonl lines;
    json_t *j;
    bool ok = true;
    genet__jsonl_parse(&lines, genet__str(text), text->n, r->path, 0);
    while (ok && (j = genet__jsonl_next(&lines, err))) {
        r->line = lines.line;
        ok = add_object(r, j, err);
        json_decref(j);
    }
    return ok && !lines.failed;
}

static bool read_columns(reading *r, str *text, genet_err *err)
{
    char *at = text->at, *end = text->at + text->n;
    for (r->line = 1; at < end; r->line++) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        *stop = 0;
        TRY(add_columns(r, at, (size_t)(stop - at), err));
        at = stop + 1;
    }
    return true;
}

static bool read_path(reading *r, genet_err *err)
{
    str text = {0};
    bool ok = genet__source_read(r->path, &text, err);
    const char *first = genet__str(&text) + strspn(genet__str(&text), " \t\r\n");
    if (ok && text.n) ok = *first == '{' ? read_objects(r, &text, err) : read_columns(r, &text, err);
    genet__str_release(&text);
    return ok;
}

bool genet__pairs_read(pairs *p, const char *const *path, int n_path, const pair_options *o, genet_err *err)
{
    reading r = { .p = p, .o = o };
    genet__sha256_init(&r.hash);
    for (int i = 0; i < n_path; i++) {
        r.path = path[i];
        TRY(read_path(&r, err));
    }
    genet__sha256_end(&r.hash, p->hash);
    return p->n || genet__err_set(err, GENET_ERR_USAGE, "%s holds no pair of texts", n_path ? path[0] : "the data");
}

void genet__pairs_release(pairs *p)
{
    genet__free(p->at);
    genet__arena_release(&p->arena);
    *p = (pairs){0};
}

/* --- what is held out --------------------------------------------------------------- */

/* FNV-1a of 64 bits. */
static uint64_t hash_of(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++) h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return h;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Keeps those that are held out and those whose other side (its hash) is not among `seen`. */
static void drop_seen(pairs *p, bool by_target, const uint64_t *seen, int64_t n_seen)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < p->n; i++) {
        uint64_t other = hash_of(by_target ? p->at[i].source : p->at[i].target);
        bool drop = !p->at[i].held_out && bsearch(&other, seen, (size_t)n_seen, sizeof *seen, by_value);
        if (!drop) p->at[kept++] = p->at[i];
    }
    p->n_left_out = p->n - kept;
    p->n = kept;
}

bool genet__pairs_split(pairs *p, double fraction, bool by_target, uint64_t seed, genet_err *err)
{
    uint32_t stream = genet__rng_stream("held out");
    uint64_t *seen = genet__alloc_array((size_t)p->n + 1, sizeof *seen);
    if (!seen) return genet__err_memory(err);
    p->n_held_out = 0;
    for (int64_t i = 0; i < p->n; i++) {
        text_pair *at = &p->at[i];
        at->held_out = genet__rng_uniform(seed, stream, 0, hash_of(by_target ? at->target : at->source)) < fraction;
        if (at->held_out) seen[p->n_held_out++] = hash_of(by_target ? at->source : at->target);
    }
    qsort(seen, (size_t)p->n_held_out, sizeof *seen, by_value);
    drop_seen(p, by_target, seen, p->n_held_out);
    genet__free(seen);
    return true;
}

bool genet__pairs_print(const pairs *p, bool held_out, const char *between, str *out, genet_err *err)
{
    for (int64_t i = 0; i < p->n; i++)
        if (p->at[i].held_out == held_out) genet__str_printf(out, "%s%s%s\n", p->at[i].source, between, p->at[i].target);
    return !out->failed || genet__err_memory(err);
}
