/* little.c - see little.h. */
#include "api/little.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void little_folder(char out[200])
{
    const char *under = getenv("TMPDIR");
    snprintf(out, 200, "%.150s/genet-api-XXXXXX", under ? under : "/tmp");
    if (!mkdtemp(out)) abort();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void little_remove(const char *folder) { nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

const char *little_path(char out[300], const char *folder, const char *name)
{
    snprintf(out, 300, "%.200s/%.90s", folder, name);
    return out;
}

bool little_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (!f) return false;
    bool ok = fputs(text, f) >= 0;
    return !fclose(f) && ok;
}

char *little_text(void)
{
    static const char *const verse[] = {
        "the sun goes up and the moon goes down,\n", "the moon goes up and the sun goes down,\n",
        "the cat sits under the tree in the town,\n", "the dog runs over the hill to the town.\n",
    };
    enum { VERSES = 120, LONGEST = 60 };
    char *text = calloc(VERSES, LONGEST), *at = text;
    for (int i = 0; text && i < VERSES; i++) at += sprintf(at, "%s", verse[(i * i + i / 3) % 4]);
    return text;
}

genet_options *little_options(const char *folder, const char *name, const char *steps, genet_err *err)
{
    char out[300], data[300];
    little_path(out, folder, name);
    little_path(data, folder, "text.txt");
    char *text = little_text();
    bool ok = text && little_write(data, text);
    free(text);
    genet_options *o = genet_options_new("train gpt2", err);
    const char *const option[][2] = {
        { "out", out }, { "data", data }, { "max-steps", steps }, { "batch_size", "4" }, { "block-size", "16" },
        { "n-layer", "2" }, { "n_head", "2" }, { "n-embd", "16" }, { "learning-rate", "1e-2" }, { "warmup-steps", "2" },
        { "eval-steps", "4" }, { "save-steps", "3" }, { "val_fraction", "0.1" },
    };
    for (size_t i = 0; ok && i < sizeof option / sizeof *option; i++)
        ok = o && genet_options_set(o, option[i][0], option[i][1], err);
    if (ok) return o;
    genet_options_free(o);
    return NULL;
}
