/* tokenizer_model.c - what all models share: appending tokens, and fields that nobody knows. */
#include "text/tokenizer_model.h"
#include <limits.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"

bool genet__token_add_slowly(token_sink *s, int32_t id, size_t begin, size_t end, genet_err *err)
{
    token_list *l = s->ids;
    if (l->n == l->cap && (l->n == INT_MAX || !GROW(l->at, l->n, l->cap))) return genet__err_memory(err);
    if (s->spans) {
        int i = l->n - s->first;
        if (!genet__grow(&s->span, &s->cap_span, i + 1, sizeof *s->span)) return genet__err_memory(err);
        s->span[i] = (token_span){ (uint32_t)begin, (uint32_t)end };
    }
    l->at[l->n++] = id;
    return true;
}

bool genet__json_known(const json_t *object, const char *const *known, const char *where, const char *path, genet_err *err)
{
    const char *key;
    json_t *value, *o = (json_t *)object;       /* json_object_foreach only reads */
    json_object_foreach(o, key, value) {
        int i = 0;
        while (known[i] && strcmp(known[i], key)) i++;
        if (!known[i])
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s%s%.60s is not known to this version", where, path,
                                  *path ? "." : "", key);
    }
    return true;
}
