/* hub.c - what to fetch, and fetching it so that nothing half-fetched is
 * ever taken for a file.  Every name and number from the hub is checked. */
#include "hub/hub.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "format/hf.h"
#include "format/sha256.h"
#include "hub/http.h"

#define SIZE_MOST ((int64_t)1 << 53)     /* bytes: up to here doubles count exactly, and sums of two fit */
enum { LIST_MAX = 64 << 20, PATH_BYTES = 4096, ATTEMPTS = 5, NAME_MAX_BYTES = 200, COPY_BYTES = 1 << 20 };
static const char parts[] = ".genet-get";

typedef struct hub_file { const char *name; int64_t size; char sha256[HASH_HEX]; } hub_file;

typedef struct hub {
    const hub_request *r;
    http       *http;
    arena       arena;
    const char *repo, *revision;        /* "ORG/NAME", "main" */
    const char *commit, *source;        /* "ORG/NAME@COMMIT" */
    hub_file   *file;
    int         n_file;
    hub_progress at;
    int         lock;
} hub;

/* --- names ---------------------------------------------------------------------------------- */

/* Letters, digits, - _ . and at most one slash: nothing that could mean something else in a URL or path. */
static bool name_is_plain(const char *s, int slashes)
{
    size_t n = strlen(s);
    if (!n || n > NAME_MAX_BYTES || *s == '.' || strstr(s, "..") || s[n - 1] == '/' || *s == '/') return false;
    for (; *s; s++) {
        bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr("-_.", *s);
        if (!plain && (*s != '/' || slashes-- <= 0)) return false;
    }
    return true;
}

static bool read_names(hub *h, genet_err *err)
{
    const char *at = strchr(h->r->repo, '@');
    char *repo = genet__arena_strdup(&h->arena, h->r->repo);
    if (!repo) return genet__err_memory(err);
    if (at) repo[at - h->r->repo] = 0;
    h->repo = repo;
    h->revision = at && at[1] ? at + 1 : "main";
    if (!name_is_plain(repo, 1))
        return genet__err_set(err, GENET_ERR_USAGE, "\"%.100s\" is no model: say ORG/NAME, perhaps with @REVISION",
                              h->r->repo);
    if (strlen(h->revision) > NAME_MAX_BYTES || strpbrk(h->revision, " \t\r\n?#"))
        return genet__err_set(err, GENET_ERR_USAGE, "\"%.100s\" is no revision: a branch, a tag or a commit", h->revision);
    for (const char *c = h->r->token; c && *c; c++)
        if ((unsigned char)*c <= 32 || (unsigned char)*c >= 127)
            return genet__err_set(err, GENET_ERR_USAGE, "the token holds a character that no token has");
    return true;
}

/* ENDPOINT + middle + ..., escaped. */
static bool url_for(const hub *h, str *url, const char *before, const char *after, const char *revision,
                    const char *file, genet_err *err)
{
    size_t n = strlen(h->r->endpoint);
    while (n && h->r->endpoint[n - 1] == '/') n--;
    genet__str_add_n(url, h->r->endpoint, n);
    genet__str_add(url, before);
    genet__http_escape(url, h->repo, true);
    genet__str_add(url, after);
    genet__http_escape(url, revision, false);
    if (file) {
        genet__str_add(url, "/");
        genet__http_escape(url, file, true);
    }
    return !url->failed || genet__err_memory(err);
}

/* --- asking, with patience --------------------------------------------------------------------- */

static bool go_on(void *user)
{
    hub *h = user;
    return !h->r->progress || h->r->progress(h->r->user, &h->at);
}

/* In pieces, so that a stop is heard. */
static bool wait_s(hub *h, double seconds, genet_err *err)
{
    double until = genet__now_s() + seconds, left;
    while ((left = until - genet__now_s()) > 0) {
        h->at.waiting_s = left;
        if (!go_on(h)) return genet__err_set(err, GENET_ERR_STOPPED, "stopped");
        struct timespec nap = { 0, (long)(1e9 * (left < 0.1 ? left : 0.1)) };
        nanosleep(&nap, NULL);
    }
    h->at.waiting_s = 0;
    return true;
}

