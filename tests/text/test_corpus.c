/* labels: core
 * test_corpus.c - files, folders, gzip and pipes are one stream; tokenized
 * once, split where nanoGPT splits, found again whole or refused in words; ids
 * do not depend on how the text was read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "golden/golden.h"
#include "text/corpus.h"
#include "text/tokenizer_pipeline.h"

static char folder[] = "/tmp/genet-test-corpus-XXXXXX";

/* A path in the test's folder; each call ends the life of the one 8 calls ago. */
static const char *in(const char *name)
{
    static char path[8][200];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void put_n(const char *name, const char *text, size_t n)
{
    genet_err err = { 0 };
    if (!genet__file_write_all(in(name), text, n, &err)) fail_msg("%s", err.text);
}

static void put(const char *name, const char *text) { put_n(name, text, strlen(text)); }

static void put_gz(const char *name, const char *text, size_t n)
{
    gzFile f = gzopen(in(name), "wb");
    assert_int_equal(gzwrite(f, text, (unsigned)n), (int)n);
    gzclose(f);
}

static void make_dir(const char *name) { assert_int_equal(mkdir(in(name), 0777), 0); }

static text_source *open_paths(const char *a, const char *b)
{
    genet_err err = { 0 };
    const char *paths[] = { a, b };
    text_source *s = genet__source_open(paths, b ? 2 : 1, folder, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

static void expect_words(const genet_err *err, const char *words)
{
    if (!strstr(err->text, words)) fail_msg("\"%s\" lacks \"%s\"", err->text, words);
}

/* All of the stream, in the given source's order. */
static void expect_stream(text_source *s, const char *want, size_t n_want)
{
    genet_err err = { 0 };
    for (int pass = 0; pass < 2; pass++) {              /* as often as wanted */
        size_t at = 0, n;
        const char *text;
        for (;;) {
            if (!genet__source_next(s, &text, &n, &err)) fail_msg("%s", err.text);
            if (!n) break;
            assert_true(at + n <= n_want);
            assert_memory_equal(text, want + at, n);
            at += n;
        }
        assert_int_equal(at, n_want);
    }
    genet__source_close(s);
}

static void expect_bad(const char *a, const char *b, const char *words)
{
    genet_err err = { 0 };
    const char *paths[] = { a, b };
    text_source *s = genet__source_open(paths, b ? 2 : 1, folder, &err);
    text_scan *scan = calloc(1, sizeof *scan);
    if (s && genet__source_scan(s, scan, &err)) fail_msg("accepted, wanted: %s", words);
    expect_words(&err, words);
    genet__source_close(s);
    free(scan);
}

/* --- the stream ----------------------------------------------------------------- */

static void test_order(void **state)
{
    (void)state;
    make_dir("tree");
    make_dir("tree/b");
    make_dir("tree/empty");
    make_dir("tree/.hidden");
    put("tree/c.txt", "three ");
    put("tree/a.txt", "one ");
    put("tree/b/x.txt", "two ");
    put("tree/b/.skipped", "never");
    put("tree/.hidden/y", "never");
    put("tree/B.txt", "zero ");
    put("tree.txt", "last");
    text_source *s = open_paths(in("tree.txt"), in("tree"));
    assert_int_equal(genet__source_files(s), 5);
    expect_stream(s, "lastzero one two three ", 23);         /* "tree.txt" < "tree/..." */
    expect_bad(in("tree/empty"), NULL, "there are no files in");
    expect_bad(in("tree/a.txt"), in("tree"), "a.txt is given twice");
    expect_bad(in("absent.txt"), NULL, "absent.txt: No such file");
    assert_int_equal(symlink("..", in("tree/b/loop")), 0);
    expect_bad(in("tree"), NULL, "a link that leads back?");
    assert_int_equal(unlink(in("tree/b/loop")), 0);
}

/* Characters of three bytes, so that chunks end inside of them. */
static char *long_text(size_t n)
{
    char *text = malloc(n);
    for (size_t i = 0; i + 2 < n; i += 3) memcpy(text + i, i % 7 ? "\xe4\xb8\xad" : "ab\n", 3);
    return text;
}

static void test_long(void **state)
{
    (void)state;
    size_t n = 3 * 300000;
    char *text = long_text(n);
    put_n("long.txt", text, n);
    put_gz("long.gz", text, n);
    expect_stream(open_paths(in("long.txt"), NULL), text, n);
    expect_stream(open_paths(in("long.gz"), NULL), text, n);
    text_scan *plain = calloc(1, sizeof *plain), *packed = calloc(1, sizeof *packed);
    genet_err err = { 0 };
    text_source *a = open_paths(in("long.txt"), NULL), *b = open_paths(in("long.gz"), NULL);
    assert_true(genet__source_scan(a, plain, &err) && genet__source_scan(b, packed, &err));
    assert_memory_equal(plain, packed, sizeof *plain);          /* gzip or not is one text */
    assert_int_equal(plain->n_bytes, n);
    int64_t n_chars = 0;
    for (size_t i = 0; i < n; i++) n_chars += (text[i] & 0xc0) != 0x80;
    assert_int_equal(plain->n_chars, n_chars);
    genet__source_close(a);
    genet__source_close(b);
    text[n / 2 / 3 * 3] = '\xff';
    put_n("long.txt", text, n);
    expect_bad(in("long.txt"), NULL, "long.txt: byte 450000 (0xFF) is not UTF-8 text");
    free(text);
    free(plain);
    free(packed);
}

static void test_bad_text(void **state)
{
    (void)state;
    put("bad", "good \xc3(");
    expect_bad(in("bad"), NULL, "bad: byte 5 (0xC3) is not UTF-8 text");
    put("bad", "cut \xe4\xb8");
    expect_bad(in("bad"), NULL, "bad: byte 4 (0xE4)");
    put("good", "\xad follows");                                /* the rest of it: but files stand alone */
    expect_bad(in("bad"), in("good"), "bad: byte 4 (0xE4)");
    put_n("bad", "0123456789\0abc", 14);
    expect_bad(in("bad"), NULL, "bad: byte 10 is zero: this is not a text file");
    put("bad", "");
    expect_bad(in("bad"), NULL, "the data is empty");
    char *text = long_text(90000);
    size_t n;
    put_gz("cut.gz", text, 90000);
    genet_err err = { 0 };
    char *packed = genet__file_read(in("cut.gz"), 1 << 20, &n, &err);
    put_n("cut.gz", packed, n - 9);
    expect_bad(in("cut.gz"), NULL, "cut.gz: damaged gzip data: it ends in the middle");
    packed[n / 2] ^= 0x55;
    put_n("cut.gz", packed, n);
    expect_bad(in("cut.gz"), NULL, "cut.gz: damaged gzip data");
    genet__free(packed);
    free(text);
}

/* "-" and other pipes can be read as often as files. */
static void test_pipe(void **state)
{
    (void)state;
    int ends[2], keep = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "from a pipe", 11), 11);
    close(ends[1]);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    close(ends[0]);
    expect_stream(open_paths("-", NULL), "from a pipe", 11);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "zero\0", 5), 5);
    close(ends[1]);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    expect_bad("-", NULL, "standard input: byte 4 is zero");
    expect_bad("-", NULL, "standard input holds no text");      /* it is used up */
    genet_err err = { 0 };
    genet__file_fail_after(0, ENOSPC);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "text", 4), 4);
    close(ends[1]);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    const char *path = "-";
    assert_null(genet__source_open(&path, 1, folder, &err));
    genet__file_fail_after(-1, 0);
    expect_words(&err, "disk is full");
    dup2(keep, STDIN_FILENO);
    close(keep);
}

