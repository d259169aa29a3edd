/* gguf_model.c - names, config and weights of a GGUF file in Hugging Face's words.
 *
 * The llama family's q and k are stored for rotary positions whose pairs are neighbours (element 2i with 2i + 1), where
 * Hugging Face's pairs are halves (i with D/2 + i): row 2i + h of a head is our row h D/2 + i.  Blocks run along rows,
 * so moving rows keeps them whole. */
#include "format/gguf_model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "graph/graph.h"

/* --- which file -------------------------------------------------------------------------- */

/* The only one in a folder that has nothing else to open. */
static bool only_one(const char *folder, char **file, genet_err *err)
{
    if (genet__file_exists_in(folder, "config.json") || genet__shards_exist_plain(folder)) return true;
    char **names = genet__file_list(folder, err), *found = NULL;
    int n = 0;
    for (char **name = names; name && *name; name++)
        if (genet__ends_with(*name, ".gguf")) found = *name, n++;
    bool ok = names;
    if (n > 1)
        ok = genet__err_set(err, GENET_ERR_USAGE, "%s holds %d GGUF files: say which, as in %s/%s", folder, n, folder, found);
    if (n == 1) ok = (*file = genet__path_join(folder, found)) || genet__err_memory(err);
    genet__file_list_free(names);
    return ok;
}

bool genet__gguf_path(const char *path, char **file, genet_err *err)
{
    *file = NULL;
    if (genet__file_is_dir(path)) return only_one(path, file, err);
    if (!genet__ends_with(path, ".gguf") || !genet__file_exists(path)) return true;
    return (*file = genet__strdup(path)) || genet__err_memory(err);
}

/* --- names -------------------------------------------------------------------------------- */

typedef struct name_row { const char *theirs, *ours; unsigned how; } name_row;
/* Outside of layers, then in them; without .weight and .bias. */
typedef struct naming { const char *layer; name_row outer[5], inner[13]; } naming;

static const naming gpt2_names = {
    "transformer.h.",
    { { "token_embd", "transformer.wte", 0 }, { "position_embd", "transformer.wpe", 0 }, { "output_norm", "transformer.ln_f", 0 },
      { "output", "lm_head", 0 } },
    { { "attn_norm", "ln_1", 0 }, { "attn_qkv", "attn.c_attn", GGUF_TURNED }, { "attn_output", "attn.c_proj", GGUF_TURNED },
      { "ffn_norm", "ln_2", 0 }, { "ffn_up", "mlp.c_fc", GGUF_TURNED }, { "ffn_down", "mlp.c_proj", GGUF_TURNED } },
};
#define LLAMA_NAMES(q_rows, k_rows) {                                                                                       \
    "model.layers.",                                                                                                        \
    { { "token_embd", "model.embed_tokens", 0 }, { "output_norm", "model.norm", 0 }, { "output", "lm_head", 0 } },          \
    { { "attn_norm", "input_layernorm", 0 }, { "attn_q", "self_attn.q_proj", q_rows },                                      \
      { "attn_k", "self_attn.k_proj", k_rows }, { "attn_v", "self_attn.v_proj", 0 },                                        \
      { "attn_output", "self_attn.o_proj", 0 }, { "attn_q_norm", "self_attn.q_norm", 0 },                                   \
      { "attn_k_norm", "self_attn.k_norm", 0 }, { "ffn_norm", "post_attention_layernorm", 0 },                              \
      { "ffn_gate", "mlp.gate_proj", 0 }, { "ffn_up", "mlp.up_proj", 0 }, { "ffn_down", "mlp.down_proj", 0 } } }
static const naming llama_names = LLAMA_NAMES(GGUF_Q_ROWS, GGUF_K_ROWS), qwen_names = LLAMA_NAMES(0, 0);

