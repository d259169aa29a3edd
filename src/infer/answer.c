/* answer.c - windows over a context, and the best spans of all of them. */
#include "infer/answer.h"
#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/frame.h"

#define AT(member) offsetof(answer_options, member)
static const field option_fields[] = {
    { "n_best",              FIELD_INT,  AT(n_best),              "1",   1, 1000, NULL, 0, "answers, the likeliest first" },
    { "max_answer_length",   FIELD_INT,  AT(max_answer_length),   "15",  1, 1 << 20, NULL, 0, "tokens of an answer at most" },
    { "max_question_length", FIELD_INT,  AT(max_question_length), "64",  1, 1 << 20, NULL, 0, "tokens of the question that are read" },
    { "max_length",          FIELD_INT,  AT(max_length),          "384", 8, 1 << 24, NULL, 0,
      "tokens of question and a window of the context; no more than the model sees" },
    { "doc_stride",          FIELD_INT,  AT(doc_stride),          "128", 0, 1 << 24, NULL, 0, "tokens that neighbouring windows share" },
    { "no_answer",           FIELD_BOOL, AT(no_answer),           "false", 0, 0, NULL, 0, "it may be that the context has no answer" },
};
const fields genet__answer_fields = { "answers", option_fields, sizeof option_fields / sizeof *option_fields };

typedef struct search {
    const answer_options *o;
    const char  *context;
    frame        frame;
    token_list   question, words, ids;
    token_place_in_text *place;         /* of the context's tokens */
    text_row    *row;                   /* a window each */
    int64_t     *first;                 /* its first token of the context */
    int          n_window;
    double      *p_start, *p_end;       /* of a window's tokens */
    double       none;                  /* the least that any window gives to "no answer" */
    span_answer *out;
    int64_t      n;
} search;

/* --- windows ------------------------------------------------------------------------- */

static bool tokenize(search *s, const tokenizer *t, const char *question, genet_err *err)
{
    token_place_in_text *unused = NULL;
    bool ok = genet__frame_places(t, question, strlen(question), &s->question, &unused, err);
    genet__free(unused);
    if (s->question.n > s->o->max_question_length) s->question.n = (int)s->o->max_question_length;
    return ok && genet__frame_places(t, s->context, strlen(s->context), &s->words, &s->place, err);
}

static bool add_window(search *s, int64_t at, int64_t n, genet_err *err)
{
    text_row *r = &s->row[s->n_window];
    int before = s->ids.n;
    TRY(genet__frame_ids(&s->frame, s->question.at, s->question.n, s->words.at + at, n, &s->ids, &r->first, err));
    r->n = s->ids.n - before;
    s->first[s->n_window++] = at;
    return true;
}

/* Every window but the last is full. */
static bool cut(search *s, int64_t longest, genet_err *err)
{
    int64_t most = s->o->max_length < longest ? s->o->max_length : longest, at = 0;
    int64_t room = most - genet__frame_tokens(&s->frame, true) - s->question.n;
    int64_t stride = s->o->doc_stride < room / 2 ? s->o->doc_stride : room / 2;
    if (room < 2) return genet__err_set(err, GENET_ERR_USAGE, "a question of %d tokens leaves no room for the context in %lld: a smaller "
                                        "--max-question-length", s->question.n, (long long)most);
    size_t windows = (size_t)(s->words.n / (room - stride)) + 2;
    s->row = genet__alloc_array(windows, sizeof *s->row);
    s->first = genet__alloc_array(windows, sizeof *s->first);
    s->p_start = genet__alloc_array((size_t)most, sizeof *s->p_start);
    s->p_end = genet__alloc_array((size_t)most, sizeof *s->p_end);
    if (!s->row || !s->first || !s->p_start || !s->p_end) return genet__err_memory(err);
    for (;; at += room - stride) {
        int64_t n = s->words.n - at < room ? s->words.n - at : room;
        TRY(add_window(s, at, n, err));
        if (at + n >= s->words.n) break;
    }
    for (int64_t i = 0, k = 0; i < s->n_window; k += s->row[i++].n) s->row[i].ids = s->ids.at + k;
    return true;
}

/* --- spans ----------------------------------------------------------------------------- */