/* What a status means to the one who asked. */
static bool refused(const hub *h, const http_answer *a, const char *what, genet_err *err)
{
    const char *token = h->r->token ? "the token is not accepted, or gives no access to it"
                                    : "it needs a token: --token, or HF_TOKEN in the environment";
    if (a->status == 401 || a->status == 403)
        return genet__err_set(err, GENET_ERR_IO, "%s of %s: %d: %s%s%.200s", what, h->repo, a->status, token,
                              *a->words ? ": " : "", a->words);
    if (a->status == 404)
        return genet__err_set(err, GENET_ERR_IO, "%s of %s@%s: 404: the hub does not have it%s", what, h->repo, h->revision,
                              h->r->token ? "" : ", or shows it to holders of a token only");
    if (a->status == 429)
        return genet__err_set(err, GENET_ERR_IO,
                              "%s of %s: 429: the hub asks for patience, longer than is waited for: try again later",
                              what, h->repo);
    return genet__err_set(err, GENET_ERR_IO, "%s of %s: the hub answered %d%s%.200s", what, h->repo, a->status,
                          *a->words ? ": " : "", a->words);
}

static bool worth_another(int status) { return status == 429 || status == 408 || status >= 500; }

/* How long before attempt number n + 1; false: longer than anybody waits. */
static bool pause_for(const hub *h, const http_answer *a, int n, double *seconds)
{
    double most = h->r->wait_s;
    *seconds = fmin(most, 0.5 * (double)(1 << n));
    if (a && a->retry_after_s >= 0) *seconds = a->retry_after_s;
    return *seconds <= most;
}

/* --- the list of files ------------------------------------------------------------------------------ */

static bool take_list(void *user, const http_answer *a, const void *bytes, size_t n, genet_err *err)
{
    (void)a;
    str *s = ((void **)user)[1];
    genet__str_add_n(s, bytes, n);
    if (s->n > LIST_MAX)
        return genet__err_set(err, GENET_ERR_FORMAT, "the hub's list of files is longer than %d MB", LIST_MAX >> 20);
    return !s->failed || genet__err_memory(err);
}
static bool list_goes_on(void *user) { return go_on(((void **)user)[0]); }

static bool fetch_list(hub *h, str *list, genet_err *err)
{
    str url = {0};
    http_answer a = {0};
    void *both[] = { h, list };
    bool ok = url_for(h, &url, "/api/models/", "/revision/", h->revision, NULL, err);
    genet__str_add(&url, "?blobs=true");
    if (ok && url.failed) ok = genet__err_memory(err);
    for (int n = 0; ok; n++) {
        double pause;
        genet__str_clear(list);
        http_request r = { .url = genet__str(&url), .token = h->r->token, .body = take_list, .user = both,
                           .go_on = list_goes_on };
        bool answered = genet__http_get(h->http, &r, &a, err);
        if (answered && a.status == 200) break;
        if (!answered && !a.again) ok = false;
        else if (n + 1 == ATTEMPTS || (answered && !worth_another(a.status)) ||
                 !pause_for(h, answered ? &a : NULL, n, &pause))
            ok = answered && refused(h, &a, "the list of files", err);
        else ok = wait_s(h, pause, err);
    }
    genet__str_release(&url);
    return ok;
}

/* Beside weights. */
static bool is_small_part(const char *name)
{
    for (const char *const *known = genet__hf_beside; *known; known++)
        if (!strcmp(*known, name)) return true;
    return false;
}

/* "model-00001-of-00003.safetensors" */
static bool is_shard(const char *name)
{
    int i, n, length = 0;
    return sscanf(name, "model-%5d-of-%5d.safetensors%n", &i, &n, &length) == 2 && length && !name[length];
}

static bool is_of_weights(const char *name)
{
    return !strcmp(name, WEIGHTS_FILE) || !strcmp(name, WEIGHTS_INDEX) || is_shard(name);
}

/* One file or its shards; where both are there, the one. */
static bool wanted(const char *name, bool has_single)
{
    return is_small_part(name) || !strcmp(name, WEIGHTS_FILE) || (!has_single && is_of_weights(name));
}

