/* setup.c - from `WHAT --options` to a task with its options set. */
#include "setup.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/str.h"
#include "task/from.h"

static const field own_fields[] = {
    { "model", FIELD_STRING, offsetof(cli_own, model), NULL, 0, 0, NULL, 0, "family of the network, when WHAT is a task" },
    { "json",  FIELD_BOOL,   offsetof(cli_own, json),  "false", 0, 0, NULL, FIELD_RENEWABLE,
      "print results as one JSON object" },
};
static const fields own_table = { "general", own_fields, sizeof own_fields / sizeof *own_fields };

/* A family that is its own task is listed once. */
static void list_tasks(str *s)
{
    genet__str_add(s, "WHAT is a task or a family of models:\n");
    for (const task *const *t = genet__tasks; *t; t++) genet__str_printf(s, "  %-12s %s\n", (*t)->name, (*t)->help);
    for (const family *const *f = genet__families; *f; f++)
        if (strcmp((*f)->name, (*f)->task))
            genet__str_printf(s, "  %-12s %s; the same as %s --model %s\n", (*f)->name, (*f)->help, (*f)->task, (*f)->name);
    genet__str_add(s, "\nWHAT --help lists its options\n");
}

static bool help_without_what(cli_setup *c, const verb *v)
{
    str s = {0};
    list_tasks(&s);
    cli_help(v, genet__str(&s), NULL);
    genet__str_release(&s);
    c->helped = true;
    return true;
}

static bool no_what(genet_err *err)
{
    str s = {0};
    for (const task *const *t = genet__tasks; *t; t++) genet__str_printf(&s, " %s", (*t)->name);
    for (const family *const *f = genet__families; *f; f++)
        if (strcmp((*f)->name, (*f)->task)) genet__str_printf(&s, " %s", (*f)->name);
    genet__err_set(err, GENET_ERR_USAGE, "say first what: one of%s", genet__str(&s));
    genet__str_release(&s);
    return false;
}

/* --model, or else the family of the folder that a run begins with; NULL: what WHAT implies. */
static const char *family_name(const char *what, int argc, char **argv)
{
    const char *given = cli_peek(argc, argv, "model");
    const family *of_folder = given || genet__family_find(what) ? NULL : genet__from_family(cli_peek(argc, argv, "from"));
    return given || !of_folder ? given : of_folder->name;
}

/* WHAT decides the tables; then the options are read into them. */
bool cli_setup_init(cli_setup *c, const verb *v, int argc, char **argv, genet_err *err)
{
    *c = (cli_setup){0};
    if (argc && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))) return help_without_what(c, v);
    if (!argc || argv[0][0] == '-') return no_what(err);
    TRY(genet__setup_init(&c->setup, argv[0], family_name(argv[0], argc, argv), err));
    TRY(genet__options_add(&c->setup.options, &own_table, &c->own, err));
    if (v == &cli_verb_train) TRY(genet__options_add(&c->setup.options, &cli_profile_fields, &c->profile, err));
    arguments a = { .options = &c->setup.options };
    TRY(cli_parse(&a, argc - 1, argv + 1, err));
    if (a.help) cli_help(v, c->setup.task->details, &c->setup.options);
    c->helped = a.help;
    return true;
}

/* After the options: --threads is among them. */
bool cli_setup_device(cli_setup *c, genet_err *err)
{
    setup *s = &c->setup;
    s->device = genet_device_cpu((int)s->train.threads, err);
    if (!s->device) return false;
    s->workspace = genet_workspace_new(s->device);
    return s->workspace || genet__err_memory(err);
}

void cli_setup_release(cli_setup *c)
{
    genet_workspace_free(c->setup.workspace);
    genet_device_free(c->setup.device);
    genet__setup_release(&c->setup);
}