/* Over the tokens of the context, and the first, which stands for no answer: p[i] of n; others 0. */
static void probabilities(const float *y, int64_t n, int64_t from, int64_t to, bool first, double *p)
{
    double max = -HUGE_VAL, sum = 0;
    for (int64_t i = 0; i < n; i++)
        if ((i >= from && i < to) || (first && !i)) max = fmax(max, (double)y[2 * i]);
    for (int64_t i = 0; i < n; i++)
        sum += p[i] = (i >= from && i < to) || (first && !i) ? exp((double)y[2 * i] - max) : 0;
    for (int64_t i = 0; i < n; i++) p[i] /= sum;
}

/* Into the list, in order; the same words once. White space around an answer is none of it. */
static void offer(search *s, double score, int64_t begin, int64_t end)
{
    while (begin < end && isspace((unsigned char)s->context[begin])) begin++;
    while (begin < end && isspace((unsigned char)s->context[end - 1])) end--;
    if (begin >= end) return;
    int64_t i = 0, same = 0;
    while (same < s->n && (s->out[same].begin != begin || s->out[same].end != end)) same++;
    if (same < s->n && s->out[same].score >= score) return;
    if (same == s->n && s->n < s->o->n_best) s->n++;
    if (same == s->n) same = s->n - 1;                      /* the last one goes */
    while (i < same && s->out[i].score >= score) i++;
    memmove(s->out + i + 1, s->out + i, (size_t)(same - i) * sizeof *s->out);
    s->out[i] = (span_answer){ score, begin, end };
}

static bool take(void *user, int64_t w, const float *y, int64_t n, genet_err *err)
{
    search *s = user;
    const text_row *r = &s->row[w];
    bool first = s->frame.begin >= 0;
    int64_t from = r->first, to = n - (s->frame.begin >= 0 && s->frame.end >= 0), longest = s->o->max_answer_length;
    (void)err;
    probabilities(y, n, from, to, first, s->p_start);
    probabilities(y + 1, n, from, to, first, s->p_end);
    if (first) s->none = fmin(s->none, s->p_start[0] * s->p_end[0]);
    for (int64_t i = from; i < to; i++)
        for (int64_t k = i; k < to && k < i + longest; k++) {
            double score = s->p_start[i] * s->p_end[k];
            if (s->n == s->o->n_best && score <= s->out[s->n - 1].score) continue;
            offer(s, score, s->place[s->first[w] + i - from].begin, s->place[s->first[w] + k - from].end);
        }
    return true;
}

/* "None" takes its place among the others. */
static void add_none(search *s)
{
    int64_t i = 0, n = s->n < s->o->n_best ? s->n : s->o->n_best - 1;
    while (i < s->n && s->out[i].score >= s->none) i++;
    if (i == s->o->n_best) return;
    memmove(s->out + i + 1, s->out + i, (size_t)(n - i) * sizeof *s->out);
    s->out[i] = (span_answer){ s->none, 0, 0 };
    s->n = n + 1;
}

bool genet__answer(texts *t, const model *m, const tokenizer *tokens, const char *question, const char *context,
                   const answer_options *o, span_answer *out, int64_t *n, genet_err *err)
{
    search s = { .o = o, .context = context, .out = out, .none = HUGE_VAL,
                 .frame = genet__frame_of(tokens, m->family->heads->kind == HEAD_MASKED_LM) };
    bool ok = tokenize(&s, tokens, question, err) && (!s.words.n || cut(&s, genet__texts_longest(t), err));
    ok = ok && genet__texts_run(t, s.row, s.n_window, take, &s, err);
    if (ok && (o->no_answer || !s.n)) {
        if (s.none > 1) s.none = 0;             /* nothing was read, or no token stands for it */
        add_none(&s);
    }
    *n = ok ? s.n : 0;
    genet__token_list_release(&s.question);
    genet__token_list_release(&s.words);
    genet__token_list_release(&s.ids);
    void *heap[] = { s.place, s.row, s.first, s.p_start, s.p_end };
    for (size_t i = 0; i < sizeof heap / sizeof *heap; i++) genet__free(heap[i]);
    return ok;
}