/* Size and SHA-256 where the hub tells them; "lfs" has those of the content. */
static bool add_file(hub *h, const char *name, const json_t *entry, genet_err *err)
{
    const json_t *lfs = json_object_get(entry, "lfs"), *size = json_object_get(lfs ? lfs : entry, "size");
    const char *hash = json_string_value(json_object_get(lfs, "sha256"));
    bool said = size && !json_is_null(size);
    double bytes = json_number_value(size);         /* beyond 64 bits integers are read as reals */
    hub_file *f = &h->file[h->n_file++];
    if (said && (!json_is_number(size) || !(bytes >= 0 && bytes < (double)SIZE_MOST) || bytes != floor(bytes)))
        return genet__err_set(err, GENET_ERR_FORMAT, "the hub's list of files: the size of %s is none", name);
    *f = (hub_file){ .name = genet__arena_strdup(&h->arena, name), .size = said ? (int64_t)bytes : -1 };
    if (!f->name) return genet__err_memory(err);
    if (said && f->size > SIZE_MOST - h->at.all_bytes)
        return genet__err_set(err, GENET_ERR_FORMAT, "the hub's list of files: their sizes add up to more than there is");
    h->at.all_bytes += said ? f->size : 0;
    if (hash && (strlen(hash) != HASH_HEX - 1 || strspn(hash, "0123456789abcdef") != HASH_HEX - 1))
        return genet__err_set(err, GENET_ERR_FORMAT, "the hub's list of files: \"sha256\" of %s is none", name);
    if (hash) memcpy(f->sha256, hash, HASH_HEX);
    return true;
}

/* Of a list without what is needed: what there is in its place. */
static bool no_weights(const hub *h, const json_t *list, genet_err *err)
{
    const char *hint = "";
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "rfilename"));
        if (name && genet__ends_with(name, ".gguf")) hint = "; it has .gguf files, which are not fetched";
        if (name && genet__ends_with(name, ".bin")) hint = "; it has Python pickles (.bin), which are never read";
    }
    return genet__err_set(err, GENET_ERR_FORMAT, "%s@%s has no weights as " WEIGHTS_FILE "%s", h->repo, h->revision, hint);
}

/* config.json last. */
static void put_config_last(hub *h)
{
    for (int i = 0; i + 1 < h->n_file; i++)
        if (!strcmp(h->file[i].name, "config.json")) {
            hub_file last = h->file[i];
            memmove(&h->file[i], &h->file[i + 1], (size_t)(h->n_file - 1 - i) * sizeof *h->file);
            h->file[h->n_file - 1] = last;
            return;
        }
}

static bool choose(hub *h, const json_t *j, genet_err *err)
{
    const char *commit = json_string_value(json_object_get(j, "sha"));
    const json_t *list = json_object_get(j, "siblings"), *entry;
    size_t i;
    bool has_single = false, has_config = false, has_weights = false;
    if (!json_is_array(list))
        return genet__err_set(err, GENET_ERR_FORMAT, "the hub's answer has no list of files (\"siblings\")");
    if (!commit || strlen(commit) > 64 || !name_is_plain(commit, 0))
        return genet__err_set(err, GENET_ERR_FORMAT, "the hub's answer: \"sha\" is no commit");
    h->commit = genet__arena_strdup(&h->arena, commit);
    h->source = genet__arena_printf(&h->arena, "%s@%s", h->repo, commit);
    h->file = ARENA_ARRAY(&h->arena, hub_file, (int64_t)json_array_size(list) + 1);
    if (!h->file || !h->commit || !h->source) return genet__err_memory(err);
    json_array_foreach(list, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "rfilename"));
        has_single |= name && !strcmp(name, WEIGHTS_FILE);
    }
    json_array_foreach(list, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "rfilename"));
        if (!name || !name_is_plain(name, 0) || !wanted(name, has_single)) continue;
        if (has_config && !strcmp(name, "config.json")) continue;
        has_config |= !strcmp(name, "config.json");
        has_weights |= genet__ends_with(name, ".safetensors");
        TRY(add_file(h, name, entry, err));
    }
    if (!has_config)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s@%s has no config.json: it is no model that genet reads",
                              h->repo, h->revision);
    if (!has_weights) return no_weights(h, list, err);
    put_config_last(h);
    return true;
}

static bool read_list(hub *h, genet_err *err)
{
    str list = {0};
    bool ok = fetch_list(h, &list, err);
    json_t *j = ok ? genet__json_parse(genet__str(&list), list.n, "the hub's list of files", err) : NULL;
    ok = j && choose(h, j, err);
    json_decref(j);
    genet__str_release(&list);
    return ok;
}

/* --- one file ------------------------------------------------------------------------------------------ */

typedef struct part {
    hub    *h;
    const hub_file *f;
    int     fd;
    char    path[PATH_BYTES];
    int64_t n;                  /* bytes in it */
    int64_t size;               /* that it shall have, by the list, else by the answer; -1: neither says */
    sha256  hash;               /* of them */
    bool    started;            /* the answer's first bytes have come */
} part;