static const naming *naming_of(const char *architecture)
{
    return !strcmp(architecture, "gpt2") ? &gpt2_names : !strcmp(architecture, "llama") ? &llama_names
         : !strcmp(architecture, "qwen2") || !strcmp(architecture, "qwen3") ? &qwen_names : NULL;
}

/* text's n bytes are this word. */
static bool same(const char *text, size_t n, const char *word) { return strlen(word) == n && !memcmp(text, word, n); }

/* from: "BEGIN7.STEM.weight" or "STEM.bias" in the one spelling, out in the other. */
static bool translate(const char *from, const char *begin, const char *to_begin, const naming *n, bool to_ours, str *out,
                      unsigned *how)
{
    size_t length = strlen(begin), digits = 0;
    bool inner = !strncmp(from, begin, length);
    const char *stem = from, *end = strrchr(from, '.');
    if (inner) {
        digits = strspn(from + length, "0123456789");
        stem = from + length + digits + 1;
        inner = digits && digits < 6 && stem[-1] == '.';
    }
    if (!end || end <= stem || (strcmp(end, ".weight") && strcmp(end, ".bias"))) return false;
    for (const name_row *r = inner ? n->inner : n->outer; r->theirs; r++) {
        if (!same(stem, (size_t)(end - stem), to_ours ? r->theirs : r->ours)) continue;
        if (inner) genet__str_printf(out, "%s%.*s.", to_begin, (int)digits, from + length);
        genet__str_printf(out, "%s%s", to_ours ? r->ours : r->theirs, end);
        *how = r->how;
        if (*how & GGUF_TURNED && strcmp(end, ".weight")) *how = 0;
        return true;
    }
    return false;
}

bool genet__gguf_our_name(const char *architecture, const char *theirs, str *ours, unsigned *how)
{
    const naming *n = naming_of(architecture);
    return n && translate(theirs, "blk.", n->layer, n, true, ours, how);
}

bool genet__gguf_their_name(const char *architecture, const char *ours, str *theirs, unsigned *how)
{
    const naming *n = naming_of(architecture);
    return n && translate(ours, n->layer, "blk.", n, false, theirs, how);
}

int64_t genet__gguf_row(int64_t row, int64_t rows, int64_t heads)
{
    int64_t D = rows / heads, in = row % D;
    return row - in + in % 2 * (D / 2) + in / 2;
}

/* --- config ------------------------------------------------------------------------------- */

typedef struct config_row { const char *theirs, *ours; bool real, needed; } config_row;

static const config_row gpt2_fields[] = {
    { "context_length", "n_positions", false, true }, { "embedding_length", "n_embd", false, true },
    { "block_count", "n_layer", false, true }, { "attention.head_count", "n_head", false, true },
    { "feed_forward_length", "n_inner", false, false }, { "attention.layer_norm_epsilon", "layer_norm_epsilon", true, true },
    { NULL, NULL, false, false },
};
static const config_row llama_fields[] = {
    { "context_length", "max_position_embeddings", false, true }, { "embedding_length", "hidden_size", false, true },
    { "block_count", "num_hidden_layers", false, true }, { "attention.head_count", "num_attention_heads", false, true },
    { "attention.head_count_kv", "num_key_value_heads", false, false }, { "attention.key_length", "head_dim", false, false },
    { "feed_forward_length", "intermediate_size", false, true },
    { "attention.layer_norm_rms_epsilon", "rms_norm_eps", true, true }, { "rope.freq_base", "rope_theta", true, false },
    { NULL, NULL, false, false },
};

typedef struct reading { const gguf *g; const char *architecture; json_t *j; genet_err *err; } reading;

/* "llama.context_length" */
static const char *key_of(const reading *r, const char *name, char out[128])
{
    snprintf(out, 128, "%s.%s", r->architecture, name);
    return out;
}

/* Takes value over. */
static bool set(const reading *r, const char *key, json_t *value)
{
    return !json_object_set_new(r->j, key, value) || genet__err_memory(r->err);
}

