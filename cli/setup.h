/* setup.h - what `train` and `plan` share: WHAT, --model, and the tables that follow. */
#ifndef GENET_CLI_SETUP_H
#define GENET_CLI_SETUP_H
#include "cli.h"
#include "task/task.h"

typedef struct cli_own { const char *model; bool json; } cli_own;
typedef struct cli_setup {
    setup   setup;
    cli_own own;
    profile_options profile;        /* of `train` */
    bool    helped;         /* --help was answered: nothing else to do */
} cli_setup;

/* Parse argv (WHAT first); release also after a failure. */
bool cli_setup_init(cli_setup *c, const verb *v, int argc, char **argv, genet_err *err);
bool cli_setup_device(cli_setup *c, genet_err *err);
void cli_setup_release(cli_setup *c);
#endif
