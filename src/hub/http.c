/* http.c - one request, hop by hop.  libcurl does the talking; what is done
 * with its answers, where it goes next, and who gets the token, is decided here. */
#include "hub/http.h"
#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
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
    bool      body_failed, stopped;
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

static const http_answer no_answer = { .length = -1, .range_from = -1, .range_total = -1, .retry_after_s = -1 };

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

/* Whole seconds, or a date ("Wed, 21 Oct 2026 07:28:00 GMT"); -1: neither. */
static double read_wait(const char *value)
{
    int64_t seconds;
    if (genet__parse_int(value, &seconds)) return seconds >= 0 ? (double)seconds : -1;
    bool letter = (*value >= 'A' && *value <= 'Z') || (*value >= 'a' && *value <= 'z');
    time_t date = letter ? curl_getdate(value, NULL) : -1;
    return date < 0 ? -1 : fmax(0, difftime(date, time(NULL)));
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
    while (length && strchr(" \t\r\n", line[length - 1])) length--;
    line[length] = 0;
    if (!strncmp(line, "HTTP/", 5)) {
        *hop->a = no_answer;
        const char *space = strchr(line, ' ');
        hop->a->status = space ? (int)strtol(space, NULL, 10) : 0;
        hop->location[0] = 0;
    } else if (header_is(line, "location", &value)) snprintf(hop->location, sizeof hop->location, "%s", value);
    else if (header_is(line, "content-length", &value)) hop->a->length = strtoll(value, NULL, 10);
    else if (header_is(line, "content-range", &value)) read_range(hop->a, value);
    else if (header_is(line, "retry-after", &value)) hop->a->retry_after_s = read_wait(value);
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

/* Did the network fail, rather than a rule, a certificate or this machine? */
static bool network_failed(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
    }
}

/* The credentials are a header of this one request; over plain http, which stays on this machine, no proxy gets it. */
static bool perform(http *h, http_hop *hop, const char *url, bool with_token, bool plain, genet_err *err)
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
        if (plain) curl_easy_setopt(h->curl, CURLOPT_NOPROXY, "*");
    }
    CURLcode code = curl_easy_perform(h->curl);
    curl_slist_free_all(headers);
    genet__str_release(&bearer);
    if (hop->stopped) return genet__err_set(err, GENET_ERR_STOPPED, "stopped");
    if (hop->body_failed) {
        if (err) *err = hop->err;
        return false;
    }
    hop->a->again = network_failed(code);
    return code == CURLE_OK || genet__err_set(err, GENET_ERR_IO, "%.300s: %s", url, *why ? why : curl_easy_strerror(code));
}

/* --- from hop to hop ---------------------------------------------------------------------------- */

/* Where a URL leads: "https", "hub.example", "https://hub.example:443". */
typedef struct origin { char scheme[16], host[300], all[340]; } origin;

static bool get_part(CURLU *u, CURLUPart part, char *out, size_t size_bytes)
{
    char *text = NULL;
    bool ok = !curl_url_get(u, part, &text, part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) && strlen(text) < size_bytes;
    if (ok) memcpy(out, text, strlen(text) + 1);
    curl_free(text);
    return ok;
}

static bool origin_of(const char *url, origin *o)
{
    char port[12];
    CURLU *u = curl_url();
    bool ok = u && !curl_url_set(u, CURLUPART_URL, url, 0) &&
              get_part(u, CURLUPART_SCHEME, o->scheme, sizeof o->scheme) &&
              get_part(u, CURLUPART_HOST, o->host, sizeof o->host) && get_part(u, CURLUPART_PORT, port, sizeof port);
    curl_url_cleanup(u);
    if (ok) snprintf(o->all, sizeof o->all, "%s://%s:%s", o->scheme, o->host, port);
    return ok;
}

static bool is_https(const origin *o) { return !strcmp(o->scheme, "https"); }
static bool is_web(const origin *o) { return is_https(o) || !strcmp(o->scheme, "http"); }

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

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* An address and not only a name that looks like one: 127.example is anybody's. */
static bool is_this_machine(const char *host)
{
    struct in_addr address;
    if (!strcmp(host, "localhost") || !strcmp(host, "[::1]")) return true;
    return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

bool genet__http_keeps_secrets(const char *url)
{
    origin o;
    return origin_of(url, &o) && (is_https(&o) || (is_web(&o) && is_this_machine(o.host)));
}

const char *genet__http_refused(const char *from, const char *to)
{
    origin was, next;
    if (!origin_of(from, &was) || !origin_of(to, &next) || !is_web(&next)) return "no web address";
    return is_https(&was) && !is_https(&next) ? "no longer https" : NULL;
}

/* url becomes the one that location leads to. */
static bool next_hop(const http_request *r, char url[URL_BYTES], const char *location, genet_err *err)
{
    char from[URL_BYTES];
    memcpy(from, url, URL_BYTES);
    const char *why = resolve(url, location) ? genet__http_refused(from, url) : "no web address";
    return !why || genet__err_set(err, GENET_ERR_IO, "%.200s leads to \"%.200s\", which is %s: refused", r->url, location,
                                 why);
}

/* Is this a request that is made at all? */
static bool check_request(const http_request *r, char url[URL_BYTES], origin *first, genet_err *err)
{
    memset(url, 0, URL_BYTES);
    if (snprintf(url, URL_BYTES, "%s", r->url) >= URL_BYTES || !origin_of(url, first))
        return genet__err_set(err, GENET_ERR_USAGE, "\"%.300s\" is no address", r->url);
    if (!is_web(first))
        return genet__err_set(err, GENET_ERR_USAGE, "%.300s: only http and https are fetched", r->url);
    if (r->token && !genet__http_keeps_secrets(url))
        return genet__err_set(err, GENET_ERR_USAGE,
                              "a token is not sent to %s, where it could be read on the way: use https", first->all);
    return true;
}

bool genet__http_get(http *h, const http_request *r, http_answer *a, genet_err *err)
{
    char url[URL_BYTES];
    origin first, here;
    *a = no_answer;
    TRY(check_request(r, url, &first, err));
    http_hop *hop = genet__alloc(sizeof *hop);
    if (!hop) return genet__err_memory(err);
    bool ok = true;
    for (int n = 0; ok; n++) {
        *hop = (http_hop){ .r = r, .a = a };
        *a = no_answer;
        ok = origin_of(url, &here) || genet__err_memory(err);       /* it was one before */
        ok = ok && perform(h, hop, url, r->token && !strcmp(here.all, first.all), !is_https(&here), err);
        if (!ok || !is_redirect(a->status) || !hop->location[0]) break;
        if (n == MAX_HOPS) ok = genet__err_set(err, GENET_ERR_IO, "%.300s: more than %d redirections", r->url, MAX_HOPS);
        else ok = next_hop(r, url, hop->location, err);
    }
    genet__free(hop);
    return ok;
}

#else

http *genet__http_new(genet_err *err)
{
    genet__err_set(err, GENET_ERR_USAGE,
                   "this genet was built without libcurl (package libcurl4-openssl-dev): it cannot fetch");
    return NULL;
}
void genet__http_free(http *h) { (void)h; }
bool genet__http_get(http *h, const http_request *r, http_answer *a, genet_err *err)
{
    (void)h, (void)r;
    *a = (http_answer){0};
    return genet__err_set(err, GENET_ERR_USAGE, "this genet was built without libcurl");
}
#endif
