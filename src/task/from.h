/* from.h - runs that begin with a folder's model: all of it is trained, or adapters beside it. */
#ifndef GENET_TASK_FROM_H
#define GENET_TASK_FROM_H
#include "task/task.h"

typedef struct from_options {
    const char *from, *lora_modules;
    double  lora_alpha, lora_dropout;
    int64_t lora_rank;
} from_options;

/* Rows of an option table; AT(member) is the offset of a from_options' member. */
#define FROM_FIELDS(AT) \
    { "from",         FIELD_STRING, AT(from),         NULL, 0, 0, NULL, 0, "begin with the model in this folder" }, \
    { "lora_rank",    FIELD_INT,    AT(lora_rank),    "0", 0, 1 << 16, NULL, 0, \
      "with --from: train low-rank adapters of this rank beside the model, not the model (0)" }, \
    { "lora_alpha",   FIELD_DOUBLE, AT(lora_alpha),   "16", 0, 1e9, NULL, 0, "adapters count alpha / rank" }, \
    { "lora_dropout", FIELD_DOUBLE, AT(lora_dropout), "0", 0, 0.999, NULL, 0, "of what goes into them" }, \
    { "lora_modules", FIELD_STRING, AT(lora_modules), NULL, 0, 0, NULL, 0, \
      "names of the layers that get one, with commas between, or all-linear (as PEFT chooses: c_attn; q_proj,v_proj)" }

/* What can be said before anything is opened. */
bool   genet__from_check(const setup *s, const from_options *o, genet_err *err);
/* The model to be trained, of s's family: --from, the adapters beside it, or the run's own where it has saved.  *T: the block that
 * the options ask for, or the model's.  Options that shape a model must not say something else than the folder; another dropout
 * is fine. */
model *genet__from_open(setup *s, const from_options *o, int64_t *T, genet_err *err);
/* The same of a model that was opened from `from` otherwise: m's config with what the options may change. */
bool   genet__from_adopt(setup *s, const model *m, const char *from, int64_t *T, genet_err *err);
/* The family that the folder's config.json names; NULL: none that is known, or no such file. */
const family *genet__from_family(const char *folder);
/* What stands beside the weights: the model's config, or the adapter's. */
bool   genet__from_write_config(const setup *s, const from_options *o, const model *m, genet_err *err);
#endif