/* An f32 stands for the shortest decimal that is it: 1e-05, not 9.99999974737875e-06. */
static double as_written(double x)
{
    char text[40];
    for (int digits = 6; digits < 10; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        double near = strtod(text, NULL);
        if ((float)near == (float)x) return near;
    }
    return x;
}

static bool read_fields(const reading *r, const config_row *f)
{
    char key[128];
    for (; f->theirs; f++) {
        int64_t n;
        double x;
        bool there = true, *found = f->needed ? NULL : &there;
        key_of(r, f->theirs, key);
        TRY(f->real ? genet__gguf_double(r->g, key, &x, found, r->err) : genet__gguf_int(r->g, key, &n, found, r->err));
        if (there) TRY(set(r, f->ours, f->real ? json_real(as_written(x)) : json_integer(n)));
    }
    return true;
}

static bool refuse(const reading *r, const char *key, const char *why)
{
    return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: %s: %s", r->g->path, key, why);
}

/* Llama 3.1's file says by how much each pair is slower: what longrope says with one list for every length. */
static json_t *freqs_json(const reading *r, const gguf_tensor *t, int64_t context)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < t->numel; i++) {
        float f;
        memcpy(&f, t->at + i * (int64_t)sizeof f, sizeof f);
        genet__json_append(&list, json_real((double)f));
    }
    json_t *j = json_pack("{s:s, s:O?, s:O?, s:f, s:f, s:I}", "rope_type", "longrope", "short_factor", list, "long_factor", list,
                          "factor", 1.0, "attention_factor", 1.0, "original_max_position_embeddings", (json_int_t)context);
    if (!list || !j) genet__err_memory(r->err);
    json_decref(list);
    return j;
}

/* linear and yarn, in words of config.json. */
static json_t *scaling_json(const reading *r, const char *type, double factor, int64_t context)
{
    char key[128];
    bool found;
    int64_t original = context;
    double attention = 1, fast = 32, slow = 1;
    bool ok = genet__gguf_int(r->g, key_of(r, "rope.scaling.original_context_length", key), &original, &found, r->err) &&
              genet__gguf_double(r->g, key_of(r, "rope.scaling.yarn_beta_fast", key), &fast, &found, r->err) &&
              genet__gguf_double(r->g, key_of(r, "rope.scaling.yarn_beta_slow", key), &slow, &found, r->err) &&
              genet__gguf_double(r->g, key_of(r, "rope.scaling.attn_factor", key), &attention, &found, r->err);
    if (!ok) return NULL;
    json_t *j = !strcmp(type, "linear") ? json_pack("{s:s, s:f}", "rope_type", type, "factor", factor)
              : json_pack("{s:s, s:f, s:I, s:f, s:f}", "rope_type", type, "factor", factor, "original_max_position_embeddings",
                          (json_int_t)original, "beta_fast", fast, "beta_slow", slow);
    if (!j) genet__err_memory(r->err);
    if (j && attention != 1) {
        json_decref(j);
        refuse(r, key, "not 1: genet does not know what it does to yarn");
        return NULL;
    }
    return j;
}

static bool read_rope(const reading *r)
{
    char key[128];
    const char *type;
    size_t n;
    bool found;
    double factor = 1;
    const gguf_tensor *freqs = genet__gguf_find(r->g, "rope_freqs.weight");
    int64_t context = json_integer_value(json_object_get(r->j, "max_position_embeddings"));
    if (freqs && freqs->dtype != GENET_F32) return refuse(r, "rope_freqs.weight", "not of type F32");
    if (freqs) {
        json_t *j = freqs_json(r, freqs, context);
        return j && set(r, "rope_scaling", j);
    }
    TRY(genet__gguf_double(r->g, key_of(r, "rope.scale_linear", key), &factor, &found, r->err));
    TRY(genet__gguf_double(r->g, key_of(r, "rope.scaling.factor", key), &factor, &found, r->err));
    TRY(genet__gguf_string(r->g, key_of(r, "rope.scaling.type", key), &type, &n, &found, r->err));
    bool yarn = same(type, n, "yarn"), linear = same(type, n, "linear") || !found;
    if (found && !yarn && !linear && !same(type, n, "none")) return refuse(r, key, "genet reads none, linear and yarn");
    if ((!yarn && !linear) || factor == 1) return true;
    json_t *j = scaling_json(r, yarn ? "yarn" : "linear", factor, context);
    return j && set(r, "rope_scaling", j);
}

