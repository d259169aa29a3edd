/* foreign.c - forms that are refused, with the lines of Python that turn them into one that is read.  Pickles are
 * programs: reading one runs it, which is why none ever is. */
#include "format/foreign.h"
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "format/shards.h"

#define PICKLE "is a Python pickle, a program that reading would run, and is never read"
/* transformers' own class of the folder, written as safetensors. */
#define AGAIN(more) "; in Python:\n    from transformers import AutoModelForCausalLM\n"                                   \
                    "    AutoModelForCausalLM.from_pretrained(\"%s\"" more ").save_pretrained(\"NEW\", safe_serialization=True)"
#define OLD "   (transformers 4)"

static const struct form { const char *end, *what, *advice; bool of_folder; } forms[] = {
    { ".bin.index.json", "lists Python pickles, programs that reading would run, which are never read", AGAIN(""), true },
    { ".bin", PICKLE, AGAIN(""), true },
    { ".h5", "holds TensorFlow's weights", AGAIN(", from_tf=True") OLD, true },
    { ".msgpack", "holds Flax's weights", AGAIN(", from_flax=True") OLD, true },
    { ".onnx", "is an ONNX graph, made to be run and not to be changed: take the model that it was made from", "", true },
    { ".pt", PICKLE, NULL, false }, { ".pth", PICKLE, NULL, false }, { ".ckpt", PICKLE, NULL, false },
};
enum { N_FORMS = sizeof forms / sizeof *forms };

/* Weights alone: they want a config.json beside them. */
static void add_state_dict(const char *path, str *out)
{
    genet__str_printf(out, "; in Python, with the model's config.json beside the result:\n"
                      "    import torch; from safetensors.torch import save_file\n"
                      "    save_file({k: v.contiguous().clone() for k, v in torch.load(\"%s\", weights_only=True).items()}, "
                      "\"" WEIGHTS_FILE "\")", path);
}

/* name: as it stands in folder; NULL: path is the file itself. */
static bool add_form(const char *path, const char *name, str *out)
{
    const char *file = name ? name : path;
    for (const struct form *f = forms; f < forms + N_FORMS; f++) {
        if (!genet__ends_with(file, f->end)) continue;
        if (name && f->of_folder && !strcmp(f->end, ".bin") && strncmp(name, "pytorch_model", 13)) continue;     /* training_args.bin */
        genet__str_printf(out, "; %s %s", file, f->what);
        if (!f->advice) {
            str whole = {0};
            genet__str_printf(&whole, "%s%s%s", name ? path : "", name ? "/" : "", file);
            add_state_dict(genet__str(&whole), out);
            genet__str_release(&whole);
        } else if (*f->advice) {
            str folder = {0};
            const char *slash = name ? NULL : strrchr(path, '/');
            if (name) genet__str_add(&folder, path);
            else if (slash) genet__str_add_n(&folder, path, (size_t)(slash - path));
            else genet__str_add(&folder, ".");
            const char *hole = strstr(f->advice, "%s");
            genet__str_printf(out, "%.*s%s%s", (int)(hole - f->advice), f->advice, genet__str(&folder), hole + 2);
            genet__str_release(&folder);
        }
        return true;
    }
    return false;
}

void genet__foreign_weights(const char *path, str *out)
{
    if (!genet__file_is_dir(path)) {
        add_form(path, NULL, out);
        return;
    }
    char **names = genet__file_list(path, NULL);
    bool found = false;
    for (char **name = names; name && *name && !found; name++) found = add_form(path, *name, out);
    genet__file_list_free(names);
}

bool genet__is_parquet(const char *path, const void *head, size_t n)
{
    return genet__ends_with(path, ".parquet") || (n >= 4 && !memcmp(head, "PAR1", 4));
}

bool genet__foreign_parquet(const char *path, genet_err *err)
{
    return genet__err_set(err, GENET_ERR_FORMAT, "%s is a parquet file; genet reads text, CSV, TSV and JSON lines; in Python:\n"
                          "    import pandas\n"
                          "    pandas.read_parquet(\"%s\").to_json(\"data.jsonl\", orient=\"records\", lines=True)", path, path);
}
