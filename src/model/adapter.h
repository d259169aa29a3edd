/* adapter.h - low-rank adapters as folders in PEFT's layout: adapter_config.json and adapter_model.safetensors.
 *
 * An adapted model is a model whose params stand beside those of the model it is of: any number of them share one base, which
 * is only read, and each is used like any other model. */
#ifndef GENET_MODEL_ADAPTER_H
#define GENET_MODEL_ADAPTER_H
#include "model/model.h"
#include "nn/lora.h"

#define ADAPTER_FILE "adapter_model.safetensors"
#define ADAPTER_CONFIG "adapter_config.json"

typedef struct adapter_config {
    const char *peft_type, *task_type, *base_model_name_or_path, *bias;
    const char *target_modules;         /* JSON: a list of names, or NULL with `all` */
    int64_t r;
    double  lora_alpha, lora_dropout;
    bool    fan_in_fan_out, use_rslora, use_dora, inference_mode;
    bool    all;                        /* "all-linear" */
} adapter_config;
extern const fields genet__adapter_fields;

/* Has the folder an adapter, and no model of its own? */
bool genet__adapter_exists(const char *folder);
/* The config; target_modules NULL: those that PEFT takes for the family.  Strings go to a. */
bool genet__adapter_read_config(adapter_config *c, const char *folder, arena *a, genet_err *err);
/* base adapted by fresh weights (declared, not placed); base must outlive it and is only read.  own_base: it is freed with it. */
model *genet__adapter_new(model *base, bool own_base, const adapter_config *c, uint64_t seed, genet_err *err);
/* By those in folder, placed. */
model *genet__adapter_open(model *base, bool own_base, const char *folder, genet_err *err);
/* adapter_config.json */
bool   genet__adapter_write_config(const model *m, const char *base, const char *folder, genet_err *err);
/* Add the adapter to weights (f32, writable) that were opened from the same base: into->params. */
bool   genet__adapter_merge(const model *adapted, model *into, genet_err *err);
/* Where the folder's base is: its base_model_name_or_path, as it stands or beside the folder; in a. NULL: not found. */
const char *genet__adapter_base(const char *folder, arena *a, genet_err *err);
#endif
