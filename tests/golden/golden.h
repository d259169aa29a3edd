/* golden.h - finding the committed answers in tests/golden. */
#ifndef GENET_TESTS_GOLDEN_H
#define GENET_TESTS_GOLDEN_H
#include <stdio.h>
#include <stdlib.h>

/* The path of tests/golden/NAME; valid until the fourth call after it. */
static inline const char *golden_path(const char *name)
{
    static char path[4][1000];
    static int turn;
    const char *source = getenv("GENET_SOURCE");
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/tests/golden/%s", source ? source : ".", name);
    return path[turn];
}
#endif