/* What an earlier attempt left counts only by its bytes: they are hashed again. */
static bool hash_part(part *p, genet_err *err)
{
    unsigned char *buffer = genet__alloc(COPY_BYTES);
    if (!buffer) return genet__err_memory(err);
    ssize_t got;
    genet__sha256_init(&p->hash);
    p->n = 0;
    while ((got = pread(p->fd, buffer, COPY_BYTES, p->n)) > 0 || (got < 0 && errno == EINTR)) {
        if (got < 0) continue;
        genet__sha256_add(&p->hash, buffer, (size_t)got);
        p->n += got;
    }
    genet__free(buffer);
    return got == 0 || genet__err_errno(err, "read", p->path);
}

static bool begin_again(part *p, genet_err *err)
{
    genet__sha256_init(&p->hash);
    p->n = 0;
    return (ftruncate(p->fd, 0) == 0 && lseek(p->fd, 0, SEEK_SET) == 0) || genet__err_errno(err, "write", p->path);
}

/* The name of a part holds the commit: parts of two revisions never mix. */
static bool open_part(part *p, genet_err *err)
{
    const hub *h = p->h;
    int n = snprintf(p->path, sizeof p->path, "%s/%s/%s.%.64s.part", h->r->folder, parts, p->f->name, h->commit);
    if (n < 0 || n >= (int)sizeof p->path) return genet__err_set(err, GENET_ERR_USAGE, "the path of the folder is too long");
    for (char *c = p->path + strlen(h->r->folder) + sizeof parts + 1; *c; c++)
        if (*c == '/') *c = '-';
    p->fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (p->fd < 0) return genet__err_errno(err, "write", p->path);
    TRY(hash_part(p, err));
    return p->f->size < 0 || p->n <= p->f->size || begin_again(p, err);
}

/* Of a file without a size in the list. */
static bool learn_size(part *p, const http_answer *a, genet_err *err)
{
    if (a->length > SIZE_MOST - p->n)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: the hub tells of %lld bytes to come, more than a file has",
                              p->f->name, (long long)a->length);
    p->size = a->length < 0 ? -1 : p->n + a->length;
    return true;
}

/* A server that does not go on from where we are begins anew. */
static bool take_body(void *user, const http_answer *a, const void *bytes, size_t n, genet_err *err)
{
    part *p = user;
    if (!p->started) {
        p->started = true;
        if (a->status == 200 && p->n) TRY(begin_again(p, err));
        if (a->status == 206 && a->range_from != p->n)
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: the hub sent bytes from %lld on, not from %lld", p->f->name,
                                  (long long)a->range_from, (long long)p->n);
        if (p->f->size < 0) TRY(learn_size(p, a, err));
    }
    if (p->size >= 0 && (int64_t)n > p->size - p->n)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: the hub sends more than the %lld bytes that it told of",
                              p->f->name, (long long)p->size);
    if (!genet__file_write(p->fd, bytes, n)) return genet__err_errno(err, "write", p->path);
    genet__sha256_add(&p->hash, bytes, n);
    p->n += (int64_t)n;
    p->h->at.done_bytes = p->n;
    return true;
}
static bool body_goes_on(void *user) { return go_on(((part *)user)->h); }

/* The rest of the file, in as many attempts as it takes. */
static bool fetch_rest(part *p, genet_err *err)
{
    hub *h = p->h;
    str url = {0};
    http_answer a;
    bool ok = url_for(h, &url, "/", "/resolve/", h->commit, p->f->name, err);
    for (int n = 0; ok && (p->f->size < 0 || p->n < p->f->size || n == 0); n++) {
        double pause;
        if (p->f->size >= 0 && p->n == p->f->size && p->n > 0) break;
        int64_t before = p->n;
        p->started = false;
        http_request r = { .url = genet__str(&url), .token = h->r->token, .from = p->n, .body = take_body, .user = p,
                           .go_on = body_goes_on };
        if (lseek(p->fd, p->n, SEEK_SET) < 0) {
            ok = genet__err_errno(err, "write", p->path);
            break;
        }
        bool answered = genet__http_get(h->http, &r, &a, err);
        if (answered && (a.status == 200 || a.status == 206)) break;
        if (answered && a.status == 416) ok = begin_again(p, err);        /* what we have is not of this file */
        if (!answered && !a.again) ok = false;
        if (p->n > before) n = 0;                                           /* it gets on: patience */
        if (ok && (n + 1 >= ATTEMPTS || (answered && a.status != 416 && !worth_another(a.status)) ||
                   !pause_for(h, answered ? &a : NULL, n, &pause)))
            ok = answered && refused(h, &a, p->f->name, err);
        else if (ok) ok = wait_s(h, pause, err);
    }
    genet__str_release(&url);
    return ok;
}