/* --- the corpus ------------------------------------------------------------------- */

typedef struct world { text_source *s; text_scan *scan; tokenizer *t; corpus c; genet_err err; } world;

/* The text of one file, scanned, with its vocabulary. */
static void open_world(world *w, const char *path)
{
    *w = (world){ .s = open_paths(path, NULL), .scan = calloc(1, sizeof *w->scan) };
    if (!genet__source_scan(w->s, w->scan, &w->err)) fail_msg("%s", w->err.text);
    w->t = genet__tokenizer_from_chars(&w->scan->chars, &w->err);
    assert_non_null(w->t);
}

static void make_corpus(world *w, double val_fraction)
{
    if (!genet__corpus_make(folder, w->s, w->scan, w->t, val_fraction, NULL, &w->err)) fail_msg("%s", w->err.text);
    if (!genet__corpus_open(&w->c, folder, w->t, &w->err)) fail_msg("%s", w->err.text);
}

static void close_world(world *w)
{
    genet__corpus_close(&w->c);
    genet__tokenizer_free(w->t);
    genet__source_close(w->s);
    free(w->scan);
}

/* The split is int(n * (1 - fraction)) characters, as Python computes it. */
static void test_split(void **state)
{
    (void)state;
    static const struct { int n; double fraction; int64_t n_train; } row[] = {
        { 10, 0.1, 9 }, { 19, 0.1, 17 }, { 20, 0.1, 18 },   { 1, 0.1, 0 },
        { 7, 0, 7 },    { 7, 1, 0 },     { 100, 0.29, 71 }, { 1000, 0.07, 930 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[1001];
        for (int k = 0; k < row[i].n; k++) text[k] = (char)('a' + k % 26);
        put_n("text", text, (size_t)row[i].n);
        world w;
        open_world(&w, in("text"));
        make_corpus(&w, row[i].fraction);
        assert_int_equal(w.c.n_tokens, row[i].n);
        assert_int_equal(w.c.n_train, row[i].n_train);
        assert_int_equal(w.c.n_train_chars, row[i].n_train);
        close_world(&w);
    }
}

static void test_tokens(void **state)
{
    (void)state;
    world w;
    int32_t ids[12];
    put("text", "h\xc3\xa9llo w\xc3\xb6rld\n");         /* 12 characters, 14 bytes */
    open_world(&w, in("text"));
    make_corpus(&w, 0.25);
    assert_int_equal(w.c.n_tokens, 12);
    assert_int_equal(w.c.n_train, 9);
    assert_int_equal(w.c.element_bytes, 2);
    assert_int_equal(w.c.vocab_size, 10);
    genet__corpus_read(&w.c, 0, 12, ids);
    static const int32_t want[] = { 3, 8, 4, 4, 5, 1, 7, 9, 6, 4, 2, 0 };      /* of "\n dhlorw" then the accents */
    assert_memory_equal(ids, want, sizeof want);
    genet__corpus_read(&w.c, 9, 3, ids);
    assert_memory_equal(ids, want + 9, 3 * sizeof *want);
    assert_int_equal(genet__corpus_bytes(&w.c, w.t, 0, 12), 14);
    assert_int_equal(genet__corpus_bytes(&w.c, w.t, 1, 2), 2);
    assert_int_equal(genet__corpus_bytes(&w.c, w.t, 10, 12), 2);
    assert_true(genet__corpus_verify(&w.c, w.scan, &w.err));
    assert_true(genet__corpus_require(&w.c, 8, &w.err));
    assert_false(genet__corpus_require(&w.c, 9, &w.err));
    expect_words(&w.err, "its training part has 9 tokens, a block of 9 needs at least 10");
    close_world(&w);
    open_world(&w, in("text"));
    make_corpus(&w, 0.1);
    assert_true(w.c.n_tokens - w.c.n_train == 2 && genet__corpus_require(&w.c, 4, &w.err));
    close_world(&w);
    put("text", "abcdefghij");
    open_world(&w, in("text"));
    make_corpus(&w, 0.1);
    assert_false(genet__corpus_require(&w.c, 4, &w.err));
    expect_words(&w.err, "its validation part, the last 0.1 of 10 characters, has 1 tokens and needs 2");
    close_world(&w);
}

/* More than 65536 different characters ask for 32 bits. */
static void test_wide(void **state)
{
    (void)state;
    enum { N = 70000 };
    char *text = malloc(4 * N);
    size_t n = 0;
    for (uint32_t i = 0; i < N; i++) n += (size_t)genet__utf8_encode(0x10000 + i, text + n);
    put_n("wide", text, n);
    world w;
    open_world(&w, in("wide"));
    make_corpus(&w, 0.1);
    assert_int_equal(w.c.element_bytes, 4);
    int32_t *ids = malloc(N * sizeof *ids);
    genet__corpus_read(&w.c, 0, N, ids);
    for (int i = 0; i < N; i++) assert_int_equal(ids[i], i);
    free(ids);
    free(text);
    close_world(&w);
}

static void test_changed(void **state)
{
    (void)state;
    world w, other;
    put("text", "some text to train on");
    open_world(&w, in("text"));
    make_corpus(&w, 0.1);
    put("other", "some text to train on!");
    open_world(&other, in("other"));
    assert_false(genet__corpus_verify(&w.c, other.scan, &w.err));
    expect_words(&w.err, w.scan->hash);
    expect_words(&w.err, other.scan->hash);
    expect_words(&w.err, "it has 22 bytes");
    corpus c;
    assert_false(genet__corpus_open(&c, folder, other.t, &w.err));
    expect_words(&w.err, "made with another tokenizer");
    put("text", "some text to train ON");                       /* between the scan and the second pass */
    assert_false(genet__corpus_make(folder, w.s, w.scan, w.t, 0.1, NULL, &w.err));
    expect_words(&w.err, "is not among the 11 characters");
    put("text", "text some to train on");
    assert_false(genet__corpus_make(folder, w.s, w.scan, w.t, 0.1, NULL, &w.err));
    expect_words(&w.err, "changed while it was being read");
    close_world(&other);
    close_world(&w);
}

static void test_damaged(void **state)
{
    (void)state;
    world w;
    corpus c;
    size_t n;
    put("text", "some text to train on");
    open_world(&w, in("text"));
    make_corpus(&w, 0.1);
    char *bin = genet__file_read(in("corpus.bin"), 1 << 20, &n, &w.err),
         *json = genet__file_read(in("corpus.json"), 1 << 20, NULL, &w.err);
    put_n("corpus.bin", bin, n - 1);
    assert_false(genet__corpus_open(&c, folder, w.t, &w.err));
    expect_words(&w.err, "has 41 bytes, not the 21 tokens of 2 bytes");
    bin[7] ^= 1;
    put_n("corpus.bin", bin, n);
    assert_true(genet__corpus_open(&c, folder, w.t, &w.err));
    assert_false(genet__corpus_verify(&c, w.scan, &w.err));
    expect_words(&w.err, "corpus.bin has CRC-32");
    genet__corpus_close(&c);
    static const struct { const char *json, *words; } bad[] = {
        { "{}", "\"format\" is missing" },
        { "{\"format\": 3}", "format 3 is not known" },
        { "{\"format\": 0}", "format 0 is not known" },
        { "{", "corpus.json:1" },
        { "{\"format\": 1, \"dtype\": 5}", "\"dtype\" must be a string" },
        { "{\"format\": 1, \"dtype\": \"u16\"}", "\"n_tokens\" is missing" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put("corpus.json", bad[i].json);
        assert_false(genet__corpus_open(&c, folder, w.t, &w.err));
        expect_words(&w.err, bad[i].words);
    }
    char *n_train = strstr(json, "\"n_train\": 1");
    assert_non_null(n_train);
    n_train[11] = '9';                                          /* 18 of 21 becomes 98 */
    put("corpus.json", json);
    assert_false(genet__corpus_open(&c, folder, w.t, &w.err));
    expect_words(&w.err, "contradict each other");
    genet__free(bin);
    genet__free(json);
    close_world(&w);
}

/* A corpus whose making failed is not there; the next try succeeds. */
static void test_failing(void **state)
{
    (void)state;
    world w;
    put("text", "some text to train on");
    open_world(&w, in("text"));
    bool ok = false;
    for (long n = 0; !ok; n++) {
        assert_true(n < 50);
        unlink(in("corpus.json"));
        genet__file_fail_after(n, EIO);
        ok = genet__corpus_make(folder, w.s, w.scan, w.t, 0.1, NULL, &w.err);
        genet__file_fail_after(-1, 0);
        /* a failure after the last rename (syncing the folder) may leave the whole file */
        if (!ok && genet__file_exists_in(folder, "corpus.json")) assert_true(genet__corpus_open(&w.c, folder, w.t, &w.err));
        genet__corpus_close(&w.c);
    }
    ok = false;
    for (long n = 0; !ok; n++) {
        assert_true(n < 500);
        const char *path = in("text");
        text_source *s = NULL;
        genet__alloc_fail_after(n);
        ok = (s = genet__source_open(&path, 1, folder, &w.err)) && genet__source_scan(s, w.scan, &w.err)
            && genet__corpus_make(folder, s, w.scan, w.t, 0.1, NULL, &w.err)
            && genet__corpus_open(&w.c, folder, w.t, &w.err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(w.err.code, GENET_ERR_MEMORY);
        genet__source_close(s);
        genet__corpus_close(&w.c);
    }
    close_world(&w);
}

static void test_temporary(void **state)
{
    (void)state;
    world w;
    put("text", "some text to train on");
    put("new", "more or no text");
    open_world(&w, in("text"));
    text_source *s = open_paths(in("new"), NULL);
    assert_int_equal(setenv("TMPDIR", in("tmp"), 1), 0);
    make_dir("tmp");
    if (!genet__corpus_temporary(&w.c, s, w.t, &w.err)) fail_msg("%s", w.err.text);
    assert_true(w.c.n_tokens == 15 && w.c.n_train == 0);
    assert_int_equal(genet__corpus_bytes(&w.c, w.t, 0, 15), 15);
    assert_int_equal(rmdir(in("tmp")), 0);                      /* nothing is left in it */
    genet__source_close(s);
    genet__corpus_close(&w.c);
    make_dir("tmp");
    put("new", "some Text");
    s = open_paths(in("new"), NULL);
    assert_false(genet__corpus_temporary(&w.c, s, w.t, &w.err));
    expect_words(&w.err, "new: byte 5: the character 'T' (U+0054) is not among");
    assert_int_equal(rmdir(in("tmp")), 0);
    unsetenv("TMPDIR");
    genet__source_close(s);
    close_world(&w);
}

/* --- tokens of many characters --------------------------------------------------------- */

/* A tokenizer made for hard times: a run of equal letters is one token (its id, the run's length), so that only the
 * letter after it tells where it ends; 'X' is an error. */
static bool encode_runs(token_run *r, const token_text *text)
{
    for (size_t i = 0, k; i < text->n; i = k) {
        for (k = i; k < text->n && text->s[k] == text->s[i]; k++) {}
        r->bad = text->s + i;
        if (text->s[i] == 'X') return genet__err_set(r->err, GENET_ERR_FORMAT, "an X");
        token_text run = genet__token_text_slice(text, i, k);
        assert_true(genet__run_add(r, (int32_t)(k - i), &run));
    }
    return true;
}

static size_t cut_runs(const tokenizer *t, const char *text, size_t n)
{
    (void)t;
    size_t end = n;
    while (end > 0 && text[end - 1] == text[n - 1]) end--;
    return end;
}

static const tokenizer_kind runs_kind = { .name = "runs", .model_type = "runs", .encode = encode_runs, .cut = cut_runs };
enum { RUNS = 3000 };

static void open_runs(world *w, tokenizer *runs, const char *a, const char *b, size_t chunk)
{
    *w = (world){ .s = open_paths(a, b), .scan = calloc(1, sizeof *w->scan) };
    *runs = (tokenizer){ .kind = &runs_kind, .n = RUNS, .unknown = -1, .bytes = "",
                         .start = calloc(RUNS + 1, sizeof(uint32_t)) };
    genet__source_set_chunk(w->s, chunk);
    if (!genet__source_scan(w->s, w->scan, &w->err)) fail_msg("%s", w->err.text);
    w->t = runs;
}

static void close_runs(world *w)
{
    free(w->t->start);
    w->t = NULL;
    close_world(w);
}

/* Tokens from .. are the runs of text. */
static void expect_runs(const corpus *c, int64_t from, int64_t to, const char *text, size_t n)
{
    token_list want = { 0 };
    const token_text all = { text, n, NULL, 0 };
    assert_true(encode_runs(&(token_run){ .sink = { .ids = &want } }, &all));
    assert_int_equal(to - from, want.n);
    int32_t *ids = calloc((size_t)want.n + 1, sizeof *ids);
    genet__corpus_read(c, from, to - from, ids);
    assert_memory_equal(ids, want.at, (size_t)want.n * sizeof *ids);
    genet__token_list_release(&want);
    free(ids);
}

/* Whatever the chunks, and across files, a part's ids are those of its whole text; the split alone cuts. */
static void test_chunks(void **state)
{
    (void)state;
    static char text[4000];
    static const size_t chunk[] = { 4, 5, 16, 100, 1 << 18 };
    uint32_t x = 1;
    size_t n = 0;
    /* runs of 1 to 40, and one that is longer than many chunks */
    for (int run = 0; n < 3000; run++) {
        x = x * 1664525 + 1013904223;
        size_t length = run == 20 ? 1500 : 1 + (x >> 24) % 40;
        memset(text + n, 'a' + run % 3, length);
        n += length;
    }
    put_n("runs-a", text, 1777);                                /* inside of a run */
    put_n("runs-b", text + 1777, n - 1777);
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 4; k++) {
            static const double fraction[] = { 0, 0.1, 0.5, 1 };
            world w;
            tokenizer runs;
            open_runs(&w, &runs, in("runs-a"), in("runs-b"), chunk[i]);
            make_corpus(&w, fraction[k]);
            size_t split = (size_t)w.c.n_train_chars;
            assert_int_equal(w.c.n_train_bytes, split);
            assert_int_equal(split, genet__corpus_train_chars((int64_t)n, fraction[k]));
            expect_runs(&w.c, 0, w.c.n_train, text, split);
            expect_runs(&w.c, w.c.n_train, w.c.n_tokens, text + split, n - split);
            close_runs(&w);
        }
}

/* The same with byte pairs and words, learned from the text itself. */
static void test_learned(void **state)
{
    (void)state;
    static const char *const spec[] = { "bpe:300", "word:40", "char" };
    static const size_t chunk[] = { 4, 9, 1 << 18 };
    size_t n = 0;
    char *text = genet__file_read(golden_path("word/text.txt"), 1 << 20, &n, NULL);
    for (int i = 0; i < 9; i++) {
        world w = { .s = open_paths(golden_path("word/text.txt"), NULL), .scan = calloc(1, sizeof *w.scan) };
        genet__source_set_chunk(w.s, chunk[i / 3]);
        assert_true(genet__source_scan(w.s, w.scan, &w.err));
        w.t = genet__tokenizer_make(spec[i % 3], w.s, w.scan, genet__corpus_train_chars(w.scan->n_chars, 0.3), NULL, &w.err);
        if (!w.t) fail_msg("%s", w.err.text);
        make_corpus(&w, 0.3);
        token_list want = { 0 };
        int32_t ids[2000];
        size_t split = (size_t)w.c.n_train_bytes;
        assert_true(split > 300 && split < n);
        assert_true(genet__tokenizer_encode(w.t, text, split, &want, &w.err));
        assert_int_equal(want.n, w.c.n_train);
        assert_true(genet__tokenizer_encode(w.t, text + split, n - split, &want, &w.err));
        assert_true(want.n == w.c.n_tokens && want.n < 2000);
        genet__corpus_read(&w.c, 0, want.n, ids);
        assert_memory_equal(ids, want.at, (size_t)want.n * sizeof *ids);
        if (i % 3 != 1) assert_int_equal(genet__corpus_bytes(&w.c, w.t, w.c.n_train, w.c.n_tokens), n - split);
        genet__token_list_release(&want);
        close_world(&w);
    }
    genet__free(text);
}

/* An error names file and byte, even where the text was carried over from the file before. */
static void test_place(void **state)
{
    (void)state;
    static const struct { const char *a, *b, *words; } row[] = {
        { "abcX", "abc", "place-a: byte 3: an X" },      { "abcXX", "XXXX", "place-a: byte 3: an X" },
        { "aaaa", "aaX", "place-b: byte 2: an X" },      { "aaaaaaaaX", "b", "place-a: byte 8: an X" },
        { "abbbb", "bbbbbbbbbbbX", "place-b: byte 11:" }, { "abcdefghijklmn", "X", "place-b: byte 0: an X" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (size_t chunk = 4; chunk < 8; chunk++) {
            put("place-a", row[i].a);
            put("place-b", row[i].b);
            world w;
            tokenizer runs;
            open_runs(&w, &runs, in("place-a"), in("place-b"), chunk);
            assert_false(genet__corpus_make(folder, w.s, w.scan, w.t, 0.1, NULL, &w.err));
            expect_words(&w.err, row[i].words);
            close_runs(&w);
        }
}

/* --- words ---------------------------------------------------------------------------- */

static void open_words(world *w, const char *path, int vocab_size, double val_fraction)
{
    open_world(w, path);
    genet__tokenizer_free(w->t);
    w->t = genet__word_train(w->s, genet__corpus_train_chars(w->scan->n_chars, val_fraction), vocab_size, NULL, &w->err);
    if (!w->t) fail_msg("%s", w->err.text);
    make_corpus(w, val_fraction);
}

/* "a b a\nc" trains; " d\n e b" is validation. */
static void test_words(void **state)
{
    (void)state;
    world w;
    int32_t ids[9];
    put("text", "a b a\nc d\n e b");
    open_words(&w, in("text"), 100, 7.0 / 14);
    assert_int_equal(w.c.n_train_chars, 7);
    genet__corpus_read(&w.c, 0, 9, ids);
    static const int32_t want[] = { 1, 3, 1, 2, 4, 0, 2, 0, 3 };             /* <unk>, a (2), then "\n", b, c (1) */
    assert_int_equal(w.c.n_tokens, 9);
    assert_memory_equal(ids, want, sizeof want);
    assert_int_equal(w.c.n_train, 5);
    assert_int_equal(w.c.n_words, 7);                                        /* line ends are tokens, but no words */
    assert_int_equal(w.c.n_train_words, 4);
    assert_int_equal(w.c.n_train_bytes, 7);
    assert_int_equal(genet__corpus_unknown(&w.c, w.t, 0, 5), 0);
    assert_int_equal(genet__corpus_unknown(&w.c, w.t, 5, 9), 2);
    assert_int_equal(genet__corpus_bytes(&w.c, w.t, 0, 5), 7);
    assert_int_equal(genet__corpus_bytes(&w.c, w.t, 1, 5), 6);               /* "a" is predicted by nothing */
    assert_int_equal(genet__corpus_bytes(&w.c, w.t, 5, 9), 7);
    assert_int_equal(genet__corpus_bytes(&w.c, w.t, 6, 9), 7);               /* nobody knows how long the unknown is */
    assert_int_equal(genet__corpus_bytes(&w.c, w.t, 9, 9), 0);
    close_world(&w);
    put("text", "one two  three\n\n\tfour \xe2\x80\xa8\xe3\x80\x80" "five");
    open_words(&w, in("text"), 3, 0);
    assert_true(w.c.n_words == 5 && w.c.n_train_words == 5 && w.c.n_tokens == 7);
    assert_int_equal(genet__corpus_unknown(&w.c, w.t, 0, 7), 4);
    close_world(&w);
}

/* A corpus of the first format: what it does not say is counted. */
static void test_first_format(void **state)
{
    (void)state;
    world w;
    put("text", "h\xc3\xa9llo w\xc3\xb6rld  again\nand on");
    open_world(&w, in("text"));
    make_corpus(&w, 0.4);
    corpus c;
    json_t *j = genet__json_read(in("corpus.json"), 1 << 20, &w.err);
    json_object_set_new(j, "format", json_integer(1));
    json_object_del(j, "n_words");
    json_object_del(j, "n_train_words");
    json_object_del(j, "n_train_bytes");
    assert_true(genet__json_write(in("corpus.json"), j, &w.err));
    if (!genet__corpus_open(&c, folder, w.t, &w.err)) fail_msg("%s", w.err.text);
    assert_int_equal(c.n_words, w.c.n_words);
    assert_int_equal(c.n_words, 6);                                          /* "again" is split in two */
    assert_int_equal(c.n_train_words, w.c.n_train_words);
    assert_int_equal(c.n_train_bytes, w.c.n_train_bytes);
    json_object_set_new(j, "format", json_integer(2));
    assert_true(genet__json_write(in("corpus.json"), j, &w.err));
    genet__corpus_close(&c);
    assert_false(genet__corpus_open(&c, folder, w.t, &w.err));
    expect_words(&w.err, "\"n_train_bytes\" is missing");
    json_decref(j);
    close_world(&w);
}

static bool hear(void *user, const char *stage, double done)
{
    double *last = user;
    assert_string_equal(stage, "tokenizing");
    assert_true(done >= *last && done <= 1);
    *last = done;
    return done < 0.5;
}

static void test_watch(void **state)
{
    (void)state;
    world w;
    double last = 0;
    size_t n = 3 * (8 << 20);
    char *text = long_text(n);
    put_n("long.txt", text, n);
    open_world(&w, in("long.txt"));
    assert_false(genet__corpus_make(folder, w.s, w.scan, w.t, 0.1, &(train_watch){ hear, &last }, &w.err));
    assert_int_equal(w.err.code, GENET_ERR_STOPPED);
    expect_words(&w.err, "stopped while tokenizing");
    assert_true(last >= 0.5 && last < 1);
    assert_false(genet__file_exists_in(folder, "corpus.bin.tmp"));
    free(text);
    close_world(&w);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return genet__file_remove_tree(folder, NULL) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_long),      cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_pipe),    cmocka_unit_test(test_split),     cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_wide),    cmocka_unit_test(test_changed),   cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_failing), cmocka_unit_test(test_temporary), cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_place),   cmocka_unit_test(test_words),     cmocka_unit_test(test_first_format),
        cmocka_unit_test(test_watch),   cmocka_unit_test(test_learned),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