/* What would make another model of it. */
static bool check_llama(const reading *r)
{
    char key[128];
    int64_t experts = 0, width, value, heads = json_integer_value(json_object_get(r->j, "num_attention_heads"));
    bool found;
    TRY(genet__gguf_int(r->g, key_of(r, "expert_count", key), &experts, &found, r->err));
    if (experts) return refuse(r, key, "mixtures of experts are not known to genet");
    const json_t *own = json_object_get(r->j, "head_dim");
    int64_t head = own ? json_integer_value(own)
                       : heads > 0 ? json_integer_value(json_object_get(r->j, "hidden_size")) / heads : 0;
    width = value = head;
    TRY(genet__gguf_int(r->g, key_of(r, "attention.value_length", key), &value, &found, r->err));
    if (value != head) return refuse(r, key, "values of another width than keys are not known to genet");
    TRY(genet__gguf_int(r->g, key_of(r, "rope.dimension_count", key), &width, &found, r->err));
    return width == head || refuse(r, key, "genet turns whole heads");
}

static bool read_llama(const reading *r)
{
    TRY(read_fields(r, llama_fields) && check_llama(r) && read_rope(r));
    bool llama = !strcmp(r->architecture, "llama");
    if (llama) TRY(set(r, "attention_bias", json_boolean(genet__gguf_find(r->g, "blk.0.attn_q.bias"))));
    if (llama) TRY(set(r, "mlp_bias", json_boolean(genet__gguf_find(r->g, "blk.0.ffn_up.bias"))));
    return true;
}

/* bos; and what ends a text: eos, and where there is one the end of a turn. */
static bool read_ids(const reading *r)
{
    int64_t bos = -1, eos = -1, eot = -1;
    bool found;
    TRY(genet__gguf_int(r->g, "tokenizer.ggml.bos_token_id", &bos, &found, r->err));
    TRY(genet__gguf_int(r->g, "tokenizer.ggml.eos_token_id", &eos, &found, r->err));
    TRY(genet__gguf_int(r->g, "tokenizer.ggml.eot_token_id", &eot, &found, r->err));
    TRY(set(r, "bos_token_id", bos < 0 ? json_null() : json_integer(bos)));
    json_t *both = eot >= 0 && eot != eos && eos >= 0 ? json_pack("[I, I]", (json_int_t)eos, (json_int_t)eot) : NULL;
    return set(r, "eos_token_id", both ? both : eos < 0 ? json_null() : json_integer(eos));
}

static bool read_all(const reading *r)
{
    const gguf_tensor *table = genet__gguf_find(r->g, "token_embd.weight");
    if (!table || table->rank != 2) return refuse(r, "token_embd.weight", "there is no such matrix of the tokens");
    TRY(!strcmp(r->architecture, "gpt2") ? read_fields(r, gpt2_fields) : read_llama(r));
    return set(r, "vocab_size", json_integer(table->dim[0])) &&
           set(r, "tie_word_embeddings", json_boolean(!genet__gguf_find(r->g, "output.weight"))) && read_ids(r);
}

