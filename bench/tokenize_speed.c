/* tokenize_speed.c - the genet side of tokenize_speed.py: one task timed in this process, a line of JSON.
 *
 *     tokenize encode TOKENIZER TEXT      seconds to load and to encode the whole text, and the ids' CRC-32
 *     tokenize train TEXT VOCAB           seconds to learn byte-level BPE, reading the file included */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/alloc.h"
#include "base/file.h"
#include "text/tokenizer_train.h"

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool encode(const char *path, const char *text_path, genet_err *err)
{
    size_t n = 0;
    token_list ids = { 0 };
    double start = seconds();
    tokenizer *t = genet__tokenizer_load(path, err);
    double loaded = seconds();
    char *text = t ? genet__file_read(text_path, (size_t)1 << 31, &n, err) : NULL;
    double ready = seconds();
    bool ok = text && genet__tokenizer_encode(t, text, n, &ids, err);
    double done = seconds();
    if (ok)
        printf("{\"version\": \"%s\", \"load_s\": %.6f, \"encode_s\": %.6f, \"tokens\": %d, \"crc\": %" PRIu32 "}\n",
               genet_version(), loaded - start, done - ready, ids.n,
               genet__crc32(0, ids.at, (size_t)ids.n * sizeof *ids.at));
    genet__token_list_release(&ids);
    genet__free(text);
    genet__tokenizer_free(t);
    return ok;
}

static bool train(const char *text_path, int vocab_size, genet_err *err)
{
    text_source *s = genet__source_open(&text_path, 1, NULL, err);
    double start = seconds();
    tokenizer *t = s ? genet__bpe_train(s, INT64_MAX, vocab_size, NULL, err) : NULL;
    if (t) printf("{\"train_s\": %.6f, \"size\": %d}\n", seconds() - start, genet__tokenizer_size(t));
    genet__tokenizer_free(t);
    genet__source_close(s);
    return t != NULL;
}

int main(int argc, char **argv)
{
    genet_err err = { 0 };
    if (argc != 4) return 2;
    bool ok = strcmp(argv[1], "train") ? encode(argv[2], argv[3], &err)
                                       : train(argv[2], (int)strtol(argv[3], NULL, 10), &err);
    if (!ok) fprintf(stderr, "%s\n", err.text);
    return !ok;
}
