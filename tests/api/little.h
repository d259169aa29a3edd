/* little.h - a character model small enough to be trained inside a test, through
 * the public functions alone. */
#ifndef GENET_TESTS_API_LITTLE_H
#define GENET_TESTS_API_LITTLE_H
#include "genet/model.h"

/* A fresh folder under $TMPDIR; little_remove empties it, too. */
void little_folder(char out[200]);
void little_remove(const char *folder);
/* FOLDER/NAME, in a buffer of the caller. */
const char *little_path(char out[300], const char *folder, const char *name);
bool little_write(const char *path, const char *text);
/* The text that all these models learn: verses in changing order. */
char *little_text(void);                /* heap */
/* Options of a model for FOLDER/text.txt that is to stand in FOLDER/NAME, after `steps` steps. */
genet_options *little_options(const char *folder, const char *name, const char *steps, genet_err *err);
#endif