/* Whole and as the hub says? *again: a part from before did not fit, and is gone. */
static bool check_part(part *p, bool had_part, bool *again, genet_err *err)
{
    char hash[HASH_HEX];
    sha256 sum = p->hash;
    genet__sha256_end(&sum, hash);
    bool size_fits = p->size < 0 || p->n == p->size, hash_fits = !*p->f->sha256 || !strcmp(hash, p->f->sha256);
    if (size_fits && hash_fits) return true;
    *again = had_part;
    unlink(p->path);
    if (!size_fits)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %lld bytes came, the hub told of %lld", p->f->name,
                              (long long)p->n, (long long)p->size);
    return genet__err_set(err, GENET_ERR_FORMAT,
                          "%s: its SHA-256 is %s, the hub says %s: it was damaged on the way, or is not the same file",
                          p->f->name, hash, p->f->sha256);
}

static bool fetch_once(hub *h, const hub_file *f, const char *path, bool *again, genet_err *err)
{
    part p = { .h = h, .f = f, .size = f->size, .fd = -1 };
    *again = false;
    bool ok = open_part(&p, err), had_part = p.n > 0;
    h->at.done_bytes = p.n;
    ok = ok && fetch_rest(&p, err) && check_part(&p, had_part, again, err);
    if (ok && !genet__file_sync(p.fd)) ok = genet__err_errno(err, "write", p.path);
    if (p.fd >= 0) close(p.fd);
    return ok && genet__file_rename(p.path, path, err);
}

/* Is the file there from before?  Only a known SHA-256 can tell. */
static bool is_there(hub *h, const hub_file *f, const char *path, bool *there, genet_err *err)
{
    struct stat st;
    *there = false;
    if (!*f->sha256 || stat(path, &st) || !S_ISREG(st.st_mode) || st.st_size != f->size) return true;
    part p = { .h = h, .f = f, .fd = open(path, O_RDONLY | O_CLOEXEC) };
    char hash[HASH_HEX];
    if (p.fd < 0) return true;
    bool ok = hash_part(&p, err);
    close(p.fd);
    genet__sha256_end(&p.hash, hash);
    *there = ok && !strcmp(hash, f->sha256);
    return ok;
}

static bool fetch_file(hub *h, const hub_file *f, genet_err *err)
{
    char *path = genet__path_join(h->r->folder, f->name);
    bool there = false, again = false;
    h->at.file = f->name;
    h->at.size_bytes = f->size;
    h->at.done_bytes = 0;
    bool ok = path ? is_there(h, f, path, &there, err) : genet__err_memory(err);
    if (ok && !there) ok = fetch_once(h, f, path, &again, err);
    if (!ok && again) ok = fetch_once(h, f, path, &again, err);
    h->at.all_done_bytes += f->size > 0 ? f->size : 0;
    genet__free(path);
    return ok;
}

/* --- the folder ------------------------------------------------------------------------------------------ */

static bool remove_in(const hub *h, const char *name, genet_err *err)
{
    char *path = genet__path_join(h->r->folder, name);
    bool ok = path ? !unlink(path) || errno == ENOENT || genet__err_errno(err, "remove", path) : genet__err_memory(err);
    genet__free(path);
    return ok;
}

/* Files of a kind that another revision left and this one does not have: a reader could prefer them. */
static bool remove_others(const hub *h, bool (*kind)(const char *name), genet_err *err)
{
    char **names = genet__file_list(h->r->folder, err);
    bool ok = names != NULL;
    for (char **name = names; ok && *name; name++) {
        bool ours = !kind(*name);
        for (int i = 0; !ours && i < h->n_file; i++) ours = !strcmp(h->file[i].name, *name);
        if (!ours) ok = remove_in(h, *name, err);
    }
    genet__file_list_free(names);
    return ok && genet__file_sync_dir(h->r->folder, err);
}

