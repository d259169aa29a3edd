/* main.c - the table of verbs, and what needs none of them. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include "base/str.h"
#include "cli.h"

static const verb *const verbs[] = { &cli_verb_train, &cli_verb_generate, &cli_verb_chat, &cli_verb_translate, &cli_verb_summarize,
                                     &cli_verb_complete, &cli_verb_eval,
                                     &cli_verb_predict, &cli_verb_classify, &cli_verb_embed, &cli_verb_similar, &cli_verb_answer,
                                     &cli_verb_info, &cli_verb_plan, &cli_verb_bench, &cli_verb_export, &cli_verb_quantize,
                                     &cli_verb_tokenize, &cli_verb_plot, &cli_verb_get };
enum { N_VERB = sizeof verbs / sizeof *verbs };

/* To stdout when asked for, to stderr as an answer to wrong usage. */
static int usage(FILE *to)
{
    fputs("genet trains, runs and looks inside neural networks\n\nusage: genet VERB [WHAT] [--options]\n\n", to);
    for (int i = 0; i < N_VERB; i++)
        fprintf(to, "  %-10s %s\n", verbs[i]->name, verbs[i]->help);
    fputs("\ngenet VERB --help lists a verb's options; genet --version says which genet this is\n"
          "exit codes: 0 done, 1 failed or stopped, 2 wrong usage\n", to);
    return to == stdout ? EXIT_DONE : EXIT_USAGE;
}

/* The instruction set is the device's: what kernels would run with. */
static int version(void)
{
    genet_err err;
    genet_device *d = genet_device_cpu(1, &err);
    if (!d) {
        fprintf(stderr, "genet: %s\n", err.text);
        return EXIT_FAILED;
    }
    printf("genet %s (commit %s, %s)\n", genet_version(), genet_commit(), genet_device_isa(d));
    genet_device_free(d);
    return EXIT_DONE;
}

/* Two slips at most: further off is another word. */
static int no_such_verb(const char *name)
{
    const char *best = NULL;
    int least = 3;
    for (int i = 0; i < N_VERB; i++) {
        int edits = genet__edit_distance(name, verbs[i]->name);
        if (edits < least) least = edits, best = verbs[i]->name;
    }
    fprintf(stderr, "genet: there is no verb \"%s\"%s%s%s; genet --help lists them\n", name, best ? "; did you mean " : "",
            best ? best : "", best ? "?" : "");
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
#if defined(__GLIBC__)
    mallopt(M_MMAP_THRESHOLD, 128 << 10);       /* large buffers go back to the system at once, always */
#endif
    if (argc < 2) return usage(stderr);
    const char *name = argv[1];
    /* A reader that goes away (`| head`) ends the program quietly, but not work that others wait for. */
    if (!strcmp(name, "train") || !strcmp(name, "get")) signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);       /* a file-size limit is a write that fails, with words */
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) return usage(stdout);
    if (!strcmp(name, "--version")) return version();
    for (int i = 0; i < N_VERB; i++)
        if (!strcmp(verbs[i]->name, name)) return verbs[i]->run(verbs[i], argc - 2, argv + 2);
    return no_such_verb(name);
}
