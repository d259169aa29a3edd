/* model.h - model families and opened models.
 *
 * A family is a row: its config fields (Hugging Face's names), and a forward
 * pass that builds a graph.  It knows nothing of training.  A model is a
 * family, a config and params; on disk it is a folder with config.json and
 * model.safetensors. */
#ifndef GENET_MODEL_MODEL_H
#define GENET_MODEL_MODEL_H
#include "base/fields.h"
#include "base/log.h"
#include "format/safetensors.h"
#include "nn/net.h"

/* What a forward pass reads. */
typedef struct model_inputs {
    tensor *x;              /* ids, i32 (B, T); or features, f32 (B, F) */
    tensor *position;       /* i32 (B): where x's first column stands in the text; NULL: 0 */
    tensor *select;         /* i32 (B): row of the flattened (B T) whose answer is wanted; NULL: all */
    int64_t cache_length;   /* > 0: keys and values go to caches of that many positions */
} model_inputs;

typedef struct family {
    const char *name;           /* --model, and model_type in config.json */
    const char *architecture;   /* architectures[0] in config.json */
    const char *task;           /* what `train NAME` means: "lm", "mlp" */
    const char *help;
    size_t      config_bytes;
    const fields *config;       /* as config.json has them, with its defaults */
    const fields *options;      /* what one chooses for a new model, with good presets for a small one */
    /* Fill the fields that options imply, before check; may be NULL. */
    void      (*prepare)(void *config);
    /* Impossible configs, in words; ranges of single fields are checked already. */
    bool      (*check)(const void *config, genet_err *err);
    /* (B, T, V) logits, or (B, 1, V) with select; tables: (B, outputs). */
    tensor   *(*forward)(net *n, const void *config, const model_inputs *in);
    /* Where in the config these int64_t stand; 0: the family has none.  (No
     * config begins with one: the first field is a string.) */
    size_t      vocab_size, context, n_input, n_output;
    const char *prefix;         /* names in files may lack it: "transformer." */
    const char *const *ignored; /* endings of names in files that hold no weights; ends with NULL */
} family;

extern const family genet__family_gpt2, genet__family_mlp;
/* All of them, ended by NULL. */
extern const family *const genet__families[];
const family *genet__family_find(const char *name);

typedef struct model {
    const family *family;
    void         *config;
    params       *params;
    arena         arena;
} model;

/* A new model's config at its defaults: config.json's, and the presets of options on
 * top; in a. */
void  *genet__family_config(const family *f, arena *a, genet_err *err);
/* A model of this config (copied; its strings must stay; NULL: config.json's
 * defaults), with no parameters yet. */
model *genet__model_new(const family *f, const void *config, genet_device *d, uint64_t seed, genet_err *err);
void   genet__model_free(model *m);
/* Check the config and declare every parameter. */
bool   genet__model_declare(model *m, genet_err *err);
/* Read folder's config.json and, with weights, its model.safetensors. */
model *genet__model_open(const char *folder, genet_device *d, bool weights, genet_err *err);
/* Add the weights of folder to a declared model. */
bool   genet__model_load(model *m, const char *folder, genet_err *err);
bool   genet__model_write_config(const model *m, const char *folder, genet_err *err);
static inline int64_t *genet__model_int(const model *m, size_t offset)
{
    return (int64_t *)((char *)m->config + offset);
}

/* --- weights.c: params and safetensors ------------------------------------- */

/* How names in a file may differ from ours. */
typedef struct weight_names { const char *prefix; const char *const *ignored; } weight_names;

/* All params of these kinds (mask), in order of declaration, atomically; sum (size and
 * checksum of the file) may be NULL. */
bool genet__weights_write(const params *p, unsigned kinds, const char *path, file_sum *sum, genet_err *err);
/* Every param of these kinds must be in the file with its shape, and the file
 * must hold nothing else; then params get memory where they have none, and the
 * values.  Other float types are converted.  names may be NULL. */
bool genet__weights_read(params *p, unsigned kinds, const char *path, const weight_names *names, genet_err *err);
#endif
