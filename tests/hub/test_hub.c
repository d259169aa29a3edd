/* labels: core
 * test_hub.c - fetching a model's folder from a hub that redirects to another
 * host, breaks off, lies, asks for patience and refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/file.h"
#include "format/sha256.h"
#include "hub/http.h"
#include "hub/hub.h"
#include "server.h"

#ifdef GENET_HAVE_CURL

enum { WEIGHTS = 300000 };
static char weights[WEIGHTS], sha[HASH_HEX], folder[200], list[2000], endpoint[100], away[200];
static server hub, store;           /* two hosts: their ports differ */
static genet_err err;
static const char list_path[] = "/api/models/org/tiny/revision/main?blobs=true";
static const char weights_path[] = "/org/tiny/resolve/abc123/model.safetensors", config_path[] = "/org/tiny/resolve/abc123/config.json";

static int set_up(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
    unsetenv("no_proxy");
    unsetenv("NO_PROXY");
    for (int i = 0; i < WEIGHTS; i++) weights[i] = (char)(i * 7 + i / 251);
    sha256 s;
    genet__sha256_init(&s);
    genet__sha256_add(&s, weights, WEIGHTS);
    genet__sha256_end(&s, sha);
    snprintf(folder, sizeof folder, "%s/genet-hub-%ld", base && *base ? base : "/tmp", (long)getpid());
    snprintf(list, sizeof list,
             "{\"sha\": \"abc123\", \"siblings\": [{\"rfilename\": \"config.json\", \"size\": 13, \"blobId\": \"x\"}, "
             "{\"rfilename\": \"../evil.safetensors\", \"size\": 1}, {\"rfilename\": \"/config.json\", \"size\": 1}, "
             "{\"rfilename\": \"pytorch_model.bin\", \"size\": 1}, {\"rfilename\": \"onnx/model.safetensors\", \"size\": 1}, "
             "{\"rfilename\": \"model.safetensors\", \"size\": %d, \"lfs\": {\"sha256\": \"%s\", \"size\": %d}}, "
             "{\"rfilename\": \"README.md\", \"size\": 0}, {\"rfilename\": 5}, 7]}", WEIGHTS, sha, WEIGHTS);
    return 0;
}

static void start(route *routes, int n, route *stored, int n_stored)
{
    assert_true(server_start(&store, stored, n_stored));
    assert_true(server_start(&hub, routes, n));
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d/", hub.port);
    snprintf(away, sizeof away, "Location: http://127.0.0.1:%d/blob/1?sig=a%%2Bb\r\n", store.port);
    genet__file_remove_tree(folder, &err);
}

static void stop(void)
{
    server_stop(&hub);
    server_stop(&store);
    genet__file_remove_tree(folder, &err);
}

static double patience_s = 0.1;

static bool get(const char *repo, const char *token)
{
    hub_request r = { .repo = repo, .endpoint = endpoint, .token = token, .folder = folder, .wait_s = patience_s };
    err = (genet_err){0};
    return genet__hub_get(&r, &err);
}

static bool holds(const char *name, const char *bytes, size_t n)
{
    char path[400];
    size_t got = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!genet__file_exists(path)) return false;
    char *text = genet__file_read(path, 1 << 20, &got, &err);
    bool same = text && got == n && !memcmp(text, bytes, n);
    genet__free(text);
    return same;
}
static bool whole(void) { return holds("model.safetensors", weights, WEIGHTS) && holds("config.json", "{\"a\": [1, 2]}", 13) && holds("README.md", "", 0); }

#define LIST   { .path = list_path, .status = 200, .body = list }
#define CONFIG { .path = config_path, .status = 200, .body = "{\"a\": [1, 2]}" }
#define README { .path = "/org/tiny/resolve/abc123/README.md", .status = 200, .body = "" }
#define BLOB   { .path = "/blob/1?sig=a%2Bb", .status = 200, .body = weights, .n = WEIGHTS }

