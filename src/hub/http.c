/* http.c - one request, hop by hop.  libcurl does the talking; what is done
 * with its answers, where it goes next, and who gets the token, is decided here. */
#include "hub/http.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/alloc.h"
#include "base/err.h"

void genet__http_escape(str *out, const char *text, bool keep_slashes)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
        if (plain || (c == '/' && keep_slashes)) genet__str_add_n(out, text, 1);
        else genet__str_printf(out, "%%%02X", c);
    }
}

#ifdef GENET_HAVE_CURL
#include <curl/curl.h>

enum { MAX_HOPS = 8, CONNECT_S = 30, STALL_S = 60, URL_BYTES = 8192 };

struct http { CURL *curl; };

/* A hop under way. */
typedef struct http_hop {
    const http_request *r;
    http_answer *a;
    char      location[URL_BYTES];
    bool      body_failed, stopped, too_long;
    size_t    n_words;
    genet_err err;
} http_hop;

http *genet__http_new(genet_err *err)
{
    http *h = genet__alloc(sizeof *h);
    if (h) h->curl = curl_easy_init();
    if (h && h->curl) return h;
    genet__http_free(h);
    genet__err_memory(err);
    return NULL;
}

void genet__http_free(http *h)
{
    if (!h) return;
    if (h->curl) curl_easy_cleanup(h->curl);
    genet__free(h);
}

/* --- answers ---------------------------------------------------------------------------- */

static bool header_is(const char *line, const char *name, const char **value)
{
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) || line[n] != ':') return false;
    *value = line + n + 1 + strspn(line + n + 1, " \t");
    return true;
}

/* "bytes 100-199/200", and without a total. */
static void read_range(http_answer *a, const char *value)
{
    long long from, to, total;
    int n = sscanf(value, "bytes %lld-%lld/%lld", &from, &to, &total);
    if (n >= 2 && from >= 0) a->range_from = from;
    if (n == 3 && total > 0) a->range_total = total;
}

/* Lines come one by one, not terminated; a status line begins anew (after "100 Continue"). */
static size_t on_header(char *bytes, size_t size, size_t n, void *user)
{
    http_hop *hop = user;
    char line[URL_BYTES];
    const char *value;
    size_t length = size * n;
    if (length >= sizeof line) return length;
    memcpy(line, bytes, length);
    while (length && (line[length - 1] == '\r' || line[length - 1] == '\n')) length--;
    line[length] = 0;
    if (!strncmp(line, "HTTP/", 5)) {
        *hop->a = (http_answer){ .length = -1, .range_from = -1, .range_total = -1, .retry_after_s = -1 };
        const char *space = strchr(line, ' ');
        hop->a->status = space ? (int)strtol(space, NULL, 10) : 0;
        hop->location[0] = 0;
    } else if (header_is(line, "location", &value)) snprintf(hop->location, sizeof hop->location, "%s", value);
    else if (header_is(line, "content-length", &value)) hop->a->length = strtoll(value, NULL, 10);
    else if (header_is(line, "content-range", &value)) read_range(hop->a, value);
    else if (header_is(line, "retry-after", &value)) hop->a->retry_after_s = strtod(value, NULL);
    return size * n;
}

/* Of an error the first words are kept, for the message. */
static size_t on_body(char *bytes, size_t size, size_t n, void *user)
{
    http_hop *hop = user;
    size_t length = size * n;
    if (hop->a->status == 200 || hop->a->status == 206) {
        hop->body_failed = !hop->r->body(hop->r->user, hop->a, bytes, length, &hop->err);
        return hop->body_failed ? 0 : length;
    }
    for (size_t i = 0; i < length && hop->n_words + 1 < sizeof hop->a->words; i++)
        hop->a->words[hop->n_words++] = (unsigned char)bytes[i] < 32 || bytes[i] == 127 ? ' ' : bytes[i];
    hop->a->words[hop->n_words] = 0;
    return length;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    http_hop *hop = user;
    hop->stopped = hop->r->go_on && !hop->r->go_on(hop->r->user);
    return hop->stopped;
}

/* --- one hop ------------------------------------------------------------------------------ */

static void set_options(CURL *c, http_hop *hop, const char *url)
{
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(c, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(c, CURLOPT_USERAGENT, "genet");
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, hop);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, hop);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, hop);
}

