/* gguf_export.c - a model's config, tokenizer and weights as llama.cpp wants them.
 *
 * What llama.cpp does not compute (other activations, attention windows, ways to stretch positions) is refused: the
 * file must say what genet says.  Attention over a window becomes a context of that length, within which both are the same. */
#include "model/gguf_export.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/half.h"
#include "base/quant.h"
#include "format/gguf_model.h"
#include "model/rope.h"

typedef struct out {
    const gguf_export *e;
    const char  *architecture;
    json_t      *config;            /* as config.json has it */
    genet_err   *err;
    gguf_meta    meta;
    rope_scaling rope;
    bool         freqs;             /* rope_freqs.weight is written, as the last entry */
    gguf_entry  *entry;
    param      **at;                /* beside them */
    unsigned    *how;
    int          n;
    float       *wide;              /* rows before they are narrowed */
    size_t       wide_elements;
    arena        arena;
} out;

static bool refuse(const out *o, const char *key, const char *why)
{
    return genet__err_set(o->err, GENET_ERR_USAGE, "%s: %s, which llama.cpp does not compute", key, why);
}

static int64_t int_of(const out *o, const char *key)
{
    const json_t *j = json_object_get(o->config, key);
    return json_is_integer(j) ? json_integer_value(j) : -1;
}

static double real_of(const out *o, const char *key) { return json_number_value(json_object_get(o->config, key)); }
static bool is_true(const out *o, const char *key) { return json_is_true(json_object_get(o->config, key)); }

static bool is_word(const json_t *j, const char *word) { return json_is_string(j) && !strcmp(json_string_value(j), word); }

/* --- metadata ---------------------------------------------------------------------------------- */

/* "llama.context_length" */
static const char *key_of(const out *o, const char *name, char to[128])
{
    snprintf(to, 128, "%s.%s", o->architecture, name);
    return to;
}

static void put_int(out *o, const char *name, int64_t value)
{
    char key[128];
    genet__gguf_put_int(&o->meta, key_of(o, name, key), GGUF_U32, value);
}

static void put_real(out *o, const char *name, double value)
{
    char key[128];
    genet__gguf_put_f32(&o->meta, key_of(o, name, key), value);
}

static void put_word(out *o, const char *key, const char *word) { genet__gguf_put_string(&o->meta, key, word, strlen(word)); }

/* llama.cpp's numbers of kinds of files (llama_ftype). */
static int file_type(genet_dtype t)
{
    return t == GENET_F16 ? 1 : t == GENET_Q4_0 ? 2 : t == GENET_Q8_0 ? 7 : t == GENET_BF16 ? 32 : 0;
}

static void put_general(out *o)
{
    put_word(o, "general.architecture", o->architecture);
    put_word(o, "general.type", "model");
    put_word(o, "general.name", o->e->name);
    genet__gguf_put_int(&o->meta, "general.file_type", GGUF_U32, file_type(o->e->type));
    if (!genet_dtype_size(o->e->type)) genet__gguf_put_int(&o->meta, "general.quantization_version", GGUF_U32, 2);
}

static bool put_gpt2(out *o)
{
    const json_t *activation = json_object_get(o->config, "activation_function");
    int64_t inner = int_of(o, "n_inner"), width = int_of(o, "n_embd");
    if (!is_word(activation, "gelu_new") && !is_word(activation, "gelu_pytorch_tanh"))
        return refuse(o, "activation_function", "another one than gelu_new");
    if (!is_true(o, "scale_attn_weights")) return refuse(o, "scale_attn_weights", "false");
    if (is_true(o, "scale_attn_by_inverse_layer_idx")) return refuse(o, "scale_attn_by_inverse_layer_idx", "true");
    put_int(o, "context_length", int_of(o, "n_positions"));
    put_int(o, "embedding_length", width);
    put_int(o, "block_count", int_of(o, "n_layer"));
    put_int(o, "feed_forward_length", inner > 0 ? inner : 4 * width);
    put_int(o, "attention.head_count", int_of(o, "n_head"));
    put_real(o, "attention.layer_norm_epsilon", real_of(o, "layer_norm_epsilon"));
    return true;
}

