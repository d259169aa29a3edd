/* err.c - failures in words.  Text that does not fit is cut, never overrun;
 * errno's words come in English whatever the host's locale. */
#include "base/err.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include "base/str.h"

bool genet__err_set(genet_err *err, genet_code code, const char *fmt, ...)
{
    if (!err) return false;
    char text[sizeof err->text];        /* fmt's arguments may point into err->text */
    va_list ap;
    va_start(ap, fmt);
    genet__vformat(text, sizeof text, fmt, ap);
    va_end(ap);
    err->code = code;
    memcpy(err->text, text, sizeof text);
    return false;
}

static const char *errno_words(int code, char *buffer, size_t size_bytes)
{
    if (code == ENOSPC || code == EDQUOT) return "the disk is full; free some space there and try again";
    c_locale l = genet__c_locale_enter();
    const char *words = l.c != (locale_t)0 ? strerror_l(code, l.c) : "the system refused";
    size_t n = strnlen(words, size_bytes - 1);
    memcpy(buffer, words, n);
    buffer[n] = 0;
    genet__c_locale_leave(l);
    return buffer;
}

bool genet__err_errno(genet_err *err, const char *doing, const char *path)
{
    int code = errno;
    char buffer[200];
    return genet__err_set(err, code == ENOMEM ? GENET_ERR_MEMORY : GENET_ERR_IO, "cannot %s %s: %s", doing, path,
                          errno_words(code, buffer, sizeof buffer));
}

bool genet__err_prefix(genet_err *err, const char *fmt, ...)
{
    if (!err) return false;
    char text[2 * sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    int n = genet__vformat(text, sizeof err->text, fmt, ap);
    va_end(ap);
    size_t at = n < 0 ? 0 : strlen(text);
    memcpy(text + at, err->text, strnlen(err->text, sizeof err->text - 1) + 1);
    text[sizeof err->text - 1] = 0;
    memcpy(err->text, text, sizeof err->text);
    return false;
}

bool genet__err_memory(genet_err *err)
{
    return genet__err_set(err, GENET_ERR_MEMORY, "out of memory");
}