static void test_redirected(void **state)
{
    (void)state;
    route stored[] = { BLOB };
    route routes[] = { LIST, CONFIG, README, { .path = weights_path, .status = 302, .headers = away, .body = "go there", .needs_token = true } };
    start(routes, 4, stored, 1);
    if (!get("org/tiny", "hf_secret")) fail_msg("%s", err.text);
    assert_true(whole());
    assert_int_equal(server_count(&hub, list_path, true), 1);
    assert_int_equal(server_count(&hub, weights_path, true), 1);
    assert_string_equal(server_asked(&hub, 0).token, "Bearer hf_secret");
    assert_int_equal(server_count(&store, stored[0].path, false), 1);
    assert_int_equal(server_count(&store, stored[0].path, true), 0);        /* the other host sees no token */
    assert_int_equal(server_total(&hub), 4);                                       /* nothing but what is needed */
    assert_string_equal(server_asked(&hub, 3).path, config_path);                    /* config.json last */
    assert_false(genet__file_exists_in(folder, "pytorch_model.bin"));
    /* again: the weights' checksum is known, so they are not fetched again */
    if (!get("org/tiny@main", "hf_secret")) fail_msg("%s", err.text);
    assert_int_equal(server_count(&store, stored[0].path, false), 1);
    assert_false(get("org/other", NULL));
    assert_non_null(strstr(err.text, "404"));
    stop();
}

static void test_broken_off(void **state)
{
    (void)state;
    route stored[] = { { .path = "/blob/1?sig=a%2Bb", .status = 200, .body = weights, .n = WEIGHTS, .cut = 100000, .times = 2 }, BLOB };
    route routes[] = { LIST, CONFIG, README, { .path = weights_path, .status = 307, .headers = away } };
    start(routes, 4, stored, 2);
    if (!get("org/tiny", NULL)) fail_msg("%s", err.text);
    assert_true(whole());
    assert_int_equal(server_total(&store), 3);
    assert_string_equal(server_asked(&store, 0).range, "");
    assert_string_equal(server_asked(&store, 1).range, "bytes=100000-");
    assert_string_equal(server_asked(&store, 2).range, "bytes=200000-");
    assert_int_equal(server_asked(&store, 2).status, 206);
    stop();
}

static bool stop_half_way(void *user, const hub_progress *p)
{
    (void)user;
    return strcmp(p->file ? p->file : "", "model.safetensors") || p->done_bytes < 50000;
}

/* Another process goes on from the part; a server without ranges makes it begin again; a part that is longer or other than the file is not taken. */
static void test_resumed(void **state)
{
    (void)state;
    for (int ranges = 0; ranges < 2; ranges++) {
        route routes[] = { LIST, CONFIG, README, { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS, .cut = 100000, .times = 1 },
                           { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS, .no_range = !ranges } };
        start(routes, 5, NULL, 0);
        hub_request r = { .repo = "org/tiny", .endpoint = endpoint, .folder = folder, .wait_s = 0.1, .progress = stop_half_way };
        assert_false(genet__hub_get(&r, &err));
        assert_int_equal(err.code, GENET_ERR_STOPPED);
        assert_false(genet__file_exists_in(folder, "model.safetensors"));
        assert_false(genet__file_exists_in(folder, "config.json"));
        if (!get("org/tiny", NULL)) fail_msg("%s", err.text);
        assert_true(whole());
        bool went_on = false;
        for (int i = 0; i < server_total(&hub); i++) went_on |= server_asked(&hub, i).status == 206;
        assert_int_equal(went_on, ranges);
        stop();
    }
    route routes[] = { LIST, CONFIG, README, { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS } };
    for (int length = 1000; length < 2 * WEIGHTS; length += WEIGHTS) {
        char path[400];
        start(routes, 4, NULL, 0);
        snprintf(path, sizeof path, "%s/.genet-get", folder);
        assert_true(genet__file_make_dirs(path, &err));
        snprintf(path, sizeof path, "%s/.genet-get/model.safetensors.abc123.part", folder);
        char *bad = calloc(1, (size_t)length);
        assert_true(genet__file_write_all(path, bad, (size_t)length, &err));
        free(bad);
        if (!get("org/tiny", NULL)) fail_msg("%s", err.text);
        assert_true(whole());
        assert_false(genet__file_exists(path));
        stop();
    }
}

