/* train_char.c - the model level: train a character model, hear of every step,
 * then let it write.
 *
 *     train_char FOLDER [TEXT-FILE]
 *
 * Without a file it learns a small text of its own.  FOLDER must be new. */
#include <genet/model.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const verses[] = {
    "the sun goes up and the moon goes down,\n", "the moon goes up and the sun goes down,\n",
    "the cat sits under the tree in the town,\n", "the dog runs over the hill to the town.\n",
};

static int failed(const genet_err *err)
{
    fprintf(stderr, "train_char: %s\n", err->text);
    return 1;
}

/* Verses in changing order; false when the file cannot be written. */
static bool write_text(const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) return false;
    for (int i = 0; i < 400; i++) fputs(verses[(i * i + i / 3) % 4], f);
    return !fclose(f);
}

static bool set(genet_options *o, genet_err *err, const char *folder, const char *data)
{
    const char *const options[][2] = {
        { "out", folder }, { "data", data }, { "max-steps", "120" }, { "batch-size", "8" }, { "block-size", "32" },
        { "n-layer", "2" }, { "n-head", "2" }, { "n-embd", "32" }, { "learning-rate", "1e-2" }, { "warmup-steps", "10" },
        { "eval-steps", "40" }, { "save-steps", "0" },
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (!genet_options_set(o, options[i][0], options[i][1], err)) return false;
    return true;
}

/* Returning false would save and stop. */
static bool show_step(void *user, const genet_step *s)
{
    (void)user;
    if (s->step == 1 || s->step % 20 == 0) printf("step %3lld of %lld  loss %.4f", (long long)s->step, (long long)s->max_steps, s->loss);
    if (s->evaluated) printf("  validation %.4f", s->val_loss);
    if (s->step == 1 || s->step % 20 == 0 || s->evaluated) printf("\n");
    return true;
}

static bool show_text(void *user, const genet_piece *p)
{
    (void)user;
    fwrite(p->text, 1, p->n_bytes, stdout);
    return true;
}

static int write_some(const char *folder, genet_device *d)
{
    genet_err err;
    genet_model *m = genet_model_open(folder, d, &err);
    genet_session *s = m ? genet_session_new(m, &err) : NULL;
    genet_options *o = s ? genet_options_new("generate", &err) : NULL;
    bool ok = o && genet_options_set(o, "max_new_tokens", "120", &err) && genet_generate(s, "the ", o, show_text, NULL, &err);
    printf("\n");
    genet_options_free(o);
    genet_session_free(s);
    genet_model_free(m);
    return ok ? 0 : failed(&err);
}

int main(int argc, char **argv)
{
    genet_err err;
    if (argc < 2) return fprintf(stderr, "usage: train_char FOLDER [TEXT-FILE]\n"), 2;
    char text[4096];
    snprintf(text, sizeof text, "%s.txt", argv[1]);
    if (argc < 3 && !write_text(text)) return fprintf(stderr, "train_char: cannot write %s\n", text), 1;

    genet_device *d = genet_device_cpu(0, &err);
    genet_options *o = d ? genet_options_new("train gpt2", &err) : NULL;
    bool ok = o && set(o, &err, argv[1], argc > 2 ? argv[2] : text) && genet_train(o, d, show_step, NULL, &err);
    int code = ok ? write_some(argv[1], d) : failed(&err);
    genet_options_free(o);
    genet_device_free(d);
    return code;
}