/* In out; false: one that genet does not know. */
static bool read_architecture(const gguf *g, char out[16], genet_err *err)
{
    static const char *const known[] = { "gpt2", "llama", "qwen2", "qwen3" };
    const char *name;
    size_t n;
    int64_t parts = 0;
    bool found;
    TRY(genet__gguf_int(g, "split.count", &parts, &found, err));
    if (parts > 1)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s is one of %lld parts: join them first with llama.cpp's llama-gguf-split "
                              "--merge", g->path, (long long)parts);
    TRY(genet__gguf_string(g, "general.architecture", &name, &n, NULL, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (same(name, n, known[i])) return memcpy(out, known[i], n + 1);
    char shown[64] = { 0 };
    memcpy(shown, name, n < sizeof shown ? n : sizeof shown - 1);
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: general.architecture is \"%s\"; genet reads gpt2, llama, qwen2 and qwen3 from "
                          "GGUF", g->path, SHOWN(shown));
}

json_t *genet__gguf_config(const gguf *g, genet_err *err)
{
    char architecture[16];
    if (!read_architecture(g, architecture, err)) return NULL;
    reading r = { .g = g, .architecture = architecture, .j = json_pack("{s:s}", "model_type", architecture), .err = err };
    if (!r.j) genet__err_memory(err);
    if (r.j && read_all(&r)) return r.j;
    json_decref(r.j);
    return NULL;
}

/* --- weights ------------------------------------------------------------------------------ */

enum { IN_PLACE, COPIES, N_FILES };

typedef struct laying { const gguf *g; shards *s; char architecture[16]; int64_t heads[2]; unsigned char *room; } laying;

static int64_t heads_of(const laying *l, unsigned how) { return how & GGUF_Q_ROWS ? l->heads[0] : how & GGUF_K_ROWS ? l->heads[1] : 0; }

static bool check_tensor(const laying *l, const gguf_tensor *t, unsigned how, genet_err *err)
{
    int64_t heads = heads_of(l, how);
    bool real = t->dtype == GENET_F32 || t->dtype == GENET_F16 || t->dtype == GENET_BF16 || t->dtype == GENET_Q8_0 ||
                t->dtype == GENET_Q4_0;
    if (!real)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is of type %s; genet reads F32, F16, BF16, Q8_0 and Q4_0: take a file "
                              "with one of these", l->g->path, SHOWN(t->name), t->type);
    if (genet__is_blocks((genet_dtype)t->dtype) && t->rank != 2)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s is quantised, and no matrix", l->g->path, SHOWN(t->name));
    if (heads && (!t->rank || t->dim[0] % (2 * heads)))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: %s: its rows are not those of %lld heads", l->g->path, SHOWN(t->name),
                              (long long)heads);
    return true;
}

/* The rows of ours, from those of the file. */
static void copy_rows(const gguf_tensor *t, int64_t heads, unsigned char *to)
{
    int64_t rows = t->dim[0];
    size_t row_bytes = t->size_bytes / (size_t)rows;
    for (int64_t row = 0; row < rows; row++)
        memcpy(to + (size_t)genet__gguf_row(row, rows, heads) * row_bytes, t->at + (size_t)row * row_bytes, row_bytes);
}

static bool lay(laying *l, const gguf_tensor *t, const char *name, unsigned how, genet_err *err)
{
    int64_t heads = t->numel ? heads_of(l, how) : 0;
    int f = heads ? COPIES : IN_PLACE;
    safetensors *file = &l->s->file[f];
    safetensor *to = &file->at[file->n];
    *to = (safetensor){ .name = genet__arena_strdup(&file->arena, name), .type = genet_dtype_name((genet_dtype)t->dtype),
                        .dtype = t->dtype, .transposed = how & GGUF_TURNED && t->rank == 2, .rank = t->rank, .numel = t->numel,
                        .element_bytes = (int)genet_dtype_size((genet_dtype)t->dtype), .at = t->at, .size_bytes = t->size_bytes };
    memcpy(to->dim, t->dim, sizeof t->dim);
    if (to->transposed) to->dim[0] = t->dim[1], to->dim[1] = t->dim[0];
    if (heads) {
        copy_rows(t, heads, l->room);
        to->at = l->room;
        l->room += (t->size_bytes + SAFETENSORS_ALIGN - 1) / SAFETENSORS_ALIGN * SAFETENSORS_ALIGN;
    }
    if (!to->name) return genet__err_memory(err);
    if (genet__map_get(&l->s->index, name))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: two tensors are %s", l->g->path, SHOWN(name));
    bool ok = genet__map_set(&file->index, name, file->n) && genet__map_set(&l->s->index, name, (int64_t)f << 32 | file->n);
    file->n++;
    return ok || genet__err_memory(err);
}