/* A try at everything that may not be taken. */
static void refuse(route *weights_route, int n, const char *words)
{
    route routes[8] = { LIST, CONFIG, README };
    memcpy(routes + 3, weights_route, (size_t)n * sizeof *routes);
    start(routes, 3 + n, NULL, 0);
    assert_false(get("org/tiny", NULL));
    if (!strstr(err.text, words)) fail_msg("\"%s\" is not in: %s", words, err.text);
    for (const char *c = err.text; *c; c++) assert_false((unsigned char)*c < 32 || *c == 127);
    assert_false(genet__file_exists_in(folder, "model.safetensors"));
    assert_false(genet__file_exists_in(folder, "config.json"));
    stop();
}

static void test_lies(void **state)
{
    (void)state;
    static char other[WEIGHTS + 10];
    memcpy(other, weights, WEIGHTS);
    refuse(&(route){ .path = weights_path, .status = 200, .body = other, .n = WEIGHTS + 10 }, 1, "more than the 300000 bytes");
    other[77] ^= 1;
    refuse(&(route){ .path = weights_path, .status = 200, .body = other, .n = WEIGHTS }, 1, "SHA-256");
    refuse(&(route){ .path = weights_path, .status = 200, .body = weights, .n = 1000 }, 1, "1000 bytes came");
    refuse(&(route){ .path = weights_path, .status = 302, .headers = "Location: file:///etc/passwd\r\n" }, 1, "no web address");
    refuse(&(route){ .path = weights_path, .status = 302, .headers = "Location: /org/tiny/resolve/abc123/model.safetensors\r\n" }, 1, "redirections");
    assert_int_equal(server_count(&hub, weights_path, false), 9);           /* asked for once, and eight hops */
    refuse(&(route){ .path = weights_path, .status = 302, .headers = "Location: http://\033[1mx\001\177/\r\n" }, 1, "no web address");
    assert_int_equal(server_count(&hub, weights_path, false), 1);           /* it will not become one */
    refuse(&(route){ .path = weights_path, .status = 206, .headers = "Content-Range: bytes 5-9/300000\r\n", .body = "abcde" }, 1, "from 5 on");
}

static void test_refused(void **state)
{
    (void)state;
    refuse(&(route){ .path = weights_path, .status = 200, .body = weights, .needs_token = true }, 1, "HF_TOKEN");
    refuse(&(route){ .path = weights_path, .status = 403, .body = "gated \033[1mrepo" }, 1, "gated  [1mrepo");
    refuse(&(route){ .path = weights_path, .status = 404 }, 1, "404");
    refuse(&(route){ .path = weights_path, .status = 429, .headers = "Retry-After: 1000 \r\n" }, 1, "patience");
    assert_int_equal(server_count(&hub, weights_path, false), 1);
    route routes[] = { { .path = list_path, .status = 401, .body = "Invalid credentials" },
                       { .path = "/api/models/org/away/revision/main?blobs=true", .status = 302, .headers = "Location: file:///etc/passwd\r\n" } };
    start(routes, 2, NULL, 0);
    assert_false(get("org/away", NULL));
    assert_non_null(strstr(err.text, "no web address"));
    assert_int_equal(server_total(&hub), 1);
    assert_false(get("org/tiny", "wrong"));
    assert_non_null(strstr(err.text, "the token is not accepted"));
    assert_null(strstr(err.text, "wrong"));                                 /* a token never stands in a message */
    assert_false(genet__file_exists(folder));
    stop();
}

static void test_patience(void **state)
{
    (void)state;
    route routes[] = { { .path = list_path, .status = 503, .times = 1 }, { .path = list_path, .status = 429, .headers = "Retry-After: 0\r\n", .times = 1 },
                       LIST, CONFIG, README, { .path = weights_path, .status = 429, .headers = "Retry-After: 1\r\n", .times = 1 },
                       { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS } };
    start(routes, 7, NULL, 0);
    patience_s = 2;
    if (!get("org/tiny", NULL)) fail_msg("%s", err.text);
    patience_s = 0.1;
    assert_true(whole());
    assert_int_equal(server_count(&hub, list_path, false), 3);
    assert_int_equal(server_count(&hub, weights_path, false), 2);
    stop();
}

