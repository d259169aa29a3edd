/* labels.c - the classes of a head by name, as config.json has them: id2label { "0": "no", "1": "yes" }, label2id the
 * other way round. Where a file names none they are LABEL_0, LABEL_1, ... (transformers' configuration_utils.py). */
#include <string.h>
#include "base/err.h"
#include "model/model.h"

enum { MOST_LABELS = 1 << 20 };

static bool has_labels(const model *m) { return m->head->kind == HEAD_SEQUENCE || m->head->kind == HEAD_TOKEN; }

const char *genet__label(const model *m, int64_t i, char scratch[32])
{
    if (m->label) return m->label[i];
    snprintf(scratch, 32, "LABEL_%lld", (long long)i);
    return scratch;
}

bool genet__labels_set(model *m, const char *const *name, int64_t n, genet_err *err)
{
    const char **label = ARENA_ARRAY(&m->arena, const char *, n);
    if (!label) return genet__err_memory(err);
    for (int64_t i = 0; i < n; i++)
        if (!(label[i] = genet__arena_strdup(&m->arena, name[i]))) return genet__err_memory(err);
    m->label = label;
    m->n_labels = n;
    return true;
}

/* Every number from 0 on has a name. */
static bool read_names(model *m, const json_t *names, const char *where, genet_err *err)
{
    const char **label = ARENA_ARRAY(&m->arena, const char *, m->n_labels);
    char key[32];
    if (!label) return genet__err_memory(err);
    for (int64_t i = 0; i < m->n_labels; i++) {
        snprintf(key, sizeof key, "%lld", (long long)i);
        const char *name = json_string_value(json_object_get(names, key));
        if (!name) return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"id2label\" has %lld classes, and no name for \"%s\"", where,
                                         (long long)m->n_labels, key);
        if (!(label[i] = genet__arena_strdup(&m->arena, name))) return genet__err_memory(err);
    }
    m->label = label;
    return true;
}

bool genet__labels_read(model *m, const json_t *config, const char *where, genet_err *err)
{
    const json_t *names = json_object_get(config, "id2label"), *n = json_object_get(config, "num_labels");
    const char *problem = json_string_value(json_object_get(config, "problem_type"));
    if (problem && !(m->problem_type = genet__arena_strdup(&m->arena, problem))) return genet__err_memory(err);
    m->n_labels = json_is_object(names) ? (int64_t)json_object_size(names) : json_is_integer(n) ? json_integer_value(n) : 2;
    if (m->n_labels < 1 || m->n_labels > MOST_LABELS)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %lld labels", where, (long long)m->n_labels);
    return !json_is_object(names) || !has_labels(m) || read_names(m, names, where, err);
}

bool genet__labels_independent(const model *m)
{
    return m->n_labels == 1 || (m->problem_type && !strcmp(m->problem_type, "multi_label_classification"));
}

bool genet__labels_write(const model *m, json_t *config)
{
    if (!has_labels(m)) return true;
    json_t *names = json_object(), *numbers = json_object();
    bool ok = names && numbers;
    for (int64_t i = 0; ok && i < m->n_labels; i++) {
        char key[32], scratch[32];
        const char *name = genet__label(m, i, scratch);
        snprintf(key, sizeof key, "%lld", (long long)i);
        ok = !json_object_set_new(names, key, json_string(name)) && !json_object_set_new(numbers, name, json_integer(i));
    }
    ok = ok && !json_object_set(config, "id2label", names) && !json_object_set(config, "label2id", numbers);
    ok = ok && (!m->problem_type || !json_object_set_new(config, "problem_type", json_string(m->problem_type)));
    json_decref(names);
    json_decref(numbers);
    return ok;
}
