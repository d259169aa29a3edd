/* post_processor.c - the post-processors of tokenizer.json: the tokens of one text or two become one list, with special
 * tokens before, between and behind, and offsets lose the white space that tokens took with them. */
#include "base/alloc.h"
#include "base/err.h"
#include "text/token_pieces.h"
#include "text/tokenizer_part.h"

/* --- lists -------------------------------------------------------------------------------------------------------- */

bool genet__encoding_add(encoding *e, const encoded_token *x, int n, genet_err *err)
{
    if (n > INT32_MAX - e->n || !genet__grow(&e->at, &e->cap, e->n + n, sizeof *e->at)) return genet__err_memory(err);
    if (n) memcpy(e->at + e->n, x, (size_t)n * sizeof *x);
    e->n += n;
    return true;
}

static bool add_special(encoding *e, int32_t id, int32_t type_id, genet_err *err)
{
    const encoded_token x = { .id = id, .type_id = type_id, .word = -1, .sequence = -1, .special = true, .attention = true };
    return genet__encoding_add(e, &x, 1, err);
}

static void set_type(encoding *e, int32_t type_id)
{
    for (int i = 0; i < e->n; i++) e->at[i].type_id = type_id;
}

/* --- offsets without white space ----------------------------------------------------------------------------------- */

/* k characters of text from byte i on, or before it. */
static uint32_t forward(const token_pieces *t, int sequence, uint32_t i, int k)
{
    uint32_t c;
    for (; k > 0 && i < t->n_text[sequence]; k--) i += (uint32_t)genet__char_at(t->text[sequence] + i, t->n_text[sequence] - i, &c);
    return i;
}

static uint32_t backward(const token_pieces *t, int sequence, uint32_t i, int k)
{
    uint32_t c;
    for (; k > 0 && i > 0; k--) {
        size_t n = genet__utf8_before(t->text[sequence], i, &c);
        i -= n ? (uint32_t)n : 1;
    }
    return i;
}

/* A space that was put before the first token was never in the text. */
static void trim(token_pieces *t, encoded_token *x, bool first, bool add_prefix_space)
{
    int leading, trailing;
    if (x->sequence < 0) return;
    genet__token_spaces(t, x, &leading, &trailing);
    if (leading == 1 && add_prefix_space && (first || x->begin == 0)) leading = 0;
    if (leading) x->begin = forward(t, x->sequence, x->begin, leading);
    if (x->begin > x->end) x->begin = x->end;
    if (trailing && x->end) {
        uint32_t end = backward(t, x->sequence, x->end, trailing);
        x->end = end > x->begin ? end : x->begin;
    }
}

static void trim_all(token_pieces *t, bool add_prefix_space)
{
    for (int k = 0; k < t->n; k++)
        for (int i = 0; i < t->at[k].n; i++) {
            encoded_token *x = &t->at[k].at[i];
            trim(t, x, i == 0 || x[-1].sequence != x->sequence, add_prefix_space);
        }
}

static bool byte_level(const part *p, token_pieces *t, bool special, genet_err *err)
{
    (void)special, (void)err;
    if (p->trim_offsets) trim_all(t, p->add_prefix_space);
    return true;
}

/* --- templates ------------------------------------------------------------------------------------------------------ */

/* Takes made over: from now on they are one list. */
static void become(token_pieces *t, encoding *made)
{
    for (int i = 0; i < t->n; i++) genet__encoding_release(&t->at[i]);
    t->at[0] = *made;
    t->n = 1;
}

static bool fill_template(const template_list *l, token_pieces *t, bool special, encoding *out, genet_err *err)
{
    for (int i = 0; i < l->n; i++) {
        const template_piece *x = &l->at[i];
        if (x->special) {
            for (int k = 0; special && k < x->special->n; k++) TRY(add_special(out, x->special->id[k], x->type_id, err));
            continue;
        }
        if (x->sequence >= t->n)
            return genet__err_set(err, GENET_ERR_USAGE, "the tokenizer's template asks for a second text");
        set_type(&t->at[x->sequence], x->type_id);
        TRY(genet__encoding_add(out, t->at[x->sequence].at, t->at[x->sequence].n, err));
    }
    return true;
}

static bool use_template(const part *p, token_pieces *t, bool special, genet_err *err)
{
    encoding made = { 0 };
    bool ok = fill_template(t->n == 2 ? &p->pair : &p->single, t, special, &made, err);
    if (ok) become(t, &made);
    else genet__encoding_release(&made);
    return ok;
}

static int count_special(const template_list *l)
{
    int n = 0;
    for (int i = 0; i < l->n; i++) n += l->at[i].special ? l->at[i].special->n : 0;
    return n;
}

