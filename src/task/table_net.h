/* table_net.h - running a table's network: rows of inputs in, rows of outputs
 * out, a fixed number at a time; and `genet predict`. */
#ifndef GENET_TASK_TABLE_NET_H
#define GENET_TASK_TABLE_NET_H
#include "base/str.h"
#include "model/model.h"

typedef struct table_net {
    graph      *graph;
    genet_plan *plan;
    model      *model;
    tensor     *x, *y;
    float      *in, *out;           /* (rows, n_input), (rows, n_output) */
    int64_t     rows, n_input, n_output;
    size_t      workspace_bytes;
} table_net;

/* type: as net.dtype. */
bool genet__table_net_build(table_net *n, model *m, int64_t rows, dtype type, genet_err *err);
bool genet__table_net_attach(table_net *n, genet_workspace *w, genet_err *err);
bool genet__table_net_run(table_net *n, genet_err *err);        /* from in to out */
void genet__table_net_release(table_net *n);
/* The likeliest class, the first of equals. */
int  genet__table_net_class(const float *logits, int n);

/* The table in file data with one more column, "prediction". */
bool genet__predict(const char *folder, const char *data, genet_device *d, str *out, genet_err *err);
#endif
