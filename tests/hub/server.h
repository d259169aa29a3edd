/* server.h - a small HTTP server on this machine's own address, on a thread, for
 * tests: it answers from a table and remembers what it was asked. */
#ifndef GENET_TESTS_HUB_SERVER_H
#define GENET_TESTS_HUB_SERVER_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct route {
    const char *path;           /* exact, with the query */
    int         status;
    const char *headers;        /* lines ended by \r\n; may be NULL */
    const char *body;
    size_t      n;              /* bytes; 0: strlen(body) */
    size_t      cut;            /* > 0: the connection breaks after so many bytes of an answer */
    int         times;          /* > 0: so often, then the next route of this path */
    bool        no_range;       /* ranges are not understood */
    const char *length;         /* said as Content-Length, "": nothing said; NULL: the true one */
    bool        needs_token;    /* else 401 */
} route;

typedef struct asked { char path[300], range[80], token[100]; int status; } asked;

typedef struct server {
    route      *route;
    int         n_route, port, fd;
    asked       asked[200];
    int         n_asked;
    int         used[64];       /* answers given by route */
    _Atomic bool stop;
    pthread_t   thread;
    pthread_mutex_t lock;
} server;

bool server_start(server *s, route *routes, int n);
void server_stop(server *s);
/* The i-th request; how many there were. */
asked server_asked(server *s, int i);
int  server_total(server *s);
/* How often the path was asked for; with_token: of these, with a token. */
int  server_count(server *s, const char *path, bool with_token);
#endif