static void test_usage(void **state)
{
    (void)state;
    route routes[] = { LIST, CONFIG, README, { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS } };
    static const char *const bad[] = { "", "a/b/c", "../x", "a b", "org/..", "/x", "x/", "org/tiny@a?b", "org/ti\nny" };
    start(routes, 4, NULL, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(get(bad[i], NULL));
        if (err.code != GENET_ERR_USAGE) fail_msg("%s: %s", bad[i], err.text);
    }
    assert_false(get("org/tiny", "a\r\nX: y"));
    assert_int_equal(err.code, GENET_ERR_USAGE);
    assert_int_equal(server_total(&hub), 0);
    hub_request open = { .repo = "org/tiny", .endpoint = "http://hub.invalid", .token = "t", .folder = folder };
    assert_false(genet__hub_get(&open, &err));
    assert_non_null(strstr(err.text, "use https"));
    open.endpoint = "ftp://127.0.0.1";
    open.token = NULL;
    assert_false(genet__hub_get(&open, &err));
    assert_non_null(strstr(err.text, "only http and https"));
    /* a folder with somebody's work in it is left alone */
    char path[300];
    snprintf(path, sizeof path, "%s/mine.txt", folder);
    assert_true(genet__file_make_dirs(folder, &err) && genet__file_write_all(path, "x", 1, &err));
    assert_false(get("org/tiny", NULL));
    assert_non_null(strstr(err.text, "mine.txt"));
    assert_false(genet__file_exists_in(folder, "config.json"));
    stop();
}

/* A full disk at every write: words, no file of its final name that is not whole, and it goes on afterwards. */
static void test_no_space(void **state)
{
    (void)state;
    route routes[] = { LIST, CONFIG, README, { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS } };
    start(routes, 4, NULL, 0);
    bool ok = false;
    for (long n = 0; !ok && n < 200; n += n < 6 ? 1 : 7) {
        int asked_before = server_count(&hub, weights_path, false);
        genet__file_fail_after(n, ENOSPC);
        ok = get("org/tiny", NULL);
        genet__file_fail_after(-1, 0);
        assert_in_range(server_count(&hub, weights_path, false), asked_before, asked_before + 1);  /* no network's fault */
        if (!ok && !strstr(err.text, "the disk is full")) fail_msg("write %ld: %s", n, err.text);
        if (genet__file_exists_in(folder, "model.safetensors")) assert_true(holds("model.safetensors", weights, WEIGHTS));
        if (genet__file_exists_in(folder, "config.json")) assert_true(ok || whole());
    }
    assert_true(ok && whole());
    stop();
}

static void test_no_memory(void **state)
{
    (void)state;
    route routes[] = { LIST, CONFIG, README, { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS } };
    start(routes, 4, NULL, 0);
    bool ok = false;
    for (long n = 0; !ok && n < 400; n++) {
        genet__alloc_fail_after(n);
        ok = get("org/tiny", NULL);
        genet__alloc_fail_after(-1);
        if (!ok && err.code != GENET_ERR_MEMORY) fail_msg("allocation %ld: %s", n, err.text);
    }
    assert_true(ok && whole());
    stop();
}

/* --- another revision into the same folder ----------------------------------------------------- */

static void put(const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_true(genet__file_write_all(path, text, strlen(text), &err));
}

static bool has(const char *name) { return genet__file_exists_in(folder, name); }

#define NEXT(name) "/org/tiny/resolve/def456/" name
static const char next_list[] = "{\"sha\": \"def456\", \"siblings\": [{\"rfilename\": \"config.json\"}, {\"rfilename\": \"config.json\"}, "
                                "{\"rfilename\": \"model.safetensors.index.json\"}, {\"rfilename\": \"model-00001-of-00002.safetensors\"}, "
                                "{\"rfilename\": \"model-00002-of-00002.safetensors\"}]}";

