/* metrics.h - scoring what was predicted, for `genet eval`. */
#ifndef GENET_CLI_METRICS_H
#define GENET_CLI_METRICS_H
#include "text/metric.h"
#include "text/scored.h"

/* Whether all of names are metrics: before the work that would be lost. */
bool cli_metrics_check(const char *names, const metric_options *o, genet_err *err);
/* names: "bleu,chrf"; every item goes to every metric.  out gets the numbers: with lines one line an item, with json
 * objects. */
bool cli_metrics(const char *names, const metric_options *o, const scored *s, bool lines, bool json, str *out, genet_err *err);
#endif
