/* tokenizer_folder.h - folders without tokenizer.json: the older files, put together to the one that they mean. */
#ifndef GENET_TEXT_TOKENIZER_FOLDER_H
#define GENET_TEXT_TOKENIZER_FOLDER_H
#include "base/json.h"

/* Has the folder such files? */
bool genet__folder_has_tokenizer(const char *folder);
/* The tokenizer.json of the folder's files; where (heap): which of them, for messages.  NULL after an error. */
json_t *genet__folder_tokenizer(const char *folder, char **where, genet_err *err);
#endif
