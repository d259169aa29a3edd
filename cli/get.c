/* get.c - `genet get ORG/NAME -o FOLDER`: a model's folder from a hub. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/str.h"
#include "cli.h"
#include "hub/hub.h"

typedef struct get_options { const char *out, *endpoint, *token; double wait; } get_options;

#define AT(member) offsetof(get_options, member)
static const field table[] = {
    { "out",      FIELD_STRING, AT(out),      NULL, 0, 0, NULL, 0, "folder to make (-o; required)" },
    { "endpoint", FIELD_STRING, AT(endpoint), NULL, 0, 0, NULL, 0,
      "the hub's address (else HF_ENDPOINT, else https://huggingface.co)" },
    { "token",    FIELD_STRING, AT(token),    NULL, 0, 0, NULL, 0,
      "access token; better in the environment as HF_TOKEN, where other users do not see it" },
    { "wait",     FIELD_DOUBLE, AT(wait),     "60", 0, 86400, NULL, 0,
      "most seconds to wait for a hub that asks for patience" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };
static const short_name short_names[] = { { "o", "out" }, { NULL, NULL } };
static const char details[] =
    "ORG/NAME, or ORG/NAME@REVISION with a branch, a tag or a commit.  Fetched are weights (safetensors), config, tokenizer and model card.\n"
    "What was fetched half goes on where it stopped when the same command is given again; sizes and checksums are compared with\n"
    "the hub's.  The token goes to the hub alone, never to a host that it leads to.\n";

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

/* One line that renews itself; in a pipe one line a file. */
typedef struct shown { bool terminal, waiting; double at_s; char file[200]; int width; } shown;

static bool show(void *user, const hub_progress *p)
{
    shown *s = user;
    double now = genet__now_s();
    char done[32], size[32] = "?", line[400];
    bool fresh = p->file && strncmp(s->file, p->file, sizeof s->file - 1) != 0;
    if (fresh) snprintf(s->file, sizeof s->file, "%s", p->file);
    if (p->waiting_s > 0.95 && !s->waiting)          /* a second, of which a little has passed */
        fprintf(stderr, "%swaiting %.0f s\n", s->terminal && s->width ? "\n" : "", p->waiting_s);
    s->waiting = p->waiting_s > 0;
    if (!p->file || stop_asked || (!fresh && (!s->terminal || now - s->at_s < 0.2))) return !stop_asked;
    s->at_s = now;
    cli_bytes_text(done, (double)(p->all_done_bytes + p->done_bytes));
    if (p->all_bytes) cli_bytes_text(size, (double)p->all_bytes);
    if (!s->terminal) fprintf(stderr, "%s\n", p->file);
    else {
        int n = snprintf(line, sizeof line, "%.100s  %s of %s", p->file, done, size);
        fprintf(stderr, "\r%s%*s", line, s->width > n ? s->width - n : 0, "");
        s->width = n;
    }
    return true;
}

/* What is not given stands in the environment, under the names that people have there already. */
static bool get(const char *const *word, genet_device *d, str *out, genet_err *err, void *user)
{
    const get_options *o = user;
    const char *endpoint = o->endpoint ? o->endpoint : getenv("HF_ENDPOINT"),
        *token = o->token ? o->token : getenv("HF_TOKEN");
    (void)d, (void)out;
    if (!o->out) return genet__err_set(err, GENET_ERR_USAGE, "-o FOLDER is missing: where the model goes");
    shown s = { .terminal = isatty(STDERR_FILENO) };
    hub_request r = { .repo = word[0], .endpoint = endpoint && *endpoint ? endpoint : "https://huggingface.co",
                      .token = token && *token ? token : NULL, .folder = o->out, .progress = show, .user = &s,
                      .wait_s = o->wait };
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    bool ok = genet__hub_get(&r, err);
    if (s.terminal && s.width) fputs("\n", stderr);
    if (!ok && err->code == GENET_ERR_STOPPED)
        return genet__err_set(err, GENET_ERR_STOPPED, "stopped; the same command goes on from here");
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    get_options o;
    return cli_simple(v, &(simple){ .fields = &tables, .options = &o, .no_device = true, .short_names = short_names,
                                    .body = get,
                                    .details = details, .folder = "say which model: ORG/NAME" }, argc, argv);
}

const verb cli_verb_get = { "get", "ORG/NAME[@REVISION] -o FOLDER", "fetch a model from a hub", run };
