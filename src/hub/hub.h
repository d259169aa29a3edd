/* hub.h - a model's folder from a hub that speaks as huggingface.co does:
 *
 *     GET ENDPOINT/api/models/REPO/revision/REV?blobs=true     the commit, and its files with sizes and SHA-256
 *     GET ENDPOINT/REPO/resolve/COMMIT/FILE                    a file, perhaps by way of another host
 *
 * Only files that a model needs are fetched: weights as safetensors, config, tokenizer, model card.  A file being
 * fetched is FOLDER/.genet-get/FILE.COMMIT.part, goes on where it stopped, is checked (size, and SHA-256 where the hub
 * knows it), synced, and only then gets its name; config.json comes last, so that an unfinished folder is no model.
 *
 * FOLDER/.genet-get/source holds ORG/NAME@COMMIT.  Another commit into the same folder begins by removing config.json,
 * and the tokenizer's files and such that it does not have; before its own config.json comes, weights that it does not
 * have go too.  Files of other names stay. */
#ifndef GENET_HUB_HUB_H
#define GENET_HUB_HUB_H
#include "genet/genet.h"

typedef struct hub_progress hub_progress;
typedef struct hub_request {
    const char *repo;           /* "ORG/NAME" or "NAME", perhaps with @REVISION (branch, tag or commit; "main") */
    const char *endpoint;       /* "https://huggingface.co" */
    const char *token;          /* NULL: none */
    const char *folder;
    /* How far it is; false stops, and what was fetched stays for the next time.  May be NULL. */
    bool      (*progress)(void *user, const hub_progress *p);
    void       *user;
    double      wait_s;         /* longest wait for a hub that asks for patience, and between attempts; 0: none */
} hub_request;

struct hub_progress {
    const char *file;
    int64_t     done_bytes, size_bytes;         /* of this file; size -1: not known */
    int64_t     all_done_bytes, all_bytes;      /* of all files */
    double      waiting_s;                      /* > 0: waiting so long, as the hub asked */
};

bool genet__hub_get(const hub_request *r, genet_err *err);
#endif
