/* rope.c - how rotary positions are stretched beyond the length that a model was first trained on.
 *
 *   linear    Chen et al. 2023, arXiv 2306.15595: all frequencies / factor
 *   dynamic   NTK-aware; up to max_position_embeddings, which is all that genet reads, nothing changes
 *   yarn      Peng et al. 2023, arXiv 2309.00071: slow pairs / factor, fast ones kept, a ramp between; scores sharpened
 *   longrope  Ding et al. 2024, arXiv 2402.13753: a factor for each pair, others beyond the original length
 *   llama3    Llama 3.1: as yarn in spirit, by wavelength */
#include "model/rope.h"
#include <math.h>
#include <string.h>
#include "base/err.h"

typedef struct reading {
    rope_scaling *r;
    const json_t *j;
    double  theta, factor;
    int64_t width, context, original;
} reading;

static const char where[] = "rope_scaling";

/* --- fields ------------------------------------------------------------------------ */

/* null is one that is not there; without is what it is then, NAN: it must be there. */
static bool number(const reading *d, const char *key, double without, double least, double *out, genet_err *err)
{
    const json_t *v = json_object_get(d->j, key);
    *out = without;
    if (v && !json_is_null(v)) {
        if (!json_is_number(v)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" must be a number", where, key);
        *out = json_number_value(v);
    }
    if (isnan(*out)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: there is no \"%s\"", where, key);
    return (*out >= least && *out <= 1e9) ||
           genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" is %g, it must be %g at least", where, key, *out, least);
}

/* A list of a factor for each pair. */
static bool factors(const reading *d, const char *key, double *out, genet_err *err)
{
    const json_t *list = json_object_get(d->j, key);
    if (json_array_size(list) != (size_t)d->r->n)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\" must be a list of %d numbers", where, key, d->r->n);
    for (int i = 0; i < d->r->n; i++) {
        out[i] = json_number_value(json_array_get(list, (size_t)i));
        if (!(out[i] > 0) || !isfinite(out[i]))
            return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"%s\"[%d] must be a positive number", where, key, i);
    }
    return true;
}

/* The length that it was first trained on. */
static bool read_original(reading *d, genet_err *err)
{
    double x;
    TRY(number(d, "original_max_position_embeddings", (double)d->context, 1, &x, err));
    d->original = (int64_t)x;
    return true;
}

/* --- the variants ------------------------------------------------------------------- */

static bool linear(reading *d, genet_err *err)
{
    TRY(number(d, "factor", NAN, 1e-6, &d->factor, err));
    for (int i = 0; i < d->r->n; i++) d->r->freq[i] /= d->factor;
    return true;
}

static double log_scale(double factor, double weight) { return factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1; }

/* 0: none, as null. */
static bool yarn_attention(const reading *d, genet_err *err)
{
    double given, scale, all;
    TRY(number(d, "attention_factor", 0, 0, &given, err));
    TRY(number(d, "mscale", 0, 0, &scale, err));
    TRY(number(d, "mscale_all_dim", 0, 0, &all, err));
    d->r->attention = given > 0 ? given : scale > 0 && all > 0 ? log_scale(d->factor, scale) / log_scale(d->factor, all)
                                                                : log_scale(d->factor, 1);
    return true;
}

/* The pair that turns so many times over the original length. */
static double pair_of(const reading *d, double turns)
{
    return (double)d->width * log((double)d->original / (turns * 2 * M_PI)) / (2 * log(d->theta));
}

static bool yarn(reading *d, genet_err *err)
{
    double fast, slow;
    const json_t *truncate = json_object_get(d->j, "truncate");
    TRY(read_original(d, err));
    TRY(number(d, "factor", (double)d->context / (double)d->original, 1e-6, &d->factor, err));
    TRY(number(d, "beta_fast", 32, 0, &fast, err));
    TRY(number(d, "beta_slow", 1, 0, &slow, err));
    TRY(yarn_attention(d, err));
    double low = pair_of(d, fast > 0 ? fast : 32), high = pair_of(d, slow > 0 ? slow : 1);
    if (!truncate || !json_is_false(truncate)) low = floor(low), high = ceil(high);
    low = fmax(low, 0), high = fmin(high, (double)d->width - 1);
    if (low == high) high += 0.001;
    for (int i = 0; i < d->r->n; i++) {
        double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);       /* 0: fast, kept as it is */
        d->r->freq[i] *= ramp / d->factor + (1 - ramp);
    }
    return true;
}

