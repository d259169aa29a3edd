/* server.c - one connection at a time, one request a connection. */
#include "server.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static void send_all(int fd, const char *bytes, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0) return;
        bytes += sent;
        n -= (size_t)sent;
    }
}

/* The value of a header of the request, or "". */
static void header_of(const char *request, const char *name, char *out, size_t size)
{
    *out = 0;
    for (const char *line = strstr(request, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        size_t n = strlen(name);
        if (strncasecmp(line + 2, name, n) || line[2 + n] != ':') continue;
        const char *value = line + 3 + n + strspn(line + 3 + n, " ");
        snprintf(out, size, "%.*s", (int)strcspn(value, "\r\n"), value);
        return;
    }
}

/* The route that is due for a path, or NULL. */
static route *route_for(server *s, const char *path)
{
    for (int i = 0; i < s->n_route; i++) {
        if (strcmp(s->route[i].path, path) || (s->route[i].times && s->used[i] >= s->route[i].times)) continue;
        s->used[i]++;
        return &s->route[i];
    }
    return NULL;
}

static void answer(int fd, int status, const char *headers, const char *said, const char *body, size_t n, size_t cut)
{
    char head[2000], true_one[32];
    snprintf(true_one, sizeof true_one, "%zu", n);
    if (!said) said = true_one;
    int length = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\n%s%s%sConnection: close\r\n%s\r\n", status,
                          *said ? "Content-Length: " : "", said, *said ? "\r\n" : "", headers ? headers : "");
    send_all(fd, head, (size_t)length);
    send_all(fd, body, cut && cut < n ? cut : n);
}

static void handle(server *s, int fd)
{
    char request[8000] = "", path[300] = "", headers[1500];
    size_t have = 0;
    while (!strstr(request, "\r\n\r\n") && have + 1 < sizeof request) {
        ssize_t got = recv(fd, request + have, sizeof request - 1 - have, 0);
        if (got <= 0) return;
        have += (size_t)got;
        request[have] = 0;
    }
    sscanf(request, "GET %299s", path);
    pthread_mutex_lock(&s->lock);
    asked *a = &s->asked[s->n_asked < 199 ? s->n_asked++ : 199];
    snprintf(a->path, sizeof a->path, "%s", path);
    header_of(request, "Range", a->range, sizeof a->range);
    header_of(request, "Authorization", a->token, sizeof a->token);
    route *r = route_for(s, path);
    size_t n = r && r->n ? r->n : r && r->body ? strlen(r->body) : 0, from = 0;
    bool ranged = r && r->status == 200 && !r->no_range && sscanf(a->range, "bytes=%zu-", &from) == 1 && from;
    a->status = !r ? 404 : r->needs_token && !*a->token ? 401 : ranged ? (from < n ? 206 : 416) : r->status;
    pthread_mutex_unlock(&s->lock);
    snprintf(headers, sizeof headers, "%s", r && r->headers ? r->headers : "");
    if (ranged && a->status == 206)
        snprintf(headers + strlen(headers), sizeof headers - strlen(headers), "Content-Range: bytes %zu-%zu/%zu\r\n", from, n - 1, n);
    if (!r || a->status == 401 || a->status == 416) answer(fd, a->status, NULL, NULL, "no", 2, 0);
    else answer(fd, a->status, headers, r->length, r->body + (ranged ? from : 0), n - (ranged ? from : 0), r->cut);
}

static void *serve(void *arg)
{
    server *s = arg;
    while (!s->stop) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0) break;
        if (!s->stop) handle(s, fd);
        close(fd);
    }
    return NULL;
}

bool server_start(server *s, route *routes, int n)
{
    *s = (server){ .route = routes, .n_route = n, .lock = PTHREAD_MUTEX_INITIALIZER };
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&address, length) || listen(s->fd, 16) ||
        getsockname(s->fd, (struct sockaddr *)&address, &length)) return false;
    s->port = ntohs(address.sin_port);
    return !pthread_create(&s->thread, NULL, serve, s);
}

void server_stop(server *s)
{
    s->stop = true;
    shutdown(s->fd, SHUT_RDWR);
    close(s->fd);
    pthread_join(s->thread, NULL);
}

asked server_asked(server *s, int i)
{
    pthread_mutex_lock(&s->lock);
    asked a = s->asked[i];
    pthread_mutex_unlock(&s->lock);
    return a;
}

int server_total(server *s)
{
    pthread_mutex_lock(&s->lock);
    int n = s->n_asked;
    pthread_mutex_unlock(&s->lock);
    return n;
}

int server_count(server *s, const char *path, bool with_token)
{
    int n = 0;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->n_asked; i++) n += !strcmp(s->asked[i].path, path) && (!with_token || *s->asked[i].token);
    pthread_mutex_unlock(&s->lock);
    return n;
}