/* Both passes: sizes of the copies, or laying.  What has no name of ours keeps its own, for messages. */
static bool each(laying *l, size_t *copied, genet_err *err)
{
    bool ok = true;
    for (int i = 0; ok && i < l->g->n; i++) {
        const gguf_tensor *t = &l->g->at[i];
        str name = { 0 };
        unsigned how = 0;
        if (!strcmp(t->name, "rope_freqs.weight")) continue;
        if (!genet__gguf_our_name(l->architecture, t->name, &name, &how)) genet__str_add(&name, t->name);
        ok = !name.failed || genet__err_memory(err);
        if (ok && copied) {
            ok = check_tensor(l, t, how, err);
            if (heads_of(l, how)) *copied += t->size_bytes + SAFETENSORS_ALIGN;
        } else if (ok) {
            ok = lay(l, t, name.at, how, err);
        }
        genet__str_release(&name);
    }
    return ok;
}

static bool read_heads(laying *l, genet_err *err)
{
    bool found;
    l->heads[0] = l->heads[1] = 0;
    TRY(read_architecture(l->g, l->architecture, err));
    if (strcmp(l->architecture, "llama")) return true;
    TRY(genet__gguf_int(l->g, "llama.attention.head_count", &l->heads[0], NULL, err));
    l->heads[1] = l->heads[0];
    TRY(genet__gguf_int(l->g, "llama.attention.head_count_kv", &l->heads[1], &found, err));
    return (l->heads[0] > 0 && l->heads[1] > 0 && l->heads[0] < 1 << 20 && l->heads[1] < 1 << 20) ||
           genet__err_set(err, GENET_ERR_FORMAT, "%s: llama.attention.head_count: %lld heads of queries, %lld of keys", l->g->path,
                          (long long)l->heads[0], (long long)l->heads[1]);
}

static bool lay_all(shards *s, gguf *g, genet_err *err)
{
    laying l = { .g = g, .s = s };
    size_t copied = 0;
    s->path = genet__arena_strdup(&s->arena, g->path);
    s->file = genet__alloc_array(N_FILES, sizeof *s->file);
    if (!s->path || !s->file) return genet__err_memory(err);
    s->n = N_FILES;
    TRY(read_heads(&l, err) && each(&l, &copied, err));
    for (int f = 0; f < N_FILES; f++) {
        s->file[f].path = s->path;
        s->file[f].at = ARENA_ARRAY(&s->file[f].arena, safetensor, (int64_t)g->n + 1);
        if (!s->file[f].at) return genet__err_memory(err);
    }
    if (copied) TRY(genet__file_map_memory(&s->file[COPIES].file, copied, err));
    l.room = (unsigned char *)s->file[COPIES].file.at;
    TRY(each(&l, NULL, err));
    s->file[IN_PLACE].file = g->file;
    g->file = (mapped){ 0 };
    return true;
}

bool genet__gguf_shards_of(shards *s, gguf *g, genet_err *err)
{
    *s = (shards){ 0 };
    bool ok = lay_all(s, g, err);
    if (!ok) genet__shards_close(s);
    return ok;
}

bool genet__gguf_shards(shards *s, const char *path, genet_err *err)
{
    gguf g;
    *s = (shards){ 0 };
    bool ok = genet__gguf_open(&g, path, err) && genet__gguf_shards_of(s, &g, err);
    genet__gguf_close(&g);
    return ok;
}
