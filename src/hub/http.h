/* http.h - fetching over HTTP(S), through libcurl.
 *
 * Redirections are followed here, one by one: a token goes to the host that was
 * asked and to no other; from https nothing leads to http; other schemes are
 * refused. A build without libcurl says so. */
#ifndef GENET_HUB_HTTP_H
#define GENET_HUB_HTTP_H
#include "base/str.h"

typedef struct http http;
typedef struct http_answer http_answer;

typedef struct http_request {
    const char *url;
    const char *token;          /* Authorization: Bearer ...; NULL: none */
    int64_t     from;           /* > 0: only bytes from there on, if the server can */
    /* A piece of the body of an answer of 200 or 206; false (with err filled) ends it. */
    bool      (*body)(void *user, const http_answer *a, const void *bytes, size_t n, genet_err *err);
    void       *user;
    bool      (*go_on)(void *user);         /* asked several times a second: false stops; may be NULL */
} http_request;

struct http_answer {
    int     status;             /* of the last hop */
    int64_t length;             /* of the body to come, -1: not said */
    int64_t range_from, range_total;        /* 206: of Content-Range; -1: not said */
    double  retry_after_s;      /* -1: not said */
    bool    again;              /* there is none, because the network failed: another attempt may do better */
    char    words[300];         /* the beginning of an error's body */
};

/* NULL after an error. One at a time on a thread. */
http *genet__http_new(genet_err *err);
void  genet__http_free(http *h);
/* True when there is an answer, whatever its status.  False: no connection, a body that was refused, a
 * stop (GENET_ERR_STOPPED). */
bool  genet__http_get(http *h, const http_request *r, http_answer *a, genet_err *err);
/* Why nothing is fetched from the URL `to` after a redirection by `from`, in words; NULL: it may be. */
const char *genet__http_refused(const char *from, const char *to);
/* May a token be sent there: nobody can read it on the way, over https or on this machine. */
bool  genet__http_keeps_secrets(const char *url);
/* text with what a URL's path may not hold as it is spelled %XX; slashes stay when keep_slashes; appended to out. */
void  genet__http_escape(str *out, const char *text, bool keep_slashes);
#endif
