/* folder.h - a model's folder written anew, for `export` and `quantize`. */
#ifndef GENET_CLI_FOLDER_H
#define GENET_CLI_FOLDER_H
#include "format/hf.h"
#include "model/model.h"

typedef struct cli_folder {
    const char   *from, *out;       /* a folder, and the new one: must not exist */
    const model  *model;            /* from's, opened */
    const json_t *config;           /* from's config.json: what it says besides goes along */
    weight_types  types;
    int64_t       max_bytes;        /* of a file of weights */
} cli_folder;

/* Everything is written to OUT.tmp, synced, and renamed at the end: OUT is
 * whole or not there. */
bool cli_folder_write(const cli_folder *f, int *n_file, genet_err *err);
#endif
