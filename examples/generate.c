/* generate.c - open a model's folder and let it write, piece by piece.
 *
 *     generate FOLDER PROMPT [NAME=VALUE...]
 *
 * Options are those of `genet generate`: temperature=0.8 top-k=40 seed=3
 * num-return-sequences=2 logprobs=3.  With logprobs the likeliest tokens are listed too. */
#include <genet/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the function for pieces needs. */
typedef struct listener {
    const genet_model *model;
    int                n_token;
    double             logprob;
} listener;

static void show_choice(const genet_model *m, int32_t id, double logprob)
{
    char *text = genet_detokenize(m, &id, 1, NULL, NULL);
    printf("  %d \"%s\" %.3f", (int)id, text ? text : "", logprob);
    free(text);
}

/* A line for each piece; on a sequence's last one, why it ended. */
static bool show(void *user, const genet_piece *p)
{
    listener *l = user;
    printf("%d| %.*s\n", p->sequence, (int)p->n_bytes, p->text);
    for (int i = 0; i < p->n_token; i++) {
        const genet_token *t = &p->token[i];
        l->n_token++;
        l->logprob += t->logprob;
        if (!t->n_top) continue;
        printf("   log-probability %.3f; likeliest:", t->logprob);
        for (int k = 0; k < t->n_top; k++) show_choice(l->model, t->top[k].id, t->top[k].logprob);
        printf("\n");
    }
    if (p->finish) printf("sequence %d ended: %s, score %.4f\n", p->sequence, p->finish, p->score);
    return true;
}

/* "top-k=40" */
static bool set(genet_options *o, char *word, genet_err *err)
{
    char *equals = strchr(word, '=');
    if (equals) *equals = 0;
    return genet_options_set(o, word, equals ? equals + 1 : NULL, err);
}

int main(int argc, char **argv)
{
    genet_err err;
    if (argc < 3) return fprintf(stderr, "usage: generate FOLDER PROMPT [NAME=VALUE...]\n"), 2;
    genet_device *d = genet_device_cpu(0, &err);
    genet_model *m = d ? genet_model_open(argv[1], d, &err) : NULL;
    genet_session *s = m ? genet_session_new(m, &err) : NULL;
    genet_options *o = s ? genet_options_new("generate", &err) : NULL;
    bool ok = o;
    for (int i = 3; ok && i < argc; i++) ok = set(o, argv[i], &err);

    listener l = { .model = m };
    ok = ok && genet_generate(s, argv[2], o, show, &l, &err);
    if (ok) printf("%d tokens, log-probability %.4f\n", l.n_token, l.logprob);
    else fprintf(stderr, "generate: %s\n", err.text);
    genet_options_free(o);
    genet_session_free(s);
    genet_model_free(m);
    genet_device_free(d);
    return ok ? 0 : 1;
}
