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
#include "format/shards.h"
#include "nn/net.h"

/* What a forward pass reads.  Of an encoder-decoder x is the decoder's text. */
typedef struct model_inputs {
    tensor *x;              /* ids, i32 (B, T); or features, f32 (B, F) */
    tensor *lengths;        /* i32 (B): tokens of x's rows, padding after them; NULL: all T.  Only encoders look at it, and
                             * heads that read the last token */
    tensor *segment;        /* i32 (B, T): token_type_ids; NULL: 0 */
    tensor *position;       /* i32 (B): where x's first column stands in the text; NULL: 0 */
    tensor *select;         /* i32 (B): row of the flattened (B T) whose answer is wanted; NULL: all */
    int64_t cache_length;   /* > 0: keys and values go to caches of that many positions */
    int64_t cache_rows;     /* sequences that the caches hold; 0: B.  x's are the first of them */
    tensor *rows;           /* i32 (B, cache_length): which of them holds row b's key at each position; NULL: b itself */
    int64_t n_labels;       /* outputs of a head that classifies */

    /* of an encoder-decoder: what the encoder reads, or what came of it before */
    tensor *source;         /* i32 (B, S) */
    tensor *source_lengths; /* i32 (B): NULL: all S */
    tensor *memory;         /* f32 (B, S, C): the encoder's answer, instead of source */
    int64_t memory_length;  /* > 0: keys and values of memories stand in caches of that many positions, where encode has put
                             * them: the memory is theirs */
    int64_t memory_rows;    /* memories that these caches hold; 0: B */
    tensor *memory_row;     /* i32 (1): which of them encode writes */
    tensor *memory_of;      /* i32 (B, memory_length): which of them row b reads, at each position; NULL: b */
} model_inputs;

/* What a model answers, and how its class is called in config.json's architectures. */
typedef enum head_kind {
    HEAD_LM,                /* logits (B, T, V) of the next token, or (B, 1, V) with select */
    HEAD_MASKED_LM,         /* logits (B, T, V) of the token itself */
    HEAD_NONE,              /* hidden states (B, T, C) */
    HEAD_SEQUENCE,          /* (B, n_labels) */
    HEAD_TOKEN,             /* (B, T, n_labels) */
    HEAD_SPAN,              /* (B, T, 2): first and last token of an answer */
    HEAD_TABLE              /* (B, outputs) of features */
} head_kind;

typedef struct model_head {
    const char *architecture;
    head_kind   kind;
    tensor   *(*forward)(net *n, const void *config, const model_inputs *in);
    /* Of an encoder-decoder: the encoder's answer (B, S, C) to in->source; with memory_length its keys and values go to caches.
     * NULL: the model reads no source. */
    tensor   *(*encode)(net *n, const void *config, const model_inputs *in);
} model_head;

typedef struct family {
    const char *name;           /* --model, and model_type in config.json */
    const model_head *heads;    /* ended by one without architecture; the first is what a new model has */
    const char *task;           /* what `train NAME` means: "lm", "mlp" */
    const char *help;
    size_t      config_bytes;
    const fields *config;       /* as config.json has them, with its defaults */
    const fields *options;      /* what one chooses for a new model, with good presets for a small one */
    const char *const *defaults;    /* "field", "value", ..., NULL: where config.json's differ from the table's; may be NULL */
    /* Before config.json's fields are read: bring what releases spell differently into the table's form; may be NULL. */
    bool      (*settle)(json_t *config, const char *where, genet_err *err);
    /* Fill the fields that options imply, before check; may be NULL. */
    void      (*prepare)(void *config);
    /* Fill what is no field of config.json from those that are; may be NULL. */
    void      (*complete)(void *config);
    /* Impossible configs, in words; ranges of single fields are checked already. */
    bool      (*check)(const void *config, genet_err *err);
    /* Where in the config these int64_t stand; 0: the family has none.  (No
     * config begins with one: the first field is a string.) */
    size_t      vocab_size, context, n_input, n_output;
    const char *prefix;         /* names in files may lack it: "transformer." */
    const char *const *ignored; /* endings of names in files that hold no weights; ends with NULL */
    const char *tied[2];        /* the first, where it is no weight of its own, is a copy of the second */
    const char *const (*alias)[2];      /* other names of config fields: { theirs, ours }, ended by NULL; may be NULL */
} family;

extern const family genet__family_gpt2, genet__family_llama, genet__family_mistral, genet__family_qwen2, genet__family_qwen3;
extern const family genet__family_bert, genet__family_roberta, genet__family_distilbert, genet__family_t5, genet__family_marian;
extern const family genet__family_mlp;
/* All of them, ended by NULL. */
extern const family *const genet__families[];
const family *genet__family_find(const char *name);