/* From here on until config.json is there again the folder is no model. */
static bool leave_revision(const hub *h, genet_err *err)
{
    return remove_in(h, "config.json", err) && genet__file_sync_dir(h->r->folder, err) &&
           remove_others(h, is_small_part, err);
}

/* Another commit of the same model, or one that nobody wrote down, is left; another model stays. */
static bool check_source(const hub *h, const char *path, bool *same, genet_err *err)
{
    size_t n, length = strlen(h->repo);
    char *was = genet__file_read(path, 4096, &n, err);
    if (!was) return false;
    *same = !strcmp(was, h->source);
    bool ok = !strncmp(was, h->repo, length) && (!was[length] || was[length] == '@');
    if (!ok)
        genet__err_set(err, GENET_ERR_USAGE, "%s holds %.200s already: choose another folder for %s", h->r->folder, was,
                       h->repo);
    genet__free(was);
    return ok && (*same || leave_revision(h, err));
}

static bool check_empty(const hub *h, genet_err *err)
{
    char **names = genet__file_list(h->r->folder, err);
    bool ok = names != NULL;
    for (char **name = names; ok && *name; name++)
        if (strcmp(*name, parts))
            ok = genet__err_set(err, GENET_ERR_USAGE,
                                "%s holds other things already (%.100s): choose a new or empty folder", h->r->folder, *name);
    genet__file_list_free(names);
    return ok;
}

/* One at a time in a folder: until the descriptor is closed, also by a kill.  Where the file system has no locks there is no check. */
static bool lock_folder(hub *h, const char *inner, genet_err *err)
{
    h->lock = open(inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (h->lock < 0 || !flock(h->lock, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) return true;
    return genet__err_set(err, GENET_ERR_USAGE, "another genet is fetching into %s at this moment", h->r->folder);
}

/* FOLDER/.genet-get/source says what the folder is of, "ORG/NAME@COMMIT"; a folder with other things in it is not
 * touched. */
static bool claim_folder(hub *h, genet_err *err)
{
    bool same = false;
    char *inner = genet__path_join(h->r->folder, parts), *path = inner ? genet__path_join(inner, "source") : NULL;
    bool ok = path || genet__err_memory(err);
    bool ours = ok && genet__file_exists(path);
    if (ok && !ours && genet__file_exists(h->r->folder)) ok = check_empty(h, err);
    ok = ok && genet__file_make_dirs(inner, err) && lock_folder(h, inner, err);
    if (ok && ours) ok = check_source(h, path, &same, err);
    if (ok && !same) ok = genet__file_write_all(path, h->source, strlen(h->source), err);
    genet__free(path);
    genet__free(inner);
    return ok;
}

/* What hubs and folders say stands in messages, and shall not steer the terminal that shows them. */
static void make_plain(char *text)
{
    uint32_t c;
    for (size_t left = strlen(text), n; left; text += n, left -= n) {
        n = (size_t)genet__utf8_decode(text, left, &c);
        bool shown = n && c >= 32 && (c < 127 || c >= 160);
        n += !n;
        if (!shown) memset(text, ' ', n);
    }
}

/* What was begun of other revisions. */
static void drop_parts(const hub *h)
{
    char *inner = genet__path_join(h->r->folder, parts), **names = inner ? genet__file_list(inner, NULL) : NULL;
    for (char **name = names; name && *name; name++) {
        char *path = genet__ends_with(*name, ".part") ? genet__path_join(inner, *name) : NULL;
        if (path) unlink(path);
        genet__free(path);
    }
    if (names) genet__file_list_free(names);
    genet__free(inner);
}

bool genet__hub_get(const hub_request *r, genet_err *err)
{
    hub h = { .r = r, .lock = -1 };
    genet_err own;
    if (!err) err = &own;               /* codes decide what is tried again */
    bool ok = (h.http = genet__http_new(err)) && read_names(&h, err) && read_list(&h, err) && claim_folder(&h, err);
    for (int i = 0; ok && i < h.n_file; i++) {
        if (i + 1 == h.n_file) ok = remove_others(&h, is_of_weights, err);      /* before config.json, which is the last */
        ok = ok && fetch_file(&h, &h.file[i], err);
    }
    if (ok) drop_parts(&h);
    if (h.lock >= 0) close(h.lock);
    if (!ok) make_plain(err->text);
    genet__http_free(h.http);
    genet__arena_release(&h.arena);
    return ok;
}
