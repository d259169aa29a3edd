/* gguf_model.h - a GGUF file as if it were a model's folder: its metadata as config.json and tokenizer.json, its tensors
 * under Hugging Face's names, and the other way round.  Families: gpt2, llama (and what is written as it: Mistral), qwen2,
 * qwen3.  Keys and names are those of llama.cpp's converter (gguf-py/gguf/constants.py, conversion/). */
#ifndef GENET_FORMAT_GGUF_MODEL_H
#define GENET_FORMAT_GGUF_MODEL_H
#include "format/gguf.h"
#include "format/shards.h"

/* *file: the GGUF file that path means (heap): itself, or the only one in a folder without config.json and
 * model.safetensors; NULL: it means none. */
bool genet__gguf_path(const char *path, char **file, genet_err *err);

/* As config.json would say it; a new object. */
json_t *genet__gguf_config(const gguf *g, genet_err *err);
/* The tensors as shards: in place in the mapped file, but for q and k of the llama family, whose rows another order of
 * rotary halves has moved: they are copies. */
bool genet__gguf_shards(shards *s, const char *path, genet_err *err);
/* The same of one that is open: its mapping goes over. */
bool genet__gguf_shards_of(shards *s, gguf *g, genet_err *err);

/* How a tensor's values differ from ours beside its name. */
enum { GGUF_TURNED = 1,                 /* the transpose */
       GGUF_Q_ROWS = 2, GGUF_K_ROWS = 4 };      /* rows of heads: pairs of rotary positions are neighbours */
/* Of this architecture: our name of theirs, or theirs of ours; false: there is none. */
bool genet__gguf_our_name(const char *architecture, const char *theirs, str *ours, unsigned *how);
bool genet__gguf_their_name(const char *architecture, const char *ours, str *theirs, unsigned *how);
/* The row of ours that is row `row` of a file's matrix with so many rows in `heads` heads. */
int64_t genet__gguf_row(int64_t row, int64_t rows, int64_t heads);

/* --- gguf_tokens.c ------------------------------------------------------------------- */

/* As tokenizer.json and tokenizer_config.json would say it; new objects. */
json_t *genet__gguf_tokenizer(const gguf *g, genet_err *err);
json_t *genet__gguf_tokenizer_config(const gguf *g, genet_err *err);

typedef struct gguf_tokenizer {
    const json_t *tokenizer, *config;   /* tokenizer.json, and tokenizer_config.json or NULL */
    const char   *chat_template;        /* or NULL */
    int64_t       n, bos, eos, eot;     /* tokens of the model, and which of them these are: -1: none */
} gguf_tokenizer;
/* Put it into m; where: for messages. */
bool genet__gguf_put_tokenizer(gguf_meta *m, const gguf_tokenizer *t, const char *where, genet_err *err);
#endif
