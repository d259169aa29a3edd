/* labels: core
 * test_tensorboard.c - the event file of a run, read back record by record with
 * checksums computed another way, says what metrics.jsonl says; a resumed run
 * begins a file that takes later steps back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "train/toy.h"

static char folder[200];

/* CRC-32C by the table of all bytes; RFC 3720 has 0xe3069283 for "123456789". */
static uint32_t crc32c(const unsigned char *p, size_t n)
{
    uint32_t table[256], crc = 0xffffffffu;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++) table[i] = table[i] & 1 ? table[i] >> 1 ^ 0x82f63b78u : table[i] >> 1;
    }
    while (n--) crc = table[(crc ^ *p++) & 255] ^ crc >> 8;
    return crc ^ 0xffffffffu;
}

static uint64_t little(const unsigned char *p, int n)
{
    uint64_t x = 0;
    for (int i = 0; i < n; i++) x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static uint32_t unmasked(uint32_t x)
{
    x -= 0xa282ead8u;
    return x >> 17 | x << 15;
}

typedef struct message { const unsigned char *at, *end; } message;

static uint64_t varint(message *m)
{
    uint64_t x = 0;
    for (int shift = 0; m->at < m->end; shift += 7) {
        x |= (uint64_t)(*m->at & 127) << shift;
        if (!(*m->at++ & 128)) break;
    }
    return x;
}

/* The next field: its number; value or bytes. */
static int next_field(message *m, uint64_t *value, message *bytes)
{
    if (m->at >= m->end) return 0;
    uint64_t key = varint(m);
    int wire = key & 7, fixed = wire == 1 ? 8 : wire == 5 ? 4 : 0;
    if (wire == 0) *value = varint(m);
    else if (fixed) *value = little(m->at, fixed), m->at += fixed;
    else {
        assert_int_equal(wire, 2);
        size_t n = (size_t)varint(m);
        assert_true(n <= (size_t)(m->end - m->at));
        *bytes = (message){ m->at, m->at + n };
        m->at += n;
    }
    return (int)(key >> 3);
}

/* What the file's events say. */
typedef struct found {
    int n_event, n_value;
    int64_t start, step[200];
    char tag[200][40], version[40];
    float value[200];
} found;

static void read_value(found *f, message m, int64_t step)
{
    uint64_t value = 0;
    message bytes;
    for (int which; (which = next_field(&m, &value, &bytes));) {
        if (which == 1) snprintf(f->tag[f->n_value], 40, "%.*s", (int)(bytes.end - bytes.at), (const char *)bytes.at);
        if (which == 2) memcpy(&f->value[f->n_value], &(uint32_t){ (uint32_t)value }, 4);
    }
    f->step[f->n_value++] = step;
}

static void read_event(found *f, message m)
{
    uint64_t value = 0;
    int64_t step = -1;
    message bytes, summary;
    for (int which; (which = next_field(&m, &value, &bytes));) {
        if (which == 2) step = (int64_t)value;
        if (which == 3) snprintf(f->version, sizeof f->version, "%.*s", (int)(bytes.end - bytes.at), (const char *)bytes.at);
        if (which == 7) f->start = step;
        if (which == 5)
            for (; next_field(&bytes, &value, &summary) == 1;) read_value(f, summary, step);
    }
    f->n_event++;
}

static found read_file(const char *path)
{
    genet_err err;
    size_t n = 0;
    found f = { .start = -1 };
    unsigned char *bytes = (unsigned char *)genet__file_read(path, 1 << 20, &n, &err);
    assert_non_null(bytes);
    for (size_t at = 0; at < n;) {
        size_t length = (size_t)little(bytes + at, 8);
        assert_true(at + 16 + length <= n);
        assert_int_equal(crc32c(bytes + at, 8), unmasked((uint32_t)little(bytes + at + 8, 4)));
        assert_int_equal(crc32c(bytes + at + 12, length), unmasked((uint32_t)little(bytes + at + 12 + length, 4)));
        read_event(&f, (message){ bytes + at + 12, bytes + at + 12 + length });
        at += 16 + length;
    }
    genet__free(bytes);
    return f;
}

static void train(int max_steps, bool resume, bool tensorboard)
{
    toy t;
    bool ok = toy_open(&t, folder);
    t.options.max_steps = max_steps;
    t.options.resume = resume;
    t.options.tensorboard = tensorboard;
    t.options.log_steps = 1;
    if (!ok || !toy_train(&t)) fail_msg("%s", t.err.text);
    toy_close(&t);
}

/* The i-th event file in the order of names, or NULL. */
static const char *event_file(int i)
{
    static char path[600];
    genet_err err;
    snprintf(path, sizeof path, "%s/training/tensorboard", folder);
    if (!genet__file_is_dir(path)) return NULL;
    char **names = genet__file_list(path, &err);
    int n = 0;
    while (names[n]) n++;
    if (i < n) snprintf(path + strlen(path), sizeof path - strlen(path), "/%s", names[i]);
    genet__file_list_free(names);
    return i < n ? path : NULL;
}

/* Losses as metrics.jsonl has them, step by step. */
static void test_values(void **state)
{
    (void)state;
    toy_folder(folder, "tensorboard");
    train(6, false, true);
    found f = read_file(event_file(0));
    assert_string_equal(f.version, "brain.Event:2");
    assert_int_equal(f.start, 1);
    char path[300], line[1000];
    snprintf(path, sizeof path, "%s/training/metrics.jsonl", folder);
    FILE *metrics = fopen(path, "r");
    assert_non_null(metrics);
    int lines = 0;
    while (fgets(line, sizeof line, metrics)) {
        genet_err err;
        json_t *j = genet__json_parse(line, strlen(line), "metrics", &err);
        int64_t step = json_integer_value(json_object_get(j, "step"));
        double loss = json_number_value(json_object_get(j, "loss"));
        int same = 0, scores = 0;
        for (int i = 0; i < f.n_value; i++) {
            if (f.step[i] != step) continue;
            same += !strcmp(f.tag[i], "train/loss") && fabs((double)f.value[i] - loss) <= 1e-6 * fabs(loss);
            scores += !strcmp(f.tag[i], "validation/loss");
        }
        assert_int_equal(same, 1);
        assert_int_equal(scores, json_object_get(j, "val_loss") != NULL);
        json_decref(j);
        lines++;
    }
    fclose(metrics);
    assert_int_equal(lines, 6);
    assert_int_equal(f.n_event, 2 + lines);
    toy_remove(folder);
}

static void test_resumed(void **state)
{
    (void)state;
    assert_int_equal(crc32c((const unsigned char *)"123456789", 9), 0xe3069283u);
    toy_folder(folder, "tensorboard");
    train(3, false, true);
    train(5, true, true);
    found first = read_file(event_file(0));
    assert_non_null(event_file(1));
    found second = read_file(event_file(1));
    assert_int_equal(first.start + second.start, 1 + 4);        /* in whatever order their names fell within a second */
    assert_null(event_file(2));
    toy_remove(folder);
    toy_folder(folder, "tensorboard");
    train(3, false, false);
    assert_null(event_file(0));
    toy_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_values), cmocka_unit_test(test_resumed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
