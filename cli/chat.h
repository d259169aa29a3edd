/* chat.h - what the files of `genet chat` share: chat.c, the conversation itself; chat_open.c, what it begins with, and
 * answers among choices. */
#ifndef GENET_CLI_CHAT_H
#define GENET_CLI_CHAT_H
#include "cli.h"
#include "infer/conversation.h"

typedef struct chat_options {
    const char *prompt, *adapter, *system, *template, *examples, *choices, *load, *save, *tools, *variables;
    int64_t threads;
    bool json, interactive, apart;
} chat_options;

enum { MAX_CHOICES = 256 };

typedef struct chat_work {
    chat_options       options;
    generation_options writing;
    options           *given;
    model             *model;
    tokenizer         *tokenizer;
    genet_workspace   *space;
    decoder           *decoder;
    chat_format        format;
    conversation       talk;
    const char        *choice[MAX_CHOICES];
    int                n_choice;
    size_t             beginning;       /* messages before the first question */
    bool               failed;          /* standard output takes no more */
} chat_work;

bool cli_chat_open(chat_work *w, const char *folder, genet_device *d, genet_err *err);
void cli_chat_close(chat_work *w);
/* Append the likeliest choice as the answer, and print it. */
bool cli_chat_choose(chat_work *w, genet_err *err);
/* j (taken over; NULL: no memory) as a line. */
bool cli_chat_print(chat_work *w, json_t *j, genet_err *err);
#endif