typedef struct model {
    const family *family;
    const model_head *head;
    void         *config;
    json_t       *generation;   /* the folder's generation_config.json; NULL: it has none, or is only read */
    int64_t       n_labels;     /* classes of a head that has them, */
    const char  **label;        /* and their names; NULL: LABEL_0, LABEL_1, ... */
    const char   *problem_type; /* config.json's: "multi_label_classification"; NULL: it does not say */
    struct model *base;         /* of an adapted model (adapter.h): what it stands beside; else NULL */
    bool          own_base;     /* freed with this one */
    const struct adapter_config *adapter;
    int_list      ends;         /* config.json's eos_token_id, when it is an array; else empty */
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
/* Weights that are only read need no memory of their own: they are used where the mapped file has them, those of
 * products in the type that it has them in.  READ_F32: all as f32, copies of what is not.  Those that training writes are
 * f32 copies, and never made from quantised ones. */
typedef enum model_weights { MODEL_NO_WEIGHTS, MODEL_WRITABLE, MODEL_READ_ONLY, MODEL_READ_F32 } model_weights;
/* Read folder's config.json and its weights, in one file or several. */
model *genet__model_open(const char *folder, genet_device *d, model_weights how, genet_err *err);
/* The same, to answer in another way than the folder's model does: the backbone's weights are taken, those of a head that the
 * folder does not have begin anew, drawn from seed. said: what is new and what is not used, in words; empty: nothing. */
typedef struct model_as { head_kind kind; int64_t n_labels; uint64_t seed; str *said; } model_as;
model *genet__model_open_as(const char *folder, genet_device *d, model_weights how, const model_as *as, genet_err *err);
/* Give m the head of this kind; its parameters are not declared yet. */
bool   genet__model_set_head(model *m, head_kind kind, int64_t n_labels, genet_err *err);
/* The family that a config.json names, with its config read and no parameters declared yet; where goes into messages. */
model *genet__model_from_config(const json_t *config, const char *where, genet_device *d, genet_err *err);
/* config.json and, for models of text, generation_config.json. */
bool   genet__model_write_config(const model *m, const char *folder, genet_err *err);
/* config.json's quantization_config.quant_method of weights that genet quantised. */
#define QUANT_METHOD "genet"
/* What config.json says, for weights stored as `type`; NULL: no memory. */
json_t *genet__model_config_json(const model *m, genet_dtype type);
/* The answer of m's head, in n's graph; in->n_labels is m's. */
tensor *genet__model_forward(const model *m, net *n, const model_inputs *in);
static inline int64_t *genet__model_int(const model *m, size_t offset)
{
    return (int64_t *)((char *)m->config + offset);
}
/* The token that this field of the config ("eos_token_id") names; -1: it names none of the vocabulary, or is not there. */
int32_t genet__model_token(const model *m, const char *key);

/* --- labels.c: the classes of a head ------------------------------------------ */

/* From config.json: id2label, else num_labels, else two, as transformers has it. */
bool        genet__labels_read(model *m, const json_t *config, const char *where, genet_err *err);
/* id2label, label2id and problem_type; false: no memory. */
bool        genet__labels_write(const model *m, json_t *config);
/* n classes of these names (copied). */
bool        genet__labels_set(model *m, const char *const *name, int64_t n, genet_err *err);
/* The name of class i; scratch holds it where the model has none. */
const char *genet__label(const model *m, int64_t i, char scratch[32]);
/* Are classes independent of each other, so that each has a probability of its own? */
bool        genet__labels_independent(const model *m);

/* --- weights.c: params from safetensors -------------------------------------- */

/* How names in a file may differ from ours; as in family. */
typedef struct weight_names {
    const char *prefix;
    const char *const *ignored;
    const char *tied[2];
    str *said;              /* not NULL: the head may be another than the file's. Weights of it that the file has not, or of
                             * another shape, stay without values; what is new and what is not used is said here */
} weight_names;

/* Every param of these kinds (mask) must be in the file with its shape, and the file
 * must hold nothing else; weights and buffers must be finite.  Then params get memory where they have
 * none, and the values.  Other float types are converted.  names may be NULL. */
bool genet__weights_read(params *p, unsigned kinds, const char *path, const weight_names *names, genet_err *err);
/* How a file's weights become params: copies, as f32; or used in place where that can be (p keeps the files
 * mapped), all of them f32, or matrices in the type that they are stored in. */
typedef enum weights_form { WEIGHTS_COPIED, WEIGHTS_F32, WEIGHTS_STORED } weights_form;
/* The same from a folder's one or several files. */
bool genet__weights_open(params *p, unsigned kinds, const char *folder, weights_form form, const weight_names *names,
                         genet_err *err);

/* --- weights_write.c: params to safetensors ----------------------------------- */

/* All params of these kinds, in order of declaration, atomically; sum (size and
 * checksum of the file) may be NULL. */
bool genet__weights_write(const params *p, unsigned kinds, const char *path, file_sum *sum, genet_err *err);
/* In what type weights are written: those that any op reads, factors of products, tables. */
typedef struct weight_types { genet_dtype any, factor, table; } weight_types;
/* As genet__weights_write_folder.  Factors and tables may become q8_0 and q4_0, where a row has whole blocks: others
 * stay what they are. */
bool genet__weights_write_as(const params *p, unsigned kinds, const char *folder, const weight_types *types,
                             int64_t max_bytes, int *n_file, genet_err *err);
/* To folder, floats as `type` (f32, f16, bf16): model.safetensors, or when there is more than max_bytes of
 * data, files of at most that (one larger tensor: its own file) and their index, named as transformers names them.
 * Not atomic as a whole.  *n_file: how many files. */
bool genet__weights_write_folder(const params *p, unsigned kinds, const char *folder, genet_dtype type,
                                 int64_t max_bytes, int *n_file, genet_err *err);
#endif
