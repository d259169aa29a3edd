/* attention.h - what a text looked at in its source, as a picture or as numbers. */
#ifndef GENET_CLI_ATTENTION_H
#define GENET_CLI_ATTENTION_H
#include "infer/crossing.h"
#include "text/tokenizer.h"

/* .json: all layers and their tokens; .png or .svg: the last layer. */
bool cli_attention_write(const char *path, const crossing *c, const tokenizer *t, const int32_t *source, const int32_t *text, genet_err *err);
/* What id stands for, as UTF-8 in one line: special tokens by their name, ids beyond the tokenizer by number. */
void cli_token_text(const tokenizer *t, int32_t id, str *out);
#endif
