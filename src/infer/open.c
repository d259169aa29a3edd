/* open.c - a model and its tokenizer from one folder, at the same time: the one
 * waits for memory, the other computes, and each takes about as long. */
#include <pthread.h>
#include <signal.h>
#include "base/err.h"
#include "infer/generate.h"
#include "model/adapter.h"

typedef struct opening { const char *folder; genet_device *device; model_weights how; model *model; genet_err err; } opening;

/* An adapter's folder is opened as what it adapts, adapted. */
static model *open_adapted(const opening *o, genet_err *err)
{
    arena a = {0};
    const char *base = genet__adapter_base(o->folder, &a, err);
    model *m = base ? genet__model_open(base, o->device, o->how == MODEL_WRITABLE ? MODEL_READ_F32 : o->how, err) : NULL;
    if (m) m = genet__adapter_open(m, true, o->folder, err);
    genet__arena_release(&a);
    return m;
}

static void *open_model(void *arg)
{
    opening *o = arg;
    o->model = genet__adapter_exists(o->folder) ? open_adapted(o, &o->err) : genet__model_open(o->folder, o->device, o->how, &o->err);
    return NULL;
}

/* The adapter's own tokenizer, or that of its base. */
static tokenizer *open_tokenizer(const char *folder, genet_err *err)
{
    arena a = {0};
    bool other = genet__adapter_exists(folder) && !genet__tokenizer_exists(folder);
    const char *from = other ? genet__adapter_base(folder, &a, err) : folder;
    tokenizer *t = from ? genet__tokenizer_load(from, err) : NULL;
    genet__arena_release(&a);
    return t;
}

/* Signals are for the host's threads. */
static bool start(pthread_t *id, opening *o)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool ok = !pthread_create(id, NULL, open_model, o);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ok;
}

/* The tokenizer, which takes many small pieces of memory, is read by the calling thread: glibc gives them out faster
 * there.  What is wrong with the model is said first; of a network for tables it does not matter what its folder
 * holds beside it. */
bool genet__open_text_model(const char *folder, genet_device *d, model_weights how, model **m, tokenizer **t, genet_err *err)
{
    pthread_t id;
    genet_err why = {0};
    opening o = { .folder = folder, .device = d, .how = how };
    if (start(&id, &o)) {
        *t = open_tokenizer(folder, &why);
        pthread_join(id, NULL);
    } else {
        open_model(&o);
        *t = o.model ? open_tokenizer(folder, &why) : NULL;
    }
    *m = o.model;
    if (*m && (*t || !(*m)->family->vocab_size)) {
        if (!(*m)->family->vocab_size) genet__tokenizer_free(*t), *t = NULL;
        return true;
    }
    if (err) *err = *m ? why : o.err;
    genet__model_free(*m);
    genet__tokenizer_free(*t);
    *m = NULL;
    *t = NULL;
    return false;
}

bool genet__open_text_model_with(const char *folder, const char *adapter, genet_device *d, model **m, tokenizer **t, genet_err *err)
{
    TRY(genet__open_text_model(folder, d, MODEL_READ_ONLY, m, t, err));
    if (!adapter || !*adapter) return true;
    if ((*m)->base) {
        genet__model_free(*m);
        *m = NULL;
        genet__err_set(err, GENET_ERR_USAGE, "%s is an adapter's folder already: --adapter goes with the base", folder);
    } else *m = genet__adapter_open(*m, true, adapter, err);
    if (*m) return true;
    genet__tokenizer_free(*t);
    *t = NULL;
    return false;
}