/* linear and yarn have keys; for the others Llama has a factor for each pair. */
static bool put_rope(out *o, int64_t width, int64_t context)
{
    json_t *j = json_object_get(o->config, "rope_scaling");
    const json_t *type = json_object_get(j, json_object_get(j, "rope_type") ? "rope_type" : "type");
    char *text = j && !json_is_null(j) ? json_dumps(j, JSON_COMPACT) : NULL, key[128];
    const char *kept = text ? genet__arena_strdup(&o->arena, text) : NULL;
    free(text);
    if (j && !json_is_null(j) && !kept) return genet__err_memory(o->err);
    TRY(genet__rope_read(&o->rope, kept, real_of(o, "rope_theta"), width, context, o->err));
    const json_t *original = json_object_get(j, "original_max_position_embeddings"), *factor = json_object_get(j, "factor");
    if (o->rope.plain) return true;
    if (is_word(type, "linear") || is_word(type, "yarn")) {
        double f = json_is_number(factor) ? json_number_value(factor)
                                          : (double)context / (json_is_integer(original) ? json_number_value(original) : (double)context);
        genet__gguf_put_string(&o->meta, key_of(o, "rope.scaling.type", key), json_string_value(type), strlen(json_string_value(type)));
        put_real(o, "rope.scaling.factor", f);
        if (is_word(type, "linear")) return true;
        const json_t *fast = json_object_get(j, "beta_fast"), *slow = json_object_get(j, "beta_slow");
        put_int(o, "rope.scaling.original_context_length", json_is_integer(original) ? json_integer_value(original) : context);
        put_real(o, "rope.scaling.yarn_beta_fast", json_is_number(fast) ? json_number_value(fast) : 32);
        put_real(o, "rope.scaling.yarn_beta_slow", json_is_number(slow) ? json_number_value(slow) : 1);
        bool usual = fabs(o->rope.attention - (f <= 1 ? 1 : 1 + 0.1 * log(f))) < 1e-6 && !json_is_false(json_object_get(j, "truncate"));
        return usual || refuse(o, "rope_scaling", "yarn with an attention factor of its own, or without rounding");
    }
    bool one = o->rope.attention == 1 && (!o->rope.original || !memcmp(o->rope.freq, o->rope.longer, sizeof o->rope.freq));
    o->freqs = one && !strcmp(o->architecture, "llama");
    return o->freqs || refuse(o, "rope_scaling", "frequencies that its files of this family cannot say");
}

/* Where attention looks back over a window: the tokens within which that makes no difference. */
static int64_t context_of(const out *o, bool always)
{
    int64_t context = int_of(o, "max_position_embeddings"), window = int_of(o, "sliding_window");
    return (always || is_true(o, "use_sliding_window")) && window > 0 && window < context ? window : context;
}

static bool put_llama(out *o)
{
    int64_t heads = int_of(o, "num_attention_heads"), kv = int_of(o, "num_key_value_heads"), width = int_of(o, "head_dim");
    if (!is_word(json_object_get(o->config, "hidden_act"), "silu")) return refuse(o, "hidden_act", "another one than silu");
    if (strcmp(o->architecture, "llama") && is_true(o, "attention_bias"))
        return refuse(o, "attention_bias", "true");
    if (width <= 0) width = int_of(o, "hidden_size") / heads;
    put_int(o, "vocab_size", int_of(o, "vocab_size"));
    put_int(o, "context_length", context_of(o, !strcmp(o->e->model->family->name, "mistral")));
    put_int(o, "embedding_length", int_of(o, "hidden_size"));
    put_int(o, "block_count", int_of(o, "num_hidden_layers"));
    put_int(o, "feed_forward_length", int_of(o, "intermediate_size"));
    put_int(o, "attention.head_count", heads);
    put_int(o, "attention.head_count_kv", kv > 0 ? kv : heads);
    put_int(o, "attention.key_length", width);
    put_int(o, "attention.value_length", width);
    put_real(o, "attention.layer_norm_rms_epsilon", real_of(o, "rms_norm_eps"));
    put_int(o, "rope.dimension_count", width);
    put_real(o, "rope.freq_base", real_of(o, "rope_theta"));
    return put_rope(o, width, int_of(o, "max_position_embeddings"));
}

