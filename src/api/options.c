/* options.c - options by name for C programs: the tables that the command line
 * reads, behind one opaque type.  What was given is remembered, so that what
 * was not can take a model's own defaults. */
#include <string.h>
#include "api/api.h"
#include "base/alloc.h"
#include "base/err.h"

static const char train_verb[] = "train";
static const char *const verb_name[] = { "generate", "eval", "metric", train_verb };

bool genet__api_need(const void *argument, const char *name, genet_err *err)
{
    return argument || genet__err_set(err, GENET_ERR_USAGE, "%s is NULL, and must not be", name);
}

/* --- life ----------------------------------------------------------------------- */

/* "train WHAT": the tables depend on WHAT. */
static bool open_train(genet_options *o, const char *what, genet_err *err)
{
    o->verb = API_TRAIN;
    o->set = &o->setup.options;
    what += strspn(what, " ");
    return genet__setup_init(&o->setup, what, NULL, err);
}

static bool open_verb(genet_options *o, const char *verb, genet_err *err)
{
    size_t n = sizeof train_verb - 1;
    if (!strncmp(verb, train_verb, n) && (verb[n] == ' ' || !verb[n])) return open_train(o, verb + n, err);
    o->own.arena = &o->arena;
    o->set = &o->own;
    if (!strcmp(verb, verb_name[API_GENERATE])) {
        o->verb = API_GENERATE;
        return genet__options_add(o->set, &genet__generation_fields, &o->generation, err);
    }
    if (!strcmp(verb, verb_name[API_EVALUATE])) {
        o->verb = API_EVALUATE;
        return genet__options_add(o->set, &genet__lm_score_fields, &o->score, err);
    }
    if (!strcmp(verb, verb_name[API_METRIC])) {
        o->verb = API_METRIC;
        return genet__options_add(o->set, &genet__metric_fields, &o->metric, err);
    }
    return genet__err_set(err, GENET_ERR_USAGE,
                          "there are no options of \"%.60s\"; there are: generate, eval, metric, train WHAT", verb);
}

genet_options *genet_options_new(const char *verb, genet_err *err)
{
    if (!genet__api_need(verb, "verb", err)) return NULL;
    genet_options *o = genet__alloc(sizeof *o);
    if (!o) {
        genet__err_memory(err);
        return NULL;
    }
    if (open_verb(o, verb, err)) return o;
    genet_options_free(o);
    return NULL;
}

void genet_options_free(genet_options *o)
{
    if (!o) return;
    if (o->verb == API_TRAIN) genet__setup_release(&o->setup);
    genet__arena_release(&o->arena);
    genet__free(o);
}

/* --- setting --------------------------------------------------------------------- */

/* --model decides which tables there are, so it comes before what it would throw away. */
static bool set_family(genet_options *o, const char *name, genet_err *err)
{
    setup *s = &o->setup;
    const task *t = s->task;
    const family *f = genet__family_find(name);
    if (f == s->family && f) return true;
    if (!f || strcmp(f->task, t->name))
        return genet__err_set(err, GENET_ERR_USAGE, "task %s has no model \"%.60s\"", t->name, name);
    if (s->options.n_given)
        return genet__err_set(err, GENET_ERR_USAGE,
                              "the option model must be set before all others: it decides which there are");
    genet__setup_release(s);
    return genet__setup_init(s, t->name, f->name, err);
}

bool genet_options_set(genet_options *o, const char *name, const char *value, genet_err *err)
{
    TRY(genet__api_need(o, "options", err));
    TRY(genet__api_need(name, "the option's name", err));
    if (o->verb == API_TRAIN && !strcmp(name, "model"))
        return genet__api_need(value, "the value", err) && set_family(o, value, err);
    if (o->verb == API_TRAIN && !strcmp(name, "threads"))
        return genet__err_set(err, GENET_ERR_USAGE, "threads are the device's: give their number to genet_device_cpu");
    return genet__options_set(o->set, name, value, err);
}

void genet_options_listen(genet_options *o, genet_message_fn *say, void *user)
{
    if (!o) return;
    o->say = say;
    o->say_to = user;
}

/* --- reading ---------------------------------------------------------------------- */

static void copy_value(const field *f, void *to, const void *from)
{
    memcpy((char *)to + f->offset, (const char *)from + f->offset, genet__field_bytes(f));
}

/* Strings stay in o's arena: o outlives the call that reads them. */
bool genet__api_overlay(const genet_options *o, api_verb verb, void *object, genet_err *err)
{
    if (!o) return true;
    if (o->verb != verb)
        return genet__err_set(err, GENET_ERR_USAGE, "these are options of \"%s\", not of \"%s\"", verb_name[o->verb],
                              verb_name[verb]);
    for (int i = 0; i < o->set->n_given; i++) copy_value(o->set->given[i], object, o->set->table[0].object);
    return true;
}
