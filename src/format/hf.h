/* hf.h - a model folder as Hugging Face lays it out: config.json beside
 * the weights; or a GGUF file, which says the same (gguf_model.h).  Says in words what is missing; what the config means is
 * the model's business. */
#ifndef GENET_FORMAT_HF_H
#define GENET_FORMAT_HF_H
#include "format/shards.h"

typedef struct hf_folder {
    const char *path;           /* as given; must outlive this */
    const char *where;          /* what messages about the config call it: FOLDER/config.json, FILE.gguf */
    json_t     *config;         /* an object */
    const char *model_type;     /* config's, owned by it */
    shards      weights;
    arena       arena;
} hf_folder;

/* Files that may stand beside weights: whatever genet, transformers or people look for there; ended by NULL. */
extern const char *const genet__hf_beside[];

/* with_weights false: config.json only. */
bool genet__hf_open(hf_folder *f, const char *path, bool with_weights, genet_err *err);
void genet__hf_close(hf_folder *f);             /* also after a failed open */
#endif
