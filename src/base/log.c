/* log.c - words to the listener that was passed in, and the clock that goes
 * with them.  Nothing that is computed may depend on the clock. */
#include "base/log.h"
#include <stdarg.h>
#include <time.h>
#include "base/str.h"

void genet__log(const log_sink *s, log_level level, const char *fmt, ...)
{
    if (!s || !s->fn) return;
    char text[1000];
    va_list ap;
    va_start(ap, fmt);
    genet__vformat(text, sizeof text, fmt, ap);
    va_end(ap);
    s->fn(s->user, level, text);
}

double genet__now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