static void test_other_revision(void **state)
{
    (void)state;
    route routes[] = { LIST, CONFIG, { .path = "/org/tiny/resolve/abc123/README.md", .status = 200, .body = "", .times = 2 },
                       { .path = "/org/tiny/resolve/abc123/README.md", .status = 404, .times = 1 }, README,
                       { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS },
                       { .path = "/api/models/org/tiny/revision/next?blobs=true", .status = 200, .body = next_list },
                       { .path = NEXT("config.json"), .status = 200, .body = "{\"b\": 2}" },
                       { .path = NEXT("model.safetensors.index.json"), .status = 200, .body = "{}" },
                       { .path = NEXT("model-00001-of-00002.safetensors"), .status = 200, .body = "one" },
                       { .path = NEXT("model-00002-of-00002.safetensors"), .status = 404, .times = 1 },
                       { .path = NEXT("model-00002-of-00002.safetensors"), .status = 200, .body = "two" } };
    start(routes, sizeof routes / sizeof *routes, NULL, 0);
    if (!get("org/tiny", NULL)) fail_msg("%s", err.text);
    assert_true(whole() && holds(".genet-get/source", "org/tiny@abc123", 15));
    put("notes.txt", "mine");
    assert_false(get("org/tiny@next", NULL));
    assert_false(has("config.json") || has("README.md"));           /* neither of the one revision nor of the other */
    assert_true(has("model-00001-of-00002.safetensors") && holds(".genet-get/source", "org/tiny@def456", 15));
    if (!get("org/tiny@next", NULL)) fail_msg("%s", err.text);
    assert_true(holds("config.json", "{\"b\": 2}", 8) && holds("model-00002-of-00002.safetensors", "two", 3));
    assert_false(has("model.safetensors"));                          /* it would come before the shards */
    if (!get("org/tiny", NULL)) fail_msg("%s", err.text);
    assert_true(whole() && holds("notes.txt", "mine", 4));
    assert_false(has("model.safetensors.index.json") || has("model-00001-of-00002.safetensors") ||
                 has("model-00002-of-00002.safetensors"));
    put(".genet-get/source", "org/tiny");                            /* without a commit it could be any */
    assert_false(get("org/tiny", NULL));
    assert_false(has("config.json"));
    if (!get("org/tiny", NULL)) fail_msg("%s", err.text);
    assert_true(whole() && holds(".genet-get/source", "org/tiny@abc123", 15));
    stop();
}

static void test_source(void **state)
{
    (void)state;
    static const char *const others[] = { "org/tinyx@abc123", "org/tin@abc123", "x", "a\033[1m\302\233b" };
    route routes[] = { LIST, CONFIG, README, { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS },
                       { .path = "/api/models/org/tiny/revision/bare?blobs=true", .status = 200, .body = "{\"siblings\": []}" } };
    start(routes, 5, NULL, 0);
    if (!get("org/tiny", NULL)) fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        put(".genet-get/source", others[i]);
        assert_false(get("org/tiny", NULL));
        if (!strstr(err.text, i == 3 ? "holds a [1m  b already" : others[i])) fail_msg("%s", err.text);
        assert_true(whole());
    }
    /* one at a time in a folder; what was begun of other revisions goes when all is there */
    char path[400];
    snprintf(path, sizeof path, "%s/.genet-get", folder);
    int lock = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(lock >= 0 && !flock(lock, LOCK_EX | LOCK_NB));
    put(".genet-get/source", "org/tiny@abc123");
    put(".genet-get/model.safetensors.old.part", "x");
    assert_false(get("org/tiny", NULL));
    assert_non_null(strstr(err.text, "another genet is fetching"));
    assert_true(whole());
    close(lock);
    if (!get("org/tiny", NULL)) fail_msg("%s", err.text);
    assert_true(whole() && !genet__file_exists_in(path, "model.safetensors.old.part"));
    assert_false(get("org/tiny@bare", NULL));
    assert_non_null(strstr(err.text, "no commit"));
    stop();
}

