/* tensorboard.c - a run's numbers as TensorBoard reads them: event files in
 * training/tensorboard.
 *
 * A file is a sequence of TFRecords: length (u64, little-endian), its checksum, the
 * bytes, theirs; checksums are CRC-32C (Castagnoli), rotated and offset ("masked") as
 * TensorFlow's core/lib/hash/crc32c.h defines it.  The bytes are Event messages
 * (tensorflow/core/util/event.proto) in Protocol Buffers' wire format, of which
 * four fields are needed.  A resumed run begins a new file whose second record (the
 * first is the version) tells the reader to forget later steps of the files before. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "train/save.h"

/* --- checksums -------------------------------------------------------------------- */

/* Bit by bit: a record is a few dozen bytes. */
static uint32_t crc32c(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
}

static uint32_t masked(const void *bytes, size_t n)
{
    uint32_t crc = crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* --- messages ------------------------------------------------------------------------ */

enum { WIRE_VARINT = 0, WIRE_8_BYTES = 1, WIRE_BYTES = 2, WIRE_4_BYTES = 5 };

static void add_varint(str *s, uint64_t x)
{
    for (; x > 127; x >>= 7) genet__str_add_n(s, &(char){ (char)(x | 128) }, 1);
    genet__str_add_n(s, &(char){ (char)x }, 1);
}
static void add_key(str *s, int number, int wire) { add_varint(s, (uint64_t)(number << 3 | wire)); }

/* The low n bytes of x, the lowest first. */
static void add_little(str *s, uint64_t x, int n)
{
    for (int i = 0; i < n; i++) genet__str_add_n(s, &(char){ (char)(x >> 8 * i) }, 1);
}

static void add_bytes(str *s, int number, const char *bytes, size_t n)
{
    add_key(s, number, WIRE_BYTES);
    add_varint(s, n);
    genet__str_add_n(s, bytes, n);
}

/* Event: wall_time = 1, step = 2. */
static void begin_event(str *s, int64_t step)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    add_key(s, 1, WIRE_8_BYTES);
    add_little(s, bits, 8);
    add_key(s, 2, WIRE_VARINT);
    add_varint(s, (uint64_t)step);
}

/* Summary.Value: tag = 1, simple_value = 2. */
static void add_value(str *summary, const char *tag, double x)
{
    str value = {0};
    float number = (float)x;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    add_bytes(&value, 1, tag, strlen(tag));
    add_key(&value, 2, WIRE_4_BYTES);
    add_little(&value, bits, 4);
    if (value.failed) summary->failed = true;
    else add_bytes(summary, 1, value.at, value.n);
    genet__str_release(&value);
}

static bool write_record(tensorboard *t, const str *event, genet_err *err)
{
    str record = {0};
    add_little(&record, event->n, 8);
    if (!record.failed) add_little(&record, masked(record.at, 8), 4);
    genet__str_add_n(&record, genet__str(event), event->n);
    add_little(&record, masked(genet__str(event), event->n), 4);
    bool ok = event->failed || record.failed ? genet__err_memory(err)
            : genet__file_write(t->fd, record.at, record.n) || genet__err_errno(err, "write", t->path);
    genet__str_release(&record);
    return ok;
}

/* --- files --------------------------------------------------------------------------- */

/* Event: file_version = 3; session_log = 7 with status = 1: START (1), from the next step on. */
static bool write_beginning(tensorboard *t, int64_t step, genet_err *err)
{
    str version = {0}, start = {0};
    begin_event(&version, 0);
    add_bytes(&version, 3, "brain.Event:2", 13);
    begin_event(&start, step + 1);
    add_bytes(&start, 7, "\010\001", 2);
    bool ok = write_record(t, &version, err) && write_record(t, &start, err);
    genet__str_release(&version);
    genet__str_release(&start);
    return ok;
}

/* TensorBoard reads files in the order of the seconds in their names. */
bool genet__tensorboard_open(tensorboard *t, const char *folder, int64_t step, genet_err *err)
{
    char name[200], host[100] = "host";
    *t = (tensorboard){ .fd = -1 };
    gethostname(host, sizeof host - 1);
    for (char *c = host; *c; c++)
        if (*c == '/') *c = '-';
    snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%ld.%lld", (long long)time(NULL), host, (long)getpid(),
             (long long)step);
    char *parent = genet__path_join(folder, "training/tensorboard");
    bool ok = (parent && (t->path = genet__path_join(parent, name))) || genet__err_memory(err);
    ok = ok && genet__file_make_dirs(parent, err);
    if (ok && (t->fd = open(t->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) < 0)
        ok = genet__err_errno(err, "write", t->path);
    genet__free(parent);
    return ok && write_beginning(t, step, err);
}

/* Event: summary = 5. Names with a slash stand together. */
bool genet__tensorboard_add(tensorboard *t, const train_event *e, bool with_score, genet_err *err)
{
    str event = {0}, summary = {0};
    add_value(&summary, "train/loss", e->loss);
    add_value(&summary, "train/learning_rate", e->learning_rate);
    add_value(&summary, "train/grad_norm", e->grad_norm);
    add_value(&summary, "train/units_per_second", e->units_per_s);
    if (with_score) {
        add_value(&summary, "validation/loss", e->score.loss);
        if (e->scores & SCORE_PERPLEXITY) add_value(&summary, "validation/perplexity", e->score.perplexity);
        if (e->scores & SCORE_BITS_PER_BYTE) add_value(&summary, "validation/bits_per_byte", e->score.bits_per_byte);
        if (e->scores & SCORE_ACCURACY) add_value(&summary, "validation/accuracy", e->score.accuracy);
        if (e->scores & SCORE_BLEU) add_value(&summary, "validation/bleu", e->score.bleu);
        if (e->scores & SCORE_MACRO_F1) add_value(&summary, "validation/macro_f1", e->score.macro_f1);
        if (e->scores & SCORE_MARGIN) add_value(&summary, "validation/margin", e->score.margin);
    }
    begin_event(&event, e->step);
    if (summary.failed) event.failed = true;
    else add_bytes(&event, 5, summary.at, summary.n);
    bool ok = write_record(t, &event, err);
    genet__str_release(&summary);
    genet__str_release(&event);
    return ok;
}

void genet__tensorboard_close(tensorboard *t)
{
    if (t->path && t->fd >= 0) close(t->fd);
    genet__free(t->path);
    *t = (tensorboard){ .fd = -1 };
}
