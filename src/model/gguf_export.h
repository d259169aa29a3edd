/* gguf_export.h - a model as one GGUF file for llama.cpp: weights, config and tokenizer. */
#ifndef GENET_MODEL_GGUF_EXPORT_H
#define GENET_MODEL_GGUF_EXPORT_H
#include "model/model.h"

typedef struct gguf_export {
    const model  *model;            /* with weights as f32 (MODEL_READ_F32) */
    const json_t *tokenizer;        /* tokenizer.json */
    const char   *chat_template;    /* or NULL */
    const char   *name, *where;     /* general.name; what messages call the tokenizer */
    genet_dtype   type;             /* of matrices: f32, f16, bf16, q8_0, q4_0; norms, biases and positions are f32 */
} gguf_export;

/* *left: matrices that stay f32 because their rows are no whole blocks. */
bool genet__gguf_export(const gguf_export *e, const char *path, int *left, genet_err *err);
#endif