/* --- where requests and tokens go ------------------------------------------------------------------ */

static void test_where_to(void **state)
{
    (void)state;
    static const char *const safe[] = { "https://hub.invalid/x", "http://127.0.0.1:80", "http://127.9.8.7/", "http://localhost:1/x",
                                        "http://[::1]:5/", "http://user@127.0.0.1/" };
    static const char *const open[] = { "http://127.evil.invalid", "http://127.0.0.1.evil.invalid", "http://localhost.evil.invalid",
                                        "http://127.0.0.1@evil.invalid/", "http://10.0.0.1", "http://128.0.0.1", "http://[::2]/",
                                        "http://hub.invalid", "ftp://127.0.0.1", "no address", "" };
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
        if (!genet__http_keeps_secrets(safe[i])) fail_msg("%s", safe[i]);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (genet__http_keeps_secrets(open[i])) fail_msg("%s", open[i]);
    assert_null(genet__http_refused("https://a.invalid", "https://b.invalid"));
    assert_null(genet__http_refused("http://a.invalid", "http://b.invalid"));
    assert_null(genet__http_refused("http://a.invalid", "https://b.invalid"));
    assert_string_equal(genet__http_refused("https://a.invalid", "http://a.invalid"), "no longer https");
    assert_string_equal(genet__http_refused("https://a.invalid", "HTTP://127.0.0.1/"), "no longer https");
    assert_string_equal(genet__http_refused("https://a.invalid", "ftp://a.invalid"), "no web address");
    assert_string_equal(genet__http_refused("http://a.invalid", "file:///etc/passwd"), "no web address");
    hub_request r = { .repo = "org/tiny", .endpoint = "http://127.evil.invalid", .token = "t", .folder = folder };
    assert_false(genet__hub_get(&r, &err));
    assert_non_null(strstr(err.text, "use https"));
}

/* A proxy would read the token; without one it is used as the environment says. */
static void test_proxy(void **state)
{
    (void)state;
    route routes[] = { LIST, CONFIG, README, { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS } };
    char proxy[100];
    start(routes, 4, NULL, 0);
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", store.port);
    setenv("http_proxy", proxy, 1);
    bool ok = get("org/tiny", "hf_secret");
    int seen = server_total(&store);
    bool other = get("org/tiny", NULL);
    unsetenv("http_proxy");
    assert_true(ok && whole());
    assert_int_equal(seen, 0);
    assert_false(other);
    assert_int_equal(server_total(&store), 1);
    stop();
}

/* --- how long, how large ------------------------------------------------------------------------------- */

static bool note_wait(void *user, const hub_progress *p)
{
    if (p->waiting_s > *(double *)user) *(double *)user = p->waiting_s;
    return true;
}

/* Passed, far away, and no date at all: then as long as without a word. */
static void test_wait_as_date(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        route routes[] = { { .path = list_path, .status = 429, .times = 1,
                             .headers = i ? "Retry-After: soon\r\n" : "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT \r\n" },
                           LIST, CONFIG, README, { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS } };
        double longest = 0;
        start(routes, 5, NULL, 0);
        hub_request r = { .repo = "org/tiny", .endpoint = endpoint, .folder = folder, .wait_s = i ? 0.1 : 30, .progress = note_wait,
                          .user = &longest };
        if (!genet__hub_get(&r, &err)) fail_msg("%s", err.text);
        assert_true(whole());
        assert_int_equal(longest > 0.05, i);
        stop();
    }
    refuse(&(route){ .path = weights_path, .status = 429, .headers = "Retry-After: Thu, 31 Dec 2099 23:59:59 GMT\r\n" }, 1, "patience");
    assert_int_equal(server_count(&hub, weights_path, false), 1);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct { const char *config, *weights; bool fits; } cases[] = {
        { "9007199254740993", "1", false }, { "9007199254740992", "1", false }, { "1e300", "1", false }, { "-1", "1", false },
        { "99999999999999999999", "1", false }, { "1.5", "1", false }, { "\"7\"", "1", false }, { "9007199254740991", "2", false },
        { "9007199254740991", "1", true }, { "null", "1", true },
    };
    enum { N = sizeof cases / sizeof *cases };
    static char paths[N][100], lists[N][300];
    route routes[N];
    for (int i = 0; i < N; i++) {
        snprintf(paths[i], sizeof paths[i], "/api/models/org/tiny/revision/v%d?blobs=true", i);
        snprintf(lists[i], sizeof lists[i], "{\"sha\": \"abc123\", \"siblings\": [{\"rfilename\": \"config.json\", \"size\": %s}, "
                 "{\"rfilename\": \"model.safetensors\", \"size\": %s}]}", cases[i].config, cases[i].weights);
        routes[i] = (route){ .path = paths[i], .status = 200, .body = lists[i] };
    }
    start(routes, N, NULL, 0);
    for (int i = 0; i < N; i++) {
        char repo[40];
        snprintf(repo, sizeof repo, "org/tiny@v%d", i);
        assert_false(get(repo, NULL));                      /* there is nothing but lists */
        if (!strstr(err.text, cases[i].fits ? "404" : i == 7 ? "add up" : "the size of config.json is none"))
            fail_msg("%s: %s", cases[i].config, err.text);
    }
    stop();
}

