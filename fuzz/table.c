/* table.c - fuzz target: comma-separated text is refused in words, or what it
 * holds, printed and read again, is the same. */
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "text/table.h"

static void compare(const table *a, const table *b)
{
    if (b->n_row != a->n_row || b->n_column != a->n_column + 1) __builtin_trap();
    for (int i = 0; i < a->n_column; i++) {
        if (a->column[i].type != b->column[i].type || a->column[i].n_missing != b->column[i].n_missing) __builtin_trap();
        for (int64_t r = 0; r < a->n_row; r++)
            if (strcmp(a->column[i].text[r], b->column[i].text[r])) __builtin_trap();
    }
}

static void print_and_compare(const table *t)
{
    genet_err err = { 0 };
    str out = { 0 };
    table again;
    const char **cell = calloc((size_t)t->n_row, sizeof *cell);
    for (int64_t r = 0; cell && r < t->n_row; r++) cell[r] = "1";
    if (cell && genet__table_print(t, "a new column", cell, &out, &err)) {
        if (!genet__table_parse(&again, out.at, out.n, "again", t->delimiter, &err)) __builtin_trap();
        compare(t, &again);
        genet__table_release(&again);
    }
    genet__str_release(&out);
    free(cell);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    genet_err err = { 0 };
    table t;
    if (genet__table_parse(&t, (const char *)data, size, "fuzz", 0, &err)) {
        print_and_compare(&t);
        genet__table_release(&t);
    } else if (!err.text[0]) {
        __builtin_trap();
    }
    return 0;
}