static bool put_tokens(out *o)
{
    const int_list *ends = &o->e->model->ends;
    gguf_tokenizer t = { .tokenizer = o->e->tokenizer, .chat_template = o->e->chat_template, .n = int_of(o, "vocab_size"),
                         .bos = int_of(o, "bos_token_id"), .eos = ends->n ? ends->at[0] : int_of(o, "eos_token_id"),
                         .eot = ends->n > 1 ? ends->at[1] : -1 };
    return genet__gguf_put_tokenizer(&o->meta, &t, o->e->where, o->err);
}

/* --- the list of tensors -------------------------------------------------------------------------- */

static int64_t depth_of(const param *w)
{
    return w->shape.rank == 2 ? w->shape.dim[w->in_out ? 0 : 1] : genet__numel(&w->shape);
}

static bool add_entry(out *o, param *w, int *left)
{
    str name = {0};
    gguf_entry *e = &o->entry[o->n];
    bool known = genet__gguf_their_name(o->architecture, w->name, &name, &o->how[o->n]);
    *e = (gguf_entry){ .name = genet__arena_strdup(&o->arena, genet__str(&name)), .rank = w->shape.rank, .columns = depth_of(w),
                       .dtype = w->use == USE_ANY ? GENET_F32 : o->e->type };
    genet__str_release(&name);
    if (!known) return genet__err_set(o->err, GENET_ERR_USAGE, "%s has no place in a GGUF file", w->name);
    if (!e->name) return genet__err_memory(o->err);
    if (w->dtype != GENET_F32 || w->transposed || w->shape.rank > 2 || w->in_out != !!(o->how[o->n] & GGUF_TURNED))
        return genet__err_set(o->err, GENET_ERR_USAGE, "%s is no matrix of f32 as GGUF files have it", w->name);
    if (w->shape.rank == 2) e->rows = w->shape.dim[w->in_out ? 1 : 0];
    if (genet__is_blocks(e->dtype) && e->columns % QUANT_BLOCK) e->dtype = GENET_F32, (*left)++;
    o->at[o->n++] = w;
    return true;
}

static bool list_entries(out *o, int *left)
{
    const params *p = o->e->model->params;
    o->entry = ARENA_ARRAY(&o->arena, gguf_entry, (int64_t)p->n + 1);
    o->at = ARENA_ARRAY(&o->arena, param *, (int64_t)p->n + 1);
    o->how = ARENA_ARRAY(&o->arena, unsigned, (int64_t)p->n + 1);
    if (!o->entry || !o->at || !o->how) return genet__err_memory(o->err);
    for (int i = 0; i < p->n; i++)
        if (p->at[i]->kind & (PARAM_WEIGHT | PARAM_BUFFER)) TRY(add_entry(o, p->at[i], left));
    if (o->freqs) o->entry[o->n] = (gguf_entry){ .name = "rope_freqs.weight", .rank = 1, .columns = o->rope.n };
    return true;
}

/* --- values ------------------------------------------------------------------------------------------ */

/* Rows of the file as floats: rows or columns of ours. */
static void gather(const out *o, int e, int64_t row, int64_t n, float *to)
{
    const param *w = o->at[e];
    const params *p = o->e->model->params;
    int64_t depth = o->entry[e].columns, rows = o->entry[e].rows;
    int64_t heads = o->how[e] & GGUF_Q_ROWS ? int_of(o, "num_attention_heads") : 0, kv = int_of(o, "num_key_value_heads");
    if (o->how[e] & GGUF_K_ROWS) heads = kv > 0 ? kv : int_of(o, "num_attention_heads");
    if (w->in_out) {
        for (int64_t k = 0; k < depth; k++) {
            genet__params_read_part(p, w, k * rows + row, n, to + n * depth);
            for (int64_t i = 0; i < n; i++) to[i * depth + k] = to[n * depth + i];
        }
    } else if (heads && w->shape.rank == 2) {
        for (int64_t i = 0; i < n; i++)
            genet__params_read_part(p, w, genet__gguf_row(row + i, rows, heads) * depth, depth, to + i * depth);
    } else if (heads) {
        for (int64_t i = 0; i < depth; i++) genet__params_read_part(p, w, genet__gguf_row(i, depth, heads), 1, to + i);
    } else {
        genet__params_read_part(p, w, row * depth, n * depth, to);
    }
}