/* A file whose size the list does not tell: it goes on where it broke off, and needs no length at all. */
static void test_no_size(void **state)
{
    (void)state;
    static const char bare[] = "{\"sha\": \"abc123\", \"siblings\": [{\"rfilename\": \"config.json\"}, {\"rfilename\": \"README.md\"}, "
                               "{\"rfilename\": \"model.safetensors\"}]}";
    static const char *const lengths[] = { NULL, "", "9223372036854775807" };
    for (int i = 0; i < 3; i++) {
        route routes[] = { { .path = list_path, .status = 200, .body = bare }, CONFIG, README,
                           { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS, .cut = i ? 0 : 100000, .times = i < 2,
                             .length = lengths[i] },
                           { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS } };
        start(routes, 5, NULL, 0);
        bool ok = get("org/tiny", NULL);
        if (ok != (i < 2)) fail_msg("%d: %s", i, err.text);
        assert_int_equal(server_count(&hub, weights_path, false), i ? 1 : 2);
        if (ok) assert_true(whole());
        else assert_non_null(strstr(err.text, "more than a file has"));
        stop();
    }
}

/* The program speaks of waits of a second or more. */
static void test_program_waits(void **state)
{
    (void)state;
    const char *program = getenv("GENET");
    char command[1000], text[4000];
    if (!program || access(program, X_OK)) skip();
    route routes[] = { { .path = list_path, .status = 503, .times = 1 }, LIST, CONFIG, README,
                       { .path = weights_path, .status = 429, .headers = "Retry-After: 1\r\n", .times = 1 },
                       { .path = weights_path, .status = 200, .body = weights, .n = WEIGHTS } };
    start(routes, 6, NULL, 0);
    snprintf(command, sizeof command, "HF_TOKEN= '%s' get org/tiny -o '%s' --endpoint %s --wait 1 2>&1", program, folder, endpoint);
    FILE *said = popen(command, "r");
    assert_non_null(said);
    text[fread(text, 1, sizeof text - 1, said)] = 0;
    if (pclose(said) || !whole()) fail_msg("%s", text);
    const char *first = strstr(text, "waiting ");
    if (!first || strncmp(first, "waiting 1 s", 11) || strstr(first + 1, "waiting")) fail_msg("%s", text);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redirected), cmocka_unit_test(test_broken_off), cmocka_unit_test(test_resumed), cmocka_unit_test(test_lies),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_patience), cmocka_unit_test(test_usage), cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_other_revision), cmocka_unit_test(test_source),
        cmocka_unit_test(test_where_to), cmocka_unit_test(test_proxy), cmocka_unit_test(test_wait_as_date),
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_no_size), cmocka_unit_test(test_program_waits),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}

#else
int main(void)
{
    puts("built without libcurl: nothing to test");
    return 77;
}
#endif
