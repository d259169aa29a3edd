/* sentencepiece_file.c - .model files in folders.  They do not say which special tokens are put around a text, nor that T5
 * has a hundred more: that stands in tokenizer_config.json, under the names of transformers' classes. */
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "text/sentencepiece.h"
#include "text/template.h"

enum { FILE_MAX = 256 << 20, EXTRA_IDS_MAX = 10000 };

static const char *const names[] = { "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model" };
enum { N_NAMES = sizeof names / sizeof *names };

const char *genet__sentencepiece_in(const char *folder)
{
    for (int i = 0; i < N_NAMES; i++)
        if (genet__file_exists_in(folder, names[i])) return names[i];
    return NULL;
}

bool genet__sentencepiece_is(const char *path)
{
    return genet__ends_with(path, ".model");
}

/* --- tokenizer_config.json ------------------------------------------------------------------------------------------ */

/* Beside path; *config: NULL where there is none. */
static bool read_config(const char *path, json_t **config, genet_err *err)
{
    const char *slash = strrchr(path, '/');
    str beside = { 0 };
    if (slash) genet__str_add_n(&beside, path, (size_t)(slash - path) + 1);
    genet__str_add(&beside, "tokenizer_config.json");
    *config = NULL;
    bool ok = !beside.failed || genet__err_memory(err);
    if (ok && genet__file_exists(genet__str(&beside)))
        ok = (*config = genet__json_read(genet__str(&beside), FILE_MAX, err)) != NULL;
    genet__str_release(&beside);
    return ok;
}

static bool flag(const json_t *config, const char *name, bool preset)
{
    const json_t *j = json_object_get(config, name);
    return json_is_boolean(j) ? json_is_true(j) : preset;
}

static bool is_class(const json_t *config, const char *begin)
{
    const char *name = json_string_value(json_object_get(config, "tokenizer_class"));
    return name && !strncmp(name, begin, strlen(begin));
}

/* --- what the class adds -------------------------------------------------------------------------------------------- */

static bool is_t5(const json_t *config)
{
    return is_class(config, "T5") || is_class(config, "MT5");
}

/* T5's sentinels follow the pieces, the last number first (Raffel et al. 2020, section 3.1.4; T5Tokenizer). */
static bool add_sentinels(json_t *j, const json_t *config)
{
    const json_t *extra = json_object_get(config, "extra_ids");
    json_int_t n = json_is_integer(extra) ? json_integer_value(extra) : 100;
    json_t *vocab = json_object_get(json_object_get(j, "model"), "vocab"), *list = json_object_get(j, "added_tokens");
    if (!json_is_array(vocab)) return true;             /* BPE's: no T5 has one */
    for (json_int_t i = n < EXTRA_IDS_MAX ? n : EXTRA_IDS_MAX; i-- > 0;) {
        char name[40];
        snprintf(name, sizeof name, "<extra_id_%lld>", (long long)i);
        json_int_t id = (json_int_t)json_array_size(vocab);
        if (json_array_append_new(vocab, json_pack("[s, f]", name, 0.0))) return false;
        if (json_array_append_new(list, genet__special_json(name, id))) return false;
    }
    return true;
}

/* What the class puts around a text, of the classes that read such files. */
static json_t *around_text(const json_t *config, const json_t *ids)
{
    bool begins = json_object_get(ids, "<s>") && flag(config, "add_bos_token", true);
    bool ends = json_object_get(ids, "</s>") && flag(config, "add_eos_token", false);
    if (is_t5(config) && json_object_get(ids, "</s>"))
        return genet__template_json("$A:0 </s>:0", "$A:0 </s>:0 $B:0 </s>:0", ids);
    if (!is_class(config, "Llama")) return json_null();
    if (begins && ends)
        return genet__template_json("<s>:0 $A:0 </s>:0", "<s>:0 $A:0 </s>:0 <s>:1 $B:1 </s>:1", ids);
    if (begins) return genet__template_json("<s>:0 $A:0", "<s>:0 $A:0 <s>:1 $B:1", ids);
    if (ends) return genet__template_json("$A:0 </s>:0", "$A:0 </s>:0 $B:1 </s>:1", ids);
    return json_null();
}

static bool finish(json_t *j, const json_t *config, genet_err *err)
{
    json_t *list = json_object_get(j, "added_tokens"), *ids = json_object();
    bool ok = ids != NULL;
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i);
        ok = !json_object_set(ids, json_string_value(json_object_get(a, "content")), json_object_get(a, "id"));
    }
    ok = ok && (!is_t5(config) || add_sentinels(j, config)) &&
         !json_object_set_new(j, "post_processor", around_text(config, ids));
    json_decref(ids);
    return ok || genet__err_memory(err);
}

static json_t *spm_json(const char *path, const json_t *config, genet_err *err)
{
    size_t n;
    char *bytes = genet__file_read(path, FILE_MAX, &n, err);
    json_t *j = bytes ? genet__sentencepiece_json((const unsigned char *)bytes, n, path, err) : NULL;
    genet__free(bytes);
    if (j && finish(j, config, err)) return j;
    json_decref(j);
    return NULL;
}

json_t *genet__sentencepiece_read(const char *path, genet_err *err)
{
    json_t *config, *j = read_config(path, &config, err) ? spm_json(path, config, err) : NULL;
    json_decref(config);
    return j;
}