static bool cannot(const out *o, int e, double x)
{
    return genet__err_set(o->err, GENET_ERR_USAGE, "%s holds %g, which %s cannot: write it as f32", o->at[e]->name, x,
                          genet_dtype_name(o->entry[e].dtype));
}

static bool narrow(const out *o, int e, const float *x, int64_t n, unsigned char *to)
{
    bool half = o->entry[e].dtype == GENET_F16;
    uint16_t infinite = half ? 0x7c00u : 0x7f80u;
    for (int64_t i = 0; i < n; i++) {
        uint16_t y = half ? genet__to_f16(x[i]) : genet__to_bf16(x[i]);
        if ((y & infinite) == infinite) return cannot(o, e, (double)x[i]);
        memcpy(to + 2 * i, &y, sizeof y);
    }
    return true;
}

static bool quantise(const out *o, int e, const float *x, int64_t n, void *to)
{
    bool ok = o->entry[e].dtype == GENET_Q8_0 ? genet__quantize_q8_0(x, n, to) : genet__quantize_q4_0(x, n, to);
    double most = 0;
    for (int64_t i = 0; !ok && i < n; i++) most = fmax(most, fabs((double)x[i]));
    return ok || cannot(o, e, most);
}

/* By how much each pair is slower than theta alone would have it. */
static void fill_freqs(const out *o, float *to)
{
    for (int i = 0; i < o->rope.n; i++)
        to[i] = (float)(pow(real_of(o, "rope_theta"), -2.0 * i / (2.0 * o->rope.n)) / o->rope.freq[i]);
}

static bool read_rows(void *user, int e, int64_t row, int64_t n, void *to, genet_err *err)
{
    out *o = user;
    if (e == o->n) {
        fill_freqs(o, to);
        return true;
    }
    const gguf_entry *entry = &o->entry[e];
    size_t need = (size_t)(n * entry->columns + n);             /* and a piece of a column */
    if (need > o->wide_elements) {
        genet__free(o->wide);
        o->wide = genet__alloc_array(need, sizeof *o->wide);
        o->wide_elements = o->wide ? need : 0;
    }
    if (!o->wide) return genet__err_memory(err);
    gather(o, e, row, n, o->wide);
    if (genet__is_blocks(entry->dtype)) return quantise(o, e, o->wide, n * entry->columns, to);
    if (entry->dtype != GENET_F32) return narrow(o, e, o->wide, n * entry->columns, to);
    memcpy(to, o->wide, (size_t)(n * entry->columns) * sizeof *o->wide);
    return true;
}

/* --- all of it ----------------------------------------------------------------------------------------- */

static const char *architecture_of(const family *f)
{
    static const char *const all[][2] = { { "gpt2", "gpt2" }, { "llama", "llama" }, { "mistral", "llama" }, { "qwen2", "qwen2" },
                                          { "qwen3", "qwen3" } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i][0], f->name)) return all[i][1];
    return NULL;
}

static bool write_file(out *o, const char *path, int *left)
{
    const model *m = o->e->model;
    o->architecture = architecture_of(m->family);
    if (!o->architecture || m->head->kind != HEAD_LM)
        return genet__err_set(o->err, GENET_ERR_USAGE, "a model of family %s (%s): GGUF files are written of gpt2, llama, mistral, qwen2 "
                              "and qwen3 that generate text", m->family->name, m->head->architecture);
    o->config = genet__model_config_json(m, GENET_F32);
    if (!o->config) return genet__err_memory(o->err);
    put_general(o);
    TRY(!strcmp(o->architecture, "gpt2") ? put_gpt2(o) : put_llama(o));
    return put_tokens(o) && list_entries(o, left) &&
           genet__gguf_write(path, &o->meta, o->entry, o->n + o->freqs, read_rows, o, o->err);
}

bool genet__gguf_export(const gguf_export *e, const char *path, int *left, genet_err *err)
{
    out o = { .e = e, .err = err };
    *left = 0;
    bool ok = write_file(&o, path, left);
    json_decref(o.config);
    genet__str_release(&o.meta.bytes);
    genet__free(o.wide);
    genet__arena_release(&o.arena);
    return ok;
}
