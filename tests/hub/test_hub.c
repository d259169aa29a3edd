/* labels: core
 * test_hub.c - fetching a model's folder from a hub that redirects to another
 * host, breaks off, lies, asks for patience and refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/file.h"
#include "format/sha256.h"
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
    assert_string_equal(hub.asked[0].token, "Bearer hf_secret");
    assert_int_equal(server_count(&store, stored[0].path, false), 1);
    assert_int_equal(server_count(&store, stored[0].path, true), 0);        /* the other host sees no token */
    assert_int_equal(hub.n_asked, 4);                                       /* nothing but what is needed */
    assert_string_equal(hub.asked[3].path, config_path);                    /* config.json last */
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
    assert_int_equal(store.n_asked, 3);
    assert_string_equal(store.asked[0].range, "");
    assert_string_equal(store.asked[1].range, "bytes=100000-");
    assert_string_equal(store.asked[2].range, "bytes=200000-");
    assert_int_equal(store.asked[2].status, 206);
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
        hub_request r = { .repo = "org/tiny", .endpoint = endpoint, .folder = folder, .wait_s = 2, .progress = stop_half_way };
        assert_false(genet__hub_get(&r, &err));
        assert_int_equal(err.code, GENET_ERR_STOPPED);
        assert_false(genet__file_exists_in(folder, "model.safetensors"));
        assert_false(genet__file_exists_in(folder, "config.json"));
        if (!get("org/tiny", NULL)) fail_msg("%s", err.text);
        assert_true(whole());
        bool went_on = false;
        for (int i = 0; i < hub.n_asked; i++) went_on |= hub.asked[i].status == 206;
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
    refuse(&(route){ .path = weights_path, .status = 206, .headers = "Content-Range: bytes 5-9/300000\r\n", .body = "abcde" }, 1, "from 5 on");
}

static void test_refused(void **state)
{
    (void)state;
    refuse(&(route){ .path = weights_path, .status = 200, .body = weights, .needs_token = true }, 1, "HF_TOKEN");
    refuse(&(route){ .path = weights_path, .status = 403, .body = "gated \033[1mrepo" }, 1, "gated  [1mrepo");
    refuse(&(route){ .path = weights_path, .status = 404 }, 1, "404");
    refuse(&(route){ .path = weights_path, .status = 429, .headers = "Retry-After: 1000\r\n" }, 1, "patience");
    route routes[] = { { .path = list_path, .status = 401, .body = "Invalid credentials" } };
    start(routes, 1, NULL, 0);
    assert_false(get("org/tiny", "wrong"));
    assert_non_null(strstr(err.text, "the token is not accepted"));
    assert_null(strstr(err.text, "wrong"));                                 /* a token never stands in a message */
    assert_false(genet__file_exists(folder));
    stop();
}

static void test_patience(void **state)
{
    (void)state;
    route routes[] = { { .path = list_path, .status = 429, .headers = "Retry-After: 0\r\n", .times = 1 }, { .path = list_path, .status = 503, .times = 1 },
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
    assert_int_equal(hub.n_asked, 0);
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
        genet__file_fail_after(n, ENOSPC);
        ok = get("org/tiny", NULL);
        genet__file_fail_after(-1, 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redirected), cmocka_unit_test(test_broken_off), cmocka_unit_test(test_resumed), cmocka_unit_test(test_lies),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_patience), cmocka_unit_test(test_usage), cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_no_memory),
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
