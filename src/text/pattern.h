/* pattern.h - regular expressions that cut text into pre-tokens, as Hugging
 * Face's tokenizers understands them, run by PCRE2.
 *
 * A compiled pattern is read-only: any number of threads may split with it. */
#ifndef GENET_TEXT_PATTERN_H
#define GENET_TEXT_PATTERN_H
#include "text/tokenizer.h"

typedef struct pattern pattern;

/* GPT-2's, and any other; NULL after an error.  What means something else to PCRE2 than to the tokenizers library is
 * refused by name. */
pattern *genet__pattern_gpt2(genet_err *err);
pattern *genet__pattern_new(const char *regex, genet_err *err);
void genet__pattern_free(pattern *p);
/* What the pattern was made from. */
const char *genet__pattern_text(const pattern *p);

/* The pre-tokens of text: calls piece for each in order, together they are all of text: the matches, and whatever
 * lies between them; bytes that are not UTF-8 match nothing.  False: piece said so, or err says why.  *scratch, NULL at
 * first, is kept from call to call for any patterns, also by piece; then release it. */
typedef bool pre_token_fn(void *user, const char *text, size_t n, bool match);
bool genet__pattern_split(const pattern *p, const char *text, size_t n, pre_token_fn *piece, void *user, void **scratch,
                          genet_err *err);
void genet__pattern_scratch_release(void *scratch);
/* Is it GPT-2's? */
bool genet__pattern_is_gpt2(const pattern *p);
#endif