static int template_added(const part *p, bool pair)
{
    return count_special(pair ? &p->pair : &p->single);
}

/* Names become the tokens they stand for. */
static bool resolve(const part *p, template_list *l, genet_err *err)
{
    for (int i = 0; i < l->n; i++) {
        template_piece *x = &l->at[i];
        const template_special *found = NULL;
        for (int k = 0; x->special && k < p->n_special; k++)
            if (!strcmp(p->special[k].name, x->special->name)) found = &p->special[k];
        if (x->special && !found)
            return genet__err_set(err, GENET_ERR_FORMAT, "special_tokens lacks \"%.40s\"", x->special->name);
        x->special = found;
    }
    return true;
}

static bool finish_template(part *p, arena *a, genet_err *err)
{
    (void)a;
    for (int i = 0; i < p->single.n; i++)
        if (!p->single.at[i].special && p->single.at[i].sequence)
            return genet__err_set(err, GENET_ERR_FORMAT, "single asks for a second text");
    return resolve(p, &p->single, err) && resolve(p, &p->pair, err);
}

/* --- BERT's and RoBERTa's ------------------------------------------------------------------------------------------- */

/* [CLS] a [SEP], and b [SEP] of type 1. */
static bool bert(const part *p, token_pieces *t, bool special, genet_err *err)
{
    encoding made = { 0 };
    if (!special) return true;
    bool ok = add_special(&made, p->cls.id, 0, err) && genet__encoding_add(&made, t->at[0].at, t->at[0].n, err) &&
              add_special(&made, p->sep.id, 0, err);
    if (ok && t->n == 2)
        ok = genet__encoding_add(&made, t->at[1].at, t->at[1].n, err) && add_special(&made, p->sep.id, 1, err);
    if (ok) become(t, &made);
    else genet__encoding_release(&made);
    return ok;
}

static int bert_added(const part *p, bool pair)
{
    (void)p;
    return pair ? 3 : 2;
}

/* <s> a </s>, and </s> b </s>, all of type 0. */
static bool roberta(const part *p, token_pieces *t, bool special, genet_err *err)
{
    encoding made = { 0 };
    if (p->trim_offsets) trim_all(t, p->add_prefix_space);
    for (int i = 0; i < t->n; i++) set_type(&t->at[i], 0);
    if (!special) return true;
    bool ok = true;
    for (int i = 0; ok && i < t->n; i++)
        ok = add_special(&made, i ? p->sep.id : p->cls.id, 0, err) &&
             genet__encoding_add(&made, t->at[i].at, t->at[i].n, err) && add_special(&made, p->sep.id, 0, err);
    if (ok) become(t, &made);
    else genet__encoding_release(&made);
    return ok;
}

static int roberta_added(const part *p, bool pair)
{
    (void)p;
    return pair ? 4 : 2;
}

/* --- the table ------------------------------------------------------------------------------------------------------ */

static const part_field byte_level_fields[] = {
    { "add_prefix_space", &genet__part_bool, offsetof(part, add_prefix_space), NULL, 1, true },
    { "trim_offsets", &genet__part_bool, offsetof(part, trim_offsets), NULL, 1, true },
    { "use_regex", &genet__part_bool, offsetof(part, use_regex), NULL, 1, true }, { 0 },
};
static const part_field template_fields[] = {
    PART_FIELD(single, template), PART_FIELD(pair, template), { "special_tokens", &genet__part_specials, 0, NULL, 0, false }, { 0 },
};
static const part_field bert_fields[] = { PART_FIELD(sep, token), PART_FIELD(cls, token), { 0 } };
static const part_field roberta_fields[] = { PART_FIELD(sep, token), PART_FIELD(cls, token), PART_FIELD(trim_offsets, bool),
                                             PART_FIELD(add_prefix_space, bool), { 0 } };
static const part_field sequence_fields[] = { { "processors", &genet__part_children, 0, NULL, 0, false }, { 0 } };

static const part_kind kinds[] = {
    { .type = "BertProcessing", .field = bert_fields, .process = bert, .added = bert_added },
    { .type = "ByteLevel", .field = byte_level_fields, .process = byte_level },
    { .type = "RobertaProcessing", .field = roberta_fields, .process = roberta, .added = roberta_added },
    { .type = "Sequence", .field = sequence_fields },
    { .type = "TemplateProcessing", .field = template_fields, .process = use_template, .finish = finish_template,
      .added = template_added },
};
const part_place genet__post_processors = { "post_processor", kinds, sizeof kinds / sizeof *kinds };