/* The credentials are a header of this one request. */
static bool perform(http *h, http_hop *hop, const char *url, bool with_token, genet_err *err)
{
    char range[80], why[CURL_ERROR_SIZE] = "";
    str bearer = {0};
    set_options(h->curl, hop, url);
    curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, why);
    snprintf(range, sizeof range, "%lld-", (long long)hop->r->from);
    if (hop->r->from > 0) curl_easy_setopt(h->curl, CURLOPT_RANGE, range);
    struct curl_slist *headers = NULL;
    if (with_token) {
        genet__str_printf(&bearer, "Authorization: Bearer %s", hop->r->token);
        headers = bearer.failed ? NULL : curl_slist_append(NULL, bearer.at);
        if (!headers) {
            genet__str_release(&bearer);
            return genet__err_memory(err);
        }
        curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
    }
    CURLcode code = curl_easy_perform(h->curl);
    curl_slist_free_all(headers);
    genet__str_release(&bearer);
    if (hop->stopped) return genet__err_set(err, GENET_ERR_STOPPED, "stopped");
    if (hop->body_failed) {
        if (err) *err = hop->err;
        return false;
    }
    return code == CURLE_OK || genet__err_set(err, GENET_ERR_IO, "%.300s: %s", url, *why ? why : curl_easy_strerror(code));
}

/* --- from hop to hop ---------------------------------------------------------------------------- */

/* Scheme, host and port of a URL, in full. */
static bool origin_of(const char *url, char out[600])
{
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool ok = u && !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
              !curl_url_get(u, CURLUPART_HOST, &host, 0) && !curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (ok) snprintf(out, 600, "%s://%s:%s", scheme, host, port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return ok;
}

/* Where location leads from url. */
static bool resolve(char url[URL_BYTES], const char *location)
{
    CURLU *u = curl_url();
    char *full = NULL;
    bool ok = u && !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_set(u, CURLUPART_URL, location, 0) &&
              !curl_url_get(u, CURLUPART_URL, &full, 0) && strlen(full) < URL_BYTES;
    if (ok) snprintf(url, URL_BYTES, "%s", full);
    curl_free(full);
    curl_url_cleanup(u);
    return ok;
}

static bool is_redirect(int status) { return status == 301 || status == 302 || status == 303 || status == 307 || status == 308; }

/* What nobody may read on the way is not sent there: plain http only to this machine. */
static bool may_send_token(const char *origin)
{
    return !strncmp(origin, "https:", 6) || !strncmp(origin, "http://127.", 11) || !strncmp(origin, "http://localhost:", 17) ||
           !strncmp(origin, "http://[::1]:", 13);
}

bool genet__http_get(http *h, const http_request *r, http_answer *a, genet_err *err)
{
    char url[URL_BYTES], first[600], here[600];
    if (snprintf(url, sizeof url, "%s", r->url) >= URL_BYTES || !origin_of(url, first))
        return genet__err_set(err, GENET_ERR_USAGE, "\"%.300s\" is no address", r->url);
    if (strncmp(first, "http:", 5) && strncmp(first, "https:", 6))
        return genet__err_set(err, GENET_ERR_USAGE, "%.300s: only http and https are fetched", r->url);
    if (r->token && !may_send_token(first))
        return genet__err_set(err, GENET_ERR_USAGE, "a token is not sent to %s, where it could be read on the way: use https", first);
    http_hop *hop = genet__alloc(sizeof *hop);
    if (!hop) return genet__err_memory(err);
    bool ok = true;
    for (int n = 0; ok; n++) {
        *hop = (http_hop){ .r = r, .a = a };
        *a = (http_answer){ .length = -1, .range_from = -1, .range_total = -1, .retry_after_s = -1 };
        ok = origin_of(url, here) && perform(h, hop, url, r->token && !strcmp(here, first), err);
        if (!ok || !is_redirect(a->status) || !hop->location[0]) break;
        if (n == MAX_HOPS) ok = genet__err_set(err, GENET_ERR_IO, "%.300s: more than %d redirections", r->url, MAX_HOPS);
        else if (!resolve(url, hop->location) || !origin_of(url, here) || (strncmp(here, "http:", 5) && strncmp(here, "https:", 6)))
            ok = genet__err_set(err, GENET_ERR_IO, "%.200s leads to \"%.200s\", which is no web address", r->url, hop->location);
        else if (!strncmp(first, "https:", 6) && !strncmp(here, "http:", 5))
            ok = genet__err_set(err, GENET_ERR_IO, "%.200s leads from https to %.200s, which is refused", r->url, url);
    }
    genet__free(hop);
    return ok;
}

#else

http *genet__http_new(genet_err *err)
{
    genet__err_set(err, GENET_ERR_USAGE, "this genet was built without libcurl (package libcurl4-openssl-dev): it cannot fetch");
    return NULL;
}
void genet__http_free(http *h) { (void)h; }
bool genet__http_get(http *h, const http_request *r, http_answer *a, genet_err *err)
{
    (void)h, (void)r, (void)a;
    return genet__err_set(err, GENET_ERR_USAGE, "this genet was built without libcurl");
}
#endif