static bool longrope(reading *d, genet_err *err)
{
    rope_scaling *r = d->r;
    double shorter[ROPE_MAX_PAIRS], given;
    TRY(read_original(d, err));
    TRY(number(d, "factor", (double)d->context / (double)d->original, 1e-6, &d->factor, err));
    TRY(number(d, "attention_factor", 0, 0, &given, err));
    TRY(factors(d, "short_factor", shorter, err) && factors(d, "long_factor", r->longer, err));
    for (int i = 0; i < r->n; i++) {
        r->longer[i] = r->freq[i] / r->longer[i];
        r->freq[i] /= shorter[i];
    }
    r->original = d->original;
    r->attention = given > 0 ? given : d->factor <= 1 ? 1 : sqrt(1 + log(d->factor) / log((double)d->original));
    return true;
}

static bool llama3(reading *d, genet_err *err)
{
    double low, high;
    TRY(read_original(d, err));
    TRY(number(d, "factor", NAN, 1e-6, &d->factor, err));
    TRY(number(d, "low_freq_factor", NAN, 1e-6, &low, err));
    TRY(number(d, "high_freq_factor", NAN, 1e-6, &high, err));
    if (high <= low) return genet__err_set(err, GENET_ERR_FORMAT, "%s: high_freq_factor is not above low_freq_factor", where);
    for (int i = 0; i < d->r->n; i++) {
        double turns = (double)d->original * d->r->freq[i] / (2 * M_PI);        /* over the original length */
        double smooth = fmin(fmax((turns - low) / (high - low), 0), 1);         /* 1: fast, kept as it is */
        d->r->freq[i] *= (1 - smooth) / d->factor + smooth;
    }
    return true;
}

/* Within max_position_embeddings its base is the plain one. */
static bool dynamic(reading *d, genet_err *err)
{
    d->r->plain = true;
    return number(d, "factor", NAN, 1e-6, &d->factor, err);
}

static bool plain(reading *d, genet_err *err)
{
    (void)err;
    return d->r->plain = true;
}

static bool read_type(reading *d, genet_err *err)
{
    static const struct { const char *type; bool (*read)(reading *d, genet_err *err); } variants[] = {
        { "default", plain }, { "linear", linear }, { "dynamic", dynamic }, { "yarn", yarn }, { "longrope", longrope },
        { "llama3", llama3 }, { "su", longrope },
    };
    const json_t *named = json_object_get(d->j, "rope_type"), *part = json_object_get(d->j, "partial_rotary_factor");
    const char *type = json_string_value(named ? named : json_object_get(d->j, "type"));
    if (json_is_number(part) && json_number_value(part) != 1)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: partial_rotary_factor %g: genet turns whole heads", where,
                              json_number_value(part));
    for (size_t i = 0; type && i < sizeof variants / sizeof *variants; i++)
        if (!strcmp(variants[i].type, type)) return variants[i].read(d, err);
    return genet__err_set(err, GENET_ERR_FORMAT, "%s: rope_type is %.40s; genet knows default, linear, dynamic, yarn, longrope "
                          "and llama3", where, type ? type : "not there");
}

bool genet__rope_read(rope_scaling *r, const char *text, double theta, int64_t width, int64_t context, genet_err *err)
{
    if (width < 2 || width % 2 || width / 2 > ROPE_MAX_PAIRS)
        return genet__err_set(err, GENET_ERR_USAGE, "heads that are turned must be 2 to %d wide, and even, not %lld",
                              2 * ROPE_MAX_PAIRS, (long long)width);
    *r = (rope_scaling){ .n = (int)(width / 2), .plain = !text, .attention = 1 };
    for (int i = 0; i < r->n; i++) r->freq[i] = pow(theta, -2.0 * i / (double)width);
    if (!text) return true;
    json_t *j = genet__json_parse(text, strlen(text), where, err);
    reading d = { .r = r, .j = j, .theta = theta, .width = width, .context = context };
    bool ok = j && read_type(&d, err);
    json_decref(j);
    return ok;
}

/* --- config.json --------------------------------------------------------------------- */

bool genet__rope_settle(json_t *config, const char *file, genet_err *err)
{
    json_t *all = json_object_get(config, "rope_parameters"), *theta = json_object_get(all, "rope_theta");
    if (!all || json_is_null(all)) return true;
    if (!json_is_object(all)) return genet__err_set(err, GENET_ERR_FORMAT, "%s: \"rope_parameters\" must be an object", file);
    bool ok = !theta || !json_object_set(config, "rope_theta", theta);
    const char *type = json_string_value(json_object_get(all, "rope_type"));
    json_t *rest = json_copy(all);
    ok = ok && rest && (!theta || !json_object_del(rest, "rope_theta"));
    bool scaled = json_object_size(rest) && !(json_object_size(rest) == 1 && type && !strcmp(type, "default"));
    ok = ok && !json_object_set(config, "rope_scaling", scaled ? rest : json_null()) && !json_object_del(config, "rope_parameters");
    json_decref(rest);
    return ok || genet__err_memory(err);
}
