/* shards.h - a model's weights as Hugging Face stores them: model.safetensors,
 * or model-00001-of-00003.safetensors and so on beside
 * model.safetensors.index.json {"metadata": {...}, "weight_map": {tensor: file}}.
 * Read everywhere that one file is. */
#ifndef GENET_FORMAT_SHARDS_H
#define GENET_FORMAT_SHARDS_H
#include "format/safetensors.h"

#define WEIGHTS_FILE "model.safetensors"
#define WEIGHTS_INDEX "model.safetensors.index.json"

typedef struct shards {
    const char  *path;          /* for messages: the one file, or the index */
    int          n;
    safetensors *file;          /* in the order of their names */
    map          index;         /* tensor -> file << 32 | place in it; empty when n is 1 */
    arena        arena;
} shards;

/* Folder's weights, or those of a GGUF file.  Several files are only taken when they and the index say
 * exactly the same. */
bool genet__shards_open(shards *s, const char *folder, genet_err *err);
/* One file by its path. */
bool genet__shards_open_file(shards *s, const char *path, genet_err *err);
void genet__shards_close(shards *s);            /* also after a failed open */
/* NULL: absent.  *file, which may be NULL, is the file that holds it. */
const safetensor *genet__shards_find(const shards *s, const char *name, const safetensors **file);
/* Is there one of the two files, or a GGUF file (gguf_model.h)?  Whether it can be read is another question. */
bool genet__shards_exist(const char *folder);
/* But for GGUF files. */
bool genet__shards_exist_plain(const char *folder);
#endif
